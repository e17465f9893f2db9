/* Port pools: pairs, quarantine, exhaustion, overlaps that are refused. */
#include "media-relay/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/err.h"
#include "tests/unit/unit.h"

enum { QUARANTINE = 10000, NOW = 50000 };

/* A loopback address of this process alone, so that test programs may run side by side. */
static struct addr own_ip(void)
{
	uint32_t pid = (uint32_t)getpid();

	return (struct addr){ .family = AF_INET, .ip = { 127, (uint8_t)(1 + (pid >> 14)), (uint8_t)(pid >> 6),
							 (uint8_t)((pid & 63) << 2) } };
}

static struct ports_conf conf_of(uint16_t min, uint16_t max, unsigned idle_max)
{
	struct ports_conf conf = { .port_min = min, .port_max = max, .quarantine_ms = QUARANTINE, .dscp = 46,
				   .idle_max = idle_max };

	conf.address = own_ip();
	return conf;
}

static struct ports *pool_of(uint16_t min, uint16_t max, unsigned idle_max)
{
	struct ports_conf conf = conf_of(min, max, idle_max);
	struct ports *ports = NULL;

	CU_ASSERT_EQUAL_FATAL(ports_new(&conf, &ports), 0);
	return ports;
}

static struct ports_stats stats_of(const struct ports *ports)
{
	struct ports_stats stats;

	ports_stats(ports, &stats);
	return stats;
}

