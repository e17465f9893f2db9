/* Server transactions: INVITE (RFC 3261 17.2.1 with RFC 6026) and non-INVITE (17.2.2) as one table, and the 2xx
 * retransmission of the user agent core (13.3.1.4), which shares the Accepted state. Owns the reply bytes and what a
 * reply repeats of its request, each for no longer than needed. Does not choose replies. Control thread. */
#include <stdio.h>
#include <stdlib.h>

#include "core/err.h"
#include "core/log.h"
#include "sbc/sip_stack_private.h"

enum state {
	STAY, /* in the table: no change */
	INVITE_PROCEEDING, INVITE_COMPLETED, INVITE_CONFIRMED, INVITE_ACCEPTED,
	OTHER_TRYING, OTHER_PROCEEDING, OTHER_COMPLETED,
	GONE,
	STATES
};
enum event {
	ON_COPY,  /* the request again */
	ON_ACK,
	SEND_1XX, /* the user replies; the bytes are ready */
	SEND_2XX,
	SEND_FAIL, /* 300 to 699 */
	ON_AGAIN, /* time to retransmit */
	ON_OVER,  /* time of the state is up */
	EVENTS
};

struct server_txn {
	struct sip_stack *stack;
	struct txn_link by_key, by_merge, by_cancel;
	struct txn_clock clock;
	struct sip_flow flow;       /* as the request came */
	uint16_t reply_port;        /* of flow.remote, for replies */
	uint8_t state;
	uint8_t method;
	bool is_acked, is_cancelled;
	struct sip_echo *echo;      /* until the final reply */
	struct txn_bytes reply;     /* the last, while it may have to be sent again */
	server_event_fn *fn;
	void *arg;
	char to_tag[ID_TEXT_MAX];
};

/* ---- keys (17.2.3) --------------------------------------------------------------------------------------------- */

/* Without the magic cookie the branch says nothing: RFC 2543 peers are matched by what makes a request unique. */
static void add_2543(struct txn_key *key, const struct sip_msg *msg)
{
	txn_key_add(key, msg->request_uri_text);
	txn_key_add(key, msg->from.tag);
	txn_key_add(key, msg->call_id);
	txn_key_add(key, (struct span){ (const char *)&msg->cseq, sizeof(msg->cseq) });
}

static struct txn_key request_key(const struct sip_msg *msg)
{
	bool is_3261 = msg->via.has_magic_cookie;
	struct txn_key key = txn_key_start(is_3261 ? 'S' : 's');
	txn_key_add(&key, msg->via.branch);
	txn_key_add(&key, msg->via.sent_by);
	txn_key_add(&key, msg->method == SIP_ACK ? SPAN_LIT("INVITE") : msg->method_name);
	txn_key_add_source(&key, &msg->flow);
	if (!is_3261)
		add_2543(&key, msg);
	return key;
}

/* What INVITE and CANCEL have in common (9.2). sent-by is not in it: NATs and their helpers change it on the way, so
 * Call-ID and CSeq stand in for it. */
static struct txn_key cancel_key(const struct sip_msg *msg)
{
	bool is_3261 = msg->via.has_magic_cookie;
	struct txn_key key = txn_key_start(is_3261 ? 'C' : 'c');
	txn_key_add_source(&key, &msg->flow);
	if (!is_3261) {
		add_2543(&key, msg);
		return key;
	}
	txn_key_add(&key, msg->via.branch);
	txn_key_add(&key, msg->call_id);
	txn_key_add(&key, (struct span){ (const char *)&msg->cseq, sizeof(msg->cseq) });
	return key;
}

static struct txn_key merge_key(const struct sip_msg *msg)
{
	struct txn_key key = txn_key_start('M');
	txn_key_add(&key, msg->from.tag);
	txn_key_add(&key, msg->call_id);
	txn_key_add(&key, (struct span){ (const char *)&msg->cseq, sizeof(msg->cseq) });
	txn_key_add(&key, msg->method_name);
	return key;
}

struct server_txn *server_txn_find(const struct sip_stack *stack, const struct sip_msg *request)
{
	struct txn_link *link = txn_link_find(stack->servers, request_key(request));
	return link ? HASH_ENTRY(link, struct server_txn, by_key) : NULL;
}

