/* The configuration file: the example, defaults, every semantic check with its position, limits. */
#include "core/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/conf.h"
#include "tests/unit/config_cases.h"

/* A complete file in four parts, so that a case changes one of them. */
#define REALMS \
	"realms:\n" \
	"  access: { addresses: [192.0.2.10], sip: [\"udp:5060\"], media_ports: 20000-20099, nat: latch }\n" \
	"  core: { addresses: [10.0.0.10], sip: [\"udp:5060\"], media_ports: 20000-20099, trust: trusted }\n"
#define PEERS "peers:\n  soft: { realm: core, uri: \"sip:10.0.0.20\" }\n"
#define ROUTES "routes:\n  - { from: access, to: soft }\n"

static void example_loads(void)
{
	const char *srcdir = getenv("POSTERN_SRCDIR");
	struct conf_errors errors = { 0 };
	const struct config *config = NULL;
	char path[4096], text[ADDR_TEXT_MAX];

	snprintf(path, sizeof(path), "%s/docs/examples/postern.yaml", srcdir ? srcdir : ".");
	CU_ASSERT_EQUAL_FATAL(config_load(path, &errors, &config), 0);
	conf_errors_print(&errors, stdout);
	CU_ASSERT_STRING_EQUAL(config->node, "edge-1");
	CU_ASSERT_EQUAL(config->n_realms, 2);
	CU_ASSERT_EQUAL(config->realms[0].n_listens, 2);
	CU_ASSERT_STRING_EQUAL(addr_text(&config->realms[0].listens[1].addr, text), "[2001:db8::10]:5060");
	CU_ASSERT_EQUAL(config->realms[1].n_listens, 2);
	CU_ASSERT_EQUAL(config->realms[0].cps, 50);
	CU_ASSERT_EQUAL(config->n_peers, 2);
	CU_ASSERT_EQUAL(config->peers[1].n_targets, 2);
	CU_ASSERT_EQUAL(config->n_routes, 3);
	CU_ASSERT_EQUAL(config->routes[0].code, 403);
	CU_ASSERT_STRING_EQUAL(config->routes[1].add, "+49");
	CU_ASSERT_EQUAL(config->sip.max_call_s, 12 * 3600);
	CU_ASSERT_EQUAL(config->api.listen.port, 8480);
	config_unref(config);
	conf_errors_free(&errors);
}

