/* How control channels are taken over: by which protocol, and where they arrive, on loopback, which nobody outside can reach by its
 * own address. */
#include "core/config_build.h"

enum { CAPTURE_PORT = 18500 /* of the first place; the others follow */ };

struct addr config_alg_capture(const struct alg_conf *alg, uint8_t family)
{
	struct addr addr = { .family = family, .port = (uint16_t)(CAPTURE_PORT + alg->capture) };

	if (family == AF_INET) {
		addr.ip[0] = 127;
		addr.ip[3] = 1;
	} else {
		addr.ip[15] = 1;
	}
	return addr;
}

bool config_alg_is_datagram(const struct alg_conf *alg)
{
	const struct config_protocol *protocol = config_protocol(span_of(alg->protocol));

	return protocol != NULL && protocol->is_datagram;
}
