/* The hand-over of streams to the kernel and back, with real relay threads and pinholes that do what the test says. The
 * caller (side A) sits in an untrusted realm with latching, the callee (side B) in a trusted one without. */
#include <stdio.h>
#include <unistd.h>

#include "core/err.h"
#include "core/loop.h"
#include "media-relay/media_restore.h"
#include "media-relay/offload.h"
#include "tests/mock/fake_loop.h"
#include "tests/mock/fake_pinhole.h"
#include "tests/unit/media_rig.h"
#include "tests/unit/unit.h"

static struct rig rig;
static struct pinholes *pinholes;
static int phone, trunk; /* far ends of side A and side B */
static struct addr phone_at, trunk_at, gate[2];
static uint16_t sequence;

static void begin_with(bool is_ipv6, uint32_t timeout_ms)
{
	struct loop *loop = NULL;

	CU_ASSERT_EQUAL_FATAL(loop_new(&loop), 0);
	pinholes = fake_pinholes_new();
	CU_ASSERT_PTR_NOT_NULL_FATAL(pinholes);
	rig_open_with(&rig, loop, is_ipv6, timeout_ms, pinholes);
	phone = rig_socket("127.0.0.31", &phone_at);
	trunk = rig_socket(is_ipv6 ? "::1" : "127.0.0.32", &trunk_at);
	gate[MEDIA_A] = rig_local(&rig, MEDIA_A);
	gate[MEDIA_B] = rig_local(&rig, MEDIA_B);
	sequence = 100;
}

static void begin(void)
{
	begin_with(false, 0);
}

static void end(void)
{
	rig_close(&rig);
	pinholes_free(pinholes);
	loop_free(rig.loop);
	close(phone);
	close(trunk);
}

static void answer(void)
{
	rig_remotes(&rig, &phone_at, &trunk_at);
	media_answered(rig.media);
}

static void move(enum media_side side, const struct addr *to)
{
	rig_remotes(&rig, side == MEDIA_A ? to : NULL, side == MEDIA_B ? to : NULL);
}

/* n packets through the relay, one by one. */
static void flow(enum media_side from, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		rig_send(from == MEDIA_A ? phone : trunk, &gate[from], rig_rtp(0, ++sequence));
		CU_ASSERT(rig_is_rtp(from == MEDIA_A ? trunk : phone, sequence, NULL));
	}
}

static struct pinhole *hole(enum media_side from)
{
	return fake_pinhole_on(pinholes, &gate[from]);
}

/* The pinhole of this direction once it has been asked for; NULL when that does not happen. */
static struct pinhole *wait_hole(enum media_side from)
{
	for (int i = 0; i < 2000 && hole(from) == NULL; i++) {
		fake_loop_turn(rig.loop);
		rig_pause_ms(1);
	}
	return hole(from);
}

/* Everything the relay threads have to say has arrived: a command went to them and was carried out. */
static void settle(void)
{
	for (int i = 0; i < 20; i++) {
		fake_loop_turn(rig.loop);
		rig_pause_ms(1);
	}
}

static void tick(void)
{
	settle();
	fake_loop_advance(rig.loop, 1000);
	settle();
}

static struct slot_stats forwarded(uint64_t packets)
{
	return (struct slot_stats){ .packets = packets, .bytes = packets * 172, .last_ns = relay_now_ms() * 1000000,
				    .is_active = 1, .has_rtp = 1 };
}

/* The kernel has taken the direction over and forwarded so many packets. */
static void carry(enum media_side from, uint64_t packets)
{
	struct pinhole *pinhole = wait_hole(from);
	struct slot_stats stats = forwarded(packets);

	CU_ASSERT_PTR_NOT_NULL_FATAL(pinhole);
	if (pinhole_state(pinhole) == PINHOLE_RESERVED)
		fake_pinhole_fire(pinhole, PINHOLE_EV_ARMED);
	fake_pinhole_set_stats(pinhole, &stats);
	if (pinhole_state(pinhole) == PINHOLE_ARMED)
		fake_pinhole_fire(pinhole, PINHOLE_EV_BOUND);
	settle();
}

/* Both directions are in the kernel. */
static void pin(void)
{
	answer();
	flow(MEDIA_A, RELAY_STEADY);
	flow(MEDIA_B, RELAY_STEADY);
	carry(MEDIA_A, 1000);
	carry(MEDIA_B, 1000);
}

static void check_path(enum media_side from, enum media_path path, const char *reason)
{
	struct media_stats stats = rig_stats(&rig, from);

	CU_ASSERT_EQUAL(stats.path, path);
	CU_ASSERT_PTR_NOT_NULL_FATAL(stats.path_reason);
	if (strstr(stats.path_reason, reason) == NULL)
		printf("# side %d: %s (%s)\n", from, media_path_text(stats.path), stats.path_reason);
	CU_ASSERT_PTR_NOT_NULL(strstr(stats.path_reason, reason));
}

