/* What the transaction layer writes, and that it sends nothing that its own guard would refuse. */
#include <stdio.h>
#include <stdlib.h>

#include "core/conf.h"
#include "core/err.h"
#include "core/loop.h"
#include "sbc/sip_build.h"
#include "tests/mock/fake_loop.h"
#include "tests/mock/fake_transport.h"
#include "tests/unit/unit.h"

struct fixture {
	struct loop *loop;
	const struct config *config;
	struct sip_stack *stack;
	struct server_txn *txn;
	unsigned n_client_events;
};

static void on_request(void *arg, struct server_txn *txn, const struct sip_msg *request)
{
	(void)request;
	((struct fixture *)arg)->txn = txn;
}

static void on_message(void *arg, const struct sip_msg *msg)
{
	(void)arg;
	(void)msg;
}

static void on_stray(void *arg, const struct sip_msg *msg, bool is_answer)
{
	(void)arg, (void)msg, (void)is_answer;
}

static void on_client(void *arg, struct client_txn *txn, enum client_event event, const struct sip_msg *msg)
{
	(void)txn;
	(void)event;
	(void)msg;
	((struct fixture *)arg)->n_client_events++;
}

static void up(struct fixture *f)
{
	static const char yaml[] = "realms:\n  core: { addresses: [192.0.2.10], sip: [\"udp:5060\"], "
				   "media_ports: 20000-20999 }\n";
	char error[128];
	*f = (struct fixture){ .loop = NULL };
	const struct sip_user user = { f, on_request, on_message, on_stray, NULL };
	CU_ASSERT_EQUAL_FATAL(config_parse(span_of(yaml), "test", &(struct conf_errors){ .n = 0 }, &f->config), 0);
	CU_ASSERT_EQUAL_FATAL(loop_new(&f->loop), 0);
	CU_ASSERT_EQUAL_FATAL(sip_stack_new(f->loop, f->config, &user, error, sizeof(error), &f->stack), 0);
}

static void down(struct fixture *f)
{
	sip_stack_free(f->stack);
	loop_free(f->loop);
	config_unref(f->config);
}

static struct addr address(const char *text)
{
	struct addr a = { .family = 0 };
	CU_ASSERT_EQUAL_FATAL(addr_parse(span_of(text), &a), 0);
	return a;
}

static void receive(const char *text)
{
	struct addr from = address("192.0.2.50:5060"), to = address("192.0.2.10:5060");
	CU_ASSERT_EQUAL(fake_transport_deliver(fake_transport(), &from, &to, span_of(text)), 0);
}

static const char options[] = "OPTIONS sip:192.0.2.10 SIP/2.0\r\n"
			      "v: SIP/2.0/UDP 192.0.2.50:5060\r\n ;branch=z9hG4bK1;rport\r\n"
			      "Max-Forwards: 70\r\n"
			      "f: \"Alice\r\n\tand Bob\" <sip:alice@example.com>;tag=a\r\n"
			      "t: <sip:192.0.2.10>\r\n"
			      "i: one@example.com\r\n"
			      "CSeq: 1 OPTIONS\r\n\r\n";

static bool was_sent(const char *part)
{
	struct fake_packet *packet = fake_transport_take(fake_transport(), NULL);
	bool found = packet && strstr(packet->bytes.ptr, part);
	fake_packet_free(packet);
	return found;
}

static bool nothing_was_sent(void)
{
	return fake_transport_peek(fake_transport()) == NULL;
}

static void folds_are_not_sent(void)
{
	struct fixture f;
	up(&f);
	receive(options);
	CU_ASSERT_PTR_NOT_NULL_FATAL(f.txn);
	CU_ASSERT_EQUAL(server_txn_reply_simple(f.txn, 200), 0);
	struct fake_packet *packet = fake_transport_take(fake_transport(), NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(packet);
	CU_ASSERT_PTR_NULL(strstr(packet->bytes.ptr, "\r\n "));
	CU_ASSERT_PTR_NULL(strstr(packet->bytes.ptr, "\r\n\t"));
	CU_ASSERT_PTR_NOT_NULL(strstr(packet->bytes.ptr, ";branch=z9hG4bK1;received=192.0.2.50;rport=5060\r\n"));
	fake_packet_free(packet);
	down(&f);
}

static void bad_replies_stay_here(void)
{
	static char long_text[20000];
	static const struct {
		const char *headers;
		const char *reason;
		const char *to_tag;
		int error;
	} rows[] = {
		{ "X-A: 1", "", "", ERR_PARSE },                          /* the line end is missing */
		{ "X-A: 1\r\nCall-ID: two@example.com\r\n", "", "", ERR_PARSE },
		{ "X A: 1\r\n", "", "", ERR_PARSE },
		{ "X-A: 1\nX-B: 2\r\n", "", "", ERR_PARSE },
		{ "\r\n", "", "", ERR_PARSE },                            /* would end the headers */
		{ "", "OK\r\nX-A: 1\rX", "", ERR_PARSE },
		{ "", "", "a\"b", ERR_PARSE },
		{ "", "", "0123456789012345678901234567890123456789", ERR_LIMIT },
		{ long_text, "", "", ERR_LIMIT },
		{ "X-A: 1\r\n", "Fine", "tag", 0 },
	};
	struct fixture f;

	memset(long_text, 'x', sizeof(long_text) - 1);
	up(&f);
	receive(options);
	CU_ASSERT_PTR_NOT_NULL_FATAL(f.txn);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sip_reply reply = { .status = 200, .reason = span_of(rows[i].reason),
					   .headers = span_of(rows[i].headers), .to_tag = span_of(rows[i].to_tag) };
		int err = server_txn_reply(f.txn, &reply);
		if (err != rows[i].error)
			printf("# row %zu: %s\n", i, err_str(err));
		CU_ASSERT_EQUAL(err, rows[i].error);
		CU_ASSERT(nothing_was_sent() == (err < 0));
	}
	CU_ASSERT(was_sent("SIP/2.0 200 Fine\r\n"));
	CU_ASSERT(server_txn_has_final(f.txn));
	CU_ASSERT_EQUAL(server_txn_method(f.txn), SIP_OPTIONS);
	CU_ASSERT_EQUAL(server_txn_reply_simple(f.txn, 200), ERR_STATE);
	down(&f);
}

