/* From a pinhole to a key and a flow of the BPF maps. Knows the checksum arithmetic that lets the programs rewrite a packet
 * without reading it (RFC 1624): what the new addresses and ports add to the sums is the same for every packet of a flow. */
#include "pinhole/bpf_flow.h"

#include <arpa/inet.h>
#include <string.h>

enum { CLOCK_MIN_HZ = 1000 };

bool bpf_flow_is_ip6(const struct wire_pinhole *p)
{
	return p->listen.family == AF_INET6;
}

const char *bpf_flow_refusal(const struct wire_pinhole *p)
{
	struct addr listen = wire_addr_get(&p->listen), source = wire_addr_get(&p->source);
	struct addr target = wire_addr_get(&p->target);

	if (p->proto != IPPROTO_UDP)
		return "BPF flows are UDP only";
	if (p->flags & WIRE_ONE_SHOT)
		return "BPF flows are not one-shot";
	if (p->source.family == 0 || p->source.port == 0)
		return "the source is not known exactly";
	if (p->source.family != p->listen.family || p->from.family != p->target.family)
		return "the addresses do not fit together";
	if (p->listen.family != p->from.family)
		return "address families differ";
	if (p->listen.family != AF_INET && p->listen.family != AF_INET6)
		return "the address family is not known";
	if (addr_kind(&listen) == ADDR_LOOPBACK || addr_kind(&source) == ADDR_LOOPBACK || addr_kind(&target) == ADDR_LOOPBACK)
		return "loopback traffic does not pass through an interface";
	return NULL;
}

union bpf_engine_key bpf_flow_key(const struct wire_pinhole *p)
{
	union bpf_engine_key key = { 0 };

	if (bpf_flow_is_ip6(p)) {
		memcpy(key.v6.saddr, p->source.ip, 16);
		memcpy(key.v6.daddr, p->listen.ip, 16);
		key.v6.sport = htons(p->source.port);
		key.v6.dport = htons(p->listen.port);
	} else {
		memcpy(&key.v4.saddr, p->source.ip, 4);
		memcpy(&key.v4.daddr, p->listen.ip, 4);
		key.v4.sport = htons(p->source.port);
		key.v4.dport = htons(p->listen.port);
	}
	return key;
}

static uint32_t sum_of(const uint8_t *bytes, size_t len)
{
	uint32_t sum = 0;
	uint16_t word;

	for (size_t i = 0; i < len; i += 2) {
		memcpy(&word, bytes + i, 2);
		sum += word;
	}
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

static uint16_t difference(uint32_t from, uint32_t to)
{
	return fold((uint32_t)fold(to) + (uint16_t)~fold(from));
}

struct flow bpf_flow_of(const struct wire_pinhole *p)
{
	size_t len = bpf_flow_is_ip6(p) ? 16 : 4;
	struct flow flow = {
		.payloads = { p->payloads[0], p->payloads[1] },
		.flags = (p->flags & WIRE_RTP ? FLOW_RTP : 0) | (bpf_flow_is_ip6(p) ? FLOW_IP6 : 0),
		.packets_per_s = p->packets_per_s,
		.bytes_per_s = p->bytes_per_s,
		.sport = htons(p->from.port),
		.dport = htons(p->target.port),
		.dscp = p->dscp,
		.realm_in = p->realm_in,
		.realm_out = p->realm_out,
		.id = p->id,
	};

	if (p->clock_hz >= CLOCK_MIN_HZ)
		flow.tick_q8_ns = (uint32_t)(1000000000ull * 256 / p->clock_hz);
	memcpy(flow.saddr, p->from.ip, len);
	memcpy(flow.daddr, p->target.ip, len);
	memcpy(flow.owner, p->owner, sizeof(flow.owner));
	flow.l3_diff = difference(sum_of(p->source.ip, len) + sum_of(p->listen.ip, len),
				  sum_of(p->from.ip, len) + sum_of(p->target.ip, len));
	flow.l4_diff = difference((uint32_t)htons(p->source.port) + htons(p->listen.port), (uint32_t)flow.sport + flow.dport);
	return flow;
}

static struct wire_addr addr_of(bool is_ip6, const void *ip, uint16_t port)
{
	struct wire_addr addr = { .family = is_ip6 ? AF_INET6 : AF_INET, .port = ntohs(port) };

	memcpy(addr.ip, ip, is_ip6 ? 16 : 4);
	return addr;
}

void bpf_flow_addresses(bool is_ip6, const union bpf_engine_key *key, const struct flow *flow, struct backend_entry *ret)
{
	if (is_ip6) {
		ret->source = addr_of(true, key->v6.saddr, key->v6.sport);
		ret->listen = addr_of(true, key->v6.daddr, key->v6.dport);
	} else {
		ret->source = addr_of(false, &key->v4.saddr, key->v4.sport);
		ret->listen = addr_of(false, &key->v4.daddr, key->v4.dport);
	}
	ret->from = addr_of(is_ip6, flow->saddr, flow->sport);
	ret->target = addr_of(is_ip6, flow->daddr, flow->dport);
}

bool bpf_flow_is_same(const struct flow *a, const struct flow *b)
{
	return a->id == b->id && memcmp(a->owner, b->owner, sizeof(a->owner)) == 0 && a->sport == b->sport &&
	       a->dport == b->dport && memcmp(a->saddr, b->saddr, sizeof(a->saddr)) == 0 &&
	       memcmp(a->daddr, b->daddr, sizeof(a->daddr)) == 0;
}
