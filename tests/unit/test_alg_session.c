/* Control channels: both ways, caps, idleness, ends and what becomes of data at each, what is shown. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "algs/listener.h"
#include "algs/tcp_leg.h"
#include "core/err.h"
#include "tests/unit/alg_rig.h"

static struct alg_rig rig;

static bool is_reset(int fd)
{
	char octet;

	return recv(fd, &octet, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET;
}

static bool is_ended(int fd)
{
	char octet;

	return recv(fd, &octet, 1, MSG_DONTWAIT) == 0;
}

/* ---- the channel -------------------------------------------------------------------------------------------------------------- */

static void test_both_ways(void)
{
	struct alg_pair pair;

	alg_rig_open(&rig, "", NULL);
	alg_rig_pair(&rig, &pair);
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "open");
	alg_rig_through(&rig, &pair, 's', "220 hello");
	alg_rig_through(&rig, &pair, 'c', "USER ann");
	alg_rig_say(&rig, &pair, 'c', "drop this");
	alg_rig_say(&rig, &pair, 'c', "not that");
	alg_rig_expect(&rig, &pair, 's', "not that|");
	CU_ASSERT_EQUAL(tcp_leg_remote(pair.server).ip[3], 3); /* from the gateway's address in that realm */
	shutdown(pair.client, SHUT_WR); /* half-closed */
	alg_rig_turn(&rig);
	CU_ASSERT_TRUE(is_ended(pair.server));
	alg_rig_through(&rig, &pair, 's', "221 bye");
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "open");
	shutdown(pair.server, SHUT_WR);
	alg_rig_turn(&rig);
	CU_ASSERT_TRUE(is_ended(pair.client));
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "ended");
	CU_ASSERT_STRING_EQUAL(alg_rig_cause(&rig), "closed");
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 0);
	alg_rig_unpair(&pair);
	alg_rig_close(&rig);
}

static void test_much_at_once(void)
{
	static char line[400];
	struct alg_pair pair;
	size_t sent = 0, got = 0;

	alg_rig_open(&rig, "", NULL);
	alg_rig_pair(&rig, &pair);
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	while (sent < 2000 * sizeof(line)) { /* the server does not read until nothing goes any more */
		ssize_t n = send(pair.client, line + sent % sizeof(line), sizeof(line) - sent % sizeof(line), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
			sent += (size_t)n;
		alg_rig_turn(&rig);
		if (n <= 0)
			break;
	}
	for (int quiet = 0; quiet < 3;) {
		char bytes[65536];
		ssize_t n = recv(pair.server, bytes, sizeof(bytes), MSG_DONTWAIT);

		alg_rig_turn(&rig);
		got += n > 0 ? (size_t)n : 0;
		quiet = n > 0 ? 0 : quiet + 1;
	}
	CU_ASSERT_EQUAL(got, sent - sent % sizeof(line));
	alg_rig_unpair(&pair);
	alg_rig_close(&rig);
}

static void test_server_is_gone(void)
{
	int client;

	alg_rig_open(&rig, "", NULL);
	close(rig.listener);
	rig.listener = alg_rig_socket(9, 0, true);
	client = alg_rig_dial(&rig, 5);
	alg_rig_turn(&rig);
	CU_ASSERT_TRUE(is_reset(client));
	CU_ASSERT_STRING_EQUAL(alg_rig_cause(&rig), "the server cannot be reached");
	close(client);
	alg_rig_close(&rig);
}

static void test_caps(void)
{
	struct alg_pair pairs[3];
	int extra;

	alg_rig_open(&rig, "max_sessions: 3, max_sessions_per_client: 2", NULL);
	alg_rig_pair(&rig, &pairs[0]);
	alg_rig_pair(&rig, &pairs[1]);
	extra = alg_rig_dial(&rig, 5); /* a third of that client */
	alg_rig_turn(&rig);
	CU_ASSERT_TRUE(is_reset(extra));
	close(extra);
	pairs[2] = (struct alg_pair){ .client = alg_rig_dial(&rig, 6), .server = -1 }; /* another's */
	alg_rig_turn(&rig);
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 3);
	extra = alg_rig_dial(&rig, 7); /* a fourth of all */
	alg_rig_turn(&rig);
	CU_ASSERT_TRUE(is_reset(extra));
	close(extra);
	alg_rig_unpair(&pairs[0]);
	alg_rig_turn(&rig);
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 2);
	alg_rig_pair(&rig, &pairs[0]); /* there is room again */
	alg_rig_unpair(&pairs[0]);
	alg_rig_unpair(&pairs[1]);
	alg_rig_unpair(&pairs[2]);
	alg_rig_turn(&rig);
	alg_rig_close(&rig);
}

