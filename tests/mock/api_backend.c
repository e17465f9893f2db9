/* See api_backend.h. */
#include "tests/mock/api_backend.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/arena.h"
#include "core/conf.h"
#include "core/config.h"
#include "core/err.h"
#include "core/loop.h"
#include "db/store.h"
#include "sbc/b2bua.h"
#include "tests/mock/fake_alg_host.h"
#include "tests/mock/fake_pinhole.h"

struct backend backend;

static const struct config *config;

/* core/loop.h */

int loop_call(struct loop *loop, void (*fn)(void *arg), void *arg, unsigned timeout_ms)
{
	(void)loop;
	(void)timeout_ms;
	if (backend.loop_error != 0)
		return backend.loop_error;
	fn(arg);
	return 0;
}

int64_t loop_wall_ms(const struct loop *loop)
{
	(void)loop;
	return 1772366400000; /* 2026-03-01T12:00:00Z */
}

/* sbc/b2bua.h */

static const struct call_summary summaries[] = {
	{
		.id = BACKEND_CALL, .state = "answered", .from_realm = "access", .to_realm = "core",
		.to_peer = "softswitch", .from_uri = "sip:alice@192.0.2.77",
		.to_uri = "sip:+4930123@192.0.2.10", .call_id = "a-call-id",
		.started_ms = 1772366300000, .answered_ms = 1772366303250, .status = 200,
	},
	{
		.id = BACKEND_ENDED, .state = "ended", .from_realm = "access", .from_uri = "sip:\x1b[31mmallory\xff@h",
		.to_uri = "sip:x@h", .call_id = "b", .started_ms = 1772366200000, .ended_ms = 1772366200100,
		.status = 404, .cause = "no-route",
	},
};
enum { N_SUMMARIES = sizeof(summaries) / sizeof(summaries[0]) };

unsigned b2bua_calls(struct b2bua *b2bua, const struct call_filter *filter, struct arena *arena,
		     struct call_summary **ret, bool *ret_more)
{
	struct call_summary *calls = arena_alloc(arena, sizeof(summaries));
	unsigned from = 0, n = 0;

	(void)b2bua;
	*ret = calls;
	*ret_more = false;
	for (unsigned i = 0; i < N_SUMMARIES && !span_is_empty(filter->after); i++) {
		if (span_eq(filter->after, span_of(summaries[i].id)))
			from = i + 1;
	}
	for (unsigned i = from; i < N_SUMMARIES && calls != NULL; i++) {
		if (!span_is_empty(filter->state) && !span_eq(filter->state, span_of(summaries[i].state)))
			continue;
		if (n == filter->limit) {
			*ret_more = true;
			break;
		}
		calls[n++] = summaries[i];
	}
	return n;
}

static struct addr address(const char *text)
{
	struct addr addr = { 0 };

	(void)addr_parse(span_of(text), &addr);
	return addr;
}

static struct call_stream_view *make_stream(struct arena *arena)
{
	struct call_stream_view *stream = arena_alloc(arena, sizeof(*stream));

	if (stream == NULL)
		return NULL;
	stream->kind = "audio";
	stream->format = "RTP/AVP 8 101";
	stream->side[0] = (struct media_stats){
		.packets = 4850, .bytes = 834200, .sent = 4850, .lost = 3, .jitter_us = 1250, .dropped_source = 2,
		.dropped_early = 1, .last_packet_age_ms = 12, .local = address("192.0.2.10:20000"),
		.signalled = address("10.9.9.9:4000"), .latched = address("192.0.2.77:40000"), .latch = LATCH_LOCKED,
		.path = MEDIA_PATH_RELAY, .path_reason = "no kernel path",
	};
	stream->side[1] = (struct media_stats){
		.last_packet_age_ms = UINT64_MAX, .local = address("10.0.0.10:20000"),
		.signalled = address("10.0.0.20:30000"), .latch = LATCH_OPEN, .path = MEDIA_PATH_NONE,
	};
	return stream;
}

