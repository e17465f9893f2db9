/* What happens to a packet: received, checked, its source compared with the latch, counted, sent on.
 *
 * No lock, no allocation and no log line. Everything here runs on the relay thread that owns the stream. A datagram is
 * forwarded as it came; only its addresses change. RFC 3550, 5761 (one port), 7362 (latching). */
#include <errno.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "media-relay/relay.h"
#include "media-relay/rtcp.h"

enum { BURST_MAX = 32, BACKLOG_TURNS = 2 };

struct relay_batch {
	struct mmsghdr in[BURST_MAX], out[BURST_MAX];
	struct iovec in_iov[BURST_MAX], out_iov[BURST_MAX];
	struct sockaddr_storage sources[BURST_MAX];
	uint8_t data[BURST_MAX][RELAY_DATAGRAM_MAX];
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

	for (unsigned i = 0; b != NULL && i < BURST_MAX; i++) {
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
}

static void show_latch(struct relay_side *side)
{
	const struct latch *latch = &side->latches[RELAY_RTP];
	struct addr locked = { 0 };

	if (latch->state == LATCH_LOCKED)
		locked = latch->locked;
	relay_addr_set(&side->counts.latched, &locked);
	set(&side->counts.window_end_ms, latch->rule.reach == LATCH_STRICT ? UINT64_MAX : latch->window_end_ms);
	atomic_store_explicit(&side->counts.latch, latch->state, memory_order_relaxed);
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

void relay_apply(struct relay_stream *stream, const struct relay_setup *setup, uint64_t now_ms)
{
	for (unsigned i = 0; i < 2; i++) {
		struct relay_side *side = &stream->sides[i];
		struct latch *latch = &side->latches[RELAY_RTP];

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

		if (stream->is_ready) {
			open_windows(side, &stream->setup.sides[i], now_ms);
		} else if (!addr_is_set(&setup->sides[i].remote.rtp)) {
			latch_close(&side->latches[RELAY_RTP]);
			latch_close(&side->latches[RELAY_RTCP]);
		}
		aim(stream, i);
		show_latch(side);
	}
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

	if (s->port == RELAY_RTP) {
		side->latches[RELAY_RTCP].also = side->latches[RELAY_RTP].locked;
		show_latch(side);
		relay_publish(s->stream, s->side == MEDIA_A ? RELAY_LATCHED_A : RELAY_LATCHED_B);
	}
	aim(s->stream, s->side);
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

static void count_rtp(struct relay_side *side, const struct rtp_header *header, size_t len, uint64_t now_us)
{
	struct relay_counts *counts = &side->counts;

	count(&counts->packets, 1);
	count(&counts->bytes, len);
	if (header == NULL)
		return;
	rtp_track_add(&side->track, header, now_us);
	set(&counts->lost, rtp_track_lost(&side->track));
	set(&counts->reordered, side->track.reordered);
	set(&counts->jitter_us, rtp_track_jitter_us(&side->track));
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
	if (!limit_take(&side->limit, now_us / 1000)) {
		count(&side->counts.dropped_overload, 1);
		return KIND_DROP;
	}
	if (kind == KIND_RTP)
		count_rtp(side, remote->is_rtp ? &header : NULL, data.len, now_us);
	else
		count(&side->counts.rtcp_packets, 1);
	return kind;
}

/* Sends n packets of one kind through the other side. A packet that cannot be sent never holds up the next. */
static void send_out(struct relay_batch *b, struct relay_socket *s, enum kind kind, unsigned n)
{
	struct relay_counts *counts = &s->stream->sides[s->side].counts;
	struct relay_side *other = &s->stream->sides[!s->side];
	bool is_mux = s->stream->setup.sides[!s->side].remote.rtcp_mux;
	int port = kind == KIND_RTCP && !is_mux ? RELAY_RTCP : RELAY_RTP;
	struct relay_target *target = &other->targets[port];
	unsigned sent = 0;

	if (target->len == 0) {
		count(&counts->dropped_early, n);
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		b->out[i].msg_hdr.msg_name = &target->sa;
		b->out[i].msg_hdr.msg_namelen = target->len;
	}
	for (unsigned done = 0; done < n;) {
		int result = sendmmsg(other->sockets[port].fd, b->out + done, n - done, MSG_DONTWAIT);

		if (result > 0) {
			sent += (unsigned)result;
			done += (unsigned)result;
			continue;
		}
		if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)
			count(&counts->dropped_overload, 1);
		done++;
	}
	if (kind == KIND_RTP)
		count(&counts->sent, sent);
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
	unsigned want = burst_of(s, turn), n_out = 0;
	enum kind pending = KIND_DROP;
	struct timespec t;
	uint64_t now_us;
	int n;

	for (unsigned i = 0; i < want; i++)
		b->in[i].msg_hdr.msg_namelen = sizeof(b->sources[i]);
	n = recvmmsg(s->fd, b->in, want, MSG_DONTWAIT, NULL);
	if (n <= 0)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &t);
	now_us = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
	for (int i = 0; i < n; i++) {
		enum kind kind = admit(s, &b->in[i], now_us);

		if (kind == KIND_DROP)
			continue;
		if (kind != pending && n_out > 0) {
			send_out(b, s, pending, n_out);
			n_out = 0;
		}
		pending = kind;
		b->out_iov[n_out++] = (struct iovec){ b->data[i], b->in[i].msg_len };
	}
	if (n_out > 0)
		send_out(b, s, pending, n_out);
	if (pending != KIND_DROP)
		set(&counts->last_packet_ms, now_us / 1000);
	if (n == BURST_MAX && s->port == RELAY_RTP)
		set(&counts->dropped_queue, relay_queue_drops(s->fd) - s->drops_before);
	return (unsigned)n;
}
