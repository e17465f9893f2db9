/* The scan of one datagram: framing, start line, header lines, counts, the headers that every message needs, the
 * body's length. Each octet of the header section is looked at once, through a table. After a fault the scan goes on
 * where that is safe, only to find what a refusal is built from; the first fault counts. It does not read URIs,
 * addresses or parameters: that is for sip_msg.c. Pure; any thread. RFC 3261 7, 8.2.2, 18.3, 20, 25; RFC 4475. */
#include "sbc/guard.h"

#include "sbc/sip_char.h"

enum fault {
	NO_FAULT, NOT_SIP, TOO_SHORT, BAD_LINE_END, BAD_CONTROL, UNCLOSED, TOO_LARGE, LINE_LONG, URI_LONG, BAD_START,
	BAD_METHOD, BAD_URI_OCTET, BAD_VERSION, OTHER_VERSION, BAD_STATUS, BAD_NAME, BAD_FOLD, MANY_HEADERS, MANY_VALUES,
	MANY_COMMAS, MANY_PARAMS, BAD_QUOTES, DUPLICATE, NO_VIA, NO_FROM, NO_TO, NO_CALL_ID, NO_CSEQ, BAD_CALL_ID,
	BAD_CSEQ, CSEQ_METHOD, UNKNOWN_METHOD, BAD_MAX_FORWARDS, BAD_LENGTH, LENGTH_OVER, BODY_LARGE, NO_CONTENT_TYPE,
};

static const struct guard_fault faults[] = {
	[NOT_SIP] = { 400, "Not SIP", "not-sip" },
	[TOO_SHORT] = { 400, "Too Short", "too-short" },
	[BAD_LINE_END] = { 400, "Bad Line End", "line-end" },
	[BAD_CONTROL] = { 400, "Control Octet", "control-octet" },
	[UNCLOSED] = { 400, "Headers Not Closed", "headers-open" },
	[TOO_LARGE] = { 513, "Message Too Large", "message-size" },
	[LINE_LONG] = { 513, "Header Too Long", "header-size" },
	[URI_LONG] = { 414, "Request-URI Too Long", "uri-size" },
	[BAD_START] = { 400, "Bad Start Line", "start-line" },
	[BAD_METHOD] = { 400, "Bad Method", "method" },
	[BAD_URI_OCTET] = { 400, "Bad Request-URI", "uri" },
	[BAD_VERSION] = { 400, "Bad Version", "version" },
	[OTHER_VERSION] = { 505, "Version Not Supported", "version-other" },
	[BAD_STATUS] = { 400, "Bad Status", "status" },
	[BAD_NAME] = { 400, "Bad Header Name", "header-name" },
	[BAD_FOLD] = { 400, "Bad Folding", "folding" },
	[MANY_HEADERS] = { 513, "Too Many Headers", "header-count" },
	[MANY_VALUES] = { 400, "Too Many Values", "value-count" },
	[MANY_COMMAS] = { 400, "Too Many Commas", "comma-count" },
	[MANY_PARAMS] = { 400, "Too Many Parameters", "parameter-count" },
	[BAD_QUOTES] = { 400, "Open Quotes", "quotes" },
	[DUPLICATE] = { 400, "Duplicate Header", "duplicate" },
	[NO_VIA] = { 400, "Missing Via", "no-via" },
	[NO_FROM] = { 400, "Missing From", "no-from" },
	[NO_TO] = { 400, "Missing To", "no-to" },
	[NO_CALL_ID] = { 400, "Missing Call-ID", "no-call-id" },
	[NO_CSEQ] = { 400, "Missing CSeq", "no-cseq" },
	[BAD_CALL_ID] = { 400, "Bad Call-ID", "call-id" },
	[BAD_CSEQ] = { 400, "Bad CSeq", "cseq" },
	[CSEQ_METHOD] = { 400, "CSeq Method Differs", "cseq-method" },
	[UNKNOWN_METHOD] = { 501, "Not Implemented", "method-unknown" },
	[BAD_MAX_FORWARDS] = { 400, "Bad Max-Forwards", "max-forwards" },
	[BAD_LENGTH] = { 400, "Bad Content-Length", "content-length" },
	[LENGTH_OVER] = { 400, "Body Too Short", "body-short" },
	[BODY_LARGE] = { 413, "Request Entity Too Large", "body-size" },
	[NO_CONTENT_TYPE] = { 400, "Missing Content-Type", "no-content-type" },
};

