/* backend_nft with connections of hosts that address each other (WIRE_FOREIGN), and with connections that end: real ones, between
 * network namespaces of its own. */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/nat_place.h"
#include "tests/unit/unit.h"

enum { WAIT_MS = 3000, SHORT_MS = 300, ID = 31 };

static struct wire_addr wire(struct addr addr)
{
	return wire_addr_of(&addr);
}

/* One connection from the left host, any port, to where the right one listens; as each kind has it. */
static struct wire_pinhole pinhole_of(const struct place *place, uint8_t flags)
{
	struct wire_pinhole pinhole = place_pinhole(place, ID);

	pinhole.proto = IPPROTO_TCP;
	pinhole.source.port = 0;
	pinhole.flags = flags | WIRE_ONE_SHOT;
	if (flags & WIRE_THROUGH)
		pinhole.listen = pinhole.target;
	if (flags & WIRE_TO_SELF) {
		pinhole.listen = pinhole.target;
		pinhole.target = wire(rig_gateway(RIG_LEFT, place->family, PLACE_FROM));
	}
	if (flags & (WIRE_AS_SOURCE | WIRE_TO_SELF))
		memset(&pinhole.from, 0, sizeof(pinhole.from));
	return pinhole;
}

static int listen_at(struct place *place, enum rig_place where, const struct wire_addr *at)
{
	struct addr addr = wire_addr_get(at);
	int fd = rig_socket(place->rig, where, SOCK_STREAM, &addr);

	return fd >= 0 && listen(fd, 4) == 0 ? fd : -1;
}

/* -1 when nobody answers for that long. */
static int connect_to(struct place *place, const struct wire_addr *to, int wait_ms)
{
	struct addr local = rig_host(RIG_LEFT, place->family, 0), addr = wire_addr_get(to);
	struct sockaddr_storage storage;
	socklen_t len = addr_to_sockaddr(&addr, &storage);
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

static int accept_from(int listener, struct addr *ret)
{
	struct sockaddr_storage storage;
	socklen_t len = sizeof(storage);
	struct pollfd poll_fd = { .fd = listener, .events = POLLIN };
	int fd = poll(&poll_fd, 1, WAIT_MS) == 1 ? accept(listener, (struct sockaddr *)&storage, &len) : -1;

	if (fd >= 0)
		*ret = addr_from_sockaddr((struct sockaddr *)&storage);
	return fd;
}

static bool passes(int from, int to, size_t n)
{
	char text[1024] = "Postern";
	size_t got = 0;

	if (write(from, text, n) != (ssize_t)n)
		return false;
	while (got < n) {
		struct pollfd poll_fd = { .fd = to, .events = POLLIN };
		ssize_t more = poll(&poll_fd, 1, WAIT_MS) == 1 ? read(to, text, sizeof(text)) : -1;

		if (more <= 0)
			return false;
		got += (size_t)more;
	}
	return true;
}

/* A connection that is up: the two ends, and whom the listener sees. */
struct pair {
	int listener, left, right;
	struct addr seen;
};

static int open_pair(struct place *place, const struct wire_pinhole *pinhole, struct pair *ret)
{
	bool is_to_self = pinhole->flags & WIRE_TO_SELF;

	ret->listener = listen_at(place, is_to_self ? RIG_GATEWAY : RIG_RIGHT, &pinhole->target);
	PLACE_CHECK(place, ret->listener >= 0);
	ret->left = connect_to(place, &pinhole->listen, WAIT_MS);
	PLACE_CHECK(place, ret->left >= 0);
	ret->right = accept_from(ret->listener, &ret->seen);
	PLACE_CHECK(place, ret->right >= 0);
	return 0;
}

static void close_pair(struct pair *pair)
{
	close(pair->left);
	close(pair->right);
	close(pair->listener);
}

/* Until the kernel has seen it. */
static int wait_for_end(struct place *place)
{
	for (unsigned i = 0; i < 100 && place->n_gone == 0; i++) {
		usleep(20000);
		place_tick(place, 1);
	}
	PLACE_CHECK(place, place->n_gone == 1 && place->gone[0].id == ID && place->gone[0].why == WIRE_USED_UP);
	return 0;
}

static int one_connection(struct place *place, uint8_t flags)
{
	const struct wire_pinhole pinhole = pinhole_of(place, flags);
	const struct addr client = rig_host(RIG_LEFT, place->family, 0), from = wire_addr_get(&pinhole.from);
	struct backend_entry entry;
	struct place_list list;
	struct slot last;
	struct pair pair;
	int err;

	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0 && entry.path == PINHOLE_NFT && !entry.was_there);
	PLACE_CHECK(place, place_list(place, &list) == 0 && list.n == 1 && list.entries[0].id == ID);
	PLACE_CHECK(place, memcmp(&list.entries[0].from, &pinhole.from, sizeof(pinhole.from)) == 0);
	PLACE_CHECK(place, memcmp(&list.entries[0].target, &pinhole.target, sizeof(pinhole.target)) == 0);
	err = open_pair(place, &pinhole, &pair);
	if (err < 0)
		return err;
	PLACE_CHECK(place, flags & (WIRE_AS_SOURCE | WIRE_TO_SELF) ? addr_eq_ip(&pair.seen, &client) : addr_eq(&pair.seen, &from));
	/* Before any tick: the kernel itself lets nobody else in. */
	PLACE_CHECK(place, connect_to(place, &pinhole.listen, SHORT_MS) < 0);
	PLACE_CHECK(place, passes(pair.left, pair.right, 100) && passes(pair.right, pair.left, 1000));
	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0 && entry.was_there);
	PLACE_CHECK(place, connect_to(place, &pinhole.listen, SHORT_MS) < 0);
	place_tick(place, 1);
	PLACE_CHECK(place, place->n_gone == 0);
	PLACE_CHECK(place, place_list(place, &list) == 0 && list.n == 1 && list.entries[0].id == ID);
	/* TCP options count as payload. */
	PLACE_CHECK(place, place->slots[entry.slot].bytes >= 100 && place->slots[entry.slot].bytes < 300);
	PLACE_CHECK(place, place->slots[entry.slot].bytes_back >= 1000 && place->slots[entry.slot].bytes_back < 1200);
	PLACE_CHECK(place, passes(pair.left, pair.right, 10) && passes(pair.right, pair.left, 10));
	close_pair(&pair);
	err = wait_for_end(place);
	if (err < 0)
		return err;
	PLACE_CHECK(place, place->ops->remove(place->backend, &pinhole, &last) == 0);
	PLACE_CHECK(place, last.bytes >= 110 && last.bytes_back >= 1010);
	PLACE_CHECK(place, place_list(place, &list) == 0 && list.n == 0);
	return 0;
}

