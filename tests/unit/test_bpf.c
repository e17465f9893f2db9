/* The BPF back end on real interfaces, in network namespaces of its own: what it proves, attaches, keeps and forgets, and
 * what comes out when packets go in. As root only. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

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

static enum pinhole_path path_of(struct stage *s, const struct wire_pinhole *p, char *reason)
{
	reason[0] = '\0';
	return backend_bpf.path_of(s->backend, p, reason);
}

static uint32_t xdp_id(const struct stage *s, unsigned i)
{
	uint32_t id = 0;

	return bpf_xdp_query_id(s->rig->ifindex[i], XDP_FLAGS_DRV_MODE, &id) == 0 ? id : 0;
}

static uint32_t tc_id(const struct stage *s, unsigned i)
{
	LIBBPF_OPTS(bpf_tc_hook, place, .ifindex = s->rig->ifindex[i], .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = bpf_hooks_node(s->conf.node_tag), .priority = 20559);

	return bpf_tc_query(&place, &opts) == 0 ? opts.prog_id : 0;
}

/* A datagram from the left host's socket to the right one's, as the pinhole has it. Its checksum is left to hardware that a
 * veth does not have. */
static bool passes(struct stage *s, const struct wire_pinhole *p)
{
	struct addr source = wire_addr_get(&p->source), target = wire_addr_get(&p->target);
	struct rig_pass pass = { .to = wire_addr_get(&p->listen), .as = wire_addr_get(&p->from) };
	char reason[128];
	int err;

	pass.fd = rig_socket(s->rig, RIG_LEFT, SOCK_DGRAM, &source);
	pass.far = rig_socket(s->rig, RIG_RIGHT, SOCK_DGRAM, &target);
	err = pass.fd < 0 || pass.far < 0 ? -ENODATA : rig_pass(&pass, reason, sizeof(reason));
	if (pass.fd >= 0)
		close(pass.fd);
	if (pass.far >= 0)
		close(pass.far);
	return err == 0;
}

static void forwards(struct stage *s)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };

	for (unsigned i = 0; i < 2; i++) {
		struct wire_pinhole p = stage_pinhole(families[i], 30000);
		struct backend_entry entry = { 0 };
		struct slot *slot;
		unsigned n = 0;

		p.flags = 0;
		stage_open(s);
		CHECK(backend_bpf.apply(s->backend, &p, &entry) == 0 && entry.path == PINHOLE_XDP);
		slot = &s->backend->engine.slot_memory[entry.slot];
		CHECK(passes(s, &p) && slot->packets == 1 && slot->flags == SLOT_NO_XDP && slot->passed == 0);
		CHECK(passes(s, &p) && slot->packets == 2);
		stage_close(s); /* nobody is there now */
		CHECK(passes(s, &p));
		stage_open(s);
		slot = &s->backend->engine.slot_memory[entry.slot];
		CHECK(slot->packets == 3 && backend_bpf.list(s->backend, count_entry, &n) == 0 && n == 1);
		backend_bpf.remove_all(s->backend);
		stage_close(s);
	}
}

static void test_forwarding(void)
{
	stage_run(forwards);
}

/* The same programs stay attached over a restart; after another one's they are replaced in one step. */
static void keeps_programs(struct stage *s)
{
	uint32_t xdp, tc;

	stage_open(s);
	xdp = xdp_id(s, 0);
	tc = tc_id(s, 0);
	CHECK(xdp != 0 && tc != 0 && xdp_id(s, 1) == xdp && tc_id(s, 1) == tc);
	stage_close(s);
	stage_open(s);
	CHECK(xdp_id(s, 0) == xdp && tc_id(s, 0) == tc);
	stage_close(s);
	s->seal.pinholes_max = 200; /* no flows: maps of the new size, and programs that use them */
	stage_open(s);
	CHECK(xdp_id(s, 0) != xdp && xdp_id(s, 0) != 0 && tc_id(s, 1) != tc && tc_id(s, 1) != 0);
	CHECK(s->backend->engine.n_slots > 200);
	backend_bpf.remove_all(s->backend);
	CHECK(xdp_id(s, 0) == 0 && xdp_id(s, 1) == 0 && tc_id(s, 0) == 0 && tc_id(s, 1) == 0);
	stage_close(s);
}

