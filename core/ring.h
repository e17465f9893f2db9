/* A bounded queue of pointers between threads, without locks: many producers, many consumers, never blocks. */
#ifndef CORE_RING_H
#define CORE_RING_H

#include <stdbool.h>
#include <stddef.h>

struct ring;

/* slots is rounded up to a power of two. NULL when out of memory. */
struct ring *ring_new(size_t slots);
void ring_free(struct ring *ring); /* what is still inside is the caller's to drain before */
bool ring_push(struct ring *ring, void *item); /* not NULL; false when full */
void *ring_pop(struct ring *ring);             /* NULL when empty */

#endif
