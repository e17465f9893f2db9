/* The front of the transaction layer: takes datagrams through guard and parser to the right machine, refuses what needs
 * no machine, sends, counts. Owns the tables, the transport and the arena of the message at hand. The machines are in
 * server_txn.c and client_txn.c. RFC 3261 8.2.2.2, 9.2, 17, 18; RFC 6026. Control thread. */
#include "sbc/sip_stack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/arena.h"
#include "core/err.h"
#include "core/log.h"
#include "sbc/sip_stack_private.h"
#include "sbc/transport.h"

enum {
	ARENA_BYTES = 256 * 1024,   /* of one message, libosip2's copy included */
	TABLE_MAX = 1 << 22,        /* the tables' own limit; limits.max_transactions is the one that counts */
	REFUSAL_SLOTS = 4096,
	BRANCH_MARK = 8,            /* hexadecimal digits that prove a branch to be ours */
	LOG_BURST = 5,
};

#define TXNS "postern_sip_transactions_total"
#define TXNS_HELP "SIP transactions begun."
#define MSGS "postern_sip_messages_total"
#define MSGS_HELP "SIP messages received from and handed to the transport."
#define REFUSED "postern_sip_refused_total"
#define REFUSED_HELP "Received SIP messages that were refused or dropped, by reason."

struct metric stack_metrics[STACK_METRICS] = {
	[STACK_IN] = { .name = MSGS, .labels = "direction=\"in\"", .help = MSGS_HELP },
	[STACK_OUT] = { .name = MSGS, .labels = "direction=\"out\"", .help = MSGS_HELP },
	[STACK_RESENT] = { .name = "postern_sip_retransmissions_total", .labels = "direction=\"out\"",
			   .help = "SIP messages sent again, and copies received." },
	[STACK_ABSORBED] = { .name = "postern_sip_retransmissions_total", .labels = "direction=\"in\"",
			     .help = "SIP messages sent again, and copies received." },
	[STACK_SERVER] = { .name = TXNS, .labels = "side=\"server\"", .help = TXNS_HELP },
	[STACK_CLIENT] = { .name = TXNS, .labels = "side=\"client\"", .help = TXNS_HELP },
	[STACK_ACTIVE] = { .name = "postern_transactions_active", .help = "SIP transactions that are in memory.",
			   .type = METRIC_GAUGE },
	[STACK_IGNORED] = { .name = REFUSED, .labels = "reason=\"keep-alive\"", .help = REFUSED_HELP },
	[STACK_FULL] = { .name = REFUSED, .labels = "reason=\"table-full\"", .help = REFUSED_HELP },
	[STACK_MERGED] = { .name = REFUSED, .labels = "reason=\"merged\"", .help = REFUSED_HELP },
	[STACK_LIMITED] = { .name = REFUSED, .labels = "reason=\"reply-limit\"", .help = REFUSED_HELP },
	[STACK_STRAY] = { .name = REFUSED, .labels = "reason=\"no-transaction\"", .help = REFUSED_HELP },
	[STACK_FOREIGN] = { .name = REFUSED, .labels = "reason=\"foreign-source\"", .help = REFUSED_HELP },
	[STACK_UNSENDABLE] = { .name = "postern_sip_unsendable_total",
			       .help = "Messages built here that our own guard or the transport refused." },
	[STACK_TIMEOUT] = { .name = "postern_sip_timeouts_total", .help = "Transactions that ended by Timer B, F or H." },
};

/* ---- keys, clocks, kept bytes ---------------------------------------------------------------------------------- */

struct txn_key txn_key_start(uint64_t kind)
{
	return (struct txn_key){ kind, ~kind };
}

void txn_key_add(struct txn_key *key, struct span part)
{
	key->hash = hash_bytes_seeded(part, key->hash);
	key->check = hash_bytes_seeded(part, key->check);
}

void txn_key_add_source(struct txn_key *key, const struct sip_flow *flow)
{
	txn_key_add(key, (struct span){ (const char *)flow->remote.ip, sizeof(flow->remote.ip) });
	txn_key_add(key, (struct span){ (const char *)&flow->realm, sizeof(flow->realm) });
}

static bool match_link(const struct hash_node *node, const void *key)
{
	return HASH_ENTRY(node, const struct txn_link, node)->check == ((const struct txn_key *)key)->check;
}

struct txn_link *txn_link_find(const struct hash_table *table, struct txn_key key)
{
	struct hash_node *node = hash_table_find(table, key.hash, match_link, &key);
	return node ? HASH_ENTRY(node, struct txn_link, node) : NULL;
}

