/* Packets through real relay threads and loopback sockets. Where a packet must not come through, one that must come
 * through follows it on the same path: nothing waits for silence. */
#include <stdio.h>
#include <unistd.h>

#include "core/loop.h"
#include "media-relay/latch.h"
#include "tests/unit/media_rig.h"
#include "tests/unit/unit.h"

static struct rig rig;
static int phone, trunk; /* far ends of side A and side B */
static struct addr phone_at, trunk_at, gate_a, gate_b; /* gate: where the gateway receives */

static void begin(bool is_ipv6)
{
	struct loop *loop = NULL;

	CU_ASSERT_EQUAL_FATAL(loop_new(&loop), 0);
	rig_open(&rig, loop, is_ipv6, 0);
	phone = rig_socket("127.0.0.31", &phone_at);
	trunk = rig_socket(is_ipv6 ? "::1" : "127.0.0.32", &trunk_at);
	gate_a = rig_local(&rig, MEDIA_A);
	gate_b = rig_local(&rig, MEDIA_B);
}

static void end(void)
{
	rig_close(&rig);
	loop_free(rig.loop);
	close(phone);
	close(trunk);
}

static void answer(void)
{
	rig_remotes(&rig, &phone_at, &trunk_at);
}

static struct addr beside(const struct addr *addr) /* the RTCP port next to an RTP port */
{
	struct addr next = *addr;

	next.port++;
	return next;
}

/* Sends until the other end has the packet. True when it came. */
static bool crosses(int from, const struct addr *gate, int to, uint16_t sequence)
{
	rig_send(from, gate, rig_rtp(0, sequence));
	return rig_is_rtp(to, sequence, NULL);
}

/* A far end that did not say its port, in a realm that learns nothing otherwise: its address is enough, once. */
static void test_open_port(void)
{
	struct addr stranger_at, later_at;
	struct media_remote remote;
	int stranger, later;

	begin(false);
	stranger = rig_socket("127.0.0.33", &stranger_at);
	later = rig_socket("127.0.0.32", &later_at);
	remote = rig_remote(&trunk_at);
	remote.rtp.port = 0;
	remote.is_port_open = true;
	rig_remotes(&rig, &phone_at, NULL);
	media_stream_remote(rig.media, 0, MEDIA_B, &remote, false);
	rig_send(stranger, &gate_b, rig_rtp(0, 1));
	CU_ASSERT(crosses(trunk, &gate_b, phone, 2)); /* and nothing before it */
	rig_send(later, &gate_b, rig_rtp(0, 3));
	CU_ASSERT(crosses(trunk, &gate_b, phone, 4));
	CU_ASSERT(crosses(phone, &gate_a, trunk, 5));
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_B).dropped_source, 2);
	close(stranger);
	close(later);
	end();
}

static void check_both_ways(void)
{
	struct addr source;
	struct media_stats stats;

	answer();
	for (uint16_t i = 0; i < 50; i++) {
		rig_send(phone, &gate_a, rig_rtp(0, i));
		CU_ASSERT(rig_is_rtp(trunk, i, &source));
		CU_ASSERT(addr_eq(&source, &gate_b));
		rig_send(trunk, &gate_b, rig_rtp(8, i));
		CU_ASSERT(rig_is_rtp(phone, i, &source));
		CU_ASSERT(addr_eq(&source, &gate_a));
	}
	for (enum media_side side = MEDIA_A; side <= MEDIA_B; side++) {
		stats = rig_stats(&rig, side);
		CU_ASSERT_EQUAL(stats.packets, 50);
		CU_ASSERT_EQUAL(stats.bytes, 50 * 172);
		CU_ASSERT_EQUAL(stats.lost, 0);
		CU_ASSERT_EQUAL(stats.latch, LATCH_LOCKED);
		CU_ASSERT(addr_eq(&stats.latched, side == MEDIA_A ? &phone_at : &trunk_at));
		CU_ASSERT(addr_eq(&stats.local, side == MEDIA_A ? &gate_a : &gate_b));
		CU_ASSERT(addr_eq(&stats.signalled, side == MEDIA_A ? &phone_at : &trunk_at));
		CU_ASSERT_EQUAL(stats.path, MEDIA_PATH_RELAY);
		CU_ASSERT(stats.last_packet_age_ms < 60000);
		CU_ASSERT(rig_wait_count(&rig, &rig.latched[side], 1));
	}
}

static void test_both_ways(void)
{
	begin(false);
	check_both_ways();
	end();
}

