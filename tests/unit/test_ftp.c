/* algs/ftp/ftp.h: the module at its limits, by transcripts that are made here because their lines are long. What it
 * does within them is in tests/transcripts/ftp/. */
#include <stdarg.h>
#include <stdio.h>

#include "algs/ftp/ftp.h"
#include "algs/ftp/ftp_inside.h"
#include "algs/runner.h"
#include "tests/unit/unit.h"

enum { TEXT_MAX = 1 << 18 };

static char memory[TEXT_MAX];
static struct buf script;

static void begin(const char *settings)
{
	script = buf_of(memory, sizeof(memory));
	buf_puts(&script, "set client 192.0.2.10:40000\nset server 10.0.0.5:21\nset active yes\n");
	buf_puts(&script, settings);
	buf_puts(&script, "S: 220 ready\nC: USER bob\nS: 230 welcome\n");
}

static void add(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void add(const char *format, ...)
{
	char text[400];
	va_list args;

	va_start(args, format);
	CU_ASSERT(vsnprintf(text, sizeof(text), format, args) < (int)sizeof(text));
	va_end(args);
	buf_puts(&script, text);
	buf_putc(&script, '\n');
}

/* "before", n times c, "after". */
static void add_filled(const char *before, char c, size_t n, const char *after)
{
	buf_puts(&script, before);
	for (size_t i = 0; i < n; i++)
		buf_putc(&script, c);
	buf_puts(&script, after);
	buf_putc(&script, '\n');
}

static void run(void)
{
	struct runner_report report;

	CU_ASSERT(!script.is_full);
	if (runner_run(&ftp_module, buf_span(&script), &report) < 0) {
		printf("# line %u, %s: %s\n", report.line, report.pass, report.text);
		CU_FAIL("not as expected");
	}
}

/* How many octets of filling make a line of that length, its end included. */
static size_t filling(size_t line, const char *before, const char *after)
{
	return line - strlen(before) - strlen(after) - 2;
}

static void commands_of_the_longest_length(void)
{
	begin("");
	/* All of it is read. */
	add_filled("C: PORT ", ' ', filling(FTP_LINE_MAX, "PORT ", "192,0,2,11,200,10"), "192,0,2,11,200,10");
	add(">C 500 The address has to be your own.\ndrop");
	add_filled("C: STOR /", 'a', filling(FTP_LINE_MAX, "STOR /", ""), "");
	add("S: 550 no");
	run();
}

static void longer_commands(void)
{
	begin("");
	/* One more, and what stands at its end is not seen: no address and no path may stand there. */
	add_filled("C: PORT ", ' ', filling(FTP_LINE_MAX + 1, "PORT ", "192,0,2,11,200,10"), "192,0,2,11,200,10");
	add(">C 500 Line too long.\ndrop");
	add_filled("C: STOR ", 'a', 3 * FTP_LINE_MAX, "PORT 192,0,2,10,200,10");
	add(">C 500 Line too long.\ndrop");
	add_filled("C: SITE ", 'a', FTP_LINE_MAX, "");
	add(">C 500 Line too long.\ndrop");
	/* What matters to nobody passes as it is, and is one command. */
	add_filled("C: XYZZY ", 'a', 3 * FTP_LINE_MAX, "PORT 192,0,2,10,200,10");
	add("S: 500 what");
	add_filled("C: OPTS ", 'a', FTP_LINE_MAX, "");
	add("S: 200 fine");
	add("C: PASV\nS: 227 (10,0,0,5,200,10)\nhole 1 armed\nholes 1");
	run();
}

static void a_long_refusal_waits(void)
{
	begin("");
	add("C: NOOP");
	add_filled("C: STOR ", 'a', FTP_LINE_MAX, "");
	add("waits");
	add("C: NOOP\nwaits");
	add("S: 200 one\n>C 200 one\n>C 500 Line too long.\n>S NOOP\nsleep 1\nS: 200 two");
	run();
}

static void replies(void)
{
	begin("set gateway-client 192.0.2.1:21\nset port 20000\n");
	add("C: PASV");
	add_filled("S: 227 ", '.', filling(FTP_LINE_MAX, "227 ", "(10,0,0,5,200,10)"), "(10,0,0,5,200,10)");
	add_filled(">C 227 ", '.', filling(FTP_LINE_MAX, "227 ", "(10,0,0,5,200,10)"), "(192,0,2,1,78,32)");
	add("hole 1 armed");
	add("C: PASV");
	add_filled("S: 227 ", '.', filling(FTP_LINE_MAX + 1, "227 ", "(10,0,0,5,200,10)"), "(10,0,0,5,200,10)");
	add_filled("S: 227 (10,0,0,5,200,10)", '.', FTP_LINE_MAX, "");
	add("holes 1");
	/* It was the reply all the same. */
	add("C: PASV\nS: 227 (10,0,0,5,200,11)\n>C 227 (192,0,2,1,78,34)\nhole 1 freed\nhole 2 armed");
	/* The end of several lines is long. */
	add("C: PASV\nS: 227-x");
	add_filled("S: 227 ", '.', FTP_LINE_MAX, "");
	add("C: PASV\nS: 227 (10,0,0,5,200,12)\n>C 227 (192,0,2,1,78,36)\nhole 2 freed\nhole 3 armed");
	run();
}

static void names(void)
{
	begin("");
	add_filled("C: USER ", 'u', FTP_USER_MAX, "");
	add("S: 230 welcome");
	add("C: PASV\nS: 227 (10,0,0,5,200,10)\nC: RETR x\nS: 550 no");
	add_filled("transfer user=", 'u', FTP_USER_MAX, "");
	add_filled("C: USER ", 'v', FTP_USER_MAX + 1, "");
	add(">C 501 Name too long.\ndrop");
	add("C: RETR x\nS: 550 no");
	add_filled("transfer user=", 'u', FTP_USER_MAX, "");
	run();
}

static void paths(void)
{
	begin("");
	add("C: PASV\nS: 227 (10,0,0,5,200,10)");
	add_filled("C: CWD /", 'd', FTP_PATH_MAX - 3, "");
	add("S: 250 ok\nC: RETR f\nS: 550 no");
	add_filled("transfer path=/", 'd', FTP_PATH_MAX - 3, "/f");
	/* A record holds the beginning. */
	add("C: RETR fg\nS: 550 no");
	add_filled("transfer path=/", 'd', FTP_PATH_MAX - 3, "/f");
	/* One that is too long is not known. */
	add_filled("C: CWD /", 'd', FTP_PATH_MAX - 1, "");
	add("S: 250 ok\nC: CDUP\nS: 250 ok\nC: RETR f\nS: 550 no\ntransfer path=/f");
	add_filled("C: CWD /", 'd', FTP_PATH_MAX, "");
	add("S: 250 ok\nC: RETR f\nS: 550 no\ntransfer path=f");
	run();
}

static void encrypted_ports(void)
{
	begin("set tls pass\nset tls-ports 50000-50063\n");
	add("C: AUTH TLS\nS: 234 go\nbypass\nholes 64\nhole 64 armed at 10.0.0.5:50063");
	add("opened 64\nended 64\nhole 65 armed at 10.0.0.5:50063\nholes 64");
	run();
	begin("set tls pass\nset tls-ports 50000-50064\n");
	add("C: AUTH TLS\nS: 234 go\nbypass\nholes 64");
	run();
	begin("set tls pass\nset tls-ports 1020-1025\n");
	add("C: AUTH TLS\nS: 234 go\nbypass\nholes 2");
	run();
	begin("set tls pass\n");
	add("C: AUTH TLS\nS: 234 go\nbypass\nholes 0");
	run();
}

static void many_set_ups(void)
{
	begin("set gateway-server 10.0.0.1:50000\nset port 20000\n");
	for (unsigned i = 1; i <= 100; i++) {
		add("C: PORT 192,0,2,10,200,%u\n>S PORT 10,0,0,1,%u,%u", i, (20000 + 2 * (i - 1)) >> 8,
		    (20000 + 2 * (i - 1)) & 0xff);
		add(i % 2 != 0 ? "S: 200 ok\nholes 1" : "S: 500 no\nholes 1");
	}
	run();
}

/* ---- without a runner: what is left when a session ends within a transfer -------------------------------------- */

struct alg_session {
	unsigned n_transfers;
	struct alg_transfer transfer;
};

static int fake_reserve(struct alg_session *session, const struct alg_want *want, uint32_t *ret_hole)
{
	(void)session;
	(void)want;
	*ret_hole = 7;
	return 0;
}

static int fake_public(struct alg_session *session, uint32_t hole, enum alg_side reader, struct alg_addr *ret,
		       uint16_t *rtcp)
{
	(void)session;
	(void)reader;
	(void)rtcp;
	*ret = (struct alg_addr){ .family = 4, .ip = { 10, 0, 0, 5 }, .port = 51210 };
	return hole == 7 ? 0 : ALG_ERR_STATE;
}

static int fake_arm(struct alg_session *session, uint32_t hole)
{
	(void)session;
	return hole == 7 ? 0 : ALG_ERR_STATE;
}

static void fake_policy(struct alg_session *session, const struct alg_question *question, struct alg_answer *ret)
{
	(void)session;
	(void)question;
	*ret = (struct alg_answer){ .is_allowed = true };
}

static void fake_transfer(struct alg_session *session, const struct alg_transfer *transfer)
{
	session->n_transfers++;
	session->transfer = *transfer;
}

static void say(struct ftp_state *state, enum alg_side from, const char *line)
{
	struct alg_result result = ftp_module.bytes(state, from, (struct alg_bytes){ line, strlen(line) }, false);

	CU_ASSERT_EQUAL(result.verdict, ALG_PASS);
	CU_ASSERT_EQUAL(result.consumed, strlen(line));
}

static void a_transfer_without_an_end(void)
{
	static const struct alg_host host = {
		.size = sizeof(host), .hole_reserve = fake_reserve, .hole_public = fake_public, .hole_arm = fake_arm,
		.policy = fake_policy, .transfer = fake_transfer,
	};
	static const struct alg_about about = {
		.client = { 4, { 192, 0, 2, 10 }, 40000 }, .server = { 4, { 10, 0, 0, 5 }, 21 },
	};
	static struct ftp_state state;
	struct alg_session session = { 0 };

	CU_ASSERT_EQUAL(ftp_module.state_size, sizeof(state));
	ftp_module.open(&state, &about, &host, &session);
	say(&state, ALG_SERVER, "220 ready\r\n");
	say(&state, ALG_CLIENT, "PASV\r\n");
	say(&state, ALG_SERVER, "227 (10,0,0,5,200,10)\r\n");
	say(&state, ALG_CLIENT, "STOR x\r\n");
	say(&state, ALG_SERVER, "150 go\r\n");
	ftp_module.close(&state);
	CU_ASSERT_EQUAL(session.n_transfers, 1);
	CU_ASSERT_EQUAL(session.transfer.hole, 7);
	CU_ASSERT_EQUAL(session.transfer.code, 0);
	CU_ASSERT(!session.transfer.is_ok && session.transfer.direction == ALG_UP && session.transfer.path.len == 1);
}

static const struct unit_test tests[] = {
	{ "commands of the longest length", commands_of_the_longest_length },
	{ "longer commands", longer_commands },
	{ "a long refusal waits", a_long_refusal_waits },
	{ "replies", replies },
	{ "names", names },
	{ "paths", paths },
	{ "ports for encrypted data", encrypted_ports },
	{ "many set-ups", many_set_ups },
	{ "a transfer without an end", a_transfer_without_an_end },
};

UNIT_MAIN("ftp", tests)
