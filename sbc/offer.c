/* Reads session descriptions line by line and writes them back for the other leg. The reader fails closed: what it cannot
 * place (a bare CR, a NUL, a line without a type) it refuses, because a peer might read it as an address. The writer copies
 * whole lines and replaces only those that name an address, a port or a host.
 *
 * Does not pick ports, compare versions or decide which streams a call accepts: see call.c. Pure.
 * RFC 8866 (SDP), 3264 (offer/answer), 3605 (a=rtcp), 3890 (b=TIAS), 5761 (rtcp-mux), 8839 (ICE), 4570 (source-filter),
 * 6947 (altc). */
#include "sbc/offer.h"

#include "core/buf.h"
#include "core/err.h"
#include "sbc/sip_char.h"

/* ---- lines ---- */

struct line {
	char type;         /* 0: an empty line */
	struct span value; /* behind "x=" */
	struct span whole; /* with its line end */
	struct span end;   /* "\r\n", "\n" or nothing */
};

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

/* Cuts the next line from *rest. False at the end. */
static bool next_line(struct span *rest, struct line *ret)
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

static int check_line(struct reader *r, const struct line *line)
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

/* ---- attributes ---- */

enum attribute { ATTRIBUTE_OTHER, ATTRIBUTE_RTCP, ATTRIBUTE_RTCP_MUX, ATTRIBUTE_DIRECTION, ATTRIBUTE_DROP };

