/* pinhole/limits.h: each rule, at its edges. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "pinhole/limits.h"
#include "tests/unit/pinholed_rig.h"
#include "tests/unit/unit.h"

static struct limits limits;

static void seal_with(bool may_reach_loopback)
{
	struct wire_limit own[4];
	struct wire_capture captures[RIG_CAPTURES];
	struct wire_seal seal = pinholed_rig_limits(own);

	pinholed_rig_captures(captures);
	memset(&limits, 0, sizeof(limits));
	seal.may_reach_loopback = may_reach_loopback;
	for (int i = 0; i < 4; i++)
		CU_ASSERT_EQUAL_FATAL(limits_add(&limits, &own[i]), LIMITS_OK);
	for (int i = 0; i < RIG_CAPTURES; i++)
		CU_ASSERT_EQUAL_FATAL(limits_add_capture(&limits, &captures[i]), LIMITS_OK);
	CU_ASSERT_EQUAL_FATAL(limits_seal(&limits, &seal), LIMITS_OK);
}

static void check(size_t row, enum limits_verdict got, enum limits_verdict expected)
{
	if (got != expected)
		printf("# row %zu: %s; expected: %s\n", row, limits_text(got), limits_text(expected));
	CU_ASSERT_EQUAL(got, expected);
}

static void texts(void)
{
	for (int i = 0; i < LIMITS_VERDICTS; i++) {
		CU_ASSERT_PTR_NOT_NULL_FATAL(limits_text((enum limits_verdict)i));
		CU_ASSERT(strlen(limits_text((enum limits_verdict)i)) < WIRE_REASON_MAX);
	}
}

static void of_the_limits(void)
{
	static const struct {
		const char *addr;
		uint16_t min, max;
		enum limits_verdict verdict;
	} rows[] = {
		{ "192.0.2.1", 20000, 20000, LIMITS_OK },
		{ "127.0.0.1", 1024, 65535, LIMITS_OK },
		{ "fe80::1", 20000, 29999, LIMITS_OK },
		{ "224.0.0.1", 20000, 29999, LIMITS_OWN_KIND },
		{ "0.0.0.0", 20000, 29999, LIMITS_OWN_KIND },
		{ "255.255.255.255", 20000, 29999, LIMITS_OWN_KIND },
		{ "::", 20000, 29999, LIMITS_OWN_KIND },
		{ "ff02::1", 20000, 29999, LIMITS_OWN_KIND },
		{ "-", 20000, 29999, LIMITS_OWN_KIND },
		{ "192.0.2.1", 1023, 29999, LIMITS_OWN_PORTS },
		{ "192.0.2.1", 20001, 20000, LIMITS_OWN_PORTS },
		{ "192.0.2.1", 0, 0, LIMITS_OWN_PORTS },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_limit own = { .addr = pinholed_rig_addr(rows[i].addr), .port_min = rows[i].min, .port_max = rows[i].max };

		memset(&limits, 0, sizeof(limits));
		check(i, limits_add(&limits, &own), rows[i].verdict);
	}
	memset(&limits, 0, sizeof(limits));
	for (int i = 0; i <= WIRE_OWN_MAX; i++) {
		struct wire_limit own = { .addr = pinholed_rig_addr("192.0.2.1"), .port_min = 20000, .port_max = 29999 };

		CU_ASSERT_EQUAL(limits_add(&limits, &own), i < WIRE_OWN_MAX ? LIMITS_OK : LIMITS_FULL);
	}
}

static void of_the_seal(void)
{
	struct wire_limit own[4];
	const struct wire_seal good = pinholed_rig_limits(own);
	struct wire_seal seal = good;
	struct wire_pinhole pinhole = pinholed_rig_pinhole(1);

	memset(&limits, 0, sizeof(limits));
	CU_ASSERT_EQUAL(limits_seal(&limits, &seal), LIMITS_NO_OWN);
	for (int i = 0; i < 3; i++)
		limits_add(&limits, &own[i]);
	CU_ASSERT_EQUAL(limits_pinhole(&limits, &pinhole), LIMITS_NOT_SEALED);
	seal.pinholes_max = 0;
	CU_ASSERT_EQUAL(limits_seal(&limits, &seal), LIMITS_SEAL_VALUES);
	seal.pinholes_max = LIMITS_PINHOLES_MAX + 1;
	CU_ASSERT_EQUAL(limits_seal(&limits, &seal), LIMITS_SEAL_VALUES);
	seal = good;
	seal.lifetime_max_s = LIMITS_LIFETIME_MAX_S + 1;
	CU_ASSERT_EQUAL(limits_seal(&limits, &seal), LIMITS_SEAL_VALUES);
	seal = good;
	seal.port_floor = 0;
	CU_ASSERT_EQUAL(limits_seal(&limits, &seal), LIMITS_SEAL_VALUES);
	CU_ASSERT_EQUAL(limits_seal(&limits, &good), LIMITS_OK);
	CU_ASSERT_EQUAL(limits_seal(&limits, &good), LIMITS_SEALED);
	CU_ASSERT_EQUAL(limits_add(&limits, &own[3]), LIMITS_SEALED);
	CU_ASSERT_EQUAL(limits_pinhole(&limits, &pinhole), LIMITS_OK);
}

#define SIDES "192.0.2.10:20001", "198.51.100.10:20002"
static void of_the_ends(void)
{
	static const struct {
		const char *listen, *from, *source, *target;
		uint16_t realm_in, realm_out;
		enum limits_verdict verdict;
	} rows[] = {
		{ SIDES, "192.0.2.77:4000", "198.51.100.77:4000", 0, 1, LIMITS_OK },
		{ "198.51.100.10:20002", "192.0.2.10:20001", "198.51.100.77:1024", "192.0.2.77:65535", 1, 0, LIMITS_OK },
		{ "192.0.2.10:20000", "192.0.2.10:29999", "192.0.2.77:4000", "192.0.2.78:4000", 0, 0, LIMITS_OK },
		{ "[2001:db8::a]:20000", "[2001:db8::a]:29999", "[2001:db8::5]:4000", "[2001:db8::6]:4000", 0, 0, LIMITS_OK },
		{ SIDES, "192.0.2.77", "198.51.100.77:4000", 0, 1, LIMITS_OK }, /* any port */
		{ SIDES, "-", "198.51.100.77:4000", 0, 1, LIMITS_OK },           /* any host */
		{ "192.0.2.11:20001", "198.51.100.10:20002", "192.0.2.77:4000", "198.51.100.77:4000", 0, 1, LIMITS_LISTEN_ADDRESS },
		{ "-", "198.51.100.10:20002", "192.0.2.77:4000", "198.51.100.77:4000", 0, 1, LIMITS_LISTEN_ADDRESS },
		{ "0.0.0.0:20001", "198.51.100.10:20002", "192.0.2.77:4000", "198.51.100.77:4000", 0, 1, LIMITS_LISTEN_ADDRESS },
		{ "192.0.2.10:19999", "198.51.100.10:20002", "192.0.2.77:4000", "198.51.100.77:4000", 0, 1, LIMITS_LISTEN_PORT },
		{ "192.0.2.10:30000", "198.51.100.10:20002", "192.0.2.77:4000", "198.51.100.77:4000", 0, 1, LIMITS_LISTEN_PORT },
		{ "192.0.2.10", "198.51.100.10:20002", "192.0.2.77:4000", "198.51.100.77:4000", 0, 1, LIMITS_LISTEN_PORT },
		{ "192.0.2.10:20001", "198.51.100.11:20002", "192.0.2.77:4000", "198.51.100.77:4000", 0, 1, LIMITS_FROM_ADDRESS },
		{ "192.0.2.10:20001", "198.51.100.10:22", "192.0.2.77:4000", "198.51.100.77:4000", 0, 1, LIMITS_FROM_PORT },
		{ SIDES, "192.0.2.77:4000", "198.51.100.77:4000", 1, 0, LIMITS_LISTEN_ADDRESS }, /* realms swapped */
		{ SIDES, "192.0.2.77:4000", "198.51.100.77:4000", 0, 0, LIMITS_FROM_ADDRESS },
		{ SIDES, "192.0.2.77:4000", "198.51.100.77:4000", 0, 65535, LIMITS_FROM_ADDRESS },
		{ "[2001:db8::a]:20000", "198.51.100.10:20002", "[2001:db8::5]:4000", "198.51.100.77:4000", 0, 1, LIMITS_FAMILIES },
		{ SIDES, "192.0.2.77:4000", "[2001:db8::6]:4000", 0, 1, LIMITS_FAMILIES },
		{ SIDES, "[2001:db8::6]:4000", "198.51.100.77:4000", 0, 1, LIMITS_FAMILIES },
		{ SIDES, "192.0.2.77:4000", "-", 0, 1, LIMITS_NO_TARGET },
		{ SIDES, "192.0.2.77:4000", "198.51.100.77", 0, 1, LIMITS_NO_TARGET },
		{ SIDES, "192.0.2.77:4000", "198.51.100.77:1023", 0, 1, LIMITS_PEER_PORT },
		{ SIDES, "192.0.2.77:1023", "198.51.100.77:4000", 0, 1, LIMITS_PEER_PORT },
		{ SIDES, "192.0.2.77:4000", "198.51.100.10:4000", 0, 1, LIMITS_PEER_OWN },
		{ SIDES, "192.0.2.77:4000", "192.0.2.10:4000", 0, 1, LIMITS_PEER_OWN }, /* of the other realm */
		{ SIDES, "192.0.2.10:4000", "198.51.100.77:4000", 0, 1, LIMITS_PEER_OWN },
		{ SIDES, "192.0.2.77:4000", "0.0.0.0:4000", 0, 1, LIMITS_PEER_UNSPECIFIED },
		{ SIDES, "0.0.0.0:4000", "198.51.100.77:4000", 0, 1, LIMITS_PEER_UNSPECIFIED },
		{ SIDES, "192.0.2.77:4000", "127.0.0.1:4000", 0, 1, LIMITS_PEER_LOOPBACK },
		{ SIDES, "127.255.0.1:4000", "198.51.100.77:4000", 0, 1, LIMITS_PEER_LOOPBACK },
		{ SIDES, "192.0.2.77:4000", "169.254.169.254:4000", 0, 1, LIMITS_PEER_LINK_LOCAL },
		{ SIDES, "192.0.2.77:4000", "239.255.255.250:4000", 0, 1, LIMITS_PEER_MULTICAST },
		{ SIDES, "192.0.2.77:4000", "255.255.255.255:4000", 0, 1, LIMITS_PEER_BROADCAST },
		{ SIDES, "192.0.2.77:4000", "240.0.0.1:4000", 0, 1, LIMITS_PEER_BROADCAST },
		{ SIDES, "192.0.2.77:4000", "0.0.0.1:4000", 0, 1, LIMITS_PEER_BROADCAST },
		{ "[2001:db8::a]:20000", "[2001:db8::a]:20002", "[2001:db8::5]:4000", "[::1]:4000", 0, 0, LIMITS_PEER_LOOPBACK },
		{ "[2001:db8::a]:20000", "[2001:db8::a]:20002", "[2001:db8::5]:4000", "[fe80::1]:4000", 0, 0, LIMITS_PEER_LINK_LOCAL },
		{ "[2001:db8::a]:20000", "[2001:db8::a]:20002", "[2001:db8::5]:4000", "[ff0e::1]:4000", 0, 0, LIMITS_PEER_MULTICAST },
	};

	seal_with(false);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_pinhole pinhole = pinholed_rig_pinhole(1);

		pinhole.listen = pinholed_rig_addr(rows[i].listen);
		pinhole.from = pinholed_rig_addr(rows[i].from);
		pinhole.source = pinholed_rig_addr(rows[i].source);
		pinhole.target = pinholed_rig_addr(rows[i].target);
		pinhole.realm_in = rows[i].realm_in;
		pinhole.realm_out = rows[i].realm_out;
		check(i, limits_pinhole(&limits, &pinhole), rows[i].verdict);
	}
}

