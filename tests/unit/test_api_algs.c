/* What the API shows of ALGs: sessions of all protocols, transfers, listeners, profiles. On a made-up gateway. */
#include "tests/unit/api_rig.h"

#include <errno.h>
#include <stdio.h>

#include "core/err.h"
#include "core/policy.h"
#include "tests/mock/fake_alg_host.h"

static void lists_sessions_of_all_protocols(void)
{
	rig_start();
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/sessions"), 200);
	CU_ASSERT_EQUAL(json_array_size(rig_at("items")), 4);
	CU_ASSERT_TRUE(json_is_null(rig_at("next_cursor")));
	CU_ASSERT_STRING_EQUAL(rig_text("items.0.id"), FAKE_RTSP);
	CU_ASSERT_STRING_EQUAL(rig_text("items.0.protocol"), "rtsp");
	CU_ASSERT_TRUE(json_is_null(rig_at("items.0.user")));
	CU_ASSERT_STRING_EQUAL(rig_text("items.1.id"), BACKEND_CALL);
	CU_ASSERT_STRING_EQUAL(rig_text("items.1.protocol"), "sip");
	CU_ASSERT_STRING_EQUAL(rig_text("items.1.from"), "sip:alice@192.0.2.77");
	CU_ASSERT_STRING_EQUAL(rig_text("items.1.call"), "/v1/calls/" BACKEND_CALL);
	CU_ASSERT_TRUE(json_is_null(rig_at("items.1.alg")));
	CU_ASSERT_STRING_EQUAL(rig_text("items.3.id"), FAKE_FTP);
	CU_ASSERT_STRING_EQUAL(rig_text("items.3.from"), "192.0.2.77:40000");
	CU_ASSERT_STRING_EQUAL(rig_text("items.3.user"), "alice");
	CU_ASSERT_EQUAL(rig_number("items.3.n_transfers"), 3);
	CU_ASSERT_TRUE(json_is_null(rig_at("items.3.call")));
	rig_stop();
}

static void check_place(void *arg, size_t n, const json_t *item)
{
	const char *const *ids = arg;

	CU_ASSERT_FATAL(n < 4);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(item, "id")), ids[n]);
}

/* Each session is on exactly one page, in the order of one large page, whatever the size of pages is. */
static void pages_hold_both_kinds(void)
{
	const char *ids[] = { FAKE_RTSP, BACKEND_CALL, BACKEND_ENDED, FAKE_FTP };

	rig_start();
	for (unsigned limit = 1; limit <= 4; limit++)
		CU_ASSERT_EQUAL(rig_walk("/v1/sessions?", limit, check_place, ids), 4);
	rig_stop();
}

static void filters_sessions(void)
{
	static const struct {
		const char *query;
		size_t n;
		const char *first;
	} cases[] = {
		{ "protocol=sip", 2, BACKEND_CALL },
		{ "protocol=ftp", 1, FAKE_FTP },
		{ "protocol=irc", 0, NULL },
		{ "alg=cameras", 1, FAKE_RTSP },
		{ "user=alice", 1, FAKE_FTP }, /* not the call of a caller of that name */
		{ "protocol=sip&alg=cameras", 0, NULL },
		{ "state=ended", 2, FAKE_ENDED },
		{ "state=answered", 1, BACKEND_CALL },
		{ "state=open", 2, FAKE_RTSP },
		{ "realm=nowhere&protocol=ftp", 0, NULL },
	};

	rig_start();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char target[128];

		snprintf(target, sizeof(target), "/v1/sessions?%s", cases[i].query);
		CU_ASSERT_EQUAL(rig_ask("GET", target), 200);
		CU_ASSERT_EQUAL(json_array_size(rig_at("items")), cases[i].n);
		if (cases[i].n > 0)
			CU_ASSERT_STRING_EQUAL(rig_text("items.0.id"), cases[i].first);
	}
	rig_stop();
}

