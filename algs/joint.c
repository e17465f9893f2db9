/* See joint.h. A speaker that comes while there is one waits: that one has to end when it has nothing left to say, also towards its server,
 * which might take a second one for a stranger. Clients end a channel and open the next, and the two may arrive in any order. */
#include "algs/joint.h"

/* ---- who with whom ------------------------------------------------------------------------------------------------ */

static void wake(struct joint *j)
{
	if (j->wake != NULL)
		j->wake(j);
}

static void dismiss(struct joint *speaker, const char *why)
{
	if (speaker == NULL)
		return;
	speaker->listener = NULL;
	speaker->over = why;
	wake(speaker);
}

static bool is_quiet(const struct joint *speaker)
{
	return flow_is_drained(speaker->flow, ALG_CLIENT) && flow_is_drained(speaker->flow, ALG_SERVER);
}

int joint_join(struct joint *speaker, struct joint *listener)
{
	if (speaker == listener || speaker->listener != NULL || speaker->is_speaking || speaker->is_deaf || listener->listener != NULL ||
	    listener->is_speaking)
		return ALG_ERR_STATE;
	if (listener->speaker != NULL || listener->next != NULL) {
		if (listener->speaker != NULL && is_quiet(listener->speaker) && flow_output(listener->flow, ALG_SERVER).ptr == NULL) {
			dismiss(listener->speaker, "another channel took its place");
			listener->speaker = NULL;
		}
		return ALG_ERR_LIMIT;
	}
	listener->next = speaker;
	speaker->listener = listener;
	wake(speaker);
	return 0;
}

static void dismiss_all(struct joint *listener)
{
	dismiss(listener->speaker, "the other channel has ended");
	dismiss(listener->next, "the other channel has ended");
	listener->speaker = listener->next = NULL;
}

void joint_leave(struct joint *j)
{
	dismiss_all(j);
	if (j->listener != NULL && j->listener->speaker == j)
		j->listener->speaker = NULL;
	if (j->listener != NULL && j->listener->next == j)
		j->listener->next = NULL;
	if (j->listener != NULL)
		wake(j->listener);
	j->listener = NULL;
}

static bool has_output(const struct joint *j)
{
	return flow_output(j->flow, ALG_CLIENT).ptr != NULL || flow_output(j->flow, ALG_SERVER).ptr != NULL;
}

static bool hand_over(struct joint *listener)
{
	struct joint *speaker = listener->next;

	/* Whatever either side said on its own goes to its own server first. */
	if (speaker == NULL || has_output(speaker) || (!listener->is_deaf && flow_output(listener->flow, ALG_SERVER).ptr != NULL))
		return false;
	listener->speaker = speaker;
	listener->next = NULL;
	listener->is_deaf = speaker->is_speaking = true;
	flow_event(listener->flow, &(struct alg_event){ .type = ALG_EV_JOINED });
	flow_event(speaker->flow, &(struct alg_event){ .type = ALG_EV_JOINED });
	return true;
}

/* ---- octets ------------------------------------------------------------------------------------------------------- */

static bool pour(struct flow *out_of, struct flow *into, enum alg_side from)
{
	struct span out = flow_output(out_of, ALG_SERVER);
	size_t room = flow_room(into, from), n = out.len < room ? out.len : room;

	if (n == 0)
		return false;
	(void)flow_input(into, from, span_sub(out, 0, n), false);
	flow_sent(out_of, ALG_SERVER, n);
	return true;
}

/* Ends that were seen from inside. */
static void release(struct joint *listener)
{
	struct joint *speaker = listener->speaker;

	if (flow_is_reset(listener->flow))
		dismiss_all(listener);
	else if (speaker != NULL && joint_is_finished(speaker, ALG_SERVER))
		listener->speaker = speaker->listener = NULL;
}

bool joint_move(struct joint *j)
{
	struct joint *listener = j->listener != NULL ? j->listener : j;
	bool has_moved, moves;

	release(listener);
	has_moved = hand_over(listener);
	moves = listener->speaker != NULL;

	while (moves) {
		moves = pour(listener->speaker->flow, listener->flow, ALG_CLIENT);
		moves |= pour(listener->flow, listener->speaker->flow, ALG_SERVER);
		has_moved |= moves;
	}
	if (has_moved) {
		wake(listener);
		wake(listener->speaker);
	}
	release(listener);
	return has_moved;
}

static bool hears(const struct joint *j, enum alg_side from)
{
	return !(j->is_speaking && from == ALG_SERVER) && !(j->is_deaf && from == ALG_CLIENT);
}

struct span joint_output(const struct joint *j, enum alg_side to)
{
	if (j->is_speaking)
		return to == ALG_SERVER ? flow_output(j->flow, ALG_CLIENT) : SPAN_NONE;
	return j->is_deaf && to == ALG_SERVER ? SPAN_NONE : flow_output(j->flow, to);
}

void joint_sent(struct joint *j, enum alg_side to, size_t n)
{
	flow_sent(j->flow, j->is_speaking ? ALG_CLIENT : to, n);
}

size_t joint_room(const struct joint *j, enum alg_side from)
{
	if (!hears(j, from))
		return j->has_ended[from] ? 0 : JOINT_ROOM;
	return flow_room(j->flow, from);
}

int joint_input(struct joint *j, enum alg_side from, struct span bytes, bool is_end)
{
	if (is_end && (j->is_deaf || j->next != NULL))
		dismiss_all(j); /* the conversation is over, whoever of the two ended it */
	if (hears(j, from))
		return flow_input(j->flow, from, bytes, is_end);
	j->has_ended[from] |= is_end;
	if (is_end && j->is_deaf)
		return flow_input(j->flow, from, SPAN_NONE, true); /* the module is to know */
	return 0;
}

bool joint_is_finished(const struct joint *j, enum alg_side to)
{
	if (j->is_deaf && to == ALG_SERVER)
		return j->has_ended[ALG_CLIENT];
	if (!j->is_speaking)
		return flow_is_finished(j->flow, to);
	if (to == ALG_CLIENT)
		return j->has_ended[ALG_SERVER];
	return flow_is_finished(j->flow, ALG_SERVER) && flow_is_drained(j->flow, ALG_SERVER) &&
	       (j->listener == NULL || flow_output(j->listener->flow, ALG_SERVER).ptr == NULL);
}
