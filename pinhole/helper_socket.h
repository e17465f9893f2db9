/* Sockets that posternd may not open itself: on ports below 1024, or with addresses of others. Single thread: the helper's
 * worker. */
#ifndef PINHOLE_HELPER_SOCKET_H
#define PINHOLE_HELPER_SOCKET_H

#include "pinhole/wire.h"

/* The request has passed limits_socket(). A descriptor of a bound socket, not blocking, and listening if it is for TCP and
 * not for connecting; or a negative errno. */
int helper_socket_open(const struct wire_socket_request *request);

#endif
