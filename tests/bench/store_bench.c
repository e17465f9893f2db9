/* CPU that call records and live calls cost, per call, including the store thread: user and system time of the process
 * (getrusage) at a steady rate on the real event loop, less what the same loop costs without a store.
 *
 *   store_bench [calls per second] [seconds] [directory]
 *
 * One call is what the gateway writes for it: a live put, a second one when it is answered, and at its end a record
 * with four streams and a live delete, `UP` calls later. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/loop.h"
#include "db/store.h"

#define TICK_MS 2
#define UP 500 /* calls that are up at the same time */

struct bench {
	struct loop *loop;
	struct store *store;
	struct loop_timer timer;
	unsigned rate, n_total;
	unsigned n_begun, n_done, n_failed;
	uint64_t begin_ms;
	uint64_t latency_sum_ms, latency_max_ms;
	double submit_us; /* CPU of the control thread in store_*() */
};

struct wait {
	struct bench *bench;
	uint64_t since_ms;
};

static double cpu_us(int who)
{
	struct rusage u;

	getrusage(who, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void on_done(void *arg, int result)
{
	struct wait *wait = arg;
	struct bench *b = wait->bench;
	uint64_t latency_ms = loop_now_ms(b->loop) - wait->since_ms;

	b->n_done++;
	b->n_failed += result != 0;
	b->latency_sum_ms += latency_ms;
	if (latency_ms > b->latency_max_ms)
		b->latency_max_ms = latency_ms;
	free(wait);
}

static void make_id(unsigned n, int64_t wall_ms, char out[64])
{
	/* Like UUIDv7: ordered by time, then random. */
	snprintf(out, 64, "%08x-%04x-7%03x-8000-%012x", (unsigned)(wall_ms >> 16), (unsigned)(wall_ms & 0xffff),
		 n & 0xfff, n * 2654435761u);
}

static const char live_state[] =
	"{\"v\":1,\"state\":\"answered\",\"revision\":7,\"started\":1767225600000,\"answered\":1767225602500,"
	"\"a\":{\"realm\":\"access\",\"call_id\":\"3848276298220188511@198.51.100.7\",\"local_tag\":"
	"\"00abcdefghijklmn\",\"remote_tag\":"
	"\"9fxced76sl\",\"local_uri\":\"sip:+4930123@example.com\",\"remote_uri\":\"sip:alice@example.com\",\"target\":"
	"\"sip:alice@198.51.100.7:5060;transport=udp\",\"cseq\":314159,\"routes\":[]},"
	"\"b\":{\"realm\":\"core\",\"peer\":\"softswitch\",\"call_id\":\"00qrstuvwxyzabcdef\",\"local_tag\":"
	"\"00mnopqrstuvwxyz\","
	"\"remote_tag\":\"as58f4201b\",\"local_uri\":\"sip:alice@10.0.0.10\",\"remote_uri\":\"sip:+4930123@10.0.0.20\","
	"\"target\":"
	"\"sip:+4930123@10.0.0.20:5060\",\"cseq\":1,\"routes\":[]},"
	"\"media\":[{\"kind\":\"audio\",\"a\":[20000,\"198.51.100.7:4000\"],\"b\":[30000,\"10.0.0.20:6000\"]}]}";

static void write_record(struct bench *b, const char *id, int64_t now_ms)
{
	static const struct cdr_stream streams[4] = {
		{ 0, 'a', SPAN_LIT("audio"), SPAN_LIT("192.0.2.10:20000"), SPAN_LIT("198.51.100.7:4000"),
		  SPAN_LIT("198.51.100.7:4000"), SPAN_LIT("relay"), 3000, 516000, 0, 0, 12, 125 },
		{ 0, 'b', SPAN_LIT("audio"), SPAN_LIT("10.0.0.10:30000"), SPAN_LIT("10.0.0.20:6000"),
		  SPAN_LIT("10.0.0.20:6000"), SPAN_LIT("relay"), 2999, 515828, 0, 0, 11, 80 },
		{ 1, 'a', SPAN_LIT("video"), SPAN_LIT("192.0.2.10:20002"), SPAN_LIT("198.51.100.7:4002"),
		  SPAN_LIT("198.51.100.7:4002"), SPAN_LIT("relay"), 9000, 9160000, 3, 0, 12, 925 },
		{ 1, 'b', SPAN_LIT("video"), SPAN_LIT("10.0.0.10:30002"), SPAN_LIT("10.0.0.20:6002"),
		  SPAN_LIT("10.0.0.20:6002"), SPAN_LIT("relay"), 8999, 9158280, 0, 0, 11, 780 },
	};
	struct cdr cdr = {
		.id = span_of(id),
		.node = SPAN_LIT("edge-1"),
		.config_revision = 7,
		.started_ms = now_ms - 62501,
		.ringing_ms = now_ms - 62381,
		.answered_ms = now_ms - 60001,
		.ended_ms = now_ms,
		.sip_status = 200,
		.ended_by = CDR_END_CALLEE,
		.cause = SPAN_LIT("normal"),
		.reason = SPAN_LIT("Q.850;cause=16;text=\"Normal\""),
		.a = { SPAN_LIT("access"), SPAN_NONE, SPAN_LIT("3848276298220188511@198.51.100.7"),
		       SPAN_LIT("00abcdefghijklmn"), SPAN_LIT("9fxced76sl"), SPAN_LIT("sip:alice@example.com"),
		       SPAN_LIT("sip:+4930123@example.com"), SPAN_LIT("sip:+4930123@192.0.2.10"),
		       SPAN_LIT("198.51.100.7:5060"), SPAN_LIT("Phone X/1.0.17 build 2024") },
		.b = { SPAN_LIT("core"), SPAN_LIT("softswitch"), SPAN_LIT("00qrstuvwxyzabcdef"),
		       SPAN_LIT("00mnopqrstuvwxyz"), SPAN_LIT("as58f4201b"), SPAN_LIT("sip:alice@10.0.0.10"),
		       SPAN_LIT("sip:+4930123@10.0.0.20"), SPAN_LIT("sip:+4930123@10.0.0.20"),
		       SPAN_LIT("10.0.0.20:5060"), SPAN_LIT("Switch 9") },
		.decision_json = SPAN_LIT(
			"[{\"at_ms\":0,\"rule\":\"access\",\"text\":\"source matches realm access\"},"
			"{\"at_ms\":0,\"rule\":\"to-core\",\"text\":\"user starts with 49, takes peer softswitch\"}]"),
		.streams = streams,
		.n_streams = 4,
	};
	struct wait *wait = malloc(sizeof(*wait));

	*wait = (struct wait){ b, loop_now_ms(b->loop) };
	store_cdr(b->store, &cdr, on_done, wait);
}

static void one_call(struct bench *b, unsigned n)
{
	static char ids[UP][64];
	char *id = ids[n % UP];
	const struct span state = { live_state, sizeof(live_state) - 1 };

	if (b->store == NULL)
		return;
	if (id[0] != '\0') {
		write_record(b, id, loop_wall_ms(b->loop));
		store_live_delete(b->store, span_of(id));
	}
	make_id(n, loop_wall_ms(b->loop), id);
	store_live_put(b->store, span_of(id), span_sub(state, 0, 500));
	/* The call that began a second ago is answered. */
	if (ids[(n + UP / 2) % UP][0] != '\0')
		store_live_put(b->store, span_of(ids[(n + UP / 2) % UP]), state);
}

static void on_tick(struct loop_timer *timer, void *arg)
{
	struct bench *b = arg;
	uint64_t due = (loop_now_ms(b->loop) - b->begin_ms) * b->rate / 1000;
	double before = cpu_us(RUSAGE_THREAD);

	while (b->n_begun < due && b->n_begun < b->n_total)
		one_call(b, b->n_begun++);
	b->submit_us += cpu_us(RUSAGE_THREAD) - before;
	if (b->n_begun < b->n_total)
		loop_timer_start(timer, TICK_MS);
	else
		loop_stop(b->loop);
}

/* CPU in microseconds for n calls. */
static double run(struct bench *b, unsigned n)
{
	double before = cpu_us(RUSAGE_SELF);

	b->n_total = n;
	b->n_begun = 0;
	b->submit_us = 0;
	b->begin_ms = loop_now_ms(b->loop);
	loop_timer_start(&b->timer, TICK_MS);
	loop_run(b->loop);
	return cpu_us(RUSAGE_SELF) - before;
}

int main(int argc, char **argv)
{
	struct bench b = { .rate = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 500 };
	unsigned seconds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 10;
	const char *dir = argc > 3 ? argv[3] : ".";
	struct store_stats stats;
	char path[4096], error[512];
	double idle, busy;

	snprintf(path, sizeof(path), "%s/store-bench-%d.db", dir, (int)getpid());
	if (b.rate == 0 || seconds == 0 || loop_new(&b.loop) < 0)
		return 2;
	loop_timer_init(&b.timer, b.loop, on_tick, &b);
	idle = run(&b, b.rate * 2) / (b.rate * 2);
	if (store_open(b.loop, NULL, path, error, sizeof(error), &b.store) < 0) {
		fprintf(stderr, "%s\n", error);
		return 1;
	}
	run(&b, UP > b.rate ? UP : b.rate); /* until every call has one that it ends */
	busy = run(&b, b.rate * seconds) / (b.rate * seconds);
	store_stats(b.store, &stats);
	printf("%u calls/s, %u s: %.1f us CPU per call (%.1f less %.1f of the idle loop), of it %.1f us in store_*()\n",
	       b.rate, seconds, busy - idle, busy, idle, b.submit_us / (b.rate * seconds));
	printf("%.1f calls per commit, answers after %.1f ms on average, %llu ms at most, %u failed, %llu live "
	       "writes\n",
	       (double)stats.cdrs_written / (double)stats.commits,
	       (double)b.latency_sum_ms / (b.n_done > 0 ? b.n_done : 1), (unsigned long long)b.latency_max_ms,
	       b.n_failed, (unsigned long long)stats.live_writes);
	store_close(b.store);
	loop_free(b.loop);
	for (const char *const *tail = (const char *const[]){ "", "-wal", "-shm", NULL }; *tail != NULL; tail++) {
		snprintf(path, sizeof(path), "%s/store-bench-%d.db%s", dir, (int)getpid(), *tail);
		unlink(path);
	}
	return 0;
}
