/* Reads and writes the three forms of addresses. Strict where a client asks for a connection (what a lenient server
 * could read in another way is not an address here), lenient where a server's text is searched. Pure; any thread. */
#include "algs/ftp/ftp_address.h"

#include <sys/socket.h>

#include "core/addr.h"
#include "core/err.h"

enum {
	NUMBERS_MAX = 21, /* of an IPv6 address in LPRT */
	PORT_NUMBERS = 6,
	DIGITS_MAX = 3,
	PORT_DIGITS_MAX = 5,
	EPSV_MAX = 128,   /* what stands between the parentheses */
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static size_t skip_blanks(struct span text, size_t at)
{
	while (at < text.len && is_blank(text.ptr[at]))
		at++;
	return at;
}

/* One number of at most 255 at *at, which moves behind it. */
static bool take_octet(struct span text, size_t *at, uint8_t *ret)
{
	size_t end = *at;
	unsigned value = 0;

	while (end < text.len && end - *at < DIGITS_MAX && is_digit(text.ptr[end]))
		value = value * 10 + (unsigned)(text.ptr[end++] - '0');
	if (end == *at || value > 255 || (end < text.len && is_digit(text.ptr[end])))
		return false;
	*at = end;
	*ret = (uint8_t)value;
	return true;
}

/* As many numbers as stand there between commas, blanks after commas allowed; at most NUMBERS_MAX. *at moves behind
 * the last one. */
static unsigned take_octets(struct span text, size_t *at, uint8_t out[NUMBERS_MAX])
{
	unsigned n = 0;
	size_t end = *at;

	while (n < NUMBERS_MAX && take_octet(text, &end, &out[n])) {
		n++;
		*at = end;
		if (end == text.len || text.ptr[end] != ',')
			break;
		end = skip_blanks(text, end + 1);
	}
	return n;
}

static struct alg_addr address_of(uint8_t family, const uint8_t *ip, const uint8_t *port)
{
	struct alg_addr ret = { .family = family, .port = (uint16_t)(port[0] << 8 | port[1]) };

	memcpy(ret.ip, ip, family == 4 ? 4 : 16);
	return ret;
}

/* One host has one form: an IPv4-mapped address is the IPv4 address. */
static void unmap(struct alg_addr *addr)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (addr->family != 6 || memcmp(addr->ip, mapped, sizeof(mapped)) != 0)
		return;
	addr->family = 4;
	memmove(addr->ip, addr->ip + 12, 4);
	memset(addr->ip + 4, 0, 12);
}

static int long_address(const uint8_t *numbers, unsigned n, struct alg_addr *ret)
{
	unsigned len;

	if (n < 2)
		return ERR_PARSE;
	if (numbers[0] != 4 && numbers[0] != 6)
		return ERR_UNSUPPORTED;
	len = numbers[0] == 4 ? 4 : 16;
	if (numbers[1] != len || n != 2 + len + 3 || numbers[2 + len] != 2)
		return ERR_PARSE;
	*ret = address_of(numbers[0], numbers + 2, numbers + 2 + len + 1);
	unmap(ret);
	return 0;
}

/* All of `text` but blanks around has to be a list of numbers. */
static int read_numbers(struct span text, uint8_t numbers[NUMBERS_MAX], unsigned *ret_n, struct ftp_address *place)
{
	size_t at = skip_blanks(text, 0), begin = at;

	*ret_n = take_octets(text, &at, numbers);
	if (*ret_n == 0 || skip_blanks(text, at) != text.len)
		return ERR_PARSE;
	place->at = begin;
	place->len = at - begin;
	return 0;
}

int ftp_address_read_port(struct span text, struct ftp_address *ret)
{
	struct ftp_address found = { 0 };
	uint8_t numbers[NUMBERS_MAX];
	unsigned n;

	if (read_numbers(text, numbers, &n, &found) < 0 || n != PORT_NUMBERS)
		return ERR_PARSE;
	found.addr = address_of(4, numbers, numbers + 4);
	*ret = found;
	return 0;
}

int ftp_address_read_lprt(struct span text, struct ftp_address *ret)
{
	struct ftp_address found = { 0 };
	uint8_t numbers[NUMBERS_MAX];
	unsigned n;
	int err = read_numbers(text, numbers, &n, &found);

	if (err == 0)
		err = long_address(numbers, n, &found.addr);
	if (err == 0)
		*ret = found;
	return err;
}

/* Text up to the delimiter, which *rest then begins behind. */
static bool take_field(struct span *rest, char delimiter, struct span *ret)
{
	*ret = span_cut(rest, delimiter);
	return rest->ptr != NULL;
}

static int parse_ip(struct span text, uint8_t family, struct alg_addr *ret)
{
	struct addr addr;

	if ((family == 6) != (span_find(text, ':') < text.len) || span_find(text, '[') < text.len ||
	    addr_parse_ip(text, &addr) < 0)
		return ERR_PARSE;
	ret->family = addr.family == AF_INET ? 4 : 6;
	memcpy(ret->ip, addr.ip, sizeof(ret->ip));
	return 0;
}

