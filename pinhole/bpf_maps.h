/* The engine's maps, as bpf_engine.c opens them. What is in them is read and written by bpf_engine_get() and the like, which are
 * in bpf_maps.c too. */
#ifndef PINHOLE_BPF_MAPS_H
#define PINHOLE_BPF_MAPS_H

#include "pinhole/bpf_engine.h"

struct bpf_object;

/* False: there are none that fit, and none is open. */
bool bpf_maps_find(struct bpf_engine *engine, const struct bpf_engine_conf *conf);
int bpf_maps_make(struct bpf_engine *engine, const struct bpf_engine_conf *conf);
int bpf_maps_pin(struct bpf_engine *engine);
int bpf_maps_share(struct bpf_engine *engine); /* maps their memory into this process */
int bpf_maps_use(struct bpf_engine *engine, struct bpf_object *object); /* instead of the object's own */
void bpf_maps_close(struct bpf_engine *engine);

#endif
