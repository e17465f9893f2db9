/* Writes call records. The statement is made from the column table, so that a new column is one line here and one in
 * the next schema step. Store thread; the column table is constant. */
#include "db/t_cdr.h"

#include <stdlib.h>

#include "core/buf.h"
#include "core/err.h"
#include "db/sql.h"

#define COLUMN(name, type, member) { name, type, offsetof(struct cdr, member) }
#define LEG(prefix, leg) \
	COLUMN(prefix "realm", CDR_TEXT, leg.realm), COLUMN(prefix "peer", CDR_TEXT, leg.peer), \
	COLUMN(prefix "call_id", CDR_TEXT, leg.call_id), COLUMN(prefix "local_tag", CDR_TEXT, leg.local_tag), \
	COLUMN(prefix "remote_tag", CDR_TEXT, leg.remote_tag), COLUMN(prefix "from_uri", CDR_TEXT, leg.from_uri), \
	COLUMN(prefix "to_uri", CDR_TEXT, leg.to_uri), COLUMN(prefix "request_uri", CDR_TEXT, leg.request_uri), \
	COLUMN(prefix "signalling", CDR_TEXT, leg.signalling), COLUMN(prefix "user_agent", CDR_TEXT, leg.user_agent)

const struct cdr_column cdr_columns[] = {
	COLUMN("id", CDR_TEXT, id),
	COLUMN("node", CDR_TEXT, node),
	COLUMN("config_revision", CDR_U32, config_revision),
	COLUMN("started_ms", CDR_TIME, started_ms),
	COLUMN("ringing_ms", CDR_TIME, ringing_ms),
	COLUMN("answered_ms", CDR_TIME, answered_ms),
	COLUMN("ended_ms", CDR_TIME, ended_ms),
	COLUMN("status", CDR_INT, sip_status),
	COLUMN("ended_by", CDR_ENDED_BY, ended_by),
	COLUMN("cause", CDR_TEXT, cause),
	COLUMN("reason", CDR_TEXT, reason),
	LEG("a_", a),
	LEG("b_", b),
	COLUMN("streams", CDR_STREAMS, streams),
	COLUMN("decision", CDR_JSON, decision_json),
};
const unsigned cdr_n_columns = sizeof(cdr_columns) / sizeof(cdr_columns[0]);

const char *cdr_end_text(enum cdr_end end)
{
	static const char *const names[] = { "", "caller", "callee", "gateway", "operator" };

	return (unsigned)end < sizeof(names) / sizeof(names[0]) ? names[end] : "";
}

int cdr_table_init(struct cdr_table *table, sqlite3 *db)
{
	char sql[2048];
	struct buf b = buf_of(sql, sizeof(sql) - 1);

	*table = (struct cdr_table){ NULL, NULL, 0 };
	buf_puts(&b, "INSERT INTO cdr (");
	for (unsigned i = 0; i < cdr_n_columns; i++) {
		buf_puts(&b, i > 0 ? ", " : "");
		buf_puts(&b, cdr_columns[i].name);
	}
	buf_puts(&b, ") VALUES (?");
	for (unsigned i = 1; i < cdr_n_columns; i++)
		buf_puts(&b, ",?");
	buf_puts(&b, ") ON CONFLICT (id) DO NOTHING");
	if (b.is_full)
		return ERR_LIMIT;
	sql[b.len] = '\0';
	return sql_prepare(db, sql, &table->insert);
}

void cdr_table_fini(struct cdr_table *table)
{
	sqlite3_finalize(table->insert);
	free(table->scratch);
	*table = (struct cdr_table){ NULL, NULL, 0 };
}

/* Octets above 7F are left alone: what is not UTF-8 is replaced when the whole text is bound. */
static void put_text(struct buf *b, struct span text)
{
	size_t plain = 0; /* where what has no escapes begins */

	buf_puts(b, ",\"");
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		buf_put(b, span_sub(text, plain, i));
		buf_puts(b, "\\u00");
		buf_hex(b, &c, 1);
		plain = i + 1;
	}
	buf_put(b, span_sub(text, plain, text.len));
	buf_putc(b, '"');
}

