/* See tests/mock/fake_loop.h. Shares the timing wheel with core/loop.c, so both fire timers in the same order. */
#include "tests/mock/fake_loop.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/err.h"
#include "core/list.h"
#include "core/wheel.h"

enum { HOOKS_MAX = 16, TURNS_MAX = 1000, FDS_MAX = 256 /* of fake_loop_fire_ready() */ };

struct flush_hook {
	loop_flush_fn *fn;
	void *arg;
};
struct signal_hook {
	int signum;
	loop_signal_fn *fn;
	void *arg;
};

struct loop {
	struct wheel wheel;
	uint64_t now_ms;
	int64_t wall_ms;
	bool is_stopped;
	bool is_firing;
	struct list fds;
	struct list wakes;
	struct flush_hook flush_hooks[HOOKS_MAX];
	unsigned n_flush_hooks;
	struct signal_hook signal_hooks[HOOKS_MAX];
	unsigned n_signal_hooks;
};

struct loop_fd {
	struct list node;
	int fd;
	int events;
	loop_fd_fn *fn;
	void *arg;
};

struct loop_wake {
	struct list node;
	atomic_bool is_pending;
	loop_wake_fn *fn;
	void *arg;
};

int loop_new(struct loop **ret_loop)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (loop == NULL)
		return -ENOMEM;
	loop->now_ms = FAKE_LOOP_START_MS;
	loop->wall_ms = FAKE_LOOP_START_WALL_MS;
	wheel_init(&loop->wheel, loop->now_ms);
	list_init(&loop->fds);
	list_init(&loop->wakes);
	*ret_loop = loop;
	return 0;
}

void loop_free(struct loop *loop)
{
	if (loop == NULL)
		return;
	LIST_EACH(&loop->fds, node)
		loop_fd_close(LIST_ENTRY(node, struct loop_fd, node));
	LIST_EACH(&loop->wakes, node)
		loop_wake_close(LIST_ENTRY(node, struct loop_wake, node));
	free(loop);
}

static bool run_one_wake(struct loop *loop)
{
	LIST_EACH(&loop->wakes, node) {
		struct loop_wake *wake = LIST_ENTRY(node, struct loop_wake, node);

		if (atomic_exchange(&wake->is_pending, false)) {
			wake->fn(wake->arg);
			return true;
		}
	}
	return false;
}

static void run_timers(struct loop *loop)
{
	struct loop_timer *timer;

	loop->is_firing = true;
	while ((timer = wheel_pop(&loop->wheel, loop->now_ms)) != NULL)
		timer->fn(timer, timer->arg);
	loop->is_firing = false;
}

static bool has_work(const struct loop *loop)
{
	uint64_t next_ms;

	LIST_EACH(&loop->wakes, node)
		if (atomic_load(&LIST_ENTRY(node, struct loop_wake, node)->is_pending))
			return true;
	return wheel_next(&loop->wheel, &next_ms) && next_ms <= loop->now_ms;
}

void fake_loop_turn(struct loop *loop)
{
	unsigned turns = 0;

	do {
		for (unsigned i = 0; i < TURNS_MAX && run_one_wake(loop); i++)
			;
		run_timers(loop);
		for (unsigned i = 0; i < loop->n_flush_hooks; i++)
			loop->flush_hooks[i].fn(loop->flush_hooks[i].arg);
	} while (has_work(loop) && ++turns < TURNS_MAX);
}

static void set_now(struct loop *loop, uint64_t now_ms)
{
	loop->wall_ms += (int64_t)(now_ms - loop->now_ms);
	loop->now_ms = now_ms;
}

void fake_loop_advance(struct loop *loop, uint64_t ms)
{
	uint64_t until_ms = loop->now_ms + ms;
	uint64_t next_ms;

	fake_loop_turn(loop);
	while (wheel_next(&loop->wheel, &next_ms) && next_ms <= until_ms) {
		set_now(loop, next_ms > loop->now_ms ? next_ms : loop->now_ms);
		fake_loop_turn(loop);
	}
	set_now(loop, until_ms);
	fake_loop_turn(loop);
}

void fake_loop_set_wall(struct loop *loop, int64_t wall_ms)
{
	loop->wall_ms = wall_ms;
}

bool fake_loop_fire_fd(struct loop *loop, int fd, int events)
{
	LIST_EACH(&loop->fds, node) {
		struct loop_fd *watch = LIST_ENTRY(node, struct loop_fd, node);

		if (watch->fd == fd && (watch->events & events) != 0) {
			watch->fn(watch->arg, fd, watch->events & events);
			fake_loop_turn(loop);
			return true;
		}
	}
	return false;
}

bool fake_loop_fire_ready(struct loop *loop)
{
	bool has_fired = false;

	for (int fd = 0; fd < FDS_MAX; fd++) {
		struct pollfd ready = { .fd = fd, .events = POLLIN | POLLOUT };
		int events;

		if (poll(&ready, 1, 0) <= 0 || (ready.revents & POLLNVAL))
			continue;
		events = (ready.revents & (POLLIN | POLLHUP | POLLERR) ? LOOP_READ : 0) |
			 (ready.revents & (POLLOUT | POLLHUP | POLLERR) ? LOOP_WRITE : 0);
		has_fired |= fake_loop_fire_fd(loop, fd, events);
	}
	return has_fired;
}

