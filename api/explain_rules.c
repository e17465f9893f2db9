/* Why each rule of a profile matches a question or does not. Nothing of the matching is done again here: a rule is
 * taken apart into rules of one selector each, and the policy is asked about these. So what is said is what would
 * happen. */
#include "api/res_explain.h"
#include "api/text.h"

#define PART(member) { offsetof(struct policy_rule, member), sizeof(((struct policy_rule *)NULL)->member) }
static const struct {
	const char *name;
	struct {
		size_t offset, size;
	} parts[2];
} selectors[] = { /* in the order in which people look at them */
	{ "verb", { PART(verbs), PART(n_verbs) } },
	{ "class", { PART(classes), PART(n_classes) } },
	{ "transport", { PART(transports), PART(n_transports) } },
	{ "direction", { PART(has_direction), PART(direction) } },
	{ "user", { PART(users), PART(n_users) } },
	{ "client", { PART(clients), PART(n_clients) } },
	{ "server", { PART(servers), PART(n_servers) } },
	{ "target", { PART(target_regex) } },
	{ "mime", { PART(mimes), PART(n_mimes) } },
	{ "magic", { PART(magic_hex) } },
	{ "size_above", { PART(size_above) } },
	{ "size_below", { PART(size_below) } },
};
enum { N_SELECTORS = sizeof(selectors) / sizeof(selectors[0]) };

/* A rule with that selector alone. False when the rule does not have it. */
static bool single_out(const struct policy_rule *rule, unsigned selector, struct policy_rule *ret)
{
	static const struct policy_rule none;
	struct policy_rule only = { .name = rule->name };
	bool has_it = false;

	for (unsigned i = 0; i < 2; i++) {
		size_t offset = selectors[selector].parts[i].offset, size = selectors[selector].parts[i].size;

		if (size == 0)
			continue;
		memcpy((char *)&only + offset, (const char *)rule + offset, size);
		has_it |= memcmp((const char *)rule + offset, (const char *)&none + offset, size) != 0;
	}
	*ret = only;
	return has_it;
}

static bool matches(const struct policy_rule *rule, const struct policy_question *question)
{
	const struct policy_profile profile = { "explain", "", rule, 1, true, false };
	struct policy_verdict verdict;
	struct policy *policy = NULL;
	unsigned faulty;
	char error[160];

	if (policy_new(&profile, &faulty, error, sizeof(error), &policy) != 0)
		return false;
	policy_explain(policy, question, &verdict);
	policy_free(policy);
	return verdict.rule_index == 0;
}

/* The selector that does not match, NULL when all do. */
static const char *obstacle(const struct policy_rule *rule, const struct policy_question *question)
{
	struct policy_rule only;

	for (unsigned i = 0; i < N_SELECTORS; i++)
		if (single_out(rule, i, &only) && !matches(&only, question))
			return selectors[i].name;
	return NULL;
}

json_t *explain_considered(const struct policy *policy, const struct policy_question *question)
{
	const struct policy_profile *profile;
	struct policy_verdict verdict;
	json_t *considered = json_array();
	unsigned n;

	if (policy == NULL)
		return considered;
	profile = policy_profile(policy);
	policy_explain(policy, question, &verdict);
	n = verdict.rule_index >= 0 ? (unsigned)verdict.rule_index + 1 : profile->n_rules;
	for (unsigned i = 0; i < n; i++) {
		const struct policy_rule *rule = &profile->rules[i];
		const char *selector = obstacle(rule, question);
		json_t *json = json_object();

		res_set(json, "rule", text_json_of(rule->name));
		res_set(json, "verdict", json_string(rule->is_allow ? "allow" : "deny"));
		res_set(json, "is_observed", json_boolean(rule->is_observed));
		res_set(json, "matches", json_boolean(selector == NULL));
		res_set(json, "obstacle", text_json_of(selector));
		json_array_append_new(considered, json);
	}
	return considered;
}
