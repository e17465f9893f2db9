/* The stage for the tests of the BPF back end, see bpf_stage.h. Packets are built and checked here without the arithmetic of
 * the code under test: octet by octet, sums in full. */
#include "tests/unit/bpf_stage.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/pkt_cls.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/err.h"
#include "tests/unit/unit.h"

enum { ETH = 14, IP4 = 20, IP6 = 40, UDP = 8 };

bool stage_check(struct stage *s, bool is_good, const char *file, int line, const char *condition)
{
	if (!is_good) {
		printf("# %s:%d: %s\n", file, line, condition);
		fflush(stdout);
		s->failures++;
	}
	return is_good;
}

/* A veth gives its peer what is redirected to it only when the peer expects it, as with GRO switched on. */
static int switch_gro(const struct rig *rig, enum rig_place place, bool is_on)
{
	struct ethtool_value value = { .cmd = ETHTOOL_SGRO, .data = is_on };
	struct ifreq request = { .ifr_name = "host", .ifr_data = (char *)&value };
	int err = rig_enter(rig, place), fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (err == 0 && ioctl(fd, SIOCETHTOOL, &request) < 0)
		err = -errno;
	close(fd);
	return err < 0 ? err : rig_enter(rig, RIG_GATEWAY);
}

int stage_switch_gro(struct stage *s, bool is_on)
{
	int err = switch_gro(s->rig, RIG_LEFT, is_on);

	return err < 0 ? err : switch_gro(s->rig, RIG_RIGHT, is_on);
}

static int read_mac(const struct rig *rig, enum rig_place place, const char *name, uint8_t *mac)
{
	struct bpf_rtnl *rtnl = NULL;
	struct bpf_rtnl_link link = { 0 };
	int err = rig_enter(rig, place);

	if (err == 0)
		err = bpf_rtnl_open(&rtnl);
	if (err == 0)
		err = bpf_rtnl_link(rtnl, (int)if_nametoindex(name), &link);
	bpf_rtnl_close(rtnl);
	memcpy(mac, link.mac, 6);
	return err < 0 ? err : rig_enter(rig, RIG_GATEWAY);
}

static int meet_hosts(struct stage *s)
{
	static const enum rig_place places[] = { RIG_LEFT, RIG_RIGHT };
	struct bpf_rtnl *rtnl = NULL;
	int err = bpf_rtnl_open(&rtnl);

	for (unsigned i = 0; i < 2 && err == 0; i++) {
		struct addr host4 = rig_host(places[i], AF_INET, 0), host6 = rig_host(places[i], AF_INET6, 0);

		err = read_mac(s->rig, places[i], "host", s->host_macs[i]);
		if (err == 0)
			err = read_mac(s->rig, RIG_GATEWAY, s->interfaces[i].name, s->macs[i]);
		if (err == 0)
			err = bpf_rtnl_add_neighbour(rtnl, s->rig->ifindex[i], AF_INET, host4.ip, s->host_macs[i]);
		if (err == 0)
			err = bpf_rtnl_add_neighbour(rtnl, s->rig->ifindex[i], AF_INET6, host6.ip, s->host_macs[i]);
	}
	bpf_rtnl_close(rtnl);
	return err;
}

static int set_stage(struct stage *s)
{
	int err;

	for (unsigned i = 0; i < 2; i++) {
		s->interfaces[i] = (struct backend_interface){ .realm = i, .index = s->rig->ifindex[i], .is_up = true };
		snprintf(s->interfaces[i].name, sizeof(s->interfaces[i].name), "%s", i == 0 ? "left" : "right");
	}
	s->seal = (struct wire_seal){ .pinholes_max = 100, .order = { PINHOLE_XDP, PINHOLE_TC } };
	s->conf = (struct backend_conf){ .state_dir = s->state_dir, .node_tag = "test_1", .seal = &s->seal,
					 .interfaces = s->interfaces, .n_interfaces = 2 };
	err = meet_hosts(s);
	return err < 0 ? err : stage_switch_gro(s, true);
}

