/* The BPF half of the benchmark's traffic: `generate` makes RTP frames out of nothing when it is run with live frames
 * (BPF_PROG_TEST_RUN), `count` stands at the receiver's interface, compares every packet with what its flow must look
 * like, counts it and drops it. Tests only; nothing of the gateway is in here. */
#include "tests/bench/media/traffic.h"

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum { LATE_MAX_NS = 5000000 };

struct rtp {
	__u8 version, payload_type;
	__be16 sequence;
	__be32 timestamp, ssrc;
};

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	struct rtp rtp;
} __attribute__((packed));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, TRAFFIC_FLOWS_MAX);
	__type(key, __u32);
	__type(value, struct traffic_flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct traffic_sender);
} sender SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, TRAFFIC_FLOWS_MAX);
	__type(key, __u32);
	__type(value, struct traffic_expected);
} expected SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct traffic_receiver);
} receiver SEC(".maps");

static __always_inline int is_due(struct traffic_sender *s)
{
	__u64 now;

	if (s->interval_ns == 0)
		return 1;
	now = bpf_ktime_get_ns();
	if (now < s->due_ns)
		return 0;
	if (now - s->due_ns > LATE_MAX_NS) {
		s->skipped += (now - s->due_ns) / s->interval_ns;
		s->due_ns = now;
	}
	s->due_ns += s->interval_ns;
	return 1;
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 zero = 0, at;
	struct traffic_sender *s = bpf_map_lookup_elem(&sender, &zero);
	struct traffic_flow *flow;

	if (s == NULL || data + TRAFFIC_FRAME > end || !is_due(s))
		return XDP_DROP;
	at = s->next;
	flow = bpf_map_lookup_elem(&flows, &at);
	if (flow == NULL)
		return XDP_DROP;
	s->next = at + 1 < s->n_flows ? at + 1 : 0;
	traffic_write(flow, data);
	s->sent++;
	return (int)bpf_redirect(s->ifindex, 0);
}

/* Of a packet whose length is known to be right. */
static __always_inline void check_sums(struct traffic_receiver *r, struct frame *frame, void *end)
{
	__u32 pseudo[3] = { frame->ip.saddr, frame->ip.daddr, bpf_htonl(IPPROTO_UDP << 16 | TRAFFIC_UDP) };
	__u32 base;

	if ((void *)&frame->udp + TRAFFIC_UDP > end)
		return;
	r->checked++;
	base = traffic_fold((__u32)bpf_csum_diff(NULL, 0, pseudo, sizeof(pseudo), 0));
	if (traffic_fold((__u32)bpf_csum_diff(NULL, 0, (void *)&frame->ip, sizeof(frame->ip), 0)) != 0xffff)
		r->wrong_checksum++;
	else if (frame->udp.check == (__u16)base)
		r->partial++;
	else if (traffic_fold((__u32)bpf_csum_diff(NULL, 0, (void *)&frame->udp, TRAFFIC_UDP, base)) != 0xffff)
		r->wrong_checksum++;
}

static __always_inline int is_right(const struct traffic_receiver *r, const struct traffic_expected *e,
				    const struct frame *frame, __u32 flow)
{
	return frame->ip.saddr == e->saddr && frame->ip.daddr == r->daddr && frame->udp.source == e->sport &&
	       frame->udp.len == bpf_htons(TRAFFIC_UDP) && frame->rtp.version == 0x80 &&
	       frame->rtp.ssrc == bpf_htonl(flow + 1);
}

static __always_inline void keep_wrong(struct traffic_receiver *r, void *data, void *end)
{
	if (r->wrong++ == 0 && data + sizeof(r->wrong_frame) <= end)
		__builtin_memcpy(r->wrong_frame, data, sizeof(r->wrong_frame));
}

static __always_inline int compare(struct traffic_receiver *r, void *data, void *end)
{
	struct frame *frame = data;
	struct traffic_expected *e;
	__u32 flow;

	if ((void *)(frame + 1) > end || frame->eth.h_proto != bpf_htons(ETH_P_IP) || *(__u8 *)&frame->ip != 0x45 ||
	    frame->ip.protocol != IPPROTO_UDP)
		return XDP_PASS;
	flow = (__u32)(bpf_ntohs(frame->udp.dest) - r->first_port) / 2;
	e = flow < r->n_flows ? bpf_map_lookup_elem(&expected, &flow) : NULL;
	if (e == NULL)
		return XDP_PASS;
	if (!is_right(r, e, frame, flow)) {
		keep_wrong(r, data, end);
		return XDP_DROP;
	}
	e->packets++;
	r->right++;
	if (r->check_every > 0 && r->compared++ % r->check_every == 0)
		check_sums(r, frame, end);
	return XDP_DROP;
}

/* Looking into a packet that another processor has just written costs more than all the rest, so under a flood only some
 * are compared. */
SEC("xdp")
int count(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 zero = 0;
	struct traffic_receiver *r = bpf_map_lookup_elem(&receiver, &zero);

	if (r == NULL)
		return XDP_PASS;
	if (r->compare_every > 1 && r->arrived++ % r->compare_every != 0 && data + TRAFFIC_FRAME == end) {
		r->right++;
		return XDP_DROP;
	}
	return compare(r, data, end);
}

char LICENSE[] SEC("license") = "GPL";
