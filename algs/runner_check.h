/* What is expected of a pass, held against what there is. Part of runner.c. */
#ifndef ALGS_RUNNER_CHECK_H
#define ALGS_RUNNER_CHECK_H

#include "algs/runner_owner.h"
#include "core/buf.h"

enum { RUNNER_DATAGRAMS_MAX = 256 };

struct runner_got { /* what came out at a side since it was last looked at */
	struct buf octets;
	size_t lens[RUNNER_DATAGRAMS_MAX]; /* datagrams only */
	unsigned n;
};

struct runner_seen { /* steps from `from` up to `to` have happened; what they say of the state is looked at from `state_from` on */
	const struct runner_script *script;
	const struct runner_owner *owners[RUNNER_CHANNELS];
	struct runner_got got[RUNNER_CHANNELS][ALG_SIDES];
	unsigned from, to, state_from;
};

/* 0, ERR_STATE for what is not as expected, ERR_PARSE for what cannot be read; with the line and a text. */
int runner_check(const struct runner_seen *seen, struct runner_report *report);

#endif
