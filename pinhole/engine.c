/* The engine's conversation with postern-pinholed as a whole: hellos, the end of the helper, what is done once a second, and
 * the life of the engine. Requests are in requests.c, answers in answers.c.
 *
 * After a hello the helper is a new process that knows nothing of what its predecessor was asked. Unanswered requests are
 * void and everything that is to be there is asked for again, which changes nothing where it still is. When the helper is
 * lost (posternd could not start it again without root), pinholes in the kernel go on until their lifetime ends. Control
 * thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "core/log.h"
#include "core/rnd.h"
#include "pinhole/engine.h"

enum { TICK_MS = 1000, STALL_MS = 5000, LATE_MS = 15000, AUDIT_MS = 30000, RENEWALS = 3 /* in a lifetime */,
       PER_STREAM = 2 /* pinholes: one each way */ };

static const char not_said[] = "the helper has not said yet whether it can take control channels over";

void engine_kick(struct pinholes *engine)
{
	if (!loop_timer_is_running(&engine->kick))
		loop_timer_start(&engine->kick, 0);
}

bool engine_has_helper(const struct pinholes *engine)
{
	return engine->channel != NULL && channel_is_open(engine->channel);
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

void engine_tell_listeners(struct pinholes *engine)
{
	for (unsigned i = 0; i < engine->n_listeners; i++)
		engine->listeners[i].fn(engine->listeners[i].arg);
}

void engine_note_room(struct pinholes *engine, bool is_there)
{
	engine->full_until_ms = is_there ? 0 : loop_now_ms(engine->loop) + PINHOLE_FULL_MS;
}

/* The refusals of a kernel whose table others fill as well must not be believed for ever: with no call up nobody would ask again. */
bool engine_is_full(const struct pinholes *engine)
{
	return hash_table_count(engine->by_id) + PER_STREAM > engine->conf.max || loop_now_ms(engine->loop) < engine->full_until_ms;
}

static void on_flush(void *arg)
{
	struct pinholes *engine = arg;

	loop_timer_stop(&engine->kick);
	while (!list_is_empty(&engine->done)) {
		struct pinhole *pinhole = LIST_ENTRY(engine->done.next, struct pinhole, queue);

		list_remove(&pinhole->queue);
		state_input(pinhole, INPUT_CLOSED);
	}
	sockets_flush(engine);
	requests_pump(engine);
}

static void on_kick(struct loop_timer *timer, void *arg)
{
	(void)timer;
	on_flush(arg);
}

/* The end of the helper */

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
	requests_forget(engine);
	sockets_fail_all(engine, ERR_CLOSED);
	for (unsigned i = 0; i < engine->n_abilities; i++) {
		engine->abilities[i].is_usable = 0;
		memset(engine->abilities[i].reason, 0, sizeof(engine->abilities[i].reason));
		memcpy(engine->abilities[i].reason, engine->no_helper, strlen(engine->no_helper));
	}
	LIST_EACH(&engine->all, node)
		survive(LIST_ENTRY(node, struct pinhole, all));
	engine_tell_listeners(engine);
}

/* Renewal */

static void on_renewal(struct loop_timer *timer, void *arg)
{
	struct pinhole *pinhole = arg;

	(void)timer;
	if (engine_has_helper(pinhole->engine)) {
		requests_want(pinhole, WANT_OPEN);
		return;
	}
	counters_freeze(&pinhole->counters);
	state_input(pinhole, INPUT_EXPIRED);
}

void engine_init_pinhole(struct pinhole *pinhole)
{
	list_init(&pinhole->queue);
	list_init(&pinhole->unbound);
	list_init(&pinhole->look);
	loop_timer_init(&pinhole->renewal, pinhole->engine->loop, on_renewal, pinhole);
}

/* Pinholes that were opened together are not renewed together for ever. */
void engine_plan_renewal(struct pinhole *pinhole)
{
	uint32_t third_ms = (uint32_t)((uint64_t)pinhole->spec.lifetime_s * 1000 / RENEWALS);

	loop_timer_start(&pinhole->renewal, third_ms - rnd_below(third_ms / 4 + 1));
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
			requests_want(pinhole, WANT_CLOSE);
	}
	LIST_EACH(&engine->all, node) {
		struct pinhole *pinhole = LIST_ENTRY(node, struct pinhole, all);

		if (!state_is_live(pinhole))
			continue;
		pinhole->is_unsure = pinhole->state != PINHOLE_RESERVED;
		requests_want(pinhole, WANT_OPEN);
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
	requests_forget(engine);
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
	engine->capture_trouble = not_said;
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
		answers_ability(engine, message->records, message->head.count);
		break;
	case WIRE_GONE:
		answers_gone(engine, message->records, message->head.count);
		break;
	case WIRE_CAPTURING:
		answers_capturing(engine, message->records);
		break;
	case WIRE_OPENED:
	case WIRE_CLOSED:
	case WIRE_SWEPT:
	case WIRE_LISTED:
	case WIRE_SOCKET_READY:
	case WIRE_LOOKED:
		why = answers_take(engine, message);
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
	requests_pump(arg);
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
		if (stats.no_xdp && pinhole->path == PINHOLE_XDP) {
			state_set_path(pinhole, PINHOLE_TC);
			pinhole->reason = "checksums are not complete when XDP sees the packets";
		}
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
	engine_tell_listeners(engine);
}

/* What nobody said, but time or the number of pinholes brought about. */
static void look_for_news(struct pinholes *engine, uint64_t now_ms)
{
	bool is_full = engine_is_full(engine);
	bool is_late = engine->n_abilities == 0 && now_ms >= engine->late_ms;
	bool is_unwatched = engine->is_unwatched && engine_has_helper(engine);

	if (is_full == engine->was_full && is_late == engine->was_late && is_unwatched == engine->was_unwatched)
		return;
	engine->was_full = is_full;
	engine->was_late = is_late;
	engine->was_unwatched = is_unwatched;
	engine_tell_listeners(engine);
}

static void on_tick(struct loop_timer *timer, void *arg)
{
	struct pinholes *engine = arg;
	uint64_t now_ms = loop_now_ms(engine->loop);

	look_for_packets(engine);
	look_for_stall(engine, now_ms);
	look_for_news(engine, now_ms);
	if (engine->has_hello && now_ms >= engine->audit_due_ms) {
		engine->wants_list = true;
		engine->audit_due_ms = now_ms + AUDIT_MS;
	}
	requests_pump(engine);
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
	engine->capture_trouble = not_said;
	list_init(&engine->all);
	list_init(&engine->out);
	list_init(&engine->done);
	list_init(&engine->unbound);
	list_init(&engine->looks);
	list_init(&engine->sockets_out);
	list_init(&engine->sockets_sent);
	list_init(&engine->sockets_failed);
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
	requests_pump(engine); /* what was closed in the last moment */
	loop_timer_stop(&engine->tick);
	loop_timer_stop(&engine->kick);
	channel_free(engine->channel);
	LIST_EACH(&engine->all, node)
		state_free(LIST_ENTRY(node, struct pinhole, all));
	sockets_free(engine);
	counters_unmap(&engine->memory);
	for (unsigned i = 0; i < engine->n_reasons; i++)
		free(engine->reasons[i]);
	hash_table_free(engine->by_id);
	free(engine->requests);
	free(engine->abilities);
	free(engine->strays);
	free(engine);
}
