/* From a guarded datagram to the view that the transaction layer and the calls work on. The datagram is copied once
 * into the arena; the guard's index is moved onto the copy, folds are made spaces in place, and the headers that
 * steer Postern are read strictly. Does not look into bodies. RFC 3261 7.3, 8.1.3.3, 8.2.2, 10.3, 20. */
#include "sbc/sip_msg.h"

#include "core/arena.h"
#include "core/err.h"
#include "sbc/sip_osip.h"

struct parse {
	struct sip_msg *msg;
	const struct guard_message *guarded;
	char *copy;                   /* of guarded->raw */
	const struct guard_fault *fault;
	bool has_star;                /* Contact: * */
	bool has_expires_0;
	bool is_encoded;
};

static const struct guard_fault bad_uri = { 400, "Bad Request-URI", "uri" };
static const struct guard_fault bad_scheme = { 416, "Unsupported URI Scheme", "uri-scheme" };
static const struct guard_fault bad_via = { 400, "Bad Via", "via" };
static const struct guard_fault bad_via_count = { 400, "Not Our Via", "via-count" };
static const struct guard_fault bad_from = { 400, "Bad From", "from" };
static const struct guard_fault bad_to = { 400, "Bad To", "to" };
static const struct guard_fault bad_contact = { 400, "Bad Contact", "contact" };
static const struct guard_fault bad_route = { 400, "Bad Route", "route" };
static const struct guard_fault bad_encoding = { 415, "Unsupported Media Type", "content-encoding" };
static const struct guard_fault not_parsed = { 400, "Bad Request", "second-parser" };
static const struct guard_fault not_implemented = { 501, "Not Implemented", "method-unknown" };
static const struct guard_fault no_memory = { 513, "Message Too Large", "message-memory" };

static int refuse(struct parse *p, const struct guard_fault *fault)
{
	p->fault = fault;
	return ERR_PARSE;
}

/* The same bytes in our copy. */
static struct span moved(const struct parse *p, struct span s)
{
	if (s.ptr == NULL)
		return SPAN_NONE;
	return (struct span){ p->copy + (s.ptr - p->guarded->raw.ptr), s.len };
}

static void blank_line_ends(char *from, const char *to)
{
	for (; from < to; from++)
		if (*from == '\r' || *from == '\n')
			*from = ' ';
}

static void move_headers(struct parse *p, struct sip_header *headers)
{
	for (unsigned i = 0; i < p->guarded->n_headers; i++) {
		const struct guard_header *from = &p->guarded->headers[i];
		struct sip_header *h = &headers[i];
		char *begin;

		*h = (struct sip_header){ from->id, moved(p, from->name), moved(p, from->value) };
		begin = p->copy + (h->name.ptr - p->copy) + h->name.len;
		if (memchr(begin, '\r', (size_t)(h->value.ptr + h->value.len - begin)) != NULL)
			blank_line_ends(begin, h->value.ptr + h->value.len);
	}
	p->msg->headers = headers;
	p->msg->n_headers = p->guarded->n_headers;
}

/* What can stand in From, To and Contact: any URI at all, but a SIP URI must be a proper one. */
static int parse_address(struct span text, struct sip_name_addr *ret)
{
	struct sip_uri uri;

	if (sip_name_addr_parse(text, ret) < 0 || ret->tag.len > GUARD_TAG_MAX ||
	    sip_uri_parse(ret->uri, &uri) == ERR_PARSE)
		return ERR_PARSE;
	return 0;
}

static int read_via(struct parse *p, struct span value)
{
	struct sip_msg *msg = p->msg;
	struct sip_via via;
	struct span element;

	while (sip_list_next(&value, &element)) {
		if (sip_via_parse(element, &via) < 0)
			return refuse(p, &bad_via);
		if (msg->n_vias++ == 0)
			msg->via = via;
	}
	return 0;
}

static int read_from(struct parse *p, struct span value)
{
	return parse_address(value, &p->msg->from) < 0 ? refuse(p, &bad_from) : 0;
}

static int read_to(struct parse *p, struct span value)
{
	return parse_address(value, &p->msg->to) < 0 ? refuse(p, &bad_to) : 0;
}

static int read_contact(struct parse *p, struct span value)
{
	struct sip_msg *msg = p->msg;
	struct sip_name_addr contact;
	struct span element;

	while (sip_list_next(&value, &element)) {
		if (span_eq(element, SPAN_LIT("*"))) {
			contact = (struct sip_name_addr){ .text = element };
			p->has_star = true;
		} else if (parse_address(element, &contact) < 0) {
			return refuse(p, &bad_contact);
		}
		if (msg->n_contacts++ == 0)
			msg->contact = contact;
	}
	return 0;
}

