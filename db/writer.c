/* Group commit. A batch is one transaction: synchronous=FULL when it has a call record, NORMAL when it has only state
 * that can be rebuilt. Commits keep a distance from each other, so a lone record is written at once and a busy gateway
 * shares one commit among many calls. A batch that fails is rolled back whole and written again later, pages and all;
 * nothing relies on a synchronisation that failed. Records carry their id as a unique key, so a repetition writes
 * nothing twice.
 *
 * The thread waits on an eventfd; the control thread writes to it only when is_idle says that somebody sleeps. */
#include "db/writer.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "core/crash.h"
#include "core/err.h"
#include "core/ring.h"
#include "db/spool.h"
#include "db/sql.h"
#include "db/t_cdr.h"
#include "db/t_live.h"
#include "db/t_transfer.h"

#define COMMIT_EVERY_US 20000 /* at 500 calls per second twice the 10 ms cost 25 % less CPU; 40 ms gain little more */
#define RETRY_FIRST_MS 50
#define RETRY_MAX_MS 500
#define BATCH_MAX 1024            /* of each kind in one transaction: a small one may fit where a large one does not */
#define CHECKPOINT_PAGES 1000

struct writer {
	sqlite3 *db;
	sqlite3_stmt *begin, *commit, *rollback;
	struct cdr_table cdrs;
	struct live_table live[LIVE_KINDS];
	struct transfer_table transfers;
	struct spool spool;
	bool is_full_sync;
	bool is_failing;
	unsigned retry_ms;
	uint64_t last_commit_us; /* when it began */
	unsigned wal_pages, checkpoint_at_pages;

	/* Shared with the control thread. */
	struct ring *submitted, *finished;
	struct loop_wake *wake;
	struct writer_limits limits;
	int event_fd;
	_Atomic bool is_idle, is_stopping, is_watched;
	struct writer_status status;
	pthread_t thread;
	bool has_thread;
};

/* The store thread has no loop, so it reads the clock itself; only differences matter. */
static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* timeout_ms < 0: until something happens. */
static void sleep_ms(struct writer *w, int timeout_ms)
{
	struct pollfd fd = { w->event_fd, POLLIN, 0 };
	uint64_t value;

	if (poll(&fd, 1, timeout_ms) > 0 && read(w->event_fd, &value, sizeof(value)) < 0)
		return; /* nothing to take: harmless */
}

static void free_op(struct writer *w, struct store_op *op)
{
	struct writer_lane *lane;

	if (op == NULL)
		return;
	lane = &w->status.lanes[op->lane];
	atomic_fetch_sub_explicit(&lane->waiting, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&lane->bytes, op->size, memory_order_relaxed);
	store_op_free(op);
}

/* Moves everything that was submitted into the spool. */
static void drain(struct writer *w)
{
	struct store_op *op, *superseded;

	while ((op = ring_pop(w->submitted)) != NULL) {
		if (op->lane != STORE_NO_LANE)
			atomic_fetch_sub_explicit(&w->status.lanes[op->lane].in_ring, 1, memory_order_relaxed);
		if (spool_add(&w->spool, op, &superseded) < 0) {
			count(&w->status.lanes[op->lane].lost, 1);
			free_op(w, op);
		}
		free_op(w, superseded);
	}
}

/* The pragma acts on the next transaction and must stand outside of one. */
static int set_synchronous(struct writer *w, bool is_full)
{
	int rc = SQLITE_OK;

	if (w->is_full_sync != is_full)
		rc = sqlite3_exec(w->db, is_full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", NULL, NULL,
				  NULL);
	if (rc == SQLITE_OK)
		w->is_full_sync = is_full;
	return rc;
}

/* With each record goes the call's live row. */
static int write_cdrs(struct writer *w, unsigned *ret_n)
{
	unsigned n = 0;

	LIST_EACH(&w->spool.cdrs, node) {
		struct store_op *op = LIST_ENTRY(node, struct store_op, queued);
		int rc;

		if (n == BATCH_MAX)
			break;
		rc = cdr_table_insert(&w->cdrs, &op->cdr);
		if (rc != SQLITE_OK && !sql_is_row_fault(rc))
			return rc;
		op->result = sql_error(rc);
		/* Also when the record was refused: the call is over. */
		rc = live_table_delete(&w->live[LIVE_CALLS], op->cdr.id);
		if (rc != SQLITE_OK && !sql_is_row_fault(rc))
			return rc;
		n++;
	}
	*ret_n = n;
	return SQLITE_OK;
}

