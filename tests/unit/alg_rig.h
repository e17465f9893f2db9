/* The ALG host with a clock that is set by hand, sockets of loopback, pinholes and a store that the test plays, and a module that does
 * what its messages say. Explicit mode unless a test says otherwise.
 *
 * A message is a line; what it begins with:
 *	hole s|c PORT        reserve and say the handle, or the error, to the client: "hole N" | "refused N"
 *	arm N | free N | wait N | public N s|c ("public PORT")
 *	data up|down PATH    a question to the profile about verb PUT or GET; denied: dropped, and "denied CODE" to the client
 *	meet NAME | join NAME ("met", "unmet ERROR" to the client)
 *	transfer N ok|bad | ending | reset | drop | bypass | timer MS | note TEXT
 *	tls                  begins behind this line; "no tls" to the client when it cannot
 * Everything passes but what is dropped. Each event is said to the client: "opened N", "ended N C S", "limit N", "expired N", "timer",
 * "joined". */
#ifndef TESTS_UNIT_ALG_RIG_H
#define TESTS_UNIT_ALG_RIG_H

#include "algs/engine.h"
#include "algs/host.h"
#include "tests/mock/fake_loop.h"
#include "tests/mock/fake_pinhole.h"
#include "tests/mock/fake_store.h"
#include "tests/unit/unit.h"

struct alg_rig {
	struct loop *loop;
	struct pinholes *pinholes;
	struct store *store;
	const struct config *config;
	struct alg_host_engine *host;
	const char *protocol;
	int listener;               /* the server's */
	struct addr server;
	uint16_t port;              /* of the gateway */
	char stored[2048];          /* what the store was told, a line each */
	bool is_drained;
};
struct alg_pair { /* one control channel */
	int client, server;
	char got[2][4096];          /* octets that came and were not expected yet */
	bool has_ended[2], is_reset[2];
};

/* `alg` are further members of the ALG, `profile` rules of a profile "p" or NULL. */
void alg_rig_open(struct alg_rig *rig, const char *alg, const char *profile);
void alg_rig_open_tftp(struct alg_rig *rig, const char *alg, const char *profile); /* the module of that name; datagrams */
void alg_rig_close(struct alg_rig *rig);
void alg_rig_turn(struct alg_rig *rig);                  /* until nothing moves any more; some milliseconds pass */
void alg_rig_pass(struct alg_rig *rig, uint64_t ms);     /* time, with turns */

/* A client from 127.0.0.`host`. */
int alg_rig_dial(struct alg_rig *rig, unsigned host);
void alg_rig_pair(struct alg_rig *rig, struct alg_pair *ret); /* both ends connected */
void alg_rig_unpair(struct alg_pair *pair);
/* Sends a line from that side; then what came there must be what is expected: text with '|' for line ends, NULL: not looked at. */
void alg_rig_say(struct alg_rig *rig, struct alg_pair *pair, char from, const char *line);
void alg_rig_expect(struct alg_rig *rig, struct alg_pair *pair, char at, const char *text);
/* Both: the line passes unchanged to the other side. */
void alg_rig_through(struct alg_rig *rig, struct alg_pair *pair, char from, const char *line);

int alg_rig_socket(unsigned host, uint16_t port, bool is_listening); /* of a data connection */
int alg_rig_connect(struct alg_rig *rig, unsigned from, unsigned host, uint16_t port); /* likewise; and a turn */
int alg_rig_datagrams(unsigned host); /* a socket of datagrams */
/* Of the newest session, live or ended. */
const char *alg_rig_state(struct alg_rig *rig);
const char *alg_rig_cause(struct alg_rig *rig);
unsigned alg_rig_sessions(struct alg_rig *rig);

#endif
