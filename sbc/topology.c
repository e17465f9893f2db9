/* What crosses from one leg to the other. RFC 5853 3.1 (topology hiding), RFC 7092, RFC 3325 (trust), RFC 3326 (Reason).
 *
 * A header is carried over only by a row below, so whatever a peer invents stays on its own side, unless its realm is
 * configured with pass_unknown_headers. Rebuilt by dialogs and transactions and never carried: Via, Route, Record-Route,
 * Contact, From, To, Call-ID, CSeq, Max-Forwards, Content-Length, Content-Type. */
#include "sbc/topology.h"

#include "sbc/sip_char.h"

enum {
	REQUEST = 1,
	RESPONSE = 2,
	BOTH = REQUEST | RESPONSE,
};

enum { OPTION_MAX = 64 }; /* of an option tag that is told to be unknown */

typedef void carry_fn(const struct sip_header *header, struct buf *out);

struct rule {
	uint8_t direction;   /* 0: never */
	bool is_trusted_only; /* both realms must be trusted (RFC 3325 section 5) */
	carry_fn *carry;     /* NULL: the value as it is */
};

static void carry_reason(const struct sip_header *header, struct buf *out);
static void carry_options(const struct sip_header *header, struct buf *out);
static void carry_methods(const struct sip_header *header, struct buf *out);
static void carry_retry_after(const struct sip_header *header, struct buf *out);

static const struct rule rules[SIP_HEADERS] = {
	[SIP_H_ACCEPT] = { BOTH, false, NULL },
	[SIP_H_ACCEPT_ENCODING] = { BOTH, false, NULL },
	[SIP_H_ACCEPT_LANGUAGE] = { BOTH, false, NULL },
	[SIP_H_ALLOW] = { BOTH, false, carry_methods },
	[SIP_H_AUTHORIZATION] = { REQUEST, false, NULL },       /* the caller's own credentials, end to end */
	[SIP_H_PROXY_AUTHORIZATION] = { REQUEST, false, NULL },
	[SIP_H_WWW_AUTHENTICATE] = { RESPONSE, false, NULL },   /* names the authentication realm, on purpose */
	[SIP_H_PROXY_AUTHENTICATE] = { RESPONSE, false, NULL },
	[SIP_H_CONTENT_DISPOSITION] = { BOTH, false, NULL },
	[SIP_H_CONTENT_LANGUAGE] = { BOTH, false, NULL },
	[SIP_H_DATE] = { BOTH, false, NULL },
	[SIP_H_DIVERSION] = { REQUEST, true, NULL },
	[SIP_H_EXPIRES] = { REQUEST, false, NULL },
	[SIP_H_GEOLOCATION] = { REQUEST, true, NULL },
	[SIP_H_HISTORY_INFO] = { BOTH, true, NULL },
	[SIP_H_IDENTITY] = { REQUEST, false, NULL },            /* signed: byte for byte (RFC 8224) */
	[SIP_H_MIME_VERSION] = { BOTH, false, NULL },
	[SIP_H_ORGANIZATION] = { BOTH, true, NULL },
	[SIP_H_P_ASSERTED_IDENTITY] = { BOTH, true, NULL },
	[SIP_H_P_EARLY_MEDIA] = { BOTH, true, NULL },
	[SIP_H_PRIORITY] = { REQUEST, false, NULL },
	[SIP_H_PRIVACY] = { BOTH, false, NULL },
	[SIP_H_REASON] = { BOTH, false, carry_reason },
	[SIP_H_REMOTE_PARTY_ID] = { BOTH, true, NULL },
	[SIP_H_RESOURCE_PRIORITY] = { REQUEST, true, NULL },
	[SIP_H_RETRY_AFTER] = { RESPONSE, false, carry_retry_after },
	[SIP_H_SESSION_ID] = { BOTH, false, NULL },             /* made to cross (RFC 7989) */
	[SIP_H_SUBJECT] = { REQUEST, false, NULL },
	[SIP_H_SUPPORTED] = { BOTH, false, carry_options },
	[SIP_H_REQUIRE] = { REQUEST, false, carry_options },
	[SIP_H_UNSUPPORTED] = { RESPONSE, false, NULL },
	[SIP_H_USER_TO_USER] = { BOTH, false, NULL },
};

/* Extensions that work end to end without the gateway's help. */
static const char *const options[] = { "histinfo", "resource-priority", "uui", NULL };

static bool is_listed(struct span token, const char *const *list)
{
	for (; *list != NULL; list++)
		if (span_ieq(token, span_of(*list)))
			return true;
	return false;
}

static bool is_allowed_method(struct span token)
{
	struct span list = SPAN_LIT(TOPOLOGY_ALLOW);

	while (list.ptr != NULL)
		if (span_eq(span_trim(span_cut(&list, ',')), token))
			return true;
	return false;
}

/* The header with those of its comma-separated tokens that `keep` wants; no line when none is left. */
static void carry_tokens(const struct sip_header *header, bool (*keep)(struct span token), struct buf *out)
{
	struct span list = header->value;
	const char *before = "";

	while (list.ptr != NULL) {
		struct span token = span_trim(span_cut(&list, ','));

		if (!keep(token))
			continue;
		if (*before == '\0') {
			buf_put(out, sip_header_name(header->id));
			buf_puts(out, ": ");
		}
		buf_puts(out, before);
		buf_put(out, token);
		before = ", ";
	}
	if (*before != '\0')
		buf_puts(out, "\r\n");
}

