/* Writes JSON text straight into a buf, for records made on the control thread without building a tree. The writer puts
 * the commas; the caller keeps brackets balanced. Text is escaped, octets that are not UTF-8 become U+FFFD. */
#ifndef CORE_JSON_TEXT_H
#define CORE_JSON_TEXT_H

#include "core/buf.h"

void json_open(struct buf *b, char bracket);  /* '{' or '[' as a value */
void json_close(struct buf *b, char bracket); /* '}' or ']' */
void json_key(struct buf *b, const char *name); /* a literal that needs no escape */
void json_text(struct buf *b, struct span text);
void json_int(struct buf *b, int64_t value);

/* "name": value */
void json_member_text(struct buf *b, const char *name, struct span text);
void json_member_int(struct buf *b, const char *name, int64_t value);

#endif
