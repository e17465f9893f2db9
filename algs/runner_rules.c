/* The policy of a transcript: `rule` lines become a profile, and what a module asks becomes a question to it, as
 * the host puts it. */
#include <errno.h>
#include <stdio.h>

#include "algs/alg_addr.h"
#include "algs/host.h"
#include "algs/runner_owner.h"
#include "core/err.h"

struct list_part {
	const char *key;
	const char *const **values;
	unsigned *n;
};

static int put_list(struct runner_script *s, struct span value, const char *const **ret, unsigned *ret_n)
{
	const char **list = arena_alloc(s->arena, POLICY_VALUES_MAX * sizeof(*list));
	unsigned n = 0;

	if (list == NULL)
		return -ENOMEM;
	while (value.ptr != NULL && n < POLICY_VALUES_MAX) {
		list[n] = arena_strdup(s->arena, span_cut(&value, ','));
		if (list[n++] == NULL)
			return -ENOMEM;
	}
	*ret = list;
	*ret_n = n;
	return 0;
}

static int put_prefixes(struct runner_script *s, struct span value, const struct prefix **ret, unsigned *ret_n)
{
	struct prefix *list = arena_alloc(s->arena, POLICY_VALUES_MAX * sizeof(*list));
	unsigned n = 0;

	if (list == NULL)
		return -ENOMEM;
	while (value.ptr != NULL && n < POLICY_VALUES_MAX)
		if (prefix_parse(span_cut(&value, ','), &list[n++]) < 0)
			return ERR_PARSE;
	*ret = list;
	*ret_n = n;
	return 0;
}

/* ERR_NOT_FOUND when the word is none of these. */
static int read_list(struct runner_script *s, struct policy_rule *rule, struct span word)
{
	const struct list_part lists[] = {
		{ "verb", &rule->verbs, &rule->n_verbs }, { "class", &rule->classes, &rule->n_classes },
		{ "transport", &rule->transports, &rule->n_transports }, { "user", &rule->users, &rule->n_users },
		{ "mime", &rule->mimes, &rule->n_mimes },
	};
	struct span value;

	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (runner_value(word, lists[i].key, &value))
			return put_list(s, value, lists[i].values, lists[i].n);
	if (runner_value(word, "client", &value))
		return put_prefixes(s, value, &rule->clients, &rule->n_clients);
	if (runner_value(word, "server", &value))
		return put_prefixes(s, value, &rule->servers, &rule->n_servers);
	return ERR_NOT_FOUND;
}

static int read_text(struct runner_script *s, struct policy_rule *rule, struct span word)
{
	const struct {
		const char *key;
		const char **text;
	} texts[] = {
		{ "name", &rule->name }, { "target", &rule->target_regex }, { "magic", &rule->magic_hex }, { "text", &rule->text },
	};
	struct span value;

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (!runner_value(word, texts[i].key, &value))
			continue;
		*texts[i].text = arena_strdup(s->arena, value);
		return *texts[i].text != NULL ? 0 : -ENOMEM;
	}
	return ERR_NOT_FOUND;
}

static int read_number(struct policy_rule *rule, struct span word)
{
	const struct {
		const char *key;
		uint64_t *wide;
		uint32_t *narrow;
	} numbers[] = {
		{ "code", NULL, &rule->code }, { "size-above", &rule->size_above, NULL }, { "size-below", &rule->size_below, NULL },
		{ "max-bytes", &rule->max_bytes, NULL }, { "bytes-per-s", NULL, &rule->bytes_per_s },
		{ "max-per-minute", NULL, &rule->max_per_minute },
	};
	struct span value;
	uint32_t n;

	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (!runner_value(word, numbers[i].key, &value))
			continue;
		if (span_to_u32(value, UINT32_MAX, &n) < 0)
			return ERR_PARSE;
		if (numbers[i].wide != NULL)
			*numbers[i].wide = n;
		else
			*numbers[i].narrow = n;
		return 0;
	}
	return ERR_NOT_FOUND;
}

static int read_flag(struct policy_rule *rule, struct span word)
{
	struct span value;

	if (runner_value(word, "direction", &value)) {
		rule->has_direction = true;
		rule->direction = span_eq(value, SPAN_LIT("up")) ? POLICY_UP : POLICY_DOWN;
		return span_eq(value, SPAN_LIT("up")) || span_eq(value, SPAN_LIT("down")) ? 0 : ERR_PARSE;
	}
	if (runner_value(word, "observe", &value)) {
		rule->is_observed = span_eq(value, SPAN_LIT("yes"));
		return 0;
	}
	return ERR_NOT_FOUND;
}

