/* Data transfers: every member from struct transfer to JSON, hostile text, pages, filters, the index of a session. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/err.h"
#include "tests/unit/db_fixture.h"
#include "tests/unit/unit.h"

static void store_all(struct fixture *f, const struct transfer *transfers, unsigned n)
{
	fixture_init(f);
	fixture_open(f);
	for (unsigned i = 0; i < n; i++)
		store_transfer(f->store, &transfers[i]);
	fixture_close(f); /* commits what is queued */
}

static int get_page(struct store_reader *reader, struct transfer_filter filter, struct fixture_page *page)
{
	page->n = 0;
	return transfer_list(reader, &filter, fixture_keep, page, page->cursor, sizeof(page->cursor));
}

static void every_member_arrives(void)
{
	static const char expected[] =
		"{\"id\":\"01900000-0000-7000-8000-000000000001\",\"session\":\"01900000-0000-7000-8000-00000000aaaa\","
		"\"node\":\"edge-1\",\"alg\":\"office-ftp\",\"protocol\":\"ftp\",\"client\":\"192.0.2.77:40000\","
		"\"server\":\"10.0.0.5:21\",\"data\":\"192.0.2.77:40001 10.0.0.5:50000\",\"user\":\"Alice\",\"verb\":\"STOR\","
		"\"path\":\"/in/Report \\\"1\\\".txt\",\"direction\":\"up\",\"started_at\":\"2026-01-01T00:00:01.000Z\","
		"\"ended_at\":\"2026-01-01T00:00:02.250Z\",\"duration_ms\":1250,\"bytes\":4096,\"code\":226,\"is_ok\":true,"
		"\"data_path\":\"nft\",\"rule\":\"partners-up\",\"cause\":null}";
	struct transfer transfer = fixture_transfer(1);
	struct store_reader *reader;
	struct fixture_page page = { .n = 0 };
	struct fixture f;

	store_all(&f, &transfer, 1);
	reader = fixture_reader(&f);
	CU_ASSERT_EQUAL(get_page(reader, (struct transfer_filter){ .limit = 9 }, &page), 0);
	CU_ASSERT_EQUAL(page.n, 1);
	CU_ASSERT_STRING_EQUAL(page.text, expected);
	fixture_finish(&f, reader);
}

static void what_is_not_known_is_null(void)
{
	struct transfer transfer = { .id = SPAN_LIT("x"), .started_ms = 1767225600001, .direction = '-', .bytes = UINT64_MAX,
				     .cause = SPAN_LIT("max_bytes") };
	static const char *const parts[] = {
		"\"session\":null", "\"user\":null", "\"direction\":null", "\"ended_at\":null", "\"duration_ms\":null",
		"\"bytes\":9223372036854775807", "\"code\":null", "\"is_ok\":false", "\"rule\":null", "\"cause\":\"max_bytes\"",
	};
	struct store_reader *reader;
	struct fixture_page page = { .n = 0 };
	struct fixture f;

	store_all(&f, &transfer, 1);
	reader = fixture_reader(&f);
	CU_ASSERT_EQUAL(get_page(reader, (struct transfer_filter){ .limit = 9 }, &page), 0);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		CU_ASSERT_PTR_NOT_NULL(strstr(page.text, parts[i]));
	fixture_finish(&f, reader);
}

static void hostile_text_is_harmless(void)
{
	struct transfer transfer = fixture_transfer(1);
	struct store_reader *reader;
	struct fixture_page page = { .n = 0 };
	struct fixture f;

	transfer.path = SPAN_LIT("a\0b\xc3\x28'); DROP TABLE transfer;--");
	transfer.user = SPAN_LIT("\"},{\x01");
	store_all(&f, &transfer, 1);
	reader = fixture_reader(&f);
	CU_ASSERT_EQUAL(get_page(reader, (struct transfer_filter){ .limit = 9 }, &page), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(page.text, "\"path\":\"a\xef\xbf\xbd" "b\xef\xbf\xbd('); DROP TABLE transfer;--\""));
	CU_ASSERT_PTR_NOT_NULL(strstr(page.text, "\"user\":\"\\\"},{\\u0001\""));
	fixture_finish(&f, reader);
}

