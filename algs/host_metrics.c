/* Metrics of the ALG host: by ALG what an operator configures limits for, and by path and result what tells whether it works. */
#include "algs/host_metrics.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "algs/engine.h"
#include "algs/listener.h"
#include "algs/session.h"
#include "core/err.h"
#include "core/metrics.h"

enum { REFUSED_DENIED, REFUSED_LIMIT, REFUSED_RATE, LISTENERS_OPEN, LISTENERS_CLOSED, HOLES_KERNEL, HOLES_RELAY, HOLES_MEDIA,
       HOLES_DATAGRAMS, NO_HOLE_DENIED, NO_HOLE_LIMIT, NO_HOLE_OTHER, NAMES, NOT_MET_LIMIT, NOT_MET_UNKNOWN, TRANSFERS_OK,
       TRANSFERS_FAILED, BYTES_KERNEL, BYTES_RELAY, BYTES_CONTROL, TLS_CLIENT_OK, TLS_CLIENT_FAILED, TLS_SERVER_OK, TLS_SERVER_FAILED,
       METRICS };
_Static_assert((int)HOLES_RELAY - (int)HOLES_KERNEL == (int)HOLE_RELAY && (int)HOLES_DATAGRAMS - (int)HOLES_KERNEL == (int)HOLE_DATAGRAMS,
	       "in the order of enum hole_way");

#define REFUSED_HELP "Sessions that were not begun, by reason."
#define LISTENERS_HELP "Sockets of ALGs for control channels, by state."
#define HOLES_HELP "Pinholes of ALG sessions that are reserved or open, by how they are made."
#define NO_HOLE_HELP "Pinholes that protocols wanted and did not get, by reason."
#define NAMES_HELP "Names by which sessions of ALGs can be met by another one of their client."
#define NOT_MET_HELP "Sessions that did not meet, by reason: too many names; none of that name, or it is taken."
#define TRANSFERS_HELP "Data transfers of ALG sessions that ended, by result."
#define TLS_HELP "Handshakes of TLS that the gateway ended for ALGs, by side and result."
#define BYTES_HELP "Octets of recorded data transfers, by path."
static struct metric metrics[METRICS] = {
	[REFUSED_DENIED] = { "postern_alg_sessions_refused_total", "reason=\"denied\"", REFUSED_HELP, METRIC_COUNTER, 0, 0 },
	[REFUSED_LIMIT] = { "postern_alg_sessions_refused_total", "reason=\"limit\"", REFUSED_HELP, METRIC_COUNTER, 0, 0 },
	[REFUSED_RATE] = { "postern_alg_sessions_refused_total", "reason=\"rate\"", REFUSED_HELP, METRIC_COUNTER, 0, 0 },
	[LISTENERS_OPEN] = { "postern_alg_listeners", "state=\"open\"", LISTENERS_HELP, METRIC_GAUGE, 0, 0 },
	[LISTENERS_CLOSED] = { "postern_alg_listeners", "state=\"closed\"", LISTENERS_HELP, METRIC_GAUGE, 0, 0 },
	[HOLES_KERNEL] = { "postern_alg_holes", "way=\"kernel\"", HOLES_HELP, METRIC_GAUGE, 0, 0 },
	[HOLES_RELAY] = { "postern_alg_holes", "way=\"relay\"", HOLES_HELP, METRIC_GAUGE, 0, 0 },
	[HOLES_MEDIA] = { "postern_alg_holes", "way=\"media\"", HOLES_HELP, METRIC_GAUGE, 0, 0 },
	[HOLES_DATAGRAMS] = { "postern_alg_holes", "way=\"datagrams\"", HOLES_HELP, METRIC_GAUGE, 0, 0 },
	[NO_HOLE_DENIED] = { "postern_alg_holes_refused_total", "reason=\"denied\"", NO_HOLE_HELP, METRIC_COUNTER, 0, 0 },
	[NO_HOLE_LIMIT] = { "postern_alg_holes_refused_total", "reason=\"limit\"", NO_HOLE_HELP, METRIC_COUNTER, 0, 0 },
	[NO_HOLE_OTHER] = { "postern_alg_holes_refused_total", "reason=\"other\"", NO_HOLE_HELP, METRIC_COUNTER, 0, 0 },
	[NAMES] = { "postern_alg_names", NULL, NAMES_HELP, METRIC_GAUGE, 0, 0 },
	[NOT_MET_LIMIT] = { "postern_alg_meetings_refused_total", "reason=\"limit\"", NOT_MET_HELP, METRIC_COUNTER, 0, 0 },
	[NOT_MET_UNKNOWN] = { "postern_alg_meetings_refused_total", "reason=\"unknown\"", NOT_MET_HELP, METRIC_COUNTER, 0, 0 },
	[TRANSFERS_OK] = { "postern_alg_transfers_total", "result=\"ok\"", TRANSFERS_HELP, METRIC_COUNTER, 0, 0 },
	[TRANSFERS_FAILED] = { "postern_alg_transfers_total", "result=\"failed\"", TRANSFERS_HELP, METRIC_COUNTER, 0, 0 },
	[BYTES_KERNEL] = { "postern_alg_transfer_bytes_total", "path=\"kernel\"", BYTES_HELP, METRIC_COUNTER, 0, 0 },
	[BYTES_RELAY] = { "postern_alg_transfer_bytes_total", "path=\"relay\"", BYTES_HELP, METRIC_COUNTER, 0, 0 },
	[BYTES_CONTROL] = { "postern_alg_transfer_bytes_total", "path=\"control\"", BYTES_HELP, METRIC_COUNTER, 0, 0 },
	[TLS_CLIENT_OK] = { "postern_alg_tls_handshakes_total", "side=\"client\",result=\"ok\"", TLS_HELP, METRIC_COUNTER, 0, 0 },
	[TLS_CLIENT_FAILED] = { "postern_alg_tls_handshakes_total", "side=\"client\",result=\"failed\"", TLS_HELP, METRIC_COUNTER, 0, 0 },
	[TLS_SERVER_OK] = { "postern_alg_tls_handshakes_total", "side=\"server\",result=\"ok\"", TLS_HELP, METRIC_COUNTER, 0, 0 },
	[TLS_SERVER_FAILED] = { "postern_alg_tls_handshakes_total", "side=\"server\",result=\"failed\"", TLS_HELP, METRIC_COUNTER, 0, 0 },
};

