/* Call records for the API: the JSON they become, and what their lists can be asked for. See reader.h. */
#include <errno.h>

#include "core/err.h"
#include "db/reader.h"

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
	"'started_at', " READER_TIME("started_ms") ", 'ringing_at', " READER_TIME("ringing_ms") ", " \
	"'answered_at', " READER_TIME("answered_ms") ", 'ended_at', " READER_TIME("ended_ms") ", " \
	"'duration_ms', ended_ms - answered_ms, 'setup_ms', answered_ms - started_ms, " \
	"'status', status, 'ended_by', ended_by, 'cause', cause, 'reason', reason, " \
	"'legs', json_object('a', " LEG_JSON("a") ", 'b', " LEG_JSON("b") "), " \
	"'streams', json(" STREAMS_JSON "), 'decision', " "json(" ARRAY_OR_EMPTY("decision") "))"

const char reader_cdrs_sql[] =
	"SELECT started_ms, id, CASE WHEN (?4 IS NULL OR a_realm = ?4 OR b_realm = ?4) AND "
	"(?5 IS NULL OR a_peer = ?5 OR b_peer = ?5) AND status BETWEEN ?6 AND ?7 AND "
	"(?8 IS NULL OR matches_call(?8, a_call_id, b_call_id, a_from_uri, a_to_uri, a_request_uri, b_from_uri, "
	"b_to_uri, b_request_uri)) "
	"THEN " CDR_JSON_OBJECT " END "
	"FROM cdr WHERE " READER_ORDER;
const char reader_cdr_sql[] = "SELECT " CDR_JSON_OBJECT " FROM cdr WHERE id = ?1";

enum { P_REALM = READER_P_FILTER, P_PEER, P_STATUS_MIN, P_STATUS_MAX, P_Q };

/* "sip:user@host" to "user", "tel:+49..." to "+49...". */
static struct span user_part(struct span uri)
{
	size_t colon = span_find(uri, ':');
	struct span rest = colon < uri.len ? span_sub(uri, colon + 1, uri.len) : uri;
	size_t at = span_find(rest, '@');

	return at < rest.len ? span_sub(rest, 0, at) : rest;
}

/* matches_call(q, call-id, call-id, uri...) */
void reader_sql_matches_call(sqlite3_context *context, int n, sqlite3_value **values)
{
	struct span part = reader_value_text(values[0]);
	bool is_match = false;

	for (int i = 1; i < n && !is_match; i++) {
		struct span text = reader_value_text(values[i]);

		is_match = reader_contains(i > 2 ? user_part(text) : text, part);
	}
	sqlite3_result_int(context, is_match);
}

static int bind_filter(sqlite3_stmt *stmt, const void *arg)
{
	const struct cdr_filter *filter = arg;
	int status_max = filter->status_max > 0 ? filter->status_max : INT32_MAX;
	int rc = sql_bind_text(stmt, P_REALM, filter->realm);

	if (rc == SQLITE_OK)
		rc = sql_bind_text(stmt, P_PEER, filter->peer);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int(stmt, P_STATUS_MIN, filter->status_min);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int(stmt, P_STATUS_MAX, status_max);
	return rc == SQLITE_OK ? sql_bind_text(stmt, P_Q, filter->q) : rc;
}

int cdr_list(struct store_reader *reader, const struct cdr_filter *filter, cdr_row_fn *fn, void *arg, char *next_cursor,
	     size_t next_cursor_size)
{
	const struct reader_page page = {
		READER_CDRS, filter->since_ms, filter->until_ms, filter->cursor, filter->limit, bind_filter, filter,
	};
	const struct reader_out out = { fn, arg, next_cursor, next_cursor_size };

	return reader_list(reader, &page, &out);
}

int cdr_get(struct store_reader *reader, struct span id, cdr_row_fn *fn, void *arg)
{
	sqlite3_stmt *stmt = reader->statements[READER_CDR];
	int err = -ENOMEM;

	pthread_mutex_lock(&reader->lock);
	if (sql_bind_any_text(stmt, 1, id) == SQLITE_OK) {
		int rc = sqlite3_step(stmt);

		err = rc == SQLITE_DONE ? ERR_NOT_FOUND : sql_error(rc);
		if (rc == SQLITE_ROW)
			fn(arg, sql_column_text(stmt, 0));
	}
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	pthread_mutex_unlock(&reader->lock);
	return err;
}
