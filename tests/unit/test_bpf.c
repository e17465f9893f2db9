/* The BPF back end on real interfaces, in network namespaces of its own: what it proves, attaches, keeps and forgets, and
 * what comes out when packets go in. As root only. */
#include <string.h>

#include "core/err.h"
#include "tests/unit/bpf_stage.h"
#include "tests/unit/unit.h"

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
	struct wire_pinhole p = stage_pinhole(AF_INET, 30000), q = stage_pinhole(AF_INET6, 30000);
	struct backend_entry first, again;
	struct slot last;
	unsigned n = 0;

	stage_open(s);
	CHECK(backend_bpf.apply(s->backend, &p, &first) == 0 && !first.was_there);
	CHECK(backend_bpf.apply(s->backend, &q, &again) == 0 && !again.was_there && again.slot != first.slot);
	s->backend->engine.slot_memory[first.slot].packets = 5;
	stage_close(s);
	stage_open(s);
	CHECK(backend_bpf.list(s->backend, count_entry, &n) == 0 && n == 2);
	CHECK(backend_bpf.apply(s->backend, &p, &again) == 0 && again.was_there && again.slot == first.slot);
	CHECK(backend_bpf.remove(s->backend, &p, &last) == 0 && last.packets == 5);
	CHECK(backend_bpf.remove(s->backend, &p, &last) == ERR_NOT_FOUND);
	backend_bpf.remove_all(s->backend);
	stage_close(s);
}

static void test_survival(void)
{
	stage_run(survives);
}

static const struct unit_test tests[] = {
	{ "packets sent through it come out rewritten, by XDP and by tc", test_proof },
	{ "flows and counters survive the process", test_survival },
};

int main(int argc, char **argv)
{
	return stage_main(argc, argv, "bpf", tests, sizeof(tests) / sizeof(tests[0]));
}
