/* pinhole/conntrack_kernel.h over libnetfilter_conntrack (messages) and libmnl (sockets). Requests, dumps and dumps in steps
 * have a socket each, so that a dump can be read while its entries are being changed.
 *
 * Not used: IPS_FIXED_TIMEOUT. It would keep the kernel from shortening an entry's life to nf_conntrack_udp_timeout_stream
 * with every packet, but an entry with it can never be renewed. */
#include "pinhole/conntrack_kernel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack_tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/buf.h"

enum { DUMP_BUFFER = 32768, REQUEST_MAX = 1024, EVENTS_BUFFER = 1 << 20, PER_BUFFER = 125 /* entries */ };

struct conntrack_kernel {
	struct mnl_socket *requests, *dumps, *steps, *events;
	struct nfct_filter_dump *filter; /* reused by every dump */
	uint32_t serial, steps_serial; /* of the dump in steps, 0: none */
};

_Static_assert((int)CONNTRACK_TCP_FIN_WAIT == (int)TCP_CONNTRACK_FIN_WAIT, "kernel's numbers");
_Static_assert((int)CONNTRACK_TCP_LAST_ACK == (int)TCP_CONNTRACK_LAST_ACK, "kernel's numbers");
_Static_assert((int)CONNTRACK_TCP_TIME_WAIT == (int)TCP_CONNTRACK_TIME_WAIT, "kernel's numbers");
_Static_assert((int)CONNTRACK_TCP_CLOSE == (int)TCP_CONNTRACK_CLOSE, "kernel's numbers");
_Static_assert((int)CONNTRACK_DST_NAT == (int)IPS_DST_NAT, "kernel's numbers");

/* Attributes of the library for one end of a tuple. */
struct end {
	enum nf_conntrack_attr ipv4, ipv6, port;
};
static const struct end orig_src = { ATTR_ORIG_IPV4_SRC, ATTR_ORIG_IPV6_SRC, ATTR_ORIG_PORT_SRC };
static const struct end orig_dst = { ATTR_ORIG_IPV4_DST, ATTR_ORIG_IPV6_DST, ATTR_ORIG_PORT_DST };
static const struct end repl_src = { ATTR_REPL_IPV4_SRC, ATTR_REPL_IPV6_SRC, ATTR_REPL_PORT_SRC };
static const struct end repl_dst = { ATTR_REPL_IPV4_DST, ATTR_REPL_IPV6_DST, ATTR_REPL_PORT_DST };
static const struct end nat_src = { ATTR_SNAT_IPV4, ATTR_SNAT_IPV6, ATTR_SNAT_PORT };
static const struct end nat_dst = { ATTR_DNAT_IPV4, ATTR_DNAT_IPV6, ATTR_DNAT_PORT };

static void put_end(struct nf_conntrack *ct, const struct end *end, const struct wire_addr *addr)
{
	nfct_set_attr(ct, addr->family == AF_INET ? end->ipv4 : end->ipv6, addr->ip);
	nfct_set_attr_u16(ct, end->port, htons(addr->port));
}

static struct wire_addr get_end(const struct nf_conntrack *ct, const struct end *end, uint8_t family)
{
	struct wire_addr addr = { .family = family, .port = ntohs(nfct_get_attr_u16(ct, end->port)) };
	const void *ip = nfct_get_attr(ct, family == AF_INET ? end->ipv4 : end->ipv6);

	if (ip)
		memcpy(addr.ip, ip, family == AF_INET ? 4 : 16);
	return addr;
}

static void put_orig(struct nf_conntrack *ct, uint8_t proto, const struct wire_addr *src, const struct wire_addr *dst)
{
	nfct_set_attr_u8(ct, ATTR_L3PROTO, src->family);
	nfct_set_attr_u8(ct, ATTR_L4PROTO, proto);
	put_end(ct, &orig_src, src);
	put_end(ct, &orig_dst, dst);
}

static struct conntrack_entry entry_of(const struct nf_conntrack *ct)
{
	uint8_t family = nfct_get_attr_u8(ct, ATTR_ORIG_L3PROTO);

