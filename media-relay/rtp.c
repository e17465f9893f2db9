/* RTP header checks and receiver statistics.
 *
 * The sequence bookkeeping follows RFC 3550 A.1, without its probation of the first packet: a relay counts from the
 * packet that it forwards first. Jitter is kept in microseconds. SDP's clock rates do not reach the relay, so the
 * clock is taken from the static payload types of RFC 3551 or measured against arrival times and snapped to the
 * rates that exist; until then jitter reads 0. Pure; relay threads. */
#include "media-relay/rtp.h"

#include <stdlib.h>

#include "core/cursor.h"
#include "core/err.h"

enum {
	DROPOUT_MAX = 3000,   /* a larger step forward is a restart, when the next packet confirms it */
	MISORDER_MAX = 100,
	CLOCK_SAMPLE_US = 500000,
	TRANSIT_STEP_MAX_US = 1000000, /* beyond it the sender's timestamps jumped; that is not jitter */
};

int rtp_parse(const void *data, size_t len, struct rtp_header *ret)
{
	const uint8_t *bytes = data;
	struct cursor c = cursor_of(data, len);
	uint8_t first = cursor_u8(&c), second = cursor_u8(&c);
	struct rtp_header header = { .payload_type = second & 0x7f, .marker = second >> 7 };
	uint8_t padding;

	header.sequence = cursor_u16(&c);
	header.timestamp = cursor_u32(&c);
	header.ssrc = cursor_u32(&c);
	cursor_take(&c, (size_t)(first & 0x0f) * 4);
	if (first & 0x10) {
		cursor_u16(&c);
		cursor_take(&c, (size_t)cursor_u16(&c) * 4);
	}
	if (c.is_bad || first >> 6 != 2)
		return ERR_PARSE;
	if (first & 0x20) {
		padding = bytes[len - 1];
		if (padding == 0 || padding > cursor_left(&c))
			return ERR_PARSE;
	}
	*ret = header;
	return 0;
}

bool rtp_is_stun(const void *data, size_t len)
{
	struct cursor c = cursor_of(data, len);
	uint16_t type = cursor_u16(&c), length = cursor_u16(&c);
	uint32_t cookie = cursor_u32(&c);

	return !c.is_bad && type >> 14 == 0 && cookie == 0x2112a442 && len == 20u + length && length % 4 == 0;
}

/* RFC 3551 table 4 and 5; 0: dynamic or unknown. */
static uint32_t static_clock(uint8_t payload_type)
{
	static const uint32_t clocks[35] = {
		[0] = 8000, [3] = 8000, [4] = 8000, [5] = 8000, [6] = 16000, [7] = 8000, [8] = 8000, [9] = 8000,
		[10] = 44100, [11] = 44100, [12] = 8000, [13] = 8000, [14] = 90000, [15] = 8000, [16] = 11025,
		[17] = 22050, [18] = 8000, [25] = 90000, [26] = 90000, [28] = 90000, [31] = 90000, [32] = 90000,
		[33] = 90000, [34] = 90000,
	};

	return payload_type < 35 ? clocks[payload_type] : 0;
}

static uint32_t nearest_clock(uint64_t measured_hz)
{
	static const uint32_t clocks[] = { 8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 90000 };
	uint32_t best = 0;

	for (unsigned i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
		uint64_t difference = (uint64_t)llabs((long long)measured_hz - (long long)clocks[i]);

		if (difference * 20 <= clocks[i] &&
		    (best == 0 || difference < (uint64_t)llabs((long long)measured_hz - (long long)best)))
			best = clocks[i];
	}
	return best;
}

static void restart_jitter(struct rtp_track *t, const struct rtp_header *h, uint64_t arrival_us)
{
	if (h->payload_type != t->payload_type || !t->is_started)
		t->clock_hz = static_clock(h->payload_type);
	t->payload_type = h->payload_type;
	t->has_transit = true;
	t->timestamp = t->first_timestamp = h->timestamp;
	t->arrival_us = t->first_arrival_us = arrival_us;
}

