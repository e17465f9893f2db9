/* daemon/observers.h: what /metrics says after events of calls, and of the database. */
#include <stdio.h>
#include <stdlib.h>

#include "core/bus.h"
#include "core/config.h"
#include "core/metrics.h"
#include "daemon/observers.h"
#include "db/store.h"
#include "tests/mock/fake_pinhole.h"
#include "tests/unit/unit.h"

static struct bus *bus;

void store_stats(const struct store *store, struct store_stats *ret)
{
	(void)store;
	*ret = (struct store_stats){ .cdrs_written = 11, .cdrs_lost = 2, .commits = 5, .queue_depth = 3,
				     .last_commit_us = 2500, .transfers_written = 9, .transfers_lost = 1 };
}

static bool is_shown(const char *line)
{
	char *text = metrics_text();
	char whole[256];
	bool is_there;

	snprintf(whole, sizeof(whole), "\n%s\n", line);
	is_there = text != NULL && strstr(text, whole) != NULL;
	if (!is_there)
		printf("# no line %s\n", line);
	free(text);
	return is_there;
}

static void publish(enum bus_type type, unsigned realm, int code, uint32_t duration_ms)
{
	bus_publish(bus, &(struct bus_event){ .type = type, .realm = realm, .code = code, .duration_ms = duration_ms });
}

static struct config config = { .revision = 7, .n_realms = 2, .realms = { { .name = "outer" }, { .name = "core" } } };

static void attaches(void)
{
	bus = bus_new();
	CU_ASSERT_PTR_NOT_NULL_FATAL(bus);
	CU_ASSERT_EQUAL_FATAL(observers_attach(bus, &config), 0);
	observers_watch_store(NULL);
	CU_ASSERT(is_shown("postern_build_info{version=\"" PACKAGE_VERSION "\"} 1"));
	CU_ASSERT(is_shown("postern_config_revision 7"));
}

static void active_calls_by_realm(void)
{
	publish(BUS_CALL_STARTED, 0, 0, 0);
	publish(BUS_CALL_STARTED, 1, 0, 0);
	publish(BUS_CALL_STARTED, 1, 0, 0);
	publish(BUS_CALL_STARTED, CONFIG_REALMS_MAX, 0, 0); /* no such realm */
	CU_ASSERT(is_shown("postern_calls_active{realm=\"outer\"} 1"));
	CU_ASSERT(is_shown("postern_calls_active{realm=\"core\"} 2"));
	publish(BUS_CALL_ANSWERED, 1, 200, 2500);
	CU_ASSERT(is_shown("postern_calls_active{realm=\"core\"} 2"));
	publish(BUS_CALL_ENDED, 1, 200, 45000);
	CU_ASSERT(is_shown("postern_calls_active{realm=\"core\"} 1"));
	CU_ASSERT(is_shown("postern_calls_total{result=\"attempted\"} 4"));
	CU_ASSERT(is_shown("postern_calls_total{result=\"answered\"} 1"));
	CU_ASSERT(is_shown("postern_call_setup_seconds_bucket{le=\"2\"} 0"));
	CU_ASSERT(is_shown("postern_call_setup_seconds_bucket{le=\"3\"} 1"));
	CU_ASSERT(is_shown("postern_call_setup_seconds_sum 2.5"));
	CU_ASSERT(is_shown("postern_call_duration_seconds_bucket{le=\"30\"} 0"));
	CU_ASSERT(is_shown("postern_call_duration_seconds_bucket{le=\"60\"} 1"));
}

static unsigned alarms, clears;
static const char *alarm_wanted = "pinhole-helper"; /* NULL: any */
static char last_alarm[128];

static void on_alarm(void *arg, const struct bus_event *event)
{
	(void)arg;
	CU_ASSERT(alarm_wanted == NULL || span_eq(event->id, span_of(alarm_wanted)));
	snprintf(last_alarm, sizeof(last_alarm), "%.*s: %.*s", SPAN_ARG(event->id), SPAN_ARG(event->text));
	if (event->type == BUS_ALARM)
		alarms++;
	else
		clears++;
}

