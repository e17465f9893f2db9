/* Relay threads: epoll, the rings to and from the control thread, opening and closing of streams. What happens to a
 * packet is in forward.c.
 *
 * Packets of thousands of streams arrive one by one on as many sockets, so the cost that can be saved is waking up.
 * Above COALESCE_PPS a thread does not wait for the next packet but sleeps COALESCE_NS, then serves all sockets that
 * became ready meanwhile. That bounds the added delay to about 1 ms (a twentieth of an audio packet's duration) and
 * the wake-ups to 1,000 per second; below that rate packets are forwarded at once.
 *
 * Fairness: epoll hands out ready sockets in turn, and one socket gets at most one batch per turn, so a flooded port
 * costs its own packets only. When packets come faster than they can be forwarded, the sockets' buffers overflow in
 * the kernel and the thread keeps forwarding at its full rate; nothing waits for anything that a packet could lose. */
#include "media-relay/relay.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "core/err.h"
#include "core/loop.h"
#include "core/ring.h"
#include "media-relay/ports.h"

enum { EVENTS_MAX = 512, COALESCE_NS = 1000000, COALESCE_PPS = 3000, RATE_SAMPLE_MS = 100, PARKED_RECEIVE_BUFFER = 1 };

struct relay_thread {
	struct relay *relay;
	pthread_t thread;
	bool is_started;
	int epoll, wake;               /* wake: eventfd */
	struct ring *commands;         /* struct relay_stream, control to relay */
	struct ring *events;           /* struct relay_stream, relay to control */
	_Atomic bool is_woken, is_stopping;
	struct relay_batch *batch;
	unsigned n_streams;            /* control only */
	uint64_t rate_start_ms;        /* relay only, from here */
	unsigned rate_packets;
	bool is_coalescing;
	struct relay_stream *closing;  /* to be dropped at the end of the turn */
	uint32_t turn;
};

struct relay {
	struct loop_wake *wake;
	relay_event_fn *fn;
	void *arg;
	unsigned n_threads;
	struct relay_thread threads[];
};

uint64_t relay_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

struct relay_rate relay_rate_of(uint32_t bandwidth_bps)
{
	uint64_t bytes = (2 * (uint64_t)bandwidth_bps + RELAY_BANDWIDTH_EXTRA_BPS) / 8;

	bytes = bandwidth_bps == 0 ? RELAY_BYTES_PER_S : smaller(bytes, RELAY_BYTES_PER_S_MAX);
	return (struct relay_rate){ (uint32_t)smaller(bytes / RELAY_PACKET_MIN, RELAY_PPS_MAX), (uint32_t)bytes };
}

/* The cell is written by one thread. Readers retry while the sequence is odd or has moved. */
void relay_addr_set(struct relay_addr *cell, const struct addr *addr)
{
	uint32_t sequence = atomic_load_explicit(&cell->sequence, memory_order_relaxed);
	uint64_t ip[2];

	memcpy(ip, addr->ip, sizeof(ip));
	atomic_store_explicit(&cell->sequence, sequence + 1, memory_order_relaxed);
	/* Release on each value: a reader that sees one of them also sees the odd sequence. */
	atomic_store_explicit(&cell->ip[0], ip[0], memory_order_release);
	atomic_store_explicit(&cell->ip[1], ip[1], memory_order_release);
	atomic_store_explicit(&cell->port_family, (uint32_t)addr->port << 8 | addr->family, memory_order_release);
	atomic_store_explicit(&cell->sequence, sequence + 2, memory_order_release);
}

struct addr relay_addr_get(const struct relay_addr *cell)
{
	struct addr addr = { 0 };
	uint32_t before, after, port_family;
	uint64_t ip[2];

