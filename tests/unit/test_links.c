/* pinhole/links.h, in network namespaces of its own: interfaces are found, followed, and peers that are this machine or a whole
 * network are told from hosts. Skipped where no namespace may be made. */
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pinhole/links.h"
#include "tests/unit/pinholed_rig.h"
#include "tests/unit/unit.h"

static struct limits limits;

static void add_own(const char *addr, const char *interface, uint16_t realm)
{
	struct wire_limit own = { .addr = pinholed_rig_addr(addr), .port_min = 20000, .port_max = 29999, .realm = realm };

	snprintf(own.interface, sizeof(own.interface), "%s", interface);
	CU_ASSERT_EQUAL_FATAL(limits_add(&limits, &own), LIMITS_OK);
}

/* A namespace with a pair of interfaces. */
static void enter_namespace(void)
{
	memset(&limits, 0, sizeof(limits));
	CU_ASSERT_EQUAL_FATAL(unshare(CLONE_NEWNET), 0);
	CU_ASSERT_EQUAL_FATAL(system("ip link set lo up && ip link add left type veth peer name right && ip link set left up && "
				     "ip link set right up && ip addr add 192.0.2.10/24 dev left && ip addr add 192.0.2.11/24 dev left && "
				     "ip -6 addr add 2001:db8::a/64 dev left nodad && ip addr add 198.51.100.10/30 dev right"), 0);
}

static const struct backend_interface *find(const struct links *links, unsigned realm, unsigned nth)
{
	unsigned n;
	const struct backend_interface *interfaces = links_interfaces(links, &n);

	for (unsigned i = 0; i < n; i++)
		if (interfaces[i].realm == realm && nth-- == 0)
			return &interfaces[i];
	return NULL;
}

