/* Starts the program of $POSTERN_BUILDDIR/tests/mock and speaks pinhole/wire.h with it. */
#include "tests/unit/pinholed_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/err.h"
#include "tests/unit/unit.h"

struct wire_addr pinholed_rig_addr(const char *text)
{
	struct addr addr = { 0 };

	if (strcmp(text, "-") != 0 && addr_parse(span_of(text), &addr) < 0 && addr_parse_ip(span_of(text), &addr) < 0)
		abort();
	return wire_addr_of(&addr);
}

/* Tests of several builds may run at the same time: each has an address. */
struct wire_addr pinholed_rig_loopback(uint16_t port)
{
	unsigned pid = (unsigned)getpid();

	return (struct wire_addr){ .ip = { 127, 66, (uint8_t)(pid >> 8), (uint8_t)(pid | 1) }, .port = port, .family = AF_INET };
}

struct wire_seal pinholed_rig_limits(struct wire_limit ret[4])
{
	for (int i = 0; i < 4; i++)
		ret[i] = (struct wire_limit){ .port_min = 20000, .port_max = 29999, .realm = (uint16_t)(i > 0 ? i - 1 : 0) };
	ret[0].addr = pinholed_rig_addr("192.0.2.10");
	ret[1].addr = pinholed_rig_addr("2001:db8::a");
	ret[2].addr = pinholed_rig_addr("198.51.100.10");
	ret[3].addr = pinholed_rig_loopback(0);
	return (struct wire_seal){ .pinholes_max = RIG_PINHOLES_MAX, .lifetime_max_s = 600, .port_floor = 1024,
				   .low_ports = { 554 }, .may_be_transparent = 1,
				   .order = { PINHOLE_XDP, PINHOLE_TC, PINHOLE_CONNTRACK } };
}

void pinholed_rig_captures(struct wire_capture ret[RIG_CAPTURES])
{
	ret[0] = (struct wire_capture){ .servers = pinholed_rig_addr("198.51.100.64"), .to = pinholed_rig_addr("127.0.0.1:18500"),
					.ports = { 21 }, .realm_to = 1, .bits = 26, .proto = IPPROTO_TCP, .is_as_client = 1 };
	ret[1] = ret[2] = ret[0];
	ret[1].servers = pinholed_rig_addr("2001:db8:5::");
	ret[1].to = pinholed_rig_addr("[::1]:18500");
	ret[1].bits = 64;
	ret[2].to = pinholed_rig_addr("127.0.0.1:18501");
	ret[2].ports[0] = 69;
	ret[2].proto = IPPROTO_UDP;
	ret[2].is_as_client = 0;
}

struct wire_pinhole pinholed_rig_pinhole(uint64_t id)
{
	return (struct wire_pinhole){
		.id = id,
		.owner = "owner",
		.listen = { .ip = { 192, 0, 2, 10 }, .port = (uint16_t)(20000 + id), .family = AF_INET },
		.from = { .ip = { 198, 51, 100, 10 }, .port = 20002, .family = AF_INET },
		.source = { .ip = { 192, 0, 2, 77 }, .port = 4000, .family = AF_INET },
		.target = { .ip = { 198, 51, 100, 77 }, .port = 4000, .family = AF_INET },
		.payloads = { 1 | 1 << 8, 0 },
		.packets_per_s = 100,
		.bytes_per_s = 100000,
		.lifetime_s = 120,
		.clock_hz = 8000,
		.realm_in = 0,
		.realm_out = 1,
		.proto = IPPROTO_UDP,
		.flags = WIRE_RTP,
	};
}

static void run_child(const struct pinholed_rig *rig, const char *name, int channel)
{
	const char *build = getenv("POSTERN_BUILDDIR");
	char program[512], number[16], log[128];
	int fd;

	snprintf(program, sizeof(program), "%s/%s", build != NULL ? build : ".", name);
	snprintf(number, sizeof(number), "%d", channel);
	snprintf(log, sizeof(log), "%s/log", rig->dir);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd >= 0)
		dup2(fd, STDERR_FILENO);
	fcntl(channel, F_SETFD, 0);
	execl(program, program, "--channel", number, "--state-dir", rig->dir, "--node", "edge-1", (char *)NULL);
	_exit(127);
}

bool pinholed_rig_may_unshare(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(unshare(CLONE_NEWNET | CLONE_NEWNS) == 0 ? 0 : 1);
	if (pid > 0 && waitpid(pid, &status, 0) == pid && status == 0)
		return true;
	printf("1..0 # SKIP no right to make network namespaces\n");
	return false;
}

void pinholed_rig_start(struct pinholed_rig *rig)
{
	pinholed_rig_start_as(rig, "tests/mock/pinholed_fake");
}

