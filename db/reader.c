/* Reading call records for the API: a connection that cannot write, statements prepared once, JSON made by SQLite. A
 * page is a short read transaction, so that a slow client never keeps the write-ahead log from being recycled: rows are
 * handed out as they come, and the number of rows a page looks at is bounded.
 *
 * Threads: any; a reader has a lock and serves one call at a time. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/err.h"
#include "db/sql.h"
#include "db/store.h"

#define CURSOR_ID_MAX 128
#define PAGE_MAX 1000

struct store_reader {
	pthread_mutex_t lock;
	sqlite3 *db;
	sqlite3_stmt *list, *get;
};

/* RFC 3339, UTC, with milliseconds; NULL stays NULL. */
#define TIME_JSON(column) "strftime('%Y-%m-%dT%H:%M:%fZ', " column " / 1000.0, 'unixepoch')"
/* Text that is not JSON (a damaged or foreign row) must not fail the whole page. */
#define ARRAY_OR_EMPTY(column) "CASE WHEN json_valid(" column ") THEN " column " ELSE '[]' END"
#define LEG_JSON(leg) \
	"json_object('realm', " leg "_realm, 'peer', " leg "_peer, 'call_id', " leg "_call_id, 'local_tag', " leg \
	"_local_tag, " \
	"'remote_tag', " leg "_remote_tag, 'from_uri', " leg "_from_uri, 'to_uri', " leg "_to_uri, " \
	"'request_uri', " leg "_request_uri, 'signalling', " leg "_signalling, 'user_agent', " leg "_user_agent)"
#define STREAM_MEMBER(name, index) "'" name "', json_extract(s.value, '$[" index "]')"
#define STREAMS_JSON \
	"(SELECT json_group_array(json_object(" STREAM_MEMBER("index", "0") ", " STREAM_MEMBER("side", "1") ", " \
	STREAM_MEMBER("kind", "2") ", " STREAM_MEMBER("local", "3") ", " STREAM_MEMBER("signalled", "4") ", " \
	STREAM_MEMBER("latched", "5") ", " STREAM_MEMBER("path", "6") ", " STREAM_MEMBER("packets", "7") ", " \
	STREAM_MEMBER("bytes", "8") ", " STREAM_MEMBER("lost", "9") ", " STREAM_MEMBER("dropped", "10") ", " \
	STREAM_MEMBER("rtcp_packets", "11") ", " STREAM_MEMBER("jitter_us", "12") ")) " \
	"FROM json_each(" ARRAY_OR_EMPTY("streams") ") AS s)"
#define CDR_JSON_OBJECT \
	"json_object('id', id, 'node', node, 'config_revision', config_revision, " \
	"'started_at', " TIME_JSON("started_ms") ", 'ringing_at', " TIME_JSON("ringing_ms") ", " \
	"'answered_at', " TIME_JSON("answered_ms") ", 'ended_at', " TIME_JSON("ended_ms") ", " \
	"'duration_ms', ended_ms - answered_ms, 'setup_ms', answered_ms - started_ms, " \
	"'status', status, 'ended_by', ended_by, 'cause', cause, 'reason', reason, " \
	"'legs', json_object('a', " LEG_JSON("a") ", 'b', " LEG_JSON("b") "), " \
	"'streams', json(" STREAMS_JSON "), 'decision', " "json(" ARRAY_OR_EMPTY("decision") "))"

/* The range is read from the index in order. Rows that the filter does not take come back as NULL, so that the scan can
 * stop and go on at any of them. */
static const char list_sql[] =
	"SELECT started_ms, id, CASE WHEN (?4 IS NULL OR a_realm = ?4 OR b_realm = ?4) AND "
	"(?5 IS NULL OR a_peer = ?5 OR b_peer = ?5) AND status BETWEEN ?6 AND ?7 AND "
	"(?8 IS NULL OR matches(?8, a_call_id, b_call_id, a_from_uri, a_to_uri, a_request_uri, b_from_uri, b_to_uri, "
	"b_request_uri)) "
	"THEN " CDR_JSON_OBJECT " END "
	"FROM cdr WHERE started_ms >= ?1 AND (started_ms, id) < (?2, ?3) ORDER BY started_ms DESC, id DESC";
static const char get_sql[] = "SELECT " CDR_JSON_OBJECT " FROM cdr WHERE id = ?1";

enum list_parameter { P_SINCE = 1, P_START, P_START_ID, P_REALM, P_PEER, P_STATUS_MIN, P_STATUS_MAX, P_Q };
enum list_column { C_STARTED, C_ID, C_JSON };

/* "sip:user@host" to "user", "tel:+49..." to "+49...". */
static struct span user_part(struct span uri)
{
	size_t colon = span_find(uri, ':');
	struct span rest = colon < uri.len ? span_sub(uri, colon + 1, uri.len) : uri;
	size_t at = span_find(rest, '@');

	return at < rest.len ? span_sub(rest, 0, at) : rest;
}

static bool contains(struct span text, struct span part)
{
	for (size_t i = 0; i + part.len <= text.len; i++)
		if (span_ieq(span_sub(text, i, i + part.len), part))
			return true;
	return false;
}

