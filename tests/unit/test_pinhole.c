/* pinhole/pinhole.h with a scripted helper: batches, refusals, restarts of the helper, audits, counters, the end. What a
 * hostile helper does is in test_pinhole_hostile.c. */
#include <stdio.h>
#include <string.h>

#include "core/err.h"
#include "tests/unit/pinhole_rig.h"

static struct rig rig;

static void opens_and_closes(void)
{
	struct pinhole *p[2];
	struct slot_stats stats;

	rig_begin(&rig);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 2, p), 0);
	CU_ASSERT_EQUAL(pinhole_state(p[0]), PINHOLE_RESERVED);
	CU_ASSERT_EQUAL(pinhole_path(p[0]), PINHOLE_NONE);
	pinhole_stats(p[0], &stats);
	CU_ASSERT_EQUAL(stats.packets, 0);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_OPEN], 0); /* nothing happens within the call */
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_OPEN], 1);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], 2);
	CU_ASSERT_EQUAL(pinhole_state(p[1]), PINHOLE_ARMED);
	CU_ASSERT_EQUAL(pinhole_path(p[1]), PINHOLE_XDP);
	CU_ASSERT_STRING_EQUAL(pinhole_reason(p[1]), "first choice");
	CU_ASSERT_EQUAL(rig_summary(&rig).open[PINHOLE_XDP], 2);
	CU_ASSERT_EQUAL(rig_metric("postern_pinholes{path=\"xdp\"}"), 2);
	rig_slot(&rig, p[0])->packets = 77;
	pinhole_stats(p[0], &stats);
	CU_ASSERT_EQUAL(stats.packets, 77);

	pinhole_close(p[0]);
	pinhole_close(p[0]);
	CU_ASSERT_EQUAL(pinhole_state(p[0]), PINHOLE_DRAINING);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_CLOSED], 0);
	rig_slot(&rig, p[0])->packets = 80; /* until the kernel has let go of it */
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_CLOSED], 1);
	CU_ASSERT_PTR_EQUAL(rig.owner.last, p[0]);
	CU_ASSERT_EQUAL(rig.owner.last_stats.packets, 80);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_CLOSE], 1);
	CU_ASSERT_EQUAL(fake_helper_count(&rig.helper), 1);
	CU_ASSERT_EQUAL(rig_metric("postern_pinholes{path=\"xdp\"}"), 1);
	rig_end(&rig);
	CU_ASSERT_EQUAL(rig_metric("postern_pinholes{path=\"xdp\"}"), 0);
}

static void specification_arrives(void)
{
	struct pinhole_spec spec = rig_spec(3);
	const struct wire_pinhole *wire;
	struct pinhole *p;
	struct addr addr;

	rig_begin(&rig);
	p = rig_open_one(&rig, 3);
	CU_ASSERT_PTR_NOT_NULL_FATAL(fake_helper_find(&rig.helper, rig_id(&rig, p)));
	wire = &fake_helper_find(&rig.helper, rig_id(&rig, p))->spec;
	addr = wire_addr_get(&wire->listen);
	CU_ASSERT(addr_eq(&addr, &spec.listen));
	addr = wire_addr_get(&wire->from);
	CU_ASSERT(addr_eq(&addr, &spec.from));
	addr = wire_addr_get(&wire->source);
	CU_ASSERT(addr_eq(&addr, &spec.source));
	addr = wire_addr_get(&wire->target);
	CU_ASSERT(addr_eq(&addr, &spec.target));
	CU_ASSERT_EQUAL(wire->owner[0], 0x01);
	CU_ASSERT_EQUAL(wire->owner[1], 0x92);
	CU_ASSERT_EQUAL(wire->owner[15], 0xcd);
	CU_ASSERT_EQUAL(wire->flags, WIRE_RTP | WIRE_HANDED_OVER);
	CU_ASSERT_EQUAL(wire->payloads[0], 1);
	CU_ASSERT_EQUAL(wire->clock_hz, 8000);
	CU_ASSERT_EQUAL(wire->dscp, 46);
	CU_ASSERT_EQUAL(wire->packets_per_s, 200);
	CU_ASSERT_EQUAL(wire->bytes_per_s, 50000);
	CU_ASSERT_EQUAL(wire->lifetime_s, RIG_LIFETIME_S);
	CU_ASSERT_EQUAL(wire->realm_out, 1);
	CU_ASSERT_EQUAL(wire->proto, IPPROTO_UDP);
	rig_end(&rig);
}

static void a_turn_makes_few_messages(void)
{
	struct pinhole *p[160];

	rig_begin(&rig);
	for (unsigned i = 0; i < 80; i++)
		CU_ASSERT_EQUAL_FATAL(rig_open(&rig, i * 2, 2, &p[i * 2]), 0);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_OPEN], 3);
	CU_ASSERT_EQUAL(rig.helper.n_records[WIRE_OPEN], 160);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], 160);
	for (unsigned i = 0; i < 160; i++)
		pinhole_close(p[i]);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_CLOSE], 3);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_CLOSED], 160);
	CU_ASSERT_EQUAL(fake_helper_count(&rig.helper), 0);
	rig_end(&rig);
}

