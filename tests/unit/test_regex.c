/* Regular expressions: what matches, what does not compile, and that work, depth and memory are bounded. */
#include "core/regex.h"

#include <stdlib.h>

#include "core/err.h"
#include "tests/unit/unit.h"

static struct regex_room room; /* zeroed: ready */

static struct regex *compiled(const char *pattern)
{
	struct regex *regex = NULL;
	char text[160];

	CU_ASSERT_EQUAL_FATAL(regex_new(pattern, text, sizeof(text), &regex), 0);
	return regex;
}

static enum regex_result ask(const char *pattern, struct span text)
{
	struct regex *regex = compiled(pattern);
	enum regex_result result = regex_match(regex, text, &room);

	regex_free(regex);
	return result;
}

static void what_matches(void)
{
	static const struct {
		const char *pattern;
		struct span text;
		enum regex_result result;
	} cases[] = {
		{ "\\.(exe|scr)$", SPAN_LIT("/a/b.exe"), REGEX_YES },
		{ "\\.(exe|scr)$", SPAN_LIT("/a/b.exe.txt"), REGEX_NO },
		{ "exe", SPAN_LIT("EXE"), REGEX_NO },
		{ "(?i)exe", SPAN_LIT("EXE"), REGEX_YES },
		{ "", SPAN_NONE, REGEX_YES },
		{ "^$", SPAN_NONE, REGEX_YES },
		{ "a.c", SPAN_LIT("a\nc"), REGEX_YES },
		{ "a.c", SPAN_LIT("a\0c"), REGEX_YES },
		{ "c$", SPAN_LIT("a\0c"), REGEX_YES },
		{ "a..c", SPAN_LIT("a\xc3\xbc""c"), REGEX_YES }, /* octets */
		{ "(*UTF)a.c", SPAN_LIT("a\xc3\xbc""c"), REGEX_YES },
		{ "(*UTF)a.c", SPAN_LIT("a\xc3""c"), REGEX_GAVE_UP },
		{ "^(?<x>a)\\k<x>$", SPAN_LIT("aa"), REGEX_YES },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CU_ASSERT_EQUAL(ask(cases[i].pattern, cases[i].text), cases[i].result);
}

static void what_does_not_compile(void)
{
	static const struct {
		const char *pattern, *text;
	} cases[] = {
		{ "(", "missing closing parenthesis at offset 1" },
		{ "a[z-a]", "range out of order in character class at offset 4" },
		{ "*", "quantifier does not follow a repeatable item at offset 0" },
	};
	struct regex *regex = NULL;
	char text[160];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CU_ASSERT_EQUAL(regex_new(cases[i].pattern, text, sizeof(text), &regex), ERR_PARSE);
		CU_ASSERT_PTR_NULL(regex);
		CU_ASSERT_STRING_EQUAL(text, cases[i].text);
	}
	CU_ASSERT_EQUAL(regex_new("(", text, 5, &regex), ERR_PARSE);
	CU_ASSERT_STRING_EQUAL(text, "miss");
	regex_free(NULL);
}

static struct span repeated(char *out, size_t n, const char *unit, char last)
{
	for (size_t i = 0; i + 1 < n; i++)
		out[i] = unit[i % strlen(unit)];
	out[n - 1] = last;
	return (struct span){ out, n };
}

static void work_is_bounded(void)
{
	char text[8192];

	CU_ASSERT_EQUAL(ask("^(a|aa)+$", repeated(text, 40, "a", 'b')), REGEX_GAVE_UP);
	CU_ASSERT_EQUAL(ask("(a*)*(a*)*(a*)*[xy]", repeated(text, 200, "a", 'b')), REGEX_GAVE_UP);
	CU_ASSERT_EQUAL(ask("^(a|aa)+$", SPAN_LIT("aaa")), REGEX_YES); /* the room is as good as before */
}

/* What has to be remembered grows with the text: some of it works, much of it is refused. */
static void memory_is_bounded(void)
{
	char text[8192];

	CU_ASSERT_EQUAL(ask("^(?:a|b)*c$", repeated(text, 100, "ab", 'c')), REGEX_YES);
	CU_ASSERT_EQUAL(ask("^(?:a|b)*c$", repeated(text, sizeof(text), "ab", 'c')), REGEX_GAVE_UP);
	CU_ASSERT_EQUAL(ask("^.*c$", repeated(text, sizeof(text), "ab", 'c')), REGEX_YES);
	CU_ASSERT_EQUAL(ask("^(?:(a)|(b))*c$", repeated(text, 100, "ab", 'c')), REGEX_YES);
}

static void memory_comes_from_the_room(void)
{
	struct regex_room *own = malloc(sizeof(*own));
	struct regex *regex = compiled("^(?:a|b)*c$");
	char text[8192];
	size_t used;

	CU_ASSERT_PTR_NOT_NULL_FATAL(own);
	regex_room_init(own);
	CU_ASSERT_EQUAL(own->used, 0);
	CU_ASSERT_EQUAL(regex_match(regex, SPAN_LIT("abc"), own), REGEX_YES);
	CU_ASSERT((char *)own->data >= own->bytes && (char *)own->data < own->bytes + sizeof(own->bytes));
	used = own->used;
	CU_ASSERT(used > 1024 && used < sizeof(own->bytes));
	CU_ASSERT_EQUAL(regex_match(regex, SPAN_LIT("abab"), own), REGEX_NO);
	CU_ASSERT_EQUAL(own->used, used); /* nothing more for each match */
	CU_ASSERT_EQUAL(regex_match(regex, repeated(text, sizeof(text), "ab", 'c'), own), REGEX_GAVE_UP);
	CU_ASSERT(own->used > used && own->used <= sizeof(own->bytes));
	regex_free(regex);
	free(own);
}

/* Each needs a little more than the one before, so each begins with a piece of its own: in the end the room begins anew. */
static void many_expressions_in_one_room(void)
{
	char pattern[4096] = "x";
	size_t len = 1;

	regex_room_init(&room);
	for (unsigned i = 0; i < 400; i++) {
		memcpy(pattern + len, "(a)?", 5);
		len += 4;
		CU_ASSERT_EQUAL(ask(pattern, SPAN_LIT("bx")), REGEX_YES);
	}
}

static const struct unit_test tests[] = {
	{ "what matches", what_matches },
	{ "what does not compile", what_does_not_compile },
	{ "work is bounded", work_is_bounded },
	{ "memory is bounded", memory_is_bounded },
	{ "memory comes from the room", memory_comes_from_the_room },
	{ "many expressions in one room", many_expressions_in_one_room },
};

UNIT_MAIN("regex", tests)
