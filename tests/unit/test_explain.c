/* POST /v1/explain: bodies, commands, transcripts. The profiles and ALGs are those of api_backend.h, the modules
 * the real ones. */
#include "tests/unit/api_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/conf.h"
#include "core/config.h"
#include "core/err.h"
#include "core/policy.h"
#include "tests/mock/fake_alg_host.h"
#include "tests/mock/fake_pinhole.h"

static int explain(const char *body)
{
	return rig_post("/v1/explain", body);
}

/* Bodies */

static void refuses_bodies(void)
{
	static const struct {
		const char *body, *pointer; /* of the first error, NULL: none */
	} cases[] = {
		{ "", NULL },
		{ "[]", NULL },
		{ "{\"alg\":", NULL },
		{ "{\"alg\":\"a\",\"alg\":\"b\"}", NULL },
		{ "{\"alg\":\"office-ftp\",\"verb\":\"STOR\",\"vreb\":1}", "/vreb" },
		{ "{\"alg\":\"office-ftp\",\"verb\":7}", "/verb" },
		{ "{\"alg\":\"office-ftp\",\"verb\":\"STOR\",\"size\":\"7\"}", "/size" },
		{ "{\"alg\":\"office-ftp\",\"verb\":\"STOR\",\"size\":-1}", "/size" },
		{ "{\"alg\":\"office-ftp\",\"verb\":\"STOR\",\"size\":1.5}", "/size" },
		{ "{\"alg\":\"office-ftp\",\"verb\":\"STOR\",\"client\":\"host\"}", "/client" },
		{ "{\"alg\":\"office-ftp\",\"verb\":\"STOR\",\"direction\":\"sideways\"}", "/direction" },
		{ "{\"alg\":\"office-ftp\",\"verb\":\"STOR\",\"direction\":\"\"}", "/direction" },
		{ "{\"alg\":\"office-ftp\",\"verb\":\"STOR\",\"magic\":\"4d5\"}", "/magic" },
		{ "{\"alg\":\"office-ftp\",\"verb\":\"STOR\",\"magic\":\"4g\"}", "/magic" },
		{ "{\"alg\":\"office-ftp\",\"verb\":\"STOR\",\"magic\":\"0123456789abcdef0123456789abcdef00\"}", "/magic" },
		{ "{\"verb\":\"STOR\"}", "/alg" },
		{ "{\"alg\":\"office-ftp\",\"profile\":\"partners\",\"verb\":\"STOR\"}", "/alg" },
		{ "{\"alg\":\"office-ftp\"}", "/verb" },
		{ "{\"alg\":\"office-ftp\",\"verb\":\"STOR\",\"transcript\":\"C: x\"}", "/verb" },
		{ "{\"profile\":\"partners\",\"transcript\":\"C: x\"}", "/transcript" },
		{ "{\"alg\":\"other\",\"verb\":\"STOR\"}", "/alg" },
		{ "{\"profile\":\"other\",\"verb\":\"STOR\"}", "/profile" },
	};

	rig_start();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CU_ASSERT_EQUAL(explain(cases[i].body), 400);
		CU_ASSERT_STRING_EQUAL(rig_text("type"), "/problems/bad-body");
		if (cases[i].pointer != NULL)
			CU_ASSERT_STRING_EQUAL(rig_text("errors.0.pointer"), cases[i].pointer);
	}
	CU_ASSERT_EQUAL(rig_ask("GET", "/v1/explain"), 405);
	CU_ASSERT_EQUAL(rig_ask("POST", "/v1/algs"), 405);
	rig_stop();
}

static void lists_every_fault_of_a_body(void)
{
	rig_start();
	CU_ASSERT_EQUAL(explain("{\"alg\":1,\"size\":\"x\",\"\\u001b\\u00e4\":0}"), 400);
	CU_ASSERT_EQUAL(json_array_size(rig_at("errors")), 3);
	CU_ASSERT_STRING_EQUAL(rig_text("errors.2.pointer"), "/\?\?\?");
	CU_ASSERT_PTR_NOT_NULL(strstr(rig_text("errors.2.hint"), "transcript"));
	rig_stop();
}

