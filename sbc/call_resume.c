/* Calls that were up when the last process ended, from their live rows. A row becomes a call that is up, with the same dialogs, ports
 * and identity; or it is given up: a record with the cause "restart", and BYE to whom it can be sent. Runs once, before the loop, so
 * nothing that arrives meanwhile finds a gateway without its calls. RFC 3261 12.2.1.1 (CSeq only has to rise). */
#include "sbc/call.h"

#include "core/bus.h"
#include "core/err.h"
#include "core/json_text.h"
#include "core/log.h"
#include "sbc/call_live.h"
#include "sbc/call_row.h"
#include "sbc/transport.h"

enum { UUID_LEN = 36, STEPS_BYTES = 8192, PROGRESS_EVERY = 1000, TIMEOUT_T1S = 64 };

struct resume {
	struct b2bua *b2bua;
	struct b2bua_resumed result;
};

/* ---- ids ------------------------------------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_id(struct span id)
{
	if (id.len != UUID_LEN)
		return false;
	for (size_t i = 0; i < id.len; i++) {
		bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (is_dash ? id.ptr[i] != '-' : hex_digit(id.ptr[i]) < 0)
			return false;
	}
	return true;
}

/* A UUIDv7 begins with the time at which it was made. */
static int64_t time_of(struct span id)
{
	int64_t ms = 0;

	for (size_t i = 0; i < 13; i++)
		if (id.ptr[i] != '-')
			ms = ms << 4 | hex_digit(id.ptr[i]);
	return ms;
}

/* ---- dialogs --------------------------------------------------------------------------------------------------------------- */

static int refuse(const char **why, const char *text)
{
	*why = text;
	return ERR_DENIED;
}

static bool may_send_to(const struct b2bua *b, const struct addr *to, const struct addr *at)
{
	enum addr_kind kind = addr_kind(to);

	if (to->port == 0 || to->family != at->family || transport_is_own(sip_stack_transport(b->stack), to))
		return false;
	return kind == ADDR_UNICAST || kind == ADDR_LINK_LOCAL || (kind == ADDR_LOOPBACK && addr_kind(at) == ADDR_LOOPBACK);
}

static int find_flow(const struct b2bua *b, const struct realm_conf *realm, const struct call_row_leg *row, struct sip_flow *ret)
{
	for (unsigned i = 0; i < realm->n_listens; i++) {
		if (!addr_eq(&realm->listens[i].addr, &row->at))
			continue;
		*ret = (struct sip_flow){ .realm = (uint16_t)realm->index, .listener = (uint16_t)i,
					  .proto = realm->listens[i].proto, .local = row->at, .remote = row->to };
		return may_send_to(b, &row->to, &row->at) ? 0 : ERR_DENIED;
	}
	return ERR_NOT_FOUND;
}

/* The texts stay where they are: in the arena. */
static int restore_leg(const struct b2bua *b, const struct call_row_leg *row, struct arena *arena, struct leg *leg, const char **why)
{
	struct dialog *d = &leg->dialog;
	int err;

	leg->realm = config_realm(b->config, row->realm);
	if (leg->realm == NULL)
		return refuse(why, "its realm is gone");
	leg->peer = config_peer(b->config, row->peer);
	err = find_flow(b, leg->realm, row, &d->flow);
	if (err != 0)
		return refuse(why, err == ERR_NOT_FOUND ? "its SIP listener is gone" : "a far end that must not be sent to");
	if (row->local_tag.len >= sizeof(d->local_tag) || row->target.len > sizeof(d->target_text))
		return refuse(why, "a text that no call has");
	d->arena = arena;
	memcpy(d->local_tag, row->local_tag.ptr, row->local_tag.len);
	memcpy(d->target_text, row->target.ptr, row->target.len);
	d->remote_target = (struct span){ d->target_text, row->target.len };
	d->remote_tag = row->remote_tag;
	d->call_id = row->call_id;
	d->local = row->local;
	d->remote = row->remote;
	d->routes = row->routes;
	d->strict_target = row->strict_target;
	d->local_cseq = (uint32_t)row->local_cseq + CALL_CSEQ_GAP;
	d->has_remote_cseq = row->next_cseq > 0;
	d->remote_cseq = d->has_remote_cseq ? (uint32_t)(row->next_cseq - 1) : 0;
	d->is_symmetric = leg->realm->nat == NAT_LATCH;
	d->source = addr_is_set(&row->source) ? row->source : row->to;
	leg->user_agent = row->user_agent;
	leg->request_uri = row->request_uri;
	leg->sdp_id = row->sdp_id;
	leg->sdp_version = row->sdp_version;
	leg->sdp_mark = row->sdp_mark;
	leg->saved_cseq = (uint32_t)row->local_cseq;
	leg->is_confirmed = true;
	return 0;
}

