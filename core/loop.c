/* The event loop of core/loop.h over libuv. The only file that includes uv.h.
 *
 * All timers share one uv_timer that is set, once per turn, to the next due time of the timing wheel. The prepare
 * handle runs after the events of a turn and before the loop sleeps: flush hooks, then that setting of the timer.
 * Other threads touch only uv_async_send() and, under `calls_lock`, the queue of loop_call(). */
#include "core/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

#include "core/err.h"
#include "core/list.h"
#include "core/metrics.h"
#include "core/wheel.h"

enum { FLUSH_HOOKS_MAX = 16, LAG_WINDOW_MS = 1000 };
#define NOT_ARMED UINT64_MAX

struct flush_hook {
	loop_flush_fn *fn;
	void *arg;
};

static struct metric lag = { "postern_loop_lag_seconds", NULL,
			     "How late the control loop's timers ran: the maximum of the last second in which any ran.",
			     METRIC_GAUGE, 0.001, 0 };

struct loop {
	uv_loop_t uv;
	uv_timer_t timer;
	uv_prepare_t prepare;
	uv_async_t calls_wake;
	struct wheel wheel;
	uint64_t armed_ms; /* what `timer` is set to, or NOT_ARMED */
	uint64_t lag_since_ms, lag_max_ms; /* not published yet */
	bool is_running;
	bool is_firing;    /* inside timer callbacks */
	struct flush_hook flush_hooks[FLUSH_HOOKS_MAX];
	unsigned n_flush_hooks;
	pthread_mutex_t calls_lock;
	struct list calls; /* of struct call, waiting to run */
	bool has_ended;    /* no call will run any more */
};

enum call_state { CALL_QUEUED, CALL_RUNNING, CALL_DONE, CALL_REFUSED };

/* Lives on the stack of the waiting thread, which leaves only when the loop holds no pointer to it. */
struct call {
	struct list node;
	enum call_state state;
	pthread_cond_t changed;
	void (*fn)(void *arg);
	void *arg;
};

/* Every handle that is not inside struct loop; freed by its close callback. */
struct loop_fd {
	uv_poll_t poll;
	int fd;
	int events;
	loop_fd_fn *fn;
	void *arg;
};
struct loop_wake {
	uv_async_t async;
	loop_wake_fn *fn;
	void *arg;
};
struct signal_watch {
	uv_signal_t signal;
	loop_signal_fn *fn;
	void *arg;
};

static void free_handle(uv_handle_t *handle)
{
	free(handle->data);
}

/* Timers */

void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_timer_fn *fn, void *arg)
{
	*timer = (struct loop_timer){ .loop = loop, .fn = fn, .arg = arg };
}

