/* algs/ftp/ftp_reply.h. */
#include "algs/ftp/ftp_reply.h"
#include "core/err.h"
#include "tests/unit/unit.h"

static void heads(void)
{
	static const struct {
		const char *line;
		bool is_reply;
		unsigned code;
		bool is_opener;
		size_t text_at;
	} rows[] = {
		{ "220 hello", true, 220, false, 4 }, { "220-hello", true, 220, true, 4 },
		{ "220", true, 220, false, 3 },
		{ "227 Entering", true, 227, false, 4 }, { "699 x", true, 699, false, 4 },
		{ "100 x", true, 100, false, 4 },
		{ "099 x", false, 0, false, 0 }, { "700 x", false, 0, false, 0 }, { "22 x", false, 0, false, 0 },
		{ "2200 x", false, 0, false, 0 },
		{ "220x", false, 0, false, 0 }, { " 220 x", false, 0, false, 0 }, { "+20 x", false, 0, false, 0 },
		{ "", false, 0, false, 0 },
		{ "HTTP/1.1 200 OK", false, 0, false, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ftp_reply_line found = { 0 };

		CU_ASSERT_EQUAL(ftp_reply_read(span_of(rows[i].line), &found), rows[i].is_reply);
		CU_ASSERT_EQUAL(found.code, rows[i].code);
		CU_ASSERT_EQUAL(found.is_opener, rows[i].is_opener);
		CU_ASSERT_EQUAL(found.text_at, rows[i].text_at);
	}
}

static void ends(void)
{
	CU_ASSERT(ftp_reply_closes(SPAN_LIT("230 ok"), 230));
	CU_ASSERT(ftp_reply_closes(SPAN_LIT("230"), 230));
	CU_ASSERT(!ftp_reply_closes(SPAN_LIT("230-more"), 230));
	CU_ASSERT(!ftp_reply_closes(SPAN_LIT("227 Entering (1,2,3,4,5,6)"), 230));
	CU_ASSERT(!ftp_reply_closes(SPAN_LIT(" 230 ok"), 230));
	CU_ASSERT(!ftp_reply_closes(SPAN_LIT("2300 ok"), 230));
}

static void addresses(void)
{
	struct ftp_address found;

	CU_ASSERT_EQUAL(ftp_reply_find(SPAN_LIT("227 (192,0,2,1,200,10)"), 227, &found), 0);
	CU_ASSERT_EQUAL(found.at, 5);
	CU_ASSERT_EQUAL(found.len, 16);
	CU_ASSERT_EQUAL(found.addr.port, 51210);
	CU_ASSERT_EQUAL(ftp_reply_find(SPAN_LIT("229 (|||51210|)"), 229, &found), 0);
	CU_ASSERT_EQUAL(found.at, 8);
	CU_ASSERT_EQUAL(found.addr.family, 0);
	CU_ASSERT_EQUAL(ftp_reply_find(SPAN_LIT("228 (4,4,192,0,2,1,2,200,10)"), 228, &found), 0);
	CU_ASSERT_EQUAL(found.at, 5);
	CU_ASSERT(ftp_reply_find(SPAN_LIT("227 Logout."), 227, &found) < 0);
	CU_ASSERT(ftp_reply_find(SPAN_LIT("227"), 227, &found) < 0);
	CU_ASSERT(ftp_reply_find(SPAN_LIT("200 (192,0,2,1,200,10)"), 200, &found) < 0);
	/* The code itself is no part of a run. */
	CU_ASSERT(ftp_reply_find(SPAN_LIT("227 ,0,2,1,200,10"), 227, &found) < 0);
}

static void quoted_paths(void)
{
	static const struct { const char *text, *path; } rows[] = {
		{ "\"/users/bob\" is the current directory.", "/users/bob" }, { "\"/a \"\"b\"\"\" x", "/a \"b\"" },
		{ "x \"/\"", "/" },
		{ "\"\" nothing", "" }, { "/users/bob", NULL }, { "\"/open", NULL }, { "\"", NULL }, { "", NULL },
		{ "\"a\"\"", NULL },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[32];
		struct buf out = buf_of(text, sizeof(text));
		int err = ftp_reply_path(span_of(rows[i].text), &out);

		CU_ASSERT_EQUAL(err == 0, rows[i].path != NULL);
		if (err == 0 && rows[i].path != NULL)
			CU_ASSERT(span_eq(buf_span(&out), span_of(rows[i].path)));
	}
}

static void path_at_the_limit(void)
{
	char text[4];
	struct buf out = buf_of(text, sizeof(text));

	CU_ASSERT_EQUAL(ftp_reply_path(SPAN_LIT("\"/abc\""), &out), 0);
	out = buf_of(text, sizeof(text));
	CU_ASSERT_EQUAL(ftp_reply_path(SPAN_LIT("\"/abcd\""), &out), ERR_PARSE);
}

static void unique_names(void)
{
	CU_ASSERT(span_eq(ftp_reply_file(SPAN_LIT("FILE: a.1")), SPAN_LIT("a.1")));
	CU_ASSERT(span_eq(ftp_reply_file(SPAN_LIT("file: a 1 ")), SPAN_LIT("a 1")));
	CU_ASSERT(ftp_reply_file(SPAN_LIT("Opening BINARY FILE: x")).len == 0);
	CU_ASSERT(ftp_reply_file(SPAN_LIT("FILE:")).len == 0);
}

static const struct unit_test tests[] = {
	{ "heads", heads },
	{ "ends of replies", ends },
	{ "addresses", addresses },
	{ "quoted paths", quoted_paths },
	{ "a path at the limit", path_at_the_limit },
	{ "unique names", unique_names },
};

UNIT_MAIN("ftp_reply", tests)
