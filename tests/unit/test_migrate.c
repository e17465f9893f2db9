/* The file: created whole, refused when damaged, empty, foreign or newer, migrated in one transaction after a backup.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/err.h"
#include "db/dbfile.h"
#include "db/migrate.h"
#include "db/sql.h"
#include "tests/unit/db_fixture.h"
#include "tests/unit/unit.h"

static const struct schema_step steps[] = {
	{ "0001.sql", "CREATE TABLE t (a INTEGER) STRICT; INSERT INTO t VALUES (1);" },
	{ "0002.sql", "ALTER TABLE t ADD COLUMN b TEXT; INSERT INTO t VALUES (2, 'two');" },
	{ "0003.sql", "CREATE TABLE u (a INTEGER) STRICT;" },
};
static const struct schema_step broken_steps[] = {
	{ "0001.sql", "" },
	{ "0002.sql", "CREATE TABLE half (a INTEGER) STRICT; DELETE FROM t;" },
	{ "0003.sql", "CREATE TABLE half (a INTEGER) STRICT;" },
};

static int open_at(struct fixture *f, const struct schema_step *list, unsigned n, char *error, size_t size)
{
	struct schema schema = { list, n };
	sqlite3 *db = NULL;
	int err = dbfile_open(f->path, &schema, error, size, &db);

	sqlite3_close(db);
	return err;
}

static bool exists(const struct fixture *f, const char *tail)
{
	char name[FIXTURE_PATH + 64];

	snprintf(name, sizeof(name), "%s%s", f->path, tail);
	return access(name, F_OK) == 0;
}

static void new_file_is_whole(void)
{
	struct fixture f;
	char error[512] = "", text[64];
	struct stat st;
	mode_t before = umask(0);

	fixture_init(&f);
	CU_ASSERT_EQUAL(open_at(&f, steps, 3, error, sizeof(error)), 0);
	umask(before);
	CU_ASSERT_EQUAL(stat(f.path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
	CU_ASSERT(!exists(&f, ".new"));
	CU_ASSERT(!exists(&f, ".v0.bak")); /* nothing to lose */
	CU_ASSERT_EQUAL(fixture_number(f.path, "PRAGMA user_version"), 3);
	CU_ASSERT_STRING_EQUAL(fixture_text(f.path, "PRAGMA journal_mode", text, sizeof(text)), "wal");
	fixture_fini(&f);
}

static void interrupted_first_start_is_repeated(void)
{
	struct fixture f;
	char error[512] = "", name[FIXTURE_PATH + 32];

	fixture_init(&f);
	snprintf(name, sizeof(name), "%s.new", f.path);
	CU_ASSERT(fixture_exec(name, "CREATE TABLE t (a)"));
	CU_ASSERT_EQUAL(open_at(&f, steps, 1, error, sizeof(error)), 0);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM t"), 1);
	fixture_fini(&f);
}

static void older_schema_is_migrated_after_a_backup(void)
{
	struct fixture f;
	char error[512] = "", backup[FIXTURE_PATH + 32];
	struct stat st;

	fixture_init(&f);
	snprintf(backup, sizeof(backup), "%s.v1.bak", f.path);
	CU_ASSERT_EQUAL(open_at(&f, steps, 1, error, sizeof(error)), 0);
	CU_ASSERT(fixture_exec(f.path, "INSERT INTO t VALUES (17)"));
	CU_ASSERT_EQUAL(open_at(&f, steps, 3, error, sizeof(error)), 0);
	CU_ASSERT_EQUAL(fixture_number(f.path, "PRAGMA user_version"), 3);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT sum(a) FROM t"), 20);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM u"), 0);
	CU_ASSERT_EQUAL(stat(backup, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
	CU_ASSERT(!exists(&f, ".v1.bak.part"));
	CU_ASSERT_EQUAL(fixture_number(backup, "PRAGMA user_version"), 1);
	CU_ASSERT_EQUAL(fixture_number(backup, "SELECT sum(a) FROM t"), 18);
	/* Nothing happens when there is nothing to do. */
	unlink(backup);
	CU_ASSERT_EQUAL(open_at(&f, steps, 3, error, sizeof(error)), 0);
	CU_ASSERT(!exists(&f, ".v1.bak") && !exists(&f, ".v3.bak"));
	fixture_fini(&f);
}

static void failed_migration_changes_nothing(void)
{
	struct fixture f;
	char error[512] = "";

	fixture_init(&f);
	CU_ASSERT_EQUAL(open_at(&f, steps, 1, error, sizeof(error)), 0);
	CU_ASSERT(open_at(&f, broken_steps, 3, error, sizeof(error)) < 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "0003.sql"));
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "half already exists"));
	CU_ASSERT_EQUAL(fixture_number(f.path, "PRAGMA user_version"), 1);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM t"), 1);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM half"), -1);
	CU_ASSERT_EQUAL(open_at(&f, steps, 3, error, sizeof(error)), 0);
	fixture_fini(&f);
}

