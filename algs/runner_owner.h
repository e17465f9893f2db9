/* The owner of a flow that a transcript plays: pinholes that open nothing, a clock that stands, a policy. It holds
 * wishes against the same rules as the host: addresses of the session's own ends, no port below 1024. Part of
 * runner.c. */
#ifndef ALGS_RUNNER_OWNER_H
#define ALGS_RUNNER_OWNER_H

#include "algs/joint.h"
#include "algs/runner_script.h"

enum { RUNNER_HOLES_MAX = 1024, RUNNER_TIMERS = 8, RUNNER_LATE_MAX = 128, RUNNER_NOTE_MAX = 256, RUNNER_MINUTE_MAX = 64 };

enum runner_state {
	RUNNER_IS_RESERVED,
	RUNNER_IS_ARMED,
	RUNNER_IS_OPENED,
	RUNNER_IS_ENDED,
	RUNNER_IS_EXPIRED,
	RUNNER_IS_FREED,
};

struct runner_hole {
	enum runner_state state;
	struct alg_want want;
	uint16_t own_port[ALG_SIDES]; /* towards that side */
	struct addr peer[ALG_SIDES];  /* media, or to be dialled: where that side receives; family 0: not known */
	uint16_t peer_rtcp[ALG_SIDES];
	bool is_paused;
	bool is_dialled[ALG_SIDES];   /* hole_dial() was called */
	uint64_t since_ms;
};

struct runner_owner {
	const struct runner_script *script;
	unsigned channel;
	struct flow *flow;
	struct joint joint;       /* of the flow */
	struct runner_owner **all; /* RUNNER_CHANNELS, of all channels; NULL where there is none. NULL: there is only this one */
	char name[ALG_NAME_MAX];  /* by which it can be met */
	size_t name_len;
	bool is_late;             /* pinholes are confirmed later */
	uint64_t now_ms;
	uint16_t next_port;
	struct runner_hole holes[RUNNER_HOLES_MAX]; /* the handle is the index + 1 */
	unsigned n_holes;
	uint64_t timers[RUNNER_TIMERS]; /* 0: stopped */
	uint32_t late[RUNNER_LATE_MAX]; /* holes whose arming was not confirmed yet */
	unsigned n_late;
	struct {
		char verb[64], rule[64];
		bool is_allowed;
		unsigned n;
	} verdict;                /* the last one */
	struct {
		char verb[64];
		uint64_t at_ms;
	} asked[RUNNER_MINUTE_MAX];
	unsigned n_asked;
	struct {
		char user[256], verb[64], path[1024];
		struct alg_transfer transfer;
		unsigned n;
	} record;                 /* the last one */
	char note[RUNNER_NOTE_MAX];
	bool is_ending;
};

extern const struct flow_owner runner_flow_owner; /* its arg is the runner_owner */

/* Zeroed before. The owner has a flow then. 0 or as flow_new(). */
int runner_owner_begin(struct runner_owner *owner, const struct runner_script *script, unsigned channel, bool is_late);

static inline bool runner_owner_is_over(const struct runner_owner *owner)
{
	return flow_is_reset(owner->flow) || owner->joint.over != NULL;
}

/* What happens to a pinhole. NULL, or why that cannot be. */
const char *runner_owner_opened(struct runner_owner *owner, uint32_t hole);
const char *runner_owner_ended(struct runner_owner *owner, uint32_t hole, const uint64_t octets[ALG_SIDES]);
const char *runner_owner_expired(struct runner_owner *owner, uint32_t hole);
const char *runner_owner_limit(struct runner_owner *owner, uint32_t hole, const char *reason);
const char *runner_owner_committed(struct runner_owner *owner, uint32_t hole, int result);
const char *runner_owner_timer(struct runner_owner *owner, uint32_t cookie);
void runner_owner_sleep(struct runner_owner *owner, uint32_t ms);
/* Where `reader` must send to. 0 or ALG_ERR_... */
int runner_owner_public(const struct runner_owner *owner, uint32_t hole, enum alg_side reader, struct addr *ret, uint16_t *ret_rtcp);
const struct runner_hole *runner_owner_hole(const struct runner_owner *owner, uint32_t hole); /* NULL: there is none */
unsigned runner_owner_open_holes(const struct runner_owner *owner);

/* runner_rules.c */
void runner_decide(struct runner_owner *owner, const struct alg_question *question, struct alg_answer *ret);

#endif
