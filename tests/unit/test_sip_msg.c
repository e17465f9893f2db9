/* Messages: what the parser takes from them, what it refuses, and every allocation failing in turn. */
#include "sbc/sip_msg.h"

#include <stdio.h>

#include "core/arena.h"
#include "core/err.h"
#include "sbc/sip_count.h"
#include "tests/unit/unit.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

#define VIA "Via: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bKa;rport\r\n"
#define FROM "From: \"A\" <sip:a@example.com>;tag=1\r\n"
#define TO "To: <sip:b@example.com>\r\n"
#define IDS "Call-ID: x@y\r\nCSeq: 7 OPTIONS\r\n"
#define LINE "OPTIONS sip:b@example.com SIP/2.0\r\n"
#define BASE VIA FROM TO IDS
#define REQUEST(headers) LINE BASE headers "\r\n"
#define RESPONSE(headers) "SIP/2.0 200 OK\r\n" BASE headers "\r\n"

enum { CAP = 256 * 1024 };

static struct guard_message guarded;
static struct guard_fault fault;
static struct arena *arena;

static int parse(struct span bytes, struct sip_msg **ret)
{
	struct sip_flow flow = { .realm = 3 };

	memset(&fault, 0, sizeof(fault));
	arena_reset(arena);
	CU_ASSERT_EQUAL_FATAL(guard_scan(bytes, &guarded, &fault), GUARD_OK);
	return sip_msg_parse(arena, &guarded, &flow, ret, &fault);
}

static struct sip_msg *parse_good(struct span bytes)
{
	struct sip_msg *msg = NULL;

	if (parse(bytes, &msg) != 0)
		printf("# %d %s in:\n# %.60s\n", fault.code, fault.counter, bytes.ptr);
	CU_ASSERT_PTR_NOT_NULL_FATAL(msg);
	return msg;
}

