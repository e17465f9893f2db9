/* backend_conntrack with real packets through the kernel, between network namespaces of its own. */
#include <stdlib.h>
#include <unistd.h>

#include "pinhole/conntrack_kernel.h"
#include "pinhole/nft_skeleton.h"
#include "tests/unit/nat_place.h"
#include "tests/unit/unit.h"

static int passes_one_way(struct place *place)
{
	struct wire_pinhole there = place_pinhole(place, 11);
	struct backend_entry entry;
	const struct slot *slot;
	struct slot last;

	PLACE_CHECK(place, place_apply(place, &there, &entry) == 0);
	PLACE_CHECK(place, entry.id == 11 && entry.path == PINHOLE_CONNTRACK && !entry.was_there);
	slot = &place->slots[entry.slot];
	PLACE_CHECK(place, slot->state == SLOT_ACTIVE && slot->packets == 0);
	for (unsigned i = 0; i < 3; i++)
		PLACE_CHECK(place, place_there(place) == 0);
	PLACE_CHECK(place, place_back_to_relay(place) == 0);
	place_tick(place, 1);
	PLACE_CHECK(place, slot->packets == 3);
	PLACE_CHECK(place, slot->bytes == 3 * sizeof("Postern tests this way."));
	PLACE_CHECK(place, slot->last_ns == place->now_ms * 1000000);
	PLACE_CHECK(place, place_there(place) == 0);
	PLACE_CHECK(place, place->ops->remove(place->backend, &there, &last) == 0);
	PLACE_CHECK(place, last.packets == 4);
	PLACE_CHECK(place, place_to_relay(place) == 0 && place_back_to_relay(place) == 0);
	PLACE_CHECK(place, place->ops->remove(place->backend, &there, &last) < 0);
	return 0;
}

static int reverses_share_an_entry(struct place *place)
{
	struct wire_pinhole there = place_pinhole(place, 11), back = place_reverse(place, 12), other = back;
	struct backend_entry entry[2], again;
	struct place_list list;

	PLACE_CHECK(place, place_apply(place, &there, &entry[0]) == 0);
	PLACE_CHECK(place, place_apply(place, &back, &entry[1]) == 0);
	PLACE_CHECK(place, entry[0].slot != entry[1].slot);
	PLACE_CHECK(place, place_apply(place, &there, &again) == 0);
	PLACE_CHECK(place, again.was_there && again.slot == entry[0].slot);
	other.target.port++;
	PLACE_CHECK(place, place_apply(place, &other, &again) == -EEXIST);
	other = back;
	other.id = 13;
	PLACE_CHECK(place, place_apply(place, &other, &again) == -EEXIST);
	PLACE_CHECK(place, place_there(place) == 0);
	PLACE_CHECK(place, place_back(place) == 0);
	PLACE_CHECK(place, place_back(place) == 0);
	place_tick(place, 1);
	PLACE_CHECK(place, place->slots[entry[0].slot].packets == 1);
	PLACE_CHECK(place, place->slots[entry[1].slot].packets == 2);
	PLACE_CHECK(place, place_list(place, &list) == 0 && list.n == 2);
	PLACE_CHECK(place, list.entries[0].id + list.entries[1].id == 23);
	PLACE_CHECK(place, place->ops->remove(place->backend, &there, NULL) == 0);
	PLACE_CHECK(place, place_to_relay(place) == 0 && place_back(place) == 0);
	PLACE_CHECK(place, place_list(place, &list) == 0 && list.n == 1 && list.entries[0].id == 12);
	PLACE_CHECK(place, place_apply(place, &there, &again) == 0);
	PLACE_CHECK(place, place_there(place) == 0 && place_back(place) == 0);
	PLACE_CHECK(place, place->ops->remove(place->backend, &back, NULL) == 0);
	PLACE_CHECK(place, place_there(place) == 0 && place_back_to_relay(place) == 0);
	PLACE_CHECK(place, place_apply(place, &there, &again) == 0); /* renewed alone */
	PLACE_CHECK(place, place_there(place) == 0 && place_back_to_relay(place) == 0);
	PLACE_CHECK(place, system("nft flush ruleset") == 0);
	place_tick(place, 1);
	PLACE_CHECK(place, place_there(place) == 0 && place_back_to_relay(place) == 0);
	PLACE_CHECK(place, place_apply(place, &back, &again) == 0);
	PLACE_CHECK(place, place->ops->remove(place->backend, &there, NULL) == 0);
	PLACE_CHECK(place, place->ops->remove(place->backend, &back, NULL) == 0);
	PLACE_CHECK(place, place_list(place, &list) == 0 && list.n == 0);
	PLACE_CHECK(place, place_to_relay(place) == 0 && place_back_to_relay(place) == 0);
	return 0;
}

