/* What the files of the nftables back end share: nft.c (pinholes and their doors), nft_elements.c (doors in the kernel) and nft_flows.c
 * (the connections that come through them). Nobody else includes this. Single thread: the helper's. */
#ifndef PINHOLE_NFT_INSIDE_H
#define PINHOLE_NFT_INSIDE_H

#include "core/hash.h"
#include "core/list.h"
#include "pinhole/nat_frame.h"
#include "pinhole/nft_door.h"

enum { NFT_THERE = 0, NFT_BACK = 1, NFT_WAYS = 2 };

struct nft_moved {
	uint64_t packets, bytes;
};

struct door {
	struct hash_node node; /* by what may arrive */
	struct nft_door kernel;
	uint64_t expires_ms;   /* 0: timeout_s from the next tick on */
	uint32_t slot;
	bool is_shut, is_gone, is_in_kernel; /* shut: has had its connection, no element any more */
	bool is_to_self;       /* its connections end at sockets of posternd, which closes them itself */
	uint64_t seen;         /* serial of the last dump with a connection through it */
	struct conntrack_entry flow; /* the connection seen last */
	struct nft_moved now[NFT_WAYS];  /* by the connections in the dump being read */
	struct nft_moved last[NFT_WAYS]; /* in the one before */
	struct nft_moved past[NFT_WAYS]; /* by connections that have ended */
};

struct backend {
	struct nat_frame frame;
	struct nft_table *ports; /* NULL where it could not be had: nothing depends on it */
	struct hash_table *doors;
	uint64_t serial;         /* of dumps, above 0 */
	bool is_watching, has_missed; /* beginnings of connections are told; some were not, since the last dump */
	unsigned n_looks;
	struct list leaving;     /* closed, and to be looked at once more with the next tick */
	struct hash_table *left; /* connections of an earlier process, as they were found; NULL when there are none any more */
	uint64_t left_until_ms;
};

struct nft_arrival { /* hashed and compared as octets: no padding */
	uint16_t proto;
	struct wire_addr source, listen; /* source without port, or nothing */
};
_Static_assert(sizeof(struct nft_arrival) == 2 + 2 * sizeof(struct wire_addr), "no padding");

/* nft.c */
struct nft_arrival nft_arrival(uint8_t proto, const struct wire_addr *source, const struct wire_addr *listen);
uint64_t nft_hash(const struct nft_arrival *arrival);
struct door *nft_find(const struct backend *backend, const struct nft_arrival *arrival); /* or NULL */
bool nft_same_way(const struct nft_door *a, const struct nft_door *b); /* all addresses */

/* nft_elements.c: 0 or a negative errno. */
int nft_elements_take_out(struct backend *backend, const struct nft_door *door); /* that it is not there is fine */
/* New elements; old ones of this door are replaced in the same moment, for their time-out cannot be changed. */
int nft_elements_put_in(struct backend *backend, const struct nft_door *door, bool is_replacing);
/* After -EEXIST: elements with these keys are in the kernel, an earlier process's or another door's. */
int nft_elements_take_over(struct backend *backend, const struct nft_door *wanted, bool *ret_was_there);
bool nft_elements_has(struct backend *backend, const struct nft_door *door);
/* Somebody may have changed the ruleset, and elements of ours may have gone with it. */
void nft_elements_heal(struct backend *backend);

/* nft_flows.c */
int nft_flows_open(struct backend *backend); /* notes what an earlier process left */
void nft_flows_close(struct backend *backend);
void nft_flows_tick(struct backend *backend);
/* Which doors have connections, and what these have moved. Afterwards door->seen == backend->serial tells. */
int nft_flows_read(struct backend *backend);
bool nft_flows_is_over(const struct conntrack_entry *flow); /* it is only remembered */
/* From now on beginnings of connections are known at once: for doors whose connection cannot be found by what answers it. */
void nft_flows_watch(struct backend *backend);
/* How far the one connection of this door has come; counts it. */
enum pinhole_end nft_flows_look(struct backend *backend, struct door *door);
/* Whether a connection that an earlier process let in through this door for one is still there: the door stays shut. */
bool nft_flows_is_used_up(struct backend *backend, struct door *door);
/* Of a door that is being closed: counts its connections for the last time and cuts them, but for those of our own sockets. */
void nft_flows_cut(struct backend *backend, struct door *door);
void nft_flows_cut_unknown(struct backend *backend, const struct nft_door *door); /* of a door that is only in the kernel */
/* Before the same door is opened again: connections through the new one must not be taken for those of the old one. */
void nft_flows_cut_before(struct backend *backend, const struct nft_door *wanted);

#endif
