/* Pinholes: doors through the gateway for exactly one negotiated stream each, kept by the kernel. What the rest of the
 * gateway sees of them; which mechanism holds one, and the process that may apply it, are hidden.
 *
 * A pinhole is one direction: datagrams from `source` to `listen` leave as `from` to `target`. What does not match goes
 * to the socket that is bound to `listen`, as if there were no pinhole. It has an owner, a lifetime that is renewed while
 * the owner holds it, and limits; all three are mandatory. It outlives this process: after a restart the owner opens it
 * again with the same specification, finds it as it was, counters included, and pinholes_reconciled() removes what
 * nobody opened again.
 *
 * Control thread, but for pinhole_stats(). Calls return at once; what happened comes as an event, never from within the
 * call. */
#ifndef PINHOLE_PINHOLE_H
#define PINHOLE_PINHOLE_H

#include "core/addr.h"
#include "core/id.h"
#include "pinhole/slot.h"

struct loop;
struct pinholes; /* the engine */
struct pinhole;

enum pinhole_path { PINHOLE_NONE, PINHOLE_XDP, PINHOLE_TC, PINHOLE_CONNTRACK, PINHOLE_NFT, PINHOLE_PATHS };
const char *pinhole_path_text(enum pinhole_path path); /* "xdp", "tc", "conntrack", "nft"; "none" */

enum {
	PINHOLE_BATCH_MAX = 64,
	/* For so long a refusal for want of room is believed, unless something frees some. Who asks again does it sooner. */
	PINHOLE_FULL_MS = 30000,
};

struct pinhole_spec {
	char owner[ID_TEXT_MAX];      /* id of the group that it belongs to */
	uint8_t proto;                /* IPPROTO_UDP or IPPROTO_TCP */
	unsigned realm_in, realm_out; /* index in the configuration: of `listen` and of `from` */
	struct addr listen, from;     /* the gateway's own, with ports */
	struct addr source;           /* allowed; port 0: any port, family 0: any address (then only PINHOLE_NFT can hold it) */
	struct addr target;
	/* For hosts that address each other, with the gateway as the router between them. Only PINHOLE_NFT, and only where the helper's
	 * limits have a capture (wire.h) for these realms and one of the two ends. The source's address has to be given, its port not. */
	bool is_through;              /* `listen` is not the gateway's: it is `target` itself */
	bool is_as_source;            /* `from` is not the gateway's: what leaves keeps its source (from.family 0) */
	bool is_to_self;              /* `listen` is a foreign address, and `target` a socket of this process on an own media port of
				       * either realm (from.family 0). TCP only; not with is_through */
	bool is_rtp;                  /* check version, length and payload type, count loss and jitter */
	bool is_handed_over;          /* the socket of `listen` carries the stream now: see SLOT_PENDING */
	bool is_one_shot;             /* TCP: the first connection uses it up; closing it cuts that connection */
	uint64_t payloads[2];         /* with is_rtp: bit n of the 128: payload type n may pass; others go to the socket */
	uint32_t clock_hz;            /* of the payload type in use, for jitter; 0: not known, jitter stays 0 */
	uint8_t dscp;                 /* 0..63 */
	uint32_t packets_per_s, bytes_per_s; /* of IP datagrams; above 0 */
	uint32_t lifetime_s;          /* what a process that dies leaves behind ends so long after its last renewal */
};

enum pinhole_state {
	PINHOLE_RESERVED, /* asked for */
	PINHOLE_ARMED,    /* in the kernel */
	PINHOLE_BOUND,    /* and packets have passed */
	PINHOLE_DRAINING, /* being removed */
	PINHOLE_CLOSED,
};
const char *pinhole_state_text(enum pinhole_state state);