struct server_txn *server_txn_find_cancelled(const struct sip_stack *stack, const struct sip_msg *cancel)
{
	struct txn_link *link = txn_link_find(stack->invites, cancel_key(cancel));
	return link ? HASH_ENTRY(link, struct server_txn, by_cancel) : NULL;
}

bool server_txn_is_merged(const struct sip_stack *stack, const struct sip_msg *request)
{
	return span_is_empty(request->to.tag) && txn_link_find(stack->merges, merge_key(request)) != NULL;
}

/* ---- the machine ----------------------------------------------------------------------------------------------- */

static void notify(struct server_txn *txn, enum server_event event, const struct sip_msg *msg)
{
	if (txn->fn)
		txn->fn(txn->arg, txn, event, msg);
}

static void send_reply(struct server_txn *txn)
{
	struct sip_flow flow = txn->flow;
	flow.remote.port = txn->reply_port;
	stack_send_kept(txn->stack, &flow, &txn->reply);
}

static void drop_echo(struct server_txn *txn)
{
	free(txn->echo);
	txn->echo = NULL;
}

static uint32_t t1(const struct server_txn *txn)
{
	return txn->stack->config->sip.t1_ms;
}

static void do_absorb(struct server_txn *txn, const struct sip_msg *msg)
{
	(void)txn;
	(void)msg;
	stack_count(STACK_ABSORBED);
}

static void do_repeat(struct server_txn *txn, const struct sip_msg *msg)
{
	do_absorb(txn, msg);
	if (txn->reply.ptr)
		stack_count(STACK_RESENT);
	send_reply(txn);
}

static void do_send(struct server_txn *txn, const struct sip_msg *msg)
{
	(void)msg;
	send_reply(txn);
}

/* Nobody is left who could answer: no final reply comes any more, and copies of the request are still absorbed for a while. */
static void abandon(struct server_txn *txn)
{
	if (txn->state == INVITE_PROCEEDING)
		txn_clock_start(&txn->clock, 0, 64 * t1(txn));
}

/* Timers G and H. The next try of a caller whose request failed may carry the same CSeq: that is not a merge. */
static void do_refuse_invite(struct server_txn *txn, const struct sip_msg *msg)
{
	drop_echo(txn);
	txn_link_remove(txn->stack->merges, &txn->by_merge);
	txn_clock_start(&txn->clock, t1(txn), 64 * t1(txn));
	do_send(txn, msg);
}

/* The 2xx again until its ACK, and Timer L: both begin now and end after 64*T1. */
static void do_accept(struct server_txn *txn, const struct sip_msg *msg)
{
	drop_echo(txn);
	txn_clock_start(&txn->clock, t1(txn), 64 * t1(txn));
	do_send(txn, msg);
}

/* Timer J. */
static void do_finish(struct server_txn *txn, const struct sip_msg *msg)
{
	drop_echo(txn);
	txn_clock_start(&txn->clock, 0, 64 * t1(txn));
	do_send(txn, msg);
}

static void do_again(struct server_txn *txn, const struct sip_msg *msg)
{
	(void)msg;
	stack_count(STACK_RESENT);
	send_reply(txn);
	txn_clock_again(&txn->clock, txn->stack->config->sip.t2_ms);
}

/* Timer I. */
static void do_confirm(struct server_txn *txn, const struct sip_msg *msg)
{
	(void)msg;
	txn_bytes_drop(&txn->reply);
	txn_clock_start(&txn->clock, 0, txn->stack->config->sip.t4_ms);
}

/* The ACK of a 2xx belongs to the user; it has our branch when the peer reuses it, or is of RFC 2543. */
static void do_pass_ack(struct server_txn *txn, const struct sip_msg *msg)
{
	txn->stack->user.on_ack(txn->stack->user.arg, msg);
}

static void do_no_ack(struct server_txn *txn, const struct sip_msg *msg)
{
	(void)msg;
	if (txn->is_acked)
		return;
	stack_count(STACK_TIMEOUT);
	notify(txn, SERVER_NO_ACK, NULL);
}

