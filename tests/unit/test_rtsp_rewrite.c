/* rtsp_rewrite(): which addresses in header fields and descriptions change, which never do, and what becomes of
 * Content-Length. */
#include <stdio.h>
#include <stdlib.h>

#include "algs/rtsp/rtsp.h"
#include "tests/unit/unit.h"

/* The client 198.51.100.20 talks to 203.0.113.1:8554; the server 192.168.1.5:554 hears 192.168.1.1. */
static struct alg_about about = { .is_translated = true };
static struct rtsp state = { .about = &about };

static struct alg_addr addr_of(const char *ip, uint16_t port)
{
	struct alg_addr a = { .port = port };

	CU_ASSERT(rtsp_ip_parse(span_of(ip), &a));
	return a;
}

static void set_about(bool is_ipv6)
{
	about.client = addr_of(is_ipv6 ? "2001:db8:1::20" : "198.51.100.20", 40000);
	about.client_sees = addr_of(is_ipv6 ? "2001:db8:1::1" : "203.0.113.1", 8554);
	about.server = addr_of("192.168.1.5", 554);
	about.server_sees = addr_of("192.168.1.1", 50000);
}

static int by_place(const void *a, const void *b)
{
	const struct rtsp_edit *left = a, *right = b;

	return left->at.ptr < right->at.ptr ? -1 : left->at.ptr > right->at.ptr;
}

static void put_edited(struct buf *out, struct rtsp_job *job)
{
	const char *at = job->bytes.ptr, *end = at + job->bytes.len;

	qsort(job->edits.list, job->edits.n, sizeof(job->edits.list[0]), by_place);
	for (unsigned i = 0; i < job->edits.n; i++) {
		const struct rtsp_edit *e = &job->edits.list[i];

		CU_ASSERT(e->at.ptr >= at && e->at.ptr + e->at.len <= end);
		buf_put(out, (struct span){ at, (size_t)(e->at.ptr - at) });
		buf_put(out, (struct span){ job->edits.text + e->text_at, e->text_len });
		at = e->at.ptr + e->at.len;
	}
	buf_put(out, (struct span){ at, (size_t)(end - at) });
}

/* The message with its edits; empty when it is none. */
static struct span rewrite(enum alg_side from, struct span message, unsigned *ret_n)
{
	static char room[20000];
	static struct rtsp_job job;
	struct buf out = buf_of(room, sizeof(room));
	size_t need;

	job = (struct rtsp_job){ .s = &state, .from = from, .bytes = message };
	if (rtsp_message_read(message, &job.message, &need) != 1)
		return SPAN_NONE;
	rtsp_rewrite(&job);
	*ret_n = job.edits.is_full ? 999 : job.edits.n;
	put_edited(&out, &job);
	return buf_span(&out);
}

