/* ALGs and profiles of the configuration: what a snapshot has of them, every fault with its position, limits. */
#include <stdio.h>
#include <stdlib.h>

#include "core/conf.h"
#include "core/policy.h"
#include "tests/unit/config_cases.h"

/* Lines 1 to 3; the cases begin in line 4. */
#define REALMS \
	"realms:\n" \
	"  access: { addresses: [192.0.2.10, \"2001:db8::10\"], sip: [\"udp:5060\"], media_ports: 20000-20099 }\n" \
	"  core: { addresses: [10.0.0.10], media_ports: 20000-20099, trust: trusted }\n"
#define ALG(members) REALMS "algs:\n  x: { " members " }\n"
#define FTP "protocol: ftp, realm: access, to: core"
#define SERVERS "servers: [10.0.0.0/24]"
#define SERVER "mode: explicit, server: \"10.0.0.5:21\", ports: [2121]"
#define PROFILE(rules) REALMS "profiles:\n  p:\n    protocol: ftp\n    default: deny\n    rules:\n" rules
#define RULE(members) PROFILE("    - { " members " }\n") /* in line 9 */

static void defaults(void)
{
	const struct config *config = config_good(ALG(FTP ", " SERVERS));
	const struct alg_conf *alg = &config->algs[0];
	char text[ADDR_TEXT_MAX];

	CU_ASSERT_EQUAL_FATAL(config->n_algs, 1);
	CU_ASSERT_EQUAL(config->n_profiles, 0);
	CU_ASSERT_EQUAL(alg->index, 0);
	CU_ASSERT_STRING_EQUAL(alg->name, "x");
	CU_ASSERT_STRING_EQUAL(alg->protocol, "ftp");
	CU_ASSERT_PTR_EQUAL(alg->realm, &config->realms[0]);
	CU_ASSERT_PTR_EQUAL(alg->to, &config->realms[1]);
	CU_ASSERT_EQUAL(alg->mode, CONFIG_ALG_NAT);
	CU_ASSERT_EQUAL(alg->n_ports, 1);
	CU_ASSERT_EQUAL(alg->ports[0], 21);
	CU_ASSERT_EQUAL(alg->n_servers, 1);
	CU_ASSERT_STRING_EQUAL(addr_ip_text(&alg->servers[0].addr, text), "10.0.0.0");
	CU_ASSERT_EQUAL(alg->servers[0].bits, 24);
	CU_ASSERT_EQUAL(alg->server.family, 0);
	CU_ASSERT_PTR_NULL(alg->policy);
	CU_ASSERT_EQUAL(alg->tls, CONFIG_ALG_TLS_REFUSE);
	CU_ASSERT_EQUAL(alg->tls_port_min, 0);
	CU_ASSERT_FALSE(alg->may_be_active);
	CU_ASSERT_EQUAL(alg->data, CONFIG_ALG_DATA_KERNEL);
	CU_ASSERT_EQUAL(alg->max_sessions, 1000);
	CU_ASSERT_EQUAL(alg->max_sessions_per_client, 50);
	CU_ASSERT_EQUAL(alg->idle_ms, 130 * 60 * 1000);
	config_unref(config);
}

static void everything_given(void)
{
	const struct config *config = config_good(
		REALMS
		"profiles:\n"
		"  q: { protocol: rtsp, default: allow }\n"
		"  p: { protocol: ftp, default: deny, mode: observe }\n"
		"algs:\n"
		"  b: { protocol: ftp, realm: core, to: access, mode: transparent, ports: [21, 2121], servers: [203.0.113.0/24, "
		"192.0.2.0/25], profile: p, tls: pass, tls_ports: 50000-50063, data: relay, max_sessions: 7, "
		"max_sessions_per_client: 3, sessions_per_s: 20, sessions_per_s_per_client: 2, idle: 30s, active: false }\n"
		"  a: { protocol: rtsp, realm: access, to: access, mode: explicit, server: \"2001:db8::5\", ports: 8554, profile: q }\n"
		"  c: { protocol: tftp, realm: core, to: core, servers: 10.0.0.7 }\n"
		"  d: { protocol: ftp, realm: core, to: core, servers: 10.0.0.7, max_sessions: 10 }\n"
		"  e: { protocol: ftp, realm: access, to: core, servers: 10.0.0.7, active: true, server_data: passive }\n");
	const struct alg_conf *algs = config->algs;
	char text[ADDR_TEXT_MAX];

	CU_ASSERT_EQUAL_FATAL(config->n_algs, 5);
	CU_ASSERT_STRING_EQUAL(algs[0].name, "b");
	CU_ASSERT_EQUAL(algs[0].mode, CONFIG_ALG_TRANSPARENT);
	CU_ASSERT_EQUAL(algs[0].n_ports, 2);
	CU_ASSERT_EQUAL(algs[0].ports[1], 2121);
	CU_ASSERT_EQUAL(algs[0].n_servers, 2);
	CU_ASSERT_EQUAL(algs[0].servers[1].bits, 25);
	CU_ASSERT_EQUAL(algs[0].tls, CONFIG_ALG_TLS_PASS);
	CU_ASSERT_EQUAL(algs[0].tls_port_min, 50000);
	CU_ASSERT_EQUAL(algs[0].tls_port_max, 50063);
	CU_ASSERT_EQUAL(algs[0].data, CONFIG_ALG_DATA_RELAY);
	CU_ASSERT_EQUAL(algs[0].max_sessions, 7);
	CU_ASSERT_EQUAL(algs[0].max_sessions_per_client, 3);
	CU_ASSERT_EQUAL(algs[0].sessions_per_s, 20);
	CU_ASSERT_EQUAL(algs[0].sessions_per_s_per_client, 2);
	CU_ASSERT_EQUAL(algs[1].sessions_per_s, 0);
	CU_ASSERT_EQUAL(algs[0].idle_ms, 30000);
	CU_ASSERT_FALSE(algs[0].may_be_active); /* although the realm is trusted */
	CU_ASSERT_FALSE(algs[0].is_server_passive);
	CU_ASSERT_PTR_EQUAL(algs[0].policy, config->profiles[1].policy);
	CU_ASSERT_STRING_EQUAL(config->profiles[1].name, "p");
	CU_ASSERT_TRUE(policy_profile(algs[0].policy)->is_observed);
	CU_ASSERT_FALSE(policy_profile(algs[0].policy)->is_default_allow);
	CU_ASSERT_TRUE(policy_profile(algs[1].policy)->is_default_allow);
	CU_ASSERT_STRING_EQUAL(policy_profile(algs[1].policy)->protocol, "rtsp");
	CU_ASSERT_EQUAL(algs[1].mode, CONFIG_ALG_EXPLICIT);
	CU_ASSERT_STRING_EQUAL(addr_text(&algs[1].server, text), "[2001:db8::5]:554");
	CU_ASSERT_EQUAL(algs[1].ports[0], 8554);
	CU_ASSERT_FALSE(algs[1].may_be_active);
	CU_ASSERT_EQUAL(algs[2].index, 2);
	CU_ASSERT_EQUAL(algs[2].ports[0], 69);
	CU_ASSERT_EQUAL(algs[2].servers[0].bits, 32);
	CU_ASSERT_FALSE(algs[2].may_be_active);
	CU_ASSERT_TRUE(algs[3].may_be_active); /* clients in a trusted realm */
	CU_ASSERT_EQUAL(algs[3].max_sessions_per_client, 10);
	CU_ASSERT_TRUE(algs[4].may_be_active);
	CU_ASSERT_TRUE(algs[4].is_server_passive);
	config_unref(config);
}

