/* The pure driver of an ALG: collects what a side sends, and lets the module say what becomes of each message (flow_message.c). What
 * the module may ask for meanwhile is in flow_host.c, the order of what goes out in flow_queue.c, what belongs to one call of it in
 * flow_call.c.
 *
 * The module is only asked when everything that it may say fits, so a message never gets stuck halfway; until then octets stay in the
 * input, and a full input stops the reading of its socket. */
#include "algs/flow_inside.h"

#include <errno.h>
#include <stdlib.h>

#include "core/err.h"

enum { PIECES_OF_A_CALL = 8 };

/* The pump */

static size_t longest(const struct flow *flow)
{
	return flow->module->is_datagram ? FLOW_DATAGRAM_MAX : flow->module->message_max;
}

/* Whatever the module answers to `len` octets must fit, and beside it what it says to their receiver about messages of
 * the other side, and at events: a side that does not read must not keep us from reading what it writes, or the two
 * wait for each other. */
static bool has_room(const struct flow *flow, enum alg_side from, size_t len)
{
	const struct flow_queue *forth = &flow->out[alg_other(from)], *back = &flow->out[from];

	return forth->n_pieces + 2 * PIECES_OF_A_CALL <= FLOW_PIECES_MAX &&
	       back->n_pieces + PIECES_OF_A_CALL <= FLOW_PIECES_MAX &&
	       flow_queue_room(forth) >= len + FLOW_EDIT_TEXT_MAX + 3 * FLOW_REPLY_MAX &&
	       flow_queue_room(back) >= FLOW_REPLY_MAX;
}

static bool move_unseen(struct flow *flow, enum alg_side from)
{
	struct flow_side *in = &flow->in[from];
	struct flow_queue *out = &flow->out[alg_other(from)];
	size_t len = in->len, room = flow_queue_room(out);
	char *at;

	in->is_end_told = in->is_ended; /* nobody is to be told */
	if (!(in->has_datagram || len > 0))
		return false;
	if (flow->module->is_datagram && (room < len || out->n_pieces == FLOW_PIECES_MAX))
		return false;
	if (len > room)
		len = room;
	at = len > 0 || in->has_datagram ? flow_queue_put(out, &(struct flow_piece){ 0 }, len) : NULL;
	if (at == NULL)
		return false;
	memcpy(at, flow_input_of(flow, from, len).ptr, len);
	flow_input_take(flow, from, len);
	flow_queue_settle(out);
	return true;
}

/* Until resume(): a message that was judged, or one that is to be shown again. */
static bool is_on_hold(const struct flow *flow, enum alg_side from)
{
	return flow->in[from].is_waiting || flow_queue_is_held(&flow->out[alg_other(from)]);
}

/* Does one thing with what came from that side. False: there is nothing to do now. */
static bool step(struct flow *flow, enum alg_side from)
{
	struct flow_side *in = &flow->in[from];
	bool is_datagram = flow->module->is_datagram, has_octets = in->len > 0 || in->has_datagram;
	size_t len = in->len;
	bool is_end;

	if (flow->is_reset || flow->tls == FLOW_TLS_DUE)
		return false;
	if (flow->is_bypassed)
		return move_unseen(flow, from);
	if ((!has_octets && (!in->is_ended || in->is_end_told)) || is_on_hold(flow, from))
		return false;
	if (!is_datagram && len > flow->module->message_max)
		len = flow->module->message_max;
	if (has_octets && len < in->wanted && !in->is_ended)
		return false;
	if (!has_room(flow, from, len))
		return false;
	is_end = in->is_ended && len == in->len;
	if (!has_octets && !flow->is_recognised) {
		in->is_end_told = true;
		return true;
	}
	if (is_datagram && has_octets && (len == 0 || len > flow->module->message_max)) {
		flow_call_begin(flow);
		flow_message_pass(flow, from, ALG_PASS, len);
		flow_call_end(flow);
		return true;
	}
	if (!flow->is_recognised)
		return flow_message_recognise(flow, from, len, is_end);
	flow_message_ask(flow, from, len, is_end);
	return in->wanted == 0;
}

