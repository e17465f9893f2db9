/* The n-th allocation fails, for every n: nothing may crash, leak or stay behind. The linker routes the allocations of
 * everything linked statically through here. */
#include <stdio.h>
#include <stdlib.h>

#include "core/conf.h"
#include "core/err.h"
#include "core/loop.h"
#include "sbc/sip_stack.h"
#include "tests/mock/fake_loop.h"
#include "tests/mock/fake_transport.h"
#include "tests/unit/unit.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);

static long budget = -1; /* allocations until all fail; negative: no limit */
static unsigned n_allocations;

static bool may_allocate(void)
{
	n_allocations++;
	if (budget > 0)
		budget--;
	return budget != 0;
}

void *__wrap_malloc(size_t size)
{
	return may_allocate() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t n, size_t size)
{
	return may_allocate() ? __real_calloc(n, size) : NULL;
}

void *__wrap_realloc(void *old, size_t size)
{
	return may_allocate() ? __real_realloc(old, size) : NULL;
}

struct user {
	struct server_txn *server;
	struct client_txn *client;
	unsigned n_ended;
};

static void on_server(void *arg, struct server_txn *txn, enum server_event event, const struct sip_msg *msg)
{
	struct user *u = arg;
	(void)txn;
	(void)msg;
	if (event == SERVER_ENDED) {
		u->server = NULL;
		u->n_ended++;
	}
}

static void on_request(void *arg, struct server_txn *txn, const struct sip_msg *request)
{
	struct user *u = arg;
	(void)request;
	u->server = txn;
	server_txn_bind(txn, on_server, u);
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
	struct user *u = arg;
	(void)txn;
	(void)msg;
	if (event == CLIENT_ENDED) {
		u->client = NULL;
		u->n_ended++;
	}
}

static const char invite[] = "INVITE sip:bob@192.0.2.10 SIP/2.0\r\n"
			     "Via: SIP/2.0/UDP 192.0.2.50:5060;branch=z9hG4bK1;rport\r\n"
			     "Max-Forwards: 70\r\n"
			     "From: <sip:alice@example.com>;tag=a\r\n"
			     "To: <sip:bob@example.com>\r\n"
			     "Call-ID: one@example.com\r\n"
			     "CSeq: 1 INVITE\r\n"
			     "Contact: <sip:alice@192.0.2.50>\r\n"
			     "Content-Length: 0\r\n\r\n";

/* Answers the oldest packet to `from` with `status`, by its own Via, From and Call-ID. */
static void answer(struct transport *net, const char *from, int status)
{
	struct addr a = { .family = 0 };
	char text[2048];
	CU_ASSERT_EQUAL_FATAL(addr_parse(span_of(from), &a), 0);
	struct fake_packet *packet = fake_transport_take(net, &a);
	if (!packet)
		return;
	const char *via = strstr(packet->bytes.ptr, "Via:");
	const char *end = strstr(via, "Max-Forwards:");
	const char *cseq = strstr(via, "CSeq:");
	snprintf(text, sizeof(text), "SIP/2.0 %d X\r\n%.*sFrom: <sip:a@example.com>;tag=a\r\nTo: <sip:b@example.com>;tag=b\r\n"
		 "Call-ID: x@test\r\n%.*s\r\nContent-Length: 0\r\n\r\n", status, (int)(end - via), via,
		 (int)strcspn(cseq, "\r"), cseq);
	fake_transport_deliver(net, &packet->flow.remote, &packet->flow.local, span_of(text));
	fake_packet_free(packet);
}

static void begin_client(struct sip_stack *stack, const struct config *config, struct user *u)
{
	struct addr dest = { .family = 0 };
	struct sip_request request = { .method = SPAN_LIT("INVITE"), .request_uri = SPAN_LIT("sip:b@example.com"),
				       .from = SPAN_LIT("<sip:a@example.com>;tag=a"), .to = SPAN_LIT("<sip:b@example.com>"),
				       .call_id = SPAN_LIT("x@test"), .cseq = 1, .max_forwards = 70 };
	addr_parse(SPAN_LIT("192.0.2.60:5060"), &dest);
	CU_ASSERT_EQUAL(transport_flow_to(sip_stack_transport(stack), &config->realms[0], SIP_UDP, &dest, &request.flow), 0);
	if (client_txn_new(stack, &request, on_client, u, &u->client) < 0)
		u->client = NULL;
}

