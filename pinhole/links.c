/* rtnetlink through libmnl: one socket for questions, one for events. Events only say that something changed (they may be lost,
 * ENOBUFS); interfaces and addresses are always read as a whole.
 *
 * Neighbours change their state all the time without any change to where packets go, so what is known of each is kept in a
 * small cache (a hash of the neighbour and its link-layer address; neighbours that share a place only cost refreshes). */
#include "pinhole/links.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/err.h"
#include "core/hash.h"

enum {
	CACHE_PLACES = 4096,
	EVENTS_PER_TURN = 256,
	EVENT_BUFFER_BYTES = 1 << 20,
	ANSWER_S = 2,
	GROW = 64,
	ENTRIES_MAX = 1 << 16, /* interfaces, and addresses, of this machine */
};

struct link_entry {
	int index;
	bool is_up;
	char name[IFNAMSIZ];
};

struct local { /* sorted by address */
	uint8_t family;
	bool is_broadcast;
	uint8_t ip[16];
	int index;
};

struct vector {
	void *items;
	unsigned n, cap;
};

struct neighbour {
	uint64_t who, where;
};

struct links {
	const struct limits *limits;
	struct mnl_socket *questions, *events;
	uint32_t sequence;
	struct backend_interface *interfaces; /* room for one per own address */
	unsigned n_interfaces;
	struct vector locals;
	bool is_due; /* a refresh failed */
	struct neighbour cache[CACHE_PLACES];
	_Alignas(8) char buffer[32768];
};

struct reading { /* a dump in progress */
	struct vector links, locals;
	int err;
};

static void *grow(struct vector *v, size_t size, int *ret_err)
{
	if (v->n == ENTRIES_MAX) {
		*ret_err = ERR_LIMIT;
		return NULL;
	}
	if (v->n == v->cap) {
		void *items = reallocarray(v->items, v->cap + GROW, size);

		if (items == NULL) {
			*ret_err = -ENOMEM;
			return NULL;
		}
		v->items = items;
		v->cap += GROW;
	}
	memset((char *)v->items + v->n * size, 0, size);
	return (char *)v->items + v->n++ * size;
}

static int on_link(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(nlh);
	struct reading *reading = arg;
	struct link_entry *entry;
	struct nlattr *attr;

	if (nlh->nlmsg_type != RTM_NEWLINK || mnl_nlmsg_get_payload_len(nlh) < sizeof(*info))
		return MNL_CB_OK;
	entry = grow(&reading->links, sizeof(*entry), &reading->err);
	if (entry == NULL)
		return MNL_CB_ERROR;
	entry->index = info->ifi_index;
	entry->is_up = (info->ifi_flags & IFF_UP) && (info->ifi_flags & IFF_RUNNING);
	mnl_attr_for_each(attr, nlh, sizeof(*info))
		if (mnl_attr_get_type(attr) == IFLA_IFNAME && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0 &&
		    mnl_attr_get_payload_len(attr) <= IFNAMSIZ)
			memcpy(entry->name, mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr));
	return MNL_CB_OK;
}

static void put_local(struct reading *reading, const struct local *local)
{
	struct local *entry = grow(&reading->locals, sizeof(*entry), &reading->err);

	if (entry != NULL)
		*entry = *local;
}

/* The kernel takes the last address of a network, and did take the first, for a broadcast whatever the interface says. */
static void put_broadcasts(struct reading *reading, struct local local, unsigned bits)
{
	uint32_t mask, ip;

	if (bits == 0 || bits >= 31)
		return;
	memcpy(&ip, local.ip, sizeof(ip));
	mask = htonl(~(UINT32_MAX >> bits));
	local.is_broadcast = true;
	for (int i = 0; i < 2; i++) {
		uint32_t all = i == 0 ? ip | ~mask : ip & mask;

		memcpy(local.ip, &all, sizeof(all));
		put_local(reading, &local);
	}
}

