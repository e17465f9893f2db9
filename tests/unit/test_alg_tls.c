/* TLS on the legs of control channels: the host between a client and a server that speak it, over sockets of loopback. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "algs/session.h"
#include "core/arena.h"
#include "core/conf.h"
#include "core/err.h"
#include "core/log.h"
#include "core/metrics.h"
#include "tests/unit/alg_rig.h"
#include "tests/unit/tls_rig.h"

enum { TURNS_MAX = 200, TRIES_MAX = 20000, LIMIT_MS = 15000, HALF_CLOSED_MS = 30000 };

static struct alg_rig rig;
static struct tls_rig files;

static bool is_out_of_memory;
int __real_tls_new(struct tls_context *context, int fd, const struct tls *like, struct tls **ret);
int __wrap_tls_new(struct tls_context *context, int fd, const struct tls *like, struct tls **ret);
int __wrap_tls_new(struct tls_context *context, int fd, const struct tls *like, struct tls **ret)
{
	return is_out_of_memory ? -ENOMEM : __real_tls_new(context, fd, like, ret);
}

struct ends { /* the peers of the gateway */
	struct alg_pair pair;
	struct tls *tls[ALG_SIDES];
	int results[ALG_SIDES];
};

static const char *members(const char *more)
{
	static char text[1024];

	snprintf(text, sizeof(text), "certificate: %s, key: %s, server_ca: %s, %s", files.certificate, files.key, files.ca, more);
	return text;
}

static void begin_tls(struct ends *e, enum alg_side side, struct tls_context *context_take)
{
	CU_ASSERT_EQUAL_FATAL(tls_new(context_take, side == ALG_CLIENT ? e->pair.client : e->pair.server, NULL, &e->tls[side]), 0);
	tls_context_unref(context_take);
}

static void shake(struct ends *e)
{
	for (int i = 0; i < TURNS_MAX; i++) {
		for (int side = 0; side < ALG_SIDES; side++)
			if (e->tls[side] != NULL && e->results[side] == 0)
				e->results[side] = tls_handshake(e->tls[side]);
		alg_rig_turn(&rig);
		if ((e->tls[0] == NULL || e->results[0] != 0) && (e->tls[1] == NULL || e->results[1] != 0))
			break;
	}
}

/* Both sides agree on TLS and shake hands. */
static void open_ends(struct ends *e, const char *alg)
{
	*e = (struct ends){ .pair = { .client = -1, .server = -1 } };
	alg_rig_open(&rig, alg, NULL);
	alg_rig_pair(&rig, &e->pair);
	alg_rig_through(&rig, &e->pair, 's', "220 hello");
	alg_rig_through(&rig, &e->pair, 'c', "AUTH");
	alg_rig_through(&rig, &e->pair, 's', "tls");
	begin_tls(e, ALG_CLIENT, tls_rig_client(&files, "server.example"));
	begin_tls(e, ALG_SERVER, tls_rig_server(&files));
}

static void close_ends(struct ends *e)
{
	for (int side = 0; side < ALG_SIDES; side++)
		tls_free(e->tls[side]);
	alg_rig_unpair(&e->pair);
	alg_rig_close(&rig);
}

static int receive(struct ends *e, enum alg_side at, char *got, size_t size)
{
	int n = 0;

	for (int i = 0; i < TURNS_MAX && n == 0; i++) {
		alg_rig_turn(&rig);
		n = tls_read(e->tls[at], got, size);
	}
	return n;
}

static void expect(struct ends *e, enum alg_side at, const char *text)
{
	char got[512];
	int n = receive(e, at, got, sizeof(got));

	CU_ASSERT_TRUE(n > 0 && span_eq((struct span){ got, (size_t)n }, span_of(text)));
}

static void through(struct ends *e, enum alg_side from, const char *text)
{
	CU_ASSERT_EQUAL(tls_write(e->tls[from], span_of(text)), (int)strlen(text));
	expect(e, alg_other(from), text);
}

