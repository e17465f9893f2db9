/* The control thread's side of the database: limits, answers and alarms. Copies a record, hands it to the writer and
 * forgets it; call records come back with their result. A caller waits at most two seconds for its answer, whatever the
 * disk does: then it gets the error, while the record stays in the queue and is written when the disk is back.
 *
 * Bounds: CDRS_MAX call records, LIVE_MAX live calls and as many data connections (twice: on the way and waiting),
 * TRANSFERS_MAX transfers, BYTES_MAX of memory for each. */
#include "db/store.h"

#include <errno.h>
#include <stdlib.h>

#include "core/bus.h"
#include "core/err.h"
#include "core/list.h"
#include "core/log.h"
#include "core/loop.h"
#include "db/dbfile.h"
#include "db/sql.h"
#include "db/store_op.h"
#include "db/t_live.h"
#include "db/writer.h"

#define CDRS_MAX STORE_CDRS_MAX
#define LIVE_MAX STORE_LIVE_MAX
#define TRANSFERS_MAX STORE_TRANSFERS_MAX
#define BYTES_MAX ((size_t)64 << 20)
#define ANSWER_WITHIN_MS 2000
#define SLOW_COMMIT_US 1000000
#define WAL_PAGES_MAX 65536 /* 256 MiB */

enum alarm { ALARM_FAILING, ALARM_FULL, ALARM_SLOW, ALARM_LOG, ALARMS };

struct store {
	struct loop *loop;
	struct bus *bus;
	char *path;
	struct loop_wake *wake;
	struct writer *writer;
	struct list pending; /* call records whose caller waits, oldest first */
	struct list refused; /* answers for call records that were not taken */
	struct loop_timer deadline;
	size_t cdr_bytes;
	_Atomic uint64_t cdrs_waiting, cdrs_lost;
	_Atomic uint64_t lane_lost[STORE_LANES]; /* not even submitted */
	uint64_t lost_seen; /* of everything, when the alarm was last looked at */
	bool is_late;       /* an answer timed out since the last one came in time */
	bool is_raised[ALARMS];
};

static uint64_t get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit((_Atomic uint64_t *)counter, memory_order_relaxed);
}

static int write_error(const struct store *store)
{
	return atomic_load_explicit((_Atomic int *)&writer_status(store->writer)->error, memory_order_relaxed);
}

static const struct writer_lane *lane_of(const struct store *store, enum store_lane lane)
{
	return &writer_status(store->writer)->lanes[lane];
}

static uint64_t lost_in(const struct store *store, enum store_lane lane)
{
	return get(&store->lane_lost[lane]) + get(&lane_of(store, lane)->lost);
}

static bool has_lost(struct store *store)
{
	uint64_t lost = get(&store->cdrs_lost) + get(&writer_status(store->writer)->cdrs_refused);
	bool is_more;

	for (unsigned i = 0; i < STORE_LANES; i++)
		lost += lost_in(store, (enum store_lane)i);
	is_more = lost != store->lost_seen;
	store->lost_seen = lost;
	return is_more;
}

static bool has_room_again(const struct store *store)
{
	return get(&store->cdrs_waiting) <= CDRS_MAX / 2 &&
	       get(&lane_of(store, STORE_LANE_LIVE)->waiting) <= LIVE_MAX / 2 &&
	       get(&lane_of(store, STORE_LANE_DATA)->waiting) <= LIVE_MAX / 2 &&
	       get(&lane_of(store, STORE_LANE_TRANSFER)->waiting) <= TRANSFERS_MAX / 2;
}

static void set_alarm(struct store *store, enum alarm alarm, bool is_raised, const char *text)
{
	static const char *const names[ALARMS] = { "store-failing", "store-full", "store-slow", "store-log" };
	struct bus_event event = { .type = is_raised ? BUS_ALARM : BUS_ALARM_CLEARED, .id = span_of(names[alarm]),
				   .text = span_of(is_raised ? text : "") };

	if (store->is_raised[alarm] == is_raised)
		return;
	store->is_raised[alarm] = is_raised;
	writer_watch(store->writer, store->is_raised[ALARM_FULL] || store->is_raised[ALARM_SLOW] ||
					    store->is_raised[ALARM_LOG]);
	if (store->bus != NULL)
		bus_publish(store->bus, &event);
}

static void update_alarms(struct store *store)
{
	const struct writer_status *status = writer_status(store->writer);
	uint32_t wal_pages = atomic_load_explicit((_Atomic uint32_t *)&status->wal_pages, memory_order_relaxed);
	int err = write_error(store);

	set_alarm(store, ALARM_FAILING, err < 0, err_str(err));
	if (has_lost(store))
		set_alarm(store, ALARM_FULL, true, "records were lost");
	else if (has_room_again(store))
		set_alarm(store, ALARM_FULL, false, NULL);
	set_alarm(store, ALARM_SLOW, store->is_late || get(&status->last_commit_us) > SLOW_COMMIT_US,
		  "writing takes longer than a second");
	set_alarm(store, ALARM_LOG, wal_pages > WAL_PAGES_MAX,
		  "the write-ahead log grows: a reader holds it up, or the disk is slow");
}

