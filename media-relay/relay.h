/* Relay threads: they own the sockets of streams and forward packets. This header is between media_stream.c (control side)
 * and relay.c, forward.c (relay side); the rest of the gateway uses media.h.
 *
 * How the two sides meet, without locks:
 * - the control side keeps what a stream should do in a struct relay_setup and hands over whole copies through a triple
 *   buffer (the newest wins); the stream's pointer goes through a ring, at most once at a time, so the ring cannot be
 *   full;
 * - the relay side answers with event bits in the stream, and the stream's pointer in a second ring, the same way;
 * - counters have one writer and are read with relaxed atomics; addresses that the relay learns are read through a
 *   sequence lock.
 * From relay_open() until the event RELAY_CLOSED the relay thread owns the stream's sockets and its `relay only`
 * members; after RELAY_CLOSED the control side may free everything. */
#ifndef MEDIA_RELAY_RELAY_H
#define MEDIA_RELAY_RELAY_H

#include <stdatomic.h>

#include "core/limit.h"
#include "media-relay/latch.h"
#include "media-relay/media.h"
#include "media-relay/rtp.h"
#include "media-relay/target.h"

enum { RELAY_RTP, RELAY_RTCP, RELAY_PORTS };

/* What may come in on one side; a second's worth may come at once. Twice the bandwidth that the receiver named (b=AS or
 * b=TIAS) and some for headers and repair; without a name as much as any audio or video needs. */
enum {
	RELAY_PPS_MAX = 10000,
	RELAY_BYTES_PER_S = 50000000 / 8,
	RELAY_BYTES_PER_S_MAX = RELAY_PPS_MAX * 1500,
	RELAY_BANDWIDTH_EXTRA_BPS = 256000,
	RELAY_PACKET_MIN = 40, /* no RTP packet is smaller, IP header included */
};
struct relay_rate {
	uint32_t packets_per_s, bytes_per_s; /* of IP datagrams */
};
struct relay_rate relay_rate_of(uint32_t bandwidth_bps); /* 0: not said */

enum { RELAY_DATAGRAM_MAX = 9216 };     /* larger ones are dropped */
enum { RELAY_STEADY = 5 };              /* so many packets from where a side latched show that its stream is right */

/* An address that one thread writes and others read. */
struct relay_addr {
	_Atomic uint32_t sequence; /* odd while it is being written */
	_Atomic uint64_t ip[2];
	_Atomic uint32_t port_family;
};
void relay_addr_set(struct relay_addr *cell, const struct addr *addr);
struct addr relay_addr_get(const struct relay_addr *cell);

struct relay_side_setup {
	struct media_remote remote;   /* rtp.family 0: not known, or refused */
	bool may_send_to[RELAY_PORTS]; /* false: nothing is sent before latching has shown the address */
	uint32_t window;              /* a new value opens the latching window */
	struct latch_rule rule;
	struct relay_rate rate;       /* of what comes in */
	bool is_elsewhere;            /* its packets go through the kernel: those that come are strays */
};
struct relay_setup {
	struct relay_side_setup sides[2];
	uint32_t signalled;           /* a new value opens the windows of sides that are not locked */
	bool wants_steady;            /* RELAY_STEADY_A and _B are of interest */
	bool keep_sockets[2]; /* on closing: park them for reuse instead of closing them */
};

struct relay_counts { /* written by the relay thread */
	_Atomic uint64_t packets, bytes, sent, rtcp_packets, lost, reordered, jitter_us;
	_Atomic uint64_t dropped_source, dropped_format, dropped_payload, dropped_early, dropped_overload;
	_Atomic uint64_t dropped_queue; /* by the kernel, the socket's buffer was full */
	_Atomic uint64_t last_packet_ms; /* relay_now_ms(), 0: none */
	_Atomic uint64_t window_end_ms;
	_Atomic uint32_t latch;
	struct relay_addr latched;
	/* For the hand-over to the kernel. What follows from a setup is in force once `window` is that of the setup. */
	_Atomic uint32_t window;         /* read it first */
	_Atomic uint32_t since_lock;     /* accepted from where it latched, up to RELAY_STEADY */
	_Atomic uint32_t clock_hz;       /* of RTP, 0: not known */
	struct relay_addr target;        /* where RTP leaves through this side; family 0: nowhere */
};

