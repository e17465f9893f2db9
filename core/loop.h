/* The event loop of the control thread, and the clock. Hides libuv. Nobody else reads time; tests link
 * tests/mock/fake_loop.c, which has the same symbols and a clock that is set by hand.
 *
 * How late timers run is shown as postern_loop_lag_seconds.
 *
 * All functions belong to the loop's thread except where "any thread" is said. Callbacks run on the loop's thread. */
#ifndef CORE_LOOP_H
#define CORE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;

int loop_new(struct loop **ret_loop);
/* Timers must be stopped and fds and wakes closed before, and no other thread may be inside loop_call() or
 * loop_wake_send(). NULL is fine. */
void loop_free(struct loop *loop);
int loop_run(struct loop *loop);   /* until loop_stop(); 0 or an error */
void loop_stop(struct loop *loop);  /* harmless when it does not run */

/* Monotonic time, read once per turn of the loop. */
uint64_t loop_now_ms(const struct loop *loop);
/* Monotonic time in microseconds, read at every call: only to measure how long something takes. Any thread. */
uint64_t loop_clock_us(const struct loop *loop);
/* Processor time that the calling thread has used, in microseconds: for what one call may cost. Any thread. */
uint64_t loop_spent_us(const struct loop *loop);
/* Wall clock in milliseconds since 1970 UTC, for records only. Any thread. */
int64_t loop_wall_ms(const struct loop *loop);

/* Timers: embedded in their owner, no allocation, start and stop in constant time (a timing wheel, 1 ms ticks). */
struct loop_timer;
typedef void loop_timer_fn(struct loop_timer *timer, void *arg);
struct loop_timer {
	struct loop_timer *next; /* private */
	struct loop_timer **link;
	uint64_t due_ms;
	struct loop *loop;
	loop_timer_fn *fn;
	void *arg;
};
void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_timer_fn *fn, void *arg);
/* Fires once, `ms` from now; restarts when running. fn may free the timer's owner. Timers with the same due time fire in
 * the order they were started; 0 ms from inside a timer's fn means the next tick. */
void loop_timer_start(struct loop_timer *timer, uint64_t ms);
void loop_timer_stop(struct loop_timer *timer); /* harmless when not running */
bool loop_timer_is_running(const struct loop_timer *timer);

/* Descriptors. */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
struct loop_fd;
/* A descriptor with an error pending counts as ready for all that was wanted: the next read or write tells. */
typedef void loop_fd_fn(void *arg, int fd, int events);
int loop_fd_open(struct loop *loop, int fd, int events, loop_fd_fn *fn, void *arg, struct loop_fd **ret);
int loop_fd_want(struct loop_fd *watch, int events);
void loop_fd_close(struct loop_fd *watch); /* stops watching; the descriptor stays the caller's. NULL is fine */

/* Wake-ups from other threads. */
struct loop_wake;
typedef void loop_wake_fn(void *arg);
int loop_wake_open(struct loop *loop, loop_wake_fn *fn, void *arg, struct loop_wake **ret);
void loop_wake_send(struct loop_wake *wake); /* any thread; several sends may make one call */
void loop_wake_close(struct loop_wake *wake);

/* Called in every turn, after its events and before the loop sleeps: the place to flush what was queued. For the life
 * of the loop; 0 or ERR_LIMIT. */
typedef void loop_flush_fn(void *arg);
int loop_on_flush(struct loop *loop, loop_flush_fn *fn, void *arg);

/* Signals (SIGTERM, SIGINT, SIGHUP). */
typedef void loop_signal_fn(void *arg, int signum);
int loop_on_signal(struct loop *loop, int signum, loop_signal_fn *fn, void *arg);

/* Runs fn(arg) on the loop's thread and waits for it, from any other thread. Returns 0 when it ran, -ETIMEDOUT
 * when it did not start within timeout_ms (then it never will), ERR_CLOSED when the loop has ended. A call that has
 * started is waited for to its end. */
int loop_call(struct loop *loop, void (*fn)(void *arg), void *arg, unsigned timeout_ms);

#endif
