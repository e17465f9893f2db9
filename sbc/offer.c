/* Reads session descriptions line by line. Fails closed: what it cannot place (a bare CR, a NUL, a line without a type) it refuses,
 * because a peer might read it as an address.
 *
 * Does not pick ports, compare versions or decide which streams a call accepts: see call_media.c. Pure.
 * RFC 8866 (SDP), 3264 (offer/answer), 3605 (a=rtcp), 3890 (b=TIAS), 5761 (rtcp-mux). */
#include "sbc/offer_line.h"

#include "core/err.h"

struct reader {
	struct offer *offer;
	struct offer_error *error;
	struct addr session_connection;
	enum offer_direction session_direction;
	uint32_t session_bandwidth_bps;
	unsigned attributes; /* a= of the section that is being read */
	bool has_version;
	bool has_ended;      /* an empty line was read */
};

static int refuse(struct reader *r, int err, const char *text)
{
	r->error->text = text;
	return err;
}

static int check_line(struct reader *r, const struct offer_line *line)
{
	struct span content = span_sub(line->whole, 0, line->whole.len - line->end.len);

	if (content.len == 0) {
		r->has_ended = true;
		return 0;
	}
	if (r->has_ended)
		return refuse(r, ERR_PARSE, "text after an empty line");
	if (memchr(content.ptr, '\0', content.len) != NULL || memchr(content.ptr, '\r', content.len) != NULL)
		return refuse(r, ERR_PARSE, "NUL or CR inside a line");
	if (content.len < 2 || content.ptr[1] != '=' || (content.ptr[0] | 0x20) < 'a' || (content.ptr[0] | 0x20) > 'z')
		return refuse(r, ERR_PARSE, "line is not of the form type=value");
	return 0;
}

static int read_formats(struct reader *r, struct offer_media *media)
{
	struct span rest = media->formats;
	unsigned n = 0;

	while (rest.ptr != NULL && rest.len > 0) {
		struct span format = span_cut(&rest, ' ');
		uint32_t payload;

		if (format.len == 0)
			continue;
		if (++n > OFFER_FORMATS_MAX)
			return refuse(r, ERR_LIMIT, "too many formats");
		if (!media->is_rtp)
			continue;
		if (span_to_u32(format, 127, &payload) < 0)
			return refuse(r, ERR_PARSE, "RTP format is not a payload type");
		media->payloads[payload / 64] |= UINT64_C(1) << payload % 64;
	}
	/* A rejected line without formats is sloppy, but says all that matters. */
	return n > 0 || media->port == 0 ? 0 : refuse(r, ERR_PARSE, "m= without formats");
}

static int read_port(struct reader *r, struct span text, uint16_t *ret)
{
	struct span count = text;
	struct span port = span_cut(&count, '/');
	uint32_t number;

	if (count.ptr != NULL) {
		if (span_to_u32(count, UINT32_MAX, &number) < 0 || number == 0)
			return refuse(r, ERR_PARSE, "port count is not a number");
		if (number > 1)
			return refuse(r, ERR_UNSUPPORTED, "more than one port per line");
	}
	if (span_to_u32(port, UINT16_MAX, &number) < 0)
		return refuse(r, ERR_PARSE, "port is not 0 to 65535");
	*ret = (uint16_t)number;
	return 0;
}

static bool contains_rtp(struct span proto)
{
	for (size_t i = 0; i < proto.len; i++)
		if (span_istarts(span_sub(proto, i, proto.len), SPAN_LIT("RTP/")))
			return true;
	return false;
}

/* "m=audio 49170 RTP/AVP 0 8" begins a new section at `line`. */
static int read_media(struct reader *r, const struct offer_line *line)
{
	struct offer *offer = r->offer;
	struct offer_media *media;
	struct span rest = span_trim(line->value);
	struct span port;
	int err;

	if (offer->n_media == OFFER_MEDIA_MAX)
		return refuse(r, ERR_LIMIT, "too many m= lines");
	media = &offer->media[offer->n_media++];
	*media = (struct offer_media){ .lines = { line->whole.ptr, 0 }, .direction = r->session_direction };
	media->kind = span_cut(&rest, ' ');
	port = span_cut(&rest, ' ');
	media->proto = span_cut(&rest, ' ');
	media->formats = rest.ptr != NULL ? rest : span_sub(media->proto, media->proto.len, media->proto.len);
	if (media->kind.len == 0 || media->proto.len == 0)
		return refuse(r, ERR_PARSE, "m= is not \"kind port proto formats\"");
	err = read_port(r, port, &media->port);
	if (err < 0)
		return err;
	media->is_rtp = contains_rtp(media->proto);
	media->rtp = r->session_connection;
	r->attributes = 0;
	return read_formats(r, media);
}

/* "53020" or "53020 IN IP6 2001:db8::1". The unspecified address (browsers send "9 IN IP4 0.0.0.0") names nothing. */
static int read_rtcp(struct reader *r, struct span value, struct offer_media *media)
{
	struct span rest = span_trim(span_sub(value, span_find(value, ':') + 1, value.len));
	struct span port_text = span_cut(&rest, ' ');
	struct addr addr = { 0 };
	uint32_t port;
	int err = 0;

	if (span_to_u32(port_text, UINT16_MAX, &port) < 0)
		return refuse(r, ERR_PARSE, "a=rtcp without a port");
	if (rest.ptr != NULL)
		err = offer_connection(rest, &addr, &r->error->text);
	if (err < 0)
		return err;
	media->has_rtcp_attr = true;
	if (addr_is_set(&addr) && addr_kind(&addr) == ADDR_UNSPECIFIED)
		return 0;
	media->rtcp = addr;
	media->rtcp.port = (uint16_t)port;
	return 0;
}