static void test_first_pin(void)
{
	const struct pinhole_spec *spec;

	begin();
	rig_remotes(&rig, &phone_at, &trunk_at);
	check_path(MEDIA_A, MEDIA_PATH_RELAY, "early media");
	flow(MEDIA_A, RELAY_STEADY + 1);
	flow(MEDIA_B, RELAY_STEADY - 1);
	tick();
	CU_ASSERT_EQUAL(fake_pinholes_count(pinholes), 0);
	media_answered(rig.media); /* what has shown itself goes at once */
	CU_ASSERT_EQUAL(fake_pinholes_count(pinholes), 1);
	check_path(MEDIA_B, MEDIA_PATH_RELAY, "packets from the callee");
	tick();
	CU_ASSERT_EQUAL(fake_pinholes_count(pinholes), 1);
	flow(MEDIA_B, 1);
	CU_ASSERT_PTR_NOT_NULL(wait_hole(MEDIA_B));
	CU_ASSERT_EQUAL(fake_pinholes_count(pinholes), 2);
	spec = pinhole_spec(hole(MEDIA_A));
	CU_ASSERT_STRING_EQUAL(spec->owner, rig.group.id);
	CU_ASSERT_EQUAL(spec->proto, IPPROTO_UDP);
	CU_ASSERT(addr_eq(&spec->source, &phone_at) && addr_eq(&spec->listen, &gate[MEDIA_A]));
	CU_ASSERT(addr_eq(&spec->from, &gate[MEDIA_B]) && addr_eq(&spec->target, &trunk_at));
	CU_ASSERT(spec->realm_in == 0 && spec->realm_out == 1);
	CU_ASSERT(spec->is_rtp && spec->is_handed_over && !spec->is_one_shot);
	CU_ASSERT(spec->payloads[0] == 0x101 && spec->payloads[1] == 0);
	CU_ASSERT_EQUAL(spec->clock_hz, 8000);
	CU_ASSERT_EQUAL(spec->dscp, 46);
	CU_ASSERT_EQUAL(spec->packets_per_s, RELAY_PPS_MAX);
	CU_ASSERT_EQUAL(spec->bytes_per_s, RELAY_BYTES_PER_S);
	CU_ASSERT_EQUAL(spec->lifetime_s, 900);
	spec = pinhole_spec(hole(MEDIA_B));
	CU_ASSERT(addr_eq(&spec->source, &trunk_at) && addr_eq(&spec->listen, &gate[MEDIA_B]));
	CU_ASSERT(addr_eq(&spec->from, &gate[MEDIA_A]) && addr_eq(&spec->target, &phone_at));
	CU_ASSERT(spec->realm_in == 1 && spec->realm_out == 0);
	tick();
	CU_ASSERT_EQUAL(fake_pinholes_opened(pinholes), 2);
	end();
}

static void test_path_is_told(void)
{
	begin();
	answer();
	flow(MEDIA_A, RELAY_STEADY);
	CU_ASSERT_PTR_NOT_NULL_FATAL(wait_hole(MEDIA_A));
	check_path(MEDIA_A, MEDIA_PATH_RELAY, "being opened");
	fake_pinhole_fire(hole(MEDIA_A), PINHOLE_EV_ARMED);
	check_path(MEDIA_A, MEDIA_PATH_RELAY, "waits for packets");
	CU_ASSERT_EQUAL(rig.moved[MEDIA_A], 0);
	flow(MEDIA_A, 3); /* the relay still has it */
	carry(MEDIA_A, 10);
	CU_ASSERT_EQUAL(rig.moved[MEDIA_A], 1);
	check_path(MEDIA_A, MEDIA_PATH_XDP, "test");
	CU_ASSERT(rig_stats(&rig, MEDIA_A).has_quality);
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).packets, RELAY_STEADY + 3 + 10);
	check_path(MEDIA_B, MEDIA_PATH_RELAY, "packets from the callee");
	CU_ASSERT_EQUAL(rig.moved[MEDIA_B], 0);
	fake_pinhole_set_path(hole(MEDIA_A), PINHOLE_CONNTRACK, "no BPF");
	check_path(MEDIA_A, MEDIA_PATH_CONNTRACK, "not measured");
	CU_ASSERT(!rig_stats(&rig, MEDIA_A).has_quality);
	fake_pinhole_set_path(hole(MEDIA_A), PINHOLE_TC, "not native");
	check_path(MEDIA_A, MEDIA_PATH_TC, "not native");
	end();
}

/* XDP leaves a stream to tc by itself. */
static void test_xdp_falls_back(void)
{
	struct slot_stats stats = forwarded(1001);

	begin();
	pin();
	stats.no_xdp = 1;
	fake_pinhole_set_stats(hole(MEDIA_A), &stats);
	check_path(MEDIA_A, MEDIA_PATH_TC, "checksums");
	check_path(MEDIA_B, MEDIA_PATH_XDP, "test");
	end();
}

/* The callee never sends: media to it goes where signalling said. */
static void test_one_direction(void)
{
	begin();
	answer();
	flow(MEDIA_A, RELAY_STEADY);
	carry(MEDIA_A, 50);
	CU_ASSERT(addr_eq(&pinhole_spec(hole(MEDIA_A))->target, &trunk_at));
	tick();
	CU_ASSERT_EQUAL(fake_pinholes_count(pinholes), 1);
	end();
}

/* A private address is not sent to before it has shown where it really is. */
static void test_target_must_be_known(void)
{
	struct addr private_at = { 0 };

	begin();
	addr_parse(SPAN_LIT("10.9.9.9:4000"), &private_at);
	rig_remotes(&rig, &private_at, &trunk_at);
	media_answered(rig.media);
	for (unsigned i = 0; i < 2 * RELAY_STEADY; i++)
		rig_send(trunk, &gate[MEDIA_B], rig_rtp(0, ++sequence));
	for (int i = 0; i < 2000 && rig_stats(&rig, MEDIA_B).dropped_early < 2 * RELAY_STEADY; i++)
		rig_pause_ms(1);
	tick();
	check_path(MEDIA_B, MEDIA_PATH_RELAY, "packets from the caller");
	CU_ASSERT_EQUAL(fake_pinholes_count(pinholes), 0);
	flow(MEDIA_A, 1);
	tick();
	CU_ASSERT_PTR_NOT_NULL_FATAL(hole(MEDIA_B));
	CU_ASSERT(addr_eq(&pinhole_spec(hole(MEDIA_B))->target, &phone_at));
	end();
}