/* With each transfer goes the live row of its data connection. */
static int write_op(struct writer *w, struct store_op *op)
{
	int rc, rc_live;

	switch (op->type) {
	case STORE_OP_LIVE_PUT:
		return live_table_put(&w->live[op->lane], op->live.id, op->live.state);
	case STORE_OP_LIVE_DELETE:
		return live_table_delete(&w->live[op->lane], op->live.id);
	case STORE_OP_TRANSFER:
		rc = transfer_table_insert(&w->transfers, &op->transfer);
		if (rc != SQLITE_OK && !sql_is_row_fault(rc))
			return rc;
		rc_live = live_table_delete(&w->live[LIVE_DATA], op->transfer.id);
		return rc_live != SQLITE_OK ? rc_live : rc;
	default:
		return SQLITE_OK;
	}
}

/* How many were taken, and how many of these cannot be stored. */
struct lane_batch {
	unsigned n, refused;
};

static int write_lane(struct writer *w, enum store_lane lane, struct lane_batch *ret)
{
	struct lane_batch batch = { 0, 0 };

	LIST_EACH(&w->spool.lanes[lane], node) {
		int rc;

		if (batch.n == BATCH_MAX)
			break;
		rc = write_op(w, LIST_ENTRY(node, struct store_op, queued));
		if (rc != SQLITE_OK && !sql_is_row_fault(rc))
			return rc;
		batch.refused += rc != SQLITE_OK;
		batch.n++;
	}
	*ret = batch;
	return SQLITE_OK;
}

static int write_batch(struct writer *w, unsigned *ret_n_cdrs, struct lane_batch ret_lanes[STORE_LANES])
{
	int rc = set_synchronous(w, w->spool.n_cdrs > 0);

	if (rc == SQLITE_OK)
		rc = sql_run(w->begin);
	if (rc == SQLITE_OK)
		rc = write_cdrs(w, ret_n_cdrs);
	for (unsigned i = 0; rc == SQLITE_OK && i < STORE_LANES; i++)
		rc = write_lane(w, (enum store_lane)i, &ret_lanes[i]);
	if (rc == SQLITE_OK)
		rc = sql_run(w->commit);
	if (rc != SQLITE_OK && !sqlite3_get_autocommit(w->db))
		(void)sql_run(w->rollback); /* an error here shows again at the next begin */
	return rc;
}

static void finish_lane(struct writer *w, enum store_lane lane, struct lane_batch batch)
{
	count(&w->status.lanes[lane].writes, batch.n - batch.refused);
	count(&w->status.lanes[lane].lost, batch.refused);
	for (unsigned i = 0; i < batch.n; i++)
		free_op(w, spool_take(&w->spool, lane));
}

static void finish_cdrs(struct writer *w, unsigned n)
{
	unsigned refused = 0;

	for (unsigned i = 0; i < n; i++) {
		struct store_op *op = spool_take_cdr(&w->spool);

		refused += op->result < 0;
		(void)ring_push(w->finished, op); /* has room: as many slots as records may exist */
	}
	count(&w->status.cdrs_written, n - refused);
	count(&w->status.cdrs_refused, refused);
}

static int on_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct writer *w = arg;

	(void)db;
	(void)name;
	w->wal_pages = (unsigned)pages;
	return SQLITE_OK;
}

/* After the answers went out: nobody waits for it. A reader in the middle of a page can hold it up; then the log grows
 * until it is done, and the next attempt comes a thousand pages later. */
static void checkpoint(struct writer *w)
{
	int in_log = 0, moved = 0;

	if (w->wal_pages < w->checkpoint_at_pages)
		return;
	w->checkpoint_at_pages = w->wal_pages + CHECKPOINT_PAGES;
	if (sqlite3_wal_checkpoint_v2(w->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &in_log, &moved) == SQLITE_OK &&
	    in_log == moved)
		w->checkpoint_at_pages = CHECKPOINT_PAGES;
}