static void defaults_work(void)
{
	const struct config *config = config_good(REALMS);
	const struct realm_conf *realm = &config->realms[0];

	CU_ASSERT_STRING_EQUAL(config->node, "postern");
	CU_ASSERT_STRING_EQUAL(config->database, POSTERN_STATEDIR "/postern.db");
	CU_ASSERT_EQUAL(config->sip.t1_ms, 500);
	CU_ASSERT_EQUAL(config->sip.t2_ms, 4000);
	CU_ASSERT_EQUAL(config->sip.t4_ms, 5000);
	CU_ASSERT_EQUAL(config->sip.ring_timeout_ms, 180000);
	CU_ASSERT_EQUAL(config->sip.max_call_s, 24 * 3600);
	CU_ASSERT_EQUAL(config->limits.max_calls, 8192);
	CU_ASSERT_EQUAL(config->limits.relay_threads, 1);
	CU_ASSERT_EQUAL(config->limits.port_quarantine_ms, 5000);
	CU_ASSERT_EQUAL(config->limits.trace_bytes, 8 << 20);
	CU_ASSERT_EQUAL(config->media.n_paths, 4);
	CU_ASSERT_EQUAL(config->media.paths[0], CONFIG_PATH_XDP);
	CU_ASSERT_EQUAL(config->media.paths[1], CONFIG_PATH_TC);
	CU_ASSERT_EQUAL(config->media.paths[2], CONFIG_PATH_CONNTRACK);
	CU_ASSERT_EQUAL(config->media.paths[3], CONFIG_PATH_RELAY);
	CU_ASSERT_FALSE(config->media.needs_kernel);
	CU_ASSERT_FALSE(config->media.is_firewall_closed);
	CU_ASSERT_STRING_EQUAL(config->media.state_dir, POSTERN_RUNDIR);
	CU_ASSERT_EQUAL(config->media.lifetime_s, 3600);
	CU_ASSERT_EQUAL(realm->max_calls, 4096);
	CU_ASSERT_EQUAL(realm->cps, 0);
	CU_ASSERT_EQUAL(realm->media_timeout_s, 60);
	CU_ASSERT_EQUAL(realm->latch_window_ms, 3000);
	CU_ASSERT_EQUAL(realm->dscp_sip, 24);
	CU_ASSERT_EQUAL(realm->dscp_media, 46);
	CU_ASSERT_EQUAL(realm->nat, NAT_LATCH);
	CU_ASSERT_EQUAL(config->realms[1].nat, NAT_OFF);
	CU_ASSERT_EQUAL(realm->trust, TRUST_UNTRUSTED);
	CU_ASSERT_EQUAL(config->realms[1].trust, TRUST_TRUSTED);
	CU_ASSERT_EQUAL(realm->media_port_min, 20000);
	CU_ASSERT_EQUAL(realm->media_port_max, 20099);
	CU_ASSERT_PTR_NULL(realm->interface);
	CU_ASSERT_EQUAL(config->api.listen.family, 0);
	CU_ASSERT_PTR_NULL(config->api.socket);
	CU_ASSERT_EQUAL(config->api.connections, 64);
	CU_ASSERT_EQUAL(config->api.timeout_s, 30);
	CU_ASSERT_STRING_EQUAL(config->log.level, "info");
	CU_ASSERT_FALSE(config->log.json);
	config_unref(config);
}

static void routes_keep_order_and_get_names(void)
{
	const struct config *config = config_good(
		REALMS PEERS
		"routes:\n"
		"  - { from: core, prefix: \"00\", deny: 404 }\n"
		"  - { name: zulu, from: core, regex: \"^0\", strip: 1, add: \"+49\", to: soft }\n"
		"  - { from: access, to: soft }\n");

	CU_ASSERT_EQUAL_FATAL(config->n_routes, 3);
	CU_ASSERT_STRING_EQUAL(config->routes[0].name, "route-1");
	CU_ASSERT_STRING_EQUAL(config->routes[0].prefix, "00");
	CU_ASSERT_PTR_NULL(config->routes[0].to);
	CU_ASSERT_EQUAL(config->routes[0].code, 404);
	CU_ASSERT_STRING_EQUAL(config->routes[1].name, "zulu");
	CU_ASSERT_STRING_EQUAL(config->routes[1].regex, "^0");
	CU_ASSERT_EQUAL(config->routes[1].strip, 1);
	CU_ASSERT_PTR_EQUAL(config->routes[1].to, &config->peers[0]);
	CU_ASSERT_PTR_EQUAL(config->routes[2].from, &config->realms[0]);
	CU_ASSERT_PTR_EQUAL(config->peers[0].realm, &config->realms[1]);
	CU_ASSERT_EQUAL(config->peers[0].targets[0].addr.port, 5060);
	CU_ASSERT_STRING_EQUAL(config->peers[0].targets[0].uri, "sip:10.0.0.20");
	config_unref(config);
}

static const struct peer_conf *peer_at(const struct config *config, unsigned realm, const char *ip)
{
	struct addr addr;

	CU_ASSERT_EQUAL_FATAL(addr_parse_ip(span_of(ip), &addr), 0);
	addr.port = 33333;
	return config_peer_of(config, &config->realms[realm], &addr);
}

