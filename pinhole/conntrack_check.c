/* pinhole/conntrack_check.h. */
#include "pinhole/conntrack_check.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "core/err.h"
#include "pinhole/rig.h"

enum { PROOF_PORT_MIN = 20000, PROOF_PORT_MAX = 20001, PROOF_PEER_PORT = 5000 };

static unsigned index_of(uint8_t family)
{
	return family == AF_INET6;
}

struct proof {
	const struct backend_conf *conf;
	conntrack_arrange_fn *arrange;
	uint8_t family;
};

/* Both hosts say something; each has to hear it from the gateway's address on its own side. */
static int pass_both_ways(const struct rig *rig, const struct conntrack_entry *way, char *reason, size_t size)
{
	struct addr source = wire_addr_get(&way->source), listen = wire_addr_get(&way->listen);
	struct addr from = wire_addr_get(&way->from), target = wire_addr_get(&way->target);
	int left = rig_socket(rig, RIG_LEFT, SOCK_DGRAM, &source), right = rig_socket(rig, RIG_RIGHT, SOCK_DGRAM, &target);
	struct rig_pass there = { left, right, listen, from, 0 }, back = { right, left, from, listen, 0 };
	int err;

	if (left < 0 || right < 0) {
		snprintf(reason, size, "sockets for the test: %s", err_str(left < 0 ? left : right));
		return left < 0 ? left : right;
	}
	err = rig_pass(&there, reason, size);
	return err < 0 ? err : rig_pass(&back, reason, size);
}

static struct wire_limit own_of(enum rig_place side, uint8_t family)
{
	struct addr addr = rig_gateway(side, family, 0);

	return (struct wire_limit){ .addr = wire_addr_of(&addr), .port_min = PROOF_PORT_MIN, .port_max = PROOF_PORT_MAX,
				    .realm = side == RIG_RIGHT };
}

static struct wire_addr peer_of(struct addr addr)
{
	return wire_addr_of(&addr);
}

static int prove(struct rig *rig, void *arg, char *reason, size_t size)
{
	const struct proof *proof = arg;
	uint8_t family = proof->family;
	const struct wire_limit own[2] = { own_of(RIG_LEFT, family), own_of(RIG_RIGHT, family) };
	struct backend_interface interfaces[2] = { { 0, "left", rig->ifindex[0], true }, { 1, "right", rig->ifindex[1], true } };
	const struct backend_conf conf = {
		.state_dir = proof->conf->state_dir, .node_tag = proof->conf->node_tag, .own = own, .n_own = 2,
		.seal = proof->conf->seal, .interfaces = interfaces, .n_interfaces = 2,
	};
	const struct conntrack_entry way = {
		.source = peer_of(rig_host(RIG_LEFT, family, PROOF_PEER_PORT)),
		.listen = peer_of(rig_gateway(RIG_LEFT, family, PROOF_PORT_MIN)),
		.from = peer_of(rig_gateway(RIG_RIGHT, family, PROOF_PORT_MAX)),
		.target = peer_of(rig_host(RIG_RIGHT, family, PROOF_PEER_PORT)), .proto = IPPROTO_UDP,
	};
	char why[WIRE_REASON_MAX] = "";
	int err;

	if (family == AF_INET6 && !rig->has_ipv6) {
		snprintf(reason, size, "this kernel has no IPv6 forwarding");
		return ERR_UNSUPPORTED;
	}
	err = proof->arrange(&conf, &way, why);
	if (err == 0)
		err = pass_both_ways(rig, &way, why, sizeof(why));
	snprintf(reason, size, "%s", why);
	return err;
}

static void prove_family(struct conntrack_check *check, const struct proof *proof)
{
	unsigned i = index_of(proof->family);
	char why[WIRE_REASON_MAX - 16] = "";
	int err = rig_run(prove, (void *)proof, why, sizeof(why));

	check->of[i].is_proved = err == 0;
	if (err == 0)
		snprintf(check->of[i].reason, sizeof(check->of[i].reason), "proved with packets through a pair of its own");
	else
		snprintf(check->of[i].reason, sizeof(check->of[i].reason), "not proved: %s", why[0] ? why : err_str(err));
}

