/* The pump of a control channel: octets between legs and flow, events to the module, and what follows from both. The only place from which
 * the flow is called with octets. Control thread. */
#include "algs/session.h"

#include "core/err.h"

enum {
	READS_PER_TURN = 4,
	QUIET_MS = 2000,         /* of datagrams: no more is coming */
};

static void tell_event(struct session *s, struct hole *hole, enum alg_event_type type)
{
	struct alg_event event = { .type = type, .hole = hole->id, .octets = { hole->octets[0], hole->octets[1] },
				   .reason = type == ALG_EV_LIMIT ? hole->limit_text : NULL,
				   .is_insecure = type == ALG_EV_LIMIT && hole->is_insecure,
				   .is_unreachable = type == ALG_EV_LIMIT && hole->is_unreachable };

	hole->events &= ~(1u << type);
	if (hole->is_forgotten)
		return;
	s->is_in_flow = hole->is_telling = true;
	flow_event(s->flow, &event);
	s->is_in_flow = hole->is_telling = false;
}

/* In the order in which they can happen. */
static void tell_events_of(struct session *s, struct hole *hole)
{
	static const enum alg_event_type order[] = { ALG_EV_OPENED, ALG_EV_LIMIT, ALG_EV_ENDED, ALG_EV_EXPIRED };

	for (unsigned i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		bool is_last = order[i] == ALG_EV_ENDED || order[i] == ALG_EV_EXPIRED;

		if (!(hole->events & 1u << order[i]))
			continue;
		tell_event(s, hole, order[i]);
		if (order[i] == ALG_EV_ENDED)
			hole_end_told(hole);
		else if (is_last)
			hole_close(hole);
	}
}

void session_tell_events(struct session *s)
{
	bool has_told = true;

	while (has_told) { /* telling one may change the list */
		has_told = false;
		LIST_EACH(&s->holes, node) {
			struct hole *hole = LIST_ENTRY(node, struct hole, node);

			if (hole->events == 0)
				continue;
			tell_events_of(s, hole);
			has_told = true;
			break;
		}
	}
}

/* True when something went out. */
static bool write_out(struct session *s, enum alg_side to)
{
	struct tcp_leg *leg = &s->legs[to];
	bool has_moved = false;

	for (;;) {
		struct span bytes = joint_output(&s->joint, to);
		int n;

		if (bytes.len == 0)
			return has_moved;
		n = s->state == SESSION_DRAINING ? (int)bytes.len : tcp_leg_write(leg, bytes);
		if (n <= 0)
			return has_moved;
		s->is_in_flow = true;
		joint_sent(&s->joint, to, (size_t)n);
		s->is_in_flow = false;
		has_moved = true;
	}
}

static void set_wants(struct session *s)
{
	for (enum alg_side side = ALG_CLIENT; side <= ALG_SERVER; side++) {
		struct tcp_leg *leg = &s->legs[side];

		tcp_leg_want(leg, !leg->has_ended && joint_room(&s->joint, side) > 0, joint_output(&s->joint, side).len > 0);
	}
}

static void lose(struct session *s, const char *cause)
{
	session_tls_tell_errors(s);
	session_step_event(s, SESSION_LOST, cause);
}

static void check_legs(struct session *s)
{
	struct tcp_leg *client = &s->legs[ALG_CLIENT], *server = &s->legs[ALG_SERVER];

	for (enum alg_side side = ALG_CLIENT; side <= ALG_SERVER; side++)
		if (joint_is_finished(&s->joint, side))
			tcp_leg_shut(&s->legs[side]);
	if (s->is_ending && (client->error != 0 || server->error != 0)) /* who has said goodbye may be rude */
		session_step_event(s, SESSION_OVER, "normal");
	else if (client->error != 0 || server->error != 0)
		lose(s, client->error != 0 ? "connection to the client lost" : "connection to the server lost");
	else if (client->is_shut && server->is_shut)
		session_step_event(s, SESSION_OVER, s->is_ending ? "normal" : "closed");
	else
		set_wants(s);
}

