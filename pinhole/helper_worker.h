/* The process that does what posternd asks, after its supervisor has received the limits. */
#ifndef PINHOLE_HELPER_WORKER_H
#define PINHOLE_HELPER_WORKER_H

#include "pinhole/limits.h"

enum { HELPER_NODE_MAX = 32 };

struct helper_conf {
	int channel;
	const char *state_dir;
	char node_tag[HELPER_NODE_MAX + 1];
	struct limits *limits;  /* sealed */
	uint64_t seal_serial;
};

/* Opens the back ends, locks itself in, serves. Returns 0 when posternd is gone, else an error; the kernel keeps what it has
 * in every case. starts: 1 for the first worker. */
int helper_worker_run(const struct helper_conf *conf, uint32_t starts);
/* CLOCK_MONOTONIC; these two processes have no loop of core/loop.h. */
uint64_t helper_worker_now_ms(void);

#endif
