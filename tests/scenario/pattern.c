/* Patterns of the scenario language. A pattern becomes a POSIX extended regular expression: literal text is escaped,
 * {any} is ".*", {name=regex} a group, {name} the value of a variable. Pure but for the variables. */
#include "tests/scenario/pattern.h"

#include <ctype.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/buf.h"
#include "core/err.h"

enum { CAPTURES_MAX = 8, GROUPS_MAX = 24, HEADERS_MAX = 128 };

struct capture {
	struct span name;
	size_t group;
};
struct compiled {
	char text[PATTERN_TEXT_MAX];
	struct capture captures[CAPTURES_MAX];
	unsigned n_captures;
	size_t n_groups;
};

void pattern_vars_fini(struct pattern_vars *vars)
{
	for (unsigned i = 0; i < vars->n; i++) {
		free(vars->items[i].name);
		free(vars->items[i].value);
	}
	vars->n = 0;
}

static struct pattern_var *find_var(const struct pattern_vars *vars, struct span name)
{
	for (unsigned i = 0; i < vars->n; i++)
		if (span_eq(span_of(vars->items[i].name), name))
			return (struct pattern_var *)&vars->items[i];
	return NULL;
}

const char *pattern_get(const struct pattern_vars *vars, struct span name)
{
	const struct pattern_var *var = find_var(vars, name);
	return var ? var->value : NULL;
}

int pattern_set(struct pattern_vars *vars, struct span name, struct span value)
{
	struct pattern_var *var = find_var(vars, name);
	if (!var && vars->n == PATTERN_VARS_MAX)
		return ERR_LIMIT;
	char *copy = strndup(value.ptr ? value.ptr : "", value.len);
	if (!copy)
		return ERR_LIMIT;
	if (!var) {
		var = &vars->items[vars->n];
		var->name = strndup(name.ptr, name.len);
		if (!var->name) {
			free(copy);
			return ERR_LIMIT;
		}
		vars->n++;
		var->value = NULL;
	}
	free(var->value);
	var->value = copy;
	return 0;
}

static bool is_name(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!isalnum((unsigned char)s.ptr[i]) && s.ptr[i] != '_' && s.ptr[i] != '-')
			return false;
	return s.len > 0;
}

/* The text between the brace at `at` and its partner; braces inside a regex nest ("{n=[0-9]{3}}"). */
static bool brace_inside(struct span text, size_t at, struct span *ret)
{
	unsigned depth = 0;
	for (size_t i = at; i < text.len && text.ptr[i] != '\n'; i++) {
		if (text.ptr[i] == '{')
			depth++;
		if (text.ptr[i] == '}' && --depth == 0) {
			*ret = span_sub(text, at + 1, i);
			return true;
		}
	}
	return false;
}

char *pattern_fill(const struct pattern_vars *vars, struct span text, char *why, size_t why_size)
{
	char *out = malloc(PATTERN_TEXT_MAX + 1);
	if (!out)
		return NULL;
	struct buf b = buf_of(out, PATTERN_TEXT_MAX);
	for (size_t i = 0; i < text.len; i++) {
		struct span name;
		if (text.ptr[i] != '{' || !brace_inside(text, i, &name) || !is_name(name) || span_eq(name, SPAN_LIT("len"))) {
			buf_putc(&b, text.ptr[i]);
			continue;
		}
		const char *value = pattern_get(vars, name);
		if (!value) {
			snprintf(why, why_size, "no variable {%.*s}", SPAN_ARG(name));
			free(out);
			return NULL;
		}
		buf_puts(&b, value);
		i += name.len + 1;
	}
	if (b.is_full) {
		snprintf(why, why_size, "text too long");
		free(out);
		return NULL;
	}
	out[b.len] = '\0';
	return out;
}

static void put_literal(struct buf *b, struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (strchr("^.[$()|*+?{\\", text.ptr[i]))
			buf_putc(b, '\\');
		buf_putc(b, text.ptr[i]);
	}
}

static size_t count_groups(struct span regex)
{
	size_t n = 0;
	for (size_t i = 0; i < regex.len; i++) {
		if (regex.ptr[i] == '\\')
			i++;
		else if (regex.ptr[i] == '(')
			n++;
	}
	return n;
}

/* One {...}: false when it is neither a known variable nor a capture. */
static bool put_braces(struct compiled *c, struct buf *b, const struct pattern_vars *vars, struct span inside)
{
	struct span regex = inside;
	struct span name = span_cut(&regex, '=');
	if (span_eq(inside, SPAN_LIT("any"))) {
		buf_puts(b, ".*");
		return true;
	}
	if (!is_name(name))
		return false;
	if (!regex.ptr) {
		const char *value = pattern_get(vars, name);
		if (value)
			put_literal(b, span_of(value));
		return value != NULL;
	}
	if (c->n_captures == CAPTURES_MAX)
		return false;
	if (span_is_empty(regex))
		regex = SPAN_LIT("[^] \t;,<>=\"]+");
	c->captures[c->n_captures++] = (struct capture){ name, ++c->n_groups };
	c->n_groups += count_groups(regex);
	buf_printf(b, "(%.*s)", SPAN_ARG(regex));
	return c->n_groups < GROUPS_MAX;
}

