/* Drives the transaction layer alone: a transaction user that does what the script says and reports what it is told.
 *
 * Server transactions are named s1, s2, ... in order of arrival, client transactions as the script names them. Events:
 * "s1 request METHOD mf=N", "s1 cancelled", "s1 no-ack", "s1 ended", "s1 reply-refused", "c response CODE", "c timeout",
 * "c transport-error", "c ended", "c no-room", "ack CALL-ID", "stray-2xx CALL-ID". */
#include <stdio.h>
#include <stdlib.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/metrics.h"
#include "sbc/sip_stack.h"
#include "sbc/transport.h"
#include "tests/scenario/scenario.h"

enum { TXNS_MAX = 64, NAME_MAX_LEN = 16 };

struct user_txn {
	struct user *user;
	char name[NAME_MAX_LEN];
	struct server_txn *server; /* NULL when it has ended */
	struct client_txn *client;
};
struct user {
	struct scenario *scenario;
	struct sip_stack *stack;
	const struct config *config;
	struct user_txn txns[TXNS_MAX];
	unsigned n_txns, n_servers;
	int at_once; /* status for `hook at-once` */
	unsigned n_traced;
	char *metrics; /* as they were at the start */
};

static struct user_txn *new_txn(struct user *u, struct span name)
{
	if (u->n_txns == TXNS_MAX || name.len >= NAME_MAX_LEN)
		return NULL;
	struct user_txn *t = &u->txns[u->n_txns++];
	t->user = u;
	memcpy(t->name, name.ptr, name.len);
	return t;
}

static struct user_txn *find_txn(struct user *u, struct span name)
{
	for (unsigned i = 0; i < u->n_txns; i++)
		if (span_eq(span_of(u->txns[i].name), name))
			return &u->txns[i];
	return NULL;
}

/* ---- what the stack says ---- */

static void on_server(void *arg, struct server_txn *txn, enum server_event event, const struct sip_msg *msg)
{
	static const char *const names[] = { [SERVER_CANCELLED] = "cancelled", [SERVER_NO_ACK] = "no-ack",
					     [SERVER_ENDED] = "ended" };
	struct user_txn *t = arg;
	(void)txn;
	(void)msg;
	scenario_event(t->user->scenario, "%s %s", t->name, names[event]);
	if (event == SERVER_ENDED)
		t->server = NULL;
}

static void on_request(void *arg, struct server_txn *txn, const struct sip_msg *request)
{
	struct user *u = arg;
	char name[NAME_MAX_LEN];
	snprintf(name, sizeof(name), "s%u", ++u->n_servers);
	struct user_txn *t = new_txn(u, span_of(name));
	scenario_event(u->scenario, "%s request %.*s mf=%d%s", name, SPAN_ARG(request->method_name),
		       request->max_forwards, sip_stack_has_looped(u->stack, request) ? " looped" : "");
	if (!t)
		return;
	t->server = txn;
	server_txn_bind(txn, on_server, t);
	if (u->at_once)
		server_txn_reply_simple(txn, u->at_once);
}

static void on_ack(void *arg, const struct sip_msg *ack)
{
	struct user *u = arg;
	scenario_event(u->scenario, "ack %.*s", SPAN_ARG(ack->call_id));
}

static void on_stray_2xx(void *arg, const struct sip_msg *response, bool is_answer)
{
	struct user *u = arg;
	if (is_answer)
		scenario_event(u->scenario, "stray-2xx %.*s", SPAN_ARG(response->call_id));
}

static void on_trace(void *arg, bool is_out, const struct sip_flow *flow, struct span call_id, struct span bytes)
{
	struct user *u = arg;
	(void)is_out;
	(void)flow;
	u->n_traced += !span_is_empty(call_id) && !span_is_empty(bytes);
}

static void on_client(void *arg, struct client_txn *txn, enum client_event event, const struct sip_msg *msg)
{
	static const char *const names[] = { [CLIENT_TIMEOUT] = "timeout", [CLIENT_TRANSPORT_ERROR] = "transport-error",
					     [CLIENT_ENDED] = "ended" };
	struct user_txn *t = arg;
	(void)txn;
	if (event == CLIENT_RESPONSE)
		scenario_event(t->user->scenario, "%s response %d", t->name, msg->status);
	else
		scenario_event(t->user->scenario, "%s %s", t->name, names[event]);
	if (event == CLIENT_ENDED)
		t->client = NULL;
}

/* ---- what the script says ---- */

/* LF to CRLF, in static memory. */
static struct span to_lines(struct span body)
{
	static char lines[8192];
	struct buf b = buf_of(lines, sizeof(lines));
	for (size_t i = 0; i < body.len; i++) {
		if (body.ptr[i] == '\n')
			buf_putc(&b, '\r');
		buf_putc(&b, body.ptr[i]);
	}
	return buf_span(&b);
}

