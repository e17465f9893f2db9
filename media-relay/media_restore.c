/* The state of a stream, out of it and into a new one before its relay thread sees it. Control thread. */
#include "media-relay/media_restore.h"

#include <errno.h>
#include <stdlib.h>

#include "core/err.h"
#include "media-relay/media_inside.h"

struct counter {
	size_t saved, live; /* offsets */
};
#define COUNTER(name) { offsetof(struct media_saved_counts, name), offsetof(struct relay_counts, name) }
static const struct counter counters[] = {
	COUNTER(packets), COUNTER(bytes), COUNTER(sent), COUNTER(rtcp_packets), COUNTER(lost), COUNTER(reordered),
	COUNTER(jitter_us), COUNTER(dropped_source), COUNTER(dropped_format), COUNTER(dropped_payload),
	COUNTER(dropped_early), COUNTER(dropped_overload), COUNTER(dropped_queue),
};
#define N_COUNTERS (sizeof(counters) / sizeof(counters[0]))

static void take_counts(const struct relay_counts *counts, struct media_saved_side *ret)
{
	for (size_t i = 0; i < N_COUNTERS; i++) {
		const void *live = (const char *)counts + counters[i].live;
		void *saved = (char *)&ret->counts + counters[i].saved;

		*(uint64_t *)saved = atomic_load_explicit((const _Atomic uint64_t *)live, memory_order_relaxed);
	}
	ret->counts.clock_hz = atomic_load_explicit(&counts->clock_hz, memory_order_relaxed);
	ret->latched = relay_addr_get(&counts->latched);
}

/* Before relay_open(). */
static void seed(struct relay_side *side, const struct media_saved_side *saved, const struct latch_rule *rule)
{
	for (size_t i = 0; i < N_COUNTERS; i++) {
		const void *from = (const char *)&saved->counts + counters[i].saved;
		void *to = (char *)&side->counts + counters[i].live;

		atomic_store_explicit((_Atomic uint64_t *)to, *(const uint64_t *)from, memory_order_relaxed);
	}
	if (saved->counts.clock_hz <= UINT32_MAX)
		atomic_store_explicit(&side->counts.clock_hz, (uint32_t)saved->counts.clock_hz, memory_order_relaxed);
	side->track.lost_before = saved->counts.lost;
	side->track.reordered = saved->counts.reordered;
	side->track.jitter_x16_us = saved->counts.jitter_us * 16;
	if (!addr_is_set(&saved->latched))
		return;
	side->latches[RELAY_RTP] = (struct latch){
		.state = LATCH_LOCKED, .locked = saved->latched, .rule = *rule, .signalled = saved->remote.rtp,
	};
	/* Its packets may all go through the kernel: the relay has nothing to wait for. */
	atomic_store_explicit(&side->counts.since_lock, RELAY_STEADY, memory_order_relaxed);
}

/* What pinholes that are gone have forwarded is in no kernel any more. */
static void add_past(const struct slot_stats *past, struct media_saved_counts *ret)
{
	ret->packets += past->packets;
	ret->bytes += past->bytes;
	ret->sent += past->packets;
	ret->lost += past->lost;
	ret->reordered += past->reordered;
	ret->dropped_format += past->dropped_format;
	ret->dropped_overload += past->dropped_rate;
}

int media_stream_save(const struct media *media, unsigned index, struct media_saved *ret)
{
	if (!media_stream_is_open(media, index))
		return ERR_NOT_FOUND;
	for (enum media_side side = MEDIA_A; side <= MEDIA_B; side++) {
		const struct stream *stream = media->streams[index];
		struct media_saved_side *saved = &ret->sides[side];

		saved->local = media_stream_addr(stream, side);
		saved->remote = stream->setup.sides[side].remote;
		saved->remote.rtp = stream->signalled[side]; /* also one that was refused */
		memcpy(saved->remote.payloads, stream->offload.directions[side].payloads, sizeof(saved->remote.payloads));
		take_counts(&stream->relay.sides[side].counts, saved);
		add_past(&stream->offload.directions[side].past, &saved->counts);
	}
	return 0;
}

static int claim_ports(struct stream *stream, const struct media_saved *saved)
{
	uint64_t now_ms = loop_now_ms(stream->engine->loop);
	int err = 0;

	for (enum media_side side = MEDIA_A; err == 0 && side <= MEDIA_B; side++)
		err = pools_claim(stream->media->sides[side].realm, &saved->sides[side].local, now_ms, &stream->pools[side],
				  &stream->pairs[side]);
	return err;
}

static int check_latched(const struct stream *stream, const struct media_saved *saved)
{
	for (unsigned i = 0; i < 2; i++)
		if (addr_is_set(&saved->sides[i].latched) &&
		    target_is_refused(target_check(&stream->relay.sides[i].scope, &saved->sides[i].latched)))
			return ERR_DENIED;
	return 0;
}

static void discard(struct stream *stream)
{
	for (unsigned i = 0; i < 2; i++)
		if (stream->pools[i] != NULL)
			ports_give(stream->pools[i], &stream->pairs[i], loop_now_ms(stream->engine->loop));
	free(stream);
}

int media_stream_restore(struct media *media, unsigned index, const struct media_saved *saved)
{
	struct stream *stream;
	int err;

	if (index >= MEDIA_STREAMS_MAX || media->streams[index] != NULL)
		return ERR_STATE;
	stream = media_stream_new(media, index);
	if (stream == NULL)
		return -ENOMEM;
	err = claim_ports(stream, saved);
	if (err == 0) {
		media_stream_prepare(media, stream);
		err = check_latched(stream, saved);
	}
	if (err < 0) {
		discard(stream);
		return err;
	}
	for (enum media_side side = MEDIA_A; side <= MEDIA_B; side++) {
		media_stream_set_remote(stream, side, &saved->sides[side].remote, false);
		seed(&stream->relay.sides[side], &saved->sides[side], &stream->setup.sides[side].rule);
		/* Not news for the relay thread: what is locked stays locked. */
		stream->relay.setup.sides[side].window = stream->setup.sides[side].window;
	}
	media_stats_sum(stream, stream->collected);
	relay_apply(&stream->relay, &stream->setup, relay_now_ms()); /* so that what it publishes is there at once */
	offload_resume(&stream->offload);
	media->streams[index] = stream;
	relay_open(media->engine->relay, &stream->relay, &stream->setup);
	media_metric_add(MEDIA_M_STREAMS, 1);
	return 0;
}
