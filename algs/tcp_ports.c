/* Own TCP ports of one address. Each is in one state; what rests stands in a ring, in the order in which it may leave. */
#include "algs/tcp_ports.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/err.h"
#include "core/rnd.h"

enum { TAKE_TRIES = 64 };

enum port_state { PORT_FREE, PORT_USED, PORT_CLAIMED, PORT_RESTING };

struct resting {
	uint64_t until_ms;
	uint16_t port;
};

struct tcp_ports {
	struct tcp_ports_conf conf;
	uint32_t n;
	uint8_t *states;         /* by port - port_min */
	struct resting *resting; /* a ring of n */
	uint32_t head, n_resting, n_used;
	uint64_t bind_failures;
};

int tcp_ports_new(const struct tcp_ports_conf *conf, struct tcp_ports **ret)
{
	struct tcp_ports *p;

	if (conf->port_min == 0 || conf->port_max < conf->port_min)
		return ERR_CONFIG;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	p->conf = *conf;
	p->conf.address.port = 0;
	p->n = (uint32_t)(conf->port_max - conf->port_min) + 1;
	p->states = calloc(p->n, sizeof(*p->states));
	p->resting = calloc(p->n, sizeof(*p->resting));
	if (p->states == NULL || p->resting == NULL) {
		tcp_ports_free(p);
		return -ENOMEM;
	}
	*ret = p;
	return 0;
}

void tcp_ports_free(struct tcp_ports *p)
{
	if (p == NULL)
		return;
	free(p->states);
	free(p->resting);
	free(p);
}

static int bind_to(const struct addr *address, uint16_t port, int *ret_fd)
{
	const int on = 1;
	struct addr local = *address;
	struct sockaddr_storage sa;
	socklen_t len;
	int fd, err;

	local.port = port;
	len = addr_to_sockaddr(&local, &sa);
	fd = socket(local.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* What an earlier connection leaves in TIME_WAIT is no reason to refuse: the ports rest longer where it matters. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    (local.family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) ||
	    bind(fd, (struct sockaddr *)&sa, len) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

static void rest(struct tcp_ports *p, uint32_t index, uint64_t now_ms)
{
	p->states[index] = PORT_RESTING;
	p->resting[(p->head + p->n_resting++) % p->n] =
		(struct resting){ now_ms + p->conf.quarantine_ms, (uint16_t)(p->conf.port_min + index) };
}

static void leave_quarantine(struct tcp_ports *p, uint64_t now_ms)
{
	while (p->n_resting > 0 && p->resting[p->head].until_ms <= now_ms) {
		p->states[p->resting[p->head].port - p->conf.port_min] = PORT_FREE;
		p->head = (p->head + 1) % p->n;
		p->n_resting--;
	}
}

/* A random one at first; when many are taken, the next free one after it. */
static bool find_free(const struct tcp_ports *p, uint32_t *ret)
{
	uint32_t from = rnd_below(p->n);

	for (uint32_t i = 0; i < p->n; i++) {
		uint32_t index = (from + i) % p->n;

		if (p->states[index] != PORT_FREE)
			continue;
		*ret = index;
		return true;
	}
	return false;
}

int tcp_ports_take(struct tcp_ports *p, uint64_t now_ms, uint16_t *ret_port, int *ret_fd)
{
	leave_quarantine(p, now_ms);
	if (p->conf.max != 0 && p->n_used >= p->conf.max)
		return ERR_LIMIT;
	for (int tries = 0; tries < TAKE_TRIES; tries++) {
		uint32_t index;
		int err;

		if (!find_free(p, &index))
			return ERR_LIMIT;
		err = bind_to(&p->conf.address, (uint16_t)(p->conf.port_min + index), ret_fd);
		if (err == 0) {
			p->states[index] = PORT_USED;
			p->n_used++;
			*ret_port = (uint16_t)(p->conf.port_min + index);
			return 0;
		}
		if (err != -EADDRINUSE && err != -EACCES)
			return err;
		p->bind_failures++;
		rest(p, index, now_ms);
	}
	return ERR_LIMIT;
}

static bool is_inside(const struct tcp_ports *p, uint16_t port)
{
	return port >= p->conf.port_min && port <= p->conf.port_max;
}

int tcp_ports_claim(struct tcp_ports *p, uint16_t port, int *ret_fd)
{
	uint32_t index = (uint32_t)port - p->conf.port_min;
	int err;

	if (is_inside(p, port) && p->states[index] != PORT_FREE)
		return ERR_EXISTS;
	err = bind_to(&p->conf.address, port, ret_fd);
	if (err == -EADDRINUSE) {
		p->bind_failures++;
		return ERR_EXISTS;
	}
	if (err == 0 && is_inside(p, port)) {
		p->states[index] = PORT_CLAIMED;
		p->n_used++;
	}
	return err;
}

void tcp_ports_give(struct tcp_ports *p, uint16_t port, uint64_t now_ms)
{
	uint32_t index = (uint32_t)port - p->conf.port_min;

	if (!is_inside(p, port) || (p->states[index] != PORT_USED && p->states[index] != PORT_CLAIMED))
		return;
	p->n_used--;
	if (p->states[index] == PORT_CLAIMED)
		p->states[index] = PORT_FREE;
	else
		rest(p, index, now_ms);
}

void tcp_ports_stats(const struct tcp_ports *p, struct tcp_ports_stats *ret)
{
	*ret = (struct tcp_ports_stats){ .total = p->n, .used = p->n_used, .quarantined = p->n_resting,
					 .bind_failures = p->bind_failures };
}

const struct addr *tcp_ports_address(const struct tcp_ports *p)
{
	return &p->conf.address;
}