static void note_error(struct writer *w, int err)
{
	atomic_store_explicit(&w->status.error, err, memory_order_relaxed);
	if (err < 0)
		w->retry_ms = w->is_failing ? w->retry_ms * 2 : RETRY_FIRST_MS;
	if (w->retry_ms > RETRY_MAX_MS)
		w->retry_ms = RETRY_MAX_MS;
	if ((err < 0) != w->is_failing)
		loop_wake_send(w->wake);
	w->is_failing = err < 0;
}

static int commit(struct writer *w)
{
	struct lane_batch lanes[STORE_LANES] = { { 0, 0 } };
	uint64_t begin_us = now_us();
	unsigned n_cdrs = 0;
	int err = sql_error(write_batch(w, &n_cdrs, lanes));

	w->last_commit_us = begin_us;
	atomic_store_explicit(&w->status.last_commit_us, now_us() - begin_us, memory_order_relaxed);
	atomic_store_explicit(&w->status.wal_pages, w->wal_pages, memory_order_relaxed);
	if (err == 0 && n_cdrs > 0)
		CRASH_POINT("cdr-committed");
	if (err == 0) {
		count(&w->status.commits, 1);
		for (unsigned i = 0; i < STORE_LANES; i++)
			finish_lane(w, (enum store_lane)i, lanes[i]);
		finish_cdrs(w, n_cdrs);
		if (n_cdrs > 0 || atomic_load_explicit(&w->is_watched, memory_order_relaxed))
			loop_wake_send(w->wake);
	}
	note_error(w, err);
	return err;
}

static bool is_stopping(struct writer *w)
{
	return atomic_load_explicit(&w->is_stopping, memory_order_acquire);
}

/* Waits until there is something in the spool or the end has come. */
static void await_work(struct writer *w)
{
	drain(w);
	while (spool_is_empty(&w->spool) && !is_stopping(w)) {
		/* An exchange on both sides: either it sees what was pushed, or the pusher sees that we sleep. */
		atomic_exchange_explicit(&w->is_idle, true, memory_order_acq_rel);
		drain(w);
		if (spool_is_empty(&w->spool) && !is_stopping(w))
			sleep_ms(w, -1);
		atomic_exchange_explicit(&w->is_idle, false, memory_order_acq_rel);
		drain(w);
	}
}

static void pace(struct writer *w)
{
	uint64_t since_us = now_us() - w->last_commit_us;

	if (since_us < COMMIT_EVERY_US && !is_stopping(w))
		sleep_ms(w, (int)((COMMIT_EVERY_US - since_us + 999) / 1000));
}

/* The last words: one attempt for everything, no waiting for a disk that fails. */
static void give_up(struct writer *w)
{
	struct store_op *op;

	drain(w);
	while (!spool_is_empty(&w->spool) && commit(w) == 0)
		;
	while ((op = spool_take_cdr(&w->spool)) != NULL) {
		op->result = ERR_CLOSED;
		(void)ring_push(w->finished, op);
	}
	for (unsigned i = 0; i < STORE_LANES; i++)
		while ((op = spool_take(&w->spool, (enum store_lane)i)) != NULL) {
			count(&w->status.lanes[i].lost, 1);
			free_op(w, op);
		}
}

static void *run(void *arg)
{
	struct writer *w = arg;

	for (;;) {
		await_work(w);
		if (is_stopping(w))
			break;
		pace(w);
		drain(w);
		if (commit(w) == 0)
			checkpoint(w);
		else if (!is_stopping(w))
			sleep_ms(w, (int)w->retry_ms);
	}
	give_up(w);
	return NULL;
}

static int prepare(struct writer *w)
{
	int err = sql_prepare(w->db, "BEGIN IMMEDIATE", &w->begin);

	if (err == 0)
		err = sql_prepare(w->db, "COMMIT", &w->commit);
	if (err == 0)
		err = sql_prepare(w->db, "ROLLBACK", &w->rollback);
	if (err == 0)
		err = cdr_table_init(&w->cdrs, w->db);
	for (unsigned i = 0; err == 0 && i < LIVE_KINDS; i++)
		err = live_table_init(&w->live[i], w->db, (enum live_kind)i);
	if (err == 0)
		err = transfer_table_init(&w->transfers, w->db);
	return err;
}

