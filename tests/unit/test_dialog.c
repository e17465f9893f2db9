/* Dialogs: identity, route sets, next hop, sequence numbers, and every limit. */
#include "sbc/dialog.h"

#include <stdio.h>

#include "core/buf.h"
#include "core/err.h"
#include "tests/unit/sip_fixture.h"
#include "tests/unit/unit.h"

enum { CAP = 256 * 1024 };

static struct arena *messages, *owner;

/* An INVITE from 10.0.0.50:5061, or a 200 to ours from there. */
static struct sip_msg *invite(const char *contact, const char *lines)
{
	static char text[16000];
	struct buf out = buf_of(text, sizeof(text));

	buf_printf(&out, "INVITE sip:bob@10.0.0.10 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.50:5061;branch=z9hG4bKa\r\n"
			 "From: \"A\" <sip:alice@example.com;x=1>;tag=at;y=2\r\nTo: sip:bob@example.com;z=3\r\n"
			 "Call-ID: one@a\r\nCSeq: 7 INVITE\r\n%s%s%s%s\r\n",
		   contact ? "Contact: <" : "", contact ? contact : "", contact ? ">\r\n" : "", lines);
	CU_ASSERT_FALSE_FATAL(out.is_full);
	return sip_fixture(messages, buf_span(&out), "10.0.0.50:5061");
}

static struct sip_msg *answer(const char *tag, const char *contact, const char *lines)
{
	static char text[16000];
	struct buf out = buf_of(text, sizeof(text));

	buf_printf(&out, "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.10:5060;branch=z9hG4bKa\r\nFrom: <sip:a@10.0.0.10>;tag=us\r\n"
			 "To: <sip:bob@10.0.0.50>%s%s\r\nCall-ID: one@a\r\nCSeq: 9 INVITE\r\n%s%s%s%s\r\n",
		   tag ? ";tag=" : "", tag ? tag : "", contact ? "Contact: <" : "", contact ? contact : "",
		   contact ? ">\r\n" : "", lines);
	CU_ASSERT_FALSE_FATAL(out.is_full);
	return sip_fixture(messages, buf_span(&out), "10.0.0.50:5061");
}

static void begin(void)
{
	arena_free(messages);
	arena_free(owner);
	messages = arena_new(CAP);
	owner = arena_new(CAP);
}

static void begin_uas(struct dialog *dialog, const char *contact, const char *lines, bool is_symmetric)
{
	begin();
	memset(dialog, 0, sizeof(*dialog));
	CU_ASSERT_EQUAL(dialog_init_uas(dialog, owner, invite(contact, lines), is_symmetric), 0);
}

static int begin_uac(struct dialog *dialog)
{
	struct dialog_parties parties = { SPAN_LIT("<sip:a@10.0.0.10>"), SPAN_LIT("<sip:bob@10.0.0.50>"),
					  SPAN_LIT("sip:bob@10.0.0.50"), false };
	struct sip_flow flow = { .realm = 0 };

	begin();
	addr_parse(SPAN_LIT("10.0.0.10:5060"), &flow.local);
	addr_parse(SPAN_LIT("10.0.0.50:5060"), &flow.remote);
	return dialog_init_uac(dialog, owner, &flow, &parties);
}

static void check(struct span got, const char *expected)
{
	if (!span_eq(got, span_of(expected)))
		printf("# got %.*s, not %s\n", SPAN_ARG(got), expected);
	CU_ASSERT(span_eq(got, span_of(expected)));
}

static void check_hop(const struct dialog *dialog, const char *expected)
{
	char text[ADDR_TEXT_MAX];

	check(span_of(addr_text(&dialog->flow.remote, text)), expected);
}

static void identity_of_a_callee(void)
{
	struct dialog dialog;
	struct dialog_text text;
	struct sip_request request;
	char expected[300];

	begin_uas(&dialog, "sip:alice@10.0.0.51", "", false);
	CU_ASSERT_EQUAL(dialog_request(&dialog, SIP_BYE, 0, &text, &request), 0);
	snprintf(expected, sizeof(expected), "<sip:bob@example.com>;tag=%s", dialog.local_tag);
	check(request.method, "BYE");
	check(request.from, expected);
	check(request.to, "\"A\" <sip:alice@example.com;x=1>;tag=at");
	check(request.call_id, "one@a");
	check(request.request_uri, "sip:alice@10.0.0.51");
	CU_ASSERT(span_is_empty(request.routes));
	CU_ASSERT_EQUAL(request.cseq, dialog.local_cseq);
	CU_ASSERT_EQUAL(request.max_forwards, 70);
	check_hop(&dialog, "10.0.0.51:5060");
}

