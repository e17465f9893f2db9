/* algs/runner.h: transcripts that hold, and those that must fail, at the line that is wrong. */
#include "algs/runner.h"

#include <errno.h>
#include <stdio.h>

#include "core/err.h"
#include "tests/mock/toy_alg.h"
#include "tests/unit/unit.h"

static struct runner_report report;

static int run(const struct alg_module *module, const char *text)
{
	int ret = runner_run(module, span_of(text), &report);

	CU_ASSERT_EQUAL(toy_n_open, 0);
	return ret;
}

static void holds(void)
{
	static const char text[] =
		"# all that a transcript can say, and\n"
		"   \n"
		"set client 192.0.2.9:5000\n"
		"set server 10.0.0.9:2121\n"
		"set gateway-server 10.0.0.1:1024\r\n"
		"set port 30000\n"
		"set tls pass\nset tls-ports 50000-50063\nset active yes\nset idle 1000\n"
		"C: hello\n"
		"C: a\\r\\n\\t\\\\\\x41 \\\n"
		">S a\n"
		"C:\n"
		">S \\t\\\\A \n"
		"S<<-EOT\n"
		"one\\\n"
		"drop; >C no\n"
		"two\n"
		"EOT\n"
		">C one\\\\\\x0a\\\n"
		">C two\\n\\\n"
		"C: reply c mine;drop\n"
		"drop\n"
		">C mine\\n\\\n"
		"S: open;x\n"
		"hole 1 armed at 10.0.0.9:2121 public C 10.0.0.9:2121 class data paused no\n"
		"S: reserve 0;note it works well\n"
		"note works\n"
		"hole 2 reserved\n"
		"holes 2\n"
		"opened 1\n"
		"hole 1 opened\n"
		"S: wait 1;pause 1;226\n"
		"waits\n"
		"hole 1 opened paused yes\n"
		"C: noop\n"
		"ended 1 bytes 1 2\n"
		">C wait 1;pause 1;226\n"
		"hole 1 ended\n"
		"C: transfer 1\n"
		"transfer user=u verb=GET path=/p direction=down code=226 ok=yes hole=1\n"
		"transfers 1\n"
		"C: free 2;timer 3 500;on timer 4 20000,reply c late\n"
		"hole 2 freed\n"
		"sleep 499\n"
		"sleep 1\n"
		">C late\\n\\\n"
		"C: open;open;on note x\n"
		"sleep 9999\n"
		"hole 3 armed\n"
		"sleep 1\n"
		"hole 3 expired\n"
		"hole 4 expired\n"
		"timer 4\n"
		"C: policy GET /file\n"
		"verdict allow GET none\n"
		"C: open\n"
		"expired 5\n"
		"C: ending\n"
		"ending\n"
		"C: bypass\n"
		"bypass\n"
		"C!\n"
		"S!\n";

	CU_ASSERT_EQUAL(run(&postern_alg_v1, text), 0);
	if (report.line != 0)
		printf("# %u: %s: %s\n", report.line, report.pass, report.text);
	CU_ASSERT_EQUAL(report.line, 0);
	CU_ASSERT_STRING_EQUAL(report.pass, "");
	CU_ASSERT(report.n_passes > 30);
	CU_ASSERT(report.n_checks > 30 * report.n_passes);
}

static void holds_with_late_commits(void)
{
	CU_ASSERT_EQUAL(run(&postern_alg_v1, "set commits later\n"
					     "S: open;a\nwaits\nS: b\nwaits\nC: c\n"
					     "committed 1\n>C open;a\n>C b\n"
					     "C: tell c\nS: open;d\nwaits\ncommitted 2 failed\n>C open;d\n>C event 3 2\\n\\\n"
					     "hole 2 expired\n"), 0);
	CU_ASSERT_EQUAL(run(&postern_alg_v1, "S: reset\nreset\n"), 0);
	CU_ASSERT_EQUAL(run(&postern_alg_v1, "S: limit\nC: open;tell c\nopened 1\n>C event 1 1\\n\\\n"
					     "limit 1 max-bytes\n>C event 4 1\\n\\\n"), 0);
}

