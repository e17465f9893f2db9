/* core/hash.h. */
#include <stdlib.h>

#include "core/err.h"
#include "core/hash.h"
#include "tests/unit/unit.h"

struct item {
	struct hash_node node;
	uint32_t key;
	unsigned visits;
};

/* From the reference implementation's vectors_sip64: key 00..0f, message 00, 01, ... of the length given. */
static void siphash_vectors(void)
{
	static const struct { size_t len; uint64_t hash; } rows[] = {
		{ 0, 0x726fdb47dd0e0e31 }, { 1, 0x74f839c593dc67fd }, { 2, 0x0d6c8009d9a94f5a },
		{ 7, 0xab0200f58b01d137 }, { 8, 0x93f5f5799a932462 }, { 15, 0xa129ca6149be45e5 },
	};
	static const uint64_t key[2] = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };
	char message[16];

	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (char)i;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CU_ASSERT_EQUAL(hash_keyed((struct span){ message, rows[i].len }, key), rows[i].hash);
}

static void seeds_and_keys_matter(void)
{
	static const uint64_t zero_key[2];
	struct span s = SPAN_LIT("call-id@example.net");

	CU_ASSERT_EQUAL(hash_bytes(s), hash_bytes(s));
	CU_ASSERT_NOT_EQUAL(hash_bytes(s), hash_keyed(s, zero_key));
	CU_ASSERT_NOT_EQUAL(hash_bytes_seeded(s, 0), hash_bytes(s));
	CU_ASSERT_NOT_EQUAL(hash_bytes_seeded(s, 1), hash_bytes_seeded(s, 2));
	CU_ASSERT_EQUAL(hash_bytes_seeded(s, 1), hash_bytes_seeded(s, 1));
	CU_ASSERT_EQUAL(hash_bytes(SPAN_NONE), hash_bytes(SPAN_LIT("")));
}

static bool has_key(const struct hash_node *node, const void *key)
{
	return HASH_ENTRY(node, struct item, node)->key == *(const uint32_t *)key;
}

static uint64_t hash_of(uint32_t key)
{
	return hash_bytes((struct span){ (const char *)&key, sizeof(key) });
}

static struct item *find(struct hash_table *table, uint32_t key)
{
	struct hash_node *node = hash_table_find(table, hash_of(key), has_key, &key);

	return node ? HASH_ENTRY(node, struct item, node) : NULL;
}

static void visit(struct hash_node *node, void *arg)
{
	(void)arg;
	HASH_ENTRY(node, struct item, node)->visits++;
}

static void remove_even(struct hash_node *node, void *arg)
{
	struct item *item = HASH_ENTRY(node, struct item, node);

	item->visits++;
	if (item->key % 2 == 0) {
		hash_table_remove(arg, node);
		memset(&item->node, 0xff, sizeof(item->node)); /* as if it had been freed */
	}
}

/* Every number of items on the way up, so every state of growing is seen. */
static void grows_without_losing_anything(void)
{
	enum { N = 1200 };
	static struct item items[N];
	struct hash_table *table = hash_table_new(N);
	unsigned n_wrong = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(table);
	for (uint32_t n = 0; n < N; n++) {
		items[n] = (struct item){ .key = n };
		n_wrong += find(table, n) != NULL;
		n_wrong += hash_table_add(table, &items[n].node, hash_of(n)) != 0;
		n_wrong += hash_table_count(table) != n + 1;
		for (uint32_t key = 0; key <= n; key++)
			n_wrong += find(table, key) != &items[key];
		hash_table_each(table, visit, NULL);
		for (uint32_t key = 0; key <= n; key++)
			n_wrong += items[key].visits != n - key + 1;
	}
	CU_ASSERT_EQUAL(n_wrong, 0);
	hash_table_free(table);
}

static void limit_is_hard(void)
{
	struct item items[4] = { { .key = 0 }, { .key = 1 }, { .key = 2 }, { .key = 3 } };
	struct hash_table *table = hash_table_new(3);

	CU_ASSERT_EQUAL(hash_table_limit(table), 3);
	for (uint32_t i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(hash_table_add(table, &items[i].node, hash_of(i)), 0);
	CU_ASSERT_EQUAL(hash_table_add(table, &items[3].node, hash_of(3)), ERR_LIMIT);
	CU_ASSERT_PTR_NULL(find(table, 3));
	hash_table_remove(table, &items[1].node);
	CU_ASSERT_EQUAL(hash_table_add(table, &items[3].node, hash_of(3)), 0);
	CU_ASSERT(find(table, 3) == &items[3] && find(table, 1) == NULL && hash_table_count(table) == 3);
	hash_table_free(table);
	hash_table_free(NULL);
}

static void visitor_may_remove(void)
{
	enum { N = 100 };
	unsigned n_wrong = 0;

	/* 16 buckets grow at 17 items: the sizes meet a table at rest and in all stages of growing. */
	for (uint32_t size = 1; size <= N; size++) {
		struct item items[N] = { 0 };
		struct hash_table *table = hash_table_new(N);

		for (uint32_t key = 0; key < size; key++) {
			items[key].key = key;
			n_wrong += hash_table_add(table, &items[key].node, hash_of(key)) != 0;
		}
		hash_table_each(table, remove_even, table);
		n_wrong += hash_table_count(table) != size / 2;
		for (uint32_t key = 0; key < size; key++) {
			n_wrong += items[key].visits != 1;
			n_wrong += find(table, key) != (key % 2 == 0 ? NULL : &items[key]);
		}
		hash_table_free(table);
	}
	CU_ASSERT_EQUAL(n_wrong, 0);
}

/* Equal hashes are told apart by the match function. */
static void collisions(void)
{
	struct item items[20];
	struct hash_table *table = hash_table_new(100);
	unsigned n_wrong = 0;

	for (uint32_t i = 0; i < 20; i++) {
		items[i] = (struct item){ .key = i };
		n_wrong += hash_table_add(table, &items[i].node, 7) != 0;
	}
	for (uint32_t i = 0; i < 20; i += 3)
		hash_table_remove(table, &items[i].node);
	for (uint32_t i = 0; i < 20; i++)
		n_wrong += hash_table_find(table, 7, has_key, &i) != (i % 3 == 0 ? NULL : &items[i].node);
	CU_ASSERT_EQUAL(n_wrong, 0);
	hash_table_free(table);
}

static const struct unit_test tests[] = {
	{ "siphash vectors", siphash_vectors },
	{ "seeds and keys matter", seeds_and_keys_matter },
	{ "grows without losing anything", grows_without_losing_anything },
	{ "limit is hard", limit_is_hard },
	{ "visitor may remove", visitor_may_remove },
	{ "collisions", collisions },
};

UNIT_MAIN("hash", tests)
