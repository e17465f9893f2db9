/* The engine of pinholes against a helper that lies: each answer that does not fit ends the conversation, nothing is read
 * that is not there, and owners are told. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/err.h"
#include "tests/unit/pinhole_rig.h"

static struct rig rig;
static struct fake_helper_message request;

/* A pinhole that is armed (p[0]) and one that was asked for (p[1]); `request` is the latter. */
static void begin(struct pinhole **p)
{
	rig_begin(&rig);
	p[0] = rig_open_one(&rig, 0);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 1, 1, &p[1]), 0);
	fake_helper_deliver(&rig.helper);
	CU_ASSERT_TRUE_FATAL(fake_helper_receive(&rig.helper, &request));
	CU_ASSERT_EQUAL_FATAL(request.head.op, WIRE_OPEN);
}

static void ends_lost(struct pinhole **p, const char *what)
{
	struct pinhole_ability abilities[4];
	struct pinhole *more;

	fake_helper_run(&rig.helper);
	if (rig_summary(&rig).has_helper)
		printf("# accepted: %s\n", what);
	CU_ASSERT_FALSE(rig_summary(&rig).has_helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_REFUSED], 1); /* what was asked for; not what is in the kernel */
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_LOST], 0);
	CU_ASSERT_EQUAL(pinhole_state(p[0]), PINHOLE_ARMED);
	CU_ASSERT_EQUAL(rig_open(&rig, 5, 1, &more), ERR_UNSUPPORTED);
	CU_ASSERT_EQUAL(pinholes_abilities(rig.pinholes, abilities, 4), 2);
	CU_ASSERT_FALSE(abilities[0].is_usable);
	CU_ASSERT_STRING_NOT_EQUAL(abilities[0].reason, "proved");
	rig_end(&rig);
}

static struct wire_opened good_answer(void)
{
	const struct wire_pinhole *wanted = request.records;

	return (struct wire_opened){ .id = wanted->id, .slot = 9, .path = PINHOLE_XDP };
}

static void answers_that_do_not_fit(void)
{
	static const struct {
		const char *what;
		enum wire_op op;
		int64_t serial;       /* added to the right one */
		uint32_t count;
		uint64_t id;          /* added */
		uint32_t slot;
	} cases[] = {
		{ "a later serial", WIRE_OPENED, 1, 1, 0, 9 },
		{ "an earlier serial", WIRE_OPENED, -1, 1, 0, 9 },
		{ "no serial", WIRE_OPENED, -2, 1, 0, 9 }, /* the first request had 1, this one has 2 */
		{ "too many records", WIRE_OPENED, 0, 2, 0, 9 },
		{ "another id", WIRE_OPENED, 0, 1, 1, 9 },
		{ "a slot beyond the end", WIRE_OPENED, 0, 1, 0, FAKE_HELPER_SLOTS },
		{ "a slot far beyond the end", WIRE_OPENED, 0, 1, 0, UINT32_MAX },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct wire_opened answer[2];
		struct pinhole *p[2];

		begin(p);
		CU_ASSERT_EQUAL_FATAL(request.head.serial, 2);
		answer[0] = answer[1] = good_answer();
		answer[0].id += cases[i].id;
		answer[0].slot = cases[i].slot;
		fake_helper_send(&rig.helper, cases[i].op, request.head.serial + (uint64_t)cases[i].serial, answer, cases[i].count);
		ends_lost(p, cases[i].what);
	}
}

static void answers_of_another_kind(void)
{
	static const enum wire_op ops[] = { WIRE_CLOSED, WIRE_SWEPT, WIRE_LISTED, WIRE_SOCKET_READY, WIRE_OPEN, WIRE_CLOSE, WIRE_SEAL };

	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		static uint64_t zeroes[64];
		struct pinhole *p[2];

		begin(p);
		zeroes[0] = 1; /* keys and ids are never 0 */
		if (ops[i] == WIRE_LISTED)
			zeroes[1] = PINHOLE_XDP;
		fake_helper_send(&rig.helper, ops[i], request.head.serial, zeroes, ops[i] == WIRE_OPEN ? 0 : 1);
		zeroes[1] = 0;
		ends_lost(p, "another kind of message");
	}
}

