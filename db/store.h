/* The database: one thread that is the only writer, and read-only connections for the API. The only users of SQLite are
 * in db/. One operation is one transaction step; what arrives together is committed together (group commit).
 *
 * store_*() submissions return at once from the control thread and never block on the disk. Answers arrive as callbacks
 * on the control thread. Runtime records and CDRs go through here; text is UTF-8 (foreign octets are replaced). */
#ifndef DB_STORE_H
#define DB_STORE_H

#include <stdint.h>

#include "core/span.h"

struct loop;
struct store;
struct bus;

#define STORE_CDRS_MAX 8192 /* call records that wait to be written; a further one is refused */
#define STORE_LIVE_MAX 8192 /* live calls likewise, and data connections; only the newest state of each waits */
#define STORE_LIVE_BYTES_MAX 65536 /* state of one of them that is handed out again */
#define STORE_TRANSFERS_MAX 8192 /* transfers that wait */

/* Opens or creates the file (mode 0600), checks it, migrates it to the newest schema in one transaction (after a backup
 * beside it). On failure the reason, and what to do, is in error_text. A damaged or empty file is refused, and so is a
 * newer schema than this program knows. bus may be NULL; alarms go there: "store-failing" (the disk refuses),
 * "store-full" (records were lost), "store-slow", "store-log" (the write-ahead log grows). */
int store_open(struct loop *loop, struct bus *bus, const char *path, char *error_text, size_t error_size,
	       struct store **ret);
/* Commits what is queued, then ends the thread. Callbacks that had not run are run before it returns: with 0 for what
 * was committed, else with ERR_CLOSED. Not from within a callback. NULL is fine. */
void store_close(struct store *store);

/* result: 0 when durable, else why not. */
typedef void store_done_fn(void *arg, int result);

enum cdr_end { CDR_END_NONE, CDR_END_CALLER, CDR_END_CALLEE, CDR_END_GATEWAY, CDR_END_OPERATOR };
const char *cdr_end_text(enum cdr_end end);

/* One call attempt. All pointers are borrowed for the call: store_cdr() copies. Times are wall-clock milliseconds, 0
 * when it did not happen. */
struct cdr_leg {
	struct span realm, peer;
	struct span call_id, local_tag, remote_tag;
	struct span from_uri, to_uri, request_uri;
	struct span signalling; /* "192.0.2.1:5060", the far end */
	struct span user_agent;
};
struct cdr_stream { /* one direction: received on `side` */
	unsigned index;
	char side;              /* 'a' or 'b' */
	struct span kind;       /* "audio" */
	struct span local, signalled, latched; /* addresses as text */
	struct span path;
	uint64_t packets, bytes, lost, dropped, rtcp_packets;
	uint32_t jitter_us;
};
struct cdr {
	struct span id, node;
	uint32_t config_revision;
	int64_t started_ms, ringing_ms, answered_ms, ended_ms;
	int sip_status;         /* final status of the INVITE towards the caller; 200 for answered calls */
	enum cdr_end ended_by;
	struct span cause;      /* "normal", "cancelled", "media-timeout", "no-route", ... */
	struct span reason;     /* Reason header value seen at the end, or empty */
	struct cdr_leg a, b;
	struct span decision_json; /* the routing decision: array of steps */
	const struct cdr_stream *streams;
	unsigned n_streams;
};
/* Durable (synchronous=FULL) before done(0), which runs later, on the control thread; done may be NULL. The id is
 * unique: a second record with the same one is not stored. The live call of that id goes in the same transaction, so that
 * a restart finds a call either up or recorded. While the disk fails or hangs, done gets the error after two
 * seconds at most, and the record waits for the disk to come back. When STORE_CDRS_MAX wait, further ones are lost:
 * done(ERR_LIMIT), counted, alarmed. (Only when out of memory done runs before this returns.) */
void store_cdr(struct store *store, const struct cdr *cdr, store_done_fn *done, void *arg);

/* One data transfer of an ALG session. Not synchronous, no callback; what does not fit is dropped, counted, alarmed. Borrowed for the
 * call. The id is unique: a second record with the same one is not stored. The row of store_data_put() with that id goes in the same
 * transaction. started_ms must be set. */
