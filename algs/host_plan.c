/* A configuration of ALGs is put in force: at the start, and over the one before it. Everything that can fail is done first, with
 * nothing changed that anybody could see; then the new takes the place of the old at once.
 *
 * A listener whose place stays keeps its socket, and what waits in it. One that has lost its place is closed; it goes when its last
 * session does. An ALG is the same as long as its name is: its sessions count against the limits in force, whatever configuration
 * they began with. Control thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "algs/engine.h"
#include "algs/host_metrics.h"
#include "algs/listener.h"
#include "core/conf.h"
#include "core/err.h"
#include "core/log.h"

/* ---- ALGs -------------------------------------------------------------------------------------------------------------------- */

struct engine_alg *engine_alg(const struct alg_host_engine *h, const char *name)
{
	LIST_EACH(&h->algs, node) {
		struct engine_alg *alg = LIST_ENTRY(node, struct engine_alg, node);

		if (strcmp(alg->name, name) == 0)
			return alg;
	}
	return NULL;
}

static struct engine_alg *alg_new(struct alg_host_engine *h, const char *name)
{
	struct engine_alg *alg = calloc(1, sizeof(*alg));

	if (alg == NULL)
		return NULL;
	snprintf(alg->name, sizeof(alg->name), "%s", name);
	alg->metric = host_metrics_alg(name);
	alg->clients = hash_table_new(ENGINE_SESSIONS_MAX);
	if (alg->clients == NULL) {
		free(alg);
		return NULL;
	}
	list_append(&h->algs, &alg->node);
	return alg;
}

void engine_alg_free(struct engine_alg *alg)
{
	list_remove(&alg->node);
	alg_setup_unref(alg->setup);
	hash_table_free(alg->clients);
	limit_table_free(alg->client_rates);
	limit_table_free(alg->next_client_rates);
	free(alg);
}

void engine_alg_drop(struct engine_alg *alg)
{
	if (alg->setup == NULL && alg->sessions == 0)
		engine_alg_free(alg);
}

static void drop_unused(struct alg_host_engine *h)
{
	LIST_EACH(&h->algs, node)
		engine_alg_drop(LIST_ENTRY(node, struct engine_alg, node));
}

/* ---- rates of new sessions ---------------------------------------------------------------------------------------------------- */

static int plan_rates(struct engine_alg *alg, const struct alg_conf *conf)
{
	uint32_t rate = conf->sessions_per_s_per_client;

	if (rate == 0)
		return 0;
	alg->next_client_rates = limit_table_new(ENGINE_RATE_SLOTS, rate, rate);
	return alg->next_client_rates == NULL ? -ENOMEM : 0;
}

static void forget_rates(struct engine_alg *alg)
{
	limit_table_free(alg->next_client_rates);
	alg->next_client_rates = NULL;
}

/* Rates that stay as they are begin with what has been used of them. */
static void change_rates(struct engine_alg *alg, const struct alg_conf *old, const struct alg_conf *conf, uint64_t now_ms)
{
	if (old != NULL && old->sessions_per_s == conf->sessions_per_s && old->sessions_per_s_per_client == conf->sessions_per_s_per_client) {
		forget_rates(alg);
		return;
	}
	limit_init(&alg->rate, conf->sessions_per_s, conf->sessions_per_s, now_ms);
	limit_table_free(alg->client_rates);
	alg->client_rates = alg->next_client_rates;
	alg->next_client_rates = NULL;
}

/* ---- own ports --------------------------------------------------------------------------------------------------------------- */

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

/* ---- planning ---------------------------------------------------------------------------------------------------------------- */

static void report(struct conf_errors *errors, const struct alg_conf *conf, const char *member, const char *hint, const char *what)
{
	char pointer[96];

	snprintf(pointer, sizeof(pointer), "/algs/%s%s", conf->name, member);
	conf_errors_add(errors, pointer, 0, 0, hint, "%s", what);
}

static struct listener *find_listener(const struct alg_host_engine *h, const struct addr *at, bool is_datagram)
{
	LIST_EACH(&h->listeners, node) {
		struct listener *l = LIST_ENTRY(node, struct listener, node);

		if (!l->is_retired && l->is_datagram == is_datagram && addr_eq(&l->at, at))
			return l;
	}
	return NULL;
}

static int claim(struct listener *l, const struct alg_conf *conf, struct conf_errors *errors)
{
	char at[ADDR_TEXT_MAX], what[256];
	int err = listener_claim(l);

	if (err == 0)
		return 0;
	snprintf(what, sizeof(what), "cannot listen on %s: %s", addr_text(&l->at, at),
		 err == -EACCES ? "a port below 1024 that was none at the start" : err_str(err));
	report(errors, conf, "/ports", err == -EACCES ? "restart the gateway, or use a port from 1024" : "use another port", what);
	return err;
}

