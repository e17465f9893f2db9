/* What waits to be written, on the store thread: call records in the order they came, and for every live call only the
 * last operation. Bounded: live calls here, call records where they are submitted. */
#ifndef DB_SPOOL_H
#define DB_SPOOL_H

#include "core/hash.h"
#include "core/list.h"
#include "db/store_op.h"

struct spool {
	struct list cdrs;
	struct list live;
	struct hash_table *by_id;
	unsigned n_cdrs, n_live;
};

int spool_init(struct spool *spool, size_t live_max);
void spool_fini(struct spool *spool); /* frees what is inside */

/* Takes the operation. An older one for the same live call (that a call record ends, too) is removed and handed out in
 * ret_superseded (else NULL), for the caller to free. ERR_LIMIT: a further live call does not fit; the operation stays the
 * caller's. */
int spool_add(struct spool *spool, struct store_op *op, struct store_op **ret_superseded);
struct store_op *spool_take_cdr(struct spool *spool);  /* the oldest, NULL when empty */
struct store_op *spool_take_live(struct spool *spool);
bool spool_is_empty(const struct spool *spool);

#endif
