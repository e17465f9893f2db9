/* pinhole/nat_frame.h. */
#include "pinhole/nat_frame.h"

#include <errno.h>
#include <stdio.h>

#include "core/err.h"

void nat_frame_refuse(struct nat_frame *frame, const char *what, int err)
{
	char reason[WIRE_REASON_MAX];

	snprintf(reason, sizeof(reason), "%s: %s", what, err_str(err));
	conntrack_check_refuse(&frame->check, reason);
}

/* What it needs in the real namespace. */
static void prepare(struct nat_frame *frame, const char *name)
{
	char reason[WIRE_REASON_MAX] = "";
	int err = nft_table_open(frame->conf, frame->conf->seal->firewall, &frame->table, reason);

	if (err == 0)
		err = conntrack_count_packets(reason);
	if (err == 0)
		err = conntrack_kernel_open(&frame->kernel);
	if (err < 0 && reason[0] == '\0')
		nat_frame_refuse(frame, name, err);
	else if (err < 0)
		conntrack_check_refuse(&frame->check, reason);
}

int nat_frame_open(struct nat_frame *frame, const struct nat_frame_kind *kind, const struct backend_conf *conf)
{
	frame->conf = conf;
	frame->mark = nft_mark(conf->node_tag) | kind->mark;
	frame->mask = kind->mask;
	frame->has_slots = conntrack_slots_open(conf->seal->pinholes_max) == 0;
	conntrack_check_open(&frame->check, conf, kind->arrange);
	if (!frame->has_slots)
		return -ENOMEM;
	prepare(frame, kind->name);
	return 0;
}

void nat_frame_close(struct nat_frame *frame)
{
	if (!frame->conf) /* never opened */
		return;
	conntrack_kernel_close(frame->kernel);
	nft_table_close(frame->table);
	conntrack_check_close(&frame->check);
	if (frame->has_slots)
		conntrack_slots_close();
}

bool nat_frame_is_ready(const struct nat_frame *frame)
{
	return frame->kernel && frame->table;
}

int nat_frame_dump(struct nat_frame *frame, conntrack_entry_fn *fn, void *arg)
{
	return conntrack_kernel_dump(frame->kernel, frame->mark, frame->mask, fn, arg);
}

int nat_frame_arrange(const struct backend_conf *conf, struct nft_table **ret, char reason[WIRE_REASON_MAX])
{
	int err = nft_table_open(conf, false, ret, reason);

	return err < 0 ? err : nft_table_need(*ret);
}

int nat_frame_slots(struct backend *backend, uint32_t *ret_n)
{
	(void)backend;
	return conntrack_slots_fd(ret_n);
}

static void delete_entry(void *arg, const struct conntrack_entry *entry)
{
	conntrack_kernel_delete(((struct nat_frame *)arg)->kernel, entry);
}

void nat_frame_remove_all(struct nat_frame *frame)
{
	if (frame->kernel)
		nat_frame_dump(frame, delete_entry, frame);
	if (frame->table)
		nft_table_remove(frame->table);
}
