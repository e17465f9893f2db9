/* The schema engine with a table of its own: every type and range, defaults, hints, derived documents, no memory. */
#include "core/conf.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/config.h"
#include "core/err.h"
#include "tests/unit/unit.h"

static int check_even(struct conf_check_ctx *ctx, const json_t *value)
{
	if (json_integer_value(value) % 2 != 0)
		return conf_report(ctx, "add one", "%d is odd", (int)json_integer_value(value));
	return 0;
}

static const char *const colours[] = { "red", "green", NULL };
static const struct conf_item number_element = { .name = "*", .type = CONF_INT, .min = 1, .max = 9 };
static const struct conf_item inner[] = {
	{ .name = "wait", .type = CONF_DURATION, .min = 100, .max = 2000, .default_json = "\"1s\"", .help = "Pause." },
	{ .name = "even", .type = CONF_INT, .check = check_even },
	{ 0 },
};
static const struct conf_item table[] = {
	{ .name = "on", .type = CONF_BOOL, .default_json = "true", .help = "'Switch' \\ on." },
	{ .name = "text", .type = CONF_STRING, .is_required = true, .min = 1, .max = 4, .help = "Some text." },
	{ .name = "colour", .type = CONF_ENUM, .choices = colours, .default_json = "\"red\"" },
	{ .name = "list", .type = CONF_LIST, .min = 0, .max = 3, .element = &number_element },
	{ .name = "inner", .type = CONF_OBJECT, .schema = inner, .default_json = "{}" },
	{ .name = "map", .type = CONF_MAP, .min = 0, .max = 2, .schema = inner },
	{ .name = "open", .type = CONF_LIST, .is_open = true, .min = 1, .max = 2, .element = &number_element },
	{ .name = "size", .type = CONF_SIZE, .min = 1, .max = 4096 },
	{ 0 },
};

static char *check(const char *json, json_t **ret_value)
{
	struct conf_errors errors = { 0 };
	json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	int err;

	CU_ASSERT_PTR_NOT_NULL_FATAL(value);
	err = conf_check(table, value, NULL, &errors);
	CU_ASSERT_EQUAL(err, errors.n > 0 ? ERR_CONFIG : 0);
	conf_errors_print(&errors, out);
	fclose(out);
	conf_errors_free(&errors);
	if (ret_value != NULL)
		*ret_value = value;
	else
		json_decref(value);
	return text;
}

