/* The whole helper program, with fake back ends: as posternd uses it, and with a parent that has turned against it. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/err.h"
#include "pinhole/pinhole.h"
#include "pinhole/sandbox.h"
#include "tests/unit/pinholed_rig.h"
#include "tests/unit/unit.h"

static struct pinholed_rig rig;

static void start_sealed(void)
{
	pinholed_rig_start(&rig);
	pinholed_rig_seal(&rig);
}

static const struct wire_opened *open_one(const struct wire_pinhole *pinhole)
{
	CU_ASSERT_FATAL(pinholed_rig_ask(&rig, WIRE_OPEN, pinhole, 1, WIRE_OPENED));
	CU_ASSERT_EQUAL_FATAL(rig.head.count, 1);
	return rig.records;
}

static int open_id(uint64_t id)
{
	struct wire_pinhole pinhole = pinholed_rig_pinhole(id);

	return open_one(&pinhole)->err;
}

static const struct wire_closed *close_id(uint64_t id)
{
	struct wire_key key = { .id = id };

	CU_ASSERT_FATAL(pinholed_rig_ask(&rig, WIRE_CLOSE, &key, 1, WIRE_CLOSED));
	return rig.records;
}

static uint64_t sweep(uint64_t starts)
{
	struct wire_count since = { .n = starts };

	CU_ASSERT_FATAL(pinholed_rig_ask(&rig, WIRE_SWEEP, &since, 1, WIRE_SWEPT));
	return ((const struct wire_count *)rig.records)->n;
}

/* Number of entries; and whether all have this id, when there is one. */
static unsigned list_ids(uint64_t *ret_first)
{
	unsigned n = 0;

	CU_ASSERT_FATAL(pinholed_rig_ask(&rig, WIRE_LIST, NULL, 0, WIRE_LISTED));
	while (rig.head.count > 0) {
		const struct wire_listed *listed = rig.records;

		if (n == 0)
			*ret_first = listed->id;
		n += rig.head.count;
		CU_ASSERT_FATAL(pinholed_rig_expect(&rig, WIRE_LISTED));
	}
	return n;
}

static bool is_alive(void)
{
	uint64_t first;

	return list_ids(&first) <= FAKE_ENTRIES;
}

static void says_what_it_can(void)
{
	const struct wire_hello *hello;
	unsigned n = 0, n_usable = 0;
	void *slots;

	start_sealed();
	hello = rig.records;
	CU_ASSERT_EQUAL(hello->starts, 1);
	CU_ASSERT_EQUAL(hello->slot_version, SLOT_VERSION);
	CU_ASSERT_EQUAL(hello->slot_size, sizeof(struct slot));
	CU_ASSERT_EQUAL(hello->slots[0], FAKE_SLOTS);
	CU_ASSERT_EQUAL(hello->slots[1], FAKE_SLOTS);
	CU_ASSERT_EQUAL_FATAL(rig.n_fds, 2);
	slots = mmap(NULL, FAKE_SLOTS * sizeof(struct slot), PROT_READ, MAP_SHARED, rig.fds[1], 0);
	CU_ASSERT_FATAL(slots != MAP_FAILED);
	munmap(slots, FAKE_SLOTS * sizeof(struct slot));
	CU_ASSERT_FATAL(pinholed_rig_expect(&rig, WIRE_ABILITY));
	CU_ASSERT_EQUAL(rig.head.serial, rig.serial); /* of the seal */
	for (const struct wire_ability *a = rig.records; n < rig.head.count; a++, n++) {
		n_usable += a->is_usable;
		CU_ASSERT_EQUAL(a->is_wanted, a->path != PINHOLE_NFT);
		CU_ASSERT_EQUAL(a->is_usable, a->path != PINHOLE_NFT);
		CU_ASSERT(a->realm < 3);
	}
	CU_ASSERT_EQUAL(n, 12);
	CU_ASSERT_EQUAL(n_usable, 9);
	CU_ASSERT_STRING_EQUAL(rig.fake->node_tag, "edge_1");
	CU_ASSERT_STRING_EQUAL(rig.fake->state_dir, rig.dir);
	pinholed_rig_stop(&rig);
}

