/* db/store.h: answers, order, limits, failing disks, crashes. The disk fails through tests/mock/disk.h, the clock is
 * set by hand. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/err.h"
#include "tests/mock/disk.h"
#include "tests/mock/fake_loop.h"
#include "tests/unit/db_fixture.h"
#include "tests/unit/unit.h"

static struct store_stats stats_of(const struct fixture *f)
{
	struct store_stats stats;

	store_stats(f->store, &stats);
	return stats;
}

static void submit(struct fixture *f, unsigned n, struct answer *answer)
{
	struct cdr cdr = fixture_cdr(n);

	store_cdr(f->store, &cdr, answer != NULL ? answer_done : NULL, answer);
}

static void record_is_written_and_answered(void)
{
	struct fixture f;
	struct answer answer = { 0, -1 };
	struct stat st;

	fixture_init(&f);
	fixture_open(&f);
	submit(&f, 1, &answer);
	CU_ASSERT_EQUAL(answer.calls, 0); /* never from within the call */
	CU_ASSERT(fixture_wait(&f, &answer.calls, 1));
	CU_ASSERT_EQUAL(answer.result, 0);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM cdr"), 1);
	CU_ASSERT_EQUAL(stats_of(&f).cdrs_written, 1);
	CU_ASSERT_EQUAL(stats_of(&f).queue_depth, 0);
	CU_ASSERT_EQUAL(stat(f.path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
	fake_loop_advance(f.loop, 60000);
	CU_ASSERT_EQUAL(answer.calls, 1);
	fixture_fini(&f);
}

struct order {
	unsigned calls;
	unsigned next;
	bool is_broken;
};
struct ticket {
	struct order *order;
	unsigned n;
};

static void ordered_done(void *arg, int result)
{
	struct ticket *ticket = arg;

	ticket->order->is_broken |= result != 0 || ticket->n != ticket->order->next;
	ticket->order->next++;
	ticket->order->calls++;
}

static void what_comes_together_is_committed_together_in_order(void)
{
	enum { N = 500 };
	static struct ticket tickets[N];
	struct order order = { 0, 0, false };
	struct fixture f;

	fixture_init(&f);
	fixture_open(&f);
	disk_set(DISK_HANGS); /* the first one is on its way, the others gather */
	for (unsigned i = 0; i < N; i++) {
		struct cdr cdr = fixture_cdr(i);

		tickets[i] = (struct ticket){ &order, i };
		store_cdr(f.store, &cdr, ordered_done, &tickets[i]);
	}
	disk_set(DISK_WORKS);
	CU_ASSERT(fixture_wait(&f, &order.calls, N));
	CU_ASSERT(!order.is_broken);
	CU_ASSERT(stats_of(&f).commits <= 3);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM cdr"), N);
	CU_ASSERT_EQUAL(
		fixture_number(f.path, "SELECT count(*) FROM cdr a JOIN cdr b ON b.seq = a.seq + 1 WHERE b.id < a.id"),
		0);
	fixture_fini(&f);
}

static void same_id_is_stored_once(void)
{
	struct fixture f;
	struct answer answer = { 0, -1 };

	fixture_init(&f);
	fixture_open(&f);
	submit(&f, 1, &answer);
	submit(&f, 1, &answer);
	CU_ASSERT(fixture_wait(&f, &answer.calls, 2));
	CU_ASSERT_EQUAL(answer.result, 0);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM cdr"), 1);
	fixture_fini(&f);
}

static void close_commits_and_answers(void)
{
	struct fixture f;
	struct answer answer = { 0, -1 };

	fixture_init(&f);
	fixture_open(&f);
	for (unsigned i = 0; i < 100; i++)
		submit(&f, i, &answer);
	store_live_put(f.store, SPAN_LIT("call-1"), SPAN_LIT("{}"));
	fixture_close(&f);
	CU_ASSERT_EQUAL(answer.calls, 100);
	CU_ASSERT_EQUAL(answer.result, 0);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM cdr"), 100);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM live"), 1);
	fake_loop_advance(f.loop, 60000);
	CU_ASSERT_EQUAL(answer.calls, 100);
	fixture_fini(&f);
}