/* The relay has had the stream before, so the kernel has ordinary entries for both tuples. */
static int ordinary_entries_give_way(struct place *place)
{
	struct wire_pinhole there = place_pinhole(place, 11), first = there;
	struct conntrack_kernel *kernel;
	struct conntrack_entry found;
	struct backend_entry entry;

	first.source.port++; /* brings in the table, so that packets are tracked */
	first.from.port++;
	PLACE_CHECK(place, place_apply(place, &first, &entry) == 0);
	PLACE_CHECK(place, place_to_relay(place) == 0);
	PLACE_CHECK(place, place_back_to_relay(place) == 0);
	PLACE_CHECK(place, conntrack_kernel_open(&kernel) == 0);
	PLACE_CHECK(place, conntrack_kernel_find(kernel, IPPROTO_UDP, &there.source, &there.listen, &found) == 0);
	PLACE_CHECK(place, found.mark == 0);
	PLACE_CHECK(place, conntrack_kernel_find(kernel, IPPROTO_UDP, &there.target, &there.from, &found) == 0);
	PLACE_CHECK(place, found.mark == 0);
	PLACE_CHECK(place, place_apply(place, &there, &entry) == 0);
	PLACE_CHECK(place, !entry.was_there);
	PLACE_CHECK(place, place_there(place) == 0 && place_back_to_relay(place) == 0);
	there = place_reverse(place, 12);
	PLACE_CHECK(place, place_apply(place, &there, &entry) == 0);
	PLACE_CHECK(place, place_there(place) == 0 && place_back(place) == 0);
	conntrack_kernel_close(kernel);
	return 0;
}

/* What the relay itself sends to a peer is not tracked: it would stand in the way of its own pinhole. */
static int the_relay_is_not_tracked(struct place *place)
{
	struct wire_pinhole there = place_pinhole(place, 11);
	struct rig_pass out = { place->relay, place->left, place_addr(&there.source), place_addr(&there.listen), 0 };
	struct conntrack_kernel *kernel;
	struct conntrack_entry found;
	struct backend_entry entry;

	there.source.port++;
	PLACE_CHECK(place, place_apply(place, &there, &entry) == 0);
	there.source.port--;
	PLACE_CHECK(place, rig_pass(&out, place->reason, place->size) == 0);
	PLACE_CHECK(place, conntrack_kernel_open(&kernel) == 0);
	PLACE_CHECK(place, conntrack_kernel_find(kernel, IPPROTO_UDP, &there.listen, &there.source, &found) == -ENOENT);
	conntrack_kernel_close(kernel);
	return 0;
}

/* A packet cuts the entry's life down to the kernel's time-out for streams; the tick after it brings it back. */
static int an_idle_entry_is_renewed(struct place *place)
{
	struct wire_pinhole there = place_pinhole(place, 11);
	struct conntrack_kernel *kernel;
	struct conntrack_entry found;
	struct backend_entry entry;

	PLACE_CHECK(place, rig_sysctl("net/netfilter/nf_conntrack_udp_timeout_stream", "30") == 0);
	PLACE_CHECK(place, conntrack_kernel_open(&kernel) == 0);
	PLACE_CHECK(place, place_apply(place, &there, &entry) == 0);
	PLACE_CHECK(place, conntrack_kernel_find(kernel, IPPROTO_UDP, &there.source, &there.listen, &found) == 0);
	PLACE_CHECK(place, found.timeout_s > 500);
	place_tick(place, 1);
	PLACE_CHECK(place, place_there(place) == 0);
	PLACE_CHECK(place, conntrack_kernel_find(kernel, IPPROTO_UDP, &there.source, &there.listen, &found) == 0);
	PLACE_CHECK(place, found.timeout_s <= 30);
	place_tick(place, 1); /* not idle yet */
	place_tick(place, 1);
	PLACE_CHECK(place, conntrack_kernel_find(kernel, IPPROTO_UDP, &there.source, &there.listen, &found) == 0);
	PLACE_CHECK(place, found.timeout_s > 500);
	place_tick(place, 590);
	PLACE_CHECK(place, place->n_gone == 0);
	place_tick(place, 10);
	PLACE_CHECK(place, place->n_gone == 1 && place->gone[0].id == 11 && place->gone[0].why == WIRE_EXPIRED);
	place_tick(place, 10);
	PLACE_CHECK(place, place->n_gone == 1);
	PLACE_CHECK(place, place->ops->remove(place->backend, &there, NULL) == 0);
	PLACE_CHECK(place, conntrack_kernel_find(kernel, IPPROTO_UDP, &there.source, &there.listen, &found) == -ENOENT);
	conntrack_kernel_close(kernel);
	return 0;
}

