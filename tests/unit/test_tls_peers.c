/* TLS with peers that want something else than we: names, purposes, key exchanges, certificates of clients, new keys all the time. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/err.h"
#include "core/loop.h"
#include "core/openssl.h"
#include "core/tls.h"
#include "tests/unit/tls_rig.h"
#include "tests/unit/unit.h"

enum { TURNS_MAX = 10000, OURS = 0, THEIRS = 1, TICKETS_S = 86400 };

static struct tls_rig rig;

/* One end is ours, the other OpenSSL's own. */
struct meeting {
	int fds[2];
	struct tls *ours;
	SSL_CTX *context;
	SSL *theirs;
	int result, their_result;
};

static void open_meeting(struct meeting *m, struct tls_context *context_take, const SSL_METHOD *theirs)
{
	*m = (struct meeting){ .fds = { -1, -1 }, .context = SSL_CTX_new(theirs) };
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, m->fds), 0);
	CU_ASSERT_EQUAL_FATAL(tls_new(context_take, m->fds[OURS], NULL, &m->ours), 0);
	tls_context_unref(context_take);
	m->theirs = SSL_new(m->context);
	SSL_set_fd(m->theirs, m->fds[THEIRS]);
}

/* They are a server with that certificate, or a client. */
static void meet_server(struct meeting *m, const char *name, const char *certificate)
{
	open_meeting(m, tls_rig_client(&rig, name), TLS_server_method());
	CU_ASSERT_EQUAL_FATAL(SSL_use_certificate_file(m->theirs, certificate, SSL_FILETYPE_PEM), 1);
	CU_ASSERT_EQUAL_FATAL(SSL_use_PrivateKey_file(m->theirs, rig.key, SSL_FILETYPE_PEM), 1);
	SSL_set_accept_state(m->theirs);
}

static void meet_client(struct meeting *m)
{
	open_meeting(m, tls_rig_server(&rig), TLS_client_method());
	SSL_set_connect_state(m->theirs);
}

static void shake(struct meeting *m)
{
	for (int i = 0; i < TURNS_MAX && (m->result == 0 || m->their_result != 1); i++) {
		if (m->their_result != 1)
			m->their_result = SSL_do_handshake(m->theirs);
		if (m->result == 0)
			m->result = tls_handshake(m->ours);
		if (m->result < 0)
			break;
	}
	ERR_clear_error();
}

static void part(struct meeting *m)
{
	SSL_free(m->theirs);
	SSL_CTX_free(m->context);
	tls_free(m->ours);
	close(m->fds[OURS]);
	if (m->fds[THEIRS] >= 0)
		close(m->fds[THEIRS]);
}

static void expect_passes(struct meeting *m)
{
	char got[16];

	int n = 0;

	CU_ASSERT_EQUAL(SSL_write(m->theirs, "ping", 4), 4);
	for (int i = 0; i < TURNS_MAX && n == 0; i++) /* records that are none of ours come first */
		n = tls_read(m->ours, got, sizeof(got));
	CU_ASSERT_EQUAL(n, 4);
	CU_ASSERT_EQUAL(tls_write(m->ours, SPAN_LIT("pong")), 4);
	CU_ASSERT_EQUAL(SSL_read(m->theirs, got, sizeof(got)), 4);
}

/* ---- certificates of servers ---------------------------------------------------------------------------------------------------- */

