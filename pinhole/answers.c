/* Answers of the helper, in the order of the requests, become inputs of the pinholes' states. Of a message with several
 * batches that was refused the helper says at which pinhole: its batch is refused, the others are tried again. An answer
 * that does not fit its request means that the two ends no longer agree about the kernel: engine.c then gives the helper
 * up. Control thread. */
#include <string.h>

#include "core/err.h"
#include "core/log.h"
#include "pinhole/engine.h"

static int take_opened(struct pinhole *pinhole, const struct wire_opened *record)
{
	struct pinholes *engine = pinhole->engine;

	if (pinhole->state == PINHOLE_CLOSED) /* it was gone while this renewal was under way, which brought it back */
		requests_remove_stray(engine, pinhole->id);
	if (!state_is_live(pinhole))
		return state_step(pinhole, INPUT_OPENED);
	pinhole->reason = engine_reason(engine, record->reason);
	state_set_path(pinhole, (enum pinhole_path)record->path);
	counters_attach(&pinhole->counters, counters_at(&engine->memory, record->region, record->slot), record->was_there);
	pinhole->is_unsure = pinhole->is_missing = pinhole->is_alone = false;
	pinhole->batch = 0;
	pinhole->expires_ms = loop_now_ms(engine->loop) + (uint64_t)pinhole->spec.lifetime_s * 1000;
	engine_plan_renewal(pinhole);
	if (pinhole->state == PINHOLE_RESERVED) {
		state_observe_setup(pinhole);
		engine_note_room(engine, true);
	}
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
		engine_plan_renewal(pinhole);
		return state_step(pinhole, INPUT_REFUSED);
	}
	/* An earlier process may have put it there, and this one does not want it. */
	counters_freeze(&pinhole->counters);
	requests_remove_stray(engine, pinhole->id);
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
			requests_try_again(request->pinholes[i - 1]);
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

	for (unsigned i = 0; i < request->n; i++) {
		struct pinhole *pinhole = request->pinholes[i];

		is_well_formed = is_well_formed && records[i].id == request->ids[i];
		if (pinhole == NULL)
			continue;
		if (is_well_formed) {
			if (pinhole->path != PINHOLE_NONE)
				engine_note_room(engine, true);
			counters_finish(&pinhole->counters, &records[i].last);
			state_input(pinhole, INPUT_CLOSED);
		}
		state_release(pinhole);
	}
	return is_well_formed;
}

static bool on_looked(const struct engine_request *request, const struct wire_looked *records)
{
	bool is_well_formed = true;

	for (unsigned i = 0; i < request->n; i++) {
		struct pinhole *pinhole = request->pinholes[i];

		is_well_formed = is_well_formed && records[i].id == request->ids[i];
		pinhole->is_looked_at = false;
		if (is_well_formed && state_is_in_kernel(pinhole) && pinhole->fn != NULL)
			pinhole->look_fn(pinhole->arg, pinhole, (enum pinhole_end)records[i].end);
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

/* NULL, or what is wrong with it. */
const char *answers_take(struct pinholes *engine, const struct channel_message *message)
{
	struct engine_request request;
	bool is_well_formed = true;

	if (message->head.serial != 0 && message->head.serial <= engine->void_serial)
		return NULL;
	if (!requests_take(engine, &message->head, &request))
		return "an answer that nobody asked for";
	if (engine->is_stalled) {
		engine->is_stalled = false;
		engine_tell_listeners(engine);
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
	case WIRE_LOOKED:
		is_well_formed = on_looked(&request, message->records);
		break;
	case WIRE_SOCKET_READY:
		is_well_formed = sockets_take(request.socket, message);
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

void answers_gone(struct pinholes *engine, const struct wire_gone *records, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct pinhole *pinhole = engine_find_live(engine, records[i].id);

		if (pinhole == NULL)
			pinhole = engine_find_any(engine, records[i].id);
		if (pinhole == NULL || pinhole->state == PINHOLE_RESERVED)
			continue;
		engine_note_room(engine, true);
		counters_finish(&pinhole->counters, &records[i].last);
		if (records[i].why == WIRE_LOST)
			pinhole->reason = "the kernel has it no longer";
		state_input(pinhole, records[i].why == WIRE_LOST ? INPUT_LOST : INPUT_EXPIRED);
	}
}

void answers_ability(struct pinholes *engine, const struct wire_ability *records, unsigned n)
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
	engine_tell_listeners(engine);
}

void answers_capturing(struct pinholes *engine, const struct wire_capturing *record)
{
	engine->capture_trouble = record->is_working ? NULL : engine_reason(engine, record->reason);
	engine_tell_listeners(engine);
}
