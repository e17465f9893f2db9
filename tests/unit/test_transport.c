/* Real datagrams over loopback: batches, order, source addresses, limits. Ports are the kernel's choice. */
#include "sbc/transport.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/loop.h"
#include "core/metrics.h"
#include "tests/unit/unit.h"

enum { BIG = 300, TIMEOUT_MS = 5000 };

struct fixture {
	struct loop *loop;
	struct config *config;
	struct transport *transport;
	struct sip_flow flow; /* to the peer */
	int peer;             /* a plain socket */
	unsigned received, wanted;
	struct sip_flow last_flow;
	char last[128];
	struct loop_timer timeout;
	bool has_timed_out;
};

static void on_message(void *arg, const struct sip_flow *flow, struct span bytes)
{
	struct fixture *f = arg;
	f->received++;
	f->last_flow = *flow;
	snprintf(f->last, sizeof(f->last), "%.*s", bytes.len < 100 ? (int)bytes.len : 0, bytes.ptr);
	if (bytes.len > GUARD_MESSAGE_MAX)
		snprintf(f->last, sizeof(f->last), "long %zu", bytes.len);
	if (f->received == f->wanted)
		loop_stop(f->loop);
}

static void on_timeout(struct loop_timer *timer, void *arg)
{
	struct fixture *f = arg;
	(void)timer;
	f->has_timed_out = true;
	loop_stop(f->loop);
}

/* Until so many messages have arrived, at most TIMEOUT_MS; 0: for one turn and a bit. */
static void run(struct fixture *f, unsigned wanted)
{
	f->wanted = f->received + wanted;
	f->has_timed_out = false;
	loop_timer_start(&f->timeout, wanted ? TIMEOUT_MS : 20);
	loop_run(f->loop);
	loop_timer_stop(&f->timeout);
}

static bool is_up(struct fixture *f, const char *ip)
{
	char error[128] = "";
	struct sockaddr_storage sa;
	struct addr peer;
	*f = (struct fixture){ .peer = -1, .config = calloc(1, sizeof(*f->config)) };
	struct realm_conf *realm = &f->config->realms[0];
	f->config->n_realms = 1;
	realm->name = "test";
	realm->dscp_sip = 24;
	realm->n_listens = 1;
	if (addr_parse_ip(span_of(ip), &realm->listens[0].addr) < 0 || loop_new(&f->loop) < 0)
		return false;
	if (transport_new(f->loop, f->config, on_message, f, error, sizeof(error), &f->transport) < 0)
		return false;
	loop_timer_init(&f->timeout, f->loop, on_timeout, f);
	f->peer = socket(realm->listens[0].addr.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t len = addr_to_sockaddr(&realm->listens[0].addr, &sa);
	socklen_t size = sizeof(sa);
	if (bind(f->peer, (struct sockaddr *)&sa, len) < 0 || getsockname(f->peer, (struct sockaddr *)&sa, &size) < 0)
		return false;
	setsockopt(f->peer, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ .tv_sec = 5 }, sizeof(struct timeval));
	setsockopt(f->peer, SOL_SOCKET, SO_RCVBUF, &(int){ 1 << 20 }, sizeof(int));
	peer = addr_from_sockaddr((struct sockaddr *)&sa);
	return transport_flow_to(f->transport, realm, SIP_UDP, &peer, &f->flow) == 0;
}

static void down(struct fixture *f)
{
	if (f->peer >= 0)
		close(f->peer);
	transport_free(f->transport);
	if (f->loop)
		loop_free(f->loop);
	free(f->config);
}

static void peer_sends(struct fixture *f, struct span bytes)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&f->flow.local, &sa);
	CU_ASSERT_EQUAL(sendto(f->peer, bytes.ptr, bytes.len, 0, (struct sockaddr *)&sa, len), (ssize_t)bytes.len);
}

static void check_both_ways(const char *ip)
{
	struct fixture f;
	char text[64];
	struct sockaddr_storage sa;
	socklen_t size = sizeof(sa);

	CU_ASSERT_FATAL(is_up(&f, ip));
	CU_ASSERT(transport_is_own(f.transport, &f.flow.local));
	CU_ASSERT_FALSE(transport_is_own(f.transport, &f.flow.remote));
	peer_sends(&f, SPAN_LIT("hello"));
	run(&f, 1);
	CU_ASSERT_STRING_EQUAL(f.last, "hello");
	CU_ASSERT(addr_eq(&f.last_flow.remote, &f.flow.remote));
	CU_ASSERT(addr_eq(&f.last_flow.local, &f.flow.local));
	CU_ASSERT_EQUAL(transport_send(f.transport, &f.last_flow, SPAN_LIT("answer")), 0);
	run(&f, 0);
	CU_ASSERT_EQUAL(recvfrom(f.peer, text, sizeof(text), 0, (struct sockaddr *)&sa, &size), 6);
	struct addr from = addr_from_sockaddr((struct sockaddr *)&sa);
	CU_ASSERT(addr_eq(&from, &f.flow.local));
	down(&f);
}

static void both_ways_ipv4(void)
{
	check_both_ways("127.0.0.1");
}

static void both_ways_ipv6(void)
{
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	bool has_ipv6 = fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;
	if (fd >= 0)
		close(fd);
	if (has_ipv6)
		check_both_ways("::1");
}