static struct call_message *make_messages(struct arena *arena)
{
	static const struct {
		char leg;
		bool is_out;
		const char *text;
	} flow[] = {
		{ 'a', false, "INVITE sip:+4930123@192.0.2.10 SIP/2.0\r\nVia: ...\r\n\r\n" },
		{ 'b', true, "INVITE sip:+4930123@10.0.0.20 SIP/2.0\r\n\r\n" },
		{ 'b', false, "SIP/2.0 200 OK\r\n\r\n" },
		{ 'a', true, "SIP/2.0 200 OK\r\n\r\n" },
	};
	struct call_message *messages = arena_alloc(arena, 4 * sizeof(*messages));

	for (unsigned i = 0; messages != NULL && i < 4; i++) {
		messages[i] = (struct call_message){
			.at_ms = 1772366300000 + i * 10, .leg = flow[i].leg, .is_out = flow[i].is_out,
			.text = flow[i].text,
			.local = address(flow[i].leg == 'a' ? "192.0.2.10:5060" : "10.0.0.10:5060"),
			.remote = address(flow[i].leg == 'a' ? "192.0.2.77:5060" : "10.0.0.20:5060"),
		};
	}
	return messages;
}

int b2bua_call(struct b2bua *b2bua, struct span id, struct arena *arena, struct call_view *ret)
{
	struct call_step *step = arena_alloc(arena, sizeof(*step));

	(void)b2bua;
	if (!span_eq(id, span_of(BACKEND_CALL)) || backend.n_hangups > 0)
		return ERR_NOT_FOUND;
	*ret = (struct call_view){ .summary = summaries[0], .messages_lost = 2 };
	ret->leg[0] = (struct call_leg_view){
		.realm = "access", .call_id = "a-call-id", .local_tag = "l1", .remote_tag = "r1",
		.from = "<sip:alice@192.0.2.77>", .to = "<sip:+4930123@192.0.2.10>",
		.request_uri = "sip:+4930123@192.0.2.10", .user_agent = "phone/1",
		.local = address("192.0.2.10:5060"), .remote = address("192.0.2.77:5060"),
		.sdp_received = "v=0\r\nc=IN IP4 10.9.9.9\r\n", .sdp_sent = "v=0\r\nc=IN IP4 192.0.2.10\r\n",
	};
	ret->leg[1] = (struct call_leg_view){
		.realm = "core", .peer = "softswitch", .call_id = "own", .local = address("10.0.0.10:5060"),
		.remote = address("10.0.0.20:5060"),
	};
	ret->streams = make_stream(arena);
	ret->messages = make_messages(arena);
	if (step == NULL || ret->streams == NULL || ret->messages == NULL)
		return ERR_LIMIT;
	*step = (struct call_step){ 1772366300000, "route-1", "takes peer softswitch" };
	ret->steps = step;
	ret->n_steps = ret->n_streams = 1;
	ret->n_messages = 4;
	return 0;
}

int b2bua_hangup(struct b2bua *b2bua, struct span id)
{
	(void)b2bua;
	if (!span_eq(id, span_of(BACKEND_CALL)) || backend.n_hangups > 0)
		return ERR_NOT_FOUND;
	backend.n_hangups++;
	return 0;
}

void b2bua_stats(const struct b2bua *b2bua, struct b2bua_stats *ret)
{
	(void)b2bua;
	*ret = (struct b2bua_stats){ .calls_active = 1, .calls_max = 1000, .is_draining = backend.is_draining };
	ret->realm_active[0] = 1;
	ret->peer_calls[1] = 17;
	ret->peer_failures[1] = 2;
}

/* media-relay/media.h */

unsigned media_pool_stats(const struct media_engine *engine, const struct realm_conf *realm,
			  struct media_pool_stats *out, unsigned max)
{
	(void)engine;
	if (max == 0)
		return 0;
	out[0] = (struct media_pool_stats){ realm->addresses[0], realm->media_port_min, realm->media_port_max,
					    5000, 2, 1 };
	return 1;
}

const char *media_path_text(enum media_path path)
{
	return path == MEDIA_PATH_RELAY ? "relay" : "none";
}

const char *latch_state_text(enum latch_state state)
{
	return state == LATCH_LOCKED ? "locked" : state == LATCH_OPEN ? "open" : "closed";
}

/* pinhole/pinhole.h */

