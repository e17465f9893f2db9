/* Actions from the INVITE to the call that is up: what B answers goes to A, and A gives up or is refused. RFC 3261 9 (CANCEL),
 * 13 (INVITE). */
#include "sbc/call_actions.h"

#include <stdlib.h>

#include "core/buf.h"
#include "core/crash.h"
#include "core/err.h"
#include "sbc/call_live.h"
#include "sbc/topology.h"

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

/* A branch answers for itself: what another branch of the fork previewed is not its answer. */
static void follow_branch(struct call *call, const struct sip_msg *response)
{
	struct span tag = call->leg[MEDIA_B].dialog.remote_tag;

	if (!span_is_empty(tag) && !span_eq(tag, response->to.tag) && call->invite.offer_phase == OFFER_SETTLED)
		call->invite.offer_phase = OFFER_FORWARDED;
}

enum call_event_type call_do_progress(struct call *call, const struct call_event *event)
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

int call_confirm_b(struct call *call, const struct sip_msg *response)
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

enum call_event_type call_do_answer(struct call *call, const struct call_event *event)
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
	err = call_confirm_b(call, msg);
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
	call_publish(call, BUS_CALL_ANSWERED, (uint32_t)(loop_now_ms(call->b2bua->deps.loop) - call->started_mono_ms));
	call_save_live(call);
	return CALL_NOTHING;
}

enum call_event_type call_do_reject(struct call *call, const struct call_event *event)
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

enum call_event_type call_do_retry(struct call *call, const struct call_event *event)
{
	call_step(call, call->route->to->name, "target failed with %d, trying the next", event->status);
	if (call->invite.uac != NULL)
		client_txn_unbind(call->invite.uac);
	call->invite.uac = NULL;
	return call_try_next(call) == 0 ? CALL_NOTHING : CALL_REJECT;
}

enum call_event_type call_do_up(struct call *call, const struct call_event *event)
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

enum call_event_type call_do_refuse_487(struct call *call, const struct call_event *event)
{
	(void)event;
	refuse_a(call, 487, SPAN_NONE);
	return CALL_NOTHING;
}

enum call_event_type call_do_refuse_408(struct call *call, const struct call_event *event)
{
	(void)event;
	refuse_a(call, 408, SPAN_NONE);
	return CALL_NOTHING;
}

enum call_event_type call_do_refuse_480(struct call *call, const struct call_event *event)
{
	(void)event;
	refuse_a(call, 480, SPAN_NONE);
	return CALL_NOTHING;
}

enum call_event_type call_do_refuse_sdp(struct call *call, const struct call_event *event)
{
	refuse_a(call, event->status != 0 ? event->status : 488, SPAN_NONE);
	return CALL_NOTHING;
}

enum call_event_type call_do_cancel_b(struct call *call, const struct call_event *event)
{
	SCRATCH char lines[CALL_HEADERS_MAX];
	struct buf headers = buf_of(lines, sizeof(lines));

	if (event->msg != NULL)
		topology_headers(event->msg, call->leg[MEDIA_A].realm, call->leg[MEDIA_B].realm, &headers);
	if (call->invite.uac != NULL)
		client_txn_cancel(call->invite.uac, headers.is_full ? SPAN_NONE : buf_span(&headers));
	return CALL_NOTHING;
}
