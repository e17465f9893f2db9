/* core/arena.h. */
#include <stdalign.h>
#include <stdlib.h>

#include "core/arena.h"
#include "tests/unit/unit.h"

static void aligned_and_zeroed(void)
{
	struct arena *arena = arena_new(1 << 20);

	CU_ASSERT_PTR_NOT_NULL_FATAL(arena);
	for (size_t size = 0; size < 300; size++) {
		unsigned char *at = arena_alloc(arena, size);

		CU_ASSERT_PTR_NOT_NULL_FATAL(at);
		CU_ASSERT_EQUAL((uintptr_t)at % alignof(max_align_t), 0);
		for (size_t i = 0; i < size; i++)
			CU_ASSERT_EQUAL(at[i], 0);
		memset(at, 0xff, size); /* shows overlaps, and what a reset leaves behind */
	}
	arena_reset(arena);
	CU_ASSERT_EQUAL(arena_used(arena), 0);
	for (size_t i = 0; i < 64; i++)
		CU_ASSERT_EQUAL(((unsigned char *)arena_alloc(arena, 1))[0], 0);
	arena_free(arena);
}

static void copies(void)
{
	struct arena *arena = arena_new(4096);
	char text[] = "hello";
	struct span copy = arena_dup(arena, span_of(text));
	char *joined = arena_printf(arena, "%s-%d", text, 42);
	char *empty = arena_strdup(arena, SPAN_NONE);

	text[0] = 'x';
	CU_ASSERT(span_eq(copy, SPAN_LIT("hello")) && copy.ptr[5] == '\0');
	CU_ASSERT_STRING_EQUAL(joined, "hello-42");
	CU_ASSERT_STRING_EQUAL(empty, "");
	arena_free(arena);
}

static void cap_holds(void)
{
	static const size_t caps[] = { 0, 16, 100, 2048, 5000, 200000 };

	for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
		struct arena *arena = arena_new(caps[i]);
		size_t n = 0;

		CU_ASSERT_PTR_NOT_NULL_FATAL(arena);
		while (n <= caps[i] && arena_alloc(arena, 48) != NULL)
			n += 48;
		CU_ASSERT(n <= caps[i]);
		CU_ASSERT(n + 1200 > caps[i] - caps[i] / 50); /* overhead stays small */
		CU_ASSERT(arena_is_exhausted(arena));
		CU_ASSERT_PTR_NULL(arena_alloc(arena, 1)); /* sticky, although one octet might fit */
		CU_ASSERT(span_is_empty(arena_dup(arena, SPAN_LIT("x"))));
		CU_ASSERT_PTR_NULL(arena_printf(arena, "x"));
		arena_free(arena);
	}
}

static void huge_sizes_fail(void)
{
	struct arena *arena = arena_new(SIZE_MAX);

	for (size_t below = 0; below < 64; below++) {
		CU_ASSERT_PTR_NULL(arena_alloc(arena, SIZE_MAX - below));
		arena_reset(arena);
	}
	CU_ASSERT_PTR_NOT_NULL(arena_alloc(arena, 100000)); /* larger than any ordinary block */
	arena_free(arena);
}

static void reset_keeps_the_largest_block(void)
{
	struct arena *arena = arena_new(100000);
	char *last = arena_alloc(arena, 100);
	char *again;

	for (int i = 0; i < 100; i++) {
		last = arena_alloc(arena, 500);
		CU_ASSERT_PTR_NOT_NULL(last);
	}
	arena_fail_at(arena, 0);
	CU_ASSERT_PTR_NULL(arena_alloc(arena, 1));
	arena_reset(arena);
	CU_ASSERT(!arena_is_exhausted(arena));
	again = arena_alloc(arena, 100);
	CU_ASSERT(again <= last && last - again < 65536); /* the block that served last */
	/* The cap counts from the start again. */
	for (int i = 0; i < 100; i++)
		CU_ASSERT_PTR_NOT_NULL(arena_alloc(arena, 500));
	arena_free(arena);
}

static void injected_failures(void)
{
	for (size_t n = 0; n < 5; n++) {
		struct arena *arena = arena_new(4096);

		arena_fail_at(arena, n);
		for (size_t i = 0; i < 8; i++) {
			void *at = arena_alloc(arena, 8);

			CU_ASSERT_EQUAL(at != NULL, i < n);
			CU_ASSERT_EQUAL(arena_is_exhausted(arena), i >= n);
		}
		arena_free(arena);
	}
	arena_free(NULL);
}

static const struct unit_test tests[] = {
	{ "aligned and zeroed", aligned_and_zeroed },
	{ "copies", copies },
	{ "cap holds", cap_holds },
	{ "huge sizes fail", huge_sizes_fail },
	{ "reset keeps the largest block", reset_keeps_the_largest_block },
	{ "injected failures", injected_failures },
};

UNIT_MAIN("arena", tests)
