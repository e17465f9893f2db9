/* pinhole/wire.h. Form of the messages; the corpus of tests/fuzz has more of them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/err.h"
#include "pinhole/pinhole.h"
#include "pinhole/wire.h"
#include "tests/unit/unit.h"

struct message { /* aligned as receivers must have it */
	struct wire_head head;
	union {
		struct wire_limit limit;
		struct wire_seal seal;
		struct wire_pinhole pinholes[WIRE_BATCH_MAX + 1];
		struct wire_key key;
		struct wire_count count;
		struct wire_socket_request socket;
		struct wire_capture capture;
		struct wire_capturing capturing;
		struct wire_hello hello;
		struct wire_ability ability;
		struct wire_opened opened;
		struct wire_closed closed;
		struct wire_listed listed;
		struct wire_looked looked;
		struct wire_result result;
		struct wire_gone gone;
		uint8_t bytes[WIRE_MESSAGE_MAX];
	} u;
};

static struct message m;

static int parse(size_t len, const char **ret_why)
{
	struct wire_head head;
	const void *records;

	*ret_why = "";
	return wire_parse(&m, len, &head, &records, ret_why);
}

static bool is_taken(void)
{
	const char *why;

	return parse(sizeof(m.head) + m.head.count * wire_record_size((enum wire_op)m.head.op), &why) == 0;
}

static void start(enum wire_op op, uint32_t count)
{
	memset(&m, 0, sizeof(m));
	m.head = (struct wire_head){ .version = WIRE_VERSION, .op = (uint16_t)op, .count = count, .serial = 1 };
}

static const struct wire_addr own4 = { .ip = { 192, 0, 2, 10 }, .port = 20000, .family = AF_INET };

static void start_open(uint32_t count)
{
	start(WIRE_OPEN, count);
	for (uint32_t i = 0; i < count && i <= WIRE_BATCH_MAX; i++)
		m.u.pinholes[i] = (struct wire_pinhole){ .id = i + 1, .listen = own4, .from = own4, .target = own4,
							 .proto = IPPROTO_UDP };
}

static void lengths_and_counts(void)
{
	const size_t one = sizeof(m.head) + sizeof(struct wire_pinhole);
	const char *why;

	start_open(1);
	for (size_t len = 0; len < one; len++)
		CU_ASSERT_EQUAL(parse(len, &why), ERR_PARSE);
	CU_ASSERT_EQUAL(parse(one, &why), 0);
	CU_ASSERT_EQUAL(parse(one + 1, &why), ERR_PARSE);
	CU_ASSERT_STRING_EQUAL(why, "length does not fit the count");
	CU_ASSERT_EQUAL(parse(WIRE_MESSAGE_MAX, &why), ERR_PARSE);
	start_open(WIRE_BATCH_MAX);
	CU_ASSERT(is_taken());
	start_open(WIRE_BATCH_MAX + 1);
	CU_ASSERT(!is_taken());
	start_open(0);
	CU_ASSERT(!is_taken());
	m.head.count = UINT32_MAX; /* times the size wraps in 32 bits */
	CU_ASSERT_EQUAL(parse(one, &why), ERR_PARSE);
	CU_ASSERT_STRING_EQUAL(why, "count out of range");
	start(WIRE_LIST, 0);
	CU_ASSERT(is_taken());
	start(WIRE_LIST, 1);
	CU_ASSERT(!is_taken());
}

static void versions_and_ops(void)
{
	static const enum wire_op known[] = { WIRE_LIMITS, WIRE_SEAL, WIRE_OPEN, WIRE_CLOSE, WIRE_SWEEP, WIRE_LIST, WIRE_SOCKET,
					      WIRE_HELLO, WIRE_ABILITY, WIRE_OPENED, WIRE_CLOSED, WIRE_SWEPT, WIRE_LISTED,
					      WIRE_SOCKET_READY, WIRE_GONE, WIRE_CAPTURE, WIRE_CAPTURING, WIRE_LOOK, WIRE_LOOKED };
	unsigned n_known = 0;
	const char *why;

	for (unsigned op = 0; op <= UINT16_MAX; op++) {
		bool is_known = false;

		start((enum wire_op)op, 0);
		parse(sizeof(m.head), &why);
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			is_known |= known[i] == op;
		n_known += is_known;
		if (!is_known)
			CU_ASSERT_STRING_EQUAL(why, "unknown op");
		CU_ASSERT_EQUAL(wire_record_size((enum wire_op)op) > 0, is_known && op != WIRE_LIST);
	}
	CU_ASSERT_EQUAL(n_known, sizeof(known) / sizeof(known[0]));
	start_open(1);
	m.head.version++;
	CU_ASSERT(!is_taken());
}

