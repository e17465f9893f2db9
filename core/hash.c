/* SipHash-2-4 (Aumasson and Bernstein, 2012) and a chained hash table that grows step by step. Owns bucket arrays, never
 * the nodes.
 *
 * Growing: when there are as many nodes as buckets, an array of twice the size is put next to the old one, and every
 * addition moves a few old buckets across, so the old array is empty long before the new one fills up. Old buckets below
 * `moved` live in the new array, the others still in the old one: each node is in exactly one place. When memory for the
 * larger array is short the chains get longer, nothing else. */
#include "core/hash.h"

#include <assert.h>
#include <endian.h>
#include <pthread.h>
#include <stdlib.h>

#include "core/err.h"
#include "core/rnd.h"

enum { BUCKETS_MIN = 16, MOVE_PER_ADD = 4 };

struct buckets {
	struct hash_node **heads;
	size_t n; /* a power of two */
};

struct hash_table {
	struct buckets now;
	struct buckets old; /* n is 0 when not growing */
	size_t moved;       /* buckets of old that are empty for good */
	size_t count;
	size_t limit;
};

struct sip_state {
	uint64_t v[4];
};

static uint64_t process_key[2];
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

static void make_process_key(void)
{
	rnd_bytes(process_key, sizeof(process_key));
}

static inline uint64_t rotate(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static inline void sip_round(struct sip_state *s)
{
	uint64_t *v = s->v;

	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

static inline void sip_word(struct sip_state *s, uint64_t word)
{
	s->v[3] ^= word;
	sip_round(s);
	sip_round(s);
	s->v[0] ^= word;
}

static inline struct sip_state sip_begin(const uint64_t key[2])
{
	return (struct sip_state){ {
		key[0] ^ 0x736f6d6570736575,
		key[1] ^ 0x646f72616e646f6d,
		key[0] ^ 0x6c7967656e657261,
		key[1] ^ 0x7465646279746573,
	} };
}

/* The rest of the message, which has `before` octets in front of it that were given to sip_word(). */
static uint64_t sip_end(struct sip_state *s, struct span bytes, size_t before)
{
	uint64_t last = (uint64_t)(bytes.len + before) << 56;
	size_t whole = bytes.len & ~(size_t)7;

	for (size_t at = 0; at < whole; at += 8) {
		uint64_t word;

		memcpy(&word, bytes.ptr + at, 8);
		sip_word(s, le64toh(word));
	}
	for (size_t i = 0; i < bytes.len - whole; i++)
		last |= (uint64_t)(uint8_t)bytes.ptr[whole + i] << (8 * i);
	sip_word(s, last);
	s->v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(s);
	return s->v[0] ^ s->v[1] ^ s->v[2] ^ s->v[3];
}

uint64_t hash_keyed(struct span bytes, const uint64_t key[2])
{
	struct sip_state s = sip_begin(key);

	return sip_end(&s, bytes, 0);
}

uint64_t hash_bytes(struct span bytes)
{
	pthread_once(&key_once, make_process_key);
	return hash_keyed(bytes, process_key);
}

uint64_t hash_bytes_seeded(struct span bytes, uint64_t seed)
{
	struct sip_state s;

	pthread_once(&key_once, make_process_key);
	s = sip_begin(process_key);
	sip_word(&s, seed);
	return sip_end(&s, bytes, sizeof(seed));
}

struct hash_table *hash_table_new(size_t limit)
{
	struct hash_table *table = calloc(1, sizeof(*table));

	if (table == NULL)
		return NULL;
	table->now.heads = calloc(BUCKETS_MIN, sizeof(*table->now.heads));
	if (table->now.heads == NULL) {
		free(table);
		return NULL;
	}
	table->now.n = BUCKETS_MIN;
	table->limit = limit;
	return table;
}

void hash_table_free(struct hash_table *table)
{
	if (table == NULL)
		return;
	free(table->old.heads);
	free(table->now.heads);
	free(table);
}

/* The head of the chain where nodes of this hash are. */
static struct hash_node **chain_of(const struct hash_table *table, uint64_t hash)
{
	if (table->old.n > 0) {
		size_t at = hash & (table->old.n - 1);

		if (at >= table->moved)
			return &table->old.heads[at];
	}
	return &table->now.heads[hash & (table->now.n - 1)];
}

static void start_growing(struct hash_table *table)
{
	struct buckets larger = { NULL, table->now.n * 2 };

	if (table->now.n > SIZE_MAX / (2 * sizeof(*larger.heads)))
		return;
	larger.heads = calloc(larger.n, sizeof(*larger.heads));
	if (larger.heads == NULL)
		return;
	table->old = table->now;
	table->now = larger;
	table->moved = 0;
}

static void move_some(struct hash_table *table)
{
	for (int i = 0; i < MOVE_PER_ADD && table->moved < table->old.n; i++) {
		struct hash_node *node = table->old.heads[table->moved++];

		while (node != NULL) {
			struct hash_node *next = node->next;
			struct hash_node **head = &table->now.heads[node->hash & (table->now.n - 1)];

			node->next = *head;
			*head = node;
			node = next;
		}
	}
	if (table->moved == table->old.n) {
		free(table->old.heads);
		table->old = (struct buckets){ NULL, 0 };
	}
}

int hash_table_add(struct hash_table *table, struct hash_node *node, uint64_t hash)
{
	struct hash_node **head;

	if (table->count >= table->limit)
		return ERR_LIMIT;
	if (table->old.n == 0 && table->count >= table->now.n)
		start_growing(table);
	if (table->old.n > 0)
		move_some(table);
	head = chain_of(table, hash);
	node->hash = hash;
	node->next = *head;
	*head = node;
	table->count++;
	return 0;
}

struct hash_node *hash_table_find(const struct hash_table *table, uint64_t hash, hash_match_fn *match, const void *key)
{
	for (struct hash_node *node = *chain_of(table, hash); node != NULL; node = node->next) {
		if (node->hash == hash && match(node, key))
			return node;
	}
	return NULL;
}

void hash_table_remove(struct hash_table *table, struct hash_node *node)
{
	struct hash_node **link = chain_of(table, node->hash);

	while (*link != NULL && *link != node)
		link = &(*link)->next;
	assert(*link == node);
	*link = node->next;
	node->next = NULL;
	table->count--;
}

size_t hash_table_count(const struct hash_table *table)
{
	return table->count;
}

size_t hash_table_limit(const struct hash_table *table)
{
	return table->limit;
}

static void visit_buckets(const struct buckets *b, size_t from, hash_visit_fn *visit, void *arg)
{
	for (size_t i = from; i < b->n; i++) {
		struct hash_node *node = b->heads[i];

		while (node != NULL) {
			struct hash_node *next = node->next;

			visit(node, arg);
			node = next;
		}
	}
}

void hash_table_each(struct hash_table *table, hash_visit_fn *visit, void *arg)
{
	/* Removal moves no other node, so both arrays stay as they are; adding here is not allowed. */
	visit_buckets(&table->old, table->moved, visit, arg);
	visit_buckets(&table->now, 0, visit, arg);
}
