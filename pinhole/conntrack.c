/* backend_conntrack: exact flows as entries of the kernel's connection tracking, with source and destination NAT in one.
 * Owns what it knows of these entries; the kernel's table is the truth.
 *
 * An entry works both ways, a pinhole does not. Two pinholes that are each other's reverse share one entry. While only one of
 * them is open, UDP datagrams of the other direction are fenced off: not tracked, so that the relay gets them. (TCP cannot be
 * had one way.) Payload is not looked at, the DSCP stays as it arrived, and there is neither
 * a rate limit nor loss and jitter. Single thread: the helper's.
 *
 * The kernel's table is read about CONNTRACK_STEP entries a second, for nobody should wait longer than that for a pinhole: with
 * more flows than that, counters are some seconds old.
 *
 * A time-out: the kernel cuts an entry's life down to nf_conntrack_udp_timeout_stream (120 s) with each packet, so the entry
 * of a stream on hold is renewed here before that ends. Ends that the kernel reports only bring last counters: whether an
 * entry is there is decided by the dump. */
#include "pinhole/conntrack_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/err.h"

static struct conntrack_entry wanted_entry(const struct backend *backend, const struct wire_pinhole *pinhole)
{
	return (struct conntrack_entry){
		.source = pinhole->source, .listen = pinhole->listen, .from = pinhole->from, .target = pinhole->target,
		.proto = pinhole->proto, .mark = backend->frame.mark, .timeout_s = pinhole->lifetime_s,
	};
}

/* The pinhole takes its side of the entry. */
static int hold(struct backend *backend, struct side *side, const struct wire_pinhole *pinhole)
{
	int err;

	if (side->id == 0) {
		err = conntrack_slots_take(&side->slot);
		if (err < 0)
			return -ENOSPC;
		conntrack_slot(side->slot)->state = SLOT_ACTIVE;
		conntrack_slot(side->slot)->active_ns = backend->frame.now_ms * 1000000;
	}
	side->id = pinhole->id;
	side->lifetime_s = pinhole->lifetime_s;
	side->expires_ms = 0;
	side->is_one_shot = pinhole->flags & WIRE_ONE_SHOT;
	side->is_gone = false;
	return 0;
}

/* Another process may have flushed the kernel's table since the last tick. */
static int confirm(struct backend *backend, struct pin *pin)
{
	struct conntrack_entry wanted = pin->kernel, found;
	bool was_there;
	int err;

	wanted.id = 0;
	wanted.mark = backend->frame.mark;
	wanted.timeout_s = pin->sides[0].lifetime_s > pin->sides[1].lifetime_s ? pin->sides[0].lifetime_s :
										  pin->sides[1].lifetime_s;
	err = conntrack_kernel_find(backend->frame.kernel, wanted.proto, &wanted.source, &wanted.listen, &found);
	if (err == 0 && conntrack_is_ours(backend, &found) && conntrack_same_way(&found, &wanted))
		return 0;
	err = conntrack_put(backend, &wanted, &found, &was_there);
	if (err == 0)
		pin->kernel = found;
	return err;
}

/* An entry that an earlier process made for this pinhole or its reverse. */
static bool find_left(const struct backend *backend, const struct conntrack_entry *wanted, struct conntrack_entry *ret)
{
	struct conntrack_entry found, turned;

	if (!backend->has_left ||
	    conntrack_kernel_find(backend->frame.kernel, wanted->proto, &wanted->source, &wanted->listen, &found) < 0 ||
	    !conntrack_is_ours(backend, &found))
		return false;
	turned = conntrack_turned(&found);
	if (!conntrack_same_way(&found, wanted) && !conntrack_same_way(&turned, wanted))
		return false;
	*ret = found;
	return true;
}

/* Brings it into the kernel. The way back stays on the relay until its own pinhole comes. */
static int enter(struct backend *backend, struct side *side, bool was_there)
{
	struct side *back = &side->pin->sides[1 - side->direction];
	const struct nft_fence own = conntrack_fence_of(side), other = conntrack_fence_of(back);
	struct conntrack_entry wanted = side->pin->kernel, found;
	bool is_udp = wanted.proto == IPPROTO_UDP;
	int err;

	if (was_there) { /* the way back is taken as it is, fenced or not: nobody may be reading the relay's sockets yet */
		if (is_udp)
			conntrack_set_fence(backend, &own, CONNTRACK_FENCE_OFF);
		back->is_fenced = is_udp && conntrack_set_fence(backend, &other, CONNTRACK_FENCE_RENEW) == 0;
		return conntrack_kernel_set_timeout(backend->frame.kernel, &wanted, side->lifetime_s);
	}
	err = is_udp ? conntrack_fence(backend, back) : 0;
	if (err == 0)
		err = conntrack_put(backend, &wanted, &found, &was_there);
	if (err == 0)
		side->pin->kernel = found;
	return err;
}