static void values_are_checked(void)
{
	static const struct {
		const char *json, *errors;
	} cases[] = {
		{ "{\"text\":\"abcd\"}", "" },
		{ "{\"text\":\"abcde\"}", "/text: the length of the text is more than 4\n" },
		{ "{\"text\":\"\"}", "/text: the length of the text is less than 1\n" },
		{ "{\"text\":\"a\\u001bb\"}", "/text: the text contains a control character\n" },
		{ "{\"text\":7}", "/text: expected text, found a number (put the value in quotes)\n" },
		{ "{\"text\":null}", "/text: expected text, found nothing\n" },
		{ "{}", "the member text is missing (Some text.)\n" },
		{ "[]", "expected a mapping, found a list\n" },
		{ "{\"text\":\"a\",\"on\":\"yes\"}", "/on: expected true or false, found text\n" },
		{ "{\"text\":\"a\",\"colour\":\"blue\"}", "/colour: blue is not a choice (one of: red, green)\n" },
		{ "{\"text\":\"a\",\"colour\":false}",
		  "/colour: expected text, found true or false (one of: red, green)\n" },
		{ "{\"text\":\"a\",\"list\":[1,9]}", "" },
		{ "{\"text\":\"a\",\"list\":[0,10,\"x\",1.5]}", "/list: the number of entries is more than 3\n" },
		{ "{\"text\":\"a\",\"list\":[0,10,\"x\"]}",
		  "/list/0: the number is less than 1\n/list/1: the number is more than 9\n"
		  "/list/2: expected a whole number, found text (write it without quotes)\n" },
		{ "{\"text\":\"a\",\"list\":5}", "/list: expected a list, found a number (write it as [value])\n" },
		{ "{\"text\":\"a\",\"inner\":{\"wait\":\"99ms\"}}",
		  "/inner/wait: the duration, in milliseconds, is less than 100\n" },
		{ "{\"text\":\"a\",\"inner\":{\"wait\":\"1m\"}}",
		  "/inner/wait: the duration, in milliseconds, is more than 2000\n" },
		{ "{\"text\":\"a\",\"inner\":{\"wait\":1}}",
		  "/inner/wait: not a duration (write a number and a unit: 500ms, 32s, 5m or 2h)\n" },
		{ "{\"text\":\"a\",\"inner\":{\"even\":3}}", "/inner/even: 3 is odd (add one)\n" },
		{ "{\"text\":\"a\",\"open\":5}", "" },
		{ "{\"text\":\"a\",\"open\":[5]}", "" },
		{ "{\"text\":\"a\",\"open\":0}", "/open: the number is less than 1\n" },
		{ "{\"text\":\"a\",\"open\":[0]}", "/open/0: the number is less than 1\n" },
		{ "{\"text\":\"a\",\"open\":[]}", "/open: the number of entries is less than 1\n" },
		{ "{\"text\":\"a\",\"open\":{}}", "/open: expected a list, found a mapping\n" },
		{ "{\"text\":\"a\",\"size\":\"4k\"}", "" },
		{ "{\"text\":\"a\",\"size\":4097}", "/size: the number of octets is more than 4096\n" },
		{ "{\"text\":\"a\",\"size\":\"4k \"}",
		  "/size: not a size (write a number of octets, or one with a unit: 64k, 200M, 1G)\n" },
		{ "{\"text\":\"a\",\"inner\":[]}", "/inner: expected a mapping, found a list\n" },
		{ "{\"text\":\"a\",\"map\":{\"x\":{},\"y-1\":{}}}", "" },
		{ "{\"text\":\"a\",\"map\":{\"x\":{},\"y\":{},\"z\":{}}}",
		  "/map: the number of entries is more than 2\n" },
		{ "{\"text\":\"a\",\"map\":{\"-x\":{\"even\":1},\"a/~b\":7}}",
		  "/map/-x: not a valid name (use a-z, 0-9, - and _, at most 63)\n"
		  "/map/-x/even: 1 is odd (add one)\n"
		  "/map/a~1~0b: not a valid name (use a-z, 0-9, - and _, at most 63)\n"
		  "/map/a~1~0b: expected a mapping, found a number\n" },
		{ "{\"text\":\"a\",\"colur\":1,\"zzz\":2,\"e\\u0007\":3}",
		  "/colur: unknown member (did you mean colour?)\n/zzz: unknown member\n/e?: unknown member\n" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = check(cases[i].json, NULL);

		CU_ASSERT_STRING_EQUAL(text, cases[i].errors);
		if (strcmp(text, cases[i].errors) != 0)
			printf("# %s: %s", cases[i].json, text);
		free(text);
	}
}

static void defaults_are_added_once(void)
{
	json_t *value;
	char *text = check("{\"map\":{\"x\":{}},\"text\":\"a\",\"on\":false}", &value);
	char *json = json_dumps(value, JSON_COMPACT);
	struct conf_errors errors = { 0 };

	CU_ASSERT_STRING_EQUAL(json, "{\"map\":{\"x\":{\"wait\":\"1s\"}},\"text\":\"a\",\"on\":false,\"colour\":\"red\","
				     "\"inner\":{\"wait\":\"1s\"}}");
	free(json);
	CU_ASSERT_EQUAL(conf_check(table, value, NULL, &errors), 0); /* what was accepted stays accepted */
	json_decref(value);
	free(text);
}

static void durations(void)
{
	static const struct {
		const char *text;
		int64_t ms; /* -1: refused */
	} cases[] = {
		{ "0ms", 0 },	   { "500ms", 500 }, { "32s", 32000 }, { "5m", 300000 },
		{ "2h", 7200000 }, { "5", -1 },	     { "s", -1 },      { "", -1 },
		{ "-1s", -1 },	   { "1.5s", -1 },   { "1 s", -1 },    { "1S", -1 },
		{ "1sec", -1 },	   { "4294967295h", INT64_C(15461882262000000) },
		{ "4294967296ms", -1 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ms = -1;

		CU_ASSERT_EQUAL(conf_duration_ms(span_of(cases[i].text), &ms), cases[i].ms < 0 ? ERR_PARSE : 0);
		CU_ASSERT_EQUAL(ms, cases[i].ms);
	}
}

static void nearest_names(void)
{
	static const char *const names[] = { "realms", "routes", "peers", "a", NULL };
	static const struct {
		const char *wanted, *best;
	} cases[] = {
		{ "realm", "realms" }, { "relams", "realms" }, { "route", "routes" }, { "peer", "peers" },
		{ "xyz", NULL },       { "algs", NULL },       { "b", NULL },	       { "", NULL },	      { "raotes", "routes" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct conf_nearest nearest = { .wanted = cases[i].wanted };
		char hint[64];

		for (unsigned n = 0; names[n] != NULL; n++)
			conf_nearest_offer(&nearest, names[n]);
		if (cases[i].best != NULL)
			CU_ASSERT_STRING_EQUAL_FATAL(nearest.best ? nearest.best : "(none)", cases[i].best);
		if (cases[i].best == NULL)
			CU_ASSERT_PTR_NULL(conf_nearest_hint(&nearest, hint, sizeof(hint)));
	}
}

static void errors_end_at_their_limit_and_sort(void)
{
	struct conf_errors errors = { 0 };

	for (unsigned i = 0; i < CONF_ERRORS_MAX + 10; i++)
		conf_errors_add(&errors, "/x", 1000 - i, 1, NULL, "error %u", i);
	CU_ASSERT_EQUAL(errors.n, CONF_ERRORS_MAX);
	conf_errors_sort(&errors);
	for (unsigned i = 1; i < errors.n; i++)
		CU_ASSERT_TRUE(errors.items[i - 1].line < errors.items[i].line);
	conf_errors_free(&errors);
	CU_ASSERT_EQUAL(errors.n, 0);
}

static void json_schema_follows_the_table(void)
{
	json_t *schema = conf_json_schema(table);
	json_t *properties = json_object_get(schema, "properties");
	char *text = json_dumps(json_object_get(properties, "list"), JSON_COMPACT);

	CU_ASSERT_STRING_EQUAL(text, "{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":9},"
				     "\"minItems\":0,\"maxItems\":3}");
	free(text);
	text = json_dumps(json_object_get(properties, "open"), JSON_COMPACT);
	CU_ASSERT_STRING_EQUAL(text, "{\"anyOf\":[{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":9},"
				     "\"minItems\":1,\"maxItems\":2},{\"type\":\"integer\",\"minimum\":1,\"maximum\":9}]}");
	free(text);
	text = json_dumps(json_object_get(properties, "size"), JSON_COMPACT);
	CU_ASSERT_STRING_EQUAL(text, "{\"anyOf\":[{\"type\":\"integer\",\"minimum\":0},"
				     "{\"type\":\"string\",\"pattern\":\"^[0-9]{1,7}[kMGT]$\"}]}");
	free(text);
	text = json_dumps(json_object_get(properties, "colour"), JSON_COMPACT);
	CU_ASSERT_STRING_EQUAL(text, "{\"type\":\"string\",\"enum\":[\"red\",\"green\"],\"default\":\"red\"}");
	free(text);
	text = json_dumps(json_object_get(schema, "required"), JSON_COMPACT);
	CU_ASSERT_STRING_EQUAL(text, "[\"text\"]");
	free(text);
	CU_ASSERT_TRUE(json_is_false(json_object_get(schema, "additionalProperties")));
	CU_ASSERT_PTR_NOT_NULL(json_object_get(json_object_get(properties, "map"), "propertyNames"));
	json_decref(schema);
	schema = conf_json_schema(config_schema());
	CU_ASSERT_PTR_NOT_NULL(schema);
	json_decref(schema);
}

static void manual_text_is_escaped(void)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	conf_print_man(table, out);
	fclose(out);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\n\\&'Switch' \\e on.\nDefault: true\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, ".It Cm colour : Pq red | green\nDefault: \"red\"\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, ".It Cm wait : Pq duration, 100ms to 2s\nPause.\nDefault: \"1s\"\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, ".It Cm text : Pq text, required\n"));
	free(text);
}

