/* Appending to a fixed piece of memory. A piece that does not fit is left out whole and marks the buffer; later
 * pieces are then left out too, so the contents never look complete by accident. */
#include "core/buf.h"

#include <stdio.h>
#include <stdlib.h>

/* NULL when there is nothing to write or no room for it. */
static char *buf_room(struct buf *b, size_t len)
{
	char *at;

	if (b->is_full || len > b->cap - b->len) {
		b->is_full = true;
		return NULL;
	}
	at = len > 0 ? b->data + b->len : NULL;
	b->len += len;
	return at;
}

void buf_put(struct buf *b, struct span bytes)
{
	char *at = buf_room(b, bytes.len);

	if (at != NULL)
		memcpy(at, bytes.ptr, bytes.len);
}

void buf_putc(struct buf *b, char c)
{
	char *at = buf_room(b, 1);

	if (at != NULL)
		*at = c;
}

void buf_puts(struct buf *b, const char *text)
{
	buf_put(b, span_of(text));
}

void buf_u64(struct buf *b, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	buf_put(b, (struct span){ digits + at, sizeof(digits) - at });
}

void buf_hex(struct buf *b, const void *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *in = bytes;
	char *at;

	if (len > SIZE_MAX / 2) {
		b->is_full = true;
		return;
	}
	at = buf_room(b, len * 2);
	for (size_t i = 0; at != NULL && i < len; i++) {
		at[2 * i] = digits[in[i] >> 4];
		at[2 * i + 1] = digits[in[i] & 15];
	}
}

void buf_printf(struct buf *b, const char *format, ...)
{
	size_t room = b->cap - b->len;
	char *whole = NULL;
	va_list args;
	int n;

	if (b->is_full)
		return;
	va_start(args, format);
	n = vsnprintf(room > 0 ? b->data + b->len : NULL, room, format, args);
	va_end(args);
	if (n >= 0 && (size_t)n < room) {
		b->len += (size_t)n;
		return;
	}
	/* vsnprintf() spends the last octet on a NUL that we do not keep, so a text that fits exactly needs another go. */
	b->is_full = n < 0 || (size_t)n > room;
	if (b->is_full || n == 0)
		return;
	va_start(args, format);
	n = vasprintf(&whole, format, args);
	va_end(args);
	if (n >= 0)
		buf_put(b, (struct span){ whole, (size_t)n });
	else
		b->is_full = true;
	free(n >= 0 ? whole : NULL);
}
