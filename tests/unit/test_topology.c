/* Topology hiding: header by header, in both directions, with and without trust: the exact line that crosses, or none. */
#include "sbc/topology.h"

#include <stdio.h>

#include "tests/unit/sip_fixture.h"
#include "tests/unit/unit.h"

#define REST \
	"Via: SIP/2.0/UDP 10.0.0.50:5061;branch=z9hG4bKa\r\nFrom: <sip:a@10.0.0.50>;tag=1\r\nTo: <sip:b@10.0.0.51>;tag=2\r\n" \
	"Call-ID: x@10.0.0.50\r\nCSeq: 7 INVITE\r\n"
#define REQUEST "INVITE sip:b@10.0.0.10 SIP/2.0\r\n" REST
#define RESPONSE "SIP/2.0 200 OK\r\n" REST

static struct arena *arena;
static const struct realm_conf plain = { .trust = TRUST_UNTRUSTED }, trusted = { .trust = TRUST_TRUSTED },
			       open_realm = { .trust = TRUST_TRUSTED, .pass_unknown_headers = true };

static void check_line(const char *start, const char *line, const struct realm_conf *from, const struct realm_conf *to,
		       const char *expected)
{
	char bytes[4096], got[4096];
	struct buf text = buf_of(bytes, sizeof(bytes)), out = buf_of(got, sizeof(got));

	arena_reset(arena);
	buf_printf(&text, "%s%s\r\n\r\n", start, line);
	topology_headers(sip_fixture(arena, buf_span(&text), "10.0.0.50:5061"), from, to, &out);
	if (!span_eq(buf_span(&out), span_of(expected)))
		printf("# %.*s\n# %s\n# got %.*s", 8, start, line, SPAN_ARG(buf_span(&out)));
	CU_ASSERT(span_eq(buf_span(&out), span_of(expected)));
}

enum { REQ = 1, RES = 2, ANY = 3 };

/* Crosses as it is: always in these directions, or between trusted realms only. */
static const struct {
	const char *line;
	int always, trusted_only;
} unchanged[] = {
	{ "Accept: application/sdp", ANY, 0 },
	{ "Accept-Encoding: identity", ANY, 0 },
	{ "Accept-Language: de", ANY, 0 },
	{ "Authorization: Digest username=\"a\"", REQ, 0 },
	{ "Proxy-Authorization: Digest username=\"a\"", REQ, 0 },
	{ "WWW-Authenticate: Digest realm=\"a\"", RES, 0 },
	{ "Proxy-Authenticate: Digest realm=\"a\"", RES, 0 },
	{ "Content-Disposition: session", ANY, 0 },
	{ "Content-Language: de", ANY, 0 },
	{ "Date: Sat, 13 Nov 2010 23:29:00 GMT", ANY, 0 },
	{ "Diversion: <sip:x@10.0.0.7>", 0, REQ },
	{ "Expires: 60", REQ, 0 },
	{ "Geolocation: <cid:x@10.0.0.7>", 0, REQ },
	{ "History-Info: <sip:x@10.0.0.7>;index=1", 0, ANY },
	{ "Identity: abc;info=<https://example.com/c>;alg=ES256", REQ, 0 },
	{ "MIME-Version: 1.0", ANY, 0 },
	{ "Organization: Inner", 0, ANY },
	{ "P-Asserted-Identity: <sip:a@10.0.0.7>, <tel:+4930>", 0, ANY },
	{ "P-Early-Media: sendrecv", 0, ANY },
	{ "Priority: urgent", REQ, 0 },
	{ "Privacy: id", ANY, 0 },
	{ "Remote-Party-ID: <sip:a@10.0.0.7>", 0, ANY },
	{ "Resource-Priority: dsn.flash", 0, REQ },
	{ "Session-ID: ab30317f1a784dc48ff824d0d3715d86", ANY, 0 },
	{ "Subject: hello  there", REQ, 0 },
	{ "Unsupported: x", RES, 0 },
	{ "User-to-User: 41;encoding=hex", ANY, 0 },
	/* Never: they name the inside, or belong to one hop. */
	{ "Alert-Info: <http://10.0.0.7/ring>", 0, 0 },
	{ "Allow-Events: refer", 0, 0 },
	{ "Authentication-Info: nextnonce=\"x\"", 0, 0 },
	{ "Call-Info: <http://10.0.0.7/photo>", 0, 0 },
	{ "Error-Info: <sip:x@10.0.0.7>", 0, 0 },
	{ "In-Reply-To: x@10.0.0.7", 0, 0 },
	{ "Min-SE: 90", 0, 0 },
	{ "P-Preferred-Identity: <sip:a@10.0.0.7>", 0, 0 },
	{ "Path: <sip:10.0.0.7;lr>", 0, 0 },
	{ "Record-Route: <sip:10.0.0.7;lr>", 0, 0 },
	{ "Referred-By: <sip:a@10.0.0.7>", 0, 0 },
	{ "Replaces: x@10.0.0.7;to-tag=1;from-tag=2", 0, 0 },
	{ "Reply-To: <sip:a@10.0.0.7>", 0, 0 },
	{ "Route: <sip:10.0.0.7;lr>", 0, 0 },
	{ "Server: box at 10.0.0.7", 0, 0 },
	{ "Service-Route: <sip:10.0.0.7;lr>", 0, 0 },
	{ "Session-Expires: 1800", 0, 0 },
	{ "Timestamp: 1", 0, 0 },
	{ "User-Agent: box at 10.0.0.7", 0, 0 },
	{ "Warning: 399 10.0.0.7 \"x\"", 0, 0 },
	{ "X-Inner: 10.0.0.7", 0, 0 },
	{ "P-Charging-Vector: icid-value=x", 0, 0 },
};

