/* Framing of RTSP. One rule for line ends: RFC 2326 section 4 lets a receiver take LF alone for one, and a receiver
 * that does not would see other lines; so a message uses one or the other throughout, and a CR inside a line is
 * refused. The same goes for all that two readers may take for two different lengths. Keeps no state: a message is read
 * again until it is whole. */
#include "algs/rtsp/rtsp_message.h"

#include "core/err.h"

enum { FRAME_HEAD = 4 };

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_token_char(char c)
{
	return c > ' ' && c < 0x7f && strchr("()<>@,;:\\\"/[]?={}", c) == NULL;
}

bool rtsp_is_token(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (!is_token_char(text.ptr[i]))
			return false;
	return text.len > 0;
}

/* ---- what is not text -------------------------------------------------------------------------------------------- */

/* All whole frames there are: a stream of them costs one call, not one each. */
static int read_frames(struct span in, struct rtsp_message *ret, size_t *ret_need)
{
	size_t at = 0, missing = 0;

	while (at < in.len && in.ptr[at] == '$') {
		size_t left = in.len - at, len = FRAME_HEAD;

		if (left >= FRAME_HEAD)
			len += (size_t)(uint8_t)in.ptr[at + 2] << 8 | (uint8_t)in.ptr[at + 3];
		if (left < len) {
			missing = len - left;
			break;
		}
		if (at + len > RTSP_MESSAGE_MAX)
			break;
		at += len;
	}
	if (at == 0) {
		*ret_need = missing;
		return 0;
	}
	*ret = (struct rtsp_message){ .kind = RTSP_FRAMES, .head = span_sub(in, 0, at) };
	return 1;
}