static void batches_stay_whole(void)
{
	struct pinhole *p[PINHOLE_BATCH_MAX * 2];

	rig_begin(&rig);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 60, p), 0);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 60, 5, p + 60), 0); /* 65 do not fit */
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_OPEN], 2);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], 65);
	CU_ASSERT_EQUAL(rig_open(&rig, 100, PINHOLE_BATCH_MAX, p), 0);
	CU_ASSERT_EQUAL(rig_open(&rig, 200, PINHOLE_BATCH_MAX + 1, p), ERR_STATE);
	CU_ASSERT_EQUAL(rig_open(&rig, 200, 0, p), ERR_STATE);
	rig_end(&rig);
}

static void refused_as_a_whole(void)
{
	struct pinhole *p[7];
	double before = rig_metric("postern_pinhole_refusals_total{reason=\"denied\"}");

	rig_begin(&rig);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 2, p), 0);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 2, 3, p + 2), 0);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 5, 2, p + 5), 0);
	rig.helper.refused[0] = rig_id(&rig, p[3]);
	rig.helper.refusal = ERR_DENIED;
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_REFUSED], 3);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], 4);
	CU_ASSERT_EQUAL(pinhole_state(p[1]), PINHOLE_ARMED);
	CU_ASSERT_EQUAL(pinhole_state(p[5]), PINHOLE_ARMED);
	CU_ASSERT_EQUAL(fake_helper_count(&rig.helper), 4);
	CU_ASSERT_EQUAL(rig_summary(&rig).refused, 3);
	CU_ASSERT_EQUAL(rig_metric("postern_pinhole_refusals_total{reason=\"denied\"}"), (before < 0 ? 0 : before) + 3);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_OPEN], 3); /* together, then the two innocent ones alone */
	rig_end(&rig);

	rig_begin(&rig);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 2, p), 0);
	rig.helper.refused[0] = rig_id(&rig, p[1]);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_REFUSED], 2);
	CU_ASSERT_STRING_EQUAL(rig.owner.last_reason, "refused as told");
	CU_ASSERT_EQUAL(rig_summary(&rig).open[PINHOLE_NONE], 0);
	rig_end(&rig);
}

static void nothing_is_sent_before_hello(void)
{
	struct pinhole_ability abilities[16];
	struct pinhole *p[3];

	rig_begin_silent(&rig);
	CU_ASSERT_EQUAL(pinholes_abilities(rig.pinholes, abilities, 16), 0);
	fake_loop_advance(rig.loop, 20000);
	CU_ASSERT_EQUAL(pinholes_abilities(rig.pinholes, abilities, 16), 9);
	CU_ASSERT_STRING_EQUAL(abilities[0].reason, "the helper does not become ready");
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 3, p), 0);
	pinholes_reconciled(rig.pinholes);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_OPEN], 0);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_SWEEP], 0);
	CU_ASSERT_FALSE(pinholes_is_usable(rig.pinholes, 0, 1));
	pinhole_close(p[0]); /* never asked for: gone without the helper */
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_CLOSED], 0);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_CLOSED], 1);
	fake_helper_hello(&rig.helper);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], 2);
	CU_ASSERT_EQUAL(rig.helper.n_records[WIRE_OPEN], 2);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_SWEEP], 1);
	rig_end(&rig);
}

static void closed_before_the_answer(void)
{
	static struct fake_helper_message message;
	struct pinhole *p[2];

	rig_begin(&rig);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 2, p), 0);
	fake_helper_deliver(&rig.helper);
	CU_ASSERT_TRUE_FATAL(fake_helper_receive(&rig.helper, &message));
	pinhole_close(p[0]);
	fake_helper_answer(&rig.helper, &message);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], 1);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_CLOSED], 1);
	CU_ASSERT_EQUAL(fake_helper_count(&rig.helper), 1);
	rig_end(&rig);
}

static void close_the_other(struct rig_owner *owner, struct pinhole *pinhole, enum pinhole_event event)
{
	struct pinhole **p = owner->arg;

	if (event == PINHOLE_EV_ARMED || event == PINHOLE_EV_BOUND)
		pinhole_close(pinhole == p[0] ? p[1] : p[0]);
}

static void an_owner_closes_others_while_told(void)
{
	struct pinhole *p[2];

	rig_begin(&rig);
	rig.owner.then = close_the_other;
	rig.owner.arg = p;
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 2, p), 0);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], 1); /* the other was draining by then */
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_CLOSED], 1);

	rig.owner.then = NULL;
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 4, 2, p), 0);
	fake_helper_run(&rig.helper);
	rig_slot(&rig, p[0])->packets = rig_slot(&rig, p[1])->packets = 1;
	rig.owner.then = close_the_other;
	fake_loop_advance(rig.loop, 1000);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_BOUND], 1);
	rig_end(&rig);
}