static unsigned n_that_begin(unsigned host, unsigned n)
{
	unsigned n_begun = 0;

	for (unsigned i = 0; i < n; i++) {
		uint64_t before = rig.host->stats.sessions_total;
		int client = alg_rig_dial(&rig, host);

		alg_rig_turn(&rig);
		if (rig.host->stats.sessions_total > before)
			n_begun++;
		else
			CU_ASSERT_TRUE(is_reset(client));
		close(client); /* counts of sessions are no hindrance */
		alg_rig_turn(&rig);
	}
	return n_begun;
}

/* A second's worth at once, then as many as the clock brings; what one client is refused is left for others. */
static void test_rates(void)
{
	alg_rig_open(&rig, "sessions_per_s: 3, sessions_per_s_per_client: 2", NULL);
	CU_ASSERT_EQUAL(n_that_begin(5, 4), 2);
	CU_ASSERT_EQUAL(LIST_ENTRY(rig.host->listeners.next, struct listener, node)->refused_total, 2);
	CU_ASSERT_EQUAL(n_that_begin(6, 4), 1); /* all together */
	alg_rig_pass(&rig, 10000);
	CU_ASSERT_EQUAL(n_that_begin(5, 2), 2); /* just at the limit */
	alg_rig_pass(&rig, 10000);
	alg_rig_close(&rig);
	alg_rig_open(&rig, "", NULL);
	CU_ASSERT_EQUAL(n_that_begin(5, 40), 40); /* no limit unless configured */
	alg_rig_close(&rig);
}

static void test_reset(void)
{
	struct alg_pair pair;

	alg_rig_open(&rig, "", NULL);
	alg_rig_pair(&rig, &pair);
	alg_rig_say(&rig, &pair, 'c', "reset");
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "ended");
	CU_ASSERT_TRUE(is_ended(pair.client));
	CU_ASSERT_TRUE(is_ended(pair.server));
	alg_rig_unpair(&pair);
	alg_rig_pair(&rig, &pair);
	tcp_leg_reset_on_close(pair.client); /* the client breaks off: so does the gateway */
	close(pair.client);
	pair.client = -1;
	alg_rig_turn(&rig);
	CU_ASSERT_TRUE(is_reset(pair.server));
	CU_ASSERT_STRING_EQUAL(alg_rig_cause(&rig), "connection to the client lost");
	alg_rig_unpair(&pair);
	alg_rig_close(&rig);
}

static void test_bypass(void)
{
	struct alg_pair pair;

	alg_rig_open(&rig, "", NULL);
	alg_rig_pair(&rig, &pair);
	alg_rig_through(&rig, &pair, 'c', "bypass");
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "bypassed");
	alg_rig_through(&rig, &pair, 'c', "drop me not");
	alg_rig_through(&rig, &pair, 's', "nor me: drop");
	alg_rig_unpair(&pair);
	alg_rig_turn(&rig);
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "ended");
	alg_rig_close(&rig);
}

