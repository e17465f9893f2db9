/* See http_client.h. Understands Content-Length only: the server sends nothing else. */
#include "tests/mock/http_client.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { WAIT_MS = 10000 };

int client_tcp(unsigned port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

int client_unix(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool send_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

void client_send(int fd, const char *text)
{
	(void)send_all(fd, text, strlen(text));
}

void client_send_filler(int fd, const char *head, size_t len)
{
	char block[1024];

	memset(block, 'x', sizeof(block));
	if (!send_all(fd, head, strlen(head)))
		return;
	while (len > 0) {
		size_t n = len < sizeof(block) ? len : sizeof(block);

		if (!send_all(fd, block, n))
			return;
		len -= n;
	}
}

/* Octets, 0 at the end, -1 when nothing came. */
static ssize_t wait_and_read(int fd, char *out, size_t size)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, WAIT_MS) <= 0)
		return -1;
	n = recv(fd, out, size, 0);
	return n < 0 ? 0 : n;
}

const char *client_header(const struct client_reply *reply, const char *name)
{
	static char value[256];
	const char *line = strstr(reply->text, "\r\n");
	size_t len = strlen(name);

	value[0] = '\0';
	for (; line != NULL && line + 2 < reply->body; line = strstr(line + 2, "\r\n")) {
		if (strncasecmp(line + 2, name, len) == 0 && line[2 + len] == ':') {
			const char *from = line + 2 + len + 1 + (line[2 + len + 1] == ' ');

			snprintf(value, sizeof(value), "%.*s", (int)strcspn(from, "\r"), from);
			break;
		}
	}
	return value;
}

/* How long the reply is, 0 while that is not known. */
static size_t reply_len(struct client_reply *reply, bool is_head)
{
	const char *end = strstr(reply->text, "\r\n\r\n");

	if (end == NULL)
		return 0;
	reply->body = end + 4;
	reply->status = (int)strtol(reply->text + strcspn(reply->text, " "), NULL, 10);
	return (size_t)(reply->body - reply->text) +
	       (is_head ? 0 : strtoul(client_header(reply, "Content-Length"), NULL, 10));
}

void client_read(int fd, bool is_head, struct client_reply *ret)
{
	size_t len = 0, wanted = 0;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	memset(ret, 0, sizeof(*ret));
	ret->body = ret->text;
	while (wanted == 0 || len < wanted) {
		ssize_t n = wait_and_read(fd, ret->text + len, sizeof(ret->text) - 1 - len);

		if (n <= 0) {
			ret->is_closed = n == 0;
			return;
		}
		len += (size_t)n;
		ret->text[len] = '\0';
		wanted = reply_len(ret, is_head);
	}
	if (strcasecmp(client_header(ret, "Connection"), "close") == 0 && poll(&p, 1, WAIT_MS) > 0)
		ret->is_closed = true;
}

bool client_is_closed(int fd)
{
	char octet;

	return wait_and_read(fd, &octet, 1) == 0;
}
