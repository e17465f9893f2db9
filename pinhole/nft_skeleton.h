/* What the table of this gateway holds besides elements: text for nft(8), made from the configuration alone, and its
 * installation. docs/firewall.md explains it line by line. */
#ifndef PINHOLE_NFT_SKELETON_H
#define PINHOLE_NFT_SKELETON_H

#include "pinhole/backend.h"

enum { NFT_NAME_MAX = 48, NFT_SIGNATURE_MAX = 64 };

/* Marks of connections: the same for the same tag, other gateways on this machine have others. The lowest 4 bits tell the
 * kind. */
enum { NFT_MARK_KIND = 15, NFT_MARK_EXACT = 1 /* inserted */, NFT_MARK_OPEN = 2 /* through an element */,
       NFT_MARK_KEPT = 3 /* the same, and its source stays as it is */ };
uint32_t nft_mark(const char *tag);

#define NFT_CHAIN_PASSED "passed" /* its one rule counts what leaves through exact flows */

enum nft_skeleton_kind {
	NFT_SKELETON_DOORS, /* "postern_<tag>": what pinholes need; brings connection tracking with it */
	NFT_SKELETON_PORTS, /* "postern_<tag>_ports": media ports without a socket are silent; costs next to nothing */
	NFT_SKELETON_CAPTURES, /* "postern_<tag>_captures": nft_capture.h */
};

struct nft_skeleton {
	char table[NFT_NAME_MAX];            /* family inet */
	char signature[NFT_SIGNATURE_MAX];   /* the table's comment; differs when the text does */
	char *text;                          /* replaces the table, whatever it was */
};

/* 0, -ENOMEM, or ERR_CONFIG with a reason: a tag or the name of an interface holds what does not belong into one. */
int nft_skeleton_make(const struct backend_conf *conf, enum nft_skeleton_kind kind, struct nft_skeleton *ret,
		      char reason[WIRE_REASON_MAX]);
void nft_skeleton_free(struct nft_skeleton *skeleton);
/* Runs nft(8), in the network namespace of the moment. 0, or a negative error with what nft said. */
int nft_skeleton_install(const struct nft_skeleton *skeleton, char reason[WIRE_REASON_MAX]);

#endif