enum pinhole_event {
	PINHOLE_EV_ARMED,   /* committed in the kernel; pinhole_path() is known */
	PINHOLE_EV_BOUND,   /* the first packet passed (noticed within a second) */
	PINHOLE_EV_REFUSED, /* the batch was refused; pinhole_reason() says why. Final: as PINHOLE_EV_CLOSED */
	PINHOLE_EV_LOST,    /* it is no longer in the kernel, and not by our will. Final */
	/* One-shot: its connection has ended (noticed within a second; a short one may never have been told as bound: the counters
	 * tell); or its lifetime ended without renewal. Final, and so are the counters */
	PINHOLE_EV_EXPIRED,
	PINHOLE_EV_CLOSED,  /* pinhole_close() is done; counters are final */
};
/* After a final event the pinhole is freed when fn returns. */
typedef void pinhole_event_fn(void *arg, struct pinhole *pinhole, enum pinhole_event event);

/* All or nothing: 0 and n handles in ret (later all get ARMED or all get REFUSED), or a negative error and no event:
 * ERR_UNSUPPORTED when no mechanism is there, ERR_LIMIT when the table is full, -ENOMEM, ERR_STATE for a bad specification,
 * ERR_EXISTS when the owner already has a pinhole with the same addresses that it did not close. Before the helper is ready
 * (it is not yet when the process begins) pinholes wait as reserved. */
int pinhole_open(struct pinholes *pinholes, const struct pinhole_spec *specs, unsigned n, pinhole_event_fn *fn, void *arg,
		 struct pinhole **ret);
/* Removes it; the handle stays valid until its final event. Closing twice is harmless. */
void pinhole_close(struct pinhole *pinhole);
/* How far the connection of a one-shot pinhole has come, as the kernel saw it. Who has finished (FIN) had all that he sent forwarded
 * before, unless some of it was lost on its way here. */
enum pinhole_end {
	PINHOLE_END_UNKNOWN, /* cannot be said now */
	PINHOLE_END_NOBODY,  /* nobody has come */
	PINHOLE_END_NONE,    /* nobody has finished */
	PINHOLE_END_SOURCE, PINHOLE_END_TARGET, /* only that one has */
	PINHOLE_END_BOTH,    /* both have, or it was reset */
	PINHOLE_ENDS
};
/* Asks the kernel about one that is armed or bound, now and not with the next second; its counters are then of this moment, too. fn gets
 * the pinhole's `arg`; it is not called when the helper cannot answer or the pinhole ends before: so ask again. One question at a
 * time, further ones join it. */
typedef void pinhole_look_fn(void *arg, struct pinhole *pinhole, enum pinhole_end end);
void pinhole_look(struct pinhole *pinhole, pinhole_look_fn *fn);
/* From here on events go nowhere (the owner is about to go away); still to be closed. */
void pinhole_disown(struct pinhole *pinhole);

const struct pinhole_spec *pinhole_spec(const struct pinhole *pinhole);
enum pinhole_state pinhole_state(const struct pinhole *pinhole);
enum pinhole_path pinhole_path(const struct pinhole *pinhole);
const char *pinhole_reason(const struct pinhole *pinhole); /* why this path or this refusal; lives as long as the engine */
/* What passed through so far. Any thread, while the pinhole exists; zeroes before it is armed. */
void pinhole_stats(const struct pinhole *pinhole, struct slot_stats *ret);
/* What was counted, and when last; the members that describe a state stay as they are in sum. */
void slot_stats_add(struct slot_stats *sum, const struct slot_stats *more);

/* A socket that needs privilege: an own address with a port below 1024, or IP_TRANSPARENT. `fd` is the callee's; negative: an error. */
struct pinhole_socket {
	unsigned realm;
	struct addr addr;     /* is_connecting with is_transparent: a foreign address, port 0 */
	uint8_t proto;
	bool is_transparent, is_connecting;
};
typedef void pinhole_socket_fn(void *arg, int fd);
struct pinhole_socket_request;
/* 0 and a request that may be given up until fn was called (in a later turn of the loop), or ERR_UNSUPPORTED without a helper,
 * ERR_LIMIT, ERR_STATE for what no helper could make sense of, -ENOMEM. fn gets ERR_CLOSED when the helper that was asked has been
 * replaced: asking again is fine. */