/* ---- those that cannot go on ----------------------------------------------------------------------------------------------- */

static void say_bye(struct b2bua *b, const struct call_row_leg *row, struct arena *arena)
{
	SCRATCH struct dialog_text text;
	struct sip_request bye;
	struct client_txn *txn;
	struct leg leg = { 0 };
	const char *why;

	if (restore_leg(b, row, arena, &leg, &why) != 0 || dialog_request(&leg.dialog, SIP_BYE, 0, &text, &bye) != 0)
		return;
	bye.headers = SPAN_LIT("Reason: Q.850;cause=41;text=\"Restart\"\r\n");
	(void)client_txn_new(b->stack, &bye, NULL, NULL, &txn); /* on its own from here */
}

static void write_step(struct buf *out, int64_t at_ms, struct span rule, struct span text)
{
	json_open(out, '{');
	json_member_int(out, "at_ms", at_ms);
	json_member_text(out, "rule", rule);
	json_member_text(out, "text", text);
	json_close(out, '}');
}

static struct span write_steps(const struct call_row *row, int64_t now_ms, const char *why, struct buf *out)
{
	json_open(out, '[');
	for (unsigned i = 0; i < row->n_steps; i++)
		write_step(out, (int64_t)(row->started_ms + row->steps[i].after_ms), row->steps[i].rule, row->steps[i].text);
	write_step(out, now_ms, SPAN_NONE, SPAN_LIT("a restart could not go on with the call"));
	write_step(out, now_ms, SPAN_NONE, span_of(why));
	json_close(out, ']');
	return out->is_full ? SPAN_LIT("[]") : buf_span(out);
}

static struct cdr_leg leg_record(const struct call_row_leg *row, char text[ADDR_TEXT_MAX])
{
	return (struct cdr_leg){
		.realm = row->realm, .peer = row->peer, .call_id = row->call_id, .local_tag = row->local_tag,
		.remote_tag = row->remote_tag, .request_uri = row->request_uri, .user_agent = row->user_agent,
		.signalling = addr_is_set(&row->to) ? span_of(addr_text(&row->to, text)) : SPAN_NONE,
	};
}

static void on_recorded(void *arg, int result)
{
	(void)arg;
	if (result != 0)
		LOG_GATED(5, LOG_ERROR, "call", "record is not durable", LF_TEXT("error", err_str(result)));
}

/* The record takes the live row with it. row is all zero when it could not be read. */
static void record(struct b2bua *b, struct span id, const struct call_row *row, const char *why)
{
	int64_t now_ms = loop_wall_ms(b->deps.loop);
	SCRATCH char text[STEPS_BYTES];
	char signalling[2][ADDR_TEXT_MAX];
	struct buf steps = buf_of(text, sizeof(text));
	struct cdr cdr = {
		.id = id,
		.node = span_of(b->config->node),
		.config_revision = (uint32_t)row->revision,
		.started_ms = row->started_ms != 0 ? (int64_t)row->started_ms : time_of(id),
		.ringing_ms = (int64_t)row->ringing_ms,
		.answered_ms = (int64_t)row->answered_ms,
		.ended_ms = now_ms,
		.sip_status = (int)row->status,
		.ended_by = CDR_END_GATEWAY,
		.cause = SPAN_LIT("restart"),
		.a = leg_record(&row->leg[MEDIA_A], signalling[0]),
		.b = leg_record(&row->leg[MEDIA_B], signalling[1]),
		.decision_json = write_steps(row, now_ms, why, &steps),
	};

	cdr.a.from_uri = row->from_uri;
	cdr.a.to_uri = row->to_uri;
	cdr.b.from_uri = call_bare_uri(row->leg[MEDIA_B].local);
	cdr.b.to_uri = call_bare_uri(row->leg[MEDIA_B].remote);
	store_cdr(b->deps.store, &cdr, on_recorded, NULL);
}

