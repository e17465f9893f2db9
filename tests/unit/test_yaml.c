/* YAML to JSON: what comes out, where it stood, and what is refused with which position. */
#include "core/yaml.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/conf.h"
#include "core/err.h"
#include "tests/unit/unit.h"

static struct yaml_doc *parse(const char *text)
{
	struct conf_errors errors = { 0 };
	struct yaml_doc *doc = NULL;

	CU_ASSERT_EQUAL_FATAL(yaml_parse(span_of(text), "t.yaml", &errors, &doc), 0);
	CU_ASSERT_STRING_EQUAL(errors.file, "t.yaml");
	CU_ASSERT_EQUAL(errors.n, 0);
	conf_errors_free(&errors);
	return doc;
}

static void values_have_their_types(void)
{
	static const struct {
		const char *yaml, *json;
	} cases[] = {
		{ "true", "true" },
		{ "false", "false" },
		{ "yes", "\"yes\"" },
		{ "True", "\"True\"" },
		{ "off", "\"off\"" },
		{ "\"true\"", "\"true\"" },
		{ "5060", "5060" },
		{ "'5060'", "\"5060\"" },
		{ "-7", "-7" },
		{ "-", "[null]" },
		{ "0", "0" },
		{ "0049", "\"0049\"" },
		{ "+49", "\"+49\"" },
		{ "0x10", "\"0x10\"" },
		{ "1.5", "\"1.5\"" },
		{ "1:30", "\"1:30\"" },
		{ "9223372036854775807", "9223372036854775807" },
		{ "9223372036854775808", "\"9223372036854775808\"" },
		{ "~", "null" },
		{ "null", "null" },
		{ "''", "\"\"" },
		{ "20000-29999", "\"20000-29999\"" },
		{ "[a, [1, {}], {b: c}]", "[\"a\",[1,{}],{\"b\":\"c\"}]" },
		{ "z: 1\ny:\na: x", "{\"z\":1,\"y\":null,\"a\":\"x\"}" },
		{ "{ listen: 127.0.0.1:8480 }", "{\"listen\":\"127.0.0.1:8480\"}" },
		{ "\"\\u00e9\"", "\"\303\251\"" },
		{ "|\n two\n lines\n", "\"two\\nlines\\n\"" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct yaml_doc *doc = parse(cases[i].yaml);
		char *json = json_dumps(yaml_root(doc), JSON_COMPACT | JSON_ENCODE_ANY);

		CU_ASSERT_STRING_EQUAL(json, cases[i].json);
		if (strcmp(json, cases[i].json) != 0)
			printf("# %s: %s\n", cases[i].yaml, json);
		free(json);
		yaml_free(doc);
	}
}

static void positions_are_those_of_keys_and_elements(void)
{
	static const struct {
		const char *pointer;
		unsigned line, column;
	} cases[] = {
		{ "", 2, 1 },
		{ "/realms", 2, 1 },
		{ "/realms/core", 3, 3 },
		{ "/realms/core/sip/0", 3, 17 },
		{ "/realms/core/sip/1", 3, 24 },
		{ "/a~1b", 4, 1 },
		{ "/a~1b/c~0d", 4, 8 },
		{ "/", 5, 1 },
		{ "/realms/core/sip/2", 0, 0 },
		{ "/realms/core/sip/01", 0, 0 },
		{ "/realms/none", 0, 0 },
		{ "/realms/cor", 0, 0 },
		{ "/realms/core/", 0, 0 },
	};
	struct yaml_doc *doc = parse("# first\nrealms:\n  core: { sip: [first, second] }\na/b: { \"c~d\": 1 }\n\"\": 1\n");

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct yaml_pos pos = yaml_pos(doc, cases[i].pointer);

		CU_ASSERT_EQUAL(pos.line, cases[i].line);
		CU_ASSERT_EQUAL(pos.column, cases[i].column);
		if (pos.line != cases[i].line || pos.column != cases[i].column)
			printf("# %s: %u:%u\n", cases[i].pointer, pos.line, pos.column);
	}
	yaml_free(doc);
}

static char *refuse(struct span text, int expected)
{
	struct conf_errors errors = { 0 };
	struct yaml_doc *doc = NULL;
	char *printed = NULL;
	size_t len;
	FILE *out = open_memstream(&printed, &len);

	CU_ASSERT_EQUAL(yaml_parse(text, "t", &errors, &doc), expected);
	CU_ASSERT_PTR_NULL(doc);
	conf_errors_print(&errors, out);
	fclose(out);
	conf_errors_free(&errors);
	return printed;
}

