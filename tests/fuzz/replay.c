/* main() for a fuzz harness that is not linked with libFuzzer: feeds it files, so that `make check` replays corpora.
 *
 * Arguments are files or directories (their files in the order of their names, not recursively). Without arguments,
 * the harness's own corpus: fuzz_addr replays $POSTERN_SRCDIR/tests/fuzz/corpus/addr. Prints TAP, one line per argument;
 * what is missing or holds no file is a failure, because a corpus that has gone would otherwise pass for ever. A file that
 * kills the process leaves the plan unfulfilled, and its name is the last one printed. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/span.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char prefix[] = "fuzz_";

/* Every input lies in memory of exactly its size, so that AddressSanitizer sees the first octet read too far. */
static int feed_file(const char *path)
{
	struct stat st;
	uint8_t *bytes = NULL;
	FILE *file = fopen(path, "rb");
	int ret = -1;

	if (file == NULL || fstat(fileno(file), &st) < 0 || !S_ISREG(st.st_mode))
		goto out;
	bytes = malloc(st.st_size > 0 ? (size_t)st.st_size : 1);
	if (bytes == NULL || fread(bytes, 1, (size_t)st.st_size, file) != (size_t)st.st_size)
		goto out;
	printf("# %s\n", path);
	fflush(stdout);
	LLVMFuzzerTestOneInput(bytes, (size_t)st.st_size);
	ret = 0;
out:
	if (ret < 0)
		printf("# %s: %s\n", path, errno ? strerror(errno) : "cannot be read");
	free(bytes);
	if (file != NULL)
		fclose(file);
	return ret;
}

/* The number of files fed, or -1 when one could not be read. */
static int feed_directory(const char *path, struct dirent **entries, int n_entries)
{
	int n_fed = 0;

	for (int i = 0; i < n_entries; i++) {
		char file[4096];

		if (entries[i]->d_name[0] == '.')
			continue;
		if (snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name) >= (int)sizeof(file))
			return -1;
		if (feed_file(file) < 0)
			return -1;
		n_fed++;
	}
	return n_fed;
}

static int feed(const char *path)
{
	struct dirent **entries = NULL;
	struct stat st;
	int n_entries, n_fed;

	errno = 0;
	if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
		return feed_file(path) == 0 ? 1 : -1;
	n_entries = scandir(path, &entries, NULL, alphasort);
	if (n_entries < 0) {
		printf("# %s: %s\n", path, strerror(errno));
		return -1;
	}
	n_fed = feed_directory(path, entries, n_entries);
	for (int i = 0; i < n_entries; i++)
		free(entries[i]);
	free(entries);
	return n_fed;
}

/* The corpus that belongs to this program by its name. */
static const char *own_corpus(const char *program, char *out, size_t size)
{
	const char *source = getenv("POSTERN_SRCDIR");
	const char *name = strrchr(program, '/');

	name = name ? name + 1 : program;
	if (strncmp(name, prefix, sizeof(prefix) - 1) == 0)
		name += sizeof(prefix) - 1;
	if (snprintf(out, size, "%s/tests/fuzz/corpus/%s", source ? source : ".", name) >= (int)size)
		out[0] = '\0';
	return out;
}

int main(int argc, char **argv)
{
	char corpus[4096];
	const char *own[] = { own_corpus(argv[0], corpus, sizeof(corpus)) };
	const char *const *paths = argc > 1 ? (const char *const *)argv + 1 : own;
	int n_paths = argc > 1 ? argc - 1 : 1;
	int n_failed = 0;

	printf("1..%d\n", n_paths);
	for (int i = 0; i < n_paths; i++) {
		int n_fed = feed(paths[i]);
		const char *name = strrchr(paths[i], '/');

		n_failed += n_fed <= 0;
		printf("%sok %d - %s: %d inputs\n", n_fed > 0 ? "" : "not ", i + 1, name ? name + 1 : paths[i],
		       n_fed > 0 ? n_fed : 0);
	}
	return n_failed > 0 ? 1 : 0;
}
