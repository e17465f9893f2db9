/* What the files of the FTP ALG share: the state of a session, a line at hand, and the parts' functions. Nobody else
 * includes this.
 *
 * ftp.c cuts lines and hands them to ftp_client.c and ftp_server.c, which ask ftp_policy.c and ftp_data.c;
 * ftp_queue.c knows which commands still wait for their replies. docs/internals/ftp.md */
#ifndef ALGS_FTP_FTP_INSIDE_H
#define ALGS_FTP_FTP_INSIDE_H

#include "algs/alg.h"
#include "algs/ftp/ftp_command.h"
#include "core/buf.h"

enum {
	FTP_LINE_MAX = 8192,     /* with its end; what is longer is passed in parts, unedited */
	FTP_PENDING_MAX = 32,
	FTP_USER_MAX = 255,
	FTP_PATH_MAX = 1023,     /* kept of a path; rules see all of it */
	FTP_TARGET_MAX = FTP_LINE_MAX + FTP_PATH_MAX + 2,
	FTP_UNKNOWN_MAX = 3,     /* verbs that nobody knows, before USER */
	FTP_PORT_FLOOR = 1024,
	FTP_TLS_PORTS_MAX = 64,
	FTP_TIMER_TLS = 0,       /* cookie: data ports that could not be had are tried again */
	FTP_TLS_BEGINS = 234,    /* the reply to AUTH behind which TLS begins */
	FTP_ABORTED = 225,       /* to ABOR, when nothing is being transferred any more */
};
enum { FTP_CLASS_DATA, FTP_CLASS_TLS, FTP_CLASSES };

struct ftp_text_user {
	char data[FTP_USER_MAX];
	size_t len;
};
struct ftp_text_path {
	char data[FTP_PATH_MAX];
	size_t len;              /* 0: not known */
};

struct ftp_pending {         /* a command that was passed to the server */
	uint8_t kind;            /* enum ftp_kind */
	uint16_t flags;          /* of its verb */
	bool is_ours;            /* the gateway sent it: nobody waits for the reply */
	bool is_begun;           /* a preliminary reply has come */
};

struct ftp_state {
	const struct alg_about *about;
	const struct alg_host *host;
	struct alg_session *session;

	struct ftp_pending pending[FTP_PENDING_MAX]; /* oldest first */
	unsigned n_pending;

	struct ftp_side {
		bool is_long;        /* inside a line that is longer than FTP_LINE_MAX */
		bool is_long_dropped;
	} sides[ALG_SIDES];
	bool has_replied;        /* the server's first line has come */
	bool is_foreign;         /* and was no reply: nothing is opened in this session */
	bool is_held;            /* a command waits for replies to earlier ones */
	bool is_reply_held;      /* the reply to a transfer waits for the end of its data */
	struct {                 /* what it will be answered with when they have come */
		unsigned code;       /* 0: it has not been judged */
		char text[ALG_TEXT_MAX];
	} answer;
	struct {                 /* a reply of several lines */
		unsigned code;       /* 0: none is open */
		int index;           /* whose it is: in `pending`, or -1 */
	} reply;

	bool has_user;           /* USER was seen */
	bool is_logged_in;
	bool is_epsv_only;
	bool is_ending, is_encrypted;
	unsigned n_unknown;
	struct ftp_text_user user, claimed;           /* logged in; of the last USER */
	struct ftp_text_path directory, next_directory; /* when CWD succeeds */
	bool has_allo;
	uint64_t allo;

