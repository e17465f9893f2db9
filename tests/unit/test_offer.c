/* offer_parse() and offer_rewrite(): tables of descriptions in, what is understood, and the exact bytes out. */
#include "sbc/offer.h"

#include <stdio.h>

#include "core/buf.h"
#include "core/err.h"
#include "tests/unit/unit.h"

#define HEAD "v=0\r\no=alice 1 1 IN IP4 10.0.0.1\r\ns=-\r\n"
#define C4 "c=IN IP4 10.0.0.1\r\n"
#define TIME "t=0 0\r\n"
#define AUDIO "m=audio 4000 RTP/AVP 0\r\n"
#define OUR_O4 "o=- 77 3 IN IP4 198.51.100.7\r\n"
#define OUR_C4 "c=IN IP4 198.51.100.7\r\n"

static struct addr ip(const char *text, uint16_t port)
{
	struct addr addr = { 0 };

	if (addr_parse_ip(span_of(text), &addr) < 0)
		CU_FAIL("bad address in a test");
	addr.port = port;
	return addr;
}

static struct offer_patch patch_of(const char *address)
{
	struct offer_patch patch = { .session_id = 77, .version = 3, .address = ip(address, 0) };

	for (unsigned i = 0; i < OFFER_MEDIA_MAX; i++) {
		patch.media[i].rtp = ip(address, (uint16_t)(20000 + 2 * i));
		patch.media[i].rtcp = ip(address, (uint16_t)(20001 + 2 * i));
	}
	return patch;
}

static struct offer parsed(const char *body)
{
	struct offer offer = { 0 };
	struct offer_error error = { 0 };

	CU_ASSERT_EQUAL(offer_parse(span_of(body), &offer, &error), 0);
	if (error.text != NULL)
		printf("# line %u: %s\n", error.line, error.text);
	return offer;
}

static void check_rewrite(const char *body, const struct offer_patch *patch, const char *expected)
{
	static char bytes[16384];
	struct buf out = buf_of(bytes, sizeof(bytes));
	struct offer offer = parsed(body);

	CU_ASSERT_EQUAL(offer_rewrite(&offer, patch, &out), 0);
	if (!span_eq(buf_span(&out), span_of(expected)))
		printf("# got:\n%.*s# expected:\n%s", SPAN_ARG(buf_span(&out)), expected);
	CU_ASSERT(span_eq(buf_span(&out), span_of(expected)));
}

static void check_addr(const struct addr *got, const char *address, uint16_t port)
{
	struct addr expected = ip(address, port);

	CU_ASSERT(addr_eq(got, &expected));
}

static void test_reads_all_fields(void)
{
	struct offer offer = parsed(HEAD C4 TIME "a=recvonly\r\n"
				    "m=audio 49170/1 RTP/AVP 0 8 101\r\na=rtcp-mux\r\na=sendonly\r\n"
				    "m=image 5000 udptl t38\r\nc=IN IP6 2001:db8::5\r\n"
				    "m=video 0 RTP/AVP 31\r\n"
				    "m=audio 5002 UDP/TLS/RTP/SAVPF 127\r\na=rtcp:6000 IN IP4 10.0.0.9\r\n");
	const struct offer_media *m = offer.media;

	CU_ASSERT_EQUAL(offer.n_media, 4);
	CU_ASSERT(span_eq(offer.origin, SPAN_LIT("alice 1 1 IN IP4 10.0.0.1")));
	CU_ASSERT(span_eq(m[0].kind, SPAN_LIT("audio")));
	CU_ASSERT(span_eq(m[0].proto, SPAN_LIT("RTP/AVP")));
	CU_ASSERT(span_eq(m[0].formats, SPAN_LIT("0 8 101")));
	CU_ASSERT_EQUAL(m[0].payloads[0], 0x101);
	CU_ASSERT_EQUAL(m[0].payloads[1], UINT64_C(1) << (101 - 64));
	check_addr(&m[0].rtp, "10.0.0.1", 49170);
	check_addr(&m[0].rtcp, "10.0.0.1", 49171);
	CU_ASSERT(m[0].has_rtcp_mux && !m[0].has_rtcp_attr && !m[0].has_own_connection && m[0].is_rtp);
	CU_ASSERT_EQUAL(m[0].direction, OFFER_SENDONLY);

	CU_ASSERT(!m[1].is_rtp && m[1].has_own_connection);
	CU_ASSERT_EQUAL(m[1].direction, OFFER_RECVONLY);
	check_addr(&m[1].rtp, "2001:db8::5", 5000);
	CU_ASSERT(!addr_is_set(&m[1].rtcp));
	CU_ASSERT_EQUAL(m[1].payloads[0] | m[1].payloads[1], 0);

	CU_ASSERT_EQUAL(m[2].port, 0);
	CU_ASSERT(!addr_is_set(&m[2].rtp) && !addr_is_set(&m[2].rtcp));

	CU_ASSERT(m[3].is_rtp && m[3].has_rtcp_attr);
	check_addr(&m[3].rtcp, "10.0.0.9", 6000);
	CU_ASSERT_EQUAL(m[3].payloads[1], UINT64_C(1) << 63);
}

