/* The few requests to the kernel's network configuration that the BPF back end makes: reading a link, and keeping a neighbour
 * alive. Single thread. */
#ifndef PINHOLE_BPF_RTNL_H
#define PINHOLE_BPF_RTNL_H

#include <stdbool.h>
#include <stdint.h>

struct bpf_rtnl;

struct bpf_rtnl_link {
	uint8_t mac[6];
	bool is_ethernet, is_up;
	uint64_t tx_packets, tx_lost; /* dropped and erroneous */
};

int bpf_rtnl_open(struct bpf_rtnl **ret);
void bpf_rtnl_close(struct bpf_rtnl *rtnl); /* NULL is fine */

int bpf_rtnl_link(struct bpf_rtnl *rtnl, int index, struct bpf_rtnl_link *ret);
/* A packet of ours goes there: an entry that has gone stale is confirmed again (NTF_USE). */
int bpf_rtnl_use_neighbour(struct bpf_rtnl *rtnl, int index, uint8_t family, const uint8_t *ip);
int bpf_rtnl_add_neighbour(struct bpf_rtnl *rtnl, int index, uint8_t family, const uint8_t *ip, const uint8_t mac[6]);

/* What the driver says that it does with XDP (netdev family of generic netlink, Linux 6.3). 0 with *ret_can_send: whether
 * packets can be redirected to the interface; ERR_UNSUPPORTED: the kernel does not say. */
int bpf_rtnl_xdp_out(struct bpf_rtnl *rtnl, int index, bool *ret_can_send);

#endif
