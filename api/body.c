/* See body.h. Unknown members are faults: a misspelt one that is ignored asks another question than was meant. */
#include "api/body.h"

#include <stdio.h>

#include "api/problem.h"
#include "core/addr.h"
#include "core/err.h"

enum { POINTER_MAX = 80 };

static const struct body_member *find(const struct body_member *members, const char *name)
{
	for (; members->name != NULL; members++)
		if (strcmp(members->name, name) == 0)
			return members;
	return NULL;
}

static const char *read_text(const struct body_member *member, const struct route_request *request,
			     const json_t *value, struct span *ret)
{
	struct span text = { json_string_value(value), json_string_length(value) };

	if (!json_is_string(value))
		return "must be a text";
	if (text.len > member->max)
		return arena_printf(request->arena, "may have %u octets", member->max) ?: "is too long";
	*ret = arena_dup(request->arena, text);
	return ret->ptr != NULL ? NULL : "does not fit into memory";
}

static const char *read_number(const json_t *value, struct body_number *ret)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return "must be a whole number, 0 or more";
	*ret = (struct body_number){ true, (uint64_t)json_integer_value(value) };
	return NULL;
}

static const char *read_addr(const json_t *value, struct addr *ret)
{
	struct span text = span_of(json_string_value(value));

	if (addr_parse(text, ret) != 0 && addr_parse_ip(text, ret) != 0)
		return "must be an address such as \"192.0.2.77\" or \"192.0.2.77:40000\"";
	return NULL;
}

static const char *read_choice(const struct body_member *member, const struct route_request *request,
			       const json_t *value, unsigned *ret)
{
	struct span rest = span_of(member->choices), text = span_of(json_string_value(value));

	for (unsigned i = 1; rest.ptr != NULL; i++)
		if (span_eq(span_cut(&rest, ' '), text)) {
			*ret = i;
			return NULL;
		}
	return arena_printf(request->arena, "must be one of: %s", member->choices) ?: "is none of the known values";
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char *read_hex(const struct body_member *member, const struct route_request *request,
			    const json_t *value, struct span *ret)
{
	struct span text = span_of(json_string_value(value));
	char *out = arena_alloc(request->arena, text.len / 2 + 1);

	if (!json_is_string(value) || text.len % 2 != 0 || text.len > member->max)
		return arena_printf(request->arena, "must be hex digits, two an octet, at most %u", member->max) ?:
		       "is not hex";
	if (out == NULL)
		return "does not fit into memory";
	for (size_t i = 0; i < text.len; i++) {
		int digit = hex_digit(text.ptr[i]);

		if (digit < 0)
			return "has something else than hex digits";
		out[i / 2] = (char)((unsigned char)out[i / 2] << 4 | digit);
	}
	*ret = (struct span){ out, text.len / 2 };
	return NULL;
}

/* What is wrong with it, NULL when nothing is. */
static const char *read_value(const struct body_member *member, const struct route_request *request,
			      const json_t *value, void *object)
{
	void *place = (char *)object + member->offset;

	switch (member->type) {
	case BODY_TEXT:
		return read_text(member, request, value, place);
	case BODY_UINT:
		return read_number(value, place);
	case BODY_ADDR:
		return read_addr(value, place);
	case BODY_CHOICE:
		return read_choice(member, request, value, place);
	case BODY_HEX:
		return read_hex(member, request, value, place);
	}
	return "is not understood";
}

static const char *known_members(const struct body_member *members, struct arena *arena)
{
	const char *list = "known are:";

	for (; members->name != NULL && list != NULL; members++)
		list = arena_printf(arena, "%s %s", list, members->name);
	return list;
}

static void add_fault(const struct route_request *request, struct route_reply *reply, const char *name,
		      const char *detail, const char *hint)
{
	char pointer[POINTER_MAX];

	if (reply->status == 0)
		problem_set(reply, request, PROBLEM_BAD_BODY, "See errors for each member at fault.");
	/* A name that is foreign can be anything; one with octets outside of ASCII could be cut within a character. */
	snprintf(pointer, sizeof(pointer), "/%s", name);
	for (char *c = pointer; *c != '\0'; c++)
		if ((unsigned char)*c >= 0x7f || (unsigned char)*c < 0x20)
			*c = '?';
	problem_add_body_error(reply, pointer, detail, hint);
}

static json_t *load(const struct route_request *request, struct route_reply *reply)
{
	json_error_t error;
	json_t *json = NULL;

	if (span_is_empty(request->body)) {
		problem_set(reply, request, PROBLEM_BAD_BODY, "This resource wants a JSON object as its body.");
		return NULL;
	}
	json = json_loadb(request->body.ptr, request->body.len, JSON_REJECT_DUPLICATES, &error);
	if (json == NULL) {
		problem_set(reply, request, PROBLEM_BAD_BODY, "The body is not JSON: line %d, column %d.", error.line,
			    error.column);
		return NULL;
	}
	if (!json_is_object(json)) {
		problem_set(reply, request, PROBLEM_BAD_BODY, "The body must be a JSON object.");
		json_decref(json);
		return NULL;
	}
	return json;
}

bool body_parse(const struct body_member *members, const struct route_request *request, struct route_reply *reply,
		void *ret)
{
	json_t *json = load(request, reply), *value;
	const char *name;

	if (json == NULL)
		return false;
	json_object_foreach(json, name, value) {
		const struct body_member *member = find(members, name);
		const char *fault = NULL;

		if (member == NULL)
			add_fault(request, reply, name, "is not a member of this request",
				  known_members(members, request->arena));
		else if (!json_is_null(value))
			fault = read_value(member, request, value, ret);
		if (fault != NULL)
			add_fault(request, reply, name, fault, NULL);
	}
	json_decref(json);
	return reply->status == 0;
}