static void faults_are_named_and_placed(void)
{
	static const struct {
		const char *yaml, *printed;
	} cases[] = {
		{ "", "t:1:1: the file is empty\n" },
		{ "a: 1\nb: 2\na: 3\n", "t:3:1: /a: duplicate key (remove one of the two)\n" },
		{ "a: {b: 1, b: 1}\nc: &x 1\nd: *x\n",
		  "t:1:11: /a/b: duplicate key (remove one of the two)\n"
		  "t:2:4: /c: anchors are not supported (write the value out where it is needed)\n"
		  "t:3:4: /d: aliases are not supported (write the value out where it is needed)\n" },
		{ "a: !!int 5\n", "t:1:4: /a: tags are not supported (quote the value to make it a string)\n" },
		{ "a: ! x\n", "t:1:4: /a: tags are not supported (quote the value to make it a string)\n" },
		{ "- !!map {}\n", "t:1:3: /0: tags are not supported (quote the value to make it a string)\n" },
		{ "<<: {a: 1}\n", "t:1:1: merge keys are not supported (write the members out)\n" },
		{ "a: 1\n---\nb: 2\n", "t:2:1: only one document is allowed (remove the second ---)\n" },
		{ "? [a]\n: 1\n", "t:1:3: only plain names can be keys\n" },
		{ "a: \"x\\0y\"\n", "t:1:4: /a: a value contains a NUL character\n" },
		{ "\"a\\0\": 1\n", "t:1:1: a key is longer than 255 bytes or contains a NUL character\n" },
		{ "a: [1\nb: 2\n",
		  "t:2:2: did not find expected ',' or ']' (while parsing a flow sequence)\n" },
		{ "a:\n\tb: 1\n",
		  "t:2:1: found character that cannot start any token (while scanning for the next token)\n" },
		{ "a: 1\nb: \xff\n", "t:2:4: invalid leading UTF-8 octet\n" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *printed = refuse(span_of(cases[i].yaml), ERR_PARSE);

		CU_ASSERT_STRING_EQUAL(printed, cases[i].printed);
		if (strcmp(printed, cases[i].printed) != 0)
			printf("# %s", printed);
		free(printed);
	}
}

static void nesting_ends_at_16(void)
{
	char text[64];
	struct yaml_doc *doc;
	char *printed;

	memset(text, '[', 17);
	memset(text + 17, ']', 17);
	text[34] = '\0';
	text[33] = '\0'; /* 16 levels: text + 1 up to here */
	doc = parse(text + 1);
	yaml_free(doc);
	text[33] = ']';
	printed = refuse(span_of(text), ERR_PARSE);
	CU_ASSERT_STRING_EQUAL(printed, "t:1:17: /0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0: nested deeper than 16 levels\n");
	free(printed);
}

static void keys_end_at_255_bytes(void)
{
	char text[300];
	struct yaml_doc *doc;
	char *printed;

	memset(text, 'k', sizeof(text));
	memcpy(text + 255, ": 1", 4);
	doc = parse(text);
	CU_ASSERT_EQUAL(json_object_size(yaml_root(doc)), 1);
	yaml_free(doc);
	memset(text, 'k', sizeof(text));
	memcpy(text + 256, ": 1", 4);
	printed = refuse(span_of(text), ERR_PARSE);
	CU_ASSERT_STRING_EQUAL(printed, "t:1:1: a key is longer than 255 bytes or contains a NUL character\n");
	free(printed);
}

static void values_end_at_200000(void)
{
	enum { LINES = 200000 }; /* and the list itself: one too many */
	char *text = malloc(LINES * 4 + 1);
	char *printed;
	struct yaml_doc *doc;

	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	for (unsigned i = 0; i < LINES; i++)
		memcpy(text + i * 4, "- 1\n", 4);
	text[LINES * 4] = '\0';
	printed = refuse((struct span){ text, LINES * 4 }, ERR_PARSE);
	CU_ASSERT_STRING_EQUAL(printed, "t:200000:3: more than 200000 values\n");
	free(printed);
	text[(LINES - 1) * 4] = '\0';
	doc = parse(text);
	CU_ASSERT_EQUAL(json_array_size(yaml_root(doc)), LINES - 1);
	yaml_free(doc);
	free(text);
}

static void files_end_at_4_mib(void)
{
	size_t size = 4 << 20;
	char *text = malloc(size + 1);
	char *printed;
	struct yaml_doc *doc;

	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	memset(text, ' ', size + 1);
	text[0] = 'a';
	text[size] = '\0';
	doc = parse(text);
	CU_ASSERT_STRING_EQUAL(json_string_value(yaml_root(doc)), "a");
	yaml_free(doc);
	text[size] = ' ';
	printed = refuse((struct span){ text, size + 1 }, ERR_LIMIT);
	CU_ASSERT_STRING_EQUAL(printed, "t: larger than 4 MiB\n");
	free(printed);
	free(text);
}

static const struct unit_test tests[] = {
	{ "values have their types", values_have_their_types },
	{ "positions are those of keys and elements", positions_are_those_of_keys_and_elements },
	{ "faults are named and placed", faults_are_named_and_placed },
	{ "nesting ends at 16", nesting_ends_at_16 },
	{ "keys end at 255 bytes", keys_end_at_255_bytes },
	{ "values end at 200000", values_end_at_200000 },
	{ "files end at 4 MiB", files_end_at_4_mib },
};

UNIT_MAIN("yaml", tests)
