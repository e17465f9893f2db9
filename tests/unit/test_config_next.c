/* A configuration that follows another one: what takes a restart, which control channels can be taken over, whose counters go on, and
 * what has changed. */
#include <stdio.h>
#include <stdlib.h>

#include "core/conf.h"
#include "core/err.h"
#include "core/policy.h"
#include "tests/unit/config_cases.h"

#define REALMS \
	"realms:\n" \
	"  access: { addresses: [192.0.2.10], sip: [\"udp:5060\"], media_ports: 20000-20099, nat: latch }\n" \
	"  core: { addresses: [10.0.0.10], sip: [\"udp:5060\"], media_ports: 20000-20099, trust: trusted }\n"
#define PEERS "peers:\n  soft: { realm: core, uri: \"sip:10.0.0.20\" }\n"
#define FTP(more) "  files: { protocol: ftp, realm: access, to: core, servers: [10.0.0.0/24, 10.0.1.0/24], ports: [21, 2121]" more " }\n"

static const struct config *started, *running;

static void begin(const char *text)
{
	started = config_good(text);
	running = config_ref(started);
}

static void end(void)
{
	config_unref(running);
	config_unref(started);
}

static int follow(const char *text, struct conf_errors *errors, const struct config **ret)
{
	const struct config_before before = { started, running };

	return config_parse_next(span_of(text), "t", &before, errors, ret);
}

/* In force from then on. */
static void accepted(const char *text)
{
	struct conf_errors errors = { 0 };
	const struct config *next = NULL;

	CU_ASSERT_EQUAL(follow(text, &errors, &next), 0);
	conf_errors_print(&errors, stdout);
	conf_errors_free(&errors);
	CU_ASSERT_PTR_NOT_NULL_FATAL(next);
	config_unref(running);
	running = next;
}

static void refused(const char *text, const char *expected)
{
	struct conf_errors errors = { 0 };
	const struct config *next = NULL;
	char *got;

	CU_ASSERT_EQUAL(follow(text, &errors, &next), ERR_CONFIG);
	CU_ASSERT_PTR_NULL(next);
	got = config_errors_text(&errors);
	CU_ASSERT_STRING_EQUAL(got, expected);
	if (strcmp(got, expected) != 0)
		printf("# got %s# not %s", got, expected);
	free(got);
	conf_errors_free(&errors);
}

static void takes_what_may_change(void)
{
	begin(REALMS PEERS);
	accepted(REALMS PEERS);
	CU_ASSERT_EQUAL(running->revision, started->revision + 1);
	accepted("limits: { max_calls: 100 }\nlog: { level: debug, format: json }\nsip: { t1: 400ms }\n"
		 "realms:\n"
		 "  access: { addresses: [192.0.2.10], sip: [\"udp:5060\"], media_ports: 20000-20099, nat: \"off\", cps: 7, max_calls: 5, trust: trusted,\n"
		 "    pass_unknown_headers: true, media_timeout: 90s, latch_window: 1s }\n"
		 "  core: { addresses: [10.0.0.10], sip: [\"udp:5060\"], media_ports: 20000-20099, trust: trusted }\n"
		 "peers:\n  other: { realm: core, uri: \"sip:10.0.0.21\" }\n  soft: { realm: core, uri: \"sip:10.0.0.20\" }\n"
		 "routes:\n  - { from: access, to: other }\n");
	CU_ASSERT_EQUAL(running->revision, started->revision + 2);
	CU_ASSERT_EQUAL(running->realms[0].cps, 7);
	accepted("limits: { max_calls: 8192 }\n" REALMS); /* as many as at the start */
	end();
}

