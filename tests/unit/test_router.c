/* Matching, refusals and parameters, with a table of rows of its own. */
#include "api/router.h"

#include "core/err.h"
#include "tests/unit/unit.h"

struct api {
	unsigned n_calls;
	struct span name, text;
	int64_t number, time;
	bool has_flag;
};

static void record(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	api->n_calls++;
	api->name = request->name;
	api->text = route_text(request, "text");
	api->number = route_number(request, "number", -1);
	api->time = route_number(request, "time", -1);
	api->has_flag = route_value(request, "flag") != NULL;
	route_reply_json(reply, 200, json_object());
}

static void say_nothing(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	(void)api;
	(void)request;
	(void)reply;
}

static const struct route_param params[] = {
	{ "text", ROUTE_TEXT, 1, 5 },
	{ "number", ROUTE_UINT, 1, 1000 },
	{ "time", ROUTE_TIME, 0, 0 },
	{ "flag", ROUTE_FLAG, 0, 0 },
	{ 0 },
};
static const struct route routes[] = {
	{ "GET", "/open", ROUTE_OPEN, 0, params, record, "open" },
	{ "GET", "/local", ROUTE_LOCAL_OPEN, TOKEN_READ_METRICS, NULL, record, "local" },
	{ "GET", "/v1/things/{id}", ROUTE_OPEN, 0, NULL, record, "getThing" },
	{ "DELETE", "/v1/things/{id}", ROUTE_SCOPED, TOKEN_OPERATE, NULL, record, "deleteThing" },
	{ "GET", "/v1/things/{id}/parts", ROUTE_OPEN, 0, NULL, record, "listParts" },
	{ "GET", "/broken", ROUTE_OPEN, 0, NULL, say_nothing, "broken" },
};

static struct api api;
static struct access *access_;
static struct arena *arena;
static struct route_reply reply;

/* The status of a request from 192.0.2.1; the reply stays in `reply`, strings of the request in `arena`. */
static int ask_with(const char *method, const char *target, const char *body, const char *peer)
{
	struct router router = { routes, sizeof(routes) / sizeof(routes[0]), access_, &api };
	struct route_request request = {
		.method = span_of(method), .target = span_of(target), .body = span_of(body), .id = "r1", .arena = arena,
	};

	CU_ASSERT_EQUAL(addr_parse_ip(span_of(peer), &request.peer.addr), 0);
	route_reply_fini(&reply);
	arena_reset(arena);
	api = (struct api){ 0 };
	router_handle(&router, &request, &reply);
	return reply.status;
}

static int ask(const char *method, const char *target)
{
	return ask_with(method, target, "", "192.0.2.1");
}

static const char *member(const char *name)
{
	const char *value = json_string_value(json_object_get(reply.json, name));

	return value ? value : "";
}

static const char *reply_header(const char *name)
{
	for (unsigned i = 0; i < reply.n_headers; i++) {
		if (strcmp(reply.headers[i].name, name) == 0)
			return reply.headers[i].value;
	}
	return "";
}

