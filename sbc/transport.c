/* UDP sockets for SIP: one per listener, batches in both directions. Owns the sockets and a queue of what waits to
 * leave. Knows nothing of SIP but the size of its messages. RFC 3261 18. Control thread.
 *
 * Work per turn is bounded: a socket gives at most RECV_ROUNDS batches, then timers and the other sockets have their
 * turn, so a flood costs datagrams (counted by the kernel, SO_RXQ_OVFL), not punctuality. */
#include "sbc/transport.h"

#include <errno.h>
#include <netinet/ip.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/crash.h"
#include "core/err.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"

enum {
	BATCH = 32,
	RECV_ROUNDS = 4,
	RECV_SIZE = GUARD_MESSAGE_MAX + 1, /* one more, so that the guard sees that a message is too long */
	RECV_BUFFER = 4 << 20,
	QUEUE_START = 64 << 10,
	QUEUE_MAX = 8 << 20,
	SEND_MAX = 65507,
	LOG_BURST = 5,
};

/* Large enough for the source address of either family and the drop counter. */
union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(uint32_t)) + 64];
};

/* One queued datagram; its bytes follow, and the next begins at a multiple of 8. */
struct queued {
	struct addr local, remote;
	uint32_t len;
};

struct udp_socket {
	struct transport *transport;
	struct sip_flow flow; /* local: what the socket is bound to; remote is empty */
	int fd;
	struct loop_fd *watch;
	uint32_t kernel_drops; /* as the kernel counts them, since the socket was made */
	char *queue;           /* in order: [head, len) waits to leave */
	size_t head, len, cap;
	bool is_blocked;       /* the kernel took no more; goes on when it is writable */
};

struct transport {
	struct loop *loop;
	transport_recv_fn *fn;
	void *arg;
	struct udp_socket *sockets;
	unsigned n_sockets;
	struct mmsghdr recv[BATCH];
	struct iovec recv_iov[BATCH];
	struct sockaddr_storage recv_from[BATCH];
	union control recv_control[BATCH];
	char recv_bytes[BATCH][RECV_SIZE];
};

enum { IN_BYTES, OUT_BYTES, KERNEL_DROPS, QUEUE_FULL, SEND_ERRORS, SEND_WAITS, METRICS };
static struct metric metrics[METRICS] = {
	[IN_BYTES] = { .name = "postern_sip_bytes_total", .labels = "direction=\"in\"", .help = "SIP bytes over UDP." },
	[OUT_BYTES] = { .name = "postern_sip_bytes_total", .labels = "direction=\"out\"", .help = "SIP bytes over UDP." },
	[KERNEL_DROPS] = { .name = "postern_sip_receive_drops_total",
			   .help = "Datagrams the kernel dropped because a SIP receive buffer was full." },
	[QUEUE_FULL] = { .name = "postern_sip_send_queue_full_total",
			 .help = "Messages not sent because the send queue was full." },
	[SEND_ERRORS] = { .name = "postern_sip_send_errors_total", .help = "Messages the kernel refused to send." },
	[SEND_WAITS] = { .name = "postern_sip_send_waits_total",
			 .help = "Times a SIP socket's send buffer was full and sending had to wait." },
};

/* ---- receiving ------------------------------------------------------------------------------------------------- */

static void count_drops(struct udp_socket *s, uint32_t total)
{
	uint32_t more = total - s->kernel_drops;
	s->kernel_drops = total;
	if (more == 0)
		return;
	metric_add(&metrics[KERNEL_DROPS], more);
	LOG_GATED(LOG_BURST, LOG_WARN, "sip", "receive buffer overflow", LF_UINT("dropped", more));
}

/* The address the datagram was sent to, and the kernel's drop counter. */
static void read_control(struct udp_socket *s, struct msghdr *hdr, struct addr *local)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(hdr); c; c = CMSG_NXTHDR(hdr, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
			uint32_t total;
			memcpy(&total, CMSG_DATA(c), sizeof(total));
			count_drops(s, total);
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;
			memcpy(&info, CMSG_DATA(c), sizeof(info));
			memcpy(local->ip, &info.ipi_addr, sizeof(info.ipi_addr));
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;
			memcpy(&info, CMSG_DATA(c), sizeof(info));
			memcpy(local->ip, &info.ipi6_addr, sizeof(info.ipi6_addr));
		}
	}
}