static void the_same_again(void)
{
	struct pinhole *p, *q = NULL;
	uint64_t id;

	rig_begin(&rig);
	p = rig_open_one(&rig, 0);
	id = rig_id(&rig, p);
	CU_ASSERT_EQUAL(rig_open(&rig, 0, 1, &q), ERR_EXISTS);
	pinhole_close(p);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 1, &q), 0); /* behind the close */
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_CLOSED], 1);
	CU_ASSERT_EQUAL(pinhole_state(q), PINHOLE_ARMED);
	CU_ASSERT_EQUAL(rig_id(&rig, q), id);
	CU_ASSERT_PTR_NOT_NULL(fake_helper_find(&rig.helper, id));
	rig_end(&rig);

	rig_begin(&rig); /* another process */
	CU_ASSERT_EQUAL(rig_id(&rig, rig_open_one(&rig, 0)), id);
	CU_ASSERT_NOT_EQUAL(rig_id(&rig, rig_open_one(&rig, 1)), id);
	rig_end(&rig);
}

static void bad_specifications(void)
{
	struct pinhole_spec specs[] = {
		rig_spec(0), rig_spec(0), rig_spec(0), rig_spec(0), rig_spec(0), rig_spec(0), rig_spec(0), rig_spec(0), rig_spec(0),
	};
	struct pinhole *p;

	specs[0].owner[0] = '\0';
	memset(specs[1].owner, 'x', sizeof(specs[1].owner));
	specs[2].proto = IPPROTO_ICMP;
	specs[3].listen.port = 0;
	specs[4].target.family = 0;
	specs[5].packets_per_s = 0;
	specs[6].bytes_per_s = 0;
	specs[7].lifetime_s = 0;
	specs[8].dscp = 64;
	rig_begin(&rig);
	for (unsigned i = 0; i < sizeof(specs) / sizeof(specs[0]); i++)
		CU_ASSERT_EQUAL(pinhole_open(rig.pinholes, &specs[i], 1, NULL, NULL, &p), ERR_STATE);
	specs[0] = rig_spec(0);
	specs[1] = rig_spec(0); /* twice in one batch */
	CU_ASSERT_EQUAL(pinhole_open(rig.pinholes, specs, 2, NULL, NULL, &p), ERR_EXISTS);
	CU_ASSERT_EQUAL(rig_summary(&rig).open[PINHOLE_NONE], 0);
	rig_end(&rig);
}

static const char *refusal(void)
{
	const char *why = pinholes_refusal(rig.pinholes, 0, 1);

	return why != NULL ? why : "";
}

static void table_ends_at_its_limit(void)
{
	static struct pinhole *p[RIG_MAX];
	struct pinhole *more[2];

	rig_begin(&rig);
	for (unsigned i = 0; i < RIG_MAX; i += 50)
		CU_ASSERT_EQUAL_FATAL(rig_open(&rig, i, 50, p + i), 0);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], RIG_MAX);
	CU_ASSERT(rig_summary(&rig).is_full);
	CU_ASSERT_EQUAL(rig_open(&rig, RIG_MAX, 1, more), ERR_LIMIT);
	CU_ASSERT_STRING_EQUAL(refusal(), "no room for more pinholes");
	pinhole_close(p[7]);
	fake_helper_run(&rig.helper);
	CU_ASSERT(rig_summary(&rig).is_full); /* one is free, and a stream takes two */
	CU_ASSERT_EQUAL(rig_open(&rig, RIG_MAX, 2, more), ERR_LIMIT); /* all or nothing */
	CU_ASSERT_EQUAL(rig_open(&rig, RIG_MAX, 1, more), 0);
	fake_helper_run(&rig.helper);
	pinhole_close(p[8]);
	pinhole_close(p[9]);
	fake_helper_run(&rig.helper);
	CU_ASSERT(!rig_summary(&rig).is_full);
	CU_ASSERT_STRING_EQUAL(refusal(), "");
	CU_ASSERT_EQUAL(rig_open(&rig, RIG_MAX + 1, 2, more), 0);
	rig_end(&rig);
}

/* The socket takes far less than this; the helper reads nothing for a while. */
/* The kernel has no room although the table has. */
static void the_kernel_is_full(void)
{
	struct pinhole *p[2], *more;

	rig_begin(&rig);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 2, p), 0);
	fake_helper_run(&rig.helper);
	CU_ASSERT_STRING_EQUAL(refusal(), "");
	rig.helper.space = 2;
	rig.changes = 0;
	CU_ASSERT_EQUAL(rig_open(&rig, 2, 1, &more), 0);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_REFUSED], 1);
	CU_ASSERT_STRING_EQUAL(refusal(), "no room for more pinholes");
	fake_loop_advance(rig.loop, 1000);
	CU_ASSERT_EQUAL(rig.changes, 1);
	/* Whoever closes one leaves room. */
	pinhole_close(p[0]);
	fake_helper_run(&rig.helper);
	CU_ASSERT_STRING_EQUAL(refusal(), "");
	fake_loop_advance(rig.loop, 1000);
	CU_ASSERT_EQUAL(rig.changes, 2);
	/* Others took it, and gave it back: who asks again finds out. */
	rig.helper.space = 1;
	CU_ASSERT_EQUAL(rig_open(&rig, 3, 1, &more), 0);
	fake_helper_run(&rig.helper);
	CU_ASSERT(rig_summary(&rig).is_full);
	rig.helper.space = 2;
	CU_ASSERT_EQUAL(rig_open(&rig, 3, 1, &more), 0);
	fake_helper_run(&rig.helper);
	CU_ASSERT(!rig_summary(&rig).is_full);
	/* A renewal that finds no room is the end of that pinhole, and no sign of room. */
	rig.helper.refusal = ERR_LIMIT;
	rig.helper.refused[0] = rig_id(&rig, p[1]);
	rig.helper.refused[1] = rig_id(&rig, more);
	fake_helper_hello(&rig.helper);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_LOST], 2);
	CU_ASSERT(rig_summary(&rig).is_full);
	/* And when nobody asks, the next one may try. */
	fake_loop_advance(rig.loop, PINHOLE_FULL_MS - 2);
	CU_ASSERT(rig_summary(&rig).is_full);
	fake_loop_advance(rig.loop, 2);
	CU_ASSERT(!rig_summary(&rig).is_full);
	rig_end(&rig);
}

