/* Client transactions: INVITE (RFC 3261 17.1.1 with RFC 6026) and non-INVITE (17.1.2) as one table, CANCEL of an INVITE
 * (9.1), ACK of its failures (17.1.1.3), and ACK of a 2xx, which has no machine. Owns the request's bytes, cut down or
 * replaced as soon as less will do. Does not decide what a response means. Control thread. */
#include <errno.h>
#include <stdlib.h>

#include "core/err.h"
#include "core/log.h"
#include "sbc/sip_stack_private.h"
#include "sbc/transport.h"

enum state {
	STAY, /* in the table: no change */
	INVITE_CALLING, INVITE_PROCEEDING, INVITE_COMPLETED, INVITE_ACCEPTED,
	OTHER_TRYING, OTHER_PROCEEDING, OTHER_COMPLETED,
	FAILED, /* the request could not be sent; the user hears of it when client_txn_new() has returned */
	GONE,
	STATES
};
enum event { ON_1XX, ON_2XX, ON_FAIL /* 300 to 699 */, ON_AGAIN, ON_OVER, DO_CANCEL, EVENTS };

struct client_txn {
	struct sip_stack *stack;
	struct txn_link by_key;
	struct txn_clock clock;
	struct sip_flow flow;
	uint8_t state;
	bool is_cancelled;
	struct sip_layout layout;
	uint32_t cseq;
	struct txn_bytes bytes;    /* the request; for a failed INVITE the ACK; NULL when neither is needed */
	struct span cancel_headers; /* malloc'd; of a CANCEL that waits for a provisional */
	client_event_fn *fn;
	void *arg;
};

static void run(struct client_txn *txn, enum event event, const struct sip_msg *msg);

static uint32_t t1(const struct client_txn *txn)
{
	return txn->stack->config->sip.t1_ms;
}

static void notify(struct client_txn *txn, enum client_event event, const struct sip_msg *msg)
{
	if (txn->fn)
		txn->fn(txn->arg, txn, event, msg);
}

/* ---- actions --------------------------------------------------------------------------------------------------- */

static void do_absorb(struct client_txn *txn, const struct sip_msg *msg)
{
	(void)txn;
	(void)msg;
	stack_count(STACK_ABSORBED);
}

static void resend(struct client_txn *txn)
{
	stack_count(STACK_RESENT);
	stack_send_kept(txn->stack, &txn->flow, &txn->bytes);
}

/* Timer A doubles without a cap. */
static void do_again_invite(struct client_txn *txn, const struct sip_msg *msg)
{
	(void)msg;
	resend(txn);
	txn_clock_again(&txn->clock, UINT32_MAX / 2);
}

/* Timer E. */
static void do_again_other(struct client_txn *txn, const struct sip_msg *msg)
{
	(void)msg;
	resend(txn);
	txn_clock_again(&txn->clock, txn->stack->config->sip.t2_ms);
}

static void do_again_slow(struct client_txn *txn, const struct sip_msg *msg)
{
	txn->clock.interval_ms = txn->stack->config->sip.t2_ms;
	do_again_other(txn, msg);
}

static void do_pass(struct client_txn *txn, const struct sip_msg *msg)
{
	if (msg->status != 100)
		notify(txn, CLIENT_RESPONSE, msg);
}

static int start_txn(struct sip_stack *stack, const struct client_txn *model, const struct buf *built,
		     struct client_txn **ret);

/* 9.1: same branch, Route and CSeq number as the INVITE; its own machine; 64*T1 for the INVITE to end. */
static void do_cancel(struct client_txn *txn, const struct sip_msg *msg)
{
	(void)msg;
	struct buf out = buf_of(txn->stack->out, sizeof(txn->stack->out));
	struct client_txn model = { .flow = txn->flow, .state = OTHER_TRYING, .cseq = txn->cseq };
	struct client_txn *cancel;
	struct sip_derived from = { txn->bytes.ptr, &txn->layout, SIP_CANCEL, txn->cseq, SPAN_NONE, txn->cancel_headers };

	sip_build_derived(&from, &out);
	if (start_txn(txn->stack, &model, &out, &cancel) < 0)
		LOG_GATED(5, LOG_WARN, "sip", "CANCEL could not be sent", LF_UINT("realm", txn->flow.realm));
	free((char *)txn->cancel_headers.ptr);
	txn->cancel_headers = SPAN_NONE;
	txn_clock_start(&txn->clock, 0, 64 * t1(txn));
}

