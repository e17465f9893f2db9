/* What happens to a packet: received, checked, its source compared with the latch, counted, sent on.
 *
 * No lock, no allocation and no log line. Everything here runs on the relay thread that owns the stream. A datagram is
 * forwarded as it came; only its addresses change. Packets of several sockets are first all received, then all sent: the
 * two paths through the kernel are long, and taking turns between them would push each other out of the processor's
 * instruction cache. RFC 3550, 5761 (one port), 7362 (latching). */
#include <errno.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "media-relay/relay.h"
#include "media-relay/rtcp.h"

enum { BURST_MAX = 32, SLOTS = 128, BACKLOG_TURNS = 2 };

struct outgoing {
	struct relay_side *from, *to;
	uint8_t port; /* of `to` */
	bool is_rtp;
};

struct relay_batch {
	unsigned n_in, n_out;          /* slots that hold a datagram; those of them that are to be sent */
	struct mmsghdr in[SLOTS], out[SLOTS];
	struct iovec in_iov[SLOTS], out_iov[SLOTS];
	struct outgoing outgoing[SLOTS];
	struct sockaddr_storage sources[SLOTS];
	uint8_t data[SLOTS][RELAY_DATAGRAM_MAX];
};

enum kind { KIND_DROP = -1, KIND_RTP /* or a plain datagram */, KIND_RTCP };

