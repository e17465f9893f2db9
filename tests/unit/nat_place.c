/* tests/unit/nat_place.h. */
#include "tests/unit/nat_place.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/err.h"
#include "tests/unit/unit.h"

enum { TEST_MAX_MS = 120000 };

struct addr place_addr(const struct wire_addr *addr)
{
	return wire_addr_get(addr);
}

static struct wire_addr host(const struct place *place, enum rig_place side, uint16_t port)
{
	struct addr addr = rig_host(side, place->family, port);

	return wire_addr_of(&addr);
}

static struct wire_addr gateway(enum rig_place side, uint8_t family, uint16_t port)
{
	struct addr addr = rig_gateway(side, family, port);

	return wire_addr_of(&addr);
}

static void configure(struct place *place, bool is_closed)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };

	for (unsigned i = 0; i < 4; i++)
		place->own[i] = (struct wire_limit){
			.addr = gateway(i % 2 ? RIG_RIGHT : RIG_LEFT, families[i / 2], 0),
			.port_min = 20000, .port_max = 29999, .realm = i % 2,
		};
	place->seal = (struct wire_seal){ .pinholes_max = 100, .lifetime_max_s = 3600, .port_floor = 1024,
					  .firewall = is_closed };
	place->interfaces[0] = (struct backend_interface){ 0, "left", place->rig->ifindex[0], true };
	place->interfaces[1] = (struct backend_interface){ 1, "right", place->rig->ifindex[1], true };
	place->conf = (struct backend_conf){
		.state_dir = "/nonexistent", .node_tag = "test-1", .own = place->own, .n_own = 4, .seal = &place->seal,
		.interfaces = place->interfaces, .n_interfaces = 2,
	};
}