static void test_ipv4_to_ipv6(void)
{
	if (!rig_has_ipv6())
		return;
	begin(true);
	CU_ASSERT_EQUAL(gate_b.family, AF_INET6);
	check_both_ways();
	end();
}

static void test_loss_is_counted(void)
{
	begin(false);
	answer();
	CU_ASSERT(crosses(phone, &gate_a, trunk, 1));
	CU_ASSERT(crosses(phone, &gate_a, trunk, 5));
	CU_ASSERT(crosses(phone, &gate_a, trunk, 4));
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).lost, 2);
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).reordered, 1);
	end();
}

static void test_early_packets(void)
{
	struct media_stats stats;

	begin(false);
	rig_send(phone, &gate_a, rig_rtp(0, 1)); /* nothing is known */
	rig_remotes(&rig, &phone_at, NULL);
	rig_send(phone, &gate_a, rig_rtp(0, 2)); /* the answer is not known */
	rig_send(trunk, &gate_b, rig_rtp(0, 2));
	/* Both sides: a packet still waiting in its socket is judged by what is known when it is read. */
	for (int i = 0; i < 2000 && (rig_stats(&rig, MEDIA_A).dropped_early < 2 ||
				     rig_stats(&rig, MEDIA_B).dropped_early < 1); i++)
		rig_pause_ms(1);
	rig_remotes(&rig, NULL, &trunk_at);
	CU_ASSERT(crosses(phone, &gate_a, trunk, 3));
	CU_ASSERT(crosses(trunk, &gate_b, phone, 3));
	stats = rig_stats(&rig, MEDIA_A);
	CU_ASSERT_EQUAL(stats.dropped_early, 2);
	CU_ASSERT_EQUAL(stats.packets, 1);
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_B).dropped_early, 1);
	end();
}

static void test_bad_packets(void)
{
	static const struct span bad[] = {
		SPAN_LIT("\x80\0\0\1\0\0\0\1\0\0\0"),         /* short */
		SPAN_LIT("\x40\0\0\1\0\0\0\1\0\0\0\1payload"), /* version 1 */
		SPAN_LIT("\xa0\0\0\1\0\0\0\1\0\0\0\1\x20"),    /* padding over payload */
		SPAN_LIT("\0\1\0\0\x21\x12\xa4\x42" "aaaabbbbcccc"), /* STUN */
		SPAN_LIT("\x80\xc9\0\1\1\2\3\4"),             /* RTCP without rtcp-mux */
		SPAN_LIT("\x16\xfe\xff\0\0\0\0\0\0\0\0\0\0"),  /* DTLS */
		SPAN_LIT(""),
	};
	struct media_stats stats;

	begin(false);
	answer();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		rig_send(phone, &gate_a, bad[i]);
	rig_send(phone, &gate_a, rig_rtp(3, 1)); /* not negotiated */
	CU_ASSERT(crosses(phone, &gate_a, trunk, 7));
	stats = rig_stats(&rig, MEDIA_A);
	CU_ASSERT_EQUAL(stats.dropped_format, sizeof(bad) / sizeof(bad[0]));
	CU_ASSERT_EQUAL(stats.dropped_payload, 1);
	CU_ASSERT_EQUAL(stats.packets, 1);
	end();
}

static void test_oversized_datagram(void)
{
	static char large[10000] = { (char)0x80 };

	begin(false);
	answer();
	rig_send(phone, &gate_a, (struct span){ large, sizeof(large) });
	CU_ASSERT(crosses(phone, &gate_a, trunk, 1));
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).dropped_format, 1);
	end();
}

static void test_stun_does_not_latch(void)
{
	struct addr third_at;
	struct addr private_at = { 0 };
	int third;

	begin(false);
	third = rig_socket("127.0.0.33", &third_at);
	addr_parse(SPAN_LIT("10.9.9.9:4000"), &private_at);
	rig_remotes(&rig, &private_at, &trunk_at); /* any source may lock, at once */
	rig_send(third, &gate_a, SPAN_LIT("\0\1\0\0\x21\x12\xa4\x42" "aaaabbbbcccc"));
	rig_send(third, &gate_a, rig_rtcp());
	rig_send(third, &gate_a, rig_rtp(3, 1));
	CU_ASSERT(crosses(phone, &gate_a, trunk, 1));
	rig_send(third, &gate_a, rig_rtp(0, 2)); /* too late */
	CU_ASSERT(crosses(phone, &gate_a, trunk, 3));
	CU_ASSERT(crosses(trunk, &gate_b, phone, 3)); /* nothing was sent to 10.9.9.9 */
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).dropped_source, 1);
	CU_ASSERT(rig_is_quiet(third));
	close(third);
	end();
}

