/* The database file itself: made whole or not at all, readable by its owner only, checked before it is used. */
#ifndef DB_DBFILE_H
#define DB_DBFILE_H

#include <sqlite3.h>
#include <stddef.h>

#include "db/schema.h"

/* Opens the file for the writer, in WAL mode and with the newest schema; creates it when it does not exist. A damaged
 * or empty file is refused with a text that says what to do. */
int dbfile_open(const char *path, const struct schema *schema, char *error_text, size_t error_size, sqlite3 **ret);

/* A new file of length 0 and mode 0600; -EEXIST when there is one. */
int dbfile_create_empty(const char *path);
/* Renames a closed file on the disk, too: file and directory are synchronised. */
int dbfile_rename(const char *from, const char *to);

#endif