static void identity_of_a_caller(void)
{
	struct dialog dialog;
	struct dialog_text text;
	struct sip_request request;
	uint32_t first;

	CU_ASSERT_EQUAL_FATAL(begin_uac(&dialog), 0);
	CU_ASSERT_EQUAL(dialog_request(&dialog, SIP_INVITE, 0, &text, &request), 0);
	check(request.to, "<sip:bob@10.0.0.50>");
	check(request.request_uri, "sip:bob@10.0.0.50");
	first = request.cseq;
	CU_ASSERT_EQUAL(dialog_learn(&dialog, answer(NULL, NULL, "")), 0);
	CU_ASSERT(span_is_empty(dialog.remote_tag));
	CU_ASSERT_EQUAL(dialog_learn(&dialog, answer("b1", "sip:b@10.0.0.52:5070", "")), 0);
	CU_ASSERT_EQUAL(dialog_request(&dialog, SIP_ACK, first, &text, &request), 0);
	check(request.to, "<sip:bob@10.0.0.50>;tag=b1");
	check(request.request_uri, "sip:b@10.0.0.52:5070");
	CU_ASSERT_EQUAL(request.cseq, first);
	CU_ASSERT_EQUAL(dialog_request(&dialog, SIP_BYE, 0, &text, &request), 0);
	CU_ASSERT_EQUAL(request.cseq, first + 1);
	check_hop(&dialog, "10.0.0.52:5070");
}

/* Record-Route lines and Contact, and what a request looks like then. `reverse` is the caller's side. */
static void route_sets(void)
{
	static const struct {
		const char *records;
		const char *uri[2], *routes[2], *hop[2];
	} cases[] = {
		{ "", { "sip:c@10.0.0.51", "sip:c@10.0.0.51" }, { "", "" }, { "10.0.0.51:5060", "10.0.0.51:5060" } },
		{ "Record-Route: <sip:10.0.0.1;lr>\r\nRecord-Route: \"two\" <sip:10.0.0.2:5062;lr=on>;x=y\r\n",
		  { "sip:c@10.0.0.51", "sip:c@10.0.0.51" },
		  { "Route: <sip:10.0.0.1;lr>\r\nRoute: \"two\" <sip:10.0.0.2:5062;lr=on>;x=y\r\n",
		    "Route: \"two\" <sip:10.0.0.2:5062;lr=on>;x=y\r\nRoute: <sip:10.0.0.1;lr>\r\n" },
		  { "10.0.0.1:5060", "10.0.0.2:5062" } },
		{ "Record-Route: <sip:10.0.0.1>, <sip:10.0.0.2:5062;lr>\r\n",
		  { "sip:10.0.0.1", "sip:c@10.0.0.51" },
		  { "Route: <sip:10.0.0.2:5062;lr>\r\nRoute: <sip:c@10.0.0.51>\r\n",
		    "Route: <sip:10.0.0.2:5062;lr>\r\nRoute: <sip:10.0.0.1>\r\n" },
		  { "10.0.0.1:5060", "10.0.0.2:5062" } },
		{ "Record-Route: <sip:10.0.0.1>\r\n",
		  { "sip:10.0.0.1", "sip:10.0.0.1" },
		  { "Route: <sip:c@10.0.0.51>\r\n", "Route: <sip:c@10.0.0.51>\r\n" },
		  { "10.0.0.1:5060", "10.0.0.1:5060" } },
		/* Names are not resolved: back to where it came from. */
		{ "Record-Route: <sip:proxy.example.com;lr>\r\n", { "sip:c@10.0.0.51", "sip:c@10.0.0.51" },
		  { "Route: <sip:proxy.example.com;lr>\r\n", "Route: <sip:proxy.example.com;lr>\r\n" },
		  { "10.0.0.50:5061", "10.0.0.50:5061" } },
	};

	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		size_t side = i % 2;
		struct dialog dialog;
		struct dialog_text text;
		struct sip_request request;

		if (side == 0) {
			begin_uas(&dialog, "sip:c@10.0.0.51", cases[i / 2].records, false);
		} else {
			CU_ASSERT_EQUAL_FATAL(begin_uac(&dialog), 0);
			CU_ASSERT_EQUAL(dialog_learn(&dialog, answer("b", "sip:c@10.0.0.51", cases[i / 2].records)), 0);
		}
		CU_ASSERT_EQUAL_FATAL(dialog_request(&dialog, SIP_INFO, 0, &text, &request), 0);
		check(request.request_uri, cases[i / 2].uri[side]);
		check(request.routes, cases[i / 2].routes[side]);
		check_hop(&dialog, cases[i / 2].hop[side]);
	}
}

