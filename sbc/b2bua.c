/* Dispatch: which call, which leg, or a new call. Owns the tables of calls and dialogs, the history of ended calls and the message
 * ladder. RFC 3261 8.2 (requests outside a dialog), 12.2.2 (inside). */
#include "sbc/b2bua.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/buf.h"
#include "core/crash.h"
#include "core/err.h"
#include "core/limit.h"
#include "core/log.h"
#include "sbc/call.h"
#include "sbc/call_live.h"
#include "sbc/route.h"
#include "sbc/topology.h"
#include "sbc/trace.h"

enum {
	HISTORY_MAX = 1000,       /* ended calls that the API still shows */
	CALLS_PAGE_MAX = 1000,
	RELEASE_BYTES = 8192,     /* for one dialog, while it is being ended */
	RELEASES_PER_S = 100,     /* each makes a BYE and its copies: copies of one 2xx must not make a flood of them */
	REFUSAL_RECORDS_PER_S = 20, /* a flood of calls that are refused must not fill the database */
	REFUSAL_RECORDS_BURST = 100,
};

/* ---- tables ---------------------------------------------------------------------------------------------------------------- */

static bool is_local_tag(const struct hash_node *node, const void *key)
{
	return span_eq(span_of(HASH_ENTRY(node, struct dialog, node)->local_tag), *(const struct span *)key);
}

static bool is_call_id(const struct hash_node *node, const void *key)
{
	return span_eq(span_of(HASH_ENTRY(node, struct call, by_id)->group.id), *(const struct span *)key);
}

int b2bua_index(struct b2bua *b, struct leg *leg, struct call *call)
{
	struct span tag = span_of(leg->dialog.local_tag);
	uint64_t hash = hash_bytes(tag);
	int err = hash_table_find(b->dialogs, hash, is_local_tag, &tag) == NULL ?
		  hash_table_add(b->dialogs, &leg->dialog.node, hash) : ERR_EXISTS;

	leg->dialog.owner = call;
	leg->is_indexed = err == 0;
	return err;
}

void b2bua_unindex(struct b2bua *b, struct leg *leg)
{
	if (leg->is_indexed)
		hash_table_remove(b->dialogs, &leg->dialog.node);
	leg->is_indexed = false;
}

static struct call *find_call(struct b2bua *b, struct span id)
{
	struct hash_node *node = hash_table_find(b->calls, hash_bytes(id), is_call_id, &id);

	return node != NULL ? HASH_ENTRY(node, struct call, by_id) : NULL;
}

struct call *b2bua_call_new(struct b2bua *b, struct span id)
{
	struct call *call = calloc(1, sizeof(*call));

	if (call == NULL)
		return NULL;
	call->arena = arena_new(CALL_ARENA_BYTES);
	call->b2bua = b;
	call->started_ms = loop_wall_ms(b->deps.loop);
	call->started_mono_ms = loop_now_ms(b->deps.loop);
	group_init(&call->group, 0, call->started_ms);
	if (!span_is_empty(id) && id.len < sizeof(call->group.id)) {
		memcpy(call->group.id, id.ptr, id.len);
		call->group.id[id.len] = '\0';
	}
	if (call->arena == NULL || hash_table_add(b->calls, &call->by_id, hash_bytes(span_of(call->group.id))) != 0) {
		arena_free(call->arena);
		free(call);
		return NULL;
	}
	call->config = config_ref(b->config);
	call->revision = b->config->revision;
	call->steps_end = &call->steps;
	call->invite.call = call;
	call->invite.method = SIP_INVITE;
	list_init(&call->exchanges);
	for (int side = MEDIA_A; side <= MEDIA_B; side++)
		call->leg[side].sdp_id = call->leg[side].sdp_version = (uint64_t)call->started_ms;
	loop_timer_init(&call->timer, b->deps.loop, call_timer, call);
	call_live_init(call);
	list_append(&b->live, &call->node);
	b->n_live++;
	return call;
}

