/* backend_nft: doors for peers of whom the port, or nothing at all, is known before they knock: elements of maps with
 * time-outs in the gateway's own table. Owns what it knows of them; the kernel's maps are the truth. The connection that
 * comes in is the kernel's own from then on and outlives its door.
 *
 * Also keeps the table that silences unused media ports, whatever path media takes.
 *
 * A one-shot door shuts behind the first connection: in the kernel at once, here with the next tick. Its pinhole stays until
 * that connection ends (both sides have finished, or one has reset it), so that its packets are counted and closing it cuts the
 * connection. After a restart such a connection is recognised, and its door stays shut. Counters are of both directions, each by
 * itself, for such a pinhole has no reverse. Payload, DSCP and rate are as in conntrack.c. Single thread: the helper's. */
#include "pinhole/nft_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/err.h"

struct nft_arrival nft_arrival(uint8_t proto, const struct wire_addr *source, const struct wire_addr *listen)
{
	struct nft_arrival arrival = { .proto = proto, .source = *source, .listen = *listen };

	arrival.source.port = 0;
	if (arrival.source.family == 0)
		memset(&arrival.source, 0, sizeof(arrival.source));
	return arrival;
}

uint64_t nft_hash(const struct nft_arrival *arrival)
{
	return hash_bytes((struct span){ (const char *)arrival, sizeof(*arrival) });
}

static bool same_arrival(const struct hash_node *node, const void *key)
{
	const struct nft_door *door = &HASH_ENTRY(node, struct door, node)->kernel;
	const struct nft_arrival own = nft_arrival(door->proto, &door->source, &door->listen);

	return memcmp(&own, key, sizeof(own)) == 0;
}

struct door *nft_find(const struct backend *backend, const struct nft_arrival *arrival)
{
	struct hash_node *node = hash_table_find(backend->doors, nft_hash(arrival), same_arrival, arrival);

	return node ? HASH_ENTRY(node, struct door, node) : NULL;
}

static struct door *find_pinhole(const struct backend *backend, const struct wire_pinhole *pinhole)
{
	const struct nft_arrival arrival = nft_arrival(pinhole->proto, &pinhole->source, &pinhole->listen);

	return nft_find(backend, &arrival);
}

static struct nft_door wanted_door(const struct wire_pinhole *pinhole)
{
	const struct nft_arrival arrival = nft_arrival(pinhole->proto, &pinhole->source, &pinhole->listen);

	return (struct nft_door){
		.id = pinhole->id, .source = arrival.source, .listen = pinhole->listen, .from = pinhole->from,
		.target = pinhole->target, .timeout_s = pinhole->lifetime_s, .proto = pinhole->proto,
		.is_one_shot = pinhole->flags & WIRE_ONE_SHOT,
	};
}

bool nft_same_way(const struct nft_door *a, const struct nft_door *b)
{
	return a->proto == b->proto && wire_addr_eq(&a->source, &b->source) && wire_addr_eq(&a->listen, &b->listen) &&
	       wire_addr_eq(&a->from, &b->from) && wire_addr_eq(&a->target, &b->target);
}

static int bring_in(struct backend *backend, struct door *door, bool *ret_was_there)
{
	int err;

	if (nft_flows_is_used_up(backend, door)) {
		door->is_shut = *ret_was_there = true;
		return nft_elements_take_out(backend, &door->kernel);
	}
	err = nft_elements_put_in(backend, &door->kernel, false);
	return err == -EEXIST ? nft_elements_take_over(backend, &door->kernel, ret_was_there) : err;
}