/* The callee moves: to the new address at once, from the old one until the new one speaks. */
static void test_callee_moves(void)
{
	struct addr moved_at, old_at;
	int moved;

	begin();
	moved = rig_socket("127.0.0.34", &moved_at);
	old_at = trunk_at;
	pin();
	move(MEDIA_B, &moved_at);
	CU_ASSERT_PTR_NULL(hole(MEDIA_A));
	check_path(MEDIA_A, MEDIA_PATH_RELAY, "send to has changed");
	CU_ASSERT_PTR_NOT_NULL_FATAL(hole(MEDIA_B));
	CU_ASSERT_EQUAL(rig.moved[MEDIA_A], 2);
	CU_ASSERT_EQUAL(rig.moved[MEDIA_B], 1);
	settle();
	CU_ASSERT_PTR_NOT_NULL(hole(MEDIA_B)); /* the old source, still */
	rig_send(phone, &gate[MEDIA_A], rig_rtp(0, 7));
	CU_ASSERT(rig_is_rtp(moved, 7, NULL));
	fake_pinholes_settle(pinholes);
	tick();
	CU_ASSERT_PTR_NOT_NULL_FATAL(hole(MEDIA_A));
	CU_ASSERT(addr_eq(&pinhole_spec(hole(MEDIA_A))->target, &moved_at));
	rig_send(moved, &gate[MEDIA_B], rig_rtp(0, 8));
	CU_ASSERT(rig_is_rtp(phone, 8, NULL));
	settle();
	CU_ASSERT_PTR_NULL(hole(MEDIA_B)); /* the new source spoke */
	check_path(MEDIA_B, MEDIA_PATH_RELAY, "the source has changed");
	fake_pinholes_settle(pinholes);
	for (uint16_t i = 9; i < 8 + RELAY_STEADY; i++) {
		tick();
		CU_ASSERT_PTR_NULL(hole(MEDIA_B));
		rig_send(moved, &gate[MEDIA_B], rig_rtp(0, i));
		CU_ASSERT(rig_is_rtp(phone, i, NULL));
	}
	CU_ASSERT_PTR_NOT_NULL_FATAL(wait_hole(MEDIA_B));
	CU_ASSERT(addr_eq(&pinhole_spec(hole(MEDIA_B))->source, &moved_at));
	CU_ASSERT(!addr_eq(&pinhole_spec(hole(MEDIA_B))->source, &old_at));
	close(moved);
	end();
}

/* Nothing comes from the new address: what still comes from the old one is the relay's to judge. */
static void test_old_source_does_not_stay(void)
{
	struct addr elsewhere = { 0 };

	begin();
	pin();
	addr_parse(SPAN_LIT("127.0.0.35:4000"), &elsewhere);
	move(MEDIA_A, &elsewhere);
	CU_ASSERT_PTR_NULL(hole(MEDIA_B));
	tick();
	CU_ASSERT_PTR_NOT_NULL(hole(MEDIA_A));
	tick();
	tick();
	CU_ASSERT_PTR_NULL(hole(MEDIA_A));
	check_path(MEDIA_A, MEDIA_PATH_RELAY, "learnt again");
	fake_pinholes_settle(pinholes);
	tick();
	CU_ASSERT_PTR_NULL(hole(MEDIA_A));
	check_path(MEDIA_A, MEDIA_PATH_RELAY, "packets from the caller");
	end();
}

/* A new address that only its packets can explain: the relay has to see them. */
static void test_private_move(void)
{
	struct addr private_at = { 0 };

	begin();
	pin();
	addr_parse(SPAN_LIT("10.9.9.9:4000"), &private_at);
	move(MEDIA_A, &private_at);
	CU_ASSERT_PTR_NULL(hole(MEDIA_A));
	CU_ASSERT_PTR_NULL(hole(MEDIA_B));
	fake_pinholes_settle(pinholes);
	flow(MEDIA_A, RELAY_STEADY);
	CU_ASSERT_PTR_NOT_NULL(wait_hole(MEDIA_A));
	tick();
	CU_ASSERT_PTR_NOT_NULL(hole(MEDIA_B));
	end();
}

static void test_relatch(void)
{
	struct media_remote remote;

	begin();
	pin();
	remote = rig_remote(&phone_at);
	media_stream_remote(rig.media, 0, MEDIA_A, &remote, true);
	CU_ASSERT_PTR_NULL(hole(MEDIA_A));
	CU_ASSERT_PTR_NOT_NULL(hole(MEDIA_B));
	fake_pinholes_settle(pinholes);
	tick();
	CU_ASSERT_PTR_NULL(hole(MEDIA_A));
	flow(MEDIA_A, RELAY_STEADY);
	CU_ASSERT_PTR_NOT_NULL(wait_hole(MEDIA_A));
	end();
}

/* A refresh says the same again. */
static void test_refresh_moves_nothing(void)
{
	begin();
	pin();
	answer();
	tick();
	CU_ASSERT_PTR_NOT_NULL(hole(MEDIA_A));
	CU_ASSERT_PTR_NOT_NULL(hole(MEDIA_B));
	CU_ASSERT_EQUAL(fake_pinholes_opened(pinholes), 2);
	end();
}