static int plan_place(struct alg_host_engine *h, struct engine_alg *alg, const struct addr *at, bool is_first, struct conf_errors *errors)
{
	struct listener *l = find_listener(h, at, alg->next->module->is_datagram);

	if (l != NULL && l->is_captured == (alg->next->conf->mode != CONFIG_ALG_EXPLICIT)) {
		l->next_alg = alg;
		return 0;
	}
	l = listener_new(h, alg->next, at);
	if (l == NULL)
		return -ENOMEM;
	l->next_alg = alg;
	/* At the start what cannot be opened is tried again until it can; a gateway that runs stays as it is. */
	return is_first || l->is_captured ? 0 : claim(l, alg->next->conf, errors);
}

static int plan_alg(struct alg_host_engine *h, struct alg_setup *setup, bool is_first, struct conf_errors *errors)
{
	struct addr places[LISTENER_PLACES_MAX];
	struct engine_alg *alg = engine_alg(h, setup->conf->name);
	unsigned n = listener_places(setup->conf, places);
	int err;

	if (alg == NULL)
		alg = alg_new(h, setup->conf->name);
	if (alg == NULL)
		return -ENOMEM;
	alg->next = setup;
	err = plan_rates(alg, setup->conf);
	if (err == 0)
		err = add_pools(h, setup->conf->realm);
	if (err == 0)
		err = add_pools(h, setup->conf->to);
	for (unsigned i = 0; i < n && err == 0; i++)
		err = plan_place(h, alg, &places[i], is_first, errors);
	return err;
}

/* A session with itself would have another one with itself, and so on. */
static int check_server(const struct alg_host_engine *h, const struct alg_conf *conf, struct conf_errors *errors)
{
	LIST_EACH(&h->listeners, node) {
		const struct listener *l = LIST_ENTRY(node, struct listener, node);

		if (conf->mode != CONFIG_ALG_EXPLICIT || l->next_alg == NULL || !addr_eq(&l->at, &conf->server))
			continue;
		report(errors, conf, "/server", "name the server", "its server is the gateway itself");
		return ERR_CONFIG;
	}
	return 0;
}

static int plan(struct alg_host_engine *h, const struct alg_setups *setups, bool is_first, struct conf_errors *errors)
{
	int err = 0;

	for (unsigned i = 0; i < setups->n && err != -ENOMEM; i++) {
		int this_err = plan_alg(h, setups->items[i], is_first, errors);

		err = err == 0 || this_err == -ENOMEM ? this_err : err;
	}
	for (unsigned i = 0; i < setups->n && err == 0; i++)
		err = check_server(h, setups->items[i]->conf, errors);
	return err;
}

static void forget(struct alg_host_engine *h)
{
	LIST_EACH(&h->listeners, node) {
		struct listener *l = LIST_ENTRY(node, struct listener, node);

		l->next_alg = NULL;
		if (l->alg == NULL && !l->is_retired)
			listener_free(l);
	}
	LIST_EACH(&h->algs, node) {
		struct engine_alg *alg = LIST_ENTRY(node, struct engine_alg, node);

		alg->next = NULL;
		forget_rates(alg);
	}
	drop_unused(h);
}

/* ---- the change -------------------------------------------------------------------------------------------------------------- */

static void change_algs(struct alg_host_engine *h)
{
	LIST_EACH(&h->algs, node) {
		struct engine_alg *alg = LIST_ENTRY(node, struct engine_alg, node);
		struct alg_setup *old = alg->setup;

		alg->setup = alg->next != NULL ? alg_setup_ref(alg->next) : NULL;
		alg->next = NULL;
		if (alg->setup != NULL)
			change_rates(alg, old != NULL ? old->conf : NULL, alg->setup->conf, loop_now_ms(h->loop));
		if (old != NULL && alg->setup == NULL)
			log_info("alg", "no longer configured", LF_TEXT("alg", alg->name), LF_UINT("sessions", alg->sessions));
		alg_setup_unref(old);
	}
}

static void change_listeners(struct alg_host_engine *h)
{
	LIST_EACH(&h->listeners, node) {
		struct listener *l = LIST_ENTRY(node, struct listener, node);
		struct engine_alg *next = l->next_alg;

		l->next_alg = NULL;
		if (l->is_retired)
			continue;
		if (next == NULL)
			listener_retire(l);
		else if (l->alg == NULL)
			listener_begin(l, next);
		else
			listener_give(l, next);
	}
}

int engine_put_in_force(struct alg_host_engine *h, struct alg_setups *setups_take, bool is_first, struct conf_errors *errors)
{
	int err = plan(h, setups_take, is_first, errors);

	if (err < 0) {
		if (errors->n == 0)
			conf_errors_add(errors, "/algs", 0, 0, NULL, "%s", err_str(err));
		forget(h);
	} else {
		const struct config *old = h->config;

		change_algs(h);
		h->config = config_ref(setups_take->config);
		change_listeners(h);
		drop_unused(h);
		host_metrics_listeners(h);
		config_unref(old);
	}
	alg_setups_free(setups_take);
	return err;
}
