/* The FTP ALG between a client and a server that say anything, with a host that checks what it asks for.
 *
 * The first octet of the input chooses the session: translated, encryption, active mode, families, a policy that
 * denies, encryption that ends at the gateway, and what is asked of clients then. Then records follow: an octet, whose lowest three bits say who speaks (0 to 2 the client, 3 to 5 the
 * server) or what happens (6, 7) and whose others are a length, 0: up to and with the next line feed. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "algs/ftp/ftp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HOLES_MAX = 512, EDITS_MAX = 64, LONGEST = 8192 };
enum hole_state { UNUSED, RESERVED, ARMED, GONE };

struct alg_session {
	struct alg_about about;
	bool denies;
	enum hole_state holes[HOLES_MAX]; /* the handle is the index */
	unsigned class[HOLES_MAX];
	struct alg_addr at[HOLES_MAX];
	struct { bool is_wanted, has_peer, is_done[ALG_SIDES]; } dialled[HOLES_MAX];
	unsigned n_holes, n_live;
	bool has_message;         /* edits and waits are possible */
	enum alg_side from;
	size_t given;
	struct { size_t at, len; } edits[EDITS_MAX];
	unsigned n_edits, n_replies;
	bool is_resumed[ALG_SIDES];
	bool is_ending;
	bool has_tls, begins_tls; /* in the call at hand */
};

static void must(bool is_true)
{
	if (!is_true)
		abort();
}

static uint64_t host_now(struct alg_session *s)
{
	(void)s;
	return 1;
}

static int host_edit(struct alg_session *s, size_t offset, size_t len, struct alg_bytes with)
{
	must(s->has_message && offset <= s->given && len <= s->given - offset && (with.len == 0 || with.ptr != NULL));
	for (unsigned i = 0; i < s->n_edits; i++)
		must(offset + len <= s->edits[i].at || offset >= s->edits[i].at + s->edits[i].len);
	if (s->n_edits == EDITS_MAX)
		return ALG_ERR_LIMIT;
	/* Where nothing is translated a client's words are never touched. */
	must(s->about.is_translated || s->from == ALG_SERVER);
	s->edits[s->n_edits].at = offset;
	s->edits[s->n_edits++].len = len;
	return 0;
}

/* A line, the refusal of an option, or the command that ends a transfer. */
static int host_reply(struct alg_session *s, enum alg_side to, struct alg_bytes bytes)
{
	s->n_replies++;
	if (bytes.len == 3 && (unsigned char)bytes.ptr[0] == 255) {
		must(s->has_message && s->about.is_translated && to == s->from);
		return 0;
	}
	if (to == ALG_SERVER) {
		must(!s->has_message || (s->from == ALG_SERVER && s->about.is_server_passive && s->about.server.family == 4));
		must(bytes.len == 6 && memcmp(bytes.ptr, s->has_message ? "PASV\r\n" : "ABOR\r\n", 6) == 0);
		return 0;
	}
	must((s->has_message && s->from == ALG_CLIENT) || s->about.is_server_passive);
	must(bytes.len > 6 && memcmp(bytes.ptr + bytes.len - 2, "\r\n", 2) == 0);
	must(bytes.ptr[0] >= '2' && bytes.ptr[0] <= '5' && bytes.ptr[3] == ' ');
	for (size_t i = 0; i + 2 < bytes.len; i++)
		must((unsigned char)bytes.ptr[i] >= ' ');
	return 0;
}

static void host_resume(struct alg_session *s, enum alg_side from)
{
	must(from == ALG_CLIENT || !s->has_message);
	s->is_resumed[from] = true;
}

static int host_wait_for(struct alg_session *s, uint32_t hole)
{
	must(s->has_message && s->from == ALG_SERVER && hole > 0 && hole <= s->n_holes);
	return 0;
}

static bool is_ip(const struct alg_addr *a, const struct alg_addr *b)
{
	return a->family == b->family && memcmp(a->ip, b->ip, 16) == 0;
}

