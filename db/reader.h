/* Reading for the API: a connection that cannot write, statements prepared once, JSON made by SQLite. Lists are
 * pages through an index of start and id, newest first; what is the same for every table stands here, the rest in
 * read_<table>.c.
 *
 * Threads: any; a reader has a lock and serves one call at a time. */
#ifndef DB_READER_H
#define DB_READER_H

#include <pthread.h>

#include "db/sql.h"
#include "db/store.h"

enum reader_statement { READER_CDRS, READER_CDR, READER_TRANSFERS, READER_TRANSFERS_OF_SESSION, READER_STATEMENTS };
extern const char reader_cdrs_sql[], reader_cdr_sql[], reader_transfers_sql[], reader_session_transfers_sql[];

struct store_reader {
	pthread_mutex_t lock;
	sqlite3 *db;
	sqlite3_stmt *statements[READER_STATEMENTS];
};

/* RFC 3339, UTC, with milliseconds; NULL stays NULL. */
#define READER_TIME(column) "strftime('%Y-%m-%dT%H:%M:%fZ', " column " / 1000.0, 'unixepoch')"

/* A list statement yields start, id, and JSON, which is NULL for rows that the filter does not take, so that the
 * scan can stop and go on at any of them. It begins with these parameters; those of the filter follow. */
enum { READER_P_SINCE = 1, READER_P_START, READER_P_START_ID, READER_P_FILTER };
#define READER_ORDER "started_ms >= ?1 AND (started_ms, id) < (?2, ?3) ORDER BY started_ms DESC, id DESC"

struct reader_page {
	enum reader_statement statement;
	int64_t since_ms, until_ms;
	struct span cursor;
	unsigned limit;
	/* Binds the filter's parameters. Returns SQLite's code. */
	int (*bind)(sqlite3_stmt *stmt, const void *filter);
	const void *filter;
};
struct reader_out {
	cdr_row_fn *fn;
	void *arg;
	char *next_cursor;
	size_t next_cursor_size;
};
int reader_list(struct store_reader *reader, const struct reader_page *page, const struct reader_out *out);

/* SQL functions of the tables: returns an integer. */
typedef void reader_function(sqlite3_context *context, int n, sqlite3_value **values);
reader_function reader_sql_matches_call, reader_sql_matches_transfer;
struct span reader_value_text(sqlite3_value *value);
bool reader_contains(struct span text, struct span part); /* ASCII case-insensitive */

#endif