static void messages_without_form(void)
{
	struct wire_head head = { .version = WIRE_VERSION, .op = WIRE_OPENED, .count = 1, .serial = 2 };
	struct pinhole *p[2];
	char large[WIRE_MESSAGE_MAX + 1] = { 0 };

	begin(p);
	CU_ASSERT_EQUAL(write(rig.helper.fd, &head, sizeof(head)), sizeof(head)); /* the record is missing */
	ends_lost(p, "truncated");
	begin(p);
	CU_ASSERT_EQUAL(write(rig.helper.fd, large, sizeof(large)), sizeof(large));
	ends_lost(p, "larger than any message");
	begin(p);
	head.version++;
	CU_ASSERT_EQUAL(write(rig.helper.fd, &head, sizeof(head)), sizeof(head));
	ends_lost(p, "another version");
}

static void an_answer_twice(void)
{
	struct wire_opened answer;
	struct pinhole *p[2];

	begin(p);
	answer = good_answer();
	fake_helper_send(&rig.helper, WIRE_OPENED, request.head.serial, &answer, 1);
	fake_helper_send(&rig.helper, WIRE_OPENED, request.head.serial, &answer, 1);
	fake_helper_run(&rig.helper);
	CU_ASSERT_FALSE(rig_summary(&rig).has_helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], 2);
	rig_end(&rig);
}

static void closes_that_do_not_fit(void)
{
	for (unsigned i = 0; i < 2; i++) {
		struct wire_closed closed[2] = { { .id = 1 }, { .id = 2 } };
		struct pinhole *p[2];

		rig_begin(&rig);
		p[0] = rig_open_one(&rig, 0);
		pinhole_close(p[0]);
		fake_helper_deliver(&rig.helper);
		CU_ASSERT_TRUE_FATAL(fake_helper_receive(&rig.helper, &request));
		CU_ASSERT_EQUAL_FATAL(request.head.op, WIRE_CLOSE);
		fake_helper_send(&rig.helper, WIRE_CLOSED, request.head.serial, closed, i + 1);
		fake_helper_run(&rig.helper);
		CU_ASSERT_FALSE(rig_summary(&rig).has_helper);
		CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_CLOSED], 1); /* by the end of the helper */
		rig_end(&rig);
	}
}

/* Memory */

static void say_hello(const struct wire_hello *hello, const int *fds, unsigned n)
{
	CU_ASSERT_EQUAL(wire_send(rig.helper.fd, WIRE_HELLO, 0, hello, 1, fds, n), 0);
	fake_helper_run(&rig.helper);
}

static void bad_hellos(void)
{
	struct slot *slots;
	int loose = fake_helper_memory(10, false, &slots);
	int small = fake_helper_memory(10, true, &slots);
	const struct {
		struct wire_hello hello;
		int fds[2];
		unsigned n;
	} cases[] = {
		{ { SLOT_VERSION + 1, sizeof(struct slot), 2, { 0 }, 0 }, { -1 }, 0 },
		{ { SLOT_VERSION, sizeof(struct slot) + 8, 2, { 0 }, 0 }, { -1 }, 0 },
		{ { SLOT_VERSION, sizeof(struct slot), 1, { 0 }, 0 }, { -1 }, 0 },            /* the same start twice */
		{ { SLOT_VERSION, sizeof(struct slot), 2, { 10, 0 }, 0 }, { -1 }, 0 },        /* no descriptor */
		{ { SLOT_VERSION, sizeof(struct slot), 2, { 10, 10 }, 0 }, { small, -1 }, 1 },
		{ { SLOT_VERSION, sizeof(struct slot), 2, { 10, 0 }, 0 }, { loose, -1 }, 1 }, /* may shrink: SIGBUS */
		{ { SLOT_VERSION, sizeof(struct slot), 2, { 11, 0 }, 0 }, { small, -1 }, 1 }, /* ends early: SIGBUS */
		{ { SLOT_VERSION, sizeof(struct slot), 2, { UINT32_MAX, 0 }, 0 }, { small, -1 }, 1 },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pinhole *p;
		struct slot_stats stats;

		rig_begin(&rig);
		p = rig_open_one(&rig, 0);
		rig_slot(&rig, p)->packets = 5;
		say_hello(&cases[i].hello, cases[i].fds, cases[i].n);
		CU_ASSERT_FALSE(rig_summary(&rig).has_helper);
		pinhole_stats(p, &stats);
		CU_ASSERT_EQUAL(stats.packets, 5);
		rig_end(&rig);
	}
	munmap(slots, 10 * sizeof(*slots));
	close(loose);
	close(small);
}

