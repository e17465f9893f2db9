/* Helpers on borrowed bytes. Owns nothing, keeps no state; ASCII only, never the locale. Any thread. */
#include "core/span.h"

#include "core/err.h"

static unsigned char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c - 'A' + 'a') : (unsigned char)c;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool span_ieq(struct span a, struct span b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		if (ascii_lower(a.ptr[i]) != ascii_lower(b.ptr[i]))
			return false;
	}
	return true;
}

bool span_starts(struct span s, struct span prefix)
{
	return s.len >= prefix.len && span_eq((struct span){ s.ptr, prefix.len }, prefix);
}

bool span_istarts(struct span s, struct span prefix)
{
	return s.len >= prefix.len && span_ieq((struct span){ s.ptr, prefix.len }, prefix);
}

size_t span_find(struct span s, char c)
{
	const char *at = s.len > 0 ? memchr(s.ptr, c, s.len) : NULL;

	return at ? (size_t)(at - s.ptr) : s.len;
}

struct span span_trim(struct span s)
{
	while (s.len > 0 && is_blank(s.ptr[0])) {
		s.ptr++;
		s.len--;
	}
	while (s.len > 0 && is_blank(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

struct span span_cut(struct span *s, char sep)
{
	size_t at = span_find(*s, sep);
	struct span head = { s->ptr, at };

	if (at < s->len)
		*s = (struct span){ s->ptr + at + 1, s->len - at - 1 };
	else
		*s = SPAN_NONE;
	return head;
}

int span_to_u32(struct span s, uint32_t max, uint32_t *ret)
{
	uint64_t value = 0;

	if (s.len == 0 || s.len > 10)
		return ERR_PARSE;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return ERR_PARSE;
		value = value * 10 + (uint64_t)(s.ptr[i] - '0');
	}
	if (value > max)
		return ERR_PARSE;
	*ret = (uint32_t)value;
	return 0;
}

size_t span_utf8(struct span s, uint32_t *ret_code)
{
	static const uint32_t smallest[] = { [2] = 0x80, [3] = 0x800, [4] = 0x10000 };
	const unsigned char *in = (const unsigned char *)s.ptr;
	uint32_t code;
	size_t len;

	if (s.len == 0)
		return 0;
	if (in[0] < 0x80) {
		*ret_code = in[0];
		return 1;
	}
	if (in[0] < 0xc2 || in[0] > 0xf4)
		return 0;
	len = in[0] < 0xe0 ? 2 : in[0] < 0xf0 ? 3 : 4;
	if (s.len < len)
		return 0;
	code = in[0] & (0x7fU >> len);
	for (size_t i = 1; i < len; i++) {
		if ((in[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (in[i] & 0x3f);
	}
	if (code < smallest[len] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	*ret_code = code;
	return len;
}
