/* Layout shared by the BPF programs and their loader. FLOW_VERSION is part of the maps' names in bpffs: a newer program never
 * meets older maps. Counters are in slot.h. */
#ifndef PINHOLE_BPF_FLOW_H
#define PINHOLE_BPF_FLOW_H

#include "pinhole/slot.h"

enum { FLOW_VERSION = 1 };

/* Exact flow of arriving UDP datagrams; all in network byte order. One hash map per family. */
struct flow_key4 {
	slot_u32 saddr, daddr;
	slot_u16 sport, dport;
};

struct flow_key6 {
	slot_u8 saddr[16], daddr[16];
	slot_u16 sport, dport;
};

enum { FLOW_RTP = 1, FLOW_TC_ONLY = 2 };

struct flow {
	slot_u64 id;
	slot_u8 owner[16];
	slot_u64 expires_ns;            /* CLOCK_MONOTONIC; later packets go to the socket */
	slot_u64 payloads[2];
	slot_u32 slot;
	slot_u32 packets_per_s, bytes_per_s;
	slot_u32 flags;
	slot_u8 saddr[16], daddr[16];   /* to write; IPv4 in the first 4 */
	slot_u16 sport, dport;
	slot_u8 dscp, realm_in, realm_out, zero;
	/* Next hop. Written by the program itself: bpf_fib_lookup() when hop_epoch is not the global epoch (which the loader
	 * raises when routes, neighbours or links change) or the last look is a second old. So no packet of a busy stream
	 * pays for a look-up, and nothing depends on a process being alive. */
	slot_u64 hop_ns;
	slot_u32 hop_epoch;
	slot_u32 hop_ifindex;           /* 0: none, packets go to the socket */
	slot_u8 hop_smac[6], hop_dmac[6];
	slot_u8 hop_gateway[16];        /* to keep the neighbour alive */
	slot_u16 hop_mtu;
	slot_u16 zero2[3];
};

#endif
