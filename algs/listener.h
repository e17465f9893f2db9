/* Inside the host: the sockets on which control channels begin. An explicit one is on the gateway's own address and port; a captured
 * one gets what clients send to the servers themselves, and knows from each connection which server that was. One that cannot be
 * opened is tried again, and an alarm meanwhile. Control thread. */
#ifndef ALGS_LISTENER_H
#define ALGS_LISTENER_H

#include "algs/engine.h"

struct listener {
	struct alg_host_engine *engine;
	struct engine_alg *alg;
	struct addr at;
	bool is_captured;
	int fd;                     /* -1: not open */
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

/* How many listeners that ALG needs; with out also where. */
unsigned listener_plan(struct alg_host_engine *engine, struct engine_alg *alg, struct listener *out);
void listener_begin(struct listener *listener); /* opens it, or tries again by itself */
void listener_close(struct listener *listener);
bool listener_is_open(const struct listener *listener);
bool listener_is_opening(const struct listener *listener); /* not open yet, and nothing is known to be wrong */

/* Whether that client may begin a session with that server here. 0 and its count, or ERR_DENIED, ERR_LIMIT, -EAGAIN (counted, logged). */
int listener_admit(struct listener *listener, const struct addr *client, const struct addr *server, struct engine_client **ret);

/* datagram.c: something can be read from a listener's UDP socket. */
void datagram_receive(struct listener *listener);

#endif
