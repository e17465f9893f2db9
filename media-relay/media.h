/* Media sessions, control side. A media session belongs to one group and anchors the streams of one call: each stream has
 * a side A and a side B, each side an own RTP/RTCP port pair of its realm's pool. Relay threads forward the packets;
 * calls here return at once. Control thread.
 *
 * What is received on one side leaves through the other side's port towards that side's remote address. Nothing is
 * forwarded before signalling named the remotes of both sides, or from a source that latching (RFC 7362; the rule is in
 * latch.h) does not allow. A signalled address that must not be sent to (loopback, multicast, the gateway itself, private
 * networks named from outside: the rule is in target.h) counts as not named at all; stats say so in path_reason.
 *
 * Once the call is answered and a direction of a stream flows as it should, its packets go through a pinhole of the kernel
 * and cost the relay nothing; the rule is in offload.h. RTCP and whatever else the pinhole does not take stay with the
 * relay, and so does everything when there is no pinhole engine. */
#ifndef MEDIA_RELAY_MEDIA_H
#define MEDIA_RELAY_MEDIA_H

#include "core/config.h"
#include "media-relay/group.h"

struct loop;
struct media_engine;
struct media;
struct pinholes;

enum media_side { MEDIA_A, MEDIA_B };
enum { MEDIA_STREAMS_MAX = 8 }; /* per session */

/* Starts relay threads and port pools for the realms of `config`. Refuses, with a clear text in `errors`, a pool that
 * overlaps the kernel's ephemeral port range or another pool on the same address, and addresses that cannot be bound.
 * `pinholes` outlives the engine; NULL: all media stays with the relay. */
int media_engine_new(struct loop *loop, const struct config *config, struct pinholes *pinholes,
		     struct conf_errors *errors, struct media_engine **ret);
void media_engine_free(struct media_engine *engine); /* every session must be closed */

enum media_event {
	MEDIA_LATCHED, /* a side's source address is now locked */
	/* No packet, RTCP included, on any stream for the time-out, though both remotes of one are known and a side of
	 * it may send (the first such stream and side are told). Said once until media resumes. Looked at once a second. */
	MEDIA_TIMEOUT,
	/* What comes in on this side takes another path now, or could not go where it should: see media_stats(). The
	 * callback must not close the session. */
	MEDIA_PATH,
};
typedef void media_event_fn(void *arg, struct media *media, enum media_event event, unsigned stream,
			    enum media_side side);

/* A session between two realms; a member of `group`, whose close frees it (streams, ports, sockets). timeout_ms 0: never. */
int media_open(struct media_engine *engine, struct group *group, const struct realm_conf *realm_a,
	       const struct realm_conf *realm_b, uint32_t timeout_ms, media_event_fn *fn, void *arg,
	       struct media **ret);
/* Moves side B to another realm before anything is open on it (next target in another realm). */
int media_set_realm_b(struct media *media, const struct realm_conf *realm_b);

struct media_local { /* where the gateway receives */
	struct addr rtp, rtcp;
};
/* Reserves and binds the port pairs of stream `index` on both sides. 0, ERR_LIMIT when a pool is empty, or an errno.
 * family: AF_INET or AF_INET6 per side picks among the realm's addresses, 0 takes the first. Idempotent. */
int media_stream_open(struct media *media, unsigned index, uint8_t family_a, uint8_t family_b);
/* Frees the stream's ports (they stay in quarantine for a while). Other streams keep their index. */
void media_stream_close(struct media *media, unsigned index);
bool media_stream_is_open(const struct media *media, unsigned index);
void media_stream_local(const struct media *media, unsigned index, enum media_side side, struct media_local *ret);

struct media_remote {        /* what signalling said about the far end of one side */
	struct addr rtp, rtcp;   /* rtp.family 0: not known yet */
	bool rtcp_mux;           /* negotiated: RTCP comes on the RTP port */
	bool is_rtp;             /* false (udptl, unknown): forward datagrams without RTP checks */
	uint64_t payloads[2];    /* bit n of the 128: payload type n is negotiated; all zero: any */
	bool is_port_open;       /* rtp.port is 0: from whichever port of that address the first packet comes, whatever the realm's nat */
	bool may_send;           /* the far end is expected to send (direction); false suspends the time-out */
	uint32_t bandwidth_bps;  /* the most that the far end wants to receive; 0: not said */
};
/* Sets or changes it; rtcp.family 0 means the port above rtp's, or rtp itself with rtcp_mux. Both latching windows of the
 * stream open when the second remote becomes known. A locked side is opened again only when its rtp or rtcp changed or
 * with `relatch`; sides that are not locked yet get a fresh window with every call (183, then 200). */
void media_stream_remote(struct media *media, unsigned index, enum media_side side, const struct media_remote *remote,
			 bool relatch);
/* Suspends the time-out for the whole session (hold) or resumes it; resuming starts it afresh. Packets still flow. */
void media_hold(struct media *media, bool is_held);
/* The call is answered: from here on its streams may go through the kernel. Idempotent. */
void media_answered(struct media *media);

enum media_path { MEDIA_PATH_NONE, MEDIA_PATH_RELAY, MEDIA_PATH_XDP, MEDIA_PATH_TC, MEDIA_PATH_CONNTRACK, MEDIA_PATH_NFT,
		  MEDIA_PATHS };
const char *media_path_text(enum media_path path);
enum latch_state { LATCH_CLOSED, LATCH_OPEN, LATCH_LOCKED };
const char *latch_state_text(enum latch_state state);

struct media_stats { /* of what was received on one side of one stream, by the relay and the kernel together */
	uint64_t packets, bytes;        /* accepted RTP (or plain datagrams); bytes of UDP payload */
	uint64_t sent;                  /* of those, sent on through the other side; trails by the batch being sent */
	uint64_t rtcp_packets;
	uint64_t lost;                  /* RFC 3550 expected minus received, not below 0; see has_quality */
	uint64_t reordered;
	uint32_t jitter_us;             /* RFC 3550 interarrival jitter, on the path in use */
	uint64_t dropped_source, dropped_format, dropped_payload;
	uint64_t dropped_early;         /* a remote was unknown, or where to send to */
	uint64_t dropped_overload;      /* over the rate limit, or a full buffer in the kernel */
	uint64_t last_packet_age_ms;    /* UINT64_MAX: none yet */
	struct addr local, signalled, latched; /* of RTP; latched.family 0: not locked */
	enum latch_state latch;
	enum media_path path;
	const char *path_reason;        /* lives as long as the media engine and the pinhole engine */
	bool has_quality;               /* the path in use measures loss, reordering and jitter */
};
/* 0, or ERR_NOT_FOUND when the stream is not open. */
int media_stats(const struct media *media, unsigned index, enum media_side side, struct media_stats *ret);

struct media_pool_stats {
	struct addr address;
	uint16_t port_min, port_max;
	uint32_t pairs_total, pairs_used, pairs_quarantined;
};
unsigned media_pool_stats(const struct media_engine *engine, const struct realm_conf *realm, struct media_pool_stats *out,
			  unsigned max);
unsigned media_sessions(const struct media_engine *engine); /* now open */

#endif
