/* Every transcript below tests/transcripts/<protocol>/ against the built-in module of that name: a file is a test.
 * Arguments: only files whose path has one of them in it. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "algs/host.h"
#include "algs/runner.h"

enum { TEXT_MAX = 1 << 20 };

static unsigned n_tests, n_failed;

static size_t read_file(const char *path, char *out, size_t size)
{
	FILE *file = fopen(path, "rb");
	size_t len = 0;

	if (file != NULL) {
		len = fread(out, 1, size, file);
		fclose(file);
	}
	return len;
}

static void run_file(const struct alg_module *module, const char *path, const char *name)
{
	static char text[TEXT_MAX];
	struct runner_report report = { 0 };
	size_t len = read_file(path, text, sizeof(text));
	int ret = 0;

	if (module == NULL || len == 0 || len == sizeof(text))
		snprintf(report.text, sizeof(report.text), "%s", module == NULL ? "no module of this name" : "cannot be read");
	else
		ret = runner_run(module, (struct span){ text, len }, &report);
	n_tests++;
	if (module == NULL || len == 0 || len == sizeof(text) || ret < 0) {
		n_failed++;
		printf("# %s:%u: %s: %s\nnot ", path, report.line, report.pass, report.text);
	}
	printf("ok %u - %s: %u expectations in %u passes\n", n_tests, name, report.n_checks, report.n_passes);
	fflush(stdout);
}

static bool is_asked_for(const char *path, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strstr(path, argv[i]) != NULL)
			return true;
	return argc <= 1;
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void run_folder(const char *top, const char *protocol, int argc, char **argv)
{
	const struct alg_module *module = alg_registry_find(span_of(protocol));
	struct dirent **entries = NULL;
	char path[4096], name[600];
	int n;

	snprintf(path, sizeof(path), "%s/%s", top, protocol);
	n = scandir(path, &entries, is_visible, alphasort);
	for (int i = 0; i < n; i++) {
		const char *dot = strrchr(entries[i]->d_name, '.');

		snprintf(path, sizeof(path), "%s/%s/%s", top, protocol, entries[i]->d_name);
		snprintf(name, sizeof(name), "%s/%s", protocol, entries[i]->d_name);
		if (dot != NULL && strcmp(dot, ".txt") == 0 && is_asked_for(name, argc, argv))
			run_file(module, path, name);
		free(entries[i]);
	}
	free(entries);
}

int main(int argc, char **argv)
{
	const char *source = getenv("POSTERN_SRCDIR");
	struct dirent **entries = NULL;
	char top[2048];
	int n;

	snprintf(top, sizeof(top), "%s/tests/transcripts", source != NULL ? source : ".");
	n = scandir(top, &entries, is_visible, alphasort);
	for (int i = 0; i < n; i++) {
		run_folder(top, entries[i]->d_name, argc, argv);
		free(entries[i]);
	}
	free(entries);
	if (n_tests == 0)
		printf("not ok %u - there are transcripts in %s\n", ++n_tests, top);
	printf("1..%u\n", n_tests);
	return n_failed > 0 || n <= 0 ? 1 : 0;
}
