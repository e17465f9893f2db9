/* Finds the session description in a body. A multipart is read strictly, because two readers that disagree on where a part
 * ends are two readers that disagree on where the media goes: every part needs its delimiter, the last one too, and header
 * fields are not folded. Pure. RFC 2046 section 5.1, RFC 5621. */
#include "sbc/mime.h"

#include "core/err.h"

enum { BOUNDARY_MAX = 70 };

struct part {
	struct span content_type;
	struct span disposition;
	struct span encoding;
	struct span content;
};

/* The value without its parameters. */
static struct span bare(struct span value)
{
	return span_trim(span_sub(value, 0, span_find(value, ';')));
}

static bool is_sdp(struct span content_type)
{
	return span_ieq(bare(content_type), SPAN_LIT("application/sdp"));
}

static bool is_multipart(struct span content_type)
{
	return span_istarts(span_trim(content_type), SPAN_LIT("multipart/"));
}

static bool contains(struct span text, struct span word)
{
	for (size_t i = 0; i + word.len <= text.len; i++)
		if (span_istarts(span_sub(text, i, text.len), word))
			return true;
	return false;
}

static bool is_boundary(struct span text)
{
	if (text.len == 0 || text.len > BOUNDARY_MAX || text.ptr[text.len - 1] == ' ')
		return false;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		bool is_alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');

		if (!is_alnum && (c == '\0' || strchr("'()+_,-./:=? ", c) == NULL))
			return false;
	}
	return true;
}

/* Cuts the next parameter "name=value" from *rest; a quoted value may hold semicolons. */
static struct span cut_parameter(struct span *rest)
{
	struct span all = *rest;
	bool is_quoted = false;
	size_t i;

	for (i = 0; i < all.len && (is_quoted || all.ptr[i] != ';'); i++)
		if (all.ptr[i] == '"')
			is_quoted = !is_quoted;
	*rest = span_sub(all, i + 1, all.len);
	return span_trim(span_sub(all, 0, i));
}

static int find_boundary(struct span content_type, struct span *ret)
{
	struct span rest = span_sub(content_type, span_find(content_type, ';') + 1, content_type.len);

	while (rest.len > 0) {
		struct span value = cut_parameter(&rest);
		struct span name = span_trim(span_cut(&value, '='));

		if (value.ptr == NULL || !span_ieq(name, SPAN_LIT("boundary")))
			continue;
		value = span_trim(value);
		if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"')
			value = span_sub(value, 1, value.len - 1);
		if (!is_boundary(value))
			return ERR_PARSE;
		*ret = value;
		return 0;
	}
	return ERR_PARSE;
}

struct delimiter {
	struct span line;  /* with the line end before it, which is part of it, and the one behind */
	bool is_last;
};

/* "--boundary" or "--boundary--" alone on the line `line`, which has no line end. */
static bool is_delimiter(struct span line, struct span boundary, bool *ret_is_last)
{
	struct span rest;

	if (!span_starts(line, SPAN_LIT("--")) || !span_starts(span_sub(line, 2, line.len), boundary))
		return false;
	rest = span_sub(line, 2 + boundary.len, line.len);
	*ret_is_last = span_starts(rest, SPAN_LIT("--"));
	if (*ret_is_last)
		rest = span_sub(rest, 2, rest.len);
	return span_trim(rest).len == 0;
}

/* The first delimiter in text, whose start must be the start of a line. 0 or ERR_PARSE: there is none. */
static int find_delimiter(struct span text, struct span boundary, struct delimiter *ret)
{
	size_t at = 0;

	while (at < text.len) {
		struct span rest = span_sub(text, at, text.len);
		size_t len = span_find(rest, '\n');
		size_t from = at;
		size_t to = at + len < text.len ? at + len + 1 : text.len;

		if (is_delimiter(span_sub(rest, 0, len), boundary, &ret->is_last)) {
			from -= from > 0;
			from -= from > 0 && text.ptr[from - 1] == '\r' && text.ptr[from] == '\n';
			ret->line = span_sub(text, from, to);
			return 0;
		}
		at = to;
	}
	return ERR_PARSE;
}

