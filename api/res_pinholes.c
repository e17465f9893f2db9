/* /v1/pinholes: the doors that are open in the kernel, with their counters, and what the audits of kernel and memory
 * found. Newest owner first, so the pinholes of one call stand together. The engine knows no order; the control thread
 * keeps the first of those that follow the cursor and copies them, JSON is made of the copies on the HTTP thread. */
#include "api/res.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/problem.h"
#include "api/text.h"
#include "core/config.h"
#include "core/err.h"
#include "pinhole/pinhole.h"

enum { ID_DIGITS = 16, CURSOR_MAX = ID_TEXT_MAX + 1 + ID_DIGITS + 1 };

struct list_ask {
	struct span owner, path, realm; /* empty: any */
	bool has_after;
	struct pinhole_view after;      /* owner and id only */
	const struct config *config;    /* referenced */
	struct pinhole_view *views;     /* in the arena */
	size_t wanted, n, capacity;     /* wanted: one more than the page, to know whether another follows */
	bool is_cut;                    /* views[wanted - 1] was the last one that mattered at the last cut */
	struct pinholes_summary summary;
};

static int compare(const void *a, const void *b)
{
	const struct pinhole_view *x = a, *y = b;
	int order = strcmp(y->spec.owner, x->spec.owner);

	return order != 0 ? order : (x->id > y->id) - (x->id < y->id);
}

static const char *realm_name(const struct config *config, unsigned index)
{
	return index < config->n_realms ? config->realms[index].name : NULL;
}

static bool is_asked_for(const struct list_ask *ask, const struct pinhole_view *view)
{
	const struct pinhole_spec *spec = &view->spec;

	if (!span_is_empty(ask->owner) && !span_eq(ask->owner, span_of(spec->owner)))
		return false;
	if (!span_is_empty(ask->path) && !span_eq(ask->path, span_of(pinhole_path_text(view->path))))
		return false;
	return span_is_empty(ask->realm) || span_eq(ask->realm, span_of(realm_name(ask->config, spec->realm_in))) ||
	       span_eq(ask->realm, span_of(realm_name(ask->config, spec->realm_out)));
}

static void cut(struct list_ask *ask)
{
	qsort(ask->views, ask->n, sizeof(*ask->views), compare);
	if (ask->n < ask->wanted)
		return;
	ask->n = ask->wanted;
	ask->is_cut = true;
}

static void take(void *arg, const struct pinhole_view *view)
{
	struct list_ask *ask = arg;

	if (!is_asked_for(ask, view) || (ask->has_after && compare(view, &ask->after) <= 0))
		return;
	if (ask->is_cut && compare(view, &ask->views[ask->wanted - 1]) >= 0)
		return;
	if (ask->n == ask->capacity)
		cut(ask);
	ask->views[ask->n++] = *view;
}

static int list_on_loop(struct api *api, void *arg)
{
	const struct api_deps *deps = &api->deps;
	struct list_ask *ask = arg;

	ask->config = deps->config(deps->config_arg);
	if (deps->pinholes == NULL)
		return 0;
	pinholes_summary(deps->pinholes, &ask->summary);
	pinholes_each(deps->pinholes, take, ask);
	cut(ask);
	return 0;
}

/* "<owner>.<id>": the last one of the page before; it need not be there any more. */
static int parse_cursor(struct span text, struct pinhole_view *ret)
{
	struct span owner = text, id;
	char digits[ID_DIGITS + 1], *end;

	if (text.len < ID_DIGITS + 1 || text.ptr[text.len - ID_DIGITS - 1] != '.')
		return ERR_PARSE;
	id = span_sub(text, text.len - ID_DIGITS, text.len);
	owner.len -= ID_DIGITS + 1;
	if (owner.len >= sizeof(ret->spec.owner))
		return ERR_PARSE;
	snprintf(digits, sizeof(digits), "%.*s", SPAN_ARG(id));
	if (strspn(digits, "0123456789abcdef") != ID_DIGITS)
		return ERR_PARSE;
	snprintf(ret->spec.owner, sizeof(ret->spec.owner), "%.*s", SPAN_ARG(owner));
	ret->id = strtoull(digits, &end, 16);
	return 0;
}

static void add_addresses(json_t *json, const struct pinhole_spec *spec)
{
	res_set(json, "source", res_addr(&spec->source));
	res_set(json, "listen", res_addr(&spec->listen));
	res_set(json, "from", res_addr(&spec->from));
	res_set(json, "target", res_addr(&spec->target));
}