static void test_private_waits_for_latch(void)
{
	struct addr private_at = { 0 };
	struct media_stats stats;

	begin(false);
	addr_parse(SPAN_LIT("192.168.1.2:4000"), &private_at);
	rig_remotes(&rig, &private_at, &trunk_at);
	rig_send(trunk, &gate_b, rig_rtp(0, 1));
	for (int i = 0; i < 2000 && rig_stats(&rig, MEDIA_B).dropped_early < 1; i++)
		rig_pause_ms(1);
	CU_ASSERT(crosses(phone, &gate_a, trunk, 1));
	CU_ASSERT(crosses(trunk, &gate_b, phone, 2));
	stats = rig_stats(&rig, MEDIA_B);
	CU_ASSERT_EQUAL(stats.packets, 2);
	CU_ASSERT_EQUAL(stats.dropped_early, 1);
	end();
}

static void test_same_ip_needs_grace(void)
{
	struct addr nat_at;
	int nat;
	bool is_locked = false;

	begin(false);
	nat = rig_socket("127.0.0.31", &nat_at); /* the phone's IP, another port */
	answer();
	for (uint16_t i = 0; i < 1000 && !is_locked; i++) {
		rig_send(nat, &gate_a, rig_rtp(0, i));
		rig_pause_ms(5);
		is_locked = rig_stats(&rig, MEDIA_A).latch == LATCH_LOCKED;
	}
	CU_ASSERT(is_locked);
	CU_ASSERT(rig_stats(&rig, MEDIA_A).dropped_source > 0);
	CU_ASSERT(crosses(trunk, &gate_b, nat, 1)); /* media goes where it came from */
	CU_ASSERT(rig_is_quiet(phone));
	close(nat);
	end();
}

static void test_strict_side(void)
{
	struct addr other_at;
	int other;

	begin(false);
	other = rig_socket("127.0.0.32", &other_at);
	answer();
	rig_send(other, &gate_b, rig_rtp(0, 1));
	CU_ASSERT(crosses(trunk, &gate_b, phone, 2));
	rig_send(other, &gate_b, rig_rtp(0, 3));
	CU_ASSERT(crosses(trunk, &gate_b, phone, 4));
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_B).dropped_source, 2);
	close(other);
	end();
}

static void test_relatch(void)
{
	struct media_remote remote;
	struct addr moved_at;
	int moved;

	begin(false);
	moved = rig_socket("127.0.0.34", &moved_at);
	answer();
	CU_ASSERT(crosses(phone, &gate_a, trunk, 1));
	CU_ASSERT(rig_wait_count(&rig, &rig.latched[MEDIA_A], 1));
	rig_send(moved, &gate_a, rig_rtp(0, 2));
	CU_ASSERT(crosses(phone, &gate_a, trunk, 3)); /* locked: the packet from elsewhere is gone */
	answer();                                      /* the same again opens nothing */
	rig_send(moved, &gate_a, rig_rtp(0, 4));
	CU_ASSERT(crosses(phone, &gate_a, trunk, 5));
	remote = rig_remote(&phone_at);
	media_stream_remote(rig.media, 0, MEDIA_A, &remote, true);
	CU_ASSERT(crosses(trunk, &gate_b, phone, 6)); /* until it locks again, media keeps its way */
	CU_ASSERT(crosses(phone, &gate_a, trunk, 6));
	CU_ASSERT(rig_wait_count(&rig, &rig.latched[MEDIA_A], 2));
	remote = rig_remote(&moved_at);
	media_stream_remote(rig.media, 0, MEDIA_A, &remote, false);
	CU_ASSERT(crosses(moved, &gate_a, trunk, 7));
	CU_ASSERT(crosses(trunk, &gate_b, moved, 8));
	rig_send(phone, &gate_a, rig_rtp(0, 9));
	CU_ASSERT(crosses(moved, &gate_a, trunk, 10));
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).dropped_source, 3);
	CU_ASSERT(rig_wait_count(&rig, &rig.latched[MEDIA_A], 3));
	close(moved);
	end();
}

