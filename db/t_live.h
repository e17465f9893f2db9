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

/* Every row, by id, on a connection of the caller's. has_cdr: the call is over and recorded. */
typedef void live_row_fn(void *arg, struct span id, struct span state, bool has_cdr);
int live_table_each(sqlite3 *db, live_row_fn *fn, void *arg);

#endif