static int read_blank(struct span in, struct rtsp_message *ret, size_t *ret_need)
{
	size_t at = 0;

	while (at < in.len && (in.ptr[at] == '\n' || (in.ptr[at] == '\r' && at + 1 < in.len && in.ptr[at + 1] == '\n')))
		at += in.ptr[at] == '\n' ? 1 : 2;
	if (at == 0) { /* a CR and nothing yet, or something else */
		*ret_need = 1;
		return in.len == 1 ? 0 : ERR_PARSE;
	}
	*ret = (struct rtsp_message){ .kind = RTSP_BLANK, .head = span_sub(in, 0, at) };
	return 1;
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

struct reader {
	struct span in;
	size_t at;
	bool is_lf;               /* lines end with LF alone; decided by the first one */
	bool has_header;          /* a line behind the start line was read */
	struct rtsp_header *last; /* the field that a continuation belongs to; NULL: the line before it is none, or was left out */
};

/* The next line without its end. 1, 0 when it is not whole yet, ERR_PARSE. */
static int next_line(struct reader *r, struct span *ret)
{
	struct span rest = span_sub(r->in, r->at, r->in.len);
	size_t len = span_find(rest, '\n');
	bool is_lf;

	if (r->at + len >= RTSP_HEAD_MAX)
		return ERR_PARSE;
	if (len == rest.len)
		return 0;
	is_lf = len == 0 || rest.ptr[len - 1] != '\r';
	if (r->at == 0)
		r->is_lf = is_lf;
	if (is_lf != r->is_lf)
		return ERR_PARSE;
	*ret = span_sub(rest, 0, is_lf ? len : len - 1);
	if (memchr(ret->ptr, '\r', ret->len) != NULL || memchr(ret->ptr, '\0', ret->len) != NULL)
		return ERR_PARSE;
	r->at += len + 1;
	return 1;
}

/* Cuts a word that SP or HT ends from *rest. */
static struct span next_word(struct span *rest)
{
	struct span word;
	size_t len = 0;

	*rest = span_trim(*rest);
	while (len < rest->len && !is_blank(rest->ptr[len]))
		len++;
	word = span_sub(*rest, 0, len);
	*rest = span_sub(*rest, len, rest->len);
	return word;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "RTSP/1.0" or with HTTP. */
static bool read_version(struct span word, const char *protocol, unsigned *ret_major)
{
	struct span name = span_of(protocol);

	if (word.len != name.len + 4 || !span_istarts(word, name) || word.ptr[name.len] != '/' || word.ptr[name.len + 2] != '.' ||
	    !is_digit(word.ptr[name.len + 1]) || !is_digit(word.ptr[name.len + 3]))
		return false;
	*ret_major = (unsigned)(word.ptr[name.len + 1] - '0');
	return true;
}

static int read_status_line(struct span version, struct span rest, struct rtsp_message *ret)
{
	struct span code = next_word(&rest);
	uint32_t status;

	if (code.len != 3 || span_to_u32(code, 999, &status) < 0 || status < 100)
		return ERR_PARSE;
	if (read_version(version, "RTSP", &ret->major))
		ret->kind = RTSP_RESPONSE;
	else if (read_version(version, "HTTP", &ret->major))
		ret->kind = RTSP_HTTP;
	else
		return ERR_PARSE;
	ret->status = status;
	return 0;
}

static int read_start_line(struct span line, struct rtsp_message *ret)
{
	struct span rest = line;
	struct span first = next_word(&rest), url, version;

	if (span_find(first, '/') < first.len)
		return read_status_line(first, rest, ret);
	url = next_word(&rest);
	version = next_word(&rest);
	if (!rtsp_is_token(first) || url.len == 0 || next_word(&rest).len > 0)
		return ERR_PARSE;
	if (read_version(version, "RTSP", &ret->major))
		ret->kind = RTSP_REQUEST;
	else if (read_version(version, "HTTP", &ret->major))
		ret->kind = RTSP_HTTP;
	else
		return ERR_PARSE;
	ret->method = first;
	ret->url = url;
	return 0;
}

/* ---- header fields ----------------------------------------------------------------------------------------------- */

static bool decides_length(struct span name)
{
	return span_ieq(name, SPAN_LIT("Content-Length")) || span_ieq(name, SPAN_LIT("Transfer-Encoding"));
}

/* A continuation belongs to the field before it. One behind the start line belongs to nothing. */
static int fold(struct span line, const struct reader *r)
{
	struct rtsp_header *header = r->last;

	if (!r->has_header)
		return ERR_PARSE;
	if (header == NULL)
		return 0;
	header->line.len = (size_t)(r->in.ptr + r->at - header->line.ptr);
	header->value = span_trim((struct span){ header->value.ptr, (size_t)(line.ptr + line.len - header->value.ptr) });
	return 0;
}

static int read_field(struct span line, struct reader *r, struct rtsp_message *ret)
{
	size_t colon = span_find(line, ':');
	struct span name = span_sub(line, 0, colon);

	r->has_header = true;
	r->last = NULL;
	if (colon == line.len || !rtsp_is_token(name)) {
		ret->is_odd = true; /* "Content-Length : 5" counts for some and not for others */
		return decides_length(span_trim(name)) ? ERR_PARSE : 0;
	}
	if (ret->n_headers == RTSP_HEADERS_MAX) {
		ret->has_too_many = ret->is_odd = true;
		return decides_length(name) ? ERR_PARSE : 0;
	}
	r->last = &ret->headers[ret->n_headers++];
	*r->last = (struct rtsp_header){
		.name = name,
		.value = span_trim(span_sub(line, colon + 1, line.len)),
		.line = { line.ptr, (size_t)(r->in.ptr + r->at - line.ptr) },
	};
	return 0;
}

static int read_header(struct span line, struct reader *r, struct rtsp_message *ret)
{
	return line.ptr[0] == ' ' || line.ptr[0] == '\t' ? fold(line, r) : read_field(line, r, ret);
}

/* Digits alone, and what fits 64 bits: a length that wraps around makes a message out of a body. */
static int read_u64(struct span text, uint64_t *ret)
{
	uint64_t value = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (!is_digit(text.ptr[i]) || value > (UINT64_MAX - 9) / 10)
			return ERR_PARSE;
		value = value * 10 + (uint64_t)(text.ptr[i] - '0');
	}
	*ret = value;
	return text.len > 0 ? 0 : ERR_PARSE;
}

static int read_length(struct rtsp_message *ret)
{
	for (unsigned i = 0; i < ret->n_headers; i++) {
		const struct rtsp_header *header = &ret->headers[i];
		uint64_t length;

		if (!decides_length(header->name))
			continue;
		if (span_ieq(header->name, SPAN_LIT("Transfer-Encoding"))) /* RTSP has none, HTTP libraries do */
			return ERR_PARSE;
		if (read_u64(header->value, &length) < 0 || (ret->n_lengths > 0 && length != ret->length))
			return ERR_PARSE;
		if (ret->n_lengths++ == 0)
			ret->length_text = header->value;
		ret->length = length;
	}
	return 0;
}

static int read_text(struct span in, struct rtsp_message *ret, size_t *ret_need)
{
	struct reader r = { .in = in };
	struct span line;
	int err;

	*ret_need = 0;
	if (!is_token_char(in.ptr[0]))
		return ERR_PARSE;
	memset(ret, 0, sizeof(*ret));
	for (;;) {
		bool is_first = r.at == 0;

		err = next_line(&r, &line);
		if (err <= 0)
			return err;
		if (line.len == 0)
			break;
		err = is_first ? read_start_line(line, ret) : read_header(line, &r, ret);
		if (err < 0)
			return err;
	}
	ret->head = span_sub(in, 0, r.at);
	if (ret->kind == RTSP_HTTP) {
		if (read_length(ret) < 0 || ret->n_lengths == 0)
			ret->length = UINT64_MAX;
		return 1;
	}
	if (read_length(ret) < 0)
		return ERR_PARSE;
	ret->body = span_sub(in, r.at, ret->length < in.len - r.at ? r.at + (size_t)ret->length : in.len);
	return 1;
}

int rtsp_message_read(struct span in, struct rtsp_message *ret, size_t *ret_need)
{
	*ret_need = 0;
	if (in.len == 0)
		return 0;
	if (in.ptr[0] == '$')
		return read_frames(in, ret, ret_need);
	if (in.ptr[0] == '\r' || in.ptr[0] == '\n')
		return read_blank(in, ret, ret_need);
	return read_text(in, ret, ret_need);
}

const struct rtsp_header *rtsp_header_next(const struct rtsp_message *message, const char *name, unsigned *at)
{
	struct span wanted = span_of(name);

	while (*at < message->n_headers) {
		const struct rtsp_header *header = &message->headers[(*at)++];

		if (span_ieq(header->name, wanted))
			return header;
	}
	return NULL;
}

struct span rtsp_header_value(const struct rtsp_message *message, const char *name)
{
	unsigned at = 0;
	const struct rtsp_header *header = rtsp_header_next(message, name, &at);

	return header != NULL ? header->value : SPAN_NONE;
}

/* ---- lists ------------------------------------------------------------------------------------------------------- */

/* Behind the string that begins at `at` with a quotation mark; the end of the text when it does not end. */
static size_t skip_quoted(struct span text, size_t at)
{
	for (at++; at < text.len && text.ptr[at] != '"'; at++)
		if (text.ptr[at] == '\\' && at + 1 < text.len)
			at++;
	return at < text.len ? at + 1 : text.len;
}

bool rtsp_list_next(struct span *list, char separator, struct span *ret)
{
	size_t at = 0;

	if (list->ptr == NULL)
		return false;
	while (at < list->len && list->ptr[at] != separator)
		at = list->ptr[at] == '"' ? skip_quoted(*list, at) : at + 1;
	*ret = span_trim(span_sub(*list, 0, at));
	*list = at < list->len ? span_sub(*list, at + 1, list->len) : SPAN_NONE;
	return true;
}

struct span rtsp_unquote(struct span text)
{
	text = span_trim(text);
	if (text.len >= 2 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"')
		return span_sub(text, 1, text.len - 1);
	return text;
}
