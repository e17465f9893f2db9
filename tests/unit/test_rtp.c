/* RTP headers and the bookkeeping of RFC 3550: sequence, loss, jitter. */
#include <stdio.h>

#include "core/err.h"
#include "media-relay/rtp.h"
#include "tests/unit/unit.h"

struct row {
	const char *name;
	uint8_t bytes[32];
	size_t len;
	int err;
};

#define FIXED 0x00, 0x01, 0, 0, 0, 160, 1, 2, 3, 4

static const struct row rows[] = {
	{ "plain", { 0x80, 0, FIXED, 9 }, 13, 0 },
	{ "no payload", { 0x80, 0, FIXED }, 12, 0 },
	{ "empty", { 0 }, 0, ERR_PARSE },
	{ "one octet short", { 0x80, 0, FIXED }, 11, ERR_PARSE },
	{ "version 0", { 0x00, 0, FIXED }, 12, ERR_PARSE },
	{ "version 1", { 0x40, 0, FIXED }, 12, ERR_PARSE },
	{ "version 3", { 0xc0, 0, FIXED }, 12, ERR_PARSE },
	{ "two contributors", { 0x82, 0, FIXED }, 20, 0 },
	{ "two contributors, one octet short", { 0x82, 0, FIXED }, 19, ERR_PARSE },
	{ "fifteen contributors and no room", { 0x8f, 0, FIXED }, 32, ERR_PARSE },
	{ "extension of one word", { 0x90, 0, FIXED, 0xbe, 0xde, 0, 1, 1, 2, 3, 4 }, 20, 0 },
	{ "extension header cut", { 0x90, 0, FIXED, 0xbe, 0xde, 0 }, 15, ERR_PARSE },
	{ "extension body cut", { 0x90, 0, FIXED, 0xbe, 0xde, 0, 1, 1, 2, 3 }, 19, ERR_PARSE },
	{ "extension longer than any datagram", { 0x90, 0, FIXED, 0xbe, 0xde, 0xff, 0xff }, 32, ERR_PARSE },
	{ "padding", { 0xa0, 0, FIXED, 1, 2, 0, 2 }, 16, 0 },
	{ "only padding", { 0xa0, 0, FIXED, 0, 0, 0, 4 }, 16, 0 },
	{ "padding of nothing", { 0xa0, 0, FIXED, 1, 2, 0, 0 }, 16, ERR_PARSE },
	{ "padding over the payload", { 0xa0, 0, FIXED, 1, 2, 0, 5 }, 16, ERR_PARSE },
	{ "padding without payload", { 0xa0, 0, FIXED }, 12, ERR_PARSE },
	{ "padding into the extension", { 0xb0, 0, FIXED, 0, 0, 0, 1, 0, 0, 0, 4 }, 20, ERR_PARSE },
};

static void test_parse(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rtp_header header = { .ssrc = 77 };
		int err = rtp_parse(rows[i].bytes, rows[i].len, &header);

		if (err != rows[i].err)
			printf("# %s: %d\n", rows[i].name, err);
		CU_ASSERT_EQUAL(err, rows[i].err);
		CU_ASSERT_EQUAL(header.ssrc, err == 0 ? 0x01020304 : 77);
	}
}

static void test_fields(void)
{
	const uint8_t bytes[] = { 0x80, 0xe3, 0xab, 0xcd, 0xff, 0xfe, 0xfd, 0xfc, 0x11, 0x22, 0x33, 0x44 };
	struct rtp_header h;

	CU_ASSERT_EQUAL_FATAL(rtp_parse(bytes, sizeof(bytes), &h), 0);
	CU_ASSERT_EQUAL(h.payload_type, 99);
	CU_ASSERT(h.marker);
	CU_ASSERT_EQUAL(h.sequence, 0xabcd);
	CU_ASSERT_EQUAL(h.timestamp, 0xfffefdfc);
	CU_ASSERT_EQUAL(h.ssrc, 0x11223344);
}

static void test_payload_set(void)
{
	const uint64_t any[2] = { 0, 0 }, low[2] = { 1, 0 }, high[2] = { 0, UINT64_C(1) << 63 };

	CU_ASSERT(rtp_is_negotiated(any, 0) && rtp_is_negotiated(any, 127));
	CU_ASSERT(rtp_is_negotiated(low, 0));
	CU_ASSERT(!rtp_is_negotiated(low, 1) && !rtp_is_negotiated(low, 64) && !rtp_is_negotiated(low, 127));
	CU_ASSERT(rtp_is_negotiated(high, 127));
	CU_ASSERT(!rtp_is_negotiated(high, 63) && !rtp_is_negotiated(high, 126));
}

