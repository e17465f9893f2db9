/* Sessions, time-outs, refused addresses, and that nothing is left behind. */
#include "media-relay/media.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/err.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "tests/mock/fake_loop.h"
#include "tests/unit/media_rig.h"
#include "tests/unit/unit.h"

static struct rig rig;

static void begin(uint32_t timeout_ms)
{
	struct loop *loop = NULL;

	CU_ASSERT_EQUAL_FATAL(loop_new(&loop), 0);
	rig_open(&rig, loop, false, timeout_ms);
}

static void end(void)
{
	rig_close(&rig);
	loop_free(rig.loop);
}

static uint32_t pairs_used(unsigned realm)
{
	struct media_pool_stats stats;

	CU_ASSERT_EQUAL(media_pool_stats(rig.engine, &rig_config(false)->realms[realm], &stats, 1), 1);
	return stats.pairs_used;
}

/* What /metrics says of the first realm's ports; -1: nothing. */
static int ports_shown(const char *state)
{
	char *text = metrics_text();
	char row[128];
	const char *at;
	int n = -1;

	snprintf(row, sizeof(row), "\npostern_media_ports{realm=\"%s\",state=\"%s\"} ", rig_config(false)->realms[0].name, state);
	at = text != NULL ? strstr(text, row) : NULL;
	if (at != NULL)
		n = (int)strtol(at + strlen(row), NULL, 10);
	free(text);
	return n;
}

/* Until the relay threads have let go of everything. */
static bool all_ports_return(void)
{
	for (int i = 0; i < 2000; i++) {
		fake_loop_turn(rig.loop);
		if (pairs_used(0) == 0 && pairs_used(1) == 0)
			return true;
		rig_pause_ms(1);
	}
	return false;
}

static void test_streams(void)
{
	struct media_local first, again;
	struct media_stats stats;

	begin(0);
	CU_ASSERT(media_stream_is_open(rig.media, 0));
	CU_ASSERT(!media_stream_is_open(rig.media, 1));
	CU_ASSERT(!media_stream_is_open(rig.media, MEDIA_STREAMS_MAX));
	CU_ASSERT_EQUAL(media_stream_open(rig.media, MEDIA_STREAMS_MAX, 0, 0), ERR_LIMIT);
	CU_ASSERT_EQUAL(media_stream_open(rig.media, 1, AF_INET6, 0), -EAFNOSUPPORT);
	media_stream_local(rig.media, 0, MEDIA_A, &first);
	CU_ASSERT_EQUAL(first.rtp.port % 2, 0);
	CU_ASSERT_EQUAL(first.rtcp.port, first.rtp.port + 1);
	CU_ASSERT_EQUAL(media_stream_open(rig.media, 0, 0, 0), 0);
	media_stream_local(rig.media, 0, MEDIA_A, &again);
	CU_ASSERT(addr_eq(&first.rtp, &again.rtp));
	CU_ASSERT_EQUAL(media_set_realm_b(rig.media, &rig_config(false)->realms[0]), ERR_STATE);
	CU_ASSERT_EQUAL(media_stats(rig.media, 0, MEDIA_A, &stats), 0);
	CU_ASSERT_EQUAL(stats.path, MEDIA_PATH_NONE);
	CU_ASSERT_EQUAL(stats.last_packet_age_ms, UINT64_MAX);
	CU_ASSERT_EQUAL(stats.latch, LATCH_CLOSED);
	CU_ASSERT_EQUAL(media_stats(rig.media, 1, MEDIA_A, &stats), ERR_NOT_FOUND);
	CU_ASSERT_EQUAL(media_sessions(rig.engine), 1);
	media_stream_close(rig.media, 0);
	media_stream_close(rig.media, 0);
	CU_ASSERT_EQUAL(media_set_realm_b(rig.media, &rig_config(false)->realms[0]), 0);
	CU_ASSERT_EQUAL(media_stream_open(rig.media, 3, 0, 0), 0);
	media_stream_local(rig.media, 3, MEDIA_B, &again);
	CU_ASSERT(again.rtp.port >= RIG_PORT_MIN && again.rtp.port <= RIG_PORT_MAX);
	end();
}

static void test_realms_that_are_not(void)
{
	struct realm_conf stranger = { .name = "stranger" };
	struct media *media = NULL;

	begin(0);
	CU_ASSERT_EQUAL(media_open(rig.engine, &rig.group, &stranger, &stranger, 0, NULL, NULL, &media), ERR_NOT_FOUND);
	CU_ASSERT_EQUAL(media_pool_stats(rig.engine, &stranger, NULL, 0), 0);
	CU_ASSERT_EQUAL(media_sessions(rig.engine), 1);
	end();
}

