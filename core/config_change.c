/* A configuration that follows another one while the gateway runs: what cannot change is a fault here, and what goes on is handed
 * over. Which control channels are taken over was sealed into the privileged helper's limits before anything was read from a
 * network; so an ALG that takes some over needs one of the start that took at least these, and gets its place. */
#include "core/config_build.h"
#include "core/policy.h"
#include "core/yaml.h"

static const char restart[] = "restart the gateway, or use mode: explicit, which takes nothing over";

/* Control channels that are taken over */

static bool has_port(const struct alg_conf *alg, uint16_t port)
{
	for (unsigned i = 0; i < alg->n_ports; i++)
		if (alg->ports[i] == port)
			return true;
	return false;
}

static bool has_servers(const struct alg_conf *alg, const struct prefix *servers)
{
	for (unsigned i = 0; i < alg->n_servers; i++)
		if (alg->servers[i].bits <= servers->bits && prefix_has(&alg->servers[i], &servers->addr))
			return true;
	return false;
}

/* Between the same realms, and in the same way. Realms have kept their positions. */
static bool is_alike(const struct alg_conf *old, const struct alg_conf *alg)
{
	return old->mode == alg->mode && old->realm->index == alg->realm->index && old->to->index == alg->to->index &&
	       config_alg_is_datagram(old) == config_alg_is_datagram(alg);
}

static bool covers(const struct alg_conf *old, const struct alg_conf *alg)
{
	if (!is_alike(old, alg))
		return false;
	for (unsigned i = 0; i < alg->n_ports; i++)
		if (!has_port(old, alg->ports[i]))
			return false;
	for (unsigned i = 0; i < alg->n_servers; i++)
		if (!has_servers(old, &alg->servers[i]))
			return false;
	return true;
}

static const struct alg_conf *find_alg(const struct config *config, const char *name)
{
	for (unsigned i = 0; i < config->n_algs; i++)
		if (strcmp(config->algs[i].name, name) == 0)
			return &config->algs[i];
	return NULL;
}

/* The one that it was, as far as can be told: of its name, or the only one of its kind; or NULL. */
static const struct alg_conf *find_alike(const struct config *started, const struct alg_conf *alg)
{
	const struct alg_conf *found = find_alg(started, alg->name);
	unsigned n = 0;

	if (found != NULL && is_alike(found, alg))
		return found;
	for (unsigned i = 0; i < started->n_algs; i++) {
		if (!is_alike(&started->algs[i], alg))
			continue;
		found = &started->algs[i];
		n++;
	}
	return n == 1 ? found : NULL;
}

/* Says which of its values it is, where that can be told. */
static void report_capture(struct config_build *b, const struct alg_conf *alg, const struct alg_conf *old)
{
	char text[ADDR_TEXT_MAX];
	bool is_said = false;

	for (unsigned i = 0; old != NULL && i < alg->n_ports; i++) {
		if (has_port(old, alg->ports[i]))
			continue;
		config_at_element(b, i, "/algs/%s/ports", alg->name);
		config_report(b, restart, "takes a restart: port %u was not taken over at the start", alg->ports[i]);
		is_said = true;
	}
	for (unsigned i = 0; old != NULL && i < alg->n_servers; i++) {
		if (has_servers(old, &alg->servers[i]))
			continue;
		config_at_element(b, i, "/algs/%s/servers", alg->name);
		config_report(b, restart, "takes a restart: %s/%u was not taken over at the start",
			      addr_ip_text(&alg->servers[i].addr, text), alg->servers[i].bits);
		is_said = true;
	}
	if (is_said)
		return;
	config_at(b, "/algs/%s", alg->name);
	config_report(b, restart, "takes a restart: no ALG of the start took over the same control channels that is not in use for another one");
}