/* Routes are SIP URIs in brackets, without exception (RFC 3261 20.30, 20.34). */
static int read_routes(struct parse *p, struct span value, struct sip_name_addr *routes, unsigned *n)
{
	struct span element;
	struct sip_uri uri;

	while (sip_list_next(&value, &element)) {
		if (*n == GUARD_ROUTES_MAX || sip_name_addr_parse(element, &routes[*n]) < 0 ||
		    routes[*n].uri.ptr[-1] != '<' || sip_uri_parse(routes[*n].uri, &uri) < 0 ||
		    uri.scheme == SIP_SCHEME_TEL)
			return refuse(p, &bad_route);
		(*n)++;
	}
	return 0;
}

static int read_route(struct parse *p, struct span value)
{
	return read_routes(p, value, p->msg->routes, &p->msg->n_routes);
}

static int read_record_route(struct parse *p, struct span value)
{
	return read_routes(p, value, p->msg->record_routes, &p->msg->n_record_routes);
}

static int read_content_type(struct parse *p, struct span value)
{
	p->msg->content_type = value;
	return 0;
}

static int read_content_encoding(struct parse *p, struct span value)
{
	struct span element;

	while (sip_list_next(&value, &element))
		p->is_encoded |= !span_ieq(element, SPAN_LIT("identity"));
	return 0;
}

static int read_expires(struct parse *p, struct span value)
{
	uint32_t seconds;

	p->has_expires_0 = span_to_u32(value, 0, &seconds) == 0;
	return 0;
}

static int (*const readers[SIP_HEADERS])(struct parse *p, struct span value) = {
	[SIP_H_CONTACT] = read_contact,
	[SIP_H_CONTENT_ENCODING] = read_content_encoding,
	[SIP_H_CONTENT_TYPE] = read_content_type,
	[SIP_H_EXPIRES] = read_expires,
	[SIP_H_FROM] = read_from,
	[SIP_H_RECORD_ROUTE] = read_record_route,
	[SIP_H_ROUTE] = read_route,
	[SIP_H_TO] = read_to,
	[SIP_H_VIA] = read_via,
};

static int read_headers(struct parse *p)
{
	const struct sip_msg *msg = p->msg;

	for (unsigned i = 0; i < msg->n_headers; i++) {
		enum sip_header_id id = msg->headers[i].id;

		if (readers[id] != NULL && readers[id](p, msg->headers[i].value) < 0)
			return ERR_PARSE;
	}
	/* RFC 3261 8.1.3.3: a response to us carries our Via and no other. */
	if (!msg->is_request && msg->n_vias > 1)
		return refuse(p, &bad_via_count);
	/* RFC 3261 10.2.2 */
	if (p->has_star && (msg->n_contacts > 1 || msg->method != SIP_REGISTER || !p->has_expires_0))
		return refuse(p, &bad_contact);
	return 0;
}

static int read_request_uri(struct parse *p)
{
	struct sip_msg *msg = p->msg;
	int err;

	if (!msg->is_request)
		return 0;
	err = sip_uri_parse(msg->request_uri_text, &msg->request_uri);
	if (err < 0)
		return refuse(p, err == ERR_UNSUPPORTED ? &bad_scheme : &bad_uri);
	return msg->request_uri.headers.ptr != NULL ? refuse(p, &bad_uri) : 0; /* RFC 3261 19.1.1, table 1 */
}

/* Our view of the message. An error has been set as the fault. */
static int read_message(struct parse *p)
{
	const struct guard_message *guarded = p->guarded;
	struct sip_msg *msg = p->msg;

	msg->raw = moved(p, guarded->raw);
	msg->is_request = guarded->is_request;
	msg->method = guarded->method;
	msg->method_name = moved(p, guarded->method_name);
	msg->request_uri_text = moved(p, guarded->request_uri);
	msg->status = guarded->status;
	msg->reason_phrase = moved(p, guarded->reason_phrase);
	msg->call_id = moved(p, guarded->call_id);
	msg->cseq = guarded->cseq_number;
	msg->max_forwards = guarded->max_forwards;
	msg->body = moved(p, guarded->body);
	if (read_request_uri(p) < 0 || read_headers(p) < 0)
		return ERR_PARSE;
	return p->is_encoded && msg->body.len > 0 ? refuse(p, &bad_encoding) : 0;
}

