/* The table of data transfers: which column takes which member of struct transfer, and the writer's statement. */
#ifndef DB_T_TRANSFER_H
#define DB_T_TRANSFER_H

#include "db/columns.h"
#include "db/store.h"

extern const struct columns transfer_columns;

/* The writer's side; belongs to the store thread. */
struct transfer_table {
	sqlite3_stmt *insert;
};
int transfer_table_init(struct transfer_table *table, sqlite3 *db);
void transfer_table_fini(struct transfer_table *table);
/* A record whose id is there already is left alone. Returns SQLite's code. */
int transfer_table_insert(struct transfer_table *table, const struct transfer *transfer);

#endif
