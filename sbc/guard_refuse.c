/* Stateless refusals, built from what the scan of guard.c saw and nothing else: no transaction, no memory kept, the
 * same bytes for each retransmission. Pure; any thread. RFC 3261 8.2.6, 8.2.7, 18.2; RFC 3581. */
#include "core/addr.h"
#include "core/hash.h"
#include "sbc/guard.h"
#include "sbc/sip_uri.h"

/* Copies a value and turns its folds into spaces, so that the readers of sip_uri.h can be asked about it. */
static struct span unfold(struct span value, char *out, size_t out_size)
{
	if (value.len > out_size)
		return SPAN_NONE;
	for (size_t i = 0; i < value.len; i++)
		out[i] = value.ptr[i] == '\r' || value.ptr[i] == '\n' ? ' ' : value.ptr[i];
	return (struct span){ out, value.len };
}

/* sent-by of one Via element: what follows "SIP/2.0/UDP" and white space. */
static struct span sent_by(struct span via)
{
	struct span head = span_trim(span_sub(via, 0, span_find(via, ';')));
	size_t at = head.len;

	while (at > 0 && head.ptr[at - 1] != ' ' && head.ptr[at - 1] != '\t')
		at--;
	return span_sub(head, at, head.len);
}

/* True when sent-by is the literal address the message came from. */
static bool is_sent_by(struct span via, const struct addr *source)
{
	struct span host = sent_by(via);
	struct addr addr;

	if (host.len > 0 && host.ptr[0] == '[')
		host.len = span_find(host, ']') < host.len ? span_find(host, ']') + 1 : host.len;
	else
		host.len = span_find(host, ':');
	return addr_parse_ip(host, &addr) == 0 && addr_eq_ip(&addr, source);
}

static void put_received(struct buf *out, struct span via, const struct addr *source, bool has_rport)
{
	char text[ADDR_TEXT_MAX];

	/* RFC 3581 4: with rport always; RFC 3261 18.2.1: else when sent-by says something different. */
	if (has_rport || !is_sent_by(via, source)) {
		buf_puts(out, ";received=");
		buf_puts(out, addr_ip_text(source, text));
	}
	if (has_rport) {
		buf_puts(out, ";rport=");
		buf_u64(out, source->port);
	}
}

void guard_put_via(struct buf *out, struct span value, const struct addr *source)
{
	char text[GUARD_LINE_MAX];
	struct span others = unfold(value, text, sizeof(text));
	struct span via, params, name, param_value;
	bool has_rport = false;

	if (!sip_list_next(&others, &via))
		return;
	params = span_sub(via, span_find(via, ';') + 1, via.len);
	buf_put(out, span_trim(span_sub(via, 0, span_find(via, ';'))));
	while (params.len > 0) {
		struct span before = params;

		if (sip_param_next(&params, &name, &param_value) < 0) {
			buf_putc(out, ';');
			buf_put(out, before); /* not well-formed: the rest goes back as it came */
			break;
		}
		if (span_ieq(name, SPAN_LIT("rport"))) {
			has_rport = true;
		} else if (!span_ieq(name, SPAN_LIT("received"))) {
			buf_putc(out, ';');
			buf_put(out, name);
			buf_puts(out, param_value.ptr ? "=" : "");
			buf_put(out, param_value);
		}
	}
	put_received(out, via, source, has_rport);
	if (others.ptr != NULL) {
		buf_puts(out, ", ");
		buf_put(out, span_trim(others));
	}
}

static void put_vias(struct buf *out, const struct guard_message *msg, const struct addr *source)
{
	bool is_top = true;

	for (unsigned i = 0; i < msg->n_headers; i++) {
		if (msg->headers[i].id != SIP_H_VIA)
			continue;
		buf_puts(out, "Via: ");
		if (is_top)
			guard_put_via(out, msg->headers[i].value, source);
		else
			buf_put(out, msg->headers[i].value);
		buf_puts(out, "\r\n");
		is_top = false;
	}
}

/* The request's To, with a tag that another copy of the request gets again (RFC 3261 8.2.7). A To that cannot be
 * read goes back as it came: its sender matches the answer by Via. */
static void put_to(struct buf *out, const struct guard_message *msg)
{
	char text[GUARD_LINE_MAX];
	struct span to = unfold(msg->to, text, sizeof(text));
	struct sip_name_addr parsed;
	uint64_t tag;

	buf_puts(out, "To: ");
	buf_put(out, to);
	if (sip_name_addr_parse(to, &parsed) == 0 && parsed.tag.ptr == NULL) {
		tag = hash_bytes_seeded(msg->call_id, hash_bytes(msg->via));
		buf_puts(out, ";tag=");
		buf_hex(out, &tag, sizeof(tag));
	}
	buf_puts(out, "\r\n");
}

static void put_line(struct buf *out, const char *name, struct span value)
{
	buf_puts(out, name);
	buf_put(out, value);
	buf_puts(out, "\r\n");
}

size_t guard_refuse(const struct guard_message *msg, const struct guard_fault *fault, const struct addr *source, char *out,
		    size_t out_size)
{
	struct buf reply = buf_of(out, out_size);

	if (!msg->is_request || msg->method == SIP_ACK || msg->via.len == 0 || msg->from.len == 0 || msg->to.len == 0 ||
	    msg->call_id.len == 0 || msg->cseq.len == 0)
		return 0;
	buf_puts(&reply, "SIP/2.0 ");
	buf_u64(&reply, (uint64_t)fault->code);
	buf_putc(&reply, ' ');
	put_line(&reply, "", span_of(fault->reason));
	put_vias(&reply, msg, source);
	put_line(&reply, "From: ", msg->from);
	put_to(&reply, msg);
	put_line(&reply, "Call-ID: ", msg->call_id);
	put_line(&reply, "CSeq: ", msg->cseq);
	if (fault->code == 415) /* only the coding is ever refused here (RFC 3261 8.2.3) */
		put_line(&reply, "Accept-Encoding: ", SPAN_LIT("identity"));
	put_line(&reply, "Content-Length: ", SPAN_LIT("0"));
	put_line(&reply, "", SPAN_NONE);
	if (reply.is_full || reply.len > 2 * msg->raw.len)
		return 0;
	return reply.len;
}
