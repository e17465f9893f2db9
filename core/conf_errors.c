/* The list of configuration errors of core/conf.h, and the guess at what a mistyped name should have been. */
#include "core/conf.h"

#include <stdarg.h>
#include <stdlib.h>

enum { NAME_MAX_COMPARED = 64 };

static void free_error(struct conf_error *error)
{
	free(error->pointer);
	free(error->text);
	free(error->hint);
}

void conf_errors_free(struct conf_errors *errors)
{
	for (unsigned i = 0; i < errors->n; i++)
		free_error(&errors->items[i]);
	free(errors->items);
	errors->items = NULL;
	errors->n = 0;
}

/* Values from a file or a request may hold what would steer a terminal. */
static char *without_controls(char *text)
{
	for (char *c = text; c != NULL && *c != '\0'; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	return text;
}

void conf_errors_add(struct conf_errors *errors, const char *pointer, unsigned line, unsigned column,
		     const char *hint, const char *format, ...)
{
	struct conf_error error = { .line = line, .column = column };
	struct conf_error *grown;
	va_list args;

	if (errors->n >= CONF_ERRORS_MAX)
		return;
	grown = reallocarray(errors->items, errors->n + 1, sizeof(*grown));
	if (grown == NULL)
		return;
	errors->items = grown;
	va_start(args, format);
	if (vasprintf(&error.text, format, args) < 0)
		error.text = NULL;
	va_end(args);
	error.pointer = without_controls(strdup(pointer));
	error.hint = hint ? without_controls(strdup(hint)) : NULL;
	if (error.text == NULL || error.pointer == NULL || (hint != NULL && error.hint == NULL)) {
		free_error(&error);
		return;
	}
	without_controls(error.text);
	errors->items[errors->n++] = error;
}

static bool comes_after(const struct conf_error *a, const struct conf_error *b)
{
	return a->line != b->line ? a->line > b->line : a->column > b->column;
}

/* Insertion: stable, and the list is short and nearly sorted. */
void conf_errors_sort(struct conf_errors *errors)
{
	for (unsigned i = 1; i < errors->n; i++) {
		struct conf_error error = errors->items[i];
		unsigned at = i;

		for (; at > 0 && comes_after(&errors->items[at - 1], &error); at--)
			errors->items[at] = errors->items[at - 1];
		errors->items[at] = error;
	}
}

void conf_errors_print(const struct conf_errors *errors, FILE *out)
{
	for (unsigned i = 0; i < errors->n; i++) {
		const struct conf_error *error = &errors->items[i];

		if (errors->file != NULL)
			fprintf(out, "%s:", errors->file);
		if (error->line > 0)
			fprintf(out, "%u:%u:", error->line, error->column);
		if (errors->file != NULL || error->line > 0)
			fputc(' ', out);
		if (error->pointer[0] != '\0')
			fprintf(out, "%s: ", error->pointer);
		fputs(error->text, out);
		if (error->hint != NULL)
			fprintf(out, " (%s)", error->hint);
		fputc('\n', out);
	}
}

static unsigned least(unsigned a, unsigned b, unsigned c)
{
	unsigned ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Edits that turn a into b, where two neighbours exchanged count as one. Lengths up to NAME_MAX_COMPARED. */
static unsigned edit_distance(struct span a, struct span b)
{
	unsigned rows[3][NAME_MAX_COMPARED + 1];
	unsigned *before = rows[0], *last = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b.len; j++)
		last[j] = (unsigned)j;
	for (size_t i = 1; i <= a.len; i++) {
		unsigned *spare = before;

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b.len; j++) {
			unsigned change = last[j - 1] + (a.ptr[i - 1] != b.ptr[j - 1]);

			row[j] = least(last[j] + 1, row[j - 1] + 1, change);
			if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1])
				row[j] = least(row[j], before[j - 2] + 1, row[j]);
		}
		before = last;
		last = row;
		row = spare;
	}
	return last[b.len];
}

void conf_nearest_offer(struct conf_nearest *nearest, const char *candidate)
{
	struct span wanted = span_of(nearest->wanted);
	struct span name = span_of(candidate);
	unsigned distance, limit;

	if (wanted.len > NAME_MAX_COMPARED || name.len > NAME_MAX_COMPARED)
		return;
	distance = edit_distance(wanted, name);
	limit = (unsigned)((wanted.len > name.len ? wanted.len : name.len) + 1) / 3;
	if (limit == 0)
		limit = 1;
	if (distance > limit || distance >= name.len || (nearest->best != NULL && distance >= nearest->distance))
		return;
	nearest->best = candidate;
	nearest->distance = distance;
}

const char *conf_nearest_hint(const struct conf_nearest *nearest, char *out, size_t cap)
{
	if (nearest->best == NULL)
		return NULL;
	snprintf(out, cap, "did you mean %s?", nearest->best);
	return out;
}