	struct {                 /* PORT, PASV and the like, until its reply */
		uint32_t hole;       /* active: reserved. 0: it expired */
		uint8_t kind;        /* what the client asked for: enum ftp_kind */
		unsigned code;       /* passive: of the reply that was asked of the server */
		bool is_converted;   /* active, and the server was asked for a passive connection: its reply is not the client's */
		bool may_be_refused; /* EPSV to a server that may not know it: PASV is tried then */
	} setup;
	bool has_epsv, has_no_epsv; /* the server; neither: it was not asked */
	struct {                 /* the data connection that the next transfer uses */
		uint32_t hole;
		bool is_opened, is_ended;
		bool is_dialled;     /* by the gateway, both ends; opened: the client's, too */
	} data;
	struct {                 /* the transfer that is pending */
		bool is_pending, is_cut, is_insecure, is_unreachable;
		uint32_t hole;
		const struct ftp_verb *verb;
		struct ftp_text_path path;
	} transfer;
	struct {                 /* that the gateway ends */
		bool is_on;          /* of the channel */
		bool is_private;     /* of data connections from now on: PROT P */
		bool next_is_private; /* when AUTH or PROT is answered well */
	} protection;
	struct {
		uint32_t hole;
		uint64_t opened_ms;
	} tls_ports[FTP_TLS_PORTS_MAX];
};

/* ---- a line at hand (ftp.c) -------------------------------------------------------------------------------------- */

struct ftp_line {
	struct span raw;         /* as it came, with its end */
	struct span text;        /* without the end and without Telnet */
	bool is_stripped;        /* text is a copy, because there was Telnet */
	bool is_long;            /* only the beginning is here */
	bool is_replaced;        /* edits have been made */
	bool is_dropped;         /* what it means has been said in another way */
};
/* Replaces octets of `text`. 0, or an error: nothing was edited then. */
int ftp_line_edit(struct ftp_state *state, struct ftp_line *line, size_t at, size_t len, struct span with);
/* Replaces the whole line, its end too. */
int ftp_line_replace(struct ftp_state *state, struct ftp_line *line, struct span with);
struct alg_result ftp_line_pass(const struct ftp_line *line);
struct alg_result ftp_line_drop(const struct ftp_line *line);

void ftp_forget_user(struct ftp_state *state); /* nobody is logged in any more */

/* Without NUL, which is nothing in Telnet. ERR_LIMIT when it was cut. */
int ftp_keep_path(struct ftp_text_path *to, struct span path);

static inline struct alg_bytes ftp_bytes(struct span s)
{
	return (struct alg_bytes){ s.ptr, s.len };
}

/* ---- the two sides ----------------------------------------------------------------------------------------------- */

struct alg_result ftp_client_line(struct ftp_state *state, struct ftp_line *line);
struct alg_result ftp_server_line(struct ftp_state *state, struct ftp_line *line);

/* ---- commands that wait for replies (ftp_queue.c) ---------------------------------------------------------------- */

bool ftp_queue_is_full(const struct ftp_state *state);
int ftp_queue_push(struct ftp_state *state, enum ftp_kind kind, unsigned flags); /* 0 or ERR_LIMIT */
/* Whether one with any of these flags waits; 0: whether any waits at all that must get a reply. */
bool ftp_queue_has(const struct ftp_state *state, unsigned flags);
/* Whose reply begins with that code: an index, or -1. Forgets those that obviously got none. */
int ftp_queue_match(struct ftp_state *state, unsigned code);
void ftp_queue_remove(struct ftp_state *state, int index);

/* ---- policy (ftp_policy.c) --------------------------------------------------------------------------------------- */

struct ftp_answer { /* the gateway's own, mostly a refusal */
	unsigned code;           /* 0: none, the server is to answer */
	const char *text;
};
/* What the profile says; `target` is the command's path, resolved, or its argument. `memory` holds the text. */
struct ftp_answer ftp_policy_ask(struct ftp_state *state, const struct ftp_command *command, struct span target,
				 struct alg_answer *memory);
/* Answers the client in the server's place: at once, or when all earlier replies have come. */
struct alg_result ftp_policy_reply(struct ftp_state *state, const struct ftp_line *line, struct ftp_answer answer);
/* A line inside the reply to FEAT or HELP. True: it is to be dropped. May edit. */
bool ftp_policy_trim_feat(struct ftp_state *state, const struct ftp_line *line);
void ftp_policy_end_feat(struct ftp_state *state, struct ftp_line *line); /* the last line of several */
void ftp_policy_trim_help(struct ftp_state *state, struct ftp_line *line);

