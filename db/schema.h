/* The forward steps in db/schema/, embedded at build time (see Makefile.inc): the program needs no file beside it. */
#ifndef DB_SCHEMA_H
#define DB_SCHEMA_H

struct schema_step {
	const char *name; /* "0001.sql" */
	const char *sql;
};
struct schema {
	const struct schema_step *steps; /* step i takes user_version from i to i + 1 */
	unsigned n_steps;
};
extern const struct schema schema_newest;

#endif