/* matches(q, call-id, call-id, uri...) */
static void sql_matches(sqlite3_context *context, int n, sqlite3_value **values)
{
	struct span text[9];
	bool is_match = false;

	for (int i = 0; i < n && i < 9; i++) {
		text[i].ptr = (const char *)sqlite3_value_text(values[i]);
		text[i].len = text[i].ptr == NULL ? 0 : (size_t)sqlite3_value_bytes(values[i]);
		if (i > 0 && !is_match)
			is_match = contains(i > 2 ? user_part(text[i]) : text[i], text[0]);
	}
	sqlite3_result_int(context, is_match);
}

int store_reader_open(const char *path, struct store_reader **ret)
{
	struct store_reader *reader = calloc(1, sizeof(*reader));
	int err = -ENOMEM;

	if (reader == NULL)
		return err;
	pthread_mutex_init(&reader->lock, NULL);
	err = sql_open(path, SQLITE_OPEN_READONLY, &reader->db);
	if (err == 0)
		err = sql_error(sqlite3_create_function_v2(reader->db, "matches", 9,
							   SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, NULL,
							   sql_matches, NULL, NULL, NULL));
	if (err == 0)
		err = sql_prepare(reader->db, list_sql, &reader->list);
	if (err == 0)
		err = sql_prepare(reader->db, get_sql, &reader->get);
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
	sqlite3_finalize(reader->list);
	sqlite3_finalize(reader->get);
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
static int find_start(const struct cdr_filter *filter, int64_t *ret_ms, struct span *ret_id)
{
	int64_t until_ms = filter->until_ms > 0 ? filter->until_ms : INT64_MAX;
	struct span id = SPAN_NONE;
	int64_t cursor_ms = until_ms;
	int err = 0;

	if (!span_is_empty(filter->cursor))
		err = parse_cursor(filter->cursor, &cursor_ms, &id);
	if (err < 0)
		return err;
	*ret_ms = cursor_ms < until_ms ? cursor_ms : until_ms;
	*ret_id = cursor_ms < until_ms ? id : SPAN_NONE;
	return 0;
}

static int bind_filter(sqlite3_stmt *stmt, const struct cdr_filter *filter)
{
	int64_t start_ms = 0;
	struct span start_id = SPAN_NONE;
	int err = find_start(filter, &start_ms, &start_id);

	if (err < 0)
		return err;
	if (sqlite3_bind_int64(stmt, P_SINCE, filter->since_ms > 0 ? filter->since_ms : INT64_MIN) != SQLITE_OK ||
	    sqlite3_bind_int64(stmt, P_START, start_ms) != SQLITE_OK ||
	    sql_bind_any_text(stmt, P_START_ID, start_id) != SQLITE_OK ||
	    sql_bind_text(stmt, P_REALM, filter->realm) != SQLITE_OK ||
	    sql_bind_text(stmt, P_PEER, filter->peer) != SQLITE_OK ||
	    sqlite3_bind_int(stmt, P_STATUS_MIN, filter->status_min) != SQLITE_OK ||
	    sqlite3_bind_int(stmt, P_STATUS_MAX, filter->status_max > 0 ? filter->status_max : INT32_MAX) !=
		    SQLITE_OK ||
	    sql_bind_text(stmt, P_Q, filter->q) != SQLITE_OK)
		return -ENOMEM;
	return 0;
}

/* The cursor is that of the last record handed out, and counts only when a further one exists; when the scan stops
 * early, it is that of the last record looked at. */
static int read_page(sqlite3_stmt *stmt, unsigned limit, cdr_row_fn *fn, void *arg, char cursor[CDR_CURSOR_SIZE])
{
	unsigned n_rows = 0, n_scanned = 0;
	char last[CDR_CURSOR_SIZE] = "";
	int rc;

	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		bool is_match = sqlite3_column_type(stmt, C_JSON) != SQLITE_NULL;

		if (is_match && n_rows == limit)
			break;
		if (is_match) {
			fn(arg, sql_column_text(stmt, C_JSON));
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

int cdr_list(struct store_reader *reader, const struct cdr_filter *filter, cdr_row_fn *fn, void *arg, char *next_cursor,
	     size_t next_cursor_size)
{
	char cursor[CDR_CURSOR_SIZE];
	int err;

	if (filter->limit < 1 || filter->limit > PAGE_MAX)
		return ERR_LIMIT;
	pthread_mutex_lock(&reader->lock);
	err = bind_filter(reader->list, filter);
	if (err == 0)
		err = read_page(reader->list, filter->limit, fn, arg, cursor);
	sqlite3_reset(reader->list);
	sqlite3_clear_bindings(reader->list);
	pthread_mutex_unlock(&reader->lock);
	if (err < 0)
		return err;
	if (strlen(cursor) >= next_cursor_size)
		return ERR_LIMIT;
	memcpy(next_cursor, cursor, strlen(cursor) + 1);
	return 0;
}

int cdr_get(struct store_reader *reader, struct span id, cdr_row_fn *fn, void *arg)
{
	int err = -ENOMEM;

	pthread_mutex_lock(&reader->lock);
	if (sql_bind_any_text(reader->get, 1, id) == SQLITE_OK) {
		int rc = sqlite3_step(reader->get);

		err = rc == SQLITE_DONE ? ERR_NOT_FOUND : sql_error(rc);
		if (rc == SQLITE_ROW)
			fn(arg, sql_column_text(reader->get, 0));
	}
	sqlite3_reset(reader->get);
	sqlite3_clear_bindings(reader->get);
	pthread_mutex_unlock(&reader->lock);
	return err;
}