static void test_rtcp_on_its_port(void)
{
	char bytes[100];
	size_t len = sizeof(bytes);
	struct addr phone_rtcp_at, trunk_rtcp_at, source, gate_a_rtcp, gate_b_rtcp;
	struct media_remote remote;
	int phone_rtcp, trunk_rtcp;

	begin(false);
	phone_rtcp = rig_socket("127.0.0.31", &phone_rtcp_at);
	trunk_rtcp = rig_socket("127.0.0.32", &trunk_rtcp_at);
	remote = rig_remote(&phone_at);
	remote.rtcp = phone_rtcp_at;
	media_stream_remote(rig.media, 0, MEDIA_A, &remote, false);
	remote = rig_remote(&trunk_at);
	remote.rtcp = trunk_rtcp_at;
	media_stream_remote(rig.media, 0, MEDIA_B, &remote, false);
	gate_a_rtcp = beside(&gate_a);
	gate_b_rtcp = beside(&gate_b);
	rig_send(phone_rtcp, &gate_a_rtcp, SPAN_LIT("\x80\xc9\0\0"));
	rig_send(phone_rtcp, &gate_a_rtcp, SPAN_LIT("\x81\xcb\0\1\1\2\3\4")); /* BYE: passes, ends nothing */
	CU_ASSERT(rig_receive(trunk_rtcp, bytes, &len, &source));
	CU_ASSERT_EQUAL(len, 8);
	CU_ASSERT(addr_eq(&source, &gate_b_rtcp));
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).latch, LATCH_OPEN); /* RTP is not locked by it */
	CU_ASSERT(crosses(phone, &gate_a, trunk, 1));
	len = sizeof(bytes);
	rig_send(trunk_rtcp, &gate_b_rtcp, rig_rtcp());
	CU_ASSERT(rig_receive(phone_rtcp, bytes, &len, &source));
	CU_ASSERT(addr_eq(&source, &gate_a_rtcp));
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).rtcp_packets, 1);
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).dropped_format, 1);
	close(phone_rtcp);
	close(trunk_rtcp);
	end();
}

/* Side A shares the port, side B does not. */
static void test_rtcp_mux(void)
{
	char bytes[100];
	size_t len = sizeof(bytes);
	struct addr trunk_rtcp_at, third_at, gate_b_rtcp;
	struct media_remote remote;
	int trunk_rtcp, third;

	begin(false);
	trunk_rtcp = rig_socket("127.0.0.32", &trunk_rtcp_at);
	third = rig_socket("127.0.0.33", &third_at);
	gate_b_rtcp = beside(&gate_b);
	remote = rig_remote(&phone_at);
	remote.rtcp_mux = true;
	media_stream_remote(rig.media, 0, MEDIA_A, &remote, false);
	remote = rig_remote(&trunk_at);
	remote.rtcp = trunk_rtcp_at;
	media_stream_remote(rig.media, 0, MEDIA_B, &remote, false);
	rig_send(third, &gate_a, rig_rtcp());
	rig_send(phone, &gate_a, rig_rtcp());
	CU_ASSERT(rig_receive(trunk_rtcp, bytes, &len, NULL));
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).latch, LATCH_OPEN);
	CU_ASSERT(crosses(phone, &gate_a, trunk, 1));
	rig_send(phone, &gate_a, rig_rtcp());
	len = sizeof(bytes);
	CU_ASSERT(rig_receive(trunk_rtcp, bytes, &len, NULL));
	len = sizeof(bytes);
	rig_send(trunk_rtcp, &gate_b_rtcp, rig_rtcp());
	CU_ASSERT(rig_receive(phone, bytes, &len, NULL));
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).rtcp_packets, 2);
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).dropped_source, 1);
	close(trunk_rtcp);
	close(third);
	end();
}

static void test_plain_datagrams(void)
{
	char bytes[100];
	size_t len = sizeof(bytes);
	struct media_remote remote;

	begin(false);
	remote = rig_remote(&phone_at);
	remote.is_rtp = false;
	media_stream_remote(rig.media, 0, MEDIA_A, &remote, false);
	remote = rig_remote(&trunk_at);
	remote.is_rtp = false;
	media_stream_remote(rig.media, 0, MEDIA_B, &remote, false);
	rig_send(phone, &gate_a, SPAN_LIT("\0\1\0\0\x21\x12\xa4\x42" "aaaabbbbcccc")); /* STUN still not */
	rig_send(phone, &gate_a, SPAN_LIT("\0\1fax"));
	CU_ASSERT(rig_receive(trunk, bytes, &len, NULL));
	CU_ASSERT_EQUAL(len, 5);
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).dropped_format, 1);
	end();
}

