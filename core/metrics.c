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
	for (size_t i = 0; i < n_rows; i++) {
		if (strcmp(rows[i].metric->name, row.metric->name) == 0)
			at = i + 1;
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

void metrics_register_read(const char *name, const char *labels, const char *help, enum metric_type type,
			   metric_read_fn *fn, void *arg)
{
	struct metric *metric = calloc(1, sizeof(*metric));
	char *own_labels = labels ? strdup(labels) : NULL;
	bool is_in = false;

	if (metric != NULL && (labels == NULL || own_labels != NULL)) {
		*metric = (struct metric){ .name = name, .labels = own_labels, .help = help, .type = type };
		pthread_mutex_lock(&rows_lock);
		is_in = insert_row((struct row){ metric, fn, arg });
		pthread_mutex_unlock(&rows_lock);
	}
	if (!is_in) {
		free(own_labels);
		free(metric);
	}
}

static void print_help(FILE *out, const struct metric *m)
{
	fprintf(out, "# HELP %s ", m->name);
	for (const char *c = m->help ? m->help : ""; *c != '\0'; c++) {
		if (*c == '\\')
			fputs("\\\\", out);
		else if (*c == '\n')
			fputs("\\n", out);
		else
			fputc(*c, out);
	}
	fprintf(out, "\n# TYPE %s %s\n", m->name, m->type == METRIC_COUNTER ? "counter" : "gauge");
}

static void print_row(FILE *out, const struct row *row)
{
	const struct metric *m = row->metric;
	int64_t value = row->read ? row->read(row->arg) : metric_get(m);
	const char *labels = m->labels ? m->labels : "";
	bool has_labels = labels[0] != '\0';

	fprintf(out, "%s%s%s%s ", m->name, has_labels ? "{" : "", labels, has_labels ? "}" : "");
	if (m->scale == 0 || m->scale == 1)
		fprintf(out, "%" PRId64 "\n", value);
	else
		fprintf(out, "%.15g\n", (double)value * m->scale);
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
