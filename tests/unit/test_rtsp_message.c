/* rtsp_message_read(): where a message ends, what is one at all, and that nothing that two readers see differently gets
 * through. */
#include "algs/rtsp/rtsp_message.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/buf.h"
#include "core/err.h"
#include "tests/unit/unit.h"

#define REQUEST "OPTIONS rtsp://h/x RTSP/1.0\r\n"
#define ANSWER "RTSP/1.0 200 OK\r\n"

enum { NEED = 0, WHOLE = 1, FAULT = ERR_PARSE };

static const struct {
	const char *what;
	struct span in;
	int ret;
	enum rtsp_kind kind;
	size_t head; /* octets of the head; frames: of all whole ones */
	uint64_t length;
} cases[] = {
	{ "nothing", SPAN_LIT(""), NEED, 0, 0, 0 },
	{ "request", SPAN_LIT(REQUEST "CSeq: 1\r\n\r\n"), WHOLE, RTSP_REQUEST, 40, 0 },
	{ "request and more", SPAN_LIT(REQUEST "\r\nOPTIONS"), WHOLE, RTSP_REQUEST, 31, 0 },
	{ "request without its end", SPAN_LIT(REQUEST "CSeq: 1\r\n\r"), NEED, 0, 0, 0 },
	{ "line feeds alone", SPAN_LIT("PLAY * RTSP/2.0\nCSeq: 1\n\n"), WHOLE, RTSP_REQUEST, 25, 0 },
	{ "several blanks", SPAN_LIT("PLAY  *\t RTSP/1.0 \r\n\r\n"), WHOLE, RTSP_REQUEST, 22, 0 },
	{ "lower case", SPAN_LIT("play * rtsp/1.0\r\ncontent-LENGTH:7\r\n\r\n"), WHOLE, RTSP_REQUEST, 37, 7 },
	{ "answer", SPAN_LIT(ANSWER "Content-Length: 5\r\n\r\nhello"), WHOLE, RTSP_RESPONSE, 38, 5 },
	{ "answer without a phrase", SPAN_LIT("RTSP/1.0 200\r\n\r\n"), WHOLE, RTSP_RESPONSE, 16, 0 },
	{ "length in a folded line", SPAN_LIT(ANSWER "Content-Length:\r\n 5\r\n\r\n"), WHOLE, RTSP_RESPONSE, 40, 5 },
	{ "the same length twice", SPAN_LIT(ANSWER "Content-Length: 5\r\nContent-Length: 05\r\n\r\n"), WHOLE, RTSP_RESPONSE, 58, 5 },
	{ "longest length", SPAN_LIT(ANSWER "Content-Length: 18446744073709551600\r\n\r\n"), WHOLE, RTSP_RESPONSE, 57,
	  UINT64_C(18446744073709551600) },
	{ "HTTP", SPAN_LIT("GET /x HTTP/1.1\r\nContent-Length: x\r\n\r\n"), WHOLE, RTSP_HTTP, 38, UINT64_MAX },
	{ "answer of HTTP", SPAN_LIT("HTTP/1.0 401 No\r\nContent-Length: 7\r\n\r\nwho"), WHOLE, RTSP_HTTP, 38, 7 },
	{ "answer of HTTP without a length", SPAN_LIT("HTTP/1.0 200 OK\r\n\r\n"), WHOLE, RTSP_HTTP, 19, UINT64_MAX },
	{ "empty lines", SPAN_LIT("\r\n\n\r\nOPTIONS"), WHOLE, RTSP_BLANK, 5, 0 },
	{ "half an empty line", SPAN_LIT("\r"), NEED, 0, 0, 0 },
	{ "one and a half", SPAN_LIT("\r\n\r"), WHOLE, RTSP_BLANK, 2, 0 },

	{ "frame", SPAN_LIT("$\0\0\3abc"), WHOLE, RTSP_FRAMES, 7, 0 },
	{ "empty frame", SPAN_LIT("$\1\0\0"), WHOLE, RTSP_FRAMES, 4, 0 },
	{ "frame with text inside", SPAN_LIT("$\0\0\x1f" REQUEST "\r\n"), WHOLE, RTSP_FRAMES, 35, 0 },
	{ "two frames and a half", SPAN_LIT("$\0\0\1a$\1\0\1b$\1\0\5b"), WHOLE, RTSP_FRAMES, 10, 0 },
	{ "frame and text", SPAN_LIT("$\0\0\1aOPTIONS"), WHOLE, RTSP_FRAMES, 5, 0 },
	{ "half a frame", SPAN_LIT("$\0\0\3ab"), NEED, 0, 0, 0 },
	{ "a frame's beginning", SPAN_LIT("$\0\0"), NEED, 0, 0, 0 },

	{ "control octet", SPAN_LIT("\x16\x03\x01"), FAULT, 0, 0, 0 },
	{ "CR and text", SPAN_LIT("\rOPTIONS"), FAULT, 0, 0, 0 },
	{ "no version", SPAN_LIT("OPTIONS rtsp://h/x\r\n"), FAULT, 0, 0, 0 },
	{ "another version", SPAN_LIT("OPTIONS rtsp://h/x SIP/2.0\r\n"), FAULT, 0, 0, 0 },
	{ "version of letters", SPAN_LIT("OPTIONS rtsp://h/x RTSP/1.x\r\n"), FAULT, 0, 0, 0 },
	{ "text behind the version", SPAN_LIT("OPTIONS rtsp://h/x RTSP/1.0 x\r\n"), FAULT, 0, 0, 0 },
	{ "method is no token", SPAN_LIT("OPT:IONS rtsp://h/x RTSP/1.0\r\n"), FAULT, 0, 0, 0 },
	{ "status of two digits", SPAN_LIT("RTSP/1.0 20 OK\r\n"), FAULT, 0, 0, 0 },
	{ "status below 100", SPAN_LIT("RTSP/1.0 099 OK\r\n"), FAULT, 0, 0, 0 },
	{ "status line of SIP", SPAN_LIT("SIP/2.0 200 OK\r\n"), FAULT, 0, 0, 0 },
	{ "mixed line ends", SPAN_LIT(REQUEST "CSeq: 1\n\r\n"), FAULT, 0, 0, 0 },
	{ "mixed the other way", SPAN_LIT("PLAY * RTSP/1.0\nCSeq: 1\r\n\n"), FAULT, 0, 0, 0 },
	{ "CR inside a line", SPAN_LIT(REQUEST "CSeq: 1\rTransport: x\r\n\r\n"), FAULT, 0, 0, 0 },
	{ "NUL inside a line", SPAN_LIT(REQUEST "CSeq: 1\0\r\n\r\n"), FAULT, 0, 0, 0 },
	{ "continuation of the first line", SPAN_LIT(REQUEST " CSeq: 1\r\n\r\n"), FAULT, 0, 0, 0 },
	{ "two lengths", SPAN_LIT(REQUEST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), FAULT, 0, 0, 0 },
	{ "a list of lengths", SPAN_LIT(REQUEST "Content-Length: 5, 5\r\n\r\n"), FAULT, 0, 0, 0 },
	{ "length with a sign", SPAN_LIT(REQUEST "Content-Length: +5\r\n\r\n"), FAULT, 0, 0, 0 },
	{ "length below 0", SPAN_LIT(REQUEST "Content-Length: -5\r\n\r\n"), FAULT, 0, 0, 0 },
	{ "length in hex", SPAN_LIT(REQUEST "Content-Length: 0x5\r\n\r\n"), FAULT, 0, 0, 0 },
	{ "no length", SPAN_LIT(REQUEST "Content-Length: \r\n\r\n"), FAULT, 0, 0, 0 },
	{ "length beyond 64 bits", SPAN_LIT(REQUEST "Content-Length: 18446744073709551621\r\n\r\n"), FAULT, 0, 0, 0 },
	{ "folded length", SPAN_LIT(REQUEST "Content-Length: 5\r\n 6\r\n\r\n"), FAULT, 0, 0, 0 },
	{ "folded length behind an odd line", SPAN_LIT(REQUEST "odd\r\nContent-Length: 5\r\n 6\r\n\r\n"), FAULT, 0, 0, 0 },
	{ "blank before the colon of a length", SPAN_LIT(REQUEST "Content-Length : 5\r\n\r\n"), FAULT, 0, 0, 0 },
	{ "transfer encoding", SPAN_LIT(REQUEST "Transfer-Encoding: chunked\r\n\r\n"), FAULT, 0, 0, 0 },
};

