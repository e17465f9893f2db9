/* Own TCP ports: bound when they are out, each once, at rest afterwards, and refusals at the limits. */
#include "algs/tcp_ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <unistd.h>

#include "core/err.h"
#include "tests/unit/unit.h"

enum { QUARANTINE = 10000, NOW = 50000, FIRST = 24100, LAST = 24107, N = LAST - FIRST + 1 };

/* A loopback address of this process alone, so that test programs may run side by side. */
static struct addr own_ip(void)
{
	uint32_t pid = (uint32_t)getpid();

	return (struct addr){ .family = AF_INET, .ip = { 127, (uint8_t)(1 + (pid >> 14)), (uint8_t)(pid >> 6),
							 (uint8_t)((pid & 63) << 2) } };
}

static struct tcp_ports *pool_of(uint32_t max)
{
	const struct tcp_ports_conf conf = { .address = own_ip(), .port_min = FIRST, .port_max = LAST, .quarantine_ms = QUARANTINE,
					     .max = max };
	struct tcp_ports *ports = NULL;

	CU_ASSERT_EQUAL_FATAL(tcp_ports_new(&conf, &ports), 0);
	return ports;
}

static uint16_t bound_port(int fd)
{
	struct sockaddr_in sa = { 0 };
	socklen_t len = sizeof(sa);

	CU_ASSERT_EQUAL(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	return ntohs(sa.sin_port);
}

static int connect_to(uint16_t port)
{
	struct addr to = own_ip();
	struct sockaddr_storage sa;
	socklen_t len;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), result;

	to.port = port;
	len = addr_to_sockaddr(&to, &sa);
	result = connect(fd, (struct sockaddr *)&sa, len) < 0 ? -errno : 0;
	close(fd);
	return result;
}

static void test_each_once(void)
{
	struct tcp_ports *ports = pool_of(0);
	struct tcp_ports_stats stats;
	uint16_t taken[N], extra;
	int fds[N], fd;
	bool seen[N] = { false };

	for (int i = 0; i < N; i++) {
		CU_ASSERT_EQUAL_FATAL(tcp_ports_take(ports, NOW, &taken[i], &fds[i]), 0);
		CU_ASSERT_FATAL(taken[i] >= FIRST && taken[i] <= LAST);
		CU_ASSERT(!seen[taken[i] - FIRST]);
		seen[taken[i] - FIRST] = true;
		CU_ASSERT_EQUAL(bound_port(fds[i]), taken[i]);
	}
	CU_ASSERT_EQUAL(tcp_ports_take(ports, NOW, &extra, &fd), ERR_LIMIT);
	tcp_ports_stats(ports, &stats);
	CU_ASSERT_EQUAL(stats.used, N);
	for (int i = 0; i < N; i++) {
		close(fds[i]);
		tcp_ports_give(ports, taken[i], NOW);
	}
	CU_ASSERT_EQUAL(tcp_ports_take(ports, NOW + QUARANTINE - 1, &extra, &fd), ERR_LIMIT);
	CU_ASSERT_EQUAL_FATAL(tcp_ports_take(ports, NOW + QUARANTINE, &extra, &fd), 0);
	close(fd);
	tcp_ports_give(ports, extra, NOW);
	tcp_ports_give(ports, extra, NOW); /* twice is harmless */
	tcp_ports_stats(ports, &stats);
	CU_ASSERT_EQUAL(stats.used, 0);
	CU_ASSERT_EQUAL(stats.quarantined, 1);
	tcp_ports_free(ports);
}

static void test_cannot_be_reached(void)
{
	struct tcp_ports *ports = pool_of(0);
	uint16_t port = 0;
	int fd = -1;

	CU_ASSERT_EQUAL_FATAL(tcp_ports_take(ports, NOW, &port, &fd), 0);
	CU_ASSERT_EQUAL(connect_to(port), -ECONNREFUSED);
	CU_ASSERT_EQUAL(listen(fd, 1), 0);
	CU_ASSERT_EQUAL(connect_to(port), 0);
	close(fd);
	tcp_ports_free(ports);
}

