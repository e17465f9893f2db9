/* Owns the loaded tokens and the count of failures per source. Does not speak HTTP: the router turns verdicts into
 * replies. Any HTTP thread; one mutex, held for a stat() and at most 256 comparisons.
 *
 * Failures are counted in a small direct-mapped table: memory is fixed, and a source that shares a slot with another
 * only takes its place. A source that failed too often is refused before its token is looked at, right or wrong; the
 * UNIX socket is never locked out, so the operator always gets in. */
#include "api/access.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/err.h"
#include "core/hash.h"
#include "core/log.h"

enum { FAILURE_SLOTS = 1024, FAILURE_WINDOW_MS = 60000, TOKEN_FILE_MAX = 64 * 1024, GROUPS_MAX = 256 };

struct failures {
	uint64_t source;
	int64_t since_ms;
	unsigned count;
};

struct file_mark { /* tells that the file is another than the one that was read */
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime;
	bool is_there;
};

struct access {
	pthread_mutex_t lock;
	char *token_file;
	struct file_mark mark;
	struct token tokens[ACCESS_TOKENS_MAX];
	unsigned n_tokens;
	struct failures failures[FAILURE_SLOTS];
};

bool access_peer_is_local(const struct access_peer *peer)
{
	return !addr_is_set(&peer->addr) || (addr_kind(&peer->addr) == ADDR_LOOPBACK && !peer->is_relayed);
}

struct access *access_new(const char *token_file)
{
	struct access *access = calloc(1, sizeof(*access));

	if (access == NULL)
		return NULL;
	if (token_file != NULL && (access->token_file = strdup(token_file)) == NULL) {
		free(access);
		return NULL;
	}
	pthread_mutex_init(&access->lock, NULL);
	return access;
}

void access_free(struct access *access)
{
	if (access == NULL)
		return;
	pthread_mutex_destroy(&access->lock);
	free(access->token_file);
	free(access);
}

/* Token file */

static void parse_tokens(struct access *access, struct span text)
{
	for (int64_t line = 1; text.ptr != NULL; line++) {
		struct span rest = span_cut(&text, '\n');
		struct token token;
		int err = token_line_parse(rest, &token);

		if (err == ERR_NOT_FOUND)
			continue;
		if (err != 0 || access->n_tokens == ACCESS_TOKENS_MAX) {
			log_warn("api", err ? "token file: line is not valid" : "token file: too many tokens",
				 LF_TEXT("file", access->token_file), LF_INT("line", line));
			continue;
		}
		access->tokens[access->n_tokens++] = token;
	}
}

/* Everything that can be wrong with the file leaves no token valid. */
static void load_tokens(struct access *access)
{
	struct stat st;
	char *text = NULL;
	ssize_t len = -1;
	int fd = open(access->token_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		log_warn("api", "token file cannot be read", LF_TEXT("file", access->token_file),
			 LF_INT("errno", errno));
		goto out;
	}
	if ((st.st_mode & S_IWOTH) != 0) {
		log_warn("api", "token file ignored: everybody may write to it", LF_TEXT("file", access->token_file));
		goto out;
	}
	text = malloc(TOKEN_FILE_MAX + 1);
	if (text != NULL)
		len = read(fd, text, TOKEN_FILE_MAX + 1);
	if (len < 0 || len > TOKEN_FILE_MAX) {
		log_warn("api", "token file ignored: too large or not readable", LF_TEXT("file", access->token_file));
		goto out;
	}
	parse_tokens(access, (struct span){ text, (size_t)len });
	log_info("api", "tokens loaded", LF_UINT("tokens", access->n_tokens), LF_TEXT("file", access->token_file));
out:
	free(text);
	if (fd >= 0)
		close(fd);
}

static void refresh_tokens(struct access *access)
{
	struct file_mark mark = { 0 };
	struct stat st;

	if (access->token_file == NULL)
		return;
	if (stat(access->token_file, &st) == 0)
		mark = (struct file_mark){ st.st_dev, st.st_ino, st.st_size, st.st_mtim, true };
	if (mark.is_there == access->mark.is_there && mark.dev == access->mark.dev && mark.ino == access->mark.ino &&
	    mark.size == access->mark.size && mark.mtime.tv_sec == access->mark.mtime.tv_sec &&
	    mark.mtime.tv_nsec == access->mark.mtime.tv_nsec)
		return;
	access->mark = mark;
	access->n_tokens = 0;
	if (mark.is_there)
		load_tokens(access);
}

