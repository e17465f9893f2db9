/* Observers of the bus, and the metrics that no part of the gateway owns alone: calls from the bus' events, the
 * database from its statistics, version and revision. Control thread, but for what is read at output time. */
#include "daemon/observers.h"

#include <stdio.h>

#include "core/bus.h"
#include "core/config.h"
#include "core/log.h"
#include "core/metrics.h"
#include "db/store.h"
#include "pinhole/admission.h"
#include "pinhole/pinhole.h"

#define CALLS "postern_calls_total"
#define CALLS_HELP "Calls by result; attempted counts every INVITE outside a dialog, answered those up as well, resumed those of before."

enum { ATTEMPTED, ANSWERED, REJECTED, CANCELLED, FAILED, RESUMED, BUILD, REVISION, METRICS };

static struct metric metrics[METRICS] = {
	[ATTEMPTED] = { CALLS, "result=\"attempted\"", CALLS_HELP, METRIC_COUNTER, 1, 0 },
	[ANSWERED] = { CALLS, "result=\"answered\"", CALLS_HELP, METRIC_COUNTER, 1, 0 },
	[REJECTED] = { CALLS, "result=\"rejected\"", CALLS_HELP, METRIC_COUNTER, 1, 0 },
	[CANCELLED] = { CALLS, "result=\"cancelled\"", CALLS_HELP, METRIC_COUNTER, 1, 0 },
	[FAILED] = { CALLS, "result=\"failed\"", CALLS_HELP, METRIC_COUNTER, 1, 0 },
	[RESUMED] = { CALLS, "result=\"resumed\"", CALLS_HELP, METRIC_COUNTER, 1, 0 },
	[BUILD] = { "postern_build_info", "version=\"" PACKAGE_VERSION "\"", "Always 1; the label says what runs.",
		    METRIC_GAUGE, 1, 1 },
	[REVISION] = { "postern_config_revision", NULL, "Revision of the configuration in use.", METRIC_GAUGE, 1, 0 },
};
static struct metric_histogram setup = {
	.metric = { "postern_call_setup_seconds", NULL, "Time from INVITE to answer, of answered calls.",
		    METRIC_HISTOGRAM, 0.001, 0 },
	.bounds = { 100, 250, 500, 1000, 2000, 3000, 5000, 8000, 12000, 20000, 30000, 60000, 120000 }, .n_bounds = 13,
};
static struct metric_histogram duration = {
	.metric = { "postern_call_duration_seconds", NULL, "Time from answer to end, of answered calls that ended.",
		    METRIC_HISTOGRAM, 0.001, 0 },
	.bounds = { 1000, 5000, 10000, 30000, 60000, 120000, 300000, 600000, 1200000, 1800000, 3600000, 7200000,
		    14400000 }, .n_bounds = 13,
};
static _Atomic int64_t active[CONFIG_REALMS_MAX]; /* by the caller's realm */

/* What became of a call that nobody answered. */
static unsigned result_of(int status)
{
	if (status == 487)
		return CANCELLED;
	if (status < 300 || status == 408 || (status >= 500 && status < 600))
		return FAILED;
	return REJECTED;
}

static void add_active(unsigned realm, int n)
{
	if (realm < CONFIG_REALMS_MAX)
		atomic_fetch_add_explicit(&active[realm], n, memory_order_relaxed);
}

