/* What the profile says about commands, the replies that the gateway gives in the server's place, and what it takes
 * out of the server's lists of what is possible. Knows no addresses. RFC 959, RFC 2389. */
#include "algs/ftp/ftp_inside.h"

#include "algs/ftp/ftp_reply.h"

static enum alg_direction direction_of(const struct ftp_verb *verb)
{
	if (verb == NULL)
		return ALG_NO_DATA;
	if ((verb->flags & FTP_F_UP) != 0)
		return ALG_UP;
	return (verb->flags & FTP_F_DOWN) != 0 ? ALG_DOWN : ALG_NO_DATA;
}

/* The protocol's usual code for a command that is not allowed. */
static unsigned usual_code(const struct ftp_verb *verb)
{
	if (verb == NULL)
		return 502;
	if ((verb->flags & FTP_F_PATH) != 0)
		return 550;
	if (verb->kind == FTP_USER || verb->kind == FTP_LOGIN)
		return 530;
	return verb->kind == FTP_AUTH ? 534 : 502;
}

static bool is_login(const struct ftp_verb *verb)
{
	return verb != NULL && (verb->kind == FTP_USER || verb->kind == FTP_LOGIN);
}

static struct alg_question question_of(const struct ftp_state *state, const struct ftp_command *command)
{
	const struct ftp_text_user *user = is_login(command->verb) ? &state->claimed : &state->user;
	struct alg_question question = {
		.verb = { command->upper, command->upper_len },
		.user = { user->data, user->len },
		.direction = direction_of(command->verb),
	};

	if (question.direction == ALG_UP && state->has_allo) {
		question.has_size = true;
		question.size = state->allo;
	}
	return question;
}

/* NUL means nothing to Telnet, and the end of the text to a server written in C: both readings have to be allowed. */
static void ask_readings(struct ftp_state *state, struct alg_question *question, struct span target,
			 struct alg_answer *ret)
{
	SCRATCH char without[FTP_TARGET_MAX];
	struct buf out = buf_of(without, sizeof(without));

	for (size_t i = 0; i < target.len; i++)
		if (target.ptr[i] != '\0')
			buf_putc(&out, target.ptr[i]);
	question->target = ftp_bytes(buf_span(&out));
	state->host->policy(state->session, question, ret);
	if (!ret->is_allowed)
		return;
	question->target = ftp_bytes(span_sub(target, 0, span_find(target, '\0')));
	state->host->policy(state->session, question, ret);
}

struct ftp_answer ftp_policy_ask(struct ftp_state *state, const struct ftp_command *command, struct span target,
				 struct alg_answer *memory)
{
	struct alg_question question = question_of(state, command);

	if (span_find(target, '\0') < target.len) {
		ask_readings(state, &question, target, memory);
	} else {
		question.target = ftp_bytes(target);
		state->host->policy(state->session, &question, memory);
	}
	if (memory->is_allowed)
		return (struct ftp_answer){ 0, NULL };
	return (struct ftp_answer){
		memory->code >= 400 && memory->code <= 599 ? memory->code : usual_code(command->verb),
		memory->text[0] != '\0' ? memory->text : "Not allowed here.",
	};
}

static struct alg_result answer_now(struct ftp_state *state, const struct ftp_line *line, struct ftp_answer answer)
{
	char text[ALG_TEXT_MAX + 16];
	struct buf out = buf_of(text, sizeof(text));

	buf_printf(&out, "%u ", answer.code);
	for (const char *at = answer.text; *at != '\0' && out.len < sizeof(text) - 2; at++)
		buf_putc(&out, *at);
	buf_puts(&out, "\r\n");
	/* A command that nobody answers would put every later reply in the wrong place. */
	if (state->host->reply(state->session, ALG_CLIENT, ftp_bytes(buf_span(&out))) < 0)
		return (struct alg_result){ .verdict = ALG_RESET };
	return ftp_line_drop(line);
}

struct alg_result ftp_policy_reply(struct ftp_state *state, const struct ftp_line *line, struct ftp_answer answer)
{
	struct buf out = buf_of(state->answer.text, sizeof(state->answer.text) - 1);

