/* Sends packets of its own through the real programs, attached to real interfaces in namespaces of their own, before any
 * stream is entrusted to them. Runs in a child process; maps and flows are private to it. Every octet of what comes out is
 * compared with a packet that is built anew, checksums computed in full. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/sockios.h>
#include <linux/udp.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/err.h"
#include "pinhole/bpf_backend.h"
#include "pinhole/rig.h"

enum { PAYLOAD = 172, FRAME_MAX = ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(struct udphdr) + PAYLOAD, WAIT_MS = 1000,
       DSCP = 46, PORT = 20000, LIFETIME_S = 60 };

struct endpoint {
	int fd;          /* a packet socket on the host's interface */
	uint8_t mac[6], gateway_mac[6];
};

struct scene {
	struct rig *rig;
	struct backend *backend;
	struct endpoint ends[2];
	char *reason;
	size_t size;
};

struct shape {
	const uint8_t *to_mac, *from_mac;
	struct addr from, to;
	uint8_t ttl, dscp;
};

static uint32_t sum(const void *data, size_t len, uint32_t start)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < len; i++)
		start += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
	return start;
}

static uint16_t finish(uint32_t value)
{
	value = (value & 0xffff) + (value >> 16);
	value = (value & 0xffff) + (value >> 16);
	return htons((uint16_t)~value);
}

static uint8_t *put_ip(uint8_t *at, const struct shape *s, uint16_t udp_len)
{
	struct iphdr ip4 = { .version = 4, .ihl = 5, .tos = (uint8_t)(s->dscp << 2), .tot_len = htons(20 + udp_len), .id = htons(7),
			     .frag_off = htons(0x4000), .ttl = s->ttl, .protocol = IPPROTO_UDP };
	struct ipv6hdr ip6 = { .version = 6, .priority = s->dscp >> 2, .flow_lbl = { (uint8_t)(s->dscp << 6), 0, 0 },
			       .payload_len = htons(udp_len), .nexthdr = IPPROTO_UDP, .hop_limit = s->ttl };

	if (s->from.family == AF_INET6) {
		memcpy(&ip6.saddr, s->from.ip, 16);
		memcpy(&ip6.daddr, s->to.ip, 16);
		memcpy(at, &ip6, sizeof(ip6));
		return at + sizeof(ip6);
	}
	memcpy(&ip4.saddr, s->from.ip, 4);
	memcpy(&ip4.daddr, s->to.ip, 4);
	ip4.check = finish(sum(&ip4, sizeof(ip4), 0));
	memcpy(at, &ip4, sizeof(ip4));
	return at + sizeof(ip4);
}

static size_t build(uint8_t *frame, const struct shape *s)
{
	bool is_ip6 = s->from.family == AF_INET6;
	uint16_t udp_len = sizeof(struct udphdr) + PAYLOAD, type = htons(is_ip6 ? ETH_P_IPV6 : ETH_P_IP);
	struct udphdr udp = { .source = htons(s->from.port), .dest = htons(s->to.port), .len = htons(udp_len) };
	uint8_t payload[PAYLOAD] = { 0x80, 0, 0, 1, 0, 0, 0, 160, 'p', 'r', 'o', 'f' }, *at = frame;
	uint32_t pseudo = sum(s->from.ip, 16, sum(s->to.ip, 16, IPPROTO_UDP + udp_len));

	for (unsigned i = 12; i < PAYLOAD; i++)
		payload[i] = (uint8_t)(i * 7);
	memcpy(at, s->to_mac, 6);
	memcpy(at + 6, s->from_mac, 6);
	memcpy(at + 12, &type, 2);
	at = put_ip(at + ETH_HLEN, s, udp_len);
	udp.check = finish(sum(payload, sizeof(payload), sum(&udp, sizeof(udp), pseudo)));
	memcpy(at, &udp, sizeof(udp));
	memcpy(at + sizeof(udp), payload, sizeof(payload));
	return (size_t)(at - frame) + udp_len;
}

/* Reads away everything that waits; true when the frame was among it. */
static bool arrives(int fd, const uint8_t *frame, size_t len, int wait_ms)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	uint8_t data[2048];

	while (poll(&wait, 1, wait_ms) > 0)
		if (recv(fd, data, sizeof(data), 0) == (ssize_t)len && memcmp(data, frame, len) == 0)
			return true;
	return false;
}

