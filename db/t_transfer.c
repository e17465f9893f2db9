/* Writes data transfers. Store thread; the column table is constant. */
#include "db/t_transfer.h"

#include "db/sql.h"

enum { TRANSFER_DIRECTION = COLUMN_OWN /* 'u' or 'd' to "up" or "down" */ };

#define COLUMN(name, type, member) { name, type, offsetof(struct transfer, member) }
static const struct column list[] = {
	COLUMN("id", COLUMN_TEXT, id),
	COLUMN("session", COLUMN_TEXT, session),
	COLUMN("node", COLUMN_TEXT, node),
	COLUMN("alg", COLUMN_TEXT, alg),
	COLUMN("protocol", COLUMN_TEXT, protocol),
	COLUMN("client", COLUMN_TEXT, client),
	COLUMN("server", COLUMN_TEXT, server),
	COLUMN("data", COLUMN_TEXT, data),
	COLUMN("user", COLUMN_TEXT, user),
	COLUMN("verb", COLUMN_TEXT, verb),
	COLUMN("path", COLUMN_TEXT, path),
	COLUMN("direction", TRANSFER_DIRECTION, direction),
	COLUMN("started_ms", COLUMN_TIME, started_ms),
	COLUMN("ended_ms", COLUMN_TIME, ended_ms),
	COLUMN("bytes", COLUMN_U64, bytes),
	COLUMN("code", COLUMN_INT, code),
	COLUMN("is_ok", COLUMN_BOOL, is_ok),
	COLUMN("data_path", COLUMN_TEXT, data_path),
	COLUMN("rule", COLUMN_TEXT, rule),
	COLUMN("cause", COLUMN_TEXT, cause),
};

static int bind_own(void *arg, sqlite3_stmt *stmt, int index, const struct column *column, const void *record)
{
	const struct transfer *transfer = record;

	(void)arg;
	(void)column;
	if (transfer->direction != 'u' && transfer->direction != 'd')
		return sqlite3_bind_null(stmt, index);
	return sql_bind_text(stmt, index, transfer->direction == 'u' ? SPAN_LIT("up") : SPAN_LIT("down"));
}

const struct columns transfer_columns = { "transfer", list, sizeof(list) / sizeof(list[0]), bind_own };

int transfer_table_init(struct transfer_table *table, sqlite3 *db)
{
	*table = (struct transfer_table){ NULL };
	return columns_prepare(&transfer_columns, db, &table->insert);
}

void transfer_table_fini(struct transfer_table *table)
{
	sqlite3_finalize(table->insert);
	*table = (struct transfer_table){ NULL };
}

int transfer_table_insert(struct transfer_table *table, const struct transfer *transfer)
{
	return columns_insert(&transfer_columns, table->insert, transfer, NULL);
}
