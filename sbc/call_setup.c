/* From an INVITE to a call: limits, checks, route, media, and the INVITE to one target after the other. RFC 3261 8.2 (what a UAS checks), 16.6
 * (Max-Forwards), RFC 3263 4.3 (failover: each attempt is a new request). */
#include "sbc/call.h"

#include <stdlib.h>

#include "core/buf.h"
#include "core/bus.h"
#include "core/crash.h"
#include "core/err.h"
#include "core/limit.h"
#include "core/metrics.h"
#include "pinhole/admission.h"
#include "sbc/route.h"
#include "sbc/topology.h"
#include "sbc/transport.h"

static struct metric no_pinholes = { "postern_calls_without_pinholes_total", NULL,
				     "Calls refused because media.paths has no relay and the kernel no room or no way.", METRIC_COUNTER, 0, 0 };

void call_setup_init(void)
{
	static bool is_done;

	if (!is_done)
		metrics_register(&no_pinholes, 1);
	is_done = true;
}

struct refusal {
	int status;
	const char *cause;
	struct span headers;
};

static struct refusal refusal(int status, const char *cause)
{
	return (struct refusal){ status, cause, SPAN_NONE };
}

static struct refusal overload(const char *cause)
{
	return (struct refusal){ 503, cause, SPAN_LIT("Retry-After: 5\r\n") };
}

static const struct refusal accepted = { 0, NULL, { NULL, 0 } };

static struct refusal check_limits(struct call *call)
{
	struct b2bua *b = call->b2bua;
	const struct realm_conf *realm = call->leg[MEDIA_A].realm;

	if (b->stats.is_draining)
		return overload("draining");
	if (b->stats.calls_active >= call->config->limits.max_calls) {
		call_step(call, "limits.max_calls", "%u calls are up, no more are allowed", b->stats.calls_active);
		return overload("call-limit");
	}
	if (b->stats.realm_active[realm->index] >= realm->max_calls) {
		call_step(call, realm->name, "realm has %u calls, no more are allowed", realm->max_calls);
		return overload("realm-limit");
	}
	if (!limit_take(&b->realm_cps[realm->index], loop_now_ms(b->deps.loop))) {
		call_step(call, realm->name, "more than %u new calls per second", realm->cps);
		return overload("rate-limit");
	}
	return accepted;
}

static struct refusal check_request(struct call *call, const struct sip_msg *invite, struct buf *unsupported)
{
	enum sip_scheme scheme = invite->request_uri.scheme;

	if (scheme != SIP_SCHEME_SIP && scheme != SIP_SCHEME_TEL) {
		call_step(call, "", "only sip: and tel: can be routed");
		return refusal(416, "unsupported-uri");
	}
	if (!sip_uri_user_is_safe(&invite->request_uri))
		return refusal(400, "unsafe-uri");
	if (invite->max_forwards == 0)
		return refusal(483, "too-many-hops");
	if (sip_stack_has_looped(call->b2bua->stack, invite))
		return refusal(482, "loop");
	topology_unsupported(invite, unsupported);
	if (unsupported->len > 0)
		return (struct refusal){ 420, "unsupported-extension", buf_span(unsupported) };
	if (span_is_empty(invite->contact.uri))
		return refusal(400, "no-contact");
	if (!call_is_body_whole(invite))
		return refusal(400, "bad-body");
	if (!span_is_empty(invite->body) && !call_has_sdp(invite))
		return (struct refusal){ 415, "unsupported-body", SPAN_LIT("Accept: application/sdp, multipart/mixed\r\n") };
	return accepted;
}

static void route_step(void *arg, const struct route_conf *route, const char *what)
{
	call_step(arg, route->name, "%s", what);
}

static struct refusal choose_route(struct call *call, const struct sip_msg *invite)
{
	const struct route_conf *route;
	char plain_text[GUARD_URI_MAX], text[GUARD_URI_MAX];
	struct buf plain = buf_of(plain_text, sizeof(plain_text)), user = buf_of(text, sizeof(text));

