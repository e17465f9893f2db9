/* The call as a table: in this state, on this event, do these actions in order and go there. An action may return a further event that its
 * outcome causes; it is handled in the next state. The actions are in call_answer.c and call_ending.c. RFC 3261 9 (CANCEL), 13 (INVITE),
 * 15 (BYE). */
#include "sbc/call_actions.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/buf.h"
#include "core/crash.h"
#include "sbc/call_live.h"

struct row {
	enum call_state state;
	enum call_event_type event;
	enum call_state next;
	call_action_fn *actions[4];
};

static const struct row table[] = {
	{ CALL_TRYING, CALL_PROGRESS, CALL_RINGING, { call_do_progress } },
	{ CALL_TRYING, CALL_ANSWER, CALL_CONNECTING, { call_do_answer } },
	{ CALL_TRYING, CALL_RETRY, CALL_TRYING, { call_do_retry } },
	{ CALL_TRYING, CALL_REJECT, CALL_ENDING, { call_do_reject } },
	{ CALL_TRYING, CALL_CANCEL, CALL_CANCELLING, { call_do_refuse_487, call_do_cancel_b, call_do_finish_cancel } },
	{ CALL_TRYING, CALL_RING_TIMEOUT, CALL_CANCELLING, { call_do_refuse_408, call_do_cancel_b, call_do_finish_ring } },
	{ CALL_TRYING, CALL_HANGUP, CALL_CANCELLING, { call_do_refuse_480, call_do_cancel_b, call_do_finish_hangup } },
	{ CALL_TRYING, CALL_BYE, CALL_CANCELLING, { call_do_refuse_487, call_do_cancel_b, call_do_finish_bye, call_do_answer_bye } },

	{ CALL_RINGING, CALL_PROGRESS, CALL_RINGING, { call_do_progress } },
	{ CALL_RINGING, CALL_ANSWER, CALL_CONNECTING, { call_do_answer } },
	{ CALL_RINGING, CALL_REJECT, CALL_ENDING, { call_do_reject } },
	{ CALL_RINGING, CALL_CANCEL, CALL_CANCELLING, { call_do_refuse_487, call_do_cancel_b, call_do_finish_cancel } },
	{ CALL_RINGING, CALL_RING_TIMEOUT, CALL_CANCELLING, { call_do_refuse_408, call_do_cancel_b, call_do_finish_ring } },
	{ CALL_RINGING, CALL_HANGUP, CALL_CANCELLING, { call_do_refuse_480, call_do_cancel_b, call_do_finish_hangup } },
	{ CALL_RINGING, CALL_BYE, CALL_CANCELLING, { call_do_refuse_487, call_do_cancel_b, call_do_finish_bye, call_do_answer_bye } },

	{ CALL_CONNECTING, CALL_ACK, CALL_UP, { call_do_up } },
	{ CALL_CONNECTING, CALL_NO_ACK, CALL_ENDING, { call_do_bye_a, call_do_bye_b, call_do_finish_no_ack } },
	{ CALL_CONNECTING, CALL_BYE, CALL_ENDING, { call_do_bye_other, call_do_finish_bye, call_do_answer_bye } },
	{ CALL_CONNECTING, CALL_HANGUP, CALL_ENDING, { call_do_bye_a, call_do_bye_b, call_do_finish_hangup } },
	{ CALL_CONNECTING, CALL_BAD_SDP, CALL_ENDING, { call_do_refuse_sdp, call_do_bye_a, call_do_bye_b, call_do_finish_sdp } },
	{ CALL_CONNECTING, CALL_MEDIA_TIMEOUT, CALL_ENDING, { call_do_bye_a, call_do_bye_b, call_do_finish_media } },
	{ CALL_CONNECTING, CALL_LOST, CALL_ENDING, { call_do_bye_a, call_do_bye_b, call_do_finish_lost } },

	{ CALL_UP, CALL_BYE, CALL_ENDING, { call_do_bye_other, call_do_finish_bye, call_do_answer_bye } },
	{ CALL_UP, CALL_HANGUP, CALL_ENDING, { call_do_bye_a, call_do_bye_b, call_do_finish_hangup } },
	{ CALL_UP, CALL_MEDIA_TIMEOUT, CALL_ENDING, { call_do_bye_a, call_do_bye_b, call_do_finish_media } },
	{ CALL_UP, CALL_MAX_DURATION, CALL_ENDING, { call_do_bye_a, call_do_bye_b, call_do_finish_duration } },
	{ CALL_UP, CALL_NO_ACK, CALL_ENDING, { call_do_bye_a, call_do_bye_b, call_do_finish_no_ack } },
	{ CALL_UP, CALL_BAD_SDP, CALL_ENDING, { call_do_bye_a, call_do_bye_b, call_do_finish_sdp } },
	{ CALL_UP, CALL_LOST, CALL_ENDING, { call_do_bye_a, call_do_bye_b, call_do_finish_lost } },
	{ CALL_UP, CALL_RESTARTED, CALL_ENDING, { call_do_bye_a, call_do_bye_b, call_do_finish_restart } },

	{ CALL_CANCELLING, CALL_ANSWER, CALL_ENDING, { call_do_release_late } },
	{ CALL_CANCELLING, CALL_REJECT, CALL_ENDING, { call_do_check } },
	{ CALL_CANCELLING, CALL_BYE, CALL_CANCELLING, { call_do_refuse_bye } },

	{ CALL_ENDING, CALL_ACK, CALL_ENDING, { call_do_ack_ended } },
	{ CALL_ENDING, CALL_NO_ACK, CALL_ENDING, { call_do_ack_ended } },
	{ CALL_ENDING, CALL_BYE, CALL_ENDING, { call_do_crossing_bye } },
	{ CALL_ENDING, CALL_CHECK, CALL_ENDING, { call_do_check } },
};

