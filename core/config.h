/* The configuration of a running gateway: a typed, immutable snapshot. Built from one YAML file, checked whole, then
 * swapped in; whoever needs it longer than a call holds a reference. Any thread may read a snapshot it references.
 * Realms, peers, routes, profiles and algs keep the order of the file. Strings, arrays and policies live as long as the
 * snapshot. */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include <stdio.h>

#include "core/addr.h"

struct conf_errors;
struct conf_item;
struct policy;

enum { CONFIG_REALMS_MAX = 64, CONFIG_PEERS_MAX = 1024, CONFIG_ROUTES_MAX = 4096, CONFIG_REALM_ADDRESSES_MAX = 16,
       CONFIG_PEER_TARGETS_MAX = 16, CONFIG_ALGS_MAX = 64, CONFIG_ALG_PORTS_MAX = 8, CONFIG_ALG_SERVERS_MAX = 32,
       CONFIG_PROFILES_MAX = 64 };

enum sip_proto { SIP_UDP /* TCP, TLS: later */ };
enum realm_trust { TRUST_UNTRUSTED, TRUST_TRUSTED };
enum config_path { CONFIG_PATH_XDP, CONFIG_PATH_TC, CONFIG_PATH_CONNTRACK, CONFIG_PATH_NFT, CONFIG_PATH_RELAY, CONFIG_PATHS };
enum realm_nat { NAT_OFF /* media only from where signalling said */, NAT_LATCH /* learn once, then lock */ };

struct realm_listen {
	enum sip_proto proto;
	struct addr addr; /* one of the realm's addresses, with port */
};

struct realm_conf {
	unsigned index; /* position in config.realms */
	const char *name;
	const char *interface; /* or NULL */
	struct addr addresses[CONFIG_REALM_ADDRESSES_MAX]; /* port 0 */
	unsigned n_addresses;
	struct realm_listen listens[CONFIG_REALM_ADDRESSES_MAX * 2]; /* "udp:5060" expands to one per address */
	unsigned n_listens; /* 0: no SIP on this side */
	uint16_t media_port_min, media_port_max; /* inclusive */
	enum realm_trust trust;
	enum realm_nat nat;
	uint8_t dscp_sip, dscp_media;   /* 0..63 */
	bool pass_unknown_headers;
	uint32_t max_calls;             /* counted at the caller's realm */
	uint32_t cps;                   /* new calls per second and realm, 0: no limit */
	uint32_t media_timeout_s;       /* no packet on any active stream */
	uint32_t latch_window_ms;
};

struct peer_target {
	struct addr addr; /* with port */
	const char *uri;  /* as configured: "sip:10.0.0.20:5060" */
};
struct peer_conf {
	unsigned index;
	const char *name;
	const struct realm_conf *realm;
	struct peer_target targets[CONFIG_PEER_TARGETS_MAX]; /* tried in order */
	unsigned n_targets;
};

struct route_conf {
	unsigned index;
	const char *name; /* as configured, or "route-<n>" from 1 */
	const struct realm_conf *from;
	const char *prefix; /* of the Request-URI user, or NULL */
	const char *regex;  /* PCRE2 that compiles; or NULL */
	unsigned strip;     /* leading characters of the user to drop before sending */
	const char *add;    /* to put in front after that, or NULL */
	const struct peer_conf *to; /* NULL: refuse with `code` */
	unsigned code;      /* when `to` is NULL: the status of `deny` */
};

enum config_alg_mode {
	CONFIG_ALG_NAT,         /* clients address the servers themselves; servers see the gateway */
	CONFIG_ALG_TRANSPARENT, /* both see each other */
	CONFIG_ALG_EXPLICIT,    /* clients address the gateway, which connects to `server`; needs no privilege */
};
enum config_alg_tls { CONFIG_ALG_TLS_REFUSE, CONFIG_ALG_TLS_PASS, CONFIG_ALG_TLS_TERMINATE /* the gateway ends it on both sides */ };
enum config_alg_tls_need { CONFIG_ALG_TLS_NEED_NOTHING, CONFIG_ALG_TLS_NEED_CONTROL, CONFIG_ALG_TLS_NEED_DATA /* both */ };
enum config_alg_data { CONFIG_ALG_DATA_KERNEL /* unless the profile has to see the octets */, CONFIG_ALG_DATA_RELAY };