	sip_uri_put_user(&invite->request_uri, &plain);
	route = router_select(call->b2bua->router, call->leg[MEDIA_A].realm, buf_span(&plain), route_step, call);
	if (route == NULL) {
		call_step(call, "", "no route from realm %s matches", call->leg[MEDIA_A].realm->name);
		return refusal(404, "no-route");
	}
	call->route = route;
	if (route->to == NULL) {
		call_step(call, route->name, "refuses with %u", route->code);
		return refusal((int)route->code, "denied");
	}
	route_user(route, buf_span(&plain), &user);
	call->user = arena_dup(call->arena, buf_span(&user));
	call->leg[MEDIA_B].peer = route->to;
	call->leg[MEDIA_B].realm = route->to->realm;
	call_step(call, route->name, "takes peer %s in realm %s", route->to->name, route->to->realm->name);
	return user.is_full ? refusal(414, "uri-too-long") : accepted;
}

/* Where media has to get into the kernel, a call for which there is no way is not begun: those that are up keep theirs. */
static struct refusal check_kernel(struct call *call)
{
	const char *why = admission_refusal(call->config, call->b2bua->deps.pinholes, call->leg[MEDIA_A].realm->index,
					    call->leg[MEDIA_B].realm->index);

	if (why == NULL)
		return accepted;
	metric_add(&no_pinholes, 1);
	call_step(call, "media.paths", "without relay, and media cannot get into the kernel: %s", why);
	return overload("no-pinholes");
}

static void note_request(struct call *call, const struct sip_msg *invite)
{
	const struct sip_header *agent = sip_msg_header(invite, SIP_H_USER_AGENT);

	call->leg[MEDIA_A].request_uri = arena_dup(call->arena, invite->request_uri_text);
	call->from_uri = arena_dup(call->arena, invite->from.uri);
	call->to_uri = arena_dup(call->arena, invite->to.uri);
	call->max_forwards = invite->max_forwards < 0 ? 70 : (unsigned)invite->max_forwards - 1;
	if (agent != NULL)
		call->leg[MEDIA_A].user_agent = arena_dup(call->arena, agent->value);
}

/* The lines that every attempt carries: what topology.c lets through, and the caller's identity at our address. */
static bool keep_headers(struct call *call, const struct sip_msg *invite)
{
	SCRATCH char lines[CALL_HEADERS_MAX];
	struct buf out = buf_of(lines, sizeof(lines));

	topology_headers(invite, call->leg[MEDIA_A].realm, call->leg[MEDIA_B].realm, &out);
	if (sip_msg_header(invite, SIP_H_ALLOW) == NULL)
		buf_puts(&out, "Allow: " TOPOLOGY_ALLOW "\r\n");
	call->invite_headers = arena_dup(call->arena, buf_span(&out));
	return !out.is_full && call->invite_headers.ptr != NULL;
}

/* The side of the gateway that the first target sees. It fixes the address family of the outgoing media, so that every target
 * gets the same description. */
static struct refusal prepare_leg_b(struct call *call, const struct sip_msg *invite)
{
	struct leg *leg = &call->leg[MEDIA_B];
	char text[512];
	struct buf from = buf_of(text, sizeof(text));

	if (transport_flow_to(sip_stack_transport(call->b2bua->stack), leg->realm, SIP_UDP, &leg->peer->targets[0].addr,
			      &leg->dialog.flow) != 0) {
		call_step(call, leg->peer->name, "realm %s has no listener of the target's address family", leg->realm->name);
		return refusal(500, "no-listener");
	}
	topology_from(invite, &leg->dialog.flow.local, &from);
	call->caller = arena_dup(call->arena, buf_span(&from));
	if (from.is_full || !keep_headers(call, invite))
		return refusal(500, "too-large");
	if (media_open(call->b2bua->deps.media, &call->group, call->leg[MEDIA_A].realm, leg->realm,
		       call->leg[MEDIA_A].realm->media_timeout_s * 1000, call_media_event, call, &call->media) != 0)
		return overload("media-limit");
	return accepted;
}

/* Leg A's session description, rewritten for B. */
static struct refusal take_offer(struct call *call, const struct sip_msg *invite)
{
	struct body_out body;
	int status = call_offer(&call->invite, MEDIA_A, invite, &body);
	char *copy;