/* Three with the same start in a row, two sessions in turn. */
static void make_many(struct fixture *f, unsigned n)
{
	static char ids[FIXTURE_ROWS][40];
	struct transfer transfers[FIXTURE_ROWS];

	for (unsigned i = 0; i < n; i++) {
		transfers[i] = fixture_transfer(i);
		transfers[i].id = span_of(fixture_id(i, ids[i]));
		transfers[i].started_ms = 1767225600000 + i / 3;
		transfers[i].session = i % 2 ? SPAN_LIT("odd") : SPAN_LIT("even");
	}
	store_all(f, transfers, n);
}

static void pages_are_complete_and_in_order(void)
{
	static const struct {
		struct span session;
		unsigned step, first;
	} rows[] = { { SPAN_NONE, 1, 19 }, { SPAN_LIT("odd"), 2, 19 }, { SPAN_LIT("even"), 2, 18 } };
	struct store_reader *reader;
	struct fixture f;
	char id[40];

	make_many(&f, 20);
	reader = fixture_reader(&f);
	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		struct fixture_page page = { .n = 0 };
		unsigned next = rows[r].first + rows[r].step, n_pages = 0, n = 0;

		do {
			struct transfer_filter filter = { .session = rows[r].session, .cursor = span_of(page.cursor), .limit = 4 };

			CU_ASSERT_EQUAL_FATAL(get_page(reader, filter, &page), 0);
			for (unsigned i = 0; i < page.n && i < 4; i++, n++)
				CU_ASSERT_STRING_EQUAL(page.ids[i], fixture_id(next -= rows[r].step, id));
			n_pages++;
		} while (page.cursor[0] != '\0' && n_pages < 10);
		CU_ASSERT_EQUAL(n, 20 / rows[r].step);
	}
	fixture_finish(&f, reader);
}

/* Neither list sorts nor looks at what is not in its range. */
static void lists_read_an_index(void)
{
	static const struct {
		const char *where, *index;
	} rows[] = {
		{ "?4 IS NULL AND", "USING INDEX transfer_by_start" },
		{ "session = 'x' AND", "USING INDEX transfer_by_session (session=? AND " },
	};
	struct transfer transfer = fixture_transfer(1);
	struct fixture f;

	store_all(&f, &transfer, 1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char sql[512], text[256];

		snprintf(sql, sizeof(sql), "EXPLAIN QUERY PLAN SELECT path FROM transfer WHERE %s started_ms >= 1 AND "
			 "(started_ms, id) < (9, 'x') ORDER BY started_ms DESC, id DESC", rows[i].where);
		CU_ASSERT_PTR_NOT_NULL(strstr(fixture_plan(f.path, sql, text, sizeof(text)), rows[i].index));
		CU_ASSERT_PTR_NULL(strstr(text, "TEMP B-TREE"));
	}
	fixture_fini(&f);
}

static void make_variety(struct fixture *f)
{
	struct transfer t[4];

	for (unsigned i = 0; i < 4; i++)
		t[i] = (struct transfer){ .started_ms = 1000 + i, .verb = SPAN_LIT("RETR") };
	t[0].id = SPAN_LIT("0");
	t[0].session = SPAN_LIT("s1");
	t[0].user = SPAN_LIT("alice");
	t[0].path = SPAN_LIT("/pub/Manual.PDF");
	t[1].id = SPAN_LIT("1");
	t[1].session = SPAN_LIT("s1");
	t[1].alg = SPAN_LIT("office-ftp");
	t[1].verb = SPAN_LIT("STOR");
	t[2].id = SPAN_LIT("2");
	t[2].session = SPAN_LIT("s2");
	t[2].protocol = SPAN_LIT("tftp");
	t[2].path = SPAN_LIT("phones/100%.cfg");
	t[3].id = SPAN_LIT("3");
	t[3].user = SPAN_LIT("Bob");
	store_all(f, t, 4);
}