void b2bua_call_free(struct call *call)
{
	struct b2bua *b = call->b2bua;

	loop_timer_stop(&call->timer);
	loop_timer_stop(&call->save);
	exchange_abort_all(call);
	exchange_clear(&call->invite);
	if (call->bye_txn != NULL)
		server_txn_bind(call->bye_txn, NULL, NULL);
	group_close(&call->group);
	for (int side = MEDIA_A; side <= MEDIA_B; side++) {
		struct leg *leg = &call->leg[side];

		b2bua_unindex(b, leg);
		if (leg->bye != NULL)
			client_txn_unbind(leg->bye);
		free((char *)leg->sdp_received.ptr);
		free((char *)leg->sdp_sent.ptr);
	}
	free((char *)call->offer_body.ptr);
	hash_table_remove(b->calls, &call->by_id);
	list_remove(&call->node);
	config_unref(call->config);
	arena_free(call->arena);
	free(call);
}

void b2bua_call_discard(struct call *call)
{
	call->b2bua->n_live--;
	b2bua_call_free(call);
}

void b2bua_retire(struct b2bua *b, struct call *call)
{
	b2bua_unindex(b, &call->leg[MEDIA_A]);
	b2bua_unindex(b, &call->leg[MEDIA_B]);
	free((char *)call->offer_body.ptr);
	call->offer_body = SPAN_NONE;
	list_remove(&call->node);
	b->n_live--;
	list_append(&b->history, &call->node);
	if (b->n_history < HISTORY_MAX)
		b->n_history++;
	else
		b2bua_call_free(LIST_ENTRY(b->history.next, struct call, node));
	if (b->n_live == 0 && b->drained != NULL) {
		void (*drained)(void *arg) = b->drained;

		b->drained = NULL; /* said once */
		drained(b->drained_arg);
	}
}

/* ---- messages ---------------------------------------------------------------------------------------------------------------- */

/* Tags can be overheard. In a realm that is not trusted they are good only from the addresses of the dialog and of configured peers. */
static bool is_from_far_end(const struct b2bua *b, const struct dialog *dialog, const struct sip_flow *flow)
{
	const struct realm_conf *realm = &b->config->realms[flow->realm];
	char source[ADDR_TEXT_MAX];

	if (realm->trust == TRUST_TRUSTED || dialog_knows(dialog, &flow->remote) || config_peer_of(b->config, realm, &flow->remote) != NULL)
		return true;
	LOG_GATED(5, LOG_INFO, "call", "request in a dialog from a foreign address", LF_TEXT("source", addr_text(&flow->remote, source)));
	return false;
}

/* The dialog of a message whose To tag is ours; NULL when it is none of ours or somebody else's guess. */
static struct dialog *find_dialog(struct b2bua *b, const struct sip_msg *request)
{
	struct hash_node *node = hash_table_find(b->dialogs, hash_bytes(request->to.tag), is_local_tag, &request->to.tag);
	struct dialog *dialog = node != NULL ? HASH_ENTRY(node, struct dialog, node) : NULL;

	return dialog != NULL && dialog_owns(dialog, request) && is_from_far_end(b, dialog, &request->flow) ? dialog : NULL;
}

/* With a callee that has not answered at all there is no dialog yet, though it may know our tag. */
static bool has_begun(const struct leg *leg)
{
	return leg->is_confirmed || !span_is_empty(leg->dialog.remote_tag);
}

static enum media_side side_of(const struct call *call, const struct dialog *dialog)
{
	return dialog == &call->leg[MEDIA_A].dialog ? MEDIA_A : MEDIA_B;
}

static void in_dialog(struct b2bua *b, struct server_txn *txn, const struct sip_msg *request)
{
	struct dialog *dialog = find_dialog(b, request);
	struct call *call = dialog != NULL ? dialog->owner : NULL;
	enum media_side side;

	side = call != NULL ? side_of(call, dialog) : MEDIA_A;
	if (call == NULL || (side == MEDIA_B && !has_begun(&call->leg[MEDIA_B]))) {
		server_txn_reply_simple(txn, 481);
		return;
	}
	if (dialog_accept_cseq(dialog, request) != 0) {
		server_txn_reply_simple(txn, 500);
	} else if (request->method == SIP_BYE) {
		CRASH_POINT("bye-received");
		if (side == MEDIA_B && !call->leg[MEDIA_B].is_confirmed) /* RFC 3261 15: the callee may not */
			server_txn_reply_simple(txn, 481);
		else
			call_event(call, &(struct call_event){ .type = CALL_BYE, .side = side, .msg = request, .txn = txn });
	} else if (call->state == CALL_ENDING || call->state == CALL_CANCELLING) {
		server_txn_reply_simple(txn, 481);
	} else {
		exchange_request(call, side, txn, request);
	}
}