static void test_limit(void)
{
	struct tcp_ports *ports = pool_of(2);
	uint16_t port[3];
	int fd[3];

	CU_ASSERT_EQUAL_FATAL(tcp_ports_take(ports, NOW, &port[0], &fd[0]), 0);
	CU_ASSERT_EQUAL_FATAL(tcp_ports_take(ports, NOW, &port[1], &fd[1]), 0);
	CU_ASSERT_EQUAL(tcp_ports_take(ports, NOW, &port[2], &fd[2]), ERR_LIMIT);
	close(fd[0]);
	tcp_ports_give(ports, port[0], NOW);
	CU_ASSERT_EQUAL_FATAL(tcp_ports_take(ports, NOW, &port[2], &fd[2]), 0);
	close(fd[1]);
	close(fd[2]);
	tcp_ports_free(ports);
}

static void test_claim(void)
{
	struct tcp_ports *ports = pool_of(0);
	int fd = -1, outside = -1, again = -1;

	CU_ASSERT_EQUAL_FATAL(tcp_ports_claim(ports, FIRST + 3, &fd), 0);
	CU_ASSERT_EQUAL(bound_port(fd), FIRST + 3);
	CU_ASSERT_EQUAL(tcp_ports_claim(ports, FIRST + 3, &again), ERR_EXISTS);
	CU_ASSERT_EQUAL_FATAL(tcp_ports_claim(ports, LAST + 100, &outside), 0);
	CU_ASSERT_EQUAL(listen(outside, 1), 0);
	CU_ASSERT_EQUAL(tcp_ports_claim(ports, LAST + 100, &again), ERR_EXISTS);
	close(fd);
	close(outside);
	tcp_ports_give(ports, LAST + 100, NOW);
	tcp_ports_give(ports, FIRST + 3, NOW); /* does not rest */
	CU_ASSERT_EQUAL_FATAL(tcp_ports_claim(ports, FIRST + 3, &fd), 0);
	close(fd);
	tcp_ports_free(ports);
}

static void test_others_ports(void)
{
	struct tcp_ports *mine = pool_of(0), *theirs = pool_of(0);
	struct tcp_ports_stats stats;
	uint16_t ports[N], extra;
	int fds[N], fd;

	for (int i = 0; i < N; i++) {
		CU_ASSERT_EQUAL_FATAL(tcp_ports_take(theirs, NOW, &ports[i], &fds[i]), 0);
		CU_ASSERT_EQUAL(listen(fds[i], 1), 0);
	}
	CU_ASSERT_EQUAL(tcp_ports_take(mine, NOW, &extra, &fd), ERR_LIMIT);
	tcp_ports_stats(mine, &stats);
	CU_ASSERT_EQUAL(stats.bind_failures, N);
	for (int i = 0; i < N; i++)
		close(fds[i]);
	tcp_ports_free(theirs);
	CU_ASSERT_EQUAL_FATAL(tcp_ports_take(mine, NOW + QUARANTINE, &extra, &fd), 0); /* tried again after a while */
	close(fd);
	tcp_ports_free(mine);
}

static void test_ranges(void)
{
	struct tcp_ports_conf conf = { .address = own_ip(), .port_min = 10, .port_max = 9 };
	struct tcp_ports *ports = NULL;

	CU_ASSERT_EQUAL(tcp_ports_new(&conf, &ports), ERR_CONFIG);
	conf = (struct tcp_ports_conf){ .address = own_ip(), .port_min = 0, .port_max = 9 };
	CU_ASSERT_EQUAL(tcp_ports_new(&conf, &ports), ERR_CONFIG);
	tcp_ports_free(NULL);
}

static const struct unit_test tests[] = {
	{ "each port once, then at rest", test_each_once },
	{ "a port that is out cannot be reached before it listens", test_cannot_be_reached },
	{ "no more than the limit", test_limit },
	{ "claimed ports, inside and outside the range", test_claim },
	{ "ports that somebody else has", test_others_ports },
	{ "ranges that are none", test_ranges },
};
UNIT_MAIN("tcp_ports", tests)
