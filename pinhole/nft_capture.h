/* The part of the skeleton that takes control channels over: text for nft(8), from the captures of the limits. Pure. */
#ifndef PINHOLE_NFT_CAPTURE_H
#define PINHOLE_NFT_CAPTURE_H

#include "core/buf.h"
#include "pinhole/backend.h"

/* Packets that belong to sockets with foreign addresses are marked, and a rule of the host's routing delivers what is marked to this
 * machine. Mark, table and rule follow from the gateway's tag. Other bits of the mark are left alone. */
enum { NFT_CAPTURE_MASK = 0x3f000000, NFT_CAPTURE_PRIORITY = 18500 /* of the rule */ };
struct nft_capture_routing {
	uint32_t mark, table;
};
struct nft_capture_routing nft_capture_routing(const char *tag);

void nft_capture_put(struct buf *b, const struct backend_conf *conf);
size_t nft_capture_room(const struct backend_conf *conf); /* that this takes at most */

#endif
