/* backend_nft with real packets and connections, between network namespaces of its own. */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "pinhole/nft_door.h"
#include "tests/unit/nat_place.h"
#include "tests/unit/unit.h"

static const char table[] = "postern_test_1";

static struct wire_pinhole open_pinhole(const struct place *place, uint64_t id)
{
	struct wire_pinhole pinhole = place_pinhole(place, id);

	pinhole.source.port = 0;
	return pinhole;
}

static struct wire_pinhole stream_pinhole(const struct place *place, uint64_t id)
{
	struct wire_pinhole pinhole = open_pinhole(place, id);

	pinhole.proto = IPPROTO_TCP;
	pinhole.flags = WIRE_ONE_SHOT;
	return pinhole;
}

static int tcp_listen(struct place *place)
{
	struct addr addr = rig_host(RIG_RIGHT, place->family, PLACE_TARGET);
	int fd = rig_socket(place->rig, RIG_RIGHT, SOCK_STREAM, &addr);

	return fd >= 0 && listen(fd, 4) == 0 ? fd : -1;
}

/* From the left host, of any port of its, to the gateway. -1 when nobody answers for a moment. */
static int tcp_connect(struct place *place, int wait_ms)
{
	struct addr local = rig_host(RIG_LEFT, place->family, 0), to = rig_gateway(RIG_LEFT, place->family, PLACE_LISTEN);
	struct sockaddr_storage storage;
	socklen_t len = addr_to_sockaddr(&to, &storage);
	int fd = rig_socket(place->rig, RIG_LEFT, SOCK_STREAM | SOCK_NONBLOCK, &local), err = 0;
	struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
	socklen_t err_len = sizeof(err);

	if (fd < 0 || (connect(fd, (struct sockaddr *)&storage, len) < 0 && errno != EINPROGRESS) ||
	    poll(&poll_fd, 1, wait_ms) != 1 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &err_len) < 0 || err) {
		close(fd);
		return -1;
	}
	return fd;
}

static int one_connection_only(struct place *place)
{
	struct wire_pinhole pinhole = stream_pinhole(place, 21);
	struct sockaddr_storage storage;
	socklen_t len = sizeof(storage);
	struct backend_entry entry;
	struct place_list list;
	struct addr peer, from = place_addr(&pinhole.from);
	int listener = tcp_listen(place), left, right;
	char text[8] = "";

	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0 && entry.path == PINHOLE_NFT && !entry.was_there);
	PLACE_CHECK(place, place_list(place, &list) == 0 && list.n == 1 && list.entries[0].id == 21);
	left = tcp_connect(place, 3000);
	PLACE_CHECK(place, left >= 0);
	right = accept(listener, (struct sockaddr *)&storage, &len);
	peer = addr_from_sockaddr((struct sockaddr *)&storage);
	PLACE_CHECK(place, right >= 0 && addr_eq(&peer, &from));
	/* Before any tick: the kernel itself lets nobody else in. */
	PLACE_CHECK(place, tcp_connect(place, 300) < 0);
	PLACE_CHECK(place, write(right, "hello", 6) == 6 && read(left, text, sizeof(text)) == 6);
	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0 && entry.was_there); /* renewing opens no second time */
	PLACE_CHECK(place, tcp_connect(place, 300) < 0);
	place_tick(place, 1);
	PLACE_CHECK(place, place->n_gone == 0 && place->slots[entry.slot].packets > 1 && place->slots[entry.slot].packets_back > 1);
	PLACE_CHECK(place, place_list(place, &list) == 0 && list.n == 1 && list.entries[0].id == 21);
	PLACE_CHECK(place, write(left, "hello", 6) == 6 && read(right, text, sizeof(text)) == 6);
	close(left);
	close(right);
	for (unsigned i = 0; i < 50 && place->n_gone == 0; i++) {
		usleep(20000);
		place_tick(place, 1);
	}
	PLACE_CHECK(place, place->n_gone == 1 && place->gone[0].why == WIRE_USED_UP);
	PLACE_CHECK(place, place->ops->remove(place->backend, &pinhole, NULL) == 0);
	PLACE_CHECK(place, place_list(place, &list) == 0 && list.n == 0);
	return 0;
}

static int closing_cuts_the_connection(struct place *place)
{
	struct wire_pinhole pinhole = stream_pinhole(place, 21);
	struct backend_entry entry;
	struct slot last;
	int listener = tcp_listen(place), left, right;
	struct pollfd poll_fd = { .events = POLLIN };

	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
	left = tcp_connect(place, 3000);
	right = accept(listener, NULL, NULL);
	PLACE_CHECK(place, left >= 0 && right >= 0);
	PLACE_CHECK(place, place->ops->remove(place->backend, &pinhole, &last) == 0);
	PLACE_CHECK(place, last.packets >= 2 && last.packets_back >= 1);
	PLACE_CHECK(place, write(right, "hello", 6) == 6);
	poll_fd.fd = left;
	PLACE_CHECK(place, poll(&poll_fd, 1, 200) == 0);
	return 0;
}

