/* algs/flow.h: what becomes of messages, their order, replies, waiting, backpressure, endings. */
#include "algs/flow.h"

#include <stdio.h>

#include "core/err.h"
#include "tests/unit/flow_rig.h"
#include "tests/unit/unit.h"

static struct flow_rig *start(void)
{
	struct flow_rig *r = rig_new(&postern_alg_v1);

	CU_ASSERT_PTR_NOT_NULL_FATAL(r);
	return r;
}

/* Messages */

static void passes_and_drops(void)
{
	struct flow_rig *r = start();

	CU_ASSERT_EQUAL(rig_send(r, "c", "hello\nwor"), 0);
	RIG_EXPECT(r, "s", "hello\n");
	CU_ASSERT_EQUAL(rig_send(r, "c", "ld\n\n"), 0);
	RIG_EXPECT(r, "s", "world\n\n");
	rig_send(r, "s", "drop\nstays\n");
	RIG_EXPECT(r, "c", "stays\n");
	RIG_EXPECT(r, "s", "");
	CU_ASSERT_EQUAL(rig_stats(r).messages[ALG_CLIENT], 3);
	CU_ASSERT_EQUAL(rig_stats(r).messages[ALG_SERVER], 2);
	CU_ASSERT_EQUAL(rig_stats(r).dropped[ALG_SERVER], 1);
	CU_ASSERT_EQUAL(rig_stats(r).octets_in[ALG_CLIENT], 13);
	CU_ASSERT_EQUAL(rig_stats(r).octets_out[ALG_SERVER], 13);
	CU_ASSERT_EQUAL(rig_stats(r).octets_out[ALG_CLIENT], 6);
	CU_ASSERT_EQUAL(rig_stats(r).edited[ALG_CLIENT], 0);
	rig_free(r);
	CU_ASSERT_EQUAL(toy_n_open, 0);
}

/* The module is told how much it wants, and is not asked before. */
static void waits_for_what_it_needs(void)
{
	struct flow_rig *r = start();
	unsigned n;

	rig_send(r, "c", "need 10\n");
	n = toy_n_calls;
	for (int i = 0; i < 9; i++)
		rig_send(r, "c", "x");
	CU_ASSERT_EQUAL(toy_n_calls, n);
	RIG_EXPECT(r, "s", "");
	flow_input(r->flow, ALG_CLIENT, SPAN_LIT("y"), false);
	CU_ASSERT_EQUAL(toy_n_calls, n + 1);
	/* It says the same again: at its end the side's octets pass. */
	flow_input(r->flow, ALG_CLIENT, SPAN_NONE, true);
	RIG_EXPECT(r, "s", "need 10\nxxxxxxxxxy");
	CU_ASSERT(flow_is_finished(r->flow, ALG_SERVER));
	rig_free(r);
}

static void passes_what_is_too_long(void)
{
	struct flow_rig *r = start();
	char text[2 * TOY_MESSAGE_MAX + 1];

	memset(text, 'a', sizeof(text));
	text[TOY_MESSAGE_MAX - 1] = '\0';
	rig_send(r, "c", text);
	RIG_EXPECT(r, "s", "");
	rig_send(r, "c", "b");
	CU_ASSERT_EQUAL(strlen(rig_take(r, "s")), TOY_MESSAGE_MAX);
	/* In one piece it is cut in the same place. */
	text[TOY_MESSAGE_MAX - 1] = 'a';
	text[TOY_MESSAGE_MAX + 3] = '\0';
	rig_send(r, "s", text);
	CU_ASSERT_EQUAL(strlen(rig_take(r, "c")), TOY_MESSAGE_MAX);
	rig_send(r, "s", "drop\n");
	RIG_EXPECT(r, "c", "aaadrop\n");
	CU_ASSERT_PTR_NULL(flow_fault(r->flow));
	/* A line of exactly the limit is one. */
	text[0] = 'h';
	memcpy(text, "drop;", 5);
	text[TOY_MESSAGE_MAX - 1] = '\n';
	text[TOY_MESSAGE_MAX] = '\0';
	rig_send(r, "s", text);
	RIG_EXPECT(r, "c", "");
	CU_ASSERT_EQUAL(rig_stats(r).dropped[ALG_SERVER], 1);
	rig_free(r);
}

