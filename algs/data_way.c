/* Octets on their way. Between plain ends they go from socket to pipe to socket inside the kernel. TLS needs them in memory: one record
 * at a time, so that it is still in the processor's cache when it is sealed again, and nothing is copied but by OpenSSL. */
#include "algs/data_way.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/err.h"

void data_way_init(struct data_way *way)
{
	*way = (struct data_way){ .pipe = { -1, -1 } };
}

void data_way_close(struct data_way *way)
{
	for (int i = 0; i < 2; i++) {
		if (way->pipe[i] >= 0)
			close(way->pipe[i]);
		way->pipe[i] = -1;
	}
	free(way->record);
	way->record = NULL;
	way->fill = 0;
}

static int make_room(struct data_way *way)
{
	if (way->is_in_memory && way->record == NULL) {
		way->record = malloc(DATA_WAY_RECORD);
		return way->record != NULL ? 0 : -ENOMEM;
	}
	if (!way->is_in_memory && way->pipe[0] < 0 && pipe2(way->pipe, O_NONBLOCK | O_CLOEXEC) < 0) {
		way->pipe[0] = way->pipe[1] = -1;
		return -EMFILE;
	}
	return 0;
}

/* As data_end_read(): ERR_CLOSED for its 0. */
static int splice_in(struct data_way *way, struct data_end *from, size_t most)
{
	ssize_t n = splice(from->fd, NULL, way->pipe[1], NULL, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return n == 0 ? ERR_CLOSED : (int)n;
}

static int splice_out(struct data_way *way, struct data_end *to)
{
	ssize_t n = splice(way->pipe[0], NULL, to->fd, NULL, way->fill, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return n == 0 ? ERR_CLOSED : (int)n;
}

int data_way_fill(struct data_way *way, struct data_end *from, size_t most)
{
	size_t room = (way->is_in_memory ? DATA_WAY_RECORD : DATA_WAY_MAX) - way->start - way->fill;
	int n = make_room(way);

	if (n < 0 || room == 0)
		return n;
	if (most > room)
		most = room;
	if (way->is_in_memory)
		n = data_end_read(from, way->record + way->start + way->fill, most);
	else
		n = splice_in(way, from, most);
	way->fill += n > 0 ? (size_t)n : 0;
	return n;
}

int data_way_drain(struct data_way *way, struct data_end *to)
{
	int n;

	if (way->fill == 0)
		return 0;
	if (way->is_in_memory)
		n = data_end_write(to, (struct span){ way->record + way->start, way->fill });
	else
		n = splice_out(way, to);
	if (n <= 0)
		return n;
	way->fill -= (size_t)n;
	way->start = way->is_in_memory && way->fill > 0 ? way->start + (size_t)n : 0;
	way->octets += (uint64_t)n;
	return n;
}

int data_way_peek(const struct data_way *way, const struct data_end *from, char *to, size_t size)
{
	size_t n = way->fill < size ? way->fill : size;
	ssize_t seen;

	if (way->is_in_memory) {
		if (n > 0)
			memcpy(to, way->record + way->start, n);
		return (int)n;
	}
	seen = recv(from->fd, to, size, MSG_PEEK | MSG_DONTWAIT);
	if (seen < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return seen == 0 ? ERR_CLOSED : (int)seen;
}
