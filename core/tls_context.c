/* TLS contexts: certificates, keys and roots from files, and what is allowed at all. Reads files: at the start and when a
 * configuration is loaded, never from a connection. RFC 5077, 7301, 8446, 9325. */
#include "core/tls_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/addr.h"
#include "core/err.h"

/* RFC 9325 4.2; those of TLS 1.3 are all of this kind. Key exchange over curves only: with finite fields the other side chooses how
 * much it costs, up to a hundred times as much, and handshakes share their thread with everything else. */
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"
#define GROUPS "X25519:P-256:P-384:P-521"
enum {
	SECURITY_LEVEL = 2,  /* 112 bits: RSA from 2048, no SHA-1 */
	TICKETS_S = 86400,   /* resumed so long: data of a control channel that is up since yesterday */
};

/* ---- errors -------------------------------------------------------------------------------------------------------------------- */

/* The first error is the cause, what follows only says who called whom. */
static int report(char *text, size_t size, const char *what, const char *file, const char *hint)
{
	unsigned long code = ERR_peek_error();
	const char *reason = ERR_SYSTEM_ERROR(code) ? err_str(-ERR_GET_REASON(code)) : ERR_reason_error_string(code);

	snprintf(text, size, "%s %s: %s; %s", what, file, reason != NULL ? reason : "unknown error", hint);
	ERR_clear_error();
	return ERR_CONFIG;
}

/* Asked for when a key is encrypted: there is nobody to type it. */
static int no_passphrase(char *to, int size, int is_writing, void *arg)
{
	(void)to;
	(void)size;
	(void)is_writing;
	(void)arg;
	return 0;
}

/* ---- what both roles have in common -------------------------------------------------------------------------------------------- */

static struct tls_context *context_new(const SSL_METHOD *method)
{
	struct tls_context *context = calloc(1, sizeof(*context));