static void reply_options(struct server_txn *txn, const struct sip_msg *request)
{
	char text[512];
	struct buf unsupported = buf_of(text, sizeof(text));

	topology_unsupported(request, &unsupported);
	if (unsupported.len > 0) {
		server_txn_reply(txn, &(struct sip_reply){ .status = 420, .headers = buf_span(&unsupported) });
		return;
	}
	server_txn_reply(txn, &(struct sip_reply){ .status = 200,
						    .headers = SPAN_LIT("Allow: " TOPOLOGY_ALLOW "\r\n"
									"Accept: application/sdp, multipart/mixed\r\n") });
}

static void on_request(void *arg, struct server_txn *txn, const struct sip_msg *request)
{
	struct b2bua *b = arg;

	if (!span_is_empty(request->to.tag)) {
		in_dialog(b, txn, request);
		return;
	}
	switch (request->method) {
	case SIP_INVITE:
		call_resume_repeated(b, request);
		call_incoming(b, txn, request);
		break;
	case SIP_OPTIONS:
		reply_options(txn, request);
		break;
	case SIP_BYE:
	case SIP_UPDATE:
	case SIP_INFO:
	case SIP_PRACK: /* only inside dialogs */
		server_txn_reply_simple(txn, 481);
		break;
	default:
		server_txn_reply(txn, &(struct sip_reply){ .status = request->method == SIP_UNKNOWN ? 501 : 405,
							    .headers = SPAN_LIT("Allow: " TOPOLOGY_ALLOW "\r\n") });
		break;
	}
}

static void on_ack(void *arg, const struct sip_msg *ack)
{
	struct b2bua *b = arg;
	struct dialog *dialog = find_dialog(b, ack);
	struct call *call = dialog != NULL ? dialog->owner : NULL;
	enum media_side side;

	if (call == NULL)
		return;
	side = side_of(call, dialog);
	if (side == MEDIA_A && exchange_ack(&call->invite, ack)) {
		call_event(call, &(struct call_event){ .type = CALL_ACK, .side = MEDIA_A, .msg = ack });
		return;
	}
	LIST_EACH(&call->exchanges, node) {
		struct exchange *x = LIST_ENTRY(node, struct exchange, node);

		if (x->near == side && exchange_ack(x, ack))
			return;
	}
}

void b2bua_release(struct b2bua *b, const struct sip_msg *response)
{
	struct arena *arena = arena_new(RELEASE_BYTES);
	struct dialog dialog;
	SCRATCH struct dialog_text text;
	struct sip_request request;
	struct client_txn *txn;

	if (!limit_take(&b->releases, loop_now_ms(b->deps.loop)) || arena == NULL || dialog_init_unwanted(&dialog, arena, response) != 0)
		goto out;
	if (dialog_request(&dialog, SIP_ACK, response->cseq, &text, &request) == 0)
		sip_stack_ack(b->stack, &request);
	if (dialog_request(&dialog, SIP_BYE, 0, &text, &request) == 0)
		client_txn_new(b->stack, &request, NULL, NULL, &txn);
out:
	arena_free(arena);
}

/* Shortly after a start, an answer may be to an INVITE that the process before this one has sent. */
static bool may_be_answer(const struct b2bua *b)
{
	return b->resumed_ms != 0 && loop_now_ms(b->deps.loop) < b->resumed_ms + b->config->sip.ring_timeout_ms;
}

/* A 2xx whose transaction is gone. The call that is still there repeats its ACK. One that is nobody's, because its call ended,
 * went on to another target or took another branch, is released; only peers get initial INVITEs, so nobody else can make us
 * send. */