enum { /* what header_rules says about a value */
	SINGLE = 1 << 0,     /* one header line at most */
	STRUCTURED = 1 << 1, /* quoted strings, which must end */
	FREE_TEXT = 1 << 2,  /* commas, semicolons and quotes mean nothing */
};

struct header_rule {
	uint8_t flags;
	uint8_t values_max; /* over all lines and commas; 0: no limit of its own */
};

/* What is not listed, and any header without a name of its own, may repeat and may hold an open quote. */
static const struct header_rule header_rules[SIP_HEADERS] = {
	[SIP_H_ACCEPT] = { STRUCTURED, 0 },
	[SIP_H_ALERT_INFO] = { STRUCTURED, 0 },
	[SIP_H_AUTHENTICATION_INFO] = { STRUCTURED | SINGLE, 0 },
	[SIP_H_AUTHORIZATION] = { STRUCTURED, 0 },
	[SIP_H_CALL_ID] = { FREE_TEXT | SINGLE, 0 },
	[SIP_H_CALL_INFO] = { STRUCTURED, 0 },
	[SIP_H_CONTACT] = { STRUCTURED, GUARD_CONTACTS_MAX },
	[SIP_H_CONTENT_DISPOSITION] = { STRUCTURED | SINGLE, 0 },
	[SIP_H_CONTENT_LENGTH] = { SINGLE, 0 },
	[SIP_H_CONTENT_TYPE] = { STRUCTURED | SINGLE, 0 },
	[SIP_H_CSEQ] = { SINGLE, 0 },
	[SIP_H_DATE] = { FREE_TEXT | SINGLE, 0 },
	[SIP_H_DIVERSION] = { STRUCTURED, 0 },
	[SIP_H_EVENT] = { STRUCTURED | SINGLE, 0 },
	[SIP_H_EXPIRES] = { SINGLE, 0 },
	[SIP_H_FROM] = { STRUCTURED | SINGLE, 0 },
	[SIP_H_HISTORY_INFO] = { STRUCTURED, 0 },
	[SIP_H_IDENTITY] = { STRUCTURED, 0 },
	[SIP_H_MAX_BREADTH] = { SINGLE, 0 },
	[SIP_H_MAX_FORWARDS] = { SINGLE, 0 },
	[SIP_H_MIME_VERSION] = { SINGLE, 0 },
	[SIP_H_MIN_EXPIRES] = { SINGLE, 0 },
	[SIP_H_MIN_SE] = { SINGLE, 0 },
	[SIP_H_ORGANIZATION] = { FREE_TEXT, 0 },
	[SIP_H_P_ASSERTED_IDENTITY] = { STRUCTURED, 0 },
	[SIP_H_P_PREFERRED_IDENTITY] = { STRUCTURED, 0 },
	[SIP_H_PATH] = { STRUCTURED, GUARD_ROUTES_MAX },
	[SIP_H_PROXY_AUTHENTICATE] = { STRUCTURED, 0 },
	[SIP_H_PROXY_AUTHORIZATION] = { STRUCTURED, 0 },
	[SIP_H_RACK] = { SINGLE, 0 },
	[SIP_H_REASON] = { STRUCTURED, 0 },
	[SIP_H_RECORD_ROUTE] = { STRUCTURED, GUARD_ROUTES_MAX },
	[SIP_H_REFER_TO] = { STRUCTURED | SINGLE, 0 },
	[SIP_H_REFERRED_BY] = { STRUCTURED | SINGLE, 0 },
	[SIP_H_REMOTE_PARTY_ID] = { STRUCTURED, 0 },
	[SIP_H_REPLACES] = { STRUCTURED | SINGLE, 0 },
	[SIP_H_REPLY_TO] = { STRUCTURED | SINGLE, 0 },
	[SIP_H_RETRY_AFTER] = { FREE_TEXT | SINGLE, 0 },
	[SIP_H_ROUTE] = { STRUCTURED, GUARD_ROUTES_MAX },
	[SIP_H_RSEQ] = { SINGLE, 0 },
	[SIP_H_SERVER] = { FREE_TEXT, 0 },
	[SIP_H_SERVICE_ROUTE] = { STRUCTURED, GUARD_ROUTES_MAX },
	[SIP_H_SESSION_EXPIRES] = { STRUCTURED | SINGLE, 0 },
	[SIP_H_SUBJECT] = { FREE_TEXT | SINGLE, 0 },
	[SIP_H_SUBSCRIPTION_STATE] = { STRUCTURED | SINGLE, 0 },
	[SIP_H_TIMESTAMP] = { SINGLE, 0 },
	[SIP_H_TO] = { STRUCTURED | SINGLE, 0 },
	[SIP_H_USER_AGENT] = { FREE_TEXT, 0 },
	[SIP_H_VIA] = { STRUCTURED, GUARD_VIA_MAX },
	[SIP_H_WWW_AUTHENTICATE] = { STRUCTURED, 0 },
};

