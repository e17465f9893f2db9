/* Rules and questions: the section `profiles` of a configuration, a line "?", then a question per line of words such as verb=STOR. The
 * same question gets the same verdict, explaining counts nothing and deciding counts one, the rule is the first that can match by its
 * names, and what a peer would be told is printable. */
#include <stdio.h>
#include <stdlib.h>

#include "core/conf.h"
#include "core/config.h"
#include "core/policy.h"

enum { YAML_MAX = 16384, QUESTIONS_MAX = 32 };
static const char head[] = "realms: { a: { addresses: [10.0.0.1], media_ports: 2000-2999 } }\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_true)
{
	if (!is_true)
		abort();
}

static void set_word(struct policy_question *q, struct span name, struct span value)
{
	struct {
		const char *name;
		struct span *value;
	} texts[] = { { "verb", &q->verb }, { "class", &q->class }, { "target", &q->target }, { "user", &q->user },
		      { "transport", &q->transport }, { "mime", &q->mime }, { "magic", &q->magic } };
	uint32_t number;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (span_eq(name, span_of(texts[i].name)))
			*texts[i].value = value;
	if (span_eq(name, SPAN_LIT("client")))
		(void)addr_parse_ip(value, &q->client);
	if (span_eq(name, SPAN_LIT("server")))
		(void)addr_parse_ip(value, &q->server);
	if (span_eq(name, SPAN_LIT("direction")))
		q->direction = span_eq(value, SPAN_LIT("up")) ? POLICY_UP : POLICY_DOWN;
	if (span_eq(name, SPAN_LIT("count")) && span_to_u32(value, UINT32_MAX, &number) == 0)
		q->minute_count = number;
	if (span_eq(name, SPAN_LIT("size")) && span_to_u32(value, UINT32_MAX, &number) == 0) {
		q->has_size = true;
		q->size = number;
	}
}

static struct policy_question read_question(struct span line)
{
	struct policy_question q = { 0 };

	while (line.ptr != NULL) {
		struct span value = span_cut(&line, ' ');
		struct span name = span_cut(&value, '=');

		set_word(&q, name, value);
	}
	return q;
}

static bool has_name(const char *const *names, unsigned n, struct span name)
{
	for (unsigned i = 0; i < n; i++)
		if (span_ieq(span_of(names[i]), name))
			return true;
	return n == 0;
}

/* By the selectors that are sets of names. */
static bool fits_names(const struct policy_rule *rule, const struct policy_question *q)
{
	return has_name(rule->verbs, rule->n_verbs, q->verb) && has_name(rule->classes, rule->n_classes, q->class) &&
	       has_name(rule->transports, rule->n_transports, q->transport);
}

static bool has_only_names(const struct policy_rule *rule)
{
	return rule->n_users == 0 && rule->n_mimes == 0 && rule->n_clients == 0 && rule->n_servers == 0 && rule->target_regex == NULL &&
	       rule->magic_hex == NULL && !rule->has_direction && rule->size_above == 0 && rule->size_below == 0;
}

static void check_verdict(const struct policy_profile *profile, const struct policy_question *q, const struct policy_verdict *v)
{
	unsigned decided = v->rule_index < 0 ? profile->n_rules : (unsigned)v->rule_index;

	must(decided <= profile->n_rules && v->rule != NULL);
	must(strcmp(v->rule, decided < profile->n_rules ? profile->rules[decided].name : "default") == 0);
	must(decided == profile->n_rules || fits_names(&profile->rules[decided], q));
	for (unsigned i = 0; i < decided; i++) {
		const struct policy_rule *rule = &profile->rules[i];

		must(!(has_only_names(rule) && fits_names(rule, q)) || (rule->is_observed && v->would_deny != NULL));
	}
	must(v->is_allowed || !profile->is_observed);
	must(v->is_allowed || (v->max_bytes == 0 && v->bytes_per_s == 0));
	must(!v->is_allowed || (v->code == 0 && v->text[0] == '\0'));
	must(memchr(v->text, '\0', sizeof(v->text)) != NULL);
	for (const char *c = v->text; *c != '\0'; c++)
		must((unsigned char)*c >= 0x20 && *c != 0x7f);
}

static uint64_t counted(const struct policy *policy)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i <= policy_profile(policy)->n_rules; i++) {
		struct policy_count count;

		policy_count(policy, i, &count);
		sum += count.hits;
		if (policy_profile(policy)->is_observed)
			sum += i == policy_profile(policy)->n_rules || !policy_profile(policy)->rules[i].is_observed ? count.would_deny : 0;
	}
	return sum;
}

static void ask(const struct policy *policy, const struct policy_question *q)
{
	uint64_t before = counted(policy);
	struct policy_verdict explained, decided;

	memset(&explained, 0xee, sizeof(explained));
	policy_explain(policy, q, &explained);
	must(counted(policy) == before);
	policy_decide(policy, q, &decided);
	must(counted(policy) == before + 1);
	must(decided.rule_index == explained.rule_index && decided.is_allowed == explained.is_allowed &&
	     decided.would_deny == explained.would_deny && strcmp(decided.text, explained.text) == 0);
	check_verdict(policy_profile(policy), q, &decided);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = { (const char *)data, size };
	struct conf_errors errors = { 0 };
	const struct config *config = NULL;
	char yaml[YAML_MAX];
	size_t len = sizeof(head) - 1;

	memcpy(yaml, head, len);
	while (rest.ptr != NULL) {
		struct span line = span_cut(&rest, '\n');

		if (span_eq(line, SPAN_LIT("?")))
			break;
		if (line.len + 1 > sizeof(yaml) - len)
			return 0;
		if (line.len > 0)
			memcpy(yaml + len, line.ptr, line.len);
		len += line.len;
		yaml[len++] = '\n';
	}
	if (config_parse((struct span){ yaml, len }, "fuzz", &errors, &config) == 0) {
		for (unsigned n = 0; rest.ptr != NULL && n < QUESTIONS_MAX; n++) {
			struct policy_question q = read_question(span_cut(&rest, '\n'));

			for (unsigned i = 0; i < config->n_profiles; i++)
				ask(config->profiles[i].policy, &q);
		}
	}
	config_unref(config);
	conf_errors_free(&errors);
	return 0;
}
