/* The schema engine of core/conf.h: checks a JSON tree against a table, fills defaults, collects every error.
 *
 * The way from the root to the value at hand lies on the C stack, one step per level, and becomes a JSON pointer only
 * when an error has to name it. */
#include "core/conf.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "core/err.h"
#include "core/yaml.h"

enum { NAME_MAX_LEN = 63 };

struct step {
	const struct step *up; /* NULL at the root */
	const char *key;       /* NULL: element `index` of a list */
	size_t index;
};

struct conf_check_ctx {
	const struct yaml_doc *doc;
	struct conf_errors *errors;
	const struct step *at;
	bool is_bad;
};

static void check_value(struct conf_check_ctx *ctx, const struct conf_item *item, json_t *value);
static void check_members(struct conf_check_ctx *ctx, const struct conf_item *schema, json_t *object);

/* Reports */

static void print_step(const struct step *step, FILE *out)
{
	if (step == NULL)
		return;
	print_step(step->up, out);
	fputc('/', out);
	if (step->key == NULL)
		fprintf(out, "%zu", step->index);
	for (const char *c = step->key; c != NULL && *c != '\0'; c++) {
		if (*c == '~' || *c == '/')
			fputs(*c == '~' ? "~0" : "~1", out);
		else
			fputc(*c, out);
	}
}

static char *pointer_of(const struct step *step)
{
	char *pointer = NULL;
	size_t len;
	FILE *out = open_memstream(&pointer, &len);

	if (out == NULL)
		return NULL;
	print_step(step, out);
	if (fclose(out) != 0) {
		free(pointer);
		return NULL;
	}
	return pointer;
}

int conf_report(struct conf_check_ctx *ctx, const char *hint, const char *format, ...)
{
	struct yaml_pos pos = { 0, 0 };
	char *pointer = pointer_of(ctx->at);
	char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	if (ctx->doc != NULL && pointer != NULL)
		pos = yaml_pos(ctx->doc, pointer);
	conf_errors_add(ctx->errors, pointer ? pointer : "", pos.line, pos.column, hint, "%s",
			text ? text : "out of memory");
	free(pointer);
	free(text);
	ctx->is_bad = true;
	return ERR_CONFIG;
}

static const char *type_name(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "a mapping";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "text";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "true or false";
	case JSON_NULL:
		break;
	}
	return "nothing";
}

static void report_type(struct conf_check_ctx *ctx, const json_t *value, const char *expected, const char *hint)
{
	(void)conf_report(ctx, hint, "expected %s, found %s", expected, type_name(value));
}

/* True when the value lies in the item's range; reports it otherwise. */
static bool check_range(struct conf_check_ctx *ctx, const struct conf_item *item, int64_t n, const char *what)
{
	if (item->min == 0 && item->max == 0)
		return true;
	if (n >= item->min && n <= item->max)
		return true;
	if (n > item->max)
		(void)conf_report(ctx, NULL, "%s is more than %" PRId64, what, item->max);
	else
		(void)conf_report(ctx, NULL, "%s is less than %" PRId64, what, item->min);
	return false;
}

/* Scalars */

static bool check_int(struct conf_check_ctx *ctx, const struct conf_item *item, const json_t *value)
{
	if (!json_is_integer(value)) {
		report_type(ctx, value, "a whole number", json_is_string(value) ? "write it without quotes" : NULL);
		return false;
	}
	return check_range(ctx, item, json_integer_value(value), "the number");
}

static bool check_string(struct conf_check_ctx *ctx, const struct conf_item *item, const json_t *value)
{
	const char *text = json_string_value(value);

	if (text == NULL) {
		report_type(ctx, value, "text", json_is_null(value) ? NULL : "put the value in quotes");
		return false;
	}
	for (size_t i = 0; i < json_string_length(value); i++) {
		if ((unsigned char)text[i] >= ' ' && text[i] != 0x7f)
			continue;
		(void)conf_report(ctx, NULL, "the text contains a control character");
		return false;
	}
	return check_range(ctx, item, (int64_t)json_string_length(value), "the length of the text");
}

