/* The resources through the router, on a made-up gateway; rows against openapi.yaml; start and stop. */
#include "api/res.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/id.h"
#include "core/err.h"
#include "pinhole/pinhole.h"
#include "tests/mock/fake_alg_host.h"
#include "tests/mock/fake_pinhole.h"
#include "tests/unit/api_rig.h"

static void lists_calls(void)
{
	rig_start();
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/calls"), 200);
	CU_ASSERT_EQUAL(json_array_size(rig_at("items")), 2);
	CU_ASSERT_TRUE(json_is_null(rig_at("next_cursor")));
	CU_ASSERT_EQUAL(rig.reply.n_headers, 0);
	CU_ASSERT_STRING_EQUAL(rig_text("items.0.id"), BACKEND_CALL);
	CU_ASSERT_STRING_EQUAL(rig_text("items.0.started_at"), "2026-03-01T11:58:20.000Z");
	CU_ASSERT_TRUE(json_is_null(rig_at("items.0.ended_at")));
	CU_ASSERT_STRING_EQUAL(rig_text("items.1.from_uri"), "sip:\x1b[31mmallory\xef\xbf\xbd@h");
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/calls?state=ended&q=%2B4930"), 200);
	CU_ASSERT_EQUAL(json_array_size(rig_at("items")), 1);
	rig_stop();
}

static void pages_calls(void)
{
	rig_start();
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/calls?q=a%26b&limit=1"), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("next_cursor"), BACKEND_CALL);
	CU_ASSERT_STRING_EQUAL(rig.reply.headers[0].name, "Link");
	CU_ASSERT_STRING_EQUAL(rig.reply.headers[0].value,
			       "</v1/calls?cursor=" BACKEND_CALL "&q=a%26b&limit=1>; rel=\"next\"");
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/calls?limit=1&cursor=" BACKEND_CALL), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("items.0.id"), BACKEND_ENDED);
	CU_ASSERT_TRUE(json_is_null(rig_at("next_cursor")));
	rig_stop();
}

static void shows_a_call(void)
{
	rig_start();
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/calls/" BACKEND_CALL), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("legs.a.remote"), "192.0.2.77:5060");
	CU_ASSERT_STRING_EQUAL(rig_text("legs.b.peer"), "softswitch");
	CU_ASSERT_TRUE(json_is_null(rig_at("legs.b.sdp_sent")));
	CU_ASSERT_STRING_EQUAL(rig_text("streams.0.a.latched"), "192.0.2.77:40000");
	CU_ASSERT_EQUAL(json_integer_value(rig_at("streams.0.a.dropped.source")), 2);
	CU_ASSERT_TRUE(json_is_null(rig_at("streams.0.b.last_packet_age_ms")));
	CU_ASSERT_STRING_EQUAL(rig_text("decision.0.rule"), "route-1");
	CU_ASSERT_STRING_EQUAL(rig_text("messages.1.direction"), "out");
	CU_ASSERT_EQUAL(json_integer_value(rig_at("messages_lost")), 2);
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/calls/other"), 404);
	rig_stop();
}

static void ends_a_call(void)
{
	rig_start();
	CU_ASSERT_EQUAL(rig_ask("DELETE", "/v1/calls/" BACKEND_CALL), 204);
	CU_ASSERT_PTR_NULL(rig.reply.json);
	CU_ASSERT_EQUAL(rig_ask("DELETE", "/v1/calls/" BACKEND_CALL), 404);
	CU_ASSERT_EQUAL(backend.n_hangups, 1);
	rig_stop();
}

