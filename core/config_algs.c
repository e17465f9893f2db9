/* The section `algs` of the configuration: each entry becomes a struct alg_conf. Reports what one entry by itself gets wrong;
 * what does not fit together is for core/config_algs_check.c. */
#include "core/arena.h"
#include "core/config_build.h"

/* A module of algs/ has a row here, so that its configuration is checked before it runs. */
static const struct config_protocol protocols[] = {
	{ .name = "ftp", .port = 21, .has_active = true, .has_tls = true, .tls_port = 990, .code_min = 400, .code_max = 599,
	  .lacks = { "transport", "mime" } },
	{ .name = "rtsp", .port = 554, .tls_port = 322, .has_media = true, .code_min = 400, .code_max = 599, .lacks = { "magic" } },
	{ .name = "tftp", .port = 69, .is_datagram = true, .code_min = 1, .code_max = 8,
	  .lacks = { "transport", "mime", "user" } },
};

const struct config_protocol *config_protocol(struct span name)
{
	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
		if (span_eq(name, span_of(protocols[i].name)))
			return &protocols[i];
	return NULL;
}

/* Where it listens */

static uint16_t usual_port(const struct config_protocol *protocol, const struct alg_conf *alg)
{
	return alg->is_tls_implicit && protocol->tls_port != 0 ? protocol->tls_port : protocol->port;
}

static void build_ports(struct config_build *b, const json_t *list, const struct config_protocol *protocol, struct alg_conf *alg)
{
	size_t n = config_list_size(list, CONFIG_ALG_PORTS_MAX);

	for (size_t i = 0; i < n; i++) {
		uint16_t port = (uint16_t)json_integer_value(json_is_array(list) ? json_array_get(list, i) : list);

		for (unsigned j = 0; j < alg->n_ports; j++) {
			if (alg->ports[j] != port || port == 0)
				continue;
			config_at_element(b, (unsigned)i, "/algs/%s/ports", alg->name);
			config_report(b, "remove one of the two", "port %u is listed twice", port);
		}
		alg->ports[alg->n_ports++] = port;
	}
	if (list == NULL && protocol != NULL)
		alg->ports[alg->n_ports++] = usual_port(protocol, alg);
}

static void build_servers(const json_t *list, struct alg_conf *alg)
{
	size_t n = config_list_size(list, CONFIG_ALG_SERVERS_MAX);

	for (size_t i = 0; i < n; i++) {
		struct span text = config_list_text(list, i);

		if (text.ptr != NULL)
			(void)prefix_parse(text, &alg->servers[i]); /* else: family 0 keeps the place */
		alg->n_servers++;
	}
}

static void build_server(struct span text, const struct config_protocol *protocol, struct alg_conf *alg)
{
	if (text.ptr == NULL || addr_parse(text, &alg->server) == 0)
		return;
	if (addr_parse_ip(text, &alg->server) == 0 && protocol != NULL)
		alg->server.port = alg->is_server_tls ? usual_port(protocol, alg) : protocol->port;
}

static enum config_alg_mode mode_in(const json_t *object)
{
	if (config_is_text(object, "mode", "explicit"))
		return CONFIG_ALG_EXPLICIT;
	return config_is_text(object, "mode", "transparent") ? CONFIG_ALG_TRANSPARENT : CONFIG_ALG_NAT;
}

/* Members that have no effect, or that are missing */

void config_without_effect(struct config_build *b, const struct alg_conf *alg, const char *member, const char *why)
{
	config_at(b, "/algs/%s/%s", alg->name, member);
	config_report(b, "remove it", "has no effect %s", why);
}

static void check_far_end(struct config_build *b, const struct alg_conf *alg, const json_t *object)
{
	const bool is_explicit = alg->mode == CONFIG_ALG_EXPLICIT;
	const char *wanted = is_explicit ? "server" : "servers", *other = is_explicit ? "servers" : "server";

	if (json_object_get(object, other) != NULL)
		config_without_effect(b, alg, other, is_explicit ? "in mode explicit" : "but in mode explicit");
	if (json_object_get(object, wanted) != NULL)
		return;
	config_at(b, "/algs/%s", alg->name);
	config_report(b, is_explicit ? "write server: \"address:port\"" : "write servers: and their networks",
		      "the member %s is missing", wanted);
}

