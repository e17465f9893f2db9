/* Tokens, the token file, peers of the UNIX socket, and the limit of failures. */
#include "api/access.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/err.h"
#include "tests/unit/unit.h"

#define ABC_HASH "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" /* of "abc" */
#define NONE_HASH "0000000000000000000000000000000000000000000000000000000000000000"

static char path[] = "/tmp/postern-tokens-XXXXXX";
static int64_t now_ms = 1000000;

static void write_file(const char *text)
{
	static time_t stamp = 1000;
	struct timespec times[2] = { { stamp + 1, 0 }, { stamp + 1, 0 } };
	FILE *f = fopen(path, "w");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	stamp++;
	fputs(text, f);
	fclose(f);
	CU_ASSERT_EQUAL(utimensat(AT_FDCWD, path, times, 0), 0);
}

static struct access_peer tcp_peer(const char *ip)
{
	struct access_peer peer = { 0 };

	CU_ASSERT_EQUAL(addr_parse_ip(span_of(ip), &peer.addr), 0);
	return peer;
}

static enum access_verdict ask(struct access *access, const char *ip, const char *authorization, enum token_scope scope)
{
	struct access_peer peer = tcp_peer(ip);
	struct access_actor actor;

	return access_check(access, &peer, span_of(authorization), scope, now_ms, &actor);
}

static void hashes(void)
{
	uint8_t hash[TOKEN_HASH_BYTES], other[TOKEN_HASH_BYTES] = { 0 };
	char hex[65];
	struct buf b = buf_of(hex, sizeof(hex));

	CU_ASSERT_EQUAL(token_hash(SPAN_LIT("abc"), hash), 0);
	buf_hex(&b, hash, sizeof(hash));
	buf_putc(&b, '\0');
	CU_ASSERT_STRING_EQUAL(hex, ABC_HASH);
	CU_ASSERT_TRUE(token_hash_eq(hash, hash));
	CU_ASSERT_FALSE(token_hash_eq(hash, other));
}

static void mints(void)
{
	char one[TOKEN_TEXT_MAX], two[TOKEN_TEXT_MAX];

	token_mint(one);
	token_mint(two);
	CU_ASSERT_EQUAL(strlen(one), 68);
	CU_ASSERT_EQUAL(strncmp(one, "pst_", 4), 0);
	CU_ASSERT_STRING_NOT_EQUAL(one, two);
}