static void measure_clock(struct rtp_track *t, const struct rtp_header *h, uint64_t arrival_us)
{
	uint64_t elapsed = arrival_us - t->first_arrival_us;
	uint32_t ticks = h->timestamp - t->first_timestamp;

	if (elapsed < CLOCK_SAMPLE_US)
		return;
	if (ticks < UINT32_MAX / 2)
		t->clock_hz = nearest_clock((uint64_t)ticks * 1000000 / elapsed);
	if (t->clock_hz == 0) { /* try again with fresh samples */
		t->first_timestamp = h->timestamp;
		t->first_arrival_us = arrival_us;
	}
}

static void add_jitter(struct rtp_track *t, const struct rtp_header *h, uint64_t arrival_us)
{
	int64_t ticks = (int32_t)(h->timestamp - t->timestamp);
	int64_t step;

	if (!t->has_transit || h->payload_type != t->payload_type) {
		restart_jitter(t, h, arrival_us);
		return;
	}
	if (ticks == 0) /* further packets of a video frame, or of a telephone event */
		return;
	if (t->clock_hz == 0) {
		measure_clock(t, h, arrival_us);
	} else {
		step = (int64_t)(arrival_us - t->arrival_us) - ticks * 1000000 / (int64_t)t->clock_hz;
		step = llabs(step);
		if (step < TRANSIT_STEP_MAX_US)
			t->jitter_x16_us += (uint64_t)step - (t->jitter_x16_us + 8) / 16;
	}
	t->timestamp = h->timestamp;
	t->arrival_us = arrival_us;
}

static void restart_sequence(struct rtp_track *t, const struct rtp_header *h)
{
	t->lost_before = rtp_track_lost(t);
	t->ssrc = h->ssrc;
	t->base = t->highest = h->sequence;
	t->received = 0;
	t->has_jump = t->has_other = false;
	t->is_started = true;
}

/* Extends the sequence number. False when the packet is a jump that the next one has to confirm. */
static bool follow_sequence(struct rtp_track *t, const struct rtp_header *h)
{
	uint16_t ahead = (uint16_t)(h->sequence - (uint16_t)t->highest);

	if (ahead < DROPOUT_MAX) {
		t->highest += ahead;
	} else if (ahead > UINT16_MAX - MISORDER_MAX) {
		t->reordered++;
	} else if (t->has_jump && h->sequence == t->jump_to) {
		/* The sender restarted: the packet before this one was its first. */
		restart_sequence(t, h);
		t->base--;
		t->received++;
	} else {
		t->jump_to = (uint16_t)(h->sequence + 1);
		t->has_jump = true;
		return false;
	}
	t->has_jump = false;
	return true;
}

void rtp_track_add(struct rtp_track *t, const struct rtp_header *h, uint64_t arrival_us)
{
	if (!t->is_started) {
		restart_jitter(t, h, arrival_us);
		restart_sequence(t, h);
	} else if (t->has_break) {
		restart_sequence(t, h);
		t->has_break = t->has_transit = false;
	} else if (h->ssrc != t->ssrc) {
		if (!t->has_other || h->ssrc != t->other_ssrc) {
			t->other_ssrc = h->ssrc;
			t->has_other = true;
			return;
		}
		restart_sequence(t, h);
		t->has_transit = false;
	} else {
		t->has_other = false;
		if (!follow_sequence(t, h))
			return;
	}
	t->received++;
	add_jitter(t, h, arrival_us);
}

void rtp_track_break(struct rtp_track *t)
{
	t->has_break = t->is_started;
}

uint64_t rtp_track_lost(const struct rtp_track *t)
{
	uint64_t expected = t->is_started ? (uint64_t)(t->highest - t->base) + 1 : 0;

	return t->lost_before + (expected > t->received ? expected - t->received : 0);
}

uint32_t rtp_track_jitter_us(const struct rtp_track *t)
{
	return (uint32_t)(t->jitter_x16_us / 16);
}