static void on_call(void *arg, const struct bus_event *event)
{
	(void)arg;
	switch (event->type) {
	case BUS_CALL_STARTED:
		metric_add(&metrics[ATTEMPTED], 1);
		add_active(event->realm, 1);
		break;
	case BUS_CALL_RESUMED:
		metric_add(&metrics[RESUMED], 1);
		add_active(event->realm, 1);
		break;
	case BUS_CALL_ANSWERED:
		metric_add(&metrics[ANSWERED], 1);
		metric_observe(&setup, event->duration_ms);
		break;
	default:
		add_active(event->realm, -1);
		if (event->code >= 200 && event->code < 300)
			metric_observe(&duration, event->duration_ms);
		else
			metric_add(&metrics[result_of(event->code)], 1);
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

static int64_t read_active(void *arg)
{
	return atomic_load_explicit((_Atomic int64_t *)arg, memory_order_relaxed);
}

static void register_metrics(const struct config *config)
{
	char labels[128];
	struct metric row = { .name = "postern_calls_active", .labels = labels, .type = METRIC_GAUGE,
			      .help = "Calls that are up or being set up, by the caller's realm." };

	for (unsigned i = 0; i < config->n_realms; i++) {
		snprintf(labels, sizeof(labels), "realm=\"%s\"", config->realms[i].name);
		metrics_register_read(&row, read_active, &active[i]);
	}
	metric_set(&metrics[REVISION], config->revision);
	metrics_register(metrics, METRICS);
	metrics_register_histogram(&setup);
	metrics_register_histogram(&duration);
}

int observers_attach(struct bus *bus, const struct config *config)
{
	static const enum bus_type calls[] = { BUS_CALL_STARTED, BUS_CALL_RESUMED, BUS_CALL_ANSWERED, BUS_CALL_ENDED };
	int err = 0;

	register_metrics(config);
	for (unsigned i = 0; err == 0 && i < sizeof(calls) / sizeof(calls[0]); i++)
		err = bus_subscribe(bus, calls[i], on_call, NULL);
	if (err == 0)
		err = bus_subscribe(bus, BUS_ALARM, on_alarm, NULL);
	if (err == 0)
		err = bus_subscribe(bus, BUS_ALARM_CLEARED, on_alarm, NULL);
	return err;
}

/* Kernel media */

static struct {
	struct bus *bus;
	const struct config *config;
	struct pinholes *pinholes;
	bool has_helper, is_lost, is_unwatched, is_full, is_refusing;
} watched;

static void tell(bool is_raised, const char *name, const char *text)
{
	bus_publish(watched.bus, &(struct bus_event){ .type = is_raised ? BUS_ALARM : BUS_ALARM_CLEARED, .id = span_of(name),
						      .text = span_of(text) });
}

static void on_pinholes_change(void *arg)
{
	struct pinholes_summary summary;
	const char *why = "new calls are welcome again";
	bool is_lost, is_refusing;

	(void)arg;
	pinholes_summary(watched.pinholes, &summary);
	watched.has_helper = watched.has_helper || summary.has_helper; /* what was never there is not lost */
	is_lost = watched.has_helper && !summary.has_helper;
	if (is_lost != watched.is_lost)
		tell(is_lost, "pinhole-helper", is_lost ? "the privileged helper is lost or silent" : "it serves again");
	if (summary.is_unwatched != watched.is_unwatched)
		tell(summary.is_unwatched, "pinhole-supervisor",
		     summary.is_unwatched ? "the privileged helper serves, and will not be started again should it end" :
					    "the privileged helper has ended");
	if (summary.is_full != watched.is_full)
		tell(summary.is_full, "pinholes-full", summary.is_full ? "no room for more pinholes" : "there is room for pinholes again");
	is_refusing = admission_refused_route(watched.config, watched.pinholes, &why) != NULL;
	if (is_refusing != watched.is_refusing)
		tell(is_refusing, "no-pinholes", why);
	watched.is_lost = is_lost;
	watched.is_unwatched = summary.is_unwatched;
	watched.is_full = summary.is_full;
	watched.is_refusing = is_refusing;
}

void observers_watch_pinholes(struct bus *bus, const struct config *config, struct pinholes *pinholes)
{
	watched.bus = bus;
	watched.config = config;
	watched.pinholes = pinholes;
	pinholes_on_change(pinholes, on_pinholes_change, NULL);
	on_pinholes_change(NULL);
}

void observers_reload(const struct config *config)
{
	watched.config = config;
	metric_set(&metrics[REVISION], config->revision);
	on_pinholes_change(NULL);
}

/* ---- database -------------------------------------------------------------------------------------------------- */

static struct store_stats stats_of(void *store)
{
	struct store_stats stats;

	store_stats(store, &stats);
	return stats;
}

static int64_t read_commits(void *arg)
{
	return (int64_t)stats_of(arg).commits;
}

static int64_t read_written(void *arg)
{
	return (int64_t)stats_of(arg).cdrs_written;
}

static int64_t read_lost(void *arg)
{
	return (int64_t)stats_of(arg).cdrs_lost;
}

static int64_t read_transfers(void *arg)
{
	return (int64_t)stats_of(arg).transfers_written;
}

static int64_t read_transfers_lost(void *arg)
{
	return (int64_t)stats_of(arg).transfers_lost;
}

static int64_t read_queue(void *arg)
{
	return (int64_t)stats_of(arg).queue_depth;
}

static int64_t read_last_commit(void *arg)
{
	return (int64_t)stats_of(arg).last_commit_us;
}

void observers_watch_store(struct store *store)
{
	static const struct {
		struct metric row;
		metric_read_fn *fn;
	} reads[] = {
		{ { "postern_store_commits_total", NULL, "Transactions committed to the database.", METRIC_COUNTER, 1, 0 },
		  read_commits },
		{ { "postern_cdrs_written_total", NULL, "Call records that are in the database.", METRIC_COUNTER, 1, 0 },
		  read_written },
		{ { "postern_cdrs_lost_total", NULL, "Call records that could not be kept.", METRIC_COUNTER, 1, 0 },
		  read_lost },
		{ { "postern_transfers_written_total", NULL, "Records of data transfers that are in the database.",
		    METRIC_COUNTER, 1, 0 }, read_transfers },
		{ { "postern_transfers_lost_total", NULL, "Records of data transfers that could not be kept.", METRIC_COUNTER,
		    1, 0 }, read_transfers_lost },
		{ { "postern_store_queue", NULL, "Records and live rows that wait to be written.", METRIC_GAUGE, 1, 0 },
		  read_queue },
		{ { "postern_store_lag_seconds", NULL, "Duration of the last commit.", METRIC_GAUGE, 0.000001, 0 },
		  read_last_commit },
	};

	for (unsigned i = 0; i < sizeof(reads) / sizeof(reads[0]); i++)
		metrics_register_read(&reads[i].row, reads[i].fn, store);
}
