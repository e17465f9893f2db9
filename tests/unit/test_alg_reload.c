/* A configuration of ALGs that follows another one, with sessions up: who listens, who goes on, by which rules, what is counted, and
 * what a change that cannot be made leaves behind. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "algs/listener.h"
#include "algs/session.h"
#include "algs/tcp_leg.h"
#include "core/conf.h"
#include "core/err.h"
#include "tests/unit/alg_rig.h"

enum { TEXT = 32768, PORT = 27100 /* of ALGs beside the rig's own */ };

static struct alg_rig rig;
static const struct config *started;
static struct conf_errors errors;

/* ---- changes ------------------------------------------------------------------------------------------------------------------ */

/* Lines of `algs`; "toy" stands for the rig's own. */
static const char *toy(const char *more)
{
	static char text[256];
	char server[ADDR_TEXT_MAX];

	snprintf(text, sizeof(text), "  toy: { protocol: %s, realm: a, to: b, mode: explicit, ports: [%u], server: \"%s\"%s }\n", rig.protocol,
		 rig.port, addr_text(&rig.server, server), more);
	return text;
}

static const char *other(const char *name, unsigned port)
{
	static char texts[2][256]; /* both may be wanted at a time */
	static unsigned turn;
	char server[ADDR_TEXT_MAX], *text = texts[turn++ % 2];

	snprintf(text, sizeof(texts[0]), "  %s: { protocol: ftp, realm: a, to: b, mode: explicit, ports: [%u], server: \"%s\" }\n", name, port,
		 addr_text(&rig.server, server));
	return text;
}

static int reload(const char *algs, const char *profiles)
{
	static char text[TEXT];
	struct alg_setups *setups = NULL;
	const struct config *next = NULL;
	struct config_before before;
	int err;

	if (started == NULL)
		started = config_ref(rig.config);
	before = (struct config_before){ started, rig.config };
	conf_errors_free(&errors);
	snprintf(text, sizeof(text),
		 "database: /nowhere/p.db\napi: { socket: /nowhere/api.sock }\n"
		 "realms:\n  a: { addresses: [127.0.0.1], media_ports: 22000-22999 }\n  b: { addresses: [127.0.0.3], media_ports: 22000-22999 }\n"
		 "%s%s%s%s", algs[0] != '\0' ? "algs:\n" : "", algs, profiles[0] != '\0' ? "profiles:\n" : "", profiles);
	err = config_parse_next(span_of(text), "rig", &before, &errors, &next);
	if (err == 0)
		err = alg_setups_new(next, rig.loop, &errors, &setups);
	if (err == 0)
		err = alg_host_reload(rig.host, setups, &errors);
	if (err == 0) {
		config_unref(rig.config);
		rig.config = next;
	} else {
		config_unref(next);
	}
	return err;
}

static void finish(void)
{
	alg_rig_close(&rig);
	config_unref(started);
	started = NULL;
	conf_errors_free(&errors);
}

static int dial(uint16_t port)
{
	return alg_rig_connect(&rig, 5, 1, port);
}

static bool is_connected(int fd)
{
	struct addr at = tcp_leg_remote(fd);

	return addr_is_set(&at);
}

static unsigned count(struct list *list)
{
	unsigned n = 0;

	LIST_EACH(list, node)
		n++;
	return n;
}

/* ---- listeners ---------------------------------------------------------------------------------------------------------------- */

static void test_added(void)
{
	char both[600];
	int fd;

	alg_rig_open(&rig, "", NULL);
	fd = dial(PORT);
	CU_ASSERT_FALSE(is_connected(fd));
	close(fd);
	snprintf(both, sizeof(both), "%s%s", toy(""), other("new", PORT));
	CU_ASSERT_EQUAL(reload(both, ""), 0);
	fd = dial(PORT);
	CU_ASSERT_TRUE(is_connected(fd));
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 1);
	close(fd);
	fd = alg_rig_dial(&rig, 6); /* the old one as before */
	alg_rig_turn(&rig);
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 2);
	close(fd);
	finish();
}

