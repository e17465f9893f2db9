/* "postern alg list" and "postern alg run": modules that are built in and such from shared objects, transcripts that hold and that do not,
 * exit codes. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/cli.h"
#include "tests/unit/unit.h"

enum { ARGS_MAX = 12 };

static char directory[] = "/tmp/postern-alg-XXXXXX";
static char good[64], bad[64], faulty[64];
static char *out_text, *err_text;

/* Runs "postern <line>"; words are separated by single spaces. */
static int run(const char *format, const char *a, const char *b)
{
	char line[4096], *rest = line, *argv[ARGS_MAX + 1] = { (char *)(uintptr_t)"postern" };
	size_t out_len, err_len;
	FILE *out, *err;
	int argc = 1, code;

	snprintf(line, sizeof(line), "%s%s%s%s%s", format, a[0] ? " " : "", a, b[0] ? " " : "", b);
	free(out_text);
	free(err_text);
	out = open_memstream(&out_text, &out_len);
	err = open_memstream(&err_text, &err_len);
	while (rest != NULL && argc < ARGS_MAX)
		argv[argc++] = strsep(&rest, " ");
	code = cli_main(argc, argv, out, err);
	fclose(out);
	fclose(err);
	return code;
}

static bool has(const char *text, const char *part)
{
	bool is_there = strstr(text, part) != NULL;

	if (!is_there)
		printf("# '%s' is not in: %s\n", part, text);
	return is_there;
}

static void lists(void)
{
	CU_ASSERT_EQUAL(run("alg list", "", ""), CLI_OK);
	CU_ASSERT(has(out_text, "NAME"));
	CU_ASSERT(has(out_text, "\ntftp  1        udp        69    data/udp (1)"));
	CU_ASSERT_EQUAL(run("alg list -o tsv", "", ""), CLI_OK);
	CU_ASSERT(has(out_text, "\ntftp\t1\tudp\t69\tdata/udp (1)\t2\n"));
	CU_ASSERT_EQUAL(run("alg list -o json", "", ""), CLI_OK);
	CU_ASSERT(has(out_text, "\"RRQ\""));
	CU_ASSERT_EQUAL(run("alg list x", "", ""), CLI_USAGE);
}

static void runs(void)
{
	CU_ASSERT_EQUAL(run("alg run tftp", good, ""), CLI_OK);
	CU_ASSERT(has(out_text, "good.txt: ok, 4 expectations in 2 passes\n"));
	CU_ASSERT_STRING_EQUAL(err_text, "");
	CU_ASSERT_EQUAL(run("alg run tftp", bad, ""), CLI_FAILED);
	CU_ASSERT(has(out_text, "bad.txt:2: as written: holes that are open: 1\n"));
	/* All of them, whatever the first one came to. */
	CU_ASSERT_EQUAL(run("alg run tftp", bad, good), CLI_FAILED);
	CU_ASSERT(has(out_text, "good.txt: ok"));
	CU_ASSERT_EQUAL(run("alg run tftp", faulty, ""), CLI_FAILED);
	CU_ASSERT(has(out_text, "faulty.txt:1: what is this?\n"));
	CU_ASSERT_EQUAL(run("alg run tftp", good, "/nowhere/x.txt"), CLI_FAILED);
	CU_ASSERT(has(err_text, "postern: /nowhere/x.txt: No such file or directory\n"));
}

static void fuzzes(void)
{
	CU_ASSERT_EQUAL(run("alg run tftp --fuzz 1 --seed 77", good, ""), CLI_OK);
	CU_ASSERT(has(out_text, "good.txt: fuzzed in "));
	CU_ASSERT(has(out_text, " rounds, seeds 77 to "));
	CU_ASSERT_EQUAL(run("alg run tftp --fuzz 0", good, ""), CLI_USAGE);
	CU_ASSERT_EQUAL(run("alg run tftp --fuzz x", good, ""), CLI_USAGE);
	CU_ASSERT_EQUAL(run("alg run tftp --seed -1", good, ""), CLI_USAGE);
	CU_ASSERT_EQUAL(run("alg list --fuzz 1", "", ""), CLI_USAGE);
}

static void reads_arguments(void)
{
	CU_ASSERT_EQUAL(run("alg run", "", ""), CLI_USAGE);
	CU_ASSERT(has(err_text, "MODULE FILE..."));
	CU_ASSERT_EQUAL(run("alg run tftp", "", ""), CLI_USAGE);
	CU_ASSERT_EQUAL(run("alg", "", ""), CLI_USAGE);
	CU_ASSERT_EQUAL(run("alg run nothing", good, ""), CLI_FAILED);
	CU_ASSERT(has(err_text, "postern: nothing: no such module"));
	CU_ASSERT_EQUAL(run("alg run --help", "", ""), CLI_OK);
	CU_ASSERT(has(out_text, "--fuzz SECONDS"));
}

static const char *object(const char *name)
{
	static char path[4096];
	const char *build = getenv("POSTERN_BUILDDIR");

	snprintf(path, sizeof(path), "%s/tests/unit/%s", build != NULL ? build : ".", name);
	return path;
}

static void loads_objects(void)
{
	CU_ASSERT_EQUAL(run("alg run", object("toy_alg.so"), bad), CLI_OK);
	CU_ASSERT(has(out_text, "bad.txt: ok"));
	CU_ASSERT_EQUAL(run("alg run", object("toy_alg_v9.so"), bad), CLI_FAILED);
	CU_ASSERT(has(err_text, "made for version 9 of the interface, this is version 1"));
	CU_ASSERT_EQUAL(run("alg run", object("toy_alg_lost.so"), bad), CLI_FAILED);
	CU_ASSERT(has(err_text, "has no symbol postern_alg_v1"));
	CU_ASSERT_EQUAL(run("alg run", "/nowhere/x.so", good), CLI_FAILED);
	CU_ASSERT(has(err_text, "/nowhere/x.so"));
	CU_ASSERT_EQUAL(run("alg run", good, good), CLI_FAILED); /* no object at all */
	CU_ASSERT(has(err_text, "good.txt"));
}

static void write_file(char *path, size_t size, const char *name, const char *text)
{
	FILE *file;

	snprintf(path, size, "%s/%s", directory, name);
	file = fopen(path, "w");
	if (file != NULL) {
		fputs(text, file);
		fclose(file);
	}
}

static const struct unit_test tests[] = {
	{ "lists modules", lists },
	{ "runs transcripts", runs },
	{ "fuzzes", fuzzes },
	{ "arguments", reads_arguments },
	{ "modules of shared objects", loads_objects },
};

int main(int argc, char **argv)
{
	int result = 99;

	if (mkdtemp(directory) != NULL) {
		write_file(good, sizeof(good), "good.txt", "C: \\x00\\x01f\\x00octet\\x00\nholes 1\n");
		write_file(bad, sizeof(bad), "bad.txt", "C: \\x00\\x01f\\x00octet\\x00\nholes 0\n");
		write_file(faulty, sizeof(faulty), "faulty.txt", "nonsense\n");
		result = unit_main(argc, argv, "cli alg", tests, sizeof(tests) / sizeof(tests[0]));
		unlink(good);
		unlink(bad);
		unlink(faulty);
		rmdir(directory);
	}
	free(out_text);
	free(err_text);
	return result;
}
