/* Counts SIP messages by realm, direction, and method or class; and what was wrong with those that were refused, by the
 * fault's counter. A message costs one relaxed add, without a look at its text. Any thread, but for
 * sip_count_register(). */
#ifndef SBC_SIP_COUNT_H
#define SBC_SIP_COUNT_H

#include <stdbool.h>

#include "sbc/sip_name.h"

struct config;

/* Rows for the configured realms, with their names as of now. Registers once, however often it is called. */
void sip_count_register(const struct config *config);

/* A message's kind is its method, or behind the methods the class of its status. */
enum sip_way { SIP_IN, SIP_OUT };
enum { SIP_CLASSES = 6, SIP_KINDS = SIP_METHODS + SIP_CLASSES };
static inline unsigned sip_kind_of_request(enum sip_method method)
{
	return method;
}

static inline unsigned sip_kind_of_response(int status) /* 100..699 */
{
	return SIP_METHODS + (unsigned)status / 100 - 1;
}

void sip_count_message(unsigned realm, enum sip_way way, unsigned kind);
/* The counter of a struct guard_fault. False when it is not a known one: then it is counted as "other". */
bool sip_count_fault(const char *counter);

#endif