static int apply_new(struct backend *backend, const struct wire_pinhole *pinhole, struct backend_entry *ret)
{
	struct door *door = calloc(1, sizeof(*door));
	struct nft_arrival arrival = nft_arrival(pinhole->proto, &pinhole->source, &pinhole->listen);
	int err;

	if (!door)
		return -ENOMEM;
	door->kernel = wanted_door(pinhole);
	door->is_to_self = pinhole->flags & WIRE_TO_SELF;
	nft_flows_cut_before(backend, &door->kernel);
	if (door->kernel.is_one_shot && door->kernel.from.family == 0 && !door->is_to_self)
		nft_flows_watch(backend);
	err = conntrack_slots_take(&door->slot);
	if (err < 0) {
		free(door);
		return -ENOSPC;
	}
	err = bring_in(backend, door, &ret->was_there);
	if (err == 0) {
		err = hash_table_add(backend->doors, &door->node, nft_hash(&arrival)) < 0 ? -ENOSPC : 0;
		if (err < 0)
			nft_elements_take_out(backend, &door->kernel);
	}
	if (err < 0) {
		conntrack_slots_give(door->slot);
		free(door);
		return err;
	}
	conntrack_slot(door->slot)->state = SLOT_ACTIVE;
	conntrack_slot(door->slot)->active_ns = backend->frame.now_ms * 1000000;
	ret->slot = door->slot;
	return 0;
}

/* Renews it. One that its connection has shut stays shut: look once more before opening it anew. */
static int apply_known(struct backend *backend, struct door *door, const struct wire_pinhole *pinhole,
		       struct backend_entry *ret)
{
	const struct nft_door wanted = wanted_door(pinhole);
	int err = 0;

	if (!nft_same_way(&door->kernel, &wanted) || door->kernel.id != wanted.id)
		return -EEXIST;
	if (wanted.is_one_shot && !door->is_shut)
		err = nft_flows_read(backend);
	if (err == 0 && !door->is_shut && !(wanted.is_one_shot && door->seen == backend->serial))
		err = nft_elements_put_in(backend, &wanted, true);
	if (err < 0)
		return err;
	door->kernel = wanted;
	door->expires_ms = 0;
	door->is_gone = false;
	ret->slot = door->slot;
	ret->was_there = true;
	return 0;
}

static int apply_any(struct backend *backend, const struct wire_pinhole *pinhole, struct backend_entry *ret)
{
	struct door *door = find_pinhole(backend, pinhole);

	return door ? apply_known(backend, door, pinhole, ret) : apply_new(backend, pinhole, ret);
}

static int apply(struct backend *backend, const struct wire_pinhole *pinhole, struct backend_entry *ret)
{
	struct backend_entry entry = { .id = pinhole->id, .path = PINHOLE_NFT };
	int err;

	if (!nat_frame_is_ready(&backend->frame))
		return -EOPNOTSUPP;
	err = nft_table_need(backend->frame.table);
	if (err == 0)
		err = apply_any(backend, pinhole, &entry);
	if (err == -ENOENT) { /* the table has been flushed since the last tick */
		nft_elements_heal(backend);
		err = apply_any(backend, pinhole, &entry);
	}
	if (err == 0)
		*ret = entry;
	return err;
}

static int remove_unknown(struct backend *backend, const struct wire_pinhole *pinhole)
{
	static const uint8_t protos[] = { IPPROTO_UDP, IPPROTO_TCP };
	struct nft_door door = wanted_door(pinhole);
	int err = ERR_NOT_FOUND;

	for (unsigned i = 0; i < sizeof(protos); i++) {
		door.proto = protos[i];
		if (pinhole->proto && pinhole->proto != protos[i])
			continue;
		if (!nft_elements_has(backend, &door))
			continue;
		err = nft_elements_take_out(backend, &door);
		nft_flows_cut_unknown(backend, &door);
	}
	return err;
}

static int remove_pinhole(struct backend *backend, const struct wire_pinhole *pinhole, struct slot *ret_last)
{
	struct door *door;

	if (!nat_frame_is_ready(&backend->frame))
		return ERR_NOT_FOUND;
	door = find_pinhole(backend, pinhole);
	if (!door)
		return remove_unknown(backend, pinhole);
	if (pinhole->id && pinhole->id != door->kernel.id)
		return ERR_NOT_FOUND;
	if (!door->is_shut)
		nft_elements_take_out(backend, &door->kernel);
	nft_flows_cut(backend, door);
	if (ret_last)
		*ret_last = *conntrack_slot(door->slot);
	conntrack_slots_give(door->slot);
	hash_table_remove(backend->doors, &door->node);
	free(door);
	return 0;
}

static enum pinhole_end look(struct backend *backend, const struct wire_pinhole *pinhole)
{
	struct door *door = nat_frame_is_ready(&backend->frame) ? find_pinhole(backend, pinhole) : NULL;

