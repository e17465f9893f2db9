/* RTSP in HTTP: a GET, on whose connection the client hears the server as on any RTSP connection, and a POST, on whose connection it
 * speaks, in base64; both have the same x-sessioncookie. The session of the GET is the listener (struct alg_host, meet_open()): it
 * judges what the client says as if it had come there, its own answers go out there, and all state is its. That of the POST is the
 * speaker and only changes the coat: base64 is taken off what the client sends, and put on what goes to the server, each message by
 * itself. Content-Length of the POST says nothing: clients announce 32767 and go on.
 *
 * The GET can be met when its server has agreed, so nobody fills the table without a server. */
#include "algs/rtsp/rtsp.h"

enum {
	DECODE_MAX = 1800, ENCODE_MAX = 1350, /* octets at once: what comes of them has to fit an edit */
	AGAIN_MS = 20,
};

static struct alg_result result_of(enum alg_verdict verdict, size_t consumed)
{
	return (struct alg_result){ .verdict = verdict, .consumed = consumed };
}

/* ---- HTTP --------------------------------------------------------------------------------------------------------- */

static bool has_value(const struct rtsp_message *m, const char *name, const char *value)
{
	struct span rest = rtsp_header_value(m, name), element;

	while (rtsp_list_next(&rest, ',', &element))
		if (span_ieq(span_trim(span_sub(element, 0, span_find(element, ';'))), span_of(value)))
			return true;
	return false;
}

static bool is_tunnelled(const struct rtsp_message *m, const char *name)
{
	return has_value(m, name, "application/x-rtsp-tunnelled");
}

bool rtsp_tunnel_is_request(const struct rtsp_message *m)
{
	if (rtsp_header_value(m, "x-sessioncookie").len == 0)
		return false;
	return span_eq(m->method, SPAN_LIT("GET")) ? is_tunnelled(m, "Accept") :
						     span_eq(m->method, SPAN_LIT("POST")) && is_tunnelled(m, "Content-Type");
}

enum alg_verdict rtsp_http_refuse(struct rtsp_job *job, unsigned code, const char *phrase)
{
	char text[320];
	struct buf out = buf_of(text, sizeof(text));

	buf_printf(&out, "HTTP/1.0 %u %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", code, phrase);
	job->s->host->reply(job->s->session, ALG_CLIENT, rtsp_bytes_of(buf_span(&out)));
	job->s->is_over = true;
	return ALG_DROP;
}

/* ---- requests ----------------------------------------------------------------------------------------------------- */

static enum alg_verdict on_get(struct rtsp_job *job, struct span cookie)
{
	struct rtsp_tunnel *t = &job->s->tunnel;

	memcpy(t->cookie, cookie.ptr, cookie.len);
	t->cookie_len = cookie.len;
	t->state = RTSP_GET_ASKED;
	return ALG_PASS;
}

/* A client that waits for leave to send its body gets it here: servers of RTSP do not know that question. */
static void answer_expect(struct rtsp_job *job, const struct rtsp_header *expect)
{
	rtsp_edit(&job->edits, expect->line, SPAN_NONE);
	job->s->host->reply(job->s->session, ALG_CLIENT, rtsp_bytes_of(SPAN_LIT("HTTP/1.1 100 Continue\r\n\r\n")));
}

static enum alg_verdict on_post(struct rtsp_job *job, struct span cookie)
{
	struct rtsp *s = job->s;
	unsigned at = 0;
	const struct rtsp_header *expect = rtsp_header_next(&job->message, "Expect", &at);
	int err;

	if (rtsp_header_value(&job->message, "Transfer-Encoding").ptr != NULL)
		return rtsp_http_refuse(job, 501, "Not Implemented");
	if (expect != NULL && !span_ieq(expect->value, SPAN_LIT("100-continue")))
		return rtsp_http_refuse(job, 417, "Expectation Failed");
	err = s->host->meet_join(s->session, rtsp_bytes_of(cookie));
	if (err == ALG_ERR_LIMIT) { /* servers know one POST at a time */
		s->tunnel.state = RTSP_POST_WAITS;
		s->host->timer(s->session, RTSP_TIMER_POST, AGAIN_MS);
		return ALG_HOLD;
	}
	if (err < 0) {
		s->host->note(s->session, NULL, "RTSP in HTTP: no GET of this client has that cookie");
		return rtsp_http_refuse(job, 404, "Not Found");
	}
	if (expect != NULL)
		answer_expect(job, expect);
	s->tunnel.state = RTSP_POST_ASKED;
	return rtsp_rewrite_apply(job) ? ALG_PASS : ALG_RESET;
}

enum alg_verdict rtsp_tunnel_request(struct rtsp_job *job)
{
	struct span cookie = rtsp_header_value(&job->message, "x-sessioncookie");

	if (job->message.is_odd || !rtsp_is_token(cookie) || cookie.len > RTSP_COOKIE_MAX)
		return rtsp_http_refuse(job, 400, "Bad Request");
	return span_eq(job->message.method, SPAN_LIT("GET")) ? on_get(job, cookie) : on_post(job, cookie);
}

/* ---- answers ------------------------------------------------------------------------------------------------------ */