static bool has_open_holes(const struct session *s)
{
	LIST_EACH(&s->holes, node) {
		const struct hole *hole = LIST_ENTRY(node, struct hole, node);

		if (hole_is_live(hole))
			return true;
	}
	return false;
}

/* The end of datagrams is only silence. */
bool session_has_data(const struct session *s)
{
	uint64_t now_ms = loop_now_ms(s->engine->loop);

	LIST_EACH(&s->holes, node) {
		const struct hole *hole = LIST_ENTRY(node, struct hole, node);

		if (hole_has_data(hole) && !hole->is_over && (hole->class->kind == ALG_HOLE_TCP || now_ms - hole->moved_ms < QUIET_MS))
			return true;
	}
	return false;
}

void session_pump(struct session *s)
{
	bool has_moved = true;

	if (s->flow == NULL || s->is_in_flow)
		return;
	loop_timer_stop(&s->kick);
	session_tell_events(s);
	if (s->datagrams != NULL && s->state != SESSION_DRAINING) {
		datagram_pump(s);
	} else {
		while (has_moved) {
			has_moved = write_out(s, ALG_CLIENT);
			has_moved |= write_out(s, ALG_SERVER);
			has_moved |= session_meet_move(s);
		}
	}
	if (flow_is_reset(s->flow)) { /* not with a reset: what the module said last may still be on its way */
		session_step_event(s, SESSION_STOP, "ended by the protocol's rules");
		return;
	}
	if (s->joint.over != NULL)
		session_step_event(s, SESSION_OVER, s->joint.over);
	if (flow_is_bypassed(s->flow) && s->state == SESSION_OPEN)
		session_step_event(s, SESSION_UNSEEN, NULL);
	if (flow_wants_tls(s->flow) && !s->is_securing && s->state == SESSION_OPEN)
		session_tls_begin(s); /* may end it */
	if (s->flow == NULL)
		return;
	if (s->state == SESSION_DRAINING) {
		if (!has_open_holes(s))
			session_step_event(s, SESSION_SETTLED, NULL);
	} else if (s->datagrams == NULL) {
		check_legs(s);
	}
}

void session_on_kick(struct loop_timer *timer, void *arg)
{
	(void)timer;
	session_pump(arg);
}

void session_kick(struct session *s)
{
	if (s->state != SESSION_ENDED && !loop_timer_is_running(&s->kick))
		loop_timer_start(&s->kick, 0);
}

static void read_in(struct session *s, enum alg_side side)
{
	struct tcp_leg *leg = &s->legs[side];

	for (int i = 0; i < READS_PER_TURN && !leg->has_ended && leg->error == 0; i++) {
		size_t room = joint_room(&s->joint, side);
		int n;

		if (room == 0)
			return;
		n = tcp_leg_read(leg, s->engine->scratch, room < ENGINE_SCRATCH ? room : ENGINE_SCRATCH);
		if (n == 0 || (n < 0 && n != ERR_CLOSED))
			return;
		s->active_ms = loop_now_ms(s->engine->loop);
		s->is_in_flow = true;
		(void)joint_input(&s->joint, side, (struct span){ s->engine->scratch, n > 0 ? (size_t)n : 0 }, n == ERR_CLOSED);
		s->is_in_flow = false;
	}
}

void session_on_leg(void *arg, struct tcp_leg *leg)
{
	struct session *s = arg;

	if (s->state == SESSION_CONNECTING && leg == &s->legs[ALG_SERVER]) {
		if (leg->state == TCP_LEG_UP)
			session_begin(s);
		else
			session_step_event(s, SESSION_UNREACHABLE, "the server cannot be reached");
		return;
	}
	if (s->flow == NULL || session_tls_on_leg(s, leg))
		return;
	session_tell_events(s); /* what was cut has been cut before the reply to it came */
	read_in(s, leg == &s->legs[ALG_CLIENT] ? ALG_CLIENT : ALG_SERVER);
	session_pump(s);
}