int txn_link_add(struct hash_table *table, struct txn_link *link, struct txn_key key)
{
	int err = hash_table_add(table, &link->node, key.hash);
	link->check = key.check;
	link->is_in = err == 0;
	return err;
}

void txn_link_remove(struct hash_table *table, struct txn_link *link)
{
	if (link->is_in)
		hash_table_remove(table, &link->node);
	link->is_in = false;
}

static void clock_arm(struct txn_clock *clock)
{
	uint64_t now = loop_now_ms(clock->timer.loop);
	uint64_t left = clock->end_ms > now ? clock->end_ms - now : 0;
	bool is_resend = clock->interval_ms > 0 && clock->interval_ms < left;
	loop_timer_start(&clock->timer, is_resend ? clock->interval_ms : left);
}

void txn_clock_start(struct txn_clock *clock, uint32_t interval_ms, uint64_t end_ms)
{
	clock->interval_ms = interval_ms;
	clock->end_ms = loop_now_ms(clock->timer.loop) + end_ms;
	clock_arm(clock);
}

void txn_clock_again(struct txn_clock *clock, uint32_t cap_ms)
{
	clock->interval_ms = clock->interval_ms > cap_ms / 2 ? cap_ms : clock->interval_ms * 2;
	clock_arm(clock);
}

void txn_clock_quiet(struct txn_clock *clock)
{
	clock->interval_ms = 0;
	clock_arm(clock);
}

bool txn_clock_is_over(const struct txn_clock *clock)
{
	return loop_now_ms(clock->timer.loop) >= clock->end_ms;
}

/* Content-Length is the last header that we write: it disappears when a ready line lacks its end, or ends the headers. */
static bool is_framed_as_built(const struct guard_message *scan, const struct buf *built)
{
	bool has_length = false;
	for (unsigned i = 0; i < scan->n_headers; i++)
		has_length |= scan->headers[i].id == SIP_H_CONTENT_LENGTH;
	return has_length && scan->raw.len == built->len;
}

int stack_check(struct sip_stack *stack, const struct buf *built)
{
	struct guard_fault fault = { .reason = "framing" };
	if (built->is_full) {
		stack_count(STACK_UNSENDABLE);
		return ERR_LIMIT;
	}
	if (guard_scan(buf_span(built), &stack->own_scan, &fault) == GUARD_OK && is_framed_as_built(&stack->own_scan, built))
		return 0;
	stack_count(STACK_UNSENDABLE);
	LOG_GATED(LOG_BURST, LOG_ERROR, "sip", "own message fails the guard", LF_TEXT("reason", fault.reason));
	return ERR_PARSE;
}

unsigned stack_kind(const struct guard_message *scan)
{
	return scan->is_request ? sip_kind_of_request(scan->method) : sip_kind_of_response(scan->status);
}

int txn_bytes_keep(struct txn_bytes *bytes, struct sip_stack *stack, const struct buf *built)
{
	int err = stack_check(stack, built);
	if (err < 0)
		return err;
	char *copy = realloc(bytes->ptr, built->len);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, built->data, built->len);
	*bytes = (struct txn_bytes){ copy, (uint16_t)built->len, (uint16_t)(stack->own_scan.call_id.ptr - built->data),
				     (uint16_t)stack->own_scan.call_id.len, (uint8_t)stack_kind(&stack->own_scan) };
	return 0;
}

void txn_bytes_drop(struct txn_bytes *bytes)
{
	free(bytes->ptr);
	*bytes = (struct txn_bytes){ .ptr = NULL };
}

/* ---- sending --------------------------------------------------------------------------------------------------- */

int stack_send(struct sip_stack *stack, const struct sip_flow *flow, struct span bytes, struct span call_id,
	       unsigned kind)
{
	int err = transport_send(stack->transport, flow, bytes);
	if (err < 0) {
		stack_count(STACK_UNSENDABLE);
		return err;
	}
	stack_count(STACK_OUT);
	sip_count_message(flow->realm, SIP_OUT, kind);
	if (stack->user.on_trace)
		stack->user.on_trace(stack->user.arg, true, flow, call_id, bytes);
	return 0;
}

int stack_send_kept(struct sip_stack *stack, const struct sip_flow *flow, const struct txn_bytes *bytes)
{
	if (!bytes->ptr)
		return 0;
	struct span all = { bytes->ptr, bytes->len };
	struct span call_id = span_sub(all, bytes->call_id_at, (size_t)bytes->call_id_at + bytes->call_id_len);
	return stack_send(stack, flow, all, call_id, bytes->kind);
}

