/* The maps of the BPF back end: found by their pins, found by the programs that use them, or made; and what is in them. */
#include "pinhole/bpf_maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/err.h"

enum { BATCH = 512, PROGRAM_MAPS_MAX = 16 };

struct map_kind {
	const char *name;
	enum bpf_map_type type;
	uint32_t key_size, value_size, flags;
	bool is_single;
	size_t fd_at; /* in struct bpf_engine */
};

/* Preallocated: with 20,000 flows that is 2.1 instead of 1.8 million packets per second at XDP, and half the time to add one. */
static const struct map_kind map_kinds[] = {
	{ "flows4", BPF_MAP_TYPE_HASH, sizeof(struct flow_key4), sizeof(struct flow), 0, false,
	  offsetof(struct bpf_engine, flows4) },
	{ "flows6", BPF_MAP_TYPE_HASH, sizeof(struct flow_key6), sizeof(struct flow), 0, false,
	  offsetof(struct bpf_engine, flows6) },
	{ "slots", BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), sizeof(struct slot), BPF_F_MMAPABLE, false,
	  offsetof(struct bpf_engine, slots) },
	{ "states", BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), sizeof(struct flow_state), BPF_F_MMAPABLE, false,
	  offsetof(struct bpf_engine, states) },
	{ "control", BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), sizeof(struct flow_control), BPF_F_MMAPABLE, true,
	  offsetof(struct bpf_engine, control) },
};
enum { MAPS = sizeof(map_kinds) / sizeof(map_kinds[0]) };

