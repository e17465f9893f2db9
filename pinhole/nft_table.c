/* pinhole/nft_table.h. The template is a list of libnftnl's objects as dumped right after the installation: sets, chains,
 * rules in their order, without the handles that the kernel gave them. */
#include "pinhole/nft_table.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/err.h"

enum { PARTS_MAX = 1 << 16, DUMP_TRIES = 4 };

enum part_kind { PART_SET, PART_CHAIN, PART_RULE };

struct part {
	enum part_kind kind;
	union {
		struct nftnl_set *set;
		struct nftnl_chain *chain;
		struct nftnl_rule *rule;
	} of;
};

struct parts {
	const char *table;
	struct part *list;
	unsigned n;
	int err;
};

struct nft_table {
	struct nft_link *link;
	enum nft_skeleton_kind kind;
	struct nft_skeleton skeleton;
	struct parts template;
	bool is_needed, is_there;
	uint32_t generation; /* as it should be if only we change the ruleset */
};

static void free_part(struct part *part)
{
	switch (part->kind) {
	case PART_SET: nftnl_set_free(part->of.set); break;
	case PART_CHAIN: nftnl_chain_free(part->of.chain); break;
	case PART_RULE: nftnl_rule_free(part->of.rule); break;
	}
}

static void clear(struct parts *parts)
{
	for (unsigned i = 0; i < parts->n; i++)
		free_part(&parts->list[i]);
	free(parts->list);
	parts->list = NULL;
	parts->n = 0;
}

static bool is_ours(const struct parts *parts, const char *table)
{
	return table && strcmp(table, parts->table) == 0;
}

static int append(struct parts *parts, struct part part)
{
	struct part *larger;

	if (parts->n % 64 == 0) {
		larger = parts->n < PARTS_MAX ? realloc(parts->list, (parts->n + 64) * sizeof(*larger)) : NULL;
		if (!larger) {
			free_part(&part);
			parts->err = -ENOMEM;
			return MNL_CB_OK;
		}
		parts->list = larger;
	}
	parts->list[parts->n++] = part;
	return MNL_CB_OK;
}

static int read_set(const struct nlmsghdr *head, void *arg)
{
	struct parts *parts = arg;
	struct nftnl_set *set = nftnl_set_alloc();

	if (!set)
		return MNL_CB_ERROR;
	if (nftnl_set_nlmsg_parse(head, set) < 0 || !is_ours(parts, nftnl_set_get_str(set, NFTNL_SET_TABLE))) {
		nftnl_set_free(set);
		return MNL_CB_OK;
	}
	nftnl_set_unset(set, NFTNL_SET_HANDLE);
	return append(parts, (struct part){ .kind = PART_SET, .of.set = set });
}

static int read_chain(const struct nlmsghdr *head, void *arg)
{
	struct parts *parts = arg;
	struct nftnl_chain *chain = nftnl_chain_alloc();

	if (!chain)
		return MNL_CB_ERROR;
	if (nftnl_chain_nlmsg_parse(head, chain) < 0 || !is_ours(parts, nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE))) {
		nftnl_chain_free(chain);
		return MNL_CB_OK;
	}
	nftnl_chain_unset(chain, NFTNL_CHAIN_HANDLE);
	nftnl_chain_unset(chain, NFTNL_CHAIN_USE);
	return append(parts, (struct part){ .kind = PART_CHAIN, .of.chain = chain });
}

static int read_rule(const struct nlmsghdr *head, void *arg)
{
	struct parts *parts = arg;
	struct nftnl_rule *rule = nftnl_rule_alloc();

	if (!rule)
		return MNL_CB_ERROR;
	if (nftnl_rule_nlmsg_parse(head, rule) < 0 || !is_ours(parts, nftnl_rule_get_str(rule, NFTNL_RULE_TABLE))) {
		nftnl_rule_free(rule);
		return MNL_CB_OK;
	}
	nftnl_rule_unset(rule, NFTNL_RULE_HANDLE);
	nftnl_rule_unset(rule, NFTNL_RULE_POSITION);
	return append(parts, (struct part){ .kind = PART_RULE, .of.rule = rule });
}

