/* What the host holds every wish for a pinhole against, whatever a module says, and which way its data takes. Pure. */
#ifndef ALGS_HOLE_RULE_H
#define ALGS_HOLE_RULE_H

#include "algs/alg.h"
#include "core/addr.h"
#include "core/config.h"

enum { HOLE_PORT_FLOOR = 1024 };

/* Below the floor, or a port at which well-known services listen that are no business of a data connection. */
bool hole_port_is_denied(uint16_t port);
bool hole_media_port_is_denied(uint16_t port);
/* An end of a pinhole as a module names it, for a speaker whose control connection comes from `speaker`: family 0 stands for the
 * speaker's own address. 0 and the address with its port; ALG_ERR_DENIED when it is somebody else's, cannot be reached (port 0), or
 * its port is denied. */
int hole_end(const struct addr *speaker, const struct alg_addr *named, struct addr *ret);

/* The same for media: a pair of UDP ports, and port 0 for one that is not known yet. rtcp_port 0: the next one. */
int hole_media_end(const struct addr *speaker, const struct alg_addr *named, uint16_t rtcp_port, struct addr *ret);

enum hole_way { HOLE_KERNEL, HOLE_RELAY, HOLE_MEDIA, HOLE_DATAGRAMS };
/* Which way data of that kind takes where an ALG is configured so, and why, for people; "" for connections in the kernel. no_kernel: why
 * the kernel could not have connections of it, NULL when it could. */
enum hole_way hole_way_of(const struct alg_conf *conf, enum alg_hole_kind kind, const char *no_kernel, const char **ret_reason);

struct addr hole_addr(const struct alg_addr *addr);
struct alg_addr hole_alg_addr(const struct addr *addr);

#endif
