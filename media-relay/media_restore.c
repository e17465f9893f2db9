/* The state of a relay's side, out of it and into a new one before its thread sees it. media.c owns the streams. Control
 * thread. */
#include "media-relay/media_restore.h"

#include "media-relay/relay.h"

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

void media_restore_take(const struct relay_counts *counts, struct media_saved_side *ret)
{
	for (size_t i = 0; i < N_COUNTERS; i++) {
		const void *live = (const char *)counts + counters[i].live;
		void *saved = (char *)&ret->counts + counters[i].saved;

		*(uint64_t *)saved = atomic_load_explicit((const _Atomic uint64_t *)live, memory_order_relaxed);
	}
	ret->counts.clock_hz = atomic_load_explicit(&counts->clock_hz, memory_order_relaxed);
	ret->latched = relay_addr_get(&counts->latched);
}

void media_restore_seed(struct relay_side *side, const struct media_saved_side *saved, const struct latch_rule *rule)
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