/* Its memory is smaller than before: slots that were good are so no longer, and nothing is read beyond. */
static void memory_that_got_smaller(void)
{
	struct wire_hello hello = { SLOT_VERSION, sizeof(struct slot), 2, { 10, 0 }, 0 };
	struct pinhole *p[30];
	struct slot_stats stats;
	struct slot *slots;
	int fd = fake_helper_memory(10, true, &slots);

	rig_begin(&rig);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 30, p), 0);
	fake_helper_run(&rig.helper);
	rig_slot(&rig, p[29])->packets = 7;
	say_hello(&hello, &fd, 1); /* and then answers with slots up to 29 */
	CU_ASSERT_FALSE(rig_summary(&rig).has_helper);
	pinhole_stats(p[29], &stats);
	CU_ASSERT_EQUAL(stats.packets, 7);
	rig_end(&rig);
	munmap(slots, 10 * sizeof(*slots));
	close(fd);
}

static void more_than_anyone_keeps(void)
{
	struct wire_ability ability = { .path = PINHOLE_TC, .is_usable = 1 };
	struct pinhole_ability all[8];
	struct pinhole *p;

	rig_begin(&rig);
	for (unsigned i = 0; i < 300; i++) { /* many reasons, many realms that do not exist */
		snprintf(ability.reason, sizeof(ability.reason), "reason %u", i);
		ability.realm = (uint16_t)i;
		fake_helper_send(&rig.helper, WIRE_ABILITY, 0, &ability, 1);
		fake_helper_run(&rig.helper);
	}
	CU_ASSERT_EQUAL(pinholes_abilities(rig.pinholes, all, 8), 5);
	for (unsigned i = 0; i < 300; i++) {
		struct wire_opened answer;

		CU_ASSERT_EQUAL_FATAL(rig_open(&rig, i, 1, &p), 0);
		fake_helper_deliver(&rig.helper);
		CU_ASSERT_TRUE_FATAL(fake_helper_receive(&rig.helper, &request));
		answer = good_answer();
		snprintf(answer.reason, sizeof(answer.reason), "reason %u", i);
		fake_helper_send(&rig.helper, WIRE_OPENED, request.head.serial, &answer, 1);
		fake_helper_run(&rig.helper);
	}
	CU_ASSERT_STRING_EQUAL(pinhole_reason(p), "one of very many reasons");
	CU_ASSERT_TRUE(rig_summary(&rig).has_helper);
	rig_end(&rig);
}

static void more_orphans_than_are_kept(void)
{
	static struct wire_listed listed[WIRE_BATCH_MAX];
	uint64_t id = 1;

	rig_begin(&rig);
	pinholes_reconciled(rig.pinholes);
	fake_helper_run(&rig.helper);
	fake_loop_advance(rig.loop, 31000);
	CU_ASSERT_TRUE_FATAL(fake_helper_receive(&rig.helper, &request));
	for (unsigned i = 0; i < 100; i++) { /* 4096 wait at most; what is left is found by the next audit */
		for (unsigned j = 0; j < WIRE_BATCH_MAX; j++)
			listed[j] = (struct wire_listed){ .id = id++, .path = PINHOLE_TC };
		fake_helper_send(&rig.helper, WIRE_LISTED, request.head.serial, listed, WIRE_BATCH_MAX);
		if (i % 10 == 9)
			fake_helper_deliver(&rig.helper);
	}
	fake_helper_send(&rig.helper, WIRE_LISTED, request.head.serial, NULL, 0);
	fake_helper_run(&rig.helper);
	CU_ASSERT_TRUE(rig_summary(&rig).has_helper);
	CU_ASSERT(rig.helper.n_records[WIRE_CLOSE] >= 4096);
	CU_ASSERT_EQUAL(rig_summary(&rig).orphans, rig.helper.n_records[WIRE_CLOSE]);
	rig_end(&rig);
}

static const struct unit_test tests[] = {
	{ "answers that do not fit", answers_that_do_not_fit },
	{ "answers of another kind", answers_of_another_kind },
	{ "messages without form", messages_without_form },
	{ "an answer twice", an_answer_twice },
	{ "closes that do not fit", closes_that_do_not_fit },
	{ "bad hellos", bad_hellos },
	{ "memory that got smaller", memory_that_got_smaller },
	{ "more than anyone keeps", more_than_anyone_keeps },
	{ "more orphans than are kept", more_orphans_than_are_kept },
};

UNIT_MAIN("pinhole_hostile", tests)
