/* TLS connections over sockets of others. OpenSSL reads no further than the record at hand, so what it does not want yet stays in the
 * kernel, and a socket that is ready says so. Control thread. */
#include "core/tls_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/err.h"
#include "core/loop.h"
#include "core/rnd.h"

/* ---- families ------------------------------------------------------------------------------------------------------------------ */

static struct tls_family *family_new(void)
{
	struct tls_family *family = calloc(1, sizeof(*family));

	if (family == NULL)
		return NULL;
	family->refs = 1;
	rnd_bytes(family->id, sizeof(family->id));
	return family;
}

static void family_unref(struct tls_family *family)
{
	if (family == NULL || --family->refs > 0)
		return;
	SSL_SESSION_free(family->session);
	free(family);
}

/* ---- life ------------------------------------------------------------------------------------------------------------------------ */

static bool expect_name(struct tls *tls)
{
	const struct tls_context *context = tls->context;

	if (context->name[0] == '\0')
		return true;
	if (context->is_name_ip)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), context->name) == 1;
	/* RFC 9525: names are those of the extension, the subject is none; "*" stands for a whole label. */
	SSL_set_hostflags(tls->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	return SSL_set1_host(tls->ssl, context->name) == 1 && SSL_set_tlsext_host_name(tls->ssl, context->name) == 1;
}

/* A copy: OpenSSL lets the ticket itself be used once, and the next one may not have come before it is needed again. */
static bool offer_session(struct tls *tls)
{
	SSL_SESSION *session = tls->family->session, *copy;
	bool is_set;

	if (session == NULL || SSL_SESSION_is_resumable(session) != 1)
		return true;
	copy = SSL_SESSION_dup(session);
	is_set = copy != NULL && SSL_set_session(tls->ssl, copy) == 1;
	SSL_SESSION_free(copy);
	return is_set;
}

static bool prepare_client(struct tls *tls)
{
	SSL_set_connect_state(tls->ssl);
	return offer_session(tls) && expect_name(tls);
}

int tls_new(struct tls_context *context, int fd, const struct tls *like, struct tls **ret)
{
	struct tls *tls = calloc(1, sizeof(*tls));

	if (tls == NULL)
		return -ENOMEM;
	tls->context = tls_context_ref(context != NULL ? context : like->context);
	tls->is_member = like != NULL;
	tls->family = like != NULL ? like->family : family_new();
	if (like != NULL)
		tls->family->refs++;
	tls->ssl = SSL_new(tls->context->ssl);
	ERR_clear_error();
	if (tls->family == NULL || tls->ssl == NULL || SSL_set_fd(tls->ssl, fd) != 1 || SSL_set_app_data(tls->ssl, tls) != 1 ||
	    (!tls->context->is_server && !prepare_client(tls))) {
		ERR_clear_error();
		tls_free(tls);
		return -ENOMEM;
	}
	if (tls->context->is_server)
		SSL_set_accept_state(tls->ssl);
	/* Who only sends would leave tickets of TLS 1.3 unread, and reset what is still on its way when it closes. */
	if (tls->context->is_server && like != NULL)
		(void)SSL_set_num_tickets(tls->ssl, 0);
	*ret = tls;
	return 0;
}

void tls_free(struct tls *tls)
{
	if (tls == NULL)
		return;
	/* Or OpenSSL takes a session that did not end in order for one that must not be resumed; its family may go on. */
	if (tls->ssl != NULL)
		SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(tls->ssl);
	family_unref(tls->family);
	tls_context_unref(tls->context);
	free(tls);
}

/* ---- what came of a call ----------------------------------------------------------------------------------------------------------- */

static int broken(struct tls *tls, int err, const char *why)
{
	tls->is_broken = true;
	snprintf(tls->error, sizeof(tls->error), "%s", why != NULL ? why : err_str(err));
	ERR_clear_error();
	return err;
}

