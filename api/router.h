/* Resources as rows: method, path, scope, query parameters, handler. The router finds the row, checks access and
 * parameters, and calls the handler; every refusal is a problem (RFC 9457). It sees no HTTP library: http.c brings a
 * request and takes a reply, tests and the fuzzer do the same. Any thread; handlers must be able to run at once on
 * several. */
#ifndef API_ROUTER_H
#define API_ROUTER_H

#include <jansson.h>

#include "api/access.h"
#include "core/arena.h"

enum { ROUTER_BODY_MAX = 64 * 1024, ROUTER_TARGET_MAX = 4096, ROUTER_PARAMS_MAX = 16, ROUTER_HEADERS_MAX = 4 };

struct api;

struct route_value { /* a query parameter that was given */
	const struct route_param *param;
	struct span text;  /* decoded; for flags empty */
	int64_t number;    /* ROUTE_UINT: value; ROUTE_TIME: wall-clock milliseconds */
};

struct route_request {
	/* Brought by the caller; all spans stay valid until the reply was sent. */
	struct span method, target;    /* target as on the request line: path and query, not decoded */
	struct span authorization;     /* value of the header, empty when absent */
	struct span body;
	const char *id;                /* request id */
	struct access_peer peer;
	struct arena *arena;           /* scratch memory of this request */
	int64_t now_ms;                /* wall clock */
	/* Found out by the router, for the handler. */
	struct access_actor actor;
	struct span path;              /* target without its query, not decoded */
	struct span name;              /* what "{...}" in the row's path stands for, decoded */
	struct route_value values[ROUTER_PARAMS_MAX];
	unsigned n_values;
	bool is_change;                /* what was asked for changes something: the row's scope says so */
};

struct route_reply {
	int status;
	const char *content_type;      /* static; NULL: no body */
	json_t *json;                  /* body, owned; or */
	char *text;                    /* body, malloc'd, owned */
	struct {
		const char *name;          /* static */
		char *value;               /* malloc'd, owned */
	} headers[ROUTER_HEADERS_MAX];
	unsigned n_headers;
};
void route_reply_fini(struct route_reply *reply); /* drops what it holds and makes it empty */
void route_reply_json(struct route_reply *reply, int status, json_t *json_take); /* NULL becomes status 500 */
void route_reply_text(struct route_reply *reply, const char *content_type, char *text_take);
void route_reply_header(struct route_reply *reply, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

enum route_param_type {
	ROUTE_TEXT,  /* min..max octets, UTF-8 without control characters */
	ROUTE_UINT,  /* min..max */
	ROUTE_TIME,  /* RFC 3339 */
	ROUTE_FLAG,  /* no value, or "true" */
};
struct route_param {
	const char *name;
	enum route_param_type type;
	uint32_t min, max;
};

enum route_access {
	ROUTE_SCOPED,       /* credentials with the row's scope */
	ROUTE_LOCAL_OPEN,   /* the same, but nothing is asked of local peers */
	ROUTE_OPEN,         /* nothing is asked of anybody */
};

typedef void route_fn(struct api *api, const struct route_request *request, struct route_reply *reply);
struct route {
	const char *method;     /* only "POST" takes a body */
	const char *path;       /* "/v1/calls/{id}": at most one segment in braces */
	enum route_access access;
	enum token_scope scope; /* for ROUTE_OPEN it has no meaning */
	const struct route_param *params; /* ends with a row whose name is NULL; or NULL */
	route_fn *handler;
	const char *operation;  /* operationId in openapi.yaml */
};

struct router {
	const struct route *routes;
	unsigned n_routes;
	struct access *access;
	struct api *api; /* for the handlers */
};

/* Always leaves a complete reply. HEAD is answered like GET; leaving out the body is the caller's part. */
void router_handle(const struct router *router, struct route_request *request, struct route_reply *ret);

/* For handlers: the parameter's value, NULL when it was not given. */
const struct route_value *route_value(const struct route_request *request, const char *name);
struct span route_text(const struct route_request *request, const char *name); /* empty when not given */
int64_t route_number(const struct route_request *request, const char *name, int64_t otherwise);

#endif
