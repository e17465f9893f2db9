/* What every file of db/ needs from SQLite: connections with the safe settings, statements, text that is valid UTF-8,
 * and our error numbers for SQLite's. A connection belongs to one thread at a time: it has no lock of its own. */
#ifndef DB_SQL_H
#define DB_SQL_H

#include <sqlite3.h>

#include "core/span.h"

#define SQL_BUSY_MS 2000

/* SQLITE_OK, SQLITE_ROW and SQLITE_DONE give 0. */
int sql_error(int rc);
/* The record is at fault, not the disk: trying again would fail again. */
bool sql_is_row_fault(int rc);

/* flags: SQLITE_OPEN_READONLY or SQLITE_OPEN_READWRITE. Never creates a file. */
int sql_open(const char *path, int flags, sqlite3 **ret);
int sql_exec(sqlite3 *db, const char *sql);
int sql_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret); /* to be used many times */
/* The first column of the first row. */
int sql_number(sqlite3 *db, const char *sql, int64_t *ret);
/* Steps a statement that yields no row, then makes it ready for the next use. Returns SQLite's code. */
int sql_run(sqlite3_stmt *stmt);

/* Borrows the text until the statement is reset. Empty text is bound as NULL. Returns SQLite's code. */
int sql_bind_text(sqlite3_stmt *stmt, int index, struct span text);
/* Likewise, and the empty text stays empty. */
int sql_bind_any_text(sqlite3_stmt *stmt, int index, struct span text);
struct span sql_column_text(sqlite3_stmt *stmt, int index); /* until the next step */

/* Writes "message" (a printf format) to error_text and returns err. */
int sql_refuse(int err, char *error_text, size_t error_size, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#endif
