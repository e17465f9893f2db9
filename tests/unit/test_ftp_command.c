/* algs/ftp/ftp_command.h: verbs, the shape of a line, and what must not be overlooked in it. */
#include "algs/ftp/ftp_command.h"
#include "tests/unit/unit.h"

static struct ftp_command read_line(struct span line)
{
	struct ftp_command command;

	ftp_command_read(line, &command);
	return command;
}

static void verbs_are_sorted_and_found(void)
{
	static const char *const classes[] = { "read", "write", "admin", "session" };
	unsigned n = 0;

	for (const struct alg_verb *v = ftp_verbs; v->name != NULL; v++, n++) {
		const struct ftp_verb *found = ftp_verb_find(span_of(v->name));
		bool is_class = false;

		CU_ASSERT_PTR_NOT_NULL_FATAL(found);
		CU_ASSERT_STRING_EQUAL(found->name, v->name);
		CU_ASSERT_STRING_EQUAL(found->class, v->class);
		CU_ASSERT(strlen(v->name) < FTP_VERB_MAX);
		for (size_t i = 0; i < 4; i++)
			is_class |= strcmp(v->class, classes[i]) == 0;
		CU_ASSERT(is_class);
		if (n > 0)
			CU_ASSERT(strcmp(v[-1].name, v->name) < 0);
		/* Data goes one way, and what has data has a path and is one at a time. */
		CU_ASSERT((found->flags & (FTP_F_UP | FTP_F_DOWN)) != (FTP_F_UP | FTP_F_DOWN));
		if (found->kind == FTP_TRANSFER)
			CU_ASSERT((found->flags & FTP_F_DATA) && (found->flags & FTP_F_PATH) &&
				  (found->flags & (FTP_F_UP | FTP_F_DOWN)));
	}
	CU_ASSERT(n > 60);
}

