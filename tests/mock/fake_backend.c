/* Both fake back ends, and the list of back ends of the program that tests start. */
#include "tests/mock/fake_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/err.h"
#include "pinhole/helper_backends.h"

struct backend {
	struct fake_kernel *kernel;
	const struct backend_conf *conf;
	enum pinhole_path path; /* of the second one, always the same; of the first, as the test says */
	struct slot *slots;
	int slots_fd;
};

const struct helper_backend helper_backends[HELPER_BACKENDS_MAX] = {
	{ &backend_fake, 1U << PINHOLE_XDP | 1U << PINHOLE_TC },
	{ &backend_fake_nat, 1U << PINHOLE_CONNTRACK },
	{ &backend_fake_capture, HELPER_CAPTURE },
};
const unsigned helper_backends_n = 3;

struct fake_kernel *fake_kernel_map(const char *state_dir, const char *name)
{
	struct fake_kernel *kernel = NULL;
	char path[256];
	int fd;

	if (snprintf(path, sizeof(path), "%s/%s", state_dir, name) >= (int)sizeof(path))
		return NULL;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return NULL;
	if (ftruncate(fd, sizeof(*kernel)) == 0)
		kernel = mmap(NULL, sizeof(*kernel), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return kernel == MAP_FAILED ? NULL : kernel;
}

void fake_kernel_unmap(struct fake_kernel *kernel)
{
	if (kernel != NULL)
		munmap(kernel, sizeof(*kernel));
}

unsigned fake_kernel_count(const struct fake_kernel *kernel)
{
	unsigned n = 0;

	for (size_t i = 0; i < FAKE_ENTRIES; i++)
		n += kernel->entries[i].is_used;
	return n;
}

static struct fake_entry *find(struct fake_kernel *kernel, const struct wire_pinhole *pinhole)
{
	for (size_t i = 0; i < FAKE_ENTRIES; i++) {
		struct fake_entry *e = &kernel->entries[i];

		if (e->is_used && memcmp(&e->pinhole.listen, &pinhole->listen, sizeof(pinhole->listen)) == 0 &&
		    memcmp(&e->pinhole.source, &pinhole->source, sizeof(pinhole->source)) == 0)
			return e;
	}
	return NULL;
}

const struct fake_entry *fake_kernel_find(const struct fake_kernel *kernel, uint64_t id)
{
	for (size_t i = 0; i < FAKE_ENTRIES; i++)
		if (kernel->entries[i].is_used && kernel->entries[i].pinhole.id == id)
			return &kernel->entries[i];
	return NULL;
}

static int open_slots(struct backend *b)
{
	b->slots_fd = memfd_create("slots", MFD_CLOEXEC);
	if (b->slots_fd < 0 || ftruncate(b->slots_fd, FAKE_SLOTS * sizeof(struct slot)) < 0)
		return -errno;
	b->slots = mmap(NULL, FAKE_SLOTS * sizeof(struct slot), PROT_READ | PROT_WRITE, MAP_SHARED, b->slots_fd, 0);
	if (b->slots == MAP_FAILED)
		return -errno;
	return 0;
}

static int open_one(const struct backend_conf *conf, const char *name, enum pinhole_path path, struct backend **ret)
{
	struct backend *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return -ENOMEM;
	b->conf = conf;
	b->path = path;
	b->kernel = fake_kernel_map(conf->state_dir, name);
	if (b->kernel == NULL || open_slots(b) < 0) {
		free(b);
		return -EIO;
	}
	b->kernel->n_opens++;
	snprintf(b->kernel->state_dir, sizeof(b->kernel->state_dir), "%s", conf->state_dir);
	snprintf(b->kernel->node_tag, sizeof(b->kernel->node_tag), "%s", conf->node_tag);
	*ret = b;
	return 0;
}

static int fake_open(const struct backend_conf *conf, struct backend **ret)
{
	return open_one(conf, "fake", PINHOLE_NONE, ret);
}

static int fake_nat_open(const struct backend_conf *conf, struct backend **ret)
{
	return open_one(conf, "fake-nat", PINHOLE_CONNTRACK, ret);
}

static int fake_capture_open(const struct backend_conf *conf, struct backend **ret)
{
	return open_one(conf, "fake-capture", PINHOLE_NONE, ret);
}

static void fake_close(struct backend *b)
{
	munmap(b->slots, FAKE_SLOTS * sizeof(struct slot));
	close(b->slots_fd);
	fake_kernel_unmap(b->kernel);
	free(b);
}

static void fake_remove_all(struct backend *b)
{
	memset(b->kernel->entries, 0, sizeof(b->kernel->entries));
}

static enum pinhole_path fake_path_of(struct backend *b, const struct wire_pinhole *pinhole, char *reason)
{
	enum pinhole_path path = b->path != PINHOLE_NONE ? b->path : (enum pinhole_path)b->kernel->path;

