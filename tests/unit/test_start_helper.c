/* daemon/helper.h: the limits that follow from a configuration, and how the helper is started. The program that is started
 * here is a shell script that writes down what it was given; that part needs root. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/conf.h"
#include "core/config.h"
#include "daemon/helper.h"
#include "daemon/options.h"
#include "tests/unit/unit.h"

#define REALMS \
	"realms:\n" \
	"  access: { interface: eth7, addresses: [192.0.2.10, \"2001:db8::10\"], sip: [\"udp:5060\"], media_ports: 20000-20099 }\n" \
	"  core: { addresses: [10.0.0.10], sip: [\"udp:5060\"], media_ports: 30000-39999, trust: trusted }\n"
#define ALG "algs: { f: { protocol: ftp, realm: access, to: core, servers: 10.0.0.0/24 } }\n"
#define LOOPBACK \
	"realms:\n" \
	"  demo: { addresses: [127.0.0.1], sip: [\"udp:5060\"], media_ports: 20000-20099 }\n"

static const struct config *parse(const char *text)
{
	struct conf_errors errors = { 0 };
	const struct config *config = NULL;

	CU_ASSERT_EQUAL_FATAL(config_parse(span_of(text), "t", &errors, &config), 0);
	conf_errors_free(&errors);
	return config;
}

static void limits_follow_the_configuration(void)
{
	static struct wire_limit limits[WIRE_OWN_MAX];
	const struct config *config = parse(REALMS);
	struct addr addr;
	char text[ADDR_TEXT_MAX];

	CU_ASSERT_EQUAL_FATAL(helper_limits(config, limits), 3);
	addr = wire_addr_get(&limits[1].addr);
	CU_ASSERT_STRING_EQUAL(addr_ip_text(&addr, text), "2001:db8::10");
	CU_ASSERT_STRING_EQUAL(limits[1].interface, "eth7");
	CU_ASSERT_EQUAL(limits[1].realm, 0);
	CU_ASSERT_EQUAL(limits[1].port_max, 20099);
	CU_ASSERT_STRING_EQUAL(limits[2].interface, "");
	CU_ASSERT_EQUAL(limits[2].realm, 1);
	CU_ASSERT_EQUAL(limits[2].port_min, 30000);
	config_unref(config);
}

static void seal_follows_the_configuration(void)
{
	static const struct {
		const char *yaml;
		uint32_t pinholes, lifetime;
		uint8_t order[5], loopback, firewall;
	} cases[] = {
		{ REALMS, 8192 * 4, 3600, { PINHOLE_XDP, PINHOLE_TC, PINHOLE_CONNTRACK }, 0, 0 },
		{ REALMS "limits: { max_calls: 1 }\nmedia: { paths: [conntrack, nft, relay], firewall: closed, lifetime: 2m }\n",
		  4, 120, { PINHOLE_CONNTRACK, PINHOLE_NFT }, 0, 1 },
		{ REALMS "limits: { max_calls: 1000000 }\nmedia: { paths: [nft, tc, conntrack, xdp, relay] }\n",
		  HELPER_PINHOLES_MAX, 3600, { PINHOLE_NFT, PINHOLE_TC, PINHOLE_CONNTRACK, PINHOLE_XDP }, 0, 0 },
		{ LOOPBACK "media: { paths: [relay] }\n", 8192 * 4, 3600, { 0 }, 1, 0 },
		{ REALMS ALG, 8192 * 4 + 1000 * 4, 3600, { PINHOLE_XDP, PINHOLE_TC, PINHOLE_CONNTRACK, PINHOLE_NFT }, 0, 0 },
		{ REALMS ALG "media: { paths: [nft, tc, relay] }\n", 8192 * 4 + 1000 * 4, 3600, { PINHOLE_NFT, PINHOLE_TC }, 0, 0 },
		{ REALMS ALG "media: { paths: [relay] }\n", 8192 * 4 + 1000 * 4, 3600, { PINHOLE_NFT }, 0, 0 },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct config *config = parse(cases[i].yaml);
		struct wire_seal seal;

		helper_seal(config, &seal);
		CU_ASSERT_EQUAL(seal.pinholes_max, cases[i].pinholes);
		CU_ASSERT_EQUAL(seal.lifetime_max_s, cases[i].lifetime);
		CU_ASSERT_EQUAL(memcmp(seal.order, cases[i].order, sizeof(seal.order)), 0);
		CU_ASSERT_EQUAL(seal.may_reach_loopback, cases[i].loopback);
		CU_ASSERT_EQUAL(seal.firewall, cases[i].firewall);
		CU_ASSERT_EQUAL(seal.port_floor, 1024);
		config_unref(config);
	}
}

/* Two ALGs that take channels over, one that clients address, and one that needs nobody's help. */
static struct config with_algs(const struct config *config, struct alg_conf algs[4])
{
	struct config copy = *config;