static void names_and_sources_are_found(void)
{
	const struct config *config = config_good(
		REALMS
		"peers:\n"
		"  zeta: { realm: core, uris: [\"sip:10.0.0.9:5070\", \"sip:10.0.0.3\"] }\n"
		"  beta: { realm: core, uri: \"sip:10.0.0.9:5080\" }\n"
		"  out: { realm: access, uri: \"sip:10.0.0.4;transport=udp\" }\n");

	CU_ASSERT_PTR_EQUAL(config_realm(config, SPAN_LIT("core")), &config->realms[1]);
	CU_ASSERT_PTR_NULL(config_realm(config, SPAN_LIT("cor")));
	CU_ASSERT_PTR_EQUAL(config_peer(config, SPAN_LIT("beta")), &config->peers[1]);
	CU_ASSERT_PTR_NULL(config_peer(config, SPAN_NONE));
	CU_ASSERT_PTR_EQUAL(peer_at(config, 1, "10.0.0.9"), &config->peers[0]); /* the first in the file */
	CU_ASSERT_PTR_EQUAL(peer_at(config, 1, "10.0.0.3"), &config->peers[0]);
	CU_ASSERT_PTR_EQUAL(peer_at(config, 0, "10.0.0.4"), &config->peers[2]);
	CU_ASSERT_PTR_NULL(peer_at(config, 1, "10.0.0.4"));
	CU_ASSERT_PTR_NULL(peer_at(config, 0, "2001:db8::1"));
	config_unref(config);
}

static void references_count_and_revisions_rise(void)
{
	const struct config *a = config_good(REALMS);
	const struct config *b = config_good(REALMS);

	CU_ASSERT_TRUE(b->revision > a->revision);
	CU_ASSERT_PTR_EQUAL(config_ref(a), a);
	config_unref(a);
	CU_ASSERT_STRING_EQUAL(a->realms[0].name, "access");
	config_unref(a);
	config_unref(b);
	config_unref(NULL);
}

#define ONE_REALM(members) "realms:\n  a: { " members " }\n"
#define ADDRS "addresses: [192.0.2.1]"
#define SIP "sip: [\"udp:5060\"]"
#define PORTS "media_ports: 20000-20099"

