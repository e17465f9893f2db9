/* What the two back ends of connection tracking have in common: the proof, the table of rules, the kernel's table of connections, their
 * mark, and the memory of counters. Each of them begins with one. Single thread: the helper's. */
#ifndef PINHOLE_NAT_FRAME_H
#define PINHOLE_NAT_FRAME_H

#include "pinhole/conntrack_check.h"
#include "pinhole/conntrack_kernel.h"
#include "pinhole/conntrack_slots.h"
#include "pinhole/nft_table.h"

struct nat_frame {
	const struct backend_conf *conf;
	struct conntrack_check check;
	struct nft_table *table;
	struct conntrack_kernel *kernel;
	uint32_t mark, mask; /* of its connections: (mark & mask) of theirs */
	uint64_t now_ms;     /* of the last tick */
	bool has_slots;
};

struct nat_frame_kind {
	const char *name;     /* for reasons */
	uint32_t mark, mask;  /* the kind's bits of the mark, and those of all bits that count */
	conntrack_arrange_fn *arrange;
};
/* 0 also when it is not usable, which the check then says; -ENOMEM: to be closed all the same. */
int nat_frame_open(struct nat_frame *frame, const struct nat_frame_kind *kind, const struct backend_conf *conf);
void nat_frame_close(struct nat_frame *frame);
/* Something that the back end itself needs is missing: `what` and the error are the reason. */
void nat_frame_refuse(struct nat_frame *frame, const char *what, int err);
/* Whether table and connections can be had; what does not depend on the proof works then. */
bool nat_frame_is_ready(const struct nat_frame *frame);

/* Every connection of the back end. */
int nat_frame_dump(struct nat_frame *frame, conntrack_entry_fn *fn, void *arg);
/* The slots() of both: they have one memory. */
int nat_frame_slots(struct backend *backend, uint32_t *ret_n);
/* For the proof, in the namespace of the moment: the table is there. It stays open: the process is short-lived. */
int nat_frame_arrange(const struct backend_conf *conf, struct nft_table **ret, char reason[WIRE_REASON_MAX]);
/* Takes all its connections and the table out of the kernel. */
void nat_frame_remove_all(struct nat_frame *frame);

#endif