static int through(struct place *place)
{
	return one_connection(place, WIRE_THROUGH);
}

static int as_source(struct place *place)
{
	return one_connection(place, WIRE_AS_SOURCE);
}

static int untouched(struct place *place)
{
	return one_connection(place, WIRE_THROUGH | WIRE_AS_SOURCE);
}

static int to_self(struct place *place)
{
	return one_connection(place, WIRE_TO_SELF);
}

static int ordinary(struct place *place)
{
	return one_connection(place, 0);
}

/* With the closed firewall nothing passes without its pinhole, and closing it cuts the connection, also where nothing is translated. */
static int only_through_pinholes(struct place *place)
{
	static const uint8_t kinds[] = { 0, WIRE_THROUGH, WIRE_AS_SOURCE, WIRE_THROUGH | WIRE_AS_SOURCE };

	for (size_t i = 0; i < sizeof(kinds); i++) {
		struct wire_pinhole pinhole = pinhole_of(place, kinds[i]);
		struct backend_entry entry;
		struct pair pair = { 0 };
		struct slot last;
		struct pollfd poll_fd = { .events = POLLIN };
		int err, listener;

		pinhole.target.port = (uint16_t)(pinhole.target.port + i); /* the one before may still be in use */
		if (kinds[i] & WIRE_THROUGH)
			pinhole.listen = pinhole.target;
		listener = listen_at(place, RIG_RIGHT, &pinhole.target);
		PLACE_CHECK(place, connect_to(place, &pinhole.listen, SHORT_MS) < 0);
		close(listener);
		PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
		err = open_pair(place, &pinhole, &pair);
		if (err < 0)
			return err;
		PLACE_CHECK(place, passes(pair.right, pair.left, 10));
		PLACE_CHECK(place, place->ops->remove(place->backend, &pinhole, &last) == 0);
		PLACE_CHECK(place, last.packets >= 2 && last.packets_back >= 2);
		PLACE_CHECK(place, write(pair.right, "more", 4) == 4);
		poll_fd.fd = pair.left;
		PLACE_CHECK(place, poll(&poll_fd, 1, SHORT_MS) == 0);
		close_pair(&pair);
	}
	return 0;
}