static void bad_realms(void)
{
	static const struct config_case cases[] = {
		{ "node: x\n", "t:1:1: the member realms is missing (The sides of the gateway.)\n" },
		{ "realms: {}\n", "t:1:1: /realms: the number of entries is less than 1\n" },
		{ ONE_REALM(ADDRS ", " SIP ", " PORTS ", nat: latched"),
		  "t:2:77: /realms/a/nat: latched is not a choice (one of: off, latch)\n" },
		{ ONE_REALM(ADDRS ", " SIP ", media_ports: 80-4000"),
		  "t:2:51: /realms/a/media_ports: the pool begins below port 1024\n" },
		{ ONE_REALM(ADDRS ", " SIP ", media_ports: 3000-2000"),
		  "t:2:51: /realms/a/media_ports: the pool ends before it begins (write the lower port first)\n" },
		{ ONE_REALM(ADDRS ", " SIP ", media_ports: 2001-2005"), NULL },
		{ ONE_REALM(ADDRS ", " SIP ", media_ports: 2001-2004"),
		  "t:2:51: /realms/a/media_ports: the pool holds fewer than 2 pairs "
		  "(a pair is an even port and the next one)\n" },
		{ ONE_REALM(ADDRS ", " SIP ", media_ports: 20000-70000"),
		  "t:2:51: /realms/a/media_ports: not a range of ports (write it as 20000-29999)\n" },
		{ ONE_REALM(ADDRS ", " SIP ", media_ports: 5000-6000"),
		  "t:2:51: /realms/a/media_ports: the pool contains the SIP port 5060 "
		  "(move the pool or the listener)\n" },
		{ ONE_REALM("addresses: [192.0.2.1, 192.0.2.1], " SIP ", " PORTS),
		  "t:2:31: /realms/a/addresses/1: 192.0.2.1 is listed twice (remove one of the two)\n" },
		{ ONE_REALM("addresses: [0.0.0.0, 224.0.0.1, example.net], " SIP ", " PORTS),
		  "t:2:20: /realms/a/addresses/0: the unspecified address cannot be used (name each address)\n"
		  "t:2:29: /realms/a/addresses/1: not a usable host address\n"
		  "t:2:40: /realms/a/addresses/2: not an IP address "
		  "(write it as 192.0.2.10 or 2001:db8::10, without port)\n" },
		{ ONE_REALM(ADDRS ", sip: [\"udp:5060\", \"udp:192.0.2.1:5060\"], " PORTS),
		  "t:2:50: /realms/a/sip/1: listens on 192.0.2.1:5060 twice (remove one of the two)\n" },
		{ ONE_REALM(ADDRS ", sip: [\"udp:192.0.2.2:5060\"], " PORTS),
		  "t:2:38: /realms/a/sip/0: 192.0.2.2 is not an address of this realm (add it to addresses)\n" },
		{ ONE_REALM(ADDRS ", sip: [\"tcp:5060\", udp, \"udp:0\"], " PORTS),
		  "t:2:38: /realms/a/sip/0: only UDP listeners are supported (use udp:)\n"
		  "t:2:50: /realms/a/sip/1: not a SIP listener (write \"udp:5060\" or \"udp:192.0.2.10:5060\")\n"
		  "t:2:55: /realms/a/sip/2: not a SIP listener (write \"udp:5060\" or \"udp:192.0.2.10:5060\")\n" },
		{ "realms:\n  a: { " ADDRS ", " SIP ", " PORTS " }\n  b: { " ADDRS ", " SIP ", " PORTS " }\n",
		  "t:3:20: /realms/b/addresses/0: 192.0.2.1 is already an address of realm a "
		  "(an address belongs to one realm)\n" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (cases[i].errors != NULL)
			config_refused(cases[i].yaml, cases[i].errors);
		else
			config_unref(config_good(cases[i].yaml)); /* just inside the limit */
	}
}

/* A side without SIP is fine, unless something relies on it. */
static void realms_without_sip(void)
{
	static const struct config_case cases[] = {
		{ ONE_REALM(ADDRS ", " PORTS) "peers:\n  p: { realm: a, uri: \"sip:10.0.0.2\" }\nroutes:\n  - { from: a, to: p }\n",
		  "t:4:8: /peers/p/realm: realm a has no SIP listener (add sip to the realm)\n"
		  "t:6:7: /routes/0/from: no call comes in: realm a has no SIP listener (add sip to the realm)\n" },
		{ ONE_REALM(ADDRS ", sip: [], " PORTS) "routes:\n  - { from: a, deny: 403 }\n",
		  "t:4:7: /routes/0/from: no call comes in: realm a has no SIP listener (add sip to the realm)\n" },
		{ ONE_REALM(ADDRS ", sip: [\"tcp:1\"], " PORTS) "routes:\n  - { from: a, deny: 403 }\n",
		  "t:2:38: /realms/a/sip/0: only UDP listeners are supported (use udp:)\n" },
	};
	const struct config *config;

	CONFIG_REFUSED(cases);
	config = config_good(ONE_REALM(ADDRS ", " PORTS));
	CU_ASSERT_EQUAL(config->realms[0].n_listens, 0);
	config_unref(config);
}

static void bad_peers(void)
{
	static const struct config_case cases[] = {
		{ REALMS "peers:\n  p: { realm: cor, uri: \"sip:10.0.0.20\" }\n",
		  "t:5:8: /peers/p/realm: there is no realm cor (did you mean core?)\n" },
		{ REALMS "peers:\n  p: { realm: core }\n",
		  "t:5:3: /peers/p: the member uri is missing (write uri: \"sip:address:port\")\n" },
		{ REALMS "peers:\n  p: { realm: core, uri: \"sip:10.0.0.2\", uris: [\"sip:10.0.0.2\"] }\n",
		  "t:5:3: /peers/p: uri and uris are both given (put all targets into uris)\n" },
		{ REALMS "peers:\n  p: { realm: core, uris: [\"sip:host.example\", \"sips:10.0.0.2\", \"10.0.0.2\", "
			 "\"sip:10.0.0.2;transport=tcp\", \"sip:10.0.0.2:0\", \"sip:0.0.0.0\"] }\n",
		  "t:5:28: /peers/p/uris/0: host names are not looked up (write an IP address)\n"
		  "t:5:48: /peers/p/uris/1: only sip: over UDP is supported (write sip:address:port)\n"
		  "t:5:65: /peers/p/uris/2: not the SIP URI of a next hop (write it as \"sip:10.0.0.20:5060\")\n"
		  "t:5:77: /peers/p/uris/3: only sip: over UDP is supported (write sip:address:port)\n"
		  "t:5:107: /peers/p/uris/4: not the SIP URI of a next hop (write it as \"sip:10.0.0.20:5060\")\n"
		  "t:5:125: /peers/p/uris/5: not the address of a host\n" },
		{ REALMS "peers:\n  p: { realm: core, uri: \"sip:10.0.0.10:5060\" }\n",
		  "t:5:21: /peers/p/uri: this is the gateway's own listener (name the next hop)\n" },
		{ REALMS "peers:\n  p: { realm: core, uri: \"sip:[2001:db8::2]\" }\n",
		  "t:5:21: /peers/p/uri: realm core has no IPv6 address (add one to the realm)\n" },
		{ REALMS "peers:\n  p: { realm: core, uris: [\"sip:10.0.0.2\", \"sip:10.0.0.2:5060\"] }\n",
		  "t:5:44: /peers/p/uris/1: the same target twice (remove one of the two)\n" },
		{ REALMS "peers:\n  P: { realm: core, uri: \"sip:10.0.0.2\" }\n",
		  "t:5:3: /peers/P: not a valid name (use a-z, 0-9, - and _, at most 63)\n" },
	};

	CONFIG_REFUSED(cases);
}

static void bad_routes(void)
{
	static const struct config_case cases[] = {
		{ REALMS PEERS "routes:\n  - { from: acces, to: sofd }\n",
		  "t:7:7: /routes/0/from: there is no realm acces (did you mean access?)\n"
		  "t:7:20: /routes/0/to: there is no peer sofd (did you mean soft?)\n" },
		{ REALMS PEERS "routes:\n  - { from: access }\n",
		  "t:7:5: /routes/0: the member to is missing (write to: and a peer, or deny: 403)\n" },
		{ REALMS PEERS "routes:\n  - { from: access, to: soft, deny: 403 }\n",
		  "t:7:5: /routes/0: to and deny are both given (remove one of the two)\n" },
		{ REALMS PEERS "routes:\n  - { from: access, regex: \"(\", to: soft }\n  - { from: access, regex: \"[z-a]\", to: soft }\n",
		  "t:7:21: /routes/0/regex: missing closing parenthesis at offset 1 (write a PCRE2 regular expression)\n"
		  "t:8:21: /routes/1/regex: range out of order in character class at offset 3 (write a PCRE2 regular expression)\n" },
		{ REALMS PEERS "routes:\n  - { from: access, to: soft, prefix: \"1\", regex: \"2\" }\n",
		  "t:7:5: /routes/0: prefix and regex are both given (remove one of the two)\n" },
		{ REALMS PEERS "routes:\n  - { from: access, deny: 403, strip: 2 }\n",
		  "t:7:5: /routes/0: strip and add have no effect on a refused call (remove it)\n" },
		{ REALMS PEERS "routes:\n  - { from: access, deny: 200 }\n",
		  "t:7:21: /routes/0/deny: the number is less than 400\n" },
		{ REALMS PEERS "routes:\n  - { from: access, to: soft, add: \"1@evil\" }\n",
		  "t:7:31: /routes/0/add: the character @ is not allowed here (use digits, letters and + mostly)\n" },
		{ REALMS PEERS ROUTES "  - { from: access, prefix: \"1\", deny: 403 }\n",
		  "t:8:5: /routes/1: never matches: route-1 (route 1) takes all its calls "
		  "(put the narrower route first)\n" },
		{ REALMS PEERS "routes:\n  - { name: x, from: access, prefix: \"12\", to: soft }\n"
			       "  - { from: core, prefix: \"12\", to: soft }\n"
			       "  - { from: access, prefix: \"123\", to: soft }\n",
		  "t:9:5: /routes/2: never matches: x (route 1) takes all its calls (put the narrower route first)\n" },
		{ REALMS PEERS "routes:\n  - { name: x, from: access, to: soft }\n  - { name: x, from: core, to: soft }\n",
		  "t:8:5: /routes/1: two routes are called x (give it another name)\n" },
	};

	CONFIG_REFUSED(cases);
	config_unref(config_good(REALMS PEERS "routes:\n  - { from: access, prefix: \"12\", to: soft }\n"
					"  - { from: access, regex: \"^12\", to: soft }\n"
					"  - { from: access, prefix: \"1\", to: soft }\n"
					"  - { from: access, to: soft }\n"));
}

static void bad_rest(void)
{
	static const struct config_case cases[] = {
		{ REALMS "aliens: {}\n", "t:4:1: /aliens: unknown member\n" },
		{ REALMS "route: []\n", "t:4:1: /route: unknown member (did you mean routes?)\n" },
		{ REALMS "database: postern.db\n", "t:4:1: /database: the path is relative (begin it with /)\n" },
		{ REALMS "api: { socket: api.sock, token_file: t }\n",
		  "t:4:8: /api/socket: the path is relative (begin it with /)\n"
		  "t:4:26: /api/token_file: the length of the text is less than 2\n" },
		{ REALMS "api: { listen: 192.0.2.10:8480 }\n",
		  "t:4:8: /api/listen: plain HTTP beyond loopback "
		  "(use 127.0.0.1 behind a TLS proxy, or set api.insecure_remote: true)\n" },
		{ REALMS "api: { listen: 8480 }\n",
		  "t:4:8: /api/listen: expected text, found a number (put the value in quotes)\n" },
		{ REALMS "sip: { t1: 5s, t2: 4s }\n", "t:4:8: /sip/t1: t1 is longer than t2\n" },
		{ REALMS "sip: { ring_timeout: 180, max_call: 1500ms }\n",
		  "t:4:8: /sip/ring_timeout: not a duration (write a number and a unit: 500ms, 32s, 5m or 2h)\n"
		  "t:4:27: /sip/max_call: not a whole number of seconds\n" },
		{ REALMS "limits: { relay_threads: 65 }\n", "t:4:11: /limits/relay_threads: the number is more than 64\n" },
		{ REALMS "log: { level: verbose }\n",
		  "t:4:8: /log/level: verbose is not a choice (one of: error, warn, info, debug)\n" },
		{ REALMS "node: \"a b\"\n",
		  "t:4:1: /node: the character   is not allowed here (use letters, digits, dot, - and _)\n" },
		{ "[]\n", "t:1:1: expected a mapping, found a list\n" },
	};

	CONFIG_REFUSED(cases);
	config_unref(config_good(REALMS "api: { listen: 192.0.2.10:8480, insecure_remote: true }\n"));
	config_unref(config_good(REALMS "api: { listen: \"[::1]:8480\" }\n"));
}

static void media_paths(void)
{
	static const struct config_case cases[] = {
		{ REALMS "media: { paths: [relay, tc] }\n",
		  "t:4:18: /media/paths/0: relay takes all media, so no path after it is used (put it last)\n" },
		{ REALMS "media: { paths: [tc, tc, relay] }\n",
		  "t:4:22: /media/paths/1: tc is listed twice (remove one of the two)\n" },
		{ REALMS "media: { paths: [ebpf, relay] }\n",
		  "t:4:18: /media/paths/0: ebpf is not a choice (one of: xdp, tc, conntrack, nft, relay)\n" },
		{ REALMS "media: { paths: [] }\n", "t:4:10: /media/paths: the number of entries is less than 1\n" },
		{ REALMS "media: { paths: [xdp, tc, relay], firewall: closed }\n",
		  "t:4:35: /media/firewall: a closed firewall needs the path conntrack or nft "
		  "(add conntrack to media.paths, or leave the firewall open)\n" },
		{ REALMS "media: { firewall: shut }\n",
		  "t:4:10: /media/firewall: shut is not a choice (one of: open, closed)\n" },
		{ REALMS "media: { state_dir: run, lifetime: 59s }\n",
		  "t:4:10: /media/state_dir: the path is relative (begin it with /)\n"
		  "t:4:26: /media/lifetime: the duration, in milliseconds, is less than 60000\n" },
	};
	const struct config *config;

	CONFIG_REFUSED(cases);
	config = config_good(REALMS "media: { paths: [conntrack, nft, relay], firewall: closed, state_dir: /x, lifetime: 90s }\n");
	CU_ASSERT_EQUAL(config->media.n_paths, 3);
	CU_ASSERT_EQUAL(config->media.paths[1], CONFIG_PATH_NFT);
	CU_ASSERT_TRUE(config->media.is_firewall_closed);
	CU_ASSERT_STRING_EQUAL(config->media.state_dir, "/x");
	CU_ASSERT_EQUAL(config->media.lifetime_s, 90);
	config_unref(config);
	config = config_good(REALMS "media: { paths: [relay] }\n");
	CU_ASSERT_FALSE(config->media.needs_kernel);
	config_unref(config);
	config = config_good(REALMS "media: { paths: [xdp, conntrack] }\n");
	CU_ASSERT_EQUAL(config->media.n_paths, 2);
	CU_ASSERT_TRUE(config->media.needs_kernel);
	config_unref(config);
}

static void faults_of_schema_and_sense_come_together(void)
{
	config_refused("nod: x\n"
		   "realms:\n"
		   "  a: { addresses: [192.0.2.300], sip: [\"udp:5060\"], media_ports: 20000-20099 }\n"
		   "  b: { addresses: [192.0.2.1], sip: [\"udp:5060\"], media_ports: 5000-6000, cps: many }\n"
		   "peers:\n"
		   "  p: { realm: c, uri: \"sip:10.0.0.2\" }\n"
		   "routes:\n"
		   "  - { from: b, to: q }\n",
		   "t:1:1: /nod: unknown member (did you mean node?)\n"
		   "t:3:20: /realms/a/addresses/0: not an IP address "
		   "(write it as 192.0.2.10 or 2001:db8::10, without port)\n"
		   "t:4:51: /realms/b/media_ports: the pool contains the SIP port 5060 "
		   "(move the pool or the listener)\n"
		   "t:4:75: /realms/b/cps: expected a whole number, found text (write it without quotes)\n"
		   "t:6:8: /peers/p/realm: there is no realm c\n"
		   "t:8:16: /routes/0/to: there is no peer q\n");
}

/* A file with n realms, peers or routes. */
static char *many(unsigned n_realms, unsigned n_peers, unsigned n_routes)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs("realms:\n", out);
	for (unsigned i = 0; i < n_realms; i++)
		fprintf(out, "  r%u: { addresses: [10.1.0.%u], sip: [\"udp:5060\"], media_ports: 20000-20099 }\n", i, i + 1);
	fputs("peers:\n  p: { realm: r0, uri: \"sip:10.2.0.1\" }\n", out);
	for (unsigned i = 1; i < n_peers; i++)
		fprintf(out, "  p%u: { realm: r0, uri: \"sip:10.3.%u.%u\" }\n", i, i / 200, i % 200 + 1);
	fputs("routes:\n", out);
	for (unsigned i = 0; i < n_routes; i++)
		fprintf(out, "  - { from: r0, prefix: \"%05u\", to: p }\n", i);
	fputs(n_routes == 0 ? "  []\n" : "", out);
	fclose(out);
	return text;
}

