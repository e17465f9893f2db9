/* What datagram.c (sessions and their sockets) and datagram_data.c (what arrives there) share. Nobody else includes this. Control
 * thread. */
#ifndef ALGS_DATAGRAM_H
#define ALGS_DATAGRAM_H

#include "algs/session.h"

enum { DATAGRAM_RECEIVES = 32 }; /* in one turn */

struct datagrams {
	struct session *session;
	struct hash_node node;      /* in the listener's table */
	int fds[ALG_SIDES];
	struct loop_fd *watches[ALG_SIDES];
	struct pinhole_socket_request *request; /* of the client's socket */
	struct addr answers_from;   /* what the client's socket looks like, or will */
	char *waiting;              /* one datagram for the client, until its socket is there; or of the client, until the server's is */
	size_t n_waiting;
	struct hole *hole;          /* armed or bound */
	uint16_t server_port;       /* fixed by the first answer; 0: not yet */
	bool is_complete;           /* as the module says: what is repeated may still pass */
	uint64_t passed, pace_ms;   /* octets; when the next may pass */
	struct loop_timer pause;
	unsigned foreign;
};

/* datagram.c. What does not fit is lost, as datagrams are. */
void datagram_send(int fd, struct span bytes, const struct addr *to); /* to NULL: to whom it is connected */
/* To the client, as from this port of the server; kept when its socket is not there yet. */
void datagram_to_client(struct datagrams *d, struct span bytes, uint16_t server_port);

/* datagram_data.c */
loop_fd_fn datagram_on_client, datagram_on_server; /* arg: struct datagrams */
void datagram_go_on(struct loop_timer *timer, void *arg); /* the pause is over */

#endif
