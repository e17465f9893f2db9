/* Reads Transport. Servers and clients differ in case, blanks, order, and in which of these they send at all, so
 * parameters are found by name alone. What a careless peer could read otherwise than we do is refused: see is_plain().
 * */
#include "algs/rtsp/rtsp_transport.h"

#include "algs/rtsp/rtsp_addr.h"
#include "core/err.h"

const char *rtsp_carrier_text(enum rtsp_carrier carrier)
{
	static const char *const texts[RTSP_CARRIERS] = { "udp", "interleaved", "multicast", "other" };

	return texts[carrier];
}

/* Several servers split at every ';' and know no quotation marks: behind one inside a quoted string they would see
 * parameters that we do not. */
static bool is_plain(struct span text)
{
	bool is_quoted = false;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (c == '\\' || (is_quoted && c == ';'))
			return false;
		is_quoted ^= c == '"';
	}
	return !is_quoted;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static bool read_port(struct span text, uint16_t *ret)
{
	uint32_t port;

	if (span_to_u32(text, UINT16_MAX, &port) < 0 || port == 0)
		return false;
	*ret = (uint16_t)port;
	return true;
}

/* "a", "a-b", "a/b". */
static bool read_ports(struct span value, struct rtsp_ports *ret)
{
	struct rtsp_ports ports = { .form = RTSP_ONE_PORT, .text = rtsp_unquote(value) };
	struct span rest = ports.text, first;
	char separator = span_find(rest, '-') < rest.len ? '-' : '/';

	first = span_cut(&rest, separator);
	if (rest.ptr != NULL) {
		ports.form = separator == '-' ? RTSP_RANGE : RTSP_SLASH;
		if (!read_port(rest, &ports.rtcp))
			return false;
	}
	if (!read_port(first, &ports.rtp))
		return false;
	*ret = ports;
	return true;
}

/* "192.0.2.1:5000", ":5000", "[2001:db8::1]:5000", or without a port. Some write an IPv6 address bare. */
static bool read_place(struct span value, struct rtsp_place *ret)
{
	struct span text = rtsp_unquote(value), host = text;
	struct rtsp_place place = { .text = text };
	size_t colon = text.len;

	if (!rtsp_ip_parse(text, &place.addr)) {
		while (colon > 0 && text.ptr[colon - 1] != ':')
			colon--;
		if (colon > 0) {
			host = span_sub(text, 0, colon - 1);
			if (!read_port(span_sub(text, colon, text.len), &place.addr.port))
				return false;
		}
		if (host.len > 0 && !rtsp_ip_parse(host, &place.addr))
			place.has_name = true;
	}
	place.has_brackets = host.len > 0 && host.ptr[0] == '[';
	*ret = place;
	return true;
}

/* "\"192.0.2.1:5000\"/\"192.0.2.1:5001\"" */
static bool read_places(struct span value, struct rtsp_place *ret, unsigned *ret_n)
{
	struct span rest = value, element;
	unsigned n = 0;

	while (rtsp_list_next(&rest, '/', &element)) {
		if (n == RTSP_PLACES_MAX || !read_place(element, &ret[n]))
			return false;
		n++;
	}
	*ret_n = n;
	return true;
}

static bool has_word(struct span value, const char *word)
{
	struct span rest = rtsp_unquote(value), element;

	while (rtsp_list_next(&rest, ',', &element))
		if (span_ieq(rtsp_unquote(element), span_of(word)))
			return true;
	return false;
}

/* ---- an alternative ---------------------------------------------------------------------------------------------- */

enum parameter {
	CLIENT_PORT, SERVER_PORT, DESTINATION, SOURCE, DEST_ADDR, SRC_ADDR, MODE, RTCP_MUX, UNICAST, MULTICAST, CHANNELS, PORT,
	PARAMETERS
};
static const char *const parameter_names[PARAMETERS] = {
	"client_port", "server_port", "destination", "source", "dest_addr", "src_addr", "mode", "RTCP-mux", "unicast", "multicast",
	"interleaved", "port",
};

static bool has(unsigned seen, enum parameter parameter)
{
	return (seen >> parameter & 1) != 0;
}

/* "a-b", "a"; what cannot be read is not counted. */
static void read_channels(struct span value, struct rtsp_transport *t)
{
	struct span rest = rtsp_unquote(value), first = span_cut(&rest, '-');
	uint32_t a, b;

	if (span_to_u32(first, UINT8_MAX, &a) < 0)
		return;
	b = a;
	if (rest.ptr != NULL && span_to_u32(rest, UINT8_MAX, &b) < 0)
		return;
	t->has_channels = true;
	t->channels[0] = (uint8_t)a;
	t->channels[1] = (uint8_t)b;
}