static void ignore_event(void *arg, struct pinhole *pinhole, enum pinhole_event event)
{
	(void)arg;
	(void)pinhole;
	(void)event;
}

static struct pinhole *open_pinhole(const char *owner, unsigned realm_in, const char *const addresses[4])
{
	struct pinhole_spec spec = { .proto = IPPROTO_UDP, .realm_in = realm_in, .realm_out = !realm_in, .lifetime_s = 600 };
	struct pinhole *pinhole = NULL;

	snprintf(spec.owner, sizeof(spec.owner), "%s", owner);
	spec.source = address(addresses[0]);
	spec.listen = address(addresses[1]);
	spec.from = address(addresses[2]);
	spec.target = address(addresses[3]);
	if (pinhole_open(backend.pinholes, &spec, 1, ignore_event, NULL, &pinhole) != 0)
		abort();
	return pinhole;
}

static void make_pinholes(void)
{
	static const char *const there[] = { "192.0.2.77:40000", "192.0.2.10:20000", "10.0.0.10:20000", "10.0.0.20:30000" };
	static const char *const back[] = { "10.0.0.20:30000", "10.0.0.10:20000", "192.0.2.10:20000", "192.0.2.77:40000" };
	static const char *const older[] = { "192.0.2.78:40000", "192.0.2.10:20002", "10.0.0.10:20002", "10.0.0.20:30002" };
	struct slot_stats stats = { .packets = 4845, .bytes = 833340, .lost = 3, .dropped_rate = 4, .dropped_format = 1,
				    .jitter_us = 1250, .is_active = 1, .has_rtp = 1 };
	struct pinhole *pinhole;

	backend.pinholes = fake_pinholes_new();
	if (backend.pinholes == NULL)
		abort();
	pinhole = open_pinhole(BACKEND_CALL, 0, there);
	fake_pinhole_fire(pinhole, PINHOLE_EV_ARMED);
	fake_pinhole_fire(pinhole, PINHOLE_EV_BOUND);
	fake_pinhole_set_stats(pinhole, &stats);
	(void)open_pinhole(BACKEND_CALL, 1, back);
	pinhole = open_pinhole(BACKEND_ENDED, 0, older);
	fake_pinhole_set_path(pinhole, PINHOLE_CONNTRACK, "no BPF");
	fake_pinhole_fire(pinhole, PINHOLE_EV_ARMED);
}

/* db/store.h */

void store_stats(const struct store *store, struct store_stats *ret)
{
	(void)store;
	*ret = (struct store_stats){ .cdrs_written = 3, .is_failing = backend.is_store_failing };
}

int store_reader_open(const char *path, struct store_reader **ret)
{
	(void)path;
	*ret = (struct store_reader *)&backend;
	return 0;
}

void store_reader_close(struct store_reader *reader)
{
	(void)reader;
}

static const char cdr_text[] =
	"{\"id\":\"" BACKEND_CDR "\",\"node\":\"edge-1\",\"config_revision\":1,"
	"\"started_at\":\"2026-03-01T11:00:00.000Z\",\"ringing_at\":null,"
	"\"answered_at\":\"2026-03-01T11:00:02.000Z\",\"ended_at\":\"2026-03-01T11:01:02.000Z\","
	"\"duration_ms\":60000,\"setup_ms\":2000,\"status\":200,"
	"\"ended_by\":\"caller\",\"cause\":\"normal\",\"reason\":null,\"legs\":{"
	"\"a\":{\"realm\":\"access\",\"peer\":null,\"call_id\":\"a\",\"local_tag\":\"l\",\"remote_tag\":\"r\","
	"\"from_uri\":\"sip:alice@h\",\"to_uri\":\"sip:bob@h\",\"request_uri\":\"sip:bob@h\","
	"\"signalling\":\"192.0.2.77:5060\",\"user_agent\":null},"
	"\"b\":{\"realm\":\"core\",\"peer\":\"softswitch\",\"call_id\":\"b\",\"local_tag\":\"l\",\"remote_tag\":\"r\","
	"\"from_uri\":null,\"to_uri\":null,\"request_uri\":null,"
	"\"signalling\":\"10.0.0.20:5060\",\"user_agent\":null}},"
	"\"streams\":[{\"index\":0,\"side\":\"a\",\"kind\":\"audio\",\"local\":\"192.0.2.10:20000\","
	"\"signalled\":\"\",\"latched\":\"\",\"path\":\"relay\",\"packets\":3000,\"bytes\":516000,\"lost\":1,"
	"\"dropped\":0,\"rtcp_packets\":12,\"jitter_us\":900}],"
	"\"decision\":[{\"at_ms\":1772362800000,\"rule\":\"route-1\",\"text\":\"takes peer softswitch\"}]}";