static int apply_new(struct backend *backend, const struct wire_pinhole *pinhole, struct backend_entry *ret)
{
	const struct conntrack_entry wanted = wanted_entry(backend, pinhole);
	const struct conntrack_arrival arrival = { pinhole->proto, &pinhole->source, &pinhole->listen };
	const struct conntrack_arrival answers = { pinhole->proto, &pinhole->target, &pinhole->from };
	struct conntrack_entry found;
	struct side *side;
	struct pin *pin;
	bool was_there;
	int err;

	if (conntrack_find(backend, &answers)) /* another pinhole has the same answers: an entry has no room for both */
		return -EEXIST;
	was_there = find_left(backend, &wanted, &found);
	err = conntrack_remember(backend, was_there ? &found : &wanted, &pin);
	if (err < 0)
		return err;
	side = conntrack_find(backend, &arrival);
	err = hold(backend, side, pinhole);
	if (err == 0)
		err = enter(backend, side, was_there);
	if (err < 0) {
		conntrack_forget(backend, pin);
		return err;
	}
	conntrack_count(backend, pin, &pin->kernel);
	ret->slot = side->slot;
	ret->was_there = was_there;
	return 0;
}

static int apply_known(struct backend *backend, struct side *side, const struct wire_pinhole *pinhole,
		       struct backend_entry *ret)
{
	const struct conntrack_entry wanted = wanted_entry(backend, pinhole), known = conntrack_side_entry(side);
	bool was_held = side->id != 0;
	int err;

	if (!conntrack_same_way(&known, &wanted) || (was_held && side->id != pinhole->id))
		return -EEXIST;
	err = hold(backend, side, pinhole);
	if (err < 0)
		return err;
	err = confirm(backend, side->pin);
	if (err < 0 && !was_held) {
		conntrack_slots_give(side->slot);
		side->id = 0;
	}
	if (err < 0)
		return err;
	conntrack_unfence(backend, side);
	conntrack_renew_fence(backend, &side->pin->sides[1 - side->direction]);
	conntrack_count(backend, side->pin, &side->pin->kernel);
	ret->slot = side->slot;
	ret->was_there = was_held;
	return 0;
}

static int apply(struct backend *backend, const struct wire_pinhole *pinhole, struct backend_entry *ret)
{
	struct conntrack_arrival arrival = { pinhole->proto, &pinhole->source, &pinhole->listen };
	struct backend_entry entry = { .id = pinhole->id, .path = PINHOLE_CONNTRACK };
	struct side *side;
	int err;

	if (!nat_frame_is_ready(&backend->frame))
		return -EOPNOTSUPP;
	err = nft_table_need(backend->frame.table);
	if (err < 0)
		return err;
	side = conntrack_find(backend, &arrival);
	err = side ? apply_known(backend, side, pinhole, &entry) : apply_new(backend, pinhole, &entry);
	if (err == 0)
		*ret = entry;
	return err;
}

/* Nothing is known of it: left by an earlier process. Counters are what the kernel had. */
static int remove_unknown(struct backend *backend, const struct wire_pinhole *pinhole)
{
	static const uint8_t protos[] = { IPPROTO_UDP, IPPROTO_TCP };

	for (unsigned i = 0; i < sizeof(protos); i++) {
		struct conntrack_entry found, turned, wanted = wanted_entry(backend, pinhole);

		wanted.proto = protos[i];
		if (pinhole->proto && pinhole->proto != protos[i])
			continue;
		if (conntrack_kernel_find(backend->frame.kernel, wanted.proto, &wanted.source, &wanted.listen, &found) < 0)
			continue;
		turned = conntrack_turned(&found);
		if (!conntrack_is_ours(backend, &found) ||
		    (!conntrack_same_way(&found, &wanted) && !conntrack_same_way(&turned, &wanted)))
			continue;
		conntrack_set_fence(backend, &(struct nft_fence){ found.source, found.listen, 0 }, CONNTRACK_FENCE_OFF);
		conntrack_set_fence(backend, &(struct nft_fence){ turned.source, turned.listen, 0 }, CONNTRACK_FENCE_OFF);
		return conntrack_kernel_delete(backend->frame.kernel, &found);
	}
	return ERR_NOT_FOUND;
}

