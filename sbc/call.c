/* The call as a table: in this state, on this event, do these actions in order and go there. An action may return a further event that its
 * outcome causes; it is handled in the next state. RFC 3261 9 (CANCEL), 13 (INVITE), 15 (BYE). */
#include "sbc/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/buf.h"
#include "core/bus.h"
#include "core/crash.h"
#include "core/err.h"
#include "core/log.h"
#include "sbc/call_live.h"
#include "sbc/topology.h"

typedef enum call_event_type action_fn(struct call *call, const struct call_event *event);

struct row {
	enum call_state state;
	enum call_event_type event;
	enum call_state next;
	action_fn *actions[4];
};

static action_fn progress, answer, reject, retry, up, cancel_b, refuse_487, refuse_408, refuse_480, refuse_bye, release_late,
	ack_ended, bye_a, bye_b, bye_other, answer_bye, crossing_bye, finish_cancel, finish_ring, finish_hangup, finish_bye,
	finish_no_ack, finish_sdp, finish_media, finish_duration, finish_lost, finish_restart, refuse_sdp, check;

static const struct row table[] = {
	{ CALL_TRYING, CALL_PROGRESS, CALL_RINGING, { progress } },
	{ CALL_TRYING, CALL_ANSWER, CALL_CONNECTING, { answer } },
	{ CALL_TRYING, CALL_RETRY, CALL_TRYING, { retry } },
	{ CALL_TRYING, CALL_REJECT, CALL_ENDING, { reject } },
	{ CALL_TRYING, CALL_CANCEL, CALL_CANCELLING, { refuse_487, cancel_b, finish_cancel } },
	{ CALL_TRYING, CALL_RING_TIMEOUT, CALL_CANCELLING, { refuse_408, cancel_b, finish_ring } },
	{ CALL_TRYING, CALL_HANGUP, CALL_CANCELLING, { refuse_480, cancel_b, finish_hangup } },
	{ CALL_TRYING, CALL_BYE, CALL_CANCELLING, { refuse_487, cancel_b, finish_bye, answer_bye } },

	{ CALL_RINGING, CALL_PROGRESS, CALL_RINGING, { progress } },
	{ CALL_RINGING, CALL_ANSWER, CALL_CONNECTING, { answer } },
	{ CALL_RINGING, CALL_REJECT, CALL_ENDING, { reject } },
	{ CALL_RINGING, CALL_CANCEL, CALL_CANCELLING, { refuse_487, cancel_b, finish_cancel } },
	{ CALL_RINGING, CALL_RING_TIMEOUT, CALL_CANCELLING, { refuse_408, cancel_b, finish_ring } },
	{ CALL_RINGING, CALL_HANGUP, CALL_CANCELLING, { refuse_480, cancel_b, finish_hangup } },
	{ CALL_RINGING, CALL_BYE, CALL_CANCELLING, { refuse_487, cancel_b, finish_bye, answer_bye } },

	{ CALL_CONNECTING, CALL_ACK, CALL_UP, { up } },
	{ CALL_CONNECTING, CALL_NO_ACK, CALL_ENDING, { bye_a, bye_b, finish_no_ack } },
	{ CALL_CONNECTING, CALL_BYE, CALL_ENDING, { bye_other, finish_bye, answer_bye } },
	{ CALL_CONNECTING, CALL_HANGUP, CALL_ENDING, { bye_a, bye_b, finish_hangup } },
	{ CALL_CONNECTING, CALL_BAD_SDP, CALL_ENDING, { refuse_sdp, bye_a, bye_b, finish_sdp } },
	{ CALL_CONNECTING, CALL_MEDIA_TIMEOUT, CALL_ENDING, { bye_a, bye_b, finish_media } },
	{ CALL_CONNECTING, CALL_LOST, CALL_ENDING, { bye_a, bye_b, finish_lost } },

	{ CALL_UP, CALL_BYE, CALL_ENDING, { bye_other, finish_bye, answer_bye } },
	{ CALL_UP, CALL_HANGUP, CALL_ENDING, { bye_a, bye_b, finish_hangup } },
	{ CALL_UP, CALL_MEDIA_TIMEOUT, CALL_ENDING, { bye_a, bye_b, finish_media } },
	{ CALL_UP, CALL_MAX_DURATION, CALL_ENDING, { bye_a, bye_b, finish_duration } },
	{ CALL_UP, CALL_NO_ACK, CALL_ENDING, { bye_a, bye_b, finish_no_ack } },
	{ CALL_UP, CALL_BAD_SDP, CALL_ENDING, { bye_a, bye_b, finish_sdp } },
	{ CALL_UP, CALL_LOST, CALL_ENDING, { bye_a, bye_b, finish_lost } },
	{ CALL_UP, CALL_RESTARTED, CALL_ENDING, { bye_a, bye_b, finish_restart } },

	{ CALL_CANCELLING, CALL_ANSWER, CALL_ENDING, { release_late } },
	{ CALL_CANCELLING, CALL_REJECT, CALL_ENDING, { check } },
	{ CALL_CANCELLING, CALL_BYE, CALL_CANCELLING, { refuse_bye } },

	{ CALL_ENDING, CALL_ACK, CALL_ENDING, { ack_ended } },
	{ CALL_ENDING, CALL_NO_ACK, CALL_ENDING, { ack_ended } },
	{ CALL_ENDING, CALL_BYE, CALL_ENDING, { crossing_bye } },
	{ CALL_ENDING, CALL_CHECK, CALL_ENDING, { check } },
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

/* Only dialog-forming responses of the first INVITE carry Record-Route back (RFC 3261 12.1.1). What the callee adds may be more than fits
 * beside what must be repeated to the caller: then it goes without. */
static int reply_a(struct call *call, struct sip_reply *reply)
{
	int err;

	if (call->invite.uas == NULL || call->invite.is_answered)
		return ERR_STATE;
	reply->echo_record_route = reply->status > 100 && reply->status < 300;
	err = server_txn_reply(call->invite.uas, reply);
	if (err != 0 && !span_is_empty(reply->headers)) {
		reply->headers = SPAN_NONE;
		err = server_txn_reply(call->invite.uas, reply);
	}
	if (err == 0 && reply->status >= 200) {
		call->invite.is_answered = true;
		call->status = reply->status;
	}
	return err;
}

static void refuse_a(struct call *call, int status, struct span headers)
{
	reply_a(call, &(struct sip_reply){ .status = status, .to_tag = span_of(call->leg[MEDIA_A].dialog.local_tag),
					   .headers = headers });
}

static void publish(struct call *call, enum bus_type type, uint32_t duration_ms)
{
	bus_publish(call->b2bua->deps.bus, &(struct bus_event){ .type = type, .id = span_of(call->group.id),
								 .realm = call->leg[MEDIA_A].realm->index,
								 .code = call->status, .duration_ms = duration_ms,
								 .text = span_of(call->cause) });
}

/* ---- setting up ------------------------------------------------------------------------------------------------------------ */

/* A branch answers for itself: what another branch of the fork previewed is not its answer. */
static void follow_branch(struct call *call, const struct sip_msg *response)
{
	struct span tag = call->leg[MEDIA_B].dialog.remote_tag;

	if (!span_is_empty(tag) && !span_eq(tag, response->to.tag) && call->invite.offer_phase == OFFER_SETTLED)
		call->invite.offer_phase = OFFER_FORWARDED;
}

static enum call_event_type progress(struct call *call, const struct call_event *event)
{
	const struct sip_msg *msg = event->msg;
	char contact[ADDR_TEXT_MAX + 8];
	SCRATCH char lines[CALL_HEADERS_MAX];
	struct buf headers = buf_of(lines, sizeof(lines));
	struct sip_reply out = call_reply(call, MEDIA_A, msg->status, contact);
	struct dialog *dialog = &call->leg[MEDIA_B].dialog;
	struct body_out body = { 0 };

	if (!span_is_empty(msg->to.tag) && !span_eq(msg->to.tag, dialog->remote_tag)) {
		if (++call->n_early > CALL_EARLY_DIALOGS_MAX)
			return CALL_NOTHING; /* a fork bomb: those branches stay unheard */
		follow_branch(call, msg);
		if (dialog_learn(dialog, msg) != 0)
			return CALL_NOTHING;
	}
	if (call->ringing_ms == 0)
		call->ringing_ms = loop_wall_ms(call->b2bua->deps.loop);
	/* A description in an unreliable 18x is a preview of the answer (RFC 3261 13.2.1); after an INVITE without an offer it
	 * has no meaning. One that cannot be understood is left out, the 2xx will tell. */
	if (call->invite.offer_phase == OFFER_IDLE || call_answer(&call->invite, MEDIA_B, msg, true, &body) != 0)
		body.bytes = SPAN_NONE;
	topology_headers(msg, call->leg[MEDIA_B].realm, call->leg[MEDIA_A].realm, &headers);
	out.headers = headers.is_full ? SPAN_NONE : buf_span(&headers);
	out.content_type = body.type;
	out.body = body.bytes;
	reply_a(call, &out);
	return CALL_NOTHING;
}

static int confirm_b(struct call *call, const struct sip_msg *response)
{
	struct leg *leg = &call->leg[MEDIA_B];
	const struct sip_header *agent = sip_msg_header(response, SIP_H_SERVER);
	int err = dialog_learn(&leg->dialog, response);

	leg->is_confirmed = true;
	if (agent == NULL)
		agent = sip_msg_header(response, SIP_H_USER_AGENT);
	if (agent != NULL)
		leg->user_agent = arena_dup(call->arena, agent->value);
	return err;
}

static enum call_event_type answer(struct call *call, const struct call_event *event)
{
	const struct sip_msg *msg = event->msg;
	char contact[ADDR_TEXT_MAX + 8];
	SCRATCH char lines[CALL_HEADERS_MAX];
	struct buf headers = buf_of(lines, sizeof(lines));
	struct sip_reply out = call_reply(call, MEDIA_A, msg->status, contact);
	struct body_out body = { 0 };
	int status, err;

	CRASH_POINT("answer-received");
	follow_branch(call, msg);
	err = confirm_b(call, msg);
	if (call->invite.offer_phase == OFFER_IDLE)
		status = call_offer(&call->invite, MEDIA_B, msg, &body);
	else
		status = call_answer(&call->invite, MEDIA_B, msg, false, &body);
	exchange_ack_far(&call->invite);
	CRASH_POINT("media-applied");
	if (status != 0 || err != 0)
		return CALL_BAD_SDP;
	topology_headers(msg, call->leg[MEDIA_B].realm, call->leg[MEDIA_A].realm, &headers);
	out.headers = headers.is_full ? SPAN_NONE : buf_span(&headers);
	out.content_type = body.type;
	out.body = body.bytes;
	if (reply_a(call, &out) != 0)
		return CALL_BAD_SDP;
	CRASH_POINT("answer-sent");
	call->answered_ms = loop_wall_ms(call->b2bua->deps.loop);
	call->invite.awaits_ack = true;
	call->leg[MEDIA_A].is_confirmed = true;
	loop_timer_stop(&call->timer);
	media_hold(call->media, call->is_held); /* silence while it rang does not count */
	media_answered(call->media);
	free((char *)call->offer_body.ptr);
	call->offer_body = SPAN_NONE;
	publish(call, BUS_CALL_ANSWERED, (uint32_t)(loop_now_ms(call->b2bua->deps.loop) - call->started_mono_ms));
	call_save_live(call);
	return CALL_NOTHING;
}

static enum call_event_type reject(struct call *call, const struct call_event *event)
{
	SCRATCH char lines[CALL_HEADERS_MAX];
	struct buf headers = buf_of(lines, sizeof(lines));
	bool is_silent = event->msg == NULL;

	if (!is_silent)
		topology_headers(event->msg, call->leg[MEDIA_B].realm, call->leg[MEDIA_A].realm, &headers);
	call_step(call, call->route->to->name, is_silent ? "no answer from the target (%d)" : "the target answered %d", event->status);
	refuse_a(call, topology_status(event->status), headers.is_full ? SPAN_NONE : buf_span(&headers));
	call_finish(call, is_silent ? CDR_END_GATEWAY : CDR_END_CALLEE,
		    !is_silent ? "rejected" : event->status == 408 ? "no-response" : "unreachable");
	return CALL_NOTHING;
}

static enum call_event_type retry(struct call *call, const struct call_event *event)
{
	call_step(call, call->route->to->name, "target failed with %d, trying the next", event->status);
	if (call->invite.uac != NULL)
		client_txn_unbind(call->invite.uac);
	call->invite.uac = NULL;
	return call_try_next(call) == 0 ? CALL_NOTHING : CALL_REJECT;
}

static enum call_event_type up(struct call *call, const struct call_event *event)
{
	(void)event;
	CRASH_POINT("up");
	if (call->config->sip.max_call_s > 0)
		loop_timer_start(&call->timer, (uint64_t)call->config->sip.max_call_s * 1000);
	return CALL_NOTHING;
}

void call_refuse(struct call *call, int status, const char *cause, struct span headers)
{
	refuse_a(call, status, headers);
	call->is_refused = true;
	call->state = CALL_ENDING;
	call_finish(call, CDR_END_GATEWAY, cause);
	call_retire_if_idle(call);
}

static enum call_event_type refuse_487(struct call *call, const struct call_event *event)
{
	(void)event;
	refuse_a(call, 487, SPAN_NONE);
	return CALL_NOTHING;
}

static enum call_event_type refuse_408(struct call *call, const struct call_event *event)
{
	(void)event;
	refuse_a(call, 408, SPAN_NONE);
	return CALL_NOTHING;
}

static enum call_event_type refuse_480(struct call *call, const struct call_event *event)
{
	(void)event;
	refuse_a(call, 480, SPAN_NONE);
	return CALL_NOTHING;
}

static enum call_event_type refuse_sdp(struct call *call, const struct call_event *event)
{
	refuse_a(call, event->status != 0 ? event->status : 488, SPAN_NONE);
	return CALL_NOTHING;
}

static enum call_event_type cancel_b(struct call *call, const struct call_event *event)
{
	SCRATCH char lines[CALL_HEADERS_MAX];
	struct buf headers = buf_of(lines, sizeof(lines));

	if (event->msg != NULL)
		topology_headers(event->msg, call->leg[MEDIA_A].realm, call->leg[MEDIA_B].realm, &headers);
	if (call->invite.uac != NULL)
		client_txn_cancel(call->invite.uac, headers.is_full ? SPAN_NONE : buf_span(&headers));
	return CALL_NOTHING;
}

/* ---- ending ------------------------------------------------------------------------------------------------------------------ */

static void on_bye(void *arg, struct client_txn *txn, enum client_event event, const struct sip_msg *msg)
{
	struct leg *leg = arg;
	struct call *call = leg->dialog.owner;

	(void)txn;
	if (event == CLIENT_RESPONSE && msg->status < 200)
		return;
	leg->is_over = true;
	if (leg->bye != NULL)
		client_txn_unbind(leg->bye);
	leg->bye = NULL;
	call_event(call, &(struct call_event){ .type = CALL_CHECK });
}

/* Whether our BYE must wait for the ACK of our 2xx (RFC 3261 15). */
static bool is_bye_early(const struct call *call, enum media_side side)
{
	return side == MEDIA_A && call->invite.awaits_ack;
}

static void send_bye(struct call *call, enum media_side side, struct span headers)
{
	struct leg *leg = &call->leg[side];
	SCRATCH struct dialog_text text;
	struct sip_request bye;

	if (!leg->is_confirmed || leg->is_over || leg->bye != NULL || is_bye_early(call, side))
		return;
	exchange_ack_waiting(call, side);
	if (dialog_request(&leg->dialog, SIP_BYE, 0, &text, &bye) != 0) {
		leg->is_over = true;
		return;
	}
	bye.headers = headers;
	if (client_txn_new(call->b2bua->stack, &bye, on_bye, leg, &leg->bye) != 0)
		leg->is_over = true;
}

/* What the BYEs of a call that the gateway ends say about it (RFC 3326). */
static struct span reason_line(enum call_event_type event)
{
	switch (event) {
	case CALL_MEDIA_TIMEOUT:
		return SPAN_LIT("Reason: Q.850;cause=102;text=\"Media timeout\"\r\n");
	case CALL_MAX_DURATION:
		return SPAN_LIT("Reason: Q.850;cause=102;text=\"Maximum duration\"\r\n");
	case CALL_HANGUP:
		return SPAN_LIT("Reason: Q.850;cause=31;text=\"Ended by the operator\"\r\n");
	case CALL_NO_ACK:
		return SPAN_LIT("Reason: SIP;cause=408;text=\"No ACK\"\r\n");
	case CALL_BAD_SDP:
		return SPAN_LIT("Reason: SIP;cause=488;text=\"Session description refused\"\r\n");
	case CALL_LOST:
		return SPAN_LIT("Reason: SIP;cause=481;text=\"Dialog lost\"\r\n");
	case CALL_RESTARTED:
		return SPAN_LIT("Reason: Q.850;cause=41;text=\"Restart\"\r\n");
	default:
		return SPAN_NONE;
	}
}

static void bye_leg(struct call *call, enum media_side side, const struct call_event *event)
{
	if (event->type == CALL_LOST && event->side == side)
		call->leg[side].is_over = true;
	send_bye(call, side, reason_line(event->type));
}

static enum call_event_type bye_a(struct call *call, const struct call_event *event)
{
	bye_leg(call, MEDIA_A, event);
	return CALL_NOTHING;
}

static enum call_event_type bye_b(struct call *call, const struct call_event *event)
{
	bye_leg(call, MEDIA_B, event);
	return CALL_NOTHING;
}

/* The BYE of one side goes on to the other, with its Reason. */
static enum call_event_type bye_other(struct call *call, const struct call_event *event)
{
	enum media_side to = event->side == MEDIA_A ? MEDIA_B : MEDIA_A;
	SCRATCH char lines[CALL_HEADERS_MAX];
	struct buf headers = buf_of(lines, sizeof(lines));
	const struct sip_header *reason = sip_msg_header(event->msg, SIP_H_REASON);

	if (reason != NULL)
		call->reason = arena_dup(call->arena, reason->value);
	topology_headers(event->msg, call->leg[event->side].realm, call->leg[to].realm, &headers);
	call->leg[event->side].is_over = true;
	send_bye(call, to, headers.is_full ? SPAN_NONE : buf_span(&headers));
	return CALL_NOTHING;
}

static void on_bye_server(void *arg, struct server_txn *txn, enum server_event event, const struct sip_msg *msg)
{
	struct call *call = arg;

	(void)txn, (void)msg;
	if (event == SERVER_ENDED)
		call->bye_txn = NULL;
}

/* The 200 waits until the call's record is durable. */
static enum call_event_type answer_bye(struct call *call, const struct call_event *event)
{
	if (!call->is_recording) {
		server_txn_reply_simple(event->txn, 200);
		return CALL_NOTHING;
	}
	call->bye_txn = event->txn;
	server_txn_bind(event->txn, on_bye_server, call);
	return CALL_NOTHING;
}

static enum call_event_type crossing_bye(struct call *call, const struct call_event *event)
{
	call->leg[event->side].is_over = true;
	server_txn_reply_simple(event->txn, 200);
	return CALL_NOTHING;
}

static enum call_event_type refuse_bye(struct call *call, const struct call_event *event)
{
	(void)call;
	server_txn_reply_simple(event->txn, 481);
	return CALL_NOTHING;
}

/* B answered although it was cancelled: take the answer and hang up (RFC 3261 9.1, 13.2.2.4). */
static enum call_event_type release_late(struct call *call, const struct call_event *event)
{
	confirm_b(call, event->msg);
	call->invite.is_reversed = false;
	exchange_ack_far(&call->invite);
	send_bye(call, MEDIA_B, SPAN_NONE);
	return CALL_NOTHING;
}

/* A's ACK, or the end of waiting for it: the BYE that was held back may go. */
static enum call_event_type ack_ended(struct call *call, const struct call_event *event)
{
	(void)event;
	call->invite.awaits_ack = false;
	send_bye(call, MEDIA_A, SPAN_NONE);
	return CALL_NOTHING;
}

static enum call_event_type check(struct call *call, const struct call_event *event)
{
	(void)call, (void)event;
	return CALL_NOTHING; /* call_event() looks whether anything is left to wait for */
}

#define FINISH(name, by, cause_text) \
	static enum call_event_type name(struct call *call, const struct call_event *event) \
	{ \
		(void)event; \
		call_finish(call, by, cause_text); \
		return CALL_NOTHING; \
	}
FINISH(finish_cancel, CDR_END_CALLER, "cancelled")
FINISH(finish_ring, CDR_END_GATEWAY, "ring-timeout")
FINISH(finish_hangup, CDR_END_OPERATOR, "hangup")
FINISH(finish_no_ack, CDR_END_GATEWAY, "no-ack")
FINISH(finish_sdp, CDR_END_GATEWAY, "bad-answer")
FINISH(finish_media, CDR_END_GATEWAY, "media-timeout")
FINISH(finish_duration, CDR_END_GATEWAY, "max-duration")
FINISH(finish_lost, event->side == MEDIA_A ? CDR_END_CALLER : CDR_END_CALLEE, "dialog-lost")
FINISH(finish_restart, CDR_END_GATEWAY, "restart")
FINISH(finish_bye, event->side == MEDIA_A ? CDR_END_CALLER : CDR_END_CALLEE, "normal")

static void on_recorded(void *arg, int result)
{
	struct call *call = arg;

	CRASH_POINT("cdr-durable");
	if (result != 0)
		LOG_GATED(5, LOG_ERROR, "call", "record is not durable", LF_TEXT("call", call->group.id),
			  LF_TEXT("error", err_str(result)));
	call->is_recording = false;
	if (call->bye_txn != NULL) {
		server_txn_bind(call->bye_txn, NULL, NULL);
		server_txn_reply_simple(call->bye_txn, 200);
	}
	call->bye_txn = NULL;
	call_retire_if_idle(call);
}

void call_finish(struct call *call, enum cdr_end ended_by, const char *cause)
{
	struct b2bua_stats *stats = &call->b2bua->stats;

	if (call->is_recorded)
		return;
	call->is_recorded = true;
	call->ended_ms = loop_wall_ms(call->b2bua->deps.loop);
	call->ended_by = ended_by;
	call->cause = cause;
	loop_timer_stop(&call->timer);
	loop_timer_stop(&call->save);
	exchange_abort_all(call);
	call_stats_final(call);
	call->is_recording = true;
	call_record(call, on_recorded);
	group_close(&call->group);
	call->media = NULL;
	CRASH_POINT("media-closed");
	if (call->is_counted) {
		call->is_counted = false;
		stats->calls_active--;
		stats->realm_active[call->leg[MEDIA_A].realm->index]--;
	}
	publish(call, BUS_CALL_ENDED, call->answered_ms ? (uint32_t)(call->ended_ms - call->answered_ms) : 0);
	log_info("call", "call ended", LF_TEXT("call", call->group.id), LF_TEXT("cause", cause), LF_INT("status", call->status),
		 LF_TEXT("by", cdr_end_text(ended_by)), LF_INT("duration_ms", call->ended_ms - call->started_ms));
}

void call_retire_if_idle(struct call *call)
{
	const struct leg *b = &call->leg[MEDIA_B];
	bool is_invite_open = call->invite.uac != NULL && call->state == CALL_CANCELLING;
	bool awaits_ack = call->invite.awaits_ack && !call->leg[MEDIA_A].is_over;

	if ((call->state != CALL_ENDING && call->state != CALL_CANCELLING) || is_invite_open || awaits_ack ||
	    call->is_recording || call->leg[MEDIA_A].bye != NULL || b->bye != NULL)
		return;
	call->state = CALL_DONE;
	exchange_abort_all(call);
	exchange_clear(&call->invite);
	b2bua_retire(call->b2bua, call);
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