/* When many doors close at once, a connection that nobody has seen yet is cut with the next tick. */
static int closing_many_cuts_late(struct place *place)
{
	enum { MANY = 20 };
	struct wire_pinhole pinhole = open_pinhole(place, 21), other;
	struct backend_entry entry;

	for (unsigned i = 0; i < MANY; i++) {
		other = pinhole;
		other.id += 1 + i;
		other.listen.port = (uint16_t)(other.listen.port + 1 + i);
		other.target.port = (uint16_t)(other.target.port + 1 + i);
		PLACE_CHECK(place, place_apply(place, &other, &entry) == 0);
	}
	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
	for (unsigned i = 0; i < MANY; i++) {
		other = pinhole;
		other.id += 1 + i;
		other.listen.port = (uint16_t)(other.listen.port + 1 + i);
		other.target.port = (uint16_t)(other.target.port + 1 + i);
		PLACE_CHECK(place, place->ops->remove(place->backend, &other, NULL) == 0);
	}
	PLACE_CHECK(place, place_there(place) == 0);
	PLACE_CHECK(place, place->ops->remove(place->backend, &pinhole, NULL) == 0);
	place_tick(place, 1);
	PLACE_CHECK(place, place_to_relay(place) == 0);
	return 0;
}

/* Sent by the right host to the address on which the left one is expected. */
static int stranger_to_relay(struct place *place)
{
	struct wire_pinhole way = place_pinhole(place, 0);
	struct addr stranger = rig_host(RIG_RIGHT, place->family, PLACE_TARGET + 1);
	struct rig_pass pass = { rig_socket(place->rig, RIG_RIGHT, SOCK_DGRAM, &stranger), place->relay,
				 place_addr(&way.listen), stranger, 0 };
	int err = rig_pass(&pass, place->reason, place->size);

	close(pass.fd);
	return err;
}

static int any_port_of_one_host(struct place *place)
{
	struct wire_pinhole pinhole = open_pinhole(place, 22);
	struct backend_entry entry;

	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
	PLACE_CHECK(place, place_there(place) == 0 && place_back(place) == 0);
	PLACE_CHECK(place, stranger_to_relay(place) == 0);
	place_tick(place, 1);
	PLACE_CHECK(place, place->slots[entry.slot].packets == 1 && place->slots[entry.slot].packets_back == 1);
	PLACE_CHECK(place, place->slots[entry.slot].bytes == sizeof("Postern tests this way."));
	PLACE_CHECK(place, place->slots[entry.slot].bytes_back == sizeof("Postern tests this way."));
	place_tick(place, 598);
	PLACE_CHECK(place, place->n_gone == 0);
	place_tick(place, 10);
	PLACE_CHECK(place, place->n_gone == 1 && place->gone[0].why == WIRE_EXPIRED);
	PLACE_CHECK(place, place->ops->remove(place->backend, &pinhole, NULL) == 0);
	PLACE_CHECK(place, place_to_relay(place) == 0);
	return 0;
}

static int anybody(struct place *place)
{
	struct wire_pinhole pinhole = open_pinhole(place, 23), known = pinhole, other = pinhole;
	struct backend_entry entry;

	memset(&pinhole.source, 0, sizeof(pinhole.source));
	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
	PLACE_CHECK(place, place_there(place) == 0 && place_back(place) == 0);
	/* The same door for one host besides is another one, but two that would leave alike are not. */
	known.id = 24;
	PLACE_CHECK(place, place_apply(place, &known, &entry) == 0);
	other.id = 25;
	other.listen.port++;
	PLACE_CHECK(place, place_apply(place, &other, &entry) == -EEXIST);
	other = known;
	other.id = 26;
	PLACE_CHECK(place, place_apply(place, &other, &entry) == -EEXIST);
	return 0;
}

struct doors {
	unsigned n;
	struct nft_door first;
};

static void count_door(void *arg, const struct nft_door *door)
{
	struct doors *doors = arg;

	if (doors->n++ == 0)
		doors->first = *door;
}

static int elements_have_the_lifetime(struct place *place)
{
	struct wire_pinhole pinhole = open_pinhole(place, 0xabcdef);
	struct doors doors = { 0 };
	struct backend_entry entry;
	struct nft_link *link;

	pinhole.lifetime_s = 100;
	PLACE_CHECK(place, nft_link_open(&link) == 0);
	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
	PLACE_CHECK(place, nft_door_list(link, table, count_door, &doors) == 0);
	PLACE_CHECK(place, doors.n == 1 && doors.first.id == 0xabcdef);
	PLACE_CHECK(place, doors.first.timeout_s <= 100 && doors.first.timeout_s > 50);
	PLACE_CHECK(place, memcmp(&doors.first.from, &pinhole.from, sizeof(pinhole.from)) == 0);
	pinhole.lifetime_s = 500;
	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0 && entry.was_there);
	doors.n = 0;
	PLACE_CHECK(place, nft_door_list(link, table, count_door, &doors) == 0);
	PLACE_CHECK(place, doors.n == 1 && doors.first.timeout_s > 400);
	nft_link_close(link);
	return 0;
}

