/* algs/flow.h where things go wrong or another way: bypass, probing, datagrams, modules that do what none may,
 * limits of pinholes, and memory that runs out. */
#include "algs/flow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/err.h"
#include "tests/unit/flow_rig.h"
#include "tests/unit/unit.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);

static int fails_at = -1; /* allocations until one fails; negative: none does */

static bool may_allocate(void)
{
	return fails_at < 0 || fails_at-- != 0;
}

void *__wrap_malloc(size_t size)
{
	return may_allocate() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t n, size_t size)
{
	return may_allocate() ? __real_calloc(n, size) : NULL;
}

static struct flow_rig *start(const struct alg_module *module)
{
	struct flow_rig *r = rig_new(module);

	CU_ASSERT_PTR_NOT_NULL_FATAL(r);
	return r;
}

/* Bypass */

static void bypass(void)
{
	struct flow_rig *r = start(&postern_alg_v1);
	unsigned n;

	rig_send(r, "s", "half a li");
	rig_send(r, "c", "tell c\nreply c go;open;edit 0 1 X;bypass\ndrop\nrest");
	n = toy_n_calls;
	CU_ASSERT(flow_is_bypassed(r->flow));
	RIG_EXPECT(r, "s", "tell c\nreply c go;open;edit 0 1 X;bypass\ndrop\nrest");
	RIG_EXPECT(r, "c", "go\nhalf a li");
	rig_send(r, "c", "drop\n");
	RIG_EXPECT(r, "s", "drop\n");
	CU_ASSERT_EQUAL(toy_n_calls, n);
	CU_ASSERT_EQUAL(r->n_freed, 0); /* what it opened stays, it is its own business */
	/* Events are still told, and it can no longer say anything. */
	rig_event(r, ALG_EV_TIMER, 1);
	RIG_EXPECT(r, "c", "");
	flow_input(r->flow, ALG_CLIENT, SPAN_LIT("end"), true);
	RIG_EXPECT(r, "s", "end");
	CU_ASSERT(flow_is_finished(r->flow, ALG_SERVER));
	CU_ASSERT_PTR_NULL(flow_fault(r->flow));
	rig_free(r);
}

/* What waited before waits on, what was held goes, and the order stays. */
static void bypass_behind_what_waits(void)
{
	struct flow_rig *r = start(&postern_alg_v1);

	r->arm_result = 1;
	rig_send(r, "c", "hold\nbehind\n");
	rig_send(r, "s", "open;first\nopen;bypass\n");
	RIG_EXPECT(r, "s", "hold\nbehind\n");
	rig_send(r, "s", "tls\n");
	RIG_EXPECT(r, "c", "");
	flow_committed(r->flow, 2, 0);
	RIG_EXPECT(r, "c", "");
	flow_committed(r->flow, 1, 0);
	RIG_EXPECT(r, "c", "open;first\nopen;bypass\ntls\n");
	rig_free(r);
}

static void bypass_moves_much(void)
{
	struct flow_rig *r = start(&postern_alg_v1);
	static char sent[200001], got[200001];
	size_t n_sent = 0, n_got = 0;

	rig_send(r, "c", "bypass\n");
	rig_take(r, "s");
	for (size_t i = 0; i < sizeof(sent) - 1; i++)
		sent[i] = (char)('a' + i * i % 23);
	while (n_got < sizeof(sent) - 1) {
		size_t room = flow_room(r->flow, ALG_CLIENT), left = sizeof(sent) - 1 - n_sent;
		struct span out;

		if (room > left)
			room = left;
		CU_ASSERT_EQUAL_FATAL(flow_input(r->flow, ALG_CLIENT, (struct span){ sent + n_sent, room }, false), 0);
		n_sent += room;
		out = flow_output(r->flow, ALG_SERVER);
		CU_ASSERT_FATAL(out.ptr != NULL);
		out.len = out.len > 777 ? 777 : out.len;
		memcpy(got + n_got, out.ptr, out.len);
		flow_sent(r->flow, ALG_SERVER, out.len);
		n_got += out.len;
	}
	CU_ASSERT_STRING_EQUAL(got, sent);
	rig_free(r);
}