	do {
		before = atomic_load_explicit(&cell->sequence, memory_order_acquire);
		ip[0] = atomic_load_explicit(&cell->ip[0], memory_order_acquire);
		ip[1] = atomic_load_explicit(&cell->ip[1], memory_order_acquire);
		port_family = atomic_load_explicit(&cell->port_family, memory_order_acquire);
		after = atomic_load_explicit(&cell->sequence, memory_order_relaxed);
	} while (before != after || before % 2 != 0);
	memcpy(addr.ip, ip, sizeof(ip));
	addr.family = (uint8_t)port_family;
	addr.port = (uint16_t)(port_family >> 8);
	return addr;
}

/* Triple buffer: writer, middle and reader each hold one of the three slots and swap theirs with the middle. */
enum { MAIL_FRESH = 4 };

static void mail_write(struct relay_stream *stream, const struct relay_setup *setup)
{
	stream->mail[stream->mail_writer] = *setup;
	stream->mail_writer = atomic_exchange_explicit(&stream->mail_middle, stream->mail_writer | MAIL_FRESH,
						       memory_order_acq_rel) & 3;
}

static const struct relay_setup *mail_read(struct relay_stream *stream)
{
	if (!(atomic_load_explicit(&stream->mail_middle, memory_order_relaxed) & MAIL_FRESH))
		return NULL;
	stream->mail_reader = atomic_exchange_explicit(&stream->mail_middle, stream->mail_reader,
						       memory_order_acq_rel) & 3;
	return &stream->mail[stream->mail_reader];
}

static void notify_thread(struct relay_thread *thread)
{
	const uint64_t one = 1;

	if (!atomic_exchange_explicit(&thread->is_woken, true, memory_order_acq_rel) &&
	    write(thread->wake, &one, sizeof(one)) < 0)
		return; /* the counter is at its end, which wakes as well */
}

/* One word, so that the relay sees "to be closed" with the very ring entry that is the stream's last one. */
enum { QUEUE_IN_RING = 1, QUEUE_CLOSE = 2 };

static void post(struct relay_stream *stream, uint32_t what)
{
	struct relay_thread *thread = stream->thread;
	uint32_t before = atomic_fetch_or_explicit(&stream->queue, QUEUE_IN_RING | what, memory_order_acq_rel);

	if (!(before & QUEUE_IN_RING))
		while (!ring_push(thread->commands, stream))
			; /* the ring has a slot for every stream, so this succeeds */
	notify_thread(thread);
}

void relay_open(struct relay *relay, struct relay_stream *stream, const struct relay_setup *setup)
{
	struct relay_thread *thread = &relay->threads[0];

	for (unsigned i = 1; i < relay->n_threads; i++)
		if (relay->threads[i].n_streams < thread->n_streams)
			thread = &relay->threads[i];
	thread->n_streams++;
	stream->thread = thread;
	stream->mail_writer = 0;
	stream->mail_reader = 1;
	atomic_init(&stream->mail_middle, 2);
	for (unsigned side = 0; side < 2; side++) {
		for (unsigned port = 0; port < RELAY_PORTS; port++) {
			struct relay_socket *s = &stream->sides[side].sockets[port];

			s->stream = stream;
			s->side = (uint8_t)side;
			s->port = (uint8_t)port;
			s->burst = 1;
			if (s->is_recycled && port == RELAY_RTP)
				s->drops_before = relay_queue_drops(s->fd);
		}
	}
	relay_update(stream, setup);
}

void relay_update(struct relay_stream *stream, const struct relay_setup *setup)
{
	mail_write(stream, setup);
	post(stream, 0);
}

void relay_close(struct relay_stream *stream, const struct relay_setup *setup)
{
	stream->thread->n_streams--;
	mail_write(stream, setup);
	post(stream, QUEUE_CLOSE);
}

void relay_publish(struct relay_stream *stream, uint32_t event)
{
	struct relay_thread *thread = stream->thread;

	if (atomic_fetch_or_explicit(&stream->events, event, memory_order_acq_rel) != 0)
		return;
	while (!ring_push(thread->events, stream))
		;
	loop_wake_send(thread->relay->wake);
}

