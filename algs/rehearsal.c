/* See rehearsal.h. The configuration is put in front of the transcript as settings of its own language, so the
 * transcript may still say otherwise; the flow's owner is the runner's, with a look at everything that is of
 * interest. Lines that expect something are passed over. */
#include "algs/rehearsal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "algs/alg_addr.h"
#include "algs/host.h"
#include "algs/rehearsal_settings.h"
#include "algs/runner_owner.h"
#include "core/err.h"

enum { SETTINGS_SIZE = 1024 };

struct run {
	struct runner_owner owner; /* first: what the flow calls its owner */
	struct arena *arena;
	const struct alg_conf *alg;
	struct rehearsal *ret;
	struct flow *flow;
	unsigned line, n_settings; /* at hand; in front of the transcript */
	struct rehearsal_step *step;
};

/* The owner's part, looked at */

static const char *keep(struct run *run, struct alg_bytes bytes)
{
	return arena_strdup(run->arena, (struct span){ bytes.ptr, bytes.len });
}

static unsigned line_of(const struct run *run)
{
	return run->line > run->n_settings ? run->line - run->n_settings : 0;
}

static int look_reserve(void *arg, const struct alg_want *want, uint32_t *ret_hole)
{
	struct run *run = arg;
	int result = runner_flow_owner.hole_reserve(arg, want, ret_hole);

	if (result == 0 && *ret_hole <= REHEARSAL_LIST_MAX)
		run->ret->holes[*ret_hole - 1].line = line_of(run);
	return result;
}

static int look_public(void *arg, uint32_t hole, enum alg_side reader, struct alg_addr *ret, uint16_t *ret_rtcp)
{
	struct run *run = arg;
	int result = runner_flow_owner.hole_public(arg, hole, reader, ret, ret_rtcp);

	if (result == 0 && hole <= REHEARSAL_LIST_MAX)
		run->ret->holes[hole - 1].public[reader] = alg_addr_in(ret);
	return result;
}

/* How often that verb was asked for so far: all of it happens within a minute. */
static uint32_t count_of(const struct run *run, const char *verb)
{
	uint32_t n = 1;

	for (unsigned i = 0; i < run->ret->n_decisions; i++)
		n += strcmp(run->ret->decisions[i].verb, verb) == 0;
	return n;
}

static struct policy_question question_of(const struct run *run, const struct alg_question *question,
					  const struct rehearsal_decision *d)
{
	return (struct policy_question){
		.verb = span_of(d->verb),
		.class = span_of(d->class),
		.target = span_of(d->target),
		.user = span_of(d->user),
		.transport = span_of(d->transport),
		.mime = { question->mime.ptr, question->mime.len },
		.client = run->owner.script->client[0],
		.server = run->owner.script->server,
		.direction = (enum policy_direction)question->direction,
		.has_size = question->has_size,
		.size = question->size,
		.minute_count = count_of(run, d->verb),
	};
}

static void look_policy(void *arg, const struct alg_question *question, struct alg_answer *ret)
{
	struct run *run = arg;
	struct rehearsal_decision d = {
		.line = line_of(run), .verb = keep(run, question->verb), .target = keep(run, question->target),
		.user = keep(run, question->user), .transport = keep(run, question->transport),
		.direction = question->direction,
	};
	const struct policy *own = run->owner.script->policy, *policy = own != NULL ? own : run->alg->policy;
	struct policy_question asked;

	*ret = (struct alg_answer){ .is_allowed = false };
	if (arena_is_exhausted(run->arena))
		return;
	d.class = alg_verb_class(run->owner.script->module, span_of(d.verb));
	asked = question_of(run, question, &d);
	policy_explain(policy, &asked, &d.verdict);
	ret->is_allowed = d.verdict.is_allowed;
	ret->code = d.verdict.code;
	snprintf(ret->text, sizeof(ret->text), "%s", d.verdict.text);
	if (!question->is_trial && run->ret->n_decisions < REHEARSAL_LIST_MAX)
		run->ret->decisions[run->ret->n_decisions++] = d;
}

