/* Certificates for tests of TLS, made anew each time, and pairs of sockets to speak it over. */
#ifndef TESTS_UNIT_TLS_RIG_H
#define TESTS_UNIT_TLS_RIG_H

#include "core/tls.h"

enum { TLS_RIG_PATH_MAX = 128 };

struct tls_rig { /* a folder with PEM files */
	char folder[64];
	struct tls_rig_root *root; /* `ca` with its key */
	char ca[TLS_RIG_PATH_MAX], other_ca[TLS_RIG_PATH_MAX]; /* roots; the second vouches for nobody */
	char certificate[TLS_RIG_PATH_MAX], key[TLS_RIG_PATH_MAX]; /* for "server.example" and 127.0.0.1, by `ca` */
	char expired[TLS_RIG_PATH_MAX];     /* the same until yesterday, for `key` too */
	char other_key[TLS_RIG_PATH_MAX];   /* that belongs to none of them */
	char rsa[TLS_RIG_PATH_MAX], rsa_key[TLS_RIG_PATH_MAX]; /* as `certificate`, with RSA of 2048 bits */
};
void tls_rig_open(struct tls_rig *rig); /* fails the test when it cannot */
void tls_rig_close(struct tls_rig *rig);

/* Another certificate by `ca` for `key`. What it says, as OpenSSL's configuration spells it: NULL, nothing. */
struct tls_rig_claims {
	const char *subject;      /* common name */
	const char *alternatives; /* subjectAltName */
	const char *purposes;     /* extendedKeyUsage */
};
void tls_rig_issue(const struct tls_rig *rig, const struct tls_rig_claims *claims, char path[TLS_RIG_PATH_MAX]); /* one file, written over */

/* Contexts of the rig's files; protocols "ftp". name NULL: any. NULL fails the test. */
struct tls_context *tls_rig_server(const struct tls_rig *rig);
struct tls_context *tls_rig_client(const struct tls_rig *rig, const char *name);

#endif
