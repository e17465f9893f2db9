/* What goes to one side of a control channel, in its order: octets, cut into pieces of which some must wait.
 * Bounded, allocated once. Part of flow.c; nobody else uses it. */
#ifndef ALGS_FLOW_QUEUE_H
#define ALGS_FLOW_QUEUE_H

#include "core/span.h"

enum { FLOW_PIECES_MAX = 64, FLOW_PIECE_HOLES_MAX = 4 };

struct flow_piece {
	size_t len;
	uint32_t call;      /* of the module: what was asked for in it has to be committed first */
	uint32_t holes[FLOW_PIECE_HOLES_MAX]; /* whose data has to end first; 0: none */
	bool needs_commits;
	bool is_held;       /* until resume(). Always the last piece */
};

struct flow_queue {
	char *data;         /* the owner's, of `cap` octets */
	size_t cap, start, len;
	struct flow_piece pieces[FLOW_PIECES_MAX];
	unsigned n_pieces;
	bool is_datagram;   /* pieces are datagrams, and never joined */
};

size_t flow_queue_room(const struct flow_queue *queue);
/* Makes room for `len` octets at the end, or before the piece that is held, as a piece of its own with what `like`
 * waits for. NULL when it does not fit. Octets that follow a piece of the same call with the same waits join it. */
char *flow_queue_put(struct flow_queue *queue, const struct flow_piece *like, size_t len);
/* The piece at the front; ptr NULL when there is none or it has to wait. */
struct span flow_queue_front(const struct flow_queue *queue);
void flow_queue_sent(struct flow_queue *queue, size_t n); /* of the front; a datagram goes as a whole */

bool flow_queue_is_held(const struct flow_queue *queue);
void flow_queue_resume(struct flow_queue *queue);
/* Ends of waiting, of what a piece waits for. */
void flow_queue_mark_commits(struct flow_queue *queue, uint32_t call); /* the call's pieces wait from now on */
void flow_queue_commits_done(struct flow_queue *queue, uint32_t call);
void flow_queue_hole_done(struct flow_queue *queue, uint32_t hole);
void flow_queue_release(struct flow_queue *queue);                     /* nothing waits any more */
void flow_queue_forget(struct flow_queue *queue, uint32_t call);       /* the call's pieces never were; before flow_queue_settle() */
/* Joins neighbours that need not wait; to be called after each of the above. */
void flow_queue_settle(struct flow_queue *queue);

#endif
