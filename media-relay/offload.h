/* Hand-over of a stream's directions between the userspace relay and kernel pinholes. Each direction (what comes in on one
 * side and leaves through the other) moves on its own, when this is so:
 *
 *   the call is answered, and signalling named addresses on both sides that may be used
 *   the relay has latched this side and accepted RELAY_STEADY packets from there
 *   the relay knows where to send them, in the same address family, and not to an address of the gateway
 *   a mechanism of the kernel is usable between the two realms, and no attempt has just failed
 *
 * It goes back when one of these ends, and is opened anew, with the relay in between, when its pinhole should look
 * different. Old and new media coexist for a little (OFFLOAD_GRACE_MS): a side that signalling moved keeps its old source
 * in the kernel until the relay latches the new one; and after a change of codec, when the kernel knows the new payload
 * types, the relay still lets those through that were negotiated before. Hold without a change of address moves nothing.
 *
 *   state    event           next     meaning of the state
 *   relay    fits            asked    the relay carries it
 *   asked    armed           kernel   the pinhole is asked for; the relay carries it
 *   asked    withdraw        leaving
 *   asked    failed          relay    (and is not tried again at once)
 *   kernel   bound           kernel   the pinhole is there; the kernel takes packets once it is bound
 *   kernel   withdraw        leaving
 *   kernel   failed          relay
 *   leaving  closed, failed  relay    the pinhole is being removed
 *
 * Nothing has to be in order for packets: the kernel leaves to the relay whatever it does not take. Control thread. */
#ifndef MEDIA_RELAY_OFFLOAD_H
#define MEDIA_RELAY_OFFLOAD_H

#include "media-relay/relay.h"
#include "pinhole/pinhole.h"

enum {
	OFFLOAD_GRACE_MS = 2000,
	OFFLOAD_CLOCK_MS = 2000,            /* wait at most so long for the relay to learn the RTP clock */
	OFFLOAD_RETRY_MS = 1000,            /* after a failure; doubles up to */
	OFFLOAD_RETRY_MAX_MS = 20000,
};
_Static_assert((int)OFFLOAD_RETRY_MAX_MS < (int)PINHOLE_FULL_MS, "who waits for room asks before it is believed in");

enum offload_state { OFFLOAD_RELAY, OFFLOAD_ASKED, OFFLOAD_KERNEL, OFFLOAD_LEAVING };

struct offload;
struct offload_direction { /* from one side to the other */
	struct offload *offload;
	uint8_t from;                 /* enum media_side */
	uint8_t state;
	bool is_bound;                /* packets have passed through the pinhole */
	bool is_resumed;              /* its pinhole may be in the kernel since before this process */
	bool is_passing;              /* and now the kernel leaves all of them to the relay */
	bool was_in_kernel;           /* as last reported */
	struct pinhole *pinhole;      /* NULL in OFFLOAD_RELAY */
	uint64_t payloads[2];         /* negotiated; the relay's setup may have older ones as well */
	uint64_t grace_ends_ms;       /* 0: nothing has changed lately */
	uint64_t clock_ends_ms, retry_ms;
	uint32_t back_off_ms;         /* 0: the last attempt did not fail */
	const char *trouble, *told;   /* why it failed, and what of it was reported */
	const char *why;              /* it is leaving */
	uint64_t seen_packets, seen_passed;
	struct slot_stats past;       /* of pinholes that are gone */
};

/* `side`: where its packets come in. */
typedef void offload_moved_fn(void *arg, enum media_side side);

struct offload { /* embedded next to the stream; zeroed, then these are set */
	struct loop *loop;
	struct pinholes *pinholes;    /* NULL: everything stays on the relay */
	const char *owner;            /* id of the group */
	struct relay_stream *relay;
	struct relay_setup *setup;    /* newest; changed here and posted with relay_update() */
	uint8_t dscp[2];              /* of what leaves through each side */
	uint32_t lifetime_s;          /* of its pinholes when nobody renews them */
	offload_moved_fn *moved;      /* a direction went from the relay to the kernel, or back, or could not go */
	void *arg;
	bool is_answered;
	struct offload_direction directions[2]; /* by enum media_side, see offload_init() */
};

void offload_init(struct offload *o);
/* The stream was there before this process: what is known of it is enough to open its pinholes again at once, so that the kernel's
 * are recognised before those are removed that nobody opens again. */
void offload_resume(struct offload *o);
/* The stream closes: removes its pinholes, whose ends nobody waits for. */
void offload_close(struct offload *o);
/* Signalling names `next` for this side; the setup still holds what was before. Withdraws what must not go on, and adds to next's
 * payload types those that stay allowed for a while. */
void offload_signalled(struct offload *o, enum media_side side, struct relay_side_setup *next);
/* Something may have changed: opens and withdraws. */
void offload_look(struct offload *o);
/* The same once a second. */
void offload_tick(struct offload *o);

/* What the kernel has forwarded so far; jitter only while it does. */
void offload_stats(const struct offload *o, enum media_side side, struct slot_stats *ret);
/* PINHOLE_NONE: the relay. *ret_reason lives as long as the pinhole engine. */
enum pinhole_path offload_path(const struct offload *o, enum media_side side, const char **ret_reason);

#endif
