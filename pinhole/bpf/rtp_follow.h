/* RTP as the BPF programs see it: whether a packet is what was negotiated, and its place in the sequence (RFC 3550 A.1, A.8;
 * RFC 5761 section 4). Follows sequence numbers and jitter as media-relay/rtp.c does, so that a stream counts alike in the
 * relay and in the kernel. Only for flow.bpf.c. */
#ifndef PINHOLE_BPF_RTP_FOLLOW_H
#define PINHOLE_BPF_RTP_FOLLOW_H

#include "pinhole/bpf/packet.h"

enum { DROPOUT_MAX = 3000, MISORDER_MAX = 100, TRANSIT_STEP_MAX_NS = 1000000000 };

struct rtp {
	__u32 ssrc, timestamp;
	__u16 sequence;
	__u8 payload_type;
};

INLINE bool read_bytes(void *ctx, const struct packet *p, __u32 at, void *to, __u32 len)
{
	return (p->is_xdp ? bpf_xdp_load_bytes(ctx, at, to, len) : bpf_skb_load_bytes(ctx, at, to, len)) == 0;
}

/* Header extension and padding: rare, so they are read the slow way. */
INLINE bool optional_parts_fit(void *ctx, const struct packet *p, __u8 first)
{
	__u32 at = p->udp_at + sizeof(struct udphdr), len = 12 + (first & 0x0f) * 4;
	__u16 extension[2];
	__u8 padding;

	if (first & 0x10) {
		if (!read_bytes(ctx, p, at + len, extension, sizeof(extension)))
			return false;
		len += 4 + bpf_ntohs(extension[1]) * 4;
	}
	if (len > p->payload_len)
		return false;
	if (first & 0x20) {
		if (!read_bytes(ctx, p, at + p->payload_len - 1, &padding, 1))
			return false;
		return padding != 0 && padding <= p->payload_len - len;
	}
	return true;
}

/* False: not RTP of this flow. RTCP that shares the port (RFC 5761 section 4) is never RTP here. */
INLINE bool parse_rtp(void *ctx, const struct packet *p, const struct flow *flow, struct rtp *ret)
{
	const __u8 *bytes = (const __u8 *)(p->udp + 1);
	__u64 set;

	if (p->payload_len < 12 || bytes + 12 > p->end)
		return false;
	if (bytes[0] >> 6 != 2 || (bytes[1] >= 192 && bytes[1] <= 223))
		return false;
	ret->payload_type = bytes[1] & 0x7f;
	set = ret->payload_type < 64 ? flow->payloads[0] : flow->payloads[1];
	if (!(set >> (ret->payload_type & 63) & 1) && (flow->payloads[0] | flow->payloads[1]) != 0)
		return false;
	ret->sequence = bpf_ntohs(*(const __u16 *)(bytes + 2));
	ret->timestamp = bpf_ntohl(*(const __u32 *)(bytes + 4));
	ret->ssrc = bpf_ntohl(*(const __u32 *)(bytes + 8));
	return (bytes[0] & 0x3f) == 0 || optional_parts_fit(ctx, p, bytes[0]);
}

/* The sequence begins anew with `n` packets, and what was lost so far stays counted. */
INLINE void restart_sequence(const struct held *h, const struct rtp *rtp, __u32 n)
{
	struct slot *slot = h->slot;
	struct flow_state *s = h->state;
	__s64 lost = slot->max_seq - slot->first_seq + 1 - slot->rtp_packets;

	/* Packets that came twice or late hide none that an earlier source lost. */
	if (!(s->marks & FLOW_STARTED) || lost < s->lost_before)
		lost = s->lost_before;
	s->lost_before = lost;
	slot->max_seq = rtp->sequence;
	slot->first_seq = slot->max_seq + 1 - n - slot->rtp_packets - lost;
	slot->ssrc = rtp->ssrc;
	s->marks = (s->marks & ~(FLOW_JUMPED | FLOW_OTHER)) | FLOW_STARTED;
}

/* False when the packet is a jump that the next one has to confirm. */
INLINE bool follow_sequence(const struct held *h, const struct rtp *rtp)
{
	struct slot *slot = h->slot;
	struct flow_state *s = h->state;
	__u16 ahead = rtp->sequence - (__u16)slot->max_seq;

	if (ahead < DROPOUT_MAX) {
		if (ahead == 0)
			slot->duplicates++;
		slot->max_seq += ahead;
	} else if (ahead > 0xffff - MISORDER_MAX) {
		slot->reordered++;
	} else if ((s->marks & FLOW_JUMPED) && rtp->sequence == s->jump_to) {
		/* The sender restarted: the packet before this one was its first. */
		restart_sequence(h, rtp, 2);
		slot->rtp_packets++;
	} else {
		s->jump_to = rtp->sequence + 1;
		s->marks |= FLOW_JUMPED;
		return false;
	}
	s->marks &= ~FLOW_JUMPED;
	return true;
}

INLINE void add_jitter(const struct held *h, const struct rtp *rtp)
{
	struct slot *slot = h->slot;
	struct flow_state *s = h->state;
	__s64 ticks = (__s32)(rtp->timestamp - s->timestamp), step;
	__u64 arrival_ns = s->arrival_ns, size;
	bool is_first = !(s->marks & FLOW_TRANSIT) || rtp->payload_type != s->payload_type;

	if (h->flow->tick_q8_ns == 0 || (ticks == 0 && !is_first))
		return; /* ticks 0: a further packet of a video frame, or of a telephone event */
	s->timestamp = rtp->timestamp;
	s->arrival_ns = h->now;
	s->payload_type = rtp->payload_type;
	s->marks |= FLOW_TRANSIT;
	if (is_first)
		return;
	step = (__s64)(h->now - arrival_ns) - ((ticks * (__s64)h->flow->tick_q8_ns) >> 8);
	slot->transit += step;
	size = step < 0 ? -step : step;
	if (size < TRANSIT_STEP_MAX_NS)
		slot->jitter_q4_ns += size - ((slot->jitter_q4_ns + 8) >> 4);
}

INLINE void follow(const struct held *h, const struct rtp *rtp)
{
	struct slot *slot = h->slot;
	struct flow_state *s = h->state;

	if (!(s->marks & FLOW_STARTED)) {
		restart_sequence(h, rtp, 1);
	} else if (rtp->ssrc != slot->ssrc) {
		if (!(s->marks & FLOW_OTHER) || rtp->ssrc != s->other_ssrc) {
			s->other_ssrc = rtp->ssrc;
			s->marks |= FLOW_OTHER;
			return;
		}
		restart_sequence(h, rtp, 1);
		s->marks &= ~FLOW_TRANSIT;
	} else {
		s->marks &= ~FLOW_OTHER;
		if (!follow_sequence(h, rtp))
			return;
	}
	slot->rtp_packets++;
	add_jitter(h, rtp);
}

/* A packet that the relay carries, and counts: the sequence moves on, nothing is counted here. */
INLINE void follow_silently(const struct held *h, const struct rtp *rtp)
{
	struct slot *slot = h->slot;
	__u64 received = slot->rtp_packets, reordered = slot->reordered, duplicates = slot->duplicates;
	__u64 expected = slot->max_seq - slot->first_seq + 1;

	if (!(h->state->marks & FLOW_STARTED))
		expected = 0;
	follow(h, rtp);
	slot->first_seq = slot->max_seq + 1 - expected;
	slot->rtp_packets = received;
	slot->reordered = reordered;
	slot->duplicates = duplicates;
}

#endif
