/* Topology hiding: the one place that says what of a message on one leg may be seen on the other. Everything that is not in the
 * table of topology.c stays where it is. Pure. */
#ifndef SBC_TOPOLOGY_H
#define SBC_TOPOLOGY_H

#include "core/buf.h"
#include "sbc/sip_msg.h"

/* Methods that Postern relays or serves, for Allow; the value without the header name. */
#define TOPOLOGY_ALLOW "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE, UPDATE"

/* Appends the header lines of `in` that cross from realm `from` to realm `to`. */
void topology_headers(const struct sip_msg *in, const struct realm_conf *from, const struct realm_conf *to, struct buf *out);

/* From and To of the outgoing leg, without tags: the user and display name that the caller gave, at hosts of our own. */
void topology_from(const struct sip_msg *invite, const struct addr *own, struct buf *out);
void topology_to(struct span user, const struct addr *target, struct buf *out);

/* The option tags in Require that cannot be honoured across the gateway, as an Unsupported line; nothing when all can. */
void topology_unsupported(const struct sip_msg *request, struct buf *out);

/* The status that a failure on one leg becomes on the other. */
int topology_status(int status);

#endif