/* The newest session. */
static void view(struct arena *arena, struct alg_session_view *ret)
{
	struct alg_session_filter filter = { .limit = 1 };
	struct alg_session_summary *list = NULL;
	bool has_more;

	if (alg_sessions(rig.host, &filter, arena, &list, &has_more) == 0) {
		filter.state = SPAN_LIT("ended");
		CU_ASSERT_EQUAL_FATAL(alg_sessions(rig.host, &filter, arena, &list, &has_more), 1);
	}
	CU_ASSERT_EQUAL_FATAL(alg_session(rig.host, span_of(list[0].id), arena, ret), 0);
}

static bool has_step(const char *text)
{
	struct arena *arena = arena_new(1 << 20);
	struct alg_session_view v;
	bool has = false;

	view(arena, &v);
	for (unsigned i = 0; i < v.n_steps; i++)
		has |= strstr(v.steps[i].text, text) != NULL;
	if (!has)
		for (unsigned i = 0; i < v.n_steps; i++)
			printf("# step: %s\n", v.steps[i].text);
	arena_free(arena);
	return has;
}

/* ---- what goes well ------------------------------------------------------------------------------------------------------------- */

static void test_both_sides(void)
{
	struct arena *arena = arena_new(1 << 20);
	struct alg_session_view v;
	struct ends e;

	open_ends(&e, members("tls: terminate, server_name: server.example"));
	view(arena, &v);
	CU_ASSERT_PTR_NULL(v.tls[ALG_SERVER].version);
	shake(&e);
	CU_ASSERT_EQUAL_FATAL(e.results[ALG_SERVER], 1);
	CU_ASSERT_EQUAL_FATAL(e.results[ALG_CLIENT], 1);
	through(&e, ALG_CLIENT, "USER ann\n");
	through(&e, ALG_SERVER, "331 password\n");
	CU_ASSERT_EQUAL(tls_write(e.tls[ALG_CLIENT], SPAN_LIT("drop this\nnot that\n")), 19);
	expect(&e, ALG_SERVER, "not that\n");
	view(arena, &v);
	for (int side = 0; side < ALG_SIDES; side++) {
		CU_ASSERT_STRING_EQUAL(v.tls[side].version, "TLSv1.3");
		CU_ASSERT_STRING_EQUAL(v.tls[side].cipher, tls_cipher(e.tls[side]));
		CU_ASSERT_FALSE(v.tls[side].is_resumed);
	}
	CU_ASSERT_TRUE(has_step("TLS with the server: TLSv1.3") && has_step("/CN=server.example"));
	through(&e, ALG_CLIENT, "ending\n");
	CU_ASSERT_EQUAL(tls_shut(e.tls[ALG_SERVER]), 1);
	CU_ASSERT_EQUAL(receive(&e, ALG_CLIENT, (char[8]){ 0 }, 8), ERR_CLOSED);
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "open"); /* half */
	CU_ASSERT_EQUAL(tls_shut(e.tls[ALG_CLIENT]), 1);
	CU_ASSERT_EQUAL(receive(&e, ALG_SERVER, (char[8]){ 0 }, 8), ERR_CLOSED);
	CU_ASSERT_STRING_EQUAL(alg_rig_cause(&rig), "normal");
	view(arena, &v);
	CU_ASSERT_STRING_EQUAL(v.tls[ALG_CLIENT].version, "TLSv1.3"); /* known beyond the end */
	arena_free(arena);
	close_ends(&e);
}

