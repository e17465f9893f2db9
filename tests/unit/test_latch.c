/* Latching: every row of the rule in latch.h. */
#include <stdio.h>

#include "media-relay/latch.h"
#include "tests/unit/unit.h"

enum { WINDOW = 5000, START = 100000, GRACE = LATCH_GRACE_MS };

static struct addr ip(const char *text)
{
	struct addr addr = { 0 };

	CU_ASSERT_EQUAL_FATAL(addr_parse(span_of(text), &addr), 0);
	return addr;
}

#define SIGNALLED "198.51.100.7:4000"
#define SAME_IP "198.51.100.7:4002"
#define OTHER "203.0.113.9:4000"
#define THIRD "203.0.113.10:4000"

struct packet {
	unsigned at_ms; /* after the window opened */
	const char *source;
	bool is_unfit;
	enum latch_verdict verdict;
};
struct row {
	const char *name;
	enum latch_reach reach;
	bool is_unreachable;
	const char *also;
	struct packet packets[6];
};

#define NO LATCH_REJECT
#define OK LATCH_ACCEPT
#define LOCK LATCH_ACCEPT_LOCKED

static const struct row rows[] = {
	{ "strict: the exact source locks", LATCH_STRICT, false, NULL,
	  { { 0, SIGNALLED, false, LOCK }, { 1, SIGNALLED, false, OK }, { 2, SAME_IP, false, NO } } },
	{ "strict: never another port", LATCH_STRICT, false, NULL,
	  { { 0, SAME_IP, false, NO }, { 1000, SAME_IP, false, NO }, { 1001, OTHER, false, NO } } },
	{ "strict: even when the signalled address cannot be reached", LATCH_STRICT, true, NULL,
	  { { 0, SAME_IP, false, NO }, { 0, OTHER, false, NO } } },
	{ "exact source locks after the window", LATCH_ANY, false, NULL,
	  { { WINDOW + 1000, SIGNALLED, false, LOCK } } },
	{ "exact source locks though unfit by its kind", LATCH_STRICT, false, NULL, { { 0, SIGNALLED, true, LOCK } } },
	{ "same IP: after the grace", LATCH_SAME_IP, false, NULL,
	  { { 50, SAME_IP, false, NO }, { 49 + GRACE, SAME_IP, false, NO }, { 50 + GRACE, SAME_IP, false, LOCK },
	    { 300, SAME_IP, false, OK }, { 301, SIGNALLED, false, NO } } },
	{ "same IP: the exact source wins in the grace", LATCH_SAME_IP, false, NULL,
	  { { 0, SAME_IP, false, NO }, { 100, SIGNALLED, false, LOCK }, { 300, SAME_IP, false, NO } } },
	{ "same IP: at once when the signalled address cannot be reached", LATCH_SAME_IP, true, NULL,
	  { { 0, SAME_IP, false, LOCK } } },
	{ "same IP: never another IP", LATCH_SAME_IP, false, NULL,
	  { { 0, OTHER, false, NO }, { 1000, OTHER, false, NO } } },
	{ "same IP: a foreign source starts no grace", LATCH_SAME_IP, false, NULL,
	  { { 0, OTHER, false, NO }, { 1000, SAME_IP, false, NO }, { 1000 + GRACE, SAME_IP, false, LOCK } } },
	{ "same IP: not after the window", LATCH_SAME_IP, false, NULL,
	  { { 0, SAME_IP, false, NO }, { WINDOW, SAME_IP, false, NO } } },
	{ "same IP: last moment of the window", LATCH_SAME_IP, false, NULL,
	  { { 0, SAME_IP, false, NO }, { WINDOW - 1, SAME_IP, false, LOCK } } },
	{ "same IP: that of RTP counts for RTCP", LATCH_SAME_IP, false, OTHER,
	  { { 0, "203.0.113.9:4001", false, NO }, { GRACE, "203.0.113.9:4001", false, LOCK } } },
	{ "any: another IP after twice the grace", LATCH_ANY, false, NULL,
	  { { 0, OTHER, false, NO }, { GRACE, OTHER, false, NO }, { 2 * GRACE, OTHER, false, LOCK },
	    { 500, THIRD, false, NO }, { 501, SIGNALLED, false, NO } } },
	{ "any: the same IP beats another one", LATCH_ANY, false, NULL,
	  { { 0, OTHER, false, NO }, { GRACE, SAME_IP, false, LOCK }, { 2 * GRACE, OTHER, false, NO } } },
	{ "any: at once when the signalled address cannot be reached", LATCH_ANY, true, NULL,
	  { { 0, OTHER, false, LOCK }, { 1, THIRD, false, NO } } },
	{ "any: not after the window", LATCH_ANY, true, NULL, { { WINDOW, OTHER, false, NO } } },
	{ "any: an unfit source neither locks nor starts the grace", LATCH_ANY, false, NULL,
	  { { 0, OTHER, true, NO }, { 1000, OTHER, true, NO }, { 1001, OTHER, false, NO },
	    { 1001 + 2 * GRACE, OTHER, false, LOCK } } },
};