static void add_counters(json_t *json, const struct pinhole_view *view)
{
	const struct slot_stats *stats = &view->stats;
	json_t *dropped = json_object();

	res_set(json, "packets", res_count(stats->packets));
	res_set(json, "bytes", res_count(stats->bytes));
	res_set(json, "has_rtp", json_boolean(stats->has_rtp));
	res_set(json, "lost", res_count(stats->lost));
	res_set(json, "reordered", res_count(stats->reordered));
	res_set(json, "jitter_us", res_count(stats->jitter_us));
	res_set(json, "idle_ms", view->idle_ms == UINT64_MAX ? json_null() : res_count(view->idle_ms));
	res_set(json, "passed", res_count(stats->passed));
	res_set(dropped, "rate", res_count(stats->dropped_rate));
	res_set(dropped, "format", res_count(stats->dropped_format));
	res_set(json, "dropped", dropped);
}

static json_t *pinhole_json(const struct config *config, const struct pinhole_view *view)
{
	const struct pinhole_spec *spec = &view->spec;
	json_t *json = json_object();

	res_set(json, "id", json_sprintf("%016" PRIx64, view->id));
	res_set(json, "owner", text_json_of(spec->owner));
	res_set(json, "state", json_string(pinhole_state_text(view->state)));
	res_set(json, "path", json_string(pinhole_path_text(view->path)));
	res_set(json, "reason", text_json_of(view->reason));
	res_set(json, "protocol", json_string(spec->proto == IPPROTO_TCP ? "tcp" : "udp"));
	res_set(json, "realm_in", text_json_of(realm_name(config, spec->realm_in)));
	res_set(json, "realm_out", text_json_of(realm_name(config, spec->realm_out)));
	add_addresses(json, spec);
	res_set(json, "is_active", json_boolean(view->stats.is_active));
	add_counters(json, view);
	res_set(json, "in_kernel", json_boolean(view->in_kernel));
	res_set(json, "lifetime_s", json_integer(spec->lifetime_s));
	return json;
}

static json_t *summary_json(const struct pinholes_summary *summary)
{
	json_t *json = json_object(), *open = json_object();

	for (enum pinhole_path path = PINHOLE_NONE + 1; path < PINHOLE_PATHS; path++)
		res_set(open, pinhole_path_text(path), res_count(summary->open[path]));
	res_set(json, "open", open);
	res_set(json, "missing", res_count(summary->missing));
	res_set(json, "orphans", res_count(summary->orphans));
	res_set(json, "refused", res_count(summary->refused));
	res_set(json, "lost", res_count(summary->lost));
	res_set(json, "has_helper", json_boolean(summary->has_helper));
	res_set(json, "helper_starts", res_count(summary->helper_starts));
	return json;
}

static void reply_page(const struct list_ask *ask, const struct route_request *request, struct route_reply *reply)
{
	size_t n = ask->n < ask->wanted ? ask->n : ask->wanted - 1;
	char cursor[CURSOR_MAX] = "";
	json_t *items = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(items, pinhole_json(ask->config, &ask->views[i]));
	if (n < ask->n)
		snprintf(cursor, sizeof(cursor), "%s.%016" PRIx64, ask->views[n - 1].spec.owner, ask->views[n - 1].id);
	res_reply_list(request, reply, items, cursor);
	if (reply->json != NULL)
		res_set(reply->json, "summary", summary_json(&ask->summary));
}

void res_pinholes_list(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	struct list_ask ask = {
		.owner = route_text(request, "owner"),
		.path = route_text(request, "path"),
		.realm = route_text(request, "realm"),
		.wanted = (size_t)route_number(request, "limit", RES_PAGE_DEFAULT) + 1,
	};
	struct span cursor = route_text(request, "cursor");
	int err;

	ask.has_after = !span_is_empty(cursor);
	if (ask.has_after && parse_cursor(cursor, &ask.after) != 0) {
		res_refuse_cursor(request, reply);
		return;
	}
	ask.capacity = 2 * ask.wanted; /* room to sort seldom */
	ask.views = arena_alloc_raw(request->arena, ask.capacity * sizeof(*ask.views));
	err = ask.views != NULL ? res_on_loop(api, list_on_loop, &ask) : ERR_LIMIT;
	if (err != 0) {
		problem_from_err(reply, request, err);
		return;
	}
	reply_page(&ask, request, reply);
	config_unref(ask.config);
}
