/* core/bus.h. */
#include <stdlib.h>

#include "core/bus.h"
#include "core/err.h"
#include "tests/unit/unit.h"

static char trace[256];
static char names[] = "0123"; /* of observers */
static struct bus *bus;

static void note(void *arg, const struct bus_event *event)
{
	size_t len = strlen(trace);

	if (len + event->text.len + 3 < sizeof(trace)) {
		trace[len++] = *(char *)arg;
		memcpy(trace + len, event->text.ptr, event->text.len);
		memcpy(trace + len + event->text.len, " ", 2);
	}
}

/* Publishes from inside, with memory that is gone when the event is delivered. */
static void echo(void *arg, const struct bus_event *event)
{
	char id[] = "id", text[] = "echo";
	struct bus_event next = { .type = BUS_ALARM, .id = span_of(id), .text = span_of(text), .code = event->code };

	note(arg, event);
	bus_publish(bus, &next);
	memset(text, '?', sizeof(text));
	memset(id, '?', sizeof(id));
	strncat(trace, "| ", sizeof(trace) - strlen(trace) - 1);
}

static void flood(void *arg, const struct bus_event *event)
{
	struct bus_event next = { .type = BUS_ALARM_CLEARED };

	(void)event;
	for (int i = 0; i < *(int *)arg; i++)
		bus_publish(bus, &next);
}

static void count(void *arg, const struct bus_event *event)
{
	(void)event;
	++*(int *)arg;
}

static void publish(enum bus_type type, const char *text)
{
	struct bus_event event = { .type = type, .text = span_of(text) };

	bus_publish(bus, &event);
}

static void delivers_by_type_in_order(void)
{
	bus = bus_new();
	trace[0] = '\0';
	CU_ASSERT_EQUAL(bus_subscribe(bus, BUS_CALL_STARTED, note, names + 1), 0);
	CU_ASSERT_EQUAL(bus_subscribe(bus, BUS_CALL_STARTED, note, names + 2), 0);
	CU_ASSERT_EQUAL(bus_subscribe(bus, BUS_CALL_ENDED, note, names + 3), 0);
	publish(BUS_CALL_STARTED, "a");
	publish(BUS_CALL_ANSWERED, "nobody");
	publish(BUS_CALL_ENDED, "b");
	CU_ASSERT_STRING_EQUAL(trace, "1a 2a 3b ");
	bus_free(bus);
}

static void inner_events_wait(void)
{
	bus = bus_new();
	trace[0] = '\0';
	CU_ASSERT_EQUAL(bus_subscribe(bus, BUS_CALL_STARTED, echo, names + 1), 0);
	CU_ASSERT_EQUAL(bus_subscribe(bus, BUS_CALL_STARTED, note, names + 2), 0);
	CU_ASSERT_EQUAL(bus_subscribe(bus, BUS_ALARM, note, names + 3), 0);
	publish(BUS_CALL_STARTED, "a");
	CU_ASSERT_STRING_EQUAL(trace, "1a | 2a 3echo ");
	publish(BUS_ALARM, "b");
	CU_ASSERT_STRING_EQUAL(trace, "1a | 2a 3echo 3b ");
	CU_ASSERT_EQUAL(bus_lost(bus), 0);
	bus_free(bus);
}

static void queue_has_a_limit(void)
{
	int n_published = 5000, n_seen = 0;

	bus = bus_new();
	CU_ASSERT_EQUAL(bus_subscribe(bus, BUS_ALARM, flood, &n_published), 0);
	CU_ASSERT_EQUAL(bus_subscribe(bus, BUS_ALARM_CLEARED, count, &n_seen), 0);
	publish(BUS_ALARM, "x");
	CU_ASSERT(n_seen > 0 && n_seen < n_published);
	CU_ASSERT_EQUAL(bus_lost(bus) + (uint64_t)n_seen, (uint64_t)n_published);
	bus_free(bus);
}

static void observers_have_a_limit(void)
{
	int n_seen = 0, n_subscribed = 0;

	bus = bus_new();
	while (n_subscribed < 1000 && bus_subscribe(bus, BUS_ALARM, count, &n_seen) == 0)
		n_subscribed++;
	CU_ASSERT(n_subscribed >= 8 && n_subscribed < 1000);
	CU_ASSERT_EQUAL(bus_subscribe(bus, BUS_ALARM, count, &n_seen), ERR_LIMIT);
	CU_ASSERT_EQUAL(bus_subscribe(bus, BUS_ALARM_CLEARED, count, &n_seen), 0);
	publish(BUS_ALARM, "x");
	CU_ASSERT_EQUAL(n_seen, n_subscribed);
	bus_free(bus);
	bus_free(NULL);
}

static const struct unit_test tests[] = {
	{ "delivers by type in order", delivers_by_type_in_order },
	{ "inner events wait", inner_events_wait },
	{ "queue has a limit", queue_has_a_limit },
	{ "observers have a limit", observers_have_a_limit },
};

UNIT_MAIN("bus", tests)
