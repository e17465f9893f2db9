/* What tls.c and tls_context.c share. Nobody else includes this. */
#ifndef CORE_TLS_INSIDE_H
#define CORE_TLS_INSIDE_H

#include "core/openssl.h"
#include "core/tls.h"

enum { TLS_FAMILY_ID = 16, TLS_NAME_MAX = 255 };

struct tls_context {
	unsigned refs;
	SSL_CTX *ssl;
	bool is_server, is_name_ip;
	char name[TLS_NAME_MAX + 1];      /* a client's; "": any */
	const char *const *protocols;     /* a server's */
};

/* Connections that may resume each other's sessions. */
struct tls_family {
	unsigned refs;
	unsigned char id[TLS_FAMILY_ID];  /* a server's: written into its tickets */
	SSL_SESSION *session;             /* a client's: the newest */
};

struct tls {
	struct tls_context *context;
	struct tls_family *family;
	bool is_member;                   /* of another connection's family: a server accepts no sessions but those */
	SSL *ssl;
	int wants;
	bool is_broken;
	char peer[128], error[160];
};

/* The connection that OpenSSL calls back about. */
static inline struct tls *tls_of(const SSL *ssl)
{
	return SSL_get_app_data(ssl);
}

#endif