static void addresses(void)
{
	static const struct {
		struct wire_addr addr;
		bool is_good;
	} rows[] = {
		{ { .ip = { 192, 0, 2, 1 }, .port = 9, .family = AF_INET }, true },
		{ { .ip = { 192, 0, 2, 1, 1 }, .family = AF_INET }, false },
		{ { .ip = { 192, 0, 2, 1, [15] = 1 }, .family = AF_INET }, false },
		{ { .ip = { 192, 0, 2, 1 }, .family = AF_INET, .zero = 1 }, false },
		{ { .ip = { 0x20, 1, [15] = 1 }, .family = AF_INET6 }, true },
		{ { .ip = { [10] = 0xff, 0xff, 192, 0, 2, 1 }, .family = AF_INET6 }, false },
		{ { .ip = { 1 }, .family = 0 }, false },
		{ { .port = 20, .family = 0 }, true },
		{ { .family = AF_UNIX }, false },
		{ { .family = 255 }, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_addr *const at[] = { &m.u.pinholes[0].listen, &m.u.pinholes[0].from, &m.u.pinholes[0].source,
						 &m.u.pinholes[0].target };

		for (size_t k = 0; k < 4; k++) {
			start_open(1);
			*at[k] = rows[i].addr;
			CU_ASSERT_EQUAL(is_taken(), rows[i].is_good);
		}
	}
}

/* Sets one byte of a well-formed message: it is taken only where that byte may have that value. */
static bool is_taken_with(enum wire_op op, size_t offset, uint8_t value)
{
	start(op, 1);
	switch (op) {
	case WIRE_LIMITS: m.u.limit.addr = (struct wire_addr){ .ip = { 192, 0, 2, 1 }, .family = AF_INET }; break;
	case WIRE_OPEN: start_open(1); break;
	case WIRE_CLOSE:
	case WIRE_LOOK: m.u.key.id = 1; break;
	case WIRE_SOCKET: m.u.socket.addr = own4; m.u.socket.proto = IPPROTO_TCP; break;
	case WIRE_CAPTURE:
		m.u.capture = (struct wire_capture){ .servers = { .ip = { 198, 51, 100, 64 }, .family = AF_INET }, .to = own4,
						     .ports = { 21 }, .bits = 26, .proto = IPPROTO_TCP };
		break;
	case WIRE_HELLO: m.u.hello.starts = 1; m.u.hello.slot_size = 1; break;
	case WIRE_ABILITY: m.u.ability.path = PINHOLE_TC; break;
	case WIRE_LISTED: m.u.listed.path = PINHOLE_TC; break;
	case WIRE_GONE: m.u.gone.why = WIRE_LOST; m.u.gone.id = 1; break;
	default: break;
	}
	m.u.bytes[offset] = value;
	return is_taken();
}

#define AT(type, member, is_good, value) { offsetof(struct type, member), value, is_good }

static void values(void)
{
	static const struct {
		enum wire_op op;
		struct { size_t offset; uint8_t value; bool is_good; } at;
	} rows[] = {
		{ WIRE_LIMITS, AT(wire_limit, port_min, true, 7) },
		{ WIRE_LIMITS, AT(wire_limit, addr.port, false, 7) },
		{ WIRE_LIMITS, AT(wire_limit, zero, false, 1) },
		{ WIRE_SEAL, AT(wire_seal, order, true, PINHOLE_NFT) },
		{ WIRE_SEAL, AT(wire_seal, order, false, PINHOLE_PATHS) },
		{ WIRE_SEAL, AT(wire_seal, order[1], false, PINHOLE_TC) },
		{ WIRE_SEAL, AT(wire_seal, low_ports[0], true, 21) },
		{ WIRE_SEAL, AT(wire_seal, low_ports[1], false, 21) },
		{ WIRE_SEAL, AT(wire_seal, firewall, false, 2) },
		{ WIRE_SEAL, AT(wire_seal, may_reach_loopback, false, 2) },
		{ WIRE_SEAL, AT(wire_seal, may_be_transparent, false, 2) },
		{ WIRE_SEAL, AT(wire_seal, zero[5], false, 1) },
		{ WIRE_OPEN, AT(wire_pinhole, id, false, 0) },
		{ WIRE_OPEN, AT(wire_pinhole, proto, true, IPPROTO_TCP) },
		{ WIRE_OPEN, AT(wire_pinhole, proto, false, IPPROTO_ICMP) },
		{ WIRE_OPEN, AT(wire_pinhole, flags, true, 7) },
		{ WIRE_OPEN, AT(wire_pinhole, flags, true, WIRE_THROUGH) }, /* it listens at its target */
		{ WIRE_OPEN, AT(wire_pinhole, flags, false, WIRE_AS_SOURCE) }, /* it has a source to send with */
		{ WIRE_OPEN, AT(wire_pinhole, flags, false, WIRE_TO_SELF) },
		{ WIRE_OPEN, AT(wire_pinhole, flags, false, 64) },
		{ WIRE_OPEN, AT(wire_pinhole, dscp, true, 63) },
		{ WIRE_OPEN, AT(wire_pinhole, dscp, false, 64) },
		{ WIRE_OPEN, AT(wire_pinhole, zero, false, 1) },
		{ WIRE_CLOSE, AT(wire_key, id, false, 0) },
		{ WIRE_LOOK, AT(wire_key, id, true, 2) },
		{ WIRE_LOOK, AT(wire_key, id, false, 0) },
		{ WIRE_SOCKET, AT(wire_socket_request, proto, false, 0) },
		{ WIRE_SOCKET, AT(wire_socket_request, addr.zero, false, 1) },
		{ WIRE_SOCKET, AT(wire_socket_request, is_transparent, false, 2) },
		{ WIRE_SOCKET, AT(wire_socket_request, is_connecting, false, 2) },
		{ WIRE_SOCKET, AT(wire_socket_request, zero[2], false, 1) },
		{ WIRE_CAPTURE, AT(wire_capture, bits, true, 27) },
		{ WIRE_CAPTURE, AT(wire_capture, bits, false, 25) }, /* a host's bit */
		{ WIRE_CAPTURE, AT(wire_capture, bits, false, 33) },
		{ WIRE_CAPTURE, AT(wire_capture, servers.port, false, 1) },
		{ WIRE_CAPTURE, AT(wire_capture, servers.family, false, 0) },
		{ WIRE_CAPTURE, AT(wire_capture, servers.ip[3], false, 65) },
		{ WIRE_CAPTURE, AT(wire_capture, to.zero, false, 1) },
		{ WIRE_CAPTURE, AT(wire_capture, ports[1], true, 22) },
		{ WIRE_CAPTURE, AT(wire_capture, ports[0], false, 0) },
		{ WIRE_CAPTURE, AT(wire_capture, ports[2], false, 22) },
		{ WIRE_CAPTURE, AT(wire_capture, proto, true, IPPROTO_UDP) },
		{ WIRE_CAPTURE, AT(wire_capture, proto, false, IPPROTO_ICMP) },
		{ WIRE_CAPTURE, AT(wire_capture, is_as_client, false, 2) },
		{ WIRE_CAPTURE, AT(wire_capture, zero, false, 1) },
		{ WIRE_CAPTURING, AT(wire_capturing, is_working, true, 1) },
		{ WIRE_CAPTURING, AT(wire_capturing, is_working, false, 2) },
		{ WIRE_CAPTURING, AT(wire_capturing, zero[6], false, 1) },
		{ WIRE_HELLO, AT(wire_hello, starts, false, 0) },
		{ WIRE_HELLO, AT(wire_hello, zero, false, 1) },
		{ WIRE_ABILITY, AT(wire_ability, path, false, PINHOLE_NONE) },
		{ WIRE_ABILITY, AT(wire_ability, path, false, PINHOLE_PATHS) },
		{ WIRE_ABILITY, AT(wire_ability, is_usable, false, 2) },
		{ WIRE_OPENED, AT(wire_opened, region, false, 2) },
		{ WIRE_OPENED, AT(wire_opened, path, false, PINHOLE_PATHS) },
		{ WIRE_OPENED, AT(wire_opened, err, false, 1) },
		{ WIRE_CLOSED, AT(wire_closed, err, false, 1) },
		{ WIRE_LISTED, AT(wire_listed, path, false, PINHOLE_NONE) },
		{ WIRE_LOOKED, AT(wire_looked, end, true, PINHOLE_END_BOTH) },
		{ WIRE_LOOKED, AT(wire_looked, end, false, PINHOLE_ENDS) },
		{ WIRE_LOOKED, AT(wire_looked, zero[6], false, 1) },
		{ WIRE_SOCKET_READY, AT(wire_result, err, false, 1) },
		{ WIRE_GONE, AT(wire_gone, why, false, 0) },
		{ WIRE_GONE, AT(wire_gone, why, false, 4) },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (is_taken_with(rows[i].op, rows[i].at.offset, rows[i].at.value) != rows[i].at.is_good) {
			printf("# row %zu\n", i);
			CU_FAIL("value");
		}
	}
}

/* What hosts that address each other need is there once, and what is not used is not there. */
static void foreign_ends(void)
{
	static const struct {
		uint8_t flags;
		bool listens_at_target, has_from, is_good;
	} rows[] = {
		{ WIRE_THROUGH, true, true, true },
		{ WIRE_THROUGH, false, true, false },
		{ WIRE_THROUGH | WIRE_AS_SOURCE, true, false, true },
		{ WIRE_THROUGH | WIRE_AS_SOURCE, true, true, false },
		{ WIRE_AS_SOURCE, false, false, true },
		{ WIRE_TO_SELF, false, false, true },
		{ WIRE_TO_SELF, false, true, false },
		{ WIRE_TO_SELF | WIRE_AS_SOURCE, false, false, false },
		{ WIRE_TO_SELF | WIRE_THROUGH, true, false, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		start_open(1);
		m.u.pinholes[0].flags = rows[i].flags;
		if (!rows[i].listens_at_target)
			m.u.pinholes[0].listen.port++;
		if (!rows[i].has_from)
			memset(&m.u.pinholes[0].from, 0, sizeof(m.u.pinholes[0].from));
		CU_ASSERT_EQUAL(is_taken(), rows[i].is_good);
	}
	start_open(1);
	m.u.pinholes[0].flags = WIRE_AS_SOURCE;
	m.u.pinholes[0].from = (struct wire_addr){ .port = 1 };
	CU_ASSERT(!is_taken());
}

static void texts_end(void)
{
	start(WIRE_ABILITY, 1);
	m.u.ability.path = PINHOLE_XDP;
	memset(m.u.ability.reason, 'x', sizeof(m.u.ability.reason) - 1);
	CU_ASSERT(is_taken());
	m.u.ability.reason[sizeof(m.u.ability.reason) - 1] = 'x';
	CU_ASSERT(!is_taken());
	start(WIRE_LIMITS, 1);
	m.u.limit.addr = (struct wire_addr){ .ip = { 192, 0, 2, 1 }, .family = AF_INET };
	memset(m.u.limit.interface, 'x', sizeof(m.u.limit.interface));
	CU_ASSERT(!is_taken());
}

static void addresses_go_both_ways(void)
{
	struct addr out, a = { .family = AF_INET6, .port = 5060, .ip = { 0x20, 1, 0xd, 0xb8, [15] = 9 } };
	struct wire_addr wire = wire_addr_of(&a);

	out = wire_addr_get(&wire);
	CU_ASSERT(addr_eq(&a, &out));
	CU_ASSERT_EQUAL(wire.zero, 0);
}

static void open_pair(int pair[2])
{
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
}

static void carried_as_sent(void)
{
	struct wire_count count = { .n = 77 };
	struct wire_head head;
	const void *records;
	const char *why;
	int pair[2], n;

	open_pair(pair);
	CU_ASSERT_EQUAL(wire_receive(pair[1], &m, sizeof(m), NULL, NULL), -EAGAIN);
	CU_ASSERT_EQUAL(wire_send(pair[0], WIRE_SWEEP, 99, &count, 1, NULL, 0), 0);
	CU_ASSERT_EQUAL(wire_send(pair[0], WIRE_LIST, 100, NULL, 0, NULL, 0), 0);
	n = wire_receive(pair[1], &m, sizeof(m), NULL, NULL);
	CU_ASSERT_FATAL(n > 0);
	CU_ASSERT_EQUAL(wire_parse(&m, (size_t)n, &head, &records, &why), 0);
	CU_ASSERT_EQUAL(head.op, WIRE_SWEEP);
	CU_ASSERT_EQUAL(head.serial, 99);
	CU_ASSERT_EQUAL(((const struct wire_count *)records)->n, 77);
	n = wire_receive(pair[1], &m, sizeof(m), NULL, NULL);
	CU_ASSERT_EQUAL(n, (int)sizeof(head));
	close(pair[0]);
	CU_ASSERT_EQUAL(wire_receive(pair[1], &m, sizeof(m), NULL, NULL), ERR_CLOSED);
	CU_ASSERT_EQUAL(wire_send(pair[1], WIRE_LIST, 0, NULL, 0, NULL, 0), ERR_CLOSED);
	close(pair[1]);
}

/* Nothing of these closes the connection or is taken for a message. */
static void odd_datagrams(void)
{
	uint8_t byte = 0;
	int pair[2];

	open_pair(pair);
	CU_ASSERT_EQUAL(send(pair[0], &m, sizeof(m), 0), (ssize_t)sizeof(m));
	CU_ASSERT_EQUAL(wire_receive(pair[1], &m, WIRE_MESSAGE_MAX, NULL, NULL), -EMSGSIZE);
	CU_ASSERT_EQUAL(send(pair[0], &byte, 0, 0), 0);
	CU_ASSERT_EQUAL(send(pair[0], &byte, 1, 0), 1);
	CU_ASSERT_EQUAL(wire_receive(pair[1], &m, sizeof(m), NULL, NULL), 0);
	CU_ASSERT_EQUAL(wire_receive(pair[1], &m, sizeof(m), NULL, NULL), 1);
	close(pair[0]);
	close(pair[1]);
}

static int count_open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void send_fds(int fd, const void *bytes, size_t len, int passed, unsigned n)
{
	union {
		char bytes[CMSG_SPACE(8 * sizeof(int))];
		struct cmsghdr header;
	} control = { .bytes = { 0 } };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
			      .msg_controllen = CMSG_SPACE(n * sizeof(int)) };

	control.header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n * sizeof(int)) };
	for (unsigned i = 0; i < n; i++)
		memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &passed, sizeof(int));
	CU_ASSERT_EQUAL(sendmsg(fd, &msg, 0), (ssize_t)len);
}