static int survives_a_restart(struct place *place)
{
	struct wire_pinhole there = place_pinhole(place, 11), back = place_reverse(place, 12), unknown;
	struct backend_entry entry;
	struct place_list list;

	PLACE_CHECK(place, place_apply(place, &there, &entry) == 0);
	PLACE_CHECK(place, place_there(place) == 0);
	PLACE_CHECK(place, place_reopen(place) == 0);
	PLACE_CHECK(place, place_there(place) == 0 && place_back_to_relay(place) == 0);
	PLACE_CHECK(place, place_list(place, &list) == 0 && list.n == 1);
	PLACE_CHECK(place, list.entries[0].id == 0 && list.entries[0].proto == IPPROTO_UDP);
	PLACE_CHECK(place, memcmp(&list.entries[0].source, &there.source, sizeof(there.source)) == 0);
	PLACE_CHECK(place, memcmp(&list.entries[0].target, &there.target, sizeof(there.target)) == 0);
	/* The reverse finds the same entry, from its other end. */
	PLACE_CHECK(place, place_apply(place, &back, &entry) == 0 && entry.was_there);
	PLACE_CHECK(place, place_apply(place, &there, &entry) == 0);
	PLACE_CHECK(place, place->slots[entry.slot].packets == 2);
	PLACE_CHECK(place, place_there(place) == 0 && place_back(place) == 0);
	PLACE_CHECK(place, place_reopen(place) == 0);
	unknown = there;
	unknown.id = 0;
	unknown.target.port++;
	PLACE_CHECK(place, place->ops->remove(place->backend, &unknown, NULL) < 0);
	unknown.target.port--;
	PLACE_CHECK(place, place->ops->remove(place->backend, &unknown, NULL) == 0);
	PLACE_CHECK(place, place_list(place, &list) == 0 && list.n == 0);
	return 0;
}

static int losses_are_told(struct place *place)
{
	enum { STORM = 3000 };
	struct wire_pinhole there = place_pinhole(place, 11);
	struct conntrack_entry way = {
		.source = there.source, .listen = there.listen, .from = there.from, .target = there.target,
		.proto = IPPROTO_UDP, .timeout_s = 60, .mark = nft_mark("test-1") | NFT_MARK_EXACT,
	}, found;
	struct conntrack_kernel *kernel;
	struct backend_entry entry;

	PLACE_CHECK(place, conntrack_kernel_open(&kernel) == 0);
	PLACE_CHECK(place, place_apply(place, &there, &entry) == 0);
	/* More ends than the socket for them has room for. */
	for (unsigned i = 0; i < STORM; i++) {
		struct conntrack_entry other = way;

		other.source.port = (uint16_t)(10000 + i);
		other.from.port = (uint16_t)(30000 + i);
		PLACE_CHECK(place, conntrack_kernel_create(kernel, &other) == 0);
		PLACE_CHECK(place, conntrack_kernel_delete(kernel, &other) == 0);
	}
	PLACE_CHECK(place, place_there(place) == 0);
	place_tick(place, 1);
	PLACE_CHECK(place, place->n_gone == 0 && place->slots[entry.slot].packets == 1);
	PLACE_CHECK(place, place_there(place) == 0);
	PLACE_CHECK(place, conntrack_kernel_delete(kernel, &way) == 0);
	place_tick(place, 1);
	PLACE_CHECK(place, place->n_gone == 1 && place->gone[0].id == 11 && place->gone[0].why == WIRE_LOST);
	PLACE_CHECK(place, place->slots[entry.slot].packets == 2); /* from the report of its end */
	PLACE_CHECK(place, place->ops->remove(place->backend, &there, NULL) == 0);
	/* Lost and opened again before anybody noticed. */
	PLACE_CHECK(place, place_apply(place, &there, &entry) == 0);
	PLACE_CHECK(place, conntrack_kernel_delete(kernel, &way) == 0);
	PLACE_CHECK(place, place_apply(place, &there, &entry) == 0 && entry.was_there);
	PLACE_CHECK(place, conntrack_kernel_find(kernel, IPPROTO_UDP, &there.source, &there.listen, &found) == 0);
	PLACE_CHECK(place, place_there(place) == 0);
	conntrack_kernel_close(kernel);
	return 0;
}