static bool check_enum(struct conf_check_ctx *ctx, const struct conf_item *item, const json_t *value)
{
	const char *text = json_string_value(value);
	char hint[256] = "one of: ";

	for (unsigned i = 0; item->choices[i] != NULL; i++) {
		size_t len = strlen(hint);

		if (text != NULL && strcmp(text, item->choices[i]) == 0 && strlen(text) == json_string_length(value))
			return true;
		snprintf(hint + len, sizeof(hint) - len, "%s%s", i > 0 ? ", " : "", item->choices[i]);
	}
	if (text == NULL)
		report_type(ctx, value, "text", hint);
	else
		(void)conf_report(ctx, hint, "%s is not a choice", text);
	return false;
}

int conf_duration_ms(struct span text, int64_t *ret)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
	size_t digits = 0;
	uint32_t n;

	while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9')
		digits++;
	if (span_to_u32(span_sub(text, 0, digits), UINT32_MAX, &n) < 0)
		return ERR_PARSE;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (!span_eq(span_sub(text, digits, text.len), span_of(units[i].unit)))
			continue;
		*ret = n * units[i].ms;
		return 0;
	}
	return ERR_PARSE;
}

static bool check_duration(struct conf_check_ctx *ctx, const struct conf_item *item, const json_t *value)
{
	const struct span text = { json_string_value(value), json_string_length(value) };
	char what[64];
	int64_t ms;

	if (text.ptr == NULL || conf_duration_ms(text, &ms) < 0) {
		(void)conf_report(ctx, "write a number and a unit: 500ms, 32s, 5m or 2h", "not a duration");
		return false;
	}
	snprintf(what, sizeof(what), "the duration, in milliseconds,");
	return check_range(ctx, item, ms, what);
}

int conf_size(const json_t *value, int64_t *ret)
{
	static const char units[] = "kMGT";
	struct span text = { json_string_value(value), json_string_length(value) };
	const char *unit;
	uint32_t n;

	if (json_is_integer(value) && json_integer_value(value) >= 0) {
		*ret = json_integer_value(value);
		return 0;
	}
	if (text.len < 2)
		return ERR_PARSE;
	unit = memchr(units, text.ptr[text.len - 1], sizeof(units) - 1);
	if (unit == NULL || span_to_u32(span_sub(text, 0, text.len - 1), 1 << 20, &n) < 0)
		return ERR_PARSE;
	*ret = (int64_t)n << 10 * (unit - units + 1);
	return 0;
}

static bool check_size(struct conf_check_ctx *ctx, const struct conf_item *item, const json_t *value)
{
	int64_t size;

	if (conf_size(value, &size) == 0)
		return check_range(ctx, item, size, "the number of octets");
	(void)conf_report(ctx, "write a number of octets, or one with a unit: 64k, 200M, 1G", "not a size");
	return false;
}

/* Containers */

static bool check_list(struct conf_check_ctx *ctx, const struct conf_item *item, json_t *list)
{
	struct step step = { .up = ctx->at };

	if (item->is_open && !json_is_array(list) && !json_is_object(list)) {
		check_value(ctx, item->element, list);
		return true;
	}
	if (!json_is_array(list)) {
		report_type(ctx, list, "a list", json_is_object(list) ? NULL : "write it as [value]");
		return false;
	}
	if (!check_range(ctx, item, (int64_t)json_array_size(list), "the number of entries"))
		return false;
	ctx->at = &step;
	for (; step.index < json_array_size(list); step.index++)
		check_value(ctx, item->element, json_array_get(list, step.index));
	ctx->at = step.up;
	return true;
}

static bool is_name(const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	return len > 0 && len <= NAME_MAX_LEN && text[len] == '\0' && text[0] != '_' && text[0] != '-';
}