static void test_timer(void)
{
	struct alg_pair pair;

	alg_rig_open(&rig, "", NULL);
	alg_rig_pair(&rig, &pair);
	alg_rig_through(&rig, &pair, 'c', "timer 5000");
	alg_rig_pass(&rig, 4000);
	alg_rig_expect(&rig, &pair, 'c', "");
	alg_rig_pass(&rig, 1000);
	alg_rig_expect(&rig, &pair, 'c', "timer 3|");
	alg_rig_through(&rig, &pair, 'c', "timer 5000");
	alg_rig_through(&rig, &pair, 'c', "timer 0"); /* stopped */
	alg_rig_pass(&rig, 9000);
	alg_rig_expect(&rig, &pair, 'c', "");
	alg_rig_unpair(&pair);
	alg_rig_close(&rig);
}

/* ---- idleness ----------------------------------------------------------------------------------------------------------------- */

/* A data connection through hole 1, with both ends. */
struct data_pair {
	int listener, client, server;
};

static int connect_to(unsigned from, unsigned host, uint16_t port)
{
	struct addr to = { .family = AF_INET, .ip = { 127, 0, 0, (uint8_t)host }, .port = port };
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&to, &sa);
	int fd = alg_rig_socket(from, 0, false);

	(void)connect(fd, (struct sockaddr *)&sa, len);
	return fd;
}

/* The hole's port, from what the module said. */
static uint16_t public_port(struct alg_pair *pair, unsigned hole)
{
	char line[512];
	unsigned port = 0;

	recv(pair->client, line, sizeof(line), MSG_DONTWAIT);
	snprintf(line, sizeof(line), "public %u c", hole);
	alg_rig_say(&rig, pair, 'c', line);
	alg_rig_turn(&rig);
	memset(line, 0, sizeof(line));
	recv(pair->client, line, sizeof(line) - 1, MSG_DONTWAIT);
	if (strncmp(line, "public 127.0.0.1:", 17) == 0)
		port = (unsigned)strtoul(line + 17, NULL, 10);
	CU_ASSERT(port >= 22000 && port <= 22999);
	recv(pair->server, line, sizeof(line) - 1, MSG_DONTWAIT);
	return (uint16_t)port;
}

static void open_data(struct alg_pair *pair, struct data_pair *ret)
{
	char line[40];
	uint16_t port;

	ret->listener = alg_rig_socket(2, 0, true);
	snprintf(line, sizeof(line), "hole s %u", tcp_leg_local(ret->listener).port);
	alg_rig_say(&rig, pair, 's', line);
	alg_rig_turn(&rig);
	port = public_port(pair, 1);
	alg_rig_say(&rig, pair, 's', "arm 1");
	ret->client = connect_to(5, 1, port);
	alg_rig_turn(&rig);
	ret->server = accept4(ret->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	CU_ASSERT_FATAL(ret->server >= 0);
	alg_rig_turn(&rig);
	{
		char all[512];

		recv(pair->client, all, sizeof(all), MSG_DONTWAIT);
		recv(pair->server, all, sizeof(all), MSG_DONTWAIT);
	}
}

static void close_data(struct data_pair *data)
{
	close(data->listener);
	if (data->client >= 0)
		close(data->client);
	if (data->server >= 0)
		close(data->server);
	data->client = data->server = -1;
}

static void move(const struct data_pair *data)
{
	char octet = 0;

	CU_ASSERT_EQUAL(send(data->server, "d", 1, MSG_NOSIGNAL), 1);
	alg_rig_turn(&rig);
	CU_ASSERT_EQUAL(recv(data->client, &octet, 1, MSG_DONTWAIT), 1);
	CU_ASSERT_EQUAL(octet, 'd');
}

static void test_idle(void)
{
	struct alg_pair pair;
	struct data_pair data;

	alg_rig_open(&rig, "idle: 60s", NULL);
	alg_rig_pair(&rig, &pair);
	alg_rig_pass(&rig, 58000);
	alg_rig_through(&rig, &pair, 'c', "NOOP");
	alg_rig_pass(&rig, 58000);
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "open");
	alg_rig_pass(&rig, 4000);
	CU_ASSERT_STRING_EQUAL(alg_rig_cause(&rig), "idle");
	CU_ASSERT_TRUE(is_ended(pair.client));
	alg_rig_unpair(&pair);

	alg_rig_pair(&rig, &pair); /* data counts */
	open_data(&pair, &data);
	for (int i = 0; i < 5; i++) {
		alg_rig_pass(&rig, 40000);
		move(&data);
	}
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "open");
	alg_rig_through(&rig, &pair, 'c', "NOOP");
	alg_rig_pass(&rig, 70000);
	CU_ASSERT_STRING_EQUAL(alg_rig_cause(&rig), "idle");
	close_data(&data);
	alg_rig_unpair(&pair);
	alg_rig_close(&rig);
}

