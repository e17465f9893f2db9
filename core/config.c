/* Configuration snapshots, see core/config.h: YAML text, checked by the schema, becomes struct config.
 *
 * The builder runs even when the schema found faults, so that one run reports everything: it takes what is well
 * formed, keeps the place of what is not, and the result is thrown away. Strings and tables live in an arena that goes
 * with the snapshot. */
#include "core/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/config_build.h"
#include "core/err.h"
#include "core/policy.h"
#include "core/yaml.h"

enum { FILE_MAX = 4 << 20, ARENA_MAX = 64 << 20 };

/* A target address of a peer; sorted, for config_peer_of(). */
struct source {
	unsigned realm;
	struct addr addr; /* port 0 */
	const struct peer_conf *peer;
};

struct snapshot {
	struct config config; /* first: what others see */
	atomic_uint refs;
	struct arena *arena;
	json_t *tree; /* what it was made of */
	struct source *sources;
	unsigned n_sources;
};

/* Realms */

static void add_listen(struct config_build *b, struct realm_conf *realm, const struct realm_listen *listen)
{
	char text[ADDR_TEXT_MAX];

	for (unsigned i = 0; i < realm->n_listens; i++) {
		if (!addr_eq(&realm->listens[i].addr, &listen->addr))
			continue;
		config_report(b, "remove one of the two", "listens on %s twice", addr_text(&listen->addr, text));
		return;
	}
	if (realm->n_listens < sizeof(realm->listens) / sizeof(realm->listens[0]))
		realm->listens[realm->n_listens++] = *listen;
	else
		config_report(b, NULL, "more than %zu listeners in one realm",
			      sizeof(realm->listens) / sizeof(realm->listens[0]));
}

static void add_listen_everywhere(struct config_build *b, struct realm_conf *realm, struct realm_listen listen)
{
	uint16_t port = listen.addr.port;

	for (unsigned i = 0; i < realm->n_addresses; i++) {
		bool is_repeated = false;

		for (unsigned j = 0; j < i; j++)
			is_repeated = is_repeated || addr_eq_ip(&realm->addresses[i], &realm->addresses[j]);
		if (!addr_is_set(&realm->addresses[i]) || is_repeated)
			continue;
		listen.addr = realm->addresses[i];
		listen.addr.port = port;
		add_listen(b, realm, &listen);
	}
}

static void build_listens(struct config_build *b, struct realm_conf *realm, const json_t *list)
{
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *value = json_array_get(list, i);
		const struct span spec = { json_string_value(value), json_string_length(value) };
		struct realm_listen listen;

		if (spec.ptr == NULL || config_listen_parse(spec, &listen) < 0)
			continue;
		config_at(b, "/realms/%s/sip/%zu", realm->name, i);
		if (!addr_is_set(&listen.addr))
			add_listen_everywhere(b, realm, listen);
		else if (config_realm_has(realm, &listen.addr))
			add_listen(b, realm, &listen);
		else
			config_report(b, "add it to addresses", "%s is not an address of this realm",
				      addr_ip_text(&listen.addr, text));
	}
}

static void build_addresses(struct realm_conf *realm, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list) && i < CONFIG_REALM_ADDRESSES_MAX; i++) {
		const json_t *value = json_array_get(list, i);
		const struct span text = { json_string_value(value), json_string_length(value) };

		if (text.ptr != NULL)
			(void)addr_parse_ip(text, &realm->addresses[i]); /* else: family 0 keeps the place */
		realm->n_addresses++;
	}
}

