/* Sessions that meet by a name: which octets go where, who ends with whom, and who may not meet. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "algs/session.h"
#include "tests/unit/alg_rig.h"

static struct alg_rig rig;
static struct alg_pair listener, speaker;

static bool is_over(int fd)
{
	char octet;
	ssize_t n = recv(fd, &octet, 1, MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno == ECONNRESET);
}

/* A channel of that client. */
static void pair_of(struct alg_pair *ret, unsigned host)
{
	*ret = (struct alg_pair){ .client = alg_rig_dial(&rig, host), .server = -1 };
	alg_rig_turn(&rig);
	ret->server = accept4(rig.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	CU_ASSERT_FATAL(ret->server >= 0);
	alg_rig_turn(&rig);
}

/* The speaker's own words to its client go to its server once it speaks: "joined" too. */
static void join(struct alg_pair *pair, const char *name)
{
	char line[80];

	snprintf(line, sizeof(line), "join %s", name);
	alg_rig_say(&rig, pair, 'c', line);
	snprintf(line, sizeof(line), "join %s|joined|", name);
	alg_rig_expect(&rig, pair, 's', line);
}

static void meet(void)
{
	pair_of(&listener, 5);
	pair_of(&speaker, 5);
	alg_rig_say(&rig, &listener, 'c', "meet k");
	alg_rig_expect(&rig, &listener, 'c', "met|");
	alg_rig_expect(&rig, &listener, 's', "meet k|");
	join(&speaker, "k");
	alg_rig_expect(&rig, &listener, 'c', "joined|");
}

static void part(void)
{
	alg_rig_unpair(&speaker);
	alg_rig_unpair(&listener);
	alg_rig_close(&rig);
}

static void test_octets(void)
{
	alg_rig_open(&rig, "", NULL);
	meet();
	alg_rig_through(&rig, &speaker, 'c', "what the client says"); /* through both flows */
	alg_rig_through(&rig, &listener, 's', "what the server says");
	alg_rig_say(&rig, &speaker, 'c', "drop this");
	alg_rig_expect(&rig, &speaker, 's', "");
	alg_rig_say(&rig, &listener, 'c', "nobody hears this");
	alg_rig_say(&rig, &speaker, 's', "nor this");
	alg_rig_expect(&rig, &listener, 's', "");
	alg_rig_expect(&rig, &listener, 'c', "");
	alg_rig_expect(&rig, &speaker, 'c', "");
	alg_rig_expect(&rig, &speaker, 's', "");
	alg_rig_through(&rig, &speaker, 'c', "still");
	part();
}

/* More than all buffers hold, to a server that does not read at first. */
static void test_much(void)
{
	static char line[400];
	size_t sent = 0, got = 0;
	ssize_t n;

	alg_rig_open(&rig, "", NULL);
	meet();
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	while ((n = send(speaker.client, line + sent % sizeof(line), sizeof(line) - sent % sizeof(line), MSG_DONTWAIT | MSG_NOSIGNAL)) > 0) {
		sent += (size_t)n;
		alg_rig_turn(&rig);
	}
	CU_ASSERT_TRUE(sent > 100 * sizeof(line));
	for (int quiet = 0; quiet < 3;) {
		char bytes[4096]; /* so that a turn has little to do */

		n = recv(speaker.server, bytes, sizeof(bytes), MSG_DONTWAIT);
		alg_rig_turn(&rig);
		got += n > 0 ? (size_t)n : 0;
		quiet = n > 0 ? 0 : quiet + 1;
	}
	CU_ASSERT_EQUAL(got, sent - sent % sizeof(line));
	part();
}

static void test_speaker_ends(void)
{
	struct alg_pair next;

	alg_rig_open(&rig, "", NULL);
	meet();
	alg_rig_say(&rig, &speaker, 'c', "the last");
	shutdown(speaker.client, SHUT_WR);
	alg_rig_expect(&rig, &speaker, 's', "the last|");
	CU_ASSERT_TRUE(is_over(speaker.server));
	shutdown(speaker.server, SHUT_WR);
	alg_rig_turn(&rig);
	CU_ASSERT_TRUE(is_over(speaker.client));
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 1);
	alg_rig_through(&rig, &listener, 's', "what the server says");
	pair_of(&next, 5);
	join(&next, "k");
	alg_rig_through(&rig, &next, 'c', "what the client says");
	alg_rig_unpair(&next);
	part();
}

