/* Attaches the programs by netlink, so that they stay when the process ends.
 *
 * tc: a filter at the ingress hook with a preference and a handle of its own; clsact is added where there is none and left
 * where it is, others may have come to use it. XDP: native mode only, only where no other program is; replacing one of our
 * own is one atomic step. An interface that takes redirected packets is tried with frames that are addressed to itself, which
 * no switch forwards. */
#include "pinhole/bpf_hook.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/err.h"
#include "core/hash.h"

enum { PREFERENCE = 20559, TRIAL_FRAMES = 16, TRIAL_BYTES = 64, TRIAL_MS = 20 };
static const uint64_t handle_key[2] = { 0x706f737465726e00, 0x6270662066696c74 }; /* any; fixed, as handles outlive us */

__attribute__((format(printf, 2, 3))) static void say(char *reason, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(reason, WIRE_REASON_MAX, format, args);
	va_end(args);
}

uint32_t bpf_hooks_node(const char *node_tag)
{
	return (uint32_t)hash_keyed(span_of(node_tag), handle_key) | 1;
}

unsigned bpf_hooks_attached(const struct backend_conf *conf, uint32_t *ids, unsigned max)
{
	uint32_t handle = bpf_hooks_node(conf->node_tag);
	unsigned n = 0;

	for (unsigned i = 0; i < conf->n_interfaces && n + 2 <= max; i++) {
		LIBBPF_OPTS(bpf_tc_hook, place, .ifindex = conf->interfaces[i].index, .attach_point = BPF_TC_INGRESS);
		LIBBPF_OPTS(bpf_tc_opts, opts, .handle = handle, .priority = PREFERENCE);

		if (place.ifindex == 0)
			continue;
		if (bpf_tc_query(&place, &opts) == 0)
			ids[n++] = opts.prog_id;
		if (bpf_xdp_query_id(place.ifindex, XDP_FLAGS_DRV_MODE, &ids[n]) == 0 && ids[n] != 0)
			n++;
	}
	return n;
}

void bpf_hooks_init(struct bpf_hooks *hooks, struct bpf_engine *engine, struct bpf_rtnl *rtnl, const struct backend_conf *conf)
{
	memset(hooks, 0, sizeof(*hooks));
	hooks->engine = engine;
	hooks->rtnl = rtnl;
	hooks->handle = bpf_hooks_node(conf->node_tag);
	for (size_t i = 0; i < sizeof(conf->seal->order); i++) {
		hooks->wants_xdp |= conf->seal->order[i] == PINHOLE_XDP;
		hooks->wants_tc |= conf->seal->order[i] == PINHOLE_TC;
	}
}

/* 0 when the filter in our place is the current program, ERR_NOT_FOUND when the place is empty or holds an older one of ours. */
static int query_tc(const struct bpf_hooks *hooks, int index)
{
	LIBBPF_OPTS(bpf_tc_hook, place, .ifindex = index, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = hooks->handle, .priority = PREFERENCE);
	int err = bpf_tc_query(&place, &opts);

	if (err == -ENOENT || err == -EINVAL) /* no filter, no qdisc */
		return ERR_NOT_FOUND;
	if (err < 0)
		return err;
	if (opts.prog_id == bpf_engine_id(hooks->engine->tc))
		return 0;
	return bpf_engine_knows(hooks->engine, opts.prog_id) ? ERR_NOT_FOUND : ERR_EXISTS;
}

static int attach_tc(const struct bpf_hooks *hooks, int index)
{
	LIBBPF_OPTS(bpf_tc_hook, place, .ifindex = index, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = hooks->handle, .priority = PREFERENCE, .flags = BPF_TC_F_REPLACE,
		    .prog_fd = hooks->engine->tc);
	int err = bpf_tc_hook_create(&place);

	if (err < 0 && err != -EEXIST)
		return err;
	return bpf_tc_attach(&place, &opts);
}

static void detach_tc(const struct bpf_hooks *hooks, int index)
{
	LIBBPF_OPTS(bpf_tc_hook, place, .ifindex = index, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = hooks->handle, .priority = PREFERENCE);

	if (query_tc(hooks, index) != ERR_EXISTS)
		bpf_tc_detach(&place, &opts);
}

static void sync_tc(const struct bpf_hooks *hooks, struct bpf_hook *hook)
{
	int err = query_tc(hooks, hook->index);

	if (!hooks->wants_tc) {
		if (err == 0)
			detach_tc(hooks, hook->index);
		hook->has_tc = false;
		say(hook->tc_reason, "not in the configured order");
		return;
	}
	if (err == ERR_NOT_FOUND)
		err = attach_tc(hooks, hook->index);
	hook->has_tc = err == 0;
	if (err == 0)
		say(hook->tc_reason, "proved with packets of its own; attached to %s", hook->name);
	else if (err == ERR_EXISTS)
		say(hook->tc_reason, "a filter that is not ours has our place on %s", hook->name);
	else
		say(hook->tc_reason, "%s takes no filter: %s", hook->name, err_str(err));
}

