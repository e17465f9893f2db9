/* backend_capture and the helper's sockets with real connections, between network namespaces of its own: the left host is a client, the
 * right one a server, and a small proxy in the gateway is what an ALG would be. IPv4 and IPv6. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/err.h"
#include "pinhole/helper_socket.h"
#include "tests/unit/nat_place.h"
#include "tests/unit/unit.h"

enum { TEST_MAX_MS = 120000, WAIT_MS = 3000, SHORT_MS = 300, CONTROL = 21, OTHER = 8080, REQUESTS = 69, LISTEN = 18500,
       CAPTURES_MAX = 4 };

struct stage {
	const struct rig *rig;
	char *reason;
	size_t size;
	uint8_t family;
	struct wire_limit own[2];
	struct wire_seal seal;
	struct wire_capture captures[CAPTURES_MAX];
	struct backend_interface interfaces[2];
	struct backend_conf conf;
	struct backend *backend;
	uint64_t now_ms;
};

#define CHECK(stage, condition) \
	do { \
		if (!(condition)) { \
			snprintf((stage)->reason, (stage)->size, "IPv%c, line %d: %s", (stage)->family == AF_INET ? '4' : '6', __LINE__, \
				 #condition); \
			return -EPROTO; \
		} \
	} while (0)

static struct addr loopback(const struct stage *stage, uint16_t port)
{
	struct addr addr = { .family = stage->family, .port = port };

	if (stage->family == AF_INET)
		memcpy(addr.ip, (uint8_t[]){ 127, 0, 0, 1 }, 4);
	else
		addr.ip[15] = 1;
	return addr;
}

/* All hosts, so that nothing but the rules themselves keeps the gateway's own addresses out. */
static struct wire_capture capture_of(const struct stage *stage, uint8_t proto, uint16_t port)
{
	struct addr to = loopback(stage, LISTEN);

	return (struct wire_capture){ .servers = { .family = stage->family }, .to = wire_addr_of(&to), .ports = { 9, port },
				      .realm_to = 1, .proto = proto, .is_as_client = 1 };
}

static int open_stage(struct stage *stage)
{
	static const enum rig_place sides[] = { RIG_LEFT, RIG_RIGHT };

	for (unsigned i = 0; i < 2; i++) {
		struct addr own = rig_gateway(sides[i], stage->family, 0);

		stage->own[i] = (struct wire_limit){ .addr = wire_addr_of(&own), .port_min = 20000, .port_max = 29999,
						     .realm = (uint16_t)i };
	}
	stage->seal = (struct wire_seal){ .pinholes_max = 100, .lifetime_max_s = 3600, .port_floor = 1024, .firewall = 1 };
	stage->interfaces[0] = (struct backend_interface){ 0, "left", stage->rig->ifindex[0], true };
	stage->interfaces[1] = (struct backend_interface){ 1, "right", stage->rig->ifindex[1], true };
	stage->captures[0] = capture_of(stage, IPPROTO_TCP, CONTROL);
	stage->captures[1] = capture_of(stage, IPPROTO_UDP, REQUESTS);
	stage->conf = (struct backend_conf){
		.state_dir = "/nonexistent", .node_tag = "test-1", .own = stage->own, .n_own = 2, .seal = &stage->seal,
		.captures = stage->captures, .n_captures = 2, .interfaces = stage->interfaces, .n_interfaces = 2,
	};
	stage->now_ms = 1000000;
	return backend_capture.open(&stage->conf, &stage->backend);
}

static void nobody_is_gone(void *arg, uint64_t id, enum wire_gone_why why)
{
	(void)arg;
	(void)id;
	(void)why;
}

static void tick(struct stage *stage)
{
	stage->now_ms += 1000;
	backend_capture.tick(stage->backend, stage->now_ms, nobody_is_gone, NULL);
}

static bool is_working(struct stage *stage)
{
	struct backend_report report = { .is_usable = false };

	backend_capture.report(stage->backend, PINHOLE_NONE, 0, &report);
	if (!report.is_usable)
		printf("# %s\n", report.reason);
	return report.is_usable;
}

static int socket_of(struct addr addr, uint8_t proto, bool is_connecting)
{
	const struct wire_socket_request request = { .addr = wire_addr_of(&addr), .proto = proto, .is_transparent = 1,
						     .is_connecting = is_connecting };

	return helper_socket_open(&request);
}