static uint16_t bound_port(int fd)
{
	struct sockaddr_in sa = { 0 };
	socklen_t len = sizeof(sa);

	CU_ASSERT_EQUAL(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	return ntohs(sa.sin_port);
}

static void shut(struct ports_pair *pair)
{
	for (int i = 0; i < 2; i++) {
		close(pair->fds[i]);
		pair->fds[i] = -1;
	}
}

static void test_all_pairs_once(void)
{
	struct ports *ports = pool_of(21001, 21041, 0); /* odd ends: 21002..21041 */
	struct ports_pair pairs[20], extra;
	bool seen[20] = { false };

	CU_ASSERT_EQUAL(stats_of(ports).total, 20);
	for (int i = 0; i < 20; i++) {
		CU_ASSERT_EQUAL_FATAL(ports_take(ports, NOW, &pairs[i]), 0);
		CU_ASSERT_EQUAL(pairs[i].rtp_port % 2, 0);
		CU_ASSERT_FATAL(pairs[i].rtp_port >= 21002 && pairs[i].rtp_port <= 21040);
		CU_ASSERT(!seen[(pairs[i].rtp_port - 21002) / 2]);
		seen[(pairs[i].rtp_port - 21002) / 2] = true;
		CU_ASSERT_EQUAL(bound_port(pairs[i].fds[0]), pairs[i].rtp_port);
		CU_ASSERT_EQUAL(bound_port(pairs[i].fds[1]), pairs[i].rtp_port + 1);
		CU_ASSERT(!pairs[i].is_recycled);
	}
	CU_ASSERT_EQUAL(ports_take(ports, NOW, &extra), ERR_LIMIT);
	CU_ASSERT_EQUAL(stats_of(ports).used, 20);
	for (int i = 0; i < 20; i++) {
		shut(&pairs[i]);
		ports_give(ports, &pairs[i], NOW);
	}
	CU_ASSERT_EQUAL(stats_of(ports).used, 0);
	CU_ASSERT_EQUAL(stats_of(ports).quarantined, 20);
	ports_free(ports);
}

static void test_quarantine(void)
{
	struct ports *ports = pool_of(21000, 21001, 0);
	struct ports_pair pair, again;

	CU_ASSERT_EQUAL_FATAL(ports_take(ports, NOW, &pair), 0);
	shut(&pair);
	ports_give(ports, &pair, NOW);
	CU_ASSERT_EQUAL(ports_take(ports, NOW, &again), ERR_LIMIT);
	CU_ASSERT_EQUAL(ports_take(ports, NOW + QUARANTINE - 1, &again), ERR_LIMIT);
	CU_ASSERT_EQUAL_FATAL(ports_take(ports, NOW + QUARANTINE, &again), 0);
	CU_ASSERT_EQUAL(again.rtp_port, 21000);
	shut(&again);
	ports_give(ports, &again, NOW + QUARANTINE);
	ports_tick(ports, NOW + QUARANTINE);
	CU_ASSERT_EQUAL(stats_of(ports).quarantined, 1);
	ports_tick(ports, NOW + 2 * QUARANTINE);
	CU_ASSERT_EQUAL(stats_of(ports).quarantined, 0);
	ports_free(ports);
}

static void test_sockets_are_reused(void)
{
	struct ports *ports = pool_of(21000, 21009, 2);
	struct ports_pair pairs[3], again;

	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL_FATAL(ports_take(ports, NOW, &pairs[i]), 0);
	for (int i = 0; i < 3; i++) { /* the third finds no room and is closed */
		CU_ASSERT_EQUAL(ports_may_keep(ports), i < 2);
		ports_give(ports, &pairs[i], NOW);
	}
	CU_ASSERT_EQUAL(stats_of(ports).idle_open, 2);
	for (int i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL_FATAL(ports_take(ports, NOW + QUARANTINE, &again), 0);
		CU_ASSERT(again.is_recycled);
		CU_ASSERT(again.rtp_port == pairs[0].rtp_port || again.rtp_port == pairs[1].rtp_port);
		CU_ASSERT_EQUAL(bound_port(again.fds[1]), again.rtp_port + 1);
		shut(&again);
		ports_give(ports, &again, NOW + QUARANTINE);
	}
	CU_ASSERT_EQUAL(stats_of(ports).idle_open, 0);
	CU_ASSERT_EQUAL_FATAL(ports_take(ports, NOW + QUARANTINE, &again), 0);
	CU_ASSERT(!again.is_recycled);
	ports_give(ports, &again, NOW + QUARANTINE);
	ports_free(ports); /* closes what is idle; the leak test of test_media would see it */
}

/* What a port swallowed at rest is gone when it is taken, and what comes from then on is not. */
static void test_reused_sockets_are_empty(void)
{
	struct ports *ports = pool_of(21000, 21001, 1);
	struct addr to[2] = { own_ip(), own_ip() };
	struct sockaddr_storage sa;
	struct ports_pair pair;
	const int tiny = 1;
	int fd = socket(AF_INET, SOCK_DGRAM, 0), size;
	socklen_t len;
	char bytes[8];

	CU_ASSERT_EQUAL_FATAL(ports_take(ports, NOW, &pair), 0);
	setsockopt(pair.fds[0], SOL_SOCKET, SO_RCVBUF, &tiny, sizeof(tiny));
	ports_give(ports, &pair, NOW);
	for (int i = 0; i < 2; i++) {
		to[i].port = (uint16_t)(21000 + i);
		len = addr_to_sockaddr(&to[i], &sa);
		CU_ASSERT_EQUAL(sendto(fd, "late", 4, 0, (struct sockaddr *)&sa, len), 4);
	}
	CU_ASSERT_EQUAL_FATAL(ports_take(ports, NOW + QUARANTINE, &pair), 0);
	CU_ASSERT(pair.is_recycled);
	len = sizeof(size);
	CU_ASSERT_EQUAL(getsockopt(pair.fds[0], SOL_SOCKET, SO_RCVBUF, &size, &len), 0);
	CU_ASSERT_EQUAL(size, 2 * PORTS_RTP_BUFFER);
	for (int i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(recv(pair.fds[i], bytes, sizeof(bytes), MSG_DONTWAIT), -1);
		len = addr_to_sockaddr(&to[i], &sa);
		CU_ASSERT_EQUAL(sendto(fd, "new", 3, 0, (struct sockaddr *)&sa, len), 3);
		CU_ASSERT_EQUAL(recv(pair.fds[i], bytes, sizeof(bytes), MSG_DONTWAIT), 3);
	}
	ports_give(ports, &pair, NOW + QUARANTINE);
	ports_free(ports);
	close(fd);
}

static int occupy(uint16_t port)
{
	struct addr addr = own_ip();
	struct sockaddr_storage sa;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	addr.port = port;
	CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&sa, addr_to_sockaddr(&addr, &sa)), 0);
	return fd;
}

static void test_foreign_socket_is_skipped(void)
{
	struct ports *ports = pool_of(21000, 21005, 0);
	int rtp = occupy(21000), rtcp = occupy(21003);
	struct ports_pair pair, none;

	CU_ASSERT_EQUAL_FATAL(ports_take(ports, NOW, &pair), 0);
	CU_ASSERT_EQUAL(pair.rtp_port, 21004);
	CU_ASSERT_EQUAL(ports_take(ports, NOW, &none), ERR_LIMIT);
	CU_ASSERT_EQUAL(stats_of(ports).bind_failures, 2);
	CU_ASSERT_EQUAL(stats_of(ports).quarantined, 2);
	close(rtp);
	close(rtcp);
	CU_ASSERT_EQUAL_FATAL(ports_take(ports, NOW + QUARANTINE, &none), 0);
	shut(&none);
	shut(&pair);
	ports_give(ports, &none, NOW + QUARANTINE);
	ports_give(ports, &pair, NOW + QUARANTINE);
	ports_free(ports);
}

