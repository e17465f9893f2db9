/* The grammar of commands, and the table of verbs. Lenient in what is recognised as a verb, because a server may be:
 * what it would carry out must not be unknown here. Pure; any thread. */
#include "algs/ftp/ftp_command.h"

#define READ "read"
#define WRITE "write"
#define ADMIN "admin"
#define SESSION "session"

#define DOWN (FTP_F_DOWN | FTP_F_PATH | FTP_F_DATA)
#define UP (FTP_F_UP | FTP_F_PATH | FTP_F_DATA)
#define LISTING (DOWN | FTP_F_LIST)
#define PATH FTP_F_PATH
#define PARENT (FTP_F_PATH | FTP_F_SETS_DIR | FTP_F_PARENT)
#define LOGIN (FTP_F_ALONE | FTP_F_SETS_LOGIN)

/* In the order of their names. */
#define VERBS(X) \
	X("ABOR", SESSION, FTP_ABOR, 0) \
	X("ACCT", SESSION, FTP_LOGIN, LOGIN | FTP_F_SECRET) \
	X("ADAT", SESSION, FTP_SECURED, FTP_F_SECRET) \
	X("ALGS", SESSION, FTP_ALGS, 0) \
	X("ALLO", WRITE, FTP_ALLO, 0) \
	X("APPE", WRITE, FTP_TRANSFER, UP) \
	X("AUTH", SESSION, FTP_AUTH, LOGIN) \
	X("AVBL", READ, FTP_PLAIN, PATH) \
	X("CCC", SESSION, FTP_CCC, 0) \
	X("CDUP", READ, FTP_CWD, PARENT) \
	X("CLNT", SESSION, FTP_PLAIN, 0) \
	X("COMB", WRITE, FTP_PLAIN, 0) \
	X("CONF", SESSION, FTP_SECURED, FTP_F_SECRET) \
	X("CSID", SESSION, FTP_PLAIN, 0) \
	X("CWD", READ, FTP_CWD, PATH | FTP_F_SETS_DIR) \
	X("DELE", WRITE, FTP_PLAIN, PATH) \
	X("DSIZ", READ, FTP_PLAIN, PATH) \
	X("ENC", SESSION, FTP_SECURED, FTP_F_SECRET) \
	X("EPRT", SESSION, FTP_EPRT, FTP_F_DATA) \
	X("EPSV", SESSION, FTP_EPSV, FTP_F_DATA) \
	X("FEAT", SESSION, FTP_FEAT, 0) \
	X("HASH", READ, FTP_PLAIN, PATH) \
	X("HELP", SESSION, FTP_HELP, 0) \
	X("HOST", SESSION, FTP_PLAIN, 0) \
	X("LANG", SESSION, FTP_PLAIN, 0) \
	X("LIST", READ, FTP_TRANSFER, LISTING) \
	X("LPRT", SESSION, FTP_LPRT, FTP_F_DATA) \
	X("LPSV", SESSION, FTP_LPSV, FTP_F_DATA) \
	X("MD5", READ, FTP_PLAIN, PATH) \
	X("MDTM", READ, FTP_PLAIN, PATH) \
	X("MFCT", WRITE, FTP_PLAIN, PATH | FTP_F_TIME) \
	X("MFF", WRITE, FTP_PLAIN, PATH | FTP_F_TIME) \
	X("MFMT", WRITE, FTP_PLAIN, PATH | FTP_F_TIME) \
	X("MIC", SESSION, FTP_SECURED, FTP_F_SECRET) \
	X("MKD", WRITE, FTP_PLAIN, PATH) \
	X("MLSD", READ, FTP_TRANSFER, LISTING) \
	X("MLST", READ, FTP_PLAIN, PATH) \
	X("MODE", SESSION, FTP_PLAIN, 0) \
	X("NLST", READ, FTP_TRANSFER, LISTING) \
	X("NOOP", SESSION, FTP_PLAIN, 0) \
	X("OPTS", SESSION, FTP_PLAIN, 0) \
	X("PASS", SESSION, FTP_LOGIN, LOGIN | FTP_F_SECRET) \
	X("PASV", SESSION, FTP_PASV, FTP_F_DATA) \
	X("PBSZ", SESSION, FTP_PBSZ, 0) \
	X("PORT", SESSION, FTP_PORT, FTP_F_DATA) \
	X("PROT", SESSION, FTP_PROT, FTP_F_DATA) \
	X("PWD", SESSION, FTP_PWD, FTP_F_SETS_DIR) \
	X("QUIT", SESSION, FTP_QUIT, 0) \
	X("RANG", SESSION, FTP_PLAIN, 0) \
	X("REIN", SESSION, FTP_REIN, LOGIN) \
	X("REST", SESSION, FTP_PLAIN, 0) \
	X("RETR", READ, FTP_TRANSFER, DOWN) \
	X("RMD", WRITE, FTP_PLAIN, PATH) \
	X("RNFR", WRITE, FTP_PLAIN, PATH) \
	X("RNTO", WRITE, FTP_PLAIN, PATH) \
	X("SITE", ADMIN, FTP_PLAIN, 0) \
	X("SIZE", READ, FTP_PLAIN, PATH) \
	X("SMNT", ADMIN, FTP_PLAIN, PATH) \
	X("STAT", READ, FTP_PLAIN, PATH | FTP_F_LIST) \
	X("STOR", WRITE, FTP_TRANSFER, UP) \
	X("STOU", WRITE, FTP_TRANSFER, UP) \
	X("STRU", SESSION, FTP_PLAIN, 0) \
	X("SYST", SESSION, FTP_PLAIN, 0) \
	X("THMB", READ, FTP_TRANSFER, DOWN) \
	X("TYPE", SESSION, FTP_PLAIN, 0) \
	X("USER", SESSION, FTP_USER, LOGIN) \
	X("XCRC", READ, FTP_PLAIN, PATH) \
	X("XCUP", READ, FTP_CWD, PARENT) \
	X("XCWD", READ, FTP_CWD, PATH | FTP_F_SETS_DIR) \
	X("XMD5", READ, FTP_PLAIN, PATH) \
	X("XMKD", WRITE, FTP_PLAIN, PATH) \
	X("XPWD", SESSION, FTP_PWD, FTP_F_SETS_DIR) \
	X("XRMD", WRITE, FTP_PLAIN, PATH) \
	X("XSHA", READ, FTP_PLAIN, PATH) \
	X("XSHA1", READ, FTP_PLAIN, PATH) \
	X("XSHA256", READ, FTP_PLAIN, PATH) \
	X("XSHA512", READ, FTP_PLAIN, PATH)