static void test_programs(void)
{
	stage_run(keeps_programs);
}

/* The mount of the pins is gone, as after a service's own mount namespace: programs that are attached still hold the maps. */
static void recovers(struct stage *s)
{
	struct wire_pinhole p = stage_pinhole(AF_INET, 30000);
	struct backend_entry first = { 0 }, again = { 0 };
	char bpffs[80];

	p.flags = 0;
	stage_open(s);
	CHECK(backend_bpf.apply(s->backend, &p, &first) == 0);
	CHECK(passes(s, &p));
	stage_close(s);
	snprintf(bpffs, sizeof(bpffs), "%s/bpf", s->state_dir);
	CHECK(umount(bpffs) == 0);
	CHECK(passes(s, &p));
	stage_open(s);
	CHECK(backend_bpf.apply(s->backend, &p, &again) == 0 && again.was_there && again.slot == first.slot);
	CHECK(s->backend->engine.slot_memory[again.slot].packets == 2);
	CHECK(s->backend->hooks.list[0].has_xdp && s->backend->hooks.list[0].has_tc);
	CHECK(passes(s, &p));
	stage_close(s);
	CHECK(umount(bpffs) == 0);
	s->conf.node_tag = "test_2"; /* another gateway does not take it for its own */
	stage_open(s);
	CHECK(backend_bpf.apply(s->backend, &p, &again) == 0 && !again.was_there);
	CHECK(!s->backend->hooks.list[0].has_xdp && s->backend->hooks.list[0].has_tc);
	backend_bpf.remove_all(s->backend);
	stage_close(s);
	s->conf.node_tag = "test_1";
	CHECK(tc_id(s, 0) != 0 && xdp_id(s, 0) != 0); /* it is still there */
}

static void test_recovery(void)
{
	stage_run(recovers);
}

struct goner {
	uint64_t id;
	enum wire_gone_why why;
	unsigned n;
};

static void note_gone(void *arg, uint64_t id, enum wire_gone_why why)
{
	*(struct goner *)arg = (struct goner){ id, why, ((struct goner *)arg)->n + 1 };
}

static void expires(struct stage *s)
{
	struct wire_pinhole p = stage_pinhole(AF_INET, 30000), q = stage_pinhole(AF_INET6, 30010);
	struct backend_entry entry = { 0 };
	struct goner goner = { 0 };
	struct slot last = { 0 };
	unsigned n = 0;

	stage_open(s);
	CHECK(backend_bpf.apply(s->backend, &q, &entry) == 0);
	CHECK(backend_bpf.apply(s->backend, &p, &entry) == 0);
	s->backend->engine.slot_memory[entry.slot].packets = 7;
	backend_bpf.tick(s->backend, 1000, note_gone, &goner);
	CHECK(goner.n == 0);
	s->backend->held[entry.slot].expires_ns = 1;
	backend_bpf.tick(s->backend, 2000, note_gone, &goner);
	CHECK(goner.n == 1 && goner.id == p.id && goner.why == WIRE_EXPIRED);
	CHECK(backend_bpf.list(s->backend, count_entry, &n) == 0 && n == 1);
	CHECK(backend_bpf.remove(s->backend, &p, &last) == 0 && last.packets == 7);
	CHECK(backend_bpf.remove(s->backend, &p, &last) == ERR_NOT_FOUND);
	backend_bpf.tick(s->backend, 3000, note_gone, &goner);
	CHECK(goner.n == 1 && s->backend->n_replaced == 0);
	backend_bpf.remove_all(s->backend);
	stage_close(s);
}

static void test_expiry(void)
{
	stage_run(expires);
}

/* New addresses for what comes from the same place: the new flow carries it at once, the old one's counters can be had. */
static void replaces(struct stage *s)
{
	struct wire_pinhole p = stage_pinhole(AF_INET, 30000), q = p;
	struct backend_entry first = { 0 }, second = { 0 };
	struct slot last = { 0 };
	unsigned n = 0;

	q.id = 5;
	q.target.port++;
	q.flags |= WIRE_HANDED_OVER;
	stage_open(s);
	CHECK(backend_bpf.apply(s->backend, &p, &first) == 0);
	s->backend->engine.slot_memory[first.slot].packets = 9;
	CHECK(backend_bpf.apply(s->backend, &q, &second) == 0 && !second.was_there && second.slot != first.slot);
	CHECK(s->backend->engine.slot_memory[second.slot].state == SLOT_ACTIVE);
	CHECK(backend_bpf.remove(s->backend, &p, &last) == 0 && last.packets == 9);
	CHECK(backend_bpf.list(s->backend, count_entry, &n) == 0 && n == 1);
	CHECK(backend_bpf.remove(s->backend, &q, &last) == 0 && last.packets == 0);
	backend_bpf.remove_all(s->backend);
	stage_close(s);
}

