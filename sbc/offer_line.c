/* Lines of session descriptions and what stands in them; see offer_line.h. RFC 8866, 8839 (ICE), 4570 (source-filter), 6947 (altc). */
#include "sbc/offer_line.h"

#include "core/err.h"

bool offer_next_line(struct span *rest, struct offer_line *ret)
{
	struct span content;
	size_t len;

	if (rest->len == 0)
		return false;
	len = span_find(*rest, '\n');
	ret->whole = span_sub(*rest, 0, len + 1);
	content = span_sub(*rest, 0, len);
	if (ret->whole.len > len && len > 0 && content.ptr[len - 1] == '\r')
		content.len--;
	ret->end = span_sub(ret->whole, content.len, ret->whole.len);
	ret->type = content.len > 0 ? content.ptr[0] : '\0';
	ret->value = span_sub(content, 2, content.len);
	*rest = span_sub(*rest, ret->whole.len, rest->len);
	return true;
}

static const struct offer_attribute attribute_rows[] = {
	{ SPAN_LIT("rtcp"), ATTRIBUTE_RTCP, 0 },
	{ SPAN_LIT("rtcp-mux"), ATTRIBUTE_RTCP_MUX, 0 },
	{ SPAN_LIT("sendrecv"), ATTRIBUTE_DIRECTION, OFFER_SENDRECV },
	{ SPAN_LIT("sendonly"), ATTRIBUTE_DIRECTION, OFFER_SENDONLY },
	{ SPAN_LIT("recvonly"), ATTRIBUTE_DIRECTION, OFFER_RECVONLY },
	{ SPAN_LIT("inactive"), ATTRIBUTE_DIRECTION, OFFER_INACTIVE },
	{ SPAN_LIT("candidate"), ATTRIBUTE_DROP, 0 },
	{ SPAN_LIT("remote-candidates"), ATTRIBUTE_DROP, 0 },
	{ SPAN_LIT("end-of-candidates"), ATTRIBUTE_DROP, 0 },
	{ SPAN_LIT("ice-ufrag"), ATTRIBUTE_DROP, 0 },
	{ SPAN_LIT("ice-pwd"), ATTRIBUTE_DROP, 0 },
	{ SPAN_LIT("ice-options"), ATTRIBUTE_DROP, 0 },
	{ SPAN_LIT("ice-lite"), ATTRIBUTE_DROP, 0 },
	{ SPAN_LIT("ice-mismatch"), ATTRIBUTE_DROP, 0 },
	{ SPAN_LIT("ice-pacing"), ATTRIBUTE_DROP, 0 },
	/* A way around the gateway, and a filter that would let nothing of ours through. */
	{ SPAN_LIT("altc"), ATTRIBUTE_DROP, 0 },
	{ SPAN_LIT("source-filter"), ATTRIBUTE_DROP, 0 },
};

/* Names are case-sensitive in RFC 8866; a lax peer may not know, so neither do we. */
const struct offer_attribute *offer_attribute(struct span value)
{
	static const struct offer_attribute other = { SPAN_NONE, ATTRIBUTE_OTHER, 0 };
	struct span name = span_trim(span_sub(value, 0, span_find(value, ':')));

	for (size_t i = 0; i < sizeof(attribute_rows) / sizeof(attribute_rows[0]); i++)
		if (span_ieq(name, attribute_rows[i].name))
			return &attribute_rows[i];
	return &other;
}

bool offer_is_host_char(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' || c == '.';
}

static bool is_host_name(struct span text)
{
	bool has_letter = false;

	for (size_t i = 0; i < text.len; i++) {
		if (!offer_is_host_char(text.ptr[i]))
			return false;
		has_letter |= (text.ptr[i] | 0x20) >= 'a';
	}
	return has_letter;
}

static int refuse(const char **ret_text, int err, const char *text)
{
	*ret_text = text;
	return err;
}

int offer_connection(struct span value, struct addr *ret, const char **ret_text)
{
	struct span net = span_cut(&value, ' ');
	struct span type = span_cut(&value, ' ');
	struct span text = span_trim(value);
	struct addr addr;
	bool is_ip6 = span_ieq(type, SPAN_LIT("IP6"));

	if (!span_ieq(net, SPAN_LIT("IN")) || (!is_ip6 && !span_ieq(type, SPAN_LIT("IP4"))))
		return refuse(ret_text, ERR_UNSUPPORTED, "network is not IN IP4 or IN IP6");
	if (memchr(text.ptr ? text.ptr : "", '/', text.len) != NULL)
		return refuse(ret_text, ERR_UNSUPPORTED, "multicast time-to-live or address count");
	if (is_host_name(text))
		return refuse(ret_text, ERR_UNSUPPORTED, "host name instead of an address");
	if (text.len == 0 || text.ptr[0] == '[' || addr_parse_ip(text, &addr) < 0)
		return refuse(ret_text, ERR_PARSE, "not an address");
	if (is_ip6 != (span_find(text, ':') < text.len))
		return refuse(ret_text, ERR_PARSE, "address is not of the named family");
	if (addr_kind(&addr) == ADDR_MULTICAST || addr_kind(&addr) == ADDR_BROADCAST)
		return refuse(ret_text, ERR_UNSUPPORTED, "not a unicast address");
	*ret = addr;
	return 0;
}