/* What comes before the seal is from a gateway that has just started: then nothing is forgiven. */
static void bad_limits_end_it(void)
{
	static const char *const bad[] = { "224.0.0.1", "0.0.0.0", "255.255.255.255", "ff02::1" };
	struct wire_limit limits[4];
	struct wire_seal seal = pinholed_rig_limits(limits);
	struct wire_pinhole pinhole = pinholed_rig_pinhole(1);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]) + 3; i++) {
		pinholed_rig_start(&rig);
		pinholed_rig_limits(limits);
		if (i < sizeof(bad) / sizeof(bad[0])) {
			limits[1].addr = pinholed_rig_addr(bad[i]);
			pinholed_rig_send(&rig, WIRE_LIMITS, limits, 4);
		} else if (i == sizeof(bad) / sizeof(bad[0])) {
			pinholed_rig_send(&rig, WIRE_OPEN, &pinhole, 1);
		} else if (i == sizeof(bad) / sizeof(bad[0]) + 1) {
			pinholed_rig_send(&rig, WIRE_SEAL, &seal, 1); /* no own address */
		} else {
			send(rig.channel, "?", 1, 0);
		}
		CU_ASSERT_EQUAL(WEXITSTATUS(pinholed_rig_wait(&rig)), 1);
		CU_ASSERT_EQUAL(rig.fake->n_opens, 0);
		pinholed_rig_stop(&rig);
	}
	pinholed_rig_start(&rig); /* nothing at all */
	pinholed_rig_stop(&rig);
}

static void opened_and_closed(void)
{
	struct wire_pinhole pinhole = pinholed_rig_pinhole(1);
	const struct wire_opened *opened;
	const struct wire_closed *closed;
	uint64_t first = 0;

	start_sealed();
	opened = open_one(&pinhole);
	CU_ASSERT_EQUAL(opened->err, 0);
	CU_ASSERT_EQUAL(opened->id, 1);
	CU_ASSERT_EQUAL(opened->path, PINHOLE_XDP);
	CU_ASSERT_EQUAL(opened->region, 0);
	CU_ASSERT_EQUAL(opened->was_there, 0);
	CU_ASSERT_EQUAL(fake_kernel_count(rig.fake), 1);
	CU_ASSERT_EQUAL(open_one(&pinhole)->was_there, 1);
	CU_ASSERT_EQUAL(fake_kernel_count(rig.fake), 1);
	CU_ASSERT_EQUAL(list_ids(&first), 1);
	CU_ASSERT_EQUAL(first, 1);
	closed = close_id(1);
	CU_ASSERT_EQUAL(closed->err, 0);
	CU_ASSERT_EQUAL(closed->last.packets, 1000);
	CU_ASSERT_EQUAL(fake_kernel_count(rig.fake), 0);
	CU_ASSERT_EQUAL(close_id(1)->err, ERR_NOT_FOUND);
	pinholed_rig_stop(&rig);
}

