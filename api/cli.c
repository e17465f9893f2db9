/* Reads the command line by two tables, finds the verb, and repeats it for --watch. Messages go to standard error and
 * say what to do; exit codes are in cli.h. */
#include "api/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/err.h"
#include "core/span.h"

enum { OPTIONS_MAX = 32, WORDS_MAX = 3, OPT_HELP = 1000, OPT_VERSION };

#define OPTION(name, letter, metavar, bit, member, help, choices) \
	{ name, letter, metavar, false, bit, offsetof(struct cli, member), help, choices }
const struct cli_option cli_options[] = {
	OPTION("output", 'o', "FORMAT", CLI_OPT_ALL_VERBS, output, "table, json or tsv", "table json tsv"),
	OPTION("socket", 's', "PATH", CLI_OPT_ALL_VERBS, socket, "UNIX socket of the gateway", NULL),
	OPTION("url", 0, "URL", CLI_OPT_ALL_VERBS, url, "ask over TCP, such as http://127.0.0.1:8480", NULL),
	OPTION("token-file", 0, "FILE", CLI_OPT_ALL_VERBS, token_file, "file with the token for --url", NULL),
	{ "watch", 'w', "SECONDS", true, CLI_OPT_WATCH, offsetof(struct cli, watch),
	  "repeat, every 2 seconds by default", NULL },
	OPTION("state", 0, "STATE", CLI_OPT_STATE, state, "only calls or sessions in this state",
	       "proceeding answered connecting open bypassed draining ended"),
	OPTION("realm", 0, "NAME", CLI_OPT_REALM, realm, "only what goes to or comes from this realm", NULL),
	OPTION("peer", 0, "NAME", CLI_OPT_PEER, peer, "only calls to or from this peer", NULL),
	OPTION("q", 'q', "TEXT", CLI_OPT_Q, q, "only with this text in a caller, callee, Call-ID, path or user", NULL),
	OPTION("path", 0, "NAME", CLI_OPT_PATH, path, "only pinholes that this mechanism holds", "xdp tc conntrack nft"),
	OPTION("protocol", 0, "NAME", CLI_OPT_ALG, protocol, "only of this protocol", "sip ftp rtsp tftp"),
	OPTION("alg", 0, "NAME", CLI_OPT_ALG, alg, "only of this ALG", NULL),
	OPTION("user", 'u', "NAME", CLI_OPT_USER, user, "only of this user; explain: who asks", NULL),
	OPTION("session", 0, "ID", CLI_OPT_TRANSFER, session, "only transfers of this session", NULL),
	OPTION("verb", 0, "NAME", CLI_OPT_TRANSFER, verb_filter, "only transfers by this command", NULL),
	OPTION("since", 0, "TIME", CLI_OPT_TIME, since, "only what began then or later, such as 2026-03-01T12:00:00Z",
	       NULL),
	OPTION("until", 0, "TIME", CLI_OPT_TIME, until, "only what began before then", NULL),
	OPTION("limit", 'n', "NUMBER", CLI_OPT_LIMIT, limit, "at most so many, 100 by default", NULL),
	OPTION("client", 0, "ADDRESS", CLI_OPT_EXPLAIN, client, "where the client is", NULL),
	OPTION("server", 0, "ADDRESS", CLI_OPT_EXPLAIN, server, "where the server is", NULL),
	OPTION("direction", 0, "WAY", CLI_OPT_EXPLAIN, direction, "of the data, up is from the client to the server",
	       "up down"),
	OPTION("size", 0, "OCTETS", CLI_OPT_EXPLAIN, size, "that was announced", NULL),
	OPTION("transport", 0, "NAME", CLI_OPT_EXPLAIN, transport, "of media", "udp interleaved multicast"),
	OPTION("transcript", 't', "FILE", CLI_OPT_EXPLAIN, transcript,
	       "messages to play instead of a verb, - for standard input", NULL),
	OPTION("file", 'f', "FILE", CLI_OPT_TOKEN, file, "token file of the gateway", NULL),
	OPTION("name", 0, "NAME", CLI_OPT_TOKEN, name, "what the log calls the token", NULL),
	OPTION("scope", 0, "SCOPES", CLI_OPT_TOKEN, scope, "what it may do, admin (all) by default",
	       "read:calls read:config read:metrics operate admin"),
	OPTION("fuzz", 0, "SECONDS", CLI_OPT_FUZZ, fuzz, "then change each transcript at random for so long", NULL),
	OPTION("seed", 0, "NUMBER", CLI_OPT_FUZZ, seed, "of the changes; the same seed makes the same ones", NULL),
};
const unsigned cli_n_options = sizeof(cli_options) / sizeof(cli_options[0]);