static void test_codec_change(void)
{
	struct media_remote remote;

	begin();
	pin();
	remote = rig_remote(&phone_at);
	remote.payloads[0] = 1 << 8 | 1 << 9;
	media_stream_remote(rig.media, 0, MEDIA_A, &remote, false);
	CU_ASSERT_PTR_NULL(hole(MEDIA_A));
	check_path(MEDIA_A, MEDIA_PATH_RELAY, "codecs have changed");
	CU_ASSERT_PTR_NOT_NULL(hole(MEDIA_B));
	fake_pinholes_settle(pinholes); /* opened anew at once */
	CU_ASSERT_PTR_NOT_NULL_FATAL(hole(MEDIA_A));
	CU_ASSERT_EQUAL(pinhole_spec(hole(MEDIA_A))->payloads[0], 1 << 8 | 1 << 9);
	carry(MEDIA_A, 10);
	media_stream_remote(rig.media, 0, MEDIA_A, &remote, false); /* once more changes nothing */
	tick();
	rig_send(phone, &gate[MEDIA_A], rig_rtp(0, 1)); /* the kernel leaves it to the relay, which still lets it through */
	CU_ASSERT(rig_is_rtp(trunk, 1, NULL));
	rig_send(phone, &gate[MEDIA_A], rig_rtp(9, 2));
	CU_ASSERT(rig_is_rtp(trunk, 2, NULL));
	tick();
	tick();
	CU_ASSERT_PTR_NOT_NULL(hole(MEDIA_A));
	CU_ASSERT_EQUAL(fake_pinholes_opened(pinholes), 3);
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).dropped_payload, 0);
	rig_send(phone, &gate[MEDIA_A], rig_rtp(0, 3));
	rig_send(phone, &gate[MEDIA_A], rig_rtp(8, 4));
	CU_ASSERT(rig_is_rtp(trunk, 4, NULL) || rig_stats(&rig, MEDIA_A).dropped_payload == 1);
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).dropped_payload, 1);
	end();
}

/* Before a direction was in the kernel, too: it goes there with what is negotiated now. */
static void test_codec_change_on_relay(void)
{
	struct media_remote remote;

	begin();
	answer();
	remote = rig_remote(&phone_at);
	remote.payloads[0] = 1 << 9;
	media_stream_remote(rig.media, 0, MEDIA_A, &remote, false);
	flow(MEDIA_A, RELAY_STEADY);
	CU_ASSERT_PTR_NOT_NULL_FATAL(wait_hole(MEDIA_A));
	CU_ASSERT_EQUAL(pinhole_spec(hole(MEDIA_A))->payloads[0], 1 << 9);
	flow(MEDIA_A, 1);
	tick();
	tick();
	rig_send(phone, &gate[MEDIA_A], rig_rtp(0, 3));
	for (int i = 0; i < 2000 && rig_stats(&rig, MEDIA_A).dropped_payload == 0; i++)
		rig_pause_ms(1);
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).dropped_payload, 1);
	end();
}

/* What the callee answers takes the same entry: the relay may never see five packets of it, or any. */
static void test_two_way_entry(void)
{
	begin();
	answer();
	flow(MEDIA_A, RELAY_STEADY);
	CU_ASSERT_PTR_NOT_NULL_FATAL(wait_hole(MEDIA_A));
	fake_pinhole_set_path(hole(MEDIA_A), PINHOLE_CONNTRACK, "test");
	CU_ASSERT_PTR_NULL(hole(MEDIA_B));
	fake_pinhole_fire(hole(MEDIA_A), PINHOLE_EV_ARMED);
	CU_ASSERT_PTR_NOT_NULL_FATAL(hole(MEDIA_B));
	CU_ASSERT(addr_eq(&pinhole_spec(hole(MEDIA_B))->source, &trunk_at));
	CU_ASSERT(addr_eq(&pinhole_spec(hole(MEDIA_B))->target, &phone_at));
	fake_pinhole_set_path(hole(MEDIA_B), PINHOLE_CONNTRACK, "test");
	carry(MEDIA_B, 10);
	check_path(MEDIA_B, MEDIA_PATH_CONNTRACK, "not measured");
	tick();
	CU_ASSERT_EQUAL(fake_pinholes_opened(pinholes), 2);
	move(MEDIA_A, &trunk_at); /* the target of one, the source of the other */
	CU_ASSERT_PTR_NULL(hole(MEDIA_B));
	end();
}

static void test_hold_by_direction(void)
{
	struct media_remote remote;

	begin_with(false, 5000);
	pin();
	remote = rig_remote(&phone_at);
	remote.may_send = false;
	media_stream_remote(rig.media, 0, MEDIA_A, &remote, false);
	media_hold(rig.media, true);
	fake_loop_advance(rig.loop, 600000);
	CU_ASSERT_EQUAL(rig.timeouts, 0);
	CU_ASSERT_PTR_NOT_NULL(hole(MEDIA_A));
	CU_ASSERT_PTR_NOT_NULL(hole(MEDIA_B));
	remote.may_send = true;
	media_stream_remote(rig.media, 0, MEDIA_A, &remote, false);
	media_hold(rig.media, false);
	fake_loop_advance(rig.loop, 3000);
	CU_ASSERT_EQUAL(fake_pinholes_opened(pinholes), 2);
	CU_ASSERT_EQUAL(rig.moved[MEDIA_A] + rig.moved[MEDIA_B], 2);
	CU_ASSERT_EQUAL(rig.timeouts, 0);
	end();
}

