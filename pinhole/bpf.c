/* The BPF back end: flows in hash maps, handled by the programs of bpf/flow.bpf.c at XDP and at tc ingress.
 *
 * Owns the slots' allocation and the life of flows. What the kernel holds is the truth: at start slots are given to the flows
 * that are there, and list() reads the maps. The programs are in bpf_engine.c, their places in bpf_hook.c, the form of a flow
 * in bpf_flow.c, what is due every second in bpf_upkeep.c, the start-up test in bpf_proof.c. Single thread: the helper's. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/err.h"
#include "pinhole/bpf_backend.h"

enum { SPARE_SLOTS = 64, NEIGHBOURS_MS = 15000 };

/* The clock of the programs (CLOCK_MONOTONIC). */
static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void adopt(void *arg, bool is_ip6, const union bpf_engine_key *key, const struct flow *flow)
{
	struct backend *b = arg;
	struct bpf_held *held = flow->slot < b->engine.n_slots ? &b->held[flow->slot] : NULL;

	if (held == NULL || held->id != 0 || flow->id == 0) {
		bpf_engine_delete(&b->engine, is_ip6, key);
		return;
	}
	*held = (struct bpf_held){ flow->id, flow->expires_ns, *key, is_ip6, false };
}

int bpf_start(struct backend *b, const struct backend_conf *conf, const char *folder)
{
	uint32_t attached[2 * BPF_HOOKS_MAX];
	struct bpf_engine_conf engine = { .folder = folder, .node = bpf_hooks_node(conf->node_tag), .attached = attached,
					  .n = conf->seal->pinholes_max + SPARE_SLOTS };
	const char *what = "";
	int err;

	b->conf = conf;
	if (folder != NULL)
		engine.n_attached = bpf_hooks_attached(conf, attached, 2 * BPF_HOOKS_MAX);
	b->forwarding4 = open("/proc/sys/net/ipv4/conf/lo/forwarding", O_RDWR | O_CLOEXEC);
	b->forwarding6 = open("/proc/sys/net/ipv6/conf/lo/forwarding", O_RDWR | O_CLOEXEC);
	err = bpf_engine_open(&b->engine, &engine, &what);
	if (err == 0) {
		what = "there is no rtnetlink";
		err = bpf_rtnl_open(&b->rtnl);
	}
	if (err == 0) {
		b->held = calloc(b->engine.n_slots, sizeof(*b->held));
		what = "the flows cannot be listed";
		err = b->held == NULL ? -ENOMEM : bpf_engine_each(&b->engine, adopt, b);
	}
	if (err < 0) {
		snprintf(b->reason, sizeof(b->reason), "%s: %s", what, err_str(err));
		return err;
	}
	bpf_upkeep_forwarding(b);
	bpf_hooks_init(&b->hooks, &b->engine, b->rtnl, conf);
	bpf_hooks_sync(&b->hooks, conf);
	bpf_engine_commit(&b->engine);
	bpf_upkeep_look_up(b);
	return 0;
}

void bpf_stop(struct backend *b)
{
	bpf_rtnl_close(b->rtnl);
	bpf_engine_close(&b->engine);
	free(b->held);
	if (b->forwarding4 >= 0)
		close(b->forwarding4);
	if (b->forwarding6 >= 0)
		close(b->forwarding6);
}

static int open_backend(const struct backend_conf *conf, struct backend **ret)
{
	struct backend *b = calloc(1, sizeof(*b));
	char root[BPF_ENGINE_PATH_MAX], folder[BPF_ENGINE_PATH_MAX];
	int err;

	if (b == NULL)
		return -ENOMEM;
	b->forwarding4 = b->forwarding6 = -1;
	bpf_engine_init(&b->engine);
	*ret = b;
	err = bpf_engine_mount(conf->state_dir, root, sizeof(root));
	if (err < 0) {
		snprintf(b->reason, sizeof(b->reason), "no bpffs below %s: %s", conf->state_dir, err_str(err));
		return 0;
	}
	err = bpf_proof_run(&b->proof);
	if (err == 0 && !b->proof.has_xdp && !b->proof.has_tc)
		snprintf(b->reason, sizeof(b->reason), "%s", b->proof.tc_reason);
	else if (err == 0 && (size_t)snprintf(folder, sizeof(folder), "%s/%s", root, conf->node_tag) < sizeof(folder))
		err = bpf_start(b, conf, folder);
	return err == -ENOMEM ? err : 0;
}

static void close_backend(struct backend *b)
{
	if (b == NULL)
		return;
	bpf_stop(b);
	free(b);
}

