/* The loop over libuv, with real descriptors, threads and signals. Nothing here depends on how long things take. */
#include "core/loop.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/err.h"
#include "core/metrics.h"
#include "tests/unit/unit.h"

static struct loop *loop;
static char trail[64]; /* one letter per callback, in order */

static void mark(char c)
{
	size_t n = strlen(trail);

	if (n + 1 < sizeof(trail))
		trail[n] = c;
}

static void begin(void)
{
	memset(trail, 0, sizeof(trail));
	CU_ASSERT_EQUAL_FATAL(loop_new(&loop), 0);
}

static void end(void)
{
	loop_free(loop);
	loop = NULL;
}

static void mark_timer(struct loop_timer *timer, void *arg)
{
	(void)timer;
	mark(*(const char *)arg);
}

static void stop_timer(struct loop_timer *timer, void *arg)
{
	(void)arg;
	loop_stop(timer->loop);
}

static void timers_run_in_order(void)
{
	struct loop_timer a, b, c, never, stop;

	begin();
	loop_timer_init(&a, loop, mark_timer, (void *)"a");
	loop_timer_init(&b, loop, mark_timer, (void *)"b");
	loop_timer_init(&c, loop, mark_timer, (void *)"c");
	loop_timer_init(&never, loop, mark_timer, (void *)"x");
	loop_timer_init(&stop, loop, stop_timer, NULL);
	loop_timer_start(&stop, 8);
	loop_timer_start(&c, 5);
	loop_timer_start(&never, 3);
	loop_timer_start(&b, 900000);
	loop_timer_start(&a, 0);
	loop_timer_start(&b, 2);
	loop_timer_stop(&never);
	CU_ASSERT_TRUE(loop_timer_is_running(&b));
	CU_ASSERT_FALSE(loop_timer_is_running(&never));
	CU_ASSERT_EQUAL(loop_run(loop), 0);
	CU_ASSERT_STRING_EQUAL(trail, "abc");
	CU_ASSERT_FALSE(loop_timer_is_running(&b));
	end();
}

static unsigned laps;

static void again_at_once(struct loop_timer *timer, void *arg)
{
	(void)arg;
	if (++laps == 3)
		loop_stop(timer->loop);
	else
		loop_timer_start(timer, 0);
}

static void zero_ms_inside_a_timer_does_not_starve_the_loop(void)
{
	struct loop_timer timer;

	begin();
	laps = 0;
	loop_timer_init(&timer, loop, again_at_once, NULL);
	loop_timer_start(&timer, 0);
	CU_ASSERT_EQUAL(loop_run(loop), 0);
	CU_ASSERT_EQUAL(laps, 3);
	end();
}

static struct loop_fd *watch;

static void on_pipe(void *arg, int fd, int events)
{
	char c;

	(void)arg;
	if (events & LOOP_READ) {
		CU_ASSERT_EQUAL(read(fd, &c, 1), 1);
		mark(c);
		if (c == 'z')
			loop_stop(loop);
	}
}

static void mark_flush(void *arg)
{
	if (trail[0] != '\0' && trail[strlen(trail) - 1] != *(const char *)arg)
		mark(*(const char *)arg);
}

static void reads_then_flushes(void)
{
	int fds[2];

	begin();
	CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
	CU_ASSERT_EQUAL(loop_on_flush(loop, mark_flush, (void *)"."), 0);
	CU_ASSERT_EQUAL(loop_fd_open(loop, fds[0], 0, on_pipe, NULL, &watch), 0);
	CU_ASSERT_EQUAL(loop_fd_want(watch, LOOP_READ), 0);
	CU_ASSERT_EQUAL(write(fds[1], "az", 2), 2);
	CU_ASSERT_EQUAL(loop_run(loop), 0);
	CU_ASSERT_STRING_EQUAL(trail, "a.z.");
	loop_fd_close(watch);
	loop_fd_close(NULL);
	close(fds[0]);
	close(fds[1]);
	end();
}

static void flush_hooks_have_a_limit(void)
{
	int err = 0;
	int n = 0;

	begin();
	while (err == 0 && n < 100) {
		err = loop_on_flush(loop, mark_flush, (void *)".");
		n += err == 0;
	}
	CU_ASSERT_EQUAL(err, ERR_LIMIT);
	CU_ASSERT_EQUAL(n, 16);
	end();
}

