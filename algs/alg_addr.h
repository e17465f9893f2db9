/* Addresses as modules see them, and as the rest of the gateway does. */
#ifndef ALGS_ALG_ADDR_H
#define ALGS_ALG_ADDR_H

#include "algs/alg.h"
#include "core/addr.h"

static inline struct addr alg_addr_in(const struct alg_addr *a)
{
	struct addr ret = { .family = a->family == 4 ? AF_INET : a->family == 6 ? AF_INET6 : 0, .port = a->port };

	if (ret.family != 0)
		memcpy(ret.ip, a->ip, ret.family == AF_INET ? 4 : 16);
	return ret;
}

static inline struct alg_addr alg_addr_out(const struct addr *a)
{
	struct alg_addr ret = { .family = a->family == AF_INET ? 4 : a->family == AF_INET6 ? 6 : 0, .port = a->port };

	if (ret.family != 0)
		memcpy(ret.ip, a->ip, ret.family == 4 ? 4 : 16);
	return ret;
}

#endif