/* The old way (RFC 2543): the address becomes 0.0.0.0. */
static void test_hold_by_address(void)
{
	struct media_remote nowhere = { .is_rtp = true, .payloads = { 0x101, 0 } };

	begin();
	pin();
	media_stream_remote(rig.media, 0, MEDIA_A, &nowhere, false);
	media_hold(rig.media, true);
	settle();
	tick();
	CU_ASSERT_PTR_NULL(hole(MEDIA_A));
	CU_ASSERT_PTR_NULL(hole(MEDIA_B));
	fake_pinholes_settle(pinholes);
	tick();
	CU_ASSERT_EQUAL(fake_pinholes_count(pinholes), 0);
	move(MEDIA_A, &phone_at);
	media_hold(rig.media, false);
	flow(MEDIA_A, RELAY_STEADY);
	CU_ASSERT_PTR_NOT_NULL(wait_hole(MEDIA_A));
	tick();
	CU_ASSERT_PTR_NOT_NULL(hole(MEDIA_B));
	end();
}

static void test_refusal_and_retry(void)
{
	uint64_t waited_ms = 0;

	begin();
	answer();
	flow(MEDIA_A, RELAY_STEADY);
	CU_ASSERT_PTR_NOT_NULL_FATAL(wait_hole(MEDIA_A));
	fake_pinhole_set_path(hole(MEDIA_A), PINHOLE_NONE, "the map is full");
	fake_pinhole_fire(hole(MEDIA_A), PINHOLE_EV_REFUSED);
	CU_ASSERT_EQUAL(rig.moved[MEDIA_A], 1);
	check_path(MEDIA_A, MEDIA_PATH_RELAY, "the map is full");
	for (unsigned attempt = 1; attempt <= 8; attempt++) {
		waited_ms = 0;
		while (hole(MEDIA_A) == NULL && waited_ms < 2 * OFFLOAD_RETRY_MAX_MS) {
			fake_loop_advance(rig.loop, 500);
			waited_ms += 500;
		}
		CU_ASSERT_PTR_NOT_NULL_FATAL(hole(MEDIA_A));
		CU_ASSERT(waited_ms >= (attempt < 5 ? 1000u << (attempt - 1) : 16000u));
		fake_pinhole_set_path(hole(MEDIA_A), PINHOLE_NONE, "the map is full");
		fake_pinhole_fire(hole(MEDIA_A), PINHOLE_EV_REFUSED);
	}
	CU_ASSERT(waited_ms <= OFFLOAD_RETRY_MAX_MS + 1000);
	CU_ASSERT_EQUAL(rig.moved[MEDIA_A], 1); /* the same trouble is told once */
	flow(MEDIA_A, 3);
	fake_loop_advance(rig.loop, OFFLOAD_RETRY_MAX_MS + 1000);
	carry(MEDIA_A, 10);
	check_path(MEDIA_A, MEDIA_PATH_XDP, "test");
	fake_pinhole_fire(hole(MEDIA_A), PINHOLE_EV_LOST); /* success has reset the waiting */
	check_path(MEDIA_A, MEDIA_PATH_RELAY, "lost");
	CU_ASSERT_EQUAL(rig.moved[MEDIA_A], 3);
	tick();
	tick();
	CU_ASSERT_PTR_NOT_NULL(hole(MEDIA_A));
	end();
}

static void test_open_fails(void)
{
	begin();
	answer();
	fake_pinholes_fail(pinholes, 1, ERR_LIMIT);
	flow(MEDIA_A, RELAY_STEADY);
	CU_ASSERT(rig_wait_count(&rig, &rig.moved[MEDIA_A], 1));
	check_path(MEDIA_A, MEDIA_PATH_RELAY, err_str(ERR_LIMIT));
	tick();
	tick();
	CU_ASSERT_PTR_NOT_NULL(hole(MEDIA_A));
	end();
}

/* Without a mechanism nothing is tried; what is in the kernel stays there. */
static void test_helper_is_gone(void)
{
	begin();
	answer();
	flow(MEDIA_A, RELAY_STEADY);
	carry(MEDIA_A, 10);
	fake_pinholes_set_usable(pinholes, false);
	flow(MEDIA_B, RELAY_STEADY);
	settle();
	tick();
	CU_ASSERT_PTR_NULL(hole(MEDIA_B));
	check_path(MEDIA_B, MEDIA_PATH_RELAY, "no kernel path");
	check_path(MEDIA_A, MEDIA_PATH_XDP, "test");
	CU_ASSERT_EQUAL(rig.moved[MEDIA_B], 0);
	fake_pinholes_set_usable(pinholes, true);
	tick();
	CU_ASSERT_PTR_NOT_NULL(hole(MEDIA_B));
	fake_pinhole_fire(hole(MEDIA_A), PINHOLE_EV_EXPIRED);
	check_path(MEDIA_A, MEDIA_PATH_RELAY, "expired");
	flow(MEDIA_A, 1);
	end();
}

/* The media goes away in every state; the pinhole's end comes later and reaches nobody. */
static void test_close_in_every_state(void)
{
	for (int state = OFFLOAD_RELAY; state <= OFFLOAD_LEAVING; state++) {
		begin();
		answer();
		flow(MEDIA_A, RELAY_STEADY - (state == OFFLOAD_RELAY));
		if (state != OFFLOAD_RELAY)
			CU_ASSERT_PTR_NOT_NULL_FATAL(wait_hole(MEDIA_A));
		if (state == OFFLOAD_KERNEL || state == OFFLOAD_LEAVING)
			carry(MEDIA_A, 10);
		if (state == OFFLOAD_LEAVING)
			move(MEDIA_B, &phone_at);
		CU_ASSERT_EQUAL(fake_pinholes_count(pinholes), state != OFFLOAD_RELAY);
		if (state % 2 == 0)
			media_stream_close(rig.media, 0);
		group_close(&rig.group);
		settle();
		for (unsigned i = 0; i < fake_pinholes_count(pinholes); i++) {
			CU_ASSERT(fake_pinhole_is_disowned(fake_pinhole_at(pinholes, i)));
			CU_ASSERT_EQUAL(pinhole_state(fake_pinhole_at(pinholes, i)), PINHOLE_DRAINING);
		}
		fake_pinholes_settle(pinholes);
		tick();
		CU_ASSERT_EQUAL(fake_pinholes_count(pinholes), 0);
		end();
	}
}

