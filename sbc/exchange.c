/* Requests inside the dialogs of a call, handed from the leg where they came (near) to the other (far), and the answers back: re-INVITE
 * with its ACK, UPDATE, INFO, MESSAGE, OPTIONS. RFC 3261 12.2, 14; RFC 3311; RFC 5057 (what an answer means for the dialog). */
#include "sbc/call.h"

#include <stdlib.h>

#include "core/buf.h"
#include "core/crash.h"
#include "core/err.h"
#include "core/rnd.h"
#include "sbc/call_live.h"
#include "sbc/topology.h"

static enum media_side far_of(const struct exchange *x)
{
	return x->near == MEDIA_A ? MEDIA_B : MEDIA_A;
}

void exchange_clear(struct exchange *x)
{
	if (x->uas != NULL) {
		server_txn_acked(x->uas); /* nobody is left to repeat a 2xx for */
		server_txn_bind(x->uas, NULL, NULL);
	}
	if (x->uac != NULL)
		client_txn_unbind(x->uac);
	x->uas = NULL;
	x->uac = NULL;
	free((char *)x->offer.ptr);
	x->offer = SPAN_NONE;
}

static void end(struct exchange *x)
{
	struct call *call = x->call;

	exchange_clear(x);
	list_remove(&x->node);
	call->n_exchanges--;
	free(x);
	call_retire_if_idle(call);
}

static bool is_over(const struct exchange *x)
{
	return x->is_answered && !x->awaits_ack && (x->uac == NULL || x->method != SIP_INVITE);
}

/* What the far side adds may be more than fits beside what must be repeated to the near side: then it goes without. A failure counts as
 * told even when it could not be sent. */
static int reply(struct exchange *x, struct sip_reply *what)
{
	int err;

	if (x->uas == NULL || x->is_answered)
		return ERR_STATE;
	err = server_txn_reply(x->uas, what);
	if (err != 0 && !span_is_empty(what->headers)) {
		what->headers = SPAN_NONE;
		err = server_txn_reply(x->uas, what);
	}
	x->is_answered = what->status >= 300 || (what->status >= 200 && err == 0);
	return err;
}

static void reply_status(struct exchange *x, int status)
{
	reply(x, &(struct sip_reply){ .status = status });
}

static void refuse(struct server_txn *txn, int status, const char *headers)
{
	server_txn_reply(txn, &(struct sip_reply){ .status = status, .headers = span_of(headers) });
}

static void refuse_later(struct server_txn *txn) /* RFC 3261 14.2, RFC 3311 5.2 */
{
	char headers[32];
	struct buf out = buf_of(headers, sizeof(headers) - 1);

	buf_puts(&out, "Retry-After: ");
	buf_u64(&out, rnd_below(11));
	buf_puts(&out, "\r\n");
	server_txn_reply(txn, &(struct sip_reply){ .status = 500, .headers = buf_span(&out) });
}

/* An offer is open on the near leg already: 491 when it is ours, 500 when the peer is ahead of itself. True when refused. */
static bool refuse_glare(struct call *call, enum media_side near, struct server_txn *txn)
{
	if (call->state != CALL_UP) { /* the first INVITE is still open */
		if (near == MEDIA_A && call->state != CALL_CONNECTING)
			refuse_later(txn);
		else
			refuse(txn, 491, "");
		return true;
	}
	LIST_EACH(&call->exchanges, node) {
		struct exchange *x = LIST_ENTRY(node, struct exchange, node);

		if ((x->is_answered && !x->awaits_ack) || (x->method != SIP_INVITE && x->offer_phase == OFFER_IDLE))
			continue;
		if (x->near == near)
			refuse_later(txn);
		else
			refuse(txn, 491, "");
		return true;
	}
	return false;
}

static bool is_relayed(enum sip_method method)
{
	return method == SIP_INVITE || method == SIP_UPDATE || method == SIP_INFO || method == SIP_MESSAGE ||
	       method == SIP_OPTIONS;
}

