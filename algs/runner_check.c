/* Expectations of a transcript: octets in their order at both sides, then the state of pinholes, policy and records. */
#include "algs/runner_check.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/err.h"

static const struct runner_owner *owner_of(const struct runner_seen *seen, const struct runner_step *step)
{
	return seen->owners[step->channel];
}

/* Octets */

static const char *const side_names[] = { "client", "server" };

/* As it would be written in a transcript. Long ones are cut. */
static void put_printable(struct buf *out, struct span octets)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < octets.len; i++) {
		uint8_t c = (uint8_t)octets.ptr[i];

		if (i == 100) {
			buf_puts(out, "...");
			return;
		}
		if (c == '\r' || c == '\n')
			buf_puts(out, c == '\r' ? "\\r" : "\\n");
		else if (c == '\\')
			buf_puts(out, "\\\\");
		else if (c >= ' ' && c < 0x7f)
			buf_putc(out, (char)c);
		else
			buf_put(out, (struct span){ (char[]){ '\\', 'x', hex[c >> 4], hex[c & 15] }, 4 });
	}
}

struct place { /* an end of a channel */
	unsigned channel;
	enum alg_side side;
};

static int fail_octets(struct runner_report *report, unsigned line, struct place at, struct span expected, struct span got)
{
	char text[sizeof(report->text)];
	struct buf b = buf_of(text, sizeof(text) - 1);

	buf_printf(&b, "at the %s ", side_names[at.side]);
	if (at.channel > 0)
		buf_printf(&b, "of channel %u ", at.channel + 1);
	if (expected.ptr != NULL) {
		buf_puts(&b, "should come '");
		put_printable(&b, expected);
		buf_puts(&b, "', but there came ");
	} else {
		buf_puts(&b, "came, unexpected: ");
	}
	if (got.len == 0)
		buf_puts(&b, "nothing");
	else
		put_printable(&b, got);
	text[b.is_full ? sizeof(text) - 1 : b.len] = '\0';
	return runner_fail(report, line, "%s", text);
}

/* Whether lines behind a message say what becomes of it. */
static bool is_told(const struct runner_seen *seen, unsigned at)
{
	const struct runner_step *message = &seen->script->steps[at];
	enum alg_side to = alg_other(message->side);

	for (unsigned i = at + 1; i < seen->to; i++) {
		const struct runner_step *step = &seen->script->steps[i];

		if (!runner_is_expectation(step))
			return false;
		if (step->channel != message->channel)
			continue;
		if (step->kind == RUNNER_DROP || step->kind == RUNNER_WAITS || step->kind == RUNNER_RESET ||
		    (step->kind == RUNNER_EXPECT && step->side == to))
			return true;
	}
	return false;
}

static bool comes_out_at(const struct runner_seen *seen, unsigned at, struct place place)
{
	const struct runner_step *step = &seen->script->steps[at];

	if (step->channel != place.channel)
		return false;
	if (step->kind == RUNNER_EXPECT)
		return step->side == place.side;
	return step->kind == RUNNER_SEND && alg_other(step->side) == place.side && !is_told(seen, at);
}

static int check_octets(const struct runner_seen *seen, struct place place, struct runner_report *report)
{
	const struct runner_got *got = &seen->got[place.channel][place.side];
	struct span all = buf_span(&got->octets);
	bool is_datagram = seen->script->module->is_datagram;
	size_t at = 0;
	unsigned n = 0;

	if (got->octets.is_full)
		return runner_fail(report, seen->script->steps[seen->from].line, "too much comes out at the %s", side_names[place.side]);
	for (unsigned i = seen->from; i < seen->to; i++) {
		struct span expected = seen->script->steps[i].bytes, there;

		if (!comes_out_at(seen, i, place))
			continue;
		there = span_sub(all, at, is_datagram ? at + (n < got->n ? got->lens[n] : 0) : at + expected.len);
		if (!span_eq(expected, there) || (is_datagram && n >= got->n))
			return fail_octets(report, seen->script->steps[i].line, place, expected,
					   is_datagram ? there : span_sub(all, at, all.len));
		at += expected.len;
		n++;
		report->n_checks++;
	}
	if (at < all.len || (is_datagram && n < got->n))
		return fail_octets(report, seen->script->steps[seen->from].line, place, SPAN_NONE, span_sub(all, at, all.len));
	return 0;
}