/* What a module never takes is told, however long it is. */
static void tells_what_is_never_taken(void)
{
	static char text[4096] = "C: hold\nwaits\n";

	for (int i = 0; i < 60; i++)
		strncat(text, "C: 0123456789012345678901234567\nwaits\n", sizeof(text) - strlen(text) - 1);
	CU_ASSERT_EQUAL(run(&postern_alg_v1, text), ERR_STATE);
	CU_ASSERT_EQUAL(report.line, 122);
	CU_ASSERT_PTR_NOT_NULL(strstr(report.text, "520 octets of the client were never taken")); /* 1800 less 256 and 1024 */
}

static void asks_the_rules(void)
{
	CU_ASSERT_EQUAL(run(&postern_alg_v1, "rule deny verb=PUT,DELE target=\"^/a b\" text=\"no {target}\" name=no-ab\n"
					     "rule allow class=read client=192.0.2.0/24,198.51.100.1 server=10.0.0.5\n"
					     "rule deny observe=yes verb=PUT\n"
					     "rule allow verb=PUT max-per-minute=1\n"
					     "rule default deny\n"
					     "C: policy PUT /a b\ndrop\n>C no /a b\\\n>C \\n\\\nverdict deny PUT no-ab\n"
					     "C: policy GET /a\nverdict allow GET rule-2\nsleep 60000\n"
					     "C: policy PUT /c\nverdict allow PUT rule-4\n"
					     "sleep 59999\n"
					     "C: policy OTHER /c\ndrop\n>C denied\\\n>C \\n\\\nverdict deny OTHER default\n"
					     "sleep 60000\n"
					     "C: policy put /c\nverdict allow put rule-4\n"), 0);
	if (report.line != 0)
		printf("# %u: %s: %s\n", report.line, report.pass, report.text);
}

/* Failures */

struct failing {
	const char *text;
	int ret;
	unsigned line;
	const char *says;
};

static void fail(const struct alg_module *module, const struct failing *cases, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct failing *c = &cases[i];
		int ret = run(module, c->text);

		if (ret != c->ret || report.line != c->line || strstr(report.text, c->says) == NULL)
			printf("# case %u: %d at %u: %s\n", i, ret, report.line, report.text);
		CU_ASSERT_EQUAL(ret, c->ret);
		CU_ASSERT_EQUAL(report.line, c->line);
		CU_ASSERT_PTR_NOT_NULL(strstr(report.text, c->says));
	}
}
#define FAIL(module, cases) fail(&(module), cases, sizeof(cases) / sizeof((cases)[0]))

static void fails_of_octets(void)
{
	static const struct failing cases[] = {
		{ "C: a\n>S b\n", ERR_STATE, 2, "at the server should come 'b\\r\\n', but there came a\\r\\n" },
		{ "C: a\n>S a\n>S b\n", ERR_STATE, 3, "but there came nothing" },
		{ "S: a\n\nS: edit 0 1 X\n", ERR_STATE, 3, "at the client should come 'edit 0 1 X\\r\\n', but there came Xdit" },
		{ "C: drop\n", ERR_STATE, 1, "should come" },
		{ "C: a\ndrop\n", ERR_STATE, 1, "at the server came, unexpected: a\\r\\n" },
		{ "C: a\nwaits\n", ERR_STATE, 1, "unexpected" },
		{ "C: reply c x\n", ERR_STATE, 1, "at the client came, unexpected: x\\n" },
		{ "C: reply c x;drop\n>C x\\n\\\n", ERR_STATE, 1, "should come" }, /* an answer does not say what becomes of it */
		{ "C: reply c x\n>C x\\n\\\n>S y\n", ERR_STATE, 3, "should come 'y\\r\\n'" },
		{ "C: reply c x\n>C x\\n\\\n>C z\n", ERR_STATE, 3, "nothing" },
		{ "C: open;on reply c \\x01\\\\ \xfe\nopened 1\n", ERR_STATE, 2, "\\x01\\\\ \\xfe\\n" },
		{ "C: hold\nwaits\nC: x\nwaits\nC!\n", 0, 0, "" },
	};

	FAIL(postern_alg_v1, cases);
}