struct sip_flow stack_reply_flow(const struct sip_stack *stack, const struct sip_msg *request)
{
	struct sip_flow flow = request->flow;
	/* Behind NAT only the source port can be right; without NAT a peer that does not ask for rport is entitled to an
	 * answer at the port it names. The address is the source's in any case. */
	if (!request->via.has_rport && stack->config->realms[flow.realm].nat == NAT_OFF)
		flow.remote.port = request->via.port ? request->via.port : 5060;
	return flow;
}

bool stack_has_room(const struct sip_stack *stack, bool is_new_dialog)
{
	unsigned limit = stack->config->limits.max_transactions;
	return sip_stack_transactions(stack) < (is_new_dialog ? limit - limit / 8 : limit);
}

uint32_t *stack_held(struct sip_stack *stack, const struct sip_flow *flow)
{
	struct txn_key key = txn_key_start('H');
	txn_key_add_source(&key, flow);
	return &stack->held[key.hash % HELD_SLOTS];
}

/* One source alone must not fill the table: what is left when it gets full is for those who hold little. Configured peers speak for many
 * and may hold what they like. */
static bool is_greedy(struct sip_stack *stack, const struct sip_msg *request)
{
	bool is_new_dialog = span_is_empty(request->to.tag);
	unsigned limit = stack->config->limits.max_transactions;
	unsigned free_for_all = limit - limit / (is_new_dialog ? 4 : 8);
	unsigned share = limit / (is_new_dialog ? 16 : 4);

	return sip_stack_transactions(stack) >= free_for_all && *stack_held(stack, &request->flow) > share &&
	       config_peer_of(stack->config, &stack->config->realms[request->flow.realm], &request->flow.remote) == NULL;
}

void stack_branch(char out[SIP_BRANCH_MAX])
{
	char id[ID_TEXT_MAX];
	id_mint(0, id);
	snprintf(out, SIP_BRANCH_MAX, "z9hG4bK%s%08x", id, (unsigned)hash_bytes(span_of(id)));
}

/* Whether this process made the branch: its last digits are a keyed hash of the others. */
static bool is_own_branch(struct span branch)
{
	char mark[BRANCH_MARK + 1];
	if (!span_starts(branch, SPAN_LIT("z9hG4bK")) || branch.len < 7 + BRANCH_MARK)
		return false;
	struct span id = span_sub(branch, 7, branch.len - BRANCH_MARK);
	snprintf(mark, sizeof(mark), "%08x", (unsigned)hash_bytes(id));
	return span_eq(span_sub(branch, branch.len - BRANCH_MARK, branch.len), span_of(mark));
}

bool sip_stack_has_looped(const struct sip_stack *stack, const struct sip_msg *request)
{
	(void)stack;
	for (unsigned i = 0; i < request->n_headers; i++) {
		struct span list = request->headers[i].value;
		struct span element, branch;
		while (request->headers[i].id == SIP_H_VIA && sip_list_next(&list, &element)) {
			struct span params = span_sub(element, span_find(element, ';') + 1, element.len);
			if (sip_param(params, "branch", &branch) && is_own_branch(branch))
				return true;
		}
	}
	return false;
}

/* Log line for what a peer sent wrong. */
static void log_refused(const struct sip_flow *flow, const char *why, int code)
{
	char source[ADDR_TEXT_MAX];
	LOG_GATED(LOG_BURST, LOG_INFO, "sip", "message refused", LF_TEXT("source", addr_text(&flow->remote, source)),
		  LF_TEXT("reason", why), LF_INT("code", code));
}

static bool may_refuse(struct sip_stack *stack, const struct sip_flow *flow)
{
	struct txn_key key = txn_key_start('L');
	txn_key_add_source(&key, flow);
	if (limit_table_take(stack->refusals, key.hash, loop_now_ms(stack->loop)))
		return true;
	stack_count(STACK_LIMITED);
	return false;
}

/* What the guard or the parser found wrong with a request. */
static void refuse_fault(struct sip_stack *stack, const struct sip_flow *flow, const struct guard_fault *fault)
{
	sip_count_fault(fault->counter);
	log_refused(flow, fault->reason, fault->code);
	if (stack->scan.method == SIP_ACK || !may_refuse(stack, flow))
		return;
	size_t len = guard_refuse(&stack->scan, fault, &flow->remote, stack->out, sizeof(stack->out));
	/* Not traced: neither was what it answers. */
	if (len > 0 && transport_send(stack->transport, flow, (struct span){ stack->out, len }) == 0) {
		stack_count(STACK_OUT);
		sip_count_message(flow->realm, SIP_OUT, sip_kind_of_response(fault->code));
	}
}