static void lists_records(void)
{
	rig_start();
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/cdrs?since=2026-03-01T00:00:00Z&status_min=200"), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("items.0.id"), BACKEND_CDR);
	CU_ASSERT_STRING_EQUAL(rig_text("next_cursor"), "second");
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/cdrs?cursor=second"), 200);
	CU_ASSERT_TRUE(json_is_null(rig_at("next_cursor")));
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/cdrs?cursor=third"), 400);
	CU_ASSERT_STRING_EQUAL(rig_text("errors.0.parameter"), "cursor");
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/cdrs?since=now"), 400);
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/cdrs/" BACKEND_CDR), 200);
	CU_ASSERT_EQUAL(json_integer_value(rig_at("duration_ms")), 60000);
	CU_ASSERT_STRING_EQUAL(rig_text("decision.0.at"), "2026-03-01T11:00:00.000Z");
	CU_ASSERT_PTR_NULL(rig_at("decision.0.at_ms"));
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/cdrs/other"), 404);
	rig_stop();
}

static void lists_configuration(void)
{
	rig_start();
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/realms"), 200);
	CU_ASSERT_EQUAL(json_array_size(rig_at("items")), 2);
	CU_ASSERT_STRING_EQUAL(rig_text("items.0.name"), "access");
	CU_ASSERT_STRING_EQUAL(rig_text("items.0.sip.0"), "udp:192.0.2.10:5060");
	CU_ASSERT_EQUAL(json_integer_value(rig_at("items.0.calls_active")), 1);
	CU_ASSERT_EQUAL(json_integer_value(rig_at("items.1.pools.0.pairs_used")), 2);
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/realms/core"), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("trust"), "trusted");
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/realms/nowhere"), 404);
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/peers?limit=1"), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("next_cursor"), "backup");
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/peers?limit=1&cursor=backup"), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("items.0.name"), "softswitch");
	CU_ASSERT_EQUAL(json_integer_value(rig_at("items.0.failures_total")), 2);
	CU_ASSERT_TRUE(json_is_null(rig_at("next_cursor")));
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/peers?cursor=gone"), 400);
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/peers/softswitch"), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("targets.0.address"), "10.0.0.20:5060");
	rig_stop();
}

static void lists_pinholes(void)
{
	rig_start();
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/pinholes"), 200);
	CU_ASSERT_EQUAL(json_array_size(rig_at("items")), 3);
	CU_ASSERT_TRUE(json_is_null(rig_at("next_cursor")));
	CU_ASSERT_STRING_EQUAL(rig_text("items.0.owner"), BACKEND_ENDED); /* the newest call first */
	CU_ASSERT_STRING_EQUAL(rig_text("items.0.path"), "conntrack");
	CU_ASSERT_STRING_EQUAL(rig_text("items.0.reason"), "no BPF");
	CU_ASSERT_STRING_EQUAL(rig_text("items.1.id"), "0000000000000001");
	CU_ASSERT_STRING_EQUAL(rig_text("items.1.state"), "bound");
	CU_ASSERT_STRING_EQUAL(rig_text("items.1.realm_in"), "access");
	CU_ASSERT_STRING_EQUAL(rig_text("items.1.source"), "192.0.2.77:40000");
	CU_ASSERT_STRING_EQUAL(rig_text("items.1.target"), "10.0.0.20:30000");
	CU_ASSERT_EQUAL(json_integer_value(rig_at("items.1.packets")), 4845);
	CU_ASSERT_EQUAL(json_integer_value(rig_at("items.1.dropped.rate")), 4);
	CU_ASSERT_TRUE(json_is_true(rig_at("items.1.in_kernel")));
	CU_ASSERT_STRING_EQUAL(rig_text("items.2.state"), "reserved");
	CU_ASSERT_TRUE(json_is_false(rig_at("items.2.in_kernel")));
	CU_ASSERT_TRUE(json_is_null(rig_at("items.2.idle_ms")));
	CU_ASSERT_EQUAL(json_integer_value(rig_at("summary.open.xdp")), 1);
	CU_ASSERT_EQUAL(json_integer_value(rig_at("summary.open.conntrack")), 1);
	CU_ASSERT_TRUE(json_is_true(rig_at("summary.has_helper")));
	rig_stop();
}