static void close_without_a_disk_says_closed(void)
{
	struct fixture f;
	struct answer answer = { 0, 0 };

	fixture_init(&f);
	fixture_open(&f);
	disk_set(DISK_IS_FULL);
	for (unsigned i = 0; i < 10; i++)
		submit(&f, i, &answer);
	fixture_close(&f);
	disk_set(DISK_WORKS);
	CU_ASSERT_EQUAL(answer.calls, 10);
	CU_ASSERT_EQUAL(answer.result, ERR_CLOSED);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM cdr"), 0);
	fixture_fini(&f);
}

static void disk_fails_and_comes_back(void)
{
	static const struct {
		enum disk_mode mode;
		int result;
	} rows[] = { { DISK_IS_FULL, -ENOSPC }, { DISK_IS_BROKEN, -EIO } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fixture f;
		struct answer early = { 0, 0 }, late = { 0, 0 }, after = { 0, -1 };

		fixture_init(&f);
		fixture_open(&f);
		disk_set(rows[i].mode);
		submit(&f, 1, &early);
		CU_ASSERT(fixture_wait_alarm(&f, "store-failing", true));
		CU_ASSERT(stats_of(&f).is_failing);
		fake_loop_advance(f.loop, 1999);
		CU_ASSERT_EQUAL(early.calls, 0);
		submit(&f, 2, &late);
		fake_loop_advance(f.loop, 1);
		CU_ASSERT_EQUAL(early.calls, 1);
		CU_ASSERT_EQUAL(early.result, rows[i].result);
		CU_ASSERT_EQUAL(late.calls, 0);
		fake_loop_advance(f.loop, 2000);
		CU_ASSERT_EQUAL(late.calls, 1);

		disk_set(DISK_WORKS);
		CU_ASSERT(fixture_wait_alarm(&f, "store-failing", false));
		submit(&f, 3, &after);
		CU_ASSERT(fixture_wait(&f, &after.calls, 1));
		CU_ASSERT_EQUAL(after.result, 0);
		CU_ASSERT_EQUAL(early.calls, 1); /* once is enough */
		CU_ASSERT_EQUAL(late.calls, 1);
		CU_ASSERT_STRING_EQUAL(f.alarms, "");
		CU_ASSERT_EQUAL(stats_of(&f).cdrs_lost, 0);
		CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM cdr"), 3);
		fixture_fini(&f);
	}
}

static void hanging_disk_delays_nobody(void)
{
	struct fixture f;
	struct answer answer = { 0, 0 }, after = { 0, -1 };

	fixture_init(&f);
	fixture_open(&f);
	disk_set(DISK_HANGS);
	submit(&f, 1, &answer);
	fake_loop_advance(f.loop, 2000);
	CU_ASSERT_EQUAL(answer.calls, 1);
	CU_ASSERT_EQUAL(answer.result, -ETIMEDOUT);
	CU_ASSERT_STRING_EQUAL(f.alarms, "store-slow ");
	disk_set(DISK_WORKS);
	submit(&f, 2, &after);
	CU_ASSERT(fixture_wait(&f, &after.calls, 1));
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM cdr"), 2);
	fixture_fini(&f);
}

static void queue_of_records_is_bounded(void)
{
	struct fixture f;
	struct answer taken = { 0, -1 }, refused = { 0, 0 }, after = { 0, -1 };

	fixture_init(&f);
	fixture_open(&f);
	disk_set(DISK_HANGS);
	for (unsigned i = 0; i < STORE_CDRS_MAX; i++)
		submit(&f, i, &taken);
	for (unsigned i = 0; i < 3; i++)
		submit(&f, STORE_CDRS_MAX + i, &refused);
	submit(&f, STORE_CDRS_MAX + 3, NULL);
	CU_ASSERT_EQUAL(refused.calls, 0);
	fake_loop_turn(f.loop);
	CU_ASSERT_EQUAL(refused.calls, 3);
	CU_ASSERT_EQUAL(refused.result, ERR_LIMIT);
	CU_ASSERT_EQUAL(stats_of(&f).cdrs_lost, 4);
	CU_ASSERT_STRING_EQUAL(f.alarms, "store-full ");
	/* Live calls never take the room of records, nor the other way round. */
	store_live_put(f.store, SPAN_LIT("call-1"), SPAN_LIT("{}"));
	CU_ASSERT_EQUAL(stats_of(&f).live_lost, 0);

	disk_set(DISK_WORKS);
	CU_ASSERT(fixture_wait(&f, &taken.calls, STORE_CDRS_MAX));
	CU_ASSERT_EQUAL(taken.result, 0);
	submit(&f, STORE_CDRS_MAX, &after);
	CU_ASSERT(fixture_wait(&f, &after.calls, 1));
	CU_ASSERT_EQUAL(after.result, 0);
	CU_ASSERT(fixture_wait_alarm(&f, "store-full", false));
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM cdr"), STORE_CDRS_MAX + 1);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM live"), 1);
	fixture_fini(&f);
}

