/* What is to become of a line from the server: which command it answers, and what follows from that. Lines inside a
 * reply are data, whatever they look like; what nobody asked for has no effect. */
#include "algs/ftp/ftp_inside.h"

#include "algs/ftp/ftp_reply.h"

static struct ftp_pending *pending_of(struct ftp_state *state, int index)
{
	return index >= 0 && (unsigned)index < state->n_pending ? &state->pending[index] : NULL;
}

static bool is_kind(const struct ftp_pending *pending, enum ftp_kind kind)
{
	return pending != NULL && pending->kind == kind;
}

/* The client is to see nothing of it, or something else at its end. */
static bool is_hidden(const struct ftp_state *state, const struct ftp_pending *pending, unsigned code)
{
	if (pending == NULL)
		return false;
	return pending->is_ours || (pending->kind == FTP_TRANSFER && state->transfer.is_cut) ||
	       ftp_convert_is_hidden(state, pending, code);
}

/* ---- several lines ----------------------------------------------------------------------------------------------- */

static struct alg_result inner_line(struct ftp_state *state, struct ftp_line *line)
{
	struct ftp_pending *pending = pending_of(state, state->reply.index);

	if (is_hidden(state, pending, state->reply.code))
		return ftp_line_drop(line);
	if (is_kind(pending, FTP_FEAT) && ftp_policy_trim_feat(state, line))
		return ftp_line_drop(line);
	if (is_kind(pending, FTP_HELP))
		ftp_policy_trim_help(state, line);
	return ftp_line_pass(line);
}

static struct alg_result first_line(struct ftp_state *state, struct ftp_line *line, unsigned code, int index)
{
	struct ftp_pending *pending = pending_of(state, index);

	state->reply.code = code;
	state->reply.index = index;
	if (is_hidden(state, pending, code))
		return ftp_line_drop(line);
	/* The reply begins here: no part of it may come before the end of the data. */
	if (is_kind(pending, FTP_TRANSFER) && code / 100 == 2)
		ftp_transfer_wait(state);
	return ftp_line_pass(line);
}

/* ---- what replies mean ------------------------------------------------------------------------------------------- */

static void log_in(struct ftp_state *state, enum ftp_kind kind, unsigned code)
{
	if (code == 230 || code == 232) {
		state->is_logged_in = true;
		state->user = state->claimed;
		state->directory.len = 0;
	} else if (kind == FTP_USER && code / 100 == 3) {
		state->is_logged_in = false; /* RFC 959 4.1.1: USER begins anew */
	} else if (kind == FTP_USER) {
		state->claimed = state->user;
	}
}

void ftp_forget_user(struct ftp_state *state)
{
	state->is_logged_in = state->is_epsv_only = false;
	state->user.len = state->claimed.len = state->directory.len = 0;
}

static void learn_directory(struct ftp_state *state, struct span text)
{
	struct ftp_text_path *to = &state->directory;
	struct buf out = buf_of(to->data, sizeof(to->data));

	to->len = ftp_reply_path(text, &out) == 0 ? out.len : 0;
}

/* What the last line of the reply to such a command says. */
static void apply(struct ftp_state *state, struct ftp_line *line, enum ftp_kind kind,
		  const struct ftp_reply_line *reply)
{
	unsigned code = reply->code;
	bool is_good = code / 100 == 2;

	switch (kind) {
	case FTP_USER:
	case FTP_LOGIN:
		log_in(state, kind, code);
		break;
	case FTP_REIN:
		if (is_good)
			ftp_forget_user(state);
		break;
	case FTP_CWD:
		if (is_good)
			state->directory = state->next_directory;
		break;
	case FTP_PWD:
		if (code == 257 && !line->is_long)
			learn_directory(state, span_sub(line->text, reply->text_at, line->text.len));
		break;
	case FTP_EPSV_ALL:
		state->is_epsv_only |= is_good;
		break;
	case FTP_PORT:
	case FTP_EPRT:
	case FTP_LPRT:
		ftp_data_active_reply(state, line, code);
		break;
	case FTP_PASV:
	case FTP_EPSV:
	case FTP_LPSV:
		ftp_data_passive_reply(state, line, code);
		break;
	case FTP_TRANSFER:
		ftp_transfer_finish(state, line, code);
		break;
	case FTP_PROT:
		if (is_good)
			ftp_protect_prot_reply(state);
		break;
	default:
		break;
	}
}

