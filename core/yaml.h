/* YAML text to a jansson tree, with the source position of every value. The only user of libyaml.
 * Refused with a clear error: duplicate keys, merge keys, aliases and anchors, tags, more than one document, depth over
 * 16, keys over 255 bytes, more than 200,000 values, files over 4 MiB. Only true and false are booleans, only decimal
 * integers without leading zeros are numbers; quoted scalars are always strings. */
#ifndef CORE_YAML_H
#define CORE_YAML_H

#include <jansson.h>

#include "core/span.h"

struct conf_errors; /* core/conf.h */
struct yaml_doc;

struct yaml_pos {
	unsigned line;   /* from 1; 0 when unknown */
	unsigned column;
};

/* 0 and a document, or a negative error with its text added to `errors`. Names the file in `errors` when it has no
 * name yet. */
int yaml_parse(struct span text, const char *file_name, struct conf_errors *errors, struct yaml_doc **ret);
void yaml_doc_free(struct yaml_doc *doc); /* NULL is fine */
/* Inline, because libyaml's shared object exports an internal yaml_free() that an external one here would replace. */
static inline void yaml_free(struct yaml_doc *doc)
{
	yaml_doc_free(doc);
}
json_t *yaml_root(const struct yaml_doc *doc); /* borrowed */
/* Where the value at this JSON pointer (RFC 6901) began; for a member of an object, where its key stands. */
struct yaml_pos yaml_pos(const struct yaml_doc *doc, const char *pointer);

#endif