static void view_of_a_request(void)
{
	const struct sip_msg *msg = parse_good(SPAN_LIT(
		"INVITE sip:+49301@core.example.net;user=phone SIP/2.0\r\n"
		"v: SIP / 2.0 / UDP\r\n host.example.com : 5070 ;\r\n\tbranch = z9hG4bKa , SIP/2.0/TCP [2001:db8::1];branch=old\r\n"
		"Via: SIP/2.0/TLS 192.0.2.1\r\n"
		"Max-Forwards: 70\r\n"
		"f:\r\n \"A\\\" , <x>\"\r\n <sip:a@example.com>\r\n ;tag=abc\r\n"
		"t: sip:b@example.com;x=y\r\n"
		"i: x@y\r\nCSeq: 7\r\n INVITE\r\n"
		"m: <sip:a@192.0.2.1;lr>;q=0.5, \"second, one\" <sip:c@192.0.2.1>\r\n"
		"m: sip:d@192.0.2.1\r\n"
		"Route: <sip:r1;lr>\r\nRoute: <sip:r2;lr>,<sip:r3;lr>\r\n"
		"Record-Route: <sip:p1;lr>, <sip:p2;lr>;x\r\n"
		"k: timer, 100rel\r\nSupported: Replaces\r\n"
		"c: application/sdp\r\nl: 4\r\n\r\n"
		"v=\r\n\r\nmore"));

	CU_ASSERT(msg->is_request);
	CU_ASSERT_EQUAL(msg->method, SIP_INVITE);
	CU_ASSERT_EQUAL(msg->flow.realm, 3);
	CU_ASSERT(span_eq(msg->request_uri.user, SPAN_LIT("+49301")));
	CU_ASSERT(span_eq(msg->request_uri.params, SPAN_LIT("user=phone")));
	CU_ASSERT_EQUAL(msg->n_vias, 3);
	CU_ASSERT(span_eq(msg->via.transport, SPAN_LIT("UDP")));
	CU_ASSERT(span_eq(msg->via.host, SPAN_LIT("host.example.com")));
	CU_ASSERT(span_eq(msg->via.sent_by, SPAN_LIT("host.example.com : 5070")));
	CU_ASSERT_EQUAL(msg->via.port, 5070);
	CU_ASSERT(span_eq(msg->via.branch, SPAN_LIT("z9hG4bKa")));
	CU_ASSERT(msg->via.has_magic_cookie && !msg->via.has_rport);
	CU_ASSERT_EQUAL(msg->max_forwards, 70);
	CU_ASSERT(span_eq(msg->from.display, SPAN_LIT("\"A\\\" , <x>\"")));
	CU_ASSERT(span_eq(msg->from.uri, SPAN_LIT("sip:a@example.com")));
	CU_ASSERT(span_eq(msg->from.tag, SPAN_LIT("abc")));
	CU_ASSERT(span_eq(msg->to.uri, SPAN_LIT("sip:b@example.com")));
	CU_ASSERT(span_eq(msg->to.params, SPAN_LIT("x=y")));
	CU_ASSERT(span_eq(msg->call_id, SPAN_LIT("x@y")));
	CU_ASSERT_EQUAL(msg->cseq, 7);
	CU_ASSERT_EQUAL(msg->n_contacts, 3);
	CU_ASSERT(span_eq(msg->contact.uri, SPAN_LIT("sip:a@192.0.2.1;lr")));
	CU_ASSERT_EQUAL(msg->n_routes, 3);
	CU_ASSERT(span_eq(msg->routes[2].uri, SPAN_LIT("sip:r3;lr")));
	CU_ASSERT_EQUAL(msg->n_record_routes, 2);
	CU_ASSERT(span_eq(msg->record_routes[1].params, SPAN_LIT("x")));
	CU_ASSERT(sip_msg_has_token(msg, SIP_H_SUPPORTED, "100REL"));
	CU_ASSERT(sip_msg_has_token(msg, SIP_H_SUPPORTED, "replaces"));
	CU_ASSERT(!sip_msg_has_token(msg, SIP_H_SUPPORTED, "path"));
	CU_ASSERT(!sip_msg_has_token(msg, SIP_H_REQUIRE, "timer"));
	CU_ASSERT(span_eq(msg->content_type, SPAN_LIT("application/sdp")));
	CU_ASSERT(span_eq(msg->body, SPAN_LIT("v=\r\n")));
	CU_ASSERT(span_eq(sip_msg_header(msg, SIP_H_CONTENT_LENGTH)->value, SPAN_LIT("4")));
	CU_ASSERT(span_eq(sip_msg_header(msg, SIP_H_FROM)->value, SPAN_LIT("\"A\\\" , <x>\"   <sip:a@example.com>   ;tag=abc")));
	CU_ASSERT_PTR_NULL(sip_msg_header(msg, SIP_H_REQUIRE));
	CU_ASSERT(msg->raw.ptr + msg->raw.len == msg->body.ptr + msg->body.len);
}

static void view_of_a_response(void)
{
	const struct sip_msg *msg = parse_good(SPAN_LIT("SIP/2.0 180 So, ringing\r\n" BASE "Contact: <sip:b@192.0.2.9>\r\n\r\n"));

	CU_ASSERT(!msg->is_request);
	CU_ASSERT_EQUAL(msg->status, 180);
	CU_ASSERT_EQUAL(msg->method, SIP_OPTIONS);
	CU_ASSERT(span_eq(msg->reason_phrase, SPAN_LIT("So, ringing")));
	CU_ASSERT(msg->via.has_rport);
	CU_ASSERT_EQUAL(msg->max_forwards, -1);
	CU_ASSERT(span_is_empty(msg->body));
	CU_ASSERT(span_is_empty(msg->content_type));
}