#define FULL_ROW(name, class, kind, flags) { name, class, kind, flags },
#define SHORT_ROW(name, class, kind, flags) { name, class },

static const struct ftp_verb verbs[] = { VERBS(FULL_ROW) };
const struct alg_verb ftp_verbs[] = { VERBS(SHORT_ROW) { NULL, NULL } };

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* What separates words to one server or another. */
static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\f' && c != '\n');
}

/* The name against an entry: as memcmp(), with the end of a name before everything. */
static int compare(struct span name, const char *entry)
{
	for (size_t i = 0; i < name.len; i++) {
		int difference = (unsigned char)upper(name.ptr[i]) - (unsigned char)entry[i];

		if (difference != 0)
			return difference; /* also at the entry's end, where NUL stands */
	}
	return -(unsigned char)entry[name.len];
}

const struct ftp_verb *ftp_verb_find(struct span name)
{
	size_t low = 0, high = sizeof(verbs) / sizeof(verbs[0]);

	if (span_find(name, '\0') < name.len)
		return NULL;
	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = compare(name, verbs[middle].name);

		if (order == 0)
			return &verbs[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static size_t skip_blanks(struct span text, size_t at)
{
	while (at < text.len && is_blank(text.ptr[at]))
		at++;
	return at;
}

static size_t skip_word(struct span text, size_t at)
{
	while (at < text.len && !is_blank(text.ptr[at]))
		at++;
	return at;
}

void ftp_command_read(struct span line, struct ftp_command *ret)
{
	size_t begin = 0, end;

	/* IAC may have come as urgent data, and got lost on the way: DM and IP stand alone then. */
	while (begin < line.len && (is_blank(line.ptr[begin]) || (unsigned char)line.ptr[begin] >= 240))
		begin++;
	end = skip_word(line, begin);
	*ret = (struct ftp_command){ .name = span_sub(line, begin, end),
				     .arg = span_sub(line, skip_blanks(line, end), line.len) };
	while (ret->upper_len < ret->name.len && ret->upper_len < sizeof(ret->upper)) {
		ret->upper[ret->upper_len] = upper(ret->name.ptr[ret->upper_len]);
		ret->upper_len++;
	}
	ret->verb = ftp_verb_find(ret->name);
}

struct span ftp_command_path(const struct ftp_command *command)
{
	struct span arg = command->arg;
	unsigned flags = command->verb->flags;

	if ((flags & FTP_F_TIME) != 0)
		return span_sub(arg, skip_blanks(arg, skip_word(arg, 0)), arg.len);
	if ((flags & FTP_F_LIST) != 0)
		while (arg.len > 0 && arg.ptr[0] == '-')
			arg = span_sub(arg, skip_blanks(arg, skip_word(arg, 0)), arg.len);
	return (flags & FTP_F_PARENT) != 0 ? SPAN_LIT("..") : arg;
}

enum ftp_epsv ftp_command_epsv(struct span arg)
{
	arg = span_trim(arg);
	if (arg.len == 0)
		return FTP_EPSV_PLAIN;
	if (span_ieq(arg, SPAN_LIT("ALL")))
		return FTP_EPSV_ONLY;
	if (span_eq(arg, SPAN_LIT("1")))
		return FTP_EPSV_IPV4;
	return span_eq(arg, SPAN_LIT("2")) ? FTP_EPSV_IPV6 : FTP_EPSV_OTHER;
}

bool ftp_command_has_bare_return(struct span line)
{
	for (size_t at = span_find(line, '\r'); at < line.len; at++)
		if (line.ptr[at] == '\r' && (at + 1 == line.len || line.ptr[at + 1] != '\0'))
			return true;
	return false;
}

bool ftp_command_is_http(const struct ftp_command *command)
{
	static const char *const methods[] = { "GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PATCH",
					       "DELETE", "PRI" };
	struct span name = { command->upper, command->upper_len };

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (span_eq(name, span_of(methods[i])))
			return true;
	return false;
}
