/* pinhole/rig.h: namespaces by unshare(2), links, addresses and routes by rtnetlink over libmnl. Without the right to make
 * network namespaces it tries a user namespace, where everybody has it. */
#include "pinhole/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/err.h"

enum { RUN_MAX_MS = 10000, PASS_MAX_MS = 3000, MESSAGE_MAX = 4096, FIRST_INDEX = 10, PEER_INDEX = 100 };
static const char *const gateway_side[RIG_PLACES] = { [RIG_LEFT] = "left", [RIG_RIGHT] = "right" };

static struct addr address(enum rig_place side, uint8_t family, uint8_t host, uint16_t port)
{
	struct addr addr = { .family = family, .port = port };
	uint8_t net = side == RIG_LEFT ? 1 : 2;

	if (family == AF_INET) {
		memcpy(addr.ip, (uint8_t[]){ 198, 18, net, host }, 4);
	} else {
		memcpy(addr.ip, (uint8_t[]){ 0xfd, 0x18, 0, net }, 4);
		addr.ip[15] = host;
	}
	return addr;
}

struct addr rig_host(enum rig_place side, uint8_t family, uint16_t port)
{
	return address(side, family, 2, port);
}

struct addr rig_gateway(enum rig_place side, uint8_t family, uint16_t port)
{
	return address(side, family, 1, port);
}

int rig_enter(const struct rig *rig, enum rig_place place)
{
	return setns(rig->ns[place], CLONE_NEWNET) < 0 ? -errno : 0;
}

int rig_sysctl(const char *name, const char *text)
{
	char path[128];
	size_t len = strlen(text);
	int fd, err = 0;

	snprintf(path, sizeof(path), "/proc/sys/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, len) != (ssize_t)len)
		err = errno ? -errno : -EIO;
	close(fd);
	return err;
}

static int put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool is_done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return is_done ? 0 : -EPERM;
}

/* As root of a user namespace: programs that it starts keep their capabilities only with a user id that is mapped to 0. */
static int unshare_as_user(void)
{
	char map[2][40];

	snprintf(map[0], sizeof(map[0]), "0 %u 1", (unsigned)geteuid());
	snprintf(map[1], sizeof(map[1]), "0 %u 1", (unsigned)getegid());
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return -errno;
	if (put_file("/proc/self/setgroups", "deny") < 0 || put_file("/proc/self/uid_map", map[0]) < 0 ||
	    put_file("/proc/self/gid_map", map[1]) < 0)
		return -EPERM;
	return 0;
}

static int make_namespace(bool may_try_user, int *ret)
{
	int err = unshare(CLONE_NEWNET) < 0 ? -errno : 0, fd;

	if (err == -EPERM && may_try_user)
		err = unshare_as_user();
	if (err < 0)
		return err;
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* Else a link-local address takes seconds to come into use, and until then nothing is forwarded. No IPv6: no harm. */
	rig_sysctl("net/ipv6/conf/all/accept_dad", "0");
	rig_sysctl("net/ipv6/conf/default/accept_dad", "0");
	*ret = fd;
	return 0;
}

/* Sends a request to rtnetlink in the namespace of the moment and waits for the answer. */
static int talk(struct nlmsghdr *request)
{
	char buffer[MESSAGE_MAX];
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	ssize_t n;
	int err = 0;

	if (!socket)
		return -errno;
	request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	request->nlmsg_seq = 1;
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    mnl_socket_sendto(socket, request, request->nlmsg_len) < 0 ||
	    (n = mnl_socket_recvfrom(socket, buffer, sizeof(buffer))) < 0 ||
	    mnl_cb_run(buffer, (size_t)n, 1, mnl_socket_get_portid(socket), NULL, NULL) < 0)
		err = errno ? -errno : -EIO;
	mnl_socket_close(socket);
	return err;
}

static struct nlmsghdr *request(char *buffer, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *head = mnl_nlmsg_put_header(buffer);

	head->nlmsg_type = type;
	head->nlmsg_flags = flags;
	return head;
}

/* The ends need different indices. With equal ones the kernel takes them for links of their own, and may tell each other
 * that they are up only a second later. */
