/* core/span.h and core/err.h. */
#include "core/err.h"
#include "core/span.h"
#include "tests/unit/unit.h"

static void equality(void)
{
	CU_ASSERT(span_eq(SPAN_LIT("abc"), SPAN_LIT("abc")));
	CU_ASSERT(!span_eq(SPAN_LIT("abc"), SPAN_LIT("abd")));
	CU_ASSERT(!span_eq(SPAN_LIT("abc"), SPAN_LIT("ab")));
	CU_ASSERT(span_eq(SPAN_NONE, SPAN_LIT("")));
	CU_ASSERT(span_ieq(SPAN_LIT("Via-Z@["), SPAN_LIT("vIA-z@[")));
	/* '@' and '`', '[' and '{' differ by the case bit only. */
	CU_ASSERT(!span_ieq(SPAN_LIT("@"), SPAN_LIT("`")));
	CU_ASSERT(!span_ieq(SPAN_LIT("["), SPAN_LIT("{")));
	CU_ASSERT(!span_ieq(SPAN_LIT("\xc4"), SPAN_LIT("\xe4")));
	CU_ASSERT(!span_ieq(SPAN_LIT("ab"), SPAN_LIT("abc")));
	CU_ASSERT(span_is_empty(span_of(NULL)) && span_is_empty(span_of("")));
}

static void prefixes(void)
{
	CU_ASSERT(span_starts(SPAN_LIT("sip:bob"), SPAN_LIT("sip:")));
	CU_ASSERT(!span_starts(SPAN_LIT("SIP:bob"), SPAN_LIT("sip:")));
	CU_ASSERT(span_istarts(SPAN_LIT("SIP:bob"), SPAN_LIT("sip:")));
	CU_ASSERT(!span_istarts(SPAN_LIT("si"), SPAN_LIT("sip:")));
	CU_ASSERT(span_starts(SPAN_LIT("x"), SPAN_NONE));
	CU_ASSERT(span_starts(SPAN_NONE, SPAN_NONE));
}

static void find_and_sub(void)
{
	struct span s = SPAN_LIT("a=b=c");

	CU_ASSERT_EQUAL(span_find(s, '='), 1);
	CU_ASSERT_EQUAL(span_find(s, 'x'), 5);
	CU_ASSERT_EQUAL(span_find(SPAN_NONE, 'x'), 0);
	CU_ASSERT(span_eq(span_sub(s, 2, 3), SPAN_LIT("b")));
	CU_ASSERT(span_eq(span_sub(s, 2, 99), SPAN_LIT("b=c")));
	CU_ASSERT(span_is_empty(span_sub(s, 99, 99)));
	CU_ASSERT(span_is_empty(span_sub(s, 3, 2)));
	CU_ASSERT_PTR_NULL(span_sub(SPAN_NONE, 0, 1).ptr);
}

static void trim(void)
{
	static const struct { const char *in, *out; } rows[] = {
		{ "", "" }, { " ", "" }, { " \t\r\n", "" }, { "a", "a" }, { " a b ", "a b" }, { "\r\n a\t", "a" },
		{ "\va\v", "\va\v" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CU_ASSERT(span_eq(span_trim(span_of(rows[i].in)), span_of(rows[i].out)));
	CU_ASSERT(span_is_empty(span_trim(SPAN_NONE)));
}

static void cut_walks_every_field(void)
{
	static const struct { const char *in; unsigned n; const char *last; } rows[] = {
		{ "", 1, "" }, { "a", 1, "a" }, { "a,b", 2, "b" }, { "a,", 2, "" }, { ",", 2, "" }, { ",,x", 3, "x" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct span s = span_of(rows[i].in);
		struct span field = SPAN_NONE;
		unsigned n = 0;

		for (; s.ptr != NULL; n++)
			field = span_cut(&s, ',');
		CU_ASSERT_EQUAL(n, rows[i].n);
		CU_ASSERT(span_eq(field, span_of(rows[i].last)));
	}
}

static void numbers(void)
{
	static const struct { const char *in; uint32_t max; int err; uint32_t value; } rows[] = {
		{ "0", UINT32_MAX, 0, 0 }, { "007", 7, 0, 7 }, { "4294967295", UINT32_MAX, 0, UINT32_MAX },
		{ "4294967296", UINT32_MAX, ERR_PARSE, 0 }, { "9999999999", UINT32_MAX, ERR_PARSE, 0 },
		{ "00000000001", UINT32_MAX, ERR_PARSE, 0 }, { "", 1, ERR_PARSE, 0 }, { "+1", 9, ERR_PARSE, 0 },
		{ "-1", 9, ERR_PARSE, 0 }, { " 1", 9, ERR_PARSE, 0 }, { "1 ", 9, ERR_PARSE, 0 },
		{ "0x1", 9, ERR_PARSE, 0 }, { "8", 7, ERR_PARSE, 0 }, { "7", 7, 0, 7 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t value = 4711;

		CU_ASSERT_EQUAL(span_to_u32(span_of(rows[i].in), rows[i].max, &value), rows[i].err);
		CU_ASSERT_EQUAL(value, rows[i].err == 0 ? rows[i].value : 4711);
	}
}

static void error_texts(void)
{
	static const int errors[] = { 0, 1, -2, -110, -99999, ERR_PARSE, ERR_LIMIT, ERR_TRUNCATED, ERR_TRUNCATED - 1 };

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		CU_ASSERT_PTR_NOT_NULL(err_str(errors[i]));
	CU_ASSERT_STRING_EQUAL(err_str(ERR_LIMIT), "limit reached");
	CU_ASSERT_STRING_EQUAL(err_str(ERR_CONFIG), "configuration is not valid");
	CU_ASSERT_STRING_EQUAL(err_str(ERR_TRUNCATED - 1), "unknown error");
	CU_ASSERT_STRING_EQUAL(err_str(-2), "No such file or directory");
}

static const struct unit_test tests[] = {
	{ "equality", equality },
	{ "prefixes", prefixes },
	{ "find and sub", find_and_sub },
	{ "trim", trim },
	{ "cut walks every field", cut_walks_every_field },
	{ "numbers", numbers },
	{ "error texts", error_texts },
};

UNIT_MAIN("span", tests)