static int remove_pinhole(struct backend *backend, const struct wire_pinhole *pinhole, struct slot *ret_last)
{
	struct conntrack_arrival arrival = { pinhole->proto, &pinhole->source, &pinhole->listen };
	struct side *side;
	struct pin *pin;
	struct conntrack_entry found;

	if (!nat_frame_is_ready(&backend->frame))
		return ERR_NOT_FOUND;
	side = conntrack_find(backend, &arrival);
	if (!side || side->id == 0)
		return side ? ERR_NOT_FOUND : remove_unknown(backend, pinhole);
	if (pinhole->id && side->id != pinhole->id)
		return ERR_NOT_FOUND;
	pin = side->pin;
	if (conntrack_kernel_find(backend->frame.kernel, pin->kernel.proto, &pin->kernel.source, &pin->kernel.listen, &found) == 0 &&
	    conntrack_is_ours(backend, &found) && conntrack_same_way(&found, &pin->kernel))
		conntrack_count(backend, pin, &found);
	if (ret_last)
		*ret_last = *conntrack_slot(side->slot);
	conntrack_slots_give(side->slot);
	side->id = 0;
	if (pin->sides[1 - side->direction].id == 0) {
		conntrack_kernel_delete(backend->frame.kernel, &pin->kernel);
		conntrack_forget(backend, pin);
		return 0;
	}
	return pin->kernel.proto == IPPROTO_UDP ? conntrack_fence(backend, side) : 0;
}

struct listing {
	struct backend *backend;
	backend_list_fn *fn;
	void *arg;
};

static void list_way(const struct listing *listing, const struct conntrack_entry *way, const struct side *side)
{
	const struct backend_entry entry = {
		.id = side ? side->id : 0, .slot = side ? side->slot : 0, .path = PINHOLE_CONNTRACK, .was_there = true,
		.listen = way->listen, .source = way->source, .from = way->from, .target = way->target, .proto = way->proto,
	};

	listing->fn(listing->arg, &entry);
}

static void list_entry(void *arg, const struct conntrack_entry *entry)
{
	const struct listing *listing = arg;
	struct conntrack_arrival arrival = { entry->proto, &entry->source, &entry->listen };
	const struct side *side = conntrack_find(listing->backend, &arrival);

	if (!side || !conntrack_same_way(&side->pin->kernel, entry)) {
		list_way(listing, entry, NULL);
		return;
	}
	for (unsigned i = 0; i < 2; i++) {
		const struct conntrack_entry way = conntrack_side_entry(&side->pin->sides[i]);

		if (side->pin->sides[i].id)
			list_way(listing, &way, &side->pin->sides[i]);
	}
}

static int list(struct backend *backend, backend_list_fn *fn, void *arg)
{
	struct listing listing = { backend, fn, arg };

	return backend->frame.kernel ? nat_frame_dump(&backend->frame, list_entry, &listing) : 0;
}

static void tick(struct backend *backend, uint64_t now_ms, void (*gone)(void *, uint64_t, enum wire_gone_why), void *arg)
{
	backend->frame.now_ms = now_ms;
	conntrack_check_tick(&backend->frame.check);
	if (nat_frame_is_ready(&backend->frame))
		conntrack_upkeep(backend, gone, arg);
}

static int arrange(const struct backend_conf *conf, const struct conntrack_entry *way, char reason[WIRE_REASON_MAX])
{
	struct nft_table *table;
	struct conntrack_kernel *kernel;
	struct conntrack_entry entry = *way;
	int err = nat_frame_arrange(conf, &table, reason);

	if (err == 0)
		err = conntrack_count_packets(reason);
	if (err == 0)
		err = conntrack_kernel_open(&kernel);
	entry.mark = nft_mark(conf->node_tag) | NFT_MARK_EXACT;
	entry.timeout_s = 60;
	if (err == 0)
		err = conntrack_kernel_create(kernel, &entry);
	if (err < 0 && reason[0] == '\0')
		snprintf(reason, WIRE_REASON_MAX, "inserting an entry: %s", err_str(err));
	return err;
}

