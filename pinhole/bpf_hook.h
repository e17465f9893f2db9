/* Where the programs run: the interfaces of the realms. Attaches to each what it takes, never touches what belongs to
 * others, and knows in words why something is not there. Single thread. */
#ifndef PINHOLE_BPF_HOOK_H
#define PINHOLE_BPF_HOOK_H

#include "pinhole/backend.h"
#include "pinhole/bpf_engine.h"
#include "pinhole/bpf_rtnl.h"

enum { BPF_HOOKS_MAX = 64 };

struct bpf_hook { /* one interface */
	char name[WIRE_INTERFACE_MAX];
	int index;                        /* 0: not there now */
	uint8_t mac[6];
	bool has_tc, has_xdp;
	bool is_xdp_out;                  /* what XDP redirects to it goes out: it has been tried */
	enum { BPF_HOOK_UNTRIED, BPF_HOOK_UNDECLARED, BPF_HOOK_DECLARED } tried_as;
	char tc_reason[WIRE_REASON_MAX], xdp_reason[WIRE_REASON_MAX], out_reason[WIRE_REASON_MAX];
};

struct bpf_hooks {
	struct bpf_engine *engine;
	struct bpf_rtnl *rtnl;
	uint32_t handle;                  /* of our filters; differs between gateways on one machine */
	bool wants_tc, wants_xdp;
	struct bpf_hook list[BPF_HOOKS_MAX];
	unsigned n;
};

/* Marks what belongs to this gateway, apart from others on the same machine. Never 0. */
uint32_t bpf_hooks_node(const char *node_tag);
/* Ids of the programs at all places where ours may be; how many. */
unsigned bpf_hooks_attached(const struct backend_conf *conf, uint32_t *ids, unsigned max);

/* Borrows engine and rtnl. */
void bpf_hooks_init(struct bpf_hooks *hooks, struct bpf_engine *engine, struct bpf_rtnl *rtnl, const struct backend_conf *conf);
/* Compares with the interfaces of conf and with the kernel, attaches what is missing. Returns whether anything is different
 * from before. */
bool bpf_hooks_sync(struct bpf_hooks *hooks, const struct backend_conf *conf);
void bpf_hooks_remove(struct bpf_hooks *hooks); /* detaches what is ours, everywhere */
/* NULL: no such interface. */
const struct bpf_hook *bpf_hooks_find(const struct bpf_hooks *hooks, const char *name);

#endif
