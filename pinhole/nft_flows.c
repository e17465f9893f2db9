/* Connections through doors: found in the kernel's table by their mark, counted, and cut when their door is closed. */
#include <errno.h>
#include <stdlib.h>

#include "pinhole/nft_inside.h"

enum {
	LOOKS_MAX = 4, /* readings of the whole connection table for doors that are closed, between two ticks */
	LEFT_MS = 120000, /* after the start, connections of an earlier process are known by themselves no longer */
};

/* Of an earlier process, by what arrived. */
struct left {
	struct hash_node node;
	struct conntrack_entry flow;
};

/* A door that was closed without a look: a connection that nobody saw may have come through. */
struct leaving {
	struct list node;
	struct nft_door door;
};

/* The door that a connection came through: the one for its source, else the one for everybody. */
static struct door *door_of(const struct backend *backend, const struct conntrack_entry *flow)
{
	static const struct wire_addr anybody;
	const struct nft_arrival known = nft_arrival(flow->proto, &flow->source, &flow->listen);
	const struct nft_arrival any = nft_arrival(flow->proto, &anybody, &flow->listen);
	struct door *door = nft_find(backend, &known);

	if (!door)
		door = nft_find(backend, &any);
	return door && wire_addr_eq(&door->kernel.target, &flow->target) ? door : NULL;
}

static bool is_of(const struct conntrack_entry *flow, const struct nft_door *door)
{
	const struct nft_arrival arrival = nft_arrival(flow->proto, &flow->source, &flow->listen);

	return flow->proto == door->proto && wire_addr_eq(&flow->listen, &door->listen) &&
	       wire_addr_eq(&flow->target, &door->target) &&
	       (door->source.family == 0 || wire_addr_eq(&arrival.source, &door->source));
}

struct cut {
	struct backend *backend;
	const struct nft_door *door;
};

/* A connection of the door that is being closed. */
static void cut_flow(void *arg, const struct conntrack_entry *flow)
{
	const struct cut *cut = arg;

	if (is_of(flow, cut->door))
		conntrack_kernel_delete(cut->backend->frame.kernel, flow);
}

static void cut_late_flow(void *arg, const struct conntrack_entry *flow)
{
	struct backend *backend = arg;

	LIST_EACH(&backend->leaving, node)
		if (is_of(flow, &LIST_ENTRY(node, struct leaving, node)->door))
			conntrack_kernel_delete(backend->frame.kernel, flow);
}

static void forget_leaving(struct backend *backend)
{
	LIST_EACH(&backend->leaving, node) {
		list_remove(node);
		free(LIST_ENTRY(node, struct leaving, node));
	}
}

static void cut_leaving(struct backend *backend)
{
	if (list_is_empty(&backend->leaving))
		return;
	if (nat_frame_dump(&backend->frame, cut_late_flow, backend) == 0)
		forget_leaving(backend);
}

void nft_flows_cut_before(struct backend *backend, const struct nft_door *wanted)
{
	LIST_EACH(&backend->leaving, node) {
		const struct nft_door *door = &LIST_ENTRY(node, struct leaving, node)->door;

		if (door->proto == wanted->proto && wire_addr_eq(&door->listen, &wanted->listen)) {
			cut_leaving(backend);
			return;
		}
	}
}

static bool same_left(const struct hash_node *node, const void *key)
{
	const struct conntrack_entry *flow = &HASH_ENTRY(node, struct left, node)->flow;
	const struct nft_arrival own = nft_arrival(flow->proto, &flow->source, &flow->listen);

	return memcmp(&own, key, sizeof(own)) == 0;
}

static void free_left(struct hash_node *node, void *arg)
{
	hash_table_remove(arg, node);
	free(HASH_ENTRY(node, struct left, node));
}

bool nft_flows_is_over(const struct conntrack_entry *flow)
{
	return flow->tcp_state == CONNTRACK_TCP_TIME_WAIT || flow->tcp_state == CONNTRACK_TCP_CLOSE;
}

bool nft_flows_is_used_up(struct backend *backend, struct door *door)
{
	const struct nft_arrival arrival = nft_arrival(door->kernel.proto, &door->kernel.source, &door->kernel.listen);
	struct hash_node *node;
	struct conntrack_entry then, now;

	if (!backend->left || !door->kernel.is_one_shot)
		return false;
	node = hash_table_find(backend->left, nft_hash(&arrival), same_left, &arrival);
	if (!node)
		return false;
	then = HASH_ENTRY(node, struct left, node)->flow;
	free_left(node, backend->left);
	if (!is_of(&then, &door->kernel) ||
	    conntrack_kernel_find(backend->frame.kernel, then.proto, &then.source, &then.listen, &now) < 0 || now.id != then.id)
		return false;
	door->flow = now;
	return true;
}

