/* TLS over pairs of sockets: both roles against each other, and against peers that do something else. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/err.h"
#include "core/loop.h"
#include "core/openssl.h"
#include "core/tls.h"
#include "tests/unit/tls_rig.h"
#include "tests/unit/unit.h"

enum { SERVER, CLIENT, ENDS };
enum { TURNS_MAX = 10000 };

struct pair {
	int fds[ENDS];
	struct tls *tls[ENDS];
	int results[ENDS]; /* of the handshake */
};

static struct tls_rig rig;

/* Our own memory; OpenSSL's is its own affair. */
static int fails_in; /* the so many-th allocation from now on fails; 0: none */
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
	return fails_in > 0 && --fails_in == 0 ? NULL : __real_calloc(n, size);
}

static void open_pair(struct pair *p)
{
	*p = (struct pair){ .fds = { -1, -1 } };
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p->fds), 0);
}

static void close_pair(struct pair *p)
{
	for (int end = 0; end < ENDS; end++) {
		tls_free(p->tls[end]);
		if (p->fds[end] >= 0)
			close(p->fds[end]);
	}
}

/* Until both are done, or one has failed and the other has seen it. */
static void shake(struct pair *p)
{
	p->results[SERVER] = p->results[CLIENT] = 0;
	for (int i = 0; i < TURNS_MAX && (p->results[SERVER] == 0 || p->results[CLIENT] == 0); i++)
		for (int end = 0; end < ENDS; end++)
			if (p->results[end] == 0)
				p->results[end] = tls_handshake(p->tls[end]);
}

static void connect_pair(struct pair *p, struct tls_context *server, struct tls_context *client, const struct pair *like)
{
	open_pair(p);
	CU_ASSERT_EQUAL_FATAL(tls_new(server, p->fds[SERVER], like != NULL ? like->tls[SERVER] : NULL, &p->tls[SERVER]), 0);
	CU_ASSERT_EQUAL_FATAL(tls_new(client, p->fds[CLIENT], like != NULL ? like->tls[CLIENT] : NULL, &p->tls[CLIENT]), 0);
	shake(p);
}

static void expect_up(const struct pair *p)
{
	CU_ASSERT_EQUAL_FATAL(p->results[SERVER], 1);
	CU_ASSERT_EQUAL_FATAL(p->results[CLIENT], 1);
}

/* Sends from one end and expects it at the other. */
static void expect_passes(struct pair *p, int from, const char *text)
{
	char got[256];
	int n = 0;

	CU_ASSERT_EQUAL(tls_write(p->tls[from], span_of(text)), (int)strlen(text));
	for (int i = 0; i < TURNS_MAX && n == 0; i++)
		n = tls_read(p->tls[!from], got, sizeof(got));
	CU_ASSERT_TRUE(n > 0 && span_eq((struct span){ got, (size_t)n }, span_of(text)));
}

/* ---- what goes well ------------------------------------------------------------------------------------------------------------- */

static void both_ways(void)
{
	struct tls_context *server = tls_rig_server(&rig), *client = tls_rig_client(&rig, "server.example");
	struct pair p;

	connect_pair(&p, server, client, NULL);
	tls_context_unref(server); /* connections keep what they need */
	tls_context_unref(client);
	expect_up(&p);
	CU_ASSERT_STRING_EQUAL(tls_version(p.tls[CLIENT]), "TLSv1.3");
	CU_ASSERT_STRING_EQUAL(tls_cipher(p.tls[CLIENT]), tls_cipher(p.tls[SERVER]));
	CU_ASSERT_STRING_EQUAL(tls_peer(p.tls[CLIENT]), "/CN=server.example");
	CU_ASSERT_STRING_EQUAL(tls_peer(p.tls[SERVER]), "");
	CU_ASSERT_FALSE(tls_is_resumed(p.tls[CLIENT]) || tls_is_resumed(p.tls[SERVER]));
	expect_passes(&p, CLIENT, "USER bob\r\n");
	expect_passes(&p, SERVER, "331 password\r\n");
	close_pair(&p);
}