static void test_stun(void)
{
	uint8_t binding[20] = { 0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42 };

	CU_ASSERT(rtp_is_stun(binding, sizeof(binding)));
	CU_ASSERT(!rtp_is_stun(binding, 19));
	binding[3] = 4;
	CU_ASSERT(!rtp_is_stun(binding, sizeof(binding)));
	binding[3] = 0;
	binding[4] = 0;
	CU_ASSERT(!rtp_is_stun(binding, sizeof(binding)));
	CU_ASSERT(!rtp_is_stun(NULL, 0));
}

static struct rtp_track track;
static uint64_t at_us;

static void reset(void)
{
	memset(&track, 0, sizeof(track));
	at_us = 5000000;
}

static void add_from(uint32_t ssrc, uint16_t sequence)
{
	struct rtp_header h = { .payload_type = 0, .sequence = sequence, .timestamp = sequence * 160u, .ssrc = ssrc };

	rtp_track_add(&track, &h, at_us);
	at_us += 20000;
}

struct sequence_row {
	const char *name;
	uint16_t sequences[12];
	size_t n;
	uint64_t lost, reordered;
};

static const struct sequence_row sequence_rows[] = {
	{ "in order", { 1, 2, 3, 4 }, 4, 0, 0 },
	{ "one packet", { 1 }, 1, 0, 0 },
	{ "one lost", { 1, 2, 4 }, 3, 1, 0 },
	{ "three lost in two gaps", { 1, 3, 6 }, 3, 3, 0 },
	{ "wraps round", { 65534, 65535, 0, 1 }, 4, 0, 0 },
	{ "lost across the wrap", { 65534, 1 }, 2, 2, 0 },
	{ "reordered", { 1, 3, 2, 4 }, 4, 0, 1 },
	{ "reordered across the wrap", { 65535, 1, 0, 2 }, 4, 0, 1 },
	{ "duplicate does not hide a loss for good", { 1, 2, 2, 3 }, 4, 0, 0 },
	{ "late first packet", { 10, 9, 11 }, 3, 0, 1 },
	{ "a stray jump is ignored", { 1, 2, 30000, 3, 4 }, 5, 0, 0 },
	{ "a confirmed jump restarts", { 1, 2, 30000, 30001, 30002 }, 5, 0, 0 },
	{ "loss before a restart is kept", { 1, 4, 30000, 30001, 30003 }, 5, 3, 0 },
	{ "restart at zero", { 30000, 30001, 0, 1, 2 }, 5, 0, 0 },
};

static void test_sequences(void)
{
	for (size_t i = 0; i < sizeof(sequence_rows) / sizeof(sequence_rows[0]); i++) {
		const struct sequence_row *row = &sequence_rows[i];

		reset();
		for (size_t j = 0; j < row->n; j++)
			add_from(1, row->sequences[j]);
		if (rtp_track_lost(&track) != row->lost || track.reordered != row->reordered)
			printf("# %s: lost %llu\n", row->name, (unsigned long long)rtp_track_lost(&track));
		CU_ASSERT_EQUAL(rtp_track_lost(&track), row->lost);
		CU_ASSERT_EQUAL(track.reordered, row->reordered);
	}
}

static void test_many_wraps(void)
{
	reset();
	for (uint32_t i = 0; i < 300000; i++)
		if (i % 1000 != 999)
			add_from(1, (uint16_t)i);
	CU_ASSERT_EQUAL(rtp_track_lost(&track), 299);
	CU_ASSERT_EQUAL(track.received, 300000 - 300);
}

static void test_source_changes(void)
{
	reset();
	add_from(1, 1);
	add_from(1, 3);
	add_from(2, 40000); /* one packet of another source changes nothing */
	add_from(1, 4);
	CU_ASSERT_EQUAL(track.ssrc, 1);
	CU_ASSERT_EQUAL(rtp_track_lost(&track), 1);
	add_from(2, 40000);
	add_from(2, 40001);
	add_from(2, 40003);
	CU_ASSERT_EQUAL(track.ssrc, 2);
	CU_ASSERT_EQUAL(rtp_track_lost(&track), 2);
	for (uint16_t i = 0; i < 1000; i++) /* a different source each time: none of them is followed */
		add_from(100u + i, i);
	CU_ASSERT_EQUAL(track.ssrc, 2);
	CU_ASSERT_EQUAL(rtp_track_lost(&track), 2);
}

