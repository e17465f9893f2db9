/* /v1/peers: each next hop as configured, with what was sent there and what failed. */
#include "api/problem.h"
#include "api/res_conf.h"
#include "api/text.h"
#include "core/err.h"

static json_t *target_json(const struct peer_target *target)
{
	json_t *json = json_object();

	res_set(json, "uri", text_json_of(target->uri));
	res_set(json, "address", res_addr(&target->addr));
	return json;
}

static json_t *peer_json(const struct res_conf *conf, unsigned index)
{
	const struct peer_conf *peer = &conf->config->peers[index];
	json_t *json = json_object(), *targets = json_array();

	for (unsigned i = 0; i < peer->n_targets; i++)
		json_array_append_new(targets, target_json(&peer->targets[i]));
	res_set(json, "name", text_json_of(peer->name));
	res_set(json, "realm", text_json_of(peer->realm->name));
	res_set(json, "targets", targets);
	res_set(json, "calls_total", json_integer((json_int_t)conf->stats->peer_calls[index]));
	res_set(json, "failures_total", json_integer((json_int_t)conf->stats->peer_failures[index]));
	return json;
}

static const char *peer_name(const struct config *config, unsigned index)
{
	return config->peers[index].name;
}

static unsigned peer_count(const struct config *config)
{
	return config->n_peers;
}

static const struct res_kind kind = { peer_count, peer_name, peer_json };

void res_peers_list(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	res_conf_list(api, request, reply, &kind);
}

void res_peers_get(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	res_conf_get(api, request, reply, &kind);
}
