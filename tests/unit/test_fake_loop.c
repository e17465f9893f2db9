/* The loop that other tests rely on: order of timers, the clock inside a callback, flush, wakes, descriptors. */
#include "tests/mock/fake_loop.h"

#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "tests/unit/unit.h"

static struct loop *loop;
static uint64_t seen_ms[8];
static unsigned n_seen;
static unsigned flushes;

static void note_time(struct loop_timer *timer, void *arg)
{
	(void)arg;
	if (n_seen < 8)
		seen_ms[n_seen++] = loop_now_ms(timer->loop) - FAKE_LOOP_START_MS;
}

static void restart(struct loop_timer *timer, void *arg)
{
	note_time(timer, NULL);
	loop_timer_start(timer, *(uint64_t *)arg);
}

static void count_flush(void *arg)
{
	(void)arg;
	flushes++;
}

static void begin(void)
{
	n_seen = flushes = 0;
	CU_ASSERT_EQUAL_FATAL(loop_new(&loop), 0);
	CU_ASSERT_EQUAL(loop_on_flush(loop, count_flush, NULL), 0);
}

static void callbacks_see_their_due_time(void)
{
	struct loop_timer a, b, periodic;
	uint64_t period_ms = 40;

	begin();
	loop_timer_init(&a, loop, note_time, NULL);
	loop_timer_init(&b, loop, note_time, NULL);
	loop_timer_init(&periodic, loop, restart, &period_ms);
	loop_timer_start(&b, 100);
	loop_timer_start(&a, 7);
	loop_timer_start(&periodic, period_ms);
	fake_loop_advance(loop, 99);
	CU_ASSERT_EQUAL(n_seen, 3);
	fake_loop_advance(loop, 1);
	CU_ASSERT_EQUAL_FATAL(n_seen, 4);
	CU_ASSERT_EQUAL(seen_ms[0], 7);
	CU_ASSERT_EQUAL(seen_ms[1], 40);
	CU_ASSERT_EQUAL(seen_ms[2], 80);
	CU_ASSERT_EQUAL(seen_ms[3], 100);
	CU_ASSERT_EQUAL(loop_now_ms(loop), FAKE_LOOP_START_MS + 100);
	CU_ASSERT_EQUAL(loop_wall_ms(loop), FAKE_LOOP_START_WALL_MS + 100);
	loop_timer_stop(&periodic);
	loop_free(loop);
}

static void wall_clock_is_set_by_hand(void)
{
	begin();
	fake_loop_set_wall(loop, 5000);
	fake_loop_advance(loop, 250);
	CU_ASSERT_EQUAL(loop_wall_ms(loop), 5250);
	CU_ASSERT_EQUAL(loop_now_ms(loop), FAKE_LOOP_START_MS + 250);
	loop_free(loop);
}

static unsigned wakes;

static void on_wake(void *arg)
{
	wakes++;
	if (arg != NULL)
		loop_wake_close(*(struct loop_wake **)arg);
}

static void wakes_run_at_the_next_turn(void)
{
	struct loop_wake *wake, *closes_itself;

	begin();
	wakes = 0;
	CU_ASSERT_EQUAL(loop_wake_open(loop, on_wake, NULL, &wake), 0);
	CU_ASSERT_EQUAL(loop_wake_open(loop, on_wake, &closes_itself, &closes_itself), 0);
	loop_wake_send(wake);
	loop_wake_send(wake);
	loop_wake_send(closes_itself);
	CU_ASSERT_EQUAL(wakes, 0);
	fake_loop_turn(loop);
	CU_ASSERT_EQUAL(wakes, 2);
	CU_ASSERT_EQUAL(flushes, 1);
	CU_ASSERT_EQUAL(fake_loop_open_handles(loop), 1);
	loop_wake_close(wake);
	loop_free(loop);
}

static int last_events;

static void on_fd(void *arg, int fd, int events)
{
	(void)arg;
	(void)fd;
	last_events = events;
}

static void descriptors_fire_by_hand(void)
{
	struct loop_fd *watch;

	begin();
	CU_ASSERT_EQUAL(loop_fd_open(loop, 77, LOOP_READ, on_fd, NULL, &watch), 0);
	CU_ASSERT_TRUE(fake_loop_fire_fd(loop, 77, LOOP_READ | LOOP_WRITE));
	CU_ASSERT_EQUAL(last_events, LOOP_READ);
	CU_ASSERT_EQUAL(flushes, 1);
	CU_ASSERT_FALSE(fake_loop_fire_fd(loop, 77, LOOP_WRITE));
	CU_ASSERT_FALSE(fake_loop_fire_fd(loop, 78, LOOP_READ));
	CU_ASSERT_EQUAL(loop_fd_want(watch, LOOP_WRITE), 0);
	CU_ASSERT_TRUE(fake_loop_fire_fd(loop, 77, LOOP_READ | LOOP_WRITE));
	CU_ASSERT_EQUAL(last_events, LOOP_WRITE);
	loop_fd_close(watch);
	CU_ASSERT_EQUAL(fake_loop_open_handles(loop), 0);
	loop_free(loop);
}

static void stop_after(struct loop_timer *timer, void *arg)
{
	(void)arg;
	loop_stop(timer->loop);
}

static void run_jumps_to_the_stop(void)
{
	struct loop_timer stop;

	begin();
	CU_ASSERT_EQUAL(loop_run(loop), ERR_STATE); /* nothing would ever happen */
	loop_timer_init(&stop, loop, stop_after, NULL);
	loop_timer_start(&stop, 3600000);
	CU_ASSERT_EQUAL(loop_run(loop), 0);
	CU_ASSERT_EQUAL(loop_now_ms(loop), FAKE_LOOP_START_MS + 3600000);
	loop_free(loop);
}

static const struct unit_test tests[] = {
	{ "callbacks see their due time", callbacks_see_their_due_time },
	{ "the wall clock is set by hand", wall_clock_is_set_by_hand },
	{ "wakes run at the next turn", wakes_run_at_the_next_turn },
	{ "descriptors fire by hand", descriptors_fire_by_hand },
	{ "run jumps to the stop", run_jumps_to_the_stop },
};

UNIT_MAIN("fake_loop", tests)
