/* Configuration files: a snapshot or at least one error, never both or neither; what a snapshot promises holds; what
 * the YAML reader accepts has a position for every value. */
#include <stdlib.h>

#include "core/conf.h"
#include "core/config.h"
#include "core/policy.h"
#include "core/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_true)
{
	if (!is_true)
		abort();
}

static void check_positions(const struct yaml_doc *doc)
{
	const char *key;
	json_t *value;

	must(yaml_root(doc) != NULL && yaml_pos(doc, "").line > 0);
	json_object_foreach(yaml_root(doc), key, value) {
		char pointer[600] = "/";
		size_t n = 1;

		for (const char *c = key; *c != '\0'; c++) {
			pointer[n++] = *c == '~' || *c == '/' ? '~' : *c;
			if (*c == '~' || *c == '/')
				pointer[n++] = *c == '~' ? '0' : '1';
		}
		must(yaml_pos(doc, pointer).line > 0);
	}
}

static void check_snapshot(const struct config *config)
{
	must(config->n_realms >= 1 && config->n_realms <= CONFIG_REALMS_MAX);
	for (unsigned i = 0; i < config->n_realms; i++) {
		const struct realm_conf *realm = &config->realms[i];

		must(realm->index == i && config_realm(config, span_of(realm->name)) == realm);
		must(realm->n_addresses >= 1);
		must(realm->media_port_min >= 1024 && realm->media_port_min < realm->media_port_max);
		for (unsigned j = 0; j < realm->n_listens; j++)
			must(realm->listens[j].addr.port > 0 && addr_is_set(&realm->listens[j].addr));
	}
	for (unsigned i = 0; i < config->n_peers; i++) {
		const struct peer_conf *peer = &config->peers[i];

		must(peer->index == i && peer->realm != NULL && peer->n_targets >= 1);
		for (unsigned j = 0; j < peer->n_targets; j++)
			must(config_peer_of(config, peer->realm, &peer->targets[j].addr) != NULL);
	}
	for (unsigned i = 0; i < config->n_routes; i++)
		must(config->routes[i].from != NULL && (config->routes[i].to != NULL) == (config->routes[i].code == 0));
}

static void check_algs(const struct config *config)
{
	must(config->n_algs <= CONFIG_ALGS_MAX && config->n_profiles <= CONFIG_PROFILES_MAX);
	for (unsigned i = 0; i < config->n_algs; i++) {
		const struct alg_conf *alg = &config->algs[i];

		must(alg->index == i && alg->realm != NULL && alg->to != NULL && alg->protocol != NULL);
		must(alg->n_ports >= 1 && alg->n_ports <= CONFIG_ALG_PORTS_MAX && alg->n_servers <= CONFIG_ALG_SERVERS_MAX);
		must((alg->mode == CONFIG_ALG_EXPLICIT) == addr_is_set(&alg->server));
		must((alg->mode == CONFIG_ALG_EXPLICIT) == (alg->n_servers == 0));
		must(alg->mode != CONFIG_ALG_EXPLICIT || alg->server.port > 0);
		must(alg->tls_port_max - alg->tls_port_min < 64 && alg->idle_ms >= 30000);
		must(alg->max_sessions_per_client <= alg->max_sessions && alg->max_sessions_per_client > 0);
		must(alg->policy == NULL || strcmp(policy_profile(alg->policy)->protocol, alg->protocol) == 0);
	}
	for (unsigned i = 0; i < config->n_profiles; i++) {
		const struct policy_profile *profile = policy_profile(config->profiles[i].policy);

		must(profile->n_rules <= POLICY_RULES_MAX && strcmp(profile->name, config->profiles[i].name) == 0);
		for (unsigned j = 0; j < profile->n_rules; j++)
			must(profile->rules[j].name != NULL && strlen(profile->rules[j].name) < POLICY_NAME_MAX);
	}
}

static void on_change(void *arg, enum config_change change, const char *pointer)
{
	(void)arg;
	(void)pointer;
	must(config_change_text(change) == NULL); /* there is none */
}

/* Whatever is in force can be put in force again. */
static void check_itself(const struct config *config, struct span text)
{
	const struct config_before before = { config, config };
	struct conf_errors errors = { 0 };
	const struct config *next = NULL;

	must(config_parse_next(text, "fuzz", &before, &errors, &next) == 0 && errors.n == 0);
	must(next->revision == config->revision + 1);
	for (unsigned i = 0; i < next->n_algs; i++)
		must(next->algs[i].capture == config->algs[i].capture);
	config_diff(config, next, on_change, NULL);
	config_unref(next);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = { (const char *)data, size };
	struct conf_errors errors = { 0 };
	const struct config *config = NULL;
	struct yaml_doc *doc = NULL;
	int err = yaml_parse(text, "fuzz", &errors, &doc);

	must((err < 0) == (doc == NULL) && (err < 0) == (errors.n > 0));
	if (doc != NULL)
		check_positions(doc);
	yaml_free(doc);
	conf_errors_free(&errors);
	err = config_parse(text, "fuzz", &errors, &config);
	must((err < 0) == (config == NULL) && (err < 0) == (errors.n > 0));
	if (config != NULL) {
		check_snapshot(config);
		check_algs(config);
		check_itself(config, text);
	}
	config_unref(config);
	conf_errors_free(&errors);
	return 0;
}
