/* JSON text into a buf. Pure; any thread. RFC 8259. */
#include "core/json_text.h"

/* A comma is due after a value or a closing bracket, never after an opening one or a colon. */
static void separate(struct buf *b)
{
	char last = b->len > 0 ? b->data[b->len - 1] : '[';

	if (last != '{' && last != '[' && last != ':')
		buf_putc(b, ',');
}

void json_open(struct buf *b, char bracket)
{
	separate(b);
	buf_putc(b, bracket);
}

void json_close(struct buf *b, char bracket)
{
	buf_putc(b, bracket);
}

static void put_escaped(struct buf *b, unsigned char c)
{
	char hex = (char)c;

	buf_putc(b, '\\');
	switch (c) {
	case '"':
	case '\\':
		buf_putc(b, (char)c);
		break;
	case '\r':
		buf_putc(b, 'r');
		break;
	case '\n':
		buf_putc(b, 'n');
		break;
	default:
		buf_puts(b, "u00");
		buf_hex(b, &hex, 1);
	}
}

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Runs that need no escape are copied whole: nearly all text is one. */
static void put_quoted(struct buf *b, struct span text)
{
	const unsigned char *s = (const unsigned char *)text.ptr;
	size_t run = 0, i = 0;

	buf_putc(b, '"');
	while (i < text.len) {
		uint32_t code;
		size_t n = is_plain(s[i]) ? 1 : s[i] < 0x80 ? 0 : span_utf8(span_sub(text, i, text.len), &code);

		if (n > 0) {
			i += n;
			continue;
		}
		buf_put(b, span_sub(text, run, i));
		if (s[i] < 0x80)
			put_escaped(b, s[i]);
		else
			buf_puts(b, "\xef\xbf\xbd");
		run = ++i;
	}
	buf_put(b, span_sub(text, run, text.len));
	buf_putc(b, '"');
}

void json_key(struct buf *b, const char *name)
{
	separate(b);
	buf_putc(b, '"');
	buf_puts(b, name);
	buf_puts(b, "\":");
}

void json_text(struct buf *b, struct span text)
{
	separate(b);
	put_quoted(b, text);
}

void json_int(struct buf *b, int64_t value)
{
	separate(b);
	if (value < 0)
		buf_putc(b, '-');
	buf_u64(b, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void json_member_text(struct buf *b, const char *name, struct span text)
{
	json_key(b, name);
	json_text(b, text);
}

void json_member_int(struct buf *b, const char *name, int64_t value)
{
	json_key(b, name);
	json_int(b, value);
}
