/* Checks and repairs text before it is bound to a statement. SIP headers are mostly ASCII, which is passed eight octets
 * at a time. */
#include "db/utf8.h"

/* Allowed second octets depend on the first one (RFC 3629 section 4); the others are 80-BF. */
static const struct lead {
	unsigned char first, last, len, low, high;
} leads[] = {
	{ 0xc2, 0xdf, 2, 0x80, 0xbf }, { 0xe0, 0xe0, 3, 0xa0, 0xbf }, { 0xe1, 0xec, 3, 0x80, 0xbf },
	{ 0xed, 0xed, 3, 0x80, 0x9f }, { 0xee, 0xef, 3, 0x80, 0xbf }, { 0xf0, 0xf0, 4, 0x90, 0xbf },
	{ 0xf1, 0xf3, 4, 0x80, 0xbf }, { 0xf4, 0xf4, 4, 0x80, 0x8f },
};

/* Length of the valid sequence at the start, or 0. */
static size_t sequence(const unsigned char *p, size_t len)
{
	if (p[0] < 0x80)
		return p[0] != 0;
	for (size_t i = 0; i < sizeof(leads) / sizeof(leads[0]); i++) {
		const struct lead *lead = &leads[i];

		if (p[0] < lead->first || p[0] > lead->last)
			continue;
		if (len < lead->len || p[1] < lead->low || p[1] > lead->high)
			return 0;
		for (unsigned k = 2; k < lead->len; k++)
			if ((p[k] & 0xc0) != 0x80)
				return 0;
		return lead->len;
	}
	return 0;
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
			n = sequence(p + at, text.len - at);
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