/* One octet at a time through a second pair of sockets: each step only ever waits. */
static void octet_by_octet(void)
{
	struct tls_context *server = tls_rig_server(&rig), *client = tls_rig_client(&rig, "127.0.0.1");
	struct pair near, far;
	char octet;
	int results[ENDS] = { 0 };
	unsigned n_waits = 0;

	open_pair(&near); /* the client has one end of this, the server of the other */
	open_pair(&far);
	CU_ASSERT_EQUAL_FATAL(tls_new(client, near.fds[0], NULL, &near.tls[0]), 0);
	CU_ASSERT_EQUAL_FATAL(tls_new(server, far.fds[0], NULL, &far.tls[0]), 0);
	for (int i = 0; i < 100 * TURNS_MAX && (results[0] == 0 || results[1] == 0); i++) {
		if (results[0] == 0)
			results[0] = tls_handshake(near.tls[0]);
		if (results[1] == 0)
			results[1] = tls_handshake(far.tls[0]);
		n_waits += results[0] == 0 && tls_wants(near.tls[0]) == LOOP_READ;
		if (read(near.fds[1], &octet, 1) == 1)
			CU_ASSERT_EQUAL(write(far.fds[1], &octet, 1), 1);
		if (read(far.fds[1], &octet, 1) == 1)
			CU_ASSERT_EQUAL(write(near.fds[1], &octet, 1), 1);
	}
	CU_ASSERT_EQUAL(results[0], 1);
	CU_ASSERT_EQUAL(results[1], 1);
	CU_ASSERT_TRUE(n_waits > 500);
	close_pair(&near);
	close_pair(&far);
	tls_context_unref(server);
	tls_context_unref(client);
}

static void orderly_end(void)
{
	struct tls_context *server = tls_rig_server(&rig), *client = tls_rig_client(&rig, NULL);
	struct pair p;
	char got[16];

	connect_pair(&p, server, client, NULL);
	expect_up(&p);
	expect_passes(&p, SERVER, "220 ready\r\n");
	CU_ASSERT_EQUAL(tls_shut(p.tls[SERVER]), 1);
	CU_ASSERT_EQUAL(tls_read(p.tls[CLIENT], got, sizeof(got)), ERR_CLOSED);
	expect_passes(&p, CLIENT, "QUIT\r\n"); /* the other direction is open still */
	CU_ASSERT_EQUAL(tls_shut(p.tls[CLIENT]), 1);
	CU_ASSERT_EQUAL(tls_read(p.tls[SERVER], got, sizeof(got)), ERR_CLOSED);
	close_pair(&p);
	tls_context_unref(server);
	tls_context_unref(client);
}

/* More than the sockets hold: taken as far as there is room, and every octet comes once. */
static void big_writes(void)
{
	enum { SIZE = 4 << 20 };
	struct tls_context *server = tls_rig_server(&rig), *client = tls_rig_client(&rig, NULL);
	struct pair p;
	char *sent = malloc(SIZE), *got = malloc(SIZE);
	size_t n_sent = 0, n_got = 0;
	unsigned n_blocked = 0;
	bool has_pending = false;

	CU_ASSERT_FATAL(sent != NULL && got != NULL);
	for (size_t i = 0; i < SIZE; i++)
		sent[i] = (char)(i * 7 + i / 251);
	connect_pair(&p, server, client, NULL);
	expect_up(&p);
	while (n_got < SIZE) {
		int n = tls_write(p.tls[SERVER], (struct span){ sent + n_sent, SIZE - n_sent });

		CU_ASSERT_FATAL(n >= 0);
		n_sent += (size_t)n;
		if (n > 0)
			continue;
		n_blocked += n_sent < SIZE && tls_wants(p.tls[SERVER]) == LOOP_WRITE;
		n = tls_read(p.tls[CLIENT], got + n_got, SIZE - n_got < 1000 ? SIZE - n_got : 1000);
		CU_ASSERT_FATAL(n >= 0);
		n_got += (size_t)n;
		has_pending |= tls_has_pending(p.tls[CLIENT]);
	}
	CU_ASSERT_EQUAL(n_sent, SIZE);
	CU_ASSERT_TRUE(n_blocked > 0);
	CU_ASSERT_TRUE(has_pending); /* a record holds more than was asked for */
	CU_ASSERT_EQUAL(memcmp(sent, got, SIZE), 0);
	CU_ASSERT_EQUAL(tls_write(p.tls[SERVER], SPAN_NONE), 0);
	close_pair(&p);
	free(sent);
	free(got);
	tls_context_unref(server);
	tls_context_unref(client);
}

