/* pinhole/nft_link.h over libmnl; libnftnl only for the generation's message. Only the last message of a batch asks for an
 * answer: the kernel reports errors of the others anyway. */
#include "pinhole/nft_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/gen.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"

enum { DUMP_BUFFER = 32768, BATCH_FIRST = 65536, SEND_BUFFER = 4 << 20 };

struct nft_link {
	struct mnl_socket *socket;
	uint32_t serial;
};

struct nft_batch {
	struct nft_link *link;
	char *data;
	size_t len, cap;
	struct nlmsghdr *last; /* being filled; not in len yet */
	bool is_broken;
};

int nft_link_open(struct nft_link **ret)
{
	struct nft_link *link = calloc(1, sizeof(*link));
	int err, size = SEND_BUFFER;

	if (!link)
		return -ENOMEM;
	link->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!link->socket || mnl_socket_bind(link->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		err = -errno;
		nft_link_close(link);
		return err;
	}
	setsockopt(mnl_socket_get_fd(link->socket), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	*ret = link;
	return 0;
}

void nft_link_close(struct nft_link *link)
{
	if (!link)
		return;
	if (link->socket)
		mnl_socket_close(link->socket);
	free(link);
}

static struct nlmsghdr *put_head(struct nft_link *link, void *at, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *head = mnl_nlmsg_put_header(at);
	struct nfgenmsg *message = mnl_nlmsg_put_extra_header(head, sizeof(*message));

	head->nlmsg_type = type;
	head->nlmsg_flags = NLM_F_REQUEST | flags;
	head->nlmsg_seq = ++link->serial;
	message->nfgen_family = NFPROTO_INET;
	message->version = NFNETLINK_V0;
	return head;
}

static uint16_t table_type(uint16_t type)
{
	return (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
}

static int run(struct nft_link *link, const struct nlmsghdr *head, mnl_cb_t fn, void *arg)
{
	char buffer[DUMP_BUFFER] SCRATCH;
	unsigned port = mnl_socket_get_portid(link->socket);
	int more;

	if (mnl_socket_sendto(link->socket, head, head->nlmsg_len) < 0)
		return -errno;
	do {
		ssize_t n = mnl_socket_recvfrom(link->socket, buffer, sizeof(buffer));

		if (n < 0)
			return -errno;
		more = mnl_cb_run(buffer, (size_t)n, head->nlmsg_seq, port, fn, arg);
		if (more < 0 && errno == ESRCH) /* left over from a request that was given up */
			more = MNL_CB_OK;
	} while (more > MNL_CB_STOP);
	return more < 0 ? -errno : 0;
}

static int read_generation(const struct nlmsghdr *head, void *arg)
{
	struct nftnl_gen *gen = nftnl_gen_alloc();

	if (!gen)
		return MNL_CB_ERROR;
	if (nftnl_gen_nlmsg_parse(head, gen) == 0)
		*(uint32_t *)arg = nftnl_gen_get_u32(gen, NFTNL_GEN_ID);
	nftnl_gen_free(gen);
	return MNL_CB_OK;
}

int nft_link_generation(struct nft_link *link, uint32_t *ret)
{
	char buffer[256];
	struct nlmsghdr *head = put_head(link, buffer, table_type(NFT_MSG_GETGEN), NLM_F_ACK);
	uint32_t generation = 0;
	int err;

	((struct nfgenmsg *)mnl_nlmsg_get_payload(head))->nfgen_family = AF_UNSPEC;
	err = run(link, head, read_generation, &generation);
	if (err < 0)
		return err;
	*ret = generation;
	return 0;
}

/* A dump that was overtaken by a change of the ruleset comes with EINTR and is asked for again; a few times, for whoever
 * changes rules without a pause must not keep us here. What fn saw then includes the first attempt. */
int nft_link_dump(struct nft_link *link, const struct nft_dump *dump)
{
	char buffer[1024];
	struct nlmsghdr *head = put_head(link, buffer, table_type(dump->type), NLM_F_DUMP);

	if (dump->put)
		dump->put(head, dump->arg);
	return run(link, head, dump->fn, dump->arg);
}

static void put_limit(struct nft_link *link, char *at, uint16_t type, size_t *len)
{
	struct nlmsghdr *head = put_head(link, at, type, 0);
	struct nfgenmsg *message = mnl_nlmsg_get_payload(head);

	message->nfgen_family = AF_UNSPEC;
	message->res_id = htons(NFNL_SUBSYS_NFTABLES);
	*len += head->nlmsg_len;
}

int nft_batch_new(struct nft_link *link, struct nft_batch **ret)
{
	struct nft_batch *batch = calloc(1, sizeof(*batch));

	if (!batch)
		return -ENOMEM;
	batch->link = link;
	batch->cap = BATCH_FIRST;
	batch->data = malloc(batch->cap);
	if (!batch->data) {
		free(batch);
		return -ENOMEM;
	}
	put_limit(link, batch->data, NFNL_MSG_BATCH_BEGIN, &batch->len);
	*ret = batch;
	return 0;
}

void nft_batch_free(struct nft_batch *batch)
{
	if (!batch)
		return;
	free(batch->data);
	free(batch);
}

static void finish_last(struct nft_batch *batch)
{
	if (batch->last)
		batch->len += MNL_ALIGN(batch->last->nlmsg_len);
	batch->last = NULL;
}

static bool has_room(struct nft_batch *batch)
{
	char *larger;

	finish_last(batch);
	if (batch->cap - batch->len >= 2 * NFT_MESSAGE_MAX)
		return true;
	larger = realloc(batch->data, batch->cap * 2);
	if (!larger)
		return false;
	batch->data = larger;
	batch->cap *= 2;
	return true;
}

struct nlmsghdr *nft_batch_add(struct nft_batch *batch, uint16_t type, uint16_t flags)
{
	if (!has_room(batch)) {
		batch->is_broken = true;
		return NULL;
	}
	batch->last = put_head(batch->link, batch->data + batch->len, table_type(type), flags);
	return batch->last;
}

static int verdict(struct nft_link *link, uint32_t last)
{
	char buffer[DUMP_BUFFER] SCRATCH;

	for (;;) {
		ssize_t n = mnl_socket_recvfrom(link->socket, buffer, sizeof(buffer));
		int len = (int)n;

		if (n < 0)
			return -errno;
		for (struct nlmsghdr *head = (struct nlmsghdr *)buffer; mnl_nlmsg_ok(head, len); head = mnl_nlmsg_next(head, &len)) {
			const struct nlmsgerr *error = mnl_nlmsg_get_payload(head);

			if (head->nlmsg_type != NLMSG_ERROR)
				continue;
			if (error->error || head->nlmsg_seq == last)
				return error->error;
		}
	}
}

/* Answers that nobody waits for any more: errors of later messages of a batch that failed. */
static void drain(struct nft_link *link)
{
	char buffer[DUMP_BUFFER] SCRATCH;

	while (recv(mnl_socket_get_fd(link->socket), buffer, sizeof(buffer), MSG_DONTWAIT) > 0)
		;
}

int nft_batch_commit(struct nft_batch *batch)
{
	struct nft_link *link = batch->link;
	int err = batch->is_broken ? -ENOMEM : 0;
	uint32_t last = link->serial;

	if (err == 0 && batch->last) {
		batch->last->nlmsg_flags |= NLM_F_ACK;
		finish_last(batch);
		put_limit(link, batch->data + batch->len, NFNL_MSG_BATCH_END, &batch->len);
		if (mnl_socket_sendto(link->socket, batch->data, batch->len) < 0)
			err = -errno;
		else
			err = verdict(link, last);
		if (err < 0)
			drain(link);
	}
	nft_batch_free(batch);
	return err;
}