	if (status == 503)
		return overload("media-ports");
	if (status != 0)
		return refusal(status, "bad-offer");
	if (span_is_empty(body.bytes))
		return accepted;
	copy = malloc(body.bytes.len);
	call->offer_type = arena_dup(call->arena, body.type);
	if (copy == NULL)
		return refusal(500, "out-of-memory");
	memcpy(copy, body.bytes.ptr, body.bytes.len);
	call->offer_body = (struct span){ copy, body.bytes.len };
	return accepted;
}

bool call_has_target(const struct call *call)
{
	return call->route != NULL && call->route->to != NULL && call->next_target < call->route->to->n_targets;
}

static void on_b_invite(void *arg, struct client_txn *txn, enum client_event event, const struct sip_msg *msg);

/* The B leg's dialog for this attempt. */
static int begin_leg(struct call *call, const struct sip_flow *flow, const struct addr *target)
{
	struct leg *leg = &call->leg[MEDIA_B];
	char to_text[512], uri_text[GUARD_URI_MAX], host[ADDR_TEXT_MAX];
	struct buf to = buf_of(to_text, sizeof(to_text)), uri = buf_of(uri_text, sizeof(uri_text));
	struct dialog_parties parties = { .local = call->caller, .is_symmetric = leg->realm->nat == NAT_LATCH };
	int err;

	topology_to(call->user, target, &to);
	buf_puts(&uri, "sip:");
	if (!span_is_empty(call->user)) {
		buf_put(&uri, call->user);
		buf_putc(&uri, '@');
	}
	buf_puts(&uri, target->port == 5060 ? addr_host_text(target, host) : addr_text(target, host));
	if (to.is_full || uri.is_full)
		return ERR_LIMIT;
	parties.remote = buf_span(&to);
	parties.target = leg->request_uri = arena_dup(call->arena, buf_span(&uri));
	b2bua_unindex(call->b2bua, leg);
	err = dialog_init_uac(&leg->dialog, call->arena, flow, &parties);
	return err != 0 ? err : b2bua_index(call->b2bua, leg, call);
}

static int send_invite(struct call *call)
{
	struct leg *leg = &call->leg[MEDIA_B];
	char contact_text[ADDR_TEXT_MAX + 8];
	struct buf contact = buf_of(contact_text, sizeof(contact_text));
	SCRATCH struct dialog_text text;
	struct sip_request out;
	int err = dialog_request(&leg->dialog, SIP_INVITE, 0, &text, &out);

	if (err != 0)
		return err;
	call_contact(leg, &contact);
	out.contact = buf_span(&contact);
	out.max_forwards = call->max_forwards;
	out.headers = call->invite_headers;
	out.content_type = call->offer_type;
	out.body = call->offer_body;
	call->invite.uac_cseq = out.cseq;
	return client_txn_new(call->b2bua->stack, &out, on_b_invite, call, &call->invite.uac);
}

int call_try_next(struct call *call)
{
	const struct peer_conf *peer = call->route->to;
	char text[ADDR_TEXT_MAX];

	while (call->next_target < peer->n_targets) {
		const struct addr *target = &peer->targets[call->next_target++].addr;
		struct sip_flow flow;
		int err = target->family == peer->targets[0].addr.family ?
			  transport_flow_to(sip_stack_transport(call->b2bua->stack), peer->realm, SIP_UDP, target, &flow) :
			  ERR_UNSUPPORTED;

		if (err == 0)
			err = begin_leg(call, &flow, target);
		if (err == 0)
			err = send_invite(call);
		if (err == 0) {
			call_step(call, peer->name, "INVITE to %s", addr_text(target, text));
			return 0;
		}
		call_step(call, peer->name, "cannot send to %s: %s", addr_text(target, text), err_str(err));
	}
	return 503;
}

/* ---- the INVITE of leg B -------------------------------------------------------------------------------------------------- */

static void on_success(struct call *call, const struct sip_msg *response)
{
	const struct leg *leg = &call->leg[MEDIA_B];

	if (!leg->is_confirmed) {
		call_event(call, &(struct call_event){ .type = CALL_ANSWER, .side = MEDIA_B, .msg = response });
	} else if (span_eq(leg->dialog.remote_tag, response->to.tag)) {
		exchange_ack_far(&call->invite);
	} else {
		call_step(call, "", "a second branch of the callee answered too and was released");
		b2bua_release(call->b2bua, response);
	}
}

