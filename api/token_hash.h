/* SHA-256 of tokens. The only user of libcrypto in api/. Pure. */
#ifndef API_TOKEN_HASH_H
#define API_TOKEN_HASH_H

#include "core/span.h"

enum { TOKEN_HASH_BYTES = 32 };

/* 0, or -EIO when the library refuses. */
int token_hash(struct span token, uint8_t ret_hash[TOKEN_HASH_BYTES]);
/* In constant time. */
bool token_hash_eq(const uint8_t a[TOKEN_HASH_BYTES], const uint8_t b[TOKEN_HASH_BYTES]);

#endif