static void add_stream(struct relay_thread *thread, struct relay_stream *stream)
{
	stream->is_added = true;
	for (unsigned i = 0; i < 2 * RELAY_PORTS; i++) {
		struct relay_socket *s = &stream->sides[i / RELAY_PORTS].sockets[i % RELAY_PORTS];
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = s };

		/* Fails only for want of memory; that stream is then silent and times out. */
		epoll_ctl(thread->epoll, EPOLL_CTL_ADD, s->fd, &event);
	}
}

/* Idle sockets take next to no memory for what is sent to them, and answer nothing. */
static void drop_stream(struct relay_thread *thread, struct relay_stream *stream)
{
	const int size = PARKED_RECEIVE_BUFFER;

	for (unsigned i = 0; i < 2 * RELAY_PORTS; i++) {
		struct relay_socket *s = &stream->sides[i / RELAY_PORTS].sockets[i % RELAY_PORTS];

		if (stream->setup.keep_sockets[i / RELAY_PORTS]) {
			if (stream->is_added)
				epoll_ctl(thread->epoll, EPOLL_CTL_DEL, s->fd, NULL);
			if (s->port == RELAY_RTP)
				setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
		} else {
			close(s->fd); /* leaves epoll with it */
			s->fd = -1;
		}
	}
	relay_publish(stream, RELAY_CLOSED);
}

static void run_command(struct relay_thread *thread, struct relay_stream *stream, uint64_t now_ms)
{
	/* First this, so that what is posted from now on brings the stream here again. */
	uint32_t queue = atomic_fetch_and_explicit(&stream->queue, ~(uint32_t)QUEUE_IN_RING, memory_order_acq_rel);
	const struct relay_setup *setup = mail_read(stream);

	if (queue & QUEUE_CLOSE) {
		if (setup != NULL)
			stream->setup = *setup;
		stream->next_closing = thread->closing;
		thread->closing = stream;
		return;
	}
	if (!stream->is_added)
		add_stream(thread, stream);
	if (setup != NULL)
		relay_apply(stream, setup, now_ms);
}

static void run_commands(struct relay_thread *thread)
{
	uint64_t now_ms = relay_now_ms();
	struct relay_stream *stream;

	atomic_exchange_explicit(&thread->is_woken, false, memory_order_acq_rel);
	while ((stream = ring_pop(thread->commands)) != NULL)
		run_command(thread, stream, now_ms);
}

/* Decides at intervals whether waiting a little serves many sockets at once. */
static void measure_rate(struct relay_thread *thread, unsigned packets)
{
	uint64_t now_ms = relay_now_ms();
	uint64_t elapsed = now_ms - thread->rate_start_ms;

	thread->rate_packets += packets;
	if (elapsed < RATE_SAMPLE_MS)
		return;
	thread->is_coalescing = thread->rate_packets * 1000ull / elapsed >= COALESCE_PPS;
	thread->rate_packets = 0;
	thread->rate_start_ms = now_ms;
}

/* After the packets: a stream that goes away may be among the events at hand. */
static void drop_closing(struct relay_thread *thread)
{
	while (thread->closing != NULL) {
		struct relay_stream *stream = thread->closing;

		thread->closing = stream->next_closing;
		drop_stream(thread, stream);
	}
}

static void run_turn(struct relay_thread *thread)
{
	static const struct timespec pause = { 0, COALESCE_NS };
	struct epoll_event events[EVENTS_MAX];
	unsigned packets = 0;
	int n = epoll_wait(thread->epoll, events, EVENTS_MAX, -1);

	thread->turn++;
	/* Before the packets: one that somebody sends because of what signalling said finds it in force. */
	if (atomic_load_explicit(&thread->is_woken, memory_order_acquire))
		run_commands(thread);
	for (int i = 0; i < n; i++) {
		if (i + 1 < n)
			__builtin_prefetch(events[i + 1].data.ptr);
		if (events[i].data.ptr != thread)
			packets += relay_forward(thread->batch, events[i].data.ptr, thread->turn);
	}
	relay_flush(thread->batch);
	drop_closing(thread);
	measure_rate(thread, packets);
	if (thread->is_coalescing && n < EVENTS_MAX)
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
}

