/* The ALG host: control channels that are not SIP. Owns listeners, sessions (each a group, media-relay/group.h: two legs, pinholes,
 * data connections, media, timers, quota, record) and what is shown of them; the protocols are modules behind alg.h. Control
 * thread; other threads come through loop_call(). */
#ifndef ALGS_HOST_H
#define ALGS_HOST_H

#include "core/arena.h"
#include "core/config.h"
#include "media-relay/media.h"

struct alg_host_engine;
struct alg_module;
struct alg_setups;
struct bus;
struct conf_errors;
struct loop;
struct pinholes;
struct store;

/* The modules that are built in: registry.c. NULL when there is none of that name. */
const struct alg_module *alg_registry_find(struct span protocol);
const struct alg_module *const *alg_registry(unsigned *ret_n);
const char *alg_registry_verb(const char *protocol, unsigned index); /* a config_verb_fn */
const char *alg_verb_class(const struct alg_module *module, struct span verb); /* NULL when it does not know the verb */

struct alg_host_deps {
	struct loop *loop;
	struct bus *bus;
	struct media_engine *media;
	struct pinholes *pinholes; /* NULL: everything stays in this process */
	struct store *store;       /* NULL: transfers are not recorded (tests) */
	const struct config *config; /* of the start; referenced by the host, too */
};
/* Opens the listeners of config->algs. Those that need the helper open when it is there; one that cannot be opened is an alarm and
 * is tried again. Failure only for what no time will heal, with a text. */
int alg_host_new(const struct alg_host_deps *deps, char *error_text, size_t error_size, struct alg_host_engine **ret);
void alg_host_free(struct alg_host_engine *host); /* ends what is left. NULL is fine */
/* What runs of the ALGs of a configuration, before anything is opened: files that it names are read here. With a loop the log is warned
 * of certificates that expire soon. Any thread. 0, or an error
 * with everything that is wrong in `errors`. */
int alg_setups_new(const struct config *config, struct loop *loop, struct conf_errors *errors, struct alg_setups **ret);
void alg_setups_free(struct alg_setups *setups); /* NULL is fine */
/* Puts them in force, as a whole: ALGs that are new listen, those that are gone do not any more, and sessions that are up go on to
 * their end with what they began with. 0, or an error with its texts, and nothing has changed: a listener that is new could not be
 * opened, or the host is draining (ERR_STATE). */
int alg_host_reload(struct alg_host_engine *host, struct alg_setups *setups_take, struct conf_errors *errors);
/* Opens again the pinholes of data that was on its way when the process before this one ended, so that it may finish; before the
 * loop runs. Control channels are gone with their process. */
void alg_host_resume(struct alg_host_engine *host);
/* No new sessions; the others may finish. done() when none is left. */
void alg_host_drain(struct alg_host_engine *host, void (*done)(void *arg), void *arg);

/* ---- what the API sees: copies in the caller's arena ---------------------------------------------------------------------- */

struct alg_session_summary {
	const char *id, *alg, *protocol, *mode;
	const char *state;          /* "connecting", "open", "bypassed", "draining", "ended" */
	const char *user;           /* "" until known */
	const char *from_realm, *to_realm;
	struct addr client, server;
	int64_t started_ms, ended_ms; /* wall clock, 0: not yet */
	uint64_t bytes[2];          /* of the control channel, from client and server */
	unsigned n_holes, n_transfers;
	const char *cause;          /* of the end, NULL while live */
	const char *partner;        /* id of the session that is one conversation with this one; NULL: none */
};
struct alg_tls_view {
	const char *version, *cipher; /* static; NULL: in clear */
	bool is_resumed;
};
struct alg_hole_view {
	uint32_t id;
	const char *class, *kind;   /* "data"; "tcp", "udp", "media" */
	const char *state;          /* "reserved", "armed", "bound", "draining", "closed" */
	const char *path, *reason;  /* "nft", "relay", ...; as of media */
	struct addr listen, target; /* where the other side goes, and where that ends */
	uint64_t bytes[2];
	int64_t since_ms;
	bool is_protected;          /* data under TLS, that ends at the gateway */
	struct alg_tls_view tls[2]; /* with client and server; none before its handshake is done */
	bool has_media;
	struct media_stats media[2]; /* with has_media: as received from client and server */
};
struct alg_step {
	int64_t at_ms;
	const char *rule;           /* "" when none */
	const char *text;
};
struct alg_change { /* one message that was not passed as it came */
	int64_t at_ms;
	char from;                  /* 'c' or 's' */
	const char *verdict;        /* "edited", "dropped", "replied" */
	const char *before, *after; /* printable, credentials masked; may be cut */
};
struct alg_session_view {
	struct alg_session_summary summary;
	struct addr client_leg, server_leg; /* the gateway's ends of the two connections */
	struct alg_tls_view tls[2];
	uint64_t messages[2], edited[2], dropped[2];
	struct alg_hole_view *holes;
	unsigned n_holes;
	struct alg_step *steps;
	unsigned n_steps;
	struct alg_change *changes;
	unsigned n_changes;
};
struct alg_session_filter {
	struct span protocol, alg, user, state, realm; /* empty: any */
	struct span after;          /* id of the last one of the page before */
	unsigned limit;             /* 1..1000 */
};
/* Live ones, newest first; those that ended recently when `state` is "ended". As b2bua_calls(). */
unsigned alg_sessions(struct alg_host_engine *host, const struct alg_session_filter *filter, struct arena *arena,
		      struct alg_session_summary **ret, bool *ret_more);
int alg_session(struct alg_host_engine *host, struct span id, struct arena *arena, struct alg_session_view *ret);
int alg_session_end(struct alg_host_engine *host, struct span id); /* 0 or ERR_NOT_FOUND */

struct alg_listener_view {
	const struct alg_conf *conf;
	struct addr listen;         /* the gateway's own socket */
	bool is_open, is_opening;   /* opening: not open yet, but that is no fault so far */
	const char *reason;         /* why not */
	unsigned n_sessions;
	uint64_t sessions_total, refused_total;
	int64_t certificate_expires_ms; /* of the certificate that clients see, as wall clock; 0: there is none */
};
/* Returns how many there are in ret (in the arena). */
unsigned alg_listeners(struct alg_host_engine *host, struct arena *arena, struct alg_listener_view **ret);

struct alg_host_stats {
	unsigned sessions, holes;
	uint64_t sessions_total, transfers_total;
	bool is_draining;
};
void alg_host_stats(const struct alg_host_engine *host, struct alg_host_stats *ret);

#endif
