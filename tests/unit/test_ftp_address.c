/* algs/ftp/ftp_address.h: the three forms in which FTP writes addresses. */
#include <stdio.h>

#include "algs/ftp/ftp_address.h"
#include "core/err.h"
#include "tests/unit/unit.h"

static const struct alg_addr host = { .family = 4, .ip = { 192, 0, 2, 1 }, .port = 51210 };
static const struct alg_addr host6 = { .family = 6, .ip = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 }, .port = 51210 };

struct row {
	const char *text;
	int err;
	size_t at, len;
};

static void check(const struct row *row, int (*read)(struct span, struct ftp_address *), const struct alg_addr *addr)
{
	struct ftp_address found = { .len = 4711 };
	int err = read(span_of(row->text), &found);

	if (err != row->err || (err == 0 && (found.at != row->at || found.len != row->len ||
					     !ftp_address_eq(&found.addr, addr))) ||
	    (err != 0 && found.len != 4711)) {
		printf("# \"%s\": %d, at %zu, %zu octets\n", row->text, err, found.at, found.len);
		CU_FAIL("another result");
	}
}

static void port(void)
{
	static const struct row rows[] = {
		{ "192,0,2,1,200,10", 0, 0, 16 }, { "192,000,002,01,200,010", 0, 0, 22 },
		{ " 192,0,2,1,200,10\t ", 0, 1, 16 },
		{ "192, 0,2,1,200, 10", 0, 0, 18 }, { "", ERR_PARSE, 0, 0 }, { "192,0,2,1,200", ERR_PARSE, 0, 0 },
		{ "192,0,2,1,200,10,1", ERR_PARSE, 0, 0 }, { "192,0,2,1,200,10,", ERR_PARSE, 0, 0 },
		{ ",192,0,2,1,200,10", ERR_PARSE, 0, 0 },
		{ "192,0,2,1,200,256", ERR_PARSE, 0, 0 }, { "192,0,2,1,200,0010", ERR_PARSE, 0, 0 },
		{ "192,0,2,1,200,10x", ERR_PARSE, 0, 0 }, { "x192,0,2,1,200,10", ERR_PARSE, 0, 0 },
		{ "192.0.2.1,200,10", ERR_PARSE, 0, 0 },
		{ "+192,0,2,1,200,10", ERR_PARSE, 0, 0 }, { "192,-0,2,1,200,10", ERR_PARSE, 0, 0 },
		{ "192 ,0,2,1,200,10", ERR_PARSE, 0, 0 },
		{ "192,0,2,1,200,10 9", ERR_PARSE, 0, 0 }, { "192,,2,1,200,10", ERR_PARSE, 0, 0 },
	};
	struct ftp_address found;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check(&rows[i], ftp_address_read_port, &host);
	CU_ASSERT_EQUAL(ftp_address_read_port(SPAN_LIT("192,0,2,1,200,10\0"), &found), ERR_PARSE);
}