static void *run_thread(void *arg)
{
	struct relay_thread *thread = arg;

	thread->rate_start_ms = relay_now_ms();
	while (!atomic_load_explicit(&thread->is_stopping, memory_order_acquire))
		run_turn(thread);
	run_commands(thread);
	drop_closing(thread);
	return NULL;
}

static int start_thread(struct relay *relay, struct relay_thread *thread, size_t streams_max)
{
	/* Edge-triggered: each write is an event, and the counter never has to be read. */
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.ptr = thread };
	sigset_t all, before;
	char name[16];
	int err;

	thread->relay = relay;
	thread->epoll = epoll_create1(EPOLL_CLOEXEC);
	thread->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (thread->epoll < 0 || thread->wake < 0 ||
	    epoll_ctl(thread->epoll, EPOLL_CTL_ADD, thread->wake, &event) < 0)
		return -errno;
	thread->commands = ring_new(streams_max);
	thread->events = ring_new(streams_max);
	thread->batch = relay_batch_new();
	if (thread->commands == NULL || thread->events == NULL || thread->batch == NULL)
		return -ENOMEM;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = -pthread_create(&thread->thread, NULL, run_thread, thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err < 0)
		return err;
	thread->is_started = true;
	snprintf(name, sizeof(name), "relay-%u", (unsigned)(thread - relay->threads));
	pthread_setname_np(thread->thread, name);
	return 0;
}

static void deliver_events(struct relay *relay, struct relay_thread *thread)
{
	struct relay_stream *stream;

	while ((stream = ring_pop(thread->events)) != NULL)
		relay->fn(relay->arg, stream, atomic_exchange_explicit(&stream->events, 0, memory_order_acq_rel));
}

static void on_wake(void *arg)
{
	struct relay *relay = arg;

	for (unsigned i = 0; i < relay->n_threads; i++)
		deliver_events(relay, &relay->threads[i]);
}

int relay_new(struct loop *loop, unsigned threads, size_t streams_max, relay_event_fn *fn, void *arg,
	      struct relay **ret)
{
	struct relay *relay = calloc(1, sizeof(*relay) + threads * sizeof(relay->threads[0]));
	int err;

	if (relay == NULL)
		return -ENOMEM;
	relay->fn = fn;
	relay->arg = arg;
	relay->n_threads = threads;
	for (unsigned i = 0; i < threads; i++)
		relay->threads[i].epoll = relay->threads[i].wake = -1;
	err = loop_wake_open(loop, on_wake, relay, &relay->wake);
	for (unsigned i = 0; err == 0 && i < threads; i++)
		err = start_thread(relay, &relay->threads[i], streams_max);
	if (err < 0) {
		relay_free(relay);
		return err;
	}
	*ret = relay;
	return 0;
}

static void stop_thread(struct relay_thread *thread)
{
	if (thread->is_started) {
		atomic_store_explicit(&thread->is_stopping, true, memory_order_release);
		notify_thread(thread);
		pthread_join(thread->thread, NULL);
		deliver_events(thread->relay, thread);
	}
	if (thread->epoll >= 0)
		close(thread->epoll);
	if (thread->wake >= 0)
		close(thread->wake);
	ring_free(thread->commands);
	ring_free(thread->events);
	relay_batch_free(thread->batch);
}

void relay_free(struct relay *relay)
{
	if (relay == NULL)
		return;
	for (unsigned i = 0; i < relay->n_threads; i++)
		stop_thread(&relay->threads[i]);
	if (relay->wake != NULL)
		loop_wake_close(relay->wake);
	free(relay);
}
