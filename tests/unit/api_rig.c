/* See api_rig.h. */
#include "tests/unit/api_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/err.h"

struct api_rig rig;

int rig_main(int argc, char **argv, const char *suite, const struct unit_test *tests, size_t n_tests)
{
	int result = 99;

	snprintf(rig.directory, sizeof(rig.directory), "/tmp/postern-api-XXXXXX");
	rig.arena = arena_new(16 * 1024 * 1024);
	if (rig.arena != NULL && mkdtemp(rig.directory) != NULL) {
		snprintf(rig.socket_path, sizeof(rig.socket_path), "%s/api.sock", rig.directory);
		result = unit_main(argc, argv, suite, tests, n_tests);
		unlink(rig.socket_path);
		rmdir(rig.directory);
	}
	route_reply_fini(&rig.reply);
	arena_free(rig.arena);
	backend_fini();
	return result;
}

void rig_start_with(const struct api_deps *deps)
{
	char error[256] = "";

	CU_ASSERT_EQUAL_FATAL(api_start(deps, error, sizeof(error), &rig.api), 0);
}

void rig_start(void)
{
	rig_start_with(backend_deps(rig.socket_path, 0, NULL));
}

void rig_stop(void)
{
	api_stop(rig.api);
	rig.api = NULL;
}

static int ask(const char *method, const char *target, const char *body, size_t fail_at)
{
	struct route_request request = {
		.method = span_of(method), .target = span_of(target), .body = span_of(body), .id = "r1", .arena = rig.arena,
	};

	route_reply_fini(&rig.reply);
	arena_reset(rig.arena);
	if (fail_at != SIZE_MAX)
		arena_fail_at(rig.arena, fail_at);
	router_handle(&rig.api->router, &request, &rig.reply);
	return rig.reply.status;
}

int rig_ask(const char *method, const char *target)
{
	return ask(method, target, NULL, SIZE_MAX);
}

int rig_post(const char *target, const char *body)
{
	return ask("POST", target, body, SIZE_MAX);
}

const json_t *rig_at(const char *path)
{
	struct span rest = span_of(path);
	const json_t *json = rig.reply.json;

	while (rest.ptr != NULL && json != NULL) {
		struct span name = span_cut(&rest, '.');
		char key[64];

		snprintf(key, sizeof(key), "%.*s", SPAN_ARG(name));
		json = json_is_array(json) ? json_array_get(json, strtoul(key, NULL, 10)) : json_object_get(json, key);
	}
	return json;
}

const char *rig_text(const char *path)
{
	const char *text = json_string_value(rig_at(path));

	return text ? text : "(none)";
}

json_int_t rig_number(const char *path)
{
	const json_t *number = rig_at(path);

	return json_is_integer(number) ? json_integer_value(number) : -1;
}

size_t rig_walk(const char *list, unsigned limit, void (*each)(void *arg, size_t n, const json_t *item), void *arg)
{
	char target[256];
	size_t n = 0, i;
	json_t *item;

	snprintf(target, sizeof(target), "%slimit=%u", list, limit);
	for (;;) {
		CU_ASSERT_EQUAL_FATAL(rig_ask("GET", target), 200);
		json_array_foreach((json_t *)rig_at("items"), i, item)
			each(arg, n++, item);
		if (json_is_null(rig_at("next_cursor")))
			return n;
		CU_ASSERT_EQUAL(i, limit);
		snprintf(target, sizeof(target), "%slimit=%u&cursor=%s", list, limit, rig_text("next_cursor"));
	}
}

void rig_refuses_cursors(const char *list, const char *const *cursors, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char target[128];

		snprintf(target, sizeof(target), "%s?cursor=%s", list, cursors[i]);
		CU_ASSERT_EQUAL(rig_ask("GET", target), 400);
		CU_ASSERT_STRING_EQUAL(rig_text("errors.0.parameter"), "cursor");
	}
}

void rig_stall(const char *const *targets, size_t n)
{
	static const struct {
		int error;
		const char *type;
	} troubles[] = { { -ETIMEDOUT, "/problems/busy" }, { ERR_CLOSED, "/problems/stopping" } };

	for (size_t i = 0; i < n; i++)
		for (size_t t = 0; t < sizeof(troubles) / sizeof(troubles[0]); t++) {
			backend.loop_error = troubles[t].error;
			CU_ASSERT_EQUAL(rig_ask("GET", targets[i]), 503);
			CU_ASSERT_STRING_EQUAL(rig_text("type"), troubles[t].type);
		}
}

void rig_starve(const char *method, const char *target, const char *body, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		int status = ask(method, target, body, i);

		CU_ASSERT(status == 200 || status == 204 || status == 400 || status == 404 || status == 500 || status == 503);
		CU_ASSERT(status == 204 || rig.reply.json != NULL || rig.reply.text != NULL);
	}
	arena_free(rig.arena); /* it stays as it is told */
	rig.arena = arena_new(16 * 1024 * 1024);
}