static int listen_at(struct stage *stage, enum rig_place where, struct addr addr)
{
	int fd = rig_socket(stage->rig, where, SOCK_STREAM, &addr);

	return fd >= 0 && listen(fd, 4) == 0 ? fd : -1;
}

/* fd is that of a bound socket. Within that time. */
static int finish_connect(int fd, struct addr to, int wait_ms)
{
	struct sockaddr_storage storage;
	socklen_t len = addr_to_sockaddr(&to, &storage), err_len = sizeof(int);
	struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
	int err = 0;

	if (fd >= 0 && (connect(fd, (struct sockaddr *)&storage, len) == 0 || errno == EINPROGRESS) &&
	    poll(&poll_fd, 1, wait_ms) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &err_len) == 0 && err == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static int connect_from(struct stage *stage, enum rig_place where, struct addr from, struct addr to, int wait_ms)
{
	return finish_connect(rig_socket(stage->rig, where, SOCK_STREAM | SOCK_NONBLOCK, &from), to, wait_ms);
}

static int client(struct stage *stage, struct addr to, int wait_ms)
{
	return connect_from(stage, RIG_LEFT, rig_host(RIG_LEFT, stage->family, 0), to, wait_ms);
}

/* ret: who connects, and to whom in its belief. */
static int accept_within(int listener, int wait_ms, struct addr ret[2])
{
	struct sockaddr_storage peer, local;
	socklen_t peer_len = sizeof(peer), local_len = sizeof(local);
	struct pollfd poll_fd = { .fd = listener, .events = POLLIN };
	int fd = poll(&poll_fd, 1, wait_ms) == 1 ? accept(listener, (struct sockaddr *)&peer, &peer_len) : -1;

	if (fd < 0 || getsockname(fd, (struct sockaddr *)&local, &local_len) < 0)
		return -1;
	ret[0] = addr_from_sockaddr((struct sockaddr *)&peer);
	ret[1] = addr_from_sockaddr((struct sockaddr *)&local);
	return fd;
}

/* The proxy: one message on. */
static bool relay(int from, int to)
{
	struct pollfd poll_fd = { .fd = from, .events = POLLIN };
	char text[200];
	ssize_t n = poll(&poll_fd, 1, WAIT_MS) == 1 ? read(from, text, sizeof(text)) : -1;

	return n > 0 && write(to, text, (size_t)n) == n;
}

static bool says(int from, int to, const char *text)
{
	struct pollfd poll_fd = { .fd = to, .events = POLLIN };
	char got[200];
	ssize_t len = (ssize_t)strlen(text);

	return (from < 0 || write(from, text, strlen(text)) == len) && poll(&poll_fd, 1, WAIT_MS) == 1 &&
	       read(to, got, sizeof(got)) == len && memcmp(got, text, strlen(text)) == 0;
}

struct session {
	int client, client_leg, server_leg, server;
	struct addr seen[2]; /* by the server */
};

/* A client connects to the server's control port; the proxy connects on, as the client or with the gateway's address. */
static int open_session(struct stage *stage, int listener, int server, bool is_as_client, struct session *ret)
{
	const struct addr to = rig_host(RIG_RIGHT, stage->family, CONTROL), from = rig_host(RIG_LEFT, stage->family, 0);
	struct addr seen[2];

	ret->client = client(stage, to, WAIT_MS);
	CHECK(stage, ret->client >= 0);
	ret->client_leg = accept_within(listener, WAIT_MS, seen);
	CHECK(stage, ret->client_leg >= 0);
	CHECK(stage, addr_eq_ip(&seen[0], &from) && addr_eq(&seen[1], &to)); /* it talks to the server, as far as it knows */
	if (is_as_client)
		ret->server_leg = finish_connect(socket_of(seen[0], IPPROTO_TCP, true), to, WAIT_MS);
	else
		ret->server_leg = connect_from(stage, RIG_GATEWAY, rig_gateway(RIG_RIGHT, stage->family, 0), to, WAIT_MS);
	CHECK(stage, ret->server_leg >= 0);
	ret->server = accept_within(server, WAIT_MS, ret->seen);
	CHECK(stage, ret->server >= 0);
	if (is_as_client)
		CHECK(stage, addr_eq(&ret->seen[0], &seen[0]));
	return 0;
}

static int talk(struct stage *stage, const struct session *s)
{
	CHECK(stage, says(s->server, s->server_leg, "220 ready\r\n") && says(s->client_leg, s->client, "220 ready\r\n"));
	CHECK(stage, write(s->client, "USER x\r\n", 8) == 8 && relay(s->client_leg, s->server_leg));
	CHECK(stage, says(-1, s->server, "USER x\r\n"));
	return 0;
}

static void close_session(struct session *s)
{
	close(s->client);
	close(s->client_leg);
	close(s->server_leg);
	close(s->server);
}

static int taken_over(struct stage *stage)
{
	const struct addr gateway = rig_gateway(RIG_RIGHT, stage->family, 0);
	int listener = socket_of(loopback(stage, LISTEN), IPPROTO_TCP, false), err;
	int server = listen_at(stage, RIG_RIGHT, rig_host(RIG_RIGHT, stage->family, CONTROL));
	struct session one, other;

	CHECK(stage, is_working(stage) && listener >= 0 && server >= 0);
	err = open_session(stage, listener, server, false, &one);
	if (err == 0)
		err = open_session(stage, listener, server, true, &other);
	if (err == 0)
		err = talk(stage, &one);
	if (err == 0)
		err = talk(stage, &other);
	if (err < 0)
		return err;
	CHECK(stage, addr_eq_ip(&one.seen[0], &gateway));
	/* What has begun goes on without the listener, and over a flush. */
	close(listener);
	CHECK(stage, system("nft flush ruleset") == 0);
	tick(stage);
	CHECK(stage, is_working(stage));
	err = talk(stage, &one);
	if (err == 0)
		err = talk(stage, &other);
	close_session(&one);
	close_session(&other);
	close(server);
	return err;
}

/* A gateway that does not listen lets nothing through unseen; other ports are none of its business. */
static int nothing_unseen(struct stage *stage)
{
	int server = listen_at(stage, RIG_RIGHT, rig_host(RIG_RIGHT, stage->family, CONTROL));
	int other = listen_at(stage, RIG_RIGHT, rig_host(RIG_RIGHT, stage->family, OTHER)), fd;
	struct addr seen[2];

	CHECK(stage, client(stage, rig_host(RIG_RIGHT, stage->family, CONTROL), SHORT_MS) < 0);
	CHECK(stage, accept_within(server, 0, seen) < 0);
	fd = client(stage, rig_host(RIG_RIGHT, stage->family, OTHER), WAIT_MS);
	CHECK(stage, fd >= 0);
	close(fd);
	close(server);
	close(other);
	return 0;
}

/* Connections to the gateway itself, and those that it makes, are not taken over: whatever the servers are said to be. */
static int not_its_own(struct stage *stage)
{
	int listener = socket_of(loopback(stage, LISTEN), IPPROTO_TCP, false), fd[3], taken[3];
	const struct addr near = rig_gateway(RIG_LEFT, stage->family, CONTROL), far = rig_gateway(RIG_RIGHT, stage->family, CONTROL);
	const struct addr host = rig_host(RIG_RIGHT, stage->family, CONTROL);
	int own[3] = { listen_at(stage, RIG_GATEWAY, near), listen_at(stage, RIG_GATEWAY, far), listen_at(stage, RIG_RIGHT, host) };
	struct addr seen[2];

	CHECK(stage, listener >= 0 && own[0] >= 0 && own[1] >= 0 && own[2] >= 0);
	fd[0] = client(stage, near, WAIT_MS);
	fd[1] = client(stage, far, WAIT_MS);
	fd[2] = connect_from(stage, RIG_GATEWAY, rig_gateway(RIG_LEFT, stage->family, 0), host, WAIT_MS);
	for (unsigned i = 0; i < 3; i++) {
		CHECK(stage, fd[i] >= 0);
		taken[i] = accept_within(own[i], WAIT_MS, seen);
		CHECK(stage, taken[i] >= 0);
	}
	CHECK(stage, accept_within(listener, 0, seen) < 0);
	/* Nor what the servers' side begins. */
	fd[0] = connect_from(stage, RIG_RIGHT, rig_host(RIG_RIGHT, stage->family, 0), rig_host(RIG_LEFT, stage->family, CONTROL), SHORT_MS);
	CHECK(stage, accept_within(listener, 0, seen) < 0);
	return 0;
}

static struct addr original_of(struct msghdr *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c))
		if ((c->cmsg_level == SOL_IP && c->cmsg_type == IP_ORIGDSTADDR) ||
		    (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_ORIGDSTADDR)) {
			struct sockaddr_storage storage = { 0 };

			memcpy(&storage, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
			return addr_from_sockaddr((struct sockaddr *)&storage);
		}
	return (struct addr){ 0 };
}