static void limits_texts(void)
{
	char body[8192], *at = body + snprintf(body, sizeof(body), "{\"alg\":\"office-ftp\",\"verb\":\"STOR\",\"target\":\"");

	memset(at, 'x', 4096);
	memcpy(at + 4096, "\"}", 3);
	rig_start();
	CU_ASSERT_EQUAL(explain(body), 200);
	memcpy(at + 4096, "x\"}", 4);
	CU_ASSERT_EQUAL(explain(body), 400);
	CU_ASSERT_STRING_EQUAL(rig_text("errors.0.pointer"), "/target");
	rig_stop();
}

/* Commands */

static void names_the_rule_that_denies(void)
{
	rig_start();
	CU_ASSERT_EQUAL(explain("{\"alg\":\"office-ftp\",\"verb\":\"stor\",\"target\":\"/in/x.exe\"}"), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("verdict"), "deny");
	CU_ASSERT_STRING_EQUAL(rig_text("rule"), "no-exe");
	CU_ASSERT_STRING_EQUAL(rig_text("class"), "write");
	CU_ASSERT_EQUAL(rig_number("code"), 550);
	CU_ASSERT_STRING_EQUAL(rig_text("text"), "not here (rule no-exe)");
	CU_ASSERT_EQUAL(json_array_size(rig_at("considered")), 1);
	CU_ASSERT_TRUE(json_is_true(rig_at("considered.0.matches")));
	CU_ASSERT_STRING_EQUAL(rig_text("data.path"), "none");
	rig_stop();
}

/* The first selector that keeps a rule from matching, for every rule before the one that decides. */
static void says_why_others_do_not_match(void)
{
	static const struct {
		const char *body, *verdict, *rule;
		const char *obstacles[4]; /* "": matches */
	} cases[] = {
		{ "{\"profile\":\"partners\",\"verb\":\"RETR\",\"user\":\"bob\"}", "allow", "rule-3", { "verb", "user", "" } },
		{ "{\"profile\":\"partners\",\"verb\":\"STOR\",\"target\":\"a\",\"user\":\"bob\",\"direction\":\"up\"}", "deny", "default",
		  { "target", "user", "class", "user" } },
		{ "{\"profile\":\"partners\",\"verb\":\"STOR\",\"target\":\"a\",\"user\":\"alice\"}", "deny", "default",
		  { "target", "user", "class", "direction" } },
		{ "{\"profile\":\"partners\",\"verb\":\"STOR\",\"target\":\"a\",\"user\":\"dropbox-7\",\"direction\":\"up\","
		  "\"client\":\"198.51.100.1\"}", "deny", "default", { "target", "user", "class", "client" } },
		{ "{\"profile\":\"partners\",\"verb\":\"STOR\",\"user\":\"dropbox-7\",\"direction\":\"up\",\"client\":\"192.0.2.7:99\"}",
		  "allow", "uploads", { "target", "user", "class", "" } },
		{ "{\"profile\":\"partners\",\"verb\":\"RETR\",\"user\":\"mallory\"}", "allow", "rule-3", { "verb", "", "" } },
	};

	rig_start();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CU_ASSERT_EQUAL(explain(cases[i].body), 200);
		CU_ASSERT_STRING_EQUAL(rig_text("verdict"), cases[i].verdict);
		CU_ASSERT_STRING_EQUAL(rig_text("rule"), cases[i].rule);
		for (size_t n = 0; n < 4 && cases[i].obstacles[n] != NULL; n++) {
			char path[32];

			snprintf(path, sizeof(path), "considered.%zu.obstacle", n);
			if (cases[i].obstacles[n][0] == '\0')
				CU_ASSERT_TRUE(json_is_null(rig_at(path)))
			else
				CU_ASSERT_STRING_EQUAL(rig_text(path), cases[i].obstacles[n]);
		}
	}
	CU_ASSERT_STRING_EQUAL(rig_text("would_deny"), "watch");
	rig_stop();
}

