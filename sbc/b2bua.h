/* The back-to-back user agent (RFC 7092: SDP-modifying signalling and media-relay B2BUA): every call that crosses the gateway.
 * Owns calls, dialogs and traces; sits on sip_stack.h, media.h and store.h. Control thread; other threads come through loop_call(). */
#ifndef SBC_B2BUA_H
#define SBC_B2BUA_H

#include "core/arena.h"
#include "core/config.h"
#include "media-relay/media.h"

struct b2bua;
struct bus;
struct loop;
struct media_engine;
struct pinholes;
struct router;
struct store;

struct b2bua_deps {
	struct loop *loop;
	struct bus *bus;
	struct media_engine *media;
	const struct pinholes *pinholes; /* asked before calls whose media must get into the kernel; NULL: none of those */
	struct store *store; /* NULL: calls are not recorded (tests) */
	const struct config *config;
};
int b2bua_new(const struct b2bua_deps *deps, char *error_text, size_t error_size, struct b2bua **ret);
/* Calls that begin from now on follow this configuration and the router that was made of it (route.h); those that are up keep
 * theirs. Realms, their addresses and the sizes of tables are those of the start. Cannot fail. */
void b2bua_reload(struct b2bua *b2bua, const struct config *config, struct router *router_take);
/* Calls must have ended (b2bua_drain) or are dropped without a word. */
void b2bua_free(struct b2bua *b2bua);
/* Refuses new calls with 503 and ends the live ones with BYE; done() when none is left. */
void b2bua_drain(struct b2bua *b2bua, void (*done)(void *arg), void *arg);

/* Goes on with the calls that were up when the process before this one ended, however that was. Before the loop runs: what arrives
 * meanwhile waits in the sockets. Calls that cannot go on get a record and, where possible, BYE. Says in the log how it went. */
struct b2bua_resumed {
	unsigned calls, given_up;
	const char *why; /* the last one was given up; static */
};
void b2bua_resume(struct b2bua *b2bua, struct b2bua_resumed *ret);
/* The process is going to end and leave its calls to the next one: refuses new calls and those that are not answered yet. */
void b2bua_leave(struct b2bua *b2bua);
/* The last thing before that end: the rows of all answered calls as they are now. */
void b2bua_save(struct b2bua *b2bua);

/* ---- what the API sees: copies in the caller's arena ------------------------------------------------------------------------ */

struct call_summary {
	const char *id;
	const char *state;      /* "proceeding", "answered", "ended", ... */
	const char *from_realm, *to_realm, *to_peer; /* to_*: NULL before routing */
	const char *from_uri, *to_uri;               /* as the caller wrote them */
	const char *call_id;                         /* of leg A */
	int64_t started_ms, answered_ms, ended_ms;   /* wall clock, 0: not yet */
	int status;                                  /* final SIP status, 0: none yet */
	const char *cause;                           /* of the end, NULL while live */
	bool is_held;
};
struct call_leg_view {
	const char *realm, *peer;
	const char *call_id, *local_tag, *remote_tag;
	const char *from, *to, *request_uri, *remote_target, *user_agent;
	struct addr local, remote;  /* signalling */
	const char *sdp_received, *sdp_sent; /* newest, NULL: none */
};
struct call_stream_view {
	unsigned index;
	const char *kind;           /* "audio" */
	const char *format;         /* "RTP/AVP 0 8 101" */
	struct media_stats side[2];
};
struct call_step { /* one step of the routing decision: why */
	int64_t at_ms;
	const char *rule;           /* name of the route, peer or limit; "" when none */
	const char *text;           /* "route \"to-core\": user starts with 49, takes peer softswitch" */
};
struct call_message { /* one arrow of the ladder */
	int64_t at_ms;
	char leg;                   /* 'a' or 'b' */
	bool is_out;                /* sent by the gateway */
	struct addr local, remote;
	const char *text;           /* may be cut, see is_cut */
	bool is_cut;
};
struct call_view {
	struct call_summary summary;
	const char *ended_by, *reason; /* NULL while live */
	struct call_leg_view leg[2];
	struct call_stream_view *streams;
	unsigned n_streams;
	struct call_step *steps;
	unsigned n_steps;
	struct call_message *messages;
	unsigned n_messages;
	unsigned messages_lost;     /* that the ring no longer has */
};

struct call_filter {
	struct span state, realm, peer, q; /* empty: any; q: substring of from, to or Call-ID */
	struct span after;                  /* id of the last call of the page before; empty: first page */
	unsigned limit;                     /* 1..1000 */
};
/* Live calls, newest first, then calls that ended recently when `state` is "ended". Returns how many were written to ret (an array
 * in the arena); *ret_more tells whether a further page exists. */
unsigned b2bua_calls(struct b2bua *b2bua, const struct call_filter *filter, struct arena *arena, struct call_summary **ret,
		     bool *ret_more);
/* A live call or one of the recently ended (also failed) ones. 0, ERR_NOT_FOUND, ERR_LIMIT when the arena is too small. */
int b2bua_call(struct b2bua *b2bua, struct span id, struct arena *arena, struct call_view *ret);
/* Ends a live call: 0 or ERR_NOT_FOUND. */
int b2bua_hangup(struct b2bua *b2bua, struct span id);

struct b2bua_stats {
	uint32_t calls_active, calls_max;
	uint64_t calls_total;
	uint32_t realm_active[CONFIG_REALMS_MAX];
	uint64_t peer_calls[CONFIG_PEERS_MAX], peer_failures[CONFIG_PEERS_MAX];
	unsigned transactions;
	bool is_draining;
};
void b2bua_stats(const struct b2bua *b2bua, struct b2bua_stats *ret);

#endif