struct relay_target { /* where to send */
	socklen_t len; /* 0: nowhere */
	struct sockaddr_storage sa;
};

struct relay_socket {
	struct relay_stream *stream;
	int fd;
	uint8_t side, port;
	uint8_t burst;          /* how many packets to ask for */
	uint32_t last_turn;
	uint32_t drops_before;  /* by the kernel, on behalf of earlier owners */
	bool is_recycled;       /* was another stream's */
};

struct relay_side { /* relay only, but for the counts */
	struct relay_socket sockets[RELAY_PORTS];
	struct relay_target targets[RELAY_PORTS]; /* of packets that leave through this side */
	struct latch latches[RELAY_PORTS];
	struct target_scope scope;                /* set before relay_open */
	bool wants_window;
	struct addr kept;                         /* latched before a re-latch: still sent to */
	struct limit limit;                       /* packets */
	uint64_t bytes_left, bytes_at_ms;
	struct rtp_track track;
	struct relay_counts counts;
};

enum { RELAY_LATCHED_A = 1, RELAY_LATCHED_B = 2, RELAY_CLOSED = 4, RELAY_STEADY_A = 8, RELAY_STEADY_B = 16 };

struct relay_stream { /* embedded in struct stream; zeroed, then see relay_open */
	struct relay_side sides[2];
	struct relay_setup setup;      /* relay only: in force */
	bool is_ready;                 /* relay only: both remotes are known */
	bool is_added;                 /* relay only: in epoll */
	struct relay_thread *thread;
	struct relay_stream *next_closing; /* relay only */
	struct relay_setup mail[3];
	uint8_t mail_writer, mail_reader;
	_Atomic uint8_t mail_middle;
	_Atomic uint32_t queue;        /* is it in the command ring, is it to be closed: see relay.c */
	_Atomic uint32_t events;
};

struct loop;
struct relay;
typedef void relay_event_fn(void *arg, struct relay_stream *stream, uint32_t events);

/* streams_max: streams that can ever be open or closing at once. fn runs on the loop's thread. */
int relay_new(struct loop *loop, unsigned threads, size_t streams_max, relay_event_fn *fn, void *arg,
	      struct relay **ret);
/* Stops the threads and delivers the events that are left; every stream must have been closed. */
void relay_free(struct relay *relay);

/* Before: stream zeroed, sockets' fd and is_recycled and the sides' scope set. */
void relay_open(struct relay *relay, struct relay_stream *stream, const struct relay_setup *setup);
void relay_update(struct relay_stream *stream, const struct relay_setup *setup);
/* The sockets come back as the event RELAY_CLOSED is delivered: fd is -1 when closed. */
void relay_close(struct relay_stream *stream, const struct relay_setup *setup);

uint64_t relay_now_ms(void); /* the relay's clock; any thread */

/* Between relay.c and forward.c. */
struct relay_batch;
struct relay_batch *relay_batch_new(void);
void relay_batch_free(struct relay_batch *batch);
/* Receives what is waiting on one socket, up to a bound, and sends it on, at the latest with relay_flush(). Returns the
 * number of packets read. */
unsigned relay_forward(struct relay_batch *batch, struct relay_socket *socket, uint32_t turn);
void relay_flush(struct relay_batch *batch); /* before anything about a stream changes */
/* Packets that the kernel dropped because the socket's buffer was full, since the socket exists. */
uint32_t relay_queue_drops(int fd);
/* Recomputes what follows from a changed setup or latch. */
void relay_apply(struct relay_stream *stream, const struct relay_setup *setup, uint64_t now_ms);
void relay_publish(struct relay_stream *stream, uint32_t event);

#endif
