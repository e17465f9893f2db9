/* core/metrics.h. */
#include <pthread.h>
#include <stdio.h>
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
	struct metric read = { "t_read", labels, "Asked.", METRIC_GAUGE, 1, 0 };
	char *text;

	metrics_register(calls, 3);
	metrics_register(more_calls, 1);
	metrics_register_read(&read, read_twice, &value);
	labels[7] = 'b'; /* they were copied */
	read.scale = 0.5;
	metrics_register_read(&read, read_twice, &value);
	metric_add(&calls[0], 3);
	metric_add(&calls[1], -1);
	metric_set(&calls[2], 7);
	metric_set(&calls[2], 1500);
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
				     "t_read{realm=\"b\"} 21\n");
	free(text);
}

static struct metric_histogram waits[] = {
	{ .metric = { "t_wait_seconds", "realm=\"a\"", "Waits.", METRIC_HISTOGRAM, 0.001, 0 },
	  .bounds = { 100, 250, 1000 }, .n_bounds = 3 },
	{ .metric = { "t_wait_seconds", NULL, "Waits.", METRIC_HISTOGRAM, 0, 0 } },
};

/* Checks what is shown of the name, from its HELP to the next. */
static void check_shown(const char *name, const char *expected)
{
	char *text = metrics_text();
	char help[64];
	char *from, *to;

	snprintf(help, sizeof(help), "# HELP %s ", name);
	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	from = strstr(text, help);
	CU_ASSERT_PTR_NOT_NULL_FATAL(from);
	to = strstr(from + 1, "# HELP ");
	if (to != NULL)
		*to = '\0';
	CU_ASSERT_STRING_EQUAL(from, expected);
	free(text);
}

static void histograms(void)
{
	static const int64_t values[] = { 0, 100, 101, 250, 1000, 1001, 60000 };

	metrics_register_histogram(&waits[0]);
	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		metric_observe(&waits[0], values[i]);
	check_shown("t_wait_seconds", "# HELP t_wait_seconds Waits.\n"
				      "# TYPE t_wait_seconds histogram\n"
				      "t_wait_seconds_bucket{realm=\"a\",le=\"0.1\"} 2\n"
				      "t_wait_seconds_bucket{realm=\"a\",le=\"0.25\"} 4\n"
				      "t_wait_seconds_bucket{realm=\"a\",le=\"1\"} 5\n"
				      "t_wait_seconds_bucket{realm=\"a\",le=\"+Inf\"} 7\n"
				      "t_wait_seconds_sum{realm=\"a\"} 62.452\n"
				      "t_wait_seconds_count{realm=\"a\"} 7\n");
}

static void histogram_without_bounds(void)
{
	struct metric_histogram *h = &waits[1];

	h->metric.name = "t_plain";
	metrics_register_histogram(h);
	metric_observe(h, 5);
	check_shown("t_plain", "# HELP t_plain Waits.\n"
			       "# TYPE t_plain histogram\n"
			       "t_plain_bucket{le=\"+Inf\"} 1\n"
			       "t_plain_sum 5\n"
			       "t_plain_count 1\n");
}

/* As many bounds as there may be, and four threads. */
static struct metric_histogram full = {
	.metric = { "t_full", NULL, "Full.", METRIC_HISTOGRAM, 0, 0 },
	.bounds = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 }, .n_bounds = METRIC_BOUNDS_MAX,
};

static void *observe_many(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 18000; i++)
		metric_observe(&full, i % 18);
	return NULL;
}

static void histogram_of_many_threads(void)
{
	pthread_t threads[4];

	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, observe_many, NULL), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CU_ASSERT_EQUAL(full.counts[0], 8000);
	for (unsigned i = 1; i <= METRIC_BOUNDS_MAX; i++)
		CU_ASSERT_EQUAL(full.counts[i], 4000);
	CU_ASSERT_EQUAL(metric_get(&full.metric), 4 * 1000 * 17 * 18 / 2);
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
	{ "histograms", histograms },
	{ "histogram without bounds", histogram_without_bounds },
	{ "histogram of many threads", histogram_of_many_threads },
	{ "many rows", many_rows },
};

UNIT_MAIN("metrics", tests)