static void filters_pinholes(void)
{
	static const struct {
		const char *target;
		size_t n;
	} cases[] = {
		{ "/v1/pinholes?owner=" BACKEND_CALL, 2 },
		{ "/v1/pinholes?owner=nobody", 0 },
		{ "/v1/pinholes?path=xdp", 1 },
		{ "/v1/pinholes?path=none&owner=" BACKEND_CALL, 1 },
		{ "/v1/pinholes?realm=core", 3 },
		{ "/v1/pinholes?realm=nowhere", 0 },
	};
	static const char *const wrong[] = { "x", "0123456789abcdef", "a.0123456789abcdeF", "a.0123456789abcde",
					     "a0123456789012345678901234567890123456789.0123456789abcdef" };

	rig_start();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CU_ASSERT_EQUAL(rig_ask("GET", cases[i].target), 200);
		CU_ASSERT_EQUAL(json_array_size(rig_at("items")), cases[i].n);
	}
	rig_refuses_cursors("/v1/pinholes", wrong, sizeof(wrong) / sizeof(wrong[0]));
	rig_stop();
}

static void ignore_event(void *arg, struct pinhole *pinhole, enum pinhole_event event)
{
	(void)arg;
	(void)pinhole;
	(void)event;
}

/* `last` is the owner of the one before. */
static void check_owner_order(void *last, size_t n, const json_t *item)
{
	const char *owner = json_string_value(json_object_get(item, "owner"));

	(void)n;
	CU_ASSERT_TRUE(strcmp(owner, last) <= 0);
	snprintf(last, ID_TEXT_MAX, "%s", owner);
}

/* Many pinholes of many owners, in no order: every one is on exactly one page, and the order holds across pages. */
static void pages_pinholes(void)
{
	enum { MANY = 500, PAGE = 7 };
	char last[ID_TEXT_MAX] = "~";
	struct pinhole_spec spec = { .proto = IPPROTO_UDP };
	struct pinhole *made;

	rig_start();
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(spec.owner, sizeof(spec.owner), "%02u", i * 37 % 100);
		CU_ASSERT_EQUAL_FATAL(pinhole_open(backend.pinholes, &spec, 1, ignore_event, NULL, &made), 0);
	}
	CU_ASSERT_EQUAL(rig_walk("/v1/pinholes?path=none&", PAGE, check_owner_order, last), MANY + 1);
	rig_stop();
}

/* Started without an engine, as without privileges. */
static void lists_no_pinholes(void)
{
	struct api_deps deps = *backend_deps(rig.socket_path, 0, NULL);

	deps.pinholes = NULL;
	rig_start_with(&deps);
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/pinholes"), 200);
	CU_ASSERT_EQUAL(json_array_size(rig_at("items")), 0);
	CU_ASSERT_TRUE(json_is_false(rig_at("summary.has_helper")));
	CU_ASSERT_EQUAL(rig_ask("GET", "/readyz?verbose"), 200);
	CU_ASSERT_EQUAL(json_array_size(rig_at("media_paths")), 0);
	rig_stop();
}