static int survives_a_restart(struct place *place)
{
	struct wire_pinhole pinhole = open_pinhole(place, 22), unknown = pinhole;
	struct backend_entry entry;
	struct place_list list;

	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
	PLACE_CHECK(place, place_there(place) == 0);
	PLACE_CHECK(place, place_reopen(place) == 0);
	PLACE_CHECK(place, place_back(place) == 0);
	PLACE_CHECK(place, place_list(place, &list) == 0 && list.n == 1 && list.entries[0].id == 0);
	PLACE_CHECK(place, memcmp(&list.entries[0].from, &pinhole.from, sizeof(pinhole.from)) == 0);
	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0 && entry.was_there);
	place_tick(place, 1);
	PLACE_CHECK(place, place->slots[entry.slot].packets == 1 && place->slots[entry.slot].packets_back == 1);
	PLACE_CHECK(place, place_reopen(place) == 0);
	unknown.id = 0;
	PLACE_CHECK(place, place->ops->remove(place->backend, &unknown, NULL) == 0);
	PLACE_CHECK(place, place_list(place, &list) == 0 && list.n == 0);
	PLACE_CHECK(place, place_to_relay(place) == 0);
	return 0;
}

/* Doors in the kernel now: a packet alone would not tell, for its connection outlives the door. */
static unsigned doors_now(struct nft_link *link)
{
	struct doors doors = { 0 };

	return nft_door_list(link, table, count_door, &doors) == 0 ? doors.n : 99;
}

static int a_flush_is_healed(struct place *place)
{
	static const char flush_maps[] = "nft flush map inet postern_test_1 target_from4; "
					 "nft flush map inet postern_test_1 target_from6";
	struct wire_pinhole pinhole = open_pinhole(place, 22), other = pinhole;
	struct backend_entry entry;
	struct nft_link *link;

	PLACE_CHECK(place, nft_link_open(&link) == 0);
	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
	PLACE_CHECK(place, doors_now(link) == 1);
	PLACE_CHECK(place, system("nft flush ruleset") == 0);
	PLACE_CHECK(place, place_to_relay(place) == 0);
	PLACE_CHECK(place, doors_now(link) == 0);
	place_tick(place, 1);
	PLACE_CHECK(place, doors_now(link) == 1);
	PLACE_CHECK(place, place_there(place) == 0);
	/* Elements alone; then right before the next door is opened. */
	PLACE_CHECK(place, system(flush_maps) == 0);
	PLACE_CHECK(place, doors_now(link) == 0);
	place_tick(place, 1);
	PLACE_CHECK(place, doors_now(link) == 1);
	PLACE_CHECK(place, system("nft flush ruleset") == 0);
	other.id = 23;
	other.proto = IPPROTO_TCP;
	PLACE_CHECK(place, place_apply(place, &other, &entry) == 0);
	PLACE_CHECK(place, doors_now(link) == 2);
	PLACE_CHECK(place, place_there(place) == 0);
	PLACE_CHECK(place, place->n_gone == 0);
	nft_link_close(link);
	return 0;
}

static int only_what_it_can_hold(struct place *place)
{
	struct wire_pinhole pinhole = place_pinhole(place, 11);
	char reason[WIRE_REASON_MAX] = "";

	PLACE_CHECK(place, place->ops->path_of(place->backend, &pinhole, reason) == PINHOLE_NONE && reason[0]);
	pinhole.source.port = 0;
	PLACE_CHECK(place, place->ops->path_of(place->backend, &pinhole, reason) == PINHOLE_NFT);
	pinhole.target.family = place->family == AF_INET ? AF_INET6 : AF_INET;
	PLACE_CHECK(place, place->ops->path_of(place->backend, &pinhole, reason) == PINHOLE_NONE);
	PLACE_CHECK(place, strcmp(reason, "address families differ") == 0);
	return 0;
}

#define TEST(name, fn) \
	static void name(void) \
	{ \
		place_run(&(struct place_test){ &backend_nft, fn, false }); \
	}
TEST(once, one_connection_only)
TEST(cut, closing_cuts_the_connection)
TEST(cut_late, closing_many_cuts_late)
TEST(any_port, any_port_of_one_host)
TEST(any_host, anybody)
TEST(lifetime, elements_have_the_lifetime)
TEST(restart, survives_a_restart)
TEST(flush, a_flush_is_healed)
TEST(limits, only_what_it_can_hold)

static const struct unit_test tests[] = {
	{ "a one-shot door lets one connection in", once },
	{ "closing a pinhole cuts its connection", cut },
	{ "closing many pinholes cuts what nobody has seen", cut_late },
	{ "any port of one host, and nobody else", any_port },
	{ "anybody, and doors in each other's way", any_host },
	{ "elements have the lifetime of their pinhole", lifetime },
	{ "doors are found again after a restart", restart },
	{ "a flushed ruleset is healed with its elements", flush },
	{ "only what it can hold, else a reason", limits },
};

int main(int argc, char **argv)
{
	return place_may_run() ? unit_main(argc, argv, "nft", tests, sizeof(tests) / sizeof(tests[0])) : 0;
}