static void check_abilities(struct config_build *b, const struct alg_conf *alg, const struct config_protocol *protocol,
			    const json_t *object)
{
	char why[32];

	snprintf(why, sizeof(why), "on %s", protocol->name);
	if (!protocol->has_active && json_object_get(object, "active") != NULL)
		config_without_effect(b, alg, "active", why);
	if (!protocol->has_active && json_object_get(object, "server_data") != NULL)
		config_without_effect(b, alg, "server_data", why);
	if (!alg->is_server_passive || alg->mode != CONFIG_ALG_TRANSPARENT)
		return;
	config_at(b, "/algs/%s/server_data", alg->name);
	config_report(b, "use mode: nat or explicit",
		      "data that the gateway connects to both ends of comes from its own address, which nobody sees in mode transparent");
}

/* Profiles */

static const struct profile_conf *find_profile(const struct config *config, struct span name)
{
	for (unsigned i = 0; i < config->n_profiles; i++)
		if (span_eq(span_of(config->profiles[i].name), name))
			return &config->profiles[i];
	return NULL;
}

static void build_profile(struct config_build *b, const json_t *object, struct alg_conf *alg)
{
	struct span wanted = config_text(object, "profile");
	const struct profile_conf *profile = find_profile(b->config, wanted);
	struct conf_nearest nearest = { .wanted = wanted.ptr };
	char hint[CONFIG_HINT_MAX];

	if (wanted.ptr == NULL)
		return;
	config_at(b, "/algs/%s/profile", alg->name);
	if (profile == NULL) {
		for (unsigned i = 0; i < b->config->n_profiles; i++)
			conf_nearest_offer(&nearest, b->config->profiles[i].name);
		config_report(b, conf_nearest_hint(&nearest, hint, sizeof(hint)), "there is no profile %s", wanted.ptr);
		return;
	}
	if (alg->protocol != NULL && profile->protocol != NULL && strcmp(profile->protocol, alg->protocol) != 0)
		config_report(b, "make one for this protocol", "profile %s is for %s", profile->name, profile->protocol);
	alg->policy = profile->policy;
}

static void build_limits(const json_t *object, struct alg_conf *alg)
{
	alg->max_sessions = config_number(object, "max_sessions");
	alg->max_sessions_per_client = config_number(object, "max_sessions_per_client");
	if (alg->max_sessions_per_client > alg->max_sessions)
		alg->max_sessions_per_client = alg->max_sessions;
	alg->sessions_per_s = config_number(object, "sessions_per_s");
	alg->sessions_per_s_per_client = config_number(object, "sessions_per_s_per_client");
	alg->idle_ms = config_ms(object, "idle");
}

static void build_alg(struct config_build *b, const char *name, const json_t *object)
{
	struct alg_conf *alg = &b->config->algs[b->config->n_algs];
	const struct config_protocol *protocol = config_protocol(config_text(object, "protocol"));
	const json_t *active = json_object_get(object, "active");

	alg->index = alg->capture = b->config->n_algs++;
	alg->name = config_keep(b, span_of(name));
	alg->protocol = config_string(b, object, "protocol");
	if (alg->name == NULL || !json_is_object(object))
		return;
	config_at(b, "/algs/%s/realm", name);
	alg->realm = config_find_realm(b, object, "realm");
	config_at(b, "/algs/%s/to", name);
	alg->to = config_find_realm(b, object, "to");
	alg->mode = mode_in(object);
	config_build_alg_tls(b, object, protocol, alg);
	build_ports(b, json_object_get(object, "ports"), protocol, alg);
	build_servers(json_object_get(object, "servers"), alg);
	build_server(config_text(object, "server"), protocol, alg);
	build_profile(b, object, alg);
	alg->is_server_passive = config_is_text(object, "server_data", "passive");
	alg->data = config_is_text(object, "data", "relay") ? CONFIG_ALG_DATA_RELAY : CONFIG_ALG_DATA_KERNEL;
	build_limits(object, alg);
	check_far_end(b, alg, object);
	if (protocol == NULL)
		return;
	check_abilities(b, alg, protocol, object);
	if (active != NULL)
		alg->may_be_active = json_is_true(active);
	else
		alg->may_be_active = protocol->has_active && alg->realm != NULL && alg->realm->trust == TRUST_TRUSTED;
}

void config_build_algs(struct config_build *b, json_t *algs)
{
	size_t n = json_object_size(algs);
	const char *name;
	json_t *object;

	if (n > CONFIG_ALGS_MAX)
		n = CONFIG_ALGS_MAX; /* reported by the schema */
	b->config->algs = arena_alloc(b->arena, n * sizeof(*b->config->algs));
	if (b->config->algs == NULL)
		return;
	json_object_foreach(algs, name, object)
		if (b->config->n_algs < n)
			build_alg(b, name, object);
}
