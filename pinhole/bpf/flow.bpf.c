/* The data path of the BPF back end: one logic for XDP and for tc ingress. A datagram of a known flow is checked, counted,
 * rewritten and sent out; everything else goes up the stack untouched, to the socket of the relay or wherever it belongs.
 *
 * Goes up: other EtherTypes (VLAN tags too), IP options and extension headers, fragments, TTL 1, lengths that contradict each
 * other, several datagrams in one buffer, frames for other stations; and of a known flow what is not the RTP that was
 * negotiated, comes by another interface, comes too late, is too long for the way out or has no next hop.
 *
 * Per packet: one hash look-up, three array elements, one reading of the clock. RFC 768, 791, 1624 (checksums), 2474,
 * 3550 A.1 and A.8, 5761, 8200. Sequence numbers are followed as media-relay/rtp.c does, so that a stream counts alike in
 * the relay and in the kernel. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "pinhole/bpf/flow.h"

#define INLINE static __always_inline

enum {
	LOOKUP_FAMILY_IP4 = 2, LOOKUP_FAMILY_IP6 = 10,
	TTL_MAX = 64,         /* what leaves shows nothing of the way that it came */
	DROPOUT_MAX = 3000, MISORDER_MAX = 100, TRANSIT_STEP_MAX_NS = 1000000000,
	SPOT_CHECK = 256,     /* every so many packets XDP looks whether checksums are complete */
	CHECK_BYTES_MAX = 1536,
	TC_LINEAR = ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(struct udphdr) + 12,
	CSUM_MANGLED = 0xffff,
};

enum verdict { UP, DROP, SEND };

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct flow_key4);
	__type(value, struct flow);
	__uint(max_entries, 1);
} flows4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct flow_key6);
	__type(value, struct flow);
	__uint(max_entries, 1);
} flows6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct slot);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct flow_state);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} states SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct flow_control);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} control SEC(".maps");

struct packet {
	__u8 *data, *end;
	struct udphdr *udp;
	__u32 frame_len;  /* data to end is the part that can be read directly */
	__u32 udp_at, ip_len, payload_len;
	__u32 ifindex;
	bool is_xdp;      /* a constant in each program */
};

struct held { /* what belongs to the packet's flow */
	const struct flow *flow;
	struct flow_state *state;
	struct slot *slot;
	__u64 now;
	__u32 slot_index;
};

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

