/* FTP as an ALG: the module, and the cutting of lines. A line is the unit: every command is one, every reply is made
 * of some. What is longer than FTP_LINE_MAX is judged by its beginning and passed in parts. Telnet that stands
 * before a line is taken by itself. Pure; control thread. RFC 959, 1123, 2428, 4217, 6384; docs/internals/ftp.md. */
#include "algs/ftp/ftp.h"

#include "algs/ftp/ftp_inside.h"
#include "algs/ftp/ftp_telnet.h"
#include "core/err.h"

/* ---- the line at hand -------------------------------------------------------------------------------------------- */

int ftp_line_replace(struct ftp_state *state, struct ftp_line *line, struct span with)
{
	int err;

	if (line->is_long || line->is_replaced)
		return ERR_LIMIT;
	err = state->host->edit(state->session, 0, line->raw.len, ftp_bytes(with));
	line->is_replaced |= err == 0;
	return err;
}

/* Places in a copy are none of the original: all of it is written anew. */
static int edit_stripped(struct ftp_state *state, struct ftp_line *line, size_t at, size_t len, struct span with)
{
	SCRATCH char text[2 * FTP_LINE_MAX];
	struct buf out = buf_of(text, sizeof(text));

	ftp_telnet_escape(span_sub(line->text, 0, at), &out);
	buf_put(&out, with);
	ftp_telnet_escape(span_sub(line->text, at + len, line->text.len), &out);
	buf_puts(&out, "\r\n");
	return out.is_full ? ERR_LIMIT : ftp_line_replace(state, line, buf_span(&out));
}

int ftp_line_edit(struct ftp_state *state, struct ftp_line *line, size_t at, size_t len, struct span with)
{
	if (line->is_long || line->is_replaced)
		return ERR_LIMIT;
	if (line->is_stripped)
		return edit_stripped(state, line, at, len, with);
	return state->host->edit(state->session, at, len, ftp_bytes(with));
}

struct alg_result ftp_line_pass(const struct ftp_line *line)
{
	return (struct alg_result){ .verdict = ALG_PASS, .consumed = line->raw.len };
}

struct alg_result ftp_line_drop(const struct ftp_line *line)
{
	return (struct alg_result){ .verdict = ALG_DROP, .consumed = line->raw.len };
}

int ftp_keep_path(struct ftp_text_path *to, struct span path)
{
	struct buf out = buf_of(to->data, sizeof(to->data));

	for (size_t i = 0; i < path.len; i++)
		if (path.ptr[i] != '\0')
			buf_putc(&out, path.ptr[i]);
	to->len = out.len;
	return out.is_full ? ERR_LIMIT : 0;
}

/* ---- Telnet ------------------------------------------------------------------------------------------------------ */

/* The two ends may agree on options when they really talk to each other; else each is told no. */
static void refuse_option(struct ftp_state *state, enum alg_side from, struct span option)
{
	char answer[FTP_TELNET_ANSWER_MAX];
	size_t len = ftp_telnet_answer(option, answer);

	if (len > 0)
		(void)state->host->reply(state->session, from, (struct alg_bytes){ answer, len });
}

/* A sequence in front of a line. False: there is none, the line is to be read. */
static bool take_telnet(struct ftp_state *state, enum alg_side from, struct span bytes, bool is_end,
			struct alg_result *ret)
{
	bool is_translated = state->about->is_translated;
	size_t len;
	enum ftp_telnet kind = ftp_telnet_next(bytes, &len);

	switch (kind) {
	case FTP_TELNET_NONE:
	case FTP_TELNET_ESCAPE:
		return false;
	case FTP_TELNET_PART:
		if (is_end || bytes.len >= FTP_LINE_MAX)
			return false;
		*ret = (struct alg_result){ .verdict = ALG_NEED };
		return true;
	case FTP_TELNET_OPTION:
		if (is_translated)
			refuse_option(state, from, bytes);
		break;
	case FTP_TELNET_COMMAND:
		is_translated = false;
		break;
	case FTP_TELNET_SUB:
		break;
	}
	*ret = (struct alg_result){ .verdict = is_translated ? ALG_DROP : ALG_PASS, .consumed = len };
	return true;
}

/* Options inside of a line that passes. */
static void take_options(struct ftp_state *state, enum alg_side from, const struct ftp_line *line)
{
	size_t len;

	for (size_t at = 0; at < line->raw.len; at += len) {
		struct span rest = span_sub(line->raw, at, line->raw.len);
		enum ftp_telnet kind = ftp_telnet_next(rest, &len);

		if (kind != FTP_TELNET_OPTION && kind != FTP_TELNET_SUB)
			continue;
		if (!line->is_replaced && state->host->edit(state->session, at, len, (struct alg_bytes){ NULL, 0 }) < 0)
			return;
		if (kind == FTP_TELNET_OPTION)
			refuse_option(state, from, rest);
	}
}