static void rules_are_kept(void)
{
	const struct config *config = config_good(PROFILE(
		"    - { name: no-exe, deny: { verb: [STOR, appe], target: \"\\\\.(exe|scr)$\" }, code: 550, text: \"no ({rule})\", log: true }\n"
		"    - { allow: { class: [read, session], direction: down, size_above: 1k, size_below: 4096 } }\n"
		"    - { allow: { verb: STOR, user: [\"dropbox-*\"], client: 10.0.0.0/8, server: [192.0.2.1, \"2001:db8::/64\"],\n"
		"        magic: 504B0304 }, max_bytes: 200M, bytes_per_s: 10M, max_per_minute: 60 }\n"
		"    - { deny: { verb: SITE }, mode: observe }\n"
		"    - { allow: {}, max_bytes: 1T }\n"));
	const struct policy_profile *profile = policy_profile(config->profiles[0].policy);
	const struct policy_rule *rules = profile->rules;

	CU_ASSERT_STRING_EQUAL(profile->name, "p");
	CU_ASSERT_EQUAL_FATAL(profile->n_rules, 5);
	CU_ASSERT_STRING_EQUAL(rules[0].name, "no-exe");
	CU_ASSERT_FALSE(rules[0].is_allow);
	CU_ASSERT_EQUAL(rules[0].n_verbs, 2);
	CU_ASSERT_STRING_EQUAL(rules[0].verbs[1], "appe");
	CU_ASSERT_STRING_EQUAL(rules[0].target_regex, "\\.(exe|scr)$");
	CU_ASSERT_EQUAL(rules[0].code, 550);
	CU_ASSERT_STRING_EQUAL(rules[0].text, "no ({rule})");
	CU_ASSERT_TRUE(rules[0].is_logged);
	CU_ASSERT_FALSE(rules[0].has_direction);
	CU_ASSERT_STRING_EQUAL(rules[1].name, "rule-2");
	CU_ASSERT_TRUE(rules[1].is_allow);
	CU_ASSERT_EQUAL(rules[1].n_classes, 2);
	CU_ASSERT_EQUAL(rules[1].n_verbs, 0);
	CU_ASSERT_TRUE(rules[1].has_direction);
	CU_ASSERT_EQUAL(rules[1].direction, POLICY_DOWN);
	CU_ASSERT_EQUAL(rules[1].size_above, 1024);
	CU_ASSERT_EQUAL(rules[1].size_below, 4096);
	CU_ASSERT_FALSE(rules[1].is_logged);
	CU_ASSERT_EQUAL(rules[2].n_clients, 1);
	CU_ASSERT_EQUAL(rules[2].clients[0].bits, 8);
	CU_ASSERT_EQUAL(rules[2].n_servers, 2);
	CU_ASSERT_EQUAL(rules[2].servers[1].bits, 64);
	CU_ASSERT_STRING_EQUAL(rules[2].magic_hex, "504B0304");
	CU_ASSERT_EQUAL(rules[2].max_bytes, 200 << 20);
	CU_ASSERT_EQUAL(rules[2].bytes_per_s, 10 << 20);
	CU_ASSERT_EQUAL(rules[2].max_per_minute, 60);
	CU_ASSERT_TRUE(rules[3].is_observed);
	CU_ASSERT_EQUAL(rules[4].max_bytes, UINT64_C(1) << 40);
	CU_ASSERT_TRUE(policy_needs_data(config->profiles[0].policy));
	config_unref(config);
}