static void give_up(struct resume *r, struct span id, const struct call_row *row, struct arena *arena, const char *why)
{
	struct b2bua *b = r->b2bua;

	r->result.given_up++;
	r->result.why = why;
	LOG_GATED(20, LOG_WARN, "call", "not resumed after a restart", LF_SPAN("call", id), LF_TEXT("reason", why));
	if (row->started_ms != 0) {
		say_bye(b, &row->leg[MEDIA_A], arena);
		say_bye(b, &row->leg[MEDIA_B], arena);
	}
	record(b, id, row, why);
}

/* ---- those that go on ------------------------------------------------------------------------------------------------------ */

static const char *media_fault(int err)
{
	switch (err) {
	case ERR_NOT_FOUND:
		return "a media address or port is not of its realm (any more)";
	case ERR_EXISTS:
		return "a media port is taken";
	case ERR_DENIED:
		return "a media address that must not be sent to";
	default:
		return "out of sockets or memory";
	}
}

static int restore_media(struct call *call, const struct call_row *row, const char **why)
{
	const struct realm_conf *a = call->leg[MEDIA_A].realm, *b = call->leg[MEDIA_B].realm;
	int err = media_open(call->b2bua->deps.media, &call->group, a, b, a->media_timeout_s * 1000, call_media_event, call,
			     &call->media);

	for (unsigned i = 0; err == 0 && i < row->n_streams; i++) {
		const struct call_row_stream *from = &row->streams[i];
		struct call_stream *stream = &call->streams[i];

		if (from->kind.len >= sizeof(stream->kind) || from->format.len >= sizeof(stream->format))
			return refuse(why, "a stream that is none");
		memcpy(stream->kind, from->kind.ptr, from->kind.len);
		memcpy(stream->format, from->format.ptr, from->format.len);
		stream->was_open = from->was_open;
		if (from->is_open)
			err = media_stream_restore(call->media, i, &from->media);
	}
	if (err != 0)
		return refuse(why, media_fault(err));
	call->n_streams = row->n_streams;
	call->is_held = row->is_held;
	media_hold(call->media, call->is_held);
	media_answered(call->media);
	return 0;
}

static int restore_legs(struct call *call, const struct call_row *row, const char **why)
{
	int err = 0;

	for (int side = MEDIA_A; err == 0 && side <= MEDIA_B; side++) {
		struct leg *leg = &call->leg[side];

		err = restore_leg(call->b2bua, &row->leg[side], call->arena, leg, why);
		if (err == 0 && b2bua_index(call->b2bua, leg, call) != 0)
			err = refuse(why, "another call has its tag, or the dialogs are too many");
	}
	return err;
}

static void restore_steps(struct call *call, const struct call_row *row)
{
	for (unsigned i = 0; i < row->n_steps; i++)
		call_step_at(call, call->started_ms + (int64_t)row->steps[i].after_ms, row->steps[i].rule, row->steps[i].text);
	call_step(call, "", "resumed after a restart");
}

static void start_timers(struct call *call, int64_t now_ms)
{
	int64_t limit_ms = (int64_t)call->config->sip.max_call_s * 1000;
	int64_t left_ms = call->answered_ms + limit_ms - now_ms;

	if (limit_ms == 0)
		return;
	if (left_ms > limit_ms) /* the clock was set back */
		left_ms = limit_ms;
	loop_timer_start(&call->timer, left_ms > 0 ? (uint64_t)left_ms : 1);
}

static void count_in(struct call *call)
{
	struct b2bua *b = call->b2bua;

	call->is_counted = true;
	b->stats.calls_active++;
	b->stats.realm_active[call->leg[MEDIA_A].realm->index]++;
	bus_publish(b->deps.bus, &(struct bus_event){ .type = BUS_CALL_RESUMED, .id = span_of(call->group.id),
						      .realm = call->leg[MEDIA_A].realm->index });
}