const struct cli_verb cli_verbs[] = {
	{ "show calls", NULL, CLI_OPT_WATCH | CLI_OPT_STATE | CLI_OPT_PEER | CLI_OPT_Q | CLI_OPT_REALM | CLI_OPT_LIMIT,
	  cli_show_calls, "list calls, newest first" },
	{ "show call", "ID", CLI_OPT_WATCH, cli_show_call, "everything about one call" },
	{ "show cdrs", NULL, CLI_OPT_WATCH | CLI_OPT_PEER | CLI_OPT_Q | CLI_OPT_REALM | CLI_OPT_TIME | CLI_OPT_LIMIT,
	  cli_show_cdrs, "list records of calls that ended, newest first" },
	{ "show cdr", "ID", 0, cli_show_cdr, "one call record" },
	{ "show sessions", NULL,
	  CLI_OPT_WATCH | CLI_OPT_STATE | CLI_OPT_ALG | CLI_OPT_USER | CLI_OPT_REALM | CLI_OPT_LIMIT, cli_show_sessions,
	  "list sessions of all protocols, newest first" },
	{ "show session", "ID", CLI_OPT_WATCH, cli_show_session, "everything about one session" },
	{ "show transfers", NULL,
	  CLI_OPT_WATCH | CLI_OPT_ALG | CLI_OPT_USER | CLI_OPT_TRANSFER | CLI_OPT_Q | CLI_OPT_TIME | CLI_OPT_LIMIT,
	  cli_show_transfers, "list records of data that crossed sessions, newest first" },
	{ "show algs", NULL, CLI_OPT_WATCH, cli_show_algs, "application-level gateways with their listeners" },
	{ "show profiles", NULL, CLI_OPT_WATCH, cli_show_profiles, "profiles with what their rules decided" },
	{ "show profile", "NAME", CLI_OPT_WATCH, cli_show_profile, "the rules of one profile, with their counters" },
	{ "show config", NULL, CLI_OPT_WATCH, cli_show_config, "which configuration is in force, and how the last reload went" },
	{ "show realms", NULL, CLI_OPT_WATCH, cli_show_realms, "realms with their calls and media ports" },
	{ "show peers", NULL, CLI_OPT_WATCH, cli_show_peers, "peers with their counters" },
	{ "show pinholes", "[ID]", CLI_OPT_WATCH | CLI_OPT_REALM | CLI_OPT_PATH | CLI_OPT_LIMIT, cli_show_pinholes,
	  "what the kernel forwards, of one call or session or of all" },
	{ "explain", "ALG [VERB] [TARGET]", CLI_OPT_USER | CLI_OPT_EXPLAIN, cli_explain,
	  "what an ALG would do with a command or with messages, and why" },
	{ "alg list", NULL, 0, cli_alg_list, "application-level gateways that are built in" },
	{ "alg run", "MODULE FILE...", CLI_OPT_FUZZ, cli_alg_run,
	  "run a module (a name, or a path of a shared object) over transcripts" },
	{ "hangup", "ID", 0, cli_hangup, "end a call or a session on both sides" },
	{ "reload check", NULL, 0, cli_reload_check, "check whether the configuration file could be put in force now" },
	{ "reload", NULL, 0, cli_reload, "put the configuration file in force, as a whole or not at all" },
	{ "doctor", NULL, 0, cli_doctor, "check the gateway and this machine, and say what to do" },
	{ "token new", NULL, CLI_OPT_TOKEN, cli_token_new, "make a token for the REST API" },
	{ "completion", "SHELL", 0, cli_completion, "print the completion file for a shell (bash)" },
};
const unsigned cli_n_verbs = sizeof(cli_verbs) / sizeof(cli_verbs[0]);

/* Help */

static void print_options(FILE *out, unsigned bits)
{
	for (unsigned i = 0; i < cli_n_options; i++) {
		const struct cli_option *o = &cli_options[i];
		char left[64], letter[8] = "";

		if ((o->bit & bits) == 0)
			continue;
		if (o->letter != 0)
			snprintf(letter, sizeof(letter), "-%c, ", o->letter);
		snprintf(left, sizeof(left), "%s--%s%s%s%s", letter, o->name, o->is_optional ? " [" : " ", o->metavar,
			 o->is_optional ? "]" : "");
		fprintf(out, "  %-26s %s\n", left, o->help);
	}
}

