/* Data connections: what PORT, PASV and their kind ask for, and their replies. A pinhole is reserved when the
 * address is known (the client's command, the server's reply), and opened by the positive answer. An address has to
 * be the speaker's own; the server's is never believed, only its port. RFC 959, 1639, 2428, 2577, 6384. */
#include "algs/ftp/ftp_inside.h"

#include "algs/ftp/ftp_reply.h"
#include "core/err.h"

static const struct ftp_answer no_answer = { 0, NULL };

static struct ftp_answer failed_reserve(int err)
{
	if (err == ALG_ERR_DENIED)
		return (struct ftp_answer){ 500, "This address or port is not allowed." };
	if (err == ALG_ERR_FAMILY)
		return (struct ftp_answer){ 522, "No such protocol on the other side." };
	return (struct ftp_answer){ 425, "No data connection can be opened now." };
}

static void begin_setup(struct ftp_state *state, enum ftp_kind kind)
{
	state->setup.hole = 0;
	state->setup.kind = (uint8_t)kind;
	state->setup.code = 0;
	state->setup.is_converted = state->setup.may_be_refused = false;
}

/* ---- PORT, EPRT, LPRT -------------------------------------------------------------------------------------------- */

static int read_address(enum ftp_kind kind, struct span arg, struct ftp_address *ret)
{
	if (kind == FTP_PORT)
		return ftp_address_read_port(arg, ret);
	return kind == FTP_EPRT ? ftp_address_read_eprt(arg, ret) : ftp_address_read_lprt(arg, ret);
}

/* The client may name itself, or whom the server believes it to be: then it knows of the translation, and means
 * itself. */
static bool is_own(const struct alg_about *about, const struct alg_addr *addr)
{
	if (about->is_translated && ftp_address_eq_ip(addr, &about->server_sees))
		return true;
	return ftp_address_eq_ip(addr, &about->client);
}

static struct ftp_answer check_active(struct ftp_state *state, enum ftp_kind kind, struct span arg,
				      struct ftp_address *ret)
{
	int err;

	if (!state->about->may_be_active)
		return (struct ftp_answer){ 502, "Active mode is not allowed here, use passive mode." };
	if (!state->is_logged_in)
		return (struct ftp_answer){ 530, "Please log in first." };
	if (state->is_epsv_only)
		return (struct ftp_answer){ 503, "EPSV ALL is in force." };
	err = read_address(kind, arg, ret);
	if (err == ERR_UNSUPPORTED)
		return kind == FTP_LPRT ? (struct ftp_answer){ 521, "Supported address families are (4, 6)." }
					: (struct ftp_answer){ 522, "Network protocol not supported, use (1,2)." };
	if (err < 0)
		return (struct ftp_answer){ 501, "That is no address." };
	if (!is_own(state->about, &ret->addr)) {
		state->host->note(state->session, NULL,
				  "the client asked for data to be sent to another host: refused");
		return (struct ftp_answer){ 500, "The address has to be your own." };
	}
	if (ret->addr.port < FTP_PORT_FLOOR)
		return (struct ftp_answer){ 500, "This port is not allowed." };
	return no_answer;
}

/* Writes the command as the server has to see it; the verb only changes when the address family does. */
static int edit_active(struct ftp_state *state, struct ftp_line *line, const struct ftp_command *command,
		       const struct ftp_address *from, const struct alg_addr *to)
{
	enum ftp_kind kind = command->verb->kind;
	size_t arg_at = (size_t)(command->arg.ptr - line->text.ptr) + from->at;
	size_t begin = arg_at;
	char text[160];
	struct buf out = buf_of(text, sizeof(text));

	if (ftp_address_eq(&from->addr, to))
		return 0;
	if (kind == FTP_LPRT) {
		ftp_address_put_lprt(&out, to);
	} else if (kind == FTP_EPRT && to->family == from->addr.family) {
		ftp_address_put_eprt(&out, to, from->delimiter);
	} else if (kind == FTP_PORT && to->family == 4) {
		ftp_address_put_port(&out, to);
	} else {
		begin = (size_t)(command->name.ptr - line->text.ptr);
		buf_puts(&out, to->family == 4 ? "PORT " : "EPRT ");
		if (to->family == 4)
			ftp_address_put_port(&out, to);
		else
			ftp_address_put_eprt(&out, to, '|');
	}
	return ftp_line_edit(state, line, begin, arg_at + from->len - begin, buf_span(&out));
}

static int edit_verb(struct ftp_state *state, struct ftp_line *line, const struct ftp_command *command,
		     struct span with)
{
	size_t at = (size_t)(command->name.ptr - line->text.ptr);

	return ftp_line_edit(state, line, at, line->text.len - at, with);
}

