/* Rows of live calls as JSON. One table of members serves the writer and the reader, so that they cannot disagree. The only file
 * of sbc/ that uses jansson: the parser that reads the API's bodies, with its limits, is better than another one. */
#include "sbc/call_row.h"

#include <jansson.h>

#include "core/err.h"
#include "core/id.h"
#include "core/json_text.h"
#include "sbc/call_live.h"
#include "sbc/guard.h"
#include "sbc/sip_char.h"
#include "sbc/sip_uri.h"

#define LARGEST ((uint64_t)INT64_MAX)

enum { NAME_MAX_LEN = 64, PARTY_MAX_LEN = 480, LINE_MAX_LEN = 512, STEP_MAX_LEN = 256,
       CSEQ_MAX = INT32_MAX - 10 * CALL_CSEQ_GAP };

struct reader {
	struct arena *arena;
	const char *why;
};

typedef bool check_fn(struct span text);

enum member_type { TEXT, NUMBER, ADDRESS, ROUTES };

struct member {
	const char *name;
	enum member_type type;
	size_t offset;
	uint64_t max;      /* of a NUMBER, or the length of a TEXT */
	check_fn *check;   /* of a TEXT that is not empty */
	bool is_required;  /* else absent means empty, 0, no address */
};

/* ---- what texts may be ----------------------------------------------------------------------------------------------------- */

static bool is_line(struct span text) /* nothing that could begin another header line */
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] == '\r' || text.ptr[i] == '\n')
			return false;
	return true;
}

static bool is_visible(struct span text)
{
	return sip_char_run(text, 0, CHAR_VISIBLE) == text.len;
}

static bool is_token(struct span text)
{
	return sip_char_run(text, 0, CHAR_TOKEN) == text.len;
}

static bool is_party(struct span text)
{
	struct sip_name_addr party;

	return is_line(text) && sip_name_addr_parse(text, &party) == 0 && span_is_empty(party.params) &&
	       text.ptr[text.len - 1] == '>';
}

static bool is_uri(struct span text)
{
	struct sip_uri uri;
	int err = sip_uri_parse(text, &uri);

	return is_visible(text) && (err == 0 || err == ERR_UNSUPPORTED);
}

/* ---- members --------------------------------------------------------------------------------------------------------------- */

#define LEG(name, type, member, ...) { name, type, offsetof(struct call_row_leg, member), __VA_ARGS__ }
static const struct member leg_members[] = {
	LEG("realm", TEXT, realm, NAME_MAX_LEN, is_visible, true),
	LEG("peer", TEXT, peer, NAME_MAX_LEN, is_visible, false),
	LEG("call_id", TEXT, call_id, GUARD_CALL_ID_MAX, is_visible, true),
	LEG("local_tag", TEXT, local_tag, ID_TEXT_MAX - 1, is_token, true),
	LEG("remote_tag", TEXT, remote_tag, GUARD_TAG_MAX, is_token, false),
	LEG("local", TEXT, local, PARTY_MAX_LEN, is_party, true),
	LEG("remote", TEXT, remote, PARTY_MAX_LEN, is_party, true),
	LEG("request_uri", TEXT, request_uri, GUARD_URI_MAX, is_uri, false),
	LEG("target", TEXT, target, GUARD_URI_MAX, is_uri, true),
	LEG("strict_target", TEXT, strict_target, GUARD_URI_MAX, is_uri, false),
	LEG("routes", ROUTES, routes, 0, NULL, false),
	LEG("user_agent", TEXT, user_agent, LINE_MAX_LEN, is_line, false),
	LEG("at", ADDRESS, at, 0, NULL, true),
	LEG("to", ADDRESS, to, 0, NULL, true),
	LEG("source", ADDRESS, source, 0, NULL, false),
	LEG("local_cseq", NUMBER, local_cseq, CSEQ_MAX, NULL, false),
	LEG("next_cseq", NUMBER, next_cseq, (uint64_t)UINT32_MAX + 1, NULL, false),
	LEG("sdp_id", NUMBER, sdp_id, LARGEST, NULL, false),
	LEG("sdp_version", NUMBER, sdp_version, LARGEST, NULL, false),
	LEG("sdp_mark", NUMBER, sdp_mark, LARGEST, NULL, false),
};