	algs[0] = (struct alg_conf){ .protocol = "ftp", .realm = &config->realms[0], .to = &config->realms[1], .ports = { 21, 2121 },
				     .n_ports = 2, .n_servers = 2, .max_sessions = 100 };
	CU_ASSERT_EQUAL(prefix_parse(span_of("10.0.0.0/24"), &algs[0].servers[0]), 0);
	CU_ASSERT_EQUAL(prefix_parse(span_of("2001:db8:1::/64"), &algs[0].servers[1]), 0);
	algs[1] = algs[0];
	algs[1].index = algs[1].capture = 1;
	algs[1].protocol = "tftp";
	algs[1].mode = CONFIG_ALG_TRANSPARENT;
	algs[1].n_servers = 1;
	algs[2] = algs[3] = algs[0];
	algs[2].mode = algs[3].mode = CONFIG_ALG_EXPLICIT;
	algs[2].n_servers = algs[3].n_servers = 0;
	algs[3].ports[0] = 8021;
	algs[3].n_ports = 1;
	copy.algs = algs;
	copy.n_algs = 4;
	return copy;
}

static void captures_follow_the_configuration(void)
{
	static struct wire_capture captures[WIRE_CAPTURES_MAX];
	const struct config *config = parse(REALMS);
	struct alg_conf algs[4];
	struct config copy = with_algs(config, algs);
	char text[ADDR_TEXT_MAX];
	struct addr addr;

	CU_ASSERT_EQUAL_FATAL(helper_captures(&copy, captures), 3);
	addr = wire_addr_get(&captures[0].to);
	CU_ASSERT_STRING_EQUAL(addr_text(&addr, text), "127.0.0.1:18500");
	addr = wire_addr_get(&captures[0].servers);
	CU_ASSERT_STRING_EQUAL(addr_text(&addr, text), "10.0.0.0");
	CU_ASSERT(captures[0].bits == 24 && captures[0].realm == 0 && captures[0].realm_to == 1);
	CU_ASSERT(captures[0].ports[0] == 21 && captures[0].ports[1] == 2121 && captures[0].ports[2] == 0);
	CU_ASSERT(captures[0].proto == IPPROTO_TCP && !captures[0].is_as_client);
	addr = wire_addr_get(&captures[1].to);
	CU_ASSERT_STRING_EQUAL(addr_text(&addr, text), "[::1]:18500");
	addr = wire_addr_get(&captures[2].to);
	CU_ASSERT_STRING_EQUAL(addr_text(&addr, text), "127.0.0.1:18501");
	CU_ASSERT(captures[2].proto == IPPROTO_UDP && captures[2].is_as_client);
	config_unref(config);
}

