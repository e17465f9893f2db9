/* Hierarchical timing wheel: the timers of core/loop.h in seven levels of 64 slots, 1 ms ticks. Pure: the caller
 * brings the time. Start and stop take constant time; a long sleep costs one step per occupied slot, not per tick.
 *
 * A timer sits at the level of the highest 6-bit digit in which its due time differs from the wheel's time. That
 * place follows from the two times alone, so a timer can be removed without knowing where it was put, and timers
 * with the same due time always share a slot and fire in the order they were started. */
#ifndef CORE_WHEEL_H
#define CORE_WHEEL_H

#include <stddef.h>

#include "core/loop.h"

enum { WHEEL_BITS = 6, WHEEL_SLOTS = 1 << WHEEL_BITS, WHEEL_LEVELS = 7 };
/* Times are below this (139 years of uptime); later due times are brought down to it. */
#define WHEEL_MAX_MS ((UINT64_C(1) << (WHEEL_BITS * WHEEL_LEVELS)) - 1)

struct wheel_slot {
	struct loop_timer *first;
	struct loop_timer **last;  /* the link to append at */
	uint64_t earliest_ms;      /* no timer inside is due before; meaningless when empty */
};

struct wheel {
	uint64_t now_ms;
	struct wheel_slot due; /* due_ms == now_ms */
	uint64_t occupied[WHEEL_LEVELS]; /* one bit per slot */
	struct wheel_slot slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *wheel, uint64_t now_ms);
/* The timer must not be in a wheel. A due time in the past becomes the wheel's time. */
void wheel_add(struct wheel *wheel, struct loop_timer *timer, uint64_t due_ms);
void wheel_remove(struct wheel *wheel, struct loop_timer *timer); /* harmless when it is in no wheel */
/* Takes out the first timer that is due at now_ms or before, in order of due time, and sets the wheel's time to its
 * due time. NULL when none is left; the wheel's time is then now_ms. Time never runs backwards. */
struct loop_timer *wheel_pop(struct wheel *wheel, uint64_t now_ms);
/* When wheel_pop() should be called next; false when the wheel is empty. Never late. Early only when the earliest
 * timer of its slot was removed. */
bool wheel_next(const struct wheel *wheel, uint64_t *ret_ms);

static inline bool wheel_has(const struct loop_timer *timer)
{
	return timer->link != NULL;
}

#endif
