/* What survives: processes killed in the middle of their commits, and a real file system that is full for a while. The
 * work is done in child processes, because a thread sanitizer wants threads only in processes that were forked without
 * any. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/mock/fake_loop.h"
#include "tests/unit/db_fixture.h"
#include "tests/unit/unit.h"

enum { ROUNDS = 6, ACKNOWLEDGED = 150, IDS_MAX = 100000, IN_FLIGHT = 40 };

struct report {
	int fd;
	unsigned n; /* of the record */
	unsigned *in_flight;
};

/* The acknowledgement leaves the process before anything else happens. */
static void report_done(void *arg, int result)
{
	struct report *report = arg;

	--*report->in_flight;
	if (result == 0 && write(report->fd, &report->n, sizeof(report->n)) != sizeof(report->n))
		_exit(3);
	free(report);
}

/* Writes records and live rows until it is killed. */
static _Noreturn void write_for_ever(struct fixture *f, unsigned first, int fd)
{
	unsigned in_flight = 0;
	char error[256];

	if (store_open(f->loop, f->bus, f->path, error, sizeof(error), &f->store) < 0)
		_exit(2);
	for (unsigned n = first;; n++) {
		struct cdr cdr = fixture_cdr(n);
		struct report *report = malloc(sizeof(*report));

		*report = (struct report){ fd, n, &in_flight };
		store_live_put(f->store, cdr.id, SPAN_LIT("{}"));
		store_cdr(f->store, &cdr, report_done, report);
		store_live_delete(f->store, cdr.id);
		for (in_flight++; in_flight >= IN_FLIGHT;) {
			fake_loop_turn(f->loop);
			usleep(100);
		}
	}
}

/* Kills the child once enough is acknowledged; what was written into the pipe until then counts. */
static unsigned run_and_kill(struct fixture *f, unsigned first, bool *acknowledged)
{
	unsigned n, last = first, count = 0;
	int fds[2], status = 0;
	pid_t pid;

	CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
	fflush(stdout);
	pid = fork();
	CU_ASSERT_FATAL(pid >= 0);
	if (pid == 0) {
		close(fds[0]);
		write_for_ever(f, first, fds[1]);
	}
	close(fds[1]);
	while (read(fds[0], &n, sizeof(n)) == sizeof(n)) {
		CU_ASSERT_FATAL(n < IDS_MAX && !acknowledged[n]);
		acknowledged[n] = true;
		last = n > last ? n : last;
		if (++count == ACKNOWLEDGED + first % 7)
			kill(pid, SIGKILL);
	}
	close(fds[0]);
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	CU_ASSERT(count >= ACKNOWLEDGED);
	return last + IN_FLIGHT + 1; /* beyond every id that was used */
}

static void acknowledged_records_survive_a_kill(void)
{
	static bool acknowledged[IDS_MAX];
	unsigned next = 1;
	struct fixture f;
	char text[64];

	fixture_init(&f);
	for (unsigned i = 0; i < ROUNDS; i++) {
		next = run_and_kill(&f, next, acknowledged);
		CU_ASSERT_STRING_EQUAL(fixture_text(f.path, "PRAGMA integrity_check", text, sizeof(text)), "ok");
	}
	for (unsigned n = 1; n < next; n++) {
		char sql[128], id[40];
		int64_t count;

		snprintf(sql, sizeof(sql), "SELECT count(*) FROM cdr WHERE id = '%s'", fixture_id(n, id));
		count = fixture_number(f.path, sql);
		CU_ASSERT(acknowledged[n] ? count == 1 : count == 0 || count == 1);
	}
	fixture_fini(&f);
}

static bool mount_small(const char *dir, const char *options)
{
	static bool is_private;

	if (!is_private && (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0))
		return false;
	if (is_private)
		return mount(NULL, dir, NULL, MS_REMOUNT, options) == 0;
	is_private = true;
	return mount("tmpfs", dir, "tmpfs", 0, options) == 0;
}

enum { CHILD_OK, CHILD_SKIPPED, CHILD_NEVER_FULL, CHILD_WRONG_ERROR, CHILD_NEVER_BACK, CHILD_LOST, CHILD_BROKEN };

/* Fills 1 MiB with records, then doubles the space: everything is written, without a restart. */
static int fill_and_recover(struct fixture *f)
{
	static char reason[2000];
	struct answer answer = { 0, 0 };
	unsigned n = 0;
	char text[64];

	if (!mount_small(f->dir, "size=1m,mode=0700"))
		return CHILD_SKIPPED;
	fixture_open(f);
	memset(reason, 'r', sizeof(reason));
	while (strstr(f->alarms, "store-failing") == NULL && n < 2000) {
		struct cdr cdr = fixture_cdr(n++);

		cdr.reason = (struct span){ reason, sizeof(reason) };
		store_cdr(f->store, &cdr, answer_done, &answer);
		fake_loop_turn(f->loop);
		usleep(200);
	}
	if (n == 2000)
		return CHILD_NEVER_FULL;
	fake_loop_advance(f->loop, 2000);
	if (answer.calls != n || (answer.result != -ENOSPC && answer.result != -EIO))
		return CHILD_WRONG_ERROR;
	if (!mount_small(f->dir, "size=16m") || !fixture_wait_alarm(f, "store-failing", false))
		return CHILD_NEVER_BACK;
	fixture_close(f);
	if (fixture_number(f->path, "SELECT count(*) FROM cdr") != n)
		return CHILD_LOST;
	fixture_text(f->path, "PRAGMA integrity_check", text, sizeof(text));
	return strcmp(text, "ok") == 0 ? CHILD_OK : CHILD_BROKEN;
}

static void full_file_system_loses_nothing(void)
{
	struct fixture f;
	int status = 0;
	pid_t pid;

	fixture_init(&f);
	fflush(stdout);
	pid = fork();
	CU_ASSERT_FATAL(pid >= 0);
	if (pid == 0)
		_exit(fill_and_recover(&f));
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_FATAL(WIFEXITED(status));
	if (WEXITSTATUS(status) == CHILD_SKIPPED)
		printf("# skipped: a small file system needs the right to mount (see disk_fails_and_comes_back in "
		       "test_store)\n");
	else
		CU_ASSERT_EQUAL(WEXITSTATUS(status), CHILD_OK);
	fixture_fini(&f);
}

static const struct unit_test tests[] = {
	{ "acknowledged_records_survive_a_kill", acknowledged_records_survive_a_kill },
	{ "full_file_system_loses_nothing", full_file_system_loses_nothing },
};
UNIT_MAIN("store_crash", tests)