/* Edits */

static void edits(void)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "edit 0 4 E;edit 4 1 _;tail\n", "E_0 4 E;edit 4 1 _;tail\n" },
		{ "edit 4 1 _;edit 0 4 E\n", "E_4 1 _;edit 0 4 E\n" },
		{ "edit 0 0 <;edit 22 1 >\n", "<edit 0 0 <;edit 22 1 >>" },
		{ "edit 0 0 a;edit 0 0 b\n", "abedit 0 0 a;edit 0 0 b\n" },
		{ "edit 0 5 x;edit 0 0 b\n", "bx0 5 x;edit 0 0 b\n" },
		{ "edit 0 0 b;edit 0 5 x\n", "bx0 0 b;edit 0 5 x\n" },
		{ "edit 5 0 b;edit 0 5 x\n", "xb5 0 b;edit 0 5 x\n" },
		{ "edit 0 5 x;edit 5 0 b\n", "xb0 5 x;edit 5 0 b\n" },
		{ "edit 0 9\n", "" },
		{ "edit 0 8;\n", ";\n" },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct flow_rig *r = start();

		rig_send(r, "c", cases[i].in);
		RIG_EXPECT(r, "s", cases[i].out);
		CU_ASSERT_STRING_EQUAL(r->original, cases[i].in);
		CU_ASSERT_STRING_EQUAL(r->edited, cases[i].out);
		CU_ASSERT_EQUAL(rig_stats(r).edited[ALG_CLIENT], 1);
		CU_ASSERT_PTR_NULL(flow_fault(r->flow));
		rig_free(r);
	}
}

/* What is edited to what it was has not changed. */
static void edits_that_change_nothing(void)
{
	struct flow_rig *r = start();

	rig_send(r, "c", "edit 0 4 edit\n");
	RIG_EXPECT(r, "s", "edit 0 4 edit\n");
	CU_ASSERT_EQUAL(rig_stats(r).edited[ALG_CLIENT], 0);
	rig_free(r);
}

static void edits_at_their_limits(void)
{
	static const struct {
		const char *line;
		size_t more;
		const char *says;
	} cases[] = {
		{ "edits 64 1;say c;" "0123456789012345678901234567890123456789012345678901234567890123456789\n", 64, "rc 0\n" },
		{ "edits 65 1;say c;" "0123456789012345678901234567890123456789012345678901234567890123456789\n", 64, "rc -1\n" },
		{ "edits 2 1024;say c\n", 2048, "rc 0\n" },
		{ "edits 2 1025;say c\n", 1025, "rc -1\n" },
		{ "edits 1 2048;edit 0 1;say c\n", 2047, "rc 0\n" },
		{ "edits 1 2049;say c\n", 0, "rc -1\n" },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct flow_rig *r = start();

		rig_send(r, "c", cases[i].line);
		RIG_EXPECT(r, "c", cases[i].says);
		CU_ASSERT_EQUAL(strlen(rig_take(r, "s")), strlen(cases[i].line) + cases[i].more);
		CU_ASSERT_PTR_NULL(flow_fault(r->flow)); /* too much is refused, and no fault */
		rig_free(r);
	}
}

/* Order */