bool fake_loop_fire_signal(struct loop *loop, int signum)
{
	for (unsigned i = 0; i < loop->n_signal_hooks; i++) {
		if (loop->signal_hooks[i].signum != signum)
			continue;
		loop->signal_hooks[i].fn(loop->signal_hooks[i].arg, signum);
		fake_loop_turn(loop);
		return true;
	}
	return false;
}

bool fake_loop_next_due(const struct loop *loop, uint64_t *ret_ms)
{
	return wheel_next(&loop->wheel, ret_ms);
}

unsigned fake_loop_open_handles(const struct loop *loop)
{
	unsigned n = 0;

	LIST_EACH(&loop->fds, node)
		n++;
	LIST_EACH(&loop->wakes, node)
		n++;
	return n;
}

int loop_run(struct loop *loop)
{
	uint64_t next_ms;

	loop->is_stopped = false;
	fake_loop_turn(loop);
	while (!loop->is_stopped) {
		if (!wheel_next(&loop->wheel, &next_ms))
			return ERR_STATE; /* a real loop would sleep for ever */
		fake_loop_advance(loop, next_ms - loop->now_ms);
	}
	return 0;
}

void loop_stop(struct loop *loop)
{
	loop->is_stopped = true;
}

uint64_t loop_now_ms(const struct loop *loop)
{
	return loop->now_ms;
}

uint64_t loop_clock_us(const struct loop *loop)
{
	return loop->now_ms * 1000;
}

uint64_t loop_spent_us(const struct loop *loop)
{
	(void)loop;
	return 0;
}

int64_t loop_wall_ms(const struct loop *loop)
{
	return loop->wall_ms;
}

void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_timer_fn *fn, void *arg)
{
	*timer = (struct loop_timer){ .loop = loop, .fn = fn, .arg = arg };
}

void loop_timer_start(struct loop_timer *timer, uint64_t ms)
{
	struct loop *loop = timer->loop;

	if (ms == 0 && loop->is_firing)
		ms = 1;
	if (ms > WHEEL_MAX_MS)
		ms = WHEEL_MAX_MS;
	wheel_remove(&loop->wheel, timer);
	wheel_add(&loop->wheel, timer, loop->now_ms + ms);
}

void loop_timer_stop(struct loop_timer *timer)
{
	if (wheel_has(timer))
		wheel_remove(&timer->loop->wheel, timer);
}

bool loop_timer_is_running(const struct loop_timer *timer)
{
	return wheel_has(timer);
}

int loop_fd_open(struct loop *loop, int fd, int events, loop_fd_fn *fn, void *arg, struct loop_fd **ret)
{
	struct loop_fd *watch = calloc(1, sizeof(*watch));

	if (watch == NULL)
		return -ENOMEM;
	*watch = (struct loop_fd){ .fd = fd, .events = events, .fn = fn, .arg = arg };
	list_append(&loop->fds, &watch->node);
	*ret = watch;
	return 0;
}

int loop_fd_want(struct loop_fd *watch, int events)
{
	watch->events = events;
	return 0;
}

void loop_fd_close(struct loop_fd *watch)
{
	if (watch == NULL)
		return;
	list_remove(&watch->node);
	free(watch);
}

int loop_wake_open(struct loop *loop, loop_wake_fn *fn, void *arg, struct loop_wake **ret)
{
	struct loop_wake *wake = calloc(1, sizeof(*wake));

	if (wake == NULL)
		return -ENOMEM;
	wake->fn = fn;
	wake->arg = arg;
	list_append(&loop->wakes, &wake->node);
	*ret = wake;
	return 0;
}

void loop_wake_send(struct loop_wake *wake)
{
	atomic_store(&wake->is_pending, true);
}

void loop_wake_close(struct loop_wake *wake)
{
	if (wake == NULL)
		return;
	list_remove(&wake->node);
	free(wake);
}

int loop_on_flush(struct loop *loop, loop_flush_fn *fn, void *arg)
{
	if (loop->n_flush_hooks == HOOKS_MAX)
		return ERR_LIMIT;
	loop->flush_hooks[loop->n_flush_hooks++] = (struct flush_hook){ fn, arg };
	return 0;
}

int loop_on_signal(struct loop *loop, int signum, loop_signal_fn *fn, void *arg)
{
	if (loop->n_signal_hooks == HOOKS_MAX)
		return ERR_LIMIT;
	loop->signal_hooks[loop->n_signal_hooks++] = (struct signal_hook){ signum, fn, arg };
	return 0;
}

int loop_call(struct loop *loop, void (*fn)(void *arg), void *arg, unsigned timeout_ms)
{
	(void)loop;
	(void)timeout_ms;
	fn(arg);
	return 0;
}