/* By name, as long as the process lives: counters must not go back. Names that come later than the last one share it. */
enum { PER_ALG_MAX = 4 * CONFIG_ALGS_MAX };
static struct per_alg {
	char name[64];
	_Atomic int64_t active, total, expires_s;
} per_alg[PER_ALG_MAX];
static unsigned n_per_alg;

static int64_t read_value(void *arg)
{
	return atomic_load_explicit((_Atomic int64_t *)arg, memory_order_relaxed);
}

static void add(_Atomic int64_t *value, int64_t n)
{
	atomic_fetch_add_explicit(value, n, memory_order_relaxed);
}

void host_metrics_register(void)
{
	static bool is_done;

	if (!is_done)
		metrics_register(metrics, METRICS);
	is_done = true;
}

static void show(struct per_alg *row)
{
	char labels[128];
	const struct metric active = { .name = "postern_alg_sessions_active", .labels = labels, .type = METRIC_GAUGE,
				       .help = "Control channels that are open, by ALG." };
	const struct metric total = { .name = "postern_alg_sessions_total", .labels = labels, .type = METRIC_COUNTER,
				      .help = "Control channels that were begun, by ALG." };
	const struct metric expires = { .name = "postern_alg_certificate_expiry_timestamp_seconds", .labels = labels, .type = METRIC_GAUGE,
					.help = "When the certificate that clients see expires, as seconds since 1970; 0 without one." };

	snprintf(labels, sizeof(labels), "alg=\"%s\"", row->name);
	metrics_register_read(&active, read_value, &row->active);
	metrics_register_read(&total, read_value, &row->total);
	metrics_register_read(&expires, read_value, &row->expires_s);
}

