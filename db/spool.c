/* Keeps the batch small when a call comes and goes within one commit, and memory bounded while the disk fails. */
#include "db/spool.h"

#include <errno.h>

int spool_init(struct spool *spool, size_t live_max)
{
	*spool = (struct spool){ .by_id = hash_table_new(live_max) };
	list_init(&spool->cdrs);
	list_init(&spool->live);
	return spool->by_id == NULL ? -ENOMEM : 0;
}

void spool_fini(struct spool *spool)
{
	if (spool->by_id == NULL)
		return;
	for (struct store_op *op; (op = spool_take_cdr(spool)) != NULL;)
		store_op_free(op);
	for (struct store_op *op; (op = spool_take_live(spool)) != NULL;)
		store_op_free(op);
	hash_table_free(spool->by_id);
	spool->by_id = NULL;
}

static bool has_id(const struct hash_node *node, const void *key)
{
	const struct span *id = key;

	return span_eq(HASH_ENTRY(node, const struct store_op, by_id)->live.id, *id);
}

static void remove_live(struct spool *spool, struct store_op *op)
{
	hash_table_remove(spool->by_id, &op->by_id);
	list_remove(&op->queued);
	spool->n_live--;
}

/* What waits for that live call, taken out; NULL when nothing does. */
static struct store_op *take_by_id(struct spool *spool, struct span id)
{
	struct hash_node *node = hash_table_find(spool->by_id, hash_bytes(id), has_id, &id);
	struct store_op *op = node != NULL ? HASH_ENTRY(node, struct store_op, by_id) : NULL;

	if (op != NULL)
		remove_live(spool, op);
	return op;
}

static int add_live(struct spool *spool, struct store_op *op)
{
	int err = hash_table_add(spool->by_id, &op->by_id, hash_bytes(op->live.id));

	if (err < 0)
		return err;
	list_append(&spool->live, &op->queued);
	spool->n_live++;
	return 0;
}

int spool_add(struct spool *spool, struct store_op *op, struct store_op **ret_superseded)
{
	*ret_superseded = take_by_id(spool, op->type == STORE_OP_CDR ? op->cdr.id : op->live.id);
	if (op->type != STORE_OP_CDR)
		return add_live(spool, op);
	list_append(&spool->cdrs, &op->queued);
	spool->n_cdrs++;
	return 0;
}

struct store_op *spool_take_cdr(struct spool *spool)
{
	struct store_op *op;

	if (list_is_empty(&spool->cdrs))
		return NULL;
	op = LIST_ENTRY(spool->cdrs.next, struct store_op, queued);
	list_remove(&op->queued);
	spool->n_cdrs--;
	return op;
}

struct store_op *spool_take_live(struct spool *spool)
{
	struct store_op *op;

	if (list_is_empty(&spool->live))
		return NULL;
	op = LIST_ENTRY(spool->live.next, struct store_op, queued);
	remove_live(spool, op);
	return op;
}

bool spool_is_empty(const struct spool *spool)
{
	return list_is_empty(&spool->cdrs) && list_is_empty(&spool->live);
}
