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
#include "pinhole/backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/err.h"
#include "core/hash.h"
#include "pinhole/conntrack_check.h"
#include "pinhole/conntrack_kernel.h"
#include "pinhole/conntrack_slots.h"
#include "pinhole/nft_door.h"
#include "pinhole/nft_table.h"

enum {
	PUT_TRIES = 8,       /* packets that keep coming make a new ordinary entry between our delete and our create */
	KEEP_BELOW_S = 60,   /* an idle entry with less time than this is renewed */
	KEEP_STEP_S = 5,     /* but only if that wins this much */
	TCP_ENDING = 4,      /* this state (FIN_WAIT) and those after it are left to their time-outs */
	BLOCKED_PACKETS = 40, /* so many in a round, none of which left, are no accident */
	BLOCKED_MS = 300000, /* until it is tried again */
};

struct pin;

/* One direction of an entry: a pinhole, or nothing when id is 0. */
struct side {
	struct hash_node node; /* by what arrives */
	struct pin *pin;
	unsigned direction;    /* 0: the entry's own, 1: its answers */
	uint64_t id, expires_ms; /* expires_ms 0: lifetime_s from the next tick on */
	uint32_t slot, lifetime_s;
	bool is_one_shot, is_gone;
	bool is_fenced;        /* its packets go to the relay although there is an entry */
};

struct pin {
	struct conntrack_entry kernel; /* as last seen */
	struct side sides[2];
	uint64_t seen;         /* serial of the round that had it */
	unsigned n_freed;      /* sides, at the end */
};

struct backend {
	const struct backend_conf *conf;
	struct conntrack_check check;
	struct conntrack_kernel *kernel;
	struct nft_table *table;
	struct hash_table *sides;
	uint64_t now_ms, serial; /* serial: round of reading the kernel's table */
	uint32_t mark;
	bool has_left;             /* entries of an earlier process were there at the start */
	bool has_slots, is_broken, is_reading; /* reading: a round has begun */
	uint64_t arrived, passed; /* packets: in this round so far; that had left when it began */
	uint64_t blocked_until_ms; /* 0: what arrives leaves */
	bool has_new_rules;        /* in this round, and perhaps a new counter */
};

struct arrival {
	uint8_t proto;
	const struct wire_addr *source, *listen;
};

