/* Streams that go on in a new process: the same ports, locked sides, counters; and state that must be refused. */
#include "media-relay/media_restore.h"

#include <stdio.h>
#include <unistd.h>

#include "core/err.h"
#include "core/loop.h"
#include "tests/mock/fake_loop.h"
#include "tests/unit/media_rig.h"
#include "tests/unit/unit.h"

static struct rig rig;

static void begin(void)
{
	struct loop *loop = NULL;

	CU_ASSERT_EQUAL_FATAL(loop_new(&loop), 0);
	rig_open(&rig, loop, false, 0);
}

static void end(void)
{
	rig_close(&rig);
	loop_free(rig.loop);
}

static struct media_saved save(void)
{
	struct media_saved saved = { 0 };

	CU_ASSERT_EQUAL_FATAL(media_stream_save(rig.media, 0, &saved), 0);
	return saved;
}

/* A new engine. What the rig opens by itself is closed again, and must not have taken the ports at hand: those rest then. */
static void restart(const struct media_saved *saved)
{
	bool is_in_the_way = true;

	while (is_in_the_way) {
		end();
		begin();
		is_in_the_way = rig_local(&rig, MEDIA_A).port == saved->sides[MEDIA_A].local.port ||
				rig_local(&rig, MEDIA_B).port == saved->sides[MEDIA_B].local.port;
	}
	media_stream_close(rig.media, 0);
}

static bool same_side(const struct media_saved_side *a, const struct media_saved_side *b)
{
	return addr_eq(&a->local, &b->local) && addr_eq(&a->latched, &b->latched) &&
	       addr_eq(&a->remote.rtp, &b->remote.rtp) && addr_eq(&a->remote.rtcp, &b->remote.rtcp) &&
	       a->remote.rtcp_mux == b->remote.rtcp_mux && a->remote.is_rtp == b->remote.is_rtp &&
	       a->remote.payloads[0] == b->remote.payloads[0] && a->remote.payloads[1] == b->remote.payloads[1] &&
	       a->remote.may_send == b->remote.may_send && memcmp(&a->counts, &b->counts, sizeof(a->counts)) == 0;
}

static bool wait_latched(enum media_side side)
{
	for (int i = 0; i < 2000 && rig_stats(&rig, side).latch != LATCH_LOCKED; i++)
		rig_pause_ms(1);
	return rig_stats(&rig, side).latch == LATCH_LOCKED;
}

/* Behind a NAT: media comes from elsewhere than signalling said, and goes back there after the restart, from the first packet. */
static void test_latched_stream_goes_on(void)
{
	struct addr phone_at, trunk_at, stranger_at, told = { 0 };
	int phone = rig_socket("127.0.0.41", &phone_at), trunk = rig_socket("127.0.0.42", &trunk_at);
	int stranger = rig_socket("127.0.0.43", &stranger_at);
	struct addr gate_a, gate_b;
	struct media_saved saved, again;
	struct media_stats stats;
	unsigned got;

	CU_ASSERT_EQUAL(addr_parse(SPAN_LIT("127.0.0.99:4000"), &told), 0);
	begin();
	rig_remotes(&rig, &told, &trunk_at);
	gate_a = rig_local(&rig, MEDIA_A);
	gate_b = rig_local(&rig, MEDIA_B);
	for (uint16_t n = 1; rig_stats(&rig, MEDIA_A).latch != LATCH_LOCKED && n < 200; n++) {
		rig_send(phone, &gate_a, rig_rtp(0, n));
		rig_pause_ms(20);
	}
	CU_ASSERT(wait_latched(MEDIA_A));
	rig_send(trunk, &gate_b, rig_rtp(0, 1));
	CU_ASSERT(rig_is_rtp(phone, 1, NULL));
	CU_ASSERT(wait_latched(MEDIA_B));
	saved = save();
	CU_ASSERT(addr_eq(&saved.sides[MEDIA_A].latched, &phone_at));
	CU_ASSERT(addr_eq(&saved.sides[MEDIA_A].remote.rtp, &told));
	CU_ASSERT(saved.sides[MEDIA_A].counts.packets > 0);

	restart(&saved);
	CU_ASSERT_EQUAL_FATAL(media_stream_restore(rig.media, 0, &saved), 0);
	again = save();
	CU_ASSERT(addr_eq(&again.sides[MEDIA_A].local, &gate_a));
	CU_ASSERT(wait_latched(MEDIA_A) && wait_latched(MEDIA_B));
	again = save();
	CU_ASSERT(same_side(&saved.sides[MEDIA_A], &again.sides[MEDIA_A]));
	CU_ASSERT(same_side(&saved.sides[MEDIA_B], &again.sides[MEDIA_B]));
	/* Nobody else gets in, not even from where signalling said. */
	rig_send(stranger, &gate_a, rig_rtp(0, 500));
	rig_send(trunk, &gate_b, rig_rtp(0, 900));
	CU_ASSERT(rig_is_rtp(phone, 900, NULL));
	rig_send(phone, &gate_a, rig_rtp(0, 901));
	for (got = 0; got < 300 && !rig_is_rtp(trunk, 901, NULL); got++)
		; /* those from before the restart */
	CU_ASSERT(got < 300);
	stats = rig_stats(&rig, MEDIA_A);
	CU_ASSERT_EQUAL(stats.packets, saved.sides[MEDIA_A].counts.packets + 1);
	CU_ASSERT_EQUAL(stats.lost, saved.sides[MEDIA_A].counts.lost); /* the gap is nobody's loss */
	stats = rig_stats(&rig, MEDIA_B);
	CU_ASSERT_EQUAL(stats.packets, saved.sides[MEDIA_B].counts.packets + 1);
	CU_ASSERT_EQUAL(stats.lost, 0);
	close(phone);
	close(trunk);
	close(stranger);
	end();
}

