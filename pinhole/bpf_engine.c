/* Loads the programs, finds or makes the maps, keeps both pinned.
 *
 * Pins: <bpffs>/<node tag>/v<versions>/{flows4,flows6,slots,states,control,xdp,tc}. The folder is only readable for root.
 * Programs are pinned so that a later process can tell them from those of others without CAP_SYS_ADMIN, and they stay in
 * place when the new ones are the same, instruction by instruction. Folders of other versions are removed: their maps do not
 * fit, but the programs in them are known as ours until they have been replaced. When the bpffs itself is gone (its mount
 * ended with a service's mount namespace) the attached programs still hold everything: then they are asked for their maps. */
#include "pinhole/bpf_engine.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/err.h"
#include "pinhole/bpf_object.h"

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

static int be_silent(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

void bpf_engine_init(struct bpf_engine *e)
{
	libbpf_set_print(be_silent); /* what went wrong is told by who calls it */
	memset(e, 0, sizeof(*e));
	e->flows4 = e->flows6 = e->slots = e->states = e->control = e->xdp = e->tc = e->probe = e->slots_shared = -1;
}

/* The folder and those above it. */
static int make_folders(const char *path)
{
	char part[PATH_MAX];

	if ((size_t)snprintf(part, sizeof(part), "%s", path) >= sizeof(part))
		return -ENAMETOOLONG;
	for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return mkdir(part, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

int bpf_engine_mount(const char *state_dir, char *path, size_t size)
{
	struct statfs fs;
	int err;

	if ((size_t)snprintf(path, size, "%s/bpf", state_dir) >= size)
		return -ENAMETOOLONG;
	err = make_folders(state_dir);
	if (err < 0)
		return err;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	if (statfs(path, &fs) < 0)
		return -errno;
	if (fs.f_type == BPF_FS_MAGIC)
		return 0;
	return mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0 ? -errno : 0;
}

static int pin_path(const struct bpf_engine *e, const char *name, char *path)
{
	return snprintf(path, BPF_ENGINE_PATH_MAX, "%s/%s", e->folder, name) < BPF_ENGINE_PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* Descriptor of what is pinned there, or a negative errno. */
static int open_pin(const struct bpf_engine *e, const char *name, uint32_t flags)
{
	LIBBPF_OPTS(bpf_obj_get_opts, opts, .file_flags = flags);
	char path[BPF_ENGINE_PATH_MAX];

	if (e->folder[0] == '\0' || pin_path(e, name, path) < 0)
		return -ENOENT;
	return bpf_obj_get_opts(path, &opts);
}

static int replace_pin(const struct bpf_engine *e, const char *name, int fd)
{
	char path[BPF_ENGINE_PATH_MAX];

	if (e->folder[0] == '\0')
		return 0;
	if (pin_path(e, name, path) < 0)
		return -ENAMETOOLONG;
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	return bpf_obj_pin(fd, path);
}

uint32_t bpf_engine_id(int program)
{
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);

	return program >= 0 && bpf_obj_get_info_by_fd(program, &info, &size) == 0 ? info.id : 0;
}

bool bpf_engine_knows(const struct bpf_engine *e, uint32_t program_id)
{
	for (unsigned i = 0; i < e->n_known; i++)
		if (program_id != 0 && e->known[i].id == program_id)
			return true;
	return false;
}

/* Takes the descriptor; a negative one is no program. */
static void know(struct bpf_engine *e, int program)
{
	uint32_t id = bpf_engine_id(program);

	if (id == 0 || bpf_engine_knows(e, id) || e->n_known == BPF_ENGINE_OLD_MAX) {
		close_fd(&program);
		return;
	}
	e->known[e->n_known++] = (struct bpf_engine_program){ program, id };
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
			know(e, program);
		else
			close_fd(&program);
	}
}

static int pin_maps(struct bpf_engine *e)
{
	int err = 0;

	for (unsigned i = 0; i < MAPS && err == 0; i++)
		err = replace_pin(e, map_kinds[i].name, *map_fd(e, &map_kinds[i]));
	return err;
}

static void open_maps(struct bpf_engine *e, const struct bpf_engine_conf *conf)
{
	int pin = open_pin(e, map_kinds[0].name, 0);

	for (unsigned i = 0; i < MAPS && pin >= 0; i++)
		*map_fd(e, &map_kinds[i]) = open_pin(e, map_kinds[i].name, 0);
	if (pin < 0)
		recover(e, conf);
	close_fd(&pin);
}

/* All maps of an earlier process, or none: they belong together. */
static bool find_maps(struct bpf_engine *e, const struct bpf_engine_conf *conf)
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

static int make_maps(struct bpf_engine *e, const struct bpf_engine_conf *conf)
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

static int map_memory(struct bpf_engine *e)
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

static void remove_folder(const char *folder)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir != NULL)
		closedir(dir);
	rmdir(folder);
}

/* What other versions have left: the programs are known from now on, the rest goes. */
static void know_other_versions(struct bpf_engine *e, const char *node_folder)
{
	DIR *dir = opendir(node_folder);
	const struct dirent *entry;
	struct bpf_engine other;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		int len = snprintf(other.folder, sizeof(other.folder), "%s/%s", node_folder, entry->d_name);

		if (entry->d_name[0] == '.' || len >= (int)sizeof(other.folder) || strcmp(other.folder, e->folder) == 0)
			continue;
		know(e, open_pin(&other, "xdp", 0));
		know(e, open_pin(&other, "tc", 0));
		remove_folder(other.folder);
	}
	if (dir != NULL)
		closedir(dir);
}