static void note_end(struct ftp_state *state, unsigned code)
{
	if ((code != 421 && code != 221) || state->is_ending)
		return;
	state->is_ending = true;
	state->host->ending(state->session);
}

static struct alg_result encrypt(struct ftp_state *state, const struct ftp_line *line, int index)
{
	if (state->is_held) {
		/* Said in clear before the reply, it would be read as if it had come encrypted. */
		state->host->note(state->session, NULL, "commands sent in clear behind AUTH: ended");
		return (struct alg_result){ .verdict = ALG_RESET };
	}
	if (state->about->tls == ALG_TLS_TERMINATE) {
		ftp_queue_remove(state, index);
		return ftp_protect_begin(state) ? ftp_line_pass(line) : (struct alg_result){ .verdict = ALG_RESET };
	}
	ftp_tls_begin(state);
	return (struct alg_result){ .verdict = ALG_BYPASS };
}

static struct alg_result last_line(struct ftp_state *state, struct ftp_line *line, const struct ftp_reply_line *reply,
				   int index)
{
	struct ftp_pending *pending = pending_of(state, index);
	struct ftp_pending answered = pending != NULL ? *pending : (struct ftp_pending){ .kind = FTP_UNKNOWN };
	bool is_final = reply->code / 100 != 1;

	if (pending != NULL && !is_final) {
		pending->is_begun = true;
		if (pending->kind == FTP_TRANSFER)
			ftp_transfer_progress(state, span_sub(line->text, reply->text_at, line->text.len));
		return is_hidden(state, pending, reply->code) ? ftp_line_drop(line) : ftp_line_pass(line);
	}
	if (answered.kind == FTP_AUTH && reply->code == FTP_TLS_BEGINS)
		return encrypt(state, line, index);
	if (ftp_convert_again(state, pending, reply->code))
		return ftp_line_drop(line);
	ftp_queue_remove(state, index);
	if (is_final)
		note_end(state, reply->code);
	apply(state, line, answered.kind, reply);
	if (state->is_held && is_final) {
		state->is_held = false;
		state->host->resume(state->session, ALG_CLIENT);
	}
	return answered.is_ours || line->is_dropped ? ftp_line_drop(line) : ftp_line_pass(line);
}

/* What the server takes for success may still be cut on its way. */
static bool must_wait(struct ftp_state *state, const struct ftp_pending *pending, unsigned code)
{
	if (!is_kind(pending, FTP_TRANSFER) || code / 100 != 2 || state->transfer.is_cut)
		return false;
	ftp_transfer_dial_client(state); /* of a server that says nothing before the end */
	if (!ftp_transfer_is_flowing(state))
		return false;
	ftp_transfer_wait(state); /* the host looks closely from now on */
	state->is_reply_held = true;
	return true;
}

struct alg_result ftp_server_line(struct ftp_state *state, struct ftp_line *line)
{
	struct ftp_reply_line reply;
	bool is_first = !state->has_replied;
	int index;

	state->has_replied = true;
	if (state->reply.code != 0) {
		if (!ftp_reply_closes(line->text, state->reply.code) || !ftp_reply_read(line->text, &reply))
			return inner_line(state, line);
		if (is_kind(pending_of(state, state->reply.index), FTP_FEAT))
			ftp_policy_end_feat(state, line);
		state->reply.code = 0;
		return last_line(state, line, &reply, state->reply.index);
	}
	if (!ftp_reply_read(line->text, &reply)) {
		state->is_foreign |= is_first;
		return ftp_line_pass(line);
	}
	index = ftp_queue_match(state, reply.code);
	if (must_wait(state, pending_of(state, index), reply.code))
		return (struct alg_result){ .verdict = ALG_HOLD };
	if (reply.is_opener)
		return first_line(state, line, reply.code, index);
	return last_line(state, line, &reply, index);
}
