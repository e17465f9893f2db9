/* Region 1: counters of pinholes that no program of the kernel counts for, in memory that posternd maps read-only. One for
 * the process, shared by the conntrack and the nftables back ends. */
#ifndef PINHOLE_CONNTRACK_SLOTS_H
#define PINHOLE_CONNTRACK_SLOTS_H

#include "pinhole/slot.h"

/* The first call makes room for n slots, later calls only count users. 0 or a negative errno. */
int conntrack_slots_open(uint32_t n);
void conntrack_slots_close(void); /* once per successful open */
int conntrack_slots_fd(uint32_t *ret_n); /* -1 when not open */

/* A zeroed slot, or ERR_LIMIT. */
int conntrack_slots_take(uint32_t *ret_index);
void conntrack_slots_give(uint32_t index);
struct slot *conntrack_slot(uint32_t index); /* of one that is taken */

/* Writes what the kernel counted so far: packets, and bytes of IP datagrams, of which a slot holds the payload only.
 * now_ns: CLOCK_MONOTONIC, taken as the arrival of what is new. */
struct slot_count {
	uint64_t packets, bytes;
	uint8_t proto, family;
};
void conntrack_slot_count(struct slot *slot, const struct slot_count *count, uint64_t now_ns);
/* The same of a pinhole that is for both directions. */
void conntrack_slot_count_both(struct slot *slot, const struct slot_count *there, const struct slot_count *back, uint64_t now_ns);

#endif