static void pump(struct flow *flow)
{
	bool has_moved = true;

	if (flow->is_inside || flow->is_pumping)
		return;
	flow->is_pumping = true;
	while (has_moved) {
		has_moved = step(flow, ALG_CLIENT);
		has_moved |= step(flow, ALG_SERVER);
	}
	flow->is_pumping = false;
}

/* Input and output */

size_t flow_room(const struct flow *flow, enum alg_side from)
{
	const struct flow_side *in = &flow->in[from];

	if (flow->is_reset || in->is_ended || in->has_datagram || flow->tls == FLOW_TLS_DUE)
		return 0;
	return in->cap - in->len;
}

int flow_input(struct flow *flow, enum alg_side from, struct span bytes, bool is_end)
{
	struct flow_side *in = &flow->in[from];
	bool has_datagram;

	if (flow->is_reset)
		return ERR_CLOSED;
	if (in->is_ended)
		return ERR_STATE;
	has_datagram = flow->module->is_datagram && (bytes.len > 0 || !is_end);
	if (bytes.len > in->cap - in->len || (in->has_datagram && has_datagram))
		return ERR_LIMIT;
	if (bytes.len > in->cap - in->len - in->start) {
		memmove(in->data, in->data + in->start, in->len);
		in->start = 0;
	}
	if (bytes.len > 0)
		memcpy(in->data + in->start + in->len, bytes.ptr, bytes.len);
	in->len += bytes.len;
	in->has_datagram |= has_datagram;
	in->is_ended = is_end;
	flow->stats.octets_in[from] += bytes.len;
	pump(flow);
	return flow->is_reset ? ERR_CLOSED : 0;
}

struct span flow_output(const struct flow *flow, enum alg_side to)
{
	return flow_queue_front(&flow->out[to]);
}

void flow_sent(struct flow *flow, enum alg_side to, size_t n)
{
	struct flow_queue *out = &flow->out[to];
	size_t before = out->len;

	flow_queue_sent(out, n);
	flow->stats.octets_out[to] += before - out->len;
	pump(flow);
}

bool flow_is_finished(const struct flow *flow, enum alg_side to)
{
	const struct flow_side *in = &flow->in[alg_other(to)];

	return in->is_ended && in->is_end_told && in->len == 0 && !in->has_datagram && flow->out[to].n_pieces == 0;
}

bool flow_is_drained(const struct flow *flow, enum alg_side from)
{
	return flow->in[from].len == 0 && flow->out[alg_other(from)].n_pieces == 0;
}

bool flow_is_bypassed(const struct flow *flow)
{
	return flow->is_bypassed;
}

bool flow_is_reset(const struct flow *flow)
{
	return flow->is_reset;
}

bool flow_wants_tls(const struct flow *flow)
{
	return flow->tls == FLOW_TLS_DUE && !flow->is_reset && flow->out[ALG_CLIENT].n_pieces == 0 &&
	       flow->out[ALG_SERVER].n_pieces == 0;
}

void flow_tls_begun(struct flow *flow)
{
	flow->tls = FLOW_TLS_BEGUN;
	pump(flow);
}

bool flow_is_protected(const struct flow *flow)
{
	return flow->tls == FLOW_TLS_BEGUN;
}

const char *flow_fault(const struct flow *flow)
{
	return flow->fault;
}

void flow_stats(const struct flow *flow, struct flow_stats *ret)
{
	*ret = flow->stats;
}

/* From outside */

static void tell_event(struct flow *flow, const struct alg_event *event)
{
	if (flow->module->event == NULL || flow->fault != NULL || flow->is_reset)
		return;
	flow_call_begin(flow);
	flow->module->event(flow->state, event);
	flow_call_end(flow);
}

void flow_event(struct flow *flow, const struct alg_event *event)
{
	tell_event(flow, event);
	if (event->type == ALG_EV_ENDED || event->type == ALG_EV_EXPIRED) {
		flow_forget_hole(flow, event->hole);
		flow_settle(flow);
	}
	pump(flow);
}

