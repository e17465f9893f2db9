/* The timing wheel of core/wheel.h.
 *
 * Invariant: for every timer outside the `due` list, due_ms > now_ms, and both agree in all digits above the
 * timer's level. So every occupied slot of a level lies ahead of the current digit, all timers of a level are due
 * before all timers of the level above, and the next slot is the lowest bit of the lowest occupied level. When time
 * reaches the beginning of a slot, its timers move to lower levels. */
#include "core/wheel.h"

#include <assert.h>

static unsigned level_of(const struct wheel *wheel, uint64_t due_ms)
{
	return (63U - (unsigned)__builtin_clzll(due_ms ^ wheel->now_ms)) / WHEEL_BITS;
}

static unsigned digit(uint64_t ms, unsigned level)
{
	return (unsigned)(ms >> (level * WHEEL_BITS)) & (WHEEL_SLOTS - 1);
}

static void slot_clear(struct wheel_slot *slot)
{
	slot->first = NULL;
	slot->last = &slot->first;
	slot->earliest_ms = UINT64_MAX;
}

static void slot_append(struct wheel_slot *slot, struct loop_timer *timer)
{
	timer->next = NULL;
	timer->link = slot->last;
	*slot->last = timer;
	slot->last = &timer->next;
	if (timer->due_ms < slot->earliest_ms)
		slot->earliest_ms = timer->due_ms;
}

static void slot_remove(struct wheel_slot *slot, struct loop_timer *timer)
{
	*timer->link = timer->next;
	if (timer->next != NULL)
		timer->next->link = timer->link;
	else
		slot->last = timer->link;
	timer->next = NULL;
	timer->link = NULL;
	if (slot->first == NULL)
		slot_clear(slot);
}

void wheel_init(struct wheel *wheel, uint64_t now_ms)
{
	assert(now_ms <= WHEEL_MAX_MS);
	wheel->now_ms = now_ms;
	slot_clear(&wheel->due);
	for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
		wheel->occupied[level] = 0;
		for (unsigned i = 0; i < WHEEL_SLOTS; i++)
			slot_clear(&wheel->slots[level][i]);
	}
}

static void place(struct wheel *wheel, struct loop_timer *timer)
{
	unsigned level, i;

	if (timer->due_ms == wheel->now_ms) {
		slot_append(&wheel->due, timer);
		return;
	}
	level = level_of(wheel, timer->due_ms);
	i = digit(timer->due_ms, level);
	slot_append(&wheel->slots[level][i], timer);
	wheel->occupied[level] |= UINT64_C(1) << i;
}

void wheel_add(struct wheel *wheel, struct loop_timer *timer, uint64_t due_ms)
{
	assert(!wheel_has(timer));
	if (due_ms > WHEEL_MAX_MS)
		due_ms = WHEEL_MAX_MS;
	if (due_ms < wheel->now_ms)
		due_ms = wheel->now_ms;
	timer->due_ms = due_ms;
	place(wheel, timer);
}

void wheel_remove(struct wheel *wheel, struct loop_timer *timer)
{
	struct wheel_slot *slot;
	unsigned level, i;

	if (!wheel_has(timer))
		return;
	if (timer->due_ms == wheel->now_ms) {
		slot_remove(&wheel->due, timer);
		return;
	}
	level = level_of(wheel, timer->due_ms);
	i = digit(timer->due_ms, level);
	slot = &wheel->slots[level][i];
	slot_remove(slot, timer);
	if (slot->first == NULL)
		wheel->occupied[level] &= ~(UINT64_C(1) << i);
}

/* The slot that comes next, or false when all levels are empty. */
static bool next_slot(const struct wheel *wheel, unsigned *ret_level, unsigned *ret_i)
{
	for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
		if (wheel->occupied[level] == 0)
			continue;
		*ret_level = level;
		*ret_i = (unsigned)__builtin_ctzll(wheel->occupied[level]);
		return true;
	}
	return false;
}

/* Moves time to the beginning of the slot and spreads its timers over the levels below. */
static void open_slot(struct wheel *wheel, unsigned level, unsigned i, uint64_t begin_ms)
{
	struct wheel_slot *slot = &wheel->slots[level][i];
	struct loop_timer *timer = slot->first;

	slot_clear(slot);
	wheel->occupied[level] &= ~(UINT64_C(1) << i);
	wheel->now_ms = begin_ms;
	while (timer != NULL) {
		struct loop_timer *next = timer->next;

		place(wheel, timer);
		timer = next;
	}
}

struct loop_timer *wheel_pop(struct wheel *wheel, uint64_t now_ms)
{
	struct loop_timer *timer;
	unsigned level, i;

	if (now_ms > WHEEL_MAX_MS)
		now_ms = WHEEL_MAX_MS;
	while (wheel->due.first == NULL && next_slot(wheel, &level, &i)) {
		unsigned shift = level * WHEEL_BITS;
		uint64_t above = wheel->now_ms >> (shift + WHEEL_BITS) << (shift + WHEEL_BITS);
		uint64_t begin_ms = above | (uint64_t)i << shift;

		if (begin_ms > now_ms)
			break;
		open_slot(wheel, level, i, begin_ms);
	}
	timer = wheel->due.first;
	if (timer != NULL)
		slot_remove(&wheel->due, timer);
	else if (wheel->now_ms < now_ms)
		wheel->now_ms = now_ms;
	return timer;
}

bool wheel_next(const struct wheel *wheel, uint64_t *ret_ms)
{
	unsigned level, i;

	if (wheel->due.first != NULL)
		*ret_ms = wheel->now_ms;
	else if (next_slot(wheel, &level, &i))
		*ret_ms = wheel->slots[level][i].earliest_ms;
	else
		return false;
	return true;
}
