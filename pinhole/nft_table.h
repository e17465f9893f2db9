/* This gateway's table in the kernel: installed once by nft(8), put back by ourselves when somebody flushed it. After _open
 * no process is started: what nft made of the skeleton was read back then, and is sent again. Never touches another table. */
#ifndef PINHOLE_NFT_TABLE_H
#define PINHOLE_NFT_TABLE_H

#include "pinhole/nft_link.h"
#include "pinhole/nft_skeleton.h"

struct nft_table;

/* Finds the table that an earlier process left, with its elements, or installs it; one of an older version is replaced.
 * When it was not there and is_wanted is false it is taken out again, until nft_table_need(): a machine on which no pinhole
 * ever takes this way keeps a host without connection tracking. 0, -ENOMEM, or another error with a reason. */
int nft_table_open(const struct backend_conf *conf, bool is_wanted, struct nft_table **ret, char reason[WIRE_REASON_MAX]);
/* The other table, NFT_SKELETON_PORTS, which is always wanted. */
int nft_table_open_ports(const struct backend_conf *conf, struct nft_table **ret, char reason[WIRE_REASON_MAX]);
/* NFT_SKELETON_CAPTURES, likewise. */
int nft_table_open_captures(const struct backend_conf *conf, struct nft_table **ret, char reason[WIRE_REASON_MAX]);
/* Takes out of the kernel what an earlier process with another configuration left there. */
int nft_table_clear(const struct backend_conf *conf, enum nft_skeleton_kind kind);
void nft_table_close(struct nft_table *table); /* the kernel keeps it. NULL is fine */

/* From now on the table has to be there. Costs nothing when it is known to be. */
int nft_table_need(struct nft_table *table);
/* Once a second: has anybody changed the ruleset, and is ours whole? Puts it back if not, *ret_is_new then says that its
 * elements are gone. *ret_is_changed: somebody else did something, elements may be missing. */
struct nft_table_news {
	bool is_changed, is_new;
};
int nft_table_check(struct nft_table *table, struct nft_table_news *ret);
/* Packets of exact flows that left, since the table is there: what arrives and does not leave was dropped in between. */
int nft_table_passed(struct nft_table *table, uint64_t *ret);
/* Takes it out of the kernel. */
int nft_table_remove(struct nft_table *table);

/* Whether this configuration would still make the same table. */
bool nft_table_is_for(const struct nft_table *table, const struct backend_conf *conf);

struct nft_link *nft_table_link(struct nft_table *table);
const char *nft_table_name(const struct nft_table *table);
/* Commits a batch of this link and remembers that the change was ours. */
int nft_table_commit(struct nft_table *table, struct nft_batch *batch);

#endif