static void test_half_closed(void)
{
	struct alg_pair pair;

	alg_rig_open(&rig, "", NULL);
	alg_rig_pair(&rig, &pair);
	shutdown(pair.server, SHUT_WR); /* and the client does not care */
	alg_rig_pass(&rig, 20000);
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "open");
	alg_rig_pass(&rig, 15000);
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "ended");
	alg_rig_unpair(&pair);
	alg_rig_close(&rig);
}

/* ---- ends, with data on its way ------------------------------------------------------------------------------------------------ */

static void test_orderly_end(void)
{
	struct alg_pair pair;
	struct data_pair data;

	alg_rig_open(&rig, "", NULL);
	alg_rig_pair(&rig, &pair);
	open_data(&pair, &data);
	alg_rig_say(&rig, &pair, 's', "ending");
	alg_rig_unpair(&pair);
	for (int i = 0; i < 4; i++) { /* as long as it moves */
		alg_rig_pass(&rig, 50000);
		CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "draining");
		move(&data);
	}
	close(data.server);
	close(data.client);
	data.client = data.server = -1;
	alg_rig_pass(&rig, 1000);
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "ended");
	CU_ASSERT_STRING_EQUAL(alg_rig_cause(&rig), "normal");
	close_data(&data);

	alg_rig_pair(&rig, &pair); /* and no longer */
	open_data(&pair, &data);
	alg_rig_say(&rig, &pair, 's', "ending");
	alg_rig_unpair(&pair);
	alg_rig_pass(&rig, 62000);
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "ended");
	CU_ASSERT_TRUE(is_ended(data.client) || is_reset(data.client));
	close_data(&data);
	alg_rig_close(&rig);
}

static void test_abnormal_end(void)
{
	struct alg_pair pair;
	struct data_pair data;

	alg_rig_open(&rig, "", NULL);
	alg_rig_pair(&rig, &pair);
	open_data(&pair, &data);
	tcp_leg_reset_on_close(pair.client);
	close(pair.client);
	pair.client = -1;
	alg_rig_pass(&rig, 20000);
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "draining");
	move(&data);
	alg_rig_pass(&rig, 12000); /* 30 s, whether it moves or not */
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "ended");
	close_data(&data);
	alg_rig_unpair(&pair);
	alg_rig_close(&rig);
}

/* What nobody has used is closed soon, and nothing new begins. */
static void test_unused_hole_at_end(void)
{
	struct alg_pair pair;
	int listener = alg_rig_socket(2, 0, true), client;
	char line[40];
	uint16_t port;

	alg_rig_open(&rig, "", NULL);
	alg_rig_pair(&rig, &pair);
	snprintf(line, sizeof(line), "hole s %u", tcp_leg_local(listener).port);
	alg_rig_say(&rig, &pair, 's', line);
	alg_rig_say(&rig, &pair, 's', "arm 1");
	alg_rig_turn(&rig);
	{
		char all[512];

		recv(pair.client, all, sizeof(all), MSG_DONTWAIT);
	}
	port = public_port(&pair, 1);
	alg_rig_say(&rig, &pair, 's', "ending");
	alg_rig_say(&rig, &pair, 's', "hole s 5000");
	recv(pair.client, line, sizeof(line), MSG_DONTWAIT);
	alg_rig_unpair(&pair);
	alg_rig_pass(&rig, 5000);
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "ended");
	client = connect_to(5, 1, port);
	alg_rig_turn(&rig);
	CU_ASSERT_EQUAL(accept4(listener, NULL, NULL, SOCK_NONBLOCK), -1);
	close(client);
	close(listener);
	alg_rig_close(&rig);
}

