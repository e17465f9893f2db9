/* The event loop of core/loop.h without libuv and without real time: a clock that tests set by hand. Link
 * libfakeloop.a in front of libcore.a; it defines every symbol of core/loop.c, so that one is left out.
 *
 * A turn runs pending wakes, then due timers, then the flush hooks, and repeats while a flush hook wakes someone.
 * loop_call() runs the function at once; loop_run() advances from timer to timer until loop_stop(). */
#ifndef TESTS_MOCK_FAKE_LOOP_H
#define TESTS_MOCK_FAKE_LOOP_H

#include "core/loop.h"

#define FAKE_LOOP_START_MS UINT64_C(1234567)             /* loop_now_ms() of a new loop */
#define FAKE_LOOP_START_WALL_MS INT64_C(1767225600000)   /* 2026-01-01T00:00:00Z */

/* Lets `ms` pass: every timer that becomes due runs with the clock at its due time, followed by a turn. */
void fake_loop_advance(struct loop *loop, uint64_t ms);
/* One turn at the present time. */
void fake_loop_turn(struct loop *loop);
/* Wall clock only; it goes on from there with fake_loop_advance(). */
void fake_loop_set_wall(struct loop *loop, int64_t wall_ms);
/* Calls the watch of fd with those of the events that it wants, then runs a turn. False when nobody wants them. */
bool fake_loop_fire_fd(struct loop *loop, int fd, int events);
/* The same for every descriptor that the kernel calls ready. False when there was none. */
bool fake_loop_fire_ready(struct loop *loop);
/* Calls the handler of the signal, then runs a turn. False when there is none. */
bool fake_loop_fire_signal(struct loop *loop, int signum);
/* When the next timer is due; false when none is running. */
bool fake_loop_next_due(const struct loop *loop, uint64_t *ret_ms);
/* Descriptors and wakes that are open, to find leaks. */
unsigned fake_loop_open_handles(const struct loop *loop);

#endif
