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
#include "pinhole/backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/err.h"
#include "core/hash.h"
#include "core/list.h"
#include "pinhole/conntrack_check.h"
#include "pinhole/conntrack_kernel.h"
#include "pinhole/conntrack_slots.h"
#include "pinhole/nft_door.h"
#include "pinhole/nft_table.h"

enum {
	BOTH_HALVES = 2,
	LOOKS_MAX = 4, /* readings of the whole connection table for doors that are closed, between two ticks */
	THERE = 0, BACK = 1, WAYS = 2,
	LEFT_MS = 120000, /* after the start, connections of an earlier process are known by themselves no longer */
};
#define BOTH_MARKS (~(uint32_t)(NFT_MARK_OPEN ^ NFT_MARK_KEPT)) /* as a mask: connections with either */

struct moved {
	uint64_t packets, bytes;
};

struct door {
	struct hash_node node; /* by what may arrive */
	struct nft_door kernel;
	uint64_t expires_ms;   /* 0: timeout_s from the next tick on */
	uint32_t slot;
	bool is_shut, is_gone, is_in_kernel; /* shut: has had its connection, no element any more */
	uint64_t seen;         /* serial of the last dump with a connection through it */
	struct conntrack_entry flow; /* the connection seen last */
	struct moved now[WAYS];  /* by the connections in the dump being read */
	struct moved last[WAYS]; /* in the one before */
	struct moved past[WAYS]; /* by connections that have ended */
};

struct backend {
	const struct backend_conf *conf;
	struct conntrack_check check;
	struct conntrack_kernel *kernel;
	struct nft_table *table;
	struct nft_table *ports; /* NULL where it could not be had: nothing depends on it */
	struct hash_table *doors;
	uint64_t now_ms, serial;
	uint32_t mark;
	unsigned n_looks;
	struct list leaving; /* closed, and to be looked at once more with the next tick */
	struct hash_table *left; /* connections of an earlier process, as they were found; NULL when there are none any more */
	uint64_t left_until_ms;
	bool has_slots;
};

/* Of an earlier process, by what arrived. */
struct left {
	struct hash_node node;
	struct conntrack_entry flow;
};

/* A door that was closed without a look: a connection that nobody saw may have come through. */
struct leaving {
	struct list node;
	struct nft_door door;
};

struct arrival { /* hashed and compared as octets: no padding */
	uint16_t proto;
	struct wire_addr source, listen; /* source without port, or nothing */
};
_Static_assert(sizeof(struct arrival) == 2 + 2 * sizeof(struct wire_addr), "no padding");

static struct arrival arrival_of(uint8_t proto, const struct wire_addr *source, const struct wire_addr *listen)
{
	struct arrival arrival = { .proto = proto, .source = *source, .listen = *listen };

	arrival.source.port = 0;
	if (arrival.source.family == 0)
		memset(&arrival.source, 0, sizeof(arrival.source));
	return arrival;
}

static uint64_t hash_of(const struct arrival *arrival)
{
	return hash_bytes((struct span){ (const char *)arrival, sizeof(*arrival) });
}

static bool same_arrival(const struct hash_node *node, const void *key)
{
	const struct nft_door *door = &HASH_ENTRY(node, struct door, node)->kernel;
	const struct arrival own = arrival_of(door->proto, &door->source, &door->listen);

	return memcmp(&own, key, sizeof(own)) == 0;
}

static struct door *find(const struct backend *backend, const struct arrival *arrival)
{
	struct hash_node *node = hash_table_find(backend->doors, hash_of(arrival), same_arrival, arrival);

	return node ? HASH_ENTRY(node, struct door, node) : NULL;
}

static struct door *find_pinhole(const struct backend *backend, const struct wire_pinhole *pinhole)
{
	const struct arrival arrival = arrival_of(pinhole->proto, &pinhole->source, &pinhole->listen);

	return find(backend, &arrival);
}

