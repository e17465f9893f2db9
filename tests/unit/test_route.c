/* Routes: which rule decides, what it says on the way, the user that is sent, expressions that fail or take too long. */
#include "sbc/route.h"

#include <stdio.h>

#include "core/conf.h"
#include "core/err.h"
#include "tests/unit/unit.h"

#define HEAD \
	"realms:\n" \
	"  a: { addresses: [192.0.2.10], sip: [\"udp:5060\"], media_ports: 20000-20099 }\n" \
	"  b: { addresses: [10.0.0.10], sip: [\"udp:5060\"], media_ports: 20000-20099 }\n" \
	"peers:\n  one: { realm: b, uri: \"sip:10.0.0.20\" }\n  two: { realm: b, uri: \"sip:10.0.0.21\" }\n" \
	"routes:\n"

static const struct config *config;
static struct router *router;

static int load(const char *routes, struct conf_errors *errors)
{
	char yaml[4096];

	snprintf(yaml, sizeof(yaml), "%s%s", HEAD, routes);
	CU_ASSERT_EQUAL_FATAL(config_parse(span_of(yaml), "t", errors, &config), 0);
	return router_new(config, &router);
}

static void unload(void)
{
	router_free(router);
	router = NULL;
	config_unref(config);
	config = NULL;
}

static unsigned n_steps;
static char last_step[200];

static void on_step(void *arg, const struct route_conf *route, const char *what)
{
	CU_ASSERT_PTR_EQUAL(arg, &n_steps);
	n_steps++;
	snprintf(last_step, sizeof(last_step), "%s: %s", route->name, what);
}

static const struct route_conf *select_route(unsigned realm, const char *user)
{
	n_steps = 0;
	last_step[0] = '\0';
	return router_select(router, &config->realms[realm], span_of(user), on_step, &n_steps);
}

static void first_match_decides(void)
{
	struct conf_errors errors = { 0 };
	static const struct {
		unsigned realm;
		const char *user, *name;
		unsigned steps;
	} cases[] = {
		{ 0, "0900123", "premium", 1 },
		{ 0, "0900", "premium", 1 },
		{ 0, "090", "national", 2 },
		{ 0, "0301234", "national", 2 },
		{ 0, "0", "rest", 3 },
		{ 0, "", "rest", 3 },
		{ 0, "bob", "rest", 3 },
		{ 1, "0900123", "back", 1 },
		{ 1, "bob", NULL, 1 },
	};

	CU_ASSERT_EQUAL_FATAL(load("  - { name: premium, from: a, prefix: \"0900\", deny: 403 }\n"
				   "  - { name: national, from: a, regex: \"^0[1-9][0-9]*$\", to: one }\n"
				   "  - { name: back, from: b, prefix: \"0\", to: two }\n"
				   "  - { name: rest, from: a, to: two }\n", &errors), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct route_conf *route = select_route(cases[i].realm, cases[i].user);

		CU_ASSERT_EQUAL(n_steps, cases[i].steps);
		CU_ASSERT_EQUAL(route == NULL, cases[i].name == NULL);
		if (route != NULL && cases[i].name != NULL)
			CU_ASSERT_STRING_EQUAL(route->name, cases[i].name);
	}
	select_route(0, "0900");
	CU_ASSERT_STRING_EQUAL(last_step, "premium: the user starts with its prefix");
	CU_ASSERT_EQUAL(select_route(0, "0900")->code, 403);
	CU_ASSERT_PTR_NULL(select_route(0, "0900")->to);
	select_route(0, "030");
	CU_ASSERT_STRING_EQUAL(last_step, "national: the user matches its expression");
	select_route(0, "bob");
	CU_ASSERT_STRING_EQUAL(last_step, "rest: matches every user");
	select_route(1, "bob");
	CU_ASSERT_STRING_EQUAL(last_step, "back: the user does not start with its prefix");
	/* A user that the message did not have at all. */
	CU_ASSERT_PTR_NOT_NULL(router_select(router, &config->realms[0], SPAN_NONE, on_step, &n_steps));
	unload();
}

static void user_that_is_sent(void)
{
	static const struct {
		unsigned strip;
		const char *add, *user, *expected;
	} cases[] = {
		{ 0, NULL, "bob", "bob" },     { 1, "0049", "030", "004930" }, { 3, NULL, "030", "" }, { 9, "x", "030", "x" },
		{ 0, "+49", "30", "+4930" },   { 2, NULL, "", "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct route_conf route = { .strip = cases[i].strip, .add = cases[i].add };
		char text[32];
		struct buf out = buf_of(text, sizeof(text));

		route_user(&route, span_of(cases[i].user), &out);
		CU_ASSERT(span_eq(buf_span(&out), span_of(cases[i].expected)));
	}
}

/* Exponential work is cut off: the rule counts as no match and says so. */
static void slow_expression(void)
{
	struct conf_errors errors = { 0 };
	char user[40];

	memset(user, 'a', sizeof(user) - 1);
	user[sizeof(user) - 2] = 'b';
	user[sizeof(user) - 1] = '\0';
	CU_ASSERT_EQUAL_FATAL(load("  - { name: slow, from: a, regex: \"^(a|aa)+$\", to: one }\n", &errors), 0);
	CU_ASSERT_PTR_NULL(select_route(0, user));
	CU_ASSERT_STRING_EQUAL(last_step, "slow: its expression took too long and counts as no match");
	CU_ASSERT_PTR_NOT_NULL(select_route(0, "aaa"));
	unload();
}

static const struct unit_test tests[] = {
	{ "the first rule that matches decides", first_match_decides },
	{ "the user that is sent", user_that_is_sent },
	{ "a slow expression counts as no match", slow_expression },
};

UNIT_MAIN("route", tests)
