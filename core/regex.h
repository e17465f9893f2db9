/* Regular expressions (PCRE2 without JIT) on octets, under limits of steps, depth and memory: a bad expression costs its
 * user a match, not the gateway its time. The only user of PCRE2. */
#ifndef CORE_REGEX_H
#define CORE_REGEX_H

#include <stdalign.h>

#include "core/span.h"

struct regex;

/* Where matching works; it allocates nothing else. Some 125 KB of which little is touched: on the stack (as SCRATCH,
 * core/buf.h) for a row of matches, or kept by whoever matches often. Holds nothing between two matches that must be
 * released. One thread at a time. */
enum { REGEX_ROOM = 124 * 1024 };
struct regex_room {
	void *data, *limits; /* NULL: not set up */
	size_t used;
	alignas(max_align_t) char bytes[REGEX_ROOM];
};
/* Zeroed memory needs no call. */
static inline void regex_room_init(struct regex_room *room)
{
	room->data = NULL;
	room->limits = NULL;
	room->used = 0;
}

/* '.' matches every octet. 0, -ENOMEM, or ERR_PARSE with what is wrong and where in error_text. */
int regex_new(const char *pattern, char *error_text, size_t error_size, struct regex **ret);
void regex_free(struct regex *regex); /* NULL is fine */

enum regex_result { REGEX_NO, REGEX_YES, REGEX_GAVE_UP /* a limit was reached: nobody knows */ };
/* Any thread, with a room of its own. */
enum regex_result regex_match(const struct regex *regex, struct span text, struct regex_room *room);

#endif
