/* Writes session descriptions back for the other leg: copies whole lines and replaces only those that name an address, a port or a host.
 * Pure. RFC 8866 (SDP), 3264 (offer/answer), 3605 (a=rtcp). */
#include "sbc/offer_line.h"

#include "core/buf.h"
#include "core/err.h"
#include "sbc/sip_char.h"

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

static void put_connection_line(struct writer *w, const struct offer_line *line)
{
	const char *ignored;
	struct addr addr;

	/* offer_parse() has read this line before: it cannot fail, and if it did, ours is the safe address. */
	put_connection(w, offer_connection(line->value, &addr, &ignored) == 0 && addr_kind(&addr) == ADDR_UNSPECIFIED, line->end);
}

static void put_media_line(struct writer *w, const struct offer_line *line)
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

static void put_rtcp(struct writer *w, const struct offer_line *line)
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
		if (i < text.len && (offer_is_host_char(text.ptr[i]) || text.ptr[i] == ':'))
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

static void put_text_line(struct writer *w, const struct offer_line *line)
{
	if (!names_host(line->value)) {
		buf_put(w->out, line->whole);
	} else if (line->type == 's') {
		buf_puts(w->out, "s=-");
		buf_put(w->out, line->end);
	}
}

/* Nobody knows all attributes there are: what names an address does not cross. */
static void put_anonymous(struct writer *w, const struct offer_line *line)
{
	if (!names_address(line->value))
		buf_put(w->out, line->whole);
}

static void put_attribute(struct writer *w, const struct offer_line *line)
{
	switch (offer_attribute(line->value)->kind) {
	case ATTRIBUTE_DROP:
		break;
	case ATTRIBUTE_RTCP:
		put_rtcp(w, line);
		break;
	default:
		put_anonymous(w, line);
	}
}

static void put_line(struct writer *w, const struct offer_line *line)
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
	struct offer_line line;

	while (offer_next_line(&lines, &line)) {
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
	struct offer_line first;

	if (offer_next_line(&rest, &first) && first.end.len == 1)
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