static void test_removed_with_session(void)
{
	struct alg_pair pair;
	int fd;

	alg_rig_open(&rig, "", NULL);
	alg_rig_pair(&rig, &pair);
	alg_rig_through(&rig, &pair, 's', "220 hello");
	CU_ASSERT_EQUAL(reload("", ""), 0);
	fd = dial(rig.port);
	CU_ASSERT_FALSE(is_connected(fd));
	close(fd);
	CU_ASSERT_EQUAL(count(&rig.host->listeners), 1); /* for its session */
	CU_ASSERT_EQUAL(count(&rig.host->algs), 1);
	alg_rig_through(&rig, &pair, 'c', "USER ann");
	alg_rig_through(&rig, &pair, 's', "230 in");
	CU_ASSERT_STRING_EQUAL(alg_rig_state(&rig), "open");
	{
		struct arena *arena = arena_new(1 << 16);
		struct alg_listener_view *views;

		CU_ASSERT_EQUAL(alg_listeners(rig.host, arena, &views), 0);
		arena_free(arena);
	}
	alg_rig_unpair(&pair);
	alg_rig_pass(&rig, 2000);
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 0);
	CU_ASSERT_EQUAL(count(&rig.host->listeners), 0);
	CU_ASSERT_EQUAL(count(&rig.host->algs), 0);
	CU_ASSERT_STRING_EQUAL(alg_rig_cause(&rig), "closed");
	finish();
}

static void test_freed_after_removal(void)
{
	struct alg_pair pair;

	alg_rig_open(&rig, "", NULL);
	alg_rig_pair(&rig, &pair);
	CU_ASSERT_EQUAL(reload("", ""), 0);
	alg_rig_unpair(&pair);
	finish(); /* with a session whose listener and ALG are gone */
}

/* Who waits in the queue of a socket is taken by whoever is configured there now. */
static void test_socket_is_handed_over(void)
{
	struct listener *l;
	int fd, own;

	alg_rig_open(&rig, "", NULL);
	l = LIST_ENTRY(rig.host->listeners.next, struct listener, node);
	own = l->fd;
	fd = alg_rig_dial(&rig, 5); /* the loop has not turned */
	CU_ASSERT_EQUAL(reload(other("renamed", rig.port), ""), 0);
	CU_ASSERT_PTR_EQUAL(LIST_ENTRY(rig.host->listeners.next, struct listener, node), l);
	CU_ASSERT_EQUAL(l->fd, own);
	CU_ASSERT_STRING_EQUAL(l->alg->name, "renamed");
	CU_ASSERT_EQUAL(count(&rig.host->algs), 1);
	alg_rig_turn(&rig);
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 1);
	close(fd);
	finish();
}

static void test_port_is_taken(void)
{
	struct alg_pair pair;
	char both[600];
	int taken = alg_rig_socket(1, PORT, true), fd;

	alg_rig_open(&rig, "", NULL);
	alg_rig_pair(&rig, &pair);
	snprintf(both, sizeof(both), "%s%s", other("free", PORT + 1), other("new", PORT)); /* and "toy" would go */
	CU_ASSERT_EQUAL(reload(both, ""), -EADDRINUSE);
	CU_ASSERT_EQUAL_FATAL(errors.n, 1);
	CU_ASSERT_STRING_EQUAL(errors.items[0].pointer, "/algs/new/ports");
	CU_ASSERT_PTR_NOT_NULL(strstr(errors.items[0].text, "127.0.0.1:27100"));
	CU_ASSERT_EQUAL(count(&rig.host->listeners), 1);
	CU_ASSERT_EQUAL(count(&rig.host->algs), 1);
	fd = dial(PORT + 1);
	CU_ASSERT_FALSE(is_connected(fd));
	close(fd);
	alg_rig_through(&rig, &pair, 'c', "USER ann");
	close(taken);
	CU_ASSERT_EQUAL(reload(both, ""), 0);
	CU_ASSERT_EQUAL(count(&rig.host->algs), 3); /* the session's, too */
	alg_rig_through(&rig, &pair, 'c', "PWD");
	alg_rig_unpair(&pair);
	finish();
}

static void test_own_server(void)
{
	char text[400];

	alg_rig_open(&rig, "", NULL);
	snprintf(text, sizeof(text), "%s  b: { protocol: ftp, realm: a, to: b, mode: explicit, ports: [%d], server: \"127.0.0.1:%d\" }\n",
		 toy(""), PORT, PORT);
	CU_ASSERT_EQUAL(reload(text, ""), ERR_CONFIG);
	CU_ASSERT_EQUAL(count(&rig.host->listeners), 1);
	finish();
}

