/* RTCP: telling it from RTP on one port, and whether a compound packet is well formed. The relay forwards reports and
 * acts on none of them: a BYE ends nothing here. Pure. */
#ifndef MEDIA_RELAY_RTCP_H
#define MEDIA_RELAY_RTCP_H

#include <stdbool.h>
#include <stddef.h>

/* RFC 5761 section 4: on a port shared with RTP, packet types 192 to 223 are RTCP (RTP payload types 64 to 95 with the
 * marker bit set cannot be used there). Says nothing about the packet's form. */
bool rtcp_is_rtcp(const void *data, size_t len);
/* RFC 3550 A.2 and RFC 5506: version 2 everywhere; starts with an SR, RR, or any known type alone (reduced size);
 * lengths add up to the datagram exactly; report and source counts fit their packet; padding only in the last one.
 * 0 or ERR_PARSE. */
int rtcp_check(const void *data, size_t len);

#endif
