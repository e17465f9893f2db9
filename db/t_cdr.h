/* The table of call records: which column takes which member of struct cdr, and the writer's statement. */
#ifndef DB_T_CDR_H
#define DB_T_CDR_H

#include <sqlite3.h>

#include "db/store.h"

/* Members in the order of the columns. Every span of struct cdr has a row, so copying a record walks this table as
 * well. */
struct cdr_column {
	const char *name;
	enum cdr_column_type {
		CDR_TEXT,    /* struct span */
		CDR_JSON,    /* struct span, an array; empty: [] */
		CDR_TIME,    /* int64_t, 0 is NULL */
		CDR_U32,
		CDR_INT,
		CDR_ENDED_BY, /* enum cdr_end */
		CDR_STREAMS, /* JSON, an array of arrays, see 0001.sql */
	} type;
	size_t offset;
};
extern const struct cdr_column cdr_columns[];
extern const unsigned cdr_n_columns;

/* The writer's side; belongs to the store thread. */
struct cdr_table {
	sqlite3_stmt *insert;
	char *scratch; /* streams as JSON, while a record is written */
	size_t scratch_size;
};
int cdr_table_init(struct cdr_table *table, sqlite3 *db);
void cdr_table_fini(struct cdr_table *table);
/* A record whose id is there already is left alone: a batch may be repeated. Returns SQLite's code. */
int cdr_table_insert(struct cdr_table *table, const struct cdr *cdr);

#endif
