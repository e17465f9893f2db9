/* Who may do what. Two kinds of credentials: the kernel's word about the process at the other end of the UNIX socket
 * (root, the gateway's own user and the members of group "postern" may do everything), and bearer tokens from a file
 * of hashes, which is read again when it changes. Any thread; locks inside. */
#ifndef API_ACCESS_H
#define API_ACCESS_H

#include <sys/types.h>

#include "api/token.h"
#include "core/addr.h"

enum { ACCESS_FAILURES_PER_MINUTE = 5, ACCESS_TOKENS_MAX = 256 };

struct access_peer {
	struct addr addr;   /* of a TCP client; family 0: it came over the UNIX socket */
	uid_t uid;          /* UNIX socket only */
	bool is_in_group;   /* of a group that may do everything; UNIX socket only */
	bool is_relayed;    /* TCP only: somebody else may be behind it, a proxy's client or a web page */
};
bool access_peer_is_local(const struct access_peer *peer); /* UNIX socket, or a loopback address for itself */

enum access_verdict {
	ACCESS_GRANTED,
	ACCESS_NO_CREDENTIALS, /* none were shown, or not a bearer token */
	ACCESS_BAD_TOKEN,      /* counts towards the limit of failures */
	ACCESS_WRONG_SCOPE,    /* known, but not for this */
	ACCESS_LOCKED_OUT,     /* too many failures from this source within a minute */
};

struct access;
/* token_file may be NULL: then no token is valid. The file need not exist yet. NULL when out of memory. */
struct access *access_new(const char *token_file);
void access_free(struct access *access);

struct access_actor { /* for the log */
	char text[TOKEN_NAME_MAX + 16]; /* "uid:0", "token:ansible", "" when unknown */
};
/* authorization is the header's value, empty when absent. Unknown sources cost the same time as known ones. */
enum access_verdict access_check(struct access *access, const struct access_peer *peer, struct span authorization,
				 enum token_scope scope, int64_t now_ms, struct access_actor *ret_actor);

/* Fills *ret from the kernel's record of a connected UNIX socket. 0 or an errno. */
int access_peer_of_socket(int fd, struct access_peer *ret);

#endif