static void on_drained(void *arg)
{
	*(bool *)arg = true;
}

static void test_drain(void)
{
	struct alg_pair busy, quiet;
	struct data_pair data;
	int late;

	alg_rig_open(&rig, "", NULL);
	alg_rig_pair(&rig, &busy);
	open_data(&busy, &data);
	alg_rig_pair(&rig, &quiet);
	alg_host_drain(rig.host, on_drained, &rig.is_drained);
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 1); /* without data there is nothing to finish */
	CU_ASSERT_TRUE(is_ended(quiet.client));
	late = alg_rig_dial(&rig, 5);
	alg_rig_turn(&rig);
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 1);
	move(&data);
	CU_ASSERT_FALSE(rig.is_drained);
	alg_rig_unpair(&busy);
	close(data.server);
	close(data.client);
	data.server = data.client = -1;
	alg_rig_pass(&rig, 1000);
	CU_ASSERT_TRUE(rig.is_drained);
	close(late);
	close_data(&data);
	alg_rig_unpair(&quiet);
	alg_rig_close(&rig);
}

static void test_freed_with_data(void)
{
	struct alg_pair pair;
	struct data_pair data;

	alg_rig_open(&rig, "", NULL);
	alg_rig_pair(&rig, &pair);
	open_data(&pair, &data);
	move(&data);
	alg_rig_close(&rig); /* ends what is left, without leaks */
	CU_ASSERT_TRUE(is_ended(pair.client));
	close_data(&data);
	alg_rig_unpair(&pair);
}

/* ---- what is shown ------------------------------------------------------------------------------------------------------------- */

