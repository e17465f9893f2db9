/* Counters of pinholes as posternd reads them: the slots' memory that the helper hands over, mapped read-only, and what
 * one pinhole has counted over all slots that it ever had. Nothing here can fault: only memory that cannot shrink is
 * taken, and an address range once mapped stays mapped until the end.
 *
 * counters_read() is for any thread and takes no lock; everything else belongs to the control thread. */
#ifndef PINHOLE_COUNTERS_H
#define PINHOLE_COUNTERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "pinhole/slot.h"

enum { COUNTERS_REGIONS = 2, COUNTERS_SLOTS_MAX = 1 << 20 /* per region */ };

struct counters_memory {
	void *base[COUNTERS_REGIONS]; /* address range of COUNTERS_SLOTS_MAX slots; NULL until the first is mapped */
	uint32_t n[COUNTERS_REGIONS]; /* slots that are there */
};

/* Puts the n slots behind fd (the caller's) into the place of those mapped before, whose addresses stay good. 0, or a
 * negative error and a static text: too many, too small, may shrink, cannot be mapped. */
int counters_map(struct counters_memory *memory, unsigned region, int fd, uint32_t n, const char **ret_why);
void counters_unmap(struct counters_memory *memory); /* at the end, when nobody reads any more */
/* NULL when there is no such slot. */
const struct slot *counters_at(const struct counters_memory *memory, unsigned region, uint32_t index);

/* What one slot says now. Any thread. */
void counters_of_slot(const struct slot *slot, struct slot_stats *ret);

enum { COUNTERS_WORDS = sizeof(struct slot_stats) / sizeof(uint64_t) };
union counters_words {
	struct slot_stats stats;
	uint64_t words[COUNTERS_WORDS];
};
_Static_assert(sizeof(struct slot_stats) % sizeof(uint64_t) == 0, "slot_stats is copied in words");

/* Where one pinhole's counters come from: all zero is an empty one. */
struct counters_source {
	_Atomic uint32_t version;         /* odd while the others change */
	const struct slot *_Atomic slot;  /* or NULL */
	union counters_words before;      /* counted in slots that are gone: added to what the slot says */
	union counters_words least;       /* seen so far: a slot that is filled late does not turn counters back */
};

/* From now on the slot counts, too. is_continued: it holds what was counted so far; otherwise it begins anew. */
void counters_attach(struct counters_source *source, const struct slot *slot, bool is_continued);
/* Keeps what has been counted and lets go of the slot, which may soon be another pinhole's. */
void counters_freeze(struct counters_source *source);
/* The slot's last values, unless they are less than what was seen of it. */
void counters_finish(struct counters_source *source, const struct slot *last);
void counters_read(const struct counters_source *source, struct slot_stats *ret);

#endif
