/* What the helper knows of this machine's interfaces, addresses and neighbours, from rtnetlink: where each realm's addresses
 * are, which addresses are the machine's own, and when something has changed. Reads only what the kernel says. Single
 * thread: the helper's worker. */
#ifndef PINHOLE_LINKS_H
#define PINHOLE_LINKS_H

#include "pinhole/backend.h"
#include "pinhole/limits.h"

struct links;

/* Reads everything once. 0, -ENOMEM or another errno. The limits outlive it. */
int links_open(const struct limits *limits, struct links **ret);
void links_close(struct links *links); /* NULL is fine */

int links_fd(const struct links *links); /* readable: call links_read() */
/* Takes what has come. True when next hops or interfaces may be different now; then links_refresh() is due. */
bool links_read(struct links *links);
/* Brings the interfaces up to date. On failure they stay as they were, and it is due again. */
int links_refresh(struct links *links);

/* One per interface of a realm, without doubles. One that the limits name and that is not there has index 0; an address
 * without interface in the limits that is on none now adds nothing. The array changes in links_refresh() only. */
struct backend_interface *links_interfaces(const struct links *links, unsigned *ret_n);

/* Whether a peer is not this machine (by any of its addresses) nor all hosts of a network that it is in. */
enum limits_verdict links_pinhole(const struct links *links, const struct wire_pinhole *pinhole);
/* The same of a socket with a foreign address. */
enum limits_verdict links_socket(const struct links *links, const struct wire_socket_request *request);

#endif