static void begin_flows(struct hash_node *node, void *arg)
{
	struct door *door = HASH_ENTRY(node, struct door, node);

	(void)arg;
	memcpy(door->last, door->now, sizeof(door->last));
	memset(door->now, 0, sizeof(door->now));
}

static void read_flow(void *arg, const struct conntrack_entry *flow)
{
	struct backend *backend = arg;
	struct door *door = door_of(backend, flow);

	if (!door)
		return;
	door->seen = backend->serial;
	door->flow = *flow;
	for (unsigned way = 0; way < NFT_WAYS; way++) {
		door->now[way].packets += flow->packets[way];
		door->now[way].bytes += flow->bytes[way];
	}
}

static void end_flows(struct hash_node *node, void *arg)
{
	struct backend *backend = arg;
	struct door *door = HASH_ENTRY(node, struct door, node);
	struct slot_count counts[NFT_WAYS];

	for (unsigned way = 0; way < NFT_WAYS; way++) {
		struct nft_moved *past = &door->past[way];
		const struct nft_moved *now = &door->now[way], *last = &door->last[way];

		if (now->packets < last->packets) { /* a connection has ended; what it moved since the last look is not known */
			past->packets += last->packets - now->packets;
			past->bytes += last->bytes > now->bytes ? last->bytes - now->bytes : 0;
		}
		counts[way] = (struct slot_count){ .packets = past->packets + now->packets, .bytes = past->bytes + now->bytes,
						   .proto = door->kernel.proto, .family = door->kernel.listen.family };
	}
	conntrack_slot_count_both(conntrack_slot(door->slot), &counts[NFT_THERE], &counts[NFT_BACK], backend->frame.now_ms * 1000000);
}

static void forget_flows(struct hash_node *node, void *arg)
{
	struct door *door = HASH_ENTRY(node, struct door, node);

	(void)arg;
	memcpy(door->now, door->last, sizeof(door->now));
}

int nft_flows_read(struct backend *backend)
{
	int err;

	backend->serial++;
	hash_table_each(backend->doors, begin_flows, NULL);
	err = nat_frame_dump(&backend->frame, read_flow, backend);
	hash_table_each(backend->doors, err < 0 ? forget_flows : end_flows, backend);
	return err;
}

static bool is_known(const struct door *door)
{
	return door->seen || door->is_shut;
}

/* Reads the one connection that is known, and counts it. 0, -ENOENT when it is gone, or another negative errno. */
static int read_known(struct backend *backend, struct door *door, struct conntrack_entry *ret)
{
	const struct conntrack_entry *known = &door->flow;
	int err = conntrack_kernel_find(backend->frame.kernel, known->proto, &known->source, &known->listen, ret);

	if (err == 0 && ret->id != known->id)
		err = -ENOENT;
	if (err < 0)
		return err;
	begin_flows(&door->node, backend);
	read_flow(backend, ret);
	end_flows(&door->node, backend);
	return 0;
}

/* Before it is known: by what answers look like, which is known where the gateway gave it an address of its own. */
static int find_first(struct backend *backend, struct door *door)
{
	const struct nft_door *wanted = &door->kernel;
	struct conntrack_entry flow;
	int err = conntrack_kernel_find(backend->frame.kernel, wanted->proto, &wanted->target, &wanted->from, &flow);

	if (err < 0)
		return err;
	if ((flow.mark & backend->frame.mask) != backend->frame.mark || !is_of(&flow, wanted))
		return -ENOENT;
	door->flow = flow;
	return 0;
}

/* A connection that has begun. Where its source keeps its port, this says which one that is. */
static void on_beginning(void *arg, const struct conntrack_entry *flow)
{
	struct backend *backend = arg;
	struct door *door = door_of(backend, flow);

	if (!door || is_known(door))
		return;
	door->flow = *flow;
	door->seen = backend->serial;
}

static void read_beginnings(struct backend *backend)
{
	if (backend->is_watching && conntrack_kernel_news(backend->frame.kernel, on_beginning, backend) < 0)
		backend->has_missed = true;
}

void nft_flows_watch(struct backend *backend)
{
	if (!backend->is_watching)
		backend->is_watching = conntrack_kernel_watch(backend->frame.kernel, CONNTRACK_BEGINNINGS, backend->frame.mark,
							      backend->frame.mask) == 0;
}

