/* One hop to the control thread brings the configuration and all counters that were true at the same moment. Owns
 * nothing; the reference to the configuration goes to the caller. */
#include "api/res_conf.h"

#include "api/problem.h"
#include "core/err.h"

static void read_on_loop(void *arg)
{
	struct res_conf *conf = arg;
	const struct api_deps *deps = &conf->api->deps;

	conf->config = deps->config(deps->config_arg);
	b2bua_stats(deps->b2bua, conf->stats);
	for (unsigned i = 0; i < conf->config->n_realms; i++) {
		conf->pools[i].n_pools = media_pool_stats(deps->media, &conf->config->realms[i], conf->pools[i].pools,
							  CONFIG_REALM_ADDRESSES_MAX);
	}
}

int res_conf_read(struct api *api, struct arena *arena, struct res_conf *ret)
{
	struct res_conf conf = { .api = api, .arena = arena };
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

void res_conf_fini(struct res_conf *conf)
{
	config_unref(conf->config);
	conf->config = NULL;
}

bool res_page_of(const struct res_conf *conf, const struct route_request *request, struct route_reply *reply,
		 unsigned n, res_name_fn *name, struct res_page *ret)
{
	unsigned limit = (unsigned)route_number(request, "limit", RES_PAGE_DEFAULT);
	struct span cursor = route_text(request, "cursor");
	unsigned from = 0;

	if (!span_is_empty(cursor)) {
		while (from < n && !span_eq(cursor, span_of(name(conf->config, from))))
			from++;
		if (from == n) {
			problem_set(reply, request, PROBLEM_BAD_PARAMETER, "The list has changed since.");
			problem_add_error(reply, SPAN_LIT("cursor"), "is not known (any more)", "begin without it");
			return false;
		}
		from++;
	}
	*ret = (struct res_page){ from, n - from > limit ? from + limit : n };
	return true;
}