/* Fills the kernel's table to the brim, if that is not too much. */
static int a_full_table_is_told(struct place *place)
{
	enum { TOO_MANY = 300000, PORTS = 50000 };
	struct wire_pinhole there = place_pinhole(place, 11);
	struct conntrack_entry filler = { .source = there.target, .listen = there.source, .from = there.target,
					  .target = there.source, .proto = IPPROTO_UDP, .timeout_s = 600, .mark = 1 };
	struct conntrack_kernel *kernel;
	struct backend_entry entry, second;
	char digits[16] = "";
	FILE *file = fopen("/proc/sys/net/netfilter/nf_conntrack_max", "r");
	int err = 0;
	long max;

	PLACE_CHECK(place, file && fgets(digits, sizeof(digits), file));
	fclose(file);
	max = strtol(digits, NULL, 10);
	if (max > TOO_MANY || place->family == AF_INET6) {
		printf("# SKIP a table for %ld is not filled\n", max);
		return 0;
	}
	PLACE_CHECK(place, place_apply(place, &there, &entry) == 0);
	PLACE_CHECK(place, conntrack_kernel_open(&kernel) == 0);
	for (long i = 0; i < max && err == 0; i++) {
		filler.source.port = filler.from.port = (uint16_t)(10000 + i % PORTS);
		filler.listen.port = filler.target.port = (uint16_t)(1 + i / PORTS);
		err = conntrack_kernel_create(kernel, &filler);
	}
	PLACE_CHECK(place, err == -ENOSPC);
	there.source.port++;
	there.from.port++;
	PLACE_CHECK(place, place_apply(place, &there, &second) == -ENOSPC);
	/* What was there before is not touched. */
	PLACE_CHECK(place, place_there(place) == 0);
	PLACE_CHECK(place, conntrack_kernel_delete(kernel, &filler) == -ENOENT);
	filler.source.port = filler.from.port = 10000;
	filler.listen.port = filler.target.port = 1;
	PLACE_CHECK(place, conntrack_kernel_delete(kernel, &filler) == 0);
	PLACE_CHECK(place, place_apply(place, &there, &second) == 0);
	conntrack_kernel_close(kernel);
	return 0;
}

/* A firewall of the host that lets nothing through: streams go back to the relay, and are taken again when it changes. */
static int a_blocked_way_is_noticed(struct place *place)
{
	struct wire_pinhole there = place_pinhole(place, 11);
	struct addr listen = place_addr(&there.listen);
	struct sockaddr_storage to;
	socklen_t len = addr_to_sockaddr(&listen, &to);
	char reason[WIRE_REASON_MAX] = "";
	struct backend_report report;
	struct backend_entry entry;

	PLACE_CHECK(place, place_apply(place, &there, &entry) == 0);
	for (unsigned i = 0; i < 100; i++)
		PLACE_CHECK(place, sendto(place->left, "x", 1, 0, (struct sockaddr *)&to, len) == 1);
	place_tick(place, 1);
	PLACE_CHECK(place, place->n_gone == 0);
	PLACE_CHECK(place, system("nft 'table inet host { chain f { type filter hook forward priority 0; policy drop; }; }'") == 0);
	place_tick(place, 1);
	for (unsigned i = 0; i < 100; i++)
		PLACE_CHECK(place, sendto(place->left, "x", 1, 0, (struct sockaddr *)&to, len) == 1);
	place_tick(place, 1);
	PLACE_CHECK(place, place->n_gone == 1 && place->gone[0].why == WIRE_LOST);
	PLACE_CHECK(place, place->ops->remove(place->backend, &there, NULL) == 0);
	PLACE_CHECK(place, place->ops->path_of(place->backend, &there, reason) == PINHOLE_NONE);
	PLACE_CHECK(place, strstr(reason, "FORWARD chain") != NULL);
	place->ops->report(place->backend, PINHOLE_CONNTRACK, 0, &report);
	PLACE_CHECK(place, !report.is_usable);
	PLACE_CHECK(place, place_to_relay(place) == 0);
	PLACE_CHECK(place, system("nft insert rule inet host f ct state established accept") == 0);
	place_tick(place, 1);
	PLACE_CHECK(place, place_apply(place, &there, &entry) == 0);
	for (unsigned i = 0; i < 100; i++)
		PLACE_CHECK(place, sendto(place->left, "x", 1, 0, (struct sockaddr *)&to, len) == 1);
	place_tick(place, 1);
	PLACE_CHECK(place, place->n_gone == 1);
	return 0;
}

