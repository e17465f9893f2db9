/* What a pinhole has of its own: relayed data, and the ports for it. */
#include "algs/hole.h"

#include <stdio.h>
#include <unistd.h>

#include "algs/resume.h"
#include "algs/session.h"
#include "core/err.h"
#include "core/policy.h"

const struct realm_conf *hole_realm(const struct hole *hole, enum alg_side side)
{
	return side == ALG_CLIENT ? hole->session->conf->realm : hole->session->conf->to;
}

static enum alg_side side_of(const struct hole *hole, enum data_side side)
{
	return side == DATA_TARGET ? hole->listener : hole_dialler(hole);
}

void hole_data_count(struct hole *hole)
{
	struct data_stats stats;

	if (hole->data == NULL)
		return;
	data_stats(hole->data, &stats);
	hole->octets[hole_dialler(hole)] = stats.octets[DATA_DIALLER];
	hole->octets[hole->listener] = stats.octets[DATA_TARGET];
	for (enum data_side side = DATA_DIALLER; side <= DATA_TARGET; side++) {
		const struct data_tls *tls = &stats.tls[side];

		hole->tls[side_of(hole, side)] = (struct alg_tls_view){ tls->version, tls->cipher, tls->is_resumed };
	}
	if (stats.moved_ms > hole->moved_ms)
		hole->moved_ms = stats.moved_ms;
	if (addr_is_set(&stats.dialler))
		hole->dialler = stats.dialler;
}

void hole_data_drop(struct hole *hole)
{
	data_free(hole->data);
	hole->data = NULL;
}

static void on_first(struct hole *hole)
{
	if (session_judge_data(hole->session, hole, data_first(hole->data))) {
		data_go(hole->data);
		return;
	}
	data_refuse(hole->data);
	hole_data_count(hole);
	hole_cut(hole, hole->limit_text);
}

/* What TLS said of one end is the gateway's judgement, whatever the server thinks of the end that it saw; likewise that an end could
 * not be reached, of which the other one knows nothing. */
static void on_break(struct hole *hole, const struct data_stats *stats)
{
	char text[sizeof(hole->limit_text)];

	hole->is_unreachable = hole->is_dialled && stats->is_unreachable;
	if (stats->at < 0 && !hole->is_unreachable) {
		session_step(hole->session, NULL, "data of pinhole %u broke off: %s", hole->id, stats->reason);
		hole_ended(hole);
		return;
	}
	snprintf(text, sizeof(text), "the %s's end: %s", side_of(hole, (enum data_side)stats->at) == ALG_CLIENT ? "client" : "server",
		 stats->reason);
	hole->is_insecure = !hole->is_unreachable;
	hole_cut(hole, text);
}

static void on_data(void *arg, enum data_event event)
{
	struct hole *hole = arg;
	struct data_stats stats;

	data_stats(hole->data, &stats);
	hole_data_count(hole);
	switch (event) {
	case DATA_OPENED:
		hole_opened(hole, &stats.dialler);
		break;
	case DATA_FIRST:
		on_first(hole);
		break;
	case DATA_LIMIT:
		hole_cut(hole, "larger than the profile allows");
		break;
	case DATA_ENDED:
		if (stats.is_broken)
			on_break(hole, &stats);
		else
			hole_ended(hole);
		break;
	}
}

static struct data_limits limits_of(const struct hole *hole)
{
	const struct hole_verdict *v = &hole->verdict;
	enum alg_side sender = v->direction == ALG_UP ? ALG_CLIENT : ALG_SERVER;

	return (struct data_limits){
		.max_bytes = v->max_bytes, .bytes_per_s = v->bytes_per_s, .has_sender = v->direction != ALG_NO_DATA,
		.sender = sender == hole->listener ? DATA_TARGET : DATA_DIALLER, .wants_first = v->wants_magic,
	};
}

/* The gateway's own address towards that side: where its control connection ends, so that the host finds one address and not two,
 * unless that looks like somebody else's. NULL when there is none of the family. */
static const struct addr *own_ip(const struct hole *hole, enum alg_side side)
{
	const struct session *s = hole->session;
	const struct realm_conf *realm = hole_realm(hole, side);

	if (engine_pool(s->engine, realm, &s->near[side]) != NULL)
		return &s->near[side];
	return engine_own_address(realm, s->far[side].family);
}