static void reasons_to_refuse(void)
{
	rig_begin_silent(&rig);
	CU_ASSERT_STRING_EQUAL(refusal(), ""); /* not known yet */
	fake_loop_advance(rig.loop, 14000);
	CU_ASSERT_STRING_EQUAL(refusal(), "");
	rig.changes = 0;
	fake_loop_advance(rig.loop, 2000);
	CU_ASSERT_STRING_EQUAL(refusal(), "no kernel path is usable between these realms");
	CU_ASSERT_EQUAL(rig.changes, 1);
	fake_helper_hello(&rig.helper);
	fake_helper_able(&rig.helper, 0, PINHOLE_TC, true, "proved");
	fake_helper_able(&rig.helper, 1, PINHOLE_TC, false, "no such luck");
	fake_helper_run(&rig.helper);
	CU_ASSERT_STRING_EQUAL(refusal(), "no kernel path is usable between these realms");
	fake_helper_able(&rig.helper, 1, PINHOLE_TC, true, "proved");
	fake_helper_run(&rig.helper);
	CU_ASSERT_STRING_EQUAL(refusal(), "");
	fake_helper_hang_up(&rig.helper);
	fake_helper_run(&rig.helper);
	CU_ASSERT_STRING_NOT_EQUAL(refusal(), "");
	rig_end(&rig);
}

static void nobody_would_start_it_again(void)
{
	rig_begin(&rig);
	fake_loop_advance(rig.loop, 1000);
	rig.changes = 0;
	CU_ASSERT(!rig_summary(&rig).is_unwatched);
	pinholes_unwatched(rig.pinholes);
	fake_loop_advance(rig.loop, 2000);
	CU_ASSERT(rig_summary(&rig).is_unwatched && rig_summary(&rig).has_helper);
	CU_ASSERT_EQUAL(rig.changes, 1);
	CU_ASSERT_STRING_EQUAL(refusal(), "");
	(void)rig_open_one(&rig, 0);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], 1);
	fake_helper_hang_up(&rig.helper);
	fake_helper_run(&rig.helper);
	CU_ASSERT(!rig_summary(&rig).is_unwatched);
	CU_ASSERT_EQUAL(rig.changes, 2);
	rig_end(&rig);
}

static void a_full_socket_loses_nothing(void)
{
	static struct pinhole *p[RIG_MAX];
	static struct fake_helper_message message;

	rig_begin(&rig);
	for (unsigned i = 0; i < RIG_MAX; i++) {
		CU_ASSERT_EQUAL_FATAL(rig_open(&rig, i, 1, p + i), 0);
		fake_helper_deliver(&rig.helper); /* a message each, 64 at most unanswered */
	}
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], 0);
	for (unsigned i = 0; i < RIG_MAX; i += 2)
		pinhole_close(p[i]);
	fake_helper_deliver(&rig.helper);
	CU_ASSERT_TRUE_FATAL(fake_helper_receive(&rig.helper, &message));
	fake_helper_answer(&rig.helper, &message);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_CLOSED], RIG_MAX / 2);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], RIG_MAX / 2);
	CU_ASSERT_EQUAL(fake_helper_count(&rig.helper), RIG_MAX / 2);
	rig_end(&rig);
}

static void first_packet_is_noticed(void)
{
	struct pinhole *p, *q;

	rig_begin(&rig);
	p = rig_open_one(&rig, 0);
	q = rig_open_one(&rig, 1);
	fake_loop_advance(rig.loop, 2000);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_BOUND], 0);
	*rig_slot(&rig, p) = (struct slot){ .packets = 1, .flags = SLOT_NO_XDP, .last_ns = 1 };
	fake_loop_advance(rig.loop, 1000);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_BOUND], 1);
	CU_ASSERT_EQUAL(pinhole_state(p), PINHOLE_BOUND);
	CU_ASSERT_EQUAL(pinhole_path(p), PINHOLE_TC); /* XDP had to leave it alone */
	CU_ASSERT_EQUAL(pinhole_state(q), PINHOLE_ARMED);
	rig_slot(&rig, q)->packets = 1;
	fake_loop_advance(rig.loop, 5000);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_BOUND], 2);
	CU_ASSERT_EQUAL(pinhole_path(q), PINHOLE_XDP);
	rig_end(&rig);
}