/* A field of the server's answer, and as the client gets it. */
static const struct {
	const char *in, *out; /* NULL: as it was */
} fields[] = {
	{ "Content-Base: rtsp://192.168.1.5/cam/", "Content-Base: rtsp://203.0.113.1:8554/cam/" },
	{ "content-base:RTSP://192.168.1.5:554/cam/", "content-base:RTSP://203.0.113.1:8554/cam/" },
	{ "Content-Base: rtsp://user:pw@192.168.1.5/cam/", "Content-Base: rtsp://user:pw@203.0.113.1:8554/cam/" },
	{ "Content-Base: rtspu://192.168.1.5", "Content-Base: rtspu://203.0.113.1:8554" },
	{ "Content-Base: rtsp://192.168.1.5:0554/", "Content-Base: rtsp://203.0.113.1:8554/" },
	{ "Content-Base: rtsp://[::ffff:192.168.1.5]/", "Content-Base: rtsp://203.0.113.1:8554/" },
	{ "Content-Location:\r\n rtsp://192.168.1.5/cam", "Content-Location:\r\n rtsp://203.0.113.1:8554/cam" },
	{ "Location: rtsp://192.168.1.5?x=rtsp://192.168.1.5/", "Location: rtsp://203.0.113.1:8554?x=rtsp://192.168.1.5/" },
	{ "RTP-Info: url=rtsp://192.168.1.5/1;seq=1,URL=\"rtsp://192.168.1.5/2\" ssrc=1",
	  "RTP-Info: url=rtsp://203.0.113.1:8554/1;seq=1,URL=\"rtsp://203.0.113.1:8554/2\" ssrc=1" },

	{ "Content-Base: rtsp://192.168.1.55/cam/", NULL },
	{ "Content-Base: rtsp://192.168.1.5:8554/cam/", NULL },
	{ "Content-Base: rtsp://192.168.1.5:x/cam/", NULL },
	{ "Content-Base: rtsp://192.168.1.5x/cam/", NULL },
	{ "Content-Base: rtsps://192.168.1.5/cam/", NULL },
	{ "Content-Base: http://192.168.1.5/cam/", NULL },
	{ "Content-Base: rtsp://192.168.1.1/cam/", NULL },
	{ "Content-Base: rtsp://203.0.113.1:8554/cam/", NULL },
	{ "Content-Base: rtsp://cam.example/192.168.1.5/", NULL },
	{ "Content-Base: rtsp:///cam", NULL },
	{ "Content-Base: rtsp://", NULL },
	{ "Content-Base: /cam/", NULL },
	{ "RTP-Info: url=track1;seq=1", NULL },
	{ "RTP-Info: url=", NULL },
	{ "RTP-Info: xurl=rtsp://192.168.1.5/1", NULL },
	{ "X-Base: rtsp://192.168.1.5/cam/", NULL },
	{ "Via: RTSP/1.0 192.168.1.5", NULL },
	{ "Public: OPTIONS", NULL },
};

static void test_fields(void)
{
	set_about(false);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		char in[512], wanted[512];
		struct buf message = buf_of(in, sizeof(in)), expected = buf_of(wanted, sizeof(wanted));
		struct span out;
		unsigned n;

		buf_printf(&message, "RTSP/1.0 200 OK\r\n%s\r\n\r\n", fields[i].in);
		buf_printf(&expected, "RTSP/1.0 200 OK\r\n%s\r\n\r\n", fields[i].out != NULL ? fields[i].out : fields[i].in);
		out = rewrite(ALG_SERVER, buf_span(&message), &n);
		if (!span_eq(out, buf_span(&expected)))
			printf("# %s: %.*s\n", fields[i].in, SPAN_ARG(out));
		CU_ASSERT(span_eq(out, buf_span(&expected)));
		CU_ASSERT(fields[i].out != NULL || n == 0);
	}
}