static void probes(void)
{
	rig_start();
	CU_ASSERT_EQUAL(rig_ask("GET", "/livez"), 200);
	CU_ASSERT_EQUAL(rig_ask("GET", "/readyz"), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("status"), "ready");
	CU_ASSERT_PTR_NULL(rig_at("checks"));
	CU_ASSERT_EQUAL(rig_ask("GET", "/healthz?verbose"), 200);
	CU_ASSERT_EQUAL(json_array_size(rig_at("checks")), 6);
	CU_ASSERT_STRING_EQUAL(rig_text("media_paths.0.realm"), "access");
	CU_ASSERT_STRING_EQUAL(rig_text("media_paths.0.path"), "xdp");
	CU_ASSERT_TRUE(json_is_true(rig_at("media_paths.0.is_usable")));
	fake_pinholes_set_usable(backend.pinholes, false);
	CU_ASSERT_EQUAL(rig_ask("GET", "/readyz?verbose"), 200); /* the relay carries it */
	CU_ASSERT_TRUE(json_is_false(rig_at("media_paths.0.is_usable")));
	CU_ASSERT_STRING_EQUAL(rig_text("checks.3.name"), "kernel_media");
	CU_ASSERT_STRING_EQUAL(rig_text("checks.3.status"), "ok");
	CU_ASSERT_STRING_EQUAL(rig_text("node"), "edge-1");
	backend.needs_kernel = true;
	CU_ASSERT_EQUAL(rig_ask("GET", "/readyz?verbose"), 503);
	CU_ASSERT_STRING_EQUAL(rig_text("checks.3.status"), "failing");
	CU_ASSERT_STRING_EQUAL(rig_text("checks.3.detail"), "calls of route route-1 are refused: no path");
	fake_pinholes_set_usable(backend.pinholes, true);
	CU_ASSERT_EQUAL(rig_ask("GET", "/readyz?verbose"), 200);
	backend.needs_kernel = false;
	CU_ASSERT_STRING_EQUAL(rig_text("checks.4.name"), "algs");
	CU_ASSERT_STRING_EQUAL(rig_text("checks.4.detail"), "2 ALGs, 2 listeners, 2 sessions");
	CU_ASSERT_EQUAL(json_integer_value(rig_at("alg_sessions_active")), 2);
	fake_alg_host.closed = "no helper";
	CU_ASSERT_EQUAL(rig_ask("GET", "/readyz?verbose"), 200); /* calls and the other ALG work */
	CU_ASSERT_STRING_EQUAL(rig_text("checks.4.status"), "failing");
	CU_ASSERT_STRING_EQUAL(rig_text("checks.4.detail"), "1 of 2 listeners are open; office-ftp: no helper");
	fake_alg_host.is_opening = true; /* it may still come: wait for it */
	CU_ASSERT_EQUAL(rig_ask("GET", "/readyz?verbose"), 503);
	CU_ASSERT_STRING_EQUAL(rig_text("checks.4.status"), "failing");
	fake_alg_host.is_opening = false;
	fake_alg_host.closed = NULL;
	fake_pinholes_set_starting(backend.pinholes, true);
	CU_ASSERT_EQUAL(rig_ask("GET", "/readyz?verbose"), 503);
	CU_ASSERT_STRING_EQUAL(rig_text("checks.4.detail"), "the helper is not ready yet");
	fake_pinholes_set_starting(backend.pinholes, false);
	CU_ASSERT_EQUAL(rig_ask("GET", "/readyz?verbose"), 200);
	backend.is_draining = true;
	CU_ASSERT_EQUAL(rig_ask("GET", "/readyz?verbose"), 503);
	CU_ASSERT_STRING_EQUAL(rig_text("checks.2.name"), "admission");
	CU_ASSERT_STRING_EQUAL(rig_text("checks.2.status"), "failing");
	backend.is_draining = false;
	backend.is_store_failing = true;
	CU_ASSERT_EQUAL(rig_ask("GET", "/readyz"), 503);
	backend.is_store_failing = false;
	backend.loop_error = -ETIMEDOUT;
	CU_ASSERT_EQUAL(rig_ask("GET", "/livez"), 503);
	CU_ASSERT_EQUAL(rig_ask("GET", "/readyz?verbose"), 503);
	CU_ASSERT_EQUAL(rig_ask("GET", "/metrics"), 200);
	rig_stop();
}

static void survives_a_stalled_loop(void)
{
	static const char *const targets[] = { "/v1/calls", "/v1/calls/x", "/v1/realms", "/v1/realms/x", "/v1/peers",
					       "/v1/pinholes" };

	rig_start();
	rig_stall(targets, sizeof(targets) / sizeof(targets[0]));
	rig_stop();
}

