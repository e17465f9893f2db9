/* Owns the form of tokens and of the lines that allow them. Does not read files and does not decide who may do what:
 * that is access.c. Tokens come from the kernel's generator, so a plain SHA-256 of one cannot be searched; a slow
 * password hash would only cost time on every request. RFC 6750 says how a token is presented. */
#include "api/token.h"

#include "core/buf.h"
#include "core/err.h"
#include "core/rnd.h"

static const struct {
	const char *text;
	unsigned bits;
} scope_names[] = {
	{ "read:calls", TOKEN_READ_CALLS },
	{ "read:config", TOKEN_READ_CONFIG },
	{ "read:metrics", TOKEN_READ_METRICS },
	{ "operate", TOKEN_OPERATE },
	{ "admin", TOKEN_ALL },
};
enum { N_SCOPE_NAMES = sizeof(scope_names) / sizeof(scope_names[0]) };

void token_mint(char out[TOKEN_TEXT_MAX])
{
	struct buf b = buf_of(out, TOKEN_TEXT_MAX);
	uint8_t secret[32];

	rnd_bytes(secret, sizeof(secret));
	buf_puts(&b, "pst_");
	buf_hex(&b, secret, sizeof(secret));
	buf_putc(&b, '\0');
	explicit_bzero(secret, sizeof(secret));
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int parse_hash(struct span hex, uint8_t *ret)
{
	if (hex.len != 2 * TOKEN_HASH_BYTES)
		return ERR_PARSE;
	for (size_t i = 0; i < TOKEN_HASH_BYTES; i++) {
		int high = hex_digit(hex.ptr[2 * i]), low = hex_digit(hex.ptr[2 * i + 1]);

		if (high < 0 || low < 0)
			return ERR_PARSE;
		ret[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

int token_scopes_parse(struct span text, unsigned *ret_scopes)
{
	unsigned scopes = 0;

	if (span_is_empty(text))
		return ERR_PARSE;
	while (text.ptr != NULL) {
		struct span word = span_cut(&text, ',');
		unsigned i = 0;

		while (i < N_SCOPE_NAMES && !span_eq(word, span_of(scope_names[i].text)))
			i++;
		if (i == N_SCOPE_NAMES)
			return ERR_PARSE;
		scopes |= scope_names[i].bits;
	}
	*ret_scopes = scopes;
	return 0;
}

const char *token_scope_text(enum token_scope scope)
{
	for (unsigned i = 0; i < N_SCOPE_NAMES; i++) {
		if (scope_names[i].bits == scope)
			return scope_names[i].text;
	}
	return "";
}

int token_line_parse(struct span line, struct token *ret)
{
	struct token token = { .scopes = TOKEN_ALL };
	struct span comment = line, words, hash;

	words = span_trim(span_cut(&comment, '#'));
	comment = span_trim(comment);
	if (span_is_empty(words))
		return ERR_NOT_FOUND;
	hash = span_cut(&words, ' ');
	if (!span_starts(hash, SPAN_LIT("sha256:")) || parse_hash(span_sub(hash, 7, hash.len), token.hash) != 0)
		return ERR_PARSE;
	words = span_trim(words);
	if (!span_is_empty(words) && token_scopes_parse(words, &token.scopes) != 0)
		return ERR_PARSE;
	comment = span_sub(comment, 0, TOKEN_NAME_MAX - 1);
	if (!span_is_empty(comment))
		memcpy(token.name, comment.ptr, comment.len);
	*ret = token;
	return 0;
}
