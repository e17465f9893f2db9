/* Control channels when memory runs out: at whichever allocation it does, the session ends or goes on without, and nothing stays
 * behind (the sanitized build looks for leaks; the counts are looked at here). */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "algs/session.h"
#include "tests/unit/alg_rig.h"

enum { FIRST_MAX = 400 };

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);

static long countdown = -1; /* allocations that still succeed; negative: all do */
static bool has_failed;

static bool may_fail(void)
{
	if (countdown < 0)
		return false;
	if (countdown == 0) {
		has_failed = true;
		return true; /* and all that follow */
	}
	countdown--;
	return false;
}

void *__wrap_malloc(size_t size)
{
	return may_fail() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return may_fail() ? NULL : __real_calloc(n, size);
}

static struct alg_rig rig;

static void say(int fd, const char *line)
{
	(void)send(fd, line, strlen(line), MSG_NOSIGNAL);
	alg_rig_turn(&rig);
}

/* Where the newest session's relay listens; 0: nowhere. */
static uint16_t hole_port(void)
{
	struct session *s = list_is_empty(&rig.host->live) ? NULL : LIST_ENTRY(rig.host->live.prev, struct session, node);

	return s == NULL || list_is_empty(&s->holes) ? 0 : LIST_ENTRY(s->holes.prev, struct hole, node)->listen.port;
}

/* A session with data both by the relay and by the kernel, and its end. */
static void live(int listener)
{
	char line[64];
	int client = alg_rig_dial(&rig, 5), server;

	alg_rig_turn(&rig);
	server = accept4(rig.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	alg_rig_turn(&rig);
	snprintf(line, sizeof(line), "hole s %u\n", tcp_leg_local(listener).port);
	for (unsigned i = 1; server >= 0 && i <= 2; i++) {
		memset(rig.host->can_kernel, i == 2, sizeof(rig.host->can_kernel));
		say(server, line);
		say(server, i == 1 ? "arm 1\n" : "arm 2\n");
		fake_pinholes_settle(rig.pinholes);
		say(client, "data down /file\n");
		if (i == 1 && hole_port() != 0)
			close(alg_rig_connect(&rig, 5, 1, hole_port()));
		if (i == 2 && fake_pinhole_at(rig.pinholes, 0) != NULL)
			fake_pinhole_fire(fake_pinhole_at(rig.pinholes, 0), PINHOLE_EV_BOUND);
		say(server, i == 1 ? "transfer 1 ok\n" : "transfer 2 ok\n");
		say(client, "drop this\n");
	}
	if (server >= 0)
		close(server);
	close(client);
	alg_rig_pass(&rig, 100000);
}

static void test_every_allocation(void)
{
	int listener = alg_rig_socket(2, 0, true);

	for (long n = 0; n < FIRST_MAX; n++) {
		alg_rig_open(&rig, "", NULL);
		has_failed = false;
		countdown = n;
		live(listener);
		countdown = -1;
		alg_rig_pass(&rig, 100000);
		CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 0);
		fake_pinholes_settle(rig.pinholes);
		CU_ASSERT_EQUAL(fake_pinholes_count(rig.pinholes), 0);
		{
			struct tcp_ports_stats stats;

			tcp_ports_stats(rig.host->pools[0].ports, &stats);
			CU_ASSERT_EQUAL(stats.used, 0);
			CU_ASSERT_EQUAL(rig.host->n_holes, 0);
			CU_ASSERT_EQUAL(engine_alg(rig.host, "toy")->sessions, 0);
		}
		alg_rig_close(&rig);
		if (!has_failed)
			break;
	}
	CU_ASSERT_FALSE(has_failed); /* the last round had all it wanted */
	close(listener);
}

static const struct unit_test tests[] = {
	{ "whichever allocation fails", test_every_allocation },
};
UNIT_MAIN("alg_faults", tests)
