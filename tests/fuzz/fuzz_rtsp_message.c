/* Parsers of RTSP on one piece of memory: what was read lies inside the text, a beginning of a message is never another
 * message, edits lie inside and apart from each other, and what the edits leave is a message again. */
#include <stdlib.h>

#include "algs/rtsp/rtsp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

static void inside(struct span text, struct span s)
{
	must(s.ptr == NULL || (s.ptr >= text.ptr && s.len <= text.len && s.ptr + s.len <= text.ptr + text.len));
}

static void check_place(struct span text, const struct rtsp_place *place)
{
	inside(text, place->text);
	must(place->addr.family == 0 || place->addr.family == 4 || place->addr.family == 6);
	must(!place->has_name || place->addr.family == 0);
}

static void check_transports(const struct rtsp_message *m)
{
	struct rtsp_transports list;

	if (rtsp_transport_read(m, &list) < 0)
		return;
	for (unsigned i = 0; i < list.n; i++) {
		const struct rtsp_transport *t = &list.list[i];
		struct rtsp_end end;

		must(t->header < m->n_headers && t->carrier < RTSP_CARRIERS);
		inside(m->headers[t->header].value, t->text);
		inside(t->text, t->spec);
		inside(t->text, t->client_port.text);
		inside(t->text, t->server_port.text);
		check_place(t->text, &t->destination);
		check_place(t->text, &t->source);
		for (unsigned k = 0; k < t->n_dest; k++)
			check_place(t->text, &t->dest[k]);
		for (unsigned k = 0; k < t->n_src; k++)
			check_place(t->text, &t->src[k]);
		must(rtsp_transport_end(t, ALG_CLIENT, &end) == (end.rtp.port != 0));
		must(rtsp_transport_end(t, ALG_SERVER, &end) == (end.rtp.port != 0));
	}
}

static int by_place(const void *a, const void *b)
{
	const struct rtsp_edit *left = a, *right = b;

	return left->at.ptr < right->at.ptr ? -1 : left->at.ptr > right->at.ptr;
}

static void apply(struct rtsp_job *job, struct buf *out)
{
	const char *at = job->bytes.ptr, *end = at + job->message.head.len + job->message.body.len;

	qsort(job->edits.list, job->edits.n, sizeof(job->edits.list[0]), by_place);
	for (unsigned i = 0; i < job->edits.n; i++) {
		const struct rtsp_edit *e = &job->edits.list[i];

		must(e->at.ptr >= at && e->at.ptr + e->at.len <= end);
		buf_put(out, (struct span){ at, (size_t)(e->at.ptr - at) });
		buf_put(out, (struct span){ job->edits.text + e->text_at, e->text_len });
		at = e->at.ptr + e->at.len;
	}
	buf_put(out, (struct span){ at, (size_t)(end - at) });
}

/* Edited, it is the same message as far as framing goes, and there is nothing left to edit. */
static void check_rewrite(struct rtsp_job *job)
{
	static char room[2 * RTSP_MESSAGE_MAX];
	static struct rtsp_job again;
	struct buf out = buf_of(room, sizeof(room));
	size_t need;

	rtsp_rewrite(job);
	if (job->edits.is_full)
		return;
	apply(job, &out);
	must(!out.is_full);
	again = (struct rtsp_job){ .s = job->s, .from = job->from, .bytes = buf_span(&out) };
	if (out.len > RTSP_HEAD_MAX)
		return;
	must(rtsp_message_read(again.bytes, &again.message, &need) == 1);
	must(again.message.kind == job->message.kind && again.message.n_headers == job->message.n_headers);
	if (job->message.body.len == job->message.length)
		must(again.message.head.len + again.message.length == out.len);
	rtsp_rewrite(&again);
	must(again.edits.n == 0);
}

static void check_text(struct span text, struct rtsp_job *job)
{
	const struct rtsp_message *m = &job->message;
	char user[RTSP_USER_MAX];

	must(m->head.len + m->body.len <= text.len && m->body.len <= m->length);
	must(m->head.ptr[m->head.len - 1] == '\n' && m->head.len <= RTSP_HEAD_MAX);
	for (unsigned i = 0; i < m->n_headers; i++) {
		inside(m->head, m->headers[i].line);
		inside(m->headers[i].line, m->headers[i].name);
		inside(m->headers[i].line, m->headers[i].value);
	}
	rtsp_policy_user(m, user, sizeof(user));
	must(memchr(user, '\0', sizeof(user)) != NULL);
	rtsp_url_hash(m->url);
	rtsp_session_id(m);
	check_transports(m);
	if (m->kind != RTSP_HTTP)
		check_rewrite(job);
}

/* Nothing shorter is a message, but for what may be of any length. */
static void check_beginnings(struct span text, const struct rtsp_message *m)
{
	static struct rtsp_message shorter;
	size_t need;

	if (m->kind == RTSP_FRAMES || m->kind == RTSP_BLANK || m->head.len > 300)
		return;
	for (size_t len = 0; len < m->head.len; len++)
		must(rtsp_message_read(span_sub(text, 0, len), &shorter, &need) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct alg_about about = {
		.client = { 4, { 192, 0, 2, 10 }, 40000 }, .client_sees = { 4, { 192, 0, 2, 1 }, 8554 },
		.server = { 4, { 10, 0, 0, 5 }, 554 }, .server_sees = { 4, { 10, 0, 0, 10 }, 50000 },
		.is_translated = true,
	};
	static struct rtsp state = { .about = &about };
	static struct rtsp_job job;
	struct span text = { (const char *)data, size };
	size_t need;
	int ret;

	job = (struct rtsp_job){ .s = &state, .from = ALG_SERVER, .bytes = text };
	ret = rtsp_message_read(text, &job.message, &need);
	must(ret <= 1 && (ret != 0 || need <= RTSP_MESSAGE_MAX));
	if (ret != 1)
		return 0;
	must(job.message.head.len > 0 && job.message.head.len <= size && job.message.head.ptr == text.ptr);
	if (job.message.kind == RTSP_FRAMES)
		must(job.message.head.len <= RTSP_MESSAGE_MAX);
	else if (job.message.kind != RTSP_BLANK)
		check_text(text, &job);
	check_beginnings(text, &job.message);
	return 0;
}
