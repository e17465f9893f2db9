/* Problem details (RFC 9457): what every refusal of the API looks like. A kind has a stable type URL, title and status;
 * the detail says what happened this time and what to do about it. Pure. */
#ifndef API_PROBLEM_H
#define API_PROBLEM_H

#include <jansson.h>

#include "api/router.h"

enum problem_kind {
	PROBLEM_BAD_REQUEST,        /* 400 */
	PROBLEM_BAD_PARAMETER,      /* 400, with errors[] */
	PROBLEM_BAD_BODY,           /* 400, mostly with errors[] */
	PROBLEM_UNAUTHORIZED,       /* 401 */
	PROBLEM_FORBIDDEN,          /* 403 */
	PROBLEM_NOT_FOUND,          /* 404 */
	PROBLEM_METHOD_NOT_ALLOWED, /* 405 */
	PROBLEM_LENGTH_REQUIRED,    /* 411 */
	PROBLEM_TOO_LARGE,          /* 413 */
	PROBLEM_BAD_CONFIG,         /* 422, with errors[] */
	PROBLEM_TOO_MANY_FAILURES,  /* 429 */
	PROBLEM_INTERNAL,           /* 500 */
	PROBLEM_BUSY,               /* 503: the control thread did not answer in time */
	PROBLEM_STOPPING,           /* 503 */
	PROBLEM_NO_DATABASE,        /* 503 */
	PROBLEM_KINDS
};

/* Makes *reply this problem; what it held is dropped. */
void problem_set(struct route_reply *reply, const struct route_request *request, enum problem_kind kind,
		 const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Adds to errors[] of a problem. `parameter` names the query parameter at fault. hint may be NULL. */
void problem_add_error(struct route_reply *reply, struct span parameter, const char *detail, const char *hint);
/* Likewise for a member of the body, by its JSON pointer, such as "/size". */
void problem_add_body_error(struct route_reply *reply, const char *pointer, const char *detail, const char *hint);
/* Likewise for a value of the configuration file. Line and column are 0 where there is no place in it. */
void problem_add_config_error(struct route_reply *reply, const char *pointer, const char *detail, const char *hint, unsigned line,
			      unsigned column);
/* The problem for an error number of the layers below. */
void problem_from_err(struct route_reply *reply, const struct route_request *request, int err);

int problem_status(enum problem_kind kind);
const char *problem_slug(enum problem_kind kind); /* last segment of the type URL */

#endif
