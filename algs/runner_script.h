/* A transcript as steps. Part of runner.c. */
#ifndef ALGS_RUNNER_SCRIPT_H
#define ALGS_RUNNER_SCRIPT_H

#include "algs/runner.h"
#include "core/addr.h"
#include "core/arena.h"
#include "core/policy.h"

enum { RUNNER_STEPS_MAX = 20000, RUNNER_TEXT_MAX = 4 << 20, RUNNER_CHANNELS = 3 };

enum runner_kind {
	/* What happens. */
	RUNNER_SEND,
	RUNNER_END,
	RUNNER_OPENED,
	RUNNER_ENDED,
	RUNNER_EXPIRED,
	RUNNER_LIMIT,
	RUNNER_COMMITTED,
	RUNNER_TIMER,
	RUNNER_SLEEP,
	RUNNER_DATUM,
	/* What is expected. */
	RUNNER_EXPECT,
	RUNNER_DROP,
	RUNNER_WAITS,
	RUNNER_HOLE,
	RUNNER_HOLES,
	RUNNER_VERDICT,
	RUNNER_TRANSFER,
	RUNNER_TRANSFERS,
	RUNNER_NOTE,
	RUNNER_TLS,
	RUNNER_ENDING,
	RUNNER_BYPASS,
	RUNNER_RESET,
};

struct runner_step {
	enum runner_kind kind;
	unsigned line;
	unsigned channel;      /* from 0 on */
	enum alg_side side;    /* who sends or ends, where something is expected */
	struct span bytes;     /* sent or expected */
	uint32_t n;            /* the first word, a number: hole, timer, milliseconds, count */
	struct span args;      /* the words that follow; RUNNER_DATUM: what is expected of it */
};

struct runner_script {
	const struct alg_module *module;
	struct arena *arena;
	struct alg_about about[RUNNER_CHANNELS];
	struct addr client[RUNNER_CHANNELS], server;
	unsigned n_channels;
	struct addr gateway[ALG_SIDES], media[ALG_SIDES]; /* own addresses towards that side; family 0: none */
	uint16_t port;
	bool is_late;          /* set commits later */
	struct policy_rule rules[POLICY_RULES_MAX];
	unsigned n_rules;
	bool is_default_deny;
	struct policy_profile profile;
	struct policy *policy; /* NULL: no rules */
	struct runner_step *steps;
	unsigned n_steps;
	bool has_bypass, has_reset, has_tls; /* somewhere these are expected */
};

/* A script and whatever is wrong with the transcript in *report. 0, ERR_PARSE, -ENOMEM. */
int runner_script_new(const struct alg_module *module, struct span transcript, struct runner_report *report,
		      struct runner_script **ret);
void runner_script_free(struct runner_script *script);

static inline bool runner_is_expectation(const struct runner_step *step)
{
	return step->kind >= RUNNER_EXPECT;
}

/* The next word of *rest, blanks separate; "..." keeps them and is taken off. Empty at the end. */
struct span runner_word(struct span *rest);
/* "key=value": true when the word has that key. */
bool runner_value(struct span word, const char *key, struct span *ret_value);
int runner_fail(struct runner_report *report, unsigned line, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* runner_rules.c. A `rule` line without its first word; then, once all are read, the policy. 0, ERR_PARSE with a
 * text, -ENOMEM. */
int runner_rule(struct runner_script *script, struct span args, const char **ret_fault);
int runner_rules_done(struct runner_script *script, char *text, size_t size);
void runner_rules_free(struct runner_script *script);

#endif