static const struct row {
	void (*action)(struct server_txn *txn, const struct sip_msg *msg);
	enum state next;
} machine[STATES][EVENTS] = {
	[INVITE_PROCEEDING] = {
		[ON_COPY] = { do_repeat, STAY },
		[SEND_1XX] = { do_send, STAY },
		[SEND_2XX] = { do_accept, INVITE_ACCEPTED },
		[SEND_FAIL] = { do_refuse_invite, INVITE_COMPLETED },
		[ON_OVER] = { NULL, GONE }, /* runs only when abandoned */
	},
	[INVITE_COMPLETED] = {
		[ON_COPY] = { do_repeat, STAY },
		[ON_ACK] = { do_confirm, INVITE_CONFIRMED },
		[ON_AGAIN] = { do_again, STAY },
		[ON_OVER] = { do_no_ack, GONE },
	},
	[INVITE_CONFIRMED] = {
		[ON_COPY] = { do_absorb, STAY },
		[ON_ACK] = { do_absorb, STAY },
		[ON_OVER] = { NULL, GONE },
	},
	[INVITE_ACCEPTED] = {
		[ON_COPY] = { do_absorb, STAY },
		[ON_ACK] = { do_pass_ack, STAY },
		[ON_AGAIN] = { do_again, STAY },
		[ON_OVER] = { do_no_ack, GONE },
	},
	[OTHER_TRYING] = {
		[ON_COPY] = { do_absorb, STAY },
		[SEND_1XX] = { do_send, OTHER_PROCEEDING },
		[SEND_2XX] = { do_finish, OTHER_COMPLETED },
		[SEND_FAIL] = { do_finish, OTHER_COMPLETED },
		[ON_OVER] = { NULL, GONE },
	},
	[OTHER_PROCEEDING] = {
		[ON_COPY] = { do_repeat, STAY },
		[SEND_1XX] = { do_send, STAY },
		[SEND_2XX] = { do_finish, OTHER_COMPLETED },
		[SEND_FAIL] = { do_finish, OTHER_COMPLETED },
		[ON_OVER] = { NULL, GONE },
	},
	[OTHER_COMPLETED] = {
		[ON_COPY] = { do_repeat, STAY },
		[ON_OVER] = { NULL, GONE },
	},
};

static void run(struct server_txn *txn, enum event event, const struct sip_msg *msg)
{
	const struct row *row = &machine[txn->state][event];
	if (row->next != STAY)
		txn->state = (uint8_t)row->next;
	if (row->action)
		row->action(txn, msg);
	if (row->next == GONE) {
		notify(txn, SERVER_ENDED, NULL);
		server_txn_free(txn);
	}
}

static void on_timer(struct loop_timer *timer, void *arg)
{
	(void)timer;
	struct server_txn *txn = arg;
	run(txn, txn_clock_is_over(&txn->clock) ? ON_OVER : ON_AGAIN, NULL);
}

void server_txn_receive(struct server_txn *txn, const struct sip_msg *request)
{
	run(txn, request->method == SIP_ACK ? ON_ACK : ON_COPY, request);
}

void server_txn_cancel(struct server_txn *txn, const struct sip_msg *cancel)
{
	if (txn->state != INVITE_PROCEEDING || txn->is_cancelled)
		return;
	txn->is_cancelled = true;
	notify(txn, SERVER_CANCELLED, cancel);
}

/* ---- replies --------------------------------------------------------------------------------------------------- */

struct span server_txn_to_tag(struct server_txn *txn)
{
	if (!txn->to_tag[0])
		id_mint(0, txn->to_tag);
	return span_of(txn->to_tag);
}

int server_txn_set_tag(struct server_txn *txn, struct span to_tag)
{
	if (to_tag.len >= sizeof(txn->to_tag))
		return ERR_LIMIT;
	snprintf(txn->to_tag, sizeof(txn->to_tag), "%.*s", SPAN_ARG(to_tag));
	return 0;
}

static int choose_to_tag(struct server_txn *txn, const struct sip_reply *reply, struct span *ret)
{
	int err = 0;

	if (reply->status == 100) {
		*ret = SPAN_NONE;
		return 0;
	}
	if (!span_is_empty(reply->to_tag))
		err = server_txn_set_tag(txn, reply->to_tag);
	if (err == 0)
		*ret = server_txn_to_tag(txn);
	return err;
}

int server_txn_reply(struct server_txn *txn, const struct sip_reply *reply)
{
	enum event event = reply->status < 200 ? SEND_1XX : reply->status < 300 ? SEND_2XX : SEND_FAIL;
	struct buf out = buf_of(txn->stack->out, sizeof(txn->stack->out));
	struct span to_tag;

	if (!machine[txn->state][event].action || !txn->echo)
		return ERR_STATE;
	int err = choose_to_tag(txn, reply, &to_tag);
	if (err < 0)
		return err;
	sip_build_reply(txn->echo, reply, to_tag, &out);
	err = txn_bytes_keep(&txn->reply, txn->stack, &out);
	if (err < 0)
		return err;
	run(txn, event, NULL);
	return 0;
}