static void accepted(void)
{
	static const struct span rows[] = {
		SPAN_LIT("REGISTER sip:h SIP/2.0\r\n" VIA FROM TO "i: x\r\nCSeq: 7 REGISTER\r\nContact: *\r\nExpires: 0\r\n\r\n"),
		SPAN_LIT(LINE VIA "From: sip:a@example.com\r\n" TO IDS "\r\n"), /* RFC 2543: no tag */
		SPAN_LIT(LINE "Via: SIP/2.0/UDP h;received=2001:db8::9\r\n" FROM TO IDS "\r\n"),
		SPAN_LIT(LINE "Via: SIP/2.0/UDP h;received=[2001:db8::9];rport=9;x=\"y\"\r\n" FROM TO IDS "\r\n"),
		SPAN_LIT("OPTIONS tel:+4930 SIP/2.0\r\n" BASE "\r\n"),
		SPAN_LIT(REQUEST("Contact: <tel:+4930>, <http://example.com>\r\n")),
		SPAN_LIT(REQUEST("Contact: sip:a@b;expires=3\r\n")),
		SPAN_LIT(REQUEST("Content-Encoding: identity\r\nContent-Type: a/b\r\nContent-Length: 1\r\n") "x"),
		SPAN_LIT(REQUEST("e: gzip\r\n")), /* of nothing */
		SPAN_LIT(REQUEST("Authorization: Digest username=\"a\", realm=\"b\", nonce=\"c\", uri=\"sip:d\", response=\"e\"\r\n")),
		SPAN_LIT(REQUEST("Authorization: NoOneKnowsThisScheme opaque-data=here\r\n")),
		SPAN_LIT(REQUEST("P-Asserted-Identity: \"a\" <sip:a@b>, <tel:+1>\r\nP-Asserted-Identity: <sip:c@d>\r\nPrivacy: id\r\n")),
		SPAN_LIT(REQUEST("P-Empty:\r\nSubject:\r\nOdd: ;;,,;;,;\r\nAllow: a, b,c\r\nSupported:\r\n")),
		SPAN_LIT(REQUEST("Content-Type: multipart/mixed;boundary=b\r\nContent-Length: 45\r\n")
			 "--b\r\nContent-Type:\r\n a/b\r\n\r\nx\0y\n\r\n--b--\r\n\r\n---"),
		SPAN_LIT(RESPONSE("WWW-Authenticate: Digest realm=\"b\", nonce=\"c\"\r\n")),
	};

	for (size_t i = 0; i < LEN(rows); i++)
		parse_good(rows[i]);
}

struct refusal {
	const char *counter;
	int code;
	struct span bytes;
};

static void check_refusals(const struct refusal *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct sip_msg *msg = NULL;
		int err = parse(rows[i].bytes, &msg);

		if (err == 0 || fault.code != rows[i].code || strcmp(fault.counter, rows[i].counter) != 0)
			printf("# row %zu: %d, %d %s instead of %d %s\n", i, err, fault.code, fault.counter, rows[i].code,
			       rows[i].counter);
		CU_ASSERT_EQUAL(err, ERR_PARSE);
		CU_ASSERT_PTR_NULL(msg);
		CU_ASSERT_EQUAL(fault.code, rows[i].code);
		CU_ASSERT_STRING_EQUAL(fault.counter ? fault.counter : "", rows[i].counter);
		CU_ASSERT(sip_count_fault(rows[i].counter));
	}
}

static void refused_uris(void)
{
#define TO_URI(uri) SPAN_LIT("OPTIONS " uri " SIP/2.0\r\n" BASE "\r\n")
	static const struct refusal rows[] = {
		{ "uri-scheme", 416, TO_URI("nobodyKnowsThisScheme:opaque") },
		{ "uri-scheme", 416, TO_URI("sipfoo:b@example.com") },
		{ "uri", 400, TO_URI("<sip:b@example.com>") },
		{ "uri", 400, TO_URI("sip:b@example.com?Route=%3Csip:c%3E") },
		{ "uri", 400, TO_URI("sip:b@c@example.com") },
		{ "uri", 400, TO_URI("sip:2001:db8::10") },
		{ "uri", 400, TO_URI("sip:b@example.com:99999") },
		{ "uri", 400, TO_URI("b@example.com") },
	};

	check_refusals(rows, LEN(rows));
}

