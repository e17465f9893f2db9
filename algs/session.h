/* Inside the host: one control channel with all that belongs to it. A group (media-relay/group.h) of pinholes, two legs (or, for
 * datagrams, two sockets), the flow between them, timers, and what is shown of it. */
#ifndef ALGS_SESSION_H
#define ALGS_SESSION_H

#include <stdarg.h>

#include "algs/engine.h"
#include "algs/flow.h"
#include "algs/hole.h"
#include "algs/joint.h"
#include "algs/journal.h"
#include "algs/tcp_leg.h"

enum session_state { SESSION_CONNECTING, SESSION_OPEN, SESSION_BYPASSED, SESSION_DRAINING, SESSION_ENDED, SESSION_STATES };
enum session_event {
	SESSION_CONNECTED,   /* the server has answered */
	SESSION_UNREACHABLE, /* it has not */
	SESSION_UNSEEN,      /* the module stepped aside */
	SESSION_OVER,        /* both sides have ended */
	SESSION_LOST,        /* one side broke off */
	SESSION_STOP,        /* idle, reset by the module, ended by an operator or by the end of the process */
	SESSION_SETTLED,     /* draining: nothing is open any more */
	SESSION_EVENTS,
};

enum {
	SESSION_TIMERS = 8,
	SESSION_USER_MAX = 64,
	SESSION_HOLES_PAST = 16,     /* closed pinholes that are still shown */
	SESSION_STEPS_BYTES = 6144, SESSION_CHANGES_BYTES = 8192,
};

struct session_timer {
	struct loop_timer timer;
	struct session *session;
	uint32_t cookie;
};
struct session_verb { /* how often it was asked for within a minute */
	uint64_t since_ms;
	uint32_t n;
};

struct datagrams;
struct session {
	struct group group;
	struct list node;            /* engine->live or ->history */
	struct list of_client;       /* client->list, while it is live */
	struct hash_node by_id;
	struct alg_host_engine *engine;
	struct listener *listener;    /* until it has ended, too */
	struct alg_setup *setup;      /* that it began with; referenced, until it has ended */
	const struct alg_conf *conf;  /* of setup */
	char alg[ENGINE_ALG_NAME];    /* for what is shown of it, also afterwards */
	enum config_alg_mode mode;
	unsigned realm, to;           /* index of the realms of client and server */
	const struct alg_module *module;
	struct engine_client *client; /* until it has ended */
	enum session_state state;
	const char *cause;           /* of the end; static */
	int64_t started_ms, ended_ms;
	uint64_t active_ms, drain_ms; /* last octets; when draining began */
	struct addr far[ALG_SIDES], near[ALG_SIDES];
	struct addr client_sees;     /* what the client addressed */
	struct tcp_leg legs[ALG_SIDES];
	struct tls_context *tls[ALG_SIDES]; /* of legs and data, as of the beginning; NULL: in clear */
	struct alg_tls_view secured[ALG_SIDES]; /* of the legs, beyond their end */
	bool is_securing;            /* TLS is about to begin: no octet moves */
	struct pinhole_socket_request *request;
	struct datagrams *datagrams; /* instead of legs */
	struct flow *flow;
	struct joint joint;          /* of its flow, by which its octets go */
	struct hash_node by_name;    /* with name: by which another session may meet this one */
	char *name;
	size_t name_len;
	char partner[ID_TEXT_MAX];   /* the one that was met last; "": none */
	struct flow_stats counts;    /* as of the end */
	bool is_in_flow, is_ending /* the module said so */, is_abnormal;
	struct loop_timer kick;
	struct session_timer timers[SESSION_TIMERS];
	struct list holes;
	unsigned n_holes, n_holes_total, n_transfers;
	uint32_t last_hole;
	struct hole_verdict pending; /* of data whose pinhole is still to come */
	struct session_verb *verbs;  /* by index in the module's table; the last is for all others */
	unsigned n_verbs;
	char user[SESSION_USER_MAX];
	struct journal steps, changes;
	struct alg_hole_view *past;  /* ring of closed pinholes */
	unsigned n_past, next_past;
};

/* A client has connected; fd_take is the session's. Counted already. NULL when out of memory (the socket is closed). */
struct session *session_accept(struct listener *listener, struct engine_client *client, int fd_take, const struct addr ends[2]);
/* Without legs: for datagrams. */
struct session *session_new(struct listener *listener, struct engine_client *client, const struct addr *far_client,
			    const struct addr *client_sees);
void session_begin(struct session *session); /* the server can be reached: the flow begins */
void session_free(struct session *session);
void session_step_event(struct session *session, enum session_event event, const char *cause);
/* Moves whatever can be moved, tells the module what waits. Not from within the flow. */
void session_pump(struct session *session);
void session_kick(struct session *session); /* the same, soon */
void session_sweep(struct session *session, uint64_t now_ms);
bool session_has_data(const struct session *session); /* data is on its way */

const char *session_state_text(enum session_state state);
void session_step(struct session *session, const char *rule, const char *format, ...) __attribute__((format(printf, 3, 4)));
void session_change(struct session *session, enum alg_side from, const char *verdict, struct span before, struct span after);
void session_remember_hole(struct session *session, struct hole *hole);

/* session_pump.c, for session.c */
void session_tell_events(struct session *session);
tcp_leg_fn session_on_leg;
loop_timer_fn session_on_kick;

/* session_tls.c: TLS of the legs. */
void session_tls_init(struct session *session);
void session_tls_fini(struct session *session);
void session_tls_begin(struct session *session); /* the flow wants it */
/* True: the event was its own. The session may have ended. */
bool session_tls_on_leg(struct session *session, struct tcp_leg *leg);
void session_tls_tell_errors(struct session *session); /* a step for each leg that TLS broke off */

/* session_meet.c. As in alg.h; then: what is to be moved between sessions that have met, and its end with them. */
int session_meet_open(struct session *session, struct span name);
int session_meet_join(struct session *session, struct span name);
bool session_meet_move(struct session *session); /* true when something was */
void session_meet_leave(struct session *session);
void session_on_wake(struct joint *joint);
uint64_t session_active_ms(const struct session *session);

/* session_owner.c */
extern const struct flow_owner session_owner;
/* session_policy.c */
void session_policy(struct session *session, const struct alg_question *question, struct alg_answer *ret);
/* The first octets of its data are there: false when the profile forbids them; the reason is then in hole->limit_text. */
bool session_judge_data(struct session *session, struct hole *hole, struct span magic);
/* transfer.c */
char transfer_direction(enum alg_direction direction); /* as records have it: 'u', 'd', '-' */
void transfer_note(struct session *session, const struct alg_transfer *transfer);
void transfer_finish(struct session *session, struct hole *hole); /* its counts are final */

/* datagram.c, and of pinholes datagram_data.c */
void datagram_pump(struct session *session);
void datagram_close(struct session *session);
void datagram_sweep(struct session *session, uint64_t now_ms);
int datagram_hole_arm(struct hole *hole);
void datagram_hole_close(struct hole *hole);

#endif
