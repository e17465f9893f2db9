/* See tests/unit/db_fixture.h. */
#include "tests/unit/db_fixture.h"

#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/mock/fake_loop.h"
#include "tests/unit/unit.h"

#define WAIT_MS 30000

static void on_alarm(void *arg, const struct bus_event *event)
{
	struct fixture *f = arg;
	size_t len = strlen(f->alarms);

	snprintf(f->alarms + len, sizeof(f->alarms) - len, "%.*s ", SPAN_ARG(event->id));
}

static void on_alarm_cleared(void *arg, const struct bus_event *event)
{
	struct fixture *f = arg;
	char name[64];
	char *at;

	snprintf(name, sizeof(name), "%.*s ", SPAN_ARG(event->id));
	at = strstr(f->alarms, name);
	CU_ASSERT_PTR_NOT_NULL(at);
	if (at != NULL)
		memmove(at, at + strlen(name), strlen(at + strlen(name)) + 1);
}

void fixture_init(struct fixture *f)
{
	const char *tmp = getenv("TMPDIR");

	*f = (struct fixture){ .store = NULL };
	snprintf(f->dir, sizeof(f->dir), "%s/postern-db-XXXXXX", tmp != NULL ? tmp : "/tmp");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/postern.db", f->dir);
	CU_ASSERT_EQUAL_FATAL(loop_new(&f->loop), 0);
	f->bus = bus_new();
	CU_ASSERT_PTR_NOT_NULL_FATAL(f->bus);
	CU_ASSERT_EQUAL(bus_subscribe(f->bus, BUS_ALARM, on_alarm, f), 0);
	CU_ASSERT_EQUAL(bus_subscribe(f->bus, BUS_ALARM_CLEARED, on_alarm_cleared, f), 0);
}

void fixture_open(struct fixture *f)
{
	char error[512] = "";

	if (store_open(f->loop, f->bus, f->path, error, sizeof(error), &f->store) < 0) {
		printf("# %s\n", error);
		CU_FAIL_FATAL("store_open");
	}
}

void fixture_close(struct fixture *f)
{
	store_close(f->store);
	f->store = NULL;
}

static void remove_dir(const char *path)
{
	DIR *dir = opendir(path);
	char name[2 * FIXTURE_PATH + 32];

	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		unlink(name);
	}
	if (dir != NULL)
		closedir(dir);
	rmdir(path);
}

void fixture_fini(struct fixture *f)
{
	fixture_close(f);
	CU_ASSERT_EQUAL(fake_loop_open_handles(f->loop), 0);
	bus_free(f->bus);
	loop_free(f->loop);
	remove_dir(f->dir);
}

void answer_done(void *arg, int result)
{
	struct answer *answer = arg;

	answer->calls++;
	answer->result = result;
}

bool fixture_wait(struct fixture *f, const unsigned *counter, unsigned n)
{
	for (unsigned i = 0; i < WAIT_MS; i++) {
		fake_loop_turn(f->loop);
		if (*counter >= n)
			return true;
		usleep(1000);
	}
	return false;
}

bool fixture_wait_alarm(struct fixture *f, const char *name, bool is_raised)
{
	for (unsigned i = 0; i < WAIT_MS; i++) {
		fake_loop_turn(f->loop);
		if ((strstr(f->alarms, name) != NULL) == is_raised)
			return true;
		usleep(1000);
	}
	return false;
}

const char *fixture_id(unsigned n, char out[40])
{
	snprintf(out, 40, "01900000-0000-7000-8000-%012u", n);
	return out;
}

struct cdr fixture_cdr(unsigned n)
{
	static const struct cdr_stream streams[] = {
		{ 0, 'a', SPAN_LIT("audio"), SPAN_LIT("192.0.2.10:20000"), SPAN_LIT("198.51.100.7:4000"),
		  SPAN_LIT("198.51.100.7:4002"), SPAN_LIT("relay"), 3000, 516000, 1, 2, 12, 125 },
		{ 0, 'b', SPAN_LIT("audio"), SPAN_LIT("10.0.0.10:30000"), SPAN_LIT("10.0.0.20:6000"), SPAN_NONE,
		  SPAN_LIT("relay"), 2999, 515828, 0, 0, 11, 80 },
	};
	static char id[40], call_id[64];
	const int64_t base_ms = INT64_C(1767225600000) + (int64_t)n * 1000; /* 2026-01-01T00:00:00Z */