static int read_attribute(struct reader *r, const struct offer_line *line, struct offer_media *media)
{
	const struct offer_attribute *row = offer_attribute(line->value);

	if (++r->attributes > OFFER_LINES_MAX)
		return refuse(r, ERR_LIMIT, "too many a= lines");
	if (row->kind == ATTRIBUTE_DIRECTION)
		*(media ? &media->direction : &r->session_direction) = row->direction;
	if (media == NULL)
		return 0;
	if (row->kind == ATTRIBUTE_RTCP_MUX)
		media->has_rtcp_mux = true;
	return row->kind == ATTRIBUTE_RTCP ? read_rtcp(r, line->value, media) : 0;
}

static int read_connection_line(struct reader *r, const struct offer_line *line, struct offer_media *media)
{
	struct addr *target = media ? &media->rtp : &r->session_connection;
	struct addr addr;
	int err = offer_connection(line->value, &addr, &r->error->text);

	if (err < 0)
		return err;
	/* Several c= are layers of multicast; of such a unicast list the first counts, and all are rewritten. */
	if (media == NULL ? !addr_is_set(target) : !media->has_own_connection)
		*target = addr;
	if (media != NULL)
		media->has_own_connection = true;
	return 0;
}

/* What the far end wants to receive at most. Only a hint: what cannot be read, and other kinds of limit, say nothing. */
static void read_bandwidth(struct reader *r, struct span value, struct offer_media *media)
{
	uint32_t *bandwidth = media != NULL ? &media->bandwidth_bps : &r->session_bandwidth_bps;
	struct span number = value;
	struct span kind = span_trim(span_cut(&number, ':'));
	uint64_t unit = span_ieq(kind, SPAN_LIT("AS")) ? 1000 : span_ieq(kind, SPAN_LIT("TIAS")) ? 1 : 0;
	uint32_t n;

	if (unit == 0 || span_to_u32(span_trim(number), UINT32_MAX, &n) < 0)
		return;
	unit *= n;
	if (unit > *bandwidth)
		*bandwidth = unit < UINT32_MAX ? (uint32_t)unit : UINT32_MAX;
}

static int read_line(struct reader *r, const struct offer_line *line)
{
	struct offer *offer = r->offer;
	struct offer_media *media = offer->n_media > 0 ? &offer->media[offer->n_media - 1] : NULL;

	switch (line->type) {
	case 'v':
		r->has_version = true;
		return span_eq(span_trim(line->value), SPAN_LIT("0")) ? 0 : refuse(r, ERR_UNSUPPORTED, "v= is not 0");
	case 'o':
		if (media != NULL || offer->origin.ptr != NULL)
			return refuse(r, ERR_PARSE, "o= twice or inside a media description");
		offer->origin = line->value;
		return 0;
	case 'c':
		return read_connection_line(r, line, media);
	case 'm':
		return read_media(r, line);
	case 'a':
		return read_attribute(r, line, media);
	case 'b':
		read_bandwidth(r, line->value, media);
		return 0;
	default:
		return 0;
	}
}

/* Fills in what depends on the whole section. */
static int finish_media(struct reader *r, struct offer_media *media)
{
	if (media->port == 0) {
		media->rtp = (struct addr){ 0 };
		media->rtcp = (struct addr){ 0 };
		return 0;
	}
	if (media->bandwidth_bps == 0)
		media->bandwidth_bps = r->session_bandwidth_bps;
	if (!addr_is_set(&media->rtp))
		return refuse(r, ERR_PARSE, "no c= for an m= line");
	media->is_held = addr_kind(&media->rtp) == ADDR_UNSPECIFIED;
	media->rtp.port = media->port;
	if (!media->is_rtp) {
		media->rtcp = (struct addr){ 0 };
		return 0;
	}
	if (!addr_is_set(&media->rtcp)) {
		uint16_t port = media->rtcp.port ? media->rtcp.port : (uint16_t)(media->port + 1);

		media->rtcp = media->rtp;
		media->rtcp.port = port;
	}
	if (media->rtcp.port == 0)
		media->rtcp = (struct addr){ 0 };
	return 0;
}

static int read_all(struct reader *r, struct span body)
{
	struct offer *offer = r->offer;
	struct span rest = body;
	struct offer_line line;
	int err;

	if (body.len > OFFER_BYTES_MAX)
		return refuse(r, ERR_LIMIT, "session description too long");
	while (offer_next_line(&rest, &line)) {
		r->error->line++;
		err = check_line(r, &line);
		if (err == 0)
			err = read_line(r, &line);
		if (err < 0)
			return err;
		*(offer->n_media > 0 ? &offer->media[offer->n_media - 1].lines.len : &offer->session.len) +=
			line.whole.len;
	}
	if (!r->has_version && offer->n_media == 0)
		return refuse(r, ERR_PARSE, "not a session description");
	for (unsigned i = 0; i < offer->n_media; i++) {
		err = finish_media(r, &offer->media[i]);
		if (err < 0)
			return err;
	}
	return 0;
}

int offer_parse(struct span body, struct offer *ret, struct offer_error *ret_error)
{
	struct offer offer = { .body = body, .session = { body.ptr, 0 } };
	struct offer_error error = { "", 0 };
	struct reader r = { .offer = &offer, .error = &error };
	int err = read_all(&r, body);

	if (err < 0) {
		*ret_error = error;
		return err;
	}
	*ret = offer;
	return 0;
}