static void memory_of_records_is_bounded(void)
{
	enum { BIG = 1 << 20 };
	static char text[BIG];
	struct fixture f;
	struct answer too_big = { 0, 0 }, many = { 0, 0 };
	struct cdr cdr = fixture_cdr(1);

	memset(text, 'x', sizeof(text));
	fixture_init(&f);
	fixture_open(&f);
	cdr.reason = (struct span){ text, BIG };
	store_cdr(f.store, &cdr, answer_done, &too_big);
	fake_loop_turn(f.loop);
	CU_ASSERT_EQUAL(too_big.calls, 1);
	CU_ASSERT_EQUAL(too_big.result, ERR_LIMIT);

	disk_set(DISK_HANGS);
	cdr.reason.len = BIG / 2;
	for (unsigned i = 0; i < 140; i++)
		store_cdr(f.store, &cdr, answer_done, &many);
	fake_loop_turn(f.loop);
	CU_ASSERT(many.calls >= 12 && many.calls <= 13); /* 64 MiB are 127 such records */
	CU_ASSERT_EQUAL(many.result, ERR_LIMIT);
	disk_set(DISK_WORKS);
	CU_ASSERT(fixture_wait(&f, &many.calls, 140));
	fixture_fini(&f);
}

struct rows {
	unsigned n;
	char text[4096];
};

static void collect(void *arg, struct span id, struct span state)
{
	struct rows *rows = arg;
	size_t len = strlen(rows->text);

	rows->n++;
	if (len < sizeof(rows->text) - 64)
		snprintf(rows->text + len, sizeof(rows->text) - len, "%.*s=%.*s ", SPAN_ARG(id), SPAN_ARG(state));
}

static void live_rows_round_trip(void)
{
	struct fixture f;
	struct rows rows = { 0, "" };

	fixture_init(&f);
	fixture_open(&f);
	store_live_put(f.store, SPAN_LIT("a"), SPAN_LIT("{\"v\":1}"));
	store_live_put(f.store, SPAN_LIT("b"), SPAN_LIT("{\"v\":2}"));
	store_live_put(f.store, SPAN_LIT("c"), SPAN_LIT("{\"v\":3}"));
	fixture_close(&f);
	fixture_open(&f);
	store_live_put(f.store, SPAN_LIT("a"), SPAN_LIT("{\"v\":4}"));
	store_live_delete(f.store, SPAN_LIT("b"));
	store_live_delete(f.store, SPAN_LIT("never there"));
	fixture_close(&f);
	fixture_open(&f);
	CU_ASSERT_EQUAL(store_live_each(f.store, collect, &rows), 0);
	CU_ASSERT_STRING_EQUAL(rows.text, "a={\"v\":4} c={\"v\":3} ");
	fixture_fini(&f);
}

static void last_operation_on_a_live_call_wins(void)
{
	struct fixture f;
	struct answer answer = { 0, -1 };
	struct rows rows = { 0, "" };
	uint64_t before;

	fixture_init(&f);
	fixture_open(&f);
	disk_set(DISK_HANGS);
	submit(&f, 1, NULL); /* keeps the writer busy, so that the rest is one batch */
	usleep(50000);
	before = stats_of(&f).live_writes;
	for (unsigned i = 0; i < 100; i++) {
		store_live_put(f.store, SPAN_LIT("gone"), SPAN_LIT("{}"));
		store_live_delete(f.store, SPAN_LIT("gone"));
		store_live_delete(f.store, SPAN_LIT("up"));
		store_live_put(f.store, SPAN_LIT("up"), SPAN_LIT("{\"v\":5}"));
	}
	submit(&f, 2, &answer);
	disk_set(DISK_WORKS);
	CU_ASSERT(fixture_wait(&f, &answer.calls, 1));
	CU_ASSERT_EQUAL(stats_of(&f).live_writes - before, 2);
	CU_ASSERT_EQUAL(store_live_each(f.store, collect, &rows), 0);
	CU_ASSERT_STRING_EQUAL(rows.text, "up={\"v\":5} ");
	fixture_fini(&f);
}

