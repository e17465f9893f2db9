/* The made-up owner of a flow: what the host does, without a network. */
#include "algs/runner_owner.h"

#include <stdio.h>

#include "algs/alg_addr.h"

enum { PORT_FLOOR = 1024, SLEEP_EVENTS_MAX = 10000 };

static const struct addr *end_of(const struct runner_owner *o, enum alg_side side)
{
	return side == ALG_CLIENT ? &o->script->client[o->channel] : &o->script->server;
}

static struct runner_hole *hole_at(struct runner_owner *o, uint32_t hole)
{
	return hole > 0 && hole <= o->n_holes ? &o->holes[hole - 1] : NULL;
}

const struct runner_hole *runner_owner_hole(const struct runner_owner *o, uint32_t hole)
{
	return hole > 0 && hole <= o->n_holes ? &o->holes[hole - 1] : NULL;
}

static const struct alg_class *class_of(const struct runner_owner *o, const struct runner_hole *h)
{
	return &o->script->module->classes[h->want.class];
}

static bool is_open(const struct runner_hole *h)
{
	return h->state <= RUNNER_IS_OPENED;
}

unsigned runner_owner_open_holes(const struct runner_owner *o)
{
	unsigned n = 0;

	for (unsigned i = 0; i < o->n_holes; i++)
		n += is_open(&o->holes[i]);
	return n;
}

/* Wishes */

static uint64_t owner_now_ms(void *arg)
{
	const struct runner_owner *o = arg;

	return o->now_ms;
}

static uint16_t take_port(struct runner_owner *o, bool is_pair)
{
	uint16_t port = o->next_port;

	if (is_pair && port % 2 == 1)
		port++;
	o->next_port = port > 65000 ? 40000 : port + 2;
	return port;
}

static int check_end(const struct runner_owner *o, enum alg_side side, const struct addr *at)
{
	if (!addr_eq_ip(at, end_of(o, side)) || at->port < PORT_FLOOR)
		return ALG_ERR_DENIED;
	return 0;
}

static int owner_hole_reserve(void *arg, const struct alg_want *want, uint32_t *ret_hole)
{
	struct runner_owner *o = arg;
	const struct alg_class *class = &o->script->module->classes[want->class];
	const struct addr *gateway = &o->script->gateway[alg_other(want->listener)];
	struct addr at = alg_addr_in(&want->at);
	struct runner_hole h = { .want = *want, .since_ms = o->now_ms };

	if (o->n_holes == RUNNER_HOLES_MAX)
		return ALG_ERR_LIMIT;
	if (at.family == 0) {
		at = *end_of(o, want->listener);
		at.port = want->at.port != 0 ? want->at.port : at.port;
	}
	if (class->kind != ALG_HOLE_MEDIA) {
		if (check_end(o, want->listener, &at) < 0)
			return ALG_ERR_DENIED;
		if (addr_is_set(gateway) && gateway->family != end_of(o, alg_other(want->listener))->family)
			return ALG_ERR_FAMILY;
	}
	h.want.at = alg_addr_out(&at);
	for (unsigned side = 0; side < ALG_SIDES; side++)
		if (class->kind == ALG_HOLE_MEDIA || (side != (unsigned)want->listener && !want->is_dialled))
			h.own_port[side] = want->is_same_port ? at.port : take_port(o, class->kind == ALG_HOLE_MEDIA);
	o->holes[o->n_holes++] = h;
	*ret_hole = o->n_holes;
	return 0;
}

static int media_public(const struct runner_owner *o, const struct runner_hole *h, enum alg_side reader, struct addr *ret,
			uint16_t *ret_rtcp)
{
	enum alg_side other = alg_other(reader);

	if (o->script->about[o->channel].is_translated) {
		/* Between two networks media is always relayed by an own address; without one the client's view of
		 * the server is it. */
		*ret = addr_is_set(&o->script->media[reader]) ? o->script->media[reader] : *end_of(o, other);
		ret->port = h->own_port[reader];
		*ret_rtcp = ret->port + 1;
		return 0;
	}
	if (!addr_is_set(&h->peer[other]))
		return ALG_ERR_STATE;
	*ret = h->peer[other];
	*ret_rtcp = h->peer_rtcp[other];
	return 0;
}