static void test_client_only(void)
{
	char alg[512];
	struct ends e = { .pair = { .client = -1, .server = -1 } };

	snprintf(alg, sizeof(alg), "tls: terminate, server_tls: false, certificate: %s, key: %s", files.certificate, files.key);
	alg_rig_open(&rig, alg, NULL);
	alg_rig_pair(&rig, &e.pair);
	alg_rig_through(&rig, &e.pair, 'c', "tls");
	begin_tls(&e, ALG_CLIENT, tls_rig_client(&files, "server.example"));
	shake(&e);
	CU_ASSERT_EQUAL_FATAL(e.results[ALG_CLIENT], 1);
	CU_ASSERT_EQUAL(tls_write(e.tls[ALG_CLIENT], SPAN_LIT("USER ann\n")), 9);
	alg_rig_expect(&rig, &e.pair, 's', "USER ann|"); /* in clear */
	alg_rig_say(&rig, &e.pair, 's', "331 password");
	expect(&e, ALG_CLIENT, "331 password\n");
	close_ends(&e);
}

static void test_from_the_beginning(void)
{
	struct ends e = { .pair = { .client = -1, .server = -1 } };

	alg_rig_open(&rig, members("tls: implicit"), NULL);
	alg_rig_pair(&rig, &e.pair);
	begin_tls(&e, ALG_CLIENT, tls_rig_client(&files, NULL));
	begin_tls(&e, ALG_SERVER, tls_rig_server(&files));
	shake(&e);
	CU_ASSERT_EQUAL_FATAL(e.results[ALG_CLIENT], 1);
	through(&e, ALG_SERVER, "220 hello\n");
	CU_ASSERT_EQUAL(tls_write(e.tls[ALG_CLIENT], SPAN_LIT("tls\n")), 4); /* not once more */
	expect(&e, ALG_CLIENT, "no tls\n");
	close_ends(&e);
}

/* A record holds more than the flow has room for: the rest does not stay behind. */
static void test_long_records(void)
{
	enum { LINES = 40, LINE = 400, TOTAL = LINES * LINE };
	static char text[TOTAL], got[TOTAL + 1];
	struct ends e;
	size_t n_got = 0;

	for (int i = 0; i < TOTAL; i++)
		text[i] = i % LINE == LINE - 1 ? '\n' : (char)('a' + i / LINE % 26);
	open_ends(&e, members("tls: terminate"));
	shake(&e);
	CU_ASSERT_EQUAL_FATAL(e.results[ALG_CLIENT], 1);
	CU_ASSERT_EQUAL(tls_write(e.tls[ALG_CLIENT], (struct span){ text, TOTAL }), TOTAL);
	while (n_got < TOTAL) {
		int n = receive(&e, ALG_SERVER, got + n_got, TOTAL - n_got);

		CU_ASSERT_FATAL(n > 0);
		n_got += (size_t)n;
	}
	CU_ASSERT_EQUAL(memcmp(text, got, TOTAL), 0);
	close_ends(&e);
}