static void test_rtcp_forms(void)
{
	static const struct {
		const char *attribute;
		const char *address; /* NULL: none */
		uint16_t port;
	} cases[] = {
		{ "a=rtcp:53020\r\n", "10.0.0.1", 53020 },
		{ "a=rtcp:53020 IN IP6 2001:db8::9\r\n", "2001:db8::9", 53020 },
		{ "a=rtcp:9 IN IP4 0.0.0.0\r\n", "10.0.0.1", 4001 },
		{ "a=rtcp:0\r\n", "10.0.0.1", 4001 },
		{ "", "10.0.0.1", 4001 },
	};
	char body[512];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct offer offer;

		(void)snprintf(body, sizeof(body), "%s%s", HEAD C4 TIME AUDIO, cases[i].attribute);
		offer = parsed(body);
		check_addr(&offer.media[0].rtcp, cases[i].address, cases[i].port);
	}
}

static void test_port_without_rtcp(void)
{
	struct offer offer = parsed(HEAD C4 "m=audio 65535 RTP/AVP 0\r\n");

	CU_ASSERT(addr_is_set(&offer.media[0].rtp));
	CU_ASSERT(!addr_is_set(&offer.media[0].rtcp));
}

static void test_tolerates(void)
{
	static const char *const bodies[] = {
		HEAD C4 TIME "m=audio 4000 RTP/AVP 0",           /* no last line end */
		"v=0\no=- 1 1 IN IP4 10.0.0.1\ns=-\nc=IN IP4 10.0.0.1\nt=0 0\nm=audio 4000 RTP/AVP 0\n",
		"v=0\r\n" C4 AUDIO,                              /* no o=, s=, t= */
		C4 AUDIO,                                        /* no v= */
		"v=0\r\ns=\r\na=x\r\nt=0 0\r\n" C4 AUDIO,        /* empty s=, a= before t= */
		HEAD C4 TIME AUDIO "\r\n\r\n",                   /* empty lines at the end */
		HEAD "t=0 0\r\n" AUDIO C4,                       /* c= per media only */
		HEAD "m=video 0 RTP/AVP\r\n",                    /* rejected, without formats and c= */
		HEAD C4 AUDIO "X=unknown type\r\nq=unknown type\r\n",
		HEAD "c=IN IP6 ::ffff:10.0.0.1\r\n" AUDIO,
		HEAD C4 "m=audio 4000 RTP/AVP 0 \r\n",           /* blank at the end */
		HEAD C4 AUDIO "c=IN IP4 10.0.0.1\r\nc=IN IP4 10.0.0.2\r\n",
		"v=0\r\n",
	};

	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		(void)parsed(bodies[i]);
}

