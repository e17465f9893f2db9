/* Which addresses media may be sent to. */
#include <stdio.h>

#include "media-relay/target.h"
#include "tests/unit/unit.h"

static struct addr ip(const char *text)
{
	struct addr addr = { 0 };

	if (text[0] != '\0' && addr_parse(span_of(text), &addr) < 0)
		CU_ASSERT_EQUAL_FATAL(addr_parse_ip(span_of(text), &addr), 0);
	return addr;
}

enum { PUBLIC, CORE, LOCAL, SIX }; /* realms */

static struct target_own own[5];

static void set_own(void)
{
	own[0] = (struct target_own){ ip("192.0.2.10"), 20000, 20999, PUBLIC, true };
	own[1] = (struct target_own){ ip("10.0.0.10"), 20000, 20999, CORE, true };
	own[2] = (struct target_own){ ip("10.0.0.10"), 5060, 5060, CORE, false };
	own[3] = (struct target_own){ ip("127.0.0.1"), 30000, 30999, LOCAL, true };
	own[4] = (struct target_own){ ip("2001:db8::10"), 20000, 20999, SIX, true };
}

struct row {
	unsigned realm;
	enum realm_trust trust;
	enum realm_nat nat;
	const char *local, *remote;
	enum target target;
};

#define PUB "192.0.2.10:20000"
#define COR "10.0.0.10:20000"
#define LOC "127.0.0.1:30000"
#define SIX6 "[2001:db8::10]:20000"
#define U TRUST_UNTRUSTED
#define T TRUST_TRUSTED

static const struct row rows[] = {
	{ PUBLIC, U, NAT_LATCH, PUB, "198.51.100.7:4000", TARGET_OK },
	{ PUBLIC, U, NAT_OFF, PUB, "198.51.100.7:4000", TARGET_OK },
	{ PUBLIC, U, NAT_LATCH, PUB, "", TARGET_UNSET },
	{ PUBLIC, U, NAT_LATCH, PUB, "198.51.100.7", TARGET_UNSET },
	{ PUBLIC, U, NAT_LATCH, PUB, "[2001:db8::1]:4000", TARGET_FAMILY },
	{ PUBLIC, T, NAT_LATCH, PUB, "0.0.0.0:4000", TARGET_UNSPECIFIED },
	{ PUBLIC, T, NAT_LATCH, PUB, "224.0.0.1:4000", TARGET_MULTICAST },
	{ PUBLIC, T, NAT_LATCH, PUB, "239.255.255.255:4000", TARGET_MULTICAST },
	{ PUBLIC, T, NAT_LATCH, PUB, "255.255.255.255:4000", TARGET_BROADCAST },
	{ PUBLIC, T, NAT_LATCH, PUB, "240.0.0.1:4000", TARGET_BROADCAST },
	{ PUBLIC, T, NAT_LATCH, PUB, "0.1.2.3:4000", TARGET_BROADCAST },
	{ PUBLIC, T, NAT_LATCH, PUB, "127.0.0.1:4000", TARGET_LOOPBACK },
	{ LOCAL, U, NAT_LATCH, LOC, "127.0.0.1:4000", TARGET_OK },
	{ LOCAL, U, NAT_OFF, LOC, "127.0.0.2:30000", TARGET_OK },
	{ LOCAL, U, NAT_LATCH, LOC, "127.0.0.1:30002", TARGET_OWN },
	/* private networks, named from outside */
	{ PUBLIC, U, NAT_LATCH, PUB, "10.0.0.20:4000", TARGET_LEARN },
	{ PUBLIC, U, NAT_LATCH, PUB, "172.16.0.1:4000", TARGET_LEARN },
	{ PUBLIC, U, NAT_LATCH, PUB, "172.31.255.255:4000", TARGET_LEARN },
	{ PUBLIC, U, NAT_LATCH, PUB, "172.32.0.1:4000", TARGET_OK },
	{ PUBLIC, U, NAT_LATCH, PUB, "192.168.1.1:4000", TARGET_LEARN },
	{ PUBLIC, U, NAT_LATCH, PUB, "100.64.0.1:4000", TARGET_LEARN },
	{ PUBLIC, U, NAT_LATCH, PUB, "100.128.0.1:4000", TARGET_OK },
	{ PUBLIC, U, NAT_LATCH, PUB, "169.254.1.1:4000", TARGET_LEARN },
	{ PUBLIC, U, NAT_OFF, PUB, "10.0.0.20:4000", TARGET_PRIVATE },
	{ PUBLIC, T, NAT_OFF, PUB, "10.0.0.20:4000", TARGET_OK },
	{ CORE, U, NAT_LATCH, COR, "192.168.1.1:4000", TARGET_OK },
	/* the gateway itself */
	{ PUBLIC, U, NAT_LATCH, PUB, "10.0.0.10:20100", TARGET_OWN },
	{ PUBLIC, U, NAT_LATCH, PUB, "10.0.0.10:5060", TARGET_OWN },
	{ CORE, T, NAT_OFF, COR, "10.0.0.10:5060", TARGET_OWN },
	{ PUBLIC, U, NAT_LATCH, PUB, "192.0.2.10:20100", TARGET_OWN },
	{ PUBLIC, U, NAT_LATCH, PUB, "192.0.2.10:40000", TARGET_OK },
	{ PUBLIC, T, NAT_OFF, PUB, "10.0.0.10:20100", TARGET_OWN },
	{ CORE, T, NAT_OFF, COR, "10.0.0.10:20100", TARGET_OK }, /* a call that comes back */
	{ CORE, T, NAT_OFF, COR, "10.0.0.10:20000", TARGET_OWN },
	{ CORE, T, NAT_OFF, COR, "10.0.0.10:20001", TARGET_OWN },
	{ CORE, T, NAT_OFF, COR, "192.0.2.10:20100", TARGET_OWN },
	/* IPv6 */
	{ SIX, U, NAT_LATCH, SIX6, "[2001:db8::1]:4000", TARGET_OK },
	{ SIX, U, NAT_LATCH, SIX6, "[::1]:4000", TARGET_LOOPBACK },
	{ SIX, U, NAT_LATCH, SIX6, "[::]:4000", TARGET_UNSPECIFIED },
	{ SIX, U, NAT_LATCH, SIX6, "[ff02::1]:4000", TARGET_MULTICAST },
	{ SIX, U, NAT_LATCH, SIX6, "[fd00::1]:4000", TARGET_LEARN },
	{ SIX, U, NAT_OFF, SIX6, "[fe80::1]:4000", TARGET_PRIVATE },
	{ SIX, U, NAT_LATCH, SIX6, "[::ffff:127.0.0.1]:4000", TARGET_FAMILY },
};

static void test_table(void)
{
	set_own();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct addr remote = ip(rows[i].remote);
		const struct target_scope scope = { ip(rows[i].local), rows[i].realm, rows[i].trust, rows[i].nat, own, 5 };
		enum target target = target_check(&scope, &remote);

		if (target != rows[i].target)
			printf("# row %zu: %s from %s: %s\n", i, rows[i].remote, rows[i].local, target_text(target));
		CU_ASSERT_EQUAL(target, rows[i].target);
		CU_ASSERT_EQUAL(target_is_refused(target), target != TARGET_OK && target != TARGET_LEARN);
	}
	CU_ASSERT_STRING_EQUAL(target_text((enum target)99), "unknown");
}

static const struct unit_test tests[] = { { "the rule of target.h", test_table } };

UNIT_MAIN("target", tests)
