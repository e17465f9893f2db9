/* See alg_rig.h. */
#include "tests/unit/alg_rig.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "algs/tcp_leg.h"
#include "algs/tftp/tftp.h"
#include "core/conf.h"
#include "core/err.h"
#include "core/log.h"

enum { TURNS = 400, CLASS_MAX = 3 };

/* ---- the module --------------------------------------------------------------------------------------------------------------- */

struct toy {
	const struct alg_host *host;
	struct alg_session *session;
};

static void tell(struct toy *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void tell(struct toy *t, const char *format, ...)
{
	char text[128];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	(void)t->host->reply(t->session, ALG_CLIENT, (struct alg_bytes){ text, (size_t)n });
}

static void do_hole(struct toy *t, const char *side, unsigned long port)
{
	struct alg_want want = { .listener = side[0] == 's' ? ALG_SERVER : ALG_CLIENT, .at = { .port = (uint16_t)port } };
	uint32_t hole = 0;
	int err = t->host->hole_reserve(t->session, &want, &hole);

	if (err == 0)
		tell(t, "hole %u\n", hole);
	else
		tell(t, "refused %d\n", err);
}

static void do_public(struct toy *t, uint32_t hole, const char *side)
{
	struct alg_addr at = { 0 };

	if (t->host->hole_public(t->session, hole, side[0] == 's' ? ALG_SERVER : ALG_CLIENT, &at, NULL) == 0)
		tell(t, "public %u.%u.%u.%u:%u\n", at.ip[0], at.ip[1], at.ip[2], at.ip[3], at.port);
	else
		tell(t, "public -\n");
}

static bool do_data(struct toy *t, const char *way, const char *path)
{
	bool is_up = strcmp(way, "up") == 0;
	struct alg_question q = { .verb = { is_up ? "PUT" : "GET", 3 }, .target = { path, strlen(path) }, .user = { "ann", 3 },
				  .direction = is_up ? ALG_UP : ALG_DOWN };
	struct alg_answer a;

	t->host->policy(t->session, &q, &a);
	if (!a.is_allowed)
		tell(t, "denied %u\n", a.code);
	return a.is_allowed;
}

static void do_transfer(struct toy *t, uint32_t hole, bool is_ok)
{
	const struct alg_transfer transfer = { .hole = hole, .user = { "ann", 3 }, .verb = { "GET", 3 }, .path = { "/x", 2 },
					       .direction = ALG_DOWN, .code = is_ok ? 226 : 426, .is_ok = is_ok };

	t->host->transfer(t->session, &transfer);
}

static void tell_tls(struct toy *t)
{
	if (t->host->start_tls(t->session) < 0)
		tell(t, "no tls\n");
}

static void do_meet(struct toy *t, bool is_listener, const char *name)
{
	struct alg_bytes bytes = { name, strlen(name) };
	int err = is_listener ? t->host->meet_open(t->session, bytes) : t->host->meet_join(t->session, bytes);

	if (err < 0)
		tell(t, "unmet %d\n", err);
	else if (is_listener)
		tell(t, "met\n");
}

static enum alg_verdict obey(struct toy *t, char *line)
{
	char *rest = line, *words[3] = { line, line, line };
	unsigned long n;

	for (int i = 0; i < 3 && rest != NULL; i++)
		words[i] = strsep(&rest, " ");
	n = strtoul(words[1], NULL, 10);
	if (strcmp(words[0], "hole") == 0)
		do_hole(t, words[1], strtoul(words[2], NULL, 10));
	else if (strcmp(words[0], "arm") == 0 && t->host->hole_arm(t->session, (uint32_t)n) != 0)
		tell(t, "unarmed\n");
	else if (strcmp(words[0], "free") == 0)
		t->host->hole_free(t->session, (uint32_t)n);
	else if (strcmp(words[0], "wait") == 0)
		(void)t->host->wait_for(t->session, (uint32_t)n);
	else if (strcmp(words[0], "public") == 0)
		do_public(t, (uint32_t)n, words[2]);
	else if (strcmp(words[0], "data") == 0)
		return do_data(t, words[1], words[2]) ? ALG_PASS : ALG_DROP;
	else if (strcmp(words[0], "transfer") == 0)
		do_transfer(t, (uint32_t)n, words[2][0] == 'o');
	else if (strcmp(words[0], "meet") == 0 || strcmp(words[0], "join") == 0)
		do_meet(t, words[0][0] == 'm', words[1]);
	else if (strcmp(words[0], "timer") == 0)
		t->host->timer(t->session, 3, (uint32_t)n);
	else if (strcmp(words[0], "note") == 0)
		t->host->note(t->session, "r1", "%s", words[1]);
	else if (strcmp(words[0], "ending") == 0)
		t->host->ending(t->session);
	else if (strcmp(words[0], "tls") == 0)
		tell_tls(t);
	return strcmp(words[0], "reset") == 0 ? ALG_RESET : strcmp(words[0], "drop") == 0 ? ALG_DROP :
	       strcmp(words[0], "bypass") == 0 ? ALG_BYPASS : ALG_PASS;
}

static void toy_open(void *state, const struct alg_about *about, const struct alg_host *host, struct alg_session *session)
{
	struct toy *t = state;

	CU_ASSERT_TRUE(about->is_translated);
	CU_ASSERT_EQUAL(about->client.family, 4);
	t->host = host;
	t->session = session;
}

static struct alg_result toy_bytes(void *state, enum alg_side from, struct alg_bytes bytes, bool is_end)
{
	const char *end = bytes.len > 0 ? memchr(bytes.ptr, '\n', bytes.len) : NULL;
	size_t len = end != NULL ? (size_t)(end - bytes.ptr) : 0;
	char line[200];

	(void)from;
	(void)is_end;
	if (end == NULL)
		return (struct alg_result){ ALG_NEED, 0, 0 };
	snprintf(line, sizeof(line), "%.*s", (int)len, bytes.ptr);
	return (struct alg_result){ obey(state, line), len + 1, 0 };
}

static void toy_event(void *state, const struct alg_event *event)
{
	static const char *const names[] = { [ALG_EV_OPENED] = "opened", [ALG_EV_EXPIRED] = "expired", [ALG_EV_LIMIT] = "limit" };

	if (event->type == ALG_EV_TIMER)
		tell(state, "timer %u\n", event->cookie);
	else if (event->type == ALG_EV_JOINED)
		tell(state, "joined\n");
	else if (event->type == ALG_EV_ENDED)
		tell(state, "ended %u %llu %llu\n", event->hole, (unsigned long long)event->octets[0], (unsigned long long)event->octets[1]);
	else
		tell(state, "%s %u\n", names[event->type], event->hole);
}

static const struct alg_class classes[] = { { "data", ALG_HOLE_TCP, CLASS_MAX, 5000, 10000 } };
static const struct alg_verb verbs[] = { { "GET", "read" }, { "PUT", "write" }, { NULL, NULL } };
static const struct alg_module toy_module = {
	.magic = ALG_MAGIC, .abi_major = ALG_ABI_MAJOR, .abi_minor = ALG_ABI_MINOR, .size = sizeof(struct alg_module), .name = "ftp", .version = "1",
	.default_port = 21, .classes = classes, .n_classes = 1, .verbs = verbs, .message_max = 512, .state_size = sizeof(struct toy),
	.open = toy_open, .bytes = toy_bytes, .event = toy_event,
};

const struct alg_module *alg_registry_find(struct span protocol)
{
	if (span_eq(protocol, SPAN_LIT("tftp")))
		return &tftp_module;
	return span_eq(protocol, span_of(toy_module.name)) ? &toy_module : NULL;
}

/* ---- the rig ------------------------------------------------------------------------------------------------------------------ */

static struct addr loopback(unsigned host, uint16_t port)
{
	return (struct addr){ .family = AF_INET, .ip = { 127, 0, 0, (uint8_t)host }, .port = port };
}

int alg_rig_socket(unsigned host, uint16_t port, bool is_listening)
{
	struct addr at = loopback(host, port);
	const int on = 1;
	int fd = -1;

	CU_ASSERT_EQUAL_FATAL(tcp_leg_socket(&at, &fd), 0);
	CU_ASSERT_EQUAL(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0); /* two lines, one after the other */
	if (is_listening)
		CU_ASSERT_EQUAL(listen(fd, 16), 0);
	return fd;
}

static void on_report(void *arg, const char *text)
{
	struct alg_rig *rig = arg;
	size_t len = strlen(rig->stored);

	snprintf(rig->stored + len, sizeof(rig->stored) - len, "%s\n", text);
}

/* A port that nobody has now. */
static uint16_t free_port(void)
{
	int fd = alg_rig_socket(1, 0, true);
	uint16_t port = tcp_leg_local(fd).port;

	close(fd);
	return port;
}

static const struct config *configure(const struct alg_rig *rig, const char *alg, const char *profile)
{
	struct conf_errors errors = { .file = "rig" };
	const struct config *config = NULL;
	char text[2048], server[ADDR_TEXT_MAX];

	snprintf(text, sizeof(text),
		 "database: /nowhere/p.db\napi: { socket: /nowhere/api.sock }\n"
		 "realms:\n  a: { addresses: [127.0.0.1], media_ports: 22000-22999 }\n  b: { addresses: [127.0.0.3], media_ports: 22000-22999 }\n"
		 "algs:\n  toy: { protocol: %s, realm: a, to: b, mode: explicit, ports: [%u], server: \"%s\"%s%s%s }\n%s%s%s%s",
		 rig->protocol, rig->port, addr_text(&rig->server, server), profile != NULL ? ", profile: p" : "", alg[0] != '\0' ? ", " : "", alg,
		 profile != NULL ? "profiles:\n  p:\n    default: allow\n    protocol: " : "", profile != NULL ? rig->protocol : "",
		 profile != NULL ? "\n    rules:\n" : "", profile != NULL ? profile : "");
	CU_ASSERT_EQUAL(config_parse(span_of(text), "rig", &errors, &config), 0);
	if (config == NULL)
		conf_errors_print(&errors, stdout);
	conf_errors_free(&errors);
	return config;
}

int alg_rig_datagrams(unsigned host)
{
	struct addr at = loopback(host, 0);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&at, &sa);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&sa, len), 0);
	return fd;
}

