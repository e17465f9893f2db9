/* Relayed data over loopback: who may connect, both ways, the end of data, limits, the first octets, what breaks off. */
#include "algs/data.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "algs/tcp_leg.h"
#include "core/err.h"
#include "core/loop.h"
#include "pinhole/pinhole.h"
#include "tests/unit/unit.h"

enum { PATIENCE_MS = 20000 };

/* The helper, as far as data.c knows it. */
static struct {
	unsigned asked;
	bool is_granted;
	struct pinhole_socket wanted;
} helper;

int pinhole_socket_open(struct pinholes *pinholes, const struct pinhole_socket *wanted, pinhole_socket_fn *fn, void *arg,
			struct pinhole_socket_request **ret)
{
	int fd = -1;

	(void)pinholes;
	helper.asked++;
	helper.wanted = *wanted;
	if (!helper.is_granted)
		return ERR_UNSUPPORTED;
	*ret = NULL;
	CU_ASSERT_EQUAL(tcp_leg_socket(&wanted->addr, &fd), 0);
	fn(arg, fd);
	return 0;
}

void pinhole_socket_cancel(struct pinhole_socket_request *request)
{
	(void)request;
}

/* ---- a relay between a dialler and a target ---------------------------------------------------------------------------------- */

static struct rig {
	struct loop *loop;
	struct data *data;
	struct addr at;             /* where the dialler goes */
	int listener, dialler, target;
	unsigned events[DATA_ENDED + 1];
	struct loop_timer step, limit;
	bool (*is_done)(void);
	bool is_late;
} rig;

static struct addr loopback(uint8_t last)
{
	return (struct addr){ .family = AF_INET, .ip = { 127, 0, 0, last } };
}

static void on_event(void *arg, enum data_event event)
{
	CU_ASSERT_PTR_EQUAL(arg, &rig);
	rig.events[event]++;
}

static void on_step(struct loop_timer *timer, void *arg)
{
	(void)arg;
	if (rig.is_done())
		loop_stop(rig.loop);
	else
		loop_timer_start(timer, 1);
}

static void on_limit(struct loop_timer *timer, void *arg)
{
	(void)timer;
	(void)arg;
	rig.is_late = true;
	loop_stop(rig.loop);
}

static void run_until(bool (*is_done)(void))
{
	rig.is_done = is_done;
	loop_timer_start(&rig.step, 1);
	loop_timer_start(&rig.limit, PATIENCE_MS);
	loop_run(rig.loop);
	loop_timer_stop(&rig.step);
	loop_timer_stop(&rig.limit);
	CU_ASSERT_FALSE_FATAL(rig.is_late);
}

static int listening_socket(const struct addr *at)
{
	int fd = -1;

	CU_ASSERT_EQUAL_FATAL(tcp_leg_socket(at, &fd), 0);
	return fd;
}

static void set_up(const struct data_conf *extra)
{
	struct data_conf conf = *extra;
	struct addr own = loopback(1);
	int fd;

	rig = (struct rig){ .dialler = -1, .target = -1 };
	memset(&helper, 0, sizeof(helper));
	CU_ASSERT_EQUAL_FATAL(loop_new(&rig.loop), 0);
	loop_timer_init(&rig.step, rig.loop, on_step, NULL);
	loop_timer_init(&rig.limit, rig.loop, on_limit, NULL);
	rig.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	CU_ASSERT_EQUAL(listen(rig.listener, 8), 0); /* any port, all addresses */
	conf.loop = rig.loop;
	conf.allowed = loopback(2);
	conf.from = loopback(3);
	conf.target = loopback(1);
	conf.target.port = tcp_leg_local(rig.listener).port;
	fd = listening_socket(&own);
	CU_ASSERT_EQUAL_FATAL(data_new(&conf, fd, on_event, &rig, &rig.data), 0);
	CU_ASSERT_EQUAL_FATAL(data_listen(rig.data), 0);
	rig.at = tcp_leg_local(fd);
}

static void tear_down(void)
{
	data_free(rig.data);
	close(rig.listener);
	if (rig.dialler >= 0)
		close(rig.dialler);
	if (rig.target >= 0)
		close(rig.target);
	loop_free(rig.loop);
}

static int dial(uint8_t from_last)
{
	struct addr from = loopback(from_last);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&rig.at, &sa);
	int fd = listening_socket(&from);

	(void)connect(fd, (struct sockaddr *)&sa, len);
	return fd;
}