static inline void count(_Atomic uint64_t *counter, uint64_t n)
{
	/* One writer: no read-modify-write cycle is needed. */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline void set(_Atomic uint64_t *counter, uint64_t value)
{
	atomic_store_explicit(counter, value, memory_order_relaxed);
}

struct relay_batch *relay_batch_new(void)
{
	struct relay_batch *b = calloc(1, sizeof(*b));

	for (unsigned i = 0; b != NULL && i < SLOTS; i++) {
		b->in_iov[i] = (struct iovec){ b->data[i], RELAY_DATAGRAM_MAX };
		b->in[i].msg_hdr.msg_iov = &b->in_iov[i];
		b->in[i].msg_hdr.msg_iovlen = 1;
		b->in[i].msg_hdr.msg_name = &b->sources[i];
		b->out[i].msg_hdr.msg_iov = &b->out_iov[i];
		b->out[i].msg_hdr.msg_iovlen = 1;
	}
	return b;
}

void relay_batch_free(struct relay_batch *batch)
{
	free(batch);
}

static void set_target(struct relay_target *target, const struct addr *addr)
{
	target->len = addr_is_set(addr) ? addr_to_sockaddr(addr, &target->sa) : 0;
}

static void aim(struct relay_stream *stream, unsigned index)
{
	static const struct addr nowhere;
	struct relay_side *side = &stream->sides[index];
	const struct relay_side_setup *setup = &stream->setup.sides[index];
	const struct addr *rtp = setup->may_send_to[RELAY_RTP] ? &setup->remote.rtp : &nowhere;
	const struct addr *rtcp = setup->may_send_to[RELAY_RTCP] ? &setup->remote.rtcp : &nowhere;

	if (side->latches[RELAY_RTP].state == LATCH_LOCKED)
		rtp = &side->latches[RELAY_RTP].locked;
	else if (addr_is_set(&side->kept))
		rtp = &side->kept;
	if (setup->remote.rtcp_mux)
		rtcp = rtp;
	else if (side->latches[RELAY_RTCP].state == LATCH_LOCKED)
		rtcp = &side->latches[RELAY_RTCP].locked;
	set_target(&side->targets[RELAY_RTP], rtp);
	set_target(&side->targets[RELAY_RTCP], rtcp);
	relay_addr_set(&side->counts.target, rtp);
}

static void show_latch(struct relay_side *side)
{
	const struct latch *latch = &side->latches[RELAY_RTP];
	struct addr locked = { 0 };

	if (latch->state == LATCH_LOCKED)
		locked = latch->locked;
	relay_addr_set(&side->counts.latched, &locked);
	set(&side->counts.window_end_ms, latch->rule.reach == LATCH_STRICT ? UINT64_MAX : latch->window_end_ms);
	if (latch->state != LATCH_LOCKED)
		atomic_store_explicit(&side->counts.since_lock, 0, memory_order_relaxed);
	atomic_store_explicit(&side->counts.latch, latch->state, memory_order_release);
}

/* The control side compares it with what it asked for, and then knows that all of the above is as of that setup. */
static void show_setup(struct relay_stream *stream)
{
	for (unsigned i = 0; i < 2; i++)
		atomic_store_explicit(&stream->sides[i].counts.window, stream->setup.sides[i].window, memory_order_release);
}

static void open_windows(struct relay_side *side, const struct relay_side_setup *setup, uint64_t now_ms)
{
	struct latch *rtp = &side->latches[RELAY_RTP], *rtcp = &side->latches[RELAY_RTCP];
	struct latch_rule rule = setup->rule;

	if (side->wants_window || rtp->state != LATCH_LOCKED)
		latch_open(rtp, &rule, &setup->remote.rtp, now_ms);
	if (side->wants_window || rtcp->state != LATCH_LOCKED) {
		if (rule.reach > LATCH_SAME_IP)
			rule.reach = LATCH_SAME_IP;
		rule.window_ms += LATCH_RTCP_EXTRA_MS;
		latch_open(rtcp, &rule, &setup->remote.rtcp, now_ms);
		if (rtp->state == LATCH_LOCKED)
			rtcp->also = rtp->locked;
	}
	side->wants_window = false;
}

/* Packets that went through the kernel are not lost. */
static void take_back(struct relay_stream *stream, const struct relay_setup *setup)
{
	for (unsigned i = 0; i < 2; i++)
		if (setup->sides[i].is_elsewhere != stream->setup.sides[i].is_elsewhere)
			rtp_track_break(&stream->sides[i].track);
}

static void set_rate(struct relay_side *side, const struct relay_rate *rate, const struct relay_rate *before, uint64_t now_ms)
{
	if (rate->packets_per_s == before->packets_per_s && rate->bytes_per_s == before->bytes_per_s)
		return;
	limit_init(&side->limit, rate->packets_per_s, rate->packets_per_s, now_ms);
	side->bytes_left = rate->bytes_per_s;
	side->bytes_at_ms = now_ms;
}

void relay_apply(struct relay_stream *stream, const struct relay_setup *setup, uint64_t now_ms)
{
	bool is_signalled = setup->signalled != stream->setup.signalled;

	take_back(stream, setup);
	for (unsigned i = 0; i < 2; i++) {
		struct relay_side *side = &stream->sides[i];
		struct latch *latch = &side->latches[RELAY_RTP];

		set_rate(side, &setup->sides[i].rate, &stream->setup.sides[i].rate, now_ms);
		if (setup->sides[i].window == stream->setup.sides[i].window)
			continue;
		side->wants_window = true;
		if (latch->state == LATCH_LOCKED)
			side->kept = latch->locked;
		if (!addr_eq(&setup->sides[i].remote.rtp, &stream->setup.sides[i].remote.rtp))
			side->kept = (struct addr){ 0 };
	}
	stream->setup = *setup;
	stream->is_ready = addr_is_set(&setup->sides[0].remote.rtp) && addr_is_set(&setup->sides[1].remote.rtp);
	for (unsigned i = 0; i < 2; i++) {
		struct relay_side *side = &stream->sides[i];

		if (stream->is_ready && is_signalled) {
			open_windows(side, &stream->setup.sides[i], now_ms);
		} else if (!addr_is_set(&setup->sides[i].remote.rtp)) {
			latch_close(&side->latches[RELAY_RTP]);
			latch_close(&side->latches[RELAY_RTCP]);
		}
		aim(stream, i);
		show_latch(side);
	}
	show_setup(stream);
}

/* RTP port. Also says which of the two it is when both share the port. */
static enum kind classify_rtp(struct relay_side *side, const struct media_remote *remote, const struct span data,
			      struct rtp_header *ret_header)
{
	struct relay_counts *counts = &side->counts;

	if (!remote->is_rtp) {
		if (data.len > 0 && !rtp_is_stun(data.ptr, data.len))
			return KIND_RTP;
		count(&counts->dropped_format, 1);
		return KIND_DROP;
	}
	if (rtcp_is_rtcp(data.ptr, data.len)) {
		uint8_t payload_type = (uint8_t)data.ptr[1] & 0x7f;
		bool may_be_rtp = (remote->payloads[0] | remote->payloads[1]) != 0 &&
				  rtp_is_negotiated(remote->payloads, payload_type);

		if (remote->rtcp_mux && rtcp_check(data.ptr, data.len) == 0)
			return KIND_RTCP;
		if (remote->rtcp_mux || !may_be_rtp) {
			count(&counts->dropped_format, 1);
			return KIND_DROP;
		}
	}
	if (rtp_parse(data.ptr, data.len, ret_header) < 0) {
		count(&counts->dropped_format, 1);
		return KIND_DROP;
	}
	if (!rtp_is_negotiated(remote->payloads, ret_header->payload_type)) {
		count(&counts->dropped_payload, 1);
		return KIND_DROP;
	}
	return KIND_RTP;
}

static enum kind classify_rtcp(struct relay_side *side, const struct media_remote *remote, const struct span data)
{
	if (remote->is_rtp && rtcp_check(data.ptr, data.len) == 0)
		return KIND_RTCP;
	count(&side->counts.dropped_format, 1);
	return KIND_DROP;
}

static void on_locked(struct relay_socket *s)
{
	struct relay_side *side = &s->stream->sides[s->side];

	aim(s->stream, s->side);
	if (s->port == RELAY_RTP) {
		side->latches[RELAY_RTCP].also = side->latches[RELAY_RTP].locked;
		show_latch(side);
		relay_publish(s->stream, s->side == MEDIA_A ? RELAY_LATCHED_A : RELAY_LATCHED_B);
	}
}

static bool source_is_right(struct relay_socket *s, enum kind kind, const struct addr *source, uint64_t now_ms)
{
	struct relay_side *side = &s->stream->sides[s->side];
	struct latch *latch = &side->latches[s->port];
	bool is_fit;

	if (latch->state == LATCH_LOCKED)
		return true; /* compared before */
	if (s->port == RELAY_RTP && kind == KIND_RTCP) /* shares RTP's latch but never locks it */
		return latch->state == LATCH_OPEN && addr_eq(source, &latch->signalled);
	is_fit = !target_is_refused(target_check(&side->scope, source));
	if (latch_check(latch, source, is_fit, now_ms) == LATCH_REJECT)
		return false;
	on_locked(s);
	return true;
}

static void note_steady(struct relay_socket *s)
{
	struct relay_counts *counts = &s->stream->sides[s->side].counts;
	uint32_t n = atomic_load_explicit(&counts->since_lock, memory_order_relaxed);

	if (n >= RELAY_STEADY)
		return;
	atomic_store_explicit(&counts->since_lock, n + 1, memory_order_release);
	if (n + 1 == RELAY_STEADY && s->stream->setup.wants_steady)
		relay_publish(s->stream, s->side == MEDIA_A ? RELAY_STEADY_A : RELAY_STEADY_B);
}

static void count_rtp(struct relay_socket *s, const struct rtp_header *header, size_t len, uint64_t now_us)
{
	struct relay_side *side = &s->stream->sides[s->side];
	struct relay_counts *counts = &side->counts;

	count(&counts->packets, 1);
	count(&counts->bytes, len);
	if (header != NULL) {
		if (s->stream->setup.sides[s->side].is_elsewhere)
			rtp_track_break(&side->track);
		rtp_track_add(&side->track, header, now_us);
		atomic_store_explicit(&counts->clock_hz, side->track.clock_hz, memory_order_relaxed);
	}
	note_steady(s);
	if (header == NULL)
		return;
	set(&counts->lost, rtp_track_lost(&side->track));
	set(&counts->reordered, side->track.reordered);
	set(&counts->jitter_us, rtp_track_jitter_us(&side->track));
}

/* Packets and bytes per second, as a pinhole in the kernel has them. */
static bool is_within_rate(struct relay_side *side, uint32_t bytes_per_s, size_t len, uint64_t now_ms)
{
	uint64_t size = len + (side->scope.local.family == AF_INET6 ? 48 : 28);

	if (now_ms > side->bytes_at_ms) {
		side->bytes_left += (now_ms - side->bytes_at_ms) * bytes_per_s / 1000;
		side->bytes_at_ms = now_ms;
		if (side->bytes_left > bytes_per_s)
			side->bytes_left = bytes_per_s;
	}
	if (size > side->bytes_left || !limit_take(&side->limit, now_ms))
		return false;
	side->bytes_left -= size;
	return true;
}

static enum kind admit(struct relay_socket *s, const struct mmsghdr *message, uint64_t now_us)
{
	struct relay_side *side = &s->stream->sides[s->side];
	const struct media_remote *remote = &s->stream->setup.sides[s->side].remote;
	const struct latch *latch = &side->latches[s->port];
	struct span data = { message->msg_hdr.msg_iov->iov_base, message->msg_len };
	struct addr source = addr_from_sockaddr(message->msg_hdr.msg_name);
	struct rtp_header header;
	enum kind kind;

	if (!s->stream->is_ready) {
		count(&side->counts.dropped_early, 1);
		return KIND_DROP;
	}
	/* The cheapest check first: a locked port costs a stranger's flood next to nothing. */
	if (latch->state == LATCH_LOCKED && !addr_eq(&source, &latch->locked)) {
		count(&side->counts.dropped_source, 1);
		return KIND_DROP;
	}
	if (message->msg_hdr.msg_flags & MSG_TRUNC) {
		count(&side->counts.dropped_format, 1);
		return KIND_DROP;
	}
	kind = s->port == RELAY_RTP ? classify_rtp(side, remote, data, &header) : classify_rtcp(side, remote, data);
	if (kind == KIND_DROP)
		return kind;
	if (!source_is_right(s, kind, &source, now_us / 1000)) {
		count(&side->counts.dropped_source, 1);
		return KIND_DROP;
	}
	if (!is_within_rate(side, s->stream->setup.sides[s->side].rate.bytes_per_s, data.len, now_us / 1000)) {
		count(&side->counts.dropped_overload, 1);
		return KIND_DROP;
	}
	if (kind == KIND_RTP)
		count_rtp(s, remote->is_rtp ? &header : NULL, data.len, now_us);
	else
		count(&side->counts.rtcp_packets, 1);
	return kind;
}

/* The plain calls cost less than the batch calls when there is one packet, which is the usual case. */
static int send_some(int fd, struct mmsghdr *messages, unsigned n)
{
	const struct msghdr *m = &messages->msg_hdr;

	if (n > 1)
		return sendmmsg(fd, messages, n, MSG_DONTWAIT);
	return sendto(fd, m->msg_iov->iov_base, m->msg_iov->iov_len, MSG_DONTWAIT, m->msg_name, m->msg_namelen) < 0 ? -1 : 1;
}

/* Into the slots from n_in on. */
static int receive_some(int fd, struct relay_batch *b, unsigned want)
{
	struct mmsghdr *messages = &b->in[b->n_in];
	struct msghdr *first = &messages->msg_hdr;
	ssize_t len;

	for (unsigned i = 0; i < want; i++)
		messages[i].msg_hdr.msg_namelen = sizeof(b->sources[0]);
	if (want > 1)
		return recvmmsg(fd, messages, want, MSG_DONTWAIT, NULL);
	/* With MSG_TRUNC the length is the datagram's own. */
	len = recvfrom(fd, first->msg_iov->iov_base, RELAY_DATAGRAM_MAX, MSG_DONTWAIT | MSG_TRUNC, first->msg_name,
		       &first->msg_namelen);
	if (len < 0)
		return -1;
	first->msg_flags = len > RELAY_DATAGRAM_MAX ? MSG_TRUNC : 0;
	messages->msg_len = len > RELAY_DATAGRAM_MAX ? RELAY_DATAGRAM_MAX : (unsigned)len;
	return 1;
}

static void enqueue(struct relay_batch *b, struct relay_socket *s, const struct mmsghdr *message, enum kind kind)
{
	struct relay_stream *stream = s->stream;
	struct outgoing *o = &b->outgoing[b->n_out];
	struct msghdr *out = &b->out[b->n_out].msg_hdr;
	struct relay_target *target;

	o->from = &stream->sides[s->side];
	o->to = &stream->sides[!s->side];
	o->is_rtp = kind == KIND_RTP;
	o->port = o->is_rtp || stream->setup.sides[!s->side].remote.rtcp_mux ? RELAY_RTP : RELAY_RTCP;
	target = &o->to->targets[o->port];
	if (target->len == 0) {
		count(&o->from->counts.dropped_early, 1);
		return;
	}
	out->msg_name = &target->sa;
	out->msg_namelen = target->len;
	b->out_iov[b->n_out++] = (struct iovec){ message->msg_hdr.msg_iov->iov_base, message->msg_len };
}

static bool goes_along(const struct outgoing *a, const struct outgoing *b)
{
	return a->from == b->from && a->port == b->port && a->is_rtp == b->is_rtp;
}

/* A packet that cannot be sent never holds up the next. */
static void send_run(struct relay_batch *b, unsigned first, unsigned n)
{
	const struct outgoing *o = &b->outgoing[first];
	struct relay_counts *counts = &o->from->counts;
	unsigned sent = 0;

	for (unsigned done = 0; done < n;) {
		int result = send_some(o->to->sockets[o->port].fd, b->out + first + done, n - done);

		if (result > 0) {
			sent += (unsigned)result;
			done += (unsigned)result;
			continue;
		}
		if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)
			count(&counts->dropped_overload, 1);
		done++;
	}
	if (o->is_rtp)
		count(&counts->sent, sent);
}