/* ---- resumption ----------------------------------------------------------------------------------------------------------------- */

static void resumption(void)
{
	struct tls_context *server = tls_rig_server(&rig), *client = tls_rig_client(&rig, NULL);
	struct pair control, data, more;
	char got[16];

	connect_pair(&control, server, client, NULL);
	expect_up(&control);
	CU_ASSERT_EQUAL(tls_read(control.tls[CLIENT], got, sizeof(got)), 0); /* tickets come behind the handshake */
	connect_pair(&data, NULL, NULL, &control);
	expect_up(&data);
	CU_ASSERT_TRUE(tls_is_resumed(data.tls[CLIENT]) && tls_is_resumed(data.tls[SERVER]));
	expect_passes(&data, SERVER, "data");
	close_pair(&data); /* without a word: its session may be resumed all the same */
	connect_pair(&more, NULL, NULL, &control);
	expect_up(&more);
	CU_ASSERT_TRUE(tls_is_resumed(more.tls[CLIENT]) && tls_is_resumed(more.tls[SERVER]));
	close_pair(&control); /* what belongs to it lives on */
	expect_passes(&more, CLIENT, "data");
	connect_pair(&data, NULL, NULL, &more);
	CU_ASSERT_TRUE(tls_is_resumed(data.tls[SERVER]));
	close_pair(&data);
	close_pair(&more);
	tls_context_unref(server);
	tls_context_unref(client);
}

/* A session of another control channel is none of this one's, though the server's tickets are all of one key. */
static void resumption_of_others(void)
{
	struct tls_context *server = tls_rig_server(&rig), *client = tls_rig_client(&rig, NULL);
	struct pair mine, other, data;
	char got[16];

	connect_pair(&mine, server, client, NULL);
	connect_pair(&other, server, client, NULL);
	expect_up(&mine);
	expect_up(&other);
	(void)tls_read(other.tls[CLIENT], got, sizeof(got));
	open_pair(&data);
	CU_ASSERT_EQUAL_FATAL(tls_new(NULL, data.fds[SERVER], mine.tls[SERVER], &data.tls[SERVER]), 0);
	CU_ASSERT_EQUAL_FATAL(tls_new(NULL, data.fds[CLIENT], other.tls[CLIENT], &data.tls[CLIENT]), 0);
	shake(&data);
	expect_up(&data);
	CU_ASSERT_FALSE(tls_is_resumed(data.tls[SERVER]) || tls_is_resumed(data.tls[CLIENT]));
	close_pair(&data);
	close_pair(&mine);
	close_pair(&other);
	tls_context_unref(server);
	tls_context_unref(client);
}

/* ---- certificates --------------------------------------------------------------------------------------------------------------- */

