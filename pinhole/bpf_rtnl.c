/* Requests by rtnetlink and generic netlink, one at a time, each with an acknowledgement. Reads nothing unasked: changes are
 * noticed elsewhere. */
#include "pinhole/bpf_rtnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "core/err.h"

/* <linux/netdev.h> is younger than the oldest kernel headers that we build with. */
enum { NETDEV_DEV_GET = 1, NETDEV_IFINDEX = 1, NETDEV_XDP_FEATURES = 3, NETDEV_XDP_NDO_XMIT = 4 };
enum { ANSWER_MAX = 32768, ANSWER_S = 2 };

struct bpf_rtnl {
	struct mnl_socket *route, *generic;
	uint32_t serial;
	uint16_t netdev_family; /* 0: not asked for yet */
	char buffer[ANSWER_MAX] __attribute__((aligned(8)));
};

static int open_socket(int bus, struct mnl_socket **ret)
{
	struct timeval patience = { .tv_sec = ANSWER_S };
	struct mnl_socket *s = mnl_socket_open2(bus, SOCK_CLOEXEC);

	if (s == NULL)
		return -errno;
	if (mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0) {
		int err = -errno;

		mnl_socket_close(s);
		return err;
	}
	*ret = s;
	return 0;
}

int bpf_rtnl_open(struct bpf_rtnl **ret)
{
	struct bpf_rtnl *r = calloc(1, sizeof(*r));
	int err = r == NULL ? -ENOMEM : open_socket(NETLINK_ROUTE, &r->route);

	if (err == 0)
		err = open_socket(NETLINK_GENERIC, &r->generic);
	if (err < 0)
		bpf_rtnl_close(r);
	else
		*ret = r;
	return err;
}

void bpf_rtnl_close(struct bpf_rtnl *r)
{
	if (r == NULL)
		return;
	if (r->route != NULL)
		mnl_socket_close(r->route);
	if (r->generic != NULL)
		mnl_socket_close(r->generic);
	free(r);
}

static struct nlmsghdr *begin(struct bpf_rtnl *r, uint16_t type, uint16_t flags, const void *head, size_t size)
{
	struct nlmsghdr *n = mnl_nlmsg_put_header(r->buffer);

	n->nlmsg_type = type;
	n->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	n->nlmsg_seq = ++r->serial;
	memcpy(mnl_nlmsg_put_extra_header(n, size), head, size);
	return n;
}

static int ask(struct bpf_rtnl *r, struct mnl_socket *s, const struct nlmsghdr *n, mnl_cb_t fn, void *arg)
{
	int more = 1;

	if (mnl_socket_sendto(s, n, n->nlmsg_len) < 0)
		return -errno;
	while (more > 0) {
		ssize_t len = mnl_socket_recvfrom(s, r->buffer, sizeof(r->buffer));

		if (len < 0)
			return -errno;
		more = mnl_cb_run(r->buffer, (size_t)len, r->serial, mnl_socket_get_portid(s), fn, arg);
		if (more < 0 && errno == ESRCH) {
			more = 1; /* the late answer to a request that was given up */
			continue;
		}
		if (more < 0)
			return -errno;
	}
	return 0;
}

static int read_link(const struct nlmsghdr *n, void *arg)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(n);
	struct bpf_rtnl_link *link = arg;
	const struct nlattr *a;

	link->is_ethernet = info->ifi_type == ARPHRD_ETHER;
	link->is_up = (info->ifi_flags & IFF_UP) && (info->ifi_flags & IFF_RUNNING);
	mnl_attr_for_each(a, n, sizeof(*info)) {
		if (mnl_attr_get_type(a) == IFLA_ADDRESS && mnl_attr_get_payload_len(a) == sizeof(link->mac)) {
			memcpy(link->mac, mnl_attr_get_payload(a), sizeof(link->mac));
		} else if (mnl_attr_get_type(a) == IFLA_STATS64) {
			struct rtnl_link_stats64 stats = { 0 };
			size_t len = mnl_attr_get_payload_len(a);

			memcpy(&stats, mnl_attr_get_payload(a), len < sizeof(stats) ? len : sizeof(stats));
			link->tx_packets = stats.tx_packets;
			link->tx_lost = stats.tx_dropped + stats.tx_errors;
		}
	}
	return MNL_CB_OK;
}