/* The ALG of the start whose place it gets: that of its name, else any; NULL when there is none. */
static const struct alg_conf *find_place(const struct config *started, const struct alg_conf *alg, const bool *is_taken)
{
	const struct alg_conf *same = find_alg(started, alg->name);

	if (same != NULL && !is_taken[same->index] && covers(same, alg))
		return same;
	for (unsigned i = 0; i < started->n_algs; i++)
		if (!is_taken[i] && started->algs[i].mode != CONFIG_ALG_EXPLICIT && covers(&started->algs[i], alg))
			return &started->algs[i];
	return NULL;
}

/* Those that have kept their name choose first. */
static void place_algs(struct config_build *b, const struct config *started)
{
	bool is_taken[CONFIG_ALGS_MAX] = { false }, is_placed[CONFIG_ALGS_MAX] = { false };

	for (int pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < b->config->n_algs; i++) {
			struct alg_conf *alg = &b->config->algs[i];
			const struct alg_conf *same = find_alg(started, alg->name), *place;

			if (alg->mode == CONFIG_ALG_EXPLICIT || is_placed[i] || (pass == 0 && (same == NULL || !covers(same, alg))))
				continue;
			place = find_place(started, alg, is_taken);
			if (place == NULL) {
				report_capture(b, alg, find_alike(started, alg));
				continue;
			}
			alg->capture = place->capture;
			is_taken[place->index] = is_placed[i] = true;
		}
	}
}

void config_check_change(struct config_build *b, const struct config_before *before)
{
	const struct config *started = before->started;

	if (conf_check_fixed(config_schema(), config_tree(before->running), yaml_root(b->doc), b->doc, b->errors) < 0) {
		b->is_bad = true;
		return; /* realms may have other positions */
	}
	if (b->config->limits.max_calls > started->limits.max_calls) {
		config_at(b, "/limits/max_calls");
		config_report(b, "restart the gateway", "takes a restart: more than the %u that there was room for at the start",
			      started->limits.max_calls);
	}
	place_algs(b, started);
}

bool config_has_low_port(const struct config *config, uint16_t port)
{
	for (unsigned i = 0; i < config->n_algs; i++)
		if (config->algs[i].mode == CONFIG_ALG_EXPLICIT && has_port(&config->algs[i], port))
			return true;
	return false;
}

/* Counters */

static const json_t *profile_in(const struct config *config, const char *name)
{
	return json_object_get(json_object_get(config_tree(config), "profiles"), name);
}

static void keep_rules(struct policy *policy, const json_t *rules, const struct policy *before, const json_t *rules_before)
{
	bool is_taken[POLICY_RULES_MAX] = { false };
	const json_t *rule;
	size_t i;

	json_array_foreach((json_t *)rules, i, rule) {
		for (size_t j = 0; j < json_array_size(rules_before); j++) {
			if (is_taken[j] || !json_equal(rule, json_array_get(rules_before, j)))
				continue;
			policy_keep_count(policy, (unsigned)i, before, (unsigned)j);
			is_taken[j] = true;
			break;
		}
	}
}

static void keep_profile(struct config *config, const struct profile_conf *profile, const struct config *from, const struct profile_conf *before)
{
	const json_t *now = profile_in(config, profile->name), *then = profile_in(from, profile->name);

	if (strcmp(profile->protocol, before->protocol) != 0)
		return;
	keep_rules(profile->policy, json_object_get(now, "rules"), before->policy, json_object_get(then, "rules"));
	if (json_equal(json_object_get(now, "default"), json_object_get(then, "default")))
		policy_keep_count(profile->policy, policy_profile(profile->policy)->n_rules, before->policy,
				  policy_profile(before->policy)->n_rules);
}

void config_keep_counts(struct config *config, const struct config *before)
{
	for (unsigned i = 0; i < config->n_profiles; i++)
		for (unsigned j = 0; j < before->n_profiles; j++)
			if (strcmp(config->profiles[i].name, before->profiles[j].name) == 0)
				keep_profile(config, &config->profiles[i], before, &before->profiles[j]);
}
