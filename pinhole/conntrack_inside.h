/* What the files of the conntrack back end share: conntrack.c (pinholes), conntrack_pins.c (entries, what is known of them, and
 * fences) and conntrack_upkeep.c (once a second). Nobody else includes this. Single thread: the helper's. */
#ifndef PINHOLE_CONNTRACK_INSIDE_H
#define PINHOLE_CONNTRACK_INSIDE_H

#include "core/hash.h"
#include "pinhole/nat_frame.h"
#include "pinhole/nft_door.h"

struct pin;

/* One direction of an entry: a pinhole, or nothing when id is 0. */
struct side {
	struct hash_node node; /* by what arrives */
	struct pin *pin;
	unsigned direction;    /* 0: the entry's own, 1: its answers */
	uint64_t id, expires_ms; /* expires_ms 0: lifetime_s from the next tick on */
	uint32_t slot, lifetime_s;
	bool is_one_shot, is_gone;
	bool is_fenced;        /* its packets go to the relay although there is an entry */
};

struct pin {
	struct conntrack_entry kernel; /* as last seen */
	struct side sides[2];
	uint64_t seen;         /* serial of the round that had it */
	unsigned n_freed;      /* sides, at the end */
};

struct backend {
	struct nat_frame frame;
	struct hash_table *sides;
	uint64_t serial;           /* round of reading the kernel's table */
	bool has_left;             /* entries of an earlier process were there at the start */
	bool is_broken, is_reading; /* reading: a round has begun */
	uint64_t arrived, passed;  /* packets: in this round so far; that had left when it began */
	uint64_t blocked_until_ms; /* 0: what arrives leaves */
	bool has_new_rules;        /* in this round, and perhaps a new counter */
};

struct conntrack_arrival {
	uint8_t proto;
	const struct wire_addr *source, *listen;
};

/* conntrack_pins.c */
struct side *conntrack_find(const struct backend *backend, const struct conntrack_arrival *arrival); /* or NULL */
struct conntrack_entry conntrack_side_entry(const struct side *side); /* as seen in the direction of a side */
int conntrack_remember(struct backend *backend, const struct conntrack_entry *entry, struct pin **ret);
void conntrack_forget(struct backend *backend, struct pin *pin); /* frees it, its slots and its fences */
bool conntrack_is_ours(const struct backend *backend, const struct conntrack_entry *entry);
/* Creates the entry and reads it back. *ret_was_there: it was in the kernel already. */
int conntrack_put(struct backend *backend, const struct conntrack_entry *wanted, struct conntrack_entry *ret, bool *ret_was_there);
void conntrack_count(struct backend *backend, struct pin *pin, const struct conntrack_entry *entry); /* into the slots */

enum conntrack_fence_how { CONNTRACK_FENCE_NEW, CONNTRACK_FENCE_RENEW /* -ENOENT when there was none */, CONNTRACK_FENCE_OFF };
int conntrack_set_fence(struct backend *backend, const struct nft_fence *fence, enum conntrack_fence_how how);
struct nft_fence conntrack_fence_of(const struct side *side);
/* Keeps the packets of a side on the relay; a new fence may meet one of an earlier process. */
int conntrack_fence(struct backend *backend, struct side *side);
void conntrack_unfence(struct backend *backend, struct side *side);
void conntrack_renew_fence(struct backend *backend, struct side *side);

/* conntrack_upkeep.c */
void conntrack_upkeep(struct backend *backend, void (*gone)(void *arg, uint64_t id, enum wire_gone_why why), void *arg);

#endif
