/* What happened in a session, for people: the newest entries of two short texts each, in a bounded piece of memory. Pure; the caller
 * brings the time. */
#ifndef ALGS_JOURNAL_H
#define ALGS_JOURNAL_H

#include "core/span.h"

enum { JOURNAL_TEXT_MAX = 512 }; /* longer texts are cut */

struct journal { /* embedded, zeroed; memory is taken with the first entry */
	char *bytes;
	size_t size, head, used;
	unsigned n;
	unsigned n_lost; /* older ones that had to make room */
};

struct journal_entry {
	int64_t at_ms;
	unsigned kind;
	struct span first, second;
};

/* size: of the memory, with the first entry. Out of memory: the entry is lost, and counted. */
void journal_add(struct journal *journal, size_t size, const struct journal_entry *entry);
/* Oldest first. The texts live until the next entry. */
typedef void journal_fn(void *arg, const struct journal_entry *entry);
void journal_each(const struct journal *journal, journal_fn *fn, void *arg);
void journal_fini(struct journal *journal);

#endif
