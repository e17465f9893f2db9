/* The only user of libmicrohttpd. Owns the listeners, their threads and the exchange in progress on each connection:
 * checks the framing, collects the body, asks the router once and sends its reply. Knows no resource.
 *
 * Threads: libmicrohttpd's own, two per listener, each with its own epoll set (its external epoll mode is
 * edge-triggered and wants to be driven without a slip; a stalled request must not stall SIP either). A handler may
 * wait up to two seconds for the control thread. RFC 9110, RFC 9112; stricter than both where leniency only serves
 * smuggling. */
#include "api/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/http_listen.h"
#include "api/http_watch.h"
#include "api/problem.h"
#include "core/err.h"
#include "core/id.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"

enum { THREADS = 2, PER_SOURCE_MAX = 32, CONNECTION_MEMORY = 32 * 1024, THREAD_STACK = 512 * 1024,
       REQUEST_MEMORY = 16 * 1024 * 1024, LISTENERS_MAX = 2,
       DRAIN_MAX = 1024 * 1024 /* of a body that is too large: many clients read only after sending it all */ };

struct listener {
	struct http *http;
	struct MHD_Daemon *daemon;
	bool is_unix;
	char *path; /* of the UNIX socket, removed at the end */
};

struct http {
	const struct router *router;
	struct http_options options;
	struct http_watch *watch;
	struct listener listeners[LISTENERS_MAX];
	unsigned n_listeners;
	unsigned tcp_port;
};

struct exchange { /* one request on a connection */
	char *target;
	char id[72];
	bool is_open;  /* framing was checked, the body may come */
	bool is_too_large;
	size_t body_len;
	char *body;
};

#define REQUESTS(class) { .name = "postern_api_requests_total", .labels = "class=\"" class "\"", \
			  .help = "REST requests by class of the answer." }
static struct metric metrics[] = { REQUESTS("2xx"), REQUESTS("4xx"), REQUESTS("5xx") };
enum { N_METRICS = sizeof(metrics) / sizeof(metrics[0]) };

/* Reading the request */

struct header_count {
	const char *name;
	unsigned n;
	const char *value;
};

static enum MHD_Result count_header(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct header_count *count = arg;

	(void)kind;
	if (span_ieq(span_of(name), span_of(count->name))) {
		count->n++;
		count->value = value;
	}
	return MHD_YES;
}

static struct header_count header(struct MHD_Connection *connection, const char *name)
{
	struct header_count count = { name, 0, NULL };

	MHD_get_connection_values(connection, MHD_HEADER_KIND, count_header, &count);
	return count;
}

static void choose_id(struct MHD_Connection *connection, const struct loop *loop, struct exchange *exchange)
{
	struct span given = span_of(header(connection, "X-Request-Id").value);
	char minted[ID_TEXT_MAX];
	bool is_sane = given.len > 0 && given.len <= 64;

	for (size_t i = 0; is_sane && i < given.len; i++) {
		char c = given.ptr[i];

		is_sane = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
			  memchr("-_.", c, 3) != NULL;
	}
	if (!is_sane)
		given = span_of(id_uuid(0, loop_wall_ms(loop), minted));
	memcpy(exchange->id, given.ptr, given.len);
	exchange->id[given.len] = '\0';
}

static void set_too_large(const struct exchange *exchange, struct route_reply *reply)
{
	struct route_request request = { .id = exchange->id };

	problem_set(reply, &request, PROBLEM_TOO_LARGE, "A body may have %d octets.", ROUTER_BODY_MAX);
}