static bool same_addr(const struct wire_addr *a, const struct wire_addr *b)
{
	return a->family == b->family && a->port == b->port && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

static uint64_t hash_of(const struct arrival *arrival)
{
	struct {
		struct wire_addr source, listen;
		uint32_t proto;
	} key = { *arrival->source, *arrival->listen, arrival->proto };

	return hash_bytes((struct span){ (const char *)&key, sizeof(key) });
}

static struct arrival arrival_of(const struct side *side)
{
	const struct conntrack_entry *entry = &side->pin->kernel;

	if (side->direction == 0)
		return (struct arrival){ entry->proto, &entry->source, &entry->listen };
	return (struct arrival){ entry->proto, &entry->target, &entry->from };
}

static bool is_arrival(const struct hash_node *node, const void *key)
{
	const struct arrival *wanted = key, own = arrival_of(HASH_ENTRY(node, struct side, node));

	return own.proto == wanted->proto && same_addr(own.source, wanted->source) && same_addr(own.listen, wanted->listen);
}

static struct side *find(const struct backend *backend, const struct arrival *arrival)
{
	struct hash_node *node = hash_table_find(backend->sides, hash_of(arrival), is_arrival, arrival);

	return node ? HASH_ENTRY(node, struct side, node) : NULL;
}

static struct conntrack_entry wanted_entry(const struct backend *backend, const struct wire_pinhole *pinhole)
{
	return (struct conntrack_entry){
		.source = pinhole->source, .listen = pinhole->listen, .from = pinhole->from, .target = pinhole->target,
		.proto = pinhole->proto, .mark = backend->mark, .timeout_s = pinhole->lifetime_s,
	};
}

/* As seen in the direction of a side. */
static struct conntrack_entry entry_of(const struct side *side)
{
	return side->direction == 0 ? side->pin->kernel : conntrack_turned(&side->pin->kernel);
}

enum fence_how { FENCE_NEW, FENCE_RENEW /* -ENOENT when there was none */, FENCE_OFF };

static int set_fence(struct backend *backend, const struct nft_fence *fence, enum fence_how how)
{
	struct nft_batch *batch;
	int err = nft_batch_new(nft_table_link(backend->table), &batch);

	if (err < 0)
		return err;
	if (how == FENCE_OFF)
		nft_fence_remove(batch, nft_table_name(backend->table), fence);
	else
		nft_fence_add(batch, nft_table_name(backend->table), fence, how == FENCE_RENEW);
	return nft_table_commit(backend->table, batch);
}

static struct nft_fence fence_of(const struct side *side)
{
	const struct arrival arrival = arrival_of(side);

	return (struct nft_fence){ *arrival.source, *arrival.listen, side->pin->sides[1 - side->direction].lifetime_s };
}

/* Keeps the packets of a side on the relay; a new fence may meet one of an earlier process. */
static int fence(struct backend *backend, struct side *side)
{
	const struct nft_fence own = fence_of(side);
	int err = set_fence(backend, &own, FENCE_NEW);

	if (err == -EEXIST)
		err = set_fence(backend, &own, FENCE_RENEW);
	side->is_fenced = err == 0;
	return err;
}

static void unfence(struct backend *backend, struct side *side)
{
	const struct nft_fence own = fence_of(side);

	if (side->is_fenced)
		set_fence(backend, &own, FENCE_OFF); /* gone already, with a flush or in time: fine */
	side->is_fenced = false;
}

static void renew_fence(struct backend *backend, struct side *side)
{
	const struct nft_fence own = fence_of(side);

	if (side->is_fenced && set_fence(backend, &own, FENCE_RENEW) == -ENOENT)
		fence(backend, side);
}

static void forget(struct backend *backend, struct pin *pin)
{
	for (unsigned i = 0; i < 2; i++) {
		unfence(backend, &pin->sides[i]);
		hash_table_remove(backend->sides, &pin->sides[i].node);
		if (pin->sides[i].id)
			conntrack_slots_give(pin->sides[i].slot);
	}
	free(pin);
}

static int remember(struct backend *backend, const struct conntrack_entry *entry, struct pin **ret)
{
	struct pin *pin = calloc(1, sizeof(*pin));

	if (!pin)
		return -ENOMEM;
	if (hash_table_count(backend->sides) + 2 > hash_table_limit(backend->sides)) {
		free(pin);
		return -ENOSPC;
	}
	pin->kernel = *entry;
	pin->seen = backend->serial;
	for (unsigned i = 0; i < 2; i++) {
		struct side *side = &pin->sides[i];
		struct arrival arrival;

		side->pin = pin;
		side->direction = i;
		arrival = arrival_of(side);
		hash_table_add(backend->sides, &side->node, hash_of(&arrival));
	}
	*ret = pin;
	return 0;
}

static bool is_ours(const struct backend *backend, const struct conntrack_entry *entry)
{
	return entry->mark == backend->mark;
}

/* Whether the entry in the kernel is that of a pinhole, and not just in the place of one. */
static bool is_held(const struct backend *backend, const struct arrival *arrival, const struct conntrack_entry *found)
{
	const struct side *side = find(backend, arrival);

	return side && conntrack_same_way(&side->pin->kernel, found);
}

/* Takes away what holds one of the two tuples of the wanted entry; *ret is set when that is the wanted entry itself, in
 * either orientation, left by an earlier process. */
static int clear_way(struct backend *backend, const struct conntrack_entry *wanted, struct conntrack_entry *ret)
{
	const struct conntrack_entry turned = conntrack_turned(wanted), *both[2] = { wanted, &turned };

	for (unsigned i = 0; i < 2; i++) {
		struct conntrack_entry found, found_turned;
		struct arrival arrival;
		int err = conntrack_kernel_find(backend->kernel, wanted->proto, &both[i]->source, &both[i]->listen, &found);

		if (err == -ENOENT)
			continue;
		if (err < 0)
			return err;
		found_turned = conntrack_turned(&found);
		if (is_ours(backend, &found) &&
		    (conntrack_same_way(&found, wanted) || conntrack_same_way(&found_turned, wanted))) {
			*ret = found;
			return -EALREADY;
		}
		arrival = (struct arrival){ found.proto, &found.source, &found.listen };
		if (is_ours(backend, &found) && is_held(backend, &arrival, &found)) /* another pinhole, not an ordinary entry */
			return -EEXIST;
		err = conntrack_kernel_delete(backend->kernel, &found);
		if (err < 0 && err != -ENOENT)
			return err;
	}
	return 0;
}

/* Creates the entry and reads it back. *ret_was_there: it was in the kernel already. */
static int put(struct backend *backend, const struct conntrack_entry *wanted, struct conntrack_entry *ret,
	       bool *ret_was_there)
{
	struct conntrack_entry found = { 0 };

	for (unsigned try = 0; try < PUT_TRIES; try++) {
		int err = conntrack_kernel_create(backend->kernel, wanted);

		if (err == 0) {
			err = conntrack_kernel_find(backend->kernel, wanted->proto, &wanted->source, &wanted->listen, &found);
			if (err == 0 && is_ours(backend, &found) && conntrack_same_way(&found, wanted)) {
				*ret = found;
				*ret_was_there = false;
				return 0;
			}
			if (err == 0) /* translated in another way than asked for */
				conntrack_kernel_delete(backend->kernel, &found);
			continue;
		}
		if (err != -EEXIST)
			return err;
		err = clear_way(backend, wanted, &found);
		if (err == -EALREADY) {
			*ret = found;
			*ret_was_there = true;
			return conntrack_kernel_set_timeout(backend->kernel, &found, wanted->timeout_s);
		}
		if (err < 0)
			return err;
	}
	return -EBUSY;
}

static void count(struct backend *backend, struct pin *pin, const struct conntrack_entry *entry)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct slot_count now = {
			.packets = entry->packets[i], .bytes = entry->bytes[i],
			.proto = entry->proto, .family = entry->source.family,
		};

		if (pin->sides[i].id)
			conntrack_slot_count(conntrack_slot(pin->sides[i].slot), &now, backend->now_ms * 1000000);
	}
	pin->kernel = *entry;
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
		conntrack_slot(side->slot)->active_ns = backend->now_ms * 1000000;
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
	wanted.mark = backend->mark;
	wanted.timeout_s = pin->sides[0].lifetime_s > pin->sides[1].lifetime_s ? pin->sides[0].lifetime_s :
										  pin->sides[1].lifetime_s;
	err = conntrack_kernel_find(backend->kernel, wanted.proto, &wanted.source, &wanted.listen, &found);
	if (err == 0 && is_ours(backend, &found) && conntrack_same_way(&found, &wanted))
		return 0;
	err = put(backend, &wanted, &found, &was_there);
	if (err == 0)
		pin->kernel = found;
	return err;
}