static void open_as(struct alg_rig *rig, const char *protocol, const char *alg, const char *profile)
{
	bool is_datagram = strcmp(protocol, "tftp") == 0;
	struct alg_host_deps deps;
	char text[200] = "";

	log_setup(STDERR_FILENO, LOG_TEXT, LOG_ERROR);
	memset(rig, 0, sizeof(*rig));
	CU_ASSERT_EQUAL_FATAL(loop_new(&rig->loop), 0);
	rig->pinholes = fake_pinholes_new();
	rig->store = fake_store_new(on_report, rig);
	rig->protocol = protocol;
	rig->listener = is_datagram ? alg_rig_datagrams(2) : alg_rig_socket(2, 0, true);
	rig->server = tcp_leg_local(rig->listener);
	rig->port = free_port();
	rig->config = configure(rig, alg, profile);
	CU_ASSERT_PTR_NOT_NULL_FATAL(rig->config);
	deps = (struct alg_host_deps){ .loop = rig->loop, .pinholes = rig->pinholes, .store = rig->store, .config = rig->config };
	CU_ASSERT_EQUAL_FATAL(alg_host_new(&deps, text, sizeof(text), &rig->host), 0);
}

void alg_rig_open(struct alg_rig *rig, const char *alg, const char *profile)
{
	open_as(rig, "ftp", alg, profile);
}

