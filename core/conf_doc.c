/* What core/conf.h derives from a schema table for readers: JSON Schema and manual page text. */
#include "core/conf.h"

#include <inttypes.h>
#include <stdlib.h>

static json_t *item_schema(const struct conf_item *item);

static json_t *object_schema(const struct conf_item *schema)
{
	json_t *properties = json_object();
	json_t *required = json_array();

	for (const struct conf_item *item = schema; item->name != NULL; item++) {
		json_object_set_new(properties, item->name, item_schema(item));
		if (item->is_required)
			json_array_append_new(required, json_string(item->name));
	}
	return json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties", properties, "required", required,
			 "additionalProperties", 0);
}

static void set_range(json_t *schema, const struct conf_item *item, const char *min_name, const char *max_name)
{
	if (item->min == 0 && item->max == 0)
		return;
	json_object_set_new(schema, min_name, json_integer(item->min));
	json_object_set_new(schema, max_name, json_integer(item->max));
}

static json_t *enum_schema(const struct conf_item *item)
{
	json_t *choices = json_array();

	for (unsigned i = 0; item->choices[i] != NULL; i++)
		json_array_append_new(choices, json_string(item->choices[i]));
	return json_pack("{s:s, s:o}", "type", "string", "enum", choices);
}

static json_t *map_schema(const struct conf_item *item)
{
	json_t *schema = json_pack("{s:s, s:o, s:{s:s}}", "type", "object", "additionalProperties",
				   object_schema(item->schema), "propertyNames", "pattern",
				   "^[a-z0-9][a-z0-9_-]{0,62}$");

	set_range(schema, item, "minProperties", "maxProperties");
	return schema;
}

static json_t *list_schema(const struct conf_item *item)
{
	json_t *schema = json_pack("{s:s, s:o}", "type", "array", "items", item_schema(item->element));

	set_range(schema, item, "minItems", "maxItems");
	return item->is_open ? json_pack("{s:[o, o]}", "anyOf", schema, item_schema(item->element)) : schema;
}

static json_t *size_schema(void)
{
	json_t *number = json_pack("{s:s, s:i}", "type", "integer", "minimum", 0);

	return json_pack("{s:[o, {s:s, s:s}]}", "anyOf", number, "type", "string", "pattern", "^[0-9]{1,7}[kMGT]$");
}

static json_t *typed_schema(const struct conf_item *item)
{
	json_t *schema = NULL;

	switch (item->type) {
	case CONF_BOOL:
		return json_pack("{s:s}", "type", "boolean");
	case CONF_INT:
		schema = json_pack("{s:s}", "type", "integer");
		set_range(schema, item, "minimum", "maximum");
		return schema;
	case CONF_STRING:
		schema = json_pack("{s:s}", "type", "string");
		set_range(schema, item, "minLength", "maxLength");
		return schema;
	case CONF_ENUM:
		return enum_schema(item);
	case CONF_DURATION:
		return json_pack("{s:s, s:s}", "type", "string", "pattern", "^[0-9]{1,10}(ms|s|m|h)$");
	case CONF_SIZE:
		return size_schema();
	case CONF_LIST:
		return list_schema(item);
	case CONF_OBJECT:
		return object_schema(item->schema);
	case CONF_MAP:
		return map_schema(item);
	}
	return schema;
}

static json_t *item_schema(const struct conf_item *item)
{
	json_t *schema = typed_schema(item);

	if (item->help != NULL)
		json_object_set_new(schema, "description", json_string(item->help));
	if (item->is_fixed)
		json_object_set_new(schema, "x-needs-restart", json_true());
	if (item->default_json != NULL)
		json_object_set_new(schema, "default", json_loads(item->default_json, JSON_DECODE_ANY, NULL));
	return schema;
}

json_t *conf_json_schema(const struct conf_item *schema)
{
	json_t *result = object_schema(schema);

	json_object_set_new(result, "$schema", json_string("https://json-schema.org/draft/2020-12/schema"));
	return result;
}

/* Manual page */

/* One line of text: backslashes and a leading dot or apostrophe would be read as requests. */
static void print_text(const char *text, FILE *out)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", out);
	for (; *text != '\0'; text++)
		fputs(*text == '\\' ? "\\e" : (const char[]){ *text, '\0' }, out);
	fputc('\n', out);
}

