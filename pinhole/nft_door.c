/* pinhole/nft_door.h over libnftnl. Keys and values are concatenations: every field begins at a multiple of 4 octets and is
 * in network byte order. */
#include "pinhole/nft_door.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/expr.h>
#include <libnftnl/set.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/buf.h"

enum { KEY_MAX = 40, VALUE_MAX = 20, DUMP_TRIES = 4, WEEK_S = 7 * 86400, HALVES = 2 };
#define COMMENT "pinhole "

struct octets {
	uint8_t data[KEY_MAX];
	uint32_t len;
};

static uint32_t ip_len(uint8_t family)
{
	return family == AF_INET ? 4 : 16;
}

static void put_ip(struct octets *octets, const struct wire_addr *addr)
{
	memcpy(octets->data + octets->len, addr->ip, ip_len(addr->family));
	octets->len += ip_len(addr->family);
}

static void put_port(struct octets *octets, uint16_t port)
{
	uint16_t wire = htons(port);

	memcpy(octets->data + octets->len, &wire, sizeof(wire));
	octets->len += 4;
}

/* Looked up when a connection begins, by what arrives; and when it leaves, by what the first look-up made of it. */
static struct octets key_of(const struct nft_door *door, unsigned half)
{
	const struct wire_addr *to = half == 0 ? &door->listen : &door->target;
	struct octets key = { .len = 0 };

	if (door->source.family)
		put_ip(&key, &door->source);
	put_ip(&key, to);
	key.data[key.len] = door->proto;
	key.len += 4;
	put_port(&key, to->port);
	return key;
}

static struct octets value_of(const struct nft_door *door, unsigned half)
{
	const struct wire_addr *becomes = half == 0 ? &door->target : &door->from;
	struct octets value = { .len = 0 };

	if (becomes->family == 0) /* keeps its source */
		return value;
	put_ip(&value, becomes);
	put_port(&value, becomes->port);
	return value;
}

/* By whom it is for, and whether it keeps that one's address. */
enum kind { FOR_ANY, FOR_ONE, KEPT, KINDS };

static enum kind kind_of(const struct nft_door *door)
{
	return door->from.family == 0 ? KEPT : door->source.family != 0 ? FOR_ONE : FOR_ANY;
}

static const char *map_name(unsigned half, enum kind kind, uint8_t family)
{
	static const char *const names[HALVES][KINDS][2] = {
		{ { "target_any4", "target_any6" }, { "target_from4", "target_from6" }, { "target_kept4", "target_kept6" } },
		{ { "leave_any4", "leave_any6" }, { "leave_from4", "leave_from6" }, { "leave_kept4", "leave_kept6" } },
	};

	return names[half][kind][family == AF_INET6];
}

/* A map with one element in it, or NULL. */
static struct nftnl_set *map_with(const char *table, const struct nft_door *door, unsigned half, struct nftnl_set_elem *element)
{
	struct nftnl_set *set = nftnl_set_alloc();
	struct octets key = key_of(door, half);

	if (!set || !element) {
		if (element)
			nftnl_set_elem_free(element);
		if (set)
			nftnl_set_free(set);
		return NULL;
	}
	nftnl_set_set_str(set, NFTNL_SET_TABLE, table);
	nftnl_set_set_str(set, NFTNL_SET_NAME, map_name(half, kind_of(door), door->listen.family));
	nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, key.data, key.len);
	nftnl_set_elem_add(set, element);
	return set;
}

/* A connection passes the maps once, with its first packet. So one packet a week is one connection: the next one finds no
 * address to leave with and is dropped by the last rule of the chain. */
static struct nftnl_expr *once(void)
{
	struct nftnl_expr *limit = nftnl_expr_alloc("limit");