static void refuses_foreign_cursors(void)
{
	static const char *const cursors[] = { "x", "0198c0de-0000-7000-8000-000000000001",
					       "0123456789012345678901234567890123456789.", ".0123456789012345678901234567890123456789" };

	rig_start();
	rig_refuses_cursors("/v1/sessions", cursors, sizeof(cursors) / sizeof(cursors[0]));
	rig_stop();
}

static void shows_a_session(void)
{
	rig_start();
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/sessions/" FAKE_FTP), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("legs.client.address"), "192.0.2.77:40000");
	CU_ASSERT_STRING_EQUAL(rig_text("legs.client.gateway"), "10.0.0.5:21");
	CU_ASSERT_STRING_EQUAL(rig_text("legs.server.gateway"), "10.0.0.10:47114");
	CU_ASSERT_EQUAL(rig_number("legs.server.bytes"), 512);
	CU_ASSERT_EQUAL(rig_number("legs.client.edited"), 1);
	CU_ASSERT_STRING_EQUAL(rig_text("legs.client.tls.version"), "TLSv1.3");
	CU_ASSERT_TRUE(json_is_true(rig_at("legs.client.tls.resumed")));
	CU_ASSERT_TRUE(json_is_null(rig_at("legs.server.tls")));
	CU_ASSERT_STRING_EQUAL(rig_text("holes.0.path"), "nft");
	CU_ASSERT_TRUE(json_is_null(rig_at("holes.0.reason")));
	CU_ASSERT_EQUAL(rig_number("holes.0.bytes.server"), 1048576);
	CU_ASSERT_TRUE(json_is_null(rig_at("holes.0.media")));
	CU_ASSERT_STRING_EQUAL(rig_text("steps.0.rule"), "no-exe");
	CU_ASSERT_STRING_EQUAL(rig_text("changes.0.from"), "client");
	CU_ASSERT_STRING_EQUAL(rig_text("changes.0.verdict"), "edited");
	CU_ASSERT_STRING_EQUAL(rig_text("changes.0.before"), "PORT 192,0,2,77,200,10");
	rig_stop();
}

static void shows_media_of_a_session(void)
{
	rig_start();
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/sessions/" FAKE_RTSP), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("holes.0.kind"), "media");
	CU_ASSERT_STRING_EQUAL(rig_text("holes.0.reason"), "no kernel path");
	CU_ASSERT_EQUAL(rig_number("holes.0.media.server.lost"), 3);
	CU_ASSERT_EQUAL(rig_number("holes.0.media.server.jitter_us"), 1250);
	CU_ASSERT_TRUE(json_is_null(rig_at("holes.0.media.client.last_packet_age_ms")));
	rig_stop();
}

static void shows_a_call_as_a_session(void)
{
	rig_start();
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/sessions/" BACKEND_CALL), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("call"), "/v1/calls/" BACKEND_CALL);
	CU_ASSERT_TRUE(json_is_null(rig_at("legs")));
	CU_ASSERT_EQUAL(json_array_size(rig_at("holes")), 0);
	CU_ASSERT_STRING_EQUAL(rig_text("steps.0.rule"), "route-1");
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/sessions/other"), 404);
	rig_stop();
}

static void ends_sessions_of_both_kinds(void)
{
	rig_start();
	CU_ASSERT_EQUAL(rig_ask("DELETE", "/v1/sessions/" FAKE_FTP), 204);
	CU_ASSERT_EQUAL(rig_ask("DELETE", "/v1/sessions/" FAKE_FTP), 404);
	CU_ASSERT_EQUAL(fake_alg_host.n_ended, 1);
	CU_ASSERT_EQUAL(backend.n_hangups, 0);
	CU_ASSERT_EQUAL(rig_ask("DELETE", "/v1/sessions/" BACKEND_CALL), 204);
	CU_ASSERT_EQUAL(rig_ask("DELETE", "/v1/sessions/" BACKEND_CALL), 404);
	CU_ASSERT_EQUAL(backend.n_hangups, 1);
	rig_stop();
}