static void print_help(FILE *out, const struct cli_verb *verb)
{
	if (verb != NULL) {
		fprintf(out, "Usage: postern %s%s%s [options]\n%s\n\nOptions:\n", verb->words,
			verb->argument ? " " : "", verb->argument ? verb->argument : "", verb->help);
		print_options(out, verb->options | CLI_OPT_ALL_VERBS);
		return;
	}
	fputs("Usage: postern VERB [options]\nTalks to the Postern session border gateway of this machine.\n\nVerbs:\n",
	      out);
	for (unsigned i = 0; i < cli_n_verbs; i++) {
		const struct cli_verb *v = &cli_verbs[i];
		char left[64];

		snprintf(left, sizeof(left), "%s %s", v->words, v->argument ? v->argument : "");
		fprintf(out, "  %-28s %s\n", left, v->help);
	}
	fputs("\nOptions for all verbs:\n", out);
	print_options(out, CLI_OPT_ALL_VERBS);
	fputs("  -h, --help; -V, --version\n\n"
	      "Exit codes: 0 done, 1 the gateway refused or a check failed, 2 usage, 3 no gateway answers.\n", out);
}

/* Reading the command line */

struct reading {
	struct cli *cli;
	unsigned used;  /* bits of the options that were given */
	bool wants_help;
	int done;       /* exit code when there is nothing left to do, or -1 */
};

static void fill_getopt(struct option *longs, char *shorts)
{
	*shorts++ = ':'; /* missing values are told apart */
	for (unsigned i = 0; i < cli_n_options; i++) {
		const struct cli_option *o = &cli_options[i];

		longs[i] = (struct option){ o->name, required_argument, NULL, (int)i };
		if (o->is_optional)
			longs[i].has_arg = optional_argument;
		if (o->letter == 0)
			continue;
		*shorts++ = o->letter;
		*shorts++ = ':';
		if (o->is_optional)
			*shorts++ = ':';
	}
	longs[cli_n_options] = (struct option){ "help", no_argument, NULL, OPT_HELP };
	longs[cli_n_options + 1] = (struct option){ "version", no_argument, NULL, OPT_VERSION };
	longs[cli_n_options + 2] = (struct option){ 0 };
	*shorts++ = 'h';
	*shorts++ = 'V';
	*shorts = '\0';
}

static const struct cli_option *option_of(int code)
{
	for (unsigned i = 0; i < cli_n_options; i++) {
		if (code == (int)i || (code > (int)cli_n_options && cli_options[i].letter == code))
			return &cli_options[i];
	}
	return NULL;
}

/* "--watch 5": getopt only knows "--watch=5" for values that may be left out. */
static const char *optional_value(int argc, char **argv)
{
	uint32_t seconds;

	if (optarg == NULL && optind < argc && span_to_u32(span_of(argv[optind]), 86400, &seconds) == 0)
		return argv[optind++];
	return optarg ? optarg : "2";
}

static void take_option(struct reading *reading, int code, int argc, char **argv)
{
	const struct cli_option *option = option_of(code);

	if (code == OPT_HELP || code == 'h') {
		reading->wants_help = true;
	} else if (code == OPT_VERSION || code == 'V') {
		fputs("postern " PACKAGE_VERSION "\n", reading->cli->out);
		reading->done = CLI_OK;
	} else if (option == NULL) {
		fprintf(reading->cli->err, "postern: %s: %s (see postern --help)\n", argv[optind - 1],
			code == ':' ? "needs a value" : "no such option");
		reading->done = CLI_USAGE;
	} else {
		*(const char **)((char *)reading->cli + option->offset) =
			option->is_optional ? optional_value(argc, argv) : optarg;
		reading->used |= option->bit;
	}
}

static void read_options(struct reading *reading, int argc, char **argv)
{
	struct option longs[OPTIONS_MAX + 3];
	char shorts[3 * OPTIONS_MAX + 5];
	int code;

	_Static_assert(sizeof(cli_options) / sizeof(cli_options[0]) <= OPTIONS_MAX, "longs[] is too small");
	fill_getopt(longs, shorts);
	optind = 0; /* tests come here more than once */
	opterr = 0;
	while (reading->done < 0 && (code = getopt_long(argc, argv, shorts, longs, NULL)) != -1)
		take_option(reading, code, argc, argv);
}