static int host_reserve(struct alg_session *s, const struct alg_want *want, uint32_t *ret_hole)
{
	const struct alg_about *about = &s->about;
	unsigned n = 0;

	must(want->class < ftp_module.n_classes && want->at.port >= 1024);
	must(is_ip(&want->at, want->listener == ALG_CLIENT ? &about->client : &about->server));
	must(want->listener == ALG_SERVER || about->may_be_active);
	must(!want->is_protected || s->has_tls);
	must(want->is_dialled == (about->is_server_passive && want->listener == ALG_CLIENT));
	must(want->is_protected || about->tls != ALG_TLS_TERMINATE || about->tls_need != ALG_TLS_NEED_DATA);
	must(!want->is_same_port || (about->tls == ALG_TLS_PASS && want->listener == ALG_SERVER &&
				     want->at.port >= about->tls_port_min &&
				     want->at.port <= about->tls_port_max));
	for (unsigned i = 1; i <= s->n_holes; i++)
		n += (s->holes[i] == RESERVED || s->holes[i] == ARMED) && s->class[i] == want->class;
	if (n >= ftp_module.classes[want->class].max || s->n_holes + 1 == HOLES_MAX)
		return ALG_ERR_LIMIT;
	s->holes[++s->n_holes] = RESERVED;
	s->class[s->n_holes] = want->class;
	s->at[s->n_holes] = want->at;
	s->dialled[s->n_holes].is_wanted = want->is_dialled;
	*ret_hole = s->n_holes;
	return 0;
}

static int host_public(struct alg_session *s, uint32_t hole, enum alg_side reader, struct alg_addr *ret,
		       uint16_t *ret_rtcp)
{
	must(hole > 0 && hole <= s->n_holes && s->holes[hole] == RESERVED && ret_rtcp == NULL && !s->dialled[hole].is_wanted);
	*ret = reader == ALG_CLIENT ? s->about.client_sees : s->about.server_sees;
	ret->port = (uint16_t)(20000 + hole);
	if (!s->about.is_translated)
		*ret = s->at[hole];
	return 0;
}

static int host_arm(struct alg_session *s, uint32_t hole)
{
	/* Nothing opens but by a reply, or behind one that ended. */
	must(hole > 0 && hole <= s->n_holes && s->holes[hole] == RESERVED);
	must(s->has_message ? s->from == ALG_SERVER : s->class[hole] == 1);
	must(s->dialled[hole].is_wanted == s->dialled[hole].has_peer);
	s->holes[hole] = ARMED;
	return 0;
}

static int host_peer(struct alg_session *s, uint32_t hole, enum alg_side side, const struct alg_addr *at, uint16_t rtcp_port)
{
	must(hole > 0 && hole <= s->n_holes && s->holes[hole] == RESERVED && s->dialled[hole].is_wanted && side == ALG_SERVER);
	must(is_ip(at, &s->about.server) && at->port >= 1024 && rtcp_port == 0);
	s->dialled[hole].has_peer = true;
	return 0;
}

/* The server first, then the client, each once: but a hole that is over may be named once more. */
static int host_dial(struct alg_session *s, uint32_t hole, enum alg_side side)
{
	bool *is_done = s->dialled[hole].is_done;

	must(hole > 0 && hole <= s->n_holes && s->dialled[hole].is_wanted && s->has_message);
	must(s->from == (side == ALG_SERVER ? ALG_CLIENT : ALG_SERVER));
	if (s->holes[hole] != ARMED)
		return ALG_ERR_STATE;
	must(!is_done[side] && (side == ALG_SERVER || is_done[ALG_SERVER]));
	is_done[side] = true;
	return 0;
}

static void host_free(struct alg_session *s, uint32_t hole)
{
	must(hole > 0 && hole <= s->n_holes && s->holes[hole] != UNUSED);
	s->holes[hole] = GONE;
}

static void host_policy(struct alg_session *s, const struct alg_question *q, struct alg_answer *ret)
{
	static const char *const secrets[] = { "PASS", "ACCT", "ADAT" };

	must(q->verb.len > 0 && q->user.len <= 255);
	for (size_t i = 0; i < q->verb.len; i++)
		must(q->verb.ptr[i] < 'a' || q->verb.ptr[i] > 'z');
	for (size_t i = 0; i < 3; i++)
		must(q->verb.len != 4 || memcmp(q->verb.ptr, secrets[i], 4) != 0 || q->target.len == 0);
	memset(ret, 0, sizeof(*ret));
	ret->is_allowed = !s->denies || (q->verb.ptr[q->verb.len - 1] & 3) != 0;
	ret->code = q->verb.ptr[0] * 8U;
	memcpy(ret->text, q->verb.ptr, q->verb.len < 20 ? q->verb.len : 20);
}

static void host_timer(struct alg_session *s, uint32_t cookie, uint32_t ms)
{
	(void)s;
	must(cookie < 8 && ms > 0);
}

static void host_transfer(struct alg_session *s, const struct alg_transfer *t)
{
	must(t->hole > 0 && t->hole <= s->n_holes && t->verb.len > 0 && t->direction != ALG_NO_DATA &&
	     (t->code == 0 || (t->code >= 200 && t->code < 700)));
}

static void host_note(struct alg_session *s, const char *rule, const char *format, ...)
{
	(void)s;
	must(rule == NULL && format != NULL);
}