static void filters_select(void)
{
	static const struct {
		struct transfer_filter filter;
		const char *ids;
	} rows[] = {
		{ { .limit = 9 }, "3210" },
		{ { .since_ms = 1001, .limit = 9 }, "321" },
		{ { .since_ms = 1001, .until_ms = 1003, .limit = 9 }, "21" },
		{ { .session = SPAN_LIT("s1"), .limit = 9 }, "10" },
		{ { .session = SPAN_LIT("s1"), .until_ms = 1001, .limit = 9 }, "0" },
		{ { .session = SPAN_LIT("S1"), .limit = 9 }, "" },
		{ { .session = SPAN_LIT("s1"), .verb = SPAN_LIT("stor"), .limit = 9 }, "1" },
		{ { .alg = SPAN_LIT("office-ftp"), .limit = 9 }, "1" },
		{ { .alg = SPAN_LIT("Office-ftp"), .limit = 9 }, "" },
		{ { .protocol = SPAN_LIT("tftp"), .limit = 9 }, "2" },
		{ { .user = SPAN_LIT("alice"), .limit = 9 }, "0" },
		{ { .user = SPAN_LIT("bob"), .limit = 9 }, "" },
		{ { .verb = SPAN_LIT("retr"), .limit = 9 }, "320" },
		{ { .q = SPAN_LIT("manual.pdf"), .limit = 9 }, "0" },
		{ { .q = SPAN_LIT("BOB"), .limit = 9 }, "3" },
		{ { .q = SPAN_LIT("%"), .limit = 9 }, "2" },
		{ { .q = SPAN_LIT("' OR 1=1 --"), .limit = 9 }, "" },
		{ { .verb = SPAN_LIT("retr"), .limit = 2 }, "32+" }, /* + : there is a further page */
	};
	struct store_reader *reader;
	struct fixture f;

	make_variety(&f);
	reader = fixture_reader(&f);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fixture_page page = { .n = 0 };
		char ids[16];

		CU_ASSERT_EQUAL(get_page(reader, rows[i].filter, &page), 0);
		CU_ASSERT_STRING_EQUAL(fixture_page_text(&page, ids), rows[i].ids);
	}
	fixture_finish(&f, reader);
}

static void foreign_cursors_and_limits_are_refused(void)
{
	struct store_reader *reader;
	struct fixture_page page = { .n = 0 };
	struct fixture f;

	make_variety(&f);
	reader = fixture_reader(&f);
	CU_ASSERT_EQUAL(get_page(reader, (struct transfer_filter){ .cursor = SPAN_LIT("x-1"), .limit = 9 }, &page), ERR_PARSE);
	CU_ASSERT_EQUAL(get_page(reader, (struct transfer_filter){ .session = SPAN_LIT("s1"), .cursor = SPAN_LIT("1"), .limit = 9 },
				 &page), ERR_PARSE);
	CU_ASSERT_EQUAL(get_page(reader, (struct transfer_filter){ .limit = 0 }, &page), ERR_LIMIT);
	CU_ASSERT_EQUAL(get_page(reader, (struct transfer_filter){ .limit = 1001 }, &page), ERR_LIMIT);
	CU_ASSERT_EQUAL(get_page(reader, (struct transfer_filter){ .limit = 1000 }, &page), 0);
	CU_ASSERT_EQUAL(page.n, 4);
	fixture_finish(&f, reader);
}

static const struct unit_test tests[] = {
	{ "every_member_arrives", every_member_arrives },
	{ "what_is_not_known_is_null", what_is_not_known_is_null },
	{ "hostile_text_is_harmless", hostile_text_is_harmless },
	{ "pages_are_complete_and_in_order", pages_are_complete_and_in_order },
	{ "lists_read_an_index", lists_read_an_index },
	{ "filters_select", filters_select },
	{ "foreign_cursors_and_limits_are_refused", foreign_cursors_and_limits_are_refused },
};
UNIT_MAIN("transfer", tests)