static void probes(void)
{
	struct flow_rig *r = start(&toy_probed_module);

	rig_send(r, "c", "t");
	rig_send(r, "c", "o");
	RIG_EXPECT(r, "s", "");
	rig_send(r, "c", "y;drop;\ny;drop\n");
	RIG_EXPECT(r, "s", "");
	CU_ASSERT_EQUAL(rig_stats(r).dropped[ALG_CLIENT], 2);
	rig_send(r, "s", "drop\n"); /* it is known by now */
	RIG_EXPECT(r, "c", "");
	rig_free(r);

	r = start(&toy_probed_module);
	rig_send(r, "s", "to");
	rig_send(r, "c", "GET / HTTP/1.0\n");
	CU_ASSERT(flow_is_bypassed(r->flow));
	CU_ASSERT_STRING_EQUAL(r->note, "toy: another protocol: passed unseen");
	RIG_EXPECT(r, "s", "GET / HTTP/1.0\n");
	RIG_EXPECT(r, "c", "to");
	CU_ASSERT_EQUAL(toy_n_calls, 0);
	rig_free(r);

	/* One that never becomes clear is none. */
	r = start(&toy_probed_module);
	flow_input(r->flow, ALG_CLIENT, SPAN_LIT("to"), true);
	CU_ASSERT(flow_is_bypassed(r->flow));
	RIG_EXPECT(r, "s", "to");
	CU_ASSERT(flow_is_finished(r->flow, ALG_SERVER));
	rig_free(r);

	/* A side that says nothing at all says nothing about it. */
	r = start(&toy_probed_module);
	flow_input(r->flow, ALG_CLIENT, SPAN_NONE, true);
	CU_ASSERT_FALSE(flow_is_bypassed(r->flow));
	rig_send(r, "s", "toy;drop\n");
	RIG_EXPECT(r, "c", "");
	CU_ASSERT(flow_is_finished(r->flow, ALG_SERVER));
	rig_free(r);
}

/* Datagrams */

static void datagrams(void)
{
	struct flow_rig *r = start(&toy_datagram_module);
	static char big[TOY_MESSAGE_MAX + 2];
	struct span out;

	rig_send(r, "c", "one");
	rig_send(r, "c", "reply s extra;reply s more;edit 0 5 two");
	rig_send(r, "c", "");
	out = flow_output(r->flow, ALG_SERVER);
	CU_ASSERT(span_eq(out, SPAN_LIT("one")));
	flow_sent(r->flow, ALG_SERVER, 1); /* a datagram goes as a whole */
	CU_ASSERT(span_eq(flow_output(r->flow, ALG_SERVER), SPAN_LIT("extra\n")));
	flow_sent(r->flow, ALG_SERVER, 6);
	CU_ASSERT(span_eq(flow_output(r->flow, ALG_SERVER), SPAN_LIT("more\n")));
	flow_sent(r->flow, ALG_SERVER, 5);
	CU_ASSERT(span_eq(flow_output(r->flow, ALG_SERVER), SPAN_LIT("two s extra;reply s more;edit 0 5 two")));
	flow_sent(r->flow, ALG_SERVER, 0);
	out = flow_output(r->flow, ALG_SERVER);
	CU_ASSERT_PTR_NOT_NULL(out.ptr);
	CU_ASSERT_EQUAL(out.len, 0);
	flow_sent(r->flow, ALG_SERVER, 0);
	CU_ASSERT_PTR_NULL(flow_output(r->flow, ALG_SERVER).ptr);
	/* One that is longer than any message is none of the module's. */
	memset(big, 'x', sizeof(big) - 1);
	memcpy(big, "drop;", 5);
	rig_send(r, "s", big);
	CU_ASSERT_EQUAL(strlen(rig_take(r, "c")), TOY_MESSAGE_MAX + 1);
	big[TOY_MESSAGE_MAX] = '\0';
	rig_send(r, "s", big);
	RIG_EXPECT(r, "c", "");
	/* Not whole: there is no more to come. */
	rig_send(r, "s", "need 5");
	RIG_EXPECT(r, "c", "need 5");
	CU_ASSERT_PTR_NULL(flow_fault(r->flow));
	rig_free(r);
}