static int restore(struct call *call, const struct call_row *row, const char **why)
{
	struct b2bua *b = call->b2bua;
	int64_t now_ms = loop_wall_ms(b->deps.loop);
	int err;

	if (b->stats.calls_active >= b->config->limits.max_calls)
		return refuse(why, "more calls than limits.max_calls");
	err = restore_legs(call, row, why);
	if (err == 0)
		err = restore_media(call, row, why);
	if (err != 0)
		return err;
	call->state = CALL_UP;
	call->revision = (uint32_t)row->revision;
	call->started_ms = (int64_t)row->started_ms;
	call->ringing_ms = (int64_t)row->ringing_ms;
	call->answered_ms = (int64_t)row->answered_ms;
	call->status = (int)row->status;
	call->from_uri = row->from_uri;
	call->to_uri = row->to_uri;
	call->invite.is_answered = call->invite.is_acked_far = true;
	call->invite.offer_phase = OFFER_SETTLED;
	call->invite.uas_cseq = (uint32_t)row->uas_cseq;
	call->invite.uac_cseq = (uint32_t)row->uac_cseq;
	call->is_unproven = now_ms - call->answered_ms < TIMEOUT_T1S * (int64_t)b->config->sip.t1_ms;
	restore_steps(call, row);
	start_timers(call, now_ms);
	count_in(call);
	return 0;
}

/* ---- rows ------------------------------------------------------------------------------------------------------------------ */

static void resume_row(void *arg, struct span id, struct span state)
{
	struct resume *r = arg;
	struct call *call = is_id(id) ? b2bua_call_new(r->b2bua, id) : NULL;
	const char *why = "out of memory, or more calls than the table holds";
	SCRATCH struct call_row row;
	int err;

	memset(&row, 0, sizeof(row));
	if (call == NULL) {
		if (is_id(id))
			give_up(r, id, &row, NULL, why);
		else
			store_live_delete(r->b2bua->deps.store, id);
		return;
	}
	err = call_row_read(state, call->arena, &row, &why);
	if (err == 0)
		err = restore(call, &row, &why);
	if (err == 0) {
		if (++r->result.calls % PROGRESS_EVERY == 0)
			log_info("call", "resuming calls", LF_UINT("calls", r->result.calls));
		return;
	}
	give_up(r, id, &row, call->arena, why);
	b2bua_call_discard(call);
}

void b2bua_resume(struct b2bua *b, struct b2bua_resumed *ret)
{
	struct resume r = { .b2bua = b, .result = { .why = "" } };
	int err = b->deps.store != NULL ? store_live_each(b->deps.store, resume_row, &r) : 0;

	if (err != 0)
		log_error("call", "live calls of before cannot be read", LF_TEXT("error", err_str(err)));
	if (r.result.calls + r.result.given_up > 0)
		log_info("call", "resumed after a restart", LF_UINT("calls", r.result.calls),
			 LF_UINT("given_up", r.result.given_up), LF_TEXT("last_reason", r.result.why));
	b->resumed_ms = loop_now_ms(b->deps.loop);
	*ret = r.result;
}

/* An answer may have died with the last process: then the caller repeats its INVITE, and what became of the first one is of no use to
 * it. The row was there before the answer left, so this cannot be seen from the row. */
void call_resume_repeated(struct b2bua *b, const struct sip_msg *invite)
{
	if (b->resumed_ms == 0 || loop_now_ms(b->deps.loop) - b->resumed_ms >= (uint64_t)TIMEOUT_T1S * b->config->sip.t1_ms)
		return;
	LIST_EACH(&b->live, node) {
		struct call *call = LIST_ENTRY(node, struct call, node);
		struct leg *a = &call->leg[MEDIA_A];

		if (!call->is_unproven || invite->cseq != call->invite.uas_cseq || !dialog_owns(&a->dialog, invite) ||
		    !dialog_knows(&a->dialog, &invite->flow.remote))
			continue;
		a->is_over = true;
		call_event(call, &(struct call_event){ .type = CALL_RESTARTED, .side = MEDIA_A });
		return;
	}
}