static int fail(const struct scene *s, const char *what, const char *path, bool is_ip6)
{
	snprintf(s->reason, s->size, "%s: a packet sent through it as a test %s", path, what);
	if (is_ip6)
		snprintf(s->reason, s->size, "%s: an IPv6 packet sent through it as a test %s", path, what);
	return -ENODATA;
}

/* One packet along one path. */
static int pass(const struct scene *s, enum pinhole_path path, uint8_t family)
{
	uint16_t port = (uint16_t)(PORT + 10 * path);
	struct addr source = rig_host(RIG_LEFT, family, port), listen = rig_gateway(RIG_LEFT, family, (uint16_t)(port + 1));
	struct addr from = rig_gateway(RIG_RIGHT, family, (uint16_t)(port + 2)), target = rig_host(RIG_RIGHT, family, (uint16_t)(port + 3));
	struct wire_pinhole p = { .id = port, .listen = wire_addr_of(&listen), .from = wire_addr_of(&from),
				  .source = wire_addr_of(&source), .target = wire_addr_of(&target), .payloads = { 1, 0 },
				  .packets_per_s = 100, .bytes_per_s = 100000, .lifetime_s = LIFETIME_S, .clock_hz = 8000,
				  .realm_in = RIG_LEFT, .realm_out = 1, .proto = IPPROTO_UDP, .flags = WIRE_RTP, .dscp = DSCP };
	struct shape in = { s->ends[0].gateway_mac, s->ends[0].mac, source, listen, 100, 0 };
	struct shape out = { s->ends[1].mac, s->ends[1].gateway_mac, from, target, 64, DSCP };
	const char *name = pinhole_path_text(path);
	struct backend_entry entry;
	uint8_t frame[FRAME_MAX], wanted[FRAME_MAX];
	size_t len = build(frame, &in);
	int err = backend_bpf.apply(s->backend, &p, &entry);

	if (err < 0 || entry.path != path) {
		char why[WIRE_REASON_MAX] = "";

		backend_bpf.path_of(s->backend, &p, why);
		snprintf(s->reason, s->size, "%s: %s", name, why[0] != '\0' ? why : err_str(err));
		return -ENODATA;
	}
	if (send(s->ends[0].fd, frame, len, 0) != (ssize_t)len)
		return fail(s, "could not be sent", name, family == AF_INET6);
	build(wanted, &out);
	if (!arrives(s->ends[1].fd, wanted, len, WAIT_MS))
		return fail(s, "did not come out as it should", name, family == AF_INET6);
	if (s->backend->engine.slot_memory[entry.slot].packets != 1)
		return fail(s, "was not counted", name, family == AF_INET6);
	return 0;
}

/* The pair's far end must be able to take what is redirected to the near one. */
static void take_redirected(int fd, const char *name)
{
	struct ethtool_value value = { .cmd = ETHTOOL_SGRO, .data = 1 };
	struct ifreq request = { .ifr_data = (char *)&value };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	ioctl(fd, SIOCETHTOOL, &request); /* if not, XDP is not proved */
}

static int open_end(const struct scene *s, enum rig_place place, struct endpoint *ret)
{
	struct sockaddr_ll here = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct bpf_rtnl_link link = { 0 };
	struct bpf_rtnl *rtnl = NULL;
	int err = rig_enter(s->rig, place);

	ret->fd = err == 0 ? socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0) : -1;
	if (err == 0 && ret->fd < 0)
		err = -errno;
	if (err == 0) {
		here.sll_ifindex = (int)if_nametoindex("host");
		take_redirected(ret->fd, "host");
		err = bind(ret->fd, (struct sockaddr *)&here, sizeof(here)) < 0 ? -errno : bpf_rtnl_open(&rtnl);
	}
	if (err == 0)
		err = bpf_rtnl_link(rtnl, here.sll_ifindex, &link);
	bpf_rtnl_close(rtnl);
	memcpy(ret->mac, link.mac, sizeof(ret->mac));
	if (rig_enter(s->rig, RIG_GATEWAY) < 0 && err == 0)
		err = -EPERM;
	return err;
}