static void survives_small_memory(void)
{
	static const char *const targets[] = { "/v1/calls", ("/v1/calls/" BACKEND_CALL), "/v1/realms", "/v1/peers",
					       "/v1/pinholes", "/readyz" };

	rig_start();
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
		rig_starve("GET", targets[i], NULL, 4);
	rig_stop();
}

/* Rows and contract */

static const json_t *operation_of(const json_t *openapi, const struct route *route)
{
	char method[16];

	for (size_t i = 0; i < sizeof(method); i++) {
		method[i] = (char)(route->method[i] ? route->method[i] | 0x20 : '\0');
		if (method[i] == '\0')
			break;
	}
	return json_object_get(json_object_get(json_object_get(openapi, "paths"), route->path), method);
}

static bool has_parameter(const json_t *operation, const char *name)
{
	const json_t *parameter;
	char ref[128];
	size_t i;

	snprintf(ref, sizeof(ref), "#/components/parameters/%s", name);
	json_array_foreach(json_object_get(operation, "parameters"), i, parameter) {
		if (strcmp(json_string_value(json_object_get(parameter, "$ref")), ref) == 0)
			return true;
	}
	return false;
}

static void check_row(const json_t *openapi, const struct route *route)
{
	const json_t *operation = operation_of(openapi, route);
	const json_t *security = json_object_get(operation, "security");
	const json_t *scope = json_array_get(json_object_get(json_array_get(security, 0), "token"), 0);
	size_t n = strchr(route->path, '{') != NULL;

	CU_ASSERT_PTR_NOT_NULL_FATAL(operation);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(operation, "operationId")), route->operation);
	if (route->access == ROUTE_OPEN)
		CU_ASSERT_EQUAL(json_array_size(security), 0)
	else
		CU_ASSERT_STRING_EQUAL(json_string_value(scope), token_scope_text(route->scope));
	for (const struct route_param *p = route->params; p != NULL && p->name != NULL; p++, n++)
		CU_ASSERT_TRUE(has_parameter(operation, p->name));
	CU_ASSERT_EQUAL(json_array_size(json_object_get(operation, "parameters")), n);
}

static void follows_the_contract(void)
{
	json_t *openapi, *path;
	const char *name;
	size_t n_operations = 0;

	rig_start();
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/openapi.json"), 200);
	openapi = json_loads(rig.reply.text, JSON_REJECT_DUPLICATES, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(openapi);
	for (unsigned i = 0; i < api_n_routes; i++)
		check_row(openapi, &api_routes[i]);
	json_object_foreach(json_object_get(openapi, "paths"), name, path)
		n_operations += json_object_size(path);
	CU_ASSERT_EQUAL(n_operations, api_n_routes);
	json_decref(openapi);
	rig_stop();
}

static void refuses_to_start(void)
{
	char error[256] = "";
	struct api *second = NULL;
	FILE *file = fopen(rig.socket_path, "w");

	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	fclose(file);
	CU_ASSERT_EQUAL(api_start(backend_deps(rig.socket_path, 0, NULL), error, sizeof(error), &second), -EEXIST);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "is not a socket"));
	CU_ASSERT_PTR_NULL(second);
	unlink(rig.socket_path);
	rig_start();
	CU_ASSERT_EQUAL(api_start(backend_deps(rig.socket_path, 0, NULL), error, sizeof(error), &second), -EADDRINUSE);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "another gateway"));
	rig_stop();
}

static void shows_the_configuration(void)
{
	rig_start();
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/config"), 200);
	CU_ASSERT_EQUAL(rig_number("revision"), 3);
	CU_ASSERT_STRING_EQUAL(rig_text("file"), "/etc/postern/postern.yaml");
	CU_ASSERT_STRING_EQUAL(rig_text("loaded_at"), "2026-03-01T12:00:00.000Z");
	CU_ASSERT_STRING_EQUAL(rig_text("loaded_by"), "SIGHUP");
	CU_ASSERT_STRING_EQUAL(rig_text("changes.0.pointer"), "/algs/office-ftp");
	CU_ASSERT_STRING_EQUAL(rig_text("changes.1.change"), "added");
	CU_ASSERT_EQUAL(rig_number("reloads.failed"), 1);
	CU_ASSERT_TRUE(json_is_null(rig_at("failure")));
	rig_stop();
}

