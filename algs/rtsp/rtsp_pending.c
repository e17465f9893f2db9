/* Requests that wait for their answers, of both sides: the client's, and what a server asks of its client (REDIRECT,
 * ANNOUNCE, PLAY_NOTIFY). Answers come in the order of requests (RFC 2326 section 10, RFC 7826 9.5.1), and so do ours:
 * a refused request waits until all before it are answered. An answer is found by its CSeq, which nobody changes. */
#include "algs/rtsp/rtsp.h"

#include <stdio.h>

static struct rtsp_lane *lane_of(const struct rtsp_job *job)
{
	return &job->s->lanes[job->from];
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

static struct rtsp_setup *free_setup(struct rtsp *s)
{
	for (unsigned i = 0; i < RTSP_SETUPS_MAX; i++)
		if (!s->setups[i].is_used)
			return &s->setups[i];
	return NULL;
}

bool rtsp_pending_has_room(const struct rtsp_job *job, enum rtsp_verb verb)
{
	if (lane_of(job)->n_pending == RTSP_PENDING_MAX)
		return false;
	return verb != RTSP_SETUP || job->from != ALG_CLIENT || free_setup(job->s) != NULL;
}

/* False: it has none, or one that is not a number; then the order of answers has to do. */
static bool read_number(struct span text, uint64_t *ret)
{
	uint64_t value = 0;

	if (text.len == 0 || text.len >= RTSP_CSEQ_MAX)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(text.ptr[i] - '0');
	}
	*ret = value;
	return true;
}

static bool is_printable(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] <= ' ' || text.ptr[i] >= 0x7f)
			return false;
	return true;
}

static void describe(const struct rtsp_job *job, enum rtsp_verb verb, struct rtsp_pending *ret)
{
	const struct rtsp_message *m = &job->message;
	struct span cseq = rtsp_header_value(m, "CSeq");

	*ret = (struct rtsp_pending){
		.verb = verb,
		.major = m->major,
		.session = rtsp_session_id(m),
		.has_session = rtsp_header_value(m, "Session").len > 0,
		.url = rtsp_url_hash(m->url),
		.since_ms = job->s->host->now_ms(job->s->session),
	};
	ret->has_number = read_number(cseq, &ret->number);
	if (cseq.len < RTSP_CSEQ_MAX && is_printable(cseq) && cseq.len > 0)
		memcpy(ret->cseq, cseq.ptr, cseq.len);
}

struct rtsp_pending *rtsp_pending_add(const struct rtsp_job *job, enum rtsp_verb verb)
{
	struct rtsp_lane *lane = lane_of(job);
	struct rtsp_pending *pending = &lane->pending[lane->n_pending++];

	describe(job, verb, pending);
	if (verb == RTSP_SETUP && job->from == ALG_CLIENT) {
		struct rtsp_setup *setup = free_setup(job->s);

		*setup = (struct rtsp_setup){ .is_used = true };
		pending->setup = (uint8_t)(setup - job->s->setups + 1);
	}
	return pending;
}

struct rtsp_pending *rtsp_pending_match(const struct rtsp_job *job)
{
	struct rtsp_lane *lane = &job->s->lanes[alg_other(job->from)];
	struct span cseq = rtsp_header_value(&job->message, "CSeq");
	uint64_t number;

