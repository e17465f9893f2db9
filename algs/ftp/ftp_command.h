/* Commands of FTP: the verbs there are, and what stands in a line. RFC 959, 1639, 2228, 2389, 2428, 2640, 3659,
 * 4217, 6384, 7151. Pure. */
#ifndef ALGS_FTP_FTP_COMMAND_H
#define ALGS_FTP_FTP_COMMAND_H

#include "algs/alg.h"
#include "core/span.h"

enum ftp_kind { /* what a command means to the gateway */
	FTP_UNKNOWN,
	FTP_EMPTY,     /* a line without a command */
	FTP_GREETING,  /* no command: what the server says first */
	FTP_PLAIN,
	FTP_USER,
	FTP_LOGIN,     /* PASS, ACCT */
	FTP_REIN,
	FTP_QUIT,
	FTP_ABOR,
	FTP_PORT, FTP_EPRT, FTP_LPRT, /* the server is to connect to the client */
	FTP_PASV, FTP_EPSV, FTP_LPSV, /* the client wants to connect to the server */
	FTP_EPSV_ALL,
	FTP_CWD,       /* and CDUP */
	FTP_PWD,
	FTP_TRANSFER,
	FTP_ALLO,
	FTP_AUTH,
	FTP_PBSZ, FTP_PROT, FTP_CCC,
	FTP_SECURED,   /* MIC, CONF, ENC: commands that cannot be read */
	FTP_FEAT,
	FTP_HELP,
	FTP_ALGS,
};
enum { /* flags of a verb */
	FTP_F_PATH = 1 << 0,     /* the argument is a path */
	FTP_F_LIST = 1 << 1,     /* it may have options of ls before it, and may be missing */
	FTP_F_TIME = 1 << 2,     /* one word, facts or a time, before it */
	FTP_F_SECRET = 1 << 3,   /* the argument is shown to nobody */
	FTP_F_UP = 1 << 4,
	FTP_F_DOWN = 1 << 5,
	FTP_F_ALONE = 1 << 6,    /* waits until every command before it is answered */
	FTP_F_SETS_LOGIN = 1 << 7, /* who the user is depends on its answer: everything waits for it */
	FTP_F_SETS_DIR = 1 << 8, /* likewise the directory: paths wait for it */
	FTP_F_DATA = 1 << 9,     /* about the data connection: one at a time */
	FTP_F_PARENT = 1 << 10,  /* no argument: the path is the directory's parent */
};

struct ftp_verb {
	const char *name, *class;
	enum ftp_kind kind;
	unsigned flags;
};
/* By its name, any case; NULL: unknown. */
const struct ftp_verb *ftp_verb_find(struct span name);
extern const struct alg_verb ftp_verbs[]; /* for rules; ends with a NULL name */

enum { FTP_VERB_MAX = 24 };

struct ftp_command {
	const struct ftp_verb *verb;   /* NULL: unknown, or no command at all */
	struct span name;              /* as sent */
	struct span arg;               /* without blanks before it */
	char upper[FTP_VERB_MAX];      /* the name in upper case, maybe cut; not ended */
	size_t upper_len;
};
/* line: without its end and without Telnet. Blanks and what is left of a Synch before the name are skipped. */
void ftp_command_read(struct span line, struct ftp_command *ret);
/* The path in the argument of a verb with FTP_F_PATH; may be empty. */
struct span ftp_command_path(const struct ftp_command *command);

enum ftp_epsv { FTP_EPSV_PLAIN, FTP_EPSV_IPV4, FTP_EPSV_IPV6, FTP_EPSV_ONLY /* ALL */, FTP_EPSV_OTHER };
enum ftp_epsv ftp_command_epsv(struct span arg);
/* A carriage return that neither ends the line nor is one of a name (CR NUL): some servers take it for a line's end. */
bool ftp_command_has_bare_return(struct span line);
/* A line of HTTP, and not of FTP: what browsers can be made to send. */
bool ftp_command_is_http(const struct ftp_command *command);

#endif
