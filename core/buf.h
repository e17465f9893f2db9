/* Appends text to a fixed piece of memory, with a sticky overflow flag: append everything, test once.
 * Never writes past cap; no terminating NUL is kept. */
#ifndef CORE_BUF_H
#define CORE_BUF_H

#include <stdarg.h>

#include "core/span.h"

/* For large memory on the stack that is written before it is read: spares it the zeroing that the build asks for. */
#if defined(__has_attribute) && __has_attribute(uninitialized)
#define SCRATCH __attribute__((uninitialized))
#else
#define SCRATCH
#endif

struct buf {
	char *data;
	size_t len;
	size_t cap;
	bool is_full; /* something did not fit; the contents must not be used */
};

static inline struct buf buf_of(char *data, size_t cap)
{
	return (struct buf){ data, 0, cap, false };
}

static inline struct span buf_span(const struct buf *b)
{
	return (struct span){ b->data, b->len };
}

void buf_put(struct buf *b, struct span bytes);
void buf_putc(struct buf *b, char c);
void buf_puts(struct buf *b, const char *text);
void buf_u64(struct buf *b, uint64_t value); /* decimal */
void buf_hex(struct buf *b, const void *bytes, size_t len); /* lower case */
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