/* reply NAME STATUS [tag=T] [contact=URI] [rr] [<<END header lines END] */
static int hook_reply(struct scenario *s, void *state, struct span args, struct span body)
{
	struct user_txn *t = find_txn(state, scenario_word(&args));
	struct sip_reply reply = { .headers = to_lines(body) };
	uint32_t status;
	if (!t || !t->server || span_to_u32(scenario_word(&args), 699, &status) < 0)
		return scenario_fail(s, "no such server transaction, or no status");
	reply.status = (int)status;
	while (args.len > 0) {
		struct span value = scenario_word(&args);
		struct span name = span_cut(&value, '=');
		if (span_eq(name, SPAN_LIT("tag")))
			reply.to_tag = value;
		else if (span_eq(name, SPAN_LIT("contact")))
			reply.contact = value;
		else
			reply.echo_record_route = true;
	}
	int err = server_txn_reply(t->server, &reply);
	if (err == ERR_STATE) {
		scenario_event(s, "%s reply-refused", t->name);
		return 0;
	}
	return err;
}

static int hook_at_once(struct scenario *s, void *state, struct span args, struct span body)
{
	struct user *u = state;
	uint32_t status;
	(void)body;
	if (span_to_u32(args, 699, &status) < 0)
		return scenario_fail(s, "not a status");
	u->at_once = (int)status;
	return 0;
}

static int hook_acked(struct scenario *s, void *state, struct span args, struct span body)
{
	struct user_txn *t = find_txn(state, args);
	(void)body;
	if (!t || !t->server)
		return scenario_fail(s, "no such server transaction");
	server_txn_acked(t->server);
	return 0;
}

static int fill_request(struct scenario *s, struct user *u, struct span *args, struct sip_request *request)
{
	struct span realm_name = scenario_word(args);
	const struct realm_conf *realm = config_realm(u->config, realm_name);
	struct addr dest;
	if (!realm || addr_parse(scenario_word(args), &dest) < 0)
		return scenario_fail(s, "no realm %.*s, or no destination", SPAN_ARG(realm_name));
	return transport_flow_to(sip_stack_transport(u->stack), realm, SIP_UDP, &dest, &request->flow);
}

/* request NAME METHOD REALM DEST [<<END header lines END]; METHOD ACK is sent outside any transaction. */
static int hook_request(struct scenario *s, void *state, struct span args, struct span body)
{
	struct user *u = state;
	struct span name = scenario_word(&args);
	char from[96], call_id[64];
	struct sip_request request = { .method = scenario_word(&args), .request_uri = SPAN_LIT("sip:bob@example.net"),
				       .to = SPAN_LIT("<sip:bob@example.net>"), .cseq = 7, .max_forwards = 69 };
	struct span lines = to_lines(body);

	snprintf(from, sizeof(from), "<sip:alice@example.com>;tag=%.*s", SPAN_ARG(name));
	snprintf(call_id, sizeof(call_id), "%.*s@test", SPAN_ARG(name));
	request.from = span_of(from);
	request.call_id = span_of(call_id);
	if (span_starts(lines, SPAN_LIT("Route:")))
		request.routes = lines;
	else
		request.headers = lines;
	int err = fill_request(s, u, &args, &request);
	if (err < 0)
		return err;
	if (span_eq(request.method, SPAN_LIT("ACK")))
		return sip_stack_ack(u->stack, &request);
	struct user_txn *t = new_txn(u, name);
	if (!t)
		return scenario_fail(s, "too many transactions");
	err = client_txn_new(u->stack, &request, on_client, t, &t->client);
	if (err == ERR_LIMIT) {
		scenario_event(s, "%s no-room", t->name);
		return 0;
	}
	return err;
}

/* flood N REALM DEST: N unbound OPTIONS transactions. */
static int hook_flood(struct scenario *s, void *state, struct span args, struct span body)
{
	struct user *u = state;
	struct sip_request request = { .method = SPAN_LIT("OPTIONS"), .request_uri = SPAN_LIT("sip:bob@example.net"),
				       .from = SPAN_LIT("<sip:alice@example.com>;tag=flood"),
				       .to = SPAN_LIT("<sip:bob@example.net>"), .call_id = SPAN_LIT("flood@test"),
				       .cseq = 1, .max_forwards = 70 };
	uint32_t n;
	(void)body;
	if (span_to_u32(scenario_word(&args), 1000000, &n) < 0)
		return scenario_fail(s, "not a number");
	int err = fill_request(s, u, &args, &request);
	while (err == 0 && n-- > 0) {
		struct client_txn *txn;
		err = client_txn_new(u->stack, &request, NULL, NULL, &txn);
	}
	return err;
}

