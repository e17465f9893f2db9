/* core/addr.h. */
#include "core/addr.h"
#include "core/err.h"
#include "tests/unit/unit.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void addresses_without_port(void)
{
	static const struct { const char *in, *out; } rows[] = {
		{ "192.0.2.1", "192.0.2.1" }, { "0.0.0.0", "0.0.0.0" }, { "255.255.255.255", "255.255.255.255" },
		{ "2001:db8::1", "2001:db8::1" }, { "[2001:DB8:0::1]", "2001:db8::1" }, { "::", "::" },
		{ "::ffff:192.0.2.1", "192.0.2.1" }, { "[::ffff:c000:201]", "192.0.2.1" },
		{ "10.1", NULL }, { "1", NULL }, { "0x7f.0.0.1", NULL }, { "010.0.0.1", NULL }, { "1.2.3.4.5", NULL },
		{ "1.2.3.256", NULL }, { "1.2.3.", NULL }, { " 1.2.3.4", NULL }, { "1.2.3.4 ", NULL }, { "", NULL },
		{ "[1.2.3.4]", NULL }, { "[]", NULL }, { "[::1", NULL }, { "::1]", NULL }, { "[[::1]]", NULL },
		{ "fe80::1%eth0", NULL }, { "fe80::1%1", NULL }, { "1::2::3", NULL }, { "12345::", NULL },
		{ "localhost", NULL }, { "1.2.3.4:5060", NULL }, { "[::1]:5060", NULL },
		{ "0000:0000:0000:0000:0000:0000:0000:00001", NULL },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct addr a = { .port = 4711 };
		int err = addr_parse_ip(span_of(rows[i].in), &a);
		char text[ADDR_TEXT_MAX];

		CU_ASSERT_EQUAL(err, rows[i].out ? 0 : ERR_PARSE);
		if (rows[i].out && err == 0) {
			CU_ASSERT_STRING_EQUAL(addr_ip_text(&a, text), rows[i].out);
			CU_ASSERT_EQUAL(a.port, 0);
		} else {
			CU_ASSERT(a.family == 0 && a.port == 4711);
		}
	}
	CU_ASSERT_EQUAL(addr_parse_ip((struct span){ "1.2.3.4\0", 8 }, &(struct addr){ 0 }), ERR_PARSE);
	CU_ASSERT_EQUAL(addr_parse_ip(SPAN_NONE, &(struct addr){ 0 }), ERR_PARSE);
}

static void addresses_with_port(void)
{
	static const struct { const char *in, *out; } rows[] = {
		{ "192.0.2.1:5060", "192.0.2.1:5060" }, { "[2001:db8::1]:65535", "[2001:db8::1]:65535" },
		{ "[::ffff:192.0.2.1]:1", "192.0.2.1:1" },
		{ "192.0.2.1", NULL }, { "192.0.2.1:", NULL }, { "192.0.2.1:0", NULL }, { "192.0.2.1:65536", NULL },
		{ "192.0.2.1:05060", NULL }, { "192.0.2.1:+1", NULL }, { "2001:db8::1:5060", NULL }, { "::1:5060", NULL },
		{ "[2001:db8::1]", NULL }, { "[2001:db8::1]:", NULL }, { "[192.0.2.1]:5060", NULL }, { ":5060", NULL },
		{ ":", NULL }, { "", NULL }, { "[]:1", NULL }, { "[::1]x:1", NULL }, { "host:5060", NULL },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct addr a = { 0 };
		int err = addr_parse(span_of(rows[i].in), &a);
		char text[ADDR_TEXT_MAX];

		CU_ASSERT_EQUAL(err, rows[i].out ? 0 : ERR_PARSE);
		CU_ASSERT_EQUAL(addr_is_set(&a), rows[i].out != NULL);
		if (rows[i].out)
			CU_ASSERT_STRING_EQUAL(addr_text(&a, text), rows[i].out);
	}
}