static void lists_transfers(void)
{
	rig_start();
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/transfers?since=2026-03-01T00:00:00Z&verb=stor&limit=1"), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("items.0.id"), BACKEND_TRANSFER);
	CU_ASSERT_STRING_EQUAL(rig_text("next_cursor"), "second");
	CU_ASSERT_STRING_EQUAL(rig.reply.headers[0].name, "Link");
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/transfers?cursor=second"), 200);
	CU_ASSERT_TRUE(json_is_null(rig_at("next_cursor")));
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/transfers?session=other"), 200);
	CU_ASSERT_EQUAL(json_array_size(rig_at("items")), 0);
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/transfers?cursor=third"), 400);
	CU_ASSERT_STRING_EQUAL(rig_text("errors.0.parameter"), "cursor");
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/transfers?until=yesterday"), 400);
	rig_stop();
}

static void lists_listeners(void)
{
	rig_start();
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/algs"), 200);
	CU_ASSERT_EQUAL(json_array_size(rig_at("items")), 2);
	CU_ASSERT_STRING_EQUAL(rig_text("items.0.name"), "office-ftp");
	CU_ASSERT_STRING_EQUAL(rig_text("items.0.mode"), "nat");
	CU_ASSERT_STRING_EQUAL(rig_text("items.0.servers.0"), "10.0.0.0/24");
	CU_ASSERT_TRUE(json_is_null(rig_at("items.0.server")));
	CU_ASSERT_EQUAL(rig_number("items.0.ports.0"), 21);
	CU_ASSERT_STRING_EQUAL(rig_text("items.0.profile"), "partners");
	CU_ASSERT_TRUE(json_is_true(rig_at("items.0.active")));
	CU_ASSERT_STRING_EQUAL(rig_text("items.0.certificate_expires_at"), "2030-01-01T00:00:00.000Z");
	CU_ASSERT_TRUE(json_is_null(rig_at("items.1.certificate_expires_at")));
	CU_ASSERT_TRUE(json_is_true(rig_at("items.0.listeners.0.is_open")));
	CU_ASSERT_EQUAL(rig_number("items.0.listeners.0.sessions_total"), 17);
	CU_ASSERT_STRING_EQUAL(rig_text("items.1.server"), "10.0.0.9:554");
	CU_ASSERT_TRUE(json_is_null(rig_at("items.1.profile")));
	fake_alg_host.closed = "address in use";
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/algs/office-ftp"), 200);
	CU_ASSERT_TRUE(json_is_false(rig_at("listeners.0.is_open")));
	CU_ASSERT_STRING_EQUAL(rig_text("listeners.0.reason"), "address in use");
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/algs?limit=1"), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("next_cursor"), "office-ftp");
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/algs/other"), 404);
	rig_stop();
}

static void ask_policy(const char *profile, const char *verb)
{
	struct policy_question question = { .verb = span_of(verb) };
	struct policy_verdict verdict;

	for (unsigned i = 0; i < fake_alg_host.config->n_profiles; i++)
		if (strcmp(fake_alg_host.config->profiles[i].name, profile) == 0)
			policy_decide(fake_alg_host.config->profiles[i].policy, &question, &verdict);
}

