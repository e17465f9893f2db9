/* RTP: is this a packet a stream may carry, and how many of its like were lost, late or early (RFC 3550 5.1, 6.4.1,
 * A.1, A.3, A.8). Pure: no sockets, no clock, no allocation. */
#ifndef MEDIA_RELAY_RTP_H
#define MEDIA_RELAY_RTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rtp_header {
	uint8_t payload_type;
	bool marker;
	uint16_t sequence;
	uint32_t timestamp, ssrc;
};

/* Checks version, CSRC list, header extension and padding against the length. 0 or ERR_PARSE. */
int rtp_parse(const void *data, size_t len, struct rtp_header *ret);
/* Both words zero: any payload type. */
static inline bool rtp_is_negotiated(const uint64_t payloads[2], uint8_t payload_type)
{
	if ((payloads[0] | payloads[1]) == 0)
		return true;
	return payloads[(payload_type >> 6) & 1] >> (payload_type & 63) & 1;
}
/* A STUN message (RFC 8489 section 5): top bits zero, length and magic cookie right. */
bool rtp_is_stun(const void *data, size_t len);

/* What is known of the packets received from one side. One source (SSRC) is followed at a time; another one takes
 * over with its second packet in a row, so a stray packet disturbs nothing and no peer can make state grow. */
struct rtp_track {
	bool is_started;
	uint32_t ssrc, other_ssrc;
	bool has_other;          /* other_ssrc sent the last packet */
	uint32_t base, highest;  /* extended sequence numbers */
	uint16_t jump_to;        /* after an unlikely jump: the sequence number that would confirm it */
	bool has_jump;
	bool has_break;          /* the next packet begins anew, see rtp_track_break() */
	uint64_t received;       /* of this source */
	uint64_t lost_before;    /* by earlier sources, and before jumps */
	uint64_t reordered;
	/* Jitter: only between packets of one payload type, whose clock is known or was measured. */
	uint8_t payload_type;
	bool has_transit;
	uint32_t clock_hz;       /* 0: not known yet */
	uint32_t timestamp, first_timestamp;
	uint64_t arrival_us, first_arrival_us;
	uint64_t jitter_x16_us;
};

void rtp_track_add(struct rtp_track *track, const struct rtp_header *header, uint64_t arrival_us);
/* Packets went, or will go, another way: whatever lies between the last packet and the next one was not lost here. What was
 * counted stays. */
void rtp_track_break(struct rtp_track *track);
uint64_t rtp_track_lost(const struct rtp_track *track);
uint32_t rtp_track_jitter_us(const struct rtp_track *track);

#endif
