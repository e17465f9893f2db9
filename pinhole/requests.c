/* What is wanted becomes requests. Wishes wait in engine->out, one for each pinhole at most, so the queue is bounded by
 * their number; a message is made when the socket takes it, and at most ENGINE_REQUESTS_MAX are unanswered. Several batches
 * share a message; those that were refused for the sake of others are sent again, each by itself. Control thread. */
#include <string.h>

#include "core/err.h"
#include "pinhole/engine.h"
#include "pinhole/limits.h"

void requests_want(struct pinhole *pinhole, enum pinhole_want want)
{
	if (pinhole->want != want) {
		list_remove(&pinhole->queue);
		list_append(&pinhole->engine->out, &pinhole->queue);
		pinhole->want = want;
	}
	engine_kick(pinhole->engine);
}

bool requests_remove_stray(struct pinholes *engine, uint64_t id)
{
	if (engine->n_strays == ENGINE_STRAYS_MAX)
		return false;
	engine->strays[engine->n_strays++] = id;
	engine_kick(engine);
	return true;
}

/* An owner is 16 bytes: those of a UUID, or a hash of any other text. */
static void write_owner(const char *text, uint8_t out[16])
{
	static const uint64_t keys[2][2] = { { 1, 2 }, { 3, 4 } };
	uint64_t halves[2] = { hash_keyed(span_of(text), keys[0]), hash_keyed(span_of(text), keys[1]) };
	unsigned n = 0;

	for (const char *c = text; *c != '\0'; c++) {
		const char *digits = "0123456789abcdef";
		const char *at = strchr(digits, *c);

		if (*c == '-')
			continue;
		if (at == NULL || n == 32)
			break;
		out[n / 2] = (uint8_t)(n % 2 == 0 ? (at - digits) << 4 : out[n / 2] | (at - digits));
		n++;
	}
	if (n != 32)
		memcpy(out, halves, 16);
}

static uint32_t at_most(uint32_t n, uint32_t max)
{
	return n < max ? n : max;
}

static uint8_t flags_of(const struct pinhole_spec *spec)
{
	return (uint8_t)((spec->is_rtp ? WIRE_RTP : 0) | (spec->is_one_shot ? WIRE_ONE_SHOT : 0) |
			 (spec->is_handed_over ? WIRE_HANDED_OVER : 0) | (spec->is_through ? WIRE_THROUGH : 0) |
			 (spec->is_to_self ? WIRE_TO_SELF : spec->is_as_source ? WIRE_AS_SOURCE : 0));
}

static void write_pinhole(const struct pinhole *pinhole, struct wire_pinhole *ret)
{
	const struct pinhole_spec *spec = &pinhole->spec;

	*ret = (struct wire_pinhole){
		.id = pinhole->id,
		.listen = wire_addr_of(&spec->listen), .from = wire_addr_of(&spec->from),
		.source = wire_addr_of(&spec->source), .target = wire_addr_of(&spec->target),
		.payloads = { spec->payloads[0], spec->payloads[1] },
		.packets_per_s = at_most(spec->packets_per_s, LIMITS_PACKETS_MAX),
		.bytes_per_s = at_most(spec->bytes_per_s, LIMITS_BYTES_MAX),
		.lifetime_s = spec->lifetime_s, .clock_hz = spec->clock_hz,
		.realm_in = (uint16_t)spec->realm_in, .realm_out = (uint16_t)spec->realm_out,
		.proto = spec->proto, .dscp = spec->dscp,
		.flags = flags_of(spec),
	};
	write_owner(spec->owner, ret->owner);
}

static struct pinhole *queued(struct list *node)
{
	return LIST_ENTRY(node, struct pinhole, queue);
}

/* How many at this place of the queue have one fate. */
static unsigned batch_length(const struct pinholes *engine, struct list *node)
{
	const struct pinhole *first = queued(node);
	unsigned n = 0;

	if (first->want != WANT_OPEN || first->batch == 0)
		return 1;
	for (; node != &engine->out && queued(node)->want == WANT_OPEN && queued(node)->batch == first->batch; node = node->next)
		n++;
	return n;
}

