/* Messages between posternd and its helper: taken apart, and carried over a SOCK_SEQPACKET pair with their descriptors.
 *
 * Each op is a row of a table: size of its record, how many records a message may have, and a check of one record. The
 * checks are about form alone (a record that passes has no byte without a meaning); what a request may ask for is decided
 * by limits.c. Taking apart is pure and allocates nothing. Any thread. */
#include "pinhole/wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/err.h"
#include "pinhole/pinhole.h"

struct wire_shape {
	size_t size;
	uint32_t min, max;                       /* records in a message */
	const char *(*check)(const void *record); /* NULL, or what is wrong with it */
};

enum { FLAGS = WIRE_RTP | WIRE_ONE_SHOT | WIRE_HANDED_OVER | WIRE_FOREIGN };

static const char *const why_not_zero = "a byte that must be zero is not";
static const char *const why_range = "a value is out of its range";
static const char *const why_text = "a text has no end";
static const char *const why_addr = "an address is not well-formed";

static bool is_zero(const void *bytes, size_t n)
{
	const uint8_t *b = bytes;
	uint8_t any = 0;

	for (size_t i = 0; i < n; i++)
		any |= b[i];
	return any == 0;
}

static bool has_end(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static bool is_addr(const struct wire_addr *a)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (a->zero != 0)
		return false;
	switch (a->family) {
	case 0:
		return is_zero(a->ip, sizeof(a->ip));
	case AF_INET:
		return is_zero(a->ip + 4, sizeof(a->ip) - 4);
	case AF_INET6:
		return memcmp(a->ip, mapped, sizeof(mapped)) != 0; /* one host has one form */
	default:
		return false;
	}
}

static bool is_proto(uint8_t proto)
{
	return proto == IPPROTO_UDP || proto == IPPROTO_TCP;
}

static const char *check_limit(const void *record)
{
	const struct wire_limit *r = record;

	if (!is_addr(&r->addr) || r->addr.family == 0 || r->addr.port != 0)
		return why_addr;
	if (!has_end(r->interface, sizeof(r->interface)))
		return why_text;
	return r->zero == 0 ? NULL : why_not_zero;
}

/* Nothing after the end. */
static bool is_port_list(const uint16_t *ports, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (ports[i] != 0 && ports[i - 1] == 0)
			return false;
	return true;
}

static bool has_host_bits(const struct wire_capture *r)
{
	for (unsigned bit = r->bits; bit < sizeof(r->servers.ip) * 8; bit++)
		if (r->servers.ip[bit / 8] & 0x80 >> bit % 8)
			return true;
	return false;
}

static const char *check_capture(const void *record)
{
	const struct wire_capture *r = record;

	if (!is_addr(&r->servers) || !is_addr(&r->to) || r->servers.family == 0 || r->to.family != r->servers.family)
		return why_addr;
	if (r->bits > (r->servers.family == AF_INET ? 32 : 128) || r->servers.port != 0 || r->to.port == 0)
		return why_range;
	if (has_host_bits(r))
		return why_addr;
	if (!is_proto(r->proto) || r->is_as_client > 1 || r->ports[0] == 0 || !is_port_list(r->ports, WIRE_CAPTURE_PORTS_MAX))
		return why_range;
	return r->zero == 0 ? NULL : why_not_zero;
}

/* Paths by preference: each at most once, nothing after the end. */
static bool is_order(const uint8_t *order, size_t n)
{
	unsigned seen = 0;
	bool is_over = false;

	for (size_t i = 0; i < n; i++) {
		is_over |= order[i] == PINHOLE_NONE;
		if (order[i] >= PINHOLE_PATHS || (is_over && order[i] != PINHOLE_NONE))
			return false;
		if (!is_over && (seen & 1U << order[i]))
			return false;
		seen |= 1U << order[i];
	}
	return true;
}

static const char *check_seal(const void *record)
{
	const struct wire_seal *r = record;

	for (unsigned i = 0; i < WIRE_LOW_PORTS_MAX; i++)
		if (r->low_ports[i] >= 1024)
			return why_range;
	if (!is_port_list(r->low_ports, WIRE_LOW_PORTS_MAX))
		return why_range;
	if (r->may_reach_loopback > 1 || r->may_be_transparent > 1 || r->firewall > 1)
		return why_range;
	if (!is_order(r->order, sizeof(r->order)))
		return why_range;
	return is_zero(r->zero, sizeof(r->zero)) ? NULL : why_not_zero;
}