/* Nobody reads: what cannot be sent waits, and goes on where it stopped. */
static void test_backpressure(void)
{
	static char line[400], got[16384];
	const int small = 16384, large = 1 << 18; /* windows below loopback's segments would open by the kernel's timers only */
	struct ends e;
	size_t n_sent = 0, n_got = 0;
	bool is_in_order = true;

	open_ends(&e, members("tls: terminate"));
	shake(&e);
	CU_ASSERT_EQUAL_FATAL(e.results[ALG_CLIENT], 1);
	CU_ASSERT_EQUAL(setsockopt(e.pair.server, SOL_SOCKET, SO_RCVBUF, &large, sizeof(large)), 0);
	CU_ASSERT_EQUAL(setsockopt(e.pair.client, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	for (size_t i = 0; i + 1 < sizeof(line); i++)
		line[i] = (char)('a' + i % 26);
	line[sizeof(line) - 1] = '\n';
	for (int quiet = 0; quiet < 3;) {
		int n = tls_write(e.tls[ALG_CLIENT], (struct span){ line, sizeof(line) });

		CU_ASSERT_FATAL(n == 0 || n == sizeof(line));
		n_sent += (size_t)n;
		quiet = n > 0 ? 0 : quiet + 1;
		if (n == 0 || n_sent % (1 << 14) < sizeof(line))
			alg_rig_turn(&rig);
	}
	CU_ASSERT_TRUE(n_sent > 1 << 17);
	for (int tries = 0; tries < TRIES_MAX && n_got < n_sent; tries++) {
		int n = tls_read(e.tls[ALG_SERVER], got, sizeof(got));

		CU_ASSERT_FATAL(n >= 0);
		for (int i = 0; i < n; i++)
			is_in_order &= got[i] == line[(n_got + (size_t)i) % sizeof(line)];
		n_got += (size_t)n;
		alg_rig_turn(&rig);
		if (n == 0)
			usleep(1000);
	}
	CU_ASSERT_EQUAL(n_got, n_sent);
	CU_ASSERT_TRUE(is_in_order);
	close_ends(&e);
}

/* When the certificate expires is known to who asks, and to who measures. */
static void test_expiry(void)
{
	const int64_t now_ms = (int64_t)time(NULL) * 1000, day_ms = 86400000;
	struct arena *arena = arena_new(1 << 20);
	struct alg_listener_view *listeners;
	char line[128], *metrics;

	alg_rig_open(&rig, members("tls: terminate"), NULL);
	alg_rig_pass(&rig, 2000);
	CU_ASSERT_EQUAL_FATAL(alg_listeners(rig.host, arena, &listeners) > 0, true);
	CU_ASSERT_TRUE(listeners[0].certificate_expires_ms > now_ms && listeners[0].certificate_expires_ms <= now_ms + day_ms);
	snprintf(line, sizeof(line), "postern_alg_certificate_expiry_timestamp_seconds{alg=\"%s\"} %lld\n", listeners[0].conf->name,
		 (long long)listeners[0].certificate_expires_ms / 1000);
	metrics = metrics_text();
	CU_ASSERT_PTR_NOT_NULL(strstr(metrics, line));
	free(metrics);
	alg_rig_close(&rig);

	alg_rig_open(&rig, "tls: refuse", NULL);
	alg_rig_pass(&rig, 2000);
	CU_ASSERT_EQUAL_FATAL(alg_listeners(rig.host, arena, &listeners) > 0, true);
	CU_ASSERT_EQUAL(listeners[0].certificate_expires_ms, 0);
	alg_rig_close(&rig);
	arena_free(arena);
}

/* What the log says of the files when they are loaded. */
static void expect_warning(const char *text, bool is_expected)
{
	struct conf_errors errors = { 0 };
	struct alg_setups *setups = NULL;
	char said[2048] = "";
	int fd = memfd_create("log", MFD_CLOEXEC);

	CU_ASSERT_FATAL(fd >= 0);
	log_setup(fd, LOG_TEXT, LOG_WARN);
	CU_ASSERT_EQUAL(alg_setups_new(rig.config, rig.loop, &errors, &setups), 0);
	log_setup(STDERR_FILENO, LOG_TEXT, LOG_ERROR);
	alg_setups_free(setups);
	conf_errors_free(&errors);
	CU_ASSERT_TRUE(pread(fd, said, sizeof(said) - 1, 0) >= 0);
	CU_ASSERT_EQUAL(strstr(said, text) != NULL, is_expected);
	close(fd);
}

static void test_warnings(void)
{
	const char *const key = "everybody on this machine can read the key";

	alg_rig_open(&rig, members("tls: terminate"), NULL);
	expect_warning(key, false);
	CU_ASSERT_EQUAL(chmod(files.key, 0644), 0);
	expect_warning(key, true);
	CU_ASSERT_EQUAL(chmod(files.key, 0640), 0);
	expect_warning(key, false);
	alg_rig_close(&rig);
}

/* ---- what fails ----------------------------------------------------------------------------------------------------------------- */

static void expect_failed(struct ends *e, const char *cause, const char *step)
{
	alg_rig_turn(&rig);
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "ended");
	CU_ASSERT_STRING_EQUAL(alg_rig_cause(&rig), cause);
	CU_ASSERT_TRUE(has_step(step));
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 0);
	close_ends(e);
}