static void receive_one(struct udp_socket *s, unsigned i)
{
	struct transport *t = s->transport;
	struct sip_flow flow = s->flow;

	read_control(s, &t->recv[i].msg_hdr, &flow.local);
	flow.remote = addr_from_sockaddr((const struct sockaddr *)&t->recv_from[i]);
	metric_add(&metrics[IN_BYTES], t->recv[i].msg_len);
	if (addr_is_set(&flow.remote) && flow.remote.port != 0)
		t->fn(t->arg, &flow, (struct span){ t->recv_bytes[i], t->recv[i].msg_len });
}

static int receive_batch(struct udp_socket *s)
{
	struct transport *t = s->transport;
	for (unsigned i = 0; i < BATCH; i++) {
		t->recv_iov[i] = (struct iovec){ t->recv_bytes[i], RECV_SIZE };
		t->recv[i].msg_hdr = (struct msghdr){ .msg_name = &t->recv_from[i],
						      .msg_namelen = sizeof(t->recv_from[i]),
						      .msg_iov = &t->recv_iov[i],
						      .msg_iovlen = 1,
						      .msg_control = &t->recv_control[i],
						      .msg_controllen = sizeof(t->recv_control[i]) };
	}
	return recvmmsg(s->fd, t->recv, BATCH, MSG_DONTWAIT, NULL);
}

static void receive(struct udp_socket *s)
{
	for (unsigned round = 0; round < RECV_ROUNDS; round++) {
		int n = receive_batch(s);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			LOG_GATED(LOG_BURST, LOG_WARN, "sip", "receive failed", LF_TEXT("error", err_str(-errno)));
		for (int i = 0; i < n; i++)
			receive_one(s, (unsigned)i);
		if (n < BATCH)
			return;
	}
}

/* ---- sending --------------------------------------------------------------------------------------------------- */

static size_t queued_size(uint32_t len)
{
	return (sizeof(struct queued) + len + 7) & ~(size_t)7;
}

static int queue_reserve(struct udp_socket *s, size_t size)
{
	if (s->len + size <= s->cap)
		return 0;
	if (s->head > 0) { /* make room in front first: what leaves must leave in order */
		memmove(s->queue, s->queue + s->head, s->len - s->head);
		s->len -= s->head;
		s->head = 0;
	}
	size_t cap = s->cap ? s->cap : QUEUE_START;
	while (cap < s->len + size)
		cap *= 2;
	if (cap > QUEUE_MAX)
		return ERR_LIMIT;
	if (cap == s->cap)
		return 0;
	char *queue = realloc(s->queue, cap);
	if (!queue)
		return -ENOMEM;
	s->queue = queue;
	s->cap = cap;
	return 0;
}

static struct udp_socket *find_socket(const struct transport *t, const struct sip_flow *flow)
{
	for (unsigned i = 0; i < t->n_sockets; i++) {
		struct udp_socket *s = &t->sockets[i];
		if (s->flow.realm == flow->realm && s->flow.listener == flow->listener)
			return s;
	}
	return NULL;
}

int transport_send(struct transport *t, const struct sip_flow *flow, struct span bytes)
{
	struct udp_socket *s = find_socket(t, flow);
	if (!s || flow->remote.family != s->flow.local.family)
		return -EAFNOSUPPORT;
	if (bytes.len > SEND_MAX)
		return -EMSGSIZE;
	size_t size = queued_size((uint32_t)bytes.len);
	int err = queue_reserve(s, size);
	if (err < 0) {
		metric_add(&metrics[QUEUE_FULL], 1);
		LOG_GATED(LOG_BURST, LOG_WARN, "sip", "send queue full", LF_UINT("bytes", s->len));
		return err;
	}
	struct queued *q = (struct queued *)(s->queue + s->len);
	*q = (struct queued){ flow->local, flow->remote, (uint32_t)bytes.len };
	memcpy(q + 1, bytes.ptr, bytes.len);
	s->len += size;
	return 0;
}

static size_t put_source(const struct addr *local, union control *control)
{
	struct cmsghdr *c = &control->align;
	*control = (union control){ .bytes = { 0 } };
	if (local->family == AF_INET) {
		struct in_pktinfo info = { 0 };
		memcpy(&info.ipi_spec_dst, local->ip, sizeof(info.ipi_spec_dst));
		*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(info)), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO };
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		return CMSG_SPACE(sizeof(info));
	}
	struct in6_pktinfo info = { 0 };
	memcpy(&info.ipi6_addr, local->ip, sizeof(info.ipi6_addr));
	*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(info)), .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO };
	memcpy(CMSG_DATA(c), &info, sizeof(info));
	return CMSG_SPACE(sizeof(info));
}

