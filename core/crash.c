/* Crash points for tests; see the header. Reads the environment once. */
#include "core/crash.h"

#ifdef POSTERN_CRASH_POINTS
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/span.h"

static struct {
	struct span name;    /* empty: none */
	_Atomic unsigned left; /* times to pass by */
	bool is_after_flush;
	_Atomic bool is_armed;
} stop;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void read_environment(void)
{
	struct span count = span_of(getenv("POSTERN_STOP_AT"));
	struct span name = span_cut(&count, ':');
	uint32_t n;

	stop.left = span_to_u32(count, UINT32_MAX, &n) == 0 && n > 0 ? n : 1;
	stop.is_after_flush = name.len > 0 && name.ptr[name.len - 1] == '+';
	stop.name = span_sub(name, 0, name.len - stop.is_after_flush);
}

static void die(void)
{
	raise(SIGKILL);
}

void crash_point(const char *name)
{
	pthread_once(&once, read_environment);
	if (!span_eq(stop.name, span_of(name)) || span_is_empty(stop.name) || atomic_fetch_sub(&stop.left, 1) != 1)
		return;
	if (!stop.is_after_flush)
		die();
	stop.is_armed = true;
}

void crash_flushed(void)
{
	if (stop.is_armed)
		die();
}
#endif