static void test_wrong_server(void)
{
	struct ends e;

	open_ends(&e, members("tls: terminate, server_name: other.example"));
	shake(&e);
	CU_ASSERT_NOT_EQUAL(e.results[ALG_CLIENT], 1); /* the client is not told that all is well */
	expect_failed(&e, "TLS with the server failed", "hostname mismatch");
}

static void test_wrong_client(void)
{
	struct tls_client_conf http = { .protocol = "http/1.1" };
	struct tls_context *context = NULL;
	struct ends e;
	char text[64];

	open_ends(&e, members("tls: terminate"));
	tls_free(e.tls[ALG_CLIENT]);
	CU_ASSERT_EQUAL_FATAL(tls_context_client(&http, text, sizeof(text), &context), 0);
	begin_tls(&e, ALG_CLIENT, context);
	shake(&e);
	CU_ASSERT_EQUAL(e.results[ALG_CLIENT], -EPROTO);
	CU_ASSERT_PTR_NOT_NULL(strstr(tls_error(e.tls[ALG_CLIENT]), "no application protocol"));
	expect_failed(&e, "TLS with the client failed", "no application protocol");
}

static void test_plain_peers(void)
{
	struct ends e = { .pair = { .client = -1, .server = -1 } };

	alg_rig_open(&rig, members("tls: terminate"), NULL);
	alg_rig_pair(&rig, &e.pair);
	alg_rig_through(&rig, &e.pair, 's', "tls");
	alg_rig_say(&rig, &e.pair, 's', "230 welcome"); /* no TLS at all */
	expect_failed(&e, "TLS with the server failed", "TLS with the server failed: wrong version number");

	e = (struct ends){ .pair = { .client = -1, .server = -1 } };
	alg_rig_open(&rig, members("tls: implicit"), NULL);
	alg_rig_pair(&rig, &e.pair);
	begin_tls(&e, ALG_SERVER, tls_rig_server(&files));
	shake(&e);
	alg_rig_say(&rig, &e.pair, 'c', "POST / HTTP/1.1");
	expect_failed(&e, "TLS with the client failed", "TLS with the client failed: http request");
}

static void test_silent_peer(void)
{
	struct ends e = { .pair = { .client = -1, .server = -1 } };

	alg_rig_open(&rig, members("tls: implicit"), NULL);
	alg_rig_pair(&rig, &e.pair);
	begin_tls(&e, ALG_SERVER, tls_rig_server(&files));
	shake(&e);
	alg_rig_pass(&rig, LIMIT_MS - 1000);
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "open");
	alg_rig_pass(&rig, 1000);
	expect_failed(&e, "TLS with the client failed", "Connection timed out");
}

/* Octets in clear around the agreement, however they are cut: none of them reaches the other side, and the session ends. */
static void inject(enum alg_side from, const char *text, size_t cut)
{
	struct ends e = { .pair = { .client = -1, .server = -1 } };
	int fd, other;
	char got[64];
	ssize_t n;

	alg_rig_open(&rig, members("tls: terminate"), NULL);
	alg_rig_pair(&rig, &e.pair);
	fd = from == ALG_CLIENT ? e.pair.client : e.pair.server;
	other = from == ALG_CLIENT ? e.pair.server : e.pair.client;
	CU_ASSERT_EQUAL(send(fd, text, cut, MSG_NOSIGNAL), (ssize_t)cut);
	alg_rig_turn(&rig);
	(void)send(fd, text + cut, strlen(text) - cut, MSG_NOSIGNAL);
	alg_rig_turn(&rig);
	if (from == ALG_CLIENT && strcmp(alg_rig_state(&rig), "open") == 0) { /* his turn comes behind the server's */
		begin_tls(&e, ALG_SERVER, tls_rig_server(&files));
		CU_ASSERT_EQUAL(recv(other, got, 4, MSG_WAITALL), 4);
		shake(&e);
	}
	if (strcmp(alg_rig_state(&rig), "open") == 0) /* could be the beginning of a record */
		alg_rig_pass(&rig, LIMIT_MS);
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "ended");
	n = e.tls[ALG_SERVER] != NULL ? tls_read(e.tls[ALG_SERVER], got, sizeof(got)) : recv(other, got, sizeof(got), MSG_DONTWAIT);
	for (ssize_t i = 0; i + 3 < n; i++)
		CU_ASSERT_NOT_EQUAL(memcmp(got + i, "evil", 4), 0);
	close_ends(&e);
}