static enum alg_verdict open_tunnel(struct rtsp_job *job)
{
	struct rtsp *s = job->s;
	struct span cookie = { s->tunnel.cookie, s->tunnel.cookie_len };

	if (s->host->meet_open(s->session, rtsp_bytes_of(cookie)) < 0) {
		s->host->note(s->session, NULL, "RTSP in HTTP: too many tunnels, or the cookie is in use");
		rtsp_http_refuse(job, 503, "Service Unavailable");
		return ALG_RESET;
	}
	s->host->note(s->session, NULL, "RTSP in HTTP");
	s->tunnel.state = RTSP_GET_OPEN;
	rtsp_rewrite_http(job);
	return rtsp_rewrite_apply(job) ? ALG_PASS : ALG_RESET;
}

enum alg_verdict rtsp_tunnel_response(struct rtsp_job *job)
{
	const struct rtsp_message *m = &job->message;
	struct rtsp_tunnel *t = &job->s->tunnel;

	if (m->status < 200)
		return ALG_PASS;
	if (t->state == RTSP_GET_ASKED && m->status == 200 && is_tunnelled(m, "Content-Type"))
		return open_tunnel(job);
	if (t->state == RTSP_GET_ASKED) /* it may try again, with credentials */
		t->state = RTSP_NO_TUNNEL;
	job->s->lanes[job->from].body_left = m->status == 204 || m->status == 304 ? 0 : m->length;
	return ALG_PASS;
}

/* ---- the coat ----------------------------------------------------------------------------------------------------- */

static struct alg_result pass_as(struct rtsp *s, size_t len, struct span text)
{
	return result_of(s->host->edit(s->session, 0, len, rtsp_bytes_of(text)) < 0 ? ALG_RESET : ALG_PASS, len);
}

static struct alg_result decode(struct rtsp *s, struct span in)
{
	char out[RTSP_BASE64_DECODED_MAX(DECODE_MAX)];
	size_t len;

	in = span_sub(in, 0, DECODE_MAX);
	if (rtsp_base64_decode(&s->tunnel.decoder, in, out, &len) < 0) {
		s->host->note(s->session, NULL, "RTSP in HTTP: no base64");
		return result_of(ALG_RESET, 0);
	}
	return len > 0 ? pass_as(s, in.len, (struct span){ out, len }) : result_of(ALG_DROP, in.len);
}

/* Of the message at the front, which the listener has judged, or what of it is long; 0: there is too little to know. */
static uint64_t message_len(struct span in)
{
	struct rtsp_message m;
	size_t need;

	if (in.ptr[0] == '$')
		return in.len < 4 ? 0 : 4 + ((uint64_t)(uint8_t)in.ptr[2] << 8 | (uint8_t)in.ptr[3]);
	if (in.ptr[0] == '\n')
		return 1;
	if (in.ptr[0] == '\r')
		return 2;
	switch (rtsp_message_read(in, &m, &need)) {
	case 0:
		return 0;
	case 1:
		return m.head.len + m.length;
	default:
		return in.len;
	}
}

static struct alg_result encode(struct rtsp *s, struct span in)
{
	struct rtsp_tunnel *t = &s->tunnel;
	char out[RTSP_BASE64_ENCODED(ENCODE_MAX)];

	if (t->encode_left == 0)
		t->encode_left = message_len(in);
	in = span_sub(in, 0, ENCODE_MAX);
	if (in.len >= t->encode_left)
		in.len = (size_t)t->encode_left;
	else
		in.len -= in.len % 3; /* padding stands at the end of a message only */
	if (in.len == 0)
		return result_of(ALG_NEED, 0);
	t->encode_left -= in.len;
	rtsp_base64_encode(in, out);
	return pass_as(s, in.len, (struct span){ out, RTSP_BASE64_ENCODED(in.len) });
}

bool rtsp_tunnel_bytes(struct rtsp *s, enum alg_side from, struct span in, struct alg_result *ret)
{
	switch (s->tunnel.state) {
	case RTSP_GET_ASKED:
	case RTSP_GET_OPEN: /* the client speaks elsewhere */
		if (from == ALG_SERVER)
			return false;
		*ret = result_of(ALG_RESET, 0);
		return true;
	case RTSP_POST_ASKED: /* it speaks when it was met */
		if (from == ALG_SERVER)
			return false;
		*ret = result_of(ALG_HOLD, 0);
		return true;
	case RTSP_POST:
		*ret = from == ALG_CLIENT ? decode(s, in) : encode(s, in);
		return true;
	default:
		return false;
	}
}

void rtsp_tunnel_timer(struct rtsp *s)
{
	if (s->tunnel.state == RTSP_POST_WAITS)
		s->host->resume(s->session, ALG_CLIENT);
}

void rtsp_tunnel_joined(struct rtsp *s)
{
	struct rtsp_tunnel *t = &s->tunnel;

	if (t->state == RTSP_GET_OPEN)
		t->state = RTSP_GET_JOINED;
	if (t->state != RTSP_POST_ASKED)
		return;
	t->state = RTSP_POST;
	s->host->resume(s->session, ALG_CLIENT);
}
