/* Schema versions. PRAGMA user_version counts the steps that were applied; it changes in the transaction that applies
 * them, so a crash at any point leaves either the old schema or the new one. The backup is made with SQLite's backup
 * interface: a plain copy of a file in WAL mode may miss committed data. */
#include "db/migrate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "core/err.h"
#include "db/dbfile.h"
#include "db/sql.h"

#define PATH_SIZE 4096

static int copy_into(sqlite3 *db, const char *path)
{
	sqlite3 *copy = NULL;
	sqlite3_backup *backup;
	int err = dbfile_create_empty(path);

	if (err == 0)
		err = sql_open(path, SQLITE_OPEN_READWRITE, &copy);
	if (err < 0)
		return err;
	backup = sqlite3_backup_init(copy, "main", db, "main");
	if (backup != NULL) {
		sqlite3_backup_step(backup, -1);
		sqlite3_backup_finish(backup);
	}
	err = sql_error(sqlite3_errcode(copy));
	sqlite3_close(copy);
	return err;
}

/* The name appears only when the copy is complete and on the disk. */
static int make_backup(sqlite3 *db, const char *path, int64_t version)
{
	char name[PATH_SIZE], part[PATH_SIZE + 8];
	int n = snprintf(name, sizeof(name), "%s.v%lld.bak", path, (long long)version);
	int err;

	if (n < 0 || (size_t)n >= sizeof(name))
		return -ENAMETOOLONG;
	snprintf(part, sizeof(part), "%s.part", name);
	unlink(part);
	err = copy_into(db, part);
	if (err == 0)
		err = dbfile_rename(part, name);
	if (err < 0)
		unlink(part);
	return err;
}

static int apply(sqlite3 *db, const struct schema *schema, unsigned from, const char **ret_step)
{
	char set_version[64];

	for (unsigned i = from; i < schema->n_steps; i++) {
		int err = sql_exec(db, schema->steps[i].sql);

		*ret_step = schema->steps[i].name;
		if (err < 0)
			return err;
	}
	snprintf(set_version, sizeof(set_version), "PRAGMA user_version=%u", schema->n_steps);
	return sql_exec(db, set_version);
}

static int apply_all(sqlite3 *db, const struct schema *schema, unsigned from, char *error_text, size_t error_size)
{
	const char *step = "";
	int err = sql_exec(db, "BEGIN IMMEDIATE");

	if (err == 0)
		err = apply(db, schema, from, &step);
	if (err == 0)
		err = sql_exec(db, "COMMIT");
	if (err < 0) {
		sql_refuse(err, error_text, error_size, "schema step %s failed: %s; nothing was changed", step,
			   sqlite3_errmsg(db));
		if (!sqlite3_get_autocommit(db))
			(void)sql_exec(db, "ROLLBACK");
	}
	return err;
}

int migrate_run(sqlite3 *db, const char *path, const struct schema *schema, char *error_text, size_t error_size)
{
	int64_t version = 0, n_objects = 0;
	int err = sql_number(db, "PRAGMA user_version", &version);

	if (err == 0)
		err = sql_number(db, "SELECT count(*) FROM sqlite_schema", &n_objects);
	if (err < 0)
		return sql_refuse(err, error_text, error_size, "%s: cannot read the schema version: %s", path,
				  sqlite3_errmsg(db));
	if (version == 0 && n_objects > 0)
		return sql_refuse(ERR_UNSUPPORTED, error_text, error_size,
				  "%s is a database of another program; name another file", path);
	if (version < 0 || version > schema->n_steps)
		return sql_refuse(ERR_UNSUPPORTED, error_text, error_size,
				  "%s has schema version %lld and this program knows versions up to %u: start the "
				  "newer program, or restore the backup that it made (%s.v%u.bak)",
				  path, (long long)version, schema->n_steps, path, schema->n_steps);
	if (version == schema->n_steps)
		return 0;
	if (version > 0) {
		err = make_backup(db, path, version);
		if (err < 0)
			return sql_refuse(err, error_text, error_size,
					  "%s: no backup could be made before the schema change: %s", path,
					  err_str(err));
	}
	return apply_all(db, schema, (unsigned)version, error_text, error_size);
}