/* Shows libosip2 the header section alone: for that Content-Length reads 0 while it looks. Multipart bodies are
 * where it fails worst, and nothing here needs its view of them. */
static int ask_second_parser(struct parse *p)
{
	struct sip_msg *msg = p->msg;
	const struct sip_header *length = sip_msg_header(msg, SIP_H_CONTENT_LENGTH);
	char *digits = length ? p->copy + (length->value.ptr - p->copy) : NULL;
	size_t n_digits = length ? length->value.len : 0;
	char *end = p->copy + (msg->raw.len - msg->body.len);
	char after = *end;
	char kept[8] = "";
	int err;

	if (n_digits > sizeof(kept))
		return refuse(p, &not_parsed); /* never: the guard takes seven */
	if (n_digits > 0) {
		memcpy(kept, digits, n_digits);
		memset(digits, '0', n_digits);
	}
	*end = '\0';
	err = sip_osip_check(msg->arena, (struct span){ p->copy, (size_t)(end - p->copy) }, msg);
	*end = after;
	if (n_digits > 0)
		memcpy(digits, kept, n_digits);
	if (err == ERR_LIMIT)
		p->fault = &no_memory;
	else if (err < 0) /* a method nobody knows may look odd; 501 is the better answer (RFC 4475 3.1.1.2) */
		p->fault = msg->is_request && msg->method == SIP_UNKNOWN ? &not_implemented : &not_parsed;
	return err;
}

/* Headers whose every octet the guard or a strict reader has judged, and those that are text to Postern and steer nothing. */
static const bool is_settled[SIP_HEADERS] = {
	[SIP_H_VIA] = true, [SIP_H_FROM] = true, [SIP_H_TO] = true, [SIP_H_CALL_ID] = true, [SIP_H_CSEQ] = true,
	[SIP_H_CONTACT] = true, [SIP_H_MAX_FORWARDS] = true, [SIP_H_CONTENT_LENGTH] = true, [SIP_H_RECORD_ROUTE] = true,
	[SIP_H_ROUTE] = true, [SIP_H_CONTENT_TYPE] = true, [SIP_H_ALLOW] = true, [SIP_H_SUPPORTED] = true,
	[SIP_H_USER_AGENT] = true, [SIP_H_SERVER] = true,
};

/* The second parser costs as much as all the rest of reading a message. It is asked about every request from nowhere, and
 * within dialogs and transactions, where only who knows their secrets speaks, about any header that is not settled. */
static bool wants_second_parser(const struct sip_msg *msg)
{
	if (msg->is_request && span_is_empty(msg->to.tag))
		return true;
	for (unsigned i = 0; i < msg->n_headers; i++)
		if (!is_settled[msg->headers[i].id])
			return true;
	return false;
}

int sip_msg_init(void)
{
	return sip_osip_init();
}

int sip_msg_parse(struct arena *arena, const struct guard_message *guarded, const struct sip_flow *flow,
		  struct sip_msg **ret, struct guard_fault *ret_fault)
{
	struct parse p = { .guarded = guarded, .fault = &no_memory };
	struct sip_header *headers;
	int err = ERR_LIMIT;

	p.msg = arena_alloc(arena, sizeof(*p.msg));
	headers = arena_alloc(arena, sizeof(*headers) * (guarded->n_headers + 1));
	p.copy = arena_strdup(arena, guarded->raw);
	if (p.msg == NULL || headers == NULL || p.copy == NULL)
		goto out;
	p.msg->arena = arena;
	p.msg->flow = *flow;
	move_headers(&p, headers);
	err = read_message(&p);
	if (err == 0 && wants_second_parser(p.msg))
		err = ask_second_parser(&p);
out:
	if (err == 0)
		*ret = p.msg;
	else
		*ret_fault = *p.fault;
	return err;
}

const struct sip_header *sip_msg_header(const struct sip_msg *msg, enum sip_header_id id)
{
	for (unsigned i = 0; i < msg->n_headers; i++)
		if (msg->headers[i].id == id)
			return &msg->headers[i];
	return NULL;
}

bool sip_msg_has_token(const struct sip_msg *msg, enum sip_header_id id, const char *token)
{
	struct span wanted = span_of(token);
	struct span list, element;

	for (unsigned i = 0; i < msg->n_headers; i++) {
		if (msg->headers[i].id != id)
			continue;
		list = msg->headers[i].value;
		while (sip_list_next(&list, &element))
			if (span_ieq(element, wanted))
				return true;
	}
	return false;
}