/* After a restart a connection that is up goes on, its door is shut as before, and its end is noticed. */
static int a_restart(struct place *place)
{
	static const uint8_t kinds[] = { 0, WIRE_THROUGH, WIRE_AS_SOURCE, WIRE_THROUGH | WIRE_AS_SOURCE, WIRE_TO_SELF };

	for (size_t i = 0; i < sizeof(kinds); i++) {
		struct wire_pinhole pinhole = pinhole_of(place, kinds[i]);
		struct backend_entry entry;
		struct place_list list;
		struct slot last;
		struct pair pair;
		int err;

		place->n_gone = 0;
		snprintf(place->reason, place->size, "kind %u", kinds[i]);
		PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
		err = open_pair(place, &pinhole, &pair);
		if (err < 0)
			return err;
		PLACE_CHECK(place, passes(pair.right, pair.left, 500));
		PLACE_CHECK(place, place_reopen(place) == 0);
		PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0 && entry.was_there);
		PLACE_CHECK(place, connect_to(place, &pinhole.listen, SHORT_MS) < 0);
		place_tick(place, 1);
		PLACE_CHECK(place, place->n_gone == 0 && place->slots[entry.slot].bytes_back >= 500);
		PLACE_CHECK(place, place_list(place, &list) == 0 && list.n == 1 && list.entries[0].id == ID);
		PLACE_CHECK(place, passes(pair.right, pair.left, 500) && passes(pair.left, pair.right, 10));
		close_pair(&pair);
		err = wait_for_end(place);
		if (err < 0)
			return err;
		PLACE_CHECK(place, place->ops->remove(place->backend, &pinhole, &last) == 0 && last.bytes_back >= 1000);
		/* Nobody has come through this one yet: it stands open as before. */
		PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
		PLACE_CHECK(place, place_reopen(place) == 0);
		PLACE_CHECK(place, place_list(place, &list) == 0 && list.n == 1);
		PLACE_CHECK(place, memcmp(&list.entries[0].from, &pinhole.from, sizeof(pinhole.from)) == 0);
		PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0 && entry.was_there);
		err = open_pair(place, &pinhole, &pair);
		if (err < 0)
			return err;
		close_pair(&pair);
		place_tick(place, 1);
		PLACE_CHECK(place, place->ops->remove(place->backend, &pinhole, &last) == 0);
		/* And what nobody claims is taken out by its addresses. */
		PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
		PLACE_CHECK(place, place_reopen(place) == 0);
		pinhole.id = 0;
		PLACE_CHECK(place, place->ops->remove(place->backend, &pinhole, NULL) == 0);
		PLACE_CHECK(place, place_list(place, &list) == 0 && list.n == 0);
	}
	return 0;
}

/* The question may come too soon after another one to be answered. */
static enum pinhole_end looked(struct place *place, const struct wire_pinhole *pinhole)
{
	enum pinhole_end end = PINHOLE_END_UNKNOWN;

	for (unsigned i = 0; i < 50 && end == PINHOLE_END_UNKNOWN; i++) {
		usleep(2000);
		end = place->ops->look(place->backend, pinhole);
	}
	return end;
}

/* Segments take a moment. */
static bool comes(struct place *place, const struct wire_pinhole *pinhole, enum pinhole_end wanted)
{
	for (unsigned i = 0; i < 100; i++)
		if (looked(place, pinhole) == wanted)
			return true;
	return false;
}

/* A reset ends it as well as two who have finished; one who has finished does not. */
static int how_it_ends(struct place *place)
{
	const struct wire_pinhole pinhole = pinhole_of(place, WIRE_THROUGH);
	const struct linger at_once = { .l_onoff = 1 };
	struct backend_entry entry;
	struct slot last;
	struct pair pair;
	int err;

	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
	err = open_pair(place, &pinhole, &pair);
	if (err < 0)
		return err;
	PLACE_CHECK(place, shutdown(pair.left, SHUT_WR) == 0);
	for (unsigned i = 0; i < 10; i++) {
		usleep(20000);
		place_tick(place, 1);
	}
	PLACE_CHECK(place, place->n_gone == 0 && passes(pair.right, pair.left, 1000));
	PLACE_CHECK(place, setsockopt(pair.right, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) == 0);
	close_pair(&pair);
	err = wait_for_end(place);
	if (err < 0)
		return err;
	PLACE_CHECK(place, place->ops->remove(place->backend, &pinhole, &last) == 0 && last.bytes_back >= 1000);
	return 0;
}

