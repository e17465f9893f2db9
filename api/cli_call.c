/* One call in full, for people: who, where, media, why, and the ladder of messages. Live calls and call records
 * differ in their members, but both are told in the same order. */
#include "api/cli_list.h"

#include <stdlib.h>

#include "core/span.h"

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct cli_column head_fields[] = {
	{ "State", "state", CLI_TEXT },
	{ "From", "from_uri", CLI_TEXT },
	{ "To", "to_uri", CLI_TEXT },
	{ "Started", "started_at", CLI_TIME },
	{ "Ringing", "ringing_at", CLI_TIME },
	{ "Answered", "answered_at", CLI_TIME },
	{ "Ended", "ended_at", CLI_TIME },
	{ "Duration", "duration_ms", CLI_SECONDS },
	{ "Held", "is_held", CLI_TEXT },
	{ "Status", "status", CLI_TEXT },
	{ "Ended by", "ended_by", CLI_TEXT },
	{ "Cause", "cause", CLI_TEXT },
	{ "Reason", "reason", CLI_TEXT },
};
static const struct cli_column leg_fields[] = {
	{ "Realm", "realm", CLI_TEXT },
	{ "Peer", "peer", CLI_TEXT },
	{ "Far end", "remote", CLI_TEXT },
	{ "Far end", "signalling", CLI_TEXT }, /* in call records */
	{ "Gateway", "local", CLI_TEXT },
	{ "From", "from", CLI_TEXT },
	{ "From", "from_uri", CLI_TEXT },
	{ "To", "to", CLI_TEXT },
	{ "To", "to_uri", CLI_TEXT },
	{ "Request-URI", "request_uri", CLI_TEXT },
	{ "Contact", "remote_target", CLI_TEXT },
	{ "Call-ID", "call_id", CLI_TEXT },
	{ "User-Agent", "user_agent", CLI_TEXT },
};
static const struct cli_column stream_columns[] = {
	{ "STREAM", "stream", CLI_TEXT },
	{ "FROM", "side", CLI_TEXT },
	{ "PACKETS", "packets", CLI_TEXT },
	{ "LOST", "lost", CLI_TEXT },
	{ "JITTER", "jitter_us", CLI_MS },
	{ "DROPPED", "dropped", CLI_TEXT },
	{ "AGE", "last_packet_age_ms", CLI_SECONDS },
	{ "GATEWAY", "local", CLI_TEXT },
	{ "SIGNALLED", "signalled", CLI_TEXT },
	{ "LATCHED", "latched", CLI_TEXT },
	{ "PATH", "path", CLI_TEXT },
	{ "WHY", "path_reason", CLI_TEXT },
};

/* Session descriptions, told apart from the fields by indentation. */
static void print_sdp(FILE *out, const json_t *leg, const char *name, const char *title)
{
	const char *text = json_string_value(json_object_get(leg, name));
	char *clean, *line, *rest;

	if (text == NULL)
		return;
	fprintf(out, "  %s\n", title);
	rest = clean = cli_clean(text, true);
	while ((line = strsep(&rest, "\n")) != NULL) {
		size_t len = strlen(line);

		if (len >= 4 && strcmp(line + len - 4, "\\x0d") == 0) /* the CR of the line end */
			len -= 4;
		if (len > 0)
			fprintf(out, "    %.*s\n", (int)len, line);
	}
	free(clean);
}

static void print_leg(FILE *out, const json_t *json, const char *path, const char *title)
{
	const json_t *leg = cli_at(json, path);

	fprintf(out, "\n%s\n", title);
	cli_fields(out, leg, leg_fields, N_OF(leg_fields));
	print_sdp(out, leg, "sdp_received", "SDP received");
	print_sdp(out, leg, "sdp_sent", "SDP sent");
}

/* Streams */

static json_int_t sum_of(const json_t *counts)
{
	const char *name;
	json_t *value;
	json_int_t sum = json_integer_value(counts); /* call records have the sum */

	json_object_foreach((json_t *)counts, name, value)
		sum += json_integer_value(value);
	return sum;
}

static void add_stream_row(json_t *rows, const json_t *stream, const json_t *side, const char *name)
{
	json_t *row = json_copy((json_t *)side);
	json_int_t index = json_integer_value(json_object_get(stream, "index"));
	const char *kind = json_string_value(json_object_get(stream, "kind"));

	json_object_set_new(row, "stream", json_sprintf("%lld %s", (long long)index, kind ? kind : ""));
	json_object_set_new(row, "side", json_string(name[0] == 'b' ? "callee" : "caller"));
	json_object_set_new(row, "dropped", json_integer(sum_of(json_object_get(side, "dropped"))));
	json_array_append_new(rows, row);
}