static void interfaces_are_found(void)
{
	const struct backend_interface *interface;
	struct links *links = NULL;
	unsigned n;

	enter_namespace();
	add_own("192.0.2.10", "left", 0);
	add_own("192.0.2.11", "", 0); /* the same one, by its address */
	add_own("198.51.100.10", "", 1);
	add_own("203.0.113.1", "", 2);      /* nowhere */
	add_own("203.0.113.2", "gone0", 3); /* not there */
	CU_ASSERT_EQUAL_FATAL(links_open(&limits, &links), 0);
	links_interfaces(links, &n);
	CU_ASSERT_EQUAL(n, 3);
	interface = find(links, 0, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(interface);
	CU_ASSERT_STRING_EQUAL(interface->name, "left");
	CU_ASSERT(interface->index > 1 && interface->is_up);
	CU_ASSERT_PTR_NULL(find(links, 0, 1));
	interface = find(links, 1, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(interface);
	CU_ASSERT_STRING_EQUAL(interface->name, "right");
	CU_ASSERT_PTR_NULL(find(links, 2, 0));
	CU_ASSERT_EQUAL(find(links, 3, 0)->index, 0);
	CU_ASSERT_STRING_EQUAL(find(links, 3, 0)->name, "gone0");
	links_close(links);
}

static bool has_news(struct links *links)
{
	struct pollfd p = { .fd = links_fd(links), .events = POLLIN };

	/* Events of what the kernel does by itself (an address that becomes usable) come in between. */
	for (int i = 0; i < 50; i++) {
		if (poll(&p, 1, 200) != 1)
			return false;
		if (links_read(links))
			return true;
	}
	return false;
}

static void drain(struct links *links)
{
	do {
		CU_ASSERT_EQUAL_FATAL(links_refresh(links), 0);
	} while (has_news(links));
}

static void changes_are_news(void)
{
	struct links *links = NULL;

	enter_namespace();
	add_own("192.0.2.10", "left", 0);
	add_own("203.0.113.1", "", 1);
	CU_ASSERT_EQUAL_FATAL(links_open(&limits, &links), 0);
	drain(links);
	CU_ASSERT_EQUAL(system("ip link set left down"), 0);
	CU_ASSERT(has_news(links));
	drain(links);
	CU_ASSERT(!find(links, 0, 0)->is_up);
	CU_ASSERT_EQUAL(system("ip link set left up && ip addr add 203.0.113.1/24 dev right"), 0);
	drain(links);
	CU_ASSERT(find(links, 0, 0)->is_up);
	CU_ASSERT_STRING_EQUAL(find(links, 1, 0)->name, "right");
	/* A neighbour, its second address, and nothing new of it. */
	CU_ASSERT_EQUAL(system("ip neigh replace 192.0.2.77 lladdr 02:00:00:00:00:01 nud reachable dev left"), 0);
	CU_ASSERT(has_news(links));
	drain(links);
	CU_ASSERT_EQUAL(system("ip neigh replace 192.0.2.77 lladdr 02:00:00:00:00:01 nud stale dev left"), 0);
	CU_ASSERT(!has_news(links));
	CU_ASSERT_EQUAL(system("ip neigh replace 192.0.2.77 lladdr 02:00:00:00:00:02 nud reachable dev left"), 0);
	CU_ASSERT(has_news(links));
	CU_ASSERT_EQUAL(system("ip route add 10.0.0.0/8 via 192.0.2.77"), 0);
	CU_ASSERT(has_news(links));
	drain(links);
	CU_ASSERT_EQUAL(system("ip link del left"), 0);
	CU_ASSERT(has_news(links));
	drain(links);
	CU_ASSERT_EQUAL(find(links, 0, 0)->index, 0);
	CU_ASSERT_STRING_EQUAL(find(links, 0, 0)->name, "left");
	links_close(links);
}

static void peers_are_hosts(void)
{
	static const struct {
		const char *source, *target;
		enum limits_verdict verdict;
	} rows[] = {
		{ "192.0.2.77:4000", "198.51.100.9:4000", LIMITS_OK },
		{ "-", "198.51.100.9:4000", LIMITS_OK },
		{ "192.0.2.77:4000", "192.0.2.11:4000", LIMITS_PEER_OWN }, /* this machine's, though no realm's */
		{ "192.0.2.11:4000", "198.51.100.9:4000", LIMITS_PEER_OWN },
		{ "192.0.2.77:4000", "192.0.2.255:4000", LIMITS_PEER_BROADCAST },
		{ "192.0.2.77:4000", "192.0.2.0:4000", LIMITS_PEER_BROADCAST },
		{ "192.0.2.77:4000", "198.51.100.11:4000", LIMITS_PEER_BROADCAST },
		{ "198.51.100.11:4000", "192.0.2.77:4000", LIMITS_PEER_BROADCAST },
		{ "192.0.2.77:4000", "198.51.100.12:4000", LIMITS_OK },
		{ "[2001:db8::b]:4000", "[2001:db8::a]:4000", LIMITS_PEER_OWN },
		{ "[2001:db8::b]:4000", "[2001:db8::ffff]:4000", LIMITS_OK },
	};
	struct links *links = NULL;

	enter_namespace();
	add_own("192.0.2.10", "left", 0);
	CU_ASSERT_EQUAL_FATAL(links_open(&limits, &links), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_pinhole pinhole = pinholed_rig_pinhole(1);
		enum limits_verdict verdict;

		pinhole.source = pinholed_rig_addr(rows[i].source);
		pinhole.target = pinholed_rig_addr(rows[i].target);
		verdict = links_pinhole(links, &pinhole);
		if (verdict != rows[i].verdict)
			printf("# row %zu: %s\n", i, limits_text(verdict));
		CU_ASSERT_EQUAL(verdict, rows[i].verdict);
	}
	links_close(links);
}

static void many_addresses(void)
{
	struct links *links = NULL;
	struct wire_pinhole pinhole = pinholed_rig_pinhole(1);

	enter_namespace();
	CU_ASSERT_EQUAL(system("for i in $(seq 1 1000); do echo addr add 10.0.$((i / 250)).$((i % 250 + 1))/32 dev right; done | "
			       "ip -batch -"), 0);
	add_own("192.0.2.10", "left", 0);
	CU_ASSERT_EQUAL_FATAL(links_open(&limits, &links), 0);
	for (unsigned i = 1; i <= 1000; i++) {
		pinhole.target = (struct wire_addr){ .ip = { 10, 0, (uint8_t)(i / 250), (uint8_t)(i % 250 + 1) }, .port = 4000,
						     .family = AF_INET };
		CU_ASSERT_EQUAL(links_pinhole(links, &pinhole), LIMITS_PEER_OWN);
	}
	links_close(links);
}

static const struct unit_test tests[] = {
	{ "interfaces are found", interfaces_are_found },
	{ "changes are news", changes_are_news },
	{ "peers are hosts", peers_are_hosts },
	{ "many addresses", many_addresses },
};

int main(int argc, char **argv)
{
	return pinholed_rig_may_unshare() ? unit_main(argc, argv, "links", tests, sizeof(tests) / sizeof(tests[0])) : 0;
}
