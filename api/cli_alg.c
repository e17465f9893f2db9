/* "alg list" and "alg run": application-level gateways on the workbench, without a gateway and without a network.
 * A module of a third party is loaded from a shared object; that happens here and nowhere else, and only when its
 * path was given. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "algs/host.h"
#include "algs/runner.h"
#include "api/cli.h"
#include "api/cli_print.h"
#include "core/err.h"
#include "core/rnd.h"

enum { TRANSCRIPT_MAX = 4 << 20, ROUNDS_AT_ONCE = 50, FUZZ_MAX_S = 86400 };

/* List */

static json_t *classes_of(const struct alg_module *module)
{
	static const char *const kinds[] = { "tcp", "udp", "media" };
	json_t *list = json_array();

	for (unsigned i = 0; i < module->n_classes; i++)
		json_array_append_new(list, json_sprintf("%s/%s (%u)", module->classes[i].name, kinds[module->classes[i].kind],
							 module->classes[i].max));
	return list;
}

static json_t *verbs_of(const struct alg_module *module)
{
	json_t *list = json_array();

	for (const struct alg_verb *v = module->verbs; v != NULL && v->name != NULL; v++)
		json_array_append_new(list, json_string(v->name));
	return list;
}

enum cli_exit cli_alg_list(struct cli *cli)
{
	static const struct cli_column columns[] = {
		{ "NAME", "name", CLI_TEXT },       { "VERSION", "version", CLI_TEXT }, { "TRANSPORT", "transport", CLI_TEXT },
		{ "PORT", "port", CLI_TEXT },       { "PINHOLES", "pinholes", CLI_TEXT }, { "VERBS", "n_verbs", CLI_TEXT },
	};
	unsigned n;
	const struct alg_module *const *modules = alg_registry(&n);
	json_t *items = json_array(), *list = json_pack("{s:o}", "items", items);

	for (unsigned i = 0; i < n; i++) {
		json_t *verbs = verbs_of(modules[i]);

		json_array_append_new(items, json_pack("{s:s, s:s, s:s, s:i, s:o, s:i, s:o}", "name", modules[i]->name,
						       "version", modules[i]->version, "transport",
						       modules[i]->is_datagram ? "udp" : "tcp", "port",
						       (int)modules[i]->default_port, "pinholes", classes_of(modules[i]),
						       "n_verbs", (int)json_array_size(verbs), "verbs", verbs));
	}
	cli_print_list(cli, list, columns, sizeof(columns) / sizeof(columns[0]));
	json_decref(list);
	return CLI_OK;
}

/* Run */

static const struct alg_module *load(struct cli *cli, const char *path)
{
	void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* stays until the program ends */
	const struct alg_module *module;

	if (object == NULL) {
		fprintf(cli->err, "postern: %s\n", dlerror());
		return NULL;
	}
	module = dlsym(object, ALG_SYMBOL);
	if (module == NULL || module->magic != ALG_MAGIC) {
		fprintf(cli->err, "postern: %s: is no module: %s\n", path,
			module == NULL ? "has no symbol " ALG_SYMBOL : "its magic number is another");
		return NULL;
	}
	if (module->abi_major != ALG_ABI_MAJOR || module->size < sizeof(*module)) {
		fprintf(cli->err, "postern: %s: is made for version %u of the interface, this is version %u; build it again\n", path,
			module->abi_major, ALG_ABI_MAJOR);
		return NULL;
	}
	return module;
}

static const struct alg_module *find_module(struct cli *cli, const char *name)
{
	const struct alg_module *module;

	if (strchr(name, '/') != NULL)
		return load(cli, name);
	module = alg_registry_find(span_of(name));
	if (module == NULL)
		fprintf(cli->err, "postern: %s: no such module (see postern alg list; a shared object is named with a /)\n", name);
	return module;
}