static void a_lost_helper_is_an_alarm(void)
{
	static struct peer_conf peer = { .realm = &config.realms[1] };
	static struct route_conf route = { .name = "in", .from = &config.realms[0], .to = &peer };
	struct pinholes *pinholes = fake_pinholes_new();

	CU_ASSERT_PTR_NOT_NULL_FATAL(pinholes);
	CU_ASSERT_EQUAL(bus_subscribe(bus, BUS_ALARM, on_alarm, NULL), 0);
	CU_ASSERT_EQUAL(bus_subscribe(bus, BUS_ALARM_CLEARED, on_alarm, NULL), 0);
	observers_watch_pinholes(bus, &config, pinholes);
	fake_pinholes_set_usable(pinholes, true); /* the first time: nothing was lost */
	CU_ASSERT_EQUAL(alarms + clears, 0);
	fake_pinholes_set_usable(pinholes, false);
	fake_pinholes_set_usable(pinholes, false);
	CU_ASSERT_EQUAL(alarms, 1);
	fake_pinholes_set_usable(pinholes, true);
	CU_ASSERT_EQUAL(clears, 1);
	alarm_wanted = "pinholes-full";
	fake_pinholes_set_full(pinholes, true);
	fake_pinholes_set_full(pinholes, true);
	CU_ASSERT_EQUAL(alarms, 2);
	fake_pinholes_set_full(pinholes, false);
	CU_ASSERT_EQUAL(clears, 2);
	alarm_wanted = "pinhole-supervisor";
	pinholes_unwatched(pinholes);
	CU_ASSERT_EQUAL(alarms, 3);
	/* Where media must get into the kernel, the consequence has an alarm of its own. */
	config.routes = &route;
	config.n_routes = 1;
	config.media.needs_kernel = true;
	alarm_wanted = NULL;
	fake_pinholes_set_full(pinholes, true);
	CU_ASSERT_EQUAL(alarms, 5);
	CU_ASSERT_STRING_EQUAL(last_alarm, "no-pinholes: no room");
	fake_pinholes_set_full(pinholes, false);
	CU_ASSERT_EQUAL(clears, 4);
	pinholes_free(pinholes);
}

static void results(void)
{
	static const int rejected[] = { 302, 403, 404, 480, 486, 488, 600, 603 };
	static const int failed[] = { 0, 183, 408, 500, 503, 504 };

	for (unsigned i = 0; i < sizeof(rejected) / sizeof(rejected[0]); i++)
		publish(BUS_CALL_ENDED, 0, rejected[i], 0);
	for (unsigned i = 0; i < sizeof(failed) / sizeof(failed[0]); i++)
		publish(BUS_CALL_ENDED, 0, failed[i], 0);
	publish(BUS_CALL_ENDED, 0, 487, 0);
	CU_ASSERT(is_shown("postern_calls_total{result=\"rejected\"} 8"));
	CU_ASSERT(is_shown("postern_calls_total{result=\"failed\"} 6"));
	CU_ASSERT(is_shown("postern_calls_total{result=\"cancelled\"} 1"));
	CU_ASSERT(is_shown("postern_calls_total{result=\"answered\"} 1"));
	CU_ASSERT(is_shown("postern_call_duration_seconds_count 1"));
}

static void database(void)
{
	CU_ASSERT(is_shown("postern_store_commits_total 5"));
	CU_ASSERT(is_shown("postern_cdrs_written_total 11"));
	CU_ASSERT(is_shown("postern_cdrs_lost_total 2"));
	CU_ASSERT(is_shown("postern_transfers_written_total 9"));
	CU_ASSERT(is_shown("postern_transfers_lost_total 1"));
	CU_ASSERT(is_shown("postern_store_queue 3"));
	CU_ASSERT(is_shown("postern_store_lag_seconds 0.0025"));
	bus_free(bus);
}

/* A call of the process before: up and ending in this one, but neither attempted nor answered in it. */
static void resumed_calls_leave_no_gap(void)
{
	publish(BUS_CALL_RESUMED, 0, 0, 0);
	CU_ASSERT(is_shown("postern_calls_total{result=\"resumed\"} 1"));
	CU_ASSERT(is_shown("postern_calls_total{result=\"answered\"} 1"));
	publish(BUS_CALL_ENDED, 0, 200, 90000);
	CU_ASSERT(is_shown("postern_calls_total{result=\"resumed\"} 1"));
}

static const struct unit_test tests[] = {
	{ "attaches", attaches },
	{ "active calls by realm", active_calls_by_realm },
	{ "results", results },
	{ "a lost helper is an alarm", a_lost_helper_is_an_alarm },
	{ "resumed calls leave no gap", resumed_calls_leave_no_gap },
	{ "database", database },
};

UNIT_MAIN("observers", tests)