/* It was asked for, is not wanted any more, and then comes. */
static void test_withdrawn_while_asked(void)
{
	begin();
	answer();
	flow(MEDIA_A, RELAY_STEADY);
	CU_ASSERT_PTR_NOT_NULL_FATAL(wait_hole(MEDIA_A));
	move(MEDIA_B, &phone_at);
	CU_ASSERT_EQUAL(fake_pinholes_count(pinholes), 1);
	fake_pinhole_fire(fake_pinhole_at(pinholes, 0), PINHOLE_EV_ARMED);
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).path, MEDIA_PATH_RELAY);
	fake_pinhole_fire(fake_pinhole_at(pinholes, 0), PINHOLE_EV_CLOSED);
	CU_ASSERT_EQUAL(rig.moved[MEDIA_A], 0);
	tick();
	CU_ASSERT_PTR_NOT_NULL_FATAL(hole(MEDIA_A));
	CU_ASSERT(addr_eq(&pinhole_spec(hole(MEDIA_A))->target, &phone_at));
	end();
}

/* The kernel drops it just as it is being removed. */
static void test_lost_while_leaving(void)
{
	begin();
	pin();
	move(MEDIA_B, &phone_at);
	CU_ASSERT_EQUAL(pinhole_state(fake_pinhole_at(pinholes, 0)), PINHOLE_DRAINING);
	fake_pinhole_fire(fake_pinhole_at(pinholes, 0), PINHOLE_EV_LOST);
	CU_ASSERT_EQUAL(rig.moved[MEDIA_A], 2);
	tick();
	CU_ASSERT_PTR_NOT_NULL(hole(MEDIA_A));
	end();
}

static void test_statistics_are_merged(void)
{
	struct slot_stats slot = { .packets = 1000, .bytes = 172000, .lost = 7, .reordered = 3, .dropped_rate = 5, .jitter_us = 1234,
				   .dropped_format = 2, .passed = 9, .is_active = 1, .has_rtp = 1 };
	struct media_stats stats;

	begin();
	pin();
	slot.last_ns = (relay_now_ms() - 40) * 1000000;
	fake_pinhole_set_stats(hole(MEDIA_A), &slot);
	stats = rig_stats(&rig, MEDIA_A);
	CU_ASSERT_EQUAL(stats.packets, 1000 + RELAY_STEADY);
	CU_ASSERT_EQUAL(stats.bytes, (1000 + RELAY_STEADY) * 172);
	CU_ASSERT_EQUAL(stats.sent, stats.packets);
	CU_ASSERT_EQUAL(stats.lost, 7);
	CU_ASSERT_EQUAL(stats.reordered, 3);
	CU_ASSERT_EQUAL(stats.jitter_us, 1234);
	CU_ASSERT_EQUAL(stats.dropped_overload, 5);
	CU_ASSERT_EQUAL(stats.dropped_format, 2);
	CU_ASSERT(stats.last_packet_age_ms < 60000);
	/* Back on the relay: thousands of packets later, of which none is lost; then one is. */
	move(MEDIA_B, &phone_at);
	slot.packets = 1002;
	fake_pinhole_set_stats(fake_pinhole_at(pinholes, 0), &slot);
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).packets, 1002 + RELAY_STEADY);
	fake_pinholes_settle(pinholes);
	settle();
	stats = rig_stats(&rig, MEDIA_A);
	CU_ASSERT_EQUAL(stats.packets, 1002 + RELAY_STEADY);
	CU_ASSERT(stats.jitter_us != 1234);
	move(MEDIA_B, &trunk_at);
	sequence = (uint16_t)(sequence + 1000);
	flow(MEDIA_A, 3);
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).lost, 7);
	sequence++;
	flow(MEDIA_A, 1);
	stats = rig_stats(&rig, MEDIA_A);
	CU_ASSERT_EQUAL(stats.lost, 8);
	CU_ASSERT_EQUAL(stats.packets, 1002 + RELAY_STEADY + 4);
	end();
}

/* Packets that come up although the kernel has the stream are no sign of loss. */
static void test_strays(void)
{
	begin();
	pin();
	sequence = 5000;
	flow(MEDIA_A, 1);
	sequence = 6000;
	flow(MEDIA_A, 1);
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).lost, 0);
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).packets, 1000 + RELAY_STEADY + 2);
	end();
}

static void test_timeout_sees_the_kernel(void)
{
	begin_with(false, 5000);
	pin();
	for (uint64_t i = 1; i < 20; i++) {
		carry(MEDIA_A, 1000 + i);
		fake_loop_advance(rig.loop, 4000);
	}
	CU_ASSERT_EQUAL(rig.timeouts, 0);
	fake_loop_advance(rig.loop, 6000);
	CU_ASSERT_EQUAL(rig.timeouts, 1);
	carry(MEDIA_A, 2000);
	fake_loop_advance(rig.loop, 4000);
	CU_ASSERT_EQUAL(rig.timeouts, 1);
	end();
}

