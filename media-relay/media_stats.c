/* What is counted of media: metrics, and what the API sees of streams and ports, of the relay and the kernel together. Control
 * thread. */
#include "media-relay/media_inside.h"

#include "core/err.h"
#include "core/metrics.h"

enum { M_PACKETS = MEDIA_METRICS, M_BYTES, M_SENT, M_RTCP, M_DROPPED,
       M_KERNEL = M_DROPPED + 6 /* and in the order of enum pinhole_path, from PINHOLE_XDP */ };

static struct metric metrics[] = {
	[MEDIA_M_SESSIONS] = { "postern_media_sessions", NULL, "Media sessions that are open.", METRIC_GAUGE, 0, 0 },
	[MEDIA_M_STREAMS] = { "postern_media_streams", NULL, "Streams that are open or closing.", METRIC_GAUGE, 0, 0 },
	[MEDIA_M_TIMEOUTS] = { "postern_media_timeouts_total", NULL, "Sessions that fell silent for their time-out.",
			       METRIC_COUNTER, 0, 0 },
	[MEDIA_M_REFUSED] = { "postern_media_targets_refused_total", NULL,
			      "Signalled addresses that media must not be sent to.", METRIC_COUNTER, 0, 0 },
	[MEDIA_M_EXHAUSTED] = { "postern_media_ports_exhausted_total", NULL, "Streams refused because a port pool was empty.",
			       METRIC_COUNTER, 0, 0 },
	/* From here in the order of TOTAL_*. */
	[M_PACKETS] = { "postern_media_packets_total", "path=\"relay\"", "RTP packets and plain datagrams accepted, by path.",
			METRIC_COUNTER, 0, 0 },
	[M_BYTES] = { "postern_media_bytes_total", NULL, "UDP payload of the accepted packets.", METRIC_COUNTER, 0, 0 },
	[M_SENT] = { "postern_media_sent_total", NULL, "Accepted packets that were sent on.", METRIC_COUNTER, 0, 0 },
	[M_RTCP] = { "postern_media_rtcp_packets_total", NULL, "RTCP packets accepted.", METRIC_COUNTER, 0, 0 },
	[M_DROPPED] = { "postern_media_dropped_total", "reason=\"source\"", "Packets dropped, by reason.",
			METRIC_COUNTER, 0, 0 },
	{ "postern_media_dropped_total", "reason=\"format\"", "Packets dropped, by reason.", METRIC_COUNTER, 0, 0 },
	{ "postern_media_dropped_total", "reason=\"payload\"", "Packets dropped, by reason.", METRIC_COUNTER, 0, 0 },
	{ "postern_media_dropped_total", "reason=\"early\"", "Packets dropped, by reason.", METRIC_COUNTER, 0, 0 },
	{ "postern_media_dropped_total", "reason=\"overload\"", "Packets dropped, by reason.", METRIC_COUNTER, 0, 0 },
	{ "postern_media_dropped_total", "reason=\"queue\"", "Packets dropped, by reason.", METRIC_COUNTER, 0, 0 },
	[M_KERNEL] = { "postern_media_packets_total", "path=\"xdp\"", "RTP packets and plain datagrams accepted, by path.",
		       METRIC_COUNTER, 0, 0 },
	{ "postern_media_packets_total", "path=\"tc\"", "RTP packets and plain datagrams accepted, by path.",
	  METRIC_COUNTER, 0, 0 },
	{ "postern_media_packets_total", "path=\"conntrack\"", "RTP packets and plain datagrams accepted, by path.",
	  METRIC_COUNTER, 0, 0 },
	{ "postern_media_packets_total", "path=\"nft\"", "RTP packets and plain datagrams accepted, by path.",
	  METRIC_COUNTER, 0, 0 },
};

/* Metrics */

void media_metric_add(enum media_metric metric, int64_t n)
{
	metric_add(&metrics[metric], n);
}

