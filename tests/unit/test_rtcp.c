/* RTCP: compound packets, malformed ones, telling it from RTP on one port. */
#include <stdint.h>
#include <stdio.h>

#include "core/err.h"
#include "media-relay/rtcp.h"
#include "tests/unit/unit.h"

struct row {
	const char *name;
	uint8_t bytes[64];
	size_t len;
	int err;
};

#define SSRC 1, 2, 3, 4
#define RR_EMPTY 0x80, 201, 0, 1, SSRC
#define CNAME_CHUNK SSRC, 1, 2, 'a', 'b', 0, 0, 0, 0

static const struct row rows[] = {
	{ "empty receiver report", { RR_EMPTY }, 8, 0 },
	{ "nothing", { 0 }, 0, ERR_PARSE },
	{ "four octets", { 0x80, 201, 0, 0 }, 4, ERR_PARSE },
	{ "four octets of BYE", { 0x80, 203, 0, 0 }, 4, ERR_PARSE },
	{ "version 1", { 0x40, 201, 0, 1, SSRC }, 8, ERR_PARSE },
	{ "length beyond the datagram", { 0x80, 201, 0, 2, SSRC }, 8, ERR_PARSE },
	{ "length short of the datagram", { RR_EMPTY, 0, 0 }, 10, ERR_PARSE },
	{ "length of 65535 words", { 0x80, 201, 0xff, 0xff, SSRC }, 8, ERR_PARSE },
	{ "report count without reports", { 0x81, 201, 0, 1, SSRC }, 8, ERR_PARSE },
	{ "31 reports claimed", { 0x9f, 201, 0, 7, SSRC }, 32, ERR_PARSE },
	{ "one report", { 0x81, 201, 0, 7, SSRC, SSRC }, 32, 0 },
	{ "sender report", { 0x80, 200, 0, 6, SSRC }, 28, 0 },
	{ "sender report without sender", { 0x80, 200, 0, 1, SSRC }, 8, ERR_PARSE },
	{ "sender report with a block that is missing", { 0x81, 200, 0, 6, SSRC }, 28, ERR_PARSE },
	{ "report and description", { RR_EMPTY, 0x81, 202, 0, 3, CNAME_CHUNK }, 24, 0 },
	{ "description item over its end", { RR_EMPTY, 0x81, 202, 0, 2, SSRC, 1, 9, 'a', 'b' }, 20, ERR_PARSE },
	{ "description chunk missing", { RR_EMPTY, 0x82, 202, 0, 3, CNAME_CHUNK }, 24, ERR_PARSE },
	{ "description without end of items", { RR_EMPTY, 0x81, 202, 0, 2, SSRC, 1, 2, 'a', 'b' }, 20, ERR_PARSE },
	{ "report and goodbye", { RR_EMPTY, 0x81, 203, 0, 1, SSRC }, 16, 0 },
	{ "goodbye with a reason", { RR_EMPTY, 0x81, 203, 0, 2, SSRC, 3, 'b', 'y', 'e' }, 20, 0 },
	{ "goodbye with a reason over its end", { RR_EMPTY, 0x81, 203, 0, 2, SSRC, 4, 'b', 'y', 'e' }, 20, ERR_PARSE },
	{ "goodbye of more sources than it has", { RR_EMPTY, 0x82, 203, 0, 1, SSRC }, 16, ERR_PARSE },
	{ "goodbye of nobody after a report", { RR_EMPTY, 0x80, 203, 0, 0 }, 12, 0 },
	{ "feedback alone (reduced size)", { 0x81, 206, 0, 2, SSRC, SSRC }, 12, 0 },
	{ "feedback without media source", { 0x81, 205, 0, 1, SSRC }, 8, ERR_PARSE },
	{ "application packet", { RR_EMPTY, 0x80, 204, 0, 2, SSRC, 't', 'e', 's', 't' }, 20, 0 },
	{ "application packet without name", { RR_EMPTY, 0x80, 204, 0, 1, SSRC }, 16, ERR_PARSE },
	{ "extended report", { 0x80, 207, 0, 3, SSRC, 4, 0, 0, 1, 9, 9, 9, 9 }, 16, 0 },
	{ "extended report block over its end", { 0x80, 207, 0, 3, SSRC, 4, 0, 0, 2, 9, 9, 9, 9 }, 16, ERR_PARSE },
	{ "extended report block cut", { 0x80, 207, 0, 2, SSRC, 4, 0, 0, 0, }, 12, 0 },
	{ "padding at the end", { RR_EMPTY, 0xa0, 201, 0, 2, SSRC, 0, 0, 0, 4 }, 20, 0 },
	{ "padding before the end", { 0xa0, 201, 0, 2, SSRC, 0, 0, 0, 4, RR_EMPTY }, 20, ERR_PARSE },
	{ "padding of zero", { 0xa0, 201, 0, 2, SSRC, 0, 0, 0, 0 }, 12, ERR_PARSE },
	{ "padding that is no multiple of four", { 0xa0, 201, 0, 2, SSRC, 0, 0, 0, 3 }, 12, ERR_PARSE },
	{ "padding over the packet", { 0xa0, 201, 0, 2, SSRC, 0, 0, 0, 12 }, 12, ERR_PARSE },
	{ "padding over the body", { 0xa0, 201, 0, 2, SSRC, 0, 0, 0, 8 }, 12, ERR_PARSE },
	{ "not RTCP", { 0x80, 0, 0, 1, SSRC }, 8, ERR_PARSE },
	{ "unknown type in the range", { 0x80, 210, 0, 1, SSRC }, 8, 0 },
	{ "second packet malformed", { RR_EMPTY, 0x00, 201, 0, 1, SSRC }, 16, ERR_PARSE },
};

static void test_check(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int err = rtcp_check(rows[i].bytes, rows[i].len);

		if (err != rows[i].err)
			printf("# %s: %d\n", rows[i].name, err);
		CU_ASSERT_EQUAL(err, rows[i].err);
	}
}

static void test_demultiplex(void)
{
	for (unsigned type = 0; type < 256; type++) {
		const uint8_t bytes[] = { 0x80, (uint8_t)type };
		const uint8_t other[] = { 0x40, (uint8_t)type };

		CU_ASSERT_EQUAL(rtcp_is_rtcp(bytes, 2), type >= 192 && type <= 223);
		CU_ASSERT(!rtcp_is_rtcp(bytes, 1));
		CU_ASSERT(!rtcp_is_rtcp(other, 2));
	}
	CU_ASSERT(!rtcp_is_rtcp(NULL, 0));
}

static const struct unit_test tests[] = {
	{ "compound packets", test_check },
	{ "told from RTP by the second octet", test_demultiplex },
};

UNIT_MAIN("rtcp", tests)