/* A call is either up or recorded: in the file at every moment, and for whoever reads the rows. */
static void a_record_takes_its_live_row_with_it(void)
{
	struct fixture f;
	struct answer answer = { 0, -1 };
	struct rows rows = { 0, "" };
	char id[40];

	fixture_init(&f);
	fixture_open(&f);
	store_live_put(f.store, span_of(fixture_id(1, id)), SPAN_LIT("{\"v\":1}")); /* durable before its end */
	submit(&f, 7, &answer);
	CU_ASSERT(fixture_wait(&f, &answer.calls, 1));
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM live"), 1);
	disk_set(DISK_HANGS);
	store_live_put(f.store, span_of(fixture_id(2, id)), SPAN_LIT("{\"v\":2}")); /* still waits to be written */
	store_live_put(f.store, SPAN_LIT("other"), SPAN_LIT("{\"v\":3}"));
	submit(&f, 1, &answer);
	submit(&f, 2, &answer);
	disk_set(DISK_WORKS);
	CU_ASSERT(fixture_wait(&f, &answer.calls, 3));
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM live WHERE id <> 'other'"), 0);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM cdr"), 3);
	CU_ASSERT_EQUAL(store_live_each(f.store, collect, &rows), 0);
	CU_ASSERT_STRING_EQUAL(rows.text, "other={\"v\":3} ");
	fixture_fini(&f);
}

/* As nothing of ours leaves it: by hand, or from a copy that was put back. */
static void live_rows_that_are_recorded_or_too_large(void)
{
	struct fixture f;
	struct answer answer = { 0, -1 };
	struct rows rows = { 0, "" };

	fixture_init(&f);
	fixture_open(&f);
	submit(&f, 1, &answer);
	CU_ASSERT(fixture_wait(&f, &answer.calls, 1));
	CU_ASSERT(fixture_exec(f.path, "INSERT INTO live SELECT id, '{}' FROM cdr"));
	CU_ASSERT(fixture_exec(f.path, "INSERT INTO live VALUES ('large', hex(zeroblob(40000)))"));
	CU_ASSERT(fixture_exec(f.path, "INSERT INTO live VALUES ('none', '')"));
	CU_ASSERT_EQUAL(store_live_each(f.store, collect, &rows), 0);
	CU_ASSERT_STRING_EQUAL(rows.text, "large= none= ");
	fixture_close(&f);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM live"), 2);
	fixture_fini(&f);
}

static void queue_of_live_calls_is_bounded(void)
{
	struct fixture f;
	struct answer answer = { 0, -1 };
	char id[40];

	fixture_init(&f);
	fixture_open(&f);
	disk_set(DISK_IS_FULL);
	for (unsigned i = 0; i < 2 * STORE_LIVE_MAX + 100; i++) {
		store_live_put(f.store, span_of(fixture_id(i, id)), SPAN_LIT("{}"));
		if (i % 1000 == 0)
			usleep(20000);
	}
	CU_ASSERT(stats_of(&f).live_lost >= 100);
	CU_ASSERT(stats_of(&f).queue_depth <= 2 * STORE_LIVE_MAX);
	submit(&f, 3 * STORE_LIVE_MAX, &answer); /* still has room */
	disk_set(DISK_WORKS);
	CU_ASSERT(fixture_wait(&f, &answer.calls, 1));
	CU_ASSERT_EQUAL(answer.result, 0);
	fixture_close(&f);
	CU_ASSERT(fixture_number(f.path, "SELECT count(*) FROM live") >= STORE_LIVE_MAX);
	CU_ASSERT(fixture_number(f.path, "SELECT count(*) FROM live") <= 2 * STORE_LIVE_MAX);
	fixture_fini(&f);
}

static void transfers_are_written_once_and_in_order(void)
{
	struct fixture f;

	fixture_init(&f);
	fixture_open(&f);
	for (unsigned i = 0; i < 100; i++) {
		struct transfer transfer = fixture_transfer(i % 50); /* each id twice */

		store_transfer(f.store, &transfer);
	}
	fixture_close(&f);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM transfer"), 50);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM transfer a JOIN transfer b ON b.seq = a.seq + 1 "
					       "WHERE b.id < a.id"), 0);
	fixture_fini(&f);
}

