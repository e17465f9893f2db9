/* tests/unit/config_cases.h. */
#include "tests/unit/config_cases.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/conf.h"
#include "core/err.h"

const struct config *config_good(const char *text)
{
	struct conf_errors errors = { 0 };
	const struct config *config = NULL;
	int err = config_parse(span_of(text), "t", &errors, &config);

	conf_errors_print(&errors, stdout);
	CU_ASSERT_EQUAL_FATAL(err, 0);
	CU_ASSERT_EQUAL(errors.n, 0);
	conf_errors_free(&errors);
	return config;
}

char *config_errors_text(const struct conf_errors *errors)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	conf_errors_print(errors, out);
	fclose(out);
	return text;
}

void config_refused(const char *yaml, const char *expected)
{
	struct conf_errors errors = { 0 };
	const struct config *config = NULL;
	char *text;

	CU_ASSERT_EQUAL(config_parse(span_of(yaml), "t", &errors, &config), ERR_CONFIG);
	CU_ASSERT_PTR_NULL(config);
	text = config_errors_text(&errors);
	CU_ASSERT_STRING_EQUAL(text, expected);
	if (strcmp(text, expected) != 0)
		printf("# got %s# not %s", text, expected);
	free(text);
	conf_errors_free(&errors);
	config_unref(config);
}

void config_refused_all(const struct config_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++)
		config_refused(cases[i].yaml, cases[i].errors);
}
