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

		if (limits_add(&l, &access) != LIMITS_OK || limits_add(&l, &core) != LIMITS_OK ||
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

static void check_pinhole(const struct wire_pinhole *p)
{
	struct addr target = wire_addr_get(&p->target), source = wire_addr_get(&p->source);

	if (limits_pinhole(limits(), p) != LIMITS_OK)
		return;
	expect(p->realm_in == p->realm_out && p->realm_in <= 1); /* each realm has one family here */
	expect(p->listen.port >= 20000 && p->listen.port <= 29999 && p->from.port >= 20000 && p->from.port <= 29999);
	expect(p->listen.family == p->from.family && p->from.family == p->target.family);
	expect(p->target.port >= 1024 && addr_kind(&target) == ADDR_UNICAST);
	expect(p->source.port == 0 || p->source.port >= 1024);
	expect(p->source.family == 0 || addr_kind(&source) == ADDR_UNICAST);
	expect(p->packets_per_s > 0 && p->bytes_per_s > 0 && p->lifetime_s > 0 && p->lifetime_s <= 3600);
}

static void check_socket(const struct wire_socket_request *r)
{
	if (limits_socket(limits(), r) != LIMITS_OK)
		return;
	expect(r->realm <= 1 || (r->is_transparent && r->is_connecting));
	expect(r->addr.port == 554 || (r->is_transparent && (r->addr.port == 0 || r->addr.port >= 1024)));
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
		}
	} else {
		expect(why != NULL && records == NULL && head.op == 0);
	}
	free(message);
	return 0;
}
