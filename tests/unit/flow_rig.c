/* See flow_rig.h. */
#include "tests/unit/flow_rig.h"

#include <stdio.h>
#include <stdlib.h>

int rig_result;
bool rig_is_tls;

static uint64_t now_ms(void *arg)
{
	(void)arg;
	return 12345;
}

static int hole_reserve(void *arg, const struct alg_want *want, uint32_t *ret_hole)
{
	struct flow_rig *r = arg;

	r->is_protected = want->is_protected;
	if (r->reserve_result < 0 || r->n_holes + 1 == RIG_HOLES)
		return r->reserve_result < 0 ? r->reserve_result : ALG_ERR_LIMIT;
	*ret_hole = ++r->n_holes;
	return 0;
}

static int hole_public(void *arg, uint32_t hole, enum alg_side reader, struct alg_addr *ret, uint16_t *ret_rtcp)
{
	(void)arg;
	(void)reader;
	(void)ret_rtcp;
	*ret = (struct alg_addr){ .family = 4, .ip = { 192, 0, 2, 1 }, .port = (uint16_t)(1000 + hole) };
	return 0;
}

static int hole_peer(void *arg, uint32_t hole, enum alg_side side, const struct alg_addr *rtp, uint16_t rtcp_port)
{
	(void)arg;
	(void)hole;
	(void)side;
	(void)rtp;
	(void)rtcp_port;
	return 0;
}

static int hole_arm(void *arg, uint32_t hole)
{
	struct flow_rig *r = arg;

	r->is_armed[hole] = true;
	r->n_armed++;
	return r->arm_result;
}

static void hole_free(void *arg, uint32_t hole)
{
	struct flow_rig *r = arg;

	r->is_freed[hole] = true;
	r->n_freed++;
}

static void hole_pause(void *arg, uint32_t hole, bool is_paused)
{
	struct flow_rig *r = arg;

	(void)hole;
	r->n_paused += is_paused;
}

static bool hole_is_busy(void *arg, uint32_t hole)
{
	const struct flow_rig *r = arg;

	return hole < RIG_HOLES && r->is_busy[hole];
}

static void policy(void *arg, const struct alg_question *question, struct alg_answer *ret)
{
	const struct flow_rig *r = arg;

	(void)question;
	ret->is_allowed = !r->is_denying;
	memset(ret->text, 'x', sizeof(ret->text)); /* no NUL: the flow has to see to it */
}

static void timer(void *arg, uint32_t cookie, uint32_t ms)
{
	struct flow_rig *r = arg;

	r->timer_cookie = cookie;
	r->timer_ms = ms;
}

static void transfer(void *arg, const struct alg_transfer *t)
{
	struct flow_rig *r = arg;

	(void)t;
	r->n_transfers++;
}

static void note(void *arg, const char *rule, struct span text)
{
	struct flow_rig *r = arg;

	(void)rule;
	r->n_notes++;
	snprintf(r->note, sizeof(r->note), "%.*s", SPAN_ARG(text));
}

static void message(void *arg, enum alg_side from, enum alg_verdict verdict, struct span original, struct span edited)
{
	struct flow_rig *r = arg;

	(void)from;
	r->n_messages++;
	r->verdict = verdict;
	snprintf(r->original, sizeof(r->original), "%.*s", SPAN_ARG(original));
	snprintf(r->edited, sizeof(r->edited), "%.*s", SPAN_ARG(edited));
}

static void ending(void *arg)
{
	struct flow_rig *r = arg;

	r->n_endings++;
}

static uint64_t spent_us(void *arg)
{
	struct flow_rig *r = arg;

	return r->spent_us += r->call_us;
}

static const struct flow_owner owner = {
	.now_ms = now_ms, .hole_reserve = hole_reserve, .hole_public = hole_public, .hole_peer = hole_peer, .hole_arm = hole_arm,
	.hole_free = hole_free, .hole_pause = hole_pause, .hole_is_busy = hole_is_busy, .policy = policy, .timer = timer,
	.transfer = transfer, .note = note, .message = message, .ending = ending, .spent_us = spent_us,
};

struct flow_rig *rig_new(const struct alg_module *module)
{
	static struct flow_rig rig;
	const struct alg_about about = { .client = { .family = 4 }, .server = { .family = 4 }, .tls = ALG_TLS_TERMINATE,
					 .is_tls = rig_is_tls };

	memset(&rig, 0, sizeof(rig));
	rig_result = flow_new(module, &about, &owner, &rig, &rig.flow);
	return rig_result < 0 ? NULL : &rig;
}

void rig_free(struct flow_rig *r)
{
	flow_free(r->flow);
	r->flow = NULL;
}

static enum alg_side side_of(const char *name)
{
	return name[0] == 's' ? ALG_SERVER : ALG_CLIENT;
}

int rig_send(struct flow_rig *r, const char *side, const char *text)
{
	return flow_input(r->flow, side_of(side), span_of(text), false);
}

const char *rig_take(struct flow_rig *r, const char *side)
{
	static char taken[RIG_TEXT];
	struct span out;
	size_t len = 0;

	while ((out = flow_output(r->flow, side_of(side))).ptr != NULL && len + out.len < sizeof(taken)) {
		memcpy(taken + len, out.ptr, out.len);
		len += out.len;
		flow_sent(r->flow, side_of(side), out.len);
	}
	taken[len] = '\0';
	return taken;
}

void rig_event(struct flow_rig *r, enum alg_event_type type, uint32_t n)
{
	bool is_timer = type == ALG_EV_TIMER;

	flow_event(r->flow, &(struct alg_event){ .type = type, .hole = is_timer ? 0 : n, .cookie = is_timer ? n : 0 });
}

struct flow_stats rig_stats(const struct flow_rig *r)
{
	struct flow_stats stats;

	flow_stats(r->flow, &stats);
	return stats;
}
