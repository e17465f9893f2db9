/* Bearer tokens: 256 random bits, shown once; only their SHA-256 is kept.
 * A token file has one token per line, `sha256:<64 hex> [scope,scope] [# name]`; empty lines and lines that begin with
 * '#' are skipped. Without scopes a token may do everything. Pure, but for the randomness. */
#ifndef API_TOKEN_H
#define API_TOKEN_H

#include "api/token_hash.h"

enum { TOKEN_NAME_MAX = 64, TOKEN_TEXT_MAX = 72 };

enum token_scope { /* bits */
	TOKEN_READ_CALLS = 1,   /* "read:calls": calls, sessions, their records, pinholes */
	TOKEN_READ_CONFIG = 2,  /* "read:config": realms, peers, ALGs, profiles, explain */
	TOKEN_READ_METRICS = 4, /* "read:metrics" */
	TOKEN_OPERATE = 8,      /* "operate": end calls and sessions, reload the configuration */
	TOKEN_ALL = 15,         /* "admin" */
};

struct token {
	uint8_t hash[TOKEN_HASH_BYTES];
	unsigned scopes;
	char name[TOKEN_NAME_MAX]; /* for the log; "" when the line has none */
};

/* Writes "pst_<64 hex>" and a NUL. */
void token_mint(char out[TOKEN_TEXT_MAX]);

/* One line without its end. 0 and a token, ERR_NOT_FOUND for an empty or comment line, ERR_PARSE. */
int token_line_parse(struct span line, struct token *ret);
/* "read:calls,operate" to bits; empty is an error. 0 or ERR_PARSE. */
int token_scopes_parse(struct span text, unsigned *ret_scopes);
const char *token_scope_text(enum token_scope scope);

#endif
