/* YAML to JSON, see core/yaml.h. The only user of libyaml.
 *
 * Reads libyaml's events by recursive descent; nesting is bounded, so recursion is. Beside the JSON tree grows a
 * tree of positions, kept apart because jansson shares its true, false and null. Faults of content (duplicate keys,
 * anchors, tags) are collected; faults of syntax and exceeded limits end the reading at once. */
#include "core/yaml.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#include "core/conf.h"
#include "core/err.h"

enum { DEPTH_MAX = 16, KEY_MAX = 255, NODES_MAX = 200000, TEXT_MAX = 4 << 20, NO_NODE = 0 };

struct node {
	char *key; /* NULL for elements of a list */
	unsigned line, column;
	unsigned parent, next, first, last; /* indexes; node 0 is the root, so 0 also means none */
};

struct yaml_doc {
	json_t *root;
	struct node *nodes;
	unsigned n_nodes, cap;
};

struct reader {
	yaml_parser_t parser;
	yaml_event_t event; /* the one being read */
	bool has_event;
	struct span text;
	struct yaml_doc *doc;
	struct conf_errors *errors;
	unsigned depth;
	bool is_bad; /* a fault of content was reported */
	int err;     /* a fault that ended the reading, 0 while there is none */
};

static json_t *read_value(struct reader *r, unsigned node);

/* Pointers */

/* The child that `token`, one escaped step of a JSON pointer, names. */
static bool is_step(const struct node *node, unsigned index, struct span token)
{
	const char *key = node->key;
	char number[16];

	if (key == NULL) {
		snprintf(number, sizeof(number), "%u", index);
		return span_eq(span_of(number), token);
	}
	for (size_t i = 0; i < token.len; i++, key++) {
		char c = token.ptr[i];

		if (c == '~' && i + 1 < token.len)
			c = token.ptr[++i] == '0' ? '~' : '/';
		if (*key != c)
			return false;
	}
	return *key == '\0';
}

struct yaml_pos yaml_pos(const struct yaml_doc *doc, const char *pointer)
{
	struct span rest = span_of(pointer);
	unsigned at = 0;

	if (doc->n_nodes == 0)
		return (struct yaml_pos){ 0, 0 };
	(void)span_cut(&rest, '/'); /* what is before the first slash: nothing */
	while (rest.ptr != NULL) {
		struct span token = span_cut(&rest, '/');
		unsigned index = 0;

		at = doc->nodes[at].first;
		while (at != NO_NODE && !is_step(&doc->nodes[at], index, token)) {
			at = doc->nodes[at].next;
			index++;
		}
		if (at == NO_NODE)
			return (struct yaml_pos){ 0, 0 };
	}
	return (struct yaml_pos){ doc->nodes[at].line, doc->nodes[at].column };
}

static void print_pointer(const struct yaml_doc *doc, unsigned node, FILE *out)
{
	const struct node *n = &doc->nodes[node];
	unsigned index = 0;

	if (node == 0)
		return;
	print_pointer(doc, n->parent, out);
	fputc('/', out);
	if (n->key == NULL) {
		for (unsigned at = doc->nodes[n->parent].first; at != node; at = doc->nodes[at].next)
			index++;
		fprintf(out, "%u", index);
		return;
	}
	for (const char *c = n->key; *c != '\0'; c++) {
		if (*c == '~' || *c == '/')
			fputs(*c == '~' ? "~0" : "~1", out);
		else
			fputc(*c, out);
	}
}

/* Errors */

static void report(struct reader *r, unsigned node, yaml_mark_t mark, const char *hint, const char *text)
{
	char *pointer = NULL;
	size_t len;
	FILE *out = open_memstream(&pointer, &len);

	if (out != NULL) {
		if (r->doc->n_nodes > 0)
			print_pointer(r->doc, node, out);
		if (fclose(out) != 0)
			r->err = -ENOMEM;
	}
	conf_errors_add(r->errors, pointer ? pointer : "", (unsigned)mark.line + 1, (unsigned)mark.column + 1, hint,
			"%s", text);
	free(pointer);
	r->is_bad = true;
}

static void fail(struct reader *r, unsigned node, const char *hint, const char *text)
{
	report(r, node, r->event.start_mark, hint, text);
	r->err = ERR_PARSE;
}

/* Errors of the decoder come with a byte offset alone. */
static yaml_mark_t mark_of_offset(struct span text, size_t offset)
{
	yaml_mark_t mark = { 0, 0, 0 };

	for (size_t i = 0; i < offset && i < text.len; i++) {
		mark.column++;
		if (text.ptr[i] == '\n') {
			mark.line++;
			mark.column = 0;
		}
	}
	return mark;
}