/* Signals belong to the control thread. */
static int start_thread(struct writer *w)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = -pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	w->has_thread = err == 0;
	if (err == 0)
		pthread_setname_np(w->thread, "store");
	return err;
}

int writer_open(sqlite3 *db_take, struct loop_wake *wake, const struct writer_limits *limits, struct writer **ret)
{
	struct writer *w = calloc(1, sizeof(*w));
	int err = -ENOMEM;

	if (w == NULL) {
		sqlite3_close(db_take);
		return err;
	}
	w->db = db_take;
	w->wake = wake;
	w->limits = *limits;
	w->is_full_sync = true; /* as dbfile_open() left it */
	w->checkpoint_at_pages = CHECKPOINT_PAGES;
	w->event_fd = -1;
	if (spool_init(&w->spool, limits->live) < 0)
		goto out;
	w->submitted = ring_new((size_t)limits->cdrs + LIVE_KINDS * (size_t)limits->live + limits->transfers);
	w->finished = ring_new(limits->cdrs);
	if (w->submitted == NULL || w->finished == NULL)
		goto out;
	w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = w->event_fd < 0 ? -errno : prepare(w);
	if (err < 0)
		goto out;
	sqlite3_wal_hook(w->db, on_wal, w);
	err = start_thread(w);
out:
	if (err < 0)
		writer_free(w);
	else
		*ret = w;
	return err;
}

const struct writer_status *writer_status(const struct writer *w)
{
	return &w->status;
}

/* The last quarter of the room for live rows is for the ends of what is up. */
static bool has_room(struct writer *w, const struct store_op *op)
{
	const struct writer_lane *lane = &w->status.lanes[op->lane];
	unsigned in_ring = atomic_load_explicit((_Atomic unsigned *)&lane->in_ring, memory_order_relaxed);

	if (op->type == STORE_OP_TRANSFER)
		return atomic_load_explicit((_Atomic uint64_t *)&lane->waiting, memory_order_relaxed) <
		       w->limits.transfers;
	return in_ring < (op->type == STORE_OP_LIVE_DELETE ? w->limits.live : w->limits.live / 4 * 3);
}

static void kick(struct writer *w)
{
	const uint64_t one = 1;

	while (write(w->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

int writer_submit(struct writer *w, struct store_op *op)
{
	if (op->lane != STORE_NO_LANE) {
		struct writer_lane *lane = &w->status.lanes[op->lane];

		if (!has_room(w, op))
			return ERR_LIMIT;
		atomic_fetch_add_explicit(&lane->in_ring, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&lane->waiting, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&lane->bytes, op->size, memory_order_relaxed);
	}
	if (!ring_push(w->submitted, op))
		return ERR_LIMIT;
	if (atomic_exchange_explicit(&w->is_idle, false, memory_order_acq_rel))
		kick(w);
	return 0;
}

void writer_watch(struct writer *w, bool is_watched)
{
	atomic_store_explicit(&w->is_watched, is_watched, memory_order_relaxed);
}

struct store_op *writer_take_finished(struct writer *w)
{
	return ring_pop(w->finished);
}

void writer_stop(struct writer *w)
{
	if (!w->has_thread)
		return;
	atomic_store_explicit(&w->is_stopping, true, memory_order_release);
	kick(w);
	pthread_join(w->thread, NULL);
	w->has_thread = false;
}

void writer_free(struct writer *w)
{
	if (w == NULL)
		return;
	spool_fini(&w->spool);
	cdr_table_fini(&w->cdrs);
	for (unsigned i = 0; i < LIVE_KINDS; i++)
		live_table_fini(&w->live[i]);
	transfer_table_fini(&w->transfers);
	sqlite3_finalize(w->begin);
	sqlite3_finalize(w->commit);
	sqlite3_finalize(w->rollback);
	sqlite3_close(w->db);
	if (w->event_fd >= 0)
		close(w->event_fd);
	ring_free(w->submitted);
	ring_free(w->finished);
	free(w);
}