static const char *const state_names[CALL_STATES] = {
	[CALL_TRYING] = "trying", [CALL_RINGING] = "ringing", [CALL_CONNECTING] = "connecting", [CALL_UP] = "answered",
	[CALL_CANCELLING] = "cancelling", [CALL_ENDING] = "ending", [CALL_DONE] = "ended",
};

const char *call_state_text(enum call_state state)
{
	return state_names[state];
}

static const struct row *find_row(enum call_state state, enum call_event_type event)
{
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].state == state && table[i].event == event)
			return &table[i];
	return NULL;
}

void call_event(struct call *call, const struct call_event *event)
{
	struct call_event current = *event;

	while (current.type != CALL_NOTHING) {
		const struct row *row = find_row(call->state, current.type);
		enum call_event_type follow = CALL_NOTHING;

		if (row == NULL)
			break;
		call->state = row->next;
		for (unsigned i = 0; i < 4 && row->actions[i] != NULL && follow == CALL_NOTHING; i++)
			follow = row->actions[i](call, &current);
		current = (struct call_event){ .type = follow, .side = current.side, .status = current.status };
	}
	/* A BYE that no row wanted still needs its answer: it found no dialog that it could end. */
	if (event->type == CALL_BYE && event->txn != NULL && call->bye_txn != event->txn && !server_txn_has_final(event->txn))
		server_txn_reply_simple(event->txn, 481);
	call_retire_if_idle(call);
}

/* ---- small tools ----------------------------------------------------------------------------------------------------------- */

void call_step_at(struct call *call, int64_t at_ms, struct span rule, struct span text)
{
	struct call_step_node *node = call->n_steps < CALL_STEPS_MAX ? arena_alloc(call->arena, sizeof(*node)) : NULL;

	if (node == NULL)
		return;
	node->step.at_ms = at_ms;
	node->step.rule = arena_strdup(call->arena, rule);
	node->step.text = arena_strdup(call->arena, text);
	if (node->step.rule == NULL || node->step.text == NULL)
		return;
	*call->steps_end = node;
	call->steps_end = &node->next;
	call->n_steps++;
}

