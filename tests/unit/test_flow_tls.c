/* A flow and the beginning of TLS: nothing is taken before it, and what came in clear behind the message ends the session. */
#include "core/err.h"
#include "tests/unit/flow_rig.h"
#include "tests/unit/unit.h"

static void begins_behind_the_message(void)
{
	struct flow_rig *r = rig_new(&postern_alg_v1);

	rig_send(r, "c", "auth\n");
	CU_ASSERT_FALSE(flow_wants_tls(r->flow));
	RIG_EXPECT(r, "s", "auth\n");
	rig_send(r, "s", "tls\n");
	CU_ASSERT_FALSE(flow_wants_tls(r->flow)); /* the message has not left */
	CU_ASSERT_EQUAL(flow_room(r->flow, ALG_CLIENT), 0);
	CU_ASSERT_EQUAL(flow_room(r->flow, ALG_SERVER), 0);
	RIG_EXPECT(r, "c", "tls\n");
	CU_ASSERT_TRUE(flow_wants_tls(r->flow));
	CU_ASSERT_FALSE(flow_is_protected(r->flow));
	flow_tls_begun(r->flow);
	CU_ASSERT_TRUE(flow_is_protected(r->flow));
	CU_ASSERT_FALSE(flow_wants_tls(r->flow));
	CU_ASSERT_TRUE(flow_room(r->flow, ALG_CLIENT) > 0 && flow_room(r->flow, ALG_SERVER) > 0);
	rig_send(r, "c", "user\n");
	RIG_EXPECT(r, "s", "user\n");
	rig_send(r, "c", "tls; say c\n"); /* a second time */
	RIG_EXPECT(r, "c", "rc -4\n");
	RIG_EXPECT(r, "s", "tls; say c\n");
	CU_ASSERT_FALSE(flow_wants_tls(r->flow));
	rig_free(r);
}

static void behind_a_reply(void)
{
	struct flow_rig *r = rig_new(&postern_alg_v1);

	rig_send(r, "c", "tls; reply c 234 begins; drop\n");
	CU_ASSERT_FALSE(flow_wants_tls(r->flow));
	RIG_EXPECT(r, "c", "234 begins\n");
	CU_ASSERT_TRUE(flow_wants_tls(r->flow));
	flow_tls_begun(r->flow);
	RIG_EXPECT(r, "s", "");
	rig_free(r);
}

/* What has to leave in clear may wait for the kernel. */
static void waits_for_what_waits(void)
{
	struct flow_rig *r = rig_new(&postern_alg_v1);

	r->arm_result = 1;
	rig_send(r, "c", "open\n");
	rig_send(r, "s", "tls\n");
	RIG_EXPECT(r, "c", "tls\n");
	CU_ASSERT_FALSE(flow_wants_tls(r->flow));
	flow_committed(r->flow, 1, 0);
	CU_ASSERT_FALSE(flow_wants_tls(r->flow));
	RIG_EXPECT(r, "s", "open\n");
	CU_ASSERT_TRUE(flow_wants_tls(r->flow));
	rig_free(r);
}

static void injection(void)
{
	static const struct {
		const char *before, *side, *text; /* from the other side before; the message with what is behind it */
	} cases[] = {
		{ NULL, "s", "tls\nrest\n" }, { NULL, "c", "tls; drop\nr" }, { "half a line", "s", "tls\n" },
		{ "hold\nbehind\n", "s", "tls\n" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct flow_rig *r = rig_new(&postern_alg_v1);

		if (cases[i].before != NULL)
			rig_send(r, "c", cases[i].before);
		CU_ASSERT_EQUAL(rig_send(r, cases[i].side, cases[i].text), ERR_CLOSED);
		CU_ASSERT_TRUE(flow_is_reset(r->flow));
		CU_ASSERT_FALSE(flow_wants_tls(r->flow));
		CU_ASSERT_PTR_NOT_NULL(strstr(r->note, "in clear"));
		RIG_EXPECT(r, "c", "");
		rig_free(r);
	}
}

static void from_the_beginning(void)
{
	struct flow_rig *r;

	rig_is_tls = true;
	r = rig_new(&postern_alg_v1);
	rig_is_tls = false;
	CU_ASSERT_TRUE(flow_wants_tls(r->flow));
	CU_ASSERT_EQUAL(flow_room(r->flow, ALG_SERVER), 0);
	flow_tls_begun(r->flow);
	rig_send(r, "s", "tls; say c\n");
	RIG_EXPECT(r, "c", "rc -4\ntls; say c\n");
	rig_free(r);
}

static void faults(void)
{
	static const char *const lines[] = { "tls; hold\n", "tls; bypass\n", "tls; need 10\n" };

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct flow_rig *r = rig_new(&postern_alg_v1);

		rig_send(r, "s", lines[i]);
		CU_ASSERT_PTR_NOT_NULL_FATAL(flow_fault(r->flow));
		CU_ASSERT_STRING_EQUAL(flow_fault(r->flow), "TLS cannot begin with this verdict");
		CU_ASSERT_TRUE(flow_is_bypassed(r->flow));
		CU_ASSERT_FALSE(flow_wants_tls(r->flow) || flow_is_protected(r->flow));
		RIG_EXPECT(r, "c", lines[i]);
		rig_free(r);
	}
}

static void not_at_events(void)
{
	struct flow_rig *r = rig_new(&postern_alg_v1);

	rig_send(r, "c", "on tls, say c\n");
	rig_event(r, ALG_EV_TIMER, 0);
	RIG_EXPECT(r, "c", "rc -4\n");
	CU_ASSERT_FALSE(flow_wants_tls(r->flow));
	rig_free(r);
}

/* What a module of an earlier minor version has behind the members it knows is not read. */
static void protected_holes(void)
{
	struct alg_module earlier = postern_alg_v1;
	struct flow_rig *r = rig_new(&postern_alg_v1);

	rig_send(r, "c", "reserve 0 protected\n");
	CU_ASSERT_TRUE(r->is_protected);
	rig_send(r, "c", "reserve 0\n");
	CU_ASSERT_FALSE(r->is_protected);
	rig_free(r);
	earlier.abi_minor = 0;
	r = rig_new(&earlier);
	rig_send(r, "c", "reserve 0 protected\n");
	CU_ASSERT_EQUAL(r->n_holes, 1);
	CU_ASSERT_FALSE(r->is_protected);
	rig_free(r);
}

static const struct unit_test tests[] = {
	{ "TLS begins behind the message, and nothing is taken before", begins_behind_the_message },
	{ "TLS begins behind a reply of the module's own", behind_a_reply },
	{ "TLS waits for what has to leave in clear", waits_for_what_waits },
	{ "octets in clear behind the message end the session", injection },
	{ "TLS from the beginning", from_the_beginning },
	{ "TLS behind a message that does not go on is a fault", faults },
	{ "TLS begins with messages only", not_at_events },
	{ "holes of protected data, and modules that know nothing of them", protected_holes },
};
UNIT_MAIN("flow-tls", tests)