static void counters_survive_the_helper(void)
{
	struct pinhole *p;
	struct slot_stats stats;

	rig_begin(&rig);
	p = rig_open_one(&rig, 0);
	rig_slot(&rig, p)->packets = 100;
	fake_helper_hello(&rig.helper);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.helper.n_records[WIRE_OPEN], 2);
	rig_slot(&rig, p)->packets = 110; /* it was there: the slot goes on */
	pinhole_stats(p, &stats);
	CU_ASSERT_EQUAL(stats.packets, 110);
	rig_slot(&rig, p)->packets = 3; /* filled late by a mechanism that counts from dumps */
	pinhole_stats(p, &stats);
	CU_ASSERT_EQUAL(stats.packets, 100);
	rig_slot(&rig, p)->packets = 120;

	memset(rig.helper.holes, 0, sizeof(rig.helper.holes)); /* the kernel forgot everything */
	fake_helper_hello(&rig.helper);
	fake_helper_run(&rig.helper);
	pinhole_stats(p, &stats);
	CU_ASSERT_EQUAL(stats.packets, 120);
	rig_slot(&rig, p)->packets = 5;
	pinhole_stats(p, &stats);
	CU_ASSERT_EQUAL(stats.packets, 125);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], 1); /* the owner need not know */
	CU_ASSERT_EQUAL(rig_summary(&rig).helper_starts, 3);
	rig_end(&rig);
}

static void opened_again_after_hello(void)
{
	static struct fake_helper_message message;
	struct pinhole *p[4], *fresh[2];

	rig_begin(&rig);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 4, p), 0);
	fake_helper_run(&rig.helper);
	pinhole_close(p[0]);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 10, 2, fresh), 0);
	fake_helper_deliver(&rig.helper);
	while (fake_helper_receive(&rig.helper, &message)) /* the process dies before it answers the two requests */
		;
	rig.helper.refused[0] = rig_id(&rig, p[1]);
	rig.helper.n_records[WIRE_OPEN] = 0;
	fake_helper_hello(&rig.helper);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_CLOSED], 1);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_LOST], 1); /* and only that one */
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], 6);
	CU_ASSERT_EQUAL(pinhole_state(fresh[1]), PINHOLE_ARMED);
	CU_ASSERT_EQUAL(pinhole_state(p[2]), PINHOLE_ARMED);
	CU_ASSERT_PTR_NULL(fake_helper_find(&rig.helper, rig.helper.refused[0])); /* taken out of the kernel, too */
	CU_ASSERT_EQUAL(fake_helper_count(&rig.helper), 4);
	CU_ASSERT_EQUAL(rig_summary(&rig).lost, 1);
	rig_end(&rig);
}

/* What the old process has left in the socket is answered by the new one, after its hello. */
static void answers_to_an_earlier_process_are_ignored(void)
{
	static struct fake_helper_message message;
	struct pinhole *p;

	rig_begin(&rig);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 1, &p), 0);
	fake_helper_deliver(&rig.helper);
	CU_ASSERT_TRUE_FATAL(fake_helper_receive(&rig.helper, &message));
	fake_helper_hello(&rig.helper);
	fake_helper_answer(&rig.helper, &message);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], 1);
	CU_ASSERT_TRUE(rig_summary(&rig).has_helper);
	CU_ASSERT_EQUAL(fake_helper_count(&rig.helper), 1);
	rig_end(&rig);
}

static void sweeps_when_reconciled(void)
{
	struct pinhole *p[2];

	rig_begin(&rig);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 2, p), 0);
	fake_helper_run(&rig.helper);
	pinhole_close(p[0]);
	fake_helper_run(&rig.helper);
	rig_end(&rig); /* leaves p[1] in the kernel */

	rig_begin_silent(&rig);
	rig.helper.holes[5] = (struct fake_hole){ .spec = { .id = 4711 }, .slot = 5, .path = PINHOLE_TC }; /* of an earlier process */
	rig.helper.holes[6] = (struct fake_hole){ .spec = { .id = 4712 }, .slot = 6, .path = PINHOLE_TC };
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 2, p), 0);
	fake_helper_hello(&rig.helper);
	fake_helper_run(&rig.helper);
	fake_loop_advance(rig.loop, 31000); /* an audit before that leaves alone what may still be claimed */
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_LIST], 1);
	CU_ASSERT_EQUAL(fake_helper_count(&rig.helper), 4);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_SWEEP], 0);
	pinholes_reconciled(rig.pinholes);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_SWEEP], 1);
	CU_ASSERT_EQUAL(fake_helper_count(&rig.helper), 2);
	CU_ASSERT_EQUAL(rig_summary(&rig).orphans, 2);
	fake_helper_hello(&rig.helper);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_SWEEP], 2); /* a new process has to be told again */
	CU_ASSERT_EQUAL(fake_helper_count(&rig.helper), 2);
	rig_end(&rig);
}