static void backup_that_cannot_be_made_stops_the_migration(void)
{
	struct fixture f;
	char error[512] = "", name[FIXTURE_PATH + 32];

	fixture_init(&f);
	CU_ASSERT_EQUAL(open_at(&f, steps, 1, error, sizeof(error)), 0);
	snprintf(name, sizeof(name), "%s.v1.bak", f.path);
	CU_ASSERT_EQUAL(mkdir(name, 0700), 0);
	CU_ASSERT(open_at(&f, steps, 3, error, sizeof(error)) < 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "backup"));
	CU_ASSERT_EQUAL(fixture_number(f.path, "PRAGMA user_version"), 1);
	CU_ASSERT_EQUAL(rmdir(name), 0);
	fixture_fini(&f);
}

static void newer_schema_is_refused(void)
{
	struct fixture f;
	char error[512] = "";

	fixture_init(&f);
	CU_ASSERT_EQUAL(open_at(&f, steps, 3, error, sizeof(error)), 0);
	CU_ASSERT_EQUAL(open_at(&f, steps, 2, error, sizeof(error)), ERR_UNSUPPORTED);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "schema version 3"));
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "up to 2"));
	CU_ASSERT_EQUAL(fixture_number(f.path, "PRAGMA user_version"), 3);
	CU_ASSERT(fixture_exec(f.path, "PRAGMA user_version=-5"));
	CU_ASSERT_EQUAL(open_at(&f, steps, 2, error, sizeof(error)), ERR_UNSUPPORTED);
	fixture_fini(&f);
}

static void foreign_database_is_refused(void)
{
	struct fixture f;
	char error[512] = "";

	fixture_init(&f);
	CU_ASSERT(fixture_exec(f.path, "CREATE TABLE theirs (a)"));
	CU_ASSERT_EQUAL(open_at(&f, steps, 3, error, sizeof(error)), ERR_UNSUPPORTED);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "another program"));
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM sqlite_schema"), 1);
	fixture_fini(&f);
}

/* Opens the real store, which must refuse and say what to do; the file must be as it was. */
static void expect_damaged(struct fixture *f, const char *expected)
{
	struct stat before, after;
	char error[512] = "";
	int had_file = stat(f->path, &before);

	CU_ASSERT_EQUAL(store_open(f->loop, f->bus, f->path, error, sizeof(error), &f->store), ERR_CORRUPT);
	CU_ASSERT_PTR_NULL(f->store);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, expected));
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "start with an empty database"));
	CU_ASSERT_EQUAL(stat(f->path, &after), had_file);
	if (had_file == 0)
		CU_ASSERT_EQUAL(before.st_size, after.st_size);
}

static void overwrite(const char *path, off_t offset, size_t len)
{
	int fd = open(path, O_WRONLY);
	char junk[4096];

	CU_ASSERT_FATAL(fd >= 0);
	for (size_t i = 0; i < sizeof(junk); i++)
		junk[i] = (char)(i * 37 + 11);
	CU_ASSERT_EQUAL(pwrite(fd, junk, len, offset), (ssize_t)len);
	close(fd);
}

/* A database with some records, closed, its log moved into it. */
static void make_records(struct fixture *f)
{
	struct answer answer = { 0, -1 };

	fixture_init(f);
	fixture_open(f);
	for (unsigned i = 0; i < 100; i++) {
		struct cdr cdr = fixture_cdr(i);

		store_cdr(f->store, &cdr, answer_done, &answer);
	}
	fixture_close(f);
	CU_ASSERT_EQUAL(answer.result, 0);
}

static void damaged_files_are_refused(void)
{
	static const off_t offsets[] = { 0, 4096, 3 * 4096, 5 * 4096, 8 * 4096 };

	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		struct fixture f;

		make_records(&f);
		overwrite(f.path, offsets[i], 4096);
		expect_damaged(&f, "is damaged");
		fixture_fini(&f);
	}
}

static void cut_or_empty_file_is_refused(void)
{
	struct fixture f;

	make_records(&f);
	CU_ASSERT_EQUAL(truncate(f.path, 6 * 4096), 0);
	expect_damaged(&f, "is damaged");
	CU_ASSERT_EQUAL(truncate(f.path, 0), 0);
	expect_damaged(&f, "it is empty");
	fixture_fini(&f);
}