/* What must be right before any body is read. Sets a problem in *reply, or leaves it empty. */
static void check_framing(struct MHD_Connection *connection, struct exchange *exchange, struct route_reply *reply)
{
	static const char *const once[] = { "Host", "Content-Length", "Authorization" };
	struct route_request request = { .id = exchange->id };
	uint32_t length;

	for (unsigned i = 0; i < sizeof(once) / sizeof(once[0]); i++) {
		if (header(connection, once[i]).n > 1) {
			problem_set(reply, &request, PROBLEM_BAD_REQUEST, "%s is given more than once.", once[i]);
			return;
		}
	}
	if (header(connection, "Transfer-Encoding").n > 0) {
		problem_set(reply, &request, PROBLEM_LENGTH_REQUIRED, "Transfer codings are not taken here.");
		return;
	}
	if (header(connection, "Content-Length").n == 0)
		return;
	if (span_to_u32(span_of(header(connection, "Content-Length").value), DRAIN_MAX, &length) != 0)
		set_too_large(exchange, reply);
	else
		exchange->is_too_large = length > ROUTER_BODY_MAX;
}

static int collect(struct exchange *exchange, const char *data, size_t len)
{
	char *grown;

	if (exchange->is_too_large)
		return 0;
	if (len > ROUTER_BODY_MAX - exchange->body_len)
		return -EMSGSIZE;
	grown = realloc(exchange->body, exchange->body_len + len);
	if (grown == NULL)
		return -ENOMEM;
	memcpy(grown + exchange->body_len, data, len);
	exchange->body = grown;
	exchange->body_len += len;
	return 0;
}

/* A proxy on this machine says whom it speaks for; a web page whose name was made to resolve to a loopback address (DNS
 * rebinding) has that name in Host. Neither gets what is open to this machine. */
static bool is_relayed(struct MHD_Connection *connection)
{
	struct span rest = span_of(header(connection, "Host").value), host = rest;
	struct addr addr;

	if (header(connection, "Forwarded").n > 0 || header(connection, "X-Forwarded-For").n > 0)
		return true;
	if (addr_parse(host, &addr) == 0)
		return false;
	if (host.len == 0 || host.ptr[0] != '[')
		host = span_cut(&rest, ':');
	return !span_ieq(host, SPAN_LIT("localhost")) && addr_parse_ip(host, &addr) != 0;
}

static int peer_of(struct MHD_Connection *connection, const struct listener *listener, struct access_peer *ret)
{
	const union MHD_ConnectionInfo *info;

	if (listener->is_unix) {
		info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
		return info ? access_peer_of_socket(info->connect_fd, ret) : -ENOTCONN;
	}
	info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	if (info == NULL || info->client_addr == NULL)
		return -ENOTCONN;
	*ret = (struct access_peer){ .addr = addr_from_sockaddr(info->client_addr) };
	ret->is_relayed = is_relayed(connection);
	return addr_is_set(&ret->addr) ? 0 : -EAFNOSUPPORT;
}

/* Answering */

static struct MHD_Response *make_response(struct route_reply *reply)
{
	char *text = reply->text;
	struct MHD_Response *response;

	if (reply->json != NULL)
		text = json_dumps(reply->json, JSON_COMPACT);
	reply->text = NULL;
	if (text == NULL && reply->content_type != NULL)
		return NULL;
	response = MHD_create_response_from_buffer(text ? strlen(text) : 0, text, MHD_RESPMEM_MUST_FREE);
	if (response == NULL) {
		free(text);
		return NULL;
	}
	if (reply->content_type != NULL)
		MHD_add_response_header(response, "Content-Type", reply->content_type);
	for (unsigned i = 0; i < reply->n_headers; i++)
		MHD_add_response_header(response, reply->headers[i].name, reply->headers[i].value);
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	return response;
}

static enum MHD_Result send_reply(struct MHD_Connection *connection, const struct exchange *exchange,
				  struct route_reply *reply)
{
	struct MHD_Response *response = make_response(reply);
	unsigned class = (unsigned)reply->status / 100;
	enum MHD_Result result = MHD_NO;

	if (response != NULL) {
		MHD_add_response_header(response, "X-Request-Id", exchange->id);
		result = MHD_queue_response(connection, (unsigned)reply->status, response);
		MHD_destroy_response(response);
	}
	metric_add(&metrics[class >= 5 ? 2 : class == 4 ? 1 : 0], 1);
	return result;
}