/* ret: from whom, and to whom it was sent. */
static bool receive(int fd, struct addr ret[2])
{
	char text[100], control[CMSG_SPACE(sizeof(struct sockaddr_in6))];
	struct sockaddr_storage from;
	struct iovec iov = { text, sizeof(text) };
	struct msghdr message = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1,
				  .msg_control = control, .msg_controllen = sizeof(control) };
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	if (poll(&poll_fd, 1, WAIT_MS) != 1 || recvmsg(fd, &message, 0) <= 0)
		return false;
	ret[0] = addr_from_sockaddr((struct sockaddr *)&from);
	ret[1] = original_of(&message);
	return true;
}

static int datagrams(struct stage *stage)
{
	const struct addr server = rig_host(RIG_RIGHT, stage->family, REQUESTS), from = rig_host(RIG_LEFT, stage->family, 4000);
	const struct addr stranger = rig_host(RIG_LEFT, stage->family, 4001);
	int listener = socket_of(loopback(stage, LISTEN), IPPROTO_UDP, false), one = 1;
	int host = rig_socket(stage->rig, RIG_LEFT, SOCK_DGRAM, &from), other = rig_socket(stage->rig, RIG_LEFT, SOCK_DGRAM, &stranger);
	bool is_ipv4 = stage->family == AF_INET;
	struct sockaddr_storage storage;
	socklen_t len = addr_to_sockaddr(&server, &storage);
	struct addr seen[2];
	int leg, other_leg;

	CHECK(stage, listener >= 0 && host >= 0 && other >= 0);
	CHECK(stage, setsockopt(listener, is_ipv4 ? SOL_IP : SOL_IPV6, is_ipv4 ? IP_RECVORIGDSTADDR : IPV6_RECVORIGDSTADDR, &one,
				sizeof(one)) == 0);
	CHECK(stage, sendto(host, "read", 4, 0, (struct sockaddr *)&storage, len) == 4);
	CHECK(stage, receive(listener, seen) && addr_eq(&seen[0], &from) && addr_eq(&seen[1], &server));
	/* The answer comes from the server, as far as anybody knows; and what follows has a socket of its own. */
	leg = socket_of(server, IPPROTO_UDP, true);
	CHECK(stage, leg >= 0);
	len = addr_to_sockaddr(&from, &storage);
	CHECK(stage, connect(leg, (struct sockaddr *)&storage, len) == 0 && write(leg, "data", 4) == 4);
	CHECK(stage, receive(host, seen) && addr_eq(&seen[0], &server));
	len = addr_to_sockaddr(&server, &storage);
	CHECK(stage, sendto(host, "ack", 3, 0, (struct sockaddr *)&storage, len) == 3);
	CHECK(stage, receive(leg, seen) && addr_eq(&seen[0], &from));
	CHECK(stage, sendto(other, "read", 4, 0, (struct sockaddr *)&storage, len) == 4);
	CHECK(stage, receive(listener, seen) && addr_eq(&seen[0], &stranger));
	/* As many as there are clients. */
	other_leg = socket_of(server, IPPROTO_UDP, true);
	len = addr_to_sockaddr(&stranger, &storage);
	CHECK(stage, other_leg >= 0 && connect(other_leg, (struct sockaddr *)&storage, len) == 0);
	len = addr_to_sockaddr(&server, &storage);
	CHECK(stage, sendto(host, "ack", 3, 0, (struct sockaddr *)&storage, len) == 3);
	CHECK(stage, sendto(other, "ack", 3, 0, (struct sockaddr *)&storage, len) == 3);
	CHECK(stage, receive(leg, seen) && addr_eq(&seen[0], &from));
	CHECK(stage, receive(other_leg, seen) && addr_eq(&seen[0], &stranger));
	close(other_leg);
	close(listener);
	close(host);
	close(other);
	close(leg);
	return 0;
}

