/* UTF-8 checks and JSON strings of foreign text. */
#include "api/text.h"

#include "tests/unit/unit.h"

static void knows_utf8(void)
{
	static const struct {
		struct span text;
		size_t len;
		uint32_t code;
	} cases[] = {
		{ SPAN_LIT("a"), 1, 'a' },
		{ SPAN_LIT("\xc3\xa4"), 2, 0xe4 },
		{ SPAN_LIT("\xe2\x82\xac"), 3, 0x20ac },
		{ SPAN_LIT("\xf0\x9f\x93\x9e"), 4, 0x1f4de },
		{ SPAN_LIT("\xc0\x80"), 0, 0 },         /* overlong NUL */
		{ SPAN_LIT("\xe0\x80\xaf"), 0, 0 },     /* overlong slash */
		{ SPAN_LIT("\xed\xa0\x80"), 0, 0 },     /* surrogate */
		{ SPAN_LIT("\xf4\x90\x80\x80"), 0, 0 }, /* above U+10FFFF */
		{ SPAN_LIT("\xf8\x88\x80\x80"), 0, 0 },
		{ SPAN_LIT("\x80"), 0, 0 },
		{ SPAN_LIT("\xe2\x82"), 0, 0 },
		{ SPAN_LIT(""), 0, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t code = 0;

		CU_ASSERT_EQUAL(text_utf8(cases[i].text, &code), cases[i].len);
		CU_ASSERT_EQUAL(code, cases[i].code);
	}
}

static void knows_clean(void)
{
	CU_ASSERT_TRUE(text_is_clean(SPAN_LIT("")));
	CU_ASSERT_TRUE(text_is_clean(SPAN_LIT("J\xc3\xb6rg <sip:+49@h>")));
	CU_ASSERT_FALSE(text_is_clean(SPAN_LIT("a\nb")));
	CU_ASSERT_FALSE(text_is_clean(SPAN_LIT("a\0b")));
	CU_ASSERT_FALSE(text_is_clean(SPAN_LIT("\x1b[31m")));
	CU_ASSERT_FALSE(text_is_clean(SPAN_LIT("\x7f")));
	CU_ASSERT_FALSE(text_is_clean(SPAN_LIT("\xc2\x9b")));
	CU_ASSERT_FALSE(text_is_clean(SPAN_LIT("\xff")));
}

static void becomes_json(void)
{
	static const struct {
		struct span text;
		const char *json;
	} cases[] = {
		{ SPAN_LIT("plain"), "plain" },
		{ SPAN_LIT(""), "" },
		{ SPAN_LIT("a\xff" "b"), "a\xef\xbf\xbd" "b" },
		{ SPAN_LIT("a\0b"), "a\xef\xbf\xbd" "b" },
		{ SPAN_LIT("\xc3\xa4\xc3"), "\xc3\xa4\xef\xbf\xbd" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *json = text_json(cases[i].text);

		CU_ASSERT_STRING_EQUAL(json_string_value(json), cases[i].json);
		json_decref(json);
	}
	CU_ASSERT_TRUE(json_is_null(text_json_of(NULL)));
}

static const struct unit_test tests[] = {
	{ "tells valid UTF-8", knows_utf8 },
	{ "tells text without control characters", knows_clean },
	{ "repairs what JSON cannot carry", becomes_json },
};
UNIT_MAIN("text", tests)
