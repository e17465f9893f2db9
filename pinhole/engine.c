/* The conversation with postern-pinholed: what is wanted is gathered during a turn of the loop and sent before the loop
 * sleeps; answers come in the order of the requests and become inputs of the pinholes' states.
 *
 * Wishes wait in engine->out, one for each pinhole at most, so the queue is bounded by their number; a message is made when
 * the socket takes it. Several batches share a message. When it is refused, the helper says at which pinhole: its batch is
 * refused, the others are sent again, each by itself. An answer that does not fit its request means that the two ends no
 * longer agree about the kernel: the engine gives the helper up. Pinholes in the kernel go on until their lifetime ends.
 *
 * After a hello the helper is a new process that knows nothing of what its predecessor was asked. Unanswered requests are
 * void and everything that is to be there is asked for again, which changes nothing where it still is. Control thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "core/log.h"
#include "core/rnd.h"
#include "pinhole/engine.h"

enum { TICK_MS = 1000, STALL_MS = 5000, LATE_MS = 15000, AUDIT_MS = 30000, RENEWALS = 3 /* in a lifetime */ };

/* Queues */

void engine_kick(struct pinholes *engine)
{
	if (!loop_timer_is_running(&engine->kick))
		loop_timer_start(&engine->kick, 0);
}

bool engine_has_helper(const struct pinholes *engine)
{
	return engine->channel != NULL && channel_is_open(engine->channel);
}

void engine_want(struct pinhole *pinhole, enum pinhole_want want)
{
	if (pinhole->want != want) {
		list_remove(&pinhole->queue);
		list_append(&pinhole->engine->out, &pinhole->queue);
		pinhole->want = want;
	}
	engine_kick(pinhole->engine);
}

static bool is_live_id(const struct hash_node *node, const void *key)
{
	const struct pinhole *pinhole = HASH_ENTRY(node, struct pinhole, node);

	return pinhole->id == *(const uint64_t *)key && state_is_live(pinhole);
}

static bool is_id(const struct hash_node *node, const void *key)
{
	return HASH_ENTRY(node, struct pinhole, node)->id == *(const uint64_t *)key;
}

struct pinhole *engine_find_live(const struct pinholes *engine, uint64_t id)
{
	struct hash_node *node = hash_table_find(engine->by_id, id, is_live_id, &id);

	return node != NULL ? HASH_ENTRY(node, struct pinhole, node) : NULL;
}

struct pinhole *engine_find_any(const struct pinholes *engine, uint64_t id)
{
	struct hash_node *node = hash_table_find(engine->by_id, id, is_id, &id);

	return node != NULL ? HASH_ENTRY(node, struct pinhole, node) : NULL;
}

bool engine_remove_stray(struct pinholes *engine, uint64_t id)
{
	if (engine->n_strays == ENGINE_STRAYS_MAX)
		return false;
	engine->strays[engine->n_strays++] = id;
	engine_kick(engine);
	return true;
}

const char *engine_reason(struct pinholes *engine, const char *text)
{
	const struct span span = span_of(text);
	const uint64_t hash = hash_bytes(span);
	struct engine_reason *reason;

	for (unsigned i = 0; i < engine->n_reasons; i++)
		if (engine->reasons[i]->hash == hash && strcmp(engine->reasons[i]->text, text) == 0)
			return engine->reasons[i]->text;
	if (engine->n_reasons == ENGINE_REASONS_MAX)
		return "one of very many reasons";
	reason = calloc(1, sizeof(*reason));
	if (reason == NULL)
		return "not known: out of memory";
	reason->hash = hash;
	memcpy(reason->text, text, span.len < sizeof(reason->text) ? span.len : sizeof(reason->text) - 1);
	engine->reasons[engine->n_reasons++] = reason;
	return reason->text;
}

static void tell_listeners(struct pinholes *engine)
{
	for (unsigned i = 0; i < engine->n_listeners; i++)
		engine->listeners[i].fn(engine->listeners[i].arg);
}

/* Sending */

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

