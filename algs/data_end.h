/* One end of relayed data: a TCP connection with somebody, plain or under TLS. Inside data.c and its kind. Control thread. */
#ifndef ALGS_DATA_END_H
#define ALGS_DATA_END_H

#include "core/loop.h"
#include "core/span.h"

struct tls;

struct data_end { /* embedded, data_end_init() */
	int fd;                 /* -1: none */
	struct loop_fd *watch;
	struct tls *tls;        /* NULL: plain */
	int unacked;            /* octets, as last seen */
};

void data_end_init(struct data_end *end);
/* fd_take is the end's from here, also when it fails. 0 or a negative error. */
int data_end_open(struct data_end *end, struct loop *loop, int fd_take, int events, loop_fd_fn *fn, void *arg);
void data_end_want(struct data_end *end, int events); /* harmless without a connection */
/* Everything from here on is said under TLS. tls_take: of this end's descriptor, before its handshake. */
void data_end_secure(struct data_end *end, struct tls *tls_take);
/* Something has come from it, be it its end; otherwise it is watched for that. */
bool data_end_has_begun(struct data_end *end);
/* 1: done, or plain. 0: later, as data_end_want() is told with it. Negative: it failed (data_end_error() says why). */
int data_end_handshake(struct data_end *end);
/* Octets; 0: none now; ERR_CLOSED: the end of what it sends; ERR_TRUNCATED: the same without having been said under TLS; or a
 * negative error. */
int data_end_read(struct data_end *end, char *to, size_t size);
/* Octets that were taken; 0: none now, then the same ones come first the next time; or a negative error. */
int data_end_write(struct data_end *end, struct span bytes);
/* Says that no more comes: 1 said (or there is nobody to hear it), 0 later. */
int data_end_shut(struct data_end *end);
/* Octets were received that the kernel does not show any more. */
bool data_end_has_pending(const struct data_end *end);
/* What TLS waits for besides what the octets need. */
int data_end_wants(const struct data_end *end);
/* Whether everything that was sent has been acknowledged, or nobody is there to do so. ret_moved: some was since the last time. */
bool data_end_is_taken(struct data_end *end, bool *ret_moved);
const char *data_end_error(const struct data_end *end); /* of TLS; "" */
/* Harmless when closed. Says nothing: under TLS the other side knows that this was not the end, unless data_end_shut() came before;
 * in plain only when is_reset. */
void data_end_close(struct data_end *end, bool is_reset);

#endif