/* The verb whose words are the first of argv; *ret_n says how many they are. */
static const struct cli_verb *find_verb(int argc, char **argv, int *ret_n)
{
	for (unsigned i = 0; i < cli_n_verbs; i++) {
		struct span words = span_of(cli_verbs[i].words);
		int n = 0;

		while (words.ptr != NULL && n < argc) {
			if (!span_eq(span_cut(&words, ' '), span_of(argv[n])))
				break;
			n++;
			if (words.ptr == NULL) {
				*ret_n = n;
				return &cli_verbs[i];
			}
		}
	}
	return NULL;
}

static int usage(struct cli *cli, const char *text, const char *about)
{
	fprintf(cli->err, "postern: %s%s%s (see postern --help)\n", about, about[0] ? ": " : "", text);
	return CLI_USAGE;
}

static int check_values(struct cli *cli)
{
	uint32_t seconds = 0, limit;

	if (cli->output == NULL || strcmp(cli->output, "table") == 0)
		cli->format = CLI_TABLE;
	else if (strcmp(cli->output, "json") == 0)
		cli->format = CLI_JSON;
	else if (strcmp(cli->output, "tsv") == 0)
		cli->format = CLI_TSV;
	else
		return usage(cli, "is none of table, json, tsv", cli->output);
	if (cli->watch != NULL && (span_to_u32(span_of(cli->watch), 86400, &seconds) != 0 || seconds == 0))
		return usage(cli, "--watch wants seconds", cli->watch);
	cli->watch_s = seconds;
	if (cli->limit != NULL && (span_to_u32(span_of(cli->limit), 1000000, &limit) != 0 || limit == 0))
		return usage(cli, "--limit wants a number from 1 to 1000000", cli->limit);
	return CLI_OK;
}

static bool may_be_more(const struct cli_verb *verb)
{
	return verb->argument != NULL && strstr(verb->argument, "...") != NULL;
}

static bool is_right_count(const struct cli_verb *verb, int n_arguments)
{
	struct span rest = span_of(verb->argument);
	int least = 0, most = 0;

	while (rest.ptr != NULL) {
		least += span_cut(&rest, ' ').ptr[0] != '[';
		most++;
	}
	return n_arguments >= least && (n_arguments <= most || may_be_more(verb));
}

static int run(struct cli *cli, const struct cli_verb *verb)
{
	int code = verb->run(cli);

	while (cli->watch_s > 0 && code == CLI_OK) {
		fflush(cli->out);
		sleep(cli->watch_s);
		if (isatty(fileno(cli->out)))
			fputs("\033[H\033[2J", cli->out);
		else
			fputc('\n', cli->out);
		code = verb->run(cli);
	}
	return code;
}

static const char *default_socket(void)
{
	const char *named = getenv("POSTERN_SOCKET");

	return named != NULL && named[0] != '\0' ? named : "/run/postern/api.sock";
}

int cli_main(int argc, char **argv, FILE *out, FILE *err)
{
	struct cli cli = { .out = out, .err = err, .socket = default_socket() };
	struct reading reading = { .cli = &cli, .done = -1 };
	const struct cli_verb *verb;
	int n_words = 0, n_left, code;

	read_options(&reading, argc, argv);
	if (reading.done >= 0)
		return reading.done;
	verb = find_verb(argc - optind, argv + optind, &n_words);
	if (reading.wants_help) {
		print_help(out, verb);
		return CLI_OK;
	}
	if (optind == argc) {
		print_help(err, NULL);
		return CLI_USAGE;
	}
	if (verb == NULL)
		return usage(&cli, "no such verb", argv[optind]);
	n_left = argc - optind - n_words;
	if (!is_right_count(verb, n_left))
		return usage(&cli, verb->argument != NULL ? verb->argument : "takes nothing more", verb->words);
	if ((reading.used & ~(verb->options | CLI_OPT_ALL_VERBS)) != 0)
		return usage(&cli, "does not take all of these options", verb->words);
	cli.arguments = argv + argc - n_left;
	cli.n_arguments = (unsigned)n_left;
	cli.argument = n_left > 0 ? cli.arguments[0] : NULL;
	code = check_values(&cli);
	return code == CLI_OK ? run(&cli, verb) : code;
}
