/* Relayed data under TLS, over loopback and with a clock set by hand: the gateway is TLS's server towards the FTP client and its client
 * towards the FTP server, whichever of them dials. What is plain in test_alg_data.c has to hold here, too: ends, limits, first octets. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "algs/data.h"
#include "algs/tcp_leg.h"
#include "core/err.h"
#include "core/list.h"
#include "core/loop.h"
#include "core/tls.h"
#include "tests/mock/fake_loop.h"
#include "tests/unit/tls_rig.h"
#include "tests/unit/unit.h"

enum { TURNS_MAX = 20000, CHUNK = 30000, HANDSHAKE_MS = 30000, QUIET_TURNS = 30 };

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);

static long countdown = -1; /* allocations that still succeed; negative: all do */

static bool may_fail(void)
{
	return countdown >= 0 && countdown-- == 0;
}

void *__wrap_malloc(size_t size)
{
	return may_fail() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return may_fail() ? NULL : __real_calloc(n, size);
}

/* ---- the hosts ----------------------------------------------------------------------------------------------------------------- */

struct peer {
	int fd;
	struct tls *tls;        /* NULL: plain */
	bool is_up, has_failed; /* its handshake */
	size_t left, got;       /* octets still to be sent; received */
	bool is_deaf;           /* does not read */
	bool is_open_ended;     /* does not end what it sends */
	bool is_shut, is_end, is_truncated, is_reset, is_wrong;
	unsigned seed_out, seed_in;
};

static struct rig {
	struct loop *loop;
	struct data *data;
	struct addr at;              /* where the dialler goes */
	int listener;
	enum data_side client;       /* which one is the FTP client */
	struct peer peers[DATA_SIDES];
	struct control {             /* the gateway's end and the host's */
		int fds[2];
		struct tls *near, *far;
	} controls[DATA_SIDES];
	bool does_resume, is_refusing_tls;
	unsigned events[DATA_ENDED + 1];
} rig;
static struct tls_rig files;
static struct tls_context *servers, *clients; /* of both the gateway and the hosts */

static unsigned char next(unsigned *seed)
{
	*seed = *seed * 1103515245u + 12345u;
	return (unsigned char)(*seed >> 16);
}