/* Up to BATCH datagrams from the head of the queue. What sendmmsg returns; 0 when there are none. */
static int send_batch(struct udp_socket *s)
{
	struct mmsghdr out[BATCH];
	struct iovec iov[BATCH];
	struct sockaddr_storage to[BATCH];
	union control control[BATCH];
	unsigned n = 0;

	for (size_t at = s->head; at < s->len && n < BATCH; n++) {
		struct queued *q = (struct queued *)(s->queue + at);
		iov[n] = (struct iovec){ q + 1, q->len };
		out[n].msg_hdr = (struct msghdr){ .msg_name = &to[n], .msg_iov = &iov[n], .msg_iovlen = 1 };
		out[n].msg_hdr.msg_namelen = addr_to_sockaddr(&q->remote, &to[n]);
		out[n].msg_hdr.msg_control = &control[n];
		out[n].msg_hdr.msg_controllen = put_source(&q->local, &control[n]);
		at += queued_size(q->len);
	}
	return n > 0 ? sendmmsg(s->fd, out, n, MSG_DONTWAIT) : 0;
}

static void queue_pop(struct udp_socket *s, unsigned n)
{
	while (n-- > 0) {
		struct queued *q = (struct queued *)(s->queue + s->head);
		metric_add(&metrics[OUT_BYTES], q->len);
		s->head += queued_size(q->len);
	}
	if (s->head == s->len)
		s->head = s->len = 0;
}

/* The kernel refuses the first of the queue: it is lost, the rest goes on. */
static void drop_first(struct udp_socket *s, int error)
{
	struct queued *q = (struct queued *)(s->queue + s->head);
	char remote[ADDR_TEXT_MAX];
	metric_add(&metrics[SEND_ERRORS], 1);
	metric_add(&metrics[OUT_BYTES], -(int64_t)q->len);
	LOG_GATED(LOG_BURST, LOG_WARN, "sip", "send failed", LF_TEXT("to", addr_text(&q->remote, remote)),
		  LF_TEXT("error", err_str(-error)), LF_UINT("bytes", q->len));
	queue_pop(s, 1);
}

static void set_blocked(struct udp_socket *s, bool is_blocked)
{
	if (s->is_blocked == is_blocked)
		return;
	s->is_blocked = is_blocked;
	if (is_blocked)
		metric_add(&metrics[SEND_WAITS], 1);
	loop_fd_want(s->watch, LOOP_READ | (is_blocked ? LOOP_WRITE : 0));
}

static void flush_socket(struct udp_socket *s)
{
	while (s->head < s->len) {
		int n = send_batch(s);
		if (n >= 0) {
			queue_pop(s, (unsigned)n);
		} else if (errno == EAGAIN) {
			set_blocked(s, true);
			return;
		} else if (errno != EINTR) {
			drop_first(s, errno);
		}
	}
	set_blocked(s, false);
}

static void flush(void *arg)
{
	struct transport *t = arg;
	for (unsigned i = 0; i < t->n_sockets; i++)
		if (!t->sockets[i].is_blocked)
			flush_socket(&t->sockets[i]);
	CRASH_FLUSHED();
}

static void on_socket(void *arg, int fd, int events)
{
	struct udp_socket *s = arg;
	(void)fd;
	if (events & LOOP_WRITE)
		flush_socket(s);
	if (events & LOOP_READ)
		receive(s);
}

/* ---- sockets --------------------------------------------------------------------------------------------------- */

static int set_option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* Bursts of calls must fit while a turn of the loop runs. The kernel reports twice what it granted. */
static void set_receive_buffer(int fd, const struct addr *local)
{
	int got = 0;
	socklen_t len = sizeof(got);
	char text[ADDR_TEXT_MAX];

	if (set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECV_BUFFER) < 0)
		set_option(fd, SOL_SOCKET, SO_RCVBUF, RECV_BUFFER);
	if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &got, &len) == 0 && got / 2 < RECV_BUFFER)
		log_warn("sip", "receive buffer is small: raise net.core.rmem_max",
			 LF_TEXT("listener", addr_text(local, text)), LF_INT("bytes", got / 2), LF_INT("wanted", RECV_BUFFER));
}

