/* The hand-over and the relay's set-up without a relay thread: what happens while the relay has not yet taken note. */
#include <stdlib.h>

#include "core/loop.h"
#include "media-relay/offload.h"
#include "tests/mock/fake_pinhole.h"
#include "tests/unit/unit.h"

/* A stream without a relay thread: what is published stands still. */
struct still {
	struct relay_stream relay;
	struct relay_setup setup;
	struct offload offload;
};

static struct still *make_still(struct loop *loop, struct pinholes *engine)
{
	static const char *const locals[] = { "192.0.2.10:20000", "10.0.0.10:20000" };
	static const char *const remotes[] = { "192.0.2.77:4000", "10.0.0.20:6000" };
	struct still *still = calloc(1, sizeof(*still));

	CU_ASSERT_PTR_NOT_NULL_FATAL(still);
	for (unsigned i = 0; i < 2; i++) {
		struct relay_counts *counts = &still->relay.sides[i].counts;
		struct relay_side_setup *setup = &still->setup.sides[i];

		addr_parse(span_of(locals[i]), &still->relay.sides[i].scope.local);
		addr_parse(span_of(remotes[i]), &setup->remote.rtp);
		setup->window = 1;
		setup->rate = relay_rate_of(0);
		relay_addr_set(&counts->latched, &setup->remote.rtp);
		relay_addr_set(&counts->target, &setup->remote.rtp);
		atomic_init(&counts->latch, LATCH_LOCKED);
		atomic_init(&counts->since_lock, RELAY_STEADY);
	}
	still->offload = (struct offload){ .loop = loop, .pinholes = engine, .owner = "still", .relay = &still->relay,
					   .setup = &still->setup, .is_answered = true, .lifetime_s = 900 };
	offload_init(&still->offload);
	return still;
}

/* Until the relay has taken note of what signalling said, what it publishes is of before. */
static void test_relay_must_know(void)
{
	struct loop *loop = NULL;
	struct pinholes *engine = fake_pinholes_new();
	struct still *still;
	struct addr other = { 0 };

	CU_ASSERT_EQUAL_FATAL(loop_new(&loop), 0);
	still = make_still(loop, engine);
	offload_look(&still->offload);
	CU_ASSERT_EQUAL(fake_pinholes_count(engine), 0);
	atomic_store(&still->relay.sides[MEDIA_A].counts.window, 1);
	offload_look(&still->offload); /* the source is right, the target may not be */
	CU_ASSERT_EQUAL(fake_pinholes_count(engine), 0);
	atomic_store(&still->relay.sides[MEDIA_B].counts.window, 1);
	offload_look(&still->offload);
	CU_ASSERT_EQUAL(fake_pinholes_count(engine), 2);
	addr_parse(SPAN_LIT("10.0.0.21:6000"), &other);
	still->setup.sides[MEDIA_B].window = 2;
	relay_addr_set(&still->relay.sides[MEDIA_B].counts.target, &other);
	offload_look(&still->offload);
	CU_ASSERT_EQUAL(pinhole_state(fake_pinhole_at(engine, 0)), PINHOLE_RESERVED);
	CU_ASSERT_EQUAL(pinhole_state(fake_pinhole_at(engine, 1)), PINHOLE_DRAINING); /* its source is to be learnt */
	atomic_store(&still->relay.sides[MEDIA_B].counts.window, 2);
	offload_look(&still->offload);
	CU_ASSERT_EQUAL(pinhole_state(fake_pinhole_at(engine, 0)), PINHOLE_DRAINING);
	offload_close(&still->offload);
	pinholes_free(engine);
	loop_free(loop);
	free(still);
}

/* What the hand-over tells the relay opens no latching window. */
static void test_windows_are_signallings(void)
{
	struct relay_stream *stream = calloc(1, sizeof(*stream));
	struct relay_setup setup = { .signalled = 1 };

	CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
	for (unsigned i = 0; i < 2; i++) {
		struct relay_side_setup *side = &setup.sides[i];

		addr_parse(SPAN_LIT("192.0.2.77:4000"), &side->remote.rtp);
		side->window = 1;
		side->rule = (struct latch_rule){ .reach = LATCH_ANY, .window_ms = 100 };
	}
	relay_apply(stream, &setup, 1000);
	CU_ASSERT_EQUAL(atomic_load(&stream->sides[0].counts.window_end_ms), 1100);
	setup.sides[0].is_elsewhere = true;
	relay_apply(stream, &setup, 5000);
	CU_ASSERT_EQUAL(atomic_load(&stream->sides[0].counts.window_end_ms), 1100);
	CU_ASSERT_EQUAL(atomic_load(&stream->sides[1].counts.window_end_ms), 1100);
	setup.signalled++;
	relay_apply(stream, &setup, 6000);
	CU_ASSERT_EQUAL(atomic_load(&stream->sides[0].counts.window_end_ms), 6100);
	free(stream);
}

static const struct unit_test tests[] = {
	{ "the relay must know before the kernel does", test_relay_must_know },
	{ "windows are opened by signalling only", test_windows_are_signallings },
};

UNIT_MAIN("offload_still", tests)
