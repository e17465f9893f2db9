/* Region memory: a chain of blocks, filled from the front, released together. Owns the blocks and nothing in them.
 *
 * The first block is small; later ones double up to BLOCK_MAX. The newest is kept by arena_reset(), so an arena that is
 * used for one message after the other soon touches malloc() no more; what is larger gets a block of its own. The cap counts
 * blocks as they are, with their overhead, so it bounds what the arena costs and not what was asked for. */
#include "core/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCK_FIRST = 2048, BLOCK_MAX = 65536 };

struct block {
	struct block *next;
	size_t size; /* of data[] */
	size_t used;
	_Alignas(max_align_t) unsigned char data[];
};

struct arena {
	struct block *first; /* NULL until the first allocation */
	struct block *current;
	size_t cap;
	size_t taken; /* by blocks, overhead included */
	size_t used;
	size_t left_to_fail; /* allocations until the injected failure */
	bool is_exhausted;
};

struct arena *arena_new(size_t cap_bytes)
{
	struct arena *arena = calloc(1, sizeof(*arena));

	if (arena == NULL)
		return NULL;
	arena->cap = cap_bytes;
	arena->left_to_fail = SIZE_MAX;
	return arena;
}

static void free_blocks(struct block *block)
{
	while (block != NULL) {
		struct block *next = block->next;

		free(block);
		block = next;
	}
}

void arena_free(struct arena *arena)
{
	if (arena == NULL)
		return;
	free_blocks(arena->first);
	free(arena);
}

/* Room for `size` more octets in a new block. As much smaller than usual as the cap demands. */
static struct block *add_block(struct arena *arena, size_t size)
{
	size_t room = arena->cap - arena->taken;
	size_t want = arena->current == NULL ? BLOCK_FIRST : arena->current->size * 2;
	struct block *block;

	if (room > PTRDIFF_MAX) /* the most that malloc() gives */
		room = PTRDIFF_MAX;
	if (room < sizeof(*block) || size > room - sizeof(*block))
		return NULL;
	if (want > BLOCK_MAX)
		want = BLOCK_MAX;
	if (want < size)
		want = size;
	if (want > room - sizeof(*block))
		want = room - sizeof(*block);
	block = malloc(sizeof(*block) + want);
	if (block == NULL)
		return NULL;
	*block = (struct block){ .size = want };
	arena->taken += sizeof(*block) + want;
	if (arena->current == NULL)
		arena->first = block;
	else
		arena->current->next = block;
	arena->current = block;
	return block;
}

void *arena_alloc_raw(struct arena *arena, size_t size)
{
	const size_t align = _Alignof(max_align_t);
	struct block *block = arena->current;
	size_t rounded = size > 0 ? (size + align - 1) & ~(align - 1) : align;
	void *at;

	if (arena->is_exhausted || arena->left_to_fail == 0 || rounded < size)
		goto fail;
	if (arena->left_to_fail != SIZE_MAX)
		arena->left_to_fail--;
	if (block == NULL || block->size - block->used < rounded)
		block = add_block(arena, rounded);
	if (block == NULL)
		goto fail;
	at = block->data + block->used;
	block->used += rounded;
	arena->used += rounded;
	return at;
fail:
	arena->is_exhausted = true;
	return NULL;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	void *at = arena_alloc_raw(arena, size);

	return at != NULL ? memset(at, 0, size) : NULL;
}

struct span arena_dup(struct arena *arena, struct span bytes)
{
	char *copy = bytes.len < SIZE_MAX ? arena_alloc_raw(arena, bytes.len + 1) : NULL;

	if (copy == NULL)
		return SPAN_NONE;
	if (bytes.len > 0)
		memcpy(copy, bytes.ptr, bytes.len);
	copy[bytes.len] = '\0';
	return (struct span){ copy, bytes.len };
}

char *arena_strdup(struct arena *arena, struct span bytes)
{
	return (char *)arena_dup(arena, bytes).ptr;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
	va_list args;
	char *text;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0) {
		arena->is_exhausted = true;
		return NULL;
	}
	text = arena_alloc_raw(arena, (size_t)len + 1);
	if (text == NULL)
		return NULL;
	va_start(args, format);
	vsnprintf(text, (size_t)len + 1, format, args);
	va_end(args);
	return text;
}

/* Keeps the newest block, which is the largest: an arena that is used again and again soon needs no other. */
void arena_reset(struct arena *arena)
{
	struct block *keep = arena->current;

	while (arena->first != keep) {
		struct block *next = arena->first->next;

		arena->taken -= sizeof(*next) + arena->first->size;
		free(arena->first);
		arena->first = next;
	}
	if (keep != NULL)
		keep->used = 0;
	arena->used = 0;
	arena->is_exhausted = false;
	arena->left_to_fail = SIZE_MAX;
}

bool arena_is_exhausted(const struct arena *arena)
{
	return arena->is_exhausted;
}

size_t arena_used(const struct arena *arena)
{
	return arena->used;
}

void arena_fail_at(struct arena *arena, size_t n)
{
	arena->left_to_fail = n;
}