static void tables_end_at_their_limits(void)
{
	static const struct {
		unsigned realms, peers, routes;
		const char *errors;
	} cases[] = {
		{ CONFIG_REALMS_MAX, CONFIG_PEERS_MAX, CONFIG_ROUTES_MAX, NULL },
		{ CONFIG_REALMS_MAX + 1, 1, 0, "t:1:1: /realms: the number of entries is more than 64\n" },
		{ 1, CONFIG_PEERS_MAX + 1, 0, "t:3:1: /peers: the number of entries is more than 1024\n" },
		{ 1, 1, CONFIG_ROUTES_MAX + 1, "t:5:1: /routes: the number of entries is more than 4096\n" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = many(cases[i].realms, cases[i].peers, cases[i].routes);

		if (cases[i].errors != NULL)
			config_refused(text, cases[i].errors);
		else
			config_unref(config_good(text));
		free(text);
	}
}

static void listeners_end_at_their_limit(void)
{
	static const char head[] = "realms:\n  a: { addresses: [10.0.0.1, 10.0.0.2, 10.0.0.3], media_ports: 20000-20099,\n"
				   "    sip: [\"udp:1\", \"udp:2\", \"udp:3\", \"udp:4\", \"udp:5\", \"udp:6\", \"udp:7\","
				   " \"udp:8\", \"udp:9\", \"udp:10\", \"udp:10.0.0.1:11\", \"udp:10.0.0.1:12\"";
	char text[512];
	const struct config *config;

	snprintf(text, sizeof(text), "%s] }\n", head);
	config = config_good(text);
	CU_ASSERT_EQUAL(config->realms[0].n_listens, 32);
	config_unref(config);
	snprintf(text, sizeof(text), "%s, \"udp:10.0.0.1:13\"] }\n", head);
	config_refused(text, "t:3:140: /realms/a/sip/12: more than 32 listeners in one realm\n");
}

static void unreadable_files_are_named(void)
{
	struct conf_errors errors = { 0 };
	const struct config *config = NULL;
	char *text;

	CU_ASSERT_EQUAL(config_load("/nonexistent/postern.yaml", &errors, &config), -ENOENT);
	CU_ASSERT_EQUAL(config_load("/", &errors, &config), -EISDIR);
	CU_ASSERT_EQUAL(config_load("/dev/null", &errors, &config), -EINVAL);
	CU_ASSERT_PTR_NULL(config);
	text = config_errors_text(&errors);
	CU_ASSERT_STRING_EQUAL(text, "/nonexistent/postern.yaml: cannot be read: No such file or directory\n"
				     "/nonexistent/postern.yaml: cannot be read: Is a directory\n"
				     "/nonexistent/postern.yaml: cannot be read: Invalid argument\n");
	free(text);
	conf_errors_free(&errors);
}

static void manual_page_names_every_member(void)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	config_print_man(out);
	fclose(out);
	for (const struct conf_item *item = config_schema(); item->name != NULL; item++) {
		char wanted[64];

		snprintf(wanted, sizeof(wanted), "\n.It Cm %s : ", item->name);
		CU_ASSERT_PTR_NOT_NULL(strstr(text, wanted));
	}
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\n.It Cm latch_window : Pq duration, 100ms to 1m\n"));
	free(text);
}

static const struct unit_test tests[] = {
	{ "the example loads", example_loads },
	{ "defaults work", defaults_work },
	{ "routes keep their order and get names", routes_keep_order_and_get_names },
	{ "names and sources are found", names_and_sources_are_found },
	{ "references count and revisions rise", references_count_and_revisions_rise },
	{ "bad realms", bad_realms },
	{ "realms without SIP", realms_without_sip },
	{ "bad peers", bad_peers },
	{ "bad routes", bad_routes },
	{ "bad rest", bad_rest },
	{ "media paths", media_paths },
	{ "faults of schema and sense come together", faults_of_schema_and_sense_come_together },
	{ "tables end at their limits", tables_end_at_their_limits },
	{ "listeners end at their limit", listeners_end_at_their_limit },
	{ "unreadable files are named", unreadable_files_are_named },
	{ "the manual page names every member", manual_page_names_every_member },
};

UNIT_MAIN("config", tests)
