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
	struct runner_owner *owners[RUNNER_CHANNELS];
	struct backlog backlog[RUNNER_CHANNELS][ALG_SIDES];
	struct runner_seen seen;
	struct runner_report *report;
};

/* Octets in and out */

static void drain_side(struct pass *p, unsigned channel, enum alg_side side)
{
	struct runner_got *got = &p->seen.got[channel][side];
	struct joint *joint = &p->owners[channel]->joint;
	bool is_datagram = p->seen.script->module->is_datagram;
	struct span out;

	while ((out = joint_output(joint, side)).ptr != NULL) {
		if (p->mode == OCTETS && !is_datagram && out.len > 1)
			out.len = 1;
		buf_put(&got->octets, out);
		if (is_datagram && got->n < RUNNER_DATAGRAMS_MAX)
			got->lens[got->n++] = out.len;
		joint_sent(joint, side, out.len);
	}
}

static void drain(struct pass *p)
{
	bool has_moved = true;

	while (has_moved) {
		has_moved = false;
		for (unsigned channel = 0; channel < p->seen.script->n_channels; channel++) {
			drain_side(p, channel, ALG_CLIENT);
			drain_side(p, channel, ALG_SERVER);
			has_moved |= joint_move(&p->owners[channel]->joint);
			if (flow_wants_tls(p->owners[channel]->flow))
				flow_tls_begun(p->owners[channel]->flow);
		}
	}
}

static bool feed(struct pass *p, unsigned channel, enum alg_side side)
{
	struct backlog *b = &p->backlog[channel][side];
	struct joint *joint = &p->owners[channel]->joint;
	size_t n = b->octets.len - b->start, room = joint_room(joint, side);

	if (n > room)
		n = room;
	if (n > 1 && p->mode == OCTETS)
		n = 1;
	if (n > 0) {
		joint_input(joint, side, (struct span){ b->octets.data + b->start, n }, false);
		b->start += n;
	} else if (b->start == b->octets.len && b->wants_end && !b->has_ended) {
		b->has_ended = true;
		joint_input(joint, side, SPAN_NONE, true);
	} else {
		return false;
	}
	drain(p);
	return true;
}

static void feed_all(struct pass *p)
{
	unsigned n = p->seen.script->n_channels * ALG_SIDES;
	bool has_moved = true;

	drain(p);
	while (has_moved) {
		has_moved = false;
		for (unsigned i = 0; i < n; i++)
			has_moved |= feed(p, i / ALG_SIDES, i % ALG_SIDES == 0 ? ALG_CLIENT : ALG_SERVER);
	}
	for (unsigned i = 0; i < n; i++) {
		struct backlog *b = &p->backlog[i / ALG_SIDES][i % ALG_SIDES];

		if (b->start == b->octets.len)
			b->start = b->octets.len = 0;
	}
}

static void send_octets(struct pass *p, const struct runner_step *step, struct span octets)
{
	if (octets.len == 0)
		return;
	buf_put(&p->backlog[step->channel][step->side].octets, octets);
	feed_all(p);
}

static int send_message(struct pass *p, const struct runner_step *step)
{
	struct backlog *backlog = &p->backlog[step->channel][step->side];
	struct flow *flow = p->owners[step->channel]->flow;

	if (p->seen.script->module->is_datagram) {
		if (flow_room(flow, step->side) < step->bytes.len || flow_input(flow, step->side, step->bytes, false) < 0)
			return runner_fail(p->report, step->line, "this datagram was not taken");
		drain(p);
	} else if (p->mode == CUT) {
		send_octets(p, step, span_sub(step->bytes, 0, p->cut));
		send_octets(p, step, span_sub(step->bytes, p->cut, step->bytes.len));
	} else if (p->mode == JOINED) {
		buf_put(&backlog->octets, step->bytes); /* goes with the last one of its group */
	} else {
		send_octets(p, step, step->bytes);
	}
	if (backlog->octets.is_full)
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
	return runner_owner_ended(p->owners[step->channel], step->n, (uint64_t[]){ octets[0], octets[1] });
}

static const char *limit(struct pass *p, const struct runner_step *step)
{
	char reason[64];

	snprintf(reason, sizeof(reason), "%.*s", SPAN_ARG(step->args));
	return runner_owner_limit(p->owners[step->channel], step->n, reason);
}

static const char *datum(struct pass *p, const struct runner_step *step)
{
	static const char *const names[] = { [ALG_DATUM_MORE] = "more", [ALG_DATUM_LAST] = "last", [ALG_DATUM_STRAY] = "stray" };
	enum alg_datum answer = flow_datum(p->owners[step->channel]->joint.flow, step->n, step->side, step->bytes);

	return span_eq(step->args, span_of(names[answer])) ? NULL : "the module takes this datum for something else";
}

