/* core/regex.h over PCRE2. An expression is immutable once it is compiled; what a match needs besides lies in the caller's
 * room, from which PCRE2's allocations are cut off one behind the other. */
#include "core/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <errno.h>
#include <pcre2.h>
#include <stdio.h>

#include "core/err.h"

/* HEAP_KIB: PCRE2 begins with 20 KiB for what it has to go back to and doubles that up to the limit, with the old and the
 * new piece there at a time: 20 + 40 + 60 is the room. */
enum { MATCH_LIMIT = 10000, DEPTH_LIMIT = 1000, HEAP_KIB = 60 };

int regex_new(const char *pattern, char *error_text, size_t error_size, struct regex **ret)
{
	PCRE2_SIZE offset = 0;
	PCRE2_UCHAR text[120];
	int error = 0;
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_DOTALL, &error, &offset, NULL);

	if (code == NULL) {
		if (error == PCRE2_ERROR_HEAP_FAILED)
			return -ENOMEM;
		pcre2_get_error_message(error, text, sizeof(text));
		snprintf(error_text, error_size, "%s at offset %zu", (char *)text, (size_t)offset);
		return ERR_PARSE;
	}
	*ret = (struct regex *)code;
	return 0;
}

void regex_free(struct regex *regex)
{
	pcre2_code_free((pcre2_code *)regex);
}

static void *take(size_t size, void *arg)
{
	struct regex_room *room = arg;
	const size_t align = alignof(max_align_t);
	void *at = room->bytes + room->used;

	if (size > sizeof(room->bytes) - room->used)
		return NULL;
	room->used += (size + align - 1) & ~(align - 1);
	return at;
}

static void give_back(void *at, void *arg)
{
	(void)at;
	(void)arg;
}

static bool set_up(struct regex_room *room)
{
	pcre2_general_context *memory;
	pcre2_match_context *limits = NULL;

	regex_room_init(room);
	memory = pcre2_general_context_create(take, give_back, room);
	if (memory != NULL) {
		room->data = pcre2_match_data_create(1, memory);
		limits = pcre2_match_context_create(memory);
	}
	if (room->data == NULL || limits == NULL)
		return false;
	pcre2_set_match_limit(limits, MATCH_LIMIT);
	pcre2_set_depth_limit(limits, DEPTH_LIMIT);
	pcre2_set_heap_limit(limits, HEAP_KIB);
	room->limits = limits;
	return true;
}

static int match(const struct regex *regex, struct span text, struct regex_room *room)
{
	return pcre2_match((const pcre2_code *)regex, (PCRE2_SPTR)(text.ptr ? text.ptr : ""), text.len, 0, 0, room->data,
			   room->limits);
}

enum regex_result regex_match(const struct regex *regex, struct span text, struct regex_room *room)
{
	int n;

	if (room->limits == NULL && !set_up(room))
		return REGEX_GAVE_UP;
	n = match(regex, text, room);
	/* Others before it may have left too little in the room. */
	if (n == PCRE2_ERROR_NOMEMORY && set_up(room))
		n = match(regex, text, room);
	if (n >= 0)
		return REGEX_YES;
	return n == PCRE2_ERROR_NOMATCH ? REGEX_NO : REGEX_GAVE_UP;
}
