/* Pinholes of a session: from the wish to the end of their data.
 *
 *   mode, who dials in             where the other side goes        how, without privilege   in the kernel
 *   explicit, either               own address, own port            relay                    translated both ways
 *   nat, client dials server       the server itself                relay behind a door      through, source translated
 *   nat, server dials client       own address, own port            relay                    target translated, source kept
 *   transparent, either            the listener itself              relay behind a door      let through as it is
 *
 * Reserved: the addresses are known, own ports are bound, nothing can be reached. Armed: the kernel has it, or the relay listens. A
 * kernel that refuses means the relay, one that is silent too. A server that dials in before it has said yes (some connect first, then
 * answer PORT) is let in to wait on an own port, and reaches nobody until the hole is armed. Control thread. */
#include "algs/hole.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "algs/hole_rule.h"
#include "algs/resume.h"
#include "algs/session.h"
#include "core/err.h"
#include "core/policy.h"
#include "media-relay/media.h"

enum {
	ENDED_KEPT = 8,         /* whose octets the module may still ask about */
	LIVE_MAX = 64,          /* of one session, freed ones whose data is still on its way included */
	COMMIT_MS = 3000,       /* for the helper to answer */
	DRAIN_MS = 60000,       /* of freed data that may still be on its way, without movement */
	DRAIN_UNSEEN_MS = 3000, /* likewise, of which no octet was seen; the kernel's counts come once a second */
	DATAGRAM_IDLE_MS = 30000,
};

/* ---- questions --------------------------------------------------------------------------------------------------------------- */

struct hole *hole_find(struct session *s, uint32_t id)
{
	LIST_EACH(&s->holes, node) {
		struct hole *hole = LIST_ENTRY(node, struct hole, node);

		if (hole->id == id && !hole->is_forgotten)
			return hole;
	}
	return NULL;
}

struct hole *hole_for_verdict(struct session *s)
{
	struct hole *found = NULL;

	LIST_EACH(&s->holes, node) {
		struct hole *hole = LIST_ENTRY(node, struct hole, node);

		if (hole_is_live(hole) && !hole->is_forgotten && hole->class->kind == ALG_HOLE_TCP && hole->moved_ms == 0 && !hole->is_over)
			found = hole;
	}
	return found;
}

static unsigned live_of_class(const struct session *s, const struct alg_class *class)
{
	unsigned n = 0;

	LIST_EACH(&s->holes, node) {
		const struct hole *hole = LIST_ENTRY(node, struct hole, node);

		n += hole->class == class && hole_is_live(hole) && !hole->is_forgotten;
	}
	return n;
}

static const struct realm_conf *realm_of(const struct session *s, enum alg_side side)
{
	return side == ALG_CLIENT ? s->conf->realm : s->conf->to;
}

/* Whether the other side has to be told an address of the gateway. */
static bool is_own(const struct hole *hole)
{
	enum config_alg_mode mode = hole->session->conf->mode;

	return mode == CONFIG_ALG_EXPLICIT || (mode == CONFIG_ALG_NAT && hole->listener == ALG_CLIENT);
}

static uint64_t now_of(const struct hole *hole)
{
	return loop_now_ms(hole->session->engine->loop);
}

/* ---- what is told ------------------------------------------------------------------------------------------------------------ */

void hole_tell(struct hole *hole, enum alg_event_type event)
{
	hole->events |= 1u << event;
	session_kick(hole->session);
}

void hole_opened(struct hole *hole, const struct addr *dialler)
{
	if (hole->is_opened_told || hole->state == HOLE_CLOSED)
		return;
	hole->is_opened_told = true;
	if (dialler != NULL)
		hole->dialler = *dialler;
	hole->opened_ms = now_of(hole);
	/* What the kernel carries is noticed late: it cannot have begun before the command, and hardly long after. */
	hole->opened_wall_ms = hole->way == HOLE_KERNEL && hole->verdict.is_set ? hole->verdict.at_ms :
			       loop_wall_ms(hole->session->engine->loop);
	hole->session->active_ms = hole->opened_ms;
	hole->deadline_ms = 0;
	if (hole->state == HOLE_ARMED || hole->state == HOLE_ARMING)
		hole->state = HOLE_BOUND;
	if (hole->way == HOLE_KERNEL)
		resume_put(hole); /* with when it began */
	hole_tell(hole, ALG_EV_OPENED);
}

static void finish(struct hole *hole)
{
	hole->is_over = true;
	hole->ended_ms = now_of(hole);
	hole->ended_wall_ms = loop_wall_ms(hole->session->engine->loop);
	transfer_finish(hole->session, hole);
}

