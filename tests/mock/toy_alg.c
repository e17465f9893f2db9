/* The toy modules. Commands, in lower case; what is none is the message's own text and does nothing:
 *
 *	drop | hold | bypass | reset | need | verdict N     what becomes of the message; it passes otherwise
 *	again                                               not judged yet: the rest of the line is obeyed when it is asked again
 *	take N                                              consumed, whatever the message's length
 *	edit OFFSET LEN [TEXT]                              TEXT until the next semicolon; `edits N LEN`: N insertions of LEN octets,
 *	                                                    at 0, 1, ..., until one is refused
 *	reply c|s TEXT                                      TEXT and LF go to that side; `fill c|s N`: N octets
 *	resume c|s | wait N                                 N is a hole's handle
 *	reserve CLASS [protected] | arm N | free N | pause N | public N c|s | open          open: reserve of class 0, and arm
 *	policy VERB TARGET | timer N MS | transfer N | note TEXT | ending | tls
 *	say c|s                                             the result of the command before, as "rc N" and LF
 *	on COMMANDS...                                      these, at each event: the rest of the line, commas for semicolons
 *	tell c|s                                            each event from now on, as "event TYPE HOLE" and LF
 */
#include "tests/mock/toy_alg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ON_MAX = 200, WORD_MAX = 64 };

const struct alg_host *toy_host;
struct alg_session *toy_session;
unsigned toy_n_calls, toy_n_ends, toy_n_open;

struct toy {
	const struct alg_host *host;
	struct alg_session *session;
	char on[ON_MAX];
	size_t on_len;
	bool tells;
	enum alg_side tells_side;
	bool was_asked;
	int rc;
	uint32_t hole;
};

/* A module is never called from within itself. */
static bool is_inside;

static void enter(void)
{
	if (is_inside)
		abort();
	is_inside = true;
}

struct args {
	struct alg_bytes rest;
};

static struct alg_bytes cut(struct alg_bytes *rest, char at)
{
	const char *end = rest->len > 0 ? memchr(rest->ptr, at, rest->len) : NULL;
	struct alg_bytes ret = { rest->ptr, end != NULL ? (size_t)(end - rest->ptr) : rest->len };
	size_t taken = ret.len + (end != NULL);

	rest->len -= taken;
	rest->ptr = taken > 0 ? rest->ptr + taken : rest->ptr;
	return ret;
}

static unsigned long number(struct args *args)
{
	struct alg_bytes word = cut(&args->rest, ' ');
	char text[24];

	snprintf(text, sizeof(text), "%.*s", (int)(word.len < 20 ? word.len : 20), word.len > 0 ? word.ptr : "");
	return strtoul(text, NULL, 10);
}

static enum alg_side side(struct args *args)
{
	struct alg_bytes word = cut(&args->rest, ' ');

	return word.len > 0 && word.ptr[0] == 's' ? ALG_SERVER : ALG_CLIENT;
}

static void say(struct toy *t, enum alg_side to, const char *text)
{
	t->rc = t->host->reply(t->session, to, (struct alg_bytes){ text, strlen(text) });
}

/* Commands */

#define COMMAND(name_) static void do_##name_(struct toy *t, struct args *args, struct alg_result *r)
#define UNUSED_ARGS (void)t, (void)args, (void)r

COMMAND(drop) { UNUSED_ARGS; r->verdict = ALG_DROP; }
COMMAND(hold) { UNUSED_ARGS; r->verdict = ALG_HOLD; }
COMMAND(bypass) { UNUSED_ARGS; r->verdict = ALG_BYPASS; }
COMMAND(reset) { UNUSED_ARGS; r->verdict = ALG_RESET; }
COMMAND(need) { UNUSED_ARGS; r->verdict = ALG_NEED; r->need = number(args); }
COMMAND(verdict) { UNUSED_ARGS; r->verdict = (enum alg_verdict)number(args); }
COMMAND(take) { UNUSED_ARGS; r->consumed = number(args); }

COMMAND(again)
{
	(void)args;
	t->was_asked = !t->was_asked;
	if (t->was_asked)
		*r = (struct alg_result){ ALG_HOLD, 0, 0 };
}

COMMAND(edit)
{
	size_t offset = number(args), len = number(args);

	UNUSED_ARGS;
	t->rc = t->host->edit(t->session, offset, len, args->rest);
}

COMMAND(edits)
{
	static char text[4096];
	unsigned long n = number(args), len = number(args);

	UNUSED_ARGS;
	memset(text, 'e', sizeof(text));
	t->rc = 0;
	for (unsigned long i = 0; i < n && t->rc == 0; i++)
		t->rc = t->host->edit(t->session, i, 0, (struct alg_bytes){ text, len < sizeof(text) ? len : sizeof(text) });
}

