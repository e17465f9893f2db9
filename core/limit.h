/* Token bucket: `rate` tokens per second, at most `burst` saved up. Pure: the caller brings the time. */
#ifndef CORE_LIMIT_H
#define CORE_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct limit {
	uint32_t rate_per_s; /* 0 means no limit */
	uint32_t burst;
	uint64_t level_milli;
	uint64_t last_ms;
};

void limit_init(struct limit *l, uint32_t rate_per_s, uint32_t burst, uint64_t now_ms); /* starts full */
bool limit_take(struct limit *l, uint64_t now_ms); /* false when no token is left */

/* The same per source, in a fixed table: sources that hash alike share a bucket, so memory never grows. */
struct limit_table;
struct limit_table *limit_table_new(size_t slots, uint32_t rate_per_s, uint32_t burst);
void limit_table_free(struct limit_table *t);
bool limit_table_take(struct limit_table *t, uint64_t key_hash, uint64_t now_ms);

#endif