/* An entry that an earlier process made for this pinhole or its reverse. */
static bool find_left(const struct backend *backend, const struct conntrack_entry *wanted, struct conntrack_entry *ret)
{
	struct conntrack_entry found, turned;

	if (!backend->has_left ||
	    conntrack_kernel_find(backend->kernel, wanted->proto, &wanted->source, &wanted->listen, &found) < 0 ||
	    !is_ours(backend, &found))
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
	const struct nft_fence own = fence_of(side), other = fence_of(back);
	struct conntrack_entry wanted = side->pin->kernel, found;
	bool is_udp = wanted.proto == IPPROTO_UDP;
	int err;

	if (was_there) { /* the way back is taken as it is, fenced or not: nobody may be reading the relay's sockets yet */
		if (is_udp)
			set_fence(backend, &own, FENCE_OFF);
		back->is_fenced = is_udp && set_fence(backend, &other, FENCE_RENEW) == 0;
		return conntrack_kernel_set_timeout(backend->kernel, &wanted, side->lifetime_s);
	}
	err = is_udp ? fence(backend, back) : 0;
	if (err == 0)
		err = put(backend, &wanted, &found, &was_there);
	if (err == 0)
		side->pin->kernel = found;
	return err;
}

static int apply_new(struct backend *backend, const struct wire_pinhole *pinhole, struct backend_entry *ret)
{
	const struct conntrack_entry wanted = wanted_entry(backend, pinhole);
	const struct arrival arrival = { pinhole->proto, &pinhole->source, &pinhole->listen };
	const struct arrival answers = { pinhole->proto, &pinhole->target, &pinhole->from };
	struct conntrack_entry found;
	struct side *side;
	struct pin *pin;
	bool was_there;
	int err;

	if (find(backend, &answers)) /* another pinhole has the same answers: an entry has no room for both */
		return -EEXIST;
	was_there = find_left(backend, &wanted, &found);
	err = remember(backend, was_there ? &found : &wanted, &pin);
	if (err < 0)
		return err;
	side = find(backend, &arrival);
	err = hold(backend, side, pinhole);
	if (err == 0)
		err = enter(backend, side, was_there);
	if (err < 0) {
		forget(backend, pin);
		return err;
	}
	count(backend, pin, &pin->kernel);
	ret->slot = side->slot;
	ret->was_there = was_there;
	return 0;
}