static bool check_map(struct conf_check_ctx *ctx, const struct conf_item *item, json_t *map)
{
	struct step step = { .up = ctx->at };
	const char *name;
	json_t *value;

	if (!json_is_object(map)) {
		report_type(ctx, map, "a mapping of names", NULL);
		return false;
	}
	if (!check_range(ctx, item, (int64_t)json_object_size(map), "the number of entries"))
		return false;
	ctx->at = &step;
	json_object_foreach(map, name, value) {
		step.key = name;
		if (!is_name(name))
			(void)conf_report(ctx, "use a-z, 0-9, - and _, at most 63", "not a valid name");
		if (json_is_object(value))
			check_members(ctx, item->schema, value);
		else
			report_type(ctx, value, "a mapping", NULL);
	}
	ctx->at = step.up;
	return true;
}

static const struct conf_item *find_item(const struct conf_item *schema, const char *name)
{
	for (; schema->name != NULL; schema++)
		if (strcmp(schema->name, name) == 0)
			return schema;
	return NULL;
}

static void report_unknown(struct conf_check_ctx *ctx, const struct conf_item *schema, const char *name)
{
	struct conf_nearest nearest = { .wanted = name };
	char hint[128];

	for (const struct conf_item *item = schema; item->name != NULL; item++)
		conf_nearest_offer(&nearest, item->name);
	(void)conf_report(ctx, conf_nearest_hint(&nearest, hint, sizeof(hint)), "unknown member");
}

static void add_default(struct conf_check_ctx *ctx, const struct conf_item *item, json_t *object)
{
	json_t *value = json_loads(item->default_json, JSON_DECODE_ANY, NULL);

	if (value == NULL || json_object_set_new(object, item->name, value) != 0)
		(void)conf_report(ctx, NULL, "out of memory");
}

static void check_members(struct conf_check_ctx *ctx, const struct conf_item *schema, json_t *object)
{
	struct step step = { .up = ctx->at };
	const struct conf_item *item;
	const char *name;
	json_t *value;

	for (item = schema; item->name != NULL; item++) {
		if (json_object_get(object, item->name) != NULL)
			continue;
		if (item->is_required)
			(void)conf_report(ctx, item->help, "the member %s is missing", item->name);
		else if (item->default_json != NULL)
			add_default(ctx, item, object);
	}
	ctx->at = &step;
	json_object_foreach(object, name, value) {
		step.key = name;
		item = find_item(schema, name);
		if (item != NULL)
			check_value(ctx, item, value);
		else
			report_unknown(ctx, schema, name);
	}
	ctx->at = step.up;
}

static bool check_object(struct conf_check_ctx *ctx, const struct conf_item *item, json_t *value)
{
	if (!json_is_object(value)) {
		report_type(ctx, value, "a mapping", NULL);
		return false;
	}
	check_members(ctx, item->schema, value);
	return true;
}

static bool check_type(struct conf_check_ctx *ctx, const struct conf_item *item, json_t *value)
{
	switch (item->type) {
	case CONF_BOOL:
		if (json_is_boolean(value))
			return true;
		report_type(ctx, value, "true or false", NULL);
		return false;
	case CONF_INT:
		return check_int(ctx, item, value);
	case CONF_STRING:
		return check_string(ctx, item, value);
	case CONF_ENUM:
		return check_enum(ctx, item, value);
	case CONF_DURATION:
		return check_duration(ctx, item, value);
	case CONF_SIZE:
		return check_size(ctx, item, value);
	case CONF_LIST:
		return check_list(ctx, item, value);
	case CONF_OBJECT:
		return check_object(ctx, item, value);
	case CONF_MAP:
		return check_map(ctx, item, value);
	}
	assert(!"conf_type");
	return false;
}

static void check_value(struct conf_check_ctx *ctx, const struct conf_item *item, json_t *value)
{
	if (check_type(ctx, item, value) && item->check != NULL && item->check(ctx, value) < 0)
		ctx->is_bad = true;
}

int conf_check(const struct conf_item *schema, json_t *value, const struct yaml_doc *doc, struct conf_errors *errors)
{
	struct conf_check_ctx ctx = { .doc = doc, .errors = errors };

	if (json_is_object(value))
		check_members(&ctx, schema, value);
	else
		report_type(&ctx, value, "a mapping", NULL);
	return ctx.is_bad ? ERR_CONFIG : 0;
}
