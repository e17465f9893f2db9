/* A blunt HTTP client for tests: sends what it is told, octet by octet if need be, and reads until the other side
 * closes or a whole reply is there. Waits up to ten seconds, so that a test fails instead of hanging. */
#ifndef TESTS_MOCK_HTTP_CLIENT_H
#define TESTS_MOCK_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

int client_tcp(unsigned port);          /* to 127.0.0.1; a descriptor or -1 */
int client_unix(const char *path);
void client_send(int fd, const char *text); /* what cannot be sent is dropped: the server may have closed */
/* Sends head, then `len` times filler; as much as the server takes. */
void client_send_filler(int fd, const char *head, size_t len);

struct client_reply {
	int status;      /* 0: closed without one */
	bool is_closed;  /* the server closed after it */
	char text[65536]; /* head and body */
	const char *body;
};
/* Reads one reply. is_head: it has no body whatever its length says. */
void client_read(int fd, bool is_head, struct client_reply *ret);
/* True when the server closed (within the wait) without sending anything more. */
bool client_is_closed(int fd);
/* The value of a header of the reply, "" when absent; valid until the next call. */
const char *client_header(const struct client_reply *reply, const char *name);

#endif