/* In memory of exactly its size, so that the sanitizer sees what is read beyond. */
static char *copy_of(struct span in)
{
	char *copy = malloc(in.len > 0 ? in.len : 1);

	if (copy != NULL && in.len > 0)
		memcpy(copy, in.ptr, in.len);
	return copy;
}

static int read_copy(struct span in, struct rtsp_message *ret, size_t *ret_need)
{
	char *copy = copy_of(in);
	int result = rtsp_message_read((struct span){ copy, in.len }, ret, ret_need);

	free(copy);
	return result;
}

static void test_table(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		static struct rtsp_message m;
		size_t need = 0;
		int ret = read_copy(cases[i].in, &m, &need);
		bool is_right = ret == cases[i].ret;

		if (is_right && ret == WHOLE)
			is_right = m.kind == cases[i].kind && m.head.len == cases[i].head && m.length == cases[i].length;
		if (!is_right)
			printf("# %s: %d, head %zu\n", cases[i].what, ret, ret == WHOLE ? m.head.len : 0);
		CU_ASSERT(is_right);
	}
}

/* Of a good message each beginning is unfinished, never a fault or another message. */
static void test_cut(void)
{
	static const struct span good = SPAN_LIT("SETUP rtsp://h/x RTSP/1.0\r\nCSeq: 1\r\nTransport: a,\r\n b\r\nContent-Length: 3\r\n\r\n");
	static struct rtsp_message m;
	size_t need;

	for (size_t len = 0; len < good.len; len++)
		CU_ASSERT_EQUAL(read_copy(span_sub(good, 0, len), &m, &need), NEED);
	CU_ASSERT_EQUAL(read_copy(good, &m, &need), WHOLE);
}

