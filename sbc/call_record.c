/* What remains of a call: its record (CDR), and copies for the API. */
#include "sbc/call.h"

#include <stdlib.h>

#include "core/buf.h"
#include "core/crash.h"
#include "core/err.h"
#include "core/json_text.h"
#include "core/metrics.h"
#include "sbc/trace.h"

enum { DECISION_BYTES = 8192 };

static struct metric unrecorded = { "postern_refusals_unrecorded_total", NULL,
				    "Refused calls without a record, because there were too many of them.", METRIC_COUNTER, 0, 0 };

void call_record_init(void)
{
	static bool is_done;

	if (!is_done)
		metrics_register(&unrecorded, 1);
	is_done = true;
}

void call_stats_final(struct call *call)
{
	for (unsigned i = 0; call->media != NULL && i < call->n_streams; i++)
		for (int side = MEDIA_A; side <= MEDIA_B; side++)
			media_stats(call->media, i, side, &call->streams[i].final[side]);
}

static void write_steps(const struct call *call, struct buf *out)
{
	json_open(out, '[');
	for (const struct call_step_node *n = call->steps; n != NULL; n = n->next) {
		json_open(out, '{');
		json_member_int(out, "at_ms", n->step.at_ms);
		json_member_text(out, "rule", span_of(n->step.rule));
		json_member_text(out, "text", span_of(n->step.text));
		json_close(out, '}');
	}
	json_close(out, ']');
}

struct stream_text { /* one direction: addresses as text */
	char local[ADDR_TEXT_MAX], signalled[ADDR_TEXT_MAX], latched[ADDR_TEXT_MAX];
};

static struct span address(const struct addr *addr, char *text)
{
	return addr_is_set(addr) ? span_of(addr_text(addr, text)) : SPAN_NONE;
}

static unsigned list_streams(const struct call *call, struct cdr_stream *out, struct stream_text *text)
{
	unsigned n = 0;

	for (unsigned i = 0; i < call->n_streams; i++) {
		const struct call_stream *stream = &call->streams[i];

		for (int side = MEDIA_A; stream->was_open && side <= MEDIA_B; side++, n++) {
			const struct media_stats *s = &stream->final[side];

			out[n] = (struct cdr_stream){
				.index = i,
				.side = side == MEDIA_A ? 'a' : 'b',
				.kind = span_of(stream->kind),
				.local = address(&s->local, text[n].local),
				.signalled = address(&s->signalled, text[n].signalled),
				.latched = address(&s->latched, text[n].latched),
				.path = span_of(media_path_text(s->path)),
				.packets = s->packets,
				.bytes = s->bytes,
				.lost = s->lost,
				.dropped = s->dropped_source + s->dropped_format + s->dropped_payload + s->dropped_early +
					   s->dropped_overload,
				.rtcp_packets = s->rtcp_packets,
				.jitter_us = s->jitter_us,
			};
		}
	}
	return n;
}

struct span call_bare_uri(struct span party) /* dialog.c made it: always in <> */
{
	size_t open = span_find(party, '<');

	return span_sub(party, open + 1, open + 1 + span_find(span_sub(party, open + 1, party.len), '>'));
}

static void fill_leg(const struct leg *leg, struct cdr_leg *out, char *text)
{
	if (leg->realm == NULL)
		return;
	out->realm = span_of(leg->realm->name);
	out->peer = span_of(leg->peer != NULL ? leg->peer->name : NULL);
	out->call_id = leg->dialog.call_id;
	out->local_tag = span_of(leg->dialog.local_tag);
	out->remote_tag = leg->dialog.remote_tag;
	out->signalling = address(&leg->dialog.flow.remote, text);
	out->user_agent = leg->user_agent;
	out->request_uri = leg->request_uri;
}

/* Every call that reached somebody has a record; of those that were refused at once, so many per second. */
static bool may_record(struct call *call)
{
	if (!call->is_refused || limit_take(&call->b2bua->refusal_records, loop_now_ms(call->b2bua->deps.loop)))
		return true;
	metric_add(&unrecorded, 1);
	return false;
}

void call_record(struct call *call, store_done_fn *done)
{
	SCRATCH char decision[DECISION_BYTES];
	char signalling[2][ADDR_TEXT_MAX];
	struct buf steps = buf_of(decision, sizeof(decision));
	SCRATCH struct cdr_stream streams[MEDIA_STREAMS_MAX * 2];
	SCRATCH struct stream_text text[MEDIA_STREAMS_MAX * 2];
	struct cdr cdr = {
		.id = span_of(call->group.id),
		.node = span_of(call->config->node),
		.config_revision = call->revision,
		.started_ms = call->started_ms,
		.ringing_ms = call->ringing_ms,
		.answered_ms = call->answered_ms,
		.ended_ms = call->ended_ms,
		.sip_status = call->status,
		.ended_by = call->ended_by,
		.cause = span_of(call->cause),
		.reason = call->reason,
		.streams = streams,
	};

	if (call->b2bua->deps.store == NULL || !may_record(call)) {
		done(call, 0);
		return;
	}
	write_steps(call, &steps);
	cdr.decision_json = steps.is_full ? SPAN_LIT("[]") : buf_span(&steps);
	fill_leg(&call->leg[MEDIA_A], &cdr.a, signalling[0]);
	fill_leg(&call->leg[MEDIA_B], &cdr.b, signalling[1]);
	cdr.a.from_uri = call->from_uri;
	cdr.a.to_uri = call->to_uri;
	cdr.b.from_uri = call_bare_uri(call->leg[MEDIA_B].dialog.local);
	cdr.b.to_uri = call_bare_uri(call->leg[MEDIA_B].dialog.remote);
	cdr.n_streams = list_streams(call, streams, text);
	store_cdr(call->b2bua->deps.store, &cdr, done, call); /* takes the live row with it */
	CRASH_POINT("cdr-queued");
}

