/* What arrives at the two sockets of a session of datagrams.
 *
 * A pinhole of kind UDP takes the server's answers from any of its ports, until the first one fixes it; what client and server send
 * each other from there on passes here, within the limits of the profile; the module only says where it ends. Control thread. */
#include "algs/datagram.h"

#include <errno.h>
#include <sys/socket.h>

enum { PAUSE_FROM_MS = 50 }; /* of pacing, that is worth a pause */

void datagram_go_on(struct loop_timer *timer, void *arg)
{
	struct datagrams *d = arg;

	(void)timer;
	if (d->watches[ALG_SERVER] != NULL)
		(void)loop_fd_want(d->watches[ALG_SERVER], LOOP_READ);
	if (d->watches[ALG_CLIENT] != NULL)
		(void)loop_fd_want(d->watches[ALG_CLIENT], LOOP_READ);
}

static void pace(struct datagrams *d, size_t octets)
{
	uint32_t rate = d->hole->verdict.bytes_per_s;
	uint64_t now_ms = loop_now_ms(d->session->engine->loop);

	if (rate == 0)
		return;
	if (d->pace_ms < now_ms)
		d->pace_ms = now_ms;
	d->pace_ms += (uint64_t)octets * 1000 / rate;
	if (d->pace_ms - now_ms < PAUSE_FROM_MS)
		return;
	for (enum alg_side side = ALG_CLIENT; side <= ALG_SERVER; side++)
		if (d->watches[side] != NULL)
			(void)loop_fd_want(d->watches[side], 0);
	loop_timer_start(&d->pause, d->pace_ms - now_ms);
}

/* Whether it may pass, as far as the protocol goes. The end of the data is told with the next turn; until nobody has to repeat
 * anything any more, the sockets stay. */
static bool is_of_transfer(struct datagrams *d, enum alg_side from, struct span bytes)
{
	struct session *s = d->session;
	enum alg_datum what;

	s->is_in_flow = true;
	what = flow_datum(s->flow, d->hole->id, from, bytes);
	s->is_in_flow = false;
	d->is_complete |= what == ALG_DATUM_LAST;
	return what != ALG_DATUM_STRAY;
}

/* False when the profile's limit is reached. */
static bool count(struct datagrams *d, enum alg_side from, size_t octets)
{
	struct hole *hole = d->hole;
	uint64_t max = hole->verdict.max_bytes;

	if (max != 0 && d->passed + octets > max) {
		hole_cut(hole, "larger than the profile allows");
		return false;
	}
	d->passed += octets;
	hole->octets[from] += octets;
	hole->moved_ms = d->session->active_ms = loop_now_ms(d->session->engine->loop);
	pace(d, octets);
	return true;
}

static bool has_data(const struct datagrams *d)
{
	if (d->hole == NULL || (d->hole->is_over && !d->is_complete))
		return false;
	return d->hole->state == HOLE_ARMED || hole_has_data(d->hole);
}

static void from_client(struct datagrams *d, struct span bytes)
{
	struct addr to = d->session->far[ALG_SERVER];

	if (!has_data(d) || d->server_port == 0 || !is_of_transfer(d, ALG_CLIENT, bytes) || !count(d, ALG_CLIENT, bytes.len))
		return;
	to.port = d->server_port;
	datagram_send(d->fds[ALG_SERVER], bytes, &to);
	if (d->is_complete)
		hole_ended(d->hole);
}

static void from_server(struct datagrams *d, struct span bytes, const struct addr *source)
{
	struct session *s = d->session;

	if (!addr_eq_ip(source, &s->far[ALG_SERVER]) || (d->server_port != 0 && source->port != d->server_port)) {
		d->foreign++;
		return;
	}
	if (!has_data(d)) {
		if (source->port != s->far[ALG_SERVER].port || flow_room(s->flow, ALG_SERVER) < bytes.len)
			return;
		s->is_in_flow = true;
		(void)flow_input(s->flow, ALG_SERVER, bytes, false);
		s->is_in_flow = false;
		return;
	}
	if (d->server_port == 0) {
		d->server_port = source->port;
		hole_opened(d->hole, source);
	}
	if (!is_of_transfer(d, ALG_SERVER, bytes) || !count(d, ALG_SERVER, bytes.len))
		return;
	datagram_to_client(d, bytes, source->port);
	if (d->is_complete)
		hole_ended(d->hole);
}

static ssize_t receive(struct session *s, int fd, struct addr *ret_source)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);
	ssize_t n = recvfrom(fd, s->engine->scratch, sizeof(s->engine->scratch), MSG_DONTWAIT, (struct sockaddr *)&sa, &len);

	*ret_source = addr_from_sockaddr((const struct sockaddr *)&sa);
	return n;
}

static void receive_all(struct datagrams *d, enum alg_side side)
{
	struct session *s = d->session;

	for (int i = 0; i < DATAGRAM_RECEIVES && !loop_timer_is_running(&d->pause); i++) {
		struct addr source;
		ssize_t n = receive(s, d->fds[side], &source);
		struct span bytes = { s->engine->scratch, n > 0 ? (size_t)n : 0 };

		if (n < 0 && errno == ECONNREFUSED) /* the client has left: nothing that we could tell the server */
			continue;
		if (n < 0)
			break;
		if (side == ALG_CLIENT)
			from_client(d, bytes);
		else
			from_server(d, bytes, &source);
	}
	session_kick(s);
}

void datagram_on_client(void *arg, int fd, int events)
{
	(void)fd;
	(void)events;
	receive_all(arg, ALG_CLIENT);
}

void datagram_on_server(void *arg, int fd, int events)
{
	(void)fd;
	(void)events;
	receive_all(arg, ALG_SERVER);
}

/* ---- pinholes ---------------------------------------------------------------------------------------------------------------- */

int datagram_hole_arm(struct hole *hole)
{
	struct datagrams *d = hole->session->datagrams;

	if (d == NULL || has_data(d))
		return ALG_ERR_LIMIT;
	d->hole = hole;
	d->server_port = 0;
	d->passed = 0;
	d->is_complete = false;
	return 0;
}

void datagram_hole_close(struct hole *hole)
{
	struct datagrams *d = hole->session->datagrams;

	if (d != NULL && d->hole == hole)
		d->hole = NULL;
}