static void datagrams_wait(void)
{
	struct flow_rig *r = start(&toy_datagram_module);

	rig_send(r, "c", "hold");
	CU_ASSERT_EQUAL(rig_send(r, "c", "second"), 0);
	CU_ASSERT_EQUAL(flow_room(r->flow, ALG_CLIENT), 0); /* one waits in the input, no more */
	CU_ASSERT_EQUAL(rig_send(r, "c", "third"), ERR_LIMIT);
	CU_ASSERT_EQUAL(rig_send(r, "c", ""), ERR_LIMIT);
	rig_send(r, "s", "resume c;reply s answer");
	RIG_EXPECT(r, "s", "holdanswer\nsecond"); /* no longer held when the answer was made */
	CU_ASSERT(flow_room(r->flow, ALG_CLIENT) >= 65535);
	/* Nobody reads: the queue fills by pieces. */
	for (int i = 0; i < 1000 && flow_room(r->flow, ALG_CLIENT) > 0; i++)
		rig_send(r, "c", "x");
	CU_ASSERT(strlen(rig_take(r, "s")) <= 64 + 1);
	CU_ASSERT(flow_room(r->flow, ALG_CLIENT) > 0);
	flow_input(r->flow, ALG_CLIENT, SPAN_LIT("last"), true);
	RIG_EXPECT(r, "s", "last");
	CU_ASSERT(flow_is_finished(r->flow, ALG_SERVER));
	rig_free(r);
}

/* The longest there is, edited and not, and unseen. */
static void datagrams_at_their_limit(void)
{
	static char big[65537];
	struct flow_rig *r = start(&toy_datagram_module);

	memset(big, 'y', sizeof(big) - 1);
	CU_ASSERT_EQUAL(rig_send(r, "c", big), ERR_LIMIT);
	big[65535] = '\0';
	CU_ASSERT_EQUAL(rig_send(r, "c", big), 0);
	CU_ASSERT_EQUAL(rig_send(r, "s", big), 0);
	CU_ASSERT_EQUAL(flow_output(r->flow, ALG_SERVER).len, 65535);
	flow_sent(r->flow, ALG_SERVER, 65535);
	rig_send(r, "c", "bypass");
	rig_take(r, "s");
	for (int i = 0; i < 10 && flow_room(r->flow, ALG_CLIENT) > 0; i++)
		rig_send(r, "c", big);
	CU_ASSERT_EQUAL(flow_output(r->flow, ALG_SERVER).len, 65535);
	CU_ASSERT(strlen(rig_take(r, "s")) >= 3 * 65535);
	rig_free(r);
}

/* Faulty modules */

