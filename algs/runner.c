/* Runs a transcript, pass after pass: every pass plays the same steps on a fresh flow, and what comes out must be
 * the same however the octets came in. */
#include "algs/runner.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "algs/runner_check.h"
#include "core/err.h"

enum { CUTS_ALL = 2048, CUTS_STRIDE = 97 /* from there on */ };

enum mode { AS_WRITTEN, LATE_COMMITS, OCTETS, JOINED, CUT };

struct backlog { /* what a side has sent and the flow has not taken yet */
	struct buf octets;
	size_t start;
	bool wants_end, has_ended;
};

struct pass {
	enum mode mode;
	size_t cut;
	struct flow *flow;
	struct runner_owner *owner;
	struct backlog backlog[ALG_SIDES];
	struct runner_seen seen;
	struct runner_report *report;
};

/* Octets in and out */

static void drain_side(struct pass *p, enum alg_side side)
{
	struct runner_got *got = &p->seen.got[side];
	bool is_datagram = p->seen.script->module->is_datagram;
	struct span out;

	while ((out = flow_output(p->flow, side)).ptr != NULL) {
		if (p->mode == OCTETS && !is_datagram && out.len > 1)
			out.len = 1;
		buf_put(&got->octets, out);
		if (is_datagram && got->n < RUNNER_DATAGRAMS_MAX)
			got->lens[got->n++] = out.len;
		flow_sent(p->flow, side, out.len);
	}
}

static void drain(struct pass *p)
{
	drain_side(p, ALG_CLIENT);
	drain_side(p, ALG_SERVER);
	if (flow_wants_tls(p->flow))
		flow_tls_begun(p->flow);
}

static bool feed(struct pass *p, enum alg_side side)
{
	struct backlog *b = &p->backlog[side];
	size_t n = b->octets.len - b->start, room = flow_room(p->flow, side);

	if (n > room)
		n = room;
	if (n > 1 && p->mode == OCTETS)
		n = 1;
	if (n > 0) {
		flow_input(p->flow, side, (struct span){ b->octets.data + b->start, n }, false);
		b->start += n;
	} else if (b->start == b->octets.len && b->wants_end && !b->has_ended) {
		b->has_ended = true;
		flow_input(p->flow, side, SPAN_NONE, true);
	} else {
		return false;
	}
	drain(p);
	return true;
}

static void feed_all(struct pass *p)
{
	bool has_moved = true;

	drain(p);
	while (has_moved) {
		has_moved = feed(p, ALG_CLIENT);
		has_moved |= feed(p, ALG_SERVER);
	}
	for (unsigned side = 0; side < ALG_SIDES; side++) {
		struct backlog *b = &p->backlog[side];

		if (b->start == b->octets.len)
			b->start = b->octets.len = 0;
	}
}

static void send_octets(struct pass *p, enum alg_side side, struct span octets)
{
	if (octets.len == 0)
		return;
	buf_put(&p->backlog[side].octets, octets);
	feed_all(p);
}

static int send_message(struct pass *p, const struct runner_step *step)
{
	if (p->seen.script->module->is_datagram) {
		if (flow_room(p->flow, step->side) < step->bytes.len || flow_input(p->flow, step->side, step->bytes, false) < 0)
			return runner_fail(p->report, step->line, "this datagram was not taken");
		drain(p);
	} else if (p->mode == CUT) {
		send_octets(p, step->side, span_sub(step->bytes, 0, p->cut));
		send_octets(p, step->side, span_sub(step->bytes, p->cut, step->bytes.len));
	} else if (p->mode == JOINED) {
		buf_put(&p->backlog[step->side].octets, step->bytes); /* goes with the last one of its group */
	} else {
		send_octets(p, step->side, step->bytes);
	}
	if (p->backlog[step->side].octets.is_full)
		return runner_fail(p->report, step->line, "too much that is not taken");
	return 0;
}

/* What happens */

static const char *ended(struct pass *p, const struct runner_step *step)
{
	struct span args = step->args, word = runner_word(&args);
	uint32_t octets[ALG_SIDES] = { 0 };

	if (word.len > 0 && (!span_eq(word, SPAN_LIT("bytes")) || span_to_u32(runner_word(&args), UINT32_MAX, &octets[0]) < 0 ||
			     span_to_u32(runner_word(&args), UINT32_MAX, &octets[1]) < 0))
		return "`ended N bytes C S` is wanted";
	return runner_owner_ended(p->owner, step->n, (uint64_t[]){ octets[0], octets[1] });
}