int runner_owner_public(const struct runner_owner *o, uint32_t hole, enum alg_side reader, struct addr *ret, uint16_t *ret_rtcp)
{
	const struct runner_hole *h = runner_owner_hole(o, hole);

	*ret_rtcp = 0;
	if (h == NULL || !is_open(h))
		return ALG_ERR_STATE;
	if (class_of(o, h)->kind == ALG_HOLE_MEDIA)
		return media_public(o, h, reader, ret, ret_rtcp);
	if (reader == h->want.listener || h->want.is_dialled)
		return ALG_ERR_STATE;
	*ret = alg_addr_in(&h->want.at);
	if (addr_is_set(&o->script->gateway[reader])) {
		*ret = o->script->gateway[reader];
		ret->port = h->own_port[reader];
	}
	return 0;
}

static int owner_hole_public(void *arg, uint32_t hole, enum alg_side reader, struct alg_addr *ret, uint16_t *ret_rtcp)
{
	uint16_t rtcp;
	struct addr at;
	int result = runner_owner_public(arg, hole, reader, &at, &rtcp);

	if (result < 0)
		return result;
	*ret = alg_addr_out(&at);
	if (ret_rtcp != NULL)
		*ret_rtcp = rtcp;
	return 0;
}

static int dialled_peer(const struct runner_owner *o, struct runner_hole *h, enum alg_side side, const struct addr *at,
			uint16_t rtcp_port)
{
	if (h->state != RUNNER_IS_RESERVED || side == h->want.listener || rtcp_port != 0)
		return ALG_ERR_STATE;
	if (check_end(o, side, at) < 0)
		return ALG_ERR_DENIED;
	h->peer[side] = *at;
	return 0;
}

static int owner_hole_peer(void *arg, uint32_t hole, enum alg_side side, const struct alg_addr *rtp, uint16_t rtcp_port)
{
	struct runner_owner *o = arg;
	struct runner_hole *h = hole_at(o, hole);
	struct addr at = alg_addr_in(rtp);

	if (h == NULL || !is_open(h))
		return ALG_ERR_STATE;
	if (at.family == 0) {
		at = *end_of(o, side);
		at.port = rtp->port;
	}
	if (h->want.is_dialled)
		return dialled_peer(o, h, side, &at, rtcp_port);
	if (class_of(o, h)->kind != ALG_HOLE_MEDIA)
		return ALG_ERR_STATE;
	/* Port 0: it is learnt from the first packet. */
	if (!addr_eq_ip(&at, end_of(o, side)) || (at.port != 0 && at.port < PORT_FLOOR) || (rtcp_port != 0 && rtcp_port < PORT_FLOOR))
		return ALG_ERR_DENIED;
	h->peer[side] = at;
	h->peer_rtcp[side] = rtcp_port != 0 || at.port == 0 ? rtcp_port : at.port + 1;
	return 0;
}

static int owner_hole_arm(void *arg, uint32_t hole)
{
	struct runner_owner *o = arg;
	struct runner_hole *h = hole_at(o, hole);

	if (h == NULL || h->state != RUNNER_IS_RESERVED || (h->want.is_dialled && !addr_is_set(&h->peer[alg_other(h->want.listener)])))
		return ALG_ERR_STATE;
	h->state = RUNNER_IS_ARMED;
	h->since_ms = o->now_ms;
	if (h->want.is_dialled) /* the kernel has no part in it */
		return 0;
	if (!o->is_late || o->n_late == RUNNER_LATE_MAX)
		return 0;
	o->late[o->n_late++] = hole;
	return 1;
}

static int owner_hole_dial(void *arg, uint32_t hole, enum alg_side side)
{
	struct runner_hole *h = hole_at(arg, hole);

	if (h == NULL || h->state != RUNNER_IS_ARMED || !h->want.is_dialled || h->is_dialled[side])
		return ALG_ERR_STATE;
	h->is_dialled[side] = true;
	return 0;
}

static bool forget_late(struct runner_owner *o, uint32_t hole)
{
	for (unsigned i = 0; i < o->n_late; i++) {
		if (o->late[i] != hole)
			continue;
		o->n_late--;
		memmove(&o->late[i], &o->late[i + 1], (o->n_late - i) * sizeof(o->late[0]));
		return true;
	}
	return false;
}

static void owner_hole_free(void *arg, uint32_t hole)
{
	struct runner_owner *o = arg;
	struct runner_hole *h = hole_at(o, hole);

	if (h == NULL || !is_open(h))
		return;
	h->state = RUNNER_IS_FREED;
	forget_late(o, hole);
}

static void owner_hole_pause(void *arg, uint32_t hole, bool is_paused)
{
	struct runner_hole *h = hole_at(arg, hole);

	if (h != NULL)
		h->is_paused = is_paused;
}