static void refused_addresses(void)
{
#define WITH_FROM(value) SPAN_LIT(LINE VIA "From: " value "\r\n" TO IDS "\r\n")
#define WITH_TO(value) SPAN_LIT(LINE VIA FROM "To: " value "\r\n" IDS "\r\n")
#define WITH_CONTACT(value) SPAN_LIT(REQUEST("Contact: " value "\r\n"))
#define LONG_16 "aaaaaaaaaaaaaaaa"
#define LONG_128 LONG_16 LONG_16 LONG_16 LONG_16 LONG_16 LONG_16 LONG_16 LONG_16
	static const struct refusal rows[] = {
		{ "from", 400, WITH_FROM("<sip:a@b>;tag=1;tag=2") },
		{ "from", 400, WITH_FROM("<sip:a@b>;tag=") },
		{ "from", 400, WITH_FROM("<sip:a@b>;tag=" LONG_128 "a") },
		{ "from", 400, WITH_FROM("Bell, Alexander <sip:a@b>;tag=1") },
		{ "from", 400, WITH_FROM("<sip:a@b>;tag=1, <sip:c@d>;tag=2") },
		{ "from", 400, WITH_FROM("<sip:a@@b>;tag=1") },
		{ "to", 400, WITH_TO("\"W, T\" < sip:t@example.org >") },
		{ "to", 400, WITH_TO("sip:a@b:port") },
		{ "to", 400, WITH_TO("<sip:a@b> junk") },
		{ "contact", 400, WITH_CONTACT("sip:a@b?Route=%3Csip:c%3E") },
		{ "contact", 400, WITH_CONTACT("\"Joe\" <sip:joe@example.org>;;;;") },
		{ "contact", 400, WITH_CONTACT("<sip:a@b>,") },
		{ "contact", 400, WITH_CONTACT("") },
		{ "contact", 400, WITH_CONTACT("*evil <sip:a@b>, <sip:a@@b>") },
		{ "contact", 400, WITH_CONTACT("*") }, /* not in a REGISTER */
		{ "contact", 400, SPAN_LIT("REGISTER sip:h SIP/2.0\r\n" VIA FROM TO "i: x\r\nCSeq: 7 REGISTER\r\n"
					   "Contact: *\r\nExpires: 60\r\n\r\n") },
		{ "contact", 400, SPAN_LIT("REGISTER sip:h SIP/2.0\r\n" VIA FROM TO "i: x\r\nCSeq: 7 REGISTER\r\n"
					   "Contact: *\r\n\r\n") },
		{ "contact", 400, SPAN_LIT("REGISTER sip:h SIP/2.0\r\n" VIA FROM TO "i: x\r\nCSeq: 7 REGISTER\r\n"
					   "Contact: *, <sip:a@b>\r\nExpires: 0\r\n\r\n") },
		{ "route", 400, SPAN_LIT(REQUEST("Route: sip:r;lr\r\n")) },
		{ "route", 400, SPAN_LIT(REQUEST("Route: <sip:r@@r>\r\n")) },
		{ "route", 400, SPAN_LIT(REQUEST("Route: <http://r>\r\n")) },
		{ "route", 400, SPAN_LIT(REQUEST("Record-Route: <sip:r;lr>,\r\n")) },
		{ "route", 400, SPAN_LIT(RESPONSE("Record-Route: junk\r\n")) },
	};

	check_refusals(rows, LEN(rows));
}

static void refused_vias(void)
{
#define WITH_VIA(value) SPAN_LIT(LINE "Via: " value "\r\n" FROM TO IDS "\r\n")
	static const struct refusal rows[] = {
		{ "via", 400, WITH_VIA("SIP/2.0/UDP 192.0.2.15;;,;,,") },
		{ "via", 400, WITH_VIA("SIP/2.0/UDP h;branch=z9hG4bK") },
		{ "via", 400, WITH_VIA("SIP/2.0/UDP h;branch=") },
		{ "via", 400, WITH_VIA("SIP/2.0/UDP h;branch") },
		{ "via", 400, WITH_VIA("SIP/2.0/UDP h;branch=a;branch=a") },
		{ "via", 400, WITH_VIA("SIP/2.0/UDP h;branch=" LONG_128 "a") },
		{ "via", 400, WITH_VIA("SIP/2.0/UDP h:99999999") },
		{ "via", 400, WITH_VIA("SIP/2.0/UDP h:abc") },
		{ "via", 400, WITH_VIA("SIP/2.0/UDP h:") },
		{ "via", 400, WITH_VIA("SIP/2.0/UDP 2001:db8::9:1") },
		{ "via", 400, WITH_VIA("SIP/2.0/UDP") },
		{ "via", 400, WITH_VIA("SIP/2.0/UDPh") },
		{ "via", 400, WITH_VIA("SIP/3.0/UDP h") },
		{ "via", 400, WITH_VIA("SIP/2.0 h") },
		{ "via", 400, WITH_VIA("SIP/2.0/UDP h i") },
		{ "via", 400, WITH_VIA("SIP/2.0/UDP h, SIP/2.0/UDP") },
		{ "via-count", 400, SPAN_LIT(RESPONSE("Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bKb\r\n")) },
	};

	check_refusals(rows, LEN(rows));
}