COMMAND(reply)
{
	enum alg_side to = side(args);
	char text[300];

	UNUSED_ARGS;
	snprintf(text, sizeof(text), "%.*s\n", (int)(args->rest.len < 256 ? args->rest.len : 256),
		 args->rest.len > 0 ? args->rest.ptr : "");
	say(t, to, text);
}

COMMAND(fill)
{
	static char text[65536];
	enum alg_side to = side(args);
	unsigned long n = number(args);

	UNUSED_ARGS;
	memset(text, 'f', sizeof(text));
	t->rc = t->host->reply(t->session, to, (struct alg_bytes){ text, n < sizeof(text) ? n : sizeof(text) });
}

COMMAND(resume) { UNUSED_ARGS; t->host->resume(t->session, side(args)); }
COMMAND(wait) { UNUSED_ARGS; t->rc = t->host->wait_for(t->session, (uint32_t)number(args)); }
COMMAND(arm) { UNUSED_ARGS; t->rc = t->host->hole_arm(t->session, (uint32_t)number(args)); }
COMMAND(free) { UNUSED_ARGS; t->host->hole_free(t->session, (uint32_t)number(args)); }
COMMAND(pause) { UNUSED_ARGS; t->host->hole_pause(t->session, (uint32_t)number(args), true); }
COMMAND(ending) { UNUSED_ARGS; t->host->ending(t->session); }
COMMAND(tls) { UNUSED_ARGS; t->rc = t->host->start_tls(t->session); }

COMMAND(reserve)
{
	struct alg_want want = { .class = (unsigned)number(args), .listener = ALG_SERVER, .at = { .family = 0, .port = 0 },
				 .is_protected = args->rest.len > 0 };

	UNUSED_ARGS;
	t->rc = t->host->hole_reserve(t->session, &want, &t->hole);
}

COMMAND(open)
{
	struct args class = { { "0", 1 } };

	do_reserve(t, &class, r);
	(void)args;
	if (t->rc == 0)
		t->rc = t->host->hole_arm(t->session, t->hole);
}

COMMAND(public)
{
	uint32_t hole = (uint32_t)number(args);
	struct alg_addr at = { 0 };
	uint16_t rtcp = 0;

	UNUSED_ARGS;
	t->rc = t->host->hole_public(t->session, hole, side(args), &at, &rtcp);
	if (t->rc == 0)
		t->rc = at.port;
}

COMMAND(policy)
{
	struct alg_question q = { .verb = cut(&args->rest, ' '), .target = args->rest };
	struct alg_answer a;

	t->host->policy(t->session, &q, &a);
	t->rc = a.is_allowed;
	if (a.is_allowed)
		return;
	r->verdict = ALG_DROP;
	say(t, ALG_CLIENT, a.text[0] != '\0' ? a.text : "denied");
	say(t, ALG_CLIENT, "\n");
}

COMMAND(timer)
{
	uint32_t cookie = (uint32_t)number(args);

	UNUSED_ARGS;
	t->host->timer(t->session, cookie, (uint32_t)number(args));
}

COMMAND(transfer)
{
	struct alg_transfer transfer = { .hole = (uint32_t)number(args), .user = { "u", 1 }, .verb = { "GET", 3 },
					 .path = { "/p", 2 }, .direction = ALG_DOWN, .code = 226, .is_ok = true };

	UNUSED_ARGS;
	t->host->transfer(t->session, &transfer);
}

COMMAND(note)
{
	UNUSED_ARGS;
	t->host->note(t->session, NULL, "%.*s", (int)args->rest.len, args->rest.len > 0 ? args->rest.ptr : "");
}

COMMAND(say)
{
	enum alg_side to = side(args);
	char text[32];

	UNUSED_ARGS;
	snprintf(text, sizeof(text), "rc %d\n", t->rc);
	say(t, to, text);
}

COMMAND(tell)
{
	UNUSED_ARGS;
	t->tells = true;
	t->tells_side = side(args);
}

COMMAND(on)
{
	UNUSED_ARGS;
	t->on_len = args->rest.len < sizeof(t->on) ? args->rest.len : sizeof(t->on);
	for (size_t i = 0; i < t->on_len; i++)
		t->on[i] = args->rest.ptr[i] == ',' ? ';' : args->rest.ptr[i];
}

static const struct {
	const char *name;
	void (*run)(struct toy *t, struct args *args, struct alg_result *r);
} commands[] = {
	{ "drop", do_drop }, { "hold", do_hold }, { "bypass", do_bypass }, { "reset", do_reset }, { "need", do_need },
	{ "verdict", do_verdict }, { "take", do_take },
	{ "again", do_again }, { "edit", do_edit }, { "edits", do_edits }, { "reply", do_reply }, { "fill", do_fill },
	{ "resume", do_resume }, { "wait", do_wait }, { "arm", do_arm }, { "free", do_free }, { "pause", do_pause },
	{ "ending", do_ending }, { "tls", do_tls }, { "reserve", do_reserve }, { "open", do_open }, { "public", do_public },
	{ "policy", do_policy }, { "timer", do_timer }, { "transfer", do_transfer }, { "note", do_note }, { "say", do_say },
	{ "tell", do_tell }, { "on", do_on },
};