static const struct {
	enum alg_side from;
	const char *in, *out; /* a line of a description */
} lines[] = {
	{ ALG_SERVER, "c=IN IP4 192.168.1.5", "c=IN IP4 203.0.113.1" },
	{ ALG_SERVER, "o=- 1 2 IN IP4 192.168.1.5", "o=- 1 2 IN IP4 203.0.113.1" },
	{ ALG_SERVER, "c=IN IP4 192.168.1.1", "c=IN IP4 198.51.100.20" },
	{ ALG_SERVER, "a=control:rtsp://192.168.1.5/1", "a=control:rtsp://203.0.113.1:8554/1" },
	{ ALG_SERVER, "c=IN IP4 0.0.0.0", NULL },
	{ ALG_SERVER, "c=IN IP6 ::", NULL },
	{ ALG_SERVER, "c=IN IP4 192.168.1.5/127", NULL },
	{ ALG_SERVER, "c=IN IP4 239.1.1.1/127/3", NULL },
	{ ALG_SERVER, "c=IN IP4 192.168.1.50", NULL },
	{ ALG_SERVER, "c=IN IP4 cam.local", NULL },
	{ ALG_SERVER, "c=192.168.1.5", NULL },
	{ ALG_SERVER, "c= 192.168.1.5", NULL },
	{ ALG_SERVER, "c=IN XYZ 192.168.1.5", NULL },
	{ ALG_SERVER, "s=192.168.1.5", NULL },
	{ ALG_SERVER, "i=c=IN IP4 192.168.1.5", NULL },
	{ ALG_SERVER, "a=control:track1", NULL },
	{ ALG_SERVER, "a=control:*", NULL },
	{ ALG_SERVER, "a=source-filter: incl IN IP4 239.1.1.1 192.168.1.5", NULL },
	{ ALG_SERVER, "m=video 49170 RTP/AVP 96", NULL },
	{ ALG_CLIENT, "c=IN IP4 203.0.113.1", "c=IN IP4 192.168.1.5" },
	{ ALG_CLIENT, "o=- 1 2 IN IP4 198.51.100.20", "o=- 1 2 IN IP4 192.168.1.1" },
	{ ALG_CLIENT, "a=control:rtsp://203.0.113.1:8554/1", "a=control:rtsp://192.168.1.5:554/1" },
	{ ALG_CLIENT, "c=IN IP4 192.168.1.5", NULL },
};

static struct span with_body(char *room, size_t size, const char *line)
{
	struct buf out = buf_of(room, size);

	buf_printf(&out, "ANNOUNCE rtsp://cam.example/x RTSP/1.0\r\nContent-Type: application/sdp\r\n"
		   "Content-Length: %zu\r\n\r\nv=0\r\n%s\r\nt=0 0\n", strlen(line) + 13, line);
	return buf_span(&out);
}

static void test_lines(void)
{
	set_about(false);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char in[512], wanted[512];
		struct span message = with_body(in, sizeof(in), lines[i].in), out;
		struct span expected = with_body(wanted, sizeof(wanted), lines[i].out != NULL ? lines[i].out : lines[i].in);
		unsigned n;

		out = rewrite(lines[i].from, message, &n);
		if (!span_eq(out, expected))
			printf("# %s: %.*s\n", lines[i].in, SPAN_ARG(out));
		CU_ASSERT(span_eq(out, expected));
		CU_ASSERT(lines[i].out != NULL || n == 0);
	}
}

/* From IPv4 to IPv6: the family in front of the address goes with it, brackets where a URL wants them. */
static void test_families(void)
{
	unsigned n;

	set_about(true);
	CU_ASSERT(span_eq(rewrite(ALG_SERVER, SPAN_LIT("RTSP/1.0 200 OK\r\nContent-Base: rtsp://192.168.1.5/x\r\n"
						       "Content-Type: APPLICATION/SDP ; x\r\nContent-Length: 22\r\n\r\n"
						       "c=IN IP4 192.168.1.5\r\n"), &n),
			  SPAN_LIT("RTSP/1.0 200 OK\r\nContent-Base: rtsp://[2001:db8:1::1]:8554/x\r\n"
				   "Content-Type: APPLICATION/SDP ; x\r\nContent-Length: 24\r\n\r\n"
				   "c=IN IP6 2001:db8:1::1\r\n")));
	CU_ASSERT(span_eq(rewrite(ALG_CLIENT, SPAN_LIT("DESCRIBE x RTSP/1.0\r\nContent-Base: rtsp://[2001:DB8:1::1]:8554\r\n\r\n"), &n),
			  SPAN_LIT("DESCRIBE x RTSP/1.0\r\nContent-Base: rtsp://192.168.1.5:554\r\n\r\n")));
}