static void faults(void)
{
	static const struct {
		const char *line, *fault;
	} cases[] = {
		{ "reply c no;open;take 0\n", "took nothing of a message" },
		{ "reply s no;take 1000\n", "took more than it was given" },
		{ "drop;take 0\n", "took nothing of a message" },
		{ "hold;take 999\n", "took more than it was given" },
		{ "open;verdict 6\n", "no such verdict" },
		{ "verdict 4000000000\n", "no such verdict" },
		{ "edit 3 1000 x\n", "an edit lies outside the message" },
		{ "edit 18446744073709551615 1 x\n", "an edit lies outside the message" },
		{ "edit 5 18446744073709551615 x\n", "an edit lies outside the message" },
		{ "edit 19 1 x;take 19\n", "an edit lies outside the message" },
		{ "edit 0 5 x;edit 4 2 y\n", "edits overlap" },
		{ "edit 4 2 x;edit 0 5 y\n", "edits overlap" },
		{ "edit 4 2 x;edit 4 2 y\n", "edits overlap" },
		{ "edit 2 9 x;edit 5 0 y\n", "edits overlap" },
		{ "edit 5 0 x;edit 2 9 y\n", "edits overlap" },
		{ "reserve 2\n", "a pinhole of no class" },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct flow_rig *r = start(&postern_alg_v1);
		char expected[600], note[300];
		unsigned n;

		r->is_busy[1] = true;
		rig_send(r, "s", "open;open;x\nwait 1;waiting\n");
		RIG_EXPECT(r, "c", "open;open;x\n");
		rig_send(r, "s", "partial");
		r->arm_result = 1;
		rig_send(r, "c", cases[i].line);
		n = toy_n_calls;
		CU_ASSERT_PTR_NOT_NULL_FATAL(flow_fault(r->flow));
		CU_ASSERT_STRING_EQUAL(flow_fault(r->flow), cases[i].fault);
		CU_ASSERT(flow_is_bypassed(r->flow));
		snprintf(note, sizeof(note), "toy: faulty (%s): passed unseen from here on, pinholes closed", cases[i].fault);
		CU_ASSERT_STRING_EQUAL(r->note, note);
		CU_ASSERT_EQUAL(r->n_freed, r->n_holes);
		CU_ASSERT(r->is_freed[1] && r->is_freed[2]);
		/* The message as it came, nothing that was said with it, and nothing waits any more. */
		RIG_EXPECT(r, "s", cases[i].line);
		RIG_EXPECT(r, "c", "wait 1;waiting\npartial");
		snprintf(expected, sizeof(expected), "more\n%s", cases[i].line);
		rig_send(r, "c", expected);
		RIG_EXPECT(r, "s", expected);
		rig_event(r, ALG_EV_TIMER, 1);
		rig_event(r, ALG_EV_ENDED, 1);
		flow_committed(r->flow, 3, 0);
		CU_ASSERT_EQUAL(toy_n_calls, n);
		CU_ASSERT_EQUAL(r->n_notes, 1);
		rig_free(r);
		CU_ASSERT_EQUAL(toy_n_open, 0);
	}
}

static void too_slow(void)
{
	struct flow_rig *r = start(&postern_alg_v1);

	r->call_us = 5000;
	for (int i = 0; i < 1000; i++)
		rig_event(r, ALG_EV_TIMER, 1);
	r->call_us = 105000; /* one may be slow, and the next ones make up for it */
	rig_send(r, "c", "late\n");
	RIG_EXPECT(r, "s", "late\n");
	r->call_us = 4999;
	rig_event(r, ALG_EV_TIMER, 1);
	r->call_us = 5001; /* 100000 are owed */
	rig_event(r, ALG_EV_TIMER, 1);
	CU_ASSERT_FALSE(flow_is_reset(r->flow));
	rig_event(r, ALG_EV_TIMER, 1);
	CU_ASSERT_TRUE(flow_is_reset(r->flow));
	CU_ASSERT_FALSE(flow_is_bypassed(r->flow));
	CU_ASSERT_STRING_EQUAL(r->note, "toy: took 100 ms of processor time too much: ended");
	rig_free(r);
}