	return (struct conntrack_entry){
		.source = get_end(ct, &orig_src, family), .listen = get_end(ct, &orig_dst, family),
		.target = get_end(ct, &repl_src, family), .from = get_end(ct, &repl_dst, family),
		.proto = nfct_get_attr_u8(ct, ATTR_ORIG_L4PROTO),
		.tcp_state = nfct_attr_is_set(ct, ATTR_TCP_STATE) > 0 ? nfct_get_attr_u8(ct, ATTR_TCP_STATE) : 0,
		.has_closed_first = { nfct_get_attr_u8(ct, ATTR_TCP_FLAGS_ORIG) & IP_CT_TCP_FLAG_CLOSE_INIT,
				      nfct_get_attr_u8(ct, ATTR_TCP_FLAGS_REPL) & IP_CT_TCP_FLAG_CLOSE_INIT },
		.mark = nfct_get_attr_u32(ct, ATTR_MARK), .timeout_s = nfct_get_attr_u32(ct, ATTR_TIMEOUT),
		.id = nfct_get_attr_u32(ct, ATTR_ID), .status = nfct_get_attr_u32(ct, ATTR_STATUS),
		.packets = { nfct_get_attr_u64(ct, ATTR_ORIG_COUNTER_PACKETS), nfct_get_attr_u64(ct, ATTR_REPL_COUNTER_PACKETS) },
		.bytes = { nfct_get_attr_u64(ct, ATTR_ORIG_COUNTER_BYTES), nfct_get_attr_u64(ct, ATTR_REPL_COUNTER_BYTES) },
	};
}

static struct mnl_socket *open_socket(unsigned groups)
{
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);

	if (socket && mnl_socket_bind(socket, groups, MNL_SOCKET_AUTOPID) < 0) {
		mnl_socket_close(socket);
		return NULL;
	}
	return socket;
}

int conntrack_kernel_open(struct conntrack_kernel **ret)
{
	struct conntrack_kernel *kernel = calloc(1, sizeof(*kernel));
	int err;

	if (!kernel)
		return -ENOMEM;
	errno = ENOMEM;
	kernel->requests = open_socket(0);
	kernel->dumps = kernel->requests ? open_socket(0) : NULL;
	kernel->steps = kernel->dumps ? open_socket(0) : NULL;
	kernel->filter = kernel->steps ? nfct_filter_dump_create() : NULL;
	if (!kernel->filter) {
		err = -errno;
		conntrack_kernel_close(kernel);
		return err;
	}
	*ret = kernel;
	return 0;
}

void conntrack_kernel_close(struct conntrack_kernel *kernel)
{
	if (!kernel)
		return;
	if (kernel->requests)
		mnl_socket_close(kernel->requests);
	if (kernel->dumps)
		mnl_socket_close(kernel->dumps);
	if (kernel->steps)
		mnl_socket_close(kernel->steps);
	if (kernel->events)
		mnl_socket_close(kernel->events);
	if (kernel->filter)
		nfct_filter_dump_destroy(kernel->filter);
	free(kernel);
}

static struct nlmsghdr *begin(struct conntrack_kernel *kernel, void *buffer, int type, uint16_t flags)
{
	struct nlmsghdr *head = mnl_nlmsg_put_header(buffer);
	struct nfgenmsg *message = mnl_nlmsg_put_extra_header(head, sizeof(*message));

	head->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
	head->nlmsg_flags = NLM_F_REQUEST | flags;
	head->nlmsg_seq = ++kernel->serial;
	message->version = NFNETLINK_V0;
	return head;
}

/* The family of the addresses goes into the header, else the kernel does not understand the tuples. */
static int add(struct nlmsghdr *head, const struct nf_conntrack *ct)
{
	((struct nfgenmsg *)mnl_nlmsg_get_payload(head))->nfgen_family = nfct_get_attr_u8(ct, ATTR_L3PROTO);
	return nfct_nlmsg_build(head, ct) < 0 ? -EINVAL : 0;
}

/* One piece of the answer to request `serial`. 1 when there is more, 0 at the end. */
static int receive(struct mnl_socket *socket, uint32_t serial, mnl_cb_t fn, void *arg)
{
	char buffer[DUMP_BUFFER] SCRATCH;
	ssize_t n = mnl_socket_recvfrom(socket, buffer, sizeof(buffer));
	int more;

	if (n < 0)
		return -errno;
	more = mnl_cb_run(buffer, (size_t)n, serial, mnl_socket_get_portid(socket), fn, arg);
	if (more < 0 && errno == ESRCH) /* an answer to an earlier request that was given up */
		more = MNL_CB_OK;
	return more < 0 ? -errno : more > MNL_CB_STOP;
}

/* Sends and reads the answer up to its end, with fn for data. */
static int talk(struct mnl_socket *socket, const struct nlmsghdr *head, mnl_cb_t fn, void *arg)
{
	int more;

	if (mnl_socket_sendto(socket, head, head->nlmsg_len) < 0)
		return -errno;
	do
		more = receive(socket, head->nlmsg_seq, fn, arg);
	while (more > 0);
	return more;
}