/* Whether the request may cross now; answers it when not. */
static bool may_cross(struct call *call, enum media_side near, struct server_txn *txn, const struct sip_msg *request)
{
	char unsupported[512];
	struct buf out = buf_of(unsupported, sizeof(unsupported));
	const struct leg *far = &call->leg[near == MEDIA_A ? MEDIA_B : MEDIA_A];

	topology_unsupported(request, &out);
	if (!is_relayed(request->method)) {
		refuse(txn, request->method == SIP_UNKNOWN ? 501 : 405, "Allow: " TOPOLOGY_ALLOW "\r\n");
	} else if (request->max_forwards == 0) {
		refuse(txn, 483, "");
	} else if (out.len > 0) {
		server_txn_reply(txn, &(struct sip_reply){ .status = 420, .headers = buf_span(&out) });
	} else if (far->is_over || span_is_empty(far->dialog.remote_tag)) {
		refuse(txn, 480, "");
	} else if (call->n_exchanges >= CALL_EXCHANGES_MAX) {
		refuse_later(txn);
	} else {
		return !((request->method == SIP_INVITE || (request->method == SIP_UPDATE && call_has_sdp(request))) &&
			 refuse_glare(call, near, txn));
	}
	return false;
}

void exchange_ack_far(struct exchange *x)
{
	struct leg *far = &x->call->leg[far_of(x)];
	SCRATCH struct dialog_text text;
	struct sip_request ack;

	if (x->is_reversed && x->offer_phase != OFFER_SETTLED)
		return;
	if (dialog_request(&far->dialog, SIP_ACK, x->uac_cseq, &text, &ack) != 0)
		return;
	if (x->is_reversed) {
		ack.content_type = SPAN_LIT("application/sdp");
		ack.body = far->sdp_sent;
	}
	sip_stack_ack(x->call->b2bua->stack, &ack);
	x->is_acked_far = true;
}

static void ack_unanswered(struct exchange *x, enum media_side far)
{
	if (far_of(x) != far || !x->is_reversed || x->is_acked_far)
		return;
	x->is_reversed = false;
	exchange_ack_far(x);
}

void exchange_ack_waiting(struct call *call, enum media_side side)
{
	ack_unanswered(&call->invite, side);
	LIST_EACH(&call->exchanges, node)
		ack_unanswered(LIST_ENTRY(node, struct exchange, node), side);
}

/* Only INVITE and UPDATE carry offers; a description elsewhere would show addresses of the other side. */
static bool may_carry_sdp(const struct exchange *x)
{
	return x->method == SIP_INVITE || x->method == SIP_UPDATE;
}

/* What cannot be taken apart may hold a description too. */
static bool is_body_plain(const struct sip_msg *msg)
{
	return call_is_body_whole(msg) && !call_has_sdp(msg);
}

/* The far side's 2xx: settle the media and tell the near side. Returns what it means for the call. */
static enum call_event_type forward_success(struct exchange *x, const struct sip_msg *response)
{
	struct call *call = x->call;
	enum media_side far = far_of(x);
	struct body_out body = { .type = response->content_type, .bytes = response->body };
	SCRATCH char lines[CALL_HEADERS_MAX];
	char contact[ADDR_TEXT_MAX + 8];
	struct buf headers = buf_of(lines, sizeof(lines));
	struct sip_reply out;
	int status = 0;