static void refused_otherwise(void)
{
	static const struct refusal rows[] = {
		{ "content-encoding", 415, SPAN_LIT(REQUEST("Content-Encoding: gzip\r\nc: a/b\r\nl: 1\r\n") "x") },
		{ "content-encoding", 415, SPAN_LIT(REQUEST("e: identity, gzip\r\nc: a/b\r\nl: 1\r\n") "x") },
		/* libosip2 drops these and reports success. */
		{ "second-parser", 400, SPAN_LIT(REQUEST("Authorization: Digest\r\n")) },
		{ "second-parser", 400, SPAN_LIT(REQUEST("Proxy-Authorization:\r\n")) },
		{ "second-parser", 400, SPAN_LIT(RESPONSE("WWW-Authenticate: junk\r\n")) },
		/* ... and this it cannot parse at all. */
		{ "second-parser", 400, SPAN_LIT(LINE VIA "From: \"\\\0\" <sip:a@b>;tag=1\r\n" TO IDS "\r\n") },
		{ "method-unknown", 501, SPAN_LIT("ODD sip:b SIP/2.0\r\n" VIA "From: \"\\\0\" <sip:a@b>;tag=1\r\n" TO
						  "i: x\r\nCSeq: 7 ODD\r\n\r\n") },
	};

	check_refusals(rows, LEN(rows));
}

static void memory_at_its_cap(void)
{
	static const struct span message = SPAN_LIT(REQUEST("Contact: <sip:a@b>\r\nSubject: x\r\n"));
	struct arena *own = arena;
	unsigned refused = 0;

	for (size_t cap = 0; cap < 32768; cap += 512) {
		struct sip_msg *msg = NULL;

		arena = arena_new(cap);
		CU_ASSERT_PTR_NOT_NULL_FATAL(arena);
		if (parse(message, &msg) != 0) {
			CU_ASSERT_EQUAL(fault.code, 513);
			CU_ASSERT_PTR_NULL(msg);
			refused++;
		}
		arena_free(arena);
	}
	CU_ASSERT(refused > 4 && refused < 64);
	arena = own;
}

/* Five messages, each allocation failing in turn. */
static void memory_failures(void)
{
	enum { SETTLED };
	static const struct span messages[] = {
		[SETTLED] = SPAN_LIT(RESPONSE("Contact: \"x\" <sip:a@b;x=y>;q=1\r\nServer: y\r\n")),
		SPAN_LIT(RESPONSE("Contact: \"x\" <sip:a@b;x=y>;q=1\r\nAccept: a/b\r\n")),
		SPAN_LIT(REQUEST("")),
		SPAN_LIT("INVITE sip:b:pw@example.com:5070;a=b;c SIP/2.0\r\n" VIA "v: SIP/2.0/TCP h;x;y=z\r\n" FROM TO
			 "i: x@y\r\nCSeq: 7 INVITE\r\nm: <sip:a@b>;q=0.5, <sip:c@d>\r\nAllow: INVITE, BYE\r\nk: timer, 100rel\r\n"
			 "Accept: a/b;q=1, c/d\r\nc: application/sdp;x=y\r\nl: 4\r\n\r\nv=\r\n"),
		SPAN_LIT(REQUEST("Route: <sip:r1;lr>, <sip:r2;lr>\r\nRecord-Route: <sip:p1;lr>\r\n"
				 "Authorization: Digest username=\"a\", realm=\"b\", nonce=\"c\", uri=\"sip:d\", response=\"e\"\r\n"
				 "P-Asserted-Identity: <sip:a@b>, <tel:+1>\r\nIdentity: \"x\"\r\nDate: Sat, 15 Oct 2005 04:44:56 GMT\r\n")),
		SPAN_LIT(RESPONSE("WWW-Authenticate: Digest realm=\"b\", nonce=\"c\"\r\nProxy-Authenticate: Digest realm=\"b\","
				  " nonce=\"c\"\r\nCall-Info: <http://a>;purpose=icon\r\nContent-Encoding: identity\r\n"
				  "MIME-Version: 1.0\r\nWarning: 300 a \"b\"\r\n")),
	};

	for (size_t i = 0; i < LEN(messages); i++) {
		struct sip_msg *msg = NULL;
		struct sip_flow flow = { 0 };
		size_t n;

		CU_ASSERT_EQUAL_FATAL(guard_scan(messages[i], &guarded, &fault), GUARD_OK);
		for (n = 0; n < 2000 && msg == NULL; n++) {
			int err;

			arena_reset(arena);
			arena_fail_at(arena, n);
			err = sip_msg_parse(arena, &guarded, &flow, &msg, &fault);
			CU_ASSERT((err == 0) == (msg != NULL));
			if (err != 0) {
				CU_ASSERT_EQUAL(err, ERR_LIMIT);
				CU_ASSERT_EQUAL(fault.code, 513);
			}
		}
		CU_ASSERT(n < 2000);
		/* Every allocation of libosip2 was among them, unless it need not be asked. */
		CU_ASSERT_EQUAL(n > 40, i != SETTLED);
	}
}

