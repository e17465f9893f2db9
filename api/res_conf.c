/* One hop to the control thread brings the configuration and all counters that were true at the same moment. What is the same for
 * every kind of configured object stands here; what differs is in its struct res_kind. */
#include "api/res_conf.h"

#include "api/problem.h"
#include "core/err.h"

static int read_on_loop(struct api *api, void *arg)
{
	const struct api_deps *deps = &api->deps;
	struct res_conf *conf = arg;

	conf->config = deps->config(deps->config_arg);
	b2bua_stats(deps->b2bua, conf->stats);
	if (deps->algs != NULL)
		conf->n_listeners = alg_listeners(deps->algs, conf->arena, &conf->listeners);
	for (unsigned i = 0; i < conf->config->n_realms; i++) {
		conf->pools[i].n_pools = media_pool_stats(deps->media, &conf->config->realms[i], conf->pools[i].pools,
							  CONFIG_REALM_ADDRESSES_MAX);
	}
	return 0;
}

int res_conf_read(struct api *api, struct arena *arena, struct res_conf *ret)
{
	struct res_conf conf = { .arena = arena };
	int err;

	conf.stats = arena_alloc(arena, sizeof(*conf.stats));
	conf.pools = arena_alloc(arena, CONFIG_REALMS_MAX * sizeof(*conf.pools));
	if (conf.stats == NULL || conf.pools == NULL)
		return ERR_LIMIT;
	err = res_on_loop(api, read_on_loop, &conf);
	if (err == 0)
		*ret = conf;
	return err;
}

/* Index of the object of that name, or the count. */
static unsigned find(const struct res_conf *conf, const struct res_kind *kind, struct span name)
{
	unsigned n = kind->count(conf->config), i = 0;

	while (i < n && !span_eq(name, span_of(kind->name(conf->config, i))))
		i++;
	return i;
}

static void list(const struct res_conf *conf, const struct route_request *request, struct route_reply *reply,
		 const struct res_kind *kind)
{
	unsigned limit = (unsigned)route_number(request, "limit", RES_PAGE_DEFAULT);
	struct span cursor = route_text(request, "cursor");
	unsigned n = kind->count(conf->config), from = 0, to;
	json_t *items;

	if (!span_is_empty(cursor)) {
		from = find(conf, kind, cursor);
		if (from == n) {
			problem_set(reply, request, PROBLEM_BAD_PARAMETER, "The list has changed since.");
			problem_add_error(reply, SPAN_LIT("cursor"), "is not known (any more)", "begin without it");
			return;
		}
		from++;
	}
	to = n - from > limit ? from + limit : n;
	items = json_array();
	for (unsigned i = from; i < to; i++)
		json_array_append_new(items, kind->json(conf, i));
	res_reply_list(request, reply, items, to < n ? kind->name(conf->config, to - 1) : NULL);
}

void res_conf_list(struct api *api, const struct route_request *request, struct route_reply *reply,
		   const struct res_kind *kind)
{
	struct res_conf conf;
	int err = res_conf_read(api, request->arena, &conf);

	if (err != 0) {
		problem_from_err(reply, request, err);
		return;
	}
	list(&conf, request, reply, kind);
	config_unref(conf.config);
}

void res_conf_get(struct api *api, const struct route_request *request, struct route_reply *reply,
		  const struct res_kind *kind)
{
	struct res_conf conf;
	int err = res_conf_read(api, request->arena, &conf);
	unsigned index;

	if (err != 0) {
		problem_from_err(reply, request, err);
		return;
	}
	index = find(&conf, kind, request->name);
	if (index == kind->count(conf.config))
		problem_from_err(reply, request, ERR_NOT_FOUND);
	else
		route_reply_json(reply, 200, kind->json(&conf, index));
	config_unref(conf.config);
}
