/* Strict readers of URIs, name-addr values, parameters and comma lists. Every octet is checked against the grammar,
 * so what passed can be written into another message without further escaping. They decide routing and identity;
 * nothing is decoded or copied, and no input takes more than a few passes. RFC 3261 19.1, 20.10, 25.1; RFC 3966; RFC
 * 5118. */
#include "sbc/sip_uri.h"

#include "core/err.h"
#include "sbc/sip_char.h"

static struct span rest_of(struct span s, size_t from)
{
	return span_sub(s, from, s.len);
}

static int hex_value(char c)
{
	return sip_char_is(c, CHAR_DIGIT) ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* The octet that the escape at s.ptr[at] stands for, or -1. */
static int escaped_octet(struct span s, size_t at)
{
	if (s.len - at < 3 || !sip_char_is(s.ptr[at + 1], CHAR_HEX) || !sip_char_is(s.ptr[at + 2], CHAR_HEX))
		return -1;
	return hex_value(s.ptr[at + 1]) << 4 | hex_value(s.ptr[at + 2]);
}

/* Offset behind the octets of these classes and the well-formed escapes that begin at `at`. */
static size_t escaped_run(struct span s, size_t at, unsigned classes)
{
	for (;;) {
		at = sip_char_run(s, at, classes);
		if (at == s.len || s.ptr[at] != '%' || escaped_octet(s, at) < 0)
			return at;
		at += 3;
	}
}

static bool is_all(struct span s, unsigned classes)
{
	return escaped_run(s, 0, classes) == s.len;
}

/* name[=value] with neither part empty. */
static bool is_uri_param(struct span param)
{
	size_t end = escaped_run(param, 0, CHAR_PARAM);

	if (end == 0)
		return false;
	if (end == param.len)
		return true;
	return param.ptr[end] == '=' && end + 1 < param.len && is_all(rest_of(param, end + 1), CHAR_PARAM);
}

/* name=value; only the value may be empty. */
static bool is_uri_header(struct span header)
{
	size_t end = escaped_run(header, 0, CHAR_HEADER);

	return end > 0 && end < header.len && header.ptr[end] == '=' && is_all(rest_of(header, end + 1), CHAR_HEADER);
}

static bool each_is(struct span list, char separator, bool (*is_valid)(struct span item))
{
	while (list.ptr != NULL)
		if (!is_valid(span_cut(&list, separator)))
			return false;
	return true;
}

static bool is_label(struct span label)
{
	return label.len > 0 && label.len <= 63 && label.ptr[0] != '-' && label.ptr[label.len - 1] != '-';
}

/* What ends in a number must be an IPv4 address: "10.1" and "256.0.0.1" mean different hosts to different resolvers. */
static bool is_host_name(struct span host)
{
	struct span label = SPAN_NONE;

	if (host.len > 0 && host.ptr[host.len - 1] == '.')
		host.len--;
	if (host.len == 0 || host.len > 253)
		return false;
	while (host.ptr != NULL) {
		label = span_cut(&host, '.');
		if (!is_label(label))
			return false;
	}
	return !sip_char_is(label.ptr[0], CHAR_DIGIT);
}

static int take_literal_v6(struct span *rest, struct span *host, struct addr *addr)
{
	size_t end = span_find(*rest, ']');

	if (end == rest->len)
		return ERR_PARSE;
	*host = span_sub(*rest, 0, end + 1);
	*rest = rest_of(*rest, end + 1);
	return span_find(*host, ':') < host->len ? addr_parse_ip(*host, addr) : ERR_PARSE;
}

int sip_host_next(struct span *text, struct span *ret_host, struct addr *ret_addr)
{
	struct span rest = *text;
	struct addr addr = { 0 };
	struct span host;
	size_t end;

	if (rest.len > 0 && rest.ptr[0] == '[') {
		if (take_literal_v6(&rest, &host, &addr) < 0)
			return ERR_PARSE;
	} else {
		end = sip_char_run(rest, 0, CHAR_HOST);
		host = span_sub(rest, 0, end);
		rest = rest_of(rest, end);
		if (!is_host_name(host) && addr_parse_ip(host, &addr) < 0)
			return ERR_PARSE;
	}
	*text = rest;
	*ret_host = host;
	*ret_addr = addr;
	return 0;
}

int sip_port_parse(struct span text, uint16_t *ret)
{
	uint32_t port;

	if (text.len > 5 || span_to_u32(text, 65535, &port) < 0 || port == 0)
		return ERR_PARSE;
	*ret = (uint16_t)port;
	return 0;
}

static int take_port(struct span *rest, struct sip_uri *uri)
{
	size_t end;

	if (rest->len == 0 || rest->ptr[0] != ':')
		return 0;
	end = sip_char_run(*rest, 1, CHAR_DIGIT);
	if (sip_port_parse(span_sub(*rest, 1, end), &uri->port) < 0)
		return ERR_PARSE;
	uri->addr.port = addr_is_set(&uri->addr) ? uri->port : 0;
	*rest = rest_of(*rest, end);
	return 0;
}

static int parse_user(struct span userinfo, struct sip_uri *uri)
{
	size_t end = escaped_run(userinfo, 0, CHAR_USER);

	if (end == 0)
		return ERR_PARSE;
	uri->user = span_sub(userinfo, 0, end);
	if (end == userinfo.len)
		return 0;
	uri->password = rest_of(userinfo, end + 1);
	return userinfo.ptr[end] == ':' && is_all(uri->password, CHAR_PASSWORD) ? 0 : ERR_PARSE;
}

static int parse_sip(struct span rest, struct sip_uri *uri)
{
	size_t at = span_find(rest, '@');

	if (at < rest.len) {
		if (parse_user(span_sub(rest, 0, at), uri) < 0)
			return ERR_PARSE;
		rest = rest_of(rest, at + 1);
	}
	if (sip_host_next(&rest, &uri->host, &uri->addr) < 0 || take_port(&rest, uri) < 0)
		return ERR_PARSE;
	if (rest.len > 0 && rest.ptr[0] == ';') {
		size_t end = span_find(rest, '?');

		uri->params = span_sub(rest, 1, end);
		rest = rest_of(rest, end);
		if (!each_is(uri->params, ';', is_uri_param))
			return ERR_PARSE;
	}
	if (rest.len > 0 && rest.ptr[0] == '?') {
		uri->headers = rest_of(rest, 1);
		return each_is(uri->headers, '&', is_uri_header) ? 0 : ERR_PARSE;
	}
	return rest.len == 0 ? 0 : ERR_PARSE;
}

/* "+" and digits, or a local number; both with visual separators. A local number without phone-context passes:
 * emergency numbers arrive so. */
static bool is_phone_number(struct span number)
{
	bool is_global = number.len > 0 && number.ptr[0] == '+';
	unsigned digits = 0;

	for (size_t i = is_global; i < number.len; i++) {
		char c = number.ptr[i];

		if (sip_char_is(c, is_global ? CHAR_DIGIT : CHAR_HEX) || (!is_global && (c == '*' || c == '#')))
			digits++;
		else if (c != '-' && c != '.' && c != '(' && c != ')')
			return false;
	}
	return digits > 0;
}

static int parse_tel(struct span rest, struct sip_uri *uri)
{
	size_t end = span_find(rest, ';');

	uri->user = span_sub(rest, 0, end);
	if (!is_phone_number(uri->user))
		return ERR_PARSE;
	if (end == rest.len)
		return 0;
	uri->params = rest_of(rest, end + 1);
	return each_is(uri->params, ';', is_uri_param) ? 0 : ERR_PARSE;
}

/* Any other absolute URI: only that it can be carried is checked. */
static int check_opaque(struct span rest)
{
	size_t end = sip_char_run(rest, 0, CHAR_VALUE | CHAR_USER);

	return end > 0 && end == rest.len ? ERR_UNSUPPORTED : ERR_PARSE;
}

int sip_uri_parse(struct span text, struct sip_uri *ret)
{
	struct sip_uri uri = { .text = text };
	size_t colon = sip_char_run(text, 0, CHAR_SCHEME);
	struct span scheme = span_sub(text, 0, colon);
	struct span rest = rest_of(text, colon + 1);
	int err;

	if (colon == 0 || colon == text.len || text.ptr[colon] != ':' || !sip_char_is(text.ptr[0], CHAR_ALPHA))
		return ERR_PARSE;
	if (span_ieq(scheme, SPAN_LIT("sip"))) {
		uri.scheme = SIP_SCHEME_SIP;
		err = parse_sip(rest, &uri);
	} else if (span_ieq(scheme, SPAN_LIT("sips"))) {
		uri.scheme = SIP_SCHEME_SIPS;
		err = parse_sip(rest, &uri);
	} else if (span_ieq(scheme, SPAN_LIT("tel"))) {
		uri.scheme = SIP_SCHEME_TEL;
		err = parse_tel(rest, &uri);
	} else {
		err = check_opaque(rest);
	}
	if (err == 0)
		*ret = uri;
	return err;
}

bool sip_uri_user_is_safe(const struct sip_uri *uri)
{
	for (size_t i = 0; i < uri->user.len; i++) {
		int octet;

		if (uri->user.ptr[i] != '%')
			continue;
		octet = escaped_octet(uri->user, i);
		if (octet <= 0 || octet == '\r' || octet == '\n')
			return false;
	}
	return true;
}

/* "+" is reserved and so not the same as its escape, but the next reader may not be as exact. */
static bool is_needless_escape(int octet)
{
	return octet > 0 && octet < 128 && octet != '%' && (sip_char_is((char)octet, CHAR_TOKEN) || octet == '(' || octet == ')') &&
	       sip_char_is((char)octet, CHAR_USER);
}

static bool is_phone(const struct sip_uri *uri)
{
	struct span value;

	return uri->scheme == SIP_SCHEME_TEL || (sip_param(uri->params, "user", &value) && span_ieq(value, SPAN_LIT("phone")));
}

static void put_escape(struct span escape, struct buf *out)
{
	for (size_t i = 0; i < escape.len; i++)
		buf_putc(out, escape.ptr[i] >= 'a' && escape.ptr[i] <= 'f' ? (char)(escape.ptr[i] - 'a' + 'A') : escape.ptr[i]);
}

void sip_uri_put_user(const struct sip_uri *uri, struct buf *out)
{
	bool is_number = is_phone(uri);
	struct span user = uri->user;

	for (size_t i = 0; i < user.len; i++) {
		bool is_escape = user.ptr[i] == '%' && user.len - i >= 3;
		int octet = is_escape ? escaped_octet(user, i) : user.ptr[i];

		is_number = is_number && octet != ';'; /* its parameters follow */
		if (is_escape && !is_needless_escape(octet))
			put_escape(span_sub(user, i, i + 3), out);
		else if (!is_number || memchr("-.()", octet, 4) == NULL)
			buf_putc(out, (char)octet);
		i += is_escape ? 2 : 0;
	}
}

/* Offset behind the quoted string that begins at `at`, or 0 when it does not end. */
static size_t quoted_end(struct span s, size_t at)
{
	for (at++; at < s.len; at++) {
		if (s.ptr[at] == '"')
			return at + 1;
		if (s.ptr[at] == '\\')
			at++;
	}
	return 0;
}

/* Offset behind a parameter's value at `at`, or 0. */
static size_t value_end(struct span s, size_t at)
{
	size_t end;

	if (at < s.len && s.ptr[at] == '"')
		return quoted_end(s, at);
	end = sip_char_run(s, at, CHAR_VALUE);
	return end > at ? end : 0;
}

int sip_param_next(struct span *params, struct span *ret_name, struct span *ret_value)
{
	struct span s = *params;
	size_t at = sip_char_run(s, 0, CHAR_LWS);
	size_t end = sip_char_run(s, at, CHAR_TOKEN | CHAR_PARAM);
	struct span name = span_sub(s, at, end);
	struct span value = SPAN_NONE;

	if (name.len == 0)
		return ERR_PARSE;
	at = sip_char_run(s, end, CHAR_LWS);
	if (at < s.len && s.ptr[at] == '=') {
		at = sip_char_run(s, at + 1, CHAR_LWS);
		end = value_end(s, at);
		if (end == 0)
			return ERR_PARSE;
		value = span_sub(s, at, end);
		at = sip_char_run(s, end, CHAR_LWS);
	}
	if (at < s.len && s.ptr[at] != ';')
		return ERR_PARSE;
	*params = at < s.len ? rest_of(s, at + 1) : SPAN_NONE;
	*ret_name = name;
	*ret_value = value;
	return 0;
}

bool sip_param(struct span params, const char *name, struct span *ret_value)
{
	struct span wanted = span_of(name);
	struct span found, value;

	while (params.len > 0 && sip_param_next(&params, &found, &value) == 0) {
		if (span_ieq(found, wanted)) {
			*ret_value = value;
			return true;
		}
	}
	return false;
}

/* Checks all parameters behind the URI; the tag must be there at most once and hold something. */
static int parse_params(struct sip_name_addr *addr)
{
	struct span params = addr->params;
	struct span name, value;

	while (params.ptr != NULL) {
		if (sip_param_next(&params, &name, &value) < 0)
			return ERR_PARSE;
		if (!span_ieq(name, SPAN_LIT("tag")))
			continue;
		if (addr->tag.ptr != NULL || value.len == 0 || value.ptr[0] == '"')
			return ERR_PARSE;
		addr->tag = value;
	}
	return 0;
}

/* Offset of the '<' of a name-addr; s.len for a bare addr-spec; or more when a display name does not end properly. */
static size_t find_bracket(struct span s)
{
	size_t at;

	if (s.ptr[0] != '"') {
		at = sip_char_run(s, 0, CHAR_TOKEN | CHAR_LWS);
		return at < s.len && s.ptr[at] == '<' ? at : s.len;
	}
	at = quoted_end(s, 0);
	if (at == 0)
		return s.len + 1;
	at = sip_char_run(s, at, CHAR_LWS);
	return at < s.len && s.ptr[at] == '<' ? at : s.len + 1;
}

int sip_name_addr_parse(struct span text, struct sip_name_addr *ret)
{
	struct sip_name_addr addr = { .text = span_trim(text) };
	struct span s = addr.text;
	size_t bracket, end;

	if (s.len == 0)
		return ERR_PARSE;
	bracket = find_bracket(s);
	if (bracket < s.len) {
		addr.display = span_trim(span_sub(s, 0, bracket));
		end = sip_char_run(s, bracket + 1, CHAR_VALUE | CHAR_USER);
		if (end == s.len || s.ptr[end] != '>')
			return ERR_PARSE;
		addr.uri = span_sub(s, bracket + 1, end);
		end++;
	} else {
		if (bracket > s.len)
			return ERR_PARSE;
		end = sip_char_run(s, 0, CHAR_VALUE);
		addr.uri = span_sub(s, 0, end);
		/* RFC 3261 20.10: what holds ? or , must stand in brackets. A comma is no CHAR_VALUE. */
		if (span_find(addr.uri, '?') < addr.uri.len)
			return ERR_PARSE;
	}
	if (addr.uri.len == 0)
		return ERR_PARSE;
	end = sip_char_run(s, end, CHAR_LWS);
	if (end < s.len && s.ptr[end] != ';')
		return ERR_PARSE;
	if (end < s.len)
		addr.params = span_trim(rest_of(s, end + 1));
	if (parse_params(&addr) < 0)
		return ERR_PARSE;
	*ret = addr;
	return 0;
}

bool sip_list_next(struct span *list, struct span *ret_element)
{
	bool in_brackets = false;
	struct span s = *list;
	size_t at;

	if (s.ptr == NULL)
		return false;
	for (at = 0; at < s.len && (s.ptr[at] != ',' || in_brackets); at++) {
		if (s.ptr[at] == '<' || s.ptr[at] == '>')
			in_brackets = s.ptr[at] == '<';
		if (s.ptr[at] != '"' || in_brackets)
			continue;
		at = quoted_end(s, at);
		if (at == 0) { /* an open quote takes the rest */
			at = s.len;
			break;
		}
		at--;
	}
	*ret_element = span_trim(span_sub(s, 0, at));
	*list = at < s.len ? rest_of(s, at + 1) : SPAN_NONE;
	return true;
}