static void test_parts(void)
{
	static const struct span in = SPAN_LIT("SETUP rtsp://h/x RTSP/2.0\r\nCSeq: 7\r\nTransport: a;b,\r\n\tc\r\n"
					       "no field\r\n of it\r\ntransport:d\r\nContent-Length: 3\r\n\r\nabcdef");
	static struct rtsp_message m;
	const struct rtsp_header *header;
	unsigned at = 0;
	size_t need;

	CU_ASSERT_EQUAL(rtsp_message_read(in, &m, &need), WHOLE);
	CU_ASSERT(span_eq(m.method, SPAN_LIT("SETUP")));
	CU_ASSERT(span_eq(m.url, SPAN_LIT("rtsp://h/x")));
	CU_ASSERT_EQUAL(m.major, 2);
	CU_ASSERT(m.is_odd);
	CU_ASSERT(span_eq(m.body, SPAN_LIT("abc")));
	CU_ASSERT(span_eq(m.length_text, SPAN_LIT("3")));
	CU_ASSERT_EQUAL(m.n_headers, 4);
	CU_ASSERT(span_eq(rtsp_header_value(&m, "cseq"), SPAN_LIT("7")));
	CU_ASSERT_PTR_NULL(rtsp_header_value(&m, "Session").ptr);
	header = rtsp_header_next(&m, "TRANSPORT", &at);
	CU_ASSERT_PTR_NOT_NULL_FATAL(header);
	CU_ASSERT(span_eq(header->value, SPAN_LIT("a;b,\r\n\tc")));
	CU_ASSERT(span_eq(header->line, SPAN_LIT("Transport: a;b,\r\n\tc\r\n")));
	header = rtsp_header_next(&m, "TRANSPORT", &at);
	CU_ASSERT_PTR_NOT_NULL_FATAL(header);
	CU_ASSERT(span_eq(header->value, SPAN_LIT("d")));
	CU_ASSERT_PTR_NULL(rtsp_header_next(&m, "TRANSPORT", &at));
}

static struct span fill(struct buf *out, const char *text, size_t times)
{
	for (size_t i = 0; i < times; i++)
		buf_puts(out, text);
	return buf_span(out);
}

