/* Addresses in header fields and session descriptions, where one side writes what only the other side of the gateway
 * can reach: the two ends of the control channel, as literals. Names, relative URLs and everybody else's addresses
 * stay. What is in Transport is rtsp_setup.c's; credentials are nobody's, nor is a request line that they sign. */
#include "algs/rtsp/rtsp.h"

/* ---- what becomes of an address ---------------------------------------------------------------------------------- */

struct pair {
	const struct alg_addr *is, *becomes;
};

/* As the writer sees them, and as the reader has to: [0] the reader's peer (URLs of the server), [1] the reader itself.
 * */
static void pairs_of(const struct rtsp_job *job, struct pair *ret)
{
	const struct alg_about *about = job->s->about;

	if (job->from == ALG_SERVER) {
		ret[0] = (struct pair){ &about->server, &about->client_sees };
		ret[1] = (struct pair){ &about->server_sees, &about->client };
	} else {
		ret[0] = (struct pair){ &about->client_sees, &about->server };
		ret[1] = (struct pair){ &about->client, &about->server_sees };
	}
}

/* NULL: it stays. */
static const struct alg_addr *map_ip(const struct rtsp_job *job, const struct alg_addr *addr)
{
	struct pair pairs[2];

	pairs_of(job, pairs);
	for (unsigned i = 0; i < 2; i++)
		if (rtsp_ip_eq(addr, pairs[i].is))
			return rtsp_ip_eq(pairs[i].is, pairs[i].becomes) ? NULL : pairs[i].becomes;
	return NULL;
}

/* ---- URLs -------------------------------------------------------------------------------------------------------- */

/* "host[:port]" of an absolute URL of RTSP, where it stands; empty: it is none. */
static struct span authority_of(struct span url, uint16_t *ret_default_port)
{
	static const struct {
		struct span prefix;
		uint16_t port;
	} schemes[] = { { SPAN_LIT("rtsp://"), 554 }, { SPAN_LIT("rtspu://"), 554 }, { SPAN_LIT("rtsps://"), 322 } };

	unsigned i = 0;
	struct span rest;
	size_t len = 0, at;

	while (i < sizeof(schemes) / sizeof(schemes[0]) && !span_istarts(url, schemes[i].prefix))
		i++;
	if (i == sizeof(schemes) / sizeof(schemes[0]))
		return SPAN_NONE;
	rest = span_sub(url, schemes[i].prefix.len, url.len);
	while (len < rest.len && strchr("/?#;,\"<> \t\r\n", rest.ptr[len]) == NULL)
		len++;
	at = len;
	while (at > 0 && rest.ptr[at - 1] != '@') /* user information goes before it */
		at--;
	*ret_default_port = schemes[i].port;
	return span_sub(rest, at, len);
}

/* Host and port where they stand: "192.0.2.1:8554", "[2001:db8::1]". False: no literal. */
static bool read_authority(struct span authority, struct alg_addr *ret)
{
	size_t end = authority.len > 0 && authority.ptr[0] == '[' ? span_find(authority, ']') + 1 : span_find(authority, ':');
	struct span port = span_sub(authority, end, authority.len);
	uint32_t number = 0;

	if (!rtsp_ip_parse(span_sub(authority, 0, end), ret))
		return false;
	if (port.len > 0 && (port.ptr[0] != ':' || span_to_u32(span_sub(port, 1, port.len), UINT16_MAX, &number) < 0))
		return false;
	ret->port = (uint16_t)number;
	return true;
}

static void rewrite_url(struct rtsp_job *job, struct span url)
{
	uint16_t default_port = 0;
	struct span authority = authority_of(url, &default_port);
	struct pair pairs[2];
	struct alg_addr addr;
	char text[64];
	struct buf b = buf_of(text, sizeof(text));
	bool has_port;

	pairs_of(job, pairs);
	if (authority.len == 0 || !read_authority(authority, &addr))
		return;
	has_port = addr.port != 0;
	if (!has_port)
		addr.port = default_port;
	/* Another port of the same host is another service, which is not behind our listener. */
	if (!rtsp_ip_eq(&addr, pairs[0].is) || addr.port != pairs[0].is->port ||
	    (rtsp_ip_eq(pairs[0].is, pairs[0].becomes) && pairs[0].is->port == pairs[0].becomes->port))
		return;
	rtsp_put_ip(&b, pairs[0].becomes, true);
	if (has_port || pairs[0].becomes->port != default_port) {
		buf_putc(&b, ':');
		buf_u64(&b, pairs[0].becomes->port);
	}
	rtsp_edit(&job->edits, authority, buf_span(&b));
}

/* "url=rtsp://...;seq=1, url=\"rtsp://...\" ssrc=..." (RFC 2326 12.33, RFC 7826 18.45). */
static void rewrite_rtp_info(struct rtsp_job *job, struct span value)
{
	static const struct span key = SPAN_LIT("url=");

	for (size_t at = 0; at + key.len < value.len; at++) {
		bool is_start = at == 0 || strchr(",; \t\r\n", value.ptr[at - 1]) != NULL;
		struct span url = span_sub(value, at + key.len, value.len);

		if (!is_start || !span_istarts(span_sub(value, at, value.len), key))
			continue;
		rewrite_url(job, url.ptr[0] == '"' ? span_sub(url, 1, url.len) : url);
		at += key.len - 1;
	}
}

static void rewrite_headers(struct rtsp_job *job)
{
	static const struct span urls[] = { SPAN_LIT("Content-Base"), SPAN_LIT("Content-Location"), SPAN_LIT("Location") };

	for (unsigned i = 0; i < job->message.n_headers; i++) {
		const struct rtsp_header *header = &job->message.headers[i];

		for (unsigned k = 0; k < sizeof(urls) / sizeof(urls[0]); k++)
			if (span_ieq(header->name, urls[k]))
				rewrite_url(job, header->value);
		if (span_ieq(header->name, SPAN_LIT("RTP-Info")))
			rewrite_rtp_info(job, header->value);
	}
}

