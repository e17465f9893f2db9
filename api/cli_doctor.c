/* "doctor": asks the gateway how it is, looks at what this machine gives it, and says what to do about each fault.
 * Reads /proc and the clock's status only; changes nothing. Checks of the machine are made where the command runs, so
 * they are left out when the gateway was asked over TCP. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/cli.h"
#include "api/cli_doctor.h"
#include "api/cli_print.h"
#include "core/span.h"

enum { RMEM_WANTED = 4 * 1024 * 1024 /* what sbc/transport.c asks for */, FILES_WANTED = 65536 };

static const char *const level_names[] = {
	[DOCTOR_OK] = "ok", [DOCTOR_NOTE] = "note", [DOCTOR_WARN] = "warn", [DOCTOR_FAIL] = "fail",
};

void doctor_add(json_t *checks, enum doctor_level level, const char *name, const char *fix, const char *format, ...)
{
	char detail[512];
	va_list args;
	json_t *check;

	va_start(args, format);
	vsnprintf(detail, sizeof(detail), format, args);
	va_end(args);
	check = json_pack("{s:s, s:s, s:s}", "check", name, "status", level_names[level], "detail", detail);
	json_object_set_new(check, "fix", level > DOCTOR_NOTE && fix != NULL ? json_string(fix) : json_null());
	json_array_append_new(checks, check);
}

/* The first line of a small file, without its end; false when it cannot be read. */
static bool read_line(const char *path, char *out, size_t size)
{
	FILE *file = fopen(path, "re");
	bool is_read = file != NULL && fgets(out, (int)size, file) != NULL;

	if (file != NULL)
		fclose(file);
	if (is_read)
		out[strcspn(out, "\n")] = '\0';
	return is_read;
}

/* The gateway */

static void add_readiness(json_t *checks, const json_t *ready)
{
	static const struct {
		const char *name, *fix;
	} fixes[] = {
		{ "database", "The log says why; free disk space, or check owner and mode of the database file." },
		{ "admission", "The gateway is draining: calls come again after a restart." },
		{ "listeners", "Give at least one realm a SIP listener in postern.yaml, or configure an ALG." },
		{ "algs", "A listener is not open: postern show algs says which and why." },
		{ "control_loop", "The gateway hangs: restart it and keep its log." },
	};
	json_t *check;
	size_t i;

	json_array_foreach(json_object_get(ready, "checks"), i, check) {
		char *name = cli_value(check, "name", CLI_TEXT), *detail = cli_value(check, "detail", CLI_TEXT);
		const char *status = json_string_value(json_object_get(check, "status")), *fix = NULL;
		bool is_ok = status != NULL && strcmp(status, "ok") == 0;

		for (size_t n = 0; n < sizeof(fixes) / sizeof(fixes[0]); n++)
			fix = strcmp(fixes[n].name, name) == 0 ? fixes[n].fix : fix;
		doctor_add(checks, is_ok ? DOCTOR_OK : DOCTOR_FAIL, name, fix, "%s", detail);
		free(name);
		free(detail);
	}
}

static bool has_usable_path(const json_t *media_paths, const json_t *realm)
{
	json_t *path;
	size_t i;

	json_array_foreach(media_paths, i, path) {
		if (json_equal(json_object_get(path, "realm"), realm) && json_is_true(json_object_get(path, "is_wanted")) &&
		    json_is_true(json_object_get(path, "is_usable")))
			return true;
	}
	return false;
}

void doctor_check_media(json_t *checks, const json_t *media_paths)
{
	json_t *path;
	size_t i;

	json_array_foreach(media_paths, i, path) {
		const json_t *realm = json_object_get(path, "realm");
		bool is_usable = json_is_true(json_object_get(path, "is_usable"));
		char *name = cli_value(path, "realm", CLI_TEXT), *interface = cli_value(path, "interface", CLI_TEXT);
		char *mechanism = cli_value(path, "path", CLI_TEXT), *reason = cli_value(path, "reason", CLI_TEXT);
		enum doctor_level level = is_usable ? DOCTOR_OK :
					  has_usable_path(media_paths, realm) ? DOCTOR_NOTE : DOCTOR_WARN;

		if (json_is_true(json_object_get(path, "is_wanted")))
			doctor_add(checks, level, "media path",
				   "Media of this realm stays in user space and costs more: see Kernel media in operations.md.",
				   "realm %s, %s on %s: %s%s", name, mechanism, interface, is_usable ? "" : "not usable: ",
				   reason);
		free(name);
		free(interface);
		free(mechanism);
		free(reason);
	}
}

