/* Serialises requests, replies, and what is derived from a request (ACK, CANCEL). Owns nothing: text goes into the
 * caller's buffer, whose overflow flag is tested once at the end. Does not decide what a message says. RFC 3261 7,
 * 8.1.1, 8.2.6, 9.1, 17.1.1.3, 18.2.1; RFC 3581 4. */
#include "sbc/sip_build.h"

#include <stdlib.h>

#include "core/arena.h"

static void put_line(struct buf *out, const char *name, struct span value)
{
	buf_puts(out, name);
	buf_puts(out, ": ");
	buf_put(out, value);
	buf_puts(out, "\r\n");
}

static void put_top_via(struct buf *out, const struct sip_msg *msg, struct span value)
{
	buf_puts(out, "Via: ");
	guard_put_via(out, value, &msg->flow.remote);
	buf_puts(out, "\r\n");
}

static void put_all(struct buf *out, const struct sip_msg *msg, enum sip_header_id id, const char *name)
{
	bool is_top = id == SIP_H_VIA;
	for (unsigned i = 0; i < msg->n_headers; i++) {
		const struct sip_header *h = &msg->headers[i];
		if (h->id != id)
			continue;
		if (is_top)
			put_top_via(out, msg, h->value);
		else
			put_line(out, name, h->value);
		is_top = false;
	}
}

static struct span value_of(const struct sip_msg *msg, enum sip_header_id id)
{
	const struct sip_header *h = sip_msg_header(msg, id);
	return h ? h->value : SPAN_NONE;
}

/* Canonical names and our Via parameters can make lines longer than they came: 16 octets per header, and 96. */
static size_t echo_size(const struct sip_msg *request)
{
	size_t size = 96;
	for (unsigned i = 0; i < request->n_headers; i++) {
		enum sip_header_id id = request->headers[i].id;
		if (id == SIP_H_VIA || id == SIP_H_FROM || id == SIP_H_TO || id == SIP_H_CALL_ID || id == SIP_H_CSEQ ||
		    id == SIP_H_RECORD_ROUTE)
			size += request->headers[i].value.len + 16;
	}
	return size;
}

struct sip_echo *sip_echo_new(const struct sip_msg *request, struct arena *arena)
{
	size_t size = echo_size(request);
	struct sip_echo *echo = arena ? arena_alloc(arena, sizeof(*echo) + size) : malloc(sizeof(*echo) + size);
	if (!echo)
		return NULL;
	struct buf b = buf_of(echo->text, size);
	struct span all = { echo->text, size };
	put_all(&b, request, SIP_H_VIA, "Via");
	put_line(&b, "From", value_of(request, SIP_H_FROM));
	size_t from_end = b.len;
	put_line(&b, "Call-ID", request->call_id);
	put_line(&b, "CSeq", value_of(request, SIP_H_CSEQ));
	size_t cseq_end = b.len;
	buf_put(&b, value_of(request, SIP_H_TO));
	size_t to_end = b.len;
	put_all(&b, request, SIP_H_RECORD_ROUTE, "Record-Route");
	if (b.is_full) {
		if (!arena)
			free(echo);
		return NULL;
	}
	echo->via_from = span_sub(all, 0, from_end);
	echo->call_id_cseq = span_sub(all, from_end, cseq_end);
	echo->to = span_sub(all, cseq_end, to_end);
	echo->record_routes = span_sub(all, to_end, b.len);
	echo->has_to_tag = !span_is_empty(request->to.tag);
	return echo;
}

static void put_contact(struct buf *out, struct span uri)
{
	if (span_is_empty(uri))
		return;
	buf_puts(out, "Contact: <");
	buf_put(out, uri);
	buf_puts(out, ">\r\n");
}

/* Content headers, the blank line and the body. */
static void put_content(struct buf *out, struct span type, struct span body)
{
	if (!span_is_empty(body) && !span_is_empty(type))
		put_line(out, "Content-Type", type);
	buf_puts(out, "Content-Length: ");
	buf_u64(out, body.len);
	buf_puts(out, "\r\n\r\n");
	buf_put(out, body);
}

