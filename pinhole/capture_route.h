/* Routing of packets that are for sockets with foreign addresses: a rule by mark, and a table that delivers everything to this
 * machine. By rtnetlink, in the network namespace in which it was opened. Single thread: the helper's. */
#ifndef PINHOLE_CAPTURE_ROUTE_H
#define PINHOLE_CAPTURE_ROUTE_H

#include "pinhole/nft_capture.h"

struct capture_route;
int capture_route_open(struct capture_route **ret);
void capture_route_close(struct capture_route *route); /* the kernel keeps it. NULL is fine */

/* Both are there afterwards, as they may have been before. */
int capture_route_put(struct capture_route *route, const struct nft_capture_routing *routing, uint8_t family);
/* Neither is. */
int capture_route_remove(struct capture_route *route, const struct nft_capture_routing *routing, uint8_t family);

#endif