/* ---- data connections (ftp_data.c) ------------------------------------------------------------------------------- */

/* Before the command is passed: checks, reserves, edits. */
struct ftp_answer ftp_data_ask_active(struct ftp_state *state, struct ftp_line *line,
				      const struct ftp_command *command);
struct ftp_answer ftp_data_ask_passive(struct ftp_state *state, struct ftp_line *line,
				       const struct ftp_command *command);
/* The final reply to it: arms, edits. */
void ftp_data_active_reply(struct ftp_state *state, struct ftp_line *line, unsigned code);
void ftp_data_passive_reply(struct ftp_state *state, struct ftp_line *line, unsigned code);
void ftp_data_forget(struct ftp_state *state); /* what was opened and not used is used no more */
/* From now on the next transfer uses that one. What the one before was opened for will not happen any more. */
void ftp_data_adopt(struct ftp_state *state, uint32_t hole, bool is_dialled);
void ftp_data_say(struct ftp_state *state, struct ftp_line *line, struct ftp_answer answer); /* in the place of the line */

/* ---- transfers (ftp_transfer.c) ---------------------------------------------------------------------------------- */

/* A transfer: was passed, got a reply that is not its last, its last. */
void ftp_transfer_start(struct ftp_state *state, const struct ftp_verb *verb, struct span path);
void ftp_transfer_progress(struct ftp_state *state, struct span text);
void ftp_transfer_dial_client(struct ftp_state *state); /* where the gateway does so: the server begins */
/* Whether its data is known to be on its way still: how it ends is not. */
bool ftp_transfer_is_flowing(struct ftp_state *state);
void ftp_transfer_wait(struct ftp_state *state); /* the line at hand goes behind the data */
void ftp_transfer_finish(struct ftp_state *state, struct ftp_line *line, unsigned code);
void ftp_transfer_event(struct ftp_state *state, const struct alg_event *event);
void ftp_transfer_close(struct ftp_state *state); /* the session ends, maybe within a transfer */

/* ---- servers that are only connected to (ftp_convert.c) ---------------------------------------------------------- */

/* The verb that asks such a server for a data connection; state->setup tells of the reply. */
struct span ftp_convert_verb(struct ftp_state *state);
/* The final reply to PORT, EPRT or LPRT that went to the server as this verb; `hole` is the one reserved, 0: none any more. */
void ftp_convert_reply(struct ftp_state *state, struct ftp_line *line, uint32_t hole, unsigned code);
bool ftp_convert_is_hidden(const struct ftp_state *state, const struct ftp_pending *pending, unsigned code);
/* True: it was the refusal of EPSV, and PASV is on its way in its stead; the command waits on. */
bool ftp_convert_again(struct ftp_state *state, const struct ftp_pending *pending, unsigned code);
/* Whether nothing may go behind the command that waits: it may have to be asked in another way. */
bool ftp_convert_must_wait(const struct ftp_state *state);

/* ---- encryption that the gateway ends (ftp_protect.c) ------------------------------------------------------------ */

/* AUTH, PBSZ, PROT, CCC, REIN. An answer of FTP_TLS_BEGINS is to be followed by ftp_protect_begin(). */
struct ftp_answer ftp_protect_ask(struct ftp_state *state, const struct ftp_command *command);
/* Refuses what is not to be said, or opened, in clear. */
struct ftp_answer ftp_protect_need(const struct ftp_state *state, const struct ftp_command *command);
struct ftp_answer ftp_protect_need_data(const struct ftp_state *state);
bool ftp_protect_begin(struct ftp_state *state);      /* behind the message at hand. False: it cannot */
void ftp_protect_prot_reply(struct ftp_state *state); /* PROT was answered well */
bool ftp_protect_is_private(const struct ftp_state *state); /* data connections are encrypted */

/* ---- encryption that passes (ftp_tls.c) -------------------------------------------------------------------------- */

void ftp_tls_begin(struct ftp_state *state);
/* True: the event is about one of its pinholes. */
bool ftp_tls_event(struct ftp_state *state, const struct alg_event *event);

#endif
