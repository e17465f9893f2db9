/* One direction's output: octets in one piece of memory, and a short list that says how many of them belong
 * together and what they wait for. Sliding is cheap because what waits is small and rare. */
#include "algs/flow_queue.h"

static bool is_blocked(const struct flow_piece *piece)
{
	bool waits_for_data = false;

	for (unsigned i = 0; i < FLOW_PIECE_HOLES_MAX; i++)
		waits_for_data |= piece->holes[i] != 0;
	return piece->is_held || piece->needs_commits || waits_for_data;
}

size_t flow_queue_room(const struct flow_queue *queue)
{
	return queue->n_pieces < FLOW_PIECES_MAX ? queue->cap - queue->len : 0;
}

bool flow_queue_is_held(const struct flow_queue *queue)
{
	return queue->n_pieces > 0 && queue->pieces[queue->n_pieces - 1].is_held;
}

static bool may_join(const struct flow_queue *queue, const struct flow_piece *piece, const struct flow_piece *like)
{
	return !queue->is_datagram && piece->call == like->call && !piece->is_held && !like->is_held &&
	       piece->needs_commits == like->needs_commits &&
	       memcmp(piece->holes, like->holes, sizeof(piece->holes)) == 0;
}

static void slide_to_front(struct flow_queue *queue)
{
	if (queue->start > 0 && queue->len > 0)
		memmove(queue->data, queue->data + queue->start, queue->len);
	queue->start = 0;
}

char *flow_queue_put(struct flow_queue *queue, const struct flow_piece *like, size_t len)
{
	unsigned at = queue->n_pieces;
	size_t behind = 0;
	char *ret;

	if (queue->n_pieces == FLOW_PIECES_MAX || len > queue->cap - queue->len)
		return NULL;
	if (len > queue->cap - queue->len - queue->start)
		slide_to_front(queue);
	if (flow_queue_is_held(queue)) {
		at--;
		behind = queue->pieces[at].len;
	}
	ret = queue->data + queue->start + queue->len - behind;
	if (behind > 0)
		memmove(ret + len, ret, behind);
	queue->len += len;
	if (at > 0 && may_join(queue, &queue->pieces[at - 1], like)) {
		queue->pieces[at - 1].len += len;
		return ret;
	}
	memmove(&queue->pieces[at + 1], &queue->pieces[at], (queue->n_pieces - at) * sizeof(queue->pieces[0]));
	queue->pieces[at] = *like;
	queue->pieces[at].len = len;
	queue->n_pieces++;
	return ret;
}

struct span flow_queue_front(const struct flow_queue *queue)
{
	if (queue->n_pieces == 0 || is_blocked(&queue->pieces[0]))
		return SPAN_NONE;
	return (struct span){ queue->data + queue->start, queue->pieces[0].len };
}

static void remove_piece(struct flow_queue *queue, unsigned at)
{
	queue->n_pieces--;
	memmove(&queue->pieces[at], &queue->pieces[at + 1], (queue->n_pieces - at) * sizeof(queue->pieces[0]));
}

void flow_queue_sent(struct flow_queue *queue, size_t n)
{
	struct span front = flow_queue_front(queue);

	if (front.ptr == NULL)
		return;
	if (n > front.len || queue->is_datagram)
		n = front.len;
	queue->start += n;
	queue->len -= n;
	queue->pieces[0].len -= n;
	if (queue->pieces[0].len == 0)
		remove_piece(queue, 0);
	if (queue->len == 0)
		queue->start = 0;
}

void flow_queue_resume(struct flow_queue *queue)
{
	if (queue->n_pieces > 0)
		queue->pieces[queue->n_pieces - 1].is_held = false;
}

void flow_queue_mark_commits(struct flow_queue *queue, uint32_t call)
{
	for (unsigned i = 0; i < queue->n_pieces; i++)
		if (queue->pieces[i].call == call)
			queue->pieces[i].needs_commits = true;
}

void flow_queue_commits_done(struct flow_queue *queue, uint32_t call)
{
	for (unsigned i = 0; i < queue->n_pieces; i++)
		if (queue->pieces[i].call == call)
			queue->pieces[i].needs_commits = false;
}

void flow_queue_hole_done(struct flow_queue *queue, uint32_t hole)
{
	for (unsigned i = 0; i < queue->n_pieces; i++)
		for (unsigned j = 0; j < FLOW_PIECE_HOLES_MAX; j++)
			if (queue->pieces[i].holes[j] == hole)
				queue->pieces[i].holes[j] = 0;
}

void flow_queue_release(struct flow_queue *queue)
{
	for (unsigned i = 0; i < queue->n_pieces; i++)
		queue->pieces[i] = (struct flow_piece){ .len = queue->pieces[i].len };
}

void flow_queue_forget(struct flow_queue *queue, uint32_t call)
{
	size_t at = queue->start;

	for (unsigned i = 0; i < queue->n_pieces;) {
		size_t len = queue->pieces[i].len;

		if (queue->pieces[i].call != call) {
			at += len;
			i++;
			continue;
		}
		memmove(queue->data + at, queue->data + at + len, queue->start + queue->len - at - len);
		queue->len -= len;
		remove_piece(queue, i);
	}
}

void flow_queue_settle(struct flow_queue *queue)
{
	for (unsigned i = 0; i < queue->n_pieces;) {
		struct flow_piece *piece = &queue->pieces[i];

		/* An empty piece that may go holds nothing up and is nothing, but as a datagram. */
		if (queue->is_datagram || is_blocked(piece)) {
			i++;
		} else if (i > 0 && !is_blocked(&queue->pieces[i - 1])) {
			queue->pieces[i - 1].len += piece->len;
			remove_piece(queue, i);
		} else if (piece->len == 0) {
			remove_piece(queue, i);
		} else {
			piece->call = 0;
			i++;
		}
	}
}