static void test_replacing(void)
{
	stage_run(replaces);
}

static void fills(struct stage *s)
{
	struct backend_entry entry = { 0 };
	struct slot last;
	uint16_t n = 0;
	int err = 0;

	stage_open(s);
	for (; err == 0 && n < 1000; n++) {
		struct wire_pinhole p = stage_pinhole(n % 2 == 0 ? AF_INET : AF_INET6, (uint16_t)(20000 + 4 * n));

		err = backend_bpf.apply(s->backend, &p, &entry);
	}
	CHECK(err == ERR_LIMIT && n >= s->seal.pinholes_max && n == s->backend->engine.n_slots + 1);
	for (unsigned i = 0; i < 2; i++) {
		struct wire_pinhole p = stage_pinhole(i == 0 ? AF_INET : AF_INET6, (uint16_t)(20000 + 4 * i));

		CHECK(backend_bpf.remove(s->backend, &p, &last) == 0);
		CHECK(backend_bpf.apply(s->backend, &p, &entry) == 0);
	}
	n = 0;
	stage_close(s);
	stage_open(s);
	CHECK(backend_bpf.list(s->backend, count_entry, &(unsigned){ 0 }) == 0);
	CHECK(backend_bpf.apply(s->backend, &(struct wire_pinhole){ .proto = IPPROTO_TCP }, &entry) == ERR_UNSUPPORTED);
	backend_bpf.remove_all(s->backend);
	stage_close(s);
}

static void test_full(void)
{
	stage_run(fills);
}

/* What others have attached stays and is named; what others take off comes back. */
static void gets_along(struct stage *s)
{
	struct wire_pinhole p = stage_pinhole(AF_INET, 30000);
	char reason[WIRE_REASON_MAX];
	struct backend_report report;
	int foreign;

	stage_open(s);
	foreign = s->backend->engine.probe;
	CHECK(system("tc filter add dev left ingress protocol ip prio 7 u32 match u32 0 0 classid 1:1") == 0);
	CHECK(system("tc qdisc del dev right clsact && ip link set right xdp off") == 0);
	CHECK(tc_id(s, 1) == 0 && xdp_id(s, 1) == 0);
	backend_bpf.tick(s->backend, 1000, note_gone, &(struct goner){ 0 });
	CHECK(tc_id(s, 1) != 0 && xdp_id(s, 1) != 0);
	CHECK(path_of(s, &p, reason) == PINHOLE_XDP && reason[0] == '\0');

	CHECK(bpf_xdp_attach(s->rig->ifindex[0], foreign, XDP_FLAGS_DRV_MODE, NULL) == 0);
	backend_bpf.links_changed(s->backend);
	CHECK(xdp_id(s, 0) == bpf_engine_id(foreign));
	CHECK(path_of(s, &p, reason) == PINHOLE_TC && strstr(reason, "another XDP program is on left") != NULL);
	backend_bpf.report(s->backend, PINHOLE_XDP, 0, &report);
	CHECK(!report.is_usable && strcmp(report.reason, reason) == 0);
	backend_bpf.report(s->backend, PINHOLE_TC, 0, &report);
	CHECK(report.is_usable);
	backend_bpf.remove_all(s->backend);
	CHECK(xdp_id(s, 0) == bpf_engine_id(foreign) && xdp_id(s, 1) == 0 && tc_id(s, 0) == 0);
	CHECK(system("tc filter show dev left ingress | grep -q 'pref 7 u32'") == 0);
	stage_close(s);
}

static void test_neighbours_on_the_hook(void)
{
	stage_run(gets_along);
}