static void write_pinhole(const struct pinhole *pinhole, struct wire_pinhole *ret)
{
	const struct pinhole_spec *spec = &pinhole->spec;

	*ret = (struct wire_pinhole){
		.id = pinhole->id,
		.listen = wire_addr_of(&spec->listen), .from = wire_addr_of(&spec->from),
		.source = wire_addr_of(&spec->source), .target = wire_addr_of(&spec->target),
		.payloads = { spec->payloads[0], spec->payloads[1] },
		.packets_per_s = spec->packets_per_s, .bytes_per_s = spec->bytes_per_s,
		.lifetime_s = spec->lifetime_s, .clock_hz = spec->clock_hz,
		.realm_in = (uint16_t)spec->realm_in, .realm_out = (uint16_t)spec->realm_out,
		.proto = spec->proto, .dscp = spec->dscp,
		.flags = (uint8_t)((spec->is_rtp ? WIRE_RTP : 0) | (spec->is_one_shot ? WIRE_ONE_SHOT : 0) |
				   (spec->is_handed_over ? WIRE_HANDED_OVER : 0)),
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

/* Sends n records and notes the request; `what` has its pinholes and ids, or is NULL. False when nothing was sent. */
static bool send_request(struct pinholes *engine, enum wire_op op, const void *records, unsigned n,
			 const struct engine_request *what)
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
	if (what == NULL)
		request->n = 0;
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
	for (unsigned i = 0; i < what.n; i++) {
		what.ids[i] = what.pinholes[i]->id;
		if (want == WANT_OPEN)
			write_pinhole(what.pinholes[i], &records.pinholes[i]);
		else
			records.keys[i].id = what.ids[i];
	}
	if (!send_request(engine, want == WANT_OPEN ? WIRE_OPEN : WIRE_CLOSE, &records, what.n, &what))
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
	if (what.n > 0 && !send_request(engine, WIRE_CLOSE, keys, what.n, &what))
		return false;
	engine->n_strays = at;
	return true;
}

static bool send_sweep(struct pinholes *engine)
{
	const struct wire_count since = { .n = engine->starts };

	engine->wants_sweep = !send_request(engine, WIRE_SWEEP, &since, 1, NULL);
	return !engine->wants_sweep;
}

static bool send_list(struct pinholes *engine)
{
	engine->is_listing = send_request(engine, WIRE_LIST, NULL, 0, NULL);
	if (engine->is_listing) {
		engine->wants_list = false;
		audit_begin(engine);
	}
	return engine->is_listing;
}

static bool send_next(struct pinholes *engine)
{
	if (!list_is_empty(&engine->out))
		return send_queued(engine);
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

static void pump(struct pinholes *engine)
{
	if (!engine->has_hello || !engine_has_helper(engine))
		return;
	while (engine->n_requests < ENGINE_REQUESTS_MAX && send_next(engine))
		;
}

static void on_flush(void *arg)
{
	struct pinholes *engine = arg;

	loop_timer_stop(&engine->kick);
	while (!list_is_empty(&engine->done)) {
		struct pinhole *pinhole = queued(engine->done.next);

		list_remove(&pinhole->queue);
		state_input(pinhole, INPUT_CLOSED);
	}
	pump(engine);
}

static void on_kick(struct loop_timer *timer, void *arg)
{
	(void)timer;
	on_flush(arg);
}

/* The end of the helper */

static void forget_requests(struct pinholes *engine)
{
	while (engine->n_requests > 0) {
		struct engine_request *request = &engine->requests[engine->first_request];

		for (unsigned i = 0; i < request->n; i++)
			if (request->pinholes[i] != NULL)
				state_release(request->pinholes[i]);
		engine->first_request = (engine->first_request + 1) % ENGINE_REQUESTS_MAX;
		engine->n_requests--;
	}
	engine->void_serial = engine->last_serial;
	engine->is_listing = false;
}

static void survive(struct pinhole *pinhole)
{
	const struct pinholes *engine = pinhole->engine;
	uint64_t now_ms = loop_now_ms(engine->loop);

	if (pinhole->state == PINHOLE_RESERVED) {
		pinhole->reason = engine->no_helper;
		state_count_refusal(pinhole->engine, ERR_CLOSED);
	}
	list_remove(&pinhole->queue);
	pinhole->want = WANT_NOTHING;
	if (pinhole->state == PINHOLE_ARMED || pinhole->state == PINHOLE_BOUND)
		loop_timer_start(&pinhole->renewal, pinhole->expires_ms > now_ms ? pinhole->expires_ms - now_ms : 0);
	state_input(pinhole, INPUT_NO_HELPER);
}

/* Nobody can change the kernel any more. What is in there works until its lifetime ends. */
static void lose_helper(struct pinholes *engine, const char *why)
{
	channel_close(engine->channel);
	engine->has_hello = false;
	engine->no_helper = engine_reason(engine, why);
	log_error("pinhole", "the helper is lost: kernel pinholes are left to their lifetime, new media stays with the relay",
		  LF_TEXT("why", why), LF_UINT("pinholes", hash_table_count(engine->by_id)));
	state_count_start(engine, false);
	forget_requests(engine);
	for (unsigned i = 0; i < engine->n_abilities; i++) {
		engine->abilities[i].is_usable = 0;
		memset(engine->abilities[i].reason, 0, sizeof(engine->abilities[i].reason));
		memcpy(engine->abilities[i].reason, engine->no_helper, strlen(engine->no_helper));
	}
	LIST_EACH(&engine->all, node)
		survive(LIST_ENTRY(node, struct pinhole, all));
	tell_listeners(engine);
}

/* Answers */

static void on_renewal(struct loop_timer *timer, void *arg)
{
	struct pinhole *pinhole = arg;

	(void)timer;
	if (engine_has_helper(pinhole->engine)) {
		engine_want(pinhole, WANT_OPEN);
		return;
	}
	counters_freeze(&pinhole->counters);
	state_input(pinhole, INPUT_EXPIRED);
}

void engine_init_pinhole(struct pinhole *pinhole)
{
	list_init(&pinhole->queue);
	list_init(&pinhole->unbound);
	loop_timer_init(&pinhole->renewal, pinhole->engine->loop, on_renewal, pinhole);
}

/* Pinholes that were opened together are not renewed together for ever. */
static void plan_renewal(struct pinhole *pinhole)
{
	uint32_t third_ms = (uint32_t)((uint64_t)pinhole->spec.lifetime_s * 1000 / RENEWALS);

	loop_timer_start(&pinhole->renewal, third_ms - rnd_below(third_ms / 4 + 1));
}

static int take_opened(struct pinhole *pinhole, const struct wire_opened *record)
{
	struct pinholes *engine = pinhole->engine;

	if (pinhole->state == PINHOLE_CLOSED) /* it was gone while this renewal was under way, which brought it back */
		engine_remove_stray(engine, pinhole->id);
	if (!state_is_live(pinhole))
		return state_step(pinhole, INPUT_OPENED);
	pinhole->reason = engine_reason(engine, record->reason);
	state_set_path(pinhole, (enum pinhole_path)record->path);
	counters_attach(&pinhole->counters, counters_at(&engine->memory, record->region, record->slot), record->was_there);
	pinhole->is_unsure = pinhole->is_missing = pinhole->is_alone = false;
	pinhole->batch = 0;
	pinhole->expires_ms = loop_now_ms(engine->loop) + (uint64_t)pinhole->spec.lifetime_s * 1000;
	plan_renewal(pinhole);
	if (pinhole->state == PINHOLE_RESERVED)
		state_observe_setup(pinhole);
	return state_step(pinhole, INPUT_OPENED);
}

static int take_refused(struct pinhole *pinhole, const struct wire_opened *culprit)
{
	struct pinholes *engine = pinhole->engine;

	if (!state_is_live(pinhole))
		return STATE_NO_EVENT;
	state_count_refusal(engine, culprit->err);
	if (pinhole->state == PINHOLE_RESERVED || pinhole->is_unsure)
		pinhole->reason = engine_reason(engine, culprit->reason[0] != '\0' ? culprit->reason : err_str(culprit->err));
	if (pinhole->state == PINHOLE_RESERVED)
		return state_step(pinhole, INPUT_REFUSED);
	if (!pinhole->is_unsure) {
		plan_renewal(pinhole);
		return state_step(pinhole, INPUT_REFUSED);
	}
	/* An earlier process may have put it there, and this one does not want it. */
	counters_freeze(&pinhole->counters);
	engine_remove_stray(engine, pinhole->id);
	return state_step(pinhole, INPUT_LOST);
}

/* The records [from, *ret_to) of one batch. Returns the one to blame, or -1. */
static int find_culprit(const struct engine_request *request, const struct wire_opened *records, unsigned from,
			unsigned *ret_to)
{
	const uint32_t batch = request->pinholes[from]->batch;
	unsigned to = from;
	int culprit = -1;

	do {
		if (culprit < 0 && records[to].err != 0 && records[to].err != ERR_STATE)
			culprit = (int)to;
		to++;
	} while (batch != 0 && to < request->n && request->pinholes[to]->batch == batch);
	*ret_to = to;
	return culprit;
}

/* What was refused for the sake of others is sent once more, by itself and before anything that was asked for later. */
static void try_again(struct pinhole *pinhole)
{
	if (!state_is_live(pinhole) || pinhole->want != WANT_NOTHING)
		return;
	pinhole->is_alone = true;
	pinhole->want = WANT_OPEN;
	list_append(pinhole->engine->out.next, &pinhole->queue);
	engine_kick(pinhole->engine);
}

static void take_all_refused(const struct engine_request *request, const struct wire_opened *records, int *events)
{
	bool is_innocent[WIRE_BATCH_MAX] = { false };
	unsigned to;

	for (unsigned from = 0; from < request->n; from = to) {
		int culprit = find_culprit(request, records, from, &to);
		bool is_only_one = from == 0 && to == request->n;

		for (unsigned i = from; i < to; i++) {
			is_innocent[i] = culprit < 0 && !is_only_one;
			if (!is_innocent[i])
				events[i] = take_refused(request->pinholes[i], &records[culprit >= 0 ? (unsigned)culprit : from]);
		}
	}
	for (unsigned i = request->n; i > 0; i--)
		if (is_innocent[i - 1])
			try_again(request->pinholes[i - 1]);
}

static bool is_opened_well_formed(const struct pinholes *engine, const struct engine_request *request,
				  const struct wire_opened *records)
{
	for (unsigned i = 0; i < request->n; i++) {
		const struct wire_opened *r = &records[i];

		if (r->id != request->ids[i] || r->region >= COUNTERS_REGIONS || r->path >= PINHOLE_PATHS)
			return false;
		/* A mechanism without counters has no region. */
		if (r->err == 0 && engine->memory.n[r->region] != 0 && counters_at(&engine->memory, r->region, r->slot) == NULL)
			return false;
	}
	return true;
}

/* First every pinhole of the message changes, then the owners are told: none sees half of a batch. */
static bool on_opened(struct pinholes *engine, const struct engine_request *request, const struct wire_opened *records)
{
	int events[WIRE_BATCH_MAX];
	bool is_well_formed = is_opened_well_formed(engine, request, records);
	bool is_refused = false;

	for (unsigned i = 0; i < request->n; i++) {
		events[i] = STATE_NO_EVENT;
		is_refused = is_refused || records[i].err != 0;
	}
	if (is_well_formed && is_refused)
		take_all_refused(request, records, events);
	for (unsigned i = 0; is_well_formed && !is_refused && i < request->n; i++)
		events[i] = take_opened(request->pinholes[i], &records[i]);
	for (unsigned i = 0; i < request->n; i++) {
		struct pinhole *pinhole = request->pinholes[i];

		/* An owner that was just told may have closed this one. */
		if (events[i] != PINHOLE_EV_ARMED || pinhole->state == PINHOLE_ARMED)
			state_tell(pinhole, events[i]);
		state_release(pinhole);
	}
	return is_well_formed;
}

static bool on_closed(struct pinholes *engine, const struct engine_request *request, const struct wire_closed *records)
{
	bool is_well_formed = true;

	(void)engine;
	for (unsigned i = 0; i < request->n; i++) {
		struct pinhole *pinhole = request->pinholes[i];

		is_well_formed = is_well_formed && records[i].id == request->ids[i];
		if (pinhole == NULL)
			continue;
		if (is_well_formed) {
			counters_finish(&pinhole->counters, &records[i].last);
			state_input(pinhole, INPUT_CLOSED);
		}
		state_release(pinhole);
	}
	return is_well_formed;
}

static bool on_swept(struct pinholes *engine, const struct wire_count *count)
{
	if (count->n > 0)
		log_info("pinhole", "removed what nobody holds any more", LF_UINT("pinholes", count->n));
	state_count_audit(engine, 0, (unsigned)count->n);
	return true;
}

/* The oldest request, when this is its answer; and then out of the ring, unless more answers are to come. */
static bool take_request(struct pinholes *engine, const struct wire_head *head, struct engine_request *ret)
{
	static const enum wire_op answers[] = {
		[WIRE_OPEN] = WIRE_OPENED, [WIRE_CLOSE] = WIRE_CLOSED, [WIRE_SWEEP] = WIRE_SWEPT, [WIRE_LIST] = WIRE_LISTED,
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

/* NULL, or what is wrong with it. */
static const char *on_answer(struct pinholes *engine, const struct channel_message *message)
{
	struct engine_request request;
	bool is_well_formed = true;

	if (message->head.serial != 0 && message->head.serial <= engine->void_serial)
		return NULL;
	if (!take_request(engine, &message->head, &request))
		return "an answer that nobody asked for";
	if (engine->is_stalled) {
		engine->is_stalled = false;
		tell_listeners(engine);
	}
	switch ((enum wire_op)message->head.op) {
	case WIRE_OPENED:
		is_well_formed = on_opened(engine, &request, message->records);
		break;
	case WIRE_CLOSED:
		is_well_formed = on_closed(engine, &request, message->records);
		break;
	case WIRE_SWEPT:
		is_well_formed = on_swept(engine, message->records);
		break;
	default:
		if (message->head.count > 0)
			audit_listed(engine, message->records, message->head.count);
		else
			audit_end(engine);
		break;
	}
	return is_well_formed ? NULL : "an answer that does not fit its request";
}

static void on_gone(struct pinholes *engine, const struct wire_gone *records, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct pinhole *pinhole = engine_find_live(engine, records[i].id);

		if (pinhole == NULL)
			pinhole = engine_find_any(engine, records[i].id);
		if (pinhole == NULL || pinhole->state == PINHOLE_RESERVED)
			continue;
		counters_finish(&pinhole->counters, &records[i].last);
		if (records[i].why == WIRE_LOST)
			pinhole->reason = "the kernel has it no longer";
		state_input(pinhole, records[i].why == WIRE_LOST ? INPUT_LOST : INPUT_EXPIRED);
	}
}

static void on_ability(struct pinholes *engine, const struct wire_ability *records, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		unsigned at = 0;

		while (at < engine->n_abilities &&
		       (engine->abilities[at].realm != records[i].realm || engine->abilities[at].path != records[i].path))
			at++;
		if (at == ENGINE_ABILITIES_MAX || records[i].realm >= engine->conf.n_realms)
			continue;
		engine->abilities[at] = records[i];
		if (at == engine->n_abilities)
			engine->n_abilities++;
	}
	tell_listeners(engine);
}

/* The helper's words */

static const char *map_counters(struct pinholes *engine, const struct wire_hello *hello, const struct channel_message *message)
{
	unsigned used = 0;
	const char *why = NULL;

	for (unsigned region = 0; region < COUNTERS_REGIONS; region++) {
		engine->memory.n[region] = 0;
		if (hello->slots[region] == 0)
			continue;
		if (used == message->n_fds)
			return "a hello without its descriptors";
		if (counters_map(&engine->memory, region, message->fds[used++], hello->slots[region], &why) < 0)
			return why;
	}
	return NULL;
}

static void ask_again(struct pinholes *engine)
{
	/* Closes first: where an owner has closed one and opened its like, the second is to stay. */
	LIST_EACH(&engine->all, node) {
		struct pinhole *pinhole = LIST_ENTRY(node, struct pinhole, all);

		list_remove(&pinhole->queue);
		pinhole->want = WANT_NOTHING;
		if (pinhole->state == PINHOLE_DRAINING)
			engine_want(pinhole, WANT_CLOSE);
	}
	LIST_EACH(&engine->all, node) {
		struct pinhole *pinhole = LIST_ENTRY(node, struct pinhole, all);

		if (!state_is_live(pinhole))
			continue;
		pinhole->is_unsure = pinhole->state != PINHOLE_RESERVED;
		engine_want(pinhole, WANT_OPEN);
	}
}

static const char *on_hello(struct pinholes *engine, const struct channel_message *message)
{
	const struct wire_hello *hello = message->records;
	const char *why;

	if (hello->slot_version != SLOT_VERSION || hello->slot_size != sizeof(struct slot))
		return "it counts in another way: installed in another version";
	if (engine->has_hello && hello->starts == engine->starts)
		return "a second hello of the same process";
	forget_requests(engine);
	LIST_EACH(&engine->all, node)
		counters_freeze(&LIST_ENTRY(node, struct pinhole, all)->counters);
	why = map_counters(engine, hello, message);
	if (why != NULL)
		return why;
	engine->has_hello = true;
	engine->is_stalled = false;
	engine->starts = hello->starts;
	engine->n_abilities = 0;
	engine->n_strays = 0;
	engine->wants_sweep = engine->is_reconciled;
	engine->audit_due_ms = loop_now_ms(engine->loop) + AUDIT_MS;
	state_count_start(engine, true);
	log_info("pinhole", "the helper is ready", LF_UINT("start", hello->starts), LF_UINT("slots_bpf", hello->slots[0]),
		 LF_UINT("slots_other", hello->slots[1]), LF_UINT("to_open", hash_table_count(engine->by_id)));
	ask_again(engine);
	return NULL;
}

static void on_message(void *arg, const struct channel_message *message)
{
	struct pinholes *engine = arg;
	const char *why = NULL;

	switch ((enum wire_op)message->head.op) {
	case WIRE_HELLO:
		why = on_hello(engine, message);
		break;
	case WIRE_ABILITY:
		on_ability(engine, message->records, message->head.count);
		break;
	case WIRE_GONE:
		on_gone(engine, message->records, message->head.count);
		break;
	case WIRE_OPENED:
	case WIRE_CLOSED:
	case WIRE_SWEPT:
	case WIRE_LISTED:
		why = on_answer(engine, message);
		break;
	default:
		why = "a message that is not for this end";
		break;
	}
	if (why != NULL && engine_has_helper(engine))
		lose_helper(engine, why);
}

static void on_writable(void *arg)
{
	pump(arg);
}

static void on_channel_closed(void *arg, const char *why)
{
	lose_helper(arg, why);
}

/* Once a second */

static void look_for_packets(struct pinholes *engine)
{
	struct list waiting;

	/* Owners may close others: so one at a time from a list of its own. */
	list_init(&waiting);
	while (!list_is_empty(&engine->unbound)) {
		struct list *node = engine->unbound.next;

		list_remove(node);
		list_append(&waiting, node);
	}
	while (!list_is_empty(&waiting)) {
		struct pinhole *pinhole = LIST_ENTRY(waiting.next, struct pinhole, unbound);
		struct slot_stats stats;

		list_remove(&pinhole->unbound);
		list_append(&engine->unbound, &pinhole->unbound);
		counters_read(&pinhole->counters, &stats);
		if (stats.packets == 0)
			continue;
		if (stats.no_xdp && pinhole->path == PINHOLE_XDP)
			state_set_path(pinhole, PINHOLE_TC);
		state_input(pinhole, INPUT_PACKET);
	}
}

static void look_for_stall(struct pinholes *engine, uint64_t now_ms)
{
	uint64_t waits_ms = engine->n_requests > 0 ? now_ms - engine->requests[engine->first_request].sent_ms : 0;

	if (engine->is_stalled || waits_ms < STALL_MS)
		return;
	engine->is_stalled = true;
	log_warn("pinhole", "the helper does not answer", LF_UINT("waited_ms", waits_ms));
	tell_listeners(engine);
}

static void on_tick(struct loop_timer *timer, void *arg)
{
	struct pinholes *engine = arg;
	uint64_t now_ms = loop_now_ms(engine->loop);

	look_for_packets(engine);
	look_for_stall(engine, now_ms);
	if (engine->has_hello && now_ms >= engine->audit_due_ms) {
		engine->wants_list = true;
		engine->audit_due_ms = now_ms + AUDIT_MS;
	}
	pump(engine);
	loop_timer_start(timer, TICK_MS);
}

/* Life */

static int open_channel(struct pinholes *engine)
{
	static const struct channel_ops ops = { on_message, on_writable, on_channel_closed };
	int fd = engine->conf.channel;

	engine->conf.channel = -1;
	if (fd < 0) {
		engine->no_helper = engine->conf.no_channel_reason != NULL ? engine->conf.no_channel_reason : "no helper was started";
		return 0;
	}
	return channel_new(engine->loop, fd, &ops, engine, &engine->channel);
}

int pinholes_new(struct loop *loop, const struct pinholes_conf *conf, struct pinholes **ret)
{
	struct pinholes *engine = calloc(1, sizeof(*engine));
	int err;

	if (engine == NULL)
		return -ENOMEM;
	engine->loop = loop;
	engine->conf = *conf;
	engine->late_ms = loop_now_ms(loop) + LATE_MS;
	list_init(&engine->all);
	list_init(&engine->out);
	list_init(&engine->done);
	list_init(&engine->unbound);
	loop_timer_init(&engine->tick, loop, on_tick, engine);
	loop_timer_init(&engine->kick, loop, on_kick, engine);
	state_register_metrics();
	err = open_channel(engine);
	engine->by_id = hash_table_new(conf->max);
	engine->requests = calloc(ENGINE_REQUESTS_MAX, sizeof(*engine->requests));
	engine->abilities = calloc(ENGINE_ABILITIES_MAX, sizeof(*engine->abilities));
	engine->strays = calloc(ENGINE_STRAYS_MAX, sizeof(*engine->strays));
	if (err == 0 && (engine->by_id == NULL || engine->requests == NULL || engine->abilities == NULL || engine->strays == NULL))
		err = -ENOMEM;
	if (err == 0)
		err = loop_on_flush(loop, on_flush, engine);
	if (err < 0) {
		pinholes_free(engine);
		return err;
	}
	loop_timer_start(&engine->tick, TICK_MS);
	*ret = engine;
	return 0;
}

void pinholes_free(struct pinholes *engine)
{
	if (engine == NULL)
		return;
	pump(engine); /* what was closed in the last moment */
	loop_timer_stop(&engine->tick);
	loop_timer_stop(&engine->kick);
	channel_free(engine->channel);
	LIST_EACH(&engine->all, node)
		state_free(LIST_ENTRY(node, struct pinhole, all));
	counters_unmap(&engine->memory);
	for (unsigned i = 0; i < engine->n_reasons; i++)
		free(engine->reasons[i]);
	hash_table_free(engine->by_id);
	free(engine->requests);
	free(engine->abilities);
	free(engine->strays);
	free(engine);
}