static int meet(struct scene *s, unsigned end, enum rig_place place, struct bpf_rtnl *rtnl)
{
	struct endpoint *e = &s->ends[end];
	struct addr host4 = rig_host(place, AF_INET, 0), host6 = rig_host(place, AF_INET6, 0);
	struct bpf_rtnl_link link = { 0 };
	int err = open_end(s, place, e);

	if (err == 0)
		err = bpf_rtnl_link(rtnl, s->rig->ifindex[end], &link);
	memcpy(e->gateway_mac, link.mac, sizeof(e->gateway_mac));
	if (err == 0)
		err = bpf_rtnl_add_neighbour(rtnl, s->rig->ifindex[end], AF_INET, host4.ip, e->mac);
	if (err == 0 && s->rig->has_ipv6)
		err = bpf_rtnl_add_neighbour(rtnl, s->rig->ifindex[end], AF_INET6, host6.ip, e->mac);
	return err;
}

static int set_scene(struct scene *s)
{
	struct bpf_rtnl *rtnl = NULL;
	int err = bpf_rtnl_open(&rtnl);

	if (err == 0)
		err = meet(s, 0, RIG_LEFT, rtnl);
	if (err == 0)
		err = meet(s, 1, RIG_RIGHT, rtnl);
	bpf_rtnl_close(rtnl);
	if (err < 0)
		snprintf(s->reason, s->size, "the test's own interfaces: %s", err_str(err));
	return err;
}

static bool try_path(struct scene *s, enum pinhole_path path, bool *ret_has_ip6)
{
	bool is_good = pass(s, path, AF_INET) == 0;

	if (is_good && s->rig->has_ipv6 && pass(s, path, AF_INET6) == 0)
		*ret_has_ip6 = true;
	return is_good;
}

/* In the child. What was found goes into memory shared with the parent. */
static int prove(struct rig *rig, void *arg, char *reason, size_t size)
{
	static const struct wire_seal seal = { .pinholes_max = 8, .order = { PINHOLE_XDP, PINHOLE_TC } };
	struct backend_interface interfaces[] = {
		{ .realm = 0, .name = "left", .index = rig->ifindex[0], .is_up = true },
		{ .realm = 1, .name = "right", .index = rig->ifindex[1], .is_up = true },
	};
	struct backend_conf conf = { .node_tag = "proof", .seal = &seal, .interfaces = interfaces, .n_interfaces = 2 };
	struct bpf_proof *proof = arg;
	struct backend b = { .proof = { .has_xdp = true, .has_tc = true, .has_ip6 = true }, .forwarding4 = -1, .forwarding6 = -1 };
	struct scene scene = { .rig = rig, .backend = &b, .reason = reason, .size = size };
	bool has_ip6_xdp = false, has_ip6_tc = false;
	int err = set_scene(&scene);

	if (err == 0 && (err = bpf_start(&b, &conf, NULL)) < 0)
		snprintf(reason, size, "%s", b.reason);
	if (err < 0)
		return err;
	scene.reason = proof->xdp_reason;
	scene.size = sizeof(proof->xdp_reason);
	proof->has_xdp = try_path(&scene, PINHOLE_XDP, &has_ip6_xdp);
	b.hooks.wants_xdp = false;
	bpf_hooks_sync(&b.hooks, &conf);
	scene.reason = proof->tc_reason;
	proof->has_tc = try_path(&scene, PINHOLE_TC, &has_ip6_tc);
	proof->has_ip6 = (has_ip6_xdp || !proof->has_xdp) && has_ip6_tc;
	bpf_stop(&b);
	return 0;
}

int bpf_proof_run(struct bpf_proof *ret)
{
	struct bpf_proof *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char reason[WIRE_REASON_MAX] = "";
	int err;

	if (shared == MAP_FAILED)
		return -ENOMEM;
	err = rig_run(prove, shared, reason, sizeof(reason));
	*ret = *shared;
	munmap(shared, sizeof(*shared));
	if (err < 0) {
		*ret = (struct bpf_proof){ 0 };
		snprintf(ret->tc_reason, sizeof(ret->tc_reason), "%s", reason[0] != '\0' ? reason : err_str(err));
		snprintf(ret->xdp_reason, sizeof(ret->xdp_reason), "%s", ret->tc_reason);
	}
	return err == -ENOMEM ? err : 0;
}