static void test_bad_pools(void)
{
	struct ports_conf conf = conf_of(21001, 21002, 0);
	struct ports *ports = NULL;

	CU_ASSERT_EQUAL(ports_new(&conf, &ports), ERR_CONFIG);
	conf.port_min = 0;
	CU_ASSERT_EQUAL(ports_new(&conf, &ports), ERR_CONFIG);
	conf = conf_of(21000, 21001, 0);
	CU_ASSERT_EQUAL_FATAL(addr_parse_ip(SPAN_LIT("192.0.2.1"), &conf.address), 0);
	CU_ASSERT_EQUAL(ports_new(&conf, &ports), -EADDRNOTAVAIL);
	CU_ASSERT_PTR_NULL(ports);
	ports_free(NULL);
}

static void test_top_of_range(void)
{
	struct ports *ports = pool_of(65534, 65535, 0);
	struct ports_pair pair;

	CU_ASSERT_EQUAL(stats_of(ports).total, 1);
	CU_ASSERT_EQUAL_FATAL(ports_take(ports, NOW, &pair), 0);
	CU_ASSERT_EQUAL(pair.rtp_port, 65534);
	ports_give(ports, &pair, NOW);
	ports_free(ports);
}

static const struct {
	const char *range, *reserved;
	uint16_t min, max, collision;
	int err;
} ephemeral_rows[] = {
	{ "32768\t60999\n", "\n", 20000, 29999, 0, 0 },
	{ "32768\t60999\n", "\n", 30000, 39999, 32768, 0 },
	{ "32768\t60999\n", "\n", 60999, 65535, 60999, 0 },
	{ "32768\t60999\n", "\n", 61000, 65535, 0, 0 },
	{ "1024 65535", "20000-29999\n", 20000, 29999, 0, 0 },
	{ "1024 65535", "8080,20000-29998,30000\n", 20000, 30000, 29999, 0 },
	{ "1024 65535", "20000-20010,20011-20020", 20000, 20021, 20021, 0 },
	{ "1024", "", 1, 2, 0, ERR_PARSE },
	{ "", "", 1, 2, 0, ERR_PARSE },
	{ "60999 32768", "", 1, 2, 0, ERR_PARSE },
	{ "1024 65536", "", 1, 2, 0, ERR_PARSE },
	{ "1024 65535", "x", 1, 2, 0, ERR_PARSE },
	{ "1024 65535", "5-4", 1, 2, 0, ERR_PARSE },
};

static void test_ephemeral(void)
{
	struct ports_ephemeral *e = calloc(1, sizeof(*e));

	CU_ASSERT_PTR_NOT_NULL_FATAL(e);
	for (size_t i = 0; i < sizeof(ephemeral_rows) / sizeof(ephemeral_rows[0]); i++) {
		int err = ports_ephemeral_parse(span_of(ephemeral_rows[i].range), span_of(ephemeral_rows[i].reserved), e);

		CU_ASSERT_EQUAL(err, ephemeral_rows[i].err);
		if (err == 0)
			CU_ASSERT_EQUAL(ports_ephemeral_collision(e, ephemeral_rows[i].min, ephemeral_rows[i].max),
					ephemeral_rows[i].collision);
	}
	CU_ASSERT_EQUAL(ports_ephemeral_read(e), 0);
	CU_ASSERT(e->min > 0 && e->min <= e->max);
	free(e);
}

/* Three pairs may be open; idle sockets give way to pairs in use, and none is opened beyond. */
static void test_budget(void)
{
	struct ports_budget budget = { .max = 6 };
	struct ports_conf conf = conf_of(22000, 22039, 20);
	struct ports_pair pairs[4];
	struct ports *ports;

	conf.budget = &budget;
	CU_ASSERT_EQUAL_FATAL(ports_new(&conf, &ports), 0);
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL_FATAL(ports_take(ports, NOW, &pairs[i]), 0);
	CU_ASSERT_EQUAL(budget.open, 6);
	CU_ASSERT_EQUAL(ports_take(ports, NOW, &pairs[3]), -EMFILE);
	ports_give(ports, &pairs[0], NOW);
	CU_ASSERT_EQUAL(stats_of(ports).idle_open, 1);
	CU_ASSERT_EQUAL_FATAL(ports_take(ports, NOW, &pairs[0]), 0); /* another pair, with the room of the idle one */
	CU_ASSERT_EQUAL(stats_of(ports).idle_open, 0);
	CU_ASSERT_EQUAL(budget.open, 6);
	shut(&pairs[1]);
	ports_give(ports, &pairs[1], NOW);
	CU_ASSERT_EQUAL(budget.open, 4);
	ports_give(ports, &pairs[0], NOW);
	ports_give(ports, &pairs[2], NOW);
	ports_free(ports);
	CU_ASSERT_EQUAL(budget.open, 0);
}

