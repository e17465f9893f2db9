/* The ALG for RTSP 1.0 (RFC 2326) and 2.0 (RFC 7826): takes messages out of the stream in order and hands each to whom
 * it concerns. What is no RTSP from the first octet on passes unseen, with no pinhole ever, unless rules would refuse
 * something that could be in it; what is none between two messages ends the session, for there a careless peer would
 * find other messages than we do. */
#include "algs/rtsp/rtsp.h"

#include "algs/rtsp/rtsp_module.h"

static struct alg_result result_of(enum alg_verdict verdict, size_t consumed)
{
	return (struct alg_result){ .verdict = verdict, .consumed = verdict == ALG_HOLD ? 0 : consumed };
}

/* ---- names by which things are known again ----------------------------------------------------------------------- */

uint64_t rtsp_hash(struct span text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a: whoever makes two names equal confuses only his own session */

	for (size_t i = 0; i < text.len; i++)
		hash = (hash ^ (uint8_t)text.ptr[i]) * UINT64_C(0x100000001b3);
	return hash;
}

uint64_t rtsp_url_hash(struct span url)
{
	for (size_t i = 0; i + 2 < url.len; i++) {
		struct span rest = span_sub(url, i, url.len);

		if (url.ptr[i] == '/' || url.ptr[i] == '?')
			break;
		if (!span_starts(rest, SPAN_LIT("://")))
			continue;
		rest = span_sub(rest, 3, rest.len);
		url = span_sub(rest, span_find(rest, '/'), rest.len);
		break;
	}
	while (url.len > 0 && url.ptr[url.len - 1] == '/')
		url.len--;
	return rtsp_hash(url);
}

uint64_t rtsp_session_id(const struct rtsp_message *message)
{
	struct span value = rtsp_header_value(message, "Session");
	struct span id = span_trim(span_cut(&value, ';'));

	return id.len > 0 ? rtsp_hash(id) : 0;
}

/* ---- what is no message of RTSP ---------------------------------------------------------------------------------- */

static bool is_tls(const struct rtsp_job *job)
{
	return job->bytes.len > 0 && job->bytes.ptr[0] == 0x16;
}

/* Says no in HTTP's words; what the client sends after that ends the session. */
static enum alg_verdict refuse_http(struct rtsp_job *job, const struct alg_answer *answer)
{
	unsigned code = answer->code >= 400 && answer->code <= 599 ? answer->code : 403;

	return rtsp_http_refuse(job, code, answer->text[0] != '\0' ? answer->text : "Forbidden");
}

static enum alg_verdict on_http_request(struct rtsp_job *job)
{
	struct rtsp *s = job->s;
	bool is_tunnel = rtsp_tunnel_is_request(&job->message);
	struct rtsp_asking asking = { .transport = "http" };
	struct alg_answer answer;

	if (s->tunnel.state == RTSP_POST_WAITS)
		return rtsp_tunnel_request(job);
	if (s->has_begun[ALG_CLIENT] || s->has_begun[ALG_SERVER] || job->from != ALG_CLIENT || rtsp_is_tunnelled(s))
		return ALG_RESET;
	if (is_tunnel ? !rtsp_policy_ask(job, &asking, &answer) : !rtsp_policy_unseen(job, "other", &answer))
		return refuse_http(job, &answer);
	if (is_tunnel)
		return rtsp_tunnel_request(job);
	s->host->note(s->session, NULL, "HTTP: passed unseen");
	return ALG_BYPASS;
}

static enum alg_verdict on_unknown(struct rtsp_job *job)
{
	struct rtsp *s = job->s;
	struct alg_answer answer;

	memset(&job->message, 0, sizeof(job->message));
	if (is_tls(job) ? s->about->tls == ALG_TLS_PASS : rtsp_policy_unseen(job, "other", &answer)) {
		s->host->note(s->session, NULL, "not RTSP: passed unseen");
		return ALG_BYPASS;
	}
	s->host->note(s->session, NULL, "not RTSP: refused");
	return ALG_RESET;
}

static enum alg_verdict on_fault(struct rtsp_job *job)
{
	struct rtsp *s = job->s;
	bool is_message = job->message.method.len > 0 || job->message.status > 0;
	bool is_first = !s->has_begun[job->from] && (job->from == ALG_SERVER || !s->has_begun[ALG_SERVER]) && !rtsp_is_tunnelled(s);

	if (is_first && !is_message)
		return on_unknown(job);
	s->host->note(s->session, NULL, "what comes next is no message: ended");
	if (job->message.method.len > 0 && s->lanes[job->from].n_pending == 0)
		rtsp_refuse(job, 400, "");
	return ALG_RESET;
}

