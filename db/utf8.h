/* UTF-8 as RFC 3629 has it (no overlong forms, no surrogates), without NUL: what may stand in a text column. Pure. */
#ifndef DB_UTF8_H
#define DB_UTF8_H

#include "core/span.h"

#define UTF8_GROWTH 3 /* one foreign octet becomes the three of U+FFFD */

/* Octets from the start that are valid; text.len when all are. */
size_t utf8_valid(struct span text);
/* Copies text and replaces every octet that is not part of a valid sequence by U+FFFD. out holds text.len * UTF8_GROWTH
 * octets. Returns the octets written. */
size_t utf8_clean(struct span text, char *out);

#endif
