/* Encryption that the gateway ends (RFC 4217): AUTH begins it on both channels, PROT says what holds for data connections, and nothing
 * takes it back: CCC and REIN would leave the two sides of one opinion only if every server did the same. Towards a server that is not
 * to encrypt the gateway answers in its place. */
#include "algs/ftp/ftp_inside.h"

static const struct ftp_answer no_answer = { 0, NULL };

static bool is_one_of(struct span word, const char *const names[], size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (span_ieq(word, span_of(names[i])))
			return true;
	return false;
}

/* ---- commands ---------------------------------------------------------------------------------------------------- */

static struct ftp_answer ask_auth(struct ftp_state *state, struct span mechanism)
{
	/* Under the older names of the last two data connections are encrypted from the beginning. */
	static const char *const mechanisms[] = { "TLS", "TLS-C", "SSL", "TLS-P" };

	if (state->protection.is_on)
		return (struct ftp_answer){ 503, "The channel is encrypted already." };
	if (!is_one_of(mechanism, mechanisms, 4))
		return (struct ftp_answer){ 504, "Only TLS is allowed here." };
	state->protection.next_is_private = is_one_of(mechanism, mechanisms + 2, 2);
	return state->about->is_server_plain ? (struct ftp_answer){ FTP_TLS_BEGINS, "TLS begins." } : no_answer;
}

static struct ftp_answer ask_prot(struct ftp_state *state, struct span level)
{
	static const char *const levels[] = { "C", "P", "S", "E" };
	bool is_private = span_ieq(level, SPAN_LIT("P"));

	if (!is_one_of(level, levels, 4))
		return (struct ftp_answer){ 504, "It is C or P." };
	if (!is_one_of(level, levels, 2))
		return (struct ftp_answer){ 536, "TLS has no such level, only C and P." };
	if (!is_private && state->about->tls_need == ALG_TLS_NEED_DATA)
		return (struct ftp_answer){ 534, "Data connections have to be encrypted here: PROT P." };
	state->protection.next_is_private = is_private;
	return no_answer;
}

/* In the place of a server that knows nothing of it. */
static struct ftp_answer answer_plain(struct ftp_state *state, enum ftp_kind kind)
{
	if (!state->protection.is_on)
		return (struct ftp_answer){ 503, "AUTH TLS comes first." };
	if (kind == FTP_PBSZ)
		return (struct ftp_answer){ 200, "PBSZ=0" };
	ftp_protect_prot_reply(state);
	return (struct ftp_answer){ 200, "Protection level is set." };
}

struct ftp_answer ftp_protect_ask(struct ftp_state *state, const struct ftp_command *command)
{
	enum ftp_kind kind = command->verb->kind;
	struct ftp_answer answer = no_answer;

	if (state->about->tls != ALG_TLS_TERMINATE)
		return no_answer;
	switch (kind) {
	case FTP_AUTH:
		return ask_auth(state, span_trim(command->arg));
	case FTP_CCC:
		return (struct ftp_answer){ 533, "Commands stay encrypted here." };
	case FTP_REIN:
		/* RFC 4217 section 11: it would take TLS off the channel. Many servers keep it. */
		return state->protection.is_on ? (struct ftp_answer){ 502, "Not with TLS; connect anew." } : no_answer;
	case FTP_PROT:
		answer = ask_prot(state, span_trim(command->arg));
		break;
	default: /* PBSZ */
		break;
	}
	return answer.code == 0 && state->about->is_server_plain ? answer_plain(state, kind) : answer;
}

struct ftp_answer ftp_protect_need(const struct ftp_state *state, const struct ftp_command *command)
{
	/* What leads to encryption, tells about it, or ends the session. */
	static const char *const free_verbs[] = { "AUTH", "FEAT", "HELP", "QUIT", "NOOP", "OPTS", "CLNT", "HOST", "LANG", "SYST",
						  "PBSZ", "PROT", "CCC" };
	const struct alg_about *about = state->about;

	if (about->tls != ALG_TLS_TERMINATE || about->tls_need == ALG_TLS_NEED_NOTHING || state->protection.is_on ||
	    (command->verb != NULL && is_one_of(span_of(command->verb->name), free_verbs, sizeof(free_verbs) / sizeof(free_verbs[0]))))
		return no_answer;
	return (struct ftp_answer){ 530, "TLS is required here: AUTH TLS comes first." };
}

struct ftp_answer ftp_protect_need_data(const struct ftp_state *state)
{
	if (state->about->tls != ALG_TLS_TERMINATE || state->about->tls_need != ALG_TLS_NEED_DATA || ftp_protect_is_private(state))
		return no_answer;
	return (struct ftp_answer){ 521, "Data connections have to be encrypted here: PROT P comes first." };
}

/* ---- what follows from replies ----------------------------------------------------------------------------------- */

bool ftp_protect_begin(struct ftp_state *state)
{
	if (state->host->start_tls(state->session) < 0)
		return false;
	state->protection.is_on = true;
	state->protection.is_private = state->protection.next_is_private;
	/* RFC 2228 section 3: who has logged in before has to do it again. */
	ftp_forget_user(state);
	state->has_user = false;
	state->n_unknown = 0;
	return true;
}

void ftp_protect_prot_reply(struct ftp_state *state)
{
	bool has_changed = state->protection.is_private != state->protection.next_is_private;

	state->protection.is_private = state->protection.next_is_private;
	if (has_changed) /* what was agreed on before was agreed on for another kind of data */
		ftp_data_forget(state);
}

bool ftp_protect_is_private(const struct ftp_state *state)
{
	return state->protection.is_on && state->protection.is_private;
}
