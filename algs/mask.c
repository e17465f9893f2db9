/* Masks credentials. Whatever may hold one is masked to the end of its line, so an unusual form of it is masked as well. */
#include "algs/mask.h"

enum { TAIL = 3 }; /* "..." */

static const struct span words[] = { /* at the beginning of a line, whatever the case */
	SPAN_LIT("PASS"), SPAN_LIT("ACCT"), SPAN_LIT("Authorization"), SPAN_LIT("Proxy-Authorization"), SPAN_LIT("WWW-Authenticate"),
	SPAN_LIT("Proxy-Authenticate"), SPAN_LIT("Authentication-Info"), SPAN_LIT("Cookie"),
};

static bool is_line_end(char c)
{
	return c == '\r' || c == '\n';
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Octets of the word and what separates it from its value, or 0. */
static size_t secret_word(struct span line)
{
	size_t skip = 0;

	while (skip < line.len && (is_blank(line.ptr[skip]) || (unsigned char)line.ptr[skip] >= 0xf0)) /* Telnet marks before a command */
		skip++;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t end = skip + words[i].len;

		if (!span_istarts(span_sub(line, skip, line.len), words[i]) || end >= line.len)
			continue;
		if (!is_blank(line.ptr[end]) && line.ptr[end] != ':')
			continue;
		while (end < line.len && (is_blank(line.ptr[end]) || line.ptr[end] == ':'))
			end++;
		return end;
	}
	return 0;
}

static void put_octet(struct buf *out, char c)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char u = (unsigned char)c;

	if (c == '\r' || c == '\n' || c == '\t' || c == '\\') {
		buf_putc(out, '\\');
		buf_putc(out, c == '\r' ? 'r' : c == '\n' ? 'n' : c == '\t' ? 't' : '\\');
	} else if (u < 0x20 || u > 0x7e) {
		buf_puts(out, "\\x");
		buf_putc(out, digits[u >> 4]);
		buf_putc(out, digits[u & 15]);
	} else {
		buf_putc(out, c);
	}
}

/* Length of "user:password@" when `text` begins with it, right behind "://". */
static size_t user_info(struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (c == '@')
			return i + 1;
		if (c == '/' || c == '?' || c == '#' || is_blank(c) || is_line_end(c) || c == '"' || c == '<' || c == '>')
			return 0;
	}
	return 0;
}

static void put_line(struct span line, struct buf *out)
{
	for (size_t i = 0; i < line.len; i++) {
		size_t secret = 0;

		put_octet(out, line.ptr[i]);
		if (i >= 2 && line.ptr[i] == '/' && line.ptr[i - 1] == '/' && line.ptr[i - 2] == ':')
			secret = user_info(span_sub(line, i + 1, line.len));
		if (secret == 0)
			continue;
		buf_puts(out, "***@");
		i += secret;
	}
}

void mask_text(struct span text, struct buf *ret)
{
	struct buf out = { ret->data, ret->len, ret->cap > TAIL ? ret->cap - TAIL : 0, false };
	bool is_secret = false;

	if (ret->is_full)
		return;
	for (size_t at = 0; at < text.len && !out.is_full;) {
		size_t end = at, value = 0;

		while (end < text.len && !is_line_end(text.ptr[end]))
			end++;
		if (!(is_secret && end > at && is_blank(text.ptr[at]))) { /* not a folded line of a secret */
			value = secret_word(span_sub(text, at, end));
			is_secret = value > 0;
		}
		put_line(span_sub(text, at, is_secret ? at + value : end), &out);
		if (is_secret)
			buf_puts(&out, "***");
		for (at = end; at < text.len && is_line_end(text.ptr[at]); at++)
			put_octet(&out, text.ptr[at]);
	}
	ret->len = out.len;
	if (out.is_full)
		for (int i = 0; i < TAIL; i++)
			buf_putc(ret, '.');
}
