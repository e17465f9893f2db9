/* Between the files of the FTP tool. */
#ifndef TESTS_BENCH_ALG_FTP_H
#define TESTS_BENCH_ALG_FTP_H

#include <stdio.h>

#include "core/addr.h"

enum { FTP_LINE_MAX = 1024, FTP_WAIT_S = 20, FTP_MEMORY = 16 << 20 };
#define FTP_SECOND UINT64_C(1000000000)

struct ftp_control {
	int fd; /* -1: closed */
	char in[2 * FTP_LINE_MAX];
	size_t start, end; /* of what was received and not yet taken */
};

uint64_t ftp_now_ns(void);
/* Says what failed; returns -error. */
int ftp_fail(const char *what, int error);
int ftp_set_up(int fd); /* no delay, and time limits */
/* A line without its end, cut at FTP_LINE_MAX; valid until the next call. 0 or a negative error; -EPIPE: the end. */
int ftp_read_line(struct ftp_control *control, struct span *ret);
int ftp_write(int fd, struct span text);
/* Sends that many octets of memory that belongs to the process (a file in memory, over and over). */
int ftp_send_octets(int fd, uint64_t octets);
/* Takes octets until the end and throws them away, without copying them. */
int ftp_drain(int fd, uint64_t *ret_octets);

/* The client's side. */
int ftp_connect(const struct addr *server, int *ret_fd);
int ftp_login(const struct addr *server, struct ftp_control *ret);
int ftp_read_reply(struct ftp_control *control, unsigned *ret_code, struct span *ret_text);
/* Sends a line and reads its reply, whose code must begin with that digit. ret_text: its last line; may be NULL. */
int ftp_ask(struct ftp_control *control, const char *line, char expected, struct span *ret_text);
/* EPSV, and a connection to that port. */
int ftp_open_data(struct ftp_control *control, const struct addr *server, int *ret_fd);
int ftp_retr(struct ftp_control *control, const struct addr *server, uint64_t octets);
int ftp_stor(struct ftp_control *control, const struct addr *server, uint64_t octets);
/* Share of 0 to 1 of sorted values. */
double ftp_quantile_us(const uint64_t *sorted_ns, size_t n, double share);
void ftp_sort(uint64_t *values, size_t n);

int ftp_serve(const struct addr *listen, unsigned threads);
int ftp_sessions(const struct addr *server, unsigned threads, unsigned seconds, uint64_t octets);

#endif
