/* Which rules of a profile ask for which name (of a verb, a class, a transport): one look-up for all of them. Inside of
 * core/policy.c. Built once, then immutable; ignores ASCII case. */
#ifndef CORE_POLICY_NAMES_H
#define CORE_POLICY_NAMES_H

#include "core/policy.h"

enum { POLICY_WORD_BITS = 64, POLICY_WORDS = POLICY_RULES_MAX / POLICY_WORD_BITS };

struct policy_set { /* of rules, by index */
	uint64_t words[POLICY_WORDS];
};
void policy_set_add(struct policy_set *set, unsigned rule);
/* Takes the first rule out of the set; false when it is empty. */
bool policy_set_take(struct policy_set *set, unsigned *ret_rule);

struct policy_name {
	struct span text; /* upper case */
	struct policy_set rules;
};
struct policy_names {
	struct policy_name *items; /* sorted, each once */
	unsigned n;
	struct policy_set others;  /* rules that do not ask */
};

struct policy_values {
	const char *const *texts;
	unsigned n;
};
typedef struct policy_values policy_values_fn(const struct policy_rule *rule);

/* Begins with zeroed names. Lack of memory shows in the arena; then they are not to be used. */
void policy_names_build(struct policy_names *names, const struct policy_profile *profile, policy_values_fn *values_of,
			struct arena *arena);
/* Takes the rules out of `left` that ask for other names than this. */
void policy_names_narrow(const struct policy_names *names, struct span text, struct policy_set *left);

static inline char policy_upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

#endif