static void algs_follow_the_configuration(void)
{
	const struct config *config = parse(REALMS "media: { paths: [relay] }\n");
	enum pinhole_path order[PINHOLE_PATHS];
	struct alg_conf algs[4];
	struct config copy = with_algs(config, algs);
	struct wire_seal seal;

	helper_seal(&copy, &seal);
	CU_ASSERT_EQUAL(seal.may_be_transparent, 1);
	CU_ASSERT(seal.low_ports[0] == 21 && seal.low_ports[1] == 0);
	CU_ASSERT_EQUAL(seal.pinholes_max, 8192 * 4 + 4 * 100 * 4);
	CU_ASSERT(seal.order[0] == PINHOLE_NFT && seal.order[1] == PINHOLE_NONE);
	for (unsigned i = 0; i < 4; i++)
		algs[i].data = CONFIG_ALG_DATA_RELAY;
	helper_order(&copy, order);
	CU_ASSERT_EQUAL(order[0], PINHOLE_NFT); /* connections to the servers have to be brought here */
	copy.algs = &algs[2];
	copy.n_algs = 2;
	helper_order(&copy, order);
	CU_ASSERT_EQUAL(order[0], PINHOLE_NONE);
	copy.algs = &algs[3]; /* no privilege at all */
	copy.n_algs = 1;
	helper_seal(&copy, &seal);
	CU_ASSERT(seal.may_be_transparent == 0 && seal.low_ports[0] == 0);
	config_unref(config);
	config = parse(REALMS "media: { paths: [nft, xdp, relay] }\n"); /* where somebody has put it already */
	copy = with_algs(config, algs);
	helper_order(&copy, order);
	CU_ASSERT(order[0] == PINHOLE_NFT && order[1] == PINHOLE_XDP && order[2] == PINHOLE_NONE);
	config_unref(config);
}

static void low_ports_have_an_end(void)
{
	const struct config *config = parse(REALMS);
	struct alg_conf algs[CONFIG_ALG_PORTS_MAX];
	struct config copy = *config;
	struct wire_seal seal;

	copy.algs = algs;
	copy.n_algs = 3;
	for (unsigned i = 0; i < 3; i++) {
		algs[i] = (struct alg_conf){ .mode = CONFIG_ALG_EXPLICIT, .protocol = "ftp", .n_ports = CONFIG_ALG_PORTS_MAX };
		for (unsigned k = 0; k < CONFIG_ALG_PORTS_MAX; k++)
			algs[i].ports[k] = (uint16_t)(100 + i * CONFIG_ALG_PORTS_MAX + k);
	}
	helper_seal(&copy, &seal);
	for (unsigned i = 0; i < WIRE_LOW_PORTS_MAX; i++)
		CU_ASSERT_EQUAL(seal.low_ports[i], 100 + i);
	config_unref(config);
}