/* What libosip2 makes of these is in its name; none of it may come through. */
static void oddities_of_libosip2(void)
{
	static const struct {
		const char *name;
		struct span bytes;
		enum guard_verdict verdict;
	} rows[] = {
		{ "line end in the URI", SPAN_LIT("OPTIONS sip:b@example.com\r\nX: SIP/2.0\r\n" BASE "\r\n"), GUARD_DROP },
		{ "status wraps to 200", SPAN_LIT("SIP/2.0 4294967496 OK\r\n" BASE "\r\n"), GUARD_DROP },
		{ "reason takes the next line", SPAN_LIT("SIP/2.0 200\r\n" BASE "\r\n"), GUARD_DROP },
		{ "NUL ends the headers", SPAN_LIT(LINE BASE "\0Route: <sip:r>\r\n\r\n"), GUARD_REPLY },
		{ "fold of spaces hides the end", SPAN_LIT(LINE BASE "c: a/b\r\nX: y\r\n  \r\n\r\na\r\n b"), GUARD_REPLY },
		{ "negative length", SPAN_LIT(REQUEST("c: a/b\r\nContent-Length: -1\r\n") "x"), GUARD_REPLY },
		{ "length of 2^32+5", SPAN_LIT(REQUEST("c: a/b\r\nContent-Length: 4294967301\r\n") "12345"), GUARD_REPLY },
		{ "length with junk", SPAN_LIT(REQUEST("c: a/b\r\nContent-Length: 3abc\r\n") "12345"), GUARD_REPLY },
		{ "body without type", SPAN_LIT(REQUEST("") "12345"), GUARD_REPLY },
		{ "SIP/2.0.0.0", SPAN_LIT("OPTIONS sip:b SIP/2.0.0.0\r\n" BASE "\r\n"), GUARD_REPLY },
		{ "no headers at all", SPAN_LIT(LINE "\r\n"), GUARD_REPLY },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		CU_ASSERT_EQUAL(guard_scan(rows[i].bytes, &guarded, &fault), rows[i].verdict);
		if (guard_scan(rows[i].bytes, &guarded, &fault) != rows[i].verdict)
			printf("# %s\n", rows[i].name);
	}
}

/* libosip2 turned line ends that a space follows into spaces, also in bodies. */
static void body_stays_as_it_was(void)
{
	static const char body[] = "a\r\n b\r\n\tc\0\n d";
	static const char bytes[] = REQUEST("X:\r\n y\r\nc: a/b\r\n") "a\r\n b\r\n\tc\0\n d";
	const struct sip_msg *msg = parse_good((struct span){ bytes, sizeof(bytes) - 1 });

	CU_ASSERT(span_eq(msg->body, (struct span){ body, sizeof(body) - 1 }));
}

static const struct unit_test tests[] = {
	{ "a request", view_of_a_request },
	{ "a response", view_of_a_response },
	{ "messages that are accepted", accepted },
	{ "Request-URIs that are refused", refused_uris },
	{ "addresses that are refused", refused_addresses },
	{ "Via that are refused", refused_vias },
	{ "other refusals", refused_otherwise },
	{ "memory at its cap", memory_at_its_cap },
	{ "each allocation failing", memory_failures },
	{ "oddities of libosip2", oddities_of_libosip2 },
	{ "bodies are not touched", body_stays_as_it_was },
};

int main(int argc, char **argv)
{
	int failed;

	arena = arena_new(CAP);
	if (arena == NULL || sip_msg_init() < 0)
		return 99;
	failed = unit_main(argc, argv, "sip_msg", tests, LEN(tests));
	arena_free(arena);
	return failed;
}