static void test_pool_runs_empty(void)
{
	const unsigned total = (RIG_PORT_MAX - RIG_PORT_MIN + 1) / 2;
	struct config *config;
	struct media *media = NULL;
	unsigned n = 1;

	begin(0);
	config = rig_config(false);
	for (int err = 0; err == 0; n++) {
		if (n % MEDIA_STREAMS_MAX == 1 || media == NULL)
			CU_ASSERT_EQUAL_FATAL(media_open(rig.engine, &rig.group, &config->realms[0], &config->realms[1], 0,
							 NULL, NULL, &media), 0);
		err = media_stream_open(media, n % MEDIA_STREAMS_MAX, 0, 0);
		CU_ASSERT(err == 0 || err == ERR_LIMIT);
		if (n > total)
			break;
	}
	CU_ASSERT_EQUAL(pairs_used(0), total);
	CU_ASSERT_EQUAL(pairs_used(1), total);
	CU_ASSERT_EQUAL(ports_shown("free"), (int)(2 * total));
	fake_loop_advance(rig.loop, 1000);
	CU_ASSERT_EQUAL(ports_shown("used"), (int)(2 * total));
	CU_ASSERT_EQUAL(ports_shown("quarantined"), 0);
	CU_ASSERT_EQUAL(ports_shown("free"), 0);
	group_close(&rig.group);
	CU_ASSERT_EQUAL(media_sessions(rig.engine), 0);
	CU_ASSERT(all_ports_return());
	CU_ASSERT_EQUAL_FATAL(media_open(rig.engine, &rig.group, &config->realms[0], &config->realms[1], 0, NULL, NULL,
					 &media), 0);
	CU_ASSERT_EQUAL(media_stream_open(media, 0, 0, 0), ERR_LIMIT); /* all in quarantine */
	fake_loop_advance(rig.loop, 1000);
	CU_ASSERT_EQUAL(ports_shown("used"), 0);
	CU_ASSERT_EQUAL(ports_shown("quarantined"), (int)(2 * total));
	fake_loop_advance(rig.loop, RIG_QUARANTINE_MS);
	CU_ASSERT_EQUAL(ports_shown("free"), (int)(2 * total));
	CU_ASSERT_EQUAL(media_stream_open(media, 0, 0, 0), 0);
	end();
}

static void test_thousand_sessions_leave_nothing(void)
{
	unsigned files = rig_open_files();
	struct config *config;
	struct group group;

	begin(0);
	config = rig_config(false);
	for (int i = 0; i < 1000; i++) {
		struct media *media = NULL;

		group_init(&group, 0, 0);
		CU_ASSERT_EQUAL_FATAL(media_open(rig.engine, &group, &config->realms[0], &config->realms[1], 0, NULL, NULL,
						 &media), 0);
		CU_ASSERT_EQUAL_FATAL(media_stream_open(media, 0, 0, 0), 0);
		group_close(&group);
		if (i % 50 == 49) { /* 400 ports a side: they have to come back to go on */
			for (int wait = 0; wait < 2000 && (pairs_used(0) > 1 || pairs_used(1) > 1); wait++) {
				fake_loop_turn(rig.loop);
				rig_pause_ms(1);
			}
			fake_loop_advance(rig.loop, RIG_QUARANTINE_MS + 1000);
		}
	}
	group_close(&rig.group);
	CU_ASSERT(all_ports_return());
	CU_ASSERT_EQUAL(media_sessions(rig.engine), 0);
	end();
	CU_ASSERT_EQUAL(rig_open_files(), files);
}

static void test_engine_ends_with_streams_closing(void)
{
	unsigned files = rig_open_files();
	struct config *config;
	struct media *media = NULL;

	begin(0);
	config = rig_config(false);
	for (int i = 0; i < 10; i++) {
		CU_ASSERT_EQUAL_FATAL(media_open(rig.engine, &rig.group, &config->realms[0], &config->realms[1], 0, NULL,
						 NULL, &media), 0);
		for (unsigned j = 0; j < MEDIA_STREAMS_MAX; j++)
			CU_ASSERT_EQUAL(media_stream_open(media, j, 0, 0), 0);
	}
	end();
	CU_ASSERT_EQUAL(rig_open_files(), files);
}

struct traffic {
	_Atomic bool is_over;
	struct addr gates[4];
};