/* A reply without a transaction. The tag, when none is given, is the same for every copy of the request. */
static void reply_stateless(struct sip_stack *stack, const struct sip_msg *request, const struct sip_reply *reply)
{
	struct sip_echo *echo = sip_echo_new(request, stack->arena);
	char tag[24];
	struct span to_tag = reply->to_tag;
	struct sip_flow flow = stack_reply_flow(stack, request);
	struct buf out = buf_of(stack->out, sizeof(stack->out));

	if (span_is_empty(to_tag)) {
		uint64_t hash = hash_bytes_seeded(request->via.branch, hash_bytes(request->call_id));
		snprintf(tag, sizeof(tag), "%016llx", (unsigned long long)hash);
		to_tag = span_of(tag);
	}
	if (!echo)
		return;
	sip_build_reply(echo, reply, to_tag, &out);
	if (stack_check(stack, &out) == 0)
		stack_send(stack, &flow, buf_span(&out), request->call_id, sip_kind_of_response(reply->status));
}

/* ---- receiving ------------------------------------------------------------------------------------------------- */

static void receive_ack(struct sip_stack *stack, const struct sip_msg *ack)
{
	struct server_txn *txn = server_txn_find(stack, ack);
	if (txn)
		server_txn_receive(txn, ack);
	else
		stack->user.on_ack(stack->user.arg, ack);
}

/* CANCEL has no machine of its own: the INVITE's remembers all that copies of it need (same answer, same To tag). */
static void receive_cancel(struct sip_stack *stack, const struct sip_msg *cancel)
{
	struct server_txn *txn = server_txn_find_cancelled(stack, cancel);
	if (!txn) {
		stack_count(STACK_STRAY);
		if (may_refuse(stack, &cancel->flow))
			reply_stateless(stack, cancel, &(struct sip_reply){ .status = 481 });
		return;
	}
	reply_stateless(stack, cancel, &(struct sip_reply){ .status = 200, .to_tag = server_txn_to_tag(txn) });
	server_txn_cancel(txn, cancel);
}

static void receive_new(struct sip_stack *stack, const struct sip_msg *request)
{
	static const struct sip_reply full = { .status = 503, .headers = { "Retry-After: 5\r\n", 16 } };

	if (server_txn_is_merged(stack, request)) {
		stack_count(STACK_MERGED);
		reply_stateless(stack, request, &(struct sip_reply){ .status = 482, .reason = SPAN_LIT("Merged Request") });
		return;
	}
	bool has_room = stack_has_room(stack, span_is_empty(request->to.tag)) && !is_greedy(stack, request);
	struct server_txn *txn = has_room ? server_txn_new(stack, request) : NULL;
	if (!txn) {
		stack_count(STACK_FULL);
		log_refused(&request->flow, "no room for a transaction", full.status);
		reply_stateless(stack, request, &full);
		return;
	}
	stack_count(STACK_SERVER);
	stack->user.on_request(stack->user.arg, txn, request);
}

static void receive_request(struct sip_stack *stack, const struct sip_msg *request)
{
	if (request->method == SIP_ACK) {
		receive_ack(stack, request);
	} else if (request->method == SIP_CANCEL) {
		receive_cancel(stack, request);
	} else {
		struct server_txn *txn = server_txn_find(stack, request);
		if (txn)
			server_txn_receive(txn, request);
		else
			receive_new(stack, request);
	}
}

static void receive_response(struct sip_stack *stack, const struct sip_msg *response)
{
	struct client_txn *txn = response->n_vias == 1 ? client_txn_find(stack, response) : NULL;
	const struct sip_flow *sent = txn ? client_txn_flow(txn) : NULL;
	if (sent && (sent->realm != response->flow.realm || !addr_eq_ip(&sent->remote, &response->flow.remote))) {
		stack_count(STACK_FOREIGN);
		log_refused(&response->flow, "response from another address than the request's", response->status);
		return;
	}
	if (txn && client_txn_receive(txn, response))
		return;
	bool is_2xx = response->method == SIP_INVITE && response->status / 100 == 2;
	stack_count(STACK_STRAY);
	/* Without a transaction only our branch shows that there was a request of ours at all. */
	if (is_2xx && response->n_vias == 1)
		stack->user.on_stray_2xx(stack->user.arg, response, is_own_branch(response->via.branch));
}

