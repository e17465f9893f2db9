/* /v1/sessions: everything that crosses the gateway now, whatever its protocol: ALG sessions, and calls as
 * sessions of protocol "sip". Both know their own order and pages; a page here is both merged by id, newest first,
 * and its cursor names a place in each. The control thread copies what is asked for into the request's arena; JSON
 * is made of it here, on the HTTP thread. */
#include "api/res.h"

#include <stdio.h>

#include "algs/host.h"
#include "api/text.h"
#include "core/err.h"
#include "core/id.h"
#include "sbc/b2bua.h"

enum { CURSOR_SIZE = 2 * ID_TEXT_MAX + 2 };

/* GET /v1/sessions */

struct list_ask {
	struct arena *arena;
	unsigned limit;
	bool wants_calls, wants_algs;
	struct call_filter calls_filter;
	struct alg_session_filter algs_filter;
	struct call_summary *calls;
	struct alg_session_summary *algs;
	unsigned n_calls, n_algs;
	bool has_more_calls, has_more_algs;
};

static int list_on_loop(struct api *api, void *arg)
{
	const struct api_deps *deps = &api->deps;
	struct list_ask *ask = arg;

	if (ask->wants_calls)
		ask->n_calls = b2bua_calls(deps->b2bua, &ask->calls_filter, ask->arena, &ask->calls,
					   &ask->has_more_calls);
	if (ask->wants_algs && deps->algs != NULL)
		ask->n_algs = alg_sessions(deps->algs, &ask->algs_filter, ask->arena, &ask->algs, &ask->has_more_algs);
	return 0;
}

static json_t *call_json(const struct call_summary *call)
{
	json_t *json = json_object();

	res_set(json, "id", text_json_of(call->id));
	res_set(json, "protocol", json_string("sip"));
	res_set(json, "alg", json_null());
	res_set(json, "mode", json_null());
	res_set(json, "state", text_json_of(call->state));
	res_set(json, "user", json_null());
	res_set(json, "from_realm", text_json_of(call->from_realm));
	res_set(json, "to_realm", text_json_of(call->to_realm));
	res_set(json, "from", text_json_of(call->from_uri));
	res_set(json, "to", text_json_of(call->to_uri));
	res_set(json, "started_at", res_time(call->started_ms));
	res_set(json, "ended_at", res_time(call->ended_ms));
	res_set(json, "n_holes", json_null());
	res_set(json, "n_transfers", json_null());
	res_set(json, "partner", json_null());
	res_set(json, "cause", text_json_of(call->cause));
	res_set(json, "call", json_sprintf("/v1/calls/%s", call->id));
	return json;
}

static json_t *alg_json(const struct alg_session_summary *session)
{
	json_t *json = json_object();

	res_set(json, "id", text_json_of(session->id));
	res_set(json, "protocol", text_json_of(session->protocol));
	res_set(json, "alg", text_json_of(session->alg));
	res_set(json, "mode", text_json_of(session->mode));
	res_set(json, "state", text_json_of(session->state));
	res_set(json, "user", res_text(session->user));
	res_set(json, "from_realm", text_json_of(session->from_realm));
	res_set(json, "to_realm", text_json_of(session->to_realm));
	res_set(json, "from", res_addr(&session->client));
	res_set(json, "to", res_addr(&session->server));
	res_set(json, "started_at", res_time(session->started_ms));
	res_set(json, "ended_at", res_time(session->ended_ms));
	res_set(json, "n_holes", json_integer(session->n_holes));
	res_set(json, "n_transfers", json_integer(session->n_transfers));
	res_set(json, "partner", text_json_of(session->partner));
	res_set(json, "cause", text_json_of(session->cause));
	res_set(json, "call", json_null());
	return json;
}

/* "<call>.<session>": the last one of each kind so far, either may be missing. */
static int parse_cursor(struct span cursor, struct list_ask *ask)
{
	struct span rest = cursor, call = span_cut(&rest, '.');

	if (rest.ptr == NULL || call.len >= ID_TEXT_MAX || rest.len >= ID_TEXT_MAX)
		return ERR_PARSE;
	ask->calls_filter.after = call;
	ask->algs_filter.after = rest;
	return 0;
}

struct merged {
	unsigned calls, algs; /* how many of each are on the page */
};