int ftp_address_read_eprt(struct span text, struct ftp_address *ret)
{
	size_t begin = skip_blanks(text, 0);
	struct span rest = span_sub(text, begin + 1, text.len), family, ip, port;
	struct ftp_address found = { .at = begin };
	uint32_t number;

	if (begin >= text.len || text.ptr[begin] < '!' || text.ptr[begin] > '~')
		return ERR_PARSE;
	found.delimiter = text.ptr[begin];
	if (is_digit(found.delimiter) || !take_field(&rest, found.delimiter, &family) ||
	    !take_field(&rest, found.delimiter, &ip) || !take_field(&rest, found.delimiter, &port) ||
	    skip_blanks(rest, 0) != rest.len)
		return ERR_PARSE;
	if (span_to_u32(family, UINT32_MAX, &number) < 0)
		return ERR_PARSE;
	if (number != 1 && number != 2)
		return ERR_UNSUPPORTED;
	if (parse_ip(ip, number == 1 ? 4 : 6, &found.addr) < 0 || port.len > PORT_DIGITS_MAX ||
	    span_to_u32(port, UINT16_MAX, &number) < 0)
		return ERR_PARSE;
	found.addr.port = (uint16_t)number;
	found.len = (size_t)(port.ptr + port.len + 1 - (text.ptr + begin));
	*ret = found;
	return 0;
}

/* Whether numbers can begin there: at a digit that is not inside of others. */
static bool is_run(struct span text, size_t at)
{
	return is_digit(text.ptr[at]) && (at == 0 || (!is_digit(text.ptr[at - 1]) && text.ptr[at - 1] != ','));
}

/* Begins at digits that have none before them, as clients search. Exactly six: with more, clients differ in which
 * they take. */
int ftp_address_find_port(struct span text, struct ftp_address *ret)
{
	for (size_t begin = 0; begin < text.len; begin++) {
		uint8_t numbers[NUMBERS_MAX];
		size_t at = begin;

		if (!is_run(text, begin))
			continue;
		if (take_octets(text, &at, numbers) != PORT_NUMBERS)
			continue;
		*ret = (struct ftp_address){ .addr = address_of(4, numbers, numbers + 4), .at = begin,
					     .len = at - begin };
		return 0;
	}
	return ERR_PARSE;
}

int ftp_address_find_lprt(struct span text, struct ftp_address *ret)
{
	for (size_t begin = 0; begin < text.len; begin++) {
		uint8_t numbers[NUMBERS_MAX];
		struct alg_addr addr;
		size_t at = begin;

		if (!is_run(text, begin))
			continue;
		if (long_address(numbers, take_octets(text, &at, numbers), &addr) < 0)
			continue;
		*ret = (struct ftp_address){ .addr = addr, .at = begin, .len = at - begin };
		return 0;
	}
	return ERR_PARSE;
}

static int epsv_port(struct span text, size_t open, struct ftp_address *ret)
{
	struct span rest = span_sub(text, open + 2, open + EPSV_MAX), field;
	char delimiter = open + 1 < text.len ? text.ptr[open + 1] : ' ';
	uint32_t port;

	if (delimiter < '!' || delimiter > '~' || is_digit(delimiter) || !take_field(&rest, delimiter, &field) ||
	    !take_field(&rest, delimiter, &field) || !take_field(&rest, delimiter, &field))
		return ERR_PARSE;
	if (field.len > PORT_DIGITS_MAX || span_to_u32(field, UINT16_MAX, &port) < 0 || rest.len == 0 ||
	    rest.ptr[0] != ')')
		return ERR_PARSE;
	*ret = (struct ftp_address){
		.addr.port = (uint16_t)port,
		.at = (size_t)(field.ptr - text.ptr),
		.len = field.len,
		.delimiter = delimiter,
	};
	return 0;
}

int ftp_address_find_epsv(struct span text, struct ftp_address *ret)
{
	for (size_t at = 0; at < text.len; at++)
		if (text.ptr[at] == '(' && epsv_port(text, at, ret) == 0)
			return 0;
	return ERR_PARSE;
}

static void put_octets(struct buf *out, const uint8_t *octets, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_printf(out, "%s%u", i > 0 ? "," : "", octets[i]);
}

void ftp_address_put_port(struct buf *out, const struct alg_addr *addr)
{
	put_octets(out, addr->ip, 4);
	buf_printf(out, ",%u,%u", addr->port >> 8, addr->port & 0xff);
}

void ftp_address_put_eprt(struct buf *out, const struct alg_addr *addr, char delimiter)
{
	struct addr ip = { .family = addr->family == 4 ? AF_INET : AF_INET6 };
	char text[ADDR_TEXT_MAX];

	memcpy(ip.ip, addr->ip, sizeof(ip.ip));
	buf_printf(out, "%c%d%c%s", delimiter, addr->family == 4 ? 1 : 2, delimiter, addr_ip_text(&ip, text));
	buf_printf(out, "%c%u%c", delimiter, addr->port, delimiter);
}

void ftp_address_put_lprt(struct buf *out, const struct alg_addr *addr)
{
	unsigned len = addr->family == 4 ? 4 : 16;

	buf_printf(out, "%u,%u,", addr->family, len);
	put_octets(out, addr->ip, len);
	buf_printf(out, ",2,%u,%u", addr->port >> 8, addr->port & 0xff);
}

bool ftp_address_eq_ip(const struct alg_addr *a, const struct alg_addr *b)
{
	return a->family == b->family && memcmp(a->ip, b->ip, a->family == 4 ? 4 : 16) == 0;
}

bool ftp_address_eq(const struct alg_addr *a, const struct alg_addr *b)
{
	return ftp_address_eq_ip(a, b) && a->port == b->port;
}
