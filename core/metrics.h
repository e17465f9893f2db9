/* Counters, gauges and histograms, shown as Prometheus text. A metric is a row in a static table of its module;
 * HELP, documentation and output come from the row. Updating is a relaxed atomic add or two: any thread. */
#ifndef CORE_METRICS_H
#define CORE_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "core/span.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
enum { METRIC_BOUNDS_MAX = 16 };

struct metric {
	const char *name;   /* "postern_calls_total" */
	const char *labels; /* "result=\"answered\"", or NULL */
	const char *help;   /* one sentence; equal for rows of the same name */
	enum metric_type type;
	double scale;       /* what is shown is value * scale; 0 means 1 */
	_Atomic int64_t value; /* of a histogram: the sum */
};

/* How often values of each size came. The bounds are upper ones, inclusive, rising, in the unit of what is observed:
 * like the sum they are shown times the row's scale. A last bucket without a bound takes the rest. */
struct metric_histogram {
	struct metric metric; /* its type is METRIC_HISTOGRAM */
	int64_t bounds[METRIC_BOUNDS_MAX];
	unsigned n_bounds;
	_Atomic uint64_t counts[METRIC_BOUNDS_MAX + 1]; /* not cumulative */
};

/* Registers a table that lives for ever. Rows of the same name share one HELP and TYPE, wherever they come from. */
void metrics_register(struct metric *table, unsigned n);
void metrics_register_histogram(struct metric_histogram *histogram); /* it lives for ever */
/* A metric whose value is asked for at output time, on the asking thread; fn must not register others. The row is
 * copied and its labels too; name and help live for ever. Its own value is not used. */
typedef int64_t metric_read_fn(void *arg);
void metrics_register_read(const struct metric *row, metric_read_fn *fn, void *arg);

/* Any thread. */
void metric_observe(struct metric_histogram *histogram, int64_t value);

static inline void metric_add(struct metric *m, int64_t n)
{
	atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}

static inline void metric_set(struct metric *m, int64_t value)
{
	atomic_store_explicit(&m->value, value, memory_order_relaxed);
}

static inline int64_t metric_get(const struct metric *m)
{
	return atomic_load_explicit(&((struct metric *)m)->value, memory_order_relaxed);
}

/* All registered metrics in Prometheus text format 0.0.4; malloc'd, NUL-terminated, NULL when out of memory. */
char *metrics_text(void);

#endif