static int make_veth(const char *name, int index, int peer_ns)
{
	char buffer[MESSAGE_MAX];
	struct nlmsghdr *head = request(buffer, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
	struct ifinfomsg *peer_link;
	struct nlattr *info, *data, *peer;
	struct ifinfomsg *link = mnl_nlmsg_put_extra_header(head, sizeof(*link));

	link->ifi_index = index;
	mnl_attr_put_strz(head, IFLA_IFNAME, name);
	info = mnl_attr_nest_start(head, IFLA_LINKINFO);
	mnl_attr_put_strz(head, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(head, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(head, VETH_INFO_PEER);
	peer_link = mnl_nlmsg_put_extra_header(head, sizeof(*peer_link));
	peer_link->ifi_index = PEER_INDEX;
	mnl_attr_put_strz(head, IFLA_IFNAME, "host");
	mnl_attr_put_u32(head, IFLA_NET_NS_FD, (uint32_t)peer_ns);
	mnl_attr_nest_end(head, peer);
	mnl_attr_nest_end(head, data);
	mnl_attr_nest_end(head, info);
	return talk(head);
}

static int set_up(int ifindex)
{
	char buffer[MESSAGE_MAX];
	struct nlmsghdr *head = request(buffer, RTM_NEWLINK, 0);
	struct ifinfomsg *link = mnl_nlmsg_put_extra_header(head, sizeof(*link));

	link->ifi_index = ifindex;
	link->ifi_flags = link->ifi_change = IFF_UP;
	return talk(head);
}

static size_t ip_len(const struct addr *addr)
{
	return addr->family == AF_INET ? 4 : 16;
}

static int add_address(int ifindex, const struct addr *addr)
{
	char buffer[MESSAGE_MAX];
	struct nlmsghdr *head = request(buffer, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
	struct ifaddrmsg *message = mnl_nlmsg_put_extra_header(head, sizeof(*message));

	message->ifa_family = addr->family;
	message->ifa_prefixlen = addr->family == AF_INET ? 24 : 64;
	message->ifa_flags = addr->family == AF_INET6 ? IFA_F_NODAD : 0;
	message->ifa_index = (uint32_t)ifindex;
	mnl_attr_put(head, IFA_LOCAL, ip_len(addr), addr->ip);
	mnl_attr_put(head, IFA_ADDRESS, ip_len(addr), addr->ip);
	return talk(head);
}

static int add_default_route(const struct addr *gateway)
{
	char buffer[MESSAGE_MAX];
	struct nlmsghdr *head = request(buffer, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
	struct rtmsg *route = mnl_nlmsg_put_extra_header(head, sizeof(*route));

	route->rtm_family = gateway->family;
	route->rtm_table = RT_TABLE_MAIN;
	route->rtm_protocol = RTPROT_STATIC;
	route->rtm_type = RTN_UNICAST;
	mnl_attr_put(head, RTA_GATEWAY, ip_len(gateway), gateway->ip);
	return talk(head);
}

/* Both ends of one side: "left" or "right" in the gateway, "host" in the host. */
static int make_side(struct rig *rig, enum rig_place side, uint8_t family)
{
	struct addr host = rig_host(side, family, 0), gateway = rig_gateway(side, family, 0);
	int err, ends = rig->ifindex[side == RIG_RIGHT];

	err = add_address(ends, &gateway);
	if (err == 0)
		err = rig_enter(rig, side);
	if (err < 0)
		return err;
	err = add_address((int)if_nametoindex("host"), &host);
	if (err == 0)
		err = add_default_route(&gateway);
	rig_enter(rig, RIG_GATEWAY);
	return err;
}

/* A first question for the neighbour may come too early for the other end; the second one should not take a second. */
static void ask_soon(const char *interface)
{
	static const char *const families[] = { "ipv4", "ipv6" };
	char name[64];

	for (unsigned i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "net/%s/neigh/%s/retrans_time_ms", families[i], interface);
		rig_sysctl(name, "100");
	}
}

static int make_link(struct rig *rig, enum rig_place side)
{
	int *index = &rig->ifindex[side == RIG_RIGHT];
	int err;

	*index = FIRST_INDEX + (int)side;
	err = make_veth(gateway_side[side], *index, rig->ns[side]);
	if (err < 0)
		return err;
	ask_soon(gateway_side[side]);
	err = rig_enter(rig, side);
	if (err == 0)
		err = set_up((int)if_nametoindex("lo"));
	ask_soon("host");
	if (err == 0)
		err = set_up((int)if_nametoindex("host"));
	if (err == 0)
		err = rig_enter(rig, RIG_GATEWAY);
	return err < 0 ? err : set_up(*index);
}

static int make_sides(struct rig *rig, const char **ret_what)
{
	static const enum rig_place sides[] = { RIG_LEFT, RIG_RIGHT };
	int err = set_up((int)if_nametoindex("lo"));

	*ret_what = "making a veth pair";
	for (unsigned i = 0; i < 2 && err == 0; i++)
		err = make_link(rig, sides[i]);
	if (err < 0)
		return err;
	*ret_what = "giving it addresses";
	for (unsigned i = 0; i < 2 && err == 0; i++)
		err = make_side(rig, sides[i], AF_INET);
	if (err < 0)
		return err;
	*ret_what = "switching forwarding on";
	err = rig_sysctl("net/ipv4/ip_forward", "1");
	rig->has_ipv6 = rig_sysctl("net/ipv6/conf/all/forwarding", "1") == 0 &&
			make_side(rig, RIG_LEFT, AF_INET6) == 0 && make_side(rig, RIG_RIGHT, AF_INET6) == 0;
	return err;
}

int rig_open(struct rig *ret, const char **ret_what)
{
	static const enum rig_place order[] = { RIG_LEFT, RIG_RIGHT, RIG_GATEWAY };
	struct rig rig = { .ns = { -1, -1, -1 } };
	int err = 0;

	*ret_what = "making a network namespace";
	for (unsigned i = 0; i < RIG_PLACES && err == 0; i++)
		err = make_namespace(i == 0, &rig.ns[order[i]]);
	if (err == 0)
		err = make_sides(&rig, ret_what);
	if (err < 0) {
		rig_close(&rig);
		return err;
	}
	*ret = rig;
	return 0;
}

void rig_close(struct rig *rig)
{
	for (unsigned i = 0; i < RIG_PLACES; i++)
		if (rig->ns[i] >= 0)
			close(rig->ns[i]);
}

int rig_socket(const struct rig *rig, enum rig_place place, int type, const struct addr *addr)
{
	struct sockaddr_storage storage;
	socklen_t len = addr_to_sockaddr(addr, &storage);
	int err = rig_enter(rig, place), fd;

	if (err < 0)
		return err;
	fd = socket(addr->family, type | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&storage, len) < 0) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		fd = err;
	}
	err = rig_enter(rig, RIG_GATEWAY);
	if (err < 0 && fd >= 0) {
		close(fd);
		return err;
	}
	return fd;
}

int rig_pass(const struct rig_pass *pass, char *reason, size_t size)
{
	static const char text[] = "Postern tests this way.";
	char got[sizeof(text) + 1], texts[2][ADDR_TEXT_MAX];
	struct pollfd poll_fd = { .fd = pass->far, .events = POLLIN };
	struct sockaddr_storage storage;
	socklen_t len = addr_to_sockaddr(&pass->to, &storage);
	struct addr from;

	addr_text(&pass->to, texts[0]);
	if (sendto(pass->fd, text, sizeof(text), 0, (struct sockaddr *)&storage, len) != (ssize_t)sizeof(text)) {
		snprintf(reason, size, "sending to %s: %s", texts[0], err_str(-errno));
		return -ENODATA;
	}
	len = sizeof(storage);
	if (poll(&poll_fd, 1, pass->wait_ms ? pass->wait_ms : PASS_MAX_MS) != 1 ||
	    recvfrom(pass->far, got, sizeof(got), 0, (struct sockaddr *)&storage, &len) != (ssize_t)sizeof(text) ||
	    memcmp(got, text, sizeof(text)) != 0) {
		snprintf(reason, size, "a packet to %s did not come through", texts[0]);
		return -ENODATA;
	}
	from = addr_from_sockaddr((struct sockaddr *)&storage);
	if (!addr_eq(&from, &pass->as)) {
		snprintf(reason, size, "a packet to %s came out from %s", texts[0], addr_text(&from, texts[1]));
		return -ENODATA;
	}
	return 0;
}

struct verdict {
	int err;
	char reason[256];
};

static void run_child(rig_fn *fn, void *arg, int to_parent)
{
	struct verdict verdict = { 0 };
	struct rig rig;
	const char *what;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	verdict.err = rig_open(&rig, &what);
	if (verdict.err < 0)
		snprintf(verdict.reason, sizeof(verdict.reason), "%s: %s", what, err_str(verdict.err));
	else
		verdict.err = fn(&rig, arg, verdict.reason, sizeof(verdict.reason));
	_exit(write(to_parent, &verdict, sizeof(verdict)) == (ssize_t)sizeof(verdict) ? 0 : 1);
}

/* One record, within the time; the child is gone afterwards. */
static int await_child(pid_t pid, int from_child, int max_ms, struct verdict *verdict)
{
	struct pollfd poll_fd = { .fd = from_child, .events = POLLIN };
	bool is_told;
	int n;

	do
		n = poll(&poll_fd, 1, max_ms);
	while (n < 0 && errno == EINTR);
	is_told = n == 1 && read(from_child, verdict, sizeof(*verdict)) == (ssize_t)sizeof(*verdict);
	if (!is_told)
		kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return is_told ? 0 : -ETIMEDOUT;
}

int rig_run_within(int max_ms, rig_fn *fn, void *arg, char *reason, size_t size)
{
	struct verdict verdict = { 0 };
	int ends[2], err;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		run_child(fn, arg, ends[1]);
	}
	err = pid < 0 ? -errno : 0;
	close(ends[1]);
	if (err == 0) {
		err = await_child(pid, ends[0], max_ms, &verdict);
		if (err == 0)
			err = verdict.err;
		else
			snprintf(verdict.reason, sizeof(verdict.reason), "the test ended without an answer");
	}
	close(ends[0]);
	if (err < 0)
		snprintf(reason, size, "%.*s", (int)sizeof(verdict.reason) - 1, verdict.reason);
	return err;
}

int rig_run(rig_fn *fn, void *arg, char *reason, size_t size)
{
	return rig_run_within(RUN_MAX_MS, fn, arg, reason, size);
}
