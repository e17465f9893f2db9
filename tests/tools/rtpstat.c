/* Packets of the test endpoints and their statistics; see rtpstat.h. */
#include "tests/tools/rtpstat.h"

#include <inttypes.h>

#include "core/cursor.h"

enum { MAGIC = 0x50535452, SAMPLES = 160, SAMPLES_PER_S = 8000 };

static uint8_t *put_u32(uint8_t *out, uint32_t value)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		*out++ = (uint8_t)(value >> shift);
	return out;
}

void rtpstat_write(const struct rtpstat_packet *packet, uint8_t *out)
{
	*out++ = 0x80;
	*out++ = packet->payload_type;
	*out++ = (uint8_t)(packet->number >> 8);
	*out++ = (uint8_t)packet->number;
	out = put_u32(out, packet->number * SAMPLES);
	out = put_u32(out, packet->ssrc);
	out = put_u32(out, MAGIC);
	out = put_u32(out, packet->stream);
	out = put_u32(out, packet->number);
	out = put_u32(out, (uint32_t)(packet->sent_ns >> 32));
	out = put_u32(out, (uint32_t)packet->sent_ns);
	(void)put_u32(out, 0);
}

/* 1 with marker, 0 plain RTP, -1 not RTP. */
static int read_packet(const uint8_t *data, size_t len, struct rtpstat_packet *ret)
{
	struct cursor c = cursor_of(data, len);
	uint8_t first = cursor_u8(&c);
	struct rtpstat_packet packet = { .payload_type = cursor_u8(&c) & 0x7f };
	uint16_t sequence = cursor_u16(&c);
	uint32_t magic;

	(void)cursor_u32(&c);
	packet.ssrc = cursor_u32(&c);
	packet.number = sequence;
	if (c.is_bad || first >> 6 != 2)
		return -1;
	*ret = packet;
	magic = cursor_u32(&c);
	packet.stream = cursor_u32(&c);
	packet.number = cursor_u32(&c);
	packet.sent_ns = (uint64_t)cursor_u32(&c) << 32;
	packet.sent_ns |= cursor_u32(&c);
	if (c.is_bad || magic != MAGIC || (uint16_t)packet.number != sequence)
		return 0;
	*ret = packet;
	return 1;
}

static struct rtpstat_source *find_source(struct rtpstat *stat, const struct addr *from,
					  const struct rtpstat_packet *packet)
{
	struct rtpstat_source *source;

	for (unsigned i = 0; i < stat->n_sources; i++) {
		source = &stat->sources[i];
		if (source->ssrc == packet->ssrc && addr_eq(&source->from, from))
			return source;
	}
	if (stat->n_sources == RTPSTAT_SOURCES_MAX)
		return NULL;
	source = &stat->sources[stat->n_sources++];
	*source = (struct rtpstat_source){ .from = *from, .ssrc = packet->ssrc, .stream = packet->stream,
					   .first = packet->number, .last = packet->number };
	return source;
}

/* True when the number was seen before; numbers that left the window count as new. */
static bool mark_number(struct rtpstat_source *source, uint32_t number)
{
	uint64_t *word, bit;

	if (number > source->last) {
		uint32_t steps = number - source->last < RTPSTAT_WINDOW ? number - source->last : RTPSTAT_WINDOW;

		for (uint32_t n = number - steps + 1; n != number + 1; n++)
			source->window[n % RTPSTAT_WINDOW / 64] &= ~(UINT64_C(1) << n % 64);
		source->last = number;
	} else if (source->last - number >= RTPSTAT_WINDOW) {
		return false;
	}
	word = &source->window[number % RTPSTAT_WINDOW / 64];
	bit = UINT64_C(1) << number % 64;
	if (*word & bit)
		return true;
	*word |= bit;
	return false;
}

static void smooth(double *jitter_ns, int64_t change)
{
	*jitter_ns += ((double)(change < 0 ? -change : change) - *jitter_ns) / 16;
}

static void measure_delay(struct rtpstat_source *source, const struct rtpstat_packet *packet, uint64_t now_ns)
{
	int64_t transit = (int64_t)(now_ns - packet->sent_ns);
	int64_t due = (int64_t)(now_ns - packet->number * (UINT64_C(1000000000) * SAMPLES / SAMPLES_PER_S));

	if (source->received > 1) {
		smooth(&source->jitter_ns, transit - source->transit_ns);
		smooth(&source->timing_ns, due - source->due_ns);
	}
	source->transit_ns = transit;
	source->due_ns = due;
	if (transit < 0)
		return;
	source->delay_sum_ns += (uint64_t)transit;
	if ((uint64_t)transit > source->delay_max_ns)
		source->delay_max_ns = (uint64_t)transit;
}

