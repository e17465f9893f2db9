/* Call records: every member from struct cdr to JSON, hostile text, pages, filters, cursors. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/err.h"
#include "db/utf8.h"
#include "tests/unit/db_fixture.h"
#include "tests/unit/unit.h"

/* Writes records and opens a reader. */
static struct store_reader *store_all(struct fixture *f, const struct cdr *cdrs, unsigned n)
{
	struct answer answer = { 0, -1 };

	fixture_init(f);
	fixture_open(f);
	for (unsigned i = 0; i < n; i++)
		store_cdr(f->store, &cdrs[i], answer_done, &answer);
	CU_ASSERT_FATAL(fixture_wait(f, &answer.calls, n));
	CU_ASSERT_EQUAL(answer.result, 0);
	return fixture_reader(f);
}

static void every_member_arrives(void)
{
	static const char expected[] =
		"{\"id\":\"01900000-0000-7000-8000-000000000001\",\"node\":\"edge-1\",\"config_revision\":7,"
		"\"started_at\":\"2026-01-01T00:00:01.000Z\",\"ringing_at\":\"2026-01-01T00:00:01.120Z\","
		"\"answered_at\":\"2026-01-01T00:00:03.500Z\",\"ended_at\":\"2026-01-01T00:01:03.501Z\","
		"\"duration_ms\":60001,\"setup_ms\":2500,\"status\":200,\"ended_by\":\"callee\",\"cause\":\"normal\","
		"\"reason\":\"Q.850;cause=16;text=\\\"Normal\\\"\",\"legs\":{"
		"\"a\":{\"realm\":\"access\",\"peer\":null,\"call_id\":\"call-1@198.51.100.7\",\"local_tag\":\"tag-gw-a\","
		"\"remote_tag\":\"tag-alice\",\"from_uri\":\"sip:Alice@example.com\",\"to_uri\":\"sip:+4930123@example."
		"com\","
		"\"request_uri\":\"sip:+4930123@192.0.2.10\",\"signalling\":\"198.51.100.7:5060\","
		"\"user_agent\":\"phone \\\"X\\\" \\\\ 1.0\"},"
		"\"b\":{\"realm\":\"core\",\"peer\":\"softswitch\",\"call_id\":\"minted-b\",\"local_tag\":\"tag-gw-b\","
		"\"remote_tag\":\"tag-bob\",\"from_uri\":\"sip:alice@10.0.0.10\",\"to_uri\":\"sip:+4930123@10.0.0.20\","
		"\"request_uri\":\"sip:+4930123@10.0.0.20\",\"signalling\":\"10.0.0.20:5060\",\"user_agent\":null}},"
		"\"streams\":[{\"index\":0,\"side\":\"a\",\"kind\":\"audio\",\"local\":\"192.0.2.10:20000\","
		"\"signalled\":\"198.51.100.7:4000\",\"latched\":\"198.51.100.7:4002\",\"path\":\"relay\",\"packets\":"
		"3000,"
		"\"bytes\":516000,\"lost\":1,\"dropped\":2,\"rtcp_packets\":12,\"jitter_us\":125},"
		"{\"index\":0,\"side\":\"b\",\"kind\":\"audio\",\"local\":\"10.0.0.10:30000\",\"signalled\":\"10.0.0."
		"20:6000\","
		"\"latched\":\"\",\"path\":\"relay\",\"packets\":2999,\"bytes\":515828,\"lost\":0,\"dropped\":0,"
		"\"rtcp_packets\":11,\"jitter_us\":80}],\"decision\":[{\"rule\":\"to-core\"}]}";
	struct cdr cdr = fixture_cdr(1);
	struct fixture f;
	struct store_reader *reader = store_all(&f, &cdr, 1);
	struct fixture_page page = { .n = 0 };

	CU_ASSERT_EQUAL(cdr_get(reader, cdr.id, fixture_keep, &page), 0);
	CU_ASSERT_STRING_EQUAL(page.text, expected);
	CU_ASSERT_EQUAL(cdr_get(reader, SPAN_LIT("other"), fixture_keep, &page), ERR_NOT_FOUND);
	CU_ASSERT_EQUAL(cdr_get(reader, SPAN_NONE, fixture_keep, &page), ERR_NOT_FOUND);
	/* The streams can be asked about with SQL, too. */
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT sum(value ->> 7) FROM cdr, json_each(streams)"), 5999);
	fixture_finish(&f, reader);
}

