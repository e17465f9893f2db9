/* /v1/openapi.json: the contract. It is written by hand as openapi.yaml, built into the program as text, and turned
 * into JSON once at start, by the same reader as the configuration. */
#include "api/res.h"

#include <errno.h>
#include <stdlib.h>

#include "core/conf.h"
#include "core/err.h"
#include "core/log.h"
#include "core/yaml.h"

extern const char api_openapi_yaml[]; /* made from openapi.yaml by the build */

int res_openapi_load(char **ret_json)
{
	struct conf_errors errors = { .file = "openapi.yaml" };
	struct yaml_doc *doc = NULL;
	int err = yaml_parse(span_of(api_openapi_yaml), "openapi.yaml", &errors, &doc);
	char *json = NULL;

	if (err == 0) {
		json_object_set_new(json_object_get(yaml_root(doc), "info"), "version", json_string(PACKAGE_VERSION));
		json = json_dumps(yaml_root(doc), JSON_COMPACT);
		err = json ? 0 : -ENOMEM;
	} else if (errors.n > 0) {
		log_error("api", "openapi.yaml is not readable", LF_UINT("line", errors.items[0].line),
			  LF_TEXT("fault", errors.items[0].text));
	}
	yaml_free(doc);
	conf_errors_free(&errors);
	if (err == 0)
		*ret_json = json;
	return err;
}

void res_openapi(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	(void)request;
	route_reply_text(reply, "application/json", strdup(api->openapi_json));
}
