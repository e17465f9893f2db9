/* "explain": asks what an ALG would do with one command, or with the messages of a transcript, and tells it for
 * people. */
#include <errno.h>
#include <stdlib.h>

#include "api/cli.h"
#include "api/cli_print.h"
#include "core/span.h"

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

enum { TRANSCRIPT_MAX = 60 * 1024 /* what fits into a request, escapes included, in all but odd cases */ };

static const struct cli_column head_fields[] = {
	{ "Profile", "profile", CLI_TEXT },
	{ "Class", "class", CLI_TEXT },
	{ "Verdict", "verdict", CLI_TEXT },
	{ "Rule", "rule", CLI_TEXT },
	{ "Would deny", "would_deny", CLI_TEXT },
	{ "Code", "code", CLI_TEXT },
	{ "Text", "text", CLI_TEXT },
	{ "Max bytes", "limits.max_bytes", CLI_TEXT },
	{ "Bytes/s", "limits.bytes_per_s", CLI_TEXT },
	{ "Per minute", "limits.max_per_minute", CLI_TEXT },
	{ "Data", "data.path", CLI_TEXT },
	{ "Because", "data.reason", CLI_TEXT },
};
static const struct cli_column considered_columns[] = {
	{ "RULE", "rule", CLI_TEXT },
	{ "VERDICT", "verdict", CLI_TEXT },
	{ "MATCHES", "matches", CLI_TEXT },
	{ "OBSTACLE", "obstacle", CLI_TEXT },
};
static const struct cli_column about_fields[] = {
	{ "Profile", "profile", CLI_TEXT },
	{ "Client", "about.client", CLI_TEXT },
	{ "Server", "about.server", CLI_TEXT },
	{ "Client sees", "about.client_sees", CLI_TEXT },
	{ "Server sees", "about.server_sees", CLI_TEXT },
};
static const struct cli_column decision_columns[] = {
	{ "LINE", "line", CLI_TEXT },
	{ "VERB", "verb", CLI_TEXT },
	{ "TARGET", "target", CLI_TEXT },
	{ "USER", "user", CLI_TEXT },
	{ "WAY", "direction", CLI_TEXT },
	{ "VERDICT", "verdict", CLI_TEXT },
	{ "RULE", "rule", CLI_TEXT },
	{ "CODE", "code", CLI_TEXT },
};
static const struct cli_column hole_columns[] = {
	{ "LINE", "line", CLI_TEXT },
	{ "HOLE", "class", CLI_TEXT },
	{ "KIND", "kind", CLI_TEXT },
	{ "STATE", "state", CLI_TEXT },
	{ "LISTENER", "listener", CLI_TEXT },
	{ "TARGET", "target", CLI_TEXT },
	{ "CLIENT TOLD", "client_told", CLI_TEXT },
	{ "SERVER TOLD", "server_told", CLI_TEXT },
};
static const struct cli_column transfer_columns[] = {
	{ "LINE", "line", CLI_TEXT },
	{ "VERB", "verb", CLI_TEXT },
	{ "PATH", "path", CLI_TEXT },
	{ "USER", "user", CLI_TEXT },
	{ "WAY", "direction", CLI_TEXT },
	{ "CODE", "code", CLI_TEXT },
	{ "OK", "is_ok", CLI_TEXT },
};

static void print_list(FILE *out, const json_t *json, const char *name, const struct cli_column *columns, size_t n)
{
	const json_t *items = json_object_get(json, name);

	if (json_array_size(items) == 0)
		return;
	fputc('\n', out);
	cli_table(out, items, columns, (unsigned)n);
}

static void print_command(FILE *out, const json_t *json)
{
	cli_fields(out, json, head_fields, N_OF(head_fields));
	print_list(out, json, "considered", considered_columns, N_OF(considered_columns));
}

/* One that went on as it came needs no second line. */
static void print_message(FILE *out, const json_t *message)
{
	char *verdict = cli_value(message, "verdict", CLI_TEXT), *after = cli_value(message, "after", CLI_TEXT);

	if (strcmp(verdict, "edit") == 0)
		fprintf(out, "        edit     %s\n", after);
	else if (strcmp(verdict, "pass") != 0)
		fprintf(out, "        %s\n", verdict);
	free(verdict);
	free(after);
}

static void print_output(FILE *out, const json_t *step, const char *name)
{
	char *text = cli_value(step, name, CLI_TEXT);

	if (!json_is_null(json_object_get(step, name)))
		fprintf(out, "        %s %s\n", name, text);
	free(text);
}