static void log_without_its_file_is_refused(void)
{
	struct fixture f;
	char wal[FIXTURE_PATH + 32];
	int fd;

	make_records(&f);
	CU_ASSERT_EQUAL(unlink(f.path), 0);
	snprintf(wal, sizeof(wal), "%s-wal", f.path);
	fd = open(wal, O_WRONLY | O_CREAT, 0600);
	CU_ASSERT_EQUAL(write(fd, "log", 3), 3);
	close(fd);
	expect_damaged(&f, "is missing but its log");
	fixture_fini(&f);
}

static void unusable_paths_are_refused(void)
{
	struct fixture f;
	char error[512], path[FIXTURE_PATH + 64], long_path[5000];

	fixture_init(&f);
	snprintf(path, sizeof(path), "%s/no/such/directory.db", f.dir);
	CU_ASSERT_EQUAL(store_open(f.loop, f.bus, path, error, sizeof(error), &f.store), -ENOENT);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, path));
	CU_ASSERT(store_open(f.loop, f.bus, f.dir, error, sizeof(error), &f.store) < 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, f.dir));
	memset(long_path, 'x', sizeof(long_path));
	long_path[sizeof(long_path) - 1] = '\0';
	CU_ASSERT_EQUAL(store_open(f.loop, f.bus, long_path, error, sizeof(error), &f.store), -ENAMETOOLONG);
	fixture_fini(&f);
}

static void shipped_schema_is_strict(void)
{
	struct fixture f;

	fixture_init(&f);
	fixture_open(&f);
	fixture_close(&f);
	CU_ASSERT_EQUAL(fixture_number(f.path, "PRAGMA user_version"), schema_newest.n_steps);
	CU_ASSERT(fixture_number(f.path,
				 "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table'") >=
		  3);
	CU_ASSERT_EQUAL(
		fixture_number(f.path,
			       "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table' "
			       "AND name NOT LIKE 'sqlite_%' AND NOT strict"),
		0);
	fixture_fini(&f);
}

/* A database as the version before left it, with calls that ended and calls that are up. */
static void shipped_steps_keep_what_is_there(void)
{
	struct fixture f;
	struct answer answer = { 0, -1 };
	struct cdr cdr = fixture_cdr(7);
	char error[512] = "", text[64];
	struct transfer transfer = fixture_transfer(1);

	fixture_init(&f);
	CU_ASSERT_EQUAL(open_at(&f, schema_newest.steps, 1, error, sizeof(error)), 0);
	CU_ASSERT_EQUAL(fixture_number(f.path, "PRAGMA user_version"), 1);
	CU_ASSERT(fixture_exec(f.path, "INSERT INTO cdr (id, config_revision, started_ms, status, streams, decision) "
				       "VALUES ('ended', 1, 1000, 200, '[]', '[]')"));
	CU_ASSERT(fixture_exec(f.path, "INSERT INTO live VALUES ('up', '{\"v\":1}')"));
	fixture_open(&f);
	store_cdr(f.store, &cdr, answer_done, &answer);
	store_transfer(f.store, &transfer);
	fixture_close(&f);
	CU_ASSERT_EQUAL(answer.result, 0);
	CU_ASSERT_EQUAL(fixture_number(f.path, "PRAGMA user_version"), schema_newest.n_steps);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM cdr"), 2);
	CU_ASSERT_EQUAL(fixture_number(f.path, "SELECT count(*) FROM transfer"), 1);
	CU_ASSERT_STRING_EQUAL(fixture_text(f.path, "SELECT state FROM live WHERE id = 'up'", text, sizeof(text)), "{\"v\":1}");
	CU_ASSERT(exists(&f, ".v1.bak"));
	fixture_fini(&f);
}

static const struct unit_test tests[] = {
	{ "new_file_is_whole", new_file_is_whole },
	{ "interrupted_first_start_is_repeated", interrupted_first_start_is_repeated },
	{ "older_schema_is_migrated_after_a_backup", older_schema_is_migrated_after_a_backup },
	{ "failed_migration_changes_nothing", failed_migration_changes_nothing },
	{ "backup_that_cannot_be_made_stops_the_migration", backup_that_cannot_be_made_stops_the_migration },
	{ "newer_schema_is_refused", newer_schema_is_refused },
	{ "foreign_database_is_refused", foreign_database_is_refused },
	{ "damaged_files_are_refused", damaged_files_are_refused },
	{ "cut_or_empty_file_is_refused", cut_or_empty_file_is_refused },
	{ "log_without_its_file_is_refused", log_without_its_file_is_refused },
	{ "unusable_paths_are_refused", unusable_paths_are_refused },
	{ "shipped_schema_is_strict", shipped_schema_is_strict },
	{ "shipped_steps_keep_what_is_there", shipped_steps_keep_what_is_there },
};
UNIT_MAIN("migrate", tests)