int bpf_rtnl_link(struct bpf_rtnl *r, int index, struct bpf_rtnl_link *ret)
{
	struct ifinfomsg head = { .ifi_family = AF_UNSPEC, .ifi_index = index };
	struct bpf_rtnl_link link = { 0 };
	int err = ask(r, r->route, begin(r, RTM_GETLINK, 0, &head, sizeof(head)), read_link, &link);

	if (err == 0)
		*ret = link;
	return err;
}

static size_t ip_size(uint8_t family)
{
	return family == AF_INET6 ? 16 : 4;
}

static int change_neighbour(struct bpf_rtnl *r, const struct ndmsg *head, const uint8_t *ip, const uint8_t *mac)
{
	struct nlmsghdr *n = begin(r, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, head, sizeof(*head));

	mnl_attr_put(n, NDA_DST, ip_size(head->ndm_family), ip);
	if (mac != NULL)
		mnl_attr_put(n, NDA_LLADDR, 6, mac);
	return ask(r, r->route, n, NULL, NULL);
}

int bpf_rtnl_use_neighbour(struct bpf_rtnl *r, int index, uint8_t family, const uint8_t *ip)
{
	struct ndmsg head = { .ndm_family = family, .ndm_ifindex = index, .ndm_flags = NTF_USE };

	return change_neighbour(r, &head, ip, NULL);
}

int bpf_rtnl_add_neighbour(struct bpf_rtnl *r, int index, uint8_t family, const uint8_t *ip, const uint8_t mac[6])
{
	struct ndmsg head = { .ndm_family = family, .ndm_ifindex = index, .ndm_state = NUD_PERMANENT };

	return change_neighbour(r, &head, ip, mac);
}

static int read_family(const struct nlmsghdr *n, void *arg)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, n, sizeof(struct genlmsghdr))
		if (mnl_attr_get_type(a) == CTRL_ATTR_FAMILY_ID)
			*(uint16_t *)arg = mnl_attr_get_u16(a);
	return MNL_CB_OK;
}

struct features {
	uint64_t bits;
	bool is_known;
};

static int read_features(const struct nlmsghdr *n, void *arg)
{
	struct features *features = arg;
	const struct nlattr *a;

	mnl_attr_for_each(a, n, sizeof(struct genlmsghdr)) {
		if (mnl_attr_get_type(a) == NETDEV_XDP_FEATURES && mnl_attr_get_payload_len(a) == sizeof(uint64_t)) {
			features->bits = mnl_attr_get_u64(a);
			features->is_known = true;
		}
	}
	return MNL_CB_OK;
}

int bpf_rtnl_xdp_out(struct bpf_rtnl *r, int index, bool *ret_can_send)
{
	struct genlmsghdr head = { .cmd = CTRL_CMD_GETFAMILY, .version = 1 };
	struct features features = { 0 };
	struct nlmsghdr *n;
	int err = 0;

	if (r->netdev_family == 0) {
		n = begin(r, GENL_ID_CTRL, 0, &head, sizeof(head));
		mnl_attr_put_strz(n, CTRL_ATTR_FAMILY_NAME, "netdev");
		err = ask(r, r->generic, n, read_family, &r->netdev_family);
	}
	if (err < 0 || r->netdev_family == 0)
		return ERR_UNSUPPORTED;
	head = (struct genlmsghdr){ .cmd = NETDEV_DEV_GET, .version = 1 };
	n = begin(r, r->netdev_family, 0, &head, sizeof(head));
	mnl_attr_put_u32(n, NETDEV_IFINDEX, (uint32_t)index);
	err = ask(r, r->generic, n, read_features, &features);
	if (err < 0 || !features.is_known)
		return ERR_UNSUPPORTED;
	*ret_can_send = features.bits & NETDEV_XDP_NDO_XMIT;
	return 0;
}