static void remove_all(struct backend *b)
{
	if (b->held == NULL)
		return;
	bpf_hooks_remove(&b->hooks);
	for (uint32_t i = 0; i < b->engine.n_slots; i++) {
		if (b->held[i].id != 0 && !b->held[i].is_replaced)
			bpf_engine_delete(&b->engine, b->held[i].is_ip6, &b->held[i].key);
		b->held[i].id = 0;
	}
	b->n_replaced = 0;
	bpf_engine_unpin(&b->engine);
}

/* Where packets to that address of the gateway come in. NULL: not known, or more than one interface. */
static const struct bpf_hook *entrance(const struct backend *b, const struct wire_pinhole *p)
{
	const struct backend_conf *conf = b->conf;
	const struct backend_interface *only = NULL;
	unsigned n = 0;

	for (unsigned i = 0; i < conf->n_own; i++) {
		const struct wire_limit *own = &conf->own[i];

		if (own->realm == p->realm_in && own->interface[0] != '\0' && own->addr.family == p->listen.family &&
		    memcmp(own->addr.ip, p->listen.ip, sizeof(own->addr.ip)) == 0)
			return bpf_hooks_find(&b->hooks, own->interface);
	}
	for (unsigned i = 0; i < conf->n_interfaces; i++) {
		if (conf->interfaces[i].realm != p->realm_in)
			continue;
		only = &conf->interfaces[i];
		n++;
	}
	return n == 1 ? bpf_hooks_find(&b->hooks, only->name) : NULL;
}

/* What all interfaces of a realm have. */
struct realm_view {
	bool is_there, has_tc, has_xdp, is_xdp_out;
	const struct bpf_hook *worst; /* the one that lacks most */
};

static int score(const struct bpf_hook *hook)
{
	return 4 * hook->has_tc + 2 * hook->has_xdp + hook->is_xdp_out;
}

static struct realm_view view_realm(const struct backend *b, unsigned realm)
{
	struct realm_view view = { .has_tc = true, .has_xdp = true, .is_xdp_out = true };

	for (unsigned i = 0; i < b->conf->n_interfaces; i++) {
		const struct bpf_hook *hook = bpf_hooks_find(&b->hooks, b->conf->interfaces[i].name);

		if (b->conf->interfaces[i].realm != realm || hook == NULL)
			continue;
		view.is_there = true;
		if (view.worst == NULL || score(hook) < score(view.worst))
			view.worst = hook;
		view.has_tc &= hook->has_tc;
		view.has_xdp &= hook->has_xdp;
		view.is_xdp_out &= hook->is_xdp_out;
	}
	return view;
}

static enum pinhole_path refuse(char *reason, const char *why)
{
	snprintf(reason, WIRE_REASON_MAX, "%s", why);
	return PINHOLE_NONE;
}

static enum pinhole_path path_of(struct backend *b, const struct wire_pinhole *p, char *reason)
{
	const char *refusal = bpf_flow_refusal(p);
	struct realm_view in, out;

	if (b->reason[0] != '\0')
		return refuse(reason, b->reason);
	if (refusal != NULL)
		return refuse(reason, refusal);
	if (bpf_flow_is_ip6(p) && !b->proof.has_ip6)
		return refuse(reason, "IPv6 flows could not be proved");
	in = view_realm(b, p->realm_in);
	out = view_realm(b, p->realm_out);
	if (!in.is_there || !out.is_there)
		return refuse(reason, "the realm has no interface");
	reason[0] = '\0';
	if (in.has_xdp && out.is_xdp_out && b->proof.has_xdp)
		return PINHOLE_XDP;
	refuse(reason, !b->proof.has_xdp ? b->proof.xdp_reason : !in.has_xdp ? in.worst->xdp_reason : out.worst->out_reason);
	if (in.has_tc && b->proof.has_tc)
		return PINHOLE_TC;
	return refuse(reason, b->proof.has_tc ? in.worst->tc_reason : b->proof.tc_reason);
}

/* What depends on interfaces. */
static void place_on(const struct backend *b, const struct wire_pinhole *p, enum pinhole_path path, struct flow *flow)
{
	const struct bpf_hook *hook = entrance(b, p);

	flow->in_ifindex = hook != NULL ? (uint32_t)hook->index : 0;
	memset(flow->in_mac, 0, sizeof(flow->in_mac));
	if (hook != NULL)
		memcpy(flow->in_mac, hook->mac, sizeof(flow->in_mac));
	flow->flags &= ~(uint32_t)FLOW_TC_ONLY;
	if (path != PINHOLE_XDP)
		flow->flags |= FLOW_TC_ONLY;
}

void bpf_place_again(struct backend *b, const struct wire_pinhole *p, struct flow *flow)
{
	char reason[WIRE_REASON_MAX];

	place_on(b, p, path_of(b, p, reason), flow);
}

