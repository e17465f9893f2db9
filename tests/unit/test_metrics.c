/* core/metrics.h. */
#include <stdlib.h>

#include "core/metrics.h"
#include "tests/unit/unit.h"

static struct metric calls[] = {
	{ "t_calls_total", "result=\"ok\"", "Calls by result.", METRIC_COUNTER, 0, 0 },
	{ "t_calls_total", "result=\"failed\"", "Calls by result.", METRIC_COUNTER, 0, 0 },
	{ "t_seconds", NULL, "Back\\slash and\nnew line.", METRIC_GAUGE, 0.001, 0 },
};
static struct metric more_calls[] = {
	{ "t_calls_total", "result=\"busy\"", "Calls by result.", METRIC_COUNTER, 0, 0 },
};

static int64_t read_twice(void *arg)
{
	return 2 * *(int *)arg;
}

static void text_format(void)
{
	static int value = 21;
	char labels[] = "realm=\"a\"";
	char *text;

	metrics_register(calls, 3);
	metrics_register(more_calls, 1);
	metrics_register_read("t_read", labels, "Asked.", METRIC_GAUGE, read_twice, &value);
	labels[7] = 'b'; /* they were copied */
	metrics_register_read("t_read", labels, "Asked.", METRIC_GAUGE, read_twice, &value);
	metric_add(&calls[0], 3);
	metric_add(&calls[1], -1);
	metric_add(&calls[2], 1500);
	metric_add(&more_calls[0], INT64_MAX);
	CU_ASSERT_EQUAL(metric_get(&calls[0]), 3);
	text = metrics_text();
	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	CU_ASSERT_STRING_EQUAL(text, "# HELP t_calls_total Calls by result.\n"
				     "# TYPE t_calls_total counter\n"
				     "t_calls_total{result=\"ok\"} 3\n"
				     "t_calls_total{result=\"failed\"} -1\n"
				     "t_calls_total{result=\"busy\"} 9223372036854775807\n"
				     "# HELP t_seconds Back\\\\slash and\\nnew line.\n"
				     "# TYPE t_seconds gauge\n"
				     "t_seconds 1.5\n"
				     "# HELP t_read Asked.\n"
				     "# TYPE t_read gauge\n"
				     "t_read{realm=\"a\"} 42\n"
				     "t_read{realm=\"b\"} 42\n");
	free(text);
}

static void many_rows(void)
{
	static struct metric rows[200];
	char *text;
	unsigned n = 0;

	for (unsigned i = 0; i < 200; i++)
		rows[i] = (struct metric){ .name = "t_many", .labels = "x=\"y\"", .help = "Many." };
	metrics_register(rows, 200);
	text = metrics_text();
	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	for (const char *at = text; (at = strstr(at, "t_many{")) != NULL; at++)
		n++;
	CU_ASSERT_EQUAL(n, 200);
	free(text);
}

static const struct unit_test tests[] = {
	{ "text format", text_format },
	{ "many rows", many_rows },
};

UNIT_MAIN("metrics", tests)
