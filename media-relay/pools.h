/* The port pools of all realms, one per address. Control thread. */
#ifndef MEDIA_RELAY_POOLS_H
#define MEDIA_RELAY_POOLS_H

#include "media-relay/ports.h"
#include "media-relay/target.h"

struct conf_errors;

enum { POOLS_NAME_MAX = 64 };

struct pools_realm {
	char name[POOLS_NAME_MAX];
	struct ports *pools[CONFIG_REALM_ADDRESSES_MAX];
	unsigned n_pools;
};

struct pools { /* embedded, zeroed */
	struct pools_realm *realms;
	unsigned n_realms;
	struct target_own *own; /* media ports and SIP listeners of the gateway; unchanged until pools_fini() */
	unsigned n_own;
	struct ports_budget budget; /* what the process may have open, less what others need */
};

/* 0; ERR_CONFIG with all that is wrong in `errors` (overlaps with the kernel's ephemeral ports or another realm, addresses
 * that cannot be bound); or -ENOMEM. pools_fini() is due after failures too. */
int pools_init(struct pools *pools, const struct config *config, struct conf_errors *errors);
void pools_fini(struct pools *pools);

const struct pools_realm *pools_find(const struct pools *pools, const struct realm_conf *realm); /* or NULL */
size_t pools_pairs(const struct pools *pools); /* all there are */
/* From the realm's first pool of the family (0: that of its first address), or its others of that family when that is
 * empty. 0, -EAFNOSUPPORT, or as ports_take(). */
int pools_take(const struct pools_realm *realm, uint8_t family, uint64_t now_ms, struct ports **ret_pool,
	       struct ports_pair *ret);
/* The pair whose RTP address that is; see ports_claim(). ERR_NOT_FOUND also when the realm does not have the address. */
int pools_claim(const struct pools_realm *realm, const struct addr *rtp, uint64_t now_ms, struct ports **ret_pool,
		struct ports_pair *ret);
/* Ends quarantines, and publishes how many ports are in use as postern_media_ports. */
void pools_tick(const struct pools *pools, uint64_t now_ms);

#endif