static void test_taken_over(void)
{
	struct alg_pair next;

	alg_rig_open(&rig, "", NULL);
	meet();
	pair_of(&next, 5);
	alg_rig_say(&rig, &next, 'c', "join k"); /* not yet */
	alg_rig_expect(&rig, &next, 'c', "unmet -1|");
	alg_rig_expect(&rig, &next, 's', "join k|");
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 2);
	join(&next, "k");
	CU_ASSERT_TRUE(is_over(speaker.client));
	CU_ASSERT_TRUE(is_over(speaker.server));
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 2);
	alg_rig_through(&rig, &next, 'c', "what the client says");
	alg_rig_unpair(&next);
	part();
}

static void test_listener_ends(void)
{
	alg_rig_open(&rig, "", NULL);
	meet();
	shutdown(listener.client, SHUT_WR);
	alg_rig_turn(&rig);
	CU_ASSERT_TRUE(is_over(speaker.client));
	CU_ASSERT_TRUE(is_over(speaker.server));
	CU_ASSERT_TRUE(is_over(listener.server));
	shutdown(listener.server, SHUT_WR);
	alg_rig_turn(&rig);
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 0);
	part();

	alg_rig_open(&rig, "", NULL);
	meet();
	shutdown(listener.server, SHUT_WR);
	alg_rig_turn(&rig);
	CU_ASSERT_TRUE(is_over(speaker.client));
	CU_ASSERT_STRING_EQUAL(alg_rig_cause(&rig), "-"); /* of the newest that lives: the listener */
	part();
}

static void test_rules_end_both(void)
{
	alg_rig_open(&rig, "", NULL);
	meet();
	alg_rig_say(&rig, &speaker, 'c', "reset"); /* the speaker is the first to see it */
	CU_ASSERT_TRUE(is_over(speaker.client));
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 1);
	alg_rig_say(&rig, &listener, 's', "reset");
	CU_ASSERT_TRUE(is_over(listener.client));
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 0);
	part();
}

static void test_freed_together(void)
{
	alg_rig_open(&rig, "", NULL);
	meet();
	part();
}

static void test_who_may_not(void)
{
	struct alg_pair other;

	alg_rig_open(&rig, "", NULL);
	pair_of(&listener, 5);
	pair_of(&speaker, 5);
	pair_of(&other, 6);
	alg_rig_say(&rig, &listener, 'c', "meet k");
	alg_rig_expect(&rig, &listener, 'c', "met|");
	alg_rig_say(&rig, &listener, 'c', "meet l"); /* has a name */
	alg_rig_expect(&rig, &listener, 'c', "unmet -4|");
	alg_rig_say(&rig, &speaker, 'c', "meet k"); /* it is taken */
	alg_rig_expect(&rig, &speaker, 'c', "unmet -4|");
	alg_rig_say(&rig, &speaker, 'c', "join l");
	alg_rig_expect(&rig, &speaker, 'c', "unmet -4|");
	alg_rig_say(&rig, &listener, 'c', "join k"); /* itself */
	alg_rig_expect(&rig, &listener, 'c', "unmet -4|");
	alg_rig_say(&rig, &other, 'c', "join k"); /* another client */
	alg_rig_expect(&rig, &other, 'c', "unmet -4|");
	alg_rig_say(&rig, &other, 'c', "meet k"); /* which has names of its own */
	alg_rig_expect(&rig, &other, 'c', "met|");
	alg_rig_unpair(&other);
	part();
}