int pinhole_socket_open(struct pinholes *pinholes, const struct pinhole_socket *wanted, pinhole_socket_fn *fn, void *arg,
			struct pinhole_socket_request **ret);
void pinhole_socket_cancel(struct pinhole_socket_request *request); /* fn is not called; a late descriptor is closed */

/* The engine. */
struct pinholes_conf {
	int channel;                  /* to postern-pinholed, owned from here; -1: there is none */
	const char *no_channel_reason; /* static; with channel -1 */
	enum pinhole_path order[PINHOLE_PATHS]; /* preferred first, PINHOLE_NONE ends it */
	size_t max;                   /* pinholes at once */
	unsigned n_realms;            /* of the configuration, for what is said about each */
};
int pinholes_new(struct loop *loop, const struct pinholes_conf *conf, struct pinholes **ret);
void pinholes_free(struct pinholes *pinholes); /* leaves the kernel as it is. NULL is fine */
/* Whether any mechanism could hold a UDP pinhole with an exact source and these realms now. */
bool pinholes_is_usable(const struct pinholes *pinholes, unsigned realm_in, unsigned realm_out);
/* NULL, or why a stream that begins now would not get its pinholes between these realms: no helper, no room, no mechanism.
 * While that is not known yet (see pinholes_abilities()) there is no such reason. Lives as long as the engine. */
const char *pinholes_refusal(const struct pinholes *pinholes, unsigned realm_in, unsigned realm_out);
/* Everything that was alive before this process has been opened again: what the kernel still has besides is removed. */
void pinholes_reconciled(struct pinholes *pinholes);
/* The process that starts the helper again has ended. What it started may serve on. */
void pinholes_unwatched(struct pinholes *pinholes);
/* Called whenever a mechanism came or went, and within a second when there is no room any more, or again, or the helper is late or
 * unwatched; up to 4 listeners. */
void pinholes_on_change(struct pinholes *pinholes, void (*fn)(void *arg), void *arg);

struct pinhole_ability { /* one mechanism on one realm */
	enum pinhole_path path;
	unsigned realm;
	bool is_usable, is_wanted; /* wanted: in the configured order */
	char interface[16];
	char reason[120];
};
/* Returns how many there are in out. None while the helper proves what it can, for the first seconds of the process. */
unsigned pinholes_abilities(const struct pinholes *pinholes, struct pinhole_ability *out, unsigned max);

/* NULL while control channels are taken over as the configuration says, else why not; lives as long as the engine. Asked only where
 * an ALG takes channels over. Listeners of pinholes_on_change() are told. */
const char *pinholes_capture_trouble(const struct pinholes *pinholes);

struct pinhole_view { /* for the API */
	struct pinhole_spec spec;
	enum pinhole_state state;
	enum pinhole_path path;
	const char *reason;
	struct slot_stats stats;
	uint64_t idle_ms;     /* UINT64_MAX: no packet yet */
	uint64_t id;
	bool in_kernel;       /* as the last audit found it */
};
typedef void pinhole_view_fn(void *arg, const struct pinhole_view *view);
void pinholes_each(const struct pinholes *pinholes, pinhole_view_fn *fn, void *arg);
struct pinholes_summary {
	uint64_t open[PINHOLE_PATHS]; /* by path */
	uint64_t missing, orphans;    /* audits so far: ours but not in the kernel (healed), in the kernel but nobody's (removed) */
	uint64_t refused, lost;
	bool has_helper;
	bool is_starting;             /* what the helper can is not known yet; 15 s at most */
	bool is_full;                 /* no room for another stream: here, or as the last one found in a map or connection tracking */
	uint64_t helper_starts;       /* 1: it never had to be started again */
	bool is_unwatched;            /* the helper serves, and nobody would start it again */
};
void pinholes_summary(const struct pinholes *pinholes, struct pinholes_summary *ret);

#endif