static void look_transfer(void *arg, const struct alg_transfer *t)
{
	struct run *run = arg;

	runner_flow_owner.transfer(arg, t);
	if (run->ret->n_transfers == REHEARSAL_LIST_MAX)
		return;
	run->ret->transfers[run->ret->n_transfers++] = (struct rehearsal_transfer){
		line_of(run), keep(run, t->user), keep(run, t->verb), keep(run, t->path), t->direction, t->code,
		t->is_ok,
	};
}

static void look_note(void *arg, const char *rule, struct span text)
{
	struct run *run = arg;

	if (run->ret->n_notes == REHEARSAL_LIST_MAX)
		return;
	run->ret->notes[run->ret->n_notes++] = (struct rehearsal_note){
		line_of(run), rule != NULL ? arena_strdup(run->arena, span_of(rule)) : NULL,
		arena_strdup(run->arena, text),
	};
}

static const char *verdict_text(enum alg_verdict verdict, bool is_same)
{
	switch (verdict) {
	case ALG_DROP:
		return "drop";
	case ALG_HOLD:
		return "hold";
	case ALG_BYPASS:
		return "bypass";
	case ALG_RESET:
		return "reset";
	default:
		return is_same ? "pass" : "edit";
	}
}

static void look_message(void *arg, enum alg_side from, enum alg_verdict verdict, struct span original,
			 struct span edited)
{
	struct run *run = arg;
	struct rehearsal_step *step = run->step;
	struct rehearsal_message *grown;

	if (step == NULL)
		return;
	grown = arena_alloc(run->arena, (step->n_messages + 1) * sizeof(*grown));
	if (grown == NULL)
		return;
	if (step->n_messages > 0)
		memcpy(grown, step->messages, step->n_messages * sizeof(*grown));
	grown[step->n_messages++] = (struct rehearsal_message){
		from, verdict_text(verdict, span_eq(original, edited)), arena_dup(run->arena, original),
		edited.ptr != NULL ? arena_dup(run->arena, edited) : SPAN_NONE,
	};
	step->messages = grown;
}

/* Steps */

static int append(struct run *run, struct span *text, struct span more)
{
	char *joined = arena_alloc_raw(run->arena, text->len + more.len);

	if (joined == NULL)
		return ERR_LIMIT;
	if (text->len > 0)
		memcpy(joined, text->ptr, text->len);
	if (more.len > 0)
		memcpy(joined + text->len, more.ptr, more.len);
	*text = (struct span){ joined, text->len + more.len };
	return 0;
}

static int drain(struct run *run)
{
	int err = 0;

	for (unsigned side = 0; side < ALG_SIDES; side++)
		for (struct span out; err == 0 && (out = flow_output(run->flow, side)).ptr != NULL;) {
			err = append(run, &run->step->out[side], out);
			flow_sent(run->flow, side, out.len);
		}
	if (err == 0 && flow_wants_tls(run->flow)) {
		flow_tls_begun(run->flow);
		look_note(run, NULL, SPAN_LIT("TLS begins"));
	}
	return err;
}

static int fail(struct run *run, const char *text)
{
	run->ret->fault_line = line_of(run);
	snprintf(run->ret->fault, sizeof(run->ret->fault), "%s", text);
	return ERR_STATE;
}

static int send_octets(struct run *run, enum alg_side side, struct span octets)
{
	bool is_datagram = run->owner.script->module->is_datagram;
	int err = 0;

	do {
		size_t room = flow_room(run->flow, side), n = octets.len < room ? octets.len : room;

		if (flow_is_reset(run->flow))
			return fail(run, "the session has ended before");
		if (n < octets.len && (n == 0 || is_datagram))
			return fail(run, "this is not taken: too much is held back");
		(void)flow_input(run->flow, side, span_sub(octets, 0, n), false);
		octets = span_sub(octets, n, octets.len);
		err = drain(run);
	} while (err == 0 && octets.len > 0);
	return err;
}

static const char *ended(struct run *run, const struct runner_step *step)
{
	struct span args = step->args;
	uint32_t octets[ALG_SIDES] = { 0 };

	if (span_eq(runner_word(&args), SPAN_LIT("bytes")) &&
	    (span_to_u32(runner_word(&args), UINT32_MAX, &octets[0]) < 0 ||
	     span_to_u32(runner_word(&args), UINT32_MAX, &octets[1]) < 0))
		return "`ended N bytes C S` is wanted";
	return runner_owner_ended(&run->owner, step->n, (uint64_t[]){ octets[0], octets[1] });
}