static void print_ms(int64_t ms, FILE *out)
{
	static const struct {
		int64_t ms;
		const char *unit;
	} units[] = { { 3600000, "h" }, { 60000, "m" }, { 1000, "s" }, { 1, "ms" } };
	unsigned i = 0;

	while (ms % units[i].ms != 0 || (ms == 0 && i < 2))
		i++;
	fprintf(out, "%" PRId64 "%s", ms / units[i].ms, units[i].unit);
}

static void print_size(int64_t size, FILE *out)
{
	static const char *const units[] = { "", "k", "M", "G", "T" };
	unsigned i = 0;

	for (; size > 0 && size % 1024 == 0 && i < 4; i++)
		size /= 1024;
	fprintf(out, "%" PRId64 "%s", size, units[i]);
}

static void print_choices(const struct conf_item *item, FILE *out)
{
	for (unsigned i = 0; item->choices[i] != NULL; i++)
		fprintf(out, "%s%s", i > 0 ? " | " : "", item->choices[i]);
}

static void print_type(const struct conf_item *item, FILE *out)
{
	static const char *const names[] = {
		[CONF_BOOL] = "true or false", [CONF_INT] = "number",	[CONF_STRING] = "text",
		[CONF_ENUM] = "",	       [CONF_DURATION] = "duration", [CONF_LIST] = "list",
		[CONF_OBJECT] = "mapping",     [CONF_MAP] = "mapping of names",	 [CONF_SIZE] = "size",
	};

	fputs(item->is_open ? "value or list" : names[item->type], out);
	if (item->type == CONF_ENUM)
		print_choices(item, out);
	if (item->type == CONF_LIST && item->element->type == CONF_ENUM) {
		fputs(" of ", out);
		print_choices(item->element, out);
	}
	if (item->min == 0 && item->max == 0)
		return;
	if (item->type == CONF_INT) {
		fprintf(out, ", %" PRId64 " to %" PRId64, item->min, item->max);
	} else if (item->type == CONF_DURATION) {
		fputs(", ", out);
		print_ms(item->min, out);
		fputs(" to ", out);
		print_ms(item->max, out);
	} else if (item->type == CONF_SIZE) {
		fputs(", ", out);
		print_size(item->min, out);
		fputs(" to ", out);
		print_size(item->max, out);
	} else if (item->type == CONF_LIST || item->type == CONF_MAP) {
		fprintf(out, ", at most %" PRId64, item->max);
	}
}

/* The first of the table with the same members, so that they are listed once. */
static const struct conf_item *same_members(const struct conf_item *table, const struct conf_item *item)
{
	while (table != item && (table->schema == NULL || table->schema != item->schema))
		table++;
	return table;
}

static void print_item(const struct conf_item *table, const struct conf_item *item, FILE *out)
{
	const struct conf_item *same = same_members(table, item);

	fprintf(out, ".It Cm %s : Pq ", item->name);
	print_type(item, out);
	fputs(item->is_required ? ", required\n" : "\n", out);
	if (item->help != NULL)
		print_text(item->help, out);
	if (item->default_json != NULL && strcmp(item->default_json, "{}") != 0) {
		fputs("Default: ", out);
		print_text(item->default_json, out);
	}
	if (item->is_fixed)
		print_text(item->type == CONF_MAP ? "Names that are added, removed or moved take a restart." :
			   item->type == CONF_OBJECT ? "A change of any member takes a restart." : "A change takes a restart.", out);
	if (same != item)
		fprintf(out, "Members: as those of\n.Cm %s .\n", same->name);
	else if (item->schema != NULL)
		conf_print_man(item->schema, out);
	else if (item->type == CONF_LIST && item->element->schema != NULL)
		conf_print_man(item->element->schema, out);
}

void conf_print_man(const struct conf_item *schema, FILE *out)
{
	fputs(".Bl -tag -width 4n\n", out);
	for (const struct conf_item *item = schema; item->name != NULL; item++)
		print_item(schema, item, out);
	fputs(".El\n", out);
}
