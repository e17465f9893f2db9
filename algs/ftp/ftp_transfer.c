/* Transfers: which data connection one uses, what becomes of it, and how that ends: with the server's reply, behind the data, or with one of
 * the gateway's own. RFC 959, 2577. */
#include "algs/ftp/ftp_inside.h"

#include "algs/ftp/ftp_path.h"
#include "algs/ftp/ftp_reply.h"

#define UNREACHABLE "Can't open data connection."

void ftp_transfer_start(struct ftp_state *state, const struct ftp_verb *verb, struct span path)
{
	state->transfer.is_pending = true;
	state->transfer.is_cut = false;
	state->transfer.hole = 0;
	state->transfer.verb = verb;
	(void)ftp_keep_path(&state->transfer.path, path);
	/* Some servers say nothing before they have the connection. */
	if (state->data.is_dialled && state->data.hole != 0)
		(void)state->host->hole_dial(state->session, state->data.hole, ALG_SERVER);
}

/* The first reply is the first moment at which it is certain that nothing else will come before the data. */
static void choose_hole(struct ftp_state *state)
{
	if (state->transfer.hole == 0)
		state->transfer.hole = state->data.hole;
}

/* As a server would: a file that is not there is no reason to connect to anybody. */
void ftp_transfer_dial_client(struct ftp_state *state)
{
	choose_hole(state);
	if (!state->data.is_dialled || state->data.is_opened || state->data.hole == 0 || state->data.hole != state->transfer.hole)
		return;
	state->data.is_opened = state->host->hole_dial(state->session, state->data.hole, ALG_CLIENT) == 0;
}

void ftp_transfer_progress(struct ftp_state *state, struct span text)
{
	struct span file = ftp_reply_file(text);
	char path[FTP_PATH_MAX];
	struct buf out = buf_of(path, sizeof(path));

	ftp_transfer_dial_client(state);
	if (file.len == 0 || !span_eq(span_of(state->transfer.verb->name), SPAN_LIT("STOU")))
		return;
	ftp_path_join((struct span){ state->directory.data, state->directory.len }, file, &out);
	(void)ftp_keep_path(&state->transfer.path, out.is_full ? file : buf_span(&out));
}

static struct alg_transfer record_of(const struct ftp_state *state, unsigned code)
{
	const struct ftp_verb *verb = state->transfer.verb;

	return (struct alg_transfer){
		.hole = state->transfer.hole,
		.user = { state->user.data, state->user.len },
		.verb = ftp_bytes(span_of(verb->name)),
		.path = { state->transfer.path.data, state->transfer.path.len },
		.direction = (verb->flags & FTP_F_UP) != 0 ? ALG_UP : ALG_DOWN,
		.code = code,
		.is_ok = code / 100 == 2 && code != FTP_ABORTED,
	};
}

static void say_cut(struct ftp_state *state, struct ftp_line *line, unsigned *code)
{
	bool is_up = (state->transfer.verb->flags & FTP_F_UP) != 0;

	*code = is_up && !state->transfer.is_insecure ? 552 : 426;
	if (state->transfer.is_unreachable) {
		*code = 425;
		ftp_data_say(state, line, (struct ftp_answer){ *code, UNREACHABLE });
	} else if (state->transfer.is_insecure)
		ftp_data_say(state, line, (struct ftp_answer){ *code, "TLS of the data connection was not as it has to be; cut." });
	else
		ftp_data_say(state, line, (struct ftp_answer){ *code, is_up ? "Too much data for what is allowed here; cut." :
								     "More data than is allowed here; cut." });
}

bool ftp_transfer_is_flowing(struct ftp_state *state)
{
	choose_hole(state);
	if (state->transfer.hole == 0 || state->transfer.hole != state->data.hole)
		return false;
	return state->data.is_opened && !state->data.is_ended;
}

/* For data of which no event has told yet. */
void ftp_transfer_wait(struct ftp_state *state)
{
	choose_hole(state);
	if (state->transfer.hole != 0)
		(void)state->host->wait_for(state->session, state->transfer.hole);
}

void ftp_transfer_finish(struct ftp_state *state, struct ftp_line *line, unsigned code)
{
	struct alg_transfer record;

	choose_hole(state);
	if (state->transfer.is_cut)
		say_cut(state, line, &code);
	else if (code / 100 == 2)
		ftp_transfer_wait(state);
	record = record_of(state, code);
	if (record.hole != 0)
		state->host->transfer(state->session, &record);
	/* A pinhole is for one connection. After a refusal the next transfer may still use it. */
	if (state->data.hole == state->transfer.hole && (record.is_ok || state->data.is_opened))
		state->data.hole = 0;
	else if (state->data.is_dialled && state->data.hole == state->transfer.hole) /* the server was connected to for this one */
		ftp_data_forget(state);
	state->transfer.is_pending = false;
}

/* A server may wait for a connection for longer than a client waits for a reply; what it says then goes nowhere. Not when the reply is
 * there already, or another one has to come first. */
static void say_unreachable(struct ftp_state *state)
{
	if (state->is_reply_held || state->reply.code != 0 || state->n_pending == 0 || state->pending[0].kind != FTP_TRANSFER)
		return;
	state->pending[0].is_ours = state->host->reply(state->session, ALG_CLIENT, ftp_bytes(SPAN_LIT("425 " UNREACHABLE "\r\n"))) == 0;
}

/* More than a rule allows, TLS that proves nothing, an end that cannot be reached: the server is to stop, and its reply will not be the
 * client's. */
static void cut(struct ftp_state *state, const struct alg_event *event)
{
	state->transfer.is_cut = true;
	state->transfer.is_insecure = event->is_insecure;
	state->transfer.is_unreachable = event->is_unreachable;
	if (event->is_unreachable)
		say_unreachable(state);
	if (ftp_queue_is_full(state))
		return;
	if (state->host->reply(state->session, ALG_SERVER, ftp_bytes(SPAN_LIT("ABOR\r\n"))) < 0)
		return;
	(void)ftp_queue_push(state, FTP_ABOR, 0);
	state->pending[state->n_pending - 1].is_ours = true;
}

static void let_reply_go(struct ftp_state *state)
{
	if (!state->is_reply_held)
		return;
	state->is_reply_held = false;
	state->host->resume(state->session, ALG_SERVER);
}

void ftp_transfer_event(struct ftp_state *state, const struct alg_event *event)
{
	bool is_data = event->hole != 0 && event->hole == state->data.hole;

	switch (event->type) {
	case ALG_EV_OPENED:
		state->data.is_opened |= is_data;
		break;
	case ALG_EV_ENDED:
		if (!is_data)
			break;
		state->data.is_opened = state->data.is_ended = true; /* whatever was seen of its beginning */
		let_reply_go(state);
		break;
	case ALG_EV_EXPIRED:
		if (event->hole != 0 && event->hole == state->setup.hole)
			state->setup.hole = 0;
		if (!is_data)
			break;
		state->data.hole = 0;
		let_reply_go(state);
		break;
	case ALG_EV_LIMIT:
		if (is_data && state->transfer.is_pending && !state->transfer.is_cut)
			cut(state, event);
		break;
	case ALG_EV_TIMER:
	case ALG_EV_JOINED:
		break;
	}
}

void ftp_transfer_close(struct ftp_state *state)
{
	struct alg_transfer record;

	if (!state->transfer.is_pending)
		return;
	choose_hole(state);
	record = record_of(state, 0);
	if (record.hole != 0)
		state->host->transfer(state->session, &record);
}