static void reloads(void)
{
	rig_start();
	CU_ASSERT_EQUAL(rig_post("/v1/config/reload?check", "{}"), 200);
	CU_ASSERT_EQUAL(backend.n_checks, 1);
	CU_ASSERT_EQUAL(backend.n_reloads, 0);
	CU_ASSERT_EQUAL(rig_post("/v1/config/reload", ""), 200);
	CU_ASSERT_EQUAL(backend.n_reloads, 1);
	CU_ASSERT_EQUAL(rig_number("revision"), 4);
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/config/reload"), 405);
	CU_ASSERT_EQUAL(rig_post("/v1/config/reload?chek", ""), 400);
	CU_ASSERT_EQUAL(backend.n_reloads, 1);
	rig_stop();
}

static void refuses_a_bad_configuration(void)
{
	rig_start();
	backend.reload_error = ERR_CONFIG;
	CU_ASSERT_EQUAL(rig_post("/v1/config/reload", ""), 422);
	CU_ASSERT_STRING_EQUAL(rig.reply.content_type, "application/problem+json");
	CU_ASSERT_STRING_EQUAL(rig_text("type"), "/problems/bad-config");
	CU_ASSERT_STRING_EQUAL(rig_text("detail"), "/etc/postern/postern.yaml: 2 faults; revision 3 stays in force.");
	CU_ASSERT_STRING_EQUAL(rig_text("file"), "/etc/postern/postern.yaml");
	CU_ASSERT_STRING_EQUAL(rig_text("errors.0.pointer"), "/algs/x/port");
	CU_ASSERT_STRING_EQUAL(rig_text("errors.0.hint"), "did you mean ports?");
	CU_ASSERT_EQUAL(rig_number("errors.0.line"), 12);
	CU_ASSERT_EQUAL(rig_number("errors.0.column"), 5);
	CU_ASSERT_TRUE(json_is_null(rig_at("errors.1.line")));
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/config"), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("failure.by"), "api");
	CU_ASSERT_TRUE(json_is_true(rig_at("failure.is_last")));
	CU_ASSERT_STRING_EQUAL(rig_text("failure.errors.1.detail"), "cannot be read");
	CU_ASSERT_TRUE(json_is_null(rig_at("failure.errors.1.hint")));
	backend.reload_error = -ETIMEDOUT;
	CU_ASSERT_EQUAL(rig_post("/v1/config/reload", ""), 503);
	CU_ASSERT_STRING_EQUAL(rig_text("type"), "/problems/busy");
	rig_stop();
}

static const struct unit_test tests[] = {
	{ "the configuration in force", shows_the_configuration },
	{ "a reload", reloads },
	{ "a reload that is refused", refuses_a_bad_configuration },
	{ "calls are listed and filtered", lists_calls },
	{ "lists have pages", pages_calls },
	{ "one call in full", shows_a_call },
	{ "a call is ended once", ends_a_call },
	{ "call records", lists_records },
	{ "realms and peers", lists_configuration },
	{ "pinholes are listed", lists_pinholes },
	{ "pinholes are filtered", filters_pinholes },
	{ "many pinholes have pages", pages_pinholes },
	{ "without an engine there are no pinholes", lists_no_pinholes },
	{ "probes", probes },
	{ "a stalled control loop is an answer", survives_a_stalled_loop },
	{ "out of memory is an answer", survives_small_memory },
	{ "every row is in openapi.yaml, and the other way round", follows_the_contract },
	{ "start fails with a clear text", refuses_to_start },
};

int main(int argc, char **argv)
{
	return rig_main(argc, argv, "api", tests, sizeof(tests) / sizeof(tests[0]));
}
