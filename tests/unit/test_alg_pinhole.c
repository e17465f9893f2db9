/* Pinholes of control channels: what is refused, relayed data and the order it keeps with messages, the kernel's doors (played by the
 * test), what profiles limit, records. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "algs/tcp_leg.h"
#include "core/err.h"
#include "tests/unit/alg_rig.h"

static struct alg_rig rig;
static struct alg_pair pair;
static int listener; /* of the side that listens for data */

static void begin(const char *alg, const char *profile, bool has_kernel)
{
	alg_rig_open(&rig, alg, profile);
	memset(rig.host->can_kernel, has_kernel, sizeof(rig.host->can_kernel));
	alg_rig_pair(&rig, &pair);
	listener = alg_rig_socket(2, 0, true);
}

static void end(void)
{
	alg_rig_unpair(&pair);
	close(listener);
	alg_rig_turn(&rig);
	fake_pinholes_settle(rig.pinholes);
	alg_rig_close(&rig);
}

/* Reserves a hole to the listener (or, from the client, to a port of it) and says which. */
static void reserve(char side, uint16_t port, const char *answer)
{
	char line[40], expected[80];

	snprintf(line, sizeof(line), "hole %c %u", side, port);
	snprintf(expected, sizeof(expected), "%s%s|", side == 's' ? line : answer, side == 's' ? "" : "");
	if (side == 's')
		snprintf(expected, sizeof(expected), "%s|%s|", answer, line);
	alg_rig_say(&rig, &pair, side, line);
	if (side == 's') {
		alg_rig_expect(&rig, &pair, 'c', expected);
	} else {
		alg_rig_expect(&rig, &pair, 'c', expected);
		snprintf(expected, sizeof(expected), "%s|", line);
		alg_rig_expect(&rig, &pair, 's', expected);
	}
}

static uint16_t listener_port(void)
{
	return tcp_leg_local(listener).port;
}

static uint16_t public_port(const char *line, const char *ip)
{
	char text[256] = "", prefix[40];
	size_t len;

	alg_rig_say(&rig, &pair, 'c', line);
	alg_rig_turn(&rig);
	recv(pair.client, text, sizeof(text) - 1, MSG_DONTWAIT);
	snprintf(prefix, sizeof(prefix), "public %s:", ip);
	len = strlen(prefix);
	CU_ASSERT_EQUAL(strncmp(text, prefix, len), 0);
	alg_rig_expect(&rig, &pair, 's', line[7] == '1' ? (line[9] == 'c' ? "public 1 c|" : "public 1 s|") : "public 2 c|");
	return (uint16_t)strtoul(text + (strlen(text) > len ? len : 0), NULL, 10);
}

static int take(void)
{
	int fd;

	alg_rig_turn(&rig);
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	alg_rig_turn(&rig);
	return fd;
}

