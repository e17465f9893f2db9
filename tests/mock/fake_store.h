/* The submission side of db/store.h in memory: records are reported as text, and answers come when the test wants them. */
#ifndef TESTS_MOCK_FAKE_STORE_H
#define TESTS_MOCK_FAKE_STORE_H

#include "db/store.h"

typedef void fake_store_report_fn(void *arg, const char *text);
struct store *fake_store_new(fake_store_report_fn *report, void *arg);
void fake_store_free(struct store *store);
/* While holding, call records are not answered; releasing answers all that wait, with `result`. */
void fake_store_hold(struct store *store);
void fake_store_release(struct store *store, int result);
/* The first live row there is, or NULL; until the store is used again. */
const char *fake_store_row(const struct store *store);

#endif
