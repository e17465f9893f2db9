/* What a later configuration has that an earlier one had not, by name: for people who want to know what a reload did. Of both it
 * compares what was written, with defaults filled in. */
#include "core/config_build.h"

enum { POINTER_MAX = 128 };

struct diff {
	config_diff_fn *fn;
	void *arg;
};

static void tell(const struct diff *diff, enum config_change change, const char *section, const char *name)
{
	char pointer[POINTER_MAX];

	snprintf(pointer, sizeof(pointer), "/%s%s%s", section, name != NULL ? "/" : "", name != NULL ? name : "");
	diff->fn(diff->arg, change, pointer);
}

static void compare_map(const struct diff *diff, const char *section, const json_t *before, const json_t *after)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)before, name, value)
		if (json_object_get(after, name) == NULL)
			tell(diff, CONFIG_REMOVED, section, name);
	json_object_foreach((json_t *)after, name, value) {
		const json_t *old = json_object_get(before, name);

		if (old == NULL)
			tell(diff, CONFIG_ADDED, section, name);
		else if (!json_equal(old, value))
			tell(diff, CONFIG_CHANGED, section, name);
	}
}

void config_diff(const struct config *before, const struct config *after, config_diff_fn *fn, void *arg)
{
	const struct diff diff = { fn, arg };

	for (const struct conf_item *item = config_schema(); item->name != NULL; item++) {
		const json_t *old = json_object_get(config_tree(before), item->name);
		const json_t *new = json_object_get(config_tree(after), item->name);

		if (item->type == CONF_MAP)
			compare_map(&diff, item->name, old, new);
		else if (!json_equal(old, new))
			tell(&diff, CONFIG_CHANGED, item->name, NULL);
	}
}

const char *config_change_text(enum config_change change)
{
	static const char *const texts[] = { [CONFIG_ADDED] = "added", [CONFIG_REMOVED] = "removed", [CONFIG_CHANGED] = "changed" };

	return texts[change];
}