/* Answers the caller, when it still waits. */
static void answer(struct store_op *op, int result)
{
	store_done_fn *done = op->done;

	list_remove(&op->pending);
	op->done = NULL;
	if (done != NULL)
		done(op->arg, result);
}

/* Returns how many records could not be written any more. */
static uint64_t take_finished(struct store *store)
{
	struct store_op *op;
	uint64_t n_closed = 0;

	while ((op = writer_take_finished(store->writer)) != NULL) {
		atomic_fetch_sub_explicit(&store->cdrs_waiting, 1, memory_order_relaxed);
		store->cdr_bytes -= op->size;
		store->is_late = false;
		n_closed += op->result == ERR_CLOSED;
		answer(op, op->result);
		store_op_free(op);
	}
	return n_closed;
}

static void answer_refused(struct store *store)
{
	struct list now;

	/* What is refused from within an answer waits for the next turn. */
	list_init(&now);
	while (!list_is_empty(&store->refused)) {
		struct list *node = store->refused.next;

		list_remove(node);
		list_append(&now, node);
	}
	while (!list_is_empty(&now)) {
		struct store_op *op = LIST_ENTRY(now.next, struct store_op, pending);

		answer(op, op->result);
		store_op_free(op);
	}
}

static void on_wake(void *arg)
{
	struct store *store = arg;

	(void)take_finished(store);
	answer_refused(store);
	update_alarms(store);
}

static void on_deadline(struct loop_timer *timer, void *arg)
{
	struct store *store = arg;
	uint64_t now_ms = loop_now_ms(store->loop);
	int err = write_error(store);

	(void)take_finished(store);
	while (!list_is_empty(&store->pending)) {
		struct store_op *op = LIST_ENTRY(store->pending.next, struct store_op, pending);
		uint64_t due_ms = op->submitted_ms + ANSWER_WITHIN_MS;

		if (due_ms > now_ms) {
			loop_timer_start(timer, due_ms - now_ms);
			break;
		}
		store->is_late = true;
		answer(op, err < 0 ? err : -ETIMEDOUT);
	}
	update_alarms(store);
}

int store_open(struct loop *loop, struct bus *bus, const char *path, char *error_text, size_t error_size,
	       struct store **ret)
{
	static const struct writer_limits limits = { CDRS_MAX, LIVE_MAX, TRANSFERS_MAX };
	struct store *store = calloc(1, sizeof(*store));
	sqlite3 *db = NULL;
	int err;

	if (store == NULL)
		return sql_refuse(-ENOMEM, error_text, error_size, "%s", err_str(-ENOMEM));
	store->loop = loop;
	store->bus = bus;
	list_init(&store->pending);
	list_init(&store->refused);
	loop_timer_init(&store->deadline, loop, on_deadline, store);
	store->path = strdup(path);
	err = store->path == NULL ? -ENOMEM : loop_wake_open(loop, on_wake, store, &store->wake);
	if (err < 0) {
		sql_refuse(err, error_text, error_size, "%s: %s", path, err_str(err));
		goto out;
	}
	err = dbfile_open(path, &schema_newest, error_text, error_size, &db);
	if (err < 0)
		goto out;
	err = writer_open(db, store->wake, &limits, &store->writer);
	if (err < 0)
		sql_refuse(err, error_text, error_size, "%s: the store thread cannot start: %s", path, err_str(err));
out:
	if (err < 0)
		store_close(store);
	else
		*ret = store;
	return err;
}

void store_close(struct store *store)
{
	uint64_t n_lost = 0;

	if (store == NULL)
		return;
	if (store->writer != NULL) {
		writer_stop(store->writer);
		n_lost = take_finished(store);
		while (!list_is_empty(&store->refused))
			answer_refused(store);
		if (n_lost > 0)
			log_error("store", "call records lost at shutdown", LF_UINT("records", n_lost),
				  LF_TEXT("error", err_str(write_error(store))));
	}
	loop_timer_stop(&store->deadline);
	if (store->wake != NULL)
		loop_wake_close(store->wake);
	writer_free(store->writer);
	free(store->path);
	free(store);
}

/* The answer comes later, like every other. Without memory for that it comes at once. */
static void refuse_cdr(struct store *store, int err, store_done_fn *done, void *arg)
{
	struct store_op *op;

	atomic_fetch_add_explicit(&store->cdrs_lost, 1, memory_order_relaxed);
	loop_wake_send(store->wake); /* for the alarm, too */
	if (done == NULL)
		return;
	op = store_op_answer(err);
	if (op == NULL) {
		done(arg, err);
		return;
	}
	op->done = done;
	op->arg = arg;
	list_append(&store->refused, &op->pending);
}

/* make_err and op_take are what store_op_*() gave. False when it went no further. */
static bool submit(struct store *store, enum store_lane lane, int make_err, struct store_op *op_take)
{
	int err = make_err;

	if (err == 0 && op_take->type != STORE_OP_LIVE_DELETE &&
	    get(&lane_of(store, lane)->bytes) + op_take->size > BYTES_MAX)
		err = ERR_LIMIT;
	if (err == 0)
		err = writer_submit(store->writer, op_take);
	if (err == 0)
		return true;
	store_op_free(op_take);
	atomic_fetch_add_explicit(&store->lane_lost[lane], 1, memory_order_relaxed);
	loop_wake_send(store->wake);
	return false;
}

