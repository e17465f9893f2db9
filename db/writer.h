/* The store thread: the only one that writes the database. Takes submissions from a ring, gathers them, commits them
 * together, and hands call records back with their result. While the disk fails it keeps what it has and
 * tries again. */
#ifndef DB_WRITER_H
#define DB_WRITER_H

#include <sqlite3.h>
#include <stdatomic.h>

#include "core/loop.h"
#include "db/store_op.h"

struct writer;

/* Written by the store thread (`waiting` and `bytes` by the control thread, too), read by any. */
struct writer_lane {
	_Atomic uint64_t writes, lost;   /* lost: no room in the spool, or the row itself cannot be stored */
	_Atomic uint64_t waiting, bytes; /* submitted and not yet written */
	_Atomic unsigned in_ring;
};
struct writer_status {
	_Atomic uint64_t cdrs_written, cdrs_refused; /* refused: the record itself cannot be stored */
	struct writer_lane lanes[STORE_LANES];
	_Atomic uint64_t commits, last_commit_us;
	_Atomic uint32_t wal_pages;
	_Atomic int error; /* of the newest attempt, 0 when it worked */
};

struct writer_limits {
	unsigned cdrs;      /* that the control thread lets through at the same time */
	unsigned live;      /* operations on live rows in the ring, and as many in the spool; of each kind */
	unsigned transfers; /* that wait, wherever */
};

/* db_take is closed in any case. wake is sent when there is something to take or the status changed. */
int writer_open(sqlite3 *db_take, struct loop_wake *wake, const struct writer_limits *limits, struct writer **ret);
const struct writer_status *writer_status(const struct writer *writer);

/* Control thread. Never waits for the disk. The caller sees to the limits, so a call record always fits. ERR_LIMIT: the
 * operation stays the caller's. */
int writer_submit(struct writer *writer, struct store_op *op);
/* Whether wake is sent after every commit, also of what nobody waits for: an alarm may be over. */
void writer_watch(struct writer *writer, bool is_watched);
/* A call record that is written or given up, to be freed by the caller; NULL when there is none (now). */
struct store_op *writer_take_finished(struct writer *writer);

/* Commits what is left and ends the thread; what cannot be committed comes back with ERR_CLOSED from
 * writer_take_finished(). */
void writer_stop(struct writer *writer);
void writer_free(struct writer *writer); /* stopped, everything taken; NULL is fine */

#endif