enum { LISTING_MAX = 16384 };

static const char *show(char listing[LISTING_MAX])
{
	FILE *pipe = popen("nft -s list table inet postern_test_1_captures 2>/dev/null", "r");
	size_t n = pipe ? fread(listing, 1, LISTING_MAX - 1, pipe) : 0;

	listing[n] = '\0';
	if (pipe)
		pclose(pipe);
	return listing;
}

static bool has_rule(const char *family)
{
	char command[100];

	snprintf(command, sizeof(command), "ip %s rule list | grep -q '^18500:.*fwmark'", family);
	return system(command) == 0;
}

/* Rules and routes that somebody took away are put back; a setting that makes them useless is named. */
static int is_kept_up(struct stage *stage)
{
	const char *const family = stage->family == AF_INET ? "-4" : "-6", *const other = stage->family == AF_INET ? "-6" : "-4";
	int listener = socket_of(loopback(stage, LISTEN), IPPROTO_TCP, false), fd;
	char command[200], before[LISTING_MAX], after[LISTING_MAX];

	CHECK(stage, strstr(show(before), "tproxy") != NULL);
	CHECK(stage, system("nft flush chain inet postern_test_1_captures servers_0") == 0);
	tick(stage);
	CHECK(stage, is_working(stage) && strcmp(show(after), before) == 0);

	CHECK(stage, has_rule(family) && !has_rule(other));
	snprintf(command, sizeof(command), "ip %s rule del pref 18500 && ip %s route flush table $(nft list table inet "
		 "postern_test_1_captures >/dev/null && ip %s route show table all | sed -n 's/^local default .*table \\(185[0-9]*\\).*/\\1/p')",
		 family, family, family);
	CHECK(stage, system(command) == 0 && !has_rule(family));
	CHECK(stage, client(stage, rig_host(RIG_RIGHT, stage->family, CONTROL), SHORT_MS) < 0);
	tick(stage);
	CHECK(stage, is_working(stage) && has_rule(family));
	fd = client(stage, rig_host(RIG_RIGHT, stage->family, CONTROL), WAIT_MS);
	CHECK(stage, fd >= 0);
	close(fd);
	tick(stage);
	snprintf(command, sizeof(command), "test $(ip %s rule list | grep -c '^18500:') = 1", family);
	CHECK(stage, system(command) == 0);
	if (stage->family == AF_INET) {
		CHECK(stage, rig_sysctl("net/ipv4/conf/left/src_valid_mark", "1") == 0);
		tick(stage);
		CHECK(stage, !is_working(stage));
		CHECK(stage, rig_sysctl("net/ipv4/conf/left/src_valid_mark", "0") == 0);
		tick(stage);
		CHECK(stage, is_working(stage));
	}
	close(listener);
	return 0;
}