	(void)pinhole;
	if (b->kernel->is_unusable)
		path = PINHOLE_NONE;
	if (path != PINHOLE_XDP)
		snprintf(reason, WIRE_REASON_MAX, "%s", "no native XDP");
	return path;
}

static int fake_apply(struct backend *b, const struct wire_pinhole *pinhole, struct backend_entry *ret)
{
	struct fake_entry *e = find(b->kernel, pinhole);
	bool was_there = e != NULL;

	b->kernel->n_applies++;
	if (pinhole->id != 0 && pinhole->id == b->kernel->fail_apply)
		return -ENOBUFS;
	for (size_t i = 0; i < FAKE_ENTRIES && e == NULL; i++)
		if (!b->kernel->entries[i].is_used)
			e = &b->kernel->entries[i];
	if (e == NULL)
		return -ENOSPC;
	e->is_used = true;
	e->pinhole = *pinhole;
	*ret = (struct backend_entry){ .id = pinhole->id, .slot = (uint32_t)(e - b->kernel->entries), .was_there = was_there,
				       .path = b->path != PINHOLE_NONE ? b->path : (enum pinhole_path)b->kernel->path };
	return 0;
}

static int fake_remove(struct backend *b, const struct wire_pinhole *pinhole, struct slot *ret_last)
{
	struct fake_entry *e = find(b->kernel, pinhole);

	b->kernel->n_removes++;
	if (pinhole->id != 0 && pinhole->id == b->kernel->fail_remove)
		return -ENOBUFS;
	if (e == NULL)
		return -ENOENT;
	e->is_used = false;
	*ret_last = (struct slot){ .packets = 1000 + (uint64_t)(e - b->kernel->entries) };
	return 0;
}

static enum pinhole_end fake_look(struct backend *b, const struct wire_pinhole *pinhole)
{
	return find(b->kernel, pinhole) != NULL ? (enum pinhole_end)b->kernel->end : PINHOLE_END_UNKNOWN;
}

static int fake_list(struct backend *b, backend_list_fn *fn, void *arg)
{
	for (size_t i = 0; i < FAKE_ENTRIES; i++) {
		const struct wire_pinhole *p = &b->kernel->entries[i].pinhole;
		struct backend_entry entry = { .id = b->kernel->lists_no_ids ? 0 : p->id, .slot = (uint32_t)i, .listen = p->listen,
					       .source = p->source, .from = p->from, .target = p->target, .proto = p->proto };

		if (b->path == PINHOLE_NONE)
			entry.path = (enum pinhole_path)b->kernel->path;
		if (b->kernel->entries[i].is_used)
			fn(arg, &entry);
	}
	return 0;
}

static void fake_tick(struct backend *b, uint64_t now_ms, void (*gone)(void *arg, uint64_t id, enum wire_gone_why why), void *arg)
{
	uint64_t id = b->kernel->gone_id;

	(void)now_ms;
	b->kernel->n_ticks++;
	b->kernel->gone_id = 0;
	if (id != 0)
		gone(arg, id, (enum wire_gone_why)b->kernel->gone_why);
	if (b->kernel->calls_forbidden) {
		b->kernel->calls_forbidden = false;
		chdir("/") < 0 ? abort() : (void)0;
	}
}

static int fake_slots(struct backend *b, uint32_t *ret_n)
{
	*ret_n = FAKE_SLOTS;
	return b->slots_fd;
}

static int fake_no_slots(struct backend *b, uint32_t *ret_n)
{
	(void)b;
	*ret_n = 0;
	return -1;
}

static void fake_links_changed(struct backend *b)
{
	b->kernel->n_links_changed++;
}

static void fake_report(struct backend *b, enum pinhole_path path, unsigned realm, struct backend_report *ret)
{
	ret->is_usable = !b->kernel->is_unusable;
	snprintf(ret->reason, sizeof(ret->reason), "%s realm %u", pinhole_path_text(path), realm);
}

static bool fake_is_broken(const struct backend *b)
{
	bool is_broken = b->kernel->is_broken;

	b->kernel->is_broken = false;
	return is_broken;
}

const struct backend_ops backend_fake = {
	.name = "fake", .features = BACKEND_UDP | BACKEND_RTP | BACKEND_RATE | BACKEND_IPV6, .region = 0,
	.open = fake_open, .close = fake_close, .remove_all = fake_remove_all, .path_of = fake_path_of, .apply = fake_apply,
	.remove = fake_remove, .list = fake_list, .tick = fake_tick, .slots = fake_slots, .links_changed = fake_links_changed,
	.report = fake_report, .is_broken = fake_is_broken,
};
const struct backend_ops backend_fake_nat = {
	.name = "fake-nat", .features = BACKEND_UDP | BACKEND_TCP | BACKEND_ANY_SOURCE | BACKEND_ONE_SHOT | BACKEND_IPV6, .region = 1,
	.open = fake_nat_open, .close = fake_close, .remove_all = fake_remove_all, .path_of = fake_path_of, .apply = fake_apply,
	.remove = fake_remove, .look = fake_look, .list = fake_list, .tick = fake_tick, .slots = fake_slots, .links_changed = fake_links_changed,
	.report = fake_report,
};
const struct backend_ops backend_fake_capture = {
	.name = "fake-capture", .open = fake_capture_open, .close = fake_close, .remove_all = fake_remove_all,
	.path_of = fake_path_of, .apply = fake_apply, .remove = fake_remove, .list = fake_list, .tick = fake_tick,
	.slots = fake_no_slots, .links_changed = fake_links_changed, .report = fake_report,
};
