/* The message ladder: a ring in memory of the SIP messages that came and went, retransmissions included. Bounded in bytes; the
 * oldest go first. Messages are found by Call-ID, so a call that failed at its first message is there too. Control thread. */
#ifndef SBC_TRACE_H
#define SBC_TRACE_H

#include "core/arena.h"
#include "sbc/b2bua.h"
#include "sbc/sip_msg.h"

enum { TRACE_TEXT_MAX = 4096 /* bytes kept of one message */ };

struct trace;
struct trace *trace_new(size_t bytes); /* NULL when out of memory */
void trace_free(struct trace *trace);
void trace_add(struct trace *trace, int64_t wall_ms, bool is_out, const struct sip_flow *flow, struct span call_id,
	       struct span bytes);

struct trace_id {
	char leg;             /* 'a' or 'b' */
	struct span call_id;
};
/* The messages of these Call-IDs in order of time, as an array in the arena. *ret_lost counts those that the ring has dropped for
 * all calls since `since_ms` (0 when nothing of this call can be missing). 0 or ERR_LIMIT. */
int trace_collect(const struct trace *trace, const struct trace_id *ids, unsigned n_ids, int64_t since_ms, struct arena *arena,
		  struct call_message **ret, unsigned *ret_n, unsigned *ret_lost);

#endif