void relay_flush(struct relay_batch *b)
{
	unsigned first = 0;

	for (unsigned i = 1; i <= b->n_out; i++) {
		if (i < b->n_out && goes_along(&b->outgoing[first], &b->outgoing[i]))
			continue;
		send_run(b, first, i - first);
		first = i;
	}
	b->n_in = b->n_out = 0;
}

/* Mostly one packet waits on a socket, and asking for more would cost a second look in the kernel. A socket that is
 * ready again right away has a backlog and is asked for twice as many each time. */
static unsigned burst_of(struct relay_socket *s, uint32_t turn)
{
	if (turn - s->last_turn > BACKLOG_TURNS)
		s->burst = 1;
	else if (s->burst < BURST_MAX)
		s->burst = (uint8_t)(s->burst * 2);
	s->last_turn = turn;
	return s->burst;
}

uint32_t relay_queue_drops(int fd)
{
	uint32_t memory[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(memory);

	return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &len) == 0 ? memory[SK_MEMINFO_DROPS] : 0;
}

unsigned relay_forward(struct relay_batch *b, struct relay_socket *s, uint32_t turn)
{
	struct relay_counts *counts = &s->stream->sides[s->side].counts;
	unsigned want = burst_of(s, turn), before;
	struct timespec t;
	uint64_t now_us;
	int n;

	if (want > SLOTS - b->n_in)
		relay_flush(b);
	before = b->n_out;
	n = receive_some(s->fd, b, want);
	if (n <= 0)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &t);
	now_us = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
	for (int i = 0; i < n; i++) {
		const struct mmsghdr *message = &b->in[b->n_in + (unsigned)i];
		enum kind kind = admit(s, message, now_us);

		if (kind == KIND_DROP)
			continue;
		set(&counts->last_packet_ms, now_us / 1000);
		enqueue(b, s, message, kind);
	}
	if (b->n_out != before)
		b->n_in += (unsigned)n;
	if (n == BURST_MAX && s->port == RELAY_RTP)
		set(&counts->dropped_queue, relay_queue_drops(s->fd) - s->drops_before);
	return (unsigned)n;
}
