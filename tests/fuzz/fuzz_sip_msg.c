/* A message that parses gives a view inside its own copy, and that copy parses again to the same view; with memory
 * failing somewhere it is refused or whole, never half. */
#include "sbc/sip_msg.h"

#include <stdlib.h>

#include "core/arena.h"
#include "core/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct guard_message guarded, guarded_again;
static const struct sip_flow flow;

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

static void check_inside(const struct sip_msg *msg, struct span s)
{
	must(s.ptr == NULL || (s.ptr >= msg->raw.ptr && s.ptr + s.len <= msg->raw.ptr + msg->raw.len));
}

static void check_address(const struct sip_msg *msg, const struct sip_name_addr *addr)
{
	check_inside(msg, addr->text);
	check_inside(msg, addr->uri);
	check_inside(msg, addr->params);
	check_inside(msg, addr->tag);
	must(addr->tag.len <= GUARD_TAG_MAX);
}

static void check_view(const struct sip_msg *msg)
{
	must(msg->n_vias > 0 && msg->n_vias <= GUARD_VIA_MAX && msg->via.host.len > 0);
	must(msg->n_routes <= GUARD_ROUTES_MAX && msg->n_record_routes <= GUARD_ROUTES_MAX);
	must(msg->is_request || msg->n_vias == 1);
	must(!msg->is_request || msg->request_uri.scheme != SIP_SCHEME_OTHER);
	check_inside(msg, msg->via.sent_by);
	check_inside(msg, msg->via.branch);
	check_address(msg, &msg->from);
	check_address(msg, &msg->to);
	check_address(msg, &msg->contact);
	for (unsigned i = 0; i < msg->n_routes; i++)
		check_address(msg, &msg->routes[i]);
	for (unsigned i = 0; i < msg->n_headers; i++) {
		struct span value = msg->headers[i].value;

		check_inside(msg, value);
		must(span_find(value, '\r') == value.len && span_find(value, '\n') == value.len);
	}
	check_inside(msg, msg->body);
}

static void check_same(const struct sip_msg *a, const struct sip_msg *b)
{
	must(a->method == b->method && a->status == b->status && a->cseq == b->cseq && a->n_headers == b->n_headers);
	must(a->n_vias == b->n_vias && a->n_contacts == b->n_contacts && a->n_routes == b->n_routes);
	must(span_eq(a->from.uri, b->from.uri) && span_eq(a->to.tag, b->to.tag) && span_eq(a->via.branch, b->via.branch));
	must(span_eq(a->call_id, b->call_id) && span_eq(a->body, b->body) && span_eq(a->content_type, b->content_type));
}

/* The n-th allocation fails, n taken from the input. */
static void check_memory_failure(struct arena *arena, size_t n)
{
	struct guard_fault fault = { 0 };
	struct sip_msg *msg = NULL;
	int err;

	arena_reset(arena);
	arena_fail_at(arena, n);
	err = sip_msg_parse(arena, &guarded, &flow, &msg, &fault);
	must((err == 0) == (msg != NULL));
	must(err == 0 || (fault.code >= 400 && fault.counter != NULL));
	must(err != 0 || !arena_is_exhausted(arena));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct arena *arena, *arena_again;
	struct guard_fault fault = { 0 };
	struct sip_msg *msg, *again;

	if (arena == NULL) {
		arena = arena_new(1 << 20);
		arena_again = arena_new(1 << 20);
		must(arena != NULL && arena_again != NULL && sip_msg_init() == 0);
	}
	if (guard_scan((struct span){ (const char *)data, size }, &guarded, &fault) != GUARD_OK)
		return 0;
	check_memory_failure(arena, (size * 7 + data[size / 2]) % 300);
	arena_reset(arena);
	arena_reset(arena_again);
	if (sip_msg_parse(arena, &guarded, &flow, &msg, &fault) < 0) {
		must(fault.code >= 400 && fault.counter != NULL);
		return 0;
	}
	check_view(msg);
	must(guard_scan(msg->raw, &guarded_again, &fault) == GUARD_OK);
	must(sip_msg_parse(arena_again, &guarded_again, &flow, &again, &fault) == 0);
	check_same(msg, again);
	return 0;
}
