/* Names of paths and states, for people and for the API. Pure. */
#include "pinhole/pinhole.h"

const char *pinhole_path_text(enum pinhole_path path)
{
	static const char *const texts[PINHOLE_PATHS] = {
		[PINHOLE_NONE] = "none", [PINHOLE_XDP] = "xdp", [PINHOLE_TC] = "tc", [PINHOLE_CONNTRACK] = "conntrack",
		[PINHOLE_NFT] = "nft",
	};

	return texts[path];
}

const char *pinhole_state_text(enum pinhole_state state)
{
	static const char *const texts[] = {
		[PINHOLE_RESERVED] = "reserved", [PINHOLE_ARMED] = "armed", [PINHOLE_BOUND] = "bound",
		[PINHOLE_DRAINING] = "draining", [PINHOLE_CLOSED] = "closed",
	};

	return texts[state];
}
