/* HTTP listeners. Hides libmicrohttpd: requests go to the router, one call each, on one of its threads. */
#ifndef API_HTTP_H
#define API_HTTP_H

#include "api/router.h"

struct http;
struct loop;

struct http_options {
	const struct loop *loop; /* for the wall clock only */
	uint32_t connections; /* per listener */
	uint32_t timeout_s;   /* without progress; a request has twice, its answer six times as long to be complete */
};

int http_new(const struct router *router, const struct http_options *options, struct http **ret);
/* Ends the threads and closes (and removes) the sockets. NULL is fine. */
void http_free(struct http *http);

/* Port 0 lets the kernel choose. 0 or an errno. */
int http_listen_tcp(struct http *http, const struct addr *addr);
/* Mode 0660, group "postern" when there is one and we may. A socket left behind by a crash is replaced; -EADDRINUSE
 * when somebody answers on it, -EEXIST when the path is something else. */
int http_listen_unix(struct http *http, const char *path);
unsigned http_tcp_port(const struct http *http);

#endif