static void refuses_what_takes_a_restart(void)
{
	static const struct config_case cases[] = {
		{ "node: x\n" REALMS,
		  "t:1:1: /node: takes a restart: \"postern\" is in force, this is \"x\" (restart the gateway, or put back what is in force)\n" },
		{ "limits: { relay_threads: 2, max_calls: 8193 }\n" REALMS,
		  "t:1:11: /limits/relay_threads: takes a restart: 1 is in force, this is 2 (restart the gateway, or put back what is in force)\n" },
		{ "limits: { max_calls: 8193 }\n" REALMS,
		  "t:1:11: /limits/max_calls: takes a restart: more than the 8192 that there was room for at the start (restart the gateway)\n" },
		{ "api: { listen: \"127.0.0.1:8480\" }\n" REALMS,
		  "t:1:8: /api/listen: takes a restart: nothing is in force, this is \"127.0.0.1:8480\" "
		  "(restart the gateway, or put back what is in force)\n" },
		{ "media: { lifetime: 2h }\n" REALMS,
		  "t:1:10: /media/lifetime: takes a restart: \"1h\" is in force, this is \"2h\" (restart the gateway, or put back what is in force)\n" },
		{ REALMS "  third: { addresses: [10.9.0.10], media_ports: 20000-20099 }\n",
		  "t:4:3: /realms/third: takes a restart: it is new (restart the gateway, or remove it)\n" },
		{ "realms:\n"
		  "  core: { addresses: [10.0.0.10], sip: [\"udp:5060\"], media_ports: 20000-20099, trust: trusted }\n"
		  "  access: { addresses: [192.0.2.10], sip: [\"udp:5060\"], media_ports: 20000-20099, nat: latch }\n",
		  "t:1:1: /realms: takes a restart: the order is another one (restart the gateway, or keep the order)\n" },
		{ "realms:\n"
		  "  access: { addresses: [192.0.2.10], sip: [\"udp:5061\"], media_ports: 20000-20097, nat: latch, dscp: { sip: 1 } }\n",
		  "t:1:1: /realms/core: takes a restart: it is in force and not in the file (restart the gateway, or put it back)\n"
		  "t:2:38: /realms/access/sip: takes a restart: [\"udp:5060\"] is in force, this is [\"udp:5061\"] "
		  "(restart the gateway, or put back what is in force)\n"
		  "t:2:57: /realms/access/media_ports: takes a restart: \"20000-20099\" is in force, this is \"20000-20097\" "
		  "(restart the gateway, or put back what is in force)\n"
		  "t:2:103: /realms/access/dscp/sip: takes a restart: 24 is in force, this is 1 "
		  "(restart the gateway, or put back what is in force)\n" },
		/* What is wrong in itself comes first. */
		{ "node: x\n" REALMS "peers:\n  soft: { realm: nowhere, uri: \"sip:10.0.0.20\" }\n",
		  "t:6:11: /peers/soft/realm: there is no realm nowhere\n" },
	};

	begin(REALMS PEERS);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		refused(cases[i].yaml, cases[i].errors);
	end();
	begin("database: /tmp/y\n" REALMS);
	refused("database: /tmp/x\n" REALMS,
		"t:1:1: /database: takes a restart: \"/tmp/y\" is in force, this is \"/tmp/x\" (restart the gateway, or put back what is in force)\n");
	end();
}

/* The privileged helper's table is that of the start. */
static void keeps_what_is_taken_over(void)
{
	begin(REALMS "algs:\n"
	      "  cameras: { protocol: rtsp, realm: access, to: core, servers: [10.0.5.0/24] }\n" FTP(""));
	CU_ASSERT_EQUAL(started->algs[1].capture, 1);
	/* Less of it, under another name, beside one that takes nothing over. */
	accepted(REALMS "algs:\n"
		 "  new: { protocol: ftp, realm: access, to: core, servers: [10.0.1.128/25], ports: [2121] }\n"
		 "  own: { protocol: ftp, realm: access, to: core, mode: explicit, server: \"10.0.0.5:21\", ports: [2199] }\n");
	CU_ASSERT_EQUAL(running->algs[0].capture, 1);
	CU_ASSERT_EQUAL(config_alg_capture(&running->algs[0], AF_INET).port, config_alg_capture(&started->algs[1], AF_INET).port);
	/* What had gone comes back, and each gets its own place whatever the order. */
	accepted(REALMS "algs:\n" FTP(", max_sessions: 5")
		 "  cameras: { protocol: rtsp, realm: access, to: core, servers: [10.0.5.0/24] }\n");
	CU_ASSERT_EQUAL(running->algs[0].capture, 1);
	CU_ASSERT_EQUAL(running->algs[1].capture, 0);
	/* The one that kept its name gets its place, also from one that stands before it and would fit. */
	accepted(REALMS "algs:\n"
		 "  first: { protocol: ftp, realm: access, to: core, servers: [10.0.5.0/24], ports: [554] }\n"
		 "  files: { protocol: ftp, realm: access, to: core, servers: [10.0.0.0/24], ports: [21] }\n");
	CU_ASSERT_EQUAL(running->algs[0].capture, 0);
	CU_ASSERT_EQUAL(running->algs[1].capture, 1);
	end();
}