static __noinline void find_hop(void *ctx, const struct flow *flow, struct flow_state *s, const struct flow_control *c,
				__u32 ifindex)
{
	bool is_ip6 = flow->flags & FLOW_IP6;
	struct bpf_fib_lookup fib = {
		.family = is_ip6 ? LOOKUP_FAMILY_IP6 : LOOKUP_FAMILY_IP4,
		.l4_protocol = IPPROTO_UDP,
		.sport = flow->sport,
		.dport = flow->dport,
		.tot_len = 1, /* asks for the MTU of the route */
		.ifindex = is_ip6 ? c->fib_ifindex6 : c->fib_ifindex4,
	};

	if (fib.ifindex == 0)
		fib.ifindex = ifindex;
	if (is_ip6) {
		fib.flowinfo = bpf_htonl((__u32)flow->dscp << 22);
		__builtin_memcpy(fib.ipv6_src, flow->saddr, 16);
		__builtin_memcpy(fib.ipv6_dst, flow->daddr, 16);
	} else {
		fib.tos = flow->dscp << 2;
		__builtin_memcpy(&fib.ipv4_src, flow->saddr, 4);
		__builtin_memcpy(&fib.ipv4_dst, flow->daddr, 4);
	}
	s->hop_ifindex = 0;
	s->hop_epoch = c->epoch;
	s->hop_ns = bpf_ktime_get_ns();
	if (bpf_fib_lookup(ctx, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_SUCCESS) {
		/* Soon again: the relay's packet has the kernel ask for the neighbour. */
		s->hop_ns -= FLOW_SECOND_NS - FLOW_RETRY_NS;
		return;
	}
	__builtin_memcpy(s->hop_macs, fib.dmac, 6);
	__builtin_memcpy(s->hop_macs + 6, fib.smac, 6);
	__builtin_memcpy(s->hop_gateway, fib.ipv6_dst, 16);
	s->hop_family = fib.family;
	s->hop_mtu = fib.mtu_result;
	s->hop_ifindex = fib.ifindex;
}

/* Whether the interface is known to send what XDP redirects to it. */
static __noinline bool is_xdp_out(const struct flow_control *c, __u32 ifindex)
{
	for (__u32 i = 0; i < FLOW_XDP_OUT_MAX && i < c->n_xdp_out; i++)
		if (c->xdp_out[i] == ifindex)
			return true;
	return false;
}

enum way { WAY_NONE, WAY_OPEN, WAY_TC };

/* Clocks of two processors may cross: what lies a little ahead is not long ago. */
INLINE bool is_past(__u64 then, __u64 now, __u64 ns)
{
	return (__s64)(now - then) >= (__s64)ns;
}

INLINE enum way way_of(void *ctx, const struct packet *p, const struct held *h)
{
	struct flow_state *s = h->state;
	const struct flow_control *c;
	__u32 zero = 0;

	c = bpf_map_lookup_elem(&control, &zero);
	if (!c)
		return WAY_NONE;
	if (s->hop_epoch != c->epoch || is_past(s->hop_ns, h->now, FLOW_SECOND_NS)) {
		find_hop(ctx, h->flow, s, c, p->ifindex);
		if (p->is_xdp && s->hop_ifindex != 0 && !is_xdp_out(c, s->hop_ifindex)) {
			s->marks |= FLOW_NO_XDP_OUT;
			return WAY_TC;
		}
	}
	return s->hop_ifindex != 0 && p->ip_len <= s->hop_mtu ? WAY_OPEN : WAY_NONE;
}

/* A sender on the same machine leaves checksums to hardware that is not there (CHECKSUM_PARTIAL); XDP sees them unfinished
 * and cannot tell. Reads the whole datagram. */
static __noinline bool is_checksum_complete(struct xdp_md *ctx, __u32 at, __u32 len, __u32 sum)
{
	__u8 *data = (__u8 *)(long)ctx->data, *end = (__u8 *)(long)ctx->data_end, *p;

	if (at > ETH_HLEN + sizeof(struct ipv6hdr) || len > CHECK_BYTES_MAX)
		return false;
	p = data + at;
	for (int i = 0; i < CHECK_BYTES_MAX / 64 && len >= 64; i++, p += 64, len -= 64) {
		if (p + 64 > end)
			return false;
		sum = bpf_csum_diff(NULL, 0, (__be32 *)p, 64, sum);
	}
	for (int i = 0; i < 64 / 4 && len >= 4; i++, p += 4, len -= 4) {
		if (p + 4 > end)
			return false;
		sum = bpf_csum_diff(NULL, 0, (__be32 *)p, 4, sum);
	}
	sum = (sum & 0xffff) + (sum >> 16);
	if (len >= 2) {
		if (p + 2 > end)
			return false;
		sum += *(__u16 *)p;
		p += 2;
	}
	if (len & 1) {
		if (p + 1 > end)
			return false;
		sum += bpf_htons((__u16)(*p << 8));
	}
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

/* Of the addresses and the length that the checksum covers besides the datagram. */
INLINE __u32 pseudo_sum(const struct packet *p, bool is_ip6)
{
	__u32 len = is_ip6 ? 32 : 8;
	__u32 sum = bpf_csum_diff(NULL, 0, (__be32 *)((__u8 *)p->udp - len), len, 0);

	sum = (sum & 0xffff) + (sum >> 16);
	return sum + bpf_htons(IPPROTO_UDP) + p->udp->len;
}

INLINE bool is_for_tc(void *ctx, const struct packet *p, const struct slot *slot, bool is_ip6)
{
	if (slot->state != SLOT_PENDING && (slot->packets & (SPOT_CHECK - 1)) != 0)
		return false;
	return p->udp->check != 0 &&
	       !is_checksum_complete(ctx, p->udp_at, sizeof(struct udphdr) + p->payload_len, pseudo_sum(p, is_ip6));
}

INLINE bool is_over_rate(const struct packet *p, const struct held *h)
{
	struct slot *slot = h->slot;

	if (is_past(slot->window_ns, h->now, FLOW_SECOND_NS)) {
		slot->window_ns = h->now;
		slot->window_packets = slot->window_bytes = 0;
	}
	if (slot->window_packets >= h->flow->packets_per_s || slot->window_bytes + p->ip_len > h->flow->bytes_per_s)
		return true;
	slot->window_packets++;
	slot->window_bytes += p->ip_len;
	return false;
}

/* Whether the stream moves into the kernel with this packet. */
INLINE bool is_moving(const struct held *h)
{
	__u64 last_ns = h->slot->last_ns;

	return (last_ns != 0 && is_past(last_ns, h->now, FLOW_GAP_NS)) || is_past(h->state->since_ns, h->now, FLOW_PENDING_MAX_NS);
}

INLINE bool is_due(const struct packet *p, const struct held *h)
{
	return h->now <= h->flow->expires_ns && (h->flow->in_ifindex == 0 || h->flow->in_ifindex == p->ifindex);
}

INLINE enum verdict leave_to_relay(const struct held *h, const struct rtp *rtp)
{
	if (h->flow->flags & FLOW_RTP)
		follow_silently(h, rtp);
	h->slot->last_ns = h->now;
	return UP;
}

/* Everything but the rewriting. */
INLINE enum verdict judge(void *ctx, const struct packet *p, const struct held *h, bool is_ip6)
{
	struct slot *slot = h->slot;
	struct rtp rtp = {};
	enum way way;

	if (!is_due(p, h) || ((h->flow->flags & FLOW_RTP) && !parse_rtp(ctx, p, h->flow, &rtp))) {
		slot->passed++;
		return UP;
	}
	way = way_of(ctx, p, h);
	if (way == WAY_NONE) {
		slot->passed++;
		return leave_to_relay(h, &rtp);
	}
	if (way == WAY_TC || (p->is_xdp && is_for_tc(ctx, p, slot, is_ip6))) {
		slot->flags |= SLOT_NO_XDP;
		return UP; /* and counted there */
	}
	if (slot->state == SLOT_PENDING) {
		if (!is_moving(h))
			return leave_to_relay(h, &rtp);
		slot->state = SLOT_ACTIVE;
		slot->active_ns = h->now;
	}
	slot->last_ns = h->now;
	if (is_over_rate(p, h)) {
		slot->dropped_rate++;
		return DROP;
	}
	if (h->flow->flags & FLOW_RTP)
		follow(h, &rtp);
	slot->packets++;
	slot->bytes += p->payload_len;
	return SEND;
}

/* Slot and state of a flow, if this program is the one to handle it. */
INLINE bool hold(const struct packet *p, const struct flow *flow, struct held *ret)
{
	bool is_left_to_tc;

	ret->flow = flow;
	ret->slot_index = flow->slot;
	ret->slot = bpf_map_lookup_elem(&slots, &ret->slot_index);
	ret->state = bpf_map_lookup_elem(&states, &ret->slot_index);
	if (!ret->slot || !ret->state || ret->slot->state == SLOT_FREE)
		return false;
	is_left_to_tc = (flow->flags & FLOW_TC_ONLY) || (ret->slot->flags & SLOT_NO_XDP);
	if (is_left_to_tc == p->is_xdp)
		return false;
	if (p->is_xdp && flow->in_ifindex == p->ifindex) { /* tc knows this already */
		const __u8 *mac = p->data;

		for (int i = 0; i < ETH_ALEN; i++)
			if (mac[i] != flow->in_mac[i])
				return false;
	}
	ret->now = bpf_ktime_get_ns();
	return true;
}

INLINE bool parse_udp(struct packet *p, __u32 udp_at, __u32 ip_len)
{
	p->udp = (struct udphdr *)(p->data + udp_at);
	p->udp_at = udp_at;
	p->ip_len = ip_len;
	p->payload_len = ip_len + ETH_HLEN - udp_at - sizeof(struct udphdr);
	return bpf_ntohs(p->udp->len) == p->payload_len + sizeof(struct udphdr) && p->frame_len >= ETH_HLEN + ip_len;
}

INLINE const struct flow *find_flow4(struct packet *p)
{
	const struct iphdr *ip = (const struct iphdr *)(p->data + ETH_HLEN);
	__u32 udp_at = ETH_HLEN + sizeof(*ip);
	struct flow_key4 key;

	if (p->data + udp_at + sizeof(struct udphdr) > p->end)
		return NULL;
	if (*(const __u8 *)ip != 0x45 || ip->protocol != IPPROTO_UDP || (ip->frag_off & bpf_htons(0x3fff)) || ip->ttl <= 1)
		return NULL;
	if (bpf_ntohs(ip->tot_len) < sizeof(*ip) + sizeof(struct udphdr) || !parse_udp(p, udp_at, bpf_ntohs(ip->tot_len)))
		return NULL;
	key.saddr = ip->saddr;
	key.daddr = ip->daddr;
	key.sport = p->udp->source;
	key.dport = p->udp->dest;
	return bpf_map_lookup_elem(&flows4, &key);
}

INLINE const struct flow *find_flow6(struct packet *p)
{
	const struct ipv6hdr *ip = (const struct ipv6hdr *)(p->data + ETH_HLEN);
	__u32 udp_at = ETH_HLEN + sizeof(*ip);
	struct flow_key6 key;

	if (p->data + udp_at + sizeof(struct udphdr) > p->end)
		return NULL;
	if (ip->version != 6 || ip->nexthdr != IPPROTO_UDP || ip->hop_limit <= 1)
		return NULL;
	if (bpf_ntohs(ip->payload_len) < sizeof(struct udphdr) ||
	    !parse_udp(p, udp_at, bpf_ntohs(ip->payload_len) + sizeof(*ip)) || p->udp->check == 0)
		return NULL;
	__builtin_memcpy(key.saddr, &ip->saddr, 16);
	__builtin_memcpy(key.daddr, &ip->daddr, 16);
	key.sport = p->udp->source;
	key.dport = p->udp->dest;
	return bpf_map_lookup_elem(&flows6, &key);
}

INLINE __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)((sum & 0xffff) + (sum >> 16));
}