static int on_address(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifaddrmsg *info = mnl_nlmsg_get_payload(nlh);
	struct reading *reading = arg;
	struct local local = { 0 };
	const struct nlattr *attrs[IFA_MAX + 1] = { 0 };
	const struct nlattr *own;
	struct nlattr *attr;
	size_t len;

	if (nlh->nlmsg_type != RTM_NEWADDR || mnl_nlmsg_get_payload_len(nlh) < sizeof(*info))
		return MNL_CB_OK;
	if (info->ifa_family != AF_INET && info->ifa_family != AF_INET6)
		return MNL_CB_OK;
	len = info->ifa_family == AF_INET ? 4 : 16;
	mnl_attr_for_each(attr, nlh, sizeof(*info))
		if (mnl_attr_get_type(attr) <= IFA_MAX && mnl_attr_get_payload_len(attr) >= len)
			attrs[mnl_attr_get_type(attr)] = attr;
	local.family = info->ifa_family;
	local.index = (int)info->ifa_index;
	own = attrs[IFA_LOCAL] != NULL ? attrs[IFA_LOCAL] : attrs[IFA_ADDRESS];
	if (own == NULL)
		return MNL_CB_OK;
	memcpy(local.ip, mnl_attr_get_payload(own), len);
	put_local(reading, &local);
	if (info->ifa_family == AF_INET)
		put_broadcasts(reading, local, info->ifa_prefixlen);
	if (attrs[IFA_BROADCAST] != NULL && info->ifa_family == AF_INET) {
		local.is_broadcast = true;
		memcpy(local.ip, mnl_attr_get_payload(attrs[IFA_BROADCAST]), len);
		put_local(reading, &local);
	}
	return reading->err < 0 ? MNL_CB_ERROR : MNL_CB_OK;
}

static int dump(struct links *links, uint16_t type, size_t header, mnl_cb_t fn, struct reading *reading)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(links->buffer);
	unsigned portid = mnl_socket_get_portid(links->questions);
	uint32_t sequence = ++links->sequence;
	int ret;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = sequence;
	mnl_nlmsg_put_extra_header(nlh, header); /* zeroes: all families */
	if (mnl_socket_sendto(links->questions, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		ssize_t n = mnl_socket_recvfrom(links->questions, links->buffer, sizeof(links->buffer));

		if (n < 0)
			return errno == 0 ? -EIO : -errno;
		ret = mnl_cb_run(links->buffer, (size_t)n, sequence, portid, fn, reading);
		if (ret == MNL_CB_ERROR && reading->err < 0)
			return reading->err;
		/* An answer to a question that was given up; or the dump was disturbed: it is due again. */
		if (ret == MNL_CB_ERROR && errno != ESRCH && errno != EPROTO)
			return -errno;
	} while (ret != MNL_CB_STOP);
	return 0;
}

static int compare_locals(const void *a, const void *b)
{
	const struct local *x = a, *y = b;
	int order = memcmp(x->ip, y->ip, sizeof(x->ip));

	if (order != 0)
		return order;
	if (x->family != y->family)
		return x->family < y->family ? -1 : 1;
	return (int)x->is_broadcast - (int)y->is_broadcast;
}