/* State */

static const char *const state_names[] = { "reserved", "armed", "opened", "ended", "expired", "freed" };

static int fail_parse(struct runner_report *report, const struct runner_step *step, const char *text)
{
	runner_fail(report, step->line, "%s", text);
	return ERR_PARSE;
}

static bool is_text(struct span a, const char *b)
{
	return span_eq(a, span_of(b));
}

static int check_number(struct runner_report *report, const struct runner_step *step, const char *what, unsigned long n)
{
	if (n != step->n)
		return runner_fail(report, step->line, "%s: %lu", what, n);
	return 0;
}

static int read_side(struct span word, enum alg_side *ret)
{
	if (!is_text(word, "C") && !is_text(word, "S"))
		return ERR_PARSE;
	*ret = is_text(word, "C") ? ALG_CLIENT : ALG_SERVER;
	return 0;
}

/* "public C ADDR", "rtcp S PORT" */
static int check_public(const struct runner_seen *seen, const struct runner_step *step, struct span *args, bool is_rtcp,
			struct runner_report *report)
{
	struct addr wanted = { 0 }, at = { 0 };
	uint32_t wanted_port = 0;
	uint16_t rtcp = 0;
	enum alg_side reader;
	char text[ADDR_TEXT_MAX];
	struct span value;

	if (read_side(runner_word(args), &reader) < 0)
		return fail_parse(report, step, "`public C ADDR` or `rtcp S PORT` is wanted");
	value = runner_word(args);
	if (is_rtcp ? span_to_u32(value, 65535, &wanted_port) < 0 : addr_parse(value, &wanted) < 0)
		return fail_parse(report, step, "an address with port, or a port, is wanted");
	if (runner_owner_public(owner_of(seen, step), step->n, reader, &at, &rtcp) < 0)
		return runner_fail(report, step->line, "hole %u has no public address for the %s", step->n, side_names[reader]);
	if (is_rtcp && rtcp != wanted_port)
		return runner_fail(report, step->line, "RTCP's port for the %s is %u", side_names[reader], rtcp);
	if (!is_rtcp && !addr_eq(&at, &wanted))
		return runner_fail(report, step->line, "the %s has to send to %s", side_names[reader], addr_text(&at, text));
	return 0;
}

/* "peer ADDR", "dialled CS" */
static int check_dialled(const struct runner_seen *seen, const struct runner_step *step, struct span word, struct span value,
			 struct runner_report *report)
{
	static const char *const names[] = { "none", "C", "S", "CS" };
	const struct runner_hole *h = runner_owner_hole(owner_of(seen, step), step->n);
	const struct addr *peer = &h->peer[alg_other(h->want.listener)];
	unsigned who = h->is_dialled[ALG_CLIENT] + 2 * h->is_dialled[ALG_SERVER];
	const char *dialled = h->want.is_dialled ? names[who] : "no";
	char text[ADDR_TEXT_MAX];
	struct addr wanted;

	if (is_text(word, "dialled"))
		return is_text(value, dialled) ? 0 : runner_fail(report, step->line, "hole %u, dialled: %s", step->n, dialled);
	if (addr_parse(value, &wanted) < 0)
		return fail_parse(report, step, "an address with port is wanted");
	return addr_eq(peer, &wanted) ? 0 : runner_fail(report, step->line, "hole %u has the peer %s", step->n, addr_text(peer, text));
}

static int check_hole_word(const struct runner_seen *seen, const struct runner_step *step, struct span word, struct span *args,
			   struct runner_report *report)
{
	const struct runner_hole *h = runner_owner_hole(owner_of(seen, step), step->n);
	const char *class = seen->script->module->classes[h->want.class].name;
	struct addr wanted, at = { .family = h->want.at.family == 4 ? AF_INET : AF_INET6, .port = h->want.at.port };
	char text[ADDR_TEXT_MAX];