/* As the control channel: with its context, and its session to be resumed. */
static int on_secure(void *arg, enum data_side side, int fd, struct tls **ret)
{
	const struct hole *hole = arg;
	struct session *s = hole->session;
	enum alg_side of = side_of(hole, side);

	return s->legs[of].tls != NULL ? tls_new(s->tls[of], fd, s->legs[of].tls, ret) : ERR_CLOSED;
}

static struct data_security security_of(const struct hole *hole, enum alg_side side)
{
	const struct session *s = hole->session;

	bool is_secured = hole->is_protected && s->tls[side] != NULL;

	return (struct data_security){
		.is_secured = is_secured, .is_leading = is_secured && side == ALG_CLIENT,
		.must_resume = side == ALG_CLIENT && s->conf->is_resumption_needed,
		.may_truncate = !s->conf->is_tls_end_needed,
	};
}

int hole_data_make(struct hole *hole)
{
	struct session *s = hole->session;
	enum alg_side dialler = hole_dialler(hole);
	const struct addr *own = own_ip(hole, hole->listener);
	struct data_conf conf = {
		.loop = s->engine->loop, .allowed = s->far[dialler], .target = hole->target,
		.pinholes = s->engine->deps.pinholes, .realm = hole_realm(hole, hole->listener)->index,
		.is_as_dialler = s->conf->mode == CONFIG_ALG_TRANSPARENT ||
				 (s->conf->mode == CONFIG_ALG_NAT && dialler == ALG_SERVER && !hole->is_dialled),
		.leavers = &s->engine->leavers, .is_dialled = hole->is_dialled,
		.is_held = policy_needs_data(s->conf->policy) && !hole->verdict.is_set, .is_early = hole->state == HOLE_RESERVED,
		.secure = on_secure,
		.security = { [DATA_DIALLER] = security_of(hole, dialler), [DATA_TARGET] = security_of(hole, hole->listener) },
	};
	int fd = hole->own[0].fd, err;
	struct data_limits limits = limits_of(hole);

	if (own == NULL || (hole->is_dialled && own_ip(hole, dialler) == NULL))
		return ALG_ERR_FAMILY;
	if (hole->is_dialled) {
		conf.allowed = hole->peers[dialler];
		conf.dialler_from = *own_ip(hole, dialler);
		conf.dialler_from.port = 0;
	}
	conf.from = *own;
	conf.from.port = 0;
	hole->own[0].fd = -1;
	err = data_new(&conf, fd, on_data, hole, &hole->data);
	if (err == 0 && !hole->is_dialled)
		err = data_listen(hole->data);
	if (err == 0 && hole->verdict.is_set)
		data_allow(hole->data, &limits);
	return err < 0 ? ALG_ERR_LIMIT : 0;
}

void hole_allow(struct hole *hole, struct hole_verdict *verdict)
{
	struct data_limits limits;

	hole_verdict_fini(&hole->verdict);
	hole->verdict = *verdict;
	*verdict = (struct hole_verdict){ 0 };
	limits = limits_of(hole);
	if (hole->data != NULL)
		data_allow(hole->data, &limits);
	if (hole->way == HOLE_KERNEL)
		resume_put(hole);
}

/* ---- own ports -------------------------------------------------------------------------------------------------------------- */

void hole_port_give(struct hole_port *own, uint64_t now_ms)
{
	if (own->fd >= 0)
		close(own->fd);
	own->fd = -1;
	if (own->ports != NULL)
		tcp_ports_give(own->ports, own->port, now_ms);
	own->ports = NULL;
}

int hole_port_take(struct hole *hole, struct hole_port *own, enum alg_side side, uint16_t wanted)
{
	const struct addr *ip = own_ip(hole, side);
	struct tcp_ports *ports = ip != NULL ? engine_pool(hole->session->engine, hole_realm(hole, side), ip) : NULL;
	int err;

	if (ports == NULL)
		return ALG_ERR_FAMILY;
	if (wanted != 0)
		err = tcp_ports_claim(ports, wanted, &own->fd);
	else
		err = tcp_ports_take(ports, loop_now_ms(hole->session->engine->loop), &own->port, &own->fd);
	if (err < 0)
		return ALG_ERR_LIMIT;
	if (wanted != 0)
		own->port = wanted;
	own->ports = ports;
	return 0;
}

struct addr hole_port_addr(const struct hole_port *own)
{
	struct addr addr = *tcp_ports_address(own->ports);

	addr.port = own->port;
	return addr;
}
