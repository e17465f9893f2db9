/* The engine of pinholes against a helper that is played: what realms can have, and pinholes between hosts that address each
 * other. */
#include <stdio.h>
#include <string.h>

#include "core/err.h"
#include "tests/unit/pinhole_rig.h"

static struct rig rig;

static void usable_by_realm(void)
{
	static const struct {
		unsigned realm, path;
		bool is_usable;
		bool by_realms[3]; /* 0 to 1, 1 to 2, 2 to 2 then */
	} steps[] = {
		{ 2, PINHOLE_TC, true, { true, true, true } },            /* in by one program, out by the other */
		{ 1, PINHOLE_XDP, false, { false, false, true } },
		{ 1, PINHOLE_NFT, true, { false, false, true } },          /* not in the configured order */
		{ 1, PINHOLE_CONNTRACK, true, { false, false, true } },    /* both ends need it */
		{ 0, PINHOLE_CONNTRACK, true, { true, false, true } },
		{ 7, PINHOLE_XDP, true, { true, false, true } },           /* no such realm */
	};
	struct pinhole_ability abilities[16];

	rig_begin(&rig);
	rig.changes = 0;
	for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		fake_helper_able(&rig.helper, steps[i].realm, steps[i].path, steps[i].is_usable, "changed");
		fake_helper_run(&rig.helper);
		CU_ASSERT_EQUAL(pinholes_is_usable(rig.pinholes, 0, 1), steps[i].by_realms[0]);
		CU_ASSERT_EQUAL(pinholes_is_usable(rig.pinholes, 1, 2), steps[i].by_realms[1]);
		CU_ASSERT_EQUAL(pinholes_is_usable(rig.pinholes, 2, 2), steps[i].by_realms[2]);
		CU_ASSERT_EQUAL(rig.changes, i + 1);
	}
	CU_ASSERT_EQUAL(pinholes_abilities(rig.pinholes, abilities, 16), 6);
	CU_ASSERT_EQUAL(abilities[1].realm, 1);
	CU_ASSERT_FALSE(abilities[1].is_usable);
	CU_ASSERT_TRUE(abilities[1].is_wanted);
	CU_ASSERT_STRING_EQUAL(abilities[1].reason, "changed");
	CU_ASSERT_STRING_EQUAL(abilities[1].interface, "if1");
	CU_ASSERT_FALSE(abilities[3].is_wanted); /* nft */
	rig_end(&rig);
}

static void capturing(const char *trouble)
{
	struct wire_capturing record = { .is_working = trouble == NULL };

	snprintf(record.reason, sizeof(record.reason), "%s", trouble != NULL ? trouble : "");
	fake_helper_send(&rig.helper, WIRE_CAPTURING, 0, &record, 1);
	fake_helper_run(&rig.helper);
}

static void says_whether_channels_are_taken_over(void)
{
	rig_begin_silent(&rig);
	CU_ASSERT_PTR_NOT_NULL(pinholes_capture_trouble(rig.pinholes));
	fake_helper_hello(&rig.helper);
	rig.changes = 0;
	capturing(NULL);
	CU_ASSERT_EQUAL(rig.changes, 1);
	CU_ASSERT_PTR_NULL(pinholes_capture_trouble(rig.pinholes));
	capturing("no tproxy");
	CU_ASSERT_EQUAL(rig.changes, 2);
	CU_ASSERT_STRING_EQUAL(pinholes_capture_trouble(rig.pinholes), "no tproxy");
	capturing(NULL);
	fake_helper_hello(&rig.helper); /* another process has to say it anew */
	fake_helper_run(&rig.helper);
	CU_ASSERT_PTR_NOT_NULL(pinholes_capture_trouble(rig.pinholes));
	capturing(NULL);
	fake_helper_hang_up(&rig.helper);
	fake_helper_run(&rig.helper);
	CU_ASSERT_STRING_EQUAL(pinholes_capture_trouble(rig.pinholes), "postern-pinholed has ended");
	rig_end(&rig);
}

/* What is said twice is said alike, and what has no place is not there. */
static void hosts_that_address_each_other(void)
{
	static const struct {
		bool is_through, is_as_source, is_to_self, listens_at_target, has_from;
		int err;
		uint8_t flags;
	} rows[] = {
		{ true, false, false, true, true, 0, WIRE_THROUGH },
		{ true, false, false, false, true, ERR_STATE, 0 },
		{ true, false, false, true, false, ERR_STATE, 0 },
		{ true, true, false, true, false, 0, WIRE_THROUGH | WIRE_AS_SOURCE },
		{ false, true, false, false, false, 0, WIRE_AS_SOURCE },
		{ false, true, false, false, true, ERR_STATE, 0 },
		{ false, false, true, false, false, 0, WIRE_TO_SELF },
		{ false, true, true, false, false, 0, WIRE_TO_SELF },
		{ true, false, true, true, false, ERR_STATE, 0 },
		{ false, false, true, false, true, ERR_STATE, 0 },
		{ false, false, false, false, false, ERR_STATE, 0 },
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pinhole_spec spec = rig_spec(i);
		struct pinhole *p = NULL;

		rig_begin(&rig);
		spec.is_through = rows[i].is_through;
		spec.is_as_source = rows[i].is_as_source;
		spec.is_to_self = rows[i].is_to_self;
		spec.is_rtp = spec.is_handed_over = false;
		spec.proto = IPPROTO_TCP;
		spec.packets_per_s = spec.bytes_per_s = UINT32_MAX;
		if (rows[i].listens_at_target)
			spec.listen = spec.target;
		if (!rows[i].has_from)
			spec.from = (struct addr){ 0 };
		CU_ASSERT_EQUAL_FATAL(pinhole_open(rig.pinholes, &spec, 1, NULL, NULL, &p), rows[i].err);
		fake_helper_run(&rig.helper);
		if (rows[i].err == 0) {
			const struct fake_hole *hole = fake_helper_find(&rig.helper, rig_id(&rig, p));

			CU_ASSERT_PTR_NOT_NULL_FATAL(hole);
			CU_ASSERT_EQUAL(hole->spec.flags, rows[i].flags);
			CU_ASSERT_EQUAL(hole->spec.packets_per_s, 10000000); /* more is not asked for: no limit at all is none */
		}
		rig_end(&rig);
	}
}

static const struct unit_test tests[] = {
	{ "usable by realm", usable_by_realm },
	{ "says whether channels are taken over", says_whether_channels_are_taken_over },
	{ "hosts that address each other", hosts_that_address_each_other },
};

UNIT_MAIN("pinhole_realms", tests)