	if (is_text(word, "public") || is_text(word, "rtcp"))
		return check_public(seen, step, args, is_text(word, "rtcp"), report);
	if (is_text(word, "peer") || is_text(word, "dialled"))
		return check_dialled(seen, step, word, runner_word(args), report);
	if (is_text(word, "class") && !is_text(runner_word(args), class))
		return runner_fail(report, step->line, "hole %u is of class %s", step->n, class);
	if (is_text(word, "paused") && is_text(runner_word(args), "yes") != h->is_paused)
		return runner_fail(report, step->line, "hole %u is %spaused", step->n, h->is_paused ? "" : "not ");
	if (is_text(word, "raw") && is_text(runner_word(args), "yes") != h->want.is_raw)
		return runner_fail(report, step->line, "hole %u is %sraw", step->n, h->want.is_raw ? "" : "not ");
	if (is_text(word, "protected") && is_text(runner_word(args), "yes") != h->want.is_protected)
		return runner_fail(report, step->line, "hole %u is %sprotected", step->n, h->want.is_protected ? "" : "not ");
	if (is_text(word, "at")) {
		memcpy(at.ip, h->want.at.ip, sizeof(at.ip));
		if (addr_parse(runner_word(args), &wanted) < 0)
			return fail_parse(report, step, "an address with port is wanted");
		if (!addr_eq(&at, &wanted))
			return runner_fail(report, step->line, "hole %u is at %s", step->n, addr_text(&at, text));
	} else if (!is_text(word, "class") && !is_text(word, "paused") && !is_text(word, "raw") && !is_text(word, "protected")) {
		return fail_parse(report, step, "of a hole: at, public, rtcp, class, paused, raw, protected, peer, dialled");
	}
	return 0;
}