/* False: the value could not be read. */
static bool read_parameter(enum parameter parameter, struct span value, struct rtsp_transport *t)
{
	switch (parameter) {
	case CLIENT_PORT:
		return read_ports(value, &t->client_port);
	case SERVER_PORT:
		return read_ports(value, &t->server_port);
	case DESTINATION:
		return read_place(value, &t->destination);
	case SOURCE:
		return read_place(value, &t->source);
	case DEST_ADDR:
		return read_places(value, t->dest, &t->n_dest);
	case SRC_ADDR:
		return read_places(value, t->src, &t->n_src);
	case CHANNELS:
		read_channels(value, t);
		return true;
	case MODE: /* "receive" is what QuickTime's broadcasters say */
		t->is_record = has_word(value, "record") || has_word(value, "receive");
		return true;
	default:
		return true;
	}
}

/* "protocol/profile[/lower]"; without lower it is UDP. */
static void read_carrier(unsigned seen, struct rtsp_transport *t)
{
	struct span rest = t->spec;
	struct span protocol = span_cut(&rest, '/'), lower;
	bool is_known;

	span_cut(&rest, '/');
	lower = rest;
	t->is_raw = !span_ieq(protocol, SPAN_LIT("RTP"));
	is_known = !t->is_raw || span_ieq(protocol, SPAN_LIT("MP2T")) || span_ieq(protocol, SPAN_LIT("RAW"));
	if (!is_known)
		t->carrier = RTSP_OTHER;
	else if (span_ieq(lower, SPAN_LIT("TCP"))) /* dest_addr: connections of their own (RFC 7826 18.54), not ours */
		t->carrier = has(seen, DEST_ADDR) && !has(seen, CHANNELS) ? RTSP_OTHER : RTSP_INTERLEAVED;
	else if (lower.len > 0 && !span_ieq(lower, SPAN_LIT("UDP")))
		t->carrier = RTSP_OTHER;
	else if (has(seen, CHANNELS))
		t->carrier = RTSP_INTERLEAVED;
	else if (has(seen, MULTICAST) || (has(seen, PORT) && !has(seen, UNICAST)))
		t->carrier = RTSP_MULTICAST;
	else
		t->carrier = RTSP_UDP;
	t->has_mux = has(seen, RTCP_MUX);
	t->has_destination = has(seen, DESTINATION) || has(seen, DEST_ADDR);
	t->is_odd |= has(seen, MULTICAST) && has(seen, UNICAST);
}

static void read_alternative(struct span text, unsigned header, struct rtsp_transport *ret)
{
	struct rtsp_transport t = { .text = text, .header = header };
	struct span rest = text, element;
	unsigned seen = 0;

	rtsp_list_next(&rest, ';', &t.spec);
	while (rtsp_list_next(&rest, ';', &element)) {
		struct span value = element;
		struct span name = span_trim(span_cut(&value, '='));
		unsigned i = 0;

		while (i < PARAMETERS && !span_ieq(name, span_of(parameter_names[i])))
			i++;
		if (i == PARAMETERS)
			continue;
		t.is_double |= has(seen, i);
		seen |= 1U << i;
		t.is_odd |= !read_parameter(i, span_trim(value), &t);
	}
	read_carrier(seen, &t);
	*ret = t;
}

int rtsp_transport_read(const struct rtsp_message *message, struct rtsp_transports *ret)
{
	const struct rtsp_header *header;
	unsigned at = 0;

	ret->n = 0;
	while ((header = rtsp_header_next(message, "Transport", &at)) != NULL) {
		struct span rest = header->value, element;

		if (!is_plain(rest))
			return ERR_PARSE;
		while (rtsp_list_next(&rest, ',', &element)) {
			if (element.len == 0)
				continue;
			if (ret->n == RTSP_TRANSPORTS_MAX)
				return ERR_LIMIT;
			read_alternative(element, at - 1, &ret->list[ret->n++]);
		}
	}
	return 0;
}

bool rtsp_transport_end(const struct rtsp_transport *t, enum alg_side side, struct rtsp_end *ret)
{
	bool is_client = side == ALG_CLIENT;
	const struct rtsp_ports *ports = is_client ? &t->client_port : &t->server_port;
	const struct rtsp_place *places = is_client ? t->dest : t->src;
	const struct rtsp_place *place = is_client ? &t->destination : &t->source;
	unsigned n = is_client ? t->n_dest : t->n_src;
	struct rtsp_end end = { 0 };

	if (n > 0) {
		end.rtp = places[0].addr;
		end.rtcp = n > 1 ? places[1].addr.port : 0;
	} else {
		end.rtp = place->addr;
		if (ports->form != RTSP_NO_PORTS) {
			end.rtp.port = ports->rtp;
			end.rtcp = ports->rtcp;
		}
	}
	*ret = end;
	return end.rtp.port != 0;
}