static void print_streams(FILE *out, const json_t *json)
{
	json_t *rows = json_array(), *stream;
	size_t i;

	json_array_foreach(json_object_get(json, "streams"), i, stream) {
		const char *side = json_string_value(json_object_get(stream, "side"));

		if (side != NULL) { /* call records: one object per side */
			add_stream_row(rows, stream, stream, side);
			continue;
		}
		add_stream_row(rows, stream, json_object_get(stream, "a"), "a");
		add_stream_row(rows, stream, json_object_get(stream, "b"), "b");
	}
	fputs("\nMedia, as received from each side\n", out);
	if (json_array_size(rows) > 0)
		cli_table(out, rows, stream_columns, N_OF(stream_columns));
	else
		fputs("  none\n", out);
	json_decref(rows);
}

/* The ladder */

/* "INVITE", or "180 Ringing": what a ladder calls a message. */
static char *label_of(const json_t *message)
{
	const char *text = json_string_value(json_object_get(message, "text"));
	struct span line = span_of(text), word;
	char label[64], *clean;

	line = span_trim(span_cut(&line, '\n'));
	if (span_starts(line, SPAN_LIT("SIP/2.0 ")))
		word = span_sub(line, 8, line.len);
	else
		word = span_cut(&line, ' ');
	snprintf(label, sizeof(label), "%.*s", SPAN_ARG(word));
	clean = cli_clean(label, false);
	return clean;
}

/* Two lanes: caller and gateway on the left, gateway and callee on the right. */
static void print_arrow(FILE *out, const json_t *message)
{
	bool is_b = strcmp(json_string_value(json_object_get(message, "leg")) ?: "a", "b") == 0;
	bool is_out = strcmp(json_string_value(json_object_get(message, "direction")) ?: "in", "out") == 0;
	bool is_rightward = is_out == is_b;
	char *at = cli_value(message, "at", CLI_CLOCK), *label = label_of(message);
	char *remote = cli_value(message, "remote", CLI_TEXT);

	fprintf(out, "  %s  %*s%s  %s%s%s  %s   (%s)\n", at, is_b ? 24 : 0, "", is_b ? "gateway" : "caller ",
		is_rightward ? "--" : "<--", label, is_rightward ? "-->" : "--", is_b ? "callee" : "gateway", remote);
	free(at);
	free(label);
	free(remote);
}

static void print_ladder(FILE *out, const json_t *json)
{
	json_int_t lost = json_integer_value(json_object_get(json, "messages_lost"));
	json_t *message;
	size_t i;

	if (json_object_get(json, "messages") == NULL)
		return; /* call records have none */
	fputs("\nMessages\n", out);
	if (lost > 0)
		fprintf(out, "  (%lld older ones are no longer kept)\n", (long long)lost);
	json_array_foreach(json_object_get(json, "messages"), i, message)
		print_arrow(out, message);
}

static void print_call(FILE *out, const json_t *json)
{
	char *id = cli_value(json, "id", CLI_TEXT);

	fprintf(out, "Call %s\n", id);
	free(id);
	cli_fields(out, json, head_fields, N_OF(head_fields));
	print_leg(out, json, "legs.a", "Leg A (caller)");
	print_leg(out, json, "legs.b", "Leg B (callee)");
	print_streams(out, json);
	fputs("\nDecision\n", out);
	cli_steps(out, json_object_get(json, "decision"));
	print_ladder(out, json);
}

/* Verbs */

enum cli_exit cli_show_call(struct cli *cli)
{
	return cli_show_one(cli, "/v1/calls/", print_call);
}

enum cli_exit cli_show_cdr(struct cli *cli)
{
	return cli_show_one(cli, "/v1/cdrs/", print_call);
}

/* The resource of sessions knows calls, too. */
enum cli_exit cli_hangup(struct cli *cli)
{
	json_t *json = NULL;
	enum cli_exit code = cli_ask_one(cli, "DELETE", "/v1/sessions/", cli->argument, &json);

	if (code == CLI_OK && cli->format == CLI_TABLE)
		fprintf(cli->out, "%s is being ended.\n", cli->argument);
	json_decref(json);
	return code;
}