/* A call in, a call out that is cancelled; then time until everything must be over. */
static void one_round(struct sip_stack *stack, struct loop *loop, const struct config *config, struct user *u)
{
	struct transport *net = sip_stack_transport(stack);
	struct addr from = { .family = 0 }, to = { .family = 0 };

	addr_parse(SPAN_LIT("192.0.2.50:5060"), &from);
	addr_parse(SPAN_LIT("192.0.2.10:5060"), &to);
	fake_transport_deliver(net, &from, &to, span_of(invite));
	begin_client(stack, config, u);
	answer(net, "192.0.2.60:5060", 180);
	if (u->client)
		client_txn_cancel(u->client, SPAN_LIT("Reason: SIP;cause=200\r\n"));
	answer(net, "192.0.2.60:5060", 200);
	if (u->server && server_txn_reply_simple(u->server, 200) < 0)
		budget = -1; /* a user would go on to end the call */
	if (u->server && !server_txn_has_final(u->server))
		CU_ASSERT_EQUAL(server_txn_reply_simple(u->server, 500), 0);
	fake_loop_advance(loop, 200000);
}

static void every_allocation_fails_once(void)
{
	static const char yaml[] = "realms:\n  core: { addresses: [192.0.2.10], sip: [\"udp:5060\"], "
				   "media_ports: 20000-20999 }\n";
	const struct config *config = NULL;
	struct loop *loop = NULL;
	bool was_enough = false;

	CU_ASSERT_EQUAL_FATAL(config_parse(span_of(yaml), "test", &(struct conf_errors){ .n = 0 }, &config), 0);
	CU_ASSERT_EQUAL_FATAL(loop_new(&loop), 0);
	for (long n = 1; !was_enough && n < 2000; n++) {
		struct user u = { .n_ended = 0 };
		const struct sip_user user = { &u, on_request, on_message, on_stray, NULL };
		struct sip_stack *stack = NULL;
		char error[128];

		budget = n;
		if (sip_stack_new(loop, config, &user, error, sizeof(error), &stack) == 0) {
			one_round(stack, loop, config, &u);
			CU_ASSERT_EQUAL(sip_stack_transactions(stack), 0);
			CU_ASSERT_PTR_NULL(u.server);
			CU_ASSERT_PTR_NULL(u.client);
		}
		was_enough = budget > 0;
		budget = -1;
		sip_stack_free(stack);
	}
	CU_ASSERT(was_enough);
	loop_free(loop);
	config_unref(config);
}

/* Server: the transaction, what replies repeat, the reply. Client: the transaction and the request. The rest is the
 * scripted network's: the delivered copy, and one for each of 100 and 180. */
static void allocations_are_few(void)
{
	static const char yaml[] = "realms:\n  core: { addresses: [192.0.2.10], sip: [\"udp:5060\"], "
				   "media_ports: 20000-20999 }\n";
	struct user u = { .n_ended = 0 };
	const struct sip_user user = { &u, on_request, on_message, on_stray, NULL };
	const struct config *config = NULL;
	struct sip_stack *stack = NULL;
	struct loop *loop = NULL;
	struct addr from = { .family = 0 }, to = { .family = 0 };
	char error[128];

	CU_ASSERT_EQUAL_FATAL(config_parse(span_of(yaml), "test", &(struct conf_errors){ .n = 0 }, &config), 0);
	CU_ASSERT_EQUAL_FATAL(loop_new(&loop), 0);
	CU_ASSERT_EQUAL_FATAL(sip_stack_new(loop, config, &user, error, sizeof(error), &stack), 0);
	addr_parse(SPAN_LIT("192.0.2.50:5060"), &from);
	addr_parse(SPAN_LIT("192.0.2.10:5060"), &to);
	begin_client(stack, config, &u); /* the tables and the arena have their first memory now */
	unsigned before = n_allocations;
	fake_transport_deliver(fake_transport(), &from, &to, span_of(invite));
	CU_ASSERT_EQUAL(server_txn_reply_simple(u.server, 180), 0);
	unsigned after = n_allocations;
	CU_ASSERT(after - before <= 4 + 3 + 2);
	before = n_allocations;
	begin_client(stack, config, &u);
	CU_ASSERT(n_allocations - before <= 2 + 1);
	sip_stack_free(stack);
	loop_free(loop);
	config_unref(config);
}

static const struct unit_test tests[] = {
	{ "every allocation fails once", every_allocation_fails_once },
	{ "allocations are few", allocations_are_few },
};

UNIT_MAIN("txn_memory", tests)