static void shows_limits_and_what_is_only_observed(void)
{
	rig_start();
	CU_ASSERT_EQUAL(explain("{\"profile\":\"capped\",\"verb\":\"STOR\"}"), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("verdict"), "allow");
	CU_ASSERT_EQUAL(explain("{\"profile\":\"capped\",\"verb\":\"DELE\"}"), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("verdict"), "allow");
	CU_ASSERT_STRING_EQUAL(rig_text("would_deny"), "rule-2");
	CU_ASSERT_EQUAL(explain("{\"profile\":\"partners\",\"verb\":\"STOR\",\"user\":\"alice\",\"direction\":\"up\","
				"\"client\":\"192.0.2.1\"}"), 200);
	CU_ASSERT_EQUAL(rig_number("limits.max_per_minute"), 60);
	CU_ASSERT_TRUE(json_is_null(rig_at("data.path")));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig_text("data.reason"), "alg"));
	rig_stop();
}

static void counts_nothing(void)
{
	struct policy_count count;

	rig_start();
	CU_ASSERT_EQUAL(explain("{\"profile\":\"capped\",\"verb\":\"STOR\"}"), 200);
	CU_ASSERT_EQUAL(explain("{\"alg\":\"office-ftp\",\"transcript\":\"C: STOR x.exe\"}"), 200);
	for (unsigned p = 0; p < 2; p++)
		for (unsigned i = 0; i <= policy_profile(fake_alg_host.config->profiles[p].policy)->n_rules; i++) {
			policy_count(fake_alg_host.config->profiles[p].policy, i, &count);
			CU_ASSERT_EQUAL(count.hits + count.would_deny, 0);
		}
	rig_stop();
}

static void allows_everything_without_a_profile(void)
{
	rig_start();
	CU_ASSERT_EQUAL(explain("{\"alg\":\"cameras\",\"verb\":\"SETUP\",\"transport\":\"udp\"}"), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("verdict"), "allow");
	CU_ASSERT_STRING_EQUAL(rig_text("rule"), "none");
	CU_ASSERT_TRUE(json_is_null(rig_at("profile")));
	CU_ASSERT_STRING_EQUAL(rig_text("data.path"), "media");
	CU_ASSERT_EQUAL(explain("{\"alg\":\"cameras\",\"verb\":\"SETUP\",\"transport\":\"interleaved\"}"), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("data.path"), "control");
	rig_stop();
}

static void tells_the_way_of_data(void)
{
	static const char body[] = "{\"alg\":\"office-ftp\",\"verb\":\"RETR\",\"direction\":\"down\"}";
	struct api_deps deps;

	rig_start();
	CU_ASSERT_EQUAL(explain(body), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("data.path"), "relay"); /* the made-up engine holds nothing with nft */
	CU_ASSERT_PTR_NOT_NULL(strstr(rig_text("data.reason"), "nft"));
	rig_stop();
	deps = *backend_deps(rig.socket_path, 0, NULL);
	deps.pinholes = NULL;
	rig_start_with(&deps);
	CU_ASSERT_EQUAL(explain(body), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("data.reason"), "there is no helper");
	rig_stop();
}

static const struct config *given_config(void *arg)
{
	return config_ref(arg);
}