enum octet { PLAIN, CONTROL, RETURN, COMMA, SEMICOLON, QUOTE, BACKSLASH };

/* NUL to US, and DEL. HT is plain. */
static const uint8_t octets[256] = {
	[0 ... 8] = CONTROL, [10 ... 12] = CONTROL, ['\r'] = RETURN, [14 ... 31] = CONTROL, [127] = CONTROL,
	[','] = COMMA, [';'] = SEMICOLON, ['"'] = QUOTE, ['\\'] = BACKSLASH,
};

struct scan {
	const char *at;
	const char *end;
	struct guard_message *msg;
	enum fault fault;       /* the first one */
	bool is_stopped;        /* the line structure cannot be trusted any further */
	unsigned n_folds;
	struct span max_forwards, content_length, content_type;
	uint8_t n_lines[SIP_HEADERS], n_values[SIP_HEADERS]; /* at most GUARD_HEADERS_MAX + 1, and UINT8_MAX */
};

struct value_counts {
	unsigned commas;
	unsigned params;     /* of the current list element */
	unsigned params_max; /* of any */
	bool in_quotes;
};

static void fail(struct scan *scan, enum fault fault)
{
	if (scan->fault == NO_FAULT)
		scan->fault = fault;
}

static void stop(struct scan *scan, enum fault fault)
{
	fail(scan, fault);
	scan->is_stopped = true;
}

static struct span between(const char *from, const char *to)
{
	return (struct span){ from, (size_t)(to - from) };
}