static const char *limit(struct pass *p, const struct runner_step *step)
{
	char reason[64];

	snprintf(reason, sizeof(reason), "%.*s", SPAN_ARG(step->args));
	return runner_owner_limit(p->owner, step->n, reason);
}

static const char *datum(struct pass *p, const struct runner_step *step)
{
	static const char *const names[] = { [ALG_DATUM_MORE] = "more", [ALG_DATUM_LAST] = "last", [ALG_DATUM_STRAY] = "stray" };
	enum alg_datum answer = flow_datum(p->flow, step->n, step->side, step->bytes);

	return span_eq(step->args, span_of(names[answer])) ? NULL : "the module takes this datum for something else";
}

static const char *outside(struct pass *p, const struct runner_step *step)
{
	switch (step->kind) {
	case RUNNER_OPENED:
		return runner_owner_opened(p->owner, step->n);
	case RUNNER_ENDED:
		return ended(p, step);
	case RUNNER_EXPIRED:
		return runner_owner_expired(p->owner, step->n);
	case RUNNER_LIMIT:
		return limit(p, step);
	case RUNNER_COMMITTED:
		return runner_owner_committed(p->owner, step->n, span_eq(step->args, SPAN_LIT("failed")) ? ERR_LIMIT : 0);
	case RUNNER_TIMER:
		return runner_owner_timer(p->owner, step->n);
	case RUNNER_SLEEP:
		runner_owner_sleep(p->owner, step->n);
		return NULL;
	case RUNNER_DATUM:
		return datum(p, step);
	case RUNNER_END:
		p->backlog[step->side].wants_end = true;
		return NULL;
	default:
		return "nothing that happens";
	}
}

static int play(struct pass *p, const struct runner_step *step)
{
	const char *fault;

	if (step->kind == RUNNER_SEND)
		return send_message(p, step);
	fault = outside(p, step);
	if (fault != NULL)
		return runner_fail(p->report, step->line, "%s", fault);
	return 0;
}

/* Everything that the last step has set in motion. */
static void come_to_rest(struct pass *p)
{
	feed_all(p);
	while (p->mode == LATE_COMMITS && p->owner->n_late > 0) {
		runner_owner_committed(p->owner, p->owner->late[0], 0);
		feed_all(p);
	}
}

/* Passes */

/* The last step that is played before anything is looked at. */
static unsigned end_of_group(const struct pass *p, unsigned at)
{
	const struct runner_script *s = p->seen.script;
	unsigned end = at;

	if (p->mode != JOINED || s->steps[at].kind != RUNNER_SEND)
		return at;
	for (unsigned i = at + 1; i < s->n_steps; i++) {
		if (runner_is_expectation(&s->steps[i]))
			continue;
		if (s->steps[i].kind != RUNNER_SEND || s->steps[i].side != s->steps[at].side)
			break;
		end = i;
	}
	return end;
}

static unsigned end_of_expectations(const struct runner_script *s, unsigned at)
{
	while (at < s->n_steps && runner_is_expectation(&s->steps[at]))
		at++;
	return at;
}

static int play_group(struct pass *p, unsigned at, unsigned end)
{
	const struct runner_script *s = p->seen.script;
	int ret = 0;

	for (unsigned i = at; ret == 0 && i <= end; i++)
		if (!runner_is_expectation(&s->steps[i]))
			ret = play(p, &s->steps[i]);
	if (ret < 0)
		return ret;
	come_to_rest(p);
	p->seen.from = at;
	p->seen.state_from = end;
	p->seen.to = end_of_expectations(s, end + 1);
	ret = runner_check(&p->seen, p->report);
	for (unsigned side = 0; side < ALG_SIDES; side++) {
		p->seen.got[side].octets.len = 0;
		p->seen.got[side].n = 0;
	}
	return ret;
}

static int check_end(struct pass *p)
{
	const struct runner_script *s = p->seen.script;

	for (unsigned side = 0; side < ALG_SIDES; side++)
		if (p->backlog[side].octets.len > 0 && !flow_is_reset(p->flow))
			return runner_fail(p->report, s->steps[s->n_steps - 1].line, "%zu octets of the %s were never taken",
					   p->backlog[side].octets.len - p->backlog[side].start,
					   side == ALG_CLIENT ? "client" : "server");
	return 0;
}