static int read_part(struct runner_script *s, struct policy_rule *rule, struct span word)
{
	int ret = read_list(s, rule, word);

	if (ret == ERR_NOT_FOUND)
		ret = read_text(s, rule, word);
	if (ret == ERR_NOT_FOUND)
		ret = read_number(rule, word);
	if (ret == ERR_NOT_FOUND)
		ret = read_flag(rule, word);
	return ret == ERR_NOT_FOUND ? ERR_PARSE : ret;
}

int runner_rule(struct runner_script *s, struct span args, const char **ret_fault)
{
	struct span first = runner_word(&args), word = runner_word(&args);
	struct policy_rule rule = { .is_allow = span_eq(first, SPAN_LIT("allow")) };
	int ret;

	*ret_fault = "a rule is `allow ...`, `deny ...` or `default allow|deny`";
	if (span_eq(first, SPAN_LIT("default"))) {
		s->is_default_deny = span_eq(word, SPAN_LIT("deny"));
		return s->is_default_deny || span_eq(word, SPAN_LIT("allow")) ? 0 : ERR_PARSE;
	}
	if (!rule.is_allow && !span_eq(first, SPAN_LIT("deny")))
		return ERR_PARSE;
	*ret_fault = "too many rules";
	if (s->n_rules == POLICY_RULES_MAX)
		return ERR_PARSE;
	*ret_fault = "a rule has no such part, or not with this value";
	for (; word.len > 0; word = runner_word(&args)) {
		ret = read_part(s, &rule, word);
		if (ret < 0)
			return ret;
	}
	if (rule.name == NULL)
		rule.name = arena_printf(s->arena, "rule-%u", s->n_rules + 1);
	if (rule.name == NULL)
		return -ENOMEM;
	s->rules[s->n_rules++] = rule;
	return 0;
}

int runner_rules_done(struct runner_script *s, char *text, size_t size)
{
	char why[160] = "";
	unsigned rule = 0;
	int ret;

	if (s->n_rules == 0 && !s->is_default_deny)
		return 0;
	s->profile = (struct policy_profile){ .name = "transcript", .protocol = s->module->name, .rules = s->rules,
					      .n_rules = s->n_rules, .is_default_allow = !s->is_default_deny };
	ret = policy_new(&s->profile, &rule, why, sizeof(why), &s->policy);
	snprintf(text, size, "%s: %s", rule < s->n_rules ? s->rules[rule].name : "rules", why);
	return ret == ERR_LIMIT ? ERR_PARSE : ret;
}

void runner_rules_free(struct runner_script *s)
{
	policy_free(s->policy);
}

/* Questions */

static struct span span_in(struct alg_bytes bytes)
{
	return (struct span){ bytes.ptr, bytes.len };
}

/* How often this verb was asked for within the last minute, now included. */
static uint32_t count_minute(struct runner_owner *o, struct span verb)
{
	unsigned slot = o->n_asked++ % RUNNER_MINUTE_MAX;
	uint32_t n = 0;

	snprintf(o->asked[slot].verb, sizeof(o->asked[slot].verb), "%.*s", SPAN_ARG(verb));
	o->asked[slot].at_ms = o->now_ms;
	for (unsigned i = 0; i < RUNNER_MINUTE_MAX; i++)
		n += o->asked[i].verb[0] != '\0' && o->now_ms - o->asked[i].at_ms < 60000 &&
		     span_ieq(span_of(o->asked[i].verb), verb);
	return n;
}

void runner_decide(struct runner_owner *o, const struct alg_question *question, struct alg_answer *ret)
{
	static const enum policy_direction directions[] = { POLICY_NO_DATA, POLICY_UP, POLICY_DOWN };
	struct policy_question q = {
		.verb = span_in(question->verb), .target = span_in(question->target), .user = span_in(question->user),
		.transport = span_in(question->transport), .mime = span_in(question->mime),
		.client = o->script->client[o->channel], .server = o->script->server,
		.direction = directions[question->direction], .has_size = question->has_size, .size = question->size,
	};
	struct policy_verdict verdict;

	q.class = span_of(alg_verb_class(o->script->module, q.verb));
	if (question->is_trial) {
		policy_explain(o->script->policy, &q, &verdict);
	} else {
		q.minute_count = count_minute(o, q.verb);
		policy_decide(o->script->policy, &q, &verdict);
	}
	ret->is_allowed = verdict.is_allowed;
	ret->code = verdict.code;
	snprintf(ret->text, sizeof(ret->text), "%s", verdict.text);
	if (question->is_trial)
		return;
	o->verdict.is_allowed = verdict.is_allowed;
	o->verdict.n++;
	snprintf(o->verdict.verb, sizeof(o->verdict.verb), "%.*s", SPAN_ARG(q.verb));
	snprintf(o->verdict.rule, sizeof(o->verdict.rule), "%s", verdict.rule);
}