static int set_options(int fd, const struct addr *local, unsigned dscp)
{
	bool is_ipv6 = local->family == AF_INET6;
	int err = is_ipv6 ? set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) : 0;
	if (err == 0)
		err = is_ipv6 ? set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
			      : set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
	if (err == 0)
		err = is_ipv6 ? set_option(fd, IPPROTO_IPV6, IPV6_TCLASS, (int)dscp << 2)
			      : set_option(fd, IPPROTO_IP, IP_TOS, (int)dscp << 2);
	if (err == 0)
		err = set_option(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
	return err;
}

static int open_socket(struct udp_socket *s, const struct realm_conf *realm, unsigned listener)
{
	struct sockaddr_storage sa;
	const struct addr *local = &realm->listens[listener].addr;
	socklen_t len = addr_to_sockaddr(local, &sa);
	int fd = socket(local->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	int err = set_options(fd, local, realm->dscp_sip);
	if (err == 0 && (bind(fd, (struct sockaddr *)&sa, len) < 0 ||
			 getsockname(fd, (struct sockaddr *)&sa, &(socklen_t){ sizeof(sa) }) < 0))
		err = -errno;
	if (err == 0)
		err = loop_fd_open(s->transport->loop, fd, LOOP_READ, on_socket, s, &s->watch);
	if (err < 0) {
		close(fd);
		return err;
	}
	set_receive_buffer(fd, local);
	s->fd = fd;
	s->flow = (struct sip_flow){ .realm = (uint16_t)realm->index, .listener = (uint16_t)listener,
				     .proto = realm->listens[listener].proto,
				     .local = addr_from_sockaddr((struct sockaddr *)&sa) };
	return 0;
}

static int open_realm(struct transport *t, const struct realm_conf *realm, char *error_text, size_t error_size)
{
	char text[ADDR_TEXT_MAX];
	for (unsigned l = 0; l < realm->n_listens; l++) {
		struct udp_socket *s = &t->sockets[t->n_sockets];
		s->transport = t;
		int err = open_socket(s, realm, l);
		if (err < 0) {
			snprintf(error_text, error_size, "realm %s: udp %s: %s", realm->name,
				 addr_text(&realm->listens[l].addr, text), err_str(err));
			return err;
		}
		t->n_sockets++;
	}
	return 0;
}

int transport_new(struct loop *loop, const struct config *config, transport_recv_fn *fn, void *arg, char *error_text,
		  size_t error_size, struct transport **ret)
{
	static bool is_registered;
	unsigned n = 0;
	int err = -ENOMEM;
	struct transport *t = calloc(1, sizeof(*t));

	for (unsigned r = 0; r < config->n_realms; r++)
		n += config->realms[r].n_listens;
	if (t)
		t->sockets = calloc(n ? n : 1, sizeof(t->sockets[0]));
	if (!t || !t->sockets) {
		snprintf(error_text, error_size, "out of memory");
		goto out;
	}
	t->loop = loop;
	t->fn = fn;
	t->arg = arg;
	for (unsigned r = 0; r < config->n_realms; r++) {
		err = open_realm(t, &config->realms[r], error_text, error_size);
		if (err < 0)
			goto out;
	}
	err = loop_on_flush(loop, flush, t);
	if (err < 0) {
		snprintf(error_text, error_size, "too many flush hooks");
		goto out;
	}
	if (!is_registered)
		metrics_register(metrics, METRICS);
	is_registered = true;
	*ret = t;
	return 0;
out:
	transport_free(t);
	return err;
}

void transport_free(struct transport *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < t->n_sockets; i++) {
		loop_fd_close(t->sockets[i].watch);
		close(t->sockets[i].fd);
		free(t->sockets[i].queue);
	}
	free(t->sockets);
	free(t);
}

int transport_flow_to(struct transport *t, const struct realm_conf *realm, enum sip_proto proto,
		      const struct addr *dest, struct sip_flow *ret)
{
	for (unsigned i = 0; i < t->n_sockets; i++) {
		const struct sip_flow *flow = &t->sockets[i].flow;
		if (flow->realm == realm->index && flow->proto == proto && flow->local.family == dest->family) {
			*ret = *flow;
			ret->remote = *dest;
			return 0;
		}
	}
	return -EAFNOSUPPORT;
}

bool transport_is_own(const struct transport *t, const struct addr *addr)
{
	for (unsigned i = 0; i < t->n_sockets; i++)
		if (addr_eq(&t->sockets[i].flow.local, addr))
			return true;
	return false;
}