/* Demonstrations on one machine: from a realm on loopback to a realm on loopback, and nowhere else. */
static void of_loopback(void)
{
	struct wire_pinhole inside = pinholed_rig_pinhole(1), out, in;

	inside.listen = pinholed_rig_loopback(20000);
	inside.from = pinholed_rig_loopback(20002);
	inside.source = pinholed_rig_addr("127.0.0.1:4000");
	inside.target = pinholed_rig_addr("127.0.0.1:4002");
	inside.realm_in = inside.realm_out = 2;
	out = in = inside;
	out.listen = pinholed_rig_addr("192.0.2.10:20000");
	out.source = pinholed_rig_addr("192.0.2.77:4000");
	out.realm_in = 0;
	in.from = pinholed_rig_addr("192.0.2.10:20000");
	in.realm_out = 0;
	seal_with(false);
	CU_ASSERT_EQUAL(limits_pinhole(&limits, &inside), LIMITS_PEER_LOOPBACK);
	seal_with(true);
	CU_ASSERT_EQUAL(limits_pinhole(&limits, &inside), LIMITS_OK);
	CU_ASSERT_EQUAL(limits_pinhole(&limits, &out), LIMITS_OK); /* both sides are what they say */
	CU_ASSERT_EQUAL(limits_pinhole(&limits, &in), LIMITS_PEER_LOOPBACK);
}

