/* POST /v1/explain with a transcript: messages played against the module of an ALG in memory (algs/rehearsal.h),
 * as JSON. Octets are escaped as in the transcript's own language. */
#include "api/res_explain.h"

#include <stdio.h>
#include <stdlib.h>

#include "algs/rehearsal.h"
#include "api/problem.h"
#include "api/text.h"
#include "core/buf.h"
#include "core/err.h"

/* "\r\n" and whatever is not printable ASCII as escapes. */
static json_t *octets_json(struct span octets)
{
	struct buf b;
	json_t *json = NULL;

	if (octets.ptr == NULL)
		return json_null();
	b = buf_of(malloc(4 * octets.len + 1), 4 * octets.len + 1);
	for (size_t i = 0; b.data != NULL && i < octets.len; i++) {
		static const char plain[] = "\r\n\t\\", letters[] = "rnt\\";
		const char *special = memchr(plain, octets.ptr[i], sizeof(plain) - 1);

		if (special != NULL) {
			buf_putc(&b, '\\');
			buf_putc(&b, letters[special - plain]);
		} else if ((unsigned char)octets.ptr[i] < 0x20 || (unsigned char)octets.ptr[i] >= 0x7f) {
			buf_puts(&b, "\\x");
			buf_hex(&b, &octets.ptr[i], 1);
		} else {
			buf_putc(&b, octets.ptr[i]);
		}
	}
	if (b.data != NULL)
		json = json_stringn(b.data, b.len);
	free(b.data);
	return json;
}

static json_t *side_json(enum alg_side side)
{
	return json_string(side == ALG_SERVER ? "server" : "client");
}

static json_t *direction_json(enum alg_direction direction)
{
	return direction == ALG_NO_DATA ? json_null() : json_string(direction == ALG_UP ? "up" : "down");
}

static json_t *number_json(unsigned n)
{
	return n > 0 ? json_integer(n) : json_null();
}

static json_t *message_json(const struct rehearsal_message *message)
{
	json_t *json = json_object();

	res_set(json, "from", side_json(message->from));
	res_set(json, "verdict", json_string(message->verdict));
	res_set(json, "before", octets_json(message->before));
	res_set(json, "after", octets_json(message->after));
	return json;
}

static json_t *step_json(const struct rehearsal_step *step)
{
	json_t *json = json_object(), *messages = json_array();
	bool has_side = strcmp(step->what, "send") == 0 || strcmp(step->what, "end") == 0;

	for (unsigned i = 0; i < step->n_messages; i++)
		json_array_append_new(messages, message_json(&step->messages[i]));
	res_set(json, "line", json_integer(step->line));
	res_set(json, "what", json_string(step->what));
	res_set(json, "from", has_side ? side_json(step->from) : json_null());
	res_set(json, "sent", step->sent.len > 0 ? octets_json(step->sent) : json_null());
	res_set(json, "messages", messages);
	res_set(json, "to_client", octets_json(step->out[ALG_CLIENT]));
	res_set(json, "to_server", octets_json(step->out[ALG_SERVER]));
	return json;
}

static json_t *decision_json(const struct rehearsal_decision *d)
{
	json_t *json = json_object();

	res_set(json, "line", json_integer(d->line));
	res_set(json, "verb", res_text(d->verb));
	res_set(json, "class", res_text(d->class));
	res_set(json, "target", res_text(d->target));
	res_set(json, "user", res_text(d->user));
	res_set(json, "transport", res_text(d->transport));
	res_set(json, "direction", direction_json(d->direction));
	res_set(json, "verdict", json_string(d->verdict.is_allowed ? "allow" : "deny"));
	res_set(json, "rule", text_json_of(d->verdict.rule));
	res_set(json, "would_deny", text_json_of(d->verdict.would_deny));
	res_set(json, "code", number_json(d->verdict.code));
	res_set(json, "text", res_text(d->verdict.text));
	return json;
}

static json_t *hole_json(const struct rehearsal_hole *hole)
{
	json_t *json = json_object();

	res_set(json, "line", json_integer(hole->line));
	res_set(json, "class", text_json_of(hole->class));
	res_set(json, "kind", json_string(hole->kind));
	res_set(json, "state", json_string(hole->state));
	res_set(json, "listener", side_json(hole->listener));
	res_set(json, "target", res_addr(&hole->at));
	res_set(json, "client_told", res_addr(&hole->public[ALG_CLIENT]));
	res_set(json, "server_told", res_addr(&hole->public[ALG_SERVER]));
	return json;
}