static bool owner_hole_is_busy(void *arg, uint32_t hole)
{
	const struct runner_hole *h = runner_owner_hole(arg, hole);

	return h != NULL && h->state == RUNNER_IS_OPENED;
}

static void owner_policy(void *arg, const struct alg_question *question, struct alg_answer *ret)
{
	runner_decide(arg, question, ret);
}

static void owner_timer(void *arg, uint32_t cookie, uint32_t ms)
{
	struct runner_owner *o = arg;

	o->timers[cookie] = ms > 0 ? o->now_ms + ms : 0;
}

static void keep_text(char *out, size_t size, const char *text, size_t len)
{
	snprintf(out, size, "%.*s", (int)(len < size ? len : size - 1), text != NULL ? text : "");
}

static void owner_transfer(void *arg, const struct alg_transfer *t)
{
	struct runner_owner *o = arg;

	o->record.transfer = *t;
	o->record.n++;
	keep_text(o->record.user, sizeof(o->record.user), t->user.ptr, t->user.len);
	keep_text(o->record.verb, sizeof(o->record.verb), t->verb.ptr, t->verb.len);
	keep_text(o->record.path, sizeof(o->record.path), t->path.ptr, t->path.len);
}

static void owner_note(void *arg, const char *rule, struct span text)
{
	struct runner_owner *o = arg;

	(void)rule;
	keep_text(o->note, sizeof(o->note), text.ptr, text.len);
}

static void owner_ending(void *arg)
{
	struct runner_owner *o = arg;

	o->is_ending = true;
}

/* Names */

static struct runner_owner *find_name(const struct runner_owner *o, struct span name)
{
	for (unsigned i = 0; o->all != NULL && i < RUNNER_CHANNELS; i++) {
		struct runner_owner *other = o->all[i];

		if (other != NULL && span_eq(name, (struct span){ other->name, other->name_len }) &&
		    addr_eq_ip(end_of(o, ALG_CLIENT), end_of(other, ALG_CLIENT)))
			return other;
	}
	return NULL;
}

static int owner_meet_open(void *arg, struct span name)
{
	struct runner_owner *o = arg;

	if (o->joint.flow == NULL || o->name_len > 0 || find_name(o, name) != NULL)
		return ALG_ERR_STATE;
	memcpy(o->name, name.ptr, name.len);
	o->name_len = name.len;
	return 0;
}

static int owner_meet_join(void *arg, struct span name)
{
	struct runner_owner *o = arg, *other = find_name(o, name);

	return o->joint.flow != NULL && other != NULL ? joint_join(&o->joint, &other->joint) : ALG_ERR_STATE;
}

const struct flow_owner runner_flow_owner = {
	.now_ms = owner_now_ms,
	.hole_reserve = owner_hole_reserve,
	.hole_public = owner_hole_public,
	.hole_peer = owner_hole_peer,
	.hole_arm = owner_hole_arm,
	.hole_dial = owner_hole_dial,
	.hole_free = owner_hole_free,
	.hole_pause = owner_hole_pause,
	.hole_is_busy = owner_hole_is_busy,
	.policy = owner_policy,
	.timer = owner_timer,
	.transfer = owner_transfer,
	.note = owner_note,
	.ending = owner_ending,
	.meet_open = owner_meet_open,
	.meet_join = owner_meet_join,
};

int runner_owner_begin(struct runner_owner *o, const struct runner_script *script, unsigned channel, bool is_late)
{
	int err;

	o->script = script;
	o->channel = channel;
	o->now_ms = 1000;
	o->next_port = script->port;
	o->is_late = is_late;
	err = flow_new(script->module, &script->about[channel], &runner_flow_owner, o, &o->flow);
	o->joint.flow = o->flow;
	return err;
}

/* What happens */

const char *runner_owner_opened(struct runner_owner *o, uint32_t hole)
{
	struct runner_hole *h = hole_at(o, hole);

	if (h == NULL)
		return "there is no such hole";
	if (h->state != RUNNER_IS_ARMED)
		return "nobody gets through a hole that is not armed";
	if (h->want.is_dialled && !(h->is_dialled[ALG_CLIENT] && h->is_dialled[ALG_SERVER]))
		return "this hole has not been dialled at both ends";
	h->state = RUNNER_IS_OPENED;
	flow_event(o->flow, &(struct alg_event){ .type = ALG_EV_OPENED, .hole = hole });
	return NULL;
}