static const struct attribute_row {
	struct span name;
	enum attribute attribute;
	enum offer_direction direction;
} attribute_rows[] = {
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
static const struct attribute_row *find_attribute(struct span value)
{
	static const struct attribute_row other = { SPAN_NONE, ATTRIBUTE_OTHER, 0 };
	struct span name = span_trim(span_sub(value, 0, span_find(value, ':')));

	for (size_t i = 0; i < sizeof(attribute_rows) / sizeof(attribute_rows[0]); i++)
		if (span_ieq(name, attribute_rows[i].name))
			return &attribute_rows[i];
	return &other;
}

/* ---- reading ---- */

static bool is_host_char(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' || c == '.';
}

static bool is_host_name(struct span text)
{
	bool has_letter = false;

	for (size_t i = 0; i < text.len; i++) {
		if (!is_host_char(text.ptr[i]))
			return false;
		has_letter |= (text.ptr[i] | 0x20) >= 'a';
	}
	return has_letter;
}

/* "IN IP4 192.0.2.1". An IPv4-mapped address comes as IP6 and counts as IPv4. */
static int read_connection(struct reader *r, struct span value, struct addr *ret)
{
	struct span net = span_cut(&value, ' ');
	struct span type = span_cut(&value, ' ');
	struct span text = span_trim(value);
	struct addr addr;
	bool is_ip6 = span_ieq(type, SPAN_LIT("IP6"));

	if (!span_ieq(net, SPAN_LIT("IN")) || (!is_ip6 && !span_ieq(type, SPAN_LIT("IP4"))))
		return refuse(r, ERR_UNSUPPORTED, "network is not IN IP4 or IN IP6");
	if (memchr(text.ptr ? text.ptr : "", '/', text.len) != NULL)
		return refuse(r, ERR_UNSUPPORTED, "multicast time-to-live or address count");
	if (is_host_name(text))
		return refuse(r, ERR_UNSUPPORTED, "host name instead of an address");
	if (text.len == 0 || text.ptr[0] == '[' || addr_parse_ip(text, &addr) < 0)
		return refuse(r, ERR_PARSE, "not an address");
	if (is_ip6 != (span_find(text, ':') < text.len))
		return refuse(r, ERR_PARSE, "address is not of the named family");
	if (addr_kind(&addr) == ADDR_MULTICAST || addr_kind(&addr) == ADDR_BROADCAST)
		return refuse(r, ERR_UNSUPPORTED, "not a unicast address");
	*ret = addr;
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
static int read_media(struct reader *r, const struct line *line)
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
		err = read_connection(r, rest, &addr);
	if (err < 0)
		return err;
	media->has_rtcp_attr = true;
	if (addr_is_set(&addr) && addr_kind(&addr) == ADDR_UNSPECIFIED)
		return 0;
	media->rtcp = addr;
	media->rtcp.port = (uint16_t)port;
	return 0;
}

static int read_attribute(struct reader *r, const struct line *line, struct offer_media *media)
{
	const struct attribute_row *row = find_attribute(line->value);

	if (++r->attributes > OFFER_LINES_MAX)
		return refuse(r, ERR_LIMIT, "too many a= lines");
	if (row->attribute == ATTRIBUTE_DIRECTION)
		*(media ? &media->direction : &r->session_direction) = row->direction;
	if (media == NULL)
		return 0;
	if (row->attribute == ATTRIBUTE_RTCP_MUX)
		media->has_rtcp_mux = true;
	return row->attribute == ATTRIBUTE_RTCP ? read_rtcp(r, line->value, media) : 0;
}

static int read_connection_line(struct reader *r, const struct line *line, struct offer_media *media)
{
	struct addr *target = media ? &media->rtp : &r->session_connection;
	struct addr addr;
	int err = read_connection(r, line->value, &addr);

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

static int read_line(struct reader *r, const struct line *line)
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
	struct line line;
	int err;

	if (body.len > OFFER_BYTES_MAX)
		return refuse(r, ERR_LIMIT, "session description too long");
	while (next_line(&rest, &line)) {
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

/* ---- writing ---- */

struct writer {
	const struct offer *in;
	const struct offer_patch *patch;
	struct buf *out;
	struct span end;                       /* line end for lines that the input does not have */
	const struct offer_media *media;       /* NULL: the session part */
	const struct offer_patch_media *ours;
	bool owes_origin;
	bool owes_connection;
};

static bool is_disabled(const struct writer *w)
{
	return w->media->port == 0 || !addr_is_set(&w->ours->rtp);
}

static void put_triple(struct writer *w, const struct addr *addr)
{
	char text[ADDR_TEXT_MAX];

	buf_puts(w->out, addr->family == AF_INET6 ? "IN IP6 " : "IN IP4 ");
	buf_puts(w->out, addr_ip_text(addr, text));
}

static void put_origin(struct writer *w, struct span end)
{
	buf_puts(w->out, "o=- ");
	buf_u64(w->out, w->patch->session_id);
	buf_putc(w->out, ' ');
	buf_u64(w->out, w->patch->version);
	buf_putc(w->out, ' ');
	put_triple(w, &w->patch->address);
	buf_put(w->out, end);
	w->owes_origin = false;
}

static void put_connection(struct writer *w, bool is_held, struct span end)
{
	struct addr addr = w->media == NULL || is_disabled(w) ? w->patch->address : w->ours->rtp;

	if (is_held)
		memset(addr.ip, 0, sizeof(addr.ip));
	buf_puts(w->out, "c=");
	put_triple(w, &addr);
	buf_put(w->out, end);
	w->owes_connection = false;
}

static void put_connection_line(struct writer *w, const struct line *line)
{
	struct offer_error ignored = { 0 };
	struct reader r = { .error = &ignored };
	struct addr addr;

	/* offer_parse() has read this line before: it cannot fail, and if it did, ours is the safe address. */
	put_connection(w, read_connection(&r, line->value, &addr) == 0 && addr_kind(&addr) == ADDR_UNSPECIFIED, line->end);
}

static void put_media_line(struct writer *w, const struct line *line)
{
	const struct offer_media *media = w->media;
	const char *behind = media->proto.ptr; /* the proto and all that follows stays as it is */

	buf_puts(w->out, "m=");
	buf_put(w->out, media->kind);
	buf_putc(w->out, ' ');
	buf_u64(w->out, is_disabled(w) ? 0 : w->ours->rtp.port);
	buf_putc(w->out, ' ');
	buf_put(w->out, (struct span){ behind, (size_t)(line->whole.ptr + line->whole.len - behind) });
}

static void put_rtcp(struct writer *w, const struct line *line)
{
	const struct addr *rtcp;

	if (w->media == NULL || is_disabled(w) || !addr_is_set(&w->ours->rtcp))
		return;
	rtcp = &w->ours->rtcp;
	buf_puts(w->out, "a=rtcp:");
	buf_u64(w->out, rtcp->port);
	if (span_find(span_trim(line->value), ' ') < line->value.len || !addr_eq_ip(rtcp, &w->ours->rtp)) {
		buf_putc(w->out, ' ');
		put_triple(w, rtcp);
	}
	buf_put(w->out, line->end);
}

/* "pbx.example.com", "192.0.2.1:5060", "x192.0.2.1", "2001:db8::1"; but not "1.8.32", "12:30" or "Mr.". */
static bool is_host_word(struct span word)
{
	struct addr addr;
	size_t dot, dots = 0;

	for (size_t i = 0; i < word.len; i++) {
		dots += word.ptr[i] == '.';
		if (i > 0 && word.ptr[i] == ':' && word.ptr[i - 1] == ':')
			return true;
	}
	if (dots >= 3 || addr_parse_ip(word, &addr) == 0)
		return true;
	word = span_sub(word, 0, span_find(word, ':'));
	if (word.len > 0 && word.ptr[word.len - 1] == '.')
		word.len--;
	for (dot = word.len; dot > 0 && word.ptr[dot - 1] != '.'; dot--)
		;
	return dot > 1 && word.len - dot >= 2 && (word.ptr[dot] | 0x20) >= 'a';
}

static bool names_host(struct span text)
{
	size_t start = 0;

	for (size_t i = 0; i <= text.len; i++) {
		if (i < text.len && (is_host_char(text.ptr[i]) || text.ptr[i] == ':'))
			continue;
		if (i > start && is_host_word(span_sub(text, start, i)))
			return true;
		start = i + 1;
	}
	return false;
}

/* A run of hexadecimal digits, dots and colons, perhaps behind the end of a name and its colon. Not every end of it is tried as IPv6: that of
 * a fingerprint reads like one. */
static bool is_address_word(struct span word)
{
	struct addr addr;

	if (addr_parse_ip(word, &addr) == 0 || addr_parse_ip(span_sub(word, span_find(word, ':') + 1, word.len), &addr) == 0)
		return true;
	for (; word.len > 0; word = span_sub(word, span_find(word, ':') + 1, word.len))
		if (addr_parse_ip(span_sub(word, 0, span_find(word, ':')), &addr) == 0)
			return true;
	return false;
}

/* "a=ssrc:1 cname:x@10.0.0.5", "a=ccap:1 IN IP4 pbx.local". Host names alone do not count here, or URNs would. */
static bool names_address(struct span text)
{
	size_t start = 0;

	for (size_t i = 0; i <= text.len; i++) {
		struct span rest = span_sub(text, i, text.len);

		if (span_istarts(rest, SPAN_LIT("IN IP4 ")) || span_istarts(rest, SPAN_LIT("IN IP6 ")))
			return true;
		if (i < text.len && (sip_char_is(text.ptr[i], CHAR_HEX) || text.ptr[i] == '.' || text.ptr[i] == ':'))
			continue;
		if (is_address_word(span_sub(text, start, i)))
			return true;
		start = i + 1;
	}
	return false;
}

static void put_text_line(struct writer *w, const struct line *line)
{
	if (!names_host(line->value)) {
		buf_put(w->out, line->whole);
	} else if (line->type == 's') {
		buf_puts(w->out, "s=-");
		buf_put(w->out, line->end);
	}
}

/* Nobody knows all attributes there are: what names an address does not cross. */
static void put_anonymous(struct writer *w, const struct line *line)
{
	if (!names_address(line->value))
		buf_put(w->out, line->whole);
}

static void put_attribute(struct writer *w, const struct line *line)
{
	switch (find_attribute(line->value)->attribute) {
	case ATTRIBUTE_DROP:
		break;
	case ATTRIBUTE_RTCP:
		put_rtcp(w, line);
		break;
	default:
		put_anonymous(w, line);
	}
}

static void put_line(struct writer *w, const struct line *line)
{
	switch (line->type) {
	case 'o':
		put_origin(w, line->end);
		break;
	case 'c':
		put_connection_line(w, line);
		break;
	case 'm':
		put_media_line(w, line);
		break;
	case 'a':
		put_attribute(w, line);
		break;
	case 's':
	case 'i':
		put_text_line(w, line);
		break;
	case 'u':
	case 'e':
	case 'p':
		break;
	default:
		put_anonymous(w, line);
	}
}

/* A line cannot follow one that lacks its end. */
static void end_last_line(struct writer *w)
{
	if (w->out->len > 0 && w->out->data[w->out->len - 1] != '\n')
		buf_put(w->out, w->end);
}

static void put_owed(struct writer *w)
{
	if (w->owes_origin) {
		end_last_line(w);
		put_origin(w, w->end);
	}
	if (w->owes_connection) {
		end_last_line(w);
		put_connection(w, w->media->is_held, w->end);
	}
}

/* Lines that the input lacks go to their place in the grammar: o= behind v=, c= behind m= and i=. */
static void put_section(struct writer *w, struct span lines)
{
	struct line line;

	while (next_line(&lines, &line)) {
		bool may_wait = line.type == (w->media ? 'm' : 'v') || (w->media && line.type == 'i');

		if (!may_wait)
			put_owed(w);
		put_line(w, &line);
	}
	put_owed(w);
}

int offer_rewrite(const struct offer *in, const struct offer_patch *patch, struct buf *out)
{
	struct writer w = { .in = in, .patch = patch, .out = out, .end = SPAN_LIT("\r\n") };
	struct span rest = in->body;
	struct line first;

	if (next_line(&rest, &first) && first.end.len == 1)
		w.end = first.end;
	w.owes_origin = in->origin.ptr == NULL;
	put_section(&w, in->session);
	for (unsigned i = 0; i < in->n_media; i++) {
		w.media = &in->media[i];
		w.ours = &patch->media[i];
		w.owes_connection = !w.media->has_own_connection && !is_disabled(&w) &&
				    !addr_eq_ip(&w.ours->rtp, &patch->address);
		put_section(&w, w.media->lines);
	}
	return out->is_full ? ERR_LIMIT : 0;
}
