/* Where connections that are taken over arrive: sockets on loopback, which nobody outside can reach by their own address. */
#include "core/config.h"

enum { CAPTURE_PORT = 18500 /* of the first ALG; the others follow */ };

struct addr config_alg_capture(const struct alg_conf *alg, uint8_t family)
{
	struct addr addr = { .family = family, .port = (uint16_t)(CAPTURE_PORT + alg->index) };

	if (family == AF_INET) {
		addr.ip[0] = 127;
		addr.ip[3] = 1;
	} else {
		addr.ip[15] = 1;
	}
	return addr;
}
