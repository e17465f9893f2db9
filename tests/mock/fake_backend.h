/* Back ends for the helper that keep their pinholes in a file instead of the kernel: what outlives the process, and what a test
 * may look at and disturb from its own process. Two of them, so that one can stand in for the other. */
#ifndef TESTS_MOCK_FAKE_BACKEND_H
#define TESTS_MOCK_FAKE_BACKEND_H

#include "pinhole/backend.h"

enum { FAKE_ENTRIES = 128, FAKE_SLOTS = 128 };

struct fake_entry {
	bool is_used;
	struct wire_pinhole pinhole;
};

struct fake_kernel { /* one per back end */
	/* What the back end did. */
	struct fake_entry entries[FAKE_ENTRIES];
	uint32_t n_opens, n_applies, n_removes, n_ticks, n_links_changed;
	char state_dir[64], node_tag[40];
	/* What the test wants of it. */
	uint8_t end;              /* how far connections have come (enum pinhole_end); the second one only */
	uint8_t path;             /* what path_of() says; PINHOLE_NONE: nothing, and why */
	uint64_t fail_apply;      /* this id cannot be applied */
	uint64_t fail_remove;     /* this id cannot be removed */
	uint64_t gone_id;         /* the next tick says that it is gone */
	uint32_t gone_why;
	bool lists_no_ids;
	bool is_broken;
	bool calls_forbidden;     /* the next tick makes a system call that no worker has any use for */
	bool is_unusable;
};

/* backend_fake: paths xdp and tc, UDP with exact source, region 0. The other: path conntrack, everything, region 1. */
extern const struct backend_ops backend_fake_nat;
/* In the place of what takes control channels over; holds no pinholes. */
extern const struct backend_ops backend_fake_capture;

/* The file of a back end ("fake", "fake-nat" or "fake-capture") in that folder, made when it is missing, mapped; NULL when that fails. */
struct fake_kernel *fake_kernel_map(const char *state_dir, const char *name);
void fake_kernel_unmap(struct fake_kernel *kernel);
unsigned fake_kernel_count(const struct fake_kernel *kernel);
const struct fake_entry *fake_kernel_find(const struct fake_kernel *kernel, uint64_t id);

#endif