static void put_table_name(struct nlmsghdr *head, void *arg)
{
	mnl_attr_put_strz(head, NFTA_RULE_TABLE, ((struct parts *)arg)->table);
}

/* Everything that the table holds now, but for elements. */
static int read_parts(struct nft_link *link, struct parts *parts)
{
	const struct nft_dump dumps[] = {
		{ NFT_MSG_GETSET, NULL, read_set, parts },
		{ NFT_MSG_GETCHAIN, NULL, read_chain, parts },
		{ NFT_MSG_GETRULE, put_table_name, read_rule, parts },
	};

	for (unsigned try = 0; try < DUMP_TRIES; try++) {
		int err = 0;

		clear(parts);
		parts->err = 0;
		for (unsigned i = 0; i < 3 && err == 0; i++)
			err = nft_link_dump(link, &dumps[i]);
		if (err == 0)
			err = parts->err;
		if (err != -EINTR) /* else the ruleset changed meanwhile */
			return err;
	}
	return -EINTR;
}

struct look {
	const struct nft_skeleton *skeleton;
	bool is_there, is_current;
};

static int look_at_table(const struct nlmsghdr *head, void *arg)
{
	struct look *look = arg;
	struct nftnl_table *table = nftnl_table_alloc();
	const char *name;
	const void *comment;
	uint32_t len = 0;

	if (!table)
		return MNL_CB_ERROR;
	if (nftnl_table_nlmsg_parse(head, table) == 0) {
		name = nftnl_table_get_str(table, NFTNL_TABLE_NAME);
		comment = nftnl_table_get_data(table, NFTNL_TABLE_USERDATA, &len);
		if (name && strcmp(name, look->skeleton->table) == 0) {
			look->is_there = true;
			look->is_current = comment && memmem(comment, len, look->skeleton->signature,
							     strlen(look->skeleton->signature));
		}
	}
	nftnl_table_free(table);
	return MNL_CB_OK;
}

static int find_table(struct nft_table *table, struct look *ret)
{
	struct look look = { .skeleton = &table->skeleton };
	struct nft_dump dump = { NFT_MSG_GETTABLE, NULL, look_at_table, &look };
	int err;

	for (unsigned try = 0; (err = nft_link_dump(table->link, &dump)) == -EINTR && try < DUMP_TRIES; try++)
		look = (struct look){ .skeleton = &table->skeleton };
	*ret = look;
	return err;
}

/* Brings it in, finds out what is in it, and perhaps takes it out again. */
static int install(struct nft_table *table, bool is_wanted, char *reason)
{
	struct look look;
	int err = find_table(table, &look);

	if (err == 0 && !look.is_current)
		err = nft_skeleton_install(&table->skeleton, reason);
	else if (err == 0)
		is_wanted = true; /* with what is left in it */
	if (err < 0)
		return err;
	table->is_there = true;
	err = read_parts(table->link, &table->template);
	if (err == 0)
		err = nft_link_generation(table->link, &table->generation);
	if (err == 0 && !is_wanted)
		err = nft_table_remove(table);
	table->is_needed = is_wanted;
	return err;
}

static int open_kind(const struct backend_conf *conf, enum nft_skeleton_kind kind, bool is_wanted, struct nft_table **ret,
		     char reason[WIRE_REASON_MAX])
{
	struct nft_table *table = calloc(1, sizeof(*table));
	int err;

	if (!table)
		return -ENOMEM;
	reason[0] = '\0';
	table->kind = kind;
	err = nft_skeleton_make(conf, kind, &table->skeleton, reason);
	table->template.table = table->skeleton.table;
	if (err == 0)
		err = nft_link_open(&table->link);
	if (err == 0)
		err = install(table, is_wanted, reason);
	if (err < 0) {
		if (reason[0] == '\0')
			snprintf(reason, WIRE_REASON_MAX, "nf_tables: %s", err_str(err));
		nft_table_close(table);
		return err;
	}
	*ret = table;
	return 0;
}

int nft_table_open(const struct backend_conf *conf, bool is_wanted, struct nft_table **ret, char reason[WIRE_REASON_MAX])
{
	return open_kind(conf, NFT_SKELETON_DOORS, is_wanted, ret, reason);
}

