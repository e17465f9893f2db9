/* Reports with their position in the file, and typed access to the checked tree: what all builders of a snapshot share. */
#include "core/config_build.h"

#include <errno.h>
#include <stdarg.h>

#include "core/arena.h"
#include "core/err.h"
#include "core/regex.h"
#include "core/yaml.h"

/* Reports */

void config_at(struct config_build *b, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(b->pointer, sizeof(b->pointer), format, args);
	va_end(args);
}

void config_at_element(struct config_build *b, unsigned index, const char *format, ...)
{
	va_list args;
	size_t len;

	va_start(args, format);
	vsnprintf(b->pointer, sizeof(b->pointer), format, args);
	va_end(args);
	len = strlen(b->pointer);
	snprintf(b->pointer + len, sizeof(b->pointer) - len, "/%u", index);
	while (yaml_pos(b->doc, b->pointer).line == 0 && b->pointer[0] != '\0')
		*strrchr(b->pointer, '/') = '\0';
}

void config_report(struct config_build *b, const char *hint, const char *format, ...)
{
	struct yaml_pos pos = yaml_pos(b->doc, b->pointer);
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	conf_errors_add(b->errors, b->pointer, pos.line, pos.column, hint, "%s", text);
	b->is_bad = true;
}

void config_check_regex(struct config_build *b, const char *pattern)
{
	struct regex *regex = NULL;
	char text[160];
	int err = pattern != NULL ? regex_new(pattern, text, sizeof(text), &regex) : 0;

	regex_free(regex);
	if (err == -ENOMEM)
		b->is_out_of_memory = true;
	if (err == ERR_PARSE)
		config_report(b, "write a PCRE2 regular expression", "%s", text);
}

/* Typed access to the checked tree */

struct span config_text(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	return (struct span){ json_string_value(value), json_string_length(value) };
}

bool config_is_text(const json_t *object, const char *name, const char *text)
{
	return span_eq(config_text(object, name), span_of(text));
}

const char *config_keep(struct config_build *b, struct span text)
{
	return text.ptr != NULL ? arena_strdup(b->arena, text) : NULL;
}

const char *config_string(struct config_build *b, const json_t *object, const char *name)
{
	return config_keep(b, config_text(object, name));
}

uint32_t config_number(const json_t *object, const char *name)
{
	return (uint32_t)json_integer_value(json_object_get(object, name));
}

uint32_t config_ms(const json_t *object, const char *name)
{
	int64_t ms = 0;

	(void)conf_duration_ms(config_text(object, name), &ms);
	return (uint32_t)ms;
}

uint64_t config_size(const json_t *object, const char *name)
{
	int64_t size = 0;

	(void)conf_size(json_object_get(object, name), &size);
	return (uint64_t)size;
}

size_t config_list_size(const json_t *list, size_t max)
{
	size_t n = json_is_array(list) ? json_array_size(list) : list != NULL;

	return n < max ? n : max;
}

struct span config_list_text(const json_t *list, size_t index)
{
	const json_t *value = json_is_array(list) ? json_array_get(list, index) : list;

	return (struct span){ json_string_value(value), json_string_length(value) };
}

/* Realms. An address that did not parse keeps its place with family 0, so that positions stay right. */

bool config_realm_has(const struct realm_conf *realm, const struct addr *addr)
{
	for (unsigned i = 0; i < realm->n_addresses; i++)
		if (addr_is_set(addr) && addr_eq_ip(&realm->addresses[i], addr))
			return true;
	return false;
}

bool config_realm_has_family(const struct realm_conf *realm, uint8_t family)
{
	for (unsigned i = 0; i < realm->n_addresses; i++)
		if (realm->addresses[i].family == family)
			return true;
	return false;
}

bool config_realm_has_sip(const struct config_build *b, const struct realm_conf *realm)
{
	char pointer[128];

	snprintf(pointer, sizeof(pointer), "/realms/%s/sip/0", realm->name);
	return realm->n_listens > 0 || yaml_pos(b->doc, pointer).line > 0;
}

const struct realm_conf *config_find_realm(struct config_build *b, const json_t *object, const char *name)
{
	struct span wanted = config_text(object, name);
	struct conf_nearest nearest = { .wanted = wanted.ptr };
	const struct realm_conf *realm;
	char hint[CONFIG_HINT_MAX];

	if (wanted.ptr == NULL)
		return NULL; /* reported by the schema */
	realm = config_realm(b->config, wanted);
	if (realm != NULL)
		return realm;
	for (unsigned i = 0; i < b->config->n_realms; i++)
		conf_nearest_offer(&nearest, b->config->realms[i].name);
	config_report(b, conf_nearest_hint(&nearest, hint, sizeof(hint)), "there is no realm %s", wanted.ptr);
	return NULL;
}
