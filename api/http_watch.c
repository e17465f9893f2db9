/* A list of connections with the second in which each must be done. The watch thread counts its own ticks instead of
 * reading a clock; it ends a late connection with shutdown(), which makes the HTTP thread that owns it clean up. */
#include "api/http_watch.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TICK_MS = 1000 };

struct http_watch {
	pthread_mutex_t lock;
	pthread_t thread;
	int stop_fd;
	uint64_t ticks;
	uint32_t request_s, reply_s;
	struct list connections;
};

struct http_conn {
	struct list node;
	struct http_watch *watch;
	int fd;
	uint64_t due;
};

static void end_late(struct http_watch *watch)
{
	pthread_mutex_lock(&watch->lock);
	watch->ticks++;
	LIST_EACH(&watch->connections, node) {
		struct http_conn *conn = LIST_ENTRY(node, struct http_conn, node);

		if (conn->due <= watch->ticks)
			shutdown(conn->fd, SHUT_RDWR);
	}
	pthread_mutex_unlock(&watch->lock);
}

static void *watch_main(void *arg)
{
	struct http_watch *watch = arg;
	struct pollfd stop = { .fd = watch->stop_fd, .events = POLLIN };

	while (poll(&stop, 1, TICK_MS) <= 0)
		end_late(watch);
	return NULL;
}

struct http_watch *http_watch_new(uint32_t request_s, uint32_t reply_s)
{
	struct http_watch *watch = calloc(1, sizeof(*watch));

	if (watch == NULL)
		return NULL;
	watch->request_s = request_s;
	watch->reply_s = reply_s;
	list_init(&watch->connections);
	pthread_mutex_init(&watch->lock, NULL);
	watch->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (watch->stop_fd < 0 || pthread_create(&watch->thread, NULL, watch_main, watch) != 0) {
		if (watch->stop_fd >= 0)
			close(watch->stop_fd);
		pthread_mutex_destroy(&watch->lock);
		free(watch);
		return NULL;
	}
	return watch;
}

void http_watch_free(struct http_watch *watch)
{
	if (watch == NULL)
		return;
	eventfd_write(watch->stop_fd, 1);
	pthread_join(watch->thread, NULL);
	close(watch->stop_fd);
	pthread_mutex_destroy(&watch->lock);
	free(watch);
}

struct http_conn *http_conn_new(struct http_watch *watch, int fd)
{
	struct http_conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL)
		return NULL;
	conn->watch = watch;
	conn->fd = fd;
	pthread_mutex_lock(&watch->lock);
	conn->due = watch->ticks + 1 + watch->request_s;
	list_append(&watch->connections, &conn->node);
	pthread_mutex_unlock(&watch->lock);
	return conn;
}

void http_conn_free(struct http_conn *conn)
{
	struct http_watch *watch;

	if (conn == NULL)
		return;
	watch = conn->watch;
	pthread_mutex_lock(&watch->lock);
	list_remove(&conn->node);
	pthread_mutex_unlock(&watch->lock);
	free(conn);
}

static void set_due(struct http_conn *conn, uint32_t seconds)
{
	if (conn == NULL)
		return;
	pthread_mutex_lock(&conn->watch->lock);
	conn->due = conn->watch->ticks + 1 + seconds;
	pthread_mutex_unlock(&conn->watch->lock);
}

void http_conn_replying(struct http_conn *conn)
{
	if (conn != NULL)
		set_due(conn, conn->watch->reply_s);
}

void http_conn_idle(struct http_conn *conn)
{
	if (conn != NULL)
		set_due(conn, conn->watch->request_s);
}
