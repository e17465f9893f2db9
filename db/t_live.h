/* The table of live calls: id and the state that resumes the call. */
#ifndef DB_T_LIVE_H
#define DB_T_LIVE_H

#include <sqlite3.h>

#include "db/store.h"

/* The writer's side; belongs to the store thread. */
struct live_table {
	sqlite3_stmt *put;
	sqlite3_stmt *delete;
};
int live_table_init(struct live_table *table, sqlite3 *db);
void live_table_fini(struct live_table *table);
/* Return SQLite's code. */
int live_table_put(struct live_table *table, struct span id, struct span state);
int live_table_delete(struct live_table *table, struct span id);

/* Every row, on a connection of the caller's. */
int live_table_each(sqlite3 *db, store_live_fn *fn, void *arg);

#endif
