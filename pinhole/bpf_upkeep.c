/* What the BPF back end does without being asked: flows that nobody renews are ended, neighbours kept alive, programs put
 * back where somebody took them off, flows told when their interfaces change. Reads no clock. Single thread: the helper's. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pinhole/bpf_backend.h"

enum { GATEWAYS_MAX = 4096 };
#define RECENT_NS (60 * 1000000000ull)
#define COUNTERS_NS (60 * 1000000000ull) /* how long those of a flow that is gone are kept */

/* Next hops are looked up as for the gateway's own packets, which come from the loopback interface. The kernel answers only
 * when that interface forwards: harmless, as nothing arrives there from outside, and better than letting all interfaces forward. */
static uint32_t switch_on(int fd)
{
	char value = '0';

	if (fd < 0)
		return 0;
	if (lseek(fd, 0, SEEK_SET) == 0 && read(fd, &value, 1) == 1 && value == '1')
		return 1;
	return lseek(fd, 0, SEEK_SET) == 0 && write(fd, "1\n", 2) == 2 ? 1 : 0;
}

void bpf_upkeep_forwarding(struct backend *b)
{
	struct flow_control *control = b->engine.control_memory;

	control->fib_ifindex4 = switch_on(b->forwarding4);
	control->fib_ifindex6 = switch_on(b->forwarding6);
}

void bpf_upkeep_look_up(struct backend *b)
{
	__atomic_add_fetch(&b->engine.control_memory->epoch, 1, __ATOMIC_RELEASE);
}

/* The flow goes, its counters stay for the remove() that follows. */
static void expire(struct backend *b, uint32_t slot, void (*gone)(void *arg, uint64_t id, enum wire_gone_why why), void *arg)
{
	struct bpf_held *held = &b->held[slot];
	struct flow flow;

	if (bpf_engine_get(&b->engine, held->is_ip6, &held->key, &flow) == 0 && flow.slot == slot)
		bpf_engine_delete(&b->engine, held->is_ip6, &held->key);
	held->is_replaced = true;
	b->n_replaced++;
	gone(arg, held->id, WIRE_EXPIRED);
}

void bpf_upkeep_expire(struct backend *b, uint64_t now, void (*gone)(void *arg, uint64_t id, enum wire_gone_why why), void *arg)
{
	for (uint32_t i = 0; i < b->engine.n_slots; i++) {
		if (b->held[i].id == 0 || b->held[i].expires_ns >= now)
			continue;
		if (!b->held[i].is_replaced)
			expire(b, i, gone, arg);
		else if (now - b->held[i].expires_ns > COUNTERS_NS)
			bpf_free_slot(b, i); /* nobody wants to know */
	}
}

struct gateway {
	uint32_t index;
	uint8_t family, ip[16];
};

static int compare_gateways(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct gateway));
}

/* Only kernel media uses these neighbours: without a packet of the gateway's own they would go stale and be forgotten. */
void bpf_upkeep_neighbours(struct backend *b, uint64_t now)
{
	struct gateway *gateways = calloc(GATEWAYS_MAX, sizeof(*gateways));
	size_t n = 0;

	for (uint32_t i = 0; gateways != NULL && i < b->engine.n_slots && n < GATEWAYS_MAX; i++) {
		const struct flow_state *state = &b->engine.state_memory[i];
		struct gateway *g = &gateways[n];

		if (b->held[i].id == 0 || state->hop_ifindex == 0 || now - b->engine.slot_memory[i].last_ns > RECENT_NS)
			continue;
		g->index = state->hop_ifindex;
		g->family = state->hop_family;
		memcpy(g->ip, state->hop_gateway, g->family == AF_INET6 ? 16 : 4);
		n++;
	}
	if (gateways != NULL)
		qsort(gateways, n, sizeof(*gateways), compare_gateways);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || compare_gateways(&gateways[i - 1], &gateways[i]) != 0)
			bpf_rtnl_use_neighbour(b->rtnl, (int)gateways[i].index, gateways[i].family, gateways[i].ip);
	free(gateways);
}

static void place_again(void *arg, bool is_ip6, const union bpf_engine_key *key, const struct flow *flow)
{
	struct backend *b = arg;
	struct backend_entry entry = { 0 };
	struct wire_pinhole p = { .proto = IPPROTO_UDP, .realm_in = flow->realm_in, .realm_out = flow->realm_out };
	struct flow changed = *flow;

	bpf_flow_addresses(is_ip6, key, flow, &entry);
	p.listen = entry.listen;
	p.source = entry.source;
	p.from = entry.from;
	p.target = entry.target;
	bpf_place_again(b, &p, &changed);
	if (memcmp(&changed, flow, sizeof(changed)) != 0)
		bpf_engine_put(&b->engine, is_ip6, key, &changed);
}

void bpf_upkeep_links(struct backend *b)
{
	if (!bpf_hooks_sync(&b->hooks, b->conf))
		return;
	bpf_engine_each(&b->engine, place_again, b);
	bpf_upkeep_look_up(b);
}