/* A request about one tuple that is answered with yes or no. */
static int request(struct conntrack_kernel *kernel, int type, uint16_t flags, const struct nf_conntrack *ct)
{
	char buffer[REQUEST_MAX];
	struct nlmsghdr *head = begin(kernel, buffer, type, NLM_F_ACK | flags);
	int err = add(head, ct);

	return err < 0 ? err : talk(kernel->requests, head, NULL, NULL);
}

int conntrack_kernel_create(struct conntrack_kernel *kernel, const struct conntrack_entry *entry)
{
	struct nf_conntrack *ct = nfct_new();
	int err;

	if (!ct)
		return -ENOMEM;
	put_orig(ct, entry->proto, &entry->source, &entry->listen);
	/* The tuple of answers before translation; the kernel works out the final one from the translation. */
	nfct_set_attr_u8(ct, ATTR_REPL_L3PROTO, entry->source.family);
	nfct_set_attr_u8(ct, ATTR_REPL_L4PROTO, entry->proto);
	put_end(ct, &repl_src, &entry->listen);
	put_end(ct, &repl_dst, &entry->source);
	put_end(ct, &nat_src, &entry->from);
	put_end(ct, &nat_dst, &entry->target);
	nfct_set_attr_u32(ct, ATTR_MARK, entry->mark);
	nfct_set_attr_u32(ct, ATTR_TIMEOUT, entry->timeout_s);
	if (entry->proto == IPPROTO_TCP)
		nfct_set_attr_u8(ct, ATTR_TCP_STATE, TCP_CONNTRACK_NONE);
	nfct_set_attr_u32(ct, ATTR_STATUS, IPS_CONFIRMED | IPS_SEEN_REPLY | IPS_ASSURED);
	err = request(kernel, IPCTNL_MSG_CT_NEW, NLM_F_CREATE | NLM_F_EXCL, ct);
	nfct_destroy(ct);
	return err == -ENOMEM ? -ENOSPC : err;
}

struct visit {
	conntrack_entry_fn *fn;
	void *arg;
};

static int visit_message(const struct nlmsghdr *head, void *arg)
{
	struct visit *visit = arg;
	struct nf_conntrack *ct = nfct_new();
	struct conntrack_entry entry;

	if (!ct)
		return MNL_CB_ERROR;
	if (nfct_nlmsg_parse(head, ct) >= 0) {
		entry = entry_of(ct);
		visit->fn(visit->arg, &entry);
	}
	nfct_destroy(ct);
	return MNL_CB_OK;
}

struct found {
	bool is_found;
	struct conntrack_entry entry;
};

static void keep(void *arg, const struct conntrack_entry *entry)
{
	*(struct found *)arg = (struct found){ true, *entry };
}

int conntrack_kernel_find(struct conntrack_kernel *kernel, uint8_t proto, const struct wire_addr *src,
			  const struct wire_addr *dst, struct conntrack_entry *ret)
{
	char buffer[REQUEST_MAX];
	struct nlmsghdr *head = begin(kernel, buffer, IPCTNL_MSG_CT_GET, NLM_F_ACK);
	struct nf_conntrack *ct = nfct_new();
	struct found found = { 0 };
	struct visit visit = { keep, &found };
	int err;

	if (!ct)
		return -ENOMEM;
	put_orig(ct, proto, src, dst);
	err = add(head, ct);
	nfct_destroy(ct);
	if (err == 0)
		err = talk(kernel->requests, head, visit_message, &visit);
	if (err < 0)
		return err;
	if (!found.is_found)
		return -ENOENT;
	*ret = found.entry;
	return 0;
}

/* The entry's own tuple, and its id if known. */
static struct nf_conntrack *named(const struct conntrack_entry *entry)
{
	struct nf_conntrack *ct = nfct_new();

	if (!ct)
		return NULL;
	put_orig(ct, entry->proto, &entry->source, &entry->listen);
	if (entry->id)
		nfct_set_attr_u32(ct, ATTR_ID, entry->id);
	return ct;
}

int conntrack_kernel_delete(struct conntrack_kernel *kernel, const struct conntrack_entry *entry)
{
	struct nf_conntrack *ct = named(entry);
	int err = ct ? request(kernel, IPCTNL_MSG_CT_DELETE, 0, ct) : -ENOMEM;

	nfct_destroy(ct);
	return err;
}

int conntrack_kernel_set_timeout(struct conntrack_kernel *kernel, const struct conntrack_entry *entry, uint32_t timeout_s)
{
	struct nf_conntrack *ct = named(entry);
	int err;

	if (!ct)
		return -ENOMEM;
	nfct_set_attr_u32(ct, ATTR_TIMEOUT, timeout_s);
	err = request(kernel, IPCTNL_MSG_CT_NEW, 0, ct);
	nfct_destroy(ct);
	return err;
}