static void what_did_not_happen_is_null(void)
{
	struct cdr cdr = {
		.id = SPAN_LIT("x"), .started_ms = 1767225600001, .sip_status = 404, .ended_by = CDR_END_GATEWAY
	};
	struct fixture f;
	struct store_reader *reader = store_all(&f, &cdr, 1);
	static const char *const parts[] = {
		"\"node\":null",
		"\"config_revision\":0",
		"\"started_at\":\"2026-01-01T00:00:00.001Z\"",
		"\"ringing_at\":null",
		"\"answered_at\":null",
		"\"ended_at\":null",
		"\"duration_ms\":null",
		"\"setup_ms\":null",
		"\"status\":404",
		"\"ended_by\":\"gateway\"",
		"\"cause\":null",
		"\"b\":{\"realm\":null",
		"\"streams\":[]",
		"\"decision\":[]",
	};
	struct fixture_page page = { .n = 0 };

	CU_ASSERT_EQUAL(cdr_get(reader, cdr.id, fixture_keep, &page), 0);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		CU_ASSERT_PTR_NOT_NULL(strstr(page.text, parts[i]));
	fixture_finish(&f, reader);
}

static void every_millisecond_is_exact(void)
{
	struct cdr cdrs[1000];
	struct fixture f;
	struct store_reader *reader;

	for (unsigned i = 0; i < 1000; i++) {
		static char ids[1000][8];

		snprintf(ids[i], sizeof(ids[i]), "%u", i);
		cdrs[i] = (struct cdr){ .id = span_of(ids[i]), .started_ms = 1767225600000 + i };
	}
	reader = store_all(&f, cdrs, 1000);
	for (unsigned i = 0; i < 1000; i++) {
		struct fixture_page page = { .n = 0 };
		char part[64];

		CU_ASSERT_EQUAL(cdr_get(reader, cdrs[i].id, fixture_keep, &page), 0);
		snprintf(part, sizeof(part), "\"started_at\":\"2026-01-01T00:00:00.%03uZ\"", i);
		CU_ASSERT_PTR_NOT_NULL(strstr(page.text, part));
	}
	fixture_finish(&f, reader);
}

static void hostile_text_is_harmless(void)
{
	struct cdr_stream stream = { .side = 'a', .kind = SPAN_LIT("\"}],\"x\":[\x01\\"), .local = SPAN_LIT("\xff\xfe"),
				     .packets = UINT64_MAX };
	struct cdr cdr = fixture_cdr(1);
	struct fixture f;
	struct store_reader *reader;
	struct fixture_page page = { .n = 0 };

	cdr.a.user_agent = SPAN_LIT("a\0b\xc3\x28\xed\xa0\x80'); DROP TABLE cdr;--");
	cdr.a.from_uri = SPAN_LIT("sip:j\xc3\xb6rg@example.com");
	cdr.reason = SPAN_LIT("\xf0\x9f\x93\x9e");
	cdr.decision_json = SPAN_LIT("{not json");
	cdr.streams = &stream;
	cdr.n_streams = 1;
	cdr.ended_by = (enum cdr_end)99;
	reader = store_all(&f, &cdr, 1);
	CU_ASSERT_EQUAL(cdr_get(reader, cdr.id, fixture_keep, &page), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(page.text,
				      "\"user_agent\":\"a\xef\xbf\xbd"
				      "b\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd'); DROP TABLE cdr;--\""));
	CU_ASSERT_PTR_NOT_NULL(strstr(page.text, "sip:j\xc3\xb6rg@example.com"));
	CU_ASSERT_PTR_NOT_NULL(strstr(page.text, "\"reason\":\"\xf0\x9f\x93\x9e\""));
	CU_ASSERT_PTR_NOT_NULL(strstr(page.text, "\"decision\":[]"));
	CU_ASSERT_PTR_NOT_NULL(
		strstr(page.text, "\"kind\":\"\\\"}],\\\"x\\\":[\\u0001\\\\\",\"local\":\"\xef\xbf\xbd\xef\xbf\xbd\""));
	CU_ASSERT_PTR_NOT_NULL(strstr(page.text, "\"packets\":9223372036854775807"));
	CU_ASSERT_PTR_NOT_NULL(strstr(page.text, "\"ended_by\":null"));
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT json_valid(streams) FROM cdr"), 1);
	fixture_finish(&f, reader);
}

