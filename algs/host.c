/* The ALG host: makes listeners and own ports of the configuration, counts sessions in and out, keeps the recent past, sweeps once
 * a second. Sessions do the rest. Control thread. */
#include "algs/host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "algs/engine.h"
#include "algs/host_metrics.h"
#include "algs/listener.h"
#include "algs/resume.h"
#include "algs/session.h"
#include "core/err.h"
#include "core/log.h"

/* ---- own addresses and ports ------------------------------------------------------------------------------------------------- */

struct tcp_ports *engine_pool(const struct alg_host_engine *engine, const struct realm_conf *realm, const struct addr *ip)
{
	for (unsigned i = 0; i < engine->n_pools; i++)
		if (engine->pools[i].realm == realm->index && addr_eq_ip(tcp_ports_address(engine->pools[i].ports), ip))
			return engine->pools[i].ports;
	return NULL;
}

const struct addr *engine_own_address(const struct realm_conf *realm, uint8_t family)
{
	for (unsigned i = 0; i < realm->n_addresses; i++)
		if (realm->addresses[i].family == family)
			return &realm->addresses[i];
	return NULL;
}

static int add_pools(struct alg_host_engine *h, const struct realm_conf *realm)
{
	for (unsigned i = 0; i < realm->n_addresses; i++) {
		const struct tcp_ports_conf conf = { .address = realm->addresses[i], .port_min = realm->media_port_min,
						     .port_max = realm->media_port_max,
						     .quarantine_ms = h->config->limits.port_quarantine_ms };
		struct engine_pool *pool = &h->pools[h->n_pools];
		int err;

		if (engine_pool(h, realm, &realm->addresses[i]) != NULL)
			continue;
		err = tcp_ports_new(&conf, &pool->ports);
		if (err < 0)
			return err;
		pool->realm = realm->index;
		h->n_pools++;
	}
	return 0;
}

static int make_pools(struct alg_host_engine *h)
{
	unsigned n = 0;
	int err = 0;

	for (unsigned i = 0; i < h->config->n_realms; i++)
		n += h->config->realms[i].n_addresses;
	h->pools = calloc(n + 1, sizeof(*h->pools));
	if (h->pools == NULL)
		return -ENOMEM;
	for (unsigned i = 0; err == 0 && i < h->config->n_algs; i++) {
		err = add_pools(h, h->config->algs[i].realm);
		if (err == 0)
			err = add_pools(h, h->config->algs[i].to);
	}
	return err;
}

/* ---- who may ----------------------------------------------------------------------------------------------------------------- */

static struct span ip_of(const struct addr *ip)
{
	return (struct span){ (const char *)ip->ip, sizeof(ip->ip) };
}

static bool is_client(const struct hash_node *node, const void *key)
{
	return addr_eq_ip(&HASH_ENTRY(node, struct engine_client, node)->ip, key);
}

/* The client's own rate first: what it is refused does not count against others. */
static bool is_too_fast(struct alg_host_engine *h, struct engine_alg *alg, uint64_t client_hash)
{
	uint64_t now_ms = loop_now_ms(h->loop);

	if (alg->client_rates != NULL && !limit_table_take(alg->client_rates, client_hash, now_ms))
		return true;
	return !limit_take(&alg->rate, now_ms);
}

int engine_admit(struct alg_host_engine *h, struct engine_alg *alg, const struct addr *client, struct engine_client **ret)
{
	uint64_t hash = hash_bytes(ip_of(client));
	struct hash_node *node = hash_table_find(alg->clients, hash, is_client, client);
	struct engine_client *c = node != NULL ? HASH_ENTRY(node, struct engine_client, node) : NULL;

	if (h->n_live >= ENGINE_SESSIONS_MAX || alg->sessions >= alg->conf->max_sessions ||
	    (c != NULL && c->sessions >= alg->conf->max_sessions_per_client))
		return ERR_LIMIT;
	if (is_too_fast(h, alg, hash))
		return -EAGAIN;
	if (c == NULL) {
		c = calloc(1, sizeof(*c));
		if (c == NULL)
			return ERR_LIMIT;
		c->alg = alg;
		c->ip = *client;
		if (hash_table_add(alg->clients, &c->node, hash) != 0) {
			free(c);
			return ERR_LIMIT;
		}
	}
	c->sessions++;
	alg->sessions++;
	*ret = c;
	return 0;
}