static void print_step(FILE *out, const json_t *step)
{
	json_t *messages = json_object_get(step, "messages"), *message;
	char *line = cli_value(step, "line", CLI_TEXT), *what = cli_value(step, "what", CLI_TEXT);
	char *from = cli_value(step, "from", CLI_TEXT), *sent = cli_value(step, "sent", CLI_TEXT);
	bool has_side = !json_is_null(json_object_get(step, "from"));
	size_t i;

	fprintf(out, "  %4s  %s %s\n", line, has_side ? from : what,
		!has_side ? "" : json_is_null(json_object_get(step, "sent")) ? what : sent);
	json_array_foreach(messages, i, message)
		print_message(out, message);
	print_output(out, step, "to_client");
	print_output(out, step, "to_server");
	free(line);
	free(what);
	free(from);
	free(sent);
}

static void print_notes(FILE *out, const json_t *json)
{
	json_t *note;
	size_t i;

	if (json_array_size(json_object_get(json, "notes")) > 0)
		fputs("\nNotes\n", out);
	json_array_foreach(json_object_get(json, "notes"), i, note) {
		char *line = cli_value(note, "line", CLI_TEXT), *text = cli_value(note, "text", CLI_TEXT);

		fprintf(out, "  %4s  %s\n", line, text);
		free(line);
		free(text);
	}
}

static void print_transcript(FILE *out, const json_t *json)
{
	json_t *step;
	size_t i;

	cli_fields(out, json, about_fields, N_OF(about_fields));
	fputs("\nMessages\n", out);
	json_array_foreach(json_object_get(json, "steps"), i, step)
		print_step(out, step);
	print_list(out, json, "decisions", decision_columns, N_OF(decision_columns));
	print_list(out, json, "holes", hole_columns, N_OF(hole_columns));
	print_list(out, json, "transfers", transfer_columns, N_OF(transfer_columns));
	print_notes(out, json);
	if (json_is_true(json_object_get(json, "is_bypassed")))
		fputs("\nThe module has let go of the session: the rest passes unseen.\n", out);
	if (json_is_true(json_object_get(json, "is_reset")))
		fputs("\nThe session ends at once.\n", out);
}

/* The whole file as a text; NULL when it cannot be read, after a message. */
static json_t *read_transcript(struct cli *cli)
{
	bool is_stdin = strcmp(cli->transcript, "-") == 0;
	FILE *file = is_stdin ? stdin : fopen(cli->transcript, "re");
	char *text = malloc(TRANSCRIPT_MAX + 1);
	json_t *json = NULL;
	size_t len = 0;

	if (file == NULL)
		fprintf(cli->err, "postern: %s: %s\n", cli->transcript, strerror(errno));
	else if (text != NULL)
		len = fread(text, 1, TRANSCRIPT_MAX + 1, file);
	if (len > 0 && len <= TRANSCRIPT_MAX)
		json = json_stringn(text, len);
	if (file != NULL && json == NULL)
		fprintf(cli->err, "postern: %s: must be text of 1 to %d octets, in UTF-8\n", cli->transcript,
			TRANSCRIPT_MAX);
	if (file != NULL && !is_stdin)
		fclose(file);
	free(text);
	return json;
}

static void add_text(json_t *body, const char *name, const char *text)
{
	if (text != NULL)
		json_object_set_new(body, name, json_string(text));
}

static enum cli_exit usage(struct cli *cli, const char *text)
{
	fprintf(cli->err, "postern: explain: %s (see postern explain --help)\n", text);
	return CLI_USAGE;
}

static enum cli_exit fill_body(struct cli *cli, json_t *body)
{
	char *end = NULL;
	long long size = cli->size != NULL ? strtoll(cli->size, &end, 10) : 0;

	if ((cli->n_arguments < 2) == (cli->transcript == NULL))
		return usage(cli, "give either a verb or --transcript");
	if (cli->size != NULL && (end == cli->size || *end != '\0' || size < 0))
		return usage(cli, "--size wants a number of octets");
	add_text(body, "alg", cli->arguments[0]);
	if (cli->n_arguments > 1)
		add_text(body, "verb", cli->arguments[1]);
	if (cli->n_arguments > 2)
		add_text(body, "target", cli->arguments[2]);
	add_text(body, "user", cli->user);
	add_text(body, "client", cli->client);
	add_text(body, "server", cli->server);
	add_text(body, "direction", cli->direction);
	add_text(body, "transport", cli->transport);
	if (cli->size != NULL)
		json_object_set_new(body, "size", json_integer(size));
	if (cli->transcript == NULL)
		return CLI_OK;
	return json_object_set_new(body, "transcript", read_transcript(cli)) == 0 ? CLI_OK : CLI_USAGE;
}

enum cli_exit cli_explain(struct cli *cli)
{
	json_t *body = json_object(), *json = NULL;
	enum cli_exit code = fill_body(cli, body);

	if (code == CLI_OK)
		code = cli_post(cli, "/v1/explain", body, &json);
	if (code == CLI_OK)
		cli_print_one(cli, json, cli->transcript != NULL ? print_transcript : print_command);
	json_decref(body);
	json_decref(json);
	return code;
}