static struct sip_request request_to(struct fixture *f, const char *uri)
{
	struct addr dest = address("192.0.2.60:5060");
	struct sip_request request = { .method = SPAN_LIT("INVITE"), .request_uri = span_of(uri),
				       .from = SPAN_LIT("<sip:a@example.com>;tag=a"), .to = SPAN_LIT("<sip:b@example.com>"),
				       .call_id = SPAN_LIT("x@test"), .cseq = 1, .max_forwards = 70,
				       .contact = SPAN_LIT("sip:192.0.2.10"), .content_type = SPAN_LIT("application/sdp"),
				       .body = SPAN_LIT("v=0\r\n") };
	CU_ASSERT_EQUAL_FATAL(transport_flow_to(fake_transport(), &f->config->realms[0], SIP_UDP, &dest, &request.flow), 0);
	return request;
}

static void bad_requests_stay_here(void)
{
	static const char *const uris[] = { "sip:a b", "sip:a\r\nX: 1", "" };
	struct fixture f;
	struct client_txn *txn = NULL;

	up(&f);
	for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
		struct sip_request request = request_to(&f, uris[i]);
		CU_ASSERT_EQUAL(client_txn_new(f.stack, &request, on_client, &f, &txn), ERR_PARSE);
		CU_ASSERT_EQUAL(sip_stack_ack(f.stack, &request), ERR_PARSE);
	}
	CU_ASSERT(nothing_was_sent());
	CU_ASSERT_EQUAL(sip_stack_transactions(f.stack), 0);
	CU_ASSERT_EQUAL(f.n_client_events, 0);
	down(&f);
}

static void whole_request(void)
{
	struct fixture f;
	struct client_txn *txn = NULL;

	up(&f);
	struct sip_request request = request_to(&f, "sip:b@example.com");
	CU_ASSERT_EQUAL_FATAL(client_txn_new(f.stack, &request, on_client, &f, &txn), 0);
	struct fake_packet *packet = fake_transport_take(fake_transport(), NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(packet);
	CU_ASSERT(span_starts(packet->bytes, SPAN_LIT("INVITE sip:b@example.com SIP/2.0\r\n"
						     "Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK")));
	CU_ASSERT_PTR_NOT_NULL(strstr(packet->bytes.ptr, ";rport\r\nMax-Forwards: 70\r\n"
							 "From: <sip:a@example.com>;tag=a\r\nTo: <sip:b@example.com>\r\n"
							 "Call-ID: x@test\r\nCSeq: 1 INVITE\r\nContact: <sip:192.0.2.10>\r\n"
							 "Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"));
	fake_packet_free(packet);
	down(&f);
}

/* What is left unfinished goes with the stack, without a word to its user. */
static void free_in_the_middle(void)
{
	struct fixture f;
	struct client_txn *txn = NULL;

	up(&f);
	receive(options);
	struct sip_request request = request_to(&f, "sip:b@example.com");
	CU_ASSERT_EQUAL_FATAL(client_txn_new(f.stack, &request, on_client, &f, &txn), 0);
	client_txn_cancel(txn, SPAN_LIT("Reason: SIP;cause=200\r\n"));
	CU_ASSERT_EQUAL(sip_stack_transactions(f.stack), 2);
	down(&f);
	CU_ASSERT_EQUAL(f.n_client_events, 0);
}

static const struct unit_test tests[] = {
	{ "folds are not sent", folds_are_not_sent },
	{ "bad replies stay here", bad_replies_stay_here },
	{ "bad requests stay here", bad_requests_stay_here },
	{ "a whole request", whole_request },
	{ "free in the middle", free_in_the_middle },
};

UNIT_MAIN("txn_build", tests)
