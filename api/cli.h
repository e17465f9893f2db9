/* The command line, a thin client of the REST API: verbs and options as tables, one function per verb. What a verb
 * prints is text from the network as well, so everything goes through cli_print.h, which leaves no control character
 * in it. */
#ifndef API_CLI_H
#define API_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,      /* the gateway refused, or a check failed */
	CLI_USAGE = 2,
	CLI_UNREACHABLE = 3, /* no gateway answers */
};

enum cli_format { CLI_TABLE, CLI_JSON, CLI_TSV };

struct cli { /* the command line, read */
	FILE *out, *err;
	const char *socket, *url, *token_file;
	const char *output, *watch; /* as given; format and watch_s are what they mean */
	enum cli_format format;
	unsigned watch_s; /* 0: once */
	const char *state, *realm, *peer, *q, *since, *until, *limit, *path, *owner;
	const char *protocol, *alg, *user, *session, *verb_filter;
	const char *client, *server, *direction, *size, *transport, *transcript;
	const char *file, *name, *scope;
	const char *fuzz, *seed; /* as given */
	uint32_t fuzz_s;         /* what they mean */
	uint64_t seed_n;
	const char *argument; /* what follows the verb: the first word */
	char **arguments;     /* all of it */
	unsigned n_arguments;
};

enum { /* bits: options that a verb takes beside those that all take */
	CLI_OPT_WATCH = 1,
	CLI_OPT_STATE = 2,
	CLI_OPT_PEER = 4,
	CLI_OPT_TIME = 8,   /* --since --until */
	CLI_OPT_LIMIT = 16,
	CLI_OPT_TOKEN = 32, /* --file --name --scope */
	CLI_OPT_REALM = 64,
	CLI_OPT_PATH = 128,
	CLI_OPT_Q = 256,
	CLI_OPT_ALG = 512,       /* --alg --protocol */
	CLI_OPT_USER = 1024,
	CLI_OPT_TRANSFER = 2048, /* --session --verb */
	CLI_OPT_EXPLAIN = 4096,  /* --client --server --direction --size --transport --transcript */
	CLI_OPT_FUZZ = 8192,     /* --fuzz --seed */
	CLI_OPT_ALL_VERBS = 1 << 30,
};

struct cli_option {
	const char *name;     /* long */
	char letter;          /* or 0 */
	const char *metavar;  /* NULL: none wanted */
	bool is_optional;     /* the value may be left out */
	unsigned bit;
	size_t offset;        /* of the const char * in struct cli */
	const char *help;
	const char *choices;  /* space-separated, for the completion; or NULL */
};
extern const struct cli_option cli_options[];
extern const unsigned cli_n_options;

typedef enum cli_exit cli_verb_fn(struct cli *cli);
struct cli_verb {
	const char *words;    /* "show calls" */
	const char *argument; /* "ID"; "ALG [VERB]": words in brackets may be left out; "FILE...": one or more;
			       * NULL: takes none */
	unsigned options;
	cli_verb_fn *run;
	const char *help;     /* one line */
};
extern const struct cli_verb cli_verbs[];
extern const unsigned cli_n_verbs;

/* The whole program; out and err stand for standard output and error. */
int cli_main(int argc, char **argv, FILE *out, FILE *err);

cli_verb_fn cli_show_calls, cli_show_call, cli_show_cdrs, cli_show_cdr, cli_show_realms, cli_show_peers;
cli_verb_fn cli_show_pinholes;
cli_verb_fn cli_show_sessions, cli_show_session, cli_show_transfers, cli_show_algs, cli_show_profiles, cli_show_profile;
cli_verb_fn cli_show_config, cli_reload, cli_reload_check;
cli_verb_fn cli_explain;
cli_verb_fn cli_alg_list, cli_alg_run;
cli_verb_fn cli_hangup, cli_doctor, cli_token_new, cli_completion;

/* Asks the gateway. On CLI_OK the JSON (new reference, NULL for 204) is in *ret; otherwise the reason was printed. */
enum cli_exit cli_ask(struct cli *cli, const char *method, const char *path, json_t **ret);
/* Likewise with a JSON body. */
enum cli_exit cli_post(struct cli *cli, const char *path, const json_t *body, json_t **ret);
/* The object of that name below `resource`, "/v1/calls/". */
enum cli_exit cli_ask_one(struct cli *cli, const char *method, const char *resource, const char *name, json_t **ret);
/* The same, but 503 with a body is CLI_OK too: probes. */
enum cli_exit cli_probe(struct cli *cli, const char *path, json_t **ret);

#endif