/* One connection after the other through the same pinhole's like, looked at without any tick in between. */
static int how_far_it_is(struct place *place)
{
	static const uint8_t kinds[] = { 0, WIRE_THROUGH, WIRE_AS_SOURCE, WIRE_THROUGH | WIRE_AS_SOURCE };
	const struct linger at_once = { .l_onoff = 1 };

	for (size_t i = 0; i < 2 * sizeof(kinds); i++) {
		struct wire_pinhole pinhole = pinhole_of(place, kinds[i / 2]);
		bool is_left_first = i % 2;
		struct backend_entry entry;
		struct slot last;
		struct pair pair;
		int err;

		snprintf(place->reason, place->size, "round %zu", i);
		pinhole.target.port = (uint16_t)(pinhole.target.port + i); /* the one before may still be in use */
		if (kinds[i / 2] & WIRE_THROUGH)
			pinhole.listen = pinhole.target;
		PLACE_CHECK(place, looked(place, &pinhole) == PINHOLE_END_UNKNOWN);
		PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
		PLACE_CHECK(place, looked(place, &pinhole) == PINHOLE_END_NOBODY);
		err = open_pair(place, &pinhole, &pair);
		if (err < 0)
			return err;
		PLACE_CHECK(place, passes(pair.right, pair.left, 1000) && passes(pair.left, pair.right, 100));
		PLACE_CHECK(place, looked(place, &pinhole) == PINHOLE_END_NONE);
		PLACE_CHECK(place, place->slots[entry.slot].bytes_back >= 1000 && place->slots[entry.slot].bytes >= 100);
		PLACE_CHECK(place, shutdown(is_left_first ? pair.left : pair.right, SHUT_WR) == 0);
		PLACE_CHECK(place, comes(place, &pinhole, is_left_first ? PINHOLE_END_SOURCE : PINHOLE_END_TARGET));
		/* Who has not finished may go on. */
		PLACE_CHECK(place, is_left_first ? passes(pair.right, pair.left, 500) : passes(pair.left, pair.right, 500));
		PLACE_CHECK(place, looked(place, &pinhole) == (is_left_first ? PINHOLE_END_SOURCE : PINHOLE_END_TARGET));
		if (i % 4 == 0)
			PLACE_CHECK(place, setsockopt(pair.left, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) == 0);
		close_pair(&pair);
		PLACE_CHECK(place, comes(place, &pinhole, PINHOLE_END_BOTH));
		PLACE_CHECK(place, place->ops->remove(place->backend, &pinhole, &last) == 0 && last.bytes_back >= 1000);
	}
	return 0;
}

static int nobody_comes(struct place *place)
{
	struct wire_pinhole pinhole = pinhole_of(place, WIRE_TO_SELF);
	struct backend_entry entry;

	pinhole.lifetime_s = 30;
	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
	place_tick(place, 1);
	place_tick(place, 20);
	PLACE_CHECK(place, place->n_gone == 0);
	place_tick(place, 10);
	PLACE_CHECK(place, place->n_gone == 1 && place->gone[0].why == WIRE_EXPIRED);
	return 0;
}

/* A socket of ours closes its connections itself, and until then they go on. */
static int closing_to_self_cuts_nothing(struct place *place)
{
	const struct wire_pinhole pinhole = pinhole_of(place, WIRE_TO_SELF);
	struct backend_entry entry;
	struct slot last;
	struct pair pair;
	int err;

	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
	err = open_pair(place, &pinhole, &pair);
	if (err < 0)
		return err;
	PLACE_CHECK(place, place->ops->remove(place->backend, &pinhole, &last) == 0);
	place_tick(place, 1);
	PLACE_CHECK(place, passes(pair.left, pair.right, 100) && passes(pair.right, pair.left, 100));
	PLACE_CHECK(place, connect_to(place, &pinhole.listen, SHORT_MS) < 0);
	close_pair(&pair);
	return 0;
}