int cdr_list(struct store_reader *reader, const struct cdr_filter *filter, cdr_row_fn *fn, void *arg, char *next_cursor,
	     size_t next_cursor_size)
{
	(void)reader;
	if (!span_is_empty(filter->cursor) && !span_eq(filter->cursor, SPAN_LIT("second")))
		return ERR_PARSE;
	fn(arg, span_of(cdr_text));
	snprintf(next_cursor, next_cursor_size, "%s", span_is_empty(filter->cursor) ? "second" : "");
	return 0;
}

int cdr_get(struct store_reader *reader, struct span id, cdr_row_fn *fn, void *arg)
{
	(void)reader;
	if (!span_eq(id, span_of(BACKEND_CDR)))
		return ERR_NOT_FOUND;
	fn(arg, span_of(cdr_text));
	return 0;
}

static const char transfer_text[] =
	"{\"id\":\"" BACKEND_TRANSFER "\",\"session\":\"" FAKE_FTP "\",\"node\":\"edge-1\",\"alg\":\"office-ftp\","
	"\"protocol\":\"ftp\",\"client\":\"192.0.2.77:40000\",\"server\":\"10.0.0.5:21\","
	"\"data\":\"192.0.2.77:40001 10.0.0.5:50000\",\"user\":\"alice\",\"verb\":\"STOR\",\"path\":\"/in/a\\u001b.pdf\","
	"\"direction\":\"up\",\"started_at\":\"2026-03-01T11:58:24.000Z\",\"ended_at\":\"2026-03-01T11:58:25.250Z\","
	"\"duration_ms\":1250,\"bytes\":4096,\"code\":226,\"is_ok\":true,\"data_path\":\"nft\",\"rule\":\"uploads\","
	"\"cause\":null}";

int transfer_list(struct store_reader *reader, const struct transfer_filter *filter, cdr_row_fn *fn, void *arg, char *next_cursor,
		  size_t next_cursor_size)
{
	(void)reader;
	if (!span_is_empty(filter->cursor) && !span_eq(filter->cursor, SPAN_LIT("second")))
		return ERR_PARSE;
	if (span_is_empty(filter->session) || span_eq(filter->session, SPAN_LIT(FAKE_FTP)))
		fn(arg, span_of(transfer_text));
	snprintf(next_cursor, next_cursor_size, "%s", filter->limit == 1 && span_is_empty(filter->cursor) ? "second" : "");
	return 0;
}

/* The configuration file: revision 3 is in force; it is 4 after the first reload that does not fail. */

static struct api_change changes[] = { { "/algs/office-ftp", "changed" }, { "/peers/new\x1b", "added" } };
static struct api_fault faults[] = {
	{ "/algs/x/port", "is not known\x1b[31m", "did you mean ports?", 12, 5 },
	{ "", "cannot be read", NULL, 0, 0 },
};

static int config_status(void *arg, struct arena *arena, struct api_config *ret)
{
	bool is_failed = backend.reload_error == ERR_CONFIG && backend.n_reloads > 0;

	(void)arg;
	*ret = (struct api_config){
		.revision = backend.n_reloads > 0 && backend.reload_error == 0 ? 4 : 3, .file = "/etc/postern/postern.yaml", .by = "SIGHUP",
		.loaded_ms = 1772366400000, .reloads_ok = 2, .reloads_failed = 1, .changes = changes, .n_changes = 2,
	};
	if (is_failed) {
		ret->failed_by = "api";
		ret->failed_ms = 1772366401000;
		ret->is_last_failed = true;
		ret->faults = faults;
		ret->n_faults = 2;
	}
	return arena_alloc(arena, 1) != NULL ? 0 : ERR_LIMIT;
}

