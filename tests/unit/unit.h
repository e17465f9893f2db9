/* A CUnit suite that reports as TAP, so that `make check` counts every test case by name. */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include <CUnit/CUnit.h>

struct unit_test {
	const char *name;
	void (*run)(void);
};

/* Runs the tests in order and prints TAP on standard output. With an argument, runs only the tests whose
 * name contains it. Returns the exit code: 0 when all passed, 1 when one failed, 99 when CUnit cannot start. */
int unit_main(int argc, char **argv, const char *suite, const struct unit_test *tests, size_t n_tests);

#define UNIT_MAIN(suite, tests) \
	int main(int argc, char **argv) \
	{ \
		return unit_main(argc, argv, suite, tests, sizeof(tests) / sizeof(tests[0])); \
	}

#endif