/* What comes from outside of the two channels. NULL, or why it cannot be. */
static const char *happen(struct run *run, const struct runner_step *step)
{
	switch (step->kind) {
	case RUNNER_OPENED:
		return runner_owner_opened(&run->owner, step->n);
	case RUNNER_ENDED:
		return ended(run, step);
	case RUNNER_EXPIRED:
		return runner_owner_expired(&run->owner, step->n);
	case RUNNER_LIMIT:
		return runner_owner_limit(&run->owner, step->n, arena_strdup(run->arena, step->args));
	case RUNNER_COMMITTED:
		return runner_owner_committed(&run->owner, step->n,
					      span_eq(step->args, SPAN_LIT("failed")) ? ERR_LIMIT : 0);
	case RUNNER_TIMER:
		return runner_owner_timer(&run->owner, step->n);
	case RUNNER_SLEEP:
		runner_owner_sleep(&run->owner, step->n);
		return NULL;
	case RUNNER_DATUM:
		(void)flow_datum(run->flow, step->n, step->side, step->bytes);
		return NULL;
	default:
		(void)flow_input(run->flow, step->side, SPAN_NONE, true); /* RUNNER_END; a second end changes nothing */
		return NULL;
	}
}

static const char *what_of(enum runner_kind kind)
{
	static const char *const texts[] = {
		[RUNNER_SEND] = "send", [RUNNER_END] = "end", [RUNNER_OPENED] = "opened", [RUNNER_ENDED] = "ended",
		[RUNNER_EXPIRED] = "expired", [RUNNER_LIMIT] = "limit", [RUNNER_COMMITTED] = "committed",
		[RUNNER_TIMER] = "timer", [RUNNER_SLEEP] = "sleep", [RUNNER_DATUM] = "datum",
	};

	return texts[kind];
}

static int play(struct run *run, const struct runner_step *step)
{
	const char *fault;
	int err;

	if (run->ret->n_steps == REHEARSAL_STEPS_MAX)
		return fail(run, "there are too many lines");
	run->step = &run->ret->steps[run->ret->n_steps++];
	*run->step = (struct rehearsal_step){ line_of(run), what_of(step->kind), step->side,
					      .sent = arena_dup(run->arena, step->bytes) };
	if (step->kind == RUNNER_SEND)
		return send_octets(run, step->side, step->bytes);
	fault = happen(run, step);
	err = drain(run);
	return fault != NULL ? fail(run, fault) : err;
}

/* The end */

static void view_hole(struct run *run, unsigned i)
{
	static const char *const kinds[] = {
		[ALG_HOLE_TCP] = "tcp", [ALG_HOLE_UDP] = "udp", [ALG_HOLE_MEDIA] = "media",
	};
	static const char *const states[] = {
		[RUNNER_IS_RESERVED] = "reserved", [RUNNER_IS_ARMED] = "armed", [RUNNER_IS_OPENED] = "bound",
		[RUNNER_IS_ENDED] = "closed", [RUNNER_IS_EXPIRED] = "closed", [RUNNER_IS_FREED] = "closed",
	};
	const struct runner_hole *hole = &run->owner.holes[i];
	const struct alg_class *class = &run->owner.script->module->classes[hole->want.class];
	struct rehearsal_hole *view = &run->ret->holes[i];

	view->class = class->name;
	view->kind = kinds[class->kind];
	view->state = states[hole->state];
	view->listener = hole->want.listener;
	if (class->kind != ALG_HOLE_MEDIA)
		view->at = alg_addr_in(&hole->want.at);
}