static void obey(struct toy *t, struct alg_bytes line, struct alg_result *r)
{
	while (line.len > 0 && (r->verdict != ALG_HOLD || r->consumed > 0)) {
		struct args args = { cut(&line, ';') };
		struct alg_bytes word;

		while (args.rest.len > 0 && args.rest.ptr[0] == ' ')
			args.rest = (struct alg_bytes){ args.rest.ptr + 1, args.rest.len - 1 };
		word = cut(&args.rest, ' ');
		for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
			if (word.len == strlen(commands[i].name) && memcmp(word.ptr, commands[i].name, word.len) == 0)
				commands[i].run(t, &args, r);
	}
}

/* The module */

static void toy_open(void *state, const struct alg_about *about, const struct alg_host *host, struct alg_session *session)
{
	struct toy *t = state;

	(void)about;
	t->host = toy_host = host;
	t->session = toy_session = session;
	toy_n_calls = toy_n_ends = 0;
	toy_n_open++;
}

static void toy_close(void *state)
{
	(void)state;
	toy_n_open--;
}

static struct alg_result toy_bytes(void *state, enum alg_side from, struct alg_bytes bytes, bool is_end)
{
	const char *end = bytes.len > 0 ? memchr(bytes.ptr, '\n', bytes.len) : NULL;
	struct alg_result r = { ALG_NEED, 0, 0 };
	size_t len = end != NULL ? (size_t)(end - bytes.ptr) : 0;

	(void)from;
	toy_n_calls++;
	toy_n_ends += is_end;
	if (end == NULL)
		return r;
	enter();
	r = (struct alg_result){ ALG_PASS, len + 1, 0 };
	obey(state, (struct alg_bytes){ bytes.ptr, len > 0 && bytes.ptr[len - 1] == '\r' ? len - 1 : len }, &r);
	is_inside = false;
	return r;
}

static struct alg_result toy_datagram(void *state, enum alg_side from, struct alg_bytes bytes, bool is_end)
{
	struct alg_result r = { ALG_PASS, bytes.len, 0 };

	(void)from;
	toy_n_calls++;
	toy_n_ends += is_end;
	enter();
	obey(state, bytes, &r);
	is_inside = false;
	return r;
}

static void toy_event(void *state, const struct alg_event *event)
{
	struct toy *t = state;
	struct alg_result ignored = { ALG_PASS, 0, 0 };
	char text[64];

	snprintf(text, sizeof(text), "event %d %u\n", event->type, event->type == ALG_EV_TIMER ? event->cookie : event->hole);
	enter();
	if (t->tells)
		say(t, t->tells_side, text);
	obey(t, (struct alg_bytes){ t->on, t->on_len }, &ignored);
	is_inside = false;
}

static enum alg_probe toy_probe(enum alg_side from, struct alg_bytes bytes)
{
	(void)from;
	if (memcmp(bytes.ptr, "toy", bytes.len < 3 ? bytes.len : 3) != 0)
		return ALG_NO;
	return bytes.len < 3 ? ALG_MAYBE : ALG_YES;
}

static const struct alg_class toy_classes[] = {
	{ "data", ALG_HOLE_TCP, TOY_HOLES_MAX, 5000, 10000 },
	{ "many", ALG_HOLE_TCP, 1000, 5000, 0 },
};
static const struct alg_verb toy_verbs[] = { { "GET", "read" }, { "PUT", "write" }, { NULL, NULL } };

#ifndef TOY_ABI_MAJOR
#define TOY_ABI_MAJOR ALG_ABI_MAJOR
#endif
#define TOY(name_, bytes_, is_datagram_, probe_) \
	const struct alg_module name_ = { \
		.magic = ALG_MAGIC, .abi_major = TOY_ABI_MAJOR, .abi_minor = ALG_ABI_MINOR, .size = sizeof(struct alg_module), \
		.name = "toy", .version = "1", .is_datagram = is_datagram_, .default_port = 7777, .classes = toy_classes, \
		.n_classes = 2, .verbs = toy_verbs, .message_max = TOY_MESSAGE_MAX, .state_size = sizeof(struct toy), \
		.probe = probe_, .open = toy_open, .close = toy_close, .bytes = bytes_, .event = toy_event, \
	}

TOY(postern_alg_v1, toy_bytes, false, NULL);
TOY(toy_datagram_module, toy_datagram, true, NULL);
TOY(toy_probed_module, toy_bytes, false, toy_probe);