static void eprt(void)
{
	static const struct row rows[] = {
		{ "|1|192.0.2.1|51210|", 0, 0, 19 }, { " |1|192.0.2.1|51210| ", 0, 1, 19 },
		{ "!1!192.0.2.1!51210!", 0, 0, 19 },
		{ "~1~192.0.2.1~51210~", 0, 0, 19 }, { "P1P192.0.2.1P51210P", 0, 0, 19 },
		{ "|01|192.0.2.1|51210|", 0, 0, 20 },
		{ "|2|::ffff:192.0.2.1|51210|", 0, 0, 26 }, { "|3|192.0.2.1|51210|", ERR_UNSUPPORTED, 0, 0 },
		{ "|0||1|", ERR_UNSUPPORTED, 0, 0 }, { "||192.0.2.1|51210|", ERR_PARSE, 0, 0 },
		{ "|1|192.0.2.1|51210", ERR_PARSE, 0, 0 },
		{ "|1|192.0.2.1|51210||", ERR_PARSE, 0, 0 }, { "|1|192.0.2.1|51210|x", ERR_PARSE, 0, 0 },
		{ "|1|192.0.2.1!51210|", ERR_PARSE, 0, 0 }, { "|1|192.0.2|51210|", ERR_PARSE, 0, 0 },
		{ "|1||51210|", ERR_PARSE, 0, 0 },
		{ "|1|192.0.2.1||", ERR_PARSE, 0, 0 }, { "|1|192.0.2.1|65536|", ERR_PARSE, 0, 0 },
		{ "|1|192.0.2.1|000051210|", ERR_PARSE, 0, 0 },
		{ "|1|192.0.2.1|-1|", ERR_PARSE, 0, 0 }, { "|2|192.0.2.1|51210|", ERR_PARSE, 0, 0 },
		{ "|1|::1|51210|", ERR_PARSE, 0, 0 },
		{ "|1|host.example|51210|", ERR_PARSE, 0, 0 }, { "0101192.0.2.1051210", ERR_PARSE, 0, 0 },
		{ "", ERR_PARSE, 0, 0 },
		{ "|", ERR_PARSE, 0, 0 }, { "|||", ERR_PARSE, 0, 0 },
		{ "\x7f" "1\x7f" "192.0.2.1\x7f" "51210\x7f", ERR_PARSE, 0, 0 },
	};
	static const struct row rows6[] = {
		{ "|2|2001:db8::1|51210|", 0, 0, 21 }, { "$2$2001:DB8:0:0::1$51210$", 0, 0, 25 },
		{ "|2|[2001:db8::1]|51210|", ERR_PARSE, 0, 0 },
		{ "|2|2001:db8::1%eth0|51210|", ERR_PARSE, 0, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check(&rows[i], ftp_address_read_eprt, &host);
	for (size_t i = 0; i < sizeof(rows6) / sizeof(rows6[0]); i++)
		check(&rows6[i], ftp_address_read_eprt, &host6);
}

static void lprt(void)
{
	static const struct row rows[] = {
		{ "4,4,192,0,2,1,2,200,10", 0, 0, 22 },
		{ "6,16,0,0,0,0,0,0,0,0,0,0,255,255,192,0,2,1,2,200,10", 0, 0, 51 },
		{ "4,4,192,0,2,1,2,200,10,0", ERR_PARSE, 0, 0 }, { "4,4,192,0,2,1,3,0,200,10", ERR_PARSE, 0, 0 },
		{ "4,5,192,0,2,1,2,200,10", ERR_PARSE, 0, 0 }, { "4,4,192,0,2,1,1,200", ERR_PARSE, 0, 0 },
		{ "5,4,192,0,2,1,2,200,10", ERR_UNSUPPORTED, 0, 0 },
		{ "6,4,192,0,2,1,2,200,10", ERR_PARSE, 0, 0 }, { "4", ERR_PARSE, 0, 0 }, { "", ERR_PARSE, 0, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check(&rows[i], ftp_address_read_lprt, &host);
}

static void searched(void)
{
	static const struct row rows[] = {
		{ "Entering Passive Mode (192,0,2,1,200,10).", 0, 23, 16 },
		{ "Entering Passive Mode 192,0,2,1,200,10", 0, 22, 16 },
		{ "=192,0,2,1,200,10", 0, 1, 16 }, { "192,0,2,1,200,10", 0, 0, 16 },
		{ "2 ways, 3 tries (192,0,2,1,200,10)", 0, 17, 16 },
		{ "(192, 0, 2, 1, 200, 10)", 0, 1, 21 }, { "1,2,3 (192,0,2,1,200,10)", 0, 7, 16 },
		{ "[192,0,2,1,200,10]!", 0, 1, 16 },
		{ "999,0,2,1,200,10 192,0,2,1,200,10", 0, 17, 16 }, { "mode,now:192,0,2,1,200,10,ok", 0, 9, 16 },
		{ "Logout.", ERR_PARSE, 0, 0 }, { "(192,0,2,1,200)", ERR_PARSE, 0, 0 },
		{ "(1,192,0,2,1,200,10)", ERR_PARSE, 0, 0 },
		{ "", ERR_PARSE, 0, 0 }, { "(1192,0,2,1,200,10)", ERR_PARSE, 0, 0 },
	};
	static const struct row longs[] = {
		{ "Entering Long Passive Mode (4,4,192,0,2,1,2,200,10)", 0, 28, 22 },
		{ "4,4,192,0,2,1,2,200,10", 0, 0, 22 },
		{ "7 (4,4,192,0,2,1,2,200,10)", 0, 3, 22 }, { "(4,4,192,0,2,1,200,10)", ERR_PARSE, 0, 0 },
		{ "none", ERR_PARSE, 0, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check(&rows[i], ftp_address_find_port, &host);
	for (size_t i = 0; i < sizeof(longs) / sizeof(longs[0]); i++)
		check(&longs[i], ftp_address_find_lprt, &host);
}

static void extended(void)
{
	static const struct alg_addr only_port = { .port = 51210 };
	static const struct row rows[] = {
		{ "Extended Passive Mode OK (|||51210|)", 0, 29, 5 }, { "(!!!51210!)", 0, 4, 5 },
		{ "(\"\"\"51210\"). Go.", 0, 4, 5 },
		{ "(aaa51210a)", 0, 4, 5 }, { "(|1|10.9.9.9|51210|)", 0, 13, 5 }, { "(maybe) (|||51210|)", 0, 12, 5 },
		{ "((((|||51210|)", 0, 7, 5 },
		{ "(|||51210)", ERR_PARSE, 0, 0 }, { "|||51210|", ERR_PARSE, 0, 0 }, { "(|||51210|", ERR_PARSE, 0, 0 },
		{ "(||51210|)", ERR_PARSE, 0, 0 },
		{ "(|||65536|)", ERR_PARSE, 0, 0 }, { "(||||)", ERR_PARSE, 0, 0 }, { "(|||512 10|)", ERR_PARSE, 0, 0 },
		{ "(   51210 )", ERR_PARSE, 0, 0 },
		{ "(", ERR_PARSE, 0, 0 }, { "(|", ERR_PARSE, 0, 0 }, { "", ERR_PARSE, 0, 0 },
		{ "(111512101)", ERR_PARSE, 0, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check(&rows[i], ftp_address_find_epsv, &only_port);
}

static void written(void)
{
	char text[160];
	struct buf out = buf_of(text, sizeof(text));

	ftp_address_put_port(&out, &host);
	buf_putc(&out, ' ');
	ftp_address_put_eprt(&out, &host, '|');
	buf_putc(&out, ' ');
	ftp_address_put_eprt(&out, &host6, '!');
	buf_putc(&out, ' ');
	ftp_address_put_lprt(&out, &host);
	CU_ASSERT(!out.is_full);
	CU_ASSERT(span_eq(buf_span(&out),
			  SPAN_LIT("192,0,2,1,200,10 |1|192.0.2.1|51210| !2!2001:db8::1!51210! "
				   "4,4,192,0,2,1,2,200,10")));
	out.len = 0;
	ftp_address_put_lprt(&out, &host6);
	CU_ASSERT(span_eq(buf_span(&out), SPAN_LIT("6,16,32,1,13,184,0,0,0,0,0,0,0,0,0,0,0,1,2,200,10")));
}

static void equality(void)
{
	struct alg_addr other = host;

	CU_ASSERT(ftp_address_eq(&host, &other));
	other.port++;
	CU_ASSERT(!ftp_address_eq(&host, &other) && ftp_address_eq_ip(&host, &other));
	other.ip[3]++;
	CU_ASSERT(!ftp_address_eq_ip(&host, &other));
	CU_ASSERT(!ftp_address_eq_ip(&host, &host6));
}

static const struct unit_test tests[] = {
	{ "PORT", port },
	{ "EPRT", eprt },
	{ "LPRT", lprt },
	{ "227 and 228 are searched", searched },
	{ "229", extended },
	{ "written", written },
	{ "equality", equality },
};

UNIT_MAIN("ftp_address", tests)
