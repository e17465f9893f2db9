/* Region memory with a hard cap: many small allocations, one release. One thread at a time.
 *
 * When the cap is reached arena_alloc() returns NULL and the arena stays "exhausted" until it is reset, so a
 * caller may do all its work and ask once. Tests make the n-th allocation fail with arena_fail_at(). */
#ifndef CORE_ARENA_H
#define CORE_ARENA_H

#include "core/span.h"

struct arena;

/* cap_bytes bounds what all allocations together may take, block overhead included. NULL when out of memory. */
struct arena *arena_new(size_t cap_bytes);
void arena_free(struct arena *arena); /* NULL is fine */

/* Zeroed memory aligned for any type, or NULL. */
void *arena_alloc(struct arena *arena, size_t size);
void *arena_alloc_raw(struct arena *arena, size_t size); /* not zeroed */
/* A copy; with a NUL behind it that the span does not count. ptr is NULL on failure. */
struct span arena_dup(struct arena *arena, struct span bytes);
char *arena_strdup(struct arena *arena, struct span bytes);
char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Drops all allocations and keeps the largest block for reuse; clears "exhausted". */
void arena_reset(struct arena *arena);
bool arena_is_exhausted(const struct arena *arena);
size_t arena_used(const struct arena *arena);

/* From now on the n-th allocation (0 is the next) and all after it fail. For tests. */
void arena_fail_at(struct arena *arena, size_t n);

#endif
