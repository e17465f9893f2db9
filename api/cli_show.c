/* Lists of calls, records, configured objects and pinholes: a table of columns each. */
#include "api/cli_list.h"

#include <stdlib.h>

static const struct cli_column calls_columns[] = {
	{ "ID", "id", CLI_TEXT },
	{ "STATE", "state", CLI_TEXT },
	{ "FROM", "from_uri", CLI_TEXT },
	{ "TO", "to_uri", CLI_TEXT },
	{ "REALM", "from_realm", CLI_TEXT },
	{ "PEER", "to_peer", CLI_TEXT },
	{ "STARTED", "started_at", CLI_TIME },
	{ "ANSWERED", "answered_at", CLI_TIME },
	{ "HELD", "is_held", CLI_TEXT },
	{ "STATUS", "status", CLI_TEXT },
	{ "CAUSE", "cause", CLI_TEXT },
};
static const struct cli_column cdrs_columns[] = {
	{ "ID", "id", CLI_TEXT },
	{ "STARTED", "started_at", CLI_TIME },
	{ "DURATION", "duration_ms", CLI_SECONDS },
	{ "FROM", "legs.a.from_uri", CLI_TEXT },
	{ "TO", "legs.a.to_uri", CLI_TEXT },
	{ "REALM", "legs.a.realm", CLI_TEXT },
	{ "PEER", "legs.b.peer", CLI_TEXT },
	{ "STATUS", "status", CLI_TEXT },
	{ "ENDED BY", "ended_by", CLI_TEXT },
	{ "CAUSE", "cause", CLI_TEXT },
};
static const struct cli_column realms_columns[] = {
	{ "REALM", "name", CLI_TEXT },
	{ "SIP", "sip", CLI_TEXT },
	{ "TRUST", "trust", CLI_TEXT },
	{ "NAT", "nat", CLI_TEXT },
	{ "CALLS", "calls_active", CLI_TEXT },
	{ "MAX", "max_calls", CLI_TEXT },
	{ "MEDIA FROM", "media_port_min", CLI_TEXT },
	{ "MEDIA TO", "media_port_max", CLI_TEXT },
	{ "PAIRS USED", "pairs_used", CLI_TEXT },
	{ "PAIRS", "pairs_total", CLI_TEXT },
};
static const struct cli_column peers_columns[] = {
	{ "PEER", "name", CLI_TEXT },
	{ "REALM", "realm", CLI_TEXT },
	{ "TARGETS", "targets", CLI_TEXT },
	{ "CALLS", "calls_total", CLI_TEXT },
	{ "FAILED", "failures_total", CLI_TEXT },
};

static const struct cli_column pinholes_columns[] = {
	{ "OWNER", "owner", CLI_TEXT },
	{ "PATH", "path", CLI_TEXT },
	{ "STATE", "state", CLI_TEXT },
	{ "SOURCE", "source", CLI_TEXT },
	{ "LISTEN", "listen", CLI_TEXT },
	{ "FROM", "from", CLI_TEXT },
	{ "TARGET", "target", CLI_TEXT },
	{ "PACKETS", "packets", CLI_TEXT },
	{ "LOST", "lost", CLI_TEXT },
	{ "JITTER", "jitter_us", CLI_MS },
	{ "DROPPED", "dropped", CLI_TEXT },
	{ "IDLE", "idle_ms", CLI_SECONDS },
	{ "KERNEL", "in_kernel", CLI_TEXT },
	{ "WHY", "reason", CLI_TEXT },
	{ "ID", "id", CLI_TEXT },
};

enum cli_exit cli_show_calls(struct cli *cli)
{
	static const struct cli_list list = { "/v1/calls", CLI_LIVE_DEFAULT, CLI_COLUMNS(calls_columns) };

	return cli_show_list(cli, &list);
}

enum cli_exit cli_show_cdrs(struct cli *cli)
{
	static const struct cli_list list = { "/v1/cdrs", CLI_LIVE_DEFAULT, CLI_COLUMNS(cdrs_columns) };

	return cli_show_list(cli, &list);
}

enum cli_exit cli_show_peers(struct cli *cli)
{
	static const struct cli_list list = { "/v1/peers", CLI_CONFIGURED_MAX, CLI_COLUMNS(peers_columns) };

	return cli_show_list(cli, &list);
}

/* The table shows a realm's pools as one. */
static void add_realm_row(json_t *rows, json_t *realm)
{
	json_t *pools = json_object_get(realm, "pools"), *pool;
	json_int_t used = 0, total = 0;
	size_t i;

	json_array_foreach(pools, i, pool) {
		used += json_integer_value(json_object_get(pool, "pairs_used"));
		total += json_integer_value(json_object_get(pool, "pairs_total"));
	}
	json_object_set_new(realm, "pairs_used", json_integer(used));
	json_object_set_new(realm, "pairs_total", json_integer(total));
	json_array_append(rows, realm);
}

enum cli_exit cli_show_realms(struct cli *cli)
{
	static const struct cli_list list = { "/v1/realms", CLI_CONFIGURED_MAX, CLI_COLUMNS(realms_columns),
					      .add_rows = add_realm_row };

	return cli_show_list(cli, &list);
}

/* Without a payload check nothing is known of loss: better no number than a wrong one. The reasons of drops are added up. */
static void add_pinhole_row(json_t *rows, json_t *pinhole)
{
	const json_t *dropped = json_object_get(pinhole, "dropped");
	json_int_t sum = json_integer_value(json_object_get(dropped, "rate"));

	sum += json_integer_value(json_object_get(dropped, "format"));
	json_object_set_new(pinhole, "dropped", json_integer(sum));
	if (!json_is_true(json_object_get(pinhole, "has_rtp"))) {
		json_object_set_new(pinhole, "lost", json_null());
		json_object_set_new(pinhole, "jitter_us", json_null());
	}
	json_array_append(rows, pinhole);
}

static void print_summary(FILE *out, const json_t *list)
{
	const json_t *summary = json_object_get(list, "summary");
	char *missing = cli_value(summary, "missing", CLI_TEXT), *orphans = cli_value(summary, "orphans", CLI_TEXT);
	char *starts = cli_value(summary, "helper_starts", CLI_TEXT);
	bool has_helper = json_is_true(json_object_get(summary, "has_helper"));
	const char *path, *separator = "Open:";
	json_t *n;

	fputc('\n', out);
	json_object_foreach(json_object_get(summary, "open"), path, n) {
		fprintf(out, "%s %s %" JSON_INTEGER_FORMAT, separator, path, json_integer_value(n));
		separator = ",";
	}
	fprintf(out, ". Audits found missing: %s, orphans: %s. Helper: %s%s.\n", missing, orphans,
		has_helper ? "runs, starts " : "not there", has_helper ? starts : "");
	free(missing);
	free(orphans);
	free(starts);
}

enum cli_exit cli_show_pinholes(struct cli *cli)
{
	static const struct cli_list list = { "/v1/pinholes", CLI_LIVE_DEFAULT, CLI_COLUMNS(pinholes_columns),
					      .add_rows = add_pinhole_row, .print_end = print_summary };

	cli->owner = cli->argument;
	return cli_show_list(cli, &list);
}
