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

/* Length of the UTF-8 sequence at s, or 0 when it is none (RFC 3629: no overlong forms, no surrogates). */
static size_t utf8_length(const unsigned char *s, size_t left)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 :
		   s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;

	if (n == 0 || n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] >= 0x90))
		return 0;
	return n;
}

static void put_escaped(struct buf *b, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";

	if (c == '"' || c == '\\') {
		buf_putc(b, '\\');
		buf_putc(b, (char)c);
	} else {
		buf_puts(b, "\\u00");
		buf_putc(b, hex[c >> 4]);
		buf_putc(b, hex[c & 15]);
	}
}

static void put_quoted(struct buf *b, struct span text)
{
	const unsigned char *s = (const unsigned char *)text.ptr;
	size_t plain = 0; /* start of the run that needs no escape */

	buf_putc(b, '"');
	for (size_t i = 0; i < text.len;) {
		size_t n = utf8_length(s + i, text.len - i);

		if (n > 1 || (n == 1 && s[i] >= 0x20 && s[i] != '"' && s[i] != '\\' && s[i] != 0x7f)) {
			i += n;
			continue;
		}
		buf_put(b, span_sub(text, plain, i));
		if (n == 0)
			buf_puts(b, "\xef\xbf\xbd");
		else
			put_escaped(b, s[i]);
		plain = ++i;
	}
	buf_put(b, span_sub(text, plain, text.len));
	buf_putc(b, '"');
}

void json_key(struct buf *b, const char *name)
{
	separate(b);
	put_quoted(b, span_of(name));
	buf_putc(b, ':');
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
