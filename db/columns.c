/* See columns.h. Preparing and inserting belong to the store thread, sizes and copies to the control thread;
 * nothing is kept. */
#include "db/columns.h"

#include "core/buf.h"
#include "core/err.h"
#include "db/sql.h"

enum { SQL_SIZE = 2048 };

int columns_prepare(const struct columns *columns, sqlite3 *db, sqlite3_stmt **ret)
{
	char sql[SQL_SIZE];
	struct buf b = buf_of(sql, sizeof(sql) - 1);

	buf_printf(&b, "INSERT INTO %s (", columns->table);
	for (unsigned i = 0; i < columns->n; i++) {
		buf_puts(&b, i > 0 ? ", " : "");
		buf_puts(&b, columns->columns[i].name);
	}
	buf_puts(&b, ") VALUES (?");
	for (unsigned i = 1; i < columns->n; i++)
		buf_puts(&b, ",?");
	buf_puts(&b, ") ON CONFLICT (id) DO NOTHING");
	if (b.is_full)
		return ERR_LIMIT;
	sql[b.len] = '\0';
	return sql_prepare(db, sql, ret);
}

static int bind(sqlite3_stmt *stmt, int index, int type, const void *member)
{
	const struct span *text = member;
	const int64_t *time_ms = member;
	const uint64_t *number = member;

	switch (type) {
	case COLUMN_TEXT:
		return sql_bind_text(stmt, index, *text);
	case COLUMN_JSON:
		return sql_bind_any_text(stmt, index, span_is_empty(*text) ? SPAN_LIT("[]") : *text);
	case COLUMN_TIME:
		return *time_ms == 0 ? sqlite3_bind_null(stmt, index) : sqlite3_bind_int64(stmt, index, *time_ms);
	case COLUMN_U32:
		return sqlite3_bind_int64(stmt, index, *(const uint32_t *)member);
	case COLUMN_U64:
		return sqlite3_bind_int64(stmt, index, *number <= INT64_MAX ? (int64_t)*number : INT64_MAX);
	case COLUMN_INT:
		return sqlite3_bind_int(stmt, index, *(const int *)member);
	case COLUMN_BOOL:
		return sqlite3_bind_int(stmt, index, *(const bool *)member);
	default:
		return SQLITE_RANGE;
	}
}

int columns_insert(const struct columns *columns, sqlite3_stmt *stmt, const void *record, void *arg)
{
	int rc = SQLITE_OK;

	for (unsigned i = 0; rc == SQLITE_OK && i < columns->n; i++) {
		const struct column *column = &columns->columns[i];

		if (column->type >= COLUMN_OWN)
			rc = columns->own(arg, stmt, (int)i + 1, column, record);
		else
			rc = bind(stmt, (int)i + 1, column->type, (const char *)record + column->offset);
	}
	if (rc == SQLITE_OK)
		rc = sql_run(stmt);
	/* The bound texts belong to the record, which goes away. */
	sqlite3_clear_bindings(stmt);
	return rc;
}

static bool is_text(const struct column *column)
{
	return column->type == COLUMN_TEXT || column->type == COLUMN_JSON;
}

bool columns_add_text(const void *object, size_t offset, size_t max, size_t *size)
{
	size_t more = ((const struct span *)((const char *)object + offset))->len;

	/* Sums that stop at the limit cannot overflow. */
	if (more > max || *size > max - more)
		return false;
	*size += more;
	return true;
}

bool columns_add_size(const struct columns *columns, const void *record, size_t max, size_t *size)
{
	for (unsigned i = 0; i < columns->n; i++)
		if (is_text(&columns->columns[i]) && !columns_add_text(record, columns->columns[i].offset, max, size))
			return false;
	return true;
}

void columns_move_text(void *object, size_t offset, char **place)
{
	struct span *text = (struct span *)((char *)object + offset);

	if (text->len > 0)
		memcpy(*place, text->ptr, text->len);
	text->ptr = *place;
	*place += text->len;
}

void columns_move(const struct columns *columns, void *record, char **place)
{
	for (unsigned i = 0; i < columns->n; i++)
		if (is_text(&columns->columns[i]))
			columns_move_text(record, columns->columns[i].offset, place);
}