static void refused_certificates(void)
{
	const struct {
		const char *certificate, *ca, *name, *why;
	} cases[] = {
		{ rig.certificate, rig.ca, "other.example", "hostname mismatch" },
		{ rig.certificate, rig.ca, "192.0.2.1", "IP address mismatch" },
		{ rig.expired, rig.ca, "server.example", "certificate has expired" },
		{ rig.certificate, rig.other_ca, "server.example", "unable to get local issuer certificate" },
		{ rig.certificate, NULL, "server.example", "unable to get local issuer certificate" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct tls_server_conf conf = { cases[i].certificate, rig.key, NULL };
		const struct tls_client_conf wanted = { .ca = cases[i].ca, .is_verified = true, .name = cases[i].name };
		struct tls_context *server = NULL, *client = NULL;
		struct pair p;
		char text[256] = "";

		CU_ASSERT_EQUAL_FATAL(tls_context_server(&conf, text, sizeof(text), &server), 0);
		CU_ASSERT_EQUAL_FATAL(tls_context_client(&wanted, text, sizeof(text), &client), 0);
		connect_pair(&p, server, client, NULL);
		CU_ASSERT_EQUAL(p.results[CLIENT], ERR_DENIED);
		CU_ASSERT_STRING_EQUAL(tls_error(p.tls[CLIENT]), cases[i].why);
		if (p.results[SERVER] == 1) /* it is done first, and learns with the next record */
			p.results[SERVER] = tls_read(p.tls[SERVER], text, sizeof(text));
		CU_ASSERT_EQUAL(p.results[SERVER], -EPROTO);
		CU_ASSERT_EQUAL(tls_write(p.tls[CLIENT], SPAN_LIT("x")), -EPROTO);
		close_pair(&p);
		tls_context_unref(server);
		tls_context_unref(client);
	}
}

static void expiry(void)
{
	const int64_t now_ms = (int64_t)time(NULL) * 1000, day_ms = 86400000;
	const struct tls_server_conf expired = { rig.expired, rig.key, NULL };
	struct tls_context *context = tls_rig_server(&rig);
	char text[256];

	CU_ASSERT_TRUE(tls_context_expires_ms(context) > now_ms && tls_context_expires_ms(context) < now_ms + 2 * day_ms);
	tls_context_unref(context);
	CU_ASSERT_EQUAL_FATAL(tls_context_server(&expired, text, sizeof(text), &context), 0);
	CU_ASSERT_TRUE(tls_context_expires_ms(context) < now_ms && tls_context_expires_ms(context) > now_ms - 2 * day_ms);
	tls_context_unref(context);
}

static void out_of_memory(void)
{
	static const char *const protocols[] = { "ftp", NULL };
	const struct tls_server_conf server_conf = { rig.certificate, rig.key, protocols };
	const struct tls_client_conf client_conf = { .ca = rig.ca, .is_verified = true };
	struct tls_context *server = NULL, *client = NULL;
	struct tls *tls = NULL;
	char text[256] = "";

	fails_in = 1;
	CU_ASSERT_EQUAL(tls_context_server(&server_conf, text, sizeof(text), &server), -ENOMEM);
	CU_ASSERT_TRUE(text[0] != '\0');
	fails_in = 1;
	text[0] = '\0';
	CU_ASSERT_EQUAL(tls_context_client(&client_conf, text, sizeof(text), &client), -ENOMEM);
	CU_ASSERT_TRUE(text[0] != '\0');
	client = tls_rig_client(&rig, NULL);
	for (int i = 1; i <= 2; i++) {
		fails_in = i;
		CU_ASSERT_EQUAL(tls_new(client, 0, NULL, &tls), -ENOMEM);
		CU_ASSERT_EQUAL(fails_in, 0);
	}
	CU_ASSERT_PTR_NULL(tls);
	tls_context_unref(client);
}

static void unverified(void)
{
	const struct tls_client_conf conf = { .name = "nobody.example" };
	const struct tls_server_conf rsa = { rig.rsa, rig.rsa_key, NULL };
	struct tls_context *server = NULL, *client = NULL;
	struct pair p;
	char text[256];

	CU_ASSERT_EQUAL_FATAL(tls_context_server(&rsa, text, sizeof(text), &server), 0);
	CU_ASSERT_EQUAL_FATAL(tls_context_client(&conf, text, sizeof(text), &client), 0);
	connect_pair(&p, server, client, NULL);
	expect_up(&p);
	close_pair(&p);
	tls_context_unref(server);
	tls_context_unref(client);
}

static void faulty_files(void)
{
	char missing[TLS_RIG_PATH_MAX + 8];
	const struct {
		struct tls_server_conf conf;
		const char *says, *file;
	} cases[] = {
		{ { missing, rig.key, NULL }, "No such file", missing },
		{ { rig.key, rig.key, NULL }, "it has to be a PEM file", rig.key },
		{ { rig.certificate, missing, NULL }, "No such file", missing },
		{ { rig.certificate, rig.certificate, NULL }, "without a passphrase", rig.certificate },
		{ { rig.certificate, rig.rsa_key, NULL }, "the one that the certificate was made with", rig.rsa_key },
		{ { rig.certificate, rig.other_key, NULL }, "the one that the certificate was made with", rig.other_key },
	};
	const struct tls_client_conf no_ca = { .ca = missing, .is_verified = true };
	struct tls_context *context = NULL;
	char text[512];

	snprintf(missing, sizeof(missing), "%s/none", rig.folder);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CU_ASSERT_EQUAL(tls_context_server(&cases[i].conf, text, sizeof(text), &context), ERR_CONFIG);
		CU_ASSERT_PTR_NOT_NULL(strstr(text, cases[i].says));
		CU_ASSERT_PTR_NOT_NULL(strstr(text, cases[i].file));
	}
	CU_ASSERT_EQUAL(tls_context_client(&no_ca, text, sizeof(text), &context), ERR_CONFIG);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, missing));
	CU_ASSERT_PTR_NULL(context);
}

