/* What the files of the RTSP ALG share: the state of one control connection, and who does what with it. Nobody else
 * includes this. All tables have a fixed size; what does not fit waits (ALG_HOLD) or is refused (503). */
#ifndef ALGS_RTSP_RTSP_H
#define ALGS_RTSP_RTSP_H

#include "algs/rtsp/rtsp_addr.h"
#include "algs/rtsp/rtsp_base64.h"
#include "algs/rtsp/rtsp_edits.h"
#include "algs/rtsp/rtsp_transport.h"

enum {
	RTSP_SESSIONS_MAX = 16,
	RTSP_STREAMS_MAX = 32,       /* set up or being set up; as many pinholes at most */
	RTSP_PENDING_MAX = 16,       /* requests of one side without an answer */
	RTSP_SETUPS_MAX = 8,         /* of them, SETUP */
	RTSP_URL_MAX = 2048,
	RTSP_PATH_MAX = 200,         /* what a record keeps of a URL */
	RTSP_USER_MAX = 64,
	RTSP_ALLOWED_MAX = 200,
	RTSP_PORTS_TEXT_MAX = 16,
	RTSP_CSEQ_MAX = 20,
	RTSP_VERB_MAX = 32,
	RTSP_COOKIE_MAX = ALG_NAME_MAX,
	RTSP_ANSWER_MS = 30000,      /* a request without an answer for so long holds up nobody */
	RTSP_TIMEOUT_S = 60,         /* RFC 2326 12.37: when the server names none */
	RTSP_TIMEOUT_MIN_S = 10,
	RTSP_TIMEOUT_MAX_S = 24 * 3600,
};

enum rtsp_verb {
	RTSP_OPTIONS, RTSP_DESCRIBE, RTSP_ANNOUNCE, RTSP_SETUP, RTSP_PLAY, RTSP_PAUSE, RTSP_TEARDOWN, RTSP_GET_PARAMETER,
	RTSP_SET_PARAMETER, RTSP_REDIRECT, RTSP_RECORD, RTSP_PLAY_NOTIFY,
	RTSP_VERBS, /* any other */
};
extern const struct alg_verb rtsp_verbs[];
enum rtsp_verb rtsp_verb_find(struct span method); /* any case: lax servers do not mind it */

enum { RTSP_TIMER_SESSIONS, RTSP_TIMER_HELD /* + side */, RTSP_TIMER_POST = RTSP_TIMER_HELD + ALG_SIDES };

/* ---- state ------------------------------------------------------------------------------------------------------- */

struct rtsp_offer {                  /* an alternative over UDP that went to the server with our ports in it */
	uint64_t spec;               /* hash of "RTP/AVP" */
	struct rtsp_end end;         /* where the client receives; rtp.family 0: where it speaks from */
	char ports[RTSP_PORTS_TEXT_MAX]; /* client_port as the client wrote it, ends with NUL; "": it said dest_addr */
};
struct rtsp_setup {
	bool is_used;
	uint32_t hole;               /* 0: none wanted */
	bool is_lost;                /* there was one, and it is gone */
	bool is_record;
	bool has_channels;           /* what the first interleaved alternative asked for */
	uint8_t channels[2];
	unsigned n_alternatives, n_offers; /* in the request that went on; over UDP with ports */
	struct rtsp_offer offers[RTSP_TRANSPORTS_MAX];
	char path[RTSP_PATH_MAX], user[RTSP_USER_MAX];
};
struct rtsp_pending {
	enum rtsp_verb verb;
	unsigned major;
	bool has_number, has_session;
	char cseq[RTSP_CSEQ_MAX];    /* as it stands, ends with NUL; "": none that can be repeated */
	uint64_t number;             /* its value */
	uint64_t session, url;       /* hashes */
	uint8_t setup;               /* index into setups + 1; 0: none */
	uint64_t since_ms;
};
struct rtsp_lane {                   /* what comes from one side */
	uint64_t body_left;          /* of a body longer than a message may be: passed or dropped unread */
	bool is_dropping, is_held;
	struct rtsp_pending pending[RTSP_PENDING_MAX]; /* its requests without an answer, oldest first */
	unsigned n_pending;
};