static void of_values(void)
{
	static const struct {
		uint32_t packets, bytes, lifetime, clock;
		uint8_t proto, flags;
		uint64_t payloads[2];
		enum limits_verdict verdict;
	} rows[] = {
		{ 1, 1, 1, 0, IPPROTO_UDP, 0, { 0 }, LIMITS_OK },
		{ LIMITS_PACKETS_MAX, LIMITS_BYTES_MAX, 600, 90000, IPPROTO_UDP, WIRE_RTP, { 1 }, LIMITS_OK },
		{ 0, 1, 1, 0, IPPROTO_UDP, 0, { 0 }, LIMITS_RATE },
		{ 1, 0, 1, 0, IPPROTO_UDP, 0, { 0 }, LIMITS_RATE },
		{ LIMITS_PACKETS_MAX + 1, 1, 1, 0, IPPROTO_UDP, 0, { 0 }, LIMITS_RATE },
		{ 1, LIMITS_BYTES_MAX + 1U, 1, 0, IPPROTO_UDP, 0, { 0 }, LIMITS_RATE },
		{ 1, 1, 0, 0, IPPROTO_UDP, 0, { 0 }, LIMITS_LIFETIME },
		{ 1, 1, 601, 0, IPPROTO_UDP, 0, { 0 }, LIMITS_LIFETIME },
		{ 1, 1, 1, 8000, IPPROTO_UDP, 0, { 0 }, LIMITS_RTP },
		{ 1, 1, 1, LIMITS_CLOCK_MAX_HZ + 1, IPPROTO_UDP, WIRE_RTP, { 1 }, LIMITS_RTP },
		{ 1, 1, 1, 0, IPPROTO_UDP, WIRE_RTP, { 0 }, LIMITS_RTP },
		{ 1, 1, 1, 0, IPPROTO_UDP, 0, { 1 }, LIMITS_RTP },
		{ 1, 1, 1, 0, IPPROTO_TCP, WIRE_RTP, { 1 }, LIMITS_RTP },
		{ 1, 1, 1, 0, IPPROTO_UDP, WIRE_RTP, { 0, 1 << 7 | 1 << 13 }, LIMITS_OK },
		{ 1, 1, 1, 0, IPPROTO_UDP, WIRE_RTP, { 0, 1 << 8 }, LIMITS_RTP },  /* 72 */
		{ 1, 1, 1, 0, IPPROTO_UDP, WIRE_RTP, { 0, 1 << 12 }, LIMITS_RTP }, /* 76 */
		{ 1, 1, 1, 0, IPPROTO_TCP, WIRE_ONE_SHOT, { 0 }, LIMITS_OK },
		{ 1, 1, 1, 0, IPPROTO_UDP, WIRE_ONE_SHOT, { 0 }, LIMITS_FLAGS },
		{ 1, 1, 1, 0, IPPROTO_UDP, WIRE_HANDED_OVER, { 0 }, LIMITS_OK },
		{ 1, 1, 1, 0, IPPROTO_TCP, WIRE_HANDED_OVER, { 0 }, LIMITS_FLAGS },
	};

	seal_with(false);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_pinhole pinhole = pinholed_rig_pinhole(1);

		pinhole.packets_per_s = rows[i].packets;
		pinhole.bytes_per_s = rows[i].bytes;
		pinhole.lifetime_s = rows[i].lifetime;
		pinhole.clock_hz = rows[i].clock;
		pinhole.proto = rows[i].proto;
		pinhole.flags = rows[i].flags;
		memcpy(pinhole.payloads, rows[i].payloads, sizeof(pinhole.payloads));
		check(i, limits_pinhole(&limits, &pinhole), rows[i].verdict);
	}
}

