/* A peer of an ALG is known by its address. On its own connections the gateway notices who cannot hear its answers, and doors in the
 * kernel ask for the way back themselves; all else on these interfaces is up to rp_filter, which distributions set or do not. */
#include "daemon/spoofing.h"

#include <ifaddrs.h>
#include <stdio.h>
#include <sys/socket.h>

#include "core/log.h"

/* 0, 1 (strict) or 2 (loose); negative when it cannot be read. */
static int read_setting(const char *interface)
{
	char path[128];
	int value = -1;
	FILE *file;

	if (snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/rp_filter", interface) >= (int)sizeof(path))
		return -1;
	file = fopen(path, "re");
	if (file == NULL)
		return -1;
	value = fgetc(file) - '0';
	fclose(file);
	return value;
}

static bool is_of_alg(const struct config *config, const struct addr *addr)
{
	for (unsigned i = 0; i < config->n_algs; i++) {
		const struct realm_conf *const realms[] = { config->algs[i].realm, config->algs[i].to };

		for (unsigned k = 0; k < 2; k++)
			for (unsigned n = 0; n < realms[k]->n_addresses; n++)
				if (addr_eq_ip(&realms[k]->addresses[n], addr))
					return true;
	}
	return false;
}

void spoofing_warn(const struct config *config)
{
	struct ifaddrs *all = NULL;

	if (config->n_algs == 0 || read_setting("all") != 0 || getifaddrs(&all) != 0)
		return;
	for (const struct ifaddrs *one = all; one != NULL; one = one->ifa_next) {
		struct addr addr;

		if (one->ifa_addr == NULL || one->ifa_addr->sa_family != AF_INET)
			continue;
		addr = addr_from_sockaddr(one->ifa_addr);
		if (addr_kind(&addr) == ADDR_LOOPBACK || !is_of_alg(config, &addr) || read_setting(one->ifa_name) != 0)
			continue;
		log_warn("posternd", "rp_filter is off: others can send with addresses of clients and servers",
			 LF_TEXT("interface", one->ifa_name),
			 LF_TEXT("hint", "sysctl -w net.ipv4.conf.INTERFACE.rp_filter=1, where routes are symmetrical"));
	}
	freeifaddrs(all);
}
