/* Transport addresses and prefixes as text and as socket addresses. Looks nothing up: literals only (RFC 4291, RFC 5952
 * on output, RFC 3986 brackets). Zone ids have no meaning off the host and are refused. Keeps no state. Any thread. */
#include "core/addr.h"

#include <arpa/inet.h>

#include "core/buf.h"
#include "core/err.h"

static const uint8_t mapped_prefix[12] = { [10] = 0xff, [11] = 0xff }; /* ::ffff:0:0/96 */

static unsigned addr_bits(const struct addr *a)
{
	return a->family == AF_INET ? 32 : 128;
}

/* An IPv4-mapped address becomes the IPv4 address it stands for. */
static void unmap(struct addr *a)
{
	if (a->family != AF_INET6 || memcmp(a->ip, mapped_prefix, sizeof(mapped_prefix)) != 0)
		return;
	a->family = AF_INET;
	memmove(a->ip, a->ip + 12, 4);
	memset(a->ip + 4, 0, 12);
}

static int parse_literal(struct span text, int family, struct addr *ret)
{
	struct addr a = { .family = (uint8_t)family };
	char copy[INET6_ADDRSTRLEN];

	if (text.len == 0 || text.len >= sizeof(copy) || memchr(text.ptr, '\0', text.len) != NULL)
		return ERR_PARSE;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	/* inet_pton() takes exactly four decimal parts without leading zeros, and no zone id. */
	if (inet_pton(family, copy, a.ip) != 1)
		return ERR_PARSE;
	*ret = a;
	return 0;
}

static bool is_bracketed(struct span text)
{
	return text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']';
}

/* As parse_literal(), for either family; IPv6 may stand in brackets. */
static int parse_host(struct span text, struct addr *ret)
{
	if (is_bracketed(text))
		return parse_literal(span_sub(text, 1, text.len - 1), AF_INET6, ret);
	return parse_literal(text, span_find(text, ':') < text.len ? AF_INET6 : AF_INET, ret);
}

/* Decimal without leading zeros. */
static int parse_number(struct span text, uint32_t max, uint32_t *ret)
{
	if (text.len > 1 && text.ptr[0] == '0')
		return ERR_PARSE;
	return span_to_u32(text, max, ret);
}

int addr_parse_ip(struct span text, struct addr *ret)
{
	int err = parse_host(text, ret);

	if (err == 0)
		unmap(ret);
	return err;
}

int addr_parse(struct span text, struct addr *ret)
{
	size_t colon = text.len;
	struct span host;
	struct addr a;
	uint32_t port;

	while (colon > 0 && text.ptr[colon - 1] != ':')
		colon--;
	if (colon == 0)
		return ERR_PARSE;
	host = span_sub(text, 0, colon - 1);
	/* Without brackets the last group of an IPv6 address would pass for a port. */
	if (!is_bracketed(host) && span_find(host, ':') < host.len)
		return ERR_PARSE;
	if (addr_parse_ip(host, &a) < 0 || parse_number(span_sub(text, colon, text.len), 65535, &port) < 0 || port == 0)
		return ERR_PARSE;
	a.port = (uint16_t)port;
	*ret = a;
	return 0;
}

static bool has_host_bits(const struct addr *a, unsigned bits)
{
	for (unsigned i = bits; i < addr_bits(a); i++) {
		if (a->ip[i / 8] & 0x80 >> i % 8)
			return true;
	}
	return false;
}

int prefix_parse(struct span text, struct prefix *ret)
{
	size_t slash = span_find(text, '/');
	struct addr a;
	uint32_t bits;

	if (is_bracketed(span_sub(text, 0, slash)) || parse_host(span_sub(text, 0, slash), &a) < 0)
		return ERR_PARSE;
	bits = addr_bits(&a);
	if (slash < text.len && parse_number(span_sub(text, slash + 1, text.len), bits, &bits) < 0)
		return ERR_PARSE;
	if (has_host_bits(&a, bits))
		return ERR_PARSE;
	if (a.family == AF_INET6) {
		unmap(&a);
		if (a.family == AF_INET) /* then bits is at least 96, or the ffff would be host bits */
			bits -= 96;
	}
	*ret = (struct prefix){ a, (uint8_t)bits };
	return 0;
}

bool addr_eq_ip(const struct addr *a, const struct addr *b)
{
	return a->family == b->family && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
	return a->port == b->port && addr_eq_ip(a, b);
}

