/* Shared by the files of the transaction layer: sip_stack.c (receiving, matching, sending), server_txn.c and
 * client_txn.c (the machines). Nobody else includes it. Control thread. */
#ifndef SBC_SIP_STACK_PRIVATE_H
#define SBC_SIP_STACK_PRIVATE_H

#include "core/hash.h"
#include "core/id.h"
#include "core/limit.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "sbc/sip_build.h"
#include "sbc/sip_count.h"
#include "sbc/sip_stack.h"

enum stack_metric {
	STACK_IN, STACK_OUT, STACK_RESENT, STACK_ABSORBED, STACK_SERVER, STACK_CLIENT, STACK_ACTIVE, STACK_IGNORED,
	STACK_FULL, STACK_MERGED, STACK_LIMITED, STACK_STRAY, STACK_FOREIGN, STACK_UNSENDABLE, STACK_TIMEOUT,
	STACK_METRICS
};
extern struct metric stack_metrics[STACK_METRICS];

static inline void stack_count(enum stack_metric which)
{
	metric_add(&stack_metrics[which], 1);
}

enum { HELD_SLOTS = 4096 };

struct sip_stack {
	struct loop *loop;
	const struct config *config;
	struct sip_user user;
	struct transport *transport;
	struct arena *arena;          /* of the message being handled */
	struct hash_table *servers;   /* by transaction key */
	struct hash_table *merges;    /* initial requests by From tag, Call-ID, CSeq */
	struct hash_table *invites;   /* server INVITEs by what their CANCEL repeats */
	struct hash_table *clients;   /* by branch and method */
	struct limit_table *refusals; /* stateless replies per source */
	uint32_t held[HELD_SLOTS];    /* server transactions per source; sources that hash alike share a count */
	struct guard_message scan;    /* of the message being handled */
	struct guard_message own_scan; /* of the message being sent */
	char out[SIP_MSG_OUT_MAX];
};

/* 128 bits of keyed hash stand for the parts of a key: peers cannot aim at a collision, and a key takes 16 octets
 * whatever its parts are. */
struct txn_key {
	uint64_t hash; /* where in the table */
	uint64_t check;
};
struct txn_key txn_key_start(uint64_t kind);
void txn_key_add(struct txn_key *key, struct span part);
void txn_key_add_source(struct txn_key *key, const struct sip_flow *flow); /* realm and address, not the port */

struct txn_link { /* one per table a transaction is in */
	struct hash_node node;
	uint64_t check;
	bool is_in;
};
int txn_link_add(struct hash_table *table, struct txn_link *link, struct txn_key key);
void txn_link_remove(struct hash_table *table, struct txn_link *link);
struct txn_link *txn_link_find(const struct hash_table *table, struct txn_key key); /* or NULL */

/* The two timers of a machine in one: the next retransmission, and the end of the state. */
struct txn_clock {
	struct loop_timer timer;
	uint64_t end_ms;
	uint32_t interval_ms; /* 0: nothing to retransmit */
};
/* Restarts. interval_ms doubles up to cap_ms with each txn_clock_again(). */
void txn_clock_start(struct txn_clock *clock, uint32_t interval_ms, uint64_t end_ms);
void txn_clock_again(struct txn_clock *clock, uint32_t cap_ms);
void txn_clock_quiet(struct txn_clock *clock); /* no more retransmissions, the end stays */
bool txn_clock_is_over(const struct txn_clock *clock);

/* A message kept for retransmission. */
struct txn_bytes {
	char *ptr;
	uint16_t len;
	uint16_t call_id_at, call_id_len;
	uint8_t kind; /* see sip_count.h */
};
/* Checks what was built with our own guard. On success the Call-ID is in stack->own_scan. */
int stack_check(struct sip_stack *stack, const struct buf *built);
unsigned stack_kind(const struct guard_message *scan); /* what sip_count_message() wants */
/* stack_check(), then keeps a copy in place of what was there. */
int txn_bytes_keep(struct txn_bytes *bytes, struct sip_stack *stack, const struct buf *built);
void txn_bytes_drop(struct txn_bytes *bytes);
int stack_send_kept(struct sip_stack *stack, const struct sip_flow *flow, const struct txn_bytes *bytes);
int stack_send(struct sip_stack *stack, const struct sip_flow *flow, struct span bytes, struct span call_id,
	       unsigned kind);

/* Where the reply goes (RFC 3261 18.2.2, RFC 3581 4). */
struct sip_flow stack_reply_flow(const struct sip_stack *stack, const struct sip_msg *request);
uint32_t *stack_held(struct sip_stack *stack, const struct sip_flow *flow);
/* The last eighth of the table is kept for requests inside dialogs, so that calls can end when no new one fits. */
bool stack_has_room(const struct sip_stack *stack, bool is_new_dialog);
void stack_branch(char out[SIP_BRANCH_MAX]);

/* ---- server_txn.c ---- */
/* Answers an INVITE with 100. NULL when memory is short, or when no answer to it could be written. */
struct server_txn *server_txn_new(struct sip_stack *stack, const struct sip_msg *request);
void server_txn_free(struct server_txn *txn);
struct server_txn *server_txn_find(const struct sip_stack *stack, const struct sip_msg *request);
bool server_txn_is_merged(const struct sip_stack *stack, const struct sip_msg *request);
struct server_txn *server_txn_find_cancelled(const struct sip_stack *stack, const struct sip_msg *cancel);
void server_txn_receive(struct server_txn *txn, const struct sip_msg *request); /* a copy, or the ACK */
void server_txn_cancel(struct server_txn *txn, const struct sip_msg *cancel);
struct span server_txn_to_tag(struct server_txn *txn); /* minted now if need be */
void server_txn_free_all(struct sip_stack *stack);

/* ---- client_txn.c ---- */
struct client_txn *client_txn_find(const struct sip_stack *stack, const struct sip_msg *response);
/* False when the response does not come from where the request went, or is a 2xx to INVITE that the machine no
 * longer takes, or that has no user any more. */
bool client_txn_receive(struct client_txn *txn, const struct sip_msg *response);
const struct sip_flow *client_txn_flow(const struct client_txn *txn);
void client_txn_free_all(struct sip_stack *stack);

#endif