static enum alg_verdict on_http(struct rtsp_job *job)
{
	enum rtsp_tunnel_state state = job->s->tunnel.state;

	if (job->message.status == 0)
		return on_http_request(job);
	if (job->from == ALG_SERVER && (state == RTSP_GET_ASKED || state == RTSP_POST_ASKED))
		return rtsp_tunnel_response(job);
	job->message.status = 0; /* none of RTSP */
	return on_fault(job);
}

/* A server that expects no frames might read the text inside: unasked ones pass when rules would not refuse anything. */
static enum alg_verdict on_frames(struct rtsp_job *job)
{
	struct rtsp *s = job->s;
	struct alg_answer answer;

	if (!s->may_interleave && !rtsp_policy_unseen(job, rtsp_carrier_text(RTSP_INTERLEAVED), &answer)) {
		s->host->note(s->session, NULL, "frames that no SETUP asked for: ended");
		return ALG_RESET;
	}
	s->may_interleave = true;
	rtsp_session_count(s, job->from, job->message.head);
	return ALG_PASS;
}

/* ---- requests and responses -------------------------------------------------------------------------------------- */

static enum alg_verdict on_request(struct rtsp_job *job)
{
	struct rtsp *s = job->s;
	const struct rtsp_message *m = &job->message;
	enum rtsp_verb verb = rtsp_verb_find(m->method);
	struct alg_answer answer;
	unsigned code;

	if (job->from == ALG_CLIENT)
		rtsp_session_touch(s, rtsp_session_id(m), rtsp_header_value(m, "Session").len > 0);
	if (!rtsp_pending_has_room(job, verb))
		return rtsp_hold(s, job->from);
	code = rtsp_policy_request(job, verb, &answer);
	if (code != 0)
		return rtsp_refuse(job, code, answer.text);
	if (verb == RTSP_SETUP && job->from == ALG_CLIENT)
		return rtsp_setup_request(job);
	if (verb == RTSP_OPTIONS && job->from == ALG_CLIENT) {
		struct span url = span_eq(m->url, SPAN_LIT("*")) ? SPAN_NONE : span_sub(m->url, 0, sizeof(s->options_url) - 1);

		if (url.len > 0)
			memcpy(s->options_url, url.ptr, url.len);
		s->options_url[url.len] = '\0';
	}
	rtsp_pending_add(job, verb);
	return ALG_PASS;
}

static enum alg_verdict on_response(struct rtsp_job *job)
{
	struct rtsp *s = job->s;
	struct rtsp_pending *pending = rtsp_pending_match(job);
	enum alg_verdict verdict = ALG_PASS;

	if (job->message.status < 200)
		return ALG_PASS;
	if (pending == NULL) { /* nobody asked: nothing follows from it */
		job->message.is_odd = true;
		return ALG_PASS;
	}
	if (pending->setup > 0)
		verdict = rtsp_setup_response(job, pending);
	rtsp_session_answer(s, pending, job->message.status);
	rtsp_pending_done(s, alg_other(job->from), pending);
	return verdict;
}

/* Either all of these edits are made or none; those of Transport, made before, have to be. */
static void edit_rest(struct rtsp_job *job)
{
	struct rtsp_edits *edits = &job->edits;
	unsigned n = edits->n;
	size_t text_len = edits->text_len;

	if (job->message.is_odd)
		return;
	if (job->message.kind == RTSP_RESPONSE && job->from == ALG_SERVER)
		rtsp_policy_trim(job, span_of(job->s->options_url));
	rtsp_rewrite(job);
	if (!edits->is_full)
		return;
	job->s->host->note(job->s->session, NULL, "too many addresses in one message: left as they are");
	edits->n = n;
	edits->text_len = text_len;
	edits->is_full = false;
}

static struct alg_result on_text(struct rtsp_job *job)
{
	struct rtsp_message *m = &job->message;
	struct rtsp_lane *lane = &job->s->lanes[job->from];
	size_t consumed = m->head.len + m->body.len;
	enum alg_verdict verdict = m->kind == RTSP_REQUEST ? on_request(job) : on_response(job);

	job->s->has_begun[job->from] = true;
	if (verdict == ALG_PASS) {
		edit_rest(job);
		if (!rtsp_rewrite_apply(job))
			verdict = ALG_RESET;
	}
	if (verdict != ALG_HOLD) {
		lane->body_left = m->length - m->body.len;
		lane->is_dropping = verdict == ALG_DROP;
	}
	return result_of(verdict, consumed);
}

/* ---- the stream -------------------------------------------------------------------------------------------------- */