struct ftp_answer ftp_data_ask_active(struct ftp_state *state, struct ftp_line *line, const struct ftp_command *command)
{
	struct alg_want want = { .class = FTP_CLASS_DATA, .listener = ALG_CLIENT, .is_protected = ftp_protect_is_private(state),
				 .is_dialled = state->about->is_server_passive };
	struct ftp_address found;
	struct ftp_answer answer = check_active(state, command->verb->kind, command->arg, &found);
	struct alg_addr to;
	uint32_t hole;
	int err;

	if (answer.code != 0)
		return answer;
	want.at = state->about->client;
	want.at.port = found.addr.port;
	err = state->host->hole_reserve(state->session, &want, &hole);
	if (err < 0)
		return failed_reserve(err);
	begin_setup(state, command->verb->kind);
	if (want.is_dialled)
		err = edit_verb(state, line, command, ftp_convert_verb(state));
	else
		err = state->host->hole_public(state->session, hole, ALG_SERVER, &to, NULL);
	if (err == 0 && !want.is_dialled)
		err = edit_active(state, line, command, &found, &to);
	if (err < 0) {
		begin_setup(state, command->verb->kind);
		state->host->hole_free(state->session, hole);
		return failed_reserve(err);
	}
	state->setup.hole = hole;
	state->setup.is_converted = want.is_dialled;
	return no_answer;
}

/* ---- PASV, EPSV, LPSV -------------------------------------------------------------------------------------------- */

static struct ftp_answer ask_epsv_all(struct ftp_state *state, bool is_between_families)
{
	state->setup.kind = FTP_EPSV_ALL;
	if (!is_between_families)
		return no_answer;
	/* The server will be asked for something else than EPSV, and must not be told otherwise. */
	state->is_epsv_only = true;
	return (struct ftp_answer){ 200, "EPSV ALL is in force." };
}

/* The verb that the server understands, when it is of another address family than the client, or old. */
static int translate_passive(struct ftp_state *state, struct ftp_line *line, const struct ftp_command *command)
{
	enum ftp_kind kind = command->verb->kind;
	uint8_t client = state->about->client.family, server = state->about->server.family;
	struct span verb;

	if (kind == FTP_EPSV && state->about->is_server_passive && client == server && ftp_command_epsv(command->arg) < FTP_EPSV_IPV6) {
		verb = ftp_convert_verb(state);
		return state->setup.code == 227 ? edit_verb(state, line, command, verb) : 0;
	}
	if (kind == FTP_EPSV && client == 6 && server == 4) {
		state->setup.code = 227;
		return edit_verb(state, line, command, SPAN_LIT("PASV"));
	}
	if (kind == FTP_PASV && client == 4 && server == 6) {
		state->setup.code = 229;
		return edit_verb(state, line, command, SPAN_LIT("EPSV"));
	}
	/* "EPSV 1" to a server of the other family: it is to take its own. */
	if (kind == FTP_EPSV && client != server && span_trim(command->arg).len > 0)
		return edit_verb(state, line, command, SPAN_LIT("EPSV"));
	return 0;
}

struct ftp_answer ftp_data_ask_passive(struct ftp_state *state, struct ftp_line *line,
				       const struct ftp_command *command)
{
	enum ftp_kind kind = command->verb->kind;
	enum ftp_epsv epsv = kind == FTP_EPSV ? ftp_command_epsv(command->arg) : FTP_EPSV_PLAIN;
	uint8_t client = state->about->client.family;
	bool is_between_families = client != state->about->server.family;

	if (state->is_epsv_only && kind != FTP_EPSV)
		return (struct ftp_answer){ 503, "EPSV ALL is in force." };
	if (epsv == FTP_EPSV_ONLY)
		return ask_epsv_all(state, is_between_families);
	if (is_between_families && (epsv == FTP_EPSV_OTHER || epsv == (client == 4 ? FTP_EPSV_IPV6 : FTP_EPSV_IPV4)))
		return (struct ftp_answer){ 522, client == 4 ? "Network protocol not supported, use (1)." :
							       "Network protocol not supported, use (2)." };
	begin_setup(state, kind);
	state->setup.code = kind == FTP_PASV ? 227 : kind == FTP_LPSV ? 228 : 229;
	return translate_passive(state, line, command) < 0 ? failed_reserve(ALG_ERR_LIMIT) : no_answer;
}

/* ---- their replies ----------------------------------------------------------------------------------------------- */

void ftp_data_adopt(struct ftp_state *state, uint32_t hole, bool is_dialled)
{
	if (state->data.hole != 0 && !state->data.is_opened)
		state->host->hole_free(state->session, state->data.hole);
	state->data.hole = hole;
	state->data.is_opened = state->data.is_ended = false;
	state->data.is_dialled = is_dialled;
}