/* What went another way is not lost here; losses before and after it count. */
static void test_break(void)
{
	reset();
	rtp_track_break(&track); /* nothing to break */
	add_from(1, 1);
	add_from(1, 3);
	rtp_track_break(&track);
	rtp_track_break(&track);
	add_from(1, 1000);
	add_from(1, 1002);
	CU_ASSERT_EQUAL(rtp_track_lost(&track), 2);
	rtp_track_break(&track);
	add_from(2, 50000); /* another source, at once */
	CU_ASSERT_EQUAL(track.ssrc, 2);
	CU_ASSERT_EQUAL(rtp_track_lost(&track), 2);
	for (uint16_t i = 0; i < 100; i++) { /* strays of a stream that is carried elsewhere */
		rtp_track_break(&track);
		add_from(2, (uint16_t)(50010 + i * 50));
	}
	add_from(2, 54961);
	CU_ASSERT_EQUAL(rtp_track_lost(&track), 2);
	CU_ASSERT_EQUAL(track.reordered, 0);
	add_from(2, 54963);
	CU_ASSERT_EQUAL(rtp_track_lost(&track), 3);
}

static void add_timed(uint8_t payload_type, uint16_t sequence, uint32_t timestamp, uint64_t arrival_us)
{
	struct rtp_header h = { .payload_type = payload_type, .sequence = sequence, .timestamp = timestamp, .ssrc = 1 };

	rtp_track_add(&track, &h, arrival_us);
}

static void test_jitter(void)
{
	/* A constant deviation of 2 ms each way converges to itself (RFC 3550 6.4.1). */
	reset();
	for (unsigned i = 0; i < 500; i++)
		add_timed(8, (uint16_t)i, i * 160, 1000000 + i * 20000ull + (i % 2) * 2000);
	CU_ASSERT(rtp_track_jitter_us(&track) > 1900 && rtp_track_jitter_us(&track) < 2100);
	reset();
	for (unsigned i = 0; i < 500; i++)
		add_timed(8, (uint16_t)i, i * 160, 1000000 + i * 20000ull);
	CU_ASSERT_EQUAL(rtp_track_jitter_us(&track), 0);
}

static void test_jitter_of_unknown_clock(void)
{
	static const uint32_t clocks[] = { 8000, 16000, 24000, 48000, 90000 };

	for (size_t c = 0; c < sizeof(clocks) / sizeof(clocks[0]); c++) {
		reset();
		for (unsigned i = 0; i < 1000; i++)
			add_timed(111, (uint16_t)i, i * (clocks[c] / 50), 1000000 + i * 20000ull + (i % 2) * 2000);
		CU_ASSERT_EQUAL(track.clock_hz, clocks[c]);
		CU_ASSERT(rtp_track_jitter_us(&track) > 1900 && rtp_track_jitter_us(&track) < 2100);
	}
}

static void test_jitter_is_not_disturbed(void)
{
	reset();
	for (unsigned i = 0; i < 100; i++)
		add_timed(0, (uint16_t)i, i * 160, 1000000 + i * 20000ull);
	for (unsigned i = 100; i < 110; i++) /* a telephone event: its timestamp stands still */
		add_timed(101, (uint16_t)i, 100 * 160, 1000000 + i * 20000ull);
	for (unsigned i = 110; i < 200; i++)
		add_timed(0, (uint16_t)i, i * 160, 1000000 + i * 20000ull);
	CU_ASSERT_EQUAL(rtp_track_jitter_us(&track), 0);
	add_timed(0, 200, 0x80000000u, 1000000 + 200 * 20000ull); /* timestamps jump */
	for (unsigned i = 201; i < 300; i++)
		add_timed(0, (uint16_t)i, 0x80000000u + (i - 200) * 160, 1000000 + i * 20000ull);
	CU_ASSERT_EQUAL(rtp_track_jitter_us(&track), 0);
	rtp_track_break(&track); /* minutes on another path, which took 50 ms less */
	for (unsigned i = 300; i < 400; i++)
		add_timed(0, (uint16_t)i, i * 8000, 1000000 + i * 1000000ull - 50000);
	CU_ASSERT_EQUAL(rtp_track_jitter_us(&track), 0);
	CU_ASSERT_EQUAL(track.clock_hz, 8000);
}

static const struct unit_test tests[] = {
	{ "header checks", test_parse },
	{ "header fields", test_fields },
	{ "payload type set", test_payload_set },
	{ "STUN is recognised", test_stun },
	{ "sequence numbers", test_sequences },
	{ "many wraps", test_many_wraps },
	{ "sources come and go", test_source_changes },
	{ "a stream that goes another way for a while", test_break },
	{ "jitter", test_jitter },
	{ "jitter with a measured clock", test_jitter_of_unknown_clock },
	{ "events and jumps are no jitter", test_jitter_is_not_disturbed },
};

UNIT_MAIN("rtp", tests)