/* ACK and CANCEL repeat only the first lines: the rest of the INVITE goes now. */
static void shrink_request(struct client_txn *txn)
{
	char *less = realloc(txn->bytes.ptr, txn->layout.end);
	if (less)
		txn->bytes.ptr = less;
	txn->bytes.len = txn->layout.end;
}

static void do_proceed_invite(struct client_txn *txn, const struct sip_msg *msg)
{
	loop_timer_stop(&txn->clock.timer);
	shrink_request(txn);
	if (txn->is_cancelled)
		do_cancel(txn, NULL);
	do_pass(txn, msg);
}

/* Timer M: every 2xx is the user's, each copy of it too. */
static void do_accepted(struct client_txn *txn, const struct sip_msg *msg)
{
	txn_bytes_drop(&txn->bytes);
	txn_clock_start(&txn->clock, 0, 64 * t1(txn));
	do_pass(txn, msg);
}

/* Timer D. The ACK takes the place of the INVITE's bytes. */
static void do_failed_invite(struct client_txn *txn, const struct sip_msg *msg)
{
	struct buf out = buf_of(txn->stack->out, sizeof(txn->stack->out));
	const struct sip_header *to = sip_msg_header(msg, SIP_H_TO);
	struct sip_derived from = { txn->bytes.ptr, &txn->layout, SIP_ACK, txn->cseq, to ? to->value : SPAN_NONE,
				    SPAN_NONE };

	sip_build_derived(&from, &out);
	if (txn_bytes_keep(&txn->bytes, txn->stack, &out) == 0)
		stack_send_kept(txn->stack, &txn->flow, &txn->bytes);
	else
		txn_bytes_drop(&txn->bytes);
	txn_clock_start(&txn->clock, 0, 64 * t1(txn));
	do_pass(txn, msg);
}

static void do_ack_again(struct client_txn *txn, const struct sip_msg *msg)
{
	do_absorb(txn, msg);
	resend(txn);
}

/* Timer K. */
static void do_finish(struct client_txn *txn, const struct sip_msg *msg)
{
	txn_bytes_drop(&txn->bytes);
	txn_clock_start(&txn->clock, 0, txn->stack->config->sip.t4_ms);
	do_pass(txn, msg);
}

static void do_timeout(struct client_txn *txn, const struct sip_msg *msg)
{
	(void)msg;
	stack_count(STACK_TIMEOUT);
	notify(txn, CLIENT_TIMEOUT, NULL);
}

static void do_report_failure(struct client_txn *txn, const struct sip_msg *msg)
{
	(void)msg;
	notify(txn, CLIENT_TRANSPORT_ERROR, NULL);
}

