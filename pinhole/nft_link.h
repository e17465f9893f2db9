/* Talking to nf_tables over netlink: dumps, and batches that happen whole or not at all. In the network namespace in which it
 * was opened. Single thread; the kernel answers at once. */
#ifndef PINHOLE_NFT_LINK_H
#define PINHOLE_NFT_LINK_H

#include <stdint.h>

struct nft_link;
struct nlmsghdr;

int nft_link_open(struct nft_link **ret);
void nft_link_close(struct nft_link *link); /* NULL is fine */

/* Number of the ruleset: every committed change of anybody raises it by one. */
int nft_link_generation(struct nft_link *link, uint32_t *ret);

/* A dump. type is NFT_MSG_GET*; put, if any, adds attributes to the request; fn is a callback of libmnl. */
struct nft_dump {
	uint16_t type;
	void (*put)(struct nlmsghdr *head, void *arg);
	int (*fn)(const struct nlmsghdr *head, void *arg);
	void *arg;
};
int nft_link_dump(struct nft_link *link, const struct nft_dump *dump);

struct nft_batch;
int nft_batch_new(struct nft_link *link, struct nft_batch **ret);
void nft_batch_free(struct nft_batch *batch); /* without sending it. NULL is fine */
enum { NFT_MESSAGE_MAX = 16384 };
/* The next message, to be filled with up to NFT_MESSAGE_MAX octets; flags besides NLM_F_REQUEST. NULL without memory: the
 * batch then fails when committed. */
struct nlmsghdr *nft_batch_add(struct nft_batch *batch, uint16_t type, uint16_t flags);
/* Sends it, waits for the verdict and frees the batch. 0 or the first error. */
int nft_batch_commit(struct nft_batch *batch);

#endif