/* ---- peers that do something else ------------------------------------------------------------------------------------------------- */

/* A peer without our wrapper. Blocking calls never: the sockets are not. */
static SSL *foreign(SSL_CTX **context, const SSL_METHOD *method, int fd)
{
	SSL *ssl;

	*context = SSL_CTX_new(method);
	ssl = SSL_new(*context);
	SSL_set_fd(ssl, fd);
	return ssl;
}

static int shake_foreign(struct tls *tls, SSL *ssl, int *ret_foreign)
{
	int ours = 0;

	*ret_foreign = 0;
	for (int i = 0; i < TURNS_MAX && ours == 0; i++) {
		if (*ret_foreign != 1)
			*ret_foreign = SSL_do_handshake(ssl);
		ours = tls_handshake(tls);
	}
	return ours;
}

static void garbage(void)
{
	struct tls_context *server = tls_rig_server(&rig), *client = tls_rig_client(&rig, NULL);
	const struct span texts[] = { SPAN_LIT("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), SPAN_LIT("USER bob\r\n"),
				      SPAN_LIT("\x16\x03\x01\x00\x07garbage") };
	char big[20000];

	memset(big, 'x', sizeof(big));
	for (int end = 0; end < ENDS; end++) {
		for (size_t i = 0; i < 4; i++) {
			struct span bytes = i < 3 ? texts[i] : (struct span){ big, sizeof(big) };
			struct tls *tls = NULL;
			struct pair p;
			int result = 0;

			open_pair(&p);
			CU_ASSERT_EQUAL_FATAL(tls_new(end == SERVER ? server : client, p.fds[0], NULL, &tls), 0);
			CU_ASSERT_EQUAL(write(p.fds[1], bytes.ptr, bytes.len), (ssize_t)bytes.len);
			for (int j = 0; j < 10 && result == 0; j++)
				result = tls_handshake(tls);
			CU_ASSERT_EQUAL(result, -EPROTO);
			CU_ASSERT_TRUE(tls_error(tls)[0] != '\0');
			CU_ASSERT_EQUAL(tls_handshake(tls), -EPROTO); /* and stays so */
			tls_free(tls);
			close_pair(&p);
		}
	}
	tls_context_unref(server);
	tls_context_unref(client);
}

static void truncated(void)
{
	struct tls_context *server = tls_rig_server(&rig), *client = tls_rig_client(&rig, NULL);
	struct pair p;
	char got[16];

	connect_pair(&p, server, client, NULL);
	expect_up(&p);
	expect_passes(&p, SERVER, "half of a fi");
	close(p.fds[SERVER]);
	p.fds[SERVER] = -1;
	CU_ASSERT_EQUAL(tls_read(p.tls[CLIENT], got, sizeof(got)), ERR_TRUNCATED);
	CU_ASSERT_STRING_EQUAL(tls_error(p.tls[CLIENT]), "ended without close_notify");
	close_pair(&p);

	open_pair(&p); /* within the handshake */
	CU_ASSERT_EQUAL_FATAL(tls_new(server, p.fds[SERVER], NULL, &p.tls[SERVER]), 0);
	CU_ASSERT_EQUAL(write(p.fds[CLIENT], "\x16\x03\x01", 3), 3);
	CU_ASSERT_EQUAL(tls_handshake(p.tls[SERVER]), 0);
	shutdown(p.fds[CLIENT], SHUT_WR);
	CU_ASSERT_EQUAL(tls_handshake(p.tls[SERVER]), ERR_TRUNCATED);
	close_pair(&p);
	tls_context_unref(server);
	tls_context_unref(client);
}

static void other_protocols(void)
{
	static const struct {
		const char *list; /* as on the wire */
		int result;
	} cases[] = {
		{ NULL, 1 }, { "\x03" "ftp", 1 }, { "\x02" "h2" "\x03" "ftp", 1 }, { "\x02" "h2" "\x08" "http/1.1", -EPROTO },
		{ "\x04" "ftps", -EPROTO },
	};
	struct tls_context *server = tls_rig_server(&rig);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		SSL_CTX *context;
		struct pair p;
		SSL *ssl;
		int other;

		open_pair(&p);
		CU_ASSERT_EQUAL_FATAL(tls_new(server, p.fds[SERVER], NULL, &p.tls[SERVER]), 0);
		ssl = foreign(&context, TLS_client_method(), p.fds[CLIENT]);
		SSL_set_connect_state(ssl);
		if (cases[i].list != NULL)
			SSL_set_alpn_protos(ssl, (const unsigned char *)cases[i].list, (unsigned)strlen(cases[i].list));
		CU_ASSERT_EQUAL(shake_foreign(p.tls[SERVER], ssl, &other), cases[i].result);
		SSL_free(ssl);
		SSL_CTX_free(context);
		close_pair(&p);
	}
	tls_context_unref(server);
}

