/* A small HTTP/1.1 client: one request per connection, over a UNIX socket or plain TCP, everything bounded. */
#ifndef API_CLI_HTTP_H
#define API_CLI_HTTP_H

#include "core/span.h"

enum { CLI_HTTP_REPLY_MAX = 16 * 1024 * 1024, CLI_HTTP_TIMEOUT_S = 30 };

struct cli_http_reply {
	int status;
	char *raw;         /* owned: head and body as they came */
	struct span body;  /* within raw, chunks put together */
};
void cli_http_reply_free(struct cli_http_reply *reply);

/* socket: path of a UNIX socket, used when url is NULL; url: "http://host:port". token may be NULL. path is sent as
 * it is; body is JSON or NULL. 0 and a reply, or a negative errno: nobody there, no answer in time; ERR_PARSE: what came
 * is not HTTP. */
struct cli_http_target {
	const char *socket, *url, *token;
};
int cli_http_request(const struct cli_http_target *target, const char *method, const char *path, const char *body,
		     struct cli_http_reply *ret);

/* Takes a complete reply apart: until the connection closed, `len` octets came, and a NUL stands behind them. Chunks
 * are joined in place. 0 or ERR_PARSE. */
int cli_http_parse(char *raw, size_t len, int *ret_status, struct span *ret_body);

#endif
