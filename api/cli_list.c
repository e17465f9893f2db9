/* See cli_list.h. */
#include "api/cli_list.h"

#include <stdlib.h>

#include "api/encode.h"
#include "core/buf.h"

enum { PAGE_MAX = 1000, PATH_SIZE = 4096 };

static void add_filter(struct buf *path, const char *name, const char *value)
{
	if (value == NULL)
		return;
	buf_printf(path, "&%s=", name);
	encode_put(path, span_of(value));
}

/* One page: `wanted` objects from the cursor on. */
static enum cli_exit ask_page(struct cli *cli, const char *resource, unsigned wanted, const char *cursor, json_t **ret)
{
	char text[PATH_SIZE];
	struct buf path = buf_of(text, sizeof(text));

	buf_printf(&path, "%s?limit=%u", resource, wanted < PAGE_MAX ? wanted : PAGE_MAX);
	add_filter(&path, "protocol", cli->protocol);
	add_filter(&path, "alg", cli->alg);
	add_filter(&path, "user", cli->user);
	add_filter(&path, "session", cli->session);
	add_filter(&path, "verb", cli->verb_filter);
	add_filter(&path, "state", cli->state);
	add_filter(&path, "realm", cli->realm);
	add_filter(&path, "peer", cli->peer);
	add_filter(&path, "path", cli->path);
	add_filter(&path, "owner", cli->owner);
	add_filter(&path, "q", cli->q);
	add_filter(&path, "since", cli->since);
	add_filter(&path, "until", cli->until);
	add_filter(&path, "cursor", cursor);
	buf_putc(&path, '\0');
	if (path.is_full) {
		fputs("postern: these filters are too long\n", cli->err);
		return CLI_USAGE;
	}
	return cli_ask(cli, "GET", text, ret);
}

/* All pages as one list. */
static enum cli_exit ask_list(struct cli *cli, const char *resource, unsigned wanted, json_t **ret)
{
	json_t *list = NULL, *page;
	enum cli_exit code = ask_page(cli, resource, wanted, NULL, &list);

	while (code == CLI_OK) {
		json_t *items = json_object_get(list, "items"), *cursor = json_object_get(list, "next_cursor");
		size_t n = json_array_size(items);

		if (n >= wanted || !json_is_string(cursor))
			break;
		code = ask_page(cli, resource, wanted - (unsigned)n, json_string_value(cursor), &page);
		if (code == CLI_OK) {
			json_array_extend(items, json_object_get(page, "items"));
			json_object_set(list, "next_cursor", json_object_get(page, "next_cursor"));
			json_decref(page);
		}
	}
	if (code == CLI_OK)
		*ret = list;
	else
		json_decref(list);
	return code;
}

static void make_rows(const struct cli_list *kind, json_t *list)
{
	json_t *rows = json_array(), *item;
	size_t i;

	json_array_foreach(json_object_get(list, "items"), i, item)
		kind->add_rows(rows, item);
	json_object_set_new(list, "items", rows);
}

enum cli_exit cli_show_list(struct cli *cli, const struct cli_list *kind)
{
	unsigned wanted = cli->limit ? (unsigned)strtoul(cli->limit, NULL, 10) : kind->limit;
	json_t *list = NULL;
	enum cli_exit code = ask_list(cli, kind->resource, wanted, &list);

	if (code != CLI_OK)
		return code;
	if (kind->add_rows != NULL && cli->format != CLI_JSON)
		make_rows(kind, list);
	cli_print_list(cli, list, kind->columns, kind->n_columns);
	if (kind->print_end != NULL && cli->format == CLI_TABLE)
		kind->print_end(cli->out, list);
	json_decref(list);
	return CLI_OK;
}

enum cli_exit cli_show_one(struct cli *cli, const char *resource, void (*table)(FILE *out, const json_t *json))
{
	json_t *json = NULL;
	enum cli_exit code = cli_ask_one(cli, "GET", resource, cli->argument, &json);

	if (code == CLI_OK)
		cli_print_one(cli, json, table);
	json_decref(json);
	return code;
}