static void on_refused(void *arg, int fd, int events)
{
	char c;

	CU_ASSERT_TRUE(events & LOOP_READ);
	CU_ASSERT_EQUAL(recv(fd, &c, 1, MSG_DONTWAIT), -1);
	CU_ASSERT_EQUAL(errno, ECONNREFUSED);
	if (++*(unsigned *)arg == 2)
		loop_stop(loop);
	else
		CU_ASSERT_EQUAL(send(fd, "x", 1, 0), 1);
}

/* A connected datagram socket whose peer is gone: the watch must live on after the first error. */
static void a_pending_error_does_not_end_the_watch(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	unsigned errors = 0;
	int gone = socket(AF_INET, SOCK_DGRAM, 0);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	begin();
	CU_ASSERT_EQUAL_FATAL(bind(gone, (struct sockaddr *)&sin, len), 0);
	CU_ASSERT_EQUAL_FATAL(getsockname(gone, (struct sockaddr *)&sin, &len), 0);
	CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&sin, len), 0);
	close(gone);
	CU_ASSERT_EQUAL_FATAL(loop_fd_open(loop, fd, LOOP_READ, on_refused, &errors, &watch), 0);
	CU_ASSERT_EQUAL(send(fd, "x", 1, 0), 1);
	CU_ASSERT_EQUAL(loop_run(loop), 0);
	CU_ASSERT_EQUAL(errors, 2);
	loop_fd_close(watch);
	close(fd);
	end();
}

static void stop_on_wake(void *arg)
{
	loop_stop(arg);
}

static void *send_wake(void *arg)
{
	loop_wake_send(arg);
	return NULL;
}

static void another_thread_wakes(void)
{
	struct loop_wake *wake;
	pthread_t thread;

	begin();
	CU_ASSERT_EQUAL_FATAL(loop_wake_open(loop, stop_on_wake, loop, &wake), 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, send_wake, wake), 0);
	CU_ASSERT_EQUAL(loop_run(loop), 0);
	pthread_join(thread, NULL);
	loop_wake_close(wake);
	loop_wake_close(NULL);
	end();
}

static void on_usr1(void *arg, int signum)
{
	CU_ASSERT_EQUAL(signum, SIGUSR1);
	loop_stop(arg);
}

static void raise_usr1(struct loop_timer *timer, void *arg)
{
	(void)timer;
	(void)arg;
	raise(SIGUSR1);
}

static void signals_arrive(void)
{
	struct loop_timer timer;

	begin();
	CU_ASSERT_EQUAL(loop_on_signal(loop, SIGUSR1, on_usr1, loop), 0);
	CU_ASSERT_TRUE(loop_on_signal(loop, SIGKILL, on_usr1, loop) < 0);
	loop_timer_init(&timer, loop, raise_usr1, NULL);
	loop_timer_start(&timer, 1);
	CU_ASSERT_EQUAL(loop_run(loop), 0);
	end();
}

enum { CALLERS = 4, CALLS = 500 };
static unsigned calls_run; /* touched on the loop's thread only */
static pthread_t loop_thread;

static void count_call(void *arg)
{
	CU_ASSERT_TRUE(pthread_equal(pthread_self(), loop_thread));
	calls_run++;
	(*(unsigned *)arg)++;
}

static void stop_call(void *arg)
{
	loop_stop(arg);
}

static void *run_loop(void *arg)
{
	loop_thread = pthread_self();
	(void)loop_run(arg);
	return NULL;
}

static void *make_calls(void *arg)
{
	for (unsigned i = 0; i < CALLS; i++)
		if (loop_call(loop, count_call, arg, 60000) != 0)
			break;
	return NULL;
}

