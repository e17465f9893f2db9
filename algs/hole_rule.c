/* Which ends of pinholes are acceptable: the speaker's own address only, and no port where a service may listen. */
#include "algs/hole_rule.h"

/* Ports at and above the floor at which services listen that must not be reached through a data connection: proxies, databases,
 * file systems, SIP, remote screens, caches. */
static const struct port_range {
	uint16_t min, max;
} denied[] = {
	{ 1080, 1080 }, { 1433, 1433 }, { 1521, 1521 }, { 2049, 2049 }, { 2375, 2376 }, { 3128, 3128 }, { 3306, 3306 },
	{ 3389, 3389 }, { 5060, 5061 }, { 5432, 5432 }, { 5900, 5910 }, { 6000, 6063 }, { 6379, 6379 }, { 8080, 8080 },
	{ 11211, 11211 }, { 27017, 27017 },
};

bool hole_port_is_denied(uint16_t port)
{
	if (port < HOLE_PORT_FLOOR)
		return true;
	for (unsigned i = 0; i < sizeof(denied) / sizeof(denied[0]); i++)
		if (port >= denied[i].min && port <= denied[i].max)
			return true;
	return false;
}

struct addr hole_addr(const struct alg_addr *addr)
{
	struct addr out = { .port = addr->port };

	if (addr->family != 4 && addr->family != 6)
		return (struct addr){ 0 };
	out.family = addr->family == 4 ? AF_INET : AF_INET6;
	memcpy(out.ip, addr->ip, addr->family == 4 ? 4 : sizeof(out.ip));
	return out;
}

struct alg_addr hole_alg_addr(const struct addr *addr)
{
	struct alg_addr out = { .port = addr->port };

	out.family = addr->family == AF_INET ? 4 : addr->family == AF_INET6 ? 6 : 0;
	memcpy(out.ip, addr->ip, sizeof(out.ip));
	return out;
}

int hole_end(const struct addr *speaker, const struct alg_addr *named, struct addr *ret)
{
	struct addr end = *speaker;

	end.port = named->port;
	if (named->family != 0) {
		end = hole_addr(named);
		if (!addr_eq_ip(&end, speaker))
			return ALG_ERR_DENIED;
	}
	if (hole_port_is_denied(end.port))
		return ALG_ERR_DENIED;
	*ret = end;
	return 0;
}