static void fails_of_state(void)
{
	static const struct failing cases[] = {
		{ "C: open\nhole 1 reserved\n", ERR_STATE, 2, "hole 1 is armed" },
		{ "C: open\nhole 2 armed\n", ERR_STATE, 2, "there is no hole 2" },
		{ "C: open\nhole 0 armed\n", ERR_STATE, 2, "there is no hole 0" },
		{ "C: open\nhole 1 armed at 10.0.0.5:1\n", ERR_STATE, 2, "hole 1 is at 10.0.0.5:7777" },
		{ "C: open\nhole 1 armed public C 10.0.0.5:1\n", ERR_STATE, 2, "the client has to send to 10.0.0.5:7777" },
		{ "C: open\nhole 1 armed public S 10.0.0.5:1\n", ERR_STATE, 2, "no public address for the server" },
		{ "C: open\nhole 1 armed class x\n", ERR_STATE, 2, "of class data" },
		{ "C: open\nhole 1 armed paused yes\n", ERR_STATE, 2, "not paused" },
		{ "C: open\nholes 0\n", ERR_STATE, 2, "holes that are open: 1" },
		{ "C: x\nverdict allow GET none\n", ERR_STATE, 2, "not asked" },
		{ "C: policy GET x\nverdict deny GET none\n", ERR_STATE, 2, "allow GET none" },
		{ "C: policy GET x\nverdict allow PUT none\n", ERR_STATE, 2, "allow GET none" },
		{ "C: policy GET x\nverdict allow GET r\n", ERR_STATE, 2, "allow GET none" },
		{ "C: x\ntransfer user=u\n", ERR_STATE, 2, "nothing was recorded" },
		{ "C: transfer 1\ntransfer user=u code=1\n", ERR_STATE, 2, "code is '226'" },
		{ "C: transfer 1\ntransfers 2\n", ERR_STATE, 2, "transfers: 1" },
		{ "C: note abc\nnote abd\n", ERR_STATE, 2, "the last note is 'abc'" },
		{ "C: x\nnote \n", ERR_STATE, 2, "the last note" },
		{ "C: x\nending\n", ERR_STATE, 2, "end was not seen" },
		{ "C: x\nbypass\n", ERR_STATE, 2, "not bypassed" },
		{ "C: bypass\n", ERR_STATE, 1, "is bypassed" },
		{ "C: x\nreset\n", ERR_STATE, 1, "at the server came" },
		{ "C: drop\ndrop\nreset\n", ERR_STATE, 3, "was not reset" },
		{ "C: reset\ndrop\n", ERR_STATE, 1, "was reset" },
		{ "C: take 0\nbypass\n", ERR_STATE, 1, "the module is faulty: took nothing of a message" },
		{ "C: reserve 0\nopened 1\n", ERR_STATE, 2, "not armed" },
		{ "C: open\nopened 2\n", ERR_STATE, 2, "no such hole" },
		{ "C: open\nended 1\n", ERR_STATE, 2, "nothing flows" },
		{ "C: open\nlimit 1 x\n", ERR_STATE, 2, "nothing flows" },
		{ "C: open\nopened 1\nexpired 1\n", ERR_STATE, 3, "expires while" },
		{ "C: open\ncommitted 1\n", ERR_STATE, 2, "not on its way" },
		{ "C: x\ntimer 0\n", ERR_STATE, 2, "does not run" },
		{ "C: x\ntimer 8\n", ERR_STATE, 2, "does not run" },
		{ "C: open\nopened 1\nended 1 bytes 1\n", ERR_STATE, 3, "is wanted" },
		{ "holes 0\nC: x\n", ERR_STATE, 1, "nothing has happened yet" },
	};

	FAIL(postern_alg_v1, cases);
}