static void refused_and_alive(void)
{
	static const struct {
		const char *listen, *from, *source, *target;
		uint16_t realm_in, realm_out;
	} rows[] = {
		{ "192.0.2.11:20000", "198.51.100.10:20002", "192.0.2.77:4000", "198.51.100.77:4000", 0, 1 },  /* not ours */
		{ "192.0.2.10:22", "198.51.100.10:20002", "192.0.2.77:4000", "198.51.100.77:4000", 0, 1 },
		{ "192.0.2.10:30000", "198.51.100.10:20002", "192.0.2.77:4000", "198.51.100.77:4000", 0, 1 },
		{ "192.0.2.10:20000", "198.51.100.10:19999", "192.0.2.77:4000", "198.51.100.77:4000", 0, 1 },
		{ "192.0.2.10:20000", "198.51.100.10:20002", "192.0.2.77:4000", "198.51.100.77:22", 0, 1 },
		{ "192.0.2.10:20000", "198.51.100.10:20002", "192.0.2.77:53", "198.51.100.77:4000", 0, 1 },
		{ "192.0.2.10:20000", "198.51.100.10:20002", "192.0.2.77:4000", "127.0.0.1:4000", 0, 1 },
		{ "192.0.2.10:20000", "198.51.100.10:20002", "127.0.0.1:4000", "198.51.100.77:4000", 0, 1 },
		{ "192.0.2.10:20000", "198.51.100.10:20002", "192.0.2.77:4000", "255.255.255.255:4000", 0, 1 },
		{ "192.0.2.10:20000", "198.51.100.10:20002", "192.0.2.77:4000", "239.1.1.1:4000", 0, 1 },
		{ "192.0.2.10:20000", "198.51.100.10:20002", "192.0.2.77:4000", "0.0.0.0:4000", 0, 1 },
		{ "192.0.2.10:20000", "198.51.100.10:20002", "192.0.2.77:4000", "192.0.2.10:20004", 0, 1 }, /* the gateway */
		{ "192.0.2.10:20000", "198.51.100.10:20002", "192.0.2.77:4000", "198.51.100.10:20004", 0, 1 },
		{ "192.0.2.10:20000", "198.51.100.10:20002", "192.0.2.77:4000", "198.51.100.77:4000", 1, 1 }, /* another realm's */
		{ "192.0.2.10:20000", "198.51.100.10:20002", "192.0.2.77:4000", "198.51.100.77:4000", 0, 0 },
		{ "192.0.2.10:20000", "198.51.100.10:20002", "192.0.2.77:4000", "198.51.100.77:4000", 9, 9 },
		{ "192.0.2.10:20000", "198.51.100.10:20002", "[2001:db8::5]:4000", "198.51.100.77:4000", 0, 1 },
		{ "[2001:db8::a]:20000", "198.51.100.10:20002", "[2001:db8::5]:4000", "198.51.100.77:4000", 0, 1 },
	};

	start_sealed();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_pinhole pinhole = pinholed_rig_pinhole(1);
		const struct wire_opened *opened;

		pinhole.listen = pinholed_rig_addr(rows[i].listen);
		pinhole.from = pinholed_rig_addr(rows[i].from);
		pinhole.source = pinholed_rig_addr(rows[i].source);
		pinhole.target = pinholed_rig_addr(rows[i].target);
		pinhole.realm_in = rows[i].realm_in;
		pinhole.realm_out = rows[i].realm_out;
		opened = open_one(&pinhole);
		if (opened->err != ERR_DENIED)
			printf("# row %zu: %d\n", i, opened->err);
		CU_ASSERT_EQUAL(opened->err, ERR_DENIED);
		CU_ASSERT(opened->reason[0] != '\0');
		CU_ASSERT_EQUAL(fake_kernel_count(rig.fake) + fake_kernel_count(rig.nat), 0);
	}
	CU_ASSERT_EQUAL(rig.fake->n_applies + rig.nat->n_applies, 0);
	CU_ASSERT_EQUAL(open_id(1), 0);
	pinholed_rig_stop(&rig);
}

static void at_the_limit(void)
{
	struct wire_pinhole batch[RIG_PINHOLES_MAX + 1];
	const struct wire_opened *opened;

	start_sealed();
	for (uint64_t i = 0; i <= RIG_PINHOLES_MAX; i++)
		batch[i] = pinholed_rig_pinhole(i + 1);
	/* One too many: none of them. */
	CU_ASSERT_FATAL(pinholed_rig_ask(&rig, WIRE_OPEN, batch, RIG_PINHOLES_MAX + 1, WIRE_OPENED));
	opened = rig.records;
	for (uint32_t i = 0; i < RIG_PINHOLES_MAX; i++)
		CU_ASSERT_EQUAL(opened[i].err, ERR_STATE);
	CU_ASSERT_EQUAL(opened[RIG_PINHOLES_MAX].err, ERR_LIMIT);
	CU_ASSERT_EQUAL(fake_kernel_count(rig.fake), 0);
	/* As many as there may be; then no more, until one goes. */
	CU_ASSERT_FATAL(pinholed_rig_ask(&rig, WIRE_OPEN, batch, RIG_PINHOLES_MAX, WIRE_OPENED));
	CU_ASSERT_EQUAL(((const struct wire_opened *)rig.records)->err, 0);
	CU_ASSERT_EQUAL(open_id(RIG_PINHOLES_MAX + 1), ERR_LIMIT);
	CU_ASSERT_EQUAL(open_id(1), 0);
	CU_ASSERT_EQUAL(close_id(1)->err, 0);
	CU_ASSERT_EQUAL(open_id(RIG_PINHOLES_MAX + 1), 0);
	pinholed_rig_stop(&rig);
}

static unsigned count_worker_fds(void)
{
	char path[64];
	unsigned n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pinholed_rig_worker(&rig));
	dir = opendir(path);
	if (dir == NULL)
		return 0;
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

