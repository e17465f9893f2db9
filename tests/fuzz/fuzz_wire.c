/* Decoder of the messages between posternd and its helper, and what the helper allows: a request that passes both keeps the
 * promises of limits.h. The input is one datagram. */
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "pinhole/limits.h"
#include "pinhole/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct limits *limits(void)
{
	static struct limits l;

	if (!l.is_sealed) {
		struct wire_limit access = { .addr = { .ip = { 192, 0, 2, 10 }, .family = AF_INET }, .port_min = 20000,
					     .port_max = 29999 };
		struct wire_limit core = { .addr = { .ip = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 }, .family = AF_INET6 },
					   .port_min = 20000, .port_max = 29999, .realm = 1 };
		struct wire_seal seal = { .pinholes_max = 100, .lifetime_max_s = 3600, .port_floor = 1024,
					  .low_ports = { 554 }, .may_be_transparent = 1 };

		struct wire_capture capture = { .servers = { .ip = { 198, 51, 100, 64 }, .family = AF_INET }, .bits = 26,
						.to = { .ip = { 127, 0, 0, 1 }, .port = 18500, .family = AF_INET }, .ports = { 21 },
						.realm_to = 1, .proto = IPPROTO_UDP, .is_as_client = 1 };
		struct wire_capture inside = capture;

		inside.realm_to = 0;
		inside.proto = IPPROTO_TCP;
		if (limits_add(&l, &access) != LIMITS_OK || limits_add(&l, &core) != LIMITS_OK ||
		    limits_add_capture(&l, &capture) != LIMITS_OK || limits_add_capture(&l, &inside) != LIMITS_OK ||
		    limits_seal(&l, &seal) != LIMITS_OK)
			abort();
	}
	return &l;
}

static void expect(bool is_true)
{
	if (!is_true)
		abort();
}

static bool is_server(const struct wire_addr *addr)
{
	return addr->family == AF_INET && memcmp(addr->ip, (uint8_t[]){ 198, 51, 100 }, 3) == 0 && addr->ip[3] >= 64 && addr->ip[3] < 128;
}

static bool is_own(const struct wire_addr *addr)
{
	return addr->family == AF_INET && memcmp(addr->ip, (uint8_t[]){ 192, 0, 2, 10 }, 4) == 0;
}

static bool is_media(uint16_t port)
{
	return port >= 20000 && port <= 29999;
}

/* One end may be a foreign address, and both hosts are no part of the gateway, and one of them is a server. */
static void check_foreign(const struct wire_pinhole *p)
{
	struct addr target = wire_addr_get(&p->target), source = wire_addr_get(&p->source), listen = wire_addr_get(&p->listen);
	bool is_listen_foreign = p->flags & (WIRE_THROUGH | WIRE_TO_SELF);

	expect(p->realm_in <= 1 && p->realm_out <= 1 && p->source.family == AF_INET && p->listen.family == AF_INET &&
	       p->target.family == AF_INET);
	expect(addr_kind(&source) == ADDR_UNICAST && !is_own(&p->source));
	expect(is_server(&p->source) || is_server(is_listen_foreign ? &p->listen : &p->target));
	if (is_listen_foreign)
		expect(addr_kind(&listen) == ADDR_UNICAST && !is_own(&p->listen) && p->listen.port >= 1024);
	else
		expect(is_own(&p->listen) && is_media(p->listen.port));
	if (p->flags & WIRE_TO_SELF)
		expect(is_own(&p->target) && is_media(p->target.port) && p->proto == IPPROTO_TCP);
	else
		expect(addr_kind(&target) == ADDR_UNICAST && !is_own(&p->target) && p->target.port >= 1024);
	if (p->flags & (WIRE_AS_SOURCE | WIRE_TO_SELF))
		expect(p->from.family == 0);
	else
		expect(is_own(&p->from) && is_media(p->from.port));
}

static void check_pinhole(const struct wire_pinhole *p)
{
	struct addr target = wire_addr_get(&p->target), source = wire_addr_get(&p->source);

	if (limits_pinhole(limits(), p) != LIMITS_OK)
		return;
	expect(p->packets_per_s > 0 && p->bytes_per_s > 0 && p->lifetime_s > 0 && p->lifetime_s <= 3600);
	expect(p->source.port == 0 || p->source.port >= 1024);
	if (p->flags & WIRE_FOREIGN) {
		check_foreign(p);
		return;
	}
	expect(p->realm_in == p->realm_out && p->realm_in <= 1); /* each realm has one family here */
	expect(is_media(p->listen.port) && is_media(p->from.port));
	expect(p->listen.family == p->from.family && p->from.family == p->target.family);
	expect(p->target.port >= 1024 && addr_kind(&target) == ADDR_UNICAST);
	expect(p->source.family == 0 || addr_kind(&source) == ADDR_UNICAST);
}

static void check_socket(const struct wire_socket_request *r)
{
	struct addr addr = wire_addr_get(&r->addr);

	if (limits_socket(limits(), r) != LIMITS_OK)
		return;
	expect(r->realm <= 1);
	if (!r->is_transparent)
		expect(r->addr.port == 554);
	else if (!r->is_connecting)
		expect(addr_kind(&addr) == ADDR_LOOPBACK && r->addr.port == 18500);
	else
		expect(addr_kind(&addr) == ADDR_UNICAST && !is_own(&r->addr) &&
		       (r->addr.port == 0 || r->addr.port >= 1024 || (r->addr.port == 21 && is_server(&r->addr))));
}

/* Whatever it says, nothing but servers on a network are taken over, and nothing is brought elsewhere than to loopback. */
static void check_capture(const struct wire_capture *c)
{
	static struct limits open;
	struct addr servers = wire_addr_get(&c->servers), to = wire_addr_get(&c->to);

	memcpy(open.own, limits()->own, sizeof(open.own[0]) * 2);
	open.n_own = 2;
	open.n_captures = 0;
	if (limits_add_capture(&open, c) != LIMITS_OK)
		return;
	expect(c->realm <= 1 && c->realm_to <= 1 && addr_kind(&to) == ADDR_LOOPBACK && c->to.port >= 1024);
	expect(addr_kind(&servers) == ADDR_UNICAST || (addr_kind(&servers) == ADDR_UNSPECIFIED && c->bits < 8));
	expect(c->ports[0] != 0 && c->bits <= (c->servers.family == AF_INET ? 32 : 128) && servers.family == to.family);
	expect(wire_capture_has(c, &c->servers));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire_head head = { 0 };
	const void *records = NULL;
	const char *why = NULL;
	uint8_t *message = malloc(size > 0 ? size : 1); /* aligned, and ends where the message ends */

	if (message == NULL)
		abort();
	if (size > 0)
		memcpy(message, data, size);
	if (wire_parse(message, size, &head, &records, &why) == 0) {
		expect(why == NULL && size <= WIRE_MESSAGE_MAX);
		expect(size == sizeof(head) + head.count * wire_record_size((enum wire_op)head.op));
		for (uint32_t i = 0; i < head.count; i++) {
			if (head.op == WIRE_OPEN)
				check_pinhole((const struct wire_pinhole *)records + i);
			if (head.op == WIRE_SOCKET)
				check_socket(records);
			if (head.op == WIRE_CAPTURE)
				check_capture((const struct wire_capture *)records + i);
		}
	} else {
		expect(why != NULL && records == NULL && head.op == 0);
	}
	free(message);
	return 0;
}