static void matches(void)
{
	static const struct {
		const char *method, *target;
		int status;
		const char *name;
	} cases[] = {
		{ "GET", "/open", 200, "" },
		{ "HEAD", "/open", 200, "" },
		{ "GET", "/v1/things/7", 200, "7" },
		{ "GET", "/v1/things/a%2Fb%20%C3%A4", 200, "a/b \xc3\xa4" },
		{ "GET", "/v1/things/7/parts", 200, "7" },
		{ "GET", "/v1/things/7?", 200, "7" },
		{ "GET", "/", 404, "" },
		{ "GET", "/open/", 404, "" },
		{ "GET", "/Open", 404, "" },
		{ "GET", "//open", 404, "" },
		{ "GET", "/v1/things", 404, "" },
		{ "GET", "/v1/things/", 404, "" },
		{ "GET", "/v1/things/7/", 404, "" },
		{ "GET", "/v1/things//parts", 404, "" },
		{ "GET", "/v1/things/7/parts/8", 404, "" },
		{ "GET", "/v1/../open", 404, "" },
		{ "GET", "/v1/things/%00", 404, "" },
		{ "GET", "/v1/things/%zz", 404, "" },
		{ "GET", "/v1/things/%ff", 404, "" },
		{ "GET", "/v1/things/%1b", 404, "" },
		{ "GET", "open", 400, "" },
		{ "GET", "", 400, "" },
		{ "GET", "http://h/open", 400, "" },
		{ "GET", "/open#x", 400, "" },
		{ "GET", "/op\xc3\xa4n", 400, "" },
		{ "POST", "/open", 405, "" },
		{ "get", "/open", 405, "" },
		{ "GET", "/broken", 500, "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CU_ASSERT_EQUAL(ask(cases[i].method, cases[i].target), cases[i].status);
		CU_ASSERT_EQUAL(api.n_calls, cases[i].status == 200);
		CU_ASSERT_TRUE(span_eq(api.name, span_of(cases[i].name)));
		if (cases[i].status != 200)
			CU_ASSERT_STRING_EQUAL(reply.content_type, "application/problem+json");
	}
}

static void limits_target(void)
{
	char target[ROUTER_TARGET_MAX + 2];

	memset(target, 'a', sizeof(target));
	memcpy(target, "/v1/things/", 11);
	target[ROUTER_TARGET_MAX] = '\0';
	CU_ASSERT_EQUAL(ask("GET", target), 200);
	target[ROUTER_TARGET_MAX] = 'a';
	target[ROUTER_TARGET_MAX + 1] = '\0';
	CU_ASSERT_EQUAL(ask("GET", target), 400);
}

static void says_what_is_allowed(void)
{
	CU_ASSERT_EQUAL(ask("PUT", "/v1/things/7"), 405);
	CU_ASSERT_STRING_EQUAL(reply_header("Allow"), "GET, HEAD, DELETE");
	CU_ASSERT_EQUAL(ask("DELETE", "/open"), 405);
	CU_ASSERT_STRING_EQUAL(reply_header("Allow"), "GET, HEAD");
}

static void writes_problems(void)
{
	CU_ASSERT_EQUAL(ask("GET", "/nothing"), 404);
	CU_ASSERT_STRING_EQUAL(member("type"), "/problems/not-found");
	CU_ASSERT_STRING_EQUAL(member("request_id"), "r1");
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(reply.json, "status")), 404);
	CU_ASSERT_STRING_NOT_EQUAL(member("title"), "");
	CU_ASSERT_STRING_NOT_EQUAL(member("detail"), "");
}

static void asks_for_credentials(void)
{
	CU_ASSERT_EQUAL(ask("DELETE", "/v1/things/7"), 401);
	CU_ASSERT_EQUAL(strncmp(reply_header("WWW-Authenticate"), "Bearer ", 7), 0);
	CU_ASSERT_EQUAL(ask("GET", "/local"), 401);
	CU_ASSERT_EQUAL(ask_with("GET", "/local", "", "127.0.0.1"), 200);
	CU_ASSERT_EQUAL(ask_with("DELETE", "/v1/things/7", "", "127.0.0.1"), 401);
}

static void refuses_bodies(void)
{
	CU_ASSERT_EQUAL(ask_with("GET", "/open", "{}", "192.0.2.1"), 400);
}

static void reads_parameters(void)
{
	CU_ASSERT_EQUAL(ask("GET", "/open?text=%2B4+9&number=1000&&time=2026-03-01T14:00:00%2B02:00&flag"), 200);
	CU_ASSERT_TRUE(span_eq(api.text, SPAN_LIT("+4+9")));
	CU_ASSERT_EQUAL(api.number, 1000);
	CU_ASSERT_EQUAL(api.time, 1772366400000);
	CU_ASSERT_TRUE(api.has_flag);
	CU_ASSERT_EQUAL(ask("GET", "/open?time=2026-03-01T14:00:00+02:00"), 200);
	CU_ASSERT_EQUAL(api.time, 1772366400000);
	CU_ASSERT_EQUAL(ask("GET", "/open?flag=true"), 200);
	CU_ASSERT_EQUAL(ask("GET", "/open?"), 200);
	CU_ASSERT_EQUAL(api.number, -1);
	CU_ASSERT_FALSE(api.has_flag);
}