static void not_messages(void)
{
	static struct { _Alignas(8) uint8_t bytes[WIRE_MESSAGE_MAX * 2]; } huge;
	struct wire_head head = { .version = WIRE_VERSION, .op = WIRE_OPEN, .count = 1 };
	struct wire_limit limits[4];
	struct wire_seal seal = pinholed_rig_limits(limits);
	struct wire_pinhole pinhole = pinholed_rig_pinhole(1);
	int fds[2] = { STDIN_FILENO, STDOUT_FILENO };
	unsigned n_fds;

	start_sealed();
	CU_ASSERT(is_alive());
	n_fds = count_worker_fds();
	memcpy(huge.bytes, &head, sizeof(head));
	memcpy(huge.bytes + sizeof(head), &pinhole, sizeof(pinhole));
	for (size_t len = 0; len < sizeof(head) + sizeof(pinhole); len += 7)
		CU_ASSERT_EQUAL(send(rig.channel, huge.bytes, len, 0), (ssize_t)len);
	CU_ASSERT(is_alive());
	CU_ASSERT_EQUAL(send(rig.channel, huge.bytes, sizeof(huge), 0), (ssize_t)sizeof(huge));
	CU_ASSERT_EQUAL(send(rig.channel, huge.bytes, WIRE_MESSAGE_MAX, 0), WIRE_MESSAGE_MAX);
	head.count = UINT32_MAX;
	memcpy(huge.bytes, &head, sizeof(head));
	CU_ASSERT_EQUAL(send(rig.channel, huge.bytes, sizeof(head) + sizeof(pinhole), 0), sizeof(head) + sizeof(pinhole));
	/* The limits do not change any more, whoever asks. */
	limits[0].addr = pinholed_rig_addr("203.0.113.1");
	CU_ASSERT_EQUAL(pinholed_rig_send(&rig, WIRE_LIMITS, limits, 4), 0);
	seal.port_floor = 1;
	CU_ASSERT_EQUAL(pinholed_rig_send(&rig, WIRE_SEAL, &seal, 1), 0);
	/* Answers are not requests, and nobody wants descriptors. */
	CU_ASSERT_EQUAL(pinholed_rig_send(&rig, WIRE_LISTED, NULL, 0), 0);
	for (int i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(wire_send(rig.channel, WIRE_LISTED, 0, NULL, 0, fds, 2), 0);
	CU_ASSERT(is_alive());
	pinhole.target.port = 22;
	CU_ASSERT_EQUAL(open_one(&pinhole)->err, ERR_DENIED);
	pinhole = pinholed_rig_pinhole(1);
	pinhole.listen = pinholed_rig_addr("203.0.113.1:20000");
	CU_ASSERT_EQUAL(open_one(&pinhole)->err, ERR_DENIED);
	CU_ASSERT_EQUAL(count_worker_fds(), n_fds);
	CU_ASSERT_EQUAL(open_id(1), 0);
	CU_ASSERT_EQUAL(rig.fake->n_opens, 1); /* still the first worker */
	pinholed_rig_stop(&rig);
}

/* A parent that asks without end and reads nothing: it is made to wait; then every request has its answer, in order. */
static void flood(void)
{
	uint64_t first, n_sent = 0;
	struct wire_pinhole pinhole = pinholed_rig_pinhole(1);
	unsigned n_full = 0;

	start_sealed();
	CU_ASSERT_FATAL(pinholed_rig_expect(&rig, WIRE_ABILITY));
	first = rig.serial + 1;
	pinhole.target.port = 22;
	while (n_sent < 20000 && n_full < 50) {
		int err = pinholed_rig_send(&rig, n_sent % 2 ? WIRE_LIST : WIRE_OPEN, &pinhole, n_sent % 2 ? 0 : 1);

		if (err == 0) {
			n_sent++;
			continue;
		}
		CU_ASSERT_EQUAL_FATAL(err, -EAGAIN);
		rig.serial--;
		n_full++;
		usleep(1000);
	}
	CU_ASSERT(n_full == 50); /* the room is bounded */
	for (uint64_t i = 0; i < n_sent; i++) {
		CU_ASSERT_FATAL(pinholed_rig_skip_to(&rig, i % 2 ? WIRE_LISTED : WIRE_OPENED));
		CU_ASSERT_EQUAL_FATAL(rig.head.serial, first + i);
	}
	CU_ASSERT(is_alive());
	pinholed_rig_stop(&rig);
}

static void another_worker(void)
{
	const struct wire_hello *hello;
	pid_t worker;
	uint64_t first = 0;

	start_sealed();
	CU_ASSERT_EQUAL(open_id(1), 0);
	CU_ASSERT_EQUAL(open_id(2), 0);
	worker = pinholed_rig_worker(&rig);
	CU_ASSERT_FATAL(worker > 0);
	kill(worker, SIGKILL);
	CU_ASSERT_FATAL(pinholed_rig_skip_to(&rig, WIRE_HELLO));
	hello = rig.records;
	CU_ASSERT_EQUAL(hello->starts, 2);
	CU_ASSERT_EQUAL(rig.n_fds, 2);
	/* It finds what is there; the limits are the same; sweeps of before are not for it. */
	CU_ASSERT_EQUAL(list_ids(&first), 2);
	CU_ASSERT_EQUAL(sweep(1), 0);
	CU_ASSERT_EQUAL(fake_kernel_count(rig.fake), 2);
	CU_ASSERT_EQUAL(open_id(2), 0);
	CU_ASSERT_EQUAL(((const struct wire_opened *)rig.records)->was_there, 1);
	CU_ASSERT_EQUAL(open_id(3), 0);
	CU_ASSERT_EQUAL(sweep(2), 1);
	CU_ASSERT_PTR_NULL(fake_kernel_find(rig.fake, 1));
	CU_ASSERT_PTR_NOT_NULL(fake_kernel_find(rig.fake, 2));
	CU_ASSERT_PTR_NOT_NULL(fake_kernel_find(rig.fake, 3));
	CU_ASSERT_EQUAL(sweep(2), 0);
	pinholed_rig_stop(&rig);
}

static void only_what_it_needs(void)
{
	start_sealed();
	if (sandbox_has_filter()) {
		rig.fake->calls_forbidden = true;
		CU_ASSERT_FATAL(pinholed_rig_skip_to(&rig, WIRE_HELLO));
		CU_ASSERT_EQUAL(((const struct wire_hello *)rig.records)->starts, 2);
		CU_ASSERT_EQUAL(open_id(1), 0);
	}
	pinholed_rig_stop(&rig);
}

static void broken_is_opened_again(void)
{
	start_sealed();
	CU_ASSERT_EQUAL(open_id(1), 0);
	rig.fake->is_broken = true;
	CU_ASSERT_FATAL(pinholed_rig_skip_to(&rig, WIRE_HELLO));
	CU_ASSERT_EQUAL(((const struct wire_hello *)rig.records)->starts, 2);
	CU_ASSERT_EQUAL(rig.fake->n_opens, 2);
	CU_ASSERT_EQUAL(fake_kernel_count(rig.fake), 1);
	pinholed_rig_stop(&rig);
}

static void parent_gone(void)
{
	start_sealed();
	CU_ASSERT_EQUAL(open_id(1), 0);
	close(rig.channel);
	CU_ASSERT_EQUAL(pinholed_rig_wait(&rig), 0);
	CU_ASSERT_EQUAL(fake_kernel_count(rig.fake), 1);
	CU_ASSERT_EQUAL(rig.fake->n_removes, 0);
	rig.channel = -1;
	pinholed_rig_stop(&rig);
}

/* The supervisor is killed: its worker serves on, and ends with the channel as always. */
static void supervisor_gone(void)
{
	int status = -1;
	pid_t worker;

	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	start_sealed();
	CU_ASSERT_EQUAL(open_id(1), 0);
	worker = pinholed_rig_worker(&rig);
	CU_ASSERT_FATAL(worker > 0);
	kill(rig.pid, SIGKILL);
	CU_ASSERT(WIFSIGNALED(pinholed_rig_wait(&rig)));
	CU_ASSERT_EQUAL(open_id(2), 0);
	CU_ASSERT_EQUAL(fake_kernel_count(rig.fake), 2);
	close(rig.channel);
	rig.channel = -1;
	CU_ASSERT_EQUAL(waitpid(worker, &status, 0), worker);
	CU_ASSERT_EQUAL(status, 0);
	CU_ASSERT_EQUAL(fake_kernel_count(rig.fake), 2);
	pinholed_rig_stop(&rig);
	prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

static void ends_by_themselves(void)
{
	struct wire_pinhole brief = pinholed_rig_pinhole(1);
	const struct wire_gone *gone;

	start_sealed();
	CU_ASSERT_FATAL(pinholed_rig_expect(&rig, WIRE_ABILITY));
	brief.lifetime_s = 1;
	CU_ASSERT_EQUAL(open_one(&brief)->err, 0);
	CU_ASSERT_EQUAL(open_id(2), 0);
	CU_ASSERT_FATAL(pinholed_rig_expect(&rig, WIRE_GONE));
	gone = rig.records;
	CU_ASSERT_EQUAL(rig.head.count, 1);
	CU_ASSERT_EQUAL(rig.head.serial, 0);
	CU_ASSERT_EQUAL(gone->id, 1);
	CU_ASSERT_EQUAL(gone->why, WIRE_EXPIRED);
	CU_ASSERT_EQUAL(gone->last.packets, 1000);
	rig.fake->gone_why = WIRE_LOST;
	rig.fake->gone_id = 2;
	CU_ASSERT_FATAL(pinholed_rig_expect(&rig, WIRE_GONE));
	gone = rig.records;
	CU_ASSERT_EQUAL(gone->id, 2);
	CU_ASSERT_EQUAL(gone->why, WIRE_LOST);
	CU_ASSERT_EQUAL(fake_kernel_count(rig.fake), 0);
	CU_ASSERT_EQUAL(close_id(2)->err, ERR_NOT_FOUND);
	pinholed_rig_stop(&rig);
}

static int ask_socket(const struct wire_socket_request *request)
{
	CU_ASSERT_FATAL(pinholed_rig_ask(&rig, WIRE_SOCKET, request, 1, WIRE_SOCKET_READY));
	CU_ASSERT_EQUAL(rig.n_fds, ((const struct wire_result *)rig.records)->err == 0);
	return ((const struct wire_result *)rig.records)->err;
}

static bool is_bound_to(const struct wire_addr *wanted)
{
	struct addr expected = wire_addr_get(wanted), addr;
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	if (rig.n_fds != 1 || getsockname(rig.fds[0], (struct sockaddr *)&sa, &len) < 0)
		return false;
	addr = addr_from_sockaddr((const struct sockaddr *)&sa);
	return addr_eq(&addr, &expected);
}

static void sockets(void)
{
	struct wire_socket_request request = { .realm = 2, .proto = IPPROTO_TCP, .addr = pinholed_rig_loopback(554) };
	bool is_root = geteuid() == 0;
	int one = 0;
	socklen_t len = sizeof(one);

	start_sealed();
	CU_ASSERT_EQUAL(ask_socket(&request), is_root ? 0 : -EACCES);
	if (is_root) {
		CU_ASSERT(is_bound_to(&request.addr));
		CU_ASSERT_EQUAL(getsockopt(rig.fds[0], SOL_SOCKET, SO_ACCEPTCONN, &one, &len), 0);
		CU_ASSERT_EQUAL(one, 1);
	}
	request.addr = pinholed_rig_addr("192.0.2.10:20000"); /* another realm's */
	CU_ASSERT_EQUAL(ask_socket(&request), ERR_DENIED);
	request = (struct wire_socket_request){ .realm = 2, .proto = IPPROTO_TCP, .addr = pinholed_rig_loopback(22) };
	CU_ASSERT_EQUAL(ask_socket(&request), ERR_DENIED);
	request.addr = pinholed_rig_loopback(8080); /* nobody needs help with that */
	CU_ASSERT_EQUAL(ask_socket(&request), ERR_DENIED);
	request.addr = pinholed_rig_addr("203.0.113.5:554");
	CU_ASSERT_EQUAL(ask_socket(&request), ERR_DENIED);
	CU_ASSERT(is_alive());
	pinholed_rig_stop(&rig);
}

static void transparent_sockets(void)
{
	struct wire_socket_request listener = { .proto = IPPROTO_TCP, .is_transparent = 1 };
	struct wire_socket_request as_client = { .proto = IPPROTO_TCP, .realm = 1, .is_transparent = 1, .is_connecting = 1 };
	struct wire_socket_request as_server = { .proto = IPPROTO_UDP, .is_transparent = 1, .is_connecting = 1 };
	bool is_root = geteuid() == 0;
	int one = 0;
	socklen_t len = sizeof(one);

	listener.addr = pinholed_rig_addr("127.0.0.1:18500");
	as_client.addr = pinholed_rig_addr("203.0.113.5");
	as_server.addr = pinholed_rig_addr("198.51.100.65:69");
	start_sealed();
	CU_ASSERT_EQUAL(ask_socket(&listener), is_root ? 0 : -EPERM);
	if (is_root) {
		CU_ASSERT(is_bound_to(&listener.addr));
		CU_ASSERT_EQUAL(getsockopt(rig.fds[0], IPPROTO_IP, IP_TRANSPARENT, &one, &len), 0);
		CU_ASSERT_EQUAL(one, 1);
	}
	CU_ASSERT_EQUAL(ask_socket(&as_client), is_root ? 0 : -EPERM);
	if (is_root)
		CU_ASSERT(is_bound_to(&as_client.addr));
	CU_ASSERT_EQUAL(ask_socket(&as_server), is_root ? 0 : -EPERM);
	if (is_root)
		CU_ASSERT(is_bound_to(&as_server.addr));
	as_client.realm = 0; /* clients are there, not servers */
	CU_ASSERT_EQUAL(ask_socket(&as_client), ERR_DENIED);
	/* What cannot work is not offered. */
	rig.capture->is_unusable = true;
	CU_ASSERT_FATAL(pinholed_rig_skip_to(&rig, WIRE_CAPTURING));
	while (((const struct wire_capturing *)rig.records)->is_working)
		CU_ASSERT_FATAL(pinholed_rig_skip_to(&rig, WIRE_CAPTURING));
	CU_ASSERT_STRING_EQUAL(((const struct wire_capturing *)rig.records)->reason, "none realm 0");
	CU_ASSERT_EQUAL(ask_socket(&listener), ERR_UNSUPPORTED);
	pinholed_rig_stop(&rig);
}

/* Sent before the seal, and never again. */
static void captures_are_limits(void)
{
	struct wire_capture captures[RIG_CAPTURES];
	struct wire_pinhole pinhole = pinholed_rig_pinhole(1);

	pinholed_rig_captures(captures);
	pinholed_rig_start(&rig);
	CU_ASSERT_EQUAL(pinholed_rig_send(&rig, WIRE_CAPTURE, captures, 1), 0); /* of realms that are not known yet */
	CU_ASSERT_EQUAL(WEXITSTATUS(pinholed_rig_wait(&rig)), 1);
	pinholed_rig_stop(&rig);
	start_sealed();
	pinhole.flags = WIRE_THROUGH;
	pinhole.payloads[0] = pinhole.clock_hz = 0;
	pinhole.source.port = 0;
	pinhole.listen = pinhole.target = pinholed_rig_addr("203.0.113.65:4000"); /* no server */
	CU_ASSERT_EQUAL(open_one(&pinhole)->err, ERR_DENIED);
	captures[0].servers = pinholed_rig_addr("203.0.113.64");
	CU_ASSERT_EQUAL(pinholed_rig_send(&rig, WIRE_CAPTURE, captures, 1), 0);
	CU_ASSERT_EQUAL(open_one(&pinhole)->err, ERR_DENIED);
	pinhole.listen = pinhole.target = pinholed_rig_addr("198.51.100.65:4000");
	CU_ASSERT_EQUAL(open_one(&pinhole)->err, ERR_UNSUPPORTED); /* may be, but no back end here can */
	CU_ASSERT_PTR_NOT_NULL(strstr(((const struct wire_opened *)rig.records)->reason, "only between addresses of the gateway"));
	CU_ASSERT_EQUAL(open_id(1), 0);
	pinholed_rig_stop(&rig);
}

static const struct unit_test tests[] = {
	{ "says what it can", says_what_it_can },
	{ "bad limits end it", bad_limits_end_it },
	{ "opened and closed", opened_and_closed },
	{ "refused and alive", refused_and_alive },
	{ "at the limit", at_the_limit },
	{ "not messages", not_messages },
	{ "flood", flood },
	{ "another worker", another_worker },
	{ "only what it needs", only_what_it_needs },
	{ "broken is opened again", broken_is_opened_again },
	{ "parent gone", parent_gone },
	{ "supervisor gone", supervisor_gone },
	{ "ends by themselves", ends_by_themselves },
	{ "sockets", sockets },
	{ "transparent sockets", transparent_sockets },
	{ "captures are limits", captures_are_limits },
};
UNIT_MAIN("helper", tests)
