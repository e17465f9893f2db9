/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#include "api/text.h"

#include <stdlib.h>

static bool is_continuation(struct span s, size_t at)
{
	return at < s.len && ((unsigned char)s.ptr[at] & 0xc0) == 0x80;
}

static size_t sequence_len(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if ((first & 0xe0) == 0xc0)
		return 2;
	if ((first & 0xf0) == 0xe0)
		return 3;
	return (first & 0xf8) == 0xf0 ? 4 : 0;
}

size_t text_utf8(struct span s, uint32_t *ret_code)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char first = s.len > 0 ? (unsigned char)s.ptr[0] : 0xff;
	size_t len = sequence_len(first);
	uint32_t code = len == 1 ? first : first & (0x7fu >> len);

	if (len == 0)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if (!is_continuation(s, i))
			return 0;
		code = code << 6 | ((unsigned char)s.ptr[i] & 0x3f);
	}
	if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	*ret_code = code;
	return len;
}

bool text_is_clean(struct span s)
{
	while (s.len > 0) {
		uint32_t code;
		size_t len = text_utf8(s, &code);

		if (len == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0))
			return false;
		s = span_sub(s, len, s.len);
	}
	return true;
}

/* The same text with U+FFFD for what JSON cannot carry. */
static json_t *repaired(struct span s)
{
	char *out = malloc(s.len * 3 + 1);
	size_t len = 0;
	json_t *json;

	if (out == NULL)
		return NULL;
	while (s.len > 0) {
		uint32_t code = 0;
		size_t n = text_utf8(s, &code);

		if (n == 0 || code == 0) {
			memcpy(out + len, "\xef\xbf\xbd", 3);
			len += 3;
			n = 1;
		} else {
			memcpy(out + len, s.ptr, n);
			len += n;
		}
		s = span_sub(s, n, s.len);
	}
	json = json_stringn(out, len);
	free(out);
	return json;
}

json_t *text_json(struct span s)
{
	json_t *json;

	if (s.ptr == NULL)
		return json_null();
	if (memchr(s.ptr, '\0', s.len) != NULL)
		return repaired(s);
	json = json_stringn(s.ptr, s.len);
	return json ? json : repaired(s);
}

json_t *text_json_of(const char *s)
{
	return text_json(span_of(s));
}
