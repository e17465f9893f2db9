/* Counters and gauges, shown as Prometheus text. A metric is a row in a static table of its module;
 * HELP, documentation and output come from the row. Updating is one relaxed atomic add: any thread. */
#ifndef CORE_METRICS_H
#define CORE_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "core/span.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE };

struct metric {
	const char *name;   /* "postern_calls_total" */
	const char *labels; /* "result=\"answered\"", or NULL */
	const char *help;   /* one sentence; equal for rows of the same name */
	enum metric_type type;
	double scale;       /* what is shown is value * scale; 0 means 1 */
	_Atomic int64_t value;
};

/* Registers a table that lives for ever. Rows of the same name share one HELP and TYPE, wherever they come from. */
void metrics_register(struct metric *table, unsigned n);
/* A metric whose value is asked for at output time, on the asking thread; fn must not register others. name and help
 * live for ever, labels (may be NULL) are copied. */
typedef int64_t metric_read_fn(void *arg);
void metrics_register_read(const char *name, const char *labels, const char *help, enum metric_type type,
			   metric_read_fn *fn, void *arg);

static inline void metric_add(struct metric *m, int64_t n)
{
	atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}

static inline int64_t metric_get(const struct metric *m)
{
	return atomic_load_explicit(&((struct metric *)m)->value, memory_order_relaxed);
}

/* All registered metrics in Prometheus text format 0.0.4; malloc'd, NUL-terminated, NULL when out of memory. */
char *metrics_text(void);

#endif