/* Each kind has its own room: when one is full, the others take what they take otherwise. */
static void queue_of_transfers_is_bounded(void)
{
	struct fixture f;
	struct answer answer = { 0, -1 };

	fixture_init(&f);
	fixture_open(&f);
	disk_set(DISK_HANGS);
	for (unsigned i = 0; i < STORE_TRANSFERS_MAX + 3; i++) {
		struct transfer transfer = fixture_transfer(i);

		store_transfer(f.store, &transfer);
	}
	CU_ASSERT_EQUAL(stats_of(&f).transfers_lost, 3);
	CU_ASSERT_EQUAL(stats_of(&f).queue_depth, STORE_TRANSFERS_MAX + 3); /* and the ends of three data rows */
	fake_loop_turn(f.loop);
	CU_ASSERT_STRING_EQUAL(f.alarms, "store-full ");
	store_live_put(f.store, SPAN_LIT("call-1"), SPAN_LIT("{}"));
	store_data_put(f.store, SPAN_LIT("data-1"), SPAN_LIT("{}"));
	submit(&f, 1, &answer);
	CU_ASSERT_EQUAL(stats_of(&f).live_lost, 0);
	CU_ASSERT_EQUAL(stats_of(&f).data_lost, 0);
	CU_ASSERT_EQUAL(stats_of(&f).cdrs_lost, 0);
	disk_set(DISK_WORKS);
	CU_ASSERT(fixture_wait(&f, &answer.calls, 1));
	CU_ASSERT(fixture_wait_alarm(&f, "store-full", false));
	fixture_close(&f);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM transfer"), STORE_TRANSFERS_MAX);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM live"), 1);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM live_data"), 1);
	fixture_fini(&f);
}

static void memory_of_transfers_is_bounded(void)
{
	enum { BIG = 1 << 20 };
	static char text[BIG];
	struct fixture f;
	struct transfer transfer = fixture_transfer(1);

	memset(text, 'x', sizeof(text));
	fixture_init(&f);
	fixture_open(&f);
	transfer.path = (struct span){ text, BIG };
	store_transfer(f.store, &transfer);
	CU_ASSERT_EQUAL(stats_of(&f).transfers_lost, 1);
	disk_set(DISK_HANGS);
	transfer.path.len = BIG / 2;
	for (unsigned i = 0; i < 140; i++)
		store_transfer(f.store, &transfer);
	CU_ASSERT(stats_of(&f).transfers_lost >= 13 && stats_of(&f).transfers_lost <= 14); /* 64 MiB are 127 such records */
	disk_set(DISK_WORKS);
	fixture_fini(&f);
}

/* What cannot be stored is counted, and does not hold up what can. */
static void transfer_without_a_start_is_refused(void)
{
	struct fixture f;
	struct answer answer = { 0, -1 };
	struct transfer transfer = fixture_transfer(1);

	fixture_init(&f);
	fixture_open(&f);
	transfer.started_ms = 0;
	store_transfer(f.store, &transfer);
	transfer = fixture_transfer(2);
	store_transfer(f.store, &transfer);
	submit(&f, 1, &answer);
	CU_ASSERT(fixture_wait(&f, &answer.calls, 1));
	CU_ASSERT(fixture_wait_alarm(&f, "store-full", true));
	fixture_close(&f);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM transfer"), 1);
	fixture_fini(&f);
}

static void data_rows_are_not_calls(void)
{
	struct fixture f;
	struct rows rows = { 0, "" }, calls = { 0, "" };

	fixture_init(&f);
	fixture_open(&f);
	store_data_put(f.store, SPAN_LIT("a"), SPAN_LIT("{\"v\":1}"));
	store_data_put(f.store, SPAN_LIT("b"), SPAN_LIT("{\"v\":2}"));
	store_live_put(f.store, SPAN_LIT("a"), SPAN_LIT("{\"v\":3}"));
	store_data_put(f.store, SPAN_LIT("a"), SPAN_LIT("{\"v\":4}"));
	store_data_delete(f.store, SPAN_LIT("b"));
	fixture_close(&f);
	fixture_open(&f);
	CU_ASSERT_EQUAL(store_data_each(f.store, collect, &rows), 0);
	CU_ASSERT_STRING_EQUAL(rows.text, "a={\"v\":4} ");
	CU_ASSERT_EQUAL(store_live_each(f.store, collect, &calls), 0);
	CU_ASSERT_STRING_EQUAL(calls.text, "a={\"v\":3} ");
	fixture_fini(&f);
}

