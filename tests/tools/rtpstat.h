/* What a test endpoint sends as RTP payload and what it learns from what arrives: every packet carries the identity of its
 * stream, its number and its time of sending, so that loss, duplicates, order and delay need no guessing, and a packet of
 * another stream is seen at once. */
#ifndef TESTS_TOOLS_RTPSTAT_H
#define TESTS_TOOLS_RTPSTAT_H

#include <stdio.h>

#include "core/addr.h"

enum { RTPSTAT_HEADER = 12, RTPSTAT_MARKER = 24, RTPSTAT_SOURCES_MAX = 8, RTPSTAT_WINDOW = 512 };

struct rtpstat_packet {
	uint8_t payload_type;
	uint32_t ssrc;
	uint32_t stream;
	uint32_t number;     /* from 0; the RTP sequence number is its lower half */
	uint64_t sent_ns;
};
/* Writes header and marker (RTPSTAT_HEADER + RTPSTAT_MARKER bytes). 20 ms of 8 kHz pass between two numbers. */
void rtpstat_write(const struct rtpstat_packet *packet, uint8_t *out);

struct rtpstat_source {      /* one sender: address and SSRC */
	struct addr from;
	uint32_t ssrc;
	uint32_t stream;
	uint8_t payload_type;    /* newest */
	uint64_t received;       /* all packets, also foreign ones */
	uint64_t duplicated, reordered;
	uint64_t foreign;        /* without our marker, or of another stream than expected */
	uint32_t first, last;    /* lowest and highest number */
	uint64_t window[RTPSTAT_WINDOW / 64]; /* bit n % RTPSTAT_WINDOW: number n was seen */
	uint64_t delay_sum_ns, delay_max_ns;
	int64_t transit_ns;
	double jitter_ns;        /* RFC 3550 6.4.1, by the true times of sending */
	int64_t due_ns;
	double timing_ns;        /* the same by RTP timestamps, as a receiver on the wire has it */
};
struct rtpstat {
	bool has_expected;
	uint32_t expected;       /* identity of the stream that should arrive here */
	struct rtpstat_source sources[RTPSTAT_SOURCES_MAX];
	unsigned n_sources;
	uint64_t malformed;      /* not RTP */
	uint64_t unlisted;       /* of sources beyond RTPSTAT_SOURCES_MAX; all foreign */
};
void rtpstat_receive(struct rtpstat *stat, const struct addr *from, const uint8_t *data, size_t len, uint64_t now_ns);

struct rtpstat_sum {
	uint64_t received, lost, duplicated, reordered, foreign, malformed;
	uint64_t delay_sum_ns, delay_max_ns;
	double jitter_max_ns, timing_max_ns;
};
void rtpstat_add(const struct rtpstat *stat, struct rtpstat_sum *sum);
/* Members of a JSON object, without braces. */
void rtpstat_print_sum(const struct rtpstat_sum *sum, FILE *out);
/* A JSON array of the sources. */
void rtpstat_print_sources(const struct rtpstat *stat, FILE *out);

#endif
