/* The guard: framing, limits and mandatory headers, each at its edge. */
#include "sbc/guard.h"
#include "sbc/sip_count.h"

#include <stdio.h>

#include "tests/unit/unit.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static struct guard_message msg; /* too large for some stacks under a sanitizer */
static struct guard_fault fault;
static char text[128 * 1024];

#define VIA "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\n"
#define FROM "From: <sip:a@example.com>;tag=1\r\n"
#define TO "To: <sip:b@example.com>\r\n"
#define CALL_ID "Call-ID: x@y\r\n"
#define CSEQ "CSeq: 7 OPTIONS\r\n"
#define BASE VIA FROM TO CALL_ID CSEQ
#define LINE "OPTIONS sip:b@example.com SIP/2.0\r\n"
#define STATUS "SIP/2.0 200 OK\r\n"

static enum guard_verdict scan(struct span bytes)
{
	memset(&fault, 0, sizeof(fault));
	return guard_scan(bytes, &msg, &fault);
}

struct row {
	const char *name;
	struct span bytes;
	enum guard_verdict verdict;
	int code; /* with GUARD_REPLY */
};
#define ROW(name, bytes, verdict, code) { name, SPAN_LIT(bytes), verdict, code }
#define FINE(name, bytes) ROW(name, bytes, GUARD_OK, 0)
#define BAD(name, bytes) ROW(name, bytes, GUARD_REPLY, 400)
#define GONE(name, bytes) ROW(name, bytes, GUARD_DROP, 0)

static void check_rows(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		enum guard_verdict verdict = scan(rows[i].bytes);
		bool is_right = verdict == rows[i].verdict && (verdict != GUARD_REPLY || fault.code == rows[i].code);

		if (!is_right)
			printf("# %s: verdict %d, %d %s\n", rows[i].name, verdict, fault.code, fault.reason ? fault.reason : "");
		CU_ASSERT(is_right);
		if (verdict == GUARD_REPLY || verdict == GUARD_DROP)
			CU_ASSERT(fault.counter != NULL && fault.reason != NULL && fault.code >= 400 &&
				  sip_count_fault(fault.counter));
	}
}