int nft_table_open_ports(const struct backend_conf *conf, struct nft_table **ret, char reason[WIRE_REASON_MAX])
{
	return open_kind(conf, NFT_SKELETON_PORTS, true, ret, reason);
}

int nft_table_open_captures(const struct backend_conf *conf, struct nft_table **ret, char reason[WIRE_REASON_MAX])
{
	return open_kind(conf, NFT_SKELETON_CAPTURES, true, ret, reason);
}

int nft_table_clear(const struct backend_conf *conf, enum nft_skeleton_kind kind)
{
	struct nft_table table = { .kind = kind };
	char reason[WIRE_REASON_MAX];
	int err = nft_skeleton_make(conf, kind, &table.skeleton, reason);

	if (err < 0)
		return err;
	err = nft_link_open(&table.link);
	if (err == 0)
		err = nft_table_remove(&table);
	nft_link_close(table.link);
	nft_skeleton_free(&table.skeleton);
	return err;
}

void nft_table_close(struct nft_table *table)
{
	if (!table)
		return;
	clear(&table->template);
	nft_skeleton_free(&table->skeleton);
	nft_link_close(table->link);
	free(table);
}

struct passed {
	const char *table;
	uint64_t packets;
	bool is_found;
};

static void put_chain_name(struct nlmsghdr *head, void *arg)
{
	mnl_attr_put_strz(head, NFTA_RULE_TABLE, ((struct passed *)arg)->table);
	mnl_attr_put_strz(head, NFTA_RULE_CHAIN, NFT_CHAIN_PASSED);
}

static int read_counter(struct nftnl_expr *expr, void *arg)
{
	struct passed *passed = arg;
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);

	if (name && strcmp(name, "counter") == 0) {
		passed->packets = nftnl_expr_get_u64(expr, NFTNL_EXPR_CTR_PACKETS);
		passed->is_found = true;
	}
	return 0;
}

static int read_passed(const struct nlmsghdr *head, void *arg)
{
	struct passed *passed = arg;
	struct nftnl_rule *rule = nftnl_rule_alloc();
	const char *chain;

	if (!rule)
		return MNL_CB_ERROR;
	if (nftnl_rule_nlmsg_parse(head, rule) == 0) {
		const char *table = nftnl_rule_get_str(rule, NFTNL_RULE_TABLE);

		chain = nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN);
		if (table && chain && strcmp(table, passed->table) == 0 && strcmp(chain, NFT_CHAIN_PASSED) == 0)
			nftnl_expr_foreach(rule, read_counter, passed);
	}
	nftnl_rule_free(rule);
	return MNL_CB_OK;
}

int nft_table_passed(struct nft_table *table, uint64_t *ret)
{
	struct passed passed = { .table = table->skeleton.table };
	struct nft_dump dump = { NFT_MSG_GETRULE, put_chain_name, read_passed, &passed };
	int err = nft_link_dump(table->link, &dump);

	if (err == 0 && !passed.is_found)
		err = ERR_NOT_FOUND;
	if (err == 0)
		*ret = passed.packets;
	return err;
}

bool nft_table_is_for(const struct nft_table *table, const struct backend_conf *conf)
{
	struct nft_skeleton now;
	char reason[WIRE_REASON_MAX];
	bool is_same;

	if (nft_skeleton_make(conf, table->kind, &now, reason) < 0)
		return true; /* this one is as good as it gets */
	is_same = strcmp(now.signature, table->skeleton.signature) == 0;
	nft_skeleton_free(&now);
	return is_same;
}

struct nft_link *nft_table_link(struct nft_table *table)
{
	return table->link;
}

const char *nft_table_name(const struct nft_table *table)
{
	return table->skeleton.table;
}

int nft_table_commit(struct nft_table *table, struct nft_batch *batch)
{
	int err = nft_batch_commit(batch);

	if (err == 0)
		table->generation++;
	return err;
}

