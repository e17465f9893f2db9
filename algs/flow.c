/* The pure driver of an ALG: collects what a side sends, asks the module about it, and does with each message what
 * it says. What the module may ask for meanwhile is in flow_host.c, the order of what goes out in flow_queue.c.
 *
 * A call of the module has a number. Whatever it sends in a call carries that number, and leaves when the pinholes
 * that it armed in the same call are there. The module is only asked when everything that it may say fits, so a
 * message never gets stuck halfway; until then octets stay in the input, and a full input stops the reading of its
 * socket. */
#include "algs/flow_inside.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/err.h"

enum { PIECES_OF_A_CALL = 8, VERDICTS = ALG_RESET + 1 };

static void settle(struct flow *flow)
{
	flow_queue_settle(&flow->out[ALG_CLIENT]);
	flow_queue_settle(&flow->out[ALG_SERVER]);
}

static void note(struct flow *flow, const char *what)
{
	char text[200];

	snprintf(text, sizeof(text), "%s: %s", flow->module->name, what);
	flow->owner->note(flow->arg, NULL, span_of(text));
}

/* Calls of the module */

static void begin_call(struct flow *flow)
{
	assert(!flow->is_inside);
	if (++flow->call == 0)
		flow->call = 1; /* 0 stands for what no call made */
	flow->is_inside = true;
	flow->has_message = false;
	flow->waits = (struct flow_piece){ .call = flow->call };
	memset(flow->n_replied, 0, sizeof(flow->n_replied));
	memset(flow->n_replies, 0, sizeof(flow->n_replies));
	flow->n_edits = 0;
	flow->n_cut = flow->edit_text_len = 0;
}

/* What the call has said was never said. */
static void unsay(struct flow *flow)
{
	flow_queue_forget(&flow->out[ALG_CLIENT], flow->call);
	flow_queue_forget(&flow->out[ALG_SERVER], flow->call);
	memset(flow->n_replies, 0, sizeof(flow->n_replies));
}

/* Fails closed for pinholes and open for octets: what people do goes on, what the module opened does not. */
static void disown(struct flow *flow)
{
	char text[120];

	snprintf(text, sizeof(text), "faulty (%s): passed unseen from here on, pinholes closed", flow->fault);
	flow->is_bypassed = true;
	unsay(flow);
	flow_queue_release(&flow->out[ALG_CLIENT]);
	flow_queue_release(&flow->out[ALG_SERVER]);
	flow->n_commits = 0;
	while (flow->n_holes > 0)
		flow->owner->hole_free(flow->arg, flow->holes[--flow->n_holes].hole);
	note(flow, text);
}

static void end_call(struct flow *flow)
{
	flow->is_inside = flow->has_message = false;
	if (flow->fault != NULL) /* this call's: it was the last */
		disown(flow);
	if (flow->is_bypassed) { /* nobody is left to resume */
		flow_queue_resume(&flow->out[ALG_CLIENT]);
		flow_queue_resume(&flow->out[ALG_SERVER]);
	}
	flow->stats.replies[ALG_CLIENT] += flow->n_replies[ALG_CLIENT];
	flow->stats.replies[ALG_SERVER] += flow->n_replies[ALG_SERVER];
	for (unsigned i = 0; i < flow->n_commits; i++) {
		if (flow->commits[i].call != flow->call)
			continue;
		flow_queue_mark_commits(&flow->out[ALG_CLIENT], flow->call);
		flow_queue_mark_commits(&flow->out[ALG_SERVER], flow->call);
	}
	settle(flow);
}

/* Messages */

static struct span input_of(const struct flow *flow, enum alg_side from, size_t len)
{
	return (struct span){ flow->in[from].data + flow->in[from].start, len };
}

static void take_input(struct flow *flow, enum alg_side from, size_t n)
{
	struct flow_side *in = &flow->in[from];

	in->start += n;
	in->len -= n;
	in->wanted = 0;
	in->has_datagram = false;
	if (in->len == 0)
		in->start = 0;
}

static void tell_message(struct flow *flow, enum alg_side from, enum alg_verdict verdict, struct span original, struct span edited)
{
	if (flow->owner->message != NULL)
		flow->owner->message(flow->arg, from, verdict, original, edited);
}