#define OR_EXPLICIT "(restart the gateway, or use mode: explicit, which takes nothing over)\n"

static void takes_nothing_more_over(void)
{
	begin(REALMS "algs:\n" FTP(""));
	refused(REALMS "algs:\n  files: { protocol: ftp, realm: access, to: core, servers: [10.0.0.0/24, 10.0.2.0/24], ports: [21, 2122] }\n",
		"t:5:75: /algs/files/servers/1: takes a restart: 10.0.2.0/24 was not taken over at the start " OR_EXPLICIT
		"t:5:101: /algs/files/ports/1: takes a restart: port 2122 was not taken over at the start " OR_EXPLICIT);
	refused(REALMS "algs:\n  files: { protocol: ftp, realm: access, to: core, servers: [10.0.0.0/16], ports: [21] }\n",
		"t:5:62: /algs/files/servers/0: takes a restart: 10.0.0.0/16 was not taken over at the start " OR_EXPLICIT);
#define NONE "takes a restart: no ALG of the start took over the same control channels that is not in use for another one " OR_EXPLICIT
	refused(REALMS "algs:\n" FTP(", mode: transparent"), "t:5:3: /algs/files: " NONE);
	refused(REALMS "algs:\n  files: { protocol: tftp, realm: access, to: core, servers: [10.0.0.0/24], ports: [21] }\n", "t:5:3: /algs/files: " NONE);
	refused(REALMS "algs:\n  files: { protocol: ftp, realm: core, to: access, servers: [192.0.2.0/24], ports: [21] }\n", "t:5:3: /algs/files: " NONE);
	/* One place is for one. */
	refused(REALMS "algs:\n"
		"  one: { protocol: ftp, realm: access, to: core, servers: [10.0.0.0/24], ports: [21] }\n"
		"  two: { protocol: ftp, realm: access, to: core, servers: [10.0.1.0/24], ports: [21] }\n", "t:6:3: /algs/two: " NONE);
	end();
}

/* Counters */

#define PROFILE "profiles:\n  p:\n    protocol: ftp\n"
#define NO_EXE "      - { name: no-exe, deny: { verb: STOR, target: \"exe$\" } }\n"
#define READ "      - { allow: { class: read } }\n"

static void ask(const struct config *config, const char *verb, const char *class, const char *target)
{
	const struct policy_question q = { .verb = span_of(verb), .class = span_of(class), .target = span_of(target) };
	struct policy_verdict verdict;

	policy_decide(config->profiles[0].policy, &q, &verdict);
}

static unsigned hits(const struct config *config, unsigned rule)
{
	struct policy_count count;

	policy_count(config->profiles[0].policy, rule, &count);
	return (unsigned)count.hits;
}

static void counts_go_on(void)
{
	const struct config *old;

	begin(REALMS PROFILE "    default: deny\n    rules:\n" NO_EXE READ);
	ask(started, "STOR", "write", "a.exe");
	ask(started, "RETR", "read", "x");
	ask(started, "RETR", "read", "x");
	ask(started, "DELE", "write", "x");
	old = config_ref(running);
	/* One rule is new, one is another one, two have moved. */
	accepted(REALMS PROFILE "    default: deny\n    rules:\n"
		 "      - { deny: { user: mallory } }\n" READ NO_EXE "      - { name: more, allow: { verb: DELE } }\n");
	CU_ASSERT_EQUAL(hits(running, 0), 0);
	CU_ASSERT_EQUAL(hits(running, 1), 2);
	CU_ASSERT_EQUAL(hits(running, 2), 1);
	CU_ASSERT_EQUAL(hits(running, 3), 0);
	CU_ASSERT_EQUAL(hits(running, 4), 1); /* the default */
	ask(old, "STOR", "write", "b.exe"); /* by a session that began before */
	CU_ASSERT_EQUAL(hits(running, 2), 2);
	CU_ASSERT_EQUAL(hits(old, 0), 2);
	config_unref(old);
	CU_ASSERT_EQUAL(hits(running, 2), 2);
	accepted(REALMS PROFILE "    default: allow\n    rules:\n      - { name: no-exe, deny: { verb: STOR, target: \"com$\" } }\n" READ);
	CU_ASSERT_EQUAL(hits(running, 0), 0);
	CU_ASSERT_EQUAL(hits(running, 1), 2);
	CU_ASSERT_EQUAL(hits(running, 2), 0);
	/* The same rules for another protocol count other things. */
	accepted(REALMS "profiles:\n  p:\n    protocol: rtsp\n    default: allow\n    rules:\n" READ);
	CU_ASSERT_EQUAL(hits(running, 0), 0);
	end();
}