static int play(struct rig *rig, void *arg, char *reason, size_t size)
{
	stage_fn **fn = arg;
	struct stage s = { .rig = rig, .state_dir = "/tmp/test_bpf.XXXXXX" };
	char bpffs[80];
	int err;

	/* Mounts are private to this process and end with it. */
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mkdtemp(s.state_dir) == NULL)
		return -errno;
	err = set_stage(&s);
	if (err == 0)
		(*fn)(&s);
	snprintf(bpffs, sizeof(bpffs), "%s/bpf", s.state_dir);
	umount(bpffs);
	rmdir(bpffs);
	rmdir(s.state_dir);
	if (err == 0)
		snprintf(reason, size, "%u checks failed", s.failures);
	fflush(stdout);
	return s.failures > 0 ? -ENODATA : err;
}

void stage_run(stage_fn *fn)
{
	char reason[128] = "";
	int err;

	fflush(stdout);
	err = rig_run(play, &fn, reason, sizeof(reason));
	CU_ASSERT_EQUAL(err, 0);
	if (err < 0)
		printf("# %s: %s\n", err_str(err), reason);
}

int stage_main(int argc, char **argv, const char *suite, const struct unit_test *tests, size_t n_tests)
{
	if (geteuid() != 0) {
		printf("1..0 # SKIP needs root, for network namespaces and BPF\n");
		return 0;
	}
	return unit_main(argc, argv, suite, tests, n_tests);
}

void stage_open(struct stage *s)
{
	char root[BPF_ENGINE_PATH_MAX - 32], folder[BPF_ENGINE_PATH_MAX];

	s->backend = calloc(1, sizeof(*s->backend));
	s->backend->forwarding4 = s->backend->forwarding6 = -1;
	s->backend->proof = (struct bpf_proof){ .has_xdp = true, .has_tc = true, .has_ip6 = true };
	bpf_engine_init(&s->backend->engine);
	CHECK(bpf_engine_mount(s->state_dir, root, sizeof(root)) == 0);
	snprintf(folder, sizeof(folder), "%s/%s", root, s->conf.node_tag);
	if (!CHECK(bpf_start(s->backend, &s->conf, folder) == 0))
		printf("# %s\n", s->backend->reason);
}

void stage_close(struct stage *s)
{
	backend_bpf.close(s->backend);
	s->backend = NULL;
}

struct wire_pinhole stage_pinhole(uint8_t family, uint16_t port)
{
	struct addr source = rig_host(RIG_LEFT, family, port), listen = rig_gateway(RIG_LEFT, family, (uint16_t)(port + 1));
	struct addr from = rig_gateway(RIG_RIGHT, family, (uint16_t)(port + 2));
	struct addr target = rig_host(RIG_RIGHT, family, (uint16_t)(port + 3));