void loop_timer_start(struct loop_timer *timer, uint64_t ms)
{
	struct loop *loop = timer->loop;

	if (!loop->is_running)
		uv_update_time(&loop->uv); /* before the first turn its time is that of loop_new() */
	/* A callback that starts a timer of 0 ms must not keep this turn alive for ever. */
	if (ms == 0 && loop->is_firing)
		ms = 1;
	if (ms > WHEEL_MAX_MS)
		ms = WHEEL_MAX_MS;
	wheel_remove(&loop->wheel, timer);
	wheel_add(&loop->wheel, timer, loop_now_ms(loop) + ms);
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

/* Of the timers of one turn the one that was waited for is the latest. */
static void note_lag(struct loop *loop, uint64_t due_ms)
{
	uint64_t now_ms = loop_now_ms(loop);

	if (now_ms > due_ms && now_ms - due_ms > loop->lag_max_ms)
		loop->lag_max_ms = now_ms - due_ms;
	if (now_ms - loop->lag_since_ms < LAG_WINDOW_MS)
		return;
	metric_set(&lag, (int64_t)loop->lag_max_ms);
	loop->lag_since_ms = now_ms;
	loop->lag_max_ms = 0;
}

static void fire_timers(uv_timer_t *handle)
{
	struct loop *loop = handle->data;
	struct loop_timer *timer;

	note_lag(loop, loop->armed_ms);
	loop->armed_ms = NOT_ARMED;
	loop->is_firing = true;
	while ((timer = wheel_pop(&loop->wheel, loop_now_ms(loop))) != NULL)
		timer->fn(timer, timer->arg);
	loop->is_firing = false;
}

static void arm_timer(struct loop *loop)
{
	uint64_t now_ms = loop_now_ms(loop);
	uint64_t next_ms = NOT_ARMED;

	(void)wheel_next(&loop->wheel, &next_ms);
	if (next_ms == loop->armed_ms)
		return;
	loop->armed_ms = next_ms;
	if (next_ms == NOT_ARMED)
		uv_timer_stop(&loop->timer);
	else
		uv_timer_start(&loop->timer, fire_timers, next_ms > now_ms ? next_ms - now_ms : 0, 0);
}

/* Turns */

static void flush(struct loop *loop)
{
	for (unsigned i = 0; i < loop->n_flush_hooks; i++)
		loop->flush_hooks[i].fn(loop->flush_hooks[i].arg);
}

static void before_sleep(uv_prepare_t *handle)
{
	struct loop *loop = handle->data;

	flush(loop);
	arm_timer(loop);
}

int loop_on_flush(struct loop *loop, loop_flush_fn *fn, void *arg)
{
	if (loop->n_flush_hooks == FLUSH_HOOKS_MAX)
		return ERR_LIMIT;
	loop->flush_hooks[loop->n_flush_hooks++] = (struct flush_hook){ fn, arg };
	return 0;
}

/* Calls from other threads */

static void set_call_state(struct call *call, enum call_state state)
{
	call->state = state;
	/* Under the lock: once it is released, the waiting thread may return and `call` is gone. */
	pthread_cond_signal(&call->changed);
}

static void run_calls(uv_async_t *handle)
{
	struct loop *loop = handle->data;

	pthread_mutex_lock(&loop->calls_lock);
	while (!list_is_empty(&loop->calls)) {
		struct call *call = LIST_ENTRY(loop->calls.next, struct call, node);

		list_remove(&call->node);
		call->state = CALL_RUNNING;
		pthread_mutex_unlock(&loop->calls_lock);
		call->fn(call->arg);
		pthread_mutex_lock(&loop->calls_lock);
		set_call_state(call, CALL_DONE);
	}
	pthread_mutex_unlock(&loop->calls_lock);
}

static void set_ended(struct loop *loop, bool has_ended)
{
	pthread_mutex_lock(&loop->calls_lock);
	loop->has_ended = has_ended;
	while (has_ended && !list_is_empty(&loop->calls)) {
		struct call *call = LIST_ENTRY(loop->calls.next, struct call, node);

		list_remove(&call->node);
		set_call_state(call, CALL_REFUSED);
	}
	pthread_mutex_unlock(&loop->calls_lock);
}

static int cond_init_monotonic(pthread_cond_t *cond)
{
	pthread_condattr_t attr;
	int err = pthread_condattr_init(&attr);

	if (err != 0)
		return -err;
	err = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	if (err == 0)
		err = pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
	return -err;
}

static struct timespec deadline_in(unsigned ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += (long)(ms % 1000) * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return t;
}

/* With the lock held. A call that has begun is waited for to its end, however long it takes: its argument belongs to
 * the waiting thread. */
static int wait_for_call(struct loop *loop, struct call *call, unsigned timeout_ms)
{
	const struct timespec deadline = deadline_in(timeout_ms);
	int err = 0;

	while (call->state == CALL_QUEUED && err == 0)
		err = pthread_cond_timedwait(&call->changed, &loop->calls_lock, &deadline);
	if (call->state == CALL_QUEUED) {
		list_remove(&call->node);
		return -ETIMEDOUT;
	}
	while (call->state == CALL_RUNNING)
		pthread_cond_wait(&call->changed, &loop->calls_lock);
	return call->state == CALL_DONE ? 0 : ERR_CLOSED;
}

int loop_call(struct loop *loop, void (*fn)(void *arg), void *arg, unsigned timeout_ms)
{
	struct call call = { .state = CALL_QUEUED, .fn = fn, .arg = arg };
	int err = cond_init_monotonic(&call.changed);

	if (err < 0)
		return err;
	pthread_mutex_lock(&loop->calls_lock);
	if (loop->has_ended) {
		err = ERR_CLOSED;
	} else {
		list_append(&loop->calls, &call.node);
		uv_async_send(&loop->calls_wake);
		err = wait_for_call(loop, &call, timeout_ms);
	}
	pthread_mutex_unlock(&loop->calls_lock);
	pthread_cond_destroy(&call.changed);
	return err;
}

/* Life of the loop */

static int init_handles(struct loop *loop)
{
	int err = uv_timer_init(&loop->uv, &loop->timer);

	loop->timer.data = loop;
	if (err == 0)
		err = uv_prepare_init(&loop->uv, &loop->prepare);
	loop->prepare.data = loop;
	if (err == 0)
		err = uv_prepare_start(&loop->prepare, before_sleep);
	if (err == 0)
		err = uv_async_init(&loop->uv, &loop->calls_wake, run_calls);
	loop->calls_wake.data = loop;
	return err;
}

static void register_metrics(void)
{
	static bool is_done;

	if (!is_done)
		metrics_register(&lag, 1);
	is_done = true;
}

int loop_new(struct loop **ret_loop)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int err;

	if (loop == NULL)
		return -ENOMEM;
	err = uv_loop_init(&loop->uv);
	if (err < 0) {
		free(loop);
		return err;
	}
	pthread_mutex_init(&loop->calls_lock, NULL);
	list_init(&loop->calls);
	wheel_init(&loop->wheel, uv_now(&loop->uv));
	loop->armed_ms = NOT_ARMED;
	loop->lag_since_ms = uv_now(&loop->uv);
	err = init_handles(loop);
	if (err < 0) {
		loop_free(loop);
		return err;
	}
	register_metrics();
	*ret_loop = loop;
	return 0;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
	struct loop *loop = arg;
	bool is_embedded = handle == (uv_handle_t *)&loop->timer || handle == (uv_handle_t *)&loop->prepare ||
			   handle == (uv_handle_t *)&loop->calls_wake;

	if (!uv_is_closing(handle))
		uv_close(handle, is_embedded ? NULL : free_handle);
}

