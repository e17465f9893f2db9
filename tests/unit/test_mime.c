/* mime_find_sdp(): where the session description is, and that nothing ambiguous passes. */
#include "sbc/mime.h"

#include <stdio.h>

#include "core/buf.h"
#include "core/err.h"
#include "tests/unit/unit.h"

#define MIXED "multipart/mixed;boundary=b1"
#define SDP_PART "--b1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n"
#define TEXT_PART "--b1\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
#define END "--b1--\r\n"

static const struct {
	const char *what;
	const char *content_type;
	struct span body;
	int err;
	const char *sdp; /* NULL: none */
} cases[] = {
	{ "plain", "application/sdp", SPAN_LIT("v=0\r\n"), 0, "v=0\r\n" },
	{ "plain, case and parameters", "Application/SDP ; charset=utf-8", SPAN_LIT("v=0"), 0, "v=0" },
	{ "empty body", "application/sdp", SPAN_LIT(""), 0, NULL },
	{ "no content type", "", SPAN_LIT("v=0\r\n"), 0, NULL },
	{ "another type", "application/sdpx", SPAN_LIT("v=0\r\n"), 0, NULL },
	{ "mixed, first", MIXED, SPAN_LIT(SDP_PART TEXT_PART END), 0, "v=0\r\n" },
	{ "mixed, last", MIXED, SPAN_LIT(TEXT_PART SDP_PART END), 0, "v=0\r\n" },
	{ "mixed, none", MIXED, SPAN_LIT(TEXT_PART TEXT_PART END), 0, NULL },
	{ "preamble and epilogue", MIXED, SPAN_LIT("pre\r\n" SDP_PART END "post --b1\r\n"), 0, "v=0\r\n" },
	{ "LF only", MIXED, SPAN_LIT("--b1\nContent-Type: application/sdp\n\nv=0\n\n--b1--"), 0, "v=0\n" },
	{ "quoted boundary", "multipart/mixed; x=\"a;b\"; boundary=\"=x y:z\"",
	  SPAN_LIT("--=x y:z  \r\nc: application/sdp\r\n\r\nv=0\r\n--=x y:z--"), 0, "v=0" },
	{ "boundary is a prefix of a line", MIXED, SPAN_LIT(TEXT_PART "\r\n--b12\r\n" SDP_PART END), 0, "v=0\r\n" },
	{ "disposition session", MIXED,
	  SPAN_LIT("--b1\r\nContent-Disposition: Session;handling=required\r\nContent-Type:application/sdp\r\n\r\nv=0\r\n" END),
	  0, "v=0" },
	{ "encoding binary", MIXED,
	  SPAN_LIT("--b1\r\nContent-Transfer-Encoding: BINARY\r\nContent-Type:application/sdp\r\n\r\nv=0\r\n" END), 0, "v=0" },
	{ "part without header fields", MIXED, SPAN_LIT("--b1\r\n\r\nhello\r\n" SDP_PART END), 0, "v=0\r\n" },
	{ "other subtypes read as mixed", "multipart/related;boundary=b1", SPAN_LIT(SDP_PART END), 0, "v=0\r\n" },
	{ "nested without SDP", MIXED,
	  SPAN_LIT("--b1\r\nContent-Type: multipart/mixed;boundary=b2\r\n\r\n--b2\r\n\r\nx\r\n--b2--\r\n" SDP_PART END), 0,
	  "v=0\r\n" },

	{ "no boundary", "multipart/mixed", SPAN_LIT(SDP_PART END), ERR_PARSE, NULL },
	{ "empty boundary", "multipart/mixed;boundary=\"\"", SPAN_LIT("--\r\n\r\nx\r\n----"), ERR_PARSE, NULL },
	{ "boundary of one quote", "multipart/mixed;boundary=\"", SPAN_LIT("--\"\r\n\r\nx\r\n--\"--"), ERR_PARSE, NULL },
	{ "boundary with blank at the end", "multipart/mixed;boundary=\"b1 \"", SPAN_LIT(SDP_PART END), ERR_PARSE, NULL },
	{ "boundary too long",
	  "multipart/mixed;boundary=01234567890123456789012345678901234567890123456789012345678901234567890",
	  SPAN_LIT(""), ERR_PARSE, NULL },
	{ "no delimiter", MIXED, SPAN_LIT("hello"), ERR_PARSE, NULL },
	{ "no end", MIXED, SPAN_LIT(SDP_PART TEXT_PART), ERR_PARSE, NULL },
	{ "empty body of a multipart", MIXED, SPAN_LIT(""), ERR_PARSE, NULL },
	{ "folded part header", MIXED,
	  SPAN_LIT("--b1\r\nContent-Type:\r\n application/sdp\r\n\r\nv=0\r\n" END), ERR_PARSE, NULL },
	{ "part header without colon", MIXED, SPAN_LIT("--b1\r\nContent-Type\r\n\r\nx\r\n" END), ERR_PARSE, NULL },
	{ "part without content", MIXED, SPAN_LIT("--b1\r\nContent-Type: application/sdp\r\n" END), ERR_PARSE, NULL },
	{ "content type twice", MIXED,
	  SPAN_LIT("--b1\r\nContent-Type: text/plain\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n" END), ERR_PARSE, NULL },
	{ "two descriptions", MIXED, SPAN_LIT(SDP_PART SDP_PART END), ERR_UNSUPPORTED, NULL },
	{ "nested with SDP", MIXED,
	  SPAN_LIT("--b1\r\nContent-Type: multipart/mixed;boundary=b2\r\n\r\n--b2\r\nContent-Type: Application/Sdp\r\n\r\n"
		   "v=0\r\n--b2--\r\n" END), ERR_UNSUPPORTED, NULL },
	{ "early session", MIXED,
	  SPAN_LIT("--b1\r\nContent-Disposition: early-session\r\nContent-Type:application/sdp\r\n\r\nv=0\r\n" END),
	  ERR_UNSUPPORTED, NULL },
	{ "encoded", MIXED,
	  SPAN_LIT("--b1\r\nContent-Transfer-Encoding: base64\r\nContent-Type:application/sdp\r\n\r\ndj0w\r\n" END),
	  ERR_UNSUPPORTED, NULL },
};