static void add_version(json_t *checks, const json_t *ready)
{
	const char *version = json_string_value(json_object_get(ready, "version"));
	bool is_same = version != NULL && strcmp(version, PACKAGE_VERSION) == 0;
	char *node = cli_value(ready, "node", CLI_TEXT), *clean = cli_value(ready, "version", CLI_TEXT);

	doctor_add(checks, is_same ? DOCTOR_OK : DOCTOR_WARN, "version",
		   "The command and the gateway differ: restart the gateway after an update.",
		   "node %s runs %s, this is %s", node, clean, PACKAGE_VERSION);
	free(node);
	free(clean);
}

void doctor_check_config(json_t *checks, const json_t *config)
{
	char *revision = cli_value(config, "revision", CLI_TEXT), *file = cli_value(config, "file", CLI_TEXT);
	char *loaded = cli_value(config, "loaded_at", CLI_TIME), *failed = cli_value(config, "failure.at", CLI_TIME);
	size_t n = json_array_size(cli_at(config, "failure.errors"));

	if (json_is_true(cli_at(config, "failure.is_last")))
		doctor_add(checks, DOCTOR_WARN, "configuration", "postern reload check says what is wrong with the file.",
			   "the reload at %s found %zu %s in %s; revision %s, loaded %s, stays in force", failed, n,
			   n == 1 ? "fault" : "faults", file, revision, loaded);
	else
		doctor_add(checks, DOCTOR_OK, "configuration", NULL, "revision %s, %s, loaded %s", revision, file, loaded);
	free(revision);
	free(file);
	free(loaded);
	free(failed);
}

/* The machine */

void doctor_check_rmem(json_t *checks, const char *rmem_max)
{
	unsigned long bytes = strtoul(rmem_max, NULL, 10);

	doctor_add(checks, bytes >= RMEM_WANTED ? DOCTOR_OK : DOCTOR_WARN, "receive buffers",
		   "Bursts of SIP over UDP may be lost: sysctl -w net.core.rmem_max=4194304 (and into /etc/sysctl.d).",
		   "net.core.rmem_max is %lu", bytes);
}

/* Is [min, max] inside of the list "20000-29999,40000"? */
static bool is_reserved(const char *list, unsigned long min, unsigned long max)
{
	while (min <= max) {
		const char *at = list;
		bool was_found = false;

		while (*at != '\0') {
			char *end;
			unsigned long from = strtoul(at, &end, 10), to = from;

			if (end == at)
				return false;
			if (*end == '-')
				to = strtoul(end + 1, &end, 10);
			if (from <= min && min <= to) {
				min = to + 1;
				was_found = true;
			}
			at = end + strspn(end, ", ");
		}
		if (!was_found)
			return false;
	}
	return true;
}

void doctor_check_ports(json_t *checks, const json_t *realms, const char *ephemeral, const char *reserved)
{
	char *rest;
	unsigned long low = strtoul(ephemeral, &rest, 10), high = strtoul(rest, NULL, 10);
	json_t *realm;
	size_t i;

	json_array_foreach(realms, i, realm) {
		unsigned long min = (unsigned long)json_integer_value(json_object_get(realm, "media_port_min"));
		unsigned long max = (unsigned long)json_integer_value(json_object_get(realm, "media_port_max"));
		unsigned long from = min > low ? min : low, to = max < high ? max : high;
		char *name = cli_value(realm, "name", CLI_TEXT), fix[256];

		bool is_free = from > to || is_reserved(reserved, from, to);

		snprintf(fix, sizeof(fix), "Other programs may take these ports: "
			 "sysctl -w net.ipv4.ip_local_reserved_ports=%lu-%lu (add to what is there).", min, max);
		doctor_add(checks, is_free ? DOCTOR_OK : DOCTOR_WARN, "media ports", fix,
			   "realm %s uses %lu-%lu, the kernel hands out %lu-%lu%s%s", name, min, max, low, high,
			   reserved[0] ? " without " : "", reserved);
		free(name);
	}
}

static void check_kernel(json_t *checks, const json_t *realms)
{
	char line[4096], reserved[4096];

	if (read_line("/proc/sys/net/core/rmem_max", line, sizeof(line)))
		doctor_check_rmem(checks, line);
	if (!read_line("/proc/sys/net/ipv4/ip_local_reserved_ports", reserved, sizeof(reserved)))
		reserved[0] = '\0';
	if (read_line("/proc/sys/net/ipv4/ip_local_port_range", line, sizeof(line)))
		doctor_check_ports(checks, realms, line, reserved);
}