static void test_table(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct latch_rule rule = { rows[i].reach, rows[i].is_unreachable, WINDOW };
		struct addr signalled = ip(SIGNALLED);
		struct latch latch;

		latch_open(&latch, &rule, &signalled, START);
		if (rows[i].also != NULL)
			latch.also = ip(rows[i].also);
		for (const struct packet *p = rows[i].packets; p < rows[i].packets + 6 && p->source != NULL; p++) {
			struct addr source = ip(p->source);
			enum latch_verdict verdict = latch_check(&latch, &source, !p->is_unfit, START + p->at_ms);

			if (verdict != p->verdict)
				printf("# %s: packet at %u: verdict %d\n", rows[i].name, p->at_ms, (int)verdict);
			CU_ASSERT_EQUAL(verdict, p->verdict);
			CU_ASSERT_EQUAL(latch.state == LATCH_LOCKED && addr_eq(&latch.locked, &source), verdict != NO);
		}
	}
}

static void test_closed(void)
{
	struct addr source = ip(SIGNALLED);
	struct latch latch;

	latch_close(&latch);
	CU_ASSERT_EQUAL(latch_check(&latch, &source, true, START), NO);
	CU_ASSERT_EQUAL(latch.state, LATCH_CLOSED);
}

static void test_open_again(void)
{
	const struct latch_rule rule = { LATCH_SAME_IP, false, WINDOW };
	struct addr first = ip(SIGNALLED), second = ip(THIRD);
	struct latch latch;

	latch_open(&latch, &rule, &first, START);
	CU_ASSERT_EQUAL(latch_check(&latch, &first, true, START), LOCK);
	latch_open(&latch, &rule, &second, START + 10000);
	CU_ASSERT_EQUAL(latch.state, LATCH_OPEN);
	CU_ASSERT_EQUAL(latch_check(&latch, &first, true, START + 10001), NO);
	CU_ASSERT_EQUAL(latch_check(&latch, &second, true, START + 10002), LOCK);
}

static void test_reach(void)
{
	CU_ASSERT_EQUAL(latch_reach_of(NAT_OFF, TRUST_UNTRUSTED), LATCH_STRICT);
	CU_ASSERT_EQUAL(latch_reach_of(NAT_OFF, TRUST_TRUSTED), LATCH_STRICT);
	CU_ASSERT_EQUAL(latch_reach_of(NAT_LATCH, TRUST_TRUSTED), LATCH_SAME_IP);
	CU_ASSERT_EQUAL(latch_reach_of(NAT_LATCH, TRUST_UNTRUSTED), LATCH_ANY);
	CU_ASSERT_STRING_EQUAL(latch_state_text(LATCH_LOCKED), "locked");
	CU_ASSERT_STRING_EQUAL(latch_state_text((enum latch_state)77), "unknown");
}

static const struct unit_test tests[] = {
	{ "the table of latch.h", test_table },
	{ "closed rejects everything", test_closed },
	{ "opening again forgets the lock", test_open_again },
	{ "reach by realm", test_reach },
};

UNIT_MAIN("latch", tests)
