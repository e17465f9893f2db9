/* Dialog state: RFC 3261 sections 12.1 (creation), 12.2 (requests inside), 8.1.2 and 12.2.1.1 (route sets, strict routers). */
#include "sbc/dialog.h"

#include "core/buf.h"
#include "core/err.h"
#include "core/rnd.h"

/* From or To without its tag: what identifies the party, not the dialog. */
static struct span without_tag(struct arena *arena, const struct sip_name_addr *party)
{
	size_t size = party->display.len + party->uri.len + strlen(" <>");
	char *text = arena_alloc(arena, size);
	struct buf out = buf_of(text, text != NULL ? size : 0);

	buf_put(&out, party->display); /* not by printf: it may hold an escaped NUL */
	buf_puts(&out, span_is_empty(party->display) ? "<" : " <");
	buf_put(&out, party->uri);
	buf_putc(&out, '>');
	return out.is_full ? SPAN_NONE : buf_span(&out);
}

static bool is_loose(const struct sip_name_addr *route)
{
	struct sip_uri uri;
	struct span value; /* some write ;lr=on */

	return sip_uri_parse(route->uri, &uri) == 0 && sip_param(uri.params, "lr", &value);
}

/* The route set as ready header lines. A strict first hop takes the Request-URI; the target, which may still move, then goes
 * to the end of each request's routes. */
static int set_routes(struct dialog *dialog, const struct sip_msg *msg, bool reverse)
{
	unsigned n = msg->n_record_routes;
	SCRATCH char text[DIALOG_ROUTES_MAX];
	struct buf out = buf_of(text, sizeof(text));
	struct span strict = SPAN_NONE;

	for (unsigned i = 0; i < n; i++) {
		const struct sip_name_addr *hop = &msg->record_routes[reverse ? n - 1 - i : i];

		if (i == 0 && !is_loose(hop)) {
			strict = arena_dup(dialog->arena, hop->uri);
			if (strict.ptr == NULL)
				return ERR_LIMIT;
			continue;
		}
		buf_puts(&out, "Route: ");
		buf_put(&out, hop->text);
		buf_puts(&out, "\r\n");
	}
	if (out.is_full)
		return ERR_LIMIT;
	dialog->strict_target = strict;
	dialog->routes = out.len > 0 ? arena_dup(dialog->arena, buf_span(&out)) : SPAN_NONE;
	return out.len > 0 && dialog->routes.ptr == NULL ? ERR_LIMIT : 0;
}

/* A private address is somebody else's when the far end is not at one, or is behind a NAT: from outside it would reach into our own
 * networks. */
static bool may_send_to(const struct addr *addr, const struct addr *own, const struct addr *seen)
{
	switch (addr_kind(addr)) {
	case ADDR_UNICAST:
		return !addr_is_private(addr) || addr_is_private(own) || addr_is_private(seen);
	case ADDR_LOOPBACK: /* only where the gateway itself lives on loopback */
		return addr_kind(own) == ADDR_LOOPBACK;
	default:
		return false;
	}
}

/* Where the next request goes: the first route, else the target, when they name an address that may be sent to; behind a
 * NAT, and for host names, back to where the far end's messages come from. */
static void choose_next_hop(struct dialog *dialog, const struct addr *seen)
{
	struct span hop = span_is_empty(dialog->strict_target) ? dialog->remote_target : dialog->strict_target;
	struct sip_name_addr route;
	struct sip_uri uri;

	dialog->flow.remote = *seen;
	if (dialog->is_symmetric)
		return;
	if (!span_is_empty(dialog->routes) && span_is_empty(dialog->strict_target)) {
		struct span line = span_sub(dialog->routes, strlen("Route: "), span_find(dialog->routes, '\r'));

		if (sip_name_addr_parse(line, &route) != 0)
			return;
		hop = route.uri;
	}
	if (sip_uri_parse(hop, &uri) != 0 || uri.addr.family != dialog->flow.local.family ||
	    !may_send_to(&uri.addr, &dialog->flow.local, seen))
		return;
	dialog->flow.remote = uri.addr;
	if (uri.port == 0)
		dialog->flow.remote.port = 5060;
}

/* "?name=value" in a Contact asks for headers in the requests to it; a Request-URI has none (RFC 3261 19.1.1, table 1). */
static struct span without_headers(struct span text)
{
	struct sip_uri uri;

	if (sip_uri_parse(text, &uri) == 0 && uri.headers.ptr != NULL)
		text.len = (size_t)(uri.headers.ptr - text.ptr) - 1;
	return text;
}

static int set_target(struct dialog *dialog, struct span uri)
{
	if (span_is_empty(uri))
		return 0;
	uri = without_headers(uri);
	if (uri.len > sizeof(dialog->target_text))
		return ERR_LIMIT;
	memcpy(dialog->target_text, uri.ptr, uri.len);
	dialog->remote_target = (struct span){ dialog->target_text, uri.len };
	return 0;
}

int dialog_init_uas(struct dialog *dialog, struct arena *arena, const struct sip_msg *invite, bool is_symmetric)
{
	int err;

	dialog->arena = arena;
	dialog->is_symmetric = is_symmetric;
	dialog->flow = invite->flow;
	dialog->source = invite->flow.remote;
	id_mint(0, dialog->local_tag);
	dialog->call_id = arena_dup(arena, invite->call_id);
	dialog->remote_tag = arena_dup(arena, invite->from.tag);
	dialog->local = without_tag(arena, &invite->to);
	dialog->remote = without_tag(arena, &invite->from);
	dialog->remote_target = SPAN_NONE;
	dialog->local_cseq = rnd_below(10000);
	dialog->remote_cseq = invite->cseq;
	dialog->has_remote_cseq = true;
	err = set_target(dialog, invite->contact.uri);
	if (err == 0)
		err = set_routes(dialog, invite, false);
	if (arena_is_exhausted(arena))
		err = ERR_LIMIT;
	if (err == 0)
		choose_next_hop(dialog, &invite->flow.remote);
	return err;
}