/* malloc'd; NULL with a message. */
static char *read_transcript(struct cli *cli, const char *path, size_t *ret_len)
{
	FILE *file = fopen(path, "rb");
	char *text = file != NULL ? malloc(TRANSCRIPT_MAX + 1) : NULL;
	size_t len = 0;

	errno = file == NULL ? errno : text == NULL ? ENOMEM : 0;
	if (text != NULL)
		len = fread(text, 1, TRANSCRIPT_MAX + 1, file);
	if (text != NULL && len > TRANSCRIPT_MAX)
		errno = EFBIG;
	if (errno != 0) {
		fprintf(cli->err, "postern: %s: %s\n", path, strerror(errno));
		free(text);
		text = NULL;
	}
	if (file != NULL)
		fclose(file);
	*ret_len = len;
	return text;
}

static void print_failure(struct cli *cli, const char *path, const struct runner_report *report)
{
	char *clean = cli_clean(report->text, false);

	fprintf(cli->out, "%s:%u: %s%s%s\n", path, report->line, report->pass, report->pass[0] ? ": " : "",
		clean != NULL ? clean : "");
	free(clean);
}

/* Every batch has a seed of its own, so that a fault is found again by its batch alone. The time is this process's
 * own. */
static enum cli_exit fuzz(struct cli *cli, const struct alg_module *module, const char *path, struct span text)
{
	clock_t end = clock() + (clock_t)cli->fuzz_s * CLOCKS_PER_SEC;
	uint64_t seed = cli->seed_n;
	struct runner_report report;
	unsigned rounds = 0;
	int ret = 0;

	do {
		ret = runner_fuzz(module, text, seed++, ROUNDS_AT_ONCE, &report);
		rounds += report.n_passes;
	} while (ret == 0 && clock() < end);
	if (ret < 0) {
		print_failure(cli, path, &report);
		fprintf(cli->out, "%s: again with --fuzz 1 --seed %llu\n", path, (unsigned long long)(seed - 1));
		return CLI_FAILED;
	}
	fprintf(cli->out, "%s: fuzzed in %u rounds, seeds %llu to %llu\n", path, rounds, (unsigned long long)cli->seed_n,
		(unsigned long long)(seed - 1));
	return CLI_OK;
}

static enum cli_exit run_transcript(struct cli *cli, const struct alg_module *module, const char *path)
{
	struct runner_report report;
	enum cli_exit code = CLI_OK;
	struct span text;
	char *bytes = read_transcript(cli, path, &text.len);

	if (bytes == NULL)
		return CLI_FAILED;
	text.ptr = bytes;
	if (runner_run(module, text, &report) < 0) {
		print_failure(cli, path, &report);
		code = CLI_FAILED;
	} else {
		fprintf(cli->out, "%s: ok, %u expectations in %u passes\n", path, report.n_checks, report.n_passes);
	}
	if (code == CLI_OK && cli->fuzz_s > 0)
		code = fuzz(cli, module, path, text);
	free(bytes);
	return code;
}

enum cli_exit cli_alg_run(struct cli *cli)
{
	const struct alg_module *module;
	enum cli_exit code = CLI_OK;
	uint32_t seed = 0;

	if (cli->fuzz != NULL && (span_to_u32(span_of(cli->fuzz), FUZZ_MAX_S, &cli->fuzz_s) < 0 || cli->fuzz_s == 0)) {
		fprintf(cli->err, "postern: %s: --fuzz wants seconds\n", cli->fuzz);
		return CLI_USAGE;
	}
	if (cli->seed != NULL && span_to_u32(span_of(cli->seed), UINT32_MAX, &seed) < 0) {
		fprintf(cli->err, "postern: %s: --seed wants a number\n", cli->seed);
		return CLI_USAGE;
	}
	cli->seed_n = cli->seed != NULL ? seed : rnd_below(UINT32_MAX);
	module = find_module(cli, cli->arguments[0]);
	if (module == NULL)
		return CLI_FAILED;
	for (unsigned i = 1; i < cli->n_arguments; i++)
		if (run_transcript(cli, module, cli->arguments[i]) != CLI_OK)
			code = CLI_FAILED;
	return code;
}
