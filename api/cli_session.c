/* One session in full, for people: who, where, what it holds open, what was decided and changed, and why. */
#include "api/cli_list.h"

#include <stdlib.h>

#include "core/span.h"

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct cli_column head_fields[] = {
	{ "Protocol", "protocol", CLI_TEXT },
	{ "State", "state", CLI_TEXT },
	{ "ALG", "alg", CLI_TEXT },
	{ "Mode", "mode", CLI_TEXT },
	{ "User", "user", CLI_TEXT },
	{ "From", "from", CLI_TEXT },
	{ "From realm", "from_realm", CLI_TEXT },
	{ "To", "to", CLI_TEXT },
	{ "To realm", "to_realm", CLI_TEXT },
	{ "Started", "started_at", CLI_TIME },
	{ "Ended", "ended_at", CLI_TIME },
	{ "Transfers", "n_transfers", CLI_TEXT },
	{ "Partner", "partner", CLI_TEXT },
	{ "Cause", "cause", CLI_TEXT },
};
static const struct cli_column leg_columns[] = {
	{ "CONTROL", "side", CLI_TEXT },
	{ "ADDRESS", "address", CLI_TEXT },
	{ "GATEWAY", "gateway", CLI_TEXT },
	{ "BYTES", "bytes", CLI_TEXT },
	{ "MESSAGES", "messages", CLI_TEXT },
	{ "EDITED", "edited", CLI_TEXT },
	{ "DROPPED", "dropped", CLI_TEXT },
	{ "TLS", "tls.version", CLI_TEXT },
	{ "CIPHER", "tls.cipher", CLI_TEXT },
};
static const struct cli_column hole_columns[] = {
	{ "HOLE", "id", CLI_TEXT },
	{ "CLASS", "class", CLI_TEXT },
	{ "KIND", "kind", CLI_TEXT },
	{ "STATE", "state", CLI_TEXT },
	{ "LISTEN", "listen", CLI_TEXT },
	{ "TARGET", "target", CLI_TEXT },
	{ "FROM CLIENT", "bytes.client", CLI_TEXT },
	{ "FROM SERVER", "bytes.server", CLI_TEXT },
	{ "SINCE", "since", CLI_TIME },
	{ "PATH", "path", CLI_TEXT },
	{ "WHY", "reason", CLI_TEXT },
};
static const struct cli_column tls_columns[] = {
	{ "HOLE", "hole", CLI_TEXT },
	{ "WITH", "side", CLI_TEXT },
	{ "TLS", "version", CLI_TEXT },
	{ "CIPHER", "cipher", CLI_TEXT },
	{ "RESUMED", "resumed", CLI_TEXT },
};
static const struct cli_column media_columns[] = {
	{ "HOLE", "hole", CLI_TEXT },
	{ "FROM", "side", CLI_TEXT },
	{ "PACKETS", "packets", CLI_TEXT },
	{ "LOST", "lost", CLI_TEXT },
	{ "JITTER", "jitter_us", CLI_MS },
	{ "AGE", "last_packet_age_ms", CLI_SECONDS },
	{ "GATEWAY", "local", CLI_TEXT },
	{ "SIGNALLED", "signalled", CLI_TEXT },
	{ "LATCHED", "latched", CLI_TEXT },
	{ "PATH", "path", CLI_TEXT },
	{ "WHY", "path_reason", CLI_TEXT },
};

static const char *const sides[] = { "client", "server" };

/* The member of a side, with its name and the hole's; none when it is null. */
static void add_side_row(json_t *rows, const json_t *object, const char *side, const json_t *hole)
{
	json_t *row = json_copy(json_object_get(object, side));

	if (!json_is_object(row)) {
		json_decref(row);
		return;
	}
	json_object_set_new(row, "side", json_string(side));
	if (hole != NULL)
		json_object_set(row, "hole", (json_t *)hole);
	json_array_append_new(rows, row);
}

static void print_rows(FILE *out, json_t *rows_take, const struct cli_column *columns, size_t n)
{
	if (json_array_size(rows_take) > 0) {
		fputc('\n', out);
		cli_table(out, rows_take, columns, (unsigned)n);
	}
	json_decref(rows_take);
}

static void print_legs(FILE *out, const json_t *session)
{
	const json_t *legs = json_object_get(session, "legs");
	json_t *rows = json_array();

	for (unsigned i = 0; json_is_object(legs) && i < 2; i++)
		add_side_row(rows, legs, sides[i], NULL);
	print_rows(out, rows, leg_columns, N_OF(leg_columns));
}

/* Of a member that holes have, or not: a row per hole and side. */
static void print_of_holes(FILE *out, const json_t *holes, const char *member, const struct cli_column *columns, size_t n_columns)
{
	json_t *rows = json_array(), *hole;
	size_t n;

	json_array_foreach(holes, n, hole) {
		const json_t *of_hole = json_object_get(hole, member);

		for (unsigned i = 0; json_is_object(of_hole) && i < 2; i++)
			add_side_row(rows, of_hole, sides[i], json_object_get(hole, "id"));
	}
	print_rows(out, rows, columns, n_columns);
}

static void print_holes(FILE *out, const json_t *session)
{
	json_t *holes = json_object_get(session, "holes");

	print_rows(out, json_incref(holes), hole_columns, N_OF(hole_columns));
	print_of_holes(out, holes, "tls", tls_columns, N_OF(tls_columns));
	print_of_holes(out, holes, "media", media_columns, N_OF(media_columns));
}

static void print_change(FILE *out, const json_t *change)
{
	char *at = cli_value(change, "at", CLI_CLOCK), *from = cli_value(change, "from", CLI_TEXT);
	char *verdict = cli_value(change, "verdict", CLI_TEXT), *before = cli_value(change, "before", CLI_TEXT);
	char *after = cli_value(change, "after", CLI_TEXT);
	bool is_gone = strcmp(verdict, "dropped") == 0;

	fprintf(out, "  %s  %s, %s\n    - %s\n", at, from, verdict, before);
	if (!is_gone)
		fprintf(out, "    + %s\n", after);
	free(at);
	free(from);
	free(verdict);
	free(before);
	free(after);
}

static void print_session(FILE *out, const json_t *session)
{
	json_t *changes = json_object_get(session, "changes"), *change;
	char *id = cli_value(session, "id", CLI_TEXT);
	size_t i;

	fprintf(out, "Session %s\n", id);
	cli_fields(out, session, head_fields, N_OF(head_fields));
	print_legs(out, session);
	print_holes(out, session);
	if (json_array_size(json_object_get(session, "steps")) > 0)
		fputs("\nDecided\n", out);
	cli_steps(out, json_object_get(session, "steps"));
	if (json_array_size(changes) > 0)
		fputs("\nChanged\n", out);
	json_array_foreach(changes, i, change)
		print_change(out, change);
	if (json_is_string(json_object_get(session, "call")))
		fprintf(out, "\nIt is a call: postern show call %s\n", id);
	free(id);
}

enum cli_exit cli_show_session(struct cli *cli)
{
	return cli_show_one(cli, "/v1/sessions/", print_session);
}