unsigned host_metrics_alg(const char *name)
{
	for (unsigned i = 0; i < n_per_alg; i++)
		if (strcmp(per_alg[i].name, name) == 0)
			return i;
	if (n_per_alg == PER_ALG_MAX)
		return PER_ALG_MAX - 1;
	snprintf(per_alg[n_per_alg].name, sizeof(per_alg[0].name), "%s", n_per_alg < PER_ALG_MAX - 1 ? name : "(others)");
	show(&per_alg[n_per_alg]);
	return n_per_alg++;
}

void host_metrics_began(const struct session *s)
{
	add(&per_alg[s->client->alg->metric].active, 1);
	add(&per_alg[s->client->alg->metric].total, 1);
}

void host_metrics_ended(const struct session *s)
{
	add(&per_alg[s->client->alg->metric].active, -1);
}

void host_metrics_refused(int err)
{
	metric_add(&metrics[err == ERR_LIMIT ? REFUSED_LIMIT : err == -EAGAIN ? REFUSED_RATE : REFUSED_DENIED], 1);
}

void host_metrics_listeners(const struct alg_host_engine *engine)
{
	unsigned n_open = 0, n = 0;

	LIST_EACH(&engine->listeners, node) {
		const struct listener *l = LIST_ENTRY(node, struct listener, node);

		n_open += listener_is_open(l);
		n += !l->is_retired;
	}
	metric_set(&metrics[LISTENERS_OPEN], n_open);
	metric_set(&metrics[LISTENERS_CLOSED], (int64_t)n - n_open);
}

void host_metrics_transfer(uint64_t bytes, const char *path, bool is_ok)
{
	unsigned by_path = strcmp(path, "relay") == 0 ? BYTES_RELAY : strcmp(path, "control") == 0 ? BYTES_CONTROL : BYTES_KERNEL;

	metric_add(&metrics[is_ok ? TRANSFERS_OK : TRANSFERS_FAILED], 1);
	metric_add(&metrics[by_path], (int64_t)bytes);
}

void host_metrics_hole_refused(int err)
{
	metric_add(&metrics[err == ALG_ERR_DENIED ? NO_HOLE_DENIED : err == ALG_ERR_LIMIT ? NO_HOLE_LIMIT : NO_HOLE_OTHER], 1);
}

void host_metrics_tls(enum alg_side side, bool is_ok)
{
	if (side == ALG_CLIENT)
		metric_add(&metrics[is_ok ? TLS_CLIENT_OK : TLS_CLIENT_FAILED], 1);
	else
		metric_add(&metrics[is_ok ? TLS_SERVER_OK : TLS_SERVER_FAILED], 1);
}

void host_metrics_not_met(int err)
{
	metric_add(&metrics[err == ALG_ERR_LIMIT ? NOT_MET_LIMIT : NOT_MET_UNKNOWN], 1);
}

static void count_holes(const struct alg_host_engine *engine, int64_t by_way[])
{
	LIST_EACH(&engine->live, node) {
		const struct session *s = LIST_ENTRY(node, struct session, node);

		LIST_EACH(&s->holes, hole_node) {
			const struct hole *hole = LIST_ENTRY(hole_node, struct hole, node);

			if (hole_is_live(hole))
				by_way[hole->way]++;
		}
	}
}

void host_metrics_sweep(const struct alg_host_engine *engine)
{
	int64_t by_way[HOLE_DATAGRAMS + 1] = { 0 };

	LIST_EACH(&engine->algs, node) {
		const struct engine_alg *alg = LIST_ENTRY(node, struct engine_alg, node);

		atomic_store_explicit(&per_alg[alg->metric].expires_s, engine_tls_expires_ms(alg) / 1000, memory_order_relaxed);
	}
	count_holes(engine, by_way);
	for (int way = HOLE_KERNEL; way <= HOLE_DATAGRAMS; way++)
		metric_set(&metrics[(int)HOLES_KERNEL + way], by_way[way]);
	metric_set(&metrics[NAMES], (int64_t)hash_table_count(engine->by_name));
	host_metrics_listeners(engine);
}
