/* The timing wheel against a plain array as model: random starts, stops and jumps of time. */
#include "core/wheel.h"

#include <stdlib.h>

#include "tests/unit/unit.h"

static struct wheel wheel;

static struct loop_timer *timer_at(struct loop_timer *timer, uint64_t due_ms)
{
	*timer = (struct loop_timer){ 0 };
	wheel_add(&wheel, timer, due_ms);
	return timer;
}

static void fires_in_order_of_time(void)
{
	static const uint64_t due[] = { 500, 3, 70000, 64, 63, 4096, 65, 1, 500, 16777216, 4095 };
	enum { N = sizeof(due) / sizeof(due[0]) };
	struct loop_timer timers[N], *timer;
	uint64_t last_ms = 0;
	unsigned n = 0;

	wheel_init(&wheel, 0);
	for (unsigned i = 0; i < N; i++)
		timer_at(&timers[i], due[i]);
	while ((timer = wheel_pop(&wheel, UINT64_MAX)) != NULL) {
		CU_ASSERT(timer->due_ms >= last_ms);
		CU_ASSERT_EQUAL(timer->due_ms, due[timer - timers]);
		CU_ASSERT_EQUAL(wheel.now_ms, timer->due_ms);
		last_ms = timer->due_ms;
		n++;
	}
	CU_ASSERT_EQUAL(n, N);
}

static void same_due_time_fires_in_order_of_start(void)
{
	struct loop_timer early, middle, late, spare;

	wheel_init(&wheel, 1000);
	timer_at(&early, 6000);
	CU_ASSERT_PTR_NULL(wheel_pop(&wheel, 5000)); /* other levels than those of `early` */
	timer_at(&middle, 6000);
	CU_ASSERT_PTR_NULL(wheel_pop(&wheel, 5999));
	timer_at(&spare, 6000);
	timer_at(&late, 6000);
	wheel_remove(&wheel, &spare);
	CU_ASSERT_PTR_EQUAL(wheel_pop(&wheel, 6000), &early);
	CU_ASSERT_PTR_EQUAL(wheel_pop(&wheel, 6000), &middle);
	CU_ASSERT_PTR_EQUAL(wheel_pop(&wheel, 6000), &late);
	CU_ASSERT_PTR_NULL(wheel_pop(&wheel, 6000));
}

static void past_and_far_due_times_are_brought_into_range(void)
{
	struct loop_timer past, far;
	uint64_t next_ms;

	wheel_init(&wheel, 5000);
	timer_at(&past, 17);
	CU_ASSERT_EQUAL(past.due_ms, 5000);
	timer_at(&far, UINT64_MAX);
	CU_ASSERT_EQUAL(far.due_ms, WHEEL_MAX_MS);
	CU_ASSERT_TRUE(wheel_next(&wheel, &next_ms));
	CU_ASSERT_EQUAL(next_ms, 5000);
	CU_ASSERT_PTR_EQUAL(wheel_pop(&wheel, 4000), &past); /* time does not run backwards */
	CU_ASSERT_EQUAL(wheel.now_ms, 5000);
	CU_ASSERT_PTR_NULL(wheel_pop(&wheel, WHEEL_MAX_MS - 1));
	CU_ASSERT_PTR_EQUAL(wheel_pop(&wheel, UINT64_MAX), &far);
	CU_ASSERT_FALSE(wheel_next(&wheel, &next_ms));
}

static void removal_is_harmless_when_not_running(void)
{
	struct loop_timer timer, other;

	wheel_init(&wheel, 0);
	timer_at(&timer, 100);
	CU_ASSERT_TRUE(wheel_has(&timer));
	wheel_remove(&wheel, &timer);
	wheel_remove(&wheel, &timer);
	CU_ASSERT_FALSE(wheel_has(&timer));
	timer_at(&timer, 7);
	timer_at(&other, 7);
	CU_ASSERT_PTR_EQUAL(wheel_pop(&wheel, 7), &timer);
	CU_ASSERT_FALSE(wheel_has(&timer));
	wheel_remove(&wheel, &timer);
	wheel_remove(&wheel, &other); /* due, not yet taken out */
	CU_ASSERT_PTR_NULL(wheel_pop(&wheel, 7));
}

