/* Kept apart from token.c because OpenSSL's headers and core/err.h both have an ERR_STATE. */
#include "api/token_hash.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

int token_hash(struct span token, uint8_t ret_hash[TOKEN_HASH_BYTES])
{
	return EVP_Digest(token.ptr, token.len, ret_hash, NULL, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
}

bool token_hash_eq(const uint8_t a[TOKEN_HASH_BYTES], const uint8_t b[TOKEN_HASH_BYTES])
{
	return CRYPTO_memcmp(a, b, TOKEN_HASH_BYTES) == 0;
}