static void shows_profiles_with_their_counters(void)
{
	rig_start();
	ask_policy("partners", "DELE");
	ask_policy("partners", "DELE");
	ask_policy("capped", "DELE");
	ask_policy("capped", "STOR");
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/profiles"), 200);
	CU_ASSERT_EQUAL(json_array_size(rig_at("items")), 2);
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/profiles/partners"), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("mode"), "enforce");
	CU_ASSERT_STRING_EQUAL(rig_text("algs.0"), "office-ftp");
	CU_ASSERT_STRING_EQUAL(rig_text("default.verdict"), "deny");
	CU_ASSERT_EQUAL(rig_number("default.hits"), 2);
	CU_ASSERT_STRING_EQUAL(rig_text("rules.0.name"), "no-exe");
	CU_ASSERT_STRING_EQUAL(rig_text("rules.0.match.verb.1"), "APPE");
	CU_ASSERT_STRING_EQUAL(rig_text("rules.0.match.target"), "\\.(exe|scr)$");
	CU_ASSERT_PTR_NULL(rig_at("rules.0.match.user"));
	CU_ASSERT_EQUAL(rig_number("rules.0.code"), 550);
	CU_ASSERT_TRUE(json_is_true(rig_at("rules.1.is_observed")));
	CU_ASSERT_STRING_EQUAL(rig_text("rules.3.match.client.0"), "192.0.2.0/24");
	CU_ASSERT_STRING_EQUAL(rig_text("rules.3.match.direction"), "up");
	CU_ASSERT_EQUAL(rig_number("rules.3.limits.max_per_minute"), 60);
	CU_ASSERT_TRUE(json_is_null(rig_at("rules.3.limits.max_bytes")));
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/profiles/capped"), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("mode"), "observe");
	CU_ASSERT_EQUAL(rig_number("rules.0.hits"), 1);
	CU_ASSERT_EQUAL(rig_number("rules.1.would_deny"), 1);
	CU_ASSERT_EQUAL(rig_number("rules.1.hits"), 0);
	CU_ASSERT_EQUAL(json_array_size(rig_at("algs")), 0);
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/profiles/other"), 404);
	rig_stop();
}

/* A gateway for SIP alone. */
static void works_without_a_host(void)
{
	struct api_deps deps = *backend_deps(rig.socket_path, 0, NULL);

	deps.algs = NULL;
	rig_start_with(&deps);
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/sessions"), 200);
	CU_ASSERT_EQUAL(json_array_size(rig_at("items")), 2);
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/sessions/" FAKE_FTP), 404);
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/sessions/" BACKEND_CALL), 200);
	CU_ASSERT_EQUAL(rig_ask("DELETE", "/v1/sessions/" BACKEND_CALL), 204);
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/algs"), 200);
	CU_ASSERT_EQUAL(json_array_size(rig_at("items.0.listeners")), 0);
	CU_ASSERT_EQUAL(rig_ask("GET", "/readyz?verbose"), 200);
	rig_stop();
}

static void survives_a_stalled_loop(void)
{
	static const char *const targets[] = { "/v1/sessions", "/v1/sessions/x", "/v1/algs", "/v1/algs/x", "/v1/profiles",
					       "/v1/profiles/x" };

	rig_start();
	rig_stall(targets, sizeof(targets) / sizeof(targets[0]));
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/transfers"), 200); /* does not ask it */
	CU_ASSERT_EQUAL(rig_ask("DELETE", "/v1/sessions/" FAKE_FTP), 503);
	CU_ASSERT_EQUAL(fake_alg_host.n_ended, 0);
	rig_stop();
}

static void survives_small_memory(void)
{
	static const char *const targets[] = { "/v1/sessions", "/v1/sessions/" FAKE_FTP, "/v1/sessions/" BACKEND_CALL, "/v1/algs",
					       "/v1/profiles", "/readyz?verbose" };

	rig_start();
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
		rig_starve("GET", targets[i], NULL, 8);
	rig_stop();
}

static const struct unit_test tests[] = {
	{ "sessions of all protocols are listed", lists_sessions_of_all_protocols },
	{ "pages hold both kinds", pages_hold_both_kinds },
	{ "sessions are filtered", filters_sessions },
	{ "foreign cursors are refused", refuses_foreign_cursors },
	{ "one session in full", shows_a_session },
	{ "media of a session", shows_media_of_a_session },
	{ "a call as a session", shows_a_call_as_a_session },
	{ "sessions of both kinds are ended once", ends_sessions_of_both_kinds },
	{ "transfers", lists_transfers },
	{ "ALGs and their listeners", lists_listeners },
	{ "profiles and their counters", shows_profiles_with_their_counters },
	{ "without a host there are calls", works_without_a_host },
	{ "a stalled control loop is an answer", survives_a_stalled_loop },
	{ "out of memory is an answer", survives_small_memory },
};

int main(int argc, char **argv)
{
	return rig_main(argc, argv, "api-algs", tests, sizeof(tests) / sizeof(tests[0]));
}