void sip_build_reply(const struct sip_echo *echo, const struct sip_reply *reply, struct span to_tag, struct buf *out)
{
	buf_puts(out, "SIP/2.0 ");
	buf_u64(out, (uint64_t)reply->status);
	buf_putc(out, ' ');
	buf_put(out, span_is_empty(reply->reason) ? sip_reason_phrase(reply->status) : reply->reason);
	buf_puts(out, "\r\n");
	buf_put(out, echo->via_from);
	buf_puts(out, "To: ");
	buf_put(out, echo->to);
	if (!echo->has_to_tag && !span_is_empty(to_tag)) {
		buf_puts(out, ";tag=");
		buf_put(out, to_tag);
	}
	buf_puts(out, "\r\n");
	buf_put(out, echo->call_id_cseq);
	if (reply->echo_record_route)
		buf_put(out, echo->record_routes);
	put_contact(out, reply->contact);
	buf_put(out, reply->headers);
	put_content(out, reply->content_type, reply->body);
}

static void put_own_via(struct buf *out, const struct sip_flow *flow, struct span branch)
{
	char local[ADDR_TEXT_MAX];
	buf_puts(out, "Via: SIP/2.0/UDP ");
	buf_puts(out, addr_text(&flow->local, local));
	buf_puts(out, ";branch=");
	buf_put(out, branch);
	buf_puts(out, ";rport\r\n");
}

static void put_cseq(struct buf *out, uint32_t number, struct span method)
{
	buf_puts(out, "CSeq: ");
	buf_u64(out, number);
	buf_putc(out, ' ');
	buf_put(out, method);
	buf_puts(out, "\r\n");
}

void sip_build_request(const struct sip_request *request, struct span branch, struct buf *out,
		       struct sip_layout *ret_layout)
{
	struct sip_layout at;

	buf_put(out, request->method);
	buf_putc(out, ' ');
	at.uri_at = (uint16_t)out->len;
	at.uri_len = (uint16_t)request->request_uri.len;
	buf_put(out, request->request_uri);
	buf_puts(out, " SIP/2.0\r\n");
	at.head_at = (uint16_t)out->len;
	put_own_via(out, &request->flow, branch);
	buf_puts(out, "Max-Forwards: ");
	buf_u64(out, request->max_forwards);
	buf_puts(out, "\r\n");
	buf_put(out, request->routes);
	put_line(out, "From", request->from);
	at.to_at = (uint16_t)out->len;
	put_line(out, "To", request->to);
	at.call_id_at = (uint16_t)out->len;
	put_line(out, "Call-ID", request->call_id);
	put_cseq(out, request->cseq, request->method);
	at.end = (uint16_t)out->len;
	put_contact(out, request->contact);
	buf_put(out, request->headers);
	put_content(out, request->content_type, request->body);
	*ret_layout = at;
}

void sip_build_derived(const struct sip_derived *from, struct buf *out)
{
	const struct sip_layout *at = from->layout;
	struct span bytes = { from->bytes, at->end };
	struct span cseq_at = span_sub(bytes, at->call_id_at, at->end);
	struct span method = sip_method_name(from->method);

	buf_put(out, method);
	buf_putc(out, ' ');
	buf_put(out, span_sub(bytes, at->uri_at, (size_t)at->uri_at + at->uri_len));
	buf_puts(out, " SIP/2.0\r\n");
	buf_put(out, span_sub(bytes, at->head_at, at->to_at));
	if (span_is_empty(from->to))
		buf_put(out, span_sub(bytes, at->to_at, at->call_id_at));
	else
		put_line(out, "To", from->to);
	buf_put(out, span_cut(&cseq_at, '\n')); /* the Call-ID line */
	buf_puts(out, "\n");
	put_cseq(out, from->cseq, method);
	buf_put(out, from->headers);
	put_content(out, SPAN_NONE, SPAN_NONE);
}