static void utf8_table(void)
{
	static const struct { const char *in; size_t valid; const char *out; } rows[] = {
		{ "", 0, "" },
		{ "plain text, longer than eight octets", 36, "plain text, longer than eight octets" },
		{ "\xc3\xa9", 2, "\xc3\xa9" },
		{ "\xe2\x82\xac", 3, "\xe2\x82\xac" },
		{ "\xf4\x8f\xbf\xbf", 4, "\xf4\x8f\xbf\xbf" },
		{ "\xf4\x90\x80\x80", 0, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" }, /* above U+10FFFF */
		{ "\xc0\x80", 0, "\xef\xbf\xbd\xef\xbf\xbd" },                                 /* overlong */
		{ "\xe0\x9f\xbf", 0, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "12345678\x80", 8, "12345678\xef\xbf\xbd" },
		{ "1234567\xc3", 7, "1234567\xef\xbf\xbd" },                                   /* cut */
		{ "ab\xe2\x82", 2, "ab\xef\xbf\xbd\xef\xbf\xbd" },
		{ "ab\xf0\x9f\x93", 2, "ab\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\x7f\x01", 2, "\x7f\x01" },
	};
	char out[256];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct span in = span_of(rows[i].in);

		CU_ASSERT_EQUAL(utf8_valid(in), rows[i].valid);
		CU_ASSERT(span_eq((struct span){ out, utf8_clean(in, out) }, span_of(rows[i].out)));
	}
	CU_ASSERT_EQUAL(utf8_valid(SPAN_LIT("1234\0" "678")), 4);
	CU_ASSERT_EQUAL(utf8_clean(SPAN_LIT("1234\0" "678"), out), 10);
}

static int get_page(struct store_reader *reader, struct cdr_filter filter, struct fixture_page *page)
{
	page->n = 0;
	return cdr_list(reader, &filter, fixture_keep, page, page->cursor, sizeof(page->cursor));
}

/* n records, `per_ms` of them with the same start. */
static struct store_reader *store_many(struct fixture *f, unsigned n, unsigned per_ms)
{
	static char ids[64][40];
	struct cdr cdrs[64];

	for (unsigned i = 0; i < n; i++) {
		cdrs[i] = fixture_cdr(i);
		cdrs[i].id = span_of(fixture_id(i, ids[i]));
		cdrs[i].started_ms = 1767225600000 + i / per_ms;
	}
	return store_all(f, cdrs, n);
}

static void pages_are_complete_and_in_order(void)
{
	struct fixture f;
	struct store_reader *reader = store_many(&f, 20, 3);
	struct fixture_page page = { .n = 0 };
	unsigned next = 20, n_pages = 0;
	char id[40];

	do {
		CU_ASSERT_EQUAL_FATAL(
			get_page(reader, (struct cdr_filter){ .cursor = span_of(page.cursor), .limit = 4 }, &page), 0);
		CU_ASSERT_EQUAL(page.n, 4);
		for (unsigned i = 0; i < page.n && i < 4; i++)
			CU_ASSERT_STRING_EQUAL(page.ids[i], fixture_id(--next, id));
		n_pages++;
	} while (page.cursor[0] != '\0' && n_pages < 10);
	CU_ASSERT_EQUAL(n_pages, 5);
	CU_ASSERT_EQUAL(next, 0);
	fixture_finish(&f, reader);
}

static void new_records_do_not_move_a_page(void)
{
	struct fixture f;
	struct store_reader *reader = store_many(&f, 10, 1);
	struct fixture_page page = { .n = 0 };
	struct answer answer = { 0, -1 };
	struct cdr cdr = fixture_cdr(50);
	char id[40];

	CU_ASSERT_EQUAL(get_page(reader, (struct cdr_filter){ .limit = 4 }, &page), 0);
	CU_ASSERT_STRING_EQUAL(page.ids[3], fixture_id(6, id));
	store_cdr(f.store, &cdr, answer_done, &answer);
	CU_ASSERT(fixture_wait(&f, &answer.calls, 1));
	CU_ASSERT_EQUAL(get_page(reader, (struct cdr_filter){ .cursor = span_of(page.cursor), .limit = 6 }, &page), 0);
	CU_ASSERT_EQUAL(page.n, 6);
	CU_ASSERT_STRING_EQUAL(page.ids[0], fixture_id(5, id));
	CU_ASSERT_STRING_EQUAL(page.ids[5], fixture_id(0, id));
	CU_ASSERT_STRING_EQUAL(page.cursor, "");
	CU_ASSERT_EQUAL(get_page(reader, (struct cdr_filter){ .limit = 1 }, &page), 0);
	CU_ASSERT_STRING_EQUAL(page.ids[0],
			       fixture_id(50, id)); /* a reader sees what was written since it was opened */
	fixture_finish(&f, reader);
}