/* Answered, but no packet came before the restart: the window opens anew. */
static void test_stream_that_was_not_latched(void)
{
	struct addr phone_at, trunk_at, gate_a;
	int phone = rig_socket("127.0.0.44", &phone_at), trunk = rig_socket("127.0.0.45", &trunk_at);
	struct media_saved saved;

	begin();
	rig_remotes(&rig, &phone_at, &trunk_at);
	saved = save();
	gate_a = rig_local(&rig, MEDIA_A);
	restart(&saved);
	CU_ASSERT_EQUAL_FATAL(media_stream_restore(rig.media, 0, &saved), 0);
	rig_send(phone, &gate_a, rig_rtp(0, 1));
	CU_ASSERT(rig_is_rtp(trunk, 1, NULL));
	CU_ASSERT(wait_latched(MEDIA_A));
	close(phone);
	close(trunk);
	end();
}

static uint32_t pairs_used(unsigned realm)
{
	struct media_pool_stats stats;

	CU_ASSERT_EQUAL(media_pool_stats(rig.engine, &rig_config(false)->realms[realm], &stats, 1), 1);
	return stats.pairs_used;
}

static bool wait_pairs_used(unsigned n)
{
	for (int i = 0; i < 2000; i++) {
		fake_loop_turn(rig.loop);
		if (pairs_used(0) == n && pairs_used(1) == n)
			return true;
		rig_pause_ms(1);
	}
	return false;
}

/* A database that somebody edited must not give away addresses of others. */
static void test_refused(void)
{
	struct media_saved good, bad;
	unsigned files;

	begin();
	good = save();
	CU_ASSERT_EQUAL(media_stream_restore(rig.media, 0, &good), ERR_STATE); /* it is open */
	CU_ASSERT_EQUAL(media_stream_restore(rig.media, MEDIA_STREAMS_MAX, &good), ERR_STATE);
	CU_ASSERT_EQUAL(media_stream_restore(rig.media, 1, &good), ERR_EXISTS); /* its ports are taken */
	CU_ASSERT_EQUAL(media_stream_save(rig.media, 1, &bad), ERR_NOT_FOUND);
	restart(&good);
	CU_ASSERT(wait_pairs_used(0));
	files = rig_open_files();

	bad = good;
	bad.sides[MEDIA_B].local.port = RIG_PORT_MIN - 2;
	CU_ASSERT_EQUAL(media_stream_restore(rig.media, 0, &bad), ERR_NOT_FOUND);
	bad = good;
	bad.sides[MEDIA_A].local.port++;
	CU_ASSERT_EQUAL(media_stream_restore(rig.media, 0, &bad), ERR_NOT_FOUND);
	bad = good;
	bad.sides[MEDIA_A].local = good.sides[MEDIA_B].local; /* of the other realm */
	CU_ASSERT_EQUAL(media_stream_restore(rig.media, 0, &bad), ERR_NOT_FOUND);
	bad = good;
	bad.sides[MEDIA_A].local.ip[3] ^= 0xff;
	CU_ASSERT_EQUAL(media_stream_restore(rig.media, 0, &bad), ERR_NOT_FOUND);
	bad = (struct media_saved){ 0 };
	CU_ASSERT_EQUAL(media_stream_restore(rig.media, 0, &bad), ERR_NOT_FOUND);
	CU_ASSERT(wait_pairs_used(0));
	CU_ASSERT(!media_stream_is_open(rig.media, 0));
	CU_ASSERT(rig_open_files() >= files); /* what was bound on the way may stay for reuse */
	end();
}

static void test_latched_to_the_gateway(void)
{
	struct media_saved saved;

	begin();
	saved = save();
	restart(&saved);
	CU_ASSERT(wait_pairs_used(0));
	saved.sides[MEDIA_A].latched = saved.sides[MEDIA_A].local;
	CU_ASSERT_EQUAL(media_stream_restore(rig.media, 0, &saved), ERR_DENIED);
	CU_ASSERT_EQUAL(addr_parse(SPAN_LIT("224.0.0.1:4000"), &saved.sides[MEDIA_A].latched), 0);
	CU_ASSERT_EQUAL(media_stream_restore(rig.media, 0, &saved), ERR_EXISTS); /* now it is in quarantine */
	CU_ASSERT(wait_pairs_used(0));
	end();
}

static const struct unit_test tests[] = {
	{ "a latched stream goes on", test_latched_stream_goes_on },
	{ "a stream that was not latched can latch", test_stream_that_was_not_latched },
	{ "ports and addresses of others are refused", test_refused },
	{ "a latched address that must not be sent to is refused", test_latched_to_the_gateway },
};

UNIT_MAIN("media_restore", tests)