static void of_captures(void)
{
	static const struct {
		const char *servers, *to;
		uint8_t bits;
		uint16_t realm, realm_to;
		enum limits_verdict verdict;
	} rows[] = {
		{ "198.51.100.64", "127.0.0.1:18500", 26, 0, 1, LIMITS_OK },
		{ "198.51.100.64", "127.66.1.1:1024", 32, 1, 0, LIMITS_OK },
		{ "0.0.0.0", "127.0.0.1:18500", 0, 0, 1, LIMITS_OK },
		{ "0.0.0.0", "127.0.0.1:18500", 1, 0, 1, LIMITS_OK },
		{ "::", "[::1]:18500", 0, 0, 0, LIMITS_OK },
		{ "198.51.100.64", "127.0.0.1:18500", 26, 7, 1, LIMITS_CAPTURE_REALM },
		{ "198.51.100.64", "127.0.0.1:18500", 26, 0, 7, LIMITS_CAPTURE_REALM },
		{ "127.0.0.0", "127.0.0.1:18500", 8, 0, 1, LIMITS_CAPTURE_SERVERS },
		{ "169.254.0.0", "127.0.0.1:18500", 16, 0, 1, LIMITS_CAPTURE_SERVERS },
		{ "224.0.0.0", "127.0.0.1:18500", 4, 0, 1, LIMITS_CAPTURE_SERVERS },
		{ "0.0.0.0", "127.0.0.1:18500", 32, 0, 1, LIMITS_CAPTURE_SERVERS },
		{ "198.51.100.64", "127.0.0.1:1023", 26, 0, 1, LIMITS_CAPTURE_TO },
		{ "198.51.100.64", "192.0.2.10:18500", 26, 0, 1, LIMITS_CAPTURE_TO },
		{ "198.51.100.64", "0.0.0.0:18500", 26, 0, 1, LIMITS_CAPTURE_TO },
	};
	struct wire_capture capture = { .ports = { 21 }, .proto = IPPROTO_TCP };
	struct wire_limit own[4];
	struct wire_seal seal = pinholed_rig_limits(own);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memset(&limits, 0, sizeof(limits));
		for (int k = 0; k < 4; k++)
			limits_add(&limits, &own[k]);
		capture.servers = pinholed_rig_addr(rows[i].servers);
		capture.to = pinholed_rig_addr(rows[i].to);
		capture.bits = rows[i].bits;
		capture.realm = rows[i].realm;
		capture.realm_to = rows[i].realm_to;
		check(i, limits_add_capture(&limits, &capture), rows[i].verdict);
		CU_ASSERT_EQUAL(limits.n_captures, rows[i].verdict == LIMITS_OK);
	}
	pinholed_rig_captures(limits.captures);
	capture = limits.captures[0];
	limits.n_captures = 0;
	for (int i = 0; i <= WIRE_CAPTURES_MAX; i++)
		CU_ASSERT_EQUAL(limits_add_capture(&limits, &capture), i < WIRE_CAPTURES_MAX ? LIMITS_OK : LIMITS_CAPTURES_FULL);
	limits.n_captures = 0;
	CU_ASSERT_EQUAL(limits_seal(&limits, &seal), LIMITS_OK);
	CU_ASSERT_EQUAL(limits_add_capture(&limits, &capture), LIMITS_SEALED);
}