static json_t *note_json(const struct rehearsal_note *note)
{
	json_t *json = json_object();

	res_set(json, "line", json_integer(note->line));
	res_set(json, "rule", res_text(note->rule));
	res_set(json, "text", text_json_of(note->text));
	return json;
}

static json_t *transfer_json(const struct rehearsal_transfer *transfer)
{
	json_t *json = json_object();

	res_set(json, "line", json_integer(transfer->line));
	res_set(json, "user", res_text(transfer->user));
	res_set(json, "verb", res_text(transfer->verb));
	res_set(json, "path", res_text(transfer->path));
	res_set(json, "direction", direction_json(transfer->direction));
	res_set(json, "code", number_json(transfer->code));
	res_set(json, "is_ok", json_boolean(transfer->is_ok));
	return json;
}

static json_t *about_json(const struct rehearsal *r)
{
	json_t *json = json_object();

	res_set(json, "client", res_addr(&r->client));
	res_set(json, "server", res_addr(&r->server));
	res_set(json, "client_sees", res_addr(&r->client_sees));
	res_set(json, "server_sees", res_addr(&r->server_sees));
	return json;
}

static void add_lists(json_t *json, const struct rehearsal *r)
{
	json_t *steps = json_array(), *decisions = json_array(), *holes = json_array(), *notes = json_array();
	json_t *transfers = json_array();

	for (unsigned i = 0; i < r->n_steps; i++)
		json_array_append_new(steps, step_json(&r->steps[i]));
	for (unsigned i = 0; i < r->n_decisions; i++)
		json_array_append_new(decisions, decision_json(&r->decisions[i]));
	for (unsigned i = 0; i < r->n_holes; i++)
		json_array_append_new(holes, hole_json(&r->holes[i]));
	for (unsigned i = 0; i < r->n_notes; i++)
		json_array_append_new(notes, note_json(&r->notes[i]));
	for (unsigned i = 0; i < r->n_transfers; i++)
		json_array_append_new(transfers, transfer_json(&r->transfers[i]));
	res_set(json, "steps", steps);
	res_set(json, "decisions", decisions);
	res_set(json, "holes", holes);
	res_set(json, "notes", notes);
	res_set(json, "transfers", transfers);
}

static json_t *rehearsal_json(const struct explain *explain, const struct rehearsal *r)
{
	json_t *json = json_object();

	res_set(json, "alg", text_json_of(explain->alg->name));
	res_set(json, "profile",
		explain->policy != NULL ? text_json_of(policy_profile(explain->policy)->name) : json_null());
	res_set(json, "protocol", text_json_of(explain->alg->protocol));
	res_set(json, "about", about_json(r));
	add_lists(json, r);
	res_set(json, "is_bypassed", json_boolean(r->is_bypassed));
	res_set(json, "is_reset", json_boolean(r->is_reset));
	res_set(json, "is_ending", json_boolean(r->is_ending));
	return json;
}

static void refuse(const struct explain *explain, struct route_reply *reply, int err, const struct rehearsal *r)
{
	char detail[512];

	if (err != ERR_PARSE && err != ERR_STATE) {
		problem_from_err(reply, explain->request, err);
		return;
	}
	snprintf(detail, sizeof(detail), "line %u: %s", r->fault_line, r->fault);
	problem_set(reply, explain->request, PROBLEM_BAD_BODY, "The transcript cannot be played.");
	problem_add_body_error(reply, "/transcript", detail, NULL);
}

void explain_transcript(const struct explain *explain, struct route_reply *reply)
{
	const struct rehearsal_ask ask = {
		.alg = explain->alg,
		.module = explain->module,
		.client = explain->ask.client,
		.server = explain->ask.server,
		.transcript = explain->ask.transcript,
	};
	struct rehearsal *r = arena_alloc(explain->request->arena, sizeof(*r));
	int err = ERR_LIMIT;

	if (explain->module == NULL) {
		problem_set(reply, explain->request, PROBLEM_INTERNAL, "The module of this protocol is not built in.");
		return;
	}
	if (r != NULL)
		err = rehearse(&ask, explain->request->arena, r);
	if (err != 0)
		refuse(explain, reply, err, r);
	else
		route_reply_json(reply, 200, rehearsal_json(explain, r));
}