static size_t allocations_left;

static void *failing_malloc(size_t size)
{
	if (allocations_left == 0)
		return NULL;
	allocations_left--;
	return malloc(size);
}

/* Every allocation of the JSON library fails once: an error each time, never a half-filled snapshot. */
static void out_of_memory_is_an_error(void)
{
	static const char yaml[] = "realms:\n  a: { addresses: [10.0.0.1], sip: [\"udp:5060\"], media_ports: 2000-2999 }\n"
				   "peers: { p: { realm: a, uri: \"sip:10.0.0.2\" } }\nroutes: [{ from: a, to: p }]\n"
				   "algs: { f: { protocol: ftp, realm: a, to: a, servers: 10.0.0.0/8, profile: q } }\n"
				   "profiles: { q: { protocol: ftp, default: deny, rules: [{ allow: { verb: [A, B], target: x } }] } }\n";
	json_malloc_t old_malloc;
	json_free_t old_free;
	unsigned failed = 0;
	int err = -1;

	json_get_alloc_funcs(&old_malloc, &old_free);
	json_set_alloc_funcs(failing_malloc, free);
	for (size_t n = 0; err < 0 && n < 10000; n++) {
		struct conf_errors errors = { 0 };
		const struct config *config = NULL;

		allocations_left = n;
		err = config_parse(span_of(yaml), "t", &errors, &config);
		if (err < 0)
			failed++;
		CU_ASSERT_TRUE((err < 0) == (config == NULL) && (err < 0) == (errors.n > 0));
		conf_errors_free(&errors);
		config_unref(config);
	}
	json_set_alloc_funcs(old_malloc, old_free);
	CU_ASSERT_EQUAL(err, 0);
	CU_ASSERT_TRUE(failed > 50);
}

static const struct unit_test tests[] = {
	{ "values are checked", values_are_checked },
	{ "defaults are added once", defaults_are_added_once },
	{ "durations", durations },
	{ "nearest names", nearest_names },
	{ "errors end at their limit and sort", errors_end_at_their_limit_and_sort },
	{ "the JSON schema follows the table", json_schema_follows_the_table },
	{ "manual text is escaped", manual_text_is_escaped },
	{ "out of memory is an error", out_of_memory_is_an_error },
};

UNIT_MAIN("conf", tests)