static void many_leave_in_order(void)
{
	struct fixture f;
	char text[64], wanted[64];

	CU_ASSERT_FATAL(is_up(&f, "127.0.0.1"));
	for (unsigned i = 0; i < BIG; i++) {
		snprintf(text, sizeof(text), "message %u", i);
		CU_ASSERT_EQUAL(transport_send(f.transport, &f.flow, span_of(text)), 0);
	}
	run(&f, 0);
	for (unsigned i = 0; i < BIG; i++) {
		ssize_t n = recv(f.peer, text, sizeof(text) - 1, 0);
		snprintf(wanted, sizeof(wanted), "message %u", i);
		CU_ASSERT_FATAL(n > 0);
		text[n] = '\0';
		CU_ASSERT_STRING_EQUAL(text, wanted);
	}
	down(&f);
}

static void many_arrive(void)
{
	struct fixture f;
	char text[64];

	CU_ASSERT_FATAL(is_up(&f, "127.0.0.1"));
	for (unsigned i = 0; i < 100; i++) { /* fits into the smallest receive buffer */
		snprintf(text, sizeof(text), "message %u", i);
		peer_sends(&f, span_of(text));
	}
	run(&f, 100);
	CU_ASSERT_FALSE(f.has_timed_out);
	CU_ASSERT_STRING_EQUAL(f.last, "message 99");
	down(&f);
}

static void long_ones(void)
{
	struct fixture f;
	static char text[70000];

	CU_ASSERT_FATAL(is_up(&f, "127.0.0.1"));
	memset(text, 'x', sizeof(text));
	peer_sends(&f, (struct span){ text, GUARD_MESSAGE_MAX + 500 });
	run(&f, 1);
	CU_ASSERT_STRING_EQUAL(f.last, "long 16385"); /* one more than the limit, so the guard refuses it */
	CU_ASSERT_EQUAL(transport_send(f.transport, &f.flow, (struct span){ text, sizeof(text) }), -EMSGSIZE);
	CU_ASSERT_EQUAL(transport_send(f.transport, &f.flow, (struct span){ text, GUARD_MESSAGE_MAX }), 0);
	run(&f, 0);
	CU_ASSERT_EQUAL(recv(f.peer, text, sizeof(text), 0), GUARD_MESSAGE_MAX);
	down(&f);
}

/* The kernel refuses one in the middle: only that one is lost. */
static void one_is_refused(void)
{
	struct fixture f;
	char text[64];
	struct addr other = { .family = AF_INET, .port = 9, .ip = { 240, 0, 0, 1 } };

	CU_ASSERT_FATAL(is_up(&f, "127.0.0.1"));
	struct sip_flow bad = f.flow;
	bad.remote = other;
	CU_ASSERT_EQUAL(transport_send(f.transport, &f.flow, SPAN_LIT("one")), 0);
	CU_ASSERT_EQUAL(transport_send(f.transport, &bad, SPAN_LIT("two")), 0);
	CU_ASSERT_EQUAL(transport_send(f.transport, &f.flow, SPAN_LIT("three")), 0);
	run(&f, 0);
	CU_ASSERT_EQUAL(recv(f.peer, text, sizeof(text), 0), 3);
	CU_ASSERT_EQUAL(recv(f.peer, text, sizeof(text), 0), 5);
	bad.listener = 7;
	CU_ASSERT(transport_send(f.transport, &bad, SPAN_LIT("four")) < 0);
	down(&f);
}

/* Without a turn of the loop the queue fills up, to its limit and no further. */
static void queue_limit(void)
{
	struct fixture f;
	static char text[16000];
	unsigned n = 0;

	CU_ASSERT_FATAL(is_up(&f, "127.0.0.1"));
	while (n < 2000 && transport_send(f.transport, &f.flow, (struct span){ text, sizeof(text) }) == 0)
		n++;
	CU_ASSERT(n > 100 && n < 2000);
	down(&f);
}

static void address_in_use(void)
{
	struct fixture f;
	char error[128] = "";
	struct transport *second = NULL;

	CU_ASSERT_FATAL(is_up(&f, "127.0.0.1"));
	f.config->realms[0].listens[0].addr.port = f.flow.local.port;
	CU_ASSERT_EQUAL(transport_new(f.loop, f.config, on_message, &f, error, sizeof(error), &second), -EADDRINUSE);
	CU_ASSERT(strstr(error, "realm test: udp 127.0.0.1:") != NULL);
	struct addr six = { .family = AF_INET6, .port = 5060, .ip = { [15] = 1 } };
	CU_ASSERT_EQUAL(transport_flow_to(f.transport, &f.config->realms[0], SIP_UDP, &six, &f.flow), -EAFNOSUPPORT);
	down(&f);
}

static const struct unit_test tests[] = {
	{ "both ways, IPv4", both_ways_ipv4 },
	{ "both ways, IPv6", both_ways_ipv6 },
	{ "many leave in order", many_leave_in_order },
	{ "many arrive", many_arrive },
	{ "messages at the size limits", long_ones },
	{ "the kernel refuses one", one_is_refused },
	{ "queue limit", queue_limit },
	{ "address in use", address_in_use },
};

UNIT_MAIN("transport", tests)