static void refuses_parameters(void)
{
	static const struct {
		const char *target;
		unsigned n_errors;
		const char *parameter; /* of the first */
	} cases[] = {
		{ "/open?limt=5", 1, "limt" },
		{ "/open?=5", 1, "" },
		{ "/open?number=0", 1, "number" },
		{ "/open?number=1001", 1, "number" },
		{ "/open?number=-1", 1, "number" },
		{ "/open?number=", 1, "number" },
		{ "/open?number=99999999999999999999", 1, "number" },
		{ "/open?number=1&number=1", 1, "number" },
		{ "/open?text=", 1, "text" },
		{ "/open?text=123456", 1, "text" },
		{ "/open?text=%0a", 1, "text" },
		{ "/open?text=%f", 1, "text" },
		{ "/open?text=%c3", 1, "text" },
		{ "/open?time=yesterday", 1, "time" },
		{ "/open?flag=false", 1, "flag" },
		{ "/open?x=1&number=0&y%20z=2", 3, "x" },
		{ "/v1/things/7?number=1", 1, "number" },
		{ "/open?%ff=1", 1, "?" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *errors;

		CU_ASSERT_EQUAL(ask("GET", cases[i].target), 400);
		CU_ASSERT_EQUAL(api.n_calls, 0);
		CU_ASSERT_STRING_EQUAL(member("type"), "/problems/bad-parameter");
		errors = json_object_get(reply.json, "errors");
		CU_ASSERT_EQUAL(json_array_size(errors), cases[i].n_errors);
		CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(json_array_get(errors, 0), "parameter")),
				       cases[i].parameter);
	}
}

static void limits_parameters(void)
{
	char target[256] = "/open?";

	for (unsigned i = 0; i <= ROUTER_PARAMS_MAX; i++)
		strncat(target, "&", sizeof(target) - strlen(target) - 1);
	CU_ASSERT_EQUAL(ask("GET", target), 400);
}

static void survives_small_memory(void)
{
	struct arena *small = arena_new(1024 * 1024), *big = arena;

	arena = small;
	for (size_t n = 0; n < 8; n++) {
		struct router router = { routes, sizeof(routes) / sizeof(routes[0]), access_, &api };
		struct route_request request = { .method = SPAN_LIT("GET"), .id = "r1", .arena = arena,
						 .target = SPAN_LIT("/open?text=a&number=2&x=1&time=1") };

		route_reply_fini(&reply);
		arena_reset(arena);
		arena_fail_at(arena, n);
		router_handle(&router, &request, &reply);
		CU_ASSERT_TRUE(reply.status >= 400);
		CU_ASSERT_PTR_NOT_NULL(reply.json);
	}
	arena = big;
	arena_free(small);
}

static const struct unit_test tests[] = {
	{ "rows match by method and path", matches },
	{ "long targets are refused", limits_target },
	{ "405 names the allowed methods", says_what_is_allowed },
	{ "refusals are problems", writes_problems },
	{ "401 asks for a token", asks_for_credentials },
	{ "bodies are refused where none is taken", refuses_bodies },
	{ "parameters are decoded and typed", reads_parameters },
	{ "every fault of the parameters is listed", refuses_parameters },
	{ "too many parameters are refused", limits_parameters },
	{ "out of memory is an answer", survives_small_memory },
};

int main(int argc, char **argv)
{
	int result;

	access_ = access_new(NULL);
	arena = arena_new(1024 * 1024);
	result = unit_main(argc, argv, "router", tests, sizeof(tests) / sizeof(tests[0]));
	route_reply_fini(&reply);
	arena_free(arena);
	access_free(access_);
	return result;
}
