/* What a program that runs cannot follow, see conf_check_fixed(): two checked trees side by side along the schema. */
#include "core/conf.h"

#include <stdlib.h>

#include "core/err.h"
#include "core/yaml.h"

enum { POINTER_MAX = 512, VALUE_MAX = 48 /* shown of a value */ };

struct walk {
	const struct yaml_doc *doc; /* of `after` */
	struct conf_errors *errors;
	char pointer[POINTER_MAX];
	bool is_bad;
};

static void compare_object(struct walk *w, const struct conf_item *schema, const json_t *before, const json_t *after, bool is_all_fixed);

static size_t enter(struct walk *w, const char *name)
{
	size_t len = strlen(w->pointer);

	snprintf(w->pointer + len, sizeof(w->pointer) - len, "/%s", name);
	return len;
}

static void leave(struct walk *w, size_t len)
{
	w->pointer[len] = '\0';
}

/* Where the value stands; what is only a default, or is gone: where it would stand. */
static struct yaml_pos position(const struct walk *w)
{
	char pointer[POINTER_MAX];
	struct yaml_pos pos;

	snprintf(pointer, sizeof(pointer), "%s", w->pointer);
	while ((pos = yaml_pos(w->doc, pointer)).line == 0 && pointer[0] != '\0')
		*strrchr(pointer, '/') = '\0';
	return pos;
}

static void report(struct walk *w, const char *hint, const char *what)
{
	struct yaml_pos pos = position(w);

	conf_errors_add(w->errors, w->pointer, pos.line, pos.column, hint, "%s", what);
	w->is_bad = true;
}

static void print_value(const json_t *value, char out[VALUE_MAX])
{
	char *text = value != NULL ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	snprintf(out, VALUE_MAX, "%s", text != NULL ? text : "nothing");
	if (text != NULL && strlen(text) >= VALUE_MAX)
		memcpy(out + VALUE_MAX - 4, "...", 4);
	free(text);
}

static void report_value(struct walk *w, const json_t *before, const json_t *after)
{
	char old[VALUE_MAX], new[VALUE_MAX], text[2 * VALUE_MAX + 64];

	print_value(before, old);
	print_value(after, new);
	snprintf(text, sizeof(text), "takes a restart: %s is in force, this is %s", old, new);
	report(w, "restart the gateway, or put back what is in force", text);
}

/* Their objects are known by position to those who keep them apart, so the order counts too. */
static void compare_names(struct walk *w, const json_t *before, const json_t *after)
{
	const char *name;
	json_t *value;
	void *old = json_object_iter((json_t *)before), *new = json_object_iter((json_t *)after);
	unsigned n_before = w->errors->n;

	json_object_foreach((json_t *)after, name, value) {
		size_t len = enter(w, name);

		if (json_object_get(before, name) == NULL)
			report(w, "restart the gateway, or remove it", "takes a restart: it is new");
		leave(w, len);
	}
	json_object_foreach((json_t *)before, name, value) {
		size_t len = enter(w, name);

		if (json_object_get(after, name) == NULL)
			report(w, "restart the gateway, or put it back", "takes a restart: it is in force and not in the file");
		leave(w, len);
	}
	if (w->errors->n > n_before)
		return;
	for (; old != NULL && new != NULL; old = json_object_iter_next((json_t *)before, old), new = json_object_iter_next((json_t *)after, new)) {
		if (strcmp(json_object_iter_key(old), json_object_iter_key(new)) == 0)
			continue;
		report(w, "restart the gateway, or keep the order", "takes a restart: the order is another one");
		return;
	}
}

static void compare_map(struct walk *w, const struct conf_item *item, const json_t *before, const json_t *after, bool is_all_fixed)
{
	const char *name;
	json_t *value;

	if (item->is_fixed || is_all_fixed)
		compare_names(w, before, after);
	json_object_foreach((json_t *)after, name, value) {
		const json_t *other = json_object_get(before, name);
		size_t len = enter(w, name);

		if (other != NULL)
			compare_object(w, item->schema, other, value, is_all_fixed);
		leave(w, len);
	}
}

static bool is_same(const json_t *before, const json_t *after)
{
	return before == NULL || after == NULL ? before == after : json_equal(before, after);
}

static void compare_item(struct walk *w, const struct conf_item *item, const json_t *before, const json_t *after, bool is_all_fixed)
{
	size_t len;

	if (is_same(before, after) && item->type != CONF_MAP) /* which may be equal in another order */
		return;
	len = enter(w, item->name);
	if (item->type == CONF_OBJECT && json_is_object(before) && json_is_object(after))
		compare_object(w, item->schema, before, after, is_all_fixed || item->is_fixed);
	else if (item->type == CONF_MAP)
		compare_map(w, item, before, after, is_all_fixed);
	else if (is_all_fixed || item->is_fixed)
		report_value(w, before, after);
	leave(w, len);
}

static void compare_object(struct walk *w, const struct conf_item *schema, const json_t *before, const json_t *after, bool is_all_fixed)
{
	for (const struct conf_item *item = schema; item->name != NULL; item++)
		compare_item(w, item, json_object_get(before, item->name), json_object_get(after, item->name), is_all_fixed);
}

int conf_check_fixed(const struct conf_item *schema, const json_t *before, const json_t *after, const struct yaml_doc *doc,
		     struct conf_errors *errors)
{
	struct walk w = { .doc = doc, .errors = errors };

	compare_object(&w, schema, before, after, false);
	return w.is_bad ? ERR_CONFIG : 0;
}
