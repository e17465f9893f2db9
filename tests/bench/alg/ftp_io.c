/* Lines, octets, and the client's steps. Any thread; nothing here is shared but the file in memory. */
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/alg/ftp.h"

enum { PAGE = 4096, DRAIN_AT_ONCE = 4 << 20 };

static int memory_fd = -1;
static pthread_once_t memory_once = PTHREAD_ONCE_INIT;

uint64_t ftp_now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * FTP_SECOND + (uint64_t)t.tv_nsec;
}

int ftp_fail(const char *what, int error)
{
	fprintf(stderr, "ftp: %s: %s\n", what, strerror(error));
	return -error;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

void ftp_sort(uint64_t *values, size_t n)
{
	qsort(values, n, sizeof(*values), compare);
}

double ftp_quantile_us(const uint64_t *sorted_ns, size_t n, double share)
{
	return n == 0 ? 0 : (double)sorted_ns[(size_t)((double)(n - 1) * share)] / 1000;
}

int ftp_set_up(int fd)
{
	const struct timeval wait = { .tv_sec = FTP_WAIT_S };
	const int one = 1;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0)
		return ftp_fail("setsockopt", errno);
	return 0;
}

/* ---- lines ---- */

static int fill(struct ftp_control *control)
{
	ssize_t n;

	memmove(control->in, control->in + control->start, control->end - control->start);
	control->end -= control->start;
	control->start = 0;
	if (control->end >= sizeof(control->in))
		return -EMSGSIZE;
	n = recv(control->fd, control->in + control->end, sizeof(control->in) - control->end, 0);
	if (n <= 0)
		return n < 0 ? -errno : -EPIPE;
	control->end += (size_t)n;
	return 0;
}

int ftp_read_line(struct ftp_control *control, struct span *ret)
{
	for (;;) {
		char *start = control->in + control->start, *end = memchr(start, '\n', control->end - control->start);
		int err;

		if (end != NULL) {
			*ret = (struct span){ start, (size_t)(end - start) };
			control->start = (size_t)(end + 1 - control->in);
			if (ret->len > 0 && ret->ptr[ret->len - 1] == '\r')
				ret->len--;
			return 0;
		}
		err = fill(control);
		if (err < 0)
			return err;
	}
}

int ftp_write(int fd, struct span text)
{
	while (text.len > 0) {
		ssize_t n = send(fd, text.ptr, text.len, MSG_NOSIGNAL);

		if (n < 0)
			return -errno;
		text.ptr += n;
		text.len -= (size_t)n;
	}
	return 0;
}

/* ---- octets ---- */

static void make_memory(void)
{
	bool is_good;

	memory_fd = memfd_create("file", MFD_CLOEXEC);
	is_good = memory_fd >= 0 && ftruncate(memory_fd, FTP_MEMORY) == 0;
	/* A page exists once it was written. */
	for (size_t at = 0; is_good && at < FTP_MEMORY; at += PAGE)
		is_good = pwrite(memory_fd, &at, sizeof(at), (off_t)at) == (ssize_t)sizeof(at);
	if (!is_good) {
		(void)ftp_fail("a file in memory", errno);
		exit(1);
	}
}

int ftp_send_octets(int fd, uint64_t octets)
{
	off_t at = 0;

	(void)pthread_once(&memory_once, make_memory);
	while (octets > 0) {
		size_t most = (size_t)(FTP_MEMORY - at);
		ssize_t n = sendfile(fd, memory_fd, &at, octets < most ? octets : most);

		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		octets -= (uint64_t)n;
		if (at >= FTP_MEMORY)
			at = 0;
	}
	return 0;
}

int ftp_drain(int fd, uint64_t *ret_octets)
{
	uint64_t octets = 0;
	ssize_t n;

	while ((n = recv(fd, NULL, DRAIN_AT_ONCE, MSG_TRUNC)) > 0)
		octets += (uint64_t)n;
	if (n < 0)
		return -errno;
	*ret_octets = octets;
	return 0;
}

/* ---- the client's steps ---- */

int ftp_connect(const struct addr *server, int *ret_fd)
{
	struct sockaddr_storage name;
	socklen_t len = addr_to_sockaddr(server, &name);
	int fd = socket(server->family, SOCK_STREAM | SOCK_CLOEXEC, 0), err;

	err = fd < 0 ? -errno : ftp_set_up(fd);
	if (err == 0 && connect(fd, (struct sockaddr *)&name, len) < 0)
		err = -errno;
	if (err == 0)
		*ret_fd = fd;
	else if (fd >= 0)
		close(fd);
	return err;
}