static void on_stray_2xx(void *arg, const struct sip_msg *response, bool is_answer)
{
	struct b2bua *b = arg;
	struct hash_node *node = hash_table_find(b->dialogs, hash_bytes(response->from.tag), is_local_tag, &response->from.tag);
	struct dialog *dialog = node != NULL ? HASH_ENTRY(node, struct dialog, node) : NULL;
	struct call *call = dialog != NULL ? dialog->owner : NULL;
	bool is_known = call != NULL && (is_answer || dialog_knows(dialog, &response->flow.remote));
	bool is_dialogs = call != NULL && span_eq(dialog->call_id, response->call_id) &&
			  span_eq(dialog->remote_tag, response->to.tag);

	if (is_dialogs && is_known && side_of(call, dialog) == MEDIA_B && response->cseq == call->invite.uac_cseq)
		exchange_ack_far(&call->invite);
	else if (!is_dialogs && (is_answer || may_be_answer(b)) &&
		 config_peer_of(b->config, &b->config->realms[response->flow.realm], &response->flow.remote) != NULL)
		b2bua_release(b, response);
}

static void on_trace(void *arg, bool is_out, const struct sip_flow *flow, struct span call_id, struct span bytes)
{
	struct b2bua *b = arg;

	trace_add(b->trace, loop_wall_ms(b->deps.loop), is_out, flow, call_id, bytes);
}

/* ---- life ------------------------------------------------------------------------------------------------------------------- */

static int make_tables(struct b2bua *b)
{
	uint64_t now = loop_now_ms(b->deps.loop);

	/* Room for calls that are ending while new ones come. */
	b->calls = hash_table_new((size_t)b->config->limits.max_calls * 2 + HISTORY_MAX);
	b->dialogs = hash_table_new((size_t)b->config->limits.max_calls * 4);
	b->trace = trace_new(b->config->limits.trace_bytes);
	b->realm_cps = calloc(b->config->n_realms + 1, sizeof(*b->realm_cps));
	if (b->calls == NULL || b->dialogs == NULL || b->trace == NULL || b->realm_cps == NULL)
		return -ENOMEM;
	limit_init(&b->releases, RELEASES_PER_S, RELEASES_PER_S, now);
	limit_init(&b->refusal_records, REFUSAL_RECORDS_PER_S, REFUSAL_RECORDS_BURST, now);
	for (unsigned i = 0; i < b->config->n_realms; i++)
		limit_init(&b->realm_cps[i], b->config->realms[i].cps, b->config->realms[i].cps, now);
	return 0;
}

int b2bua_new(const struct b2bua_deps *deps, char *error_text, size_t error_size, struct b2bua **ret)
{
	struct b2bua *b = calloc(1, sizeof(*b));
	struct sip_user user = { b, on_request, on_ack, on_stray_2xx, on_trace };
	int err;

	if (b == NULL)
		return -ENOMEM;
	call_record_init();
	call_setup_init();
	b->deps = *deps;
	b->config = config_ref(deps->config);
	list_init(&b->live);
	list_init(&b->history);
	b->stats.calls_max = b->config->limits.max_calls;
	err = make_tables(b);
	if (err == 0)
		err = router_new(b->config, &b->router);
	if (err != 0)
		snprintf(error_text, error_size, "calls and routes: %s", err_str(err));
	else
		err = sip_stack_new(deps->loop, b->config, &user, error_text, error_size, &b->stack);
	if (err == 0)
		*ret = b;
	else
		b2bua_free(b);
	return err;
}

/* That peer in another configuration, most likely where it was; or NULL. */
static const struct peer_conf *peer_in(const struct config *config, const struct peer_conf *peer)
{
	if (peer->index < config->n_peers && strcmp(config->peers[peer->index].name, peer->name) == 0)
		return &config->peers[peer->index];
	return config_peer(config, span_of(peer->name));
}