static int apply_known(struct backend *backend, struct side *side, const struct wire_pinhole *pinhole,
		       struct backend_entry *ret)
{
	const struct conntrack_entry wanted = wanted_entry(backend, pinhole), known = entry_of(side);
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
	unfence(backend, side);
	renew_fence(backend, &side->pin->sides[1 - side->direction]);
	count(backend, side->pin, &side->pin->kernel);
	ret->slot = side->slot;
	ret->was_there = was_held;
	return 0;
}

static int apply(struct backend *backend, const struct wire_pinhole *pinhole, struct backend_entry *ret)
{
	struct arrival arrival = { pinhole->proto, &pinhole->source, &pinhole->listen };
	struct backend_entry entry = { .id = pinhole->id, .path = PINHOLE_CONNTRACK };
	struct side *side;
	int err;

	if (!backend->kernel || !backend->table)
		return -EOPNOTSUPP;
	err = nft_table_need(backend->table);
	if (err < 0)
		return err;
	side = find(backend, &arrival);
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
		if (conntrack_kernel_find(backend->kernel, wanted.proto, &wanted.source, &wanted.listen, &found) < 0)
			continue;
		turned = conntrack_turned(&found);
		if (!is_ours(backend, &found) ||
		    (!conntrack_same_way(&found, &wanted) && !conntrack_same_way(&turned, &wanted)))
			continue;
		set_fence(backend, &(struct nft_fence){ found.source, found.listen, 0 }, FENCE_OFF);
		set_fence(backend, &(struct nft_fence){ turned.source, turned.listen, 0 }, FENCE_OFF);
		return conntrack_kernel_delete(backend->kernel, &found);
	}
	return ERR_NOT_FOUND;
}

static int remove_pinhole(struct backend *backend, const struct wire_pinhole *pinhole, struct slot *ret_last)
{
	struct arrival arrival = { pinhole->proto, &pinhole->source, &pinhole->listen };
	struct side *side;
	struct pin *pin;
	struct conntrack_entry found;

	if (!backend->kernel || !backend->table)
		return ERR_NOT_FOUND;
	side = find(backend, &arrival);
	if (!side || side->id == 0)
		return side ? ERR_NOT_FOUND : remove_unknown(backend, pinhole);
	if (pinhole->id && side->id != pinhole->id)
		return ERR_NOT_FOUND;
	pin = side->pin;
	if (conntrack_kernel_find(backend->kernel, pin->kernel.proto, &pin->kernel.source, &pin->kernel.listen, &found) == 0 &&
	    is_ours(backend, &found) && conntrack_same_way(&found, &pin->kernel))
		count(backend, pin, &found);
	if (ret_last)
		*ret_last = *conntrack_slot(side->slot);
	conntrack_slots_give(side->slot);
	side->id = 0;
	if (pin->sides[1 - side->direction].id == 0) {
		conntrack_kernel_delete(backend->kernel, &pin->kernel);
		forget(backend, pin);
		return 0;
	}
	return pin->kernel.proto == IPPROTO_UDP ? fence(backend, side) : 0;
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
	struct arrival arrival = { entry->proto, &entry->source, &entry->listen };
	const struct side *side = find(listing->backend, &arrival);

	if (!side || !conntrack_same_way(&side->pin->kernel, entry)) {
		list_way(listing, entry, NULL);
		return;
	}
	for (unsigned i = 0; i < 2; i++) {
		const struct conntrack_entry way = entry_of(&side->pin->sides[i]);

		if (side->pin->sides[i].id)
			list_way(listing, &way, &side->pin->sides[i]);
	}
}

static int list(struct backend *backend, backend_list_fn *fn, void *arg)
{
	struct listing listing = { backend, fn, arg };

	if (!backend->kernel)
		return 0;
	return conntrack_kernel_dump(backend->kernel, backend->mark, UINT32_MAX, list_entry, &listing);
}

static void on_end(void *arg, const struct conntrack_entry *entry)
{
	struct backend *backend = arg;
	struct arrival arrival = { entry->proto, &entry->source, &entry->listen };
	struct side *side = find(backend, &arrival);

	/* The report of an entry that was deleted and made anew since is told by its id. */
	if (side && side->pin->kernel.id == entry->id && conntrack_same_way(&side->pin->kernel, entry))
		count(backend, side->pin, entry);
}