static int put(struct peer *peer, const char *bytes, size_t n)
{
	if (peer->tls != NULL)
		return tls_write(peer->tls, (struct span){ bytes, n });
	return (int)send(peer->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void send_some(struct peer *peer)
{
	static char bytes[CHUNK];
	size_t n = peer->left < sizeof(bytes) ? peer->left : sizeof(bytes);
	unsigned seed = peer->seed_out;
	int sent;

	for (size_t i = 0; i < n; i++)
		bytes[i] = (char)next(&seed);
	sent = n > 0 ? put(peer, bytes, n) : 0;
	for (int i = 0; i < sent; i++)
		(void)next(&peer->seed_out);
	peer->left -= sent > 0 ? (size_t)sent : 0;
	if (peer->left > 0 || peer->is_open_ended || peer->is_shut)
		return;
	if (peer->tls == NULL || tls_shut(peer->tls) == 1) {
		shutdown(peer->fd, SHUT_WR);
		peer->is_shut = true;
	}
}

static void receive_some(struct peer *peer)
{
	static char bytes[2 * CHUNK];
	int n = peer->tls != NULL ? tls_read(peer->tls, bytes, sizeof(bytes)) : (int)recv(peer->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (peer->tls == NULL && n < 0)
		n = errno == EAGAIN ? 0 : -errno;
	else if (peer->tls == NULL && n == 0)
		n = ERR_CLOSED;
	peer->is_end |= n == ERR_CLOSED;
	peer->is_truncated |= n == ERR_TRUNCATED;
	peer->is_reset |= n == -ECONNRESET || n == -EPIPE;
	for (int i = 0; i < n; i++)
		peer->is_wrong |= bytes[i] != (char)next(&peer->seed_in);
	peer->got += n > 0 ? (size_t)n : 0;
}

static void step(struct peer *peer)
{
	if (peer->fd < 0 || peer->has_failed)
		return;
	if (peer->tls != NULL && !peer->is_up) {
		int result = tls_handshake(peer->tls);

		peer->is_up = result == 1;
		peer->has_failed = result < 0;
		return;
	}
	if (!peer->is_shut)
		send_some(peer);
	if (!peer->is_deaf && !peer->is_end && !peer->is_truncated && !peer->is_reset)
		receive_some(peer);
}

static void turn(void)
{
	for (int side = 0; side < DATA_SIDES; side++)
		step(&rig.peers[side]);
	(void)fake_loop_fire_ready(rig.loop);
	fake_loop_advance(rig.loop, 1);
}

static void run_until(bool (*is_done)(void))
{
	unsigned turns = 0;

	while (!is_done() && turns++ < TURNS_MAX)
		turn();
	CU_ASSERT_TRUE_FATAL(turns < TURNS_MAX);
}

static void run_quiet(void)
{
	for (int i = 0; i < QUIET_TURNS; i++)
		turn();
}

/* ---- the gateway between them -------------------------------------------------------------------------------------------------- */

static int secure(void *arg, enum data_side side, int fd, struct tls **ret)
{
	CU_ASSERT_PTR_EQUAL(arg, &rig);
	if (rig.is_refusing_tls)
		return ERR_CLOSED;
	return tls_new(side == rig.client ? servers : clients, fd, rig.controls[side].near, ret);
}

static void on_event(void *arg, enum data_event event)
{
	CU_ASSERT_PTR_EQUAL(arg, &rig);
	rig.events[event]++;
}

static struct addr loopback(uint8_t last)
{
	return (struct addr){ .family = AF_INET, .ip = { 127, 0, 0, last } };
}

/* A control channel with that host, so far that its session can be resumed. */
static void connect_control(enum data_side side)
{
	struct control *c = &rig.controls[side];
	char bytes[16];
	int near = 0, far = 0;

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, c->fds), 0);
	CU_ASSERT_EQUAL_FATAL(tls_new(side == rig.client ? servers : clients, c->fds[0], NULL, &c->near), 0);
	CU_ASSERT_EQUAL_FATAL(tls_new(side == rig.client ? clients : servers, c->fds[1], NULL, &c->far), 0);
	for (int i = 0; i < 10 && (near != 1 || far != 1); i++) {
		near = tls_handshake(c->near);
		far = tls_handshake(c->far);
	}
	CU_ASSERT_TRUE_FATAL(near == 1 && far == 1);
	for (int i = 0; i < 4; i++) { /* tickets */
		CU_ASSERT_EQUAL(tls_read(c->near, bytes, sizeof(bytes)), 0);
		CU_ASSERT_EQUAL(tls_read(c->far, bytes, sizeof(bytes)), 0);
	}
}

/* `extra` says for each side how it is secured. */
static void set_up(enum data_side client, const struct data_conf *extra)
{
	struct data_conf conf = *extra;
	struct addr own = loopback(1);
	int fd = -1;

	rig = (struct rig){ .client = client, .peers = { { .fd = -1 }, { .fd = -1 } } };
	if (servers == NULL) {
		tls_rig_open(&files);
		servers = tls_rig_server(&files);
		clients = tls_rig_client(&files, "server.example");
	}
	CU_ASSERT_EQUAL_FATAL(loop_new(&rig.loop), 0);
	rig.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	CU_ASSERT_EQUAL(listen(rig.listener, 8), 0);
	conf.loop = rig.loop;
	conf.allowed = loopback(2);
	conf.from = loopback(3);
	conf.target = loopback(1);
	conf.target.port = tcp_leg_local(rig.listener).port;
	conf.secure = secure;
	conf.security[client].is_leading = conf.security[client].is_secured;
	CU_ASSERT_EQUAL_FATAL(tcp_leg_socket(&own, &fd), 0);
	CU_ASSERT_EQUAL_FATAL(data_new(&conf, fd, on_event, &rig, &rig.data), 0);
	CU_ASSERT_EQUAL_FATAL(data_listen(rig.data), 0);
	rig.at = tcp_leg_local(fd);
	for (enum data_side side = DATA_DIALLER; side <= DATA_TARGET; side++)
		if (conf.security[side].is_secured)
			connect_control(side);
}

static void hang_up(enum data_side side)
{
	struct peer *peer = &rig.peers[side];

	tls_free(peer->tls);
	if (peer->fd >= 0)
		close(peer->fd);
	*peer = (struct peer){ .fd = -1 };
}

static void tear_down(void)
{
	data_free(rig.data);
	CU_ASSERT_EQUAL(fake_loop_open_handles(rig.loop), 0);
	close(rig.listener);
	for (enum data_side side = DATA_DIALLER; side <= DATA_TARGET; side++) {
		hang_up(side);
		tls_free(rig.controls[side].near);
		tls_free(rig.controls[side].far);
		if (rig.controls[side].near != NULL) {
			close(rig.controls[side].fds[0]);
			close(rig.controls[side].fds[1]);
		}
	}
	loop_free(rig.loop);
}

static void begin(enum data_side side, int fd, size_t n)
{
	struct peer *peer = &rig.peers[side];

	*peer = (struct peer){ .fd = fd, .left = n, .seed_out = 7, .seed_in = 7 };
	if (rig.controls[side].near != NULL)
		CU_ASSERT_EQUAL(tls_new(side == rig.client ? clients : servers, fd,
					rig.does_resume ? rig.controls[side].far : NULL, &peer->tls), 0);
}

/* Both hosts connect, and will send that many octets, or less than nothing: not end it. */
static void connect_both(long from_dialler, long from_target)
{
	struct addr from = loopback(2);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&rig.at, &sa);
	int fd = -1;

	CU_ASSERT_EQUAL_FATAL(tcp_leg_socket(&from, &fd), 0);
	(void)connect(fd, (struct sockaddr *)&sa, len);
	begin(DATA_DIALLER, fd, from_dialler > 0 ? (size_t)from_dialler : 0);
	for (fd = -1; fd < 0;) {
		(void)fake_loop_fire_ready(rig.loop);
		fd = accept4(rig.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	}
	begin(DATA_TARGET, fd, from_target > 0 ? (size_t)from_target : 0);
	rig.peers[DATA_DIALLER].is_open_ended = from_dialler < 0;
	rig.peers[DATA_TARGET].is_open_ended = from_target < 0;
}

static struct data_stats stats_of(void)
{
	struct data_stats stats;

	data_stats(rig.data, &stats);
	return stats;
}

static bool has_ended(void)
{
	return rig.events[DATA_ENDED] + rig.events[DATA_LIMIT] > 0;
}

static bool are_up(void)
{
	return rig.peers[0].is_up && rig.peers[1].is_up;
}

static bool are_through(void)
{
	return has_ended() && rig.peers[0].is_end && rig.peers[1].is_end;
}

static const struct data_conf both = { .security = { { .is_secured = true }, { .is_secured = true } } };
static const struct data_limits of_dialler = { .has_sender = true, .sender = DATA_DIALLER };
static const struct data_limits of_target = { .has_sender = true, .sender = DATA_TARGET };

/* ---- tests ----------------------------------------------------------------------------------------------------------------------- */

static void check_both_ways(enum data_side client, const struct data_conf *conf)
{
	struct data_stats stats;

	set_up(client, conf);
	connect_both(1000001, 3000000);
	run_until(are_through);
	stats = stats_of();
	CU_ASSERT_EQUAL(stats.octets[DATA_DIALLER], 1000001);
	CU_ASSERT_EQUAL(stats.octets[DATA_TARGET], 3000000);
	CU_ASSERT_FALSE(stats.is_broken);
	for (int side = 0; side < DATA_SIDES; side++) {
		CU_ASSERT_EQUAL(rig.peers[!side].got, stats.octets[side]);
		CU_ASSERT_FALSE(rig.peers[side].is_wrong);
		CU_ASSERT_EQUAL(stats.tls[side].version != NULL, conf->security[side].is_secured);
		/* The gateway resumes whenever a server lets it; its client does not want to here. */
		CU_ASSERT_EQUAL(stats.tls[side].is_resumed, conf->security[side].is_secured && side != (int)client);
	}
	CU_ASSERT_EQUAL(rig.events[DATA_OPENED], 1);
	CU_ASSERT_EQUAL(rig.events[DATA_ENDED], 1);
	tear_down();
}

static void test_both_ways(void)
{
	for (enum data_side client = DATA_DIALLER; client <= DATA_TARGET; client++)
		for (int plain = -1; plain < DATA_SIDES; plain++) {
			struct data_conf conf = both;

			if (plain >= 0)
				conf.security[plain].is_secured = false;
			check_both_ways(client, &conf);
		}
}

static void test_resumption(void)
{
	struct data_conf conf = both;

	for (int side = 0; side < DATA_SIDES; side++)
		conf.security[side].must_resume = true;
	set_up(DATA_DIALLER, &conf);
	rig.does_resume = true;
	connect_both(1000, 0);
	run_until(are_through);
	CU_ASSERT_TRUE(stats_of().tls[DATA_DIALLER].is_resumed);
	CU_ASSERT_TRUE(stats_of().tls[DATA_TARGET].is_resumed);
	CU_ASSERT_EQUAL(rig.peers[DATA_TARGET].got, 1000);
	tear_down();

	for (enum data_side side = DATA_DIALLER; side <= DATA_TARGET; side++) { /* who does not is refused, and nothing of his gets through */
		set_up(side, &conf);
		connect_both(1000, 1000);
		run_until(has_ended);
		CU_ASSERT_TRUE(stats_of().is_broken);
		CU_ASSERT_EQUAL(stats_of().at, (int)side);
		CU_ASSERT_STRING_EQUAL(stats_of().reason, "it did not resume the TLS session of its control channel");
		run_quiet();
		CU_ASSERT_EQUAL(rig.peers[!side].got, 0);
		tear_down();
	}
}

/* A session of another control channel is as good as none. */
static void test_foreign_resumption(void)
{
	struct data_conf conf = both;
	struct control other;

	conf.security[DATA_DIALLER].must_resume = true;
	set_up(DATA_DIALLER, &conf);
	rig.does_resume = true;
	other = rig.controls[DATA_DIALLER];
	connect_control(DATA_DIALLER);
	tls_free(other.near);
	other.near = rig.controls[DATA_DIALLER].near; /* the gateway's end of the second with the host's of the first */
	tls_free(rig.controls[DATA_DIALLER].far);
	close(rig.controls[DATA_DIALLER].fds[0]);
	close(rig.controls[DATA_DIALLER].fds[1]);
	rig.controls[DATA_DIALLER] = other;
	connect_both(1000, 0);
	run_until(has_ended);
	CU_ASSERT_TRUE(stats_of().is_broken);
	CU_ASSERT_STRING_EQUAL(stats_of().reason, "it did not resume the TLS session of its control channel");
	tear_down();
}

static bool is_over_at_dialler(void)
{
	return rig.peers[DATA_DIALLER].is_end && has_ended();
}

/* As in plain: the sender's end is the end, whether or not the receiver ends its way. */
static void test_end_of_one_way(void)
{
	set_up(DATA_DIALLER, &both);
	data_allow(rig.data, &of_target);
	connect_both(-1, 100000);
	run_until(is_over_at_dialler);
	CU_ASSERT_EQUAL(rig.events[DATA_ENDED], 1);
	CU_ASSERT_EQUAL(rig.peers[DATA_DIALLER].got, 100000);
	CU_ASSERT_FALSE(stats_of().is_broken);
	tear_down();
}

/* What the receiver says at its own end meets a socket that is still there, for a while. */
static void check_lingering(bool does_end)
{
	struct data_conf conf = both;
	struct list leavers;

	list_init(&leavers);
	conf.leavers = &leavers;
	set_up(DATA_DIALLER, &conf);
	data_allow(rig.data, &of_dialler);
	connect_both(100000, -1);
	run_until(has_ended);
	data_free(rig.data);
	rig.data = NULL;
	CU_ASSERT_FALSE(list_is_empty(&leavers));
	rig.peers[DATA_TARGET].is_open_ended = !does_end;
	if (does_end)
		run_quiet();
	else
		fake_loop_advance(rig.loop, 4000);
	CU_ASSERT_TRUE(list_is_empty(&leavers));
	run_quiet();
	CU_ASSERT_EQUAL(rig.peers[DATA_TARGET].got, 100000);
	CU_ASSERT_TRUE(rig.peers[DATA_TARGET].is_end && !rig.peers[DATA_TARGET].is_reset);
	CU_ASSERT_EQUAL(rig.peers[DATA_DIALLER].is_end, does_end);
	CU_ASSERT_EQUAL(rig.events[DATA_ENDED], 1);
	tear_down();
}

static void test_lingering(void)
{
	struct data_conf conf = both;
	struct list leavers;

	check_lingering(true);
	check_lingering(false);

	list_init(&leavers); /* the process ends meanwhile */
	conf.leavers = &leavers;
	set_up(DATA_DIALLER, &conf);
	data_allow(rig.data, &of_dialler);
	connect_both(100000, -1);
	run_until(has_ended);
	data_free(rig.data);
	rig.data = NULL;
	data_leavers_free(&leavers);
	CU_ASSERT_TRUE(list_is_empty(&leavers));
	run_quiet();
	CU_ASSERT_TRUE(rig.peers[DATA_TARGET].is_end);
	tear_down();
}

static void test_end_waits_for_receiver(void)
{
	const int small = 4096;

	set_up(DATA_DIALLER, &both);
	data_allow(rig.data, &of_target);
	connect_both(-1, 60000);
	CU_ASSERT_EQUAL(setsockopt(rig.peers[DATA_DIALLER].fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	run_until(are_up);
	rig.peers[DATA_DIALLER].is_deaf = true;
	run_quiet();
	CU_ASSERT_EQUAL(rig.events[DATA_ENDED], 0);
	CU_ASSERT_TRUE(data_is_busy(rig.data));
	rig.peers[DATA_DIALLER].is_deaf = false;
	run_until(is_over_at_dialler);
	CU_ASSERT_EQUAL(rig.peers[DATA_DIALLER].got, 60000);
	CU_ASSERT_FALSE(rig.peers[DATA_DIALLER].is_wrong);
	tear_down();
}

static void test_limit(void)
{
	struct data_limits limits = of_dialler;

	limits.max_bytes = 100000;
	set_up(DATA_DIALLER, &both);
	data_allow(rig.data, &limits);
	connect_both(100000, 0);
	run_until(are_through);
	CU_ASSERT_EQUAL(rig.events[DATA_LIMIT], 0);
	CU_ASSERT_EQUAL(rig.peers[DATA_TARGET].got, 100000);
	tear_down();

	set_up(DATA_DIALLER, &both);
	data_allow(rig.data, &limits);
	connect_both(100001, -1);
	run_until(has_ended);
	CU_ASSERT_EQUAL(rig.events[DATA_LIMIT], 1);
	CU_ASSERT_EQUAL(rig.events[DATA_ENDED], 0);
	CU_ASSERT_EQUAL(stats_of().octets[DATA_DIALLER], 100000);
	run_quiet();
	CU_ASSERT_FALSE(rig.peers[DATA_TARGET].is_end); /* a part is not taken for the whole */
	CU_ASSERT_TRUE(rig.peers[DATA_TARGET].is_reset || rig.peers[DATA_TARGET].is_truncated);
	tear_down();
}

static bool is_dialler_through(void)
{
	return rig.peers[DATA_DIALLER].is_shut && rig.peers[DATA_DIALLER].is_end;
}

static void test_refused_sender(void)
{
	struct data_conf conf = both;
	struct data_limits limits = of_dialler;
	struct list leavers;

	list_init(&leavers);
	conf.leavers = &leavers;
	limits.max_bytes = 1000;
	set_up(DATA_DIALLER, &conf);
	data_allow(rig.data, &limits);
	connect_both(3000000, -1);
	run_until(has_ended);
	CU_ASSERT_EQUAL(rig.events[DATA_LIMIT], 1);
	data_free(rig.data); /* goes on by itself */
	rig.data = NULL;
	CU_ASSERT_FALSE(list_is_empty(&leavers));
	run_until(is_dialler_through); /* it could send everything, and was answered with close_notify */
	CU_ASSERT_TRUE(list_is_empty(&leavers));
	tear_down();
}

static bool has_first(void)
{
	return rig.events[DATA_FIRST] > 0;
}

/* However they are cut into records. */
static void test_first_octets(void)
{
	static const char magic[] = "MZ0123456789abcdef";
	struct data_conf conf = both;
	struct data_limits limits = of_dialler;
	struct peer *dialler = &rig.peers[DATA_DIALLER];

	conf.is_held = limits.wants_first = true;
	set_up(DATA_DIALLER, &conf);
	connect_both(-1, -1);
	run_until(are_up);
	run_quiet();
	data_allow(rig.data, &limits);
	for (size_t i = 0; i < sizeof(magic) - 1; i++) {
		CU_ASSERT_EQUAL(rig.events[DATA_FIRST], 0);
		CU_ASSERT_EQUAL(put(dialler, magic + i, 1), 1);
		(void)fake_loop_fire_ready(rig.loop);
	}
	run_until(has_first);
	CU_ASSERT(span_eq(data_first(rig.data), SPAN_LIT("MZ0123456789abcd")));
	run_quiet();
	CU_ASSERT_EQUAL(rig.peers[DATA_TARGET].got, 0);
	rig.peers[DATA_TARGET].is_deaf = true;
	data_go(rig.data);
	run_quiet();
	{
		char got[32];

		CU_ASSERT_EQUAL(tls_read(rig.peers[DATA_TARGET].tls, got, sizeof(got)), DATA_FIRST_MAX);
		CU_ASSERT_EQUAL(memcmp(got, magic, DATA_FIRST_MAX), 0);
	}
	CU_ASSERT_EQUAL(rig.events[DATA_FIRST], 1);
	tear_down();
}

/* What the receiver says is not what is looked at, and fewer octets than there might be are enough at the end. */
static void test_first_octets_of_the_sender(void)
{
	struct data_conf conf = both;
	struct data_limits limits = of_target;

	conf.is_held = limits.wants_first = true;
	set_up(DATA_DIALLER, &conf);
	connect_both(100, -1);
	data_allow(rig.data, &limits);
	run_until(are_up);
	run_quiet();
	CU_ASSERT_EQUAL(rig.events[DATA_FIRST], 0);
	CU_ASSERT_EQUAL(put(&rig.peers[DATA_TARGET], "MZ", 2), 2);
	rig.peers[DATA_TARGET].is_open_ended = false;
	run_until(has_first);
	CU_ASSERT(span_eq(data_first(rig.data), SPAN_LIT("MZ")));
	data_refuse(rig.data);
	run_quiet();
	CU_ASSERT_EQUAL(rig.peers[DATA_DIALLER].got, 0);
	CU_ASSERT_FALSE(rig.peers[DATA_DIALLER].is_end);
	tear_down();

	limits.max_bytes = 5; /* no more than these are there to be looked at */
	set_up(DATA_DIALLER, &conf);
	connect_both(0, 6);
	data_allow(rig.data, &limits);
	run_until(has_first);
	CU_ASSERT_EQUAL(data_first(rig.data).len, 5);
	data_go(rig.data);
	run_until(has_ended);
	CU_ASSERT_EQUAL(rig.events[DATA_LIMIT], 1);
	tear_down();
}

static void test_rate(void)
{
	struct data_limits limits = of_dialler;

	limits.bytes_per_s = 8000000;
	set_up(DATA_DIALLER, &both);
	data_allow(rig.data, &limits);
	connect_both(5000000, 0);
	run_until(are_up);
	fake_loop_advance(rig.loop, 10);
	CU_ASSERT(stats_of().octets[DATA_DIALLER] <= 8000000 / 4 + 8000000 / 50);
	run_until(are_through);
	CU_ASSERT_EQUAL(rig.peers[DATA_TARGET].got, 5000000);
	CU_ASSERT_FALSE(rig.peers[DATA_TARGET].is_wrong);
	tear_down();
}

static void check_truncation(bool is_allowed)
{
	struct data_conf conf = both;

	conf.security[DATA_DIALLER].may_truncate = is_allowed;
	set_up(DATA_DIALLER, &conf);
	data_allow(rig.data, &of_dialler);
	connect_both(5000, 0);
	rig.peers[DATA_DIALLER].is_open_ended = true;
	run_until(are_up);
	run_quiet();
	CU_ASSERT_EQUAL(rig.peers[DATA_TARGET].got, 5000);
	shutdown(rig.peers[DATA_DIALLER].fd, SHUT_WR);
	run_until(has_ended);
	run_quiet();
	CU_ASSERT_EQUAL(stats_of().is_broken, !is_allowed);
	CU_ASSERT_EQUAL(rig.peers[DATA_TARGET].is_end, is_allowed); /* the receiver does not take it for an end either */
	if (!is_allowed) {
		CU_ASSERT_EQUAL(stats_of().at, DATA_DIALLER);
		CU_ASSERT_STRING_EQUAL(stats_of().reason, "ended without close_notify");
	}
	tear_down();
}

static void test_truncation(void)
{
	check_truncation(false);
	check_truncation(true);

	set_up(DATA_DIALLER, &both); /* the receiver may go as it likes, when it has everything */
	data_allow(rig.data, &of_dialler);
	connect_both(5000, -1);
	run_until(has_ended);
	run_quiet();
	shutdown(rig.peers[DATA_TARGET].fd, SHUT_WR);
	run_quiet();
	CU_ASSERT_FALSE(stats_of().is_broken);
	CU_ASSERT_TRUE(rig.peers[DATA_TARGET].is_end);
	tear_down();
}

/* A client that sends, and goes without having read anything, loses nothing: there is nothing that it could have read (a ticket), for which
 * its kernel would reset the connection. */
static void test_sender_that_never_reads(void)
{
	char octet;

	set_up(DATA_DIALLER, &both);
	data_allow(rig.data, &of_dialler);
	connect_both(2000000, -1);
	rig.peers[DATA_DIALLER].is_deaf = true;
	while (!rig.peers[DATA_DIALLER].is_shut)
		turn();
	CU_ASSERT(recv(rig.peers[DATA_DIALLER].fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT) < 0);
	hang_up(DATA_DIALLER);
	run_until(has_ended);
	run_quiet();
	CU_ASSERT_FALSE(stats_of().is_broken);
	CU_ASSERT_EQUAL(rig.peers[DATA_TARGET].got, 2000000);
	CU_ASSERT_TRUE(rig.peers[DATA_TARGET].is_end);
	tear_down();
}

static void test_no_tls(void)
{
	for (enum data_side side = DATA_DIALLER; side <= DATA_TARGET; side++) { /* plain octets where TLS has to be */
		set_up(DATA_DIALLER, &both);
		connect_both(2000, 2000);
		tls_free(rig.peers[side].tls);
		rig.peers[side].tls = NULL;
		run_until(has_ended);
		run_quiet();
		CU_ASSERT_TRUE(stats_of().is_broken);
		CU_ASSERT_EQUAL(stats_of().at, (int)side);
		CU_ASSERT_EQUAL(rig.peers[!side].got, 0);
		CU_ASSERT_PTR_NULL(stats_of().tls[side].version);
		tear_down();
	}
	set_up(DATA_DIALLER, &both); /* its control channel has gone meanwhile */
	rig.is_refusing_tls = true;
	connect_both(2000, 2000);
	run_until(has_ended);
	CU_ASSERT_TRUE(stats_of().is_broken);
	tear_down();
}

/* Servers may not like to be spoken to before the client speaks. */
static void test_client_begins(void)
{
	set_up(DATA_TARGET, &both);
	connect_both(1000, 0);
	rig.peers[DATA_TARGET].has_failed = true; /* waits */
	rig.peers[DATA_DIALLER].is_deaf = true;
	run_quiet();
	{
		char octet;

		CU_ASSERT(recv(rig.peers[DATA_DIALLER].fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT) < 0);
	}
	rig.peers[DATA_TARGET].has_failed = false;
	rig.peers[DATA_DIALLER].is_deaf = false;
	run_until(are_through);
	CU_ASSERT_EQUAL(rig.peers[DATA_TARGET].got, 1000);
	tear_down();
}

static void test_silence(void)
{
	set_up(DATA_DIALLER, &both);
	connect_both(1000, 0);
	rig.peers[DATA_DIALLER].has_failed = true; /* says nothing */
	run_quiet();
	CU_ASSERT_TRUE(data_is_busy(rig.data));
	fake_loop_advance(rig.loop, HANDSHAKE_MS - 100);
	CU_ASSERT_EQUAL(rig.events[DATA_ENDED], 0);
	data_allow(rig.data, &of_dialler); /* the command: only now can it begin */
	fake_loop_advance(rig.loop, HANDSHAKE_MS - 1);
	CU_ASSERT_EQUAL(rig.events[DATA_ENDED], 0);
	fake_loop_advance(rig.loop, 2);
	CU_ASSERT_EQUAL(rig.events[DATA_ENDED], 1);
	CU_ASSERT_TRUE(stats_of().is_broken);
	tear_down();
}

/* Data that is freed as it stands: who receives it must not take it for the whole. */
static void test_freed_on_its_way(void)
{
	set_up(DATA_DIALLER, &both);
	connect_both(3000, 0);
	rig.peers[DATA_DIALLER].is_open_ended = true;
	run_until(are_up);
	run_quiet();
	data_free(rig.data);
	rig.data = NULL;
	run_quiet();
	CU_ASSERT_EQUAL(rig.peers[DATA_TARGET].got, 3000);
	CU_ASSERT_TRUE(rig.peers[DATA_TARGET].is_truncated || rig.peers[DATA_TARGET].is_reset);
	tear_down();
}

static void test_out_of_memory(void)
{
	for (long n = 0;; n++) {
		bool is_through;

		set_up(DATA_DIALLER, &both);
		connect_both(1000, 0);
		countdown = n;
		while (!has_ended())
			turn();
		is_through = countdown >= 0;
		countdown = -1;
		CU_ASSERT_EQUAL(stats_of().is_broken, !is_through);
		tear_down();
		if (is_through)
			break;
	}
}

static const struct unit_test tests[] = {
	{ "octets both ways, under TLS at either end or both, whoever dials", test_both_ways },
	{ "sessions of the control channels are resumed", test_resumption },
	{ "those of others are not", test_foreign_resumption },
	{ "the end of the sender's way is the end", test_end_of_one_way },
	{ "who receives may end its way in peace", test_lingering },
	{ "the end waits for the receiver", test_end_waits_for_receiver },
	{ "no more octets than the limit", test_limit },
	{ "who sends more than the limit comes to read why", test_refused_sender },
	{ "the first octets are looked at, however they are cut", test_first_octets },
	{ "of the sender alone", test_first_octets_of_the_sender },
	{ "at a rate", test_rate },
	{ "an end without close_notify", test_truncation },
	{ "a sender that never reads", test_sender_that_never_reads },
	{ "what is not TLS", test_no_tls },
	{ "nothing is said to a server before its client speaks", test_client_begins },
	{ "who says nothing", test_silence },
	{ "freed on its way", test_freed_on_its_way },
	{ "out of memory", test_out_of_memory },
};

int main(int argc, char **argv)
{
	int result;

	signal(SIGPIPE, SIG_IGN);
	result = unit_main(argc, argv, "alg_data_tls", tests, sizeof(tests) / sizeof(tests[0]));
	tls_context_unref(servers);
	tls_context_unref(clients);
	tls_rig_close(&files);
	return result;
}