	ERR_clear_error();
	if (context == NULL)
		return NULL;
	context->refs = 1;
	context->ssl = SSL_CTX_new(method);
	if (context->ssl == NULL || SSL_CTX_set_min_proto_version(context->ssl, TLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_cipher_list(context->ssl, CIPHERS) != 1 || SSL_CTX_set1_groups_list(context->ssl, GROUPS) != 1) {
		tls_context_unref(context);
		return NULL;
	}
	SSL_CTX_set_security_level(context->ssl, SECURITY_LEVEL);
	SSL_CTX_set_options(context->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	/* A record at a time: who sends many without content does not keep the thread. */
	SSL_CTX_clear_mode(context->ssl, SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_mode(context->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_default_passwd_cb(context->ssl, no_passphrase);
	return context;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
	context->refs++;
	return context;
}

void tls_context_unref(struct tls_context *context)
{
	if (context == NULL || --context->refs > 0)
		return;
	SSL_CTX_free(context->ssl);
	free(context);
}

/* ---- server ---------------------------------------------------------------------------------------------------------------------- */

static bool is_offered(const unsigned char *offers, unsigned len, const char *protocol, const unsigned char **ret)
{
	size_t wanted = strlen(protocol);

	for (unsigned at = 0; at < len && offers[at] < len - at; at += 1u + offers[at]) {
		*ret = offers + at;
		if (offers[at] == wanted && memcmp(offers + at + 1, protocol, wanted) == 0)
			return true;
	}
	return false;
}

static int on_protocols(SSL *ssl, const unsigned char **ret, unsigned char *ret_len, const unsigned char *offers, unsigned len, void *arg)
{
	const struct tls_context *context = arg;
	const unsigned char *found;

	(void)ssl;
	for (unsigned i = 0; context->protocols != NULL && context->protocols[i] != NULL; i++) {
		if (!is_offered(offers, len, context->protocols[i], &found))
			continue;
		*ret = found + 1;
		*ret_len = found[0];
		return SSL_TLSEXT_ERR_OK;
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int on_ticket_made(SSL *ssl, void *arg)
{
	const struct tls *tls = tls_of(ssl);

	(void)arg;
	return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), tls->family->id, sizeof(tls->family->id));
}

/* Each connection that resumes gets a new ticket, which says to whom it belongs from then on. */
static SSL_TICKET_RETURN on_ticket_read(SSL *ssl, SSL_SESSION *session, const unsigned char *key_name, size_t key_name_len,
					SSL_TICKET_STATUS status, void *arg)
{
	const struct tls *tls = tls_of(ssl);
	void *id = NULL;
	size_t len = 0;

	(void)key_name;
	(void)key_name_len;
	(void)arg;
	if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	if (!tls->is_member)
		return SSL_TICKET_RETURN_USE_RENEW;
	if (SSL_SESSION_get0_ticket_appdata(session, &id, &len) != 1 || len != TLS_FAMILY_ID ||
	    memcmp(id, tls->family->id, TLS_FAMILY_ID) != 0)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	return SSL_TICKET_RETURN_USE_RENEW;
}

static int load_server(struct tls_context *context, const struct tls_server_conf *conf, char *text, size_t size)
{
	if (SSL_CTX_use_certificate_chain_file(context->ssl, conf->certificate) != 1)
		return report(text, size, "certificate", conf->certificate, "it has to be a PEM file, the certificate first, that the account of the gateway can read");
	if (SSL_CTX_use_PrivateKey_file(context->ssl, conf->key, SSL_FILETYPE_PEM) != 1 && ERR_GET_LIB(ERR_peek_error()) != ERR_LIB_X509)
		return report(text, size, "key", conf->key, "it has to be a PEM file without a passphrase, that the account of the gateway can read");
	if (ERR_peek_error() != 0 || SSL_CTX_check_private_key(context->ssl) != 1)
		return report(text, size, "key", conf->key, "it has to be the one that the certificate was made with");
	return 0;
}

int tls_context_server(const struct tls_server_conf *conf, char *error_text, size_t error_size, struct tls_context **ret)
{
	struct tls_context *context = context_new(TLS_server_method());
	int err;

	if (context == NULL) {
		snprintf(error_text, error_size, "out of memory");
		return -ENOMEM;
	}
	err = load_server(context, conf, error_text, error_size);
	if (err < 0) {
		tls_context_unref(context);
		return err;
	}
	context->is_server = true;
	context->protocols = conf->protocols;
	SSL_CTX_set_alpn_select_cb(context->ssl, on_protocols, context);
	/* Tickets only: nothing is kept of clients that are gone. */
	SSL_CTX_set_session_cache_mode(context->ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(context->ssl, (const unsigned char *)"postern", 7);
	SSL_CTX_set_timeout(context->ssl, TICKETS_S);
	SSL_CTX_set_session_ticket_cb(context->ssl, on_ticket_made, on_ticket_read, NULL);
	*ret = context;
	return 0;
}

int64_t tls_context_expires_ms(const struct tls_context *context)
{
	const X509 *certificate = SSL_CTX_get0_certificate(context->ssl);
	struct tm tm;

	if (certificate == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) != 1)
		return 0;
	return (int64_t)timegm(&tm) * 1000;
}

/* ---- client ---------------------------------------------------------------------------------------------------------------------- */

/* With TLS 1.3 tickets come whenever the server likes. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_family *family = tls_of(ssl)->family;

	SSL_SESSION_free(family->session);
	family->session = session;
	return 1; /* kept */
}

static int offer(struct tls_context *context, const char *protocol)
{
	unsigned char list[TLS_NAME_MAX + 1];
	size_t len = strlen(protocol);

	if (len > TLS_NAME_MAX)
		return ERR_LIMIT;
	list[0] = (unsigned char)len;
	memcpy(list + 1, protocol, len);
	return SSL_CTX_set_alpn_protos(context->ssl, list, (unsigned)len + 1) == 0 ? 0 : -ENOMEM;
}

static int load_roots(struct tls_context *context, const struct tls_client_conf *conf, char *text, size_t size)
{
	if (!conf->is_verified)
		return 0;
	SSL_CTX_set_verify(context->ssl, SSL_VERIFY_PEER, NULL);
	if (conf->ca != NULL && SSL_CTX_load_verify_file(context->ssl, conf->ca) != 1)
		return report(text, size, "certificates of authorities", conf->ca, "it has to be a PEM file that the account of the gateway can read");
	if (conf->ca == NULL && SSL_CTX_set_default_verify_paths(context->ssl) != 1)
		return report(text, size, "certificates of authorities", "of the system", "name a file");
	return 0;
}

static int set_name(struct tls_context *context, const struct tls_client_conf *conf, char *text, size_t size)
{
	char ip_text[ADDR_TEXT_MAX];
	struct addr ip;

	if (conf->name == NULL)
		return 0;
	if (strlen(conf->name) > TLS_NAME_MAX) {
		snprintf(text, size, "the name of the server is longer than %d octets", TLS_NAME_MAX);
		return ERR_LIMIT;
	}
	context->is_name_ip = addr_parse_ip(span_of(conf->name), &ip) == 0;
	snprintf(context->name, sizeof(context->name), "%s", context->is_name_ip ? addr_ip_text(&ip, ip_text) : conf->name);
	return 0;
}

int tls_context_client(const struct tls_client_conf *conf, char *error_text, size_t error_size, struct tls_context **ret)
{
	struct tls_context *context = context_new(TLS_client_method());
	int err;

	error_text[0] = '\0';
	err = context != NULL ? load_roots(context, conf, error_text, error_size) : -ENOMEM;
	if (err == 0)
		err = set_name(context, conf, error_text, error_size);
	if (err == 0 && conf->protocol != NULL)
		err = offer(context, conf->protocol);
	if (err < 0) {
		if (error_text[0] == '\0')
			snprintf(error_text, error_size, "%s", err_str(err));
		tls_context_unref(context);
		return err;
	}
	SSL_CTX_set_session_cache_mode(context->ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context->ssl, on_session);
	*ret = context;
	return 0;
}