/* 0 when it is known; -ENOENT: there is none; another negative errno when that cannot be said now. */
static int find_connection(struct backend *backend, struct door *door)
{
	if (is_known(door))
		return 0;
	if (door->kernel.from.family)
		return find_first(backend, door);
	read_beginnings(backend);
	if (is_known(door))
		return 0;
	return backend->is_watching && !backend->has_missed ? -ENOENT : -EAGAIN; /* the next reading of all will tell */
}

/* The side of the first FIN is noted, the second one is a state. */
static enum pinhole_end end_of(const struct conntrack_entry *flow)
{
	if (flow->tcp_state == CONNTRACK_TCP_LAST_ACK || nft_flows_is_over(flow))
		return PINHOLE_END_BOTH;
	if (flow->tcp_state != CONNTRACK_TCP_FIN_WAIT && flow->tcp_state != CONNTRACK_TCP_CLOSE_WAIT)
		return PINHOLE_END_NONE;
	return flow->has_closed_first[NFT_THERE] ? PINHOLE_END_SOURCE : PINHOLE_END_TARGET;
}

enum pinhole_end nft_flows_look(struct backend *backend, struct door *door)
{
	struct conntrack_entry flow;
	int err = find_connection(backend, door);

	if (err == -ENOENT)
		return PINHOLE_END_NOBODY;
	if (err == 0)
		err = read_known(backend, door, &flow);
	if (err == -ENOENT)
		return PINHOLE_END_BOTH;
	return err < 0 ? PINHOLE_END_UNKNOWN : end_of(&flow);
}

/* The one connection that is known. Counted to its last packet, then cut; one that ends at a socket of ours only when it is over: the
 * process may still have to say something there, a reset above all. */
static void cut_known(struct backend *backend, struct door *door)
{
	struct conntrack_entry flow;

	if (read_known(backend, door, &flow) < 0)
		return;
	if (!door->is_to_self || nft_flows_is_over(&flow))
		conntrack_kernel_delete(backend->frame.kernel, &flow);
}

/* A door that stood open may have connections that were never seen: that takes a look at all of them, now or, when many doors
 * close at once, with the next tick. */
void nft_flows_cut(struct backend *backend, struct door *door)
{
	struct cut cut = { backend, &door->kernel };
	struct leaving *leaving = NULL;

	if (door->is_shut || (door->kernel.is_one_shot && door->seen)) {
		cut_known(backend, door);
		return;
	}
	if (door->is_to_self)
		return;
	if (backend->n_looks >= LOOKS_MAX)
		leaving = calloc(1, sizeof(*leaving));
	if (leaving) {
		if (door->seen)
			cut_known(backend, door);
		leaving->door = door->kernel;
		list_append(&backend->leaving, &leaving->node);
		return;
	}
	backend->n_looks++;
	if (nft_flows_read(backend) == 0 && door->seen == backend->serial)
		nat_frame_dump(&backend->frame, cut_flow, &cut);
}

static void forget_left(struct backend *backend)
{
	if (backend->left)
		hash_table_each(backend->left, free_left, backend->left);
	hash_table_free(backend->left);
	backend->left = NULL;
}

void nft_flows_cut_unknown(struct backend *backend, const struct nft_door *door)
{
	struct cut cut = { backend, door };

	nat_frame_dump(&backend->frame, cut_flow, &cut);
}

static void note_left(void *arg, const struct conntrack_entry *flow)
{
	const struct nft_arrival arrival = nft_arrival(flow->proto, &flow->source, &flow->listen);
	struct backend *backend = arg;
	struct left *left = flow->proto == IPPROTO_TCP ? calloc(1, sizeof(*left)) : NULL;

	if (!left) /* without memory a door may let in a second connection */
		return;
	left->flow = *flow;
	if (hash_table_add(backend->left, &left->node, nft_hash(&arrival)) < 0)
		free(left);
}

int nft_flows_open(struct backend *backend)
{
	return nat_frame_dump(&backend->frame, note_left, backend);
}

void nft_flows_tick(struct backend *backend)
{
	backend->n_looks = 0;
	if (backend->left_until_ms == 0)
		backend->left_until_ms = backend->frame.now_ms + LEFT_MS;
	else if (backend->left_until_ms <= backend->frame.now_ms)
		forget_left(backend);
	cut_leaving(backend);
	read_beginnings(backend);
	backend->has_missed = false; /* all connections are read now */
}

void nft_flows_close(struct backend *backend)
{
	forget_leaving(backend);
	forget_left(backend);
}