/* ---- copies for the API ------------------------------------------------------------------------------------------------------ */

static const char *copy(struct arena *arena, struct span text)
{
	return span_is_empty(text) ? NULL : arena_strdup(arena, text);
}

void call_summarise(const struct call *call, struct arena *arena, struct call_summary *ret)
{
	const struct leg *a = &call->leg[MEDIA_A], *b = &call->leg[MEDIA_B];

	*ret = (struct call_summary){
		.id = copy(arena, span_of(call->group.id)),
		.state = call_state_text(call->state),
		.from_realm = copy(arena, span_of(a->realm->name)),
		.to_realm = b->realm != NULL ? copy(arena, span_of(b->realm->name)) : NULL,
		.to_peer = b->peer != NULL ? copy(arena, span_of(b->peer->name)) : NULL,
		.from_uri = copy(arena, call->from_uri),
		.to_uri = copy(arena, call->to_uri),
		.call_id = copy(arena, a->dialog.call_id),
		.started_ms = call->started_ms,
		.answered_ms = call->answered_ms,
		.ended_ms = call->ended_ms,
		.status = call->status,
		.cause = call->cause,
		.is_held = call->is_held,
	};
}

static void view_leg(const struct leg *leg, bool is_caller, struct arena *arena, struct call_leg_view *ret)
{
	const struct dialog *d = &leg->dialog;

	if (leg->realm == NULL)
		return;
	ret->realm = copy(arena, span_of(leg->realm->name));
	ret->peer = leg->peer != NULL ? copy(arena, span_of(leg->peer->name)) : NULL;
	ret->call_id = copy(arena, d->call_id);
	ret->local_tag = copy(arena, span_of(d->local_tag));
	ret->remote_tag = copy(arena, d->remote_tag);
	ret->from = copy(arena, is_caller ? d->remote : d->local);
	ret->to = copy(arena, is_caller ? d->local : d->remote);
	ret->request_uri = copy(arena, leg->request_uri);
	ret->remote_target = copy(arena, d->remote_target);
	ret->user_agent = copy(arena, leg->user_agent);
	ret->local = d->flow.local;
	ret->remote = d->flow.remote;
	ret->sdp_received = copy(arena, leg->sdp_received);
	ret->sdp_sent = copy(arena, leg->sdp_sent);
}

static void view_streams(const struct call *call, struct arena *arena, struct call_view *ret)
{
	ret->streams = arena_alloc(arena, sizeof(*ret->streams) * MEDIA_STREAMS_MAX);
	for (unsigned i = 0; ret->streams != NULL && i < call->n_streams; i++) {
		const struct call_stream *stream = &call->streams[i];
		struct call_stream_view *view = &ret->streams[ret->n_streams];

		if (!stream->was_open)
			continue;
		view->index = i;
		view->kind = copy(arena, span_of(stream->kind));
		view->format = copy(arena, span_of(stream->format));
		for (int side = MEDIA_A; side <= MEDIA_B; side++)
			if (call->media == NULL || media_stats(call->media, i, side, &view->side[side]) != 0)
				view->side[side] = stream->final[side];
		ret->n_streams++;
	}
}

static void view_steps(const struct call *call, struct arena *arena, struct call_view *ret)
{
	ret->steps = arena_alloc(arena, sizeof(*ret->steps) * (call->n_steps + 1));
	for (const struct call_step_node *n = call->steps; ret->steps != NULL && n != NULL; n = n->next)
		ret->steps[ret->n_steps++] = (struct call_step){ n->step.at_ms, arena_strdup(arena, span_of(n->step.rule)),
								 arena_strdup(arena, span_of(n->step.text)) };
}

int call_view_fill(const struct call *call, struct arena *arena, struct call_view *ret)
{
	struct call_view view = { 0 };
	struct trace_id ids[2] = { { 'a', call->leg[MEDIA_A].dialog.call_id }, { 'b', call->leg[MEDIA_B].dialog.call_id } };
	int err;

	call_summarise(call, arena, &view.summary);
	if (call->state == CALL_DONE || call->ended_ms != 0) {
		view.ended_by = cdr_end_text(call->ended_by);
		view.reason = copy(arena, call->reason);
	}
	view_leg(&call->leg[MEDIA_A], true, arena, &view.leg[MEDIA_A]);
	view_leg(&call->leg[MEDIA_B], false, arena, &view.leg[MEDIA_B]);
	view_streams(call, arena, &view);
	view_steps(call, arena, &view);
	err = trace_collect(call->b2bua->trace, ids, span_is_empty(ids[1].call_id) ? 1 : 2, call->started_ms, arena,
			    &view.messages, &view.n_messages, &view.messages_lost);
	if (err == 0 && arena_is_exhausted(arena))
		err = ERR_LIMIT;
	if (err == 0)
		*ret = view;
	return err;
}