/* The process behind the UNIX socket, 0 when that cannot be told. */
static pid_t gateway_pid(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct ucred cred = { 0 };
	socklen_t len = sizeof(cred);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	if (fd < 0)
		return 0;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		cred.pid = 0;
	close(fd);
	return cred.pid;
}

void doctor_check_files(json_t *checks, FILE *limits)
{
	static const char label[] = "Max open files";
	char line[256];

	while (fgets(line, sizeof(line), limits) != NULL) {
		unsigned long soft;

		if (strncmp(line, label, sizeof(label) - 1) != 0)
			continue;
		soft = strstr(line, "unlimited") ? FILES_WANTED : strtoul(line + sizeof(label) - 1, NULL, 10);
		doctor_add(checks, soft >= FILES_WANTED ? DOCTOR_OK : DOCTOR_WARN, "open files",
			   "Each call with audio takes 4 descriptors: set LimitNOFILE=1048576 in the unit.",
			   "the gateway may open %lu, enough for about %lu calls", soft, soft / 4);
	}
}

static void check_process(json_t *checks, pid_t pid)
{
	char path[64];
	FILE *limits;

	if (pid <= 0)
		return;
	snprintf(path, sizeof(path), "/proc/%ld/limits", (long)pid);
	limits = fopen(path, "re");
	if (limits == NULL)
		return;
	doctor_check_files(checks, limits);
	fclose(limits);
}

static void check_clock(json_t *checks)
{
	struct timex state = { 0 };
	bool is_synced = adjtimex(&state) >= 0 && (state.status & STA_UNSYNC) == 0;

	doctor_add(checks, is_synced ? DOCTOR_OK : DOCTOR_WARN, "clock",
		   "Call records need true times: install chrony or enable systemd-timesyncd.", "%s",
		   is_synced ? "synchronised" : "not synchronised");
}

/* The report */

static bool print_report(struct cli *cli, json_t *checks)
{
	bool is_well = true;
	json_t *check;
	size_t i;

	json_array_foreach(checks, i, check) {
		const char *status = json_string_value(json_object_get(check, "status"));
		char *name = cli_value(check, "check", CLI_TEXT), *detail = cli_value(check, "detail", CLI_TEXT);
		char *fix = cli_value(check, "fix", CLI_TEXT);

		is_well &= strcmp(status, "fail") != 0;
		if (cli->format == CLI_TABLE)
			fprintf(cli->out, "%-5s %-16s %s\n", status, name, detail);
		else if (cli->format == CLI_TSV)
			fprintf(cli->out, "%s\t%s\t%s\t%s\n", status, name, detail, fix);
		if (cli->format == CLI_TABLE && strcmp(fix, "-") != 0)
			fprintf(cli->out, "      %-16s %s\n", "", fix);
		free(name);
		free(detail);
		free(fix);
	}
	if (cli->format == CLI_JSON)
		cli_json(cli->out, checks);
	return is_well;
}

enum cli_exit cli_doctor(struct cli *cli)
{
	json_t *checks = json_array(), *ready = NULL, *realms = NULL, *config = NULL;
	enum cli_exit reached = cli_probe(cli, "/readyz?verbose", &ready);
	bool is_well;

	if (reached != CLI_OK) {
		doctor_add(checks, DOCTOR_FAIL, "gateway",
			   "Start it: systemctl start postern; its log says why it does not.", "does not answer");
	} else {
		doctor_add(checks, DOCTOR_OK, "gateway", NULL, "answers on %s", cli->url ? cli->url : cli->socket);
		add_version(checks, ready);
		add_readiness(checks, ready);
		doctor_check_media(checks, json_object_get(ready, "media_paths"));
		if (cli_ask(cli, "GET", "/v1/realms?limit=1000", &realms) != CLI_OK)
			doctor_add(checks, DOCTOR_WARN, "access", "Run it as root or as a member of group postern.",
				   "realms cannot be read");
		else if (cli_ask(cli, "GET", "/v1/config", &config) == CLI_OK)
			doctor_check_config(checks, config);
	}
	if (cli->url == NULL) {
		check_kernel(checks, json_object_get(realms, "items"));
		check_process(checks, reached == CLI_OK ? gateway_pid(cli->socket) : 0);
		check_clock(checks);
	}
	is_well = print_report(cli, checks);
	json_decref(checks);
	json_decref(ready);
	json_decref(realms);
	json_decref(config);
	return reached != CLI_OK ? reached : is_well ? CLI_OK : CLI_FAILED;
}