#define CALL(name, type, member, ...) { name, type, offsetof(struct call_row, member), __VA_ARGS__ }
static const struct member call_members[] = {
	CALL("revision", NUMBER, revision, UINT32_MAX, NULL, false),
	CALL("started_ms", NUMBER, started_ms, LARGEST, NULL, true),
	CALL("ringing_ms", NUMBER, ringing_ms, LARGEST, NULL, false),
	CALL("answered_ms", NUMBER, answered_ms, LARGEST, NULL, true),
	CALL("status", NUMBER, status, 699, NULL, true),
	CALL("held", NUMBER, is_held, 1, NULL, false),
	CALL("uas_cseq", NUMBER, uas_cseq, UINT32_MAX, NULL, false),
	CALL("uac_cseq", NUMBER, uac_cseq, UINT32_MAX, NULL, false),
	CALL("from", TEXT, from_uri, GUARD_URI_MAX, is_line, false),
	CALL("to", TEXT, to_uri, GUARD_URI_MAX, is_line, false),
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Counters of one direction, in the order in which they are written. */
static const size_t counters[] = {
	offsetof(struct media_saved_counts, packets), offsetof(struct media_saved_counts, bytes),
	offsetof(struct media_saved_counts, sent), offsetof(struct media_saved_counts, rtcp_packets),
	offsetof(struct media_saved_counts, lost), offsetof(struct media_saved_counts, reordered),
	offsetof(struct media_saved_counts, jitter_us), offsetof(struct media_saved_counts, dropped_source),
	offsetof(struct media_saved_counts, dropped_format), offsetof(struct media_saved_counts, dropped_payload),
	offsetof(struct media_saved_counts, dropped_early), offsetof(struct media_saved_counts, dropped_overload),
	offsetof(struct media_saved_counts, dropped_queue), offsetof(struct media_saved_counts, clock_hz),
};

enum { FLAG_MUX = 1, FLAG_RTP = 2, FLAG_MAY_SEND = 4, FLAGS = 7 };

/* ---- writing --------------------------------------------------------------------------------------------------------------- */

static void write_number(struct buf *out, uint64_t value)
{
	json_int(out, value <= LARGEST ? (int64_t)value : INT64_MAX);
}

static void write_address(struct buf *out, const struct addr *addr)
{
	char text[ADDR_TEXT_MAX];

	json_text(out, addr_is_set(addr) ? span_of(addr_text(addr, text)) : SPAN_NONE);
}

static void write_routes(struct buf *out, struct span lines)
{
	json_open(out, '[');
	while (!span_is_empty(lines)) {
		struct span line = span_trim(span_cut(&lines, '\n'));

		json_text(out, span_sub(line, strlen("Route: "), line.len));
	}
	json_close(out, ']');
}

static void write_member(const struct member *m, const void *object, struct buf *out)
{
	const void *value = (const char *)object + m->offset;

	switch (m->type) {
	case TEXT:
		if (!span_is_empty(*(const struct span *)value))
			json_member_text(out, m->name, *(const struct span *)value);
		break;
	case NUMBER:
		if (*(const uint64_t *)value != 0 || m->is_required) {
			json_key(out, m->name);
			write_number(out, *(const uint64_t *)value);
		}
		break;
	case ADDRESS:
		if (addr_is_set(value)) {
			json_key(out, m->name);
			write_address(out, value);
		}
		break;
	case ROUTES:
		if (!span_is_empty(*(const struct span *)value)) {
			json_key(out, m->name);
			write_routes(out, *(const struct span *)value);
		}
		break;
	}
}

/* RTCP where it is expected anyway need not be written. */
static bool is_usual_rtcp(const struct media_remote *remote)
{
	struct addr usual = remote->rtp;

	if (!remote->rtcp_mux)
		usual.port++;
	return addr_eq(&usual, &remote->rtcp);
}

/* [local, remote RTP, remote RTCP, latched, flags, bandwidth, payload types 0-63, 64-127, counters...], without counters as long as all
 * are 0. */
static void write_side(const struct media_saved_side *side, struct buf *out)
{
	const struct media_remote *remote = &side->remote;
	const struct addr none = { 0 };
	uint64_t any = 0;

	json_open(out, '[');
	write_address(out, &side->local);
	write_address(out, &remote->rtp);
	write_address(out, is_usual_rtcp(remote) ? &none : &remote->rtcp);
	write_address(out, &side->latched);
	json_int(out, (remote->rtcp_mux ? FLAG_MUX : 0) | (remote->is_rtp ? FLAG_RTP : 0) | (remote->may_send ? FLAG_MAY_SEND : 0));
	json_int(out, remote->bandwidth_bps);
	json_int(out, (int64_t)remote->payloads[0]);
	json_int(out, (int64_t)remote->payloads[1]);
	for (size_t i = 0; i < COUNT(counters); i++)
		any |= *(const uint64_t *)(const void *)((const char *)&side->counts + counters[i]);
	for (size_t i = 0; any != 0 && i < COUNT(counters); i++)
		write_number(out, *(const uint64_t *)(const void *)((const char *)&side->counts + counters[i]));
	json_close(out, ']');
}

/* [kind, format, whether it was ever open, side A, side B]; the sides only while it is open. */
static void write_stream(const struct call_row_stream *stream, struct buf *out)
{
	json_open(out, '[');
	json_text(out, stream->kind);
	json_text(out, stream->format);
	write_number(out, stream->was_open);
	for (int side = MEDIA_A; stream->is_open && side <= MEDIA_B; side++)
		write_side(&stream->media.sides[side], out);
	json_close(out, ']');
}

static void write_steps(const struct call_row *row, struct buf *out)
{
	json_key(out, "steps");
	json_open(out, '[');
	for (unsigned i = 0; i < row->n_steps; i++) {
		json_open(out, '[');
		write_number(out, row->steps[i].after_ms);
		json_text(out, row->steps[i].rule);
		json_text(out, row->steps[i].text);
		json_close(out, ']');
	}
	json_close(out, ']');
}

void call_row_write(const struct call_row *row, struct buf *out)
{
	static const char *const legs[] = { "a", "b" };

	json_open(out, '{');
	json_member_int(out, "format", CALL_ROW_FORMAT);
	for (size_t i = 0; i < COUNT(call_members); i++)
		write_member(&call_members[i], row, out);
	for (unsigned side = 0; side < 2; side++) {
		json_key(out, legs[side]);
		json_open(out, '{');
		for (size_t i = 0; i < COUNT(leg_members); i++)
			write_member(&leg_members[i], &row->leg[side], out);
		json_close(out, '}');
	}
	json_key(out, "streams");
	json_open(out, '[');
	for (unsigned i = 0; i < row->n_streams; i++)
		write_stream(&row->streams[i], out);
	json_close(out, ']');
	write_steps(row, out);
	json_close(out, '}');
}

/* ---- reading --------------------------------------------------------------------------------------------------------------- */

static int refuse(struct reader *r, const char *why)
{
	r->why = why;
	return ERR_PARSE;
}

static int refuse_size(struct reader *r)
{
	r->why = "larger than a call can be";
	return ERR_LIMIT;
}

static int read_text(struct reader *r, const json_t *value, size_t max, check_fn *check, struct span *ret)
{
	struct span text = { json_string_value(value), json_string_length(value) };
	struct span copy;

	if (!json_is_string(value) || text.len > max || (text.len > 0 && check != NULL && !check(text)))
		return refuse(r, "a text that no call has");
	copy = arena_dup(r->arena, text);
	if (copy.ptr == NULL)
		return refuse_size(r);
	*ret = copy;
	return 0;
}

static int read_number(struct reader *r, const json_t *value, uint64_t max, uint64_t *ret)
{
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < 0 || (uint64_t)number > max)
		return refuse(r, "a number that no call has");
	*ret = (uint64_t)number;
	return 0;
}

