/* May media be sent to this address? Signalling from outside names addresses freely; without this check it could aim
 * the gateway at itself, at hosts behind it, or at groups of hosts. Pure. */
#ifndef MEDIA_RELAY_TARGET_H
#define MEDIA_RELAY_TARGET_H

#include "core/config.h"

struct target_own { /* what belongs to the gateway */
	struct addr addr; /* port 0 */
	uint16_t port_min, port_max; /* equal for a SIP listener */
	unsigned realm;   /* index */
	bool is_media;
};

struct target_scope { /* of one side of a stream */
	struct addr local;  /* where this side receives */
	unsigned realm;
	enum realm_trust trust;
	enum realm_nat nat;
	const struct target_own *own;
	unsigned n_own;
};

enum target {
	TARGET_OK,
	TARGET_LEARN, /* not by this name, but packets from there may show the way (latching) */
	TARGET_UNSET, /* from here on: never; treated as an unknown remote */
	TARGET_FAMILY,
	TARGET_UNSPECIFIED,
	TARGET_LOOPBACK,
	TARGET_MULTICAST,
	TARGET_BROADCAST,
	TARGET_PRIVATE,
	TARGET_OWN,
};

/* The rule, in this order, for a remote named in realm R with the local address L:
 *   no address or port 0                                      TARGET_UNSET
 *   not L's family                                            TARGET_FAMILY
 *   unspecified, multicast, broadcast or reserved             refused, whatever the realm
 *   loopback, unless L is loopback                            TARGET_LOOPBACK
 *   a SIP listener of the gateway                             TARGET_OWN
 *   an address of the gateway with a port of a media pool     TARGET_OWN; but TARGET_OK when R is trusted, the address is
 *                                                             R's, and it is not L itself (a call that a softswitch in
 *                                                             R sends back through this gateway)
 *   private (RFC 1918, RFC 6598, RFC 4193) or link-local, R untrusted, and L neither
 *                                                             TARGET_LEARN with nat latch, else TARGET_PRIVATE
 *   anything else                                             TARGET_OK */
enum target target_check(const struct target_scope *scope, const struct addr *remote);
static inline bool target_is_refused(enum target target)
{
	return target >= TARGET_UNSET;
}
const char *target_text(enum target target); /* why not, static */

#endif
