/* The live row of an answered call: what a restart needs to go on with it, written at the answer and whenever what it holds has
 * changed, never per packet. call_row.c is its form, call_resume.c the way back. */
#include "sbc/call.h"

#include "core/buf.h"
#include "core/crash.h"
#include "core/hash.h"
#include "sbc/call_live.h"
#include "sbc/call_row.h"

enum {
	LIVE_BYTES = CALL_ROW_BYTES_MAX,
	SAVE_AFTER_MS = 500, /* both sides latch, and move to the kernel, shortly after each other: one write for all */
	AGENT_MAX = 256,
};

/* The same in every process: it is compared after a restart. */
uint64_t call_sdp_mark(struct span sdp)
{
	static const uint64_t key[2] = { 0x6c6976652063616cULL, 0x6c732073646d726bULL };

	return hash_keyed(sdp, key) >> 1 | 1; /* JSON has no larger integers, and 0 is none */
}

static void fill_leg(struct leg *leg, struct call_row_leg *row)
{
	const struct dialog *d = &leg->dialog;

	*row = (struct call_row_leg){
		.realm = span_of(leg->realm->name),
		.peer = span_of(leg->peer != NULL ? leg->peer->name : NULL),
		.call_id = d->call_id,
		.local_tag = span_of(d->local_tag),
		.remote_tag = d->remote_tag,
		.local = d->local,
		.remote = d->remote,
		.request_uri = leg->request_uri,
		.target = d->remote_target,
		.strict_target = d->strict_target,
		.routes = d->routes,
		.user_agent = span_sub(leg->user_agent, 0, AGENT_MAX),
		.at = d->flow.local,
		.to = d->flow.remote,
		.local_cseq = d->local_cseq,
		.next_cseq = d->has_remote_cseq ? (uint64_t)d->remote_cseq + 1 : 0,
		.sdp_id = leg->sdp_id,
		.sdp_version = leg->sdp_version,
		.sdp_mark = leg->sdp_sent.ptr != NULL ? call_sdp_mark(leg->sdp_sent) : leg->sdp_mark,
	};
	if (!addr_eq(&d->source, &d->flow.remote))
		row->source = d->source;
}

static void fill_streams(const struct call *call, struct call_row *row)
{
	for (; row->n_streams < call->n_streams; row->n_streams++) {
		const struct call_stream *stream = &call->streams[row->n_streams];
		struct call_row_stream *out = &row->streams[row->n_streams];

		out->kind = span_of(stream->kind);
		out->format = span_of(stream->format);
		out->was_open = stream->was_open;
		out->is_open = media_stream_save(call->media, row->n_streams, &out->media) == 0;
	}
}

static void fill_steps(const struct call *call, struct call_row *row)
{
	for (const struct call_step_node *n = call->steps; n != NULL && row->n_steps < CALL_ROW_STEPS_MAX; n = n->next)
		row->steps[row->n_steps++] = (struct call_row_step){
			.after_ms = n->step.at_ms > call->started_ms ? (uint64_t)(n->step.at_ms - call->started_ms) : 0,
			.rule = span_of(n->step.rule), .text = span_of(n->step.text),
		};
}

static void fill(struct call *call, struct call_row *row)
{
	memset(row, 0, sizeof(*row));
	row->revision = call->revision;
	row->started_ms = (uint64_t)call->started_ms;
	row->ringing_ms = (uint64_t)call->ringing_ms;
	row->answered_ms = (uint64_t)call->answered_ms;
	row->status = (uint64_t)call->status;
	row->is_held = call->is_held;
	row->uas_cseq = call->invite.uas_cseq;
	row->uac_cseq = call->invite.uac_cseq;
	row->from_uri = call->from_uri;
	row->to_uri = call->to_uri;
	fill_leg(&call->leg[MEDIA_A], &row->leg[MEDIA_A]);
	fill_leg(&call->leg[MEDIA_B], &row->leg[MEDIA_B]);
	fill_streams(call, row);
	fill_steps(call, row);
}

void call_save_live(struct call *call)
{
	SCRATCH char text[LIVE_BYTES];
	SCRATCH struct call_row row;
	struct buf out = buf_of(text, sizeof(text));

	loop_timer_stop(&call->save);
	if (call->b2bua->deps.store == NULL || call->answered_ms == 0 || call->is_recorded)
		return;
	fill(call, &row);
	call_row_write(&row, &out);
	if (out.is_full)
		return;
	for (int side = MEDIA_A; side <= MEDIA_B; side++)
		call->leg[side].saved_cseq = call->leg[side].dialog.local_cseq;
	store_live_put(call->b2bua->deps.store, span_of(call->group.id), buf_span(&out));
	CRASH_POINT("live-row-queued");
}

static void on_save(struct loop_timer *timer, void *arg)
{
	(void)timer;
	call_save_live(arg);
}

void call_live_init(struct call *call)
{
	loop_timer_init(&call->save, call->b2bua->deps.loop, on_save, call);
}

void call_save_soon(struct call *call)
{
	if (!loop_timer_is_running(&call->save))
		loop_timer_start(&call->save, SAVE_AFTER_MS);
}

/* A restart leaves a gap of CALL_CSEQ_GAP behind the number in the row: no number is used twice. */
void call_note_cseq(struct call *call, const struct leg *leg)
{
	if (leg->dialog.local_cseq - leg->saved_cseq >= CALL_CSEQ_GAP / 2)
		call_save_live(call);
}