/* Rules that are alike, more than the old profile has: each has one counter, and none has another's. */
static void counts_are_nobody_elses(void)
{
	begin(REALMS PROFILE "    default: deny\n    rules:\n      - { deny: { user: a }, mode: observe }\n");
	for (int i = 0; i < 3; i++)
		accepted(REALMS PROFILE "    default: deny\n    rules:\n"
			 "      - { deny: { user: a }, mode: observe }\n      - { deny: { user: a }, mode: observe }\n" READ);
	ask(running, "RETR", "read", "x");
	CU_ASSERT_EQUAL(hits(running, 2), 1);
	CU_ASSERT_EQUAL(hits(running, 0) + hits(running, 1) + hits(running, 3), 0);
	end();
}

/* A file that is refused leaves nothing behind, not even in counters. */
static void a_refused_one_leaves_nothing(void)
{
	begin(REALMS PROFILE "    default: deny\n    rules:\n" READ);
	ask(running, "RETR", "read", "x");
	refused("node: x\n" REALMS PROFILE "    default: deny\n    rules:\n" READ,
		"t:1:1: /node: takes a restart: \"postern\" is in force, this is \"x\" (restart the gateway, or put back what is in force)\n");
	ask(running, "RETR", "read", "x");
	CU_ASSERT_EQUAL(hits(running, 0), 2);
	end();
}

/* Differences */

static char diff_text[1024];

static void note(void *arg, enum config_change change, const char *pointer)
{
	size_t len = strlen(diff_text);

	(void)arg;
	snprintf(diff_text + len, sizeof(diff_text) - len, "%s %s\n", config_change_text(change), pointer);
}

static void tells_differences(void)
{
	begin(REALMS PEERS "algs:\n" FTP("") "routes:\n  - { from: access, to: soft }\n");
	accepted("log: { level: debug }\n"
		 "realms:\n"
		 "  access: { addresses: [192.0.2.10], sip: [\"udp:5060\"], media_ports: 20000-20099, nat: latch, cps: 9 }\n"
		 "  core: { addresses: [10.0.0.10], sip: [\"udp:5060\"], media_ports: 20000-20099, trust: trusted }\n"
		 "peers:\n  other: { realm: core, uri: \"sip:10.0.0.20\" }\n"
		 "algs:\n" FTP(", idle: 1h") "routes: []\n");
	diff_text[0] = '\0';
	config_diff(started, running, note, NULL);
	CU_ASSERT_STRING_EQUAL(diff_text, "changed /realms/access\nremoved /peers/soft\nadded /peers/other\nchanged /routes\n"
					  "changed /algs/files\nchanged /log\n");
	diff_text[0] = '\0';
	config_diff(running, running, note, NULL);
	CU_ASSERT_STRING_EQUAL(diff_text, "");
	end();
}

static const struct unit_test tests[] = {
	{ "what may change", takes_what_may_change },
	{ "what takes a restart", refuses_what_takes_a_restart },
	{ "control channels that were taken over", keeps_what_is_taken_over },
	{ "control channels that were not", takes_nothing_more_over },
	{ "counters of rules go on", counts_go_on },
	{ "and are nobody else's", counts_are_nobody_elses },
	{ "a refused file leaves nothing", a_refused_one_leaves_nothing },
	{ "differences", tells_differences },
};

UNIT_MAIN("config_next", tests)
