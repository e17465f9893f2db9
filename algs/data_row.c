/* Rows of data connections as JSON. One table of members serves the writer and the reader, so that they cannot disagree. */
#include "algs/data_row.h"

#include <jansson.h>
#include <stdio.h>

#include "core/err.h"
#include "core/json_text.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))


struct member {
	const char *name;
	enum { TEXT, ADDRESS, IP, FLAG } type;
	size_t offset, size;
	bool is_required;
};

#define TEXT_MEMBER(member_, is_required_) { #member_, TEXT, offsetof(struct data_row, member_), sizeof(((struct data_row *)0)->member_), is_required_ }
#define MEMBER(type_, member_, is_required_) { #member_, type_, offsetof(struct data_row, member_), 0, is_required_ }
static const struct member members[] = {
	TEXT_MEMBER(session, true), TEXT_MEMBER(alg, true), TEXT_MEMBER(user, false), TEXT_MEMBER(verb, false),
	TEXT_MEMBER(rule, false), TEXT_MEMBER(path, false),
	MEMBER(ADDRESS, client, true), MEMBER(ADDRESS, server, true), MEMBER(ADDRESS, listen, true), MEMBER(ADDRESS, from, false),
	MEMBER(ADDRESS, target, true), MEMBER(IP, source, true),
	MEMBER(FLAG, is_from_server, false), MEMBER(FLAG, is_through, false), MEMBER(FLAG, is_as_source, false),
};

/* ---- writing ----------------------------------------------------------------------------------------------------------------- */

static void write_member(const struct member *m, const void *value, struct buf *out)
{
	char text[ADDR_TEXT_MAX];

	if (m->type == TEXT) {
		if (((const char *)value)[0] != '\0')
			json_member_text(out, m->name, span_of(value));
	} else if (m->type == FLAG) {
		if (*(const bool *)value)
			json_member_int(out, m->name, 1);
	} else if (addr_is_set(value)) {
		json_member_text(out, m->name, span_of(m->type == IP ? addr_ip_text(value, text) : addr_text(value, text)));
	}
}

void data_row_write(const struct data_row *row, struct buf *out)
{
	json_open(out, '{');
	json_member_int(out, "format", DATA_ROW_FORMAT);
	json_member_int(out, "started_ms", row->started_ms);
	json_member_text(out, "direction", (struct span){ &row->direction, 1 });
	for (size_t i = 0; i < COUNT(members); i++)
		write_member(&members[i], (const char *)row + members[i].offset, out);
	json_close(out, '}');
}

/* ---- reading ----------------------------------------------------------------------------------------------------------------- */

static bool is_text(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
			return false;
	return true;
}

static bool read_member(const struct member *m, const json_t *value, void *to)
{
	struct span text = { json_string_value(value), json_string_length(value) };

	if (m->type == FLAG) {
		*(bool *)to = true;
		return json_is_integer(value) && json_integer_value(value) == 1;
	}
	if (!json_is_string(value) || text.len == 0)
		return false;
	if (m->type == ADDRESS)
		return addr_parse(text, to) == 0;
	if (m->type == IP)
		return addr_parse_ip(text, to) == 0;
	if (text.len >= m->size || !is_text(text))
		return false;
	memcpy(to, text.ptr, text.len); /* zeroed before */
	return true;
}

static const char *read_object(const json_t *object, struct data_row *ret)
{
	const json_t *started = json_object_get(object, "started_ms"), *direction = json_object_get(object, "direction");
	const char *way = json_string_value(direction);
	size_t n = 3; /* with the format */

	if (json_integer_value(json_object_get(object, "format")) != DATA_ROW_FORMAT)
		return "another format";
	if (!json_is_integer(started) || json_integer_value(started) <= 0)
		return "no start";
	if (way == NULL || json_string_length(direction) != 1 || strchr("ud-", way[0]) == NULL)
		return "no direction";
	ret->started_ms = json_integer_value(started);
	ret->direction = way[0];
	for (size_t i = 0; i < COUNT(members); i++) {
		const json_t *value = json_object_get(object, members[i].name);

		n += value != NULL;
		if (value == NULL ? members[i].is_required : !read_member(&members[i], value, (char *)ret + members[i].offset))
			return members[i].name;
	}
	return n == json_object_size(object) ? NULL : "a member that no row has";
}

static const char *check_ends(const struct data_row *row)
{
	const struct addr *ends[] = { &row->client, &row->server, &row->listen, &row->target, &row->from };

	for (size_t i = 0; i < COUNT(ends); i++)
		if (addr_is_set(ends[i]) && (ends[i]->port == 0 || (i > 1 && ends[i]->family != row->target.family)))
			return "an end that is none";
	if (row->is_as_source == addr_is_set(&row->from))
		return "from";
	if (row->is_through != addr_eq(&row->listen, &row->target))
		return "listen";
	return row->source.family == row->listen.family ? NULL : "source";
}

int data_row_read(struct span json, struct data_row *ret, const char **ret_why)
{
	struct data_row row = { 0 };
	json_error_t error;
	json_t *object = NULL;
	const char *why = "no JSON object";

	if (json.len > 0 && json.len <= DATA_ROW_BYTES_MAX)
		object = json_loadb(json.ptr, json.len, JSON_REJECT_DUPLICATES, &error);
	if (json_is_object(object))
		why = read_object(object, &row);
	json_decref(object);
	if (why == NULL)
		why = check_ends(&row);
	if (why != NULL) {
		*ret_why = why;
		return ERR_PARSE;
	}
	*ret = row;
	return 0;
}
