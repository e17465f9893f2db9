/* Requests about pinholes, carried out: checks, choice of a back end, batches that are applied as a whole or not at all,
 * lifetimes, and what is in the kernel beside what is known. Talks to back ends only; messages are helper_worker.c's. Single
 * thread: the helper's worker. */
#ifndef PINHOLE_HELPER_PINHOLES_H
#define PINHOLE_HELPER_PINHOLES_H

#include "pinhole/helper_backends.h"
#include "pinhole/limits.h"
#include "pinhole/table.h"

struct links;

struct helper_mechanism {
	const struct helper_backend *kind;
	struct backend *backend; /* NULL: could not be opened */
};

struct helper_pinholes {
	const struct limits *limits;
	const struct links *links; /* NULL in tests: then only the limits decide */
	struct table *table;
	struct helper_mechanism mechanisms[HELPER_BACKENDS_MAX];
	unsigned n_mechanisms;
	uint64_t batch;                       /* counts them */
	uint64_t refusals[LIMITS_VERDICTS];
};

/* All or nothing. Writes n results. */
void helper_pinholes_open(struct helper_pinholes *h, const struct wire_pinhole *pinholes, unsigned n, uint64_t now_ms,
			  struct wire_opened *ret);
void helper_pinholes_close(struct helper_pinholes *h, const struct wire_key *key, struct wire_closed *ret);
void helper_pinholes_look(struct helper_pinholes *h, const struct wire_key *key, struct wire_looked *ret);
/* Takes what back ends find in the kernel into the table, as far as it has an id. */
void helper_pinholes_adopt(struct helper_pinholes *h, uint64_t now_ms);
/* Removes what was not opened by this process; how many. */
uint64_t helper_pinholes_sweep(struct helper_pinholes *h, uint64_t now_ms);
/* What is in the kernel, as records; malloc'd, freed by the caller. 0 or -ENOMEM. */
int helper_pinholes_list(struct helper_pinholes *h, uint64_t now_ms, struct wire_listed **ret, size_t *ret_n);
/* Once a second: ticks the back ends, ends lifetimes, and calls fn for each pinhole that is gone. */
typedef void helper_gone_fn(void *arg, const struct wire_gone *gone);
void helper_pinholes_tick(struct helper_pinholes *h, uint64_t now_ms, helper_gone_fn *fn, void *arg);

/* The one that provides a path; NULL when there is none in this build or it did not open. */
struct helper_mechanism *helper_pinholes_mechanism(struct helper_pinholes *h, enum pinhole_path path);

#endif