static bool has_family(const struct backend_conf *conf, uint8_t family)
{
	for (unsigned i = 0; i < conf->n_own; i++)
		if (conf->own[i].addr.family == family)
			return true;
	return false;
}

void conntrack_check_open(struct conntrack_check *check, const struct backend_conf *conf, conntrack_arrange_fn *arrange)
{
	static const struct {
		uint8_t family;
		const char *path, *setting;
	} rows[2] = {
		{ AF_INET, "/proc/sys/net/ipv4/ip_forward", "net.ipv4.ip_forward" },
		{ AF_INET6, "/proc/sys/net/ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding" },
	};

	memset(check, 0, sizeof(*check));
	for (unsigned i = 0; i < 2; i++) {
		struct proof proof = { conf, arrange, rows[i].family };

		check->of[i].fd = -1;
		snprintf(check->of[i].setting, sizeof(check->of[i].setting), "%s", rows[i].setting);
		snprintf(check->of[i].reason, sizeof(check->of[i].reason), "the gateway has no address of this family");
		if (!has_family(conf, rows[i].family))
			continue;
		check->of[i].fd = open(rows[i].path, O_RDONLY | O_CLOEXEC);
		prove_family(check, &proof);
	}
	conntrack_check_tick(check);
}

void conntrack_check_close(struct conntrack_check *check)
{
	for (unsigned i = 0; i < 2; i++)
		if (check->of[i].fd >= 0)
			close(check->of[i].fd);
}

void conntrack_check_refuse(struct conntrack_check *check, const char *reason)
{
	snprintf(check->refusal, sizeof(check->refusal), "%s", reason);
}

void conntrack_check_tick(struct conntrack_check *check)
{
	for (unsigned i = 0; i < 2; i++) {
		char digit = '0';

		check->of[i].forwards = check->of[i].fd >= 0 && pread(check->of[i].fd, &digit, 1, 0) == 1 && digit != '0';
	}
}

bool conntrack_check_family(const struct conntrack_check *check, uint8_t family, char *reason)
{
	unsigned i = index_of(family);

	if (check->refusal[0])
		snprintf(reason, WIRE_REASON_MAX, "%s", check->refusal);
	else if (!check->of[i].is_proved)
		snprintf(reason, WIRE_REASON_MAX, "%s", check->of[i].reason);
	else if (!check->of[i].forwards)
		snprintf(reason, WIRE_REASON_MAX, "%s is 0: sysctl -w %s=1", check->of[i].setting, check->of[i].setting);
	else
		return true;
	return false;
}

/* A realm is usable when one of its families is: the other one is refused pinhole by pinhole. */
void conntrack_check_report(const struct conntrack_check *check, const struct backend_conf *conf, unsigned realm,
			    struct backend_report *ret)
{
	ret->is_usable = false;
	snprintf(ret->reason, sizeof(ret->reason), "the realm has no address");
	for (unsigned i = 0; i < conf->n_own && !ret->is_usable; i++) {
		uint8_t family = conf->own[i].addr.family;

		if (conf->own[i].realm != realm || !conntrack_check_family(check, family, ret->reason))
			continue;
		ret->is_usable = true;
		snprintf(ret->reason, sizeof(ret->reason), "%s", check->of[index_of(family)].reason);
	}
}

int conntrack_count_packets(char reason[WIRE_REASON_MAX])
{
	static const char path[] = "/proc/sys/net/netfilter/nf_conntrack_acct";
	char digit = '0';
	int fd;

	rig_sysctl("net/netfilter/nf_conntrack_acct", "1");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, &digit, 1) != 1)
		digit = '0';
	if (fd >= 0)
		close(fd);
	if (digit == '1')
		return 0;
	snprintf(reason, WIRE_REASON_MAX, "packets are not counted: sysctl -w net.netfilter.nf_conntrack_acct=1");
	return ERR_UNSUPPORTED;
}
