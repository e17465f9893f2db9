/* A disk that fails on demand, under SQLite: every write to a database file, its log or its index can be refused or
 * held up. Other files are not touched. */
#ifndef TESTS_MOCK_DISK_H
#define TESTS_MOCK_DISK_H

enum disk_mode {
	DISK_WORKS,
	DISK_IS_FULL,    /* ENOSPC */
	DISK_IS_BROKEN,  /* EIO */
	DISK_HANGS,      /* writes return when the mode changes */
};

void disk_install(void); /* before the first store thread */
void disk_set(enum disk_mode mode); /* any thread */
unsigned disk_writes(void);  /* that were let through */

#endif