/* NEWTABLE or DELTABLE. The comment is laid out as nft(8) does: type, length with NUL, text. */
static void put_table(struct nft_batch *batch, const struct nft_skeleton *skeleton, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *head = nft_batch_add(batch, type, flags);
	uint8_t comment[2 + NFT_SIGNATURE_MAX] = { 0 };
	size_t len = strlen(skeleton->signature) + 1;

	if (!head)
		return;
	mnl_attr_put_strz(head, NFTA_TABLE_NAME, skeleton->table);
	if (type != NFT_MSG_NEWTABLE)
		return;
	comment[1] = (uint8_t)len;
	memcpy(comment + 2, skeleton->signature, len);
	mnl_attr_put(head, NFTA_TABLE_USERDATA, len + 2, comment);
}

static void put_part(struct nft_batch *batch, const struct part *part, uint32_t id)
{
	struct nlmsghdr *head;

	switch (part->kind) {
	case PART_SET:
		head = nft_batch_add(batch, NFT_MSG_NEWSET, NLM_F_CREATE);
		nftnl_set_set_u32(part->of.set, NFTNL_SET_ID, id);
		if (head)
			nftnl_set_nlmsg_build_payload(head, part->of.set);
		break;
	case PART_CHAIN:
		head = nft_batch_add(batch, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
		if (head)
			nftnl_chain_nlmsg_build_payload(head, part->of.chain);
		break;
	case PART_RULE:
		head = nft_batch_add(batch, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
		if (head)
			nftnl_rule_nlmsg_build_payload(head, part->of.rule);
		break;
	}
}

/* The whole table at once, in place of what is left of it. */
static int put_back(struct nft_table *table)
{
	struct nft_batch *batch;
	int err = nft_batch_new(table->link, &batch);

	if (err < 0)
		return err;
	put_table(batch, &table->skeleton, NFT_MSG_NEWTABLE, NLM_F_CREATE);
	put_table(batch, &table->skeleton, NFT_MSG_DELTABLE, 0);
	put_table(batch, &table->skeleton, NFT_MSG_NEWTABLE, NLM_F_CREATE);
	for (unsigned i = 0; i < table->template.n; i++)
		put_part(batch, &table->template.list[i], i + 1);
	err = nft_batch_commit(batch);
	if (err < 0)
		return err;
	table->is_there = true;
	return nft_link_generation(table->link, &table->generation);
}

int nft_table_remove(struct nft_table *table)
{
	struct look look;
	struct nft_batch *batch;
	int err = find_table(table, &look);

	if (err == 0 && look.is_there) {
		err = nft_batch_new(table->link, &batch);
		if (err < 0)
			return err;
		put_table(batch, &table->skeleton, NFT_MSG_DELTABLE, 0);
		err = nft_batch_commit(batch);
	}
	if (err == 0)
		table->is_there = table->is_needed = false;
	return err;
}

int nft_table_need(struct nft_table *table)
{
	struct look look;
	int err = 0;

	if (table->is_needed)
		return 0;
	err = find_table(table, &look); /* the other back end may have been first */
	if (err == 0 && !look.is_current)
		err = put_back(table);
	else if (err == 0)
		err = nft_link_generation(table->link, &table->generation);
	if (err == 0)
		table->is_needed = table->is_there = true;
	return err;
}

/* Flushed tables, chains and single rules are told by numbers; somebody who edits our rules one by one is on their own. */
static int is_whole(struct nft_table *table, bool *ret)
{
	struct parts parts = { .table = table->skeleton.table };
	struct look look;
	int err = find_table(table, &look);

	if (err == 0 && look.is_current)
		err = read_parts(table->link, &parts);
	if (err == 0)
		*ret = look.is_current && parts.n == table->template.n;
	clear(&parts);
	return err;
}

int nft_table_check(struct nft_table *table, struct nft_table_news *ret)
{
	struct nft_table_news news = { 0 };
	uint32_t generation;
	bool is_good = false;
	int err = 0;

	if (table->is_needed) {
		err = nft_link_generation(table->link, &generation);
		news.is_changed = err == 0 && generation != table->generation;
	}
	if (news.is_changed)
		err = is_whole(table, &is_good);
	if (news.is_changed && err == 0 && !is_good) {
		err = put_back(table);
		news.is_new = err == 0;
	} else if (news.is_changed && err == 0) {
		table->generation = generation;
	}
	if (err < 0)
		return err;
	*ret = news;
	return 0;
}
