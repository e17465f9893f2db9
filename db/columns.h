/* Records as rows of a column table: which column takes which member of a struct. The writer's INSERT, the binding
 * of values and the copy of a record's texts all walk the same table, so a new column is one line there and one in
 * the next schema step. */
#ifndef DB_COLUMNS_H
#define DB_COLUMNS_H

#include <sqlite3.h>
#include <stddef.h>

#include "core/span.h"

enum column_type {
	COLUMN_TEXT, /* struct span; empty is NULL */
	COLUMN_JSON, /* struct span, an array; empty: [] */
	COLUMN_TIME, /* int64_t, 0 is NULL */
	COLUMN_U32,
	COLUMN_U64,  /* SQL has no larger integers than INT64_MAX */
	COLUMN_INT,
	COLUMN_BOOL,
	COLUMN_OWN,  /* from here on: types that only one table has */
};
struct column {
	const char *name;
	int type;    /* enum column_type, or the table's own */
	size_t offset;
};
/* Binds a value of type COLUMN_OWN or above. Returns SQLite's code. */
typedef int columns_own_fn(void *arg, sqlite3_stmt *stmt, int index, const struct column *column, const void *record);

struct columns {
	const char *table;
	const struct column *columns; /* in the order of the table; every span of the record has one */
	unsigned n;
	columns_own_fn *own;          /* may be NULL when no column needs it */
};

/* The statement that adds a record; one whose id is there already is left alone: a batch may be repeated. */
int columns_prepare(const struct columns *columns, sqlite3 *db, sqlite3_stmt **ret);
/* Writes one. Its texts are borrowed for the call. Returns SQLite's code. */
int columns_insert(const struct columns *columns, sqlite3_stmt *stmt, const void *record, void *arg);

/* Adds the length of the record's texts to *size. False when the sum would pass `max`. */
bool columns_add_size(const struct columns *columns, const void *record, size_t max, size_t *size);
/* Copies the texts behind each other to *place and points the record's spans there. */
void columns_move(const struct columns *columns, void *record, char **place);

/* The same for one text; for what a record has beyond its columns. */
bool columns_add_text(const void *object, size_t offset, size_t max, size_t *size);
void columns_move_text(void *object, size_t offset, char **place);

#endif
