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
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/err.h"
#include "pinhole/bpf_maps.h"
#include "pinhole/bpf_object.h"

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
int bpf_engine_open_pin(const struct bpf_engine *e, const char *name, uint32_t flags)
{
	LIBBPF_OPTS(bpf_obj_get_opts, opts, .file_flags = flags);
	char path[BPF_ENGINE_PATH_MAX];

	if (e->folder[0] == '\0' || pin_path(e, name, path) < 0)
		return -ENOENT;
	return bpf_obj_get_opts(path, &opts);
}

int bpf_engine_replace_pin(const struct bpf_engine *e, const char *name, int fd)
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
void bpf_engine_know(struct bpf_engine *e, int program)
{
	uint32_t id = bpf_engine_id(program);

	if (id == 0 || bpf_engine_knows(e, id) || e->n_known == BPF_ENGINE_OLD_MAX) {
		close_fd(&program);
		return;
	}
	e->known[e->n_known++] = (struct bpf_engine_program){ program, id };
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
		bpf_engine_know(e, bpf_engine_open_pin(&other, "xdp", 0));
		bpf_engine_know(e, bpf_engine_open_pin(&other, "tc", 0));
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
	int old = bpf_engine_open_pin(e, name, 0);
	bool is_kept = old >= 0 && may_keep && is_same_program(old, loaded);
	int use = dup(is_kept ? old : loaded);

	bpf_engine_know(e, bpf_engine_open_pin(e, next, 0));
	bpf_engine_know(e, old);
	if (use < 0)
		return -errno;
	*ret = use;
	if (is_kept)
		return 0;
	bpf_engine_know(e, dup(loaded));
	return bpf_engine_replace_pin(e, next, loaded);
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

	if (err == 0)
		err = bpf_maps_use(e, object);
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
		had_maps = bpf_maps_find(e, conf);
	if (err == 0 && !had_maps)
		err = bpf_maps_make(e, conf);
	if (err == 0)
		err = bpf_maps_pin(e);
	*ret_what = "the memory of the maps cannot be shared";
	if (err == 0)
		err = bpf_maps_share(e);
	/* Not BPF_F_RDONLY: the kernel refuses to map such a descriptor, even for reading. Who gets it maps it for reading, and
	 * closes it before it reads anything from a network. */
	if (err == 0 && conf->folder != NULL && (e->slots_shared = bpf_engine_open_pin(e, "slots", 0)) < 0)
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
	bpf_maps_close(e);
	for (unsigned i = 0; i < e->n_known; i++)
		close_fd(&e->known[i].fd);
	close_fd(&e->xdp);
	close_fd(&e->tc);
	close_fd(&e->probe);
	close_fd(&e->slots_shared);
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
