/* Servers that are only ever connected to: about->is_server_passive. What an active client asks for (PORT, EPRT, LPRT) goes to the server
 * as EPSV, and the gateway connects to both of them: to the server when the transfer is asked for, to the client when the server has begun
 * it. An old server knows no EPSV and is asked with PASV from then on, for passive clients too; of its 227 only the port is believed.
 * RFC 959, 2428; the order of things as with a server that connects by itself: it looks for the file first. */
#include "algs/ftp/ftp_inside.h"

#include "algs/ftp/ftp_reply.h"

static bool has_both_verbs(const struct ftp_state *state)
{
	return state->about->is_server_passive && state->about->server.family == 4 && !state->is_epsv_only;
}

struct span ftp_convert_verb(struct ftp_state *state)
{
	bool is_old = has_both_verbs(state) && state->has_no_epsv;

	state->setup.code = is_old ? 227 : 229;
	state->setup.may_be_refused = has_both_verbs(state) && !state->has_epsv && !is_old;
	return is_old ? SPAN_LIT("PASV") : SPAN_LIT("EPSV");
}

/* ---- the server's reply ------------------------------------------------------------------------------------------ */

static bool is_setup(const struct ftp_pending *pending)
{
	return pending->kind >= FTP_PORT && pending->kind <= FTP_LPSV;
}

/* "What is EPSV?" in the words of those that do not know. */
static bool is_unknown(unsigned code)
{
	return code == 500 || code == 501 || code == 502 || code == 522;
}

static bool is_refusal(const struct ftp_state *state, const struct ftp_pending *pending, unsigned code)
{
	return is_setup(pending) && state->setup.may_be_refused && is_unknown(code);
}

bool ftp_convert_is_hidden(const struct ftp_state *state, const struct ftp_pending *pending, unsigned code)
{
	return (is_setup(pending) && state->setup.is_converted) || is_refusal(state, pending, code);
}

bool ftp_convert_again(struct ftp_state *state, const struct ftp_pending *pending, unsigned code)
{
	bool is_refused = pending != NULL && is_refusal(state, pending, code);

	if (pending == NULL || !is_setup(pending))
		return false;
	state->setup.may_be_refused = false;
	state->has_epsv |= code == 229;
	if (!is_refused || state->host->reply(state->session, ALG_SERVER, ftp_bytes(SPAN_LIT("PASV\r\n"))) < 0)
		return false;
	state->has_no_epsv = true;
	state->setup.code = 227;
	return true;
}

bool ftp_convert_must_wait(const struct ftp_state *state)
{
	return state->setup.may_be_refused && ftp_queue_has(state, FTP_F_DATA);
}

/* Where the server listens; the address is the one of its control channel, whatever a 227 says. */
static int arm(struct ftp_state *state, uint32_t hole, uint16_t port)
{
	struct alg_addr at = state->about->server;
	int err;

	at.port = port;
	if (port < FTP_PORT_FLOOR)
		return ALG_ERR_DENIED;
	err = state->host->hole_peer(state->session, hole, ALG_SERVER, &at, 0);
	return err < 0 ? err : state->host->hole_arm(state->session, hole);
}

static void say(struct ftp_state *state, struct ftp_line *line, struct ftp_answer answer)
{
	char text[120];
	struct buf out = buf_of(text, sizeof(text));

	if (!line->is_long) {
		ftp_data_say(state, line, answer);
		return;
	}
	/* It cannot be edited, but what it says is no reply to what the client has asked. */
	buf_printf(&out, "%u %s\r\n", answer.code, answer.text);
	line->is_dropped = state->host->reply(state->session, ALG_CLIENT, ftp_bytes(buf_span(&out))) == 0;
}

/* What an active client understands as it stands: not now, not logged in. */
static bool is_for_client(unsigned code)
{
	return code / 100 == 4 || code == 530 || code == 532;
}

void ftp_convert_reply(struct ftp_state *state, struct ftp_line *line, uint32_t hole, unsigned code)
{
	static const char *const done[] = { "PORT command successful.", "EPRT command successful.", "LPRT command successful." };
	struct ftp_address from;

	if (hole != 0 && code == state->setup.code && !line->is_long && !state->is_foreign && !state->is_ending &&
	    ftp_reply_find(line->text, code, &from) == 0 && arm(state, hole, from.addr.port) == 0) {
		ftp_data_adopt(state, hole, true);
		say(state, line, (struct ftp_answer){ 200, done[state->setup.kind - FTP_PORT] });
		return;
	}
	if (hole != 0)
		state->host->hole_free(state->session, hole);
	if (!is_for_client(code))
		say(state, line, (struct ftp_answer){ 425, "The server opens no passive data connection." });
}