/* Of a body longer than a message may be. */
static struct alg_result pass_body(struct rtsp *s, enum alg_side from, size_t len)
{
	struct rtsp_lane *lane = &s->lanes[from];
	size_t n = lane->body_left < len ? (size_t)lane->body_left : len;

	lane->body_left -= n;
	if (lane->body_left == 0)
		rtsp_let_go(s, alg_other(from)); /* a reply could not stand inside */
	return result_of(lane->is_dropping ? ALG_DROP : ALG_PASS, n);
}

/* At the end of what a side sends, half a message is dropped: whoever made something of it made it without us. */
static struct alg_result more(const struct rtsp_job *job, size_t need, bool is_end)
{
	if (is_end)
		return result_of(ALG_DROP, job->bytes.len);
	return (struct alg_result){ .verdict = ALG_NEED, .need = need };
}

static struct alg_result at_end(struct rtsp *s, enum alg_side from)
{
	if (from == ALG_CLIENT && rtsp_session_is_idle(s))
		s->host->ending(s->session);
	return (struct alg_result){ .verdict = ALG_NEED };
}

static struct alg_result on_message(struct rtsp_job *job, bool is_end)
{
	struct rtsp_message *m = &job->message;
	uint64_t room = RTSP_MESSAGE_MAX - m->head.len;

	switch (m->kind) {
	case RTSP_FRAMES:
		return result_of(on_frames(job), m->head.len);
	case RTSP_BLANK:
		return result_of(ALG_PASS, m->head.len);
	case RTSP_HTTP:
		return result_of(on_http(job), m->head.len);
	default:
		if (m->body.len < m->length && m->length <= room)
			return more(job, (size_t)(m->length - m->body.len), is_end);
		return on_text(job);
	}
}

static struct alg_result rtsp_bytes(void *state, enum alg_side from, struct alg_bytes bytes, bool is_end)
{
	struct rtsp *s = state;
	struct rtsp_job job;
	struct alg_result result;
	size_t need;
	int ret;

	if (bytes.len == 0)
		return at_end(s, from);
	if (s->is_over)
		return result_of(ALG_RESET, 0);
	job.s = s;
	job.from = from;
	job.bytes = (struct span){ bytes.ptr, bytes.len };
	if (rtsp_tunnel_bytes(s, from, job.bytes, &result))
		return result;
	if (s->lanes[from].body_left > 0)
		return pass_body(s, from, bytes.len);
	job.message.method.len = job.message.status = 0;
	job.edits.n = 0;
	job.edits.text_len = 0;
	job.edits.is_full = false;
	ret = rtsp_message_read(job.bytes, &job.message, &need);
	if (ret < 0)
		return result_of(on_fault(&job), bytes.len);
	return ret == 0 ? more(&job, need, is_end) : on_message(&job, is_end);
}

/* ---- the module -------------------------------------------------------------------------------------------------- */

static void rtsp_open(void *state, const struct alg_about *about, const struct alg_host *host, struct alg_session *session)
{
	struct rtsp *s = state;

	s->about = about;
	s->host = host;
	s->session = session;
}

static void rtsp_close(void *state)
{
	rtsp_session_close(state);
}

static void rtsp_event(void *state, const struct alg_event *event)
{
	struct rtsp *s = state;

	if (event->type == ALG_EV_JOINED)
		rtsp_tunnel_joined(s);
	else if (event->type != ALG_EV_TIMER)
		rtsp_session_event(s, event);
	else if (event->cookie == RTSP_TIMER_SESSIONS)
		rtsp_session_timer(s);
	else if (event->cookie == RTSP_TIMER_POST)
		rtsp_tunnel_timer(s);
	else
		rtsp_held_timer(s, event->cookie == RTSP_TIMER_HELD + ALG_CLIENT ? ALG_CLIENT : ALG_SERVER);
}

static const struct alg_class classes[] = {
	{ .name = "media", .kind = ALG_HOLE_MEDIA, .max = RTSP_STREAMS_MAX, .reserved_ms = RTSP_ANSWER_MS },
};

const struct alg_module rtsp_module = {
	.magic = ALG_MAGIC,
	.abi_major = ALG_ABI_MAJOR,
	.abi_minor = ALG_ABI_MINOR,
	.size = sizeof(struct alg_module),
	.name = "rtsp",
	.version = "1",
	.default_port = 554,
	.classes = classes,
	.n_classes = sizeof(classes) / sizeof(classes[0]),
	.verbs = rtsp_verbs,
	.message_max = RTSP_MESSAGE_MAX,
	.state_size = sizeof(struct rtsp),
	.open = rtsp_open,
	.close = rtsp_close,
	.bytes = rtsp_bytes,
	.event = rtsp_event,
};