void hole_ended(struct hole *hole)
{
	if (hole->is_over)
		return;
	finish(hole);
	hole_tell(hole, ALG_EV_ENDED);
}

void hole_cut(struct hole *hole, const char *reason)
{
	if (hole->is_over)
		return;
	if (reason != hole->limit_text)
		snprintf(hole->limit_text, sizeof(hole->limit_text), "%s", reason);
	session_step(hole->session, hole->verdict.rule, "data of pinhole %u was cut: %s", hole->id, hole->limit_text);
	hole_tell(hole, ALG_EV_LIMIT);
	hole_ended(hole);
}

static void expire(struct hole *hole, const char *why)
{
	if (hole->is_over)
		return;
	hole->is_over = true;
	session_step(hole->session, NULL, "pinhole %u closed: %s", hole->id, why);
	hole_tell(hole, ALG_EV_EXPIRED);
}

/* ---- relayed data ------------------------------------------------------------------------------------------------------------ */

static void count_data(struct hole *hole)
{
	struct data_stats stats;

	if (hole->data == NULL)
		return;
	data_stats(hole->data, &stats);
	hole->octets[hole_dialler(hole)] = stats.octets[DATA_DIALLER];
	hole->octets[hole->listener] = stats.octets[DATA_TARGET];
	if (stats.moved_ms > hole->moved_ms)
		hole->moved_ms = stats.moved_ms;
	if (addr_is_set(&stats.dialler))
		hole->dialler = stats.dialler;
}

static void drop_data(struct hole *hole)
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
	count_data(hole);
	hole_cut(hole, hole->limit_text);
}

static void on_data(void *arg, enum data_event event)
{
	struct hole *hole = arg;
	struct data_stats stats;

	data_stats(hole->data, &stats);
	count_data(hole);
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
			session_step(hole->session, NULL, "data of pinhole %u broke off: %s", hole->id, stats.reason);
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
	const struct realm_conf *realm = realm_of(s, side);

	if (engine_pool(s->engine, realm, &s->near[side]) != NULL)
		return &s->near[side];
	return engine_own_address(realm, s->far[side].family);
}