static int use_folder(struct bpf_engine *e, const char *node_folder)
{
	int len = snprintf(e->folder, sizeof(e->folder), "%s/v%d_%d", node_folder, FLOW_VERSION, SLOT_VERSION);

	if (len >= (int)sizeof(e->folder))
		return -ENAMETOOLONG;
	if ((mkdir(node_folder, 0700) < 0 && errno != EEXIST) || (mkdir(e->folder, 0700) < 0 && errno != EEXIST))
		return -errno;
	know_other_versions(e, node_folder);
	return 0;
}

static bool is_same_program(int a, int b)
{
	struct bpf_prog_info info[2] = { 0 };
	uint32_t size = sizeof(info[0]);

	return bpf_obj_get_info_by_fd(a, &info[0], &size) == 0 && bpf_obj_get_info_by_fd(b, &info[1], &size) == 0 &&
	       memcmp(info[0].tag, info[1].tag, sizeof(info[0].tag)) == 0;
}

/* The program pinned under that name when it is the same and uses the maps in use, else the one just loaded: that one is
 * pinned beside the old one until bpf_engine_commit(), so that both are known whatever happens until then. */
static int settle_program(struct bpf_engine *e, const char *name, const char *next, int loaded, bool may_keep, int *ret)
{
	int old = open_pin(e, name, 0);
	bool is_kept = old >= 0 && may_keep && is_same_program(old, loaded);
	int use = dup(is_kept ? old : loaded);

	know(e, open_pin(e, next, 0));
	know(e, old);
	if (use < 0)
		return -errno;
	*ret = use;
	if (is_kept)
		return 0;
	know(e, dup(loaded));
	return replace_pin(e, next, loaded);
}

void bpf_engine_commit(struct bpf_engine *e)
{
	static const char *const names[][2] = { { "xdp_next", "xdp" }, { "tc_next", "tc" } };
	char from[BPF_ENGINE_PATH_MAX], to[BPF_ENGINE_PATH_MAX];

	for (unsigned i = 0; i < 2 && e->folder[0] != '\0'; i++)
		if (pin_path(e, names[i][0], from) == 0 && pin_path(e, names[i][1], to) == 0)
			rename(from, to); /* there is none when the old one was kept */
}

static int load(struct bpf_engine *e, bool had_maps)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "postern");
	struct bpf_object *object = bpf_object__open_mem(bpf_object_bytes, bpf_object_size, &opts);
	int err = object == NULL ? -errno : 0;

	for (unsigned i = 0; i < MAPS && err == 0; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(object, map_kinds[i].name);

		err = map == NULL ? ERR_CORRUPT : bpf_map__reuse_fd(map, *map_fd(e, &map_kinds[i]));
	}
	if (err == 0)
		err = bpf_object__load(object);
	if (err == 0) {
		struct bpf_program *xdp = bpf_object__find_program_by_name(object, "postern_xdp");
		struct bpf_program *tc = bpf_object__find_program_by_name(object, "postern_tc");
		struct bpf_program *probe = bpf_object__find_program_by_name(object, "postern_probe");

		err = xdp == NULL || tc == NULL || probe == NULL ? ERR_CORRUPT : 0;
		if (err == 0)
			err = settle_program(e, "xdp", "xdp_next", bpf_program__fd(xdp), had_maps, &e->xdp);
		if (err == 0)
			err = settle_program(e, "tc", "tc_next", bpf_program__fd(tc), had_maps, &e->tc);
		if (err == 0 && (e->probe = dup(bpf_program__fd(probe))) < 0)
			err = -errno;
	}
	bpf_object__close(object);
	return err;
}

int bpf_engine_open(struct bpf_engine *e, const struct bpf_engine_conf *conf, const char **ret_what)
{
	bool had_maps = false;
	int err = 0;

	bpf_engine_init(e);
	*ret_what = "the folder of the pins cannot be used";
	if (conf->folder != NULL)
		err = use_folder(e, conf->folder);
	*ret_what = "the kernel does not make the maps";
	if (err == 0)
		had_maps = find_maps(e, conf);
	if (err == 0 && !had_maps)
		err = make_maps(e, conf);
	if (err == 0)
		err = pin_maps(e);
	*ret_what = "the memory of the maps cannot be shared";
	if (err == 0)
		err = map_memory(e);
	/* Not BPF_F_RDONLY: the kernel refuses to map such a descriptor, even for reading. Who gets it maps it for reading, and
	 * closes it before it reads anything from a network. */
	if (err == 0 && conf->folder != NULL && (e->slots_shared = open_pin(e, "slots", 0)) < 0)
		err = e->slots_shared;
	*ret_what = "the kernel does not load the programs";
	if (err == 0)
		err = load(e, had_maps);
	if (err < 0)
		bpf_engine_close(e);
	return err;
}

void bpf_engine_close(struct bpf_engine *e)
{
	if (e->slot_memory != NULL)
		munmap(e->slot_memory, e->n_slots * sizeof(struct slot));
	if (e->state_memory != NULL)
		munmap(e->state_memory, e->n_slots * sizeof(struct flow_state));
	if (e->control_memory != NULL)
		munmap(e->control_memory, sizeof(struct flow_control));
	close_maps(e);
	for (unsigned i = 0; i < e->n_known; i++)
		close_fd(&e->known[i].fd);
	close_fd(&e->xdp);
	close_fd(&e->tc);
	close_fd(&e->probe);
	close_fd(&e->slots_shared);
	e->slot_memory = NULL;
	e->state_memory = NULL;
	e->control_memory = NULL;
	e->n_known = 0;
}

void bpf_engine_unpin(struct bpf_engine *e)
{
	char *slash;

	if (e->folder[0] == '\0')
		return;
	remove_folder(e->folder);
	slash = strrchr(e->folder, '/');
	*slash = '\0';
	rmdir(e->folder);
	e->folder[0] = '\0';
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
