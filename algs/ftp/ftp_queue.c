/* Which commands wait for their replies: servers answer in order, with these exceptions. During a transfer some
 * answer others at once (STAT, NOOP); an empty line is answered by some and not by others; ABOR is sometimes
 * answered once where two replies are due: what is left is the transfer's. Everything else that does not fit stays
 * where the order puts it. Pure. */
#include "algs/ftp/ftp_inside.h"

#include "core/err.h"

bool ftp_queue_is_full(const struct ftp_state *state)
{
	return state->n_pending == FTP_PENDING_MAX;
}

int ftp_queue_push(struct ftp_state *state, enum ftp_kind kind, unsigned flags)
{
	if (ftp_queue_is_full(state))
		return ERR_LIMIT;
	state->pending[state->n_pending++] = (struct ftp_pending){ .kind = (uint8_t)kind, .flags = (uint16_t)flags };
	return 0;
}

bool ftp_queue_has(const struct ftp_state *state, unsigned flags)
{
	for (unsigned i = 0; i < state->n_pending; i++)
		if (flags == 0 ? state->pending[i].kind != FTP_EMPTY : (state->pending[i].flags & flags) != 0)
			return true;
	return false;
}

void ftp_queue_remove(struct ftp_state *state, int index)
{
	if (index < 0 || (unsigned)index >= state->n_pending)
		return;
	state->n_pending--;
	memmove(&state->pending[index], &state->pending[index + 1],
		(state->n_pending - (unsigned)index) * sizeof(state->pending[0]));
}

/* Entries that may stay without a reply: whether it can be theirs. */
static bool may_be_for(const struct ftp_pending *pending, unsigned code)
{
	if (pending->kind == FTP_EMPTY)
		return code >= 500 && code <= 502;
	if (pending->kind == FTP_ABOR)
		return code == 225 || code == 226 || code / 100 >= 4;
	return true;
}

/* Whether a transfer that has begun can be answered so. */
static bool is_of_transfer(unsigned code)
{
	if (code / 100 <= 1 || code == 226 || code == 250)
		return true;
	return code / 100 == 4 || (code >= 520 && code < 530) || code >= 532;
}

int ftp_queue_match(struct ftp_state *state, unsigned code)
{
	while (state->n_pending > 0 && !may_be_for(&state->pending[0], code))
		ftp_queue_remove(state, 0);
	if (state->n_pending == 0)
		return -1;
	if (state->n_pending < 2 || state->pending[0].kind != FTP_TRANSFER || !state->pending[0].is_begun || is_of_transfer(code))
		return 0;
	if (code != FTP_ABORTED || state->pending[1].kind != FTP_ABOR)
		return 1;
	/* Some say nothing but this of a transfer that had no data connection yet. */
	ftp_queue_remove(state, 1);
	return 0;
}
