/* What the files of the engine share: pinhole.c (handles, as owners see them), state.c (what happens to one pinhole),
 * requests.c and answers.c (the messages), sockets.c (sockets that need privilege), audit.c (whether the kernel has what it
 * should) and engine.c (the whole). Nobody else includes this. Control thread. */
#ifndef PINHOLE_ENGINE_H
#define PINHOLE_ENGINE_H

#include "core/hash.h"
#include "core/list.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "pinhole/channel.h"
#include "pinhole/counters.h"
#include "pinhole/pinhole.h"

enum {
	ENGINE_REQUESTS_MAX = 64,   /* unanswered at a time; later ones wait in the queue */
	ENGINE_ABILITIES_MAX = 512, /* each path on each realm, and room */
	ENGINE_REASONS_MAX = 256,
	ENGINE_LISTENERS_MAX = 4,
	ENGINE_STRAYS_MAX = 4096,   /* in the kernel and nobody's, waiting to be removed; the next audit finds the rest */
	ENGINE_SOCKETS_MAX = 1024,  /* asked for and not answered */
};

enum pinhole_want { WANT_NOTHING, WANT_OPEN, WANT_CLOSE };

struct pinhole {
	struct hash_node node;      /* in engine->by_id until it is freed */
	struct list all;
	struct list queue;          /* in engine->out while `want` is set, in engine->done after a close without the helper */
	struct list unbound;        /* in engine->unbound while armed and no packet was seen */
	struct list look;           /* in engine->looks until the helper is asked how far it has come */
	pinhole_look_fn *look_fn;
	bool is_looked_at;          /* it is asked */
	struct pinholes *engine;
	struct pinhole_spec spec;
	uint64_t id;
	enum pinhole_state state;
	enum pinhole_path path;
	enum pinhole_want want;     /* to be asked of the helper */
	const char *reason;
	pinhole_event_fn *fn;       /* NULL: disowned */
	void *arg;
	struct loop_timer renewal;  /* without a helper: the end of its life */
	uint64_t expires_ms;        /* when the kernel would drop it without a renewal */
	uint64_t asked_us;
	uint32_t batch;             /* one fate with those of the same number, next to it in the queue; 0: for itself */
	uint8_t n_requests;         /* that hold a pointer to it; it is freed after the last of them is answered */
	bool is_alone;              /* was refused in the company of other batches: next time without them */
	bool was_sent;              /* the helper may know it */
	bool is_unsure;             /* the kernel may have lost it: it was asked for again, and a refusal is final */
	bool is_told;               /* its owner knows of its end */
	bool is_missing;            /* as the last audit found */
	bool is_audited, is_listed; /* of the audit that runs */
	struct counters_source counters;
};

struct engine_request { /* sent and not answered */
	enum wire_op op;
	uint64_t serial;
	uint64_t sent_ms;
	unsigned n;
	struct pinhole *pinholes[WIRE_BATCH_MAX]; /* NULL: a stray */
	uint64_t ids[WIRE_BATCH_MAX];
	struct pinhole_socket_request *socket; /* of WIRE_SOCKET */
};

struct engine_reason {
	uint64_t hash;
	char text[WIRE_REASON_MAX];
};

struct pinholes {
	struct loop *loop;
	struct pinholes_conf conf;
	struct channel *channel;    /* NULL: there never was one */
	const char *no_helper;      /* why there is none; NULL while there is */
	struct hash_table *by_id;
	struct list all, out, done, unbound, looks;
	uint32_t last_batch;
	struct list sockets_out, sockets_sent, sockets_failed; /* requests: to be sent, in the ring, to be told */
	unsigned n_sockets;
	bool was_socket;            /* the last request was for one: pinholes have their turn */

	bool has_hello;             /* what is wanted may be sent */
	uint64_t late_ms;           /* by then it should have come */
	uint32_t starts;            /* of the helper, as its last hello said */
	uint64_t last_serial;
	uint64_t void_serial;       /* up to here asked of an earlier process: answers no longer matter */
	struct engine_request *requests; /* ring of ENGINE_REQUESTS_MAX, answered in order */
	unsigned first_request, n_requests;
	bool is_stalled;            /* it has not answered for a while */
	bool is_reconciled, wants_sweep;
	bool wants_list, is_listing;
	unsigned n_unknown;         /* of the audit that runs: in the kernel, but the helper has no id for it */
	unsigned n_orphans;
	uint64_t audit_due_ms;
	uint64_t *strays;
	unsigned n_strays;