/* RFC 3261 16.7, 21.5.4: another target may do better after 503, silence or an unreachable host. */
static void on_failure(struct call *call, int status, const struct sip_msg *response)
{
	bool may_retry = (status == 503 || response == NULL) && call_has_target(call) && call->state == CALL_TRYING;

	if (call->state == CALL_TRYING || call->state == CALL_RINGING)
		b2bua_peer_failed(call->b2bua, call);
	call_event(call, &(struct call_event){ .type = may_retry ? CALL_RETRY : CALL_REJECT, .side = MEDIA_B,
					       .status = status, .msg = response });
}

static void on_b_invite(void *arg, struct client_txn *txn, enum client_event event, const struct sip_msg *msg)
{
	struct call *call = arg;

	if (txn != call->invite.uac) /* of an earlier target */
		return;
	switch (event) {
	case CLIENT_RESPONSE:
		if (msg->status < 200)
			call_event(call, &(struct call_event){ .type = CALL_PROGRESS, .side = MEDIA_B, .msg = msg });
		else if (msg->status < 300)
			on_success(call, msg);
		else
			on_failure(call, msg->status, msg);
		break;
	case CLIENT_TIMEOUT:
		on_failure(call, 408, NULL);
		break;
	case CLIENT_TRANSPORT_ERROR:
		on_failure(call, 503, NULL);
		break;
	case CLIENT_ENDED:
		call->invite.uac = NULL;
		call_event(call, &(struct call_event){ .type = CALL_CHECK });
		break;
	}
}

/* ---- the INVITE of leg A -------------------------------------------------------------------------------------------------- */

static struct refusal set_up(struct call *call, const struct sip_msg *invite, struct buf *unsupported)
{
	struct refusal r = check_limits(call);
	int status;

	if (r.status == 0)
		r = check_request(call, invite, unsupported);
	if (r.status == 0)
		r = choose_route(call, invite);
	if (r.status == 0)
		r = check_kernel(call);
	if (r.status == 0)
		r = prepare_leg_b(call, invite);
	if (r.status == 0)
		r = take_offer(call, invite);
	if (r.status != 0)
		return r;
	CRASH_POINT("ports-taken");
	status = call_try_next(call);
	CRASH_POINT("invite-sent");
	return status == 0 ? accepted : refusal(topology_status(status), "no-target");
}

static void count_in(struct call *call)
{
	struct b2bua_stats *stats = &call->b2bua->stats;

	call->is_counted = true;
	stats->calls_total++;
	stats->calls_active++;
	stats->realm_active[call->leg[MEDIA_A].realm->index]++;
	bus_publish(call->b2bua->deps.bus, &(struct bus_event){ .type = BUS_CALL_STARTED, .id = span_of(call->group.id),
								 .realm = call->leg[MEDIA_A].realm->index });
}

void call_incoming(struct b2bua *b2bua, struct server_txn *txn, const struct sip_msg *invite)
{
	struct call *call = b2bua_call_new(b2bua, SPAN_NONE);
	char text[512];
	struct buf unsupported = buf_of(text, sizeof(text));
	struct refusal r;
	struct leg *a;

	if (call == NULL) {
		server_txn_reply(txn, &(struct sip_reply){ .status = 503, .headers = SPAN_LIT("Retry-After: 5\r\n") });
		return;
	}
	CRASH_POINT("invite-received");
	a = &call->leg[MEDIA_A];
	a->realm = &call->config->realms[invite->flow.realm];
	a->peer = config_peer_of(call->config, a->realm, &invite->flow.remote);
	call->invite.uas = txn;
	call->invite.uas_cseq = invite->cseq;
	server_txn_bind(txn, call_server_event, call);
	note_request(call, invite);
	if (dialog_init_uas(&a->dialog, call->arena, invite, a->realm->nat == NAT_LATCH) != 0 ||
	    b2bua_index(b2bua, a, call) != 0 || server_txn_set_tag(txn, span_of(a->dialog.local_tag)) != 0)
		r = overload("dialog-limit");
	else
		r = set_up(call, invite, &unsupported);
	count_in(call);
	if (r.status == 0) {
		b2bua->stats.peer_calls[call->leg[MEDIA_B].peer->index]++;
		loop_timer_start(&call->timer, call->config->sip.ring_timeout_ms);
		return;
	}
	call_refuse(call, r.status, r.cause, r.headers);
}