/* Counters of peers are by position; a peer that is gone loses its own. */
static void keep_peer_counts(struct b2bua *b, const struct config *next)
{
	SCRATCH uint64_t calls[CONFIG_PEERS_MAX], failures[CONFIG_PEERS_MAX];

	memcpy(calls, b->stats.peer_calls, sizeof(calls));
	memcpy(failures, b->stats.peer_failures, sizeof(failures));
	for (unsigned i = 0; i < CONFIG_PEERS_MAX; i++) {
		const struct peer_conf *old = i < next->n_peers ? peer_in(b->config, &next->peers[i]) : NULL;

		b->stats.peer_calls[i] = old != NULL ? calls[old->index] : 0;
		b->stats.peer_failures[i] = old != NULL ? failures[old->index] : 0;
	}
}

/* Of a peer that is not configured any more the name stays. */
static const struct peer_conf *follow_peer(struct call *call, const struct peer_conf *peer, const struct config *next)
{
	const struct peer_conf *now = peer_in(next, peer);
	struct peer_conf *kept;

	if (now != NULL || peer_in(call->config, peer) != peer) /* else it is the call's own already */
		return now != NULL ? now : peer;
	kept = arena_alloc(call->arena, sizeof(*kept));
	if (kept != NULL)
		*kept = (struct peer_conf){ .index = CONFIG_PEERS_MAX, .name = arena_strdup(call->arena, span_of(peer->name)) };
	return kept != NULL && kept->name != NULL ? kept : NULL;
}

/* Calls that have ended are shown for long; they must not keep every configuration that ever was. */
static void follow_history(struct b2bua *b, const struct config *next)
{
	LIST_EACH(&b->history, node) {
		struct call *call = LIST_ENTRY(node, struct call, node);
		const struct config *old = call->config;

		for (int side = MEDIA_A; side <= MEDIA_B; side++) {
			struct leg *leg = &call->leg[side];

			if (leg->realm != NULL)
				leg->realm = &next->realms[leg->realm->index];
			if (leg->peer != NULL)
				leg->peer = follow_peer(call, leg->peer, next);
		}
		call->route = NULL;
		call->config = config_ref(next);
		config_unref(old);
	}
}

void b2bua_peer_failed(struct b2bua *b, const struct call *call)
{
	const struct peer_conf *peer = call->leg[MEDIA_B].peer;

	if (call->config != b->config)
		peer = peer_in(b->config, peer);
	if (peer != NULL)
		b->stats.peer_failures[peer->index]++;
}

void b2bua_reload(struct b2bua *b, const struct config *config, struct router *router_take)
{
	const struct config *old = b->config;
	uint64_t now = loop_now_ms(b->deps.loop);

	keep_peer_counts(b, config);
	follow_history(b, config);
	for (unsigned i = 0; i < config->n_realms; i++)
		if (config->realms[i].cps != old->realms[i].cps)
			limit_init(&b->realm_cps[i], config->realms[i].cps, config->realms[i].cps, now);
	router_free(b->router);
	b->router = router_take;
	b->config = config_ref(config);
	b->stats.calls_max = config->limits.max_calls;
	sip_stack_reload(b->stack, config);
	config_unref(old);
}

void b2bua_free(struct b2bua *b)
{
	if (b == NULL)
		return;
	b->drained = NULL;
	LIST_EACH(&b->live, node)
		b2bua_call_free(LIST_ENTRY(node, struct call, node));
	LIST_EACH(&b->history, node)
		b2bua_call_free(LIST_ENTRY(node, struct call, node));
	sip_stack_free(b->stack);
	router_free(b->router);
	trace_free(b->trace);
	hash_table_free(b->calls);
	hash_table_free(b->dialogs);
	free(b->realm_cps);
	config_unref(b->config);
	free(b);
}

void b2bua_drain(struct b2bua *b, void (*done)(void *arg), void *arg)
{
	b->stats.is_draining = true;
	LIST_EACH(&b->live, node)
		call_event(LIST_ENTRY(node, struct call, node), &(struct call_event){ .type = CALL_HANGUP });
	if (b->n_live == 0) {
		done(arg);
		return;
	}
	b->drained = done;
	b->drained_arg = arg;
}

static bool is_answered(const struct call *call)
{
	return call->state == CALL_CONNECTING || call->state == CALL_UP;
}

