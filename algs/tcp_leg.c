/* TCP connections of control channels. RFC 9293; keep-alive is on so that translators on the path keep their state and a peer that
 * vanished is noticed long before the idle limit. TLS is core/tls.h's. */
#include "algs/tcp_leg.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/err.h"

enum { KEEPALIVE_IDLE_S = 120, KEEPALIVE_INTERVAL_S = 30, KEEPALIVE_COUNT = 4 };

void tcp_leg_reset_on_close(int fd)
{
	const struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static struct addr name_of(int fd, int (*ask)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);

	if (ask(fd, (struct sockaddr *)&sa, &len) < 0)
		return (struct addr){ 0 };
	return addr_from_sockaddr((const struct sockaddr *)&sa);
}

static int ask_local(int fd, struct sockaddr *sa, socklen_t *len)
{
	return getsockname(fd, sa, len);
}

static int ask_remote(int fd, struct sockaddr *sa, socklen_t *len)
{
	return getpeername(fd, sa, len);
}

struct addr tcp_leg_local(int fd)
{
	return name_of(fd, ask_local);
}

struct addr tcp_leg_remote(int fd)
{
	return name_of(fd, ask_remote);
}

int tcp_leg_socket(const struct addr *from, int *ret_fd)
{
	const int on = 1;
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(from, &sa);
	int fd = socket(from->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return -errno;
	/* Without this the kernel would look for a port that is free towards everybody, and run out of them sooner. */
	if (from->port == 0 && from->family == AF_INET)
		(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&sa, len) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

static void tune(int fd)
{
	const int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S, count = KEEPALIVE_COUNT;

	/* Options that this kind of socket does not have (tests) are no loss. */
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	/* What was sent as urgent data (Telnet's Synch) stays in its place in the stream. */
	(void)setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
}

static void watch_for(struct tcp_leg *leg, int events)
{
	if (leg->watch == NULL || events == leg->wanted)
		return;
	if (loop_fd_want(leg->watch, events) == 0)
		leg->wanted = events;
}

static void fail(struct tcp_leg *leg, int error)
{
	leg->error = error;
	watch_for(leg, 0);
	loop_timer_stop(&leg->timer);
}

static void on_timer(struct loop_timer *timer, void *arg)
{
	struct tcp_leg *leg = arg;

	(void)timer;
	if (leg->state != TCP_LEG_UP)
		fail(leg, -ETIMEDOUT);
	leg->fn(leg->arg, leg);
}

static void on_connected(struct tcp_leg *leg)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(leg->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error != 0) {
		fail(leg, -error);
		return;
	}
	loop_timer_stop(&leg->timer);
	leg->state = TCP_LEG_UP;
	watch_for(leg, 0);
}

/* True: there is something to tell. */
static bool go_on_securing(struct tcp_leg *leg)
{
	int result = tls_handshake(leg->tls);

	if (result == 0) {
		watch_for(leg, tls_wants(leg->tls));
		return false;
	}
	if (result < 0) {
		fail(leg, result);
		return true;
	}
	loop_timer_stop(&leg->timer);
	leg->state = TCP_LEG_UP;
	watch_for(leg, 0);
	return true;
}

static void on_fd(void *arg, int fd, int events)
{
	struct tcp_leg *leg = arg;

	(void)fd;
	(void)events;
	if (leg->error != 0)
		return;
	if (leg->state == TCP_LEG_SECURING && !go_on_securing(leg))
		return;
	if (leg->state == TCP_LEG_CONNECTING)
		on_connected(leg);
	leg->fn(leg->arg, leg);
}

void tcp_leg_init(struct tcp_leg *leg, struct loop *loop, tcp_leg_fn *fn, void *arg)
{
	*leg = (struct tcp_leg){ .loop = loop, .fd = -1, .read_wants = LOOP_READ, .write_wants = LOOP_WRITE,
				 .fn = fn, .arg = arg };
	loop_timer_init(&leg->timer, loop, on_timer, leg);
}

static int watch(struct tcp_leg *leg, int fd, int events)
{
	int err = loop_fd_open(leg->loop, fd, events, on_fd, leg, &leg->watch);

	if (err < 0) {
		close(fd);
		return err;
	}
	leg->fd = fd;
	leg->wanted = events;
	return 0;
}

int tcp_leg_adopt(struct tcp_leg *leg, int fd_take)
{
	int err = watch(leg, fd_take, 0);

	if (err < 0)
		return err;
	tune(fd_take);
	leg->state = TCP_LEG_UP;
	return 0;
}

int tcp_leg_connect(struct tcp_leg *leg, int fd_take, const struct addr *from, const struct addr *to, uint32_t timeout_ms)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(to, &sa);
	int fd = fd_take;
	int err = fd >= 0 ? 0 : tcp_leg_socket(from, &fd);

	if (err < 0)
		return err;
	tune(fd);
	if (connect(fd, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS) {
		err = -errno;
		close(fd);
		return err;
	}
	err = watch(leg, fd, LOOP_WRITE);
	if (err < 0)
		return err;
	leg->state = TCP_LEG_CONNECTING;
	loop_timer_start(&leg->timer, timeout_ms);
	return 0;
}

int tcp_leg_secure(struct tcp_leg *leg, struct tls_context *context, uint32_t timeout_ms)
{
	int err = tls_new(context, leg->fd, NULL, &leg->tls);

	if (err < 0)
		return err;
	leg->state = TCP_LEG_SECURING;
	loop_timer_start(&leg->timer, timeout_ms);
	watch_for(leg, LOOP_READ | LOOP_WRITE); /* who begins is told at once */
	return 0;
}

/* What reading or writing TLS has come to, and what it waits for when that was nothing. */
static int judge_tls(struct tcp_leg *leg, int result, int *wants, int usual)
{
	*wants = result == 0 && tls_wants(leg->tls) != 0 ? tls_wants(leg->tls) : usual;
	if (result == ERR_CLOSED)
		leg->has_ended = true;
	else if (result < 0)
		fail(leg, result);
	return result;
}

int tcp_leg_read(struct tcp_leg *leg, char *to, size_t size)
{
	ssize_t n;

	if (leg->state != TCP_LEG_UP || leg->error != 0)
		return leg->error;
	if (leg->has_ended)
		return ERR_CLOSED;
	if (leg->tls != NULL)
		return judge_tls(leg, tls_read(leg->tls, to, size), &leg->read_wants, LOOP_READ);
	n = recv(leg->fd, to, size, MSG_DONTWAIT);
	if (n > 0)
		return (int)n;
	if (n == 0) {
		leg->has_ended = true;
		return ERR_CLOSED;
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
		return 0;
	fail(leg, -errno);
	return leg->error;
}

int tcp_leg_write(struct tcp_leg *leg, struct span bytes)
{
	ssize_t n;

	if (leg->state != TCP_LEG_UP || leg->error != 0 || leg->is_shut)
		return leg->error;
	if (leg->tls != NULL)
		return judge_tls(leg, tls_write(leg->tls, bytes), &leg->write_wants, LOOP_WRITE);
	n = send(leg->fd, bytes.ptr, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n >= 0)
		return (int)n;
	if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
		return 0;
	fail(leg, -errno);
	return leg->error;
}

void tcp_leg_shut(struct tcp_leg *leg)
{
	if (leg->state != TCP_LEG_UP || leg->is_shut || leg->error != 0)
		return;
	leg->is_shutting = leg->tls != NULL && tls_shut(leg->tls) == 0;
	if (leg->is_shutting)
		return;
	leg->is_shut = true;
	(void)shutdown(leg->fd, SHUT_WR); /* a far end that is gone is noticed elsewhere */
}

void tcp_leg_want(struct tcp_leg *leg, bool may_read, bool may_write)
{
	if (leg->state != TCP_LEG_UP)
		return;
	watch_for(leg, (may_read ? leg->read_wants : 0) | (may_write ? leg->write_wants : 0) | (leg->is_shutting ? LOOP_WRITE : 0));
	if (leg->tls == NULL)
		return;
	loop_timer_stop(&leg->timer);
	if (may_read && tls_has_pending(leg->tls))
		loop_timer_start(&leg->timer, 0);
}

void tcp_leg_close(struct tcp_leg *leg, bool is_reset)
{
	if (leg->loop == NULL)
		return;
	loop_timer_stop(&leg->timer);
	if (!is_reset && leg->tls != NULL)
		tcp_leg_shut(leg); /* or not, when there is no room for it */
	tls_free(leg->tls);
	leg->tls = NULL;
	loop_fd_close(leg->watch);
	leg->watch = NULL;
	if (leg->fd >= 0 && is_reset)
		tcp_leg_reset_on_close(leg->fd);
	if (leg->fd >= 0)
		close(leg->fd);
	leg->fd = -1;
	leg->state = TCP_LEG_CLOSED;
}
