/* The BPF back end on real interfaces, in network namespaces of its own: what it proves, attaches, keeps and forgets, and
 * what comes out when packets go in. As root only. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "core/err.h"
#include "pinhole/bpf_backend.h"
#include "pinhole/rig.h"
#include "tests/unit/unit.h"

/* A gateway's configuration in the rig: realm 0 is left, realm 1 is right. */
struct stage {
	struct rig *rig;
	char state_dir[64];
	struct wire_seal seal;
	struct backend_interface interfaces[2];
	struct backend_conf conf;
	struct backend *backend;
	unsigned failures;
};

typedef void stage_fn(struct stage *stage);

/* CUnit lives in the parent; what runs inside the rig tells its failures itself. */
#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition); \
			fflush(stdout); \
			s->failures++; \
		} \
	} while (0)

static void set_stage(struct stage *s)
{
	for (unsigned i = 0; i < 2; i++) {
		s->interfaces[i] = (struct backend_interface){ .realm = i, .index = s->rig->ifindex[i], .is_up = true };
		snprintf(s->interfaces[i].name, sizeof(s->interfaces[i].name), "%s", i == 0 ? "left" : "right");
	}
	s->seal = (struct wire_seal){ .pinholes_max = 100, .order = { PINHOLE_XDP, PINHOLE_TC } };
	s->conf = (struct backend_conf){ .state_dir = s->state_dir, .node_tag = "test-1", .seal = &s->seal,
					 .interfaces = s->interfaces, .n_interfaces = 2 };
}

static int play(struct rig *rig, void *arg, char *reason, size_t size)
{
	stage_fn **fn = arg;
	struct stage s = { .rig = rig, .state_dir = "/tmp/test_bpf.XXXXXX" };
	char bpffs[80];

	/* Mounts are private to this process and end with it. */
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mkdtemp(s.state_dir) == NULL)
		return -ENODATA;
	set_stage(&s);
	(*fn)(&s);
	snprintf(bpffs, sizeof(bpffs), "%s/bpf", s.state_dir);
	umount(bpffs);
	rmdir(bpffs);
	rmdir(s.state_dir);
	snprintf(reason, size, "%u checks failed", s.failures);
	return s.failures > 0 ? -ENODATA : 0;
}

static void run(stage_fn *fn)
{
	char reason[128] = "";
	int err = rig_run(play, &fn, reason, sizeof(reason));

	CU_ASSERT_EQUAL(err, 0);
	if (err < 0)
		printf("# %s\n", reason);
}

static void open_it(struct stage *s)
{
	struct backend_report report;

	CHECK(backend_bpf.open(&s->conf, &s->backend) == 0);
	backend_bpf.report(s->backend, PINHOLE_TC, 0, &report);
	CHECK(report.is_usable);
	if (!report.is_usable)
		printf("# %s\n", report.reason);
}

static struct wire_pinhole pinhole_of(uint8_t family, uint16_t port)
{
	struct addr source = rig_host(RIG_LEFT, family, port), listen = rig_gateway(RIG_LEFT, family, (uint16_t)(port + 1));
	struct addr from = rig_gateway(RIG_RIGHT, family, (uint16_t)(port + 2));
	struct addr target = rig_host(RIG_RIGHT, family, (uint16_t)(port + 3));

	return (struct wire_pinhole){ .id = port, .owner = { 7 }, .listen = wire_addr_of(&listen), .from = wire_addr_of(&from),
				      .source = wire_addr_of(&source), .target = wire_addr_of(&target), .payloads = { 1, 0 },
				      .packets_per_s = 1000, .bytes_per_s = 1000000, .lifetime_s = 60, .clock_hz = 8000,
				      .realm_in = 0, .realm_out = 1, .proto = IPPROTO_UDP, .flags = WIRE_RTP, .dscp = 46 };
}

static void test_proof(void)
{
	struct bpf_proof proof = { 0 };

	CU_ASSERT_EQUAL(bpf_proof_run(&proof), 0);
	CU_ASSERT_TRUE(proof.has_xdp);
	CU_ASSERT_TRUE(proof.has_tc);
	CU_ASSERT_TRUE(proof.has_ip6);
	if (!proof.has_xdp || !proof.has_tc)
		printf("# %s %s\n", proof.xdp_reason, proof.tc_reason);
}

static void count_entry(void *arg, const struct backend_entry *entry)
{
	unsigned *n = arg;

	*n += entry->id != 0;
}

static void survives(struct stage *s)
{
	struct wire_pinhole p = pinhole_of(AF_INET, 30000), q = pinhole_of(AF_INET6, 30000);
	struct backend_entry first, again;
	struct slot last;
	unsigned n = 0;

	open_it(s);
	CHECK(backend_bpf.apply(s->backend, &p, &first) == 0 && !first.was_there);
	CHECK(backend_bpf.apply(s->backend, &q, &again) == 0 && !again.was_there && again.slot != first.slot);
	s->backend->engine.slot_memory[first.slot].packets = 5;
	backend_bpf.close(s->backend);
	open_it(s);
	CHECK(backend_bpf.list(s->backend, count_entry, &n) == 0 && n == 2);
	CHECK(backend_bpf.apply(s->backend, &p, &again) == 0 && again.was_there && again.slot == first.slot);
	CHECK(backend_bpf.remove(s->backend, &p, &last) == 0 && last.packets == 5);
	CHECK(backend_bpf.remove(s->backend, &p, &last) == ERR_NOT_FOUND);
	backend_bpf.remove_all(s->backend);
	backend_bpf.close(s->backend);
}

static void test_survival(void)
{
	run(survives);
}

static const struct unit_test tests[] = {
	{ "packets sent through it come out rewritten, by XDP and by tc", test_proof },
	{ "flows and counters survive the process", test_survival },
};

int main(int argc, char **argv)
{
	if (geteuid() != 0) {
		printf("1..0 # SKIP needs root, for network namespaces and BPF\n");
		return 0;
	}
	return unit_main(argc, argv, "bpf", tests, sizeof(tests) / sizeof(tests[0]));
}
