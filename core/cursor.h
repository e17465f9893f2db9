/* Bounds-checked reader of binary data with a sticky error: read all fields, test once. */
#ifndef CORE_CURSOR_H
#define CORE_CURSOR_H

#include "core/span.h"

struct cursor {
	const uint8_t *at;
	const uint8_t *end;
	bool is_bad; /* set by the first read past the end; later reads give 0 */
};

static inline struct cursor cursor_of(const void *data, size_t len)
{
	return (struct cursor){ data, data ? (const uint8_t *)data + len : NULL, false };
}

static inline size_t cursor_left(const struct cursor *c)
{
	return (size_t)(c->end - c->at);
}

static inline const uint8_t *cursor_take(struct cursor *c, size_t n)
{
	const uint8_t *p = c->at;

	if (c->is_bad || cursor_left(c) < n) {
		c->is_bad = true;
		return NULL;
	}
	if (n > 0) /* NULL + 0 is undefined */
		c->at += n;
	return p;
}

static inline uint8_t cursor_u8(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 1);

	return p ? p[0] : 0;
}

static inline uint16_t cursor_u16(struct cursor *c) /* network byte order */
{
	const uint8_t *p = cursor_take(c, 2);

	return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

static inline uint32_t cursor_u32(struct cursor *c) /* network byte order */
{
	uint32_t high = cursor_u16(c);

	return high << 16 | cursor_u16(c);
}

#endif
