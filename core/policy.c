/* core/policy.h: a profile becomes sets of rules, one for each name that rules ask for. A decision ANDs the sets of the
 * question's verb, class and transport and walks what is left in order, so only rules that may match cost their expressions
 * and prefixes. Immutable but for the counters, which the same rule of a later configuration shares; allocates only while it
 * compiles. Any thread. */
#include "core/policy.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/arena.h"
#include "core/buf.h"
#include "core/err.h"
#include "core/policy_names.h"
#include "core/policy_text.h"
#include "core/regex.h"

enum { MAGIC_MAX = 16, ARENA_MAX = 16 << 20 };

struct compiled {
	struct regex *target; /* or NULL */
	size_t magic_len;
	char magic[MAGIC_MAX];
};
struct counter { /* of one rule, which may be part of several snapshots */
	atomic_uint refs;
	_Atomic uint64_t hits, would_deny;
};

struct policy {
	const struct policy_profile *profile;
	struct arena *arena; /* of all that follows */
	struct policy_names verbs, classes, transports;
	struct compiled *rules;
	struct counter **counters; /* n_rules and the default */
	bool needs_data;
};

/* Compiling */

static struct policy_values verbs_of(const struct policy_rule *rule)
{
	return (struct policy_values){ rule->verbs, rule->n_verbs };
}

static struct policy_values classes_of(const struct policy_rule *rule)
{
	return (struct policy_values){ rule->classes, rule->n_classes };
}

