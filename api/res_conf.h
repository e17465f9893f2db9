/* The configuration in force with the counters that belong to it, read in one go on the control thread. For the
 * resources that show configured objects (realms, peers). */
#ifndef API_RES_CONF_H
#define API_RES_CONF_H

#include "algs/host.h"
#include "api/res.h"
#include "core/config.h"
#include "media-relay/media.h"
#include "sbc/b2bua.h"

struct res_pools { /* of one realm */
	struct media_pool_stats pools[CONFIG_REALM_ADDRESSES_MAX];
	unsigned n_pools;
};
struct res_conf {
	struct arena *arena;
	const struct config *config; /* referenced */
	struct b2bua_stats *stats;   /* in the arena */
	struct res_pools *pools;     /* by realm index, in the arena */
	struct alg_listener_view *listeners; /* of all ALGs, in the arena; none without a host */
	unsigned n_listeners;
};

/* One hop to the control thread. 0 and a snapshot whose config is to be unreferenced, or a negative error. */
int res_conf_read(struct api *api, struct arena *arena, struct res_conf *ret);

/* A kind of configured object, by its index in the configuration. */
struct res_kind {
	unsigned (*count)(const struct config *config);
	const char *(*name)(const struct config *config, unsigned index);
	json_t *(*json)(const struct res_conf *conf, unsigned index); /* new reference */
};

/* Answers with one page of them in their configured order; the cursor is the name of the last one of the page before. */
void res_conf_list(struct api *api, const struct route_request *request, struct route_reply *reply,
		   const struct res_kind *kind);
/* Answers with the one that the request names. */
void res_conf_get(struct api *api, const struct route_request *request, struct route_reply *reply,
		  const struct res_kind *kind);

#endif