#define CLIENT "192.0.2.77"
#define SERVER "198.51.100.65:4000"
static void of_foreign_ends(void)
{
	static const struct {
		uint8_t flags, proto;
		const char *listen, *from, *source, *target;
		uint16_t realm_in, realm_out;
		enum limits_verdict verdict;
	} rows[] = {
		/* A client goes to a server, which sees the gateway. */
		{ WIRE_THROUGH, IPPROTO_TCP, SERVER, "198.51.100.10:20002", CLIENT, SERVER, 0, 1, LIMITS_OK },
		{ WIRE_THROUGH | WIRE_ONE_SHOT, IPPROTO_TCP, SERVER, "198.51.100.10:20002", CLIENT, SERVER, 0, 1, LIMITS_OK },
		{ WIRE_THROUGH, IPPROTO_TCP, SERVER, "198.51.100.10:20002", "-", SERVER, 0, 1, LIMITS_NO_SOURCE },
		{ WIRE_THROUGH, IPPROTO_TCP, SERVER, "198.51.100.10:22", CLIENT, SERVER, 0, 1, LIMITS_FROM_PORT },
		{ WIRE_THROUGH, IPPROTO_TCP, SERVER, "192.0.2.10:20002", CLIENT, SERVER, 0, 1, LIMITS_FROM_ADDRESS },
		{ WIRE_THROUGH, IPPROTO_TCP, SERVER, "-", CLIENT, SERVER, 0, 1, LIMITS_FROM_ADDRESS },
		{ WIRE_THROUGH, IPPROTO_TCP, SERVER, "[2001:db8::a]:20002", CLIENT, SERVER, 0, 0, LIMITS_FAMILIES },
		{ WIRE_THROUGH, IPPROTO_TCP, "198.51.100.128:4000", "198.51.100.10:20002", CLIENT, "198.51.100.128:4000", 0, 1,
		  LIMITS_NO_CAPTURE },
		{ WIRE_THROUGH, IPPROTO_TCP, "198.51.100.65:1023", "198.51.100.10:20002", CLIENT, "198.51.100.65:1023", 0, 1,
		  LIMITS_PEER_PORT },
		{ WIRE_THROUGH, IPPROTO_TCP, "198.51.100.10:4000", "198.51.100.10:20002", CLIENT, "198.51.100.10:4000", 0, 1,
		  LIMITS_PEER_OWN },
		{ WIRE_THROUGH, IPPROTO_TCP, "127.0.0.1:4000", "198.51.100.10:20002", CLIENT, "127.0.0.1:4000", 0, 1,
		  LIMITS_PEER_LOOPBACK },
		{ WIRE_THROUGH, IPPROTO_TCP, "239.1.1.1:4000", "198.51.100.10:20002", CLIENT, "239.1.1.1:4000", 0, 1,
		  LIMITS_PEER_MULTICAST },
		{ WIRE_THROUGH | WIRE_HANDED_OVER, IPPROTO_UDP, SERVER, "198.51.100.10:20002", CLIENT, SERVER, 0, 1, LIMITS_FLAGS },
		/* Realms that no capture joins, in no order. */
		{ WIRE_THROUGH, IPPROTO_TCP, SERVER, "192.0.2.10:20002", CLIENT, SERVER, 0, 0, LIMITS_NO_CAPTURE },
		{ WIRE_THROUGH, IPPROTO_TCP, SERVER, "198.51.100.10:20002", CLIENT, SERVER, 2, 1, LIMITS_NO_CAPTURE },
		/* A server goes to a client, which sees the server. */
		{ WIRE_AS_SOURCE, IPPROTO_TCP, "198.51.100.10:20002", "-", "198.51.100.65", "192.0.2.77:4000", 1, 0, LIMITS_OK },
		{ WIRE_AS_SOURCE, IPPROTO_TCP, "198.51.100.10:20002", "-", "198.51.100.3", "192.0.2.77:4000", 1, 0, LIMITS_NO_CAPTURE },
		{ WIRE_AS_SOURCE, IPPROTO_TCP, "198.51.100.10:20002", "-", "198.51.100.65", "192.0.2.77:21", 1, 0, LIMITS_PEER_PORT },
		{ WIRE_AS_SOURCE, IPPROTO_TCP, "198.51.100.10:20002", "-", "198.51.100.65:20", "192.0.2.77:4000", 1, 0, LIMITS_PEER_PORT },
		{ WIRE_AS_SOURCE, IPPROTO_TCP, "198.51.100.10:22", "-", "198.51.100.65", "192.0.2.77:4000", 1, 0, LIMITS_LISTEN_PORT },
		{ WIRE_AS_SOURCE, IPPROTO_TCP, "192.0.2.10:20002", "-", "198.51.100.65", "192.0.2.77:4000", 1, 0, LIMITS_LISTEN_ADDRESS },
		{ WIRE_AS_SOURCE, IPPROTO_TCP, "192.0.2.10:20002", "-", CLIENT, SERVER, 0, 1, LIMITS_OK },
		{ WIRE_AS_SOURCE, IPPROTO_TCP, "[2001:db8::a]:20002", "-", CLIENT, SERVER, 0, 1, LIMITS_FAMILIES },
		/* Nothing is translated. */
		{ WIRE_THROUGH | WIRE_AS_SOURCE, IPPROTO_UDP, SERVER, "-", CLIENT, SERVER, 0, 1, LIMITS_OK },
		{ WIRE_THROUGH | WIRE_AS_SOURCE, IPPROTO_TCP, "192.0.2.77:4000", "-", "198.51.100.65", "192.0.2.77:4000", 1, 0, LIMITS_OK },
		{ WIRE_THROUGH | WIRE_AS_SOURCE, IPPROTO_TCP, "[2001:db8:5::9]:4000", "-", "2001:db8::5", "[2001:db8:5::9]:4000", 0, 1,
		  LIMITS_OK },
		{ WIRE_THROUGH | WIRE_AS_SOURCE, IPPROTO_TCP, "[2001:db8:6::9]:4000", "-", "2001:db8::5", "[2001:db8:6::9]:4000", 0, 1,
		  LIMITS_NO_CAPTURE },
		{ WIRE_THROUGH | WIRE_AS_SOURCE, IPPROTO_TCP, SERVER, "-", "192.0.2.10", SERVER, 0, 1, LIMITS_PEER_OWN },
		{ WIRE_THROUGH | WIRE_AS_SOURCE, IPPROTO_TCP, SERVER, "-", "2001:db8::5", SERVER, 0, 1, LIMITS_FAMILIES },
		/* To a socket of the gateway's, on either side. */
		{ WIRE_TO_SELF, IPPROTO_TCP, SERVER, "-", CLIENT, "192.0.2.10:20002", 0, 1, LIMITS_OK },
		{ WIRE_TO_SELF, IPPROTO_TCP, SERVER, "-", CLIENT, "198.51.100.10:20002", 0, 1, LIMITS_OK },
		{ WIRE_TO_SELF, IPPROTO_TCP, "192.0.2.77:4000", "-", "198.51.100.65", "198.51.100.10:20002", 1, 0, LIMITS_OK },
		{ WIRE_TO_SELF, IPPROTO_UDP, SERVER, "-", CLIENT, "192.0.2.10:20002", 0, 1, LIMITS_FLAGS },
		{ WIRE_TO_SELF, IPPROTO_TCP, SERVER, "-", CLIENT, "192.0.2.10:22", 0, 1, LIMITS_TARGET_PORT },
		{ WIRE_TO_SELF, IPPROTO_TCP, SERVER, "-", CLIENT, "192.0.2.11:20002", 0, 1, LIMITS_TARGET_ADDRESS },
		{ WIRE_TO_SELF, IPPROTO_TCP, SERVER, "-", CLIENT, "127.0.0.1:20002", 0, 1, LIMITS_TARGET_ADDRESS },
		{ WIRE_TO_SELF, IPPROTO_TCP, "192.0.2.10:21000", "-", CLIENT, "192.0.2.10:20002", 0, 1, LIMITS_PEER_OWN },
		{ WIRE_TO_SELF, IPPROTO_TCP, "203.0.113.1:4000", "-", CLIENT, "192.0.2.10:20002", 0, 1, LIMITS_NO_CAPTURE },
		{ WIRE_TO_SELF, IPPROTO_TCP, "198.51.100.65:22", "-", CLIENT, "192.0.2.10:20002", 0, 1, LIMITS_PEER_PORT },
	};

	seal_with(true); /* that demonstrations may use loopback changes nothing here */
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_pinhole pinhole = pinholed_rig_pinhole(1);

		pinhole.flags = rows[i].flags;
		pinhole.payloads[0] = pinhole.clock_hz = 0;
		pinhole.proto = rows[i].proto;
		pinhole.listen = pinholed_rig_addr(rows[i].listen);
		pinhole.from = pinholed_rig_addr(rows[i].from);
		pinhole.source = pinholed_rig_addr(rows[i].source);
		pinhole.target = pinholed_rig_addr(rows[i].target);
		pinhole.realm_in = rows[i].realm_in;
		pinhole.realm_out = rows[i].realm_out;
		check(i, limits_pinhole(&limits, &pinhole), rows[i].verdict);
		if (rows[i].verdict != LIMITS_OK)
			continue;
		limits.n_captures = 0;
		check(i, limits_pinhole(&limits, &pinhole), LIMITS_NO_CAPTURE);
		limits.n_captures = RIG_CAPTURES;
		pinhole.lifetime_s = 601;
		check(i, limits_pinhole(&limits, &pinhole), LIMITS_LIFETIME);
	}
}