static void build_realm(struct config_build *b, const char *name, const json_t *object)
{
	struct config *config = b->config;
	struct realm_conf *realm = &config->realms[config->n_realms];
	const json_t *dscp = json_object_get(object, "dscp");

	realm->index = config->n_realms++;
	realm->name = config_keep(b, span_of(name));
	realm->interface = config_string(b, object, "interface");
	if (realm->name == NULL)
		return;
	build_addresses(realm, json_object_get(object, "addresses"));
	build_listens(b, realm, json_object_get(object, "sip"));
	(void)config_ports_parse(config_text(object, "media_ports"), &realm->media_port_min, &realm->media_port_max);
	realm->trust = config_is_text(object, "trust", "trusted") ? TRUST_TRUSTED : TRUST_UNTRUSTED;
	realm->nat = config_is_text(object, "nat", "latch") ? NAT_LATCH : NAT_OFF;
	realm->dscp_sip = (uint8_t)config_number(dscp, "sip");
	realm->dscp_media = (uint8_t)config_number(dscp, "media");
	realm->pass_unknown_headers = json_is_true(json_object_get(object, "pass_unknown_headers"));
	realm->max_calls = config_number(object, "max_calls");
	realm->cps = config_number(object, "cps");
	realm->media_timeout_s = config_ms(object, "media_timeout") / 1000;
	realm->latch_window_ms = config_ms(object, "latch_window");
}

/* Peers */

static void add_target(struct config_build *b, struct peer_conf *peer, const json_t *value)
{
	const struct span uri = { json_string_value(value), json_string_length(value) };
	struct peer_target *target;

	if (peer->n_targets == CONFIG_PEER_TARGETS_MAX)
		return; /* reported by the schema */
	target = &peer->targets[peer->n_targets++];
	target->uri = config_keep(b, uri);
	if (uri.ptr != NULL && config_uri_parse(uri, &target->addr) < 0)
		target->addr = (struct addr){ 0 };
}

static void build_peer(struct config_build *b, const char *name, const json_t *object)
{
	struct peer_conf *peer = &b->config->peers[b->config->n_peers];
	const json_t *uri = json_object_get(object, "uri");
	const json_t *uris = json_object_get(object, "uris");

	peer->index = b->config->n_peers++;
	peer->name = config_keep(b, span_of(name));
	config_at(b, "/peers/%s/realm", name);
	peer->realm = config_find_realm(b, object, "realm");
	config_at(b, "/peers/%s", name);
	if (uri != NULL && uris != NULL)
		config_report(b, "put all targets into uris", "uri and uris are both given");
	else if (uri == NULL && uris == NULL)
		config_report(b, "write uri: \"sip:address:port\"", "the member uri is missing");
	if (uri != NULL)
		add_target(b, peer, uri);
	for (size_t i = 0; uri == NULL && i < json_array_size(uris); i++)
		add_target(b, peer, json_array_get(uris, i));
}

/* Routes */

static const struct peer_conf *find_peer(struct config_build *b, const json_t *object)
{
	struct span wanted = config_text(object, "to");
	struct conf_nearest nearest = { .wanted = wanted.ptr };
	const struct peer_conf *peer;
	char hint[CONFIG_HINT_MAX];

	if (wanted.ptr == NULL)
		return NULL;
	peer = config_peer(b->config, wanted);
	if (peer != NULL)
		return peer;
	for (unsigned i = 0; i < b->config->n_peers; i++)
		conf_nearest_offer(&nearest, b->config->peers[i].name);
	config_report(b, conf_nearest_hint(&nearest, hint, sizeof(hint)), "there is no peer %s", wanted.ptr);
	return NULL;
}

static void check_route_members(struct config_build *b, const json_t *object)
{
	const bool has_to = json_object_get(object, "to") != NULL;
	const bool has_deny = json_object_get(object, "deny") != NULL;

	if (has_to && has_deny)
		config_report(b, "remove one of the two", "to and deny are both given");
	else if (!has_to && !has_deny)
		config_report(b, "write to: and a peer, or deny: 403", "the member to is missing");
	if (json_object_get(object, "prefix") != NULL && json_object_get(object, "regex") != NULL)
		config_report(b, "remove one of the two", "prefix and regex are both given");
	if (has_deny && !has_to && (json_object_get(object, "add") != NULL || config_number(object, "strip") > 0))
		config_report(b, "remove it", "strip and add have no effect on a refused call");
}

