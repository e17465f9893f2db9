/* The query part of a request target: decoded and checked against the parameters that a row allows. Pure. */
#ifndef API_QUERY_H
#define API_QUERY_H

#include "api/router.h"

/* Percent-decodes into the arena ("+" is a plus). The result is UTF-8 without control characters. 0, ERR_PARSE, or
 * ERR_LIMIT when out of memory. Empty text stays empty. */
int query_decode(struct arena *arena, struct span text, struct span *ret);

/* Fills request->values. False when something is wrong: then *reply is a problem that lists every fault. params may be
 * NULL: none allowed. */
bool query_parse(const struct route_param *params, struct span query, struct route_request *request,
		 struct route_reply *reply);

#endif
