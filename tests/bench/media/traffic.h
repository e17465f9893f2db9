/* Layout shared by the BPF programs that make and count benchmark traffic and the tool that runs them.
 *
 * A flow is one direction of one RTP stream: IPv4, UDP, 12 bytes of RTP header and 160 bytes of payload. Flow number n
 * has SSRC n + 1 and arrives at the receiver's port `first_port + 2 * n`. */
#ifndef TESTS_BENCH_MEDIA_TRAFFIC_H
#define TESTS_BENCH_MEDIA_TRAFFIC_H

#include <linux/types.h>

enum {
	TRAFFIC_FLOWS_MAX = 32768,
	TRAFFIC_HEAD = 14 + 20 + 8 + 12,
	TRAFFIC_UDP = 8 + 12 + 160,
	TRAFFIC_FRAME = 14 + 20 + TRAFFIC_UDP,
	TRAFFIC_AT_IP = 14,
	TRAFFIC_AT_UDP = 34,
	TRAFFIC_AT_CHECK = TRAFFIC_AT_UDP + 6,
	TRAFFIC_AT_RTP = 42,
	TRAFFIC_AT_SEQUENCE = TRAFFIC_AT_RTP + 2,
	TRAFFIC_AT_TIMESTAMP = TRAFFIC_AT_RTP + 4,
	TRAFFIC_TICKS = 160,        /* of the RTP timestamp, between two packets */
};

struct traffic_flow { /* of the sender; one cache line */
	__u64 head[7];  /* TRAFFIC_HEAD bytes: all headers; checksum, sequence number and timestamp are zero */
	__u32 sum;      /* ones' complement sum over what UDP's checksum covers, as head has it */
	__u32 number;   /* of the next packet */
};

static inline __u16 traffic_be16(__u16 n)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return __builtin_bswap16(n);
#else
	return n;
#endif
}

static inline __u32 traffic_be32(__u32 n)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return __builtin_bswap32(n);
#else
	return n;
#endif
}

static inline __u16 traffic_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)((sum & 0xffff) + (sum >> 16));
}

/* The next packet's headers. Every byte of them is written: a frame comes back into use with whatever became of it. */
static inline void traffic_write(struct traffic_flow *flow, void *out)
{
	__u64 *to = out;
	__u16 sequence = traffic_be16((__u16)flow->number), *shorts = out, check;
	__u32 timestamp = traffic_be32(flow->number * TRAFFIC_TICKS);

	for (int i = 0; i < TRAFFIC_HEAD / 8; i++)
		to[i] = flow->head[i];
	for (int i = TRAFFIC_HEAD / 8 * 4; i < TRAFFIC_HEAD / 2; i++)
		shorts[i] = ((const __u16 *)flow->head)[i];
	check = (__u16)~traffic_fold(flow->sum + sequence + (timestamp & 0xffff) + (timestamp >> 16));
	shorts[TRAFFIC_AT_CHECK / 2] = check == 0 ? 0xffff : check; /* 0 would mean that there is none */
	shorts[TRAFFIC_AT_SEQUENCE / 2] = sequence;
	shorts[TRAFFIC_AT_TIMESTAMP / 2] = (__u16)timestamp;
	shorts[TRAFFIC_AT_TIMESTAMP / 2 + 1] = (__u16)(timestamp >> 16);
	flow->number++;
}

struct traffic_sender {
	__u64 interval_ns;  /* between two packets; 0: as fast as possible */
	__u64 due_ns;       /* CLOCK_MONOTONIC of the next one; with an interval */
	__u64 sent;
	__u64 skipped;      /* due, but so late that they were left out */
	__u32 n_flows, next;
	__u32 ifindex, zero;
};

struct traffic_expected { /* of the receiver: what a packet of this flow must look like */
	__u32 saddr;
	__u16 sport, zero;  /* network byte order */
	__u64 packets;      /* right ones */
};

struct traffic_receiver {
	__u32 daddr, n_flows;
	__u32 compare_every; /* packet: 1, or a prime so that all flows have their turn */
	__u32 check_every;   /* of those: whose checksums are looked at */
	__u16 first_port;    /* host byte order */
	__u16 zero[3];
	__u64 right;        /* among them those that were not compared; their length is right */
	__u64 wrong;        /* to a port of ours, but addresses, SSRC or length are not what they must be */
	__u64 arrived, compared;
	__u64 checked, wrong_checksum;
	__u64 partial;      /* of those checked: UDP's checksum left to hardware that veth does not have */
	__u8 wrong_frame[64]; /* the first one */
};

#endif