static void verbs_of_other_spellings(void)
{
	static const struct { const char *in; const char *name; } rows[] = {
		{ "retr", "RETR" }, { "ReTr", "RETR" }, { "RET", NULL }, { "RETRX", NULL }, { "", NULL },
		{ "XSHA", "XSHA" },
		{ "XSHA1", "XSHA1" }, { "XSHA25", NULL }, { "A", NULL }, { "ZZZZ", NULL }, { "CWD", "CWD" },
		{ "CWDX", NULL },
		{ "XC", NULL }, { "\xff", NULL }, { "MFF", "MFF" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct ftp_verb *verb = ftp_verb_find(span_of(rows[i].in));

		CU_ASSERT((verb == NULL) == (rows[i].name == NULL));
		if (verb != NULL && rows[i].name != NULL)
			CU_ASSERT_STRING_EQUAL(verb->name, rows[i].name);
	}
	CU_ASSERT_PTR_NULL(ftp_verb_find(SPAN_LIT("RETR\0")));
	CU_ASSERT_PTR_NULL(ftp_verb_find(SPAN_LIT("CCC\0")));
}

static void lines(void)
{
	static const struct { const char *line, *upper, *arg; enum ftp_kind kind; } rows[] = {
		{ "RETR a", "RETR", "a", FTP_TRANSFER }, { "retr  a b ", "RETR", "a b ", FTP_TRANSFER },
		{ " retr\ta", "RETR", "a", FTP_TRANSFER }, { "\t\v\fSTOR\vx", "STOR", "x", FTP_TRANSFER },
		{ "PASV", "PASV", "", FTP_PASV }, { "PASV ", "PASV", "", FTP_PASV }, { "", "", "", FTP_UNKNOWN },
		{ "  ", "", "", FTP_UNKNOWN }, { "XYZZY 1", "XYZZY", "1", FTP_UNKNOWN },
		/* A Synch whose IAC came as urgent data leaves octets in front. */
		{ "\xf2" "ABOR", "ABOR", "", FTP_ABOR }, { "\xff\xf4\xf2" "abor", "ABOR", "", FTP_ABOR },
		{ "averyveryveryverylongcommandname x", "AVERYVERYVERYVERYLONGCOM", "x", FTP_UNKNOWN },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ftp_command c = read_line(span_of(rows[i].line));

		CU_ASSERT(span_eq((struct span){ c.upper, c.upper_len }, span_of(rows[i].upper)));
		CU_ASSERT(span_eq(c.arg, span_of(rows[i].arg)));
		CU_ASSERT_EQUAL(c.verb != NULL ? c.verb->kind : FTP_UNKNOWN, rows[i].kind);
	}
}

static void paths(void)
{
	static const struct { const char *line, *path; } rows[] = {
		{ "RETR /a/b", "/a/b" }, { "LIST -la /x", "/x" }, { "LIST -l -a x y", "x y" }, { "LIST", "" },
		{ "LIST -la", "" },
		{ "RETR -x", "-x" }, { "MFMT 20200101000000 a b", "a b" }, { "MFF modify=1; x", "x" }, { "CDUP", ".." },
		{ "CDUP ignored", ".." }, { "XCUP", ".." }, { "XCWD d", "d" }, { "CWD d", "d" }, { "STOU", "" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ftp_command c = read_line(span_of(rows[i].line));

		CU_ASSERT_PTR_NOT_NULL_FATAL(c.verb);
		CU_ASSERT((c.verb->flags & FTP_F_PATH) != 0);
		CU_ASSERT(span_eq(ftp_command_path(&c), span_of(rows[i].path)));
	}
}

static void epsv_arguments(void)
{
	CU_ASSERT_EQUAL(ftp_command_epsv(SPAN_LIT("")), FTP_EPSV_PLAIN);
	CU_ASSERT_EQUAL(ftp_command_epsv(SPAN_LIT(" ")), FTP_EPSV_PLAIN);
	CU_ASSERT_EQUAL(ftp_command_epsv(SPAN_LIT("1")), FTP_EPSV_IPV4);
	CU_ASSERT_EQUAL(ftp_command_epsv(SPAN_LIT("2 ")), FTP_EPSV_IPV6);
	CU_ASSERT_EQUAL(ftp_command_epsv(SPAN_LIT("all")), FTP_EPSV_ONLY);
	CU_ASSERT_EQUAL(ftp_command_epsv(SPAN_LIT("ALLX")), FTP_EPSV_OTHER);
	CU_ASSERT_EQUAL(ftp_command_epsv(SPAN_LIT("3")), FTP_EPSV_OTHER);
}

static void bare_returns(void)
{
	CU_ASSERT(!ftp_command_has_bare_return(SPAN_LIT("RETR a")));
	CU_ASSERT(!ftp_command_has_bare_return(SPAN_LIT("RETR a\r\0b")));
	CU_ASSERT(!ftp_command_has_bare_return(SPAN_LIT("")));
	CU_ASSERT(ftp_command_has_bare_return(SPAN_LIT("USER a\rPORT 1,2,3,4,5,6")));
	CU_ASSERT(ftp_command_has_bare_return(SPAN_LIT("RETR a\r\0b\rc")));
	CU_ASSERT(ftp_command_has_bare_return(SPAN_LIT("RETR a\r")));
}

static void http(void)
{
	static const char *const yes[] = { "GET / HTTP/1.1", "post /x", "OPTIONS * HTTP/1.0", "PRI * HTTP/2.0",
					   "CONNECT a:21 HTTP/1.1" };
	static const char *const no[] = { "USER a", "GETX", "OPTS UTF8 ON", "HELP", "", "Host: a" };

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		struct ftp_command c = read_line(span_of(yes[i]));

		CU_ASSERT(ftp_command_is_http(&c));
	}
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
		struct ftp_command c = read_line(span_of(no[i]));

		CU_ASSERT(!ftp_command_is_http(&c));
	}
}

static const struct unit_test tests[] = {
	{ "verbs are sorted and found", verbs_are_sorted_and_found },
	{ "verbs of other spellings", verbs_of_other_spellings },
	{ "lines", lines },
	{ "paths", paths },
	{ "EPSV's arguments", epsv_arguments },
	{ "bare carriage returns", bare_returns },
	{ "HTTP", http },
};

UNIT_MAIN("ftp_command", tests)
