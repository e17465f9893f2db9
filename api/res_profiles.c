/* /v1/profiles: rules for application commands as configured, with how often each decided, and how often it would
 * have denied while it is only observed. */
#include "api/problem.h"
#include "api/res_conf.h"
#include "api/res_profiles.h"
#include "api/text.h"
#include "core/err.h"
#include "core/policy.h"

static json_t *texts_json(const char *const *texts, unsigned n)
{
	json_t *json = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(json, text_json_of(texts[i]));
	return json;
}

static void add_texts(json_t *json, const char *name, const char *const *texts, unsigned n)
{
	if (n > 0)
		res_set(json, name, texts_json(texts, n));
}

static void add_prefixes(json_t *json, const char *name, const struct prefix *prefixes, unsigned n)
{
	json_t *array;

	if (n == 0)
		return;
	array = json_array();
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(array, res_prefix(&prefixes[i]));
	res_set(json, name, array);
}

static const char *direction_text(enum policy_direction direction)
{
	return direction == POLICY_UP ? "up" : direction == POLICY_DOWN ? "down" : "none";
}

/* As in the configuration: only what the rule asks for. */
static json_t *match_json(const struct policy_rule *rule)
{
	json_t *json = json_object();

	add_texts(json, "verb", rule->verbs, rule->n_verbs);
	add_texts(json, "class", rule->classes, rule->n_classes);
	add_texts(json, "transport", rule->transports, rule->n_transports);
	add_texts(json, "user", rule->users, rule->n_users);
	add_texts(json, "mime", rule->mimes, rule->n_mimes);
	add_prefixes(json, "client", rule->clients, rule->n_clients);
	add_prefixes(json, "server", rule->servers, rule->n_servers);
	if (rule->target_regex != NULL)
		res_set(json, "target", text_json_of(rule->target_regex));
	if (rule->magic_hex != NULL)
		res_set(json, "magic", text_json_of(rule->magic_hex));
	if (rule->has_direction)
		res_set(json, "direction", json_string(direction_text(rule->direction)));
	if (rule->size_above > 0)
		res_set(json, "size_above", res_count(rule->size_above));
	if (rule->size_below > 0)
		res_set(json, "size_below", res_count(rule->size_below));
	return json;
}

json_t *res_profile_limits(const struct policy_rule *rule)
{
	json_t *json = json_object();

	res_set(json, "max_bytes", rule->max_bytes ? res_count(rule->max_bytes) : json_null());
	res_set(json, "bytes_per_s", rule->bytes_per_s ? json_integer(rule->bytes_per_s) : json_null());
	res_set(json, "max_per_minute", rule->max_per_minute ? json_integer(rule->max_per_minute) : json_null());
	return json;
}

static void add_counts(json_t *json, const struct policy *policy, unsigned index)
{
	struct policy_count count;

	policy_count(policy, index, &count);
	res_set(json, "hits", res_count(count.hits));
	res_set(json, "would_deny", res_count(count.would_deny));
}

static json_t *rule_json(const struct policy *policy, unsigned index)
{
	const struct policy_rule *rule = &policy_profile(policy)->rules[index];
	json_t *json = json_object();

	res_set(json, "name", text_json_of(rule->name));
	res_set(json, "verdict", json_string(rule->is_allow ? "allow" : "deny"));
	res_set(json, "match", match_json(rule));
	res_set(json, "code", rule->code ? json_integer(rule->code) : json_null());
	res_set(json, "text", res_text(rule->text));
	res_set(json, "limits", res_profile_limits(rule));
	res_set(json, "is_logged", json_boolean(rule->is_logged));
	res_set(json, "is_observed", json_boolean(rule->is_observed));
	add_counts(json, policy, index);
	return json;
}

static json_t *users_json(const struct config *config, const struct policy *policy)
{
	json_t *algs = json_array();

	for (unsigned i = 0; i < config->n_algs; i++)
		if (config->algs[i].policy == policy)
			json_array_append_new(algs, text_json_of(config->algs[i].name));
	return algs;
}

static json_t *profile_json(const struct res_conf *conf, unsigned index)
{
	const struct policy *policy = conf->config->profiles[index].policy;
	const struct policy_profile *profile = policy_profile(policy);
	json_t *json = json_object(), *rules = json_array(), *otherwise = json_object();

	for (unsigned i = 0; i < profile->n_rules; i++)
		json_array_append_new(rules, rule_json(policy, i));
	res_set(otherwise, "verdict", json_string(profile->is_default_allow ? "allow" : "deny"));
	add_counts(otherwise, policy, profile->n_rules);
	res_set(json, "name", text_json_of(profile->name));
	res_set(json, "protocol", text_json_of(profile->protocol));
	res_set(json, "mode", json_string(profile->is_observed ? "observe" : "enforce"));
	res_set(json, "algs", users_json(conf->config, policy));
	res_set(json, "rules", rules);
	res_set(json, "default", otherwise);
	return json;
}

static const char *profile_name(const struct config *config, unsigned index)
{
	return config->profiles[index].name;
}

static unsigned profile_count(const struct config *config)
{
	return config->n_profiles;
}

static const struct res_kind kind = { profile_count, profile_name, profile_json };

void res_profiles_list(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	res_conf_list(api, request, reply, &kind);
}

void res_profiles_get(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	res_conf_get(api, request, reply, &kind);
}