void rtpstat_receive(struct rtpstat *stat, const struct addr *from, const uint8_t *data, size_t len, uint64_t now_ns)
{
	struct rtpstat_packet packet;
	struct rtpstat_source *source;
	int kind = read_packet(data, len, &packet);

	if (kind < 0) {
		stat->malformed++;
		return;
	}
	source = find_source(stat, from, &packet);
	if (source == NULL) {
		stat->unlisted++;
		return;
	}
	source->received++;
	source->payload_type = packet.payload_type;
	if (kind == 0 || (stat->has_expected && packet.stream != stat->expected)) {
		source->foreign++;
		return;
	}
	if (packet.number < source->last)
		source->reordered++;
	if (packet.number < source->first)
		source->first = packet.number;
	if (mark_number(source, packet.number))
		source->duplicated++;
	measure_delay(source, &packet, now_ns);
}

static uint64_t lost(const struct rtpstat_source *source)
{
	uint64_t distinct = source->received - source->foreign - source->duplicated;
	uint64_t expected = (uint64_t)source->last - source->first + 1;

	return distinct > 0 && expected > distinct ? expected - distinct : 0;
}

void rtpstat_add(const struct rtpstat *stat, struct rtpstat_sum *sum)
{
	for (unsigned i = 0; i < stat->n_sources; i++) {
		const struct rtpstat_source *source = &stat->sources[i];

		sum->received += source->received;
		sum->lost += lost(source);
		sum->duplicated += source->duplicated;
		sum->reordered += source->reordered;
		sum->foreign += source->foreign;
		sum->delay_sum_ns += source->delay_sum_ns;
		if (source->delay_max_ns > sum->delay_max_ns)
			sum->delay_max_ns = source->delay_max_ns;
		if (source->jitter_ns > sum->jitter_max_ns)
			sum->jitter_max_ns = source->jitter_ns;
		if (source->timing_ns > sum->timing_max_ns)
			sum->timing_max_ns = source->timing_ns;
	}
	sum->received += stat->unlisted;
	sum->foreign += stat->unlisted;
	sum->malformed += stat->malformed;
}

void rtpstat_print_sum(const struct rtpstat_sum *sum, FILE *out)
{
	uint64_t own = sum->received - sum->foreign;

	fprintf(out, "\"received\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"duplicated\": %" PRIu64 ", ", sum->received,
		sum->lost, sum->duplicated);
	fprintf(out, "\"reordered\": %" PRIu64 ", \"foreign\": %" PRIu64 ", \"malformed\": %" PRIu64 ", ",
		sum->reordered, sum->foreign, sum->malformed);
	fprintf(out, "\"jitter_us\": %.0f, \"timing_us\": %.0f, \"delay_mean_us\": %" PRIu64 ", \"delay_max_us\": %" PRIu64,
		sum->jitter_max_ns / 1000, sum->timing_max_ns / 1000, own ? sum->delay_sum_ns / own / 1000 : 0,
		sum->delay_max_ns / 1000);
}

void rtpstat_print_sources(const struct rtpstat *stat, FILE *out)
{
	char text[ADDR_TEXT_MAX];

	fputs("[", out);
	for (unsigned i = 0; i < stat->n_sources; i++) {
		const struct rtpstat_source *source = &stat->sources[i];

		fprintf(out, "%s{\"from\": \"%s\", \"ssrc\": %" PRIu32 ", \"stream\": %" PRIu32 ", ", i ? ", " : "",
			addr_text(&source->from, text), source->ssrc, source->stream);
		fprintf(out, "\"payload_type\": %u, \"received\": %" PRIu64 ", \"lost\": %" PRIu64 ", ",
			source->payload_type, source->received, lost(source));
		fprintf(out, "\"duplicated\": %" PRIu64 ", \"reordered\": %" PRIu64 ", \"foreign\": %" PRIu64 "}",
			source->duplicated, source->reordered, source->foreign);
	}
	fputs("]", out);
}