/* Data is either on its way or recorded. */
static void a_transfer_takes_its_data_row_with_it(void)
{
	struct fixture f;
	struct rows rows = { 0, "" };
	struct transfer transfer;
	char id[40];

	fixture_init(&f);
	fixture_open(&f);
	store_data_put(f.store, span_of(fixture_id(1, id)), SPAN_LIT("{}"));
	store_live_put(f.store, span_of(id), SPAN_LIT("{}")); /* a call of the same id is another matter */
	fixture_close(&f);
	fixture_open(&f);
	store_data_put(f.store, span_of(fixture_id(2, id)), SPAN_LIT("{}")); /* still waits to be written */
	store_data_put(f.store, SPAN_LIT("other"), SPAN_LIT("{}"));
	transfer = fixture_transfer(1);
	store_transfer(f.store, &transfer);
	transfer = fixture_transfer(2);
	store_transfer(f.store, &transfer);
	fixture_close(&f);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM transfer"), 2);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM live_data"), 1);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM live"), 1);
	/* As nothing of ours leaves it. */
	CU_ASSERT(fixture_exec(f.path, "INSERT INTO live_data SELECT id, '{}' FROM transfer"));
	fixture_open(&f);
	CU_ASSERT_EQUAL(store_data_each(f.store, collect, &rows), 0);
	CU_ASSERT_STRING_EQUAL(rows.text, "other={} ");
	fixture_close(&f);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM live_data"), 1);
	fixture_fini(&f);
}

static void alarm_ends_when_only_transfers_are_written(void)
{
	struct fixture f;
	struct transfer transfer = fixture_transfer(1);

	fixture_init(&f);
	fixture_open(&f);
	disk_set(DISK_HANGS);
	for (unsigned i = 0; i < STORE_TRANSFERS_MAX + 1; i++) {
		transfer = fixture_transfer(i);
		store_transfer(f.store, &transfer);
	}
	CU_ASSERT(fixture_wait_alarm(&f, "store-full", true));
	disk_set(DISK_WORKS);
	CU_ASSERT(fixture_wait_alarm(&f, "store-full", false));
	fixture_fini(&f);
}

static const struct unit_test tests[] = {
	{ "record_is_written_and_answered", record_is_written_and_answered },
	{ "what_comes_together_is_committed_together_in_order", what_comes_together_is_committed_together_in_order },
	{ "same_id_is_stored_once", same_id_is_stored_once },
	{ "close_commits_and_answers", close_commits_and_answers },
	{ "close_without_a_disk_says_closed", close_without_a_disk_says_closed },
	{ "disk_fails_and_comes_back", disk_fails_and_comes_back },
	{ "hanging_disk_delays_nobody", hanging_disk_delays_nobody },
	{ "queue_of_records_is_bounded", queue_of_records_is_bounded },
	{ "memory_of_records_is_bounded", memory_of_records_is_bounded },
	{ "live_rows_round_trip", live_rows_round_trip },
	{ "last_operation_on_a_live_call_wins", last_operation_on_a_live_call_wins },
	{ "a_record_takes_its_live_row_with_it", a_record_takes_its_live_row_with_it },
	{ "live_rows_that_are_recorded_or_too_large", live_rows_that_are_recorded_or_too_large },
	{ "queue_of_live_calls_is_bounded", queue_of_live_calls_is_bounded },
	{ "transfers_are_written_once_and_in_order", transfers_are_written_once_and_in_order },
	{ "queue_of_transfers_is_bounded", queue_of_transfers_is_bounded },
	{ "memory_of_transfers_is_bounded", memory_of_transfers_is_bounded },
	{ "transfer_without_a_start_is_refused", transfer_without_a_start_is_refused },
	{ "data_rows_are_not_calls", data_rows_are_not_calls },
	{ "a_transfer_takes_its_data_row_with_it", a_transfer_takes_its_data_row_with_it },
	{ "alarm_ends_when_only_transfers_are_written", alarm_ends_when_only_transfers_are_written },
};

int main(int argc, char **argv)
{
	disk_install();
	return unit_main(argc, argv, "store", tests, sizeof(tests) / sizeof(tests[0]));
}