static void test_views(void)
{
	struct arena *arena = arena_new(1 << 20);
	struct alg_session_summary *list;
	struct alg_session_view view;
	struct alg_listener_view *listeners;
	struct alg_pair pairs[3];
	char first[64];
	bool has_more;

	alg_rig_open(&rig, "", NULL);
	for (int i = 0; i < 3; i++)
		alg_rig_pair(&rig, &pairs[i]);
	alg_rig_say(&rig, &pairs[2], 'c', "note PASS");
	alg_rig_say(&rig, &pairs[2], 'c', "drop s3cret");
	alg_rig_say(&rig, &pairs[2], 'c', "data up /x");
	CU_ASSERT_EQUAL(alg_sessions(rig.host, &(struct alg_session_filter){ .limit = 2 }, arena, &list, &has_more), 2);
	CU_ASSERT_TRUE(has_more);
	CU_ASSERT_STRING_EQUAL(list[0].user, "ann"); /* the newest first */
	CU_ASSERT_STRING_EQUAL(list[0].mode, "explicit");
	CU_ASSERT_STRING_EQUAL(list[0].from_realm, "a");
	snprintf(first, sizeof(first), "%s", list[0].id);
	CU_ASSERT_EQUAL(alg_sessions(rig.host, &(struct alg_session_filter){ .limit = 2, .after = span_of(list[1].id) }, arena, &list, &has_more), 1);
	CU_ASSERT_FALSE(has_more);
	CU_ASSERT_EQUAL(alg_sessions(rig.host, &(struct alg_session_filter){ .limit = 9, .user = SPAN_LIT("ann") }, arena, &list, &has_more), 1);
	CU_ASSERT_EQUAL(alg_sessions(rig.host, &(struct alg_session_filter){ .limit = 9, .realm = SPAN_LIT("b") }, arena, &list, &has_more), 3);
	CU_ASSERT_EQUAL(alg_sessions(rig.host, &(struct alg_session_filter){ .limit = 9, .alg = SPAN_LIT("x") }, arena, &list, &has_more), 0);
	CU_ASSERT_EQUAL_FATAL(alg_session(rig.host, span_of(first), arena, &view), 0);
	CU_ASSERT_EQUAL(view.n_steps, 2);
	CU_ASSERT_STRING_EQUAL(view.steps[0].rule, "r1");
	CU_ASSERT_STRING_EQUAL(view.steps[1].text, "PUT /x allowed");
	CU_ASSERT_EQUAL(view.n_changes, 1);
	CU_ASSERT_STRING_EQUAL(view.changes[0].verdict, "dropped");
	CU_ASSERT_STRING_EQUAL(view.changes[0].before, "drop s3cret\\n");
	CU_ASSERT_EQUAL(view.messages[0], 3);
	CU_ASSERT_EQUAL(view.dropped[0], 1);
	CU_ASSERT_EQUAL(alg_session(rig.host, SPAN_LIT("nobody"), arena, &view), ERR_NOT_FOUND);
	CU_ASSERT_EQUAL(alg_session_end(rig.host, span_of(first)), 0);
	CU_ASSERT_EQUAL(alg_session_end(rig.host, span_of(first)), ERR_NOT_FOUND);
	CU_ASSERT_TRUE(is_reset(pairs[2].client));
	CU_ASSERT_EQUAL_FATAL(alg_session(rig.host, span_of(first), arena, &view), 0); /* still to be seen */
	CU_ASSERT_STRING_EQUAL(view.summary.state, "ended");
	CU_ASSERT_STRING_EQUAL(view.summary.cause, "ended by an operator");
	CU_ASSERT_EQUAL(view.n_steps, 2);
	CU_ASSERT_EQUAL(alg_listeners(rig.host, arena, &listeners), 1);
	CU_ASSERT_TRUE(listeners[0].is_open);
	CU_ASSERT_EQUAL(listeners[0].n_sessions, 2);
	CU_ASSERT_EQUAL(listeners[0].sessions_total, 3);
	for (int i = 0; i < 3; i++)
		alg_rig_unpair(&pairs[i]);
	alg_rig_close(&rig);
	arena_free(arena);
}

static void test_history(void)
{
	struct arena *arena = arena_new(16 << 20);
	const struct alg_session_filter filter = { .state = SPAN_LIT("ended"), .limit = 1000 };
	struct alg_session_summary *list;
	bool has_more;

	alg_rig_open(&rig, "", NULL);
	for (int i = 0; i < ENGINE_HISTORY_MAX + 3; i++) {
		struct alg_pair pair;

		alg_rig_pair(&rig, &pair);
		tcp_leg_reset_on_close(pair.client);
		alg_rig_unpair(&pair);
		alg_rig_turn(&rig);
	}
	CU_ASSERT_EQUAL(alg_sessions(rig.host, &filter, arena, &list, &has_more), ENGINE_HISTORY_MAX);
	alg_rig_close(&rig);
	arena_free(arena);
}

static const struct unit_test tests[] = {
	{ "a channel, both ways, half-closed", test_both_ways },
	{ "much at once, and a server that does not read", test_much_at_once },
	{ "the server is gone", test_server_is_gone },
	{ "no more sessions than the limits", test_caps },
	{ "so many a second", test_rates },
	{ "resets", test_reset },
	{ "bypassed", test_bypass },
	{ "the module's timer", test_timer },
	{ "idle, but not while data moves", test_idle },
	{ "one side has ended, the other is silent", test_half_closed },
	{ "an orderly end leaves data that moves", test_orderly_end },
	{ "an abnormal end leaves data a grace", test_abnormal_end },
	{ "unused pinholes at the end", test_unused_hole_at_end },
	{ "drained", test_drain },
	{ "freed with data on its way", test_freed_with_data },
	{ "what the API sees", test_views },
	{ "ended sessions are kept, not too many", test_history },
};
UNIT_MAIN("alg_session", tests)