/* SQL has no larger integers. */
static void put_number(struct buf *b, uint64_t value)
{
	buf_putc(b, ',');
	buf_u64(b, value <= INT64_MAX ? value : INT64_MAX);
}

/* The order is part of the schema (0001.sql). */
static void put_stream(struct buf *b, const struct cdr_stream *s)
{
	buf_putc(b, '[');
	buf_u64(b, s->index);
	put_text(b, (struct span){ &s->side, 1 });
	put_text(b, s->kind);
	put_text(b, s->local);
	put_text(b, s->signalled);
	put_text(b, s->latched);
	put_text(b, s->path);
	put_number(b, s->packets);
	put_number(b, s->bytes);
	put_number(b, s->lost);
	put_number(b, s->dropped);
	put_number(b, s->rtcp_packets);
	put_number(b, s->jitter_us);
	buf_putc(b, ']');
}

static size_t stream_size_max(const struct cdr_stream *s)
{
	const size_t fixed = 200; /* seven numbers of at most 20 digits, six pairs of quotes, the commas */

	return fixed + 6 * (1 + s->kind.len + s->local.len + s->signalled.len + s->latched.len + s->path.len);
}

static int reserve(struct cdr_table *table, size_t size)
{
	char *larger;

	if (size <= table->scratch_size)
		return 0;
	larger = realloc(table->scratch, size);
	if (larger == NULL)
		return SQLITE_NOMEM;
	table->scratch = larger;
	table->scratch_size = size;
	return SQLITE_OK;
}

static int bind_streams(struct cdr_table *table, int index, const struct cdr *cdr)
{
	struct buf b;
	size_t size = 2;

	for (unsigned i = 0; i < cdr->n_streams; i++)
		size += 1 + stream_size_max(&cdr->streams[i]);
	if (reserve(table, size) != SQLITE_OK)
		return SQLITE_NOMEM;
	b = buf_of(table->scratch, table->scratch_size);
	buf_putc(&b, '[');
	for (unsigned i = 0; i < cdr->n_streams; i++) {
		if (i > 0)
			buf_putc(&b, ',');
		put_stream(&b, &cdr->streams[i]);
	}
	buf_putc(&b, ']');
	return b.is_full ? SQLITE_TOOBIG : sql_bind_any_text(table->insert, index, buf_span(&b));
}

static int bind_column(struct cdr_table *table, int index, const struct cdr_column *column, const struct cdr *cdr)
{
	const void *member = (const char *)cdr + column->offset;
	const struct span *text = member;
	int64_t time_ms;

	switch (column->type) {
	case CDR_TEXT:
		return sql_bind_text(table->insert, index, *text);
	case CDR_JSON:
		return sql_bind_any_text(table->insert, index, span_is_empty(*text) ? SPAN_LIT("[]") : *text);
	case CDR_TIME:
		time_ms = *(const int64_t *)member;
		return time_ms == 0 ? sqlite3_bind_null(table->insert, index) :
				      sqlite3_bind_int64(table->insert, index, time_ms);
	case CDR_U32:
		return sqlite3_bind_int64(table->insert, index, *(const uint32_t *)member);
	case CDR_INT:
		return sqlite3_bind_int(table->insert, index, *(const int *)member);
	case CDR_ENDED_BY:
		return sql_bind_text(table->insert, index, span_of(cdr_end_text(cdr->ended_by)));
	case CDR_STREAMS:
		return bind_streams(table, index, cdr);
	}
	return SQLITE_RANGE;
}

int cdr_table_insert(struct cdr_table *table, const struct cdr *cdr)
{
	int rc = SQLITE_OK;

	for (unsigned i = 0; rc == SQLITE_OK && i < cdr_n_columns; i++)
		rc = bind_column(table, (int)i + 1, &cdr_columns[i], cdr);
	if (rc == SQLITE_OK)
		rc = sql_run(table->insert);
	/* The bound texts belong to the record, which goes away. */
	sqlite3_clear_bindings(table->insert);
	return rc;
}