static void *make_traffic(void *arg)
{
	struct traffic *traffic = arg;
	struct addr at;
	int fd = rig_socket("127.0.0.31", &at);
	struct sockaddr_storage sa;

	for (unsigned i = 0; !atomic_load(&traffic->is_over); i++) {
		socklen_t len = addr_to_sockaddr(&traffic->gates[i % 4], &sa);

		sendto(fd, "\x80\0\0\1\0\0\0\0\0\0\0\1payload", 19, 0, (struct sockaddr *)&sa, len);
	}
	close(fd);
	return NULL;
}

/* Sessions come and go while their ports (and others' ports) are being shot at; run under TSan and ASan. */
static void test_close_while_traffic_flows(void)
{
	struct addr private_at = { 0 }, trunk_at;
	struct traffic traffic = { 0 };
	int trunk = rig_socket("127.0.0.32", &trunk_at);
	pthread_t thread;

	addr_parse(SPAN_LIT("10.9.9.9:4000"), &private_at);
	begin(0);
	for (unsigned i = 0; i < 4; i++) {
		traffic.gates[i] = rig_local(&rig, MEDIA_A);
		traffic.gates[i].port = (uint16_t)(RIG_PORT_MIN + 2 * i);
	}
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, make_traffic, &traffic), 0);
	for (int round = 0; round < 100; round++) {
		for (unsigned i = 1; i < MEDIA_STREAMS_MAX; i++) {
			struct media_remote remote = rig_remote(&private_at);

			CU_ASSERT_EQUAL(media_stream_open(rig.media, i, 0, 0), 0);
			media_stream_remote(rig.media, i, MEDIA_A, &remote, false);
			remote = rig_remote(&trunk_at);
			media_stream_remote(rig.media, i, MEDIA_B, &remote, round % 2 == 0);
		}
		fake_loop_advance(rig.loop, 1000);
		for (unsigned i = 1; i < MEDIA_STREAMS_MAX; i++) {
			struct media_stats stats;

			CU_ASSERT_EQUAL(media_stats(rig.media, i, MEDIA_A, &stats), 0);
			CU_ASSERT(!addr_is_set(&stats.latched) || stats.latched.family == AF_INET);
			media_stream_close(rig.media, i);
		}
		for (int wait = 0; wait < 2000 && pairs_used(0) > 1; wait++) {
			fake_loop_turn(rig.loop);
			rig_pause_ms(1);
		}
	}
	atomic_store(&traffic.is_over, true);
	pthread_join(thread, NULL);
	close(trunk);
	end();
}

static void test_recycled_sockets_are_clean(void)
{
	struct addr phone_at, trunk_at, gate, other_gate;
	int phone = rig_socket("127.0.0.31", &phone_at), trunk = rig_socket("127.0.0.32", &trunk_at);
	bool was_reused = false;

	begin(0);
	for (int round = 0; round < 20 && !was_reused; round++) {
		gate = rig_local(&rig, MEDIA_A);
		media_stream_close(rig.media, 0);
		CU_ASSERT(all_ports_return());
		rig_send(phone, &gate, rig_rtp(0, 666)); /* late, to a port at rest */
		fake_loop_advance(rig.loop, RIG_QUARANTINE_MS + 1000);
		CU_ASSERT_EQUAL_FATAL(media_stream_open(rig.media, 0, 0, 0), 0);
		other_gate = rig_local(&rig, MEDIA_A);
		was_reused = addr_eq(&gate, &other_gate);
		rig_remotes(&rig, &phone_at, &trunk_at);
		/* However late the relay thread gets to the sockets, this belongs to the new stream. */
		rig_send(phone, &other_gate, rig_rtp(0, 7));
		CU_ASSERT(rig_is_rtp(trunk, 7, NULL));
		CU_ASSERT(rig_is_quiet(trunk));
	}
	CU_ASSERT(was_reused);
	close(phone);
	close(trunk);
	end();
}