/* What the host does, whatever else the configuration says: hole_way_of(). */
static void tells_the_way_of_other_kinds(void)
{
	static const char yaml[] =
		"realms:\n"
		"  a: { addresses: [192.0.2.10], media_ports: 20000-20099 }\n"
		"  b: { addresses: [10.0.0.10], media_ports: 20000-20099 }\n"
		"profiles: { small: { protocol: rtsp, default: deny, rules: [{ allow: {} }] } }\n"
		"algs:\n"
		"  phones: { protocol: tftp, realm: a, to: b, servers: 10.0.0.0/24 }\n"
		"  films: { protocol: rtsp, realm: a, to: b, servers: 10.0.0.0/24, profile: small, data: relay }\n"
		"  cameras: { protocol: rtsp, realm: a, to: b, servers: 10.0.1.0/24, mode: transparent }\n";
	static const struct {
		const char *body, *path, *reason;
	} cases[] = {
		{ "{\"alg\":\"phones\",\"verb\":\"RRQ\"}", "relay", "the process passes datagrams on" },
		{ "{\"alg\":\"films\",\"verb\":\"SETUP\"}", "media", "the media engine" },
		{ "{\"alg\":\"cameras\",\"verb\":\"SETUP\"}", "none", "nft" }, /* the made-up engine holds nothing with it */
	};
	struct api_deps deps = *backend_deps(rig.socket_path, 0, NULL);
	const struct config *config = NULL;

	CU_ASSERT_EQUAL_FATAL(config_parse(span_of(yaml), "t", &(struct conf_errors){ .n = 0 }, &config), 0);
	deps.config = given_config;
	deps.config_arg = (void *)config;
	rig_start_with(&deps);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CU_ASSERT_EQUAL(explain(cases[i].body), 200);
		CU_ASSERT_STRING_EQUAL(rig_text("data.path"), cases[i].path);
		CU_ASSERT_PTR_NOT_NULL(strstr(rig_text("data.reason"), cases[i].reason));
	}
	rig_stop();
	config_unref(config);
}

/* Transcripts */

static void plays_a_passive_transfer(void)
{
	static const char body[] =
		"{\"alg\":\"office-ftp\",\"client\":\"192.0.2.77:40000\",\"server\":\"10.0.0.5\",\"transcript\":"
		"\"S: 220 ready\\nC: PASV\\nS: 227 Entering Passive Mode (10,0,0,5,195,80)\\n\"}";

	rig_start();
	CU_ASSERT_EQUAL(explain(body), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("about.client"), "192.0.2.77:40000");
	CU_ASSERT_STRING_EQUAL(rig_text("about.server"), "10.0.0.5:21");
	CU_ASSERT_STRING_EQUAL(rig_text("about.client_sees"), "10.0.0.5:21");
	CU_ASSERT_STRING_EQUAL(rig_text("about.server_sees"), "10.0.0.10:40000");
	CU_ASSERT_EQUAL(json_array_size(rig_at("steps")), 3);
	CU_ASSERT_EQUAL(rig_number("steps.2.line"), 3);
	CU_ASSERT_STRING_EQUAL(rig_text("steps.0.to_client"), "220 ready\\r\\n");
	CU_ASSERT_TRUE(json_is_null(rig_at("steps.0.to_server")));
	CU_ASSERT_STRING_EQUAL(rig_text("steps.2.messages.0.verdict"), "pass"); /* nothing is translated in that direction */
	CU_ASSERT_EQUAL(json_array_size(rig_at("holes")), 1);
	CU_ASSERT_STRING_EQUAL(rig_text("holes.0.kind"), "tcp");
	CU_ASSERT_STRING_EQUAL(rig_text("holes.0.state"), "armed");
	CU_ASSERT_STRING_EQUAL(rig_text("holes.0.listener"), "server");
	CU_ASSERT_STRING_EQUAL(rig_text("holes.0.target"), "10.0.0.5:50000");
	CU_ASSERT_STRING_EQUAL(rig_text("holes.0.client_told"), "10.0.0.5:50000");
	CU_ASSERT_EQUAL(rig_number("holes.0.line"), 3);
	rig_stop();
}

