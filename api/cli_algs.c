/* Lists of what ALGs do: sessions, transfers, listeners, profiles; and the rules of one profile. */
#include "api/cli_list.h"

#include <stdlib.h>

#include "core/span.h"

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct cli_column sessions_columns[] = {
	{ "ID", "id", CLI_TEXT },
	{ "PROTOCOL", "protocol", CLI_TEXT },
	{ "STATE", "state", CLI_TEXT },
	{ "FROM", "from", CLI_TEXT },
	{ "TO", "to", CLI_TEXT },
	{ "USER", "user", CLI_TEXT },
	{ "ALG", "alg", CLI_TEXT },
	{ "REALM", "from_realm", CLI_TEXT },
	{ "STARTED", "started_at", CLI_TIME },
	{ "HOLES", "n_holes", CLI_TEXT },
	{ "TRANSFERS", "n_transfers", CLI_TEXT },
	{ "CAUSE", "cause", CLI_TEXT },
};
static const struct cli_column transfers_columns[] = {
	{ "STARTED", "started_at", CLI_TIME },
	{ "DURATION", "duration_ms", CLI_SECONDS },
	{ "VERB", "verb", CLI_TEXT },
	{ "PATH", "path", CLI_TEXT },
	{ "USER", "user", CLI_TEXT },
	{ "WAY", "direction", CLI_TEXT },
	{ "BYTES", "bytes", CLI_TEXT },
	{ "CODE", "code", CLI_TEXT },
	{ "OK", "is_ok", CLI_TEXT },
	{ "CAUSE", "cause", CLI_TEXT },
	{ "ALG", "alg", CLI_TEXT },
	{ "CLIENT", "client", CLI_TEXT },
	{ "SERVER", "server", CLI_TEXT },
	{ "DATA PATH", "data_path", CLI_TEXT },
	{ "RULE", "rule", CLI_TEXT },
	{ "SESSION", "session", CLI_TEXT },
	{ "ID", "id", CLI_TEXT },
};
static const struct cli_column algs_columns[] = {
	{ "ALG", "name", CLI_TEXT },
	{ "PROTOCOL", "protocol", CLI_TEXT },
	{ "MODE", "mode", CLI_TEXT },
	{ "REALM", "realm", CLI_TEXT },
	{ "TO", "to", CLI_TEXT },
	{ "PROFILE", "profile", CLI_TEXT },
	{ "LISTEN", "listen", CLI_TEXT },
	{ "OPEN", "is_open", CLI_TEXT },
	{ "SESSIONS", "sessions_active", CLI_TEXT },
	{ "TOTAL", "sessions_total", CLI_TEXT },
	{ "REFUSED", "refused_total", CLI_TEXT },
	{ "WHY", "reason", CLI_TEXT },
};
static const struct cli_column profiles_columns[] = {
	{ "PROFILE", "name", CLI_TEXT },
	{ "PROTOCOL", "protocol", CLI_TEXT },
	{ "MODE", "mode", CLI_TEXT },
	{ "DEFAULT", "default.verdict", CLI_TEXT },
	{ "RULES", "n_rules", CLI_TEXT },
	{ "ALLOWED", "allowed", CLI_TEXT },
	{ "DENIED", "denied", CLI_TEXT },
	{ "WOULD DENY", "would_deny", CLI_TEXT },
	{ "ALGS", "algs", CLI_TEXT },
};
static const struct cli_column profile_fields[] = {
	{ "Protocol", "protocol", CLI_TEXT },
	{ "Mode", "mode", CLI_TEXT },
	{ "ALGs", "algs", CLI_TEXT },
};
static const struct cli_column rules_columns[] = {
	{ "RULE", "name", CLI_TEXT },
	{ "VERDICT", "verdict", CLI_TEXT },
	{ "HITS", "hits", CLI_TEXT },
	{ "WOULD DENY", "would_deny", CLI_TEXT },
	{ "WHEN", "when", CLI_TEXT },
	{ "THEN", "then", CLI_TEXT },
};

enum cli_exit cli_show_sessions(struct cli *cli)
{
	static const struct cli_list list = { "/v1/sessions", CLI_LIVE_DEFAULT, CLI_COLUMNS(sessions_columns) };

	return cli_show_list(cli, &list);
}

enum cli_exit cli_show_transfers(struct cli *cli)
{
	static const struct cli_list list = { "/v1/transfers", CLI_LIVE_DEFAULT, CLI_COLUMNS(transfers_columns) };

	return cli_show_list(cli, &list);
}