static void unchanged_or_not_at_all(void)
{
	for (size_t i = 0; i < sizeof(unchanged) / sizeof(unchanged[0]); i++) {
		char line[200];

		snprintf(line, sizeof(line), "%s\r\n", unchanged[i].line);
		for (int direction = REQ; direction <= RES; direction++) {
			const char *start = direction == REQ ? REQUEST : RESPONSE;
			const char *always = unchanged[i].always & direction ? line : "";
			const char *between = (unchanged[i].always | unchanged[i].trusted_only) & direction ? line : "";

			check_line(start, unchanged[i].line, &plain, &plain, always);
			check_line(start, unchanged[i].line, &plain, &trusted, always);
			check_line(start, unchanged[i].line, &trusted, &plain, always);
			check_line(start, unchanged[i].line, &trusted, &trusted, between);
		}
	}
}

static void changed_on_the_way(void)
{
	static const struct {
		const char *start, *line, *expected;
	} cases[] = {
		{ REQUEST, "Allow: INVITE,ACK , BYE, REFER, PRACK,, X, INFO", "Allow: INVITE, ACK, BYE, INFO\r\n" },
		{ RESPONSE, "Allow: REFER, invite", "" },
		{ REQUEST, "Supported: timer, UUI , 100rel,histinfo", "Supported: UUI, histinfo\r\n" },
		{ REQUEST, "k: replaces, uui", "Supported: uui\r\n" },
		{ RESPONSE, "Supported: timer", "" },
		{ REQUEST, "Require: resource-priority", "Require: resource-priority\r\n" },
		{ RESPONSE, "Require: 100rel", "" },
		{ REQUEST, "Reason: Q.850;cause=16;text=\"on 10.0.0.7\"", "Reason: Q.850;cause=16\r\n" },
		{ RESPONSE, "Reason: SIP ;text=\"a;cause=1,b\" ; cause=200, Q.850 ;cause=31",
		  "Reason: SIP;cause=200\r\nReason: Q.850;cause=31\r\n" },
		{ REQUEST, "Reason: SIP", "Reason: SIP\r\n" },
		{ REQUEST, "Reason: SIP;cause=10.0.0.7", "Reason: SIP\r\n" },
		{ REQUEST, "Reason: SIP;cause=99999999999", "Reason: SIP\r\n" },
		{ REQUEST, "Reason: host 10.0.0.7 is down;cause=3", "" },
		{ REQUEST, "Reason: <sip:10.0.0.7>;cause=3, SIP;cause=4", "Reason: SIP;cause=4\r\n" },
		{ RESPONSE, "Retry-After: 120 (10.0.0.7 is busy);duration=3600", "Retry-After: 120\r\n" },
		/* Lawful, but ends the header for readers of C strings. */
		{ REQUEST, "Content-Disposition: session;x=\"\\\x01\"", "" },
		{ RESPONSE, "Retry-After: soon", "" },
		{ RESPONSE, "Retry-After: 12345678", "" },
		{ REQUEST, "Retry-After: 5", "" },
		/* A fold is a space. The name keeps its spelling. */
		{ REQUEST, "SUBJECT: one\r\n two", "SUBJECT: one   two\r\n" },
		{ REQUEST, "Privacy: id\r\nSubject: b\r\nPrivacy: user", "Privacy: id\r\nSubject: b\r\nPrivacy: user\r\n" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_line(cases[i].start, cases[i].line, &plain, &plain, cases[i].expected);
}

static void unknown_headers_by_configuration(void)
{
	check_line(REQUEST, "X-Inner: a", &open_realm, &plain, "X-Inner: a\r\n");
	check_line(RESPONSE, "X-Inner: a", &open_realm, &plain, "X-Inner: a\r\n");
	check_line(REQUEST, "X-Inner: a", &plain, &open_realm, "");
	/* Known ones stay where they belong even so. */
	check_line(REQUEST, "User-Agent: a", &open_realm, &open_realm, "");
}

static void from_of_the_other_leg(void)
{
	static const struct {
		const char *from, *own, *expected;
	} cases[] = {
		{ "<sip:alice@172.16.0.9:5070;user=phone>;tag=1", "10.0.0.10:5060", "<sip:alice@10.0.0.10>" },
		{ "\"A, \\\"B\\\"\" <sip:alice@x>;tag=1", "10.0.0.10:5070", "\"A, \\\"B\\\"\" <sip:alice@10.0.0.10>" },
		{ "sip:alice@x;tag=1", "[2001:db8::10]:5060", "<sip:alice@[2001:db8::10]>" },
		{ "<sip:172.16.0.9>;tag=1", "10.0.0.10:5060", "<sip:10.0.0.10>" },
		{ "<sip:alice:secret@x>;tag=1", "10.0.0.10:5060", "<sip:alice@10.0.0.10>" },
		{ "\"Anonymous\" <sip:anonymous@Anonymous.Invalid>;tag=1", "10.0.0.10:5060",
		  "\"Anonymous\" <sip:anonymous@Anonymous.Invalid>" },
		{ "<http://10.0.0.7/x>;tag=1", "10.0.0.10:5060", "<sip:10.0.0.10>" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char bytes[1024], got[512];
		struct buf text = buf_of(bytes, sizeof(bytes)), out = buf_of(got, sizeof(got));
		struct addr own;

		arena_reset(arena);
		CU_ASSERT_EQUAL_FATAL(addr_parse(span_of(cases[i].own), &own), 0);
		buf_printf(&text, "INVITE sip:b@10.0.0.10 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.50;branch=z9hG4bKa\r\nFrom: %s\r\n"
				  "To: <sip:b@x>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n", cases[i].from);
		topology_from(sip_fixture(arena, buf_span(&text), "10.0.0.50:5060"), &own, &out);
		if (!span_eq(buf_span(&out), span_of(cases[i].expected)))
			printf("# got %.*s, not %s\n", SPAN_ARG(buf_span(&out)), cases[i].expected);
		CU_ASSERT(span_eq(buf_span(&out), span_of(cases[i].expected)));
	}
}

static void to_of_the_other_leg(void)
{
	static const struct {
		const char *user, *target, *expected;
	} cases[] = {
		{ "bob", "10.0.0.20:5060", "<sip:bob@10.0.0.20>" },
		{ "bob", "10.0.0.20:5070", "<sip:bob@10.0.0.20:5070>" },
		{ "", "[2001:db8::1]:5060", "<sip:[2001:db8::1]>" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char got[512];
		struct buf out = buf_of(got, sizeof(got));
		struct addr target;

		CU_ASSERT_EQUAL_FATAL(addr_parse(span_of(cases[i].target), &target), 0);
		topology_to(span_of(cases[i].user), &target, &out);
		CU_ASSERT(span_eq(buf_span(&out), span_of(cases[i].expected)));
	}
}

static void unsupported_extensions(void)
{
	static const struct {
		const char *lines, *expected;
	} cases[] = {
		{ "Require: histinfo", "" },
		{ "Require: 100rel", "Unsupported: 100rel\r\n" },
		{ "Require: 100rel, UUI,,x\r\nProxy-Require: y\r\nSupported: z", "Unsupported: 100rel, x, y\r\n" },
		{ "Subject: none", "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char bytes[1024], got[256];
		struct buf text = buf_of(bytes, sizeof(bytes)), out = buf_of(got, sizeof(got));

		arena_reset(arena);
		buf_printf(&text, "%s%s\r\n\r\n", REQUEST, cases[i].lines);
		topology_unsupported(sip_fixture(arena, buf_span(&text), "10.0.0.50:5060"), &out);
		if (!span_eq(buf_span(&out), span_of(cases[i].expected)))
			printf("# got %.*s", SPAN_ARG(buf_span(&out)));
		CU_ASSERT(span_eq(buf_span(&out), span_of(cases[i].expected)));
	}
}

static void statuses(void)
{
	static const int cases[][2] = { { 300, 480 }, { 302, 480 }, { 399, 480 }, { 401, 401 }, { 404, 404 }, { 486, 486 },
					{ 500, 500 }, { 503, 500 }, { 504, 504 }, { 600, 600 }, { 699, 699 } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CU_ASSERT_EQUAL(topology_status(cases[i][0]), cases[i][1]);
}

static void overflow_is_told(void)
{
	char got[10];
	struct buf out = buf_of(got, sizeof(got));

	arena_reset(arena);
	topology_headers(sip_fixture(arena, SPAN_LIT(REQUEST "Subject: long enough\r\n\r\n"), "10.0.0.50:5060"), &plain, &plain,
			 &out);
	CU_ASSERT(out.is_full);
}

static const struct unit_test tests[] = {
	{ "headers that cross as they are, and those that do not", unchanged_or_not_at_all },
	{ "headers that are changed", changed_on_the_way },
	{ "unknown headers, by configuration", unknown_headers_by_configuration },
	{ "From of the other leg", from_of_the_other_leg },
	{ "To of the other leg", to_of_the_other_leg },
	{ "extensions that are not supported", unsupported_extensions },
	{ "statuses", statuses },
	{ "too many headers", overflow_is_told },
};

int main(int argc, char **argv)
{
	int result;

	arena = arena_new(256 * 1024);
	result = unit_main(argc, argv, "topology", tests, sizeof(tests) / sizeof(tests[0]));
	arena_free(arena);
	return result;
}
