/* Configuration schema: one table per object type says name, type, range, default and help of each member. The same
 * table checks the YAML file and REST bodies, fills defaults, and generates the OpenAPI schema and postern.yaml(5).
 * All errors are collected, each with file:line:column, JSON pointer, what is wrong and a hint. */
#ifndef CORE_CONF_H
#define CORE_CONF_H

#include <jansson.h>
#include <stdio.h>

#include "core/span.h"

enum conf_type {
	CONF_BOOL,
	CONF_INT,       /* min..max */
	CONF_STRING,    /* length min..max in bytes, no control characters */
	CONF_ENUM,      /* one of the strings in `choices` */
	CONF_DURATION,  /* "500ms", "32s", "5m", "2h"; min..max in milliseconds, read with conf_duration_ms() */
	CONF_SIZE,      /* octets: 4096 or "10k", "200M", "1G", "2T"; min..max, read with conf_size() */
	CONF_LIST,      /* of `element`, min..max elements; with is_open one value may stand for a list of one */
	CONF_OBJECT,    /* members in `schema` */
	CONF_MAP,       /* name -> object of `schema`, names are [a-z0-9][a-z0-9_-]{0,62} */
};

struct conf_check_ctx;
/* Extra check of one value: 0, or reports through conf_report() and returns ERR_CONFIG. */
typedef int conf_check_fn(struct conf_check_ctx *ctx, const json_t *value);

struct conf_item {
	const char *name; /* member name; "*" for list elements */
	enum conf_type type;
	bool is_required;
	bool is_open;
	bool is_fixed; /* a program that runs cannot follow a change: see conf_check_fixed() */
	int64_t min, max;             /* 0, 0: no range */
	const char *default_json;     /* JSON text such as "5060" or "\"latch\""; NULL: none */
	const char *help;             /* one sentence for the manual page and OpenAPI */
	const char *const *choices;   /* CONF_ENUM, ends with NULL */
	const struct conf_item *schema; /* CONF_OBJECT, CONF_MAP: ends with a row whose name is NULL */
	const struct conf_item *element; /* CONF_LIST: one row */
	conf_check_fn *check;         /* or NULL */
};

struct conf_error {
	char *pointer; /* "/realms/access/addresses/0" */
	unsigned line, column; /* 0 when the value did not come from a file */
	char *text;    /* what is wrong */
	char *hint;    /* what to do, or NULL */
};
struct conf_errors {
	const char *file; /* for messages, borrowed, may be NULL */
	struct conf_error *items;
	unsigned n;
};
enum { CONF_ERRORS_MAX = 500 }; /* later ones are dropped */

void conf_errors_free(struct conf_errors *errors); /* frees the contents */
void conf_errors_sort(struct conf_errors *errors); /* by position in the file */
/* "postern.yaml:12:5: /realms/access: text (hint)", a line each. */
void conf_errors_print(const struct conf_errors *errors, FILE *out);
/* Control characters in the texts become '?'. hint may be NULL. */
void conf_errors_add(struct conf_errors *errors, const char *pointer, unsigned line, unsigned column,
		     const char *hint, const char *format, ...) __attribute__((format(printf, 6, 7)));

struct yaml_doc;
/* Checks `value` against the schema and adds missing defaults to it in place. `doc` gives positions and may be NULL.
 * Unknown members are errors and name the nearest known one. 0 or ERR_CONFIG with everything in `errors`. */
int conf_check(const struct conf_item *schema, json_t *value, const struct yaml_doc *doc, struct conf_errors *errors);
/* For a program that runs with `before` and shall go on with `after`, both checked: what is_fixed and differs is an error that
 * names both values. Of an object that is fixed, every member is; of a map, its names and their order, and of its objects what
 * is marked there. 0 or ERR_CONFIG. */
int conf_check_fixed(const struct conf_item *schema, const json_t *before, const json_t *after, const struct yaml_doc *doc,
		     struct conf_errors *errors);
/* From inside a conf_check_fn. */
int conf_report(struct conf_check_ctx *ctx, const char *hint, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The milliseconds of "500ms", "32s", "5m", "2h": digits and a unit. 0 or ERR_PARSE. */
int conf_duration_ms(struct span text, int64_t *ret);
/* The octets of a whole number, or of "10k", "200M", "1G", "2T" (powers of 1024). 0 or ERR_PARSE. */
int conf_size(const json_t *value, int64_t *ret);

/* Finds the name that was probably meant: offer every candidate, then read `best`. */
struct conf_nearest {
	const char *wanted;
	const char *best; /* NULL while nothing is near */
	unsigned distance;
};
void conf_nearest_offer(struct conf_nearest *nearest, const char *candidate);
/* "did you mean x?" into out; NULL when nothing is near. */
const char *conf_nearest_hint(const struct conf_nearest *nearest, char *out, size_t cap);

/* JSON Schema (2020-12) of the object; new reference. */
json_t *conf_json_schema(const struct conf_item *schema);
/* The object's members as mdoc text for a manual page. */
void conf_print_man(const struct conf_item *schema, FILE *out);

#endif
