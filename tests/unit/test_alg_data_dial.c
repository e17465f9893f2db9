/* Relayed data that connects to both of its ends, over loopback and with a clock set by hand: in which order, and what becomes of it when
 * one of them does not take the connection. */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "algs/data.h"
#include "algs/tcp_leg.h"
#include "core/err.h"
#include "tests/mock/fake_loop.h"
#include "tests/unit/unit.h"

enum { TURNS_MAX = 20000, QUIET_TURNS = 30, CONNECT_MS = 10000, HOUR_MS = 3600000, FILLERS = 4 };

static struct rig {
	struct loop *loop;
	struct data *data;
	int listeners[DATA_SIDES], peers[DATA_SIDES]; /* of the hosts; -1: none */
	int fillers[DATA_SIDES][FILLERS];
	unsigned events[DATA_ENDED + 1];
} rig;

enum host { LISTENING, REFUSING, SILENT };

static void on_event(void *arg, enum data_event event)
{
	CU_ASSERT_PTR_EQUAL(arg, &rig);
	rig.events[event]++;
}

static struct addr loopback(uint8_t last)
{
	return (struct addr){ .family = AF_INET, .ip = { 127, 0, 0, last } };
}

/* Connections that the host does not accept, until no more can wait for it. */
static void fill_up(enum data_side side)
{
	struct addr at = tcp_leg_local(rig.listeners[side]), from = loopback(9);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&at, &sa);

	for (int i = 0; i < FILLERS; i++) {
		CU_ASSERT_EQUAL_FATAL(tcp_leg_socket(&from, &rig.fillers[side][i]), 0);
		(void)connect(rig.fillers[side][i], (struct sockaddr *)&sa, len);
	}
}

/* The host's end: its address is its own; with port. */
static struct addr host(enum data_side side, enum host kind)
{
	struct addr at = loopback(side == DATA_TARGET ? 4 : 2);

	CU_ASSERT_EQUAL_FATAL(tcp_leg_socket(&at, &rig.listeners[side]), 0);
	if (kind != REFUSING)
		CU_ASSERT_EQUAL(listen(rig.listeners[side], kind == SILENT ? 0 : 8), 0);
	if (kind == SILENT)
		fill_up(side);
	return tcp_leg_local(rig.listeners[side]);
}