enum alg_datum flow_datum(struct flow *flow, uint32_t hole, enum alg_side from, struct span bytes)
{
	enum alg_datum answer;

	if (flow->module->datum == NULL || flow->fault != NULL || flow->is_reset)
		return ALG_DATUM_MORE;
	flow_call_begin(flow);
	answer = flow->module->datum(flow->state, hole, from, (struct alg_bytes){ bytes.ptr, bytes.len });
	flow_call_end(flow);
	return answer;
}

void flow_committed(struct flow *flow, uint32_t hole, int result)
{
	uint32_t call = 0;

	if (!flow_take_commit(flow, hole, &call))
		return;
	if (result < 0) {
		flow_note(flow, "a pinhole could not be opened");
		flow_event(flow, &(struct alg_event){ .type = ALG_EV_EXPIRED, .hole = hole });
	}
	if (call != 0) {
		flow_queue_commits_done(&flow->out[ALG_CLIENT], call);
		flow_queue_commits_done(&flow->out[ALG_SERVER], call);
	}
	flow_settle(flow);
	pump(flow);
}

/* Life */

static bool is_possible(const struct alg_module *m)
{
	return m->magic == ALG_MAGIC && m->abi_major == ALG_ABI_MAJOR && m->size >= sizeof(struct alg_module) && m->name != NULL &&
	       m->open != NULL && m->bytes != NULL && m->message_max > 0 && m->message_max <= FLOW_MESSAGE_LIMIT &&
	       (!m->is_datagram || m->message_max <= FLOW_DATAGRAM_MAX) && m->state_size <= FLOW_STATE_LIMIT &&
	       (m->n_classes == 0 || m->classes != NULL);
}

/* One piece of memory for all buffers, untouched until it is used. */
static int make_buffers(struct flow *flow)
{
	size_t message = longest(flow);
	size_t in_cap = flow->module->is_datagram ? FLOW_DATAGRAM_MAX : message + FLOW_INPUT_EXTRA;
	size_t out_cap = 2 * (message + FLOW_EDIT_TEXT_MAX) + 4 * FLOW_REPLY_MAX; /* one that is held, and one more */
	char *at = malloc(ALG_SIDES * (in_cap + out_cap));

	if (at == NULL)
		return -ENOMEM;
	flow->octets = at;
	for (unsigned side = 0; side < ALG_SIDES; side++) {
		flow->in[side] = (struct flow_side){ .data = at, .cap = in_cap };
		flow->out[side] = (struct flow_queue){ .data = at + in_cap, .cap = out_cap,
						       .is_datagram = flow->module->is_datagram };
		at += in_cap + out_cap;
	}
	return 0;
}

static void free_memory(struct flow *flow)
{
	free(flow->octets);
	free(flow->state);
	free(flow);
}

int flow_new(const struct alg_module *module, const struct alg_about *about, const struct flow_owner *owner, void *arg,
	     struct flow **ret)
{
	struct flow *flow;

	if (!is_possible(module))
		return ERR_UNSUPPORTED;
	flow = calloc(1, sizeof(*flow));
	if (flow == NULL)
		return -ENOMEM;
	flow->module = module;
	flow->owner = owner;
	flow->arg = arg;
	flow->about = *about;
	flow->tls = about->tls == ALG_TLS_TERMINATE && about->is_tls ? FLOW_TLS_DUE : FLOW_TLS_NONE;
	flow->is_recognised = module->probe == NULL;
	flow->state = calloc(1, module->state_size > 0 ? module->state_size : 1);
	if (flow->state == NULL || make_buffers(flow) < 0) {
		free_memory(flow);
		return -ENOMEM;
	}
	flow_call_begin(flow);
	module->open(flow->state, &flow->about, &flow_host, flow_session(flow));
	flow_call_end(flow);
	*ret = flow;
	return 0;
}

void flow_free(struct flow *flow)
{
	if (flow == NULL)
		return;
	if (flow->module->close != NULL) {
		flow_call_begin(flow);
		flow->module->close(flow->state);
		flow->is_inside = false;
	}
	free_memory(flow);
}