/* RFC 1624: the checksum after adding `diff` to what it covers. */
INLINE __u16 adjust(__u16 check, __u32 diff)
{
	return (__u16)~fold((__u16)~check + diff);
}

INLINE __u8 ttl_after(__u8 ttl)
{
	return ttl - 1 < TTL_MAX ? ttl - 1 : TTL_MAX;
}

INLINE void rewrite4(__u8 *data, const struct flow *flow)
{
	struct iphdr *ip = (struct iphdr *)(data + ETH_HLEN);
	__u16 *words = (__u16 *)ip;
	__u32 diff = flow->l3_diff + (__u16)~words[0] + (__u16)~words[4];

	ip->tos = (ip->tos & 3) | flow->dscp << 2;
	ip->ttl = ttl_after(ip->ttl);
	ip->check = adjust(ip->check, diff + words[0] + words[4]);
	__builtin_memcpy(&ip->saddr, flow->saddr, 4);
	__builtin_memcpy(&ip->daddr, flow->daddr, 4);
}

/* The flow label is not passed on. Returns by how much the header's sum changes, addresses excepted. */
INLINE __u32 rewrite6(__u8 *data, const struct flow *flow)
{
	struct ipv6hdr *ip = (struct ipv6hdr *)(data + ETH_HLEN);
	__u16 *words = (__u16 *)ip;
	__u32 diff = (__u16)~words[0] + (__u16)~words[1] + (__u16)~words[3];
	__u32 traffic_class = (__u32)flow->dscp << 2 | (ip->flow_lbl[0] >> 4 & 3);

	*(__be32 *)ip = bpf_htonl(6u << 28 | traffic_class << 20);
	ip->hop_limit = ttl_after(ip->hop_limit);
	__builtin_memcpy(&ip->saddr, flow->saddr, 16);
	__builtin_memcpy(&ip->daddr, flow->daddr, 16);
	return diff + words[0] + words[1] + words[3];
}