static void audit_puts_right(void)
{
	struct pinhole *p[100];

	rig_begin(&rig);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 50, p), 0);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 50, 50, p + 50), 0);
	fake_helper_run(&rig.helper);
	pinholes_reconciled(rig.pinholes);
	fake_helper_run(&rig.helper);
	fake_helper_find(&rig.helper, rig_id(&rig, p[3]))->spec.id = 815; /* one gone, one that nobody asked for */
	fake_helper_find(&rig.helper, rig_id(&rig, p[4]))->spec.id = 0;
	fake_loop_advance(rig.loop, 31000);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_LIST], 1);
	CU_ASSERT_EQUAL(fake_helper_count(&rig.helper), 100);
	CU_ASSERT_PTR_NULL(fake_helper_find(&rig.helper, 815));
	CU_ASSERT_PTR_NOT_NULL(fake_helper_find(&rig.helper, rig_id(&rig, p[3])));
	CU_ASSERT_EQUAL(rig_summary(&rig).missing, 2);
	CU_ASSERT_EQUAL(rig_summary(&rig).orphans, 1);
	fake_loop_advance(rig.loop, 30000);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_LIST], 2);
	CU_ASSERT_EQUAL(rig_summary(&rig).missing, 2);

	fake_helper_find(&rig.helper, rig_id(&rig, p[9]))->spec.id = 0; /* and when it is refused */
	rig.helper.refused[0] = rig_id(&rig, p[9]);
	fake_loop_advance(rig.loop, 31000);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_LOST], 1);
	CU_ASSERT_PTR_EQUAL(rig.owner.last, p[9]);
	rig_end(&rig);
}

/* Closed after the list was asked for: it is not listed, and was not lost. */
static void audit_knows_what_moves(void)
{
	static struct fake_helper_message list, message;
	struct pinhole *p[3], *q;

	rig_begin(&rig);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 3, p), 0);
	fake_helper_run(&rig.helper);
	pinholes_reconciled(rig.pinholes);
	fake_helper_run(&rig.helper);
	fake_loop_advance(rig.loop, 31000);
	CU_ASSERT_TRUE_FATAL(fake_helper_receive(&rig.helper, &list));
	CU_ASSERT_EQUAL(list.head.op, WIRE_LIST);
	pinhole_close(p[1]);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 7, 1, &q), 0);
	fake_helper_answer(&rig.helper, &list);
	fake_helper_deliver(&rig.helper);
	while (fake_helper_receive(&rig.helper, &message))
		fake_helper_answer(&rig.helper, &message);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig_summary(&rig).missing, 0);
	CU_ASSERT_EQUAL(rig_summary(&rig).orphans, 0);
	CU_ASSERT_EQUAL(fake_helper_count(&rig.helper), 3);
	CU_ASSERT_EQUAL(pinhole_state(q), PINHOLE_ARMED);
	rig_end(&rig);
}

static void unknown_entries_are_swept(void)
{
	static struct fake_helper_message message;
	const struct wire_listed unknown = { .id = 0, .path = PINHOLE_CONNTRACK };

	rig_begin(&rig);
	pinholes_reconciled(rig.pinholes);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_SWEEP], 1);
	fake_loop_advance(rig.loop, 31000);
	CU_ASSERT_TRUE_FATAL(fake_helper_receive(&rig.helper, &message));
	fake_helper_send(&rig.helper, WIRE_LISTED, message.head.serial, &unknown, 1);
	fake_helper_send(&rig.helper, WIRE_LISTED, message.head.serial, NULL, 0);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_SWEEP], 2);
	rig_end(&rig);
}

static void renewed_in_time(void)
{
	struct pinhole *p[40];

	rig_begin(&rig);
	for (unsigned i = 0; i < 40; i++)
		CU_ASSERT_EQUAL_FATAL(rig_open(&rig, i, 1, p + i), 0);
	fake_helper_run(&rig.helper);
	rig.helper.n_messages[WIRE_OPEN] = rig.helper.n_records[WIRE_OPEN] = 0;
	for (unsigned ms = 0; ms < RIG_LIFETIME_S * 1000 / 3; ms += 1000) {
		fake_loop_advance(rig.loop, 1000);
		fake_helper_run(&rig.helper);
	}
	CU_ASSERT_EQUAL(rig.helper.n_records[WIRE_OPEN], 40);
	CU_ASSERT(rig.helper.n_messages[WIRE_OPEN] > 5); /* not all at once, though opened together */
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], 40);

	rig.helper.refused[0] = rig_id(&rig, p[0]);
	for (unsigned ms = 0; ms < RIG_LIFETIME_S * 1000 / 3; ms += 1000) {
		fake_loop_advance(rig.loop, 1000);
		fake_helper_run(&rig.helper);
	}
	CU_ASSERT_EQUAL(pinhole_state(p[0]), PINHOLE_ARMED); /* two thirds of its lifetime are left */
	CU_ASSERT_STRING_EQUAL(pinhole_reason(p[0]), "first choice");
	CU_ASSERT(rig_summary(&rig).refused >= 1);
	rig.helper.refused[0] = 0;
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_LOST] + rig.owner.n[PINHOLE_EV_REFUSED], 0);
	rig_end(&rig);
}

