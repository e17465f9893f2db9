/* What the command line prints: tables, tab-separated values, and single values taken out of JSON by path. No control
 * character from the network reaches the terminal. */
#ifndef API_CLI_PRINT_H
#define API_CLI_PRINT_H

#include "api/cli.h"

enum cli_kind {
	CLI_TEXT,     /* strings, numbers, booleans; arrays joined by commas */
	CLI_TIME,     /* RFC 3339 to "2026-03-01 12:00:00" */
	CLI_CLOCK,    /* RFC 3339 to "12:00:00.123" */
	CLI_SECONDS,  /* milliseconds to "12.3s" */
	CLI_MS,       /* microseconds to "12.3ms" */
};
struct cli_column {
	const char *title;
	const char *path;  /* "legs.a.remote" */
	enum cli_kind kind;
};

/* The member that a path names, NULL when absent. */
const json_t *cli_at(const json_t *json, const char *path);
/* A value for people: malloc'd, clean, "-" for null and absent ones. */
char *cli_value(const json_t *json, const char *path, enum cli_kind kind);
/* A copy (malloc'd) without control characters: they and bad UTF-8 become "\xNN"; line ends stay when keep_lines. */
char *cli_clean(const char *text, bool keep_lines);

/* An array of objects, a row each. The title line comes even when there are no rows; columns are only ever appended. */
void cli_table(FILE *out, const json_t *items, const struct cli_column *columns, unsigned n_columns);
void cli_tsv(FILE *out, const json_t *items, const struct cli_column *columns, unsigned n_columns);
/* Any JSON as "path<TAB>value" lines. */
void cli_tsv_flat(FILE *out, const json_t *json);
void cli_json(FILE *out, const json_t *json);
/* A page or more in the format that was asked for; a table says when there is more. */
void cli_print_list(struct cli *cli, const json_t *list, const struct cli_column *columns, size_t n_columns);
/* Fields that have a value, a line each. */
void cli_fields(FILE *out, const json_t *json, const struct cli_column *fields, size_t n);
/* What was decided, step by step. */
void cli_steps(FILE *out, const json_t *steps);
/* One object: JSON or tab-separated paths, or by `table`. */
void cli_print_one(struct cli *cli, const json_t *json, void (*table)(FILE *out, const json_t *json));

#endif
