/* Probes. /livez: the control loop turns. /readyz (and its alias /healthz): new calls are welcome; with ?verbose it
 * lists every check. A probe that fails answers 503, and its body says what is wrong. */
#include "api/res.h"

#include <stdio.h>

#include "algs/host.h"
#include "api/text.h"
#include "core/config.h"
#include "core/err.h"
#include "db/store.h"
#include "pinhole/admission.h"
#include "pinhole/pinhole.h"
#include "sbc/b2bua.h"

enum { ABILITIES_MAX = CONFIG_REALMS_MAX * CONFIG_REALM_ADDRESSES_MAX };

static int nothing_on_loop(struct api *api, void *arg)
{
	(void)api;
	(void)arg;
	return 0;
}

void res_livez(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	int err = res_on_loop(api, nothing_on_loop, NULL);

	(void)request;
	if (err == 0)
		route_reply_json(reply, 200, json_pack("{s:s}", "status", "ok"));
	else
		route_reply_json(reply, 503, json_pack("{s:s, s:s}", "status", "failing", "detail",
						       "the control loop does not turn"));
}

struct ready_ask {
	struct arena *arena;
	struct b2bua_stats *stats;
	const struct config *config; /* referenced */
	struct pinhole_ability *abilities;
	unsigned n_abilities;
	bool has_helper, is_unwatched, is_helper_starting;
	struct alg_listener_view *listeners; /* of ALGs */
	unsigned n_listeners, n_open;        /* n_open: of these */
	struct alg_host_stats algs;
	const struct route_conf *refused; /* route whose calls are refused, because their media cannot get into the kernel; or NULL */
	const char *why_refused;
};

static int ready_on_loop(struct api *api, void *arg)
{
	const struct api_deps *deps = &api->deps;
	struct ready_ask *ask = arg;
	struct pinholes_summary summary;

	ask->config = deps->config(deps->config_arg);
	b2bua_stats(deps->b2bua, ask->stats);
	if (deps->algs != NULL) {
		ask->n_listeners = alg_listeners(deps->algs, ask->arena, &ask->listeners);
		alg_host_stats(deps->algs, &ask->algs);
	}
	for (unsigned i = 0; i < ask->n_listeners; i++)
		ask->n_open += ask->listeners[i].is_open;
	ask->refused = admission_refused_route(ask->config, deps->pinholes, &ask->why_refused);
	if (deps->pinholes == NULL)
		return 0;
	pinholes_summary(deps->pinholes, &summary);
	ask->has_helper = summary.has_helper;
	ask->is_helper_starting = summary.is_starting;
	ask->is_unwatched = summary.is_unwatched;
	ask->n_abilities = pinholes_abilities(deps->pinholes, ask->abilities, ABILITIES_MAX);
	return 0;
}

static void add_check(json_t *checks, bool *is_ready, const char *name, const char *fault, json_t *detail_take)
{
	json_t *check = json_pack("{s:s, s:s}", "name", name, "status", fault ? "failing" : "ok");

	if (fault != NULL) {
		json_decref(detail_take);
		detail_take = json_string(fault);
		*is_ready = false;
	}
	res_set(check, "detail", detail_take);
	json_array_append_new(checks, check);
}

static void check_database(struct api *api, json_t *checks, bool *is_ready)
{
	struct store_stats stats = { 0 };

	if (api->deps.store == NULL) {
		add_check(checks, is_ready, "database", NULL, json_string("not configured"));
		return;
	}
	store_stats(api->deps.store, &stats);
	add_check(checks, is_ready, "database", stats.is_failing ? "writing fails; see the log" : NULL,
		  json_sprintf("%llu records written, %llu lost, %llu waiting", (unsigned long long)stats.cdrs_written,
			       (unsigned long long)stats.cdrs_lost, (unsigned long long)stats.queue_depth));
}

static void check_control(const struct ready_ask *ask, json_t *checks, bool *is_ready)
{
	const struct b2bua_stats *stats = ask->stats;
	unsigned n_listens = 0;

	for (unsigned i = 0; i < ask->config->n_realms; i++)
		n_listens += ask->config->realms[i].n_listens;
	add_check(checks, is_ready, "listeners", n_listens || ask->n_open ? NULL : "neither SIP nor an ALG listens",
		  json_sprintf("%u SIP listeners", n_listens));
	add_check(checks, is_ready, "admission", stats->is_draining ? "draining: new calls are refused" : NULL,
		  json_sprintf("%u of %u calls", stats->calls_active, stats->calls_max));
}

static const char *ability_realm(const struct ready_ask *ask, const struct pinhole_ability *ability)
{
	return ability->realm < ask->config->n_realms ? ask->config->realms[ability->realm].name : "-";
}

static unsigned count_abilities(const struct ready_ask *ask, bool is_usable)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ask->n_abilities; i++)
		n += ask->abilities[i].is_wanted && ask->abilities[i].is_usable == is_usable;
	return n;
}

