/* Listening sockets for http.c. */
#ifndef API_HTTP_LISTEN_H
#define API_HTTP_LISTEN_H

#include "core/addr.h"

/* Each returns a listening, non-blocking descriptor in *ret, or a negative errno. */
int http_listen_open_tcp(const struct addr *addr, int *ret);
int http_listen_open_unix(const char *path, int *ret);

#endif