static void waits_for_commits(void)
{
	struct flow_rig *r = start();

	r->arm_result = 1;
	rig_send(r, "s", "before\nopen;first\nbehind\n");
	RIG_EXPECT(r, "c", "before\n");
	rig_send(r, "c", "the other way\n");
	RIG_EXPECT(r, "s", "the other way\n");
	flow_committed(r->flow, 7, 0); /* none of ours */
	RIG_EXPECT(r, "c", "");
	flow_committed(r->flow, 1, 0);
	RIG_EXPECT(r, "c", "open;first\nbehind\n");
	flow_committed(r->flow, 1, 0); /* once too often */
	/* All of a message's pinholes, in any order. */
	rig_send(r, "s", "open;open;two\n");
	flow_committed(r->flow, 3, 0);
	RIG_EXPECT(r, "c", "");
	flow_committed(r->flow, 2, 0);
	RIG_EXPECT(r, "c", "open;open;two\n");
	/* One hole armed twice. */
	rig_send(r, "s", "arm 3;arm 3\n");
	flow_committed(r->flow, 3, 0);
	RIG_EXPECT(r, "c", "");
	flow_committed(r->flow, 3, 0);
	RIG_EXPECT(r, "c", "arm 3;arm 3\n");
	rig_free(r);
}

/* What is said in the same call waits as well, to both sides; and in the order in which it was said. */
static void replies_wait_for_commits(void)
{
	struct flow_rig *r = start();

	r->arm_result = 1;
	rig_send(r, "s", "reply c one;reply s two;open;drop\n");
	rig_send(r, "s", "later\n");
	rig_send(r, "c", "meanwhile\n");
	RIG_EXPECT(r, "c", "");
	RIG_EXPECT(r, "s", "");
	flow_committed(r->flow, 1, 0);
	RIG_EXPECT(r, "c", "one\nlater\n");
	RIG_EXPECT(r, "s", "two\nmeanwhile\n");
	rig_free(r);
}

static void a_commit_that_fails(void)
{
	struct flow_rig *r = start();

	rig_send(r, "c", "tell c\n");
	r->arm_result = 1;
	rig_send(r, "s", "open;x\n");
	flow_committed(r->flow, 1, ERR_LIMIT);
	RIG_EXPECT(r, "c", "open;x\nevent 3 1\n");
	CU_ASSERT_STRING_EQUAL(r->note, "toy: a pinhole could not be opened");
	/* The handle is void. */
	rig_send(r, "s", "arm 1;say c\n");
	RIG_EXPECT(r, "c", "rc -4\narm 1;say c\n");
	rig_free(r);
}

static void waits_no_longer_for_what_is_gone(void)
{
	struct flow_rig *r = start();

	r->arm_result = 1;
	rig_send(r, "s", "open;a\n");
	rig_send(r, "s", "open;b\n");
	rig_send(r, "c", "free 1\n");
	RIG_EXPECT(r, "c", "open;a\n");
	CU_ASSERT(r->is_freed[1]);
	rig_event(r, ALG_EV_EXPIRED, 2);
	RIG_EXPECT(r, "c", "open;b\n");
	CU_ASSERT_FALSE(r->is_freed[2]);
	flow_committed(r->flow, 1, 0);
	flow_committed(r->flow, 2, 0);
	/* In the very call. */
	rig_send(r, "s", "open;free 3;c\n");
	RIG_EXPECT(r, "c", "open;free 3;c\n");
	rig_free(r);
}

static void waits_for_data(void)
{
	struct flow_rig *r = start();

	rig_send(r, "c", "open\n");
	rig_send(r, "c", "open\n");
	rig_take(r, "s");
	rig_send(r, "s", "wait 1;not busy\n");
	RIG_EXPECT(r, "c", "wait 1;not busy\n");
	r->is_busy[1] = r->is_busy[2] = true;
	rig_send(r, "s", "reply c before;wait 1;wait 2;wait 1;reply c after;reply s back;226\n");
	rig_send(r, "c", "reply c local;noop\n");
	RIG_EXPECT(r, "c", "before\n");
	RIG_EXPECT(r, "s", "back\nreply c local;noop\n");
	rig_event(r, ALG_EV_OPENED, 1);
	rig_event(r, ALG_EV_ENDED, 1);
	RIG_EXPECT(r, "c", "");
	rig_event(r, ALG_EV_ENDED, 2);
	RIG_EXPECT(r, "c", "after\nreply c before;wait 1;wait 2;wait 1;reply c after;reply s back;226\nlocal\n");
	rig_free(r);
}

