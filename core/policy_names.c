/* core/policy_names.h: a sorted array, halved until the name is found. */
#include "core/policy_names.h"

#include <stdlib.h>

#include "core/arena.h"

void policy_set_add(struct policy_set *set, unsigned rule)
{
	set->words[rule / POLICY_WORD_BITS] |= UINT64_C(1) << rule % POLICY_WORD_BITS;
}

bool policy_set_take(struct policy_set *set, unsigned *ret_rule)
{
	for (unsigned i = 0; i < POLICY_WORDS; i++) {
		if (set->words[i] == 0)
			continue;
		*ret_rule = i * POLICY_WORD_BITS + (unsigned)__builtin_ctzll(set->words[i]);
		set->words[i] &= set->words[i] - 1;
		return true;
	}
	return false;
}

static int compare_texts(struct span a, struct span b)
{
	for (size_t i = 0; i < a.len && i < b.len; i++) {
		int diff = (unsigned char)policy_upper(a.ptr[i]) - (unsigned char)policy_upper(b.ptr[i]);

		if (diff != 0)
			return diff;
	}
	return a.len < b.len ? -1 : a.len > b.len;
}

static int compare_names(const void *a, const void *b)
{
	return compare_texts(((const struct policy_name *)a)->text, ((const struct policy_name *)b)->text);
}

static void add(struct policy_names *names, struct policy_values values, unsigned rule, struct arena *arena)
{
	for (unsigned i = 0; i < values.n; i++) {
		struct policy_name *name = &names->items[names->n++];
		char *text = arena_strdup(arena, span_of(values.texts[i]));

		for (char *c = text; c != NULL && *c != '\0'; c++)
			*c = policy_upper(*c);
		name->text = span_of(text);
		policy_set_add(&name->rules, rule);
	}
}

/* Equal neighbours become one. */
static void merge(struct policy_names *names)
{
	unsigned n = 0;

	for (unsigned i = 0; i < names->n; i++) {
		if (n == 0 || compare_names(&names->items[n - 1], &names->items[i]) != 0) {
			names->items[n++] = names->items[i];
			continue;
		}
		for (unsigned w = 0; w < POLICY_WORDS; w++)
			names->items[n - 1].rules.words[w] |= names->items[i].rules.words[w];
	}
	names->n = n;
}

void policy_names_build(struct policy_names *names, const struct policy_profile *profile, policy_values_fn *values_of,
			struct arena *arena)
{
	size_t n = 0;

	for (unsigned i = 0; i < profile->n_rules; i++)
		n += values_of(&profile->rules[i]).n;
	names->items = arena_alloc(arena, n * sizeof(*names->items));
	if (names->items == NULL)
		return;
	for (unsigned i = 0; i < profile->n_rules; i++) {
		struct policy_values values = values_of(&profile->rules[i]);

		if (values.n == 0)
			policy_set_add(&names->others, i);
		add(names, values, i, arena);
	}
	qsort(names->items, names->n, sizeof(*names->items), compare_names);
	merge(names);
}

static const struct policy_set *find(const struct policy_names *names, struct span text)
{
	unsigned low = 0, high = names->n;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		int diff = compare_texts(names->items[middle].text, text);

		if (diff == 0)
			return &names->items[middle].rules;
		if (diff < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

void policy_names_narrow(const struct policy_names *names, struct span text, struct policy_set *left)
{
	const struct policy_set *named = find(names, text);

	for (unsigned i = 0; i < POLICY_WORDS; i++)
		left->words[i] &= names->others.words[i] | (named != NULL ? named->words[i] : 0);
}