static bool compile(const struct pattern_vars *vars, struct span pattern, struct compiled *c)
{
	struct buf b = buf_of(c->text, sizeof(c->text) - 1);
	c->n_captures = 0;
	c->n_groups = 0;
	buf_putc(&b, '^');
	for (size_t i = 0; i < pattern.len; i++) {
		struct span inside;
		if (pattern.ptr[i] != '{' || !brace_inside(pattern, i, &inside)) {
			put_literal(&b, span_sub(pattern, i, i + 1));
			continue;
		}
		if (!put_braces(c, &b, vars, inside))
			return false;
		i += inside.len + 1;
	}
	buf_putc(&b, '$');
	c->text[b.len] = '\0';
	return !b.is_full;
}

bool pattern_match(struct pattern_vars *vars, struct span pattern, struct span text, char *why, size_t why_size)
{
	struct compiled *c = malloc(sizeof(*c));
	char *line = strndup(text.ptr ? text.ptr : "", text.len);
	regmatch_t groups[GROUPS_MAX];
	regex_t regex;
	bool ok = false;

	if (!c || !line)
		goto out;
	if (!compile(vars, pattern, c) || regcomp(&regex, c->text, REG_EXTENDED) != 0) {
		snprintf(why, why_size, "bad pattern: %.*s", SPAN_ARG(pattern));
		goto out;
	}
	ok = regexec(&regex, line, GROUPS_MAX, groups, 0) == 0;
	regfree(&regex);
	if (!ok)
		snprintf(why, why_size, "wanted: %.*s\n     got: %s", SPAN_ARG(pattern), line);
	for (unsigned i = 0; ok && i < c->n_captures; i++) {
		const regmatch_t *g = &groups[c->captures[i].group];
		struct span value = span_sub(span_of(line), (size_t)g->rm_so, (size_t)g->rm_eo);
		ok = pattern_set(vars, c->captures[i].name, value) == 0;
	}
out:
	free(c);
	free(line);
	return ok;
}

/* Next line without its end; CR is dropped. */
static struct span next_line(struct span *text)
{
	struct span line = span_cut(text, '\n');
	if (line.len > 0 && line.ptr[line.len - 1] == '\r')
		line.len--;
	return line;
}

struct headers {
	struct span lines[HEADERS_MAX];
	bool used[HEADERS_MAX];
	unsigned n;
};

static struct span header_name(struct span line)
{
	return span_trim(span_sub(line, 0, span_find(line, ':')));
}

static bool match_present(struct pattern_vars *vars, struct headers *h, struct span pattern, char *why, size_t why_size)
{
	struct span name = header_name(pattern);
	struct span wanted = span_trim(span_sub(pattern, span_find(pattern, ':') + 1, pattern.len));
	snprintf(why, why_size, "header missing: %.*s", SPAN_ARG(pattern));
	for (unsigned i = 0; i < h->n; i++) {
		if (h->used[i] || !span_ieq(header_name(h->lines[i]), name))
			continue;
		struct span value = span_trim(span_sub(h->lines[i], span_find(h->lines[i], ':') + 1, h->lines[i].len));
		if (pattern_match(vars, wanted, value, why, why_size)) {
			h->used[i] = true;
			return true;
		}
	}
	return false;
}

static bool match_absent(const struct headers *h, struct span name, char *why, size_t why_size)
{
	for (unsigned i = 0; i < h->n; i++) {
		if (span_ieq(header_name(h->lines[i]), name)) {
			snprintf(why, why_size, "header must be absent: %.*s", SPAN_ARG(h->lines[i]));
			return false;
		}
	}
	return true;
}

static bool match_body(struct pattern_vars *vars, struct span pattern, struct span body, char *why, size_t why_size)
{
	while (pattern.len > 0) {
		struct span wanted = next_line(&pattern);
		if (span_eq(wanted, SPAN_LIT("{rest}")))
			return true;
		if (body.len == 0) {
			snprintf(why, why_size, "body ends before: %.*s", SPAN_ARG(wanted));
			return false;
		}
		if (!pattern_match(vars, wanted, next_line(&body), why, why_size))
			return false;
	}
	if (body.len > 0)
		snprintf(why, why_size, "more body than wanted: %.*s", SPAN_ARG(body));
	return body.len == 0;
}

bool pattern_match_message(struct pattern_vars *vars, struct span pattern, struct span message, char *why,
			   size_t why_size)
{
	struct headers h = { .n = 0 };
	struct span start = next_line(&message);
	while (message.ptr) {
		struct span line = next_line(&message);
		if (span_is_empty(line) || h.n == HEADERS_MAX)
			break;
		h.lines[h.n++] = line;
	}
	if (!pattern_match(vars, next_line(&pattern), start, why, why_size))
		return false;
	while (pattern.len > 0) {
		struct span line = next_line(&pattern);
		if (span_is_empty(line))
			return match_body(vars, pattern, message, why, why_size);
		bool ok = line.ptr[0] == '!' ? match_absent(&h, span_sub(line, 1, line.len), why, why_size)
					     : match_present(vars, &h, line, why, why_size);
		if (!ok)
			return false;
	}
	return true;
}
