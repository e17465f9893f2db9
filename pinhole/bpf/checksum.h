/* Checksums and the headers that carry them: whether a UDP checksum is complete, and rewriting by differences (RFC 1624).
 * Only for flow.bpf.c. */
#ifndef PINHOLE_BPF_CHECKSUM_H
#define PINHOLE_BPF_CHECKSUM_H

#include <linux/in.h>

#include "pinhole/bpf/packet.h"

enum {
	TTL_MAX = 64,  /* what leaves shows nothing of the way that it came */
	CHECK_BYTES_MAX = 1536,
};

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

#endif