static int make_data(struct hole *hole)
{
	struct session *s = hole->session;
	enum alg_side dialler = hole_dialler(hole);
	const struct addr *own = own_ip(hole, hole->listener);
	struct data_conf conf = {
		.loop = s->engine->loop, .allowed = s->far[dialler], .target = hole->target,
		.pinholes = s->engine->deps.pinholes, .realm = realm_of(s, hole->listener)->index,
		.is_as_dialler = s->conf->mode == CONFIG_ALG_TRANSPARENT || (s->conf->mode == CONFIG_ALG_NAT && dialler == ALG_SERVER),
		.leavers = &s->engine->leavers,
		.is_held = policy_needs_data(s->conf->policy) && !hole->verdict.is_set, .is_early = hole->state == HOLE_RESERVED,
	};
	int fd = hole->own[0].fd, err;
	struct data_limits limits = limits_of(hole);

	if (own == NULL)
		return ALG_ERR_FAMILY;
	conf.from = *own;
	conf.from.port = 0;
	hole->own[0].fd = -1;
	err = data_new(&conf, fd, on_data, hole, &hole->data);
	if (err == 0)
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

/* ---- reserve ----------------------------------------------------------------------------------------------------------------- */

static void give_port(struct hole_port *own, uint64_t now_ms)
{
	if (own->fd >= 0)
		close(own->fd);
	own->fd = -1;
	if (own->ports != NULL)
		tcp_ports_give(own->ports, own->port, now_ms);
	own->ports = NULL;
}

static int take_port(struct hole *hole, struct hole_port *own, enum alg_side side, uint16_t wanted)
{
	const struct addr *ip = own_ip(hole, side);
	struct tcp_ports *ports = ip != NULL ? engine_pool(hole->session->engine, realm_of(hole->session, side), ip) : NULL;
	int err;

	if (ports == NULL)
		return ALG_ERR_FAMILY;
	if (wanted != 0)
		err = tcp_ports_claim(ports, wanted, &own->fd);
	else
		err = tcp_ports_take(ports, now_of(hole), &own->port, &own->fd);
	if (err < 0)
		return ALG_ERR_LIMIT;
	if (wanted != 0)
		own->port = wanted;
	own->ports = ports;
	return 0;
}

static struct addr port_addr(const struct hole_port *own)
{
	struct addr addr = *tcp_ports_address(own->ports);

	addr.port = own->port;
	return addr;
}

static int reserve_tcp(struct hole *hole, const struct alg_want *want)
{
	struct session *s = hole->session;
	enum alg_side dialler = hole_dialler(hole);
	bool is_relay = s->conf->data == CONFIG_ALG_DATA_RELAY || policy_needs_data(s->conf->policy);
	int err = hole_end(&s->far[hole->listener], &want->at, &hole->target);

	if (err < 0)
		return err;
	hole->way = is_relay || !hole_kernel_is_possible(hole) ? HOLE_RELAY : HOLE_KERNEL;
	hole->path = hole->way == HOLE_RELAY ? "relay" : "none";
	hole->reason = s->conf->data == CONFIG_ALG_DATA_RELAY ? "configured" :
		       is_relay ? "the profile has to see the data" : "no pinholes for TCP in the kernel";
	/* Also a pinhole in the kernel has its port here: nobody else may get it, and the relay may have to take over. */
	err = take_port(hole, &hole->own[0], dialler, is_own(hole) && want->is_same_port ? hole->target.port : 0);
	if (err < 0)
		return err;
	hole->listen = is_own(hole) ? port_addr(&hole->own[0]) : hole->target;
	return is_own(hole) && dialler == ALG_SERVER ? make_data(hole) : 0;
}

static int reserve_by_kind(struct hole *hole, const struct alg_want *want)
{
	switch (hole->class->kind) {
	case ALG_HOLE_TCP:
		return reserve_tcp(hole, want);
	case ALG_HOLE_UDP:
		if (hole->session->datagrams == NULL)
			return ALG_ERR_STATE;
		hole->way = HOLE_DATAGRAMS;
		hole->path = "relay";
		hole->target = hole->session->far[hole->listener];
		return 0;
	case ALG_HOLE_MEDIA:
		hole->way = HOLE_MEDIA;
		return hole_media_open(hole);
	}
	return ALG_ERR_STATE;
}

static void on_group_close(struct group_member *member)
{
	hole_close(LIST_ENTRY(member, struct hole, member));
}

static void discard(struct hole *hole)
{
	list_remove(&hole->node);
	hole_verdict_fini(&hole->verdict);
	free(hole->record.texts);
	free(hole);
}

/* Of those that are over, only the newest are remembered. */
static void trim(struct session *s)
{
	unsigned n = 0;

	for (struct list *node = s->holes.prev, *before; node != &s->holes; node = before) {
		struct hole *hole = LIST_ENTRY(node, struct hole, node);

		before = node->prev;
		if (!hole_is_live(hole) && hole->events == 0 && !hole->is_telling && (hole->is_forgotten || ++n > ENDED_KEPT))
			discard(hole);
	}
}

static struct hole *make(struct session *s, const struct alg_want *want)
{
	struct hole *hole = calloc(1, sizeof(*hole));

	if (hole == NULL)
		return NULL;
	hole->session = s;
	hole->class = &s->module->classes[want->class];
	hole->listener = want->listener;
	hole->is_raw = want->is_raw;
	hole->own[0].fd = hole->own[1].fd = -1;
	hole->since_ms = loop_wall_ms(s->engine->loop);
	hole->path = "none";
	hole->reason = "";
	list_init(&hole->member.node);
	list_append(&s->holes, &hole->node);
	return hole;
}

int hole_reserve(struct session *s, const struct alg_want *want, uint32_t *ret_hole)
{
	struct hole *hole;
	int err;

	if (want->class >= s->module->n_classes || (unsigned)want->listener >= ALG_SIDES || s->state >= SESSION_DRAINING)
		return ALG_ERR_STATE;
	trim(s);
	if (s->is_ending || live_of_class(s, &s->module->classes[want->class]) >= s->module->classes[want->class].max ||
	    s->n_holes >= LIVE_MAX || s->engine->n_holes >= ENGINE_HOLES_MAX)
		return ALG_ERR_LIMIT;
	hole = make(s, want);
	if (hole == NULL)
		return ALG_ERR_LIMIT;
	err = reserve_by_kind(hole, want);
	if (err < 0) {
		drop_data(hole);
		give_port(&hole->own[0], now_of(hole));
		discard(hole);
		return err;
	}
	hole->id = ++s->last_hole;
	hole->deadline_ms = now_of(hole) + hole->class->reserved_ms;
	group_add(&s->group, &hole->member, on_group_close);
	s->n_holes++;
	s->n_holes_total++;
	s->engine->n_holes++;
	if (s->pending.is_set)
		hole_allow(hole, &s->pending);
	*ret_hole = hole->id;
	return 0;
}

int hole_public(const struct hole *hole, enum alg_side reader, struct alg_addr *ret, uint16_t *ret_rtcp)
{
	struct addr addr = reader == hole->listener ? hole->target : hole->listen;
	int err = 0;

	if (hole->way == HOLE_DATAGRAMS)
		return ALG_ERR_STATE;
	if (hole->way == HOLE_MEDIA)
		err = hole_media_public(hole, reader, &addr, ret_rtcp);
	if (err == 0)
		*ret = hole_alg_addr(&addr);
	return err;
}

int hole_peer(struct hole *hole, enum alg_side side, const struct alg_addr *rtp, uint16_t rtcp_port)
{
	struct addr end;
	int err;

	if (hole->way != HOLE_MEDIA || !hole_is_live(hole) || (unsigned)side >= ALG_SIDES)
		return ALG_ERR_STATE;
	err = hole_media_end(&hole->session->far[side], rtp, rtcp_port, &end);
	if (err < 0)
		return err;
	hole->peers[side] = end;
	hole->peers_rtcp[side] = rtcp_port;
	hole_media_peer(hole, side);
	return 0;
}

/* ---- arm --------------------------------------------------------------------------------------------------------------------- */

static int arm_relay(struct hole *hole)
{
	int err = hole->data == NULL ? make_data(hole) : 0;

	hole->way = HOLE_RELAY;
	hole->path = "relay";
	if (hole->data != NULL)
		data_arm(hole->data);
	if (err == 0 && !is_own(hole)) {
		err = hole_kernel_to_self(hole);
		return err < 0 ? ALG_ERR_STATE : 1;
	}
	return err;
}

static int arm_tcp(struct hole *hole)
{
	enum alg_side side = hole->listener;
	bool needs_from = hole->session->conf->mode == CONFIG_ALG_EXPLICIT ||
			  (hole->session->conf->mode == CONFIG_ALG_NAT && side == ALG_SERVER);

	if (hole->way == HOLE_RELAY || (hole->data != NULL && data_has_connection(hole->data)))
		return arm_relay(hole);
	if (needs_from && take_port(hole, &hole->own[1], side, 0) < 0)
		return arm_relay(hole);
	return hole_kernel_open(hole) == 0 ? 1 : arm_relay(hole);
}

int hole_arm(struct hole *hole)
{
	int result;

	if (hole->state == HOLE_ARMED || hole->state == HOLE_ARMING || hole->state == HOLE_BOUND)
		return 0;
	if (hole->state != HOLE_RESERVED || hole->is_over)
		return ALG_ERR_STATE;
	hole->state = HOLE_ARMING;
	if (hole->way == HOLE_MEDIA)
		result = hole_media_arm(hole);
	else if (hole->way == HOLE_DATAGRAMS)
		result = datagram_hole_arm(hole);
	else
		result = arm_tcp(hole);
	if (result == 1) {
		hole->is_committing = true;
		hole->commit_ms = now_of(hole) + COMMIT_MS;
		hole->deadline_ms = 0;
	} else if (result == 0) {
		hole->state = HOLE_ARMED;
		hole->deadline_ms = hole->way == HOLE_MEDIA ? 0 : now_of(hole) + hole->class->armed_ms;
	} else {
		hole->state = HOLE_RESERVED; /* until it is freed or its time is over */
	}
	return result;
}

void hole_committed(struct hole *hole, int result)
{
	struct session *s = hole->session;

	if (!hole->is_committing)
		return;
	hole->is_committing = false;
	hole->commit_ms = 0;
	if (result == 0 && hole->way == HOLE_KERNEL) { /* what stood by for it is not needed, unless somebody came meanwhile */
		if (hole->data != NULL && data_has_connection(hole->data)) {
			hole_kernel_close(hole);
			(void)arm_relay(hole);
		}
		if (hole->way == HOLE_KERNEL) {
			drop_data(hole);
			resume_put(hole);
		}
	}
	if (result == 0 && hole->state == HOLE_ARMING) {
		hole->state = HOLE_ARMED;
		hole->deadline_ms = hole->class->kind == ALG_HOLE_MEDIA ? 0 : now_of(hole) + hole->class->armed_ms;
	}
	if (result < 0) /* the flow tells the module that it has expired */
		hole->is_over = true;
	s->is_in_flow = true;
	flow_committed(s->flow, hole->id, result);
	s->is_in_flow = false;
	if (result < 0)
		hole_close(hole);
	session_kick(s);
}

/* The kernel would not have it, or said nothing: the relay, if there is still a way to it. */
static void fall_back(struct hole *hole, const char *reason)
{
	int result = -1;

	hole->reason = reason;
	if (hole->way == HOLE_KERNEL) {
		hole_kernel_close(hole);
		give_port(&hole->own[1], now_of(hole));
		result = arm_relay(hole);
		session_step(hole->session, NULL, "pinhole %u is not in the kernel: %s", hole->id, reason);
	}
	if (result == 1)
		hole->commit_ms = now_of(hole) + COMMIT_MS;
	else
		hole_committed(hole, result);
}

void hole_refused(struct hole *hole, const char *reason)
{
	if (hole->is_committing)
		fall_back(hole, reason);
	else if (!hole->is_over)
		expire(hole, reason);
}

/* ---- the end ----------------------------------------------------------------------------------------------------------------- */

bool hole_is_busy(struct hole *hole)
{
	if (hole->is_over)
		return false;
	return hole->data != NULL && data_is_busy(hole->data);
}

void hole_pause(struct hole *hole, bool is_paused)
{
	if (hole->way == HOLE_MEDIA && hole_is_live(hole))
		hole_media_pause(hole, is_paused);
}

void hole_close(struct hole *hole)
{
	struct session *s = hole->session;

	if (!hole_is_live(hole))
		return;
	group_remove(&hole->member);
	if (hole->way == HOLE_MEDIA)
		hole_media_count(hole);
	hole_kernel_count(hole);
	count_data(hole);
	if (!hole->is_over)
		finish(hole);
	session_remember_hole(s, hole);
	hole->state = HOLE_CLOSED;
	hole_kernel_close(hole);
	resume_forget(hole);
	drop_data(hole);
	if (hole->way == HOLE_MEDIA)
		hole_media_close(hole);
	if (hole->way == HOLE_DATAGRAMS)
		datagram_hole_close(hole);
	give_port(&hole->own[0], now_of(hole));
	give_port(&hole->own[1], now_of(hole));
	s->n_holes--;
	s->engine->n_holes--;
}

void hole_stop(struct hole *hole)
{
	hole_kernel_count(hole);
	count_data(hole);
	hole_ended(hole);
}

/* The module needs it no more. A transfer that was complete as far as it knows may have its last octets on their way; when the kernel
 * carries it, not even its first may have been seen here. */
void hole_free(struct hole *hole)
{
	bool may_have_data = hole->state == HOLE_BOUND || (hole->state == HOLE_ARMED && hole->way == HOLE_KERNEL);

	hole->events = 0;
	hole->is_forgotten = true;
	if (hole->is_committing) /* the message that waited for it goes on */
		hole->is_committing = false;
	if (hole->way <= HOLE_RELAY && may_have_data && !hole->is_over && hole->record.is_set && hole->record.is_ok) {
		hole->state = HOLE_DRAINING;
		hole->freed_ms = now_of(hole);
		hole->deadline_ms = 0;
		return;
	}
	hole_close(hole);
}

static void check_deadlines(struct hole *hole, uint64_t now_ms)
{
	uint64_t last_ms = hole->moved_ms > hole->opened_ms ? hole->moved_ms : hole->opened_ms;
	uint64_t drained_ms = last_ms == 0 ? hole->freed_ms + DRAIN_UNSEEN_MS : last_ms + DRAIN_MS;

	if (hole->commit_ms != 0 && now_ms >= hole->commit_ms)
		hole_refused(hole, "the helper does not answer");
	else if (hole->deadline_ms != 0 && now_ms >= hole->deadline_ms)
		expire(hole, hole->state == HOLE_RESERVED ? "it was not wanted in time" : "nobody came in time");
	else if (hole->state == HOLE_DRAINING && now_ms >= drained_ms)
		hole_ended(hole);
	else if (hole->way == HOLE_DATAGRAMS && hole->state == HOLE_BOUND && now_ms - last_ms > DATAGRAM_IDLE_MS)
		hole_ended(hole);
}

void hole_sweep(struct hole *hole, uint64_t now_ms)
{
	if (!hole_is_live(hole))
		return;
	hole_kernel_count(hole);
	count_data(hole);
	if (hole->way == HOLE_MEDIA)
		hole_media_count(hole);
	if (hole->moved_ms > hole->session->active_ms)
		hole->session->active_ms = hole->moved_ms;
	if (!hole->is_over)
		check_deadlines(hole, now_ms);
	if (hole->is_over && hole->is_forgotten)
		hole_close(hole);
}

void hole_verdict_fini(struct hole_verdict *verdict)
{
	free(verdict->texts);
	*verdict = (struct hole_verdict){ 0 };
}