static int read_address(struct reader *r, const json_t *value, struct addr *ret)
{
	struct span text = { json_string_value(value), json_string_length(value) };

	if (!json_is_string(value) || (text.len > 0 && addr_parse(text, ret) != 0))
		return refuse(r, "an address that is none");
	if (text.len == 0)
		*ret = (struct addr){ 0 };
	return 0;
}

static int read_routes(struct reader *r, const json_t *value, struct span *ret)
{
	size_t n = json_array_size(value), size = 0;
	struct buf out;

	if (!json_is_array(value) || n > GUARD_ROUTES_MAX)
		return refuse(r, "routes that no dialog has");
	for (size_t i = 0; i < n; i++)
		size += strlen("Route: \r\n") + json_string_length(json_array_get(value, i));
	out = buf_of(arena_alloc_raw(r->arena, size + 1), size);
	if (out.data == NULL)
		return refuse_size(r);
	for (size_t i = 0; i < n; i++) {
		const json_t *item = json_array_get(value, i);
		struct span text = { json_string_value(item), json_string_length(item) };
		struct sip_name_addr hop;

		if (!json_is_string(item) || text.len > GUARD_LINE_MAX || !is_line(text) || sip_name_addr_parse(text, &hop) != 0)
			return refuse(r, "routes that no dialog has");
		buf_puts(&out, "Route: ");
		buf_put(&out, text);
		buf_puts(&out, "\r\n");
	}
	*ret = buf_span(&out);
	return 0;
}