void ftp_data_forget(struct ftp_state *state)
{
	ftp_data_adopt(state, 0, false);
}

void ftp_data_say(struct ftp_state *state, struct ftp_line *line, struct ftp_answer answer)
{
	char text[120];
	struct buf out = buf_of(text, sizeof(text));

	buf_printf(&out, "%u %s\r\n", answer.code, answer.text);
	/* Without room for the edit the line passes: nothing is open, so it is of no use to anybody. */
	(void)ftp_line_replace(state, line, buf_span(&out));
}

void ftp_data_active_reply(struct ftp_state *state, struct ftp_line *line, unsigned code)
{
	uint32_t hole = state->setup.hole;
	int err;

	state->setup.hole = 0;
	if (state->setup.is_converted) {
		ftp_convert_reply(state, line, hole, code);
		return;
	}
	if (code / 100 != 2 || state->is_foreign || state->is_ending) {
		if (hole != 0)
			state->host->hole_free(state->session, hole);
		return;
	}
	err = hole != 0 ? state->host->hole_arm(state->session, hole) : ALG_ERR_STATE;
	if (err == 0) {
		ftp_data_adopt(state, hole, false);
		return;
	}
	if (hole != 0)
		state->host->hole_free(state->session, hole);
	ftp_data_say(state, line, failed_reserve(ALG_ERR_LIMIT));
}

static void put_passive(struct buf *out, enum ftp_kind kind, const struct alg_addr *to)
{
	if (kind == FTP_PASV) {
		buf_puts(out, "227 Entering Passive Mode (");
		ftp_address_put_port(out, to);
		buf_puts(out, ").\r\n");
	} else {
		buf_printf(out, "229 Entering Extended Passive Mode (|||%u|)\r\n", to->port);
	}
}

/* Writes into the reply where the client has to connect to. What stands there already is not touched. */
static int edit_passive(struct ftp_state *state, struct ftp_line *line, const struct ftp_address *from,
			const struct alg_addr *to)
{
	enum ftp_kind kind = state->setup.kind;
	char text[160];
	struct buf out = buf_of(text, sizeof(text));

	if (kind == FTP_PASV && to->family != 4)
		return ALG_ERR_FAMILY;
	if (state->setup.code != (kind == FTP_PASV ? 227 : kind == FTP_LPSV ? 228 : 229)) {
		put_passive(&out, kind, to);
		return ftp_line_replace(state, line, buf_span(&out));
	}
	if (from->addr.port == to->port && (from->addr.family == 0 || ftp_address_eq_ip(&from->addr, to)))
		return 0;
	if (kind == FTP_PASV)
		ftp_address_put_port(&out, to);
	else if (kind == FTP_LPSV)
		ftp_address_put_lprt(&out, to);
	else
		buf_printf(&out, "%u", to->port);
	return ftp_line_edit(state, line, from->at, from->len, buf_span(&out));
}

static int open_passive(struct ftp_state *state, struct ftp_line *line, const struct ftp_address *from)
{
	/* The server's word for its port only: an address that is not its own is no address of this session. */
	struct alg_want want = { .class = FTP_CLASS_DATA, .listener = ALG_SERVER, .at = state->about->server,
				 .is_protected = ftp_protect_is_private(state) };
	struct alg_addr to;
	uint32_t hole;
	int err;

	if (from->addr.port < FTP_PORT_FLOOR)
		return ALG_ERR_DENIED;
	want.at.port = from->addr.port;
	err = state->host->hole_reserve(state->session, &want, &hole);
	if (err < 0)
		return err;
	err = state->host->hole_public(state->session, hole, ALG_CLIENT, &to, NULL);
	if (err == 0)
		err = state->host->hole_arm(state->session, hole);
	if (err == 0)
		err = edit_passive(state, line, from, &to);
	if (err < 0) {
		state->host->hole_free(state->session, hole);
		return err;
	}
	ftp_data_adopt(state, hole, false);
	return 0;
}

void ftp_data_passive_reply(struct ftp_state *state, struct ftp_line *line, unsigned code)
{
	struct ftp_address from;
	int err;

	if (code != state->setup.code || line->is_long || state->is_foreign || state->is_ending ||
	    ftp_reply_find(line->text, code, &from) < 0)
		return;
	err = open_passive(state, line, &from);
	if (err == ALG_ERR_FAMILY)
		ftp_data_say(state, line, (struct ftp_answer){ 522, "Network protocol not supported, use EPSV." });
	else if (err < 0)
		ftp_data_say(state, line, failed_reserve(ALG_ERR_LIMIT));
}
