/* The real HTTP server on loopback and on a UNIX socket, with a few rows of its own: framing, limits, deadlines. */
#include "api/http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/log.h"
#include "core/loop.h"
#include "tests/mock/http_client.h"
#include "tests/unit/unit.h"

#define END "Host: localhost\r\n\r\n"

struct api {
	int unused;
};

static void say_hello(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	(void)api;
	(void)request;
	route_reply_json(reply, 200, json_pack("{s:s}", "hello", "world"));
}

static void say_done(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	(void)api;
	(void)request;
	reply->status = 204;
}

static const struct route routes[] = {
	{ "GET", "/hello", ROUTE_OPEN, 0, NULL, say_hello, "hello" },
	{ "GET", "/secret", ROUTE_SCOPED, TOKEN_OPERATE, NULL, say_hello, "secret" },
	{ "GET", "/local", ROUTE_LOCAL_OPEN, TOKEN_READ_METRICS, NULL, say_hello, "local" },
	{ "DELETE", "/hello", ROUTE_OPEN, 0, NULL, say_done, "done" },
};

static struct loop *loop;
static struct access *access_;
static struct router router;
static struct client_reply reply;
static char directory[] = "/tmp/postern-http-XXXXXX";
static char socket_path[64];

static struct http *serve(uint32_t connections, uint32_t timeout_s)
{
	struct http_options options = { loop, connections, timeout_s };
	struct addr any_port = { 0 };
	struct http *http = NULL;

	CU_ASSERT_EQUAL_FATAL(http_new(&router, &options, &http), 0);
	CU_ASSERT_EQUAL(addr_parse_ip(SPAN_LIT("127.0.0.1"), &any_port), 0);
	CU_ASSERT_EQUAL_FATAL(http_listen_tcp(http, &any_port), 0);
	CU_ASSERT_EQUAL_FATAL(http_listen_unix(http, socket_path), 0);
	return http;
}

/* One request on a connection of its own. */
static int ask(const struct http *http, const char *request)
{
	int fd = client_tcp(http_tcp_port(http));

	client_send(fd, request);
	client_read(fd, strncmp(request, "HEAD", 4) == 0, &reply);
	close(fd);
	return reply.status;
}

static void answers(void)
{
	struct http *http = serve(64, 10);

	CU_ASSERT_EQUAL(ask(http, "GET /hello HTTP/1.1\r\nX-Request-Id: abc-1\r\n" END), 200);
	CU_ASSERT_STRING_EQUAL(reply.body, "{\"hello\":\"world\"}");
	CU_ASSERT_STRING_EQUAL(client_header(&reply, "Content-Type"), "application/json");
	CU_ASSERT_STRING_EQUAL(client_header(&reply, "Cache-Control"), "no-store");
	CU_ASSERT_STRING_EQUAL(client_header(&reply, "X-Request-Id"), "abc-1");
	CU_ASSERT_EQUAL(ask(http, "GET /hello HTTP/1.1\r\nX-Request-Id: a b\r\n" END), 200);
	CU_ASSERT_EQUAL(strlen(client_header(&reply, "X-Request-Id")), 36);
	CU_ASSERT_EQUAL(ask(http, "HEAD /hello HTTP/1.1\r\n" END), 200);
	CU_ASSERT_STRING_EQUAL(client_header(&reply, "Content-Length"), "17");
	CU_ASSERT_EQUAL(ask(http, "DELETE /hello HTTP/1.1\r\n" END), 204);
	CU_ASSERT_EQUAL(ask(http, "GET /nothing HTTP/1.1\r\n" END), 404);
	CU_ASSERT_STRING_EQUAL(client_header(&reply, "Content-Type"), "application/problem+json");
	CU_ASSERT_EQUAL(ask(http, "POST /hello HTTP/1.1\r\nContent-Length: 0\r\n" END), 405);
	CU_ASSERT_STRING_EQUAL(client_header(&reply, "Allow"), "GET, HEAD, DELETE");
	CU_ASSERT_EQUAL(ask(http, "GET /hello?x=1 HTTP/1.1\r\n" END), 400);
	http_free(http);
}

static void keeps_connections(void)
{
	struct http *http = serve(64, 10);
	int fd = client_tcp(http_tcp_port(http));

	for (unsigned i = 0; i < 3; i++) {
		client_send(fd, "GET /hello HTTP/1.1\r\n" END);
		client_read(fd, false, &reply);
		CU_ASSERT_EQUAL(reply.status, 200);
	}
	close(fd);
	http_free(http);
}

