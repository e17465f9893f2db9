/* Opens and closes readers, and reads a page of any list. A page is a short read transaction, so that a slow
 * client never keeps the write-ahead log from being recycled: rows are handed out as they come, and the number of
 * rows a page looks at is bounded. */
#include "db/reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/err.h"

#define CURSOR_ID_MAX 128
#define PAGE_MAX 1000

enum list_column { C_STARTED, C_ID, C_JSON };

bool reader_contains(struct span text, struct span part)
{
	for (size_t i = 0; i + part.len <= text.len; i++)
		if (span_ieq(span_sub(text, i, i + part.len), part))
			return true;
	return false;
}

struct span reader_value_text(sqlite3_value *value)
{
	const char *text = (const char *)sqlite3_value_text(value);

	if (text == NULL)
		return SPAN_NONE;
	return (struct span){ text, (size_t)sqlite3_value_bytes(value) };
}

static int add_functions(sqlite3 *db)
{
	static const struct {
		const char *name;
		int n_args;
		reader_function *fn;
	} functions[] = {
		{ "matches_call", 9, reader_sql_matches_call },
		{ "matches_transfer", 3, reader_sql_matches_transfer },
	};
	const int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY;
	int rc = SQLITE_OK;

	for (unsigned i = 0; rc == SQLITE_OK && i < sizeof(functions) / sizeof(functions[0]); i++)
		rc = sqlite3_create_function_v2(db, functions[i].name, functions[i].n_args, flags, NULL,
						functions[i].fn, NULL, NULL, NULL);
	return sql_error(rc);
}

int store_reader_open(const char *path, struct store_reader **ret)
{
	static const char *const statements[READER_STATEMENTS] = {
		[READER_CDRS] = reader_cdrs_sql,
		[READER_CDR] = reader_cdr_sql,
		[READER_TRANSFERS] = reader_transfers_sql,
		[READER_TRANSFERS_OF_SESSION] = reader_session_transfers_sql,
	};
	struct store_reader *reader = calloc(1, sizeof(*reader));
	int err;

	if (reader == NULL)
		return -ENOMEM;
	pthread_mutex_init(&reader->lock, NULL);
	err = sql_open(path, SQLITE_OPEN_READONLY, &reader->db);
	if (err == 0)
		err = add_functions(reader->db);
	for (unsigned i = 0; err == 0 && i < READER_STATEMENTS; i++)
		err = sql_prepare(reader->db, statements[i], &reader->statements[i]);
	if (err < 0)
		store_reader_close(reader);
	else
		*ret = reader;
	return err;
}

void store_reader_close(struct store_reader *reader)
{
	if (reader == NULL)
		return;
	for (unsigned i = 0; i < READER_STATEMENTS; i++)
		sqlite3_finalize(reader->statements[i]);
	sqlite3_close(reader->db);
	pthread_mutex_destroy(&reader->lock);
	free(reader);
}

/* A cursor names the last record of its page: "<start in hex>-<id>". */
static int parse_cursor(struct span cursor, int64_t *ret_started_ms, struct span *ret_id)
{
	size_t dash = span_find(cursor, '-');
	uint64_t started = 0;

	if (dash == 0 || dash > 15 || dash == cursor.len || cursor.len - dash - 1 > CURSOR_ID_MAX)
		return ERR_PARSE;
	for (size_t i = 0; i < dash; i++) {
		char c = cursor.ptr[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return ERR_PARSE;
		started = started << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	*ret_started_ms = (int64_t)started;
	*ret_id = span_sub(cursor, dash + 1, cursor.len);
	return 0;
}

static void write_cursor(sqlite3_stmt *row, char *out, size_t size)
{
	struct span id = sql_column_text(row, C_ID);

	if (id.len > CURSOR_ID_MAX)
		id.len = CURSOR_ID_MAX;
	snprintf(out, size, "%" PRIx64 "-%.*s", (uint64_t)sqlite3_column_int64(row, C_STARTED), SPAN_ARG(id));
}

/* The page begins below the cursor, or below until_ms. */
static int find_start(const struct reader_page *page, int64_t *ret_ms, struct span *ret_id)
{
	int64_t until_ms = page->until_ms > 0 ? page->until_ms : INT64_MAX;
	struct span id = SPAN_NONE;
	int64_t cursor_ms = until_ms;
	int err = 0;

	if (!span_is_empty(page->cursor))
		err = parse_cursor(page->cursor, &cursor_ms, &id);
	if (err < 0)
		return err;
	*ret_ms = cursor_ms < until_ms ? cursor_ms : until_ms;
	*ret_id = cursor_ms < until_ms ? id : SPAN_NONE;
	return 0;
}

static int bind_page(sqlite3_stmt *stmt, const struct reader_page *page)
{
	int64_t start_ms = 0;
	struct span start_id = SPAN_NONE;
	int err = find_start(page, &start_ms, &start_id);

	if (err < 0)
		return err;
	if (sqlite3_bind_int64(stmt, READER_P_SINCE, page->since_ms > 0 ? page->since_ms : INT64_MIN) != SQLITE_OK ||
	    sqlite3_bind_int64(stmt, READER_P_START, start_ms) != SQLITE_OK ||
	    sql_bind_any_text(stmt, READER_P_START_ID, start_id) != SQLITE_OK ||
	    page->bind(stmt, page->filter) != SQLITE_OK)
		return -ENOMEM;
	return 0;
}

/* The cursor is that of the last record handed out, and counts only when a further one exists; when the scan stops
 * early, it is that of the last record looked at. */
static int read_page(sqlite3_stmt *stmt, unsigned limit, const struct reader_out *out, char cursor[CDR_CURSOR_SIZE])
{
	unsigned n_rows = 0, n_scanned = 0;
	char last[CDR_CURSOR_SIZE] = "";
	int rc;

	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		bool is_match = sqlite3_column_type(stmt, C_JSON) != SQLITE_NULL;

		if (is_match && n_rows == limit)
			break;
		if (is_match) {
			out->fn(out->arg, sql_column_text(stmt, C_JSON));
			n_rows++;
		}
		if (is_match || n_scanned + 1 == CDR_SCAN_MAX)
			write_cursor(stmt, last, sizeof(last));
		if (++n_scanned == CDR_SCAN_MAX)
			break;
	}
	snprintf(cursor, CDR_CURSOR_SIZE, "%s", rc == SQLITE_ROW ? last : "");
	return sql_error(rc);
}

int reader_list(struct store_reader *reader, const struct reader_page *page, const struct reader_out *out)
{
	sqlite3_stmt *stmt = reader->statements[page->statement];
	char cursor[CDR_CURSOR_SIZE];
	int err;

	if (page->limit < 1 || page->limit > PAGE_MAX)
		return ERR_LIMIT;
	pthread_mutex_lock(&reader->lock);
	err = bind_page(stmt, page);
	if (err == 0)
		err = read_page(stmt, page->limit, out, cursor);
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	pthread_mutex_unlock(&reader->lock);
	if (err < 0)
		return err;
	if (strlen(cursor) >= out->next_cursor_size)
		return ERR_LIMIT;
	memcpy(out->next_cursor, cursor, strlen(cursor) + 1);
	return 0;
}
