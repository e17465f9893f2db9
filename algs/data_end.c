/* Ends of relayed data. Under TLS an end is one only when close_notify says so (RFC 8446 6.1): a FIN is something that anybody on the
 * path can make up. */
#include "algs/data_end.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "algs/tcp_leg.h"
#include "core/err.h"
#include "core/tls.h"

void data_end_init(struct data_end *end)
{
	*end = (struct data_end){ .fd = -1 };
}

int data_end_open(struct data_end *end, struct loop *loop, int fd_take, int events, loop_fd_fn *fn, void *arg)
{
	end->fd = fd_take;
	return loop_fd_open(loop, fd_take, events, fn, arg, &end->watch);
}

void data_end_want(struct data_end *end, int events)
{
	if (end->watch != NULL)
		(void)loop_fd_want(end->watch, events);
}

void data_end_secure(struct data_end *end, struct tls *tls_take)
{
	const int on = 1;

	/* The messages of a handshake and the last record are small, and nothing follows that they could wait for. */
	(void)setsockopt(end->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	end->tls = tls_take;
}

bool data_end_has_begun(struct data_end *end)
{
	char octet;
	bool has_begun = recv(end->fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EINTR);

	data_end_want(end, has_begun ? 0 : LOOP_READ);
	return has_begun;
}

int data_end_handshake(struct data_end *end)
{
	int result = end->tls != NULL ? tls_handshake(end->tls) : 1;

	data_end_want(end, result == 0 ? tls_wants(end->tls) : 0);
	return result;
}

/* ---- octets ------------------------------------------------------------------------------------------------------------------- */

static int result_of(ssize_t n)
{
	if (n >= 0)
		return (int)n;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

int data_end_read(struct data_end *end, char *to, size_t size)
{
	ssize_t n;

	if (end->tls != NULL)
		return tls_read(end->tls, to, size);
	n = recv(end->fd, to, size, MSG_DONTWAIT);
	return n == 0 ? ERR_CLOSED : result_of(n);
}

int data_end_write(struct data_end *end, struct span bytes)
{
	if (end->tls != NULL)
		return tls_write(end->tls, bytes);
	return result_of(send(end->fd, bytes.ptr, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL));
}

int data_end_shut(struct data_end *end)
{
	if (end->tls != NULL && tls_shut(end->tls) == 0)
		return 0;
	(void)shutdown(end->fd, SHUT_WR);
	return 1;
}

bool data_end_has_pending(const struct data_end *end)
{
	return end->tls != NULL && tls_has_pending(end->tls);
}

int data_end_wants(const struct data_end *end)
{
	return end->tls != NULL ? tls_wants(end->tls) & LOOP_WRITE : 0;
}

const char *data_end_error(const struct data_end *end)
{
	return end->tls != NULL ? tls_error(end->tls) : "";
}

/* ---- the end ------------------------------------------------------------------------------------------------------------------ */

static bool is_gone(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_state == TCP_CLOSE;
}

bool data_end_is_taken(struct data_end *end, bool *ret_moved)
{
	int waiting = 0;

	if (ioctl(end->fd, SIOCOUTQ, &waiting) < 0 || waiting <= 0)
		return true;
	*ret_moved = waiting != end->unacked; /* slowly, but it goes on */
	end->unacked = waiting;
	return is_gone(end->fd);
}

void data_end_close(struct data_end *end, bool is_reset)
{
	loop_fd_close(end->watch);
	tls_free(end->tls);
	if (end->fd >= 0 && is_reset)
		tcp_leg_reset_on_close(end->fd);
	if (end->fd >= 0)
		close(end->fd);
	data_end_init(end);
}
