/* A call inside sbc/: two dialogs, the media between them, and the state table that drives both. Everything outside sees calls
 * through b2bua.h. Control thread.
 *
 *   call.c         the state table; its actions are in
 *   call_answer.c  until the call is up, and
 *   call_ending.c  to end it
 *   call_setup.c   an INVITE from nothing: limits, route, targets
 *   call_media.c   session descriptions in, media streams, session descriptions out
 *   call_record.c  CDR, what the API sees
 *   call_live.h    the row from which a restart goes on with the call, and the way back
 *   exchange.h     requests inside the dialogs, handed from one leg to the other
 *   b2bua.c        tables of calls and dialogs, dispatch of messages */
#ifndef SBC_CALL_H
#define SBC_CALL_H

#include "core/arena.h"
#include "core/limit.h"
#include "core/loop.h"
#include "db/store.h"
#include "sbc/b2bua.h"
#include "sbc/dialog.h"
#include "sbc/exchange.h"
#include "sbc/offer.h"
#include "sbc/sip_stack.h"

enum {
	CALL_ARENA_BYTES = 65536,
	CALL_EXCHANGES_MAX = 32, /* finished re-INVITEs count until Timer M ends */
	CALL_EARLY_DIALOGS_MAX = 8,
	CALL_STEPS_MAX = 64,
	CALL_HEADERS_MAX = 8192, /* bytes of header lines carried across */
};

enum call_state {
	CALL_TRYING,     /* INVITE sent to B, nothing heard */
	CALL_RINGING,    /* B sent a provisional response */
	CALL_CONNECTING, /* B answered, A was told, A's ACK is awaited */
	CALL_UP,
	CALL_CANCELLING, /* A has its final response, B's INVITE is still open */
	CALL_ENDING,     /* BYEs are out, or the ACK that they wait for is */
	CALL_DONE,       /* only history */
	CALL_STATES
};

enum call_event_type {
	CALL_NOTHING,
	CALL_PROGRESS,      /* 18x from B */
	CALL_ANSWER,        /* 2xx from B */
	CALL_REJECT,        /* final failure of B, no target left; `status` */
	CALL_RETRY,         /* this target failed, the next one is due */
	CALL_CANCEL,        /* A gave up */
	CALL_RING_TIMEOUT,
	CALL_ACK,           /* A's ACK to the first 2xx */
	CALL_NO_ACK,
	CALL_BYE,           /* from `side`; `txn` waits for an answer */
	CALL_BAD_SDP,       /* an answer that cannot be relayed */
	CALL_HANGUP,        /* by the operator */
	CALL_MEDIA_TIMEOUT,
	CALL_MAX_DURATION,
	CALL_LOST,          /* `side` does not know the dialog any more */
	CALL_RESTARTED,     /* a restart came between the answer and `side` */
	CALL_CHECK,         /* something this call waited for is over */
	CALL_EVENTS
};

struct call_event {
	enum call_event_type type;
	enum media_side side;
	int status;
	const struct sip_msg *msg;
	struct server_txn *txn;
};

struct call;

struct leg {
	struct dialog dialog;
	bool is_indexed;             /* in the dialog table */
	bool is_confirmed;           /* a 2xx was exchanged: the leg needs a BYE to end */
	bool is_over;                /* BYE exchanged or dialog lost */
	struct client_txn *bye;      /* ours, under way */
	const struct realm_conf *realm;
	const struct peer_conf *peer; /* or NULL */
	struct span user_agent;
	struct span request_uri;     /* of the INVITE on this leg */
	uint64_t sdp_id, sdp_version;
	struct span sdp_received, sdp_sent; /* heap, newest */
	uint64_t sdp_mark;           /* of what was sent before a restart; 0: nothing was */
	uint32_t saved_cseq;         /* as in the live row */
};

struct call_step_node {
	struct call_step step;
	struct call_step_node *next;
};

struct call_stream {
	char kind[16];
	char format[64];
	struct media_stats final[2]; /* once closed */
	bool was_open;
};

struct call {
	struct hash_node by_id;
	struct list node;            /* among the live, or in history */
	struct b2bua *b2bua;
	const struct config *config; /* the revision it began on; once it has ended, that of the last reload */
	struct arena *arena;
	struct group group;
	struct media *media;         /* member of group; NULL before routing and after the end */
	enum call_state state;
	struct leg leg[2];
	struct exchange invite;      /* the first INVITE */
	struct list exchanges;       /* later requests */
	unsigned n_exchanges, n_early;
	struct loop_timer timer;     /* ring time-out, then maximum duration */
	struct loop_timer save;      /* until the live row is written again */
	uint32_t revision;           /* of the configuration that it began on, maybe in a process before */
	const struct route_conf *route;
	unsigned next_target;
	struct span user;            /* of the outgoing Request-URI */
	struct span caller;          /* From of leg B, without tag */
	struct span from_uri, to_uri; /* as the caller wrote them */
	struct span invite_headers;  /* lines that go to every target */
	struct span offer_body, offer_type; /* heap: body of the outgoing INVITE */
	unsigned max_forwards;
	struct server_txn *bye_txn;  /* BYE to be answered once the record is durable */
	bool is_refused;             /* before anything reached B */
	bool is_recorded;            /* the CDR was submitted */
	bool is_recording;           /* and its answer is awaited */
	bool is_counted;             /* in the active counts */
	bool is_held;
	bool is_unproven;            /* resumed, and so young that its answer may not have left */
	int64_t started_ms, ringing_ms, answered_ms, ended_ms;
	uint64_t started_mono_ms;
	int status;
	enum cdr_end ended_by;
	const char *cause;           /* static */
	struct span reason;
	struct call_step_node *steps, **steps_end;
	unsigned n_steps;
	struct call_stream streams[MEDIA_STREAMS_MAX];
	unsigned n_streams;
};