static void test_refuses(void)
{
	static const struct {
		struct span body;
		int err;
		unsigned line;
	} cases[] = {
		{ SPAN_LIT(""), ERR_PARSE, 0 },
		{ SPAN_LIT("hello"), ERR_PARSE, 1 },
		{ SPAN_LIT("a=b\r\n"), ERR_PARSE, 1 },
		{ SPAN_LIT("v=1\r\n" C4 AUDIO), ERR_UNSUPPORTED, 1 },
		{ SPAN_LIT(HEAD "t=0 0\r\n" AUDIO), ERR_PARSE, 5 },
		{ SPAN_LIT(HEAD "c=IN IP4 host.example.com\r\n" AUDIO), ERR_UNSUPPORTED, 4 },
		{ SPAN_LIT(HEAD "c=IN IP4 localhost\r\n" AUDIO), ERR_UNSUPPORTED, 4 },
		{ SPAN_LIT(HEAD "c=IN IP4 $(reboot)\r\n" AUDIO), ERR_PARSE, 4 },
		{ SPAN_LIT(HEAD "c=IN IP4 300.1.1.1\r\n" AUDIO), ERR_PARSE, 4 },
		{ SPAN_LIT(HEAD "c=IN IP4 \r\n" AUDIO), ERR_PARSE, 4 },
		{ SPAN_LIT(HEAD "c=\r\n" AUDIO), ERR_UNSUPPORTED, 4 },
		{ SPAN_LIT(HEAD "c=IN IP4 10.0.0.1 10.0.0.2\r\n" AUDIO), ERR_PARSE, 4 },
		{ SPAN_LIT(HEAD "c=ATM NSAP 47.0\r\n" AUDIO), ERR_UNSUPPORTED, 4 },
		{ SPAN_LIT(HEAD "c=IN IP4 2001:db8::1\r\n" AUDIO), ERR_PARSE, 4 },
		{ SPAN_LIT(HEAD "c=IN IP6 10.0.0.1\r\n" AUDIO), ERR_PARSE, 4 },
		{ SPAN_LIT(HEAD "c=IN IP6 [2001:db8::1]\r\n" AUDIO), ERR_PARSE, 4 },
		{ SPAN_LIT(HEAD "c=IN IP4 224.2.36.42/127\r\n" AUDIO), ERR_UNSUPPORTED, 4 },
		{ SPAN_LIT(HEAD "c=IN IP4 10.0.0.1/127\r\n" AUDIO), ERR_UNSUPPORTED, 4 },
		{ SPAN_LIT(HEAD "c=IN IP6 ff15::101/3\r\n" AUDIO), ERR_UNSUPPORTED, 4 },
		{ SPAN_LIT(HEAD "c=IN IP6 ff15::101\r\n" AUDIO), ERR_UNSUPPORTED, 4 },
		{ SPAN_LIT(HEAD "c=IN IP4 255.255.255.255\r\n" AUDIO), ERR_UNSUPPORTED, 4 },
		{ SPAN_LIT(HEAD C4 "m=audio -1 RTP/AVP 0\r\n"), ERR_PARSE, 5 },
		{ SPAN_LIT(HEAD C4 "m=audio 65536 RTP/AVP 0\r\n"), ERR_PARSE, 5 },
		{ SPAN_LIT(HEAD C4 "m=audio 4294971296 RTP/AVP 0\r\n"), ERR_PARSE, 5 },
		{ SPAN_LIT(HEAD C4 "m=audio 4000/2 RTP/AVP 0\r\n"), ERR_UNSUPPORTED, 5 },
		{ SPAN_LIT(HEAD C4 "m=audio 4000/0 RTP/AVP 0\r\n"), ERR_PARSE, 5 },
		{ SPAN_LIT(HEAD C4 "m=audio 4000/99999999999 RTP/AVP 0\r\n"), ERR_PARSE, 5 },
		{ SPAN_LIT(HEAD C4 "m=audio 4000/ RTP/AVP 0\r\n"), ERR_PARSE, 5 },
		{ SPAN_LIT(HEAD C4 "m=audio 4000 RTP/AVP 128\r\n"), ERR_PARSE, 5 },
		{ SPAN_LIT(HEAD C4 "m=audio 4000 RTP/AVP 4294967296\r\n"), ERR_PARSE, 5 },
		{ SPAN_LIT(HEAD C4 "m=audio 4000 RTP/AVP PCMU\r\n"), ERR_PARSE, 5 },
		{ SPAN_LIT(HEAD C4 "m=audio 4000 RTP/AVP\r\n"), ERR_PARSE, 5 },
		{ SPAN_LIT(HEAD C4 "m=audio 4000\r\n"), ERR_PARSE, 5 },
		{ SPAN_LIT(HEAD C4 "m=audio  4000 RTP/AVP 0\r\n"), ERR_PARSE, 5 },
		{ SPAN_LIT(HEAD C4 "m=\r\n"), ERR_PARSE, 5 },
		{ SPAN_LIT(HEAD C4 AUDIO "a=rtcp:65536\r\n"), ERR_PARSE, 6 },
		{ SPAN_LIT(HEAD C4 AUDIO "a=rtcp\r\n"), ERR_PARSE, 6 },
		{ SPAN_LIT(HEAD C4 AUDIO "a=rtcp:4001 IN IP4 host.example\r\n"), ERR_UNSUPPORTED, 6 },
		{ SPAN_LIT(HEAD C4 AUDIO "a=fmtp:0 x\0y\r\n"), ERR_PARSE, 6 },
		{ SPAN_LIT(HEAD C4 AUDIO "a=x\rc=IN IP4 10.0.0.9\r\n"), ERR_PARSE, 6 },
		{ SPAN_LIT(HEAD C4 AUDIO "a=x\r"), ERR_PARSE, 6 },
		{ SPAN_LIT(HEAD C4 AUDIO "\r\nc=IN IP4 10.0.0.9\r\n"), ERR_PARSE, 7 },
		{ SPAN_LIT(HEAD C4 AUDIO " a=folded\r\n"), ERR_PARSE, 6 },
		{ SPAN_LIT(HEAD C4 AUDIO "a\r\n"), ERR_PARSE, 6 },
		{ SPAN_LIT(HEAD C4 AUDIO "o=- 1 1 IN IP4 10.0.0.1\r\n"), ERR_PARSE, 6 },
		{ SPAN_LIT(HEAD "o=- 1 1 IN IP4 10.0.0.1\r\n" C4 AUDIO), ERR_PARSE, 4 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct offer offer;
		struct offer_error error = { 0 };
		int err = offer_parse(cases[i].body, &offer, &error);

		if (err != cases[i].err || error.line != cases[i].line)
			printf("# case %zu: %d line %u: %s\n", i, err, error.line, error.text);
		CU_ASSERT_EQUAL(err, cases[i].err);
		CU_ASSERT_EQUAL(error.line, cases[i].line);
		CU_ASSERT(error.text != NULL && error.text[0] != '\0');
	}
}

/* `count` times `text` behind a head; accepted with `limit` of them, refused with one more. */
static void check_limit(const char *head, const char *text, const char *tail, unsigned limit)
{
	static char bytes[OFFER_BYTES_MAX + 512];

	for (unsigned extra = 0; extra < 2; extra++) {
		struct buf body = buf_of(bytes, sizeof(bytes));
		struct offer offer;
		struct offer_error error;

		buf_puts(&body, head);
		for (unsigned i = 0; i < limit + extra; i++)
			buf_puts(&body, text);
		buf_puts(&body, tail);
		CU_ASSERT_FALSE(body.is_full);
		CU_ASSERT_EQUAL(offer_parse(buf_span(&body), &offer, &error), extra ? ERR_LIMIT : 0);
	}
}

static void test_limits(void)
{
	check_limit(HEAD C4, AUDIO, "", OFFER_MEDIA_MAX);
	check_limit(HEAD C4 "m=audio 4000 RTP/AVP", " 0", "\r\n", OFFER_FORMATS_MAX);
	check_limit(HEAD C4 "m=x 4000 y", " z", "\r\n", OFFER_FORMATS_MAX);
	check_limit(HEAD C4 AUDIO, "a=x\r\n", "", OFFER_LINES_MAX);
	check_limit(HEAD C4, "a=x\r\n", AUDIO, OFFER_LINES_MAX);
	check_limit("v=0\r\ns=", "x", "\r\n", OFFER_BYTES_MAX - 9);
}

static void test_bandwidth(void)
{
	static const struct {
		const char *session, *media;
		uint32_t bps;
	} rows[] = {
		{ "", "", 0 },
		{ "", "b=AS:64\r\n", 64000 },
		{ "", "b=TIAS:50850\r\nb=AS:90\r\n", 90000 },
		{ "", "b=AS:80\r\nb=TIAS:90000\r\n", 90000 },
		{ "b=AS:512\r\n", "", 512000 },
		{ "b=AS:512\r\n", "b=AS:64\r\n", 64000 },
		{ "b=CT:1000\r\n", "b=RS:800\r\nb=RR:2400\r\n", 0 },
		{ "", "b=AS:0\r\n", 0 },
		{ "", "b=as: 64 \r\n", 64000 },
		{ "", "b=AS:-1\r\nb=AS:\r\nb=AS\r\nb=TIAS:1e9\r\nb=AS:99999999999\r\n", 0 },
		{ "", "b=AS:4294967295\r\n", UINT32_MAX },
		{ "", "b=X-YZ:128\r\n", 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[512];
		struct offer offer;

		snprintf(text, sizeof(text), "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\n%st=0 0\r\n"
			 "m=audio 4000 RTP/AVP 0\r\n%s", rows[i].session, rows[i].media);
		offer = parsed(text);
		CU_ASSERT_EQUAL(offer.media[0].bandwidth_bps, rows[i].bps);
	}
}

static void test_hold(void)
{
	struct offer offer = parsed(HEAD "c=IN IP4 0.0.0.0\r\n" AUDIO "m=audio 4002 RTP/AVP 0\r\n" C4
				    "m=audio 4004 RTP/AVP 0\r\nc=IN IP6 ::\r\n");
	struct offer_patch patch = patch_of("2001:db8::7");

	CU_ASSERT(offer.media[0].is_held && !offer.media[1].is_held && offer.media[2].is_held);
	check_rewrite(HEAD "c=IN IP4 0.0.0.0\r\n" AUDIO "m=audio 4002 RTP/AVP 0\r\n" C4, &patch,
		      "v=0\r\no=- 77 3 IN IP6 2001:db8::7\r\ns=-\r\nc=IN IP6 ::\r\n"
		      "m=audio 20000 RTP/AVP 0\r\nm=audio 20002 RTP/AVP 0\r\nc=IN IP6 2001:db8::7\r\n");
	patch = patch_of("198.51.100.7");
	check_rewrite(HEAD C4 "m=audio 4004 RTP/AVP 0\r\nc=IN IP6 ::\r\n", &patch,
		      "v=0\r\n" OUR_O4 "s=-\r\n" OUR_C4 "m=audio 20000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n");
}

static void test_rewrites_addresses_only(void)
{
	static const char tail[] = "b=AS:64\r\nt=0 0\r\na=tool:x  y\r\nX=?\r\nm=audio %s RTP/AVP 0  8 101 \r\n"
				   "b=TIAS:64000\r\nk=clear:x\r\na=rtpmap:101 telephone-event/8000\r\n"
				   "a=fmtp:101 0-15;x=\"q\"\r\na=ptime:20\r\na=rtcp-mux\r\na=sendrecv\r\na=ssrc:1 cname:z\r\n";
	struct offer_patch patch = patch_of("198.51.100.7");
	char body[1024], expected[1024];
	size_t at;

	at = (size_t)snprintf(body, sizeof(body), "%s", HEAD C4);
	(void)snprintf(body + at, sizeof(body) - at, tail, "4000/1");
	at = (size_t)snprintf(expected, sizeof(expected), "%s", "v=0\r\n" OUR_O4 "s=-\r\n" OUR_C4);
	(void)snprintf(expected + at, sizeof(expected) - at, tail, "20000");
	check_rewrite(body, &patch, expected);
}

#define SHA1 "a=fingerprint:sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB\r\n"

static void test_drops_lines_with_addresses(void)
{
	static const char *const dropped[] = {
		"a=ssrc:1 cname:alice@10.0.0.5", "a=ccap:1 IN IP4 10.0.0.5 4000", "a=ccap:1 in ip4 pbx.local 4000",
		"a=path:msrp://10.0.0.5:2855/x;tcp", "a=alt:1 1 : u p 10.0.0.5 4000", "a=x:10.0.0.5", "a=xe:10.0.0.5:4000",
		"a=x:2001:db8::5", "a=xe:2001:db8::5", "a=x [2001:db8::5]:4000", "C=IN IP4 10.0.0.5", "k=uri:http://10.0.0.5/", "X=10.0.0.5:1 a",
		"b=X:10.0.0.5",
	};
	static const char kept[] = SHA1 "a=extmap:1 urn:ietf:params:rtp-hdrext:toffset\r\na=tool:lib 58.29.100\r\na=ptime:20\r\n"
				   "a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\nt=0 0\r\n"
				   "a=ssrc:1 cname:{8a4b-11}\r\na=fmtp:96 config=1.2;x=0:1:2\r\n";
	struct offer_patch patch = patch_of("198.51.100.7");
	char body[1024], expected[1024];

	for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++) {
		(void)snprintf(body, sizeof(body), "%s%s\r\n", HEAD C4 AUDIO, dropped[i]);
		check_rewrite(body, &patch, "v=0\r\n" OUR_O4 "s=-\r\n" OUR_C4 "m=audio 20000 RTP/AVP 0\r\n");
	}
	(void)snprintf(body, sizeof(body), "%s%s", HEAD C4 AUDIO, kept);
	(void)snprintf(expected, sizeof(expected), "%s%s", "v=0\r\n" OUR_O4 "s=-\r\n" OUR_C4 "m=audio 20000 RTP/AVP 0\r\n", kept);
	check_rewrite(body, &patch, expected);
}

static void test_rewrites_family(void)
{
	struct offer_patch patch = patch_of("2001:db8::7");

	check_rewrite(HEAD C4 TIME AUDIO "a=rtcp:4001 IN IP4 10.0.0.1\r\n", &patch,
		      "v=0\r\no=- 77 3 IN IP6 2001:db8::7\r\ns=-\r\nc=IN IP6 2001:db8::7\r\nt=0 0\r\n"
		      "m=audio 20000 RTP/AVP 0\r\na=rtcp:20001 IN IP6 2001:db8::7\r\n");
	patch = patch_of("198.51.100.7");
	check_rewrite("v=0\r\no=- 1 1 IN IP6 2001:db8::1\r\ns=x\r\n" AUDIO "i=voice\r\nc=IN IP6 2001:db8::1\r\n", &patch,
		      "v=0\r\n" OUR_O4 "s=x\r\nm=audio 20000 RTP/AVP 0\r\ni=voice\r\n" OUR_C4);
}

static void test_keeps_line_ends(void)
{
	struct offer_patch patch = patch_of("198.51.100.7");

	check_rewrite("v=0\no=- 1 1 IN IP4 10.0.0.1\ns=-\nc=IN IP4 10.0.0.1\r\nt=0 0\nm=audio 4000 RTP/AVP 0", &patch,
		      "v=0\no=- 77 3 IN IP4 198.51.100.7\ns=-\n" OUR_C4 "t=0 0\nm=audio 20000 RTP/AVP 0");
	check_rewrite("v=0\n" "m=audio 4000 RTP/AVP 0\nc=IN IP4 10.0.0.1", &patch,
		      "v=0\no=- 77 3 IN IP4 198.51.100.7\nm=audio 20000 RTP/AVP 0\nc=IN IP4 198.51.100.7");
	check_rewrite(HEAD C4 AUDIO "\r\n", &patch, "v=0\r\n" OUR_O4 "s=-\r\n" OUR_C4 "m=audio 20000 RTP/AVP 0\r\n\r\n");
}

static void test_strips_ice(void)
{
	struct offer_patch patch = patch_of("198.51.100.7");

	check_rewrite(HEAD C4 "a=ice-lite\r\na=ice-options:trickle\r\na=group:BUNDLE 0\r\n" AUDIO
		      "a=candidate:1 1 UDP 2130706431 10.0.0.1 4000 typ host\r\na=remote-candidates:1 10.0.0.2 4000\r\n"
		      "a=ice-ufrag:8hhY\r\na=ice-pwd:asd88fgpdd777uzjYhagZg\r\na=ice-mismatch\r\na=mid:0\r\n"
		      "a=ICE-ufrag:x\r\na=altc:1 IP4 10.0.0.1 4000\r\na=source-filter: incl IN IP4 * 10.0.0.1\r\n"
		      "a=end-of-candidates", &patch,
		      "v=0\r\n" OUR_O4 "s=-\r\n" OUR_C4 "a=group:BUNDLE 0\r\nm=audio 20000 RTP/AVP 0\r\na=mid:0\r\n");
}

static void test_rejected_line_is_harmless(void)
{
	struct offer_patch patch = patch_of("198.51.100.7");

	patch.media[1] = (struct offer_patch_media){ 0 };
	check_rewrite(HEAD C4 AUDIO "m=video 5000 RTP/AVP 31\r\nc=IN IP4 10.0.0.2\r\na=rtcp:5001 IN IP4 10.0.0.2\r\na=x\r\n",
		      &patch, "v=0\r\n" OUR_O4 "s=-\r\n" OUR_C4 "m=audio 20000 RTP/AVP 0\r\n"
		      "m=video 0 RTP/AVP 31\r\n" OUR_C4 "a=x\r\n");
	/* Disabled by the other side: stays so whatever the patch says. */
	check_rewrite(HEAD C4 "m=video 0 RTP/AVP 31\r\n" C4 "a=rtcp:1\r\n", &patch,
		      "v=0\r\n" OUR_O4 "s=-\r\n" OUR_C4 "m=video 0 RTP/AVP 31\r\n" OUR_C4);
}

static void test_own_connection_where_addresses_differ(void)
{
	struct offer_patch patch = patch_of("198.51.100.7");

	patch.media[0].rtp = ip("2001:db8::9", 30000);
	patch.media[0].rtcp = ip("2001:db8::9", 30001);
	patch.media[1].rtp = ip("198.51.100.9", 30002);
	check_rewrite(HEAD C4 "m=audio 4000 RTP/AVP 0\r\ni=voice\r\na=x\r\nm=audio 4002 RTP/AVP 0", &patch,
		      "v=0\r\n" OUR_O4 "s=-\r\n" OUR_C4
		      "m=audio 30000 RTP/AVP 0\r\ni=voice\r\nc=IN IP6 2001:db8::9\r\na=x\r\n"
		      "m=audio 30002 RTP/AVP 0\r\nc=IN IP4 198.51.100.9\r\n");
}

static void test_rtcp_attribute(void)
{
	struct offer_patch patch = patch_of("198.51.100.7");

	check_rewrite(HEAD C4 "a=rtcp:1 IN IP4 10.0.0.1\r\n" AUDIO "a=rtcp:53020\r\n", &patch,
		      "v=0\r\n" OUR_O4 "s=-\r\n" OUR_C4 "m=audio 20000 RTP/AVP 0\r\na=rtcp:20001\r\n");
	patch.media[0].rtcp = ip("198.51.100.8", 30001);
	check_rewrite(HEAD C4 AUDIO "a=rtcp:53020\r\n", &patch,
		      "v=0\r\n" OUR_O4 "s=-\r\n" OUR_C4 "m=audio 20000 RTP/AVP 0\r\na=rtcp:30001 IN IP4 198.51.100.8\r\n");
	patch.media[0].rtcp = (struct addr){ 0 };
	check_rewrite(HEAD C4 AUDIO "a=rtcp:53020\r\n", &patch, "v=0\r\n" OUR_O4 "s=-\r\n" OUR_C4 "m=audio 20000 RTP/AVP 0\r\n");
}

static void test_names_that_leak(void)
{
	static const struct {
		const char *line, *expected;
	} cases[] = {
		{ "s=-\r\n", "s=-\r\n" },
		{ "s=\r\n", "s=\r\n" },
		{ "s=Asterisk PBX 18.2.0\r\n", "s=Asterisk PBX 18.2.0\r\n" },
		{ "s=Mr. Smith, e.g. at 12:30\r\n", "s=Mr. Smith, e.g. at 12:30\r\n" },
		{ "s=pbx.example.com\r\n", "s=-\r\n" },
		{ "s=call from bob@pbx.example.com.\r\n", "s=-\r\n" },
		{ "s=<sip:10.0.0.1>\r\n", "s=-\r\n" },
		{ "s=x,10.0.0.1:5060\r\n", "s=-\r\n" },
		{ "s=[2001:db8::1]\r\n", "s=-\r\n" },
		{ "s=x10.0.0.1\r\n", "s=-\r\n" },
		{ "s=x2001:db8::1\r\n", "s=-\r\n" },
		{ "s=host.example:5060\n", "s=-\n" },
		{ "i=at host.example.com\r\n", "" },
		{ "i=a lecture\r\n", "i=a lecture\r\n" },
		{ "u=http://10.0.0.1/\r\n", "" },
		{ "e=bob@example.com\r\n", "" },
		{ "p=+1 617 555-6011\r\n", "" },
	};
	struct offer_patch patch = patch_of("198.51.100.7");
	char body[256], expected[256];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		(void)snprintf(body, sizeof(body), "v=0\r\no=x 1 1 IN IP4 10.0.0.1\r\n%st=0 0\r\n", cases[i].line);
		(void)snprintf(expected, sizeof(expected), "v=0\r\n" OUR_O4 "%st=0 0\r\n", cases[i].expected);
		check_rewrite(body, &patch, expected);
	}
}