/* The pinhole is there, but its packets all come up: the relay has them, and says why. */
static void test_kernel_passes_up(void)
{
	struct slot_stats stats = forwarded(1000);

	begin();
	pin();
	tick();
	stats.passed = 50;
	fake_pinhole_set_stats(hole(MEDIA_A), &stats);
	tick();
	check_path(MEDIA_A, MEDIA_PATH_RELAY, "leaves its packets to the relay");
	CU_ASSERT_EQUAL(rig.moved[MEDIA_A], 2);
	flow(MEDIA_A, 2);
	sequence++;
	flow(MEDIA_A, 1); /* and counts what is lost */
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).lost, 1);
	CU_ASSERT_PTR_NOT_NULL(hole(MEDIA_A));
	carry(MEDIA_A, 1001);
	tick();
	check_path(MEDIA_A, MEDIA_PATH_XDP, "test");
	CU_ASSERT_EQUAL(rig.moved[MEDIA_A], 3);
	end();
}

static void test_clock_is_waited_for(void)
{
	struct media_remote remote;

	begin();
	remote = rig_remote(&phone_at);
	remote.payloads[1] = UINT64_C(1) << (111 - 64);
	media_stream_remote(rig.media, 0, MEDIA_A, &remote, false);
	move(MEDIA_B, &trunk_at);
	media_answered(rig.media);
	for (unsigned i = 0; i < RELAY_STEADY; i++) {
		rig_send(phone, &gate[MEDIA_A], rig_rtp(111, ++sequence));
		CU_ASSERT(rig_receive(trunk, (char[2048]){ 0 }, &(size_t){ 2048 }, NULL));
	}
	settle();
	CU_ASSERT_PTR_NULL(hole(MEDIA_A));
	tick();
	CU_ASSERT_PTR_NULL(hole(MEDIA_A));
	fake_loop_advance(rig.loop, OFFLOAD_CLOCK_MS);
	CU_ASSERT_PTR_NOT_NULL_FATAL(hole(MEDIA_A));
	CU_ASSERT_EQUAL(pinhole_spec(hole(MEDIA_A))->clock_hz, 0);
	end();
}

static void test_families(void)
{
	if (!rig_has_ipv6())
		return;
	begin_with(true, 0);
	answer();
	flow(MEDIA_A, 2 * RELAY_STEADY);
	flow(MEDIA_B, 2 * RELAY_STEADY);
	settle();
	tick();
	CU_ASSERT_EQUAL(fake_pinholes_opened(pinholes), 0);
	check_path(MEDIA_A, MEDIA_PATH_RELAY, "address families differ");
	end();
}

static void test_far_end_on_this_host(void)
{
	struct addr own = { 0 };
	char text[ADDR_TEXT_MAX];
	int fd;

	begin();
	own = gate[MEDIA_A];
	fd = rig_socket(addr_ip_text(&own, text), &own);
	rig_remotes(&rig, &own, &trunk_at);
	media_answered(rig.media);
	for (unsigned i = 0; i < RELAY_STEADY; i++) {
		rig_send(fd, &gate[MEDIA_A], rig_rtp(0, ++sequence));
		CU_ASSERT(rig_is_rtp(trunk, sequence, NULL));
	}
	settle();
	tick();
	CU_ASSERT_EQUAL(fake_pinholes_opened(pinholes), 0);
	check_path(MEDIA_A, MEDIA_PATH_RELAY, "address of the gateway");
	close(fd);
	end();
}

struct limit_row {
	uint32_t bandwidth_bps, bytes_per_s, packets_per_s;
};

static void test_limits(void)
{
	static const struct limit_row rows[] = {
		{ 0, 6250000, RELAY_PPS_MAX },
		{ 1, 32000, 800 },
		{ 64000, 48000, 1200 },
		{ 2000000, 532000, RELAY_PPS_MAX },
		{ UINT32_MAX, RELAY_PPS_MAX * 1500, RELAY_PPS_MAX },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct media_remote remote;

		begin();
		remote = rig_remote(&trunk_at);
		remote.bandwidth_bps = rows[i].bandwidth_bps; /* who receives says how much */
		media_stream_remote(rig.media, 0, MEDIA_B, &remote, false);
		move(MEDIA_A, &phone_at);
		media_answered(rig.media);
		flow(MEDIA_A, RELAY_STEADY);
		flow(MEDIA_B, RELAY_STEADY);
		CU_ASSERT_PTR_NOT_NULL_FATAL(wait_hole(MEDIA_A));
		CU_ASSERT_PTR_NOT_NULL_FATAL(wait_hole(MEDIA_B));
		CU_ASSERT_EQUAL(pinhole_spec(hole(MEDIA_A))->bytes_per_s, rows[i].bytes_per_s);
		CU_ASSERT_EQUAL(pinhole_spec(hole(MEDIA_A))->packets_per_s, rows[i].packets_per_s);
		CU_ASSERT_EQUAL(pinhole_spec(hole(MEDIA_B))->bytes_per_s, RELAY_BYTES_PER_S);
		remote.bandwidth_bps = 128000;
		media_stream_remote(rig.media, 0, MEDIA_B, &remote, false);
		tick();
		CU_ASSERT_PTR_NULL(hole(MEDIA_A));
		end();
	}
}