static void build_route(struct config_build *b, const json_t *object)
{
	unsigned index = b->config->n_routes++;
	struct route_conf *route = &b->config->routes[index];

	route->index = index;
	route->name = config_string(b, object, "name");
	if (route->name == NULL)
		route->name = arena_printf(b->arena, "route-%u", index + 1);
	config_at(b, "/routes/%u", index);
	if (json_is_object(object))
		check_route_members(b, object);
	config_at(b, "/routes/%u/from", index);
	route->from = config_find_realm(b, object, "from");
	config_at(b, "/routes/%u/to", index);
	route->to = find_peer(b, object);
	route->prefix = config_string(b, object, "prefix");
	route->regex = config_string(b, object, "regex");
	route->add = config_string(b, object, "add");
	route->strip = config_number(object, "strip");
	route->code = config_number(object, "deny");
}

/* The rest */

static void build_api(struct config_build *b, const json_t *api)
{
	struct config *config = b->config;
	struct span listen = config_text(api, "listen");

	if (listen.ptr != NULL)
		(void)addr_parse(listen, &config->api.listen);
	config->api.socket = config_string(b, api, "socket");
	config->api.token_file = config_string(b, api, "token_file");
	config->api.connections = config_number(api, "connections");
	config->api.timeout_s = config_ms(api, "timeout") / 1000;
	b->is_insecure_remote = json_is_true(json_object_get(api, "insecure_remote"));
}

static void build_media(struct config_build *b, const json_t *media)
{
	struct config *config = b->config;
	const json_t *paths = json_object_get(media, "paths");

	for (size_t i = 0; i < json_array_size(paths) && i < CONFIG_PATHS; i++) {
		const json_t *value = json_array_get(paths, i);
		const struct span text = { json_string_value(value), json_string_length(value) };

		if (text.ptr != NULL && config_path_parse(text, &config->media.paths[config->media.n_paths]) == 0)
			config->media.n_paths++;
		else
			b->has_bad_path = true; /* reported by the schema */
	}
	config->media.needs_kernel = config->media.n_paths > 0 &&
				     config->media.paths[config->media.n_paths - 1] != CONFIG_PATH_RELAY;
	config->media.is_firewall_closed = config_is_text(media, "firewall", "closed");
	config->media.state_dir = config_string(b, media, "state_dir");
	config->media.lifetime_s = config_ms(media, "lifetime") / 1000;
}

static void build_scalars(struct config_build *b, const json_t *root)
{
	struct config *config = b->config;
	const json_t *sip = json_object_get(root, "sip");
	const json_t *limits = json_object_get(root, "limits");
	const json_t *log = json_object_get(root, "log");

	config->node = config_string(b, root, "node");
	config->database = config_string(b, root, "database");
	build_api(b, json_object_get(root, "api"));
	build_media(b, json_object_get(root, "media"));
	config->sip.t1_ms = config_ms(sip, "t1");
	config->sip.t2_ms = config_ms(sip, "t2");
	config->sip.t4_ms = config_ms(sip, "t4");
	config->sip.ring_timeout_ms = config_ms(sip, "ring_timeout");
	config->sip.max_call_s = config_ms(sip, "max_call") / 1000;
	config->limits.max_calls = config_number(limits, "max_calls");
	config->limits.max_transactions = config_number(limits, "max_transactions");
	config->limits.relay_threads = config_number(limits, "relay_threads");
	config->limits.port_quarantine_ms = config_ms(limits, "port_quarantine");
	config->limits.trace_bytes = config_number(limits, "trace_bytes");
	config->limits.sip_replies_per_s = config_number(limits, "sip_replies_per_s");
	config->log.level = config_string(b, log, "level");
	config->log.json = config_is_text(log, "format", "json");
}

static size_t at_most(size_t n, size_t max)
{
	return n < max ? n : max;
}