static void fails_of_grammar(void)
{
	static const struct failing cases[] = {
		{ "", ERR_PARSE, 0, "nothing happens" },
		{ "# only this\n", ERR_PARSE, 1, "nothing happens" },
		{ "holes 0\n", ERR_PARSE, 1, "nothing happens" },
		{ "C: x\nwhat\n", ERR_PARSE, 2, "what is this" },
		{ "C x\n", ERR_PARSE, 1, "what is this" },
		{ "X: x\n", ERR_PARSE, 1, "what is this" },
		{ "C!x\n", ERR_PARSE, 1, "what is this" },
		{ "C<EOT\n", ERR_PARSE, 1, "what is this" },
		{ "C: x\n>Sx\n", ERR_PARSE, 2, "what is this" },
		{ "C: x\n>\n", ERR_PARSE, 2, "what is this" },
		{ "C: \\q\n", ERR_PARSE, 1, "an escape is" },
		{ "C: \\x1\n", ERR_PARSE, 1, "an escape is" },
		{ "C: \\x1g\n", ERR_PARSE, 1, "an escape is" },
		{ "C: x\nC<<EOT\nEOT \n EOT\n", ERR_PARSE, 2, "do not end" },
		{ "C<<\n\n", ERR_PARSE, 1, "wants a word" },
		{ "C<<-\n\n", ERR_PARSE, 1, "wants a word" },
		{ "C: x\nset port 2000\n", ERR_PARSE, 2, "before the first message" },
		{ "C: x\nrule default deny\n", ERR_PARSE, 2, "before the first message" },
		{ "set client 192.0.2.1\n", ERR_PARSE, 1, "an address with port" },
		{ "set port 100\n", ERR_PARSE, 1, "no such setting" },
		{ "set tls maybe\n", ERR_PARSE, 1, "no such setting" },
		{ "set tls-ports 2-1\n", ERR_PARSE, 1, "A-B" },
		{ "set tls-ports 0-1\n", ERR_PARSE, 1, "A-B" },
		{ "set nothing yes\n", ERR_PARSE, 1, "no such setting" },
		{ "rule\nC: x\n", ERR_PARSE, 1, "a rule is" },
		{ "rule maybe\nC: x\n", ERR_PARSE, 1, "a rule is" },
		{ "rule default maybe\nC: x\n", ERR_PARSE, 1, "a rule is" },
		{ "rule deny colour=red\nC: x\n", ERR_PARSE, 1, "no such part" },
		{ "rule deny verb\nC: x\n", ERR_PARSE, 1, "no such part" },
		{ "rule deny code=x\nC: x\n", ERR_PARSE, 1, "no such part" },
		{ "rule deny direction=left\nC: x\n", ERR_PARSE, 1, "no such part" },
		{ "rule deny client=10.0.0.1/24\nC: x\n", ERR_PARSE, 1, "no such part" },
		{ "rule deny target=(\nC: x\n", ERR_PARSE, 2, "rule-1" },
		{ "C: x\nsleep\n", ERR_PARSE, 2, "a number" },
		{ "C: x\nopened x\n", ERR_PARSE, 2, "a number" },
		{ "C: open\nhole 1 shut\n", ERR_PARSE, 2, "a hole is reserved" },
		{ "C: open\nhole 1 armed with x\n", ERR_PARSE, 2, "of a hole" },
		{ "C: open\nhole 1 armed at x\n", ERR_PARSE, 2, "an address with port" },
		{ "C: open\nhole 1 armed public X 1.2.3.4:5\n", ERR_PARSE, 2, "public C ADDR" },
		{ "C: open\nhole 1 armed public C x\n", ERR_PARSE, 2, "an address with port" },
		{ "C: transfer 1\ntransfer size=1\n", ERR_PARSE, 2, "of a transfer" },
		{ "C: policy GET x\nverdict yes\n", ERR_PARSE, 2, "a verdict is" },
	};

	FAIL(postern_alg_v1, cases);
}