static void fail_syntax(struct reader *r)
{
	const yaml_parser_t *p = &r->parser;
	yaml_mark_t mark = p->problem_mark;

	if (p->error == YAML_MEMORY_ERROR) {
		r->err = -ENOMEM;
		return;
	}
	if (p->error == YAML_READER_ERROR)
		mark = mark_of_offset(r->text, p->problem_offset);
	report(r, 0, mark, p->context, p->problem ? p->problem : "not valid YAML");
	r->err = ERR_PARSE;
}

/* Reading */

static bool next_event(struct reader *r)
{
	if (r->has_event)
		yaml_event_delete(&r->event);
	r->has_event = false;
	if (r->err != 0)
		return false;
	if (!yaml_parser_parse(&r->parser, &r->event)) {
		fail_syntax(r);
		return false;
	}
	r->has_event = true;
	return true;
}

/* Appends a child to `parent`, at the place of the present event. Takes `key`. */
static unsigned add_node(struct reader *r, unsigned parent, char *key)
{
	struct yaml_doc *doc = r->doc;
	unsigned at = doc->n_nodes;
	struct node *node;

	if (at == NODES_MAX) {
		fail(r, parent, NULL, "more than 200000 values");
		free(key);
		return NO_NODE;
	}
	if (at == doc->cap) {
		unsigned cap = doc->cap ? doc->cap * 2 : 64;
		struct node *grown = reallocarray(doc->nodes, cap, sizeof(*grown));

		if (grown == NULL) {
			r->err = -ENOMEM;
			free(key);
			return NO_NODE;
		}
		doc->nodes = grown;
		doc->cap = cap;
	}
	node = &doc->nodes[doc->n_nodes++];
	*node = (struct node){ .key = key, .parent = parent };
	node->line = (unsigned)r->event.start_mark.line + 1;
	node->column = (unsigned)r->event.start_mark.column + 1;
	if (at == 0)
		return at;
	if (doc->nodes[parent].first == NO_NODE)
		doc->nodes[parent].first = at;
	else
		doc->nodes[doc->nodes[parent].last].next = at;
	doc->nodes[parent].last = at;
	return at;
}

static void refuse_decoration(struct reader *r, unsigned node, const yaml_char_t *anchor, const yaml_char_t *tag)
{
	if (anchor != NULL)
		report(r, node, r->event.start_mark, "write the value out where it is needed",
		       "anchors are not supported");
	if (tag != NULL)
		report(r, node, r->event.start_mark, "quote the value to make it a string", "tags are not supported");
}

static bool is_integer(struct span s, json_int_t *ret)
{
	size_t i = s.len > 0 && s.ptr[0] == '-' ? 1 : 0;
	bool is_canonical = s.len > i && s.len <= 20 && (s.ptr[i] != '0' || s.len == i + 1);
	char text[24];

	for (size_t at = i; is_canonical && at < s.len; at++)
		is_canonical = s.ptr[at] >= '0' && s.ptr[at] <= '9';
	if (!is_canonical)
		return false;
	memcpy(text, s.ptr, s.len);
	text[s.len] = '\0';
	errno = 0;
	*ret = strtoll(text, NULL, 10);
	return errno == 0;
}

static json_t *plain_scalar(struct span s)
{
	json_int_t number;

	if (span_is_empty(s) || span_eq(s, SPAN_LIT("null")) || span_eq(s, SPAN_LIT("~")))
		return json_null();
	if (span_eq(s, SPAN_LIT("true")))
		return json_true();
	if (span_eq(s, SPAN_LIT("false")))
		return json_false();
	if (is_integer(s, &number))
		return json_integer(number);
	return json_stringn(s.ptr, s.len);
}