static void note_left(void *arg, const struct conntrack_entry *entry)
{
	(void)entry;
	((struct backend *)arg)->has_left = true;
}

static int look_around(struct backend *backend)
{
	int err = conntrack_kernel_watch(backend->frame.kernel, CONNTRACK_ENDS, backend->frame.mark, backend->frame.mask);

	return err < 0 ? err : nat_frame_dump(&backend->frame, note_left, backend);
}

/* Each pin is met twice. */
static void free_side(struct hash_node *node, void *arg)
{
	struct side *side = HASH_ENTRY(node, struct side, node);

	hash_table_remove(arg, node);
	if (side->id)
		conntrack_slots_give(side->slot);
	if (++side->pin->n_freed == 2)
		free(side->pin);
}

static void close_backend(struct backend *backend)
{
	if (!backend)
		return;
	if (backend->sides)
		hash_table_each(backend->sides, free_side, backend->sides);
	hash_table_free(backend->sides);
	nat_frame_close(&backend->frame);
	free(backend);
}

static int open_backend(const struct backend_conf *conf, struct backend **ret)
{
	static const struct nat_frame_kind kind = { "connection tracking", NFT_MARK_EXACT, UINT32_MAX, arrange };
	struct backend *backend = calloc(1, sizeof(*backend));
	int err;

	if (!backend)
		return -ENOMEM;
	backend->sides = hash_table_new(2 * (size_t)conf->seal->pinholes_max);
	err = backend->sides ? nat_frame_open(&backend->frame, &kind, conf) : -ENOMEM;
	if (err < 0) {
		close_backend(backend);
		return err;
	}
	err = nat_frame_is_ready(&backend->frame) ? look_around(backend) : 0;
	if (err < 0)
		nat_frame_refuse(&backend->frame, kind.name, err);
	*ret = backend;
	return 0;
}

static void remove_all(struct backend *backend)
{
	nat_frame_remove_all(&backend->frame);
}

static bool is_blocked(const struct backend *backend, char *reason)
{
	if (backend->blocked_until_ms)
		snprintf(reason, WIRE_REASON_MAX, "packets arrive and do not leave: let ct mark 0x%08x/0x%08x through your "
			 "FORWARD chain, docs/firewall.md", nft_mark(backend->frame.conf->node_tag), ~(uint32_t)NFT_MARK_KIND);
	return backend->blocked_until_ms != 0;
}

static enum pinhole_path path_of(struct backend *backend, const struct wire_pinhole *pinhole, char *reason)
{
	uint8_t family = pinhole->source.family;

	if (family == 0 || pinhole->source.port == 0) {
		snprintf(reason, WIRE_REASON_MAX, "the peer's port is not known yet");
		return PINHOLE_NONE;
	}
	if (family != pinhole->target.family || family != pinhole->listen.family || family != pinhole->from.family) {
		snprintf(reason, WIRE_REASON_MAX, "address families differ");
		return PINHOLE_NONE;
	}
	if (is_blocked(backend, reason))
		return PINHOLE_NONE;
	return conntrack_check_family(&backend->frame.check, family, reason) ? PINHOLE_CONNTRACK : PINHOLE_NONE;
}

/* The names of the realms' interfaces are part of the closed firewall. */
static void links_changed(struct backend *backend)
{
	if (backend->frame.table && backend->frame.conf->seal->firewall && !nft_table_is_for(backend->frame.table, backend->frame.conf))
		backend->is_broken = true;
}

static void report(struct backend *backend, enum pinhole_path path, unsigned realm, struct backend_report *ret)
{
	(void)path;
	conntrack_check_report(&backend->frame.check, backend->frame.conf, realm, ret);
	if (ret->is_usable && is_blocked(backend, ret->reason))
		ret->is_usable = false;
}

static bool is_broken(const struct backend *backend)
{
	return backend->is_broken;
}

const struct backend_ops backend_conntrack = {
	.name = "conntrack",
	.features = BACKEND_UDP | BACKEND_TCP | BACKEND_ONE_SHOT | BACKEND_IPV6,
	.region = 1,
	.open = open_backend,
	.close = close_backend,
	.remove_all = remove_all,
	.path_of = path_of,
	.apply = apply,
	.remove = remove_pinhole,
	.list = list,
	.tick = tick,
	.slots = nat_frame_slots,
	.links_changed = links_changed,
	.report = report,
	.is_broken = is_broken,
};