static uint64_t get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Adds what the kernel forwarded to `now`, but for the packets, which are counted by path. Returns those. */
static uint64_t collect_kernel(struct stream *stream, uint64_t now[TOTALS])
{
	uint64_t packets = 0;

	for (enum media_side side = MEDIA_A; side <= MEDIA_B; side++) {
		struct slot_stats slot;
		const char *reason;
		enum pinhole_path path;

		offload_stats(&stream->offload, side, &slot);
		now[TOTAL_BYTES] += slot.bytes;
		now[TOTAL_SENT] += slot.packets;
		now[TOTAL_FORMAT] += slot.dropped_format;
		now[TOTAL_OVERLOAD] += slot.dropped_rate;
		packets += slot.packets;
		if (slot.packets == stream->collected_kernel[side])
			continue;
		path = offload_path(&stream->offload, side, &reason);
		if (path != PINHOLE_NONE)
			stream->kernel_path[side] = path;
		metric_add(&metrics[M_KERNEL + stream->kernel_path[side] - PINHOLE_XDP],
			   (int64_t)(slot.packets - stream->collected_kernel[side]));
		stream->collected_kernel[side] = slot.packets;
	}
	return packets;
}

void media_stats_sum(const struct stream *stream, uint64_t now[TOTALS])
{
	memset(now, 0, TOTALS * sizeof(now[0]));
	for (unsigned i = 0; i < 2; i++) {
		const struct relay_counts *c = &stream->relay.sides[i].counts;
		const _Atomic uint64_t *const sources[TOTALS] = {
			[TOTAL_PACKETS] = &c->packets, [TOTAL_BYTES] = &c->bytes, [TOTAL_SENT] = &c->sent,
			[TOTAL_RTCP] = &c->rtcp_packets, [TOTAL_SOURCE] = &c->dropped_source,
			[TOTAL_FORMAT] = &c->dropped_format, [TOTAL_PAYLOAD] = &c->dropped_payload,
			[TOTAL_EARLY] = &c->dropped_early, [TOTAL_OVERLOAD] = &c->dropped_overload,
			[TOTAL_QUEUE] = &c->dropped_queue,
		};

		for (unsigned j = 0; j < TOTALS; j++)
			now[j] += get(sources[j]);
	}
}

uint64_t media_stats_collect(struct stream *stream)
{
	uint64_t now[TOTALS], kernel_packets;

	media_stats_sum(stream, now);
	kernel_packets = collect_kernel(stream, now);
	for (unsigned j = 0; j < TOTALS; j++) {
		if (now[j] != stream->collected[j])
			metric_add(&metrics[M_PACKETS + j], (int64_t)(now[j] - stream->collected[j]));
		stream->collected[j] = now[j];
	}
	return now[TOTAL_PACKETS] + now[TOTAL_RTCP] + kernel_packets;
}

void media_stats_register(void)
{
	static bool is_done;

	if (!is_done)
		metrics_register(metrics, sizeof(metrics) / sizeof(metrics[0]));
	is_done = true;
}

/* For the API */

const char *media_path_text(enum media_path path)
{
	static const char *const texts[MEDIA_PATHS] = {
		[MEDIA_PATH_NONE] = "none", [MEDIA_PATH_RELAY] = "relay", [MEDIA_PATH_XDP] = "xdp", [MEDIA_PATH_TC] = "tc",
		[MEDIA_PATH_CONNTRACK] = "conntrack", [MEDIA_PATH_NFT] = "nft",
	};

	return (unsigned)path < MEDIA_PATHS ? texts[path] : "unknown";
}

static void fill_in_path(const struct stream *stream, enum media_side side, struct media_stats *ret)
{
	static const enum media_path paths[PINHOLE_PATHS] = {
		[PINHOLE_NONE] = MEDIA_PATH_RELAY, [PINHOLE_XDP] = MEDIA_PATH_XDP, [PINHOLE_TC] = MEDIA_PATH_TC,
		[PINHOLE_CONNTRACK] = MEDIA_PATH_CONNTRACK, [PINHOLE_NFT] = MEDIA_PATH_NFT,
	};
	enum target target = stream->targets[0] != TARGET_OK ? stream->targets[0] : stream->targets[1];

	if (target_is_refused(target)) {
		ret->path = MEDIA_PATH_NONE;
		ret->path_reason = target_text(target);
		return;
	}
	ret->path = paths[offload_path(&stream->offload, side, &ret->path_reason)];
	ret->has_quality = ret->path == MEDIA_PATH_RELAY || ret->path == MEDIA_PATH_XDP || ret->path == MEDIA_PATH_TC;
}