static bool is_reset(int fd)
{
	char octet;

	return recv(fd, &octet, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET;
}

static void give_up(int fd)
{
	if (fd >= 0)
		close(fd);
	alg_rig_turn(&rig);
}

/* ---- what is refused ---------------------------------------------------------------------------------------------------------- */

static void test_refused(void)
{
	begin("", NULL, false);
	reserve('s', 1023, "refused -2");
	reserve('s', 5060, "refused -2");
	reserve('s', 5070, "hole 1");
	reserve('s', 5071, "hole 2");
	reserve('s', 5072, "hole 3");
	reserve('s', 5073, "refused -1"); /* the class has three */
	alg_rig_through(&rig, &pair, 'c', "free 2");
	reserve('s', 5073, "hole 4");
	end();
}

static void test_expiry(void)
{
	int fd;
	uint16_t port;

	begin("", NULL, false);
	reserve('s', listener_port(), "hole 1");
	port = public_port("public 1 c", "127.0.0.1");
	alg_rig_pass(&rig, 6000); /* reserved for 5 s */
	alg_rig_expect(&rig, &pair, 'c', "expired 1|");
	reserve('s', listener_port(), "hole 2");
	alg_rig_through(&rig, &pair, 'c', "arm 2");
	alg_rig_pass(&rig, 8000); /* armed for 10 s */
	alg_rig_expect(&rig, &pair, 'c', "");
	alg_rig_pass(&rig, 4000);
	alg_rig_expect(&rig, &pair, 'c', "expired 2|");
	fd = alg_rig_connect(&rig, 5, 1, port);
	CU_ASSERT_EQUAL(take(), -1);
	give_up(fd);
	end();
}

/* ---- relayed data ------------------------------------------------------------------------------------------------------------- */

static void test_relay(void)
{
	struct data { int client, server; } data;
	uint16_t port;

	begin("", NULL, false);
	reserve('s', listener_port(), "hole 1");
	port = public_port("public 1 c", "127.0.0.1");
	CU_ASSERT_EQUAL(public_port("public 1 s", "127.0.0.2"), listener_port());
	data.client = alg_rig_connect(&rig, 5, 1, port); /* not armed yet */
	CU_ASSERT_EQUAL(take(), -1);
	give_up(data.client);
	alg_rig_through(&rig, &pair, 's', "arm 1");
	data.client = alg_rig_connect(&rig, 6, 1, port); /* somebody else */
	CU_ASSERT_TRUE(is_reset(data.client));
	give_up(data.client);
	data.client = alg_rig_connect(&rig, 5, 1, port);
	data.server = take();
	CU_ASSERT_FATAL(data.server >= 0);
	alg_rig_expect(&rig, &pair, 'c', "opened 1|");
	CU_ASSERT_EQUAL(send(data.server, "0123456789", 10, MSG_NOSIGNAL), 10);
	alg_rig_say(&rig, &pair, 's', "wait 1"); /* "226" */
	alg_rig_expect(&rig, &pair, 'c', "");
	alg_rig_say(&rig, &pair, 's', "transfer 1 ok");
	give_up(data.server);
	give_up(data.client);
	alg_rig_pass(&rig, 1000);
	alg_rig_expect(&rig, &pair, 'c', "wait 1|transfer 1 ok|ended 1 0 10|");
	CU_ASSERT_STRING_EQUAL(rig.stored, "transfer verb=GET path=/x user=ann direction=d bytes=10 code=226 ok=1\n");
	end();
}

static void test_server_dials(void)
{
	int server, client;
	uint16_t port;

	begin("", NULL, false);
	close(listener);
	listener = alg_rig_socket(5, 0, true); /* the client's */
	reserve('c', listener_port(), "hole 1");
	port = public_port("public 1 s", "127.0.0.3");
	server = alg_rig_connect(&rig, 2, 3, port); /* before it says yes: it may wait, and reaches nobody */
	CU_ASSERT_EQUAL(take(), -1);
	alg_rig_expect(&rig, &pair, 'c', "");
	alg_rig_say(&rig, &pair, 's', "arm 1");
	client = take();
	CU_ASSERT_FATAL(client >= 0);
	alg_rig_expect(&rig, &pair, 'c', "arm 1|opened 1|");
	give_up(client);
	give_up(server);
	alg_rig_pass(&rig, 1000);
	alg_rig_expect(&rig, &pair, 'c', "ended 1 0 0|");
	reserve('c', listener_port(), "hole 2"); /* and when it says no it is sent away */
	{
		char text[256] = "";

		alg_rig_say(&rig, &pair, 'c', "public 2 s");
		recv(pair.client, text, sizeof(text) - 1, MSG_DONTWAIT);
		port = (uint16_t)strtoul(text + 17, NULL, 10);
		alg_rig_expect(&rig, &pair, 's', "public 2 s|");
	}
	server = alg_rig_connect(&rig, 2, 3, port);
	alg_rig_through(&rig, &pair, 's', "free 2");
	CU_ASSERT_TRUE(is_reset(server));
	CU_ASSERT_EQUAL(take(), -1);
	give_up(server);
	end();
}

static void test_freed_while_it_flows(void)
{
	int client, server;
	uint16_t port;

	begin("", NULL, false);
	reserve('s', listener_port(), "hole 1");
	port = public_port("public 1 c", "127.0.0.1");
	alg_rig_through(&rig, &pair, 's', "arm 1");
	client = alg_rig_connect(&rig, 5, 1, port);
	server = take();
	alg_rig_expect(&rig, &pair, 'c', "opened 1|");
	alg_rig_through(&rig, &pair, 's', "free 1"); /* cut */
	alg_rig_turn(&rig);
	CU_ASSERT_EQUAL(recv(client, &(char){ 0 }, 1, MSG_DONTWAIT), 0);
	give_up(client);
	give_up(server);
	alg_rig_pass(&rig, 2000);
	alg_rig_expect(&rig, &pair, 'c', ""); /* it wanted to know nothing any more */
	end();
}

/* ---- the kernel's doors -------------------------------------------------------------------------------------------------------- */

static struct pinhole *door(void)
{
	struct pinhole *pinhole = fake_pinhole_at(rig.pinholes, 0);

	CU_ASSERT_PTR_NOT_NULL_FATAL(pinhole);
	return pinhole;
}

static void arm_in_kernel(void)
{
	reserve('s', listener_port(), "hole 1");
	alg_rig_say(&rig, &pair, 's', "arm 1");
	alg_rig_expect(&rig, &pair, 'c', ""); /* the message waits for the kernel */
	fake_pinhole_set_path(door(), PINHOLE_NFT, "played");
}

static void test_kernel(void)
{
	const struct pinhole_spec *spec;
	uint16_t port;

	begin("", NULL, true);
	arm_in_kernel();
	spec = pinhole_spec(door());
	CU_ASSERT_EQUAL(spec->proto, IPPROTO_TCP);
	CU_ASSERT_EQUAL(spec->listen.ip[3], 1);
	CU_ASSERT_EQUAL(spec->from.ip[3], 3);
	CU_ASSERT_EQUAL(spec->source.ip[3], 5);
	CU_ASSERT_EQUAL(spec->source.port, 0);
	CU_ASSERT_EQUAL(spec->target.port, listener_port());
	CU_ASSERT_EQUAL(spec->realm_in, 0);
	CU_ASSERT_EQUAL(spec->realm_out, 1);
	CU_ASSERT_TRUE(spec->is_one_shot && !spec->is_through && !spec->is_as_source && !spec->is_to_self);
	port = spec->listen.port;
	fake_pinhole_fire(door(), PINHOLE_EV_ARMED);
	alg_rig_expect(&rig, &pair, 'c', "arm 1|");
	CU_ASSERT_EQUAL(public_port("public 1 c", "127.0.0.1"), port);
	fake_pinhole_fire(door(), PINHOLE_EV_BOUND);
	alg_rig_expect(&rig, &pair, 'c', "opened 1|");
	alg_rig_through(&rig, &pair, 's', "transfer 1 ok");
	CU_ASSERT_EQUAL(strncmp(rig.stored, "data put", 8), 0);
	fake_pinhole_set_stats(door(), &(struct slot_stats){ .packets = 10, .bytes = 128, .packets_back = 20, .bytes_back = 5248 });
	fake_pinhole_fire(door(), PINHOLE_EV_EXPIRED);
	alg_rig_expect(&rig, &pair, 'c', "ended 1 0 5000|"); /* without time stamps: 12 octets a packet, and 8 of the first */
	CU_ASSERT_STRING_EQUAL(rig.stored, "data put\ndata put\ntransfer verb=GET path=/x user=ann direction=d bytes=5000 code=226 ok=1\ndata delete\n");
	end();
}

static void test_kernel_refuses(void)
{
	int client, server;
	uint16_t port;

	begin("", NULL, true);
	arm_in_kernel();
	fake_pinhole_fire(door(), PINHOLE_EV_REFUSED);
	alg_rig_expect(&rig, &pair, 'c', "arm 1|"); /* the relay has it, at the same port */
	port = public_port("public 1 c", "127.0.0.1");
	client = alg_rig_connect(&rig, 5, 1, port);
	server = take();
	CU_ASSERT(server >= 0);
	alg_rig_expect(&rig, &pair, 'c', "opened 1|");
	give_up(client);
	give_up(server);
	end();
}

static void test_kernel_says_nothing(void)
{
	begin("", NULL, true);
	arm_in_kernel();
	alg_rig_pass(&rig, 2000);
	alg_rig_expect(&rig, &pair, 'c', "");
	alg_rig_pass(&rig, 3000);
	alg_rig_expect(&rig, &pair, 'c', "arm 1|");
	CU_ASSERT_TRUE(fake_pinhole_is_disowned(door()));
	end();
}

static void test_no_engine(void)
{
	begin("", NULL, true);
	fake_pinholes_fail(rig.pinholes, 1, ERR_LIMIT);
	reserve('s', listener_port(), "hole 1");
	alg_rig_through(&rig, &pair, 's', "arm 1"); /* at once: relayed */
	end();

	begin("data: relay", NULL, true);
	reserve('s', listener_port(), "hole 1");
	alg_rig_through(&rig, &pair, 's', "arm 1");
	CU_ASSERT_EQUAL(fake_pinholes_opened(rig.pinholes), 0);
	end();
}

/* Short data may be over before the kernel's counts were ever looked at, and the module frees what it thinks was not used. */
static void test_kernel_unseen(void)
{
	begin("", NULL, true);
	arm_in_kernel();
	fake_pinhole_fire(door(), PINHOLE_EV_ARMED);
	alg_rig_expect(&rig, &pair, 'c', "arm 1|");
	alg_rig_through(&rig, &pair, 's', "transfer 1 ok");
	alg_rig_through(&rig, &pair, 's', "free 1");
	CU_ASSERT_EQUAL(fake_pinhole_is_disowned(door()), false); /* not cut */
	CU_ASSERT_STRING_EQUAL(rig.stored, "data put\n");
	fake_pinhole_set_stats(door(), &(struct slot_stats){ .packets = 3, .bytes = 44, .packets_back = 3, .bytes_back = 144 });
	fake_pinhole_fire(door(), PINHOLE_EV_EXPIRED);
	alg_rig_pass(&rig, 1000);
	alg_rig_expect(&rig, &pair, 'c', "");
	CU_ASSERT_PTR_NOT_NULL(strstr(rig.stored, "transfer verb=GET path=/x user=ann direction=d bytes=100 code=226 ok=1\n"));
	end();

	begin("", NULL, true);
	arm_in_kernel();
	fake_pinhole_fire(door(), PINHOLE_EV_ARMED);
	alg_rig_expect(&rig, &pair, 'c', "arm 1|");
	alg_rig_through(&rig, &pair, 's', "free 1"); /* nothing was transferred: closed */
	CU_ASSERT_EQUAL(fake_pinhole_is_disowned(door()), true);
	end();
}

static void test_kernel_lost(void)
{
	begin("", NULL, true);
	arm_in_kernel();
	fake_pinhole_fire(door(), PINHOLE_EV_ARMED);
	alg_rig_expect(&rig, &pair, 'c', "arm 1|");
	fake_pinhole_fire(door(), PINHOLE_EV_LOST);
	alg_rig_expect(&rig, &pair, 'c', "expired 1|");
	end();
}

static void begin_kernel_data(void)
{
	begin("", NULL, true);
	alg_rig_through(&rig, &pair, 'c', "data down /x");
	arm_in_kernel();
	fake_pinhole_fire(door(), PINHOLE_EV_ARMED);
	alg_rig_expect(&rig, &pair, 'c', "arm 1|");
}

static void passed(uint64_t octets)
{
	fake_pinhole_set_stats(door(), &(struct slot_stats){ .packets = 10, .bytes = 128, .packets_back = 20, .bytes_back = octets + 248 });
}

/* "226" goes when the kernel has seen the server's last octet pass, and the record is made then; the connection is left alone. */
static void test_kernel_end(void)
{
	begin_kernel_data();
	CU_ASSERT_FALSE(fake_pinhole_looked(door(), PINHOLE_END_NONE)); /* nobody cares yet */
	alg_rig_say(&rig, &pair, 's', "wait 1");
	alg_rig_say(&rig, &pair, 's', "transfer 1 ok");
	alg_rig_expect(&rig, &pair, 'c', "");
	passed(4000);
	CU_ASSERT_TRUE(fake_pinhole_looked(door(), PINHOLE_END_NONE));
	alg_rig_pass(&rig, 30);
	CU_ASSERT_TRUE(fake_pinhole_looked(door(), PINHOLE_END_SOURCE)); /* the client: it sends nothing anyway */
	alg_rig_expect(&rig, &pair, 'c', ""); /* what is said of its beginning stands behind the message that waits */
	CU_ASSERT_PTR_NULL(strstr(rig.stored, "transfer verb"));
	alg_rig_pass(&rig, 60);
	passed(5000);
	CU_ASSERT_TRUE(fake_pinhole_looked(door(), PINHOLE_END_TARGET));
	alg_rig_expect(&rig, &pair, 'c', "wait 1|transfer 1 ok|opened 1|ended 1 0 5000|");
	CU_ASSERT_PTR_NOT_NULL(strstr(rig.stored, "bytes=5000 code=226"));
	CU_ASSERT_FALSE(fake_pinhole_is_disowned(door())); /* the client has not closed yet */
	alg_rig_pass(&rig, 5000);
	CU_ASSERT_FALSE(fake_pinhole_looked(door(), PINHOLE_END_TARGET)); /* nobody cares any more */
	CU_ASSERT_EQUAL(rig.host->n_holes, 1);
	fake_pinhole_fire(door(), PINHOLE_EV_EXPIRED);
	CU_ASSERT_EQUAL(rig.host->n_holes, 0);
	alg_rig_expect(&rig, &pair, 'c', "");
	end();
}

/* The direction of the data says whose end it is. */
static void test_kernel_end_up(void)
{
	begin("", NULL, true);
	alg_rig_through(&rig, &pair, 'c', "data up /x");
	arm_in_kernel();
	fake_pinhole_fire(door(), PINHOLE_EV_ARMED);
	alg_rig_expect(&rig, &pair, 'c', "arm 1|");
	alg_rig_say(&rig, &pair, 's', "wait 1");
	CU_ASSERT_TRUE(fake_pinhole_looked(door(), PINHOLE_END_TARGET));
	alg_rig_expect(&rig, &pair, 'c', "");
	alg_rig_pass(&rig, 10);
	CU_ASSERT_TRUE(fake_pinhole_looked(door(), PINHOLE_END_SOURCE));
	alg_rig_expect(&rig, &pair, 'c', "wait 1|ended 1 0 0|");
	end();
}

/* A server that keeps the connection is believed in the end, but not while octets move. */
static void test_kernel_no_end(void)
{
	begin_kernel_data();
	alg_rig_say(&rig, &pair, 's', "wait 1");
	for (unsigned i = 1; i <= 5; i++) {
		passed(1000 * i);
		(void)fake_pinhole_looked(door(), PINHOLE_END_NONE);
		alg_rig_pass(&rig, 2000);
	}
	alg_rig_expect(&rig, &pair, 'c', "");
	for (unsigned i = 0; i < 20; i++) {
		(void)fake_pinhole_looked(door(), i % 2 ? PINHOLE_END_NONE : PINHOLE_END_UNKNOWN);
		alg_rig_pass(&rig, 200);
	}
	alg_rig_expect(&rig, &pair, 'c', "wait 1|opened 1|ended 1 0 5000|");
	CU_ASSERT_FALSE(fake_pinhole_is_disowned(door()));
	alg_rig_pass(&rig, 70000); /* but not for ever */
	CU_ASSERT_TRUE(fake_pinhole_is_disowned(door()));
	end();
}

/* A helper that does not answer holds nothing up for good. */
static void test_kernel_no_answer(void)
{
	begin_kernel_data();
	alg_rig_say(&rig, &pair, 's', "wait 1");
	alg_rig_pass(&rig, 1000);
	alg_rig_expect(&rig, &pair, 'c', "");
	alg_rig_pass(&rig, 3000);
	alg_rig_expect(&rig, &pair, 'c', "wait 1|ended 1 0 0|");
	end();
}

static void test_kernel_nobody_came(void)
{
	begin_kernel_data();
	alg_rig_say(&rig, &pair, 's', "transfer 1 bad"); /* "425": the next transfer may use it */
	CU_ASSERT_TRUE(fake_pinhole_looked(door(), PINHOLE_END_NOBODY));
	alg_rig_expect(&rig, &pair, 'c', "transfer 1 bad|");
	CU_ASSERT_PTR_NULL(strstr(rig.stored, "transfer verb"));
	alg_rig_say(&rig, &pair, 's', "transfer 1 ok");
	CU_ASSERT_TRUE(fake_pinhole_looked(door(), PINHOLE_END_NOBODY));
	alg_rig_expect(&rig, &pair, 'c', "transfer 1 ok|ended 1 0 0|");
	end();
}

/* Connections that linger take no place, neither of the class nor where another one is to be. */
static void test_kernel_lingering(void)
{
	begin("", NULL, true);
	for (unsigned i = 1; i <= 5; i++) { /* the class has three */
		struct pinhole *pinhole;
		char line[40];

		snprintf(line, sizeof(line), "hole %u", i);
		reserve('s', (uint16_t)(5070 + (i == 5 ? 1 : i)), line);
		snprintf(line, sizeof(line), "arm %u", i);
		alg_rig_say(&rig, &pair, 's', line);
		pinhole = fake_pinhole_at(rig.pinholes, i - 1);
		CU_ASSERT_PTR_NOT_NULL_FATAL(pinhole);
		fake_pinhole_fire(pinhole, PINHOLE_EV_ARMED);
		snprintf(line, sizeof(line), "wait %u", i);
		alg_rig_say(&rig, &pair, 's', line);
		CU_ASSERT_TRUE(fake_pinhole_looked(pinhole, PINHOLE_END_BOTH));
		snprintf(line, sizeof(line), "arm %u|wait %u|ended %u 0 0|", i, i, i);
		alg_rig_expect(&rig, &pair, 'c', line);
		alg_rig_through(&rig, &pair, 'c', i == 3 ? "free 3" : "data down /x"); /* freeing it cuts nothing */
		CU_ASSERT_FALSE(fake_pinhole_is_disowned(pinhole));
	}
	CU_ASSERT_EQUAL(rig.host->n_holes, 5);
	end();
}

static void test_session_ends_with_kernel_data(void)
{
	begin("", NULL, true);
	arm_in_kernel();
	fake_pinhole_fire(door(), PINHOLE_EV_ARMED);
	fake_pinhole_fire(door(), PINHOLE_EV_BOUND);
	alg_rig_expect(&rig, &pair, 'c', "arm 1|opened 1|");
	alg_rig_say(&rig, &pair, 'c', "ending");
	alg_rig_expect(&rig, &pair, 's', "ending|");
	alg_rig_unpair(&pair);
	for (unsigned i = 1; i < 4; i++) { /* the kernel's counts keep it */
		alg_rig_pass(&rig, 40000);
		CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "draining");
		fake_pinhole_set_stats(door(), &(struct slot_stats){ .packets = i, .bytes = 1000 * i });
	}
	fake_pinhole_fire(door(), PINHOLE_EV_EXPIRED);
	alg_rig_pass(&rig, 1000);
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "ended");
	CU_ASSERT_PTR_NOT_NULL(strstr(rig.stored, "data delete")); /* nobody said what it was */
	end();
}