static struct store_reader *store_variety(struct fixture *f)
{
	struct cdr cdrs[4];

	for (unsigned i = 0; i < 4; i++)
		cdrs[i] = (struct cdr){ .started_ms = 1000 + i, .sip_status = 200 };
	cdrs[0].id = SPAN_LIT("0");
	cdrs[0].a.realm = SPAN_LIT("access");
	cdrs[0].a.from_uri = SPAN_LIT("sip:Alice@host.example");
	cdrs[0].a.call_id = SPAN_LIT("abc@1");
	cdrs[1].id = SPAN_LIT("1");
	cdrs[1].a.realm = SPAN_LIT("core");
	cdrs[1].b.realm = SPAN_LIT("access");
	cdrs[1].b.to_uri = SPAN_LIT("tel:+4930123");
	cdrs[1].sip_status = 404;
	cdrs[2].id = SPAN_LIT("2");
	cdrs[2].b.peer = SPAN_LIT("trunk");
	cdrs[2].b.call_id = SPAN_LIT("xyz@2");
	cdrs[2].a.request_uri = SPAN_LIT("sip:+4930999@host.example;user=phone");
	cdrs[2].sip_status = 503;
	cdrs[3].id = SPAN_LIT("3");
	cdrs[3].a.peer = SPAN_LIT("trunk");
	cdrs[3].b.request_uri = SPAN_LIT("sip:100%25@host.example");
	return store_all(f, cdrs, 4);
}

static void filters_select(void)
{
	static const struct { struct cdr_filter filter; const char *ids; } rows[] = {
		{ { .limit = 9 }, "3210" },
		{ { .since_ms = 1001, .limit = 9 }, "321" },
		{ { .until_ms = 1002, .limit = 9 }, "10" },
		{ { .since_ms = 1001, .until_ms = 1003, .limit = 9 }, "21" },
		{ { .since_ms = 1003, .until_ms = 1001, .limit = 9 }, "" },
		{ { .realm = SPAN_LIT("access"), .limit = 9 }, "10" },
		{ { .realm = SPAN_LIT("ACCESS"), .limit = 9 }, "" },
		{ { .peer = SPAN_LIT("trunk"), .limit = 9 }, "32" },
		{ { .status_min = 400, .status_max = 499, .limit = 9 }, "1" },
		{ { .status_min = 400, .limit = 9 }, "21" },
		{ { .status_max = 299, .limit = 9 }, "30" },
		{ { .q = SPAN_LIT("alice"), .limit = 9 }, "0" },
		{ { .q = SPAN_LIT("4930"), .limit = 9 }, "21" },
		{ { .q = SPAN_LIT("host"), .limit = 9 }, "" }, /* not a user part */
		{ { .q = SPAN_LIT("phone"), .limit = 9 }, "" },
		{ { .q = SPAN_LIT("abc@1"), .limit = 9 }, "0" },
		{ { .q = SPAN_LIT("XYZ"), .limit = 9 }, "2" },
		{ { .q = SPAN_LIT("%"), .limit = 9 }, "3" },
		{ { .q = SPAN_LIT("_"), .limit = 9 }, "" },
		{ { .q = SPAN_LIT("' OR 1=1 --"), .limit = 9 }, "" },
		{ { .q = SPAN_LIT("4930"), .peer = SPAN_LIT("trunk"), .status_min = 500, .limit = 9 }, "2" },
		{ { .peer = SPAN_LIT("trunk"), .limit = 1 }, "3+" }, /* + : there is a further page */
		{ { .realm = SPAN_LIT("access"), .limit = 2 }, "10" },
	};
	struct fixture f;
	struct store_reader *reader = store_variety(&f);

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
	static const struct { const char *cursor; int err;
	} rows[] = {
		{ "-", ERR_PARSE },
		{ "x-1", ERR_PARSE },
		{ "1", ERR_PARSE },
		{ "1234567890abcdef-1", ERR_PARSE },
		{ "12 -3", ERR_PARSE },
		{ "FF-3", ERR_PARSE },
		{ "ff-", 0 },
		{ "3e8-0", 0 },
		{ "7fffffffffffffff-1", ERR_PARSE },
		{ "7fffffffffffff-'", 0 },
	};
	struct fixture f;
	struct store_reader *reader = store_variety(&f);
	struct fixture_page page = { .n = 0 };
	char long_cursor[200], small[3] = "";

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CU_ASSERT_EQUAL(
			get_page(reader, (struct cdr_filter){ .cursor = span_of(rows[i].cursor), .limit = 9 }, &page),
			rows[i].err);
	memset(long_cursor, '1', sizeof(long_cursor));
	long_cursor[3] = '-';
	CU_ASSERT_EQUAL(get_page(reader,
				 (struct cdr_filter){ .cursor = { long_cursor, sizeof(long_cursor) }, .limit = 9 },
				 &page),
			ERR_PARSE);
	CU_ASSERT_EQUAL(get_page(reader, (struct cdr_filter){ .limit = 0 }, &page), ERR_LIMIT);
	CU_ASSERT_EQUAL(get_page(reader, (struct cdr_filter){ .limit = 1001 }, &page), ERR_LIMIT);
	CU_ASSERT_EQUAL(cdr_list(reader, &(struct cdr_filter){ .limit = 1 }, fixture_keep, &page, small, sizeof(small)),
			ERR_LIMIT);
	/* An error leaves the reader usable. */
	CU_ASSERT_EQUAL(get_page(reader, (struct cdr_filter){ .limit = 1000 }, &page), 0);
	CU_ASSERT_EQUAL(page.n, 4);
	fixture_finish(&f, reader);
}