static uint32_t time_left_s(const struct backend *backend, const struct pin *pin)
{
	uint64_t left_s = 0;

	for (unsigned i = 0; i < 2; i++) {
		const struct side *side = &pin->sides[i];
		uint64_t own_s = side->expires_ms == 0 ? side->lifetime_s :
			side->expires_ms > backend->now_ms ? (side->expires_ms - backend->now_ms) / 1000 : 0;

		if (side->id && own_s > left_s)
			left_s = own_s;
	}
	return (uint32_t)left_s;
}

static void on_dumped(void *arg, const struct conntrack_entry *entry)
{
	struct backend *backend = arg;
	struct arrival arrival = { entry->proto, &entry->source, &entry->listen };
	struct side *side = find(backend, &arrival);
	struct pin *pin = side ? side->pin : NULL;
	uint32_t left_s;
	bool is_idle;

	if (!pin || !conntrack_same_way(&pin->kernel, entry))
		return;
	is_idle = pin->kernel.packets[0] == entry->packets[0] && pin->kernel.packets[1] == entry->packets[1];
	pin->seen = backend->serial;
	if (entry->id == pin->kernel.id && !is_idle)
		backend->arrived += entry->packets[0] + entry->packets[1] - pin->kernel.packets[0] - pin->kernel.packets[1];
	count(backend, pin, entry);
	left_s = time_left_s(backend, pin);
	if (is_idle && entry->tcp_state < TCP_ENDING && entry->timeout_s < KEEP_BELOW_S &&
	    entry->timeout_s + KEEP_STEP_S < left_s)
		conntrack_kernel_set_timeout(backend->kernel, entry, left_s);
}

struct review {
	struct backend *backend;
	bool is_round_complete;
	void (*gone)(void *arg, uint64_t id, enum wire_gone_why why);
	void *arg;
};

static void review_side(struct hash_node *node, void *arg)
{
	const struct review *review = arg;
	struct backend *backend = review->backend;
	struct side *side = HASH_ENTRY(node, struct side, node);
	uint8_t tcp_state = side->pin->kernel.tcp_state;
	enum wire_gone_why why;

	if (side->id == 0 || side->is_gone)
		return;
	if (side->expires_ms == 0)
		side->expires_ms = backend->now_ms + (uint64_t)side->lifetime_s * 1000;
	if (side->is_one_shot && (tcp_state == CONNTRACK_TCP_TIME_WAIT || tcp_state == CONNTRACK_TCP_CLOSE))
		why = WIRE_USED_UP;
	else if (backend->blocked_until_ms || (review->is_round_complete && side->pin->seen != backend->serial))
		why = WIRE_LOST;
	else if (side->expires_ms <= backend->now_ms)
		why = WIRE_EXPIRED;
	else
		return;
	side->is_gone = true;
	review->gone(review->arg, side->id, why);
}

/* Reads the next part of the kernel's table; whether that was the last one of a round. */
static bool read_on(struct backend *backend)
{
	int more = 0;

	if (!backend->is_reading) {
		backend->serial++;
		more = conntrack_kernel_begin(backend->kernel, backend->mark, UINT32_MAX);
	}
	if (more == 0)
		more = conntrack_kernel_step(backend->kernel, on_dumped, backend);
	backend->is_reading = more > 0; /* after an error a new round begins, and nobody is lost */
	return more == 0;
}

/* At the end of a round: packets that arrive and never leave are dropped by rules of this machine that the proof could not
 * know. Their streams go back to the relay. */
static void look_for_block(struct backend *backend)
{
	uint64_t passed;

	if (nft_table_passed(backend->table, &passed) == 0) {
		if (backend->arrived >= BLOCKED_PACKETS && passed == backend->passed && !backend->has_new_rules)
			backend->blocked_until_ms = backend->now_ms + BLOCKED_MS;
		backend->passed = passed;
	}
	backend->arrived = 0;
	backend->has_new_rules = false;
}

static void put_fence_back(struct hash_node *node, void *arg)
{
	renew_fence(arg, HASH_ENTRY(node, struct side, node));
}

static void look_at_rules(struct backend *backend)
{
	struct nft_table_news news = { 0 };

	nft_table_check(backend->table, &news); /* when it fails the next tick tries again */
	if (news.is_changed) {
		backend->has_new_rules = true;
		hash_table_each(backend->sides, put_fence_back, backend);
	}
	if (news.is_changed || backend->blocked_until_ms <= backend->now_ms)
		backend->blocked_until_ms = 0;
}