static void asks_for_tokens(void)
{
	struct http *http = serve(64, 10);
	int fd;

	CU_ASSERT_EQUAL(ask(http, "GET /secret HTTP/1.1\r\n" END), 401);
	CU_ASSERT_EQUAL(strncmp(client_header(&reply, "WWW-Authenticate"), "Bearer", 6), 0);
	for (unsigned i = 0; i < ACCESS_FAILURES_PER_MINUTE; i++)
		CU_ASSERT_EQUAL(ask(http, "GET /secret HTTP/1.1\r\nAuthorization: Bearer x\r\n" END), 401);
	CU_ASSERT_EQUAL(ask(http, "GET /secret HTTP/1.1\r\nAuthorization: Bearer x\r\n" END), 429);
	CU_ASSERT_STRING_EQUAL(client_header(&reply, "Retry-After"), "60");
	fd = client_unix(socket_path); /* our own user: nothing is asked */
	client_send(fd, "GET /secret HTTP/1.1\r\n" END);
	client_read(fd, false, &reply);
	CU_ASSERT_EQUAL(reply.status, 200);
	close(fd);
	http_free(http);
}

static void knows_who_is_local(void)
{
	static const struct {
		const char *headers;
		int status;
	} cases[] = {
		{ "Host: localhost\r\n", 200 },
		{ "Host: LOCALHOST:8480\r\n", 200 },
		{ "Host: 127.0.0.1\r\n", 200 },
		{ "Host: 127.0.0.1:8480\r\n", 200 },
		{ "Host: [::1]\r\n", 200 },
		{ "Host: [::1]:8480\r\n", 200 },
		{ "Host: gateway.example\r\n", 401 },
		{ "Host: localhost.example:8480\r\n", 401 },
		{ "Host: \r\n", 401 },
		{ "Host: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n", 401 },
		{ "Host: localhost\r\nForwarded: for=192.0.2.1\r\n", 401 },
	};
	struct http *http = serve(64, 10);
	char request[256];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(request, sizeof(request), "GET /local HTTP/1.1\r\n%s\r\n", cases[i].headers);
		CU_ASSERT_EQUAL(ask(http, request), cases[i].status);
	}
	http_free(http);
}

static void refuses_bad_framing(void)
{
	static const struct {
		const char *request;
		int status;
	} cases[] = {
		{ "GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400 },
		{ "GET /hello HTTP/1.1\r\n\r\n", 400 },
		{ "GET /hello HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n" END, 400 },
		{ "GET /secret HTTP/1.1\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n" END, 400 },
		{ "GET http://localhost/hello HTTP/1.1\r\n" END, 400 },
		{ "GET /hel\x01lo HTTP/1.1\r\n" END, 400 },
		{ "GET /hello%00 HTTP/1.1\r\n" END, 404 },
		{ "GET /hello HTTP/1.1\r\nContent-Length: 5\r\n" END "hello", 400 },
		{ "POST /hello HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" END "0\r\n\r\n", 411 },
		{ "POST /hello HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n" END "0\r\n\r\n", 411 },
		{ "GET /hello HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n" END, 413 },
	};
	struct http *http = serve(64, 10);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int status = ask(http, cases[i].request);

		if (status != cases[i].status)
			printf("# %s: %d\n", cases[i].request, status);
		CU_ASSERT_EQUAL(status, cases[i].status);
	}
	http_free(http);
}

static void limits_bodies(void)
{
	struct http *http = serve(64, 10);
	char head[128];
	int fd = client_tcp(http_tcp_port(http));

	snprintf(head, sizeof(head), "POST /hello HTTP/1.1\r\nContent-Length: %d\r\n" END, ROUTER_BODY_MAX);
	client_send_filler(fd, head, ROUTER_BODY_MAX);
	client_read(fd, false, &reply);
	CU_ASSERT_EQUAL(reply.status, 405); /* the body was taken: now the router speaks */
	close(fd);
	fd = client_tcp(http_tcp_port(http));
	snprintf(head, sizeof(head), "POST /hello HTTP/1.1\r\nContent-Length: %d\r\n" END, ROUTER_BODY_MAX + 1);
	client_send_filler(fd, head, ROUTER_BODY_MAX + 1);
	client_read(fd, false, &reply);
	CU_ASSERT_EQUAL(reply.status, 413);
	close(fd);
	fd = client_tcp(http_tcp_port(http));
	client_send(fd, "POST /hello HTTP/1.1\r\nContent-Length: 10000000\r\n" END); /* refused before it comes */
	client_read(fd, false, &reply);
	CU_ASSERT_EQUAL(reply.status, 413);
	CU_ASSERT_TRUE(reply.is_closed);
	close(fd);
	fd = client_tcp(http_tcp_port(http));
	client_send_filler(fd, "GET /hello HTTP/1.1\r\nX-Filler: ", 64 * 1024);
	client_read(fd, false, &reply);
	CU_ASSERT_TRUE(reply.status == 431 || reply.status == 413 || reply.is_closed);
	close(fd);
	http_free(http);
}