static int play_all(struct pass *p)
{
	const struct runner_script *s = p->seen.script;
	unsigned at = 0;
	int ret = 0;

	if (runner_is_expectation(&s->steps[0]))
		return runner_fail(p->report, s->steps[0].line, "nothing has happened yet");
	while (ret == 0 && at < s->n_steps) {
		ret = play_group(p, at, end_of_group(p, at));
		at = p->seen.to;
	}
	return ret < 0 ? ret : check_end(p);
}

static void name_pass(struct pass *p)
{
	static const char *const names[] = { "as written", "late commits", "octet by octet", "joined" };

	if (p->mode == CUT)
		snprintf(p->report->pass, sizeof(p->report->pass), "cut at %zu", p->cut);
	else
		snprintf(p->report->pass, sizeof(p->report->pass), "%s", names[p->mode]);
}

static int run_pass(struct pass *p, enum mode mode, size_t cut)
{
	const struct runner_script *s = p->seen.script;
	int ret;

	p->mode = mode;
	p->cut = cut;
	name_pass(p);
	for (unsigned side = 0; side < ALG_SIDES; side++) {
		p->backlog[side] = (struct backlog){ .octets = buf_of(p->backlog[side].octets.data, RUNNER_TEXT_MAX) };
		p->seen.got[side].octets = buf_of(p->seen.got[side].octets.data, RUNNER_TEXT_MAX);
		p->seen.got[side].n = 0;
	}
	p->owner = calloc(1, sizeof(*p->owner));
	if (p->owner == NULL)
		return -ENOMEM;
	p->owner->script = s;
	p->owner->now_ms = 1000;
	p->owner->next_port = s->port;
	p->owner->is_late = s->is_late || mode == LATE_COMMITS;
	ret = flow_new(s->module, &s->about, &runner_flow_owner, p->owner, &p->flow);
	if (ret == 0) {
		p->owner->flow = p->flow;
		p->seen.owner = p->owner;
		p->seen.flow = p->flow;
		ret = play_all(p);
		p->report->n_passes++;
		flow_free(p->flow);
	} else {
		runner_fail(p->report, 0, "the module cannot be run: %s", err_str(ret));
	}
	free(p->owner);
	return ret;
}

static size_t longest_message(const struct runner_script *s)
{
	size_t longest = 0;

	for (unsigned i = 0; i < s->n_steps; i++)
		if (s->steps[i].kind == RUNNER_SEND && s->steps[i].bytes.len > longest)
			longest = s->steps[i].bytes.len;
	return longest;
}

static int run_passes(struct pass *p)
{
	size_t longest = longest_message(p->seen.script);
	int ret = run_pass(p, AS_WRITTEN, 0);

	if (ret == 0 && !p->seen.script->is_late)
		ret = run_pass(p, LATE_COMMITS, 0);
	if (p->seen.script->module->is_datagram)
		return ret;
	for (unsigned mode = OCTETS; ret == 0 && mode <= JOINED; mode++)
		ret = run_pass(p, (enum mode)mode, 0);
	for (size_t cut = 1; ret == 0 && cut < longest; cut += cut < CUTS_ALL ? 1 : CUTS_STRIDE)
		ret = run_pass(p, CUT, cut);
	return ret;
}

int runner_run(const struct alg_module *module, struct span transcript, struct runner_report *ret)
{
	struct runner_script *script = NULL;
	struct pass *p = NULL;
	char *octets = NULL;
	int result;

	*ret = (struct runner_report){ 0 };
	result = runner_script_new(module, transcript, ret, &script);
	if (result < 0)
		return result;
	p = calloc(1, sizeof(*p));
	octets = malloc(2 * ALG_SIDES * (size_t)RUNNER_TEXT_MAX); /* untouched as far as it is not needed */
	if (p == NULL || octets == NULL) {
		result = -ENOMEM;
		goto out;
	}
	p->seen.script = script;
	p->report = ret;
	for (unsigned side = 0; side < ALG_SIDES; side++) {
		p->backlog[side].octets.data = octets + 2 * side * (size_t)RUNNER_TEXT_MAX;
		p->seen.got[side].octets.data = octets + (2 * side + 1) * (size_t)RUNNER_TEXT_MAX;
	}
	result = run_passes(p);
	if (result == 0)
		ret->pass[0] = '\0';
out:
	free(p);
	free(octets);
	runner_script_free(script);
	return result;
}