static bool same_addr(const struct wire_addr *a, const struct wire_addr *b)
{
	return a->family == b->family && a->port == b->port && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

/* The door that a connection came through: the one for its source, else the one for everybody. */
static struct door *door_of(const struct backend *backend, const struct conntrack_entry *flow)
{
	static const struct wire_addr anybody;
	const struct arrival known = arrival_of(flow->proto, &flow->source, &flow->listen);
	const struct arrival any = arrival_of(flow->proto, &anybody, &flow->listen);
	struct door *door = find(backend, &known);

	if (!door)
		door = find(backend, &any);
	return door && same_addr(&door->kernel.target, &flow->target) ? door : NULL;
}

static struct nft_door wanted_door(const struct wire_pinhole *pinhole)
{
	const struct arrival arrival = arrival_of(pinhole->proto, &pinhole->source, &pinhole->listen);

	return (struct nft_door){
		.id = pinhole->id, .source = arrival.source, .listen = pinhole->listen, .from = pinhole->from,
		.target = pinhole->target, .timeout_s = pinhole->lifetime_s, .proto = pinhole->proto,
		.is_one_shot = pinhole->flags & WIRE_ONE_SHOT,
	};
}

static bool same_way(const struct nft_door *a, const struct nft_door *b)
{
	return a->proto == b->proto && same_addr(&a->source, &b->source) && same_addr(&a->listen, &b->listen) &&
	       same_addr(&a->from, &b->from) && same_addr(&a->target, &b->target);
}

/* Takes one element out; that it is not there is fine. */
static int take_out(struct backend *backend, const struct nft_door *door, unsigned half)
{
	struct nft_batch *batch;
	int err = nft_batch_new(nft_table_link(backend->table), &batch);

	if (err < 0)
		return err;
	nft_door_remove(batch, nft_table_name(backend->table), door, half);
	err = nft_table_commit(backend->table, batch);
	return err == -ENOENT ? 0 : err;
}

static int take_out_both(struct backend *backend, const struct nft_door *door)
{
	struct nft_batch *batch;
	int err = nft_batch_new(nft_table_link(backend->table), &batch), second;

	if (err < 0)
		return err;
	nft_door_remove(batch, nft_table_name(backend->table), door, BOTH_HALVES);
	err = nft_table_commit(backend->table, batch);
	if (err != -ENOENT)
		return err;
	err = take_out(backend, door, 0); /* one may be there without the other */
	second = take_out(backend, door, 1);
	return err < 0 ? err : second;
}

/* New elements; old ones of this door are replaced in the same moment, for their time-out cannot be changed. */
static int put_in(struct backend *backend, const struct nft_door *door, bool is_replacing)
{
	struct nft_batch *batch;
	int err = nft_batch_new(nft_table_link(backend->table), &batch);

	if (err < 0)
		return err;
	if (is_replacing)
		nft_door_remove(batch, nft_table_name(backend->table), door, BOTH_HALVES);
	nft_door_add(batch, nft_table_name(backend->table), door);
	err = nft_table_commit(backend->table, batch);
	if (!is_replacing || err != -ENOENT)
		return err == -EBUSY ? -EEXIST : err;
	err = take_out_both(backend, door);
	return err < 0 ? err : put_in(backend, door, false);
}

struct search {
	const struct nft_door *wanted;
	bool is_found;
};

static void is_wanted(void *arg, const struct nft_door *door)
{
	struct search *search = arg;

	if (same_way(door, search->wanted))
		search->is_found = true;
}

struct conflict {
	const struct nft_door *wanted;
	bool is_there;
};

/* Another door with the same address to leave with would be broken by ours. */
static void conflicts(struct hash_node *node, void *arg)
{
	struct conflict *conflict = arg;
	const struct nft_door *door = &HASH_ENTRY(node, struct door, node)->kernel;

	if (door->proto == conflict->wanted->proto && same_addr(&door->source, &conflict->wanted->source) &&
	    same_addr(&door->target, &conflict->wanted->target))
		conflict->is_there = true;
}

/* Elements with these keys are in the kernel: an earlier process's, or another door's. */
static int take_over(struct backend *backend, const struct nft_door *wanted, bool *ret_was_there)
{
	struct conflict conflict = { wanted, false };
	struct search search = { wanted, false };
	int err;

	hash_table_each(backend->doors, conflicts, &conflict);
	if (conflict.is_there)
		return -EEXIST;
	err = nft_door_list(nft_table_link(backend->table), nft_table_name(backend->table), is_wanted, &search);
	if (err == 0)
		err = put_in(backend, wanted, true);
	if (err == 0)
		*ret_was_there = search.is_found;
	return err;
}

static bool is_of(const struct conntrack_entry *flow, const struct nft_door *door)
{
	const struct arrival arrival = arrival_of(flow->proto, &flow->source, &flow->listen);

	return flow->proto == door->proto && same_addr(&flow->listen, &door->listen) &&
	       same_addr(&flow->target, &door->target) &&
	       (door->source.family == 0 || same_addr(&arrival.source, &door->source));
}

struct cut {
	struct backend *backend;
	const struct nft_door *door;
};

/* A connection of the door that is being closed. */
static void cut_flow(void *arg, const struct conntrack_entry *flow)
{
	const struct cut *cut = arg;

	if (is_of(flow, cut->door))
		conntrack_kernel_delete(cut->backend->kernel, flow);
}

static void cut_late_flow(void *arg, const struct conntrack_entry *flow)
{
	struct backend *backend = arg;

	LIST_EACH(&backend->leaving, node)
		if (is_of(flow, &LIST_ENTRY(node, struct leaving, node)->door))
			conntrack_kernel_delete(backend->kernel, flow);
}

static void forget_leaving(struct backend *backend)
{
	LIST_EACH(&backend->leaving, node) {
		list_remove(node);
		free(LIST_ENTRY(node, struct leaving, node));
	}
}

static void cut_leaving(struct backend *backend)
{
	if (list_is_empty(&backend->leaving))
		return;
	if (conntrack_kernel_dump(backend->kernel, backend->mark, BOTH_MARKS, cut_late_flow, backend) == 0)
		forget_leaving(backend);
}

/* Before the same door is opened again: connections through the new one must not be taken for those of the old one. */
static void cut_before(struct backend *backend, const struct nft_door *wanted)
{
	LIST_EACH(&backend->leaving, node) {
		const struct nft_door *door = &LIST_ENTRY(node, struct leaving, node)->door;

		if (door->proto == wanted->proto && same_addr(&door->listen, &wanted->listen)) {
			cut_leaving(backend);
			return;
		}
	}
}

static bool same_left(const struct hash_node *node, const void *key)
{
	const struct conntrack_entry *flow = &HASH_ENTRY(node, struct left, node)->flow;
	const struct arrival own = arrival_of(flow->proto, &flow->source, &flow->listen);

	return memcmp(&own, key, sizeof(own)) == 0;
}

static void free_left(struct hash_node *node, void *arg)
{
	hash_table_remove(arg, node);
	free(HASH_ENTRY(node, struct left, node));
}

static bool is_over(const struct conntrack_entry *flow)
{
	return flow->tcp_state == CONNTRACK_TCP_TIME_WAIT || flow->tcp_state == CONNTRACK_TCP_CLOSE;
}

/* A connection that an earlier process let in through this door for one, and that is still there: the door stays shut. */
static bool is_used_up(struct backend *backend, struct door *door)
{
	const struct arrival arrival = arrival_of(door->kernel.proto, &door->kernel.source, &door->kernel.listen);
	struct hash_node *node;
	struct conntrack_entry then, now;

	if (!backend->left || !door->kernel.is_one_shot)
		return false;
	node = hash_table_find(backend->left, hash_of(&arrival), same_left, &arrival);
	if (!node)
		return false;
	then = HASH_ENTRY(node, struct left, node)->flow;
	free_left(node, backend->left);
	if (!is_of(&then, &door->kernel) ||
	    conntrack_kernel_find(backend->kernel, then.proto, &then.source, &then.listen, &now) < 0 || now.id != then.id)
		return false;
	door->flow = now;
	return true;
}

static int bring_in(struct backend *backend, struct door *door, bool *ret_was_there)
{
	int err;

	if (is_used_up(backend, door)) {
		door->is_shut = *ret_was_there = true;
		return take_out_both(backend, &door->kernel);
	}
	err = put_in(backend, &door->kernel, false);
	return err == -EEXIST ? take_over(backend, &door->kernel, ret_was_there) : err;
}

static int apply_new(struct backend *backend, const struct wire_pinhole *pinhole, struct backend_entry *ret)
{
	struct door *door = calloc(1, sizeof(*door));
	struct arrival arrival = arrival_of(pinhole->proto, &pinhole->source, &pinhole->listen);
	int err;

	if (!door)
		return -ENOMEM;
	door->kernel = wanted_door(pinhole);
	cut_before(backend, &door->kernel);
	err = conntrack_slots_take(&door->slot);
	if (err < 0) {
		free(door);
		return -ENOSPC;
	}
	err = bring_in(backend, door, &ret->was_there);
	if (err == 0) {
		err = hash_table_add(backend->doors, &door->node, hash_of(&arrival)) < 0 ? -ENOSPC : 0;
		if (err < 0)
			take_out_both(backend, &door->kernel);
	}
	if (err < 0) {
		conntrack_slots_give(door->slot);
		free(door);
		return err;
	}
	conntrack_slot(door->slot)->state = SLOT_ACTIVE;
	conntrack_slot(door->slot)->active_ns = backend->now_ms * 1000000;
	ret->slot = door->slot;
	return 0;
}

static int read_flows(struct backend *backend);

/* Renews it. One that its connection has shut stays shut: look once more before opening it anew. */
static int apply_known(struct backend *backend, struct door *door, const struct wire_pinhole *pinhole,
		       struct backend_entry *ret)
{
	const struct nft_door wanted = wanted_door(pinhole);
	int err = 0;

	if (!same_way(&door->kernel, &wanted) || door->kernel.id != wanted.id)
		return -EEXIST;
	if (wanted.is_one_shot && !door->is_shut)
		err = read_flows(backend);
	if (err == 0 && !door->is_shut && !(wanted.is_one_shot && door->seen == backend->serial))
		err = put_in(backend, &wanted, true);
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

static void heal(struct backend *backend);

static int apply(struct backend *backend, const struct wire_pinhole *pinhole, struct backend_entry *ret)
{
	struct backend_entry entry = { .id = pinhole->id, .path = PINHOLE_NFT };
	int err;

	if (!backend->kernel || !backend->table)
		return -EOPNOTSUPP;
	err = nft_table_need(backend->table);
	if (err == 0)
		err = apply_any(backend, pinhole, &entry);
	if (err == -ENOENT) { /* the table has been flushed since the last tick */
		heal(backend);
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
		struct search search = { &door, false };
		struct cut cut = { backend, &door };

		door.proto = protos[i];
		if (pinhole->proto && pinhole->proto != protos[i])
			continue;
		nft_door_list(nft_table_link(backend->table), nft_table_name(backend->table), is_wanted, &search);
		if (!search.is_found)
			continue;
		err = take_out_both(backend, &door);
		conntrack_kernel_dump(backend->kernel, backend->mark, BOTH_MARKS, cut_flow, &cut);
	}
	return err;
}

static void begin_flows(struct hash_node *node, void *arg)
{
	struct door *door = HASH_ENTRY(node, struct door, node);

	(void)arg;
	memcpy(door->last, door->now, sizeof(door->last));
	memset(door->now, 0, sizeof(door->now));
}

static void read_flow(void *arg, const struct conntrack_entry *flow)
{
	struct backend *backend = arg;
	struct door *door = door_of(backend, flow);

	if (!door)
		return;
	door->seen = backend->serial;
	door->flow = *flow;
	for (unsigned way = 0; way < WAYS; way++) {
		door->now[way].packets += flow->packets[way];
		door->now[way].bytes += flow->bytes[way];
	}
}

static void end_flows(struct hash_node *node, void *arg)
{
	struct backend *backend = arg;
	struct door *door = HASH_ENTRY(node, struct door, node);
	struct slot_count counts[WAYS];

	for (unsigned way = 0; way < WAYS; way++) {
		struct moved *past = &door->past[way];
		const struct moved *now = &door->now[way], *last = &door->last[way];

		if (now->packets < last->packets) { /* a connection has ended; what it moved since the last look is not known */
			past->packets += last->packets - now->packets;
			past->bytes += last->bytes > now->bytes ? last->bytes - now->bytes : 0;
		}
		counts[way] = (struct slot_count){ .packets = past->packets + now->packets, .bytes = past->bytes + now->bytes,
						   .proto = door->kernel.proto, .family = door->kernel.listen.family };
	}
	conntrack_slot_count_both(conntrack_slot(door->slot), &counts[THERE], &counts[BACK], backend->now_ms * 1000000);
}

static void forget_flows(struct hash_node *node, void *arg)
{
	struct door *door = HASH_ENTRY(node, struct door, node);

	(void)arg;
	memcpy(door->now, door->last, sizeof(door->now));
}

/* Which doors have connections, and what these have moved. Afterwards door->seen == backend->serial tells. */
static int read_flows(struct backend *backend)
{
	int err;

	backend->serial++;
	hash_table_each(backend->doors, begin_flows, NULL);
	err = conntrack_kernel_dump(backend->kernel, backend->mark, BOTH_MARKS, read_flow, backend);
	hash_table_each(backend->doors, err < 0 ? forget_flows : end_flows, backend);
	return err;
}

/* The one connection that is known. Counted to its last packet, then cut. */
static void cut_known(struct backend *backend, struct door *door)
{
	const struct conntrack_entry *known = &door->flow;
	struct conntrack_entry flow;

	if (conntrack_kernel_find(backend->kernel, known->proto, &known->source, &known->listen, &flow) < 0 ||
	    flow.id != known->id)
		return;
	begin_flows(&door->node, backend);
	read_flow(backend, &flow);
	end_flows(&door->node, backend);
	conntrack_kernel_delete(backend->kernel, &flow);
}

/* A door that stood open may have connections that were never seen: that takes a look at all of them, now or, when many doors
 * close at once, with the next tick. */
static void cut_flows(struct backend *backend, struct door *door)
{
	struct cut cut = { backend, &door->kernel };
	struct leaving *leaving = NULL;

	if (door->is_shut || (door->kernel.is_one_shot && door->seen)) {
		cut_known(backend, door);
		return;
	}
	if (backend->n_looks >= LOOKS_MAX)
		leaving = calloc(1, sizeof(*leaving));
	if (leaving) {
		if (door->seen)
			cut_known(backend, door);
		leaving->door = door->kernel;
		list_append(&backend->leaving, &leaving->node);
		return;
	}
	backend->n_looks++;
	if (read_flows(backend) == 0 && door->seen == backend->serial)
		conntrack_kernel_dump(backend->kernel, backend->mark, BOTH_MARKS, cut_flow, &cut);
}

static int remove_pinhole(struct backend *backend, const struct wire_pinhole *pinhole, struct slot *ret_last)
{
	struct door *door;

	if (!backend->kernel || !backend->table)
		return ERR_NOT_FOUND;
	door = find_pinhole(backend, pinhole);
	if (!door)
		return remove_unknown(backend, pinhole);
	if (pinhole->id && pinhole->id != door->kernel.id)
		return ERR_NOT_FOUND;
	if (!door->is_shut)
		take_out_both(backend, &door->kernel);
	cut_flows(backend, door);
	if (ret_last)
		*ret_last = *conntrack_slot(door->slot);
	conntrack_slots_give(door->slot);
	hash_table_remove(backend->doors, &door->node);
	free(door);
	return 0;
}

struct listing {
	struct backend *backend;
	backend_list_fn *fn;
	void *arg;
};

static void list_door(void *arg, const struct nft_door *kernel)
{
	const struct listing *listing = arg;
	const struct arrival arrival = arrival_of(kernel->proto, &kernel->source, &kernel->listen);
	const struct door *door = find(listing->backend, &arrival);
	const struct backend_entry entry = {
		.id = door && same_way(&door->kernel, kernel) ? door->kernel.id : 0, .slot = door ? door->slot : 0,
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

	if (!backend->kernel || !backend->table)
		return 0;
	err = nft_door_list(nft_table_link(backend->table), nft_table_name(backend->table), list_door, &listing);
	if (err < 0)
		return err;
	err = read_flows(backend);
	if (err == 0)
		hash_table_each(backend->doors, list_shut, &listing);
	return err;
}

static void mark_present(void *arg, const struct nft_door *kernel)
{
	const struct arrival arrival = arrival_of(kernel->proto, &kernel->source, &kernel->listen);
	struct door *door = find(arg, &arrival);

	if (door && same_way(&door->kernel, kernel))
		door->is_in_kernel = true;
}

static uint32_t time_left_s(const struct backend *backend, const struct door *door)
{
	if (door->expires_ms == 0)
		return door->kernel.timeout_s;
	return door->expires_ms > backend->now_ms ? (uint32_t)((door->expires_ms - backend->now_ms + 999) / 1000) : 0;
}

/* Also decides for the next round. */
static void put_back(struct hash_node *node, void *arg)
{
	struct backend *backend = arg;
	struct door *door = HASH_ENTRY(node, struct door, node);
	struct nft_door again = door->kernel;

	again.timeout_s = time_left_s(backend, door);
	if (!door->is_in_kernel && !door->is_shut && again.timeout_s > 0)
		put_in(backend, &again, true);
	door->is_in_kernel = false;
}

/* Somebody changed the ruleset: elements of ours may have gone with it. */
static void heal(struct backend *backend)
{
	struct nft_table_news news = { 0 };

	if (nft_table_check(backend->table, &news) < 0 || !news.is_changed)
		return; /* or the next tick tries again */
	if (nft_door_list(nft_table_link(backend->table), nft_table_name(backend->table), mark_present, backend) == 0)
		hash_table_each(backend->doors, put_back, backend);
}

struct review {
	struct backend *backend;
	void (*gone)(void *arg, uint64_t id, enum wire_gone_why why);
	void *arg;
};

static bool has_ended(const struct backend *backend, const struct door *door)
{
	return door->seen != backend->serial || is_over(&door->flow);
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
		door->expires_ms = backend->now_ms + (uint64_t)door->kernel.timeout_s * 1000;
	if (door->kernel.is_one_shot && !door->is_shut && door->seen == backend->serial)
		door->is_shut = take_out_both(backend, &door->kernel) == 0;
	if (door->is_shut && has_ended(backend, door))
		why = WIRE_USED_UP;
	else if (door->expires_ms <= backend->now_ms)
		why = WIRE_EXPIRED;
	else
		return;
	door->is_gone = true;
	review->gone(review->arg, door->kernel.id, why);
}

static void forget_left(struct backend *backend)
{
	if (backend->left)
		hash_table_each(backend->left, free_left, backend->left);
	hash_table_free(backend->left);
	backend->left = NULL;
}

static void tick(struct backend *backend, uint64_t now_ms, void (*gone)(void *, uint64_t, enum wire_gone_why), void *arg)
{
	struct review review = { backend, gone, arg };
	struct nft_table_news news;

	backend->now_ms = now_ms;
	conntrack_check_tick(&backend->check);
	if (backend->ports)
		nft_table_check(backend->ports, &news);
	if (!backend->kernel || !backend->table)
		return;
	backend->n_looks = 0;
	if (backend->left_until_ms == 0)
		backend->left_until_ms = now_ms + LEFT_MS;
	else if (backend->left_until_ms <= now_ms)
		forget_left(backend);
	cut_leaving(backend);
	if (hash_table_count(backend->doors) > 0 && read_flows(backend) == 0)
		hash_table_each(backend->doors, review_door, &review);
	heal(backend); /* after the review: a door that has had its connection is not opened again */
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
	int err = nft_table_open(conf, false, &table, reason);

	if (err == 0)
		err = nft_table_need(table);
	if (err == 0)
		err = put_for_proof(table, way);
	if (err < 0 && reason[0] == '\0')
		snprintf(reason, WIRE_REASON_MAX, "adding an element: %s", err_str(err));
	return err;
}

static void note_left(void *arg, const struct conntrack_entry *flow)
{
	const struct arrival arrival = arrival_of(flow->proto, &flow->source, &flow->listen);
	struct backend *backend = arg;
	struct left *left = flow->proto == IPPROTO_TCP ? calloc(1, sizeof(*left)) : NULL;

	if (!left) /* without memory a door may let in a second connection */
		return;
	left->flow = *flow;
	if (hash_table_add(backend->left, &left->node, hash_of(&arrival)) < 0)
		free(left);
}

static int prepare(struct backend *backend, const struct backend_conf *conf, char reason[WIRE_REASON_MAX])
{
	char ignored[WIRE_REASON_MAX];
	int err = nft_table_open(conf, conf->seal->firewall, &backend->table, reason);

	if (err == 0)
		err = conntrack_count_packets(reason);
	if (err == 0)
		err = conntrack_kernel_open(&backend->kernel);
	if (err == 0)
		err = conntrack_kernel_dump(backend->kernel, backend->mark, BOTH_MARKS, note_left, backend);
	if (err < 0 && reason[0] == '\0')
		snprintf(reason, WIRE_REASON_MAX, "nf_tables: %s", err_str(err));
	nft_table_open_ports(conf, &backend->ports, ignored);
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
	forget_leaving(backend);
	forget_left(backend);
	conntrack_kernel_close(backend->kernel);
	nft_table_close(backend->table);
	nft_table_close(backend->ports);
	conntrack_check_close(&backend->check);
	if (backend->has_slots)
		conntrack_slots_close();
	free(backend);
}

static int open_backend(const struct backend_conf *conf, struct backend **ret)
{
	struct backend *backend = calloc(1, sizeof(*backend));
	char reason[WIRE_REASON_MAX] = "";

	if (!backend)
		return -ENOMEM;
	backend->conf = conf;
	list_init(&backend->leaving);
	backend->mark = nft_mark(conf->node_tag) | NFT_MARK_OPEN;
	backend->doors = hash_table_new(conf->seal->pinholes_max);
	backend->left = hash_table_new(conf->seal->pinholes_max);
	backend->has_slots = backend->doors && backend->left && conntrack_slots_open(conf->seal->pinholes_max) == 0;
	conntrack_check_open(&backend->check, conf, arrange);
	if (!backend->has_slots) {
		close_backend(backend);
		return -ENOMEM;
	}
	if (prepare(backend, conf, reason) < 0)
		conntrack_check_refuse(&backend->check, reason);
	*ret = backend;
	return 0;
}

static void delete_entry(void *arg, const struct conntrack_entry *entry)
{
	conntrack_kernel_delete(((struct backend *)arg)->kernel, entry);
}

static void remove_all(struct backend *backend)
{
	if (backend->kernel)
		conntrack_kernel_dump(backend->kernel, backend->mark, BOTH_MARKS, delete_entry, backend);
	if (backend->table)
		nft_table_remove(backend->table);
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
	return conntrack_check_family(&backend->check, family, reason) ? PINHOLE_NFT : PINHOLE_NONE;
}

static int slots(struct backend *backend, uint32_t *ret_n)
{
	(void)backend;
	return conntrack_slots_fd(ret_n);
}

/* Names of interfaces matter to the table only; conntrack.c asks for a new one when they change. */
static void links_changed(struct backend *backend)
{
	(void)backend;
}

static void report(struct backend *backend, enum pinhole_path path, unsigned realm, struct backend_report *ret)
{
	(void)path;
	conntrack_check_report(&backend->check, backend->conf, realm, ret);
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
	.list = list,
	.tick = tick,
	.slots = slots,
	.links_changed = links_changed,
	.report = report,
};
