/* algs/ftp/ftp_path.h. */
#include <stdio.h>

#include "algs/ftp/ftp_path.h"
#include "tests/unit/unit.h"

static void joined(void)
{
	static const struct { const char *directory, *path, *joined; } rows[] = {
		{ "/a", "b", "/a/b" }, { "/", "b", "/b" }, { "/a/", "b", "/a/b" }, { "", "b", "b" }, { "", "", "" },
		{ "/a", "", "/a" },
		{ "/a", "/b", "/b" }, { "x", "y", "x/y" }, { "/a", "..", "/" }, { "/a/b", "..", "/a" },
		{ "/a", "../..", "/" }, { "/", "..", "/" },
		{ "/a", "../../etc/passwd", "/etc/passwd" }, { "", "..", ".." }, { "", "../..", "../.." },
		{ "", "../a/..", ".." }, { "a", "..", "" },
		{ "a/b", "..", "a" }, { "a", "../../x", "../x" }, { "/a", "./b/.//c/", "/a/b/c" },
		{ "/a", "//b", "/b" }, { "/a", "~bob/x", "~bob/x" },
		{ "", "~/..", "~/.." }, { "~", "x", "~/x" }, { "~/x", "..", "~" },
		{ "/pub", "a/../../secret", "/secret" }, { "/a", "...", "/a/..." },
		{ "/a", ".b", "/a/.b" }, { "/", "", "/" }, { "/", ".", "/" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[64];
		struct buf out = buf_of(text, sizeof(text));

		ftp_path_join(span_of(rows[i].directory), span_of(rows[i].path), &out);
		if (!span_eq(buf_span(&out), span_of(rows[i].joined))) {
			printf("# \"%s\" \"%s\": \"%.*s\"\n", rows[i].directory, rows[i].path,
			       SPAN_ARG(buf_span(&out)));
			CU_FAIL("another path");
		}
	}
}

static void too_long(void)
{
	char text[8];
	struct buf out = buf_of(text, sizeof(text));

	ftp_path_join(SPAN_LIT("/abc"), SPAN_LIT("def"), &out);
	CU_ASSERT(!out.is_full);
	CU_ASSERT(span_eq(buf_span(&out), SPAN_LIT("/abc/def")));
	out = buf_of(text, sizeof(text));
	ftp_path_join(SPAN_LIT("/abc"), SPAN_LIT("defg"), &out);
	CU_ASSERT(out.is_full);
}

static const struct unit_test tests[] = {
	{ "joined", joined },
	{ "too long", too_long },
};

UNIT_MAIN("ftp_path", tests)
