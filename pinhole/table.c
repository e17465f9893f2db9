/* Two hash tables over the same entries. */
#include "pinhole/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"

struct table {
	struct hash_table *by_id, *by_flow;
};

struct flow { /* without padding */
	struct wire_addr listen, source;
	uint16_t proto;
};

static struct flow flow_of(const struct wire_pinhole *pinhole)
{
	return (struct flow){ .listen = pinhole->listen, .source = pinhole->source, .proto = pinhole->proto };
}

static uint64_t hash_id(uint64_t id)
{
	return hash_bytes((struct span){ (const char *)&id, sizeof(id) });
}

static uint64_t hash_flow(const struct flow *flow)
{
	return hash_bytes((struct span){ (const char *)flow, sizeof(*flow) });
}

static bool match_id(const struct hash_node *node, const void *key)
{
	return HASH_ENTRY(node, struct table_entry, by_id)->pinhole.id == *(const uint64_t *)key;
}

static bool match_flow(const struct hash_node *node, const void *key)
{
	struct flow flow = flow_of(&HASH_ENTRY(node, struct table_entry, by_flow)->pinhole);

	return memcmp(&flow, key, sizeof(flow)) == 0;
}

struct table *table_new(size_t max)
{
	struct table *table = calloc(1, sizeof(*table));

	if (table == NULL)
		return NULL;
	table->by_id = hash_table_new(max);
	table->by_flow = hash_table_new(max);
	if (table->by_id == NULL || table->by_flow == NULL) {
		table_free(table);
		return NULL;
	}
	return table;
}

static void visit_free(struct hash_node *node, void *arg)
{
	struct table *table = arg;

	table_remove(table, HASH_ENTRY(node, struct table_entry, by_id));
}

void table_free(struct table *table)
{
	if (table == NULL)
		return;
	if (table->by_id != NULL && table->by_flow != NULL)
		hash_table_each(table->by_id, visit_free, table);
	hash_table_free(table->by_id);
	hash_table_free(table->by_flow);
	free(table);
}

int table_add(struct table *table, const struct wire_pinhole *pinhole, struct table_entry **ret)
{
	struct flow flow = flow_of(pinhole);
	struct table_entry *entry;

	if (table_find(table, pinhole->id) != NULL || table_find_flow(table, pinhole) != NULL)
		return ERR_EXISTS;
	if (hash_table_count(table->by_id) >= hash_table_limit(table->by_id))
		return ERR_LIMIT;
	entry = calloc(1, sizeof(*entry));
	if (entry == NULL)
		return -ENOMEM;
	entry->pinhole = *pinhole;
	/* Both have the same limit and the same entries, so neither can be full. */
	hash_table_add(table->by_id, &entry->by_id, hash_id(pinhole->id));
	hash_table_add(table->by_flow, &entry->by_flow, hash_flow(&flow));
	*ret = entry;
	return 0;
}

void table_remove(struct table *table, struct table_entry *entry)
{
	hash_table_remove(table->by_id, &entry->by_id);
	hash_table_remove(table->by_flow, &entry->by_flow);
	free(entry);
}

struct table_entry *table_find(const struct table *table, uint64_t id)
{
	struct hash_node *node = hash_table_find(table->by_id, hash_id(id), match_id, &id);

	return node != NULL ? HASH_ENTRY(node, struct table_entry, by_id) : NULL;
}

struct table_entry *table_find_flow(const struct table *table, const struct wire_pinhole *pinhole)
{
	struct flow flow = flow_of(pinhole);
	struct hash_node *node = hash_table_find(table->by_flow, hash_flow(&flow), match_flow, &flow);

	return node != NULL ? HASH_ENTRY(node, struct table_entry, by_flow) : NULL;
}

size_t table_count(const struct table *table)
{
	return hash_table_count(table->by_id);
}

struct visit {
	table_visit_fn *fn;
	void *arg;
};

static void visit_one(struct hash_node *node, void *arg)
{
	const struct visit *visit = arg;

	visit->fn(visit->arg, HASH_ENTRY(node, struct table_entry, by_id));
}

void table_each(struct table *table, table_visit_fn *visit, void *arg)
{
	struct visit v = { visit, arg };

	hash_table_each(table->by_id, visit_one, &v);
}
