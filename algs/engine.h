/* Inside the host: what its files share. The engine owns listeners, own TCP ports, live sessions and the recent past. */
#ifndef ALGS_ENGINE_H
#define ALGS_ENGINE_H

#include "algs/alg.h"
#include "algs/host.h"
#include "algs/setup.h"
#include "algs/tcp_ports.h"
#include "core/hash.h"
#include "core/limit.h"
#include "core/list.h"
#include "core/loop.h"
#include "core/tls.h"
#include "pinhole/pinhole.h"

enum {
	ENGINE_SESSIONS_MAX = 16384,   /* at once, all ALGs together */
	ENGINE_HISTORY_MAX = 500,      /* ended sessions that the API still shows */
	ENGINE_HOLES_MAX = 65536,      /* at once, all sessions together */
	ENGINE_NAMES_MAX = 4096,       /* by which sessions can be met, at once */
	ENGINE_NAMES_PER_CLIENT = 32,
	ENGINE_SWEEP_MS = 1000,
	ENGINE_RATE_SLOTS = 4096,      /* buckets of clients, per ALG; clients whose addresses hash alike share one */
	ENGINE_CONNECT_MS = 10000,     /* to a server */
	ENGINE_SCRATCH = 64 << 10,
	ENGINE_ALG_NAME = 64,          /* room for the name of an ALG */
};

struct engine_pool { /* own TCP ports of one address of a realm */
	unsigned realm;
	struct tcp_ports *ports;
};

struct engine_alg { /* counts of one ALG, which is its name */
	struct list node;           /* engine->algs */
	char name[ENGINE_ALG_NAME];
	struct alg_setup *setup;    /* referenced; NULL: it is not configured any more, and its last sessions go on */
	struct alg_setup *next;     /* borrowed, while a configuration is being put in force */
	unsigned metric;            /* host_metrics_alg() */
	unsigned sessions;
	struct hash_table *clients; /* struct engine_client, by address */
	struct limit rate;          /* of new sessions */
	struct limit_table *client_rates; /* likewise, by address; NULL: no limit */
	struct limit_table *next_client_rates; /* as next */
};

struct engine_client {
	struct hash_node node;
	struct engine_alg *alg;
	struct addr ip;
	struct list list;           /* its sessions, by of_client */
	unsigned sessions, names;
};

struct alg_host_engine {
	struct alg_host_deps deps;
	const struct config *config; /* in force */
	struct loop *loop;
	struct list algs, listeners;
	struct engine_pool *pools;
	unsigned n_pools;
	struct list live, history;  /* sessions, oldest first */
	struct list resumed;        /* resume.c: data of sessions of a process before this one */
	struct list leavers;        /* data.h */
	unsigned n_live, n_history, n_holes, n_resumed;
	struct hash_table *by_id, *by_name;
	struct loop_timer sweep;
	bool can_kernel[CONFIG_REALMS_MAX]; /* TCP pinholes, as of the last change */
	bool is_draining;
	void (*drained)(void *arg);
	void *drained_arg;
	struct alg_host_stats stats;
	char scratch[ENGINE_SCRATCH]; /* for one read */
};

/* The own TCP ports of that address, or NULL. */
struct tcp_ports *engine_pool(const struct alg_host_engine *engine, const struct realm_conf *realm, const struct addr *ip);
/* The realm's first address of that family, or NULL. */
const struct addr *engine_own_address(const struct realm_conf *realm, uint8_t family);

/* host_plan.c. Makes what the setups say the configuration in force, as a whole: 0, or an error with its texts, and all is as it was.
 * is_first: nothing is in force yet. */
int engine_put_in_force(struct alg_host_engine *engine, struct alg_setups *setups_take, bool is_first, struct conf_errors *errors);
struct engine_alg *engine_alg(const struct alg_host_engine *engine, const char *name); /* or NULL */
void engine_alg_free(struct engine_alg *alg);
void engine_alg_drop(struct engine_alg *alg); /* frees it when neither configuration nor sessions need it */

/* engine_tls.c: what the configuration of an ALG says about TLS becomes its contexts. Reads files, and warns of a
 * certificate that expires soon and of a key that is open to all (loop NULL: does not). Any thread. 0, or an error and its text. */
int engine_tls_make(const struct alg_conf *conf, struct loop *loop, struct tls_context *ret[ALG_SIDES], char *error_text,
		    size_t error_size);
enum alg_tls engine_tls_of(const struct alg_conf *conf); /* as modules are told */
int64_t engine_tls_expires_ms(const struct engine_alg *alg); /* of the certificate for clients, as wall clock; 0: none, or not known */
void engine_tls_drop(struct tls_context *contexts[ALG_SIDES]);

/* Counts a session of that client in: 0 and the count to give back, ERR_LIMIT when there are too many, -EAGAIN when they come too fast. */
int engine_admit(struct alg_host_engine *engine, struct engine_alg *alg, const struct addr *client, struct engine_client **ret);
void engine_dismiss(struct engine_client *client);
/* A session has ended: into the history, and what waits for the last one. */
struct session;
void engine_retire(struct alg_host_engine *engine, struct session *session);
void engine_say_drained(struct alg_host_engine *engine); /* to who waits for that, when nothing is left */

#endif
