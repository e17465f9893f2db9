/* What the files of a flow (flow*.c) share: its state, and the module's call at hand. Nobody else includes this. */
#ifndef ALGS_FLOW_INSIDE_H
#define ALGS_FLOW_INSIDE_H

#include "algs/flow.h"
#include "algs/flow_queue.h"

enum {
	FLOW_MESSAGE_LIMIT = 1 << 20, /* what a module may ask for */
	FLOW_STATE_LIMIT = 1 << 20,
	FLOW_INPUT_EXTRA = 1024,      /* beyond the longest message: the next one's beginning */
	FLOW_DATAGRAM_MAX = 65535,
	FLOW_EDITS_MAX = 64,          /* of one message */
	FLOW_EDIT_TEXT_MAX = 2048,    /* new octets of one message */
	FLOW_REPLY_MAX = 2048,        /* replies of one call, to each side */
	FLOW_HOLES_MAX = 256,         /* that may be open at a time */
	FLOW_COMMITS_MAX = 64,        /* that may be on their way */
	FLOW_TIMERS = 8,
	FLOW_CALL_US = 5000,          /* processor time of one call, what the owner does for it included */
	FLOW_OWED_US = 100000,        /* what calls that took more may owe those that take less */
};

struct flow_edit { /* in the order of their offsets */
	size_t offset, len;
	size_t text_at, text_len;     /* in the flow's edit_text */
};

struct flow_side { /* what came from a side and has not been judged */
	char *data;
	size_t cap, start, len;
	size_t wanted;                /* the module wants to see so many octets before it is asked again */
	bool has_datagram;            /* datagram flows: data is one, maybe empty */
	bool is_waiting;              /* the module wants to be asked again after resume() */
	bool is_ended, is_end_told;
};

enum flow_tls {
	FLOW_TLS_NONE,
	FLOW_TLS_ASKED,               /* by the call at hand */
	FLOW_TLS_DUE,                 /* no octet is taken or judged until it has begun */
	FLOW_TLS_BEGUN,
};

struct flow_commit {
	uint32_t hole, call;
};
struct flow_hole {
	uint32_t hole;
	unsigned class;
};

struct flow {
	const struct alg_module *module;
	const struct flow_owner *owner;
	void *arg;
	struct alg_about about;
	void *state;                  /* the module's */
	char *octets;                 /* memory of all buffers */
	struct flow_side in[ALG_SIDES];
	struct flow_queue out[ALG_SIDES];
	struct flow_stats stats;
	bool is_recognised, is_bypassed, is_reset;
	bool is_pumping;
	enum flow_tls tls;
	const char *fault;

	/* The call of the module at hand. */
	bool is_inside, has_message;
	uint32_t call;                /* its number */
	uint64_t call_since_us, owed_us; /* processor time */
	enum alg_side message_to;     /* where the message at hand would go */
	size_t n_given;               /* its octets, at most */
	struct flow_piece waits;      /* of what is sent now */
	size_t n_replied[ALG_SIDES];  /* octets */
	unsigned n_replies[ALG_SIDES];
	struct flow_edit edits[FLOW_EDITS_MAX];
	unsigned n_edits;
	size_t n_cut;                 /* octets that edits take away */
	char edit_text[FLOW_EDIT_TEXT_MAX];
	size_t edit_text_len;

	struct flow_commit commits[FLOW_COMMITS_MAX]; /* oldest first */
	unsigned n_commits;
	struct flow_hole holes[FLOW_HOLES_MAX];
	unsigned n_holes;
};

/* flow_call.c */
void flow_call_begin(struct flow *flow);
void flow_call_unsay(struct flow *flow); /* what the call has said was never said */
/* A fault of the call ends what the module may do. What was said may go now, unless it waits for something. */
void flow_call_end(struct flow *flow);
void flow_settle(struct flow *flow);     /* joins what waits for nothing any more */
void flow_note(struct flow *flow, const char *what);

/* flow_message.c: what came from a side and was not judged, so much of it. */
struct span flow_input_of(const struct flow *flow, enum alg_side from, size_t len);
void flow_input_take(struct flow *flow, enum alg_side from, size_t n);
void flow_message_pass(struct flow *flow, enum alg_side from, enum alg_verdict verdict, size_t len); /* unchanged; within a call */
/* Shows it to the module, and does what it says. There has to be room for all that it may say. */
void flow_message_ask(struct flow *flow, enum alg_side from, size_t len, bool is_end);
/* Whether it is the protocol at all. True: go on with it now. */
bool flow_message_recognise(struct flow *flow, enum alg_side from, size_t len, bool is_end);

/* flow_host.c */
extern const struct alg_host flow_host;
static inline struct alg_session *flow_session(struct flow *flow)
{
	return (struct alg_session *)flow;
}
/* What the module did that it must not; the first one counts. */
void flow_blame(struct flow *flow, const char *fault);
/* The hole can open nothing any more: nothing waits for it. */
void flow_forget_hole(struct flow *flow, uint32_t hole);
/* The oldest commit of that hole has come. *ret_call is the call when it was its last one, else 0. False: none was
 * on its way. */
bool flow_take_commit(struct flow *flow, uint32_t hole, uint32_t *ret_call);

#endif
