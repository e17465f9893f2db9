/* Observers of the bus. Control thread. */
#include "daemon/observers.h"

#include "core/bus.h"
#include "core/log.h"
#include "core/metrics.h"

enum { ACTIVE, STARTED, ANSWERED, FAILED, SETUP_SECONDS, CONNECTED_SECONDS, METRICS };

static struct metric metrics[METRICS] = {
	[ACTIVE] = { "postern_calls_active", NULL, "Calls that are up or being set up.", METRIC_GAUGE, 1, 0 },
	[STARTED] = { "postern_calls_total", "result=\"attempted\"", "Calls by result; attempted counts every INVITE outside a dialog.",
		      METRIC_COUNTER, 1, 0 },
	[ANSWERED] = { "postern_calls_total", "result=\"answered\"", "Calls by result; attempted counts every INVITE outside a dialog.",
		       METRIC_COUNTER, 1, 0 },
	[FAILED] = { "postern_calls_total", "result=\"failed\"", "Calls by result; attempted counts every INVITE outside a dialog.",
		     METRIC_COUNTER, 1, 0 },
	[SETUP_SECONDS] = { "postern_call_setup_seconds_total", NULL, "Time from INVITE to answer, summed over answered calls.",
			    METRIC_COUNTER, 0.001, 0 },
	[CONNECTED_SECONDS] = { "postern_call_connected_seconds_total", NULL, "Time from answer to end, summed over ended calls.",
				METRIC_COUNTER, 0.001, 0 },
};

static void on_call(void *arg, const struct bus_event *event)
{
	(void)arg;
	switch (event->type) {
	case BUS_CALL_STARTED:
		metric_add(&metrics[STARTED], 1);
		metric_add(&metrics[ACTIVE], 1);
		break;
	case BUS_CALL_ANSWERED:
		metric_add(&metrics[ANSWERED], 1);
		metric_add(&metrics[SETUP_SECONDS], event->duration_ms);
		break;
	default:
		metric_add(&metrics[ACTIVE], -1);
		if (event->code < 200 || event->code >= 300)
			metric_add(&metrics[FAILED], 1);
		metric_add(&metrics[CONNECTED_SECONDS], event->duration_ms);
		break;
	}
}

static void on_alarm(void *arg, const struct bus_event *event)
{
	(void)arg;
	if (event->type == BUS_ALARM)
		log_error("alarm", "raised", LF_SPAN("name", event->id), LF_SPAN("what", event->text));
	else
		log_info("alarm", "cleared", LF_SPAN("name", event->id), LF_SPAN("what", event->text));
}

int observers_attach(struct bus *bus)
{
	static const enum bus_type calls[] = { BUS_CALL_STARTED, BUS_CALL_ANSWERED, BUS_CALL_ENDED };
	int err = 0;

	metrics_register(metrics, METRICS);
	for (unsigned i = 0; err == 0 && i < sizeof(calls) / sizeof(calls[0]); i++)
		err = bus_subscribe(bus, calls[i], on_call, NULL);
	if (err == 0)
		err = bus_subscribe(bus, BUS_ALARM, on_alarm, NULL);
	if (err == 0)
		err = bus_subscribe(bus, BUS_ALARM_CLEARED, on_alarm, NULL);
	return err;
}
