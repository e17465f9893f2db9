/* Texts for error numbers: our own codes here, everything else from the C library. Any thread. */
#include "core/err.h"

#include <string.h>

static const char *const own_text[] = {
	[0] = "malformed input",
	[1] = "limit reached",
	[2] = "already exists",
	[3] = "not found",
	[4] = "not possible in this state",
	[5] = "denied",
	[6] = "not supported",
	[7] = "closed",
	[8] = "stored data is damaged",
	[9] = "configuration is not valid",
	[10] = "ended too early",
};

const char *err_str(int err)
{
	const char *text;
	int errnum;

	if (err >= 0)
		return "success";
	if (err <= ERR_PARSE && err >= ERR_TRUNCATED)
		return own_text[ERR_PARSE - err];
	if (err < ERR_PARSE)
		return "unknown error";
	errnum = -err;
	/* Unlike strerror(), no shared buffer and no translation. */
	text = strerrordesc_np(errnum);
	return text ? text : "unknown error";
}