static void bad_members_of_algs(void)
{
	static const struct config_case cases[] = {
		{ REALMS "algs: []\n", "t:4:1: /algs: expected a mapping of names, found a list\n" },
		{ REALMS "algs: { x: 5 }\n", "t:4:9: /algs/x: expected a mapping, found a number\n" },
		{ ALG("realm: access, to: core, " SERVERS),
		  "t:5:3: /algs/x: the member protocol is missing (What is spoken on the control channel.)\n" },
		{ ALG("protocol: ftps, realm: acces, to: cor, profile: q, " SERVERS),
		  "t:5:8: /algs/x/protocol: ftps is not a choice (one of: ftp, rtsp, tftp)\n"
		  "t:5:24: /algs/x/realm: there is no realm acces (did you mean access?)\n"
		  "t:5:38: /algs/x/to: there is no realm cor (did you mean core?)\n"
		  "t:5:47: /algs/x/profile: there is no profile q\n" },
		{ ALG(FTP ", ports: [0, 65536, ftp], servers: [10.0.0.1/24, 10.0.0.0/33, xy, 224.0.0.0/4]"),
		  "t:5:56: /algs/x/ports/0: the number is less than 1\n"
		  "t:5:59: /algs/x/ports/1: the number is more than 65535\n"
		  "t:5:66: /algs/x/ports/2: expected a whole number, found text (write it without quotes)\n"
		  "t:5:82: /algs/x/servers/0: not a network (zero what lies behind the prefix)\n"
		  "t:5:95: /algs/x/servers/1: not a network (zero what lies behind the prefix)\n"
		  "t:5:108: /algs/x/servers/2: not a network (write it as 10.0.0.0/24 or 2001:db8::/32)\n"
		  "t:5:112: /algs/x/servers/3: not a network of hosts\n" },
		{ ALG(FTP ", servers: [127.0.0.0/8, 0.0.0.0/0, 169.254.0.0/16, 240.0.0.0/8]"),
		  "t:5:58: /algs/x/servers/0: not a network of other hosts (use mode: explicit for servers on this machine)\n"
		  "t:5:82: /algs/x/servers/2: not a network of other hosts (use mode: explicit for servers on this machine)\n"
		  "t:5:98: /algs/x/servers/3: not a network of other hosts (use mode: explicit for servers on this machine)\n" },
		{ ALG(FTP ", " SERVERS ", ports: [21, 22, 21]"),
		  "t:5:88: /algs/x/ports/2: port 21 is listed twice (remove one of the two)\n" },
		{ ALG(FTP ", mode: explicit, server: host.example"),
		  "t:5:64: /algs/x/server: not the address of a server (write it as \"10.0.0.5:21\" or \"[2001:db8::5]:21\")\n" },
		{ ALG(FTP ", mode: explicit, server: 224.0.0.1"), "t:5:64: /algs/x/server: not the address of a host\n" },
		{ ALG(FTP ", " SERVERS ", mode: bridge, data: disk, tls: strip"),
		  "t:5:72: /algs/x/mode: bridge is not a choice (one of: nat, transparent, explicit)\n"
		  "t:5:86: /algs/x/data: disk is not a choice (one of: kernel, relay)\n"
		  "t:5:98: /algs/x/tls: strip is not a choice (one of: refuse, pass, terminate, implicit)\n" },
		{ ALG(FTP ", " SERVERS ", idle: 29s, max_sessions: 0, max_sessions_per_client: 100001"),
		  "t:5:72: /algs/x/idle: the duration, in milliseconds, is less than 30000\n"
		  "t:5:83: /algs/x/max_sessions: the number is less than 1\n"
		  "t:5:100: /algs/x/max_sessions_per_client: the number is more than 100000\n" },
		{ ALG(FTP ", " SERVERS ", sessions_per_s: -1, sessions_per_s_per_client: 100001"),
		  "t:5:72: /algs/x/sessions_per_s: the number is less than 0\n"
		  "t:5:92: /algs/x/sessions_per_s_per_client: the number is more than 100000\n" },
		{ ALG(FTP ", " SERVERS ", tls: pass, tls_ports: 50000-50064"),
		  "t:5:83: /algs/x/tls_ports: the range holds more than 64 ports "
		  "(give the servers a smaller range for passive connections)\n" },
		{ ALG(FTP ", " SERVERS ", tls: pass, tls_ports: 1000-1010"),
		  "t:5:83: /algs/x/tls_ports: the range begins below port 1024\n" },
		{ ALG(FTP ", " SERVERS ", tls: pass, tls_ports: 2001-2000"),
		  "t:5:83: /algs/x/tls_ports: the range ends before it begins (write the lower port first)\n" },
		{ ALG(FTP ", " SERVERS ", tls: pass, tls_ports: many"),
		  "t:5:83: /algs/x/tls_ports: not a range of ports (write it as 50000-50063)\n" },
		{ ALG(FTP ", " SERVERS ", servrs: 1"), "t:5:72: /algs/x/servrs: unknown member (did you mean servers?)\n" },
	};

	CONFIG_REFUSED(cases);
}

