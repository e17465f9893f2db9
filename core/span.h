/* Borrowed bytes: a pointer and a length, no ownership, no terminating NUL. A span stored beyond the call that
 * handed it out is a bug unless a comment says what keeps the bytes alive. */
#ifndef CORE_SPAN_H
#define CORE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
	const char *ptr;
	size_t len;
};

#define SPAN_LIT(s) ((struct span){ "" s, sizeof(s) - 1 })
#define SPAN_NONE ((struct span){ NULL, 0 })
/* For printf: "%.*s", SPAN_ARG(span) */
#define SPAN_ARG(s) (int)(s).len, (s).ptr ? (s).ptr : ""

static inline struct span span_of(const char *text) /* NULL gives an empty span */
{
	return (struct span){ text, text ? strlen(text) : 0 };
}

static inline bool span_is_empty(struct span s)
{
	return s.len == 0;
}

static inline bool span_eq(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* The bytes [from, to) of s; both are clamped to its length. */
static inline struct span span_sub(struct span s, size_t from, size_t to)
{
	if (to > s.len)
		to = s.len;
	if (from > to)
		from = to;
	return (struct span){ s.ptr ? s.ptr + from : NULL, to - from };
}

bool span_ieq(struct span a, struct span b);                 /* ASCII case-insensitive */
bool span_starts(struct span s, struct span prefix);
bool span_istarts(struct span s, struct span prefix);
/* Offset of the first c, or s.len when absent. */
size_t span_find(struct span s, char c);
/* Without leading and trailing SP, HT, CR, LF. */
struct span span_trim(struct span s);
/* Cuts *s at the first sep: returns what is before it and leaves the rest (without sep) in *s. When sep is
 * absent returns all of *s and leaves it empty with ptr NULL, so `while (s.ptr)` walks every field. */
struct span span_cut(struct span *s, char sep);
/* Strict unsigned decimal: 1 to 10 digits, nothing else, at most max. 0 or ERR_PARSE. */
int span_to_u32(struct span s, uint32_t max, uint32_t *ret);
/* Octets of the UTF-8 character that s begins with, and its code point (RFC 3629: no overlong forms, no surrogates).
 * 0 when s is empty or does not begin with one. */
size_t span_utf8(struct span s, uint32_t *ret_code);

#endif