/* A row per listener; an ALG without one has a row all the same. */
static void add_listener_rows(json_t *rows, json_t *alg)
{
	json_t *listeners = json_object_get(alg, "listeners"), *listener;
	size_t i;

	json_array_foreach(listeners, i, listener) {
		json_t *row = json_copy(alg);

		json_object_update(row, listener);
		json_array_append_new(rows, row);
	}
	if (json_array_size(listeners) == 0)
		json_array_append(rows, alg);
}

enum cli_exit cli_show_algs(struct cli *cli)
{
	static const struct cli_list list = { "/v1/algs", CLI_CONFIGURED_MAX, CLI_COLUMNS(algs_columns),
					      .add_rows = add_listener_rows };

	return cli_show_list(cli, &list);
}

/* Profiles */

static void add_to(json_t *profile, const char *name, const json_t *rule, const char *count)
{
	json_int_t sum = json_integer_value(json_object_get(profile, name));

	sum += json_integer_value(json_object_get(rule, count));
	json_object_set_new(profile, name, json_integer(sum));
}

static void sum_rule(json_t *profile, const json_t *rule)
{
	const char *verdict = json_string_value(json_object_get(rule, "verdict"));
	bool is_allow = verdict != NULL && strcmp(verdict, "allow") == 0;

	add_to(profile, is_allow ? "allowed" : "denied", rule, "hits");
	add_to(profile, is_allow ? "denied" : "allowed", rule, "none"); /* so that both are there */
	add_to(profile, "would_deny", rule, "would_deny");
}

static void add_profile_row(json_t *rows, json_t *profile)
{
	json_t *rules = json_object_get(profile, "rules"), *rule;
	size_t i;

	json_array_foreach(rules, i, rule)
		sum_rule(profile, rule);
	sum_rule(profile, json_object_get(profile, "default"));
	json_object_set_new(profile, "n_rules", json_integer((json_int_t)json_array_size(rules)));
	json_array_append(rows, profile);
}

enum cli_exit cli_show_profiles(struct cli *cli)
{
	static const struct cli_list list = { "/v1/profiles", CLI_CONFIGURED_MAX, CLI_COLUMNS(profiles_columns),
					      .add_rows = add_profile_row };

	return cli_show_list(cli, &list);
}

/* "verb STOR,APPE; direction up". `first` are words in front; NULL when there is nothing to say. */
static json_t *joined(const json_t *object, const char *first)
{
	json_t *text = first != NULL ? json_string(first) : NULL, *value;
	const char *name;

	json_object_foreach((json_t *)object, name, value) {
		char *clean;
		json_t *longer;

		if (json_is_null(value))
			continue;
		clean = cli_value(object, name, CLI_TEXT);
		longer = json_sprintf("%s%s%s %s", text != NULL ? json_string_value(text) : "",
				      text != NULL ? "; " : "", name, clean);
		free(clean);
		json_decref(text);
		text = longer;
	}
	return text != NULL ? text : json_null();
}

/* What a rule asks for, and what follows from it, as texts. */
static void describe_rule(json_t *rule)
{
	json_t *then = json_object(), *match = json_object_get(rule, "match");
	bool is_observed = json_is_true(json_object_get(rule, "is_observed"));

	json_object_update(then, json_object_get(rule, "limits"));
	json_object_set(then, "code", json_object_get(rule, "code"));
	json_object_set(then, "text", json_object_get(rule, "text"));
	json_object_set_new(rule, "then", joined(then, is_observed ? "only observed" : NULL));
	json_object_set_new(rule, "when", json_object_size(match) > 0 ? joined(match, NULL) : json_string("always"));
	json_decref(then);
}

static void print_profile(FILE *out, const json_t *profile)
{
	json_t *rows = json_deep_copy(json_object_get(profile, "rules")), *rule;
	json_t *otherwise = json_copy(json_object_get(profile, "default"));
	char *name = cli_value(profile, "name", CLI_TEXT);
	size_t i;

	json_array_foreach(rows, i, rule)
		describe_rule(rule);
	json_object_set_new(otherwise, "name", json_string("default"));
	json_object_set_new(otherwise, "when", json_string("no rule matches"));
	json_array_append_new(rows, otherwise);
	fprintf(out, "Profile %s\n", name);
	cli_fields(out, profile, profile_fields, N_OF(profile_fields));
	fputc('\n', out);
	cli_table(out, rows, rules_columns, N_OF(rules_columns));
	free(name);
	json_decref(rows);
}

enum cli_exit cli_show_profile(struct cli *cli)
{
	return cli_show_one(cli, "/v1/profiles/", print_profile);
}