static const char *const untouched[] = { /* bodies that are not ours to change; @ stands for the description */
	"Content-Type: text/parameters\r\nContent-Length: 22\r\n\r\n@",
	"Content-Length: 22\r\n\r\n@",
	"Content-Type: application/sdp\r\nContent-Encoding: gzip\r\nContent-Length: 22\r\n\r\n@",
	"Content-Type: application/sdp\r\nContent-Length: 22\r\nContent-Length: 22\r\n\r\n@",
	"Content-Type: application/sdp\r\nContent-Length: 23\r\n\r\n@",
	"Content-Type: application/sdp\r\nContent-Length: 22\r\nAuthorization: Digest qop=auth-int, x\r\n\r\n@",
	"Content-Type: application/sdp\r\n\r\n@",
};

static void test_untouched(void)
{
	set_about(false);
	for (size_t i = 0; i < sizeof(untouched) / sizeof(untouched[0]); i++) {
		char room[512];
		struct buf in = buf_of(room, sizeof(room));
		unsigned n = 1;

		buf_puts(&in, "ANNOUNCE x RTSP/1.0\r\n");
		buf_put(&in, span_sub(span_of(untouched[i]), 0, strlen(untouched[i]) - 1));
		buf_puts(&in, "c=IN IP4 192.168.1.5\r\n");
		rewrite(ALG_SERVER, buf_span(&in), &n);
		CU_ASSERT_EQUAL(n, 0);
	}
}

static void test_length(void)
{
	unsigned n;

	set_about(false);
	about.client_sees = addr_of("1.2.3.4", 554); /* shorter: the width stays where it was padded */
	CU_ASSERT(span_eq(rewrite(ALG_SERVER, SPAN_LIT("RTSP/1.0 200 OK\r\nContent-Type: application/sdp\r\nContent-Length: 0022\r\n\r\n"
						       "c=IN IP4 192.168.1.5\r\nRTSP"), &n),
			  SPAN_LIT("RTSP/1.0 200 OK\r\nContent-Type: application/sdp\r\nContent-Length: 0018\r\n\r\n"
				   "c=IN IP4 1.2.3.4\r\nRTSP")));
	about.client_sees = addr_of("192.168.1.9", 554); /* as long: it stays as it is */
	rewrite(ALG_SERVER, SPAN_LIT("RTSP/1.0 200 OK\r\nContent-Type: application/sdp\r\nContent-Length: 20\r\n\r\nc=IN IP4 192.168.1.5"), &n);
	CU_ASSERT_EQUAL(n, 1);
}

static void test_limit(void)
{
	set_about(false);
	for (unsigned extra = 0; extra < 2; extra++) { /* all of them as long as before: Content-Length needs no edit */
		char room[4096];
		struct buf in = buf_of(room, sizeof(room));
		unsigned n, n_lines = RTSP_EDITS_MAX + extra;

		buf_printf(&in, "RTSP/1.0 200 OK\r\nContent-Type: application/sdp\r\nContent-Length: %u\r\n\r\n", n_lines * 22);
		for (unsigned i = 0; i < n_lines; i++)
			buf_puts(&in, "c=IN IP4 192.168.1.5\r\n");
		rewrite(ALG_SERVER, buf_span(&in), &n);
		CU_ASSERT_EQUAL(n, extra ? 999 : RTSP_EDITS_MAX);
	}
}

static void test_transparent(void)
{
	unsigned n = 1;

	set_about(false);
	about.is_translated = false;
	rewrite(ALG_SERVER, SPAN_LIT("RTSP/1.0 200 OK\r\nContent-Base: rtsp://192.168.1.5/cam/\r\n\r\n"), &n);
	about.is_translated = true;
	CU_ASSERT_EQUAL(n, 0);
}

static const struct unit_test tests[] = {
	{ "URLs in header fields", test_fields },
	{ "lines of descriptions", test_lines },
	{ "another address family", test_families },
	{ "bodies that are not touched", test_untouched },
	{ "Content-Length", test_length },
	{ "limit", test_limit },
	{ "nothing is translated", test_transparent },
};
UNIT_MAIN("rtsp_rewrite", tests)
