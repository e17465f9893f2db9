/* Helpers of the resources; see res.h. Any HTTP thread; keeps nothing. */
#include "api/res.h"

#include <stdlib.h>

#include "api/encode.h"
#include "api/text.h"
#include "api/timestamp.h"
#include "core/buf.h"
#include "core/loop.h"

enum { LINK_MAX = 4 * ROUTER_TARGET_MAX };

int res_on_loop(struct api *api, void (*fn)(void *arg), void *arg)
{
	return loop_call(api->deps.loop, fn, arg, RES_LOOP_TIMEOUT_MS);
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