static void gone_by_itself(void)
{
	struct pinhole *p[3];

	rig_begin(&rig);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 3, p), 0);
	fake_helper_run(&rig.helper);
	rig_slot(&rig, p[0])->packets = 9;
	fake_helper_gone(&rig.helper, rig_id(&rig, p[0]), WIRE_EXPIRED);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_EXPIRED], 1);
	CU_ASSERT_EQUAL(rig.owner.last_stats.packets, 9);
	fake_helper_gone(&rig.helper, rig_id(&rig, p[1]), WIRE_USED_UP);
	fake_helper_gone(&rig.helper, rig_id(&rig, p[2]), WIRE_LOST);
	fake_helper_gone(&rig.helper, 999, WIRE_LOST); /* nobody's: closed while this was on its way */
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_EXPIRED], 2);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_LOST], 1);
	CU_ASSERT_TRUE(rig_summary(&rig).has_helper);
	rig_end(&rig);
}

/* It brings the pinhole back although its owner has been told of its end: it must not stay in the kernel. */
static void gone_while_it_is_renewed(void)
{
	static struct fake_helper_message message;
	struct pinhole *p;
	uint64_t id;

	rig_begin(&rig);
	p = rig_open_one(&rig, 0);
	id = rig_id(&rig, p);
	fake_loop_advance(rig.loop, RIG_LIFETIME_S * 1000 / 3);
	while (fake_helper_receive(&rig.helper, &message) && message.head.op != WIRE_OPEN)
		fake_helper_answer(&rig.helper, &message);
	CU_ASSERT_EQUAL_FATAL(message.head.op, WIRE_OPEN);
	fake_helper_gone(&rig.helper, id, WIRE_EXPIRED);
	fake_helper_answer(&rig.helper, &message);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_EXPIRED], 1);
	CU_ASSERT_PTR_NULL(fake_helper_find(&rig.helper, id));
	CU_ASSERT_EQUAL(rig_summary(&rig).open[PINHOLE_XDP], 0);
	rig_end(&rig);
}

static void disowned_ones_are_silent(void)
{
	struct pinhole *p;

	rig_begin(&rig);
	p = rig_open_one(&rig, 0);
	pinhole_close(p);
	pinhole_disown(p);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_CLOSED], 0);
	CU_ASSERT_EQUAL(fake_helper_count(&rig.helper), 0);
	rig_end(&rig);
}

static void the_helper_ends(void)
{
	struct pinhole *p[2], *waiting[2];
	struct slot_stats stats;
	struct slot *slot;

	rig_begin(&rig);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 2, p), 0);
	fake_helper_run(&rig.helper);
	slot = rig_slot(&rig, p[0]);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 2, 2, waiting), 0);
	pinhole_close(p[1]);
	fake_helper_deliver(&rig.helper);
	rig.changes = 0;
	fake_helper_hang_up(&rig.helper);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.changes, 1);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_REFUSED], 2);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_CLOSED], 1);
	CU_ASSERT_EQUAL(pinhole_state(p[0]), PINHOLE_ARMED); /* the kernel goes on, and can be read */
	slot->packets = 12;
	pinhole_stats(p[0], &stats);
	CU_ASSERT_EQUAL(stats.packets, 12);
	CU_ASSERT_FALSE(rig_summary(&rig).has_helper);
	CU_ASSERT_EQUAL(rig_metric("postern_pinhole_helper_up"), 0);
	CU_ASSERT_FALSE(pinholes_is_usable(rig.pinholes, 0, 1));
	CU_ASSERT_EQUAL(rig_open(&rig, 4, 1, waiting), ERR_UNSUPPORTED);
	fake_loop_advance(rig.loop, RIG_LIFETIME_S * 1000 - 2000);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_EXPIRED], 0);
	fake_loop_advance(rig.loop, 4000);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_EXPIRED], 1);
	CU_ASSERT_EQUAL(rig.owner.last_stats.packets, 12);
	rig_end(&rig);
}

static void closing_without_a_helper(void)
{
	struct pinhole *p;

	rig_begin(&rig);
	p = rig_open_one(&rig, 0);
	fake_helper_hang_up(&rig.helper);
	fake_helper_run(&rig.helper);
	pinhole_close(p);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_CLOSED], 0);
	fake_loop_turn(rig.loop);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_CLOSED], 1);
	rig_end(&rig);
}

static void there_never_was_a_helper(void)
{
	const struct pinholes_conf conf = { .channel = -1, .no_channel_reason = "not root", .order = { PINHOLE_XDP, PINHOLE_TC },
					    .max = 10, .n_realms = 2 };
	struct pinhole_ability abilities[8];
	struct pinhole *p;

	memset(&rig, 0, sizeof(rig));
	CU_ASSERT_EQUAL_FATAL(loop_new(&rig.loop), 0);
	CU_ASSERT_EQUAL_FATAL(pinholes_new(rig.loop, &conf, &rig.pinholes), 0);
	CU_ASSERT_EQUAL(rig_open(&rig, 0, 1, &p), ERR_UNSUPPORTED);
	CU_ASSERT_FALSE(pinholes_is_usable(rig.pinholes, 0, 1));
	CU_ASSERT_STRING_EQUAL(refusal(), "not root");
	CU_ASSERT_EQUAL(pinholes_abilities(rig.pinholes, abilities, 8), 4);
	CU_ASSERT_STRING_EQUAL(abilities[3].reason, "not root");
	CU_ASSERT_EQUAL(abilities[3].path, PINHOLE_TC);
	CU_ASSERT_EQUAL(abilities[3].realm, 1);
	CU_ASSERT_EQUAL(pinholes_abilities(rig.pinholes, abilities, 1), 1);
	pinholes_reconciled(rig.pinholes);
	fake_loop_advance(rig.loop, 60000);
	CU_ASSERT_FALSE(rig_summary(&rig).has_helper);
	pinholes_free(rig.pinholes);
	loop_free(rig.loop);
}