/* From the head of the queue as many as want the same and fit into a message; batches stay whole. */
static unsigned gather(const struct pinholes *engine, struct pinhole **ret)
{
	struct list *node = engine->out.next;
	const struct pinhole *first = queued(node);
	unsigned n = 0;

	while (node != &engine->out && queued(node)->want == first->want) {
		unsigned more = batch_length(engine, node);

		if (n + more > WIRE_BATCH_MAX || (n > 0 && (first->is_alone || queued(node)->is_alone)))
			break;
		for (; more > 0; more--, node = node->next)
			ret[n++] = queued(node);
	}
	return n;
}

bool requests_send(struct pinholes *engine, enum wire_op op, const void *records, unsigned n, const struct engine_request *what)
{
	struct engine_request *request;

	if (channel_send(engine->channel, op, engine->last_serial + 1, records, n) < 0)
		return false; /* when the channel has ended, its reader finds out */
	request = &engine->requests[(engine->first_request + engine->n_requests++) % ENGINE_REQUESTS_MAX];
	if (what != NULL)
		*request = *what;
	request->op = op;
	request->serial = ++engine->last_serial;
	request->sent_ms = loop_now_ms(engine->loop);
	if (what == NULL) {
		request->n = 0;
		request->socket = NULL;
	}
	return true;
}

static bool send_queued(struct pinholes *engine)
{
	union {
		struct wire_pinhole pinholes[WIRE_BATCH_MAX];
		struct wire_key keys[WIRE_BATCH_MAX];
	} records;
	struct engine_request what;
	enum pinhole_want want = queued(engine->out.next)->want;

	what.n = gather(engine, what.pinholes);
	what.socket = NULL;
	for (unsigned i = 0; i < what.n; i++) {
		what.ids[i] = what.pinholes[i]->id;
		if (want == WANT_OPEN)
			write_pinhole(what.pinholes[i], &records.pinholes[i]);
		else
			records.keys[i].id = what.ids[i];
	}
	if (!requests_send(engine, want == WANT_OPEN ? WIRE_OPEN : WIRE_CLOSE, &records, what.n, &what))
		return false;
	for (unsigned i = 0; i < what.n; i++) {
		struct pinhole *pinhole = what.pinholes[i];

		list_remove(&pinhole->queue);
		pinhole->want = WANT_NOTHING;
		pinhole->was_sent = true;
		pinhole->n_requests++;
	}
	return true;
}

/* Those that somebody has opened meanwhile are left alone. */
static bool send_strays(struct pinholes *engine)
{
	struct wire_key keys[WIRE_BATCH_MAX];
	struct engine_request what = { .n = 0 };
	unsigned at = engine->n_strays;

	while (at > 0 && what.n < WIRE_BATCH_MAX) {
		uint64_t id = engine->strays[--at];

		if (engine_find_any(engine, id) != NULL)
			continue;
		what.ids[what.n] = id;
		keys[what.n++].id = id;
	}
	if (what.n > 0 && !requests_send(engine, WIRE_CLOSE, keys, what.n, &what))
		return false;
	engine->n_strays = at;
	return true;
}

static bool send_looks(struct pinholes *engine)
{
	struct wire_key keys[WIRE_BATCH_MAX];
	struct engine_request what = { .n = 0 };

	LIST_EACH(&engine->looks, node) {
		struct pinhole *pinhole = LIST_ENTRY(node, struct pinhole, look);

		if (what.n == WIRE_BATCH_MAX)
			break;
		what.ids[what.n] = keys[what.n].id = pinhole->id;
		what.pinholes[what.n++] = pinhole;
	}
	if (!requests_send(engine, WIRE_LOOK, keys, what.n, &what))
		return false;
	for (unsigned i = 0; i < what.n; i++) {
		list_remove(&what.pinholes[i]->look);
		what.pinholes[i]->is_looked_at = true;
		what.pinholes[i]->n_requests++;
	}
	return true;
}

