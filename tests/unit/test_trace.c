/* The message ladder's ring: order, selection by Call-ID, bounds, what is lost. */
#include <stdio.h>

#include "sbc/trace.h"
#include "tests/unit/unit.h"

static const struct sip_flow flow = { .realm = 0 };

static void add(struct trace *trace, int64_t at, const char *call_id, const char *text)
{
	trace_add(trace, at, at % 2 == 0, &flow, span_of(call_id), span_of(text));
}

static void selects_by_call_id_in_order(void)
{
	struct trace *trace = trace_new(65536);
	struct arena *arena = arena_new(1 << 20);
	struct trace_id ids[] = { { 'a', SPAN_LIT("one") }, { 'b', SPAN_LIT("two") } };
	struct call_message *messages;
	unsigned n, lost;

	add(trace, 1, "one", "INVITE");
	add(trace, 2, "other", "OPTIONS");
	add(trace, 3, "two", "200");
	add(trace, 4, "one", "BYE");
	CU_ASSERT_EQUAL(trace_collect(trace, ids, 2, 0, arena, &messages, &n, &lost), 0);
	CU_ASSERT_EQUAL_FATAL(n, 3);
	CU_ASSERT_STRING_EQUAL(messages[0].text, "INVITE");
	CU_ASSERT_EQUAL(messages[0].leg, 'a');
	CU_ASSERT_FALSE(messages[0].is_out);
	CU_ASSERT_STRING_EQUAL(messages[1].text, "200");
	CU_ASSERT_EQUAL(messages[1].leg, 'b');
	CU_ASSERT_STRING_EQUAL(messages[2].text, "BYE");
	CU_ASSERT_EQUAL(lost, 0);
	arena_free(arena);
	trace_free(trace);
}

static void wraps_and_keeps_the_newest(void)
{
	struct trace *trace = trace_new(65536);
	struct arena *arena = arena_new(1 << 22);
	struct trace_id id = { 'a', SPAN_LIT("x") };
	struct call_message *messages;
	char text[32];
	unsigned n, lost;

	for (int i = 0; i < 5000; i++) {
		snprintf(text, sizeof(text), "message %d of many", i);
		add(trace, i, "x", text);
	}
	CU_ASSERT_EQUAL(trace_collect(trace, &id, 1, 0, arena, &messages, &n, &lost), 0);
	CU_ASSERT_TRUE_FATAL(n > 100 && n < 5000);
	CU_ASSERT_EQUAL(n + lost, 5000);
	CU_ASSERT_STRING_EQUAL(messages[n - 1].text, "message 4999 of many");
	for (unsigned i = 1; i < n; i++)
		CU_ASSERT_EQUAL(messages[i].at_ms, messages[i - 1].at_ms + 1);
	arena_free(arena);
	trace_free(trace);
}

static void loss_before_the_call_does_not_count(void)
{
	struct trace *trace = trace_new(65536);
	struct arena *arena = arena_new(1 << 22);
	struct trace_id id = { 'a', SPAN_LIT("late") };
	struct call_message *messages;
	unsigned n, lost;

	for (int i = 0; i < 5000; i++)
		add(trace, i, "early", "a message of a call that is over");
	add(trace, 9000, "late", "INVITE");
	CU_ASSERT_EQUAL(trace_collect(trace, &id, 1, 9000, arena, &messages, &n, &lost), 0);
	CU_ASSERT_EQUAL(n, 1);
	CU_ASSERT_EQUAL(lost, 0);
	arena_free(arena);
	trace_free(trace);
}

static void long_messages_are_cut(void)
{
	static char text[GUARD_MESSAGE_MAX];
	struct trace *trace = trace_new(65536);
	struct arena *arena = arena_new(1 << 20);
	struct trace_id id = { 'b', SPAN_LIT("x") };
	struct call_message *messages;
	unsigned n, lost;

	memset(text, 'y', sizeof(text));
	for (int i = 0; i < 40; i++)
		trace_add(trace, i, true, &flow, SPAN_LIT("x"), (struct span){ text, sizeof(text) });
	CU_ASSERT_EQUAL(trace_collect(trace, &id, 1, 0, arena, &messages, &n, &lost), 0);
	CU_ASSERT_TRUE_FATAL(n > 0);
	CU_ASSERT_TRUE(messages[0].is_cut);
	CU_ASSERT_EQUAL(strlen(messages[0].text), TRACE_TEXT_MAX);
	arena_free(arena);
	trace_free(trace);
}

static void small_arena_is_an_error(void)
{
	struct trace *trace = trace_new(65536);
	struct arena *arena = arena_new(4096);
	struct trace_id id = { 'a', SPAN_LIT("x") };
	struct call_message *messages;
	unsigned n, lost;

	for (int i = 0; i < 400; i++)
		add(trace, i, "x", "a message of some length, so that all of them together are too much for the arena");
	CU_ASSERT_TRUE(trace_collect(trace, &id, 1, 0, arena, &messages, &n, &lost) < 0);
	arena_free(arena);
	trace_free(trace);
}

static const struct unit_test tests[] = {
	{ "selects by Call-ID, in order", selects_by_call_id_in_order },
	{ "wraps and keeps the newest", wraps_and_keeps_the_newest },
	{ "loss before the call does not count", loss_before_the_call_does_not_count },
	{ "long messages are cut", long_messages_are_cut },
	{ "a small arena is an error", small_arena_is_an_error },
};
UNIT_MAIN("trace", tests)