/* ---- profiles ------------------------------------------------------------------------------------------------------------------ */

static void test_profile(void)
{
	begin("", "      - { name: no-exe, deny: { verb: [PUT], target: \"[.]exe$\" }, code: 553 }\n", true);
	alg_rig_say(&rig, &pair, 'c', "data up /a.exe");
	alg_rig_expect(&rig, &pair, 'c', "denied 553|");
	alg_rig_expect(&rig, &pair, 's', "");
	alg_rig_through(&rig, &pair, 'c', "data up /a.txt");
	arm_in_kernel(); /* nothing has to be looked at */
	fake_pinhole_fire(door(), PINHOLE_EV_ARMED);
	alg_rig_expect(&rig, &pair, 'c', "arm 1|");
	end();
}

static void test_limit(void)
{
	int client, server;
	uint16_t port;

	begin("", "      - { name: small, allow: { verb: [PUT] }, max_bytes: 8 }\n", true);
	reserve('s', listener_port(), "hole 1");
	port = public_port("public 1 c", "127.0.0.1");
	alg_rig_through(&rig, &pair, 's', "arm 1"); /* relayed: the profile has to see it */
	client = alg_rig_connect(&rig, 5, 1, port);
	server = take();
	CU_ASSERT_EQUAL(send(client, "01234567", 8, MSG_NOSIGNAL), 8);
	alg_rig_turn(&rig);
	CU_ASSERT_EQUAL(recv(server, &(char[9]){ 0 }, 9, MSG_DONTWAIT), -1); /* it is not known yet what it is */
	alg_rig_say(&rig, &pair, 'c', "data up /x");
	alg_rig_expect(&rig, &pair, 's', "data up /x|");
	alg_rig_pass(&rig, 1000);
	CU_ASSERT_EQUAL(recv(server, &(char[9]){ 0 }, 9, MSG_DONTWAIT), 8);
	alg_rig_expect(&rig, &pair, 'c', "opened 1|");
	CU_ASSERT_EQUAL(send(client, "8", 1, MSG_NOSIGNAL), 1);
	alg_rig_expect(&rig, &pair, 'c', "limit 1|ended 1 8 0|");
	CU_ASSERT_TRUE(is_reset(server));
	CU_ASSERT_FALSE(is_reset(client)); /* it may read why first */
	alg_rig_pass(&rig, 4000);
	CU_ASSERT_TRUE(is_reset(client));
	give_up(client);
	give_up(server);
	end();
}