/* What is not used is not there, and what is said twice is said alike. */
static bool is_foreign_well_formed(const struct wire_pinhole *r)
{
	static const struct wire_addr none;

	if ((r->flags & WIRE_THROUGH) && memcmp(&r->listen, &r->target, sizeof(r->listen)) != 0)
		return false;
	if ((r->flags & WIRE_TO_SELF) && (r->flags & (WIRE_THROUGH | WIRE_AS_SOURCE)))
		return false;
	return !(r->flags & (WIRE_AS_SOURCE | WIRE_TO_SELF)) || memcmp(&r->from, &none, sizeof(none)) == 0;
}

static const char *check_pinhole(const void *record)
{
	const struct wire_pinhole *r = record;

	if (!is_addr(&r->listen) || !is_addr(&r->from) || !is_addr(&r->source) || !is_addr(&r->target))
		return why_addr;
	if (!is_proto(r->proto) || r->dscp > 63 || (r->flags & ~FLAGS) || r->id == 0)
		return why_range;
	if (!is_foreign_well_formed(r))
		return why_addr;
	return r->zero == 0 ? NULL : why_not_zero;
}

static const char *check_key(const void *record)
{
	const struct wire_key *r = record;

	return r->id != 0 ? NULL : why_range;
}

static const char *check_socket_request(const void *record)
{
	const struct wire_socket_request *r = record;

	if (!is_addr(&r->addr) || r->addr.family == 0)
		return why_addr;
	if (!is_proto(r->proto) || r->is_transparent > 1 || r->is_connecting > 1)
		return why_range;
	return is_zero(r->zero, sizeof(r->zero)) ? NULL : why_not_zero;
}

static const char *check_hello(const void *record)
{
	const struct wire_hello *r = record;

	if (r->starts == 0 || r->slot_size == 0)
		return why_range;
	return r->zero == 0 ? NULL : why_not_zero;
}

static const char *check_ability(const void *record)
{
	const struct wire_ability *r = record;

	if (r->path == PINHOLE_NONE || r->path >= PINHOLE_PATHS || r->is_usable > 1 || r->is_wanted > 1)
		return why_range;
	if (!has_end(r->interface, sizeof(r->interface)) || !has_end(r->reason, sizeof(r->reason)))
		return why_text;
	return is_zero(r->zero, sizeof(r->zero)) ? NULL : why_not_zero;
}

static const char *check_opened(const void *record)
{
	const struct wire_opened *r = record;

	if (r->err > 0 || r->region > 1 || r->path >= PINHOLE_PATHS || r->was_there > 1)
		return why_range;
	if (!has_end(r->reason, sizeof(r->reason)))
		return why_text;
	return is_zero(r->zero, sizeof(r->zero)) ? NULL : why_not_zero;
}

static const char *check_closed(const void *record)
{
	const struct wire_closed *r = record;

	if (r->err > 0)
		return why_range;
	return r->zero == 0 ? NULL : why_not_zero;
}

static const char *check_listed(const void *record)
{
	const struct wire_listed *r = record;

	if (r->path == PINHOLE_NONE || r->path >= PINHOLE_PATHS)
		return why_range;
	return is_zero(r->zero, sizeof(r->zero)) ? NULL : why_not_zero;
}

static const char *check_looked(const void *record)
{
	const struct wire_looked *r = record;

	if (r->end >= PINHOLE_ENDS)
		return why_range;
	return is_zero(r->zero, sizeof(r->zero)) ? NULL : why_not_zero;
}

static const char *check_result(const void *record)
{
	const struct wire_result *r = record;

	if (r->err > 0)
		return why_range;
	return r->zero == 0 ? NULL : why_not_zero;
}

static const char *check_gone(const void *record)
{
	const struct wire_gone *r = record;

	if (r->why < WIRE_EXPIRED || r->why > WIRE_LOST || r->id == 0)
		return why_range;
	return r->zero == 0 ? NULL : why_not_zero;
}

static const char *check_capturing(const void *record)
{
	const struct wire_capturing *r = record;

	if (r->is_working > 1)
		return why_range;
	if (!has_end(r->reason, sizeof(r->reason)))
		return why_text;
	return is_zero(r->zero, sizeof(r->zero)) ? NULL : why_not_zero;
}