bool prefix_has(const struct prefix *p, const struct addr *a)
{
	size_t whole = p->bits / 8;
	uint8_t mask = (uint8_t)(0xff00 >> p->bits % 8);

	if (p->addr.family == 0 || p->addr.family != a->family)
		return false;
	if (memcmp(p->addr.ip, a->ip, whole) != 0)
		return false;
	return p->bits % 8 == 0 || (p->addr.ip[whole] & mask) == (a->ip[whole] & mask);
}

static enum addr_kind ipv4_kind(const uint8_t *ip)
{
	if (ip[0] == 0)
		return ip[1] == 0 && ip[2] == 0 && ip[3] == 0 ? ADDR_UNSPECIFIED : ADDR_BROADCAST;
	if (ip[0] == 127)
		return ADDR_LOOPBACK;
	if (ip[0] == 169 && ip[1] == 254)
		return ADDR_LINK_LOCAL;
	if (ip[0] >= 240)
		return ADDR_BROADCAST;
	return ip[0] >= 224 ? ADDR_MULTICAST : ADDR_UNICAST;
}

enum addr_kind addr_kind(const struct addr *a)
{
	static const uint8_t zero[15];

	if (a->family == AF_INET)
		return ipv4_kind(a->ip);
	if (memcmp(a->ip, zero, sizeof(zero)) == 0 && a->ip[15] <= 1)
		return a->ip[15] == 0 ? ADDR_UNSPECIFIED : ADDR_LOOPBACK;
	if (a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80)
		return ADDR_LINK_LOCAL;
	return a->ip[0] == 0xff ? ADDR_MULTICAST : ADDR_UNICAST;
}

bool addr_is_private(const struct addr *a)
{
	const uint8_t *ip = a->ip;

	if (addr_kind(a) == ADDR_LINK_LOCAL)
		return true;
	if (a->family == AF_INET6)
		return (ip[0] & 0xfe) == 0xfc;
	return ip[0] == 10 || (ip[0] == 172 && (ip[1] & 0xf0) == 16) || (ip[0] == 192 && ip[1] == 168) ||
	       (ip[0] == 100 && (ip[1] & 0xc0) == 64);
}

/* inet_ntop() goes through printf, which every message would pay a dozen times. */
static void put_ipv4(struct buf *b, const uint8_t *ip)
{
	for (int i = 0; i < 4; i++) {
		if (i > 0)
			buf_putc(b, '.');
		buf_u64(b, ip[i]);
	}
}

/* "-" for no address; a port of 0 is left out. */
static const char *write_text(const struct addr *a, bool with_brackets, uint16_t port, char *out)
{
	bool is_bracketed_v6 = with_brackets && a->family == AF_INET6;
	struct buf b = buf_of(out, ADDR_TEXT_MAX);
	char ip[INET6_ADDRSTRLEN];

	if (is_bracketed_v6)
		buf_putc(&b, '[');
	if (a->family == AF_INET)
		put_ipv4(&b, a->ip);
	else
		buf_puts(&b, addr_is_set(a) ? inet_ntop(a->family, a->ip, ip, sizeof(ip)) : "-");
	if (is_bracketed_v6)
		buf_putc(&b, ']');
	if (port != 0) {
		buf_putc(&b, ':');
		buf_u64(&b, port);
	}
	buf_putc(&b, '\0');
	return out;
}

const char *addr_text(const struct addr *a, char *out)
{
	return write_text(a, true, a->port, out);
}

const char *addr_ip_text(const struct addr *a, char *out)
{
	return write_text(a, false, 0, out);
}

const char *addr_host_text(const struct addr *a, char *out)
{
	return write_text(a, true, 0, out);
}

socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (a->family == AF_INET) {
		struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(a->port) };

		memcpy(&in.sin_addr, a->ip, 4);
		memcpy(ret, &in, sizeof(in));
		return sizeof(in);
	}
	if (a->family == AF_INET6) {
		struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(a->port) };

		memcpy(&in6.sin6_addr, a->ip, 16);
		memcpy(ret, &in6, sizeof(in6));
		return sizeof(in6);
	}
	return 0;
}

struct addr addr_from_sockaddr(const struct sockaddr *sa)
{
	struct addr a = { 0 };

	if (sa->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof(in));
		a = (struct addr){ .family = AF_INET, .port = ntohs(in.sin_port) };
		memcpy(a.ip, &in.sin_addr, 4);
	} else if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, sa, sizeof(in6));
		a = (struct addr){ .family = AF_INET6, .port = ntohs(in6.sin6_port) };
		memcpy(a.ip, &in6.sin6_addr, 16);
		unmap(&a);
	}
	return a;
}
