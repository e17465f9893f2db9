/* The guard against media being aimed at the wrong host; its rule is in target.h. */
#include "media-relay/target.h"

static bool is_own(const struct target_scope *scope, const struct addr *remote)
{
	for (unsigned i = 0; i < scope->n_own; i++) {
		const struct target_own *own = &scope->own[i];

		if (!addr_eq_ip(&own->addr, remote) || remote->port < own->port_min || remote->port > own->port_max)
			continue;
		if (!own->is_media || own->realm != scope->realm || scope->trust != TRUST_TRUSTED)
			return true;
		if (addr_eq_ip(remote, &scope->local) && (remote->port | 1) == (scope->local.port | 1))
			return true;
	}
	return false;
}

enum target target_check(const struct target_scope *scope, const struct addr *remote)
{
	if (!addr_is_set(remote) || remote->port == 0)
		return TARGET_UNSET;
	if (remote->family != scope->local.family)
		return TARGET_FAMILY;
	switch (addr_kind(remote)) {
	case ADDR_UNSPECIFIED:
		return TARGET_UNSPECIFIED;
	case ADDR_MULTICAST:
		return TARGET_MULTICAST;
	case ADDR_BROADCAST:
		return TARGET_BROADCAST;
	case ADDR_LOOPBACK:
		if (addr_kind(&scope->local) != ADDR_LOOPBACK)
			return TARGET_LOOPBACK;
		break;
	case ADDR_LINK_LOCAL:
	case ADDR_UNICAST:
		break;
	}
	if (is_own(scope, remote))
		return TARGET_OWN;
	if (addr_is_private(remote) && scope->trust == TRUST_UNTRUSTED && !addr_is_private(&scope->local))
		return scope->nat == NAT_LATCH ? TARGET_LEARN : TARGET_PRIVATE;
	return TARGET_OK;
}

const char *target_text(enum target target)
{
	static const char *const texts[] = {
		[TARGET_OK] = "may be sent to",
		[TARGET_LEARN] = "waiting for the first packet from there",
		[TARGET_UNSET] = "no address signalled yet",
		[TARGET_FAMILY] = "signalled address is of the other IP family",
		[TARGET_UNSPECIFIED] = "signalled address is unspecified",
		[TARGET_LOOPBACK] = "signalled address is loopback",
		[TARGET_MULTICAST] = "signalled address is multicast",
		[TARGET_BROADCAST] = "signalled address is broadcast or reserved",
		[TARGET_PRIVATE] = "signalled address is private, the realm is untrusted and its nat is off",
		[TARGET_OWN] = "signalled address belongs to the gateway",
	};

	return (unsigned)target <= TARGET_OWN ? texts[target] : "unknown";
}