static void check_whole(struct span body, const struct mime_part *part)
{
	char bytes[1024];
	struct buf all = buf_of(bytes, sizeof(bytes));

	buf_put(&all, part->before);
	buf_put(&all, part->sdp);
	buf_put(&all, part->after);
	CU_ASSERT(span_eq(buf_span(&all), body));
}

static void test_table(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct mime_part part = { 0 };
		int err = mime_find_sdp(span_of(cases[i].content_type), cases[i].body, &part);

		if (err != cases[i].err || !span_eq(part.sdp, span_of(cases[i].sdp)))
			printf("# %s: %d \"%.*s\"\n", cases[i].what, err, SPAN_ARG(part.sdp));
		CU_ASSERT_EQUAL(err, cases[i].err);
		CU_ASSERT(span_eq(part.sdp, span_of(cases[i].sdp)));
		CU_ASSERT_EQUAL(part.sdp.ptr == NULL, cases[i].sdp == NULL);
		if (part.sdp.ptr != NULL)
			check_whole(cases[i].body, &part);
	}
}

static void check_count(const char *head, const char *text, const char *tail, unsigned limit)
{
	static char bytes[4096];

	for (unsigned extra = 0; extra < 2; extra++) {
		struct buf body = buf_of(bytes, sizeof(bytes));
		struct mime_part part;

		buf_puts(&body, head);
		for (unsigned i = 0; i < limit + extra; i++)
			buf_puts(&body, text);
		buf_puts(&body, tail);
		CU_ASSERT_FALSE(body.is_full);
		CU_ASSERT_EQUAL(mime_find_sdp(SPAN_LIT(MIXED), buf_span(&body), &part), extra ? ERR_PARSE : 0);
	}
}

static void test_limits(void)
{
	check_count("", TEXT_PART, END, MIME_PARTS_MAX);
	check_count("--b1\r\n", "X: y\r\n", "\r\nv=0\r\n" END, MIME_PART_HEADERS_MAX);
}

/* Without the whole end delimiter (its line end may be missing) there is no body. */
static void test_truncated(void)
{
	static const struct span body = SPAN_LIT(TEXT_PART SDP_PART END);

	for (size_t len = 0; len < body.len - 2; len++) {
		struct mime_part part;

		CU_ASSERT_EQUAL(mime_find_sdp(SPAN_LIT(MIXED), span_sub(body, 0, len), &part), ERR_PARSE);
	}
}

static const struct unit_test tests[] = {
	{ "finds the description or refuses", test_table },
	{ "limits", test_limits },
	{ "a cut body is refused", test_truncated },
};
UNIT_MAIN("mime", tests)
