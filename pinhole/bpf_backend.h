/* What the files of the BPF back end share of it. */
#ifndef PINHOLE_BPF_BACKEND_H
#define PINHOLE_BPF_BACKEND_H

#include "pinhole/bpf_flow.h"
#include "pinhole/bpf_hook.h"

struct bpf_proof { /* what came out of sending packets through it; a reason where something did not */
	bool has_xdp, has_tc, has_ip6;
	char xdp_reason[WIRE_REASON_MAX], tc_reason[WIRE_REASON_MAX];
};

/* One per slot. A copy of what the maps hold, made from them at start, so that what is due is found without reading them. */
struct bpf_held {
	uint64_t id;            /* 0: free */
	uint64_t expires_ns;
	union bpf_engine_key key;
	bool is_ip6;
	bool is_replaced;       /* its flow is gone: expired, or another one has its addresses; kept for its counters */
};

struct backend {
	const struct backend_conf *conf;
	struct bpf_engine engine;
	struct bpf_rtnl *rtnl;
	struct bpf_hooks hooks;
	struct bpf_proof proof;
	struct bpf_held *held;
	uint32_t next_slot;     /* where to look for a free one: the one freed last is used last */
	unsigned n_replaced;
	uint64_t neighbours_ms; /* when they were used last */
	int forwarding4, forwarding6; /* the loopback interface's switches; -1: there is none */
	char reason[WIRE_REASON_MAX]; /* not "": nothing works, and why */
};

/* Everything but the proof. folder: of the pins, NULL for none. 0, or a negative error with backend->reason. */
int bpf_start(struct backend *backend, const struct backend_conf *conf, const char *folder);
void bpf_stop(struct backend *backend);

void bpf_free_slot(struct backend *backend, uint32_t slot);
/* What in a flow depends on interfaces, as they are now. */
void bpf_place_again(struct backend *backend, const struct wire_pinhole *pinhole, struct flow *flow);

/* bpf_upkeep.c */
void bpf_upkeep_forwarding(struct backend *backend); /* of the loopback interface, which next hops are looked up for */
void bpf_upkeep_look_up(struct backend *backend);    /* next hops, with the next packet of each flow */
void bpf_upkeep_links(struct backend *backend);
void bpf_upkeep_neighbours(struct backend *backend, uint64_t now_ns);
void bpf_upkeep_expire(struct backend *backend, uint64_t now_ns, void (*gone)(void *arg, uint64_t id, enum wire_gone_why why),
		       void *arg);

/* In a process and a network namespace of its own, which end with it: interfaces, flows, real packets. -ENOMEM only. */
int bpf_proof_run(struct bpf_proof *ret);

#endif
