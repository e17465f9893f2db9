/* Two channels that are one conversation (struct alg_host, meet_open() and meet_join()): which octets go where. The listener hears
 * the server for the client; the speaker brings what the client says. Once joined,
 *
 *	speaker's client > speaker's flow > listener's flow (as its client) > speaker's flow (as its server) > speaker's server
 *	listener's server > listener's flow > listener's client
 *
 * and what else the listener's client and the speaker's server say goes nowhere. Whoever owns a flow (the host, the runner of
 * transcripts) moves the octets of its two connections through these functions; alone, a joint is its flow. Pure. Control thread. */
#ifndef ALGS_JOINT_H
#define ALGS_JOINT_H

#include "algs/flow.h"

enum { JOINT_ROOM = 16384 /* of what nobody hears */ };

struct joint {
	struct flow *flow;        /* the owner's */
	struct joint *speaker;    /* of a listener: who speaks for its client now */
	struct joint *next;       /* of a listener: who is about to */
	struct joint *listener;   /* of a speaker, from its wish on */
	bool is_speaking, is_deaf; /* a speaker, a listener that was joined. For ever */
	bool has_ended[ALG_SIDES]; /* what nobody hears */
	const char *over;         /* why the owner has to end this channel; NULL: it has not. Static */
	void (*wake)(struct joint *joint); /* it has something to move, or is over; NULL: the owner looks at it anyway */
};

/* A wish: fulfilled in joint_move(), when what was said before has gone. 0, ALG_ERR_STATE; ALG_ERR_LIMIT: there is a speaker, which ends
 * soon: try again. From within the speaker's flow. */
int joint_join(struct joint *speaker, struct joint *listener);
/* Between the two flows. True when something happened. Not from within a flow. */
bool joint_move(struct joint *joint);
/* Its channel ends; a speaker has to end with its listener. Harmless when it is alone. */
void joint_leave(struct joint *joint);

/* As the functions of flow.h; `to` and `from` are the connections of this channel. */
struct span joint_output(const struct joint *joint, enum alg_side to);
void joint_sent(struct joint *joint, enum alg_side to, size_t n);
size_t joint_room(const struct joint *joint, enum alg_side from);
int joint_input(struct joint *joint, enum alg_side from, struct span bytes, bool is_end);
bool joint_is_finished(const struct joint *joint, enum alg_side to);

#endif
