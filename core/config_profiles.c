/* Profiles of the configuration: rules as written become struct policy_rule and are compiled. Reports what is wrong with them. */
#include <errno.h>
#include <stdio.h>

#include "core/arena.h"
#include "core/config_build.h"
#include "core/err.h"
#include "core/policy.h"
#include "core/policy_names.h"

/* Selectors */

static const char *const *texts_in(struct config_build *b, const json_t *object, const char *name, unsigned *ret_n)
{
	const json_t *list = json_object_get(object, name);
	size_t n = config_list_size(list, POLICY_VALUES_MAX);
	const char **texts = arena_alloc(b->arena, n * sizeof(*texts));

	for (size_t i = 0; texts != NULL && i < n; i++) {
		struct span text = config_list_text(list, i);

		texts[i] = config_keep(b, text.ptr != NULL ? text : SPAN_LIT(""));
		if (texts[i] == NULL)
			return NULL;
	}
	if (texts != NULL)
		*ret_n = (unsigned)n;
	return texts;
}

static const struct prefix *prefixes_in(struct config_build *b, const json_t *object, const char *name, unsigned *ret_n)
{
	const json_t *list = json_object_get(object, name);
	size_t n = config_list_size(list, POLICY_VALUES_MAX);
	struct prefix *prefixes = arena_alloc(b->arena, n * sizeof(*prefixes));

	for (size_t i = 0; prefixes != NULL && i < n; i++) {
		struct span text = config_list_text(list, i);

		if (text.ptr != NULL)
			(void)prefix_parse(text, &prefixes[i]);
	}
	if (prefixes != NULL)
		*ret_n = (unsigned)n;
	return prefixes;
}

static void build_selectors(struct config_build *b, const json_t *object, struct policy_rule *rule)
{
	rule->verbs = texts_in(b, object, "verb", &rule->n_verbs);
	rule->classes = texts_in(b, object, "class", &rule->n_classes);
	rule->transports = texts_in(b, object, "transport", &rule->n_transports);
	rule->users = texts_in(b, object, "user", &rule->n_users);
	rule->mimes = texts_in(b, object, "mime", &rule->n_mimes);
	rule->clients = prefixes_in(b, object, "client", &rule->n_clients);
	rule->servers = prefixes_in(b, object, "server", &rule->n_servers);
	rule->target_regex = config_string(b, object, "target");
	rule->magic_hex = config_string(b, object, "magic");
	rule->has_direction = json_object_get(object, "direction") != NULL;
	if (rule->has_direction)
		rule->direction = config_is_text(object, "direction", "up") ? POLICY_UP : POLICY_DOWN;
	rule->size_above = config_size(object, "size_above");
	rule->size_below = config_size(object, "size_below");
}

/* Rules. Where one stands, for reports. */
struct place {
	const char *profile;
	unsigned rule;
	const struct config_protocol *protocol; /* or NULL */
	const json_t *object;
};

static void at_rule(struct config_build *b, const struct place *place, const char *member, const char *selector)
{
	config_at(b, "/profiles/%s/rules/%u%s%s%s%s", place->profile, place->rule, member ? "/" : "", member ? member : "",
		  selector ? "/" : "", selector ? selector : "");
}

static void check_action(struct config_build *b, const struct place *place)
{
	const bool has_allow = json_object_get(place->object, "allow") != NULL;
	const bool has_deny = json_object_get(place->object, "deny") != NULL;

	at_rule(b, place, NULL, NULL);
	if (has_allow && has_deny)
		config_report(b, "make two rules of it", "allow and deny are both given");
	else if (!has_allow && !has_deny && json_is_object(place->object))
		config_report(b, "write allow: or deny: and what it shall match", "neither allow nor deny is given");
}

static void check_members(struct config_build *b, const struct place *place, bool is_allow)
{
	static const char *const of_deny[] = { "code", "text", NULL };
	static const char *const of_allow[] = { "max_bytes", "bytes_per_s", "max_per_minute", NULL };

	for (const char *const *name = is_allow ? of_deny : of_allow; *name != NULL; name++) {
		if (json_object_get(place->object, *name) == NULL)
			continue;
		at_rule(b, place, *name, NULL);
		config_report(b, "remove it", "has no effect on a rule that %s", is_allow ? "allows" : "denies");
	}
	if (!is_allow || !config_is_text(place->object, "mode", "observe"))
		return;
	at_rule(b, place, "mode", NULL);
	config_report(b, "remove it", "only a rule that denies can be observed");
}