	if (may_carry_sdp(x))
		dialog_refresh(&call->leg[far].dialog, response);
	if (!may_carry_sdp(x) || x->offer_phase == OFFER_IDLE)
		body.bytes = is_body_plain(response) ? response->body : SPAN_NONE;
	if (x->offer_phase != OFFER_IDLE)
		status = call_answer(x, far, response, false, &body);
	else if (x->method == SIP_INVITE)
		status = call_offer(x, far, response, &body);
	if (x->method == SIP_INVITE)
		exchange_ack_far(x);
	if (status != 0) {
		reply_status(x, status);
		return CALL_BAD_SDP;
	}
	topology_headers(response, call->leg[far].realm, call->leg[x->near].realm, &headers);
	out = call_reply(call, x->near, response->status, contact);
	out.headers = headers.is_full ? SPAN_NONE : buf_span(&headers);
	out.content_type = body.type;
	out.body = body.bytes;
	if (reply(x, &out) != 0) {
		reply_status(x, 500);
		return may_carry_sdp(x) ? CALL_BAD_SDP : CALL_NOTHING;
	}
	CRASH_POINT("request-answered");
	x->awaits_ack = x->method == SIP_INVITE;
	if (may_carry_sdp(x))
		call_save_live(call);
	return CALL_NOTHING;
}

static enum call_event_type forward_failure(struct exchange *x, const struct sip_msg *response)
{
	struct call *call = x->call;
	SCRATCH char lines[CALL_HEADERS_MAX];
	struct buf headers = buf_of(lines, sizeof(lines));

	call_offer_failed(x);
	topology_headers(response, call->leg[far_of(x)].realm, call->leg[x->near].realm, &headers);
	reply(x, &(struct sip_reply){ .status = topology_status(response->status),
				      .headers = headers.is_full ? SPAN_NONE : buf_span(&headers) });
	return response->status == 408 || response->status == 481 ? CALL_LOST : CALL_NOTHING; /* RFC 5057 */
}

static enum call_event_type on_response(struct exchange *x, const struct sip_msg *response)
{
	if (response->status < 200) {
		if (x->method == SIP_INVITE)
			reply_status(x, response->status);
		return CALL_NOTHING;
	}
	if (response->status >= 300)
		return forward_failure(x, response);
	if (!x->is_answered)
		return forward_success(x, response);
	if (x->method == SIP_INVITE) /* a copy of the 2xx: the far side misses our ACK */
		exchange_ack_far(x);
	return CALL_NOTHING;
}

/* The last thing a handler does: what follows for the call may free the exchange. */
static void conclude(struct exchange *x, const struct call_event *event)
{
	struct call *call = x->call;

	if (is_over(x))
		end(x);
	if (event->type != CALL_NOTHING)
		call_event(call, event);
}

static void on_client(void *arg, struct client_txn *txn, enum client_event event, const struct sip_msg *msg)
{
	struct exchange *x = arg;
	struct call_event result = { .side = far_of(x), .status = 408 };

	(void)txn;
	switch (event) {
	case CLIENT_RESPONSE:
		result.type = on_response(x, msg);
		result.status = msg->status;
		break;
	case CLIENT_TRANSPORT_ERROR: /* as a 503, which says nothing about the dialog (RFC 5057) */
		call_offer_failed(x);
		reply_status(x, topology_status(503));
		break;
	case CLIENT_TIMEOUT:
		call_offer_failed(x);
		/* RFC 4320: a late 408 to a non-INVITE helps nobody. */
		reply_status(x, x->method == SIP_INVITE ? 408 : 487);
		result.type = CALL_LOST;
		break;
	case CLIENT_ENDED:
		x->uac = NULL;
		break;
	}
	conclude(x, &result);
}

static void on_server(void *arg, struct server_txn *txn, enum server_event event, const struct sip_msg *msg)
{
	struct exchange *x = arg;
	struct call_event result = { .side = x->near };

	(void)txn, (void)msg;
	switch (event) {
	case SERVER_CANCELLED: /* the far side decides: 487, or a 2xx that was faster (RFC 3261 9.1) */
		if (x->uac != NULL)
			client_txn_cancel(x->uac, SPAN_NONE);
		return;
	case SERVER_NO_ACK:
		result.type = x->awaits_ack ? CALL_NO_ACK : CALL_NOTHING;
		x->awaits_ack = false;
		break;
	case SERVER_ENDED:
		x->uas = NULL;
		x->awaits_ack = false;
		x->is_answered = true;
		break;
	}
	conclude(x, &result);
}

