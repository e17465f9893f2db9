/* postern-pinholed itself, with the kernel's mechanisms, in a network namespace of its own: that the rights and system calls
 * its worker keeps are enough for everything that back ends do later. What happens to packets is tested elsewhere. Skipped
 * where namespaces may not be made or no mechanism works. */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "core/err.h"
#include "pinhole/pinhole.h"
#include "tests/unit/pinholed_rig.h"
#include "tests/unit/unit.h"

static struct pinholed_rig rig;
static uint16_t source_port; /* 0: any */

static bool make_link(const char *name, const char *addr, const char *peer)
{
	char command[512];

	snprintf(command, sizeof(command),
		 "ip link add %s type veth peer name %sp && ip link set %s up && ip link set %sp up && ip addr add %s/24 dev %s && "
		 "ip neigh add %s lladdr 02:00:00:00:00:77 dev %s", name, name, name, name, addr, name, peer, name);
	return system(command) == 0;
}

/* Folders of bpffs are to vanish with the namespace, so mounts are private too. */
static void enter_namespaces(void)
{
	CU_ASSERT_EQUAL_FATAL(unshare(CLONE_NEWNET | CLONE_NEWNS), 0);
	CU_ASSERT_EQUAL_FATAL(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(system("ip link set lo up && echo 1 >/proc/sys/net/ipv4/ip_forward"), 0);
	CU_ASSERT_FATAL(make_link("acc", "192.0.2.10", "192.0.2.77"));
	CU_ASSERT_FATAL(make_link("cor", "198.51.100.10", "198.51.100.77"));
}

/* Of these paths, those that both realms can use; from the abilities that have come. */
static unsigned usable_paths(unsigned paths)
{
	for (uint32_t i = 0; i < rig.head.count; i++) {
		const struct wire_ability *a = (const struct wire_ability *)rig.records + i;

		if (a->realm > 1)
			continue;
		printf("# realm %u %s: %s %s\n", a->realm, a->interface, pinhole_path_text((enum pinhole_path)a->path), a->reason);
		if (!a->is_usable)
			paths &= ~(1U << a->path);
	}
	return paths;
}

static void pair_of(struct wire_pinhole ret[2])
{
	ret[0] = ret[1] = pinholed_rig_pinhole(1);
	ret[1].id = 2;
	ret[1].listen = ret[0].from;
	ret[1].from = ret[0].listen;
	ret[1].source = ret[0].target;
	ret[1].target = ret[0].source;
	ret[1].realm_in = 1;
	ret[1].realm_out = 0;
	ret[0].source.port = ret[1].source.port = source_port;
}

static int open_pair(enum pinhole_path *ret_path)
{
	struct wire_pinhole pair[2];
	const struct wire_opened *opened;

	pair_of(pair);
	CU_ASSERT_FATAL(pinholed_rig_ask(&rig, WIRE_OPEN, pair, 2, WIRE_OPENED));
	opened = rig.records;
	for (int i = 0; i < 2 && opened[i].err < 0; i++)
		printf("# %d: %s\n", opened[i].err, opened[i].reason);
	*ret_path = (enum pinhole_path)opened->path;
	return opened[0].err != 0 ? opened[0].err : opened[1].err;
}

static void close_pair(void)
{
	const struct wire_key keys[2] = { { 1 }, { 2 } };
	const struct wire_closed *closed;

	CU_ASSERT_FATAL(pinholed_rig_ask(&rig, WIRE_CLOSE, keys, 2, WIRE_CLOSED));
	closed = rig.records;
	CU_ASSERT_EQUAL(closed[0].err, 0);
	CU_ASSERT_EQUAL(closed[1].err, 0);
}

static unsigned count_listed(void)
{
	unsigned n = 0;

	CU_ASSERT_FATAL(pinholed_rig_ask(&rig, WIRE_LIST, NULL, 0, WIRE_LISTED));
	while (rig.head.count > 0) {
		n += rig.head.count;
		CU_ASSERT_FATAL(pinholed_rig_expect(&rig, WIRE_LISTED));
	}
	return n;
}

static uint64_t sweep(uint64_t starts)
{
	struct wire_count since = { .n = starts };

	CU_ASSERT_FATAL(pinholed_rig_ask(&rig, WIRE_SWEEP, &since, 1, WIRE_SWEPT));
	return ((const struct wire_count *)rig.records)->n;
}

static bool start(enum pinhole_path only)
{
	struct wire_limit limits[4];
	struct wire_seal seal = pinholed_rig_limits(limits);

	memset(seal.order, 0, sizeof(seal.order));
	seal.order[0] = (uint8_t)only;
	seal.pinholes_max = 1000;
	enter_namespaces();
	pinholed_rig_start_as(&rig, "postern-pinholed");
	CU_ASSERT_EQUAL(pinholed_rig_send(&rig, WIRE_LIMITS, limits, 4), 0);
	CU_ASSERT_EQUAL(pinholed_rig_send(&rig, WIRE_SEAL, &seal, 1), 0);
	CU_ASSERT_FATAL(pinholed_rig_expect(&rig, WIRE_HELLO));
	CU_ASSERT_FATAL(pinholed_rig_expect(&rig, WIRE_ABILITY));
	if (usable_paths(1U << only) != 0)
		return true;
	printf("# skipped: %s is not usable here\n", pinhole_path_text(only));
	pinholed_rig_stop(&rig);
	return false;
}

static void live_on(enum pinhole_path only)
{
	enum pinhole_path path;
	pid_t worker;

	if (!start(only))
		return;
	CU_ASSERT_EQUAL(open_pair(&path), 0);
	CU_ASSERT_EQUAL(path, only);
	CU_ASSERT_EQUAL(count_listed(), 2);
	worker = pinholed_rig_worker(&rig);
	CU_ASSERT_FATAL(worker > 0);
	kill(worker, SIGKILL);
	CU_ASSERT_FATAL(pinholed_rig_skip_to(&rig, WIRE_HELLO));
	CU_ASSERT_EQUAL(((const struct wire_hello *)rig.records)->starts, 2);
	CU_ASSERT(count_listed() > 0); /* of conntrack one entry, until it is opened again */
	CU_ASSERT_EQUAL(open_pair(&path), 0);
	CU_ASSERT_EQUAL(((const struct wire_opened *)rig.records)->was_there, 1);
	CU_ASSERT_EQUAL(count_listed(), 2);
	CU_ASSERT_EQUAL(sweep(2), 0);
	/* An interface goes and comes again; ticks go by. */
	CU_ASSERT_EQUAL(system("ip link del cor"), 0);
	CU_ASSERT(make_link("cor", "198.51.100.10", "198.51.100.77"));
	usleep(2500000);
	close_pair();
	CU_ASSERT_EQUAL(count_listed(), 0);
	CU_ASSERT_EQUAL(open_pair(&path), 0);
	kill(pinholed_rig_worker(&rig), SIGKILL);
	CU_ASSERT_FATAL(pinholed_rig_skip_to(&rig, WIRE_HELLO));
	CU_ASSERT(sweep(3) > 0);
	CU_ASSERT_EQUAL(count_listed(), 0);
	CU_ASSERT(!pinholed_rig_has_logged(&rig, "signal=31"));
	pinholed_rig_stop(&rig);
}

static void tc(void)
{
	source_port = 4000;
	live_on(PINHOLE_TC);
}

static void conntrack(void)
{
	source_port = 4000;
	live_on(PINHOLE_CONNTRACK);
}

static void nft(void)
{
	source_port = 0;
	live_on(PINHOLE_NFT);
}

static bool is_taken_over(void)
{
	CU_ASSERT_FATAL(pinholed_rig_skip_to(&rig, WIRE_CAPTURING));
	if (!((const struct wire_capturing *)rig.records)->is_working)
		printf("# %s\n", ((const struct wire_capturing *)rig.records)->reason);
	return ((const struct wire_capturing *)rig.records)->is_working;
}

static void capture(void)
{
	struct wire_limit limits[4];
	struct wire_capture captures[RIG_CAPTURES];
	struct wire_seal seal = pinholed_rig_limits(limits);
	struct wire_socket_request request = { .addr = pinholed_rig_addr("127.0.0.1:18500"), .proto = IPPROTO_TCP, .is_transparent = 1 };

	pinholed_rig_captures(captures);
	enter_namespaces();
	pinholed_rig_start_as(&rig, "postern-pinholed");
	CU_ASSERT_EQUAL(pinholed_rig_send(&rig, WIRE_LIMITS, limits, 4), 0);
	CU_ASSERT_EQUAL(pinholed_rig_send(&rig, WIRE_CAPTURE, captures, RIG_CAPTURES), 0);
	CU_ASSERT_EQUAL(pinholed_rig_send(&rig, WIRE_SEAL, &seal, 1), 0);
	CU_ASSERT_FATAL(pinholed_rig_skip_to(&rig, WIRE_HELLO));
	CU_ASSERT(is_taken_over());
	CU_ASSERT_FATAL(pinholed_rig_ask(&rig, WIRE_SOCKET, &request, 1, WIRE_SOCKET_READY));
	CU_ASSERT_EQUAL(((const struct wire_result *)rig.records)->err, 0);
	CU_ASSERT_EQUAL(rig.n_fds, 1);
	/* A worker looks after it, too, and so does the next one; the machine's own addresses are nobody else's. */
	CU_ASSERT_EQUAL(system("ip rule del pref 18500 && nft delete table inet postern_edge_1_captures"), 0);
	usleep(2500000);
	CU_ASSERT_EQUAL(system("ip rule list | grep -q ^18500: && nft list table inet postern_edge_1_captures | grep -q tproxy"), 0);
	CU_ASSERT_EQUAL(system("ip addr add 203.0.113.5/32 dev lo"), 0);
	usleep(500000);
	request.is_connecting = 1;
	request.realm = 1;
	request.addr = pinholed_rig_addr("203.0.113.5");
	CU_ASSERT_FATAL(pinholed_rig_ask(&rig, WIRE_SOCKET, &request, 1, WIRE_SOCKET_READY));
	CU_ASSERT_EQUAL(((const struct wire_result *)rig.records)->err, ERR_DENIED);
	request.addr = pinholed_rig_addr("203.0.113.6");
	CU_ASSERT_FATAL(pinholed_rig_ask(&rig, WIRE_SOCKET, &request, 1, WIRE_SOCKET_READY));
	CU_ASSERT_EQUAL(((const struct wire_result *)rig.records)->err, 0);
	kill(pinholed_rig_worker(&rig), SIGKILL);
	CU_ASSERT_FATAL(pinholed_rig_skip_to(&rig, WIRE_HELLO));
	CU_ASSERT(is_taken_over());
	CU_ASSERT(!pinholed_rig_has_logged(&rig, "signal=31"));
	pinholed_rig_stop(&rig);
	CU_ASSERT_EQUAL(system("nft list table inet postern_edge_1_captures >/dev/null"), 0); /* nothing passes unseen while nobody is there */
}

static const struct unit_test tests[] = {
	{ "tc", tc },
	{ "conntrack", conntrack },
	{ "nft", nft },
	{ "capture", capture },
};

int main(int argc, char **argv)
{
	return pinholed_rig_may_unshare() ? unit_main(argc, argv, "helper_kernel", tests, sizeof(tests) / sizeof(tests[0])) : 0;
}