static void faulty_datagrams_and_events(void)
{
	struct flow_rig *r = start(&toy_datagram_module);

	rig_send(r, "c", "take 3");
	CU_ASSERT_STRING_EQUAL(flow_fault(r->flow), "took a part of a datagram");
	RIG_EXPECT(r, "s", "take 3");
	rig_free(r);
	r = start(&toy_datagram_module);
	rig_send(r, "c", "again");
	CU_ASSERT_STRING_EQUAL(flow_fault(r->flow), "took nothing of a message");
	RIG_EXPECT(r, "s", "again");
	rig_free(r);

	/* In an event, and after it had stepped aside. */
	r = start(&postern_alg_v1);
	rig_send(r, "c", "open;on reserve 77,reply c x\n");
	rig_send(r, "c", "bypass\n");
	rig_event(r, ALG_EV_TIMER, 0);
	CU_ASSERT_STRING_EQUAL(flow_fault(r->flow), "a pinhole of no class");
	CU_ASSERT(r->is_freed[1]);
	RIG_EXPECT(r, "c", "");
	rig_free(r);
}

/* The host's functions outside of the module's own. */
static void wishes_at_the_wrong_time(void)
{
	struct flow_rig *r = start(&postern_alg_v1);
	struct alg_bytes x = { "x", 1 };
	struct alg_want want = { 0 };
	struct alg_question question = { 0 };
	struct alg_answer answer = { .is_allowed = true };
	struct alg_addr at;
	uint32_t hole = 0;

	rig_send(r, "c", "open\n");
	rig_take(r, "s");
	CU_ASSERT_EQUAL(toy_host->edit(toy_session, 0, 0, x), ALG_ERR_STATE);
	CU_ASSERT_EQUAL(toy_host->reply(toy_session, ALG_CLIENT, x), ALG_ERR_STATE);
	CU_ASSERT_EQUAL(toy_host->wait_for(toy_session, 1), ALG_ERR_STATE);
	CU_ASSERT_EQUAL(toy_host->hole_reserve(toy_session, &want, &hole), ALG_ERR_STATE);
	CU_ASSERT_EQUAL(toy_host->hole_public(toy_session, 1, ALG_CLIENT, &at, NULL), ALG_ERR_STATE);
	CU_ASSERT_EQUAL(toy_host->hole_peer(toy_session, 1, ALG_CLIENT, &at, 0), ALG_ERR_STATE);
	CU_ASSERT_EQUAL(toy_host->hole_arm(toy_session, 1), ALG_ERR_STATE);
	toy_host->hole_free(toy_session, 1);
	toy_host->hole_pause(toy_session, 1, true);
	toy_host->policy(toy_session, &question, &answer);
	CU_ASSERT_FALSE(answer.is_allowed);
	toy_host->timer(toy_session, 1, 1);
	toy_host->note(toy_session, NULL, "%s", "x");
	toy_host->ending(toy_session);
	CU_ASSERT_EQUAL(r->n_freed + r->n_paused + r->timer_ms + r->n_notes + r->n_endings + hole, 0);
	CU_ASSERT_EQUAL(toy_host->now_ms(toy_session), 12345);
	CU_ASSERT_EQUAL(toy_host->size, sizeof(struct alg_host));
	/* In an event there is no message. */
	rig_send(r, "c", "on edit 0 1 x,say c,wait 1,say c\n");
	rig_event(r, ALG_EV_TIMER, 0);
	RIG_EXPECT(r, "c", "rc -4\nrc -4\n");
	rig_free(r);
}

static void passes_wishes_on(void)
{
	struct flow_rig *r = start(&postern_alg_v1);

	rig_send(r, "c", "open;pause 1;public 1 c;say c;timer 7 99;transfer 1;note it is so;ending\n");
	RIG_EXPECT(r, "c", "rc 1001\n");
	CU_ASSERT_EQUAL(r->n_paused, 1);
	CU_ASSERT_EQUAL(r->timer_cookie, 7);
	CU_ASSERT_EQUAL(r->timer_ms, 99);
	CU_ASSERT_EQUAL(r->n_transfers, 1);
	CU_ASSERT_EQUAL(r->n_endings, 1);
	CU_ASSERT_STRING_EQUAL(r->note, "it is so");
	rig_send(r, "c", "timer 8 1;pause 2;pause 0\n");
	CU_ASSERT_EQUAL(r->timer_cookie, 7);
	CU_ASSERT_EQUAL(r->n_paused, 1);
	rig_take(r, "s");
	r->is_denying = true;
	rig_send(r, "c", "policy GET x\n");
	CU_ASSERT_EQUAL(strlen(rig_take(r, "c")), ALG_TEXT_MAX - 1 + 1); /* and the line end, which is a reply of its own */
	RIG_EXPECT(r, "s", "");
	CU_ASSERT_EQUAL(r->verdict, ALG_DROP);
	r->reserve_result = ALG_ERR_DENIED;
	rig_send(r, "c", "reserve 0;say c\n");
	RIG_EXPECT(r, "c", "rc -2\n");
	r->reserve_result = 0;
	r->arm_result = ALG_ERR_LIMIT;
	rig_send(r, "c", "open;say c\n");
	RIG_EXPECT(r, "c", "rc -1\n");
	rig_free(r);
}