static void test_injection(void)
{
	static const char *const texts[] = { "tls\nevil\n", "tls\nevil", ("tls\n\x16\x03\x01\x20" "evil") /* a record */ };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		for (enum alg_side from = ALG_CLIENT; from <= ALG_SERVER; from++)
			for (size_t cut = 1; cut < strlen(texts[i]); cut++)
				inject(from, texts[i], cut);
}

/* The begin of a line that the other side has sent before: not what comes behind it, but what it would become. */
static void test_injection_before(void)
{
	struct ends e = { .pair = { .client = -1, .server = -1 } };

	alg_rig_open(&rig, members("tls: terminate"), NULL);
	alg_rig_pair(&rig, &e.pair);
	CU_ASSERT_EQUAL(send(e.pair.client, "DELE ", 5, MSG_NOSIGNAL), 5);
	alg_rig_turn(&rig);
	alg_rig_say(&rig, &e.pair, 's', "tls");
	expect_failed(&e, "ended by the protocol's rules", "in clear");
}

static void test_truncation(void)
{
	struct ends e;

	open_ends(&e, members("tls: terminate"));
	shake(&e);
	CU_ASSERT_EQUAL_FATAL(e.results[ALG_CLIENT], 1);
	close(e.pair.server);
	e.pair.server = -1;
	alg_rig_turn(&rig);
	CU_ASSERT_STRING_EQUAL(alg_rig_cause(&rig), "connection to the server lost");
	CU_ASSERT_TRUE(has_step("TLS with the server: ended without close_notify"));
	CU_ASSERT_TRUE(receive(&e, ALG_CLIENT, (char[8]){ 0 }, 8) < 0);
	close_ends(&e);

	open_ends(&e, members("tls: terminate")); /* who has said goodbye may be rude */
	shake(&e);
	through(&e, ALG_SERVER, "ending\n");
	close(e.pair.server);
	e.pair.server = -1;
	alg_rig_turn(&rig);
	CU_ASSERT_STRING_EQUAL(alg_rig_cause(&rig), "normal");
	CU_ASSERT_EQUAL(receive(&e, ALG_CLIENT, (char[8]){ 0 }, 8), ERR_CLOSED);
	close_ends(&e);
}

/* Who has taken his leave may be gone altogether: what is still to be said to him fails at once. */
static void test_gone(void)
{
	struct ends e;

	open_ends(&e, members("tls: terminate"));
	shake(&e);
	CU_ASSERT_EQUAL_FATAL(e.results[ALG_CLIENT], 1);
	CU_ASSERT_EQUAL(tls_shut(e.tls[ALG_CLIENT]), 1);
	close(e.pair.client);
	e.pair.client = -1;
	CU_ASSERT_EQUAL(receive(&e, ALG_SERVER, (char[8]){ 0 }, 8), ERR_CLOSED);
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "open"); /* half */
	CU_ASSERT_EQUAL(tls_write(e.tls[ALG_SERVER], SPAN_LIT("200 bye\n")), 8); /* brings a reset */
	alg_rig_turn(&rig);
	(void)tls_write(e.tls[ALG_SERVER], SPAN_LIT("200 bye\n"));
	alg_rig_turn(&rig);
	CU_ASSERT_STRING_EQUAL(alg_rig_cause(&rig), "connection to the client lost");
	CU_ASSERT_TRUE(has_step("TLS with the client: "));
	close_ends(&e);
}

/* ---- sockets without room ------------------------------------------------------------------------------------------------------- */

