/* Inside the host: the sockets on which control channels begin. An explicit one is on the gateway's own address and port; a captured
 * one gets what clients send to the servers themselves, and knows from each connection which server that was. One that cannot be
 * opened is tried again, and an alarm meanwhile. Control thread. */
#ifndef ALGS_LISTENER_H
#define ALGS_LISTENER_H

#include "algs/engine.h"

enum { LISTENER_PLACES_MAX = CONFIG_REALM_ADDRESSES_MAX * CONFIG_ALG_PORTS_MAX };

struct listener {
	struct list node;           /* engine->listeners */
	struct alg_host_engine *engine;
	struct engine_alg *alg;     /* NULL: not in force yet, or retired */
	struct engine_alg *next_alg; /* while a configuration is being put in force: whose it will be; NULL: nobody's */
	struct addr at;
	bool is_captured, is_datagram;
	bool is_retired;            /* closed, and there only for its sessions */
	int fd;                     /* -1: not open */
	int claimed_fd;             /* bound for when it begins; -1: none */
	struct loop_fd *watch;
	struct pinhole_socket_request *request;
	struct loop_timer retry;
	char reason[120];           /* why it is not open; "" */
	unsigned failures;
	uint64_t begun_ms;
	bool is_alarmed;
	struct hash_table *datagrams; /* sessions by client, where the module is for datagrams */
	unsigned n_sessions;
	uint64_t sessions_total, refused_total;
};

/* Where that ALG listens; returns how many places. */
unsigned listener_places(const struct alg_conf *conf, struct addr out[LISTENER_PLACES_MAX]);
struct listener *listener_new(struct alg_host_engine *engine, const struct alg_setup *setup, const struct addr *at); /* or NULL */
void listener_free(struct listener *listener);
/* Binds the socket of an explicit one before it begins. 0 (also when the helper has to be asked for it, later) or a negative error. */
int listener_claim(struct listener *listener);
void listener_begin(struct listener *listener, struct engine_alg *alg); /* opens it, or tries again by itself */
void listener_give(struct listener *listener, struct engine_alg *alg);  /* what comes from now on is for that ALG */
void listener_close(struct listener *listener);
void listener_retire(struct listener *listener); /* closes it for good; it goes when its last session has left */
void listener_left(struct listener *listener);   /* by a session */
bool listener_is_open(const struct listener *listener);
bool listener_is_opening(const struct listener *listener); /* not open yet, and nothing is known to be wrong */

/* Whether that client may begin a session with that server here. 0 and its count, or ERR_DENIED, ERR_LIMIT, -EAGAIN (counted, logged). */
int listener_admit(struct listener *listener, const struct addr *client, const struct addr *server, struct engine_client **ret);

/* datagram.c: something can be read from a listener's UDP socket. */
void datagram_receive(struct listener *listener);

#endif