static void test_claim(void)
{
	static const uint16_t wrong[] = { 0, 20998, 21001, 21010, 65534 };
	struct ports *ports = pool_of(21000, 21009, 1);
	struct ports_pair claimed, others[4], none;
	int foreign = occupy(21007);

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CU_ASSERT_EQUAL(ports_claim(ports, wrong[i], NOW, &none), ERR_NOT_FOUND);
	CU_ASSERT_EQUAL(ports_claim(ports, 21006, NOW, &none), ERR_EXISTS); /* somebody has its RTCP port */
	CU_ASSERT_EQUAL(stats_of(ports).used, 0);
	close(foreign);
	CU_ASSERT_EQUAL_FATAL(ports_claim(ports, 21004, NOW, &claimed), 0);
	CU_ASSERT_EQUAL(bound_port(claimed.fds[0]), 21004);
	CU_ASSERT_EQUAL(bound_port(claimed.fds[1]), 21005);
	CU_ASSERT_EQUAL(ports_claim(ports, 21004, NOW, &none), ERR_EXISTS);
	for (int i = 0; i < 4; i++) {
		CU_ASSERT_EQUAL_FATAL(ports_take(ports, NOW, &others[i]), 0);
		CU_ASSERT(others[i].rtp_port != 21004);
	}
	CU_ASSERT_EQUAL(ports_take(ports, NOW, &none), ERR_LIMIT);
	ports_give(ports, &claimed, NOW);
	CU_ASSERT_EQUAL(ports_claim(ports, 21004, NOW, &none), ERR_EXISTS); /* in quarantine */
	CU_ASSERT_EQUAL_FATAL(ports_claim(ports, 21004, NOW + QUARANTINE, &claimed), 0);
	CU_ASSERT(claimed.is_recycled);
	CU_ASSERT_EQUAL(stats_of(ports).idle_open, 0);
	CU_ASSERT_EQUAL(stats_of(ports).used, 5);
	shut(&claimed);
	ports_give(ports, &claimed, NOW + QUARANTINE);
	for (int i = 0; i < 4; i++) {
		shut(&others[i]);
		ports_give(ports, &others[i], NOW + QUARANTINE);
	}
	ports_free(ports);
}

/* Every pair is found wherever the random draws have moved it. */
static void test_claim_after_draws(void)
{
	struct ports *ports = pool_of(21000, 21039, 0);
	struct ports_pair pairs[20];
	unsigned n = 0;

	for (; n < 10; n++)
		CU_ASSERT_EQUAL_FATAL(ports_take(ports, NOW, &pairs[n]), 0);
	for (uint16_t port = 21000; port < 21040; port += 2) {
		bool is_out = false;

		for (unsigned i = 0; i < 10; i++)
			is_out |= pairs[i].rtp_port == port;
		CU_ASSERT_EQUAL(ports_claim(ports, port, NOW, &pairs[n < 20 ? n : 0]), is_out ? ERR_EXISTS : 0);
		n += !is_out;
	}
	CU_ASSERT_EQUAL_FATAL(n, 20);
	for (unsigned i = 0; i < 20; i++) {
		shut(&pairs[i]);
		ports_give(ports, &pairs[i], NOW);
	}
	CU_ASSERT_EQUAL(stats_of(ports).used, 0);
	ports_free(ports);
}

static void test_claim_within_the_budget(void)
{
	struct ports_budget budget = { .max = 2 };
	struct ports_conf conf = conf_of(22000, 22009, 0);
	struct ports_pair pair, none;
	struct ports *ports;

	conf.budget = &budget;
	CU_ASSERT_EQUAL_FATAL(ports_new(&conf, &ports), 0);
	CU_ASSERT_EQUAL_FATAL(ports_claim(ports, 22000, NOW, &pair), 0);
	CU_ASSERT_EQUAL(ports_claim(ports, 22002, NOW, &none), -EMFILE);
	shut(&pair);
	ports_give(ports, &pair, NOW);
	CU_ASSERT_EQUAL(budget.open, 0);
	ports_free(ports);
}

static const struct unit_test tests[] = {
	{ "every pair is handed out once", test_all_pairs_once },
	{ "released pairs rest in quarantine", test_quarantine },
	{ "sockets are reused, up to a limit", test_sockets_are_reused },
	{ "reused sockets are empty", test_reused_sockets_are_empty },
	{ "a port that is taken is skipped and tried later", test_foreign_socket_is_skipped },
	{ "pools that cannot be", test_bad_pools },
	{ "the last pair there is", test_top_of_range },
	{ "ephemeral and reserved ports", test_ephemeral },
	{ "idle sockets give way within the budget", test_budget },
	{ "a certain pair can be claimed, if it is free", test_claim },
	{ "pairs are found after draws", test_claim_after_draws },
	{ "claims keep within the budget", test_claim_within_the_budget },
};

UNIT_MAIN("ports", tests)
