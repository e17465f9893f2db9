/* RFC 3339 timestamps, always UTC with milliseconds on the way out: "2026-03-01T12:00:00.000Z". Pure. */
#ifndef API_TIMESTAMP_H
#define API_TIMESTAMP_H

#include "core/span.h"

#define TIMESTAMP_TEXT_MAX 32

/* Writes into out (TIMESTAMP_TEXT_MAX bytes) and returns it; "" for times outside of the years 1970 to 9999. */
const char *timestamp_text(int64_t wall_ms, char *out);
/* A full date-time with "Z" or an offset, fractions cut to milliseconds; years 1970 to 9999. 0 or ERR_PARSE. */
int timestamp_parse(struct span text, int64_t *ret_wall_ms);

#endif
