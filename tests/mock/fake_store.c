/* store.h for scenario tests: "cdr status=200 by=caller cause=normal streams=2", "live put", "live delete"; and
 * "transfer verb=STOR ...", "data put", "data delete". Live rows and data rows are one table here: a test has
 * calls or data connections. */
#include "tests/mock/fake_store.h"

#include <stdio.h>
#include <stdlib.h>

enum { WAITING_MAX = 64, ROWS_MAX = 32, ID_MAX = 64 };

struct store {
	fake_store_report_fn *report;
	void *arg;
	bool is_holding;
	struct {
		store_done_fn *done;
		void *arg;
	} waiting[WAITING_MAX];
	unsigned n_waiting;
	struct row {
		char id[ID_MAX]; /* empty: free */
		char *state;
	} rows[ROWS_MAX];
};

static struct row *find_row(struct store *store, struct span id)
{
	for (unsigned i = 0; i < ROWS_MAX; i++)
		if (span_eq(span_of(store->rows[i].id), id))
			return &store->rows[i];
	return NULL;
}

static bool drop_row(struct store *store, struct span id)
{
	struct row *row = span_is_empty(id) ? NULL : find_row(store, id);

	if (row == NULL)
		return false;
	free(row->state);
	*row = (struct row){ 0 };
	return true;
}

struct store *fake_store_new(fake_store_report_fn *report, void *arg)
{
	struct store *store = calloc(1, sizeof(*store));

	if (store != NULL) {
		store->report = report;
		store->arg = arg;
	}
	return store;
}

void fake_store_free(struct store *store)
{
	for (unsigned i = 0; store != NULL && i < ROWS_MAX; i++)
		free(store->rows[i].state);
	free(store);
}

void fake_store_hold(struct store *store)
{
	store->is_holding = true;
}

void fake_store_release(struct store *store, int result)
{
	unsigned n = store->n_waiting;

	store->is_holding = false;
	store->n_waiting = 0;
	for (unsigned i = 0; i < n; i++)
		store->waiting[i].done(store->waiting[i].arg, result);
}

const char *cdr_end_text(enum cdr_end end)
{
	static const char *const names[] = { "none", "caller", "callee", "gateway", "operator" };

	return names[end];
}

void store_cdr(struct store *store, const struct cdr *cdr, store_done_fn *done, void *arg)
{
	char text[256];

	snprintf(text, sizeof(text), "cdr status=%d by=%s cause=%.*s streams=%u peer=%.*s%s%.*s", cdr->sip_status,
		 cdr_end_text(cdr->ended_by), SPAN_ARG(cdr->cause), cdr->n_streams, SPAN_ARG(cdr->b.peer),
		 span_is_empty(cdr->reason) ? "" : " reason=", SPAN_ARG(cdr->reason));
	store->report(store->arg, text);
	if (drop_row(store, cdr->id))
		store->report(store->arg, "live delete");
	if (store->is_holding && store->n_waiting < WAITING_MAX) {
		store->waiting[store->n_waiting].done = done;
		store->waiting[store->n_waiting++].arg = arg;
	} else if (done != NULL) {
		done(arg, 0);
	}
}

void store_transfer(struct store *store, const struct transfer *transfer)
{
	char text[512];

	snprintf(text, sizeof(text), "transfer verb=%.*s path=%.*s user=%.*s direction=%c bytes=%llu code=%d ok=%d",
		 SPAN_ARG(transfer->verb), SPAN_ARG(transfer->path), SPAN_ARG(transfer->user), transfer->direction,
		 (unsigned long long)transfer->bytes, transfer->code, transfer->is_ok);
	store->report(store->arg, text);
	if (drop_row(store, transfer->id))
		store->report(store->arg, "data delete");
}

static void put_row(struct store *store, struct span id, struct span state_json)
{
	struct row *row = find_row(store, id);

	if (row == NULL)
		row = find_row(store, SPAN_NONE);
	if (row != NULL && id.len < sizeof(row->id)) {
		free(row->state);
		memset(row->id, 0, sizeof(row->id));
		memcpy(row->id, id.ptr, id.len);
		row->state = strndup(state_json.ptr, state_json.len);
	}
}

void store_live_put(struct store *store, struct span id, struct span state_json)
{
	put_row(store, id, state_json);
	store->report(store->arg, "live put");
}

void store_data_put(struct store *store, struct span id, struct span state_json)
{
	put_row(store, id, state_json);
	store->report(store->arg, "data put");
}

void store_data_delete(struct store *store, struct span id)
{
	(void)drop_row(store, id);
	store->report(store->arg, "data delete");
}

void store_live_delete(struct store *store, struct span id)
{
	(void)drop_row(store, id);
	store->report(store->arg, "live delete");
}

int store_live_each(struct store *store, store_live_fn *fn, void *arg)
{
	for (unsigned i = 0; i < ROWS_MAX; i++) {
		struct row row = store->rows[i];
		char *state = row.id[0] != '\0' ? strdup(row.state) : NULL; /* fn may drop the row */

		if (state != NULL)
			fn(arg, span_of(row.id), span_of(state));
		free(state);
	}
	return 0;
}

int store_data_each(struct store *store, store_live_fn *fn, void *arg)
{
	return store_live_each(store, fn, arg);
}

const char *fake_store_row(const struct store *store)
{
	for (unsigned i = 0; i < ROWS_MAX; i++)
		if (store->rows[i].id[0] != '\0')
			return store->rows[i].state;
	return NULL;
}
