/* algs/ftp/ftp_telnet.h. */
#include "algs/ftp/ftp_telnet.h"
#include "tests/unit/unit.h"

static void sequences(void)
{
	static const struct { struct span bytes; enum ftp_telnet kind; size_t len; } rows[] = {
		{ SPAN_LIT("A"), FTP_TELNET_NONE, 1 }, { SPAN_LIT("\xfe"), FTP_TELNET_NONE, 1 },
		{ SPAN_LIT("\xff"), FTP_TELNET_PART, 1 },
		{ SPAN_LIT("\xff\xff" "A"), FTP_TELNET_ESCAPE, 2 }, { SPAN_LIT("\xff" "A"), FTP_TELNET_NONE, 1 },
		{ SPAN_LIT("\xff\xef" "A"), FTP_TELNET_NONE, 1 }, { SPAN_LIT("\xff\xf0" "A"), FTP_TELNET_COMMAND, 2 },
		{ SPAN_LIT("\xff\xf4\xff\xf2" "ABOR"), FTP_TELNET_COMMAND, 2 },
		{ SPAN_LIT("\xff\xf2" "ABOR"), FTP_TELNET_COMMAND, 2 },
		{ SPAN_LIT("\xff\xfb"), FTP_TELNET_PART, 2 }, { SPAN_LIT("\xff\xfb\x01" "A"), FTP_TELNET_OPTION, 3 },
		{ SPAN_LIT("\xff\xfe\xff"), FTP_TELNET_OPTION, 3 }, { SPAN_LIT("\xff\xfa\x18\x01\xff\xf0" "A"),
								      FTP_TELNET_SUB, 6 },
		{ SPAN_LIT("\xff\xfa\x18\xff\xff\xf0\xff\xf0"), FTP_TELNET_SUB, 8 },
		{ SPAN_LIT("\xff\xfa\x18\x01\xff"), FTP_TELNET_PART, 5 },
		{ SPAN_LIT("\xff\xfa"), FTP_TELNET_PART, 2 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = 0;

		CU_ASSERT_EQUAL(ftp_telnet_next(rows[i].bytes, &len), rows[i].kind);
		CU_ASSERT_EQUAL(len, rows[i].len);
	}
}

static void stripped(void)
{
	static const struct { struct span in, out; } rows[] = {
		{ SPAN_LIT("RETR a"), SPAN_LIT("RETR a") }, { SPAN_LIT("RETR \xff\xff" "a"),
							      SPAN_LIT("RETR \xff" "a") },
		{ SPAN_LIT("RE\xff\xf1TR"), SPAN_LIT("RETR") }, { SPAN_LIT("\xff\xfb\x01" "A\xff\xfd\x03" "B"),
								  SPAN_LIT("AB") },
		{ SPAN_LIT("A\xff\xfa\x18x\xff\xf0" "B"), SPAN_LIT("AB") },
		{ SPAN_LIT("na\xff" "me"), SPAN_LIT("na\xff" "me") },
		{ SPAN_LIT("end\xff"), SPAN_LIT("end\xff") }, { SPAN_LIT("end\xff\xfb"), SPAN_LIT("end") },
		{ SPAN_LIT(""), SPAN_LIT("") },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[64];
		struct buf out = buf_of(text, sizeof(text));

		ftp_telnet_strip(rows[i].in, &out);
		CU_ASSERT(span_eq(buf_span(&out), rows[i].out));
		CU_ASSERT(ftp_telnet_is_in(rows[i].in) == (span_find(rows[i].in, '\xff') < rows[i].in.len));
	}
}

static void escaped(void)
{
	char text[16];
	struct buf out = buf_of(text, sizeof(text));

	ftp_telnet_escape(SPAN_LIT("a\xff" "b\xff\xff"), &out);
	CU_ASSERT(span_eq(buf_span(&out), SPAN_LIT("a\xff\xff" "b\xff\xff\xff\xff")));
}

static void answers(void)
{
	char out[FTP_TELNET_ANSWER_MAX];

	CU_ASSERT_EQUAL(ftp_telnet_answer(SPAN_LIT("\xff\xfb\x01"), out), 3); /* WILL: DONT */
	CU_ASSERT(memcmp(out, "\xff\xfe\x01", 3) == 0);
	CU_ASSERT_EQUAL(ftp_telnet_answer(SPAN_LIT("\xff\xfd\x03"), out), 3); /* DO: WONT */
	CU_ASSERT(memcmp(out, "\xff\xfc\x03", 3) == 0);
	CU_ASSERT_EQUAL(ftp_telnet_answer(SPAN_LIT("\xff\xfc\x01"), out), 0);
	CU_ASSERT_EQUAL(ftp_telnet_answer(SPAN_LIT("\xff\xfe\x01"), out), 0);
}

static const struct unit_test tests[] = {
	{ "sequences", sequences },
	{ "stripped", stripped },
	{ "escaped", escaped },
	{ "answers", answers },
};

UNIT_MAIN("ftp_telnet", tests)