/* ---- b2bua.c ---- */
struct router;
struct trace;
struct b2bua {
	struct b2bua_deps deps;
	const struct config *config;
	struct sip_stack *stack;
	struct router *router;
	struct trace *trace;
	struct hash_table *calls, *dialogs;
	struct list live, history;
	unsigned n_live, n_history;
	struct limit *realm_cps;
	struct limit releases;
	struct limit refusal_records;
	char body[OFFER_BYTES_MAX * 2]; /* the session description being written */
	struct b2bua_stats stats;
	uint64_t resumed_ms;         /* when it took over; the wires may still hold what was meant for the process before */
	void (*drained)(void *arg);
	void *drained_arg;
};
/* Makes the dialog findable. 0, ERR_LIMIT, or ERR_EXISTS when another one has its tag. */
int b2bua_index(struct b2bua *b2bua, struct leg *leg, struct call *call);
void b2bua_unindex(struct b2bua *b2bua, struct leg *leg);
void b2bua_retire(struct b2bua *b2bua, struct call *call); /* to history; may free older ones */
/* A 2xx to an INVITE of ours that is no call's, or no longer: ACK and BYE (RFC 3261 13.2.2.4). */
void b2bua_release(struct b2bua *b2bua, const struct sip_msg *response);
/* Counted where the peer of its second leg is configured now, if it still is. */
void b2bua_peer_failed(struct b2bua *b2bua, const struct call *call);
struct call *b2bua_call_new(struct b2bua *b2bua, struct span id); /* empty: a new id. NULL at the limit */
void b2bua_call_free(struct call *call);
void b2bua_call_discard(struct call *call); /* a new one that came to nothing */

/* ---- call.c ---- */
void call_event(struct call *call, const struct call_event *event);
const char *call_state_text(enum call_state state);
void call_timer(struct loop_timer *timer, void *arg);
void call_media_event(void *arg, struct media *media, enum media_event event, unsigned stream, enum media_side side);
void call_server_event(void *arg, struct server_txn *txn, enum server_event event, const struct sip_msg *msg);
/* Reply on the near side of the first INVITE, within leg A's dialog. */
struct sip_reply call_reply(const struct call *call, enum media_side side, int status, char contact[ADDR_TEXT_MAX + 8]);
void call_contact(const struct leg *leg, struct buf *out); /* our Contact URI on this leg */
void call_step(struct call *call, const char *rule, const char *format, ...) __attribute__((format(printf, 3, 4)));
void call_step_at(struct call *call, int64_t at_ms, struct span rule, struct span text);

/* ---- call_answer.c ---- */
/* Final failure for A before anything reached B. */
void call_refuse(struct call *call, int status, const char *cause, struct span headers);

/* ---- call_ending.c ---- */
/* Ends bookkeeping: statistics, record, media. Once per call; `ended_by` and `cause` as in the CDR. */
void call_finish(struct call *call, enum cdr_end ended_by, const char *cause);
/* Free to retire when nothing is under way any more. */
void call_retire_if_idle(struct call *call);

/* ---- call_setup.c ---- */
void call_setup_init(void); /* once per process, later calls do nothing */
void call_incoming(struct b2bua *b2bua, struct server_txn *txn, const struct sip_msg *invite);
/* Sends the INVITE to the next target that can be reached. 0, or a status when none is left. */
int call_try_next(struct call *call);
bool call_has_target(const struct call *call);

/* ---- call_media.c: 0, or the SIP status to refuse with ---- */
struct body_out { /* what goes to the other leg; valid until the next description is written or the message ends */
	struct span type, bytes;
};
/* The session description in msg, from side `from`, is an offer: opens streams, and writes what the other side gets. No body: 0 and
 * an empty out. */
int call_offer(struct exchange *x, enum media_side from, const struct sip_msg *msg, struct body_out *out);
/* It is the answer to x's pending offer. A preview (18x) leaves streams that it rejects open. */
int call_answer(struct exchange *x, enum media_side from, const struct sip_msg *msg, bool is_preview, struct body_out *out);
void call_offer_failed(struct exchange *x); /* back to what was before */
bool call_has_sdp(const struct sip_msg *msg);
bool call_is_body_whole(const struct sip_msg *msg); /* false: a multipart that cannot be taken apart */

/* ---- call_record.c ---- */
void call_record_init(void); /* once per process, later calls do nothing */
void call_record(struct call *call, store_done_fn *done);
struct span call_bare_uri(struct span party); /* of struct dialog's local or remote */
void call_stats_final(struct call *call); /* takes the streams' last statistics before the media closes */

/* Copies for the API, in the asker's arena. */
void call_summarise(const struct call *call, struct arena *arena, struct call_summary *ret);
int call_view_fill(const struct call *call, struct arena *arena, struct call_view *ret); /* 0 or ERR_LIMIT */

#endif
