/* The server: a fixed number of threads, each with one connection at a time: none is made while it is measured. */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "tests/bench/alg/ftp.h"

enum { BACKLOG = 1024 };

struct connection {
	struct ftp_control control;
	int listen_fd; /* of data, -1: none */
	bool is_done;
};

__attribute__((format(printf, 2, 3)))
static void reply(struct connection *c, const char *format, ...)
{
	char text[FTP_LINE_MAX];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (ftp_write(c->control.fd, (struct span){ text, (size_t)n }) < 0)
		c->is_done = true;
}

/* ---- data connections ---- */

static void close_passive(struct connection *c)
{
	if (c->listen_fd >= 0)
		close(c->listen_fd);
	c->listen_fd = -1;
}

static int listen_at(const struct addr *addr, int backlog)
{
	struct sockaddr_storage name;
	socklen_t len = addr_to_sockaddr(addr, &name);
	int fd = socket(addr->family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 && bind(fd, (struct sockaddr *)&name, len) == 0 &&
	    listen(fd, backlog) == 0)
		return fd;
	close(fd);
	return -errno;
}

static struct addr own_address(int fd)
{
	struct sockaddr_storage name = { 0 };
	socklen_t len = sizeof(name);

	(void)getsockname(fd, (struct sockaddr *)&name, &len);
	return addr_from_sockaddr((struct sockaddr *)&name);
}

/* The address of the control connection with the port of the listener; family 0 when there is none. */
static struct addr open_passive(struct connection *c)
{
	struct addr addr = own_address(c->control.fd);

	close_passive(c);
	addr.port = 0;
	c->listen_fd = listen_at(&addr, 1);
	if (c->listen_fd < 0 || ftp_set_up(c->listen_fd) < 0)
		return (struct addr){ 0 };
	return own_address(c->listen_fd);
}

static void on_epsv(struct connection *c, struct span argument)
{
	struct addr addr = open_passive(c);

	(void)argument;
	if (addr_is_set(&addr))
		reply(c, "229 Entering Extended Passive Mode (|||%u|)\r\n", addr.port);
	else
		reply(c, "421 No port\r\n");
}

static void on_pasv(struct connection *c, struct span argument)
{
	struct addr addr = open_passive(c);

	(void)argument;
	if (addr.family == AF_INET)
		reply(c, "227 Entering Passive Mode (%u,%u,%u,%u,%u,%u)\r\n", addr.ip[0], addr.ip[1], addr.ip[2], addr.ip[3],
		      addr.port >> 8, addr.port & 255);
	else
		reply(c, "522 Use EPSV\r\n");
}

/* The data connection of a transfer, with the size that its name says; -1 when there is none, which has been said. */
static int begin_transfer(struct connection *c, struct span argument, uint64_t *ret_octets)
{
	char text[32] = "", *end = text;
	int fd;

	if (argument.len < sizeof(text))
		memcpy(text, argument.ptr, argument.len);
	*ret_octets = strtoull(text, &end, 10);
	if (end == text || *end != '\0') {
		reply(c, "550 A name is a number of octets\r\n");
		return -1;
	}
	fd = c->listen_fd >= 0 ? accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC) : -1;
	close_passive(c);
	if (fd >= 0 && ftp_set_up(fd) == 0) {
		reply(c, "150 Here it comes\r\n");
		return fd;
	}
	if (fd >= 0)
		close(fd);
	reply(c, "425 No data connection\r\n");
	return -1;
}

static void on_retr(struct connection *c, struct span argument)
{
	uint64_t octets;
	int fd = begin_transfer(c, argument, &octets), err;

	if (fd < 0)
		return;
	err = ftp_send_octets(fd, octets);
	close(fd);
	reply(c, err == 0 ? "226 Done\r\n" : "426 Broken off\r\n");
}

static void on_stor(struct connection *c, struct span argument)
{
	uint64_t octets, got = 0;
	int fd = begin_transfer(c, argument, &octets), err;

	if (fd < 0)
		return;
	err = ftp_drain(fd, &got);
	close(fd);
	reply(c, err == 0 && got == octets ? "226 Done\r\n" : "426 Broken off\r\n");
}

/* ---- commands ---- */

static void on_quit(struct connection *c, struct span argument)
{
	(void)argument;
	reply(c, "221 Bye\r\n");
	c->is_done = true;
}

static const struct command {
	const char *name;
	void (*fn)(struct connection *c, struct span argument);
	const char *reply; /* without fn */
} commands[] = {
	{ "NOOP", NULL, "200 Yes\r\n" },
	{ "EPSV", on_epsv, NULL },
	{ "PASV", on_pasv, NULL },
	{ "RETR", on_retr, NULL },
	{ "STOR", on_stor, NULL },
	{ "USER", NULL, "331 And the password?\r\n" },
	{ "PASS", NULL, "230 Come in\r\n" },
	{ "TYPE", NULL, "200 As it is\r\n" },
	{ "OPTS", NULL, "200 Yes\r\n" },
	{ "SYST", NULL, "215 UNIX Type: L8\r\n" },
	{ "PWD", NULL, "257 \"/\"\r\n" },
	{ "FEAT", NULL, "211-Features\r\n EPSV\r\n211 End\r\n" },
	{ "QUIT", on_quit, NULL },
};

static void command(struct connection *c, struct span line)
{
	struct span argument = line, name = span_cut(&argument, ' ');

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strlen(commands[i].name) != name.len || strncasecmp(commands[i].name, name.ptr, name.len) != 0)
			continue;
		if (commands[i].fn != NULL)
			commands[i].fn(c, argument);
		else
			reply(c, "%s", commands[i].reply);
		return;
	}
	reply(c, "502 Not here\r\n");
}

static void serve_connection(int fd)
{
	struct connection c = { .control.fd = fd, .listen_fd = -1 };
	struct span line;

	if (ftp_set_up(fd) == 0)
		reply(&c, "220 Ready\r\n");
	while (!c.is_done && ftp_read_line(&c.control, &line) == 0)
		command(&c, line);
	close_passive(&c);
	close(fd);
}

static void *serve_thread(void *arg)
{
	const int *listen_fd = arg;

	for (;;) {
		int fd = accept4(*listen_fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0)
			serve_connection(fd);
		else if (errno != EINTR && errno != ECONNABORTED)
			(void)ftp_fail("accept", errno);
	}
	return NULL;
}

int ftp_serve(const struct addr *listen, unsigned threads)
{
	int fd = listen_at(listen, BACKLOG);

	if (fd < 0)
		return ftp_fail("listen", -fd);
	for (unsigned i = 1; i < threads; i++) {
		pthread_t thread;
		int err = pthread_create(&thread, NULL, serve_thread, &fd);

		if (err != 0)
			return ftp_fail("thread", err);
	}
	puts("ready");
	fflush(stdout);
	(void)serve_thread(&fd);
	return 0;
}