static void parses_lines(void)
{
	static const struct {
		const char *line;
		int err;
		unsigned scopes;
		const char *name;
	} cases[] = {
		{ "sha256:" ABC_HASH, 0, TOKEN_ALL, "" },
		{ "sha256:" ABC_HASH " read:calls", 0, TOKEN_READ_CALLS, "" },
		{ "  sha256:" ABC_HASH "  read:calls,operate  # night shift \r", 0, TOKEN_READ_CALLS | TOKEN_OPERATE,
		  "night shift" },
		{ "sha256:" ABC_HASH " admin # ansible", 0, TOKEN_ALL, "ansible" },
		{ "", ERR_NOT_FOUND, 0, "" },
		{ "   ", ERR_NOT_FOUND, 0, "" },
		{ "# sha256:" ABC_HASH, ERR_NOT_FOUND, 0, "" },
		{ ABC_HASH, ERR_PARSE, 0, "" },
		{ "sha256:ba78", ERR_PARSE, 0, "" },
		{ "sha256:" ABC_HASH "00", ERR_PARSE, 0, "" },
		{ "sha256:" ABC_HASH " read:everything", ERR_PARSE, 0, "" },
		{ "sha256:" ABC_HASH " read:calls, operate", ERR_PARSE, 0, "" },
		{ "sha256:xyz816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", ERR_PARSE, 0, "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct token token = { 0 };

		CU_ASSERT_EQUAL(token_line_parse(span_of(cases[i].line), &token), cases[i].err);
		CU_ASSERT_EQUAL(token.scopes, cases[i].scopes);
		CU_ASSERT_STRING_EQUAL(token.name, cases[i].name);
	}
}

static void checks_tokens(void)
{
	struct access *access = access_new(path);
	struct access_peer peer = tcp_peer("192.0.2.1");
	struct access_actor actor;

	write_file("sha256:" NONE_HASH "\nnonsense\nsha256:" ABC_HASH " read:calls # bob\n");
	CU_ASSERT_EQUAL(ask(access, "192.0.2.1", "Bearer abc", TOKEN_READ_CALLS), ACCESS_GRANTED);
	CU_ASSERT_EQUAL(ask(access, "192.0.2.1", "bearer  abc ", TOKEN_READ_CALLS), ACCESS_GRANTED);
	CU_ASSERT_EQUAL(ask(access, "192.0.2.1", "Bearer abc", TOKEN_OPERATE), ACCESS_WRONG_SCOPE);
	CU_ASSERT_EQUAL(ask(access, "192.0.2.1", "Bearer abd", TOKEN_READ_CALLS), ACCESS_BAD_TOKEN);
	CU_ASSERT_EQUAL(ask(access, "192.0.2.1", "", TOKEN_READ_CALLS), ACCESS_NO_CREDENTIALS);
	CU_ASSERT_EQUAL(ask(access, "192.0.2.1", "Bearer ", TOKEN_READ_CALLS), ACCESS_NO_CREDENTIALS);
	CU_ASSERT_EQUAL(ask(access, "192.0.2.1", "Basic abc", TOKEN_READ_CALLS), ACCESS_NO_CREDENTIALS);
	access_check(access, &peer, SPAN_LIT("Bearer abc"), TOKEN_READ_CALLS, now_ms, &actor);
	CU_ASSERT_STRING_EQUAL(actor.text, "token:bob");
	access_free(access);
}

static void follows_the_file(void)
{
	struct access *access = access_new(path);

	write_file("sha256:" ABC_HASH "\n");
	CU_ASSERT_EQUAL(ask(access, "192.0.2.2", "Bearer abc", TOKEN_OPERATE), ACCESS_GRANTED);
	write_file("sha256:" NONE_HASH "\n");
	CU_ASSERT_EQUAL(ask(access, "192.0.2.2", "Bearer abc", TOKEN_OPERATE), ACCESS_BAD_TOKEN);
	write_file("sha256:" ABC_HASH); /* no end of line */
	CU_ASSERT_EQUAL(ask(access, "192.0.2.2", "Bearer abc", TOKEN_OPERATE), ACCESS_GRANTED);
	CU_ASSERT_EQUAL(chmod(path, 0666), 0);
	write_file("sha256:" ABC_HASH "\n\n");
	CU_ASSERT_EQUAL(ask(access, "192.0.2.2", "Bearer abc", TOKEN_OPERATE), ACCESS_BAD_TOKEN);
	CU_ASSERT_EQUAL(chmod(path, 0600), 0);
	write_file("sha256:" ABC_HASH "\n");
	CU_ASSERT_EQUAL(ask(access, "192.0.2.2", "Bearer abc", TOKEN_OPERATE), ACCESS_GRANTED);
	unlink(path);
	CU_ASSERT_EQUAL(ask(access, "192.0.2.2", "Bearer abc", TOKEN_OPERATE), ACCESS_BAD_TOKEN);
	access_free(access);
	access = access_new(NULL);
	CU_ASSERT_EQUAL(ask(access, "192.0.2.2", "Bearer abc", TOKEN_OPERATE), ACCESS_BAD_TOKEN);
	access_free(access);
}

static void limits_tokens(void)
{
	struct access *access = access_new(path);
	char *text = calloc(ACCESS_TOKENS_MAX + 1, 80), *end = text;

	for (unsigned i = 0; i < ACCESS_TOKENS_MAX; i++)
		end += snprintf(end, 80, "sha256:%s\n", NONE_HASH);
	snprintf(end, 80, "sha256:%s\n", ABC_HASH);
	write_file(text);
	CU_ASSERT_EQUAL(ask(access, "192.0.2.3", "Bearer abc", TOKEN_OPERATE), ACCESS_BAD_TOKEN);
	write_file(text + 72); /* one line less */
	CU_ASSERT_EQUAL(ask(access, "192.0.2.3", "Bearer abc", TOKEN_OPERATE), ACCESS_GRANTED);
	free(text);
	access_free(access);
}

static void locks_out(void)
{
	struct access *access = access_new(path);

	write_file("sha256:" ABC_HASH "\n");
	for (unsigned i = 0; i < ACCESS_FAILURES_PER_MINUTE; i++)
		CU_ASSERT_EQUAL(ask(access, "2001:db8::1", "Bearer no", TOKEN_OPERATE), ACCESS_BAD_TOKEN);
	CU_ASSERT_EQUAL(ask(access, "2001:db8::1", "Bearer no", TOKEN_OPERATE), ACCESS_LOCKED_OUT);
	CU_ASSERT_EQUAL(ask(access, "2001:db8::2", "Bearer abc", TOKEN_OPERATE), ACCESS_LOCKED_OUT);
	CU_ASSERT_EQUAL(ask(access, "2001:db8::1", "", TOKEN_OPERATE), ACCESS_NO_CREDENTIALS);
	CU_ASSERT_EQUAL(ask(access, "192.0.2.9", "Bearer abc", TOKEN_OPERATE), ACCESS_GRANTED);
	now_ms += 59999;
	CU_ASSERT_EQUAL(ask(access, "2001:db8::1", "Bearer abc", TOKEN_OPERATE), ACCESS_LOCKED_OUT);
	now_ms += 1;
	CU_ASSERT_EQUAL(ask(access, "2001:db8::1", "Bearer abc", TOKEN_OPERATE), ACCESS_GRANTED);
	access_free(access);
}

static void trusts_the_socket(void)
{
	struct access *access = access_new(NULL);
	struct access_actor actor;
	struct access_peer root = { .uid = 0 }, own = { .uid = geteuid() };
	struct access_peer member = { .uid = 4711, .is_in_group = true }, stranger = { .uid = 4711 };

	CU_ASSERT_EQUAL(access_check(access, &root, SPAN_NONE, TOKEN_OPERATE, now_ms, &actor), ACCESS_GRANTED);
	CU_ASSERT_STRING_EQUAL(actor.text, "uid:0");
	CU_ASSERT_EQUAL(access_check(access, &own, SPAN_NONE, TOKEN_OPERATE, now_ms, &actor), ACCESS_GRANTED);
	CU_ASSERT_EQUAL(access_check(access, &member, SPAN_NONE, TOKEN_OPERATE, now_ms, &actor), ACCESS_GRANTED);
	CU_ASSERT_STRING_EQUAL(actor.text, "uid:4711");
	CU_ASSERT_EQUAL(access_check(access, &stranger, SPAN_NONE, TOKEN_OPERATE, now_ms, &actor), ACCESS_WRONG_SCOPE);
	access_free(access);
}

static void asks_the_kernel(void)
{
	struct access_peer peer = { .uid = 4711 };
	int pair[2];

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	CU_ASSERT_EQUAL(access_peer_of_socket(pair[0], &peer), 0);
	CU_ASSERT_EQUAL(peer.uid, getuid());
	CU_ASSERT_FALSE(addr_is_set(&peer.addr));
	close(pair[0]);
	close(pair[1]);
	CU_ASSERT_TRUE(access_peer_of_socket(-1, &peer) < 0);
}

static void knows_local(void)
{
	struct access_peer peer = { 0 };

	CU_ASSERT_TRUE(access_peer_is_local(&peer));
	peer = tcp_peer("127.1.2.3");
	CU_ASSERT_TRUE(access_peer_is_local(&peer));
	peer = tcp_peer("::1");
	CU_ASSERT_TRUE(access_peer_is_local(&peer));
	peer.is_relayed = true;
	CU_ASSERT_FALSE(access_peer_is_local(&peer));
	peer = tcp_peer("192.0.2.1");
	CU_ASSERT_FALSE(access_peer_is_local(&peer));
}

static const struct unit_test tests[] = {
	{ "token hash", hashes },
	{ "minted tokens", mints },
	{ "token lines", parses_lines },
	{ "token and scope decide", checks_tokens },
	{ "the file is read again when it changes", follows_the_file },
	{ "no more tokens than the table holds", limits_tokens },
	{ "five failures lock a source out for a minute", locks_out },
	{ "peers of the UNIX socket", trusts_the_socket },
	{ "peer credentials come from the kernel", asks_the_kernel },
	{ "local peers", knows_local },
};

int main(int argc, char **argv)
{
	int fd = mkstemp(path), result;

	if (fd < 0)
		return 99;
	close(fd);
	result = unit_main(argc, argv, "access", tests, sizeof(tests) / sizeof(tests[0]));
	unlink(path);
	return result;
}
