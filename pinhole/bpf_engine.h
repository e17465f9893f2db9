/* The BPF programs and maps in the kernel, and their pins in bpffs: found where an earlier process left them, made where
 * there are none. What the maps hold is the business of bpf.c and bpf_flow.c; where the programs are attached, of
 * bpf_hook.c. Single thread: the helper's. */
#ifndef PINHOLE_BPF_ENGINE_H
#define PINHOLE_BPF_ENGINE_H

#include <stdbool.h>
#include <stddef.h>

#include "pinhole/bpf/flow.h"

enum { BPF_ENGINE_OLD_MAX = 16, BPF_ENGINE_PATH_MAX = 256 };

union bpf_engine_key {
	struct flow_key4 v4;
	struct flow_key6 v6;
};

struct bpf_engine {
	char folder[BPF_ENGINE_PATH_MAX]; /* of the pins; "" : none, everything ends with the process */
	int flows4, flows6, slots, states, control;
	int xdp, tc, probe;
	int slots_shared; /* for other processes; -1 without pins */
	/* Programs that are or were ours: what is attached and is not among these is somebody else's. Includes xdp and tc. */
	struct bpf_engine_program {
		int fd;
		slot_u32 id;
	} known[BPF_ENGINE_OLD_MAX];
	unsigned n_known;
	slot_u32 n_slots;
	struct slot *slot_memory;        /* of the maps, shared with the programs */
	struct flow_state *state_memory;
	struct flow_control *control_memory;
};

/* Makes sure that a bpffs is below state_dir and writes where into path. 0 or a negative errno. Needs CAP_SYS_ADMIN when it
 * has to mount one. */
int bpf_engine_mount(const char *state_dir, char *path, size_t size);
void bpf_engine_init(struct bpf_engine *engine); /* nothing is open */
struct bpf_engine_conf {
	const char *folder;         /* of the node's pins; NULL: no pins */
	slot_u32 node;              /* marks the maps, so that those of several gateways are told apart */
	slot_u32 n;                 /* flows wanted; maps that are there and hold flows are kept as they are */
	const slot_u32 *attached;   /* ids of programs found where ours belong, whoever's they are */
	unsigned n_attached;
};
/* Finds what is pinned; where the pins are gone but a program of this node is still attached, what that program uses. 0, or a
 * negative errno with *ret_what a static text: what could not be done. */
int bpf_engine_open(struct bpf_engine *engine, const struct bpf_engine_conf *conf, const char **ret_what);
/* The programs have been attached wherever they are to be: those of an earlier process need not be remembered any more. */
void bpf_engine_commit(struct bpf_engine *engine);
void bpf_engine_close(struct bpf_engine *engine); /* the kernel keeps what is pinned or attached */
void bpf_engine_unpin(struct bpf_engine *engine);

/* For bpf_maps.c. A descriptor of what is pinned under that name, or a negative errno; know() takes the descriptor. */
int bpf_engine_open_pin(const struct bpf_engine *engine, const char *name, slot_u32 flags);
int bpf_engine_replace_pin(const struct bpf_engine *engine, const char *name, int fd);
void bpf_engine_know(struct bpf_engine *engine, int program);

slot_u32 bpf_engine_id(int program); /* 0: unknown */
bool bpf_engine_knows(const struct bpf_engine *engine, slot_u32 program_id);

int bpf_engine_get(const struct bpf_engine *engine, bool is_ip6, const union bpf_engine_key *key, struct flow *ret);
int bpf_engine_put(const struct bpf_engine *engine, bool is_ip6, const union bpf_engine_key *key, const struct flow *flow);
int bpf_engine_delete(const struct bpf_engine *engine, bool is_ip6, const union bpf_engine_key *key);
/* Every flow, read in batches. fn may put and delete what it is given. 0 or a negative errno. */
typedef void bpf_engine_each_fn(void *arg, bool is_ip6, const union bpf_engine_key *key, const struct flow *flow);
int bpf_engine_each(const struct bpf_engine *engine, bpf_engine_each_fn *fn, void *arg);

#endif
