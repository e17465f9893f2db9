/* Puts the API together: access, call record reader, contract, listeners; and takes it apart again. Control thread. */
#include "api/api.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/http.h"
#include "api/res.h"
#include "core/config.h"
#include "core/err.h"
#include "core/log.h"
#include "core/loop.h"
#include "db/store.h"

static int fail(const char *what, int err, char *error_text, size_t error_size)
{
	snprintf(error_text, error_size, "%s: %s", what, err_str(err));
	return err;
}

static int open_tcp(struct api *api, const struct config *config, char *error_text, size_t error_size)
{
	char text[ADDR_TEXT_MAX], what[ADDR_TEXT_MAX + 32];
	int err;

	if (!addr_is_set(&config->api.listen))
		return 0;
	snprintf(what, sizeof(what), "api.listen %s", addr_text(&config->api.listen, text));
	if (addr_kind(&config->api.listen) != ADDR_LOOPBACK) {
		if (config->api.token_file == NULL) {
			snprintf(error_text, error_size, "%s is not loopback: that needs api.token_file", what);
			return ERR_CONFIG;
		}
		log_warn("api", "tokens travel in clear text: put a TLS proxy in front", LF_TEXT("listen", text));
	}
	err = http_listen_tcp(api->http, &config->api.listen);
	return err ? fail(what, err, error_text, error_size) : 0;
}

static int open_unix(struct api *api, const struct config *config, char *error_text, size_t error_size)
{
	int err;

	if (config->api.socket == NULL)
		return 0;
	err = http_listen_unix(api->http, config->api.socket);
	if (err == -EEXIST)
		snprintf(error_text, error_size, "api.socket %s exists and is not a socket", config->api.socket);
	else if (err == -EADDRINUSE)
		snprintf(error_text, error_size, "api.socket %s: another gateway answers there", config->api.socket);
	else if (err != 0)
		snprintf(error_text, error_size, "api.socket %s: %s", config->api.socket, err_str(err));
	return err;
}

static int open_all(struct api *api, const struct config *config, char *error_text, size_t error_size)
{
	struct http_options options = { api->deps.loop, config->api.connections, config->api.timeout_s };
	int err;

	api->access = access_new(config->api.token_file);
	if (api->access == NULL)
		return fail("access", -ENOMEM, error_text, error_size);
	if (api->deps.store_path != NULL) {
		err = store_reader_open(api->deps.store_path, &api->reader);
		if (err != 0)
			return fail("call records", err, error_text, error_size);
	}
	err = res_openapi_load(&api->openapi_json);
	if (err != 0)
		return fail("openapi.yaml", err, error_text, error_size);
	api->router = (struct router){ api_routes, api_n_routes, api->access, api };
	err = http_new(&api->router, &options, &api->http);
	if (err != 0)
		return fail("http", err, error_text, error_size);
	err = open_tcp(api, config, error_text, error_size);
	return err ? err : open_unix(api, config, error_text, error_size);
}

int api_start(const struct api_deps *deps, char *error_text, size_t error_size, struct api **ret)
{
	const struct config *config = deps->config(deps->config_arg);
	struct api *api = calloc(1, sizeof(*api));
	int err;

	if (api == NULL) {
		config_unref(config);
		return fail("api", -ENOMEM, error_text, error_size);
	}
	api->deps = *deps;
	api->started_ms = loop_wall_ms(deps->loop);
	err = open_all(api, config, error_text, error_size);
	api->deps.store_path = NULL; /* was only borrowed */
	config_unref(config);
	if (err != 0) {
		api_stop(api);
		return err;
	}
	*ret = api;
	return 0;
}

void api_stop(struct api *api)
{
	if (api == NULL)
		return;
	http_free(api->http);
	store_reader_close(api->reader);
	access_free(api->access);
	free(api->openapi_json);
	free(api);
}