void call_step(struct call *call, const char *rule, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	call_step_at(call, loop_wall_ms(call->b2bua->deps.loop), span_of(rule), span_of(text));
}

void call_contact(const struct leg *leg, struct buf *out)
{
	char text[ADDR_TEXT_MAX];

	buf_puts(out, "sip:");
	buf_puts(out, addr_text(&leg->dialog.flow.local, text));
}

struct sip_reply call_reply(const struct call *call, enum media_side side, int status, char contact_text[ADDR_TEXT_MAX + 8])
{
	const struct leg *leg = &call->leg[side];
	struct buf contact = buf_of(contact_text, ADDR_TEXT_MAX + 8);

	call_contact(leg, &contact);
	return (struct sip_reply){ .status = status, .to_tag = span_of(leg->dialog.local_tag), .contact = buf_span(&contact) };
}

void call_publish(struct call *call, enum bus_type type, uint32_t duration_ms)
{
	bus_publish(call->b2bua->deps.bus, &(struct bus_event){ .type = type, .id = span_of(call->group.id),
								 .realm = call->leg[MEDIA_A].realm->index,
								 .code = call->status, .duration_ms = duration_ms,
								 .text = span_of(call->cause) });
}

/* ---- events from below ------------------------------------------------------------------------------------------------------- */

void call_timer(struct loop_timer *timer, void *arg)
{
	struct call *call = arg;

	(void)timer;
	call_event(call, &(struct call_event){ .type = call->answered_ms == 0 ? CALL_RING_TIMEOUT : CALL_MAX_DURATION });
}

static const char *direction_text(enum media_side from)
{
	return from == MEDIA_A ? "caller to callee" : "callee to caller";
}

void call_media_event(void *arg, struct media *media, enum media_event event, unsigned stream, enum media_side side)
{
	struct call *call = arg;
	struct media_stats stats;
	char text[ADDR_TEXT_MAX];

	if (event == MEDIA_TIMEOUT)
		call_event(call, &(struct call_event){ .type = CALL_MEDIA_TIMEOUT });
	else if (media_stats(media, stream, side, &stats) != 0)
		return;
	else if (event == MEDIA_LATCHED)
		call_step(call, "", "stream %u: leg %c sends from %s", stream, side == MEDIA_A ? 'a' : 'b',
			  addr_text(&stats.latched, text));
	else if (stats.path <= MEDIA_PATH_RELAY)
		call_step(call, "", "stream %u %s: relay (%s)", stream, direction_text(side), stats.path_reason);
	else
		call_step(call, "", "stream %u %s: kernel (%s)", stream, direction_text(side), media_path_text(stats.path));
	if (event == MEDIA_LATCHED || event == MEDIA_PATH)
		call_save_soon(call);
	if (event == MEDIA_PATH)
		CRASH_POINT("media-moved");
}

void call_server_event(void *arg, struct server_txn *txn, enum server_event event, const struct sip_msg *msg)
{
	struct call *call = arg;
	const struct sip_header *reason;

	(void)txn;
	switch (event) {
	case SERVER_CANCELLED:
		reason = sip_msg_header(msg, SIP_H_REASON);
		if (reason != NULL)
			call->reason = arena_dup(call->arena, reason->value);
		call_event(call, &(struct call_event){ .type = CALL_CANCEL, .side = MEDIA_A, .msg = msg });
		break;
	case SERVER_NO_ACK:
		if (!call->invite.awaits_ack) /* of a failure: nothing waits for it */
			break;
		call->invite.awaits_ack = false;
		call_event(call, &(struct call_event){ .type = CALL_NO_ACK, .side = MEDIA_A });
		break;
	case SERVER_ENDED:
		call->invite.uas = NULL;
		break;
	}
}
