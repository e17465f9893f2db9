/* The tables of what is up and may outlive the process: id, and the state that resumes it. Calls and data
 * connections of ALG sessions have one each, of the same form. */
#ifndef DB_T_LIVE_H
#define DB_T_LIVE_H

#include <sqlite3.h>

#include "db/store.h"

enum live_kind { LIVE_CALLS, LIVE_DATA, LIVE_KINDS };

/* The writer's side; belongs to the store thread. */
struct live_table {
	sqlite3_stmt *put;
	sqlite3_stmt *delete;
};
int live_table_init(struct live_table *table, sqlite3 *db, enum live_kind kind);
void live_table_fini(struct live_table *table);
/* Return SQLite's code. */
int live_table_put(struct live_table *table, struct span id, struct span state);
int live_table_delete(struct live_table *table, struct span id);

/* Every row, by id, on a connection of the caller's. is_recorded: it is over, and its record (of a call or a
 * transfer) is there. */
typedef void live_row_fn(void *arg, struct span id, struct span state, bool is_recorded);
int live_table_each(sqlite3 *db, enum live_kind kind, live_row_fn *fn, void *arg);

#endif
