/* Creates, checks and opens the file. A new database is prepared under another name and then renamed, so a file that is
 * empty, or a log without its file, is always a sign of damage and never of an interrupted first start. */
#include "db/dbfile.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/err.h"
#include "db/migrate.h"
#include "db/sql.h"

#define WHAT_TO_DO "restore it from a backup (%s.v*.bak, or your own), or move it away to start with an empty database"
#define PATH_SIZE 4096

int dbfile_create_empty(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int sync_path(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		err = -errno;
	close(fd);
	return err;
}

int dbfile_rename(const char *from, const char *to)
{
	char *copy;
	int err = sync_path(from, O_RDONLY);

	if (err < 0)
		return err;
	if (rename(from, to) < 0)
		return -errno;
	copy = strdup(to);
	if (copy == NULL)
		return -ENOMEM;
	err = sync_path(dirname(copy), O_RDONLY | O_DIRECTORY);
	free(copy);
	return err;
}

static void unlink_with_logs(const char *path)
{
	static const char *const tails[] = { "", "-journal", "-wal", "-shm" };
	char name[PATH_SIZE + 16];

	for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
		snprintf(name, sizeof(name), "%s%s", path, tails[i]);
		unlink(name);
	}
}

static int create(const char *path, const struct schema *schema, char *error_text, size_t error_size)
{
	char part[PATH_SIZE];
	sqlite3 *db = NULL;
	int n = snprintf(part, sizeof(part), "%s.new", path);
	int err;

	if (n < 0 || (size_t)n >= sizeof(part) - 16)
		return sql_refuse(-ENAMETOOLONG, error_text, error_size, "%s: the path is too long", path);
	unlink_with_logs(part);
	err = dbfile_create_empty(part);
	if (err == 0)
		err = sql_open(part, SQLITE_OPEN_READWRITE, &db);
	if (err == 0)
		err = sql_exec(db, "PRAGMA journal_mode=WAL");
	if (err < 0) {
		sql_refuse(err, error_text, error_size, "%s: cannot create the database: %s", path, err_str(err));
		goto out;
	}
	err = migrate_run(db, part, schema, error_text, error_size);
	if (err < 0)
		goto out;
	/* Closing the only connection moves the log into the file. */
	sqlite3_close(db);
	db = NULL;
	err = dbfile_rename(part, path);
	if (err < 0)
		sql_refuse(err, error_text, error_size, "%s: cannot create the database: %s", path, err_str(err));
out:
	sqlite3_close(db);
	if (err < 0)
		unlink_with_logs(part);
	return err;
}

/* There is no file: that is a first start, unless its log is still there. */
static int check_is_new(const char *path, char *error_text, size_t error_size)
{
	char wal[PATH_SIZE];
	struct stat st;
	int n = snprintf(wal, sizeof(wal), "%s-wal", path);

	if (n < 0 || (size_t)n >= sizeof(wal))
		return sql_refuse(-ENAMETOOLONG, error_text, error_size, "%s: the path is too long", path);
	if (stat(wal, &st) == 0 && st.st_size > 0)
		return sql_refuse(ERR_CORRUPT, error_text, error_size,
				  "%s is missing but its log %s is there: bring the file back, or move the log away to "
				  "start with an empty database",
				  path, wal);
	return 0;
}

static int check_is_sound(sqlite3 *db, const char *path, char *error_text, size_t error_size)
{
	sqlite3_stmt *stmt = NULL;
	struct span answer = SPAN_NONE;
	int rc = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &stmt, NULL);
	int err = 0;

	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		answer = sql_column_text(stmt, 0);
	if (rc != SQLITE_ROW && sql_error(rc) != ERR_CORRUPT)
		err = sql_refuse(sql_error(rc), error_text, error_size, "%s: cannot be checked: %s", path,
				 sqlite3_errmsg(db));
	else if (!span_eq(answer, SPAN_LIT("ok")))
		err = sql_refuse(ERR_CORRUPT, error_text, error_size, "%s is damaged (%s): " WHAT_TO_DO, path,
				 answer.len > 0 ? answer.ptr : sqlite3_errmsg(db), path);
	sqlite3_finalize(stmt);
	return err;
}

/* Commits do not wait for checkpoints, which the writer runs by itself, and a log that grew during a long read shrinks
 * again. */
static const char writer_settings[] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; "
				      "PRAGMA journal_size_limit=16777216; PRAGMA secure_delete=FAST";

int dbfile_open(const char *path, const struct schema *schema, char *error_text, size_t error_size, sqlite3 **ret)
{
	sqlite3 *db = NULL;
	struct stat st;
	int err = stat(path, &st) < 0 ? -errno : 0;

	if (err == -ENOENT) {
		err = check_is_new(path, error_text, error_size);
		if (err == 0)
			err = create(path, schema, error_text, error_size);
		if (err < 0)
			return err;
	} else if (err < 0) {
		return sql_refuse(err, error_text, error_size, "%s: %s", path, err_str(err));
	} else if (st.st_size == 0) {
		return sql_refuse(ERR_CORRUPT, error_text, error_size, "%s is damaged (it is empty): " WHAT_TO_DO, path,
				  path);
	}
	err = sql_open(path, SQLITE_OPEN_READWRITE, &db);
	if (err < 0)
		return sql_refuse(err, error_text, error_size, "%s: cannot be opened: %s", path, err_str(err));
	err = check_is_sound(db, path, error_text, error_size);
	if (err == 0)
		err = migrate_run(db, path, schema, error_text, error_size);
	if (err == 0) {
		err = sql_exec(db, writer_settings);
		if (err < 0)
			sql_refuse(err, error_text, error_size, "%s: cannot be written: %s", path, sqlite3_errmsg(db));
	}
	if (err < 0)
		sqlite3_close(db);
	else
		*ret = db;
	return err;
}