	fixture_id(n, id);
	snprintf(call_id, sizeof(call_id), "call-%u@198.51.100.7", n);
	return (struct cdr){
		.id = span_of(id),
		.node = SPAN_LIT("edge-1"),
		.config_revision = 7,
		.started_ms = base_ms,
		.ringing_ms = base_ms + 120,
		.answered_ms = base_ms + 2500,
		.ended_ms = base_ms + 62501,
		.sip_status = 200,
		.ended_by = CDR_END_CALLEE,
		.cause = SPAN_LIT("normal"),
		.reason = SPAN_LIT("Q.850;cause=16;text=\"Normal\""),
		.a = { SPAN_LIT("access"), SPAN_NONE, span_of(call_id), SPAN_LIT("tag-gw-a"), SPAN_LIT("tag-alice"),
		       SPAN_LIT("sip:Alice@example.com"), SPAN_LIT("sip:+4930123@example.com"),
		       SPAN_LIT("sip:+4930123@192.0.2.10"), SPAN_LIT("198.51.100.7:5060"),
		       SPAN_LIT("phone \"X\" \\ 1.0") },
		.b = { SPAN_LIT("core"), SPAN_LIT("softswitch"), SPAN_LIT("minted-b"), SPAN_LIT("tag-gw-b"),
		       SPAN_LIT("tag-bob"), SPAN_LIT("sip:alice@10.0.0.10"), SPAN_LIT("sip:+4930123@10.0.0.20"),
		       SPAN_LIT("sip:+4930123@10.0.0.20"), SPAN_LIT("10.0.0.20:5060"), SPAN_NONE },
		.decision_json = SPAN_LIT("[{\"rule\":\"to-core\"}]"),
		.streams = streams,
		.n_streams = 2,
	};
}

struct transfer fixture_transfer(unsigned n)
{
	static char id[40];
	const int64_t base_ms = INT64_C(1767225600000) + (int64_t)n * 1000; /* 2026-01-01T00:00:00Z */

	return (struct transfer){
		.id = span_of(fixture_id(n, id)),
		.session = SPAN_LIT("01900000-0000-7000-8000-00000000aaaa"),
		.node = SPAN_LIT("edge-1"),
		.alg = SPAN_LIT("office-ftp"),
		.protocol = SPAN_LIT("ftp"),
		.client = SPAN_LIT("192.0.2.77:40000"),
		.server = SPAN_LIT("10.0.0.5:21"),
		.data = SPAN_LIT("192.0.2.77:40001 10.0.0.5:50000"),
		.user = SPAN_LIT("Alice"),
		.verb = SPAN_LIT("STOR"),
		.path = SPAN_LIT("/in/Report \"1\".txt"),
		.direction = 'u',
		.started_ms = base_ms,
		.ended_ms = base_ms + 1250,
		.bytes = 4096,
		.code = 226,
		.is_ok = true,
		.data_path = SPAN_LIT("nft"),
		.rule = SPAN_LIT("partners-up"),
	};
}

static const char *column_text(const char *path, const char *sql, int column, char *out, size_t size)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *stmt = NULL;
	const unsigned char *text = NULL;

	snprintf(out, size, "(failed)");
	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
	    sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
		text = sqlite3_column_text(stmt, column);
	if (text != NULL)
		snprintf(out, size, "%s", (const char *)text);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return out;
}

const char *fixture_text(const char *path, const char *sql, char *out, size_t size)
{
	return column_text(path, sql, 0, out, size);
}

const char *fixture_plan(const char *path, const char *sql, char *out, size_t size)
{
	return column_text(path, sql, 3, out, size);
}

struct store_reader *fixture_reader(const struct fixture *f)
{
	struct store_reader *reader = NULL;

	CU_ASSERT_EQUAL_FATAL(store_reader_open(f->path, &reader), 0);
	return reader;
}

void fixture_finish(struct fixture *f, struct store_reader *reader)
{
	store_reader_close(reader);
	fixture_fini(f);
}

void fixture_keep(void *arg, struct span json)
{
	struct fixture_page *page = arg;

	snprintf(page->text, sizeof(page->text), "%.*s", SPAN_ARG(json));
	if (page->n < FIXTURE_ROWS && span_starts(json, SPAN_LIT("{\"id\":\"")))
		snprintf(page->ids[page->n], 40, "%.*s", (int)span_find(span_sub(json, 7, json.len), '"'), json.ptr + 7);
	page->n++;
}

const char *fixture_page_text(const struct fixture_page *page, char out[16])
{
	unsigned n = 0;

	for (; n < page->n && n < 8; n++)
		out[n] = page->ids[n][0];
	if (page->cursor[0] != '\0')
		out[n++] = '+';
	out[n] = '\0';
	return out;
}

int64_t fixture_number(const char *path, const char *sql)
{
	char text[64];
	char *end;
	long long value;

	fixture_text(path, sql, text, sizeof(text));
	value = strtoll(text, &end, 10);
	return *end == '\0' && end != text ? value : -1;
}

bool fixture_exec(const char *path, const char *sql)
{
	sqlite3 *db = NULL;
	bool is_done = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) == SQLITE_OK &&
		       sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;

	sqlite3_close(db);
	return is_done;
}
