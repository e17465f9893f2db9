/* The latch state machine; its table is in latch.h. */
#include "media-relay/latch.h"

const char *latch_state_text(enum latch_state state)
{
	static const char *const texts[] = { [LATCH_CLOSED] = "closed", [LATCH_OPEN] = "open", [LATCH_LOCKED] = "locked" };

	return (unsigned)state <= LATCH_LOCKED ? texts[state] : "unknown";
}

enum latch_reach latch_reach_of(enum realm_nat nat, enum realm_trust trust)
{
	if (nat == NAT_OFF)
		return LATCH_STRICT;
	return trust == TRUST_UNTRUSTED ? LATCH_ANY : LATCH_SAME_IP;
}

void latch_close(struct latch *latch)
{
	*latch = (struct latch){ .state = LATCH_CLOSED };
}

void latch_open(struct latch *latch, const struct latch_rule *rule, const struct addr *signalled, uint64_t now_ms)
{
	*latch = (struct latch){
		.state = LATCH_OPEN, .rule = *rule, .signalled = *signalled, .window_end_ms = now_ms + rule->window_ms,
	};
}

/* How wide a match the source needs. */
static enum latch_reach reach_needed(const struct latch *latch, const struct addr *source)
{
	if (addr_eq(source, &latch->signalled))
		return LATCH_STRICT;
	if (addr_eq_ip(source, &latch->signalled) || addr_eq_ip(source, &latch->also))
		return LATCH_SAME_IP;
	return LATCH_ANY;
}

static bool grace_is_over(struct latch *latch, enum latch_reach needed, uint64_t now_ms)
{
	if (latch->rule.is_unreachable)
		return true;
	if (!latch->has_grace) {
		latch->has_grace = true;
		latch->grace_start_ms = now_ms;
	}
	return now_ms - latch->grace_start_ms >= (uint64_t)needed * LATCH_GRACE_MS;
}

enum latch_verdict latch_check(struct latch *latch, const struct addr *source, bool is_fit, uint64_t now_ms)
{
	enum latch_reach needed;

	if (latch->state == LATCH_LOCKED)
		return addr_eq(source, &latch->locked) ? LATCH_ACCEPT : LATCH_REJECT;
	if (latch->state == LATCH_CLOSED)
		return LATCH_REJECT;
	needed = reach_needed(latch, source);
	if (needed != LATCH_STRICT) {
		if (!is_fit || needed > latch->rule.reach || now_ms >= latch->window_end_ms)
			return LATCH_REJECT;
		if (!grace_is_over(latch, needed, now_ms))
			return LATCH_REJECT;
	}
	latch->state = LATCH_LOCKED;
	latch->locked = *source;
	return LATCH_ACCEPT_LOCKED;
}
