/* What a module may ask for (struct alg_host), as far as it is the flow's own, and the limits that hold for each
 * wish before the owner hears of it. A wish outside of the module's own functions, or after it was found faulty,
 * is refused. */
#include "algs/flow_inside.h"

#include <stdarg.h>
#include <stdio.h>

static struct flow *flow_of(struct alg_session *session)
{
	return (struct flow *)session;
}

static bool may_ask(const struct flow *flow)
{
	return flow->is_inside && flow->fault == NULL;
}

void flow_blame(struct flow *flow, const char *fault)
{
	if (flow->fault == NULL)
		flow->fault = fault;
}

static uint64_t host_now_ms(struct alg_session *session)
{
	struct flow *flow = flow_of(session);

	return flow->owner->now_ms(flow->arg);
}

/* Messages */

/* Where the new one has to stand; -1 when it overlaps another. What is inserted in front of octets comes before
 * what replaces them, and insertions in the same place keep the order in which they were made. */
static int place_of_edit(const struct flow *flow, size_t offset, size_t len)
{
	unsigned at = flow->n_edits;

	while (at > 0) {
		const struct flow_edit *e = &flow->edits[at - 1];

		if (e->offset + e->len <= offset && (e->offset < offset || e->len == 0))
			break;
		if (offset + len > e->offset)
			return -1;
		at--;
	}
	return (int)at;
}

static int host_edit(struct alg_session *session, size_t offset, size_t len, struct alg_bytes with)
{
	struct flow *flow = flow_of(session);
	size_t limit = flow->module->is_datagram ? FLOW_DATAGRAM_MAX : SIZE_MAX;
	int at;

	if (!may_ask(flow) || !flow->has_message)
		return ALG_ERR_STATE;
	if (offset > flow->n_given || len > flow->n_given - offset) {
		flow_blame(flow, "an edit lies outside the message");
		return ALG_ERR_STATE;
	}
	at = place_of_edit(flow, offset, len);
	if (at < 0) {
		flow_blame(flow, "edits overlap");
		return ALG_ERR_STATE;
	}
	if (flow->n_edits == FLOW_EDITS_MAX || with.len > sizeof(flow->edit_text) - flow->edit_text_len ||
	    flow->n_given - flow->n_cut - len + flow->edit_text_len + with.len > limit)
		return ALG_ERR_LIMIT;
	memmove(&flow->edits[at + 1], &flow->edits[at], (flow->n_edits - (unsigned)at) * sizeof(flow->edits[0]));
	flow->edits[at] = (struct flow_edit){ offset, len, flow->edit_text_len, with.len };
	flow->n_edits++;
	flow->n_cut += len;
	if (with.len > 0)
		memcpy(flow->edit_text + flow->edit_text_len, with.ptr, with.len);
	flow->edit_text_len += with.len;
	return 0;
}

static int host_reply(struct alg_session *session, enum alg_side to, struct alg_bytes bytes)
{
	struct flow *flow = flow_of(session);
	struct flow_piece waits = flow->waits;
	struct flow_queue *out = &flow->out[to == ALG_CLIENT ? ALG_CLIENT : ALG_SERVER];
	char *at;

	if (!may_ask(flow) || flow->is_bypassed || (to != ALG_CLIENT && to != ALG_SERVER))
		return ALG_ERR_STATE;
	if (bytes.len == 0)
		return 0;
	/* One piece is kept for the message. */
	if (bytes.len > FLOW_REPLY_MAX - flow->n_replied[to] || out->n_pieces + 1 >= FLOW_PIECES_MAX)
		return ALG_ERR_LIMIT;
	/* Data that the message waits for holds up what goes its way, and not what is said to its sender. */
	if (flow->has_message && to != flow->message_to)
		memset(waits.holes, 0, sizeof(waits.holes));
	at = flow_queue_put(out, &waits, bytes.len);
	if (at == NULL)
		return ALG_ERR_LIMIT;
	memcpy(at, bytes.ptr, bytes.len);
	flow->n_replied[to] += bytes.len;
	flow->n_replies[to]++;
	return 0;
}

static void host_resume(struct alg_session *session, enum alg_side from)
{
	struct flow *flow = flow_of(session);

	if (!may_ask(flow))
		return;
	flow_queue_resume(&flow->out[from == ALG_CLIENT ? ALG_SERVER : ALG_CLIENT]);
	flow->in[from == ALG_CLIENT ? ALG_CLIENT : ALG_SERVER].is_waiting = false;
}