static void data_and_commit(void)
{
	struct flow_rig *r = start();

	rig_send(r, "c", "open\n");
	r->is_busy[1] = true;
	r->arm_result = 1;
	rig_send(r, "s", "wait 1;open;x\n");
	rig_event(r, ALG_EV_ENDED, 1);
	RIG_EXPECT(r, "c", "");
	flow_committed(r->flow, 2, 0);
	RIG_EXPECT(r, "c", "wait 1;open;x\n");
	r->is_busy[2] = true;
	rig_send(r, "s", "wait 2;open;y\n");
	flow_committed(r->flow, 3, 0);
	RIG_EXPECT(r, "c", "");
	rig_send(r, "c", "free 2\n"); /* what flows is cut, so nothing is waited for */
	RIG_EXPECT(r, "c", "wait 2;open;y\n");
	rig_free(r);
}

static void holds(void)
{
	struct flow_rig *r = start();
	unsigned n;

	rig_send(r, "c", "before\nhold;reply s mine;edit 0 4 HELD\nbehind\n");
	n = toy_n_calls;
	RIG_EXPECT(r, "s", "before\nmine\n");
	rig_send(r, "c", "more\n");
	CU_ASSERT_EQUAL(toy_n_calls, n); /* nobody looks at what is behind */
	/* What the module says to that side meanwhile goes before it, or the two would wait for each other. */
	rig_send(r, "s", "reply s question\n");
	RIG_EXPECT(r, "s", "question\n");
	RIG_EXPECT(r, "c", "reply s question\n");
	rig_send(r, "s", "resume s\n"); /* the other one */
	RIG_EXPECT(r, "s", "");
	rig_send(r, "s", "reply s last;resume c;drop\n");
	RIG_EXPECT(r, "s", "last\nHELD;reply s mine;edit 0 4 HELD\nbehind\nmore\n");
	RIG_EXPECT(r, "c", "resume s\n");
	/* By an event; and one that is held and waits for the kernel as well. */
	r->arm_result = 1;
	rig_send(r, "s", "on resume c\n");
	rig_send(r, "c", "open;hold\n");
	rig_event(r, ALG_EV_TIMER, 3);
	RIG_EXPECT(r, "s", "");
	flow_committed(r->flow, 1, 0);
	RIG_EXPECT(r, "s", "open;hold\n");
	rig_free(r);
}

/* Nothing was held when resume() was called: it does not count for what comes. */
static void resumes_nothing(void)
{
	struct flow_rig *r = start();

	rig_send(r, "c", "resume c;hold\n");
	RIG_EXPECT(r, "s", "");
	rig_send(r, "s", "resume c\n");
	RIG_EXPECT(r, "s", "resume c;hold\n");
	rig_free(r);
}

/* HOLD with nothing consumed: what the call did is void, and the octets are shown again. */
static void asks_again(void)
{
	struct flow_rig *r = start();
	unsigned n;

	rig_send(r, "c", "before\nedit 0 1 X;reply c no;reply s no;again;reply c yes;edit 1 1 Y\nbehind\n");
	RIG_EXPECT(r, "s", "before\n");
	n = toy_n_calls;
	rig_send(r, "c", "more\n");
	RIG_EXPECT(r, "c", "");
	CU_ASSERT_EQUAL(toy_n_calls, n);
	CU_ASSERT_EQUAL(r->n_messages, 1);
	CU_ASSERT_EQUAL(rig_stats(r).replies[ALG_CLIENT] + rig_stats(r).replies[ALG_SERVER], 0);
	rig_send(r, "s", "reply s while\n");
	RIG_EXPECT(r, "s", "while\n");
	rig_send(r, "s", "resume c;drop\n");
	CU_ASSERT_EQUAL(toy_n_calls, n + 2 + 3);
	RIG_EXPECT(r, "c", "reply s while\nno\nyes\n");
	RIG_EXPECT(r, "s", "no\nXYit 0 1 X;reply c no;reply s no;again;reply c yes;edit 1 1 Y\nbehind\nmore\n");
	CU_ASSERT_EQUAL(rig_stats(r).replies[ALG_CLIENT], 2);
	rig_free(r);

	/* Neither the side's end nor a full input makes it pass; an event may resume. */
	r = start();
	rig_send(r, "s", "on resume c\n");
	rig_send(r, "c", "again;drop\nlast\n");
	while (flow_room(r->flow, ALG_CLIENT) > 0)
		CU_ASSERT_EQUAL_FATAL(rig_send(r, "c", "\n"), 0);
	flow_input(r->flow, ALG_CLIENT, SPAN_NONE, true);
	RIG_EXPECT(r, "s", "");
	CU_ASSERT_EQUAL(toy_n_ends, 0);
	rig_event(r, ALG_EV_TIMER, 0);
	CU_ASSERT_EQUAL(strncmp(rig_take(r, "s"), "last\n\n\n", 7), 0);
	CU_ASSERT(flow_is_finished(r->flow, ALG_SERVER));
	rig_free(r);

	/* Bypass by the other side: nobody is left to be asked. */
	r = start();
	rig_send(r, "c", "again;drop\n");
	rig_send(r, "s", "bypass\n");
	RIG_EXPECT(r, "s", "again;drop\n");
	rig_free(r);
}