static void test_refused_remotes(void)
{
	static const char *const refused[] = { "0.0.0.0:4000", "224.0.0.1:4000", "255.255.255.255:4000", "own", "other's",
					       "[::1]:4000" };
	struct addr phone_at, trunk_at, gate;
	int phone = rig_socket("127.0.0.31", &phone_at), trunk = rig_socket("127.0.0.32", &trunk_at);

	begin(0);
	gate = rig_local(&rig, MEDIA_B);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct addr bad = { 0 };
		struct media_stats stats;

		if (refused[i][0] == 'o') {
			bad = rig_local(&rig, refused[i][1] == 'w' ? MEDIA_A : MEDIA_B);
			bad.port += bad.port % 100 < 50 ? 2 : -2; /* another one of the pool */
		} else {
			CU_ASSERT_EQUAL_FATAL(addr_parse(span_of(refused[i]), &bad), 0);
		}
		rig_remotes(&rig, &bad, &trunk_at);
		stats = rig_stats(&rig, MEDIA_A);
		CU_ASSERT_EQUAL(stats.path, MEDIA_PATH_NONE);
		CU_ASSERT_STRING_NOT_EQUAL(stats.path_reason, "userspace relay");
		CU_ASSERT(addr_eq(&stats.signalled, &bad));
		rig_send(trunk, &gate, rig_rtp(0, 1)); /* goes nowhere */
	}
	for (int i = 0; i < 2000 && rig_stats(&rig, MEDIA_B).dropped_early < 6; i++)
		rig_pause_ms(1);
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_B).dropped_early, 6);
	rig_remotes(&rig, &phone_at, NULL);
	rig_send(trunk, &gate, rig_rtp(0, 2));
	CU_ASSERT(rig_is_rtp(phone, 2, NULL));
	CU_ASSERT_EQUAL(rig_stats(&rig, MEDIA_B).packets, 1);
	close(phone);
	close(trunk);
	end();
}

static void test_timeout(void)
{
	struct addr phone_at, trunk_at, gate;
	int phone = rig_socket("127.0.0.31", &phone_at), trunk = rig_socket("127.0.0.32", &trunk_at);

	begin(5000);
	gate = rig_local(&rig, MEDIA_A);
	rig_remotes(&rig, &phone_at, NULL);
	fake_loop_advance(rig.loop, 60000); /* not answered */
	CU_ASSERT_EQUAL(rig.timeouts, 0);
	rig_remotes(&rig, NULL, &trunk_at);
	fake_loop_advance(rig.loop, 4000);
	CU_ASSERT_EQUAL(rig.timeouts, 0);
	fake_loop_advance(rig.loop, 2000);
	CU_ASSERT_EQUAL(rig.timeouts, 1);
	CU_ASSERT_EQUAL(rig.timeout_at.port, 0);
	CU_ASSERT_EQUAL(rig.timeout_at.family, MEDIA_A);
	fake_loop_advance(rig.loop, 60000); /* said once */
	CU_ASSERT_EQUAL(rig.timeouts, 1);
	rig_send(phone, &gate, rig_rtp(0, 1)); /* resumes */
	CU_ASSERT(rig_is_rtp(trunk, 1, NULL));
	fake_loop_advance(rig.loop, 4000);
	rig_send(phone, &gate, rig_rtp(0, 2));
	CU_ASSERT(rig_is_rtp(trunk, 2, NULL));
	fake_loop_advance(rig.loop, 4000);
	CU_ASSERT_EQUAL(rig.timeouts, 1);
	fake_loop_advance(rig.loop, 4000);
	CU_ASSERT_EQUAL(rig.timeouts, 2);
	media_hold(rig.media, false); /* starts afresh, also when it has been said */
	fake_loop_advance(rig.loop, 4000);
	CU_ASSERT_EQUAL(rig.timeouts, 2);
	fake_loop_advance(rig.loop, 3000);
	CU_ASSERT_EQUAL(rig.timeouts, 3);
	close(phone);
	close(trunk);
	end();
}

static void test_hold_and_direction(void)
{
	struct addr phone_at, trunk_at;
	int phone = rig_socket("127.0.0.31", &phone_at), trunk = rig_socket("127.0.0.32", &trunk_at);
	struct media_remote silent;

	begin(5000);
	rig_remotes(&rig, &phone_at, &trunk_at);
	media_hold(rig.media, true);
	fake_loop_advance(rig.loop, 60000);
	CU_ASSERT_EQUAL(rig.timeouts, 0);
	media_hold(rig.media, false);
	fake_loop_advance(rig.loop, 4000);
	CU_ASSERT_EQUAL(rig.timeouts, 0);
	silent = rig_remote(&phone_at);
	silent.may_send = false;
	media_stream_remote(rig.media, 0, MEDIA_A, &silent, false);
	fake_loop_advance(rig.loop, 4000); /* the other side should still send */
	CU_ASSERT_EQUAL(rig.timeouts, 1);
	CU_ASSERT_EQUAL(rig.timeout_at.family, MEDIA_B);
	silent = rig_remote(&trunk_at);
	silent.may_send = false;
	media_stream_remote(rig.media, 0, MEDIA_B, &silent, false);
	fake_loop_advance(rig.loop, 60000);
	CU_ASSERT_EQUAL(rig.timeouts, 1);
	close(phone);
	close(trunk);
	end();
}