static int read_value(struct reader *r, const struct member *m, const json_t *value, void *object)
{
	void *place = (char *)object + m->offset;

	switch (m->type) {
	case TEXT:
		return read_text(r, value, m->max, m->check, place);
	case NUMBER:
		return read_number(r, value, m->max, place);
	case ADDRESS:
		return read_address(r, value, place);
	case ROUTES:
		return read_routes(r, value, place);
	}
	return ERR_STATE;
}

/* n_others: members of the object that somebody else reads. */
static int read_members(struct reader *r, const json_t *object, const struct member *members, size_t n, size_t n_others, void *ret)
{
	size_t found = 0;
	int err = json_is_object(object) ? 0 : refuse(r, "not an object");

	for (size_t i = 0; err == 0 && i < n; i++) {
		const json_t *value = json_object_get(object, members[i].name);

		if (value != NULL)
			err = read_value(r, &members[i], value, ret);
		else if (members[i].is_required)
			err = refuse(r, "a member is missing");
		found += value != NULL;
	}
	if (err == 0 && found + n_others != json_object_size(object))
		err = refuse(r, "an unknown member");
	return err;
}

static int read_side(struct reader *r, const json_t *array, struct media_saved_side *ret)
{
	struct media_remote *remote = &ret->remote;
	struct addr *const addresses[] = { &ret->local, &remote->rtp, &remote->rtcp, &ret->latched };
	size_t n = json_array_size(array), first = COUNT(addresses) + 4;
	uint64_t flags = 0, bandwidth_bps = 0;
	int err = 0;

	if (!json_is_array(array) || (n != first && n != first + COUNT(counters)))
		return refuse(r, "a stream that is none");
	for (size_t i = 0; err == 0 && i < COUNT(addresses); i++)
		err = read_address(r, json_array_get(array, i), addresses[i]);
	if (err == 0)
		err = read_number(r, json_array_get(array, 4), FLAGS, &flags);
	if (err == 0)
		err = read_number(r, json_array_get(array, 5), UINT32_MAX, &bandwidth_bps);
	for (size_t i = 0; err == 0 && i < 2; i++) {
		const json_t *bits = json_array_get(array, 6 + i);

		err = json_is_integer(bits) ? 0 : refuse(r, "a stream that is none");
		remote->payloads[i] = (uint64_t)json_integer_value(bits);
	}
	for (size_t i = 0; err == 0 && n > first && i < COUNT(counters); i++)
		err = read_number(r, json_array_get(array, first + i), LARGEST,
				  (uint64_t *)(void *)((char *)&ret->counts + counters[i]));
	remote->bandwidth_bps = (uint32_t)bandwidth_bps;
	remote->rtcp_mux = flags & FLAG_MUX;
	remote->is_rtp = flags & FLAG_RTP;
	remote->may_send = flags & FLAG_MAY_SEND;
	return err;
}

