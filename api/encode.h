/* Percent-encoding (RFC 3986) for paths and queries. Pure. */
#ifndef API_ENCODE_H
#define API_ENCODE_H

#include "core/buf.h"

/* Appends the text; everything but unreserved characters is encoded. */
void encode_put(struct buf *b, struct span text);

#endif
