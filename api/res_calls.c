/* /v1/calls: live calls and those that ended a short while ago. The control thread copies what is asked for into the
 * request's arena; JSON is made of it here, on the HTTP thread. */
#include "api/res.h"

#include "api/text.h"
#include "sbc/b2bua.h"

/* GET /v1/calls */

struct list_ask {
	struct call_filter filter;
	struct arena *arena;
	struct call_summary *calls;
	unsigned n_calls;
	bool has_more;
};

static int list_on_loop(struct api *api, void *arg)
{
	struct list_ask *ask = arg;

	ask->n_calls = b2bua_calls(api->deps.b2bua, &ask->filter, ask->arena, &ask->calls, &ask->has_more);
	return 0;
}

static json_t *summary_json(const struct call_summary *call)
{
	json_t *json = json_object();

	res_set(json, "id", text_json_of(call->id));
	res_set(json, "state", text_json_of(call->state));
	res_set(json, "from_realm", text_json_of(call->from_realm));
	res_set(json, "to_realm", text_json_of(call->to_realm));
	res_set(json, "to_peer", text_json_of(call->to_peer));
	res_set(json, "from_uri", text_json_of(call->from_uri));
	res_set(json, "to_uri", text_json_of(call->to_uri));
	res_set(json, "call_id", text_json_of(call->call_id));
	res_set(json, "started_at", res_time(call->started_ms));
	res_set(json, "answered_at", res_time(call->answered_ms));
	res_set(json, "ended_at", res_time(call->ended_ms));
	res_set(json, "status", call->status ? json_integer(call->status) : json_null());
	res_set(json, "cause", text_json_of(call->cause));
	res_set(json, "is_held", json_boolean(call->is_held));
	return json;
}

void res_calls_list(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	struct list_ask ask = { .arena = request->arena };
	json_t *items;

	ask.filter = (struct call_filter){
		.state = route_text(request, "state"),
		.realm = route_text(request, "realm"),
		.peer = route_text(request, "peer"),
		.q = route_text(request, "q"),
		.after = route_text(request, "cursor"),
		.limit = (unsigned)route_number(request, "limit", RES_PAGE_DEFAULT),
	};
	if (!res_ask(api, request, reply, list_on_loop, &ask))
		return;
	items = json_array();
	for (unsigned i = 0; i < ask.n_calls; i++)
		json_array_append_new(items, summary_json(&ask.calls[i]));
	res_reply_list(request, reply, items, ask.has_more && ask.n_calls > 0 ? ask.calls[ask.n_calls - 1].id : NULL);
}

/* GET /v1/calls/{id} */

struct view_ask {
	struct span id;
	struct arena *arena;
	struct call_view view;
};

static int view_on_loop(struct api *api, void *arg)
{
	struct view_ask *ask = arg;

	return b2bua_call(api->deps.b2bua, ask->id, ask->arena, &ask->view);
}

static json_t *leg_json(const struct call_leg_view *leg)
{
	json_t *json = json_object();

	res_set(json, "realm", text_json_of(leg->realm));
	res_set(json, "peer", text_json_of(leg->peer));
	res_set(json, "call_id", text_json_of(leg->call_id));
	res_set(json, "local_tag", text_json_of(leg->local_tag));
	res_set(json, "remote_tag", text_json_of(leg->remote_tag));
	res_set(json, "from", text_json_of(leg->from));
	res_set(json, "to", text_json_of(leg->to));
	res_set(json, "request_uri", text_json_of(leg->request_uri));
	res_set(json, "remote_target", text_json_of(leg->remote_target));
	res_set(json, "user_agent", text_json_of(leg->user_agent));
	res_set(json, "local", res_addr(&leg->local));
	res_set(json, "remote", res_addr(&leg->remote));
	res_set(json, "sdp_received", text_json_of(leg->sdp_received));
	res_set(json, "sdp_sent", text_json_of(leg->sdp_sent));
	return json;
}

static json_t *stream_json(const struct call_stream_view *stream)
{
	json_t *json = json_object();

	res_set(json, "index", json_integer(stream->index));
	res_set(json, "kind", text_json_of(stream->kind));
	res_set(json, "format", text_json_of(stream->format));
	res_set(json, "a", res_media(&stream->side[MEDIA_A]));
	res_set(json, "b", res_media(&stream->side[MEDIA_B]));
	return json;
}

static json_t *message_json(const struct call_message *message)
{
	json_t *json = json_object();

	res_set(json, "at", res_time(message->at_ms));
	res_set(json, "leg", json_string(message->leg == 'b' ? "b" : "a"));
	res_set(json, "direction", json_string(message->is_out ? "out" : "in"));
	res_set(json, "local", res_addr(&message->local));
	res_set(json, "remote", res_addr(&message->remote));
	res_set(json, "text", text_json_of(message->text));
	res_set(json, "is_cut", json_boolean(message->is_cut));
	return json;
}

static json_t *view_json(const struct call_view *view)
{
	json_t *json = summary_json(&view->summary);
	json_t *legs = json_object(), *streams = json_array(), *decision = json_array(), *messages = json_array();

	res_set(legs, "a", leg_json(&view->leg[0]));
	res_set(legs, "b", leg_json(&view->leg[1]));
	for (unsigned i = 0; i < view->n_streams; i++)
		json_array_append_new(streams, stream_json(&view->streams[i]));
	for (unsigned i = 0; i < view->n_steps; i++)
		json_array_append_new(decision, res_step(view->steps[i].at_ms, view->steps[i].rule, view->steps[i].text));
	for (unsigned i = 0; i < view->n_messages; i++)
		json_array_append_new(messages, message_json(&view->messages[i]));
	res_set(json, "ended_by", text_json_of(view->ended_by));
	res_set(json, "reason", text_json_of(view->reason));
	res_set(json, "legs", legs);
	res_set(json, "streams", streams);
	res_set(json, "decision", decision);
	res_set(json, "messages", messages);
	res_set(json, "messages_lost", json_integer(view->messages_lost));
	return json;
}

void res_calls_get(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	struct view_ask ask = { .id = request->name, .arena = request->arena };

	if (res_ask(api, request, reply, view_on_loop, &ask))
		route_reply_json(reply, 200, view_json(&ask.view));
}

/* DELETE /v1/calls/{id} */

static int hangup_on_loop(struct api *api, void *arg)
{
	const struct span *id = arg;

	return b2bua_hangup(api->deps.b2bua, *id);
}

void res_calls_delete(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	struct span id = request->name;

	if (res_ask(api, request, reply, hangup_on_loop, &id))
		reply->status = 204;
}
