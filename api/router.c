/* Matching of paths, decoding and checking of query parameters, access verdicts to replies. Owns nothing between two
 * requests. Order of refusals: malformed target (400), unknown path (404), unknown method (405), access (401, 403,
 * 429), body (400), parameters (400). RFC 3986 (targets), RFC 9110 (status), RFC 6750 (bearer challenges). */
#include "api/router.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/problem.h"
#include "api/query.h"
#include "core/err.h"

/* Replies */

void route_reply_fini(struct route_reply *reply)
{
	json_decref(reply->json);
	free(reply->text);
	for (unsigned i = 0; i < reply->n_headers; i++)
		free(reply->headers[i].value);
	*reply = (struct route_reply){ 0 };
}

void route_reply_json(struct route_reply *reply, int status, json_t *json_take)
{
	reply->status = json_take ? status : 500;
	reply->content_type = "application/json";
	reply->json = json_take;
}

void route_reply_text(struct route_reply *reply, const char *content_type, char *text_take)
{
	reply->status = text_take ? 200 : 500;
	reply->content_type = content_type;
	reply->text = text_take;
}

void route_reply_header(struct route_reply *reply, const char *name, const char *format, ...)
{
	va_list args;
	char *value = NULL;
	int len;

	if (reply->n_headers == ROUTER_HEADERS_MAX)
		return;
	va_start(args, format);
	len = vasprintf(&value, format, args);
	va_end(args);
	if (len < 0)
		return;
	reply->headers[reply->n_headers].name = name;
	reply->headers[reply->n_headers++].value = value;
}

/* Parameters, as handlers see them */

const struct route_value *route_value(const struct route_request *request, const char *name)
{
	for (unsigned i = 0; i < request->n_values; i++) {
		if (strcmp(request->values[i].param->name, name) == 0)
			return &request->values[i];
	}
	return NULL;
}

struct span route_text(const struct route_request *request, const char *name)
{
	const struct route_value *value = route_value(request, name);

	return value ? value->text : SPAN_NONE;
}

int64_t route_number(const struct route_request *request, const char *name, int64_t otherwise)
{
	const struct route_value *value = route_value(request, name);

	return value ? value->number : otherwise;
}

/* Finding the row */

/* Segment by segment; what stands for "{...}" goes to *ret_name, still encoded. */
static bool path_matches(const char *pattern, struct span path, struct span *ret_name)
{
	struct span want = span_of(pattern);

	while (want.ptr != NULL && path.ptr != NULL) {
		struct span want_segment = span_cut(&want, '/');
		struct span segment = span_cut(&path, '/');

		if (want_segment.len > 0 && want_segment.ptr[0] == '{') {
			if (span_is_empty(segment))
				return false;
			*ret_name = segment;
		} else if (!span_eq(want_segment, segment)) {
			return false;
		}
	}
	return want.ptr == NULL && path.ptr == NULL;
}

static bool method_matches(const struct route *route, struct span method)
{
	if (span_eq(method, SPAN_LIT("HEAD")))
		method = SPAN_LIT("GET");
	return span_eq(method, span_of(route->method));
}

/* The row, or NULL with *reply set to 404 or 405. */
static const struct route *find_route(const struct router *router, struct route_request *request,
				      struct route_reply *reply)
{
	char allow[128] = "";
	size_t allow_len = 0;

	for (unsigned i = 0; i < router->n_routes; i++) {
		const struct route *route = &router->routes[i];
		int n;

		request->name = SPAN_NONE;
		if (!path_matches(route->path, request->path, &request->name))
			continue;
		if (method_matches(route, request->method))
			return route;
		n = snprintf(allow + allow_len, sizeof(allow) - allow_len, "%s%s%s", allow_len ? ", " : "",
			     route->method, strcmp(route->method, "GET") == 0 ? ", HEAD" : "");
		if (n > 0 && (size_t)n < sizeof(allow) - allow_len)
			allow_len += (size_t)n;
	}
	if (allow_len == 0) {
		problem_set(reply, request, PROBLEM_NOT_FOUND, "No resource has this path; see /v1/openapi.json.");
		return NULL;
	}
	problem_set(reply, request, PROBLEM_METHOD_NOT_ALLOWED, "Allowed here: %s.", allow);
	route_reply_header(reply, "Allow", "%s", allow);
	return NULL;
}

