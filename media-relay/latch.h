/* Learning the source address of one side (RFC 7362 sections 4 and 5). Pure: the caller brings packets and time.
 *
 * A latch learns one address and keeps it until signalling opens it again. The exact rule, for a packet that has
 * already passed the checks of its kind (RTP or a plain datagram, negotiated payload type; STUN never gets here, RTCP
 * has a latch of its own):
 *
 *   state    source of the packet            reach      verdict
 *   closed   any                             any        reject
 *   open     the signalled address and port  any        accept and lock, at any time
 *   open     same IP, other port             STRICT     reject
 *   open     same IP, other port             SAME_IP+   accept and lock, when the window is not over and LATCH_GRACE_MS
 *                                                       have passed since the first such packet (see below)
 *   open     another IP                      ANY        the same after twice LATCH_GRACE_MS
 *   open     another IP                      less       reject
 *   locked   the locked address              any        accept
 *   locked   anything else                   any        reject
 *
 * The grace gives the better match time to arrive: it starts with the first packet that only a wider match would
 * accept, and there is none when signalling named an address from which packets cannot come (is_unreachable: a
 * private address given to a public gateway). A source that the caller found unfit to be sent to never locks unless
 * signalling named it exactly. When the window is over without a lock, only the exact source still locks.
 *
 * Reach by realm: nat off: STRICT; nat latch, trusted: SAME_IP; nat latch, untrusted: ANY. RTCP on its own port never
 * goes beyond SAME_IP, where the address that RTP locked to counts as the same IP too. */
#ifndef MEDIA_RELAY_LATCH_H
#define MEDIA_RELAY_LATCH_H

#include "media-relay/media.h"

enum { LATCH_GRACE_MS = 200,
       LATCH_RTCP_EXTRA_MS = 10000 }; /* RTCP's window is longer: its first report is due seconds after the first RTP */

enum latch_reach { LATCH_STRICT, LATCH_SAME_IP, LATCH_ANY };

struct latch_rule {
	enum latch_reach reach;
	bool is_unreachable;
	uint32_t window_ms;
};

struct latch {
	enum latch_state state;
	struct addr locked; /* in state LATCH_LOCKED */
	struct latch_rule rule;
	struct addr signalled;
	struct addr also;   /* for RTCP: where RTP locked to; its IP counts as signalled */
	uint64_t window_end_ms;
	uint64_t grace_start_ms;
	bool has_grace;
};

enum latch_verdict { LATCH_REJECT, LATCH_ACCEPT, LATCH_ACCEPT_LOCKED /* and this packet locked it */ };

enum latch_reach latch_reach_of(enum realm_nat nat, enum realm_trust trust);
void latch_close(struct latch *latch);
void latch_open(struct latch *latch, const struct latch_rule *rule, const struct addr *signalled, uint64_t now_ms);
/* is_fit: the source may be sent to; see target.h. */
enum latch_verdict latch_check(struct latch *latch, const struct addr *source, bool is_fit, uint64_t now_ms);

#endif