/* Failures per source */

/* A whole /64 of IPv6 is one source: a host can have as many addresses of it as it likes. */
static uint64_t source_of(const struct access_peer *peer)
{
	return hash_bytes((struct span){ (const char *)peer->addr.ip, peer->addr.family == AF_INET6 ? 8 : 4 });
}

static struct failures *failures_of(struct access *access, uint64_t source, int64_t now_ms)
{
	struct failures *f = &access->failures[source % FAILURE_SLOTS];

	if (f->source != source || now_ms < f->since_ms || now_ms - f->since_ms >= FAILURE_WINDOW_MS)
		*f = (struct failures){ source, now_ms, 0 };
	return f;
}

/* Verdict */

static struct span bearer_of(struct span authorization)
{
	if (!span_istarts(authorization, SPAN_LIT("Bearer ")))
		return SPAN_NONE;
	return span_trim(span_sub(authorization, 7, authorization.len));
}

/* Compares with every token, so the time does not tell which one was nearly right. */
static const struct token *find_token(const struct access *access, const uint8_t *hash)
{
	const struct token *found = NULL;

	for (unsigned i = 0; i < access->n_tokens; i++) {
		if (token_hash_eq(access->tokens[i].hash, hash))
			found = &access->tokens[i];
	}
	return found;
}

static enum access_verdict check_token(struct access *access, const uint8_t *hash, enum token_scope scope,
				       struct access_actor *actor)
{
	const struct token *token;

	refresh_tokens(access);
	token = find_token(access, hash);
	if (token == NULL)
		return ACCESS_BAD_TOKEN;
	snprintf(actor->text, sizeof(actor->text), "token:%s", token->name[0] ? token->name : "-");
	return (token->scopes & scope) == scope ? ACCESS_GRANTED : ACCESS_WRONG_SCOPE;
}

enum access_verdict access_check(struct access *access, const struct access_peer *peer, struct span authorization,
				 enum token_scope scope, int64_t now_ms, struct access_actor *ret_actor)
{
	bool is_unix = !addr_is_set(&peer->addr);
	struct span bearer = bearer_of(authorization);
	enum access_verdict verdict;
	uint8_t hash[TOKEN_HASH_BYTES];
	struct failures *failures;

	*ret_actor = (struct access_actor){ "" };
	if (is_unix)
		snprintf(ret_actor->text, sizeof(ret_actor->text), "uid:%ld", (long)peer->uid);
	if (is_unix && (peer->uid == 0 || peer->uid == geteuid() || peer->is_in_group))
		return ACCESS_GRANTED;
	if (span_is_empty(bearer) || token_hash(bearer, hash) != 0)
		return is_unix ? ACCESS_WRONG_SCOPE : ACCESS_NO_CREDENTIALS;
	pthread_mutex_lock(&access->lock);
	failures = failures_of(access, source_of(peer), now_ms);
	if (!is_unix && failures->count >= ACCESS_FAILURES_PER_MINUTE) {
		verdict = ACCESS_LOCKED_OUT;
	} else {
		verdict = check_token(access, hash, scope, ret_actor);
		failures->count += verdict == ACCESS_BAD_TOKEN;
	}
	pthread_mutex_unlock(&access->lock);
	return verdict;
}

/* Peers of the UNIX socket */

static bool group_id(const char *name, gid_t *ret)
{
	struct group group, *found = NULL;
	char text[4096];

	if (getgrnam_r(name, &group, text, sizeof(text), &found) != 0 || found == NULL)
		return false;
	*ret = found->gr_gid;
	return true;
}

int access_peer_of_socket(int fd, struct access_peer *ret)
{
	struct access_peer peer = { 0 };
	struct ucred cred;
	gid_t groups[GROUPS_MAX], wanted;
	socklen_t cred_len = sizeof(cred), groups_len = sizeof(groups);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &cred_len) != 0)
		return -errno;
	peer.uid = cred.uid;
	if (group_id("postern", &wanted)) {
		peer.is_in_group = cred.gid == wanted;
		if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &groups_len) != 0)
			groups_len = 0; /* in too many groups to tell: the primary one decides */
		for (unsigned i = 0; i < groups_len / sizeof(groups[0]); i++)
			peer.is_in_group |= groups[i] == wanted;
	}
	*ret = peer;
	return 0;
}