static void test_not_while_draining(void)
{
	alg_rig_open(&rig, "", NULL);
	alg_host_drain(rig.host, NULL, NULL);
	CU_ASSERT_EQUAL(reload(other("new", PORT), ""), ERR_STATE);
	CU_ASSERT_EQUAL(errors.n, 1);
	finish();
}

/* ---- rules and limits --------------------------------------------------------------------------------------------------------- */

#define PROFILE "  p:\n    protocol: ftp\n    default: allow\n    rules:\n"

static void test_rules_of_the_beginning(void)
{
	struct alg_pair old, new;

	alg_rig_open(&rig, "", "    - { name: none-up, deny: { verb: PUT }, code: 501 }\n");
	alg_rig_pair(&rig, &old);
	alg_rig_say(&rig, &old, 'c', "data up /x");
	alg_rig_expect(&rig, &old, 'c', "denied 501|");
	CU_ASSERT_EQUAL(reload(toy(", profile: p"), PROFILE "    - { name: none-down, deny: { verb: GET }, code: 502 }\n"), 0);
	alg_rig_pair(&rig, &new);
	alg_rig_say(&rig, &old, 'c', "data up /x");
	alg_rig_expect(&rig, &old, 'c', "denied 501|");
	alg_rig_say(&rig, &new, 'c', "data down /x");
	alg_rig_expect(&rig, &new, 'c', "denied 502|");
	alg_rig_through(&rig, &old, 'c', "data down /x");
	alg_rig_through(&rig, &new, 'c', "data up /x");
	alg_rig_unpair(&old);
	alg_rig_unpair(&new);
	finish();
}

/* Sessions of before count against the limits of now. */
static void test_limits(void)
{
	struct alg_pair pairs[3];
	int fd;

	alg_rig_open(&rig, "max_sessions: 2", NULL);
	alg_rig_pair(&rig, &pairs[0]);
	alg_rig_pair(&rig, &pairs[1]);
	CU_ASSERT_EQUAL(reload(toy(", max_sessions: 3"), ""), 0);
	alg_rig_pair(&rig, &pairs[2]);
	fd = dial(rig.port);
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 3);
	close(fd);
	CU_ASSERT_EQUAL(reload(toy(", max_sessions: 1"), ""), 0);
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 3);
	alg_rig_unpair(&pairs[0]);
	alg_rig_unpair(&pairs[1]);
	alg_rig_pass(&rig, 2000);
	fd = dial(rig.port);
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 1);
	close(fd);
	CU_ASSERT_EQUAL(reload("", ""), 0); /* and it comes back while its session is up */
	CU_ASSERT_EQUAL(reload(toy(", max_sessions: 1"), ""), 0);
	fd = dial(rig.port);
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 1);
	close(fd);
	alg_rig_unpair(&pairs[2]);
	alg_rig_pass(&rig, 2000);
	alg_rig_pair(&rig, &pairs[2]);
	alg_rig_unpair(&pairs[2]);
	finish();
}

static bool is_let_in(void)
{
	uint64_t before = rig.host->stats.sessions_total;
	int fd = dial(rig.port);

	close(fd);
	alg_rig_turn(&rig);
	return rig.host->stats.sessions_total > before;
}

/* A reload is no way round a rate that stays as it is. */
static void test_rates(void)
{
	alg_rig_open(&rig, "sessions_per_s: 2", NULL);
	CU_ASSERT_TRUE(is_let_in());
	CU_ASSERT_TRUE(is_let_in());
	CU_ASSERT_EQUAL(reload(toy(", sessions_per_s: 2, max_sessions: 9"), ""), 0);
	CU_ASSERT_FALSE(is_let_in());
	CU_ASSERT_EQUAL(reload(toy(", sessions_per_s: 5, sessions_per_s_per_client: 1"), ""), 0);
	CU_ASSERT_TRUE(is_let_in());
	CU_ASSERT_FALSE(is_let_in());
	CU_ASSERT_EQUAL(reload(toy(", sessions_per_s: 5, sessions_per_s_per_client: 1, max_sessions: 9"), ""), 0);
	CU_ASSERT_FALSE(is_let_in());
	CU_ASSERT_TRUE(reload(toy(", sessions_per_s_per_client: 3, tls: terminate"), "") < 0); /* what was planned is given up */
	CU_ASSERT_FALSE(is_let_in());
	CU_ASSERT_EQUAL(reload(toy(""), ""), 0);
	for (unsigned i = 0; i < 10; i++)
		CU_ASSERT_TRUE(is_let_in());
	finish();
}