/* Limits of pinholes */

static void holes_at_their_limits(void)
{
	struct flow_rig *r = start(&postern_alg_v1);
	uint32_t n = 0;

	for (int i = 0; i < TOY_HOLES_MAX; i++) {
		rig_send(r, "c", "open;say c\n");
		RIG_EXPECT(r, "c", "rc 0\n");
	}
	rig_send(r, "c", "open;say c\n");
	RIG_EXPECT(r, "c", "rc -1\n");
	/* One that is gone makes room for one, however it went. */
	rig_send(r, "c", "free 3;open;say c\n");
	rig_event(r, ALG_EV_EXPIRED, 4);
	rig_send(r, "c", "open;say c\n");
	rig_event(r, ALG_EV_ENDED, 5);
	rig_send(r, "c", "open;say c;open;say c\n");
	RIG_EXPECT(r, "c", "rc 0\nrc 0\nrc 0\nrc -1\n");
	CU_ASSERT_EQUAL(r->n_freed, 1);
	/* Holes of nobody. */
	rig_send(r, "c", "free 3;free 5;free 0;free 77;arm 5;say c;arm 0;say c\n");
	RIG_EXPECT(r, "c", "rc -4\nrc -4\n");
	CU_ASSERT_EQUAL(r->n_freed, 1);
	/* Another class has its own limit, and all together have one. */
	while (n++ < 1000 && strcmp(rig_take(r, "c"), "rc -1\n") != 0) {
		rig_send(r, "c", "reserve 1;say c\n");
		rig_take(r, "s");
	}
	CU_ASSERT_EQUAL(r->n_holes, 256 + 3); /* those three that are gone */
	rig_free(r);
}

static void commits_at_their_limit(void)
{
	struct flow_rig *r = start(&postern_alg_v1);

	rig_send(r, "c", "open\n");
	rig_take(r, "s");
	r->arm_result = 1;
	r->n_armed = 0;
	for (int i = 0; i < 31; i++)
		rig_send(r, "c", "arm 1;arm 1\n");
	CU_ASSERT_EQUAL(r->n_armed, 62);
	rig_send(r, "s", "arm 1;arm 1;say c;arm 1;say c;arm 1;say c\n");
	CU_ASSERT_EQUAL(r->n_armed, 64); /* the 65th is not even asked for */
	for (int i = 0; i < 64; i++) {
		CU_ASSERT_EQUAL(strlen(rig_take(r, "s")), i % 2 == 0 && i > 0 && i <= 62 ? 12 : 0);
		flow_committed(r->flow, 1, 0);
	}
	RIG_EXPECT(r, "c", "rc 0\nrc -1\nrc -1\narm 1;arm 1;say c;arm 1;say c;arm 1;say c\n");
	rig_free(r);
}