/* Better none than one that is not held. */
static void check_bounds(struct config_build *b, const struct place *place, bool is_allow)
{
	static const char *const names[] = { "max_bytes", "bytes_per_s" };

	if (!is_allow || place->protocol == NULL || !place->protocol->has_media)
		return;
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (json_object_get(place->object, names[i]) == NULL)
			continue;
		at_rule(b, place, names[i], NULL);
		config_report(b, "remove it", "data of %s is media, which rules cannot bound", place->protocol->name);
	}
}

static void check_code(struct config_build *b, const struct place *place)
{
	const struct config_protocol *protocol = place->protocol;
	unsigned n = config_number(place->object, "code");

	if (n == 0 || n > CONFIG_CODE_MAX || protocol == NULL || (n >= protocol->code_min && n <= protocol->code_max))
		return;
	at_rule(b, place, "code", NULL);
	config_report(b, NULL, "a refusal of %s has a code from %u to %u", protocol->name, protocol->code_min, protocol->code_max);
}

static config_verb_fn *verb_of;

void config_set_verbs(config_verb_fn *fn)
{
	verb_of = fn;
}

/* Whether the protocol has it; when not, what was probably meant. */
static bool is_verb(const char *protocol, const char *text, char hint[CONFIG_HINT_MAX])
{
	char upper[CONFIG_VERB_MAX + 1] = "";
	struct conf_nearest nearest = { .wanted = upper };
	const char *name;

	for (unsigned i = 0; i < CONFIG_VERB_MAX && text[i] != '\0'; i++)
		upper[i] = policy_upper(text[i]);
	for (unsigned i = 0; (name = verb_of(protocol, i)) != NULL; i++) {
		if (strcmp(upper, name) == 0)
			return true;
		conf_nearest_offer(&nearest, name);
	}
	if (conf_nearest_hint(&nearest, hint, CONFIG_HINT_MAX) == NULL)
		snprintf(hint, CONFIG_HINT_MAX, "postern alg list --output json has them all");
	return false;
}

/* A rule that names what nobody sends would be no rule at all. */
static void check_verbs(struct config_build *b, const struct place *place, const char *action, const struct policy_rule *rule)
{
	const char *protocol = place->protocol != NULL ? place->protocol->name : NULL;
	char hint[CONFIG_HINT_MAX];

	if (protocol == NULL || verb_of == NULL || verb_of(protocol, 0) == NULL)
		return;
	for (unsigned i = 0; i < rule->n_verbs; i++) {
		const char *verb = rule->verbs[i];

		if (!config_is_verb(verb) || is_verb(protocol, verb, hint)) /* no word at all: the schema has reported it */
			continue;
		config_at_element(b, i, "/profiles/%s/rules/%u/%s/verb", place->profile, place->rule, action);
		config_report(b, hint, "%s has no command %s", protocol, verb);
	}
}

static void check_selectors(struct config_build *b, const struct place *place, const struct policy_rule *rule)
{
	const char *action = rule->is_allow ? "allow" : "deny";
	const json_t *object = json_object_get(place->object, action);

	for (unsigned i = 0; place->protocol != NULL && i < CONFIG_LACKS_MAX && place->protocol->lacks[i] != NULL; i++) {
		if (json_object_get(object, place->protocol->lacks[i]) == NULL)
			continue;
		at_rule(b, place, action, place->protocol->lacks[i]);
		config_report(b, "remove it", "never matches: %s has none", place->protocol->name);
	}
	if (rule->size_above > 0 && rule->size_below > 0 && rule->size_below - 1 <= rule->size_above) {
		at_rule(b, place, action, "size_below");
		config_report(b, NULL, "no size is above size_above and below this");
	}
	check_verbs(b, place, action, rule);
	at_rule(b, place, action, "target");
	config_check_regex(b, rule->target_regex);
}