static void members_that_do_not_fit_together(void)
{
	static const struct config_case cases[] = {
		{ ALG(FTP), "t:5:3: /algs/x: the member servers is missing (write servers: and their networks)\n" },
		{ ALG(FTP ", mode: transparent, server: \"10.0.0.5:21\""),
		  "t:5:3: /algs/x: the member servers is missing (write servers: and their networks)\n"
		  "t:5:67: /algs/x/server: has no effect but in mode explicit (remove it)\n" },
		{ ALG(FTP ", mode: explicit"), "t:5:3: /algs/x: the member server is missing (write server: \"address:port\")\n" },
		{ ALG(FTP ", " SERVER ", " SERVERS), "t:5:102: /algs/x/servers: has no effect in mode explicit (remove it)\n" },
		{ ALG(FTP ", " SERVERS ", tls_ports: 50000-50001"),
		  "t:5:72: /algs/x/tls_ports: has no effect without tls: pass (remove it)\n" },
		{ ALG("protocol: rtsp, realm: access, to: core, " SERVERS ", tls: pass, tls_ports: 50000-50001, active: true"),
		  "t:5:73: /algs/x/tls: has no effect on rtsp (remove it)\n"
		  "t:5:84: /algs/x/tls_ports: has no effect on rtsp (remove it)\n"
		  "t:5:108: /algs/x/active: has no effect on rtsp (remove it)\n" },
		{ ALG("protocol: rtsp, realm: access, to: core, " SERVERS ", server_data: passive"),
		  "t:5:73: /algs/x/server_data: has no effect on rtsp (remove it)\n" },
		{ ALG(FTP ", " SERVERS ", mode: transparent, server_data: passive"),
		  "t:5:91: /algs/x/server_data: data that the gateway connects to both ends of comes from its own address, which nobody sees in "
		  "mode transparent (use mode: nat or explicit)\n" },
		{ REALMS "profiles:\n  pq: { protocol: rtsp, default: deny }\nalgs:\n  x: { " FTP ", " SERVERS ", profile: pq }\n"
			 "  y: { protocol: rtsp, realm: access, to: core, " SERVERS ", profile: pr }\n",
		  "t:7:72: /algs/x/profile: profile pq is for rtsp (make one for this protocol)\n"
		  "t:8:73: /algs/y/profile: there is no profile pr (did you mean pq?)\n" },
		{ ALG(FTP ", servers: [10.0.0.0/24, \"2001:db8::/32\"]"),
		  "t:5:71: /algs/x/servers/1: realm core has no IPv6 address (add one to the realm)\n" },
		{ ALG("protocol: ftp, realm: core, to: access, servers: \"2001:db8::/32\""),
		  "t:5:48: /algs/x/servers: realm core has no IPv6 address (add one to the realm)\n" },
		{ ALG(FTP ", mode: explicit, server: \"[2001:db8::5]:21\""),
		  "t:5:64: /algs/x/server: realm core has no IPv6 address (add one to the realm)\n" },
	};

	CONFIG_REFUSED(cases);
}

static void listeners_of_others(void)
{
	static const struct config_case cases[] = {
		{ ALG(FTP ", mode: explicit, server: 10.0.0.5, ports: [2121, 20050]"),
		  "t:5:96: /algs/x/ports/1: port 20050 lies in media_ports of realm access (move the pool or the listener)\n" },
		{ ALG("protocol: tftp, realm: access, to: core, mode: explicit, server: 10.0.0.5, ports: 5060"),
		  "t:5:83: /algs/x/ports: 192.0.2.10:5060 is a SIP listener of realm access (use another port)\n"
		  "t:5:83: /algs/x/ports: [2001:db8::10]:5060 is a SIP listener of realm access (use another port)\n" },
		{ ALG("protocol: tftp, realm: core, to: access, servers: 192.0.2.0/24, ports: 5060"),
		  "t:5:72: /algs/x/ports: 192.0.2.10:5060 is a SIP listener of realm access (use another port)\n" },
		{ ALG(FTP ", " SERVER) "api: { listen: 192.0.2.10:2121, insecure_remote: true }\n",
		  "t:5:95: /algs/x/ports/0: 192.0.2.10:2121 is the API's (use another port)\n" },
		{ ALG(FTP ", " SERVER) "api: { listen: 0.0.0.0:2121, insecure_remote: true }\n",
		  "t:5:95: /algs/x/ports/0: 192.0.2.10:2121 is the API's (use another port)\n" },
		{ ALG(FTP ", servers: 0.0.0.0/0") "api: { listen: 192.0.2.10:21, insecure_remote: true }\n",
		  "t:5:3: /algs/x: 192.0.2.10:21 is the API's (use another port)\n" },
		{ ALG(FTP ", mode: explicit, server: \"192.0.2.10:2121\", ports: 2121"),
		  "t:5:64: /algs/x/server: this is the gateway's own listener (name the server)\n" },
		{ ALG(FTP ", mode: explicit, server: \"10.0.0.10:2121\"")
		  "  y: { protocol: ftp, realm: core, to: core, mode: explicit, server: 10.0.0.5, ports: 2121 }\n",
		  "t:5:64: /algs/x/server: this is the gateway's own listener (name the server)\n" },
		{ ALG(FTP ", mode: explicit, server: \"10.0.0.10:8021\"") "api: { listen: 10.0.0.10:8021, insecure_remote: true }\n",
		  "t:5:64: /algs/x/server: this is the gateway's own listener (name the server)\n" },
		{ ALG("protocol: tftp, realm: core, to: access, mode: explicit, server: \"192.0.2.10:5060\""),
		  "t:5:65: /algs/x/server: this is the gateway's own listener (name the server)\n" },
	};

	CONFIG_REFUSED(cases);
	/* Other transports, other addresses, other ports. */
	config_unref(config_good(ALG(FTP ", mode: explicit, server: 10.0.0.5, ports: 5060")));
	config_unref(config_good(ALG(FTP ", " SERVER) "api: { listen: 127.0.0.1:2121 }\n"));
	config_unref(config_good(ALG(FTP ", mode: explicit, server: \"10.0.0.10:2121\"")));
	config_unref(config_good(ALG("protocol: tftp, realm: access, to: core, servers: 0.0.0.0/0")));
}