static bool has_table(void)
{
	return system("nft list table inet postern_test_1_captures >/dev/null 2>&1") == 0;
}

/* What one process has set up the next one finds, changes, or takes away. */
static int follows_the_configuration(struct stage *stage)
{
	const char *const family = stage->family == AF_INET ? "-4" : "-6";
	struct backend_interface *interfaces = stage->interfaces;

	backend_capture.close(stage->backend);
	CHECK(stage, has_table() && has_rule(family));
	CHECK(stage, backend_capture.open(&stage->conf, &stage->backend) == 0 && is_working(stage));
	backend_capture.links_changed(stage->backend);
	CHECK(stage, !backend_capture.is_broken(stage->backend));
	snprintf(interfaces[0].name, sizeof(interfaces[0].name), "renamed");
	backend_capture.links_changed(stage->backend);
	CHECK(stage, backend_capture.is_broken(stage->backend)); /* to be opened again */
	backend_capture.close(stage->backend);
	snprintf(interfaces[0].name, sizeof(interfaces[0].name), "lo");
	CHECK(stage, backend_capture.open(&stage->conf, &stage->backend) == 0 && !is_working(stage));
	backend_capture.close(stage->backend);
	snprintf(interfaces[0].name, sizeof(interfaces[0].name), "left");
	stage->conf.n_captures = 0;
	CHECK(stage, backend_capture.open(&stage->conf, &stage->backend) == 0);
	CHECK(stage, !has_table() && !has_rule(family));
	tick(stage);
	CHECK(stage, !has_table());
	backend_capture.close(stage->backend);
	stage->conf.n_captures = 2;
	CHECK(stage, backend_capture.open(&stage->conf, &stage->backend) == 0 && is_working(stage));
	CHECK(stage, has_table() && has_rule(family));
	backend_capture.remove_all(stage->backend);
	CHECK(stage, !has_table() && !has_rule(family));
	return 0;
}