void alg_rig_open_tftp(struct alg_rig *rig, const char *alg, const char *profile)
{
	open_as(rig, "tftp", alg, profile);
}

void alg_rig_close(struct alg_rig *rig)
{
	alg_host_free(rig->host);
	pinholes_free(rig->pinholes);
	fake_store_free(rig->store);
	config_unref(rig->config);
	CU_ASSERT_EQUAL(fake_loop_open_handles(rig->loop), 0);
	loop_free(rig->loop);
	close(rig->listener);
}

void alg_rig_turn(struct alg_rig *rig)
{
	unsigned quiet = 0;

	for (int i = 0; i < TURNS && quiet < 3; i++) {
		quiet = fake_loop_fire_ready(rig->loop) ? 0 : quiet + 1;
		fake_loop_advance(rig->loop, 1);
	}
	CU_ASSERT_EQUAL(quiet, 3);
}

void alg_rig_pass(struct alg_rig *rig, uint64_t ms)
{
	alg_rig_turn(rig);
	fake_loop_advance(rig->loop, ms);
	alg_rig_turn(rig);
}

static int begin_to_connect(unsigned from, unsigned host, uint16_t port)
{
	struct addr to = loopback(host, port);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&to, &sa);
	int fd = alg_rig_socket(from, 0, false);

	(void)connect(fd, (struct sockaddr *)&sa, len);
	return fd;
}

