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