static void of_sockets(void)
{
	static const struct {
		const char *addr;
		uint16_t realm;
		uint8_t is_transparent, is_connecting, proto;
		enum limits_verdict verdict;
	} rows[] = {
		{ "192.0.2.10:554", 0, 0, 0, IPPROTO_TCP, LIMITS_OK },
		{ "192.0.2.10:554", 0, 0, 1, IPPROTO_TCP, LIMITS_OK },
		{ "[2001:db8::a]:554", 0, 0, 0, IPPROTO_TCP, LIMITS_OK },
		{ "192.0.2.10:554", 1, 0, 0, IPPROTO_TCP, LIMITS_SOCKET_ADDRESS },
		{ "192.0.2.11:554", 0, 0, 0, IPPROTO_TCP, LIMITS_SOCKET_ADDRESS },
		{ "0.0.0.0:554", 0, 0, 0, IPPROTO_TCP, LIMITS_SOCKET_ADDRESS },
		{ "192.0.2.10:22", 0, 0, 0, IPPROTO_TCP, LIMITS_SOCKET_PORT },
		{ "192.0.2.10", 0, 0, 0, IPPROTO_TCP, LIMITS_SOCKET_PORT },
		{ "192.0.2.10:8080", 0, 0, 0, IPPROTO_TCP, LIMITS_SOCKET_PORT },
		{ "192.0.2.10:8080", 0, 1, 0, IPPROTO_TCP, LIMITS_SOCKET_ADDRESS },
		{ "192.0.2.10:554", 0, 1, 0, IPPROTO_TCP, LIMITS_SOCKET_ADDRESS },
		/* What was taken over arrives here, and nowhere else. */
		{ "127.0.0.1:18500", 0, 1, 0, IPPROTO_TCP, LIMITS_OK },
		{ "[::1]:18500", 0, 1, 0, IPPROTO_TCP, LIMITS_OK },
		{ "127.0.0.1:18501", 0, 1, 0, IPPROTO_UDP, LIMITS_OK },
		{ "127.0.0.1:18501", 0, 1, 0, IPPROTO_TCP, LIMITS_SOCKET_ADDRESS },
		{ "127.0.0.1:18500", 1, 1, 0, IPPROTO_TCP, LIMITS_SOCKET_ADDRESS },
		{ "127.0.0.1:18500", 0, 1, 1, IPPROTO_TCP, LIMITS_SOCKET_ADDRESS },
		{ "127.0.0.1:18502", 0, 1, 0, IPPROTO_TCP, LIMITS_SOCKET_ADDRESS },
		{ "127.0.0.1:18500", 0, 0, 0, IPPROTO_TCP, LIMITS_SOCKET_ADDRESS },
		/* As a client, towards servers. */
		{ "203.0.113.5:4000", 1, 1, 1, IPPROTO_TCP, LIMITS_OK },
		{ "203.0.113.5", 1, 1, 1, IPPROTO_TCP, LIMITS_OK },
		{ "2001:db8::77", 1, 1, 1, IPPROTO_TCP, LIMITS_OK },
		{ "203.0.113.5", 0, 1, 1, IPPROTO_TCP, LIMITS_SOCKET_ADDRESS },
		{ "203.0.113.5:4000", 1, 1, 0, IPPROTO_TCP, LIMITS_SOCKET_ADDRESS }, /* would take others' connections */
		{ "203.0.113.5:4000", 1, 0, 1, IPPROTO_TCP, LIMITS_SOCKET_ADDRESS },
		{ "203.0.113.5:22", 1, 1, 1, IPPROTO_TCP, LIMITS_SOCKET_ADDRESS },
		{ "203.0.113.5:4000", 1, 1, 1, IPPROTO_UDP, LIMITS_SOCKET_ADDRESS }, /* that capture is not transparent */
		{ "192.0.2.10:4000", 1, 1, 1, IPPROTO_TCP, LIMITS_SOCKET_ADDRESS }, /* the gateway, but another realm */
		{ "127.0.0.1:4000", 1, 1, 1, IPPROTO_TCP, LIMITS_SOCKET_ADDRESS },
		{ "169.254.1.1:4000", 1, 1, 1, IPPROTO_TCP, LIMITS_SOCKET_ADDRESS },
		{ "224.0.0.1:4000", 1, 1, 1, IPPROTO_TCP, LIMITS_SOCKET_ADDRESS },
		/* As a server, towards clients. */
		{ "198.51.100.65:69", 0, 1, 1, IPPROTO_UDP, LIMITS_OK },
		{ "198.51.100.65:4000", 0, 1, 1, IPPROTO_UDP, LIMITS_OK },
		{ "198.51.100.65:21", 0, 1, 1, IPPROTO_UDP, LIMITS_SOCKET_ADDRESS },
		{ "198.51.100.65", 0, 1, 1, IPPROTO_UDP, LIMITS_SOCKET_ADDRESS },
		{ "198.51.100.3:69", 0, 1, 1, IPPROTO_UDP, LIMITS_SOCKET_ADDRESS },
		{ "198.51.100.65:69", 1, 1, 1, IPPROTO_UDP, LIMITS_SOCKET_ADDRESS },
		{ "198.51.100.65:69", 0, 1, 0, IPPROTO_UDP, LIMITS_SOCKET_ADDRESS },
		{ "198.51.100.65:4000", 0, 1, 1, IPPROTO_TCP, LIMITS_SOCKET_ADDRESS },
	};
	struct wire_socket_request request = { .proto = IPPROTO_TCP };

	CU_ASSERT_EQUAL(limits_socket(&(struct limits){ .n_own = 0 }, &request), LIMITS_NOT_SEALED);
	seal_with(false);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		request.addr = pinholed_rig_addr(rows[i].addr);
		request.realm = rows[i].realm;
		request.is_transparent = rows[i].is_transparent;
		request.is_connecting = rows[i].is_connecting;
		request.proto = rows[i].proto;
		check(i, limits_socket(&limits, &request), rows[i].verdict);
	}
	limits.seal.may_be_transparent = 0;
	request.addr = pinholed_rig_addr("203.0.113.5:4000");
	request.realm = request.is_transparent = request.is_connecting = 1;
	request.proto = IPPROTO_TCP;
	CU_ASSERT_EQUAL(limits_socket(&limits, &request), LIMITS_SOCKET_TRANSPARENT);
}

static const struct unit_test tests[] = {
	{ "every verdict has a text", texts },
	{ "of the limits", of_the_limits },
	{ "of the seal", of_the_seal },
	{ "of the ends", of_the_ends },
	{ "of loopback", of_loopback },
	{ "of values", of_values },
	{ "of captures", of_captures },
	{ "of foreign ends", of_foreign_ends },
	{ "of sockets", of_sockets },
};
UNIT_MAIN("limits", tests)
