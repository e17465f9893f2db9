/* Application-level gateways against the rest of the configuration: who else listens there, which addresses the realms have,
 * and two of them that want the same control channels. Reports everything and changes nothing. */
#include <stdio.h>

#include "core/config_build.h"

enum { OWNER_MAX = 96 };

static bool has_port(const struct alg_conf *alg, uint16_t port)
{
	for (unsigned i = 0; i < alg->n_ports; i++)
		if (alg->ports[i] == port)
			return true;
	return false;
}

/* Whether it takes what is sent to this address and port. */
static bool takes(const struct alg_conf *alg, const struct addr *at)
{
	if (!has_port(alg, at->port))
		return false;
	if (alg->mode == CONFIG_ALG_EXPLICIT)
		return alg->realm != NULL && config_realm_has(alg->realm, at);
	for (unsigned i = 0; i < alg->n_servers; i++)
		if (prefix_has(&alg->servers[i], at))
			return true;
	return false;
}

/* Families */

static void check_family(struct config_build *b, const struct alg_conf *alg, uint8_t family)
{
	/* Who connects to the gateway itself need not have the family of the server behind it. */
	const struct realm_conf *const realms[] = { alg->to, alg->mode == CONFIG_ALG_EXPLICIT ? NULL : alg->realm };

	for (unsigned i = 0; i < 2 && family != 0; i++) {
		if (realms[i] == NULL || config_realm_has_family(realms[i], family))
			continue;
		config_report(b, "add one to the realm", "realm %s has no IPv%d address", realms[i]->name,
			      family == AF_INET ? 4 : 6);
		return;
	}
}

/* What is taken over is for other hosts. (Multicast has been reported by then.) */
static bool is_network(const struct prefix *servers)
{
	enum addr_kind kind = addr_kind(&servers->addr);

	return kind == ADDR_UNICAST || kind == ADDR_MULTICAST || (kind == ADDR_UNSPECIFIED && servers->bits < 8);
}

static void check_families(struct config_build *b, const struct alg_conf *alg)
{
	config_at(b, "/algs/%s/server", alg->name);
	check_family(b, alg, alg->server.family);
	for (unsigned i = 0; i < alg->n_servers; i++) {
		config_at_element(b, i, "/algs/%s/servers", alg->name);
		check_family(b, alg, alg->servers[i].addr.family);
		if (addr_is_set(&alg->servers[i].addr) && !is_network(&alg->servers[i]))
			config_report(b, "use mode: explicit for servers on this machine", "not a network of other hosts");
	}
}

/* Other listeners */

static void report_taken(struct config_build *b, const struct alg_conf *alg, const struct addr *at, const char *whose)
{
	char text[ADDR_TEXT_MAX];

	for (unsigned i = 0; i < alg->n_ports; i++) {
		if (alg->ports[i] != at->port)
			continue;
		config_at_element(b, i, "/algs/%s/ports", alg->name);
		config_report(b, "use another port", "%s is %s", addr_text(at, text), whose);
	}
}

/* The API's listener may be on every address. */
static void check_api_listener(struct config_build *b, const struct alg_conf *alg)
{
	struct addr at = b->config->api.listen;

	if (config_alg_is_datagram(alg) || !addr_is_set(&at))
		return;
	if (addr_kind(&at) != ADDR_UNSPECIFIED) {
		if (takes(alg, &at))
			report_taken(b, alg, &at, "the API's");
		return;
	}
	for (unsigned i = 0; alg->realm != NULL && i < alg->realm->n_addresses; i++) {
		struct addr own = alg->realm->addresses[i];

		own.port = at.port;
		if (own.family != at.family || !takes(alg, &own))
			continue;
		report_taken(b, alg, &own, "the API's");
		return;
	}
}

static void check_sip_listeners(struct config_build *b, const struct alg_conf *alg)
{
	char whose[96];

	if (!config_alg_is_datagram(alg))
		return;
	for (unsigned r = 0; r < b->config->n_realms; r++) {
		const struct realm_conf *realm = &b->config->realms[r];

		for (unsigned i = 0; i < realm->n_listens; i++) {
			if (!takes(alg, &realm->listens[i].addr))
				continue;
			snprintf(whose, sizeof(whose), "a SIP listener of realm %s", realm->name);
			report_taken(b, alg, &realm->listens[i].addr, whose);
		}
	}
}

static void check_pool(struct config_build *b, const struct alg_conf *alg)
{
	const struct realm_conf *realm = alg->realm;

	if (alg->mode != CONFIG_ALG_EXPLICIT || realm == NULL)
		return;
	for (unsigned i = 0; i < alg->n_ports; i++) {
		if (alg->ports[i] < realm->media_port_min || alg->ports[i] > realm->media_port_max)
			continue;
		config_at_element(b, i, "/algs/%s/ports", alg->name);
		config_report(b, "move the pool or the listener", "port %u lies in media_ports of realm %s", alg->ports[i],
			      realm->name);
	}
}

static bool is_api(const struct config *config, const struct addr *at)
{
	struct addr listen = config->api.listen;

	if (addr_kind(&listen) == ADDR_UNSPECIFIED && addr_kind(at) == ADDR_LOOPBACK && listen.family == at->family)
		return listen.port == at->port;
	return addr_eq(&listen, at);
}