static void descriptors(void)
{
	int pair[2], fds[WIRE_FDS_MAX], passed, before, n_before;
	struct wire_head head = { .version = WIRE_VERSION, .op = WIRE_LIST };
	unsigned n = 9;

	open_pair(pair);
	passed = open("/dev/null", O_RDONLY | O_CLOEXEC);
	CU_ASSERT_FATAL(passed >= 0);
	before = count_open_fds();
	fds[0] = passed;
	fds[1] = pair[0];
	CU_ASSERT_EQUAL(wire_send(pair[0], WIRE_LIST, 0, NULL, 0, fds, 2), 0);
	CU_ASSERT_EQUAL(wire_send(pair[0], WIRE_LIST, 0, NULL, 0, fds, 3), -EINVAL);
	fds[0] = fds[1] = -1;
	CU_ASSERT(wire_receive(pair[1], &m, sizeof(m), fds, &n) > 0);
	CU_ASSERT_EQUAL_FATAL(n, 2);
	CU_ASSERT_EQUAL(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
	CU_ASSERT_EQUAL(fcntl(fds[1], F_GETFD), FD_CLOEXEC);
	close(fds[0]);
	close(fds[1]);

	/* Where none are wanted, or more come than there is room for, none stays open unseen. */
	send_fds(pair[0], &head, sizeof(head), passed, 5);
	CU_ASSERT(wire_receive(pair[1], &m, sizeof(m), NULL, NULL) > 0);
	CU_ASSERT_EQUAL(count_open_fds(), before);
	send_fds(pair[0], &m, sizeof(m), passed, 2);
	CU_ASSERT_EQUAL(wire_receive(pair[1], &m, WIRE_MESSAGE_MAX, fds, &n), -EMSGSIZE);
	CU_ASSERT_EQUAL(count_open_fds(), before);
	send_fds(pair[0], &head, sizeof(head), passed, 5);
	CU_ASSERT(wire_receive(pair[1], &m, sizeof(m), fds, &n) > 0);
	n_before = before + (int)n;
	CU_ASSERT(n <= WIRE_FDS_MAX);
	CU_ASSERT_EQUAL(count_open_fds(), n_before);
	while (n > 0)
		close(fds[--n]);
	close(passed);
	close(pair[0]);
	close(pair[1]);
}

static const struct unit_test tests[] = {
	{ "lengths and counts", lengths_and_counts },
	{ "versions and ops", versions_and_ops },
	{ "addresses", addresses },
	{ "values", values },
	{ "foreign ends", foreign_ends },
	{ "texts end", texts_end },
	{ "addresses go both ways", addresses_go_both_ways },
	{ "carried as sent", carried_as_sent },
	{ "odd datagrams", odd_datagrams },
	{ "descriptors", descriptors },
};
UNIT_MAIN("wire", tests)