static int *map_fd(struct bpf_engine *e, const struct map_kind *kind)
{
	return (int *)((char *)e + kind->fd_at);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static bool fits(const struct map_kind *kind, const struct bpf_map_info *info)
{
	return info->type == kind->type && info->key_size == kind->key_size && info->value_size == kind->value_size &&
	       info->map_flags == kind->flags && info->max_entries > 0;
}

static bool is_empty(int fd)
{
	union bpf_engine_key key;

	return bpf_map_get_next_key(fd, NULL, &key) < 0;
}

/* The maps' names in the kernel, which show in bpftool. */
static void name_map(const struct map_kind *kind, uint32_t node, char name[BPF_OBJ_NAME_LEN])
{
	if (kind->is_single)
		snprintf(name, BPF_OBJ_NAME_LEN, "pst_%08x", node);
	else
		snprintf(name, BPF_OBJ_NAME_LEN, "pst_%s", kind->name);
}

static bool read_map(int fd, struct bpf_map_info *ret)
{
	uint32_t size = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	return bpf_obj_get_info_by_fd(fd, ret, &size) == 0;
}

/* Which of the engine's maps it is, by name; NULL: none. */
static int *fd_for(struct bpf_engine *e, const struct bpf_map_info *info, uint32_t node)
{
	char name[BPF_OBJ_NAME_LEN];

	for (unsigned i = 0; i < MAPS; i++) {
		name_map(&map_kinds[i], node, name);
		if (strcmp(info->name, name) == 0)
			return map_fd(e, &map_kinds[i]);
	}
	return NULL;
}

static void close_maps(struct bpf_engine *e)
{
	for (unsigned i = 0; i < MAPS; i++)
		close_fd(map_fd(e, &map_kinds[i]));
}

/* The maps of a program that is attached. True: it is this node's. */
static bool open_maps_of(struct bpf_engine *e, int program, uint32_t node)
{
	uint32_t ids[PROGRAM_MAPS_MAX] = { 0 }, size;
	struct bpf_prog_info info = { .nr_map_ids = PROGRAM_MAPS_MAX, .map_ids = (uintptr_t)ids };
	struct bpf_map_info map;

	size = sizeof(info);
	if (bpf_obj_get_info_by_fd(program, &info, &size) < 0)
		return false;
	for (unsigned i = 0; i < info.nr_map_ids && i < PROGRAM_MAPS_MAX; i++) {
		int fd = bpf_map_get_fd_by_id(ids[i]);
		int *place = fd >= 0 && read_map(fd, &map) ? fd_for(e, &map, node) : NULL;

		if (place == NULL || *place >= 0)
			close_fd(&fd);
		else
			*place = fd;
	}
	return e->control >= 0;
}

/* Takes over the maps of the first program that is this node's, and knows them all. Only where there are no pins to say what
 * is whose. Needs CAP_SYS_ADMIN: without it nothing is found. */
static void recover(struct bpf_engine *e, const struct bpf_engine_conf *conf)
{
	for (unsigned i = 0; i < conf->n_attached; i++) {
		int program = bpf_prog_get_fd_by_id(conf->attached[i]);
		struct bpf_engine found;
		bool is_ours;

		bpf_engine_init(&found);
		is_ours = program >= 0 && open_maps_of(&found, program, conf->node);
		for (unsigned k = 0; k < MAPS && is_ours && e->control < 0; k++) {
			*map_fd(e, &map_kinds[k]) = *map_fd(&found, &map_kinds[k]);
			*map_fd(&found, &map_kinds[k]) = -1;
		}
		close_maps(&found);
		if (is_ours)
			bpf_engine_know(e, program);
		else
			close_fd(&program);
	}
}

int bpf_maps_pin(struct bpf_engine *e)
{
	int err = 0;

	for (unsigned i = 0; i < MAPS && err == 0; i++)
		err = bpf_engine_replace_pin(e, map_kinds[i].name, *map_fd(e, &map_kinds[i]));
	return err;
}

static void open_maps(struct bpf_engine *e, const struct bpf_engine_conf *conf)
{
	int pin = bpf_engine_open_pin(e, map_kinds[0].name, 0);

	for (unsigned i = 0; i < MAPS && pin >= 0; i++)
		*map_fd(e, &map_kinds[i]) = bpf_engine_open_pin(e, map_kinds[i].name, 0);
	if (pin < 0)
		recover(e, conf);
	close_fd(&pin);
}

/* All maps of an earlier process, or none: they belong together. */
bool bpf_maps_find(struct bpf_engine *e, const struct bpf_engine_conf *conf)
{
	struct bpf_map_info info[MAPS] = { 0 };
	bool is_usable = true;

	open_maps(e, conf);
	for (unsigned i = 0; i < MAPS && is_usable; i++) {
		const struct map_kind *kind = &map_kinds[i];
		int fd = *map_fd(e, kind);

		is_usable = fd >= 0 && read_map(fd, &info[i]) && fits(kind, &info[i]) &&
			    (kind->is_single || info[i].max_entries == info[0].max_entries);
	}
	/* Of another size than wanted: as long as they hold flows, that is more important. */
	if (is_usable && info[0].max_entries != conf->n && is_empty(e->flows4) && is_empty(e->flows6))
		is_usable = false;
	e->n_slots = info[0].max_entries;
	if (!is_usable)
		close_maps(e);
	return is_usable;
}

int bpf_maps_make(struct bpf_engine *e, const struct bpf_engine_conf *conf)
{
	e->n_slots = conf->n;
	for (unsigned i = 0; i < MAPS; i++) {
		const struct map_kind *kind = &map_kinds[i];
		LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = kind->flags);
		char name[BPF_OBJ_NAME_LEN];
		int *fd = map_fd(e, kind);

		name_map(kind, conf->node, name);
		*fd = bpf_map_create(kind->type, name, kind->key_size, kind->value_size, kind->is_single ? 1 : conf->n, &opts);
		if (*fd < 0)
			return *fd;
	}
	return 0;
}

int bpf_maps_share(struct bpf_engine *e)
{
	struct {
		int fd;
		size_t size;
		void **memory;
	} wanted[] = {
		{ e->slots, e->n_slots * sizeof(struct slot), (void **)&e->slot_memory },
		{ e->states, e->n_slots * sizeof(struct flow_state), (void **)&e->state_memory },
		{ e->control, sizeof(struct flow_control), (void **)&e->control_memory },
	};

	for (unsigned i = 0; i < 3; i++) {
		void *memory = mmap(NULL, wanted[i].size, PROT_READ | PROT_WRITE, MAP_SHARED, wanted[i].fd, 0);

		if (memory == MAP_FAILED)
			return -errno;
		*wanted[i].memory = memory;
	}
	return 0;
}

