/* pinhole/helper_pinholes.h, over two fake back ends in this process: choice of paths, batches, lifetimes, sweeps. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/err.h"
#include "core/log.h"
#include "pinhole/helper_pinholes.h"
#include "pinhole/pinhole.h"
#include "tests/unit/pinholed_rig.h"
#include "tests/unit/unit.h"

static struct limits limits;
static struct helper_pinholes h;
static struct backend_conf conf;
static char dir[64];
static struct fake_kernel *fake, *nat;
static struct wire_opened opened[WIRE_BATCH_MAX];

/* A process that begins: `order` ends with 0. The file that plays the kernel stays. */
static void begin(const uint8_t *order, size_t n)
{
	struct wire_limit own[4];
	struct wire_seal seal = pinholed_rig_limits(own);

	memset(&limits, 0, sizeof(limits));
	memset(&h, 0, sizeof(h));
	memset(seal.order, 0, sizeof(seal.order));
	memcpy(seal.order, order, n);
	for (int i = 0; i < 4; i++)
		CU_ASSERT_EQUAL_FATAL(limits_add(&limits, &own[i]), LIMITS_OK);
	CU_ASSERT_EQUAL_FATAL(limits_seal(&limits, &seal), LIMITS_OK);
	conf = (struct backend_conf){ .state_dir = dir, .node_tag = "test", .seal = &limits.seal };
	h.limits = &limits;
	h.table = table_new(seal.pinholes_max);
	for (unsigned i = 0; i < helper_backends_n; i++) {
		h.mechanisms[i].kind = &helper_backends[i];
		CU_ASSERT_EQUAL_FATAL(helper_backends[i].ops->open(&conf, &h.mechanisms[i].backend), 0);
		h.n_mechanisms++;
	}
}

static void end(void)
{
	for (unsigned i = 0; i < h.n_mechanisms; i++)
		h.mechanisms[i].kind->ops->close(h.mechanisms[i].backend);
	table_free(h.table);
}

static const uint8_t usual[] = { PINHOLE_XDP, PINHOLE_TC, PINHOLE_CONNTRACK };

