/* Static routing: from a realm, by the Request-URI's user, to a peer. Rules are tried in order, the first that matches decides.
 * Compiled once from a configuration snapshot. Control thread. */
#ifndef SBC_ROUTE_H
#define SBC_ROUTE_H

#include "core/buf.h"
#include "core/config.h"

struct router;

/* 0, -ENOMEM, or ERR_CONFIG. Borrows the snapshot. Any thread. */
int router_new(const struct config *config, struct router **ret);
void router_free(struct router *router);

/* Told about each rule that was looked at, in order: the explanation of the decision. */
typedef void route_step_fn(void *arg, const struct route_conf *route, const char *what);

/* The rule that decides, or NULL when none matches. */
const struct route_conf *router_select(const struct router *router, const struct realm_conf *from, struct span user,
				       route_step_fn *step, void *arg);
/* The user to send: `strip` characters less, `add` in front. */
void route_user(const struct route_conf *route, struct span user, struct buf *out);

#endif