const char *runner_owner_ended(struct runner_owner *o, uint32_t hole, const uint64_t octets[ALG_SIDES])
{
	struct runner_hole *h = hole_at(o, hole);

	if (h == NULL || h->state != RUNNER_IS_OPENED)
		return "nothing flows through this hole";
	h->state = RUNNER_IS_ENDED;
	flow_event(o->flow, &(struct alg_event){ .type = ALG_EV_ENDED, .hole = hole, .octets = { octets[0], octets[1] } });
	return NULL;
}

const char *runner_owner_expired(struct runner_owner *o, uint32_t hole)
{
	struct runner_hole *h = hole_at(o, hole);

	if (h == NULL || h->state > RUNNER_IS_ARMED)
		return "a hole expires while it is reserved or armed";
	h->state = RUNNER_IS_EXPIRED;
	forget_late(o, hole);
	flow_event(o->flow, &(struct alg_event){ .type = ALG_EV_EXPIRED, .hole = hole });
	return NULL;
}

const char *runner_owner_limit(struct runner_owner *o, uint32_t hole, const char *reason)
{
	struct runner_hole *h = hole_at(o, hole);
	bool is_insecure = span_eq(span_of(reason), SPAN_LIT("insecure"));
	bool is_unreachable = span_eq(span_of(reason), SPAN_LIT("unreachable"));

	if (is_unreachable && h != NULL && h->state == RUNNER_IS_ARMED && (h->is_dialled[ALG_CLIENT] || h->is_dialled[ALG_SERVER]))
		h->state = RUNNER_IS_OPENED; /* as far as that goes: its end follows */
	else if (h == NULL || h->state != RUNNER_IS_OPENED)
		return "nothing flows through this hole";
	flow_event(o->flow, &(struct alg_event){ .type = ALG_EV_LIMIT, .hole = hole, .reason = reason, .is_insecure = is_insecure,
						 .is_unreachable = is_unreachable });
	return NULL;
}

const char *runner_owner_committed(struct runner_owner *o, uint32_t hole, int result)
{
	struct runner_hole *h = hole_at(o, hole);

	if (h == NULL || !forget_late(o, hole))
		return "this hole is not on its way";
	if (result < 0)
		h->state = RUNNER_IS_EXPIRED;
	flow_committed(o->flow, hole, result);
	return NULL;
}

const char *runner_owner_timer(struct runner_owner *o, uint32_t cookie)
{
	if (cookie >= RUNNER_TIMERS || o->timers[cookie] == 0)
		return "this timer does not run";
	o->timers[cookie] = 0;
	flow_event(o->flow, &(struct alg_event){ .type = ALG_EV_TIMER, .cookie = cookie });
	return NULL;
}

/* When this hole expires if nobody comes; 0: never. */
static uint64_t end_of_hole(const struct runner_owner *o, const struct runner_hole *h)
{
	const struct alg_class *class = class_of(o, h);

	if (h->state == RUNNER_IS_RESERVED)
		return class->reserved_ms > 0 ? h->since_ms + class->reserved_ms : 0;
	if (h->state == RUNNER_IS_ARMED && class->kind != ALG_HOLE_MEDIA)
		return class->armed_ms > 0 ? h->since_ms + class->armed_ms : 0;
	return 0;
}

/* The first thing that is due up to `end`: a timer (below RUNNER_TIMERS) or a hole; -1: nothing. */
static int next_due(const struct runner_owner *o, uint64_t end, uint64_t *ret_at)
{
	int found = -1;

	for (unsigned i = 0; i < RUNNER_TIMERS + o->n_holes; i++) {
		uint64_t at = i < RUNNER_TIMERS ? o->timers[i] : end_of_hole(o, &o->holes[i - RUNNER_TIMERS]);

		if (at == 0 || at > end || (found >= 0 && at >= *ret_at))
			continue;
		*ret_at = at;
		found = (int)i;
	}
	return found;
}

void runner_owner_sleep(struct runner_owner *o, uint32_t ms)
{
	uint64_t end = o->now_ms + ms, at = 0;
	int due;

	for (unsigned n = 0; n < SLEEP_EVENTS_MAX && (due = next_due(o, end, &at)) >= 0; n++) {
		o->now_ms = at > o->now_ms ? at : o->now_ms;
		if (due < RUNNER_TIMERS)
			runner_owner_timer(o, (uint32_t)due);
		else
			runner_owner_expired(o, (uint32_t)due - RUNNER_TIMERS + 1);
	}
	o->now_ms = end;
}
