/* Asks with "Connection: close" and reads to the end, so framing is only needed to tell a whole answer from one that
 * was cut. Content-Length and chunked (RFC 9112) are understood. No redirects, no TLS: a proxy's business. */
#include "api/cli_http.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/err.h"

void cli_http_reply_free(struct cli_http_reply *reply)
{
	free(reply->raw);
	*reply = (struct cli_http_reply){ 0 };
}

/* Connecting */

static int connect_unix(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, err;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

/* "http://host:port[/]", the host perhaps in brackets. */
static int split_url(const char *url, char host[256], char port[8])
{
	struct span rest = span_of(url), name;

	if (!span_istarts(rest, SPAN_LIT("http://")))
		return ERR_PARSE;
	rest = span_sub(rest, 7, rest.len);
	rest = span_cut(&rest, '/');
	if (rest.len > 0 && rest.ptr[0] == '[') {
		rest = span_sub(rest, 1, rest.len);
		name = span_cut(&rest, ']');
		if (rest.len > 0 && rest.ptr[0] == ':')
			rest = span_sub(rest, 1, rest.len);
	} else {
		name = span_cut(&rest, ':');
	}
	if (span_is_empty(rest))
		rest = SPAN_LIT("80");
	if (name.len == 0 || name.len > 255 || rest.len > 5)
		return ERR_PARSE;
	snprintf(host, 256, "%.*s", SPAN_ARG(name));
	snprintf(port, 8, "%.*s", SPAN_ARG(rest));
	return 0;
}

static int connect_url(const char *url)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *found = NULL;
	char host[256], port[8];
	int fd = -1, err = split_url(url, host, port);

	if (err != 0)
		return err;
	if (getaddrinfo(host, port, &hints, &found) != 0)
		return -EHOSTUNREACH;
	err = -EHOSTUNREACH;
	for (const struct addrinfo *at = found; at != NULL && fd < 0; at = at->ai_next) {
		fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, 0);
		if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) != 0) {
			err = -errno;
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(found);
	return fd >= 0 ? fd : err;
}

/* Sending and receiving */

static int send_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int send_request(int fd, const struct cli_http_target *target, const char *method, const char *path,
			const char *body)
{
	char *text = NULL;
	int err, len;
	char host[256] = "localhost", port[8], content[96] = "";

	if (target->url != NULL && split_url(target->url, host, port) != 0)
		return ERR_PARSE;
	if (body != NULL)
		snprintf(content, sizeof(content), "Content-Type: application/json\r\nContent-Length: %zu\r\n",
			 strlen(body));
	len = asprintf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s%s%s%s\r\n%s", method, path,
		       strchr(host, ':') ? "localhost" : host, content, target->token ? "Authorization: Bearer " : "",
		       target->token ? target->token : "", target->token ? "\r\n" : "", body ? body : "");
	if (len < 0)
		return -ENOMEM;
	err = send_all(fd, text, (size_t)len);
	explicit_bzero(text, (size_t)len);
	free(text);
	return err;
}

static int receive_all(int fd, char **ret_raw, size_t *ret_len)
{
	size_t len = 0, size = 64 * 1024;
	char *raw = malloc(size + 1), *grown;
	ssize_t n = -1;
	int err = 0;

	while (raw != NULL && (n = recv(fd, raw + len, size - len, 0)) > 0) {
		len += (size_t)n;
		if (len < size)
			continue;
		if (size >= CLI_HTTP_REPLY_MAX) {
			err = ERR_LIMIT;
			break;
		}
		size *= 2;
		grown = realloc(raw, size + 1);
		if (grown == NULL)
			free(raw);
		raw = grown;
	}
	if (raw == NULL)
		return -ENOMEM;
	if (err == 0 && n < 0)
		err = errno == EAGAIN ? -ETIMEDOUT : -errno;
	if (err != 0) {
		free(raw);
		return err;
	}
	raw[len] = '\0';
	*ret_raw = raw;
	*ret_len = len;
	return 0;
}