int dialog_init_uac(struct dialog *dialog, struct arena *arena, const struct sip_flow *flow,
		    const struct dialog_parties *parties)
{
	char call_id[ID_TEXT_MAX];

	dialog->arena = arena;
	dialog->is_symmetric = parties->is_symmetric;
	dialog->flow = *flow;
	dialog->source = flow->remote;
	id_mint(0, dialog->local_tag);
	dialog->call_id = arena_dup(arena, span_of(id_mint(0, call_id)));
	dialog->remote_tag = SPAN_NONE;
	dialog->local = arena_dup(arena, parties->local);
	dialog->remote = arena_dup(arena, parties->remote);
	dialog->routes = SPAN_NONE;
	dialog->strict_target = SPAN_NONE;
	dialog->local_cseq = rnd_below(10000);
	dialog->has_remote_cseq = false;
	if (arena_is_exhausted(arena))
		return ERR_LIMIT;
	return set_target(dialog, parties->target);
}

int dialog_init_unwanted(struct dialog *dialog, struct arena *arena, const struct sip_msg *response)
{
	struct buf tag = buf_of(dialog->local_tag, sizeof(dialog->local_tag) - 1);

	memset(dialog, 0, sizeof(*dialog));
	buf_put(&tag, response->from.tag); /* ours, as we wrote it */
	dialog->arena = arena;
	dialog->flow = response->flow;
	dialog->call_id = arena_dup(arena, response->call_id);
	dialog->local = without_tag(arena, &response->from);
	dialog->remote = without_tag(arena, &response->to);
	dialog->local_cseq = response->cseq;
	return tag.is_full || arena_is_exhausted(arena) ? ERR_LIMIT : dialog_learn(dialog, response);
}

int dialog_learn(struct dialog *dialog, const struct sip_msg *response)
{
	int err;

	if (!span_is_empty(response->to.tag) && !span_eq(dialog->remote_tag, response->to.tag)) {
		dialog->remote_tag = arena_dup(dialog->arena, response->to.tag);
		if (dialog->remote_tag.ptr == NULL)
			return ERR_LIMIT;
	}
	dialog->source = response->flow.remote;
	err = set_target(dialog, response->contact.uri);
	if (err == 0)
		err = set_routes(dialog, response, true);
	if (err == 0)
		choose_next_hop(dialog, &response->flow.remote);
	return err;
}

int dialog_refresh(struct dialog *dialog, const struct sip_msg *msg)
{
	int err = set_target(dialog, msg->contact.uri);

	if (err == 0)
		choose_next_hop(dialog, &msg->flow.remote);
	return err;
}

bool dialog_owns(const struct dialog *dialog, const struct sip_msg *request)
{
	return span_eq(dialog->call_id, request->call_id) && span_eq(dialog->remote_tag, request->from.tag) &&
	       dialog->flow.realm == request->flow.realm;
}

bool dialog_knows(const struct dialog *dialog, const struct addr *source)
{
	return addr_eq_ip(source, &dialog->source) || addr_eq_ip(source, &dialog->flow.remote);
}

int dialog_accept_cseq(struct dialog *dialog, const struct sip_msg *request)
{
	if (dialog->has_remote_cseq && request->cseq <= dialog->remote_cseq)
		return ERR_STATE;
	dialog->remote_cseq = request->cseq;
	dialog->has_remote_cseq = true;
	return 0;
}

/* Behind a strict router the target is the last route (RFC 3261 12.2.1.1). */
static void end_routes(const struct dialog *dialog, struct buf *out)
{
	buf_put(out, dialog->routes);
	buf_puts(out, "Route: <");
	buf_put(out, dialog->remote_target);
	buf_puts(out, ">\r\n");
}

int dialog_request(struct dialog *dialog, enum sip_method method, uint32_t cseq, struct dialog_text *text,
		   struct sip_request *ret)
{
	struct buf from = buf_of(text->from, sizeof(text->from));
	struct buf to = buf_of(text->to, sizeof(text->to));
	struct buf routes = buf_of(text->routes, sizeof(text->routes));
	struct span uri = span_is_empty(dialog->strict_target) ? dialog->remote_target : dialog->strict_target;

	buf_put(&from, dialog->local);
	buf_puts(&from, ";tag=");
	buf_puts(&from, dialog->local_tag);
	buf_put(&to, dialog->remote);
	if (!span_is_empty(dialog->remote_tag)) {
		buf_puts(&to, ";tag=");
		buf_put(&to, dialog->remote_tag);
	}
	if (!span_is_empty(dialog->strict_target))
		end_routes(dialog, &routes);
	if (from.is_full || to.is_full || routes.is_full || span_is_empty(uri))
		return ERR_LIMIT;
	*ret = (struct sip_request){
		.method = sip_method_name(method),
		.request_uri = uri,
		.flow = dialog->flow,
		.from = buf_span(&from),
		.to = buf_span(&to),
		.call_id = dialog->call_id,
		.cseq = cseq != 0 ? cseq : ++dialog->local_cseq,
		.max_forwards = 70,
		.routes = span_is_empty(dialog->strict_target) ? dialog->routes : buf_span(&routes),
	};
	return 0;
}
