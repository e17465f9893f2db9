/* Transport addresses (IPv4 and IPv6, with port) and prefixes. IPv4-mapped IPv6 addresses are turned into IPv4 on
 * the way in, so one host has one form. */
#ifndef CORE_ADDR_H
#define CORE_ADDR_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "core/span.h"

struct addr {
	uint8_t family; /* AF_INET, AF_INET6, or 0 for "no address" */
	uint16_t port;  /* host byte order, 0 when unknown */
	uint8_t ip[16]; /* network byte order; IPv4 uses the first 4, the rest is zero */
};

struct prefix {
	struct addr addr; /* port is 0, host bits are zero */
	uint8_t bits;
};

#define ADDR_TEXT_MAX 56   /* "[ipv6]:port" and NUL */

enum addr_kind { /* what an address from the wire is good for; see addr_kind() */
	ADDR_UNICAST,
	ADDR_UNSPECIFIED,
	ADDR_LOOPBACK,
	ADDR_LINK_LOCAL,
	ADDR_MULTICAST,
	ADDR_BROADCAST, /* also 0.0.0.0/8 other than 0.0.0.0, and 240.0.0.0/4 */
};

static inline bool addr_is_set(const struct addr *a)
{
	return a->family != 0;
}

/* A literal without port: "192.0.2.1", "2001:db8::1" or "[2001:db8::1]". Zone ids, names and short forms such as
 * "10.1" are refused. 0 or ERR_PARSE. */
int addr_parse_ip(struct span text, struct addr *ret);
/* A literal with port: "192.0.2.1:5060" or "[2001:db8::1]:5060". The port is required, 1 to 65535. */
int addr_parse(struct span text, struct addr *ret);
/* "10.0.0.0/24", "2001:db8::/32", or a plain address. Set host bits are an error. */
int prefix_parse(struct span text, struct prefix *ret);

bool addr_eq(const struct addr *a, const struct addr *b);    /* address and port */
bool addr_eq_ip(const struct addr *a, const struct addr *b); /* address only */
bool prefix_has(const struct prefix *p, const struct addr *a);
enum addr_kind addr_kind(const struct addr *a);
bool addr_is_private(const struct addr *a); /* RFC 1918, RFC 6598 (carrier NAT), RFC 4193, and link-local */

/* Write into out (ADDR_TEXT_MAX bytes) and return it. No address is "-"; a port of 0 is left out. */
const char *addr_text(const struct addr *a, char *out);     /* "192.0.2.1:5060", "[2001:db8::1]:5060" */
const char *addr_ip_text(const struct addr *a, char *out);  /* "192.0.2.1", "2001:db8::1" */
const char *addr_host_text(const struct addr *a, char *out);/* as in a URI: "192.0.2.1", "[2001:db8::1]" */

/* Fills *ret and returns its length. */
socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ret);
/* family is 0 when sa is neither IPv4 nor IPv6. */
struct addr addr_from_sockaddr(const struct sockaddr *sa);

#endif