/* The peer of "right" stops to take what is redirected, and takes it again. Flows follow, with the stream going on. */
static void loses_way_out(struct stage *s)
{
	struct wire_pinhole p = stage_pinhole(AF_INET, 30000);
	struct backend_entry entry = { 0 };
	char reason[WIRE_REASON_MAX];
	struct stage_frame f;

	stage_open(s);
	CHECK(backend_bpf.apply(s->backend, &p, &entry) == 0 && entry.path == PINHOLE_XDP);
	f = stage_frame(s, &p);
	CHECK(stage_pass(s, PINHOLE_XDP, &f) == STAGE_SENT);
	CHECK(stage_switch_gro(s, false) == 0);
	backend_bpf.tick(s->backend, 1000, note_gone, &(struct goner){ 0 });
	CHECK(path_of(s, &p, reason) == PINHOLE_TC && strstr(reason, "right does not send") != NULL);
	f = stage_frame(s, &p);
	CHECK(stage_pass(s, PINHOLE_XDP, &f) == STAGE_UP && stage_pass(s, PINHOLE_TC, &f) == STAGE_SENT);
	CHECK(stage_switch_gro(s, true) == 0);
	backend_bpf.tick(s->backend, 2000, note_gone, &(struct goner){ 0 });
	CHECK(backend_bpf.apply(s->backend, &p, &entry) == 0 && entry.path == PINHOLE_XDP && entry.was_there);
	f = stage_frame(s, &p);
	CHECK(stage_pass(s, PINHOLE_XDP, &f) == STAGE_SENT);
	CHECK(s->backend->engine.slot_memory[entry.slot].packets == 3);
	backend_bpf.remove_all(s->backend);
	stage_close(s);
}

static void test_way_out(void)
{
	stage_run(loses_way_out);
}

static void interface_goes(struct stage *s)
{
	struct wire_pinhole p = stage_pinhole(AF_INET, 30000);
	struct backend_entry entry = { 0 };
	union bpf_engine_key key = bpf_flow_key(&p);
	char reason[WIRE_REASON_MAX];
	struct flow flow;

	stage_open(s);
	CHECK(backend_bpf.apply(s->backend, &p, &entry) == 0);
	CHECK(bpf_engine_get(&s->backend->engine, false, &key, &flow) == 0);
	CHECK(flow.in_ifindex == (uint32_t)s->rig->ifindex[0] && memcmp(flow.in_mac, s->macs[0], 6) == 0);
	s->interfaces[0].index = 0;
	backend_bpf.links_changed(s->backend);
	CHECK(path_of(s, &p, reason) == PINHOLE_NONE && strstr(reason, "left is not there") != NULL);
	s->interfaces[0].index = s->rig->ifindex[0];
	CHECK(system("ip link set left address 02:00:00:00:00:77") == 0);
	backend_bpf.links_changed(s->backend);
	CHECK(path_of(s, &p, reason) == PINHOLE_XDP);
	CHECK(bpf_engine_get(&s->backend->engine, false, &key, &flow) == 0 && flow.in_mac[5] == 0x77 && flow.slot == entry.slot);
	s->seal.order[0] = PINHOLE_TC; /* as after a restart with another configuration */
	s->seal.order[1] = 0;
	stage_close(s);
	stage_open(s);
	CHECK(xdp_id(s, 0) == 0 && tc_id(s, 0) != 0 && path_of(s, &p, reason) == PINHOLE_TC);
	backend_bpf.remove_all(s->backend);
	stage_close(s);
}

static void test_interface(void)
{
	stage_run(interface_goes);
}

static void uses_neighbours(struct stage *s)
{
	struct wire_pinhole p = stage_pinhole(AF_INET, 30000);
	struct backend_entry entry = { 0 };
	char command[160];

	p.flags = 0;
	stage_open(s);
	snprintf(command, sizeof(command), "ip neigh replace 198.18.2.2 dev right lladdr %02x:%02x:%02x:%02x:%02x:%02x nud stale",
		 s->host_macs[1][0], s->host_macs[1][1], s->host_macs[1][2], s->host_macs[1][3], s->host_macs[1][4],
		 s->host_macs[1][5]);
	CHECK(backend_bpf.apply(s->backend, &p, &entry) == 0 && passes(s, &p));
	CHECK(system(command) == 0);
	CHECK(passes(s, &p)); /* of which the neighbour table knows nothing */
	CHECK(system("ip neigh show to 198.18.2.2 | grep -q STALE") == 0);
	backend_bpf.tick(s->backend, 100000, note_gone, &(struct goner){ 0 });
	CHECK(system("ip neigh show to 198.18.2.2 | grep -Eq 'DELAY|PROBE|REACHABLE'") == 0);
	backend_bpf.remove_all(s->backend);
	stage_close(s);
}