static int open_backend(struct place *place)
{
	uint32_t n;
	int fd, err = place->ops->open(&place->conf, &place->backend);
	void *at;

	if (err < 0)
		return err;
	fd = place->ops->slots(place->backend, &n);
	at = fd >= 0 ? mmap(NULL, n * sizeof(struct slot), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
	place->slots = at == MAP_FAILED ? NULL : at;
	return place->slots ? 0 : -EBADF;
}

int place_open(struct place *ret, struct rig *rig, const struct backend_ops *ops, uint8_t family, bool is_closed,
	       char *reason, size_t size)
{
	struct addr left = rig_host(RIG_LEFT, family, PLACE_SOURCE), right = rig_host(RIG_RIGHT, family, PLACE_TARGET);
	struct addr listen = rig_gateway(RIG_LEFT, family, PLACE_LISTEN), from = rig_gateway(RIG_RIGHT, family, PLACE_FROM);

	*ret = (struct place){ .ops = ops, .rig = rig, .reason = reason, .size = size, .family = family, .now_ms = 1000000 };
	configure(ret, is_closed);
	ret->left = rig_socket(rig, RIG_LEFT, SOCK_DGRAM, &left);
	ret->right = rig_socket(rig, RIG_RIGHT, SOCK_DGRAM, &right);
	ret->relay = rig_socket(rig, RIG_GATEWAY, SOCK_DGRAM, &listen);
	ret->relay_from = rig_socket(rig, RIG_GATEWAY, SOCK_DGRAM, &from);
	return open_backend(ret);
}

static void close_backend(struct place *place)
{
	munmap(place->slots, place->seal.pinholes_max * sizeof(struct slot));
	place->ops->close(place->backend);
}

void place_close(struct place *place)
{
	close_backend(place);
	close(place->left);
	close(place->right);
	close(place->relay);
	close(place->relay_from);
}

int place_reopen(struct place *place)
{
	close_backend(place);
	return open_backend(place);
}

struct wire_pinhole place_pinhole(const struct place *place, uint64_t id)
{
	return (struct wire_pinhole){
		.id = id, .proto = IPPROTO_UDP, .realm_out = 1, .lifetime_s = 600,
		.packets_per_s = 1000, .bytes_per_s = 1000000,
		.source = host(place, RIG_LEFT, PLACE_SOURCE), .listen = gateway(RIG_LEFT, place->family, PLACE_LISTEN),
		.from = gateway(RIG_RIGHT, place->family, PLACE_FROM), .target = host(place, RIG_RIGHT, PLACE_TARGET),
	};
}

struct wire_pinhole place_reverse(const struct place *place, uint64_t id)
{
	struct wire_pinhole there = place_pinhole(place, id), back = there;

	back.source = there.target;
	back.listen = there.from;
	back.from = there.listen;
	back.target = there.source;
	back.realm_in = 1;
	back.realm_out = 0;
	return back;
}

int place_apply(struct place *place, const struct wire_pinhole *pinhole, struct backend_entry *ret)
{
	char reason[WIRE_REASON_MAX] = "";

	if (place->ops->path_of(place->backend, pinhole, reason) == PINHOLE_NONE) {
		printf("# %s\n", reason);
		return ERR_UNSUPPORTED;
	}
	return place->ops->apply(place->backend, pinhole, ret);
}

static void on_gone(void *arg, uint64_t id, enum wire_gone_why why)
{
	struct place *place = arg;

	if (place->n_gone < PLACE_GONE_MAX) {
		place->gone[place->n_gone].id = id;
		place->gone[place->n_gone].why = why;
	}
	place->n_gone++;
}

void place_tick(struct place *place, unsigned seconds)
{
	place->now_ms += seconds * UINT64_C(1000);
	place->ops->tick(place->backend, place->now_ms, on_gone, place);
}

static int pass(struct place *place, int fd, int far, const struct wire_addr *to, const struct wire_addr *as)
{
	struct rig_pass rig_pass_of = { fd, far, wire_addr_get(to), wire_addr_get(as), 0 };

	return rig_pass(&rig_pass_of, place->reason, place->size);
}

int place_there(struct place *place)
{
	struct wire_pinhole way = place_pinhole(place, 0);

	return pass(place, place->left, place->right, &way.listen, &way.from);
}

int place_back(struct place *place)
{
	struct wire_pinhole way = place_pinhole(place, 0);

	return pass(place, place->right, place->left, &way.from, &way.listen);
}

int place_to_relay(struct place *place)
{
	struct wire_pinhole way = place_pinhole(place, 0);

	return pass(place, place->left, place->relay, &way.listen, &way.source);
}

int place_back_to_relay(struct place *place)
{
	struct wire_pinhole way = place_pinhole(place, 0);

	return pass(place, place->right, place->relay_from, &way.from, &way.target);
}

static void on_listed(void *arg, const struct backend_entry *entry)
{
	struct place_list *list = arg;

	if (list->n < 8)
		list->entries[list->n] = *entry;
	list->n++;
}

int place_list(struct place *place, struct place_list *ret)
{
	memset(ret, 0, sizeof(*ret));
	return place->ops->list(place->backend, on_listed, ret);
}

int place_failed(struct place *place, const char *condition, int line)
{
	char why[120];

	snprintf(why, sizeof(why), "%s", place->reason);
	snprintf(place->reason, place->size, "IPv%c, line %d: %s %s", place->family == AF_INET ? '4' : '6', line, condition, why);
	return -EPROTO;
}

/* A child process ends without the sanitizer's last look, so it is asked here. */
__attribute__((weak)) int __lsan_do_recoverable_leak_check(void);

int place_find_leaks(char *reason, size_t size)
{
	if (!__lsan_do_recoverable_leak_check || __lsan_do_recoverable_leak_check() == 0)
		return 0;
	snprintf(reason, size, "memory was lost");
	return -ENOMEM;
}

struct run {
	const struct place_test *test;
	uint8_t family;
};

static int run_in_rig(struct rig *rig, void *arg, char *reason, size_t size)
{
	const struct run *run = arg;
	struct place place;
	int err;

	if (run->family == AF_INET6 && !rig->has_ipv6)
		return 0;
	err = place_open(&place, rig, run->test->ops, run->family, run->test->is_closed, reason, size);
	if (err < 0) {
		snprintf(reason, size, "opening: %s", err_str(err));
		return err;
	}
	err = run->test->fn(&place);
	if (err < 0)
		return err;
	place_close(&place);
	return place_find_leaks(reason, size);
}

void place_run(const struct place_test *test)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };

	for (unsigned i = 0; i < 2; i++) {
		struct run run = { test, families[i] };
		char reason[256] = "";
		int err = rig_run_within(TEST_MAX_MS, run_in_rig, &run, reason, sizeof(reason));

		CU_ASSERT_EQUAL(err, 0);
		if (err < 0)
			printf("# %s\n", reason);
	}
}

static int nothing(struct rig *rig, void *arg, char *reason, size_t size)
{
	(void)rig;
	(void)arg;
	(void)reason;
	(void)size;
	return access("/usr/sbin/nft", X_OK) == 0 ? 0 : -ENOEXEC;
}

bool place_may_run(void)
{
	char reason[100];
	int err = rig_run(nothing, NULL, reason, sizeof(reason));

	if (err == -EPERM)
		printf("1..0 # SKIP no right to make network namespaces\n");
	else if (err == -ENOEXEC)
		printf("1..0 # SKIP there is no nft\n");
	else
		return true;
	return false;
}
