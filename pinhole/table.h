/* The pinholes that the helper answers for: found by id and by flow (protocol, listening address, source), with the back end
 * that holds each and the end of its lifetime. Hard limit. Single thread: the helper's worker. */
#ifndef PINHOLE_TABLE_H
#define PINHOLE_TABLE_H

#include "core/hash.h"
#include "pinhole/wire.h"

struct table;

struct table_entry {
	struct hash_node by_id, by_flow; /* private */
	struct wire_pinhole pinhole;     /* id and addresses never change */
	uint64_t expires_ms;
	uint64_t batch;                  /* the last one that it was in */
	uint32_t slot;
	uint8_t path;                    /* enum pinhole_path; PINHOLE_NONE while it is in no back end yet */
	uint8_t mechanism;               /* index of the back end that holds it */
	uint8_t gone;                    /* enum wire_gone_why, as its back end said; 0: it is there */
	bool is_opened;                  /* since the last hello, not only found in the kernel */
	bool is_closing;                 /* closed, but the kernel did not let it go yet */
};

struct table *table_new(size_t max); /* NULL when out of memory */
void table_free(struct table *table); /* and all entries. NULL is fine */

/* A copy of the pinhole, else zero. 0, ERR_EXISTS when its id or its flow is there, ERR_LIMIT, -ENOMEM. */
int table_add(struct table *table, const struct wire_pinhole *pinhole, struct table_entry **ret);
void table_remove(struct table *table, struct table_entry *entry); /* frees it */
struct table_entry *table_find(const struct table *table, uint64_t id);
struct table_entry *table_find_flow(const struct table *table, const struct wire_pinhole *pinhole);
size_t table_count(const struct table *table);

typedef void table_visit_fn(void *arg, struct table_entry *entry);
/* Every entry once; visit may remove the entry that it is given, and must not add. */
void table_each(struct table *table, table_visit_fn *visit, void *arg);

#endif
