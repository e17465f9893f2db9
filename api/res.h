/* What the resources share: the backends they read, the hop to the control thread, paging, and JSON of common types.
 * One res_<name>.c per resource; their rows are in routes.c. */
#ifndef API_RES_H
#define API_RES_H

#include "api/api.h"
#include "api/router.h"

struct http;
struct media_stats;
struct store_reader;

struct api {
	struct api_deps deps;
	struct access *access;
	struct router router;
	struct http *http;
	struct store_reader *reader; /* NULL: no call records */
	char *openapi_json;
	int64_t started_ms;
};

enum { RES_LOOP_TIMEOUT_MS = 2000, RES_PAGE_DEFAULT = 100, RES_PAGE_MAX = 1000 };

/* The rows of all resources. */
extern const struct route api_routes[];
extern const unsigned api_n_routes;

/* Runs on the control thread and copies what is asked for, into the request's arena. 0 or a negative error. */
typedef int res_loop_fn(struct api *api, void *arg);
/* What fn says, or a negative error for problem_from_err() when the loop does not get to it. */
int res_on_loop(struct api *api, res_loop_fn *fn, void *arg);
/* The same; when it fails, or the arena was too small for it, the reply says so already. */
bool res_ask(struct api *api, const struct route_request *request, struct route_reply *reply, res_loop_fn *fn, void *arg);
/* The reply to a cursor that no page of the list can have given. */
void res_refuse_cursor(const struct route_request *request, struct route_reply *reply);

/* {"items": items, "next_cursor": cursor or null} and the Link header. cursor NULL or empty: last page. */
void res_reply_list(const struct route_request *request, struct route_reply *reply, json_t *items_take,
		    const char *cursor);

json_t *res_time(int64_t wall_ms);           /* RFC 3339 text, null for 0 */
json_t *res_addr(const struct addr *addr);   /* "ip:port", null when not set */
json_t *res_ip(const struct addr *addr);
json_t *res_prefix(const struct prefix *prefix); /* "10.0.0.0/24" */
json_t *res_text(const char *text);          /* null when there is none or it is empty */
json_t *res_count(uint64_t n);
json_t *res_step(int64_t at_ms, const char *rule, const char *text);
json_t *res_media(const struct media_stats *side); /* what was received on one side of a stream */
/* Sets a member; value is taken, NULL (out of memory) leaves it out. */
void res_set(json_t *object, const char *name, json_t *value_take);

route_fn res_livez, res_readyz, res_metrics, res_openapi;
route_fn res_calls_list, res_calls_get, res_calls_delete;
route_fn res_cdrs_list, res_cdrs_get;
route_fn res_sessions_list, res_sessions_get, res_sessions_delete;
route_fn res_transfers_list;
route_fn res_algs_list, res_algs_get;
route_fn res_profiles_list, res_profiles_get;
route_fn res_explain;
route_fn res_realms_list, res_realms_get;
route_fn res_config_get, res_config_reload;
route_fn res_peers_list, res_peers_get;
route_fn res_pinholes_list;

/* The embedded openapi.yaml as JSON text, malloc'd. 0 or a negative error. */
int res_openapi_load(char **ret_json);

#endif
