/* Counters of one pinhole, as the kernel program (or, for mechanisms without one, the helper) writes them and posternd
 * reads them through shared memory. The layout is fixed: programs and maps of an older process stay in use over a restart
 * (SLOT_VERSION). Included by the BPF program too: no other header is needed. */
#ifndef PINHOLE_SLOT_H
#define PINHOLE_SLOT_H

#ifdef __bpf__
#include <linux/types.h>
typedef __u64 slot_u64;
typedef __u32 slot_u32;
typedef __u16 slot_u16;
typedef __u8 slot_u8;
#else
#include <stdint.h>
typedef uint64_t slot_u64;
typedef uint32_t slot_u32;
typedef uint16_t slot_u16;
typedef uint8_t slot_u8;
#endif

enum { SLOT_VERSION = 1 };

enum slot_state {
	SLOT_FREE,
	/* Packets still go to the socket. The stream moves when a pause of FLOW_GAP_NS between two packets shows that the
	 * relay has none of it in hand, so nothing is overtaken; after FLOW_PENDING_MAX_NS without a pause it moves anyway. */
	SLOT_PENDING,
	SLOT_ACTIVE,
};
enum {
	SLOT_NO_XDP = 1,    /* checksums of this stream's packets are not complete when XDP sees them: left to tc */
	SLOT_BOTH_WAYS = 2, /* not RTP: what the target sends back is counted, too */
};

/* One writer at a time: all packets of a flow come through one receive queue. 64-bit members are written whole. */
struct slot {
	slot_u64 packets, bytes;        /* forwarded; bytes of UDP payload */
	slot_u64 last_ns;               /* CLOCK_MONOTONIC of the last packet seen, 0: none */
	slot_u64 active_ns;             /* when it left SLOT_PENDING */
	slot_u64 dropped_rate, dropped_format;
	slot_u64 passed;                /* matched, but left to the socket: payload type, expired, no next hop, too long */
	slot_u64 window_ns;             /* rate limit: start of this second */
	slot_u32 window_packets, window_bytes;
	slot_u32 state, flags;
	/* RTP (RFC 3550 A.1, A.8); sequence numbers are extended to 64 bits. */
	union {
		slot_u64 first_seq;     /* expected: max_seq - first_seq + 1; received: rtp_packets */
		slot_u64 packets_back;  /* SLOT_BOTH_WAYS */
	};
	union {
		slot_u64 max_seq;
		slot_u64 bytes_back;    /* SLOT_BOTH_WAYS */
	};
	slot_u64 rtp_packets, reordered, duplicates;
	slot_u64 transit;               /* last arrival - timestamp, in ns */
	slot_u64 jitter_q4_ns;          /* 16 times the jitter */
	slot_u32 ssrc, clock_hz;        /* clock: as given at open; 0: jitter is not measured */
};

struct slot_stats { /* read side, all since the pinhole exists */
	slot_u64 packets, bytes, lost, reordered, dropped_rate, dropped_format, passed;
	slot_u64 packets_back, bytes_back; /* from the target to the source, where one pinhole is for both directions (PINHOLE_NFT) */
	slot_u64 last_ns, active_ns;
	slot_u32 jitter_us;
	slot_u8 is_active, has_rtp, no_xdp;
};

#endif