	if (!door || door->kernel.id != pinhole->id || !door->kernel.is_one_shot || door->is_to_self || pinhole->proto != IPPROTO_TCP)
		return PINHOLE_END_UNKNOWN;
	return nft_flows_look(backend, door);
}

struct listing {
	struct backend *backend;
	backend_list_fn *fn;
	void *arg;
};

static void list_door(void *arg, const struct nft_door *kernel)
{
	const struct listing *listing = arg;
	const struct nft_arrival arrival = nft_arrival(kernel->proto, &kernel->source, &kernel->listen);
	const struct door *door = nft_find(listing->backend, &arrival);
	const struct backend_entry entry = {
		.id = door && nft_same_way(&door->kernel, kernel) ? door->kernel.id : 0, .slot = door ? door->slot : 0,
		.path = PINHOLE_NFT, .was_there = true, .listen = kernel->listen, .source = kernel->source,
		.from = kernel->from, .target = kernel->target, .proto = kernel->proto,
	};

	listing->fn(listing->arg, &entry);
}

/* Shut, but its connection lives. */
static void list_shut(struct hash_node *node, void *arg)
{
	const struct listing *listing = arg;
	const struct door *door = HASH_ENTRY(node, struct door, node);

	if (door->is_shut && door->seen == listing->backend->serial)
		list_door(arg, &door->kernel);
}

static int list(struct backend *backend, backend_list_fn *fn, void *arg)
{
	struct listing listing = { backend, fn, arg };
	int err;

	if (!nat_frame_is_ready(&backend->frame))
		return 0;
	err = nft_door_list(nft_table_link(backend->frame.table), nft_table_name(backend->frame.table), list_door, &listing);
	if (err < 0)
		return err;
	err = nft_flows_read(backend);
	if (err == 0)
		hash_table_each(backend->doors, list_shut, &listing);
	return err;
}

struct review {
	struct backend *backend;
	void (*gone)(void *arg, uint64_t id, enum wire_gone_why why);
	void *arg;
};

static bool has_ended(const struct backend *backend, const struct door *door)
{
	return door->seen != backend->serial || nft_flows_is_over(&door->flow);
}

static void review_door(struct hash_node *node, void *arg)
{
	const struct review *review = arg;
	struct backend *backend = review->backend;
	struct door *door = HASH_ENTRY(node, struct door, node);
	enum wire_gone_why why;

	if (door->is_gone)
		return;
	if (door->expires_ms == 0)
		door->expires_ms = backend->frame.now_ms + (uint64_t)door->kernel.timeout_s * 1000;
	if (door->kernel.is_one_shot && !door->is_shut && door->seen == backend->serial)
		door->is_shut = nft_elements_take_out(backend, &door->kernel) == 0;
	if (door->is_shut && has_ended(backend, door))
		why = WIRE_USED_UP;
	else if (door->expires_ms <= backend->frame.now_ms)
		why = WIRE_EXPIRED;
	else
		return;
	door->is_gone = true;
	review->gone(review->arg, door->kernel.id, why);
}

static void tick(struct backend *backend, uint64_t now_ms, void (*gone)(void *, uint64_t, enum wire_gone_why), void *arg)
{
	struct review review = { backend, gone, arg };
	struct nft_table_news news;

	backend->frame.now_ms = now_ms;
	conntrack_check_tick(&backend->frame.check);
	if (backend->ports)
		nft_table_check(backend->ports, &news);
	if (!nat_frame_is_ready(&backend->frame))
		return;
	nft_flows_tick(backend);
	if (hash_table_count(backend->doors) > 0 && nft_flows_read(backend) == 0)
		hash_table_each(backend->doors, review_door, &review);
	nft_elements_heal(backend); /* after the review: a door that has had its connection is not opened again */
}

static int put_for_proof(struct nft_table *table, const struct conntrack_entry *way)
{
	struct nft_door door = {
		.id = 1, .source = way->source, .listen = way->listen, .from = way->from, .target = way->target,
		.timeout_s = 60, .proto = way->proto, .is_one_shot = true,
	};
	struct nft_batch *batch;
	int err = nft_batch_new(nft_table_link(table), &batch);

	if (err < 0)
		return err;
	nft_door_add(batch, nft_table_name(table), &door);
	return nft_table_commit(table, batch);
}

