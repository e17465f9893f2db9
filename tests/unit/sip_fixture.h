/* Messages for tests of what works on parsed ones: guard and parser in one call. */
#ifndef TESTS_UNIT_SIP_FIXTURE_H
#define TESTS_UNIT_SIP_FIXTURE_H

#include "core/arena.h"
#include "sbc/sip_msg.h"

/* With the address and port of the sender, at our 10.0.0.10:5060 (or [2001:db8::10]:5060 for IPv6). A message that guard or
 * parser refuse fails the test. Lives in `arena`. */
struct sip_msg *sip_fixture(struct arena *arena, struct span bytes, const char *source);

#endif
