/* Entries of the kernel's connection tracking, put in, found and taken out; what is known of each, by what arrives; and fences, which
 * keep one direction of an entry on the relay. */
#include <errno.h>
#include <stdlib.h>

#include "pinhole/conntrack_inside.h"

enum { PUT_TRIES = 8 /* packets that keep coming make a new ordinary entry between our delete and our create */ };

static uint64_t hash_of(const struct conntrack_arrival *arrival)
{
	struct {
		struct wire_addr source, listen;
		uint32_t proto;
	} key = { *arrival->source, *arrival->listen, arrival->proto };

	return hash_bytes((struct span){ (const char *)&key, sizeof(key) });
}

static struct conntrack_arrival arrival_of(const struct side *side)
{
	const struct conntrack_entry *entry = &side->pin->kernel;

	if (side->direction == 0)
		return (struct conntrack_arrival){ entry->proto, &entry->source, &entry->listen };
	return (struct conntrack_arrival){ entry->proto, &entry->target, &entry->from };
}

static bool is_arrival(const struct hash_node *node, const void *key)
{
	const struct conntrack_arrival *wanted = key, own = arrival_of(HASH_ENTRY(node, struct side, node));

	return own.proto == wanted->proto && wire_addr_eq(own.source, wanted->source) && wire_addr_eq(own.listen, wanted->listen);
}

struct side *conntrack_find(const struct backend *backend, const struct conntrack_arrival *arrival)
{
	struct hash_node *node = hash_table_find(backend->sides, hash_of(arrival), is_arrival, arrival);

	return node ? HASH_ENTRY(node, struct side, node) : NULL;
}

struct conntrack_entry conntrack_side_entry(const struct side *side)
{
	return side->direction == 0 ? side->pin->kernel : conntrack_turned(&side->pin->kernel);
}

int conntrack_set_fence(struct backend *backend, const struct nft_fence *fence, enum conntrack_fence_how how)
{
	struct nft_batch *batch;
	int err = nft_batch_new(nft_table_link(backend->frame.table), &batch);

	if (err < 0)
		return err;
	if (how == CONNTRACK_FENCE_OFF)
		nft_fence_remove(batch, nft_table_name(backend->frame.table), fence);
	else
		nft_fence_add(batch, nft_table_name(backend->frame.table), fence, how == CONNTRACK_FENCE_RENEW);
	return nft_table_commit(backend->frame.table, batch);
}

struct nft_fence conntrack_fence_of(const struct side *side)
{
	const struct conntrack_arrival arrival = arrival_of(side);

	return (struct nft_fence){ *arrival.source, *arrival.listen, side->pin->sides[1 - side->direction].lifetime_s };
}

int conntrack_fence(struct backend *backend, struct side *side)
{
	const struct nft_fence own = conntrack_fence_of(side);
	int err = conntrack_set_fence(backend, &own, CONNTRACK_FENCE_NEW);

	if (err == -EEXIST)
		err = conntrack_set_fence(backend, &own, CONNTRACK_FENCE_RENEW);
	side->is_fenced = err == 0;
	return err;
}

void conntrack_unfence(struct backend *backend, struct side *side)
{
	const struct nft_fence own = conntrack_fence_of(side);

	if (side->is_fenced)
		conntrack_set_fence(backend, &own, CONNTRACK_FENCE_OFF); /* gone already, with a flush or in time: fine */
	side->is_fenced = false;
}

void conntrack_renew_fence(struct backend *backend, struct side *side)
{
	const struct nft_fence own = conntrack_fence_of(side);

	if (side->is_fenced && conntrack_set_fence(backend, &own, CONNTRACK_FENCE_RENEW) == -ENOENT)
		conntrack_fence(backend, side);
}

void conntrack_forget(struct backend *backend, struct pin *pin)
{
	for (unsigned i = 0; i < 2; i++) {
		conntrack_unfence(backend, &pin->sides[i]);
		hash_table_remove(backend->sides, &pin->sides[i].node);
		if (pin->sides[i].id)
			conntrack_slots_give(pin->sides[i].slot);
	}
	free(pin);
}

