/* What the parts of the BPF programs have in common: a packet that is being looked at, and what belongs to its flow. Only for
 * flow.bpf.c, which is one translation unit: everything is inlined into both programs. */
#ifndef PINHOLE_BPF_PACKET_H
#define PINHOLE_BPF_PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "pinhole/bpf/flow.h"

#define INLINE static __always_inline

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

#endif