static void test_magic(void)
{
	int client, server;
	uint16_t port;

	begin("", "      - { name: no-exe, deny: { verb: [PUT], magic: \"4d5a\" } }\n", true);
	for (unsigned i = 1; i <= 2; i++) {
		char line[40], arm[16];

		snprintf(line, sizeof(line), "hole %u", i);
		reserve('s', listener_port(), line);
		snprintf(line, sizeof(line), "public %u c", i);
		port = public_port(line, "127.0.0.1");
		snprintf(arm, sizeof(arm), "arm %u", i);
		alg_rig_through(&rig, &pair, 's', arm);
		client = alg_rig_connect(&rig, 5, 1, port);
		server = take();
		alg_rig_say(&rig, &pair, 'c', "data up /x");
		alg_rig_expect(&rig, &pair, 's', "data up /x|");
		CU_ASSERT_EQUAL(send(client, i == 1 ? "MZ0123456789abcdef" : "PK0123456789abcdef", 18, MSG_NOSIGNAL), 18);
		alg_rig_pass(&rig, 1000);
		if (i == 1) {
			alg_rig_expect(&rig, &pair, 'c', "opened 1|limit 1|ended 1 0 0|");
			CU_ASSERT_TRUE(is_reset(server));
		} else {
			alg_rig_expect(&rig, &pair, 'c', "opened 2|");
			CU_ASSERT_EQUAL(recv(server, &(char[20]){ 0 }, 20, MSG_DONTWAIT), 18);
		}
		give_up(client);
		give_up(server);
	}
	end();
}