static int config_reload(void *arg, bool is_check, struct arena *arena, struct api_config *ret)
{
	backend.n_reloads += !is_check;
	backend.n_checks += is_check;
	(void)config_status(arg, arena, ret);
	ret->faults = faults;
	ret->n_faults = 2;
	if (backend.reload_error == 0 && arena_is_exhausted(arena))
		return ERR_LIMIT;
	return backend.reload_error;
}

/* Dependencies */

static const struct config *get_config(void *arg)
{
	(void)arg;
	((struct config *)config)->media.needs_kernel = backend.needs_kernel;
	return config_ref(config);
}

const struct api_deps *backend_deps(const char *socket_path, unsigned tcp_port, const char *token_file)
{
	static struct api_deps deps = {
		.config = get_config, .store = (struct store *)&backend, .store_path = "made up",
		.reload = { config_reload, config_status, NULL },
	};
	static const char *const yaml =
		"node: edge-1\n"
		"database: /tmp/unused.db\n"
		"api:\n"
		"  connections: 64\n"
		"%s%s%s"
		"realms:\n"
		"  access: { addresses: [192.0.2.10], sip: [\"udp:5060\"], media_ports: 20000-29999, trust: untrusted, "
		"nat: latch }\n"
		"  core: { addresses: [10.0.0.10], sip: [\"udp:5060\"], media_ports: 20000-29999, trust: trusted }\n"
		"peers:\n"
		"  backup: { realm: core, uri: \"sip:10.0.0.21:5060\" }\n"
		"  softswitch: { realm: core, uri: \"sip:10.0.0.20:5060\" }\n"
		"routes:\n"
		"  - { from: access, to: softswitch }\n"
		"algs:\n"
		"  office-ftp: { protocol: ftp, realm: access, to: core, servers: [10.0.0.0/24], profile: partners, "
		"active: true }\n"
		"  cameras: { protocol: rtsp, realm: access, to: core, mode: explicit, server: \"10.0.0.9:554\" }\n"
		"profiles:\n"
		"  partners:\n"
		"    protocol: ftp\n"
		"    default: deny\n"
		"    rules:\n"
		"    - { name: no-exe, deny: { verb: [STOR, APPE], target: \"\\\\.(exe|scr)$\" }, code: 550, "
		"text: \"not here (rule {rule})\" }\n"
		"    - { name: watch, deny: { user: mallory }, mode: observe }\n"
		"    - { allow: { class: [read, session] } }\n"
		"    - { name: uploads, allow: { verb: STOR, user: [\"dropbox-*\", alice], direction: up, client: 192.0.2.0/24 }, "
		"max_per_minute: 60 }\n"
		"  capped:\n"
		"    protocol: ftp\n"
		"    mode: observe\n"
		"    default: allow\n"
		"    rules:\n"
		"    - { allow: { verb: STOR }, max_bytes: 1M }\n"
		"    - { deny: { verb: DELE } }\n";
	struct conf_errors errors = { 0 };
	char text[4096], listen[64] = "", socket_line[256] = "", token_line[256] = "";

	if (tcp_port != 0)
		snprintf(listen, sizeof(listen), "  listen: \"127.0.0.1:%u\"\n", tcp_port);
	if (socket_path != NULL)
		snprintf(socket_line, sizeof(socket_line), "  socket: %s\n", socket_path);
	if (token_file != NULL)
		snprintf(token_line, sizeof(token_line), "  token_file: %s\n", token_file);
	snprintf(text, sizeof(text), yaml, listen, socket_line, token_line);
	backend_fini();
	backend = (struct backend){ 0 };
	make_pinholes();
	deps.pinholes = backend.pinholes;
	deps.algs = fake_alg_host_engine();
	if (config_parse(span_of(text), "backend.yaml", &errors, &config) != 0) {
		conf_errors_print(&errors, stderr);
		abort();
	}
	conf_errors_free(&errors);
	fake_alg_host = (struct fake_alg_host){ .config = config };
	return &deps;
}

void backend_fini(void)
{
	config_unref(config);
	config = NULL;
	pinholes_free(backend.pinholes);
	backend.pinholes = NULL;
}