static void test_use(void)
{
	stage_run(uses_neighbours);
}

/* Without a gateway that forwards for everybody. */
static void needs_no_forwarding(struct stage *s)
{
	struct wire_pinhole p = stage_pinhole(AF_INET, 30000), q = stage_pinhole(AF_INET6, 30000);
	struct backend_entry entry = { 0 };

	p.flags = q.flags = 0;
	CHECK(rig_sysctl("net/ipv4/ip_forward", "0") == 0 && rig_sysctl("net/ipv6/conf/all/forwarding", "0") == 0);
	stage_open(s);
	CHECK(backend_bpf.apply(s->backend, &p, &entry) == 0 && passes(s, &p));
	CHECK(backend_bpf.apply(s->backend, &q, &entry) == 0 && passes(s, &q));
	/* Which also switches it off for the loopback interface. */
	CHECK(rig_sysctl("net/ipv4/ip_forward", "1") == 0 && rig_sysctl("net/ipv4/ip_forward", "0") == 0);
	backend_bpf.tick(s->backend, 1000, note_gone, &(struct goner){ 0 });
	backend_bpf.links_changed(s->backend);
	CHECK(passes(s, &p));
	backend_bpf.remove_all(s->backend);
	stage_close(s);
}

static void test_no_forwarding(void)
{
	stage_run(needs_no_forwarding);
}

static const struct refusal {
	const char *why;
	uint8_t proto, flags;
	struct wire_addr source, from, target;
} refusals[] = {
	{ "BPF flows are UDP only", .proto = IPPROTO_TCP },
	{ "BPF flows are not one-shot", .flags = WIRE_ONE_SHOT },
	{ "the source is not known exactly", .source = { .family = AF_INET, .ip = { 198, 18, 1, 2 } } },
	{ "address families differ", .from = { .family = AF_INET6, .port = 1, .ip = { 0xfd } },
	  .target = { .family = AF_INET6, .port = 1, .ip = { 0xfd } } },
	{ "loopback traffic does not pass through an interface", .target = { .family = AF_INET, .port = 1, .ip = { 127, 0, 0, 1 } } },
};

static void test_refusals(void)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		const struct refusal *row = &refusals[i];
		struct wire_pinhole p = stage_pinhole(AF_INET, 30000);
		const char *why;

		CU_ASSERT_PTR_NULL(bpf_flow_refusal(&p));
		p.proto = row->proto != 0 ? row->proto : p.proto;
		p.flags |= row->flags;
		p.source = row->source.family != 0 ? row->source : p.source;
		p.from = row->from.family != 0 ? row->from : p.from;
		p.target = row->target.family != 0 ? row->target : p.target;
		why = bpf_flow_refusal(&p);
		CU_ASSERT_PTR_NOT_NULL(why);
		CU_ASSERT_STRING_EQUAL(why != NULL ? why : "", row->why);
	}
}

static const struct unit_test tests[] = {
	{ "what cannot be a flow is refused with a reason", test_refusals },
	{ "packets sent through it come out rewritten, by XDP and by tc", test_proof },
	{ "sockets' packets pass, unfinished checksums by tc, with and without a process", test_forwarding },
	{ "flows and counters survive the process", test_survival },
	{ "programs stay attached over restarts, are replaced, and are removed", test_programs },
	{ "lost pins are found again by what is attached", test_recovery },
	{ "what nobody renews ends", test_expiry },
	{ "new addresses for an old source", test_replacing },
	{ "all slots taken, and one given back", test_full },
	{ "others' filters and programs", test_neighbours_on_the_hook },
	{ "an interface that no longer sends what XDP hands to it", test_way_out },
	{ "interfaces go, come and change", test_interface },
	{ "neighbours are kept alive", test_use },
	{ "no forwarding is needed but the loopback interface's", test_no_forwarding },
};

int main(int argc, char **argv)
{
	return stage_main(argc, argv, "bpf", tests, sizeof(tests) / sizeof(tests[0]));
}