/* cancel NAME [<<END header lines END] */
static int hook_cancel(struct scenario *s, void *state, struct span args, struct span body)
{
	struct user_txn *t = find_txn(state, args);
	if (!t || !t->client)
		return scenario_fail(s, "no such client transaction");
	client_txn_cancel(t->client, to_lines(body));
	return 0;
}

static int hook_unbind(struct scenario *s, void *state, struct span args, struct span body)
{
	struct user_txn *t = find_txn(state, args);
	(void)body;
	if (!t || (!t->client && !t->server))
		return scenario_fail(s, "no such transaction");
	if (t->client)
		client_txn_unbind(t->client);
	else
		server_txn_bind(t->server, NULL, NULL);
	return 0;
}

static int check_count(struct scenario *s, unsigned is, struct span args)
{
	uint32_t wanted;
	if (span_to_u32(args, UINT32_MAX, &wanted) < 0)
		return scenario_fail(s, "not a number");
	return is == wanted ? 0 : scenario_fail(s, "%u, not %u", is, wanted);
}

static int hook_transactions(struct scenario *s, void *state, struct span args, struct span body)
{
	(void)body;
	return check_count(s, sip_stack_transactions(((struct user *)state)->stack), args);
}

static int hook_traced(struct scenario *s, void *state, struct span args, struct span body)
{
	(void)body;
	return check_count(s, ((struct user *)state)->n_traced, args);
}

/* The value of the first row that has the name and, in quotes, all the label values; -1 when there is none. */
static int find_metric(const char *text, struct span name, struct span values)
{
	struct span rest = span_of(text), wanted = values;

	while (rest.len > 0) {
		struct span line = span_cut(&rest, '\n');
		struct span number = span_sub(line, span_find(line, ' ') + 1, line.len);
		uint32_t value;
		bool is_it = span_starts(line, name) && line.len > name.len && strchr("{ ", line.ptr[name.len]);

		for (values = wanted; is_it && values.len > 0;) {
			struct span label = scenario_word(&values);
			char quoted[64];

			snprintf(quoted, sizeof(quoted), "=\"%.*s\"", SPAN_ARG(label));
			is_it = memmem(line.ptr, line.len, quoted, strlen(quoted)) != NULL;
		}
		if (is_it && span_to_u32(number, INT32_MAX, &value) == 0)
			return (int)value;
	}
	return -1;
}

static int hook_metric(struct scenario *s, void *state, struct span args, struct span body)
{
	struct user *u = state;
	struct span wanted = scenario_word(&args);
	struct span name = scenario_word(&args);
	char *text = metrics_text();
	int then = find_metric(u->metrics ? u->metrics : "", name, args);
	int now = find_metric(text ? text : "", name, args);
	(void)body;

	free(text);
	return then < 0 || now < then ? scenario_fail(s, "no such metric, or it fell") : check_count(s, (unsigned)(now - then), wanted);
}

static const struct scenario_hook hooks[] = {
	{ "acked", "NAME", hook_acked },
	{ "at-once", "STATUS: answer every further request from inside the handler; 0 ends that", hook_at_once },
	{ "cancel", "NAME [<<END header lines]", hook_cancel },
	{ "flood", "N REALM DESTINATION: so many unbound OPTIONS", hook_flood },
	{ "metric", "N NAME [LABEL-VALUE ...]: has grown by N since the start", hook_metric },
	{ "reply", "NAME STATUS [tag=TAG] [contact=URI] [rr] [<<END header lines]", hook_reply },
	{ "request", "NAME METHOD REALM DESTINATION [<<END Route or other header lines]", hook_request },
	{ "traced", "N: messages traced so far", hook_traced },
	{ "transactions", "N: transactions alive", hook_transactions },
	{ "unbind", "NAME", hook_unbind },
};

static int start(struct scenario *s, struct loop *loop, const struct config *config, void **ret_state)
{
	char error[128] = "";
	struct user *u = calloc(1, sizeof(*u));
	if (!u)
		return ERR_LIMIT;
	u->scenario = s;
	u->config = config;
	const struct sip_user user = { u, on_request, on_ack, on_stray_2xx, on_trace };
	int err = sip_stack_new(loop, config, &user, error, sizeof(error), &u->stack);
	if (err < 0) {
		free(u);
		return scenario_fail(s, "stack: %s", error);
	}
	u->metrics = metrics_text();
	*ret_state = u;
	return 0;
}

static void stop(void *state)
{
	struct user *u = state;
	sip_stack_free(u->stack);
	free(u->metrics);
	free(u);
}

int main(int argc, char **argv)
{
	static const struct scenario_program program = { .name = "stack", .directory = "tests/scenario/stack",
							 .start = start, .stop = stop, .hooks = hooks,
							 .n_hooks = sizeof(hooks) / sizeof(hooks[0]) };
	return scenario_main(argc, argv, &program);
}
