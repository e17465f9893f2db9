/* Keeps the batch small when a call comes and goes within one commit, and memory bounded while the disk fails. */
#include "db/spool.h"

#include <errno.h>

int spool_init(struct spool *spool, size_t live_max)
{
	int err = 0;

	*spool = (struct spool){ 0 };
	list_init(&spool->cdrs);
	for (unsigned i = 0; i < STORE_LANES; i++)
		list_init(&spool->lanes[i]);
	for (unsigned i = 0; i < LIVE_KINDS; i++) {
		spool->by_id[i] = hash_table_new(live_max);
		if (spool->by_id[i] == NULL)
			err = -ENOMEM;
	}
	return err;
}

void spool_fini(struct spool *spool)
{
	if (spool->cdrs.next == NULL)
		return; /* never begun */
	for (struct store_op *op; (op = spool_take_cdr(spool)) != NULL;)
		store_op_free(op);
	for (unsigned i = 0; i < STORE_LANES; i++)
		for (struct store_op *op; (op = spool_take(spool, (enum store_lane)i)) != NULL;)
			store_op_free(op);
	for (unsigned i = 0; i < LIVE_KINDS; i++) {
		hash_table_free(spool->by_id[i]);
		spool->by_id[i] = NULL;
	}
}

static bool has_id(const struct hash_node *node, const void *key)
{
	const struct span *id = key;

	return span_eq(HASH_ENTRY(node, const struct store_op, by_id)->live.id, *id);
}

static bool is_live(const struct store_op *op)
{
	return op->type == STORE_OP_LIVE_PUT || op->type == STORE_OP_LIVE_DELETE;
}

static void take_out(struct spool *spool, struct store_op *op)
{
	if (is_live(op))
		hash_table_remove(spool->by_id[op->lane], &op->by_id);
	list_remove(&op->queued);
}

/* What waits for that live row, taken out; NULL when nothing does. */
static struct store_op *take_by_id(struct spool *spool, enum live_kind kind, struct span id)
{
	struct hash_node *node = hash_table_find(spool->by_id[kind], hash_bytes(id), has_id, &id);
	struct store_op *op = node != NULL ? HASH_ENTRY(node, struct store_op, by_id) : NULL;

	if (op != NULL)
		take_out(spool, op);
	return op;
}

int spool_add(struct spool *spool, struct store_op *op, struct store_op **ret_superseded)
{
	int err = 0;

	switch (op->type) {
	case STORE_OP_CDR:
		*ret_superseded = take_by_id(spool, LIVE_CALLS, op->cdr.id);
		list_append(&spool->cdrs, &op->queued);
		spool->n_cdrs++;
		return 0;
	case STORE_OP_TRANSFER:
		*ret_superseded = take_by_id(spool, LIVE_DATA, op->transfer.id);
		break;
	default:
		*ret_superseded = take_by_id(spool, (enum live_kind)op->lane, op->live.id);
		err = hash_table_add(spool->by_id[op->lane], &op->by_id, hash_bytes(op->live.id));
		break;
	}
	if (err == 0)
		list_append(&spool->lanes[op->lane], &op->queued);
	return err;
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

struct store_op *spool_take(struct spool *spool, enum store_lane lane)
{
	struct store_op *op;

	if (list_is_empty(&spool->lanes[lane]))
		return NULL;
	op = LIST_ENTRY(spool->lanes[lane].next, struct store_op, queued);
	take_out(spool, op);
	return op;
}

bool spool_is_empty(const struct spool *spool)
{
	for (unsigned i = 0; i < STORE_LANES; i++)
		if (!list_is_empty(&spool->lanes[i]))
			return false;
	return list_is_empty(&spool->cdrs);
}