static const struct wire_shape shapes[] = {
	[WIRE_LIMITS] = { sizeof(struct wire_limit), 1, WIRE_BATCH_MAX, check_limit },
	[WIRE_SEAL] = { sizeof(struct wire_seal), 1, 1, check_seal },
	[WIRE_OPEN] = { sizeof(struct wire_pinhole), 1, WIRE_BATCH_MAX, check_pinhole },
	[WIRE_CLOSE] = { sizeof(struct wire_key), 1, WIRE_BATCH_MAX, check_key },
	[WIRE_SWEEP] = { sizeof(struct wire_count), 1, 1, NULL },
	[WIRE_LIST] = { 0, 0, 0, NULL },
	[WIRE_SOCKET] = { sizeof(struct wire_socket_request), 1, 1, check_socket_request },
	[WIRE_LOOK] = { sizeof(struct wire_key), 1, WIRE_BATCH_MAX, check_key },
	[WIRE_CAPTURE] = { sizeof(struct wire_capture), 1, WIRE_BATCH_MAX, check_capture },
	[WIRE_HELLO] = { sizeof(struct wire_hello), 1, 1, check_hello },
	[WIRE_ABILITY] = { sizeof(struct wire_ability), 0, WIRE_BATCH_MAX, check_ability },
	[WIRE_OPENED] = { sizeof(struct wire_opened), 1, WIRE_BATCH_MAX, check_opened },
	[WIRE_CLOSED] = { sizeof(struct wire_closed), 1, WIRE_BATCH_MAX, check_closed },
	[WIRE_SWEPT] = { sizeof(struct wire_count), 1, 1, NULL },
	[WIRE_LISTED] = { sizeof(struct wire_listed), 0, WIRE_BATCH_MAX, check_listed },
	[WIRE_LOOKED] = { sizeof(struct wire_looked), 1, WIRE_BATCH_MAX, check_looked },
	[WIRE_SOCKET_READY] = { sizeof(struct wire_result), 1, 1, check_result },
	[WIRE_GONE] = { sizeof(struct wire_gone), 1, WIRE_BATCH_MAX, check_gone },
	[WIRE_CAPTURING] = { sizeof(struct wire_capturing), 1, 1, check_capturing },
};
enum { SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

/* Nothing is sent that has not been set: no record may have padding. And the longest message fits. */
#define FITS(type) (sizeof(struct wire_head) + WIRE_BATCH_MAX * sizeof(struct type) <= WIRE_MESSAGE_MAX)
_Static_assert(sizeof(struct wire_head) == 16, "wire_head");
_Static_assert(sizeof(struct wire_limit) == 44, "wire_limit");
_Static_assert(sizeof(struct wire_capture) == 64, "wire_capture");
_Static_assert(sizeof(struct wire_capturing) == 128, "wire_capturing");
_Static_assert(sizeof(struct wire_seal) == 56, "wire_seal");
_Static_assert(sizeof(struct wire_pinhole) == 144 && FITS(wire_pinhole), "wire_pinhole");
_Static_assert(sizeof(struct wire_hello) == 24, "wire_hello");
_Static_assert(sizeof(struct wire_ability) == 144 && FITS(wire_ability), "wire_ability");
_Static_assert(sizeof(struct wire_opened) == 144 && FITS(wire_opened), "wire_opened");
_Static_assert(sizeof(struct slot) == 144, "slot");
_Static_assert(sizeof(struct wire_closed) == 160 && FITS(wire_closed), "wire_closed");
_Static_assert(sizeof(struct wire_gone) == 160 && FITS(wire_gone), "wire_gone");
_Static_assert(sizeof(struct wire_listed) == 16, "wire_listed");
_Static_assert(sizeof(struct wire_looked) == 16, "wire_looked");
_Static_assert(sizeof(struct wire_socket_request) == 28, "wire_socket_request");

static const struct wire_shape *shape_of(unsigned op)
{
	if (op >= SHAPES || (shapes[op].max == 0 && op != WIRE_LIST))
		return NULL;
	return &shapes[op];
}

size_t wire_record_size(enum wire_op op)
{
	const struct wire_shape *shape = shape_of(op);

	return shape != NULL ? shape->size : 0;
}

static const char *check_records(const struct wire_shape *shape, const uint8_t *records, uint32_t count)
{
	const char *why = NULL;

	for (uint32_t i = 0; i < count && why == NULL && shape->check != NULL; i++)
		why = shape->check(records + i * shape->size);
	return why;
}

int wire_parse(const void *data, size_t len, struct wire_head *ret_head, const void **ret_records, const char **ret_why)
{
	const struct wire_shape *shape;
	struct wire_head head;
	const char *why = NULL;

	if (len < sizeof(head)) {
		*ret_why = "shorter than a head";
		return ERR_PARSE;
	}
	memcpy(&head, data, sizeof(head));
	shape = shape_of(head.op);
	if (head.version != WIRE_VERSION)
		why = "another version";
	else if (shape == NULL)
		why = "unknown op";
	else if (head.count < shape->min || head.count > shape->max)
		why = "count out of range";
	else if (len != sizeof(head) + head.count * shape->size)
		why = "length does not fit the count";
	else
		why = check_records(shape, (const uint8_t *)data + sizeof(head), head.count);
	if (why != NULL) {
		*ret_why = why;
		return ERR_PARSE;
	}
	*ret_head = head;
	*ret_records = (const uint8_t *)data + sizeof(head);
	return 0;
}

struct wire_addr wire_addr_of(const struct addr *addr)
{
	struct wire_addr wire = { .port = addr->port, .family = addr->family };