void engine_dismiss(struct engine_client *c)
{
	c->alg->sessions--;
	if (--c->sessions > 0)
		return;
	hash_table_remove(c->alg->clients, &c->node);
	free(c);
}

void engine_say_drained(struct alg_host_engine *h)
{
	void (*drained)(void *arg) = h->drained;

	if (h->n_live + h->n_resumed > 0 || drained == NULL)
		return;
	h->drained = NULL; /* said once */
	drained(h->drained_arg);
}

void engine_retire(struct alg_host_engine *h, struct session *s)
{
	if (s->client != NULL)
		engine_dismiss(s->client);
	s->client = NULL;
	s->listener->n_sessions--;
	list_remove(&s->node);
	h->n_live--;
	list_append(&h->history, &s->node);
	if (h->n_history < ENGINE_HISTORY_MAX)
		h->n_history++;
	else
		session_free(LIST_ENTRY(h->history.next, struct session, node));
	engine_say_drained(h);
}

/* ---- once a second ----------------------------------------------------------------------------------------------------------- */

static void on_sweep(struct loop_timer *timer, void *arg)
{
	struct alg_host_engine *h = arg;
	uint64_t now_ms = loop_now_ms(h->loop);

	loop_timer_start(timer, ENGINE_SWEEP_MS);
	LIST_EACH(&h->live, node)
		session_sweep(LIST_ENTRY(node, struct session, node), now_ms);
	resume_sweep(h, now_ms);
	h->stats.sessions = h->n_live;
	h->stats.holes = h->n_holes;
	host_metrics_sweep(h);
}

static void on_pinholes_change(void *arg)
{
	struct alg_host_engine *h = arg;
	struct pinhole_ability abilities[CONFIG_REALMS_MAX * PINHOLE_PATHS];
	unsigned n = pinholes_abilities(h->deps.pinholes, abilities, sizeof(abilities) / sizeof(abilities[0]));

	memset(h->can_kernel, 0, sizeof(h->can_kernel));
	for (unsigned i = 0; i < n; i++)
		if (abilities[i].path == PINHOLE_NFT && abilities[i].is_usable && abilities[i].realm < CONFIG_REALMS_MAX)
			h->can_kernel[abilities[i].realm] = true;
}

/* ---- life -------------------------------------------------------------------------------------------------------------------- */

static int make_rates(const struct alg_host_engine *h, struct engine_alg *alg)
{
	const struct alg_conf *conf = alg->conf;

	limit_init(&alg->rate, conf->sessions_per_s, conf->sessions_per_s, loop_now_ms(h->loop));
	if (conf->sessions_per_s_per_client > 0)
		alg->client_rates = limit_table_new(ENGINE_RATE_SLOTS, conf->sessions_per_s_per_client, conf->sessions_per_s_per_client);
	return conf->sessions_per_s_per_client > 0 && alg->client_rates == NULL ? -ENOMEM : 0;
}

static int make_algs(struct alg_host_engine *h, char *text, size_t size)
{
	const struct config *config = h->config;
	int err;

	h->algs = calloc(config->n_algs + 1, sizeof(*h->algs));
	if (h->algs == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < config->n_algs; i++) {
		struct engine_alg *alg = &h->algs[i];

		alg->conf = &config->algs[i];
		alg->module = alg_registry_find(span_of(alg->conf->protocol));
		if (alg->module == NULL) {
			snprintf(text, size, "algs/%s: the protocol \"%s\" is not built in", alg->conf->name, alg->conf->protocol);
			return ERR_UNSUPPORTED;
		}
		alg->clients = hash_table_new(alg->conf->max_sessions);
		if (alg->clients == NULL)
			return -ENOMEM;
		err = engine_tls_make(alg->conf, h->loop, alg->tls, text, size);
		if (err < 0)
			return err;
		err = make_rates(h, alg);
		if (err < 0)
			return err;
	}
	return 0;
}

/* A session with itself would have another one with itself, and so on. */
static bool is_own_listener(const struct alg_host_engine *h, const struct alg_conf *conf)
{
	for (unsigned i = 0; i < h->n_listeners; i++)
		if (addr_eq(&h->listeners[i].at, &conf->server))
			return true;
	return false;
}