static void names(void)
{
	static const struct {
		struct tls_rig_claims claims;
		const char *wanted, *why; /* NULL: fine */
	} cases[] = {
		{ { "x", "DNS:*.server.example", NULL }, "a.server.example", NULL },
		{ { "x", "DNS:*.server.example", NULL }, "b.a.server.example", "hostname mismatch" },
		{ { "x", "DNS:a*.server.example", NULL }, "ab.server.example", "hostname mismatch" },
		{ { "x", "DNS:*.example", NULL }, "server.example", "hostname mismatch" }, /* too wide */
		{ { "x", "DNS:*", NULL }, "server.example", "hostname mismatch" },
		{ { "server.example", NULL, NULL }, "server.example", "hostname mismatch" }, /* the subject is no name */
		{ { "server.example", "IP:127.0.0.1", NULL }, "server.example", "hostname mismatch" },
		{ { "192.0.2.1", "DNS:192.0.2.1", NULL }, "192.0.2.1", "IP address mismatch" },
		{ { "x", "IP:192.0.2.1", NULL }, "192.0.2.1", NULL },
		{ { "x", "IP:192.0.2.1", NULL }, "::ffff:192.0.2.1", NULL },
		{ { "x", "IP:2001:db8::1", NULL }, "2001:db8::1", NULL },
		{ { "x", "IP:2001:db8::1", NULL }, "[2001:DB8:0::1]", NULL },
		{ { "x", "IP:2001:db8::1", NULL }, "2001:db8::2", "IP address mismatch" },
		{ { "x", "DNS:server.example", "serverAuth" }, "server.example", NULL },
		{ { "x", "DNS:server.example", "clientAuth" }, "server.example", "unsuitable certificate purpose" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char path[TLS_RIG_PATH_MAX];
		struct meeting m;

		tls_rig_issue(&rig, &cases[i].claims, path);
		meet_server(&m, cases[i].wanted, path);
		shake(&m);
		CU_ASSERT_EQUAL(m.result, cases[i].why == NULL ? 1 : ERR_DENIED);
		CU_ASSERT_STRING_EQUAL(tls_error(m.ours), cases[i].why != NULL ? cases[i].why : "");
		part(&m);
	}
}

/* Whoever writes a certificate does not write into logs and terminals. */
static void subject(void)
{
	const struct tls_rig_claims claims = { "a\n220 fine\r\x1b[31m\x7f\xff\"", "DNS:server.example", NULL };
	char path[TLS_RIG_PATH_MAX];
	struct meeting m;

	tls_rig_issue(&rig, &claims, path);
	meet_server(&m, "server.example", path);
	shake(&m);
	CU_ASSERT_EQUAL_FATAL(m.result, 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(tls_peer(m.ours), "220 fine"));
	for (const char *c = tls_peer(m.ours); *c != '\0'; c++)
		CU_ASSERT_TRUE(*c >= ' ' && *c < 0x7f);
	part(&m);
}

/* ---- key exchange --------------------------------------------------------------------------------------------------------------- */

/* The other side would choose what it costs. */
static void finite_fields(void)
{
	struct meeting m;

	meet_client(&m);
	CU_ASSERT_EQUAL(SSL_set1_groups_list(m.theirs, "ffdhe2048:ffdhe8192"), 1);
	shake(&m);
	CU_ASSERT_EQUAL(m.result, -EPROTO);
	part(&m);

	meet_client(&m);
	SSL_set_max_proto_version(m.theirs, TLS1_2_VERSION);
	CU_ASSERT_EQUAL(SSL_set_cipher_list(m.theirs, "DHE"), 1);
	shake(&m);
	CU_ASSERT_EQUAL(m.result, -EPROTO);
	CU_ASSERT_STRING_EQUAL(tls_error(m.ours), "no shared cipher");
	part(&m);

	meet_server(&m, NULL, rig.certificate);
	CU_ASSERT_EQUAL(SSL_set1_groups_list(m.theirs, "ffdhe8192"), 1);
	shake(&m);
	CU_ASSERT_EQUAL(m.result, -EPROTO);
	part(&m);
}

static void curves(void)
{
	static const char *const curves[] = { "X25519", "P-256", "P-384", "P-521" };

	for (size_t i = 0; i < sizeof(curves) / sizeof(curves[0]); i++) {
		struct meeting m;

		meet_client(&m);
		CU_ASSERT_EQUAL(SSL_set1_groups_list(m.theirs, curves[i]), 1);
		shake(&m);
		CU_ASSERT_EQUAL_FATAL(m.result, 1);
		expect_passes(&m);
		part(&m);
	}
}

/* New keys without end, each of which wants an answer: one record at a time, so that nobody else waits long, and none any more once
 * nobody takes the answers. */
static void key_updates(void)
{
	enum { UPDATES_MAX = 20000 };
	char got[16];
	struct meeting m;
	int n_taken = 0, n = 0;

	meet_client(&m);
	shake(&m);
	CU_ASSERT_EQUAL_FATAL(m.result, 1);
	expect_passes(&m);
	while (n_taken < UPDATES_MAX && tls_wants(m.ours) != LOOP_WRITE) {
		CU_ASSERT_EQUAL_FATAL(SSL_key_update(m.theirs, SSL_KEY_UPDATE_REQUESTED), 1);
		CU_ASSERT_EQUAL_FATAL(SSL_do_handshake(m.theirs), 1);
		for (int i = 0; i < 2; i++) /* takes it, answers it */
			CU_ASSERT_EQUAL_FATAL(tls_read(m.ours, got, sizeof(got)), 0);
		CU_ASSERT_FALSE(tls_has_pending(m.ours));
		n_taken++;
	}
	CU_ASSERT_TRUE(n_taken < UPDATES_MAX);
	CU_ASSERT_EQUAL(tls_wants(m.ours), LOOP_WRITE);
	CU_ASSERT_EQUAL(tls_write(m.ours, SPAN_LIT("pong")), 0);
	CU_ASSERT_EQUAL(tls_wants(m.ours), LOOP_WRITE);
	for (int i = 0; i < TURNS_MAX && n <= 0; i++) { /* now they read */
		n = SSL_read(m.theirs, got, sizeof(got));
		if (n <= 0)
			(void)tls_write(m.ours, SPAN_LIT("pong"));
	}
	CU_ASSERT_EQUAL(n, 4);
	expect_passes(&m);
	part(&m);
}

/* ---- certificates of clients ---------------------------------------------------------------------------------------------------- */

/* We have none. A server that insists ends the connection and says so, with TLS 1.3 only after the handshake. */
static void client_certificates(void)
{
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		char got[16];
		struct meeting m;

		meet_server(&m, NULL, rig.certificate);
		SSL_set_max_proto_version(m.theirs, version);
		SSL_set_verify(m.theirs, SSL_VERIFY_PEER, NULL);
		shake(&m);
		CU_ASSERT_EQUAL_FATAL(m.result, 1);
		expect_passes(&m);
		part(&m);

		meet_server(&m, NULL, rig.certificate);
		SSL_set_max_proto_version(m.theirs, version);
		SSL_set_verify(m.theirs, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
		shake(&m);
		for (int i = 0; i < TURNS_MAX && m.result == (i == 0); i++)
			m.result = tls_read(m.ours, got, sizeof(got));
		CU_ASSERT_EQUAL(m.result, -EPROTO);
		CU_ASSERT_PTR_NOT_NULL(strstr(tls_error(m.ours), version == TLS1_3_VERSION ? "certificate required" : "handshake failure"));
		part(&m);
	}
}

/* They have said that they will send no more, and are gone: what we send then fails, as it would in clear. */
static void gone(void)
{
	char got[16];
	struct meeting m;
	int n = 0;

	meet_client(&m);
	shake(&m);
	CU_ASSERT_EQUAL_FATAL(m.result, 1);
	CU_ASSERT_EQUAL(SSL_shutdown(m.theirs), 0);
	CU_ASSERT_EQUAL(tls_read(m.ours, got, sizeof(got)), ERR_CLOSED);
	close(m.fds[THEIRS]);
	m.fds[THEIRS] = -1;
	for (int i = 0; i < TURNS_MAX && n >= 0; i++)
		n = tls_write(m.ours, SPAN_LIT("pong"));
	CU_ASSERT_EQUAL(n, -EPIPE);
	CU_ASSERT_STRING_EQUAL(tls_error(m.ours), "Broken pipe");
	part(&m);

	meet_client(&m);
	shake(&m);
	CU_ASSERT_EQUAL(SSL_shutdown(m.theirs), 0);
	CU_ASSERT_EQUAL(tls_read(m.ours, got, sizeof(got)), ERR_CLOSED);
	close(m.fds[THEIRS]);
	m.fds[THEIRS] = -1;
	CU_ASSERT_EQUAL(tls_shut(m.ours), -EPIPE);
	part(&m);
}

/* ---- the library's state -------------------------------------------------------------------------------------------------------- */

/* What somebody else left in the queue of errors, or in errno, says nothing about this connection. */
static void stale_errors(void)
{
	char got[16];
	struct meeting m;

	meet_client(&m);
	shake(&m);
	CU_ASSERT_EQUAL_FATAL(m.result, 1);
	ERR_raise(ERR_LIB_SSL, SSL_R_CERTIFICATE_VERIFY_FAILED);
	errno = EPIPE;
	CU_ASSERT_EQUAL(tls_read(m.ours, got, sizeof(got)), 0);
	ERR_raise(ERR_LIB_SSL, SSL_R_UNEXPECTED_EOF_WHILE_READING);
	expect_passes(&m);
	ERR_raise(ERR_LIB_X509, X509_R_KEY_VALUES_MISMATCH);
	CU_ASSERT_EQUAL(tls_shut(m.ours), 1);
	part(&m);
}

/* Data of a control channel that is up since yesterday still resumes. */
static void tickets(void)
{
	char got[16];
	struct meeting m;

	meet_client(&m);
	shake(&m);
	CU_ASSERT_EQUAL_FATAL(m.result, 1);
	(void)SSL_read(m.theirs, got, sizeof(got)); /* they come behind the handshake */
	CU_ASSERT_EQUAL(SSL_SESSION_get_ticket_lifetime_hint(SSL_get0_session(m.theirs)), TICKETS_S);
	ERR_clear_error();
	part(&m);
}

static const struct unit_test tests[] = {
	{ "names and purposes of certificates", names },
	{ "a subject with control characters", subject },
	{ "finite fields are not taken", finite_fields },
	{ "curves are", curves },
	{ "new keys all the time", key_updates },
	{ "servers that ask for a certificate", client_certificates },
	{ "who is gone after his leave", gone },
	{ "errors of others", stale_errors },
	{ "tickets last for a day", tickets },
};

int main(int argc, char **argv)
{
	int result;

	signal(SIGPIPE, SIG_IGN);
	tls_rig_open(&rig);
	result = unit_main(argc, argv, "tls-peers", tests, sizeof(tests) / sizeof(tests[0]));
	tls_rig_close(&rig);
	return result;
}
