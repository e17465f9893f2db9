/* Texts of control channels as people may see them: printable, and without credentials. Pure. */
#ifndef ALGS_MASK_H
#define ALGS_MASK_H

#include "core/buf.h"

/* Appends `text` with control octets and what is not ASCII escaped as \xHH (CR, LF, TAB and backslash by their short forms). Stands "***"
 * for: what follows PASS or ACCT at the beginning of a line, the values of (Proxy-)Authorization, (Proxy-)Authenticate and
 * Authentication-Info header fields, their folded lines included, and user information in URLs. Cuts what does not fit, and then ends in "...". */
void mask_text(struct span text, struct buf *out);

#endif