/* Puts the message into the queue, with its edits. step() made sure that there is room. */
static void pass_message(struct flow *flow, enum alg_side from, enum alg_verdict verdict, size_t len)
{
	struct span original = input_of(flow, from, len), edited;
	size_t at = 0, new_len = len - flow->n_cut + flow->edit_text_len;
	char *out;

	flow->waits.is_held = verdict == ALG_HOLD;
	out = flow_queue_put(&flow->out[alg_other(from)], &flow->waits, new_len);
	assert(out != NULL);
	edited = (struct span){ out, new_len };
	for (unsigned i = 0; i < flow->n_edits; i++) {
		const struct flow_edit *e = &flow->edits[i];

		memcpy(out, original.ptr + at, e->offset - at);
		out += e->offset - at;
		memcpy(out, flow->edit_text + e->text_at, e->text_len);
		out += e->text_len;
		at = e->offset + e->len;
	}
	memcpy(out, original.ptr + at, len - at);
	flow->stats.messages[from]++;
	flow->stats.edited[from] += !span_eq(original, edited);
	tell_message(flow, from, verdict, original, edited);
	take_input(flow, from, len);
}

static void pass_unchanged(struct flow *flow, enum alg_side from, enum alg_verdict verdict, size_t len)
{
	flow->n_edits = 0;
	flow->n_cut = flow->edit_text_len = 0;
	pass_message(flow, from, verdict, len);
}

static void drop_message(struct flow *flow, enum alg_side from, enum alg_verdict verdict, size_t len)
{
	flow->stats.messages[from]++;
	flow->stats.dropped[from]++;
	tell_message(flow, from, verdict, input_of(flow, from, len), SPAN_NONE);
	take_input(flow, from, len);
}

/* Not judged yet: what the call said does not count, and the module is asked again after resume(). */
static void keep_message(struct flow *flow, enum alg_side from)
{
	unsay(flow);
	flow->in[from].is_waiting = true;
}

static void want_more(struct flow *flow, enum alg_side from, size_t len, size_t need)
{
	struct flow_side *in = &flow->in[from];
	size_t limit = flow->module->message_max;

	if (need == 0)
		need = 1;
	in->wanted = need > limit - len ? limit : len + need;
}

static const char *find_fault(const struct flow *flow, const struct alg_result *result)
{
	bool takes = result->verdict == ALG_PASS || result->verdict == ALG_DROP || result->verdict == ALG_HOLD;

	if ((unsigned)result->verdict >= VERDICTS)
		return "no such verdict";
	if (flow->tls == FLOW_TLS_ASKED && result->verdict != ALG_PASS && result->verdict != ALG_DROP)
		return "TLS cannot begin with this verdict";
	if (!takes)
		return NULL;
	if (result->consumed > flow->n_given)
		return "took more than it was given";
	if (result->consumed == 0 && flow->n_given > 0 && (result->verdict != ALG_HOLD || flow->module->is_datagram))
		return "took nothing of a message";
	if (flow->module->is_datagram && result->consumed != flow->n_given)
		return "took a part of a datagram";
	for (unsigned i = 0; result->verdict != ALG_DROP && result->consumed > 0 && i < flow->n_edits; i++)
		if (flow->edits[i].offset + flow->edits[i].len > result->consumed)
			return "an edit lies outside the message";
	return NULL;
}

/* The side has ended and nothing is left of what it sent: only a reset or a bypass makes a difference. */
static void judge_end(struct flow *flow, enum alg_side from, enum alg_verdict verdict)
{
	flow->in[from].is_end_told = true;
	flow->is_reset |= verdict == ALG_RESET;
	flow->is_bypassed |= verdict == ALG_BYPASS;
}

static void judge(struct flow *flow, enum alg_side from, const struct alg_result *result, bool is_last)
{
	size_t len = flow->n_given;

	if (len == 0) {
		judge_end(flow, from, result->verdict);
		return;
	}
	switch (result->verdict) {
	case ALG_NEED:
		if (is_last)
			pass_unchanged(flow, from, ALG_PASS, len);
		else
			want_more(flow, from, len, result->need);
		break;
	case ALG_HOLD:
		if (result->consumed == 0) {
			keep_message(flow, from);
			break;
		}
		pass_message(flow, from, ALG_HOLD, result->consumed);
		break;
	case ALG_PASS:
		pass_message(flow, from, result->verdict, result->consumed);
		break;
	case ALG_DROP:
		drop_message(flow, from, ALG_DROP, result->consumed);
		break;
	case ALG_BYPASS:
		pass_unchanged(flow, from, ALG_BYPASS, len);
		flow->is_bypassed = true;
		break;
	case ALG_RESET:
		drop_message(flow, from, ALG_RESET, len);
		flow->is_reset = true;
		break;
	}
}

