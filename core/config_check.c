/* What no single value of the configuration shows: names that nobody has, addresses that two sides claim, routes that
 * never match. Reports everything and changes nothing. */
#include "core/config_build.h"
#include "core/yaml.h"

static void check_address_owner(struct config_build *b, const struct realm_conf *realm, unsigned i)
{
	const struct addr *addr = &realm->addresses[i];
	char text[ADDR_TEXT_MAX];

	config_at(b, "/realms/%s/addresses/%u", realm->name, i);
	for (unsigned j = 0; j < i; j++) {
		if (!addr_is_set(addr) || !addr_eq_ip(addr, &realm->addresses[j]))
			continue;
		config_report(b, "remove one of the two", "%s is listed twice", addr_ip_text(addr, text));
		return;
	}
	/* This also keeps the media pools of two realms apart: a port belongs to one address, the address to one realm. */
	for (unsigned r = 0; r < realm->index; r++) {
		if (!config_realm_has(&b->config->realms[r], addr))
			continue;
		config_report(b, "an address belongs to one realm", "%s is already an address of realm %s",
			      addr_ip_text(addr, text), b->config->realms[r].name);
		return;
	}
}

static void check_pool(struct config_build *b, const struct realm_conf *realm)
{
	for (unsigned i = 0; i < realm->n_listens; i++) {
		uint16_t port = realm->listens[i].addr.port;

		if (port < realm->media_port_min || port > realm->media_port_max)
			continue;
		config_at(b, "/realms/%s/media_ports", realm->name);
		config_report(b, "move the pool or the listener", "the pool contains the SIP port %u", port);
		return;
	}
}

static bool is_own_listener(const struct config *config, const struct addr *addr)
{
	for (unsigned r = 0; r < config->n_realms; r++)
		for (unsigned i = 0; i < config->realms[r].n_listens; i++)
			if (addr_eq(&config->realms[r].listens[i].addr, addr))
				return true;
	return false;
}

static void check_target(struct config_build *b, const struct peer_conf *peer, unsigned i)
{
	const struct addr *addr = &peer->targets[i].addr;

	if (!addr_is_set(addr))
		return;
	if (is_own_listener(b->config, addr))
		config_report(b, "name the next hop", "this is the gateway's own listener");
	else if (peer->realm != NULL && !config_realm_has_family(peer->realm, addr->family))
		config_report(b, "add one to the realm", "realm %s has no IPv%d address", peer->realm->name,
			      addr->family == AF_INET ? 4 : 6);
	for (unsigned j = 0; j < i; j++)
		if (addr_eq(&peer->targets[j].addr, addr))
			config_report(b, "remove one of the two", "the same target twice");
}

static void check_peer(struct config_build *b, const struct peer_conf *peer)
{
	config_at(b, "/peers/%s/realm", peer->name);
	if (peer->realm != NULL && !config_realm_has_sip(b, peer->realm))
		config_report(b, "add sip to the realm", "realm %s has no SIP listener", peer->realm->name);
	for (unsigned i = 0; i < peer->n_targets; i++) {
		config_at(b, "/peers/%s/uri", peer->name);
		if (yaml_pos(b->doc, b->pointer).line == 0)
			config_at(b, "/peers/%s/uris/%u", peer->name, i);
		check_target(b, peer, i);
	}
}

/* Every call that the later route would match is already taken by the earlier one. */
static bool is_shadowed(const struct route_conf *earlier, const struct route_conf *later)
{
	if (earlier->from != later->from || earlier->regex != NULL)
		return false;
	if (earlier->prefix == NULL)
		return true;
	return later->prefix != NULL && span_starts(span_of(later->prefix), span_of(earlier->prefix));
}

static void check_route(struct config_build *b, const struct route_conf *route)
{
	config_at(b, "/routes/%u/from", route->index);
	if (route->from != NULL && !config_realm_has_sip(b, route->from))
		config_report(b, "add sip to the realm", "no call comes in: realm %s has no SIP listener", route->from->name);
	config_at(b, "/routes/%u/regex", route->index);
	config_check_regex(b, route->regex);
	for (unsigned i = 0; i < route->index; i++) {
		const struct route_conf *earlier = &b->config->routes[i];

		if (strcmp(earlier->name, route->name) == 0) {
			config_at(b, "/routes/%u", route->index);
			config_report(b, "give it another name", "two routes are called %s", route->name);
		}
		if (route->from == NULL || !is_shadowed(earlier, route))
			continue;
		config_at(b, "/routes/%u", route->index);
		config_report(b, "put the narrower route first", "never matches: %s (route %u) takes all its calls",
			      earlier->name, i + 1);
		return;
	}
}

static void check_api(struct config_build *b)
{
	const struct addr *listen = &b->config->api.listen;

	if (!addr_is_set(listen) || addr_kind(listen) == ADDR_LOOPBACK || b->is_insecure_remote)
		return;
	config_at(b, "/api/listen");
	config_report(b, "use 127.0.0.1 behind a TLS proxy, or set api.insecure_remote: true",
		      "plain HTTP beyond loopback");
}

static bool has_path(const struct config *config, enum config_path path, unsigned before)
{
	for (unsigned i = 0; i < before; i++)
		if (config->media.paths[i] == path)
			return true;
	return false;
}

static void check_media(struct config_build *b)
{
	const struct config *config = b->config;
	unsigned n = config->media.n_paths;

	if (b->has_bad_path)
		return;
	for (unsigned i = 0; i < n; i++) {
		config_at(b, "/media/paths/%u", i);
		if (has_path(config, config->media.paths[i], i))
			config_report(b, "remove one of the two", "%s is listed twice", config_path_text(config->media.paths[i]));
		else if (config->media.paths[i] == CONFIG_PATH_RELAY && i + 1 < n)
			config_report(b, "put it last", "relay takes all media, so no path after it is used");
	}
	config_at(b, "/media/firewall");
	if (config->media.is_firewall_closed && !has_path(config, CONFIG_PATH_CONNTRACK, n) &&
	    !has_path(config, CONFIG_PATH_NFT, n))
		config_report(b, "add conntrack to media.paths, or leave the firewall open",
			      "a closed firewall needs the path conntrack or nft");
}

static void check_timers(struct config_build *b)
{
	if (b->config->sip.t1_ms <= b->config->sip.t2_ms)
		return;
	config_at(b, "/sip/t1");
	config_report(b, NULL, "t1 is longer than t2");
}

void config_check(struct config_build *b)
{
	const struct config *config = b->config;

	for (unsigned r = 0; r < config->n_realms; r++) {
		for (unsigned i = 0; i < config->realms[r].n_addresses; i++)
			check_address_owner(b, &config->realms[r], i);
		check_pool(b, &config->realms[r]);
	}
	for (unsigned i = 0; i < config->n_peers; i++)
		check_peer(b, &config->peers[i]);
	for (unsigned i = 0; i < config->n_routes; i++)
		check_route(b, &config->routes[i]);
	check_api(b);
	check_media(b);
	check_timers(b);
	config_check_algs(b);
}
