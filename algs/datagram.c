/* Control channels of datagrams (TFTP, RFC 1350). The listener gets what clients send to the service port. Each session has a socket
 * towards its server, and one towards its client, from which the client sees the server (or, explicit, the gateway) answer. What the
 * server answers is read in datagram_data.c. Control thread. */
#include "algs/datagram.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "algs/listener.h"

enum { SETTLED_MS = 10000 }; /* a session without a pinhole is over */

/* ---- who is it --------------------------------------------------------------------------------------------------------------- */

struct key {
	const struct addr *client, *server;
};

static uint64_t hash_of(const struct key *key)
{
	struct span client = { (const char *)key->client->ip, sizeof(key->client->ip) };
	struct span server = { (const char *)key->server->ip, sizeof(key->server->ip) };

	return hash_bytes_seeded(client, hash_bytes_seeded(server, (uint64_t)key->client->port << 16 | key->server->port));
}

static bool is_key(const struct hash_node *node, const void *arg)
{
	const struct session *s = HASH_ENTRY(node, struct datagrams, node)->session;
	const struct key *key = arg;

	return addr_eq(&s->far[ALG_CLIENT], key->client) && addr_eq(&s->client_sees, key->server);
}

/* ---- the socket towards the client ------------------------------------------------------------------------------------------- */

static void close_side(struct datagrams *d, enum alg_side side)
{
	loop_fd_close(d->watches[side]);
	d->watches[side] = NULL;
	if (d->fds[side] >= 0)
		close(d->fds[side]);
	d->fds[side] = -1;
}

static void keep_waiting(struct datagrams *d, struct span bytes)
{
	free(d->waiting);
	d->waiting = malloc(bytes.len > 0 ? bytes.len : 1);
	d->n_waiting = d->waiting != NULL ? bytes.len : 0;
	if (d->waiting != NULL && bytes.len > 0)
		memcpy(d->waiting, bytes.ptr, bytes.len);
}

void datagram_send(int fd, struct span bytes, const struct addr *to)
{
	struct sockaddr_storage sa;
	socklen_t len = to != NULL ? addr_to_sockaddr(to, &sa) : 0;

	(void)sendto(fd, bytes.ptr, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL, to != NULL ? (struct sockaddr *)&sa : NULL, len);
}

static void have_client_socket(struct datagrams *d, int fd_take)
{
	struct session *s = d->session;
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&s->far[ALG_CLIENT], &sa);

	if (connect(fd_take, (struct sockaddr *)&sa, len) < 0 ||
	    loop_fd_open(s->engine->loop, fd_take, LOOP_READ, datagram_on_client, d, &d->watches[ALG_CLIENT]) < 0) {
		close(fd_take);
		return;
	}
	d->fds[ALG_CLIENT] = fd_take;
	if (d->waiting != NULL)
		datagram_send(fd_take, (struct span){ d->waiting, d->n_waiting }, NULL);
	free(d->waiting);
	d->waiting = NULL;
}

static void on_client_socket(void *arg, int fd)
{
	struct datagrams *d = arg;

	d->request = NULL;
	if (fd >= 0)
		have_client_socket(d, fd);
}