static void calls_from_many_threads_all_run(void)
{
	pthread_t runner, callers[CALLERS];
	unsigned counts[CALLERS] = { 0 };

	begin();
	calls_run = 0;
	pthread_create(&runner, NULL, run_loop, loop);
	for (unsigned i = 0; i < CALLERS; i++)
		pthread_create(&callers[i], NULL, make_calls, &counts[i]);
	for (unsigned i = 0; i < CALLERS; i++) {
		pthread_join(callers[i], NULL);
		CU_ASSERT_EQUAL(counts[i], CALLS);
	}
	CU_ASSERT_EQUAL(loop_call(loop, stop_call, loop, 60000), 0);
	pthread_join(runner, NULL);
	CU_ASSERT_EQUAL(calls_run, CALLERS * CALLS);
	CU_ASSERT_EQUAL(loop_call(loop, count_call, &counts[0], 60000), ERR_CLOSED);
	CU_ASSERT_EQUAL(counts[0], CALLS);
	end();
}

static void call_times_out_and_never_runs(void)
{
	struct loop_timer stop;
	unsigned count = 0;

	begin();
	calls_run = 0;
	CU_ASSERT_EQUAL(loop_call(loop, count_call, &count, 1), -ETIMEDOUT); /* nobody runs the loop */
	loop_timer_init(&stop, loop, stop_timer, NULL);
	loop_timer_start(&stop, 2);
	CU_ASSERT_EQUAL(loop_run(loop), 0);
	CU_ASSERT_EQUAL(count, 0);
	end();
}

static void time_moves_forward(void)
{
	struct loop_timer stop;
	uint64_t before_ms;

	begin();
	before_ms = loop_now_ms(loop);
	loop_timer_init(&stop, loop, stop_timer, NULL);
	loop_timer_start(&stop, 5);
	CU_ASSERT_EQUAL(loop_run(loop), 0);
	CU_ASSERT_TRUE(loop_now_ms(loop) >= before_ms + 5);
	CU_ASSERT_TRUE(loop_wall_ms(loop) > INT64_C(1600000000000));
	CU_ASSERT_TRUE(loop_spent_us(loop) > 0);
	end();
}

static void hold_up(struct loop_timer *timer, void *arg)
{
	(void)timer;
	(void)arg;
	usleep(1100 * 1000);
}

/* What holds the loop up makes the timers behind it late, by the time it took at least. */
static void late_timers_are_shown(void)
{
	struct loop_timer first, late, stop;
	const char *shown;
	char *text;

	begin();
	loop_timer_init(&first, loop, hold_up, NULL);
	loop_timer_init(&late, loop, mark_timer, (void *)"l");
	loop_timer_init(&stop, loop, stop_timer, NULL);
	loop_timer_start(&first, 0);
	loop_timer_start(&late, 50);
	loop_timer_start(&stop, 60);
	CU_ASSERT_EQUAL(loop_run(loop), 0);
	CU_ASSERT_STRING_EQUAL(trail, "l");
	text = metrics_text();
	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	shown = strstr(text, "\npostern_loop_lag_seconds ");
	CU_ASSERT_PTR_NOT_NULL_FATAL(shown);
	CU_ASSERT(strtod(shown + strlen("\npostern_loop_lag_seconds "), NULL) >= 1.0);
	free(text);
	end();
}

static void free_closes_what_was_left_open(void)
{
	struct loop_wake *wake;
	int fds[2];

	begin();
	CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
	CU_ASSERT_EQUAL(loop_fd_open(loop, fds[0], LOOP_READ, on_pipe, NULL, &watch), 0);
	CU_ASSERT_EQUAL(loop_wake_open(loop, stop_on_wake, loop, &wake), 0);
	end();
	loop_free(NULL);
	close(fds[0]);
	close(fds[1]);
}

static const struct unit_test tests[] = {
	{ "timers run in order", timers_run_in_order },
	{ "zero ms inside a timer does not starve the loop", zero_ms_inside_a_timer_does_not_starve_the_loop },
	{ "reads, then flushes", reads_then_flushes },
	{ "flush hooks have a limit", flush_hooks_have_a_limit },
	{ "a pending error does not end the watch", a_pending_error_does_not_end_the_watch },
	{ "another thread wakes the loop", another_thread_wakes },
	{ "signals arrive", signals_arrive },
	{ "calls from many threads all run", calls_from_many_threads_all_run },
	{ "a call times out and never runs", call_times_out_and_never_runs },
	{ "time moves forward", time_moves_forward },
	{ "late timers are shown", late_timers_are_shown },
	{ "free closes what was left open", free_closes_what_was_left_open },
};

UNIT_MAIN("loop", tests)
