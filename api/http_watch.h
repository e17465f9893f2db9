/* Deadlines of HTTP connections. The library's own time-out starts anew with every octet, so a client that sends one
 * now and then would hold its connection for ever; here a request has a time to be complete, and its answer a time to
 * be taken. Thread-safe; one thread of its own. */
#ifndef API_HTTP_WATCH_H
#define API_HTTP_WATCH_H

#include <stdint.h>

#include "core/list.h"

struct http_watch;
struct http_conn;

/* Seconds; NULL when out of memory or threads. */
struct http_watch *http_watch_new(uint32_t request_s, uint32_t reply_s);
void http_watch_free(struct http_watch *watch); /* after every connection is gone */

/* The socket must stay open until http_conn_free(). NULL when out of memory. */
struct http_conn *http_conn_new(struct http_watch *watch, int fd);
void http_conn_free(struct http_conn *conn);
void http_conn_replying(struct http_conn *conn); /* the request is complete */
void http_conn_idle(struct http_conn *conn);     /* the answer was sent; a next request may come */

#endif
