/* Connections and statements. The settings that keep a damaged or foreign file from doing harm are made here, once for
 * all connections: trusted_schema off, cell_size_check on, defensive mode, no extensions. */
#include "db/sql.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/err.h"
#include "db/utf8.h"

int sql_error(int rc)
{
	static const struct {
		int rc;
		int err;
	} table[] = {
		{ SQLITE_OK, 0 },
		{ SQLITE_ROW, 0 },
		{ SQLITE_DONE, 0 },
		{ SQLITE_FULL, -ENOSPC },
		{ SQLITE_READONLY, -EROFS },
		{ SQLITE_BUSY, -EBUSY },
		{ SQLITE_LOCKED, -EBUSY },
		{ SQLITE_NOMEM, -ENOMEM },
		{ SQLITE_CORRUPT, ERR_CORRUPT },
		{ SQLITE_NOTADB, ERR_CORRUPT },
		{ SQLITE_CANTOPEN, -ENOENT },
		{ SQLITE_PERM, -EACCES },
		{ SQLITE_AUTH, -EACCES },
		{ SQLITE_TOOBIG, ERR_LIMIT },
		{ SQLITE_CONSTRAINT, ERR_EXISTS },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].rc == (rc & 0xff))
			return table[i].err;
	return -EIO;
}

bool sql_is_row_fault(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_CONSTRAINT:
	case SQLITE_TOOBIG:
	case SQLITE_MISMATCH:
	case SQLITE_RANGE:
		return true;
	default:
		return false;
	}
}

static int configure(sqlite3 *db)
{
	sqlite3_extended_result_codes(db, 1);
	sqlite3_busy_timeout(db, SQL_BUSY_MS);
	if (sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL) != SQLITE_OK ||
	    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL) != SQLITE_OK)
		return ERR_UNSUPPORTED;
	return sql_exec(db, "PRAGMA cell_size_check=ON; PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY");
}

int sql_open(const char *path, int flags, sqlite3 **ret)
{
	sqlite3 *db = NULL;
	int err;

	/* SQLite's memory statistics take a global lock at every allocation. Has no effect after the first use of the
	 * library. */
	if (sqlite3_threadsafe() == 0)
		return ERR_UNSUPPORTED;
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	err = sql_error(sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX, NULL));
	if (err == 0)
		err = configure(db);
	if (err < 0)
		sqlite3_close(db);
	else
		*ret = db;
	return err;
}

int sql_exec(sqlite3 *db, const char *sql)
{
	return sql_error(sqlite3_exec(db, sql, NULL, NULL, NULL));
}

int sql_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret)
{
	return sql_error(sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL));
}

int sql_number(sqlite3 *db, const char *sql, int64_t *ret)
{
	sqlite3_stmt *stmt = NULL;
	int err = sql_error(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL));
	int rc;

	if (err < 0)
		return err;
	rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		*ret = sqlite3_column_int64(stmt, 0);
	err = rc == SQLITE_DONE ? ERR_NOT_FOUND : sql_error(rc);
	sqlite3_finalize(stmt);
	return err;
}

int sql_run(sqlite3_stmt *stmt)
{
	int rc = sqlite3_step(stmt);

	sqlite3_reset(stmt); /* repeats rc */
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int sql_bind_text(sqlite3_stmt *stmt, int index, struct span text)
{
	return span_is_empty(text) ? sqlite3_bind_null(stmt, index) : sql_bind_any_text(stmt, index, text);
}

int sql_bind_any_text(sqlite3_stmt *stmt, int index, struct span text)
{
	char *clean;
	size_t len;

	if (text.len == 0)
		return sqlite3_bind_text(stmt, index, "", 0, SQLITE_STATIC);
	if (utf8_valid(text) == text.len)
		return sqlite3_bind_text64(stmt, index, text.ptr, text.len, SQLITE_STATIC, SQLITE_UTF8);
	if (text.len > SIZE_MAX / UTF8_GROWTH)
		return SQLITE_TOOBIG;
	clean = malloc(text.len * UTF8_GROWTH);
	if (clean == NULL)
		return SQLITE_NOMEM;
	len = utf8_clean(text, clean);
	return sqlite3_bind_text64(stmt, index, clean, len, free, SQLITE_UTF8);
}

struct span sql_column_text(sqlite3_stmt *stmt, int index)
{
	const char *text = (const char *)sqlite3_column_text(stmt, index);

	if (text == NULL)
		return SPAN_NONE;
	return (struct span){ text, (size_t)sqlite3_column_bytes(stmt, index) };
}

int sql_refuse(int err, char *error_text, size_t error_size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (error_size > 0)
		vsnprintf(error_text, error_size, format, args);
	va_end(args);
	return err;
}