static json_t *read_scalar(struct reader *r, unsigned node)
{
	const struct span s = { (const char *)r->event.data.scalar.value, r->event.data.scalar.length };
	json_t *value;

	refuse_decoration(r, node, r->event.data.scalar.anchor, r->event.data.scalar.tag);
	if (span_find(s, '\0') < s.len)
		report(r, node, r->event.start_mark, NULL, "a value contains a NUL character");
	if (r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		value = plain_scalar(s);
	else
		value = json_stringn(s.ptr, s.len);
	if (value == NULL)
		r->err = -ENOMEM;
	return value;
}

static bool enter(struct reader *r, unsigned node, const yaml_char_t *anchor, const yaml_char_t *tag)
{
	refuse_decoration(r, node, anchor, tag);
	if (r->depth == DEPTH_MAX) {
		fail(r, node, NULL, "nested deeper than 16 levels");
		return false;
	}
	r->depth++;
	return true;
}

static json_t *read_list(struct reader *r, unsigned node)
{
	json_t *list = json_array();

	if (list == NULL)
		r->err = -ENOMEM;
	while (next_event(r) && r->event.type != YAML_SEQUENCE_END_EVENT) {
		unsigned child = add_node(r, node, NULL);
		json_t *value = r->err == 0 ? read_value(r, child) : NULL;

		if (value != NULL && json_array_append_new(list, value) != 0)
			r->err = -ENOMEM;
	}
	r->depth--;
	return list;
}

/* Checks the key that the present event holds. NULL when it cannot be used at all. */
static char *read_key(struct reader *r, unsigned node)
{
	struct span s;
	char *key;

	if (r->event.type != YAML_SCALAR_EVENT) {
		fail(r, node, NULL, "only plain names can be keys");
		return NULL;
	}
	refuse_decoration(r, node, r->event.data.scalar.anchor, r->event.data.scalar.tag);
	s = (struct span){ (const char *)r->event.data.scalar.value, r->event.data.scalar.length };
	if (s.len > KEY_MAX || span_find(s, '\0') < s.len) {
		fail(r, node, NULL, "a key is longer than 255 bytes or contains a NUL character");
		return NULL;
	}
	if (span_eq(s, SPAN_LIT("<<")) && r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		report(r, node, r->event.start_mark, "write the members out", "merge keys are not supported");
	key = strndup(s.ptr, s.len);
	if (key == NULL)
		r->err = -ENOMEM;
	return key;
}

static json_t *read_object(struct reader *r, unsigned node)
{
	json_t *object = json_object();

	if (object == NULL)
		r->err = -ENOMEM;
	while (next_event(r) && r->event.type != YAML_MAPPING_END_EVENT) {
		char *key = read_key(r, node);
		unsigned child = key != NULL ? add_node(r, node, key) : NO_NODE;
		json_t *value;

		if (r->err == 0 && json_object_get(object, r->doc->nodes[child].key) != NULL)
			report(r, child, r->event.start_mark, "remove one of the two", "duplicate key");
		value = next_event(r) ? read_value(r, child) : NULL;
		if (value != NULL && json_object_set_new(object, r->doc->nodes[child].key, value) != 0)
			r->err = -ENOMEM;
	}
	r->depth--;
	return object;
}

/* The value that begins with the present event. NULL only after an error that ends the reading. */
static json_t *read_value(struct reader *r, unsigned node)
{
	switch (r->event.type) {
	case YAML_SCALAR_EVENT:
		return read_scalar(r, node);
	case YAML_SEQUENCE_START_EVENT:
		if (!enter(r, node, r->event.data.sequence_start.anchor, r->event.data.sequence_start.tag))
			return NULL;
		return read_list(r, node);
	case YAML_MAPPING_START_EVENT:
		if (!enter(r, node, r->event.data.mapping_start.anchor, r->event.data.mapping_start.tag))
			return NULL;
		return read_object(r, node);
	case YAML_ALIAS_EVENT:
		report(r, node, r->event.start_mark, "write the value out where it is needed",
		       "aliases are not supported");
		return json_null();
	default:
		fail(r, node, NULL, "not valid YAML");
		return NULL;
	}
}

static void read_document(struct reader *r)
{
	if (!next_event(r) || !next_event(r)) /* the start of the stream, the start of the document */
		return;
	if (r->event.type == YAML_STREAM_END_EVENT) {
		fail(r, 0, NULL, "the file is empty");
		return;
	}
	if (!next_event(r))
		return;
	(void)add_node(r, 0, NULL);
	if (r->err == 0)
		r->doc->root = read_value(r, 0);
	if (!next_event(r) || !next_event(r)) /* the end of the document, the end of the stream */
		return;
	if (r->event.type != YAML_STREAM_END_EVENT)
		fail(r, 0, "remove the second ---", "only one document is allowed");
}

int yaml_parse(struct span text, const char *file_name, struct conf_errors *errors, struct yaml_doc **ret)
{
	struct reader r = { .text = text, .errors = errors };
	int err;

	if (errors->file == NULL)
		errors->file = file_name;
	if (text.len > TEXT_MAX) {
		conf_errors_add(errors, "", 0, 0, NULL, "larger than 4 MiB");
		return ERR_LIMIT;
	}
	r.doc = calloc(1, sizeof(*r.doc));
	if (r.doc == NULL || !yaml_parser_initialize(&r.parser)) {
		free(r.doc);
		return -ENOMEM;
	}
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.ptr ? text.ptr : ""), text.len);
	read_document(&r);
	if (r.has_event)
		yaml_event_delete(&r.event);
	yaml_parser_delete(&r.parser);
	err = r.err == 0 && r.is_bad ? ERR_PARSE : r.err;
	if (err == -ENOMEM)
		conf_errors_add(errors, "", 0, 0, NULL, "out of memory");
	if (err < 0) {
		yaml_doc_free(r.doc);
		return err;
	}
	*ret = r.doc;
	return 0;
}

void yaml_doc_free(struct yaml_doc *doc)
{
	if (doc == NULL)
		return;
	for (unsigned i = 0; i < doc->n_nodes; i++)
		free(doc->nodes[i].key);
	free(doc->nodes);
	json_decref(doc->root);
	free(doc);
}

json_t *yaml_root(const struct yaml_doc *doc)
{
	return doc->root;
}