static void plays_an_active_transfer(void)
{
	static const char body[] =
		"{\"alg\":\"office-ftp\",\"client\":\"192.0.2.77\",\"transcript\":\"S: 220 ready\\nC: USER alice\\nS: 230 in\\n"
		"C: PORT 192,0,2,77,200,10\\nS: 200 ok\\n\"}";

	rig_start();
	CU_ASSERT_EQUAL(explain(body), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("steps.3.messages.0.verdict"), "edit");
	CU_ASSERT_STRING_EQUAL(rig_text("steps.3.messages.0.before"), "PORT 192,0,2,77,200,10\\r\\n");
	CU_ASSERT_EQUAL(strncmp(rig_text("steps.3.to_server"), "PORT 10,0,0,10,", 15), 0);
	CU_ASSERT_STRING_EQUAL(rig_text("holes.0.listener"), "client");
	CU_ASSERT_STRING_EQUAL(rig_text("holes.0.target"), "192.0.2.77:51210");
	CU_ASSERT_EQUAL(strncmp(rig_text("holes.0.server_told"), "10.0.0.10:", 10), 0);
	CU_ASSERT_TRUE(json_is_null(rig_at("holes.0.client_told")));
	rig_stop();
}

static void plays_what_the_profile_denies(void)
{
	static const char body[] = "{\"alg\":\"office-ftp\",\"transcript\":\"S: 220 ready\\nC: STOR x.exe\\nC: PWD\\n\"}";

	rig_start();
	CU_ASSERT_EQUAL(explain(body), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("steps.1.messages.0.verdict"), "drop");
	CU_ASSERT_TRUE(json_is_null(rig_at("steps.1.messages.0.after")));
	CU_ASSERT_TRUE(json_is_null(rig_at("steps.1.to_server")));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig_text("steps.1.to_client"), "550 "));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig_text("steps.1.to_client"), "no-exe"));
	CU_ASSERT_STRING_EQUAL(rig_text("decisions.0.rule"), "no-exe");
	CU_ASSERT_STRING_EQUAL(rig_text("decisions.0.verdict"), "deny");
	CU_ASSERT_EQUAL(rig_number("decisions.0.line"), 2);
	CU_ASSERT_STRING_EQUAL(rig_text("steps.2.to_server"), "PWD\\r\\n");
	CU_ASSERT_EQUAL(json_array_size(rig_at("holes")), 0);
	rig_stop();
}

static void plays_media_of_an_explicit_gateway(void)
{
	static const char body[] =
		"{\"alg\":\"cameras\",\"transcript\":\"C<<EOT\\nSETUP rtsp://192.0.2.10/cam/track1 RTSP/1.0\\nCSeq: 1\\n"
		"Transport: RTP/AVP;unicast;client_port=50000-50001\\n\\nEOT\\n\"}";

	rig_start();
	CU_ASSERT_EQUAL(explain(body), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("about.server"), "10.0.0.9:554");
	CU_ASSERT_STRING_EQUAL(rig_text("about.client_sees"), "192.0.2.10:554");
	CU_ASSERT_STRING_EQUAL(rig_text("holes.0.kind"), "media");
	CU_ASSERT_TRUE(json_is_null(rig_at("holes.0.target")));
	CU_ASSERT_EQUAL(strncmp(rig_text("holes.0.server_told"), "10.0.0.10:", 10), 0);
	rig_stop();
}

static void refuses_what_cannot_be_played(void)
{
	static const struct {
		const char *transcript, *detail;
	} cases[] = {
		{ "C: NOOP\\nnonsense", "line 2: " },
		{ "# nothing", "line " },
		{ "C: NOOP\\nopened 1", "line 2: there is no such hole" },
		{ "C: NOOP\\nset client 192.0.2.1:1", "line 2: " },
		{ "C: a\\\\q", "line 1: " },
	};
	char body[512];

	rig_start();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(body, sizeof(body), "{\"alg\":\"office-ftp\",\"transcript\":\"%s\"}", cases[i].transcript);
		CU_ASSERT_EQUAL(explain(body), 400);
		CU_ASSERT_STRING_EQUAL(rig_text("errors.0.pointer"), "/transcript");
		CU_ASSERT_EQUAL(strncmp(rig_text("errors.0.detail"), cases[i].detail, strlen(cases[i].detail)), 0);
	}
	rig_stop();
}