static void old_versions(void)
{
	struct tls_context *server = tls_rig_server(&rig);
	SSL_CTX *context;
	struct pair p;
	SSL *ssl;
	int other;

	open_pair(&p);
	CU_ASSERT_EQUAL_FATAL(tls_new(server, p.fds[SERVER], NULL, &p.tls[SERVER]), 0);
	ssl = foreign(&context, TLS_client_method(), p.fds[CLIENT]);
	SSL_set_security_level(ssl, 0);
	SSL_set_min_proto_version(ssl, TLS1_1_VERSION);
	SSL_set_max_proto_version(ssl, TLS1_1_VERSION);
	SSL_set_connect_state(ssl);
	CU_ASSERT_EQUAL(shake_foreign(p.tls[SERVER], ssl, &other), -EPROTO);
	SSL_free(ssl);
	SSL_CTX_free(context);
	close_pair(&p);
	tls_context_unref(server);
}

/* TLS 1.2: resumption by tickets as well, and a renegotiation that is asked for is refused without the end of the connection. */
static void version_1_2(void)
{
	struct tls_context *server = tls_rig_server(&rig);
	SSL_CTX *context;
	SSL_SESSION *session;
	struct pair p, again;
	char got[16];
	SSL *ssl, *second;
	int other;

	open_pair(&p);
	CU_ASSERT_EQUAL_FATAL(tls_new(server, p.fds[SERVER], NULL, &p.tls[SERVER]), 0);
	ssl = foreign(&context, TLS_client_method(), p.fds[CLIENT]);
	SSL_set_max_proto_version(ssl, TLS1_2_VERSION);
	SSL_set_connect_state(ssl);
	CU_ASSERT_EQUAL_FATAL(shake_foreign(p.tls[SERVER], ssl, &other), 1);
	CU_ASSERT_EQUAL(SSL_do_handshake(ssl), 1);
	CU_ASSERT_STRING_EQUAL(tls_version(p.tls[SERVER]), "TLSv1.2");
	session = SSL_get1_session(ssl);
	open_pair(&again);
	CU_ASSERT_EQUAL_FATAL(tls_new(NULL, again.fds[SERVER], p.tls[SERVER], &again.tls[SERVER]), 0);
	second = SSL_new(context);
	SSL_set_fd(second, again.fds[CLIENT]);
	SSL_set_max_proto_version(second, TLS1_2_VERSION);
	SSL_set_session(second, session);
	SSL_set_connect_state(second);
	CU_ASSERT_EQUAL(shake_foreign(again.tls[SERVER], second, &other), 1);
	CU_ASSERT_TRUE(tls_is_resumed(again.tls[SERVER]));
	SSL_SESSION_free(session);
	SSL_free(second);

	CU_ASSERT_EQUAL(SSL_renegotiate(ssl), 1);
	(void)SSL_do_handshake(ssl);
	CU_ASSERT_EQUAL(tls_read(p.tls[SERVER], got, sizeof(got)), 0); /* no_renegotiation was said */
	CU_ASSERT_NOT_EQUAL(SSL_do_handshake(ssl), 1);
	SSL_free(ssl);
	ERR_clear_error();
	SSL_CTX_free(context);
	close_pair(&again);
	close_pair(&p);
	tls_context_unref(server);
}

