/* RTP header checks and receiver statistics. The input is a list of packets, each behind an octet with its length. */
#include <stdlib.h>

#include "core/cursor.h"
#include "media-relay/rtcp.h"
#include "media-relay/rtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = cursor_of(data, size);
	struct rtp_track track = { 0 };
	uint64_t arrival_us = 1000000, packets = 0, lost = 0;

	while (cursor_left(&c) > 0) {
		size_t len = cursor_u8(&c);
		struct rtp_header header;
		uint8_t *packet;

		if (len > cursor_left(&c))
			len = cursor_left(&c);
		packet = malloc(len > 0 ? len : 1); /* on its own, so that a read past its end is seen */
		if (packet == NULL)
			abort();
		memcpy(packet, cursor_take(&c, len), len);
		if (rtp_is_stun(packet, len) && rtp_parse(packet, len, &header) == 0)
			abort();
		if (rtp_parse(packet, len, &header) == 0) {
			if (len < 12 || packet[0] >> 6 != 2 || header.payload_type > 127)
				abort();
			rtp_track_add(&track, &header, arrival_us);
			arrival_us += (uint64_t)len * 500;
			packets++;
			if (track.received > packets || rtp_track_lost(&track) < track.lost_before || track.lost_before < lost)
				abort();
			lost = track.lost_before;
			rtp_track_jitter_us(&track);
		}
		rtcp_is_rtcp(packet, len);
		free(packet);
	}
	return 0;
}