static void test_per_minute(void)
{
	begin("", "      - { allow: { verb: [GET] }, max_per_minute: 2 }\n", false);
	alg_rig_through(&rig, &pair, 'c', "data down /1");
	alg_rig_through(&rig, &pair, 'c', "data down /2");
	alg_rig_say(&rig, &pair, 'c', "data down /3");
	alg_rig_expect(&rig, &pair, 'c', "denied 0|");
	alg_rig_pass(&rig, 61000);
	alg_rig_through(&rig, &pair, 'c', "data down /4");
	end();
}

/* ---- no port, no way ----------------------------------------------------------------------------------------------------------- */

static void test_ports_come_back(void)
{
	struct tcp_ports_stats stats;

	begin("", NULL, false);
	for (int i = 0; i < 20; i++) {
		char line[40];

		snprintf(line, sizeof(line), "hole %d", i + 1);
		reserve('s', listener_port(), line);
		snprintf(line, sizeof(line), "free %d", i + 1);
		alg_rig_through(&rig, &pair, 'c', line);
	}
	reserve('s', listener_port(), "hole 21");
	tcp_ports_stats(rig.host->pools[0].ports, &stats);
	CU_ASSERT_EQUAL(stats.used, 1);
	CU_ASSERT_EQUAL(stats.quarantined, 20);
	alg_rig_unpair(&pair);
	alg_rig_pass(&rig, 6000);
	tcp_ports_stats(rig.host->pools[0].ports, &stats);
	CU_ASSERT_EQUAL(stats.used, 0);
	end();
}