/* Changes and failures of ours always, refusals up to a rate, the rest for those who debug. */
static void log_request(const struct route_request *request, int status)
{
	char source[ADDR_TEXT_MAX] = "unix";

	if (addr_is_set(&request->peer.addr))
		addr_text(&request->peer.addr, source);
#define REQUEST_FIELDS LF_SPAN("method", request->method), LF_SPAN("path", request->path), LF_INT("status", status), \
	LF_TEXT("actor", request->actor.text), LF_TEXT("source", source), LF_TEXT("request_id", request->id)
	if (status == 500)
		log_error("api", "request failed", REQUEST_FIELDS);
	else if (status < 400 && request->is_change)
		log_info("api", "change requested", REQUEST_FIELDS);
	else if (status == 401 || status == 403 || status == 429)
		LOG_GATED(20, LOG_WARN, "api", "request refused", REQUEST_FIELDS);
	else
		log_debug("api", "request served", REQUEST_FIELDS);
#undef REQUEST_FIELDS
}

static enum MHD_Result answer(struct MHD_Connection *connection, const struct listener *listener, const char *method,
			      struct exchange *exchange)
{
	struct route_request request = {
		.method = span_of(method),
		.target = span_of(exchange->target),
		.authorization = span_of(header(connection, "Authorization").value),
		.body = { exchange->body, exchange->body_len },
		.id = exchange->id,
		.arena = arena_new(REQUEST_MEMORY),
		.now_ms = loop_wall_ms(listener->http->options.loop),
	};
	struct route_reply reply = { 0 };
	enum MHD_Result result = MHD_NO;

	if (request.arena != NULL && peer_of(connection, listener, &request.peer) == 0) {
		router_handle(listener->http->router, &request, &reply);
		log_request(&request, reply.status);
		result = send_reply(connection, exchange, &reply);
	}
	route_reply_fini(&reply);
	arena_free(request.arena);
	return result;
}

/* Libmicrohttpd's callbacks */

static struct http_conn *conn_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

/* The request line was read: the exchange begins. NULL makes on_request() give up. */
static void *on_target(void *arg, const char *target, struct MHD_Connection *connection)
{
	struct exchange *exchange = calloc(1, sizeof(*exchange));

	(void)arg;
	(void)connection;
	if (exchange != NULL && (exchange->target = strdup(target)) == NULL) {
		free(exchange);
		exchange = NULL;
	}
	return exchange;
}

static enum MHD_Result send_and_drop(struct MHD_Connection *connection, const struct exchange *exchange,
				     struct route_reply *reply)
{
	enum MHD_Result result = send_reply(connection, exchange, reply);

	route_reply_fini(reply);
	return result;
}

/* The head is there. An answer at this point ends the connection. */
static enum MHD_Result open_exchange(struct MHD_Connection *connection, struct exchange *exchange)
{
	struct route_reply reply = { 0 };

	exchange->is_open = true;
	check_framing(connection, exchange, &reply);
	if (reply.status == 0)
		return MHD_YES;
	http_conn_replying(conn_of(connection));
	route_reply_header(&reply, "Connection", "close");
	return send_and_drop(connection, exchange, &reply);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
				  const char *version, const char *data, size_t *data_len, void **exchange_slot)
{
	const struct listener *listener = arg;
	struct exchange *exchange = *exchange_slot;

	(void)url;
	(void)version;
	if (exchange == NULL)
		return MHD_NO;
	if (!exchange->is_open) {
		choose_id(connection, listener->http->options.loop, exchange);
		return open_exchange(connection, exchange);
	}
	if (*data_len > 0) {
		if (collect(exchange, data, *data_len) != 0)
			return MHD_NO;
		*data_len = 0;
		return MHD_YES;
	}
	http_conn_replying(conn_of(connection));
	if (exchange->is_too_large) {
		struct route_reply reply = { 0 };

		set_too_large(exchange, &reply);
		return send_and_drop(connection, exchange, &reply);
	}
	return answer(connection, listener, method, exchange);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **exchange_slot,
			 enum MHD_RequestTerminationCode how)
{
	struct exchange *exchange = *exchange_slot;