static int read_part_header(struct span line, struct part *part)
{
	static const struct span type = SPAN_LIT("Content-Type");
	static const struct span disposition = SPAN_LIT("Content-Disposition");
	static const struct span encoding = SPAN_LIT("Content-Transfer-Encoding");
	struct span value = line;
	struct span name = span_trim(span_cut(&value, ':'));
	struct span *slot;

	if (name.len == 0 || value.ptr == NULL || line.ptr[0] == ' ' || line.ptr[0] == '\t')
		return ERR_PARSE;
	if (span_ieq(name, type) || span_ieq(name, SPAN_LIT("c")))
		slot = &part->content_type;
	else if (span_ieq(name, disposition))
		slot = &part->disposition;
	else if (span_ieq(name, encoding))
		slot = &part->encoding;
	else
		return 0;
	if (slot->ptr != NULL)
		return ERR_PARSE;
	*slot = span_trim(value);
	return 0;
}

/* Header fields up to an empty line, then the content. A part without header fields begins with that empty line. */
static int read_part(struct span text, struct part *ret)
{
	struct part part = { 0 };

	for (unsigned n = 0;; n++) {
		struct span line = span_sub(text, 0, span_find(text, '\n'));
		int err;

		if (line.len == text.len || n > MIME_PART_HEADERS_MAX)
			return ERR_PARSE;
		text = span_sub(text, line.len + 1, text.len);
		if (span_trim(line).len == 0 && (line.len == 0 || line.ptr[0] == '\r'))
			break;
		err = read_part_header(line, &part);
		if (err < 0)
			return err;
	}
	part.content = text;
	*ret = part;
	return 0;
}

/* 1: this is the session description, 0: something else, or an error. */
static int judge_part(const struct part *part)
{
	if (is_multipart(part->content_type))
		return contains(part->content, SPAN_LIT("application/sdp")) ? ERR_UNSUPPORTED : 0;
	if (!is_sdp(part->content_type))
		return 0;
	if (part->disposition.ptr != NULL && !span_ieq(bare(part->disposition), SPAN_LIT("session")))
		return ERR_UNSUPPORTED;
	if (part->encoding.ptr != NULL && !span_ieq(part->encoding, SPAN_LIT("binary")) &&
	    !span_ieq(part->encoding, SPAN_LIT("8bit")) && !span_ieq(part->encoding, SPAN_LIT("7bit")))
		return ERR_UNSUPPORTED;
	return 1;
}

static int find_in_multipart(struct span boundary, struct span body, struct mime_part *part_out)
{
	struct span rest = body;
	struct delimiter delimiter;
	int err = find_delimiter(rest, boundary, &delimiter);

	for (unsigned n = 0; err == 0 && !delimiter.is_last; n++) {
		struct span text;
		struct part part;

		if (n == MIME_PARTS_MAX)
			return ERR_PARSE;
		rest.len -= (size_t)(delimiter.line.ptr + delimiter.line.len - rest.ptr);
		rest.ptr = delimiter.line.ptr + delimiter.line.len;
		err = find_delimiter(rest, boundary, &delimiter);
		if (err < 0)
			return err;
		text = (struct span){ rest.ptr, (size_t)(delimiter.line.ptr - rest.ptr) };
		err = read_part(text, &part);
		if (err == 0)
			err = judge_part(&part);
		if (err <= 0)
			continue;
		if (part_out->sdp.ptr != NULL)
			return ERR_UNSUPPORTED;
		part_out->sdp = part.content;
		err = 0;
	}
	return err;
}

int mime_find_sdp(struct span content_type, struct span body, struct mime_part *ret)
{
	struct mime_part part = { 0 };
	struct span boundary;
	int err;

	if (is_sdp(content_type)) {
		if (body.len > 0)
			part.sdp = body;
	} else if (is_multipart(content_type)) {
		err = find_boundary(content_type, &boundary);
		if (err == 0)
			err = find_in_multipart(boundary, body, &part);
		if (err < 0)
			return err;
	}
	if (part.sdp.ptr != NULL) {
		part.before = span_sub(body, 0, (size_t)(part.sdp.ptr - body.ptr));
		part.after = span_sub(body, part.before.len + part.sdp.len, body.len);
	}
	*ret = part;
	return 0;
}
