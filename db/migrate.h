/* Brings the schema of an open database to the newest version, forward only. */
#ifndef DB_MIGRATE_H
#define DB_MIGRATE_H

#include <sqlite3.h>
#include <stddef.h>

#include "db/schema.h"

/* path names the file behind db, for the backup "<path>.v<version>.bak" that is made before an older schema with data
 * in it is changed. All steps are one transaction. A newer schema, or a database that is not ours, is refused
 * (ERR_UNSUPPORTED). On failure the reason is in error_text and the database is as it was. */
int migrate_run(sqlite3 *db, const char *path, const struct schema *schema, char *error_text, size_t error_size);

#endif
