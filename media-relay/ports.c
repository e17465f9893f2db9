/* Pools of port pairs.
 *
 * Every pair is in one place: free without sockets (`cold`), free with bound sockets (`warm`), in quarantine, or out
 * with a stream. The free ones are arrays from which a random element is taken in constant time (unguessable ports
 * cost an attacker his packets); warm ones go first. All pairs rest equally long, so quarantine is a queue.
 * Control thread. */
#include "media-relay/ports.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/err.h"
#include "core/hash.h"
#include "core/rnd.h"

enum { TAKE_TRIES = 64, TICK_AT_TAKE = 4, SHED_LOOKS = 64, DRAIN_MAX = 64 };

struct pair {
	int fds[2];
	uint64_t until_ms;
};

struct ports {
	struct ports_conf conf;
	uint16_t first_port;
	uint32_t n_pairs;
	struct pair *pairs;
	uint16_t *cold, *warm, *resting; /* indexes of pairs; resting is a ring */
	uint32_t n_cold, n_warm, n_resting, resting_head;
	uint32_t n_idle_open;            /* pairs with sockets among warm and resting */
	uint64_t seed, draws, bind_failures;
};

static int open_socket(const struct ports_conf *conf, uint16_t port, int *ret)
{
	const int on = 1, dscp = conf->dscp << 2, receive = port % 2 == 0 ? PORTS_RTP_BUFFER : PORTS_RTCP_BUFFER;
	struct addr local = conf->address;
	struct sockaddr_storage sa;
	socklen_t len;
	int fd, error;

	local.port = port;
	len = addr_to_sockaddr(&local, &sa);
	fd = socket(local.family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (local.family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		goto fail;
	if (bind(fd, (struct sockaddr *)&sa, len) < 0)
		goto fail;
	if (dscp != 0 && local.family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &dscp, sizeof(dscp));
	else if (dscp != 0)
		setsockopt(fd, IPPROTO_IP, IP_TOS, &dscp, sizeof(dscp));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive, sizeof(receive));
	*ret = fd;
	return 0;
fail:
	error = errno;
	close(fd);
	return -error;
}

static int open_pair(const struct ports_conf *conf, uint16_t rtp_port, int fds[2])
{
	int rtp = -1, rtcp = -1;
	int err = open_socket(conf, rtp_port, &rtp);

	if (err < 0)
		return err;
	err = open_socket(conf, (uint16_t)(rtp_port + 1), &rtcp);
	if (err < 0) {
		close(rtp);
		return err;
	}
	fds[0] = rtp;
	fds[1] = rtcp;
	return 0;
}

static void count_sockets(const struct ports *p, int change)
{
	if (p->conf.budget != NULL)
		p->conf.budget->open += (uint32_t)change;
}

static void close_pair(struct ports *p, struct pair *pair)
{
	if (pair->fds[0] < 0)
		return;
	for (int i = 0; i < 2; i++) {
		close(pair->fds[i]);
		pair->fds[i] = -1;
	}
	count_sockets(p, -2);
}

int ports_new(const struct ports_conf *conf, struct ports **ret)
{
	uint32_t first = (conf->port_min + 1u) & ~1u;
	struct ports *p = NULL;
	int fd = -1, err;

	if (conf->port_min == 0 || first + 1 > conf->port_max)
		return ERR_CONFIG;
	err = open_socket(conf, 0, &fd); /* any port: is the address ours? */
	if (err < 0)
		return err;
	close(fd);
	err = -ENOMEM;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return err;
	p->conf = *conf;
	p->first_port = (uint16_t)first;
	p->n_pairs = (conf->port_max - first + 1) / 2;
	p->pairs = calloc(p->n_pairs, sizeof(*p->pairs));
	p->cold = calloc(p->n_pairs, sizeof(*p->cold));
	p->warm = calloc(p->n_pairs, sizeof(*p->warm));
	p->resting = calloc(p->n_pairs, sizeof(*p->resting));
	if (p->pairs == NULL || p->cold == NULL || p->warm == NULL || p->resting == NULL)
		goto out;
	p->seed = rnd_u64();
	for (uint32_t i = 0; i < p->n_pairs; i++) {
		p->pairs[i].fds[0] = p->pairs[i].fds[1] = -1;
		p->cold[p->n_cold++] = (uint16_t)i;
	}
	*ret = p;
	p = NULL;
	err = 0;
out:
	ports_free(p);
	return err;
}

void ports_free(struct ports *p)
{
	if (p == NULL)
		return;
	for (uint32_t i = 0; p->pairs != NULL && i < p->n_pairs; i++)
		close_pair(p, &p->pairs[i]);
	free(p->pairs);
	free(p->cold);
	free(p->warm);
	free(p->resting);
	free(p);
}

/* A keyed hash of a counter: as unguessable as getrandom(), without a system call for each call that is set up. */
static uint32_t draw(struct ports *p, uint32_t bound)
{
	uint64_t n = p->draws++;
	struct span bytes = { (const char *)&n, sizeof(n) };

	return (uint32_t)((hash_bytes_seeded(bytes, p->seed) >> 32) * bound >> 32);
}

static uint16_t take_at(uint16_t *set, uint32_t *n, uint32_t at)
{
	uint16_t index = set[at];

	set[at] = set[--*n];
	return index;
}

static void rest(struct ports *p, uint16_t index, uint64_t now_ms)
{
	p->pairs[index].until_ms = now_ms + p->conf.quarantine_ms;
	p->resting[(p->resting_head + p->n_resting++) % p->n_pairs] = index;
}

static void leave_quarantine(struct ports *p, uint64_t now_ms, uint32_t most)
{
	for (; most > 0 && p->n_resting > 0; most--) {
		uint16_t index = p->resting[p->resting_head];

		if (p->pairs[index].until_ms > now_ms)
			return;
		p->resting_head = (p->resting_head + 1) % p->n_pairs;
		p->n_resting--;
		if (p->pairs[index].fds[0] >= 0)
			p->warm[p->n_warm++] = index;
		else
			p->cold[p->n_cold++] = index;
	}
}

/* Closes the sockets of a pair in quarantine, so that a pair in use can have them. (Warm pairs are used as they are.) */
static bool shed(struct ports *p)
{
	for (uint32_t i = 0; i < p->n_resting && i < SHED_LOOKS; i++) {
		struct pair *pair = &p->pairs[p->resting[(p->resting_head + i) % p->n_pairs]];

		if (pair->fds[0] < 0)
			continue;
		close_pair(p, pair);
		p->n_idle_open--;
		return true;
	}
	return false;
}

static bool may_open(struct ports *p)
{
	const struct ports_budget *budget = p->conf.budget;

	return budget == NULL || budget->open + 2 <= budget->max || shed(p);
}

/* A socket that rested gets its buffer back and loses what it swallowed. Now, while nobody knows yet that the port is in use
 * again: whatever comes once somebody was told belongs to the new stream, however late the relay thread gets to it. */
static void refresh(int fd, int buffer)
{
	char byte;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
	for (int i = 0; i < DRAIN_MAX && recv(fd, &byte, sizeof(byte), MSG_DONTWAIT) >= 0; i++)
		;
}

static struct ports_pair take_warm(struct ports *p, uint32_t at)
{
	uint16_t index = take_at(p->warm, &p->n_warm, at);
	struct pair *pair = &p->pairs[index];
	struct ports_pair out = { (uint16_t)(p->first_port + 2 * index), { pair->fds[0], pair->fds[1] }, true };

	pair->fds[0] = pair->fds[1] = -1;
	p->n_idle_open--;
	refresh(out.fds[0], PORTS_RTP_BUFFER);
	refresh(out.fds[1], PORTS_RTCP_BUFFER);
	return out;
}

int ports_take(struct ports *p, uint64_t now_ms, struct ports_pair *ret)
{
	leave_quarantine(p, now_ms, TICK_AT_TAKE);
	if (p->n_warm > 0) {
		*ret = take_warm(p, draw(p, p->n_warm));
		return 0;
	}
	if (p->n_cold > 0 && !may_open(p))
		return -EMFILE;
	for (int tries = 0; tries < TAKE_TRIES && p->n_cold > 0; tries++) {
		uint16_t index = take_at(p->cold, &p->n_cold, draw(p, p->n_cold));
		struct ports_pair pair = { (uint16_t)(p->first_port + 2 * index), { -1, -1 }, false };
		int err = open_pair(&p->conf, pair.rtp_port, pair.fds);

		if (err == 0) {
			count_sockets(p, 2);
			*ret = pair;
			return 0;
		}
		if (err != -EADDRINUSE && err != -EACCES) {
			p->cold[p->n_cold++] = index;
			return err;
		}
		p->bind_failures++;
		rest(p, index, now_ms);
	}
	return ERR_LIMIT;
}

/* Until the first pairs were taken, each stands at its own place. */
static bool find(const uint16_t *set, uint32_t n, uint16_t index, uint32_t *ret)
{
	uint32_t at = index < n && set[index] == index ? index : 0;

	while (at < n && set[at] != index)
		at++;
	if (at == n)
		return false;
	*ret = at;
	return true;
}

int ports_claim(struct ports *p, uint16_t rtp_port, uint64_t now_ms, struct ports_pair *ret)
{
	struct ports_pair pair = { rtp_port, { -1, -1 }, false };
	uint16_t index = (uint16_t)((rtp_port - p->first_port) / 2);
	uint32_t at;
	int err;

	if (rtp_port < p->first_port || rtp_port % 2 != 0 || index >= p->n_pairs)
		return ERR_NOT_FOUND;
	leave_quarantine(p, now_ms, TICK_AT_TAKE);
	if (find(p->warm, p->n_warm, index, &at)) {
		*ret = take_warm(p, at);
		return 0;
	}
	if (!find(p->cold, p->n_cold, index, &at))
		return ERR_EXISTS;
	if (!may_open(p))
		return -EMFILE;
	err = open_pair(&p->conf, rtp_port, pair.fds);
	if (err == -EADDRINUSE || err == -EACCES)
		p->bind_failures++;
	if (err < 0)
		return err == -EADDRINUSE ? ERR_EXISTS : err;
	(void)take_at(p->cold, &p->n_cold, at);
	count_sockets(p, 2);
	*ret = pair;
	return 0;
}

bool ports_may_keep(const struct ports *p)
{
	const struct ports_budget *budget = p->conf.budget;

	/* An eighth stays free of idle sockets, for pools that have none to give up. */
	return p->n_idle_open < p->conf.idle_max && (budget == NULL || budget->open <= budget->max - budget->max / 8);
}

void ports_give(struct ports *p, const struct ports_pair *pair, uint64_t now_ms)
{
	uint16_t index = (uint16_t)((pair->rtp_port - p->first_port) / 2);

	p->pairs[index].fds[0] = pair->fds[0];
	p->pairs[index].fds[1] = pair->fds[1];
	if (pair->fds[0] < 0)
		count_sockets(p, -2);
	else if (ports_may_keep(p))
		p->n_idle_open++;
	else
		close_pair(p, &p->pairs[index]);
	rest(p, index, now_ms);
}

void ports_tick(struct ports *p, uint64_t now_ms)
{
	leave_quarantine(p, now_ms, p->n_pairs);
}

void ports_stats(const struct ports *p, struct ports_stats *ret)
{
	*ret = (struct ports_stats){
		.total = p->n_pairs,
		.used = p->n_pairs - p->n_cold - p->n_warm - p->n_resting,
		.quarantined = p->n_resting,
		.idle_open = p->n_idle_open,
		.bind_failures = p->bind_failures,
	};
}

const struct ports_conf *ports_conf(const struct ports *p)
{
	return &p->conf;
}
