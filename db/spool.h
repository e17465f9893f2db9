/* What waits to be written, on the store thread: records in the order they came, and for everything that is up
 * only the last operation. Bounded: live rows here, records where they are submitted. */
#ifndef DB_SPOOL_H
#define DB_SPOOL_H

#include "core/hash.h"
#include "core/list.h"
#include "db/store_op.h"

struct spool {
	struct list cdrs;
	struct list lanes[STORE_LANES];
	struct hash_table *by_id[LIVE_KINDS];
	unsigned n_cdrs;
};

int spool_init(struct spool *spool, size_t live_max); /* of each kind */
void spool_fini(struct spool *spool);                 /* frees what is inside */

/* Takes the operation. An older one for the same live row (that a record ends, too) is removed and handed out in
 * ret_superseded (else NULL), for the caller to free. ERR_LIMIT: a further live row does not fit; the operation
 * stays the caller's. */
int spool_add(struct spool *spool, struct store_op *op, struct store_op **ret_superseded);
/* The oldest, NULL when empty. */
struct store_op *spool_take_cdr(struct spool *spool);
struct store_op *spool_take(struct spool *spool, enum store_lane lane);
bool spool_is_empty(const struct spool *spool);

#endif
