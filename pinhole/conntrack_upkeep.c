/* Once a second: counters and time-outs from the next part of the kernel's table, ends of pinholes, fences that a flush took away, and
 * whether what arrives also leaves. */
#include "pinhole/conntrack_inside.h"

enum {
	KEEP_BELOW_S = 60,    /* an idle entry with less time than this is renewed */
	KEEP_STEP_S = 5,      /* but only if that wins this much */
	TCP_ENDING = 4,       /* this state (FIN_WAIT) and those after it are left to their time-outs */
	BLOCKED_PACKETS = 40, /* so many in a round, none of which left, are no accident */
	BLOCKED_MS = 300000,  /* until it is tried again */
};

static void on_end(void *arg, const struct conntrack_entry *entry)
{
	struct backend *backend = arg;
	struct conntrack_arrival arrival = { entry->proto, &entry->source, &entry->listen };
	struct side *side = conntrack_find(backend, &arrival);

	/* The report of an entry that was deleted and made anew since is told by its id. */
	if (side && side->pin->kernel.id == entry->id && conntrack_same_way(&side->pin->kernel, entry))
		conntrack_count(backend, side->pin, entry);
}

static uint32_t time_left_s(const struct backend *backend, const struct pin *pin)
{
	uint64_t left_s = 0;

	for (unsigned i = 0; i < 2; i++) {
		const struct side *side = &pin->sides[i];
		uint64_t own_s = side->expires_ms == 0 ? side->lifetime_s :
			side->expires_ms > backend->frame.now_ms ? (side->expires_ms - backend->frame.now_ms) / 1000 : 0;

		if (side->id && own_s > left_s)
			left_s = own_s;
	}
	return (uint32_t)left_s;
}

static void on_dumped(void *arg, const struct conntrack_entry *entry)
{
	struct backend *backend = arg;
	struct conntrack_arrival arrival = { entry->proto, &entry->source, &entry->listen };
	struct side *side = conntrack_find(backend, &arrival);
	struct pin *pin = side ? side->pin : NULL;
	uint32_t left_s;
	bool is_idle;

	if (!pin || !conntrack_same_way(&pin->kernel, entry))
		return;
	is_idle = pin->kernel.packets[0] == entry->packets[0] && pin->kernel.packets[1] == entry->packets[1];
	pin->seen = backend->serial;
	if (entry->id == pin->kernel.id && !is_idle)
		backend->arrived += entry->packets[0] + entry->packets[1] - pin->kernel.packets[0] - pin->kernel.packets[1];
	conntrack_count(backend, pin, entry);
	left_s = time_left_s(backend, pin);
	if (is_idle && entry->tcp_state < TCP_ENDING && entry->timeout_s < KEEP_BELOW_S &&
	    entry->timeout_s + KEEP_STEP_S < left_s)
		conntrack_kernel_set_timeout(backend->frame.kernel, entry, left_s);
}

struct review {
	struct backend *backend;
	bool is_round_complete;
	void (*gone)(void *arg, uint64_t id, enum wire_gone_why why);
	void *arg;
};

static void review_side(struct hash_node *node, void *arg)
{
	const struct review *review = arg;
	struct backend *backend = review->backend;
	struct side *side = HASH_ENTRY(node, struct side, node);
	uint8_t tcp_state = side->pin->kernel.tcp_state;
	enum wire_gone_why why;

	if (side->id == 0 || side->is_gone)
		return;
	if (side->expires_ms == 0)
		side->expires_ms = backend->frame.now_ms + (uint64_t)side->lifetime_s * 1000;
	if (side->is_one_shot && (tcp_state == CONNTRACK_TCP_TIME_WAIT || tcp_state == CONNTRACK_TCP_CLOSE))
		why = WIRE_USED_UP;
	else if (backend->blocked_until_ms || (review->is_round_complete && side->pin->seen != backend->serial))
		why = WIRE_LOST;
	else if (side->expires_ms <= backend->frame.now_ms)
		why = WIRE_EXPIRED;
	else
		return;
	side->is_gone = true;
	review->gone(review->arg, side->id, why);
}

/* Reads the next part of the kernel's table; whether that was the last one of a round. */
static bool read_on(struct backend *backend)
{
	int more = 0;

	if (!backend->is_reading) {
		backend->serial++;
		more = conntrack_kernel_begin(backend->frame.kernel, backend->frame.mark, UINT32_MAX);
	}
	if (more == 0)
		more = conntrack_kernel_step(backend->frame.kernel, on_dumped, backend);
	backend->is_reading = more > 0; /* after an error a new round begins, and nobody is lost */
	return more == 0;
}

/* At the end of a round: packets that arrive and never leave are dropped by rules of this machine that the proof could not
 * know. Their streams go back to the relay. */
static void look_for_block(struct backend *backend)
{
	uint64_t passed;

	if (nft_table_passed(backend->frame.table, &passed) == 0) {
		if (backend->arrived >= BLOCKED_PACKETS && passed == backend->passed && !backend->has_new_rules)
			backend->blocked_until_ms = backend->frame.now_ms + BLOCKED_MS;
		backend->passed = passed;
	}
	backend->arrived = 0;
	backend->has_new_rules = false;
}

static void put_fence_back(struct hash_node *node, void *arg)
{
	conntrack_renew_fence(arg, HASH_ENTRY(node, struct side, node));
}

static void look_at_rules(struct backend *backend)
{
	struct nft_table_news news = { 0 };

	nft_table_check(backend->frame.table, &news); /* when it fails the next tick tries again */
	if (news.is_changed) {
		backend->has_new_rules = true;
		hash_table_each(backend->sides, put_fence_back, backend);
	}
	if (news.is_changed || backend->blocked_until_ms <= backend->frame.now_ms)
		backend->blocked_until_ms = 0;
}

void conntrack_upkeep(struct backend *backend, void (*gone)(void *arg, uint64_t id, enum wire_gone_why why), void *arg)
{
	struct review review = { backend, false, gone, arg };

	look_at_rules(backend);
	conntrack_kernel_news(backend->frame.kernel, on_end, backend); /* lost reports: the dump tells */
	if (hash_table_count(backend->sides) == 0)
		return;
	review.is_round_complete = read_on(backend);
	if (review.is_round_complete)
		look_for_block(backend);
	hash_table_each(backend->sides, review_side, &review);
}