static void receive_parsed(struct sip_stack *stack, const struct sip_flow *flow)
{
	struct guard_fault fault = { .code = 500, .reason = "out of memory", .counter = "memory" };
	struct sip_msg *msg = NULL;

	if (sip_msg_parse(stack->arena, &stack->scan, flow, &msg, &fault) < 0) {
		if (stack->scan.is_request)
			refuse_fault(stack, flow, &fault);
		else
			sip_count_fault(fault.counter);
		return;
	}
	sip_count_message(flow->realm, SIP_IN, stack_kind(&stack->scan));
	if (stack->user.on_trace)
		stack->user.on_trace(stack->user.arg, false, flow, msg->call_id, msg->raw);
	if (msg->is_request)
		receive_request(stack, msg);
	else
		receive_response(stack, msg);
}

static void receive(void *arg, const struct sip_flow *flow, struct span bytes)
{
	struct sip_stack *stack = arg;
	struct guard_fault fault = { .code = 400, .reason = "", .counter = "" };

	stack_count(STACK_IN);
	switch (guard_scan(bytes, &stack->scan, &fault)) {
	case GUARD_OK:
		receive_parsed(stack, flow);
		arena_reset(stack->arena);
		break;
	case GUARD_REPLY:
		refuse_fault(stack, flow, &fault);
		break;
	case GUARD_IGNORE:
		stack_count(STACK_IGNORED);
		break;
	case GUARD_DROP:
	default:
		sip_count_fault(fault.counter);
		log_refused(flow, fault.reason, 0);
	}
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static struct limit_table *refusal_limits(const struct config *config)
{
	uint32_t rate = config->limits.sip_replies_per_s;
	return limit_table_new(REFUSAL_SLOTS, rate, rate);
}

static int make_parts(struct sip_stack *stack)
{
	stack->arena = arena_new(ARENA_BYTES);
	stack->servers = hash_table_new(TABLE_MAX);
	stack->merges = hash_table_new(TABLE_MAX);
	stack->invites = hash_table_new(TABLE_MAX);
	stack->clients = hash_table_new(TABLE_MAX);
	stack->refusals = refusal_limits(stack->config);
	bool ok = stack->arena && stack->servers && stack->merges && stack->invites && stack->clients && stack->refusals;
	return ok ? sip_msg_init() : -ENOMEM;
}

int sip_stack_new(struct loop *loop, const struct config *config, const struct sip_user *user, char *error_text,
		  size_t error_size, struct sip_stack **ret)
{
	static bool is_registered;
	struct sip_stack *stack = calloc(1, sizeof(*stack));
	int err = -ENOMEM;

	if (!stack)
		goto out;
	stack->loop = loop;
	stack->user = *user;
	stack->config = config_ref(config);
	err = make_parts(stack);
	if (err < 0)
		goto out;
	err = transport_new(loop, config, receive, stack, error_text, error_size, &stack->transport);
	if (err < 0) {
		sip_stack_free(stack);
		return err;
	}
	if (!is_registered)
		metrics_register(stack_metrics, STACK_METRICS);
	is_registered = true;
	sip_count_register(config);
	*ret = stack;
	return 0;
out:
	snprintf(error_text, error_size, "SIP stack: %s", err_str(err));
	sip_stack_free(stack);
	return err;
}

void sip_stack_reload(struct sip_stack *stack, const struct config *config)
{
	const struct config *old = stack->config;

	stack->config = config_ref(config);
	config_unref(old);
}

void sip_stack_free(struct sip_stack *stack)
{
	if (!stack)
		return;
	if (stack->servers)
		server_txn_free_all(stack);
	if (stack->clients)
		client_txn_free_all(stack);
	transport_free(stack->transport);
	hash_table_free(stack->servers);
	hash_table_free(stack->merges);
	hash_table_free(stack->invites);
	hash_table_free(stack->clients);
	limit_table_free(stack->refusals);
	arena_free(stack->arena);
	config_unref(stack->config);
	free(stack);
}

struct transport *sip_stack_transport(struct sip_stack *stack)
{
	return stack->transport;
}

unsigned sip_stack_transactions(const struct sip_stack *stack)
{
	return (unsigned)(hash_table_count(stack->servers) + hash_table_count(stack->clients));
}