/* What the kernel forwarded, on top of what the relay did. */
static void add_kernel(const struct stream *stream, enum media_side side, uint64_t now_ms, struct media_stats *ret)
{
	struct slot_stats slot;
	uint64_t last_ms;

	offload_stats(&stream->offload, side, &slot);
	ret->packets += slot.packets;
	ret->bytes += slot.bytes;
	ret->sent += slot.packets;
	ret->lost += slot.lost;
	ret->reordered += slot.reordered;
	ret->dropped_format += slot.dropped_format;
	ret->dropped_overload += slot.dropped_rate;
	if (ret->path > MEDIA_PATH_RELAY)
		ret->jitter_us = slot.jitter_us;
	last_ms = slot.last_ns / 1000000;
	if (last_ms != 0 && (now_ms < last_ms || now_ms - last_ms < ret->last_packet_age_ms))
		ret->last_packet_age_ms = now_ms > last_ms ? now_ms - last_ms : 0;
}

static void fill_in_latch(const struct relay_counts *c, uint64_t now_ms, struct media_stats *ret)
{
	ret->latched = relay_addr_get(&c->latched);
	ret->latch = (enum latch_state)atomic_load_explicit(&c->latch, memory_order_relaxed);
	if (ret->latch == LATCH_OPEN && now_ms >= get(&c->window_end_ms))
		ret->latch = LATCH_CLOSED;
}

int media_stats(const struct media *media, unsigned index, enum media_side side, struct media_stats *ret)
{
	uint64_t now_ms = relay_now_ms(), last_ms;
	const struct relay_counts *c;
	const struct stream *stream;

	if (!media_stream_is_open(media, index))
		return ERR_NOT_FOUND;
	stream = media->streams[index];
	c = &stream->relay.sides[side].counts;
	last_ms = get(&c->last_packet_ms);
	*ret = (struct media_stats){
		.packets = get(&c->packets), .bytes = get(&c->bytes), .sent = get(&c->sent),
		.rtcp_packets = get(&c->rtcp_packets), .lost = get(&c->lost), .reordered = get(&c->reordered),
		.jitter_us = (uint32_t)get(&c->jitter_us),
		.dropped_source = get(&c->dropped_source), .dropped_format = get(&c->dropped_format),
		.dropped_payload = get(&c->dropped_payload), .dropped_early = get(&c->dropped_early),
		.dropped_overload = get(&c->dropped_overload) + get(&c->dropped_queue),
		.last_packet_age_ms = last_ms == 0 ? UINT64_MAX : now_ms > last_ms ? now_ms - last_ms : 0,
		.local = media_stream_addr(stream, side), .signalled = stream->signalled[side],
	};
	fill_in_latch(c, now_ms, ret);
	fill_in_path(stream, side, ret);
	add_kernel(stream, side, now_ms, ret);
	return 0;
}

unsigned media_pool_stats(const struct media_engine *engine, const struct realm_conf *realm, struct media_pool_stats *out,
			  unsigned max)
{
	const struct pools_realm *mine = pools_find(&engine->pools, realm);
	unsigned n = 0;

	for (; mine != NULL && n < mine->n_pools && n < max; n++) {
		const struct ports_conf *conf = ports_conf(mine->pools[n]);
		struct ports_stats stats;

		ports_stats(mine->pools[n], &stats);
		out[n] = (struct media_pool_stats){
			.address = conf->address, .port_min = conf->port_min, .port_max = conf->port_max,
			.pairs_total = stats.total, .pairs_used = stats.used, .pairs_quarantined = stats.quarantined,
		};
	}
	return n;
}