static void next_hop_is_safe(void)
{
	static const struct {
		const char *contact, *hop;
		bool is_symmetric;
	} cases[] = {
		{ "sip:c@10.9.9.9:5099", "10.9.9.9:5099", false },
		{ "sip:c@10.9.9.9:5099", "10.0.0.50:5061", true },
		{ "sip:c@127.0.0.1", "10.0.0.50:5061", false },
		{ "sip:c@224.0.1.75", "10.0.0.50:5061", false },
		{ "sip:c@255.255.255.255", "10.0.0.50:5061", false },
		{ "sip:c@0.0.0.0", "10.0.0.50:5061", false },
		{ "sip:c@[2001:db8::5]", "10.0.0.50:5061", false },
		{ "sip:c@example.com", "10.0.0.50:5061", false },
		{ "tel:+49301234", "10.0.0.50:5061", false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dialog dialog;

		begin_uas(&dialog, cases[i].contact, "", cases[i].is_symmetric);
		check_hop(&dialog, cases[i].hop);
	}
}

static void refresh_moves_the_target_only(void)
{
	struct dialog dialog;
	struct dialog_text text;
	struct sip_request request;

	CU_ASSERT_EQUAL_FATAL(begin_uac(&dialog), 0);
	CU_ASSERT_EQUAL(dialog_learn(&dialog, answer("b", "sip:c@10.0.0.51", "Record-Route: <sip:10.0.0.1;lr>\r\n")), 0);
	CU_ASSERT_EQUAL(dialog_refresh(&dialog, invite("sip:d@10.0.0.53", "Record-Route: <sip:10.0.0.9;lr>\r\n")), 0);
	CU_ASSERT_EQUAL(dialog_request(&dialog, SIP_INFO, 0, &text, &request), 0);
	check(request.request_uri, "sip:d@10.0.0.53");
	check(request.routes, "Route: <sip:10.0.0.1;lr>\r\n");
	check_hop(&dialog, "10.0.0.1:5060");
	CU_ASSERT_EQUAL(dialog_refresh(&dialog, invite(NULL, "")), 0);
	check(dialog.remote_target, "sip:d@10.0.0.53");
	/* Learning again makes the route set anew (RFC 3261 13.2.2.4). Behind a strict router it is the last route that moves. */
	CU_ASSERT_EQUAL(dialog_learn(&dialog, answer("b", "sip:e@10.0.0.54", "Record-Route: <sip:10.0.0.2>\r\n")), 0);
	CU_ASSERT_EQUAL(dialog_refresh(&dialog, invite("sip:f@10.0.0.55", "")), 0);
	CU_ASSERT_EQUAL(dialog_request(&dialog, SIP_INFO, 0, &text, &request), 0);
	check(request.request_uri, "sip:10.0.0.2");
	check(request.routes, "Route: <sip:f@10.0.0.55>\r\n");
	check_hop(&dialog, "10.0.0.2:5060");
	CU_ASSERT_EQUAL(dialog_learn(&dialog, answer("b", NULL, "")), 0);
	CU_ASSERT_EQUAL(dialog_request(&dialog, SIP_INFO, 0, &text, &request), 0);
	CU_ASSERT(span_is_empty(request.routes));
}

/* Refreshes come for free: a long call must not eat its memory. */
static void refreshes_take_no_memory(void)
{
	struct dialog dialog;
	size_t used;

	begin_uas(&dialog, "sip:alice@10.0.0.51", "", false);
	used = arena_used(owner);
	for (int i = 0; i < 100; i++, arena_reset(messages))
		CU_ASSERT_EQUAL(dialog_refresh(&dialog, invite("sip:alice@10.0.0.52:5077", "")), 0);
	CU_ASSERT_EQUAL(arena_used(owner), used);
}

static void ownership(void)
{
	struct dialog dialog;
	struct sip_msg *msg;

	begin_uas(&dialog, "sip:alice@10.0.0.51", "", false);
	msg = invite("sip:x@10.0.0.51", "");
	CU_ASSERT(dialog_owns(&dialog, msg));
	msg->flow.realm = 1;
	CU_ASSERT_FALSE(dialog_owns(&dialog, msg));
	msg->flow.realm = 0;
	msg->from.tag = SPAN_LIT("AT");
	CU_ASSERT_FALSE(dialog_owns(&dialog, msg));
	msg->from.tag = SPAN_LIT("at");
	msg->call_id = SPAN_LIT("two@a");
	CU_ASSERT_FALSE(dialog_owns(&dialog, msg));
}

static void sequence_numbers(void)
{
	struct dialog dialog;
	struct sip_msg *msg;
	static const struct {
		uint32_t cseq;
		int err;
	} cases[] = { { 7, ERR_STATE }, { 6, ERR_STATE }, { 8, 0 }, { 8, ERR_STATE }, { 100, 0 }, { 99, ERR_STATE },
		      { 2147483647u, 0 }, { 101, ERR_STATE } };

	begin_uas(&dialog, "sip:alice@10.0.0.51", "", false);
	msg = invite(NULL, "");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		msg->cseq = cases[i].cseq;
		CU_ASSERT_EQUAL(dialog_accept_cseq(&dialog, msg), cases[i].err);
	}
	/* Towards a callee the first request sets the number, 0 included. */
	CU_ASSERT_EQUAL_FATAL(begin_uac(&dialog), 0);
	msg = invite(NULL, "");
	msg->cseq = 0;
	CU_ASSERT_EQUAL(dialog_accept_cseq(&dialog, msg), 0);
	CU_ASSERT_EQUAL(dialog_accept_cseq(&dialog, msg), ERR_STATE);
}