	if (cseq.ptr == NULL)
		return lane->n_pending > 0 ? &lane->pending[0] : NULL;
	if (!read_number(cseq, &number))
		return lane->n_pending > 0 && !lane->pending[0].has_number ? &lane->pending[0] : NULL;
	for (unsigned i = 0; i < lane->n_pending; i++)
		if (lane->pending[i].has_number && lane->pending[i].number == number)
			return &lane->pending[i];
	return NULL;
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

void rtsp_let_go(struct rtsp *s, enum alg_side from)
{
	if (!s->lanes[from].is_held)
		return;
	s->lanes[from].is_held = false;
	s->host->timer(s->session, RTSP_TIMER_HELD + from, 0);
	s->host->resume(s->session, from);
}

static void forget(struct rtsp *s, enum alg_side from, struct rtsp_pending *pending)
{
	struct rtsp_lane *lane = &s->lanes[from];
	unsigned at = (unsigned)(pending - lane->pending);

	if (pending->setup > 0) {
		struct rtsp_setup *setup = &s->setups[pending->setup - 1];

		if (setup->hole != 0)
			s->host->hole_free(s->session, setup->hole);
		setup->is_used = false;
	}
	lane->n_pending--;
	memmove(&lane->pending[at], &lane->pending[at + 1], (lane->n_pending - at) * sizeof(lane->pending[0]));
}

void rtsp_pending_done(struct rtsp *s, enum alg_side from, struct rtsp_pending *pending)
{
	forget(s, from, pending);
	rtsp_let_go(s, from);
}

enum alg_verdict rtsp_hold(struct rtsp *s, enum alg_side from)
{
	s->lanes[from].is_held = true;
	s->host->timer(s->session, RTSP_TIMER_HELD + from, RTSP_ANSWER_MS);
	return ALG_HOLD;
}

/* Some servers never answer what keeps a session alive, and nothing may wait for that for ever. */
void rtsp_held_timer(struct rtsp *s, enum alg_side from)
{
	struct rtsp_lane *lane = &s->lanes[from];
	uint64_t now = s->host->now_ms(s->session);

	while (lane->n_pending > 0 && now - lane->pending[0].since_ms >= RTSP_ANSWER_MS)
		forget(s, from, &lane->pending[0]);
	rtsp_let_go(s, from);
}

/* ---- our own answers --------------------------------------------------------------------------------------------- */

static const char *phrase_of(unsigned code)
{
	static const struct {
		unsigned code;
		const char *phrase;
	} phrases[] = {
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 413, "Request Entity Too Large" },
		{ 414, "Request-URI Too Long" },
		{ 451, "Parameter Not Understood" },
		{ 453, "Not Enough Bandwidth" },
		{ 454, "Session Not Found" },
		{ 455, "Method Not Valid In This State" },
		{ 461, "Unsupported Transport" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
	};

	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
		if (phrases[i].code == code)
			return phrases[i].phrase;
	return "Refused";
}

static void answer(struct rtsp *s, enum alg_side to, const struct rtsp_pending *pending, unsigned code, const char *text)
{
	char bytes[640];
	struct buf out = buf_of(bytes, sizeof(bytes));

	if (code < 300 || code > 599)
		code = 403;
	buf_printf(&out, "RTSP/%u.0 %u %s\r\n", pending->major == 2 ? 2U : 1U, code, text[0] != '\0' ? text : phrase_of(code));
	if (pending->cseq[0] != '\0')
		buf_printf(&out, "CSeq: %s\r\n", pending->cseq);
	if (code == 405 && to == ALG_CLIENT && s->allowed[0] != '\0')
		buf_printf(&out, "Allow: %s\r\n", s->allowed);
	buf_puts(&out, "\r\n");
	if (!out.is_full)
		s->host->reply(s->session, to, rtsp_bytes_of(buf_span(&out)));
}

enum alg_verdict rtsp_refuse(struct rtsp_job *job, unsigned code, const char *text)
{
	struct rtsp *s = job->s;
	struct rtsp_pending request;

	if (lane_of(job)->n_pending > 0 || s->lanes[alg_other(job->from)].body_left > 0)
		return rtsp_hold(s, job->from);
	describe(job, RTSP_VERBS, &request);
	answer(s, job->from, &request, code, text);
	return ALG_DROP;
}

enum alg_verdict rtsp_replace_response(struct rtsp_job *job, const struct rtsp_pending *pending, unsigned code)
{
	answer(job->s, alg_other(job->from), pending, code, "");
	return ALG_DROP;
}
