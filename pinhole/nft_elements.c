/* Doors as elements of the kernel's maps: brought in, replaced, taken out, and put back when somebody has flushed them. A door has two
 * elements, and somebody may have taken one of them. */
#include <errno.h>

#include "pinhole/nft_inside.h"

enum { BOTH_HALVES = 2 };

/* Takes one element out; that it is not there is fine. */
static int take_out(struct backend *backend, const struct nft_door *door, unsigned half)
{
	struct nft_batch *batch;
	int err = nft_batch_new(nft_table_link(backend->frame.table), &batch);

	if (err < 0)
		return err;
	nft_door_remove(batch, nft_table_name(backend->frame.table), door, half);
	err = nft_table_commit(backend->frame.table, batch);
	return err == -ENOENT ? 0 : err;
}

int nft_elements_take_out(struct backend *backend, const struct nft_door *door)
{
	struct nft_batch *batch;
	int err = nft_batch_new(nft_table_link(backend->frame.table), &batch), second;

	if (err < 0)
		return err;
	nft_door_remove(batch, nft_table_name(backend->frame.table), door, BOTH_HALVES);
	err = nft_table_commit(backend->frame.table, batch);
	if (err != -ENOENT)
		return err;
	err = take_out(backend, door, 0); /* one may be there without the other */
	second = take_out(backend, door, 1);
	return err < 0 ? err : second;
}

int nft_elements_put_in(struct backend *backend, const struct nft_door *door, bool is_replacing)
{
	struct nft_batch *batch;
	int err = nft_batch_new(nft_table_link(backend->frame.table), &batch);

	if (err < 0)
		return err;
	if (is_replacing)
		nft_door_remove(batch, nft_table_name(backend->frame.table), door, BOTH_HALVES);
	nft_door_add(batch, nft_table_name(backend->frame.table), door);
	err = nft_table_commit(backend->frame.table, batch);
	if (!is_replacing || err != -ENOENT)
		return err == -EBUSY ? -EEXIST : err;
	err = nft_elements_take_out(backend, door);
	return err < 0 ? err : nft_elements_put_in(backend, door, false);
}

struct search {
	const struct nft_door *wanted;
	bool is_found;
};

static void is_wanted(void *arg, const struct nft_door *door)
{
	struct search *search = arg;

	if (nft_same_way(door, search->wanted))
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

	if (door->proto == conflict->wanted->proto && wire_addr_eq(&door->source, &conflict->wanted->source) &&
	    wire_addr_eq(&door->target, &conflict->wanted->target))
		conflict->is_there = true;
}

int nft_elements_take_over(struct backend *backend, const struct nft_door *wanted, bool *ret_was_there)
{
	struct conflict conflict = { wanted, false };
	struct search search = { wanted, false };
	int err;

	hash_table_each(backend->doors, conflicts, &conflict);
	if (conflict.is_there)
		return -EEXIST;
	err = nft_door_list(nft_table_link(backend->frame.table), nft_table_name(backend->frame.table), is_wanted, &search);
	if (err == 0)
		err = nft_elements_put_in(backend, wanted, true);
	if (err == 0)
		*ret_was_there = search.is_found;
	return err;
}

bool nft_elements_has(struct backend *backend, const struct nft_door *door)
{
	struct search search = { door, false };

	nft_door_list(nft_table_link(backend->frame.table), nft_table_name(backend->frame.table), is_wanted, &search);
	return search.is_found;
}

static void mark_present(void *arg, const struct nft_door *kernel)
{
	const struct nft_arrival arrival = nft_arrival(kernel->proto, &kernel->source, &kernel->listen);
	struct door *door = nft_find(arg, &arrival);

	if (door && nft_same_way(&door->kernel, kernel))
		door->is_in_kernel = true;
}

static uint32_t time_left_s(const struct backend *backend, const struct door *door)
{
	if (door->expires_ms == 0)
		return door->kernel.timeout_s;
	return door->expires_ms > backend->frame.now_ms ? (uint32_t)((door->expires_ms - backend->frame.now_ms + 999) / 1000) : 0;
}

/* Also decides for the next round. */
static void put_back(struct hash_node *node, void *arg)
{
	struct backend *backend = arg;
	struct door *door = HASH_ENTRY(node, struct door, node);
	struct nft_door again = door->kernel;

	again.timeout_s = time_left_s(backend, door);
	if (!door->is_in_kernel && !door->is_shut && again.timeout_s > 0)
		nft_elements_put_in(backend, &again, true);
	door->is_in_kernel = false;
}

void nft_elements_heal(struct backend *backend)
{
	struct nft_table_news news = { 0 };

	if (nft_table_check(backend->frame.table, &news) < 0 || !news.is_changed)
		return; /* or the next tick tries again */
	if (nft_door_list(nft_table_link(backend->frame.table), nft_table_name(backend->frame.table), mark_present, backend) == 0)
		hash_table_each(backend->doors, put_back, backend);
}