/* As many ALGs as there may be, then others in their places. */
static void test_as_many_as_there_may_be(void)
{
	static char text[TEXT];

	alg_rig_open(&rig, "", NULL);
	for (unsigned round = 0; round < 3; round++) {
		size_t len = 0;

		for (unsigned i = 0; i < CONFIG_ALGS_MAX; i++) {
			char name[32];

			snprintf(name, sizeof(name), "alg-%u-%u", round, i);
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s", other(name, PORT + (i + round * 20) % 90));
		}
		CU_ASSERT_EQUAL(reload(text, ""), 0);
		CU_ASSERT_EQUAL(count(&rig.host->listeners), CONFIG_ALGS_MAX);
		CU_ASSERT_EQUAL(count(&rig.host->algs), CONFIG_ALGS_MAX);
		snprintf(text + len, sizeof(text) - len, "%s", other("one-more", PORT + 95));
		CU_ASSERT_EQUAL(reload(text, ""), ERR_CONFIG);
		CU_ASSERT_EQUAL(count(&rig.host->listeners), CONFIG_ALGS_MAX);
	}
	finish();
}

/* ---- datagrams ---------------------------------------------------------------------------------------------------------------- */

static void test_datagrams(void)
{
	struct addr to = { .family = AF_INET, .ip = { 127, 0, 0, 1 } };
	static const char request[] = "\0\1file\0octet";
	struct sockaddr_storage sa;
	socklen_t len;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	alg_rig_open_tftp(&rig, "", NULL);
	to.port = rig.port;
	len = addr_to_sockaddr(&to, &sa);
	CU_ASSERT_EQUAL(sendto(fd, request, sizeof(request), 0, (struct sockaddr *)&sa, len), sizeof(request));
	alg_rig_turn(&rig);
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 1);
	CU_ASSERT_EQUAL(reload("", ""), 0);
	CU_ASSERT_EQUAL(count(&rig.host->listeners), 1);
	CU_ASSERT_EQUAL(reload(toy(""), ""), 0); /* a socket of its own, as that one is closed */
	CU_ASSERT_EQUAL(count(&rig.host->listeners), 2);
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 1);
	alg_rig_pass(&rig, 60000);
	alg_rig_pass(&rig, 60000);
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 0);
	CU_ASSERT_EQUAL(count(&rig.host->listeners), 1);
	close(fd);
	finish();
}

/* The same place for another protocol: TCP and UDP have ports of their own. */
static void test_other_protocol(void)
{
	struct alg_pair pair;
	char text[256], server[ADDR_TEXT_MAX];

	alg_rig_open(&rig, "", NULL);
	alg_rig_pair(&rig, &pair);
	snprintf(text, sizeof(text), "  toy: { protocol: tftp, realm: a, to: b, mode: explicit, ports: [%u], server: \"%s\" }\n", rig.port,
		 addr_text(&rig.server, server));
	CU_ASSERT_EQUAL(reload(text, ""), 0);
	CU_ASSERT_EQUAL(count(&rig.host->listeners), 2); /* the old one for its session */
	CU_ASSERT_EQUAL(count(&rig.host->algs), 1);
	alg_rig_through(&rig, &pair, 'c', "USER ann");
	alg_rig_unpair(&pair);
	alg_rig_pass(&rig, 2000);
	CU_ASSERT_EQUAL(count(&rig.host->listeners), 1);
	finish();
}

static const struct unit_test tests[] = {
	{ "an ALG that is new listens", test_added },
	{ "one that is gone does not, and its session goes on", test_removed_with_session },
	{ "the end with such a session", test_freed_after_removal },
	{ "a socket is handed over with its queue", test_socket_is_handed_over },
	{ "a port that others have: nothing changes", test_port_is_taken },
	{ "a server that is the gateway itself", test_own_server },
	{ "not while draining", test_not_while_draining },
	{ "a session keeps the rules that it began with", test_rules_of_the_beginning },
	{ "limits count what is up", test_limits },
	{ "rates of new sessions", test_rates },
	{ "as many ALGs as there may be", test_as_many_as_there_may_be },
	{ "datagrams", test_datagrams },
	{ "another protocol in the same place", test_other_protocol },
};
UNIT_MAIN("alg_reload", tests)