static int send_far(struct exchange *x, const struct sip_msg *request, const struct body_out *body)
{
	struct call *call = x->call;
	struct leg *far = &call->leg[far_of(x)];
	SCRATCH char lines[CALL_HEADERS_MAX];
	char contact_text[ADDR_TEXT_MAX + 8];
	struct buf headers = buf_of(lines, sizeof(lines)), contact = buf_of(contact_text, sizeof(contact_text));
	SCRATCH struct dialog_text text;
	struct sip_request out;
	int err = dialog_request(&far->dialog, request->method, 0, &text, &out);

	if (err != 0)
		return err;
	topology_headers(request, call->leg[x->near].realm, far->realm, &headers);
	if (headers.is_full)
		return ERR_LIMIT;
	if (request->method == SIP_INVITE || request->method == SIP_UPDATE) {
		call_contact(far, &contact);
		out.contact = buf_span(&contact);
	}
	out.max_forwards = request->max_forwards < 0 ? 70 : (unsigned)request->max_forwards - 1;
	out.headers = buf_span(&headers);
	out.content_type = body->type;
	out.body = body->bytes;
	x->uac_cseq = out.cseq;
	call_note_cseq(call, far);
	return client_txn_new(call->b2bua->stack, &out, on_client, x, &x->uac);
}

void exchange_request(struct call *call, enum media_side near, struct server_txn *txn, const struct sip_msg *request)
{
	struct body_out body = { .type = request->content_type, .bytes = request->body };
	struct exchange *x;
	int status = 0;

	if (!may_cross(call, near, txn, request))
		return;
	x = calloc(1, sizeof(*x));
	if (x == NULL) {
		refuse_later(txn);
		return;
	}
	*x = (struct exchange){ .call = call, .near = near, .method = request->method, .uas = txn, .uas_cseq = request->cseq };
	list_append(&call->exchanges, &x->node);
	call->n_exchanges++;
	server_txn_bind(txn, on_server, x);
	if (request->method == SIP_INVITE || request->method == SIP_UPDATE) {
		dialog_refresh(&call->leg[near].dialog, request);
		status = call_offer(x, near, request, &body);
	} else if (!is_body_plain(request)) {
		status = call_is_body_whole(request) ? 488 : 400;
	}
	CRASH_POINT("request-received");
	if (status == 0 && send_far(x, request, &body) != 0) {
		call_offer_failed(x);
		status = 500;
	}
	if (status != 0) {
		reply_status(x, status);
		end(x);
	}
}

bool exchange_ack(struct exchange *x, const struct sip_msg *ack)
{
	struct call_event result = { .side = x->near };
	struct body_out body;

	if (x->method != SIP_INVITE || ack->cseq != x->uas_cseq)
		return false;
	if (x->uas != NULL)
		server_txn_acked(x->uas);
	if (!x->awaits_ack)
		return true;
	x->awaits_ack = false;
	if (x->offer_phase == OFFER_REVERSED && x->call->media != NULL) { /* else the call is ending already */
		result.status = call_answer(x, x->near, ack, false, &body);
		result.type = result.status != 0 ? CALL_BAD_SDP : CALL_NOTHING;
		exchange_ack_far(x);
		call_save_live(x->call);
	}
	if (x != &x->call->invite)
		conclude(x, &result);
	else if (result.type != CALL_NOTHING)
		call_event(x->call, &result);
	return true;
}

void exchange_abort_all(struct call *call)
{
	LIST_EACH(&call->exchanges, node) {
		struct exchange *x = LIST_ENTRY(node, struct exchange, node);

		reply_status(x, 487); /* RFC 3261 15.1.2 */
		exchange_clear(x);
		list_remove(&x->node);
		free(x);
	}
	call->n_exchanges = 0;
}