static struct merged merge(const struct list_ask *ask, json_t *items)
{
	struct merged at = { 0, 0 };

	while (at.calls + at.algs < ask->limit) {
		bool has_call = at.calls < ask->n_calls, has_alg = at.algs < ask->n_algs;

		if (!has_call && !has_alg)
			break;
		if (has_call && (!has_alg || strcmp(ask->calls[at.calls].id, ask->algs[at.algs].id) > 0))
			json_array_append_new(items, call_json(&ask->calls[at.calls++]));
		else
			json_array_append_new(items, alg_json(&ask->algs[at.algs++]));
	}
	return at;
}

static void reply_page(const struct list_ask *ask, const struct route_request *request, struct route_reply *reply)
{
	json_t *items = json_array();
	struct merged at = merge(ask, items);
	struct span call = at.calls > 0 ? span_of(ask->calls[at.calls - 1].id) : ask->calls_filter.after;
	struct span alg = at.algs > 0 ? span_of(ask->algs[at.algs - 1].id) : ask->algs_filter.after;
	bool has_more = ask->has_more_calls || ask->has_more_algs || at.calls < ask->n_calls || at.algs < ask->n_algs;
	char cursor[CURSOR_SIZE];

	snprintf(cursor, sizeof(cursor), "%.*s.%.*s", SPAN_ARG(call), SPAN_ARG(alg));
	res_reply_list(request, reply, items, has_more ? cursor : NULL);
}

static void fill_filters(const struct route_request *request, struct list_ask *ask)
{
	struct span protocol = route_text(request, "protocol"), alg = route_text(request, "alg");
	struct span user = route_text(request, "user"), state = route_text(request, "state");
	struct span realm = route_text(request, "realm");
	bool is_sip = span_eq(protocol, SPAN_LIT("sip"));

	ask->limit = (unsigned)route_number(request, "limit", RES_PAGE_DEFAULT);
	/* What only ALG sessions have asks for these alone. */
	ask->wants_calls = (span_is_empty(protocol) || is_sip) && span_is_empty(alg) && span_is_empty(user);
	ask->wants_algs = !is_sip;
	ask->calls_filter = (struct call_filter){ .state = state, .realm = realm, .limit = ask->limit };
	ask->algs_filter = (struct alg_session_filter){ .protocol = protocol, .alg = alg, .user = user, .state = state,
							.realm = realm, .limit = ask->limit };
}

void res_sessions_list(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	struct list_ask ask = { .arena = request->arena };
	struct span cursor = route_text(request, "cursor");

	fill_filters(request, &ask);
	if (!span_is_empty(cursor) && parse_cursor(cursor, &ask) != 0)
		res_refuse_cursor(request, reply);
	else if (res_ask(api, request, reply, list_on_loop, &ask))
		reply_page(&ask, request, reply);
}

/* GET /v1/sessions/{id} */

struct view_ask {
	struct span id;
	struct arena *arena;
	bool is_call;
	struct alg_session_view session;
	struct call_view call;
};

static int view_on_loop(struct api *api, void *arg)
{
	const struct api_deps *deps = &api->deps;
	struct view_ask *ask = arg;
	int err = ERR_NOT_FOUND;

	if (deps->algs != NULL)
		err = alg_session(deps->algs, ask->id, ask->arena, &ask->session);
	if (err != ERR_NOT_FOUND)
		return err;
	ask->is_call = true;
	return b2bua_call(deps->b2bua, ask->id, ask->arena, &ask->call);
}

static json_t *tls_json(const struct alg_tls_view *tls)
{
	json_t *json;

	if (tls->version == NULL)
		return json_null();
	json = json_object();
	res_set(json, "version", text_json_of(tls->version));
	res_set(json, "cipher", text_json_of(tls->cipher));
	res_set(json, "resumed", json_boolean(tls->is_resumed));
	return json;
}