static struct policy_values transports_of(const struct policy_rule *rule)
{
	return (struct policy_values){ rule->transports, rule->n_transports };
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = policy_upper(c);
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int read_magic(const char *hex, struct compiled *compiled)
{
	size_t len = strlen(hex);

	if (len == 0 || len % 2 != 0 || len > 2 * MAGIC_MAX)
		return ERR_PARSE;
	for (size_t i = 0; i < len; i += 2) {
		int high = hex_value(hex[i]), low = hex_value(hex[i + 1]);

		if (high < 0 || low < 0)
			return ERR_PARSE;
		compiled->magic[i / 2] = (char)(high << 4 | low);
	}
	compiled->magic_len = len / 2;
	return 0;
}

static bool is_within_limits(const struct policy_rule *rule)
{
	const unsigned counts[] = { rule->n_verbs, rule->n_classes, rule->n_transports, rule->n_users, rule->n_mimes,
				    rule->n_clients, rule->n_servers };

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		if (counts[i] > POLICY_VALUES_MAX)
			return false;
	return true;
}

static int compile_rule(struct policy *policy, unsigned i, char *error_text, size_t error_size)
{
	const struct policy_rule *rule = &policy->profile->rules[i];
	struct compiled *compiled = &policy->rules[i];

	if (!is_within_limits(rule)) {
		snprintf(error_text, error_size, "more than %d values", POLICY_VALUES_MAX);
		return ERR_LIMIT;
	}
	if (rule->magic_hex != NULL && read_magic(rule->magic_hex, compiled) < 0) {
		snprintf(error_text, error_size, "magic is not 1 to %d octets as hex digits", MAGIC_MAX);
		return ERR_PARSE;
	}
	policy->needs_data = policy->needs_data || rule->magic_hex != NULL ||
			     (rule->is_allow && (rule->max_bytes > 0 || rule->bytes_per_s > 0));
	return rule->target_regex != NULL ? regex_new(rule->target_regex, error_text, error_size, &compiled->target) : 0;
}

static void counter_unref(struct counter *counter)
{
	if (counter != NULL && atomic_fetch_sub_explicit(&counter->refs, 1, memory_order_acq_rel) == 1)
		free(counter);
}

static int make_counters(struct policy *policy)
{
	unsigned n = policy->profile->n_rules + 1;

	policy->counters = arena_alloc(policy->arena, n * sizeof(struct counter *));
	for (unsigned i = 0; policy->counters != NULL && i < n; i++) {
		policy->counters[i] = calloc(1, sizeof(*policy->counters[i]));
		if (policy->counters[i] == NULL)
			return -ENOMEM;
		atomic_init(&policy->counters[i]->refs, 1);
	}
	return policy->counters != NULL ? 0 : -ENOMEM;
}

static int compile(struct policy *policy, unsigned *ret_rule, char *error_text, size_t error_size)
{
	const struct policy_profile *profile = policy->profile;

	if (profile->n_rules > POLICY_RULES_MAX) {
		*ret_rule = POLICY_RULES_MAX;
		snprintf(error_text, error_size, "more than %d rules", POLICY_RULES_MAX);
		return ERR_LIMIT;
	}
	policy->rules = arena_alloc(policy->arena, profile->n_rules * sizeof(*policy->rules));
	if (policy->rules == NULL || make_counters(policy) < 0)
		return -ENOMEM;
	for (unsigned i = 0; i < profile->n_rules; i++) {
		int err = compile_rule(policy, i, error_text, error_size);

		if (err < 0) {
			*ret_rule = i;
			return err;
		}
	}
	policy_names_build(&policy->verbs, profile, verbs_of, policy->arena);
	policy_names_build(&policy->classes, profile, classes_of, policy->arena);
	policy_names_build(&policy->transports, profile, transports_of, policy->arena);
	return arena_is_exhausted(policy->arena) ? -ENOMEM : 0;
}

int policy_new(const struct policy_profile *profile, unsigned *ret_rule, char *error_text, size_t error_size, struct policy **ret)
{
	struct policy *policy = calloc(1, sizeof(*policy));
	int err = -ENOMEM;

	if (policy == NULL)
		return err;
	policy->profile = profile;
	policy->arena = arena_new(ARENA_MAX);
	if (policy->arena != NULL)
		err = compile(policy, ret_rule, error_text, error_size);
	if (err < 0) {
		policy_free(policy);
		return err;
	}
	*ret = policy;
	return 0;
}

void policy_free(struct policy *policy)
{
	if (policy == NULL)
		return;
	for (unsigned i = 0; policy->rules != NULL && i < policy->profile->n_rules; i++)
		regex_free(policy->rules[i].target);
	for (unsigned i = 0; policy->counters != NULL && i <= policy->profile->n_rules; i++)
		counter_unref(policy->counters[i]);
	arena_free(policy->arena);
	free(policy);
}

const struct policy_profile *policy_profile(const struct policy *policy)
{
	return policy->profile;
}

bool policy_needs_data(const struct policy *policy)
{
	return policy != NULL && policy->needs_data;
}

/* Matching */

/* Goes back only to the last '*': the octets that an earlier one took can stay as they are. */
static bool glob_matches(const char *glob, struct span text, bool ignores_case)
{
	const char *star = NULL;
	size_t at = 0, retry = 0;

	while (at < text.len) {
		bool is_same = ignores_case ? policy_upper(*glob) == policy_upper(text.ptr[at]) : *glob == text.ptr[at];

		if (*glob == '*') {
			star = ++glob;
			retry = at;
		} else if (*glob != '\0' && (*glob == '?' || is_same)) {
			glob++;
			at++;
		} else if (star != NULL) {
			glob = star;
			at = ++retry;
		} else {
			return false;
		}
	}
	while (*glob == '*')
		glob++;
	return *glob == '\0';
}

static bool is_any_glob(struct policy_values globs, struct span text, bool ignores_case)
{
	if (globs.n == 0)
		return true;
	for (unsigned i = 0; i < globs.n && text.len > 0; i++)
		if (glob_matches(globs.texts[i], text, ignores_case))
			return true;
	return false;
}

static bool is_in_any(const struct prefix *prefixes, unsigned n, const struct addr *addr)
{
	if (n == 0)
		return true;
	for (unsigned i = 0; i < n; i++)
		if (prefix_has(&prefixes[i], addr))
			return true;
	return false;
}

static bool fits_size(const struct policy_rule *rule, const struct policy_question *question)
{
	if (rule->size_above > 0 && !(question->has_size && question->size > rule->size_above))
		return false;
	return rule->size_below == 0 || (question->has_size && question->size < rule->size_below);
}

static bool fits_magic(const struct compiled *compiled, struct span magic)
{
	return compiled->magic_len == 0 || span_starts(magic, (struct span){ compiled->magic, compiled->magic_len });
}

static bool fits_target(const struct policy_rule *rule, const struct compiled *compiled, struct span target,
			struct regex_room *room)
{
	enum regex_result result;