/* Passes: what only shows when octets come another way. */

static unsigned n_asked;

static struct alg_result counts_calls(void *state, enum alg_side from, struct alg_bytes bytes, bool is_end)
{
	(void)state;
	(void)from;
	(void)is_end;
	n_asked++;
	return bytes.len < 3 ? (struct alg_result){ ALG_NEED, 0, 0 } : (struct alg_result){ ALG_PASS, bytes.len, 0 };
}

/* Takes a read for a message. */
static struct alg_result believes_in_packets(void *state, enum alg_side from, struct alg_bytes bytes, bool is_end)
{
	(void)state;
	(void)from;
	(void)is_end;
	if (bytes.len == 0 || bytes.ptr[0] != 'd')
		return (struct alg_result){ ALG_PASS, bytes.len, 0 };
	return (struct alg_result){ ALG_DROP, bytes.len, 0 };
}

static void passes_differ(void)
{
	struct alg_module m = postern_alg_v1;

	m.bytes = believes_in_packets;
	CU_ASSERT_EQUAL(run(&m, "C: drop\ndrop\n"), ERR_STATE);
	CU_ASSERT_STRING_EQUAL(report.pass, "octet by octet");
	CU_ASSERT_EQUAL(report.line, 1);
	/* One octet at a time is fine with it, and only pairs are not. */
	CU_ASSERT_EQUAL(run(&m, "C: d\\\ndrop\nC: d\\\ndrop\n"), 0);
	CU_ASSERT_EQUAL(run(&m, "C: d\\\ndrop\nC: e\\\n"), ERR_STATE);
	CU_ASSERT_STRING_EQUAL(report.pass, "joined");
	m.bytes = counts_calls;
	CU_ASSERT_EQUAL(run(&m, "C: abc\\\n"), 0);
	CU_ASSERT_EQUAL(report.n_passes, 6); /* as written, late commits, octets, joined, cut at 1 and 2 */
}

static void late_commits_show(void)
{
	/* What leaves in an earlier call than its pinhole leaves too early: nothing waits for it, so all passes
	 * agree; what leaves in the same call does not come before. */
	CU_ASSERT_EQUAL(run(&postern_alg_v1, "S: open;x\nhole 1 armed\nC: y\n"), 0);
	CU_ASSERT_EQUAL(report.n_passes, 4 + 7);
}

static void joins_messages(void)
{
	/* The state in between is not looked at when both come at once. */
	CU_ASSERT_EQUAL(run(&postern_alg_v1, "C: open\nhole 1 armed\nC: free 1\nhole 1 freed\nholes 0\n"), 0);
	CU_ASSERT_EQUAL(run(&postern_alg_v1, "C: open\nholes 1\nC: free 1\nholes 1\n"), ERR_STATE);
	CU_ASSERT_EQUAL(report.line, 4);
}

static void datagrams(void)
{
	static const struct failing cases[] = {
		{ "C: drop\n", ERR_STATE, 1, "should come 'drop', but there came nothing" },
		{ "C: reply s ab;cd\n>S ab\\ncd\n", ERR_STATE, 2, "there came ab\\n" },
		{ "C: reply s ab;drop\n>S ab\\n\n>S \n", ERR_STATE, 3, "nothing" },
		{ "C: a\n>S a\n", 0, 0, "" },
		{ "C:\n", 0, 0, "" },
		{ "C:\ndrop\n", ERR_STATE, 1, "unexpected" },
		{ "C: hold\nwaits\nC: x\nwaits\nC: y\n", ERR_STATE, 5, "was not taken" },
	};

	FAIL(toy_datagram_module, cases);
}