static int query_xdp(const struct bpf_hooks *hooks, int index, uint32_t *ret_id)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, opts);
	int err = bpf_xdp_query(index, 0, &opts);

	if (err < 0)
		return err;
	*ret_id = opts.attach_mode == XDP_ATTACHED_MULTI ? opts.drv_prog_id : opts.prog_id;
	if (opts.attach_mode != XDP_ATTACHED_NONE && opts.attach_mode != XDP_ATTACHED_DRV)
		return ERR_EXISTS;
	if (*ret_id == 0)
		return ERR_NOT_FOUND;
	if (*ret_id == bpf_engine_id(hooks->engine->xdp))
		return 0;
	return bpf_engine_knows(hooks->engine, *ret_id) ? ERR_NOT_FOUND : ERR_EXISTS;
}

static int known_fd(const struct bpf_engine *engine, uint32_t id)
{
	for (unsigned i = 0; i < engine->n_known; i++)
		if (engine->known[i].id == id)
			return engine->known[i].fd;
	return -1;
}

static int attach_xdp(const struct bpf_hooks *hooks, int index, uint32_t old_id)
{
	LIBBPF_OPTS(bpf_xdp_attach_opts, opts, .old_prog_fd = known_fd(hooks->engine, old_id));

	if (old_id == 0)
		return bpf_xdp_attach(index, hooks->engine->xdp, XDP_FLAGS_DRV_MODE | XDP_FLAGS_UPDATE_IF_NOEXIST, NULL);
	return bpf_xdp_attach(index, hooks->engine->xdp, XDP_FLAGS_DRV_MODE, &opts);
}

static void detach_xdp(const struct bpf_hooks *hooks, int index)
{
	LIBBPF_OPTS(bpf_xdp_attach_opts, opts, .old_prog_fd = -1);
	uint32_t id = 0;

	query_xdp(hooks, index, &id);
	opts.old_prog_fd = known_fd(hooks->engine, id);
	if (id != 0 && opts.old_prog_fd >= 0)
		bpf_xdp_detach(index, XDP_FLAGS_DRV_MODE, &opts);
}

static void sync_xdp(const struct bpf_hooks *hooks, struct bpf_hook *hook)
{
	uint32_t id = 0;
	int err = query_xdp(hooks, hook->index, &id);

	if (!hooks->wants_xdp) {
		detach_xdp(hooks, hook->index);
		hook->has_xdp = false;
		say(hook->xdp_reason, "not in the configured order");
		return;
	}
	if (err == ERR_NOT_FOUND)
		err = attach_xdp(hooks, hook->index, id);
	hook->has_xdp = err == 0;
	if (err == 0)
		say(hook->xdp_reason, "proved with packets of its own; native on %s", hook->name);
	else if (err == ERR_EXISTS || err == -EEXIST || err == -EBUSY)
		say(hook->xdp_reason, "another XDP program is on %s and stays there: tc is used", hook->name);
	else if (err == -EOPNOTSUPP)
		say(hook->xdp_reason, "the driver of %s has no native XDP: tc is used", hook->name);
	else
		say(hook->xdp_reason, "%s does not take native XDP (%s): tc is used", hook->name, err_str(err));
}

static int redirect_frames(const struct bpf_hooks *hooks, const struct bpf_hook *hook)
{
	uint8_t frame[TRIAL_BYTES] = { [12] = 0x88, [13] = 0xb5 /* IEEE 802 local experiments */ };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame), .repeat = TRIAL_FRAMES,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = TRIAL_FRAMES);

	memcpy(frame, hook->mac, 6);
	memcpy(frame + 6, hook->mac, 6);
	memcpy(frame + 14, &hook->index, 4);
	return bpf_prog_test_run_opts(hooks->engine->probe, &opts);
}

static void wait_a_moment(void)
{
	const struct timespec moment = { .tv_nsec = TRIAL_MS * 1000000 };

	nanosleep(&moment, NULL);
}

/* Frames are redirected to the interface, and its own counters must show them. Not every driver counts such frames: then what
 * the kernel says about the driver is believed. */
static bool try_out(struct bpf_hooks *hooks, const struct bpf_hook *hook, bool is_declared)
{
	struct bpf_rtnl_link before = { 0 }, after = { 0 };

	if (bpf_rtnl_link(hooks->rtnl, hook->index, &before) < 0 || redirect_frames(hooks, hook) < 0)
		return false;
	wait_a_moment();
	if (bpf_rtnl_link(hooks->rtnl, hook->index, &after) < 0)
		return false;
	return after.tx_packets - before.tx_packets >= TRIAL_FRAMES ||
	       (is_declared && after.tx_lost - before.tx_lost < TRIAL_FRAMES);
}