static int plain_socket(const struct addr *own, int *ret)
{
	const int on = 1;
	struct addr from = *own;
	struct sockaddr_storage sa;
	socklen_t len;
	int fd = socket(own->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	from.port = 0;
	len = addr_to_sockaddr(&from, &sa);
	if ((own->family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) ||
	    bind(fd, (struct sockaddr *)&sa, len) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	*ret = fd;
	return 0;
}

/* So that the client gets it from the port that the server answered from; explicit: from one of our own, other than the service's. */
static void ask_client_socket(struct datagrams *d, uint16_t server_port)
{
	struct session *s = d->session;
	struct pinhole_socket wanted = { .realm = s->conf->realm->index, .addr = s->far[ALG_SERVER], .proto = IPPROTO_UDP,
					 .is_transparent = true, .is_connecting = true };
	int fd = -1;

	close_side(d, ALG_CLIENT);
	if (d->request != NULL)
		pinhole_socket_cancel(d->request);
	d->request = NULL;
	wanted.addr.port = server_port;
	d->answers_from = wanted.addr;
	if (s->conf->mode == CONFIG_ALG_EXPLICIT) {
		if (plain_socket(&s->near[ALG_CLIENT], &fd) == 0)
			have_client_socket(d, fd);
	} else if (s->engine->deps.pinholes != NULL) {
		(void)pinhole_socket_open(s->engine->deps.pinholes, &wanted, on_client_socket, d, &d->request);
	}
}

void datagram_to_client(struct datagrams *d, struct span bytes, uint16_t server_port)
{
	bool is_explicit = d->session->conf->mode == CONFIG_ALG_EXPLICIT;

	if (d->fds[ALG_CLIENT] >= 0 && (is_explicit || d->answers_from.port == server_port)) {
		datagram_send(d->fds[ALG_CLIENT], bytes, NULL);
		return;
	}
	keep_waiting(d, bytes);
	if (d->request == NULL || d->answers_from.port != server_port)
		ask_client_socket(d, server_port);
}

/* ---- sessions ---------------------------------------------------------------------------------------------------------------- */

void datagram_pump(struct session *s)
{
	struct datagrams *d = s->datagrams;

	for (enum alg_side side = ALG_CLIENT; side <= ALG_SERVER; side++) {
		struct span bytes;

		while ((bytes = flow_output(s->flow, side)).ptr != NULL) {
			if (side == ALG_SERVER)
				datagram_send(d->fds[ALG_SERVER], bytes, &s->far[ALG_SERVER]);
			else
				datagram_to_client(d, bytes, d->server_port != 0 ? d->server_port : s->far[ALG_SERVER].port);
			s->is_in_flow = true;
			flow_sent(s->flow, side, bytes.len);
			s->is_in_flow = false;
		}
	}
}

void datagram_close(struct session *s)
{
	struct datagrams *d = s->datagrams;

	if (d == NULL)
		return;
	s->datagrams = NULL;
	hash_table_remove(s->listener->datagrams, &d->node);
	loop_timer_stop(&d->pause);
	if (d->request != NULL)
		pinhole_socket_cancel(d->request);
	close_side(d, ALG_CLIENT);
	close_side(d, ALG_SERVER);
	free(d->waiting);
	free(d);
}

void datagram_sweep(struct session *s, uint64_t now_ms)
{
	bool is_idle = now_ms - s->active_ms >= SETTLED_MS;

	if (s->state == SESSION_CONNECTING)
		return;
	if (s->datagrams->hole == NULL && (s->is_ending || is_idle))
		session_step_event(s, SESSION_OVER, s->is_ending ? "normal" : "idle");
}

static void have_server_socket(struct datagrams *d, int fd_take)
{
	struct session *s = d->session;

	if (loop_fd_open(s->engine->loop, fd_take, LOOP_READ, datagram_on_server, d, &d->watches[ALG_SERVER]) < 0) {
		close(fd_take);
		session_step_event(s, SESSION_UNREACHABLE, "out of memory");
		return;
	}
	d->fds[ALG_SERVER] = fd_take;
	s->near[ALG_SERVER] = tcp_leg_local(fd_take);
	session_begin(s);
}

static void feed(struct session *s, struct span bytes)
{
	if (s->flow == NULL || flow_room(s->flow, ALG_CLIENT) < bytes.len)
		return;
	s->active_ms = loop_now_ms(s->engine->loop);
	s->is_in_flow = true;
	(void)flow_input(s->flow, ALG_CLIENT, bytes, false);
	s->is_in_flow = false;
	session_kick(s);
}

static void on_server_socket(void *arg, int fd)
{
	struct datagrams *d = arg;
	struct session *s = d->session;
	char *first = d->waiting;
	size_t n = d->n_waiting;

	s->request = NULL;
	if (fd < 0) {
		session_step_event(s, SESSION_UNREACHABLE, "no socket with the client's address");
		return;
	}
	d->waiting = NULL;
	have_server_socket(d, fd);
	if (first != NULL)
		feed(s, (struct span){ first, n });
	free(first);
}

static void open_server_socket(struct datagrams *d, struct span first)
{
	struct session *s = d->session;
	const struct addr *own = engine_own_address(s->conf->to, s->far[ALG_SERVER].family);
	struct pinhole_socket wanted = { .realm = s->conf->to->index, .addr = s->far[ALG_CLIENT], .proto = IPPROTO_UDP,
					 .is_transparent = true, .is_connecting = true };
	int fd = -1;

	if (s->conf->mode == CONFIG_ALG_TRANSPARENT) {
		wanted.addr.port = 0;
		keep_waiting(d, first);
		if (s->engine->deps.pinholes == NULL ||
		    pinhole_socket_open(s->engine->deps.pinholes, &wanted, on_server_socket, d, &s->request) < 0)
			session_step_event(s, SESSION_UNREACHABLE, "no socket with the client's address");
		return;
	}
	if (own == NULL || plain_socket(own, &fd) < 0) {
		session_step_event(s, SESSION_UNREACHABLE, "no socket to the server");
		return;
	}
	have_server_socket(d, fd);
	feed(s, first);
}

static void begin(struct listener *l, const struct key *key, struct span first)
{
	struct engine_client *client = NULL;
	struct datagrams *d;
	struct session *s;

	if (listener_admit(l, key->client, key->server, &client) != 0)
		return;
	d = calloc(1, sizeof(*d));
	s = d != NULL ? session_new(l, client, key->client, key->server) : NULL;
	if (s == NULL) {
		free(d);
		engine_dismiss(client);
		return;
	}
	d->session = s;
	d->fds[ALG_CLIENT] = d->fds[ALG_SERVER] = -1;
	loop_timer_init(&d->pause, l->engine->loop, datagram_go_on, d);
	s->datagrams = d;
	if (hash_table_add(l->datagrams, &d->node, hash_of(key)) != 0) {
		s->datagrams = NULL;
		free(d);
		session_step_event(s, SESSION_UNREACHABLE, "too many sessions");
		return;
	}
	open_server_socket(d, first);
}

static void dispatch(struct listener *l, const struct key *key, struct span bytes)
{
	struct hash_node *node = hash_table_find(l->datagrams, hash_of(key), is_key, key);
	struct datagrams *d = node != NULL ? HASH_ENTRY(node, struct datagrams, node) : NULL;

	if (d != NULL && d->server_port != 0) { /* its data has another port: this is another request */
		d->session->is_ending = true;
		session_step_event(d->session, SESSION_STOP, "the client began anew");
		d = NULL;
	}
	if (d == NULL)
		begin(l, key, bytes);
	else
		feed(d->session, bytes);
}

/* Where the client sent it: for a captured listener that is the server. */
static struct addr destination(const struct listener *l, struct msghdr *message)
{
	if (!l->is_captured)
		return l->at;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
		struct sockaddr_storage sa = { 0 };

		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_ORIGDSTADDR)
			memcpy(&sa, CMSG_DATA(c), sizeof(struct sockaddr_in));
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_ORIGDSTADDR)
			memcpy(&sa, CMSG_DATA(c), sizeof(struct sockaddr_in6));
		else
			continue;
		return addr_from_sockaddr((const struct sockaddr *)&sa);
	}
	return (struct addr){ 0 };
}

void datagram_receive(struct listener *l)
{
	char *scratch = l->engine->scratch;

	for (int i = 0; i < DATAGRAM_RECEIVES && l->fd >= 0; i++) {
		union {
			struct cmsghdr align;
			char bytes[CMSG_SPACE(sizeof(struct sockaddr_in6)) + 64];
		} control;
		struct sockaddr_storage sa = { 0 };
		struct iovec iov = { scratch, sizeof(l->engine->scratch) };
		struct msghdr message = { .msg_name = &sa, .msg_namelen = sizeof(sa), .msg_iov = &iov, .msg_iovlen = 1,
					  .msg_control = &control, .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(l->fd, &message, MSG_DONTWAIT);
		struct addr client = addr_from_sockaddr((const struct sockaddr *)&sa), server;

		if (n < 0)
			return;
		server = destination(l, &message);
		if (n > 0 && client.port != 0 && addr_is_set(&server))
			dispatch(l, &(struct key){ &client, &server }, (struct span){ scratch, (size_t)n });
	}
}