/* An address that is ours comes before the same one as a broadcast. */
static const struct local *find_local(const struct vector *locals, const struct wire_addr *addr)
{
	const struct local *items = locals->items;
	unsigned low = 0, high = locals->n;
	struct local key = { .family = addr->family };

	memcpy(key.ip, addr->ip, sizeof(key.ip));
	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (compare_locals(&items[middle], &key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == locals->n || items[low].family != addr->family || memcmp(items[low].ip, addr->ip, sizeof(key.ip)) != 0)
		return NULL;
	return &items[low];
}

static const struct link_entry *find_link(const struct vector *v, const char *name, int index)
{
	const struct link_entry *items = v->items;

	for (unsigned i = 0; i < v->n; i++)
		if (name[0] != '\0' ? strncmp(items[i].name, name, IFNAMSIZ) == 0 : items[i].index == index)
			return &items[i];
	return NULL;
}

static struct backend_interface interface_of(const struct reading *reading, const struct wire_limit *own)
{
	const struct local *local = own->interface[0] == '\0' ? find_local(&reading->locals, &own->addr) : NULL;
	const struct link_entry *link = NULL;
	struct backend_interface interface = { .realm = own->realm };

	if (local != NULL || own->interface[0] != '\0')
		link = find_link(&reading->links, own->interface, local != NULL ? local->index : 0);
	memcpy(interface.name, own->interface, sizeof(interface.name));
	if (link != NULL) {
		memcpy(interface.name, link->name, sizeof(interface.name));
		interface.index = link->index;
		interface.is_up = link->is_up;
	}
	return interface;
}

_Static_assert(WIRE_INTERFACE_MAX == IFNAMSIZ, "names of interfaces");

static void put_interface(struct links *links, const struct backend_interface *interface)
{
	for (unsigned i = 0; i < links->n_interfaces; i++) {
		const struct backend_interface *have = &links->interfaces[i];

		if (have->realm == interface->realm && have->index == interface->index &&
		    strcmp(have->name, interface->name) == 0)
			return;
	}
	links->interfaces[links->n_interfaces++] = *interface;
}

int links_refresh(struct links *links)
{
	struct reading reading = { .err = 0 };
	int err;

	links->is_due = true;
	err = dump(links, RTM_GETLINK, sizeof(struct ifinfomsg), on_link, &reading);
	if (err == 0)
		err = dump(links, RTM_GETADDR, sizeof(struct ifaddrmsg), on_address, &reading);
	if (err < 0)
		goto out;
	if (reading.locals.n > 0)
		qsort(reading.locals.items, reading.locals.n, sizeof(struct local), compare_locals);
	links->n_interfaces = 0;
	for (unsigned i = 0; i < links->limits->n_own; i++) {
		struct backend_interface interface = interface_of(&reading, &links->limits->own[i]);

		if (interface.name[0] != '\0')
			put_interface(links, &interface);
	}
	free(links->locals.items);
	links->locals = reading.locals;
	reading.locals = (struct vector){ 0 };
	links->is_due = false;
out:
	free(reading.links.items);
	free(reading.locals.items);
	return err;
}

/* Whether packets to this neighbour go elsewhere now. */
static bool is_neighbour_news(struct links *links, const struct nlmsghdr *nlh)
{
	const struct ndmsg *info = mnl_nlmsg_get_payload(nlh);
	uint64_t who, where = 0;
	struct neighbour *place;
	struct nlattr *attr;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*info))
		return false;
	who = (uint64_t)(uint32_t)info->ndm_ifindex;
	mnl_attr_for_each(attr, nlh, sizeof(*info)) {
		struct span bytes = { mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr) };

		if (mnl_attr_get_type(attr) == NDA_DST)
			who = hash_bytes_seeded(bytes, who);
		else if (mnl_attr_get_type(attr) == NDA_LLADDR)
			where = hash_bytes(bytes) | 1;
	}
	if (nlh->nlmsg_type == RTM_DELNEIGH || (info->ndm_state & (NUD_FAILED | NUD_INCOMPLETE)))
		where = 0;
	place = &links->cache[who % CACHE_PLACES];
	if (place->who == who && place->where == where)
		return false;
	*place = (struct neighbour){ who, where };
	return true;
}

struct news {
	struct links *links;
	bool is_any;
};

static int on_event(const struct nlmsghdr *nlh, void *arg)
{
	struct news *news = arg;

	if (nlh->nlmsg_type == RTM_NEWNEIGH || nlh->nlmsg_type == RTM_DELNEIGH)
		news->is_any |= is_neighbour_news(news->links, nlh);
	else
		news->is_any = true;
	return MNL_CB_OK;
}