static void other_versions(void)
{
	struct alg_module m = postern_alg_v1;

	m.abi_major = 7;
	CU_ASSERT_EQUAL(run(&m, "C: x\n"), ERR_UNSUPPORTED);
	CU_ASSERT_PTR_NOT_NULL(strstr(report.text, "cannot be run"));
	CU_ASSERT_EQUAL(runner_fuzz(&m, SPAN_LIT("C: x\n"), 1, 1, &report), ERR_UNSUPPORTED);
}

/* Fuzzing */

static uint64_t seen;

static struct alg_result remembers(void *state, enum alg_side from, struct alg_bytes bytes, bool is_end)
{
	(void)state;
	seen = seen * 31 + (uint64_t)from + is_end;
	for (size_t i = 0; i < bytes.len; i++)
		seen = seen * 31 + (uint8_t)bytes.ptr[i];
	return (struct alg_result){ ALG_PASS, bytes.len, 0 };
}

static struct alg_result slips(void *state, enum alg_side from, struct alg_bytes bytes, bool is_end)
{
	(void)state;
	(void)from;
	(void)is_end;
	return (struct alg_result){ ALG_PASS, bytes.len + (bytes.len > 10), 0 };
}

static void fuzzes(void)
{
	static const char text[] = "C: open;one 1\nopened 1\nS: wait 1;two\nwaits\nended 1\n>C wait 1;two\nC: hold\nwaits\n"
				   "S: resume c;x\n>S hold\n>C resume c;x\nC!\n";
	struct alg_module m = postern_alg_v1;
	uint64_t first;

	CU_ASSERT_EQUAL(runner_fuzz(&postern_alg_v1, span_of(text), 1, 300, &report), 0);
	CU_ASSERT_EQUAL(report.n_passes, 300);
	CU_ASSERT_EQUAL(runner_fuzz(&toy_datagram_module, span_of(text), 2, 300, &report), 0);
	CU_ASSERT_EQUAL(runner_fuzz(&toy_probed_module, span_of(text), 3, 300, &report), 0);
	/* The same seed does the same. */
	m.bytes = remembers;
	seen = 1;
	runner_fuzz(&m, span_of(text), 5, 50, &report);
	first = seen;
	seen = 1;
	runner_fuzz(&m, span_of(text), 5, 50, &report);
	CU_ASSERT_EQUAL(seen, first);
	seen = 1;
	runner_fuzz(&m, span_of(text), 6, 50, &report);
	CU_ASSERT_NOT_EQUAL(seen, first);
	/* A fault is found, and named with its round. */
	m.bytes = slips;
	CU_ASSERT_EQUAL(runner_fuzz(&m, SPAN_LIT("C: short\n"), 1, 1000, &report), ERR_STATE);
	CU_ASSERT_PTR_NOT_NULL(strstr(report.text, "took more than it was given"));
	CU_ASSERT_PTR_NOT_NULL(strstr(report.text, "round "));
	CU_ASSERT_EQUAL(runner_fuzz(&m, SPAN_LIT("what\n"), 1, 1, &report), ERR_PARSE);
	CU_ASSERT_EQUAL(report.line, 1);
	CU_ASSERT_EQUAL(toy_n_open, 0);
}

static const struct unit_test tests[] = {
	{ "a transcript holds", holds },
	{ "late commits hold", holds_with_late_commits },
	{ "rules", asks_the_rules },
	{ "what is never taken", tells_what_is_never_taken },
	{ "octets that are not as expected", fails_of_octets },
	{ "state that is not as expected", fails_of_state },
	{ "faulty transcripts", fails_of_grammar },
	{ "passes that differ", passes_differ },
	{ "late commits", late_commits_show },
	{ "joined messages", joins_messages },
	{ "datagrams", datagrams },
	{ "modules of another version", other_versions },
	{ "fuzzing", fuzzes },
};

UNIT_MAIN("runner", tests)
