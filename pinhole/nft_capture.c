/* pinhole/nft_capture.h. One chain `servers_<n>` with the servers of each place that connections are brought to, and one
 * `take_<n>` that brings them there. What is meant for a server and finds no socket there is dropped: a gateway that is not ready, or gone,
 * lets nothing pass unseen. */
#include "pinhole/nft_capture.h"

#include <string.h>

#include "core/hash.h"
#include "pinhole/nft_skeleton.h"

enum { VALUES = 63, VALUE_SHIFT = 24, TABLE = 18500, ROOM_FIXED = 2048, ROOM_PER_CAPTURE = 800, ROOM_PER_LINE = 100 };

struct nft_capture_routing nft_capture_routing(const char *tag)
{
	static const uint64_t key[2] = { 0x63617074757265, 1 };
	uint32_t value = (uint32_t)(hash_keyed(span_of(tag), key) % VALUES) + 1;

	return (struct nft_capture_routing){ .mark = value << VALUE_SHIFT, .table = TABLE + value };
}

size_t nft_capture_room(const struct backend_conf *conf)
{
	return ROOM_FIXED + (size_t)conf->n_captures * (ROOM_PER_CAPTURE + ROOM_PER_LINE * WIRE_CAPTURE_PORTS_MAX) * (1 + conf->n_interfaces);
}

static const char *proto_text(uint8_t proto)
{
	return proto == IPPROTO_TCP ? "tcp" : "udp";
}

/* Alike but for the servers. */
static bool is_of_group(const struct wire_capture *a, const struct wire_capture *b)
{
	return a->realm == b->realm && a->realm_to == b->realm_to && a->proto == b->proto &&
	       memcmp(&a->to, &b->to, sizeof(a->to)) == 0 && memcmp(a->ports, b->ports, sizeof(a->ports)) == 0;
}

static bool is_first(const struct backend_conf *conf, unsigned at)
{
	for (unsigned i = 0; i < at; i++)
		if (is_of_group(&conf->captures[i], &conf->captures[at]))
			return false;
	return true;
}

static void put_mark(struct buf *b, const struct backend_conf *conf)
{
	buf_printf(b, "meta mark set meta mark and 0x%08x or 0x%08x accept\n", ~(uint32_t)NFT_CAPTURE_MASK,
		   nft_capture_routing(conf->node_tag).mark);
}

static void put_group(struct buf *b, const struct backend_conf *conf, unsigned first)
{
	const struct wire_capture *group = &conf->captures[first];
	const char *ip = group->to.family == AF_INET ? "ip" : "ip6";
	struct addr to = wire_addr_get(&group->to);
	char text[ADDR_TEXT_MAX];

	buf_printf(b, "\tchain take_%u {\n\t\tmeta l4proto %s tproxy %s to %s ", first, proto_text(group->proto), ip,
		   addr_text(&to, text));
	put_mark(b, conf);
	/* Whatever the servers are said to be: the machine itself is none, and all hosts of a network are none. */
	buf_printf(b, "\t\tdrop\n\t}\n\tchain servers_%u {\n\t\tfib daddr type local return\n\t\tfib daddr type broadcast return\n"
		   "\t\tfib daddr type multicast return\n", first);
	for (unsigned i = first; i < conf->n_captures; i++) {
		struct addr servers = wire_addr_get(&conf->captures[i].servers);

		if (is_of_group(&conf->captures[i], group))
			buf_printf(b, "\t\t%s daddr %s/%u goto take_%u\n", ip, addr_ip_text(&servers, text), conf->captures[i].bits,
				   first);
	}
	buf_puts(b, "\t}\n");
}

/* What leaves this machine to itself is not taken over. */
static bool is_usable(const struct backend_interface *interface)
{
	return strcmp(interface->name, "lo") != 0;
}

/* The name stands for all interfaces of the realm before it, too. */
static bool is_repeated(const struct backend_conf *conf, unsigned at, bool is_any_realm)
{
	for (unsigned i = 0; i < at; i++)
		if (strcmp(conf->interfaces[i].name, conf->interfaces[at].name) == 0 &&
		    (is_any_realm || conf->interfaces[i].realm == conf->interfaces[at].realm))
			return true;
	return false;
}

static void put_jumps(struct buf *b, const struct backend_conf *conf, unsigned first)
{
	const struct wire_capture *group = &conf->captures[first];

	for (unsigned i = 0; i < conf->n_interfaces; i++) {
		const struct backend_interface *interface = &conf->interfaces[i];

		if (interface->realm != group->realm || !is_usable(interface) || is_repeated(conf, i, false))
			continue;
		for (unsigned k = 0; k < WIRE_CAPTURE_PORTS_MAX && group->ports[k] != 0; k++)
			buf_printf(b, "\t\tiifname \"%s\" %s dport %u jump servers_%u\n", interface->name, proto_text(group->proto),
				   group->ports[k], first);
	}
}

static bool has_proto(const struct backend_conf *conf, uint8_t proto)
{
	for (unsigned i = 0; i < conf->n_captures; i++)
		if (conf->captures[i].proto == proto)
			return true;
	return false;
}

static bool is_captured(const struct backend_conf *conf, unsigned realm)
{
	for (unsigned i = 0; i < conf->n_captures; i++)
		if (conf->captures[i].realm == realm || conf->captures[i].realm_to == realm)
			return true;
	return false;
}

void nft_capture_put(struct buf *b, const struct backend_conf *conf)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP };

	for (unsigned i = 0; i < conf->n_captures; i++)
		if (is_first(conf, i))
			put_group(b, conf, i);
	/* Connections that were taken over, and those that carry a client's address, have a socket. One that listens everywhere is
	 * somebody else's; one that is nearly over (time-wait) has no answer to that. Looked for only where there are any, and once for
	 * what is only forwarded and has none. */
	buf_puts(b, "\tchain of_transparent {\n\t\tsocket wildcard 1 return\n\t\t");
	put_mark(b, conf);
	buf_puts(b, "\t}\n\tchain of_sockets {\n\t\tsocket transparent 1 goto of_transparent\n\t}\n\tchain from_realms {\n");
	for (unsigned i = 0; i < 2; i++)
		if (has_proto(conf, protos[i]))
			buf_printf(b, "\t\tmeta l4proto %s jump of_sockets\n", proto_text(protos[i]));
	for (unsigned i = 0; i < conf->n_captures; i++)
		if (is_first(conf, i))
			put_jumps(b, conf, i);
	buf_puts(b, "\t}\n\tchain arriving {\n\t\ttype filter hook prerouting priority mangle; policy accept;\n");
	if (conf->seal->firewall) /* there is connection tracking then: data that goes through a door has nothing to do here */
		buf_printf(b, "\t\tct mark 0x%08x accept\n", nft_mark(conf->node_tag) | NFT_MARK_OPEN);
	for (unsigned i = 0; i < conf->n_interfaces; i++)
		if (is_captured(conf, conf->interfaces[i].realm) && is_usable(&conf->interfaces[i]) && !is_repeated(conf, i, true))
			buf_printf(b, "\t\tiifname \"%s\" jump from_realms\n", conf->interfaces[i].name);
	buf_puts(b, "\t}\n");
}
