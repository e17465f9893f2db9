/* What is done with a message: the module is asked, its answer checked, and octets go into the queue, edited or not, or nowhere. */
#include "algs/flow_inside.h"

#include <assert.h>

enum { VERDICTS = ALG_RESET + 1 };

struct span flow_input_of(const struct flow *flow, enum alg_side from, size_t len)
{
	return (struct span){ flow->in[from].data + flow->in[from].start, len };
}

void flow_input_take(struct flow *flow, enum alg_side from, size_t n)
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
	struct span original = flow_input_of(flow, from, len), edited;
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
	flow_input_take(flow, from, len);
}

void flow_message_pass(struct flow *flow, enum alg_side from, enum alg_verdict verdict, size_t len)
{
	flow->n_edits = 0;
	flow->n_cut = flow->edit_text_len = 0;
	pass_message(flow, from, verdict, len);
}

static void drop_message(struct flow *flow, enum alg_side from, enum alg_verdict verdict, size_t len)
{
	flow->stats.messages[from]++;
	flow->stats.dropped[from]++;
	tell_message(flow, from, verdict, flow_input_of(flow, from, len), SPAN_NONE);
	flow_input_take(flow, from, len);
}

/* Not judged yet: what the call said does not count, and the module is asked again after resume(). */
static void keep_message(struct flow *flow, enum alg_side from)
{
	flow_call_unsay(flow);
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
			flow_message_pass(flow, from, ALG_PASS, len);
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
		flow_message_pass(flow, from, ALG_BYPASS, len);
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
	flow_note(flow, "sent in clear behind the beginning of TLS: ended");
	result->verdict = ALG_RESET;
}

void flow_message_ask(struct flow *flow, enum alg_side from, size_t len, bool is_end)
{
	struct span bytes = flow_input_of(flow, from, len);
	bool is_last = is_end || flow->module->is_datagram || len == flow->module->message_max;
	struct alg_result result;
	const char *fault;

	flow_call_begin(flow);
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
	flow_call_end(flow);
}

bool flow_message_recognise(struct flow *flow, enum alg_side from, size_t len, bool is_end)
{
	struct span bytes = flow_input_of(flow, from, len);
	bool is_last = is_end || flow->module->is_datagram || len == flow->module->message_max;
	enum alg_probe answer = flow->module->probe(from, (struct alg_bytes){ bytes.ptr, bytes.len });

	if (answer == ALG_YES) {
		flow->is_recognised = true;
	} else if (answer == ALG_MAYBE && !is_last) {
		want_more(flow, from, len, 1);
		return false;
	} else {
		flow->is_bypassed = true;
		flow_note(flow, "another protocol: passed unseen");
	}
	return true;
}