/* Together with the closed firewall: control is taken over, data needs its pinhole, and nothing else passes. */
static int behind_a_closed_firewall(struct stage *stage)
{
	int listener = socket_of(loopback(stage, LISTEN), IPPROTO_TCP, false), err, data, fd;
	int server = listen_at(stage, RIG_RIGHT, rig_host(RIG_RIGHT, stage->family, CONTROL));
	const struct addr at = rig_host(RIG_RIGHT, stage->family, OTHER), from = rig_host(RIG_LEFT, stage->family, 0);
	struct wire_pinhole pinhole = { .id = 1, .proto = IPPROTO_TCP, .realm_out = 1, .packets_per_s = 1, .bytes_per_s = 1,
					.lifetime_s = 60, .flags = WIRE_THROUGH | WIRE_AS_SOURCE | WIRE_ONE_SHOT,
					.listen = wire_addr_of(&at), .target = wire_addr_of(&at), .source = wire_addr_of(&from) };
	struct backend_entry entry;
	struct backend *doors;
	struct session session;
	struct addr seen[2];

	CHECK(stage, backend_nft.open(&stage->conf, &doors) == 0);
	err = open_session(stage, listener, server, true, &session);
	if (err == 0)
		err = talk(stage, &session);
	if (err < 0)
		return err;
	data = listen_at(stage, RIG_RIGHT, at);
	CHECK(stage, client(stage, at, SHORT_MS) < 0);
	CHECK(stage, backend_nft.apply(doors, &pinhole, &entry) == 0);
	fd = client(stage, at, WAIT_MS);
	CHECK(stage, fd >= 0);
	close(accept_within(data, WAIT_MS, seen));
	CHECK(stage, addr_eq_ip(&seen[0], &from));
	close(fd);
	close(data);
	close_session(&session);
	close(listener);
	close(server);
	backend_nft.close(doors);
	return 0;
}

typedef int stage_fn(struct stage *stage);
struct run {
	stage_fn *fn;
	uint8_t family;
};

static int run_in_rig(struct rig *rig, void *arg, char *reason, size_t size)
{
	const struct run *run = arg;
	struct stage stage = { .rig = rig, .reason = reason, .size = size, .family = run->family };
	int err;

	if (run->family == AF_INET6 && !rig->has_ipv6)
		return 0;
	err = open_stage(&stage);
	if (err < 0) {
		snprintf(reason, size, "opening: %s", err_str(err));
		return err;
	}
	err = run->fn(&stage);
	backend_capture.close(stage.backend);
	return err < 0 ? err : place_find_leaks(reason, size);
}

static void run_test(stage_fn *fn)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };

	for (unsigned i = 0; i < 2; i++) {
		struct run run = { fn, families[i] };
		char reason[256] = "";
		int err = rig_run_within(TEST_MAX_MS, run_in_rig, &run, reason, sizeof(reason));

		CU_ASSERT_EQUAL(err, 0);
		if (err < 0)
			printf("# %s\n", reason);
	}
}

#define TEST(fn) \
	static void test_##fn(void) \
	{ \
		run_test(fn); \
	}
TEST(taken_over)
TEST(nothing_unseen)
TEST(not_its_own)
TEST(datagrams)
TEST(is_kept_up)
TEST(follows_the_configuration)
TEST(behind_a_closed_firewall)

static const struct unit_test tests[] = {
	{ "connections are taken over, and made on", test_taken_over },
	{ "nothing passes unseen", test_nothing_unseen },
	{ "not the gateway's own", test_not_its_own },
	{ "datagrams are taken over, and answered", test_datagrams },
	{ "what is taken away is put back", test_is_kept_up },
	{ "follows the configuration", test_follows_the_configuration },
	{ "behind a closed firewall", test_behind_a_closed_firewall },
};

int main(int argc, char **argv)
{
	return place_may_run() ? unit_main(argc, argv, "capture", tests, sizeof(tests) / sizeof(tests[0])) : 0;
}
