/* Token buckets. Levels are kept in thousandths of a token, so a slow rate loses nothing to rounding when it is asked
 * often. Reads no clock and takes no lock: one bucket or table belongs to one thread. */
#include "core/limit.h"

#include <stdlib.h>

enum { MILLI = 1000 };

struct limit_table {
	size_t n_slots;
	uint32_t rate_per_s;
	uint32_t burst;
	struct limit slots[];
};

void limit_init(struct limit *l, uint32_t rate_per_s, uint32_t burst, uint64_t now_ms)
{
	*l = (struct limit){
		.rate_per_s = rate_per_s,
		.burst = burst,
		.level_milli = (uint64_t)burst * MILLI,
		.last_ms = now_ms,
	};
}

bool limit_take(struct limit *l, uint64_t now_ms)
{
	uint64_t full = (uint64_t)l->burst * MILLI;

	if (l->rate_per_s == 0)
		return true;
	if (now_ms > l->last_ms) {
		uint64_t passed = now_ms - l->last_ms;
		uint64_t missing = full - l->level_milli;

		/* One token per second is one thousandth per millisecond. The division comes first: no overflow. */
		if (passed > missing / l->rate_per_s)
			l->level_milli = full;
		else
			l->level_milli += passed * l->rate_per_s;
		l->last_ms = now_ms;
	}
	if (l->level_milli < MILLI)
		return false;
	l->level_milli -= MILLI;
	return true;
}

struct limit_table *limit_table_new(size_t slots, uint32_t rate_per_s, uint32_t burst)
{
	struct limit_table *t = NULL;

	if (slots == 0 || slots > (SIZE_MAX - sizeof(*t)) / sizeof(t->slots[0]))
		return NULL;
	t = calloc(1, sizeof(*t) + slots * sizeof(t->slots[0]));
	if (t == NULL)
		return NULL;
	t->n_slots = slots;
	for (size_t i = 0; i < slots; i++)
		limit_init(&t->slots[i], rate_per_s, burst, 0);
	return t;
}

void limit_table_free(struct limit_table *t)
{
	free(t);
}

bool limit_table_take(struct limit_table *t, uint64_t key_hash, uint64_t now_ms)
{
	return limit_take(&t->slots[key_hash % t->n_slots], now_ms);
}
