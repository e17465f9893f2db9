/* Checks and repairs text before it is bound to a statement. SIP headers are mostly ASCII, which is passed eight octets
 * at a time. */
#include "db/utf8.h"

/* Length of the character at the start, or 0: NUL would end a column's text. */
static size_t sequence(struct span text)
{
	uint32_t code;
	size_t len = span_utf8(text, &code);

	return len == 1 && code == 0 ? 0 : len;
}

/* True when the eight octets are ASCII and none is NUL. */
static bool is_plain(const unsigned char *p)
{
	const uint64_t high = 0x8080808080808080u;
	uint64_t octets;

	memcpy(&octets, p, sizeof(octets));
	return ((octets | (octets - 0x0101010101010101u)) & high) == 0;
}

size_t utf8_valid(struct span text)
{
	const unsigned char *p = (const unsigned char *)text.ptr;
	size_t at = 0;

	while (at < text.len) {
		size_t n = 8;

		if (text.len - at < n || !is_plain(p + at))
			n = sequence(span_sub(text, at, text.len));
		if (n == 0)
			return at;
		at += n;
	}
	return at;
}

size_t utf8_clean(struct span text, char *out)
{
	static const char replacement[] = { '\xef', '\xbf', '\xbd' };
	size_t written = 0;

	while (text.len > 0) {
		size_t good = utf8_valid(text);

		memcpy(out + written, text.ptr, good);
		written += good;
		text = span_sub(text, good, text.len);
		if (text.len == 0)
			break;
		memcpy(out + written, replacement, sizeof(replacement));
		written += sizeof(replacement);
		text = span_sub(text, 1, text.len);
	}
	return written;
}