int alg_rig_connect(struct alg_rig *rig, unsigned from, unsigned host, uint16_t port)
{
	int fd = begin_to_connect(from, host, port);

	alg_rig_turn(rig);
	return fd;
}

int alg_rig_dial(struct alg_rig *rig, unsigned host)
{
	return begin_to_connect(host, 1, rig->port);
}

void alg_rig_pair(struct alg_rig *rig, struct alg_pair *ret)
{
	*ret = (struct alg_pair){ .client = alg_rig_dial(rig, 5), .server = -1 };
	alg_rig_turn(rig);
	ret->server = accept4(rig->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	CU_ASSERT_FATAL(ret->server >= 0);
	alg_rig_turn(rig);
}

void alg_rig_unpair(struct alg_pair *pair)
{
	if (pair->client >= 0)
		close(pair->client);
	if (pair->server >= 0)
		close(pair->server);
	pair->client = pair->server = -1;
}

static void collect(struct alg_pair *pair, int side)
{
	int fd = side == 0 ? pair->client : pair->server;
	size_t len = strlen(pair->got[side]);
	ssize_t n = fd >= 0 ? recv(fd, pair->got[side] + len, sizeof(pair->got[side]) - len - 1, MSG_DONTWAIT) : 0;

	pair->got[side][len + (n > 0 ? (size_t)n : 0)] = '\0';
	pair->has_ended[side] |= n == 0;
	pair->is_reset[side] |= n < 0 && errno == ECONNRESET;
}

void alg_rig_say(struct alg_rig *rig, struct alg_pair *pair, char from, const char *line)
{
	int fd = from == 'c' ? pair->client : pair->server;
	char text[256];
	int n = snprintf(text, sizeof(text), "%s\n", line);

	CU_ASSERT_EQUAL(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
	alg_rig_turn(rig);
}

void alg_rig_expect(struct alg_rig *rig, struct alg_pair *pair, char at, const char *text)
{
	int side = at == 'c' ? 0 : 1;
	char expected[512];
	size_t n = 0;

	alg_rig_turn(rig);
	collect(pair, side);
	for (; text[n] != '\0' && n + 1 < sizeof(expected); n++)
		expected[n] = text[n] == '|' ? '\n' : text[n];
	expected[n] = '\0';
	if (strcmp(pair->got[side], expected) != 0)
		printf("# at %c expected \"%s\", came \"%s\"\n", at, expected, pair->got[side]);
	CU_ASSERT_STRING_EQUAL(pair->got[side], expected);
	pair->got[side][0] = '\0';
}

void alg_rig_through(struct alg_rig *rig, struct alg_pair *pair, char from, const char *line)
{
	char expected[256];

	snprintf(expected, sizeof(expected), "%s|", line);
	alg_rig_say(rig, pair, from, line);
	alg_rig_expect(rig, pair, from == 'c' ? 's' : 'c', expected);
}

/* ---- views -------------------------------------------------------------------------------------------------------------------- */

static bool newest(struct alg_rig *rig, struct alg_session_summary *ret, struct arena *arena)
{
	static const char *const states[] = { "", "ended" };
	struct alg_session_summary *list;
	bool has_more;

	for (int i = 0; i < 2; i++) {
		const struct alg_session_filter filter = { .state = span_of(states[i]), .limit = 1 };

		if (alg_sessions(rig->host, &filter, arena, &list, &has_more) == 1) {
			*ret = list[0];
			return true;
		}
	}
	return false;
}

static const char *text_of(struct alg_rig *rig, bool is_cause)
{
	static char text[80];
	struct arena *arena = arena_new(1 << 20);
	struct alg_session_summary summary;

	text[0] = '\0';
	if (newest(rig, &summary, arena))
		snprintf(text, sizeof(text), "%s", is_cause ? (summary.cause != NULL ? summary.cause : "-") : summary.state);
	arena_free(arena);
	return text;
}

const char *alg_rig_state(struct alg_rig *rig)
{
	return text_of(rig, false);
}

const char *alg_rig_cause(struct alg_rig *rig)
{
	return text_of(rig, true);
}

unsigned alg_rig_sessions(struct alg_rig *rig)
{
	struct alg_host_stats stats;

	alg_host_stats(rig->host, &stats);
	return stats.sessions;
}
