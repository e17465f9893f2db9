/* For the tests of db/: a store in a directory of its own on a loop with a fake clock, sample records, and a few looks
 * into the file with SQLite. */
#ifndef TESTS_UNIT_DB_FIXTURE_H
#define TESTS_UNIT_DB_FIXTURE_H

#include "core/bus.h"
#include "core/loop.h"
#include "db/store.h"

#define FIXTURE_PATH 256

struct fixture {
	char dir[FIXTURE_PATH];
	char path[FIXTURE_PATH + 16]; /* dir/postern.db */
	struct loop *loop;
	struct bus *bus;
	struct store *store;
	char alarms[256]; /* names that are raised, each followed by a space */
};

/* Fails the running test when something does not work. */
void fixture_init(struct fixture *f);   /* no store yet */
void fixture_open(struct fixture *f);   /* opens f->store, which must succeed */
void fixture_close(struct fixture *f);
void fixture_fini(struct fixture *f);   /* closes and removes everything */

/* What done() said; pass &answer as arg. */
struct answer {
	unsigned calls;
	int result;
};
void answer_done(void *arg, int result);
/* Runs turns of the loop, without letting its clock go on, until *counter is at least n. False after 30 s. */
bool fixture_wait(struct fixture *f, const unsigned *counter, unsigned n);
bool fixture_wait_alarm(struct fixture *f, const char *name, bool is_raised);

/* A complete record whose id and times follow from n; its texts live until the next call. */
struct cdr fixture_cdr(unsigned n);
struct transfer fixture_transfer(unsigned n);
const char *fixture_id(unsigned n, char out[40]);

/* A reader of the file; both close with fixture_finish(). */
struct store_reader *fixture_reader(const struct fixture *f);
void fixture_finish(struct fixture *f, struct store_reader *reader);

/* What a list of records gives: pass the page as its arg, and set n to 0 before. */
enum { FIXTURE_ROWS = 64 };
struct fixture_page {
	char text[8192]; /* of the last row */
	char ids[FIXTURE_ROWS][40];
	unsigned n;
	char cursor[CDR_CURSOR_SIZE];
};
void fixture_keep(void *arg, struct span json);
/* The ids, each of which is one character, and a + when there is a further page: "32+". */
const char *fixture_page_text(const struct fixture_page *page, char out[16]);

/* First column of the first row of a query on the file, on a connection of its own; -1 when that fails. */
int64_t fixture_number(const char *path, const char *sql);
/* Likewise as text, into out. */
const char *fixture_text(const char *path, const char *sql, char *out, size_t size);
/* The first line of the plan of an EXPLAIN QUERY PLAN statement. */
const char *fixture_plan(const char *path, const char *sql, char *out, size_t size);
bool fixture_exec(const char *path, const char *sql);

#endif