static void build_tables(struct config_build *b, json_t *root)
{
	struct config *config = b->config;
	json_t *peers = json_object_get(root, "peers");
	const json_t *routes = json_object_get(root, "routes");
	size_t n_peers = at_most(json_object_size(peers), CONFIG_PEERS_MAX);
	size_t n_routes = at_most(json_array_size(routes), CONFIG_ROUTES_MAX);
	const char *name;
	json_t *object;

	config->peers = arena_alloc(b->arena, (n_peers + 1) * sizeof(*config->peers));
	config->routes = arena_alloc(b->arena, (n_routes + 1) * sizeof(*config->routes));
	if (config->peers == NULL || config->routes == NULL)
		return;
	json_object_foreach(json_object_get(root, "realms"), name, object)
		if (config->n_realms < CONFIG_REALMS_MAX)
			build_realm(b, name, object);
	json_object_foreach(peers, name, object)
		if (config->n_peers < n_peers)
			build_peer(b, name, object);
	for (size_t i = 0; i < n_routes; i++)
		build_route(b, json_array_get(routes, i));
	config_build_profiles(b, json_object_get(root, "profiles"));
	config_build_algs(b, json_object_get(root, "algs"));
}

/* Sources of calls */

static int compare_sources(const void *left, const void *right)
{
	const struct source *a = left, *b = right;
	int diff;

	if (a->realm != b->realm)
		return a->realm < b->realm ? -1 : 1;
	if (a->addr.family != b->addr.family)
		return a->addr.family < b->addr.family ? -1 : 1;
	diff = memcmp(a->addr.ip, b->addr.ip, sizeof(a->addr.ip));
	if (diff != 0 || a->peer == b->peer || a->peer == NULL || b->peer == NULL)
		return diff;
	return a->peer->index < b->peer->index ? -1 : 1;
}

static void build_sources(struct snapshot *s)
{
	const struct config *config = &s->config;
	unsigned n = 0;

	for (unsigned i = 0; i < config->n_peers; i++)
		n += config->peers[i].n_targets;
	s->sources = arena_alloc(s->arena, (n + 1) * sizeof(*s->sources));
	if (s->sources == NULL)
		return;
	for (unsigned i = 0; i < config->n_peers; i++) {
		const struct peer_conf *peer = &config->peers[i];

		for (unsigned j = 0; j < peer->n_targets; j++) {
			struct source *source = &s->sources[s->n_sources++];

			*source = (struct source){ peer->realm->index, peer->targets[j].addr, peer };
			source->addr.port = 0;
		}
	}
	qsort(s->sources, s->n_sources, sizeof(*s->sources), compare_sources);
}

