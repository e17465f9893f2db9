/* From a path to JSON: reads the token, asks, and turns every way to fail into a message that says what to do. */
#include <errno.h>
#include <stdlib.h>

#include "api/cli.h"
#include "api/cli_http.h"
#include "api/cli_print.h"
#include "api/encode.h"
#include "core/buf.h"
#include "core/err.h"

enum { TOKEN_LINE_MAX = 256, JSON_FLAGS = JSON_REJECT_DUPLICATES };

static int read_token(struct cli *cli, char out[TOKEN_LINE_MAX])
{
	FILE *file = fopen(cli->token_file, "re");
	int err = 0;

	if (file == NULL) {
		fprintf(cli->err, "postern: %s: %s\n", cli->token_file, strerror(errno));
		return -errno;
	}
	if (fgets(out, TOKEN_LINE_MAX, file) == NULL || out[0] == '\n') {
		fprintf(cli->err, "postern: %s: its first line must be the token\n", cli->token_file);
		err = ERR_PARSE;
	}
	fclose(file);
	out[strcspn(out, " \t\r\n")] = '\0';
	return err;
}

static enum cli_exit unreachable(struct cli *cli, int err)
{
	const char *where = cli->url ? cli->url : cli->socket;

	if (err == ERR_PARSE && cli->url != NULL) {
		fprintf(cli->err, "postern: %s: not a gateway, or not of the form http://host:port\n", where);
		return CLI_UNREACHABLE;
	}
	fprintf(cli->err, "postern: no gateway answers on %s: %s\n", where, err_str(err));
	if (err == -EACCES)
		fputs("Run it as root or as a member of group postern.\n", cli->err);
	else
		fputs("Is posternd running (systemctl status postern)? Another place: --socket PATH or --url URL.\n",
		      cli->err);
	return CLI_UNREACHABLE;
}

/* "postern.yaml:12:5: /realms/access: text (hint)" */
static void print_fault(struct cli *cli, const json_t *problem, const json_t *error)
{
	char *file = cli_value(problem, "file", CLI_TEXT), *line = cli_value(error, "line", CLI_TEXT);
	char *column = cli_value(error, "column", CLI_TEXT), *pointer = cli_value(error, "pointer", CLI_TEXT);
	char *text = cli_value(error, "detail", CLI_TEXT), *hint = cli_value(error, "hint", CLI_TEXT);
	bool has_line = json_is_integer(json_object_get(error, "line")), has_hint = json_object_get(error, "hint") != NULL;
	bool has_pointer = json_string_length(json_object_get(error, "pointer")) > 0;

	fprintf(cli->err, "%s:%s%s%s%s %s%s%s%s%s%s\n", file, has_line ? line : "", has_line ? ":" : "", has_line ? column : "",
		has_line ? ":" : "", has_pointer ? pointer : "", has_pointer ? ": " : "", text, has_hint ? " (" : "",
		has_hint ? hint : "", has_hint ? ")" : "");
	free(file);
	free(line);
	free(column);
	free(pointer);
	free(text);
	free(hint);
}

static void print_error(struct cli *cli, const json_t *error)
{
	bool is_body = json_object_get(error, "pointer") != NULL;
	char *parameter = cli_value(error, is_body ? "pointer" : "parameter", CLI_TEXT);
	char *text = cli_value(error, "detail", CLI_TEXT);

	fprintf(cli->err, "  %s %s\n", parameter, text);
	free(parameter);
	free(text);
}

static void print_problem(struct cli *cli, int status, const json_t *problem)
{
	const json_t *errors = json_object_get(problem, "errors"), *error;
	char *detail = cli_value(problem, "detail", CLI_TEXT);
	size_t i;

	fprintf(cli->err, "postern: the gateway says %d: %s\n", status, detail);
	free(detail);
	json_array_foreach(errors, i, error) {
		if (json_object_get(problem, "file") != NULL)
			print_fault(cli, problem, error);
		else
			print_error(cli, error);
	}
	if (status == 401 || status == 403)
		fputs("Use the UNIX socket as root or as a member of group postern, or --url with --token-file.\n",
		      cli->err);
}

struct question {
	const char *method, *path;
	const char *body; /* JSON, or NULL */
	bool is_probe;
};

static enum cli_exit ask(struct cli *cli, const struct question *question, json_t **ret)
{
	struct cli_http_target target = { cli->socket, cli->url, NULL };
	struct cli_http_reply reply = { 0 };
	char token[TOKEN_LINE_MAX];
	enum cli_exit code = CLI_OK;
	json_t *json = NULL;
	int err;

	if (cli->token_file != NULL) {
		if (read_token(cli, token) != 0)
			return CLI_USAGE;
		target.token = token;
	}
	err = cli_http_request(&target, question->method, question->path, question->body, &reply);
	if (err != 0)
		return unreachable(cli, err);
	if (reply.body.len > 0)
		json = json_loadb(reply.body.ptr, reply.body.len, JSON_FLAGS, NULL);
	if (json == NULL && reply.status != 204) {
		fprintf(cli->err, "postern: the answer (%d) is not JSON: is this a Postern gateway?\n", reply.status);
		code = CLI_FAILED;
	} else if (reply.status >= 300 && !(question->is_probe && json_object_get(json, "checks") != NULL)) {
		print_problem(cli, reply.status, json);
		code = CLI_FAILED;
	}
	cli_http_reply_free(&reply);
	if (code == CLI_OK)
		*ret = json;
	else
		json_decref(json);
	return code;
}

enum cli_exit cli_ask(struct cli *cli, const char *method, const char *path, json_t **ret)
{
	return ask(cli, &(struct question){ method, path, NULL, false }, ret);
}

enum cli_exit cli_probe(struct cli *cli, const char *path, json_t **ret)
{
	return ask(cli, &(struct question){ "GET", path, NULL, true }, ret);
}

enum cli_exit cli_post(struct cli *cli, const char *path, const json_t *body, json_t **ret)
{
	char *text = json_dumps(body, JSON_COMPACT);
	enum cli_exit code = CLI_FAILED;

	if (text != NULL)
		code = ask(cli, &(struct question){ "POST", path, text, false }, ret);
	else
		fputs("postern: out of memory\n", cli->err);
	free(text);
	return code;
}

enum cli_exit cli_ask_one(struct cli *cli, const char *method, const char *resource, const char *name, json_t **ret)
{
	char text[1024];
	struct buf path = buf_of(text, sizeof(text));

	buf_puts(&path, resource);
	encode_put(&path, span_of(name));
	buf_putc(&path, '\0');
	if (path.is_full || name[0] == '\0') {
		fputs("postern: this is not an id or a name\n", cli->err);
		return CLI_USAGE;
	}
	return cli_ask(cli, method, text, ret);
}