static void test_limits(void)
{
	static char bytes[80000];
	static struct rtsp_message m;
	size_t need;

	for (size_t extra = 0; extra < 2; extra++) { /* the head: 31 octets of its own, a field of 5 and its value */
		struct buf out = buf_of(bytes, sizeof(bytes));

		buf_puts(&out, REQUEST "X: ");
		fill(&out, "y", RTSP_HEAD_MAX - 36 + extra);
		buf_puts(&out, "\r\n\r\n");
		CU_ASSERT_EQUAL(rtsp_message_read(buf_span(&out), &m, &need), extra ? FAULT : WHOLE);
	}
	for (size_t extra = 0; extra < 2; extra++) { /* and what has no line end is not waited for any longer */
		struct buf out = buf_of(bytes, sizeof(bytes));

		CU_ASSERT_EQUAL(rtsp_message_read(fill(&out, "y", RTSP_HEAD_MAX - 1 + extra), &m, &need), extra ? FAULT : NEED);
	}
	for (size_t extra = 0; extra < 2; extra++) {
		struct buf out = buf_of(bytes, sizeof(bytes));

		buf_puts(&out, REQUEST);
		fill(&out, "X: y\r\n", RTSP_HEADERS_MAX + extra);
		buf_puts(&out, "\r\n");
		CU_ASSERT_EQUAL(rtsp_message_read(buf_span(&out), &m, &need), WHOLE);
		CU_ASSERT_EQUAL(m.n_headers, RTSP_HEADERS_MAX);
		CU_ASSERT_EQUAL(m.has_too_many, extra == 1);
	}
	for (size_t missing = 0; missing < 2; missing++) { /* the longest frame */
		struct buf out = buf_of(bytes, sizeof(bytes));

		buf_put(&out, SPAN_LIT("$\0\xff\xff"));
		fill(&out, "y", 65535 - missing);
		CU_ASSERT_EQUAL(rtsp_message_read(buf_span(&out), &m, &need), missing ? NEED : WHOLE);
		CU_ASSERT_EQUAL(need, missing);
	}
}

static void test_hidden_length(void)
{
	static char bytes[4096];
	static struct rtsp_message m;
	struct buf out = buf_of(bytes, sizeof(bytes));
	size_t need;

	buf_puts(&out, REQUEST);
	fill(&out, "X: y\r\n", RTSP_HEADERS_MAX);
	buf_puts(&out, "Content-Length: 5\r\n\r\n");
	CU_ASSERT_EQUAL(rtsp_message_read(buf_span(&out), &m, &need), FAULT);
}

static void test_lists(void)
{
	static const struct span elements[] = { SPAN_LIT("a"), SPAN_LIT("\"b,c\"d"), SPAN_LIT(""), SPAN_LIT("\"f\\\",g\""),
						SPAN_LIT("\"h, i") };
	struct span list = SPAN_LIT(" a , \"b,c\"d,,\"f\\\",g\" , \"h, i"), element;
	unsigned n = 0;

	while (rtsp_list_next(&list, ',', &element) && n < sizeof(elements) / sizeof(elements[0]))
		CU_ASSERT(span_eq(element, elements[n++]));
	CU_ASSERT_EQUAL(n, sizeof(elements) / sizeof(elements[0]));
	CU_ASSERT(span_eq(rtsp_unquote(SPAN_LIT(" \"x y\" ")), SPAN_LIT("x y")));
	CU_ASSERT(span_eq(rtsp_unquote(SPAN_LIT("\"")), SPAN_LIT("\"")));
	CU_ASSERT_FALSE(rtsp_is_token(SPAN_LIT("")));
	CU_ASSERT_TRUE(rtsp_is_token(SPAN_LIT("X-a_b!")));
	CU_ASSERT_FALSE(rtsp_is_token(SPAN_LIT("a b")));
}

static const struct unit_test tests[] = {
	{ "messages, beginnings and faults", test_table },
	{ "every beginning of a message is unfinished", test_cut },
	{ "parts of a message", test_parts },
	{ "limits", test_limits },
	{ "a length behind the last field that is kept", test_hidden_length },
	{ "lists and quotation marks", test_lists },
};
UNIT_MAIN("rtsp_message", tests)