static const struct row {
	void (*action)(struct client_txn *txn, const struct sip_msg *msg);
	enum state next;
} machine[STATES][EVENTS] = {
	[INVITE_CALLING] = {
		[ON_1XX] = { do_proceed_invite, INVITE_PROCEEDING },
		[ON_2XX] = { do_accepted, INVITE_ACCEPTED },
		[ON_FAIL] = { do_failed_invite, INVITE_COMPLETED },
		[ON_AGAIN] = { do_again_invite, STAY },
		[ON_OVER] = { do_timeout, GONE },
	},
	[INVITE_PROCEEDING] = {
		[ON_1XX] = { do_pass, STAY },
		[ON_2XX] = { do_accepted, INVITE_ACCEPTED },
		[ON_FAIL] = { do_failed_invite, INVITE_COMPLETED },
		[ON_OVER] = { do_timeout, GONE }, /* runs only when cancelled */
		[DO_CANCEL] = { do_cancel, STAY },
	},
	[INVITE_COMPLETED] = {
		[ON_1XX] = { do_absorb, STAY },
		[ON_FAIL] = { do_ack_again, STAY },
		[ON_OVER] = { NULL, GONE },
	},
	[INVITE_ACCEPTED] = {
		[ON_1XX] = { do_absorb, STAY },
		[ON_2XX] = { do_pass, STAY },
		[ON_FAIL] = { do_absorb, STAY },
		[ON_OVER] = { NULL, GONE },
	},
	[OTHER_TRYING] = {
		[ON_1XX] = { do_pass, OTHER_PROCEEDING },
		[ON_2XX] = { do_finish, OTHER_COMPLETED },
		[ON_FAIL] = { do_finish, OTHER_COMPLETED },
		[ON_AGAIN] = { do_again_other, STAY },
		[ON_OVER] = { do_timeout, GONE },
	},
	[OTHER_PROCEEDING] = {
		[ON_1XX] = { do_pass, STAY },
		[ON_2XX] = { do_finish, OTHER_COMPLETED },
		[ON_FAIL] = { do_finish, OTHER_COMPLETED },
		[ON_AGAIN] = { do_again_slow, STAY },
		[ON_OVER] = { do_timeout, GONE },
	},
	[OTHER_COMPLETED] = {
		[ON_1XX] = { do_absorb, STAY },
		[ON_2XX] = { do_absorb, STAY },
		[ON_FAIL] = { do_absorb, STAY },
		[ON_OVER] = { NULL, GONE },
	},
	[FAILED] = {
		[ON_OVER] = { do_report_failure, GONE },
	},
};

/* ---- the machine ----------------------------------------------------------------------------------------------- */

static void client_txn_free(struct client_txn *txn)
{
	if (!txn)
		return;
	metric_add(&stack_metrics[STACK_ACTIVE], -1);
	loop_timer_stop(&txn->clock.timer);
	txn_link_remove(txn->stack->clients, &txn->by_key);
	txn_bytes_drop(&txn->bytes);
	free((char *)txn->cancel_headers.ptr);
	free(txn);
}

static void run(struct client_txn *txn, enum event event, const struct sip_msg *msg)
{
	const struct row *row = &machine[txn->state][event];
	if (row->next != STAY)
		txn->state = (uint8_t)row->next;
	if (row->action)
		row->action(txn, msg);
	if (row->next == GONE) {
		notify(txn, CLIENT_ENDED, NULL);
		client_txn_free(txn);
	}
}

static void on_timer(struct loop_timer *timer, void *arg)
{
	(void)timer;
	struct client_txn *txn = arg;
	run(txn, txn_clock_is_over(&txn->clock) ? ON_OVER : ON_AGAIN, NULL);
}

static struct txn_key response_key(struct span branch, struct span method)
{
	struct txn_key key = txn_key_start('U');
	txn_key_add(&key, branch);
	txn_key_add(&key, method);
	return key;
}

struct client_txn *client_txn_find(const struct sip_stack *stack, const struct sip_msg *response)
{
	struct txn_link *link = txn_link_find(stack->clients, response_key(response->via.branch, response->method_name));
	return link ? HASH_ENTRY(link, struct client_txn, by_key) : NULL;
}

bool client_txn_receive(struct client_txn *txn, const struct sip_msg *response)
{
	enum event event = response->status < 200 ? ON_1XX : response->status < 300 ? ON_2XX : ON_FAIL;
	if (!machine[txn->state][event].action)
		return false;
	bool is_wanted = txn->fn || event != ON_2XX || response->method != SIP_INVITE;
	run(txn, event, response);
	return is_wanted;
}

const struct sip_flow *client_txn_flow(const struct client_txn *txn)
{
	return &txn->flow;
}

/* ---- beginning and end ----------------------------------------------------------------------------------------- */

/* The key comes from the message as our guard read it back. */
static struct txn_key built_key(const struct sip_stack *stack)
{
	struct span via = stack->own_scan.via;
	struct span branch = SPAN_NONE;
	sip_param(span_sub(via, span_find(via, ';') + 1, via.len), "branch", &branch);
	return response_key(branch, stack->own_scan.method_name);
}

