/* Character classes of the SIP grammar (RFC 3261 25.1), one table of bits per octet. Pure; any thread. */
#include "sbc/sip_char.h"

#define VISIBLE (CHAR_VISIBLE | CHAR_VALUE)
#define IN_URI (CHAR_USER | CHAR_PASSWORD | CHAR_PARAM | CHAR_HEADER)
#define ALNUM (VISIBLE | CHAR_SCHEME | CHAR_HOST | CHAR_TOKEN | IN_URI)
#define MARK (VISIBLE | IN_URI)

const uint16_t sip_char_class[256] = {
	['\t'] = CHAR_LWS,
	[' '] = CHAR_LWS,
	['!'] = MARK | CHAR_TOKEN,
	['"'] = CHAR_VISIBLE,
	['#'] = VISIBLE,
	['$'] = VISIBLE | IN_URI,
	['%'] = VISIBLE | CHAR_TOKEN,
	['&'] = VISIBLE | CHAR_USER | CHAR_PASSWORD | CHAR_PARAM,
	['\''] = MARK | CHAR_TOKEN,
	['('] = MARK,
	[')'] = MARK,
	['*'] = MARK | CHAR_TOKEN,
	['+'] = VISIBLE | IN_URI | CHAR_TOKEN | CHAR_SCHEME,
	[','] = CHAR_VISIBLE | CHAR_USER | CHAR_PASSWORD,
	['-'] = MARK | CHAR_TOKEN | CHAR_SCHEME | CHAR_HOST,
	['.'] = MARK | CHAR_TOKEN | CHAR_SCHEME | CHAR_HOST,
	['/'] = VISIBLE | CHAR_USER | CHAR_PARAM | CHAR_HEADER,
	['0' ... '9'] = ALNUM | CHAR_DIGIT | CHAR_HEX,
	[':'] = VISIBLE | CHAR_PARAM | CHAR_HEADER,
	[';'] = CHAR_VISIBLE | CHAR_USER,
	['<'] = CHAR_VISIBLE,
	['='] = VISIBLE | CHAR_USER | CHAR_PASSWORD,
	['>'] = CHAR_VISIBLE,
	['?'] = VISIBLE | CHAR_USER | CHAR_HEADER,
	['@'] = VISIBLE,
	['A' ... 'F'] = ALNUM | CHAR_ALPHA | CHAR_HEX,
	['G' ... 'Z'] = ALNUM | CHAR_ALPHA,
	['['] = VISIBLE | CHAR_PARAM | CHAR_HEADER,
	['\\'] = CHAR_VISIBLE,
	[']'] = VISIBLE | CHAR_PARAM | CHAR_HEADER,
	['^'] = VISIBLE,
	['_'] = MARK | CHAR_TOKEN | CHAR_HOST,
	['`'] = VISIBLE | CHAR_TOKEN,
	['a' ... 'f'] = ALNUM | CHAR_ALPHA | CHAR_HEX,
	['g' ... 'z'] = ALNUM | CHAR_ALPHA,
	['{'] = VISIBLE,
	['|'] = VISIBLE,
	['}'] = VISIBLE,
	['~'] = MARK | CHAR_TOKEN,
};