/* A server that has only TLS 1.2, with session identifiers instead of tickets: our client resumes those, too. */
static void client_1_2(void)
{
	struct tls_context *client = tls_rig_client(&rig, NULL);
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	struct pair control = { .fds = { -1, -1 } }, data = control;
	struct pair *const pairs[] = { &control, &data };

	SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
	CU_ASSERT_EQUAL(SSL_CTX_use_certificate_chain_file(context, rig.certificate), 1);
	CU_ASSERT_EQUAL(SSL_CTX_use_PrivateKey_file(context, rig.key, SSL_FILETYPE_PEM), 1);
	for (int i = 0; i < 2; i++) {
		SSL *ssl = SSL_new(context);
		int other;

		open_pair(pairs[i]);
		SSL_set_fd(ssl, pairs[i]->fds[SERVER]);
		SSL_set_accept_state(ssl);
		CU_ASSERT_EQUAL_FATAL(tls_new(client, pairs[i]->fds[CLIENT], i == 0 ? NULL : control.tls[CLIENT], &pairs[i]->tls[CLIENT]), 0);
		CU_ASSERT_EQUAL(shake_foreign(pairs[i]->tls[CLIENT], ssl, &other), 1);
		CU_ASSERT_EQUAL(tls_is_resumed(pairs[i]->tls[CLIENT]), i == 1);
		SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
		SSL_free(ssl);
	}
	close_pair(&data);
	close_pair(&control);
	SSL_CTX_free(context);
	tls_context_unref(client);
}

static const struct unit_test tests[] = {
	{ "octets go both ways, and the certificate's name is known", both_ways },
	{ "a handshake octet by octet", octet_by_octet },
	{ "close_notify ends one direction", orderly_end },
	{ "more than the sockets hold", big_writes },
	{ "connections that belong together resume, newest session first", resumption },
	{ "a server resumes no session of another family", resumption_of_others },
	{ "certificates that do not do", refused_certificates },
	{ "when a certificate expires", expiry },
	{ "out of memory", out_of_memory },
	{ "without verification any certificate does", unverified },
	{ "files that do not do are named", faulty_files },
	{ "garbage instead of a handshake", garbage },
	{ "an end without close_notify", truncated },
	{ "clients that offer other protocols", other_protocols },
	{ "TLS 1.1 is refused", old_versions },
	{ "TLS 1.2: renegotiation refused, tickets resumed", version_1_2 },
	{ "TLS 1.2: a client resumes a session identifier", client_1_2 },
};

int main(int argc, char **argv)
{
	int result;

	signal(SIGPIPE, SIG_IGN);
	tls_rig_open(&rig);
	result = unit_main(argc, argv, "tls", tests, sizeof(tests) / sizeof(tests[0]));
	tls_rig_close(&rig);
	return result;
}
