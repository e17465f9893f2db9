/* libosip2 as a second opinion: what it cannot parse, or parses only by dropping a header that decides about trust or
 * routing, is refused. Nothing it decodes is used. Memory comes from
 * the message's arena. Any thread, after sip_osip_init(). */
#ifndef SBC_SIP_OSIP_H
#define SBC_SIP_OSIP_H

#include "core/arena.h"
#include "sbc/sip_msg.h"

/* Once, before any thread starts. */
int sip_osip_init(void);

/* `headers` is the message up to and with the blank line, without folds, followed by a NUL octet, its Content-Length
 * 0 or absent: bodies are ours alone. `msg` is our view of the same. 0, ERR_PARSE, or ERR_LIMIT when the arena is
 * exhausted. */
int sip_osip_check(struct arena *arena, struct span headers, const struct sip_msg *msg);

#endif
