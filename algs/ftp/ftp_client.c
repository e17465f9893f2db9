/* What is to become of a command. Which commands may not be judged before earlier ones are answered is the verbs' table
 * (ftp_command.c): who the user is, where he is, and which data connection a transfer will use must be known first. */
#include "algs/ftp/ftp_inside.h"

#include "algs/ftp/ftp_path.h"
#include "core/err.h"

enum { UINT64_DIGITS_MAX = 19 };

static struct alg_result hold(struct ftp_state *state)
{
	state->is_held = true;
	return (struct alg_result){ .verdict = ALG_HOLD };
}

static unsigned flags_of(const struct ftp_command *command)
{
	return command->verb != NULL ? command->verb->flags : 0;
}

static enum ftp_kind kind_of(const struct ftp_command *command)
{
	if (command->verb != NULL)
		return command->verb->kind;
	return command->name.len > 0 ? FTP_UNKNOWN : FTP_EMPTY;
}

static bool must_wait(const struct ftp_state *state, const struct ftp_command *command)
{
	unsigned flags = flags_of(command);

	if (ftp_queue_is_full(state) || ftp_queue_has(state, FTP_F_SETS_LOGIN) || ftp_convert_must_wait(state))
		return true;
	if ((flags & FTP_F_ALONE) != 0 && ftp_queue_has(state, 0))
		return true;
	if ((flags & (FTP_F_PATH | FTP_F_SETS_DIR)) != 0 && ftp_queue_has(state, FTP_F_SETS_DIR))
		return true;
	return (flags & FTP_F_DATA) != 0 && ftp_queue_has(state, FTP_F_DATA);
}

/* What no rule needs to say: lines that a server could read in another way than we do. */
static struct ftp_answer find_trick(const struct ftp_line *line, const struct ftp_command *command)
{
	if (ftp_command_has_bare_return(line->text))
		return (struct ftp_answer){ 501, "A carriage return does not belong there." };
	if (span_find(command->name, '\0') < command->name.len)
		return (struct ftp_answer){ 500, "NUL does not belong there." };
	if (line->is_long && command->verb != NULL &&
	    (!span_eq(span_of(command->verb->class), SPAN_LIT("session")) || (command->verb->flags & FTP_F_DATA) != 0))
		return (struct ftp_answer){ 500, "Line too long." };
	return (struct ftp_answer){ 0, NULL };
}

/* The path of the command, resolved, or what stands for it in rules. */
static struct span target_of(const struct ftp_state *state, const struct ftp_command *command, struct buf *out)
{
	struct span directory = { state->directory.data, state->directory.len }, path;

	if ((flags_of(command) & FTP_F_SECRET) != 0 || kind_of(command) == FTP_USER)
		return SPAN_NONE;
	if ((flags_of(command) & FTP_F_PATH) == 0)
		return command->arg;
	path = ftp_command_path(command);
	if (path.len == 0 && (command->verb->kind != FTP_TRANSFER || (command->verb->flags & FTP_F_UP) != 0))
		return SPAN_NONE;
	ftp_path_join(directory, path, out);
	return out->is_full ? path : buf_span(out);
}

static struct ftp_answer claim(struct ftp_state *state, const struct ftp_command *command)
{
	struct ftp_text_user *claimed = &state->claimed;

	if (command->arg.len > sizeof(claimed->data))
		return (struct ftp_answer){ 501, "Name too long." };
	state->has_user = true;
	claimed->len = command->arg.len;
	if (claimed->len > 0)
		memcpy(claimed->data, command->arg.ptr, claimed->len);
	return (struct ftp_answer){ 0, NULL };
}

static struct ftp_answer ask_auth(struct ftp_state *state, const struct ftp_command *command)
{
	static const char *const tls[] = { "TLS", "SSL", "TLS-C", "TLS-P" };

	if (state->about->tls == ALG_TLS_REFUSE)
		return (struct ftp_answer){ 534, "Encryption is not allowed here." };
	if (state->about->tls == ALG_TLS_TERMINATE)
		return ftp_protect_ask(state, command);
	for (size_t i = 0; i < sizeof(tls) / sizeof(tls[0]); i++)
		if (span_ieq(span_trim(command->arg), span_of(tls[i])))
			return (struct ftp_answer){ 0, NULL };
	return (struct ftp_answer){ 504, "Only TLS is allowed here." };
}

/* RFC 6384 section 11: asks a translator between address families what it translates; no server's business. */
static struct ftp_answer answer_algs(const struct ftp_state *state, const struct ftp_command *command)
{
	struct span what = span_trim(command->arg);

	if (state->about->client.family == state->about->server.family)
		return (struct ftp_answer){ 0, NULL };
	if (!span_ieq(what, SPAN_LIT("STATUS64")) && !span_ieq(what, SPAN_LIT("ENABLE64")))
		return (struct ftp_answer){ 504, "Only STATUS64 and ENABLE64." };
	return (struct ftp_answer){ 216, state->about->may_be_active ? "EPSV EPRT" : "EPSV" };
}

/* Checks of the gateway's own, with what has to be reserved and edited. What is not refused is passed. */
static struct ftp_answer prepare(struct ftp_state *state, struct ftp_line *line, const struct ftp_command *command)
{
	struct ftp_answer data = ftp_protect_need_data(state);