	struct counters_memory memory;
	struct wire_ability *abilities;
	unsigned n_abilities;
	const char *capture_trouble; /* NULL: none */
	struct engine_reason *reasons[ENGINE_REASONS_MAX];
	unsigned n_reasons;
	struct {
		void (*fn)(void *arg);
		void *arg;
	} listeners[ENGINE_LISTENERS_MAX];
	unsigned n_listeners;
	struct loop_timer tick, kick;
	struct pinholes_summary counts; /* but for `open` and what is or is not */
	uint64_t full_until_ms;         /* one that was asked for found no room; 0: nothing is known of that */
	bool is_unwatched;
	bool was_full, was_late, was_unwatched; /* as the listeners know */
};

/* engine.c */
void engine_init_pinhole(struct pinhole *pinhole); /* its queues and timer */
void engine_plan_renewal(struct pinhole *pinhole);
void engine_kick(struct pinholes *engine);  /* the queues are looked at before this turn of the loop ends, or in the next */
bool engine_has_helper(const struct pinholes *engine);
struct pinhole *engine_find_live(const struct pinholes *engine, uint64_t id); /* not draining or closed; or NULL */
struct pinhole *engine_find_any(const struct pinholes *engine, uint64_t id);
const char *engine_reason(struct pinholes *engine, const char *text); /* the same text, for as long as the engine lives */
void engine_tell_listeners(struct pinholes *engine);
void engine_note_room(struct pinholes *engine, bool is_there); /* what the kernel said of it, or something ended there */
bool engine_is_full(const struct pinholes *engine);

/* requests.c */
void requests_want(struct pinhole *pinhole, enum pinhole_want want); /* queues it; an earlier wish is dropped */
/* Once more, by itself and before anything that was asked for later. */
void requests_try_again(struct pinhole *pinhole);
/* Removes it from the kernel, unless somebody has it by then. False when too many wait already. */
bool requests_remove_stray(struct pinholes *engine, uint64_t id);
void requests_pump(struct pinholes *engine);    /* sends what the socket takes */
/* Sends n records and notes the request; `what` has its pinholes and ids or its socket, or is NULL. False when nothing was sent. */
bool requests_send(struct pinholes *engine, enum wire_op op, const void *records, unsigned n, const struct engine_request *what);
/* The oldest request when `head` is of its answer, taken out unless more of the answer is to come. */
bool requests_take(struct pinholes *engine, const struct wire_head *head, struct engine_request *ret);
void requests_forget(struct pinholes *engine);  /* nobody will answer them */

/* answers.c */
const char *answers_take(struct pinholes *engine, const struct channel_message *message); /* NULL, or what is wrong with it */
void answers_gone(struct pinholes *engine, const struct wire_gone *records, unsigned n);
void answers_ability(struct pinholes *engine, const struct wire_ability *records, unsigned n);
void answers_capturing(struct pinholes *engine, const struct wire_capturing *record);

/* sockets.c */
bool sockets_send(struct pinholes *engine); /* the next one that waits; false when nothing was sent */
bool sockets_take(struct pinhole_socket_request *request, const struct channel_message *message); /* false: not well-formed */
void sockets_fail(struct pinhole_socket_request *request, int err); /* its owner is told with the next flush */
void sockets_fail_all(struct pinholes *engine, int err);
void sockets_flush(struct pinholes *engine);
void sockets_free(struct pinholes *engine);

/* state.c: what can happen to a pinhole. */
enum state_input {
	INPUT_OPENED, INPUT_REFUSED, INPUT_PACKET, INPUT_CLOSE, INPUT_CLOSED, INPUT_EXPIRED, INPUT_LOST, INPUT_NO_HELPER,
	STATE_INPUTS
};
enum { STATE_NO_EVENT = -1 };
/* Changes the state and returns the event to tell with state_tell(), or STATE_NO_EVENT. */
int state_step(struct pinhole *pinhole, enum state_input input);
/* Tells the owner. After a final event the pinhole is freed, now or when the last request that names it is answered. */
void state_tell(struct pinhole *pinhole, int event);
void state_input(struct pinhole *pinhole, enum state_input input); /* both */
void state_release(struct pinhole *pinhole); /* one request less names it */
bool state_is_live(const struct pinhole *pinhole); /* reserved, armed or bound */
bool state_is_in_kernel(const struct pinhole *pinhole); /* armed or bound */
void state_free(struct pinhole *pinhole);
/* Took a path, or left it (PINHOLE_NONE): for the gauge. */
void state_set_path(struct pinhole *pinhole, enum pinhole_path path);
void state_count_refusal(struct pinholes *engine, int err);
void state_observe_setup(const struct pinhole *pinhole);
void state_count_start(struct pinholes *engine, bool is_up);
void state_count_audit(struct pinholes *engine, unsigned missing, unsigned orphans);
void state_register_metrics(void);

/* audit.c */
void audit_begin(struct pinholes *engine);  /* the request for the list was sent */
void audit_listed(struct pinholes *engine, const struct wire_listed *records, unsigned n);
void audit_end(struct pinholes *engine);

#endif