static int socket_of_gateway(enum alg_side side)
{
	return LIST_ENTRY(rig.host->live.next, struct session, node)->legs[side].fd;
}

/* As if we had sent so much that the peer does not read: octets, which he has to throw away. */
static size_t fill(enum alg_side side)
{
	static const char octets[4096];
	size_t sum = 0;

	for (ssize_t n; (n = send(socket_of_gateway(side), octets, sizeof(octets), MSG_DONTWAIT)) > 0;)
		sum += (size_t)n;
	return sum;
}

static void throw_away(int fd, size_t left)
{
	static char octets[4096];

	for (int i = 0; i < TRIES_MAX && left > 0; i++) {
		ssize_t n = recv(fd, octets, left < sizeof(octets) ? left : sizeof(octets), MSG_DONTWAIT);

		if (n > 0)
			left -= (size_t)n;
		else
			usleep(1000);
	}
	CU_ASSERT_EQUAL(left, 0);
}

/* What we have to say in a handshake waits for room, and then goes on. */
static void test_blocked_handshake(void)
{
	struct ends e;
	size_t n;

	open_ends(&e, members("tls: terminate"));
	CU_ASSERT_EQUAL(tls_handshake(e.tls[ALG_CLIENT]), 0); /* has asked, but is not answered before the server is there */
	n = fill(ALG_CLIENT);
	for (int i = 0; i < TURNS_MAX && e.results[ALG_SERVER] == 0; i++) {
		e.results[ALG_SERVER] = tls_handshake(e.tls[ALG_SERVER]);
		alg_rig_turn(&rig);
	}
	CU_ASSERT_EQUAL(e.results[ALG_SERVER], 1);
	CU_ASSERT_TRUE(has_step("TLS with the server: TLSv1.3"));
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "open");
	throw_away(e.pair.client, n);
	shake(&e);
	CU_ASSERT_EQUAL_FATAL(e.results[ALG_CLIENT], 1);
	through(&e, ALG_SERVER, "220 hello\n");
	close_ends(&e);
}

/* close_notify waits for room; until then the connection is not half-closed either. */
static void test_blocked_end(void)
{
	struct ends e;
	size_t n;

	open_ends(&e, members("tls: terminate"));
	shake(&e);
	through(&e, ALG_SERVER, "220 hello\n");
	n = fill(ALG_CLIENT);
	CU_ASSERT_EQUAL(tls_shut(e.tls[ALG_SERVER]), 1);
	alg_rig_turn(&rig);
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "open");
	CU_ASSERT_TRUE(LIST_ENTRY(rig.host->live.next, struct session, node)->legs[ALG_CLIENT].is_shutting);
	throw_away(e.pair.client, n);
	CU_ASSERT_EQUAL(receive(&e, ALG_CLIENT, (char[8]){ 0 }, 8), ERR_CLOSED);
	CU_ASSERT_EQUAL(recv(e.pair.client, (char[8]){ 0 }, 8, MSG_DONTWAIT), 0); /* a FIN behind it */
	through(&e, ALG_CLIENT, "the other direction\n");
	CU_ASSERT_EQUAL(tls_shut(e.tls[ALG_CLIENT]), 1);
	alg_rig_turn(&rig);
	CU_ASSERT_STRING_EQUAL(alg_rig_cause(&rig), "closed");
	close_ends(&e);
}

/* And not for ever. */
static void test_end_that_stays_blocked(void)
{
	struct ends e;

	open_ends(&e, members("tls: terminate"));
	shake(&e);
	through(&e, ALG_SERVER, "220 hello\n");
	CU_ASSERT_TRUE(fill(ALG_CLIENT) > 0);
	CU_ASSERT_EQUAL(tls_shut(e.tls[ALG_SERVER]), 1);
	alg_rig_pass(&rig, HALF_CLOSED_MS - 2000);
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "open");
	alg_rig_pass(&rig, 4000);
	CU_ASSERT_STRING_EQUAL(alg_rig_cause(&rig), "closed by one side");
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 0);
	close_ends(&e);
}