struct transfer {
	struct span id, session, node, alg, protocol;
	struct span client, server;    /* far ends of the control channel, "192.0.2.1:40000" */
	struct span data;              /* both ends of the data connection as far as known, "192.0.2.1:40001 10.0.0.5:20" */
	struct span user, verb, path;
	char direction;                /* 'u' up, 'd' down, '-' */
	int64_t started_ms, ended_ms;  /* wall clock */
	uint64_t bytes;                /* of the payload, in the transfer's direction */
	int code;                      /* last status of the protocol, 0: none */
	bool is_ok;
	struct span data_path;         /* "nft", "relay", "xdp" ... */
	struct span rule;              /* of the policy, that allowed it */
	struct span cause;             /* why it was cut, or empty */
};
void store_transfer(struct store *store, const struct transfer *transfer);

/* Live calls, enough to resume them: one row per call, JSON text chosen by sbc/. Not synchronous: state that can be
 * rebuilt. Of several operations on one call that wait together only the last is written. What does not fit is dropped,
 * counted, alarmed. */
void store_live_put(struct store *store, struct span id, struct span state_json);
void store_live_delete(struct store *store, struct span id);
/* state_json is empty when it is longer than STORE_LIVE_BYTES_MAX. */
typedef void store_live_fn(void *arg, struct span id, struct span state_json);
/* Reads all rows, oldest call first, on the calling thread, before the loop runs. Rows of calls that are recorded already
 * are removed instead. */
int store_live_each(struct store *store, store_live_fn *fn, void *arg);

/* The same for data connections of ALG sessions, apart from calls and with limits of their own; the form is chosen by algs/. The id
 * is best that of the transfer that will be recorded: rows of transfers that are recorded already are removed, too. */
void store_data_put(struct store *store, struct span id, struct span state_json);
void store_data_delete(struct store *store, struct span id);
int store_data_each(struct store *store, store_live_fn *fn, void *arg);

struct store_stats {
	uint64_t cdrs_written, cdrs_lost, live_writes, live_lost, data_writes, data_lost, transfers_written, transfers_lost;
	uint64_t commits, queue_depth, last_commit_us;
	bool is_failing;
};
void store_stats(const struct store *store, struct store_stats *ret); /* any thread */

/* Reading, on the calling thread (HTTP threads): one reader per thread at a time, it locks inside. */
struct store_reader;
int store_reader_open(const char *path, struct store_reader **ret);
void store_reader_close(struct store_reader *reader);
struct cdr_filter {
	int64_t since_ms, until_ms;    /* started in [since, until); 0: open */
	struct span realm, peer;        /* of either leg; empty: any */
	struct span q;                  /* substring of user parts or Call-IDs, ASCII case-insensitive; empty: any */
	int status_min, status_max;    /* 0: any */
	struct span cursor;            /* opaque, from the page before; empty: newest first page */
	unsigned limit;                 /* 1..1000 */
};
/* Calls fn with each CDR as a JSON object text (newest first: by start, then id), then writes the next page's cursor
 * (empty: last page). A page looks at CDR_SCAN_MAX records at most: one with a rare filter may hold fewer than limit,
 * even none, and still have a cursor. ERR_PARSE: not a cursor of ours; ERR_LIMIT: limit out of range, or the cursor
 * does not fit (CDR_CURSOR_SIZE is always enough); -EBUSY. */
#define CDR_CURSOR_SIZE 160
#define CDR_SCAN_MAX 100000
typedef void cdr_row_fn(void *arg, struct span json);
int cdr_list(struct store_reader *reader, const struct cdr_filter *filter, cdr_row_fn *fn, void *arg, char *next_cursor,
	     size_t next_cursor_size);
int cdr_get(struct store_reader *reader, struct span id, cdr_row_fn *fn, void *arg); /* ERR_NOT_FOUND */

struct transfer_filter {
	int64_t since_ms, until_ms;    /* started in [since, until); 0: open */
	struct span session, alg, protocol, user, verb; /* exact, verb ASCII case-insensitive; empty: any */
	struct span q;                  /* substring of path or user, ASCII case-insensitive; empty: any */
	struct span cursor;
	unsigned limit;                 /* 1..1000 */
};
/* As cdr_list(). */
int transfer_list(struct store_reader *reader, const struct transfer_filter *filter, cdr_row_fn *fn, void *arg, char *next_cursor,
		  size_t next_cursor_size);

#endif