	return (struct wire_pinhole){ .id = port, .owner = { 7 }, .listen = wire_addr_of(&listen), .from = wire_addr_of(&from),
				      .source = wire_addr_of(&source), .target = wire_addr_of(&target), .payloads = { 1, 0 },
				      .packets_per_s = 100000, .bytes_per_s = 100000000, .lifetime_s = 60, .clock_hz = 8000,
				      .realm_in = 0, .realm_out = 1, .proto = IPPROTO_UDP, .flags = WIRE_RTP, .dscp = 46 };
}

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint16_t sum_of(const uint8_t *data, size_t len, uint64_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 == 0 ? (uint64_t)data[i] << 8 : data[i];
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static bool is_ip6(const struct stage_frame *f)
{
	return f->data[12] == 0x86;
}

/* Sum of the UDP datagram as its checksum has it, which must be 0xffff. */
static uint16_t udp_sum(const struct stage_frame *f)
{
	const uint8_t *ip = f->data + ETH, *udp = ip + (is_ip6(f) ? IP6 : IP4);
	size_t len = get16(udp + 4), room = f->len - (size_t)(udp - f->data);
	uint64_t pseudo = sum_of(ip + (is_ip6(f) ? 8 : 12), is_ip6(f) ? 32 : 8, 0) + 17u + get16(udp + 4);

	return sum_of(udp, len < room ? len : room, pseudo);
}

void stage_checksums(struct stage_frame *f)
{
	uint8_t *ip = f->data + ETH, *udp = ip + (is_ip6(f) ? IP6 : IP4);
	uint16_t check;

	if (!is_ip6(f)) {
		put16(ip + 10, 0);
		put16(ip + 10, (uint16_t)~sum_of(ip, IP4, 0));
	}
	put16(udp + 6, 0);
	check = (uint16_t)~udp_sum(f);
	put16(udp + 6, check != 0 ? check : 0xffff);
}

bool stage_has_good_checksums(const struct stage_frame *f)
{
	const uint8_t *ip = f->data + ETH, *udp = ip + (is_ip6(f) ? IP6 : IP4);

	return (is_ip6(f) || sum_of(ip, IP4, 0) == 0xffff) && get16(udp + 6) != 0 && udp_sum(f) == 0xffff;
}

struct stage_frame stage_frame(const struct stage *s, const struct wire_pinhole *p)
{
	static const uint8_t ip4[IP4] = { 0x45, 0x03, 0, IP4 + UDP + STAGE_PAYLOAD, 0x12, 0x34, 0x40, 0, 64, 17 };
	static const uint8_t ip6[IP6] = { 0x60, 0x31, 0x23, 0x45, 0, UDP + STAGE_PAYLOAD, 17, 64 };
	static const uint8_t rtp[12] = { 0x80, 0, 0, 1, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef };
	bool is_v6 = p->listen.family == AF_INET6;
	size_t ip_len = is_v6 ? IP6 : IP4, addr_len = is_v6 ? 16 : 4;
	struct stage_frame f = { .len = ETH + ip_len + UDP + STAGE_PAYLOAD };
	uint8_t *ip = f.data + ETH, *udp = ip + ip_len;

	memcpy(f.data, s->macs[0], 6);
	memcpy(f.data + 6, s->host_macs[0], 6);
	put16(f.data + 12, is_v6 ? 0x86dd : 0x0800);
	memcpy(ip, is_v6 ? ip6 : ip4, ip_len);
	memcpy(udp - 2 * addr_len, p->source.ip, addr_len);
	memcpy(udp - addr_len, p->listen.ip, addr_len);
	put16(udp, p->source.port);
	put16(udp + 2, p->listen.port);
	put16(udp + 4, UDP + STAGE_PAYLOAD);
	memcpy(udp + UDP, rtp, sizeof(rtp));
	for (size_t i = sizeof(rtp); i < STAGE_PAYLOAD; i++)
		udp[UDP + i] = (uint8_t)(i * 13);
	stage_checksums(&f);
	return f;
}

enum stage_result stage_pass(struct stage *s, enum pinhole_path path, struct stage_frame *f)
{
	static uint8_t out[STAGE_FRAME_MAX];
	struct xdp_md xdp = { .data_end = (uint32_t)f->len, .ingress_ifindex = (uint32_t)s->rig->ifindex[0] };
	struct __sk_buff skb = { .ifindex = (uint32_t)s->rig->ifindex[0] };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->data, .data_size_in = (uint32_t)f->len, .data_out = out,
		    .data_size_out = sizeof(out), .repeat = 1);
	bool is_xdp = path == PINHOLE_XDP;
	int err;

#ifdef BPF_F_TEST_SKB_CHECKSUM_COMPLETE
	opts.flags = s->is_summed && !is_xdp ? BPF_F_TEST_SKB_CHECKSUM_COMPLETE : 0; /* and it has to be right afterwards */
#endif
	opts.ctx_in = is_xdp ? (void *)&xdp : (void *)&skb;
	opts.ctx_size_in = is_xdp ? sizeof(xdp) : sizeof(skb);
	err = bpf_prog_test_run_opts(is_xdp ? s->backend->engine.xdp : s->backend->engine.tc, &opts);
	if (err == -EINVAL && opts.flags != 0) { /* a kernel that cannot play such hardware */
		opts.flags = 0;
		err = bpf_prog_test_run_opts(s->backend->engine.tc, &opts);
	}
	if (!CHECK(err == 0))
		return STAGE_ODD;
	memcpy(f->data, out, opts.data_size_out);
	f->len = opts.data_size_out;
	if (opts.retval == (is_xdp ? XDP_REDIRECT : TC_ACT_REDIRECT))
		return STAGE_SENT;
	if (opts.retval == (is_xdp ? (uint32_t)XDP_DROP : (uint32_t)TC_ACT_SHOT))
		return STAGE_DROP;
	return opts.retval == (is_xdp ? (uint32_t)XDP_PASS : (uint32_t)TC_ACT_UNSPEC) ? STAGE_UP : STAGE_ODD;
}
