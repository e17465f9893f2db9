/* RFC 3339 in both directions. */
#include "api/timestamp.h"

#include "core/err.h"
#include "tests/unit/unit.h"

static void writes(void)
{
	static const struct {
		int64_t ms;
		const char *text;
	} cases[] = {
		{ 0, "1970-01-01T00:00:00.000Z" },
		{ 1772366400123, "2026-03-01T12:00:00.123Z" },
		{ 951782399999, "2000-02-28T23:59:59.999Z" },
		{ 253402300799999, "9999-12-31T23:59:59.999Z" },
		{ 253402300800000, "" },
		{ -1, "" },
	};
	char text[TIMESTAMP_TEXT_MAX];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CU_ASSERT_STRING_EQUAL(timestamp_text(cases[i].ms, text), cases[i].text);
}

static void reads(void)
{
	static const struct {
		const char *text;
		int64_t ms;
	} cases[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "2026-03-01T12:00:00.123Z", 1772366400123 },
		{ "2026-03-01T12:00:00.1Z", 1772366400100 },
		{ "2026-03-01T12:00:00.123456789Z", 1772366400123 },
		{ "2026-03-01t12:00:00z", 1772366400000 },
		{ "2026-03-01T14:00:00+02:00", 1772366400000 },
		{ "2026-03-01T06:30:00-05:30", 1772366400000 },
		{ "2024-02-29T00:00:00Z", 1709164800000 },
		{ "2016-12-31T23:59:60Z", 1483228799000 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ms = -1;

		CU_ASSERT_EQUAL(timestamp_parse(span_of(cases[i].text), &ms), 0);
		CU_ASSERT_EQUAL(ms, cases[i].ms);
	}
}

static void refuses(void)
{
	static const char *const cases[] = {
		"", "2026", "2026-03-01", "2026-03-01T12:00:00", "2026-03-01 12:00:00Z", "2026-13-01T00:00:00Z",
		"2026-00-01T00:00:00Z", "2026-02-30T00:00:00Z", "2025-02-29T00:00:00Z", "2026-03-01T24:00:00Z",
		"2026-03-01T12:60:00Z", "2026-03-01T12:00:61Z", "2026-03-01T12:00:00.Z", "2026-03-01T12:00:00+2:00",
		"2026-03-01T12:00:00+24:00", "2026-03-01T12:00:00Zx", "1969-12-31T23:59:59Z", "-026-03-01T12:00:00Z",
		"1970-01-01T00:00:00+00:01", "2026-03-01T12:00:00+02:000", "2026-3-1T12:00:00Z",
		" 2026-03-01T12:00:00Z",
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ms = 42;

		CU_ASSERT_EQUAL(timestamp_parse(span_of(cases[i]), &ms), ERR_PARSE);
		CU_ASSERT_EQUAL(ms, 42);
	}
}

static const struct unit_test tests[] = {
	{ "writes UTC with milliseconds", writes },
	{ "reads offsets, fractions and leap seconds", reads },
	{ "refuses everything else", refuses },
};
UNIT_MAIN("timestamp", tests)
