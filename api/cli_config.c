/* The configuration in force: what is shown of it, and the reload. */
#include <stdlib.h>

#include "api/cli.h"
#include "api/cli_print.h"

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct cli_column fields[] = {
	{ "revision", "revision", CLI_TEXT },
	{ "file", "file", CLI_TEXT },
	{ "loaded", "loaded_at", CLI_TIME },
	{ "by", "loaded_by", CLI_TEXT },
	{ "reloads", "reloads.ok", CLI_TEXT },
	{ "failed", "reloads.failed", CLI_TEXT },
};
static const struct cli_column failure_fields[] = {
	{ "last failure", "failure.at", CLI_TIME },
	{ "by", "failure.by", CLI_TEXT },
	{ "still so", "failure.is_last", CLI_TEXT },
};
static const struct cli_column error_columns[] = {
	{ "LINE", "line", CLI_TEXT },
	{ "COLUMN", "column", CLI_TEXT },
	{ "AT", "pointer", CLI_TEXT },
	{ "WHAT", "detail", CLI_TEXT },
	{ "WHAT TO DO", "hint", CLI_TEXT },
};

static void print_changes(FILE *out, const json_t *config)
{
	const json_t *change;
	size_t i;

	json_array_foreach(json_object_get(config, "changes"), i, change) {
		char *pointer = cli_value(change, "pointer", CLI_TEXT), *what = cli_value(change, "change", CLI_TEXT);

		fprintf(out, "  %-8s %s\n", what, pointer);
		free(pointer);
		free(what);
	}
}

static void print_config(FILE *out, const json_t *config)
{
	const json_t *errors = cli_at(config, "failure.errors");

	cli_fields(out, config, fields, N_OF(fields));
	if (json_array_size(json_object_get(config, "changes")) > 0) {
		fputs("\nChanged by the last reload:\n", out);
		print_changes(out, config);
	}
	if (json_is_null(json_object_get(config, "failure")))
		return;
	fputc('\n', out);
	cli_fields(out, config, failure_fields, N_OF(failure_fields));
	cli_table(out, errors, error_columns, N_OF(error_columns));
}

enum cli_exit cli_show_config(struct cli *cli)
{
	json_t *config = NULL;
	enum cli_exit code = cli_ask(cli, "GET", "/v1/config", &config);

	if (code == CLI_OK)
		cli_print_one(cli, config, print_config);
	json_decref(config);
	return code;
}

static void print_reloaded(FILE *out, const json_t *config)
{
	char *file = cli_value(config, "file", CLI_TEXT), *revision = cli_value(config, "revision", CLI_TEXT);
	bool is_same = json_array_size(json_object_get(config, "changes")) == 0;

	fprintf(out, "%s is in force as revision %s%s\n", file, revision, is_same ? "; nothing in it has changed." : ":");
	print_changes(out, config);
	free(file);
	free(revision);
}

static void print_checked(FILE *out, const json_t *config)
{
	char *file = cli_value(config, "file", CLI_TEXT);
	bool is_same = json_array_size(json_object_get(config, "changes")) == 0;

	fprintf(out, "%s can be put in force%s\n", file, is_same ? "; it is what is in force." : ". It would change:");
	print_changes(out, config);
	free(file);
}

static enum cli_exit reload(struct cli *cli, const char *path, void (*print)(FILE *out, const json_t *config))
{
	json_t *nothing = json_object(), *config = NULL;
	enum cli_exit code = cli_post(cli, path, nothing, &config);

	if (code == CLI_OK)
		cli_print_one(cli, config, print);
	json_decref(nothing);
	json_decref(config);
	return code;
}

enum cli_exit cli_reload(struct cli *cli)
{
	return reload(cli, "/v1/config/reload", print_reloaded);
}

enum cli_exit cli_reload_check(struct cli *cli)
{
	return reload(cli, "/v1/config/reload?check", print_checked);
}