static const struct realm_conf *find_sip(const struct config *config, const struct addr *at)
{
	for (unsigned r = 0; r < config->n_realms; r++)
		for (unsigned i = 0; i < config->realms[r].n_listens; i++)
			if (addr_eq(&config->realms[r].listens[i].addr, at))
				return &config->realms[r];
	return NULL;
}

static const struct alg_conf *find_explicit(const struct config *config, const struct addr *at, bool is_datagram)
{
	for (unsigned i = 0; i < config->n_algs; i++) {
		const struct alg_conf *alg = &config->algs[i];

		if (alg->mode == CONFIG_ALG_EXPLICIT && config_alg_is_datagram(alg) == is_datagram && takes(alg, at))
			return alg;
	}
	return NULL;
}

/* Which listener of the gateway has this address: words for a report, or NULL. */
static const char *owner_of(const struct config *config, const struct addr *at, bool is_datagram, char out[OWNER_MAX])
{
	const struct alg_conf *alg = find_explicit(config, at, is_datagram);
	const struct realm_conf *realm = is_datagram ? find_sip(config, at) : NULL;

	if (alg != NULL)
		snprintf(out, OWNER_MAX, "alg %s", alg->name);
	else if (realm != NULL)
		snprintf(out, OWNER_MAX, "a SIP listener of realm %s", realm->name);
	else if (!is_datagram && is_api(config, at))
		snprintf(out, OWNER_MAX, "the API");
	else
		return NULL;
	return out;
}

/* Whether the gateway itself would be connected to: by this ALG or another, or at its API. */
static void check_server(struct config_build *b, const struct alg_conf *alg)
{
	char owner[OWNER_MAX];

	if (alg->mode != CONFIG_ALG_EXPLICIT || !addr_is_set(&alg->server) ||
	    owner_of(b->config, &alg->server, config_alg_is_datagram(alg), owner) == NULL)
		return;
	config_at(b, "/algs/%s/server", alg->name);
	config_report(b, "name the server", "this is the gateway's own listener");
}

/* What is taken over arrives at a port of its own on loopback. */
static void check_capture(struct config_build *b, const struct alg_conf *alg, uint8_t family)
{
	const struct addr at = config_alg_capture(alg, family);
	char owner[OWNER_MAX], text[ADDR_TEXT_MAX];
	bool has_family = false;

	for (unsigned i = 0; i < alg->n_servers; i++)
		has_family = has_family || alg->servers[i].addr.family == family;
	if (!has_family || alg->mode == CONFIG_ALG_EXPLICIT ||
	    owner_of(b->config, &at, config_alg_is_datagram(alg), owner) == NULL)
		return;
	config_at(b, "/algs/%s", alg->name);
	config_report(b, "give that listener another port", "what it takes over arrives at %s, where %s listens",
		      addr_text(&at, text), owner);
}

/* Two of them */

static bool prefixes_overlap(const struct prefix *a, const struct prefix *b)
{
	return a->bits < b->bits ? prefix_has(a, &b->addr) : prefix_has(b, &a->addr);
}

static bool servers_overlap(const struct alg_conf *a, const struct alg_conf *b)
{
	for (unsigned i = 0; i < a->n_servers; i++)
		for (unsigned j = 0; j < b->n_servers; j++)
			if (prefixes_overlap(&a->servers[i], &b->servers[j]))
				return true;
	return false;
}

/* Whether both would take one control channel to this port. */
static bool share(const struct alg_conf *a, const struct alg_conf *b, uint16_t port)
{
	const struct alg_conf *explicit = a->mode == CONFIG_ALG_EXPLICIT ? a : b;

	if (a->mode != CONFIG_ALG_EXPLICIT && b->mode != CONFIG_ALG_EXPLICIT)
		return servers_overlap(a, b);
	for (unsigned i = 0; i < explicit->realm->n_addresses; i++) {
		struct addr at = explicit->realm->addresses[i];

		at.port = port;
		if (addr_is_set(&at) && takes(a, &at) && takes(b, &at))
			return true;
	}
	return false;
}

static void check_pair(struct config_build *b, const struct alg_conf *alg, const struct alg_conf *earlier)
{
	if (alg->realm == NULL || alg->realm != earlier->realm || config_alg_is_datagram(alg) != config_alg_is_datagram(earlier))
		return;
	for (unsigned i = 0; i < alg->n_ports; i++) {
		if (!has_port(earlier, alg->ports[i]) || !share(alg, earlier, alg->ports[i]))
			continue;
		config_at_element(b, i, "/algs/%s/ports", alg->name);
		config_report(b, "use other ports or other servers", "alg %s takes port %u of the same servers", earlier->name,
			      alg->ports[i]);
		return;
	}
}

void config_check_algs(struct config_build *b)
{
	for (unsigned i = 0; i < b->config->n_algs; i++) {
		const struct alg_conf *alg = &b->config->algs[i];

		check_families(b, alg);
		check_api_listener(b, alg);
		check_sip_listeners(b, alg);
		check_pool(b, alg);
		check_server(b, alg);
		check_capture(b, alg, AF_INET);
		check_capture(b, alg, AF_INET6);
		for (unsigned j = 0; j < i; j++)
			check_pair(b, alg, &b->config->algs[j]);
	}
}
