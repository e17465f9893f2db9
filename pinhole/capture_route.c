/* pinhole/capture_route.h over libmnl: requests with an acknowledgement each. What is there already is refused by the kernel, and that
 * is how it is looked for. */
#include "pinhole/capture_route.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/time.h>

enum { MESSAGE_MAX = 4096, ANSWER_S = 2 };

struct capture_route {
	struct mnl_socket *socket;
	uint32_t serial, loopback;
	_Alignas(8) char buffer[MESSAGE_MAX];
};

int capture_route_open(struct capture_route **ret)
{
	struct timeval patience = { .tv_sec = ANSWER_S };
	struct capture_route *route = calloc(1, sizeof(*route));
	int err;

	if (route == NULL)
		return -ENOMEM;
	route->loopback = if_nametoindex("lo");
	route->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (route->socket == NULL || mnl_socket_bind(route->socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(route->socket), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0) {
		err = -errno;
		capture_route_close(route);
		return err;
	}
	*ret = route;
	return 0;
}

void capture_route_close(struct capture_route *route)
{
	if (route == NULL)
		return;
	if (route->socket != NULL)
		mnl_socket_close(route->socket);
	free(route);
}

static struct nlmsghdr *begin(struct capture_route *route, uint16_t type)
{
	const bool is_new = type == RTM_NEWRULE || type == RTM_NEWROUTE;
	struct nlmsghdr *head = mnl_nlmsg_put_header(route->buffer);

	head->nlmsg_type = type;
	head->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | (is_new ? NLM_F_CREATE | NLM_F_EXCL : 0);
	head->nlmsg_seq = ++route->serial;
	return head;
}

static int talk(struct capture_route *route, const struct nlmsghdr *head)
{
	int more = 1;

	if (mnl_socket_sendto(route->socket, head, head->nlmsg_len) < 0)
		return -errno;
	while (more > 0) {
		ssize_t n = mnl_socket_recvfrom(route->socket, route->buffer, sizeof(route->buffer));

		if (n < 0)
			return -errno;
		more = mnl_cb_run(route->buffer, (size_t)n, route->serial, mnl_socket_get_portid(route->socket), NULL, NULL);
		if (more < 0 && errno == EPROTO) /* the late answer to a request that was given up */
			more = 1;
		else if (more < 0)
			return -errno;
	}
	return 0;
}

static int change_rule(struct capture_route *route, const struct nft_capture_routing *routing, uint8_t family, uint16_t type)
{
	struct nlmsghdr *head = begin(route, type);
	struct fib_rule_hdr *rule = mnl_nlmsg_put_extra_header(head, sizeof(*rule));

	rule->family = family;
	rule->action = FR_ACT_TO_TBL;
	mnl_attr_put_u32(head, FRA_PRIORITY, NFT_CAPTURE_PRIORITY);
	mnl_attr_put_u32(head, FRA_FWMARK, routing->mark);
	mnl_attr_put_u32(head, FRA_FWMASK, NFT_CAPTURE_MASK);
	mnl_attr_put_u32(head, FRA_TABLE, routing->table);
	return talk(route, head);
}

static int change_route(struct capture_route *route, const struct nft_capture_routing *routing, uint8_t family, uint16_t type)
{
	struct nlmsghdr *head = begin(route, type);
	struct rtmsg *message = mnl_nlmsg_put_extra_header(head, sizeof(*message));

	message->rtm_family = family;
	message->rtm_table = RT_TABLE_UNSPEC;
	message->rtm_protocol = RTPROT_STATIC;
	message->rtm_scope = family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
	message->rtm_type = RTN_LOCAL;
	mnl_attr_put_u32(head, RTA_TABLE, routing->table);
	mnl_attr_put_u32(head, RTA_OIF, route->loopback);
	return talk(route, head);
}

int capture_route_put(struct capture_route *route, const struct nft_capture_routing *routing, uint8_t family)
{
	int err = change_route(route, routing, family, RTM_NEWROUTE);

	if (err == 0 || err == -EEXIST)
		err = change_rule(route, routing, family, RTM_NEWRULE);
	return err == -EEXIST ? 0 : err;
}

int capture_route_remove(struct capture_route *route, const struct nft_capture_routing *routing, uint8_t family)
{
	int err = change_rule(route, routing, family, RTM_DELRULE);

	if (err < 0 && err != -ENOENT && err != -ESRCH)
		return err;
	err = change_route(route, routing, family, RTM_DELROUTE);
	return err == -ENOENT || err == -ESRCH ? 0 : err;
}
