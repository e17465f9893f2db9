/* Calls of the module. Each has a number; whatever the module sends in it carries that number, and leaves when the pinholes that it
 * armed in the same call are there. */
#include "algs/flow_inside.h"

#include <assert.h>
#include <stdio.h>

void flow_settle(struct flow *flow)
{
	flow_queue_settle(&flow->out[ALG_CLIENT]);
	flow_queue_settle(&flow->out[ALG_SERVER]);
}

void flow_note(struct flow *flow, const char *what)
{
	char text[200];

	snprintf(text, sizeof(text), "%s: %s", flow->module->name, what);
	flow->owner->note(flow->arg, NULL, span_of(text));
}

static uint64_t spent_us(const struct flow *flow)
{
	return flow->owner->spent_us != NULL ? flow->owner->spent_us(flow->arg) : 0;
}

void flow_call_begin(struct flow *flow)
{
	assert(!flow->is_inside);
	flow->call_since_us = spent_us(flow);
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

void flow_call_unsay(struct flow *flow)
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
	flow_call_unsay(flow);
	flow_queue_release(&flow->out[ALG_CLIENT]);
	flow_queue_release(&flow->out[ALG_SERVER]);
	flow->n_commits = 0;
	while (flow->n_holes > 0)
		flow->owner->hole_free(flow->arg, flow->holes[--flow->n_holes].hole);
	flow_note(flow, text);
}

/* Nobody else is served meanwhile, and it may be what a peer is after (an expression of a rule that backtracks). One call may be slow, where
 * the machine itself was held up; those that follow make up for it. Else the session ends: if it passed unseen instead, this would be a
 * way round the rules. */
static void check_time(struct flow *flow)
{
	char text[80];
	uint64_t us = flow->owed_us + spent_us(flow) - flow->call_since_us;

	flow->owed_us = us > FLOW_CALL_US ? us - FLOW_CALL_US : 0;
	if (flow->owed_us <= FLOW_OWED_US || flow->is_reset)
		return;
	snprintf(text, sizeof(text), "took %llu ms of processor time too much: ended", (unsigned long long)(flow->owed_us / 1000));
	flow_note(flow, text);
	flow->is_reset = true;
}

void flow_call_end(struct flow *flow)
{
	flow->is_inside = flow->has_message = false;
	check_time(flow);
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
	flow_settle(flow);
}
