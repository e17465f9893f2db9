/* TCP ports of one own address, for connections that an ALG expects: a random free one of the realm's media range, bound but not
 * listening, so that nobody else gets it and nobody reaches it yet. A port that was given back rests in quarantine, so that who knew it
 * does not meet the next session there. Control thread. */
#ifndef ALGS_TCP_PORTS_H
#define ALGS_TCP_PORTS_H

#include "core/addr.h"

struct tcp_ports;

struct tcp_ports_conf {
	struct addr address;         /* port 0 */
	uint16_t port_min, port_max; /* inclusive */
	uint32_t quarantine_ms;
	uint32_t max;                /* out at a time */
};

/* 0, ERR_CONFIG for an empty range, or -ENOMEM. */
int tcp_ports_new(const struct tcp_ports_conf *conf, struct tcp_ports **ret);
void tcp_ports_free(struct tcp_ports *ports); /* NULL is fine; sockets are their users' */

/* A random one: 0, ERR_LIMIT when none is free, or a negative errno (-EMFILE, -EADDRNOTAVAIL). *ret_fd is the caller's: bound,
 * non-blocking. */
int tcp_ports_take(struct tcp_ports *ports, uint64_t now_ms, uint16_t *ret_port, int *ret_fd);
/* That very port, which may lie outside the range. 0, ERR_EXISTS when somebody has it, or a negative errno. */
int tcp_ports_claim(struct tcp_ports *ports, uint16_t port, int *ret_fd);
/* The caller has closed its socket. A claimed port does not rest: who claims it needs that one again. */
void tcp_ports_give(struct tcp_ports *ports, uint16_t port, uint64_t now_ms);

struct tcp_ports_stats {
	uint32_t total, used, quarantined;
	uint64_t bind_failures;
};
void tcp_ports_stats(const struct tcp_ports *ports, struct tcp_ports_stats *ret);
const struct addr *tcp_ports_address(const struct tcp_ports *ports);

#endif
