/* Actions that end a call: BYE both ways, the record that it waits for, and what a call holds until then. RFC 3261 15. */
#include "sbc/call_actions.h"

#include "core/buf.h"
#include "core/crash.h"
#include "core/err.h"
#include "core/log.h"
#include "sbc/topology.h"

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

enum call_event_type call_do_bye_a(struct call *call, const struct call_event *event)
{
	bye_leg(call, MEDIA_A, event);
	return CALL_NOTHING;
}

enum call_event_type call_do_bye_b(struct call *call, const struct call_event *event)
{
	bye_leg(call, MEDIA_B, event);
	return CALL_NOTHING;
}

/* The BYE of one side goes on to the other, with its Reason. */
enum call_event_type call_do_bye_other(struct call *call, const struct call_event *event)
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
enum call_event_type call_do_answer_bye(struct call *call, const struct call_event *event)
{
	if (!call->is_recording) {
		server_txn_reply_simple(event->txn, 200);
		return CALL_NOTHING;
	}
	call->bye_txn = event->txn;
	server_txn_bind(event->txn, on_bye_server, call);
	return CALL_NOTHING;
}

enum call_event_type call_do_crossing_bye(struct call *call, const struct call_event *event)
{
	call->leg[event->side].is_over = true;
	server_txn_reply_simple(event->txn, 200);
	return CALL_NOTHING;
}

enum call_event_type call_do_refuse_bye(struct call *call, const struct call_event *event)
{
	(void)call;
	server_txn_reply_simple(event->txn, 481);
	return CALL_NOTHING;
}

/* B answered although it was cancelled: take the answer and hang up (RFC 3261 9.1, 13.2.2.4). */
enum call_event_type call_do_release_late(struct call *call, const struct call_event *event)
{
	call_confirm_b(call, event->msg);
	call->invite.is_reversed = false;
	exchange_ack_far(&call->invite);
	send_bye(call, MEDIA_B, SPAN_NONE);
	return CALL_NOTHING;
}

/* A's ACK, or the end of waiting for it: the BYE that was held back may go. */
enum call_event_type call_do_ack_ended(struct call *call, const struct call_event *event)
{
	(void)event;
	call->invite.awaits_ack = false;
	send_bye(call, MEDIA_A, SPAN_NONE);
	return CALL_NOTHING;
}

enum call_event_type call_do_check(struct call *call, const struct call_event *event)
{
	(void)call, (void)event;
	return CALL_NOTHING; /* call_event() looks whether anything is left to wait for */
}

#define FINISH(name, by, cause_text) \
	enum call_event_type name(struct call *call, const struct call_event *event) \
	{ \
		(void)event; \
		call_finish(call, by, cause_text); \
		return CALL_NOTHING; \
	}
FINISH(call_do_finish_cancel, CDR_END_CALLER, "cancelled")
FINISH(call_do_finish_ring, CDR_END_GATEWAY, "ring-timeout")
FINISH(call_do_finish_hangup, CDR_END_OPERATOR, "hangup")
FINISH(call_do_finish_no_ack, CDR_END_GATEWAY, "no-ack")
FINISH(call_do_finish_sdp, CDR_END_GATEWAY, "bad-answer")
FINISH(call_do_finish_media, CDR_END_GATEWAY, "media-timeout")
FINISH(call_do_finish_duration, CDR_END_GATEWAY, "max-duration")
FINISH(call_do_finish_lost, event->side == MEDIA_A ? CDR_END_CALLER : CDR_END_CALLEE, "dialog-lost")
FINISH(call_do_finish_restart, CDR_END_GATEWAY, "restart")
FINISH(call_do_finish_bye, event->side == MEDIA_A ? CDR_END_CALLER : CDR_END_CALLEE, "normal")

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
	call_publish(call, BUS_CALL_ENDED, call->answered_ms ? (uint32_t)(call->ended_ms - call->answered_ms) : 0);
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