static int take_slot(struct backend *b, uint32_t *ret)
{
	for (uint32_t i = 0; i < b->engine.n_slots; i++) {
		uint32_t slot = (b->next_slot + i) % b->engine.n_slots;

		if (b->held[slot].id != 0)
			continue;
		b->next_slot = slot + 1;
		*ret = slot;
		return 0;
	}
	return ERR_LIMIT;
}

static void begin_slot(struct backend *b, uint32_t slot, const struct wire_pinhole *p, bool is_pending)
{
	uint64_t now = now_ns();

	b->engine.state_memory[slot] = (struct flow_state){ .since_ns = now };
	b->engine.slot_memory[slot] = (struct slot){
		.state = is_pending ? SLOT_PENDING : SLOT_ACTIVE,
		.active_ns = is_pending ? 0 : now,
		.first_seq = 1, /* nothing expected, nothing lost */
		.clock_hz = p->clock_hz,
	};
}

void bpf_free_slot(struct backend *b, uint32_t slot)
{
	b->n_replaced -= b->held[slot].is_replaced;
	b->held[slot].id = 0;
	b->engine.slot_memory[slot].state = SLOT_FREE;
}

/* An equal one is there: what was agreed on besides the addresses may be new. */
static int renew(struct backend *b, const union bpf_engine_key *key, const struct wire_pinhole *p, struct flow *flow)
{
	struct slot *slot = &b->engine.slot_memory[flow->slot];
	struct flow_state *state = &b->engine.state_memory[flow->slot];
	int err = bpf_engine_put(&b->engine, bpf_flow_is_ip6(p), key, flow);

	if (err < 0)
		return err;
	b->held[flow->slot].expires_ns = flow->expires_ns;
	slot->clock_hz = p->clock_hz;
	if (!(flow->flags & FLOW_TC_ONLY) && (state->marks & FLOW_NO_XDP_OUT)) { /* perhaps it goes now */
		state->marks &= (uint8_t)~FLOW_NO_XDP_OUT;
		slot->flags &= ~(uint32_t)SLOT_NO_XDP;
	}
	return 0;
}

static int add(struct backend *b, const union bpf_engine_key *key, const struct wire_pinhole *p, const struct flow *old,
	       struct flow *flow)
{
	/* What the kernel carries already need not be taken over from the socket. */
	bool is_pending = (p->flags & WIRE_HANDED_OVER) &&
			  (old == NULL || b->engine.slot_memory[old->slot].state != SLOT_ACTIVE);
	int err = take_slot(b, &flow->slot);

	if (err < 0)
		return err;
	begin_slot(b, flow->slot, p, is_pending);
	err = bpf_engine_put(&b->engine, bpf_flow_is_ip6(p), key, flow);
	if (err < 0) {
		b->engine.slot_memory[flow->slot].state = SLOT_FREE;
		return err;
	}
	b->held[flow->slot] = (struct bpf_held){ p->id, flow->expires_ns, *key, bpf_flow_is_ip6(p), false };
	if (old != NULL && old->slot < b->engine.n_slots && b->held[old->slot].id == old->id) {
		b->held[old->slot].is_replaced = true;
		b->n_replaced++;
	}
	return 0;
}

static int apply(struct backend *b, const struct wire_pinhole *p, struct backend_entry *ret)
{
	char reason[WIRE_REASON_MAX];
	enum pinhole_path path = path_of(b, p, reason);
	union bpf_engine_key key = bpf_flow_key(p);
	struct flow flow, old;
	bool is_ip6 = bpf_flow_is_ip6(p), was_there;
	int err;

	if (path == PINHOLE_NONE)
		return ERR_UNSUPPORTED;
	flow = bpf_flow_of(p);
	flow.expires_ns = now_ns() + p->lifetime_s * 1000000000ull;
	place_on(b, p, path, &flow);
	err = bpf_engine_get(&b->engine, is_ip6, &key, &old);
	if (err < 0 && err != ERR_NOT_FOUND)
		return err;
	was_there = err == 0 && bpf_flow_is_same(&old, &flow) && old.slot < b->engine.n_slots;
	if (was_there) {
		flow.slot = old.slot;
		err = renew(b, &key, p, &flow);
	} else {
		err = add(b, &key, p, err == 0 ? &old : NULL, &flow);
	}
	if (err < 0)
		return err;
	*ret = (struct backend_entry){ .id = p->id, .slot = flow.slot, .path = path, .was_there = was_there,
				       .listen = p->listen, .source = p->source, .from = p->from, .target = p->target };
	return 0;
}