static bool has_target(void)
{
	if (rig.target < 0)
		rig.target = accept4(rig.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	return rig.target >= 0;
}

static void connect_both(void)
{
	rig.dialler = dial(2);
	run_until(has_target);
	CU_ASSERT_EQUAL(rig.events[DATA_OPENED], 1);
}

static bool has_ended(void)
{
	return rig.events[DATA_ENDED] + rig.events[DATA_LIMIT] > 0;
}

static struct data_stats stats_of(void)
{
	struct data_stats stats;

	data_stats(rig.data, &stats);
	return stats;
}

/* ---- octets ------------------------------------------------------------------------------------------------------------------ */

static struct pumping {
	int from, to;
	size_t left, got;
	bool is_end, is_wrong;
	unsigned seed_out, seed_in;
} pumping;

static unsigned char next(unsigned *seed)
{
	*seed = *seed * 1103515245u + 12345u;
	return (unsigned char)(*seed >> 16);
}

static void write_some(void)
{
	static unsigned char bytes[32768];
	size_t n = pumping.left < sizeof(bytes) ? pumping.left : sizeof(bytes);
	unsigned seed = pumping.seed_out;
	ssize_t sent;

	if (n == 0)
		return;
	for (size_t i = 0; i < n; i++)
		bytes[i] = next(&seed);
	sent = send(pumping.from, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	for (ssize_t i = 0; i < sent; i++)
		(void)next(&pumping.seed_out);
	pumping.left -= sent > 0 ? (size_t)sent : 0;
	if (pumping.left == 0)
		shutdown(pumping.from, SHUT_WR);
}

static void read_some(void)
{
	static unsigned char bytes[65536];
	ssize_t n = recv(pumping.to, bytes, sizeof(bytes), MSG_DONTWAIT);

	pumping.is_end |= n == 0;
	for (ssize_t i = 0; i < n; i++)
		pumping.is_wrong |= bytes[i] != next(&pumping.seed_in);
	pumping.got += n > 0 ? (size_t)n : 0;
}

static bool is_pumped(void)
{
	write_some();
	read_some();
	return pumping.is_end;
}

static void pump(int from, int to, size_t n)
{
	pumping = (struct pumping){ .from = from, .to = to, .left = n, .seed_out = 7, .seed_in = 7 };
	run_until(is_pumped);
	CU_ASSERT_EQUAL(pumping.got, n);
	CU_ASSERT_FALSE(pumping.is_wrong);
}

/* ---- tests ------------------------------------------------------------------------------------------------------------------- */

static void test_both_ways(void)
{
	struct data_stats stats;

	set_up(&(struct data_conf){ 0 });
	connect_both();
	CU_ASSERT_TRUE(data_is_busy(rig.data));
	CU_ASSERT_EQUAL(tcp_leg_remote(rig.target).ip[3], 3); /* from the gateway's address */
	pump(rig.target, rig.dialler, 3000000);
	CU_ASSERT_EQUAL(rig.events[DATA_ENDED], 0);
	pump(rig.dialler, rig.target, 1000001); /* after the other half was closed */
	run_until(has_ended);
	CU_ASSERT_FALSE(data_is_busy(rig.data));
	stats = stats_of();
	CU_ASSERT_EQUAL(stats.octets[DATA_TARGET], 3000000);
	CU_ASSERT_EQUAL(stats.octets[DATA_DIALLER], 1000001);
	CU_ASSERT_FALSE(stats.is_broken);
	CU_ASSERT_EQUAL(stats.dialler.ip[3], 2);
	tear_down();
}

static bool is_over_at_dialler(void)
{
	read_some();
	return pumping.is_end && has_ended();
}

/* A client that keeps its end open until it has seen "226" must not hold that up. */
static void test_end_of_one_way(void)
{
	struct data_limits limits = { .has_sender = true, .sender = DATA_TARGET };

	set_up(&(struct data_conf){ 0 });
	connect_both();
	data_allow(rig.data, &limits);
	pumping = (struct pumping){ .from = rig.target, .to = rig.dialler, .left = 1000, .seed_out = 7, .seed_in = 7 };
	write_some();
	run_until(is_over_at_dialler);
	CU_ASSERT_EQUAL(rig.events[DATA_ENDED], 1);
	CU_ASSERT_EQUAL(stats_of().octets[DATA_TARGET], 1000);
	tear_down();

	set_up(&(struct data_conf){ 0 }); /* nobody said who sends: the same, a moment later */
	connect_both();
	pump(rig.dialler, rig.target, 1000);
	run_until(has_ended);
	tear_down();
}

static bool never(void)
{
	static unsigned rounds;

	return ++rounds % 50 == 0;
}

/* What is passed on is not what was taken: the end waits for a receiver that does not read. */
static void test_end_waits_for_receiver(void)
{
	struct data_limits limits = { .has_sender = true, .sender = DATA_TARGET };
	const int small = 4096;

	set_up(&(struct data_conf){ 0 });
	rig.dialler = -1;
	{
		struct addr from = loopback(2);
		struct sockaddr_storage sa;
		socklen_t len = addr_to_sockaddr(&rig.at, &sa);

		rig.dialler = listening_socket(&from);
		CU_ASSERT_EQUAL(setsockopt(rig.dialler, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
		(void)connect(rig.dialler, (struct sockaddr *)&sa, len);
	}
	run_until(has_target);
	data_allow(rig.data, &limits);
	pumping = (struct pumping){ .from = rig.target, .to = rig.dialler, .left = 20000, .seed_out = 7, .seed_in = 7 };
	write_some();
	write_some();
	run_until(never);
	CU_ASSERT_EQUAL(stats_of().octets[DATA_TARGET], 20000);
	CU_ASSERT_EQUAL(rig.events[DATA_ENDED], 0);
	CU_ASSERT_TRUE(data_is_busy(rig.data));
	run_until(is_over_at_dialler);
	CU_ASSERT_EQUAL(pumping.got, 20000);
	CU_ASSERT_FALSE(pumping.is_wrong);
	tear_down();
}

static bool is_refused(void)
{
	char octet;

	return recv(rig.dialler, &octet, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET;
}

static void test_third_hosts(void)
{
	set_up(&(struct data_conf){ 0 });
	rig.dialler = dial(9);
	run_until(is_refused);
	CU_ASSERT_EQUAL(stats_of().foreign, 1);
	CU_ASSERT_EQUAL(rig.events[DATA_OPENED], 0);
	CU_ASSERT_FALSE(data_is_busy(rig.data));
	close(rig.dialler);
	connect_both(); /* and the one that may still can */
	{
		int second = dial(2); /* but once */
		char octet;

		CU_ASSERT(recv(second, &octet, 1, MSG_DONTWAIT) < 0);
		CU_ASSERT_EQUAL(send(second, "x", 1, MSG_NOSIGNAL), -1);
		close(second);
	}
	tear_down();
}

static bool is_cut(void)
{
	write_some();
	return has_ended();
}

static void test_limit(void)
{
	struct data_limits limits = { .max_bytes = 100000 };

	set_up(&(struct data_conf){ 0 });
	connect_both();
	data_allow(rig.data, &limits);
	pump(rig.dialler, rig.target, 100000); /* all that may */
	CU_ASSERT_EQUAL(rig.events[DATA_LIMIT], 0);
	tear_down();

	set_up(&(struct data_conf){ 0 });
	connect_both();
	data_allow(rig.data, &limits);
	pumping = (struct pumping){ .from = rig.dialler, .to = rig.target, .left = 100001, .seed_out = 7, .seed_in = 7 };
	run_until(is_cut);
	CU_ASSERT_EQUAL(rig.events[DATA_LIMIT], 1);
	CU_ASSERT_EQUAL(rig.events[DATA_ENDED], 0);
	CU_ASSERT_EQUAL(stats_of().octets[DATA_DIALLER], 100000);
	CU_ASSERT_TRUE(stats_of().is_broken);
	tear_down();
}

static bool is_target_reset(void)
{
	char bytes[65536];
	ssize_t n = recv(rig.target, bytes, sizeof(bytes), MSG_DONTWAIT);

	return n < 0 && errno == ECONNRESET;
}

static bool is_closed_to_dialler(void)
{
	char octet;

	return recv(rig.dialler, &octet, 1, MSG_DONTWAIT) == 0;
}

static bool is_gone_for_dialler(void)
{
	char octet;

	return recv(rig.dialler, &octet, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET;
}

static bool is_dialler_through(void)
{
	write_some();
	return pumping.left == 0 && is_closed_to_dialler();
}

/* Who sends too much gets rid of it, so that it comes to read why; the receiver is told at once. */
static void test_refused_sender(void)
{
	struct data_limits limits = { .max_bytes = 1000, .has_sender = true, .sender = DATA_DIALLER };
	struct list leavers;

	list_init(&leavers);
	set_up(&(struct data_conf){ .leavers = &leavers });
	connect_both();
	data_allow(rig.data, &limits);
	pumping = (struct pumping){ .from = rig.dialler, .to = rig.target, .left = 3000000, .seed_out = 7, .seed_in = 7 };
	run_until(is_cut);
	CU_ASSERT_EQUAL(rig.events[DATA_LIMIT], 1);
	run_until(is_target_reset);
	CU_ASSERT_FALSE(data_is_busy(rig.data));
	data_free(rig.data); /* goes on by itself */
	rig.data = NULL;
	CU_ASSERT_FALSE(list_is_empty(&leavers));
	run_until(is_dialler_through);
	CU_ASSERT_TRUE(list_is_empty(&leavers));
	CU_ASSERT_EQUAL(rig.events[DATA_ENDED], 0);
	tear_down();

	set_up(&(struct data_conf){ .leavers = &leavers }); /* the process ends meanwhile */
	connect_both();
	data_allow(rig.data, &limits);
	pumping = (struct pumping){ .from = rig.dialler, .to = rig.target, .left = 2000, .seed_out = 7, .seed_in = 7 };
	run_until(is_cut);
	data_free(rig.data);
	rig.data = NULL;
	data_leavers_free(&leavers);
	CU_ASSERT_TRUE(list_is_empty(&leavers));
	run_until(is_gone_for_dialler);
	tear_down();
}

static void test_held(void)
{
	struct data_limits limits = { 0 };
	struct pollfd waiting;

	set_up(&(struct data_conf){ .is_held = true });
	connect_both();
	CU_ASSERT_EQUAL(send(rig.dialler, "hello", 5, MSG_NOSIGNAL), 5);
	run_until(never);
	waiting = (struct pollfd){ .fd = rig.target, .events = POLLIN };
	CU_ASSERT_EQUAL(poll(&waiting, 1, 0), 0);
	data_allow(rig.data, &limits);
	run_until(never);
	CU_ASSERT_EQUAL(poll(&waiting, 1, 0), 1);
	tear_down();
}

static bool has_first(void)
{
	return rig.events[DATA_FIRST] > 0;
}

static void test_first_octets(void)
{
	struct data_limits limits = { .wants_first = true };
	struct pollfd waiting;

	set_up(&(struct data_conf){ .is_held = true });
	connect_both();
	data_allow(rig.data, &limits);
	CU_ASSERT_EQUAL(send(rig.dialler, "MZ", 2, MSG_NOSIGNAL), 2); /* fewer than are looked at */
	run_until(has_first);
	CU_ASSERT(span_eq(data_first(rig.data), SPAN_LIT("MZ")));
	run_until(never);
	waiting = (struct pollfd){ .fd = rig.target, .events = POLLIN };
	CU_ASSERT_EQUAL(poll(&waiting, 1, 0), 0);
	data_go(rig.data);
	run_until(never);
	CU_ASSERT_EQUAL(poll(&waiting, 1, 0), 1);
	CU_ASSERT_EQUAL(rig.events[DATA_FIRST], 1);
	tear_down();

	set_up(&(struct data_conf){ .is_held = true });
	connect_both();
	data_allow(rig.data, &limits);
	CU_ASSERT_EQUAL(send(rig.target, "0123456789abcdefgh", 18, MSG_NOSIGNAL), 18);
	run_until(has_first);
	CU_ASSERT(span_eq(data_first(rig.data), SPAN_LIT("0123456789abcdef")));
	data_cut(rig.data);
	run_until(is_refused);
	CU_ASSERT_EQUAL(rig.events[DATA_ENDED], 0); /* who cuts knows */
	CU_ASSERT_EQUAL(stats_of().octets[DATA_TARGET], 0);
	tear_down();

	set_up(&(struct data_conf){ .is_held = true }); /* nothing at all */
	connect_both();
	data_allow(rig.data, &limits);
	shutdown(rig.dialler, SHUT_WR);
	run_until(has_first);
	CU_ASSERT_EQUAL(data_first(rig.data).len, 0);
	data_go(rig.data);
	shutdown(rig.target, SHUT_WR);
	run_until(has_ended);
	CU_ASSERT_FALSE(stats_of().is_broken);
	tear_down();
}

/* What the receiver says must not pass for what the sender sends. */
static void test_first_octets_of_the_sender(void)
{
	struct data_limits limits = { .wants_first = true, .has_sender = true, .sender = DATA_TARGET };

	set_up(&(struct data_conf){ .is_held = true });
	connect_both();
	data_allow(rig.data, &limits);
	CU_ASSERT_EQUAL(send(rig.dialler, "0123456789abcdefgh", 18, MSG_NOSIGNAL), 18);
	run_until(never);
	CU_ASSERT_EQUAL(rig.events[DATA_FIRST], 0);
	CU_ASSERT_EQUAL(send(rig.target, "MZ", 2, MSG_NOSIGNAL), 2);
	run_until(has_first);
	CU_ASSERT(span_eq(data_first(rig.data), SPAN_LIT("MZ")));
	tear_down();
}

/* That it takes long is not asserted, only that all comes and is never more at once than may be saved up. */
static void test_rate(void)
{
	struct data_limits limits = { .bytes_per_s = 400000 };

	set_up(&(struct data_conf){ 0 });
	connect_both();
	data_allow(rig.data, &limits);
	pumping = (struct pumping){ .from = rig.dialler, .to = rig.target, .left = 200000, .seed_out = 7, .seed_in = 7 };
	write_some();
	write_some();
	write_some();
	write_some();
	run_until(has_target); /* one turn or two */
	CU_ASSERT(stats_of().octets[DATA_DIALLER] <= 110000);
	run_until(is_pumped);
	CU_ASSERT_EQUAL(pumping.got, 200000);
	CU_ASSERT_FALSE(pumping.is_wrong);
	tear_down();
}

static void test_breaks(void)
{
	set_up(&(struct data_conf){ 0 }); /* the target's reset reaches the dialler */
	connect_both();
	CU_ASSERT_EQUAL(send(rig.dialler, "hello", 5, MSG_NOSIGNAL), 5);
	run_until(never);
	tcp_leg_reset_on_close(rig.target);
	close(rig.target);
	rig.target = -1;
	run_until(has_ended);
	CU_ASSERT_TRUE(stats_of().is_broken);
	run_until(is_refused);
	tear_down();

	set_up(&(struct data_conf){ 0 }); /* nobody listens there any more */
	close(rig.listener);
	rig.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	rig.dialler = dial(2);
	run_until(has_ended);
	CU_ASSERT_EQUAL(rig.events[DATA_OPENED], 1);
	CU_ASSERT_TRUE(stats_of().is_broken);
	run_until(is_refused);
	tear_down();
}

static void test_as_dialler(void)
{
	set_up(&(struct data_conf){ .is_as_dialler = true, .pinholes = (struct pinholes *)&helper, .realm = 5 });
	helper.is_granted = true;
	connect_both();
	CU_ASSERT_EQUAL(helper.asked, 1);
	CU_ASSERT_EQUAL(helper.wanted.realm, 5);
	CU_ASSERT_EQUAL(helper.wanted.addr.port, 0);
	CU_ASSERT_TRUE(helper.wanted.is_transparent && helper.wanted.is_connecting);
	CU_ASSERT_EQUAL(tcp_leg_remote(rig.target).ip[3], 2); /* as the dialler */
	tear_down();

	set_up(&(struct data_conf){ .is_as_dialler = true, .pinholes = (struct pinholes *)&helper });
	connect_both(); /* the helper is not there: from our own */
	CU_ASSERT_EQUAL(helper.asked, 1);
	CU_ASSERT_EQUAL(tcp_leg_remote(rig.target).ip[3], 3);
	tear_down();
}

static const struct unit_test tests[] = {
	{ "octets both ways, each half closed by itself", test_both_ways },
	{ "the end of the sender's way is the end", test_end_of_one_way },
	{ "the end waits for the receiver", test_end_waits_for_receiver },
	{ "third hosts are refused", test_third_hosts },
	{ "no more octets than the limit", test_limit },
	{ "who sends more than the limit comes to read why", test_refused_sender },
	{ "held until it is allowed", test_held },
	{ "the first octets are looked at", test_first_octets },
	{ "the first octets of the sender", test_first_octets_of_the_sender },
	{ "at a rate", test_rate },
	{ "what breaks off", test_breaks },
	{ "with the dialler's address", test_as_dialler },
};
UNIT_MAIN("alg_data", tests)
