/* Runs a CUnit suite and reports it as TAP. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

static unsigned number;

static void print_failures(const CU_pFailureRecord first)
{
	for (const CU_FailureRecord *f = first; f != NULL; f = f->pNext)
		printf("# %s:%u: %s\n", f->strFileName ? f->strFileName : "?", f->uiLineNumber,
		       f->strCondition ? f->strCondition : "?");
}

static void on_complete(const CU_pTest test, const CU_pSuite suite, const CU_pFailureRecord failures)
{
	(void)suite;
	print_failures(failures);
	printf("%sok %u - %s\n", failures ? "not " : "", ++number, test->pName);
	fflush(stdout);
}

int unit_main(int argc, char **argv, const char *suite_name, const struct unit_test *tests, size_t n_tests)
{
	const char *only = argc > 1 ? argv[1] : "";
	unsigned planned = 0;
	unsigned failed;
	CU_pSuite suite;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	suite = CU_add_suite(suite_name, NULL, NULL);
	for (size_t i = 0; suite != NULL && i < n_tests; i++) {
		if (strstr(tests[i].name, only) == NULL)
			continue;
		if (CU_add_test(suite, tests[i].name, tests[i].run) == NULL)
			return 99;
		planned++;
	}
	CU_set_test_complete_handler(on_complete);
	printf("1..%u\n", planned);
	CU_run_all_tests();
	failed = CU_get_number_of_tests_failed();
	CU_cleanup_registry();
	return failed > 0 ? 1 : 0;
}