	if (!limit)
		return NULL;
	nftnl_expr_set_u64(limit, NFTNL_EXPR_LIMIT_RATE, 1);
	nftnl_expr_set_u64(limit, NFTNL_EXPR_LIMIT_UNIT, WEEK_S);
	nftnl_expr_set_u32(limit, NFTNL_EXPR_LIMIT_BURST, 1);
	nftnl_expr_set_u32(limit, NFTNL_EXPR_LIMIT_TYPE, NFT_LIMIT_PKTS);
	return limit;
}

static struct nftnl_set_elem *new_element(const struct nft_door *door, unsigned half)
{
	struct nftnl_set_elem *element = nftnl_set_elem_alloc();
	struct octets value = value_of(door, half);
	/* As nft(8) writes comments: type 0, length with NUL, text. */
	char comment[2 + sizeof(COMMENT) + 16];
	struct nftnl_expr *limit;

	if (!element)
		return NULL;
	comment[0] = 0;
	comment[1] = sizeof(comment) - 2;
	snprintf(comment + 2, sizeof(comment) - 2, COMMENT "%016llx", (unsigned long long)door->id);
	if (value.len > 0)
		nftnl_set_elem_set(element, NFTNL_SET_ELEM_DATA, value.data, value.len);
	nftnl_set_elem_set(element, NFTNL_SET_ELEM_USERDATA, comment, sizeof(comment));
	nftnl_set_elem_set_u64(element, NFTNL_SET_ELEM_TIMEOUT, (uint64_t)door->timeout_s * 1000);
	if (half == 1 && door->is_one_shot) {
		limit = once();
		if (!limit) {
			nftnl_set_elem_free(element);
			return NULL;
		}
		nftnl_set_elem_add_expr(element, limit);
	}
	return element;
}

/* Without memory the message stays incomplete, and the kernel refuses the batch. */
static void put_message(struct nft_batch *batch, uint16_t type, struct nftnl_set *set)
{
	uint16_t flags = type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE | NLM_F_EXCL : 0;
	struct nlmsghdr *head = nft_batch_add(batch, type, flags);

	if (head && set)
		nftnl_set_elems_nlmsg_build_payload(head, set);
	if (set)
		nftnl_set_free(set);
}

void nft_door_add(struct nft_batch *batch, const char *table, const struct nft_door *door)
{
	for (unsigned half = 0; half < HALVES; half++)
		put_message(batch, NFT_MSG_NEWSETELEM, map_with(table, door, half, new_element(door, half)));
}

void nft_door_remove(struct nft_batch *batch, const char *table, const struct nft_door *door, unsigned half)
{
	for (unsigned i = 0; i < HALVES; i++)
		if (half == HALVES || half == i)
			put_message(batch, NFT_MSG_DELSETELEM, map_with(table, door, i, nftnl_set_elem_alloc()));
}

static void put_fence(struct nft_batch *batch, uint16_t type, const char *table, const struct nft_fence *fence)
{
	struct nftnl_set *set = nftnl_set_alloc();
	struct nftnl_set_elem *element = nftnl_set_elem_alloc();
	struct octets key = { .len = 0 };

	if (!set || !element) {
		if (set)
			nftnl_set_free(set);
		if (element)
			nftnl_set_elem_free(element);
		put_message(batch, type, NULL);
		return;
	}
	put_ip(&key, &fence->src);
	put_ip(&key, &fence->dst);
	put_port(&key, fence->src.port);
	put_port(&key, fence->dst.port);
	nftnl_set_set_str(set, NFTNL_SET_TABLE, table);
	nftnl_set_set_str(set, NFTNL_SET_NAME, fence->src.family == AF_INET ? "to_relay4" : "to_relay6");
	nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, key.data, key.len);
	if (type == NFT_MSG_NEWSETELEM)
		nftnl_set_elem_set_u64(element, NFTNL_SET_ELEM_TIMEOUT, (uint64_t)fence->timeout_s * 1000);
	nftnl_set_elem_add(set, element);
	put_message(batch, type, set);
}