/* Access */

static bool check_access(const struct router *router, const struct route *route, struct route_request *request,
			 struct route_reply *reply)
{
	enum access_verdict verdict;

	if (route->access == ROUTE_OPEN ||
	    (route->access == ROUTE_LOCAL_OPEN && access_peer_is_local(&request->peer)))
		return true;
	verdict = access_check(router->access, &request->peer, request->authorization, route->scope, request->now_ms,
			       &request->actor);
	switch (verdict) {
	case ACCESS_GRANTED:
		return true;
	case ACCESS_NO_CREDENTIALS:
		problem_set(reply, request, PROBLEM_UNAUTHORIZED,
			    "Send \"Authorization: Bearer <token>\"; \"postern token new\" makes one.");
		route_reply_header(reply, "WWW-Authenticate", "Bearer realm=\"postern\"");
		break;
	case ACCESS_BAD_TOKEN:
		problem_set(reply, request, PROBLEM_UNAUTHORIZED, "The token is not in the token file.");
		route_reply_header(reply, "WWW-Authenticate", "Bearer realm=\"postern\", error=\"invalid_token\"");
		break;
	case ACCESS_WRONG_SCOPE:
		problem_set(reply, request, PROBLEM_FORBIDDEN,
			    "This needs a token with the scope \"%s\", or on the UNIX socket the gateway's own user, "
			    "root or a member of group postern.", token_scope_text(route->scope));
		break;
	case ACCESS_LOCKED_OUT:
		problem_set(reply, request, PROBLEM_TOO_MANY_FAILURES,
			    "More than %d wrong tokens from this address within a minute; wait a minute.",
			    ACCESS_FAILURES_PER_MINUTE);
		route_reply_header(reply, "Retry-After", "60");
		break;
	}
	return false;
}

/* The whole way */

static bool target_is_sane(struct span target)
{
	if (span_is_empty(target) || target.len > ROUTER_TARGET_MAX || target.ptr[0] != '/')
		return false;
	for (size_t i = 0; i < target.len; i++) {
		unsigned char c = (unsigned char)target.ptr[i];

		if (c <= ' ' || c >= 0x7f || c == '#')
			return false;
	}
	return true;
}

void router_handle(const struct router *router, struct route_request *request, struct route_reply *ret)
{
	struct span query = request->target;
	const struct route *route;

	*ret = (struct route_reply){ 0 };
	if (!target_is_sane(request->target)) {
		problem_set(ret, request, PROBLEM_BAD_REQUEST, "The request target is not a path, or too long.");
		return;
	}
	request->path = span_cut(&query, '?');
	route = find_route(router, request, ret);
	if (route == NULL || !check_access(router, route, request, ret))
		return;
	request->is_change = route->access == ROUTE_SCOPED && route->scope == TOKEN_OPERATE;
	if (!span_is_empty(request->body) && strcmp(route->method, "POST") != 0) {
		problem_set(ret, request, PROBLEM_BAD_REQUEST, "This resource takes no body.");
		return;
	}
	if (query_decode(request->arena, request->name, &request->name) != 0) {
		problem_set(ret, request, PROBLEM_NOT_FOUND, "Nothing can have this name.");
		return;
	}
	if (!query_parse(route->params, query, request, ret))
		return;
	route->handler(router->api, request, ret);
	if (ret->status == 0 || (ret->content_type != NULL && ret->json == NULL && ret->text == NULL))
		problem_set(ret, request, PROBLEM_INTERNAL, "Out of memory.");
}