static bool is_known_option(struct span token)
{
	return is_listed(token, options);
}

static void carry_options(const struct sip_header *header, struct buf *out)
{
	carry_tokens(header, is_known_option, out);
}

static void carry_methods(const struct sip_header *header, struct buf *out)
{
	carry_tokens(header, is_allowed_method, out);
}

/* Protocol and cause cross, the free text does not: it likes to name hosts. Nor does what is not a protocol's name. */
static void carry_reason(const struct sip_header *header, struct buf *out)
{
	struct span list = header->value, element;

	while (sip_list_next(&list, &element)) {
		size_t end = span_find(element, ';');
		struct span protocol = span_trim(span_sub(element, 0, end)), cause;
		uint32_t number;

		if (protocol.len == 0 || sip_char_run(protocol, 0, CHAR_TOKEN) < protocol.len)
			continue;
		buf_puts(out, "Reason: ");
		buf_put(out, protocol);
		if (sip_param(span_sub(element, end + 1, element.len), "cause", &cause) &&
		    span_to_u32(cause, 999, &number) == 0) {
			buf_puts(out, ";cause=");
			buf_u64(out, number);
		}
		buf_puts(out, "\r\n");
	}
}

static void carry_retry_after(const struct sip_header *header, struct buf *out)
{
	size_t digits = 0;

	while (digits < header->value.len && header->value.ptr[digits] >= '0' && header->value.ptr[digits] <= '9')
		digits++;
	if (digits == 0 || digits > 6)
		return;
	buf_puts(out, "Retry-After: ");
	buf_put(out, span_sub(header->value, 0, digits));
	buf_puts(out, "\r\n");
}

/* An escaped NUL or other control octet in a quoted string is lawful, but ends the header for readers of C strings. */
static bool has_control(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (((unsigned char)text.ptr[i] < ' ' && text.ptr[i] != '\t') || text.ptr[i] == 127)
			return true;
	return false;
}

void topology_headers(const struct sip_msg *in, const struct realm_conf *from, const struct realm_conf *to, struct buf *out)
{
	uint8_t direction = in->is_request ? REQUEST : RESPONSE;
	bool is_trusted = from->trust == TRUST_TRUSTED && to->trust == TRUST_TRUSTED;

	for (unsigned i = 0; i < in->n_headers; i++) {
		const struct sip_header *header = &in->headers[i];
		const struct rule *rule = &rules[header->id];
		bool crosses = header->id == SIP_H_OTHER ? from->pass_unknown_headers :
			       (rule->direction & direction) && (!rule->is_trusted_only || is_trusted);

		if (!crosses || has_control(header->value))
			continue;
		if (rule->carry != NULL) {
			rule->carry(header, out);
			continue;
		}
		buf_put(out, header->name);
		buf_puts(out, ": ");
		buf_put(out, header->value);
		buf_puts(out, "\r\n");
	}
}

void topology_from(const struct sip_msg *invite, const struct addr *own, struct buf *out)
{
	char host[ADDR_TEXT_MAX];
	struct sip_uri uri;
	bool is_parsed = sip_uri_parse(invite->from.uri, &uri) == 0;

	if (!span_is_empty(invite->from.display) && !has_control(invite->from.display)) {
		buf_put(out, invite->from.display);
		buf_putc(out, ' ');
	}
	buf_puts(out, "<sip:");
	if (is_parsed && !span_is_empty(uri.user)) {
		buf_put(out, uri.user);
		buf_putc(out, '@');
	}
	/* RFC 3323 4.1.1.3: the anonymous host says nothing and must survive. */
	if (is_parsed && span_ieq(uri.host, SPAN_LIT("anonymous.invalid")))
		buf_put(out, uri.host);
	else
		buf_puts(out, addr_host_text(own, host));
	buf_putc(out, '>');
}

void topology_to(struct span user, const struct addr *target, struct buf *out)
{
	char host[ADDR_TEXT_MAX];

	buf_puts(out, "<sip:");
	if (!span_is_empty(user)) {
		buf_put(out, user);
		buf_putc(out, '@');
	}
	buf_puts(out, target->port == 5060 ? addr_host_text(target, host) : addr_text(target, host));
	buf_putc(out, '>');
}

/* As many as fit, and at least one when there is one: the peer learns of the rest when it tries again. */
void topology_unsupported(const struct sip_msg *request, struct buf *out)
{
	const char *before = "Unsupported: ";

	for (unsigned i = 0; i < request->n_headers; i++) {
		struct span list = request->headers[i].value;

		if (request->headers[i].id != SIP_H_REQUIRE && request->headers[i].id != SIP_H_PROXY_REQUIRE)
			continue;
		while (list.ptr != NULL) {
			struct span token = span_trim(span_cut(&list, ','));

			if (span_is_empty(token) || is_known_option(token))
				continue;
			token = span_sub(token, 0, OPTION_MAX);
			if (strlen(before) + token.len + strlen("\r\n") > out->cap - out->len)
				continue;
			buf_puts(out, before);
			buf_put(out, token);
			before = ", ";
		}
	}
	if (before[0] == ',')
		buf_puts(out, "\r\n");
}

int topology_status(int status)
{
	if (status < 400) /* redirection names hosts of the other side; the caller cannot follow it */
		return 480;
	if (status == 503) /* concerns the next hop, not the gateway as a whole (RFC 3261 21.5.4) */
		return 500;
	return status;
}