static void waits_at_their_limit(void)
{
	static const char line[] = "wait 1;wait 2;wait 3;wait 4;say s;wait 5;say s;wait 99;say s;wait 4000000000;say s;x\n";
	struct flow_rig *r = start(&postern_alg_v1);

	rig_send(r, "c", "open;open;open;open;open\n");
	for (int i = 1; i <= 5; i++)
		r->is_busy[i] = true;
	rig_send(r, "s", line);
	CU_ASSERT_STRING_EQUAL(rig_take(r, "s") + 25, "rc 0\nrc -1\nrc 0\nrc 0\n");
	for (uint32_t i = 1; i <= 4; i++) {
		RIG_EXPECT(r, "c", "");
		rig_event(r, ALG_EV_ENDED, i);
	}
	RIG_EXPECT(r, "c", line);
	rig_free(r);
}

/* Modules that cannot be */

static void impossible_modules(void)
{
	static struct alg_module m;

#define IMPOSSIBLE(change) \
	do { \
		m = postern_alg_v1; \
		change; \
		CU_ASSERT_PTR_NULL(rig_new(&m)); \
		CU_ASSERT_EQUAL(rig_result, ERR_UNSUPPORTED); \
	} while (0)

	IMPOSSIBLE(m.magic = 1);
	IMPOSSIBLE(m.abi_major = 2);
	IMPOSSIBLE(m.abi_major = 0);
	IMPOSSIBLE(m.size = sizeof(m) - 1);
	IMPOSSIBLE(m.name = NULL);
	IMPOSSIBLE(m.open = NULL);
	IMPOSSIBLE(m.bytes = NULL);
	IMPOSSIBLE(m.message_max = 0);
	IMPOSSIBLE(m.message_max = (1 << 20) + 1);
	IMPOSSIBLE(m.message_max = SIZE_MAX);
	IMPOSSIBLE(m.state_size = (1 << 20) + 1);
	IMPOSSIBLE(m.classes = NULL);
	IMPOSSIBLE(m.is_datagram = true; m.message_max = 65536);
	CU_ASSERT_EQUAL(toy_n_open, 0);
	/* A later minor version only appends. */
	m = postern_alg_v1;
	m.abi_minor = 9;
	m.size = sizeof(m) + 64;
	m.close = NULL;
	m.event = NULL;
	rig_free(start(&m));
	toy_n_open = 0;
}

static void memory_runs_out(void)
{
	int n = 0;

	for (; n < 20; n++) {
		struct flow_rig *r;

		fails_at = n;
		r = rig_new(&postern_alg_v1);
		fails_at = -1;
		if (r != NULL) {
			/* From here on nothing is allocated. */
			fails_at = 0;
			rig_send(r, "c", "open;reply c x;edits 32 60;hold\nrest\n");
			rig_send(r, "s", "resume c\n");
			fails_at = -1;
			CU_ASSERT(strlen(rig_take(r, "s")) > 1900);
			rig_free(r);
			break;
		}
		CU_ASSERT_EQUAL(rig_result, -ENOMEM);
		CU_ASSERT_EQUAL(toy_n_open, 0);
	}
	CU_ASSERT_EQUAL(n, 3);
}

static const struct unit_test tests[] = {
	{ "bypass", bypass },
	{ "bypass behind what waits", bypass_behind_what_waits },
	{ "bypass of much", bypass_moves_much },
	{ "probes", probes },
	{ "datagrams", datagrams },
	{ "datagrams wait", datagrams_wait },
	{ "datagrams at their limit", datagrams_at_their_limit },
	{ "faulty modules are bypassed", faults },
	{ "faulty with datagrams and events", faulty_datagrams_and_events },
	{ "calls that take too long end the session", too_slow },
	{ "wishes at the wrong time", wishes_at_the_wrong_time },
	{ "wishes are passed on", passes_wishes_on },
	{ "holes at their limits", holes_at_their_limits },
	{ "commits at their limit", commits_at_their_limit },
	{ "waits at their limit", waits_at_their_limit },
	{ "modules that cannot be", impossible_modules },
	{ "memory runs out", memory_runs_out },
};

UNIT_MAIN("flow faults", tests)