/* Replies */

static void replies_in_their_place(void)
{
	struct flow_rig *r = start();

	rig_send(r, "s", "one\n");
	rig_send(r, "c", "reply c answer;drop\n");
	rig_send(r, "s", "two\nreply c three;four\n");
	RIG_EXPECT(r, "c", "one\nanswer\ntwo\nthree\nreply c three;four\n");
	RIG_EXPECT(r, "s", "");
	CU_ASSERT_EQUAL(rig_stats(r).replies[ALG_CLIENT], 2);
	/* From an event. */
	rig_send(r, "c", "on reply c timeout,reply s bye\n");
	rig_take(r, "s");
	rig_event(r, ALG_EV_TIMER, 0);
	RIG_EXPECT(r, "c", "timeout\n");
	RIG_EXPECT(r, "s", "bye\n");
	rig_free(r);
}

static void replies_at_their_limits(void)
{
	struct flow_rig *r = start();

	rig_send(r, "c", "fill c 2049;say s\n");
	RIG_EXPECT(r, "s", "rc -1\nfill c 2049;say s\n");
	RIG_EXPECT(r, "c", "");
	rig_send(r, "c", "fill c 2048;fill c 1;say s\n");
	RIG_EXPECT(r, "s", "rc -1\nfill c 2048;fill c 1;say s\n");
	CU_ASSERT_EQUAL(strlen(rig_take(r, "c")), 2048);
	/* Each side has its own; and the message still fits. */
	rig_send(r, "c", "fill c 2000;fill s 2048;x\n");
	CU_ASSERT_EQUAL(strlen(rig_take(r, "c")), 2000);
	CU_ASSERT_EQUAL(strlen(rig_take(r, "s")), 2048 + 26);
	/* Events without end fill what there is, and no more. */
	rig_send(r, "c", "on fill s 2048\n");
	for (int i = 0; i < 1000; i++)
		rig_event(r, ALG_EV_TIMER, 0);
	CU_ASSERT(strlen(rig_take(r, "s")) < 20000);
	CU_ASSERT_PTR_NULL(flow_fault(r->flow));
	rig_send(r, "c", "still\n");
	RIG_EXPECT(r, "s", "still\n");
	rig_free(r);
}