static void host_ending(struct alg_session *s)
{
	must(!s->is_ending);
	s->is_ending = true;
}

static int host_start_tls(struct alg_session *s)
{
	must(s->has_message && s->about.tls == ALG_TLS_TERMINATE && !s->has_tls);
	must(s->from == (s->about.is_server_plain ? ALG_CLIENT : ALG_SERVER));
	s->has_tls = s->begins_tls = true;
	return 0;
}

static const struct alg_host host = {
	.size = sizeof(host), .now_ms = host_now, .edit = host_edit, .reply = host_reply, .resume = host_resume,
	.wait_for = host_wait_for,
	.hole_reserve = host_reserve, .hole_public = host_public, .hole_arm = host_arm, .hole_free = host_free,
	.hole_peer = host_peer, .hole_dial = host_dial,
	.policy = host_policy,
	.timer = host_timer, .transfer = host_transfer, .note = host_note, .ending = host_ending,
	.start_tls = host_start_tls,
};

struct run {
	struct alg_session session;
	void *state;
	struct { char data[LONGEST]; size_t len; bool is_held; } in[ALG_SIDES];
	bool is_over;             /* bypassed or reset */
};

static void check(const struct run *run, const struct alg_result *result)
{
	const struct alg_session *s = &run->session;

	if (result->verdict == ALG_PASS || result->verdict == ALG_DROP)
		must(result->consumed > 0 && result->consumed <= s->given);
	if (result->verdict == ALG_PASS)
		for (unsigned i = 0; i < s->n_edits; i++)
			must(s->edits[i].at + s->edits[i].len <= result->consumed);
	else if (result->verdict != ALG_DROP)
		must(s->n_edits == 0 && s->n_replies == 0);
	if (result->verdict == ALG_HOLD)
		must(result->consumed == 0);
	if (result->verdict == ALG_NEED)
		must(memchr(run->in[s->from].data, '\n', s->given) == NULL ||
		     (unsigned char)run->in[s->from].data[0] == 255);
}

static void take_resumes(struct run *run)
{
	for (unsigned side = 0; side < ALG_SIDES; side++)
		if (run->session.is_resumed[side])
			run->in[side].is_held = run->session.is_resumed[side] = false;
}

/* One call. False: nothing to do there now. */
static bool ask(struct run *run, enum alg_side from, bool is_end)
{
	struct alg_session *s = &run->session;
	struct alg_result result;
	size_t taken;

	if (run->is_over || run->in[from].is_held || run->in[from].len == 0)
		return false;
	s->has_message = true;
	s->from = from;
	s->given = run->in[from].len;
	s->n_edits = s->n_replies = 0;
	s->begins_tls = false;
	result = ftp_module.bytes(run->state, from, (struct alg_bytes){ run->in[from].data, s->given }, is_end);
	s->has_message = false;
	check(run, &result);
	take_resumes(run);
	run->is_over |= result.verdict == ALG_BYPASS || result.verdict == ALG_RESET;
	if (s->begins_tls) { /* the flow ends the session when there is more in clear */
		must(result.verdict == ALG_PASS || result.verdict == ALG_DROP);
		run->is_over |= run->in[from].len > result.consumed || run->in[alg_other(from)].len > 0;
	}
	run->in[from].is_held |= result.verdict == ALG_HOLD;
	taken = result.verdict == ALG_NEED && (s->given == LONGEST || is_end) ? s->given : result.consumed;
	if (result.verdict == ALG_HOLD || (result.verdict == ALG_NEED && taken == 0))
		return false;
	memmove(run->in[from].data, run->in[from].data + taken, s->given - taken);
	run->in[from].len -= taken;
	return true;
}

static void pump(struct run *run, bool is_end)
{
	bool has_moved = true;

	while (has_moved) {
		has_moved = ask(run, ALG_SERVER, is_end);
		has_moved |= ask(run, ALG_CLIENT, is_end);
	}
}

static void say(struct run *run, enum alg_side from, const char *bytes, size_t len)
{
	while (len > 0 && !run->is_over) {
		size_t room = LONGEST - run->in[from].len, n = len < room ? len : room;

		if (n == 0)
			return; /* held, and full: a socket that is not read */
		memcpy(run->in[from].data + run->in[from].len, bytes, n);
		run->in[from].len += n;
		bytes += n;
		len -= n;
		pump(run, false);
	}
}

