/* What would happen: plays a transcript (its language is in runner.h) against a module, as an ALG of the
 * configuration would have it, with its mode, addresses and profile, and writes down what becomes of each message,
 * what is asked of the profile, which pinholes are wanted. Nothing is opened, sent or counted. Pure: any thread,
 * each with its own arena. Part of runner.c. */
#ifndef ALGS_REHEARSAL_H
#define ALGS_REHEARSAL_H

#include "algs/alg.h"
#include "core/arena.h"
#include "core/config.h"
#include "core/policy.h"

enum { REHEARSAL_STEPS_MAX = 1000, REHEARSAL_LIST_MAX = 1000 /* of each kind below */ };

struct rehearsal_ask {
	const struct alg_conf *alg;
	const struct alg_module *module;
	struct addr client, server; /* family 0: an example that fits the configuration. Port 0 likewise */
	struct span transcript;
};

struct rehearsal_message { /* one that the module has judged; a step may have several, or none yet */
	enum alg_side from;
	const char *verdict;        /* "pass", "edit", "drop", "hold", "bypass", "reset" */
	struct span before, after;  /* after.ptr NULL: it goes nowhere */
};
struct rehearsal_step { /* a line of the transcript that makes something happen */
	unsigned line;
	const char *what;           /* "send", "end", "opened", ... */
	enum alg_side from;         /* of "send" and "end" */
	struct span sent;
	struct rehearsal_message *messages;
	unsigned n_messages;
	struct span out[ALG_SIDES]; /* what comes out at client and server */
};
struct rehearsal_decision { /* what the profile was asked */
	unsigned line;
	const char *verb, *class, *target, *user, *transport;
	enum alg_direction direction;
	struct policy_verdict verdict;
};
struct rehearsal_hole {
	unsigned line;              /* where it was reserved */
	const char *class, *kind, *state; /* as alg_hole_view; the state at the end */
	enum alg_side listener;
	struct addr at;             /* the listener; media: not set */
	struct addr public[ALG_SIDES]; /* what the module wrote into messages to that side, as far as it asked */
};
struct rehearsal_note {
	unsigned line;
	const char *rule;           /* NULL: none */
	const char *text;
};
struct rehearsal_transfer {
	unsigned line;
	const char *user, *verb, *path;
	enum alg_direction direction;
	unsigned code;
	bool is_ok;
};

struct rehearsal { /* everything is in the arena */
	struct addr client, server, client_sees, server_sees;
	struct rehearsal_step *steps;
	struct rehearsal_decision *decisions;
	struct rehearsal_hole *holes;
	struct rehearsal_note *notes;
	struct rehearsal_transfer *transfers;
	unsigned n_steps, n_decisions, n_holes, n_notes, n_transfers;
	bool is_bypassed, is_reset, is_ending;
	/* Of a transcript that cannot be played (ERR_PARSE: not the language; ERR_STATE: that cannot happen). */
	unsigned fault_line;
	char fault[400];
};

/* 0, ERR_PARSE, ERR_STATE, ERR_LIMIT when the arena is too small, ERR_UNSUPPORTED for a module that cannot be run,
 * -ENOMEM. */
int rehearse(const struct rehearsal_ask *ask, struct arena *arena, struct rehearsal *ret);

#endif