static void framing(void)
{
	static const struct row rows[] = {
		FINE("plain", LINE BASE "\r\n"),
		FINE("line ends before the start line", "\r\n\r\n" LINE BASE "\r\n"),
		FINE("rest is cut", LINE BASE "Content-Length: 0\r\n\r\nINVITE sip:x SIP/2.0\r\n"),
		ROW("empty", "", GUARD_IGNORE, 0),
		ROW("CRLF", "\r\n", GUARD_IGNORE, 0),
		ROW("double CRLF", "\r\n\r\n", GUARD_IGNORE, 0),
		ROW("four NULs", "\0\0\0\0", GUARD_IGNORE, 0),
		GONE("three NULs", "\0\0\0"),
		GONE("short", "OPTIONS sip:b S"),
		GONE("HTTP", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"),
		GONE("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x9a\x11\x22\x33\x44\x55"),
		GONE("STUN", "\0\x01\0\0\x21\x12\xa4\x42" "abcdefghijkl"),
		GONE("no spaces", "OPTIONSsip:b@example.comSIP/2.0\r\n" BASE "\r\n"),
		GONE("no line end", "OPTIONS sip:b@example.com"),
		BAD("no blank line", LINE BASE),
		BAD("half a blank line", LINE BASE "\r"),
		BAD("LF only", "OPTIONS sip:b@example.com SIP/2.0\nVia: x\n\n"),
		BAD("bare LF in a header", LINE BASE "Subject: a\nRoute: <sip:x>\r\n\r\n"),
		BAD("bare CR in a header", LINE BASE "Subject: a\rb\r\n\r\n"),
		BAD("CR CR LF", LINE BASE "Subject: a\r\r\n\r\n"),
		BAD("NUL in a header", LINE BASE "Subject: a\0b\r\n\r\n"),
		BAD("NUL at the start of a header", LINE BASE "\0Subject: a\r\n\r\n"),
		BAD("ESC in a header", LINE BASE "Subject: a\033[2J\r\n\r\n"),
		BAD("DEL in a header", LINE BASE "Subject: a\177\r\n\r\n"),
		FINE("HT in a header", LINE BASE "Subject:\ta\tb\r\n\r\n"),
		FINE("UTF-8 in a header", LINE BASE "Subject: \xc3\xa9\r\n\r\n"),
		FINE("escaped NUL in quotes", LINE VIA "From: \"\\\0\" <sip:a@b>;tag=1\r\n" TO CALL_ID CSEQ "\r\n"),
		BAD("NUL in quotes", LINE VIA "From: \"\0\" <sip:a@b>;tag=1\r\n" TO CALL_ID CSEQ "\r\n"),
		BAD("escaped NUL outside quotes", LINE VIA "From: \\\0 <sip:a@b>;tag=1\r\n" TO CALL_ID CSEQ "\r\n"),
		BAD("escaped CR in quotes", LINE VIA "From: \"\\\r\n\" <sip:a@b>;tag=1\r\n" TO CALL_ID CSEQ "\r\n"),
		BAD("open quotes", LINE VIA "From: \"a <sip:a@b>;tag=1\r\n" TO CALL_ID CSEQ "\r\n"),
		FINE("open quotes in free text", LINE BASE "Subject: 5\" disk\r\nX-Note: \"\r\nUser-Agent: \"\r\n\r\n"),
	};

	check_rows(rows, LEN(rows));
}

static void start_lines(void)
{
	static const struct row rows[] = {
		FINE("token method", "RE%47IST!~ sip:b@example.com SIP/2.0\r\n" VIA FROM TO CALL_ID "CSeq: 1 RE%47IST!~\r\n\r\n"),
		FINE("version in lower case", "OPTIONS sip:b@example.com sip/2.0\r\n" BASE "\r\n"),
		BAD("two spaces first", "OPTIONS  sip:b@example.com SIP/2.0\r\n" BASE "\r\n"),
		BAD("two spaces last", "OPTIONS sip:b@example.com  SIP/2.0\r\n" BASE "\r\n"),
		BAD("space at the end", "OPTIONS sip:b@example.com SIP/2.0 \r\n" BASE "\r\n"),
		BAD("space at the start", " OPTIONS sip:b@example.com SIP/2.0\r\n" BASE "\r\n"),
		BAD("space in the URI", "OPTIONS sip:b@example.com; lr SIP/2.0\r\n" BASE "\r\n"),
		BAD("tab in the URI", "OPTIONS sip:b\t@example.com SIP/2.0\r\n" BASE "\r\n"),
		BAD("UTF-8 in the URI", "OPTIONS sip:\xc3\xa9@example.com SIP/2.0\r\n" BASE "\r\n"),
		BAD("NUL in the URI", "OPTIONS sip:b\0@example.com SIP/2.0\r\n" BASE "\r\n"),
		GONE("line end in the URI", "OPTIONS sip:b@\r\nexample.com SIP/2.0\r\n" BASE "\r\n"),
		BAD("folded start line", "OPTIONS sip:b@example.com\r\n SIP/2.0\r\n" BASE "\r\n"),
		BAD("separator in the method", "OPT/IONS sip:b@example.com SIP/2.0\r\n" BASE "\r\n"),
		ROW("SIP/7.0", "OPTIONS sip:b@example.com SIP/7.0\r\n" BASE "\r\n", GUARD_REPLY, 505),
		ROW("SIP/2.1", "OPTIONS sip:b@example.com SIP/2.1\r\n" BASE "\r\n", GUARD_REPLY, 505),
		BAD("SIP/", "OPTIONS sip:b@example.com SIP/\r\n" BASE "\r\n"),
		BAD("SIP/2", "OPTIONS sip:b@example.com SIP/2\r\n" BASE "\r\n"),
		BAD("SIP/2.", "OPTIONS sip:b@example.com SIP/2.\r\n" BASE "\r\n"),
		BAD("SIP/2.0.0.0", "OPTIONS sip:b@example.com SIP/2.0.0.0\r\n" BASE "\r\n"),
		BAD("SIP/2.0x", "OPTIONS sip:b@example.com SIP/2.0x\r\n" BASE "\r\n"),
		FINE("status", STATUS BASE "\r\n"),
		FINE("empty reason", "SIP/2.0 100 \r\n" BASE "\r\n"),
		FINE("reason in UTF-8", "SIP/2.0 699 = 2**3 \xd0\xbd\xd0\xbe\r\n" BASE "\r\n"),
		GONE("no space behind the code", "SIP/2.0 200\r\n" BASE "\r\n"),
		GONE("code wraps", "SIP/2.0 4294967496 OK\r\n" BASE "\r\n"),
		GONE("code 99", "SIP/2.0 099 OK\r\n" BASE "\r\n"),
		GONE("code 700", "SIP/2.0 700 OK\r\n" BASE "\r\n"),
		GONE("code -20", "SIP/2.0 -20 OK\r\n" BASE "\r\n"),
		GONE("code +20", "SIP/2.0 +20 OK\r\n" BASE "\r\n"),
		GONE("two digits", "SIP/2.0 20 OK\r\n" BASE "\r\n"),
		GONE("two spaces", "SIP/2.0  200 OK\r\n" BASE "\r\n"),
		GONE("other version", "SIP/7.0 200 OK\r\n" BASE "\r\n"),
		GONE("response without Via", STATUS FROM TO CALL_ID CSEQ "\r\n"),
		GONE("response with NUL", STATUS BASE "X: \0\r\n\r\n"),
	};

	check_rows(rows, LEN(rows));
}

static void header_lines(void)
{
	static const struct row rows[] = {
		FINE("white space before the colon", LINE "Via \t : SIP/2.0/UDP h\r\n" FROM TO CALL_ID CSEQ "\r\n"),
		FINE("compact forms", LINE "v:SIP/2.0/UDP h\r\nf:<sip:a@b>\r\nt:<sip:a@b>\r\ni:x\r\nCSEQ:7 OPTIONS\r\nl:0\r\n\r\n"),
		FINE("folds", LINE "v:\r\n SIP/2.0/UDP\r\n\th\r\n" FROM TO CALL_ID "CSeq:\r\n 0009\r\n  OPTIONS\r\n\r\n"),
		FINE("empty value", LINE BASE "Subject:\r\nSupported: \r\n\r\n"),
		FINE("odd value", LINE BASE "Odd: ;;,,;;,;\r\n\r\n"),
		BAD("no colon", LINE BASE "Subject\r\n\r\n"),
		BAD("no name", LINE BASE ": a\r\n\r\n"),
		BAD("space in the name", LINE BASE "Sub ject: a\r\n\r\n"),
		BAD("separator in the name", LINE BASE "Sub@ject: a\r\n\r\n"),
		BAD("control in the name", LINE BASE "Sub\001ject: a\r\n\r\n"),
		BAD("fold in the name", LINE BASE "Subject\r\n : a\r\n\r\n"),
		BAD("fold of white space", LINE BASE "Subject: a\r\n \t \r\n\r\n"),
		BAD("fold of white space inside", LINE BASE "Subject: a\r\n  \r\n b\r\n\r\n"),
		BAD("fold at the end", LINE BASE "Subject: a\r\n  "),
		BAD("no Via", LINE FROM TO CALL_ID CSEQ "\r\n"),
		BAD("no From", LINE VIA TO CALL_ID CSEQ "\r\n"),
		BAD("no To", LINE VIA FROM CALL_ID CSEQ "\r\n"),
		BAD("no Call-ID", LINE VIA FROM TO CSEQ "\r\n"),
		BAD("no CSeq", LINE VIA FROM TO CALL_ID "\r\n"),
		BAD("empty Call-ID", LINE VIA FROM TO "Call-ID:\r\n" CSEQ "\r\n"),
		BAD("two From", LINE BASE "f: <sip:c@d>;tag=2\r\n\r\n"),
		BAD("two To", LINE BASE "t: <sip:c@d>\r\n\r\n"),
		BAD("two Call-ID", LINE BASE "i: x@y\r\n\r\n"),
		BAD("two CSeq", LINE BASE "CSeq: 7 OPTIONS\r\n\r\n"),
		BAD("two Max-Forwards", LINE BASE "Max-Forwards: 7\r\nMax-Forwards: 7\r\n\r\n"),
		BAD("two Content-Type", LINE BASE "Content-Type: a/b\r\nc: a/b\r\n\r\n"),
		FINE("two Via", LINE BASE "v: SIP/2.0/UDP h\r\n\r\n"),
	};

	check_rows(rows, LEN(rows));
}

static void scalars(void)
{
#define WITH_CSEQ(v) LINE VIA FROM TO CALL_ID "CSeq: " v "\r\n\r\n"
#define WITH_CALL_ID(v) LINE VIA FROM TO "Call-ID: " v "\r\n" CSEQ "\r\n"
#define WITH_HOPS(v) LINE BASE "Max-Forwards: " v "\r\n\r\n"
	static const struct row rows[] = {
		FINE("CSeq 0", WITH_CSEQ("0 OPTIONS")),
		FINE("CSeq 2^31-1", WITH_CSEQ("2147483647 OPTIONS")),
		BAD("CSeq 2^31", WITH_CSEQ("2147483648 OPTIONS")),
		BAD("CSeq 2^32+7", WITH_CSEQ("4294967303 OPTIONS")),
		BAD("CSeq 2^65", WITH_CSEQ("36893488147419103232 OPTIONS")),
		BAD("CSeq -1", WITH_CSEQ("-1 OPTIONS")),
		BAD("CSeq +1", WITH_CSEQ("+1 OPTIONS")),
		BAD("CSeq 1a", WITH_CSEQ("1a OPTIONS")),
		BAD("CSeq without number", WITH_CSEQ("OPTIONS")),
		BAD("CSeq without method", WITH_CSEQ("7")),
		BAD("CSeq without space", WITH_CSEQ("7OPTIONS")),
		BAD("CSeq with more", WITH_CSEQ("7 OPTIONS x")),
		BAD("CSeq of another method", WITH_CSEQ("7 INVITE")),
		BAD("CSeq method in lower case", WITH_CSEQ("7 options")),
		ROW("unknown method and another in CSeq", "NEWMETHOD sip:b SIP/2.0\r\n" BASE "\r\n", GUARD_REPLY, 501),
		FINE("Call-ID word", WITH_CALL_ID("word%ZK-!.*_+'@word`~)(><:\\/\"][?}{")),
		BAD("Call-ID of two words", WITH_CALL_ID("a b")),
		BAD("Call-ID in UTF-8", WITH_CALL_ID("\xc3\xa9")),
		FINE("Max-Forwards 0", WITH_HOPS("0")),
		FINE("Max-Forwards 0068", WITH_HOPS("0068")),
		FINE("Max-Forwards 300", WITH_HOPS("300")),
		FINE("Max-Forwards 10^30", WITH_HOPS("1000000000000000000000000000000")),
		BAD("Max-Forwards -1", WITH_HOPS("-1")),
		BAD("Max-Forwards ten", WITH_HOPS("ten")),
		BAD("Max-Forwards 7 7", WITH_HOPS("7 7")),
		BAD("Max-Forwards empty", WITH_HOPS("")),
		GONE("ACK is never answered", "ACK sip:b@example.com SIP/2.0\r\n" BASE "\r\n"),
	};

	check_rows(rows, LEN(rows));
	CU_ASSERT_EQUAL(scan(SPAN_LIT(WITH_HOPS("300"))), GUARD_OK);
	CU_ASSERT_EQUAL(msg.max_forwards, 70);
	CU_ASSERT_EQUAL(scan(SPAN_LIT(WITH_HOPS("255"))), GUARD_OK);
	CU_ASSERT_EQUAL(msg.max_forwards, 255);
	CU_ASSERT_EQUAL(scan(SPAN_LIT(LINE BASE "\r\n")), GUARD_OK);
	CU_ASSERT_EQUAL(msg.max_forwards, -1);
}

static void body_lengths(void)
{
#define WITH_LENGTH(v) LINE BASE "c: a/b\r\nContent-Length: " v "\r\n\r\n12345"
	static const struct {
		struct row row;
		size_t body_len;
	} rows[] = {
		{ FINE("all", WITH_LENGTH("5")), 5 },
		{ FINE("less", WITH_LENGTH("3")), 3 },
		{ FINE("leading zeros", WITH_LENGTH("0000005")), 5 },
		{ FINE("none", WITH_LENGTH("0")), 0 },
		{ FINE("compact", LINE BASE "c: a/b\r\nl: 4\r\n\r\n12345"), 4 },
		{ FINE("not given", LINE BASE "c: a/b\r\n\r\n12345"), 5 },
		{ FINE("NUL in the body", LINE BASE "c: a/b\r\n\r\n1\0003\n\r"), 5 },
		{ BAD("eight digits", WITH_LENGTH("00000005")), 0 },
		{ BAD("more than there is", WITH_LENGTH("6")), 0 },
		{ BAD("negative", WITH_LENGTH("-999")), 0 },
		{ BAD("signed", WITH_LENGTH("+5")), 0 },
		{ BAD("junk behind", WITH_LENGTH("3abc")), 0 },
		{ BAD("text", WITH_LENGTH("five")), 0 },
		{ BAD("2^32+5", WITH_LENGTH("4294967301")), 0 },
		{ BAD("hexadecimal", WITH_LENGTH("0x5")), 0 },
		{ BAD("empty", WITH_LENGTH("")), 0 },
		{ BAD("list", WITH_LENGTH("5, 5")), 0 },
		{ BAD("twice", WITH_LENGTH("5\r\nContent-Length: 5")), 0 },
		{ BAD("long and compact", WITH_LENGTH("5\r\nl: 5")), 0 },
		{ BAD("no Content-Type", LINE BASE "Content-Length: 5\r\n\r\n12345"), 0 },
		{ BAD("empty Content-Type", LINE BASE "c:\r\nContent-Length: 5\r\n\r\n12345"), 0 },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		check_rows(&rows[i].row, 1);
		if (rows[i].row.verdict != GUARD_OK)
			continue;
		CU_ASSERT_EQUAL(msg.body.len, rows[i].body_len);
		CU_ASSERT(msg.body.ptr + msg.body.len == msg.raw.ptr + msg.raw.len);
	}
}

static void index_of_headers(void)
{
	static const char bytes[] = LINE "v : SIP/2.0/UDP h \r\n" FROM TO "Odd:\r\n" CALL_ID CSEQ "c: a/b\r\nl: 2\r\n\r\nhi" "xx";

	CU_ASSERT_EQUAL_FATAL(scan((struct span){ bytes, sizeof(bytes) - 1 }), GUARD_OK);
	CU_ASSERT(msg.is_request);
	CU_ASSERT_EQUAL(msg.method, SIP_OPTIONS);
	CU_ASSERT(span_eq(msg.request_uri, SPAN_LIT("sip:b@example.com")));
	CU_ASSERT_EQUAL(msg.n_headers, 8);
	CU_ASSERT_EQUAL(msg.headers[0].id, SIP_H_VIA);
	CU_ASSERT(span_eq(msg.headers[0].name, SPAN_LIT("v")));
	CU_ASSERT(span_eq(msg.headers[0].value, SPAN_LIT("SIP/2.0/UDP h")));
	CU_ASSERT_EQUAL(msg.headers[3].id, SIP_H_OTHER);
	CU_ASSERT_EQUAL(msg.headers[3].value.len, 0);
	CU_ASSERT(span_eq(msg.call_id, SPAN_LIT("x@y")));
	CU_ASSERT_EQUAL(msg.cseq_number, 7);
	CU_ASSERT(span_eq(msg.body, SPAN_LIT("hi")));
	CU_ASSERT_EQUAL(msg.raw.len, sizeof(bytes) - 1 - 2);
	CU_ASSERT_EQUAL_FATAL(scan(SPAN_LIT("SIP/2.0 183 Soon, maybe\r\n" BASE "\r\n")), GUARD_OK);
	CU_ASSERT(!msg.is_request);
	CU_ASSERT_EQUAL(msg.status, 183);
	CU_ASSERT_EQUAL(msg.method, SIP_OPTIONS);
	CU_ASSERT(span_eq(msg.reason_phrase, SPAN_LIT("Soon, maybe")));
}

/* A valid message with `count` copies of `piece` between `before` and `after`. */
static struct span repeated(const char *before, const char *piece, unsigned count, const char *after)
{
	struct buf out = buf_of(text, sizeof(text));

	buf_puts(&out, before);
	for (unsigned i = 0; i < count; i++)
		buf_puts(&out, piece);
	buf_puts(&out, after);
	CU_ASSERT_FATAL(!out.is_full);
	return buf_span(&out);
}

static void limits(void)
{
	static const struct {
		const char *name;
		const char *before, *piece, *after;
		unsigned most; /* this many pass, one more does not */
		int code;
	} rows[] = {
		{ "headers", LINE BASE, "Odd: y\r\n", "\r\n", GUARD_HEADERS_MAX - 5, 513 },
		{ "folds", LINE BASE "Odd: a", "\r\n b", "\r\n\r\n", GUARD_FOLDS_MAX, 400 },
		{ "line", LINE BASE "Odd: ", "a", "\r\n\r\n", GUARD_LINE_MAX - 5, 513 },
		{ "Via lines", LINE BASE, "v: SIP/2.0/UDP h\r\n", "\r\n", GUARD_VIA_MAX - 1, 400 },
		{ "Via values", LINE FROM TO CALL_ID CSEQ "v: SIP/2.0/UDP h", ",SIP/2.0/UDP h", "\r\n\r\n", GUARD_VIA_MAX - 1, 400 },
		{ "Route", LINE BASE, "Route: <sip:a;lr>, <sip:b;lr>\r\n", "\r\n", GUARD_ROUTES_MAX / 2, 400 },
		{ "Record-Route", LINE BASE, "Record-Route: <sip:a;lr>\r\n", "\r\n", GUARD_ROUTES_MAX, 400 },
		{ "Contact", LINE BASE, "m: <sip:a>\r\n", "\r\n", GUARD_CONTACTS_MAX, 400 },
		{ "commas", LINE BASE "Allow: a", ",a", "\r\n\r\n", GUARD_COMMAS_MAX, 400 },
		{ "parameters", LINE BASE "Contact: <sip:a>", ";a", "\r\n\r\n", GUARD_PARAMS_MAX, 400 },
		{ "URI parameters", LINE BASE "Contact: <sip:a", ";a", ">\r\n\r\n", GUARD_PARAMS_MAX, 400 },
		{ "Request-URI", "OPTIONS sip:", "a", " SIP/2.0\r\n" BASE "\r\n", GUARD_URI_MAX - 4, 414 },
		{ "method", "", "O", " sip:a SIP/2.0\r\n" VIA FROM TO CALL_ID "CSeq: 7 OOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOO\r\n\r\n",
		  GUARD_METHOD_MAX, 501 },
		{ "Call-ID", LINE VIA FROM TO CSEQ "i: ", "a", "\r\n\r\n", GUARD_CALL_ID_MAX, 400 },
		{ "body", LINE BASE "c: a/b\r\n\r\n", "x", "", GUARD_BODY_MAX, 413 },
		{ "message", LINE BASE "\r\n", "x", "", 0, 400 },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		enum guard_verdict at = scan(repeated(rows[i].before, rows[i].piece, rows[i].most, rows[i].after));
		enum guard_verdict above = scan(repeated(rows[i].before, rows[i].piece, rows[i].most + 1, rows[i].after));

		if (at != GUARD_OK || above != GUARD_REPLY || fault.code != rows[i].code)
			printf("# %s: at the limit %d, above %d with %d\n", rows[i].name, at, above, fault.code);
		CU_ASSERT_EQUAL(at, GUARD_OK);
		CU_ASSERT_EQUAL(above, GUARD_REPLY);
		CU_ASSERT_EQUAL(fault.code, rows[i].code);
	}
}

static void messages_too_large(void)
{
	CU_ASSERT_EQUAL(scan(repeated(LINE BASE "Contact: <sip:a>", ";a", 31000, "\r\n\r\n")), GUARD_REPLY);
	CU_ASSERT_EQUAL(fault.code, 513);
	CU_ASSERT(msg.via.len > 0); /* it can be answered */
	CU_ASSERT_EQUAL(scan(repeated("OPTIONS sip:a", ";a", 31000, " SIP/2.0\r\n" BASE "\r\n")), GUARD_REPLY);
	CU_ASSERT_EQUAL(fault.code, 513);
	CU_ASSERT_EQUAL(scan(repeated(LINE BASE "c: a/b\r\nl: 5\r\n\r\n12345", "x", GUARD_MESSAGE_MAX, "")), GUARD_REPLY);
	CU_ASSERT_EQUAL(fault.code, 513);
	CU_ASSERT_EQUAL(scan(repeated(STATUS BASE, "Odd: y\r\n", 10000, "\r\n")), GUARD_DROP);
}

static void put_via_rows(void)
{
	static const struct {
		const char *value, *expected;
	} rows[] = {
		{ "SIP/2.0/UDP 192.0.2.7;branch=b", "SIP/2.0/UDP 192.0.2.7;branch=b" },
		{ "SIP/2.0/UDP 192.0.2.7:5062;branch=b", "SIP/2.0/UDP 192.0.2.7:5062;branch=b" },
		{ "SIP/2.0/UDP 10.0.0.1;branch=b", "SIP/2.0/UDP 10.0.0.1;branch=b;received=192.0.2.7" },
		{ "SIP/2.0/UDP host.example.com", "SIP/2.0/UDP host.example.com;received=192.0.2.7" },
		{ "SIP/2.0/UDP 192.0.2.7;rport;branch=b", "SIP/2.0/UDP 192.0.2.7;branch=b;received=192.0.2.7;rport=5070" },
		{ "SIP/2.0/UDP 10.0.0.1;rport=9;received=203.0.113.1;branch=b",
		  "SIP/2.0/UDP 10.0.0.1;branch=b;received=192.0.2.7;rport=5070" },
		{ "SIP / 2.0 / UDP\r\n 10.0.0.1 ;\r\n branch = b , SIP/2.0/UDP x;received=1.2.3.4",
		  "SIP / 2.0 / UDP   10.0.0.1;branch=b;received=192.0.2.7, SIP/2.0/UDP x;received=1.2.3.4" },
		{ "SIP/2.0/UDP 192.0.2.15;;,;,,", "SIP/2.0/UDP 192.0.2.15;;;received=192.0.2.7, ;,," },
		{ "SIP/2.0/UDP [2001:db8::1]:5060;branch=b", "SIP/2.0/UDP [2001:db8::1]:5060;branch=b;received=192.0.2.7" },
	};
	struct addr source;

	CU_ASSERT_EQUAL_FATAL(addr_parse(SPAN_LIT("192.0.2.7:5070"), &source), 0);
	for (size_t i = 0; i < LEN(rows); i++) {
		char out[512];
		struct buf b = buf_of(out, sizeof(out));

		guard_put_via(&b, span_of(rows[i].value), &source);
		CU_ASSERT(span_eq(buf_span(&b), span_of(rows[i].expected)));
		if (!span_eq(buf_span(&b), span_of(rows[i].expected)))
			printf("# %.*s\n", SPAN_ARG(buf_span(&b)));
	}
}

static size_t refuse(struct span request, char *out, size_t out_size)
{
	struct addr source;

	addr_parse(SPAN_LIT("[2001:db8::9]:5071"), &source);
	CU_ASSERT_EQUAL(scan(request), GUARD_REPLY);
	return guard_refuse(&msg, &fault, &source, out, out_size);
}

static bool has(const char *out, size_t len, const char *piece)
{
	return memmem(out, len, piece, strlen(piece)) != NULL;
}

static void refusals(void)
{
	char out[2048], again[2048];
	size_t len = refuse(SPAN_LIT(LINE "v: SIP/2.0/UDP h;branch=z9hG4bKa;rport\r\nv: SIP/2.0/UDP h2\r\n" FROM TO CALL_ID
				     "CSeq: 7 BYE\r\n\r\n"), out, sizeof(out));
	size_t len_again = refuse(SPAN_LIT(LINE "v: SIP/2.0/UDP h;branch=z9hG4bKa;rport\r\nv: SIP/2.0/UDP h2\r\n" FROM TO CALL_ID
					   "CSeq: 7 BYE\r\n\r\n"), again, sizeof(again));

	CU_ASSERT_FATAL(len > 0);
	CU_ASSERT(len == len_again && memcmp(out, again, len) == 0);
	CU_ASSERT(has(out, len, "SIP/2.0 400 CSeq Method Differs\r\n"));
	CU_ASSERT(has(out, len, "\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa;received=2001:db8::9;rport=5071\r\n"
				"Via: SIP/2.0/UDP h2\r\n"));
	CU_ASSERT(has(out, len, "\r\n" FROM));
	CU_ASSERT(has(out, len, "\r\nTo: <sip:b@example.com>;tag="));
	CU_ASSERT(has(out, len, "\r\n" CALL_ID "CSeq: 7 BYE\r\nContent-Length: 0\r\n\r\n"));
	CU_ASSERT_EQUAL(scan((struct span){ out, len }), GUARD_OK);
	CU_ASSERT_EQUAL(msg.status, 400);
}

static void refusal_tags(void)
{
	char out[2048], other[2048];
	static const char *const requests[] = {
		LINE VIA FROM TO CALL_ID "CSeq: 7 BYE\r\n\r\n",
		LINE VIA FROM TO "i: z\r\nCSeq: 7 BYE\r\n\r\n",
		LINE "v: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKb\r\n" FROM TO CALL_ID "CSeq: 7 BYE\r\n\r\n",
	};
	size_t len = refuse(span_of(requests[0]), out, sizeof(out));
	const char *tag = memmem(out, len, "b@example.com>;tag=", 19);

	CU_ASSERT_FATAL(tag != NULL);
	for (size_t i = 1; i < LEN(requests); i++) {
		size_t other_len = refuse(span_of(requests[i]), other, sizeof(other));
		const char *other_tag = memmem(other, other_len, "b@example.com>;tag=", 19);

		CU_ASSERT_FATAL(other_tag != NULL);
		CU_ASSERT(memcmp(tag, other_tag, 19 + 16) != 0);
	}
	len = refuse(SPAN_LIT(LINE VIA FROM "To: <sip:b@c>;tag=mine\r\n" CALL_ID "CSeq: 7 BYE\r\n\r\n"), out, sizeof(out));
	CU_ASSERT(has(out, len, "\r\nTo: <sip:b@c>;tag=mine\r\n"));
	len = refuse(SPAN_LIT(LINE VIA FROM "To: \"open <sip:b@c>\r\n" CALL_ID CSEQ "\r\n"), out, sizeof(out));
	CU_ASSERT(has(out, len, "\r\nTo: \"open <sip:b@c>\r\n"));
}

static void not_refusable(void)
{
	char out[2048];

	CU_ASSERT_EQUAL(refuse(SPAN_LIT(LINE FROM TO CALL_ID CSEQ "\r\n"), out, sizeof(out)), 0);
	CU_ASSERT_EQUAL(refuse(SPAN_LIT(LINE VIA TO CALL_ID CSEQ "\r\n"), out, sizeof(out)), 0);
	CU_ASSERT_EQUAL(refuse(SPAN_LIT("OPTIONS sip:b@e SIP/2.0\nVia: x\n\n"), out, sizeof(out)), 0);
	CU_ASSERT_EQUAL(refuse(SPAN_LIT(LINE VIA FROM TO CALL_ID "CSeq: 7 BYE\r\n\r\n"), out, 60), 0); /* does not fit */
	/* Never more than twice what came in. */
	CU_ASSERT_EQUAL(refuse(SPAN_LIT("O sip:b SIP/2.0\r\nv:S\r\nf:a\r\nt:sip:b\r\ni:i\r\nCSeq:7 B\r\n\r\n"), out, sizeof(out)), 0);
	CU_ASSERT_EQUAL(scan(SPAN_LIT(STATUS VIA FROM TO CALL_ID "CSeq: x\r\n\r\n")), GUARD_DROP);
	CU_ASSERT_EQUAL(guard_refuse(&msg, &fault, &(struct addr){ 0 }, out, sizeof(out)), 0);
}

static const struct unit_test tests[] = {
	{ "framing and octets", framing },
	{ "start lines", start_lines },
	{ "header lines", header_lines },
	{ "scalar headers", scalars },
	{ "body lengths", body_lengths },
	{ "index of headers", index_of_headers },
	{ "limits", limits },
	{ "messages over the size limit", messages_too_large },
	{ "Via of a response", put_via_rows },
	{ "refusals", refusals },
	{ "tags of refusals", refusal_tags },
	{ "what gets no refusal", not_refusable },
};

UNIT_MAIN("guard", tests)
