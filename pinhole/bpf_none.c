/* Stands for the BPF back end where it was not built: never usable, and says why. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "pinhole/backend_empty.h"

struct backend {
	int nothing;
};

static int open_none(const struct backend_conf *conf, struct backend **ret)
{
	struct backend *b = calloc(1, sizeof(*b));

	(void)conf;
	if (b == NULL)
		return -ENOMEM;
	*ret = b;
	return 0;
}

static void close_none(struct backend *b)
{
	free(b);
}

static void remove_all(struct backend *b)
{
	(void)b;
}

static enum pinhole_path path_of(struct backend *b, const struct wire_pinhole *p, char *reason)
{
	(void)b;
	(void)p;
	snprintf(reason, WIRE_REASON_MAX, "%s", BPF_MISSING);
	return PINHOLE_NONE;
}

static void tick(struct backend *b, uint64_t now_ms, void (*gone)(void *arg, uint64_t id, enum wire_gone_why why), void *arg)
{
	(void)b;
	(void)now_ms;
	(void)gone;
	(void)arg;
}

static void report(struct backend *b, enum pinhole_path path, unsigned realm, struct backend_report *ret)
{
	(void)b;
	(void)path;
	(void)realm;
	ret->is_usable = false;
	snprintf(ret->reason, sizeof(ret->reason), "%s", BPF_MISSING);
}

const struct backend_ops backend_bpf = {
	.name = "bpf",
	.features = BACKEND_UDP | BACKEND_RTP | BACKEND_IPV6 | BACKEND_RATE,
	.region = 0,
	.open = open_none,
	.close = close_none,
	.remove_all = remove_all,
	.path_of = path_of,
	.apply = backend_empty_apply,
	.remove = backend_empty_remove,
	.list = backend_empty_list,
	.tick = tick,
	.slots = backend_empty_slots,
	.links_changed = remove_all,
	.report = report,
};
