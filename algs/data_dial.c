/* Relayed data: connecting to its ends. To the target, once somebody has come to us; or to both, where nobody is to come. Then each end
 * has its TLS as soon as it is connected: a server may want that before it says anything on the control channel, and only what it says
 * there tells when the other end is to be dialled. */
#include <errno.h>
#include <sys/socket.h>

#include "algs/data_inside.h"
#include "algs/tcp_leg.h"
#include "core/err.h"
#include "pinhole/pinhole.h"

enum { CONNECT_MS = 10000 };

static void fail(struct data *data, enum data_side side, const char *reason)
{
	data->stats.is_unreachable = true;
	if (data->conf.is_dialled)
		data_break_off_at(data, side, reason);
	else
		data_break_off(data, reason);
}

void data_on_connected(struct data *data, enum data_side side)
{
	int fd = data->ends[side].fd, error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error != 0) {
		fail(data, side, "the far end refused the connection");
		return;
	}
	data->is_connecting[side] = false;
	data->is_connected[side] = true;
	if (side == DATA_TARGET)
		data->stats.from = tcp_leg_local(fd);
	data_secure(data, side);
}

void data_on_silence(struct data *data)
{
	fail(data, data->is_connecting[DATA_TARGET] ? DATA_TARGET : DATA_DIALLER, "the far end did not answer");
}

/* fd_take: bound, or negative: the reason why there is none. */
static void connect_on(struct data *data, enum data_side side, int fd_take)
{
	const struct addr *to = side == DATA_TARGET ? &data->conf.target : &data->conf.allowed;
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(to, &sa);
	int err = fd_take < 0 ? fd_take : 0;

	data->ends[side].fd = fd_take;
	if (err == 0 && connect(fd_take, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS)
		err = -errno;
	if (err == 0)
		err = data_end_open(&data->ends[side], data->conf.loop, fd_take, LOOP_WRITE, data_on_fd, data);
	if (err < 0)
		fail(data, side, "the far end cannot be reached");
	else
		loop_timer_start(&data->timer, CONNECT_MS);
}

static void connect_from_own(struct data *data, enum data_side side)
{
	int fd = -1;
	int err = tcp_leg_socket(side == DATA_TARGET ? &data->conf.from : &data->conf.dialler_from, &fd);

	connect_on(data, side, err < 0 ? err : fd);
}

static void on_socket(void *arg, int fd)
{
	struct data *data = arg;

	data->request = NULL;
	if (fd >= 0)
		connect_on(data, DATA_TARGET, fd);
	else
		connect_from_own(data, DATA_TARGET);
}

void data_connect(struct data *data, enum data_side side)
{
	struct pinhole_socket wanted = { .realm = data->conf.realm, .addr = data->stats.dialler, .proto = IPPROTO_TCP,
					 .is_transparent = true, .is_connecting = true };

	wanted.addr.port = 0;
	data->is_connecting[side] = true;
	loop_timer_start(&data->timer, CONNECT_MS);
	if (side != DATA_TARGET || !data->conf.is_as_dialler || data->conf.pinholes == NULL ||
	    pinhole_socket_open(data->conf.pinholes, &wanted, on_socket, data, &data->request) < 0)
		connect_from_own(data, side);
}

int data_dial(struct data *data, enum data_side side)
{
	if (!data->conf.is_dialled || (data->state != DATA_BOUND && data->state != DATA_DIALLING) || data->is_connecting[side] ||
	    data->is_connected[side])
		return ERR_STATE;
	data->state = DATA_DIALLING;
	data_connect(data, side);
	return 0;
}