static json_t *leg_json(const struct alg_session_view *view, unsigned side)
{
	const struct addr *far = side == 0 ? &view->summary.client : &view->summary.server;
	const struct addr *gateway = side == 0 ? &view->client_leg : &view->server_leg;
	json_t *json = json_object();

	res_set(json, "address", res_addr(far));
	res_set(json, "gateway", res_addr(gateway));
	res_set(json, "bytes", res_count(view->summary.bytes[side]));
	res_set(json, "messages", res_count(view->messages[side]));
	res_set(json, "edited", res_count(view->edited[side]));
	res_set(json, "dropped", res_count(view->dropped[side]));
	res_set(json, "tls", tls_json(&view->tls[side]));
	return json;
}

/* {"client": ..., "server": ...} */
static json_t *sides(json_t *client_take, json_t *server_take)
{
	json_t *json = json_object();

	res_set(json, "client", client_take);
	res_set(json, "server", server_take);
	return json;
}

static json_t *hole_json(const struct alg_hole_view *hole)
{
	json_t *json = json_object();

	res_set(json, "id", json_integer(hole->id));
	res_set(json, "class", text_json_of(hole->class));
	res_set(json, "kind", text_json_of(hole->kind));
	res_set(json, "state", text_json_of(hole->state));
	res_set(json, "path", text_json_of(hole->path));
	res_set(json, "reason", res_text(hole->reason));
	res_set(json, "listen", res_addr(&hole->listen));
	res_set(json, "target", res_addr(&hole->target));
	res_set(json, "bytes", sides(res_count(hole->bytes[0]), res_count(hole->bytes[1])));
	res_set(json, "since", res_time(hole->since_ms));
	res_set(json, "tls", hole->is_protected ? sides(tls_json(&hole->tls[0]), tls_json(&hole->tls[1])) : json_null());
	res_set(json, "media",
		hole->has_media ? sides(res_media(&hole->media[0]), res_media(&hole->media[1])) : json_null());
	return json;
}

static json_t *change_json(const struct alg_change *change)
{
	json_t *json = json_object();

	res_set(json, "at", res_time(change->at_ms));
	res_set(json, "from", json_string(change->from == 's' ? "server" : "client"));
	res_set(json, "verdict", text_json_of(change->verdict));
	res_set(json, "before", text_json_of(change->before));
	res_set(json, "after", text_json_of(change->after));
	return json;
}

static json_t *session_json(const struct alg_session_view *view)
{
	json_t *json = alg_json(&view->summary), *holes = json_array(), *steps = json_array(), *changes = json_array();

	for (unsigned i = 0; i < view->n_holes; i++)
		json_array_append_new(holes, hole_json(&view->holes[i]));
	for (unsigned i = 0; i < view->n_steps; i++)
		json_array_append_new(steps, res_step(view->steps[i].at_ms, view->steps[i].rule, view->steps[i].text));
	for (unsigned i = 0; i < view->n_changes; i++)
		json_array_append_new(changes, change_json(&view->changes[i]));
	res_set(json, "legs", sides(leg_json(view, 0), leg_json(view, 1)));
	res_set(json, "holes", holes);
	res_set(json, "steps", steps);
	res_set(json, "changes", changes);
	return json;
}

/* The rest is behind the link: a call has other parts. */
static json_t *call_session_json(const struct call_view *view)
{
	json_t *json = call_json(&view->summary), *steps = json_array();

	for (unsigned i = 0; i < view->n_steps; i++)
		json_array_append_new(steps, res_step(view->steps[i].at_ms, view->steps[i].rule, view->steps[i].text));
	res_set(json, "legs", json_null());
	res_set(json, "holes", json_array());
	res_set(json, "steps", steps);
	res_set(json, "changes", json_array());
	return json;
}

void res_sessions_get(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	struct view_ask ask = { .id = request->name, .arena = request->arena };

	if (res_ask(api, request, reply, view_on_loop, &ask))
		route_reply_json(reply, 200, ask.is_call ? call_session_json(&ask.call) : session_json(&ask.session));
}

/* DELETE /v1/sessions/{id} */

static int end_on_loop(struct api *api, void *arg)
{
	const struct span *id = arg;
	int err = ERR_NOT_FOUND;

	if (api->deps.algs != NULL)
		err = alg_session_end(api->deps.algs, *id);
	return err == ERR_NOT_FOUND ? b2bua_hangup(api->deps.b2bua, *id) : err;
}

void res_sessions_delete(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	struct span id = request->name;

	if (res_ask(api, request, reply, end_on_loop, &id))
		reply->status = 204;
}