	(void)arg;
	(void)how;
	*exchange_slot = NULL;
	if (exchange == NULL)
		return;
	http_conn_idle(conn_of(connection));
	free(exchange->target);
	free(exchange->body);
	free(exchange);
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **conn_slot,
			  enum MHD_ConnectionNotificationCode what)
{
	const struct listener *listener = arg;
	const union MHD_ConnectionInfo *info;

	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		http_conn_free(*conn_slot);
		*conn_slot = NULL;
		return;
	}
	info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (info != NULL)
		*conn_slot = http_conn_new(listener->http->watch, info->connect_fd);
}

__attribute__((format(printf, 2, 0))) static void on_log(void *arg, const char *format, va_list args)
{
	char text[256];

	(void)arg;
	vsnprintf(text, sizeof(text), format, args);
	LOG_GATED(10, LOG_WARN, "api", "http library", LF_SPAN("text", span_trim(span_of(text))));
}

/* Listeners */

int http_new(const struct router *router, const struct http_options *options, struct http **ret)
{
	static bool is_registered;
	struct http *http = calloc(1, sizeof(*http));

	if (http == NULL)
		return -ENOMEM;
	http->router = router;
	http->options = *options;
	http->watch = http_watch_new(2 * options->timeout_s, 6 * options->timeout_s);
	if (http->watch == NULL) {
		free(http);
		return -ENOMEM;
	}
	if (!is_registered)
		metrics_register(metrics, N_METRICS);
	is_registered = true;
	*ret = http;
	return 0;
}

void http_free(struct http *http)
{
	if (http == NULL)
		return;
	for (unsigned i = 0; i < http->n_listeners; i++) {
		struct listener *listener = &http->listeners[i];

		MHD_stop_daemon(listener->daemon);
		if (listener->path != NULL)
			unlink(listener->path);
		free(listener->path);
	}
	http_watch_free(http->watch);
	free(http);
}

/* Takes the descriptor. */
static int start(struct http *http, int fd_take, const char *path)
{
	struct listener *listener = &http->listeners[http->n_listeners];
	unsigned connections = http->options.connections < 2 * THREADS ? 2 * THREADS : http->options.connections;
	unsigned per_source = connections < PER_SOURCE_MAX ? connections : PER_SOURCE_MAX;

	*listener = (struct listener){ .http = http, .is_unix = path != NULL };
	if (path != NULL && (listener->path = strdup(path)) == NULL) {
		close(fd_take);
		return -ENOMEM;
	}
	listener->daemon = MHD_start_daemon(
		MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL,
		on_request, listener,
		MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
		MHD_OPTION_LISTEN_SOCKET, fd_take,
		MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS,
		MHD_OPTION_THREAD_STACK_SIZE, (size_t)THREAD_STACK,
		MHD_OPTION_CONNECTION_LIMIT, connections,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, per_source,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)http->options.timeout_s,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
		MHD_OPTION_STRICT_FOR_CLIENT, 1,
		MHD_OPTION_URI_LOG_CALLBACK, on_target, NULL,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, listener,
		MHD_OPTION_END);
	if (listener->daemon == NULL) {
		close(fd_take);
		free(listener->path);
		return -EIO;
	}
	http->n_listeners++;
	return 0;
}

int http_listen_tcp(struct http *http, const struct addr *addr)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int fd;
	int err = http_listen_open_tcp(addr, &fd);

	if (err != 0)
		return err;
	if (getsockname(fd, (struct sockaddr *)&sa, &len) == 0)
		http->tcp_port = addr_from_sockaddr((struct sockaddr *)&sa).port;
	return start(http, fd, NULL);
}

int http_listen_unix(struct http *http, const char *path)
{
	int fd;
	int err = http_listen_open_unix(path, &fd);

	if (err != 0)
		return err;
	err = start(http, fd, path);
	if (err != 0)
		unlink(path);
	return err;
}

unsigned http_tcp_port(const struct http *http)
{
	return http->tcp_port;
}