	if (state->answer.code != answer.code || answer.text != state->answer.text) {
		for (const char *at = answer.text; *at != '\0' && out.len < out.cap; at++)
			buf_putc(&out, (unsigned char)*at < ' ' || *at == 127 ? ' ' : *at);
		state->answer.text[out.len] = '\0';
		state->answer.code = answer.code;
	}
	if (ftp_queue_has(state, 0)) {
		state->is_held = true;
		return (struct alg_result){ .verdict = ALG_HOLD };
	}
	answer = (struct ftp_answer){ state->answer.code, state->answer.text };
	state->answer.code = 0;
	return answer_now(state, line, answer);
}

/* Whether lists of what is possible may show that command. */
static bool is_shown(struct ftp_state *state, struct span name)
{
	struct ftp_command command;
	struct alg_question question;
	struct alg_answer answer;

	ftp_command_read(name, &command);
	if (command.verb == NULL)
		return true;
	switch (command.verb->kind) {
	case FTP_PORT:
	case FTP_EPRT:
	case FTP_LPRT:
		if (!state->about->may_be_active)
			return false;
		break;
	case FTP_CCC:
		if (state->about->tls != ALG_TLS_PASS)
			return false;
		break;
	case FTP_AUTH:
	case FTP_PBSZ:
	case FTP_PROT:
		if (state->about->tls == ALG_TLS_REFUSE)
			return false;
		break;
	case FTP_SECURED:
		return false;
	default:
		break;
	}
	question = question_of(state, &command);
	question.is_trial = true;
	state->host->policy(state->session, &question, &answer);
	return answer.is_allowed;
}

static bool is_name(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static size_t name_end(struct span text, size_t at)
{
	while (at < text.len && is_name(text.ptr[at]))
		at++;
	return at;
}

/* In lists of verbs these are in capitals; prose is not to lose its "list" or "type". */
static bool is_capital(struct span word)
{
	for (size_t i = 0; i < word.len; i++)
		if (word.ptr[i] >= 'a' && word.ptr[i] <= 'z')
			return false;
	return true;
}

static bool is_protection(struct span name)
{
	return span_ieq(name, SPAN_LIT("AUTH")) || span_ieq(name, SPAN_LIT("PBSZ")) || span_ieq(name, SPAN_LIT("PROT"));
}

bool ftp_policy_trim_feat(struct ftp_state *state, const struct ftp_line *line)
{
	struct span text = span_trim(line->text);
	size_t end = name_end(text, 0);

	if (state->about->is_server_plain && is_protection(span_sub(text, 0, end)))
		return true; /* its own is not asked for */
	return end > 0 && !is_shown(state, span_sub(text, 0, end));
}

void ftp_policy_end_feat(struct ftp_state *state, struct ftp_line *line)
{
	if (state->about->is_server_plain && is_shown(state, SPAN_LIT("AUTH")))
		(void)ftp_line_edit(state, line, 0, 0, SPAN_LIT(" AUTH TLS\r\n PBSZ\r\n PROT\r\n"));
}

/* Some words of a list of verbs, as "HELP" gives them, become blanks, so that columns stay. */
void ftp_policy_trim_help(struct ftp_state *state, struct ftp_line *line)
{
	static const char blanks[FTP_VERB_MAX] = "                        ";
	struct span text = line->text;
	size_t end;

	if (line->is_stripped || line->is_long)
		return;
	for (size_t at = 0; at < text.len; at = end) {
		struct span word;

		end = name_end(text, at);
		word = span_sub(text, at, end);
		if (end == at) {
			end++;
			continue;
		}
		if (end < text.len && text.ptr[end] == '*') /* a mark of what is not implemented */
			end++;
		if (word.len >= 3 && word.len < FTP_VERB_MAX && is_capital(word) && !is_shown(state, word) &&
		    ftp_line_edit(state, line, at, end - at, (struct span){ blanks, end - at }) < 0)
			return;
	}
}