void nft_fence_add(struct nft_batch *batch, const char *table, const struct nft_fence *fence, bool is_anew)
{
	if (is_anew)
		put_fence(batch, NFT_MSG_DELSETELEM, table, fence);
	put_fence(batch, NFT_MSG_NEWSETELEM, table, fence);
}

void nft_fence_remove(struct nft_batch *batch, const char *table, const struct nft_fence *fence)
{
	put_fence(batch, NFT_MSG_DELSETELEM, table, fence);
}

struct dump {
	const char *table, *name;
	struct nftnl_set *set;
};

static void put_dump(struct nlmsghdr *head, void *arg)
{
	const struct dump *dump = arg;

	mnl_attr_put_strz(head, NFTA_SET_ELEM_LIST_TABLE, dump->table);
	mnl_attr_put_strz(head, NFTA_SET_ELEM_LIST_SET, dump->name);
}

static int read_elements(const struct nlmsghdr *head, void *arg)
{
	return nftnl_set_elems_nlmsg_parse(head, ((struct dump *)arg)->set) < 0 ? MNL_CB_ERROR : MNL_CB_OK;
}

/* All elements of a map. The caller frees it. A table that is not there has none. */
static int read_map(struct nft_link *link, const char *table, const char *name, struct nftnl_set **ret)
{
	for (unsigned try = 0; try < DUMP_TRIES; try++) {
		struct dump dump = { table, name, nftnl_set_alloc() };
		struct nft_dump request = { NFT_MSG_GETSETELEM, put_dump, read_elements, &dump };
		int err = dump.set ? nft_link_dump(link, &request) : -ENOMEM;

		if (err == 0 || err == -ENOENT) {
			*ret = dump.set;
			return 0;
		}
		if (dump.set)
			nftnl_set_free(dump.set);
		if (err != -EINTR)
			return err;
	}
	return -EINTR;
}

static struct wire_addr get_ip(const uint8_t **at, uint8_t family)
{
	struct wire_addr addr = { .family = family };

	memcpy(addr.ip, *at, ip_len(family));
	*at += ip_len(family);
	return addr;
}

static uint16_t get_port(const uint8_t *at)
{
	uint16_t wire;

	memcpy(&wire, at, sizeof(wire));
	return ntohs(wire);
}

static uint64_t id_of(const char *comment, uint32_t len)
{
	char digits[17] = "";

	if (len != 2 + sizeof(COMMENT) + 16 || comment[0] != 0 || memcmp(comment + 2, COMMENT, sizeof(COMMENT) - 1) != 0)
		return 0;
	memcpy(digits, comment + 2 + sizeof(COMMENT) - 1, 16);
	return strtoull(digits, NULL, 16);
}

struct half {
	enum kind kind;
	bool has_value;
	uint8_t family;
	struct wire_addr source, to, becomes;
	uint8_t proto;
};

/* One element of either map; false when it does not look like ours. */
static bool read_half(struct nftnl_set_elem *element, struct half *half)
{
	uint32_t key_len = 0, value_len = 0, ip = ip_len(half->family);
	const uint8_t *key = nftnl_set_elem_get(element, NFTNL_SET_ELEM_KEY, &key_len);
	const uint8_t *value = nftnl_set_elem_get(element, NFTNL_SET_ELEM_DATA, &value_len);

	if (!key || key_len != ip * (half->kind != FOR_ANY ? 2 : 1) + 8)
		return false;
	if (half->has_value && (!value || value_len != ip + 4))
		return false;
	half->source = half->becomes = (struct wire_addr){ .family = 0 };
	if (half->kind != FOR_ANY)
		half->source = get_ip(&key, half->family);
	half->to = get_ip(&key, half->family);
	half->proto = key[0];
	half->to.port = get_port(key + 4);
	if (!half->has_value)
		return true;
	half->becomes = get_ip(&value, half->family);
	half->becomes.port = get_port(value);
	return true;
}