static const struct unit_test tests[] = {
	{ "what is refused", test_refused },
	{ "nobody came in time", test_expiry },
	{ "relayed data, and the message that waits for it", test_relay },
	{ "a server that dials in before it says yes", test_server_dials },
	{ "freed while data flows", test_freed_while_it_flows },
	{ "the kernel first, the message second", test_kernel },
	{ "the kernel refuses", test_kernel_refuses },
	{ "the kernel says nothing", test_kernel_says_nothing },
	{ "without the kernel", test_no_engine },
	{ "kernel data that was over before it was seen", test_kernel_unseen },
	{ "the kernel lost it", test_kernel_lost },
	{ "the end of kernel data", test_kernel_end },
	{ "the end of kernel data from the client", test_kernel_end_up },
	{ "kernel data without an end", test_kernel_no_end },
	{ "kernel data of which the helper says nothing", test_kernel_no_answer },
	{ "kernel data that nobody came for", test_kernel_nobody_came },
	{ "kernel data that lingers", test_kernel_lingering },
	{ "kernel data outlives its control channel", test_session_ends_with_kernel_data },
	{ "commands a profile denies", test_profile },
	{ "data a profile limits", test_limit },
	{ "data a profile looks at", test_magic },
	{ "so many a minute", test_per_minute },
	{ "ports come back", test_ports_come_back },
};
UNIT_MAIN("alg_pinhole", tests)