static bool is_lws(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_crlf(const struct scan *scan, const char *at)
{
	return scan->end - at >= 2 && at[0] == '\r' && at[1] == '\n';
}

/* At a CRLF: steps over it when the value goes on in the next line. */
static bool take_fold(struct scan *scan)
{
	const char *next = scan->at + 2;

	if (next == scan->end || !is_lws(*next))
		return false;
	while (next < scan->end && is_lws(*next))
		next++;
	/* A line of nothing but white space looks like the end of the header section to some, and not to others. */
	if (next == scan->end || *next == '\r')
		fail(scan, BAD_FOLD);
	if (++scan->n_folds > GUARD_FOLDS_MAX)
		fail(scan, BAD_FOLD);
	scan->at = next;
	return true;
}

static void count_octet(struct value_counts *counts, enum octet octet)
{
	if (octet == QUOTE)
		counts->in_quotes = !counts->in_quotes;
	if (counts->in_quotes)
		return;
	if (octet == COMMA) {
		counts->commas++;
		counts->params = 0;
	} else if (octet == SEMICOLON) {
		counts->params++;
		if (counts->params > counts->params_max)
			counts->params_max = counts->params;
	}
}

/* Most octets mean nothing here, so they are taken four at a time. */
static const char *skip_plain(const char *at, const char *end)
{
	while (end - at >= 4 && (octets[(unsigned char)at[0]] | octets[(unsigned char)at[1]] |
				 octets[(unsigned char)at[2]] | octets[(unsigned char)at[3]]) == PLAIN)
		at += 4;
	while (at < end && octets[(unsigned char)*at] == PLAIN)
		at++;
	return at;
}

/* From scan->at to the CRLF that ends the value; scan->at is behind it afterwards. The value is not yet trimmed. */
static struct span take_value(struct scan *scan, unsigned flags, struct value_counts *counts)
{
	const char *begin = scan->at;
	const char *end = scan->end;
	const char *at = begin;

	while ((at = skip_plain(at, end)) < end) {
		enum octet octet = octets[(unsigned char)*at];

		if (octet == RETURN) {
			scan->at = at;
			if (!is_crlf(scan, at))
				break;
			if (take_fold(scan)) {
				at = scan->at;
				continue;
			}
			scan->at = at + 2;
			return between(begin, at);
		} else if (octet == CONTROL) {
			stop(scan, *at == '\n' ? BAD_LINE_END : BAD_CONTROL);
			return SPAN_NONE;
		} else if (octet == BACKSLASH && counts->in_quotes && (flags & STRUCTURED) && at + 1 < end &&
			   at[1] != '\r' && at[1] != '\n') {
			at += 2; /* any other octet may follow, even NUL (RFC 3261 25.1 quoted-pair) */
		} else {
			if (!(flags & FREE_TEXT))
				count_octet(counts, octet);
			at++;
		}
	}
	stop(scan, at < end ? BAD_LINE_END : UNCLOSED);
	return SPAN_NONE;
}

static void check_method(struct scan *scan, struct span method)
{
	struct guard_message *msg = scan->msg;

	if (method.len == 0 || sip_char_run(method, 0, CHAR_TOKEN) < method.len) {
		fail(scan, BAD_METHOD);
	} else if (method.len > GUARD_METHOD_MAX) { /* RFC 4475 3.1.1.2 has one */
		fail(scan, UNKNOWN_METHOD);
	} else {
		msg->method_name = method;
		msg->method = sip_method_of(method);
	}
}

/* "SIP/" digits "." digits, which is more than we speak but still SIP. */
static bool is_other_version(struct span version)
{
	size_t dot = sip_char_run(version, 4, CHAR_DIGIT);
	size_t end;

	if (version.len < 7 || !span_istarts(version, SPAN_LIT("SIP/")) || dot == 4 || dot == version.len ||
	    version.ptr[dot] != '.')
		return false;
	end = sip_char_run(version, dot + 1, CHAR_DIGIT);
	return end > dot + 1 && end == version.len;
}

static void check_version(struct scan *scan, struct span version)
{
	if (!span_ieq(version, SPAN_LIT("SIP/2.0")))
		fail(scan, is_other_version(version) ? OTHER_VERSION : BAD_VERSION);
}

static bool names_sip(struct span line)
{
	while (line.len >= 5) {
		if (span_istarts(line, SPAN_LIT(" SIP/")))
			return true;
		line = span_sub(line, 1, line.len);
	}
	return false;
}

static void scan_request_line(struct scan *scan, struct span line)
{
	struct span rest = line;
	struct span method = span_cut(&rest, ' ');
	struct span uri = rest.ptr ? span_cut(&rest, ' ') : SPAN_NONE;

	if (rest.ptr == NULL || (!span_istarts(rest, SPAN_LIT("SIP/")) && !names_sip(line))) {
		stop(scan, NOT_SIP);
		return;
	}
	check_method(scan, method);
	if (uri.len == 0 || span_find(rest, ' ') < rest.len)
		fail(scan, BAD_START);
	else if (uri.len > GUARD_URI_MAX)
		fail(scan, URI_LONG);
	else if (sip_char_run(uri, 0, CHAR_VISIBLE) < uri.len)
		fail(scan, BAD_URI_OCTET);
	check_version(scan, rest);
	scan->msg->request_uri = uri;
}

/* "SIP/2.0" SP three digits SP reason */
static void scan_status_line(struct scan *scan, struct span line)
{
	struct span rest = line;
	struct span version = span_cut(&rest, ' ');
	struct span code = rest.ptr ? span_cut(&rest, ' ') : SPAN_NONE;
	uint32_t status;

	check_version(scan, version);
	if (rest.ptr == NULL || code.len != 3 || span_to_u32(code, 699, &status) < 0 || status < 100) {
		fail(scan, BAD_STATUS);
		return;
	}
	scan->msg->status = (int)status;
	scan->msg->reason_phrase = rest;
}

static void scan_start_line(struct scan *scan)
{
	struct value_counts counts = { 0 };
	const char *begin = scan->at;
	struct span line = take_value(scan, FREE_TEXT, &counts);
	bool is_response = span_istarts(between(begin, scan->end), SPAN_LIT("SIP/"));

	scan->msg->is_request = !is_response;
	if (scan->is_stopped) {
		if (!names_sip(between(begin, scan->end - begin > 512 ? begin + 512 : scan->end)))
			scan->fault = scan->fault == TOO_LARGE ? TOO_LARGE : NOT_SIP;
		return;
	}
	if (line.len > GUARD_LINE_MAX)
		fail(scan, is_response ? LINE_LONG : URI_LONG);
	if (scan->n_folds > 0)
		stop(scan, BAD_START);
	else if (is_response)
		scan_status_line(scan, line);
	else
		scan_request_line(scan, line);
}

static void keep_first(struct span *slot, struct span value)
{
	if (slot->ptr == NULL)
		*slot = value;
}

static void keep_value(struct scan *scan, enum sip_header_id id, struct span value)
{
	struct guard_message *msg = scan->msg;

	switch (id) {
	case SIP_H_VIA: keep_first(&msg->via, value); break;
	case SIP_H_FROM: keep_first(&msg->from, value); break;
	case SIP_H_TO: keep_first(&msg->to, value); break;
	case SIP_H_CALL_ID: keep_first(&msg->call_id, value); break;
	case SIP_H_CSEQ: keep_first(&msg->cseq, value); break;
	case SIP_H_MAX_FORWARDS: keep_first(&scan->max_forwards, value); break;
	case SIP_H_CONTENT_LENGTH: keep_first(&scan->content_length, value); break;
	case SIP_H_CONTENT_TYPE: keep_first(&scan->content_type, value); break;
	default: break;
	}
}

static void check_counts(struct scan *scan, enum sip_header_id id, const struct value_counts *counts)
{
	const struct header_rule *rule = &header_rules[id];
	unsigned values = scan->n_values[id] + counts->commas + 1;

	if (counts->commas > GUARD_COMMAS_MAX)
		fail(scan, MANY_COMMAS);
	if (counts->params_max > GUARD_PARAMS_MAX)
		fail(scan, MANY_PARAMS);
	if (counts->in_quotes && (rule->flags & STRUCTURED))
		fail(scan, BAD_QUOTES);
	if (scan->n_lines[id]++ > 0 && (rule->flags & SINGLE))
		fail(scan, DUPLICATE);
	if (rule->values_max > 0 && values > rule->values_max)
		fail(scan, MANY_VALUES);
	scan->n_values[id] = values < UINT8_MAX ? (uint8_t)values : UINT8_MAX;
}

static void scan_header(struct scan *scan)
{
	struct guard_message *msg = scan->msg;
	struct span rest = between(scan->at, scan->end);
	size_t name_len = sip_char_run(rest, 0, CHAR_TOKEN);
	size_t colon = sip_char_run(rest, name_len, CHAR_LWS);
	struct value_counts counts = { 0 };
	enum sip_header_id id = SIP_H_OTHER;
	struct span value;

	if (name_len == 0 || colon == rest.len || rest.ptr[colon] != ':') {
		fail(scan, BAD_NAME);
		take_value(scan, FREE_TEXT, &counts);
		return;
	}
	id = sip_header_of(span_sub(rest, 0, name_len));
	scan->at += colon + 1;
	value = take_value(scan, header_rules[id].flags, &counts);
	if (scan->is_stopped)
		return;
	value = span_trim(value);
	if (scan->at - rest.ptr > GUARD_LINE_MAX + 2)
		fail(scan, LINE_LONG);
	if (msg->n_headers == GUARD_HEADERS_MAX) {
		fail(scan, MANY_HEADERS);
		return;
	}
	check_counts(scan, id, &counts);
	msg->headers[msg->n_headers++] = (struct guard_header){ id, span_sub(rest, 0, name_len), value };
	keep_value(scan, id, value);
}

/* Up to and with the blank line. */
static void scan_headers(struct scan *scan)
{
	while (!scan->is_stopped) {
		if (is_crlf(scan, scan->at)) {
			scan->at += 2;
			return;
		}
		if (scan->at == scan->end)
			stop(scan, UNCLOSED);
		else
			scan_header(scan);
	}
}

static void check_presence(struct scan *scan)
{
	const struct guard_message *msg = scan->msg;

	if (msg->via.len == 0)
		fail(scan, NO_VIA);
	if (msg->from.len == 0)
		fail(scan, NO_FROM);
	if (msg->to.len == 0)
		fail(scan, NO_TO);
	if (msg->call_id.len == 0)
		fail(scan, NO_CALL_ID);
	if (msg->cseq.len == 0)
		fail(scan, NO_CSEQ);
}

static bool is_number(struct span text)
{
	return text.len > 0 && sip_char_run(text, 0, CHAR_DIGIT) == text.len;
}

/* Digits, LWS (also folded), method. */
static void check_cseq(struct scan *scan)
{
	struct guard_message *msg = scan->msg;
	size_t end = sip_char_run(msg->cseq, 0, CHAR_DIGIT);
	struct span tail = span_sub(msg->cseq, end, msg->cseq.len);
	struct span method = span_trim(tail);

	if (method.len == tail.len || method.len > GUARD_METHOD_MAX || sip_char_run(method, 0, CHAR_TOKEN) < method.len ||
	    method.len == 0 || span_to_u32(span_sub(msg->cseq, 0, end), INT32_MAX, &msg->cseq_number) < 0) {
		fail(scan, BAD_CSEQ);
	} else if (!msg->is_request) {
		msg->method_name = method;
		msg->method = sip_method_of(method);
	} else if (!span_eq(method, msg->method_name)) {
		fail(scan, msg->method == SIP_UNKNOWN ? UNKNOWN_METHOD : CSEQ_METHOD);
	}
}

static void check_scalars(struct scan *scan)
{
	struct guard_message *msg = scan->msg;
	uint32_t hops;

	if (msg->call_id.len > GUARD_CALL_ID_MAX || sip_char_run(msg->call_id, 0, CHAR_VISIBLE) < msg->call_id.len)
		fail(scan, BAD_CALL_ID);
	check_cseq(scan);
	if (scan->n_lines[SIP_H_MAX_FORWARDS] == 0)
		return;
	if (!is_number(scan->max_forwards)) {
		fail(scan, BAD_MAX_FORWARDS);
		return;
	}
	/* RFC 3261 20.22 knows 0 to 255; what is above comes from careless senders and counts as the usual start value. */
	msg->max_forwards = span_to_u32(scan->max_forwards, 255, &hops) == 0 ? (int)hops : 70;
}

/* Sets the body and cuts off what follows it. */
static void check_body(struct scan *scan)
{
	struct guard_message *msg = scan->msg;
	struct span rest = between(scan->at, scan->end);
	uint32_t length = (uint32_t)rest.len;

	if (scan->n_lines[SIP_H_CONTENT_LENGTH] > 0) {
		if (scan->content_length.len > 7 || span_to_u32(scan->content_length, UINT32_MAX, &length) < 0) {
			fail(scan, BAD_LENGTH);
			return;
		}
		if (length > rest.len) {
			fail(scan, LENGTH_OVER);
			return;
		}
	}
	if (length > GUARD_BODY_MAX)
		fail(scan, BODY_LARGE);
	if (length > 0 && scan->content_type.len == 0)
		fail(scan, NO_CONTENT_TYPE);
	msg->body = span_sub(rest, 0, length);
	msg->raw.len = (size_t)(scan->at - msg->raw.ptr) + length;
}

/* Keep-alives: nothing, four NULs (seen in the field), or line ends alone (RFC 5626 3.5.1). */
static bool is_keep_alive(struct span datagram)
{
	for (size_t i = 0; i < datagram.len; i++)
		if (datagram.ptr[i] != '\r' && datagram.ptr[i] != '\n')
			return datagram.len == 4 && memcmp(datagram.ptr, "\0\0\0\0", 4) == 0;
	return true;
}

static void init_message(struct guard_message *msg, struct span raw)
{
	/* Not the whole structure: clearing the header index would cost as much as filling it. */
	msg->raw = raw;
	msg->is_request = false;
	msg->method = SIP_UNKNOWN;
	msg->method_name = msg->request_uri = msg->reason_phrase = SPAN_NONE;
	msg->status = 0;
	msg->n_headers = 0;
	msg->via = msg->from = msg->to = msg->call_id = msg->cseq = msg->body = SPAN_NONE;
	msg->cseq_number = 0;
	msg->max_forwards = -1;
}

static void scan_message(struct scan *scan)
{
	scan_start_line(scan);
	scan_headers(scan);
	if (scan->is_stopped)
		return;
	check_presence(scan);
	check_scalars(scan);
	check_body(scan);
}

enum guard_verdict guard_scan(struct span datagram, struct guard_message *msg, struct guard_fault *fault)
{
	struct scan scan = { .msg = msg };

	init_message(msg, datagram);
	if (is_keep_alive(datagram))
		return GUARD_IGNORE;
	while (datagram.len >= 2 && datagram.ptr[0] == '\r' && datagram.ptr[1] == '\n') /* RFC 3261 7.5 */
		datagram = span_sub(datagram, 2, datagram.len);
	msg->raw = datagram;
	if (datagram.len < 16) {
		fail(&scan, TOO_SHORT);
	} else {
		if (datagram.len > GUARD_MESSAGE_MAX)
			fail(&scan, TOO_LARGE);
		scan.at = datagram.ptr;
		scan.end = datagram.ptr + (datagram.len < GUARD_MESSAGE_MAX ? datagram.len : GUARD_MESSAGE_MAX);
		scan_message(&scan);
	}
	if (scan.fault == NO_FAULT)
		return GUARD_OK;
	*fault = faults[scan.fault];
	if (!msg->is_request || msg->method == SIP_ACK || scan.fault == NOT_SIP || scan.fault == TOO_SHORT)
		return GUARD_DROP;
	return GUARD_REPLY;
}