bool links_read(struct links *links)
{
	struct news news = { links, links->is_due };

	for (int i = 0; i < EVENTS_PER_TURN; i++) {
		ssize_t n = mnl_socket_recvfrom(links->events, links->buffer, sizeof(links->buffer));

		if (n < 0 && errno == ENOBUFS) /* some were lost */
			news.is_any = true;
		else if (n <= 0)
			break;
		else
			mnl_cb_run(links->buffer, (size_t)n, 0, 0, on_event, &news);
	}
	return news.is_any;
}

int links_fd(const struct links *links)
{
	return mnl_socket_get_fd(links->events);
}

struct backend_interface *links_interfaces(const struct links *links, unsigned *ret_n)
{
	*ret_n = links->n_interfaces;
	return links->interfaces;
}

static enum limits_verdict check_peer(const struct links *links, const struct wire_addr *peer)
{
	const struct local *local = peer->family != 0 ? find_local(&links->locals, peer) : NULL;
	struct addr addr = wire_addr_get(peer);

	if (local == NULL || addr_kind(&addr) == ADDR_LOOPBACK) /* decided by the limits */
		return LIMITS_OK;
	return local->is_broadcast ? LIMITS_PEER_BROADCAST : LIMITS_PEER_OWN;
}

enum limits_verdict links_pinhole(const struct links *links, const struct wire_pinhole *pinhole)
{
	enum limits_verdict verdict = check_peer(links, &pinhole->source);

	if (verdict == LIMITS_OK && !(pinhole->flags & WIRE_TO_SELF))
		verdict = check_peer(links, &pinhole->target);
	if (verdict == LIMITS_OK && (pinhole->flags & (WIRE_THROUGH | WIRE_TO_SELF)))
		verdict = check_peer(links, &pinhole->listen);
	return verdict;
}

enum limits_verdict links_socket(const struct links *links, const struct wire_socket_request *request)
{
	return request->is_transparent && request->is_connecting ? check_peer(links, &request->addr) : LIMITS_OK;
}

static int open_questions(struct links *links)
{
	struct timeval limit = { .tv_sec = ANSWER_S };

	links->questions = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (links->questions == NULL || mnl_socket_bind(links->questions, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	/* The kernel answers at once; this is for the day when it does not. */
	return setsockopt(mnl_socket_get_fd(links->questions), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ? -errno : 0;
}

static int open_events(struct links *links)
{
	const unsigned groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE |
				RTMGRP_NEIGH;
	int size = EVENT_BUFFER_BYTES;

	links->events = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (links->events == NULL || mnl_socket_bind(links->events, groups, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	/* More than net.core.rmem_max needs CAP_NET_ADMIN; without it, less is kept and more is read again. */
	if (setsockopt(mnl_socket_get_fd(links->events), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(mnl_socket_get_fd(links->events), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	return 0;
}

int links_open(const struct limits *limits, struct links **ret)
{
	struct links *links = calloc(1, sizeof(*links));
	int err = -ENOMEM;

	if (links == NULL)
		return -ENOMEM;
	links->limits = limits;
	links->interfaces = calloc(limits->n_own + 1, sizeof(*links->interfaces));
	if (links->interfaces == NULL)
		goto out;
	err = open_events(links); /* first: what changes while it is read comes as an event */
	if (err == 0)
		err = open_questions(links);
	if (err == 0)
		err = links_refresh(links);
	if (err == 0) {
		*ret = links;
		links = NULL;
	}
out:
	links_close(links);
	return err;
}

void links_close(struct links *links)
{
	if (links == NULL)
		return;
	if (links->questions != NULL)
		mnl_socket_close(links->questions);
	if (links->events != NULL)
		mnl_socket_close(links->events);
	free(links->interfaces);
	free(links->locals.items);
	free(links);
}