static int host_wait_for(struct alg_session *session, uint32_t hole)
{
	struct flow *flow = flow_of(session);

	if (!may_ask(flow) || !flow->has_message)
		return ALG_ERR_STATE;
	if (hole == 0 || !flow->owner->hole_is_busy(flow->arg, hole))
		return 0;
	for (unsigned i = 0; i < FLOW_PIECE_HOLES_MAX; i++) {
		if (flow->waits.holes[i] == 0 || flow->waits.holes[i] == hole) {
			flow->waits.holes[i] = hole;
			return 0;
		}
	}
	return ALG_ERR_LIMIT;
}

/* Pinholes */

static int index_of_hole(const struct flow *flow, uint32_t hole)
{
	for (unsigned i = 0; i < flow->n_holes; i++)
		if (flow->holes[i].hole == hole)
			return (int)i;
	return -1;
}

bool flow_take_commit(struct flow *flow, uint32_t hole, uint32_t *ret_call)
{
	unsigned at = 0;
	uint32_t call;

	while (at < flow->n_commits && flow->commits[at].hole != hole)
		at++;
	if (at == flow->n_commits)
		return false;
	call = flow->commits[at].call;
	flow->n_commits--;
	memmove(&flow->commits[at], &flow->commits[at + 1], (flow->n_commits - at) * sizeof(flow->commits[0]));
	for (unsigned i = 0; i < flow->n_commits; i++)
		if (flow->commits[i].call == call)
			call = 0;
	*ret_call = call;
	return true;
}

void flow_forget_hole(struct flow *flow, uint32_t hole)
{
	int at = index_of_hole(flow, hole);
	uint32_t call;

	if (at >= 0)
		flow->holes[at] = flow->holes[--flow->n_holes];
	for (unsigned side = 0; side < ALG_SIDES; side++)
		flow_queue_hole_done(&flow->out[side], hole);
	for (unsigned i = 0; i < FLOW_PIECE_HOLES_MAX; i++)
		if (flow->waits.holes[i] == hole)
			flow->waits.holes[i] = 0;
	while (flow_take_commit(flow, hole, &call)) {
		if (call == 0)
			continue;
		flow_queue_commits_done(&flow->out[ALG_CLIENT], call);
		flow_queue_commits_done(&flow->out[ALG_SERVER], call);
	}
}

/* As far as the module knows it. */
static size_t want_size(const struct alg_module *module)
{
	if (module->abi_minor >= 2)
		return sizeof(struct alg_want);
	return module->abi_minor == 1 ? offsetof(struct alg_want, is_dialled) : offsetof(struct alg_want, is_protected);
}

static int host_hole_reserve(struct alg_session *session, const struct alg_want *want, uint32_t *ret_hole)
{
	struct flow *flow = flow_of(session);
	struct alg_want own = { 0 };
	unsigned n = 0;
	uint32_t hole = 0;
	int ret;

	if (!may_ask(flow))
		return ALG_ERR_STATE;
	memcpy(&own, want, want_size(flow->module));
	if (want->class >= flow->module->n_classes) {
		flow_blame(flow, "a pinhole of no class");
		return ALG_ERR_STATE;
	}
	for (unsigned i = 0; i < flow->n_holes; i++)
		n += flow->holes[i].class == want->class;
	if (n >= flow->module->classes[want->class].max || flow->n_holes == FLOW_HOLES_MAX)
		return ALG_ERR_LIMIT;
	ret = flow->owner->hole_reserve(flow->arg, &own, &hole);
	if (ret < 0)
		return ret;
	flow->holes[flow->n_holes++] = (struct flow_hole){ hole, want->class };
	*ret_hole = hole;
	return 0;
}

static int host_hole_public(struct alg_session *session, uint32_t hole, enum alg_side reader, struct alg_addr *ret,
			    uint16_t *ret_rtcp)
{
	struct flow *flow = flow_of(session);

	return may_ask(flow) ? flow->owner->hole_public(flow->arg, hole, reader, ret, ret_rtcp) : ALG_ERR_STATE;
}

static int host_hole_peer(struct alg_session *session, uint32_t hole, enum alg_side side, const struct alg_addr *rtp,
			  uint16_t rtcp_port)
{
	struct flow *flow = flow_of(session);

	return may_ask(flow) ? flow->owner->hole_peer(flow->arg, hole, side, rtp, rtcp_port) : ALG_ERR_STATE;
}

static int host_hole_arm(struct alg_session *session, uint32_t hole)
{
	struct flow *flow = flow_of(session);
	int ret;

	if (!may_ask(flow) || index_of_hole(flow, hole) < 0)
		return ALG_ERR_STATE;
	if (flow->n_commits == FLOW_COMMITS_MAX)
		return ALG_ERR_LIMIT;
	ret = flow->owner->hole_arm(flow->arg, hole);
	if (ret > 0)
		flow->commits[flow->n_commits++] = (struct flow_commit){ hole, flow->call };
	return ret < 0 ? ret : 0;
}