static void tick(struct backend *backend, uint64_t now_ms, void (*gone)(void *, uint64_t, enum wire_gone_why), void *arg)
{
	struct review review = { backend, false, gone, arg };

	backend->now_ms = now_ms;
	conntrack_check_tick(&backend->check);
	if (!backend->kernel || !backend->table)
		return;
	look_at_rules(backend);
	conntrack_kernel_ends(backend->kernel, on_end, backend); /* lost reports: the dump tells */
	if (hash_table_count(backend->sides) == 0)
		return;
	review.is_round_complete = read_on(backend);
	if (review.is_round_complete)
		look_for_block(backend);
	hash_table_each(backend->sides, review_side, &review);
}

static int arrange(const struct backend_conf *conf, const struct conntrack_entry *way, char reason[WIRE_REASON_MAX])
{
	struct nft_table *table;
	struct conntrack_kernel *kernel;
	struct conntrack_entry entry = *way;
	int err = nft_table_open(conf, false, &table, reason);

	if (err == 0)
		err = nft_table_need(table);
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

/* Everything that it needs in the real namespace. 0, or an error with a reason. */
static int prepare(struct backend *backend, const struct backend_conf *conf, char reason[WIRE_REASON_MAX])
{
	int err = nft_table_open(conf, conf->seal->firewall, &backend->table, reason);

	if (err == 0)
		err = conntrack_count_packets(reason);
	if (err == 0)
		err = conntrack_kernel_open(&backend->kernel);
	if (err == 0)
		err = conntrack_kernel_watch(backend->kernel, backend->mark, UINT32_MAX);
	if (err == 0)
		err = conntrack_kernel_dump(backend->kernel, backend->mark, UINT32_MAX, note_left, backend);
	if (err < 0 && reason[0] == '\0')
		snprintf(reason, WIRE_REASON_MAX, "connection tracking: %s", err_str(err));
	return err;
}

static void close_backend(struct backend *backend);

static int open_backend(const struct backend_conf *conf, struct backend **ret)
{
	struct backend *backend = calloc(1, sizeof(*backend));
	char reason[WIRE_REASON_MAX] = "";

	if (!backend)
		return -ENOMEM;
	backend->conf = conf;
	backend->mark = nft_mark(conf->node_tag) | NFT_MARK_EXACT;
	backend->sides = hash_table_new(2 * (size_t)conf->seal->pinholes_max);
	backend->has_slots = backend->sides && conntrack_slots_open(conf->seal->pinholes_max) == 0;
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
	conntrack_kernel_close(backend->kernel);
	nft_table_close(backend->table);
	conntrack_check_close(&backend->check);
	if (backend->has_slots)
		conntrack_slots_close();
	free(backend);
}

static void delete_entry(void *arg, const struct conntrack_entry *entry)
{
	conntrack_kernel_delete(((struct backend *)arg)->kernel, entry);
}

static void remove_all(struct backend *backend)
{
	if (backend->kernel)
		conntrack_kernel_dump(backend->kernel, backend->mark, UINT32_MAX, delete_entry, backend);
	if (backend->table)
		nft_table_remove(backend->table);
}

static bool is_blocked(const struct backend *backend, char *reason)
{
	if (backend->blocked_until_ms)
		snprintf(reason, WIRE_REASON_MAX, "packets arrive and do not leave: let ct mark 0x%08x/0x%08x through your "
			 "FORWARD chain, docs/firewall.md", nft_mark(backend->conf->node_tag), ~(uint32_t)NFT_MARK_KIND);
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
	return conntrack_check_family(&backend->check, family, reason) ? PINHOLE_CONNTRACK : PINHOLE_NONE;
}

static int slots(struct backend *backend, uint32_t *ret_n)
{
	(void)backend;
	return conntrack_slots_fd(ret_n);
}

/* The names of the realms' interfaces are part of the closed firewall. */
static void links_changed(struct backend *backend)
{
	if (backend->table && backend->conf->seal->firewall && !nft_table_is_for(backend->table, backend->conf))
		backend->is_broken = true;
}

static void report(struct backend *backend, enum pinhole_path path, unsigned realm, struct backend_report *ret)
{
	(void)path;
	conntrack_check_report(&backend->check, backend->conf, realm, ret);
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
	.slots = slots,
	.links_changed = links_changed,
	.report = report,
	.is_broken = is_broken,
};
