/* What the files of media sessions share: media.c (sessions, time-outs), media_stream.c (streams), media_stats.c (what is counted) and
 * media_restore.c. Nobody else includes this. Control thread. */
#ifndef MEDIA_RELAY_MEDIA_INSIDE_H
#define MEDIA_RELAY_MEDIA_INSIDE_H

#include "core/loop.h"
#include "media-relay/media.h"
#include "media-relay/offload.h"
#include "media-relay/pools.h"
#include "media-relay/relay.h"

struct media_engine {
	struct loop *loop;
	struct relay *relay;
	struct pinholes *pinholes; /* or NULL */
	uint32_t pinhole_lifetime_s;
	struct pools pools;
	struct list sessions;
	struct list *sweep_next; /* moved on when that session closes inside a callback */
	unsigned n_sessions;
	struct loop_timer sweep;
};

struct side_policy { /* of the realm, as it was when the session began */
	const struct pools_realm *realm;
	unsigned index;
	enum realm_trust trust;
	enum realm_nat nat;
	uint32_t window_ms;
};

/* What is counted of a stream, for metrics. */
enum { TOTAL_PACKETS, TOTAL_BYTES, TOTAL_SENT, TOTAL_RTCP, TOTAL_SOURCE, TOTAL_FORMAT, TOTAL_PAYLOAD, TOTAL_EARLY,
       TOTAL_OVERLOAD, TOTAL_QUEUE, TOTALS };

struct stream {
	struct relay_stream relay;
	struct media_engine *engine;
	struct media *media; /* NULL while closing */
	unsigned index;
	struct ports *pools[2];
	struct ports_pair pairs[2];
	struct relay_setup setup;       /* newest, as posted */
	struct offload offload;
	struct addr signalled[2];
	enum target targets[2];         /* of the signalled RTP address */
	uint64_t collected[TOTALS], collected_kernel[2]; /* what the metrics already contain */
	enum pinhole_path kernel_path[2]; /* of the last packets in the kernel */
};

struct media {
	struct group_member member;
	struct list node;
	struct media_engine *engine;
	const char *owner;           /* id of the group */
	struct side_policy sides[2];
	uint32_t timeout_ms;
	bool is_held, is_answered, has_timed_out;
	uint64_t quiet_since_ms, packets_seen;
	media_event_fn *fn;
	void *arg;
	struct stream *streams[MEDIA_STREAMS_MAX];
};

/* media_stream.c */
struct stream *media_stream_new(struct media *media, unsigned index); /* without ports; NULL: no memory */
/* With its ports: everything but what signalling says. */
void media_stream_prepare(struct media *media, struct stream *stream);
void media_stream_set_remote(struct stream *stream, enum media_side side, const struct media_remote *remote, bool relatch);
struct addr media_stream_addr(const struct stream *stream, unsigned side); /* our own, of RTP */
void media_stream_event(void *arg, struct relay_stream *relay, uint32_t events); /* of relay_new() */

/* media_stats.c */
enum media_metric { MEDIA_M_SESSIONS, MEDIA_M_STREAMS, MEDIA_M_TIMEOUTS, MEDIA_M_REFUSED, MEDIA_M_EXHAUSTED, MEDIA_METRICS };
void media_stats_register(void); /* once per process, later calls do nothing */
void media_metric_add(enum media_metric metric, int64_t n);
/* By the relay alone. */
void media_stats_sum(const struct stream *stream, uint64_t now[TOTALS]);
/* Adds what came since the last time to the metrics. Returns the packets of any accepted kind so far. */
uint64_t media_stats_collect(struct stream *stream);

#endif
