/* The completion file for bash, generated from the tables of verbs and options, so that it cannot fall behind. */
#include "algs/alg.h"
#include "algs/host.h"
#include "api/cli.h"
#include "core/span.h"

static void print_option_words(FILE *out, unsigned bits)
{
	for (unsigned i = 0; i < cli_n_options; i++) {
		if ((cli_options[i].bit & bits) != 0)
			fprintf(out, " --%s", cli_options[i].name);
	}
}

/* Which second words the first words have. */
static void print_second_words(FILE *out, struct span first)
{
	for (unsigned i = 0; i < cli_n_verbs; i++) {
		struct span rest = span_of(cli_verbs[i].words);

		if (span_eq(span_cut(&rest, ' '), first) && rest.ptr != NULL)
			fprintf(out, " %.*s", SPAN_ARG(rest));
	}
}

static bool is_first_of_its_kind(unsigned at)
{
	struct span words = span_of(cli_verbs[at].words), first = span_cut(&words, ' ');

	for (unsigned i = 0; i < at; i++) {
		struct span other = span_of(cli_verbs[i].words);

		if (span_eq(span_cut(&other, ' '), first))
			return false;
	}
	return true;
}

static void print_values(FILE *out)
{
	fputs("\tcase $prev in\n", out);
	for (unsigned i = 0; i < cli_n_options; i++) {
		const struct cli_option *o = &cli_options[i];

		if (o->choices != NULL)
			fprintf(out, "\t--%s) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", o->name,
				o->choices);
		else if (strcmp(o->metavar, "PATH") == 0 || strcmp(o->metavar, "FILE") == 0)
			fprintf(out, "\t--%s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", o->name);
	}
	fputs("\t-o) COMPREPLY=($(compgen -W 'table json tsv' -- \"$cur\")); return ;;\n\tesac\n", out);
}

static void print_words(FILE *out)
{
	fputs("\tcase $COMP_CWORD in\n\t1) words=\"", out);
	for (unsigned i = 0; i < cli_n_verbs; i++) {
		struct span words = span_of(cli_verbs[i].words), first = span_cut(&words, ' ');

		if (is_first_of_its_kind(i))
			fprintf(out, "%.*s ", SPAN_ARG(first));
	}
	fputs("--help --version\" ;;\n\t2) case ${COMP_WORDS[1]} in\n", out);
	for (unsigned i = 0; i < cli_n_verbs; i++) {
		struct span words = span_of(cli_verbs[i].words), first = span_cut(&words, ' ');

		if (words.ptr == NULL || !is_first_of_its_kind(i))
			continue;
		fprintf(out, "\t\t%.*s) words=\"", SPAN_ARG(first));
		print_second_words(out, first);
		fputs("\" ;;\n", out);
	}
	fputs("\t\tcompletion) words=\"bash\" ;;\n\t\tesac ;;\n\tesac\n", out);
}

static void print_options(FILE *out)
{
	fputs("\tcase \"${COMP_WORDS[1]} ${COMP_WORDS[2]}\" in\n", out);
	for (unsigned i = 0; i < cli_n_verbs; i++) {
		bool has_two = strchr(cli_verbs[i].words, ' ') != NULL;

		fprintf(out, "\t\"%s\"%s) options=\"--help", cli_verbs[i].words, has_two ? "" : "*");
		print_option_words(out, cli_verbs[i].options | CLI_OPT_ALL_VERBS);
		fputs("\" ;;\n", out);
	}
	fputs("\tesac\n", out);
}

/* Verbs whose arguments are files; the first word of "alg run" may also be the name of a module. */
static void print_files(FILE *out)
{
	unsigned n;
	const struct alg_module *const *modules = alg_registry(&n);

	fputs("\tif [[ $cur != -* && $COMP_CWORD -ge 3 ]]; then\n\tcase \"${COMP_WORDS[1]} ${COMP_WORDS[2]}\" in\n", out);
	for (unsigned i = 0; i < cli_n_verbs; i++) {
		if (cli_verbs[i].argument == NULL || strstr(cli_verbs[i].argument, "FILE") == NULL)
			continue;
		fprintf(out, "\t\"%s\") COMPREPLY=($(compgen -f -- \"$cur\"))\n", cli_verbs[i].words);
		fputs("\t\tif [[ $COMP_CWORD -eq 3 ]]; then COMPREPLY+=($(compgen -W '", out);
		for (unsigned j = 0; j < n; j++)
			fprintf(out, "%s%s", j > 0 ? " " : "", modules[j]->name);
		fputs("' -- \"$cur\")); fi; return ;;\n", out);
	}
	fputs("\tesac\n\tfi\n", out);
}

enum cli_exit cli_completion(struct cli *cli)
{
	FILE *out = cli->out;

	if (strcmp(cli->argument, "bash") != 0) {
		fprintf(cli->err, "postern: there is a completion for bash only\n");
		return CLI_USAGE;
	}
	fputs("# bash completion for postern; made by \"postern completion bash\".\n_postern()\n{\n", out);
	fputs("\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words= options=\n", out);
	print_values(out);
	print_words(out);
	print_options(out);
	print_files(out);
	fputs("\tif [[ $cur == -* || -z $words ]]; then words=$options; fi\n", out);
	fputs("\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -F _postern postern\n", out);
	return CLI_OK;
}