	if (compiled->target == NULL)
		return true;
	if (target.len == 0)
		return false;
	result = regex_match(compiled->target, target, room);
	return result == REGEX_YES || (result == REGEX_GAVE_UP && !rule->is_allow);
}

/* All selectors but those that the sets have judged. The expression, which costs most, comes last. */
static bool matches(const struct policy *policy, unsigned i, const struct policy_question *question, struct regex_room *room)
{
	const struct policy_rule *rule = &policy->profile->rules[i];
	const struct compiled *compiled = &policy->rules[i];

	return (!rule->has_direction || rule->direction == question->direction) && fits_size(rule, question) &&
	       fits_magic(compiled, question->magic) && is_in_any(rule->clients, rule->n_clients, &question->client) &&
	       is_in_any(rule->servers, rule->n_servers, &question->server) &&
	       is_any_glob((struct policy_values){ rule->users, rule->n_users }, question->user, false) &&
	       is_any_glob((struct policy_values){ rule->mimes, rule->n_mimes }, question->mime, true) &&
	       fits_target(rule, compiled, question->target, room);
}

/* Deciding */

static void count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* The rule that decides, n_rules for the default; notes those before it that are only observed. */
static unsigned find_rule(const struct policy *policy, const struct policy_question *question, bool is_counted,
			  const char **ret_would_deny)
{
	SCRATCH struct regex_room room;
	const struct policy_profile *profile = policy->profile;
	struct policy_set left;
	unsigned i;

	regex_room_init(&room);
	memset(&left, 0xff, sizeof(left));
	policy_names_narrow(&policy->verbs, question->verb, &left);
	policy_names_narrow(&policy->classes, question->class, &left);
	policy_names_narrow(&policy->transports, question->transport, &left);
	while (policy_set_take(&left, &i)) {
		const struct policy_rule *rule = &profile->rules[i];

		if (!matches(policy, i, question, &room))
			continue;
		if (rule->is_allow || !rule->is_observed)
			return i;
		if (*ret_would_deny == NULL)
			*ret_would_deny = rule->name;
		if (is_counted)
			count(&policy->counters[i]->would_deny);
	}
	return profile->n_rules;
}

static void allow(const struct policy_rule *rule, bool is_observed, struct policy_verdict *verdict)
{
	verdict->is_allowed = true;
	if (rule == NULL || is_observed)
		return;
	verdict->max_bytes = rule->max_bytes;
	verdict->bytes_per_s = rule->bytes_per_s;
}

static void deny(const struct policy_rule *rule, const struct policy_question *question, struct policy_verdict *verdict)
{
	if (rule != NULL && rule->is_allow) {
		policy_text_write("too often within a minute (rule {rule})", rule->name, question, verdict->text);
	} else if (rule != NULL) {
		verdict->code = rule->code;
		policy_text_write(rule->text, rule->name, question, verdict->text);
	}
}

static void decide(const struct policy *policy, const struct policy_question *question, bool is_counted,
		   struct policy_verdict *ret)
{
	struct policy_verdict verdict = { .rule = "default", .rule_index = -1 };
	const struct policy_profile *profile = policy->profile;
	unsigned i = find_rule(policy, question, is_counted, &verdict.would_deny);
	const struct policy_rule *rule = i < profile->n_rules ? &profile->rules[i] : NULL;
	bool is_denied = !profile->is_default_allow;

	if (rule != NULL) {
		verdict.rule = rule->name;
		verdict.rule_index = (int)i;
		verdict.is_logged = rule->is_logged;
		is_denied = !rule->is_allow || (rule->max_per_minute > 0 && question->minute_count > rule->max_per_minute);
	}
	if (is_denied && !profile->is_observed)
		deny(rule, question, &verdict);
	else
		allow(rule, profile->is_observed, &verdict);
	if (is_denied && profile->is_observed && verdict.would_deny == NULL)
		verdict.would_deny = verdict.rule;
	if (is_counted)
		count(is_denied && profile->is_observed ? &policy->counters[i]->would_deny : &policy->counters[i]->hits);
	*ret = verdict;
}

static bool is_without(const struct policy *policy, struct policy_verdict *ret)
{
	if (policy == NULL)
		*ret = (struct policy_verdict){ .is_allowed = true, .rule = "none", .rule_index = -1 };
	return policy == NULL;
}

void policy_decide(const struct policy *policy, const struct policy_question *question, struct policy_verdict *ret)
{
	if (!is_without(policy, ret))
		decide(policy, question, true, ret);
}

void policy_explain(const struct policy *policy, const struct policy_question *question, struct policy_verdict *ret)
{
	if (!is_without(policy, ret))
		decide(policy, question, false, ret);
}

void policy_count(const struct policy *policy, unsigned index, struct policy_count *ret)
{
	struct policy_count result = { 0 };

	if (index <= policy->profile->n_rules) {
		result.hits = atomic_load_explicit(&policy->counters[index]->hits, memory_order_relaxed);
		result.would_deny = atomic_load_explicit(&policy->counters[index]->would_deny, memory_order_relaxed);
	}
	*ret = result;
}

void policy_keep_count(struct policy *policy, unsigned index, const struct policy *before, unsigned index_before)
{
	struct counter *counter = before->counters[index_before];

	atomic_fetch_add_explicit(&counter->refs, 1, memory_order_relaxed);
	counter_unref(policy->counters[index]);
	policy->counters[index] = counter;
}