/* Where an application-level gateway works: control channels from a realm to servers in another (or the same) one. */
struct alg_conf {
	unsigned index;
	unsigned capture; /* which place of those that are taken over, see config_alg_capture(); not for CONFIG_ALG_EXPLICIT */
	const char *name, *protocol; /* "ftp", "rtsp", "tftp" */
	const struct realm_conf *realm, *to; /* of clients, of servers */
	enum config_alg_mode mode;
	uint16_t ports[CONFIG_ALG_PORTS_MAX]; /* of the servers; CONFIG_ALG_EXPLICIT: of the gateway's addresses in `realm`
					       * that are of server's family */
	unsigned n_ports;
	struct prefix servers[CONFIG_ALG_SERVERS_MAX]; /* not for CONFIG_ALG_EXPLICIT */
	unsigned n_servers;
	struct addr server;          /* CONFIG_ALG_EXPLICIT: with port */
	const struct policy *policy; /* NULL: no profile, everything is allowed */
	enum config_alg_tls tls;
	uint16_t tls_port_min, tls_port_max; /* data ports of servers behind encrypted control channels; 0: none */
	/* CONFIG_ALG_TLS_TERMINATE: paths of PEM files, and what holds for each side. */
	const char *certificate, *key; /* shown to clients */
	const char *server_ca;       /* NULL: the system's */
	const char *server_name;     /* in the certificates of servers; NULL: any, with server_ca */
	bool is_tls_implicit;        /* TLS begins with the connection */
	bool is_server_tls, is_server_verified; /* servers speak it; their certificates are checked */
	bool is_resumption_needed;   /* ftp: data connections of clients resume the session of their control channel */
	bool is_tls_end_needed;      /* ftp: data without close_notify at its end is broken off */
	enum config_alg_tls_need tls_need; /* ftp: what clients have to encrypt */
	bool may_be_active;          /* ftp: servers may connect to clients */
	bool is_server_passive;      /* ftp: servers are never told to: the gateway connects to them, and to the clients */
	enum config_alg_data data;
	uint32_t max_sessions, max_sessions_per_client;
	uint32_t sessions_per_s, sessions_per_s_per_client; /* new ones; 0: no limit */
	uint32_t idle_ms;
};

struct profile_conf {
	const char *name, *protocol;
	struct policy *policy;
};

struct config {
	const char *node;          /* name of this gateway in records */
	const char *database;      /* path */
	uint32_t revision;         /* config_load(), config_parse(): rises in this process; what follows another one: one more */
	struct realm_conf realms[CONFIG_REALMS_MAX];
	unsigned n_realms;
	struct peer_conf *peers;
	unsigned n_peers;
	struct route_conf *routes;
	unsigned n_routes;
	struct profile_conf *profiles;
	unsigned n_profiles;
	struct alg_conf *algs;
	unsigned n_algs;
	struct {
		struct addr listen;        /* family 0: no TCP listener */
		const char *socket;        /* path of the UNIX socket, or NULL */
		const char *token_file;    /* holds "sha256:<hex>" lines; or NULL */
		uint32_t connections, timeout_s;
	} api;
	struct {
		enum config_path paths[CONFIG_PATHS]; /* preferred first; CONFIG_PATH_RELAY can only be the last */
		unsigned n_paths;
		bool needs_kernel;         /* no CONFIG_PATH_RELAY among them: no new call whose media could not get into the kernel */
		bool is_firewall_closed;   /* only pinholes pass from one realm to another */
		const char *state_dir;     /* folder for what the kernel keeps beyond the process */
		uint32_t lifetime_s;       /* of a stream in the kernel that nobody renews */
	} media;
	struct {
		uint32_t t1_ms, t2_ms, t4_ms;
		uint32_t ring_timeout_ms;   /* provisional but no final answer: 408 */
		uint32_t max_call_s;        /* 0: no limit */
	} sip;
	struct {
		uint32_t max_calls, max_transactions;
		uint32_t relay_threads;
		uint32_t port_quarantine_ms;
		uint32_t trace_bytes;       /* memory of the message ring */
		uint32_t sip_replies_per_s; /* stateless error replies per source */
	} limits;
	struct {
		const char *level;  /* error, warn, info, debug */
		bool json;
	} log;
};