static void test_out_of_memory(void)
{
	struct ends e = { .pair = { .client = -1, .server = -1 } };

	alg_rig_open(&rig, members("tls: terminate"), NULL);
	alg_rig_pair(&rig, &e.pair);
	is_out_of_memory = true;
	alg_rig_say(&rig, &e.pair, 's', "tls");
	is_out_of_memory = false;
	expect_failed(&e, "TLS with the server failed", "out of memory");
}

/* An end that an operator brings is no orderly one. */
static void test_end(void)
{
	struct arena *arena = arena_new(1 << 20);
	struct alg_session_view v;
	struct ends e;

	open_ends(&e, members("tls: terminate"));
	view(arena, &v);
	CU_ASSERT_EQUAL(alg_session_end(rig.host, span_of(v.summary.id)), 0); /* within the handshake */
	alg_rig_turn(&rig);
	CU_ASSERT_STRING_EQUAL(alg_rig_cause(&rig), "ended by an operator");
	close_ends(&e);
	arena_free(arena);
}

static void test_faulty_files(void)
{
	struct conf_errors errors = { 0 };
	const struct config *config = NULL;
	struct alg_setups *setups = NULL;
	char yaml[1024];

	snprintf(yaml, sizeof(yaml),
		 "database: /nowhere/p.db\nrealms:\n  a: { addresses: [127.0.0.1], media_ports: 22000-22999 }\n"
		 "algs:\n  toy: { protocol: ftp, realm: a, to: a, mode: explicit, ports: [2121], server: \"127.0.0.2:21\", tls: terminate, "
		 "certificate: %s, key: %s, server_verify: false }\n", files.certificate, files.other_key);
	CU_ASSERT_EQUAL_FATAL(config_parse(span_of(yaml), "t", &errors, &config), 0);
	CU_ASSERT_EQUAL(alg_setups_new(config, NULL, &errors, &setups), ERR_CONFIG);
	CU_ASSERT_EQUAL_FATAL(errors.n, 1);
	CU_ASSERT_STRING_EQUAL(errors.items[0].pointer, "/algs/toy");
	CU_ASSERT_PTR_NOT_NULL(strstr(errors.items[0].text, files.other_key));
	config_unref(config);
	conf_errors_free(&errors);
}

static const struct unit_test tests[] = {
	{ "TLS on both sides, as it is shown, to its orderly end", test_both_sides },
	{ "TLS on the client's side only", test_client_only },
	{ "TLS from the beginning", test_from_the_beginning },
	{ "records longer than there is room", test_long_records },
	{ "backpressure through TLS", test_backpressure },
	{ "when the certificate expires", test_expiry },
	{ "what the log says of the files", test_warnings },
	{ "a server with another name ends the session", test_wrong_server },
	{ "a client that speaks another protocol ends the session", test_wrong_client },
	{ "peers without TLS end the session", test_plain_peers },
	{ "a silent peer ends the session in time", test_silent_peer },
	{ "octets in clear behind the agreement end the session", test_injection },
	{ "octets in clear before it end the session", test_injection_before },
	{ "an end without close_notify is a loss, but after goodbye", test_truncation },
	{ "who is gone after his leave", test_gone },
	{ "a handshake towards a socket without room", test_blocked_handshake },
	{ "close_notify waits for room", test_blocked_end },
	{ "close_notify that finds no room ends the session in time", test_end_that_stays_blocked },
	{ "no memory for TLS", test_out_of_memory },
	{ "an operator ends a session within a handshake", test_end },
	{ "files that do not do are named", test_faulty_files },
};

int main(int argc, char **argv)
{
	int result;

	signal(SIGPIPE, SIG_IGN);
	tls_rig_open(&files);
	result = unit_main(argc, argv, "alg-tls", tests, sizeof(tests) / sizeof(tests[0]));
	tls_rig_close(&files);
	return result;
}
