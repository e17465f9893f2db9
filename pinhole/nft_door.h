/* Doors for peers whose port, or address, is not known yet: one element in a map of targets and one in a map of source
 * addresses to leave with, both with the same time-out. What keeps its source has its second element in a set, without an
 * address. The maps and sets are those of nft_skeleton.c. Knows no pinholes. */
#ifndef PINHOLE_NFT_DOOR_H
#define PINHOLE_NFT_DOOR_H

#include "pinhole/nft_link.h"
#include "pinhole/wire.h"

struct nft_door {
	uint64_t id;             /* shown as the elements' comment */
	struct wire_addr source; /* port means nothing; family 0: anybody */
	struct wire_addr listen, target; /* the same: only let through */
	struct wire_addr from;   /* family 0: keeps its source, which is known then */
	uint32_t timeout_s;
	uint8_t proto;
	bool is_one_shot;        /* the kernel lets one connection through, then drops */
};

/* Adds both elements to a batch, or takes them out. An element that is there, or is not, fails the batch with -EEXIST or
 * -ENOENT. `half` picks one: 0 the target, 1 the address to leave with, 2 both. */
void nft_door_add(struct nft_batch *batch, const char *table, const struct nft_door *door);
void nft_door_remove(struct nft_batch *batch, const char *table, const struct nft_door *door, unsigned half);

/* Doors in the kernel; one whose second element is missing has a `from` of zeroes (and a family). timeout_s is what is left. */
typedef void nft_door_fn(void *arg, const struct nft_door *door);
int nft_door_list(struct nft_link *link, const char *table, nft_door_fn *fn, void *arg);

/* The opposite: datagrams from src to dst are not tracked for that long, so that no entry of the connection table applies to
 * them and they reach the socket. is_anew: an older element of the same kind is replaced, and has to be there. */
struct nft_fence {
	struct wire_addr src, dst;
	uint32_t timeout_s;
};
void nft_fence_add(struct nft_batch *batch, const char *table, const struct nft_fence *fence, bool is_anew);
void nft_fence_remove(struct nft_batch *batch, const char *table, const struct nft_fence *fence);

#endif
