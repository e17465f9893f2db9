/* The configuration in force with the counters that belong to it, read in one go on the control thread. For the
 * resources that show configured objects (realms, peers). */
#ifndef API_RES_CONF_H
#define API_RES_CONF_H

#include "api/res.h"
#include "core/config.h"
#include "media-relay/media.h"
#include "sbc/b2bua.h"

struct res_pools { /* of one realm */
	struct media_pool_stats pools[CONFIG_REALM_ADDRESSES_MAX];
	unsigned n_pools;
};
struct res_conf {
	struct api *api;
	struct arena *arena;
	const struct config *config; /* referenced */
	struct b2bua_stats *stats;   /* in the arena */
	struct res_pools *pools;     /* by realm index, in the arena */
};

/* 0, or a negative error for problem_from_err(). Release with res_conf_fini(). */
int res_conf_read(struct api *api, struct arena *arena, struct res_conf *ret);
void res_conf_fini(struct res_conf *conf);

/* One page of n objects in their configured order: [*ret_from, *ret_to). The cursor is the name of the last object of
 * the page before. False when no object has that name: then *reply is a problem. */
struct res_page {
	unsigned from, to;
};
typedef const char *res_name_fn(const struct config *config, unsigned index);
bool res_page_of(const struct res_conf *conf, const struct route_request *request, struct route_reply *reply,
		 unsigned n, res_name_fn *name, struct res_page *ret);

#endif
