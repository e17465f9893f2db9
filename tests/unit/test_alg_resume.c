/* Kernel data over a restart: the row that is stored, and what the next process makes of it. */
#include <stdlib.h>
#include <unistd.h>

#include "algs/data_row.h"
#include "algs/tcp_leg.h"
#include "core/err.h"
#include "tests/unit/alg_rig.h"

static struct alg_rig rig;
static char stored_row[DATA_ROW_BYTES_MAX];

/* A process with data in the kernel, as it is when it dies; the store and its row stay. */
static void live_and_die(struct pinhole_spec *ret)
{
	struct alg_pair pair;
	struct pinhole *door;
	char line[40];
	int listener;

	alg_rig_open(&rig, "", NULL);
	memset(rig.host->can_kernel, true, sizeof(rig.host->can_kernel));
	alg_rig_pair(&rig, &pair);
	listener = alg_rig_socket(2, 0, true);
	snprintf(line, sizeof(line), "hole s %u", tcp_leg_local(listener).port);
	alg_rig_say(&rig, &pair, 's', line);
	alg_rig_say(&rig, &pair, 's', "arm 1");
	door = fake_pinhole_at(rig.pinholes, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(door);
	*ret = *pinhole_spec(door);
	fake_pinhole_fire(door, PINHOLE_EV_ARMED);
	alg_rig_turn(&rig);
	CU_ASSERT_PTR_NOT_NULL(fake_store_row(rig.store)); /* from the first octet on, whenever that is noticed */
	alg_rig_say(&rig, &pair, 'c', "data down /big.bin");
	fake_pinhole_fire(door, PINHOLE_EV_BOUND);
	alg_rig_turn(&rig);
	CU_ASSERT_PTR_NOT_NULL_FATAL(fake_store_row(rig.store));
	snprintf(stored_row, sizeof(stored_row), "%s", fake_store_row(rig.store));
	alg_rig_unpair(&pair);
	close(listener);
}

/* The next one: the same configuration, a host of its own, and the row. */
static void live_again(const char *row)
{
	struct alg_host_deps deps;
	char text[200] = "";

	alg_host_free(rig.host);
	pinholes_free(rig.pinholes);
	rig.pinholes = fake_pinholes_new();
	store_data_put(rig.store, SPAN_LIT("row-1"), span_of(row));
	rig.stored[0] = '\0';
	deps = (struct alg_host_deps){ .loop = rig.loop, .pinholes = rig.pinholes, .store = rig.store, .config = rig.config };
	CU_ASSERT_EQUAL_FATAL(alg_host_new(&deps, text, sizeof(text), &rig.host), 0);
	alg_host_resume(rig.host);
}

static void test_goes_on(void)
{
	struct pinhole_spec before;
	const struct pinhole_spec *after;
	struct pinhole *door;
	struct tcp_ports_stats stats;

	live_and_die(&before);
	live_again(stored_row);
	door = fake_pinhole_at(rig.pinholes, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(door);
	after = pinhole_spec(door);
	CU_ASSERT_STRING_EQUAL(after->owner, before.owner);
	CU_ASSERT_TRUE(addr_eq(&after->listen, &before.listen) && addr_eq(&after->from, &before.from));
	CU_ASSERT_TRUE(addr_eq(&after->source, &before.source) && addr_eq(&after->target, &before.target));
	CU_ASSERT_TRUE(after->is_one_shot && after->proto == IPPROTO_TCP && after->realm_in == before.realm_in && after->realm_out == before.realm_out);
	tcp_ports_stats(rig.host->pools[0].ports, &stats);
	CU_ASSERT_EQUAL(stats.used, 1); /* nobody else gets its ports */
	fake_pinhole_set_path(door, PINHOLE_NFT, "played");
	fake_pinhole_fire(door, PINHOLE_EV_ARMED);
	fake_pinhole_set_stats(door, &(struct slot_stats){ .packets = 9, .bytes = 100, .packets_back = 9, .bytes_back = 5000 });
	alg_rig_pass(&rig, 60000);
	CU_ASSERT_STRING_EQUAL(rig.stored, "");
	fake_pinhole_fire(door, PINHOLE_EV_EXPIRED);
	CU_ASSERT_STRING_EQUAL(rig.stored, "transfer verb=GET path=/big.bin user=ann direction=d bytes=5000 code=0 ok=1\ndata delete\n");
	tcp_ports_stats(rig.host->pools[0].ports, &stats);
	CU_ASSERT_EQUAL(stats.used, 0);
	alg_rig_close(&rig);
}

static void test_had_ended(void)
{
	struct pinhole_spec before;

	live_and_die(&before);
	live_again(stored_row);
	fake_pinhole_fire(fake_pinhole_at(rig.pinholes, 0), PINHOLE_EV_ARMED);
	alg_rig_pass(&rig, 3000);
	CU_ASSERT_STRING_EQUAL(rig.stored, "");
	alg_rig_pass(&rig, 4000); /* no packet ever: the door must not stay open for another */
	CU_ASSERT_TRUE(fake_pinhole_is_disowned(fake_pinhole_at(rig.pinholes, 0)));
	CU_ASSERT_EQUAL(pinhole_state(fake_pinhole_at(rig.pinholes, 0)), PINHOLE_DRAINING);
	CU_ASSERT_STRING_EQUAL(rig.stored, "transfer verb=GET path=/big.bin user=ann direction=d bytes=0 code=0 ok=0\ndata delete\n");
	alg_rig_close(&rig);
}

static void test_idle(void)
{
	struct pinhole_spec before;
	struct pinhole *door;

	live_and_die(&before);
	live_again(stored_row);
	door = fake_pinhole_at(rig.pinholes, 0);
	fake_pinhole_fire(door, PINHOLE_EV_ARMED);
	for (unsigned i = 1; i < 4; i++) {
		fake_pinhole_set_stats(door, &(struct slot_stats){ .packets = i, .bytes = 10 * i });
		alg_rig_pass(&rig, 500000);
		CU_ASSERT_FALSE(fake_pinhole_is_disowned(door));
	}
	alg_rig_pass(&rig, 110000);
	CU_ASSERT_TRUE(fake_pinhole_is_disowned(door));
	alg_rig_close(&rig);
}

static void test_refused(void)
{
	struct pinhole_spec before;

	live_and_die(&before);
	live_again(stored_row);
	fake_pinhole_fire(fake_pinhole_at(rig.pinholes, 0), PINHOLE_EV_REFUSED);
	CU_ASSERT_STRING_EQUAL(rig.stored, "transfer verb=GET path=/big.bin user=ann direction=d bytes=0 code=0 ok=0\ndata delete\n");
	alg_rig_close(&rig);

	live_and_die(&before);
	live_again("{}"); /* nothing that we have written */
	CU_ASSERT_STRING_EQUAL(rig.stored, "data delete\n");
	CU_ASSERT_EQUAL(fake_pinholes_count(rig.pinholes), 0);
	alg_rig_close(&rig);
}

static void on_drained(void *arg)
{
	*(bool *)arg = true;
}

static void test_drain(void)
{
	struct pinhole_spec before;

	live_and_die(&before);
	live_again(stored_row);
	alg_host_drain(rig.host, on_drained, &rig.is_drained);
	CU_ASSERT_FALSE(rig.is_drained);
	fake_pinhole_fire(fake_pinhole_at(rig.pinholes, 0), PINHOLE_EV_ARMED);
	fake_pinhole_fire(fake_pinhole_at(rig.pinholes, 0), PINHOLE_EV_EXPIRED);
	CU_ASSERT_TRUE(rig.is_drained);
	alg_rig_close(&rig);

	live_and_die(&before);
	live_again(stored_row);
	alg_rig_close(&rig); /* with one that goes on */
}

static const struct unit_test tests[] = {
	{ "goes on, and is recorded", test_goes_on },
	{ "had ended before", test_had_ended },
	{ "idle", test_idle },
	{ "refused, or no row of ours", test_refused },
	{ "drained", test_drain },
};
UNIT_MAIN("alg_resume", tests)