/* What has come in clear behind the message that begins TLS would be taken for something that came protected. */
static void expect_tls(struct flow *flow, enum alg_side from, struct alg_result *result)
{
	flow->tls = FLOW_TLS_DUE;
	if (flow->in[from].len == result->consumed && flow->in[alg_other(from)].len == 0)
		return;
	note(flow, "sent in clear behind the beginning of TLS: ended");
	result->verdict = ALG_RESET;
}

static void ask_module(struct flow *flow, enum alg_side from, size_t len, bool is_end)
{
	struct span bytes = input_of(flow, from, len);
	bool is_last = is_end || flow->module->is_datagram || len == flow->module->message_max;
	struct alg_result result;
	const char *fault;

	begin_call(flow);
	flow->has_message = true;
	flow->message_to = alg_other(from);
	flow->n_given = len;
	result = flow->module->bytes(flow->state, from, (struct alg_bytes){ bytes.ptr, bytes.len }, is_end);
	fault = find_fault(flow, &result);
	if (fault != NULL)
		flow_blame(flow, fault);
	if (flow->fault == NULL && flow->tls == FLOW_TLS_ASKED)
		expect_tls(flow, from, &result);
	if (flow->fault == NULL)
		judge(flow, from, &result, is_last);
	end_call(flow);
}

/* Whether it is the protocol at all. True: go on with it now. */
static bool recognise(struct flow *flow, enum alg_side from, size_t len, bool is_end)
{
	struct span bytes = input_of(flow, from, len);
	bool is_last = is_end || flow->module->is_datagram || len == flow->module->message_max;
	enum alg_probe answer = flow->module->probe(from, (struct alg_bytes){ bytes.ptr, bytes.len });

	if (answer == ALG_YES) {
		flow->is_recognised = true;
	} else if (answer == ALG_MAYBE && !is_last) {
		want_more(flow, from, len, 1);
		return false;
	} else {
		flow->is_bypassed = true;
		note(flow, "another protocol: passed unseen");
	}
	return true;
}

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
	memcpy(at, input_of(flow, from, len).ptr, len);
	take_input(flow, from, len);
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
		begin_call(flow);
		pass_unchanged(flow, from, ALG_PASS, len);
		end_call(flow);
		return true;
	}
	if (!flow->is_recognised)
		return recognise(flow, from, len, is_end);
	ask_module(flow, from, len, is_end);
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
	begin_call(flow);
	flow->module->event(flow->state, event);
	end_call(flow);
}

void flow_event(struct flow *flow, const struct alg_event *event)
{
	tell_event(flow, event);
	if (event->type == ALG_EV_ENDED || event->type == ALG_EV_EXPIRED) {
		flow_forget_hole(flow, event->hole);
		settle(flow);
	}
	pump(flow);
}

enum alg_datum flow_datum(struct flow *flow, uint32_t hole, enum alg_side from, struct span bytes)
{
	enum alg_datum answer;

	if (flow->module->datum == NULL || flow->fault != NULL || flow->is_reset)
		return ALG_DATUM_MORE;
	begin_call(flow);
	answer = flow->module->datum(flow->state, hole, from, (struct alg_bytes){ bytes.ptr, bytes.len });
	end_call(flow);
	return answer;
}

void flow_committed(struct flow *flow, uint32_t hole, int result)
{
	uint32_t call = 0;

	if (!flow_take_commit(flow, hole, &call))
		return;
	if (result < 0) {
		note(flow, "a pinhole could not be opened");
		flow_event(flow, &(struct alg_event){ .type = ALG_EV_EXPIRED, .hole = hole });
	}
	if (call != 0) {
		flow_queue_commits_done(&flow->out[ALG_CLIENT], call);
		flow_queue_commits_done(&flow->out[ALG_SERVER], call);
	}
	settle(flow);
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
	begin_call(flow);
	module->open(flow->state, &flow->about, &flow_host, flow_session(flow));
	end_call(flow);
	*ret = flow;
	return 0;
}

void flow_free(struct flow *flow)
{
	if (flow == NULL)
		return;
	if (flow->module->close != NULL) {
		begin_call(flow);
		flow->module->close(flow->state);
		flow->is_inside = false;
	}
	free_memory(flow);
}