static void test_full_buffer(void)
{
	struct offer offer = parsed(HEAD C4 AUDIO);
	struct offer_patch patch = patch_of("198.51.100.7");
	char bytes[256];
	size_t needed;
	struct buf out = buf_of(bytes, sizeof(bytes));

	CU_ASSERT_EQUAL(offer_rewrite(&offer, &patch, &out), 0);
	needed = out.len;
	for (size_t cap = 0; cap < needed; cap++) {
		out = buf_of(bytes, cap);
		CU_ASSERT_EQUAL(offer_rewrite(&offer, &patch, &out), ERR_LIMIT);
	}
}

static const struct unit_test tests[] = {
	{ "reads all fields", test_reads_all_fields },
	{ "a=rtcp in all forms", test_rtcp_forms },
	{ "no RTCP beside port 65535", test_port_without_rtcp },
	{ "tolerates sloppy descriptions", test_tolerates },
	{ "refuses, with error and line", test_refuses },
	{ "limits", test_limits },
	{ "bandwidth", test_bandwidth },
	{ "hold by the unspecified address", test_hold },
	{ "rewrites addresses and ports, nothing else", test_rewrites_addresses_only },
	{ "lines with addresses are dropped", test_drops_lines_with_addresses },
	{ "changes the address family", test_rewrites_family },
	{ "keeps the style of line ends", test_keeps_line_ends },
	{ "strips ICE and its like", test_strips_ice },
	{ "a rejected line leaks nothing", test_rejected_line_is_harmless },
	{ "own c= where addresses differ", test_own_connection_where_addresses_differ },
	{ "rewrites a=rtcp", test_rtcp_attribute },
	{ "session names that name hosts", test_names_that_leak },
	{ "a full buffer is an error", test_full_buffer },
};
UNIT_MAIN("offer", tests)