/* What is inside of TLS is judged as in clear, and where it begins is said. */
static void rehearses_tls(void)
{
	rig_start();
	CU_ASSERT_EQUAL(explain(
		"{\"alg\":\"office-ftp\",\"client\":\"192.0.2.77\",\"transcript\":\"set tls terminate\\nS: 220 ready\\nC: AUTH TLS\\n"
		"S: 234 begin\\nC: USER alice\\nS: 230 in\\nC: STOR x.exe\"}"), 200);
	CU_ASSERT_STRING_EQUAL(rig_text("notes.0.text"), "TLS begins");
	CU_ASSERT_EQUAL(rig_number("notes.0.line"), 4);
	CU_ASSERT_FALSE(json_is_true(rig_at("is_bypassed")));
	CU_ASSERT_STRING_EQUAL(rig_text("decisions.2.verb"), "STOR");
	CU_ASSERT_STRING_EQUAL(rig_text("decisions.2.verdict"), "deny");
	rig_stop();
}

static void limits_transcripts(void)
{
	enum { LINES = 1001, LINE = 9 };
	static char body[LINES * LINE + 256];
	char *at = body + snprintf(body, sizeof(body), "{\"alg\":\"office-ftp\",\"transcript\":\"");

	for (unsigned i = 0; i < LINES; i++, at += LINE)
		memcpy(at, "C: NOOP\\n", LINE);
	memcpy(at, "\"}", 3);
	rig_start();
	CU_ASSERT_EQUAL(explain(body), 400);
	CU_ASSERT_STRING_EQUAL(rig_text("errors.0.detail"), "line 1001: there are too many lines");
	memcpy(at - LINE, "\"}", 3);
	CU_ASSERT_EQUAL(explain(body), 200);
	CU_ASSERT_EQUAL(json_array_size(rig_at("steps")), 1000);
	rig_stop();
}

static void survives_trouble(void)
{
	rig_start();
	backend.loop_error = -ETIMEDOUT;
	CU_ASSERT_EQUAL(explain("{\"profile\":\"capped\",\"verb\":\"STOR\"}"), 503);
	backend.loop_error = 0;
	rig_starve("POST", "/v1/explain", "{\"profile\":\"capped\",\"verb\":\"STOR\"}", 10);
	rig_starve("POST", "/v1/explain", "{\"alg\":\"office-ftp\",\"transcript\":\"C: PASV\\nS: 227 (10,0,0,5,195,80)\"}", 40);
	rig_stop();
}

static const struct unit_test tests[] = {
	{ "bodies are refused", refuses_bodies },
	{ "every fault of a body is listed", lists_every_fault_of_a_body },
	{ "texts have limits", limits_texts },
	{ "the rule that denies", names_the_rule_that_denies },
	{ "why others do not match", says_why_others_do_not_match },
	{ "limits and what is only observed", shows_limits_and_what_is_only_observed },
	{ "nothing is counted", counts_nothing },
	{ "without a profile everything is allowed", allows_everything_without_a_profile },
	{ "the way of data", tells_the_way_of_data },
	{ "the way of other kinds of data", tells_the_way_of_other_kinds },
	{ "a passive transfer is played", plays_a_passive_transfer },
	{ "an active transfer is played", plays_an_active_transfer },
	{ "what the profile denies is played", plays_what_the_profile_denies },
	{ "media of an explicit gateway are played", plays_media_of_an_explicit_gateway },
	{ "what cannot be played is refused", refuses_what_cannot_be_played },
	{ "transcripts with TLS", rehearses_tls },
	{ "transcripts have limits", limits_transcripts },
	{ "trouble is an answer", survives_trouble },
};

int main(int argc, char **argv)
{
	return rig_main(argc, argv, "explain", tests, sizeof(tests) / sizeof(tests[0]));
}