/* Only from its source: the right host is somebody else. And only for one door: what leaves alike is refused. */
static int others(struct place *place)
{
	struct wire_pinhole pinhole = pinhole_of(place, WIRE_AS_SOURCE), other = pinhole;
	struct backend_entry entry;
	int listener = listen_at(place, RIG_RIGHT, &pinhole.target);

	pinhole.source = wire(rig_host(RIG_RIGHT, place->family, 0));
	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
	PLACE_CHECK(place, connect_to(place, &pinhole.listen, SHORT_MS) < 0);
	close(listener);
	PLACE_CHECK(place, place_apply(place, &other, &entry) == 0);
	other.id++;
	other.listen.port++;
	PLACE_CHECK(place, place_apply(place, &other, &entry) == -EEXIST);
	return 0;
}

static int a_flush_is_healed(struct place *place)
{
	struct wire_pinhole pinhole = pinhole_of(place, WIRE_THROUGH | WIRE_AS_SOURCE);
	struct backend_entry entry;
	struct pair pair;
	int err;

	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
	PLACE_CHECK(place, system("nft flush ruleset") == 0);
	place_tick(place, 1);
	PLACE_CHECK(place, system("nft flush set inet postern_test_1 leave_kept4 && "
				  "nft flush set inet postern_test_1 leave_kept6") == 0);
	PLACE_CHECK(place, connect_to(place, &pinhole.listen, SHORT_MS) < 0); /* half a door is none */
	place_tick(place, 1);
	err = open_pair(place, &pinhole, &pair);
	if (err < 0)
		return err;
	close_pair(&pair);
	return 0;
}

/* Datagrams, any port of one host: what streams of hosts that see each other take. */
static int datagrams(struct place *place)
{
	struct wire_pinhole pinhole = place_pinhole(place, ID);
	struct rig_pass there, back;
	struct backend_entry entry;

	pinhole.source.port = 0;
	pinhole.listen = pinhole.target;
	pinhole.flags = WIRE_THROUGH | WIRE_AS_SOURCE;
	memset(&pinhole.from, 0, sizeof(pinhole.from));
	there = (struct rig_pass){ place->left, place->right, place_addr(&pinhole.target),
				   rig_host(RIG_LEFT, place->family, PLACE_SOURCE), 0 };
	back = (struct rig_pass){ place->right, place->left, there.as, there.to, 0 };
	there.wait_ms = SHORT_MS;
	PLACE_CHECK(place, rig_pass(&there, place->reason, place->size) < 0);
	there.wait_ms = 0;
	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
	PLACE_CHECK(place, rig_pass(&there, place->reason, place->size) == 0 && rig_pass(&back, place->reason, place->size) == 0);
	place_tick(place, 1);
	PLACE_CHECK(place, place->slots[entry.slot].packets == 1 && place->slots[entry.slot].packets_back == 1);
	return 0;
}

#define TEST(name, fn, is_closed) \
	static void name(void) \
	{ \
		place_run(&(struct place_test){ &backend_nft, fn, is_closed }); \
	}
TEST(test_ordinary, ordinary, false)
TEST(test_through, through, true)
TEST(test_as_source, as_source, true)
TEST(test_untouched, untouched, true)
TEST(test_to_self, to_self, true)
TEST(closed, only_through_pinholes, true)
TEST(restart, a_restart, true)
TEST(ends, how_it_ends, false)
TEST(how_far, how_far_it_is, true)
TEST(expiry, nobody_comes, false)
TEST(closing, closing_to_self_cuts_nothing, true)
TEST(test_others, others, true)
TEST(flush, a_flush_is_healed, false)
TEST(test_datagrams, datagrams, true)

static const struct unit_test tests[] = {
	{ "a connection through an ordinary door", test_ordinary },
	{ "a connection that is let through, with our address", test_through },
	{ "a connection that keeps its source", test_as_source },
	{ "a connection that is not translated at all", test_untouched },
	{ "a connection that is brought to a socket of ours", test_to_self },
	{ "only pinholes let connections through", closed },
	{ "a restart changes nothing", restart },
	{ "what counts as an end", ends },
	{ "how far a connection has come", how_far },
	{ "nobody comes", expiry },
	{ "closing cuts no socket of ours", closing },
	{ "only one host, and one door", test_others },
	{ "a flush is healed", flush },
	{ "datagrams", test_datagrams },
};

int main(int argc, char **argv)
{
	return place_may_run() ? unit_main(argc, argv, "nft_foreign", tests, sizeof(tests) / sizeof(tests[0])) : 0;
}