static int start_txn(struct sip_stack *stack, const struct client_txn *model, const struct buf *built,
		     struct client_txn **ret)
{
	struct client_txn *txn = malloc(sizeof(*txn));
	if (!txn)
		return -ENOMEM;
	*txn = *model;
	txn->stack = stack;
	stack_count(STACK_ACTIVE);
	loop_timer_init(&txn->clock.timer, stack->loop, on_timer, txn);
	int err = txn_bytes_keep(&txn->bytes, stack, built);
	if (err == 0)
		err = txn_link_add(stack->clients, &txn->by_key, built_key(stack));
	if (err < 0) {
		client_txn_free(txn);
		return err;
	}
	stack_count(STACK_CLIENT);
	if (stack_send_kept(stack, &txn->flow, &txn->bytes) == 0) {
		txn_clock_start(&txn->clock, t1(txn), 64 * t1(txn));
	} else {
		txn->state = FAILED;
		txn_clock_start(&txn->clock, 0, 0);
	}
	*ret = txn;
	return 0;
}

int client_txn_new(struct sip_stack *stack, const struct sip_request *request, client_event_fn *fn, void *arg,
		   struct client_txn **ret)
{
	struct buf out = buf_of(stack->out, sizeof(stack->out));
	bool is_invite = span_eq(request->method, SPAN_LIT("INVITE"));
	struct client_txn model = { .flow = request->flow, .cseq = request->cseq, .fn = fn, .arg = arg,
				    .state = is_invite ? INVITE_CALLING : OTHER_TRYING };
	char branch[SIP_BRANCH_MAX];

	if (transport_is_own(stack->transport, &request->flow.remote)) {
		stack_count(STACK_UNSENDABLE);
		return ERR_DENIED; /* a Contact or Route of ours: it would come back to us */
	}
	if (!stack_has_room(stack, is_invite)) {
		stack_count(STACK_FULL);
		return ERR_LIMIT;
	}
	stack_branch(branch);
	sip_build_request(request, span_of(branch), &out, &model.layout);
	return start_txn(stack, &model, &out, ret);
}

void client_txn_cancel(struct client_txn *txn, struct span headers)
{
	if (txn->is_cancelled || (txn->state != INVITE_CALLING && txn->state != INVITE_PROCEEDING))
		return;
	txn->is_cancelled = true;
	if (headers.len > 0) {
		char *copy = malloc(headers.len); /* without memory the CANCEL goes without them */
		if (copy)
			txn->cancel_headers = (struct span){ memcpy(copy, headers.ptr, headers.len), headers.len };
	}
	run(txn, DO_CANCEL, NULL);
}

/* An INVITE that is ringing has no timer of its own (17.1.1.2): without a user it must be cancelled to end. */
void client_txn_unbind(struct client_txn *txn)
{
	txn->fn = NULL;
	client_txn_cancel(txn, SPAN_NONE);
}

static void free_node(struct hash_node *node, void *arg)
{
	(void)arg;
	client_txn_free(HASH_ENTRY(node, struct client_txn, by_key.node));
}

void client_txn_free_all(struct sip_stack *stack)
{
	hash_table_each(stack->clients, free_node, NULL);
}

int sip_stack_ack(struct sip_stack *stack, const struct sip_request *ack)
{
	struct buf out = buf_of(stack->out, sizeof(stack->out));
	struct sip_layout layout;
	char branch[SIP_BRANCH_MAX];

	if (transport_is_own(stack->transport, &ack->flow.remote)) {
		stack_count(STACK_UNSENDABLE);
		return ERR_DENIED;
	}
	stack_branch(branch);
	sip_build_request(ack, span_of(branch), &out, &layout);
	int err = stack_check(stack, &out);
	if (err < 0)
		return err;
	return stack_send(stack, &ack->flow, buf_span(&out), stack->own_scan.call_id, sip_kind_of_request(SIP_ACK));
}