/* Reads and checks the file. 0 and a snapshot with one reference, or a negative error with everything that is wrong
 * in `errors` (also semantic faults: unknown realm, overlapping pools, addresses used twice). */
int config_load(const char *path, struct conf_errors *errors, const struct config **ret);
/* The same from memory; name is for messages. */
int config_parse(struct span yaml, const char *name, struct conf_errors *errors, const struct config **ret);

/* For a gateway that runs: what it began with, and what is in force. Both borrowed. */
struct config_before {
	const struct config *started, *running;
};
/* As config_load() and config_parse(), but a change that takes a restart is a fault, too: of what is marked so in the schema,
 * more calls than at the start, and control channels that were not taken over then (the privileged helper's limits are
 * sealed). A rule that is as it was in the profile of that name goes on with its counters, which both snapshots then share. */
int config_load_next(const char *path, const struct config_before *before, struct conf_errors *errors, const struct config **ret);
int config_parse_next(struct span yaml, const char *name, const struct config_before *before, struct conf_errors *errors,
		      const struct config **ret);

enum config_change { CONFIG_ADDED, CONFIG_REMOVED, CONFIG_CHANGED };
/* pointer: "/algs/office-ftp", or a section without names of its own: "/routes". */
typedef void config_diff_fn(void *arg, enum config_change change, const char *pointer);
void config_diff(const struct config *before, const struct config *after, config_diff_fn *fn, void *arg);
const char *config_change_text(enum config_change change); /* "added", "removed", "changed" */

const struct config *config_ref(const struct config *config);
void config_unref(const struct config *config); /* NULL is fine */

const struct realm_conf *config_realm(const struct config *config, struct span name);   /* or NULL */
const struct peer_conf *config_peer(const struct config *config, struct span name);     /* or NULL */
/* The first peer that has a target with this address (port ignored) in this realm, or NULL. Only for snapshots that
 * config_load() or config_parse() made. */
const struct peer_conf *config_peer_of(const struct config *config, const struct realm_conf *realm, const struct addr *source);

/* Whether the gateway listens on this port below 1024 for some explicit ALG. */
bool config_has_low_port(const struct config *config, uint16_t port);
/* Where control channels that an ALG takes over arrive: its own port on 127.0.0.1 or ::1. Not for CONFIG_ALG_EXPLICIT. */
struct addr config_alg_capture(const struct alg_conf *alg, uint8_t family);
const char *config_alg_tls_text(const struct alg_conf *alg); /* as the file has it: "refuse", "implicit" */
const char *config_alg_tls_need_text(enum config_alg_tls_need need);
bool config_alg_is_datagram(const struct alg_conf *alg); /* its control channel is UDP */

/* The commands of a protocol are known to its module, in a layer above: the name of the index-th, NULL behind the last one and when
 * there is no such module. */
typedef const char *config_verb_fn(const char *protocol, unsigned index);
/* From the next snapshot on rules may name no other commands; NULL, as at first: any. At start, while there is one thread. */
void config_set_verbs(config_verb_fn *fn);

const struct conf_item *config_schema(void);
void config_print_man(FILE *out); /* postern.yaml(5), mdoc */

#endif