/* A side that does not read stops what is read from the others, in bounded memory, and loses nothing. */
static void backpressure(void)
{
	struct flow_rig *r = start();
	char line[32];
	unsigned n_sent = 0, n_got = 0;
	const char *at;

	while (flow_room(r->flow, ALG_CLIENT) >= 16 && n_sent < 100000) {
		snprintf(line, sizeof(line), "line %010u\n", n_sent++);
		CU_ASSERT_EQUAL_FATAL(rig_send(r, "c", line), 0);
	}
	CU_ASSERT(n_sent > 100);
	CU_ASSERT(n_sent < 2000);
	CU_ASSERT_EQUAL(rig_send(r, "c", "0123456789abcdefg"), ERR_LIMIT);
	rig_send(r, "s", "flows\n");
	RIG_EXPECT(r, "c", "flows\n");
	at = rig_take(r, "s");
	for (; n_got < n_sent; n_got++, at += 16) {
		snprintf(line, sizeof(line), "line %010u\n", n_got);
		if (strncmp(at, line, 16) != 0)
			break;
	}
	CU_ASSERT_EQUAL(n_got, n_sent);
	CU_ASSERT_EQUAL(*at, '\0');
	CU_ASSERT(flow_room(r->flow, ALG_CLIENT) >= TOY_MESSAGE_MAX);
	rig_free(r);
}

/* A side that does not read, whatever was done to what waits for it, does not keep us from reading what it writes. */
static void no_deadlock_after(unsigned n_lines)
{
	struct flow_rig *r = start();

	for (unsigned i = 0; i < n_lines; i++)
		rig_send(r, "c", "a line of thirty-two octets ....\n");
	while (flow_room(r->flow, ALG_CLIENT) >= 40)
		CU_ASSERT_EQUAL_FATAL(rig_send(r, "c", "edits 1 2048;fill s 2048\n"), 0);
	for (int i = 0; i < 1000; i++) {
		CU_ASSERT_EQUAL_FATAL(rig_send(r, "s", "flows\n"), 0);
		RIG_EXPECT(r, "c", "flows\n");
	}
	rig_send(r, "s", "fill s 2048;say c\n"); /* and may be answered */
	RIG_EXPECT(r, "c", "rc 0\nfill s 2048;say c\n");
	rig_free(r);
}

static void no_deadlock(void)
{
	for (unsigned n_lines = 0; n_lines < 150; n_lines += 5)
		no_deadlock_after(n_lines);
}

/* Sent octet by octet, room comes back and messages are judged as it does. */
static void backpressure_in_small_steps(void)
{
	struct flow_rig *r = start();
	size_t n_in = 0, n_out = 0;

	for (int i = 0; i < 20000; i++) {
		while (flow_room(r->flow, ALG_SERVER) >= 5) {
			CU_ASSERT_EQUAL_FATAL(rig_send(r, "s", "abcd\n"), 0);
			n_in += 5;
		}
		if (flow_output(r->flow, ALG_CLIENT).ptr == NULL || flow_output(r->flow, ALG_CLIENT).ptr[0] != "abcd\n"[n_out % 5])
			break;
		flow_sent(r->flow, ALG_CLIENT, 1);
		n_out++;
	}
	CU_ASSERT_EQUAL(n_out, 20000);
	CU_ASSERT_EQUAL(n_out + strlen(rig_take(r, "c")), n_in);
	rig_free(r);
}

/* More pieces that wait than the queue has places for: what is behind stays in the input. */
static void many_that_wait(void)
{
	struct flow_rig *r = start();
	char expected[4096] = "";
	unsigned n = 0;

	r->is_busy[1] = true;
	rig_send(r, "c", "open\n");
	while (flow_room(r->flow, ALG_SERVER) >= 16 && n < 1000 && rig_send(r, "s", "wait 1;reply c x\n") == 0)
		n++;
	CU_ASSERT(n > 30);
	CU_ASSERT(n < 200);
	RIG_EXPECT(r, "c", "");
	r->is_busy[1] = false;
	rig_event(r, ALG_EV_ENDED, 1);
	for (unsigned i = 0; i < n; i++)
		strncat(expected, "x\nwait 1;reply c x\n", sizeof(expected) - strlen(expected) - 1);
	RIG_EXPECT(r, "c", expected);
	rig_free(r);
}

/* Ends */