static int protocol_error(struct tls *tls)
{
	unsigned long code = ERR_peek_error();
	long verified = SSL_get_verify_result(tls->ssl);

	if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return broken(tls, ERR_TRUNCATED, "ended without close_notify");
	if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED && verified != X509_V_OK)
		return broken(tls, ERR_DENIED, X509_verify_cert_error_string(verified));
	return broken(tls, -EPROTO, ERR_reason_error_string(code));
}

/* 0: to be tried again. `errnum` is errno as the call left it. */
static int judge(struct tls *tls, int result, int errnum)
{
	switch (SSL_get_error(tls->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		tls->wants = LOOP_READ;
		return 0;
	case SSL_ERROR_WANT_WRITE:
		tls->wants = LOOP_WRITE;
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		return ERR_CLOSED;
	case SSL_ERROR_SYSCALL:
		return broken(tls, errnum != 0 ? -errnum : ERR_TRUNCATED, NULL);
	default:
		return protocol_error(tls);
	}
}

/* Of a call that sends: that the other side will send no more is no answer to it. OpenSSL says so all the same when the other side is
 * gone for good and had taken its leave before. */
static int judge_sending(struct tls *tls, int result, int errnum)
{
	int err = judge(tls, result, errnum);

	return err == ERR_CLOSED ? broken(tls, errnum != 0 ? -errnum : -EPIPE, NULL) : err;
}

/* Before each call. False: there is nothing more to be had. */
static bool begin(struct tls *tls)
{
	ERR_clear_error();
	errno = 0;
	tls->wants = 0;
	return !tls->is_broken;
}

/* ---- calls --------------------------------------------------------------------------------------------------------------------------- */

static void remember_peer(struct tls *tls)
{
	X509 *certificate = SSL_get0_peer_certificate(tls->ssl);

	if (certificate != NULL)
		X509_NAME_oneline(X509_get_subject_name(certificate), tls->peer, sizeof(tls->peer));
}

int tls_handshake(struct tls *tls)
{
	int n, err;

	if (!begin(tls))
		return -EPROTO;
	n = SSL_do_handshake(tls->ssl);
	if (n != 1) {
		err = judge(tls, n, errno);
		return err == ERR_CLOSED ? broken(tls, ERR_TRUNCATED, "closed within the handshake") : err;
	}
	remember_peer(tls);
	return 1;
}

int tls_read(struct tls *tls, char *to, size_t size)
{
	size_t n = 0;
	int result;

	if (!begin(tls))
		return -EPROTO;
	result = SSL_read_ex(tls->ssl, to, size < INT32_MAX ? size : INT32_MAX, &n);
	return result == 1 ? (int)n : judge(tls, result, errno);
}

int tls_write(struct tls *tls, struct span bytes)
{
	size_t n = 0;
	int result;

	if (!begin(tls))
		return -EPROTO;
	if (bytes.len == 0)
		return 0;
	result = SSL_write_ex(tls->ssl, bytes.ptr, bytes.len < INT32_MAX ? bytes.len : INT32_MAX, &n);
	return result == 1 ? (int)n : judge_sending(tls, result, errno);
}

int tls_shut(struct tls *tls)
{
	int result;

	if (!begin(tls))
		return -EPROTO;
	result = SSL_shutdown(tls->ssl);
	return result >= 0 ? 1 : judge_sending(tls, result, errno);
}

int tls_wants(const struct tls *tls)
{
	return tls->wants;
}

bool tls_has_pending(const struct tls *tls)
{
	return SSL_pending(tls->ssl) > 0;
}

/* ---- what is shown ----------------------------------------------------------------------------------------------------------------- */

bool tls_is_resumed(const struct tls *tls)
{
	return SSL_session_reused(tls->ssl) == 1;
}

const char *tls_version(const struct tls *tls)
{
	return SSL_get_version(tls->ssl);
}

const char *tls_cipher(const struct tls *tls)
{
	return SSL_get_cipher_name(tls->ssl);
}

const char *tls_peer(const struct tls *tls)
{
	return tls->peer;
}

const char *tls_error(const struct tls *tls)
{
	return tls->error;
}
