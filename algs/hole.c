/* Pinholes of a session: from the wish to the end of their data.
 *
 *   mode, who dials in             where the other side goes        how, without privilege   in the kernel
 *   explicit, either               own address, own port            relay                    translated both ways
 *   nat, client dials server       the server itself                relay behind a door      through, source translated
 *   nat, server dials client       own address, own port            relay                    target translated, source kept
 *   transparent, either            the listener itself              relay behind a door      let through as it is
 *   is_dialled (not transparent)   nowhere: the gateway goes to both ends, by relay
 *
 * Reserved: the addresses are known, own ports are bound, nothing can be reached. Armed: the kernel has it, or the relay listens. A
 * kernel that refuses means the relay, one that is silent too. A server that dials in before it has said yes (some connect first, then
 * answer PORT) is let in to wait on an own port, and reaches nobody until the hole is armed. Control thread. */
#include "algs/hole.h"

#include <stdio.h>
#include <stdlib.h>

#include "algs/hole_rule.h"
#include "algs/resume.h"
#include "algs/session.h"

enum {
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

/* ---- addresses --------------------------------------------------------------------------------------------------------------- */

int hole_public(const struct hole *hole, enum alg_side reader, struct alg_addr *ret, uint16_t *ret_rtcp)
{
	struct addr addr = reader == hole->listener ? hole->target : hole->listen;
	int err = 0;

	if (hole->way == HOLE_DATAGRAMS || hole->is_dialled)
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

	if (hole->is_dialled && hole->state == HOLE_RESERVED && side == hole_dialler(hole) && rtcp_port == 0)
		return hole_end(&hole->session->far[side], rtp, &hole->peers[side]);
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
	int err = hole->data == NULL ? hole_data_make(hole) : 0;

	hole->way = HOLE_RELAY;
	hole->path = "relay";
	if (hole->data != NULL)
		data_arm(hole->data);
	if (err == 0 && !hole_is_own(hole)) {
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

	if (hole->is_dialled)
		return addr_is_set(&hole->peers[hole_dialler(hole)]) ? hole_data_make(hole) : ALG_ERR_STATE;
	hole_end_yield(hole->session, &hole->listen);
	if (hole->way == HOLE_RELAY || (hole->data != NULL && data_has_connection(hole->data)))
		return arm_relay(hole);
	if (needs_from && hole_port_take(hole, &hole->own[1], side, 0) < 0)
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

int hole_dial(struct hole *hole, enum alg_side side)
{
	if (!hole->is_dialled || hole->data == NULL || (hole->state != HOLE_ARMED && hole->state != HOLE_BOUND) || hole->is_over)
		return ALG_ERR_STATE;
	hole->state = HOLE_BOUND;
	hole->deadline_ms = 0;
	return data_dial(hole->data, side == hole->listener ? DATA_TARGET : DATA_DIALLER) == 0 ? 0 : ALG_ERR_STATE;
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
			hole_data_drop(hole);
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
		hole_port_give(&hole->own[1], now_of(hole));
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
	return hole->data != NULL ? data_is_busy(hole->data) : hole_end_await(hole);
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
	hole_data_count(hole);
	if (!hole->is_over)
		finish(hole);
	session_remember_hole(s, hole);
	hole->state = HOLE_CLOSED;
	hole_kernel_close(hole);
	resume_forget(hole);
	hole_data_drop(hole);
	if (hole->way == HOLE_MEDIA)
		hole_media_close(hole);
	if (hole->way == HOLE_DATAGRAMS)
		datagram_hole_close(hole);
	hole_port_give(&hole->own[0], now_of(hole));
	hole_port_give(&hole->own[1], now_of(hole));
	s->n_holes--;
	s->engine->n_holes--;
}

void hole_stop(struct hole *hole)
{
	hole_kernel_count(hole);
	hole_data_count(hole);
	hole_ended(hole);
}

/* The module needs it no more. A transfer that was complete as far as it knows may have its last octets on their way; when the kernel
 * carries it, not even its first may have been seen here. */
void hole_free(struct hole *hole)
{
	bool may_have_data = hole->state == HOLE_BOUND || (hole->state == HOLE_ARMED && hole->way == HOLE_KERNEL);

	hole->events = 0;
	hole->is_forgotten = true;
	if (hole->is_lingering)
		return;
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
	hole_data_count(hole);
	if (hole->way == HOLE_MEDIA)
		hole_media_count(hole);
	if (hole->moved_ms > hole->session->active_ms)
		hole->session->active_ms = hole->moved_ms;
	if (!hole->is_over)
		check_deadlines(hole, now_ms);
	if (hole->is_over && hole->events == 0 && (hole->is_forgotten || hole->is_lingering) && !hole_end_lingers(hole, now_ms))
		hole_close(hole);
}

void hole_verdict_fini(struct hole_verdict *verdict)
{
	free(verdict->texts);
	*verdict = (struct hole_verdict){ 0 };
}
