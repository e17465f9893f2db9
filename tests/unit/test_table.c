/* pinhole/table.h. */
#include <string.h>

#include "core/err.h"
#include "pinhole/table.h"
#include "tests/unit/pinholed_rig.h"
#include "tests/unit/unit.h"

enum { MAX = 100 };

static struct table_entry *add(struct table *table, uint64_t id)
{
	struct wire_pinhole pinhole = pinholed_rig_pinhole(id);
	struct table_entry *entry = NULL;

	CU_ASSERT_EQUAL(table_add(table, &pinhole, &entry), 0);
	return entry;
}

static void found_both_ways(void)
{
	struct table *table = table_new(MAX);
	struct wire_pinhole pinhole = pinholed_rig_pinhole(2);
	struct table_entry *entry;

	CU_ASSERT_PTR_NOT_NULL_FATAL(table);
	entry = add(table, 1);
	CU_ASSERT_PTR_EQUAL(table_find(table, 1), entry);
	CU_ASSERT_PTR_NULL(table_find(table, 2));
	CU_ASSERT_PTR_NULL(table_find_flow(table, &pinhole));
	pinhole = pinholed_rig_pinhole(1);
	pinhole.id = 77;
	pinhole.target.port++; /* no part of what makes a flow */
	CU_ASSERT_PTR_EQUAL(table_find_flow(table, &pinhole), entry);
	pinhole.proto = IPPROTO_TCP;
	CU_ASSERT_PTR_NULL(table_find_flow(table, &pinhole));
	table_free(table);
	table_free(NULL);
}

static void doubles(void)
{
	struct table *table = table_new(MAX);
	struct wire_pinhole pinhole = pinholed_rig_pinhole(1);
	struct table_entry *entry;

	add(table, 1);
	CU_ASSERT_EQUAL(table_add(table, &pinhole, &entry), ERR_EXISTS);
	pinhole.id = 2; /* the same flow */
	CU_ASSERT_EQUAL(table_add(table, &pinhole, &entry), ERR_EXISTS);
	pinhole = pinholed_rig_pinhole(3);
	pinhole.id = 1; /* the same id */
	CU_ASSERT_EQUAL(table_add(table, &pinhole, &entry), ERR_EXISTS);
	CU_ASSERT_EQUAL(table_count(table), 1);
	table_free(table);
}

static void remove_odd(void *arg, struct table_entry *entry)
{
	if (entry->pinhole.id % 2)
		table_remove(arg, entry);
}

static void limit(void)
{
	struct table *table = table_new(MAX);
	struct wire_pinhole pinhole = pinholed_rig_pinhole(MAX + 1);
	struct table_entry *entry;

	for (uint64_t id = 1; id <= MAX; id++)
		add(table, id);
	CU_ASSERT_EQUAL(table_count(table), MAX);
	CU_ASSERT_EQUAL(table_add(table, &pinhole, &entry), ERR_LIMIT);
	table_each(table, remove_odd, table);
	CU_ASSERT_EQUAL(table_count(table), MAX / 2);
	for (uint64_t id = 1; id <= MAX; id++)
		CU_ASSERT_EQUAL(table_find(table, id) != NULL, id % 2 == 0);
	CU_ASSERT_EQUAL(table_add(table, &pinhole, &entry), 0);
	table_free(table);
}

static const struct unit_test tests[] = {
	{ "found both ways", found_both_ways },
	{ "doubles", doubles },
	{ "limit", limit },
};
UNIT_MAIN("table", tests)
