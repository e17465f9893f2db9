/* TLS of an application-level gateway: its members of the configuration, and which of them go together. The files that they name are
 * read where the gateway is made (algs/engine_tls.c). */
#include "core/config_build.h"

static void report_missing(struct config_build *b, const struct alg_conf *alg, const char *member)
{
	config_at(b, "/algs/%s", alg->name);
	config_report(b, "name a PEM file", "the member %s is missing", member);
}

static bool is_given(const json_t *object, const char *member)
{
	return json_object_get(object, member) != NULL;
}

static void without_effect_if_given(struct config_build *b, const struct alg_conf *alg, const json_t *object, const char *member,
				    const char *why)
{
	if (is_given(object, member))
		config_without_effect(b, alg, member, why);
}

static void check_servers(struct config_build *b, const struct alg_conf *alg, const json_t *object)
{
	const char *why = alg->is_server_tls ? "with server_verify: false" : "with server_tls: false";

	if (alg->is_server_tls && alg->is_server_verified) {
		if (alg->server_ca != NULL || alg->server_name != NULL)
			return;
		config_at(b, "/algs/%s", alg->name);
		config_report(b, "write server_name, or server_ca with an authority of your own",
			      "any certificate of any authority would do for servers");
		return;
	}
	without_effect_if_given(b, alg, object, "server_ca", why);
	if (alg->is_server_tls)
		return; /* the name is still sent to servers */
	without_effect_if_given(b, alg, object, "server_name", why);
	without_effect_if_given(b, alg, object, "server_verify", why);
}

static void check_terminate(struct config_build *b, const struct alg_conf *alg, const struct config_protocol *protocol,
			    const json_t *object)
{
	if (alg->certificate == NULL)
		report_missing(b, alg, "certificate");
	if (alg->key == NULL)
		report_missing(b, alg, "key");
	check_servers(b, alg, object);
	if (!protocol->has_tls) {
		without_effect_if_given(b, alg, object, "tls_required", "but on ftp");
		without_effect_if_given(b, alg, object, "tls_resumption_required", "but on ftp");
		without_effect_if_given(b, alg, object, "tls_close_required", "but on ftp");
	}
}

static void check_others(struct config_build *b, const struct alg_conf *alg, const json_t *object)
{
	static const char *const members[] = { "certificate", "key", "server_tls", "server_verify", "server_ca", "server_name",
					       "tls_required", "tls_resumption_required", "tls_close_required" };

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		without_effect_if_given(b, alg, object, members[i], "without tls: terminate or implicit");
}

/* What the protocol cannot do. */
static void check_protocol(struct config_build *b, const struct alg_conf *alg, const struct config_protocol *protocol,
			   const json_t *object)
{
	char why[32];

	snprintf(why, sizeof(why), "on %s", protocol->name);
	if ((alg->is_tls_implicit && protocol->tls_port == 0) ||
	    (!alg->is_tls_implicit && alg->tls != CONFIG_ALG_TLS_REFUSE && !protocol->has_tls))
		config_without_effect(b, alg, "tls", why);
	if (!protocol->has_tls)
		without_effect_if_given(b, alg, object, "tls_ports", why);
	else if (alg->tls != CONFIG_ALG_TLS_PASS)
		without_effect_if_given(b, alg, object, "tls_ports", "without tls: pass");
}

static bool flag(const json_t *object, const char *name, bool usual)
{
	return is_given(object, name) ? json_is_true(json_object_get(object, name)) : usual;
}

static enum config_alg_tls_need need_in(const json_t *object)
{
	if (config_is_text(object, "tls_required", "data"))
		return CONFIG_ALG_TLS_NEED_DATA;
	return config_is_text(object, "tls_required", "control") ? CONFIG_ALG_TLS_NEED_CONTROL : CONFIG_ALG_TLS_NEED_NOTHING;
}

void config_build_alg_tls(struct config_build *b, const json_t *object, const struct config_protocol *protocol, struct alg_conf *alg)
{
	alg->is_tls_implicit = config_is_text(object, "tls", "implicit");
	if (alg->is_tls_implicit || config_is_text(object, "tls", "terminate"))
		alg->tls = CONFIG_ALG_TLS_TERMINATE;
	else
		alg->tls = config_is_text(object, "tls", "pass") ? CONFIG_ALG_TLS_PASS : CONFIG_ALG_TLS_REFUSE;
	(void)config_ports_parse(config_text(object, "tls_ports"), &alg->tls_port_min, &alg->tls_port_max);
	alg->certificate = config_string(b, object, "certificate");
	alg->key = config_string(b, object, "key");
	alg->server_ca = config_string(b, object, "server_ca");
	alg->server_name = config_string(b, object, "server_name");
	alg->is_server_tls = flag(object, "server_tls", true);
	alg->is_server_verified = flag(object, "server_verify", true);
	alg->is_resumption_needed = flag(object, "tls_resumption_required", false);
	alg->is_tls_end_needed = flag(object, "tls_close_required", true);
	alg->tls_need = need_in(object);
	if (protocol == NULL)
		return;
	check_protocol(b, alg, protocol, object);
	if (alg->tls == CONFIG_ALG_TLS_TERMINATE)
		check_terminate(b, alg, protocol, object);
	else
		check_others(b, alg, object);
}

const char *config_alg_tls_text(const struct alg_conf *alg)
{
	static const char *const texts[] = { [CONFIG_ALG_TLS_REFUSE] = "refuse", [CONFIG_ALG_TLS_PASS] = "pass",
					     [CONFIG_ALG_TLS_TERMINATE] = "terminate" };

	return alg->is_tls_implicit ? "implicit" : texts[alg->tls];
}

const char *config_alg_tls_need_text(enum config_alg_tls_need need)
{
	static const char *const texts[] = { [CONFIG_ALG_TLS_NEED_NOTHING] = "nothing", [CONFIG_ALG_TLS_NEED_CONTROL] = "control",
					     [CONFIG_ALG_TLS_NEED_DATA] = "data" };

	return texts[need];
}