/* A kernel that can do nothing for media is no reason to refuse calls, unless media may not stay in the relay. */
static void check_kernel_media(const struct ready_ask *ask, json_t *checks, bool *is_ready)
{
	unsigned n_usable = count_abilities(ask, true), n_not = count_abilities(ask, false);
	char fault[256];
	json_t *detail;

	if (n_usable + n_not == 0)
		detail = json_string(ask->has_helper ? "not wanted: media stays in the relay" :
				     "no helper: media stays in the relay");
	else
		detail = json_sprintf("%u of %u wanted mechanisms are usable, see media_paths%s", n_usable, n_usable + n_not,
				      ask->is_unwatched ? "; should the helper end, nobody starts it again before the gateway is restarted" :
							  "");
	if (ask->refused != NULL)
		snprintf(fault, sizeof(fault), "calls of route %s are refused: %s", ask->refused->name, ask->why_refused);
	add_check(checks, is_ready, "kernel_media", ask->refused != NULL ? fault : NULL, detail);
}

static void add_media_paths(const struct ready_ask *ask, json_t *body)
{
	json_t *paths = json_array();

	for (unsigned i = 0; i < ask->n_abilities; i++) {
		const struct pinhole_ability *ability = &ask->abilities[i];
		json_t *json = json_object();

		res_set(json, "realm", text_json_of(ability_realm(ask, ability)));
		res_set(json, "interface", ability->interface[0] ? text_json_of(ability->interface) : json_null());
		res_set(json, "path", json_string(pinhole_path_text(ability->path)));
		res_set(json, "is_usable", json_boolean(ability->is_usable));
		res_set(json, "is_wanted", json_boolean(ability->is_wanted));
		res_set(json, "reason", text_json_of(ability->reason));
		json_array_append_new(paths, json);
	}
	res_set(body, "media_paths", paths);
}

/* While it starts, sessions would be reset, or relayed for want of pinholes. Later one that is closed is a fault that is shown; calls
 * and the other ALGs work all the same, so it is no reason to turn them away. */
static void check_algs(const struct ready_ask *ask, json_t *checks, bool *is_ready)
{
	char fault[256] = "";
	bool is_well = true, is_starting = ask->n_listeners > 0 && ask->is_helper_starting;

	if (is_starting)
		snprintf(fault, sizeof(fault), "the helper is not ready yet");
	for (unsigned i = 0; i < ask->n_listeners; i++)
		is_starting |= ask->listeners[i].is_opening;

	for (unsigned i = 0; i < ask->n_listeners && fault[0] == '\0'; i++) {
		const struct alg_listener_view *listener = &ask->listeners[i];

		if (!listener->is_open)
			snprintf(fault, sizeof(fault), "%u of %u listeners are open; %s: %s", ask->n_open,
				 ask->n_listeners, listener->conf->name, listener->reason != NULL ? listener->reason : "not open yet");
	}
	add_check(checks, is_starting ? is_ready : &is_well, "algs", fault[0] != '\0' ? fault : NULL,
		  json_sprintf("%u ALGs, %u listeners, %u sessions", ask->config->n_algs, ask->n_listeners,
			       ask->algs.sessions));
}

static void add_node(struct api *api, const struct ready_ask *ask, json_t *body)
{
	res_set(body, "version", json_string(PACKAGE_VERSION));
	res_set(body, "started_at", res_time(api->started_ms));
	if (ask->config == NULL)
		return;
	res_set(body, "node", text_json_of(ask->config->node));
	res_set(body, "config_revision", json_integer(ask->config->revision));
	res_set(body, "calls_active", json_integer(ask->stats->calls_active));
	res_set(body, "alg_sessions_active", json_integer(ask->algs.sessions));
	add_media_paths(ask, body);
}

void res_readyz(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	struct ready_ask ask = { .arena = request->arena };
	json_t *checks = json_array(), *body = json_object();
	bool is_ready = true;
	int err = ERR_LIMIT;

	ask.stats = arena_alloc(request->arena, sizeof(*ask.stats));
	ask.abilities = arena_alloc(request->arena, ABILITIES_MAX * sizeof(*ask.abilities));
	if (ask.stats != NULL && ask.abilities != NULL)
		err = res_on_loop(api, ready_on_loop, &ask);
	add_check(checks, &is_ready, "control_loop", err ? "does not turn" : NULL, json_string("turns"));
	if (err == 0) {
		check_control(&ask, checks, &is_ready);
		check_kernel_media(&ask, checks, &is_ready);
		check_algs(&ask, checks, &is_ready);
	}
	check_database(api, checks, &is_ready);
	res_set(body, "status", json_string(is_ready ? "ready" : "not-ready"));
	if (route_value(request, "verbose") != NULL) {
		add_node(api, &ask, body);
		res_set(body, "checks", json_incref(checks));
	}
	json_decref(checks);
	config_unref(ask.config);
	route_reply_json(reply, is_ready ? 200 : 503, body);
}
