/* What postern-pinholed can do. */
#include "pinhole/helper_backends.h"

const struct helper_backend helper_backends[HELPER_BACKENDS_MAX] = {
	{ &backend_bpf, 1U << PINHOLE_XDP | 1U << PINHOLE_TC },
	{ &backend_conntrack, 1U << PINHOLE_CONNTRACK },
	{ &backend_nft, 1U << PINHOLE_NFT },
	{ &backend_capture, HELPER_CAPTURE },
};
const unsigned helper_backends_n = 4;