static void set_up(void)
{
	log_setup(STDERR_FILENO, LOG_TEXT, LOG_ERROR);
	snprintf(dir, sizeof(dir), "/tmp/helper-XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	fake = fake_kernel_map(dir, "fake");
	nat = fake_kernel_map(dir, "fake-nat");
	CU_ASSERT_FATAL(fake != NULL && nat != NULL);
	fake->path = PINHOLE_XDP;
	begin(usual, sizeof(usual));
}

static void tear_down(void)
{
	char path[128];

	end();
	fake_kernel_unmap(fake);
	fake_kernel_unmap(nat);
	snprintf(path, sizeof(path), "%s/fake", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/fake-nat", dir);
	unlink(path);
	rmdir(dir);
}

static void restart(void)
{
	end();
	begin(usual, sizeof(usual));
	helper_pinholes_adopt(&h, 1000);
}

static int open_ids(uint64_t first, unsigned n, uint64_t now_ms)
{
	struct wire_pinhole batch[WIRE_BATCH_MAX];

	for (unsigned i = 0; i < n; i++)
		batch[i] = pinholed_rig_pinhole(first + i);
	helper_pinholes_open(&h, batch, n, now_ms, opened);
	return opened[0].err;
}

static int close_id(uint64_t id)
{
	struct wire_key key = { .id = id };
	struct wire_closed closed;

	helper_pinholes_close(&h, &key, &closed);
	return closed.err;
}

static void the_order_decides(void)
{
	static const uint8_t tc_first[] = { PINHOLE_TC, PINHOLE_XDP }, only_tc[] = { PINHOLE_TC }, nft[] = { PINHOLE_NFT };

	set_up();
	CU_ASSERT_EQUAL(open_ids(1, 1, 0), 0);
	CU_ASSERT_EQUAL(opened[0].path, PINHOLE_XDP);
	CU_ASSERT_STRING_EQUAL(opened[0].reason, "");
	fake->path = PINHOLE_TC; /* what the back end makes of it now */
	CU_ASSERT_EQUAL(open_ids(2, 1, 0), 0);
	CU_ASSERT_EQUAL(opened[0].path, PINHOLE_TC);
	CU_ASSERT_STRING_EQUAL(opened[0].reason, "xdp: no native XDP");
	CU_ASSERT_EQUAL(open_ids(2, 1, 0), 0); /* asked again, it says the same */
	CU_ASSERT_STRING_EQUAL(opened[0].reason, "xdp: no native XDP");
	fake->is_unusable = true;
	CU_ASSERT_EQUAL(open_ids(3, 1, 0), 0);
	CU_ASSERT_EQUAL(opened[0].path, PINHOLE_CONNTRACK);
	CU_ASSERT_EQUAL(opened[0].region, 1);
	CU_ASSERT_STRING_EQUAL(opened[0].reason, "xdp: no native XDP; tc: no native XDP");
	nat->is_unusable = true;
	CU_ASSERT_EQUAL(open_ids(4, 1, 0), ERR_UNSUPPORTED);
	CU_ASSERT_PTR_NOT_NULL(strstr(opened[0].reason, "conntrack: "));
	fake->is_unusable = false;
	end();
	begin(tc_first, sizeof(tc_first));
	fake->path = PINHOLE_XDP;
	CU_ASSERT_EQUAL(open_ids(5, 1, 0), 0);
	CU_ASSERT_EQUAL(opened[0].path, PINHOLE_XDP);
	end();
	begin(only_tc, sizeof(only_tc));
	CU_ASSERT_EQUAL(open_ids(6, 1, 0), ERR_UNSUPPORTED);
	end();
	begin(nft, sizeof(nft));
	CU_ASSERT_EQUAL(open_ids(6, 1, 0), ERR_UNSUPPORTED);
	CU_ASSERT_STRING_EQUAL(opened[0].reason, "nft: not there");
	tear_down();
}

static void features_decide(void)
{
	struct wire_pinhole tcp = pinholed_rig_pinhole(1), any = pinholed_rig_pinhole(2);

	set_up();
	tcp.proto = IPPROTO_TCP;
	tcp.flags = WIRE_ONE_SHOT;
	memset(tcp.payloads, 0, sizeof(tcp.payloads));
	tcp.clock_hz = 0;
	helper_pinholes_open(&h, &tcp, 1, 0, opened);
	CU_ASSERT_EQUAL(opened[0].err, 0);
	CU_ASSERT_EQUAL(opened[0].path, PINHOLE_CONNTRACK);
	CU_ASSERT_STRING_EQUAL(opened[0].reason, "xdp: cannot TCP; tc: cannot TCP");
	any.source.port = 0;
	helper_pinholes_open(&h, &any, 1, 0, opened);
	CU_ASSERT_EQUAL(opened[0].path, PINHOLE_CONNTRACK);
	CU_ASSERT_STRING_EQUAL(opened[0].reason, "xdp: needs an exact source; tc: needs an exact source");
	CU_ASSERT_EQUAL(fake->n_applies, 0);
	tear_down();
}

static void all_or_nothing(void)
{
	set_up();
	CU_ASSERT_EQUAL(open_ids(1, 1, 0), 0);
	fake->fail_apply = 4;
	nat->fail_apply = 4;
	open_ids(1, 5, 0); /* 1 is there already, 4 fails everywhere */
	CU_ASSERT_EQUAL(opened[0].err, ERR_STATE);
	CU_ASSERT_EQUAL(opened[3].err, -ENOBUFS);
	CU_ASSERT_PTR_NOT_NULL(strstr(opened[3].reason, "xdp: "));
	CU_ASSERT_PTR_NOT_NULL(strstr(opened[3].reason, "conntrack: "));
	CU_ASSERT_EQUAL(opened[4].err, ERR_STATE);
	CU_ASSERT_EQUAL(opened[4].id, 5);
	CU_ASSERT_EQUAL(fake_kernel_count(fake), 1); /* what was there stays */
	CU_ASSERT_EQUAL(fake_kernel_count(nat), 0);
	CU_ASSERT_EQUAL(table_count(h.table), 1);
	/* The other back end helps out, for that one alone. */
	nat->fail_apply = 0;
	CU_ASSERT_EQUAL(open_ids(1, 5, 0), 0);
	CU_ASSERT_EQUAL(opened[2].path, PINHOLE_XDP);
	CU_ASSERT_EQUAL(opened[3].path, PINHOLE_CONNTRACK);
	CU_ASSERT_EQUAL(fake_kernel_count(fake), 4);
	CU_ASSERT_EQUAL(fake_kernel_count(nat), 1);
	tear_down();
}

static void doubles_and_conflicts(void)
{
	struct wire_pinhole pair[2] = { pinholed_rig_pinhole(1), pinholed_rig_pinhole(1) };

	set_up();
	helper_pinholes_open(&h, pair, 2, 0, opened);
	CU_ASSERT_EQUAL(opened[1].err, ERR_DENIED);
	CU_ASSERT_STRING_EQUAL(opened[1].reason, limits_text(LIMITS_TWICE));
	pair[1].id = 2; /* the same flow */
	helper_pinholes_open(&h, pair, 2, 0, opened);
	CU_ASSERT_STRING_EQUAL(opened[1].reason, limits_text(LIMITS_TWICE));
	CU_ASSERT_EQUAL(table_count(h.table), 0);
	CU_ASSERT_EQUAL(fake->n_applies, 0);
	CU_ASSERT_EQUAL(h.refusals[LIMITS_TWICE], 2);
	CU_ASSERT_EQUAL(open_ids(1, 1, 0), 0);
	helper_pinholes_open(&h, &pair[1], 1, 0, opened);
	CU_ASSERT_STRING_EQUAL(opened[0].reason, limits_text(LIMITS_OTHER_FLOW));
	pair[0].target.port++; /* the same id */
	helper_pinholes_open(&h, &pair[0], 1, 0, opened);
	CU_ASSERT_STRING_EQUAL(opened[0].reason, limits_text(LIMITS_OTHER_ID));
	/* What nobody has claimed since the start has to yield. */
	restart();
	helper_pinholes_open(&h, &pair[1], 1, 0, opened);
	CU_ASSERT_EQUAL(opened[0].err, 0);
	CU_ASSERT_PTR_NULL(fake_kernel_find(fake, 1));
	CU_ASSERT_PTR_NOT_NULL(fake_kernel_find(fake, 2));
	tear_down();
}

struct ended {
	unsigned n;
	struct wire_gone last;
};

static void on_gone(void *arg, const struct wire_gone *gone)
{
	struct ended *ended = arg;

	ended->n++;
	ended->last = *gone;
}

static void lifetimes(void)
{
	struct ended ended = { 0 };

	set_up();
	CU_ASSERT_EQUAL(open_ids(1, 2, 1000), 0); /* 120 s */
	CU_ASSERT_EQUAL(open_ids(2, 1, 100000), 0);
	helper_pinholes_tick(&h, 120999, on_gone, &ended);
	CU_ASSERT_EQUAL(ended.n, 0);
	helper_pinholes_tick(&h, 121000, on_gone, &ended);
	CU_ASSERT_EQUAL(ended.n, 1);
	CU_ASSERT_EQUAL(ended.last.id, 1);
	CU_ASSERT_EQUAL(ended.last.why, WIRE_EXPIRED);
	CU_ASSERT_EQUAL(ended.last.last.packets, 1000);
	CU_ASSERT_PTR_NULL(fake_kernel_find(fake, 1));
	fake->gone_id = 2;
	fake->gone_why = WIRE_USED_UP;
	helper_pinholes_tick(&h, 121000, on_gone, &ended);
	CU_ASSERT_EQUAL(ended.n, 2);
	CU_ASSERT_EQUAL(ended.last.id, 2);
	CU_ASSERT_EQUAL(ended.last.why, WIRE_USED_UP);
	CU_ASSERT_EQUAL(table_count(h.table), 0);
	/* Found, and neither opened nor swept: not for ever. */
	CU_ASSERT_EQUAL(open_ids(3, 1, 1000), 0);
	restart();
	helper_pinholes_tick(&h, 600999, on_gone, &ended);
	CU_ASSERT_EQUAL(ended.n, 2);
	helper_pinholes_tick(&h, 601000, on_gone, &ended);
	CU_ASSERT_EQUAL(ended.n, 3);
	CU_ASSERT_EQUAL(fake_kernel_count(fake), 0);
	tear_down();
}

static void kernel_does_not_let_go(void)
{
	struct ended ended = { 0 };

	set_up();
	CU_ASSERT_EQUAL(open_ids(1, 1, 0), 0);
	fake->fail_remove = 1;
	CU_ASSERT_EQUAL(close_id(1), -ENOBUFS);
	helper_pinholes_tick(&h, 1000, on_gone, &ended);
	CU_ASSERT_EQUAL(fake_kernel_count(fake), 1);
	CU_ASSERT_EQUAL(ended.n, 0); /* its owner has closed it */
	fake->fail_remove = 0;
	helper_pinholes_tick(&h, 2000, on_gone, &ended);
	CU_ASSERT_EQUAL(fake_kernel_count(fake), 0);
	CU_ASSERT_EQUAL(ended.n, 0);
	CU_ASSERT_EQUAL(close_id(1), ERR_NOT_FOUND);
	/* Opened again meanwhile: it stays. */
	CU_ASSERT_EQUAL(open_ids(1, 1, 0), 0);
	fake->fail_remove = 1;
	CU_ASSERT_EQUAL(close_id(1), -ENOBUFS);
	CU_ASSERT_EQUAL(open_ids(1, 1, 0), 0);
	fake->fail_remove = 0;
	helper_pinholes_tick(&h, 1000, on_gone, &ended);
	CU_ASSERT_EQUAL(fake_kernel_count(fake), 1);
	tear_down();
}

static size_t list(uint64_t *ret_sum)
{
	struct wire_listed *listed = NULL;
	size_t n = 0;

	CU_ASSERT_EQUAL(helper_pinholes_list(&h, 0, &listed, &n), 0);
	*ret_sum = 0;
	for (size_t i = 0; i < n; i++) {
		*ret_sum += listed[i].id;
		CU_ASSERT(listed[i].path != PINHOLE_NONE);
	}
	free(listed);
	return n;
}

static enum pinhole_end look_at(uint64_t id)
{
	struct wire_key key = { .id = id };
	struct wire_looked looked;

	helper_pinholes_look(&h, &key, &looked);
	CU_ASSERT_EQUAL(looked.id, id);
	return (enum pinhole_end)looked.end;
}

static void looked_at(void)
{
	set_up();
	nat->end = PINHOLE_END_SOURCE;
	CU_ASSERT_EQUAL(open_ids(1, 1, 1000), 0);
	CU_ASSERT_EQUAL(look_at(1), PINHOLE_END_UNKNOWN); /* XDP knows no connections */
	fake->path = PINHOLE_NONE;
	CU_ASSERT_EQUAL(open_ids(2, 1, 1000), 0);
	CU_ASSERT_EQUAL(look_at(2), PINHOLE_END_SOURCE);
	CU_ASSERT_EQUAL(look_at(3), PINHOLE_END_UNKNOWN);
	CU_ASSERT_EQUAL(close_id(2), 0);
	CU_ASSERT_EQUAL(look_at(2), PINHOLE_END_UNKNOWN);
	tear_down();
}

static void kernel_and_table(void)
{
	struct wire_pinhole tcp = pinholed_rig_pinhole(9);
	uint64_t sum;

	set_up();
	tcp.source.port = 0;
	CU_ASSERT_EQUAL(open_ids(1, 3, 0), 0);
	helper_pinholes_open(&h, &tcp, 1, 0, opened);
	CU_ASSERT_EQUAL(list(&sum), 4);
	CU_ASSERT_EQUAL(sum, 15);
	/* Entries without ids are known by their addresses. */
	nat->lists_no_ids = true;
	CU_ASSERT_EQUAL(list(&sum), 4);
	CU_ASSERT_EQUAL(sum, 15);
	/* Somebody else removes one from the kernel: the list is the kernel's. */
	fake->entries[0].is_used = false;
	CU_ASSERT_EQUAL(list(&sum), 3);
	CU_ASSERT_EQUAL(sum, 14);
	CU_ASSERT_EQUAL(open_ids(1, 1, 0), 0);
	CU_ASSERT_EQUAL(list(&sum), 4);
	/* A restart: those with ids are found again, can be closed, and are swept when nobody opens them. */
	restart();
	CU_ASSERT_EQUAL(table_count(h.table), 3);
	CU_ASSERT_EQUAL(list(&sum), 4);
	CU_ASSERT_EQUAL(sum, 6); /* that without id is nobody's yet */
	CU_ASSERT_EQUAL(close_id(1), 0);
	CU_ASSERT_EQUAL(open_ids(2, 1, 0), 0);
	CU_ASSERT_EQUAL(opened[0].was_there, 1);
	helper_pinholes_open(&h, &tcp, 1, 0, opened);
	CU_ASSERT_EQUAL(opened[0].was_there, 1);
	CU_ASSERT_EQUAL(helper_pinholes_sweep(&h, 0), 1);
	CU_ASSERT_EQUAL(list(&sum), 2);
	CU_ASSERT_EQUAL(sum, 11);
	restart();
	CU_ASSERT_EQUAL(helper_pinholes_sweep(&h, 0), 2);
	CU_ASSERT_EQUAL(fake_kernel_count(fake) + fake_kernel_count(nat), 0);
	tear_down();
}

/* A renewal that its back end refuses: another one takes over, and the pinhole is in the kernel once. */
static void renewed_elsewhere(void)
{
	set_up();
	CU_ASSERT_EQUAL(open_ids(1, 1, 0), 0);
	fake->fail_apply = 1;
	CU_ASSERT_EQUAL(open_ids(1, 1, 0), 0);
	CU_ASSERT_EQUAL(opened[0].path, PINHOLE_CONNTRACK);
	CU_ASSERT_EQUAL(fake_kernel_count(fake), 0);
	CU_ASSERT_EQUAL(fake_kernel_count(nat), 1);
	nat->fail_apply = 1;
	CU_ASSERT(open_ids(1, 1, 0) < 0);
	CU_ASSERT_EQUAL(fake_kernel_count(fake) + fake_kernel_count(nat), 0);
	CU_ASSERT_EQUAL(table_count(h.table), 0);
	tear_down();
}

static const struct unit_test tests[] = {
	{ "the order decides", the_order_decides },
	{ "features decide", features_decide },
	{ "all or nothing", all_or_nothing },
	{ "doubles and conflicts", doubles_and_conflicts },
	{ "lifetimes", lifetimes },
	{ "kernel does not let go", kernel_does_not_let_go },
	{ "how far connections have come", looked_at },
	{ "kernel and table", kernel_and_table },
	{ "renewed elsewhere", renewed_elsewhere },
};
UNIT_MAIN("helper_pinholes", tests)