static void ends(void)
{
	struct flow_rig *r = start();

	rig_send(r, "c", "last\nrest");
	CU_ASSERT_EQUAL(flow_input(r->flow, ALG_CLIENT, SPAN_NONE, true), 0);
	CU_ASSERT_EQUAL(toy_n_ends, 2); /* with the rest, and at the end of everything */
	CU_ASSERT_FALSE(flow_is_finished(r->flow, ALG_SERVER));
	RIG_EXPECT(r, "s", "last\nrest");
	CU_ASSERT(flow_is_finished(r->flow, ALG_SERVER));
	CU_ASSERT_FALSE(flow_is_finished(r->flow, ALG_CLIENT));
	CU_ASSERT_EQUAL(flow_room(r->flow, ALG_CLIENT), 0);
	CU_ASSERT_EQUAL(rig_send(r, "c", "x"), ERR_STATE);
	/* The other side goes on, and what waits is waited for. */
	r->arm_result = 1;
	rig_send(r, "s", "open\n");
	CU_ASSERT_EQUAL(flow_input(r->flow, ALG_SERVER, SPAN_LIT("end\n"), true), 0);
	RIG_EXPECT(r, "c", "");
	CU_ASSERT_FALSE(flow_is_finished(r->flow, ALG_CLIENT));
	flow_committed(r->flow, 1, 0);
	RIG_EXPECT(r, "c", "open\nend\n");
	CU_ASSERT(flow_is_finished(r->flow, ALG_CLIENT));
	CU_ASSERT_EQUAL(toy_n_ends, 4);
	rig_free(r);
}

static void ends_behind_what_is_held(void)
{
	struct flow_rig *r = start();

	rig_send(r, "c", "hold\nx\n");
	flow_input(r->flow, ALG_CLIENT, SPAN_NONE, true);
	CU_ASSERT_EQUAL(toy_n_ends, 0);
	CU_ASSERT_FALSE(flow_is_finished(r->flow, ALG_SERVER));
	rig_send(r, "s", "resume c\n");
	RIG_EXPECT(r, "s", "hold\nx\n");
	CU_ASSERT(flow_is_finished(r->flow, ALG_SERVER));
	rig_free(r);
}

static void resets(void)
{
	struct flow_rig *r = start();

	rig_send(r, "c", "open\nx\n");
	rig_take(r, "s");
	CU_ASSERT_EQUAL(rig_send(r, "s", "reply c sorry;reset\nunseen\n"), ERR_CLOSED);
	CU_ASSERT(flow_is_reset(r->flow));
	CU_ASSERT_EQUAL(flow_room(r->flow, ALG_CLIENT), 0);
	CU_ASSERT_EQUAL(rig_send(r, "c", "y\n"), ERR_CLOSED);
	RIG_EXPECT(r, "c", "sorry\n");
	RIG_EXPECT(r, "s", "");
	CU_ASSERT_EQUAL(r->n_freed, 0); /* the owner closes them with the session */
	rig_free(r);
}

static const struct unit_test tests[] = {
	{ "messages pass and are dropped", passes_and_drops },
	{ "need is waited for", waits_for_what_it_needs },
	{ "what is too long passes", passes_what_is_too_long },
	{ "edits", edits },
	{ "edits that change nothing", edits_that_change_nothing },
	{ "edits at their limits", edits_at_their_limits },
	{ "waits for commits", waits_for_commits },
	{ "replies wait for commits", replies_wait_for_commits },
	{ "a commit that fails", a_commit_that_fails },
	{ "what is gone is not waited for", waits_no_longer_for_what_is_gone },
	{ "waits for data", waits_for_data },
	{ "waits for data and a commit", data_and_commit },
	{ "holds and resumes", holds },
	{ "resume of nothing", resumes_nothing },
	{ "asked again", asks_again },
	{ "replies in their place", replies_in_their_place },
	{ "replies at their limits", replies_at_their_limits },
	{ "backpressure", backpressure },
	{ "a side that does not read", no_deadlock },
	{ "backpressure in small steps", backpressure_in_small_steps },
	{ "many that wait", many_that_wait },
	{ "ends", ends },
	{ "ends behind what is held", ends_behind_what_is_held },
	{ "resets", resets },
};

UNIT_MAIN("flow", tests)
