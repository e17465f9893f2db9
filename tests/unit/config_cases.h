/* Configuration texts that are accepted, and others that are refused with exactly these faults. */
#ifndef TESTS_UNIT_CONFIG_CASES_H
#define TESTS_UNIT_CONFIG_CASES_H

#include "core/config.h"
#include "tests/unit/unit.h"

/* The snapshot; the test fails when there is none. */
const struct config *config_good(const char *text);
/* As conf_errors_print() writes them; the caller frees it. */
char *config_errors_text(const struct conf_errors *errors);
/* The file is called "t". */
void config_refused(const char *yaml, const char *expected);

struct config_case {
	const char *yaml, *errors;
};
void config_refused_all(const struct config_case *cases, size_t n);
#define CONFIG_REFUSED(cases) config_refused_all(cases, sizeof(cases) / sizeof((cases)[0]))

#endif
