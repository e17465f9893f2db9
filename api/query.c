/* Query strings: name=value pairs between ampersands. Unknown and repeated names are faults, because a misspelt filter
 * that is silently ignored answers another question than the one that was asked. A "+" stays a plus (RFC 3986, and
 * telephone numbers begin with one); spaces are written %20. */
#include "api/query.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/problem.h"
#include "api/text.h"
#include "api/timestamp.h"
#include "core/err.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int query_decode(struct arena *arena, struct span text, struct span *ret)
{
	char *out = arena_alloc(arena, text.len + 1);
	size_t len = 0;

	if (out == NULL)
		return ERR_LIMIT;
	for (size_t i = 0; i < text.len; i++) {
		int high, low;

		if (text.ptr[i] != '%') {
			out[len++] = text.ptr[i];
			continue;
		}
		if (text.len - i < 3)
			return ERR_PARSE;
		high = hex_digit(text.ptr[i + 1]);
		low = hex_digit(text.ptr[i + 2]);
		if (high < 0 || low < 0)
			return ERR_PARSE;
		out[len++] = (char)(high << 4 | low);
		i += 2;
	}
	if (!text_is_clean((struct span){ out, len }))
		return ERR_PARSE;
	*ret = (struct span){ out, len };
	return 0;
}

static const struct route_param *find_param(const struct route_param *params, struct span name)
{
	for (; params != NULL && params->name != NULL; params++) {
		if (span_eq(name, span_of(params->name)))
			return params;
	}
	return NULL;
}

/* What is wrong with the value, as text in the arena; NULL when it is fine. */
static const char *check_value(struct route_value *value, struct arena *arena)
{
	const struct route_param *param = value->param;
	uint32_t number;

	switch (param->type) {
	case ROUTE_TEXT:
		if (value->text.len >= param->min && value->text.len <= param->max)
			return NULL;
		return arena_printf(arena, "must have %u to %u characters", param->min, param->max);
	case ROUTE_UINT:
		if (span_to_u32(value->text, param->max, &number) != 0 || number < param->min)
			return arena_printf(arena, "must be a number from %u to %u", param->min, param->max);
		value->number = number;
		return NULL;
	case ROUTE_TIME:
		if (timestamp_parse(value->text, &value->number) != 0)
			return "must be a time such as 2026-03-01T12:00:00Z (RFC 3339)";
		return NULL;
	case ROUTE_FLAG:
		if (!span_is_empty(value->text) && !span_eq(value->text, SPAN_LIT("true")))
			return "is a flag: leave out the value, or say true";
		return NULL;
	}
	return "is not understood";
}

static void add_fault(struct route_request *request, struct route_reply *reply, struct span name, const char *detail,
		      const char *hint)
{
	if (reply->status == 0)
		problem_set(reply, request, PROBLEM_BAD_PARAMETER, "See errors for each parameter at fault.");
	problem_add_error(reply, name, detail ? detail : "is not valid", hint);
}

static const char *known_names(const struct route_param *params, struct arena *arena)
{
	const char *list = NULL;

	for (; params != NULL && params->name != NULL; params++)
		list = arena_printf(arena, "%s%s%s", list ? list : "known are: ", list ? " " : "", params->name);
	return list ? list : "this resource has no parameters";
}

static void parse_pair(const struct route_param *params, struct span pair, struct route_request *request,
		       struct route_reply *reply)
{
	struct route_value value = { 0 };
	struct span name = span_cut(&pair, '=');
	const char *fault;

	value.param = find_param(params, name);
	if (value.param == NULL) {
		if (query_decode(request->arena, name, &name) != 0)
			name = SPAN_LIT("?");
		add_fault(request, reply, name, "is not a parameter of this resource",
			  known_names(params, request->arena));
		return;
	}
	if (route_value(request, value.param->name) != NULL) {
		add_fault(request, reply, name, "is given more than once", NULL);
		return;
	}
	if (query_decode(request->arena, pair, &value.text) != 0) {
		add_fault(request, reply, name, "is not percent-encoded UTF-8 text", NULL);
		return;
	}
	fault = check_value(&value, request->arena);
	if (fault != NULL)
		add_fault(request, reply, name, fault, NULL);
	else if (request->n_values < ROUTER_PARAMS_MAX)
		request->values[request->n_values++] = value;
}

bool query_parse(const struct route_param *params, struct span query, struct route_request *request,
		 struct route_reply *reply)
{
	for (unsigned n = 0; query.ptr != NULL; n++) {
		struct span pair = span_cut(&query, '&');

		if (n == ROUTER_PARAMS_MAX) {
			add_fault(request, reply, SPAN_LIT("*"), "too many parameters", NULL);
			break;
		}
		if (!span_is_empty(pair))
			parse_pair(params, pair, request, reply);
	}
	return reply->status == 0;
}