/* One octet now and then keeps the library's own time-out from striking. */
static void ends_slow_clients(void)
{
	struct http *http = serve(64, 1);
	int silent = client_tcp(http_tcp_port(http)), dripping = client_unix(socket_path);
	struct client_reply none;
	bool was_closed = false;

	client_send(silent, "GET /hello HTTP/1.1\r\n");
	client_send(dripping, "GET /hello HTTP/1.1\r\nX: ");
	for (unsigned i = 0; i < 100 && !was_closed; i++) {
		was_closed = send(dripping, "x", 1, MSG_NOSIGNAL) < 0;
		usleep(100000);
	}
	CU_ASSERT_TRUE(was_closed);
	client_read(silent, false, &none);
	CU_ASSERT_TRUE(none.is_closed);
	close(silent);
	close(dripping);
	http_free(http);
}

static void limits_connections(void)
{
	enum { N = 40, PER_SOURCE = 32 };
	struct http *http = serve(64, 30);
	unsigned served = 0, refused = 0;
	int fds[N];

	for (unsigned i = 0; i < N; i++) {
		fds[i] = client_tcp(http_tcp_port(http));
		client_send(fds[i], "GET /hello HTTP/1.1\r\n");
	}
	for (unsigned i = 0; i < N; i++) {
		client_send(fds[i], END);
		client_read(fds[i], false, &reply);
		served += reply.status == 200;
		refused += reply.status == 0 && reply.is_closed;
	}
	CU_ASSERT_EQUAL(served, PER_SOURCE);
	CU_ASSERT_EQUAL(refused, N - PER_SOURCE);
	for (unsigned i = 0; i < N; i++)
		close(fds[i]);
	http_free(http);
}

static void owns_its_socket(void)
{
	struct http_options options = { loop, 64, 10 };
	struct http *http = serve(64, 10), *second = NULL;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct stat st;
	FILE *file;
	int fd;

	CU_ASSERT_EQUAL(stat(socket_path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 07777, 0660);
	CU_ASSERT_EQUAL_FATAL(http_new(&router, &options, &second), 0);
	CU_ASSERT_EQUAL(http_listen_unix(second, socket_path), -EADDRINUSE);
	http_free(http);
	CU_ASSERT_NOT_EQUAL(stat(socket_path, &st), 0);
	/* Left behind by a crash: bound, but nobody listens. */
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", socket_path);
	CU_ASSERT_EQUAL(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);
	CU_ASSERT_EQUAL(http_listen_unix(second, socket_path), 0);
	http_free(second);
	file = fopen(socket_path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	fclose(file);
	CU_ASSERT_EQUAL_FATAL(http_new(&router, &options, &second), 0);
	CU_ASSERT_EQUAL(http_listen_unix(second, socket_path), -EEXIST);
	http_free(second);
	CU_ASSERT_EQUAL(stat(socket_path, &st), 0);
	unlink(socket_path);
}

static const struct unit_test tests[] = {
	{ "replies and their headers", answers },
	{ "several requests on a connection", keeps_connections },
	{ "tokens over TCP, credentials over UNIX", asks_for_tokens },
	{ "proxies and web pages are not local", knows_who_is_local },
	{ "ambiguous framing is refused", refuses_bad_framing },
	{ "bodies and heads have limits", limits_bodies },
	{ "slow clients are ended", ends_slow_clients },
	{ "connections per source are limited", limits_connections },
	{ "the UNIX socket is made, replaced and removed", owns_its_socket },
};

int main(int argc, char **argv)
{
	int result = 99;

	log_setup(2, LOG_TEXT, LOG_ERROR);
	access_ = access_new(NULL);
	router = (struct router){ routes, sizeof(routes) / sizeof(routes[0]), access_, NULL };
	if (access_ != NULL && loop_new(&loop) == 0 && mkdtemp(directory) != NULL) {
		snprintf(socket_path, sizeof(socket_path), "%s/api.sock", directory);
		result = unit_main(argc, argv, "http", tests, sizeof(tests) / sizeof(tests[0]));
		unlink(socket_path);
		rmdir(directory);
	}
	loop_free(loop);
	access_free(access_);
	return result;
}