int bpf_maps_use(struct bpf_engine *e, struct bpf_object *object)
{
	int err = 0;

	for (unsigned i = 0; i < MAPS && err == 0; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(object, map_kinds[i].name);

		err = map == NULL ? ERR_CORRUPT : bpf_map__reuse_fd(map, *map_fd(e, &map_kinds[i]));
	}
	return err;
}

void bpf_maps_close(struct bpf_engine *e)
{
	if (e->slot_memory != NULL)
		munmap(e->slot_memory, e->n_slots * sizeof(struct slot));
	if (e->state_memory != NULL)
		munmap(e->state_memory, e->n_slots * sizeof(struct flow_state));
	if (e->control_memory != NULL)
		munmap(e->control_memory, sizeof(struct flow_control));
	e->slot_memory = NULL;
	e->state_memory = NULL;
	e->control_memory = NULL;
	close_maps(e);
}

static int flows_of(const struct bpf_engine *e, bool is_ip6)
{
	return is_ip6 ? e->flows6 : e->flows4;
}

int bpf_engine_get(const struct bpf_engine *e, bool is_ip6, const union bpf_engine_key *key, struct flow *ret)
{
	int err = bpf_map_lookup_elem(flows_of(e, is_ip6), key, ret);

	return err == -ENOENT ? ERR_NOT_FOUND : err;
}

int bpf_engine_put(const struct bpf_engine *e, bool is_ip6, const union bpf_engine_key *key, const struct flow *flow)
{
	int err = bpf_map_update_elem(flows_of(e, is_ip6), key, flow, BPF_ANY);

	return err == -E2BIG || err == -ENOSPC ? ERR_LIMIT : err;
}

int bpf_engine_delete(const struct bpf_engine *e, bool is_ip6, const union bpf_engine_key *key)
{
	int err = bpf_map_delete_elem(flows_of(e, is_ip6), key);

	return err == -ENOENT ? ERR_NOT_FOUND : err;
}

/* A batch ends at a bucket's end; one that is fuller than the space is refused and read again with more space. */
static int each_of(const struct bpf_engine *e, bool is_ip6, bpf_engine_each_fn *fn, void *arg)
{
	size_t key_size = is_ip6 ? sizeof(struct flow_key6) : sizeof(struct flow_key4);
	uint32_t space = BATCH, n, token = 0, next = 0;
	struct flow *flows = calloc(space, sizeof(*flows));
	char *keys = calloc(space, key_size);
	bool is_first = true;
	int err = flows == NULL || keys == NULL ? -ENOMEM : 0;

	while (err == 0) {
		union bpf_engine_key key = { 0 };

		n = space;
		err = bpf_map_lookup_batch(flows_of(e, is_ip6), is_first ? NULL : &token, &next, keys, flows, &n, NULL);
		if (err == -ENOSPC && space < e->n_slots) {
			space *= 2;
			free(flows);
			free(keys);
			flows = calloc(space, sizeof(*flows));
			keys = calloc(space, key_size);
			err = flows == NULL || keys == NULL ? -ENOMEM : 0;
			continue;
		}
		if (err < 0 && err != -ENOENT)
			break;
		for (uint32_t i = 0; i < n; i++) {
			memcpy(&key, keys + i * key_size, key_size);
			fn(arg, is_ip6, &key, &flows[i]);
		}
		token = next;
		is_first = false;
	}
	free(flows);
	free(keys);
	return err == -ENOENT ? 0 : err;
}

int bpf_engine_each(const struct bpf_engine *e, bpf_engine_each_fn *fn, void *arg)
{
	int err = each_of(e, false, fn, arg);

	return err < 0 ? err : each_of(e, true, fn, arg);
}
