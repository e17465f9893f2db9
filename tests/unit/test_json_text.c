/* JSON text: commas, brackets and escapes, read back by a parser. */
#include <jansson.h>

#include "core/json_text.h"
#include "tests/unit/unit.h"

static void builds_nested_values(void)
{
	char text[256];
	struct buf b = buf_of(text, sizeof(text));

	json_open(&b, '{');
	json_member_int(&b, "min", INT64_MIN);
	json_key(&b, "list");
	json_open(&b, '[');
	json_int(&b, 1);
	json_text(&b, SPAN_LIT("two"));
	json_open(&b, '{');
	json_close(&b, '}');
	json_close(&b, ']');
	json_member_text(&b, "none", SPAN_NONE);
	json_close(&b, '}');
	CU_ASSERT_TRUE(span_eq(buf_span(&b), SPAN_LIT("{\"min\":-9223372036854775808,\"list\":[1,\"two\",{}],\"none\":\"\"}")));
}

static void escapes(void)
{
	static const struct {
		struct span in;
		const char *out;
	} rows[] = {
		{ SPAN_LIT("a\"b\\c"), "\"a\\\"b\\\\c\"" },
		{ SPAN_LIT("v=0\r\n"), "\"v=0\\r\\n\"" },
		{ SPAN_LIT("\x01\x7f"), "\"\\u0001\\u007f\"" },
		{ SPAN_LIT("J\xc3\xbcrgen"), "\"J\xc3\xbcrgen\"" },
		{ SPAN_LIT("\xff!\xc3"), "\"\xef\xbf\xbd!\xef\xbf\xbd\"" },
		{ SPAN_LIT("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
	};
	char text[128];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf b = buf_of(text, sizeof(text));

		json_text(&b, rows[i].in);
		CU_ASSERT_TRUE(span_eq(buf_span(&b), span_of(rows[i].out)));
	}
}

static void every_octet_survives_a_parser(void)
{
	char in[256], text[2048];
	struct buf b = buf_of(text, sizeof(text));
	json_t *value;

	for (int i = 0; i < 256; i++)
		in[i] = (char)(255 - i);
	json_open(&b, '[');
	json_text(&b, (struct span){ in, sizeof(in) - 1 }); /* without NUL, which the parser refuses */
	json_close(&b, ']');
	CU_ASSERT_FALSE(b.is_full);
	value = json_loadb(text, b.len, 0, NULL);
	CU_ASSERT_PTR_NOT_NULL(value);
	json_decref(value);
}

static void overflow_is_sticky(void)
{
	char text[8];
	struct buf b = buf_of(text, sizeof(text));

	json_text(&b, SPAN_LIT("too long for this"));
	CU_ASSERT_TRUE(b.is_full);
}

static const struct unit_test tests[] = {
	{ "builds nested values", builds_nested_values },
	{ "escapes", escapes },
	{ "every octet survives a parser", every_octet_survives_a_parser },
	{ "overflow is sticky", overflow_is_sticky },
};
UNIT_MAIN("json_text", tests)