static void not_started(const char *yaml, const char *program, const char *reason)
{
	const struct config *config = parse(yaml);
	struct helper helper;

	helper_start(config, program, &helper);
	CU_ASSERT_EQUAL(helper.channel, -1);
	CU_ASSERT_EQUAL(helper.pid, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(helper.reason);
	CU_ASSERT_STRING_EQUAL(helper.reason, reason);
	helper_wait(&helper);
	config_unref(config);
}

static void reasons_to_go_without(void)
{
	not_started(REALMS "media: { paths: [relay] }\n", NULL, "media.paths has nothing but relay");
	not_started(REALMS, "none", "switched off with --helper none");
	if (geteuid() == 0)
		not_started(REALMS, "/nonexistent/helper", "the program of --helper cannot be executed");
	else
		not_started(REALMS, NULL, "posternd was not started as root");
}

static void options_name_the_program(void)
{
	char *argv[] = { (char[]){ "posternd" }, (char[]){ "--helper" }, (char[]){ "/x/y" }, NULL };
	struct options options;
	int code = -1;

	optind = 0;
	CU_ASSERT_EQUAL_FATAL(options_parse(1, argv, &options, &code), 0);
	CU_ASSERT_PTR_NULL(options.helper);
	optind = 0;
	CU_ASSERT_EQUAL_FATAL(options_parse(3, argv, &options, &code), 0);
	CU_ASSERT_STRING_EQUAL(options.helper, "/x/y");
}

/* Started programs */

static char folder[] = "/tmp/postern-test-XXXXXX";

static void path_in_folder(const char *name, char *out, size_t size)
{
	snprintf(out, size, "%s/%s", folder, name);
}

/* A script that writes its arguments, environment and descriptors, then ends with `code`. */
static void write_script(char *path, size_t size, int code)
{
	FILE *out;

	path_in_folder("script", path, size);
	out = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(out);
	fprintf(out,
		"#!/bin/sh\n"
		"{ echo \"args $*\"; env | sed 's/^/env /'\n"
		"for f in /proc/$$/fd/*; do echo \"fd ${f##*/} $(readlink $f)\"; done; } >%s/out.new\n"
		"mv %s/out.new %s/out\n"
		"exit %d\n", folder, folder, folder, code);
	fclose(out);
	CU_ASSERT_EQUAL_FATAL(chmod(path, 0700), 0);
}

static char *read_output(void)
{
	static char text[8192];
	char path[128];
	size_t n;
	FILE *in;

	path_in_folder("out", path, sizeof(path));
	in = fopen(path, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(in);
	n = fread(text, 1, sizeof(text) - 1, in);
	text[n] = '\0';
	fclose(in);
	return text;
}

static void remove_folder(void)
{
	char path[128];

	path_in_folder("out", path, sizeof(path));
	unlink(path);
	path_in_folder("script", path, sizeof(path));
	unlink(path);
	rmdir(folder);
}

static void started_with_little(void)
{
	const struct config *config = parse(REALMS "node: a-node-with-a-name-that-is-longer-than-32\nlog: { format: json }\n"
						   "media: { state_dir: /x/state }\n");
	const int inherited = fcntl(STDERR_FILENO, F_DUPFD, 20); /* without close-on-exec, as a careless parent leaves it */
	char path[128], leaked[32];
	struct helper helper;
	const char *text;

	if (geteuid() != 0) {
		puts("# needs root: a helper is only started by root");
		config_unref(config);
		return;
	}
	setenv("POSTERN_SECRET", "1", 1);
	write_script(path, sizeof(path), 0);
	helper_start(config, path, &helper);
	CU_ASSERT_TRUE_FATAL(helper.pid > 0 && helper.channel >= 0);
	CU_ASSERT_PTR_NULL(helper.reason);
	helper_wait(&helper);
	CU_ASSERT_EQUAL(helper.pid, 0);
	CU_ASSERT_EQUAL(helper.channel, -1);
	text = read_output();
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "args --channel 3 --state-dir /x/state --node a-node-with-a-name-that-is-longe --json\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nenv PATH=/usr/sbin:/usr/bin:/sbin:/bin\n"));
	CU_ASSERT_PTR_NULL(strstr(text, "POSTERN_SECRET"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nfd 3 socket:"));
	snprintf(leaked, sizeof(leaked), "\nfd %d ", inherited);
	CU_ASSERT_PTR_NULL(strstr(text, leaked));
	close(inherited);
	config_unref(config);
}

/* The limits are on their way before it has ended, or sending them fails: neither may hurt. */
static void one_that_ends_at_once(void)
{
	const struct config *config = parse(REALMS);
	struct helper helper;
	char path[128];

	if (geteuid() == 0) {
		write_script(path, sizeof(path), 3);
		helper_start(config, path, &helper);
		helper_wait(&helper);
		CU_ASSERT_EQUAL(helper.pid, 0);
		helper_start(config, "/bin/false", &helper);
		helper_wait(&helper);
		CU_ASSERT_EQUAL(helper.pid, 0);
	}
	config_unref(config);
	remove_folder();
}

static void without_root(void)
{
	int status = -1;
	pid_t pid;

	if (mkdtemp(folder) == NULL || geteuid() != 0)
		return;
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		const struct config *config = parse(REALMS);
		struct helper helper;

		if (setgid(65534) != 0 || setuid(65534) != 0)
			_exit(2);
		helper_start(config, NULL, &helper);
		_exit(helper.channel == -1 && strcmp(helper.reason, "posternd was not started as root") == 0 ? 0 : 1);
	}
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_EQUAL(status, 0);
}

static const struct unit_test tests[] = {
	{ "limits follow the configuration", limits_follow_the_configuration },
	{ "the seal follows the configuration", seal_follows_the_configuration },
	{ "captures follow the configuration", captures_follow_the_configuration },
	{ "ALGs follow the configuration", algs_follow_the_configuration },
	{ "low ports have an end", low_ports_have_an_end },
	{ "reasons to go without", reasons_to_go_without },
	{ "options name the program", options_name_the_program },
	{ "without root", without_root },
	{ "started with little", started_with_little },
	{ "one that ends at once", one_that_ends_at_once },
};

UNIT_MAIN("start_helper", tests)
