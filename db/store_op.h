/* One submission: a single block of memory that holds the copied record, its texts and the bookkeeping of both threads.
 * The control thread makes it, the store thread writes it; a call record then comes back to the control thread, which
 * frees it. */
#ifndef DB_STORE_OP_H
#define DB_STORE_OP_H

#include "core/hash.h"
#include "core/list.h"
#include "db/store.h"
#include "db/t_live.h"

#define STORE_OP_SIZE_MAX ((size_t)1 << 20) /* a larger record is refused with ERR_LIMIT */

/* What need not be durable waits in lanes of its own, each with its limits, so that none takes the room of
 * another. Call records have theirs where they are submitted. */
enum store_lane {
	STORE_LANE_LIVE = LIVE_CALLS, /* the newest state of each call */
	STORE_LANE_DATA = LIVE_DATA,  /* likewise of each data connection */
	STORE_LANE_TRANSFER,          /* every one, in the order they came */
	STORE_LANES,
	STORE_NO_LANE = STORE_LANES,  /* a call record */
};

struct store_op {
	enum store_op_type { STORE_OP_CDR, STORE_OP_TRANSFER, STORE_OP_LIVE_PUT, STORE_OP_LIVE_DELETE } type;
	enum store_lane lane;
	size_t size; /* of the whole block */
	int result;  /* of a call record: set by the store thread before it hands the block back */

	/* Control thread only. */
	struct list pending; /* who waits for an answer, oldest first */
	store_done_fn *done; /* NULL: nobody waits (any more) */
	void *arg;
	uint64_t submitted_ms;

	/* Store thread only. */
	struct list queued;
	struct hash_node by_id;

	union { /* spans and streams point into this block */
		struct cdr cdr;
		struct transfer transfer;
		struct {
			struct span id;
			struct span state; /* SPAN_NONE for a delete */
		} live;
	};
};

/* 0, -ENOMEM or ERR_LIMIT. */
int store_op_cdr(const struct cdr *cdr, struct store_op **ret);
int store_op_transfer(const struct transfer *transfer, struct store_op **ret);
int store_op_put(enum live_kind kind, struct span id, struct span state, struct store_op **ret);
int store_op_delete(enum live_kind kind, struct span id, struct store_op **ret);
/* Without a record, only to carry an answer. NULL when out of memory. */
struct store_op *store_op_answer(int result);
void store_op_free(struct store_op *op);

#endif
