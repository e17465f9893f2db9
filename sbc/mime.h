/* Finds the session description in a message body, alone or as a part of a multipart (RFC 2046, 5621). Changes nothing:
 * whoever replaces the description puts the bytes before and after it back as they were. Pure. */
#ifndef SBC_MIME_H
#define SBC_MIME_H

#include "core/span.h"

enum { MIME_PARTS_MAX = 8, MIME_PART_HEADERS_MAX = 16 };

struct mime_part {
	struct span sdp;        /* the session description inside the body; ptr NULL: there is none */
	struct span before;     /* body bytes before it (multipart), and after it */
	struct span after;
};
/* Content-Type application/sdp, or multipart of any subtype with at most MIME_PARTS_MAX parts (RFC 2046 5.1.7: unknown subtypes are
 * read as mixed). 0 also when there is none. ERR_PARSE for a broken multipart, ERR_UNSUPPORTED for descriptions that the gateway
 * could not rewrite: inside a nested multipart, more than one, with another disposition than "session", encoded. */
int mime_find_sdp(struct span content_type, struct span body, struct mime_part *ret);

#endif
