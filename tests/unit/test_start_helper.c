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
		{ REALMS ALG, 8192 * 4, 3600, { PINHOLE_XDP, PINHOLE_TC, PINHOLE_CONNTRACK, PINHOLE_NFT }, 0, 0 },
		{ REALMS ALG "media: { paths: [nft, tc, relay] }\n", 8192 * 4, 3600, { PINHOLE_NFT, PINHOLE_TC }, 0, 0 },
		{ REALMS ALG "media: { paths: [relay] }\n", 8192 * 4, 3600, { PINHOLE_NFT }, 0, 0 },
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
	{ "reasons to go without", reasons_to_go_without },
	{ "options name the program", options_name_the_program },
	{ "without root", without_root },
	{ "started with little", started_with_little },
	{ "one that ends at once", one_that_ends_at_once },
};

UNIT_MAIN("start_helper", tests)