struct rtsp_session {
	bool is_used;
	uint64_t id;                 /* hash of the identifier; 0: the server gave none */
	uint32_t timeout_s;
	uint64_t touched_ms;         /* last request that named it */
};
struct rtsp_stream {
	bool is_used, is_open, is_record;
	uint8_t session;
	uint32_t hole;               /* 0: interleaved, multicast */
	uint64_t url;
	uint16_t code;               /* of the last answer about it */
	bool has_channels;           /* interleaved */
	uint8_t channels[2];
	uint64_t octets[ALG_SIDES];  /* in those, from that side, without the heads of frames */
	char path[RTSP_PATH_MAX], user[RTSP_USER_MAX];
};

enum rtsp_tunnel_state {
	RTSP_NO_TUNNEL,
	RTSP_GET_ASKED,              /* the server has not answered */
	RTSP_GET_OPEN,               /* and no POST has come */
	RTSP_GET_JOINED,             /* from here on as any RTSP connection, with interleaved streams alone */
	RTSP_POST_WAITS,             /* for the POST before it to end */
	RTSP_POST_ASKED,             /* the GET is there, and has not given way yet */
	RTSP_POST,
};
struct rtsp_tunnel {
	enum rtsp_tunnel_state state;
	char cookie[RTSP_COOKIE_MAX];
	size_t cookie_len;
	struct rtsp_base64 decoder;
	uint64_t encode_left;        /* octets of a message that went on in part */
};

struct rtsp {
	const struct alg_about *about;
	const struct alg_host *host;
	struct alg_session *session;
	bool has_begun[ALG_SIDES];   /* a message of RTSP came from there */
	bool may_interleave;         /* frames may come: a SETUP asked for them */
	bool is_over;                /* refused what was not RTSP; nothing more is read */
	char options_url[RTSP_PATH_MAX]; /* of the last OPTIONS, ends with NUL */
	char allowed[RTSP_ALLOWED_MAX];  /* of what the server said it can do, what the rules allow; ends with NUL */
	struct rtsp_tunnel tunnel;
	struct rtsp_lane lanes[ALG_SIDES];
	struct rtsp_setup setups[RTSP_SETUPS_MAX];
	struct rtsp_session sessions[RTSP_SESSIONS_MAX];
	struct rtsp_stream streams[RTSP_STREAMS_MAX];
};

/* A message and what becomes of it. */
struct rtsp_job {
	struct rtsp *s;
	enum alg_side from;
	struct span bytes;           /* as given: offsets are from here */
	struct rtsp_message message;
	struct rtsp_edits edits;
};

/* ---- rtsp.c ------------------------------------------------------------------------------------------------------ */

uint64_t rtsp_hash(struct span text);
/* Of the path of a URL, without a slash at its end: "rtsp://a:554/x/", "rtsp://b/x" and "/x" are the same stream. */
uint64_t rtsp_url_hash(struct span url);
/* The identifier of a Session field, hashed; 0: there is none. */
uint64_t rtsp_session_id(const struct rtsp_message *message);

/* ---- rtsp_pending.c: requests and answers ------------------------------------------------------------------------ */

bool rtsp_pending_has_room(const struct rtsp_job *job, enum rtsp_verb verb);
/* Remembers the request at hand; for a SETUP of the client with a place in s->setups. There is room. */
struct rtsp_pending *rtsp_pending_add(const struct rtsp_job *job, enum rtsp_verb verb);
/* The request that the response at hand answers; NULL: none that is known. */
struct rtsp_pending *rtsp_pending_match(const struct rtsp_job *job);
/* Forgets a request, with the pinhole that it reserved, and lets go what waits for that. */
void rtsp_pending_done(struct rtsp *s, enum alg_side from, struct rtsp_pending *pending);
/* The message waits until an answer has come, and is then looked at again. */
enum alg_verdict rtsp_hold(struct rtsp *s, enum alg_side from);
void rtsp_held_timer(struct rtsp *s, enum alg_side from);
void rtsp_let_go(struct rtsp *s, enum alg_side from);
/* Our own answer to the request at hand, in its turn: ALG_DROP, or ALG_HOLD. text "" is the code's usual phrase. */
enum alg_verdict rtsp_refuse(struct rtsp_job *job, unsigned code, const char *text);
/* In place of the response at hand. */
enum alg_verdict rtsp_replace_response(struct rtsp_job *job, const struct rtsp_pending *pending, unsigned code);

