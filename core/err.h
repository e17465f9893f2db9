/* Error numbers. Every fallible function returns 0 (or a count) on success and a negative number on failure:
 * either a negated errno value or one of the codes below. */
#ifndef CORE_ERR_H
#define CORE_ERR_H

enum {
	ERR_PARSE = -1000,   /* input does not follow its grammar */
	ERR_LIMIT = -1001,   /* a table, buffer or quota is full */
	ERR_EXISTS = -1002,
	ERR_NOT_FOUND = -1003,
	ERR_STATE = -1004,   /* not possible in this state */
	ERR_DENIED = -1005,  /* forbidden by policy or limits */
	ERR_UNSUPPORTED = -1006,
	ERR_CLOSED = -1007,  /* the other side is gone or shutting down */
	ERR_CORRUPT = -1008, /* stored data is damaged */
	ERR_CONFIG = -1009,  /* configuration is not valid; details were reported elsewhere */
	ERR_TRUNCATED = -1010, /* ended before its end */
};

/* A short English text for any error number, never NULL, valid for ever. */
const char *err_str(int err);

#endif