static const char *outside(struct pass *p, const struct runner_step *step)
{
	struct runner_owner *owner = p->owners[step->channel];

	switch (step->kind) {
	case RUNNER_OPENED:
		return runner_owner_opened(owner, step->n);
	case RUNNER_ENDED:
		return ended(p, step);
	case RUNNER_EXPIRED:
		return runner_owner_expired(owner, step->n);
	case RUNNER_LIMIT:
		return limit(p, step);
	case RUNNER_COMMITTED:
		return runner_owner_committed(owner, step->n, span_eq(step->args, SPAN_LIT("failed")) ? ERR_LIMIT : 0);
	case RUNNER_TIMER:
		return runner_owner_timer(owner, step->n);
	case RUNNER_SLEEP:
		for (unsigned i = 0; i < p->seen.script->n_channels; i++)
			runner_owner_sleep(p->owners[i], step->n);
		return NULL;
	case RUNNER_DATUM:
		return datum(p, step);
	case RUNNER_END:
		p->backlog[step->channel][step->side].wants_end = true;
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
	for (unsigned i = 0; p->mode == LATE_COMMITS && i < p->seen.script->n_channels; i++) {
		while (p->owners[i]->n_late > 0) {
			runner_owner_committed(p->owners[i], p->owners[i]->late[0], 0);
			feed_all(p);
		}
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
		if (s->steps[i].kind != RUNNER_SEND || s->steps[i].side != s->steps[at].side ||
		    s->steps[i].channel != s->steps[at].channel)
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
	for (unsigned i = 0; i < RUNNER_CHANNELS * ALG_SIDES; i++) {
		p->seen.got[i / ALG_SIDES][i % ALG_SIDES].octets.len = 0;
		p->seen.got[i / ALG_SIDES][i % ALG_SIDES].n = 0;
	}
	return ret;
}

static int check_end(struct pass *p)
{
	const struct runner_script *s = p->seen.script;

	for (unsigned i = 0; i < s->n_channels * ALG_SIDES; i++) {
		const struct backlog *b = &p->backlog[i / ALG_SIDES][i % ALG_SIDES];

		if (b->octets.len > 0 && !runner_owner_is_over(p->owners[i / ALG_SIDES]))
			return runner_fail(p->report, s->steps[s->n_steps - 1].line, "%zu octets of the %s were never taken",
					   b->octets.len - b->start, i % ALG_SIDES == 0 ? "client" : "server");
	}
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

static void clear(struct pass *p)
{
	for (unsigned i = 0; i < RUNNER_CHANNELS * ALG_SIDES; i++) {
		struct backlog *b = &p->backlog[i / ALG_SIDES][i % ALG_SIDES];
		struct runner_got *got = &p->seen.got[i / ALG_SIDES][i % ALG_SIDES];

		*b = (struct backlog){ .octets = buf_of(b->octets.data, RUNNER_TEXT_MAX) };
		got->octets = buf_of(got->octets.data, RUNNER_TEXT_MAX);
		got->n = 0;
	}
}

static int begin(struct pass *p)
{
	const struct runner_script *s = p->seen.script;
	int ret = 0;

	for (unsigned i = 0; ret == 0 && i < s->n_channels; i++) {
		p->owners[i] = calloc(1, sizeof(*p->owners[i]));
		if (p->owners[i] == NULL)
			return -ENOMEM;
		ret = runner_owner_begin(p->owners[i], s, i, s->is_late || p->mode == LATE_COMMITS);
		p->owners[i]->all = p->owners;
		p->seen.owners[i] = p->owners[i];
	}
	return ret;
}

static void end(struct pass *p)
{
	for (unsigned i = 0; i < RUNNER_CHANNELS; i++)
		if (p->owners[i] != NULL)
			flow_free(p->owners[i]->flow);
	for (unsigned i = 0; i < RUNNER_CHANNELS; i++) {
		free(p->owners[i]);
		p->owners[i] = NULL;
	}
}

static int run_pass(struct pass *p, enum mode mode, size_t cut)
{
	int ret;

	p->mode = mode;
	p->cut = cut;
	name_pass(p);
	clear(p);
	ret = begin(p);
	if (ret == 0) {
		ret = play_all(p);
		p->report->n_passes++;
	} else if (ret != -ENOMEM) {
		runner_fail(p->report, 0, "the module cannot be run: %s", err_str(ret));
	}
	end(p);
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
	octets = malloc(2 * RUNNER_CHANNELS * ALG_SIDES * (size_t)RUNNER_TEXT_MAX); /* untouched as far as it is not needed */
	if (p == NULL || octets == NULL) {
		result = -ENOMEM;
		goto out;
	}
	p->seen.script = script;
	p->report = ret;
	for (unsigned i = 0; i < RUNNER_CHANNELS * ALG_SIDES; i++) {
		p->backlog[i / ALG_SIDES][i % ALG_SIDES].octets.data = octets + 2 * i * (size_t)RUNNER_TEXT_MAX;
		p->seen.got[i / ALG_SIDES][i % ALG_SIDES].octets.data = octets + (2 * i + 1) * (size_t)RUNNER_TEXT_MAX;
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