static void build_rule(struct config_build *b, const struct place *place, struct policy_rule *rule)
{
	const json_t *object = place->object;

	rule->is_allow = json_object_get(object, "allow") != NULL;
	rule->name = config_string(b, object, "name");
	if (rule->name == NULL)
		rule->name = arena_printf(b->arena, "rule-%u", place->rule + 1);
	build_selectors(b, json_object_get(object, rule->is_allow ? "allow" : "deny"), rule);
	rule->code = config_number(object, "code");
	rule->text = config_string(b, object, "text");
	rule->max_bytes = config_size(object, "max_bytes");
	rule->bytes_per_s = (uint32_t)config_size(object, "bytes_per_s");
	rule->max_per_minute = config_number(object, "max_per_minute");
	rule->is_logged = json_is_true(json_object_get(object, "log"));
	rule->is_observed = config_is_text(object, "mode", "observe");
	check_action(b, place);
	check_members(b, place, rule->is_allow);
	check_bounds(b, place, rule->is_allow);
	check_code(b, place);
	check_selectors(b, place, rule);
}

/* Matches every question and leaves nothing to later rules. */
static bool takes_all(const struct place *place, const struct policy_rule *rule)
{
	const json_t *selectors = json_object_get(place->object, rule->is_allow ? "allow" : "deny");

	return json_is_object(selectors) && json_object_size(selectors) == 0 && !rule->is_observed;
}

static bool is_name_taken(const struct policy_rule *rules, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (rules[i].name != NULL && rules[n].name != NULL && strcmp(rules[i].name, rules[n].name) == 0)
			return true;
	return false;
}

static void build_rules(struct config_build *b, const json_t *list, struct place *place, struct policy_profile *profile)
{
	size_t n = config_list_size(list, POLICY_RULES_MAX);
	struct policy_rule *rules = arena_alloc(b->arena, n * sizeof(*rules));
	const struct policy_rule *last = NULL; /* to be asked */

	if (rules == NULL || !json_is_array(list))
		return;
	for (place->rule = 0; place->rule < n; place->rule++) {
		struct policy_rule *rule = &rules[place->rule];

		place->object = json_array_get(list, place->rule);
		build_rule(b, place, rule);
		at_rule(b, place, NULL, NULL);
		if (is_name_taken(rules, place->rule))
			config_report(b, "give it another name", "two rules are called %s", rule->name);
		if (last != NULL)
			config_report(b, "put the narrower rule first", "never matches: %s takes everything", last->name);
		else if (takes_all(place, rule))
			last = rule;
	}
	profile->rules = rules;
	profile->n_rules = (unsigned)n;
}

/* Profiles */

static void compile(struct config_build *b, const struct policy_profile *profile, struct policy **ret)
{
	char text[160];
	unsigned rule = 0;
	int err = policy_new(profile, &rule, text, sizeof(text), ret);

	if (err == -ENOMEM)
		b->is_out_of_memory = true;
	if (err == 0 || err == -ENOMEM || b->errors->n > 0) /* what the schema or the rules' own checks have reported */
		return;
	config_at(b, "/profiles/%s/rules/%u", profile->name, rule);
	config_report(b, NULL, "%s", text);
}

static void build_profile(struct config_build *b, const char *name, const json_t *object)
{
	struct profile_conf *conf = &b->config->profiles[b->config->n_profiles];
	struct policy_profile *profile = arena_alloc(b->arena, sizeof(*profile));
	struct place place = { .profile = name, .protocol = config_protocol(config_text(object, "protocol")) };

	if (profile == NULL)
		return;
	b->config->n_profiles++;
	conf->name = config_keep(b, span_of(name));
	conf->protocol = config_string(b, object, "protocol");
	profile->name = conf->name;
	profile->protocol = conf->protocol;
	profile->is_default_allow = config_is_text(object, "default", "allow");
	profile->is_observed = config_is_text(object, "mode", "observe");
	build_rules(b, json_object_get(object, "rules"), &place, profile);
	if (!arena_is_exhausted(b->arena))
		compile(b, profile, &conf->policy);
}

void config_build_profiles(struct config_build *b, json_t *profiles)
{
	size_t n = json_object_size(profiles);
	const char *name;
	json_t *object;

	if (n > CONFIG_PROFILES_MAX)
		n = CONFIG_PROFILES_MAX; /* reported by the schema */
	b->config->profiles = arena_alloc(b->arena, n * sizeof(*b->config->profiles));
	if (b->config->profiles == NULL)
		return;
	json_object_foreach(profiles, name, object)
		if (b->config->n_profiles < n)
			build_profile(b, name, object);
}
