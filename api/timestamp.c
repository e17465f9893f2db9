/* RFC 3339, the profile of ISO 8601 that the API speaks. Parsing is strict: every field has its width and its range,
 * a leap second is taken as the second before. Does not read the clock. */
#include "api/timestamp.h"

#include <stdio.h>
#include <time.h>

#include "core/err.h"

#define TIMESTAMP_MAX_MS INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */

const char *timestamp_text(int64_t wall_ms, char *out)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm tm;

	out[0] = '\0';
	if (wall_ms < 0 || wall_ms > TIMESTAMP_MAX_MS || gmtime_r(&seconds, &tm) == NULL)
		return out;
	snprintf(out, TIMESTAMP_TEXT_MAX, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned)(tm.tm_year + 1900) % 10000,
		 (unsigned)(tm.tm_mon + 1) % 100, (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100,
		 (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100, (unsigned)(wall_ms % 1000));
	return out;
}

/* Takes `digits` decimal digits and, when it is not NUL, the separator behind them. */
static int take(struct span *text, unsigned digits, char separator, int min, int max, int *ret)
{
	unsigned used = digits + (separator != '\0');
	int value = 0;

	if (text->len < used)
		return ERR_PARSE;
	for (unsigned i = 0; i < digits; i++) {
		if (text->ptr[i] < '0' || text->ptr[i] > '9')
			return ERR_PARSE;
		value = value * 10 + (text->ptr[i] - '0');
	}
	if (separator != '\0' && (text->ptr[digits] | 0x20) != (separator | 0x20))
		return ERR_PARSE;
	if (value < min || value > max)
		return ERR_PARSE;
	*text = span_sub(*text, used, text->len);
	*ret = value;
	return 0;
}

static int take_fraction(struct span *text, int *ret_ms)
{
	int ms = 0, scale = 100;
	size_t n = 1;

	*ret_ms = 0;
	if (text->len == 0 || text->ptr[0] != '.')
		return 0;
	for (; n < text->len && text->ptr[n] >= '0' && text->ptr[n] <= '9'; n++) {
		ms += (text->ptr[n] - '0') * scale;
		scale /= 10;
	}
	if (n == 1)
		return ERR_PARSE;
	*text = span_sub(*text, n, text->len);
	*ret_ms = ms;
	return 0;
}

/* "Z", "+02:00" or "-05:30", and nothing behind it. */
static int take_offset(struct span text, int *ret_minutes)
{
	int hours, minutes, err;
	bool is_west;

	*ret_minutes = 0;
	if (text.len == 1 && (text.ptr[0] | 0x20) == 'z')
		return 0;
	if (text.len != 6 || (text.ptr[0] != '+' && text.ptr[0] != '-'))
		return ERR_PARSE;
	is_west = text.ptr[0] == '-';
	text = span_sub(text, 1, text.len);
	err = take(&text, 2, ':', 0, 23, &hours);
	if (err == 0)
		err = take(&text, 2, '\0', 0, 59, &minutes);
	if (err != 0)
		return err;
	*ret_minutes = (hours * 60 + minutes) * (is_west ? -1 : 1);
	return 0;
}

int timestamp_parse(struct span text, int64_t *ret_wall_ms)
{
	struct tm tm = { 0 }, check;
	int ms, offset;
	time_t seconds;
	int64_t wall_ms;

	if (take(&text, 4, '-', 1970, 9999, &tm.tm_year) != 0 || take(&text, 2, '-', 1, 12, &tm.tm_mon) != 0 ||
	    take(&text, 2, 'T', 1, 31, &tm.tm_mday) != 0 || take(&text, 2, ':', 0, 23, &tm.tm_hour) != 0 ||
	    take(&text, 2, ':', 0, 59, &tm.tm_min) != 0 || take(&text, 2, '\0', 0, 60, &tm.tm_sec) != 0 ||
	    take_fraction(&text, &ms) != 0 || take_offset(text, &offset) != 0)
		return ERR_PARSE;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	if (tm.tm_sec == 60)
		tm.tm_sec = 59;
	check = tm;
	seconds = timegm(&check);
	if (check.tm_mday != tm.tm_mday) /* timegm() turned 30 February into March */
		return ERR_PARSE;
	wall_ms = ((int64_t)seconds - offset * 60) * 1000 + ms;
	if (wall_ms < 0 || wall_ms > TIMESTAMP_MAX_MS)
		return ERR_PARSE;
	*ret_wall_ms = wall_ms;
	return 0;
}