static void unwanted_answer(void)
{
	struct dialog dialog;
	struct dialog_text text;
	struct sip_request request;

	begin();
	CU_ASSERT_EQUAL(dialog_init_unwanted(&dialog, owner,
					     answer("b9", "sip:c@10.0.0.51", "Record-Route: <sip:10.0.0.1;lr>\r\n")), 0);
	CU_ASSERT_EQUAL(dialog_request(&dialog, SIP_ACK, 9, &text, &request), 0);
	check(request.from, "<sip:a@10.0.0.10>;tag=us");
	check(request.to, "<sip:bob@10.0.0.50>;tag=b9");
	check(request.routes, "Route: <sip:10.0.0.1;lr>\r\n");
	CU_ASSERT_EQUAL(dialog_request(&dialog, SIP_BYE, 0, &text, &request), 0);
	CU_ASSERT_EQUAL(request.cseq, 10);
	/* Without a Contact there is nobody to send to. */
	CU_ASSERT_EQUAL(dialog_init_unwanted(&dialog, owner, answer("b9", NULL, "")), 0);
	CU_ASSERT_EQUAL(dialog_request(&dialog, SIP_ACK, 9, &text, &request), ERR_LIMIT);
}

static void limits(void)
{
	static char long_route[GUARD_LINE_MAX], line[20000];
	struct buf out = buf_of(line, sizeof(line));
	struct dialog dialog;
	struct dialog_text text;
	struct sip_request request;
	struct arena *small = arena_new(64);

	begin();
	CU_ASSERT_EQUAL(dialog_init_uas(&dialog, small, invite("sip:alice@10.0.0.51", ""), false), ERR_LIMIT);
	arena_free(small);
	/* A route set longer than we would send. */
	memset(long_route, 'x', 1200);
	for (int i = 0; i < 4; i++)
		buf_printf(&out, "Record-Route: <sip:10.0.0.%d;lr>;p=%s\r\n", i + 1, long_route);
	CU_ASSERT_EQUAL(dialog_init_uas(&dialog, owner, invite("sip:alice@10.0.0.51", line), false), ERR_LIMIT);
	/* A party longer than a header line of ours. */
	begin_uas(&dialog, "sip:alice@10.0.0.51", "", false);
	dialog.remote = (struct span){ long_route, 600 };
	CU_ASSERT_EQUAL(dialog_request(&dialog, SIP_BYE, 0, &text, &request), ERR_LIMIT);
}

static void finish(void)
{
	arena_free(messages);
	arena_free(owner);
	messages = owner = NULL;
}

static const struct unit_test tests[] = {
	{ "identity, as the callee", identity_of_a_callee },
	{ "identity, as the caller", identity_of_a_caller },
	{ "route sets, loose and strict, both ways", route_sets },
	{ "the next hop is an address that may be sent to", next_hop_is_safe },
	{ "a refresh moves the target, not the routes", refresh_moves_the_target_only },
	{ "refreshes take no memory", refreshes_take_no_memory },
	{ "requests that are not the dialog's", ownership },
	{ "sequence numbers rise", sequence_numbers },
	{ "a 2xx that no call wants", unwanted_answer },
	{ "limits", limits },
	{ "clean-up", finish },
};

UNIT_MAIN("dialog", tests)
