/* core/ring.h: alone, then with producers and consumers at once (the thread sanitizer's build runs this). */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

#include "core/ring.h"
#include "tests/unit/unit.h"

enum { PRODUCERS = 3, CONSUMERS = 3, ITEMS = 20000 }; /* per producer */

static struct ring *ring;
static atomic_uint seen[PRODUCERS * ITEMS];
static atomic_uint n_popped;
static atomic_uint n_disorders;

static void first_in_first_out(void)
{
	int items[8];

	ring = ring_new(8);
	CU_ASSERT_PTR_NOT_NULL_FATAL(ring);
	CU_ASSERT_PTR_NULL(ring_pop(ring));
	for (int lap = 0; lap < 5; lap++) {
		for (int i = 0; i < 8; i++)
			CU_ASSERT(ring_push(ring, &items[i]));
		CU_ASSERT(!ring_push(ring, &items[0]));
		for (int i = 0; i < 8; i++)
			CU_ASSERT_PTR_EQUAL(ring_pop(ring), &items[i]);
		CU_ASSERT_PTR_NULL(ring_pop(ring));
		/* The next lap starts at another slot. */
		CU_ASSERT(ring_push(ring, &items[0]) && ring_pop(ring) == &items[0]);
	}
	ring_free(ring);
	ring_free(NULL);
}

static void sizes_are_rounded_up(void)
{
	static const struct { size_t asked, got; } rows[] = { { 0, 2 }, { 1, 2 }, { 2, 2 }, { 3, 4 }, { 100, 128 } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t n = 0;

		ring = ring_new(rows[i].asked);
		while (n < 1000 && ring_push(ring, &n))
			n++;
		CU_ASSERT_EQUAL(n, rows[i].got);
		ring_free(ring);
	}
	CU_ASSERT_PTR_NULL(ring_new(SIZE_MAX));
}

static void *produce(void *arg)
{
	uintptr_t first = (uintptr_t)arg * ITEMS;

	for (uintptr_t i = 0; i < ITEMS; i++) {
		while (!ring_push(ring, (void *)(first + i + 1)))
			sched_yield();
	}
	return NULL;
}

/* What one consumer sees of one producer is in order. */
static void *consume(void *arg)
{
	uintptr_t last[PRODUCERS] = { 0 };

	(void)arg;
	while (atomic_load(&n_popped) < PRODUCERS * ITEMS) {
		uintptr_t item = (uintptr_t)ring_pop(ring);
		uintptr_t producer = (item - 1) / ITEMS;

		if (item == 0) {
			sched_yield();
			continue;
		}
		if (item <= last[producer])
			atomic_fetch_add(&n_disorders, 1);
		last[producer] = item;
		atomic_fetch_add(&seen[item - 1], 1);
		atomic_fetch_add(&n_popped, 1);
	}
	return NULL;
}

static void many_threads(void)
{
	pthread_t threads[PRODUCERS + CONSUMERS];
	unsigned n_wrong = 0;

	ring = ring_new(16); /* small: full and empty are met all the time */
	CU_ASSERT_PTR_NOT_NULL_FATAL(ring);
	for (uintptr_t i = 0; i < PRODUCERS; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, produce, (void *)i), 0);
	for (unsigned i = PRODUCERS; i < PRODUCERS + CONSUMERS; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, consume, NULL), 0);
	for (unsigned i = 0; i < PRODUCERS + CONSUMERS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < PRODUCERS * ITEMS; i++)
		n_wrong += atomic_load(&seen[i]) != 1;
	CU_ASSERT_EQUAL(n_wrong, 0);
	CU_ASSERT_EQUAL(atomic_load(&n_disorders), 0);
	CU_ASSERT_PTR_NULL(ring_pop(ring));
	ring_free(ring);
}

static const struct unit_test tests[] = {
	{ "first in first out", first_in_first_out },
	{ "sizes are rounded up", sizes_are_rounded_up },
	{ "many threads", many_threads },
};

UNIT_MAIN("ring", tests)