static int arrange(const struct backend_conf *conf, const struct conntrack_entry *way, char reason[WIRE_REASON_MAX])
{
	struct nft_table *table;
	int err = nat_frame_arrange(conf, &table, reason);

	if (err == 0)
		err = put_for_proof(table, way);
	if (err < 0 && reason[0] == '\0')
		snprintf(reason, WIRE_REASON_MAX, "adding an element: %s", err_str(err));
	return err;
}

static void free_door(struct hash_node *node, void *arg)
{
	struct door *door = HASH_ENTRY(node, struct door, node);

	hash_table_remove(arg, node);
	conntrack_slots_give(door->slot);
	free(door);
}

static void close_backend(struct backend *backend)
{
	if (!backend)
		return;
	if (backend->doors)
		hash_table_each(backend->doors, free_door, backend->doors);
	hash_table_free(backend->doors);
	nft_flows_close(backend);
	nft_table_close(backend->ports);
	nat_frame_close(&backend->frame);
	free(backend);
}

static int open_backend(const struct backend_conf *conf, struct backend **ret)
{
	static const struct nat_frame_kind kind = {
		"nf_tables", NFT_MARK_OPEN, ~(uint32_t)(NFT_MARK_OPEN ^ NFT_MARK_KEPT) /* either */, arrange,
	};
	struct backend *backend = calloc(1, sizeof(*backend));
	char ignored[WIRE_REASON_MAX];
	int err;

	if (!backend)
		return -ENOMEM;
	backend->serial = 1;
	list_init(&backend->leaving);
	backend->doors = hash_table_new(conf->seal->pinholes_max);
	backend->left = hash_table_new(conf->seal->pinholes_max);
	err = backend->doors && backend->left ? nat_frame_open(&backend->frame, &kind, conf) : -ENOMEM;
	if (err < 0) {
		close_backend(backend);
		return err;
	}
	err = nat_frame_is_ready(&backend->frame) ? nft_flows_open(backend) : 0;
	if (err < 0)
		nat_frame_refuse(&backend->frame, kind.name, err);
	nft_table_open_ports(conf, &backend->ports, ignored);
	*ret = backend;
	return 0;
}

static void remove_all(struct backend *backend)
{
	nat_frame_remove_all(&backend->frame);
	if (backend->ports)
		nft_table_remove(backend->ports);
}

static enum pinhole_path path_of(struct backend *backend, const struct wire_pinhole *pinhole, char *reason)
{
	uint8_t family = pinhole->listen.family;

	if (pinhole->source.family != 0 && pinhole->source.port != 0) {
		snprintf(reason, WIRE_REASON_MAX, "the peer's port is known: only an exact flow will do");
		return PINHOLE_NONE;
	}
	if (family != pinhole->target.family || (pinhole->from.family != 0 && family != pinhole->from.family) ||
	    (pinhole->source.family != 0 && family != pinhole->source.family)) {
		snprintf(reason, WIRE_REASON_MAX, "address families differ");
		return PINHOLE_NONE;
	}
	return conntrack_check_family(&backend->frame.check, family, reason) ? PINHOLE_NFT : PINHOLE_NONE;
}

/* Names of interfaces matter to the table only; conntrack.c asks for a new one when they change. */
static void links_changed(struct backend *backend)
{
	(void)backend;
}

static void report(struct backend *backend, enum pinhole_path path, unsigned realm, struct backend_report *ret)
{
	(void)path;
	conntrack_check_report(&backend->frame.check, backend->frame.conf, realm, ret);
}

const struct backend_ops backend_nft = {
	.name = "nft",
	.features = BACKEND_UDP | BACKEND_TCP | BACKEND_ANY_SOURCE | BACKEND_ONE_SHOT | BACKEND_IPV6 | BACKEND_FOREIGN,
	.region = 1,
	.open = open_backend,
	.close = close_backend,
	.remove_all = remove_all,
	.path_of = path_of,
	.apply = apply,
	.remove = remove_pinhole,
	.look = look,
	.list = list,
	.tick = tick,
	.slots = nat_frame_slots,
	.links_changed = links_changed,
	.report = report,
};
