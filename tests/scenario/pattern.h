/* Text with {names}: substitution of variables, and matching of lines and SIP messages with capture. Used by the
 * scenario runner only. */
#ifndef TESTS_SCENARIO_PATTERN_H
#define TESTS_SCENARIO_PATTERN_H

#include "core/span.h"

enum { PATTERN_VARS_MAX = 64, PATTERN_TEXT_MAX = 20000 };

struct pattern_var {
	char *name;
	char *value;
};
struct pattern_vars {
	struct pattern_var items[PATTERN_VARS_MAX];
	unsigned n;
};
void pattern_vars_fini(struct pattern_vars *vars);
int pattern_set(struct pattern_vars *vars, struct span name, struct span value);
const char *pattern_get(const struct pattern_vars *vars, struct span name); /* or NULL */

/* Replaces each {name} by its value. malloc'd text, or NULL with the reason in `why`. {len} is left alone. */
char *pattern_fill(const struct pattern_vars *vars, struct span text, char *why, size_t why_size);

/* Does `text` match the whole pattern? Captures set variables, only when it does. */
bool pattern_match(struct pattern_vars *vars, struct span pattern, struct span text, char *why, size_t why_size);

/* A SIP message against the lines of an `expect`: start line, headers, !absent headers, body. */
bool pattern_match_message(struct pattern_vars *vars, struct span pattern, struct span message, char *why,
			   size_t why_size);

#endif