void loop_free(struct loop *loop)
{
	if (loop == NULL)
		return;
	set_ended(loop, true);
	uv_walk(&loop->uv, close_handle, loop);
	(void)uv_run(&loop->uv, UV_RUN_DEFAULT); /* runs the close callbacks */
	(void)uv_loop_close(&loop->uv);
	pthread_mutex_destroy(&loop->calls_lock);
	free(loop);
}

int loop_run(struct loop *loop)
{
	int err;

	uv_update_time(&loop->uv);
	set_ended(loop, false);
	loop->is_running = true;
	err = uv_run(&loop->uv, UV_RUN_DEFAULT);
	flush(loop); /* what the stopping callback queued */
	loop->is_running = false;
	set_ended(loop, true);
	return err < 0 ? err : 0;
}

void loop_stop(struct loop *loop)
{
	if (loop->is_running) /* else the next uv_run(), in loop_free(), would end before it closed anything */
		uv_stop(&loop->uv);
}

uint64_t loop_now_ms(const struct loop *loop)
{
	return uv_now(&loop->uv);
}

uint64_t loop_clock_us(const struct loop *loop)
{
	struct timespec t;

	(void)loop;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t loop_spent_us(const struct loop *loop)
{
	struct timespec t;

	(void)loop;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

int64_t loop_wall_ms(const struct loop *loop)
{
	struct timespec t;

	(void)loop;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Descriptors */

static void on_poll(uv_poll_t *handle, int status, int uv_events);

static int start_poll(struct loop_fd *watch)
{
	int uv_events = (watch->events & LOOP_READ ? UV_READABLE : 0) | (watch->events & LOOP_WRITE ? UV_WRITABLE : 0);

	return uv_events ? uv_poll_start(&watch->poll, uv_events, on_poll) : uv_poll_stop(&watch->poll);
}

static void on_poll(uv_poll_t *handle, int status, int uv_events)
{
	struct loop_fd *watch = handle->data;
	int events = (uv_events & UV_READABLE ? LOOP_READ : 0) | (uv_events & UV_WRITABLE ? LOOP_WRITE : 0);

	/* libuv stops a descriptor that has an error pending, such as a refused datagram. The owner learns the error
	 * from its next read or write, and decides. */
	if (status < 0) {
		events = watch->events;
		(void)start_poll(watch);
	}
	watch->fn(watch->arg, watch->fd, events);
}

int loop_fd_open(struct loop *loop, int fd, int events, loop_fd_fn *fn, void *arg, struct loop_fd **ret)
{
	struct loop_fd *watch = calloc(1, sizeof(*watch));
	int err;

	if (watch == NULL)
		return -ENOMEM;
	*watch = (struct loop_fd){ .fd = fd, .events = events, .fn = fn, .arg = arg };
	err = uv_poll_init(&loop->uv, &watch->poll, fd);
	if (err < 0) {
		free(watch);
		return err;
	}
	watch->poll.data = watch;
	err = start_poll(watch);
	if (err < 0) {
		loop_fd_close(watch);
		return err;
	}
	*ret = watch;
	return 0;
}

int loop_fd_want(struct loop_fd *watch, int events)
{
	if (watch->events == events)
		return 0;
	watch->events = events;
	return start_poll(watch);
}

void loop_fd_close(struct loop_fd *watch)
{
	if (watch != NULL)
		uv_close((uv_handle_t *)&watch->poll, free_handle);
}

/* Wake-ups and signals */

static void on_wake(uv_async_t *handle)
{
	struct loop_wake *wake = handle->data;

	wake->fn(wake->arg);
}

int loop_wake_open(struct loop *loop, loop_wake_fn *fn, void *arg, struct loop_wake **ret)
{
	struct loop_wake *wake = calloc(1, sizeof(*wake));
	int err;

	if (wake == NULL)
		return -ENOMEM;
	wake->fn = fn;
	wake->arg = arg;
	err = uv_async_init(&loop->uv, &wake->async, on_wake);
	if (err < 0) {
		free(wake);
		return err;
	}
	wake->async.data = wake;
	*ret = wake;
	return 0;
}

void loop_wake_send(struct loop_wake *wake)
{
	uv_async_send(&wake->async);
}

void loop_wake_close(struct loop_wake *wake)
{
	if (wake != NULL)
		uv_close((uv_handle_t *)&wake->async, free_handle);
}

static void on_signal(uv_signal_t *handle, int signum)
{
	struct signal_watch *watch = handle->data;

	watch->fn(watch->arg, signum);
}

int loop_on_signal(struct loop *loop, int signum, loop_signal_fn *fn, void *arg)
{
	struct signal_watch *watch = calloc(1, sizeof(*watch));
	int err;

	if (watch == NULL)
		return -ENOMEM;
	watch->fn = fn;
	watch->arg = arg;
	err = uv_signal_init(&loop->uv, &watch->signal);
	if (err < 0) {
		free(watch);
		return err;
	}
	watch->signal.data = watch;
	err = uv_signal_start(&watch->signal, on_signal, signum);
	if (err < 0)
		uv_close((uv_handle_t *)&watch->signal, free_handle);
	return err;
}