void b2bua_leave(struct b2bua *b)
{
	b->stats.is_draining = true;
	LIST_EACH(&b->live, node)
		if (!is_answered(LIST_ENTRY(node, struct call, node)))
			call_event(LIST_ENTRY(node, struct call, node), &(struct call_event){ .type = CALL_HANGUP });
}

void b2bua_save(struct b2bua *b)
{
	LIST_EACH(&b->live, node)
		if (is_answered(LIST_ENTRY(node, struct call, node)))
			call_save_live(LIST_ENTRY(node, struct call, node));
}

/* ---- the API's view ---------------------------------------------------------------------------------------------------------- */

static bool contains(struct span text, struct span part)
{
	return part.len <= text.len && memmem(text.ptr, text.len, part.ptr, part.len) != NULL;
}

static bool is_wanted(const struct call *call, const struct call_filter *filter)
{
	const struct leg *a = &call->leg[MEDIA_A], *b = &call->leg[MEDIA_B];

	if (!span_is_empty(filter->state) && !span_eq(filter->state, span_of(call_state_text(call->state))))
		return false;
	if (!span_is_empty(filter->realm) && !span_eq(filter->realm, span_of(a->realm->name)) &&
	    (b->realm == NULL || !span_eq(filter->realm, span_of(b->realm->name))))
		return false;
	if (!span_is_empty(filter->peer) && (a->peer == NULL || !span_eq(filter->peer, span_of(a->peer->name))) &&
	    (b->peer == NULL || !span_eq(filter->peer, span_of(b->peer->name))))
		return false;
	return span_is_empty(filter->q) || contains(call->from_uri, filter->q) || contains(call->to_uri, filter->q) ||
	       contains(a->dialog.call_id, filter->q);
}

static bool is_before(const char *id, struct span after)
{
	size_t len = strlen(id) < after.len ? strlen(id) : after.len;

	return memcmp(id, after.ptr, len) < 0;
}

unsigned b2bua_calls(struct b2bua *b, const struct call_filter *filter, struct arena *arena, struct call_summary **ret,
		     bool *ret_more)
{
	bool is_history = span_eq(filter->state, SPAN_LIT("ended"));
	struct list *list = is_history ? &b->history : &b->live;
	unsigned limit = filter->limit > 0 && filter->limit <= CALLS_PAGE_MAX ? filter->limit : CALLS_PAGE_MAX;
	struct call *after = span_is_empty(filter->after) ? NULL : find_call(b, filter->after);
	unsigned n = 0;

	*ret_more = false;
	*ret = arena_alloc(arena, sizeof(**ret) * limit);
	if (*ret == NULL)
		return 0;
	/* Ids sort by time, so a page continues below the last id even when that call has gone. */
	for (struct list *node = after != NULL && (after->state == CALL_DONE) == is_history ? after->node.prev : list->prev;
	     node != list; node = node->prev) {
		struct call *call = LIST_ENTRY(node, struct call, node);

		if (!is_wanted(call, filter) ||
		    (!span_is_empty(filter->after) && after == NULL && !is_before(call->group.id, filter->after)))
			continue;
		if (n == limit) {
			*ret_more = true;
			break;
		}
		call_summarise(call, arena, &(*ret)[n++]);
	}
	return arena_is_exhausted(arena) ? 0 : n;
}

int b2bua_call(struct b2bua *b, struct span id, struct arena *arena, struct call_view *ret)
{
	struct call *call = find_call(b, id);

	return call != NULL ? call_view_fill(call, arena, ret) : ERR_NOT_FOUND;
}

int b2bua_hangup(struct b2bua *b, struct span id)
{
	struct call *call = find_call(b, id);

	if (call == NULL || call->state == CALL_DONE || call->ended_ms != 0)
		return ERR_NOT_FOUND;
	call_event(call, &(struct call_event){ .type = CALL_HANGUP });
	return 0;
}

void b2bua_stats(const struct b2bua *b, struct b2bua_stats *ret)
{
	*ret = b->stats;
	ret->transactions = sip_stack_transactions(b->stack);
}