static int only_what_it_can_hold(struct place *place)
{
	struct wire_pinhole there = place_pinhole(place, 11);
	char reason[WIRE_REASON_MAX] = "";
	struct backend_report report;

	place->ops->report(place->backend, PINHOLE_CONNTRACK, 0, &report);
	PLACE_CHECK(place, report.is_usable);
	PLACE_CHECK(place, strcmp(report.reason, "proved with packets through a pair of its own") == 0);
	PLACE_CHECK(place, place->ops->path_of(place->backend, &there, reason) == PINHOLE_CONNTRACK);
	there.source.port = 0;
	PLACE_CHECK(place, place->ops->path_of(place->backend, &there, reason) == PINHOLE_NONE && reason[0]);
	there = place_pinhole(place, 11);
	there.target.family = place->family == AF_INET ? AF_INET6 : AF_INET;
	PLACE_CHECK(place, place->ops->path_of(place->backend, &there, reason) == PINHOLE_NONE);
	PLACE_CHECK(place, strcmp(reason, "address families differ") == 0);
	there = place_pinhole(place, 11);
	PLACE_CHECK(place, rig_sysctl("net/ipv4/ip_forward", "0") == 0);
	PLACE_CHECK(place, rig_sysctl("net/ipv6/conf/all/forwarding", "0") == 0);
	place_tick(place, 1);
	PLACE_CHECK(place, place->ops->path_of(place->backend, &there, reason) == PINHOLE_NONE);
	PLACE_CHECK(place, strstr(reason, "sysctl -w net.ipv") != NULL);
	place->ops->report(place->backend, PINHOLE_CONNTRACK, 0, &report);
	PLACE_CHECK(place, !report.is_usable && strstr(report.reason, "is 0: sysctl -w") != NULL);
	return 0;
}

#define TEST(name, fn) \
	static void name(void) \
	{ \
		place_run(&(struct place_test){ &backend_conntrack, fn, false }); \
	}
TEST(one_way, passes_one_way)
TEST(reverses, reverses_share_an_entry)
TEST(ordinary, ordinary_entries_give_way)
TEST(relay, the_relay_is_not_tracked)
TEST(idle, an_idle_entry_is_renewed)
TEST(restart, survives_a_restart)
TEST(losses, losses_are_told)
TEST(full, a_full_table_is_told)
TEST(blocked, a_blocked_way_is_noticed)
TEST(limits, only_what_it_can_hold)

static const struct unit_test tests[] = {
	{ "packets pass one way and are counted", one_way },
	{ "two reverse pinholes share an entry", reverses },
	{ "ordinary entries give way", ordinary },
	{ "what the relay sends is not tracked", relay },
	{ "an idle entry is renewed until its lifetime ends", idle },
	{ "entries are found again after a restart", restart },
	{ "losses are told, reports of ends are only hints", losses },
	{ "a full table is told, and by itself usable again", full },
	{ "a firewall that drops everything is noticed", blocked },
	{ "only what it can hold now, else a reason", limits },
};

int main(int argc, char **argv)
{
	return place_may_run() ? unit_main(argc, argv, "conntrack", tests, sizeof(tests) / sizeof(tests[0])) : 0;
}
