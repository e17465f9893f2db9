/* The table of problem kinds and the JSON object they become. Details are English sentences of our own with at most a
 * name from the request in them; jansson escapes those. Does not log: http.c does, once per request. */
#include "api/problem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "api/text.h"
#include "core/err.h"

static const struct {
	int status;
	const char *slug;
	const char *title;
} kinds[PROBLEM_KINDS] = {
	[PROBLEM_BAD_REQUEST] = { 400, "bad-request", "The request is malformed" },
	[PROBLEM_BAD_PARAMETER] = { 400, "bad-parameter", "A query parameter is not valid" },
	[PROBLEM_BAD_BODY] = { 400, "bad-body", "The body of the request is not valid" },
	[PROBLEM_UNAUTHORIZED] = { 401, "unauthorized", "A valid token is required" },
	[PROBLEM_FORBIDDEN] = { 403, "forbidden", "Not allowed with these credentials" },
	[PROBLEM_NOT_FOUND] = { 404, "not-found", "No such resource" },
	[PROBLEM_METHOD_NOT_ALLOWED] = { 405, "method-not-allowed", "The resource does not have this method" },
	[PROBLEM_LENGTH_REQUIRED] = { 411, "length-required", "A body needs a Content-Length" },
	[PROBLEM_TOO_LARGE] = { 413, "too-large", "The request is too large" },
	[PROBLEM_BAD_CONFIG] = { 422, "bad-config", "The configuration file cannot be put in force" },
	[PROBLEM_TOO_MANY_FAILURES] = { 429, "too-many-failures", "Too many failed authentications" },
	[PROBLEM_INTERNAL] = { 500, "internal", "The gateway could not answer" },
	[PROBLEM_BUSY] = { 503, "busy", "The gateway is too busy to answer" },
	[PROBLEM_STOPPING] = { 503, "stopping", "The gateway is stopping" },
	[PROBLEM_NO_DATABASE] = { 503, "no-database", "Call records are not available" },
};

int problem_status(enum problem_kind kind)
{
	return kinds[kind].status;
}

const char *problem_slug(enum problem_kind kind)
{
	return kinds[kind].slug;
}

void problem_set(struct route_reply *reply, const struct route_request *request, enum problem_kind kind,
		 const char *format, ...)
{
	char detail[512], type[64];
	va_list args;

	va_start(args, format);
	vsnprintf(detail, sizeof(detail), format, args);
	va_end(args);
	snprintf(type, sizeof(type), "/problems/%s", kinds[kind].slug);
	route_reply_fini(reply);
	reply->status = kinds[kind].status;
	reply->content_type = "application/problem+json";
	reply->json = json_pack("{s:s, s:s, s:i, s:s}", "type", type, "title", kinds[kind].title, "status",
				kinds[kind].status, "detail", detail);
	if (reply->json != NULL && request->id != NULL)
		json_object_set_new(reply->json, "request_id", json_string(request->id));
}

static void add_error(struct route_reply *reply, json_t *error_take, const char *hint)
{
	json_t *errors = json_object_get(reply->json, "errors");

	if (errors == NULL) {
		errors = json_array();
		json_object_set_new(reply->json, "errors", errors);
	}
	if (hint != NULL)
		json_object_set_new(error_take, "hint", json_string(hint));
	json_array_append_new(errors, error_take);
}

void problem_add_error(struct route_reply *reply, struct span parameter, const char *detail, const char *hint)
{
	json_t *error = json_pack("{s:s%, s:s}", "parameter", parameter.ptr ? parameter.ptr : "", parameter.len,
				  "detail", detail);

	if (error == NULL) /* the name is not UTF-8 */
		error = json_pack("{s:s, s:s}", "parameter", "?", "detail", detail);
	add_error(reply, error, hint);
}

void problem_add_body_error(struct route_reply *reply, const char *pointer, const char *detail, const char *hint)
{
	add_error(reply, json_pack("{s:s, s:s}", "pointer", pointer, "detail", detail), hint);
}

void problem_add_config_error(struct route_reply *reply, const char *pointer, const char *detail, const char *hint, unsigned line,
			      unsigned column)
{
	json_t *error = json_object();

	json_object_set_new(error, "pointer", text_json_of(pointer)); /* names and values of the file are in both */
	json_object_set_new(error, "detail", text_json_of(detail));
	json_object_set_new(error, "line", line > 0 ? json_integer(line) : json_null());
	json_object_set_new(error, "column", line > 0 ? json_integer(column) : json_null());
	add_error(reply, error, hint);
}

void problem_from_err(struct route_reply *reply, const struct route_request *request, int err)
{
	switch (err) {
	case ERR_NOT_FOUND:
		problem_set(reply, request, PROBLEM_NOT_FOUND, "Nothing with this name or id is known here.");
		break;
	case -ETIMEDOUT:
	case -EBUSY:
		problem_set(reply, request, PROBLEM_BUSY, "The gateway did not answer in time; try again.");
		route_reply_header(reply, "Retry-After", "1");
		break;
	case ERR_CLOSED:
		problem_set(reply, request, PROBLEM_STOPPING, "The gateway is shutting down.");
		break;
	case ERR_LIMIT:
		problem_set(reply, request, PROBLEM_INTERNAL,
			    "The answer does not fit into the memory set aside for it; ask for less (limit).");
		break;
	default:
		problem_set(reply, request, PROBLEM_INTERNAL, "%s", err_str(err));
	}
}