/* ---- session descriptions ---------------------------------------------------------------------------------------- */

/* The address at the end of "IN IP4 192.0.2.1", of c= or o=. Multicast has a slash; 0.0.0.0 is nobody's. */
static void rewrite_ip(struct rtsp_job *job, struct span value)
{
	size_t start = value.len, type_at;
	const struct alg_addr *becomes;
	struct alg_addr addr;
	struct span token, type;
	char text[64];
	struct buf b = buf_of(text, sizeof(text));

	while (start > 0 && value.ptr[start - 1] != ' ')
		start--;
	token = span_sub(value, start, value.len);
	if (start < 4 || !rtsp_ip_parse(token, &addr))
		return;
	type_at = start - 4;
	type = span_sub(value, type_at, start - 1);
	becomes = map_ip(job, &addr);
	if (becomes == NULL || (!span_ieq(type, SPAN_LIT("IP4")) && !span_ieq(type, SPAN_LIT("IP6"))))
		return;
	buf_puts(&b, becomes->family == 4 ? "IP4 " : "IP6 ");
	rtsp_put_ip(&b, becomes, false);
	rtsp_edit(&job->edits, span_sub(value, type_at, value.len), buf_span(&b));
}

static void rewrite_line(struct rtsp_job *job, struct span line)
{
	static const struct span control = SPAN_LIT("a=control:");

	if (span_starts(line, SPAN_LIT("c=")) || span_starts(line, SPAN_LIT("o=")))
		rewrite_ip(job, span_trim(span_sub(line, 2, line.len)));
	else if (span_istarts(line, control))
		rewrite_url(job, span_trim(span_sub(line, control.len, line.len)));
}

/* A body that is signed, packed, not whole, or whose length stands there twice is not touched. */
static bool may_edit_body(const struct rtsp_message *m)
{
	struct span type = rtsp_header_value(m, "Content-Type");
	struct span credentials = rtsp_header_value(m, "Authorization");

	if (m->n_lengths != 1 || m->body.len != m->length || rtsp_header_value(m, "Content-Encoding").ptr != NULL)
		return false;
	for (size_t i = 0; i < credentials.len; i++)
		if (span_istarts(span_sub(credentials, i, credentials.len), SPAN_LIT("auth-int")))
			return false;
	return span_ieq(span_trim(span_sub(type, 0, span_find(type, ';'))), SPAN_LIT("application/sdp"));
}

/* One value changes with the body; its width is kept when the sender padded it. */
static void fix_length(struct rtsp_job *job, unsigned first_edit)
{
	struct span old = job->message.length_text;
	uint64_t length = job->message.length;
	char digits[32];
	struct buf number = buf_of(digits, sizeof(digits));
	char text[64];
	struct buf padded = buf_of(text, sizeof(text));

	for (unsigned i = first_edit; i < job->edits.n; i++)
		length += job->edits.list[i].text_len - job->edits.list[i].at.len;
	buf_u64(&number, length);
	if (old.len > 1 && old.ptr[0] == '0' && old.len < sizeof(text))
		for (size_t i = number.len; i < old.len; i++)
			buf_putc(&padded, '0');
	buf_put(&padded, buf_span(&number));
	if (length != job->message.length)
		rtsp_edit(&job->edits, old, buf_span(&padded));
}

static void rewrite_body(struct rtsp_job *job)
{
	struct span rest = job->message.body;
	unsigned first_edit = job->edits.n;

	if (!may_edit_body(&job->message))
		return;
	while (rest.ptr != NULL && rest.len > 0)
		rewrite_line(job, span_trim(span_cut(&rest, '\n')));
	fix_length(job, first_edit);
}

/* The address of the server, to which the client is to bring its POST. */
void rtsp_rewrite_http(struct rtsp_job *job)
{
	struct span value = rtsp_header_value(&job->message, "x-server-ip-address");
	const struct alg_addr *becomes;
	struct alg_addr addr;
	char text[64];
	struct buf b = buf_of(text, sizeof(text));

	if (!job->s->about->is_translated || !rtsp_ip_parse(value, &addr))
		return;
	becomes = map_ip(job, &addr);
	if (becomes == NULL)
		return;
	rtsp_put_ip(&b, becomes, value.ptr[0] == '[');
	rtsp_edit(&job->edits, value, buf_span(&b));
}

/* Digest signs the URL of the request, as the client knows it; Basic and none do not. */
static bool may_edit_url(const struct rtsp_message *m)
{
	struct span rest = rtsp_header_value(m, "Authorization");

	return m->kind == RTSP_REQUEST && (rest.ptr == NULL || span_ieq(span_cut(&rest, ' '), SPAN_LIT("Basic")));
}

void rtsp_rewrite(struct rtsp_job *job)
{
	if (!job->s->about->is_translated)
		return;
	if (may_edit_url(&job->message))
		rewrite_url(job, job->message.url);
	rewrite_headers(job);
	rewrite_body(job);
}

bool rtsp_rewrite_apply(struct rtsp_job *job)
{
	struct rtsp *s = job->s;

	for (unsigned i = 0; i < job->edits.n; i++) {
		const struct rtsp_edit *e = &job->edits.list[i];
		struct alg_bytes with = { job->edits.text + e->text_at, e->text_len };

		if (s->host->edit(s->session, (size_t)(e->at.ptr - job->bytes.ptr), e->at.len, with) < 0)
			return false;
	}
	return true;
}