void pinholed_rig_start_as(struct pinholed_rig *rig, const char *program)
{
	int pair[2];

	memset(rig, 0, sizeof(*rig));
	snprintf(rig->dir, sizeof(rig->dir), "/tmp/pinholed-XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(rig->dir));
	rig->fake = fake_kernel_map(rig->dir, "fake");
	rig->nat = fake_kernel_map(rig->dir, "fake-nat");
	rig->capture = fake_kernel_map(rig->dir, "fake-capture");
	CU_ASSERT_FATAL(rig->fake != NULL && rig->nat != NULL && rig->capture != NULL);
	rig->fake->path = PINHOLE_XDP;
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	rig->pid = fork();
	CU_ASSERT_FATAL(rig->pid >= 0);
	if (rig->pid == 0)
		run_child(rig, program, pair[1]);
	rig->channel = pair[0];
	close(pair[1]);
}

int pinholed_rig_wait(struct pinholed_rig *rig)
{
	int status;

	for (int i = 0; i < RIG_WAIT_MS / 10; i++) {
		if (waitpid(rig->pid, &status, WNOHANG) == rig->pid) {
			rig->pid = 0;
			return status;
		}
		usleep(10000);
	}
	kill(rig->pid, SIGKILL);
	waitpid(rig->pid, &status, 0);
	rig->pid = 0;
	return -1;
}

static void close_fds(struct pinholed_rig *rig)
{
	while (rig->n_fds > 0)
		close(rig->fds[--rig->n_fds]);
}

/* A worker that a sanitizer ended would be replaced, and nobody would notice. */
static void check_log(const struct pinholed_rig *rig)
{
	char path[128], line[1024];
	FILE *file;

	snprintf(path, sizeof(path), "%s/log", rig->dir);
	file = fopen(path, "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (strstr(line, "Sanitizer") == NULL && strstr(line, "runtime error") == NULL)
			continue;
		printf("# %s", line);
		CU_FAIL("the helper's sanitizer");
	}
	if (file != NULL)
		fclose(file);
}

bool pinholed_rig_has_logged(const struct pinholed_rig *rig, const char *text)
{
	char path[128], line[1024];
	bool has = false;
	FILE *file;

	snprintf(path, sizeof(path), "%s/log", rig->dir);
	file = fopen(path, "re");
	while (file != NULL && !has && fgets(line, sizeof(line), file) != NULL)
		has = strstr(line, text) != NULL;
	if (file != NULL)
		fclose(file);
	return has;
}

void pinholed_rig_stop(struct pinholed_rig *rig)
{
	static const char *const files[] = { "fake", "fake-nat", "fake-capture", "log" };
	char path[128];

	close_fds(rig);
	close(rig->channel);
	if (rig->pid > 0)
		CU_ASSERT_EQUAL(pinholed_rig_wait(rig), 0);
	check_log(rig);
	fake_kernel_unmap(rig->fake);
	fake_kernel_unmap(rig->nat);
	fake_kernel_unmap(rig->capture);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", rig->dir, files[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/bpf", rig->dir); /* a bpffs, mounted by the real program */
	umount2(path, MNT_DETACH);
	rmdir(path);
	if (rmdir(rig->dir) < 0)
		printf("# %s stays: %s\n", rig->dir, strerror(errno));
}

pid_t pinholed_rig_worker(const struct pinholed_rig *rig)
{
	char path[64];
	FILE *file;
	char text[32] = "";
	uint32_t pid = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)rig->pid, (int)rig->pid);
	file = fopen(path, "re");
	if (file == NULL)
		return 0;
	if (fgets(text, sizeof(text), file) != NULL && span_to_u32(span_trim(span_of(text)), INT32_MAX, &pid) < 0)
		pid = 0;
	fclose(file);
	return (pid_t)pid;
}

int pinholed_rig_send(struct pinholed_rig *rig, enum wire_op op, const void *records, uint32_t count)
{
	return wire_send(rig->channel, op, ++rig->serial, records, count, NULL, 0);
}

static bool receive(struct pinholed_rig *rig)
{
	struct pollfd p = { .fd = rig->channel, .events = POLLIN };
	const char *why;
	int n;

	close_fds(rig);
	if (poll(&p, 1, RIG_WAIT_MS) != 1)
		return false;
	n = wire_receive(rig->channel, rig->message.bytes, sizeof(rig->message.bytes), rig->fds, &rig->n_fds);
	return n > 0 && wire_parse(rig->message.bytes, (size_t)n, &rig->head, &rig->records, &why) == 0;
}

bool pinholed_rig_expect(struct pinholed_rig *rig, enum wire_op op)
{
	return receive(rig) && rig->head.op == op;
}

bool pinholed_rig_skip_to(struct pinholed_rig *rig, enum wire_op op)
{
	while (receive(rig)) {
		if (rig->head.op == op)
			return true;
		if (rig->head.op != WIRE_ABILITY && rig->head.op != WIRE_GONE && rig->head.op != WIRE_CAPTURING)
			break;
	}
	return false;
}

bool pinholed_rig_ask(struct pinholed_rig *rig, enum wire_op op, const void *records, uint32_t count, enum wire_op answer)
{
	return pinholed_rig_send(rig, op, records, count) == 0 && pinholed_rig_skip_to(rig, answer) &&
	       rig->head.serial == rig->serial;
}

void pinholed_rig_seal(struct pinholed_rig *rig)
{
	struct wire_limit limits[4];
	struct wire_capture captures[RIG_CAPTURES];
	struct wire_seal seal = pinholed_rig_limits(limits);

	pinholed_rig_captures(captures);
	CU_ASSERT_EQUAL(pinholed_rig_send(rig, WIRE_LIMITS, limits, 2), 0);
	CU_ASSERT_EQUAL(pinholed_rig_send(rig, WIRE_LIMITS, limits + 2, 2), 0);
	CU_ASSERT_EQUAL(pinholed_rig_send(rig, WIRE_CAPTURE, captures, RIG_CAPTURES), 0);
	CU_ASSERT_EQUAL(pinholed_rig_send(rig, WIRE_SEAL, &seal, 1), 0);
	CU_ASSERT_FATAL(pinholed_rig_expect(rig, WIRE_HELLO));
}
