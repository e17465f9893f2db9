/* The list of all metrics and their text form (Prometheus exposition format 0.0.4). Owns the list and the rows of metrics
 * that are asked for; the counters themselves stay in their modules' tables. Updating a counter never comes here. Rows
 * of one name are kept next to each other, as the format demands, in whatever order modules register. */
#include "core/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct row {
	const struct metric *metric;
	const struct metric_histogram *histogram; /* of which metric is a part, or NULL */
	metric_read_fn *read; /* NULL: take the metric's own value */
	void *arg;
};

static pthread_mutex_t rows_lock = PTHREAD_MUTEX_INITIALIZER;
static struct row *rows;
static size_t n_rows;
static size_t rows_cap;

/* Behind the last row of the same name, else at the end. Out of memory loses the row: it is not shown. */
static bool insert_row(struct row row)
{
	size_t at = n_rows;

	if (n_rows == rows_cap) {
		size_t cap = rows_cap > 0 ? rows_cap * 2 : 64;
		struct row *larger = reallocarray(rows, cap, sizeof(*rows));

		if (larger == NULL)
			return false;
		rows = larger;
		rows_cap = cap;
	}
	/* From the end: mostly the row before has the same name. */
	for (size_t i = n_rows; i > 0; i--) {
		if (strcmp(rows[i - 1].metric->name, row.metric->name) == 0) {
			at = i;
			break;
		}
	}
	memmove(rows + at + 1, rows + at, (n_rows - at) * sizeof(*rows));
	rows[at] = row;
	n_rows++;
	return true;
}

void metrics_register(struct metric *table, unsigned n)
{
	pthread_mutex_lock(&rows_lock);
	for (unsigned i = 0; i < n; i++)
		insert_row((struct row){ .metric = &table[i] });
	pthread_mutex_unlock(&rows_lock);
}

void metrics_register_histogram(struct metric_histogram *histogram)
{
	pthread_mutex_lock(&rows_lock);
	insert_row((struct row){ .metric = &histogram->metric, .histogram = histogram });
	pthread_mutex_unlock(&rows_lock);
}

void metrics_register_read(const struct metric *row, metric_read_fn *fn, void *arg)
{
	struct metric *metric = calloc(1, sizeof(*metric));
	char *labels = row->labels ? strdup(row->labels) : NULL;
	bool is_in = false;

	if (metric != NULL && (row->labels == NULL || labels != NULL)) {
		*metric = (struct metric){ .name = row->name, .labels = labels, .help = row->help, .type = row->type,
					   .scale = row->scale };
		pthread_mutex_lock(&rows_lock);
		is_in = insert_row((struct row){ .metric = metric, .read = fn, .arg = arg });
		pthread_mutex_unlock(&rows_lock);
	}
	if (!is_in) {
		free(labels);
		free(metric);
	}
}

void metric_observe(struct metric_histogram *histogram, int64_t value)
{
	unsigned i = 0;

	while (i < histogram->n_bounds && value > histogram->bounds[i])
		i++;
	atomic_fetch_add_explicit(&histogram->counts[i], 1, memory_order_relaxed);
	metric_add(&histogram->metric, value);
}

static void print_help(FILE *out, const struct metric *m)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };

	fprintf(out, "# HELP %s ", m->name);
	for (const char *c = m->help ? m->help : ""; *c != '\0'; c++) {
		if (*c == '\\')
			fputs("\\\\", out);
		else if (*c == '\n')
			fputs("\\n", out);
		else
			fputc(*c, out);
	}
	fprintf(out, "\n# TYPE %s %s\n", m->name, types[m->type]);
}

static void print_value(FILE *out, const struct metric *m, int64_t value)
{
	if (m->scale == 0 || m->scale == 1)
		fprintf(out, "%" PRId64, value);
	else
		fprintf(out, "%.15g", (double)value * m->scale);
}

static void print_single(FILE *out, const struct metric *m, const char *suffix, int64_t value)
{
	bool has_labels = m->labels != NULL && m->labels[0] != '\0';

	fprintf(out, "%s%s%s%s%s ", m->name, suffix, has_labels ? "{" : "", has_labels ? m->labels : "",
		has_labels ? "}" : "");
	print_value(out, m, value);
	fputc('\n', out);
}

/* The count is that of the last bucket, whatever other threads observe meanwhile. */
static void print_histogram(FILE *out, const struct metric_histogram *h)
{
	const struct metric *m = &h->metric;
	bool has_labels = m->labels != NULL && m->labels[0] != '\0';
	struct metric count = { .name = m->name, .labels = m->labels };
	uint64_t n = 0;

	for (unsigned i = 0; i <= h->n_bounds; i++) {
		n += atomic_load_explicit((_Atomic uint64_t *)&h->counts[i], memory_order_relaxed);
		fprintf(out, "%s_bucket{%s%sle=\"", m->name, has_labels ? m->labels : "", has_labels ? "," : "");
		if (i < h->n_bounds)
			print_value(out, m, h->bounds[i]);
		else
			fputs("+Inf", out);
		fprintf(out, "\"} %" PRIu64 "\n", n);
	}
	print_single(out, m, "_sum", metric_get(m));
	print_single(out, &count, "_count", (int64_t)n);
}

static void print_row(FILE *out, const struct row *row)
{
	if (row->histogram != NULL)
		print_histogram(out, row->histogram);
	else
		print_single(out, row->metric, "", row->read ? row->read(row->arg) : metric_get(row->metric));
}

char *metrics_text(void)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	bool is_bad;

	if (out == NULL)
		return NULL;
	pthread_mutex_lock(&rows_lock);
	for (size_t i = 0; i < n_rows; i++) {
		if (i == 0 || strcmp(rows[i].metric->name, rows[i - 1].metric->name) != 0)
			print_help(out, rows[i].metric);
		print_row(out, &rows[i]);
	}
	pthread_mutex_unlock(&rows_lock);
	is_bad = ferror(out) != 0;
	if (fclose(out) != 0 || is_bad) {
		free(text);
		return NULL;
	}
	return text;
}