static int host_hole_dial(struct alg_session *session, uint32_t hole, enum alg_side side)
{
	struct flow *flow = flow_of(session);

	if (!may_ask(flow) || index_of_hole(flow, hole) < 0 || (unsigned)side >= ALG_SIDES)
		return ALG_ERR_STATE;
	return flow->owner->hole_dial(flow->arg, hole, side);
}

static void host_hole_free(struct alg_session *session, uint32_t hole)
{
	struct flow *flow = flow_of(session);

	if (!may_ask(flow) || index_of_hole(flow, hole) < 0)
		return;
	flow_forget_hole(flow, hole);
	flow->owner->hole_free(flow->arg, hole);
}

static void host_hole_pause(struct alg_session *session, uint32_t hole, bool is_paused)
{
	struct flow *flow = flow_of(session);

	if (may_ask(flow) && index_of_hole(flow, hole) >= 0)
		flow->owner->hole_pause(flow->arg, hole, is_paused);
}

/* The rest is the owner's. */

static void host_policy(struct alg_session *session, const struct alg_question *question, struct alg_answer *ret)
{
	struct flow *flow = flow_of(session);

	*ret = (struct alg_answer){ 0 };
	if (may_ask(flow))
		flow->owner->policy(flow->arg, question, ret);
	ret->text[sizeof(ret->text) - 1] = '\0';
}

static void host_timer(struct alg_session *session, uint32_t cookie, uint32_t ms)
{
	struct flow *flow = flow_of(session);

	if (may_ask(flow) && cookie < FLOW_TIMERS)
		flow->owner->timer(flow->arg, cookie, ms);
}

static void host_transfer(struct alg_session *session, const struct alg_transfer *transfer)
{
	struct flow *flow = flow_of(session);
	struct alg_transfer known = { 0 };

	if (!may_ask(flow))
		return;
	/* A module that was built with a minor version before has a structure that ends sooner. */
	memcpy(&known, transfer, flow->module->abi_minor >= 2 ? sizeof(known) : offsetof(struct alg_transfer, octets));
	flow->owner->transfer(flow->arg, &known);
}

__attribute__((format(printf, 3, 4)))
static void host_note(struct alg_session *session, const char *rule, const char *format, ...)
{
	struct flow *flow = flow_of(session);
	char text[256];
	va_list args;
	int n;

	if (!may_ask(flow))
		return;
	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (n < 0)
		return;
	flow->owner->note(flow->arg, rule,
			  (struct span){ text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1 });
}

static int host_start_tls(struct alg_session *session)
{
	struct flow *flow = flow_of(session);

	if (!may_ask(flow) || !flow->has_message || flow->is_bypassed || flow->module->is_datagram ||
	    flow->about.tls != ALG_TLS_TERMINATE || flow->tls != FLOW_TLS_NONE)
		return ALG_ERR_STATE;
	flow->tls = FLOW_TLS_ASKED;
	return 0;
}

static void host_ending(struct alg_session *session)
{
	struct flow *flow = flow_of(session);

	if (may_ask(flow))
		flow->owner->ending(flow->arg);
}

static int host_meet(struct alg_session *session, struct alg_bytes name, int (*meet)(void *arg, struct span name))
{
	const struct flow *flow = flow_of(session);

	if (!may_ask(flow) || meet == NULL || flow->module->is_datagram || name.len == 0)
		return ALG_ERR_STATE;
	return name.len <= ALG_NAME_MAX ? meet(flow->arg, (struct span){ name.ptr, name.len }) : ALG_ERR_LIMIT;
}

static int host_meet_open(struct alg_session *session, struct alg_bytes name)
{
	return host_meet(session, name, flow_of(session)->owner->meet_open);
}

static int host_meet_join(struct alg_session *session, struct alg_bytes name)
{
	return host_meet(session, name, flow_of(session)->owner->meet_join);
}

const struct alg_host flow_host = {
	.size = sizeof(struct alg_host),
	.now_ms = host_now_ms,
	.edit = host_edit,
	.reply = host_reply,
	.resume = host_resume,
	.wait_for = host_wait_for,
	.hole_reserve = host_hole_reserve,
	.hole_public = host_hole_public,
	.hole_peer = host_hole_peer,
	.hole_arm = host_hole_arm,
	.hole_free = host_hole_free,
	.hole_pause = host_hole_pause,
	.policy = host_policy,
	.timer = host_timer,
	.transfer = host_transfer,
	.note = host_note,
	.ending = host_ending,
	.start_tls = host_start_tls,
	.meet_open = host_meet_open,
	.meet_join = host_meet_join,
	.hole_dial = host_hole_dial,
};