static void prefixes(void)
{
	static const struct { const char *in, *has, *has_not; } rows[] = {
		{ "10.0.0.0/24", "10.0.0.255", "10.0.1.0" }, { "10.0.0.128/25", "10.0.0.128", "10.0.0.127" },
		{ "0.0.0.0/0", "255.255.255.255", "::1" }, { "::/0", "::1", "10.0.0.1" },
		{ "192.0.2.1", "192.0.2.1", "192.0.2.2" }, { "192.0.2.1/32", "192.0.2.1", "192.0.2.0" },
		{ "2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::" }, { "2001:db8::1", "2001:db8::1", "2001:db8::" },
		{ "::ffff:10.0.0.0/104", "10.255.0.1", "11.0.0.1" }, { "::ffff:0.0.0.0/96", "1.2.3.4", "::1" },
		{ "10.0.0.1/24", NULL, NULL }, { "2001:db8::1/64", NULL, NULL }, { "10.0.0.0/33", NULL, NULL },
		{ "2001:db8::/129", NULL, NULL }, { "10.0.0.0/", NULL, NULL }, { "10.0.0.0/024", NULL, NULL },
		{ "10.0.0.0/-1", NULL, NULL }, { "/24", NULL, NULL }, { "", NULL, NULL }, { "[::1]/128", NULL, NULL },
		{ "::ffff:10.0.0.0/95", NULL, NULL }, { "::ffff:10.0.0.0/80", NULL, NULL }, { "10/8", NULL, NULL },
		{ "10.0.0.0/8/8", NULL, NULL },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct addr a;
		struct prefix p;
		int err = prefix_parse(span_of(rows[i].in), &p);

		CU_ASSERT_EQUAL(err, rows[i].has ? 0 : ERR_PARSE);
		if (rows[i].has == NULL || err < 0)
			continue;
		CU_ASSERT(addr_parse_ip(span_of(rows[i].has), &a) == 0 && prefix_has(&p, &a));
		CU_ASSERT(addr_parse_ip(span_of(rows[i].has_not), &a) == 0 && !prefix_has(&p, &a));
		CU_ASSERT(!prefix_has(&p, &(struct addr){ 0 }));
	}
}

static void kinds(void)
{
	static const struct { const char *in; enum addr_kind kind; } rows[] = {
		{ "192.0.2.1", ADDR_UNICAST }, { "0.0.0.0", ADDR_UNSPECIFIED }, { "0.1.2.3", ADDR_BROADCAST },
		{ "127.255.0.1", ADDR_LOOPBACK }, { "128.0.0.1", ADDR_UNICAST }, { "169.254.9.9", ADDR_LINK_LOCAL },
		{ "169.253.9.9", ADDR_UNICAST }, { "223.255.255.255", ADDR_UNICAST }, { "224.0.0.1", ADDR_MULTICAST },
		{ "239.255.255.255", ADDR_MULTICAST }, { "240.0.0.1", ADDR_BROADCAST },
		{ "255.255.255.255", ADDR_BROADCAST }, { "::", ADDR_UNSPECIFIED }, { "::1", ADDR_LOOPBACK },
		{ "::2", ADDR_UNICAST }, { "fe80::1", ADDR_LINK_LOCAL }, { "febf::1", ADDR_LINK_LOCAL },
		{ "fec0::1", ADDR_UNICAST }, { "ff02::1", ADDR_MULTICAST }, { "::ffff:127.0.0.1", ADDR_LOOPBACK },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct addr a;

		CU_ASSERT_EQUAL_FATAL(addr_parse_ip(span_of(rows[i].in), &a), 0);
		CU_ASSERT_EQUAL(addr_kind(&a), rows[i].kind);
	}
	CU_ASSERT_EQUAL(addr_kind(&(struct addr){ 0 }), ADDR_UNSPECIFIED);
}