int cli_http_request(const struct cli_http_target *target, const char *method, const char *path, const char *body,
		     struct cli_http_reply *ret)
{
	struct timeval timeout = { CLI_HTTP_TIMEOUT_S, 0 };
	struct cli_http_reply reply = { 0 };
	size_t len = 0;
	int fd = target->url ? connect_url(target->url) : connect_unix(target->socket);
	int err;

	if (fd < 0)
		return fd;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	err = send_request(fd, target, method, path, body);
	if (err == 0)
		err = receive_all(fd, &reply.raw, &len);
	if (err == 0)
		err = cli_http_parse(reply.raw, len, &reply.status, &reply.body);
	close(fd);
	if (err != 0)
		cli_http_reply_free(&reply);
	else
		*ret = reply;
	return err;
}

/* Taking replies apart */

/* The next line without its end; *rest moves behind it. */
static int take_line(struct span *rest, struct span *ret)
{
	size_t end = span_find(*rest, '\n');

	if (end == rest->len)
		return ERR_PARSE;
	*ret = span_trim(span_sub(*rest, 0, end));
	*rest = span_sub(*rest, end + 1, rest->len);
	return 0;
}

static int chunk_size(struct span line, size_t *ret)
{
	size_t size = 0, n = 0;

	for (; n < line.len && line.ptr[n] != ';' && line.ptr[n] != ' '; n++) {
		char c = line.ptr[n] | 0x20;
		int digit = line.ptr[n] >= '0' && line.ptr[n] <= '9' ? line.ptr[n] - '0' :
			    c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

		if (digit < 0 || n >= 8)
			return ERR_PARSE;
		size = size << 4 | (size_t)digit;
	}
	*ret = size;
	return n > 0 ? 0 : ERR_PARSE;
}

static int join_chunks(char *to, struct span rest, size_t *ret_len)
{
	struct span line;
	size_t len = 0, size;

	for (;;) {
		if (take_line(&rest, &line) != 0 || chunk_size(line, &size) != 0 || size > rest.len)
			return ERR_PARSE;
		if (size == 0)
			break;
		memmove(to + len, rest.ptr, size);
		len += size;
		rest = span_sub(rest, size, rest.len);
		if (take_line(&rest, &line) != 0 || line.len != 0)
			return ERR_PARSE;
	}
	*ret_len = len;
	return 0;
}

static int parse_status(struct span line, int *ret)
{
	uint32_t status;

	if (!span_starts(line, SPAN_LIT("HTTP/1.")) || line.len < 12 || line.ptr[8] != ' ' ||
	    span_to_u32(span_sub(line, 9, 12), 599, &status) != 0 || status < 200)
		return ERR_PARSE;
	*ret = (int)status;
	return 0;
}

int cli_http_parse(char *raw, size_t len, int *ret_status, struct span *ret_body)
{
	struct span rest = { raw, len }, line;
	bool is_chunked = false, has_length = false;
	uint32_t length = 0;
	int status;

	if (take_line(&rest, &line) != 0 || parse_status(line, &status) != 0)
		return ERR_PARSE;
	while (take_line(&rest, &line) == 0 && line.len > 0) {
		struct span name = span_cut(&line, ':');

		line = span_trim(line);
		if (span_ieq(name, SPAN_LIT("Transfer-Encoding")))
			is_chunked = span_ieq(line, SPAN_LIT("chunked"));
		if (!span_ieq(name, SPAN_LIT("Content-Length")))
			continue;
		has_length = true;
		if (span_to_u32(line, CLI_HTTP_REPLY_MAX, &length) != 0)
			return ERR_PARSE;
	}
	if (line.len > 0)
		return ERR_PARSE; /* cut within the head */
	if (is_chunked) {
		size_t joined;

		if (join_chunks(raw + (rest.ptr - raw), rest, &joined) != 0)
			return ERR_PARSE;
		rest.len = joined;
	} else if (has_length) {
		if (rest.len < length)
			return ERR_PARSE;
		rest.len = length;
	}
	*ret_status = status;
	*ret_body = rest;
	return 0;
}