int conntrack_remember(struct backend *backend, const struct conntrack_entry *entry, struct pin **ret)
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
		struct conntrack_arrival arrival;

		side->pin = pin;
		side->direction = i;
		arrival = arrival_of(side);
		hash_table_add(backend->sides, &side->node, hash_of(&arrival));
	}
	*ret = pin;
	return 0;
}

bool conntrack_is_ours(const struct backend *backend, const struct conntrack_entry *entry)
{
	return entry->mark == backend->frame.mark;
}

/* Whether the entry in the kernel is that of a pinhole, and not just in the place of one. */
static bool is_held(const struct backend *backend, const struct conntrack_arrival *arrival, const struct conntrack_entry *found)
{
	const struct side *side = conntrack_find(backend, arrival);

	return side && conntrack_same_way(&side->pin->kernel, found);
}

/* Takes away what holds one of the two tuples of the wanted entry; *ret is set when that is the wanted entry itself, in
 * either orientation, left by an earlier process. */
static int clear_way(struct backend *backend, const struct conntrack_entry *wanted, struct conntrack_entry *ret)
{
	const struct conntrack_entry turned = conntrack_turned(wanted), *both[2] = { wanted, &turned };

	for (unsigned i = 0; i < 2; i++) {
		struct conntrack_entry found, found_turned;
		struct conntrack_arrival arrival;
		int err = conntrack_kernel_find(backend->frame.kernel, wanted->proto, &both[i]->source, &both[i]->listen, &found);

		if (err == -ENOENT)
			continue;
		if (err < 0)
			return err;
		found_turned = conntrack_turned(&found);
		if (conntrack_is_ours(backend, &found) &&
		    (conntrack_same_way(&found, wanted) || conntrack_same_way(&found_turned, wanted))) {
			*ret = found;
			return -EALREADY;
		}
		arrival = (struct conntrack_arrival){ found.proto, &found.source, &found.listen };
		if (conntrack_is_ours(backend, &found) && is_held(backend, &arrival, &found))
			return -EEXIST; /* another pinhole, not an ordinary entry */
		err = conntrack_kernel_delete(backend->frame.kernel, &found);
		if (err < 0 && err != -ENOENT)
			return err;
	}
	return 0;
}

int conntrack_put(struct backend *backend, const struct conntrack_entry *wanted, struct conntrack_entry *ret,
		  bool *ret_was_there)
{
	struct conntrack_entry found = { 0 };

	for (unsigned try = 0; try < PUT_TRIES; try++) {
		int err = conntrack_kernel_create(backend->frame.kernel, wanted);

		if (err == 0) {
			err = conntrack_kernel_find(backend->frame.kernel, wanted->proto, &wanted->source, &wanted->listen, &found);
			if (err == 0 && conntrack_is_ours(backend, &found) && conntrack_same_way(&found, wanted)) {
				*ret = found;
				*ret_was_there = false;
				return 0;
			}
			if (err == 0) /* translated in another way than asked for */
				conntrack_kernel_delete(backend->frame.kernel, &found);
			continue;
		}
		if (err != -EEXIST)
			return err;
		err = clear_way(backend, wanted, &found);
		if (err == -EALREADY) {
			*ret = found;
			*ret_was_there = true;
			return conntrack_kernel_set_timeout(backend->frame.kernel, &found, wanted->timeout_s);
		}
		if (err < 0)
			return err;
	}
	return -EBUSY;
}

void conntrack_count(struct backend *backend, struct pin *pin, const struct conntrack_entry *entry)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct slot_count now = {
			.packets = entry->packets[i], .bytes = entry->bytes[i],
			.proto = entry->proto, .family = entry->source.family,
		};

		if (pin->sides[i].id)
			conntrack_slot_count(conntrack_slot(pin->sides[i].slot), &now, backend->frame.now_ms * 1000000);
	}
	pin->kernel = *entry;
}