int ftp_read_reply(struct ftp_control *control, unsigned *ret_code, struct span *ret_text)
{
	char first[3] = "";
	struct span line;

	do {
		int err = ftp_read_line(control, &line);

		if (err < 0)
			return err;
		if (first[0] == '\0' && line.len >= 4)
			memcpy(first, line.ptr, 3);
	} while (line.len < 4 || line.ptr[3] != ' ' || memcmp(line.ptr, first, 3) != 0);
	*ret_code = (unsigned)(line.ptr[0] - '0') * 100 + (unsigned)(line.ptr[1] - '0') * 10 + (unsigned)(line.ptr[2] - '0');
	*ret_text = line;
	return 0;
}

static int expect(struct ftp_control *control, const char *asked, char expected, struct span *ret_text)
{
	struct span text;
	unsigned code;
	int err = ftp_read_reply(control, &code, &text);

	if (err < 0)
		return ftp_fail(asked, -err);
	if (code / 100 != (unsigned)(expected - '0')) {
		fprintf(stderr, "ftp: %s: %.*s\n", asked, (int)text.len, text.ptr);
		return -EPROTO;
	}
	if (ret_text != NULL)
		*ret_text = text;
	return 0;
}

int ftp_ask(struct ftp_control *control, const char *line, char expected, struct span *ret_text)
{
	char text[FTP_LINE_MAX];
	int n = snprintf(text, sizeof(text), "%s\r\n", line), err;

	err = ftp_write(control->fd, (struct span){ text, (size_t)n });
	return err < 0 ? ftp_fail(line, -err) : expect(control, line, expected, ret_text);
}

int ftp_login(const struct addr *server, struct ftp_control *ret)
{
	int err = ftp_connect(server, &ret->fd);

	if (err < 0)
		return ftp_fail("connect", -err);
	ret->start = ret->end = 0;
	err = expect(ret, "greeting", '2', NULL);
	if (err == 0)
		err = ftp_ask(ret, "USER bench", '3', NULL);
	if (err == 0)
		err = ftp_ask(ret, "PASS bench", '2', NULL);
	if (err < 0)
		close(ret->fd);
	return err;
}

int ftp_open_data(struct ftp_control *control, const struct addr *server, int *ret_fd)
{
	struct addr target = *server;
	struct span text, port;
	uint32_t number;
	int err = ftp_ask(control, "EPSV", '2', &text);
	const char *start;

	if (err < 0)
		return err;
	start = memmem(text.ptr, text.len, "(|||", 4);
	if (start == NULL)
		return ftp_fail("reply to EPSV", EPROTO);
	port = (struct span){ start + 4, (size_t)(text.ptr + text.len - start - 4) };
	if (span_to_u32(span_cut(&port, '|'), UINT16_MAX, &number) < 0)
		return ftp_fail("reply to EPSV", EPROTO);
	target.port = (uint16_t)number;
	err = ftp_connect(&target, ret_fd);
	return err < 0 ? ftp_fail("data connection", -err) : 0;
}

int ftp_retr(struct ftp_control *control, const struct addr *server, uint64_t octets)
{
	char line[64];
	uint64_t got = 0;
	int fd, err = ftp_open_data(control, server, &fd);

	if (err < 0)
		return err;
	snprintf(line, sizeof(line), "RETR %llu", (unsigned long long)octets);
	err = ftp_ask(control, line, '1', NULL);
	if (err == 0)
		err = ftp_drain(fd, &got);
	close(fd);
	if (err == 0)
		err = expect(control, "end of RETR", '2', NULL);
	if (err == 0 && got != octets) {
		fprintf(stderr, "ftp: RETR: %llu of %llu octets\n", (unsigned long long)got, (unsigned long long)octets);
		err = -EPROTO;
	}
	return err;
}

int ftp_stor(struct ftp_control *control, const struct addr *server, uint64_t octets)
{
	char line[64];
	int fd, err = ftp_open_data(control, server, &fd);

	if (err < 0)
		return err;
	/* The server refuses a file that has not the size of its name. */
	snprintf(line, sizeof(line), "STOR %llu", (unsigned long long)octets);
	err = ftp_ask(control, line, '1', NULL);
	if (err == 0)
		err = ftp_send_octets(fd, octets);
	close(fd);
	return err == 0 ? expect(control, "end of STOR", '2', NULL) : err;
}