static void put(struct store *store, enum live_kind kind, struct span id, struct span state)
{
	struct store_op *op = NULL;
	int err = store_op_put(kind, id, state, &op);

	(void)submit(store, (enum store_lane)kind, err, op);
}

static void delete(struct store *store, enum live_kind kind, struct span id)
{
	struct store_op *op = NULL;
	int err = store_op_delete(kind, id, &op);

	(void)submit(store, (enum store_lane)kind, err, op);
}

static void wait_for_answer(struct store *store, struct store_op *op, store_done_fn *done, void *arg)
{
	if (done == NULL)
		return;
	op->done = done;
	op->arg = arg;
	op->submitted_ms = loop_now_ms(store->loop);
	list_append(&store->pending, &op->pending);
	if (!loop_timer_is_running(&store->deadline))
		loop_timer_start(&store->deadline, ANSWER_WITHIN_MS);
}

void store_cdr(struct store *store, const struct cdr *cdr, store_done_fn *done, void *arg)
{
	struct store_op *op = NULL;
	int err = get(&store->cdrs_waiting) < CDRS_MAX ? store_op_cdr(cdr, &op) : ERR_LIMIT;

	if (err == 0 && store->cdr_bytes + op->size > BYTES_MAX)
		err = ERR_LIMIT;
	if (err < 0) {
		store_op_free(op);
		delete(store, LIVE_CALLS, cdr->id); /* the call is over all the same */
		refuse_cdr(store, err, done, arg);
		return;
	}
	/* First the bookkeeping: once submitted, the record may be on its way back. */
	atomic_fetch_add_explicit(&store->cdrs_waiting, 1, memory_order_relaxed);
	store->cdr_bytes += op->size;
	wait_for_answer(store, op, done, arg);
	(void)writer_submit(store->writer, op);
}

void store_transfer(struct store *store, const struct transfer *transfer)
{
	struct store_op *op = NULL;
	int err = store_op_transfer(transfer, &op);

	if (!submit(store, STORE_LANE_TRANSFER, err, op))
		delete(store, LIVE_DATA, transfer->id); /* the data is over all the same */
}

void store_live_put(struct store *store, struct span id, struct span state_json)
{
	put(store, LIVE_CALLS, id, state_json);
}

void store_live_delete(struct store *store, struct span id)
{
	delete(store, LIVE_CALLS, id);
}

void store_data_put(struct store *store, struct span id, struct span state_json)
{
	put(store, LIVE_DATA, id, state_json);
}

void store_data_delete(struct store *store, struct span id)
{
	delete(store, LIVE_DATA, id);
}

struct live_walk {
	struct store *store;
	enum live_kind kind;
	store_live_fn *fn;
	void *arg;
};

static void on_live_row(void *arg, struct span id, struct span state, bool is_recorded)
{
	const struct live_walk *walk = arg;

	if (is_recorded)
		delete(walk->store, walk->kind, id);
	else
		walk->fn(walk->arg, id, state);
}

static int each(struct store *store, enum live_kind kind, store_live_fn *fn, void *arg)
{
	struct live_walk walk = { store, kind, fn, arg };
	sqlite3 *db = NULL;
	int err = sql_open(store->path, SQLITE_OPEN_READONLY, &db);

	if (err == 0)
		err = live_table_each(db, kind, on_live_row, &walk);
	sqlite3_close(db);
	return err;
}

int store_live_each(struct store *store, store_live_fn *fn, void *arg)
{
	return each(store, LIVE_CALLS, fn, arg);
}

int store_data_each(struct store *store, store_live_fn *fn, void *arg)
{
	return each(store, LIVE_DATA, fn, arg);
}

void store_stats(const struct store *store, struct store_stats *ret)
{
	const struct writer_status *status = writer_status(store->writer);
	uint64_t waiting = 0;

	for (unsigned i = 0; i < STORE_LANES; i++)
		waiting += get(&status->lanes[i].waiting);
	*ret = (struct store_stats){
		.cdrs_written = get(&status->cdrs_written),
		.cdrs_lost = get(&store->cdrs_lost) + get(&status->cdrs_refused),
		.live_writes = get(&status->lanes[STORE_LANE_LIVE].writes),
		.live_lost = lost_in(store, STORE_LANE_LIVE),
		.data_writes = get(&status->lanes[STORE_LANE_DATA].writes),
		.data_lost = lost_in(store, STORE_LANE_DATA),
		.transfers_written = get(&status->lanes[STORE_LANE_TRANSFER].writes),
		.transfers_lost = lost_in(store, STORE_LANE_TRANSFER),
		.commits = get(&status->commits),
		.queue_depth = get(&store->cdrs_waiting) + waiting,
		.last_commit_us = get(&status->last_commit_us),
		.is_failing = write_error(store) < 0,
	};
}