/* RTCP on RTP's port is never the kernel's; nor is everything, when any payload type may pass. */
static void test_payload_sets(void)
{
	struct media_remote remote;

	begin();
	remote = rig_remote(&phone_at);
	remote.payloads[1] = UINT64_MAX;
	remote.rtcp_mux = true;
	media_stream_remote(rig.media, 0, MEDIA_A, &remote, false);
	remote = rig_remote(&trunk_at);
	remote.payloads[0] = 0;
	media_stream_remote(rig.media, 0, MEDIA_B, &remote, false);
	media_answered(rig.media);
	flow(MEDIA_A, RELAY_STEADY);
	flow(MEDIA_B, RELAY_STEADY);
	CU_ASSERT_PTR_NOT_NULL_FATAL(wait_hole(MEDIA_A));
	CU_ASSERT_PTR_NOT_NULL_FATAL(wait_hole(MEDIA_B));
	CU_ASSERT_EQUAL(pinhole_spec(hole(MEDIA_A))->payloads[0], 0x101);
	CU_ASSERT_EQUAL(pinhole_spec(hole(MEDIA_A))->payloads[1], UINT64_C(0xffffffff00000000));
	CU_ASSERT_EQUAL(pinhole_spec(hole(MEDIA_B))->payloads[0], UINT64_MAX);
	CU_ASSERT_EQUAL(pinhole_spec(hole(MEDIA_B))->payloads[1], UINT64_C(0xffffffff00000000));
	end();
}

static bool is_same_spec(const struct pinhole_spec *a, const struct pinhole_spec *b)
{
	return strcmp(a->owner, b->owner) == 0 && addr_eq(&a->source, &b->source) && addr_eq(&a->listen, &b->listen) &&
	       addr_eq(&a->from, &b->from) && addr_eq(&a->target, &b->target) && a->payloads[0] == b->payloads[0] &&
	       a->payloads[1] == b->payloads[1] && a->bytes_per_s == b->bytes_per_s && a->clock_hz == b->clock_hz;
}

/* Another process: it asks for the very same pinholes, and at once. */
static void test_restart(void)
{
	struct media_saved saved = { 0 };
	struct pinhole_spec before[2];
	struct slot_stats slot = forwarded(700);
	char id[ID_TEXT_MAX];

	begin();
	pin();
	move(MEDIA_B, &phone_at); /* 1000 packets in a pinhole that is gone */
	fake_pinholes_settle(pinholes);
	move(MEDIA_B, &trunk_at);
	fake_pinholes_settle(pinholes);
	tick();
	flow(MEDIA_B, RELAY_STEADY);
	carry(MEDIA_A, 600);
	CU_ASSERT_PTR_NOT_NULL_FATAL(wait_hole(MEDIA_B));
	for (enum media_side side = MEDIA_A; side <= MEDIA_B; side++)
		before[side] = *pinhole_spec(hole(side));
	memcpy(id, rig.group.id, sizeof(id));
	CU_ASSERT_EQUAL_FATAL(media_stream_save(rig.media, 0, &saved), 0);
	end();

	for (bool is_in_the_way = true; is_in_the_way;) { /* the rig takes ports of its own */
		begin();
		is_in_the_way = gate[MEDIA_A].port == saved.sides[MEDIA_A].local.port ||
				gate[MEDIA_B].port == saved.sides[MEDIA_B].local.port;
		if (is_in_the_way)
			end();
	}
	memcpy(rig.group.id, id, sizeof(id));
	media_stream_close(rig.media, 0);
	CU_ASSERT_EQUAL_FATAL(media_stream_restore(rig.media, 0, &saved), 0);
	media_answered(rig.media);
	for (enum media_side side = MEDIA_A; side <= MEDIA_B; side++) {
		gate[side] = rig_local(&rig, side);
		CU_ASSERT_PTR_NOT_NULL_FATAL(hole(side));
		CU_ASSERT(is_same_spec(&before[side], pinhole_spec(hole(side))));
	}
	fake_pinhole_set_stats(hole(MEDIA_A), &slot);
	fake_pinholes_settle(pinholes);
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).packets, 700 + 1000 + RELAY_STEADY);
	settle();
	tick();
	CU_ASSERT_EQUAL(fake_pinholes_opened(pinholes), 2);
	end();
}

static const struct unit_test tests[] = {
	{ "a stream that flows goes to the kernel", test_first_pin },
	{ "the path is told", test_path_is_told },
	{ "XDP leaves a stream to tc", test_xdp_falls_back },
	{ "one direction only", test_one_direction },
	{ "nothing goes to an address that is not known", test_target_must_be_known },
	{ "the callee moves", test_callee_moves },
	{ "an old source does not stay for good", test_old_source_does_not_stay },
	{ "the caller moves behind its NAT", test_private_move },
	{ "latching anew", test_relatch },
	{ "a refresh moves nothing", test_refresh_moves_nothing },
	{ "codec change", test_codec_change },
	{ "codec change on the relay", test_codec_change_on_relay },
	{ "an entry for both directions", test_two_way_entry },
	{ "hold and resume", test_hold_by_direction },
	{ "hold by the zero address", test_hold_by_address },
	{ "refused, and tried again", test_refusal_and_retry },
	{ "a pinhole cannot be opened", test_open_fails },
	{ "the helper is gone", test_helper_is_gone },
	{ "the media closes in every state", test_close_in_every_state },
	{ "withdrawn before it came", test_withdrawn_while_asked },
	{ "lost while it is being removed", test_lost_while_leaving },
	{ "statistics are merged", test_statistics_are_merged },
	{ "strays are no loss", test_strays },
	{ "the time-out sees the kernel's packets", test_timeout_sees_the_kernel },
	{ "the kernel leaves everything to the relay", test_kernel_passes_up },
	{ "an unknown clock is waited for", test_clock_is_waited_for },
	{ "IPv4 to IPv6 stays on the relay", test_families },
	{ "a far end on this host stays on the relay", test_far_end_on_this_host },
	{ "limits by the negotiated bandwidth", test_limits },
	{ "payload types", test_payload_sets },
	{ "a restart", test_restart },
};

UNIT_MAIN("offload", tests)
