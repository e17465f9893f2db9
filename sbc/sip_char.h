/* Classes of octets in the grammar of RFC 3261 section 25.1, one bit each, for scanners that test every octet once. */
#ifndef SBC_SIP_CHAR_H
#define SBC_SIP_CHAR_H

#include "core/span.h"

enum {
	CHAR_DIGIT = 1 << 0,
	CHAR_HEX = 1 << 1,
	CHAR_SCHEME = 1 << 2,   /* alphanumeric + - . */
	CHAR_HOST = 1 << 3,     /* alphanumeric - . and, beyond the grammar, _ */
	CHAR_TOKEN = 1 << 4,
	CHAR_USER = 1 << 5,     /* of a SIP URI; %-escapes apart, as in the next three */
	CHAR_PASSWORD = 1 << 6,
	CHAR_PARAM = 1 << 7,
	CHAR_HEADER = 1 << 8,   /* in ?name=value */
	CHAR_VALUE = 1 << 9,    /* unquoted value of a header parameter: visible and no separator that ends it */
	CHAR_VISIBLE = 1 << 10, /* 0x21 to 0x7e */
	CHAR_LWS = 1 << 11,     /* SP, HT */
	CHAR_ALPHA = 1 << 12,
};

extern const uint16_t sip_char_class[256];

static inline bool sip_char_is(char c, unsigned classes)
{
	return (sip_char_class[(unsigned char)c] & classes) != 0;
}

/* Offset behind the octets of these classes that begin at `at`. */
static inline size_t sip_char_run(struct span s, size_t at, unsigned classes)
{
	while (at < s.len && sip_char_is(s.ptr[at], classes))
		at++;
	return at;
}

#endif