static int check_hole(const struct runner_seen *seen, const struct runner_step *step, struct runner_report *report)
{
	const struct runner_hole *h = runner_owner_hole(owner_of(seen, step), step->n);
	struct span args = step->args, word = runner_word(&args);
	unsigned state = 0, n_states = sizeof(state_names) / sizeof(state_names[0]);
	int ret;

	while (state < n_states && !is_text(word, state_names[state]))
		state++;
	if (state == n_states)
		return fail_parse(report, step, "a hole is reserved, armed, opened, ended, expired or freed");
	if (h == NULL)
		return runner_fail(report, step->line, "there is no hole %u", step->n);
	if (h->state != state)
		return runner_fail(report, step->line, "hole %u is %s", step->n, state_names[h->state]);
	while ((word = runner_word(&args)).len > 0) {
		ret = check_hole_word(seen, step, word, &args, report);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int check_verdict(const struct runner_seen *seen, const struct runner_step *step, struct runner_report *report)
{
	struct span args = step->args, allowed = runner_word(&args), verb = runner_word(&args), rule = runner_word(&args);

	if (!is_text(allowed, "allow") && !is_text(allowed, "deny"))
		return fail_parse(report, step, "a verdict is `allow VERB RULE` or `deny VERB RULE`");
	if (owner_of(seen, step)->verdict.n == 0)
		return runner_fail(report, step->line, "the policy was not asked");
	if (is_text(allowed, "allow") != owner_of(seen, step)->verdict.is_allowed ||
	    (verb.len > 0 && !is_text(verb, owner_of(seen, step)->verdict.verb)) ||
	    (rule.len > 0 && !is_text(rule, owner_of(seen, step)->verdict.rule)))
		return runner_fail(report, step->line, "the last verdict is: %s %s %s",
				   owner_of(seen, step)->verdict.is_allowed ? "allow" : "deny", owner_of(seen, step)->verdict.verb,
				   owner_of(seen, step)->verdict.rule);
	return 0;
}

static int check_transfer_word(const struct runner_seen *seen, const struct runner_step *step, struct span word,
			       struct runner_report *report)
{
	static const char *const directions[] = { "none", "up", "down" };
	const struct alg_transfer *t = &owner_of(seen, step)->record.transfer;
	char code[12], hole[12], octets[48];
	const struct {
		const char *key, *is;
	} parts[] = {
		{ "user", owner_of(seen, step)->record.user }, { "verb", owner_of(seen, step)->record.verb },
		{ "path", owner_of(seen, step)->record.path }, { "direction", directions[t->direction] },
		{ "ok", t->is_ok ? "yes" : "no" }, { "code", code }, { "hole", hole },
		{ "octets", octets },
	};
	struct span value;

	snprintf(code, sizeof(code), "%u", t->code);
	snprintf(hole, sizeof(hole), "%u", t->hole);
	snprintf(octets, sizeof(octets), "%" PRIu64 ",%" PRIu64, t->octets[ALG_CLIENT], t->octets[ALG_SERVER]);
	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (!runner_value(word, parts[i].key, &value))
			continue;
		if (!is_text(value, parts[i].is))
			return runner_fail(report, step->line, "%s is '%s'", parts[i].key, parts[i].is);
		return 0;
	}
	return fail_parse(report, step, "of a transfer: user= verb= path= direction= code= ok= hole= octets=");
}

static int check_transfer(const struct runner_seen *seen, const struct runner_step *step, struct runner_report *report)
{
	struct span args = step->args, word;
	int ret = 0;

	if (owner_of(seen, step)->record.n == 0)
		return runner_fail(report, step->line, "nothing was recorded");
	while (ret == 0 && (word = runner_word(&args)).len > 0)
		ret = check_transfer_word(seen, step, word, report);
	return ret;
}

static int check_note(const struct runner_seen *seen, const struct runner_step *step, struct runner_report *report)
{
	if (step->args.len == 0 || memmem(owner_of(seen, step)->note, strlen(owner_of(seen, step)->note), step->args.ptr, step->args.len) == NULL)
		return runner_fail(report, step->line, "the last note is '%s'", owner_of(seen, step)->note);
	return 0;
}

static int check_state(const struct runner_seen *seen, const struct runner_step *step, struct runner_report *report)
{
	switch (step->kind) {
	case RUNNER_HOLE:
		return check_hole(seen, step, report);
	case RUNNER_HOLES:
		return check_number(report, step, "holes that are open", runner_owner_open_holes(owner_of(seen, step)));
	case RUNNER_VERDICT:
		return check_verdict(seen, step, report);
	case RUNNER_TRANSFER:
		return check_transfer(seen, step, report);
	case RUNNER_TRANSFERS:
		return check_number(report, step, "transfers", owner_of(seen, step)->record.n);
	case RUNNER_NOTE:
		return check_note(seen, step, report);
	case RUNNER_ENDING:
		return owner_of(seen, step)->is_ending ? 0 : runner_fail(report, step->line, "the protocol's end was not seen");
	case RUNNER_TLS:
		return flow_is_protected(owner_of(seen, step)->flow) ? 0 : runner_fail(report, step->line, "TLS has not begun");
	case RUNNER_BYPASS:
		return flow_is_bypassed(owner_of(seen, step)->flow) ? 0 : runner_fail(report, step->line, "the session is not bypassed");
	case RUNNER_RESET:
		return runner_owner_is_over(owner_of(seen, step)) ? 0 : runner_fail(report, step->line, "the session was not reset");
	default:
		report->n_checks--; /* counted with its octets */
		return 0;
	}
}

static int check_forbidden(const struct runner_seen *seen, const struct runner_owner *owner, struct runner_report *report)
{
	unsigned line = seen->script->steps[seen->from].line;

	if (flow_fault(owner->flow) != NULL)
		return runner_fail(report, line, "the module is faulty: %s", flow_fault(owner->flow));
	if (flow_is_bypassed(owner->flow) && !seen->script->has_bypass)
		return runner_fail(report, line, "the session is bypassed");
	if (flow_is_protected(owner->flow) && !seen->script->has_tls)
		return runner_fail(report, line, "TLS has begun");
	if (runner_owner_is_over(owner) && !seen->script->has_reset)
		return runner_fail(report, line, "the session was reset");
	return 0;
}

int runner_check(const struct runner_seen *seen, struct runner_report *report)
{
	int ret = 0;

	for (unsigned i = 0; ret == 0 && i < seen->script->n_channels * ALG_SIDES; i++) {
		struct place place = { i / ALG_SIDES, i % ALG_SIDES == 0 ? ALG_CLIENT : ALG_SERVER };

		ret = check_forbidden(seen, seen->owners[place.channel], report);
		if (ret == 0)
			ret = check_octets(seen, place, report);
	}
	for (unsigned i = seen->state_from; ret == 0 && i < seen->to; i++) {
		if (!runner_is_expectation(&seen->script->steps[i]))
			continue;
		ret = check_state(seen, &seen->script->steps[i], report);
		report->n_checks += ret == 0;
	}
	return ret;
}