static int make_listeners(struct alg_host_engine *h, char *text, size_t size)
{
	unsigned n = 0;

	for (unsigned i = 0; i < h->config->n_algs; i++)
		n += listener_plan(h, &h->algs[i], NULL);
	h->listeners = calloc(n + 1, sizeof(*h->listeners));
	if (h->listeners == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < h->config->n_algs; i++)
		h->n_listeners += listener_plan(h, &h->algs[i], &h->listeners[h->n_listeners]);
	for (unsigned i = 0; i < h->config->n_algs; i++) {
		const struct alg_conf *conf = &h->config->algs[i];

		if (conf->mode != CONFIG_ALG_EXPLICIT || !is_own_listener(h, conf))
			continue;
		snprintf(text, size, "algs/%s: its server is the gateway itself", conf->name);
		h->n_listeners = 0;
		return ERR_CONFIG;
	}
	for (unsigned i = 0; i < h->n_listeners; i++) {
		struct listener *l = &h->listeners[i];

		if (l->alg->module->is_datagram && (l->datagrams = hash_table_new(l->alg->conf->max_sessions)) == NULL)
			return -ENOMEM;
		listener_begin(l);
	}
	return 0;
}

int alg_host_new(const struct alg_host_deps *deps, char *error_text, size_t error_size, struct alg_host_engine **ret)
{
	struct alg_host_engine *h = calloc(1, sizeof(*h));
	int err;

	if (h == NULL)
		return -ENOMEM;
	h->deps = *deps;
	h->loop = deps->loop;
	h->config = config_ref(deps->config);
	list_init(&h->live);
	list_init(&h->history);
	list_init(&h->resumed);
	list_init(&h->leavers);
	loop_timer_init(&h->sweep, h->loop, on_sweep, h);
	h->by_id = hash_table_new(ENGINE_SESSIONS_MAX + ENGINE_HISTORY_MAX);
	err = h->by_id != NULL ? make_algs(h, error_text, error_size) : -ENOMEM;
	if (err == 0)
		err = make_pools(h);
	if (err == 0 && deps->pinholes != NULL) {
		pinholes_on_change(deps->pinholes, on_pinholes_change, h);
		on_pinholes_change(h);
	}
	if (err == 0) {
		host_metrics_register(h);
		err = make_listeners(h, error_text, error_size);
	}
	if (err < 0) {
		if (error_text[0] == '\0')
			snprintf(error_text, error_size, "algs: %s", err_str(err));
		alg_host_free(h);
		return err;
	}
	loop_timer_start(&h->sweep, ENGINE_SWEEP_MS);
	*ret = h;
	return 0;
}

void alg_host_free(struct alg_host_engine *h)
{
	if (h == NULL)
		return;
	h->drained = NULL;
	h->is_draining = true;
	loop_timer_stop(&h->sweep);
	for (unsigned i = 0; i < h->n_listeners; i++)
		listener_close(&h->listeners[i]);
	LIST_EACH(&h->live, node)
		session_step_event(LIST_ENTRY(node, struct session, node), SESSION_STOP, "the gateway ends");
	resume_end(h);
	data_leavers_free(&h->leavers);
	LIST_EACH(&h->history, node)
		session_free(LIST_ENTRY(node, struct session, node));
	for (unsigned i = 0; i < h->n_listeners; i++)
		hash_table_free(h->listeners[i].datagrams);
	for (unsigned i = 0; i < h->n_pools; i++)
		tcp_ports_free(h->pools[i].ports);
	for (unsigned i = 0; h->algs != NULL && i < h->config->n_algs; i++) {
		engine_tls_drop(h->algs[i].tls);
		hash_table_free(h->algs[i].clients);
		limit_table_free(h->algs[i].client_rates);
	}
	hash_table_free(h->by_id);
	free(h->pools);
	free(h->listeners);
	free(h->algs);
	config_unref(h->config);
	free(h);
}

void alg_host_drain(struct alg_host_engine *h, void (*done)(void *arg), void *arg)
{
	h->is_draining = h->stats.is_draining = true;
	for (unsigned i = 0; i < h->n_listeners; i++)
		listener_close(&h->listeners[i]);
	/* A control channel without data has nothing to finish, and might stay for hours. */
	LIST_EACH(&h->live, node) {
		struct session *s = LIST_ENTRY(node, struct session, node);

		if (!session_has_data(s))
			session_step_event(s, SESSION_STOP, "the gateway ends");
	}
	h->drained = done;
	h->drained_arg = arg;
	engine_say_drained(h);
}
