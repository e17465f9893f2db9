/* Writes call records: the column table, and what only call records have, their streams. Store thread; the column table is
 * constant. */
#include "db/t_cdr.h"

#include <stdlib.h>

#include "core/buf.h"
#include "core/err.h"
#include "db/sql.h"

#define COLUMN(name, type, member) { name, type, offsetof(struct cdr, member) }
#define LEG(prefix, leg) \
	COLUMN(prefix "realm", COLUMN_TEXT, leg.realm), COLUMN(prefix "peer", COLUMN_TEXT, leg.peer), \
	COLUMN(prefix "call_id", COLUMN_TEXT, leg.call_id), COLUMN(prefix "local_tag", COLUMN_TEXT, leg.local_tag), \
	COLUMN(prefix "remote_tag", COLUMN_TEXT, leg.remote_tag), COLUMN(prefix "from_uri", COLUMN_TEXT, leg.from_uri), \
	COLUMN(prefix "to_uri", COLUMN_TEXT, leg.to_uri), COLUMN(prefix "request_uri", COLUMN_TEXT, leg.request_uri), \
	COLUMN(prefix "signalling", COLUMN_TEXT, leg.signalling), COLUMN(prefix "user_agent", COLUMN_TEXT, leg.user_agent)

static const struct column list[] = {
	COLUMN("id", COLUMN_TEXT, id),
	COLUMN("node", COLUMN_TEXT, node),
	COLUMN("config_revision", COLUMN_U32, config_revision),
	COLUMN("started_ms", COLUMN_TIME, started_ms),
	COLUMN("ringing_ms", COLUMN_TIME, ringing_ms),
	COLUMN("answered_ms", COLUMN_TIME, answered_ms),
	COLUMN("ended_ms", COLUMN_TIME, ended_ms),
	COLUMN("status", COLUMN_INT, sip_status),
	COLUMN("ended_by", CDR_ENDED_BY, ended_by),
	COLUMN("cause", COLUMN_TEXT, cause),
	COLUMN("reason", COLUMN_TEXT, reason),
	LEG("a_", a),
	LEG("b_", b),
	COLUMN("streams", CDR_STREAMS, streams),
	COLUMN("decision", COLUMN_JSON, decision_json),
};

const char *cdr_end_text(enum cdr_end end)
{
	static const char *const names[] = { "", "caller", "callee", "gateway", "operator" };

	return (unsigned)end < sizeof(names) / sizeof(names[0]) ? names[end] : "";
}

int cdr_table_init(struct cdr_table *table, sqlite3 *db)
{
	*table = (struct cdr_table){ NULL, NULL, 0 };
	return columns_prepare(&cdr_columns, db, &table->insert);
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

static int bind_own(void *arg, sqlite3_stmt *stmt, int index, const struct column *column, const void *record)
{
	const struct cdr *cdr = record;

	if (column->type == CDR_STREAMS)
		return bind_streams(arg, index, cdr);
	return sql_bind_text(stmt, index, span_of(cdr_end_text(cdr->ended_by)));
}

const struct columns cdr_columns = { "cdr", list, sizeof(list) / sizeof(list[0]), bind_own };

int cdr_table_insert(struct cdr_table *table, const struct cdr *cdr)
{
	return columns_insert(&cdr_columns, table->insert, cdr, table);
}
