/* /v1/algs: each application-level gateway as configured, with its listeners: whether they are open, why not, and
 * their counters. */
#include "api/problem.h"
#include "api/res_conf.h"
#include "api/text.h"
#include "core/err.h"
#include "core/policy.h"

static const char *mode_text(enum config_alg_mode mode)
{
	static const char *const texts[] = {
		[CONFIG_ALG_NAT] = "nat", [CONFIG_ALG_TRANSPARENT] = "transparent", [CONFIG_ALG_EXPLICIT] = "explicit",
	};

	return texts[mode];
}

static json_t *listener_json(const struct alg_listener_view *listener)
{
	json_t *json = json_object();

	res_set(json, "listen", res_addr(&listener->listen));
	res_set(json, "is_open", json_boolean(listener->is_open));
	res_set(json, "reason", listener->is_open ? json_null() : res_text(listener->reason));
	res_set(json, "sessions_active", json_integer(listener->n_sessions));
	res_set(json, "sessions_total", res_count(listener->sessions_total));
	res_set(json, "refused_total", res_count(listener->refused_total));
	return json;
}

static json_t *listeners_json(const struct res_conf *conf, const struct alg_conf *alg)
{
	json_t *listeners = json_array();

	for (unsigned i = 0; i < conf->n_listeners; i++)
		if (strcmp(conf->listeners[i].conf->name, alg->name) == 0)
			json_array_append_new(listeners, listener_json(&conf->listeners[i]));
	return listeners;
}

static void add_servers(json_t *json, const struct alg_conf *alg)
{
	json_t *servers = json_array(), *ports = json_array();

	for (unsigned i = 0; i < alg->n_servers; i++)
		json_array_append_new(servers, res_prefix(&alg->servers[i]));
	for (unsigned i = 0; i < alg->n_ports; i++)
		json_array_append_new(ports, json_integer(alg->ports[i]));
	res_set(json, "ports", ports);
	res_set(json, "servers", servers);
	res_set(json, "server", res_addr(&alg->server));
}

/* All listeners of an ALG show the same one. */
static int64_t certificate_expires_ms(const struct res_conf *conf, const struct alg_conf *alg)
{
	for (unsigned i = 0; i < conf->n_listeners; i++)
		if (strcmp(conf->listeners[i].conf->name, alg->name) == 0)
			return conf->listeners[i].certificate_expires_ms;
	return 0;
}

static void add_tls(json_t *json, const struct res_conf *conf, const struct alg_conf *alg)
{
	bool has_ports = alg->tls_port_min != 0;
	bool has_server = alg->tls == CONFIG_ALG_TLS_TERMINATE && alg->is_server_tls;

	res_set(json, "tls", json_string(config_alg_tls_text(alg)));
	res_set(json, "tls_required", json_string(config_alg_tls_need_text(alg->tls_need)));
	res_set(json, "certificate_expires_at", res_time(certificate_expires_ms(conf, alg)));
	res_set(json, "server_tls", json_boolean(has_server));
	res_set(json, "server_verify", json_boolean(has_server && alg->is_server_verified));
	res_set(json, "server_name", res_text(alg->server_name));
	res_set(json, "tls_port_min", has_ports ? json_integer(alg->tls_port_min) : json_null());
	res_set(json, "tls_port_max", has_ports ? json_integer(alg->tls_port_max) : json_null());
}

static void add_limits(json_t *json, const struct alg_conf *alg)
{
	res_set(json, "active", json_boolean(alg->may_be_active));
	res_set(json, "server_data", json_string(alg->is_server_passive ? "passive" : "as_client"));
	res_set(json, "data", json_string(alg->data == CONFIG_ALG_DATA_RELAY ? "relay" : "kernel"));
	res_set(json, "max_sessions", json_integer(alg->max_sessions));
	res_set(json, "max_sessions_per_client", json_integer(alg->max_sessions_per_client));
	res_set(json, "sessions_per_s", json_integer(alg->sessions_per_s));
	res_set(json, "sessions_per_s_per_client", json_integer(alg->sessions_per_s_per_client));
	res_set(json, "idle_ms", json_integer(alg->idle_ms));
}

static json_t *alg_json(const struct res_conf *conf, unsigned index)
{
	const struct alg_conf *alg = &conf->config->algs[index];
	json_t *json = json_object();

	res_set(json, "name", text_json_of(alg->name));
	res_set(json, "protocol", text_json_of(alg->protocol));
	res_set(json, "mode", json_string(mode_text(alg->mode)));
	res_set(json, "realm", text_json_of(alg->realm->name));
	res_set(json, "to", text_json_of(alg->to->name));
	add_servers(json, alg);
	res_set(json, "profile", alg->policy != NULL ? text_json_of(policy_profile(alg->policy)->name) : json_null());
	add_tls(json, conf, alg);
	add_limits(json, alg);
	res_set(json, "listeners", listeners_json(conf, alg));
	return json;
}

static const char *alg_name(const struct config *config, unsigned index)
{
	return config->algs[index].name;
}

static unsigned alg_count(const struct config *config)
{
	return config->n_algs;
}

static const struct res_kind kind = { alg_count, alg_name, alg_json };

void res_algs_list(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	res_conf_list(api, request, reply, &kind);
}

void res_algs_get(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	res_conf_get(api, request, reply, &kind);
}