static bool send_sweep(struct pinholes *engine)
{
	const struct wire_count since = { .n = engine->starts };

	engine->wants_sweep = !requests_send(engine, WIRE_SWEEP, &since, 1, NULL);
	return !engine->wants_sweep;
}

static bool send_list(struct pinholes *engine)
{
	engine->is_listing = requests_send(engine, WIRE_LIST, NULL, 0, NULL);
	if (engine->is_listing) {
		engine->wants_list = false;
		audit_begin(engine);
	}
	return engine->is_listing;
}

static bool send_next(struct pinholes *engine)
{
	/* Both may come in large numbers: so in turns. */
	engine->was_socket = !list_is_empty(&engine->sockets_out) && (list_is_empty(&engine->out) || !engine->was_socket);
	if (engine->was_socket)
		return sockets_send(engine);
	if (!list_is_empty(&engine->out))
		return send_queued(engine);
	if (!list_is_empty(&engine->looks))
		return send_looks(engine);
	if (engine->n_strays > 0)
		return send_strays(engine);
	/* A sweep removes what was not opened again: so only when nothing is left to open, not even what was refused in the
	 * company of others and is to be tried alone. */
	if (engine->wants_sweep && engine->n_requests == 0)
		return send_sweep(engine);
	if (engine->wants_list && !engine->is_listing)
		return send_list(engine);
	return false;
}

void requests_pump(struct pinholes *engine)
{
	if (!engine->has_hello || !engine_has_helper(engine))
		return;
	while (engine->n_requests < ENGINE_REQUESTS_MAX && send_next(engine))
		;
}

/* The oldest request, when this is its answer; and then out of the ring, unless more answers are to come. */
bool requests_take(struct pinholes *engine, const struct wire_head *head, struct engine_request *ret)
{
	static const enum wire_op answers[] = {
		[WIRE_OPEN] = WIRE_OPENED, [WIRE_CLOSE] = WIRE_CLOSED, [WIRE_SWEEP] = WIRE_SWEPT, [WIRE_LIST] = WIRE_LISTED,
		[WIRE_SOCKET] = WIRE_SOCKET_READY, [WIRE_LOOK] = WIRE_LOOKED,
	};
	const struct engine_request *oldest = &engine->requests[engine->first_request];

	if (engine->n_requests == 0 || head->serial != oldest->serial || head->op != answers[oldest->op])
		return false;
	if (oldest->n != 0 && head->count != oldest->n)
		return false;
	*ret = *oldest;
	if (head->op == WIRE_LISTED && head->count > 0)
		return true;
	engine->first_request = (engine->first_request + 1) % ENGINE_REQUESTS_MAX;
	engine->n_requests--;
	return true;
}

void requests_forget(struct pinholes *engine)
{
	while (engine->n_requests > 0) {
		struct engine_request *request = &engine->requests[engine->first_request];

		for (unsigned i = 0; i < request->n; i++) {
			if (request->pinholes[i] == NULL)
				continue;
			if (request->op == WIRE_LOOK)
				request->pinholes[i]->is_looked_at = false;
			state_release(request->pinholes[i]);
		}
		if (request->socket != NULL)
			sockets_fail(request->socket, ERR_CLOSED);
		engine->first_request = (engine->first_request + 1) % ENGINE_REQUESTS_MAX;
		engine->n_requests--;
	}
	engine->void_serial = engine->last_serial;
	engine->is_listing = false;
}

/* What was refused for the sake of others is sent once more, by itself and before anything that was asked for later. */
void requests_try_again(struct pinhole *pinhole)
{
	if (!state_is_live(pinhole) || pinhole->want != WANT_NOTHING)
		return;
	pinhole->is_alone = true;
	pinhole->want = WANT_OPEN;
	list_append(pinhole->engine->out.next, &pinhole->queue);
	engine_kick(pinhole->engine);
}