static void set_up(enum host dialler, enum host target)
{
	struct data_conf conf = { .is_dialled = true, .from = loopback(3), .dialler_from = loopback(1) };

	rig = (struct rig){ .listeners = { -1, -1 }, .peers = { -1, -1 } };
	for (int i = 0; i < DATA_SIDES * FILLERS; i++)
		rig.fillers[i / FILLERS][i % FILLERS] = -1;
	CU_ASSERT_EQUAL_FATAL(loop_new(&rig.loop), 0);
	conf.loop = rig.loop;
	conf.allowed = host(DATA_DIALLER, dialler);
	conf.target = host(DATA_TARGET, target);
	CU_ASSERT_EQUAL_FATAL(data_new(&conf, -1, on_event, &rig, &rig.data), 0);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void tear_down(void)
{
	data_free(rig.data);
	CU_ASSERT_EQUAL(fake_loop_open_handles(rig.loop), 0);
	for (int side = 0; side < DATA_SIDES; side++) {
		close_fd(&rig.listeners[side]);
		close_fd(&rig.peers[side]);
		for (int i = 0; i < FILLERS; i++)
			close_fd(&rig.fillers[side][i]);
	}
	loop_free(rig.loop);
}

static void run_quiet(void)
{
	for (int i = 0; i < QUIET_TURNS; i++)
		(void)fake_loop_fire_ready(rig.loop);
}

static void dial(enum data_side side)
{
	CU_ASSERT_EQUAL(data_dial(rig.data, side), 0);
	for (int i = 0; i < TURNS_MAX && rig.peers[side] < 0; i++) {
		(void)fake_loop_fire_ready(rig.loop);
		rig.peers[side] = accept4(rig.listeners[side], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	}
	CU_ASSERT_TRUE_FATAL(rig.peers[side] >= 0);
	run_quiet();
}

static struct data_stats stats_of(void)
{
	struct data_stats stats;

	data_stats(rig.data, &stats);
	return stats;
}

static void say(enum data_side side, const char *text)
{
	CU_ASSERT_EQUAL(send(rig.peers[side], text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* What the host gets until its end: "text", "text!" with a reset, or "text..." without an end. */
static void expect(enum data_side side, const char *wanted)
{
	char got[64] = "";
	size_t len = 0;
	ssize_t n = -1;

	for (int i = 0; i < TURNS_MAX && (n > 0 || (n < 0 && (errno == EAGAIN || i == 0))); i++) {
		(void)fake_loop_fire_ready(rig.loop);
		n = recv(rig.peers[side], got + len, sizeof(got) - 4 - len, MSG_DONTWAIT);
		len += n > 0 ? (size_t)n : 0;
		if (n < 0 && errno == EAGAIN && i > QUIET_TURNS)
			break;
	}
	if (n < 0)
		snprintf(got + len, sizeof(got) - len, "%s", errno == EAGAIN ? "..." : "!");
	CU_ASSERT_STRING_EQUAL(got, wanted);
}

static void let_end(void)
{
	for (int i = 0; i < TURNS_MAX && rig.events[DATA_ENDED] == 0; i++) {
		(void)fake_loop_fire_ready(rig.loop);
		fake_loop_advance(rig.loop, 1);
	}
	CU_ASSERT_EQUAL(rig.events[DATA_ENDED], 1);
}

/* ---- tests ------------------------------------------------------------------------------------------------------------------------ */

/* Either first, and the other whenever it is wanted; what comes early waits. */
static void check_order(enum data_side first)
{
	set_up(LISTENING, LISTENING);
	dial(first);
	say(first, "early");
	shutdown(rig.peers[first], SHUT_WR);
	fake_loop_advance(rig.loop, HOUR_MS);
	run_quiet();
	CU_ASSERT_EQUAL(rig.events[DATA_OPENED], 0);
	CU_ASSERT_TRUE(data_is_busy(rig.data));
	dial(!first);
	CU_ASSERT_EQUAL(rig.events[DATA_OPENED], 1);
	say(!first, "back");
	expect(!first, "early");
	expect(first, "back...");
	shutdown(rig.peers[!first], SHUT_WR);
	let_end();
	CU_ASSERT_EQUAL(stats_of().octets[first], 5);
	CU_ASSERT_EQUAL(stats_of().octets[!first], 4);
	CU_ASSERT_FALSE(stats_of().is_broken);
	tear_down();
}

static void test_order(void)
{
	check_order(DATA_DIALLER);
	check_order(DATA_TARGET);
}

static void test_addresses(void)
{
	struct data_stats stats;
	struct addr at;

	set_up(LISTENING, LISTENING);
	CU_ASSERT_FALSE(data_is_busy(rig.data));
	dial(DATA_DIALLER);
	dial(DATA_TARGET);
	at = tcp_leg_remote(rig.peers[DATA_DIALLER]);
	CU_ASSERT_EQUAL(at.ip[3], 1);
	at = tcp_leg_remote(rig.peers[DATA_TARGET]);
	CU_ASSERT_EQUAL(at.ip[3], 3);
	at = tcp_leg_local(rig.listeners[DATA_DIALLER]);
	stats = stats_of();
	CU_ASSERT_TRUE(addr_eq(&stats.dialler, &at));
	CU_ASSERT_EQUAL(data_dial(rig.data, DATA_DIALLER), ERR_STATE); /* once */
	CU_ASSERT_EQUAL(data_dial(rig.data, DATA_TARGET), ERR_STATE);
	tear_down();
}

/* Nobody is left who could wait for anything: the end that was there already is reset, and told of once. */
static void check_unreachable(enum data_side bad, bool is_silent, bool is_other_there)
{
	enum host kinds[DATA_SIDES] = { LISTENING, LISTENING };

	kinds[bad] = is_silent ? SILENT : REFUSING;
	set_up(kinds[DATA_DIALLER], kinds[DATA_TARGET]);
	if (is_other_there)
		dial(!bad);
	CU_ASSERT_EQUAL(data_dial(rig.data, bad), 0);
	run_quiet();
	if (is_silent) {
		fake_loop_advance(rig.loop, CONNECT_MS - 1);
		CU_ASSERT_EQUAL(rig.events[DATA_ENDED], 0);
		fake_loop_advance(rig.loop, 1);
	}
	CU_ASSERT_EQUAL(rig.events[DATA_ENDED], 1);
	CU_ASSERT_EQUAL(rig.events[DATA_OPENED], 0);
	CU_ASSERT_TRUE(stats_of().is_broken && stats_of().is_unreachable);
	CU_ASSERT_EQUAL(stats_of().at, (int)bad);
	CU_ASSERT_FALSE(data_is_busy(rig.data));
	if (is_other_there)
		expect(!bad, "!");
	CU_ASSERT_EQUAL(data_dial(rig.data, !bad), ERR_STATE);
	tear_down();
}

static void test_unreachable(void)
{
	for (int i = 0; i < 8; i++)
		check_unreachable(i & 1 ? DATA_TARGET : DATA_DIALLER, (i & 2) != 0, (i & 4) != 0);
}

/* Both at once: the time of the second is not the first's. */
static void test_both_silent(void)
{
	set_up(SILENT, SILENT);
	CU_ASSERT_EQUAL(data_dial(rig.data, DATA_DIALLER), 0);
	fake_loop_advance(rig.loop, CONNECT_MS / 2);
	CU_ASSERT_EQUAL(data_dial(rig.data, DATA_TARGET), 0);
	fake_loop_advance(rig.loop, CONNECT_MS);
	CU_ASSERT_EQUAL(rig.events[DATA_ENDED], 1);
	CU_ASSERT_TRUE(stats_of().is_unreachable);
	tear_down();
}

static void test_limits(void)
{
	const struct data_limits limits = { .max_bytes = 4, .has_sender = true, .sender = DATA_DIALLER };

	set_up(LISTENING, LISTENING);
	data_allow(rig.data, &limits);
	dial(DATA_DIALLER);
	say(DATA_DIALLER, "12345");
	dial(DATA_TARGET);
	CU_ASSERT_EQUAL(rig.events[DATA_LIMIT], 1);
	CU_ASSERT_EQUAL(stats_of().octets[DATA_DIALLER], 4);
	tear_down();
}

/* Whatever stage it is in when nobody wants it any more. */
static void test_given_up(void)
{
	set_up(LISTENING, LISTENING);
	tear_down();
	set_up(SILENT, LISTENING);
	CU_ASSERT_EQUAL(data_dial(rig.data, DATA_DIALLER), 0);
	tear_down();
	set_up(LISTENING, SILENT);
	dial(DATA_DIALLER);
	CU_ASSERT_EQUAL(data_dial(rig.data, DATA_TARGET), 0);
	data_free(rig.data);
	rig.data = NULL;
	expect(DATA_DIALLER, "!");
	CU_ASSERT_EQUAL(rig.events[DATA_ENDED], 0);
	tear_down();
	set_up(LISTENING, LISTENING);
	dial(DATA_TARGET);
	data_cut(rig.data);
	expect(DATA_TARGET, "!");
	tear_down();
}

static const struct unit_test tests[] = {
	{ "either end first, early octets wait", test_order },
	{ "addresses, each end once", test_addresses },
	{ "an end that refuses, or is silent", test_unreachable },
	{ "two ends that are silent", test_both_silent },
	{ "limits", test_limits },
	{ "given up in between", test_given_up },
};

int main(int argc, char **argv)
{
	return unit_main(argc, argv, "alg_data_dial", tests, sizeof(tests) / sizeof(tests[0]));
}
