/* The socket to postern-pinholed on the control loop, see channel.h. Messages that do not fit into the socket stay with
 * whoever wanted to send them: nothing is kept here, so nothing can grow here. */
#include "pinhole/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/err.h"
#include "core/loop.h"

enum { FDS_MAX = 2, MESSAGES_PER_TURN = 64 /* then others have their turn */ };

struct channel {
	int fd; /* -1 when closed */
	struct loop_fd *watch;
	const struct channel_ops *ops;
	void *arg;
	uint64_t data[WIRE_MESSAGE_MAX / sizeof(uint64_t)]; /* aligned as records need it */
};

static void end(struct channel *channel, const char *why)
{
	channel_close(channel);
	channel->ops->closed(channel->arg, why);
}

static bool take(struct channel *channel, size_t len, const int *fds, unsigned n_fds)
{
	struct channel_message message = { .fds = fds, .n_fds = n_fds };
	const char *why;

	if (wire_parse(channel->data, len, &message.head, &message.records, &why) < 0) {
		end(channel, why);
		return false;
	}
	channel->ops->message(channel->arg, &message);
	return channel_is_open(channel);
}

static void receive(struct channel *channel)
{
	bool may_go_on = true;

	for (unsigned i = 0; may_go_on && i < MESSAGES_PER_TURN; i++) {
		int fds[FDS_MAX];
		unsigned n_fds = 0;
		int len = wire_receive(channel->fd, channel->data, sizeof(channel->data), fds, &n_fds);

		if (len == -EAGAIN)
			return;
		if (len < 0) {
			end(channel, len == ERR_CLOSED ? "postern-pinholed has ended" : err_str(len));
			return;
		}
		may_go_on = take(channel, (size_t)len, fds, n_fds);
		for (unsigned f = 0; f < n_fds; f++)
			close(fds[f]);
	}
}

static void on_ready(void *arg, int fd, int events)
{
	struct channel *channel = arg;

	(void)fd;
	if (events & LOOP_WRITE) {
		(void)loop_fd_want(channel->watch, LOOP_READ);
		channel->ops->writable(channel->arg);
	}
	if ((events & LOOP_READ) && channel_is_open(channel))
		receive(channel);
}

int channel_new(struct loop *loop, int fd, const struct channel_ops *ops, void *arg, struct channel **ret)
{
	struct channel *channel = calloc(1, sizeof(*channel));
	int err = -ENOMEM;

	if (channel == NULL) {
		close(fd);
		return err;
	}
	*channel = (struct channel){ .fd = fd, .ops = ops, .arg = arg };
	err = fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0 ? -errno : 0;
	if (err == 0)
		err = loop_fd_open(loop, fd, LOOP_READ, on_ready, channel, &channel->watch);
	if (err < 0) {
		channel_free(channel);
		return err;
	}
	*ret = channel;
	return 0;
}

void channel_free(struct channel *channel)
{
	if (channel == NULL)
		return;
	channel_close(channel);
	free(channel);
}

void channel_close(struct channel *channel)
{
	if (channel->fd < 0)
		return;
	loop_fd_close(channel->watch);
	close(channel->fd);
	channel->watch = NULL;
	channel->fd = -1;
}

bool channel_is_open(const struct channel *channel)
{
	return channel->fd >= 0;
}

int channel_send(struct channel *channel, enum wire_op op, uint64_t serial, const void *records, uint32_t count)
{
	int err;

	if (!channel_is_open(channel))
		return ERR_CLOSED;
	err = wire_send(channel->fd, op, serial, records, count, NULL, 0);
	if (err == -EAGAIN || err == -ENOBUFS || err == -ENOMEM)
		return loop_fd_want(channel->watch, LOOP_READ | LOOP_WRITE) < 0 ? ERR_CLOSED : -EAGAIN;
	return err < 0 ? ERR_CLOSED : 0;
}
