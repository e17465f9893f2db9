/* TLS 1.2 and 1.3 over connected sockets: contexts (what a configuration says about one role) and connections. The only user of
 * OpenSSL's TLS. A context may be made by any thread and is immutable from then on, but for its count of references, which is the
 * control thread's, as connections are.
 *
 * What holds for all of them: no renegotiation, no compression, no early data, ciphers with forward secrecy and authenticated
 * encryption only (RFC 9325), and an end without close_notify is told from an orderly one. */
#ifndef CORE_TLS_H
#define CORE_TLS_H

#include "core/span.h"

struct tls_context;

/* Names of protocols that are accepted when a client offers any (ALPN, RFC 7301), ended by NULL. A client that offers only others
 * speaks another protocol and fails: its messages cannot be played off against this one (ALPACA). */
struct tls_server_conf {
	const char *certificate;      /* PEM file: the certificate, then those that lead to its root */
	const char *key;              /* PEM file, without a passphrase */
	const char *const *protocols; /* NULL: none, every client that offers some fails */
};
struct tls_client_conf {
	const char *ca;               /* PEM file of roots; NULL: the system's */
	bool is_verified;             /* false: whoever answers is believed */
	const char *name;             /* host name or address that the certificate has to hold; NULL: any that the roots vouch for */
	const char *protocol;         /* to offer; NULL: none */
};
/* 0 and a context with one reference; or a negative error, and in error_text which file is wrong, how, and what to do. */
int tls_context_server(const struct tls_server_conf *conf, char *error_text, size_t error_size, struct tls_context **ret);
int tls_context_client(const struct tls_client_conf *conf, char *error_text, size_t error_size, struct tls_context **ret);
/* A server's: when its certificate expires, as wall clock in milliseconds since 1970 UTC; 0: nobody knows. */
int64_t tls_context_expires_ms(const struct tls_context *context);
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context); /* NULL is fine */

struct tls;

/* A connection on a non-blocking socket that is and stays the caller's; nobody else reads or writes it meanwhile. SIGPIPE has to be
 * ignored. `like`, or NULL, is another connection of the same role that this one belongs to (FTP data to its control channel):
 * a client resumes its newest session, a server lets only its sessions be resumed. context NULL: that of `like`. Keeps references to
 * what it needs: context and `like` may go. 0 or -ENOMEM. */
int tls_new(struct tls_context *context, int fd, const struct tls *like, struct tls **ret);
/* Without a word to the other side (tls_shut() says it). NULL is fine. */
void tls_free(struct tls *tls);

/* All of them return a negative error when the connection is of no use any more, which tls_error() then explains:
 * ERR_DENIED: the certificate of the other side is not acceptable; ERR_TRUNCATED: it has ended without close_notify;
 * -EPROTO: it does not speak TLS as it has to; or what the kernel says about the socket. */
int tls_handshake(struct tls *tls);                     /* 1: done. 0: to be called again after tls_wants() */
/* Octets; 0: none now; ERR_CLOSED: the other side has said that it will send no more. */
int tls_read(struct tls *tls, char *to, size_t size);
/* Octets that were taken. 0: none can be now; then the next call has to begin with the same octets. */
int tls_write(struct tls *tls, struct span bytes);
/* close_notify: 1 sent, 0 to be called again. Not before everything that tls_write() began was taken. */
int tls_shut(struct tls *tls);
/* What the last of these calls waits for: LOOP_READ or LOOP_WRITE (core/loop.h), or 0. */
int tls_wants(const struct tls *tls);
/* Octets were received that tls_read() would return now, which the kernel does not show any more. */
bool tls_has_pending(const struct tls *tls);

/* Once the handshake is done. */
bool tls_is_resumed(const struct tls *tls);
const char *tls_version(const struct tls *tls); /* "TLSv1.3"; static */
const char *tls_cipher(const struct tls *tls);  /* static */
const char *tls_peer(const struct tls *tls);    /* a client's: the subject of the certificate, printable; "" when there is none */
const char *tls_error(const struct tls *tls);   /* why the last call failed; "" */

#endif
