/* Request bodies: one JSON object, its members checked against a table; every fault is listed. Pure. */
#ifndef API_BODY_H
#define API_BODY_H

#include "api/router.h"

enum body_type {
	BODY_TEXT,      /* struct span: up to max octets; absent: empty */
	BODY_UINT,      /* struct body_number */
	BODY_ADDR,      /* struct addr: "ip" or "ip:port"; absent: family 0 */
	BODY_CHOICE,    /* unsigned: position in `choices` from 1; absent: 0 */
	BODY_HEX,       /* struct span of the octets: up to max hex digits, two each */
};
struct body_number {
	bool is_set;
	uint64_t value;
};
struct body_member {
	const char *name;
	enum body_type type;
	uint32_t max;
	size_t offset;
	const char *choices; /* "up down" */
};

/* Reads the request's body into `ret`, a structure of the caller's that is zeroed; texts go into the arena.
 * `members` ends with a row whose name is NULL. False: *reply is a problem. Members that are null count as absent. */
bool body_parse(const struct body_member *members, const struct route_request *request, struct route_reply *reply,
		void *ret);

#endif