	memcpy(wire.ip, addr->ip, sizeof(wire.ip));
	return wire;
}

struct addr wire_addr_get(const struct wire_addr *wire)
{
	struct addr addr = { .port = wire->port, .family = wire->family };

	memcpy(addr.ip, wire->ip, sizeof(addr.ip));
	return addr;
}

bool wire_addr_eq(const struct wire_addr *a, const struct wire_addr *b)
{
	return a->family == b->family && a->port == b->port && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

bool wire_capture_has(const struct wire_capture *capture, const struct wire_addr *addr)
{
	const struct prefix servers = { .addr = wire_addr_get(&capture->servers), .bits = capture->bits };
	const struct addr host = wire_addr_get(addr);

	return addr_is_set(&host) && prefix_has(&servers, &host);
}

static int error_of(int number)
{
	return number == EPIPE || number == ECONNRESET || number == ENOTCONN ? ERR_CLOSED : -number;
}

int wire_send(int fd, enum wire_op op, uint64_t serial, const void *records, uint32_t count, const int *fds, unsigned n_fds)
{
	union { /* aligned as the header wants it */
		char bytes[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct wire_head head = { .version = WIRE_VERSION, .op = (uint16_t)op, .count = count, .serial = serial };
	struct iovec iov[2] = {
		{ .iov_base = &head, .iov_len = sizeof(head) },
		{ .iov_base = (void *)(uintptr_t)records, .iov_len = count * wire_record_size(op) },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = count > 0 ? 2 : 1 };
	ssize_t n;

	if (n_fds > WIRE_FDS_MAX)
		return -EINVAL;
	if (fds != NULL && n_fds > 0) {
		struct cmsghdr *c = &control.align;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	do
		n = sendmsg(fd, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? error_of(errno) : 0;
}

/* The space for control messages holds WIRE_FDS_MAX descriptors and no more; the kernel closes those that do not fit. */
static unsigned take_fds(struct msghdr *msg, int *fds)
{
	unsigned n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		unsigned here = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || here > WIRE_FDS_MAX - n)
			continue;
		memcpy(fds + n, CMSG_DATA(c), here * sizeof(int));
		n += here;
	}
	return n;
}

/* A message without any byte looks like the end of the connection, but leaves it open. */
static bool is_over(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	return poll(&p, 1, 0) != 0;
}

int wire_receive(int fd, void *data, size_t len, int *fds, unsigned *n_fds)
{
	union {
		char bytes[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = data, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	unsigned n_taken = 0;
	ssize_t n;

	if (fds != NULL) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
	}
	do
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_of(errno);
	if (n == 0 && is_over(fd))
		return ERR_CLOSED;
	if (fds != NULL)
		n_taken = take_fds(&msg, fds);
	if (msg.msg_flags & MSG_TRUNC) {
		while (n_taken > 0)
			close(fds[--n_taken]);
		return -EMSGSIZE;
	}
	if (n_fds != NULL)
		*n_fds = n_taken;
	return (int)n;
}