/* ---- rtsp_policy.c: rules ---------------------------------------------------------------------------------------- */

struct rtsp_asking {
	const char *transport;       /* or NULL */
	enum alg_direction direction;
	bool is_trial;
};
bool rtsp_policy_ask(const struct rtsp_job *job, const struct rtsp_asking *asking, struct alg_answer *ret);
/* Limits and rules for the request at hand, SETUP's transports apart. 0, or the code to refuse it with. */
unsigned rtsp_policy_request(struct rtsp_job *job, enum rtsp_verb verb, struct alg_answer *ret);
/* Takes alternatives that are not allowed out of the list and the message. 0, or the code when none is left. */
unsigned rtsp_policy_transports(struct rtsp_job *job, struct rtsp_transports *list, struct alg_answer *ret);
/* Takes verbs that are not allowed out of Public and Allow of the server's answer. */
void rtsp_policy_trim(struct rtsp_job *job, struct span url);
/* What cannot be read may pass when nothing that could be inside would be refused. */
bool rtsp_policy_unseen(struct rtsp_job *job, const char *transport, struct alg_answer *ret);
/* Who asks: Digest or Basic credentials in the message, as text that ends with NUL; the server checks them. */
void rtsp_policy_user(const struct rtsp_message *message, char *out, size_t size);

/* ---- rtsp_setup.c: SETUP ----------------------------------------------------------------------------------------- */

enum alg_verdict rtsp_setup_request(struct rtsp_job *job);
enum alg_verdict rtsp_setup_response(struct rtsp_job *job, struct rtsp_pending *pending);

/* ---- rtsp_session.c: sessions and streams ------------------------------------------------------------------------ */

bool rtsp_session_has_room(const struct rtsp *s, uint64_t id); /* for one more stream, in that session or (0) a new one */
struct rtsp_added {
	uint64_t session, url;
	uint32_t timeout_s;          /* 0: not said */
};
/* The stream that was set up; one of the same session and URL ends. NULL: no room (which has_room() excludes). */
struct rtsp_stream *rtsp_session_add(struct rtsp *s, const struct rtsp_added *added);
void rtsp_session_start_timer(struct rtsp *s); /* after a stream got its pinhole */
void rtsp_session_touch(struct rtsp *s, uint64_t id, bool has_id);
/* What follows from the answer to a request about a session: TEARDOWN, PAUSE, PLAY, RECORD, or 454. */
void rtsp_session_answer(struct rtsp *s, const struct rtsp_pending *pending, unsigned status);
void rtsp_session_timer(struct rtsp *s);
void rtsp_session_event(struct rtsp *s, const struct alg_event *event);
void rtsp_session_count(struct rtsp *s, enum alg_side from, struct span frames); /* interleaved data */
void rtsp_session_close(struct rtsp *s); /* records of what is still set up */
bool rtsp_session_is_idle(const struct rtsp *s);

/* ---- rtsp_rewrite.c: addresses in header fields and bodies ------------------------------------------------------- */

void rtsp_rewrite(struct rtsp_job *job);
void rtsp_rewrite_http(struct rtsp_job *job); /* the server's answer to a GET that begins a tunnel */
/* Hands the edits to the host. False: it did not take them all, and what has become of the message nobody knows. */
bool rtsp_rewrite_apply(struct rtsp_job *job);

/* ---- rtsp_tunnel.c: RTSP in HTTP --------------------------------------------------------------------------------- */

bool rtsp_tunnel_is_request(const struct rtsp_message *message); /* else it is HTTP that is not for us */
enum alg_verdict rtsp_tunnel_request(struct rtsp_job *job);      /* one that the rules allow */
enum alg_verdict rtsp_tunnel_response(struct rtsp_job *job);     /* of HTTP, from the server */
enum alg_verdict rtsp_http_refuse(struct rtsp_job *job, unsigned code, const char *phrase);
/* False: these octets are RTSP, or the HTTP around it. */
bool rtsp_tunnel_bytes(struct rtsp *s, enum alg_side from, struct span in, struct alg_result *ret);
void rtsp_tunnel_joined(struct rtsp *s);
void rtsp_tunnel_timer(struct rtsp *s);
static inline bool rtsp_is_tunnelled(const struct rtsp *s)
{
	return s->tunnel.state != RTSP_NO_TUNNEL;
}

#endif
