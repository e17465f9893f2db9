/* The data path of the BPF back end: one logic for XDP and for tc ingress. A datagram of a known flow is checked, counted,
 * rewritten and sent out; everything else goes up the stack untouched, to the socket of the relay or wherever it belongs.
 *
 * Goes up: other EtherTypes (VLAN tags too), IP options and extension headers, fragments, TTL 1, lengths that contradict each
 * other, several datagrams in one buffer, frames for other stations; and of a known flow what is not the RTP that was
 * negotiated, comes by another interface, comes too late, is too long for the way out or has no next hop.
 *
 * Per packet: one hash look-up, three array elements, one reading of the clock. RTP is in rtp_follow.h, checksums are in
 * checksum.h. RFC 768, 791, 2474, 8200. */
#include <linux/pkt_cls.h>

#include "pinhole/bpf/checksum.h"
#include "pinhole/bpf/packet.h"
#include "pinhole/bpf/rtp_follow.h"

enum {
	LOOKUP_FAMILY_IP4 = 2, LOOKUP_FAMILY_IP6 = 10,
	SPOT_CHECK = 256,     /* every so many packets XDP looks whether checksums are complete */
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
