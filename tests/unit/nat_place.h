/* A rig with a back end in its gateway, for the tests of the conntrack and nftables back ends: the configuration, two hosts
 * with sockets, and what the back end told. Everything happens in a child process; a test there is a rig_fn that ends at
 * the first PLACE_CHECK that fails. */
#ifndef TESTS_UNIT_NAT_PLACE_H
#define TESTS_UNIT_NAT_PLACE_H

#include <errno.h>
#include <stdio.h>

#include "pinhole/backend.h"
#include "pinhole/rig.h"

enum { PLACE_LISTEN = 20000, PLACE_FROM = 20002, PLACE_SOURCE = 5000, PLACE_TARGET = 6000, PLACE_GONE_MAX = 8 };

struct place {
	const struct backend_ops *ops;
	const struct rig *rig;
	char *reason;
	size_t size;
	uint8_t family;
	struct wire_limit own[4];
	struct wire_seal seal;
	struct backend_interface interfaces[2];
	struct backend_conf conf;
	struct backend *backend;
	int left, right;    /* datagram sockets of the hosts, on PLACE_SOURCE and PLACE_TARGET */
	int relay, relay_from; /* the gateway's, on PLACE_LISTEN and PLACE_FROM */
	uint64_t now_ms;
	struct slot *slots; /* as posternd sees them */
	unsigned n_gone;
	struct {
		uint64_t id;
		enum wire_gone_why why;
	} gone[PLACE_GONE_MAX];
};

/* is_closed: with the closed firewall. The back end is open afterwards. */
int place_open(struct place *ret, struct rig *rig, const struct backend_ops *ops, uint8_t family, bool is_closed,
	       char *reason, size_t size);
void place_close(struct place *place);
int place_reopen(struct place *place); /* as after a restart of the process */

/* A pinhole from the left host to the right one, and its reverse. */
struct wire_pinhole place_pinhole(const struct place *place, uint64_t id);
struct wire_pinhole place_reverse(const struct place *place, uint64_t id);
int place_apply(struct place *place, const struct wire_pinhole *pinhole, struct backend_entry *ret);
void place_tick(struct place *place, unsigned seconds); /* later; gone[] is filled */

/* Whether a datagram gets through: from the left host to the right one, back, or to the relay's socket. */
int place_there(struct place *place);
int place_back(struct place *place);
int place_to_relay(struct place *place);      /* from the left host */
int place_back_to_relay(struct place *place); /* from the right host */
struct addr place_addr(const struct wire_addr *addr);

/* Lists what the kernel has: how many, and the first few. */
struct place_list {
	unsigned n;
	struct backend_entry entries[8];
};
int place_list(struct place *place, struct place_list *ret);

#define PLACE_CHECK(place, condition) \
	do { \
		if (!(condition)) \
			return place_failed(place, #condition, __LINE__); \
	} while (0)
int place_failed(struct place *place, const char *condition, int line);

/* A program with this test as its only user: rows of tests for CUnit that run in rigs, IPv4 and IPv6. */
typedef int place_fn(struct place *place);
struct place_test {
	const struct backend_ops *ops;
	place_fn *fn;
	bool is_closed;
};
void place_run(const struct place_test *test); /* asserts by CUnit, once per family */
int place_find_leaks(char *reason, size_t size); /* 0, or -ENOMEM with a reason: for other tests in rigs */
bool place_may_run(void); /* prints the TAP line that skips the program when not */

#endif
