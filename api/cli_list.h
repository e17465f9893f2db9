/* What "show" verbs have in common: asking for a list or one object, and printing it in the format that was asked for. */
#ifndef API_CLI_LIST_H
#define API_CLI_LIST_H

#include "api/cli_print.h"

enum { CLI_LIVE_DEFAULT = 100, CLI_CONFIGURED_MAX = 1000000 /* all of them */ };

struct cli_list {
	const char *resource;             /* "/v1/calls" */
	unsigned limit;                   /* objects without --limit */
	const struct cli_column *columns; /* only ever appended: scripts cut by position */
	size_t n_columns;
	/* Adds to `rows` what columns show of one object; NULL: itself. JSON is printed as it came. */
	void (*add_rows)(json_t *rows, json_t *item);
	void (*print_end)(FILE *out, const json_t *list); /* what follows a table, or NULL */
};
#define CLI_COLUMNS(array) .columns = (array), .n_columns = sizeof(array) / sizeof((array)[0])

/* A list with the filters of the command line: its pages are followed until enough objects are there. */
enum cli_exit cli_show_list(struct cli *cli, const struct cli_list *list);
/* The object below `resource`, "/v1/calls/", that the command line names. */
enum cli_exit cli_show_one(struct cli *cli, const char *resource, void (*table)(FILE *out, const json_t *json));

#endif