/* A third realm on loopback; x is the first ALG, y the second. */
static void listeners_where_captures_arrive(void)
{
#define LO "  lo: { addresses: [127.0.0.1, \"::1\"], sip: [\"udp:127.0.0.1:18500\"], media_ports: 30000-30099 }\n"
#define ON_LO(members) REALMS LO "algs:\n  x: { " FTP ", " SERVERS " }\n  y: { realm: lo, to: core, mode: explicit, " members " }\n"
#define HINT "(give that listener another port)\n"
	static const struct config_case cases[] = {
		{ ALG(FTP ", " SERVERS) "api: { listen: 127.0.0.1:18500 }\n",
		  "t:5:3: /algs/x: what it takes over arrives at 127.0.0.1:18500, where the API listens " HINT },
		{ ALG(FTP ", " SERVERS) "api: { listen: 0.0.0.0:18500, insecure_remote: true }\n",
		  "t:5:3: /algs/x: what it takes over arrives at 127.0.0.1:18500, where the API listens " HINT },
		{ ALG("protocol: ftp, realm: access, to: access, servers: [\"2001:db8:1::/48\"]") "api: { listen: \"[::1]:18500\" }\n",
		  "t:5:3: /algs/x: what it takes over arrives at [::1]:18500, where the API listens " HINT },
		{ ON_LO("protocol: rtsp, server: 10.0.0.5, ports: [8554, 18500]"),
		  "t:6:3: /algs/x: what it takes over arrives at 127.0.0.1:18500, where alg y listens " HINT },
		{ REALMS LO "algs:\n  x: { protocol: tftp, realm: access, to: core, " SERVERS " }\n",
		  "t:6:3: /algs/x: what it takes over arrives at 127.0.0.1:18500, where a SIP listener of realm lo listens " HINT },
	};

	CONFIG_REFUSED(cases);
	/* Other ports, families and transports; SIP there is no matter for TCP. */
	config_unref(config_good(ALG(FTP ", " SERVERS) "api: { listen: 127.0.0.1:18501 }\n"));
	config_unref(config_good(ALG(FTP ", " SERVERS) "api: { listen: \"[::1]:18500\" }\n"));
	config_unref(config_good(ALG("protocol: tftp, realm: access, to: core, " SERVERS) "api: { listen: 127.0.0.1:18500 }\n"));
	config_unref(config_good(ALG(FTP ", " SERVER) "api: { listen: 127.0.0.1:18500 }\n"));
	config_unref(config_good(ON_LO("protocol: tftp, server: 10.0.0.5, ports: 18501")));
}

static void two_for_the_same_channels(void)
{
#define TWO(a, b) REALMS "algs:\n  x: { " a " }\n  y: { " b " }\n"
	static const struct config_case cases[] = {
		{ TWO(FTP ", " SERVERS, FTP ", servers: 10.0.0.128/25"),
		  "t:6:3: /algs/y: alg x takes port 21 of the same servers (use other ports or other servers)\n" },
		{ TWO(FTP ", servers: 10.0.0.128/25, ports: [2121, 21]", FTP ", mode: transparent, servers: 10.0.0.0/8, ports: [20, 21]"),
		  "t:6:100: /algs/y/ports/1: alg x takes port 21 of the same servers (use other ports or other servers)\n" },
		{ TWO(FTP ", " SERVER, "protocol: rtsp, realm: access, to: core, mode: explicit, server: 10.0.0.6, ports: 2121"),
		  "t:6:83: /algs/y/ports: alg x takes port 2121 of the same servers (use other ports or other servers)\n" },
		{ TWO(FTP ", servers: 0.0.0.0/0, ports: 2121", FTP ", " SERVER),
		  "t:6:95: /algs/y/ports/0: alg x takes port 2121 of the same servers (use other ports or other servers)\n" },
		/* Either would be for clients of both families. */
		{ TWO("protocol: ftp, realm: access, to: access, mode: explicit, server: 192.0.2.5, ports: 2121",
		      "protocol: ftp, realm: access, to: access, mode: explicit, server: \"2001:db8::5\", ports: 2121"),
		  "t:6:89: /algs/y/ports: alg x takes port 2121 of the same servers (use other ports or other servers)\n" },
	};

	CONFIG_REFUSED(cases);
	config_unref(config_good(TWO(FTP ", servers: 10.0.0.0/25", FTP ", servers: 10.0.0.128/25")));
	config_unref(config_good(TWO(FTP ", " SERVERS, FTP ", " SERVERS ", ports: 2121")));
	config_unref(config_good(TWO(FTP ", " SERVERS, "protocol: ftp, realm: core, to: core, " SERVERS)));
	config_unref(config_good(TWO(FTP ", " SERVERS, "protocol: tftp, realm: access, to: core, ports: 21, " SERVERS)));
	config_unref(config_good(TWO(FTP ", " SERVERS ", ports: 2121", FTP ", " SERVER)));
}