static void test_limits(void)
{
	struct alg_pair pairs[ENGINE_NAMES_PER_CLIENT + 1], other;
	char line[160];

	alg_rig_open(&rig, "max_sessions_per_client: 100", NULL);
	for (unsigned i = 0; i <= ENGINE_NAMES_PER_CLIENT; i++) {
		pair_of(&pairs[i], 5);
		snprintf(line, sizeof(line), "meet name-%u", i);
		alg_rig_say(&rig, &pairs[i], 'c', line);
		alg_rig_expect(&rig, &pairs[i], 'c', i < ENGINE_NAMES_PER_CLIENT ? "met|" : "unmet -1|");
	}
	pair_of(&other, 6);
	snprintf(line, sizeof(line), "meet %0*d", ALG_NAME_MAX + 1, 0);
	alg_rig_say(&rig, &other, 'c', line);
	alg_rig_expect(&rig, &other, 'c', "unmet -1|");
	snprintf(line, sizeof(line), "meet %0*d", ALG_NAME_MAX, 0);
	alg_rig_say(&rig, &other, 'c', line);
	alg_rig_expect(&rig, &other, 'c', "met|");
	alg_rig_unpair(&pairs[0]); /* makes room for one */
	alg_rig_say(&rig, &pairs[ENGINE_NAMES_PER_CLIENT], 'c', "meet name-0");
	alg_rig_expect(&rig, &pairs[ENGINE_NAMES_PER_CLIENT], 'c', "met|");
	for (unsigned i = 0; i <= ENGINE_NAMES_PER_CLIENT; i++)
		alg_rig_unpair(&pairs[i]);
	alg_rig_unpair(&other);
	alg_rig_turn(&rig);
	CU_ASSERT_EQUAL(hash_table_count(rig.host->by_name), 0);
	alg_rig_close(&rig);
}

static void test_table_is_full(void)
{
	alg_rig_open(&rig, "", NULL);
	hash_table_free(rig.host->by_name);
	rig.host->by_name = hash_table_new(1);
	pair_of(&listener, 5);
	pair_of(&speaker, 6);
	alg_rig_say(&rig, &listener, 'c', "meet k");
	alg_rig_expect(&rig, &listener, 'c', "met|");
	alg_rig_say(&rig, &speaker, 'c', "meet l");
	alg_rig_expect(&rig, &speaker, 'c', "unmet -1|");
	part();
}

static void test_idle(void)
{
	alg_rig_open(&rig, "idle: 60s", NULL);
	meet();
	for (int i = 0; i < 4; i++) {
		alg_rig_pass(&rig, 40000);
		alg_rig_through(&rig, &listener, 's', "frames"); /* keep both alive */
	}
	alg_rig_through(&rig, &speaker, 'c', "hello");
	alg_rig_pass(&rig, 62000);
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 0);
	part();
}

static void test_views(void)
{
	struct arena *arena = arena_new(1 << 20);
	const struct alg_session_filter filter = { .limit = 10 };
	struct alg_session_summary *list;
	bool has_more;

	alg_rig_open(&rig, "", NULL);
	meet();
	CU_ASSERT_EQUAL_FATAL(alg_sessions(rig.host, &filter, arena, &list, &has_more), 2);
	CU_ASSERT_PTR_NOT_NULL_FATAL(list[0].partner);
	CU_ASSERT_PTR_NOT_NULL_FATAL(list[1].partner);
	CU_ASSERT_STRING_EQUAL(list[0].partner, list[1].id);
	CU_ASSERT_STRING_EQUAL(list[1].partner, list[0].id);
	part();
	arena_free(arena);
}

static const struct unit_test tests[] = {
	{ "which octets go where", test_octets },
	{ "much, to a server that does not read", test_much },
	{ "the speaker ends, and the next one comes", test_speaker_ends },
	{ "the next one comes before", test_taken_over },
	{ "the listener ends, and the speaker with it", test_listener_ends },
	{ "the module ends one", test_rules_end_both },
	{ "freed together", test_freed_together },
	{ "who may not meet", test_who_may_not },
	{ "as many names as the limits", test_limits },
	{ "the table of names is full", test_table_is_full },
	{ "neither is idle while one is not", test_idle },
	{ "each shows the other", test_views },
};
UNIT_MAIN("alg_meet", tests)
