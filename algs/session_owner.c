/* What the flow asks of its session: the owner's functions of flow.h. They are called from within the flow and so never call it; what
 * follows from them is done in the next session_pump(). */
#include "algs/session.h"

#include "algs/host_metrics.h"

static uint64_t now_ms(void *arg)
{
	const struct session *s = arg;

	return loop_now_ms(s->engine->loop);
}

static int reserve(void *arg, const struct alg_want *want, uint32_t *ret_hole)
{
	struct session *s = arg;
	int err = hole_reserve(s, want, ret_hole);

	if (err < 0)
		host_metrics_hole_refused(err);
	if (err < 0)
		session_step(s, NULL, "pinhole refused: %s", err == ALG_ERR_DENIED ? "not the speaker's address, or a forbidden port" :
			     err == ALG_ERR_LIMIT ? "too many, or no port is free" :
			     err == ALG_ERR_FAMILY ? "no address of that family" : "not now");
	return err;
}

static int public(void *arg, uint32_t id, enum alg_side reader, struct alg_addr *ret, uint16_t *ret_rtcp)
{
	const struct hole *hole = hole_find(arg, id);

	return hole != NULL && (unsigned)reader < ALG_SIDES ? hole_public(hole, reader, ret, ret_rtcp) : ALG_ERR_STATE;
}

static int peer(void *arg, uint32_t id, enum alg_side side, const struct alg_addr *rtp, uint16_t rtcp_port)
{
	struct hole *hole = hole_find(arg, id);

	return hole != NULL ? hole_peer(hole, side, rtp, rtcp_port) : ALG_ERR_STATE;
}

static int arm(void *arg, uint32_t id)
{
	struct hole *hole = hole_find(arg, id);

	return hole != NULL ? hole_arm(hole) : ALG_ERR_STATE;
}

static int dial(void *arg, uint32_t id, enum alg_side side)
{
	struct hole *hole = hole_find(arg, id);

	return hole != NULL ? hole_dial(hole, side) : ALG_ERR_STATE;
}

static void release(void *arg, uint32_t id)
{
	struct hole *hole = hole_find(arg, id);

	if (hole != NULL)
		hole_free(hole);
}

static void pause_hole(void *arg, uint32_t id, bool is_paused)
{
	struct hole *hole = hole_find(arg, id);

	if (hole != NULL)
		hole_pause(hole, is_paused);
}

static bool is_busy(void *arg, uint32_t id)
{
	struct hole *hole = hole_find(arg, id);

	return hole != NULL && hole_is_busy(hole);
}

static void policy(void *arg, const struct alg_question *question, struct alg_answer *ret)
{
	session_policy(arg, question, ret);
}

static void timer(void *arg, uint32_t cookie, uint32_t ms)
{
	struct session *s = arg;

	if (cookie >= SESSION_TIMERS)
		return;
	if (ms == 0)
		loop_timer_stop(&s->timers[cookie].timer);
	else
		loop_timer_start(&s->timers[cookie].timer, ms);
}

static void transfer(void *arg, const struct alg_transfer *done)
{
	transfer_note(arg, done);
}

static void note(void *arg, const char *rule, struct span text)
{
	session_step(arg, rule, "%.*s", SPAN_ARG(text));
}

static void message(void *arg, enum alg_side from, enum alg_verdict verdict, struct span original, struct span edited)
{
	const struct session *s = arg;

	if (s->joint.is_speaking) /* octets in another coat, and nothing that mask_text() would know; the listener tells them */
		return;
	if (verdict == ALG_DROP || verdict == ALG_RESET)
		session_change(arg, from, "dropped", original, SPAN_NONE);
	else if (!span_eq(original, edited))
		session_change(arg, from, "edited", original, edited);
}

static void ending(void *arg)
{
	struct session *s = arg;

	s->is_ending = true;
}

static int meet_open(void *arg, struct span name)
{
	int err = session_meet_open(arg, name);

	if (err < 0)
		host_metrics_not_met(err);
	return err;
}

static int meet_join(void *arg, struct span name)
{
	int err = session_meet_join(arg, name);

	if (err == ALG_ERR_STATE) /* else it tries again */
		host_metrics_not_met(err);
	return err;
}

static uint64_t spent_us(void *arg)
{
	const struct session *s = arg;

	return loop_spent_us(s->engine->loop);
}

const struct flow_owner session_owner = {
	.now_ms = now_ms, .hole_reserve = reserve, .hole_public = public, .hole_peer = peer, .hole_arm = arm, .hole_dial = dial,
	.hole_free = release, .hole_pause = pause_hole, .hole_is_busy = is_busy, .policy = policy, .timer = timer, .transfer = transfer, .note = note,
	.message = message, .ending = ending, .meet_open = meet_open, .meet_join = meet_join, .spent_us = spent_us,
};
