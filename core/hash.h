/* Keyed hashing (SipHash-2-4) and an intrusive hash table for keys that peers choose. The key is random per
 * process, so collisions cannot be prepared. The table has a hard limit; one thread. */
#ifndef CORE_HASH_H
#define CORE_HASH_H

#include "core/span.h"

uint64_t hash_bytes(struct span bytes);
uint64_t hash_bytes_seeded(struct span bytes, uint64_t seed); /* to combine several parts */
/* With a key of the caller's (test vectors, hashes that outlive the process). */
uint64_t hash_keyed(struct span bytes, const uint64_t key[2]);

struct hash_node { /* embed one per table in the object */
	struct hash_node *next;
	uint64_t hash;
};

struct hash_table;
typedef bool hash_match_fn(const struct hash_node *node, const void *key);
typedef void hash_visit_fn(struct hash_node *node, void *arg);

/* limit: most nodes it will ever hold. NULL when out of memory. Grows by itself, a few buckets at a time: no
 * operation stops for a rehash of everything. */
struct hash_table *hash_table_new(size_t limit);
void hash_table_free(struct hash_table *table); /* the nodes belong to the caller */

/* 0, or ERR_LIMIT when the table is full. The node must not be in a table. */
int hash_table_add(struct hash_table *table, struct hash_node *node, uint64_t hash);
/* NULL when absent. */
struct hash_node *hash_table_find(const struct hash_table *table, uint64_t hash, hash_match_fn *match, const void *key);
void hash_table_remove(struct hash_table *table, struct hash_node *node);
size_t hash_table_count(const struct hash_table *table);
size_t hash_table_limit(const struct hash_table *table);
/* Every node once, in no order; visit may remove the node that it is given, and must not add. */
void hash_table_each(struct hash_table *table, hash_visit_fn *visit, void *arg);

#define HASH_ENTRY(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))

#endif