static void bad_rules(void)
{
	static const struct config_case cases[] = {
		{ REALMS "profiles: { p: { protocol: smtp, default: maybe, mode: off } }\n",
		  "t:4:18: /profiles/p/protocol: smtp is not a choice (one of: ftp, rtsp, tftp)\n"
		  "t:4:34: /profiles/p/default: maybe is not a choice (one of: allow, deny)\n"
		  "t:4:50: /profiles/p/mode: off is not a choice (one of: enforce, observe)\n" },
		{ REALMS "profiles: { p: { protocol: ftp } }\n",
		  "t:4:13: /profiles/p: the member default is missing (What happens when no rule matches: allow or deny.)\n" },
		{ RULE("name: x"), "t:9:7: /profiles/p/rules/0: neither allow nor deny is given "
				   "(write allow: or deny: and what it shall match)\n" },
		{ RULE("allow: {}, deny: {}"), "t:9:7: /profiles/p/rules/0: allow and deny are both given (make two rules of it)\n" },
		{ RULE("allow: 5"), "t:9:9: /profiles/p/rules/0/allow: expected a mapping, found a number\n" },
		{ PROFILE("    - 5\n"), "t:9:7: /profiles/p/rules/0: expected a mapping, found a number\n" },
		{ RULE("allow: { verb: X }, code: 550, text: x"),
		  "t:9:29: /profiles/p/rules/0/code: has no effect on a rule that allows (remove it)\n"
		  "t:9:40: /profiles/p/rules/0/text: has no effect on a rule that allows (remove it)\n" },
		{ RULE("allow: { verb: X }, mode: observe"),
		  "t:9:29: /profiles/p/rules/0/mode: only a rule that denies can be observed (remove it)\n" },
		{ RULE("deny: { verb: X }, max_bytes: 1, bytes_per_s: 1, max_per_minute: 1"),
		  "t:9:28: /profiles/p/rules/0/max_bytes: has no effect on a rule that denies (remove it)\n"
		  "t:9:42: /profiles/p/rules/0/bytes_per_s: has no effect on a rule that denies (remove it)\n"
		  "t:9:58: /profiles/p/rules/0/max_per_minute: has no effect on a rule that denies (remove it)\n" },
		{ REALMS "profiles: { p: { protocol: rtsp, default: deny, rules: [\n"
		  "  { allow: { verb: PLAY }, max_bytes: 1M, bytes_per_s: 1M }] } }\n",
		  "t:5:28: /profiles/p/rules/0/max_bytes: data of rtsp is media, which rules cannot bound (remove it)\n"
		  "t:5:43: /profiles/p/rules/0/bytes_per_s: data of rtsp is media, which rules cannot bound (remove it)\n" },
		{ RULE("deny: { verb: X }, code: 226"),
		  "t:9:28: /profiles/p/rules/0/code: a refusal of ftp has a code from 400 to 599\n" },
		{ RULE("deny: { verb: X }, code: 600"), "t:9:28: /profiles/p/rules/0/code: the number is more than 599\n" },
		{ RULE("deny: { verb: X }, text: \"no {verb}, {} { {usr} {name}\""),
		  "t:9:28: /profiles/p/rules/0/text: nothing stands for {usr} (did you mean {user}?)\n" },
		{ PROFILE("    - { name: a, allow: { verb: X } }\n    - { name: a, allow: { verb: Y } }\n"),
		  "t:10:7: /profiles/p/rules/1: two rules are called a (give it another name)\n" },
		{ PROFILE("    - { name: rule-2, allow: { verb: X } }\n    - { allow: { verb: Y } }\n"),
		  "t:10:7: /profiles/p/rules/1: two rules are called rule-2 (give it another name)\n" },
		{ PROFILE("    - { deny: {}, mode: observe }\n    - { allow: {} }\n    - { deny: { verb: X } }\n"),
		  "t:11:7: /profiles/p/rules/2: never matches: rule-2 takes everything (put the narrower rule first)\n" },
		{ REALMS "profiles: { p: { protocol: tftp, default: deny, rules: [{ deny: { verb: RRQ }, code: 9 }] } }\n",
		  "t:4:80: /profiles/p/rules/0/code: a refusal of tftp has a code from 1 to 8\n" },
	};

	CONFIG_REFUSED(cases);
	config_unref(config_good(REALMS "profiles: { p: { protocol: tftp, default: deny, rules: [{ deny: { verb: RRQ }, code: 8 }] } }\n"));
}

static const char *few_verbs(const char *protocol, unsigned index)
{
	static const char *const names[] = { "RETR", "STOR", "MD5" };

	return strcmp(protocol, "ftp") == 0 && index < 3 ? names[index] : NULL;
}

static void verbs_that_a_protocol_does_not_have(void)
{
	static const struct config_case cases[] = {
		{ RULE("deny: { verb: STROE }"), "t:9:17: /profiles/p/rules/0/deny/verb: ftp has no command STROE (did you mean STOR?)\n" },
		{ RULE("allow: { verb: [retr, stro, \"A B\", Md5, PUT] }"),
		  "t:9:31: /profiles/p/rules/0/allow/verb/1: ftp has no command stro (did you mean STOR?)\n"
		  "t:9:37: /profiles/p/rules/0/allow/verb/2: not a verb (write it as in the protocol, such as STOR)\n"
		  "t:9:49: /profiles/p/rules/0/allow/verb/4: ftp has no command PUT (postern alg list --output json has them all)\n" },
	};

	config_unref(config_good(RULE("deny: { verb: [STROE, PUT] }"))); /* nobody knows better */
	config_set_verbs(few_verbs);
	CONFIG_REFUSED(cases);
	config_unref(config_good(RULE("deny: { verb: [STOR, retr, mD5] }")));
	config_unref(config_good(REALMS "profiles: { p: { protocol: tftp, default: deny, rules: [{ deny: { verb: X } }] } }\n"));
	config_set_verbs(NULL);
}