static void close_group(void *arg, struct media *media, enum media_event event, unsigned stream, enum media_side side)
{
	(void)media;
	(void)event;
	(void)stream;
	(void)side;
	group_close(arg);
}

/* The callback may close its own session and its neighbours. */
static void test_close_inside_timeout(void)
{
	struct addr phone_at, trunk_at;
	int phone = rig_socket("127.0.0.31", &phone_at), trunk = rig_socket("127.0.0.32", &trunk_at);
	struct config *config;
	struct group group;

	begin(0);
	config = rig_config(false);
	group_init(&group, 0, 0);
	for (int i = 0; i < 5; i++) {
		struct media_remote a = rig_remote(&phone_at), b = rig_remote(&trunk_at);
		struct media *media = NULL;

		CU_ASSERT_EQUAL_FATAL(media_open(rig.engine, &group, &config->realms[0], &config->realms[1], 2000,
						 close_group, &group, &media), 0);
		CU_ASSERT_EQUAL(media_stream_open(media, 0, 0, 0), 0);
		media_stream_remote(media, 0, MEDIA_A, &a, false);
		media_stream_remote(media, 0, MEDIA_B, &b, false);
	}
	fake_loop_advance(rig.loop, 10000);
	CU_ASSERT_EQUAL(media_sessions(rig.engine), 1);
	CU_ASSERT(list_is_empty(&group.members));
	close(phone);
	close(trunk);
	end();
}

static int refused_engine(const struct config *config, struct conf_errors *errors, const char *word)
{
	struct media_engine *engine = NULL;
	struct loop *loop = NULL;
	int err;

	CU_ASSERT_EQUAL_FATAL(loop_new(&loop), 0);
	err = media_engine_new(loop, config, NULL, errors, &engine);
	CU_ASSERT_PTR_NULL(engine);
	CU_ASSERT(errors->n > 0 && strstr(errors->items[0].text, word) != NULL);
	media_engine_free(engine);
	loop_free(loop);
	return err;
}

static void test_bad_configurations(void)
{
	struct conf_errors errors = { 0 };
	struct config *config = rig_config(false);
	unsigned files = rig_open_files();

	config->realms[0].media_port_max = 65535; /* no kernel leaves all of these alone */
	config->realms[0].media_port_min = 1024;
	CU_ASSERT_EQUAL(refused_engine(config, &errors, "ephemeral"), ERR_CONFIG);
	conf_errors_free(&errors);
	errors = (struct conf_errors){ 0 };
	config = rig_config(false);
	config->realms[1].addresses[0] = config->realms[0].addresses[0];
	config->realms[1].media_port_min = RIG_PORT_MAX;
	CU_ASSERT_EQUAL(refused_engine(config, &errors, "of realm access"), ERR_CONFIG);
	conf_errors_free(&errors);
	errors = (struct conf_errors){ 0 };
	config = rig_config(false);
	CU_ASSERT_EQUAL(addr_parse_ip(SPAN_LIT("192.0.2.1"), &config->realms[1].addresses[0]), 0);
	CU_ASSERT_EQUAL(refused_engine(config, &errors, "192.0.2.1"), ERR_CONFIG);
	conf_errors_free(&errors);
	CU_ASSERT_EQUAL(rig_open_files(), files);
}

static const struct unit_test tests[] = {
	{ "streams open and close", test_streams },
	{ "unknown realms", test_realms_that_are_not },
	{ "a pool runs empty and recovers", test_pool_runs_empty },
	{ "1000 sessions leave no descriptor and no port", test_thousand_sessions_leave_nothing },
	{ "the engine ends while streams close", test_engine_ends_with_streams_closing },
	{ "streams close while traffic flows", test_close_while_traffic_flows },
	{ "reused sockets carry nothing over", test_recycled_sockets_are_clean },
	{ "addresses that media must not be sent to", test_refused_remotes },
	{ "time-out", test_timeout },
	{ "hold and direction suspend the time-out", test_hold_and_direction },
	{ "sessions may be closed by the time-out", test_close_inside_timeout },
	{ "configurations that cannot work", test_bad_configurations },
};

UNIT_MAIN("media", tests)
