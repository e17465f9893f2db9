/* Which ends of pinholes are acceptable: the speaker's own address only, and no port where a service may listen. And what does not leave
 * data to the kernel. */
#include "algs/hole_rule.h"

#include "core/policy.h"

struct port_range {
	uint16_t min, max;
};

/* Ports at and above the floor at which services listen that must not be reached through a data connection: proxies, databases,
 * file systems, SIP, remote screens, caches. */
static const struct port_range denied[] = {
	{ 1080, 1080 }, { 1433, 1433 }, { 1521, 1521 }, { 2049, 2049 }, { 2375, 2376 }, { 3128, 3128 }, { 3306, 3306 },
	{ 3389, 3389 }, { 5060, 5061 }, { 5432, 5432 }, { 5900, 5910 }, { 6000, 6063 }, { 6379, 6379 }, { 8080, 8080 },
	{ 11211, 11211 }, { 27017, 27017 }, { 0 },
};
/* And by datagrams: discovery, file systems, IPsec, SIP, caches. Screens are none of them: 6000 is a usual port of media. */
static const struct port_range denied_to_media[] = {
	{ 1900, 1900 }, { 2049, 2049 }, { 4500, 4500 }, { 5060, 5061 }, { 5353, 5353 }, { 11211, 11211 }, { 0 },
};

static bool is_in(const struct port_range *ranges, uint16_t port)
{
	if (port < HOLE_PORT_FLOOR)
		return true;
	for (; ranges->max != 0; ranges++)
		if (port >= ranges->min && port <= ranges->max)
			return true;
	return false;
}

bool hole_port_is_denied(uint16_t port)
{
	return is_in(denied, port);
}

bool hole_media_port_is_denied(uint16_t port)
{
	return is_in(denied_to_media, port);
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

static int end_of(const struct addr *speaker, const struct alg_addr *named, struct addr *ret)
{
	struct addr end = *speaker;

	if (named->family != 0)
		end = hole_addr(named);
	end.port = named->port;
	if (!addr_eq_ip(&end, speaker))
		return ALG_ERR_DENIED;
	*ret = end;
	return 0;
}

int hole_end(const struct addr *speaker, const struct alg_addr *named, struct addr *ret)
{
	return hole_port_is_denied(named->port) ? ALG_ERR_DENIED : end_of(speaker, named, ret);
}

int hole_media_end(const struct addr *speaker, const struct alg_addr *named, uint16_t rtcp_port, struct addr *ret)
{
	if (named->port != 0 && hole_media_port_is_denied(named->port))
		return ALG_ERR_DENIED;
	if (rtcp_port == 0 && named->port != 0)
		rtcp_port = (uint16_t)(named->port + 1); /* from 65535: 0, which is below the floor */
	if ((rtcp_port != 0 || named->port != 0) && hole_media_port_is_denied(rtcp_port))
		return ALG_ERR_DENIED;
	return end_of(speaker, named, ret);
}

enum hole_way hole_way_of(const struct alg_conf *conf, enum alg_hole_kind kind, const char *no_kernel, const char **ret_reason)
{
	*ret_reason = "";
	if (kind == ALG_HOLE_MEDIA) {
		*ret_reason = conf->mode == CONFIG_ALG_TRANSPARENT ? "media is let through as it is" :
			      "the media engine: the relay first, then the kernel where it can";
		return HOLE_MEDIA;
	}
	if (kind == ALG_HOLE_UDP) {
		*ret_reason = "the process passes datagrams on";
		return HOLE_DATAGRAMS;
	}
	if (conf->data == CONFIG_ALG_DATA_RELAY)
		*ret_reason = "the ALG has data: relay";
	else if (policy_needs_data(conf->policy))
		*ret_reason = "a rule of the profile limits octets or rate, or looks at data";
	else if (no_kernel != NULL)
		*ret_reason = no_kernel;
	else
		return HOLE_KERNEL;
	return HOLE_RELAY;
}