static void next_is_exact_unless_the_earliest_was_removed(void)
{
	struct loop_timer first, second;
	uint64_t next_ms;

	wheel_init(&wheel, 0);
	timer_at(&first, 5000);
	timer_at(&second, 5003);
	CU_ASSERT_TRUE(wheel_next(&wheel, &next_ms));
	CU_ASSERT_EQUAL(next_ms, 5000);
	wheel_remove(&wheel, &first);
	CU_ASSERT_TRUE(wheel_next(&wheel, &next_ms));
	CU_ASSERT(next_ms <= 5003);
	CU_ASSERT_PTR_NULL(wheel_pop(&wheel, next_ms)); /* the early call, after which it is exact */
	CU_ASSERT_TRUE(wheel_next(&wheel, &next_ms));
	CU_ASSERT_EQUAL(next_ms, 5003);
}

enum { MODEL_TIMERS = 200, MODEL_STEPS = 20000 };

struct model_entry {
	bool is_on;
	uint64_t due_ms;
	unsigned order; /* of the start */
};
static struct model_entry model[MODEL_TIMERS];
static struct loop_timer timers_under_test[MODEL_TIMERS];

static int model_first(void)
{
	int best = -1;

	for (int i = 0; i < MODEL_TIMERS; i++) {
		const struct model_entry *e = &model[i];

		if (e->is_on && (best < 0 || e->due_ms < model[best].due_ms ||
				 (e->due_ms == model[best].due_ms && e->order < model[best].order)))
			best = i;
	}
	return best;
}

/* Everything that the wheel gives out up to now_ms is what the model says comes next. */
static bool drain_agrees(uint64_t now_ms)
{
	for (;;) {
		struct loop_timer *timer = wheel_pop(&wheel, now_ms);
		int expected = model_first();

		if (expected >= 0 && model[expected].due_ms > now_ms)
			expected = -1;
		if (timer == NULL || expected < 0)
			return timer == NULL && expected < 0;
		if (timer != &timers_under_test[expected])
			return false;
		model[expected].is_on = false;
	}
}

static uint32_t random_state = 12345;

static uint32_t random_below(uint32_t bound)
{
	random_state = random_state * 1664525 + 1013904223;
	return (uint32_t)(((uint64_t)random_state * bound) >> 32);
}

static void toggle(unsigned i, uint64_t now_ms, unsigned order)
{
	static const uint32_t spans_ms[] = { 2, 64, 500, 4097, 32000, 300000, 100000000 };

	wheel_remove(&wheel, &timers_under_test[i]);
	model[i].is_on = random_below(4) != 0;
	if (!model[i].is_on)
		return;
	model[i].due_ms = now_ms + random_below(spans_ms[random_below(7)]);
	model[i].order = order;
	wheel_add(&wheel, &timers_under_test[i], model[i].due_ms);
}

static void agrees_with_a_model(void)
{
	uint64_t now_ms = 987654321;
	bool is_equal = true;

	wheel_init(&wheel, now_ms);
	for (unsigned step = 0; step < MODEL_STEPS && is_equal; step++) {
		uint64_t next_ms;
		int first;

		toggle(random_below(MODEL_TIMERS), now_ms, step);
		first = model_first();
		if (wheel_next(&wheel, &next_ms) != (first >= 0) || (first >= 0 && next_ms > model[first].due_ms))
			is_equal = false;
		if (random_below(4) == 0)
			now_ms += random_below(random_below(50) == 0 ? 1000000 : 200);
		is_equal = is_equal && drain_agrees(now_ms);
	}
	CU_ASSERT_TRUE(is_equal);
}

static const struct unit_test tests[] = {
	{ "fires in order of time", fires_in_order_of_time },
	{ "same due time fires in order of start", same_due_time_fires_in_order_of_start },
	{ "past and far due times are brought into range", past_and_far_due_times_are_brought_into_range },
	{ "removal is harmless when not running", removal_is_harmless_when_not_running },
	{ "next is exact unless the earliest was removed", next_is_exact_unless_the_earliest_was_removed },
	{ "agrees with a model", agrees_with_a_model },
};

UNIT_MAIN("wheel", tests)
