/* Unpredictable numbers from the kernel. A small store per thread saves a system call for each identifier; it is
 * wiped as it is used up and never survives a fork. */
#include "core/rnd.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { STORE_BYTES = 256 }; /* getrandom() never returns less than asked for up to 256 octets */

static _Thread_local unsigned char store[STORE_BYTES];
static _Thread_local size_t store_left;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void from_kernel(void *out, size_t len)
{
	unsigned char *at = out;

	while (len > 0) {
		ssize_t n = getrandom(at, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			abort();
		at += n;
		len -= (size_t)n;
	}
}

static void forget_store(void)
{
	store_left = 0;
}

static void watch_fork(void)
{
	/* Only the forking thread goes on in the child, so its store is the only one to forget. */
	if (pthread_atfork(NULL, NULL, forget_store) != 0)
		abort();
}

void rnd_bytes(void *out, size_t len)
{
	if (len > STORE_BYTES) {
		from_kernel(out, len);
		return;
	}
	if (len == 0)
		return;
	if (store_left < len) {
		pthread_once(&fork_once, watch_fork);
		from_kernel(store, sizeof(store));
		store_left = sizeof(store);
	}
	store_left -= len;
	memcpy(out, store + store_left, len);
	explicit_bzero(store + store_left, len);
}

uint64_t rnd_u64(void)
{
	uint64_t value;

	rnd_bytes(&value, sizeof(value));
	return value;
}

uint32_t rnd_below(uint32_t bound)
{
	/* Values below `skip` are drawn again: what remains is a whole multiple of bound, so no result is favoured. */
	uint32_t skip = -bound % bound;
	uint32_t value;

	do
		rnd_bytes(&value, sizeof(value));
	while (value < skip);
	return value % bound;
}