static void happen(struct run *run, uint8_t octet)
{
	static const enum alg_event_type types[] = { ALG_EV_OPENED, ALG_EV_ENDED, ALG_EV_EXPIRED, ALG_EV_LIMIT };
	struct alg_session *s = &run->session;
	struct alg_event event = { .type = types[octet >> 3 & 3], .reason = "max-bytes", .is_unreachable = s->about.is_server_passive };
	unsigned back = octet >> 5;

	if (s->n_holes <= back)
		return;
	event.hole = s->n_holes - back;
	if (s->holes[event.hole] != ARMED && (s->holes[event.hole] != RESERVED || event.type != ALG_EV_EXPIRED))
		return;
	if (event.type == ALG_EV_ENDED || event.type == ALG_EV_EXPIRED)
		s->holes[event.hole] = GONE;
	s->n_replies = 0;
	ftp_module.event(run->state, &event);
	take_resumes(run);
	pump(run, false);
}

/* Whatever was said: when data ends, and a server goes on answering, everything that waits goes on. */
static void check_liveness(struct run *run)
{
	char line[] = "\r\n100 end\r\n";

	if (run->session.n_holes > 0 && !run->is_over)
		for (unsigned back = 0; back < 8; back++)
			happen(run, (uint8_t)(back << 5 | 1 << 3 | 6));
	must(run->is_over || !run->in[ALG_SERVER].is_held);
	for (unsigned code = 100; code < 700 && run->in[ALG_CLIENT].is_held; code++) {
		line[2] = (char)('0' + code / 100);
		line[3] = (char)('0' + code / 10 % 10);
		line[4] = (char)('0' + code % 10);
		say(run, ALG_SERVER, line, sizeof(line) - 1);
	}
	for (unsigned i = 0; i < 2 * LONGEST && run->in[ALG_CLIENT].is_held && !run->is_over; i++)
		say(run, ALG_SERVER, "200 ok\r\n", 8);
	must(run->is_over || !run->in[ALG_CLIENT].is_held);
	pump(run, true);
}

static void set_up(struct alg_session *s, uint8_t choice)
{
	static const struct alg_addr v4[] = { { 4, { 192, 0, 2, 10 }, 40000 }, { 4, { 10, 0, 0, 5 }, 21 },
					      { 4, { 192, 0, 2, 1 }, 21 },
					      { 4, { 10, 0, 0, 1 }, 50000 } };
	static const struct alg_addr v6[] = { { 6, { 0x20, 1, 0xd, 0xb8, [15] = 10 }, 40000 },
					      { 6, { 0x20, 1, 0xd, 0xb8, [15] = 5 }, 21 },
					      { 6, { 0x20, 1, 0xd, 0xb8, [15] = 1 }, 21 },
					      { 6, { 0x20, 1, 0xd, 0xb8, [15] = 2 }, 50000 } };
	const struct alg_addr *client = (choice & 8) != 0 ? v6 : v4, *server = (choice & 16) != 0 ? v6 : v4;

	s->about.is_translated = (choice & 1) != 0 || client != server;
	s->about.client = client[0];
	s->about.server = server[1];
	s->about.client_sees = s->about.is_translated ? client[2] : server[1];
	s->about.server_sees = s->about.is_translated ? server[3] : client[0];
	s->about.tls = (choice & 64) != 0 ? ALG_TLS_TERMINATE : (choice & 2) != 0 ? ALG_TLS_PASS : ALG_TLS_REFUSE;
	s->about.is_server_plain = (choice & 66) == 66;
	s->about.tls_need = (choice & 192) == 192 ? ALG_TLS_NEED_DATA : ALG_TLS_NEED_NOTHING;
	s->about.tls_port_min = 50000;
	s->about.tls_port_max = 50003;
	s->about.may_be_active = (choice & 4) != 0;
	s->about.is_server_passive = (choice & 192) == 128;
	s->denies = (choice & 32) != 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run *run = calloc(1, sizeof(*run));

	if (run == NULL || (run->state = calloc(1, ftp_module.state_size)) == NULL)
		abort();
	set_up(&run->session, size > 0 ? data[0] : 0);
	ftp_module.open(run->state, &run->session.about, &host, &run->session);
	for (size_t at = 1; at < size;) {
		uint8_t octet = data[at++];
		size_t len = octet >> 3;

		if ((octet & 7) >= 6) {
			happen(run, octet);
			continue;
		}
		if (len == 0)
			while (at + len < size && (len == 0 || data[at + len - 1] != '\n'))
				len++;
		if (len > size - at)
			len = size - at;
		say(run, (octet & 7) < 3 ? ALG_CLIENT : ALG_SERVER, (const char *)data + at, len);
		at += len;
	}
	check_liveness(run);
	ftp_module.close(run->state);
	free(run->state);
	free(run);
	return 0;
}