static int build_dump(struct conntrack_kernel *kernel, struct nlmsghdr *head, uint32_t value, uint32_t mask)
{
	struct nfct_filter_dump_mark mark = { .val = value, .mask = mask };

	nfct_filter_dump_set_attr(kernel->filter, NFCT_FILTER_DUMP_MARK, &mark);
	return nfct_nlmsg_build_filter(head, kernel->filter) < 0 ? -EINVAL : 0;
}

int conntrack_kernel_dump(struct conntrack_kernel *kernel, uint32_t value, uint32_t mask, conntrack_entry_fn *fn, void *arg)
{
	char buffer[REQUEST_MAX];
	struct nlmsghdr *head = begin(kernel, buffer, IPCTNL_MSG_CT_GET, NLM_F_DUMP);
	struct visit visit = { fn, arg };
	int err = build_dump(kernel, head, value, mask);

	return err < 0 ? err : talk(kernel->dumps, head, visit_message, &visit);
}

int conntrack_kernel_begin(struct conntrack_kernel *kernel, uint32_t value, uint32_t mask)
{
	char buffer[REQUEST_MAX];
	struct nlmsghdr *head = begin(kernel, buffer, IPCTNL_MSG_CT_GET, NLM_F_DUMP);
	int err = build_dump(kernel, head, value, mask);

	if (err == 0 && mnl_socket_sendto(kernel->steps, head, head->nlmsg_len) < 0)
		err = -errno;
	kernel->steps_serial = head->nlmsg_seq;
	return err;
}

int conntrack_kernel_step(struct conntrack_kernel *kernel, conntrack_entry_fn *fn, void *arg)
{
	struct visit visit = { fn, arg };
	int more = 1;

	for (unsigned i = 0; i < CONNTRACK_STEP / PER_BUFFER && more > 0; i++)
		more = receive(kernel->steps, kernel->steps_serial, visit_message, &visit);
	return more;
}

int conntrack_kernel_watch(struct conntrack_kernel *kernel, enum conntrack_news news, uint32_t value, uint32_t mask)
{
	struct nfct_filter_dump_mark mark = { .val = value, .mask = mask };
	struct mnl_socket *socket = open_socket(news == CONNTRACK_ENDS ? NF_NETLINK_CONNTRACK_DESTROY : NF_NETLINK_CONNTRACK_NEW);
	struct nfct_filter *filter = socket ? nfct_filter_create() : NULL;
	int size = EVENTS_BUFFER, err = 0;

	if (!filter) {
		err = errno ? -errno : -ENOMEM;
		if (socket)
			mnl_socket_close(socket);
		return err;
	}
	nfct_filter_add_attr(filter, NFCT_FILTER_MARK, &mark);
	if (nfct_filter_attach(mnl_socket_get_fd(socket), filter) < 0)
		err = -errno;
	nfct_filter_destroy(filter);
	if (err < 0) {
		mnl_socket_close(socket);
		return err;
	}
	setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	kernel->events = socket;
	return 0;
}

int conntrack_kernel_news(struct conntrack_kernel *kernel, conntrack_entry_fn *fn, void *arg)
{
	char buffer[DUMP_BUFFER] SCRATCH;
	struct visit visit = { fn, arg };
	int err = 0;

	while (kernel->events) {
		ssize_t n = recv(mnl_socket_get_fd(kernel->events), buffer, sizeof(buffer), MSG_DONTWAIT);

		if (n < 0 && errno == ENOBUFS) {
			err = -ENOBUFS;
			continue;
		}
		if (n <= 0)
			break;
		mnl_cb_run(buffer, (size_t)n, 0, 0, visit_message, &visit);
	}
	return err;
}

bool conntrack_same_way(const struct conntrack_entry *a, const struct conntrack_entry *b)
{
	return a->proto == b->proto && wire_addr_eq(&a->source, &b->source) && wire_addr_eq(&a->listen, &b->listen) &&
	       wire_addr_eq(&a->from, &b->from) && wire_addr_eq(&a->target, &b->target);
}

struct conntrack_entry conntrack_turned(const struct conntrack_entry *entry)
{
	struct conntrack_entry turned = *entry;

	turned.source = entry->target;
	turned.listen = entry->from;
	turned.from = entry->listen;
	turned.target = entry->source;
	for (unsigned i = 0; i < 2; i++) {
		turned.packets[i] = entry->packets[1 - i];
		turned.bytes[i] = entry->bytes[1 - i];
		turned.has_closed_first[i] = entry->has_closed_first[1 - i];
	}
	return turned;
}