static void bad_selectors(void)
{
	static const struct config_case cases[] = {
		{ RULE("allow: { verb: [], class: [reed], verbs: X }"),
		  "t:9:18: /profiles/p/rules/0/allow/verb: the number of entries is less than 1\n"
		  "t:9:36: /profiles/p/rules/0/allow/class/0: reed is not a choice (one of: read, write, admin, session)\n"
		  "t:9:43: /profiles/p/rules/0/allow/verbs: unknown member (did you mean verb?)\n" },
		{ RULE("allow: { verb: \"A B\" }"),
		  "t:9:18: /profiles/p/rules/0/allow/verb: not a verb (write it as in the protocol, such as STOR)\n" },
		{ RULE("allow: { verb: 5, user: { a: b } }"),
		  "t:9:18: /profiles/p/rules/0/allow/verb: expected text, found a number (put the value in quotes)\n"
		  "t:9:27: /profiles/p/rules/0/allow/user: expected a list, found a mapping\n" },
		{ RULE("allow: { client: 10.0.0.1/8, server: [xy] }"),
		  "t:9:18: /profiles/p/rules/0/allow/client: not a network (zero what lies behind the prefix)\n"
		  "t:9:47: /profiles/p/rules/0/allow/server/0: not a network (write it as 10.0.0.0/24 or 2001:db8::/32)\n" },
		{ RULE("allow: { transport: udp, mime: x }"),
		  "t:9:18: /profiles/p/rules/0/allow/transport: never matches: ftp has none (remove it)\n"
		  "t:9:34: /profiles/p/rules/0/allow/mime: never matches: ftp has none (remove it)\n" },
		{ RULE("allow: { magic: 4d5 }"),
		  "t:9:18: /profiles/p/rules/0/allow/magic: not octets in hex (write two digits for each octet, such as \"4d5a\")\n" },
		{ RULE("allow: { magic: 4x }"),
		  "t:9:18: /profiles/p/rules/0/allow/magic: not octets in hex (write two digits for each octet, such as \"4d5a\")\n" },
		{ RULE("allow: { magic: 000102030405060708090a0b0c0d0e0f10 }"),
		  "t:9:18: /profiles/p/rules/0/allow/magic: the length of the text is more than 32\n" },
		{ RULE("allow: { direction: left }"),
		  "t:9:18: /profiles/p/rules/0/allow/direction: left is not a choice (one of: up, down)\n" },
		{ RULE("allow: { size_above: 0, size_below: 5x }"),
		  "t:9:18: /profiles/p/rules/0/allow/size_above: the number of octets is less than 1\n"
		  "t:9:33: /profiles/p/rules/0/allow/size_below: not a size "
		  "(write a number of octets, or one with a unit: 64k, 200M, 1G)\n" },
		{ RULE("allow: { size_above: 1k, size_below: 1025 }"),
		  "t:9:34: /profiles/p/rules/0/allow/size_below: no size is above size_above and below this\n" },
		{ RULE("allow: { verb: X }, bytes_per_s: 4G, max_bytes: 1.5G"),
		  "t:9:29: /profiles/p/rules/0/bytes_per_s: the number of octets is more than 4294967295\n"
		  "t:9:46: /profiles/p/rules/0/max_bytes: not a size "
		  "(write a number of octets, or one with a unit: 64k, 200M, 1G)\n" },
		{ PROFILE("    - { deny: { target: \"(\" } }\n    - { allow: { target: \"[z-a]\" } }\n"),
		  "t:9:17: /profiles/p/rules/0/deny/target: missing closing parenthesis at offset 1 (write a PCRE2 regular expression)\n"
		  "t:10:18: /profiles/p/rules/1/allow/target: range out of order in character class at offset 3 "
		  "(write a PCRE2 regular expression)\n" },
	};

	CONFIG_REFUSED(cases);
	config_unref(config_good(RULE("allow: { size_above: 1k, size_below: 1026 }")));
}