static void view_end(struct run *run)
{
	const struct runner_script *script = run->owner.script;
	struct rehearsal *ret = run->ret;

	ret->client = script->client[0];
	ret->server = script->server;
	ret->client_sees = alg_addr_in(&script->about[0].client_sees);
	ret->server_sees = alg_addr_in(&script->about[0].server_sees);
	ret->n_holes = run->owner.n_holes < REHEARSAL_LIST_MAX ? run->owner.n_holes : REHEARSAL_LIST_MAX;
	for (unsigned i = 0; i < ret->n_holes; i++)
		view_hole(run, i);
	ret->is_bypassed = flow_is_bypassed(run->flow);
	ret->is_reset = flow_is_reset(run->flow);
	ret->is_ending = run->owner.is_ending;
}

static int run_script(struct run *run, const struct runner_script *script)
{
	struct flow_owner owner = runner_flow_owner;
	int err;

	owner.hole_reserve = look_reserve;
	owner.hole_public = look_public;
	owner.policy = look_policy;
	owner.transfer = look_transfer;
	owner.note = look_note;
	owner.message = look_message;
	run->owner.script = script;
	run->owner.now_ms = 1000; /* as long as it is not 0 */
	run->owner.next_port = script->port;
	run->owner.is_late = script->is_late;
	err = flow_new(script->module, &script->about[0], &owner, &run->owner, &run->flow);
	if (err < 0)
		return err;
	run->owner.flow = run->flow;
	if (flow_wants_tls(run->flow))
		flow_tls_begun(run->flow);
	for (unsigned i = 0; err == 0 && i < script->n_steps; i++) {
		run->line = script->steps[i].line;
		if (!runner_is_expectation(&script->steps[i]))
			err = play(run, &script->steps[i]);
	}
	view_end(run);
	run->step = NULL; /* what is said from here on is the end of a rehearsal, not of a session */
	flow_free(run->flow);
	return err;
}

static bool make_lists(struct rehearsal *ret, struct arena *arena)
{
	ret->steps = arena_alloc(arena, REHEARSAL_STEPS_MAX * sizeof(*ret->steps));
	ret->decisions = arena_alloc(arena, REHEARSAL_LIST_MAX * sizeof(*ret->decisions));
	ret->holes = arena_alloc(arena, REHEARSAL_LIST_MAX * sizeof(*ret->holes));
	ret->notes = arena_alloc(arena, REHEARSAL_LIST_MAX * sizeof(*ret->notes));
	ret->transfers = arena_alloc(arena, REHEARSAL_LIST_MAX * sizeof(*ret->transfers));
	return !arena_is_exhausted(arena);
}

static unsigned count_lines(struct span text)
{
	unsigned n = 0;

	for (size_t i = 0; i < text.len; i++)
		n += text.ptr[i] == '\n';
	return n;
}

/* The transcript behind its settings. */
static int read_script(struct run *run, const struct rehearsal_ask *ask, struct runner_script **ret)
{
	size_t size = SETTINGS_SIZE + ask->transcript.len;
	struct buf b = buf_of(arena_alloc_raw(run->arena, size), size);
	struct runner_report report = { 0 };
	int err = b.data != NULL ? rehearsal_settings(&b, ask) : ERR_LIMIT;

	if (err < 0)
		return err;
	run->n_settings = count_lines(buf_span(&b));
	buf_put(&b, ask->transcript);
	err = b.is_full ? ERR_LIMIT : runner_script_new(ask->module, buf_span(&b), &report, ret);
	if (err == 0 && (*ret)->n_channels > 1)
		return fail(run, "a rehearsal has one channel only");
	if (err == ERR_PARSE) {
		run->line = report.line;
		(void)fail(run, report.text);
	}
	return err;
}

int rehearse(const struct rehearsal_ask *ask, struct arena *arena, struct rehearsal *ret)
{
	struct run *run = calloc(1, sizeof(*run));
	struct runner_script *script = NULL;
	int err = ERR_LIMIT;

	if (run == NULL)
		return -ENOMEM;
	*ret = (struct rehearsal){ 0 };
	run->arena = arena;
	run->alg = ask->alg;
	run->ret = ret;
	if (make_lists(ret, arena))
		err = read_script(run, ask, &script);
	if (err == 0)
		err = run_script(run, script);
	if (err == 0 && arena_is_exhausted(arena))
		err = ERR_LIMIT;
	runner_script_free(script);
	free(run);
	return err;
}