static void texts(void)
{
	char text[ADDR_TEXT_MAX];
	struct addr a;

	CU_ASSERT_STRING_EQUAL(addr_text(&(struct addr){ 0 }, text), "-");
	CU_ASSERT_EQUAL(addr_parse(SPAN_LIT("[fedc:ba98:7654:3210:fedc:ba98:7654:3210]:65535"), &a), 0);
	CU_ASSERT_STRING_EQUAL(addr_text(&a, text), "[fedc:ba98:7654:3210:fedc:ba98:7654:3210]:65535");
	CU_ASSERT_STRING_EQUAL(addr_ip_text(&a, text), "fedc:ba98:7654:3210:fedc:ba98:7654:3210");
	CU_ASSERT_STRING_EQUAL(addr_host_text(&a, text), "[fedc:ba98:7654:3210:fedc:ba98:7654:3210]");
	a.port = 0;
	CU_ASSERT_STRING_EQUAL(addr_text(&a, text), "[fedc:ba98:7654:3210:fedc:ba98:7654:3210]");
}

static void socket_addresses(void)
{
	static const struct { const char *in; size_t len; } rows[] = {
		{ "192.0.2.1:5060", sizeof(struct sockaddr_in) }, { "[2001:db8::1]:5061", sizeof(struct sockaddr_in6) },
	};
	struct sockaddr_in6 mapped = { .sin6_family = AF_INET6, .sin6_port = htons(7) };
	struct sockaddr_storage ss;
	struct addr a, b;

	for (size_t i = 0; i < COUNT(rows); i++) {
		CU_ASSERT_EQUAL_FATAL(addr_parse(span_of(rows[i].in), &a), 0);
		CU_ASSERT_EQUAL(addr_to_sockaddr(&a, &ss), rows[i].len);
		b = addr_from_sockaddr((struct sockaddr *)&ss);
		CU_ASSERT(addr_eq(&a, &b));
		b.port++;
		CU_ASSERT(!addr_eq(&a, &b) && addr_eq_ip(&a, &b));
		b.ip[3] ^= 1;
		CU_ASSERT(!addr_eq_ip(&a, &b));
	}
	memcpy(&mapped.sin6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x01", 16);
	a = addr_from_sockaddr((struct sockaddr *)&mapped);
	CU_ASSERT(addr_parse(SPAN_LIT("10.0.0.1:7"), &b) == 0 && addr_eq(&a, &b));
	ss.ss_family = AF_UNIX;
	a = addr_from_sockaddr((struct sockaddr *)&ss);
	CU_ASSERT(!addr_is_set(&a));
	CU_ASSERT_EQUAL(addr_to_sockaddr(&a, &ss), 0);
}

static void private_ones(void)
{
	static const struct {
		const char *text;
		bool is_private;
	} rows[] = {
		{ "9.255.255.255", false }, { "10.0.0.0", true }, { "11.0.0.0", false }, { "172.15.0.1", false }, { "172.16.0.1", true },
		{ "172.31.255.255", true }, { "172.32.0.1", false }, { "192.167.0.1", false }, { "192.168.0.1", true },
		{ "100.63.0.1", false }, { "100.64.0.1", true }, { "100.127.255.255", true }, { "100.128.0.1", false },
		{ "169.254.1.1", true }, { "192.0.2.1", false }, { "fd00::1", true }, { "fc00::1", true }, { "fe80::1", true },
		{ "2001:db8::1", false }, { "::ffff:10.0.0.1", true },
	};
	struct addr a;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CU_ASSERT_EQUAL_FATAL(addr_parse_ip(span_of(rows[i].text), &a), 0);
		CU_ASSERT_EQUAL(addr_is_private(&a), rows[i].is_private);
	}
}

static const struct unit_test tests[] = {
	{ "addresses without port", addresses_without_port },
	{ "addresses with port", addresses_with_port },
	{ "prefixes", prefixes },
	{ "kinds", kinds },
	{ "private addresses", private_ones },
	{ "texts", texts },
	{ "socket addresses", socket_addresses },
};

UNIT_MAIN("addr", tests)
