/* Layout shared by the BPF programs and their loader. FLOW_VERSION is part of the maps' place in bpffs: a newer program never
 * meets older maps. Counters are in slot.h.
 *
 * Who writes what: the loader writes struct flow (a hash map's value, replaced as a whole) and struct flow_control; the
 * programs write struct flow_state and struct slot (arrays, one element per flow, the same index in both). So neither
 * ever overwrites what the other has just noted. */
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

enum {
	FLOW_RTP = 1,
	FLOW_TC_ONLY = 2,  /* no XDP where it arrives: the program at tc takes it */
	FLOW_IP6 = 4,
};

struct flow { /* what every packet needs comes first */
	slot_u64 expires_ns;            /* CLOCK_MONOTONIC; later packets go to the socket */
	slot_u64 payloads[2];           /* both 0: any */
	slot_u32 slot;
	slot_u32 flags;
	slot_u32 packets_per_s, bytes_per_s;
	slot_u32 in_ifindex;            /* where it has to arrive; 0: anywhere */
	/* Sums to add to one's complement checksums: addresses, ports (new ones minus old ones, 16 bits wide). */
	slot_u16 l3_diff, l4_diff;
	slot_u16 sport, dport;          /* to write, as the addresses; network byte order */
	slot_u8 in_mac[6];              /* of in_ifindex: frames for other stations are not ours */
	slot_u8 dscp, zero;
	slot_u32 tick_q8_ns;            /* 256 times the nanoseconds of one RTP timestamp tick; 0: jitter is not measured */
	slot_u8 saddr[16], daddr[16];   /* IPv4 in the first 4 */
	slot_u16 realm_in, realm_out, zero2[2];
	slot_u64 id;
	slot_u8 owner[16];
};

enum { /* flow_state.marks */
	FLOW_STARTED = 1,    /* a sequence is being followed */
	FLOW_JUMPED = 2,     /* jump_to is set */
	FLOW_OTHER = 4,      /* other_ssrc sent the last packet */
	FLOW_TRANSIT = 8,    /* timestamp and arrival_ns are set */
	FLOW_NO_XDP_OUT = 16, /* SLOT_NO_XDP because of the interface that it leaves by */
};

struct flow_state {
	/* Next hop: from bpf_fib_lookup() when hop_epoch is not the global epoch (which the loader raises when routes,
	 * neighbours or links change) or the last look is a second old. So no packet of a busy stream pays for a look-up,
	 * and nothing depends on a process being alive. */
	slot_u64 hop_ns;
	slot_u32 hop_epoch;
	slot_u32 hop_ifindex;           /* 0: none, packets go to the socket */
	slot_u8 hop_macs[12];           /* as they are sent: destination, source */
	slot_u16 hop_mtu;
	slot_u8 hop_family, zero;
	/* The sequence followed, beside what is in the slot; as struct rtp_track of media-relay/rtp.h. */
	slot_u32 other_ssrc, timestamp;
	slot_u64 arrival_ns;
	slot_u16 jump_to;
	slot_u8 payload_type, marks;
	slot_u32 lost_before;           /* by earlier sources, and before jumps */
	slot_u64 since_ns;              /* when the flow was opened */
	/* Not needed per packet. */
	slot_u8 hop_gateway[16];        /* to keep the neighbour alive */
	slot_u8 zero2[48];
};

enum { FLOW_XDP_OUT_MAX = 64 };

struct flow_control { /* the one element of the map `control` */
	slot_u32 epoch;
	/* The interface whose view of the routes is asked: the loopback interface, as for the gateway's own packets. It must
	 * have forwarding switched on; 0: the one where the packet arrives. */
	slot_u32 fib_ifindex4, fib_ifindex6;
	slot_u32 n_xdp_out;
	slot_u32 xdp_out[FLOW_XDP_OUT_MAX]; /* interfaces that are known to send what XDP redirects to them */
};

/* The pause is as long as the relay was seen to be late on a busy machine, and shorter than the 20 ms of ordinary audio. */
enum { FLOW_GAP_NS = 12000000, FLOW_PENDING_MAX_NS = 1000000000, FLOW_SECOND_NS = 1000000000, FLOW_RETRY_NS = 50000000 };

#endif
