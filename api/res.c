/* Helpers of the resources; see res.h. Any HTTP thread; keeps nothing. */
#include "api/res.h"

#include <stdlib.h>

#include "api/encode.h"
#include "api/problem.h"
#include "api/text.h"
#include "api/timestamp.h"
#include "core/buf.h"
#include "core/err.h"
#include "core/loop.h"
#include "media-relay/media.h"

enum { LINK_MAX = 4 * ROUTER_TARGET_MAX };

struct hop {
	struct api *api;
	res_loop_fn *fn;
	void *arg;
	int result;
};

static void run_hop(void *arg)
{
	struct hop *hop = arg;

	hop->result = hop->fn(hop->api, hop->arg);
}

int res_on_loop(struct api *api, res_loop_fn *fn, void *arg)
{
	struct hop hop = { api, fn, arg, 0 };
	int err = loop_call(api->deps.loop, run_hop, &hop, RES_LOOP_TIMEOUT_MS);

	return err != 0 ? err : hop.result;
}

bool res_ask(struct api *api, const struct route_request *request, struct route_reply *reply, res_loop_fn *fn, void *arg)
{
	int err = res_on_loop(api, fn, arg);

	if (err == 0 && arena_is_exhausted(request->arena))
		err = ERR_LIMIT;
	if (err != 0)
		problem_from_err(reply, request, err);
	return err == 0;
}

void res_refuse_cursor(const struct route_request *request, struct route_reply *reply)
{
	problem_set(reply, request, PROBLEM_BAD_PARAMETER, "The cursor does not come from a page of this list.");
	problem_add_error(reply, SPAN_LIT("cursor"), "is not valid", "take next_cursor of the page before");
}

void res_set(json_t *object, const char *name, json_t *value_take)
{
	if (value_take != NULL)
		json_object_set_new(object, name, value_take);
}

json_t *res_time(int64_t wall_ms)
{
	char text[TIMESTAMP_TEXT_MAX];

	if (wall_ms == 0)
		return json_null();
	return json_string(timestamp_text(wall_ms, text));
}

json_t *res_addr(const struct addr *addr)
{
	char text[ADDR_TEXT_MAX];

	return addr_is_set(addr) ? json_string(addr_text(addr, text)) : json_null();
}

json_t *res_ip(const struct addr *addr)
{
	char text[ADDR_TEXT_MAX];

	return addr_is_set(addr) ? json_string(addr_ip_text(addr, text)) : json_null();
}

json_t *res_prefix(const struct prefix *prefix)
{
	char text[ADDR_TEXT_MAX];

	return json_sprintf("%s/%u", addr_ip_text(&prefix->addr, text), prefix->bits);
}

json_t *res_text(const char *text)
{
	return text == NULL || text[0] == '\0' ? json_null() : text_json_of(text);
}

json_t *res_step(int64_t at_ms, const char *rule, const char *text)
{
	json_t *json = json_object();

	res_set(json, "at", res_time(at_ms));
	res_set(json, "rule", text_json_of(rule));
	res_set(json, "text", text_json_of(text));
	return json;
}

json_t *res_count(uint64_t n)
{
	return json_integer((json_int_t)n);
}

json_t *res_media(const struct media_stats *side)
{
	json_t *json = json_object(), *dropped = json_object();

	res_set(json, "local", res_addr(&side->local));
	res_set(json, "signalled", res_addr(&side->signalled));
	res_set(json, "latched", res_addr(&side->latched));
	res_set(json, "latch", text_json_of(latch_state_text(side->latch)));
	res_set(json, "path", text_json_of(media_path_text(side->path)));
	res_set(json, "path_reason", text_json_of(side->path_reason));
	res_set(json, "packets", res_count(side->packets));
	res_set(json, "bytes", res_count(side->bytes));
	res_set(json, "sent", res_count(side->sent));
	res_set(json, "rtcp_packets", res_count(side->rtcp_packets));
	res_set(json, "lost", res_count(side->lost));
	res_set(json, "reordered", res_count(side->reordered));
	res_set(json, "jitter_us", res_count(side->jitter_us));
	res_set(json, "last_packet_age_ms",
		side->last_packet_age_ms == UINT64_MAX ? json_null() : res_count(side->last_packet_age_ms));
	res_set(dropped, "source", res_count(side->dropped_source));
	res_set(dropped, "format", res_count(side->dropped_format));
	res_set(dropped, "payload", res_count(side->dropped_payload));
	res_set(dropped, "early", res_count(side->dropped_early));
	res_set(dropped, "overload", res_count(side->dropped_overload));
	res_set(json, "dropped", dropped);
	return json;
}

/* The same question with another cursor (RFC 8288). */
static void add_next_link(const struct route_request *request, struct route_reply *reply, const char *cursor)
{
	struct buf b = buf_of(malloc(LINK_MAX), LINK_MAX);

	if (b.data == NULL)
		return;
	buf_put(&b, request->path);
	buf_puts(&b, "?cursor=");
	encode_put(&b, span_of(cursor));
	for (unsigned i = 0; i < request->n_values; i++) {
		const struct route_value *value = &request->values[i];

		if (strcmp(value->param->name, "cursor") == 0)
			continue;
		buf_printf(&b, "&%s=", value->param->name);
		encode_put(&b, value->text);
	}
	if (!b.is_full)
		route_reply_header(reply, "Link", "<%.*s>; rel=\"next\"", SPAN_ARG(buf_span(&b)));
	free(b.data);
}

void res_reply_list(const struct route_request *request, struct route_reply *reply, json_t *items_take,
		    const char *cursor)
{
	bool has_next = cursor != NULL && cursor[0] != '\0';

	route_reply_json(reply, 200, json_pack("{s:o, s:o}", "items", items_take, "next_cursor",
					       has_next ? text_json_of(cursor) : json_null()));
	if (has_next)
		add_next_link(request, reply, cursor);
}
