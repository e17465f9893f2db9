/* Strict reader of one Via element. RFC 3261 18.2, 20.42, 25.1; RFC 3581; RFC 5118 4.5. */
#include "core/err.h"
#include "sbc/sip_char.h"
#include "sbc/sip_msg.h"

static const struct span magic_cookie = SPAN_LIT("z9hG4bK");

static void skip_lws(struct span *s)
{
	*s = span_sub(*s, sip_char_run(*s, 0, CHAR_LWS), s->len);
}

/* The word and the white space behind it. */
static int take_word(struct span *rest, struct span word)
{
	if (!span_istarts(*rest, word))
		return ERR_PARSE;
	*rest = span_sub(*rest, word.len, rest->len);
	skip_lws(rest);
	return 0;
}

/* "SIP" / "2.0" / transport, each slash with white space around it if it likes, then white space */
static int take_protocol(struct span *rest, struct sip_via *via)
{
	const char *behind;

	if (take_word(rest, SPAN_LIT("SIP")) < 0 || take_word(rest, SPAN_LIT("/")) < 0 ||
	    take_word(rest, SPAN_LIT("2.0")) < 0 || take_word(rest, SPAN_LIT("/")) < 0)
		return ERR_PARSE;
	via->transport = span_sub(*rest, 0, sip_char_run(*rest, 0, CHAR_TOKEN));
	*rest = span_sub(*rest, via->transport.len, rest->len);
	behind = rest->ptr;
	skip_lws(rest);
	return via->transport.len > 0 && rest->ptr > behind ? 0 : ERR_PARSE;
}

static int take_sent_by(struct span *rest, struct sip_via *via)
{
	const char *begin = rest->ptr;
	const char *end;
	struct addr addr;
	size_t digits;

	if (sip_host_next(rest, &via->host, &addr) < 0)
		return ERR_PARSE;
	end = rest->ptr;
	skip_lws(rest);
	if (rest->len > 0 && rest->ptr[0] == ':') {
		take_word(rest, SPAN_LIT(":"));
		digits = sip_char_run(*rest, 0, CHAR_DIGIT);
		if (sip_port_parse(span_sub(*rest, 0, digits), &via->port) < 0)
			return ERR_PARSE;
		*rest = span_sub(*rest, digits, rest->len);
		end = rest->ptr;
		skip_lws(rest);
	}
	via->sent_by = (struct span){ begin, (size_t)(end - begin) };
	return 0;
}

static int take_branch(struct span value, struct sip_via *via)
{
	if (via->branch.ptr != NULL || value.len == 0 || value.len > GUARD_BRANCH_MAX || value.ptr[0] == '"')
		return ERR_PARSE;
	via->branch = value;
	via->has_magic_cookie = span_istarts(value, magic_cookie);
	return via->has_magic_cookie && value.len == magic_cookie.len ? ERR_PARSE : 0;
}

int sip_via_parse(struct span element, struct sip_via *ret)
{
	struct span rest = span_trim(element);
	struct span name, value;
	struct sip_via via = { 0 };

	if (take_protocol(&rest, &via) < 0 || take_sent_by(&rest, &via) < 0)
		return ERR_PARSE;
	if (rest.len > 0 && rest.ptr[0] != ';')
		return ERR_PARSE;
	rest = rest.len > 0 ? span_sub(rest, 1, rest.len) : SPAN_NONE;
	while (rest.ptr != NULL) {
		if (sip_param_next(&rest, &name, &value) < 0)
			return ERR_PARSE;
		if (span_ieq(name, SPAN_LIT("branch")) && take_branch(value, &via) < 0)
			return ERR_PARSE;
		via.has_rport |= span_ieq(name, SPAN_LIT("rport"));
	}
	*ret = via;
	return 0;
}
