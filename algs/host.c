/* The ALG host: counts sessions in and out, keeps the recent past, sweeps once a second. What a configuration makes of it is in
 * host_plan.c; sessions do the rest. Control thread. */
#include "algs/host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "algs/engine.h"
#include "algs/host_metrics.h"
#include "algs/listener.h"
#include "algs/resume.h"
#include "algs/session.h"
#include "core/conf.h"
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

/* Room for all there are; each is made when an ALG needs it. */
static int make_pools(struct alg_host_engine *h)
{
	unsigned n = 0;

	for (unsigned i = 0; i < h->config->n_realms; i++)
		n += h->config->realms[i].n_addresses;
	h->pools = calloc(n + 1, sizeof(*h->pools));
	return h->pools != NULL ? 0 : -ENOMEM;
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

	if (h->n_live >= ENGINE_SESSIONS_MAX || alg->sessions >= alg->setup->conf->max_sessions ||
	    (c != NULL && c->sessions >= alg->setup->conf->max_sessions_per_client))
		return ERR_LIMIT;
	if (is_too_fast(h, alg, hash))
		return -EAGAIN;
	if (c == NULL) {
		c = calloc(1, sizeof(*c));
		if (c == NULL)
			return ERR_LIMIT;
		c->alg = alg;
		c->ip = *client;
		list_init(&c->list);
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
	struct engine_alg *alg = c->alg;

	alg->sessions--;
	if (--c->sessions > 0)
		return;
	hash_table_remove(alg->clients, &c->node);
	free(c);
	engine_alg_drop(alg);
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
	list_remove(&s->of_client);
	if (s->client != NULL)
		engine_dismiss(s->client);
	s->client = NULL;
	listener_left(s->listener);
	s->listener = NULL;
	alg_setup_unref(s->setup); /* which would keep a whole configuration */
	s->setup = NULL;
	s->conf = NULL;
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

static int make_all(struct alg_host_engine *h, char *error_text, size_t error_size)
{
	struct conf_errors errors = { 0 };
	struct alg_setups *setups = NULL;
	int err = make_pools(h);

	if (err == 0)
		err = alg_setups_new(h->config, h->loop, &errors, &setups);
	if (err == 0)
		err = engine_put_in_force(h, setups, true, &errors);
	if (err < 0)
		snprintf(error_text, error_size, "%s: %s", errors.n > 0 ? errors.items[0].pointer : "algs",
			 errors.n > 0 ? errors.items[0].text : err_str(err));
	conf_errors_free(&errors);
	return err;
}

int alg_host_new(const struct alg_host_deps *deps, char *error_text, size_t error_size, struct alg_host_engine **ret)
{
	struct alg_host_engine *h = calloc(1, sizeof(*h));
	int err;

	if (h == NULL)
		return -ENOMEM;
	h->deps = *deps;
	h->loop = deps->loop;
	h->deps.config = config_ref(deps->config);
	h->config = config_ref(deps->config);
	list_init(&h->algs);
	list_init(&h->listeners);
	list_init(&h->live);
	list_init(&h->history);
	list_init(&h->resumed);
	list_init(&h->leavers);
	loop_timer_init(&h->sweep, h->loop, on_sweep, h);
	h->by_id = hash_table_new(ENGINE_SESSIONS_MAX + ENGINE_HISTORY_MAX);
	h->by_name = hash_table_new(ENGINE_NAMES_MAX);
	host_metrics_register();
	if (deps->pinholes != NULL) {
		pinholes_on_change(deps->pinholes, on_pinholes_change, h);
		on_pinholes_change(h);
	}
	err = h->by_id != NULL && h->by_name != NULL ? make_all(h, error_text, error_size) : -ENOMEM;
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

int alg_host_reload(struct alg_host_engine *h, struct alg_setups *setups_take, struct conf_errors *errors)
{
	if (!h->is_draining)
		return engine_put_in_force(h, setups_take, false, errors);
	alg_setups_free(setups_take);
	conf_errors_add(errors, "", 0, 0, NULL, "the gateway is ending");
	return ERR_STATE;
}

static void close_listeners(struct alg_host_engine *h)
{
	LIST_EACH(&h->listeners, node)
		listener_close(LIST_ENTRY(node, struct listener, node));
}

void alg_host_free(struct alg_host_engine *h)
{
	if (h == NULL)
		return;
	h->drained = NULL;
	h->is_draining = true;
	loop_timer_stop(&h->sweep);
	close_listeners(h);
	LIST_EACH(&h->live, node)
		session_step_event(LIST_ENTRY(node, struct session, node), SESSION_STOP, "the gateway ends");
	resume_end(h);
	data_leavers_free(&h->leavers);
	LIST_EACH(&h->history, node)
		session_free(LIST_ENTRY(node, struct session, node));
	LIST_EACH(&h->listeners, node)
		listener_free(LIST_ENTRY(node, struct listener, node));
	LIST_EACH(&h->algs, node)
		engine_alg_free(LIST_ENTRY(node, struct engine_alg, node));
	for (unsigned i = 0; i < h->n_pools; i++)
		tcp_ports_free(h->pools[i].ports);
	hash_table_free(h->by_id);
	hash_table_free(h->by_name);
	free(h->pools);
	config_unref(h->config);
	config_unref(h->deps.config);
	free(h);
}

void alg_host_drain(struct alg_host_engine *h, void (*done)(void *arg), void *arg)
{
	h->is_draining = h->stats.is_draining = true;
	close_listeners(h);
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