static void a_silent_helper_is_noticed(void)
{
	static struct fake_helper_message message;
	struct pinhole *p;

	rig_begin(&rig);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 1, &p), 0);
	fake_loop_advance(rig.loop, 4000);
	CU_ASSERT_TRUE(pinholes_is_usable(rig.pinholes, 0, 1));
	fake_loop_advance(rig.loop, 3000);
	CU_ASSERT_FALSE(pinholes_is_usable(rig.pinholes, 0, 1));
	CU_ASSERT_TRUE_FATAL(fake_helper_receive(&rig.helper, &message));
	fake_helper_answer(&rig.helper, &message);
	fake_helper_run(&rig.helper);
	CU_ASSERT_TRUE(pinholes_is_usable(rig.pinholes, 0, 1));
	CU_ASSERT_EQUAL(pinhole_state(p), PINHOLE_ARMED);
	rig_end(&rig);
}

static void seen(void *arg, const struct pinhole_view *view)
{
	*(struct pinhole_view *)arg = *view;
}

static void views_tell(void)
{
	struct pinhole_view view = { 0 };
	struct pinhole *p;

	rig_begin(&rig);
	p = rig_open_one(&rig, 0);
	pinholes_each(rig.pinholes, seen, &view);
	CU_ASSERT_EQUAL(view.idle_ms, UINT64_MAX);
	CU_ASSERT_TRUE(view.in_kernel);
	rig_slot(&rig, p)->last_ns = (loop_now_ms(rig.loop) - 250) * 1000000;
	pinholes_each(rig.pinholes, seen, &view);
	CU_ASSERT_EQUAL(view.idle_ms, 250);
	CU_ASSERT_EQUAL(view.state, PINHOLE_ARMED);
	CU_ASSERT_STRING_EQUAL(view.reason, "first choice");
	CU_ASSERT_EQUAL(view.spec.clock_hz, 8000);
	CU_ASSERT_STRING_EQUAL(pinhole_path_text(view.path), "xdp");
	rig_end(&rig);
}

static void limits_of_the_kernel_are_no_end(void)
{
	struct pinhole *p[4];

	rig_begin(&rig);
	rig.helper.space = 3;
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 2, p), 0);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 2, 2, p + 2), 0);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], 2);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_REFUSED], 2);
	CU_ASSERT_EQUAL(fake_helper_count(&rig.helper), 2);
	CU_ASSERT_PTR_NOT_NULL(rig_open_one(&rig, 9));
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], 3);
	rig_end(&rig);
}

static const struct unit_test tests[] = {
	{ "opens and closes", opens_and_closes },
	{ "the specification arrives", specification_arrives },
	{ "a turn makes few messages", a_turn_makes_few_messages },
	{ "batches stay whole", batches_stay_whole },
	{ "refused as a whole", refused_as_a_whole },
	{ "nothing is sent before hello", nothing_is_sent_before_hello },
	{ "closed before the answer", closed_before_the_answer },
	{ "an owner closes others while it is told", an_owner_closes_others_while_told },
	{ "the same again", the_same_again },
	{ "bad specifications", bad_specifications },
	{ "the table ends at its limit", table_ends_at_its_limit },
	{ "the kernel is full", the_kernel_is_full },
	{ "reasons to refuse", reasons_to_refuse },
	{ "nobody would start it again", nobody_would_start_it_again },
	{ "a full socket loses nothing", a_full_socket_loses_nothing },
	{ "the first packet is noticed", first_packet_is_noticed },
	{ "counters survive the helper", counters_survive_the_helper },
	{ "opened again after hello", opened_again_after_hello },
	{ "answers to an earlier process are ignored", answers_to_an_earlier_process_are_ignored },
	{ "sweeps when reconciled", sweeps_when_reconciled },
	{ "an audit puts right", audit_puts_right },
	{ "an audit knows what moves", audit_knows_what_moves },
	{ "unknown entries are swept", unknown_entries_are_swept },
	{ "renewed in time", renewed_in_time },
	{ "gone by itself", gone_by_itself },
	{ "gone while it is renewed", gone_while_it_is_renewed },
	{ "disowned ones are silent", disowned_ones_are_silent },
	{ "the helper ends", the_helper_ends },
	{ "closing without a helper", closing_without_a_helper },
	{ "there never was a helper", there_never_was_a_helper },
	{ "a silent helper is noticed", a_silent_helper_is_noticed },
	{ "views tell", views_tell },
	{ "limits of the kernel are no end", limits_of_the_kernel_are_no_end },
};

UNIT_MAIN("pinhole", tests)