static void test_burst_comes_through_in_order(void)
{
	begin(false);
	answer();
	CU_ASSERT(crosses(phone, &gate_a, trunk, 0));
	for (uint16_t round = 0; round < 10; round++) {
		for (uint16_t i = 1; i <= 60; i++)
			rig_send(phone, &gate_a, rig_rtp(0, (uint16_t)(round * 60 + i)));
		for (uint16_t i = 1; i <= 60; i++)
			CU_ASSERT(rig_is_rtp(trunk, (uint16_t)(round * 60 + i), NULL));
	}
	for (int i = 0; i < 2000 && rig_stats(&rig, MEDIA_A).sent < 601; i++) /* counted after the send has returned */
		rig_pause_ms(1);
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).sent, 601);
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_A).dropped_overload, 0);
	end();
}

/* A flood from the right source is cut to RELAY_PPS_MAX; afterwards the stream flows as before. */
static void test_flood_is_limited(void)
{
	struct media_stats stats;
	uint8_t bytes[2048];
	size_t len;

	begin(false);
	answer();
	for (int i = 0; i < 60000; i++) {
		rig_send(phone, &gate_a, rig_rtp(0, (uint16_t)i));
		while (i % 16 == 0 && !rig_is_quiet(trunk)) {
			len = sizeof(bytes);
			rig_receive(trunk, bytes, &len, NULL);
		}
	}
	CU_ASSERT(crosses(trunk, &gate_b, phone, 1)); /* the other direction is untouched */
	do {
		rig_pause_ms(20);
		while (!rig_is_quiet(trunk)) {
			len = sizeof(bytes);
			rig_receive(trunk, bytes, &len, NULL);
		}
		stats = rig_stats(&rig, MEDIA_A);
	} while (stats.last_packet_age_ms < 10);
	CU_ASSERT(stats.packets > 0);
	CU_ASSERT(stats.packets + stats.dropped_overload <= 60000);
	CU_ASSERT(crosses(phone, &gate_a, trunk, 40000));
	end();
}

static void test_bandwidth_is_limited(void)
{
	struct media_remote remote;
	struct media_stats stats;
	uint8_t bytes[2048];
	size_t len;

	begin(false);
	remote = rig_remote(&trunk_at);
	remote.bandwidth_bps = 1; /* so 32 kB/s: 160 packets, and as many each second */
	media_stream_remote(rig.media, 0, MEDIA_B, &remote, false);
	rig_remotes(&rig, &phone_at, NULL);
	for (int i = 0; i < 3000; i++) {
		rig_send(phone, &gate_a, rig_rtp(0, (uint16_t)i));
		if (i % 16 != 0)
			continue;
		CU_ASSERT(crosses(trunk, &gate_b, phone, (uint16_t)i)); /* the other direction is untouched */
		while (!rig_is_quiet(trunk)) {
			len = sizeof(bytes);
			rig_receive(trunk, bytes, &len, NULL);
		}
	}
	stats = rig_stats(&rig, MEDIA_A);
	CU_ASSERT(stats.packets >= 150);
	CU_ASSERT(stats.packets < 2000);
	CU_ASSERT(stats.dropped_overload > 0);
	end();
}

static const struct unit_test tests[] = {
	{ "a port that was not said", test_open_port },
	{ "both ways", test_both_ways },
	{ "IPv4 to IPv6", test_ipv4_to_ipv6 },
	{ "loss and reordering are counted", test_loss_is_counted },
	{ "nothing passes before the answer", test_early_packets },
	{ "bad packets are dropped by reason", test_bad_packets },
	{ "datagrams over the limit are dropped", test_oversized_datagram },
	{ "STUN, RTCP and foreign payload types do not latch", test_stun_does_not_latch },
	{ "a private address is sent to once it has shown itself", test_private_waits_for_latch },
	{ "same IP, other port: after the grace", test_same_ip_needs_grace },
	{ "nat off: only the signalled source", test_strict_side },
	{ "latching again by signalling only", test_relatch },
	{ "RTCP on its own port", test_rtcp_on_its_port },
	{ "RTCP on RTP's port", test_rtcp_mux },
	{ "plain datagrams", test_plain_datagrams },
	{ "bursts come through in order", test_burst_comes_through_in_order },
	{ "a flood is limited and recovers", test_flood_is_limited },
	{ "the receiver's bandwidth limits the sender", test_bandwidth_is_limited },
};

UNIT_MAIN("relay", tests)
