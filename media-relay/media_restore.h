/* What a restart needs to go on with a stream: taken from one process, given to the next. Control thread. */
#ifndef MEDIA_RELAY_MEDIA_RESTORE_H
#define MEDIA_RELAY_MEDIA_RESTORE_H

#include "media-relay/media.h"

struct media_saved_counts { /* of the relay; as in struct media_stats. What the kernel counts, it keeps */
	uint64_t packets, bytes, sent, rtcp_packets, lost, reordered, jitter_us;
	uint64_t dropped_source, dropped_format, dropped_payload, dropped_early, dropped_overload, dropped_queue;
	uint64_t clock_hz; /* of RTP as the relay knew it, for the jitter of the kernel; 0: not known */
};
struct media_saved_side {
	struct addr local;          /* of RTP */
	struct media_remote remote;
	struct addr latched;        /* of RTP; family 0: not locked */
	struct media_saved_counts counts;
};
struct media_saved {
	struct media_saved_side sides[2];
};

/* 0, or ERR_NOT_FOUND when the stream is not open. */
int media_stream_save(const struct media *media, unsigned index, struct media_saved *ret);
/* In place of media_stream_open() and media_stream_remote(): takes exactly the ports of before, and sides that were locked go on
 * with the address that they had learnt, without a window in which somebody else could be faster. Gaps since then are not counted
 * as loss. 0; ERR_NOT_FOUND when a local address or port is not of the session's realms; ERR_EXISTS when a port is taken;
 * ERR_DENIED when media must not be sent to a latched address (any more); ERR_STATE when the stream is open; or an errno. */
int media_stream_restore(struct media *media, unsigned index, const struct media_saved *saved);

#endif
