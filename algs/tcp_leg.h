/* One TCP connection of a control channel, with TLS once it was asked for: non-blocking, watched for what its owner wants now,
 * half-closed in each direction by itself. Holds no octets but the rest of a TLS record: what cannot be written stays with the owner,
 * what is not wanted stays in the kernel. Control thread. */
#ifndef ALGS_TCP_LEG_H
#define ALGS_TCP_LEG_H

#include "core/addr.h"
#include "core/loop.h"
#include "core/tls.h"

struct tcp_leg;
/* Ready for what is wanted, or connected, or TLS has begun, or failed (then error is set). May close the leg. */
typedef void tcp_leg_fn(void *arg, struct tcp_leg *leg);

enum tcp_leg_state { TCP_LEG_CLOSED, TCP_LEG_CONNECTING, TCP_LEG_SECURING, TCP_LEG_UP };

struct tcp_leg { /* embedded, zeroed, then tcp_leg_init() */
	struct loop *loop;
	int fd;
	struct loop_fd *watch;
	int wanted;            /* LOOP_READ, LOOP_WRITE */
	struct loop_timer timer; /* until connected, or TLS has begun; then for octets of TLS that the kernel does not show */
	enum tcp_leg_state state;
	struct tls *tls;       /* NULL: in clear */
	int read_wants, write_wants; /* what it waits for to read, to write: LOOP_READ, LOOP_WRITE */
	bool has_ended;        /* the far end will send no more */
	bool is_shut;          /* we will send no more */
	bool is_shutting;      /* close_notify could not be sent yet: tcp_leg_shut() again when ready */
	int error;             /* why it failed, negative */
	tcp_leg_fn *fn;
	void *arg;
};

void tcp_leg_init(struct tcp_leg *leg, struct loop *loop, tcp_leg_fn *fn, void *arg);
/* A connected socket, which is the leg's from here. 0 or a negative error; the socket is closed then. */
int tcp_leg_adopt(struct tcp_leg *leg, int fd_take);
/* Begins to connect: fd_take is a bound socket, or -1: one is made and bound to `from` (its port 0: any). fn is called later, with the
 * state UP or with an error. 0 or a negative error (and nothing was kept). */
int tcp_leg_connect(struct tcp_leg *leg, int fd_take, const struct addr *from, const struct addr *to, uint32_t timeout_ms);
/* TLS begins on a leg that is up, whose octets in clear were all written. fn is called later, with the state UP or with an error. 0 or
 * -ENOMEM (and it goes on in clear). */
int tcp_leg_secure(struct tcp_leg *leg, struct tls_context *context, uint32_t timeout_ms);
/* Octets, 0 when there is nothing now, ERR_CLOSED when the far end has ended (has_ended), or a negative errno (error). */
int tcp_leg_read(struct tcp_leg *leg, char *to, size_t size);
/* Octets that were taken, 0 when none can be now (then the next call has to begin with the same octets), or a negative errno (error). */
int tcp_leg_write(struct tcp_leg *leg, struct span bytes);
void tcp_leg_shut(struct tcp_leg *leg); /* is_shut, or to be called again */
void tcp_leg_want(struct tcp_leg *leg, bool may_read, bool may_write); /* a leg that is not up has wishes of its own */
/* is_reset: the far end learns that this was not an orderly end. Harmless when closed. */
void tcp_leg_close(struct tcp_leg *leg, bool is_reset);

/* For other connections of a session too. */
void tcp_leg_reset_on_close(int fd);
int tcp_leg_socket(const struct addr *from, int *ret_fd); /* non-blocking, bound; from.port 0: any */
struct addr tcp_leg_local(int fd);
struct addr tcp_leg_remote(int fd);

#endif