INLINE void rewrite_ends(__u8 *data, struct udphdr *udp, const struct held *h)
{
	__builtin_memcpy(data, h->state->hop_macs, 2 * ETH_ALEN);
	udp->source = h->flow->sport;
	udp->dest = h->flow->dport;
}

/* A flow that is removed may become another one's memory while its last packet is being rewritten. Slots are reused late, and
 * the kernel writes a flow from its beginning to its end: a slot that is still the same means that the rest was too. */
INLINE bool is_still_there(const struct held *h)
{
	return *(const volatile __u32 *)&h->flow->slot == h->slot_index;
}

INLINE int to_xdp(enum verdict verdict)
{
	return verdict == DROP ? XDP_DROP : XDP_PASS;
}

INLINE int xdp_send(const struct packet *p, const struct held *h, bool is_ip6)
{
	const struct flow *flow = h->flow;

	if (is_ip6)
		rewrite6(p->data, flow);
	else
		rewrite4(p->data, flow);
	rewrite_ends(p->data, p->udp, h);
	if (p->udp->check != 0) {
		__u16 check = adjust(p->udp->check, (__u32)flow->l3_diff + flow->l4_diff);

		p->udp->check = check != 0 ? check : CSUM_MANGLED;
	}
	return is_still_there(h) ? bpf_redirect(h->state->hop_ifindex, 0) : XDP_DROP;
}

