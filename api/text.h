/* Text that came from the network, made fit for JSON and for terminals. Pure. */
#ifndef API_TEXT_H
#define API_TEXT_H

#include <jansson.h>

#include "core/span.h"

/* Length in octets (1 to 4) of the valid UTF-8 sequence that s begins with, 0 when there is none. *ret_code is set to
 * the code point when there is. */
size_t text_utf8(struct span s, uint32_t *ret_code);
/* Valid UTF-8 without C0, DEL and C1 control characters. */
bool text_is_clean(struct span s);

/* A JSON string; octets that are not UTF-8 and NULs become U+FFFD. NULL span pointer gives JSON null. */
json_t *text_json(struct span s);
json_t *text_json_of(const char *s);

#endif
