/* One control channel without sockets: octets of two sides in, octets for two sides out, an ALG in between.
 * Applies edits, keeps messages in order while they wait (for the kernel, for data, for resume()), puts replies in
 * their place, and holds the module to its limits. Everything that needs more than memory is asked of the owner:
 * the host (host.c) or the runner of transcripts (runner.c). Pure: no clock, no descriptor. Control thread. */
#ifndef ALGS_FLOW_H
#define ALGS_FLOW_H

#include "algs/alg.h"
#include "core/span.h"

struct flow;

/* The owner's part. The functions of struct alg_host that are not listed here are the flow's own. */
struct flow_owner {
	uint64_t (*now_ms)(void *arg);
	int (*hole_reserve)(void *arg, const struct alg_want *want, uint32_t *ret_hole);
	int (*hole_public)(void *arg, uint32_t hole, enum alg_side reader, struct alg_addr *ret, uint16_t *ret_rtcp);
	int (*hole_peer)(void *arg, uint32_t hole, enum alg_side side, const struct alg_addr *rtp, uint16_t rtcp_port);
	/* 0: done. 1: on its way; what the module sends in the same call waits until flow_committed() was called
	 * as often. */
	int (*hole_arm)(void *arg, uint32_t hole);
	int (*hole_dial)(void *arg, uint32_t hole, enum alg_side side);
	void (*hole_free)(void *arg, uint32_t hole);
	void (*hole_pause)(void *arg, uint32_t hole, bool is_paused);
	/* Whether data of that hole is still to be passed on; ALG_EV_ENDED is then told later. */
	bool (*hole_is_busy)(void *arg, uint32_t hole);
	void (*policy)(void *arg, const struct alg_question *question, struct alg_answer *ret);
	void (*timer)(void *arg, uint32_t cookie, uint32_t ms);
	void (*transfer)(void *arg, const struct alg_transfer *transfer);
	void (*note)(void *arg, const char *rule, struct span text);
	/* For what is shown of a session: a message has been judged. `edited` is what goes on; equal to `original`
	 * when nothing changed. NULL: nobody wants to know. */
	void (*message)(void *arg, enum alg_side from, enum alg_verdict verdict, struct span original, struct span edited);
	void (*ending)(void *arg);
	/* NULL: there are no other channels. Names are within bounds. */
	int (*meet_open)(void *arg, struct span name);
	int (*meet_join)(void *arg, struct span name);
	/* Processor time so far, of the thread, in microseconds. NULL: the module's calls are not timed. */
	uint64_t (*spent_us)(void *arg);
};

struct flow_stats {
	uint64_t octets_in[ALG_SIDES], octets_out[ALG_SIDES]; /* from, to that side */
	uint64_t messages[ALG_SIDES], edited[ALG_SIDES], dropped[ALG_SIDES], replies[ALG_SIDES];
};

/* `about` is copied. 0, -ENOMEM, or ERR_UNSUPPORTED for a module of another major version or with impossible
 * sizes. The module's open() has been called. Everything that a flow will ever need is allocated here. */
int flow_new(const struct alg_module *module, const struct alg_about *about, const struct flow_owner *owner, void *arg,
	     struct flow **ret);
/* Calls the module's close(), which may still use the owner. Holes are the owner's to close. NULL is fine. Not
 * from within an owner's function. */
void flow_free(struct flow *flow);

/* How many octets of that side would be taken now; 0 while its buffer is full: stop reading. */
size_t flow_room(const struct flow *flow, enum alg_side from);
/* Takes octets (at most flow_room()), and is_end when that side will send no more; for datagrams one each. 0, or
 * ERR_CLOSED when the session is to end at once, ERR_LIMIT when more was given than there is room for. */
int flow_input(struct flow *flow, enum alg_side from, struct span bytes, bool is_end);

/* What is ready to go to that side, and how much of it went. ptr is NULL when there is nothing. Datagram flows:
 * one datagram at a time, which may be empty, and is sent whole. */
struct span flow_output(const struct flow *flow, enum alg_side to);
void flow_sent(struct flow *flow, enum alg_side to, size_t n);
/* Everything from the other side is out, and it has ended: half-close. */
bool flow_is_finished(const struct flow *flow, enum alg_side to);
/* Nothing is left of what came from that side, in front of the module or behind it. */
bool flow_is_drained(const struct flow *flow, enum alg_side from);
bool flow_is_bypassed(const struct flow *flow);
/* ALG_RESET: the session is to end at once. What was ready to go before may be tried once more. To be asked after
 * each call. */
bool flow_is_reset(const struct flow *flow);
/* TLS is to begin on the channels: what was to be said in clear has left, and nothing is taken (flow_room() is 0) until the owner
 * calls flow_tls_begun(). To be asked after each call. */
bool flow_wants_tls(const struct flow *flow);
void flow_tls_begun(struct flow *flow);
bool flow_is_protected(const struct flow *flow); /* it has begun */
/* What the module did that no module may; NULL: nothing. The session is then bypassed and its holes are freed. */
const char *flow_fault(const struct flow *flow);

/* From the owner, not from within its own functions; output may have become ready after each. A commit that failed
 * (`result` negative) is told to the module as ALG_EV_EXPIRED: the owner has closed the hole. */
void flow_committed(struct flow *flow, uint32_t hole, int result);
void flow_event(struct flow *flow, const struct alg_event *event); /* ENDED and EXPIRED also let go what waits for that hole */

/* What the module says to a datagram of that hole; ALG_DATUM_MORE when it has no opinion. */
enum alg_datum flow_datum(struct flow *flow, uint32_t hole, enum alg_side from, struct span bytes);

void flow_stats(const struct flow *flow, struct flow_stats *ret);

#endif