static void sizes(void)
{
	static const struct {
		const char *text;
		int64_t size; /* -1: refused */
	} cases[] = {
		{ "0", 0 }, { "4096", 4096 }, { "-1", -1 }, { "1.5", -1 }, { "\"10k\"", 10240 }, { "\"200M\"", 200 << 20 },
		{ "\"1G\"", 1 << 30 }, { "\"2T\"", INT64_C(2) << 40 }, { "\"1048576T\"", INT64_C(1) << 60 }, { "\"1048577T\"", -1 },
		{ "\"k\"", -1 }, { "\"10\"", -1 }, { "\"10K\"", -1 }, { "\"10kB\"", -1 }, { "\"\"", -1 }, { "\"1 k\"", -1 },
		{ "\"-1k\"", -1 }, { "true", -1 }, { "null", -1 }, { "\"10\\u0000\"", -1 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *value = json_loads(cases[i].text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		int64_t size = -1;
		int err = conf_size(value, &size);

		CU_ASSERT_EQUAL(err == 0, cases[i].size >= 0);
		CU_ASSERT_EQUAL(size, cases[i].size);
		json_decref(value);
	}
}

/* n entries of one kind. */
static char *many(const char *head, const char *entry, unsigned n)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs(head, out);
	for (unsigned i = 0; i < n; i++)
		for (const char *c = entry; *c != '\0'; c++) {
			if (*c == '#')
				fprintf(out, "%u", i + 1);
			else
				fputc(*c, out);
		}
	fclose(out);
	return text;
}

static void tables_end_at_their_limits(void)
{
	static const struct {
		const char *head, *entry, *tail;
		unsigned max;
		const char *errors;
	} cases[] = {
		{ REALMS "algs:\n", "  a#: { protocol: ftp, realm: access, to: core, servers: 10.0.0.0/24, ports: # }\n", "", CONFIG_ALGS_MAX,
		  "t:4:1: /algs: the number of entries is more than 64\n" },
		{ REALMS "profiles:\n", "  a#: { protocol: ftp, default: deny }\n", "", CONFIG_PROFILES_MAX,
		  "t:4:1: /profiles: the number of entries is more than 64\n" },
		{ PROFILE(""), "    - { deny: { verb: X# } }\n", "", POLICY_RULES_MAX,
		  "t:8:5: /profiles/p/rules: the number of entries is more than 256\n" },
		{ PROFILE("    - { deny: { verb: ["), "X#,", "x] } }\n", POLICY_VALUES_MAX - 1,
		  "t:9:17: /profiles/p/rules/0/deny/verb: the number of entries is more than 64\n" },
		{ PROFILE("    - { deny: { client: ["), "10.0.0.#,", "11.0.0.1] } }\n", POLICY_VALUES_MAX - 1,
		  "t:9:17: /profiles/p/rules/0/deny/client: the number of entries is more than 64\n" },
		{ REALMS "algs:\n  x: { " FTP ", servers: [", "10.0.0.#,", "11.0.0.1] }\n", CONFIG_ALG_SERVERS_MAX - 1,
		  "t:5:48: /algs/x/servers: the number of entries is more than 32\n" },
		{ REALMS "algs:\n  x: { " FTP ", " SERVERS ", ports: [", "#,", "99] }\n", CONFIG_ALG_PORTS_MAX - 1,
		  "t:5:72: /algs/x/ports: the number of entries is more than 8\n" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (unsigned more = 0; more < 2; more++) {
			char *body = many(cases[i].head, cases[i].entry, cases[i].max + more);
			char *text = NULL;

			CU_ASSERT_FATAL(asprintf(&text, "%s%s", body, cases[i].tail) > 0);
			if (more > 0)
				config_refused(text, cases[i].errors);
			else
				config_unref(config_good(text));
			free(body);
			free(text);
		}
	}
}

/* The part of the example that is commented out works once it is not: lines with # and no single space behind it. */
static void the_example_can_be_used(void)
{
	const char *srcdir = getenv("POSTERN_SRCDIR");
	char path[4096], line[512];
	const struct config *config;
	char *text = NULL;
	size_t len;
	FILE *in, *out = open_memstream(&text, &len);

	snprintf(path, sizeof(path), "%s/docs/examples/postern.yaml", srcdir ? srcdir : ".");
	in = fopen(path, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(in);
	while (fgets(line, sizeof(line), in) != NULL) {
		bool is_code = line[0] == '#' && (line[1] != ' ' || line[2] == ' ');

		fputs(is_code ? line + 1 : line, out);
	}
	fclose(in);
	fclose(out);
	config = config_good(text);
	CU_ASSERT_EQUAL(config->n_algs, 1);
	CU_ASSERT_EQUAL(policy_profile(config->algs[0].policy)->n_rules, 3);
	config_unref(config);
	free(text);
}

static void the_manual_page_has_what_is_new(void)
{
	static const char *const lines[] = {
		"\n.It Cm protocol : Pq ftp | rtsp | tftp, required\n",
		"\n.It Cm servers : Pq value or list, at most 32\n",
		"\n.It Cm class : Pq value or list of read | write | admin | session, at most 64\n",
		"\n.It Cm max_bytes : Pq size, 1 to 1T\n",
		"\nDenies what matches; instead of allow.\nMembers: as those of\n.Cm allow .\n.It Cm code",
		"\n.It Cm bytes_per_s : Pq size, 1 to 4294967295\n",
		"\n.It Cm paths : Pq list of xdp | tc | conntrack | nft | relay, at most 5\n",
		"target: \"\\e\\e.(exe|scr)$\"",
	};
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	config_print_man(out);
	fclose(out);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		CU_ASSERT_PTR_NOT_NULL(strstr(text, lines[i]));
	free(text);
}

static const struct unit_test tests[] = {
	{ "defaults", defaults },
	{ "everything given", everything_given },
	{ "rules are kept", rules_are_kept },
	{ "bad members of ALGs", bad_members_of_algs },
	{ "members that do not fit together", members_that_do_not_fit_together },
	{ "listeners of others", listeners_of_others },
	{ "listeners where captures arrive", listeners_where_captures_arrive },
	{ "two for the same channels", two_for_the_same_channels },
	{ "bad rules", bad_rules },
	{ "bad selectors", bad_selectors },
	{ "verbs that a protocol does not have", verbs_that_a_protocol_does_not_have },
	{ "sizes", sizes },
	{ "tables end at their limits", tables_end_at_their_limits },
	{ "the example can be used", the_example_can_be_used },
	{ "the manual page has what is new", the_manual_page_has_what_is_new },
};

UNIT_MAIN("config_algs", tests)