static void a_page_looks_at_a_bounded_number_of_records(void)
{
	struct fixture f;
	struct store_reader *reader = store_variety(&f);
	struct fixture_page page = { .n = 0 };
	struct cdr_filter rare = { .peer = SPAN_LIT("rare"), .limit = 5 };
	char sql[512];

	snprintf(sql, sizeof(sql),
		 "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %u) "
		 "INSERT INTO cdr (id, config_revision, started_ms, status, b_peer, streams, decision) "
		 "SELECT 'n' || i, 1, 2000 + i, 200, CASE i WHEN 1 THEN 'rare' END, '[]', '[]' FROM n",
		 CDR_SCAN_MAX + 10);
	CU_ASSERT(fixture_exec(f.path, sql));
	CU_ASSERT_EQUAL(get_page(reader, rare, &page), 0);
	CU_ASSERT_EQUAL(page.n, 0);
	CU_ASSERT_STRING_NOT_EQUAL(page.cursor, "");
	rare.cursor = span_of(page.cursor);
	CU_ASSERT_EQUAL(get_page(reader, rare, &page), 0);
	CU_ASSERT_EQUAL(page.n, 1);
	CU_ASSERT_STRING_EQUAL(page.ids[0], "n1");
	CU_ASSERT_STRING_EQUAL(page.cursor, "");
	fixture_finish(&f, reader);
}

static void a_reader_cannot_write_and_needs_a_file(void)
{
	struct store_reader *reader = NULL;
	struct fixture f;
	char path[FIXTURE_PATH + 32];

	fixture_init(&f);
	snprintf(path, sizeof(path), "%s/none.db", f.dir);
	CU_ASSERT(store_reader_open(path, &reader) < 0);
	CU_ASSERT_PTR_NULL(reader);
	CU_ASSERT(access(path, F_OK) < 0);
	store_reader_close(NULL);
	fixture_fini(&f);
}

static const struct unit_test tests[] = {
	{ "every_member_arrives", every_member_arrives },
	{ "what_did_not_happen_is_null", what_did_not_happen_is_null },
	{ "every_millisecond_is_exact", every_millisecond_is_exact },
	{ "hostile_text_is_harmless", hostile_text_is_harmless },
	{ "utf8_table", utf8_table },
	{ "pages_are_complete_and_in_order", pages_are_complete_and_in_order },
	{ "new_records_do_not_move_a_page", new_records_do_not_move_a_page },
	{ "filters_select", filters_select },
	{ "foreign_cursors_and_limits_are_refused", foreign_cursors_and_limits_are_refused },
	{ "a_page_looks_at_a_bounded_number_of_records", a_page_looks_at_a_bounded_number_of_records },
	{ "a_reader_cannot_write_and_needs_a_file", a_reader_cannot_write_and_needs_a_file },
};
UNIT_MAIN("cdr", tests)
