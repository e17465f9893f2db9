/* Writes and reads what is up. A row is replaced as a whole: sbc/ and algs/ decide what is in it. */
#include "db/t_live.h"

#include "db/sql.h"

static const struct {
	const char *put, *delete, *each;
} statements[LIVE_KINDS] = {
#define STATEMENTS(table, records) { \
	"INSERT INTO " table " (id, state) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET state = excluded.state", \
	"DELETE FROM " table " WHERE id = ?1", \
	"SELECT id, state, EXISTS (SELECT 1 FROM " records " AS r WHERE r.id = l.id) FROM " table " AS l ORDER BY id" }
	[LIVE_CALLS] = STATEMENTS("live", "cdr"),
	[LIVE_DATA] = STATEMENTS("live_data", "transfer"),
};

int live_table_init(struct live_table *table, sqlite3 *db, enum live_kind kind)
{
	int err;

	*table = (struct live_table){ NULL, NULL };
	err = sql_prepare(db, statements[kind].put, &table->put);
	if (err == 0)
		err = sql_prepare(db, statements[kind].delete, &table->delete);
	return err;
}

void live_table_fini(struct live_table *table)
{
	sqlite3_finalize(table->put);
	sqlite3_finalize(table->delete);
	*table = (struct live_table){ NULL, NULL };
}

static int run(sqlite3_stmt *stmt, int rc)
{
	if (rc == SQLITE_OK)
		rc = sql_run(stmt);
	sqlite3_clear_bindings(stmt);
	return rc;
}

int live_table_put(struct live_table *table, struct span id, struct span state)
{
	int rc = sql_bind_any_text(table->put, 1, id);

	if (rc == SQLITE_OK)
		rc = sql_bind_any_text(table->put, 2, state);
	return run(table->put, rc);
}

int live_table_delete(struct live_table *table, struct span id)
{
	return run(table->delete, sql_bind_any_text(table->delete, 1, id));
}

int live_table_each(sqlite3 *db, enum live_kind kind, live_row_fn *fn, void *arg)
{
	sqlite3_stmt *stmt = NULL;
	int err = sql_prepare(db, statements[kind].each, &stmt);
	int rc = SQLITE_DONE;

	while (err == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct span state = sql_column_text(stmt, 1);

		fn(arg, sql_column_text(stmt, 0), state.len <= STORE_LIVE_BYTES_MAX ? state : SPAN_NONE,
		   sqlite3_column_int(stmt, 2) != 0);
	}
	if (err == 0)
		err = sql_error(rc);
	sqlite3_finalize(stmt);
	return err;
}
