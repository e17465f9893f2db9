/* The table of call records: which column takes which member of struct cdr, and the writer's statement. */
#ifndef DB_T_CDR_H
#define DB_T_CDR_H

#include <sqlite3.h>

#include "db/columns.h"
#include "db/store.h"

/* Beyond the types that every table has. */
enum cdr_column_type {
	CDR_ENDED_BY = COLUMN_OWN, /* enum cdr_end */
	CDR_STREAMS,               /* JSON, an array of arrays, see 0001.sql */
};
extern const struct columns cdr_columns;

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
