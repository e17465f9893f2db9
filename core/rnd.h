/* Unpredictable numbers (getrandom). Blocks only before the kernel's generator is seeded; aborts when the kernel
 * cannot provide any, because guessable identifiers are worse than none. Any thread. */
#ifndef CORE_RND_H
#define CORE_RND_H

#include <stddef.h>
#include <stdint.h>

void rnd_bytes(void *out, size_t len);
uint64_t rnd_u64(void);
uint32_t rnd_below(uint32_t bound); /* uniform in [0, bound); bound > 0 */

#endif
