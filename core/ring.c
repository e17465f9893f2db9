/* Bounded queue for many producers and many consumers, without locks. Owns its slots, never the items.
 *
 * Each slot has a turn number. A slot at position p is free for the push of turn p, filled for the pop of turn
 * p + 1, and free again one lap later at p + slots. A thread claims a position by moving head or tail forward and then
 * owns that slot alone until it publishes the next turn number (release); the other side reads it with acquire. Head, tail
 * and every slot's neighbours in time sit on different cache lines, so producers and consumers do not disturb each other. */
#include "core/ring.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

enum { CACHE_LINE = 64 };

struct slot {
	_Alignas(CACHE_LINE) atomic_size_t turn;
	void *item;
};

struct ring {
	size_t mask;
	struct slot *slots;
	_Alignas(CACHE_LINE) atomic_size_t head; /* next position to push */
	_Alignas(CACHE_LINE) atomic_size_t tail; /* next position to pop */
};

struct ring *ring_new(size_t slots)
{
	struct ring *ring = NULL;
	size_t n = 2; /* with one slot "filled" and "free again" would be the same turn */

	while (n < slots) {
		if (n > SIZE_MAX / (2 * sizeof(struct slot)))
			return NULL;
		n *= 2;
	}
	ring = aligned_alloc(CACHE_LINE, sizeof(*ring));
	if (ring == NULL)
		return NULL;
	ring->mask = n - 1;
	ring->slots = aligned_alloc(CACHE_LINE, n * sizeof(struct slot));
	if (ring->slots == NULL) {
		free(ring);
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		atomic_init(&ring->slots[i].turn, i);
		ring->slots[i].item = NULL;
	}
	atomic_init(&ring->head, 0);
	atomic_init(&ring->tail, 0);
	return ring;
}

void ring_free(struct ring *ring)
{
	if (ring == NULL)
		return;
	free(ring->slots);
	free(ring);
}

/* Takes the next position of `end` whose slot has reached its turn (position + offset). NULL when the slot is still
 * in its previous turn: the ring is full (offset 0) or empty (offset 1). */
static struct slot *claim(struct ring *ring, atomic_size_t *end, size_t offset, size_t *ret_position)
{
	size_t position = atomic_load_explicit(end, memory_order_relaxed);

	for (;;) {
		struct slot *slot = &ring->slots[position & ring->mask];
		size_t turn = atomic_load_explicit(&slot->turn, memory_order_acquire);
		ptrdiff_t ahead = (ptrdiff_t)(turn - (position + offset));

		if (ahead < 0)
			return NULL;
		if (ahead > 0) { /* another thread was faster */
			position = atomic_load_explicit(end, memory_order_relaxed);
			continue;
		}
		if (atomic_compare_exchange_weak_explicit(end, &position, position + 1, memory_order_relaxed,
							  memory_order_relaxed)) {
			*ret_position = position;
			return slot;
		}
	}
}

bool ring_push(struct ring *ring, void *item)
{
	size_t position;
	struct slot *slot;

	assert(item != NULL); /* ring_pop() could not tell it from "empty" */
	slot = claim(ring, &ring->head, 0, &position);
	if (slot == NULL)
		return false;
	slot->item = item;
	atomic_store_explicit(&slot->turn, position + 1, memory_order_release);
	return true;
}

void *ring_pop(struct ring *ring)
{
	size_t position;
	struct slot *slot = claim(ring, &ring->tail, 1, &position);
	void *item;

	if (slot == NULL)
		return NULL;
	item = slot->item;
	atomic_store_explicit(&slot->turn, position + ring->mask + 1, memory_order_release);
	return item;
}
