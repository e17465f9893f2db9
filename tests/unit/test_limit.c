/* core/limit.h. */
#include "core/limit.h"
#include "tests/unit/unit.h"

static unsigned take_all(struct limit *l, uint64_t now_ms)
{
	unsigned n = 0;

	while (n < 100000 && limit_take(l, now_ms))
		n++;
	return n;
}

static void burst_then_rate(void)
{
	struct limit l;

	limit_init(&l, 10, 5, 1000);
	CU_ASSERT_EQUAL(take_all(&l, 1000), 5);
	CU_ASSERT_EQUAL(take_all(&l, 1099), 0);
	CU_ASSERT_EQUAL(take_all(&l, 1100), 1);
	CU_ASSERT_EQUAL(take_all(&l, 1350), 2); /* and a half is kept */
	CU_ASSERT_EQUAL(take_all(&l, 1400), 1);
	CU_ASSERT_EQUAL(take_all(&l, 999999), 5);
}

/* Asking every millisecond must not lose fractions. */
static void slow_rate_adds_up(void)
{
	struct limit l;
	unsigned n = 0;

	limit_init(&l, 1, 1, 0);
	for (uint64_t now = 0; now < 10000; now++)
		n += limit_take(&l, now);
	CU_ASSERT_EQUAL(n, 10);
}

static void extremes(void)
{
	struct limit l;

	limit_init(&l, 0, 0, 0);
	CU_ASSERT_EQUAL(take_all(&l, 0), 100000); /* no limit */
	limit_init(&l, 5, 0, 0);
	CU_ASSERT_EQUAL(take_all(&l, 100000), 0);
	limit_init(&l, UINT32_MAX, UINT32_MAX, 0);
	CU_ASSERT(limit_take(&l, UINT64_MAX));
	CU_ASSERT_EQUAL(l.level_milli, ((uint64_t)UINT32_MAX - 1) * 1000);
	/* A clock that goes back gives nothing and breaks nothing. */
	limit_init(&l, 1, 1, 5000);
	CU_ASSERT_EQUAL(take_all(&l, 5000), 1);
	CU_ASSERT_EQUAL(take_all(&l, 0), 0);
	CU_ASSERT_EQUAL(take_all(&l, 6000), 1);
}

static void table_separates_sources(void)
{
	struct limit_table *t = limit_table_new(8, 1, 2);
	unsigned n = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(t);
	for (uint64_t source = 0; source < 8; source++) {
		for (int i = 0; i < 5; i++)
			n += limit_table_take(t, source, 1);
	}
	CU_ASSERT_EQUAL(n, 16);
	CU_ASSERT(!limit_table_take(t, 8, 1)); /* shares with 0 */
	CU_ASSERT(limit_table_take(t, UINT64_MAX, 5000));
	limit_table_free(t);
	CU_ASSERT_PTR_NULL(limit_table_new(0, 1, 1));
	CU_ASSERT_PTR_NULL(limit_table_new(SIZE_MAX, 1, 1));
	limit_table_free(NULL);
}

static const struct unit_test tests[] = {
	{ "burst then rate", burst_then_rate },
	{ "slow rate adds up", slow_rate_adds_up },
	{ "extremes", extremes },
	{ "table separates sources", table_separates_sources },
};

UNIT_MAIN("limit", tests)
