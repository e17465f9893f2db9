/* How far a connection has come: what the engine asks of the helper, and when it asks nothing. */
#include "tests/unit/pinhole_rig.h"

static struct rig rig;
static unsigned n_looked;
static enum pinhole_end looked;

static void on_end(void *arg, struct pinhole *pinhole, enum pinhole_end end)
{
	CU_ASSERT_PTR_EQUAL(arg, &rig.owner);
	CU_ASSERT_PTR_NOT_NULL(pinhole);
	n_looked++;
	looked = end;
}

static void begin(void)
{
	rig_begin(&rig);
	n_looked = 0;
}

static void asked_and_answered(void)
{
	struct pinhole *p;

	begin();
	p = rig_open_one(&rig, 1);
	rig.helper.end = PINHOLE_END_TARGET;
	pinhole_look(p, on_end);
	CU_ASSERT_EQUAL(n_looked, 0); /* nothing happens within the call */
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(n_looked, 1);
	CU_ASSERT_EQUAL(looked, PINHOLE_END_TARGET);
	rig.helper.end = PINHOLE_END_BOTH;
	pinhole_look(p, on_end);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(n_looked, 2);
	CU_ASSERT_EQUAL(looked, PINHOLE_END_BOTH);
	rig_end(&rig);
}

static void many_questions_are_few_messages(void)
{
	struct pinhole *p[100];

	begin();
	for (unsigned i = 0; i < 100; i++)
		p[i] = rig_open_one(&rig, i);
	for (unsigned i = 0; i < 200; i++) /* twice each */
		pinhole_look(p[i % 100], on_end);
	fake_loop_turn(rig.loop);
	for (unsigned i = 0; i < 100; i++) /* and once more while they are asked */
		pinhole_look(p[i], on_end);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_LOOK], 2);
	CU_ASSERT_EQUAL(rig.helper.n_records[WIRE_LOOK], 100);
	CU_ASSERT_EQUAL(n_looked, 100);
	rig_end(&rig);
}

static void not_asked(void)
{
	struct pinhole *p, *closed, *disowned;

	begin();
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 1, 1, &p), 0);
	pinhole_look(p, on_end); /* not there yet */
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_LOOK], 0);
	closed = rig_open_one(&rig, 2);
	disowned = rig_open_one(&rig, 3);
	pinhole_look(closed, on_end);
	pinhole_look(disowned, on_end);
	pinhole_close(closed);
	pinhole_disown(disowned);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(n_looked, 0);
	rig_end(&rig);
}

/* What an earlier process was asked nobody answers, and the next one is asked again. */
static void the_helper_starts_again(void)
{
	struct pinhole *p;

	begin();
	p = rig_open_one(&rig, 1);
	pinhole_look(p, on_end);
	fake_loop_turn(rig.loop);
	fake_helper_hello(&rig.helper);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(n_looked, 0);
	pinhole_look(p, on_end);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(n_looked, 1);
	rig_end(&rig);
}

static void the_pinhole_ends_meanwhile(void)
{
	struct fake_helper_message message;
	struct wire_looked answer = { .end = PINHOLE_END_BOTH };
	struct pinhole *p;

	begin();
	p = rig_open_one(&rig, 1);
	answer.id = rig_id(&rig, p);
	pinhole_look(p, on_end);
	fake_helper_deliver(&rig.helper);
	CU_ASSERT_TRUE_FATAL(fake_helper_receive(&rig.helper, &message));
	CU_ASSERT_EQUAL(message.head.op, WIRE_LOOK);
	fake_helper_gone(&rig.helper, answer.id, WIRE_USED_UP);
	fake_helper_send(&rig.helper, WIRE_LOOKED, message.head.serial, &answer, 1);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_EXPIRED], 1);
	CU_ASSERT_EQUAL(n_looked, 0);
	rig_end(&rig);
}

static void an_answer_about_another(void)
{
	struct fake_helper_message message;
	struct wire_looked answer = { .id = 4711, .end = PINHOLE_END_BOTH };

	begin();
	pinhole_look(rig_open_one(&rig, 1), on_end);
	fake_helper_deliver(&rig.helper);
	CU_ASSERT_TRUE_FATAL(fake_helper_receive(&rig.helper, &message));
	fake_helper_send(&rig.helper, WIRE_LOOKED, message.head.serial, &answer, 1);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(n_looked, 0);
	CU_ASSERT_FALSE(rig_summary(&rig).has_helper);
	rig_end(&rig);
}

static const struct unit_test tests[] = {
	{ "asked and answered", asked_and_answered },
	{ "many questions are few messages", many_questions_are_few_messages },
	{ "not asked", not_asked },
	{ "the helper starts again", the_helper_starts_again },
	{ "the pinhole ends meanwhile", the_pinhole_ends_meanwhile },
	{ "an answer about another one", an_answer_about_another },
};

UNIT_MAIN("pinhole_look", tests)