	switch (kind_of(command)) {
	case FTP_AUTH:
		return ask_auth(state, command);
	case FTP_PBSZ:
	case FTP_PROT:
	case FTP_CCC:
	case FTP_REIN:
		return ftp_protect_ask(state, command);
	case FTP_SECURED:
		return (struct ftp_answer){ 533, "Protected commands are not allowed here." };
	case FTP_ALGS:
		return answer_algs(state, command);
	case FTP_PORT:
	case FTP_EPRT:
	case FTP_LPRT:
		return data.code != 0 ? data : ftp_data_ask_active(state, line, command);
	case FTP_PASV:
	case FTP_EPSV:
	case FTP_LPSV:
		return data.code != 0 ? data : ftp_data_ask_passive(state, line, command);
	default:
		return (struct ftp_answer){ 0, NULL };
	}
}

static void note_directory(struct ftp_state *state, struct span path)
{
	/* One that does not fit is as good as unknown. */
	if (ftp_keep_path(&state->next_directory, path) < 0)
		state->next_directory.len = 0;
}

static void note_allo(struct ftp_state *state, struct span arg)
{
	struct span number = span_cut(&arg, ' ');
	uint64_t value = 0;

	state->has_allo = number.len > 0 && number.len <= UINT64_DIGITS_MAX;
	for (size_t i = 0; i < number.len && state->has_allo; i++) {
		state->has_allo = number.ptr[i] >= '0' && number.ptr[i] <= '9';
		value = value * 10 + (unsigned)(number.ptr[i] - '0');
	}
	state->allo = state->has_allo ? value : 0;
}

/* The command goes to the server. */
static void note_passed(struct ftp_state *state, const struct ftp_command *command, struct span target)
{
	switch (kind_of(command)) {
	case FTP_CWD:
		note_directory(state, target);
		break;
	case FTP_ALLO:
		note_allo(state, command->arg);
		break;
	case FTP_TRANSFER:
		ftp_transfer_start(state, command->verb, target);
		state->has_allo = false;
		break;
	default:
		break;
	}
}

static struct alg_result pass(struct ftp_state *state, const struct ftp_line *line, const struct ftp_command *command,
			      struct span target)
{
	enum ftp_kind kind = kind_of(command);

	if (kind == FTP_EPSV && state->setup.kind == FTP_EPSV_ALL)
		kind = FTP_EPSV_ALL;
	note_passed(state, command, target);
	/* must_wait() has made sure that there is room. */
	(void)ftp_queue_push(state, kind, flags_of(command));
	return ftp_line_pass(line);
}

static struct alg_result pass_empty(struct ftp_state *state, const struct ftp_line *line)
{
	/* One stands for many: some servers answer each, others none. */
	if (state->n_pending == 0 || state->pending[state->n_pending - 1].kind != FTP_EMPTY)
		if (ftp_queue_push(state, FTP_EMPTY, 0) < 0)
			return hold(state);
	return ftp_line_pass(line);
}

/* Before USER nothing but FTP is listened to for long: what is not may be another protocol in disguise, or a
 * browser's. */
static bool is_stranger(struct ftp_state *state, const struct ftp_command *command)
{
	if (state->has_user || command->verb != NULL)
		return false;
	if (ftp_command_is_http(command)) {
		state->host->note(state->session, NULL, "HTTP where FTP was expected: ended");
		return true;
	}
	if (++state->n_unknown <= FTP_UNKNOWN_MAX)
		return false;
	state->host->note(state->session, NULL, "too many unknown commands before USER: ended");
	return true;
}

/* The profile first, then our own checks: what a rule denies needs no pinhole. */
static struct ftp_answer ask(struct ftp_state *state, struct ftp_line *line, const struct ftp_command *command,
			     struct span target, struct alg_answer *memory)
{
	struct ftp_answer own = find_trick(line, command);

	if (own.code == 0)
		own = ftp_protect_need(state, command);
	if (own.code == 0 && kind_of(command) == FTP_USER)
		own = claim(state, command);
	if (own.code == 0)
		own = ftp_policy_ask(state, command, target, memory);
	if (own.code == 0)
		own = prepare(state, line, command);
	if (own.code != 0 && kind_of(command) == FTP_USER)
		state->claimed = state->user;
	return own;
}

static struct alg_result answer(struct ftp_state *state, const struct ftp_line *line, struct ftp_answer own)
{
	unsigned code = own.code;
	struct alg_result result = ftp_policy_reply(state, line, own);

	if (code == FTP_TLS_BEGINS && result.verdict == ALG_DROP && !ftp_protect_begin(state))
		return (struct alg_result){ .verdict = ALG_RESET };
	return result;
}

struct alg_result ftp_client_line(struct ftp_state *state, struct ftp_line *line)
{
	SCRATCH char resolved[FTP_TARGET_MAX];
	struct buf out = buf_of(resolved, sizeof(resolved));
	struct ftp_command command;
	struct ftp_answer own;
	struct alg_answer memory;
	struct span target;

	if (state->answer.code != 0)
		return answer(state, line, (struct ftp_answer){ state->answer.code, state->answer.text });
	ftp_command_read(line->text, &command);
	if (kind_of(&command) == FTP_EMPTY && !ftp_convert_must_wait(state))
		return pass_empty(state, line);
	if (must_wait(state, &command))
		return hold(state);
	if (is_stranger(state, &command))
		return (struct alg_result){ .verdict = ALG_RESET };
	target = target_of(state, &command, &out);
	own = ask(state, line, &command, target, &memory);
	return own.code != 0 ? answer(state, line, own) : pass(state, line, &command, target);
}
