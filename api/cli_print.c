/* See cli_print.h. Widths count code points: good enough for names and numbers, and no table breaks over it. Running
 * out of memory ends the program with a message: a client has nothing to save. */
#include "api/cli_print.h"

#include <inttypes.h>
#include <stdlib.h>

#include "api/text.h"

enum { COLUMNS_MAX = 24 };

static void *must(void *memory)
{
	if (memory == NULL) {
		fputs("postern: out of memory\n", stderr);
		exit(CLI_FAILED);
	}
	return memory;
}

/* Text that is written piece by piece. */
struct text {
	FILE *stream;
	char *data;
	size_t len;
};

static FILE *text_begin(struct text *text)
{
	*text = (struct text){ 0 };
	text->stream = must(open_memstream(&text->data, &text->len));
	return text->stream;
}

static char *text_end(struct text *text)
{
	if (fclose(text->stream) != 0)
		must(NULL);
	return must(text->data);
}

/* Values */

const json_t *cli_at(const json_t *json, const char *path)
{
	struct span rest = span_of(path);

	while (rest.ptr != NULL && json != NULL) {
		struct span name = span_cut(&rest, '.');
		char key[64];

		snprintf(key, sizeof(key), "%.*s", SPAN_ARG(name));
		json = json_object_get(json, key);
	}
	return json;
}

char *cli_clean(const char *text, bool keep_lines)
{
	struct span rest = span_of(text);
	struct text out;
	FILE *f = text_begin(&out);

	while (rest.len > 0) {
		uint32_t code = 0;
		size_t len = text_utf8(rest, &code);
		bool is_kept = len > 0 && code >= 0x20 && !(code >= 0x7f && code < 0xa0);

		if (keep_lines && (code == '\n' || code == '\t'))
			is_kept = true;
		len = len ? len : 1;
		for (size_t i = 0; i < len; i++) {
			if (is_kept)
				fputc(rest.ptr[i], f);
			else
				fprintf(f, "\\x%02x", (unsigned char)rest.ptr[i]);
		}
		rest = span_sub(rest, len, rest.len);
	}
	return text_end(&out);
}