static int read_stream(struct reader *r, const json_t *array, struct call_row_stream *ret)
{
	size_t n = json_array_size(array);
	int err = json_is_array(array) && (n == 3 || n == 5) ? 0 : refuse(r, "a stream that is none");

	if (err == 0)
		err = read_text(r, json_array_get(array, 0), 15, is_visible, &ret->kind);
	if (err == 0)
		err = read_text(r, json_array_get(array, 1), 63, is_line, &ret->format);
	if (err == 0)
		err = read_number(r, json_array_get(array, 2), 1, &ret->was_open);
	ret->is_open = n == 5;
	for (size_t side = 0; err == 0 && ret->is_open && side < 2; side++)
		err = read_side(r, json_array_get(array, 3 + side), &ret->media.sides[side]);
	return err;
}

static int read_streams(struct reader *r, const json_t *array, struct call_row *ret)
{
	size_t n = json_array_size(array);
	int err = json_is_array(array) && n <= MEDIA_STREAMS_MAX ? 0 : refuse(r, "more streams than a call has");

	for (ret->n_streams = 0; err == 0 && ret->n_streams < n; ret->n_streams++)
		err = read_stream(r, json_array_get(array, ret->n_streams), &ret->streams[ret->n_streams]);
	return err;
}

static int read_step(struct reader *r, const json_t *array, struct call_row_step *ret)
{
	int err = json_is_array(array) && json_array_size(array) == 3 ? 0 : refuse(r, "a step that is none");

	if (err == 0)
		err = read_number(r, json_array_get(array, 0), LARGEST, &ret->after_ms);
	if (err == 0)
		err = read_text(r, json_array_get(array, 1), STEP_MAX_LEN, is_line, &ret->rule);
	if (err == 0)
		err = read_text(r, json_array_get(array, 2), STEP_MAX_LEN, is_line, &ret->text);
	return err;
}

static int read_steps(struct reader *r, const json_t *array, struct call_row *ret)
{
	size_t n = json_array_size(array);
	int err = json_is_array(array) && n <= CALL_ROW_STEPS_MAX ? 0 : refuse(r, "more steps than a row has");

	for (ret->n_steps = 0; err == 0 && ret->n_steps < n; ret->n_steps++)
		err = read_step(r, json_array_get(array, ret->n_steps), &ret->steps[ret->n_steps]);
	return err;
}

static int read_row(struct reader *r, const json_t *root, struct call_row *ret)
{
	enum { OTHERS = 5 }; /* format, a, b, streams, steps */
	int err = read_members(r, root, call_members, COUNT(call_members), OTHERS, ret);

	if (err == 0)
		err = read_members(r, json_object_get(root, "a"), leg_members, COUNT(leg_members), 0, &ret->leg[MEDIA_A]);
	if (err == 0)
		err = read_members(r, json_object_get(root, "b"), leg_members, COUNT(leg_members), 0, &ret->leg[MEDIA_B]);
	if (err == 0)
		err = read_streams(r, json_object_get(root, "streams"), ret);
	if (err == 0)
		err = read_steps(r, json_object_get(root, "steps"), ret);
	if (err == 0 && (ret->started_ms == 0 || ret->answered_ms < ret->started_ms))
		err = refuse(r, "times that no call has");
	return err;
}

int call_row_read(struct span json, struct arena *arena, struct call_row *ret, const char **ret_why)
{
	struct reader r = { .arena = arena, .why = "" };
	json_t *root = json.len <= CALL_ROW_BYTES_MAX ?
		       json_loadb(json.ptr != NULL ? json.ptr : "", json.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL) : NULL;
	const json_t *format = json_object_get(root, "format");
	SCRATCH struct call_row row;
	int err;

	memset(&row, 0, sizeof(row));
	if (root == NULL) {
		err = refuse(&r, "damaged");
	} else if (!json_is_integer(format) || json_integer_value(format) != CALL_ROW_FORMAT) {
		err = ERR_UNSUPPORTED;
		r.why = "written by another version";
	} else {
		err = read_row(&r, root, &row);
	}
	json_decref(root);
	if (err == 0)
		*ret = row;
	else
		*ret_why = r.why;
	return err;
}