int server_txn_reply_simple(struct server_txn *txn, int status)
{
	return server_txn_reply(txn, &(struct sip_reply){ .status = status });
}

void server_txn_acked(struct server_txn *txn)
{
	if (txn->state != INVITE_ACCEPTED || txn->is_acked)
		return;
	txn->is_acked = true;
	txn_bytes_drop(&txn->reply);
	txn_clock_quiet(&txn->clock);
}

/* RFC 3261 8.2.6.1: the 100 repeats Timestamp. */
static int send_trying(struct server_txn *txn, const struct sip_msg *request)
{
	const struct sip_header *h = sip_msg_header(request, SIP_H_TIMESTAMP);
	char line[64];
	int len = h ? snprintf(line, sizeof(line), "Timestamp: %.*s\r\n", SPAN_ARG(h->value)) : 0;
	if (len < 0 || len >= (int)sizeof(line))
		len = 0;
	return server_txn_reply(txn, &(struct sip_reply){ .status = 100, .headers = { line, (size_t)len } });
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static int add_to_tables(struct server_txn *txn, const struct sip_msg *request)
{
	struct sip_stack *stack = txn->stack;
	int err = txn_link_add(stack->servers, &txn->by_key, request_key(request));
	if (err == 0 && request->method == SIP_INVITE)
		err = txn_link_add(stack->invites, &txn->by_cancel, cancel_key(request));
	if (err == 0 && span_is_empty(request->to.tag))
		err = txn_link_add(stack->merges, &txn->by_merge, merge_key(request));
	return err;
}

struct server_txn *server_txn_new(struct sip_stack *stack, const struct sip_msg *request)
{
	struct server_txn *txn = calloc(1, sizeof(*txn));
	if (!txn)
		return NULL;
	stack_count(STACK_ACTIVE);
	txn->stack = stack;
	txn->flow = request->flow;
	++*stack_held(stack, &txn->flow);
	txn->reply_port = stack_reply_flow(stack, request).remote.port;
	txn->method = (uint8_t)request->method;
	txn->state = request->method == SIP_INVITE ? INVITE_PROCEEDING : OTHER_TRYING;
	loop_timer_init(&txn->clock.timer, stack->loop, on_timer, txn);
	txn->echo = sip_echo_new(request, NULL);
	int err = txn->echo ? add_to_tables(txn, request) : ERR_LIMIT;
	/* What does not fit a 100, such as a Via that our parameters make too long, fits no answer at all. */
	if (err == 0 && request->method == SIP_INVITE)
		err = send_trying(txn, request);
	else if (err == 0)
		txn_clock_start(&txn->clock, 0, 128 * t1(txn));
	if (err < 0) {
		server_txn_free(txn);
		return NULL;
	}
	return txn;
}

void server_txn_free(struct server_txn *txn)
{
	if (!txn)
		return;
	metric_add(&stack_metrics[STACK_ACTIVE], -1);
	loop_timer_stop(&txn->clock.timer);
	--*stack_held(txn->stack, &txn->flow);
	txn_link_remove(txn->stack->servers, &txn->by_key);
	txn_link_remove(txn->stack->invites, &txn->by_cancel);
	txn_link_remove(txn->stack->merges, &txn->by_merge);
	txn_bytes_drop(&txn->reply);
	drop_echo(txn);
	free(txn);
}

static void free_node(struct hash_node *node, void *arg)
{
	(void)arg;
	server_txn_free(HASH_ENTRY(node, struct server_txn, by_key.node));
}

void server_txn_free_all(struct sip_stack *stack)
{
	hash_table_each(stack->servers, free_node, NULL);
}

void server_txn_bind(struct server_txn *txn, server_event_fn *fn, void *arg)
{
	txn->fn = fn;
	txn->arg = arg;
	if (!fn)
		abandon(txn);
}

bool server_txn_has_final(const struct server_txn *txn)
{
	return txn->state != INVITE_PROCEEDING && txn->state != OTHER_TRYING && txn->state != OTHER_PROCEEDING;
}

enum sip_method server_txn_method(const struct server_txn *txn)
{
	return txn->method;
}