/* ---- cutting lines ----------------------------------------------------------------------------------------------- */

/* A line's rest goes the way of its beginning. */
static struct alg_result take_rest(struct ftp_side *side, struct span bytes)
{
	size_t end = span_find(bytes, '\n');

	side->is_long = end == bytes.len;
	return (struct alg_result){ .verdict = side->is_long_dropped ? ALG_DROP : ALG_PASS,
				    .consumed = end < bytes.len ? end + 1 : bytes.len };
}

static struct span without_end(struct span raw)
{
	if (raw.len > 0 && raw.ptr[raw.len - 1] == '\n')
		raw.len--;
	while (raw.len > 0 && raw.ptr[raw.len - 1] == '\r')
		raw.len--;
	return raw;
}

static struct alg_result judge(struct ftp_state *state, enum alg_side from, struct ftp_line *line)
{
	SCRATCH char stripped[FTP_LINE_MAX];
	struct buf out = buf_of(stripped, sizeof(stripped));
	struct alg_result result;

	line->text = without_end(line->raw);
	line->is_stripped = ftp_telnet_is_in(line->text);
	if (line->is_stripped) {
		ftp_telnet_strip(line->text, &out);
		line->text = buf_span(&out);
	}
	result = from == ALG_CLIENT ? ftp_client_line(state, line) : ftp_server_line(state, line);
	if (line->is_stripped && result.verdict == ALG_PASS && state->about->is_translated && !line->is_long)
		take_options(state, from, line);
	return result;
}

static struct alg_result take_line(struct ftp_state *state, enum alg_side from, struct span bytes, bool is_end)
{
	struct ftp_side *side = &state->sides[from];
	struct span window = span_sub(bytes, 0, FTP_LINE_MAX);
	size_t end = span_find(window, '\n');
	struct ftp_line line = { .raw = span_sub(window, 0, end + 1), .is_long = end == FTP_LINE_MAX };
	struct alg_result result;

	if (end == window.len && !line.is_long && !is_end)
		return (struct alg_result){ .verdict = ALG_NEED };
	result = judge(state, from, &line);
	if (line.is_long && (result.verdict == ALG_PASS || result.verdict == ALG_DROP)) {
		side->is_long = true;
		side->is_long_dropped = result.verdict == ALG_DROP;
	}
	return result;
}

static struct alg_result ftp_take(void *memory, enum alg_side from, struct alg_bytes given, bool is_end)
{
	struct ftp_state *state = memory;
	struct span bytes = { given.ptr, given.len };
	struct alg_result result;

	if (state->is_encrypted || bytes.len == 0)
		return (struct alg_result){ .verdict = ALG_NEED };
	if (state->sides[from].is_long)
		return take_rest(&state->sides[from], bytes);
	if (take_telnet(state, from, bytes, is_end, &result))
		return result;
	return take_line(state, from, bytes, is_end);
}

/* ---- the module -------------------------------------------------------------------------------------------------- */

static void ftp_open(void *memory, const struct alg_about *about, const struct alg_host *host,
		     struct alg_session *session)
{
	struct ftp_state *state = memory;

	state->about = about;
	state->host = host;
	state->session = session;
	/* Where TLS begins with the connection, data is encrypted unless PROT says otherwise. */
	state->protection.is_on = state->protection.is_private = about->is_tls;
	(void)ftp_queue_push(state, FTP_GREETING, 0);
}

static void ftp_close(void *memory)
{
	ftp_transfer_close(memory);
}

static void ftp_event(void *memory, const struct alg_event *event)
{
	struct ftp_state *state = memory;

	if (!ftp_tls_event(state, event))
		ftp_transfer_event(state, event);
}

static const struct alg_class classes[FTP_CLASSES] = {
	/* One that is used, one that waits, one that is being agreed on, and one that drains. */
	[FTP_CLASS_DATA] = { .name = "data", .kind = ALG_HOLE_TCP, .max = 4, .reserved_ms = 60000, .armed_ms = 60000 },
	/* One more than there are ports: the one that has just ended still counts while its successor is made. */
	[FTP_CLASS_TLS] = { .name = "tls-data", .kind = ALG_HOLE_TCP, .max = FTP_TLS_PORTS_MAX + 1,
			    .reserved_ms = 60000, .armed_ms = 3600000 },
};

const struct alg_module ftp_module = {
	.magic = ALG_MAGIC,
	.abi_major = ALG_ABI_MAJOR,
	.abi_minor = ALG_ABI_MINOR,
	.size = sizeof(struct alg_module),
	.name = "ftp",
	.version = "1",
	.default_port = 21,
	.classes = classes,
	.n_classes = FTP_CLASSES,
	.verbs = ftp_verbs,
	.message_max = FTP_LINE_MAX,
	.state_size = sizeof(struct ftp_state),
	.open = ftp_open,
	.close = ftp_close,
	.bytes = ftp_take,
	.event = ftp_event,
};