static void put_scalar(FILE *f, const json_t *json)
{
	char *clean;

	switch (json_typeof(json)) {
	case JSON_STRING:
		clean = cli_clean(json_string_value(json), false);
		fputs(clean, f);
		free(clean);
		break;
	case JSON_INTEGER:
		fprintf(f, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
		break;
	case JSON_REAL:
		fprintf(f, "%g", json_real_value(json));
		break;
	case JSON_TRUE:
		fputs("yes", f);
		break;
	case JSON_FALSE:
		fputs("no", f);
		break;
	default:
		fputc('-', f);
	}
}

static void put_text(FILE *f, const json_t *json)
{
	const json_t *element;
	size_t i;

	if (!json_is_array(json)) {
		put_scalar(f, json);
		return;
	}
	if (json_array_size(json) == 0)
		fputc('-', f);
	json_array_foreach(json, i, element) {
		if (i > 0)
			fputc(',', f);
		put_scalar(f, json_is_object(element) ? json_object_get(element, "uri") : element);
	}
}

/* Times come as "2026-03-01T12:00:00.123Z"; what does not is shown as it is. */
static bool put_time(FILE *f, const json_t *json, bool is_clock)
{
	const char *text = json_string_value(json);

	if (text == NULL || strlen(text) != 24 || !text_is_clean(span_of(text)))
		return false;
	if (is_clock)
		fprintf(f, "%.12s", text + 11);
	else
		fprintf(f, "%.10s %.8s", text, text + 11);
	return true;
}

char *cli_value(const json_t *json, const char *path, enum cli_kind kind)
{
	const json_t *value = cli_at(json, path);
	struct text out;
	FILE *f = text_begin(&out);

	if (value == NULL || json_is_null(value))
		fputc('-', f);
	else if ((kind == CLI_TIME || kind == CLI_CLOCK) && put_time(f, value, kind == CLI_CLOCK))
		;
	else if (kind == CLI_SECONDS && json_is_integer(value))
		fprintf(f, "%.1fs", (double)json_integer_value(value) / 1000);
	else if (kind == CLI_MS && json_is_integer(value))
		fprintf(f, "%.1fms", (double)json_integer_value(value) / 1000);
	else
		put_text(f, value);
	return text_end(&out);
}

/* Lists */

static size_t width_of(const char *text)
{
	size_t width = 0;

	for (; *text != '\0'; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static void put_padded(FILE *out, const char *text, size_t width, bool is_last)
{
	fputs(text, out);
	for (size_t n = width_of(text); !is_last && n < width + 2; n++)
		fputc(' ', out);
	if (is_last)
		fputc('\n', out);
}

void cli_table(FILE *out, const json_t *items, const struct cli_column *columns, unsigned n_columns)
{
	size_t widths[COLUMNS_MAX] = { 0 }, i;
	const json_t *item;

	for (unsigned c = 0; c < n_columns && c < COLUMNS_MAX; c++) {
		widths[c] = width_of(columns[c].title);
		json_array_foreach(items, i, item) {
			char *value = cli_value(item, columns[c].path, columns[c].kind);

			widths[c] = width_of(value) > widths[c] ? width_of(value) : widths[c];
			free(value);
		}
	}
	for (unsigned c = 0; c < n_columns; c++)
		put_padded(out, columns[c].title, widths[c], c + 1 == n_columns);
	json_array_foreach(items, i, item) {
		for (unsigned c = 0; c < n_columns; c++) {
			char *value = cli_value(item, columns[c].path, columns[c].kind);

			put_padded(out, value, widths[c], c + 1 == n_columns);
			free(value);
		}
	}
}

/* Raw values: times and numbers as the API has them, nothing for null. */
void cli_tsv(FILE *out, const json_t *items, const struct cli_column *columns, unsigned n_columns)
{
	const json_t *item;
	size_t i;

	for (unsigned c = 0; c < n_columns; c++)
		fprintf(out, "%s%c", columns[c].path, c + 1 == n_columns ? '\n' : '\t');
	json_array_foreach(items, i, item) {
		for (unsigned c = 0; c < n_columns; c++) {
			const json_t *value = cli_at(item, columns[c].path);

			if (value != NULL && !json_is_null(value))
				put_text(out, value);
			fputc(c + 1 == n_columns ? '\n' : '\t', out);
		}
	}
}

static void put_flat(FILE *out, const char *path, const json_t *json)
{
	const char *name;
	json_t *value;
	char *below;
	size_t i;

	if (json_is_object(json)) {
		json_object_foreach((json_t *)json, name, value) {
			if (asprintf(&below, "%s%s%s", path, path[0] ? "." : "", name) < 0)
				must(NULL);
			put_flat(out, below, value);
			free(below);
		}
	} else if (json_is_array(json)) {
		json_array_foreach(json, i, value) {
			if (asprintf(&below, "%s.%zu", path, i) < 0)
				must(NULL);
			put_flat(out, below, value);
			free(below);
		}
	} else {
		fprintf(out, "%s\t", path);
		if (!json_is_null(json))
			put_scalar(out, json);
		fputc('\n', out);
	}
}

void cli_tsv_flat(FILE *out, const json_t *json)
{
	put_flat(out, "", json);
}

void cli_json(FILE *out, const json_t *json)
{
	/* ASCII only: JSON escapes C0 by itself, this also keeps C1 and odd spaces from the terminal. */
	json_dumpf(json, out, JSON_INDENT(2) | JSON_ENSURE_ASCII);
	fputc('\n', out);
}

void cli_print_list(struct cli *cli, const json_t *list, const struct cli_column *columns, size_t n_columns)
{
	const json_t *items = json_object_get(list, "items");

	if (cli->format == CLI_JSON)
		cli_json(cli->out, list);
	else if (cli->format == CLI_TSV)
		cli_tsv(cli->out, items, columns, (unsigned)n_columns);
	else
		cli_table(cli->out, items, columns, (unsigned)n_columns);
	if (json_is_string(json_object_get(list, "next_cursor")) && cli->format == CLI_TABLE)
		fputs("There are more: ask for them with --limit.\n", cli->err);
}

/* One object */

void cli_fields(FILE *out, const json_t *json, const struct cli_column *fields, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const json_t *value = cli_at(json, fields[i].path);
		char *text;

		if (value == NULL || json_is_null(value))
			continue;
		text = cli_value(json, fields[i].path, fields[i].kind);
		fprintf(out, "  %-12s %s\n", fields[i].title, text);
		free(text);
	}
}

void cli_steps(FILE *out, const json_t *steps)
{
	json_t *step;
	size_t i;

	json_array_foreach(steps, i, step) {
		char *at = cli_value(step, "at", CLI_CLOCK), *rule = cli_value(step, "rule", CLI_TEXT);
		char *text = cli_value(step, "text", CLI_TEXT);
		bool has_rule = rule[0] != '\0' && strcmp(rule, "-") != 0;

		fprintf(out, "  %s  %s%s%s\n", at, has_rule ? rule : "", has_rule ? ": " : "", text);
		free(at);
		free(rule);
		free(text);
	}
}

void cli_print_one(struct cli *cli, const json_t *json, void (*table)(FILE *out, const json_t *json))
{
	if (cli->format == CLI_JSON)
		cli_json(cli->out, json);
	else if (cli->format == CLI_TSV)
		cli_tsv_flat(cli->out, json);
	else
		table(cli->out, json);
}