/* Tried once, and again when the kernel says something new about the interface. */
static void sync_out(struct bpf_hooks *hooks, struct bpf_hook *hook)
{
	bool can_send = false;
	int err = hook->has_xdp ? bpf_rtnl_xdp_out(hooks->rtnl, hook->index, &can_send) : 0;

	if (!hook->has_xdp || (err == 0 && !can_send)) {
		hook->is_xdp_out = false;
		hook->tried_as = BPF_HOOK_UNTRIED;
	} else if (hook->tried_as != (err == 0 ? BPF_HOOK_DECLARED : BPF_HOOK_UNDECLARED)) {
		hook->is_xdp_out = try_out(hooks, hook, err == 0);
		hook->tried_as = err == 0 ? BPF_HOOK_DECLARED : BPF_HOOK_UNDECLARED;
	}
	if (hook->is_xdp_out)
		say(hook->out_reason, "%s sends what XDP hands to it", hook->name);
	else
		say(hook->out_reason, "%s does not send what XDP hands to it (at a veth: its peer needs XDP or GRO): tc is used",
		    hook->name);
}

static void forget(struct bpf_hook *hook)
{
	hook->index = 0;
	hook->has_tc = hook->has_xdp = hook->is_xdp_out = false;
	hook->tried_as = BPF_HOOK_UNTRIED;
	say(hook->out_reason, "%s is not there or down", hook->name);
	say(hook->tc_reason, "%s is not there or down", hook->name);
	say(hook->xdp_reason, "%s is not there or down", hook->name);
}

static void sync_hook(struct bpf_hooks *hooks, struct bpf_hook *hook, int index)
{
	struct bpf_rtnl_link link = { 0 };

	if (index != hook->index)
		forget(hook);
	if (index == 0 || bpf_rtnl_link(hooks->rtnl, index, &link) < 0) {
		forget(hook);
		return;
	}
	hook->index = index;
	memcpy(hook->mac, link.mac, sizeof(hook->mac));
	if (!link.is_ethernet) {
		hook->has_tc = hook->has_xdp = hook->is_xdp_out = false;
		say(hook->tc_reason, "%s is not an Ethernet interface", hook->name);
		say(hook->xdp_reason, "%s is not an Ethernet interface", hook->name);
		return;
	}
	sync_tc(hooks, hook);
	sync_xdp(hooks, hook);
}

static int index_of(const struct backend_conf *conf, const char *name)
{
	for (unsigned i = 0; i < conf->n_interfaces; i++)
		if (strcmp(conf->interfaces[i].name, name) == 0)
			return conf->interfaces[i].index;
	return 0;
}

static void add_hook(struct bpf_hooks *hooks, const char *name)
{
	struct bpf_hook *hook;

	if (bpf_hooks_find(hooks, name) != NULL || hooks->n == BPF_HOOKS_MAX)
		return;
	hook = &hooks->list[hooks->n++];
	memset(hook, 0, sizeof(*hook));
	snprintf(hook->name, sizeof(hook->name), "%s", name);
}

const struct bpf_hook *bpf_hooks_find(const struct bpf_hooks *hooks, const char *name)
{
	for (unsigned i = 0; i < hooks->n; i++)
		if (strcmp(hooks->list[i].name, name) == 0)
			return &hooks->list[i];
	return NULL;
}

static bool differs(const struct bpf_hook *a, const struct bpf_hook *b)
{
	return a->index != b->index || memcmp(a->mac, b->mac, sizeof(a->mac)) != 0 || a->has_tc != b->has_tc ||
	       a->has_xdp != b->has_xdp || a->is_xdp_out != b->is_xdp_out;
}

static void publish_xdp_out(const struct bpf_hooks *hooks)
{
	struct flow_control *control = hooks->engine->control_memory;
	uint32_t n = 0;

	for (unsigned i = 0; i < hooks->n && n < FLOW_XDP_OUT_MAX; i++)
		if (hooks->list[i].is_xdp_out)
			control->xdp_out[n++] = (uint32_t)hooks->list[i].index;
	__atomic_store_n(&control->n_xdp_out, n, __ATOMIC_RELEASE);
}

bool bpf_hooks_sync(struct bpf_hooks *hooks, const struct backend_conf *conf)
{
	struct bpf_hook before[BPF_HOOKS_MAX];
	bool has_changed = false;

	for (unsigned i = 0; i < conf->n_interfaces; i++)
		add_hook(hooks, conf->interfaces[i].name);
	memcpy(before, hooks->list, sizeof(before));
	for (unsigned i = 0; i < hooks->n; i++)
		sync_hook(hooks, &hooks->list[i], index_of(conf, hooks->list[i].name));
	/* All are attached before any is tried: the peer of one may be another one of ours. */
	for (unsigned i = 0; i < hooks->n; i++) {
		if (hooks->list[i].index != 0)
			sync_out(hooks, &hooks->list[i]);
		has_changed |= differs(&before[i], &hooks->list[i]);
	}
	if (has_changed)
		publish_xdp_out(hooks);
	return has_changed;
}

void bpf_hooks_remove(struct bpf_hooks *hooks)
{
	for (unsigned i = 0; i < hooks->n; i++) {
		struct bpf_hook *hook = &hooks->list[i];

		if (hook->index == 0)
			continue;
		detach_tc(hooks, hook->index);
		detach_xdp(hooks, hook->index);
		forget(hook);
	}
	publish_xdp_out(hooks);
}
