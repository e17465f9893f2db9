/* /v1/realms: each side of the gateway as configured, with its calls and its media ports. */
#include "api/problem.h"
#include "api/res_conf.h"
#include "api/text.h"
#include "core/err.h"

static json_t *listen_json(const struct realm_listen *listen)
{
	char text[ADDR_TEXT_MAX];

	return json_sprintf("udp:%s", addr_text(&listen->addr, text));
}

static json_t *pool_json(const struct media_pool_stats *pool)
{
	json_t *json = json_object();

	res_set(json, "address", res_ip(&pool->address));
	res_set(json, "port_min", json_integer(pool->port_min));
	res_set(json, "port_max", json_integer(pool->port_max));
	res_set(json, "pairs_total", json_integer(pool->pairs_total));
	res_set(json, "pairs_used", json_integer(pool->pairs_used));
	res_set(json, "pairs_quarantined", json_integer(pool->pairs_quarantined));
	return json;
}

static json_t *realm_json(const struct res_conf *conf, unsigned index)
{
	const struct realm_conf *realm = &conf->config->realms[index];
	json_t *json = json_object(), *addresses = json_array(), *sip = json_array(), *pools = json_array();

	for (unsigned i = 0; i < realm->n_addresses; i++)
		json_array_append_new(addresses, res_ip(&realm->addresses[i]));
	for (unsigned i = 0; i < realm->n_listens; i++)
		json_array_append_new(sip, listen_json(&realm->listens[i]));
	for (unsigned i = 0; i < conf->pools[index].n_pools; i++)
		json_array_append_new(pools, pool_json(&conf->pools[index].pools[i]));
	res_set(json, "name", text_json_of(realm->name));
	res_set(json, "interface", text_json_of(realm->interface));
	res_set(json, "addresses", addresses);
	res_set(json, "sip", sip);
	res_set(json, "media_port_min", json_integer(realm->media_port_min));
	res_set(json, "media_port_max", json_integer(realm->media_port_max));
	res_set(json, "trust", json_string(realm->trust == TRUST_TRUSTED ? "trusted" : "untrusted"));
	res_set(json, "nat", json_string(realm->nat == NAT_LATCH ? "latch" : "off"));
	res_set(json, "max_calls", json_integer(realm->max_calls));
	res_set(json, "cps", json_integer(realm->cps));
	res_set(json, "media_timeout_s", json_integer(realm->media_timeout_s));
	res_set(json, "calls_active", json_integer(conf->stats->realm_active[index]));
	res_set(json, "pools", pools);
	return json;
}

static const char *realm_name(const struct config *config, unsigned index)
{
	return config->realms[index].name;
}

static unsigned realm_count(const struct config *config)
{
	return config->n_realms;
}

static const struct res_kind kind = { realm_count, realm_name, realm_json };

void res_realms_list(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	res_conf_list(api, request, reply, &kind);
}

void res_realms_get(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	res_conf_get(api, request, reply, &kind);
}
