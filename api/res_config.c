/* /v1/config: which configuration is in force, how the last attempts to change it went, and the attempt itself. The file is read and
 * checked on the HTTP thread that asks. */
#include <errno.h>

#include "api/problem.h"
#include "api/res.h"
#include "api/text.h"
#include "core/err.h"

static json_t *changes_json(const struct api_config *config)
{
	json_t *changes = json_array();

	for (unsigned i = 0; i < config->n_changes; i++) {
		json_t *json = json_object();

		res_set(json, "pointer", text_json_of(config->changes[i].pointer));
		res_set(json, "change", json_string(config->changes[i].change));
		json_array_append_new(changes, json);
	}
	return changes;
}

static json_t *failure_json(const struct api_config *config)
{
	json_t *json, *errors;

	if (config->failed_by == NULL)
		return json_null();
	json = json_object();
	errors = json_array();
	for (unsigned i = 0; i < config->n_faults; i++) {
		const struct api_fault *fault = &config->faults[i];
		json_t *error = json_object();

		res_set(error, "pointer", text_json_of(fault->pointer));
		res_set(error, "detail", text_json_of(fault->text));
		res_set(error, "hint", res_text(fault->hint));
		res_set(error, "line", fault->line > 0 ? json_integer(fault->line) : json_null());
		res_set(error, "column", fault->line > 0 ? json_integer(fault->column) : json_null());
		json_array_append_new(errors, error);
	}
	res_set(json, "at", res_time(config->failed_ms));
	res_set(json, "by", json_string(config->failed_by));
	res_set(json, "is_last", json_boolean(config->is_last_failed));
	res_set(json, "errors", errors);
	return json;
}

static json_t *config_json(const struct api_config *config)
{
	json_t *json = json_object();

	res_set(json, "revision", json_integer(config->revision));
	res_set(json, "file", text_json_of(config->file));
	res_set(json, "loaded_at", res_time(config->loaded_ms));
	res_set(json, "loaded_by", json_string(config->by));
	res_set(json, "changes", changes_json(config));
	res_set(json, "reloads", json_pack("{s:o, s:o}", "ok", res_count(config->reloads_ok), "failed", res_count(config->reloads_failed)));
	res_set(json, "failure", failure_json(config));
	return json;
}

void res_config_get(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	struct api_config config;
	int err = api->deps.reload.status(api->deps.reload.arg, request->arena, &config);

	if (err == 0)
		route_reply_json(reply, 200, config_json(&config));
	else
		problem_from_err(reply, request, err);
}

static void refuse(const struct route_request *request, struct route_reply *reply, const struct api_config *config)
{
	problem_set(reply, request, PROBLEM_BAD_CONFIG, "%s: %u %s; revision %u stays in force.", config->file, config->n_faults,
		    config->n_faults == 1 ? "fault" : "faults", config->revision);
	for (unsigned i = 0; i < config->n_faults; i++) {
		const struct api_fault *fault = &config->faults[i];

		problem_add_config_error(reply, fault->pointer, fault->text, fault->hint, fault->line, fault->column);
	}
	if (reply->json != NULL)
		res_set(reply->json, "file", text_json_of(config->file));
}

void res_config_reload(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	bool is_check = route_value(request, "check") != NULL;
	struct api_config config = { 0 };
	int err = api->deps.reload.run(api->deps.reload.arg, is_check, request->arena, &config);

	if (err == 0)
		route_reply_json(reply, 200, config_json(&config));
	else if (err == -ETIMEDOUT || err == ERR_CLOSED || err == ERR_LIMIT)
		problem_from_err(reply, request, err);
	else
		refuse(request, reply, &config);
}