static int remove_replaced(struct backend *b, uint64_t id, struct slot *ret_last)
{
	for (uint32_t i = 0; i < b->engine.n_slots && b->n_replaced > 0; i++) {
		if (b->held[i].id != id || !b->held[i].is_replaced)
			continue;
		*ret_last = b->engine.slot_memory[i];
		bpf_free_slot(b, i);
		return 0;
	}
	return ERR_NOT_FOUND;
}

static int remove_one(struct backend *b, const struct wire_pinhole *p, struct slot *ret_last)
{
	union bpf_engine_key key = bpf_flow_key(p);
	struct flow flow;
	int err;

	if (b->held == NULL)
		return ERR_NOT_FOUND;
	err = bpf_engine_get(&b->engine, bpf_flow_is_ip6(p), &key, &flow);
	if (err == ERR_NOT_FOUND || (err == 0 && flow.id != p->id))
		return remove_replaced(b, p->id, ret_last);
	if (err == 0)
		err = bpf_engine_delete(&b->engine, bpf_flow_is_ip6(p), &key);
	if (err < 0)
		return err;
	if (flow.slot < b->engine.n_slots) {
		*ret_last = b->engine.slot_memory[flow.slot];
		bpf_free_slot(b, flow.slot);
	}
	return 0;
}

struct listing {
	struct backend *backend;
	backend_list_fn *fn;
	void *arg;
};

static void list_one(void *arg, bool is_ip6, const union bpf_engine_key *key, const struct flow *flow)
{
	const struct listing *listing = arg;
	struct backend_entry entry = { .id = flow->id, .slot = flow->slot, .was_there = true, .proto = IPPROTO_UDP };
	bool is_left_to_tc = flow->slot < listing->backend->engine.n_slots &&
			     (listing->backend->engine.slot_memory[flow->slot].flags & SLOT_NO_XDP);

	entry.path = (flow->flags & FLOW_TC_ONLY) || is_left_to_tc ? PINHOLE_TC : PINHOLE_XDP;
	bpf_flow_addresses(is_ip6, key, flow, &entry);
	listing->fn(listing->arg, &entry);
}

static int list(struct backend *b, backend_list_fn *fn, void *arg)
{
	struct listing listing = { b, fn, arg };

	return b->held == NULL ? 0 : bpf_engine_each(&b->engine, list_one, &listing);
}

static void links_changed(struct backend *b)
{
	if (b->held == NULL)
		return;
	bpf_upkeep_links(b);
	bpf_upkeep_look_up(b);
}

static void tick(struct backend *b, uint64_t now_ms, void (*gone)(void *arg, uint64_t id, enum wire_gone_why why), void *arg)
{
	uint64_t now = now_ns();

	if (b->held == NULL)
		return;
	bpf_upkeep_expire(b, now, gone, arg);
	bpf_upkeep_links(b); /* somebody may have taken our programs off */
	bpf_upkeep_forwarding(b);
	if (now_ms - b->neighbours_ms >= NEIGHBOURS_MS) {
		b->neighbours_ms = now_ms;
		bpf_upkeep_neighbours(b, now);
	}
}

static int slots(struct backend *b, uint32_t *ret_n)
{
	*ret_n = b->held == NULL ? 0 : b->engine.n_slots;
	return b->held == NULL ? -1 : b->engine.slots_shared;
}

static void report(struct backend *b, enum pinhole_path path, unsigned realm, struct backend_report *ret)
{
	struct realm_view view;
	const char *why = b->reason;

	memset(ret, 0, sizeof(*ret));
	if (b->reason[0] == '\0' && path == PINHOLE_XDP && !b->proof.has_xdp) {
		why = b->proof.xdp_reason;
	} else if (b->reason[0] == '\0' && path == PINHOLE_TC && !b->proof.has_tc) {
		why = b->proof.tc_reason;
	} else if (b->reason[0] == '\0') {
		view = view_realm(b, realm);
		ret->is_usable = view.is_there && (path == PINHOLE_XDP ? view.has_xdp : view.has_tc);
		why = "the realm has no interface";
		if (view.worst != NULL)
			why = path == PINHOLE_XDP ? view.worst->xdp_reason : view.worst->tc_reason;
		if (path == PINHOLE_XDP && view.is_there && view.has_xdp && !view.is_xdp_out)
			why = view.worst->out_reason;
	}
	snprintf(ret->reason, sizeof(ret->reason), "%s", why);
}

const struct backend_ops backend_bpf = {
	.name = "bpf",
	.features = BACKEND_UDP | BACKEND_RTP | BACKEND_IPV6 | BACKEND_RATE,
	.region = 0,
	.open = open_backend,
	.close = close_backend,
	.remove_all = remove_all,
	.path_of = path_of,
	.apply = apply,
	.remove = remove_one,
	.list = list,
	.tick = tick,
	.slots = slots,
	.links_changed = links_changed,
	.report = report,
};