SEC("xdp")
int postern_xdp(struct xdp_md *ctx)
{
	struct packet p = {
		.data = (__u8 *)(long)ctx->data, .end = (__u8 *)(long)ctx->data_end, .ifindex = ctx->ingress_ifindex, .is_xdp = true,
	};
	const struct ethhdr *eth = (const struct ethhdr *)p.data;
	const struct flow *flow;
	struct held h;
	enum verdict verdict;

	if (p.data + sizeof(*eth) > p.end)
		return XDP_PASS;
	p.frame_len = p.end - p.data;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		flow = find_flow4(&p);
		if (!flow || !hold(&p, flow, &h))
			return XDP_PASS;
		verdict = judge(ctx, &p, &h, false);
		return verdict == SEND ? xdp_send(&p, &h, false) : to_xdp(verdict);
	}
	if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		flow = find_flow6(&p);
		if (!flow || !hold(&p, flow, &h))
			return XDP_PASS;
		verdict = judge(ctx, &p, &h, true);
		return verdict == SEND ? xdp_send(&p, &h, true) : to_xdp(verdict);
	}
	return XDP_PASS;
}

/* The helpers know what the checksum field and the sum of the whole buffer mean at this point (CHECKSUM_PARTIAL,
 * CHECKSUM_COMPLETE). They may move the packet: everything is looked up again after them. */
INLINE int tc_send(struct __sk_buff *skb, const struct packet *p, const struct held *h, bool is_ip6)
{
	const struct flow *flow = h->flow;
	__u32 check_at = p->udp_at + offsetof(struct udphdr, check), diff;
	bool has_check = p->udp->check != 0;
	__u8 *data;

	if (has_check) {
		bpf_l4_csum_replace(skb, check_at, 0, flow->l3_diff, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0);
		bpf_l4_csum_replace(skb, check_at, 0, flow->l4_diff, BPF_F_MARK_MANGLED_0);
	}
	data = (__u8 *)(long)skb->data;
	if (data + p->udp_at + sizeof(struct udphdr) > (__u8 *)(long)skb->data_end)
		return TC_ACT_SHOT;
	rewrite_ends(data, (struct udphdr *)(data + p->udp_at), h);
	if (is_ip6) {
		diff = rewrite6(data, flow);
		/* The first helper took the addresses' difference out of the buffer's sum; IPv6 has no checksum of its own to
		 * make up for it. */
		bpf_csum_update(skb, fold(diff) + (__u32)flow->l3_diff);
	} else {
		rewrite4(data, flow);
		if (!has_check)
			bpf_csum_update(skb, flow->l4_diff);
	}
	return is_still_there(h) ? bpf_redirect(h->state->hop_ifindex, 0) : TC_ACT_SHOT;
}

/* TC_ACT_UNSPEC: on to the next filter, which may be somebody else's. */
INLINE int to_tc(enum verdict verdict)
{
	return verdict == DROP ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

SEC("tc")
int postern_tc(struct __sk_buff *skb)
{
	struct packet p = { .frame_len = skb->len, .ifindex = skb->ifindex };
	const struct flow *flow;
	struct held h;
	enum verdict verdict;

	if (skb->pkt_type != 0 /* PACKET_HOST */ || skb->gso_size != 0 || skb->vlan_present)
		return TC_ACT_UNSPEC;
	if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
		return TC_ACT_UNSPEC;
	p.data = (__u8 *)(long)skb->data;
	p.end = (__u8 *)(long)skb->data_end;
	if (p.end - p.data < TC_LINEAR && p.end - p.data < p.frame_len) {
		bpf_skb_pull_data(skb, p.frame_len < TC_LINEAR ? p.frame_len : TC_LINEAR);
		p.data = (__u8 *)(long)skb->data;
		p.end = (__u8 *)(long)skb->data_end;
	}
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		flow = find_flow4(&p);
		if (!flow || !hold(&p, flow, &h))
			return TC_ACT_UNSPEC;
		verdict = judge(skb, &p, &h, false);
		return verdict == SEND ? tc_send(skb, &p, &h, false) : to_tc(verdict);
	}
	flow = find_flow6(&p);
	if (!flow || !hold(&p, flow, &h))
		return TC_ACT_UNSPEC;
	verdict = judge(skb, &p, &h, true);
	return verdict == SEND ? tc_send(skb, &p, &h, true) : to_tc(verdict);
}

/* Sends the loader's test frames out of the interface whose index follows the Ethernet header. Never attached. */
SEC("xdp")
int postern_probe(struct xdp_md *ctx)
{
	__u8 *data = (__u8 *)(long)ctx->data;

	if (data + ETH_HLEN + 4 > (__u8 *)(long)ctx->data_end)
		return XDP_DROP;
	return bpf_redirect(*(__u32 *)(data + ETH_HLEN), 0);
}

char flow_license[] SEC("license") = "GPL";
