/* Every resource of the API, one row per method. What a row allows is what openapi.yaml says under the same
 * operationId; tests/unit/test_routes.c compares the two. */
#include "api/res.h"

static const struct route_param page_params[] = {
	{ "limit", ROUTE_UINT, 1, RES_PAGE_MAX },
	{ "cursor", ROUTE_TEXT, 1, 256 },
	{ 0 },
};
static const struct route_param calls_params[] = {
	{ "state", ROUTE_TEXT, 1, 32 },
	{ "realm", ROUTE_TEXT, 1, 63 },
	{ "peer", ROUTE_TEXT, 1, 63 },
	{ "q", ROUTE_TEXT, 1, 256 },
	{ "limit", ROUTE_UINT, 1, RES_PAGE_MAX },
	{ "cursor", ROUTE_TEXT, 1, 256 },
	{ 0 },
};
static const struct route_param cdrs_params[] = {
	{ "since", ROUTE_TIME, 0, 0 },
	{ "until", ROUTE_TIME, 0, 0 },
	{ "realm", ROUTE_TEXT, 1, 63 },
	{ "peer", ROUTE_TEXT, 1, 63 },
	{ "status_min", ROUTE_UINT, 100, 699 },
	{ "status_max", ROUTE_UINT, 100, 699 },
	{ "q", ROUTE_TEXT, 1, 256 },
	{ "limit", ROUTE_UINT, 1, RES_PAGE_MAX },
	{ "cursor", ROUTE_TEXT, 1, 256 },
	{ 0 },
};
static const struct route_param pinholes_params[] = {
	{ "owner", ROUTE_TEXT, 1, 63 },
	{ "path", ROUTE_TEXT, 1, 32 },
	{ "realm", ROUTE_TEXT, 1, 63 },
	{ "limit", ROUTE_UINT, 1, RES_PAGE_MAX },
	{ "cursor", ROUTE_TEXT, 1, 256 },
	{ 0 },
};
static const struct route_param sessions_params[] = {
	{ "protocol", ROUTE_TEXT, 1, 32 },
	{ "alg", ROUTE_TEXT, 1, 63 },
	{ "user", ROUTE_TEXT, 1, 256 },
	{ "state", ROUTE_TEXT, 1, 32 },
	{ "realm", ROUTE_TEXT, 1, 63 },
	{ "limit", ROUTE_UINT, 1, RES_PAGE_MAX },
	{ "cursor", ROUTE_TEXT, 1, 256 },
	{ 0 },
};
static const struct route_param transfers_params[] = {
	{ "since", ROUTE_TIME, 0, 0 },
	{ "until", ROUTE_TIME, 0, 0 },
	{ "session", ROUTE_TEXT, 1, 63 },
	{ "alg", ROUTE_TEXT, 1, 63 },
	{ "protocol", ROUTE_TEXT, 1, 32 },
	{ "user", ROUTE_TEXT, 1, 256 },
	{ "verb", ROUTE_TEXT, 1, 32 },
	{ "q", ROUTE_TEXT, 1, 256 },
	{ "limit", ROUTE_UINT, 1, RES_PAGE_MAX },
	{ "cursor", ROUTE_TEXT, 1, 256 },
	{ 0 },
};
static const struct route_param reload_params[] = {
	{ "check", ROUTE_FLAG, 0, 0 },
	{ 0 },
};
static const struct route_param probe_params[] = {
	{ "verbose", ROUTE_FLAG, 0, 0 },
	{ 0 },
};

const struct route api_routes[] = {
	{ "GET", "/livez", ROUTE_OPEN, 0, NULL, res_livez, "getLivez" },
	{ "GET", "/readyz", ROUTE_OPEN, 0, probe_params, res_readyz, "getReadyz" },
	{ "GET", "/healthz", ROUTE_OPEN, 0, probe_params, res_readyz, "getHealthz" },
	{ "GET", "/metrics", ROUTE_LOCAL_OPEN, TOKEN_READ_METRICS, NULL, res_metrics, "getMetrics" },
	{ "GET", "/v1/openapi.json", ROUTE_OPEN, 0, NULL, res_openapi, "getOpenapi" },
	{ "GET", "/v1/calls", ROUTE_SCOPED, TOKEN_READ_CALLS, calls_params, res_calls_list, "listCalls" },
	{ "GET", "/v1/calls/{id}", ROUTE_SCOPED, TOKEN_READ_CALLS, NULL, res_calls_get, "getCall" },
	{ "DELETE", "/v1/calls/{id}", ROUTE_SCOPED, TOKEN_OPERATE, NULL, res_calls_delete, "endCall" },
	{ "GET", "/v1/cdrs", ROUTE_SCOPED, TOKEN_READ_CALLS, cdrs_params, res_cdrs_list, "listCdrs" },
	{ "GET", "/v1/cdrs/{id}", ROUTE_SCOPED, TOKEN_READ_CALLS, NULL, res_cdrs_get, "getCdr" },
	{ "GET", "/v1/config", ROUTE_SCOPED, TOKEN_READ_CONFIG, NULL, res_config_get, "getConfig" },
	{ "POST", "/v1/config/reload", ROUTE_SCOPED, TOKEN_OPERATE, reload_params, res_config_reload, "reloadConfig" },
	{ "GET", "/v1/realms", ROUTE_SCOPED, TOKEN_READ_CONFIG, page_params, res_realms_list, "listRealms" },
	{ "GET", "/v1/realms/{name}", ROUTE_SCOPED, TOKEN_READ_CONFIG, NULL, res_realms_get, "getRealm" },
	{ "GET", "/v1/peers", ROUTE_SCOPED, TOKEN_READ_CONFIG, page_params, res_peers_list, "listPeers" },
	{ "GET", "/v1/peers/{name}", ROUTE_SCOPED, TOKEN_READ_CONFIG, NULL, res_peers_get, "getPeer" },
	{ "GET", "/v1/pinholes", ROUTE_SCOPED, TOKEN_READ_CALLS, pinholes_params, res_pinholes_list, "listPinholes" },
	{ "GET", "/v1/sessions", ROUTE_SCOPED, TOKEN_READ_CALLS, sessions_params, res_sessions_list, "listSessions" },
	{ "GET", "/v1/sessions/{id}", ROUTE_SCOPED, TOKEN_READ_CALLS, NULL, res_sessions_get, "getSession" },
	{ "DELETE", "/v1/sessions/{id}", ROUTE_SCOPED, TOKEN_OPERATE, NULL, res_sessions_delete, "endSession" },
	{ "GET", "/v1/transfers", ROUTE_SCOPED, TOKEN_READ_CALLS, transfers_params, res_transfers_list, "listTransfers" },
	{ "GET", "/v1/algs", ROUTE_SCOPED, TOKEN_READ_CONFIG, page_params, res_algs_list, "listAlgs" },
	{ "GET", "/v1/algs/{name}", ROUTE_SCOPED, TOKEN_READ_CONFIG, NULL, res_algs_get, "getAlg" },
	{ "GET", "/v1/profiles", ROUTE_SCOPED, TOKEN_READ_CONFIG, page_params, res_profiles_list, "listProfiles" },
	{ "GET", "/v1/profiles/{name}", ROUTE_SCOPED, TOKEN_READ_CONFIG, NULL, res_profiles_get, "getProfile" },
	{ "POST", "/v1/explain", ROUTE_SCOPED, TOKEN_READ_CONFIG, NULL, res_explain, "explain" },
};
const unsigned api_n_routes = sizeof(api_routes) / sizeof(api_routes[0]);