const struct peer_conf *config_peer_of(const struct config *config, const struct realm_conf *realm,
				       const struct addr *source)
{
	const struct snapshot *s = (const struct snapshot *)config;
	const struct source wanted = { realm->index, *source, NULL };
	unsigned low = 0, high = s->n_sources;

	while (low < high) { /* the first that is not less than wanted */
		unsigned middle = low + (high - low) / 2;

		if (compare_sources(&s->sources[middle], &wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == s->n_sources || compare_sources(&s->sources[low], &wanted) != 0)
		return NULL;
	return s->sources[low].peer;
}

const struct realm_conf *config_realm(const struct config *config, struct span name)
{
	for (unsigned i = 0; i < config->n_realms; i++)
		if (span_eq(span_of(config->realms[i].name), name))
			return &config->realms[i];
	return NULL;
}

const struct peer_conf *config_peer(const struct config *config, struct span name)
{
	for (unsigned i = 0; i < config->n_peers; i++)
		if (span_eq(span_of(config->peers[i].name), name))
			return &config->peers[i];
	return NULL;
}

/* Life of a snapshot */

static void snapshot_free(struct snapshot *s)
{
	if (s == NULL)
		return;
	for (unsigned i = 0; i < s->config.n_profiles; i++)
		policy_free(s->config.profiles[i].policy);
	json_decref(s->tree);
	arena_free(s->arena);
	free(s);
}

const json_t *config_tree(const struct config *config)
{
	return ((const struct snapshot *)config)->tree;
}

static struct snapshot *snapshot_new(void)
{
	struct snapshot *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	atomic_init(&s->refs, 1);
	s->arena = arena_new(ARENA_MAX);
	if (s->arena == NULL) {
		free(s);
		return NULL;
	}
	return s;
}

static int build(struct snapshot *s, const struct yaml_doc *doc, const struct config_before *before, struct conf_errors *errors)
{
	static atomic_uint revisions;
	struct config_build b = { .config = &s->config, .arena = s->arena, .doc = doc, .errors = errors };
	int err = conf_check(config_schema(), yaml_root(doc), doc, errors);

	s->tree = json_incref(yaml_root(doc));
	build_tables(&b, yaml_root(doc));
	build_scalars(&b, yaml_root(doc));
	if (arena_is_exhausted(s->arena) || b.is_out_of_memory) {
		conf_errors_add(errors, "", 0, 0, NULL, "out of memory");
		return -ENOMEM;
	}
	if (before != NULL && err == 0 && !b.is_bad)
		config_check_change(&b, before); /* also says where what is taken over arrives */
	config_check(&b);
	conf_errors_sort(errors);
	if (err < 0 || b.is_bad)
		return ERR_CONFIG;
	if (b.is_out_of_memory) /* while it was checked */
		return -ENOMEM;
	build_sources(s);
	if (arena_is_exhausted(s->arena))
		return -ENOMEM;
	s->config.revision = before != NULL ? before->running->revision + 1 : atomic_fetch_add(&revisions, 1) + 1;
	if (before != NULL)
		config_keep_counts(&s->config, before->running);
	return 0;
}

int config_parse_next(struct span yaml, const char *name, const struct config_before *before, struct conf_errors *errors,
		      const struct config **ret)
{
	struct yaml_doc *doc = NULL;
	struct snapshot *s = NULL;
	int err = yaml_parse(yaml, name, errors, &doc);

	if (err < 0)
		return err;
	s = snapshot_new();
	err = s != NULL ? build(s, doc, before, errors) : -ENOMEM;
	yaml_free(doc);
	if (err < 0) {
		snapshot_free(s);
		return err;
	}
	*ret = &s->config;
	return 0;
}

int config_parse(struct span yaml, const char *name, struct conf_errors *errors, const struct config **ret)
{
	return config_parse_next(yaml, name, NULL, errors, ret);
}

/* Reads a whole regular file of at most FILE_MAX bytes into malloc'd memory. */
static int read_file(int fd, char **ret_text, size_t *ret_len)
{
	struct stat st;
	char *text;
	size_t len = 0;
	ssize_t n = 1;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if (st.st_size > FILE_MAX)
		return -EFBIG;
	text = malloc((size_t)st.st_size + 1);
	if (text == NULL)
		return -ENOMEM;
	while (n > 0 && len < (size_t)st.st_size) {
		n = read(fd, text + len, (size_t)st.st_size - len);
		if (n > 0)
			len += (size_t)n;
		else if (n < 0 && errno == EINTR)
			n = 1;
	}
	if (n < 0) {
		int err = -errno;

		free(text);
		return err;
	}
	*ret_text = text;
	*ret_len = len;
	return 0;
}

int config_load_next(const char *path, const struct config_before *before, struct conf_errors *errors, const struct config **ret)
{
	char *text = NULL;
	size_t len = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int err = fd < 0 ? -errno : read_file(fd, &text, &len);

	if (fd >= 0)
		close(fd);
	if (errors->file == NULL)
		errors->file = path;
	if (err < 0) {
		conf_errors_add(errors, "", 0, 0, err == -EACCES ? "the gateway's account has to be able to read it" : NULL,
				"cannot be read: %s", strerror(-err));
		return err;
	}
	err = config_parse_next((struct span){ text, len }, path, before, errors, ret);
	free(text);
	return err;
}

int config_load(const char *path, struct conf_errors *errors, const struct config **ret)
{
	return config_load_next(path, NULL, errors, ret);
}

const struct config *config_ref(const struct config *config)
{
	atomic_fetch_add_explicit(&((struct snapshot *)config)->refs, 1, memory_order_relaxed);
	return config;
}

void config_unref(const struct config *config)
{
	struct snapshot *s = (struct snapshot *)config;

	if (s != NULL && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
		snapshot_free(s);
}
