/* The headers of OpenSSL's TLS, for core/tls*.c and tests: one of its types has the name of one of our errors (core/err.h). */
#ifndef CORE_OPENSSL_H
#define CORE_OPENSSL_H

#define ERR_STATE OPENSSL_ERR_STATE
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#undef ERR_STATE

#endif
