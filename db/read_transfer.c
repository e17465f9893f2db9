/* Data transfers for the API: the JSON they become, and what their lists can be asked for. See reader.h. */
#include "db/reader.h"

#define TRANSFER_JSON_OBJECT \
	"json_object('id', id, 'session', session, 'node', node, 'alg', alg, 'protocol', protocol, 'client', client, " \
	"'server', server, 'data', data, 'user', user, 'verb', verb, 'path', path, 'direction', direction, " \
	"'started_at', " READER_TIME("started_ms") ", 'ended_at', " READER_TIME("ended_ms") ", " \
	"'duration_ms', ended_ms - started_ms, 'bytes', bytes, 'code', nullif(code, 0), " \
	"'is_ok', json(iif(is_ok, 'true', 'false')), 'data_path', data_path, 'rule', rule, 'cause', cause)"
#define TRANSFER_SELECT \
	"SELECT started_ms, id, CASE WHEN (?5 IS NULL OR alg = ?5) AND (?6 IS NULL OR protocol = ?6) AND " \
	"(?7 IS NULL OR user = ?7) AND (?8 IS NULL OR verb = ?8 COLLATE NOCASE) AND " \
	"(?9 IS NULL OR matches_transfer(?9, path, user)) THEN " TRANSFER_JSON_OBJECT " END FROM transfer "

/* Two statements, so that each reads an index in order; one cannot do for both. */
const char reader_transfers_sql[] = TRANSFER_SELECT "WHERE ?4 IS NULL AND " READER_ORDER;
const char reader_session_transfers_sql[] = TRANSFER_SELECT "WHERE session = ?4 AND " READER_ORDER;

enum { P_SESSION = READER_P_FILTER, P_ALG, P_PROTOCOL, P_USER, P_VERB, P_Q };

/* matches_transfer(q, text...) */
void reader_sql_matches_transfer(sqlite3_context *context, int n, sqlite3_value **values)
{
	struct span part = reader_value_text(values[0]);
	bool is_match = false;

	for (int i = 1; i < n && !is_match; i++)
		is_match = reader_contains(reader_value_text(values[i]), part);
	sqlite3_result_int(context, is_match);
}

static int bind_filter(sqlite3_stmt *stmt, const void *arg)
{
	const struct transfer_filter *filter = arg;
	const struct {
		int index;
		struct span text;
	} texts[] = {
		{ P_SESSION, filter->session }, { P_ALG, filter->alg },	  { P_PROTOCOL, filter->protocol },
		{ P_USER, filter->user },	{ P_VERB, filter->verb }, { P_Q, filter->q },
	};
	int rc = SQLITE_OK;

	for (unsigned i = 0; rc == SQLITE_OK && i < sizeof(texts) / sizeof(texts[0]); i++)
		rc = sql_bind_text(stmt, texts[i].index, texts[i].text);
	return rc;
}

int transfer_list(struct store_reader *reader, const struct transfer_filter *filter, cdr_row_fn *fn, void *arg,
		  char *next_cursor, size_t next_cursor_size)
{
	const struct reader_page page = {
		span_is_empty(filter->session) ? READER_TRANSFERS : READER_TRANSFERS_OF_SESSION, filter->since_ms,
		filter->until_ms, filter->cursor, filter->limit, bind_filter, filter,
	};
	const struct reader_out out = { fn, arg, next_cursor, next_cursor_size };

	return reader_list(reader, &page, &out);
}