/* Of all doors of one kind, to find the second half of each. */
struct leave {
	struct octets key;
	struct wire_addr from;
};

struct leaves {
	struct half half;
	struct leave *list;
	size_t n, cap;
	bool is_short; /* of memory */
};

static int compare_leaves(const void *a, const void *b)
{
	const struct leave *one = a, *other = b;

	return memcmp(one->key.data, other->key.data, one->key.len);
}

static int keep_leave(struct nftnl_set_elem *element, void *arg)
{
	struct leaves *leaves = arg;
	struct half *half = &leaves->half;
	struct leave *larger;

	if (!read_half(element, half))
		return 0;
	if (leaves->n == leaves->cap) {
		leaves->cap = leaves->cap ? 2 * leaves->cap : 64;
		larger = reallocarray(leaves->list, leaves->cap, sizeof(*larger));
		if (!larger) {
			leaves->is_short = true;
			return -1;
		}
		leaves->list = larger;
	}
	leaves->list[leaves->n++] = (struct leave){
		.key = key_of(&(struct nft_door){ .source = half->source, .target = half->to, .proto = half->proto }, 1),
		.from = half->becomes,
	};
	return 0;
}

struct visit {
	const struct leaves *leaves;
	struct half half;
	nft_door_fn *fn;
	void *arg;
};

static int visit_target(struct nftnl_set_elem *element, void *arg)
{
	struct visit *visit = arg;
	struct half *half = &visit->half;
	struct nft_door door;
	struct leave wanted, *leave;
	const void *comment;
	uint32_t len = 0;

	if (!read_half(element, half))
		return 0;
	comment = nftnl_set_elem_get(element, NFTNL_SET_ELEM_USERDATA, &len);
	door = (struct nft_door){
		.id = comment ? id_of(comment, len) : 0, .source = half->source, .listen = half->to, .target = half->becomes,
		.proto = half->proto,
		.timeout_s = (uint32_t)(nftnl_set_elem_get_u64(element, NFTNL_SET_ELEM_EXPIRATION) / 1000),
	};
	wanted.key = key_of(&door, 1);
	leave = visit->leaves->n == 0 ? NULL :
		bsearch(&wanted, visit->leaves->list, visit->leaves->n, sizeof(wanted), compare_leaves);
	door.from = leave ? leave->from : (struct wire_addr){ .family = half->family };
	visit->fn(visit->arg, &door);
	return 0;
}

/* Doors of one kind and family. */
static int list_kind(struct nft_link *link, const char *table, struct visit *visit)
{
	struct leaves leaves = { .half = visit->half };
	struct nftnl_set *targets = NULL, *set = NULL;
	int err = read_map(link, table, map_name(0, visit->half.kind, visit->half.family), &targets);

	leaves.half.has_value = visit->half.kind != KEPT;
	if (err == 0)
		err = read_map(link, table, map_name(1, visit->half.kind, visit->half.family), &set);
	if (err == 0) {
		nftnl_set_elem_foreach(set, keep_leave, &leaves);
		err = leaves.is_short ? -ENOMEM : 0;
	}
	if (err == 0) {
		if (leaves.n)
			qsort(leaves.list, leaves.n, sizeof(*leaves.list), compare_leaves);
		visit->leaves = &leaves;
		nftnl_set_elem_foreach(targets, visit_target, visit);
	}
	if (targets)
		nftnl_set_free(targets);
	if (set)
		nftnl_set_free(set);
	free(leaves.list);
	return err;
}

int nft_door_list(struct nft_link *link, const char *table, nft_door_fn *fn, void *arg)
{
	int err = 0;

	for (unsigned i = 0; i < 2 * KINDS && err == 0; i++) {
		struct visit visit = {
			.half = { .kind = (enum kind)(i / 2), .has_value = true, .family = i % 2 ? AF_INET6 : AF_INET },
			.fn = fn, .arg = arg,
		};

		err = list_kind(link, table, &visit);
	}
	return err;
}
